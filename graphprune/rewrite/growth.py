"""Blocks added to a stage: copies of its last block, one behind the other, with weights of their own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import numpy as np
import onnx_graphsurgeon as gs

from graphprune.analysis.blocks import Block, Join
from graphprune.analysis.dataflow import DataFlow
from graphprune.errors import ModelError, NothingToPrune, OptionError
from graphprune.ir.bodies import bodies
from graphprune.ir.free_names import free_name, names_in
from graphprune.ir.model import Model, constant_dims, read_values
from graphprune.rewrite.initialise import Draw, drawn, draws_of
from graphprune.rewrite.weights import new_constant

Start = Literal["fresh", "identity"]

_SCALES = {"BatchNormalization", "InstanceNormalization", "LayerNormalization", "GroupNormalization"}
_LAYERS = {"Conv", "ConvTranspose", "Gemm", "MatMul"}
_KEEPS_ZERO = {"Identity", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "MaxPool", "AveragePool"}
_KEEPS_ZERO |= {"Relu", "LeakyRelu", "PRelu", "Mul", "Div"}


def block_to_copy(joins: Sequence[Join], stage: int) -> Block:
    """The last block of ``stage`` that can be copied: one whose entry goes on unchanged, and without a cache.

    Raises
    ------
    OptionError
        There is no such stage.
    NothingToPrune
        It has no such block.
    """
    members = [join for join in joins if join.stage == stage]
    if not members:
        count = len({join.stage for join in joins if join.stage >= 0})
        raise OptionError(f"there is no stage {stage}: the network has {count}", "graphprune inspect lists the joins")
    for join in reversed(members):
        block = join.block
        if block is not None and not (block.pads or block.keeps_join or block.cache):
            return block
    why = next((join.refusal.reason for join in reversed(members) if join.refusal), "they keep a cache or join a norm")
    raise NothingToPrune(f"stage {stage} has no block to copy: {why}", "grow another stage")


def add_blocks(model: Model, block: Block, count: int, start: Start, seed: int) -> tuple[Model, list[str]]:
    """A copy of ``model`` with ``count`` copies of ``block`` behind it, and their joins.

    Weights are drawn as :mod:`graphprune.rewrite.initialise` says. ``identity`` sets the last scale of each copy, or
    the last weights where no norm follows these, to zero: a copy then hands on what enters it until it is trained.
    What is no weight, sizes and numbers, is shared with the block. Names follow from those of the block.

    Raises
    ------
    ModelError
        How its weights start is not known, or, for ``identity``, what the branch ends in.
    """
    nodes = {node.name: node for node in model.graph.nodes}
    if any(bodies(nodes[name]) for name in block.nodes):
        raise ModelError(f"{block.name} holds an If, Loop or Scan and cannot be copied", "grow another stage")
    silent = _last_weights(model, block) if start == "identity" else set()
    grown = model.copy()
    grown.node_protos, grown.shapes, grown.dtypes = dict(model.node_protos), dict(model.shapes), dict(model.dtypes)
    taken = set(names_in(model))
    members = {node.name: node for node in grown.graph.nodes if node.name in set(block.nodes)}
    reads = {name: list(members[name].inputs) for name in block.nodes}
    writes = {name: [tensor.name for tensor in members[name].outputs] for name in block.nodes}
    exit_ = grown.graph.tensors()[block.exit]
    joins = []
    for _ in range(count):
        copy = _Copy(model, grown, block, taken, seed)
        entry = copy.tensor(block.exit)
        producer = exit_.inputs[0]
        producer.outputs[[tensor is exit_ for tensor in producer.outputs].index(True)] = entry
        made = {block.entry: entry, block.exit: exit_}
        for name in block.nodes:
            inputs = [
                made[tensor.name] if tensor.name in made else copy.read(tensor, (name, place) in silent)
                for place, tensor in enumerate(reads[name])
            ]
            for written in writes[name]:
                if written not in made:
                    made[written] = copy.tensor(written) if written else gs.Variable.empty()
            copy.node(members[name], inputs, [made[written] for written in writes[name]])
        joins.append(copy.names[block.join])
    grown.graph.toposort()
    return grown, joins


class _Copy:
    """One copy under way; ``names`` are those of its nodes by those of the block's."""

    def __init__(self, model: Model, grown: Model, block: Block, taken: set[str], seed: int) -> None:
        self._model, self._grown, self._taken, self._seed = model, grown, taken, seed
        self._from = block.name
        self._to = _next_label(block.name, taken)
        self._tensors = model.graph.tensors()
        self._draws: dict[str, Draw] = {}
        nodes = {node.name: node for node in model.graph.nodes}
        for name in block.nodes:
            self._draws |= {constant.name: draw for constant, draw in draws_of(model, nodes[name])}
        self._constants: dict[tuple[str, bool], gs.Constant] = {}
        self.names: dict[str, str] = {}

    def tensor(self, like: str) -> gs.Variable:
        """A new tensor with the type and the shape of ``like``."""
        old = self._tensors[like]
        new = gs.Variable(self._named(like), dtype=old.dtype, shape=old.shape)
        self._describe(new.name, like)
        return new

    def read(self, tensor: gs.Tensor, is_silent: bool) -> gs.Tensor:
        """What a copied node reads in place of ``tensor``, which no node of the block writes."""
        if not isinstance(tensor, gs.Constant) or not (tensor.name in self._draws or is_silent):
            return tensor
        key = tensor.name, is_silent
        if key not in self._constants:
            name, dims = self._named(tensor.name), constant_dims(tensor)
            values = np.zeros(dims) if is_silent else drawn(self._draws[tensor.name], name, dims, self._seed)
            self._constants[key] = new_constant(name, values.astype(read_values(tensor, self._model.folder).dtype))
            self._describe(name, tensor.name)
        return self._constants[key]

    def _describe(self, new: str, like: str) -> None:
        if like in self._grown.shapes:
            self._grown.shapes[new] = self._grown.shapes[like]
        if like in self._grown.dtypes:
            self._grown.dtypes[new] = self._grown.dtypes[like]

    def node(self, like: gs.Node, inputs: list[gs.Tensor], outputs: list[gs.Tensor]) -> None:
        """A node as ``like`` is, on other tensors."""
        name = self.names[like.name] = self._named(like.name)
        self._grown.graph.nodes.append(
            gs.Node(like.op, name, dict(like.attrs), inputs=inputs, outputs=outputs, domain=like.domain)
        )
        if like.name in self._grown.node_protos:
            self._grown.node_protos[name] = self._grown.node_protos[like.name]

    def _named(self, like: str) -> str:
        whole = re.compile(rf"(?<![\w.]){re.escape(self._from)}(?![\w])")
        renamed = whole.sub(self._to, like) if self._from != like else self._to
        return free_name(renamed if renamed != like else f"{like}/grown", self._taken)


def _next_label(label: str, taken: set[str]) -> str:
    """``stages.2.5`` behind ``stages.2.4``; the first number that no name has yet."""
    stem, dot, last = label.rpartition(".")
    if not (dot and last.isdecimal()):
        return f"{label}/grown"
    numbers = (re.search(rf"(?<![\w.]){re.escape(stem)}\.(\d+)(?!\w)", name) for name in taken)
    return f"{stem}.{max((int(found[1]) for found in numbers if found), default=int(last)) + 1}"


def _last_weights(model: Model, block: Block) -> set[tuple[str, int]]:
    """The constants (node, operand) that are to be zero for the branch of ``block`` to be."""
    flow = model.derived(DataFlow)
    inside = set(block.nodes)
    found: set[tuple[str, int]] = set()
    pending = [flow.nodes[node].inputs[operand].name for node, operand in block.branches]
    while pending:
        maker = flow.maker(pending.pop())
        if maker is None or maker.name not in inside:
            raise _no_end(block)
        constants = [place for place, tensor in enumerate(maker.inputs) if isinstance(tensor, gs.Constant)]
        if maker.op in _SCALES and {1, 2} <= set(constants):
            found |= {(maker.name, 1), (maker.name, 2)}
        elif maker.op in _LAYERS and constants:
            found |= {(maker.name, place) for place in constants}
        elif maker.op in _KEEPS_ZERO:
            pending.append(flow.data_reads(maker.name)[0])
        elif maker.op == "Add" and constants:  # a bias
            found |= {(maker.name, place) for place in constants}
            pending.append(flow.data_reads(maker.name)[0])
        else:
            raise _no_end(block)
    return found


def _no_end(block: Block) -> ModelError:
    return ModelError(
        f"the branch of {block.name} ends in no weights that could be zero", "start the copies with fresh weights"
    )
