"""What can be chosen about training, as one frozen object that prints as, and parses from, ``epochs=10,lr=0.01``."""

from __future__ import annotations

import math
import typing
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, Self

from graphprune.base.option_text import default, items, parse, shown
from graphprune.errors import OptionError

_BETWEEN: dict[str, tuple[float, float]] = {
    "epochs": (1, 100_000),
    "steps": (1, 1 << 40),
    "seconds": (1, 1e9),
    "judge_every": (1, 1 << 40),
    "lr": (1e-12, 100),
    "warmup": (0, 0.9),
    "batch": (1, 1 << 20),
    "micro_batch": (1, 1 << 20),
    "momentum": (0, 0.9999),
    "weight_decay": (0, 1),
    "clip": (1e-9, 1e9),
    "labels": (0, 1e6),
    "distil": (0, 1e6),
    "junctions": (0, 1e6),
    "temperature": (0.01, 1000),
    "held_out": (0.001, 0.9),
    "passes_per_epoch": (1, 1000),
    "shuffle": (1, 1 << 40),
    "lora": (1, 4096),
    "lora_alpha": (1e-6, 1e6),
    "lora_dropout": (0, 0.9),
    "lora_blocks": (1, 1 << 20),
    "rewound": (0, 100_000),
    "seed": (0, (1 << 63) - 1),
    "checkpoint_seconds": (0, 1e9),
}
TEXT_BATCH = 16
"""Chunks of text in a step, where nothing else is said."""
RECIPES: dict[str, dict[str, str]] = {
    "amp": {
        "lora": "8",
        "lora_alpha": "16",
        "lora_dropout": "0.05",
        "lr": "3e-4",
        "batch": "16",
        "micro_batch": "1",
        "epochs": "2",
        "distil": "0",
    },
    "heal": {
        "labels": "0",
        "junctions": "1",
        "warmup": "0.1",
        "temperature": "1",
        "optimiser": "adamw",
        "weight_decay": "0",
        "norms": "frozen",
        "probe": "true",
        "best": "loss",
    },
}
"""Options as papers give them, AMP's in methods.md 5; and those of healing, which needs no labels."""
_WHERE_ONLY = ("checkpoint", "checkpoint_seconds", "resume", "device")  # they do not change what is learnt


def _option(value: Any, text: str) -> Any:
    return field(default=value, metadata={"help": text})


@dataclass(frozen=True)
class TrainOptions:
    """How a network is trained; every field has a default that suits a CIFAR ResNet after pruning.

    Raises
    ------
    OptionError
        A value outside its range.
    """

    epochs: int = _option(10, "how often the whole data set is gone through, times passes-per-epoch")
    lr: float | None = _option(None, "largest learning rate; auto: 0.01, 3e-4 for LoRA, 1e-4 for text without")
    schedule: Literal["cosine", "step"] = _option(
        "cosine", "cosine: to zero; step: a tenth at half and at 3/4 of the way"
    )
    batch: int | None = _option(
        None, "samples per step; auto: 128, 64 with junctions, 16 of text; a batch size fixed in the graph wins"
    )
    steps: int | None = _option(None, "so many steps instead of epochs, in as many passes over the data as that takes")
    seconds: float | None = _option(None, "so much time instead of epochs, with all that is chosen and judged in it")
    until_still: bool = _option(
        False, "instead of epochs as many steps as the held-out loss falls, and some at a rate that sinks to zero"
    )
    probe: bool = _option(False, "where no learning rate is given, short runs find the largest that does no harm")
    judge_every: int | None = _option(
        None,
        "with steps, seconds or until-still: how many steps make an epoch; auto: a fifth, or what is cheap to judge",
    )
    warmup: float | None = _option(None, "share of the steps in which the rate rises from 0; auto: 0, 0.1 for text")
    micro_batch: int | None = _option(
        None, "samples that are in the network at once, a part of a batch; auto: all, one chunk of text"
    )
    optimiser: Literal["auto", "sgd", "adamw"] = _option("auto", "auto: adamw for LoRA and text, else sgd")
    momentum: float = _option(0.9, "Nesterov momentum of SGD")
    weight_decay: float = _option(1e-4, "L2 decay of all weights")
    clip: float | None = _option(
        None, "largest norm of a step's gradients; auto: 1 for text and with BatchNorm folded, else no limit"
    )
    augment: Literal["auto", "none", "crop-flip"] = _option(
        "auto", "crop-flip: zero-pad an eighth, random crop, flip half of them; auto: that for square images"
    )
    labels: float = _option(1.0, "weight of the cross-entropy with the labels, where there are any, or the next tokens")
    distil: float = _option(1.0, "weight of the distance to the unpruned network's outputs")
    junctions: float = _option(
        0.0, "weight of the distance to what the unpruned network has at the joins of blocks that both have"
    )
    temperature: float = _option(2.0, "softens both networks' class scores before they are compared")
    match: Literal["auto", "kl", "mse"] = _option(
        "auto", "how outputs are compared: kl for class scores, mse over the unpruned network's variance for others"
    )
    held_out: float = _option(0.1, "share of the samples that is never trained on but decides which epoch is kept")
    best: Literal["auto", "loss"] = _option(
        "auto", "what decides which epoch is kept: auto: the share of right classes, where there are any; or the loss"
    )
    norms: Literal["auto", "batch", "frozen"] = _option(
        "auto", "BatchNorm by the statistics of each batch, or by those of the file; auto: frozen for LoRA"
    )
    passes_per_epoch: int = _option(1, "passes over the data per epoch, each augmented anew; the papers have 3")
    shuffle: int | None = _option(None, "samples in the shuffle buffer; auto: 64 MiB, at least four batches")
    autocast: Literal["auto", "none", "bf16"] = _option(
        "auto", "bf16: mixed precision; auto: that on a GPU, with junctions on a fit processor, too"
    )
    device: str = _option("auto", "auto: the GPU if there is one; or cpu, cuda, cuda:1")
    lora: int | None = _option(None, "rank of low-rank adapters, trained instead of the weights and merged at the end")
    lora_alpha: float | None = _option(None, "adapters count alpha over rank; auto: 2 times the rank")
    lora_dropout: float = _option(0.05, "share of the inputs that adapters do without at each step")
    lora_blocks: int | None = _option(
        None, "adapters only in so many residual blocks, whose input and output are least alike (CKA); auto: in all"
    )
    rewound: int = _option(
        0, "epochs, of those above, that are behind the weights: rate and order of the samples go on from there"
    )
    seed: int = _option(0, "order of the samples, augmentation, dropout")
    checkpoint: Path | None = field(
        default=None, metadata={"help": "file that holds the state of the run, replaced atomically"}
    )
    checkpoint_seconds: float = _option(60.0, "seconds between two checkpoints within an epoch")
    resume: bool = _option(False, "go on from the checkpoint if there is one")

    def __post_init__(self) -> None:
        for name, (low, high) in _BETWEEN.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise OptionError(
                    f"training option {_dashes(name)} is {value:g}",
                    f"choose a value from {low:g} to {high:g}",
                )
        if self.rewound >= self.epochs:
            raise OptionError(
                f"of {self.epochs} epochs {self.rewound} are behind the weights, so there is none left",
                "raise the training option epochs: it counts all of them",
            )
        if self.labels == self.distil == self.junctions == 0:
            raise OptionError(
                "training options labels and distil are both 0, so there is nothing to learn", "raise one"
            )
        if sum([self.steps is not None, self.seconds is not None, self.until_still]) > 1:
            raise OptionError("of the training options steps, seconds and until-still one can be given", "keep one")
        if self.lora is None and self.lora_blocks is not None:
            raise OptionError("training option lora-blocks is for LoRA", "give a rank with lora, too")
        kind, _, index = self.device.partition(":")
        if kind not in ("auto", "cpu", "cuda") or (index and not index.isdecimal()):
            raise OptionError(f"training option device is '{self.device}'", "choose auto, cpu, cuda or cuda:NUMBER")

    def __str__(self) -> str:
        changed = [(f.name, value) for f in fields(self) if (value := getattr(self, f.name)) != default(f)]
        return ",".join(f"{_dashes(name)}={shown(value)}" for name, value in changed)

    @classmethod
    def parse(cls, spec: str, **more: str | None) -> Self:
        """Read ``epochs=10,lr=0.01``; ``more`` are further options as texts, None for those not given.

        ``recipe=NAME`` stands for the options of :data:`RECIPES` that are not given otherwise.

        Raises
        ------
        OptionError
            An unknown option, one given twice, or a value that does not fit.
        """
        texts = {
            key.replace("-", "_"): value
            for key, value in items(spec, f"training options '{spec}'", "ITEM=VALUE").items()
        }
        for name, text in more.items():
            if text is not None and texts.setdefault(name, text) != text:
                raise OptionError(
                    f"training option {_dashes(name)} is given twice: {texts[name]} and {text}", "keep one of them"
                )
        hints = typing.get_type_hints(cls)
        recipe = texts.pop("recipe", None)
        if recipe is not None:
            if recipe not in RECIPES:
                raise OptionError(f"there is no recipe '{recipe}'", f"the recipes are: {', '.join(RECIPES)}")
            texts = RECIPES[recipe] | texts
        unknown = sorted(set(texts) - set(hints))
        if unknown:
            offered = ", ".join(_dashes(name) for name in hints)
            raise OptionError(f"there is no training option '{_dashes(unknown[0])}'", f"the options are: {offered}")
        return cls(
            **{name: parse(hints[name], text, f"training option {_dashes(name)}") for name, text in texts.items()}
        )

    @property
    def freezes_norms(self) -> bool:
        """Whether BatchNorm goes by the statistics of the file: adapters do not move them."""
        return self.norms == "frozen" or (self.norms == "auto" and self.lora is not None)

    @property
    def is_in_epochs(self) -> bool:
        """Whether the data are gone through so many times, instead of so many steps or so long."""
        return self.steps is None and self.seconds is None and not self.until_still

    @property
    def is_healing(self) -> bool:
        """Whether the unpruned network's joins are learnt."""
        return self.junctions > 0

    def chunks_needed(self, *, is_judged_apart: bool = False) -> int | None:
        """How many chunks of text so many ``steps`` take, with those held out; None: all there are, for epochs."""
        if self.steps is None:
            return None
        trained = self.steps * (self.batch or TEXT_BATCH)
        return trained if is_judged_apart else math.ceil(trained / (1 - self.held_out))

    def what_is_learnt(self) -> str:
        """All options that decide the outcome, as one text; two runs may share a checkpoint only if these are equal."""
        return ",".join(f"{name}={shown(value)}" for name, value in asdict(self).items() if name not in _WHERE_ONLY)


def _dashes(name: str) -> str:
    return name.replace("_", "-")
