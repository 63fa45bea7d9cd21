"""The runtimes by their names, as ``--runtime`` takes them: ``ort``, ``ort:cuda``, ``torch-compile:cpu`` ..."""

from __future__ import annotations

from dataclasses import dataclass, replace

from graphprune.errors import OptionError
from graphprune.measure.ort import OrtRuntime
from graphprune.measure.runtime import Runtime
from graphprune.measure.tensorrt import TensorRTRuntime
from graphprune.measure.torch import MODES, Precision, TorchRuntime
from graphprune.runtime.sessions import RuntimeOptions

NAMES = ("ort", "tensorrt", *MODES)
PRECISIONS = ("fp32", "bf16", "fp16")


@dataclass(frozen=True)
class BenchOptions:
    """Settings of single runtimes: what torch computes in; whether ONNX Runtime and TensorRT replay CUDA graphs."""

    precision: Precision = "fp32"
    cuda_graph: bool = False


def runtime(spec: str, options: RuntimeOptions, bench: BenchOptions | None = None) -> Runtime:
    """The runtime that ``NAME`` or ``NAME:PLACE`` names; the place is a provider or a device,
    by default ``options``' own.

    Raises
    ------
    OptionError
        There is no such runtime, or it lacks one of the settings.
    """
    bench = bench or BenchOptions()
    name, _, place = spec.partition(":")
    if name not in NAMES:
        raise OptionError(f"there is no runtime '{name}'", f"choose {', '.join(NAMES)}")
    if place:
        options = replace(options, provider=place)
    if name == "ort":
        return _ort(options, bench)
    on_gpu_only = name == "tensorrt" or MODES[name][1]
    device = "cuda" if on_gpu_only and not place and options.provider == "cpu" else options.provider
    if name == "tensorrt":
        _refuse_precision(bench, "TensorRT")
        return TensorRTRuntime(device, bench.cuda_graph)
    if bench.cuda_graph and not MODES[name][1]:
        raise OptionError(f"--cuda-graph is not for {name}", f"choose --runtime {name}-cudagraph")
    return TorchRuntime(name, device, bench.precision, options.thread_count)


def _ort(options: RuntimeOptions, bench: BenchOptions) -> OrtRuntime:
    _refuse_precision(bench, "ONNX Runtime")
    if bench.cuda_graph:
        keys = {"CUDAExecutionProvider": "enable_cuda_graph", "TensorrtExecutionProvider": "trt_cuda_graph_enable"}
        if options.provider_name not in keys:
            raise OptionError(f"--cuda-graph does nothing on {options.provider}", "add --provider cuda or trt")
        options = replace(options, extra=(*options.extra, (keys[options.provider_name], "1")))
    return OrtRuntime(options)


def _refuse_precision(bench: BenchOptions, name: str) -> None:
    if bench.precision != "fp32":
        raise OptionError(
            f"--precision {bench.precision} is for torch; {name} computes in the types of the file",
            "convert both files, or choose --runtime torch",
        )
