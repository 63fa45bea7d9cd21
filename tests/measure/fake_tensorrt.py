"""A TensorRT that exists only on paper, and the torch that lends it memory: both record what they are asked for.

It holds what the real bindings have of what we call (names, arguments, what is returned), for version 10 and for 11,
which lacks the flags of 10 that turned precisions on.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from enum import IntEnum
from types import SimpleNamespace
from typing import Any

import onnx


class Severity(IntEnum):
    INTERNAL_ERROR = 0
    ERROR = 1
    WARNING = 2


class ILogger:
    Severity = Severity

    def log(self, severity: IntEnum, message: str) -> None:
        raise NotImplementedError


class NetworkDefinitionCreationFlag10(IntEnum):
    EXPLICIT_BATCH = 0
    STRONGLY_TYPED = 1


class NetworkDefinitionCreationFlag11(IntEnum):
    STRONGLY_TYPED = 1


class TensorIOMode(IntEnum):
    NONE = 0
    INPUT = 1
    OUTPUT = 2


class MemoryPoolType(IntEnum):
    WORKSPACE = 0


@dataclass
class FakeTensorRT:
    """``parse_error`` is what the parser says of every model, ``build_error`` what the builder logs before it gives up;
    ``output`` is the type of outputs."""

    __version__: str = "11.4.0.106"
    parse_error: str = ""
    build_error: str = ""
    output: str = "HALF"
    calls: list[str] = field(default_factory=list)
    ILogger: type = ILogger
    TensorIOMode: type = TensorIOMode
    MemoryPoolType: type = MemoryPoolType

    @property
    def NetworkDefinitionCreationFlag(self) -> type:
        is_ten = self.__version__.startswith("10")
        return NetworkDefinitionCreationFlag10 if is_ten else NetworkDefinitionCreationFlag11

    def Builder(self, logger: Any) -> Any:
        def create_network(flags: int) -> Any:
            self.calls.append(f"network {flags:#b}")
            return SimpleNamespace(inputs=[], num_inputs=0, get_input=None)

        def build(network: Any, config: Any) -> bytes | None:
            self.calls.append("build")
            if self.build_error:
                logger.log(Severity.WARNING, "never mind")
                logger.log(Severity.ERROR, self.build_error)
                return None
            return network.proto.SerializeToString()  # type: ignore[no-any-return]

        return SimpleNamespace(
            create_network=create_network,
            create_builder_config=self._config,
            create_optimization_profile=self._profile,
            build_serialized_network=build,
        )

    def _config(self) -> Any:
        def create(content: bytes) -> Any:
            self.calls.append(f"timings from {content!r}")
            return SimpleNamespace(serialize=lambda: content + b"t")

        config = SimpleNamespace(
            set_memory_pool_limit=lambda kind, size: None,
            create_timing_cache=create,
            add_optimization_profile=lambda profile: self.calls.append("add profile"),
        )
        config.set_timing_cache = lambda cache, ignore_mismatch: setattr(config, "cache", cache)
        config.get_timing_cache = lambda: config.cache
        return config

    def _profile(self) -> Any:
        def set_shape(name: str, low: Any, best: Any, high: Any) -> None:
            self.calls.append(f"profile {name} {low} {best} {high}")

        return SimpleNamespace(set_shape=set_shape)

    def OnnxParser(self, network: Any, logger: Any) -> Any:
        def take(proto: onnx.ModelProto) -> bool:
            network.proto = proto
            inputs = [
                SimpleNamespace(name=v.name, shape=[d.dim_value or -1 for d in v.type.tensor_type.shape.dim])
                for v in proto.graph.input
            ]
            network.num_inputs, network.get_input = len(inputs), lambda index: inputs[index]
            return not self.parse_error

        return SimpleNamespace(
            parse=lambda content: take(onnx.load_from_string(content)),
            parse_from_file=lambda path: take(onnx.load(path)),
            num_errors=1,
            get_error=lambda index: SimpleNamespace(desc=lambda: self.parse_error),
        )

    def Runtime(self, logger: Any) -> Any:
        return SimpleNamespace(deserialize_cuda_engine=lambda blob: FakeEngine(self, onnx.load_from_string(blob)))


class FakeEngine:
    """The engine of a model whose outputs are as long as its batch, and count the runs so far."""

    def __init__(self, trt: FakeTensorRT, proto: onnx.ModelProto) -> None:
        self._trt = trt
        self._inputs: list[str] = [value.name for value in proto.graph.input]
        self._outputs: list[str] = [value.name for value in proto.graph.output]
        self._names: list[str] = self._inputs + self._outputs
        self.num_io_tensors, self.num_layers = len(self._names), len(proto.graph.node)
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}

    def get_tensor_name(self, index: int) -> str:
        return self._names[index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if name in self._inputs else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> Any:
        return SimpleNamespace(name=self._trt.output)

    def create_execution_context(self) -> Any:
        return self

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._shapes[name] = shape
        return shape[-1] < 100

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return (self._shapes[self._inputs[0]][0], 3)

    def set_tensor_address(self, name: str, address: int) -> None:
        self._addresses[name] = address

    def execute_async_v3(self, stream: int) -> bool:
        assert set(self._addresses) == set(self._names), "an address is missing"
        self._trt.calls.append(f"enqueue on {stream}")
        return True


class FakeTorch:
    """torch with a GPU: real tensors on the CPU, streams and events that only say when they are used."""

    def __init__(self, real: Any, calls: list[str], *, has_gpu: bool = True) -> None:
        self.__version__ = "2.99"
        self.version = SimpleNamespace(cuda="13.0")
        self._real = real
        say = calls.append

        class Event:
            def __init__(self, enable_timing: bool) -> None:
                assert enable_timing

            def record(self) -> None:
                say("event")

            def synchronize(self) -> None:
                say("wait")

            def elapsed_time(self, other: Any) -> float:
                return 1.25

        class CUDAGraph:
            def replay(self) -> None:
                say("replay")

        @contextlib.contextmanager
        def graph(one: Any) -> Any:
            say("capture")
            yield

        def stream(*place: Any) -> Any:
            return SimpleNamespace(synchronize=lambda: None, wait_stream=lambda other: None)

        self.cuda = SimpleNamespace(
            is_available=lambda: has_gpu,
            device=lambda place: contextlib.nullcontext(),
            get_device_name=lambda: "Paper GPU",
            synchronize=lambda: None,
            Event=Event,
            CUDAGraph=CUDAGraph,
            graph=graph,
            Stream=stream,
            stream=lambda one: contextlib.nullcontext(),
            current_stream=lambda: SimpleNamespace(cuda_stream=7, wait_stream=lambda other: None),
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def empty(self, shape: Any, dtype: Any, device: str) -> Any:
        assert device.startswith("cuda")
        return self._real.zeros(shape, dtype=dtype)
