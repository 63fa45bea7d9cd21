"""A network learns, keeps its interface, is never worse than it was,
and goes on after a stop as if nothing had been.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch")

from graphprune.data.dataset import Data, load_data  # noqa: E402 - torch may be missing
from graphprune.errors import DataError, InputError, ModelError, OptionError  # noqa: E402
from graphprune.ir.export import to_proto  # noqa: E402
from graphprune.ir.loading import load  # noqa: E402
from graphprune.ir.model import Model  # noqa: E402
from graphprune.training import TrainOptions, checkpoint, finetune  # noqa: E402
from graphprune.training.loop import Trainer  # noqa: E402
from graphprune.training.network import fingerprint  # noqa: E402
from graphprune.training.run import _round  # noqa: E402
from tests.graphs import build, initialisers, run  # noqa: E402
from tests.training.parts import data, model, network, options, samples, silent  # noqa: E402


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@cache
def teacher() -> Model:
    """A network that can do it."""
    trained, report = finetune(model(), None, data(600), options(epochs=4), silent)
    assert report.after.score is not None
    assert report.after.score > 0.9
    return trained


def weights(of: Model) -> dict[str, np.ndarray]:
    return initialisers(to_proto(of))


def same(one: Model, other: Model) -> bool:
    left, right = (to_proto(each).SerializeToString(deterministic=True) for each in (one, other))
    return bool(left == right)


def accuracy(of: Model, seed: int = 5) -> float:
    images, labels = samples(400, seed)
    (scores,) = run(to_proto(of), {"x": images})
    return float((scores.argmax(1) == labels).mean())


def test_labels_alone_teach_and_the_file_says_so_too() -> None:
    before, after = accuracy(model()), accuracy(teacher())
    assert before < 0.5 < 0.9 < after


def test_the_unpruned_network_alone_teaches() -> None:
    trained, report = finetune(model(4), teacher(), data(600, labelled=False), options(epochs=4), silent)
    assert report.kind == "agreement"
    assert report.after.score is not None
    assert report.after.score > 0.9
    assert accuracy(trained) > 0.85


def test_interface_is_unchanged() -> None:
    given = network(4)
    trained, _ = finetune(load(given), teacher(), data(), options(), silent)
    written = to_proto(trained)
    onnx.checker.check_model(written, full_check=True)
    for field in ("input", "output", "node"):
        assert [v.SerializeToString() for v in getattr(written.graph, field)] == [
            v.SerializeToString() for v in getattr(to_proto(load(given)).graph, field)
        ]
    old, new = initialisers(to_proto(load(given))), initialisers(written)
    assert {n: (a.dtype, a.shape) for n, a in old.items()} == {n: (a.dtype, a.shape) for n, a in new.items()}
    assert all((old[name] != new[name]).any() for name in old)  # running means and variances too


def test_given_models_are_untouched() -> None:
    small, before = model(4), weights(model(4))
    dense = weights(teacher())
    finetune(small, teacher(), data(), options(), silent)
    for name, array in weights(small).items():
        np.testing.assert_array_equal(array, before[name])
    for name, array in weights(teacher()).items():
        np.testing.assert_array_equal(array, dense[name])


def test_never_worse_than_it_came_in() -> None:
    trained, report = finetune(teacher(), None, data(200), options(epochs=1, lr=1.0), silent)
    assert report.kept == 0
    assert report.after == report.before
    assert same(trained, teacher())


def test_the_best_epoch_is_kept_not_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    def spoilt(kind: str, start: float, done: int, total: int, warmup: float) -> float:
        return start if done < total // 2 else 3.0

    monkeypatch.setattr("graphprune.training.course.lr_at", spoilt)
    trained, report = finetune(model(), None, data(600), options(epochs=4), silent)
    scores = [row.score for row in report.epochs]
    assert report.kept in (1, 2)
    assert scores[report.kept] == max(score for score in scores if score is not None)
    assert scores[4] != scores[report.kept]
    assert accuracy(trained) > 0.6


def test_the_same_run_twice_is_bit_identical_and_another_seed_is_not() -> None:
    settings = options(augment="crop-flip")
    one, first = finetune(model(4), teacher(), data(), settings, silent)
    two, second = finetune(model(4), teacher(), data(), settings, silent)
    other, _ = finetune(model(4), teacher(), data(), replace(settings, seed=1), silent)
    assert same(one, two)
    assert [row.train_loss for row in first.epochs] == [row.train_loss for row in second.epochs]
    assert not same(one, other)


class Killed(Exception):
    """Stands for SIGKILL."""


def stop_at(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """Die before the step after ``steps`` steps."""
    step, left = Trainer._step, [steps]

    def counted(self: Trainer, *arguments: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        return step(self, *arguments)

    monkeypatch.setattr(Trainer, "_step", counted)


@pytest.mark.parametrize("lora", [None, 2])
@pytest.mark.parametrize("stops", [[3], [11, 0, 1, 13], [12], [5, 5, 5, 5]])
def test_resumed_run_is_bit_identical(stops: list[int], lora: int | None, tmp_path: Path) -> None:
    if lora:
        pytest.importorskip("peft")
    plain = options(epochs=3, batch=16, augment="crop-flip", checkpoint_seconds=0, passes_per_epoch=1, lora=lora)
    settings = replace(plain, checkpoint=tmp_path / "c", resume=True)
    whole, reference = finetune(model(4), teacher(), data(), plain, silent)
    for steps in stops:
        with pytest.MonkeyPatch.context() as patch:
            stop_at(patch, steps)
            with pytest.raises(Killed):
                finetune(model(4), teacher(), data(), settings, silent)
    resumed, report = finetune(model(4), teacher(), data(), settings, silent)
    assert same(resumed, whole)
    assert report.resumed_at is not None
    assert reference.resumed_at is None
    assert [replace(row, seconds=0) for row in report.epochs] == [replace(row, seconds=0) for row in reference.epochs]


def test_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    settings = options(epochs=1, checkpoint=tmp_path / "c", resume=True)
    finetune(model(4), teacher(), data(), settings, silent)
    cases: list[tuple[str, Model, Model | None, Data, TrainOptions]] = [
        ("its model was", model(5), teacher(), data(), settings),
        ("its unpruned network was", model(4), None, data(), settings),
        ("its training options was", model(4), teacher(), data(), replace(settings, lr=0.02)),
        ("its data was", model(4), teacher(), data(seed=1), settings),
        ("its data was", model(4), teacher(), data(labelled=False), settings),
    ]
    for message, small, dense, source, changed in cases:
        with pytest.raises(InputError, match=f"belongs to another run: {message}"):
            finetune(small, dense, source, changed, silent)
    _, report = finetune(model(4), teacher(), data(), settings, silent)
    assert report.resumed_at == 2  # it was over, and nothing is done twice


def test_trained_weights_count_as_another_model(tmp_path: Path) -> None:
    """The file's own hash is the same before and after training or cutting in memory."""
    settings = options(epochs=1, checkpoint=tmp_path / "c", resume=True)
    trained, _ = finetune(model(4), teacher(), data(), settings, silent)
    assert trained.sha256 == model(4).sha256
    with pytest.raises(InputError, match="its model was"):
        finetune(trained, teacher(), data(), settings, silent)


def test_one_bit_of_one_large_weight_makes_another_model() -> None:
    changed = network()
    (large,) = (tensor for tensor in changed.graph.initializer if tensor.name == "w3")
    values = onnx.numpy_helper.to_array(large).copy()
    values[1, 2] = np.nextafter(values[1, 2], np.float32(1))
    large.CopyFrom(onnx.numpy_helper.from_array(values, "w3"))
    assert fingerprint(model()) == fingerprint(model())
    assert fingerprint(model()) != fingerprint(load(changed))


def test_augmentation_is_on_for_images_unless_turned_off() -> None:
    losses = [
        [row.train_loss for row in finetune(model(), None, data(), options(epochs=1, augment=how), silent)[1].epochs]
        for how in ("auto", "crop-flip", "none")
    ]
    assert losses[0] == losses[1] != losses[2]
    flat = load(build("(float[N,40] x) => (float[N,4] y) { [fc] y = Gemm(x, w) }", {"w": (40, 4)}))
    source = load_data({"x": np.random.default_rng(0).random((100, 40), np.float32)}, flat, None)
    finetune(flat, flat, source, options(epochs=1, augment="auto"), silent)
    with pytest.raises(OptionError, match="augment=crop-flip needs square images"):
        finetune(flat, flat, source, options(epochs=1, augment="crop-flip"), silent)


def test_nothing_to_learn_from() -> None:
    with pytest.raises(OptionError, match="has no labels, and there is no unpruned network"):
        finetune(model(), None, data(labelled=False), options(), silent)
    with pytest.raises(OptionError, match="has no labels, and distil=0 leaves the unpruned network out"):
        finetune(model(), teacher(), data(labelled=False), options(distil=0.0), silent)
    with pytest.raises(OptionError, match="labels=0 leaves the labels out, and there is no unpruned network"):
        finetune(model(), None, data(), options(labels=0.0), silent)
    with pytest.raises(DataError, match="held-out samples have no labels"):
        finetune(model(), None, data(), options(), silent, data(labelled=False))


def test_evaluation_data_judge_and_all_samples_train() -> None:
    _, report = finetune(model(), None, data(200), options(epochs=1), silent, data(70, seed=9))
    assert (report.train_samples, report.held_out_samples) == (200, 70)
    _, split = finetune(model(), None, data(200), options(epochs=1), silent)
    assert split.train_samples + split.held_out_samples == 200
    assert split.held_out_samples > 5


def test_fixed_batch_of_the_graph_wins() -> None:
    fixed = model(batch=8)
    trained, report = finetune(fixed, None, data(300, of=fixed), options(epochs=3), silent)
    assert report.kept > 0
    assert report.held_out_samples % 8 == 0
    assert weights(trained).keys() == weights(fixed).keys()
    with pytest.raises(DataError, match="holds less than a batch of 8 to train on"):
        finetune(fixed, None, data(6, of=fixed), options(), silent, data(16, of=fixed))


def test_too_few_to_hold_out() -> None:
    with pytest.raises(DataError, match="has too few samples"):
        finetune(model(), None, data(3), options(held_out=0.001), silent)


@pytest.mark.parametrize("seconds", [0.0, 1e9])
def test_diverged_training_ends_in_a_sentence(seconds: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = options(lr=0.5, epochs=3, checkpoint=tmp_path / "c", checkpoint_seconds=seconds)
    monkeypatch.setattr(Trainer, "_step", lambda *_: torch.tensor(float("nan")))
    with pytest.raises(OptionError, match=r"the loss became nan in epoch 1 with the learning rate 0.5; try lr=0.05"):
        finetune(model(), None, data(), settings, silent)


def test_a_teacher_of_another_kind_is_refused() -> None:
    other = load(build("(float[N,4] z) => (float[N,4] y) { y = Relu(z) }"))
    with pytest.raises(ModelError, match="the unpruned network has the inputs 'z' float32, the model 'x' float32"):
        finetune(model(), other, data(), options(), silent)


def test_folded_norms_get_clipped_gradients_and_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[float] = []
    clip = torch.nn.utils.clip_grad_norm_

    def noted(weights: Any, limit: float) -> Any:
        limits.append(limit)
        return clip(weights, limit)

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", noted)
    _, plain = finetune(model(), None, data(), options(epochs=1), silent)
    assert (plain.notes, limits) == ((), [])
    _, folded = finetune(model(norm=False), None, data(), options(epochs=1), silent)
    assert set(limits) == {1.0}
    assert "gradients are clipped" in folded.notes[0]
    _, chosen = finetune(model(norm=False), None, data(), options(epochs=1, clip=5.0), silent)
    assert (chosen.notes, limits[-1]) == ((), 5.0)


def test_default_learning_rates() -> None:
    pytest.importorskip("peft")
    told = [
        finetune(model(), None, data(), options(epochs=1, lr=None, lora=lora), silent)[1].options for lora in (None, 2)
    ]
    assert ["lr=0.01" in told[0], "lr=0.0003" in told[1]] == [True, True]


def test_sorted_samples_get_a_note() -> None:
    images, labels = samples(400)
    order = np.argsort(labels, kind="stable")
    ordered = load_data({"x": images[order], "labels": labels[order]}, model(), None)
    _, report = finetune(model(), None, ordered, options(epochs=1, shuffle=64), silent)
    assert "seem to be sorted by class, and the shuffle buffer holds 64" in report.notes[0]
    _, report = finetune(model(), None, ordered, options(epochs=1), silent)
    assert report.notes == ()


@pytest.mark.parametrize("every", [2, 5, 13])
def test_rounds_of_so_many_steps_follow_one_another_through_the_passes(every: int) -> None:
    def batches(number: int) -> Any:
        return iter([(number, place) for place in range(5)])

    found: list[Any] = [batch for number in (1, 2, 3) for batch in _round(batches, 5, number, every)]
    assert found == [(step // 5 + 1, step % 5) for step in range(3 * every)]


def test_passes_per_epoch_and_mixed_precision() -> None:
    done: list[int] = []
    trained, report = finetune(
        model(),
        None,
        data(200),
        options(epochs=2, passes_per_epoch=3, autocast="bf16"),
        lambda _, n, total: done.append(total),
    )
    assert max(done) == 2 * (report.train_samples * 3 // 16)
    assert report.autocast == "bf16"
    assert weights(trained)["w1"].dtype == np.float32
    assert report.after.score is not None
    assert report.after.score > 0.5


def test_dataloader_of_tensors() -> None:
    from torch.utils.data import DataLoader, TensorDataset

    images, labels = samples(300)
    loader = DataLoader(TensorDataset(torch.from_numpy(images), torch.from_numpy(labels)), batch_size=32)
    _, of_loader = finetune(model(), None, load_data(loader, model(), None), options(), silent)
    _, of_arrays = finetune(model(), None, load_data({"x": images, "y": labels}, model(), None), options(), silent)
    assert [row.score for row in of_loader.epochs] == [row.score for row in of_arrays.epochs]


def test_lora_trains_dense_layers_only_and_is_merged() -> None:
    pytest.importorskip("peft")
    headless = to_proto(teacher())
    for tensor in headless.graph.initializer:
        if tensor.name == "w3":
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.zeros((4, 128), np.float32), "w3"))
    small = load(headless)
    trained, report = finetune(small, teacher(), data(600), options(epochs=3, lora=2, lr=0.01), silent)
    old, new = weights(small), weights(trained)
    assert {name for name in old if (old[name] != new[name]).any()} == {"w3"}
    assert np.linalg.matrix_rank(new["w3"] - old["w3"], tol=1e-4) <= 2
    assert report.after.held_out_loss < report.before.held_out_loss


def test_lora_without_dense_layers_is_refused() -> None:
    pytest.importorskip("peft")
    conv = load(build("(float[N,3,16,16] x) => (float[N,4,16,16] y) { y = Conv(x, w) }", {"w": (4, 3, 1, 1)}))
    with pytest.raises(ModelError, match="no dense layer of its own"):
        finetune(conv, conv, data(labelled=False), options(lora=2), silent)


def test_a_wrong_way_back_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from graphprune.errors import ValidationFailed

    monkeypatch.setattr("graphprune.training.network.write_back", lambda model, module: model)
    with pytest.raises(ValidationFailed, match="do not do in the ONNX model what they do in PyTorch"):
        finetune(model(), None, data(), options(), silent)


def test_state_holds_no_code(tmp_path: Path) -> None:
    settings = options(epochs=1, checkpoint=tmp_path / "c")
    finetune(model(4), teacher(), data(), settings, silent)
    content = (tmp_path / "c").read_bytes()
    assert content.startswith(checkpoint._MAGIC)
