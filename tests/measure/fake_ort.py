"""An ONNX Runtime for GPUs that exists only on paper: it offers what it is told to and records what it is asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

CUDA, TENSORRT, CPU = "CUDAExecutionProvider", "TensorrtExecutionProvider", "CPUExecutionProvider"


@dataclass
class FakeOrt:
    """``starts`` are the providers that really start; ``nodes`` is what a session says of provider -> nodes it took."""

    starts: tuple[str, ...] = (TENSORRT, CUDA, CPU)
    nodes: dict[str, int] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    __version__: str = "1.99.0"

    def get_available_providers(self) -> list[str]:
        return [TENSORRT, CUDA, CPU]

    def get_all_providers(self) -> list[str]:
        return self.get_available_providers()

    def preload_dlls(self) -> None:
        self.calls.append("preload")
        print("Failed to load libcublas.so.13: no such file")

    def SessionOptions(self) -> Any:
        return SimpleNamespace(add_session_config_entry=lambda key, value: self.calls.append(f"{key}={value}"))

    def InferenceSession(self, source: Any, options: Any, providers: list[Any]) -> Any:
        name, settings = providers[0] if isinstance(providers[0], tuple) else (providers[0], {})
        self.calls.append(f"session {name} {dict(settings)}")
        if name in self.starts:
            return FakeSession(self, [name, CPU])
        print("*************** EP Error ***************")
        print(f"EP Error libnvinfer.so.10: cannot open shared object file when using ['{name}']")
        return FakeSession(self, [CPU])

    @property
    def OrtValue(self) -> Any:
        def place(array: np.ndarray, device: str, index: int) -> Any:
            return FakeValue(self, f"{array.shape} on {device}:{index}")

        return SimpleNamespace(ortvalue_from_numpy=place)

    def RunOptions(self) -> Any:
        return SimpleNamespace(add_run_config_entry=lambda key, value: self.calls.append(f"{key}={value}"))


@dataclass
class FakeValue:
    """A value on the device, by its place."""

    ort: FakeOrt
    place: str

    def update_inplace(self, array: np.ndarray) -> None:
        self.ort.calls.append(f"{array.shape} to {self.place}")

    def numpy(self) -> np.ndarray:
        self.ort.calls.append(f"fetch {self.place}")
        return np.zeros(3, np.float32)


@dataclass
class FakeSession:
    ort: FakeOrt
    providers: list[str]

    def get_providers(self) -> list[str]:
        return self.providers

    def get_modelmeta(self) -> Any:
        return SimpleNamespace(custom_metadata_map={})

    def get_outputs(self) -> list[Any]:
        return [SimpleNamespace(name="y")]

    def run(self, names: Any, feeds: Any) -> list[np.ndarray]:
        self.ort.calls.append("run")
        return [np.zeros(3, np.float32)]

    def get_provider_graph_assignment_info(self) -> list[Any]:
        def nodes(count: int) -> Any:
            return lambda: [None] * count

        return [SimpleNamespace(ep_name=name, get_nodes=nodes(count)) for name, count in self.ort.nodes.items()]

    def io_binding(self) -> Any:
        say = self.ort.calls.append
        return SimpleNamespace(
            bind_ortvalue_input=lambda name, value: say(f"bind {name} {value.place}"),
            bind_ortvalue_output=lambda name, value: say(f"bind {name} {value.place}"),
            get_outputs=lambda: [FakeValue(self.ort, "the place of y")],
            bind_output=lambda name, device, index: say(f"bind {name} {device}:{index}"),
            synchronize_inputs=lambda: say("wait for inputs"),
            synchronize_outputs=lambda: say("wait for outputs"),
        )

    def run_with_iobinding(self, binding: Any, options: Any = None) -> None:
        self.ort.calls.append("bound run")
