"""Names and numbers in little room."""

from __future__ import annotations

import pytest

from graphprune.report.text import change, size, without_common


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (["model.vit.layers.0", "model.vit.layers.1", "model.head"], ["vit.layers.0", "vit.layers.1", "head"]),
        (["stages.0.1", "stages.0.2"], ["1", "2"]),
        (["a.b", "a.b.c", "plain"], ["b", "b.c", "plain"]),
        (["only.one"], ["only.one"]),
        (["", ".", "..", "x"], ["", ".", ".", "x"]),
        ([], []),
    ],
)
def test_modules_that_all_names_share_are_left_out(names: list[str], short: list[str]) -> None:
    assert list(without_common(names).values()) == short


def test_changes_and_sizes() -> None:
    assert (change(200, 150), change(0, 5)) == ("-25.00 %", "")
    assert [size(count) for count in (12, 3_400, 5_600_000, 7_800_000_000)] == ["12 B", "3.40 kB", "5.60 MB", "7.80 GB"]
