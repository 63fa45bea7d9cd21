"""torch's exporter in tests: what it makes anew for every export is made once a session."""

from __future__ import annotations

from functools import cache


def share_translations() -> None:
    """Keep the exporter's table of translations, which no export changes:
    building it is a quarter of a small export.
    """
    try:
        from torch.onnx._internal.exporter._registration import ONNXRegistry
    except ImportError:  # no torch, or one that keeps it elsewhere: then every export builds its own
        return
    if not isinstance(vars(ONNXRegistry)["from_torchlib"], staticmethod):
        ONNXRegistry.from_torchlib = staticmethod(cache(ONNXRegistry.from_torchlib))  # type: ignore[method-assign]
