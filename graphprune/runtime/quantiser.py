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
from graphprune.decoder.interface import decoder_interface
from graphprune.errors import ModelError
from graphprune.ir.model import Model
from graphprune.ir.quantised import ROUNDING
from graphprune.runtime.plugins import plugins
from graphprune.runtime.sessions import Feeds

_PER_CHANNEL_SINCE = 13  # the operator set in which DequantizeLinear got its axis
_LARGEST_BYTES = 1 << 31  # of a file that protobuf writes


def refuse_unquantisable(model: Model) -> None:
    """Refuse what the quantiser cannot take, before any work is done in vain.

    Raises
    ------
    ModelError
        The model is no float32 one, is a decoder with a cache, has operators of plugins, or is quantised.
    """
    low = next((name for name, dtype in model.dtypes.items() if dtype in _LOW), None)
    if low is not None:
        what = onnx.TensorProto.DataType.Name(model.dtypes[low]).lower()
        raise ModelError(
            f"the int8 quantiser takes float32, '{low}' is {what}", "prune and quantise the float32 export"
        )
    if decoder_interface(model) is not None:
        raise ModelError(
            "the int8 quantiser calibrates whole runs, and the model is a decoder with a cache",
            "prune it, and let onnxruntime-genai's builder make int4 of the result (docs/language_models.md)",
        )
    if found := plugins(model):
        raise ModelError(f"the int8 quantiser does not know {found[0].op} (node {found[0].name})", "leave it out")
    rounded = next((node for node in model.graph.nodes if node.op in ROUNDING), None)
    if rounded is not None:
        raise ModelError(f"the model is quantised already (node {rounded.name})", "leave --quantise out")


_LOW = (onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16, onnx.TensorProto.DOUBLE)


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
            is_per_channel = opsets.get("", _PER_CHANNEL_SINCE) >= _PER_CHANNEL_SINCE
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
