"""Language models learn next tokens and what the unpruned network expects, from folder to folder."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch")

from graphprune.cli import main  # noqa: E402 - torch may be missing
from graphprune.cli.finetune import finetune as command_of  # noqa: E402
from graphprune.data.dataset import Data  # noqa: E402
from graphprune.errors import ModelError, OptionError, RuntimeMissing  # noqa: E402
from graphprune.ir.export import to_proto  # noqa: E402
from graphprune.ir.loading import load  # noqa: E402
from graphprune.ir.model import Model  # noqa: E402
from graphprune.text.options import TextOptions  # noqa: E402
from graphprune.text.source import open_data  # noqa: E402
from graphprune.training import TrainOptions, finetune  # noqa: E402
from graphprune.training.least_alike import least_alike  # noqa: E402
from graphprune.training.loop import Trainer  # noqa: E402
from tests.command import command  # noqa: E402
from tests.decoder_graphs import Sizes, fused_decoder, plain_decoder  # noqa: E402
from tests.graphs import initialisers  # noqa: E402
from tests.language_models import language_model, token_ids  # noqa: E402
from tests.model_folder.by_hand import GENAI, lay_down  # noqa: E402
from tests.schemas import assert_published  # noqa: E402
from tests.text.tokenizers import words, write_tokenizer  # noqa: E402
from tests.token_graphs import Shape  # noqa: E402
from tests.training.parts import silent  # noqa: E402

SMALL = Sizes(layers=2, kv_heads=1, neurons=16)
FAST = TrainOptions(steps=30, judge_every=15, batch=4, lr=0.01, device="cpu", checkpoint_seconds=1e9)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def ids(count: int = 40, length: int = 8) -> np.ndarray:
    """Tokens that count up from a start by chance."""
    starts = np.random.default_rng(0).integers(0, 40, (count, 1))
    return (starts + 3 * np.arange(length)) % 40


def data(model: Model, **more: np.ndarray) -> Data:
    return open_data({"input_ids": ids(), **more}, model, None)


@cache
def dense() -> Model:
    return load(fused_decoder())


def weights(model: Model) -> dict[str, np.ndarray]:
    return initialisers(to_proto(model))


def changed(before: Model, after: Model) -> set[str]:
    old, new = weights(before), weights(after)
    return {name for name in old if not np.array_equal(old[name], new[name])}


@pytest.mark.parametrize("make", [fused_decoder, plain_decoder])
def test_a_decoder_learns_from_next_tokens_alone(make: Any) -> None:
    model = load(make(SMALL))
    trained, report = finetune(model, None, data(model), FAST, silent)
    assert report.kind == "perplexity" and report.kept
    assert report.before.perplexity is not None and report.after.perplexity is not None
    assert report.before.perplexity > 30  # of 40 tokens
    assert report.after.perplexity < 12
    assert len(report.epochs) == 3
    assert "embedding" in changed(model, trained)
    assert not {"cos_cache", "sin_cache"} & changed(model, trained)


def test_an_unpruned_network_with_more_layers_and_heads_teaches() -> None:
    model = load(fused_decoder(SMALL))
    options = replace(FAST, labels=0.0)
    _, report = finetune(model, dense(), data(model), options, silent)
    assert report.after.held_out_loss < 0.6 * report.before.held_out_loss
    other = load(fused_decoder(replace(SMALL, vocabulary=41)))
    with pytest.raises(ModelError, match="41 tokens apart, the model 40"):
        finetune(model, other, data(model), options, silent)


def test_padding_teaches_nothing() -> None:
    model = load(fused_decoder(SMALL))
    mask = (np.arange(8) < 5).astype(np.int64) * np.ones((40, 1), np.int64)
    one, other = (
        finetune(model, dense(), data, replace(FAST, steps=4), silent, data)[0]
        for filler in (7, 9)
        for data in [open_data({"input_ids": np.where(mask, ids(), filler), "attention_mask": mask}, model, None)]
    )
    assert changed(model, one)
    for name, values in weights(one).items():
        np.testing.assert_allclose(values, weights(other)[name], atol=1e-6, err_msg=name)


def test_parts_of_a_batch_make_the_same_step() -> None:
    model = load(fused_decoder(SMALL))
    options = replace(FAST, steps=2, judge_every=1, clip=1e9)
    mask = np.ones((40, 8), np.int64)
    mask[::3, 4:] = 0  # parts with fewer tokens count less
    runs = [
        finetune(model, dense(), data(model, attention_mask=mask), replace(options, micro_batch=size), silent)
        for size in (1, 3, 4)
    ]
    for trained, report in runs[1:]:
        for row, first in zip(report.epochs, runs[0][1].epochs, strict=True):
            assert row.held_out_loss == pytest.approx(first.held_out_loss, rel=1e-5)
        for name, values in weights(trained).items():
            np.testing.assert_allclose(values, weights(runs[0][0])[name], atol=2e-4)


def test_so_many_steps_are_made_and_a_stopped_run_goes_on_with_the_same_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load(fused_decoder(SMALL))
    plain = replace(FAST, steps=13, judge_every=5, checkpoint_seconds=0)
    seen: list[int] = []

    def count(task: str, done: int, total: int, /) -> None:
        if task == "training":
            seen.append(done)
            assert total == 13

    whole, reference = finetune(model, dense(), data(model), plain, count)
    assert seen == list(range(1, 14))  # the samples make nine batches or ten: the second pass is begun
    assert len(reference.epochs) == 4
    settings = replace(plain, checkpoint=tmp_path / "c", resume=True)
    step, left = Trainer._step, 7

    def stopping(self: Trainer, *given: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        return step(self, *given)

    monkeypatch.setattr(Trainer, "_step", stopping)
    with pytest.raises(KeyboardInterrupt):
        finetune(model, dense(), data(model), settings, silent)
    monkeypatch.setattr(Trainer, "_step", step)
    resumed, report = finetune(model, dense(), data(model), settings, silent)
    assert report.resumed_at == 2
    assert not changed(whole, resumed)


def test_adapters_on_layers_of_any_layout_but_not_on_what_gives_the_scores() -> None:
    pytest.importorskip("peft")
    model = load(fused_decoder(SMALL))
    trained, report = finetune(model, dense(), data(model), replace(FAST, lora=4), silent)
    assert report.after.held_out_loss < report.before.held_out_loss
    layers = {f"{name}{i}" for i in range(2) for name in ("qkv", "o", "gate", "up", "down")}
    assert changed(model, trained) == layers  # norms, embedding and head are as they were


def test_adapters_in_the_blocks_that_are_least_alike() -> None:
    pytest.importorskip("peft")
    proto = fused_decoder(SMALL)
    loud = next(tensor for tensor in proto.graph.initializer if tensor.name == "down1")
    loud.CopyFrom(onnx.numpy_helper.from_array(40 * onnx.numpy_helper.to_array(loud), "down1"))
    model = load(proto)
    assert {"gate1", "up1", "down1"} <= least_alike(model, data(model), 1)
    assert "down0" not in least_alike(model, data(model), 1)
    trained, _ = finetune(model, dense(), data(model), replace(FAST, lora=4, lora_blocks=1), silent)
    assert changed(model, trained) == {"gate1", "up1", "down1"}
    with pytest.raises(OptionError, match="lora-blocks is for LoRA"):
        replace(FAST, lora_blocks=1)


def test_the_recipe_of_amp_and_what_is_said_otherwise() -> None:
    recipe = TrainOptions.parse("recipe=amp", lr="0.001")
    assert (recipe.lora, recipe.lora_alpha, recipe.lora_dropout, recipe.lr) == (8, 16, 0.05, 0.001)
    assert (recipe.batch, recipe.micro_batch, recipe.epochs, recipe.distil) == (16, 1, 2, 0)
    with pytest.raises(OptionError, match="no recipe 'amb'; the recipes are: amp"):
        TrainOptions.parse("recipe=amb")


def test_without_peft_only_adapters_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "peft.tuners.lora", None)
    model = load(fused_decoder(SMALL))
    quick = replace(FAST, steps=1)
    finetune(model, None, data(model), quick, silent)
    with pytest.raises(RuntimeMissing, match=r"pip install 'graphprune\[lora\]'"):
        finetune(model, None, data(model), replace(quick, lora=2), silent)


def test_a_network_that_reads_later_tokens_has_no_next_ones_to_learn(tmp_path: Path) -> None:
    proto = language_model(Shape())
    model = load(proto)
    given = replace(open_data(token_ids(40), model, None), tokens=data(dense()).tokens)
    with pytest.raises(OptionError, match="has no labels"):
        finetune(model, None, given, FAST, silent)
    _, report = finetune(model, load(language_model(Shape())), given, replace(FAST, steps=1), silent)
    assert report.kind == "agreement"


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An unpruned network, a pruned one and a text."""
    pytest.importorskip("tokenizers")
    monkeypatch.setitem(main.cli.commands, "finetune", command_of)
    write_tokenizer(tmp_path)
    others = {"genai_config.json": GENAI, "tokenizer.json": (tmp_path / "tokenizer.json").read_text(encoding="utf-8")}
    lay_down(tmp_path / "llm", fused_decoder(Sizes(vocabulary=300)), others, data="model.onnx.data")
    small = fused_decoder(replace(SMALL, vocabulary=300))
    lay_down(tmp_path / "small", small, others | {"notes/a.txt": "é"}, data="model.onnx.data")
    (tmp_path / "corpus.txt").write_text(words(3_000), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


QUICK = ["--steps", 6, "--batch-size", 4, "--chunk-tokens", 16, "--lr", 0.01, "--set", "device=cpu"]


def test_from_folder_to_folder(
    folders: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words_ = ["small", "--teacher", "llm", "--data", "corpus.txt", "--json", "-", "-v", *QUICK]
    assert command(monkeypatch, "finetune", *words_) == 0
    told = capsys.readouterr()
    report = json.loads(told.out)
    assert_published(report)
    assert report["kind"] == "perplexity" and report["output"] == "small.tuned"
    assert report["train_samples"] + report["held_out_samples"] == 27  # 6 steps of 4, and a tenth
    assert "perplexity" in told.err
    made, before = folders / "small.tuned", folders / "small"
    names = {file.relative_to(made).as_posix() for file in made.rglob("*") if file.is_file()}
    assert names == {file.relative_to(before).as_posix() for file in before.rglob("*") if file.is_file()}
    for name in names - {"model.onnx", "model.onnx.data"}:
        assert (made / name).read_bytes() == (before / name).read_bytes()
    old, new = (onnx.load(folder / "model.onnx") for folder in (before, made))  # with the data beside them
    assert not np.array_equal(initialisers(old)["gate0"], initialisers(new)["gate0"])
    assert np.array_equal(initialisers(old)["cos_cache"], initialisers(new)["cos_cache"])
    assert not (folders / "small.tuned.checkpoint").exists()


def test_the_last_tenth_of_a_text_judges(
    folders: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words_ = ["small", "--teacher", "llm", "--data", "corpus.txt", "--eval", "text", "--json", "-", *QUICK]
    assert command(monkeypatch, "finetune", *words_) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["train_samples"] == 24  # nothing of them is held out
    whole = open_data(
        str(folders / "corpus.txt"), load(folders / "small" / "model.onnx"), None, text=TextOptions(chunk_tokens=16)
    )
    assert 0.08 < report["held_out_samples"] / sum(map(len, whole.batches(64))) < 0.12


def test_a_folder_is_not_overwritten_and_its_checkpoint_lies_outside(
    folders: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words_ = ["small", "--teacher", "llm", "--data", "corpus.txt", *QUICK]
    assert command(monkeypatch, "finetune", *words_, "-o", "llm") == 1
    assert "is not empty" in capsys.readouterr().err
    assert command(monkeypatch, "finetune", *words_, "-o", "new", "--checkpoint", "small/c") == 1
    assert "lies in the model's folder" in capsys.readouterr().err
