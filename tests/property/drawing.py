"""A pencil for random graphs: it writes nodes and weights, and every decision it takes goes through one callable.

Hypothesis draws through it, so that it can shrink what failed; the fuzzer draws from a seeded generator.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import onnx

from tests.graphs import random_weight

Choose = Callable[[int], int]
"""``choose(count)`` is one of ``range(count)``; 0 is the simplest choice."""
_T = TypeVar("_T")


@dataclass(frozen=True)
class Image:
    """``(N, channels, height, width)``."""

    name: str
    channels: int
    height: int
    width: int


@dataclass(frozen=True)
class Tokens:
    """``(N, S, width)``."""

    name: str
    width: int


@dataclass
class Drawing:
    """The graph so far."""

    choose: Choose
    opset: int = 17
    batch: str | int = "N"
    length: str | int = "S"
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    count: int = 0
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    is_body: bool = False

    def pick(self, options: Sequence[_T]) -> _T:
        return options[self.choose(len(options))]

    def maybe(self) -> bool:
        return bool(self.choose(2))

    def size(self) -> int:
        """A small width."""
        return self.pick((4, 2, 3, 5, 6, 8))

    def weight(self, *shape: int) -> str:
        name = f"w{len(self.weights)}"
        self.weights[name] = random_weight(name, shape)
        return name

    def maybe_quantised(self, weight: str, axis: int) -> str:
        """The weight, or at times its like behind a DequantizeLinear, with one scale or one along ``axis``.

        Not in bodies: ONNX Runtime's optimiser does not find such weights outside of them, and fails.
        """
        if self.choose(8) < 7 or self.is_body:
            return weight
        values = self.weights.pop(weight)
        name, per_channel = f"{weight}q", self.maybe()
        self.weights[name] = np.clip(np.round(40 * values), -127, 127).astype(np.int8)
        size = values.shape[axis] if per_channel else ()
        self.weights[f"{name}s"] = np.asarray(np.random.default_rng(values.size).uniform(0.02, 0.03, size), np.float32)
        return self.node("DequantizeLinear", name, f"{name}s", **({"axis": axis} if per_channel else {}))

    def ints(self, *values: int) -> str:
        name = f"i{len(self.weights)}"
        self.weights[name] = np.array(values, np.int64)
        return name

    def floats(self, *values: float) -> str:
        name = f"f{len(self.weights)}"
        self.weights[name] = np.array(values, np.float32)
        return name

    def scalar(self, value: float) -> str:
        name = f"c{len(self.weights)}"
        self.weights[name] = np.array(value, np.float32)
        return name

    def node(self, op: str, *inputs: str, **attributes: Any) -> str:
        return self.nodes_of(op, 1, *inputs, **attributes)[0]

    def nodes_of(self, op: str, count: int, *inputs: str, **attributes: Any) -> list[str]:
        """A node with ``count`` outputs."""
        label = f"{op.lower()}{self.count}"
        self.count += 1
        outputs = [f"{label}.{index}" if count > 1 else f"{label}.out" for index in range(count)]
        self.nodes.append(onnx.helper.make_node(op, inputs, outputs, name=label, **attributes))
        return outputs

    def reduce_mean(self, x: str, axes: Sequence[int], *, keep: bool = True) -> str:
        """Its axes became an input in opset 18."""
        if self.opset >= 18:
            return self.node("ReduceMean", x, self.ints(*axes), keepdims=int(keep))
        return self.node("ReduceMean", x, axes=list(axes), keepdims=int(keep))

    def split(self, x: str, axis: int, sizes: Sequence[int]) -> list[str]:
        """With sizes, or into equal shares where that is the same."""
        if len(set(sizes)) == 1 and self.maybe():
            more = {"num_outputs": len(sizes)} if self.opset >= 18 else {}
            return self.nodes_of("Split", len(sizes), x, axis=axis, **more)
        return self.nodes_of("Split", len(sizes), x, self.ints(*sizes), axis=axis)

    def slice(self, x: str, axis: int, start: int, end: int, of: int) -> str:
        """Ends are counted from the front, from behind, or left open."""
        if start and self.maybe():
            start -= of
        if end == of:
            end = self.pick((of, np.iinfo(np.int64).max))
        elif self.maybe():
            end -= of
        return self.node("Slice", x, self.ints(start), self.ints(end), self.ints(axis), self.ints(1))

    def reshape(self, x: str, dims: Sequence[int]) -> str:
        """``dims`` of 0 keep their size; sizes stand in a constant or are computed, one number is left open or not."""
        dims = list(dims)
        style = self.choose(3)
        known = [index for index, dim in enumerate(dims) if dim > 0]
        if style == 1 and -1 not in dims and known:
            dims[self.pick(known)] = -1
        if style == 2 and 0 in dims:
            return self.node("Reshape", x, self._computed(x, dims))
        return self.node("Reshape", x, self.ints(*dims))

    def _computed(self, x: str, dims: Sequence[int]) -> str:
        """As older exporters write it: Shape, Gather, Unsqueeze, Concat."""
        shape, first = self.node("Shape", x), self.ints(0)
        parts = []
        for index, dim in enumerate(dims):
            if dim:
                parts.append(self.ints(dim))
            elif self.maybe():
                parts.append(self.node("Slice", shape, self.ints(index), self.ints(index + 1), first))
            else:
                self.weights[place := f"s{len(self.weights)}"] = np.array(index)
                parts.append(self.node("Unsqueeze", self.node("Gather", shape, place), first))
        return self.node("Concat", *parts, axis=0)

    def activate(self, x: str) -> str:
        return self.node(self.pick(("Relu", "Tanh", "Sigmoid", "Softplus", "Elu")), x)

    def body(
        self, draw: Callable[[], Sequence[str]], given: Sequence[tuple[str, int]] = (), rank: int | None = None
    ) -> onnx.GraphProto:
        """What ``draw`` writes, as the body of a node; it returns the outputs, and reads ``given``: names and types.

        Where the number of axes is declared, which Scan asks for, it is ``rank``; what is no data is one number.
        """
        outside, was_body = self.nodes, self.is_body
        self.nodes, self.is_body = [], True
        results, inside = draw(), self.nodes
        self.nodes, self.is_body = outside, was_body
        data, make = None if rank is None else [None] * rank, onnx.helper.make_tensor_value_info
        inputs = [make(name, kind, data if kind == onnx.TensorProto.FLOAT else []) for name, kind in given]
        outputs = [make(name, onnx.TensorProto.FLOAT, data) for name in results]
        return onnx.helper.make_graph(inside, f"body{self.count}", inputs, outputs)

    def model(
        self, given: Sequence[onnx.ValueInfoProto], results: Sequence[tuple[str, Sequence[int | str | None]]]
    ) -> onnx.ModelProto:
        outputs = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name, shape in results]
        tensors = [onnx.numpy_helper.from_array(array, name) for name, array in self.weights.items()]
        graph = onnx.helper.make_graph(self.nodes, "random", list(given), outputs, tensors)
        return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", self.opset)], ir_version=10)
