"""Packages that are not dependencies of the core. Asking for one that is missing says which pip line to run."""

from __future__ import annotations

import importlib
from typing import Any

from graphprune.errors import RuntimeMissing

_QUIET = 4  # ONNX Runtime's "fatal": its errors reach us as exceptions, its warnings are about fusions


def onnxruntime() -> Any:
    """The onnxruntime module, quietened.

    Raises
    ------
    RuntimeMissing
        Neither onnxruntime nor onnxruntime-gpu is installed, or the installed one does not load.
    """
    try:
        module = importlib.import_module("onnxruntime")
        module.set_default_logger_severity(_QUIET)
    except (ImportError, AttributeError) as error:
        raise RuntimeMissing(
            f"ONNX Runtime cannot be imported ({error})",
            "run: pip install 'graphprune[cpu]' (or 'graphprune[gpu]'; exactly one of the two)",
        ) from None
    return module
