"""What the runtime makes of a model: the operators left after its own optimisation."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import onnx

from graphprune.errors import ModelError
from graphprune.runtime.sessions import RuntimeOptions, open_session


def operators(
    model: Path | onnx.ModelProto, options: RuntimeOptions, folder: Path | None = None
) -> Counter[str] | None:
    """Operator (``Conv``, ``nchwc.Conv``) -> how many of them run;
    None where the runtime cannot write its graph down (TensorRT, over 2 GB).
    """
    with tempfile.TemporaryDirectory(prefix="graphprune-") as place:
        path = Path(place) / "optimised.onnx"
        try:
            open_session(model, options, folder, optimised_path=path)
            graph = onnx.load(path, load_external_data=False).graph
        except (ModelError, OSError):
            return None
    return Counter(f"{node.domain.rpartition('.')[2]}.{node.op_type}".lstrip(".") for node in graph.node)
