"""torch's exporter in tests: what it makes for every export is made once, and garbage is collected less often."""

from __future__ import annotations

import gc
from functools import cache


def hasten_exports() -> None:
    """Keep the exporter's table of translations, which no export changes:
    building it is a quarter of a small export.

    An export makes millions of objects that live until its end; looking through them every 700 takes an
    eighth of the time.
    """
    gc.set_threshold(50_000, 20, 100)
    try:
        from torch.onnx._internal.exporter._registration import ONNXRegistry
    except ImportError:  # no torch, or one that keeps it elsewhere: then every export builds its own
        return
    if not isinstance(vars(ONNXRegistry)["from_torchlib"], staticmethod):
        ONNXRegistry.from_torchlib = staticmethod(cache(ONNXRegistry.from_torchlib))  # type: ignore[method-assign]
