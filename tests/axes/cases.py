"""A case of a rule: a small graph, what can be pruned in it, and why the rest cannot."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
import onnx.parser
import pytest

from graphprune.analysis.groups import Group, find_groups
from graphprune.axes.infer import infer
from graphprune.axes.typing import Typing
from graphprune.ir.export import to_proto
from graphprune.ir.loading import load
from graphprune.ir.model import Model
from tests.axes.oracles import check_rewrite, feeds_for, keep_share
from tests.graphs import random_weight

Weights = Mapping[str, Sequence[int] | np.ndarray | np.generic]
_REMOVED = (0.4, 0.75)


@dataclass(frozen=True)
class Case:
    """Groups are written ``layer:size``, by the first layer that writes them; frozen ones with a piece of the reason.

    ``sizes`` are runs: a size for each dynamic axis, 2 where none is given. Without runs only the types are looked at.
    """

    name: str
    text: str
    weights: Weights
    free: tuple[str, ...]
    frozen: Mapping[str, str] = field(default_factory=dict)
    opset: int = 17
    sizes: tuple[Mapping[str, int], ...] = ({}, {"N": 3, "S": 5})
    domains: Mapping[str, int] = field(default_factory=dict)
    missing: str = ""

    def proto(self) -> onnx.ModelProto:
        return parse(self.text, self.weights, self.opset, self.domains)


def case(
    name: str,
    text: str,
    weights: Weights,
    free: str = "",
    *,
    opset: int = 17,
    missing: str = "",
    frozen: Mapping[str, str] | None = None,
    domains: Mapping[str, int] | None = None,
    sizes: tuple[Mapping[str, int], ...] = ({}, {"N": 3, "S": 5}),
) -> Case:
    """``free`` names the prunable groups, separated by blanks."""
    return Case(name, text, weights, tuple(free.split()), frozen or {}, opset, sizes, domains or {}, missing)


def parse(text: str, weights: Weights, opset: int, domains: Mapping[str, int] | None = None) -> onnx.ModelProto:
    """As :func:`tests.graphs.build`, with operators of other domains."""
    imports = ", ".join(f'"{domain}" : {version}' for domain, version in {"": opset, **(domains or {})}.items())
    proto = onnx.parser.parse_model(f"<ir_version: 9, opset_import: [{imports}]> graph {text}")
    for name, given in weights.items():
        array = np.asarray(given) if isinstance(given, np.ndarray | np.generic) else random_weight(name, given)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    return proto


def describe(groups: Sequence[Group]) -> list[str]:
    return [f"{group.writers[0]}:{group.size}" for group in groups]


def typed(case: Case) -> tuple[Model, Typing, list[Group]]:
    model = load(case.proto())
    typing = infer(model)
    return model, typing, find_groups(model, typing)


def check(case: Case) -> None:
    """The groups are those of the case; each alone and all at once can be cut."""
    model, typing, groups = typed(case)
    free = [group for group in groups if group.is_prunable]
    frozen = [group for group in groups if not group.is_prunable]
    reasons = {name: group.freeze.reason for name, group in zip(describe(frozen), frozen, strict=True) if group.freeze}
    assert sorted(describe(free)) == sorted(case.free), f"the others are frozen: {reasons}; {typing.missing}"
    for name, reason in case.frozen.items():
        assert re.search(reason, reasons[name]), f"{name} is frozen because {reasons[name]}"
    reported = "; ".join(f"{m.node} {m.op}: {m.effect}" for m in typing.missing)
    assert case.missing in reported if case.missing else not reported
    feeds = [feeds_for(to_proto(model), sizes) for sizes in case.sizes]
    if not feeds or not free:
        return
    for group in free if len(free) > 1 else ():
        check_rewrite(model, typing, keep_share([group], _REMOVED[0]), feeds)
    for share in _REMOVED:
        check_rewrite(model, typing, keep_share(free, share), feeds)


def all_of(cases: Sequence[Case]) -> pytest.MarkDecorator:
    """Run a test on every case."""
    names = [one.name for one in cases]
    assert len(set(names)) == len(names), "two cases share a name"
    return pytest.mark.parametrize("case", cases, ids=names)


def between(body: str, *, out: str = "float[N, 5]", inputs: str = "float[N, 4] x", after: str = "") -> str:
    """``body`` makes ``h`` of ``a``, between two layers that make ``a`` of ``x`` and ``y`` of ``h``."""
    return f"({inputs}) => ({out} y) {{ [first] a = MatMul(x, w1) {body} [last] y = MatMul(h, w2) {after} }}"
