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


def test_what_makes_the_file_grow_goes_last() -> None:
    """There are others."""
    proto = build(
        """(float[N,40] x) => (float[N,60] y, float[N,3] z, float[N,3] v) { [a] y = MatMul(x, w1)
        [b] b = MatMul(x, w1) c = Relu(b) [last] z = MatMul(c, w2) [d] d = MatMul(x, w3) e = Relu(d)
        [end] v = MatMul(e, w4) }""",
        {"w1": (40, 60), "w2": (60, 3), "w3": (40, 60), "w4": (60, 3)},
    )
    feeds = random_feeds(proto, 4)
    little = pruned(proto, "filter-magnitude", feeds, "flops=0.9")
    assert [units.group for units in little.plan.units] == ["d/neurons"]
    assert not any("GROWS" in note for note in little.notes)
    much = pruned(proto, "filter-magnitude", feeds, "flops=0.5")
    assert {units.group for units in much.plan.units} == {"b/neurons", "d/neurons"}
