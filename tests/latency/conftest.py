"""Time targets on a made-up runtime, so that numbers can be checked."""

from __future__ import annotations

import pytest

from tests.latency.made_up import FakeClock, made_up_clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[FakeClock]:
    """Every search gets the made-up clock; the clocks that were made."""
    return made_up_clock(monkeypatch)
