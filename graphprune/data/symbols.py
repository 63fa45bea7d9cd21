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
    symbols, is_named = _symbols(specs, said)
    by_symbol = none | {spec.name: _place(spec, symbols) for spec in ranked}
    if len(specs) == 1:
        alone = by_symbol if is_named and by_symbol[ranked[0].name] is not None else rows
        return [alone], alone
    firsts = [spec.dims[0] for spec in ranked]
    fixed = [spec for spec in ranked if all(isinstance(dim, int) for dim in spec.dims)]
    if not symbols and all(isinstance(size, int) for size in firsts):
        by_size = none | {spec.name: _axis_of_size(spec, _common_size(ranked)) for spec in ranked}
        return [by_size], by_size
    same = [rows] if len({spec.dims[0] for spec in fixed}) == 1 and _starts_free(ranked, fixed) else []
    if symbols and all(by_symbol[spec.name] is not None for spec in ranked if spec not in fixed):
        return [by_symbol, *same], by_symbol
    named = [by_symbol] if symbols else []
    if not any(isinstance(size, int) for size in firsts):
        likely_first = [*named, rows] if is_named else [rows, *named]
        return [*likely_first, none], likely_first[0]
    free_first = none | {spec.name: 0 for spec in ranked if not isinstance(spec.dims[0], int)}
    if _starts_free(ranked, fixed):
        likely_first = [*named, free_first] if is_named else [free_first]
        return [*likely_first, *same, none], likely_first[0]
    first_free = none | {spec.name: _first_free(spec) for spec in ranked}
    ones = [rows] if all(size == 1 or not isinstance(size, int) for size in firsts) else []
    return [*named, first_free, free_first, *ones, none], (*ones, none)[0]


def _starts_free(ranked: Sequence[InputSpec], fixed: Sequence[InputSpec]) -> bool:
    """Whether the first axis of all that has a free axis is free."""
    return not any(isinstance(spec.dims[0], int) for spec in ranked if spec not in fixed)


def _first_free(spec: InputSpec) -> int | None:
    return next((axis for axis, dim in enumerate(spec.dims) if not isinstance(dim, int)), None)


def _place(spec: InputSpec, symbols: set[str]) -> int | None:
    return next((axis for axis, dim in enumerate(spec.dims) if dim in symbols), None)


def _symbols(specs: Sequence[InputSpec], said: Axes) -> tuple[set[str], bool]:
    """The dimensions that count samples: where the user says so, those called so, or else that of the first free input.

    And whether this is more than a guess.
    """
    theirs = {spec.dims[axis] for spec in specs if (axis := said.get(spec.name)) is not None}
    called = {dim for spec in specs for dim in spec.dims if isinstance(dim, str) and _means_batch(dim)}
    if found := {dim for dim in theirs if isinstance(dim, str)} or called:
        return found, True
    firsts = [spec.dims[0] for spec in specs if spec.dims and spec.name not in said]
    first = next((dim for dim in firsts if not isinstance(dim, int)), None)
    return ({first} if isinstance(first, str) else set()), False


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
