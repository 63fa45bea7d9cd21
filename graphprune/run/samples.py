"""Which samples calibrate, which judge, and which train, where one source has to serve for several of these."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from graphprune.data.batching import Batching
from graphprune.data.dataset import DEFAULT_SAMPLES, Data
from graphprune.data.holding_out import HoldOut
from graphprune.errors import DataError, OptionError
from graphprune.evaluation.metric import load_metric
from graphprune.ir.model import Model
from graphprune.run.options import HELD_OUT_PART, HELD_OUT_TEXT, RunOptions
from graphprune.text.corpus import is_text
from graphprune.text.source import ALL_BUT_HELD_OUT, HELD_OUT, WHOLE, Limit, open_data


def calibration(source: Any, model: Model, batching: Batching, options: RunOptions) -> Data:
    """What the passes score on and the repair fits to: all of ``source``, or what is not held out of it.

    Raises
    ------
    DataError
        The samples cannot be used.
    """
    said = options.data
    if not _holds_out(options):
        return open_data(source, model, said.samples, batching, said.text, said.images)
    if is_text(source):
        return open_data(source, model, said.samples, batching, said.text, said.images, share=ALL_BUT_HELD_OUT)
    rule = _rule(options)
    return rule.calibrating(open_data(source, model, rule.read, batching, said.text, said.images))


def held_out(source: Any, model: Model, batching: Batching, options: RunOptions) -> Data | None:
    """What the result is judged on: data of their own, or what is held out of ``source``; None where neither is.

    Raises
    ------
    OptionError
        A metric was given, and no samples to judge on.
    DataError
        The samples cannot be used, or are too few for one to be held out.
    """
    said = options.data
    is_part = _holds_out(options)
    given = source if is_part else said.evaluation
    if said.metric is not None:
        if given is None:
            raise OptionError("a metric was given, and no samples to judge on", "add --eval")
        load_metric(said.metric)  # what cannot be used is said before the work
    if given is None:
        return None
    how = (batching, said.text, said.images)
    is_free = said.metric is not None
    if is_part and not is_text(source):
        rule = _rule(options)
        data = rule.held_out(replace(open_data(source, model, rule.read, *how), has_free_labels=is_free))
        if next(data.chunks(), None) is None:
            raise DataError(f"{data.origin} holds too few samples to hold one in five out", "give --eval")
    else:
        limit = said.samples if is_text(given) else None
        data = open_data(given, model, limit, *how, share=HELD_OUT if is_part else WHOLE)
    return replace(data, has_free_labels=is_free) if is_free else data


def training(source: Any, model: Model, batching: Batching, options: RunOptions, limit: Limit) -> Data:
    """What is trained on: ``source``, but for what is held out of it if it is the calibration data, too."""
    said = options.data
    how = (batching, said.text, said.images)
    if is_text(source):
        return open_data(source, model, limit, *how, share=ALL_BUT_HELD_OUT if _holds_out(options) else WHOLE)
    data = open_data(source, model, limit, *how)
    return HoldOut(None).calibrating(data) if _holds_out(options) and said.evaluation != HELD_OUT_TEXT else data


def with_held_out(options: RunOptions) -> RunOptions:
    """The same, with a part of the calibration data held out where nothing else judges."""
    if options.data.evaluation is not None:
        return options
    return replace(options, data=replace(options.data, evaluation=HELD_OUT_PART))


def _holds_out(options: RunOptions) -> bool:
    """Whether a part of the calibration data judges."""
    said = options.data.evaluation
    if not isinstance(said, str):
        return False
    return said == HELD_OUT_TEXT or (said == HELD_OUT_PART and not Path(said).exists())


def _rule(options: RunOptions) -> HoldOut:
    """What calibrates where the same samples are trained on is four of five, however many there are."""
    limit = options.data.samples
    if options.recovery.finetune is not None:
        return HoldOut(None)
    return HoldOut(DEFAULT_SAMPLES if limit == "auto" else limit)
