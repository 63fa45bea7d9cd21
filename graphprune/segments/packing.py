"""Segments and samples packed for other processes: these need neither the model's file nor the source of the data."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import onnx
from numpy.typing import NDArray

from graphprune.data.batching import Arrays, Batching
from graphprune.data.dataset import Data, input_specs
from graphprune.data.fitting import InputSpec
from graphprune.errors import ModelError
from graphprune.ir import external_data
from graphprune.ir.input_origins import fed_to
from graphprune.ir.loading import file_hash
from graphprune.ir.model import Model
from graphprune.runtime.sessions import RuntimeOptions
from graphprune.segments.partition import Segment
from graphprune.segments.runner import Segments, SessionChain

_KEPT = 2  # models whose sessions a worker keeps open: the one being scored, and the one of another run


@dataclass(frozen=True, eq=False)
class Packing:
    """``protos`` are the segments as models, their bytes in arrays, for arrays are mapped or sent without a copy.

    Weights in external files do not travel: workers must see ``files``, whose hash is ``sha256`` (empty: they do).
    """

    digest: str
    segments: tuple[Segment, ...]
    protos: tuple[NDArray[np.uint8], ...]
    targets: tuple[str, ...]
    gates: Mapping[str, str]
    options: RuntimeOptions
    folder: Path | None
    files: tuple[Path, ...]
    sha256: str
    specs: tuple[InputSpec, ...]
    batches: tuple[Arrays, ...]
    batching: Batching

    @property
    def data(self) -> Data:
        """The samples; asked for batches of the size they were packed in, it gives the very same."""
        chunks, origin = (lambda: iter(self.batches)), "the samples sent to the worker"
        return Data(self.specs, chunks, "arrays", origin, batching=self.batching)


_packed: WeakKeyDictionary[Segments, dict[Any, Packing]] = WeakKeyDictionary()


def packed(segments: Segments, data: Data, batch: int, *, for_other_machines: bool) -> Packing:
    """All that it takes to run ``segments`` on ``data``, which is held in memory from here on; packed only once."""
    known = _packed.setdefault(segments, {})
    key = (data, batch, for_other_machines)
    if key not in known:
        known[key] = _pack(segments, data, batch, for_other_machines)
    return known[key]


def _pack(segments: Segments, data: Data, batch: int, for_other_machines: bool) -> Packing:
    model = segments.model
    chain = segments.chain
    assert model is not None  # what has come packed is not packed again
    protos = tuple(_as_array(_sent(chain.proto(segment), model, for_other_machines)) for segment in chain.segments)
    asked = (chain.segments, segments.targets, chain.options, chain.folder, model.sha256)
    digest = hashlib.sha256(repr(asked).encode())
    for proto in protos:
        digest.update(proto.data)
    return Packing(
        digest=digest.hexdigest(),
        segments=chain.segments,
        protos=protos,
        targets=tuple(segments.targets),
        gates=chain.gates,
        options=chain.options,
        folder=chain.folder,
        files=tuple(file.resolve() for file in model.files),
        sha256=model.sha256 if for_other_machines and model.is_external else "",
        specs=tuple(input_specs(model)),
        batches=tuple(replace(each, feeds=fed_to(model, each.feeds)).arrays() for each in data.batches(batch)),
        batching=data.batching,
    )


def _sent(proto: onnx.ModelProto, model: Model, for_other_machines: bool) -> bytes:
    """Other machines need not see the model's own file; data files beside it they do."""
    if for_other_machines and model.folder is not None:
        for tensor in proto.graph.initializer:
            if external_data.location(tensor) == model.own_file != "":
                tensor.CopyFrom(external_data.read(tensor, model.folder))
    content: bytes = proto.SerializeToString()
    return content


def _as_array(content: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(content, np.uint8)


def _unpack(packing: Packing) -> Segments:
    _check_files(packing)
    protos = dict(zip(packing.segments, packing.protos, strict=True))

    def proto(segment: Segment) -> onnx.ModelProto:
        found: onnx.ModelProto = onnx.ModelProto.FromString(protos[segment].tobytes())
        return found

    chain = SessionChain(packing.segments, proto, packing.options, packing.folder, gates=packing.gates)
    return Segments(chain, packing.targets)


_open: OrderedDict[str, Segments] = OrderedDict()
_opening = threading.Lock()


def unpacked(packing: Packing) -> Segments:
    """The segments of ``packing``, opened once in this process for all parcels of the same model.

    Raises
    ------
    ModelError
        External weights are not to be seen from here, or are not those of the sender.
    """
    with _opening:
        segments = _open.pop(packing.digest, None) or _unpack(packing)
        segments.chain.open()
        _open[packing.digest] = segments
        while len(_open) > _KEPT:
            _open.popitem(last=False)
        return segments


def forget() -> None:
    """Close what :func:`unpacked` keeps open in this process."""
    with _opening:
        _open.clear()


def _check_files(packing: Packing) -> None:
    if not packing.sha256:
        return
    try:
        is_same = file_hash(packing.files) == packing.sha256
    except OSError:
        is_same = False
    if not is_same:
        raise ModelError(
            f"the weights of {packing.files[0]} lie in a file of their own, and the worker on {socket.gethostname()} "
            "does not see the same one",
            "put the model where all workers see it under the same path, or save it with its weights inside",
        )
