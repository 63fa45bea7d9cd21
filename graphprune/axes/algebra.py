"""The algebra of axes: expressions over atoms, unified as in type inference.

    Axis = Atom(size) | Product(Axis, ...)   row-major, e.g. hidden = heads x head_dim
                      | Concat(Axis, ...)    e.g. q|k|v, or the features of a DenseNet

An atom is what can shrink on its own. It may be *bound*: found equal to another atom, or refined into a product or a
concatenation. An atom is *frozen*, with the reason, when something depends on its whole extent.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Union

import numpy as np


@dataclass(frozen=True)
class Freeze:
    """Why an axis must keep its extent, and the node that needs it."""

    reason: str
    node: str


class Atom:
    """An axis without known structure. Compared by identity; ask :func:`expand` for what it is bound to."""

    __slots__ = ("bound", "freeze", "size")

    def __init__(self, size: int, freeze: Freeze | None = None) -> None:
        self.size = size
        self.freeze = freeze
        self.bound: Axis | None = None

    def __repr__(self) -> str:
        return f"{'!' if self.freeze else ''}{self.size}"


@dataclass(frozen=True)
class Product:
    """Row-major product: the last factor varies fastest. ``Product(())`` is an axis of size one."""

    factors: tuple[Axis, ...]

    def __repr__(self) -> str:
        return f"({'x'.join(map(repr, self.factors))})"


@dataclass(frozen=True)
class Concat:
    """Parts laid one behind the other."""

    parts: tuple[Axis, ...]

    def __repr__(self) -> str:
        return f"[{'|'.join(map(repr, self.parts))}]"


Axis = Union[Atom, Product, Concat]  # noqa: UP007 - a forward reference needs the old spelling
Axes = tuple[Axis, ...]
Kept = Mapping[Atom, np.ndarray]
"""Root atom -> boolean vector of its size, True where an index stays. Atoms not listed stay whole."""
Counts = Mapping[Atom, int]
"""Root atom -> how many of its indices stay; atoms not listed stay whole."""

ONE = Product(())


def fresh(size: int, freeze: Freeze | None = None) -> Axis:
    """A new axis of ``size``."""
    return ONE if size == 1 else Atom(size, freeze)


def expand(axis: Axis) -> Axis:
    """The normal form: root atoms, flat products and concatenations, no leading concatenation inside a product."""
    if isinstance(axis, Atom):
        return _root(axis)
    if isinstance(axis, Concat):
        parts: list[Axis] = []
        for part in map(expand, axis.parts):
            parts += part.parts if isinstance(part, Concat) else (part,)
        return concat(parts)
    factors: list[Axis] = []
    for factor in map(expand, axis.factors):
        factors += factor.factors if isinstance(factor, Product) else (factor,)
    if factors and isinstance(factors[0], Concat) and len(factors) > 1:
        rest = tuple(factors[1:])
        return expand(Concat(tuple(Product((part, *rest)) for part in factors[0].parts)))
    return factors[0] if len(factors) == 1 else Product(tuple(factors))


def _root(axis: Axis) -> Axis:
    """What an atom is bound to in the end.
    A stream that a thousand blocks add into makes a chain too long to recurse.
    """
    chain: list[Atom] = []
    while isinstance(axis, Atom) and axis.bound is not None:
        chain.append(axis)
        axis = axis.bound
    found = axis if isinstance(axis, Atom) else expand(axis)
    for atom in chain:
        atom.bound = found
    return found


def concat(parts: list[Axis]) -> Axis:
    """The concatenation of ``parts``, without empty ones."""
    full = [part for part in parts if size_of(part)]
    if len(full) == 1:
        return full[0]
    return Concat(tuple(full)) if full else Atom(0)


def size_of(axis: Axis, counts: Counts | None = None) -> int:
    """Number of indices; with ``counts``, of those that stay."""
    if isinstance(axis, Product):
        return prod(size_of(factor, counts) for factor in axis.factors)
    if isinstance(axis, Concat):
        return sum(size_of(part, counts) for part in axis.parts)
    if counts is None:
        return axis.size
    if axis.bound is not None:
        return size_of(expand(axis), counts)
    return counts.get(axis, axis.size)


def shrinking_part(axis: Axis) -> Axis | None:
    """The factors of ``axis`` that can shrink: its size is as many times theirs as that of the others, whatever it is.

    None where one of them can in part only: then there is no such number.
    """
    whole = expand(axis)
    factors = whole.factors if isinstance(whole, Product) else (whole,)
    free = tuple(factor for factor in factors if not is_frozen(factor))
    return None if any(atom.freeze is not None for factor in free for atom in atoms_of(factor)) else Product(free)


def is_same(one: Axis, other: Axis) -> bool:
    """Whether both are one axis, by what is known now."""
    return expand(one) == expand(other)


def sizes_agree(one: Axis, other: Axis) -> bool:
    """Whether both have one size whatever goes, though their indices may be made up in another way."""
    return one == other or _size_terms(expand(one)) == _size_terms(expand(other))


def _size_terms(axis: Axis) -> Counter[tuple[int, ...]]:
    """The size as a polynomial: identities of the atoms that can shrink, sorted -> how often their product counts."""
    if isinstance(axis, Atom):
        return Counter({(): axis.size} if axis.freeze else {(id(axis),): 1})
    if isinstance(axis, Concat):
        return sum((_size_terms(part) for part in axis.parts), Counter())
    terms: Counter[tuple[int, ...]] = Counter({(): 1})
    for factor in axis.factors:
        times: Counter[tuple[int, ...]] = Counter()
        for (left, count), (right, number) in product(terms.items(), _size_terms(factor).items()):
            times[tuple(sorted(left + right))] += count * number
        terms = times
    return terms


def cut_axes(axes: Axes, counts: Counts) -> tuple[Axis | None, ...]:
    """Where a constant is cut, and as what; None for axes that stay whole, nothing at all if all do.

    Readers of a constant with the same answer share the result.
    """
    cut = tuple(expand(axis) if size_of(axis, counts) != size_of(axis) else None for axis in axes)
    return cut if any(axis is not None for axis in cut) else ()


def indices_of(axis: Axis, kept: Kept) -> np.ndarray:
    """Boolean vector over the indices of ``axis``: True where an index stays."""
    axis = expand(axis)
    if isinstance(axis, Atom):
        return kept[axis] if axis in kept else np.ones(axis.size, dtype=bool)
    if isinstance(axis, Concat):
        return np.concatenate([indices_of(part, kept) for part in axis.parts])
    mask = np.ones(1, dtype=bool)
    for factor in axis.factors:
        mask = np.logical_and.outer(mask, indices_of(factor, kept)).reshape(-1)
    return mask


def positions_of(axis: Axis, atom: Atom) -> np.ndarray:
    """For each index of ``axis`` the index of ``atom`` it belongs to, -1 where it belongs to none.

    An axis that holds the atom twice, one inside the other, has no such answer; :func:`atoms_of` tells.
    """
    axis = expand(axis)
    if isinstance(axis, Atom):
        return np.arange(axis.size) if axis is atom else np.full(axis.size, -1)
    if isinstance(axis, Concat):
        return np.concatenate([positions_of(part, atom) for part in axis.parts])
    found = np.full(1, -1)
    for factor in axis.factors:
        inner = positions_of(factor, atom)
        found = np.maximum.outer(found, inner).reshape(-1)
    return found


def atoms_of(axis: Axis) -> Iterator[Atom]:
    """The root atoms of an axis, as often as they occur."""
    axis = expand(axis)
    if isinstance(axis, Atom):
        yield axis
        return
    for part in axis.factors if isinstance(axis, Product) else axis.parts:
        yield from atoms_of(part)


def is_frozen(axis: Axis) -> bool:
    """Whether no index of ``axis`` can ever go."""
    return all(atom.freeze is not None for atom in atoms_of(axis))


def free_axes(axes: Iterable[Axis]) -> Axes:
    """Those that can shrink, in normal form."""
    return tuple(expand(axis) for axis in axes if not is_frozen(axis))


def freeze(axis: Axis, why: Freeze) -> None:
    """Forbid that ``axis`` shrinks; the first reason given stays."""
    for atom in atoms_of(axis):
        if atom.freeze is None:
            atom.freeze = why


def unify(one: Axis, other: Axis, node: str) -> None:
    """Make two axes the same axis. What cannot be aligned is frozen on both sides, in the name of ``node``."""
    a, b = expand(one), expand(other)
    if a == b:
        return
    if size_of(a) != size_of(b):
        _freeze_both(a, b, "two axes of different sizes meet", node)
    elif not size_of(a):
        _freeze_both(a, b, "it has no index", node)
    elif isinstance(a, Atom):
        _bind(a, b, node)
    elif isinstance(b, Atom):
        _bind(b, a, node)
    elif isinstance(a, Concat) or isinstance(b, Concat):
        _align_parts(a, b, node)
    elif isinstance(a, Product) and isinstance(b, Product):
        _align_factors(a, b, node)


def cut(axis: Axis, at: int) -> tuple[Axis, Axis]:
    """Two axes that together are ``axis``, the first of size ``at``."""
    axis = expand(axis)
    if at == 0 or at == size_of(axis):
        empty = Atom(0)
        return (empty, axis) if at == 0 else (axis, empty)
    if isinstance(axis, Atom):
        first, second = fresh(at, axis.freeze), fresh(axis.size - at, axis.freeze)
        axis.bound = Concat((first, second))
        return first, second
    if isinstance(axis, Concat):
        index = 0
        while at >= size_of(axis.parts[index]):
            at -= size_of(axis.parts[index])
            index += 1
        first, second = cut(axis.parts[index], at)
        return concat([*axis.parts[:index], first]), concat([second, *axis.parts[index + 1 :]])
    leading, rest = axis.factors[0], axis.factors[1:]
    width = size_of(Product(rest))
    if at % width:
        return _cut_inside(axis, at // width, at % width)
    first, second = cut(leading, at // width)
    return expand(Product((first, *rest))), expand(Product((second, *rest)))


def _cut_inside(axis: Product, index: int, at: int) -> tuple[Axis, Axis]:
    """Cut behind ``at`` entries of the ``index``-th run of a product: in all runs what follows is cut there."""
    leading, rest = axis.factors[0], axis.factors[1:]
    until, after = cut(leading, index + 1)
    before, _ = cut(until, index)
    start, end = cut(Product(rest), at)
    return (
        expand(concat([Product((before, *rest)), start])),
        expand(concat([end, Product((after, *rest))])),
    )


def _bind(atom: Atom, target: Axis, node: str) -> None:
    if not isinstance(target, Atom) and any(inner is atom for inner in atoms_of(target)):
        _freeze_both(atom, target, "an axis is laid over a part of itself", node)
        return
    if atom.freeze is not None:
        freeze(target, atom.freeze)
    atom.bound = target


def _align_parts(a: Axis, b: Axis, node: str) -> None:
    """Piece by piece; the longer piece is cut."""
    left, right = deque([a]), deque([b])
    while left and right:
        x, y = _next_part(left), _next_part(right)
        size = min(size_of(x), size_of(y))
        for piece, queue in ((x, left), (y, right)):
            if size_of(piece) > size:
                queue.appendleft(cut(piece, size)[1])
        unify(cut(x, size)[0], cut(y, size)[0], node)


def _next_part(queue: deque[Axis]) -> Axis:
    """Take the first part; what was unified meanwhile may have become a concatenation."""
    part = expand(queue.popleft())
    if isinstance(part, Concat):
        queue.extendleft(reversed(part.parts[1:]))
        return part.parts[0]
    return part


def _align_factors(a: Product, b: Product, node: str) -> None:
    """Factor by factor from the left, a factor split where the sizes ask for it; then from the right."""
    left, right = deque(a.factors), deque(b.factors)
    for from_left in (True, False):
        while left and right:
            x, y = _next_factor(left, from_left), _next_factor(right, from_left)
            size = min(size_of(x), size_of(y))
            for factor, queue in ((x, left), (y, right)):
                rest = _split(factor, size, from_left)
                if rest is not None:
                    (queue.appendleft if from_left else queue.append)(rest)
            x, y = _outer(x, size, from_left), _outer(y, size, from_left)
            if size_of(x) != size_of(y):  # one of them could not be split
                (left.appendleft if from_left else left.append)(x)
                (right.appendleft if from_left else right.append)(y)
                break
            unify(x, y, node)
    middle, other = expand(Product(tuple(left))), expand(Product(tuple(right)))
    if isinstance(middle, Concat) or isinstance(other, Concat):  # a reshape that parts what was joined
        unify(middle, other, node)
    else:
        _freeze_both(middle, other, "two products do not align", node)


def _next_factor(queue: deque[Axis], from_left: bool) -> Axis:
    """Take the factor at one end; what was unified meanwhile may have become a product."""
    factor = expand(queue.popleft() if from_left else queue.pop())
    if isinstance(factor, Product) and factor.factors:
        if from_left:
            queue.extendleft(reversed(factor.factors[1:]))
        else:
            queue.extend(factor.factors[:-1])
        return factor.factors[0 if from_left else -1]
    return factor


def _split(axis: Axis, size: int, from_left: bool) -> Axis | None:
    """Refine an atom so that its outer (or inner) factor has ``size``; return what is left of it."""
    if not isinstance(axis, Atom) or axis.size == size or axis.size % size:
        return None
    wanted, rest = fresh(size, axis.freeze), fresh(axis.size // size, axis.freeze)
    axis.bound = Product((wanted, rest) if from_left else (rest, wanted))
    return rest


def _outer(axis: Axis, size: int, from_left: bool) -> Axis:
    """The factor of ``size`` that :func:`_split` made, or the axis itself."""
    if size_of(axis) == size or not isinstance(axis, Atom) or not isinstance(axis.bound, Product):
        return axis
    return axis.bound.factors[0 if from_left else -1]


def _freeze_both(a: Axis, b: Axis, reason: str, node: str) -> None:
    for axis in (a, b):
        freeze(axis, Freeze(reason, node))
