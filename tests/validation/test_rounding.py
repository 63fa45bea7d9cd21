"""What is left of a sum rounds otherwise: that much is noise, and no more."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest

from graphprune.analysis.model_analysis import analyse
from graphprune.data.dataset import load_data
from graphprune.errors import ValidationFailed
from graphprune.ir.loading import load
from graphprune.rewrite import remove_units
from graphprune.rewrite.removal import Removal
from graphprune.runtime.sessions import RuntimeOptions
from graphprune.validation.masked_original import masked_original
from graphprune.validation.oracle_check import OracleCheck
from graphprune.validation.yardstick import Yardstick
from tests.graphs import Arrays, run
from tests.token_graphs import Shape, tokens, transformer

SHAPE = Shape(neurons=1500, width=16)  # sums so long that the runtime takes them in parts


def cut() -> tuple[Removal, Arrays]:
    """Every second neuron of an MLP goes."""
    feeds = tokens(SHAPE)
    analysis = analyse(load(transformer(SHAPE)), feeds, RuntimeOptions())
    group = next(group for group in analysis.groups if group.kind == "neurons")
    kept = {group.atom: np.arange(group.size) % 2 == 0}
    return Removal(analysis.model, typing=analysis.typing, kept=kept), feeds


def test_rounded_sums_are_a_little_off_and_what_is_silent_stays_silent() -> None:
    step, feeds = cut()
    (plain,), (rounded,) = run(masked_original(step), feeds), run(masked_original(step, is_rounded=True), feeds)
    scale = np.abs(plain).max()
    assert 0 < np.abs(plain - rounded).max() < 1e-5 * scale
    masks = [
        [tensor for tensor in masked_original(step, is_rounded=how).graph.initializer if "/keep" in tensor.name]
        for how in (False, True)
    ]
    for zero_or_one, nearly in zip(*masks, strict=True):
        assert zero_or_one.name == nearly.name and zero_or_one.raw_data != nearly.raw_data


@pytest.mark.parametrize("is_right", [True, False])
def test_a_difference_that_rounding_explains_passes_and_a_wrong_unit_does_not(
    is_right: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, feeds = cut()
    assert step.typing is not None
    kept = step.kept if is_right else {atom: np.roll(mask, 1) for atom, mask in step.kept.items()}
    small, options, data = remove_units(step.model, step.typing, kept), RuntimeOptions(), load_data(feeds, step.model)
    yardstick = Yardstick(step.model, data, 2, options)
    monkeypatch.setattr(yardstick, "hear", lambda *_, **__: None)  # as where fused nodes compute the same each time
    yardstick.tolerance = 1e-9  # below what single precision keeps
    monkeypatch.setattr(yardstick, "_noise", defaultdict(float))
    check = OracleCheck(step, small, options, yardstick)
    if is_right:
        assert 0 < check.run(data, 2)[0] < 1e-5
    else:
        with pytest.raises(ValidationFailed, match="rounding"):
            check.run(data, 2)
