"""Without labels a network comes nearer to the one it was pruned from, and is never further away than it was."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch")

from graphprune.analysis.blocks import find_joins  # noqa: E402 - torch may be missing
from graphprune.data.dataset import Data, load_data  # noqa: E402
from graphprune.errors import OptionError  # noqa: E402
from graphprune.ir.export import to_proto  # noqa: E402
from graphprune.ir.loading import load  # noqa: E402
from graphprune.ir.model import Model  # noqa: E402
from graphprune.rewrite import remove_blocks  # noqa: E402
from graphprune.text.source import open_data  # noqa: E402
from graphprune.training import TrainOptions, finetune, healing  # noqa: E402
from graphprune.training.course import Course  # noqa: E402
from graphprune.training.junctions import distance, shared_junctions  # noqa: E402
from graphprune.training.loop import Trainer  # noqa: E402
from graphprune.training.report import EpochReport  # noqa: E402
from graphprune.training.trial import bold_rate  # noqa: E402
from tests.decoder_graphs import Sizes, fused_decoder  # noqa: E402
from tests.graphs import initialisers  # noqa: E402
from tests.small_cnns import stages  # noqa: E402
from tests.training.parts import silent  # noqa: E402

STEPS = 40


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@cache
def dense() -> Model:
    return load(stages([3], norms=True))


@cache
def small() -> Model:
    """Without its second block."""
    blocks = [join.block for join in find_joins(dense()) if join.block is not None]
    return remove_blocks(dense(), [blocks[1]])


@cache
def images() -> Data:
    rows = np.random.default_rng(0).standard_normal((300, 3, 12, 12)).astype(np.float32)
    return load_data({"x": rows}, dense(), None)


def options(budget: str | int = STEPS, spec: str = "", **changes: Any) -> TrainOptions:
    plain = replace(healing(budget, spec), batch=16, device="cpu", checkpoint_seconds=1e9)
    return replace(plain, **changes)


def weights(of: Model) -> dict[str, np.ndarray]:
    return initialisers(to_proto(of))


def same(one: Model, other: Model) -> bool:
    left, right = (to_proto(each).SerializeToString(deterministic=True) for each in (one, other))
    return bool(left == right)


def test_junctions_are_the_joins_that_both_have() -> None:
    assert shared_junctions(small(), dense()) == ("t0", "t2")
    assert shared_junctions(dense(), dense()) == ("t0", "t1", "t2")


def test_distances_count_as_shares_of_what_is_wanted() -> None:
    wanted = torch.tensor([[1.0, 2.0], [2.0, 4.0]])
    assert float(distance(wanted * 1.1, wanted)) == pytest.approx(0.01, rel=1e-4)
    places = torch.stack([wanted, wanted * 1000])  # n, places, features
    off = places.clone()
    off[0, 0] *= 2
    assert float(distance(off, places)) == pytest.approx(0.25)
    is_place = torch.tensor([[True, False], [False, False]])
    assert float(distance(off, places, is_place)) == pytest.approx(1.0)


@pytest.mark.slow
def test_healing_comes_nearer_without_labels_and_leaves_the_norms_statistics() -> None:
    healed, report = finetune(small(), dense(), images(), options(), silent)
    assert report.kept > 0
    assert report.after.held_out_loss < 0.7 * report.before.held_out_loss
    old, new = weights(small()), weights(healed)
    changed = {name for name in old if not np.array_equal(old[name], new[name])}
    assert {"m0", "v0", "m2", "v2"} & set(old) == {"m0", "v0", "m2", "v2"}
    assert not changed & {"m0", "v0", "m2", "v2"}
    assert {"w0", "stages.0.0.conv1.weight", "g0", "b0", "w_head"} <= changed


@pytest.mark.slow
def test_junctions_make_the_stream_alike_where_outputs_alone_do_not() -> None:
    from graphprune.training.network import Place, TrainableNetwork

    healed = [finetune(small(), dense(), images(), options(junctions=j, lr=1e-3), silent)[0] for j in (1.0, 0.0)]
    feeds = images().first(64)
    where = Place.of(options())
    names = shared_junctions(small(), dense())
    wanted = TrainableNetwork(dense(), where, watched=names)
    target = wanted.observed(wanted.tensors(feeds))[1:]
    found = []
    for each in healed:
        network = TrainableNetwork(each, where, watched=names)
        with torch.no_grad():
            inside = network.observed(network.tensors(feeds))[1:]
            found.append(sum(float(distance(one, other)) for one, other in zip(inside, target, strict=True)))
    assert found[0] < 0.9 * found[1]


def test_a_rate_that_destroys_leaves_the_network_as_it_came() -> None:
    healed, report = finetune(small(), dense(), images(), options(20, lr=1.0), silent)
    assert report.kept == 0
    assert same(healed, small())


def test_the_step_with_the_lowest_held_out_loss_is_kept_whatever_the_agreement() -> None:
    rows = [EpochReport(0, None, None, 0.5, 0.9, 0.0), EpochReport(1, 0.1, 0.4, 0.4, 0.8, 1.0)]
    assert rows[1].is_better_than(rows[0], by="loss")
    assert not rows[1].is_better_than(rows[0])


def test_the_largest_rate_that_does_no_harm_is_taken() -> None:
    tried: list[float] = []

    def borne(largest: float) -> Any:
        def at(lr: float) -> float:
            tried.append(lr)
            return float("inf") if lr > 30 * largest else 1.01 if lr <= largest else 1.05

        return at

    assert bold_rate(borne(4e-4), 1e-4, 1.0) == 3e-4
    assert tried == [1e-4, 3e-4, 9e-4]
    assert bold_rate(borne(2e-5), 1e-4, 1.0) == 1e-5
    assert bold_rate(borne(1e-9), 1e-4, 1.0) == 4e-6  # the last rung
    assert bold_rate(borne(1e-1), 1e-4, 1.0) == 9e-4


@pytest.mark.slow
def test_trials_leave_no_trace() -> None:
    """A run at the rate that they chose is the same run."""
    probed, report = finetune(small(), dense(), images(), options(), silent)
    chosen = TrainOptions.parse(report.options).lr
    given, other = finetune(small(), dense(), images(), options(lr=chosen), silent)
    assert same(probed, given)
    assert [row.held_out_loss for row in report.epochs] == [row.held_out_loss for row in other.epochs]


class Killed(Exception):
    """Stands for SIGKILL."""


@pytest.mark.slow
@pytest.mark.parametrize("budget", ["30", "auto"])
def test_a_stopped_healing_ends_with_the_same_bytes(
    budget: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graphprune.training.course._MOST_STEPS", 30)
    plain = options(budget, judge_every=10, checkpoint_seconds=0)
    whole, reference = finetune(small(), dense(), images(), plain, silent)
    settings = replace(plain, checkpoint=tmp_path / "c", resume=True)
    step = Trainer._step
    for stop in (8, 36):
        left = [stop]

        def counted(self: Trainer, *given: Any, left: list[int] = left) -> Any:
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return step(self, *given)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Trainer, "_step", counted)
            with pytest.raises(Killed):
                finetune(small(), dense(), images(), settings, silent)
    resumed, report = finetune(small(), dense(), images(), settings, silent)
    assert same(resumed, whole)
    assert [row.held_out_loss for row in report.epochs] == [row.held_out_loss for row in reference.epochs]


def test_auto_ends_where_the_loss_does_not_fall_any_more() -> None:
    def row(epoch: int, loss: float) -> EpochReport:
        return EpochReport(epoch, 0.1, 0.1, loss, None, 1.0)

    course, rows = Course.until_still(10, 0.1), [row(0, 8.0)]
    for epoch in range(1, 5):
        rows.append(row(epoch, 8.0 / 2**epoch))
        course = course.after(rows)
    assert (course.falls_from, course.steps) == (-1, 20_000)
    rows += [row(5, 0.5), row(6, 0.499), row(7, 0.6)]
    ended = course.after(rows)
    assert (ended.falls_from, ended.steps) == (70, 91)
    assert ended.after([*rows, row(8, 0.4)]) == ended
    how = options("auto")
    rates = [ended.rate(how, done) for done in (0, 69, 70, 80, 90)]
    assert rates[0] == rates[1] == rates[2] == 0.1 > rates[3] > rates[4] > 0


@pytest.mark.slow
def test_auto_on_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graphprune.training.course._MOST_STEPS", 30)
    _, report = finetune(small(), dense(), images(), options("auto", judge_every=10, lr=0.003), silent)
    assert report.kept > 0
    assert len(report.epochs) == 5
    assert [row.lr for row in report.epochs[1:4]] == [0.003] * 3
    assert report.epochs[-1].lr is not None and report.epochs[-1].lr < 0.0003


def test_a_time_ends_a_run() -> None:
    _, report = finetune(small(), dense(), images(), options("2s", lr=1e-3), silent)
    assert report.seconds < 6
    assert len(report.epochs) >= 2
    course = Course(100, 20, 0.1)
    assert course.within(5.0, 0.5, 40).steps == 50
    assert course.within(-1.0, 0.5, 40).steps == 40


def test_budgets() -> None:
    assert healing(400).steps == healing("400").steps == 400
    assert healing("1.5min").seconds == 90
    assert healing("2h").seconds == 7200
    assert healing().until_still
    assert healing("30", "junctions=0.5", lr="1e-5").junctions == 0.5
    for wrong in ("1.5", "ten", "10 parsecs", "-3", ""):
        with pytest.raises(OptionError, match="neither a number of steps nor a time"):
            healing(wrong)
    with pytest.raises(OptionError, match="one can be given"):
        healing("30", "seconds=3")


@pytest.mark.slow
def test_a_decoder_heals_on_next_tokens() -> None:
    whole = load(fused_decoder())
    cut = load(fused_decoder(Sizes(layers=2, kv_heads=1, neurons=16)))
    rows = (np.random.default_rng(0).integers(0, 40, (40, 1)) + 3 * np.arange(8)) % 40
    source = open_data({"input_ids": rows}, cut, None)
    assert shared_junctions(cut, whole) == ("middle0", "stream1", "middle1")
    _, report = finetune(cut, whole, source, replace(options(30), batch=4, lr=0.003), silent)
    assert report.kind == "perplexity"
    assert report.after.held_out_loss < 0.9 * report.before.held_out_loss


def test_halves_heal_and_stay_halves() -> None:
    proto = stages([3], norms=True)
    for tensor in proto.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), tensor.name))
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    half = load(proto)
    blocks = [join.block for join in find_joins(half) if join.block is not None]
    cut = remove_blocks(half, [blocks[1]])
    rows = np.random.default_rng(0).standard_normal((300, 3, 12, 12)).astype(np.float16)
    healed, report = finetune(cut, half, load_data({"x": rows}, half, None), options(lr=1e-3), silent)
    assert report.kept > 0
    assert {array.dtype for array in weights(healed).values()} == {array.dtype for array in weights(cut).values()}


def test_junctions_need_the_unpruned_network() -> None:
    with pytest.raises(OptionError, match="junctions needs the unpruned network"):
        finetune(small(), None, images(), options(), silent)
