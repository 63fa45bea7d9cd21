"""TensorRT 10 and 11 by themselves: engines built once and kept on disk, buffers on the device, events around the run.

Networks are created strongly typed: the only kind that 11 has, and the one that makes 10 comparable with it.
The file says in what types it computes; to time fp16, convert both files. Device memory, streams,
events and CUDA graphs are PyTorch's: it is at hand where networks are trained and exported,
and saves a second binding of CUDA.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graphprune.base import extras
from graphprune.errors import ModelError, OptionError, RuntimeMissing
from graphprune.ir.input_origins import fed_to_file
from graphprune.ir.output_files import cache_folder
from graphprune.measure import machine
from graphprune.measure.cuda import captured, elapsed_ms
from graphprune.measure.engines import Engines
from graphprune.measure.runtime import Runner, Source
from graphprune.runtime.sessions import Feeds

if TYPE_CHECKING:
    import tensorrt as trt


@dataclass(frozen=True)
class TensorRTRuntime:
    """Native TensorRT on ``device`` (``cuda`` or ``cuda:1``); ``cache`` is where engines and timings are kept."""

    device: str = "cuda"
    cuda_graph: bool = False
    cache: Path | None = None
    name: str = "tensorrt"

    def require(self) -> None:
        kind, _, index = self.device.partition(":")
        if kind != "cuda" or (index and not index.isdecimal()):
            raise OptionError(f"TensorRT has no device '{self.device}'", "write cuda or cuda:1")
        trt = extras.tensorrt()
        major = int(trt.__version__.partition(".")[0])
        if major not in (10, 11):
            raise RuntimeMissing(
                f"TensorRT {trt.__version__} is installed; 10 and 11 are supported",
                "run: pip install 'graphprune[tensorrt]'",
            )
        torch = extras.torch()
        if not torch.cuda.is_available():
            raise RuntimeMissing(
                f"torch {torch.__version__}, which lends TensorRT its memory, finds no CUDA device",
                "check nvidia-smi, and install the torch for your CUDA version; see graphprune doctor",
            )

    def open(self, model: Source, feeds: Feeds) -> Runner:
        self.require()
        import tensorrt as trt

        torch, feeds = extras.torch(), fed_to_file(model, feeds)
        with torch.cuda.device(self.device):
            engines = Engines(torch.cuda.get_device_name(), self.cache or cache_folder() / "tensorrt")
            blob = engines.engine(model, {name: array.shape for name, array in feeds.items()})
            engine = trt.Runtime(engines.logger).deserialize_cuda_engine(blob)
            if engine is None:
                raise RuntimeMissing(
                    f"TensorRT cannot load the engine ({engines.why()})",
                    f"delete {engines.folder} if TensorRT or the driver has changed; see graphprune doctor",
                )
            return self._runner(torch, engine, feeds, engines)

    def environment(self) -> dict[str, Any]:
        trt, torch = extras.tensorrt(), extras.torch()
        facts = {
            "runtime": f"tensorrt {trt.__version__}",
            "provider": f"{self.device}{' graph' if self.cuda_graph else ''}",
            "threads": 1,
            "device_clock": "CUDA events",
            "cuda": torch.version.cuda,
        }
        return facts | machine.gpu(torch.device(self.device).index or 0) | machine.host()

    def _runner(self, torch: Any, engine: trt.ICudaEngine, feeds: Feeds, engines: Engines) -> Runner:
        import tensorrt as trt

        context = engine.create_execution_context()
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        reads = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
        hosts = {name: torch.from_numpy(np.ascontiguousarray(feeds[name])) for name in reads}
        for name, host in hosts.items():
            if not context.set_input_shape(name, tuple(host.shape)):
                raise ModelError(f"TensorRT does not take {name} {tuple(host.shape)}", "check the input shapes")
        buffers = {
            name: torch.empty(tuple(host.shape), dtype=host.dtype, device=self.device) for name, host in hosts.items()
        }
        writes = [name for name in names if name not in reads]
        for name in writes:
            shape = tuple(context.get_tensor_shape(name))
            if min(shape, default=0) < 0:
                raise ModelError(f"the size of the output {name} depends on values", "time it on another runtime")
            kind = engine.get_tensor_dtype(name).name
            if kind not in _TORCH:
                raise ModelError(f"the output {name} is {kind}, which torch has no type for", "cast it in the file")
            buffers[name] = torch.empty(shape, dtype=getattr(torch, _TORCH[kind]), device=self.device)
        for name in names:
            context.set_tensor_address(name, buffers[name].data_ptr())

        def enqueue() -> None:
            if not context.execute_async_v3(torch.cuda.current_stream().cuda_stream):
                raise ModelError(f"TensorRT cannot run the model: {engines.why()}", "check the input shapes")

        # TensorRT warns of the default stream, and graphs cannot be taken on it
        stream = torch.cuda.Stream(self.device)
        with torch.cuda.stream(stream):
            enqueue()
            stream.synchronize()
            launch: Callable[[], object] = captured(torch, enqueue)[0] if self.cuda_graph else enqueue

        def run() -> list[np.ndarray]:
            with torch.cuda.stream(stream):
                for name, host in hosts.items():
                    buffers[name].copy_(host)
                launch()
                outputs = [buffers[name].cpu() for name in writes]
            stream.synchronize()
            return [one.float().numpy() if one.is_floating_point() else one.numpy() for one in outputs]

        def device_ms() -> float:
            with torch.cuda.stream(stream):
                return elapsed_ms(torch, launch)

        run()
        return Runner(run, device_ms, {"engine": engines.origin, "layers": engine.num_layers})


_TORCH = {
    "FLOAT": "float32",
    "HALF": "float16",
    "BF16": "bfloat16",
    "INT8": "int8",
    "INT32": "int32",
    "INT64": "int64",
    "BOOL": "bool",
    "UINT8": "uint8",
}
"""TensorRT's data type -> torch's."""
