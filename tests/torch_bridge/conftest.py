"""These tests export many modules."""

from __future__ import annotations

import pytest

from tests.exporters import share_translations


@pytest.fixture(scope="session", autouse=True)
def _shared_translations() -> None:
    share_translations()
