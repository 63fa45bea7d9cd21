"""Training options parse, print and refuse."""

from __future__ import annotations

from pathlib import Path

import pytest

from graphprune.errors import OptionError
from graphprune.training.options import TrainOptions
from graphprune.training.schedule import lr_at


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("", TrainOptions()),
        ("epochs=3, lr=0.1", TrainOptions(epochs=3, lr=0.1)),
        ("lr=auto,lora=auto", TrainOptions()),
        ("weight-decay=0,passes_per_epoch=3", TrainOptions(weight_decay=0, passes_per_epoch=3)),
        ("schedule=step,augment=none,lora=8", TrainOptions(schedule="step", augment="none", lora=8)),
        ("checkpoint=a.ckpt,resume=true", TrainOptions(checkpoint=Path("a.ckpt"), resume=True)),
        ("clip=0.5", TrainOptions(clip=0.5)),
        ("device=cuda:1,match=mse", TrainOptions(device="cuda:1", match="mse")),
    ],
)
def test_parse_and_print_again(spec: str, expected: TrainOptions) -> None:
    assert TrainOptions.parse(spec) == expected
    assert TrainOptions.parse(str(expected)) == expected


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("epoch=3", "there is no training option 'epoch'; the options are: epochs, lr, schedule, batch"),
        ("epochs", "'epochs' in training options 'epochs' is not key=value; write epochs=VALUE"),
        ("epochs=2,epochs=3", "option epochs is given twice"),
        ("epochs=0", "training option epochs is 0; choose a value from 1 to 100000"),
        ("epochs=many", "training option epochs is 'many', not a int"),
        ("lr=-1", "training option lr is -1"),
        ("lr=nan", "training option lr is nan"),
        ("held-out=1", "training option held-out is 1; choose a value from 0.001 to 0.9"),
        ("momentum=1", "training option momentum is 1"),
        ("schedule=linear", "training option schedule is 'linear'; choose one of cosine, step"),
        ("labels=0,distil=0", "both 0, so there is nothing to learn"),
        ("device=tpu", "training option device is 'tpu'; choose auto, cpu, cuda"),
        ("device=cuda:x", "training option device is 'cuda:x'"),
    ],
)
def test_wrong_values(spec: str, message: str) -> None:
    with pytest.raises(OptionError) as caught:
        TrainOptions.parse(spec)
    assert message in str(caught.value)


def test_flags_and_spec_may_not_contradict() -> None:
    assert TrainOptions.parse("epochs=3", lr="0.1", batch=None) == TrainOptions(epochs=3, lr=0.1)
    assert TrainOptions.parse("epochs=3", epochs="3").epochs == 3
    with pytest.raises(OptionError, match="training option epochs is given twice: 3 and 4"):
        TrainOptions.parse("epochs=3", epochs="4")


def test_only_what_decides_the_outcome_is_compared() -> None:
    plain = TrainOptions()
    elsewhere = TrainOptions(checkpoint=Path("x"), resume=True, checkpoint_seconds=1, device="cuda")
    assert plain.what_is_learnt() == elsewhere.what_is_learnt()
    assert plain.what_is_learnt() != TrainOptions(weight_decay=0).what_is_learnt()


def test_schedules() -> None:
    assert [round(lr_at("cosine", 1.0, done, 4), 4) for done in range(4)] == [1.0, 0.8536, 0.5, 0.1464]
    rates = [lr_at("step", 1.0, done, 200) for done in (0, 99, 100, 149, 150, 199)]
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_the_rate_rises_evenly_before_it_falls() -> None:
    rates = [lr_at("cosine", 1.0, done, 20, 0.2) for done in range(20)]
    assert rates[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert rates[4:] == sorted(rates[4:], reverse=True) and rates[-1] < 0.05
    assert lr_at("step", 1.0, 11, 20, 0.2) == 1.0 and lr_at("step", 1.0, 12, 20, 0.2) == pytest.approx(0.1)


def test_how_many_chunks_of_text_so_many_steps_take() -> None:
    assert TrainOptions().chunks_needed() is None
    assert TrainOptions(steps=10).chunks_needed(is_judged_apart=True) == 160
    assert TrainOptions(steps=10, batch=9).chunks_needed() == 100
