"""Networks whose inputs count samples along other axes, or not at all, through every stage that uses data."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import graphprune
from graphprune import DataOptions, RecoveryOptions, RunOptions, RuntimeOptions, TimingOptions
from graphprune.ir.export import to_proto
from tests.command import command
from tests.graphs import build, run

WEIGHTS = {f"{side}{i}": shape for i in range(3) for side, shape in (("a", (6, 16)), ("b", (16, 6)))} | {"w": (6, 3)}
BODY = "\n".join(
    f"m{i} = MatMul({entry}, a{i}) r{i} = Relu(m{i}) s{i} = MatMul(r{i}, b{i}) o{i} = Add({entry}, s{i})"
    for i, entry in enumerate(("x", "o0", "o1"))
)
STREAM = f"""(float[N,6] x, float[2,N,6] state, float rate) => (float[N,3] y, float[2,N,6] z) {{
    {BODY} d = MatMul(o2, w) y = Mul(d, rate) z = Add(state, o2)
}}"""
SEQUENCE = f"(float[T,N,6] x) => (float[T,N,3] y) {{ {BODY} y = MatMul(o2, w) }}"
GRAPH = f"""(float[nodes,6] x, int64[2,E] edges) => (float[nodes,3] y)
<int64[1] first = {{0}}, int64[1] second = {{1}}> {{
    {BODY}
    from2 = Gather<axis = 0>(edges, first) origin = Squeeze(from2, first)
    to2 = Gather<axis = 0>(edges, second) targets = Squeeze(to2, first)
    message = Gather<axis = 0>(o2, origin) tall = Unsqueeze(targets, second)
    sizes = Shape(message) wide = Expand(tall, sizes)
    g = ScatterElements<axis = 0, reduction = "add">(o2, wide, message) y = MatMul(g, w)
}}"""
QUIET = RunOptions(batch=8, align=1, timing=TimingOptions(measure_latency=False), runtime=RuntimeOptions(threads=1))


def floats(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def graphs() -> list[dict[str, np.ndarray]]:
    edges = np.random.default_rng(0)
    return [{"x": floats(n, 6), "edges": edges.integers(0, n, (2, 3 * n))} for n in range(5, 30)]


NETWORKS: dict[str, tuple[str, Any, int]] = {
    "stream": (STREAM, {"x": floats(48, 6), "state": floats(2, 48, 6), "rate": np.array(2, np.float32)}, 48),
    "sequence": (SEQUENCE, {"x": floats(9, 48, 6)}, 48),
    "graph": (GRAPH, graphs(), 25),
}
PASSES = [
    ("layer-cka{rescore=none,skip_first=false,floor=0}", "removed=1"),
    ("layer-cka{rescore=repaired,skip_first=false,floor=0}", "removed=1"),
    ("filter-obs", "params=0.8"),
    ("neuron-projection", "params=0.8"),
    ("joint-cka", "params=0.8"),
]


@pytest.mark.parametrize(("spec", "target"), PASSES)
@pytest.mark.parametrize("kind", NETWORKS)
def test_scored_proved_repaired_and_judged(kind: str, spec: str, target: str) -> None:
    text, samples, count = NETWORKS[kind]
    options = replace(QUIET, data=DataOptions(evaluation=samples))
    result = graphprune.prune(build(text, WEIGHTS), [spec], samples, target, options=options)
    assert result.validation is not None
    assert result.validation.samples == count
    assert result.repair is not None
    assert result.repair.samples == count
    assert result.evaluation is not None
    assert result.evaluation.samples == count


@pytest.mark.slow
@pytest.mark.parametrize("kind", NETWORKS)
def test_trained(kind: str) -> None:
    pytest.importorskip("torch")
    from graphprune.training import TrainOptions

    text, samples, count = NETWORKS[kind]
    training = TrainOptions.parse("epochs=1,batch=16,lr=0.001,device=cpu,augment=none")
    options = replace(QUIET, recovery=RecoveryOptions(finetune=training))
    result = graphprune.prune(build(text, WEIGHTS), ["filter-magnitude"], samples, "params=0.8", options=options)
    (report,) = result.training
    assert report.train_samples + report.held_out_samples == count
    assert result.model is not None
    feeds = samples[0] if isinstance(samples, list) else samples
    for name, array in zip(("y", "z"), run(to_proto(result.model), feeds), strict=False):
        assert np.isfinite(array).all(), name


def test_vip_sees_each_sample_wherever_it_is_counted() -> None:
    labels = np.arange(48) % 3
    by_row = SEQUENCE.replace("T,N", "N,T")
    plans = [
        graphprune.prune(
            build(text, WEIGHTS),
            ["filter-pls-vip"],
            {"x": x, "labels": labels},
            "removed=6",
            dry_run=True,
            options=QUIET,
        ).plan
        for text, x in ((SEQUENCE, floats(8, 48, 6)), (by_row, floats(8, 48, 6).swapaxes(0, 1).copy()))
    ]
    assert [units.removed for units in plans[0].units] == [units.removed for units in plans[1].units]


def test_the_user_may_say_which_axis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, data, plan = tmp_path / "m.onnx", tmp_path / "d.npz", tmp_path / "plan.json"
    onnx.save(build(SEQUENCE.replace("T,N", "p,q"), WEIGHTS), model)
    np.savez(data, x=floats(9, 48, 6))
    words = [model, "--pass", "neuron-projection", "--target", "params=0.8", "--data", data, "--no-bench"]
    words += ["--input-batch-axis", "x=1", "--plan-out", plan, "--json", tmp_path / "r.json"]
    assert command(monkeypatch, *words) == 0
    assert json.loads(plan.read_text())["data"]["batch_axes"] == {"x": 1}
    assert json.loads((tmp_path / "r.json").read_text())["validation"]["samples"] == 48
    assert command(monkeypatch, *words[:-6], "--plan-out", plan) == 0
    assert "batch_axes" not in json.loads(plan.read_text())["data"]  # nine rows


def test_inspect_needs_no_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx.save(build(STREAM.replace("N,6", "N,T,6").replace("N,3", "N,T,3"), WEIGHTS), tmp_path / "m.onnx")
    for more in ([], ["--groups"]):
        assert command(monkeypatch, "inspect", tmp_path / "m.onnx", *more, "--json", tmp_path / "i.json") == 0
        said = capsys.readouterr().err
        assert "sizes of free axes were picked: x 1x16x6, state 2x1x16x6" in " ".join(said.split())
        assert json.loads((tmp_path / "i.json").read_text())["notes"]


def test_static_inputs_of_other_sizes_are_as_the_file_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "(float[1,3,6] x, float[4] scales, float[1] on) => (float[1,3,3] y) <int64[2] s = {2, 2}> {"
    text += f"{BODY} d = MatMul(o2, w) e = Mul(d, on) m = ReduceMean<keepdims = 0>(scales) y = Mul(e, m) }}"
    onnx.save(build(text, WEIGHTS), tmp_path / "m.onnx")
    words = [tmp_path / "m.onnx", "--pass", "filter-magnitude", "--target", "params=0.8", "--no-bench"]
    assert command(monkeypatch, *words) == 0
    np.savez(tmp_path / "d.npz", x=floats(5, 3, 6), scales=floats(4), on=np.ones(5, np.float32))
    result = tmp_path / "r.json"
    assert command(monkeypatch, *words, "--data", tmp_path / "d.npz", "--json", result) == 0
    assert json.loads(result.read_text())["validation"]["samples"] == 5
    np.savez(tmp_path / "d.npz", x=floats(5, 3, 6), scales=floats(5, 4), on=np.ones(5, np.float32))
    assert command(monkeypatch, *words, "--data", tmp_path / "d.npz", "--json", result) == 0
    assert json.loads(result.read_text())["validation"]["samples"] == 5


def test_a_free_size_may_be_written_as_minus_one() -> None:
    proto = build(SEQUENCE.replace("T,N", "N,T"), WEIGHTS)
    for value in (proto.graph.input[0], proto.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_value = -1
    result = graphprune.prune(proto, ["filter-magnitude"], floats(7, 4, 6), "params=0.8", options=QUIET)
    assert result.validation is not None
    assert result.validation.samples == 7
