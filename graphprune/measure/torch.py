"""PyTorch through the bridge: eager, compiled, and either of them replayed from a CUDA graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from graphprune.base import extras
from graphprune.errors import GraphpruneError, ModelError, OptionError, RuntimeMissing
from graphprune.ir.input_origins import fed_to_file
from graphprune.ir.loading import load
from graphprune.measure import machine
from graphprune.measure.cuda import captured, elapsed_ms
from graphprune.measure.runtime import Runner, Source
from graphprune.runtime.sessions import Feeds, first_line

Precision = Literal["fp32", "bf16", "fp16"]

MODES: Mapping[str, tuple[bool, bool]] = MappingProxyType(
    {
        "torch": (False, False),
        "torch-compile": (True, False),
        "torch-cudagraph": (False, True),
        "torch-compile-cudagraph": (True, True),
    }
)
"""Name -> whether it is compiled, whether it is replayed from a CUDA graph."""


@dataclass(frozen=True)
class TorchRuntime:
    """A way of running a module. ``precision`` converts weights and float inputs; "fp32" leaves the model as it is.

    ``device`` is ``cpu`` or ``cuda[:i]``; ``threads`` are for the CPU.
    """

    name: str = "torch"
    device: str = "cpu"
    precision: Precision = "fp32"
    threads: int = 1

    def require(self) -> None:
        torch = extras.torch()
        kind, _, index = self.device.partition(":")
        if kind not in ("cpu", "cuda") or (index and not (kind == "cuda" and index.isdecimal())):
            raise OptionError(f"torch has no device '{self.device}' here", "write cpu, cuda or cuda:1")
        if kind == "cuda" and not torch.cuda.is_available():
            raise RuntimeMissing(
                f"torch {torch.__version__} finds no CUDA device",
                "check nvidia-smi, and install the torch for your CUDA version; see graphprune doctor",
            )
        if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
            raise RuntimeMissing(
                f"there is no {self.device}; torch finds {torch.cuda.device_count()}", "see nvidia-smi"
            )
        if kind == "cpu" and MODES[self.name][1]:
            raise OptionError(
                f"{self.name} needs a CUDA device", "add --provider cuda, or choose torch or torch-compile"
            )

    def open(self, model: Source, feeds: Feeds) -> Runner:
        self.require()
        torch = extras.torch()
        try:
            return self._open(torch, model, fed_to_file(model, feeds))
        except GraphpruneError:
            raise
        except Exception as error:  # noqa: BLE001 - the compiler and CUDA raise whatever they like
            if "CppCompiler" in type(error).__name__ + str(error):
                raise RuntimeMissing(
                    f"torch.compile finds no C++ compiler ({first_line(error)})",
                    "install g++, or choose --runtime torch",
                ) from None
            raise ModelError(f"{self.name} cannot run the model: {first_line(error)}", "try --runtime torch") from None

    def environment(self) -> dict[str, Any]:
        torch = extras.torch()
        facts = {
            "runtime": f"torch {torch.__version__} {self.name.removeprefix('torch').lstrip('-') or 'eager'}",
            "provider": f"{self.device} {self.precision}",
            "threads": self.threads,
        }
        if self._is_cuda:
            facts |= {
                "device_clock": "CUDA events",
                "cuda": torch.version.cuda,
                "cudnn": torch.backends.cudnn.version(),
            }
            facts |= {
                "convolution_tf32": torch.backends.cudnn.allow_tf32,
                "matmul_tf32": torch.backends.cuda.matmul.allow_tf32,
            }
            facts |= machine.gpu(torch.device(self.device).index or 0)
        return facts | machine.host()

    @property
    def _is_cuda(self) -> bool:
        return self.device.startswith("cuda")

    def _open(self, torch: Any, model: Source, feeds: Feeds) -> Runner:
        from graphprune.torch_bridge import to_torch

        compiled, graph = MODES[self.name]
        if not self._is_cuda:
            torch.set_num_threads(self.threads)
        loaded = load(model)
        module: Any = to_torch(loaded).eval().to(self.device)
        dtype = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[self.precision]
        if dtype is not None:
            _convert(torch, module, dtype)
        hosts = [torch.from_numpy(np.ascontiguousarray(feeds[tensor.name])) for tensor in loaded.graph.inputs]

        def moved(host: Any) -> Any:
            there = host.to(self.device)
            return there.to(dtype) if dtype is not None and there.is_floating_point() else there

        def back(outputs: Any) -> list[np.ndarray]:
            outputs = outputs if isinstance(outputs, tuple | list) else (outputs,)
            return [(one.float() if one.is_floating_point() else one).cpu().numpy() for one in outputs]

        call = torch.compile(module, dynamic=False) if compiled else module
        inference: Callable[[], AbstractContextManager[Any]] = torch.inference_mode
        with inference():
            inputs = [moved(host) for host in hosts]
            call(*inputs)
            replay = self._graph(torch, lambda: call(*inputs)) if graph else None

        def run() -> list[np.ndarray]:
            with inference():
                if replay is None:
                    return back(call(*map(moved, hosts)))
                for place, host in zip(inputs, hosts, strict=True):
                    place.copy_(host)
                return back(replay())

        def device_ms() -> float:
            with inference(), torch.cuda.device(self.device):
                return elapsed_ms(torch, replay or (lambda: call(*inputs)))

        run()
        return Runner(run, device_ms if self._is_cuda else None)

    def _graph(self, torch: Any, launch: Callable[[], Any]) -> Callable[[], Any]:
        """``launch`` replayed from a CUDA graph; what it returns is overwritten each time."""
        with torch.cuda.device(self.device):
            replay, outputs = captured(torch, launch)

        def again() -> Any:
            replay()
            return outputs

        return again


def _convert(torch: Any, module: Any, dtype: Any) -> None:
    """Weights to ``dtype``, and in the graph float32 by that name too: casts, and constants of a type of their own."""
    from torch.fx.node import map_aggregate

    def other(value: Any) -> Any:
        return dtype if value is torch.float32 else value

    for node in module.graph.nodes:
        node.args, node.kwargs = map_aggregate(node.args, other), map_aggregate(node.kwargs, other)
    module.recompile()
    module.to(dtype)
