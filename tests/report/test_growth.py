"""A cut that makes the file larger: the first note says so, and the table has the right signs."""

from __future__ import annotations

from rich.console import Console

from graphprune.report.terminal import print_result
from tests.graphs import build, random_feeds
from tests.passes.asking import pruned

# One of the two uses writes an output, so the other is cut in a copy.
PROTO = build(
    """(float[N,40] x) => (float[N,60] y, float[N,3] z) { [a] y = MatMul(x, w1) [b] b = MatMul(x, w1) c = Relu(b)
    [last] z = MatMul(c, w2) }""",
    {"w1": (40, 60), "w2": (60, 3)},
)


def test_it_is_said_first_and_shown() -> None:
    result = pruned(PROTO, "filter-magnitude", random_feeds(PROTO, 4), "flops=0.9")
    assert result.after.params > result.before.params
    assert result.notes[0].startswith("THE FILE GROWS")
    (units,) = result.plan.units
    assert units.params < 0 < units.macs
    console = Console(width=100)
    with console.capture() as shown:
        print_result(console, result)
    (line,) = [line for line in shown.get().splitlines() if line.startswith("b/neurons")]
    assert line.count("+") == line.count("-") == 1
