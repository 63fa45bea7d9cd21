"""``amp`` on a grouped-query Llama of over 100 million random parameters:
time and peak memory against the model's size.

python tools/figures/bench_amp.py --folder build/llama
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

LAYERS, HIDDEN, INNER, HEADS, KV_HEADS, VOCABULARY = 12, 768, 2560, 12, 4, 16_000
LENGTH, PROMPTS = 64, 16


def export(path: Path) -> None:
    """Write the model, and prompts of random tokens beside it."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    kind: Any = LlamaConfig  # takes options that its signature does not declare
    config = kind(
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        intermediate_size=INNER,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS,
        max_position_embeddings=256,
        use_cache=False,
        attn_implementation="eager",
    )
    torch.manual_seed(0)
    model: Any = LlamaForCausalLM(config).eval()

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
            Logits(),
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
    tokens = np.random.default_rng(0).integers(0, VOCABULARY, (PROMPTS, LENGTH))
    np.savez(path.with_suffix(".npz"), input_ids=tokens)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--target", default="params=0.7")
    parser.add_argument("--spec", default="amp")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    path = options.folder / "llama.onnx"
    if not path.exists():
        export(path)
    model_bytes = sum(file.stat().st_size for file in options.folder.glob("llama.onnx*"))
    out = options.folder / "small.onnx"
    words = [
        sys.executable,
        "-m",
        "graphprune",
        str(path),
        "--pass",
        options.spec,
        "--target",
        options.target,
        "--data",
        str(path.with_suffix(".npz")),
        "--batch-size",
        "4",
        "--no-bench",
        "-o",
        str(out),
    ]
    started = time.perf_counter()
    process = subprocess.Popen(words)
    _, status, usage = os.wait4(process.pid, 0)
    print(
        f"exit {os.waitstatus_to_exitcode(status)}, {time.perf_counter() - started:.1f} s, model "
        f"{model_bytes / 2**20:.0f} MiB, "
        f"peak {usage.ru_maxrss / 1024:.0f} MiB = {usage.ru_maxrss * 1024 / model_bytes:.2f} x the model"
    )


if __name__ == "__main__":
    main()
