"""Small mixtures of transformers: pruned as ONNX, cut in their own files, loaded again, and their logits compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import graphprune
from graphprune.pipeline.apply_hf import apply_hf
from graphprune.run.options import RecoveryOptions, RunOptions, TimingOptions
from tests.hf_checkpoint.folders import read
from tools.checks.decoders import FAMILIES, build, export_plain

pytest.importorskip("safetensors", reason="the checkpoint's files are safetensors")
torch = pytest.importorskip("torch", reason="transformers runs on PyTorch")
transformers = pytest.importorskip("transformers", reason="saves and loads the checkpoint")
pytest.importorskip("tokenizers", reason="the folder has a tokenizer")
pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("name", "key"), [("mixtral", "num_local_experts"), ("qwen2_moe", "num_experts")])
def test_transformers_computes_what_the_cut_file_does(tmp_path: Path, name: str, key: str) -> None:
    """The folder as ``save_pretrained`` leaves it, and the same with the experts stacked as they are in memory."""
    (family,) = (each for each in FAMILIES if each.name == name)
    folder = tmp_path / "hf"
    build(family, folder)
    model = export_plain(folder, tmp_path / "onnx")
    ids = np.random.default_rng(0).integers(0, 200, (8, 6))
    past = {
        f"past_key_values.{i}.{kind}": np.zeros((8, 2, 0, 16), np.float32)
        for i in range(2)
        for kind in ("key", "value")
    }
    samples = {"input_ids": ids, "attention_mask": np.ones_like(ids), **past}
    options = RunOptions(align=1, timing=TimingOptions(measure_latency=False), recovery=RecoveryOptions(repair=()))
    plan = graphprune.prune(model, "expert-use", samples, "ratio=0.25", tmp_path / "s.onnx", options=options).plan
    assert [len(units.removed) for units in plan.units] == [1, 1]

    result = apply_hf(plan, folder, tmp_path / "out", model=model)
    assert result.difference is not None and result.difference < 1e-5
    small = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert getattr(small.config, key) == 3
    assert result.parameters[1] == sum(tensor.numel() for tensor in small.state_dict().values())

    module = transformers.AutoModelForCausalLM.from_pretrained(folder)
    stacked = tmp_path / "stacked"
    module.save_pretrained(stacked, save_original_format=False)
    assert any(values.ndim == 3 for values in read(stacked).values())
    result = apply_hf(plan, stacked, tmp_path / "out-stacked", model=model)
    assert result.difference is not None and result.difference < 1e-5
