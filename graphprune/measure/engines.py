"""TensorRT engines built from model files, and kept: building takes minutes on small devices,
and tactics are chosen by timing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx

from graphprune.errors import InputError, ModelError
from graphprune.ir.loading import load
from graphprune.ir.output_files import staged
from graphprune.measure.runtime import Source

if TYPE_CHECKING:
    import tensorrt as trt

_WORKSPACE_BYTES = 4 << 30


class Engines:
    """Builds engines for the current CUDA device, named ``gpu``,
    and keeps them and the times of their tactics in ``folder``.
    """

    def __init__(self, gpu: str, folder: Path) -> None:
        self._gpu = gpu
        self.folder = folder
        self.errors: list[str] = []
        self.logger = _logger(self.errors)
        self.origin = ""
        """Where the last engine came from: "built" or "cache"."""

    def engine(self, model: Source, shapes: Mapping[str, tuple[int, ...]]) -> bytes:
        """The serialised engine of ``model`` for inputs of these ``shapes``, from the cache where it is there.

        The key is all that an engine holds for: GPU, TensorRT, the model's content, the shapes and the build options.

        Raises
        ------
        ModelError
            TensorRT cannot read the model or build an engine of it.
        """
        import tensorrt as trt

        key = {
            "gpu": self._gpu,
            "tensorrt": trt.__version__,
            "model": load(model).sha256,
            "shapes": {name: list(shape) for name, shape in sorted(shapes.items())},
            "workspace_bytes": _WORKSPACE_BYTES,
        }
        path = self.folder / f"{_short(key)}.engine"
        if path.is_file():
            self.origin = "cache"
            return path.read_bytes()
        self.origin = "built"
        blob = self._build(model, shapes)
        self._keep(path, blob)
        return blob

    def why(self) -> str:
        """What TensorRT complained of last."""
        return self.errors[-1].splitlines()[0][:300] if self.errors else "TensorRT gives no reason"

    def _build(self, model: Source, shapes: Mapping[str, tuple[int, ...]]) -> bytes:
        import tensorrt as trt

        builder = trt.Builder(self.logger)
        network = builder.create_network(_flags())
        self._parse(network, model)
        config = builder.create_builder_config()
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, _WORKSPACE_BYTES)
        self._profile(builder, config, network, shapes)
        timings = self.folder / f"{_short({'gpu': self._gpu, 'tensorrt': trt.__version__})}.timing"
        known = timings.read_bytes() if timings.is_file() else b""
        cache = config.create_timing_cache(known)
        config.set_timing_cache(cache, False)
        blob = builder.build_serialized_network(network, config)
        if blob is None:
            raise ModelError(
                f"TensorRT cannot build an engine: {self.why()}", "time it on another runtime, e.g. ort:cuda"
            )
        self._keep(timings, bytes(config.get_timing_cache().serialize()))
        return bytes(blob)

    def _parse(self, network: trt.INetworkDefinition, model: Source) -> None:
        import tensorrt as trt

        parser = trt.OnnxParser(network, self.logger)
        if isinstance(model, onnx.ModelProto):
            is_read = parser.parse(model.SerializeToString())
        else:
            is_read = parser.parse_from_file(str(model))  # which finds external data
        if not is_read:
            said = [parser.get_error(index).desc() for index in range(parser.num_errors)] or [self.why()]
            raise ModelError(
                f"TensorRT cannot read the model: {' '.join(said[0].split())[:300]}",
                "time it on another runtime, e.g. ort:cuda",
            )

    def _profile(
        self,
        builder: trt.Builder,
        config: trt.IBuilderConfig,
        network: trt.INetworkDefinition,
        shapes: Mapping[str, tuple[int, ...]],
    ) -> None:
        """Free axes are built for the sizes that are timed, and for no others:
        an engine for a range would be slower.
        """
        inputs = [network.get_input(index) for index in range(network.num_inputs)]
        free = [tensor.name for tensor in inputs if -1 in tuple(tensor.shape)]
        if not free:
            return
        profile = builder.create_optimization_profile()
        for name in free:
            profile.set_shape(name, shapes[name], shapes[name], shapes[name])
        config.add_optimization_profile(profile)

    def _keep(self, path: Path, content: bytes) -> None:
        """Write for the next time; a cache that cannot be written costs time, not the result."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with staged(path) as place:
                place.write_bytes(content)
        except (OSError, InputError):
            self.errors.append(f"cannot write {path}")


def _flags() -> int:
    """Strongly typed, with the batch as an axis: asked for in 10, the only kind in 11,
    which ignores or lacks the flags.
    """
    import tensorrt as trt

    kinds = trt.NetworkDefinitionCreationFlag
    names = ("STRONGLY_TYPED", "EXPLICIT_BATCH")
    return sum(1 << int(getattr(kinds, name)) for name in names if hasattr(kinds, name))


def _logger(errors: list[str]) -> trt.ILogger:
    """A logger that keeps errors for our messages; TensorRT's own prints everything to stdout."""
    import tensorrt as trt

    class Logger(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: trt.ILogger.Severity, message: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                errors.append(message)

    return Logger()


def _short(key: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]
