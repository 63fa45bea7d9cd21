"""What the inputs of a rewritten model take of those of the file it was made from.

A decoder whose cache has lost heads takes smaller pasts than the samples at hand were made for; one that has lost a
layer takes fewer, under other names. It is noted in the model's metadata, so that a session of the model or of its file
can be given the samples as they are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from graphprune.ir import lean_file
from graphprune.ir.model import Model, Shape

KEY = "graphprune.inputs"
Feeds = dict[str, np.ndarray]
Indices = tuple[int, ...] | None
"""Of an axis those that are kept, ascending; None: all."""


@dataclass(frozen=True)
class Origin:
    """An input is ``name`` of the file as given, with these indices of each axis."""

    name: str
    kept: tuple[Indices, ...] = ()

    def taken(self, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
        """Its array, where ``feeds`` are those of the file as given."""
        array = feeds[self.name]
        for axis, indices in enumerate(self.kept):
            if indices is not None:
                array = np.take(array, indices, axis)
        return array


@dataclass(frozen=True)
class InputOrigins:
    """``made`` tells where inputs come from that are not simply of those ``given``, the inputs of the file as it was.

    Both are empty for a model whose inputs are those of its file.
    """

    given: tuple[str, ...] = ()
    made: Mapping[str, Origin] = field(default_factory=dict)

    @classmethod
    def parsed(cls, text: str) -> InputOrigins:
        """Of what the metadata hold under :data:`KEY`; an empty text means nothing was changed."""
        if not text:
            return cls()
        content: Mapping[str, Any] = json.loads(text)
        made = {
            name: Origin(of, tuple(None if each is None else tuple(each) for each in kept))
            for name, (of, kept) in content["made"].items()
        }
        return cls(tuple(content["given"]), made)

    @classmethod
    def of(cls, header: onnx.ModelProto) -> InputOrigins:
        """As a model's header notes them."""
        return cls.parsed(next((entry.value for entry in header.metadata_props if entry.key == KEY), ""))

    def fed(self, takes: Mapping[str, Shape], feeds: Mapping[str, np.ndarray]) -> Feeds:
        """``feeds`` as a model wants them that ``takes`` inputs of these dims.

        Feeds of the file as given become those of the model; what fits it already stays, as does what is no input.
        """
        whole = any(name in feeds and name not in takes for name in self.given)
        result = {name: array for name, array in feeds.items() if name in takes or name not in self.given}
        for name, origin in self.made.items():
            if name in takes and origin.name in feeds and (whole or not _fits(takes[name], feeds[name].shape)):
                result[name] = origin.taken(feeds)
        return result


def fed_to(model: Model, feeds: Mapping[str, np.ndarray]) -> Feeds:
    """``feeds`` of the file that ``model`` was made from, or of itself, as it wants them."""
    origins = InputOrigins.of(model.header)
    if not origins.made:
        return dict(feeds)
    return origins.fed({tensor.name: model.shapes.get(tensor.name, ()) for tensor in model.graph.inputs}, feeds)


def fed_to_file(source: Path | onnx.ModelProto, feeds: Mapping[str, np.ndarray]) -> Feeds:
    """The same, for a model in a file or as protobuf."""
    proto = lean_file.read(source) if isinstance(source, Path) else source
    takes = {
        value.name: tuple(dim.dim_value or None for dim in value.type.tensor_type.shape.dim)
        for value in proto.graph.input
    }
    return InputOrigins.of(proto).fed(takes, feeds)


def note_inputs(
    header: onnx.ModelProto, given: Sequence[str], made: Mapping[str, tuple[str, Sequence[np.ndarray | None]]]
) -> None:
    """Note in ``header`` that inputs are made of others of the model before, whose inputs were ``given``.

    ``made`` is input -> (name there, a boolean mask for each axis, None for all of it; no masks: all of everything).
    What was noted before is taken into account: origins are always of the file as given.
    """
    before = InputOrigins.of(header)
    now = dict(before.made)
    for name, (old, masks) in made.items():
        origin = before.made.get(old, Origin(old))
        kept = origin.kept or (None,) * len(masks)
        now[name] = Origin(origin.name, tuple(map(_narrowed, kept, masks)) if masks else origin.kept)
    inputs = {value.name for value in header.graph.input}
    content = {
        "given": before.given or tuple(given),
        "made": {name: (origin.name, origin.kept) for name, origin in now.items() if name in inputs},
    }
    forget_inputs(header)
    header.metadata_props.add(key=KEY, value=json.dumps(content))


def forget_inputs(header: onnx.ModelProto) -> None:
    """From here on, the inputs of ``header`` are those of the file as given."""
    others = [entry for entry in header.metadata_props if entry.key != KEY]
    if len(others) < len(header.metadata_props):
        copies = [onnx.StringStringEntryProto.FromString(entry.SerializeToString()) for entry in others]
        del header.metadata_props[:]
        header.metadata_props.extend(copies)


def _narrowed(kept: Indices, mask: np.ndarray | None) -> Indices:
    if mask is None or mask.all():
        return kept
    indices = np.arange(len(mask)) if kept is None else np.array(kept)
    return tuple(map(int, indices[mask]))


def _fits(dims: Shape, shape: tuple[int, ...]) -> bool:
    return all(not isinstance(dim, int) or dim == size for dim, size in zip(dims, shape, strict=False))
