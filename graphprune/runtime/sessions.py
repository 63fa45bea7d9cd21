"""ONNX Runtime sessions: the provider asked for or an error, fixed threads, weights left in their data file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from graphprune import optional
from graphprune.errors import ModelError, OptionError, RuntimeMissing

_SHORT_NAMES = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "trt": "TensorrtExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
}

Feeds = dict[str, np.ndarray]


@dataclass(frozen=True)
class RuntimeOptions:
    """How sessions are opened: a provider (``cpu``, ``cuda:1``, ``trt`` or a full name) and intra-op threads.

    ``threads=0`` takes every core this process may run on.
    """

    provider: str = "cpu"
    threads: int = 0

    @property
    def provider_name(self) -> str:
        short = self.provider.split(":")[0]
        return _SHORT_NAMES.get(short.lower(), short)

    @property
    def thread_count(self) -> int:
        return self.threads or len(os.sched_getaffinity(0))


def open_session(
    model: onnx.ModelProto | Path,
    options: RuntimeOptions,
    folder: Path | None = None,
    optimised_path: Path | None = None,
) -> Any:
    """An ``onnxruntime.InferenceSession`` on the provider asked for, and on nothing else.

    ``folder`` is where the external data of an in-memory model lies. ``optimised_path`` also writes the optimised graph.

    Raises
    ------
    RuntimeMissing
        The runtime is not installed, or the provider does not exist here or did not start.
    ModelError
        The runtime cannot load the model.
    """
    device = options.provider.partition(":")[2]
    if device and not device.isdecimal():
        raise OptionError(f"provider '{options.provider}' names the device '{device}'", "write a number, e.g. cuda:0")
    ort = optional.onnxruntime()
    name = options.provider_name
    available = ort.get_available_providers()
    if name not in available:
        offered = ", ".join(available)
        if name not in ort.get_all_providers():
            raise OptionError(f"there is no provider '{options.provider}'", f"this ONNX Runtime offers {offered}")
        raise RuntimeMissing(f"the provider {name} is not in the installed ONNX Runtime (it offers {offered})",
                             "install the wheel that holds it, e.g. pip install 'graphprune[gpu]'")  # fmt: skip
    session_options = ort.SessionOptions()
    session_options.intra_op_num_threads = options.thread_count
    session_options.inter_op_num_threads = 1
    session_options.log_severity_level = 4
    if optimised_path is not None:
        session_options.optimized_model_filepath = str(optimised_path)
    if folder is not None and not isinstance(model, Path):  # a file's own folder is known to the runtime
        key = "session.model_external_initializers_file_folder_path"
        session_options.add_session_config_entry(key, str(folder))
    providers = [(name, {"device_id": device})] if device else [name]
    try:
        source = str(model) if isinstance(model, Path) else model.SerializeToString()
        session = ort.InferenceSession(source, session_options, providers=providers)
    except Exception as error:  # noqa: BLE001 - ONNX Runtime raises a dozen unrelated classes
        raise ModelError(
            f"ONNX Runtime cannot load the model: {_first_line(error)}", "check it with onnx.checker"
        ) from None
    if session.get_providers()[0] != name:
        raise RuntimeMissing(
            f"the provider {name} did not start; ONNX Runtime fell back to {session.get_providers()[0]}",
            "check driver and library versions",
        )
    return session


def run(session: Any, feeds: Feeds, outputs: list[str] | None = None) -> list[np.ndarray]:
    """Run a session; a failure inside the runtime becomes one sentence."""
    with failing_in_a_sentence("check the input shapes"):
        results: list[np.ndarray] = session.run(outputs, feeds)
    return results


@contextmanager
def failing_in_a_sentence(fix: str) -> Iterator[None]:
    """Turn what the runtime raises into a ModelError with the advice ``fix``."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - as above
        raise ModelError(f"ONNX Runtime cannot run the model: {_first_line(error)}", fix) from None


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
