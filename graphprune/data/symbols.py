"""Which axis of each input counts samples, as far as the symbols and sizes of the shapes tell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from graphprune.data.batching import Axes, Batching
from graphprune.data.fitting import InputSpec
from graphprune.errors import OptionError

OPTION = "--input-batch-axis"
_SHORT_NAMES = {"n", "b", "bs", "bsz"}

_Found = dict[str, int | None]


class Guesses(NamedTuple):
    """``candidates`` in the order in which they are to be tried; ``untried`` is taken where nothing can be run.

    A single candidate needs no trial.
    """

    candidates: tuple[Batching, ...]
    untried: Batching


def guesses(specs: Sequence[InputSpec], said: Axes | None = None) -> Guesses:
    """What may be; ``said`` are the axes of some inputs that the user has named.

    Raises
    ------
    OptionError
        An input or axis that is named does not exist, or the named axes insist on different sizes.
    """
    said = said or {}
    _check(specs, said)
    found, untried = _guesses(specs, said)
    made = [_batching(specs, each | dict(said)) for each in found]
    candidates = tuple(dict.fromkeys(each for each in made if each is not None))
    fallback = _batching(specs, untried | dict(said))
    if not candidates:
        raise OptionError(f"{OPTION} names axes of different sizes", "name axes that count the same samples")
    return Guesses(candidates, fallback or candidates[0])


def likely(specs: Sequence[InputSpec]) -> Batching:
    """What symbols tell by themselves."""
    return guesses(specs).untried


def _guesses(specs: Sequence[InputSpec], said: Axes) -> tuple[list[_Found], _Found]:
    """Axes by input: all that may be, and what is taken untried."""
    none: _Found = dict.fromkeys((spec.name for spec in specs), None)
    ranked = [spec for spec in specs if spec.dims and spec.name not in said]
    if not ranked:
        return [none], none
    rows = none | dict.fromkeys((spec.name for spec in ranked), 0)
    symbol = _symbol(specs, said)
    by_symbol = none | {spec.name: spec.dims.index(symbol) for spec in ranked if symbol and symbol in spec.dims}
    has_symbol = [by_symbol[spec.name] is not None for spec in ranked]
    if len(specs) == 1:
        alone = by_symbol if symbol and _means_batch(symbol) and all(has_symbol) else rows
        return [alone], alone
    if all(has_symbol):
        return [by_symbol], by_symbol
    firsts = [spec.dims[0] for spec in ranked]
    if symbol is None and all(isinstance(size, int) for size in firsts):
        by_size = none | {spec.name: _axis_of_size(spec, _common_size(ranked)) for spec in ranked}
        return [by_size], by_size
    if not any(isinstance(size, int) for size in firsts):
        return [rows, by_symbol, none], rows
    free_first = none | {spec.name: 0 for spec in ranked if not isinstance(spec.dims[0], int)}
    fixed = [spec for spec in ranked if all(isinstance(dim, int) for dim in spec.dims)]
    same = [rows] if len({spec.dims[0] for spec in fixed}) == 1 and _others_free(ranked, fixed) else []
    if all(by_symbol[spec.name] is not None for spec in ranked if spec not in fixed):
        return [by_symbol, *same], by_symbol
    if _others_free(ranked, fixed):
        return [free_first, *same, none], free_first
    ones = [rows] if all(size == 1 or not isinstance(size, int) for size in firsts) else []
    return [by_symbol, free_first, *ones, none], (*ones, none)[0]


def _others_free(ranked: Sequence[InputSpec], fixed: Sequence[InputSpec]) -> bool:
    """Whether the first axis of all that has a free axis is free."""
    return not any(isinstance(spec.dims[0], int) for spec in ranked if spec not in fixed)


def _symbol(specs: Sequence[InputSpec], said: Axes) -> str | None:
    """The dimension that counts samples: where the user says so, by its name, or the first of the first free input."""
    dims = [
        *(spec.dims[axis] for spec in specs if (axis := said.get(spec.name)) is not None),
        *(dim for spec in specs for dim in spec.dims if isinstance(dim, str) and _means_batch(dim)),
        *(spec.dims[0] for spec in specs if spec.dims and spec.name not in said),
    ]
    return next((dim for dim in dims if isinstance(dim, str)), None)


def _means_batch(symbol: str) -> bool:
    return symbol.lower() in _SHORT_NAMES or symbol.lower().startswith("batch")


def _common_size(ranked: Sequence[InputSpec]) -> int | str | None:
    """The number of samples in a graph of fixed sizes: the first axis of the first input that has several."""
    return next((spec.dims[0] for spec in ranked if len(spec.dims) > 1), ranked[0].dims[0])


def _axis_of_size(spec: InputSpec, size: int | str | None) -> int | None:
    places = [axis for axis, dim in enumerate(spec.dims) if dim == size]
    return places[0] if places and (places[0] == 0 or len(places) == 1) else None


def _batching(specs: Sequence[InputSpec], axes: Axes) -> Batching | None:
    """None where the axes insist on different sizes."""
    dims = [spec.dims[axis] for spec in specs if (axis := axes[spec.name]) is not None]
    sizes = {dim for dim in dims if isinstance(dim, int)}
    if len(sizes) > 1:
        return None
    return Batching({spec.name: axes[spec.name] for spec in specs}, sizes.pop() if sizes else None if dims else 1)


def _check(specs: Sequence[InputSpec], said: Axes) -> None:
    ranks = {spec.name: len(spec.dims) for spec in specs}
    for name, axis in said.items():
        if name not in ranks:
            inputs = ", ".join(ranks)
            raise OptionError(f"{OPTION} names the input '{name}', which the model does not have", f"it has {inputs}")
        if axis is not None and not 0 <= axis < ranks[name]:
            raise OptionError(f"{OPTION} {name}={axis}: the input has {ranks[name]} axes", "count them from 0")
