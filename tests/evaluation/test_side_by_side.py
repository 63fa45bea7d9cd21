"""Whole evaluations of small models: what the rows say, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from graphprune.data.dataset import load_data
from graphprune.errors import DataError, GraphpruneError, ModelError, OptionError
from graphprune.evaluation import accuracy as older
from graphprune.evaluation.attacks import fgsm, pgd
from graphprune.evaluation.corruptions import chosen
from graphprune.evaluation.robustness_report import ConditionRow, RobustnessReport
from graphprune.evaluation.side_by_side import EvaluationOptions, evaluate_models
from graphprune.ir.loading import load
from graphprune.runtime.sessions import RuntimeOptions
from tests.evaluation.classifiers import IMAGES, classifier
from tests.graphs import build

ONE_THREAD = RuntimeOptions("cpu", 1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two models; the labels are what the first one decides on 3 of 4 images."""
    from tests.graphs import run

    onnx.save(classifier(), tmp_path / "a.onnx")
    onnx.save(classifier(1), tmp_path / "b.onnx")
    labels = run(tmp_path / "a.onnx", {"x": IMAGES})[0].argmax(1)
    labels[::4] = (labels[::4] + 1) % 4
    np.savez(tmp_path / "test.npz", x=IMAGES, labels=labels)
    np.savez(tmp_path / "bare.npz", x=IMAGES)
    return tmp_path


def report(folder: Path, *names: str, data: str = "test.npz", **settings: Any) -> RobustnessReport:
    options = EvaluationOptions(runtime=ONE_THREAD, **settings)
    return evaluate_models([folder / name for name in names], folder / data, options)


def named(found: RobustnessReport, name: str, level: str = "") -> ConditionRow:
    return next(row for row in found.rows if row.name == name and row.level == level)


def test_clean_row_is_the_older_evaluation(folder: Path) -> None:
    top1 = named(report(folder, "a.onnx", "b.onnx"), "top-1")
    data = load_data(folder / "test.npz", load(folder / "a.onnx"), None)
    expected = older.evaluate(folder / "b.onnx", older.Judging(folder / "a.onnx", None, data, 8, ONE_THREAD))
    assert [value.value for value in top1.values] == [expected.before, expected.after]
    assert expected.before == 0.75
    assert top1.differences[0].value == pytest.approx(expected.after - expected.before)


def test_a_model_does_not_differ_from_itself_and_another_does_both_ways(folder: Path) -> None:
    pytest.importorskip("torch")
    settings: dict[str, Any] = {
        "attacks": (fgsm(0.01), pgd(0.02, 3)),
        "corruptions": chosen(["noise"]),
        "severities": (1, 5),
    }
    for row in report(folder, "a.onnx", "a.onnx", **settings).rows:
        assert row.values[0] == row.values[1], row.name
        assert row.differences[0].value == 0
        assert not row.differences[0].is_different
    there, back = (report(folder, *names, **settings) for names in (("a.onnx", "b.onnx"), ("b.onnx", "a.onnx")))
    signs = set()
    for one, other in zip(there.rows, back.rows, strict=True):
        assert one.values == other.values[::-1]
        assert one.differences[0].value == pytest.approx(-other.differences[0].value)
        signs.add(np.sign(one.differences[0].value))
    assert named(there, "top-1").differences[0].is_different
    assert {-1, 1} <= signs  # top-1 falls, the calibration error rises


def test_attacks_cost_accuracy_and_more_epsilon_costs_more(folder: Path) -> None:
    pytest.importorskip("torch")
    found = report(folder, "a.onnx", attacks=(fgsm(0.002), fgsm(0.05), pgd(0.002), pgd(0.05)))
    clean, weak, strong, weak_pgd, strong_pgd = (
        row.values[0].value for row in (*found.select("clean"), *found.select("attack"))
    )
    assert clean >= weak >= weak_pgd
    assert clean - strong > 0.3
    assert strong_pgd <= strong
    assert strong_pgd < weak_pgd


def test_the_shipped_network_under_attack(shipped: Path, evaluation: Path) -> None:
    pytest.importorskip("torch")
    options = EvaluationOptions((fgsm(2 / 255), pgd(2 / 255, 5)), samples=96, runtime=ONE_THREAD)
    found = evaluate_models([shipped], evaluation, options)
    clean, single, many = (row.values[0].value for row in (found.rows[0], *found.select("attack")))
    assert clean > 0.9
    assert many <= single < clean - 0.1


def test_attacks_count_on_gradients_of_this_network_only(folder: Path) -> None:
    pytest.importorskip("torch")
    from graphprune.evaluation.network import differentiable
    from graphprune.evaluation.samples import gather

    samples, (judge,) = gather([folder / "a.onnx"], folder / "test.npz", None, 7, ONE_THREAD)
    scores = judge(samples.inputs)
    network = differentiable(folder / "a.onnx", samples, scores)
    torch = pytest.importorskip("torch")
    same = network(torch.tensor(samples.inputs)).numpy()
    assert np.abs(same - scores).max() < 1e-4
    assert (same.argmax(1) == scores.argmax(1)).all()
    with pytest.raises(ModelError, match="differs from ONNX Runtime"):
        differentiable(folder / "b.onnx", samples, scores)


def test_the_batch_size_changes_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    monkeypatch.setattr("graphprune.evaluation.side_by_side._CHUNK", 16)
    settings: dict[str, Any] = {"attacks": (pgd(0.01, 3),), "corruptions": chosen(["gaussian-noise", "fog"])}
    one, other = (report(folder, "a.onnx", "b.onnx", batch=batch, **settings) for batch in (7, 32))
    assert one.rows == other.rows


def test_a_fixed_batch_size_is_kept(folder: Path) -> None:
    pytest.importorskip("torch")
    onnx.save(classifier(batch="8"), folder / "eight.onnx")
    settings: dict[str, Any] = {"attacks": (fgsm(0.01),), "corruptions": chosen(["contrast"])}
    fixed, free = (report(folder, name, **settings) for name in ("eight.onnx", "a.onnx"))
    assert fixed.rows == free.rows


def test_means_are_means(folder: Path) -> None:
    found = report(folder, "a.onnx", "b.onnx", corruptions=chosen(["noise", "contrast"]), severities=(2, 4))
    for which in (0, 1):
        kinds = [named(found, kind.name) for kind in chosen(["noise", "contrast"])]
        for kind in kinds:
            levels = [named(found, kind.name, level).values[which].value for level in ("2", "4")]
            assert kind.values[which].value == pytest.approx(np.mean(levels))
        noise = np.mean([kind.values[which].value for kind in kinds[:4]])
        assert named(found, "noise").values[which].value == pytest.approx(noise)
        whole = np.mean([kind.values[which].value for kind in kinds])
        assert named(found, "corruptions").values[which].value == pytest.approx(whole)


def test_without_labels_each_model_is_held_to_its_own_decisions(folder: Path) -> None:
    found = report(folder, "a.onnx", "b.onnx", data="bare.npz", corruptions=chosen(["brightness"]), severities=(1,))
    assert found.reference == "decisions"
    assert named(found, "agreement").values[0].value == 1
    assert named(found, "agreement").values[1].value < 0.8
    assert named(found, "brightness").values[1].value > 0.6  # against b's own decisions, not a's
    assert not found.select("calibration")
    assert "own clean decision" in found.notes[0]


def test_a_softmax_at_the_end_is_noticed(folder: Path) -> None:
    pytest.importorskip("torch")
    model = classifier()
    model.graph.node[-1].output[0] = "logits"
    model.graph.node.append(onnx.helper.make_node("Softmax", ["logits"], ["y"], axis=1))
    onnx.save(model, folder / "soft.onnx")
    found = report(folder, "a.onnx", "soft.onnx", attacks=(fgsm(0.01),))
    assert any("soft.onnx ends in a softmax" in note for note in found.notes)
    for row in found.rows:
        assert row.values[0].value == pytest.approx(row.values[1].value, abs=0.03), row.name


def test_nothing_left_is_said(folder: Path) -> None:
    pytest.importorskip("torch")
    found = report(folder, "a.onnx", attacks=(pgd(0.5),))
    assert any("leaves no model anything" in note for note in found.notes)


def _normalised(folder: Path) -> None:
    np.savez(folder / "test.npz", x=3 * IMAGES - 1, labels=np.zeros(40, np.int64))


def _many_classes(folder: Path) -> None:
    onnx.save(classifier(classes=5), folder / "b.onnx")


def _wrong_labels(folder: Path) -> None:
    np.savez(folder / "test.npz", x=IMAGES, labels=np.full(40, 4))


def _two_inputs(folder: Path) -> None:
    onnx.save(build("(float[N,4] x, float[N,4] m) => (float[N,4] y) { y = Add(x, m) }"), folder / "b.onnx")


def _maps(folder: Path) -> None:
    onnx.save(build("(float[N,3,16,16] x) => (float[N,3,16,16] y) { y = Relu(x) }"), folder / "b.onnx")


def _other_images(folder: Path) -> None:
    onnx.save(build("(float[N,3,8,8] x) => (float[N,192] y) { y = Flatten(x) }"), folder / "b.onnx")


def _one_sample(folder: Path) -> None:
    np.savez(folder / "test.npz", x=IMAGES[:1], labels=np.zeros(1, np.int64))


@pytest.mark.parametrize(
    ("arrange", "kind", "says"),
    [
        (_normalised, OptionError, "--pixel-mean and --pixel-std"),
        (_many_classes, ModelError, r"different numbers of classes \(\[4, 5\]\)"),
        (_wrong_labels, DataError, "labels of test.npz run from 4 to 4"),
        (_two_inputs, ModelError, "b.onnx has 2 inputs"),
        (_maps, DataError, "b.onnx is"),
        (_one_sample, DataError, "test.npz holds one sample"),
        (_other_images, ModelError, "compare like with like"),
    ],
)
def test_refusals(folder: Path, arrange: Callable[[Path], None], kind: type[GraphpruneError], says: str) -> None:
    arrange(folder)
    with pytest.raises(kind, match=says):
        report(folder, "a.onnx", "b.onnx", corruptions=chosen(["contrast"]))
