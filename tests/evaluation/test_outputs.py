"""Every output compared: errors and cosines, whatever the outputs are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from graphprune.data.batching import Arrays, Batch
from graphprune.data.dataset import load_data
from graphprune.errors import DataError, OptionError
from graphprune.evaluation.accuracy import Evaluation, Judging, evaluate
from graphprune.evaluation.metric import Batches
from graphprune.evaluation.outputs import OutputComparison, are_class_scores
from graphprune.ir.loading import load
from graphprune.runtime.sessions import RuntimeOptions
from tests.graphs import build

X = np.random.default_rng(0).standard_normal((20, 4)).astype(np.float32)


def models(outputs: str, body: str, gain: float = 1.1, inputs: str = "float[N,4] x") -> list[onnx.ModelProto]:
    """An original, and one whose ``gain`` is another."""
    text = f"({inputs}) => ({outputs}) {{ {body} }}"
    return [build(text, {"gain": np.array([value], np.float32)}) for value in (1.0, gain)]


def judged(pair: list[onnx.ModelProto], feeds: Arrays, metric: Any = None) -> Evaluation:
    data = load_data(feeds, load(pair[0]), None)
    return evaluate(pair[1], Judging(pair[0], None, data, 8, RuntimeOptions(threads=1), metric))


def test_sums_over_batches_are_those_over_all() -> None:
    generator = np.random.default_rng(1)
    one, other = (generator.standard_normal((30, 3, 5)).astype(np.float32) for _ in range(2))
    compared = OutputComparison(["a", "b", "c", "d"])
    for part in (slice(0, 7), slice(7, 30)):
        ids = np.arange(30)[part]
        compared.add([one[part], ids, one[part], [{}]], [other[part], np.where(ids == 3, 0, ids), one[part, :2], [{}]])
    first, second, third = compared.results()  # a sequence is not compared
    assert first.relative_error == pytest.approx(np.linalg.norm(one - other) / np.linalg.norm(one))
    assert first.cosine == pytest.approx(np.sum(one * other) / np.linalg.norm(one) / np.linalg.norm(other), abs=1e-6)
    assert (second.name, second.cosine) == ("b", None)
    assert second.relative_error == pytest.approx(1 / 30)
    assert (third.relative_error, third.cosine, third.reshaped) == (None, None, 2)


def test_outputs_of_zeros_and_infinities() -> None:
    compared = OutputComparison(["zero", "same", "wild"])
    wild = np.array([np.inf, 3.0, np.nan])
    compared.add([np.zeros(3), np.zeros(3), wild], [np.ones(3), np.zeros(3), wild])
    zero, same, infinite = compared.results()
    assert (zero.relative_error, same.relative_error, infinite.relative_error) == (None, 0.0, 0.0)


@pytest.mark.parametrize(
    ("outputs", "body"),
    [
        ("float[N,1,2,4] y", "z = Mul(x, gain) u = Unsqueeze(z, a) c = Concat<axis = 1>(u, u) y = Unsqueeze(c, a)"),
        ("float[N,1,4] y", "z = Mul(x, gain) y = Unsqueeze(z, a)"),
        ("float[N,1] y", "z = Mul(x, gain) y = ReduceMean<axes = [1]>(z)"),
    ],
)
def test_what_is_no_class_score_has_an_error_not_a_choice(outputs: str, body: str) -> None:
    pair = models(outputs, body)
    for each in pair:
        each.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1]), "a"))
    found = judged(pair, {"x": X})
    assert (found.kind, found.before, found.samples) == ("error", 0.0, 20)
    assert found.after == pytest.approx(0.1, rel=1e-3)
    assert found.outputs[0].cosine == pytest.approx(1.0)


def test_class_scores_agree_and_every_output_is_compared() -> None:
    pair = models("float[N,4] y, float[N,1] z", "y = Mul(x, gain) m = ReduceMean<axes = [1]>(x) z = Mul(m, gain)", 2.0)
    found = judged(pair, {"x": X})
    assert (found.kind, found.before, found.after) == ("agreement", 1.0, 1.0)
    assert [(each.name, each.relative_error) for each in found.outputs] == [("y", 1.0), ("z", 1.0)]
    labelled = judged(pair, {"x": X, "labels": X.argmax(1)})
    assert (labelled.kind, labelled.after, len(labelled.outputs)) == ("top1", 1.0, 2)


def test_tokens_have_choices() -> None:
    pair = models("float[N,T,4] y", "e = Gather(x, ids) y = Mul(e, gain)", inputs="int64[N,T] ids")
    for each in pair:
        each.graph.initializer.append(onnx.numpy_helper.from_array(X, "x"))
    found = judged(pair, {"ids": np.arange(12).reshape(3, 4)})
    assert (found.kind, found.after, found.samples) == ("agreement", 1.0, 3)


def gap(batches: Batches) -> float:
    """Mean distance of the output from labels that are no class numbers."""
    return float(np.mean(np.concatenate([np.abs(out["y"] - samples["labels"]) for out, samples in batches])))


def test_a_metric_of_the_users_own(tmp_path: Path) -> None:
    pair = models("float[N,4] y", "y = Mul(x, gain)", 2.0)
    data = load_data({"x": X, "labels": X}, load(pair[0]), None)
    free = replace(data, has_free_labels=True)
    (tmp_path / "own.py").write_text(
        "import numpy as np\ndef gap(batches):\n    return max(float(abs(o['y'] - s['x']).max()) for o, s in batches)\n"
    )
    options = RuntimeOptions(threads=1)
    found = evaluate(pair[1], Judging(pair[0], None, free, 8, options, gap))
    assert (found.kind, found.metric, found.before) == ("metric", "gap", 0.0)
    assert found.after == pytest.approx(np.abs(X).mean())
    found = evaluate(pair[1], Judging(pair[0], None, free, 8, options, f"{tmp_path}/own.py:gap"))
    assert found.metric == "gap"
    assert found.after == pytest.approx(np.abs(X).max())


def fails(batches: Batches) -> float:
    raise KeyError("boxes")


@pytest.mark.parametrize(
    ("metric", "says"),
    [
        ("own.py", "'own.py' is no metric; write --metric script.py:function"),
        ("nowhere.py:gap", "there is no metric script nowhere.py"),
        (fails, "the metric fails failed: KeyError: 'boxes'"),
        (lambda batches: "good", "returned a str; return one number"),
        (lambda batches: np.nan, "returned nan; return a finite number"),
    ],
)
def test_metrics_that_cannot_be_used(metric: Any, says: str) -> None:
    with pytest.raises((OptionError, DataError), match=says):
        judged(models("float[N,4] y", "y = Mul(x, gain)"), {"x": X}, metric)


def test_labels_of_what_is_no_class_score_want_a_metric() -> None:
    pair = models("float[N,1,4] y", "z = Mul(x, gain) y = Unsqueeze(z, a)")
    for each in pair:
        each.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1]), "a"))
    with pytest.raises(DataError, match=r"first output is \[8, 1, 4\]; drop them, or judge by --metric"):
        judged(pair, {"x": X, "labels": np.zeros(20, np.int64)})


def test_embeddings_of_one_length_are_no_classes() -> None:
    """Their largest entry says nothing, and a share of samples that keep it would look like an accuracy."""
    part = Batch({"x": np.zeros((8, 3), np.float32)}, None)
    rows = np.random.default_rng(0).standard_normal((8, 5)).astype(np.float32)
    directions = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    certain = np.eye(5, dtype=np.float32)[[0, 1, 2, 3, 4, 0, 1, 2]]
    assert are_class_scores(part, rows)
    assert are_class_scores(part, certain), "probabilities of a network that is sure of itself"
    assert not are_class_scores(part, directions)
    assert not are_class_scores(part, directions.astype(np.float16))
