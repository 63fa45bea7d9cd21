"""Cut the user's own module as a plan says: ``apply_plan``."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from graphprune.analysis.groups import Group, find_groups
from graphprune.axes.infer import infer
from graphprune.axes.typing import Typing
from graphprune.ir.model import Model
from graphprune.module_surgery.cutting import Change, Indices, cut, set_counts
from graphprune.module_surgery.elements import find_cuts
from graphprune.module_surgery.matching import Matched, match
from graphprune.module_surgery.tagging import Tagged, tagged
from graphprune.plan.plan import Plan
from graphprune.rewrite import remove_units
from graphprune.runtime.sessions import RuntimeOptions, open_model
from graphprune.runtime.sessions import run as run_session
from graphprune.torch_bridge.export import Example, from_torch

TOLERANCE = 1e-4


@dataclass(frozen=True)
class Report:
    """What ``apply_plan`` did.

    Attributes
    ----------
    applied : names of the groups that were cut; empty when the module is as it was.
    unapplied : one sentence for each part of the plan that was not carried out, with the reason.
    shapes : name of each tensor that was cut -> shape before and after.
    changes : counts of heads in attributes that were changed along.
    error : ``max|a - b| / max|a|`` between the module and the pruned ONNX file on the example;
    NaN when nothing was cut.
    """

    applied: tuple[str, ...]
    unapplied: tuple[str, ...]
    shapes: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]
    changes: tuple[Change, ...] = ()
    error: float = float("nan")


_Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class _File:
    """An export of the module, and what shrinks together in it."""

    model: Model
    typing: Typing
    groups: Sequence[Group]

    @classmethod
    def of(cls, module: nn.Module, example: Any) -> _File:
        model = from_torch(module, example, keep_norms=True)
        names = [tensor.name for tensor in model.graph.inputs]
        typing = infer(model, dict(zip(names, (tuple(tensor.shape) for tensor in _values(example)), strict=False)))
        return cls(model, typing, find_groups(model, typing))


@dataclass(frozen=True)
class _Trial:
    """A set of groups that was tried: what fits of it, what it cuts, how far the cut module is from the cut file."""

    matched: Matched
    indices: Mapping[str, Indices]
    convolution_groups: Mapping[str, int]
    changes: tuple[Change, ...]
    error: float


def apply_plan(module: nn.Module, plan: Plan, example: Example) -> Report:
    """Remove the units of ``plan`` from ``module``, in place, and prove it on ``example``.

    Parameters and buffers are sliced, and the sizes that layers note beside their weights follow,
    as do counts of heads in attributes of well-known names. The module is exported twice: once with numbered weights,
    to see which elements of which tensor go, and once as it is, to be cut as a file and run by ONNX Runtime; the cut
    module must equal that to 1e-4. Groups with which it does not are left out, for the module's own code holds their
    count; if none is left, nothing is changed. Optimizers hold the old parameters: make them anew.
    Blocks cannot be removed from a module.

    Raises
    ------
    ModelError
        The module cannot be exported.
    RuntimeMissing
        ONNX Runtime, which the proof needs, is not installed.
    """
    twin = tagged(module)
    wide = _cast(example, torch.float64 if twin.is_double else torch.float32)
    subject = _Subject(
        module,
        plan,
        _cast(example, torch.float32),
        twin,
        _File.of(twin.module, wide),
        _File.of(_plain(module), _cast(example, torch.float32)),
    )
    everything = match(plan, subject.numbered.groups)
    best = subject.largest(list(everything.groups))
    refused = [
        f"{name}: the module's code works no more, or computes something else, with fewer of them; it may hold their "
        "count"
        for name in everything.groups
        if best is None or name not in best.matched.groups
    ]
    unapplied = (*everything.unapplied, *refused)
    if best is None:
        return Report((), unapplied, {})
    cut(module, best.indices, best.convolution_groups)
    for change in best.changes:
        setattr(module.get_submodule(change.path), change.name, change.new)
    shapes = {name: (twin.shapes[name], tuple(map(len, kept))) for name, kept in best.indices.items()}
    return Report(tuple(best.matched.groups), unapplied, shapes, best.changes, best.error)


@dataclass(frozen=True)
class _Subject:
    """Everything a trial needs."""

    module: nn.Module
    plan: Plan
    example: Any
    twin: Tagged
    numbered: _File
    original: _File

    def largest(self, names: list[str]) -> _Trial | None:
        """The trial of as many of the groups as can be cut; halves are tried before single ones."""
        best: _Trial | None = None
        pending = [names] if names else []
        while pending:
            part = pending.pop(0)
            accepted = list(best.matched.groups) if best is not None else []
            trial = self.attempt([*accepted, *part])
            if trial is not None:
                best = trial
            elif len(part) > 1:
                pending = [part[: len(part) // 2], part[len(part) // 2 :], *pending]
        return best

    def attempt(self, names: list[str]) -> _Trial | None:
        """Cut copies of module and file; None where they differ."""
        matched = match(self.plan, self.numbered.groups, names)
        other = match(self.plan, self.original.groups, names)
        if not matched.kept or matched.groups.keys() != other.groups.keys():
            return None
        small = remove_units(self.numbered.model, self.numbered.typing, matched.kept)
        cuts = find_cuts(self.twin, self.numbered.model, small)
        if cuts.trouble or not cuts.indices:
            return None
        expected = _run(remove_units(self.original.model, self.original.typing, other.kept), self.example)
        for follows in (False, True):
            copied = _plain(self.module)
            cut(copied, cuts.indices, cuts.groups)
            changes = _follow(copied, matched, cuts.indices, self.twin.shapes) if follows else []
            error = _difference(copied, self.example, expected)
            if error <= TOLERANCE:
                return _Trial(matched, cuts.indices, cuts.groups, tuple(changes), error)
        return None


def _plain(module: nn.Module) -> nn.Module:
    """A copy in single precision, in eval mode."""
    return copy.deepcopy(module).float().eval()


def _cast(example: Example, dtype: torch.dtype) -> Any:
    """The example with its floating tensors in another precision."""

    def one(tensor: Tensor) -> Tensor:
        return tensor.detach().to(dtype) if tensor.is_floating_point() else tensor.detach()

    if isinstance(example, Tensor):
        return one(example)
    if isinstance(example, Mapping):
        return {name: one(tensor) for name, tensor in example.items()}
    return tuple(map(one, example))


def _values(example: Example) -> list[Tensor]:
    if isinstance(example, Tensor):
        return [example]
    return list(example.values()) if isinstance(example, Mapping) else list(example)


def _follow(module: nn.Module, matched: Matched, indices: Mapping[str, Indices], shapes: _Shapes) -> list[Change]:
    """Set the counts of heads, and the widths made of them,
    that the modules around the cut weights note in attributes.
    """
    parts = [name.rpartition(".")[0] for name in indices]
    counts = {group.size: int(np.count_nonzero(matched.kept[group.atom])) for group in matched.groups.values()}
    widths: dict[int, int] = {}
    for name, kept in indices.items():
        for old, new in zip(shapes[name], map(len, kept), strict=True):
            for share in (1, 2, 3):
                if old != new and not old % share and not new % share:
                    widths[old // share] = new // share
    return set_counts(module, parts, counts, widths)


def _run(model: Model, example: Any) -> list[np.ndarray]:
    """What ONNX Runtime computes."""
    names = [tensor.name for tensor in model.graph.inputs]
    feed = {name: tensor.numpy() for name, tensor in zip(names, _values(example), strict=True)}
    outputs = [tensor.name for tensor in model.graph.outputs]
    return list(run_session(open_model(model, RuntimeOptions()), feed, outputs))


def _difference(module: nn.Module, example: Any, expected: Sequence[np.ndarray]) -> float:
    """``max|a - b| / max|a|`` over all outputs; infinite where the module fails."""
    try:
        with torch.no_grad():
            found = module(**example) if isinstance(example, Mapping) else module(*_values(example))
    except Exception:  # noqa: BLE001  a module with wrong sizes may raise anything
        return float("inf")
    tensors = [leaf for leaf in tree_leaves(found) if isinstance(leaf, Tensor)]
    if len(tensors) != len(expected):
        return float("inf")
    return max(_relative(one, other.numpy()) for one, other in zip(expected, tensors, strict=True))


def _relative(one: np.ndarray, other: np.ndarray) -> float:
    if one.shape != other.shape or not np.array_equal(np.isfinite(one), np.isfinite(other)):
        return float("inf")
    difference = float(np.abs(np.where(np.isfinite(one), one - other, 0)).max(initial=0))
    return difference / max(float(np.abs(one[np.isfinite(one)]).max(initial=0)), 1e-30) if difference else 0.0
