"""Cut units out: slice every weight axis that holds them, and rewrite every number that counts them."""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from graphprune.axes import algebra
from graphprune.axes.algebra import Axes, Counts, Kept
from graphprune.axes.origins import Element, elements
from graphprune.axes.settle import dimension, follows
from graphprune.axes.typing import SizeField, Typing
from graphprune.errors import GraphpruneError
from graphprune.ir.bodies import all_nodes
from graphprune.ir.free_names import free_name, names_in
from graphprune.ir.input_origins import note_inputs
from graphprune.ir.model import Model, constant_dims, constants, read_values
from graphprune.rewrite.attributes import set_attributes
from graphprune.rewrite.sizes import append, graphs, restore, scaled
from graphprune.rewrite.weights import cut_constant, new_constant

New = dict[int, int | Fraction]
"""Place in a list of sizes -> its new number, or what the computed one there is to be multiplied by."""
Joined = dict[tuple[int, str, tuple[int | Fraction | None, ...]], gs.Variable]
"""A graph, a computed list of sizes and its new numbers -> the list written anew,
for all there who read it with the same changes."""


def remove_units(model: Model, typing: Typing, kept: Kept) -> Model:
    """A copy of ``model`` in which only the ``kept`` indices of each atom are left.

    A shared initialiser is cut for each of its readers on its own; uses whose axes are the same share the result.
    """
    kept = {atom: mask for atom, mask in kept.items() if not mask.all()}
    counts = {atom: int(np.count_nonzero(mask)) for atom, mask in kept.items()}
    small = model.copy()
    small.node_protos, small.dtypes = dict(model.node_protos), dict(model.dtypes)
    nodes = {node.name: node for node in all_nodes(small.graph)}
    _cut_weights(small, nodes, typing, kept, counts)
    for (name, operand), axis in typing.restored.items():
        restore(small, nodes[name], operand, _share(axis, counts))
    fields: dict[str, list[SizeField]] = defaultdict(list)
    for field in typing.sizes:
        fields[field.node].append(field)
    joined: Joined = {}
    for name, own in fields.items():
        if any(_is_changed(field, counts) for field in own):
            _write_sizes(small, nodes[name], own, typing, counts, joined)
    small.shapes = {name: _new_shape(shape, typing.axes.get(name), counts) for name, shape in model.shapes.items()}
    small.graph.cleanup().toposort()
    small.header = _declared(small)
    _declare_cache(small, typing, kept)
    return small


def _is_changed(field: SizeField, counts: Counts) -> bool:
    return algebra.size_of(field.axis, counts) != algebra.size_of(field.axis)


def _cut_weights(model: Model, nodes: dict[str, gs.Node], typing: Typing, kept: Kept, counts: Counts) -> None:
    """Slice constants, once for all readers that are cut alike."""
    uses: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for (name, operand), axes in typing.constants.items():
        if algebra.cut_axes(axes, counts):
            uses[nodes[name].inputs[operand].name].append((name, operand))
    taken = model.derived(names_in)
    for constant, places in uses.items():
        original = nodes[places[0][0]].inputs[places[0][1]]
        cuts: dict[tuple[algebra.Axis | None, ...], gs.Constant] = {}
        for name, operand in places:
            axes = typing.constants[name, operand]
            key = algebra.cut_axes(axes, counts)
            if key not in cuts:
                is_only = len(places) == len(original.outputs) and constant not in typing.results
                label = constant if is_only and not cuts else free_name(constant, taken, "/cut")
                masks = [algebra.indices_of(axis, kept) for axis in axes]
                cuts[key] = cut_constant(label, original, model.folder, masks)
            nodes[name].inputs[operand] = cuts[key]


def _declared(model: Model) -> onnx.ModelProto:
    """The header, where older files declare the shape of every weight as if it was an input."""
    dims = {constant.name: constant_dims(constant) for constant in constants(model.graph)}
    header = onnx.ModelProto()
    header.CopyFrom(model.header)
    for value in header.graph.input:
        if value.name in dims:
            dtype = value.type.tensor_type.elem_type
            value.CopyFrom(onnx.helper.make_tensor_value_info(value.name, dtype, dims[value.name]))
    return header


def _declare_cache(model: Model, typing: Typing, kept: Kept) -> None:
    """Inputs and outputs that shrink say so in the header, and of the inputs which indices are left."""
    header = model.header
    made: dict[str, tuple[str, list[np.ndarray]]] = {}
    for value in (*header.graph.input, *header.graph.output):
        masks = [algebra.indices_of(axis, kept) for axis in typing.axes.get(value.name, ())]
        for dim, mask in zip(value.type.tensor_type.shape.dim, masks, strict=False):
            if not mask.all():
                dim.dim_value = int(np.count_nonzero(mask))
                made[value.name] = (value.name, masks)
    inputs = [tensor.name for tensor in model.graph.inputs]
    narrower = {name: origin for name, origin in made.items() if name in inputs}
    if narrower:
        note_inputs(header, inputs, narrower)


def _write_sizes(
    model: Model, node: gs.Node, fields: list[SizeField], typing: Typing, counts: Counts, joined: Joined
) -> None:
    """Give a node's numbers their new values."""
    attributes = [field for field in fields if field.attribute]
    if attributes:
        _write_attributes(model, node, attributes, counts)
    for operand in dict.fromkeys(field.operand for field in fields if not field.attribute):
        own = [field for field in fields if field.operand == operand and not field.attribute]
        new: New = {
            field.element or 0: _new_number(field, typing, counts)
            for field in own
            if _is_changed(field, counts) and not _follows(field, node, typing)
        }
        if typing.inferred.get(node.name) is not None and operand == 1:
            new[typing.inferred[node.name]] = -1
        if operand >= len(node.inputs) or not node.inputs[operand].name:
            _add_operand(model, node, operand, [algebra.size_of(field.axis, counts) for field in own])
        elif isinstance(node.inputs[operand], gs.Constant):
            values = np.array(read_values(node.inputs[operand], model.folder))
            for element, size in new.items():
                values[(element,) if values.ndim else ()] = int(size)
            node.inputs[operand] = new_constant(_size_name(model, node, operand), values)
        elif new:
            _rebuild(model, node, operand, new, typing, joined)


def _new_number(field: SizeField, typing: Typing, counts: Counts) -> int | Fraction:
    """What the number becomes; a fraction is what a computed one is to be multiplied by."""
    if (field.node, field.operand, field.element or 0) in typing.scaled:
        return _share(field.axis, counts)
    return algebra.size_of(field.axis, counts) * (-1 if field.is_negative else 1)


def _share(axis: algebra.Axis, counts: Counts) -> Fraction:
    """How much of an axis is left of which a factor shrinks."""
    part = algebra.shrinking_part(axis) or algebra.ONE
    return Fraction(algebra.size_of(part, counts), algebra.size_of(part))


def _follows(field: SizeField, node: gs.Node, typing: Typing) -> bool:
    """Whether the number takes its new value by itself."""
    if follows(field, field.follows):
        return True
    if field.operand >= len(node.inputs) or isinstance(node.inputs[field.operand], gs.Constant):
        return False
    found = elements(node.inputs[field.operand], typing.probe)
    return found is None or follows(field, dimension(found[field.element or 0], typing))


def _write_attributes(model: Model, node: gs.Node, fields: list[SizeField], counts: Counts) -> None:
    values = dict(node.attrs)
    for field in fields:
        size = algebra.size_of(field.axis, counts)
        if field.element is None:
            values[field.attribute] = size
        elif field.attribute in values:
            values[field.attribute] = [
                size if index == field.element else old for index, old in enumerate(values[field.attribute])
            ]
        else:  # equal shares need no numbers, unequal ones do
            values[field.attribute] = [algebra.size_of(other.axis, counts) for other in fields]
    set_attributes(model, node, {field.attribute: values[field.attribute] for field in fields})


def _add_operand(model: Model, node: gs.Node, operand: int, sizes: list[int]) -> None:
    """A Split into equal shares gets a list of unequal ones."""
    if node.op != "Split":
        raise GraphpruneError(f"node {node.name} ({node.op}) has no input {operand} to write to", "please report this")
    values = np.array(sizes, dtype=np.int64)
    while len(node.inputs) <= operand:
        node.inputs.append(gs.Variable.empty())
    node.inputs[operand] = new_constant(_size_name(model, node, operand), values)
    set_attributes(model, node, {"num_outputs": None})  # the standard allows one of the two


def _rebuild(model: Model, node: gs.Node, operand: int, new: New, typing: Typing, joined: Joined) -> None:
    """Write a computed list of sizes anew, with numbers in place of those that change.

    Reshape and Expand have words for "as in the input"; where these say it all, a constant is enough.
    Else the pieces of the old list are joined with the new numbers.
    """
    found = elements(node.inputs[operand], typing.probe) or []
    numbers = [new.get(index, element.number) for index, element in enumerate(found)]
    kept_as_is = _words(node, typing, len(found))
    words = [number if isinstance(number, int) else word for number, word in zip(numbers, kept_as_is, strict=True)]
    if None in words and node.op == "Reshape" and words.count(None) == 1 and -1 not in words:
        words[words.index(None)] = -1
    if None not in words:
        if node.attrs.get("allowzero", 0):  # zero has its usual meaning from here on
            set_attributes(model, node, {"allowzero": 0})
        node.inputs[operand] = new_constant(_size_name(model, node, operand), np.array(words, dtype=np.int64))
        return
    key = id(model.derived(graphs)[node.name]), node.inputs[operand].name, tuple(numbers)
    if key not in joined:
        joined[key] = _join(model, node, operand, new, found)
    node.inputs[operand] = joined[key]


def _join(model: Model, node: gs.Node, operand: int, new: New, found: list[Element]) -> gs.Variable:
    """A Concat of the pieces that stay and of the numbers that do not, in the type that the pieces have."""
    pieces: list[gs.Tensor] = []
    kinds = [model.dtypes.get(element.piece.name) for element in found if element.number is None]
    kind = next((kind for kind in kinds if kind), onnx.TensorProto.INT64)
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind)
    index = 0
    while index < len(found):
        length = _untouched(found, index, new)
        number = new.get(index, found[index].number)
        if length:
            pieces.append(found[index].piece)
        elif isinstance(number, Fraction):
            pieces.append(scaled(model, node, found[index].piece, number))
        elif number is None:
            raise GraphpruneError(f"a size of node {node.name} cannot be taken apart", "please report this")
        else:
            name = free_name(f"{node.name}/size{operand}/{index}", model.derived(names_in))
            pieces.append(new_constant(name, np.array([number], dtype=dtype)))
        index += length or 1
    label = f"{node.name}/sizes{operand}"
    sizes = append(model, node, "Concat", label, {"axis": 0}, pieces, kind)
    if kind == onnx.TensorProto.INT64:
        return sizes
    return append(model, node, "Cast", f"{label}/cast", {"to": onnx.TensorProto.INT64}, [sizes], onnx.TensorProto.INT64)


def _words(node: gs.Node, typing: Typing, count: int) -> list[int | None]:
    """For each entry of a target shape the number that means "as in the input", where the input says it."""
    read, written = typing.of(node, 0), typing.axes.get(node.outputs[0].name)
    if read is None or written is None or len(written) != count or node.op not in ("Reshape", "Expand"):
        return [None] * count
    if node.op == "Expand":
        offset = len(written) - len(read)
        return [
            1 if i >= offset and algebra.is_same(read[i - offset], axis) else None for i, axis in enumerate(written)
        ]
    return [0 if i < len(read) and algebra.is_same(read[i], axis) else None for i, axis in enumerate(written)]


def _untouched(found: list[Element], index: int, new: New) -> int:
    """Length of the piece that begins here, if all of it stays as it is and is no constant; else 0."""
    first = found[index]
    if first.number is not None or first.index:
        return 0
    end = index
    while end < len(found) and found[end].piece is first.piece and found[end].index == end - index:
        if end in new:
            return 0
        end += 1
    return end - index


def _size_name(model: Model, node: gs.Node, operand: int) -> str:
    """The name for a list of sizes that only ``node`` reads: that of an earlier rewrite again, if nobody shares it."""
    wanted = f"{node.name}/size{operand}"
    old = node.inputs[operand] if operand < len(node.inputs) else None
    if isinstance(old, gs.Constant) and old.name == wanted and len(old.outputs) == 1:
        return wanted
    return free_name(wanted, model.derived(names_in))


def _new_shape(shape: tuple[int | str | None, ...], axes: Axes | None, counts: Counts) -> tuple[int | str | None, ...]:
    if axes is None or len(axes) != len(shape):
        return shape
    return tuple(
        algebra.size_of(axis, counts) if isinstance(dim, int) else dim for dim, axis in zip(shape, axes, strict=True)
    )
