"""On every exported architecture: each prunable group cut at two ratios where there are few, and all groups at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

pytest.importorskip("torch", reason="the zoo is exported from torch")

from tests.zoo.entry import Exporter
from tests.zoo.export import CASES, FEW
from tests.zoo.survey import survey

if TYPE_CHECKING:
    from tests.zoo.fixtures import Loaded

pytest_plugins = ["tests.zoo.fixtures"]

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("name", "exporter"), CASES)
def test_every_group_singly_and_all_at_once(loaded: Loaded, name: str, exporter: Exporter) -> None:
    model, feed = loaded(name, exporter)
    found = survey(model, feed, with_blocks=False, few=FEW)
    assert not found.failures
    assert found.prunable, "nothing can be cut"
