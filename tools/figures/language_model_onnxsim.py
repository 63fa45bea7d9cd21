"""What onnxsim cuts from a decoder with a cache: MLP neurons by magnitude; its other ways leave the file as it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from language_model_quality import feeds, onnx_parameters

FEW = 4  # chunks: whether a way cuts at all does not hang on more


def cut(path: Path, chunks: np.ndarray, head_size: int, sparsity: float, out: Path) -> dict[str, Any]:
    """Write ``out``, without this share of the neurons; ``declined`` are the ways that took nothing."""
    import onnx
    import onnxsim

    model = onnx.load(path)
    shapes = {each.name: [dim.dim_value for dim in each.type.tensor_type.shape.dim] for each in model.graph.input}
    batches = [feeds(shapes, head_size, ids) for ids in chunks[:FEW]]
    ways: dict[str, Callable[[], Any]] = {
        "structured Wanda": lambda: onnxsim.apply_structured_wanda_pruning(model, batches, sparsity=sparsity),
        "attention heads": lambda: onnxsim.apply_attention_head_pruning(model, sparsity=sparsity),
        "blocks": lambda: onnxsim.apply_transformer_block_pruning(model, batches, sparsity=sparsity),
    }
    whole = onnx_parameters(path)
    declined = [name for name, way in ways.items() if onnx_parameters(way()) == whole]
    small = onnxsim.apply_structured_pruning(model, sparsity=sparsity)
    onnx.save(small, out, save_as_external_data=True, location=f"{out.name}.data")
    return {"declined": declined}
