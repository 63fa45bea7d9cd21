"""A clock for graphprune that only the runs of ONNX Runtime sessions move:
every timing of one model gives the same number.

Python imports this file by itself where its folder is on PYTHONPATH, in worker processes too. Nothing here knows how
graphprune is laid out: callers are told by the name of the package, and everybody else keeps the real clock.
Each thread has a clock of its own, so that what runs beside it does not count. Times are whole multiples of 1/512 s,
which floats and nanoseconds both hold exactly: sums and differences do not depend on what ran before.
"""

from __future__ import annotations

import functools
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import threading
import time
import types
from collections.abc import Callable, Sequence
from typing import Any

_TICKS_PER_SECOND = 512
_SECONDS_PER_TICK, _NS_PER_TICK = 1 / _TICKS_PER_SECOND, 1_000_000_000 // _TICKS_PER_SECOND
_WEIGHTS_PER_TICK = 64
_FREE = ("Constant", "Identity")  # a rewrite that only changes how constants are written takes no time
_RUNS = ("run", "run_with_ort_values", "run_with_iobinding", "run_with_ortvaluevector")
_SESSIONS = "onnxruntime.capi.onnxruntime_inference_collection"

_here = threading.local()


def _ticks() -> int:
    return getattr(_here, "ticks", 0)


def _clock(name: str, per_tick: float) -> None:
    """Put a clock in the place of ``time.name``; only graphprune reads the new one."""
    real: Callable[[], float] = getattr(time, name)

    @functools.wraps(real)
    def read() -> float:
        caller = sys._getframe(1).f_globals.get("__name__", "")
        return _ticks() * per_tick if caller.partition(".")[0] == "graphprune" else real()

    setattr(time, name, read)


def _cost(source: Any) -> int:
    """Ticks of one run: one a node and one for every few weights, whatever the batch."""
    import onnx

    if isinstance(source, bytes):
        graph = onnx.ModelProto.FromString(source).graph
    else:
        graph = onnx.load(source, load_external_data=False).graph
    counted = 0
    for node in graph.node:
        counted += node.op_type not in _FREE
        counted += sum(_weights(attribute.t) for attribute in node.attribute if attribute.HasField("t"))
    return max(1, counted + sum(map(_weights, graph.initializer)))


def _weights(tensor: Any) -> int:
    return int(functools.reduce(int.__mul__, tensor.dims, 1)) // _WEIGHTS_PER_TICK


def _patch(sessions: types.ModuleType) -> None:
    """Let every session know its cost, and every run of one move the clock of its thread."""
    opened = sessions.InferenceSession.__init__

    @functools.wraps(opened)
    def opening(self: Any, path_or_bytes: Any, *rest: Any, **more: Any) -> None:
        opened(self, path_or_bytes, *rest, **more)
        self._replay_ticks = _cost(path_or_bytes)

    sessions.InferenceSession.__init__ = opening
    for name in _RUNS:
        if hasattr(sessions.Session, name):
            setattr(sessions.Session, name, _moving(getattr(sessions.Session, name)))


def _moving(run: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(run)
    def moved(self: Any, *rest: Any, **more: Any) -> Any:
        result = run(self, *rest, **more)
        _here.ticks = _ticks() + self._replay_ticks
        return result

    return moved


class _Loader(importlib.abc.Loader):
    def __init__(self, real: importlib.abc.Loader) -> None:
        self._real = real

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType | None:
        return self._real.create_module(spec)

    def exec_module(self, module: types.ModuleType) -> None:
        self._real.exec_module(module)
        _patch(module)


class _Finder(importlib.abc.MetaPathFinder):
    """Waits for ONNX Runtime, which must not be imported before graphprune asks for it."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != _SESSIONS:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


for _name, _per_tick in {
    "perf_counter": _SECONDS_PER_TICK,
    "perf_counter_ns": _NS_PER_TICK,
    "monotonic": _SECONDS_PER_TICK,
    "monotonic_ns": _NS_PER_TICK,
}.items():
    _clock(_name, _per_tick)
sys.meta_path.insert(0, _Finder())
