"""A right rewrite passes however small or noisy an output is, and one wrong index never does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from graphprune.analysis.blocks import find_joins
from graphprune.analysis.model_analysis import analyse
from graphprune.axes.algebra import Atom
from graphprune.data.dataset import Data, load_data
from graphprune.errors import ValidationFailed
from graphprune.ir.export import write
from graphprune.ir.loading import load
from graphprune.rewrite import remove_blocks, remove_units
from graphprune.rewrite.removal import Removal
from graphprune.runtime.sessions import RuntimeOptions, open_model
from graphprune.validation.difference import Extent, relative_error
from graphprune.validation.validate import Validation, check_normalisation, validate
from graphprune.validation.yardstick import Yardstick
from tests.graphs import build, random_weight

OPTIONS = RuntimeOptions(threads=1)
UNITS = 16
BATCH = 4


def network(scale: float = 1.0, ending: str = "y = Identity(c)", weights: np.ndarray | None = None) -> onnx.ModelProto:
    """Two convolutions with ``UNITS`` filters between them, an output of one channel times ``scale``, and an ending."""
    second = random_weight("w2", (1, UNITS, 3, 3)) if weights is None else weights
    return build(
        f"""(float[N,3,8,8] x) => (float[N,1,8,8] y) {{
        [first] a = Conv<pads = [1, 1, 1, 1]>(x, w1) b = Relu(a) [second] c = Conv<pads = [1, 1, 1, 1]>(b, w2, shift)
        {ending} }}""",
        {
            "w1": random_weight("w1", (UNITS, 3, 3, 3)),
            "w2": (second * scale).astype(np.float32),
            "shift": np.array([0.1 * scale], np.float32),
            "far": np.array([-100], np.float32),
            "low": np.array([-1e4], np.float32),
            "one": np.array([1], np.float32),
            "zero": np.array([0], np.float32),
        },
    )


def proved(proto: onnx.ModelProto, removed: list[int], tmp_path: Path, wrong: str = "") -> Validation:
    """Filters cut from the file and from the plan, and held against each other.

    ``wrong``: ``unit`` = the file keeps another filter in place of one of the plan's, ``order`` = the second
    convolution reads two of its filters in each other's place.
    """
    model = load(proto)
    data = samples(proto)
    analysis = analyse(model, data.first(1), OPTIONS)
    (group,) = (group for group in analysis.groups if group.writers == ("first",))
    kept = mask(group.atom, removed)
    cut = dict(kept)
    if wrong == "unit":
        other = int(np.flatnonzero(kept[group.atom])[-1])
        cut = mask(group.atom, [*removed[:-1], other])
    small = remove_units(model, analysis.typing, cut)
    if wrong == "order":
        (reader,) = (node for node in small.graph.nodes if node.name == "second")
        values = np.array(reader.inputs[1].values)
        values[:, [0, -1]] = values[:, [-1, 0]]
        reader.inputs[1].values = values
    write(small, tmp_path / "small.onnx")
    return validate([Removal(model, typing=analysis.typing, kept=kept)], tmp_path / "small.onnx", data, BATCH, OPTIONS)


def mask(atom: Atom, removed: list[int]) -> dict[Atom, np.ndarray]:
    keep = np.ones(atom.size, dtype=bool)
    keep[removed] = False
    return {atom: keep}


def samples(proto: onnx.ModelProto) -> Data:
    values = np.random.default_rng(0).standard_normal((2 * BATCH, 3, 8, 8)).astype(np.float32)
    return load_data({"x": values}, load(proto))


ENDINGS = {
    "linear": "y = Identity(c)",
    "sigmoid": "y = Sigmoid(c)",
    "softmax": "d = Flatten(c) e = Softmax<axis = 1>(d) y = Reshape(e, back)",
    "dead": "d = Add(c, far) y = Sigmoid(d)",
    "saturated": "d = Sub(c, far) y = Sigmoid(d)",
    "noisy": "d = BatchNormalization(c, one, zero, low, one) e = Add(d, low) y = Tanh(e)",
}


@pytest.mark.parametrize("removed", [[5], [1, 3, 4, 8, 11], [*range(1, 14)]], ids=len)
@pytest.mark.parametrize("scale", [1e-25, 1e-6, 1.0, 1e6, 1e25])
def test_one_wrong_index_fails_at_every_scale(scale: float, removed: list[int], tmp_path: Path) -> None:
    assert proved(network(scale), removed, tmp_path).max_relative_error < 1e-5
    for wrong in ("unit", "order"):
        with pytest.raises(ValidationFailed, match="differs from the masked original"):
            proved(network(scale), removed, tmp_path, wrong)


def fading(removed: list[int], left: float) -> onnx.ModelProto:
    """A network whose output shrinks to ``left`` of what it was, and less, when ``removed`` go."""
    weights = random_weight("w2", (1, UNITS, 3, 3))
    weights[:, [unit for unit in range(UNITS) if unit not in removed]] *= left
    proto = network(weights=weights)
    for tensor in proto.graph.initializer:
        if tensor.name == "shift":
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.zeros(1, np.float32), "shift"))
    return proto


@pytest.mark.parametrize("left", [1e-2, 1e-4, 1e-6, 1e-9])
def test_one_wrong_index_fails_however_little_is_left(left: float, tmp_path: Path) -> None:
    """The unit that is wrong is one of those that hardly count."""
    removed = [*range(8)]
    proved(fading(removed, left), removed, tmp_path)
    with pytest.raises(ValidationFailed, match="differs from the masked original"):
        proved(fading(removed, left), removed, tmp_path, "order")


@pytest.mark.parametrize("ending", ["sigmoid", "softmax", "dead", "saturated", "noisy"])
def test_one_wrong_index_fails_before_an_activation(ending: str, tmp_path: Path) -> None:
    proto = network(ending=ENDINGS[ending])
    if "back" in ENDINGS[ending]:
        proto.graph.initializer.append(onnx.numpy_helper.from_array(np.array([-1, 1, 8, 8]), "back"))
    proved(proto, [2, 7], tmp_path)
    for wrong in ("unit", "order"):
        with pytest.raises(ValidationFailed, match="differs from the masked original"):
            proved(proto, [2, 7], tmp_path, wrong)


def test_an_output_that_the_cut_drives_to_zero_is_no_false_alarm(tmp_path: Path) -> None:
    """Half of the filters hold the scores up; without them Sigmoid gives 1e-7 and less, and its rounding is all."""
    random = np.random.default_rng(1)
    strong = np.arange(64) % 2 == 0
    w1 = random.normal(size=(64, 3, 3, 3)) * np.where(strong, 0.3, 0.06)[:, None, None, None]
    w2 = random.random((1, 64, 3, 3)) * np.where(strong, random.normal(size=64) * 0.02, 1.0)[None, :, None, None]
    proto = build(
        """(float[N,3,8,8] x) => (float[N,1,8,8] y) {
        [first] a = Conv<pads = [1, 1, 1, 1]>(x, w1) b = Relu(a)
        [second] c = Conv<pads = [1, 1, 1, 1]>(b, w2, shift) y = Sigmoid(c) }""",
        {
            "w1": w1.astype(np.float32),
            "w2": w2.astype(np.float32),
            "shift": np.array([-16], np.float32),
        },
    )
    weak = [*np.flatnonzero(~strong)]
    assert proved(proto, weak, tmp_path).max_relative_error < 1e-6
    with pytest.raises(ValidationFailed, match=r"'c', before the last activation, .* differs"):
        proved(proto, weak, tmp_path, "order")


def test_an_output_that_is_rounding_from_the_start_is_no_false_alarm(tmp_path: Path) -> None:
    """Sigmoid gives multiples of 6e-8 there, and which of them, the order of a sum decides; what enters it tells."""
    proto = build(
        """(float[N,3,8,8] x) => (float[N,1,8,8] y) {
        [first] a = Conv<pads = [1, 1, 1, 1]>(x, w1) n = BatchNormalization(a, g, h, m, v) b = Relu(n)
        [second] c = Conv<pads = [1, 1, 1, 1]>(b, w2, shift) y = Sigmoid(c) }""",
        {
            "w1": (UNITS, 3, 3, 3),
            **dict.fromkeys("gh", (UNITS,)),
            "m": (UNITS,),
            "v": np.linspace(0.5, 1.5, UNITS, dtype=np.float32),
            "w2": (1, UNITS, 3, 3),
            "shift": np.array([-17], np.float32),
        },
    )
    found = proved(proto, [2, 7], tmp_path)
    assert found.max_relative_error <= found.tolerance == 1e-4
    for wrong in ("unit", "order"):
        with pytest.raises(ValidationFailed, match=r"'c', before the last activation, .* differs"):
            proved(proto, [2, 7], tmp_path, wrong)


def test_noise_raises_the_limit_and_is_told(tmp_path: Path) -> None:
    quiet, noisy = (proved(network(ending=ENDINGS[how]), [2, 7], tmp_path) for how in ("sigmoid", "noisy"))
    assert quiet.self_difference < 1e-5
    assert quiet.tolerance == 1e-4
    assert 1e-4 < noisy.self_difference < 2e-2
    assert noisy.tolerance == pytest.approx(min(10 * noisy.self_difference, 2e-2))
    assert noisy.max_relative_error <= noisy.tolerance


def test_flips_of_discrete_outputs_raise_no_limit() -> None:
    proto = build(
        "(float[N,3,8,8] x) => (float[N,3,8,8] y, int64[N,1,8,8] best) { y = Sin(x) best = ArgMax<axis = 1>(y) }"
    )
    model = load(proto)
    yardstick = Yardstick(model, samples(proto), BATCH, OPTIONS)
    other = load(
        build("(float[N,3,8,8] x) => (float[N,3,8,8] y, int64[N,1,8,8] best) { y = Cos(x) best = ArgMax<axis = 1>(y) }")
    )
    sessions = iter([open_model(model, OPTIONS), open_model(other, OPTIONS)])
    yardstick.hear(lambda is_optimised: next(sessions), ["y", "best"])
    assert (yardstick.limit("y"), yardstick.limit("best")) == (2e-2, 1e-4)


def test_later_samples_widen_the_scale(tmp_path: Path) -> None:
    """The first samples are empty, so that the original gives nothing but a shift of 1e-3 for them."""
    proto = network()
    model = load(proto)
    values = np.random.default_rng(0).standard_normal((2 * BATCH, 3, 8, 8)).astype(np.float32)
    values[:BATCH] = 0
    yardstick = Yardstick(model, load_data({"x": values}, model), BATCH, OPTIONS)
    low, high = np.zeros((1, 1), np.float32), np.full((1, 1), 1e-4, np.float32)
    before = yardstick.error("y", low, high)
    yardstick.widen({"x": values[BATCH:]})
    assert yardstick.error("y", low, high) < before / 10
    assert yardstick.error("y", low, high, on_own_scale=True) == np.inf


@pytest.mark.parametrize(
    ("values", "original", "expected"),
    [
        ([0.0, 0.05], [0.0, 1.0], True),
        ([0.0, 0.5], [0.0, 1.0], False),
        ([1.0, 1.0001], [0.9, 1.1], True),
        ([0.0], [0.0], True),
        ([np.nan, np.inf], [0.0, 1.0], False),
        ([3], [1], False),
    ],
)
def test_what_has_collapsed(values: list[float], original: list[float], expected: bool) -> None:
    extents = [Extent(), Extent()]
    for extent, given in zip(extents, (values, original), strict=True):
        extent.add(np.array(given) if isinstance(given[0], int) else np.array(given, np.float32))
    assert extents[0].has_collapsed(extents[1]) == expected


def test_the_scale_is_that_of_the_original() -> None:
    small, other = np.array([1e-8], np.float32), np.array([3e-8], np.float32)
    assert relative_error(small, other) == pytest.approx(2)
    assert relative_error(small, other, 2.0) == pytest.approx(1e-8)
    assert relative_error(np.array([4.0]), np.array([5.0]), 2.0) == 0.25


def test_the_file_as_given_may_differ_by_its_noise() -> None:
    proto = network(ending=ENDINGS["noisy"])
    check_normalisation(load(proto), samples(proto), BATCH, OPTIONS)


def test_a_collapsed_output_whose_activation_left_with_a_block(tmp_path: Path) -> None:
    """The tensor before the activation is not there any more, and the output alone is compared."""
    proto = build(
        """(float[N,4] x) => (float[N,4] y) {
        a = MatMul(x, w0) h = Relu(a) b = MatMul(h, w1) c = Tanh(b) d = MatMul(c, w2)
        [join] e = Add(h, d) y = Relu(e) }""",
        {
            "w0": 1e-3 * random_weight("w0", (4, 4)),
            "w1": 1e4 * random_weight("w1", (4, 4)),
            "w2": 10 * random_weight("w2", (4, 4)),
        },
    )
    model = load(proto)
    (block,) = (join.block for join in find_joins(model) if join.block)
    write(remove_blocks(model, [block]), tmp_path / "small.onnx")
    data = load_data(np.random.default_rng(0).standard_normal((8, 4)).astype(np.float32), model)
    assert validate([Removal(model, (block,))], tmp_path / "small.onnx", data, BATCH, OPTIONS).samples == 8
