"""How much may be lost, read and applied."""

from __future__ import annotations

import pytest

from graphprune.errors import OptionError
from graphprune.plan.max_drop import Drop, MaxDrop


def test_per_cent_and_share_are_read_alike() -> None:
    assert MaxDrop.parse("1%") == MaxDrop.parse("0.01") == MaxDrop(0.01)
    assert str(MaxDrop.parse("150%")) == "150%"


@pytest.mark.parametrize("text", ["", "much", "-1%", "0%", "1", "nan", "1%%"])
def test_what_is_no_loss_is_refused(text: str) -> None:
    with pytest.raises(OptionError):
        MaxDrop.parse(text)


def test_the_upper_end_counts_unless_the_estimate_is_asked_for() -> None:
    drop = Drop("top1", 0.005, -0.01, 0.02, 100)
    assert not MaxDrop(0.01).allows(drop)
    assert MaxDrop(0.01, "estimate").allows(drop)
    assert MaxDrop(0.01).allows(Drop("top1", 0.005, None, None, 1))
    assert MaxDrop(0.01).samples_needed(drop) == 900
    assert MaxDrop(0.01).samples_needed(Drop("top1", 0.02, 0.01, 0.03, 100)) is None
