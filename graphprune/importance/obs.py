"""Optimal brain surgeon for groups of inputs: what a layer loses with a unit, after everything left is refitted.

Hassibi & Stork, "Second Order Derivatives for Network Pruning: Optimal Brain Surgeon" (NIPS 1992),
for whole units as in OBSPA (arXiv 2403.18955) and ZipLM: with the Gram matrix ``H`` of a layer's inputs and its weights
``W`` (inputs, outputs), taking out the inputs ``U`` and refitting the rest costs ``tr(W_U' (H^-1_UU)^-1 W_U)`` in
squared output error.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

_DAMPING = 1e-3  # of the mean of the diagonal
_MOST_STEPS = 256  # of one group; past that several units leave at once


class Reader:
    """One layer that reads the units: its inverse Gram matrix and its weights, both kept up to date.

    ``gram`` (inputs, inputs), ``weights`` (inputs, outputs), ``owner`` (inputs,): the unit each input belongs to,
    -1 for none. ``damping`` is a share of the mean of the diagonal.
    """

    def __init__(
        self, gram: Matrix, weights: Matrix, owner: NDArray[np.intp], units: int, damping: float | None = None
    ) -> None:
        share = _DAMPING if damping is None else damping
        added = share * float(np.trace(gram)) / len(gram) or 1.0
        self._inverse = np.linalg.inv(gram + added * np.eye(len(gram)))
        self._weights = weights.copy()
        self._places = [np.flatnonzero(owner == unit) for unit in range(units)]
        is_even = len({len(places) for places in self._places}) == 1
        self._table = np.stack(self._places) if is_even else None  # (units, inputs of each)

    def losses(self, units: Sequence[int]) -> Matrix:
        """Squared error after refitting, one number for each unit taken out alone."""
        if self._table is not None:  # as below, for all units at once
            places = self._table[list(units)]
            weights, own = self._weights[places], self._inverse[places[:, :, None], places[:, None, :]]
            refitted = weights / own if places.shape[1] == 1 else np.linalg.solve(own, weights)
            return np.asarray(np.einsum("uio,uio->u", weights, refitted))
        return np.array([self._loss(self._places[unit]) for unit in units])

    def _loss(self, places: NDArray[np.intp]) -> float:
        if not len(places):
            return 0.0
        weights = self._weights[places]
        return float(np.sum(weights * np.linalg.solve(self._inverse[np.ix_(places, places)], weights)))

    @property
    def weights(self) -> Matrix:
        """Refitted to what is left, zero for what is gone."""
        return self._weights

    def remove(self, units: Sequence[int]) -> None:
        """Take units out and refit the rest."""
        places = np.concatenate([self._places[unit] for unit in units]).astype(np.intp)
        if not len(places):
            return
        columns = self._inverse[:, places]
        step = np.linalg.solve(columns[places], np.concatenate([self._weights[places], columns.T], axis=1))
        outputs = self._weights.shape[1]
        self._weights -= columns @ step[:, :outputs]
        self._inverse -= columns @ step[:, outputs:]
        self._weights[places] = 0.0


def removal_losses(
    readers: Sequence[Reader],
    units: int,
    most: int | None = None,
    stops: Collection[int] = (),
    at_stop: Callable[[int, list[int]], None] | None = None,
) -> Matrix:
    """For each unit the squared error that its leaving adds, when units leave one by one, the cheapest first.

    Never falling in the order of removal, so that sorting gives the order back. The last unit stays;
    its loss is infinite in effect: as large as the largest times the number of units.
    No more than ``most`` leave; the others have the loss that each would add next. When as many have left as one of
    ``stops`` says, ``at_stop`` is called with that number and the units that are left.
    """
    losses = np.zeros(units)
    left = list(range(units))
    at_once = -(-units // _MOST_STEPS)
    last, fewest = 0.0, 1 if most is None else max(1, units - most)
    while len(left) > fewest:
        costs = np.sum([reader.losses(left) for reader in readers], axis=0)
        ahead = [stop - units + len(left) for stop in stops if stop > units - len(left)]
        step = min(at_once, len(left) - fewest, *ahead)
        leaving = [left[index] for index in np.argsort(costs, kind="stable")[:step]]
        for unit in leaving:
            last = max(float(costs[left.index(unit)]), float(np.nextafter(last, np.inf)))
            losses[unit] = last
        for reader in readers:
            reader.remove(leaving)
        left = [unit for unit in left if unit not in set(leaving)]
        if at_stop is not None and units - len(left) in stops:
            at_stop(units - len(left), left)
    if len(left) > 1:
        costs = np.sum([reader.losses(left) for reader in readers], axis=0)
        losses[left] = np.maximum(costs, np.nextafter(last, np.inf))
    else:
        losses[left] = max(last, np.finfo(np.float64).tiny) * max(2, units)
    return losses
