"""Half-precision weights are trained in single precision, and come back as halves."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from graphprune.data.dataset import load_data  # noqa: E402 - torch may be missing
from graphprune.ir.export import to_proto  # noqa: E402
from graphprune.ir.loading import load  # noqa: E402
from graphprune.training import finetune  # noqa: E402
from graphprune.training.network import Place, TrainableNetwork  # noqa: E402
from tests.graphs import build, initialisers, run  # noqa: E402
from tests.training.parts import options, samples, silent  # noqa: E402


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def test_half_precision_weights_are_trained_in_float32_and_come_back_as_halves() -> None:
    text = """(float16[N,3,16,16] x) => (float16[N,4] y) {
        [c1] a = Conv<pads = [1, 1, 1, 1], strides = [2, 2]>(x, w1) [r1] b = Relu(a)
        [flat] f = Flatten(b) [fc] y = Gemm<transB = 1>(f, w3, b3) }"""
    shapes = {"w1": (6, 3, 3, 3), "w3": (4, 6 * 64), "b3": (4,)}
    values = {n: np.random.default_rng(0).uniform(-0.1, 0.1, s).astype(np.float16) for n, s in shapes.items()}
    half = load(build(text, values))
    images, labels = samples(500)
    source = load_data({"x": images.astype(np.float16), "labels": labels}, half, None)
    student = TrainableNetwork(half, Place.of(options()))
    assert {parameter.dtype for parameter in student.module.parameters()} == {torch.float32}
    trained, report = finetune(half, None, source, options(epochs=3), silent)
    assert report.kept > 0
    assert {array.dtype for array in initialisers(to_proto(trained)).values()} == {np.dtype(np.float16)}
    (scores,) = run(to_proto(trained), {"x": images.astype(np.float16)})
    assert float((scores.argmax(1) == labels).mean()) > 0.6


@pytest.mark.parametrize("edge", ["float", "float16"])
def test_half_precision_inside_is_trained_against_a_half_precision_teacher(edge: str) -> None:
    """Casts at the edges and in the middle; the halves of the file are trained, and judged, in single precision."""
    text = f"""({edge}[N,3,16,16] x) => ({edge}[N,4] y) {{
        xh = Cast<to = 10>(x) [c1] a = Conv<pads = [1, 1, 1, 1], strides = [2, 2]>(xh, w1, b1) s = Cast<to = 1>(a)
        t = Tanh(s) h = Cast<to = 10>(t) [flat] f = Flatten(h) [fc] z = Gemm<transB = 1>(f, w3, b3)
        y = Cast<to = {1 if edge == "float" else 10}>(z) }}"""
    shapes = {"w1": (6, 3, 3, 3), "b1": (6,), "w3": (4, 6 * 64), "b3": (4,)}
    random = np.random.default_rng(0)
    values = {n: random.uniform(-0.1, 0.1, s).astype(np.float16) for n, s in shapes.items()}
    half, unpruned = load(build(text, values)), load(build(text, {n: v * 3 for n, v in values.items()}))
    images = samples(200)[0].astype(np.float32 if edge == "float" else np.float16)
    source = load_data({"x": images}, half, None)
    trained, report = finetune(half, unpruned, source, options(epochs=2), silent)
    assert report.kept > 0
    assert {array.dtype for array in initialisers(to_proto(trained)).values()} == {np.dtype(np.float16)}
    assert [node.op for node in trained.graph.nodes] == [node.op for node in half.graph.nodes]
    teacher, student, before = (run(to_proto(each), {"x": images})[0] for each in (unpruned, trained, half))
    assert np.abs(student - teacher).mean() < 0.95 * np.abs(before - teacher).mean()
