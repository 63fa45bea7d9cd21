"""Perplexity, agreement and divergence of language models, against sums by hand over a model of pairs of tokens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest

from graphprune.data.batching import Arrays
from graphprune.data.dataset import Data, TokenNames
from graphprune.errors import DataError, OptionError
from graphprune.evaluation.accuracy import Judging, evaluate
from graphprune.evaluation.language import TextScores, score_text
from graphprune.evaluation.side_by_side import EvaluationOptions, evaluate_models
from graphprune.ir.loading import load
from graphprune.runtime.sessions import RuntimeOptions, open_session
from graphprune.text.options import TextOptions
from graphprune.text.source import open_data
from tests.decoder_graphs import Sizes, fused_decoder
from tests.text.tokenizers import words, write_tokenizer

ONE_THREAD = RuntimeOptions(threads=1)
TABLE = np.random.default_rng(0).normal(size=(20, 20)).astype(np.float32)
OTHER = (TABLE + np.random.default_rng(1).normal(size=(20, 20)) / 2).astype(np.float32)
IDS = np.random.default_rng(2).integers(0, 20, (4, 9))


def _pairs(table: np.ndarray, *, looks_ahead: bool = False) -> onnx.ModelProto:
    """Scores of the next token by the last one; or by the mean over all."""
    body = "s = Gather(table, input_ids) " + (
        "m = ReduceMean<axes = [1], keepdims = 1>(s) logits = Add(s, m)" if looks_ahead else "logits = Identity(s)"
    )
    proto = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (int64[n, s] input_ids, int64[n, s] attention_mask) '
        f"=> (float[n, s, {len(table)}] logits) {{ {body} mask = Identity(attention_mask) }}"
    )
    proto.graph.initializer.append(onnx.numpy_helper.from_array(table, "table"))
    return proto


def _data(proto: onnx.ModelProto, feeds: Arrays) -> Data:
    return replace(open_data(feeds, load(proto)), tokens=TokenNames("input_ids", "attention_mask"))


def _scores(protos: list[onnx.ModelProto], feeds: Arrays) -> tuple[TextScores, ...] | None:
    return score_text([open_session(proto, ONE_THREAD) for proto in protos], _data(protos[0], feeds))


def _log_shares(table: np.ndarray) -> np.ndarray:
    values = table.astype(np.float64)
    shares: np.ndarray = values - np.log(np.exp(values).sum(-1, keepdims=True))
    return shares


def _pairs_of(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return ids[:, :-1].reshape(-1), ids[:, 1:].reshape(-1)


def test_the_figures_are_those_of_sums_by_hand() -> None:
    found = _scores([_pairs(TABLE), _pairs(OTHER)], {"input_ids": IDS})
    assert found is not None
    before, after = (each.figures for each in found)
    last, following = _pairs_of(IDS)
    one, other = _log_shares(TABLE), _log_shares(OTHER)
    assert before.tokens == after.tokens == 32
    assert before.perplexity.value == pytest.approx(np.exp(-one[last, following].mean()))
    assert after.perplexity.value == pytest.approx(np.exp(-other[last, following].mean()))
    assert after.agreement.value == (one[last].argmax(1) == other[last].argmax(1)).mean()
    assert after.kl_nats.value == pytest.approx((np.exp(one) * (one - other)).sum(1)[last].mean())
    assert (before.agreement.value, before.kl_nats.value) == (1.0, 0.0)


def test_the_error_is_that_of_the_mean_over_chunks() -> None:
    found = _scores([_pairs(TABLE)], {"input_ids": IDS})
    assert found is not None
    losses = -_log_shares(TABLE)[IDS[:, :-1], IDS[:, 1:]].mean(1)
    error = np.exp(losses.mean()) * losses.std(ddof=1) / 2
    assert found[0].figures.perplexity.standard_error == pytest.approx(error)
    alone = _scores([_pairs(TABLE)], {"input_ids": IDS[:1]})
    assert alone is not None
    assert alone[0].figures.perplexity.standard_error is None


def test_padding_counts_neither_as_a_token_nor_as_what_came_before_one() -> None:
    mask = np.ones_like(IDS)
    mask[:, :3] = 0
    mask[1, 7:] = 0
    padded = _scores([_pairs(TABLE)], {"input_ids": IDS, "attention_mask": mask})
    assert padded is not None
    kept = [IDS[row, mask[row] == 1] for row in range(4)]
    loss = np.concatenate([-_log_shares(TABLE)[ids[:-1], ids[1:]] for ids in kept])
    assert padded[0].figures.tokens == len(loss)
    assert padded[0].figures.perplexity.value == pytest.approx(np.exp(loss.mean()))
    with pytest.raises(DataError, match="no two tokens in a row"):
        _scores([_pairs(TABLE)], {"input_ids": IDS, "attention_mask": np.zeros_like(IDS)})


def test_a_model_that_looks_ahead_is_no_language_model() -> None:
    assert _scores([_pairs(TABLE, looks_ahead=True)] * 2, {"input_ids": IDS}) is None


def test_a_chunk_is_in_memory_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    def counted(session: Any, feeds: Arrays, outputs: list[str]) -> list[np.ndarray]:
        sizes.append(feeds["input_ids"].shape)
        found: list[np.ndarray] = session.run(outputs, feeds)
        return found

    monkeypatch.setattr("graphprune.evaluation.language.run", counted)
    _scores([_pairs(TABLE), _pairs(OTHER)], {"input_ids": IDS})
    assert set(sizes) == {(1, 9)}


def test_a_token_that_cannot_be_has_no_divergence_and_no_chance() -> None:
    first, second = TABLE.copy(), OTHER.copy()
    first[:, 3] = second[:, 3] = -np.inf
    ids = np.where(IDS == 3, 4, IDS)
    found = _scores([_pairs(first), _pairs(second)], {"input_ids": ids})
    assert found is not None
    assert np.isfinite([found[1].figures.kl_nats.value, found[1].figures.perplexity.value]).all()
    certain = _scores([_pairs(first)], {"input_ids": np.full((2, 4), 3)})
    assert certain is not None
    assert certain[0].figures.perplexity.value == np.inf


def test_the_pruned_one_may_have_less_of_a_cache() -> None:
    large, small = fused_decoder(Sizes(layers=3)), fused_decoder(Sizes(layers=2, kv_heads=1))
    data = open_data({"input_ids": np.random.default_rng(0).integers(0, 40, (3, 12))}, load(large))
    found = evaluate(small, Judging(large, None, data, 1, ONE_THREAD))
    assert found.kind == "perplexity"
    assert (found.samples, found.outputs) == (3, ())
    assert found.text is not None
    assert found.text.after.tokens == 33
    assert 0 < found.text.after.agreement.value < 1


def test_arrays_for_a_model_without_a_cache_are_judged_as_ever() -> None:
    data = open_data({"input_ids": IDS, "attention_mask": np.ones_like(IDS)}, load(_pairs(TABLE)))
    assert evaluate(_pairs(OTHER), Judging(_pairs(TABLE), None, data, 2, ONE_THREAD)).kind == "agreement"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    write_tokenizer(tmp_path)
    table = np.random.default_rng(0).normal(size=(300, 300)).astype(np.float32)
    onnx.save(_pairs(table), tmp_path / "a.onnx")
    onnx.save(_pairs(table / 2), tmp_path / "b.onnx")
    (tmp_path / "corpus.txt").write_text(words(4_000), encoding="utf-8")
    yield tmp_path


def test_evaluate_compares_language_models_on_text(folder: Path) -> None:
    options = EvaluationOptions(runtime=ONE_THREAD, samples=6, text=TextOptions(chunk_tokens=32))
    report = evaluate_models([folder / "a.onnx", folder / "b.onnx"], folder / "corpus.txt", options)
    assert (report.reference, report.samples, report.settings["next_tokens"]) == ("text", 6, 6 * 31)
    perplexity, agreement, divergence = report.rows
    assert (perplexity.name, agreement.name) == ("perplexity", "agreement")
    assert perplexity.differences[0].value == pytest.approx(perplexity.values[1].value - perplexity.values[0].value)
    assert perplexity.differences[0].is_different
    assert [value.value for value in agreement.values] == [1.0, 1.0]
    assert divergence.values[0].value == 0 < divergence.values[1].value


def test_evaluate_needs_two_chunks_and_no_attacks(folder: Path) -> None:
    options = EvaluationOptions(runtime=ONE_THREAD, samples=1)
    with pytest.raises(DataError, match="makes one, from which no error can be estimated"):
        evaluate_models([folder / "a.onnx"], folder / "corpus.txt", options)
    with pytest.raises(OptionError, match="the data are text"):
        evaluate_models([folder / "a.onnx"], folder / "corpus.txt", replace(options, energy_country="USA"))
