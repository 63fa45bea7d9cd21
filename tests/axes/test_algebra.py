"""The algebra of axes against its definition: lists of indices, each a tuple of indices of atoms."""

from __future__ import annotations

from itertools import product
from math import prod
from typing import cast

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from graphprune.axes import algebra
from graphprune.axes.algebra import (
    ONE,
    Atom,
    Axis,
    Concat,
    Freeze,
    Product,
    atoms_of,
    cut,
    expand,
    freeze,
    fresh,
    indices_of,
    is_frozen,
    positions_of,
    size_of,
    sizes_agree,
    unify,
)

WHY = Freeze("because", "node")
Index = frozenset[tuple[int, int]]
"""An index of an axis as the set of (atom, index of it) that it is made of."""


def model(axis: Axis) -> list[Index]:
    """By definition, without the normal form: what every index of an axis stands for."""
    if isinstance(axis, Atom):
        if axis.bound is not None:
            return model(axis.bound)
        return [frozenset({(id(axis), index)}) for index in range(axis.size)]
    if isinstance(axis, Concat):
        return [index for part in axis.parts for index in model(part)]
    return [frozenset().union(*indices) for indices in product(*map(model, axis.factors))]


def kept_by_definition(axis: Axis, kept: dict[Atom, np.ndarray]) -> list[bool]:
    masks = {id(atom): mask for atom, mask in kept.items()}
    return [all(masks[atom][at] for atom, at in index if atom in masks) for index in model(axis)]


def roots(*axes: Axis) -> list[Atom]:
    return list(dict.fromkeys(atom for axis in axes for atom in atoms_of(axis)))


def same(one: Axis, other: Axis) -> bool:
    return expand(one) == expand(other)


def test_sizes() -> None:
    a, b = Atom(2), Atom(3)
    assert size_of(ONE) == 1
    assert size_of(Product((a, b))) == 6
    assert size_of(Concat((a, b, a))) == 7
    assert size_of(Product((Concat((a, b)), b))) == 15
    assert size_of(Product((a, b)), {b: 2}) == 4
    assert size_of(Concat((a, b)), {b: 2}) == 4


def test_sizes_agree_whatever_goes() -> None:
    a, b, c, frozen, also = Atom(2), Atom(3), Atom(4), Atom(2, WHY), Atom(2, WHY)
    assert sizes_agree(Product((a, b)), Product((b, a)))
    assert sizes_agree(Product((c, Concat((ONE, a)), b)), Product((c, Concat((b, Product((a, b)))))))
    assert sizes_agree(Concat((a, frozen)), Concat((also, a)))
    assert not sizes_agree(Product((a, a)), c)  # four of both, for now
    assert not sizes_agree(Concat((a, a)), Product((a, frozen, frozen)))
    assert sizes_agree(Concat((a, a)), Product((a, frozen)))


def test_one_is_no_atom() -> None:
    assert fresh(1) is ONE
    assert not list(atoms_of(ONE))
    assert is_frozen(ONE)


def test_a_leading_concatenation_is_distributed() -> None:
    a, b, c = Atom(2), Atom(3), Atom(4)
    assert expand(Product((Concat((a, b)), c))) == Concat((Product((a, c)), Product((b, c))))
    assert expand(Product((c, Concat((a, b))))) == Product((c, Concat((a, b))))
    assert expand(Concat((a, Concat((b, Atom(0))), Concat((c,))))) == Concat((a, b, c))


def test_unify_atoms() -> None:
    a, b = Atom(4), Atom(4)
    unify(a, b, "n")
    assert expand(a) is expand(b)
    assert not is_frozen(a)


@pytest.mark.parametrize("frozen_first", [True, False])
def test_a_frozen_side_freezes_the_other(frozen_first: bool) -> None:
    a, b = Atom(4), Atom(4)
    freeze(a if frozen_first else b, WHY)
    unify(a, b, "n")
    assert expand(a) is expand(b)
    (root,) = roots(a)
    assert root.freeze == WHY


def test_freezing_reaches_all_atoms_and_the_first_reason_stays() -> None:
    a, b = Atom(2), Atom(3)
    axis = Concat((a, Product((a, b))))
    freeze(axis, WHY)
    freeze(axis, Freeze("later", "other"))
    assert a.freeze == b.freeze == WHY


def test_different_sizes_freeze_both() -> None:
    a, b = Atom(4), Atom(5)
    unify(a, b, "n")
    assert is_frozen(a) and is_frozen(b)
    assert a.freeze == Freeze("two axes of different sizes meet", "n")


def test_factors_are_split_where_the_sizes_ask_for_it() -> None:
    a, b, c = Atom(12), Atom(5), Atom(20)
    unify(Product((a, b)), Product((Atom(3), c)), "n")
    assert same(Product((a, b)), Product((Atom(0), c))) is False
    outer, inner = expand(a).factors  # type: ignore[union-attr]
    assert (size_of(outer), size_of(inner)) == (3, 4)
    assert same(c, Product((inner, b)))
    assert not is_frozen(a)


def test_factors_are_aligned_from_the_right_too() -> None:
    a, b, c, d = Atom(6), Atom(4), Atom(8), Atom(3)
    unify(Product((a, b, Atom(5))), Product((c, d, e := Atom(5))), "n")
    assert is_frozen(a) and is_frozen(b) and is_frozen(c) and is_frozen(d)
    assert not is_frozen(e)


def test_pieces_are_cut_where_the_sizes_ask_for_it() -> None:
    a, b, c, d = Atom(3), Atom(5), Atom(6), Atom(2)
    unify(Concat((a, b)), Concat((c, d)), "n")
    assert expand(Concat((a, b))) == expand(Concat((c, d)))
    assert [atom.size for atom in roots(a, b)] == [3, 3, 2]
    assert not is_frozen(Concat((a, b)))


def test_a_concatenation_inside_a_product_meets_a_product() -> None:
    """Channel shuffle of two joined halves."""
    batch, a, b, space, groups = Atom(7), Atom(6), Atom(6), Atom(5), fresh(2)
    unify(Product((batch, Concat((a, b)), space)), Product((batch, groups, each := Atom(6), space)), "n")
    assert same(a, b) and same(a, each)
    assert not is_frozen(a)


def test_cut_through_a_head_cuts_every_head() -> None:
    """The head stands alone then, and what is cut is the depth of all of them."""
    depth = Atom(4)
    pieces = cut(Product((Atom(5), depth)), 9)
    assert list(map(repr, pieces)) == ["[(2x[()|3])|()]", "[3|(2x[()|3])]"]
    assert repr(expand(depth)) == "[()|3]"


def test_cut_between_heads() -> None:
    heads, depth = Atom(3), Atom(4)
    pieces = cut(Product((heads, depth)), 4)
    assert same(pieces[0], depth)
    assert size_of(pieces[1]) == 8


def test_cut_at_the_ends() -> None:
    a = Atom(4)
    for at, sizes in ((0, (0, 4)), (4, (4, 0))):
        pieces = cut(a, at)
        assert tuple(map(size_of, pieces)) == sizes
    assert a.bound is None


def test_an_axis_over_a_part_of_itself_is_frozen() -> None:
    a = Atom(4)
    unify(a, Concat((Product((a,)), Atom(0))), "n")
    assert not is_frozen(a), "that is the same axis"
    b = Atom(4)
    unify(Product((b, ONE)), b, "n")
    assert not is_frozen(b)


def test_positions() -> None:
    a, b = Atom(2), Atom(3)
    assert positions_of(Product((a, b)), a).tolist() == [0, 0, 0, 1, 1, 1]
    assert positions_of(Product((a, b)), b).tolist() == [0, 1, 2, 0, 1, 2]
    assert positions_of(Concat((b, a, b)), b).tolist() == [0, 1, 2, -1, -1, 0, 1, 2]
    assert positions_of(ONE, a).tolist() == [-1]


def test_empty_axes_meet() -> None:
    """A tensor without elements is reshaped."""
    none, five, more = Atom(0), Atom(5), Atom(0)
    unify(Product((none, five)), Product((Atom(5), more)), "n")
    unify(Product((Atom(5), Atom(0), Atom(2))), Product((Atom(0), Atom(3))), "n")
    unify(Concat((Atom(0), five)), five, "n")
    assert size_of(five) == 5


def test_occurs_in_itself() -> None:
    """An axis that repeats itself cannot be an axis of the same size without being a single index."""
    a, b = Atom(6), Atom(2)
    unify(Product((a, b)), Product((b, a)), "n")
    assert len(model(Product((a, b)))) == 12
    unify(Concat((a, b)), Concat((b, a)), "n")
    assert len(model(Concat((a, b)))) == 8


class World:
    """Axes made of few atoms, and random operations on them that check their own promises."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.axes: list[Axis] = [fresh(self.draw(st.sampled_from((1, 2, 3, 4, 6, 8, 12)))) for _ in range(4)]

    def pick(self) -> Axis:
        return self.draw(st.sampled_from(self.axes))

    def add(self, axis: Axis) -> None:
        if size_of(axis) <= 96:
            self.axes.append(axis)

    def join(self) -> None:
        self.add(Concat((self.pick(), self.pick())))

    def multiply(self) -> None:
        self.add(Product((self.pick(), self.pick())))

    def part(self) -> None:
        axis = self.pick()
        at = self.draw(st.integers(0, size_of(axis)))
        before = len(model(axis))
        pieces = cut(axis, at)
        assert (size_of(pieces[0]), size_of(axis)) == (at, before)
        assert model(pieces[0]) + model(pieces[1]) == model(axis)
        self.axes += [piece for piece in pieces if size_of(piece)]

    def freeze(self) -> None:
        axis = self.pick()
        freeze(axis, WHY)
        assert is_frozen(axis)

    def unify(self) -> None:
        one = self.pick()
        fitting = [axis for axis in self.axes if size_of(axis) == size_of(one)]
        other = self.draw(st.sampled_from([*fitting, fresh(size_of(one)), self.pick()]))
        frozen = [axis for axis in self.axes if is_frozen(axis) and list(atoms_of(axis))]
        sizes = [size_of(axis) for axis in self.axes]
        unify(one, other, "n")
        assert [len(model(axis)) for axis in self.axes] == sizes
        assert all(map(is_frozen, frozen)), "what was frozen stays so"
        self.check_agreement(one, other)
        self.axes.append(other)

    def check_agreement(self, one: Axis, other: Axis) -> None:
        """Index by index both are made of the same free atoms; where they are not, these are frozen."""
        if size_of(one) != size_of(other):
            assert is_frozen(one) and is_frozen(other)
            return
        free = {id(atom) for atom in roots(one, other) if atom.freeze is None}
        for a, b in zip(model(one), model(other), strict=True):
            assert {pair for pair in a if pair[0] in free} == {pair for pair in b if pair[0] in free}


@given(st.data())
@settings(max_examples=400, deadline=None, derandomize=True, database=None)
def test_random_sequences(data: st.DataObject) -> None:
    world = World(cast(st.DrawFn, data.draw))
    for _ in range(data.draw(st.integers(1, 14))):
        operation = data.draw(
            st.sampled_from((world.join, world.multiply, world.unify, world.unify, world.part, world.freeze))
        )
        operation()
    kept = {}
    for atom in roots(*world.axes):
        kept[atom] = np.array(data.draw(st.lists(st.booleans(), min_size=atom.size, max_size=atom.size)), dtype=bool)
    for axis in world.axes:
        assert model(expand(axis)) == model(axis)
        expected = kept_by_definition(axis, kept)
        assert indices_of(axis, kept).tolist() == expected
        assert size_of(axis, {atom: int(mask.sum()) for atom, mask in kept.items()}) == sum(expected)
        assert size_of(axis) == len(expected) == prod([size_of(expand(axis))])
        check_positions(axis)


def check_positions(axis: Axis) -> None:
    indices = model(axis)
    for atom in roots(axis):
        found = [[at for name, at in index if name == id(atom)] for index in indices]
        if all(len(places) < 2 for places in found):
            expected = [places[0] if places else -1 for places in found]
            nested = any(sum(a is atom for a in atoms_of(part)) > 1 for part in _parts(axis))
            if not nested:
                assert positions_of(axis, atom).tolist() == expected


def _parts(axis: Axis) -> tuple[Axis, ...]:
    axis = expand(axis)
    return axis.parts if isinstance(axis, Concat) else (axis,)


def test_what_shrinks_of_a_product() -> None:
    """Samples times heads shrinks as the heads do; behind a part that stays there is no such share."""
    samples, heads = Atom(7, Freeze("it is of an input", "x")), Atom(4)
    assert algebra.shrinking_part(Product((samples, heads))) == Product((heads,))
    assert algebra.shrinking_part(samples) == algebra.ONE
    assert algebra.shrinking_part(Concat((samples, heads))) is None
    assert algebra.shrinking_part(Product((heads, Concat((samples, Atom(2)))))) is None
