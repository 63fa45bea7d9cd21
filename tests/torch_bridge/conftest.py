"""These tests export many modules."""

from __future__ import annotations

import pytest

from tests.exporters import hasten_exports


@pytest.fixture(scope="session", autouse=True)
def _hastened() -> None:
    hasten_exports()
