"""The branches of If: each that is cut is entered by force, for no sample may take it by itself.

A branch may be meant for other inputs than the samples are, and not run on any of them; a cut in it cannot be checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from graphprune.axes import algebra
from graphprune.data.dataset import Data
from graphprune.errors import ModelError, ValidationFailed
from graphprune.ir import lean_file
from graphprune.ir.bodies import all_nodes, bodies, graphs_of
from graphprune.ir.export import to_proto
from graphprune.ir.free_names import free_name, tensor_names
from graphprune.ir.model import Model
from graphprune.rewrite.removal import Removal
from graphprune.runtime.sessions import Feeds, RuntimeOptions, open_session, run
from graphprune.validation.masked_original import masked_original
from graphprune.validation.yardstick import Yardstick

Choices = Mapping[str, bool]
"""Name of an If -> whether it takes the first of its branches; the innermost comes first."""

_MOST_TRIED = 16  # batches, until one runs in a branch


def choices_to(model: Model) -> dict[str, Choices]:
    """Name of a node in a branch -> what the Ifs around it must choose for it to run."""
    return {name: choices for name, choices in _inside(model.graph, {}) if choices}


def _inside(graph: gs.Graph, around: dict[str, bool]) -> Iterator[tuple[str, dict[str, bool]]]:
    for node in graph.nodes:
        yield node.name, around
        for body in bodies(node):
            own = {node.name: body is node.attrs["then_branch"]} if node.op == "If" else {}
            yield from _inside(body, own | around)


def described(choices: Choices) -> str:
    """The branch, in words."""
    return " in ".join(f"the {'then' if takes else 'else'} branch of {name}" for name, takes in choices.items())


def runs(model: Model, choices: Choices, data: Data, batch: int, options: RuntimeOptions) -> bool:
    """Whether some samples run where these choices lead."""
    return _first_run(lambda: to_proto(model), choices, model.folder, data, batch, options) is not None


def check_branches(
    step: Removal, result: Path | Model, data: Data, batch: int, options: RuntimeOptions, yardstick: Yardstick
) -> None:
    """Compare ``result`` with what ``step`` should have made of its model, in every branch that was cut.

    Raises
    ------
    ValidationFailed
        An output differs by more than its limit, or no sample runs in the branch.
    """
    names = [tensor.name for tensor in step.model.graph.outputs]
    for choices in _cut_branches(step):
        expected = _first_run(lambda: masked_original(step), choices, step.model.folder, data, batch, options)
        if expected is None:
            raise ValidationFailed(
                f"none of the samples runs in {described(choices)}, so the cut there cannot be checked; "
                "nothing was written",
                "give samples for it, too (a folder of .npz files, one for each run), or exclude its groups",
            )
        feeds, references = expected
        folder = result.parent if isinstance(result, Path) else result.folder
        rewritten = open_session(_forcing(lambda: _proto(result), choices), options, folder, is_lean=True)
        for name, whole, found in zip(names, references, run(rewritten, feeds, names), strict=True):
            reference = step.left_of(name, whole)
            error, limit = yardstick.error(name, reference, found), yardstick.limit(name)
            if not error <= limit:
                raise ValidationFailed(
                    f"in {described(choices)}, output '{name}' of the rewritten model differs from the masked original "
                    f"by {error:.2g} (tolerance {limit:g}); nothing was written",
                    "please report this model; exclude the unit concerned to go on",
                )


def _cut_branches(step: Removal) -> list[Choices]:
    """What must be chosen to enter each branch that holds something that was cut."""
    choices_by_node = choices_to(step.model)
    if not choices_by_node:
        return []
    cut = {block.join for block in step.blocks} | _cut_nodes(step)
    found = {tuple(choices.items()): choices for name, choices in choices_by_node.items() if name in cut}
    return list(found.values())


def _cut_nodes(step: Removal) -> set[str]:
    """The nodes that lose units."""
    if step.typing is None:
        return set()
    typing, nodes = step.typing, {node.name: node for node in all_nodes(step.model.graph)}
    touched = [(name, axis) for (name, _), axes in typing.constants.items() for axis in axes]
    for place in typing.contractions:  # of what a layer outside makes, maybe, without a weight in the branch
        axes = typing.of(nodes[place.node], place.operand)
        touched += [] if axes is None else [(place.node, axes[place.axis])]
    return {name for name, axis in touched if any(atom in step.kept for atom in algebra.atoms_of(axis))}


def _first_run(
    make: Callable[[], onnx.ModelProto],
    choices: Choices,
    folder: Path | None,
    data: Data,
    batch: int,
    options: RuntimeOptions,
) -> tuple[Feeds, list[np.ndarray]] | None:
    """The first samples that run where the choices lead, and what comes out; None where none do."""
    try:
        session = open_session(_forcing(make, choices), options, folder, is_lean=True)
    except ModelError:
        return None
    names = [value.name for value in session.get_outputs()]
    for part in islice(data.batches(batch), _MOST_TRIED):
        try:
            return part.feeds, run(session, part.feeds, names)
        except ModelError:
            continue
    return None


def _proto(result: Path | Model) -> onnx.ModelProto:
    if isinstance(result, Model):
        return to_proto(result)
    return lean_file.skeleton(result)


def _forcing(make: Callable[[], onnx.ModelProto], choices: Choices) -> Callable[[], onnx.ModelProto]:
    """Makes the model with the conditions of some Ifs replaced."""

    def forced() -> onnx.ModelProto:
        proto = make()
        taken = tensor_names(proto.graph)
        for node in [node for graph in graphs_of(proto.graph) for node in graph.node if node.name in choices]:
            name = free_name(f"{node.name}/forced", taken)
            proto.graph.initializer.append(onnx.numpy_helper.from_array(np.array(choices[node.name]), name))
            node.input[0] = name
        return proto

    return forced
