"""Several results in one table for a terminal."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from graphprune.report.candidates import CandidatesFile, MadeCandidate
from graphprune.report.candidates_table import print_candidates


@pytest.mark.parametrize("is_timed", [True, False])
def test_what_was_not_measured_has_no_column(is_timed: bool) -> None:
    """The others stay in their order, and a line is no wider than the terminal."""
    made = MadeCandidate("flops=0.9", output="small.1.onnx", plan="p.json", macs=900, params=9, bytes=3_000, lost=0.01)
    if is_timed:
        made = replace(made, time_ratio=0.5, median_ms=1.25)
    found = CandidatesFile("net.onnx", 1_000, 10, 4_000, None, [made, MadeCandidate("flops=0.1", why="too much")])
    text = io.StringIO()
    print_candidates(Console(file=text, width=80), found)
    head, _, first, second, *_ = text.getvalue().splitlines()
    assert head.split() == ["asked", "MACs", "file", *(["median"] if is_timed else []), "lost"]
    assert first.split()[:5] == ["1", "flops=0.9", "900", "3.00", "kB"] and first.rstrip().endswith("1.00 %")
    assert ("1.250 ms (50 %)" in first) == is_timed
    assert second.split() == ["2", "flops=0.1", "not", "written"]
