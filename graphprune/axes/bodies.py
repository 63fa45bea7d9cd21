"""Sizes at the border of the bodies of If, Loop and Scan: what goes into a body, and what the node that holds it gives.

A loop's states keep their sizes from one step to the next, or nothing is known of the sizes in its body.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from graphprune.ir.bodies import bodies, scopes
from graphprune.ir.model import Model

if TYPE_CHECKING:
    from graphprune.axes.probe import Probe

_STEP = (onnx.TensorProto.INT64, onnx.TensorProto.BOOL)
"""A Loop's body reads the step's number and the condition before the states, and gives the condition before them."""


def enter_bodies(node: gs.Node, model: Model, found: Probe) -> None:
    """Note the shapes of what the bodies of ``node`` are given."""
    for body in bodies(node):
        for tensor, dtype in zip(body.inputs, _STEP if node.op == "Loop" else (), strict=False):
            found.shapes[tensor.name] = ()
            found.dtypes[tensor.name] = dtype
        for outer, inner, axis in _given(node, body):
            shape = found.shape(outer)
            if shape is not None:
                found.shapes[inner.name] = shape if axis is None else _without(shape, axis)
            known = model.dtypes.get(outer.name) or found.dtypes.get(outer.name)
            if known:
                found.dtypes[inner.name] = known


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    place = axis % len(shape)
    return (*shape[:place], *shape[place + 1 :])


def _given(node: gs.Node, body: gs.Graph) -> Iterator[tuple[gs.Tensor, gs.Tensor, int | None]]:
    """What a body is given: the tensor outside, that inside, and the axis along which a Scan takes it apart."""
    if node.op == "Loop":
        for outer, inner in zip(node.inputs[2:], body.inputs[2:], strict=False):
            yield outer, inner, None
    elif node.op == "Scan":
        states = _state_count(node)
        axes = node.attrs.get("scan_input_axes") or [0] * (len(node.inputs) - states)
        for outer, inner, axis in zip(node.inputs, body.inputs, [None] * states + list(axes), strict=False):
            yield outer, inner, axis


def _state_count(node: gs.Node) -> int:
    count = len(node.inputs)
    return count - 2 if node.op == "Loop" else count - int(node.attrs["num_scan_inputs"])


def leave_bodies(node: gs.Node, found: Probe, *, takes_branches: bool) -> None:
    """Note the shapes of what ``node`` gives, as far as its bodies tell them.

    Where sizes decide about a branch, they do so for these sizes only; ``takes_branches`` tells whether that is enough.
    """
    if node.op == "If":
        _leave_branches(node, found, takes_branches=takes_branches)
    for body in bodies(node) if node.op in ("Loop", "Scan") else ():
        states, first = _state_count(node), 1 if node.op == "Loop" else 0
        before = body.inputs[2:] if node.op == "Loop" else body.inputs[:states]
        after = body.outputs[first : first + states]
        if any(found.shape(old) != found.shape(new) for old, new in zip(before, after, strict=False)):
            _forget(body, found)
            continue
        for outer, inner in zip(node.outputs, after, strict=False):
            _note(outer, found.shape(inner), found)
        if node.op == "Scan":
            _leave_scan(node, body, states, found)


def _leave_branches(node: gs.Node, found: Probe, *, takes_branches: bool) -> None:
    yes, no = node.attrs["then_branch"].outputs, node.attrs["else_branch"].outputs
    condition = found.value(node.inputs[0])
    for outer, one, other in zip(node.outputs, yes, no, strict=False):
        taken = None if condition is None else one if bool(np.ravel(condition)[0]) else other
        value = None if taken is None else found.value(taken)
        if value is not None:
            found.values[outer.name] = value
            found.shapes[outer.name] = value.shape
        elif taken is not None and takes_branches:
            _note(outer, found.shape(taken), found)
        elif found.shape(one) == found.shape(other):
            _note(outer, found.shape(one), found)


def _leave_scan(node: gs.Node, body: gs.Graph, states: int, found: Probe) -> None:
    """What each step gives is joined along an axis as long as there are steps."""
    axes = node.attrs.get("scan_output_axes") or [0] * (len(node.outputs) - states)
    read = found.shape(node.inputs[states])
    length = None if read is None else read[(node.attrs.get("scan_input_axes") or [0])[0]]
    for outer, inner, axis in zip(node.outputs[states:], body.outputs[states:], axes, strict=False):
        shape = found.shape(inner)
        if shape is not None and length is not None:
            place = axis % (len(shape) + 1)
            _note(outer, (*shape[:place], length, *shape[place:]), found)


def _note(tensor: gs.Tensor, shape: tuple[int, ...] | None, found: Probe) -> None:
    if tensor.name and shape is not None:
        found.shapes.setdefault(tensor.name, shape)


def _forget(body: gs.Graph, found: Probe) -> None:
    for scope in scopes(body):
        for tensor in (*scope.inputs, *(tensor for node in scope.nodes for tensor in node.outputs)):
            found.shapes.pop(tensor.name, None)
            found.values.pop(tensor.name, None)
