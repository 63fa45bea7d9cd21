"""Axis type inference: one walk over the nodes, a rule per operator, and a last look at every number that is a size."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Mapping

import onnx_graphsurgeon as gs

from graphprune.axes import algebra, rules
from graphprune.axes.algebra import Axes, Freeze
from graphprune.axes.cache import head_places, tie_presents
from graphprune.axes.measured import ConcreteShape
from graphprune.axes.picking import follow_picked, settle_picked
from graphprune.axes.probe import probe
from graphprune.axes.rules import NodeTyping, Unknown, find_rule
from graphprune.axes.settle import settle
from graphprune.axes.shared import tie_shared
from graphprune.axes.typing import Missing, Typing
from graphprune.ir.bodies import all_nodes, bodies, scopes
from graphprune.ir.model import Model, outer_reads
from graphprune.ir.shape_inference import STANDARD_DOMAINS

for _module in pkgutil.iter_modules(rules.__path__):
    importlib.import_module(f"{rules.__name__}.{_module.name}")


def infer(model: Model, sample: Mapping[str, ConcreteShape] | None = None) -> Typing:
    """Type every axis of ``model``; no weight is read.

    ``sample`` holds input shapes that are known to work, for networks that do not take every size.
    """
    crossing = {tensor.name for node in all_nodes(model.graph) for tensor in _taken(node)}
    given = {tensor.name for scope in scopes(model.graph) for tensor in scope.outputs}
    typing = Typing(probe(model, sample), frozenset(crossing | given))
    heads = head_places(model)
    for tensor in model.graph.inputs:
        why = Freeze("it is an axis of a model input", tensor.name)
        shape = typing.probe.shapes[tensor.name]
        typing.axes[tensor.name] = tuple(
            algebra.fresh(size, None if (tensor.name, axis) in heads else why) for axis, size in enumerate(shape)
        )
    opsets = {entry.domain: entry.version for entry in model.header.opset_import}
    _type_nodes(model.graph.nodes, typing, opsets)
    tied = tie_presents(model, typing)
    for tensor in model.graph.outputs:
        for index, axis in enumerate(typing.axes.get(tensor.name, ())):
            if (tensor.name, index) not in tied:
                algebra.freeze(axis, Freeze("it is an axis of a model output", tensor.name))
    tie_shared(model, typing)
    settle_picked(typing)
    settle(model, typing)
    return typing


def _taken(node: gs.Node) -> list[gs.Tensor]:
    """What the bodies of a node take from outside; of weights each use is typed, wherever it is."""
    return [tensor for tensor in outer_reads(node) if not isinstance(tensor, gs.Constant)]


def _type_nodes(nodes: Iterable[gs.Node], typing: Typing, opsets: Mapping[str, int]) -> None:
    for node in nodes:
        follow_picked(node, typing)
        if bodies(node):
            _type_bodies(node, typing, opsets)
        else:
            _type_node(node, typing, opsets)


def _type_bodies(node: gs.Node, typing: Typing, opsets: Mapping[str, int]) -> None:
    """Each body is a graph of its own; what the node is given and gives keeps its size.

    What a body takes from outside by name is an operand of its nodes like any other, with the axes it has there.
    """
    why = Freeze(f"it crosses the border of a body of {node.op}", node.name)
    for operand in range(len(node.inputs)):
        _freeze_all(typing.of(node, operand) or (), why)
    for body in bodies(node):
        for tensor in body.inputs:
            _give_frozen(tensor, typing, why)
        _type_nodes(body.nodes, typing, opsets)
        for tensor in body.outputs:
            _freeze_all(typing.axes.get(tensor.name, ()), why)
    for tensor in node.outputs:
        _give_frozen(tensor, typing, why)
    border = [*node.outputs, *(tensor for body in bodies(node) for tensor in body.inputs)]
    if any(tensor.name and tensor.name not in typing.axes for tensor in border):
        effect = "the sizes of what it gives are not the same for all that its bodies do, so what reads it is frozen"
        typing.missing.append(Missing(node.name, node.op, effect))


def _freeze_all(axes: Axes, why: Freeze) -> None:
    for axis in axes:
        algebra.freeze(axis, why)


def _give_frozen(tensor: gs.Tensor, typing: Typing, why: Freeze) -> None:
    """New axes that may not shrink, where the shape is known."""
    shape = typing.probe.shapes.get(tensor.name)
    if tensor.name and shape is not None:
        typing.axes[tensor.name] = tuple(algebra.fresh(size, why) for size in shape)
    elif tensor.name:
        typing.axes.pop(tensor.name, None)


def _type_node(node: gs.Node, typing: Typing, opsets: Mapping[str, int]) -> None:
    shapes = [typing.probe.shapes.get(tensor.name) for tensor in node.outputs]
    if all(tensor.name in typing.probe.values for tensor in node.outputs if tensor.name):
        _freeze_outputs(node, typing, "it is part of a computation with sizes")
        return
    domain = "" if node.domain in STANDARD_DOMAINS else node.domain
    rule = find_rule(domain, node.op, opsets.get(domain, 1))
    if rule is None:
        name = f"{domain}::{node.op}" if domain else node.op
        _give_up(node, typing, name, f"no axis rule for {name}")
        return
    try:
        written = rule(NodeTyping(node, typing, opsets.get(domain, 1)))
    except Unknown:
        written = None
    if written is None:
        _give_up(node, typing, node.op, f"this use of {node.op} is not understood")
        return
    if any(map(typing.is_read, node.outputs[len(written) :])):
        _give_up(node, typing, node.op, f"a side output of {node.op} is not understood")
        return
    for tensor, axes, shape in zip(node.outputs, written, shapes, strict=False):
        if not tensor.name:
            continue
        typing.axes[tensor.name] = axes
        if shape is not None and tuple(map(algebra.size_of, axes)) != shape:
            _give_up(node, typing, node.op, f"the rule for {node.op} and shape inference disagree")
            return


def _give_up(node: gs.Node, typing: Typing, op: str, reason: str) -> None:
    """Freeze everything the node touches, and report it."""
    why = Freeze(reason, node.name)
    before = 0
    for operand in range(len(node.inputs)):
        for axis in typing.of(node, operand) or ():
            before += not algebra.is_frozen(axis)
            algebra.freeze(axis, why)
    _freeze_outputs(node, typing, reason)
    typing.missing.append(Missing(node.name, op, f"{reason}: {before} axes frozen"))


def _freeze_outputs(node: gs.Node, typing: Typing, reason: str) -> None:
    for tensor in node.outputs:
        _give_frozen(tensor, typing, Freeze(reason, node.name))
