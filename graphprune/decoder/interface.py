"""Which inputs of a decoder are ids, mask, positions and past, and which output goes back in as which past.

The names are those of the exporters people use: ``past_key_values.{i}.key`` and ``present.{i}.key`` of optimum,
transformers.js and onnxruntime-genai's builder, ``past_{i}`` and ``present_{i}`` of older ones.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from graphprune.ir.model import Dim, Model, Shape

_NUMBER = re.compile(r"\d+")
IDS = ("input_ids", "decoder_input_ids")
MASK = ("attention_mask", "decoder_attention_mask")
POSITIONS = ("position_ids",)


@dataclass(frozen=True)
class CacheTensor:
    """One tensor of the cache: input ``past`` takes what output ``present`` gave one step before.

    Attributes
    ----------
    layer : the number in its names.
    dims : of the past, as the file says them; [batch, kv heads, positions, head dim] mostly.
    position_axis : the axis that grows by the length of each step's input.
    """

    layer: int
    past: str
    present: str
    dims: Shape
    position_axis: int

    @property
    def head_axis(self) -> int | None:
        """The axis that counts heads, or groups of them, if its size is a number."""
        axis = {(4, 1): 2, (4, 2): 1, (4, 3): 1, (5, 3): 2}.get((len(self.dims), self.position_axis))
        return axis if axis is not None and isinstance(self.dims[axis], int) else None


@dataclass(frozen=True)
class DecoderInterface:
    """The inputs and outputs of a decoder by their role; ``mask`` and ``positions`` are empty where it takes none.

    ``cache`` is in the order of the file's inputs.
    """

    ids: str
    mask: str
    positions: str
    logits: str
    cache: tuple[CacheTensor, ...]

    @property
    def layers(self) -> tuple[int, ...]:
        """Numbers of the layers that have a cache, ascending."""
        return tuple(sorted({tensor.layer for tensor in self.cache}))


def answers(session: Any) -> list[str]:
    """Names of the outputs of a runtime's session that are no part of a cache."""
    outputs: dict[str, Shape] = {value.name: () for value in session.get_outputs()}
    pairs = (_present_of(value.name, outputs) for value in session.get_inputs())
    handed_on = {pair[1] for pair in pairs if pair is not None}
    return [name for name in outputs if name not in handed_on]


def decoder_interface(model: Model) -> DecoderInterface | None:
    """How ``model`` is used as a decoder with a cache; None where it is none, or its names say nothing."""
    return model.derived(_interface)


def _interface(model: Model) -> DecoderInterface | None:
    graph = model.header.graph
    return interface_of({v.name: _dims(v) for v in graph.input}, {v.name: _dims(v) for v in graph.output})


def interface_of(dims: Mapping[str, Shape], outputs: Mapping[str, Shape]) -> DecoderInterface | None:
    """The same of a network known by the ``dims`` of its inputs and of its ``outputs``, in their order."""
    ids = next((name for name in IDS if name in dims), "")
    logits = next((name for name in outputs if name.endswith("logits")), "")
    cache = tuple(
        CacheTensor(layer, name, present, shape, axis)
        for name, shape in dims.items()
        if (pair := _present_of(name, outputs)) is not None
        for layer, present in [pair]
        if (axis := _position_axis(shape, outputs[present])) is not None
    )
    if not (ids and logits and cache):
        return None
    mask = next((name for name in MASK if name in dims), "")
    positions = next((name for name in POSITIONS if name in dims), "")
    return DecoderInterface(ids, mask, positions, logits, cache)


def _present_of(past: str, outputs: Mapping[str, Shape]) -> tuple[int, str] | None:
    """The layer and the output that belong to an input's name, if it is a past."""
    if not past.startswith("past") or (number := _NUMBER.search(past)) is None:
        return None
    for stem in ("past_key_values", "past"):
        if past.startswith(stem):
            present = "present" + past.removeprefix(stem)
            if present in outputs:
                return int(number.group()), present
    return None


def _position_axis(past: Shape, present: Shape) -> int | None:
    """The axis whose size differs between the two; the last but one where sizes do not tell."""
    if len(past) != len(present) or len(past) < 3:
        return None
    differing = [axis for axis, (one, other) in enumerate(zip(past, present, strict=True)) if one != other]
    free = [axis for axis in differing if axis > 0 and not isinstance(past[axis], int)]
    if free:
        return free[0]
    return len(past) - 2 if not isinstance(past[-2], int) else None


def _dims(value: object) -> tuple[Dim, ...]:
    shape = value.type.tensor_type.shape  # type: ignore[attr-defined]
    return tuple(dim.dim_value if dim.HasField("dim_value") else dim.dim_param or None for dim in shape.dim)
