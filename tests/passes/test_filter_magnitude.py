"""``filter-magnitude``: norms by slicing arrays by hand, and the units that the rules then let go."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from graphprune.errors import DataError, NothingToPrune, OptionError, TargetNotReached
from graphprune.ir.export import to_proto
from graphprune.run.notes import CHECKS_ONLY, NO_DATA
from tests.graphs import build, initialisers
from tests.passes.asking import counts, decided, pruned, removed, scores
from tests.small_cnns import flattened, grouped
from tests.token_graphs import Shape, tokens, transformer

Norm = Callable[[list[np.ndarray]], float]
EVERY = "scope=group,ratio=0.5,floor=0"

NORMS: dict[str, Norm] = {  # what is compared: sums add up over a group, so of l2 the square
    "l1": lambda parts: sum(float(np.abs(part).sum()) for part in parts),
    "l2": lambda parts: sum(float((part.astype(np.float64) ** 2).sum()) for part in parts),
}


def relative(values: list[float]) -> np.ndarray:
    return np.asarray(np.array(values) / np.mean(values))


@pytest.mark.parametrize("norm", ["l1", "l2"])
@pytest.mark.parametrize("over", ["group", "writers"])
def test_depthwise_and_flattened_filters(norm: str, over: str) -> None:
    """The depthwise filter leaves with its channel, and so do the sixteen positions that Flatten makes of one."""
    proto = flattened()
    w, size = initialisers(proto), NORMS[norm]
    found = scores(decided(proto, f"filter-magnitude{{{EVERY},norm={norm},over={over}}}", None))
    all_of_it = over == "group"
    expected = {
        "c1/filters": [size([w["w1"][i], w["w2"][i], *([w["w3"][:, i]] * all_of_it)]) for i in range(6)],
        "c3/filters": [size([w["w3"][i], *([w["w4"][:, 16 * i : 16 * i + 16]] * all_of_it)]) for i in range(8)],
        "fc1/neurons": [size([w["w4"][i], *([w["w5"][i]] * all_of_it)]) for i in range(10)],
    }
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], relative(values), rtol=1e-6)


def test_convolution_in_groups_and_residual_width() -> None:
    proto = grouped()
    w, size = initialisers(proto), NORMS["l2"]
    found = scores(decided(proto, f"filter-magnitude{{{EVERY},widths=true}}", None))
    expected = {
        "stem/width": [size([w["w1"][i], w["w3"][i], w["w2"][:, i], w["w4"][:, i]]) for i in range(8)],
        "c1/filters": [size([w["w2"][i], w["w3"][:, i]]) for i in range(6)],
        "c3/conv-groups": [
            size([w["w4"][2 * i : 2 * i + 2], w["w5"][3 * i : 3 * i + 3], w["w6"][3 * i : 3 * i + 3]]) for i in range(4)
        ],
        "c3/filters": [size([w["w4"][i::2], w["w5"][:, i]]) for i in range(2)],
        "gc/filters": [size([w["w5"][i::3], w["w6"][i::3]]) for i in range(3)],
    }
    assert found.keys() <= expected.keys()
    assert {"stem/width", "c1/filters", "c3/conv-groups"} <= found.keys()
    for name, values in found.items():
        np.testing.assert_allclose(values, relative(expected[name]), rtol=1e-6)


def test_gated_neurons() -> None:
    proto = transformer(Shape())
    w = initialisers(proto)
    found = scores(decided(proto, "filter-magnitude{ratio=0.5}", tokens(Shape())))
    parts = [[w["wup0"][:, i], w["wgate0"][:, i], w["wdown0"][i]] for i in range(10)]
    np.testing.assert_allclose(found["l0_up/neurons"], relative([NORMS["l2"](each) for each in parts]), rtol=1e-6)


def test_what_is_cut_is_what_scored_least() -> None:
    """The kept weights are the right slices of the old ones; the rest of the file is unchanged."""
    proto = flattened()
    w = initialisers(proto)
    result = pruned(proto, f"filter-magnitude{{{EVERY}}}", None)
    assert counts(result) == {"c1/filters": 3, "c3/filters": 4, "fc1/neurons": 5}
    stay = {}
    for name, values in scores(result).items():
        lowest = np.sort(np.argsort(values)[: counts(result)[name]])
        assert removed(result)[name] == lowest.tolist()
        stay[name] = np.setdiff1d(np.arange(len(values)), lowest)
    c1, c3, fc1 = stay.values()
    positions = np.concatenate([np.arange(16 * i, 16 * i + 16) for i in c3])
    expected = {name: w[name][c1] for name in ("w1", "b1", "s1", "t1", "m1", "v1", "w2")}
    expected |= {"w3": w["w3"][c3][:, c1], "w4": w["w4"][fc1][:, positions], "b4": w["b4"][fc1], "w5": w["w5"][fc1]}
    assert result.model is not None
    small = initialisers(to_proto(result.model))
    assert small.keys() == w.keys()
    for name, array in small.items():
        np.testing.assert_array_equal(array, expected.get(name, w[name]))


def test_residual_width_goes_only_when_asked() -> None:
    proto = grouped()
    without = counts(decided(proto, "filter-magnitude{ratio=0.5}", None))
    assert not any("width" in name for name in without)
    alone = pruned(proto, "filter-magnitude{widths=true,include=*/width,ratio=0.5}", None)
    assert counts(alone) == {"stem/width": 4}
    with pytest.raises(NothingToPrune, match=r"no filters or neurons or conv-groups to prune: of 5 groups"):
        decided(proto, "filter-magnitude{include=*/width}", None)


def test_whole_groups_go_and_keep_no_multiple() -> None:
    """Alignment is for widths; the number of groups of a convolution is none."""
    result = pruned(grouped(), "filter-magnitude{include=*/conv-groups,ratio=0.25,floor=0}", None, align=4)
    assert counts(result) == {"c3/conv-groups": 1}


@pytest.mark.parametrize(
    ("options", "cut"),
    [
        ("include=c1/filters", {"c1/filters"}),
        ("include=c*", {"c1/filters", "c3/filters"}),
        ("include=dw", {"c1/filters"}),  # by a layer that writes it
        ("include=fc2", {"fc1/neurons"}),  # by one that reads it
        ("include=re:^c3$", {"c3/filters", "c1/filters"}),  # c3 reads the one and writes the other
        ("include=re:^fc|re:neurons$", {"c3/filters", "fc1/neurons"}),
        ("exclude=*/filters", {"fc1/neurons"}),
        ("exclude=re:fc", {"c1/filters"}),
        ("include=*/filters,exclude=fc1", {"c1/filters"}),
    ],
)
def test_include_and_exclude(options: str, cut: set[str]) -> None:
    assert counts(decided(flattened(), f"filter-magnitude{{{EVERY},{options}}}", None)).keys() == cut


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ("include=nothing", OptionError, "no group or layer is named 'nothing'.*inspect --groups"),
        ("exclude=c9*", OptionError, r"no group or layer is named 'c9\*'"),
        ("include=re:[", OptionError, r"'\[' is no regular expression"),
        (
            "exclude=*",
            NothingToPrune,
            r"4 groups, kept are 1 because it is an axis of a model output \(at y\), 3 by include",
        ),
        ("include=fc2/neurons", NothingToPrune, "because it is an axis of a model output"),
        ("floor=2", OptionError, "the floor of pass filter-magnitude is 2"),
        ("floor=-1", OptionError, "the floor of pass filter-magnitude is -1"),
        ("floor=nan", OptionError, "the floor of pass filter-magnitude is nan"),
        ("ratio=0", OptionError, "the ratio of pass filter-magnitude is 0"),
        ("ratio=2", OptionError, "the ratio of pass filter-magnitude is 2"),
        ("ratio=nan", OptionError, "the ratio of pass filter-magnitude is nan"),
    ],
)
def test_wrong_options(options: str, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=f"(?s){says}"):
        decided(flattened(), f"filter-magnitude{{{options}}}", None)


def test_ratio_is_the_target_where_there_is_none() -> None:
    result = decided(flattened(), "filter-magnitude{ratio=0.3}", None)
    assert (result.plan.asked, sum(counts(result).values())) == ("ratio=0.3", 7)  # of 24, to the nearest unit
    assert result.plan.reached == pytest.approx(7 / 24)
    assert not any("target" in note for note in result.notes)
    assert any(
        "no target was given: flops=0.8" in note for note in decided(flattened(), "filter-magnitude", None).notes
    )


def test_ratio_is_the_most_that_may_go_where_there_is_a_target() -> None:
    enough = decided(flattened(), "filter-magnitude{ratio=0.9}", None, "flops=0.8")
    assert enough.plan.reached <= 0.8
    with pytest.raises(TargetNotReached, match=r"flops=0\.2 cannot be reached: .* 7 of 24 units .* the ratio of 0\.3"):
        decided(flattened(), "filter-magnitude{ratio=0.3}", None, "flops=0.2")


def test_ratio_binds_multiples_too() -> None:
    """Four channels of eight would go with the next multiple, and three are allowed."""
    with pytest.raises(
        TargetNotReached, match=r"with 0 of 8 units gone.*the ratio of 0\.4, kept counts in multiples of 4"
    ):
        decided(flattened(), "filter-magnitude{include=c3/filters,ratio=0.4}", None, "flops=0.9", align=4)


@pytest.mark.parametrize(("floor", "kept"), [("0.5", [3, 4, 5]), ("0.3", [2, 3, 3]), ("0", [1, 1, 1])])
def test_floor_is_what_stays_of_each_group(floor: str, kept: list[int]) -> None:
    """Asked for the impossible, the pass says how far it came; asked for just that, it goes there."""
    most = 24 - sum(kept)
    spec = f"filter-magnitude{{floor={floor}}}"
    with pytest.raises(TargetNotReached, match=rf"removed={most} with {most} of 24 units gone, because of the floor"):
        decided(flattened(), spec, None, "removed=24")
    assert list(counts(decided(flattened(), spec, None, f"removed={most}")).values()) == [
        size - stay for size, stay in zip((6, 8, 10), kept, strict=True)
    ]


def test_floor_is_no_victim_of_rounding() -> None:
    """0.07 times 100 is a little over seven in binary."""
    proto = build(
        "(float[N,3] x) => (float[N,2] y) { [up] a = MatMul(x, w1) b = Relu(a) [down] y = MatMul(b, w2) }",
        {"w1": (3, 100), "w2": (100, 2)},
    )
    assert counts(decided(proto, "filter-magnitude{floor=0.07}", None, "removed=93")) == {"up/neurons": 93}


def test_multiples() -> None:
    result = pruned(flattened(), "filter-magnitude{floor=0}", None, "flops=0.6", align=4)
    kept = {units.group: units.size - len(units.removed) for units in result.plan.units}
    assert kept
    assert all(count % 4 == 0 for count in kept.values())


def test_weights_that_are_not_finite() -> None:
    proto = flattened()
    tensor = next(tensor for tensor in proto.graph.initializer if tensor.name == "w5")
    values = initialisers(proto)["w5"].copy()
    values[3, 1] = np.nan
    tensor.raw_data = values.tobytes()
    with pytest.raises(DataError, match="the importance of fc1/neurons is not finite"):
        decided(proto, "filter-magnitude", None, "flops=0.8")


def test_without_data_only_the_checks_are_weak() -> None:
    result = pruned(flattened(), "filter-magnitude{ratio=0.25}", None, None)
    assert CHECKS_ONLY.text in result.notes
    assert NO_DATA.text not in result.notes
