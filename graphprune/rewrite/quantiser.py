"""ONNX Runtime's static quantiser: a float file as one with 8-bit weights and activations (QuantizeLinear pairs)."""

from __future__ import annotations

import importlib
import logging
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx

from graphprune.base import extras
from graphprune.base.memory import give_back
from graphprune.errors import ModelError
from graphprune.runtime.sessions import Feeds

_PER_CHANNEL_SINCE = 13  # the operator set in which DequantizeLinear got its axis
_LARGEST_BYTES = 1 << 31  # of a file that protobuf writes


def quantise_int8(source: Path, out: Path, batches: Iterable[Feeds]) -> bool:
    """Write ``out``, whose scales are those of the smallest and largest values on ``batches``; whether weights have a
    scale for each channel, which takes operator set 13.

    Convolutions are joined with the norms behind them before, as the quantiser advises.

    Raises
    ------
    ModelError
        It fails; the message is its own.
    """
    extras.onnxruntime()
    tools: Any = importlib.import_module("onnxruntime.quantization")
    shapes: Any = importlib.import_module("onnxruntime.quantization.shape_inference")
    with tempfile.TemporaryDirectory(prefix="graphprune-") as folder, _quiet():
        ready = Path(folder) / "ready.onnx"
        try:
            shapes.quant_pre_process(source, ready, skip_symbolic_shape=True)
            opsets = {each.domain: each.version for each in onnx.load(ready, load_external_data=False).opset_import}
            is_per_channel: bool = opsets.get("", _PER_CHANNEL_SINCE) >= _PER_CHANNEL_SINCE
            tools.quantize_static(
                ready,
                out,
                _Reader(batches),
                quant_format=tools.QuantFormat.QDQ,
                per_channel=is_per_channel,
                activation_type=tools.QuantType.QInt8,
                weight_type=tools.QuantType.QInt8,
                calibrate_method=tools.CalibrationMethod.MinMax,
                use_external_data_format=ready.stat().st_size >= _LARGEST_BYTES,
            )
        except Exception as error:  # noqa: BLE001 - the quantiser raises whatever its parts raise
            out.unlink(missing_ok=True)
            text = str(error).strip().partition("\n")[0]
            raise ModelError(
                f"ONNX Runtime's quantiser fails: {type(error).__name__}: {text}", "leave --quantise out"
            ) from None
        finally:
            give_back()
    return is_per_channel


class _Reader:
    """The batches as the quantiser asks for them."""

    def __init__(self, batches: Iterable[Feeds]) -> None:
        self._batches = iter(batches)

    def get_next(self) -> Feeds | None:
        """The next one; None at the end."""
        return next(self._batches, None)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the quantiser's advice, which goes to the root of all logs."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
