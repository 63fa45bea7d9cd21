"""ONNX Runtime sessions: the provider asked for or an error, fixed threads, weights left in their data file."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from graphprune.base import extras
from graphprune.base.memory import give_back
from graphprune.errors import GraphpruneError, ModelError, OptionError, RuntimeMissing
from graphprune.ir import external_data, lean_file
from graphprune.ir.export import to_proto
from graphprune.ir.input_origins import KEY, InputOrigins
from graphprune.ir.model import Model

CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
OPENVINO = "OpenVINOExecutionProvider"
_SHORT_NAMES = {
    "cpu": CPU,
    "cuda": CUDA,
    "trt": TENSORRT,
    "tensorrt": TENSORRT,
    "openvino": OPENVINO,
}

_WHEELS = {TENSORRT: "graphprune[trt-ep]", OPENVINO: "graphprune[openvino]"}

_IN_FILE = {
    "session.disable_prepacking": "1",
    "optimization.constant_folding_max_output_size_in_bytes": str(1 << 20),  # a tied embedding, say, turned round
}
"""What keeps the runtime from making other weights out of those in the file."""

Feeds = dict[str, np.ndarray]
Proto = onnx.ModelProto


@dataclass(frozen=True)
class RuntimeOptions:
    """How sessions are opened: a provider (``cpu``, ``cuda:1``, ``trt`` or a full name) and intra-op threads.

    ``threads=0`` takes every core this process may run on. ``extra`` are options of the provider itself, by its names.
    """

    provider: str = "cpu"
    threads: int = 0
    extra: tuple[tuple[str, str], ...] = field(default=())

    @property
    def provider_name(self) -> str:
        short = self.provider.split(":")[0]
        return _SHORT_NAMES.get(short.lower(), short)

    @property
    def thread_count(self) -> int:
        return self.threads or len(os.sched_getaffinity(0))

    @property
    def device_index(self) -> int:
        """Number of the device, 0 where the provider names none."""
        device = self.provider.partition(":")[2]
        if device and not device.isdecimal():
            raise OptionError(f"provider '{self.provider}' names the device '{device}'", "write a number, e.g. cuda:0")
        return int(device or 0)


def require_provider(options: RuntimeOptions) -> None:
    """Refuse a provider that the installed ONNX Runtime does not hold; whether it starts, only a session can tell.

    Raises
    ------
    OptionError
        No ONNX Runtime knows the provider, or its device is no number.
    RuntimeMissing
        The runtime is not installed, or was built without the provider.
    """
    _ = options.device_index
    ort, name = extras.onnxruntime(), options.provider_name
    available = ort.get_available_providers()
    if name in available:
        return
    offered = ", ".join(available)
    if name not in ort.get_all_providers():
        raise OptionError(f"there is no provider '{options.provider}'", f"this ONNX Runtime offers {offered}")
    wheel = _WHEELS.get(name, "graphprune[gpu]")
    raise RuntimeMissing(
        f"the provider {name} is not in the installed ONNX Runtime (it offers {offered})",
        f"install the wheel that holds it, e.g. pip install '{wheel}'; see graphprune doctor",
    )


def open_model(
    model: Model, options: RuntimeOptions, outputs: Sequence[str] | None = None, *, is_optimised: bool = True
) -> Any:
    """A lean session of a model in memory, as :func:`open_session` opens it;
    ``outputs`` are inner tensors that it gives, too.
    """
    return open_session(
        lambda: to_proto(model, outputs), options, model.folder, is_optimised=is_optimised, is_lean=True
    )


def open_session(
    model: Proto | Callable[[], Proto] | Path,
    options: RuntimeOptions,
    folder: Path | None = None,
    optimised_path: Path | None = None,
    *,
    record_assignment: bool = False,
    is_optimised: bool = True,
    keeps_memory: bool = True,
    is_lean: bool = False,
    spins: bool = False,
) -> Any:
    """An ``onnxruntime.InferenceSession`` on the provider asked for, and on nothing else.

    Of a ``model`` given as a function that makes it, nothing is left when the runtime takes its own share of memory.
    ``folder`` is where the external data of an in-memory model lies.
    ``optimised_path`` also writes the optimised graph. ``record_assignment`` lets the session tell which provider took
    which node, where this ONNX Runtime can. Not optimised, the runtime computes node by node what the file says.
    A session of a model that takes less than the file it was made from (:mod:`graphprune.ir.input_origins`) may be
    given feeds of either.
    Without ``keeps_memory`` it gives back after each run what it took for it: one of many sessions, which wait for
    their turn, would hold it for nothing. A lean session is not for timing: the large weights of a large model stay
    where they are in its file, rather than in another order in memory, and it keeps no memory, either. Where time is
    what counts, threads wait for work as the runtime has it by itself, busily (``spins``), but only until a run ends:
    sessions that are timed in turn would otherwise take the cores from each other for some time after each run.
    Elsewhere they would only take the cores from what else computes.

    Raises
    ------
    RuntimeMissing
        The runtime is not installed, or the provider does not exist here or did not start.
    ModelError
        The runtime cannot load the model.
    """
    require_provider(options)
    ort, name = extras.onnxruntime(), options.provider_name
    session_options = ort.SessionOptions()
    session_options.intra_op_num_threads = options.thread_count
    session_options.inter_op_num_threads = 1
    session_options.log_severity_level = 4
    if spins:
        session_options.add_session_config_entry("session.force_spinning_stop", "1")
    else:
        session_options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if not is_optimised:
        session_options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    if optimised_path is not None:
        session_options.optimized_model_filepath = str(optimised_path)
    if record_assignment:
        session_options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    settings = dict(options.extra)
    if name == OPENVINO:
        settings["num_of_threads"] = str(options.thread_count)  # it has a pool of its own
    if ":" in options.provider:
        settings["device_id"] = str(options.device_index)
    providers = [(name, settings)] if settings else [name]
    said = io.StringIO()
    try:
        source, folder, in_file = _source(model, folder, is_lean=is_lean and name == CPU)
        if in_file:
            for key, value in _IN_FILE.items():
                session_options.add_session_config_entry(key, value)
        if in_file or not keeps_memory:
            session_options.enable_cpu_mem_arena = session_options.enable_mem_pattern = False
        if folder is not None:
            key = "session.model_external_initializers_file_folder_path"
            session_options.add_session_config_entry(key, str(folder))
        with (
            contextlib.nullcontext() if name == CPU else contextlib.redirect_stdout(said)
        ):  # it prints why it falls back
            _preload(ort, name)
            give_back()  # before the runtime takes its share
            session = ort.InferenceSession(source, session_options, providers=providers)
    except GraphpruneError:  # of what makes the model
        raise
    except Exception as error:  # noqa: BLE001 - ONNX Runtime raises a dozen unrelated classes
        said_why = first_line(error)
        is_kernel = "NOT_IMPLEMENTED" in said_why  # for this type, mostly bfloat16, or this version
        advice = "try another --provider, or export it in float32" if is_kernel else "check it with onnx.checker"
        raise ModelError(f"ONNX Runtime cannot load the model: {said_why}", advice) from None
    if session.get_providers()[0] != name:
        why = next((f": {line.strip()[:200]}" for line in said.getvalue().splitlines() if "rror" in line[:12]), "")
        raise RuntimeMissing(
            f"the provider {name} did not start; ONNX Runtime fell back to {session.get_providers()[0]}{why}",
            "run graphprune doctor; it checks drivers and library versions",
        )
    noted = session.get_modelmeta().custom_metadata_map.get(KEY, "")
    return _WithOrigins(session, InputOrigins.parsed(noted)) if noted else session


def unwrapped(session: Any, feeds: Feeds) -> tuple[Any, Feeds]:
    """The runtime's own session, and what it takes of ``feeds``: nothing is done to them in each run."""
    return (session.inner, session.fed(feeds)) if isinstance(session, _WithOrigins) else (session, feeds)


class _WithOrigins:
    """A session of a model whose inputs are made of those of another; all but :meth:`run` is as in the session."""

    def __init__(self, session: Any, origins: InputOrigins) -> None:
        self.inner, self._origins = session, origins
        self._takes = {value.name: tuple(value.shape) for value in session.get_inputs()}

    def fed(self, feeds: Feeds) -> Feeds:
        return self._origins.fed(self._takes, feeds)

    def run(self, outputs: list[str] | None, feeds: Feeds) -> Any:
        return self.inner.run(outputs, self.fed(feeds))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def is_large(model: Proto) -> bool:
    """Whether so many weights lie in files that a network is not to be in memory twice."""
    outside = filter(external_data.is_external, model.graph.initializer)
    return sum(map(external_data.tensor_bytes, outside)) >= lean_file.LEAST_BYTES


def _source(
    model: Proto | Callable[[], Proto] | Path, folder: Path | None, *, is_lean: bool
) -> tuple[str | bytes, Path | None, bool]:
    """What the runtime reads, the folder of its external data where only we know it, and whether weights are to stay
    there.
    """
    if isinstance(model, Path):
        proto = lean_file.skeleton(model) if is_lean else None
        if proto is None or not is_large(proto):
            return str(model), None, False
        return proto.SerializeToString(), model.resolve().parent, True
    proto = model if isinstance(model, onnx.ModelProto) else model()
    return proto.SerializeToString(), folder, is_lean and is_large(proto)


def _preload(ort: Any, provider: str) -> None:
    """Load CUDA, cuDNN and TensorRT from their pip packages, where the loader of the system would not look."""
    if provider not in (CUDA, TENSORRT):
        return
    if hasattr(ort, "preload_dlls"):
        ort.preload_dlls()
    if provider == TENSORRT and importlib.util.find_spec("tensorrt") is not None:
        with contextlib.suppress(ImportError, OSError):  # then the session says what is missing
            importlib.import_module("tensorrt")


def run(session: Any, feeds: Feeds, outputs: list[str] | None = None) -> list[np.ndarray]:
    """Run a session; a failure inside the runtime becomes one sentence.

    Where the model gives a sequence or a map rather than a tensor, its numbers come as one array, the batch first.
    """
    with failing_in_a_sentence("check the input shapes"):
        results = session.run(outputs, feeds)
    return [result if isinstance(result, np.ndarray) else _as_array(result) for result in results]


def detached(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Copies. What a session gives lies in its memory, all of which stays as long as one of its arrays does."""
    return [array.copy() for array in arrays]


def _as_array(result: Any) -> np.ndarray:
    """The numbers of a sequence of tensors or maps, or of one map from labels to numbers."""
    if isinstance(result, dict):
        return np.array(list(result.values()))
    if not isinstance(result, list):  # a sparse tensor, or an optional one that is not there
        return np.array(result)
    items = [item if isinstance(item, np.ndarray) else _as_array(item) for item in result]
    if len({item.shape for item in items}) == 1:
        return np.stack(items, axis=min(1, items[0].ndim) if isinstance(result[0], np.ndarray) else 0)
    if len({item.shape[:1] for item in items}) == 1:
        return np.concatenate([item.reshape(len(item), -1) for item in items], axis=1)
    return np.concatenate([np.ravel(item) for item in items]) if items else np.zeros(0)


@contextmanager
def failing_in_a_sentence(fix: str) -> Iterator[None]:
    """Turn what the runtime raises into a ModelError with the advice ``fix``."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - as above
        raise ModelError(f"ONNX Runtime cannot run the model: {_run_reason(error)}", fix) from None


def _run_reason(error: Exception) -> str:
    """What went wrong in a run, and at which node; without paths and signatures of the runtime's own source."""
    found = re.search(r"running (\w+) node\. Name:'(.*?)' Status Message: (.*)", str(error))
    if found is None:
        return first_line(error)
    reason = re.sub(r"^(\S+:\d+ )?((\w+ )?\w+::.*?\) (const )?)?", "", found[3]).rpartition("was false. ")[2]
    return f"at node '{found[2]}' ({found[1]}): {reason.rstrip('.').replace('. ', '; ')[:200]}"


def first_line(error: Exception) -> str:
    """What an exception of a foreign library says, in at most one line."""
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
