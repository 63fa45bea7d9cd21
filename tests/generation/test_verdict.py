"""Never slower holds for both phases of generation."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

import graphprune
from graphprune import RecoveryOptions, RunOptions, RuntimeOptions, TimingOptions
from graphprune.errors import NotFaster
from graphprune.generation import measure, pruned
from graphprune.generation.measure import GenerationMeasurement, PointMeasurement
from graphprune.generation.points import GenerationPoint
from graphprune.generation.pruned import original_decoder, points, step_feeds
from graphprune.generation.verdict import is_faster, is_slower, refuse_slower_phases
from graphprune.ir.loading import load
from graphprune.measure.timing import Comparison, Latency
from graphprune.runtime.sessions import run
from tests.decoder_graphs import Sizes, fused_decoder, plain_decoder
from tests.generation.folders import free_depth
from tests.graphs import residual_mlp
from tests.schemas import assert_published

ONE = RuntimeOptions(threads=1)
FASTER, SLOWER, SAME = (0.8, 0.9), (1.1, 1.2), (0.95, 1.05)
Interval = tuple[float, float]


def times(low: float, high: float) -> Comparison:
    ratio = (low + high) / 2
    first, second = (Latency(ms, ms, ms) for ms in (10.0, 10.0 * ratio))
    return Comparison(first, second, ratio, low, high, 10)


def measurement(token: Interval, first: Interval, *, long_first: Interval | None = None) -> GenerationMeasurement:
    short = PointMeasurement(16, 64, times(*first), times(*token), times(*token), (10, 12))
    long = PointMeasurement(512, 16, times(*(long_first or first)), times(*token), times(*token), (10, 12))
    where = {"runtime": "onnxruntime 1", "provider": "CPUExecutionProvider"}
    return GenerationMeasurement((short, long), 1, where)


@pytest.mark.parametrize(("token", "first"), [(FASTER, FASTER), (FASTER, SAME), (SAME, FASTER)])
def test_faster_in_one_phase_and_slower_in_none_is_accepted(token: Interval, first: Interval) -> None:
    assert is_faster(measurement(token, first))
    refuse_slower_phases(measurement(token, first), [], [])


def test_a_phase_that_is_slower_is_named() -> None:
    found = measurement(FASTER, SAME, long_first=SLOWER)
    assert is_slower(found) and not is_faster(found)
    with pytest.raises(NotFaster) as caught:
        refuse_slower_phases(found, ["odd widths"], ["--align auto"])
    assert "slower than the original on onnxruntime 1, CPUExecutionProvider, batch 1" in caught.value.message
    assert "at the first token of a prompt of 512 1.15 times its time [1.100, 1.200] (odd" in caught.value.message
    assert "per token" not in caught.value.message
    assert caught.value.fix == "--align auto; or --allow-slower"
    with pytest.raises(NotFaster, match=r"per token after a prompt of 16 1\.15 times"):
        refuse_slower_phases(measurement(SLOWER, FASTER), [], [])


def test_no_phase_that_is_certainly_faster_is_no_gain() -> None:
    with pytest.raises(NotFaster, match="no faster than the original"):
        refuse_slower_phases(measurement(SAME, SAME), [], [])


def test_points_are_shortened_to_the_positions() -> None:
    assert points(load(plain_decoder())) == (GenerationPoint(16, 64), GenerationPoint(512, 16))
    assert points(load(fused_decoder(Sizes(layers=1, positions=64)))) == (
        GenerationPoint(16, 32),
        GenerationPoint(48, 16),
    )


@pytest.mark.parametrize("proto", [plain_decoder(), free_depth(fused_decoder())])
def test_a_step_is_fed_one_token_and_a_cache_of_half_the_way(proto: onnx.ModelProto) -> None:
    decoder = original_decoder(load(proto), ONE)
    assert decoder is not None
    first = step_feeds(decoder, GenerationPoint(16, 64), 2, is_first=True)
    assert (first["input_ids"].shape, first["past_key_values.0.key"].shape) == ((2, 16), (2, 2, 0, 16))
    then = step_feeds(decoder, GenerationPoint(16, 64), 2, is_first=False)
    assert (then["input_ids"].shape, then["past_key_values.0.key"].shape) == ((2, 1), (2, 2, 48, 16))
    assert then["attention_mask"].shape == (2, 49)
    assert run(decoder.session, then)[0].shape == (2, 1, 40)


def test_what_no_loop_can_feed_is_timed_as_any_network() -> None:
    assert original_decoder(load(residual_mlp(2)), ONE) is None
    proto = plain_decoder()
    proto.graph.input.append(onnx.helper.make_tensor_value_info("extra", onnx.TensorProto.FLOAT, [1]))
    assert original_decoder(load(proto), ONE) is None


def cut(output: Path, *, allow_slower: bool) -> graphprune.Result:
    sizes = Sizes(layers=2)
    data = {"input_ids": np.random.default_rng(0).integers(0, 40, (4, 6)), "attention_mask": np.ones((4, 6), int)}
    past = np.zeros((4, sizes.kv_heads, 0, sizes.depth), np.float32)
    data |= {f"past_key_values.{i}.{kind}": past for i in range(2) for kind in ("key", "value")}
    options = RunOptions(
        runtime=ONE,
        timing=TimingOptions(seconds=0.01, allow_slower=allow_slower, use_cache=False),
        recovery=RecoveryOptions(repair=()),
    )
    return graphprune.prune(plain_decoder(sizes), "filter-magnitude", data, "params=0.9", output, options=options)


def test_a_result_that_is_slower_in_a_phase_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds: list[float] = []

    def made_up(*_: object, min_seconds: float, **__: object) -> PointMeasurement:
        seconds.append(min_seconds)
        return measurement(FASTER, SLOWER).points[0]

    monkeypatch.setattr(measure, "measure_point", made_up)
    with pytest.raises(NotFaster, match=r"at the first token of a prompt of 16 1\.15 times"):
        cut(tmp_path / "small.onnx", allow_slower=False)
    assert not list(tmp_path.iterdir())
    assert seconds == [0.01, 0.01]  # what is certain needs no second look
    result = cut(tmp_path / "small.onnx", allow_slower=True)
    assert result.output is not None and result.generation is not None


def test_what_is_certainly_faster_needs_no_second_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[float] = []

    def made_up(*_: object, min_seconds: float, **__: object) -> PointMeasurement:
        looks.append(min_seconds)
        return measurement(FASTER, SAME).points[0]

    monkeypatch.setattr(measure, "measure_point", made_up)
    assert cut(tmp_path / "small.onnx", allow_slower=False).output is not None
    assert looks == [0.01, 0.01]


def test_where_no_phase_is_certain_there_is_a_second_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[float] = []

    def made_up(*_: object, min_seconds: float, **__: object) -> PointMeasurement:
        looks.append(min_seconds)
        return measurement(SAME if min_seconds < 1 else FASTER, SAME).points[0]

    monkeypatch.setattr(measure, "measure_point", made_up)
    assert cut(tmp_path / "small.onnx", allow_slower=False).output is not None
    assert looks == [0.01, 0.01, 2.0, 2.0]


def test_both_phases_are_in_the_result_and_its_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruned, "FIRST", GenerationPoint(24, 4))
    result = cut(tmp_path / "small.onnx", allow_slower=True)
    assert result.generation is not None and result.measurement is not None
    assert [(point.prompt, point.new) for point in result.generation.points] == [(16, 64), (24, 4)]
    content = json.loads(result.to_json())
    assert_published(content)
    assert content["generation"]["points"][0]["tokens_per_s"][0] > 0
