"""A small Llama of transformers: pruned as ONNX, cut in its own files, loaded again, and its logits compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import graphprune
from graphprune.errors import PlanError, ValidationFailed
from graphprune.hf_checkpoint import proof
from graphprune.ir.loading import load
from graphprune.pipeline.apply_hf import apply_hf, cut_folder
from graphprune.run.options import RecoveryOptions, RunOptions, TimingOptions
from tests.decoder_graphs import Sizes, fused_decoder
from tests.model_folder.by_hand import named

pytest.importorskip("safetensors", reason="the checkpoint's files are safetensors")
torch = pytest.importorskip("torch", reason="transformers runs on PyTorch")
transformers = pytest.importorskip("transformers", reason="saves and loads the checkpoint")
pytestmark = pytest.mark.slow

SIZES = Sizes(layers=3, heads=6, kv_heads=3, depth=16, neurons=40, width=96)
_PARTS = {"o": "self_attn.o_proj", "gate": "mlp.gate_proj", "up": "mlp.up_proj", "down": "mlp.down_proj"}


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a checkpoint, and the same network as ``model.onnx``."""
    config = transformers.LlamaConfig(
        vocab_size=SIZES.vocabulary,
        hidden_size=SIZES.width,
        intermediate_size=SIZES.neurons,
        num_hidden_layers=SIZES.layers,
        num_attention_heads=SIZES.heads,
        num_key_value_heads=SIZES.kv_heads,
        max_position_embeddings=SIZES.positions,
        rms_norm_eps=1e-5,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    torch.manual_seed(0)
    module = transformers.LlamaForCausalLM(config)
    folder = tmp_path_factory.mktemp("llama")
    module.save_pretrained(folder)
    state = {name: tensor.detach().numpy() for name, tensor in module.state_dict().items()}
    onnx.save(as_onnx(state), str(folder / "model.onnx"))
    return folder


def as_onnx(state: dict[str, np.ndarray], sizes: Sizes = SIZES) -> onnx.ModelProto:
    """The network as onnxruntime-genai's builder would write it."""
    weights = {"embedding": state["model.embed_tokens.weight"], "head": state["lm_head.weight"].T}
    for i in range(sizes.layers):
        layer = f"model.layers.{i}."
        weights |= {f"{part}{i}": state[f"{layer}{name}.weight"].T for part, name in _PARTS.items()}
        weights[f"qkv{i}"] = np.concatenate([state[f"{layer}self_attn.{each}_proj.weight"].T for each in "qkv"], axis=1)
        weights[f"norm{i}"] = state[f"{layer}input_layernorm.weight"]
        weights[f"post{i}"] = state[f"{layer}post_attention_layernorm.weight"]
    weights[f"norm{sizes.layers}"] = state["model.norm.weight"]
    proto = named(fused_decoder(sizes))
    for tensor in proto.graph.initializer:
        if tensor.name in weights:
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(weights[tensor.name]), tensor.name))
    return proto


def samples() -> dict[str, np.ndarray]:
    ids = np.random.default_rng(0).integers(0, SIZES.vocabulary, (16, 8))
    names = [f"past_key_values.{i}.{kind}" for i in range(SIZES.layers) for kind in ("key", "value")]
    past = {name: np.zeros((16, SIZES.kv_heads, 0, SIZES.depth), np.float32) for name in names}
    return {"input_ids": ids, "attention_mask": np.ones_like(ids), **past}


def pruned(llama: Path, spec: str, target: str, output: Path, repair: Any = ()) -> graphprune.Result:
    options = RunOptions(align=1, timing=TimingOptions(measure_latency=False), recovery=RecoveryOptions(repair=repair))
    return graphprune.prune(llama / "model.onnx", spec, samples(), target, output, options=options)


def test_the_plan_alone(llama: Path, tmp_path: Path) -> None:
    plan = pruned(llama, "neuron-projection{scope=group}", "ratio=0.25", tmp_path / "small.onnx").plan
    result = apply_hf(plan, llama, tmp_path / "out")
    assert result.difference is not None and result.difference < 1e-5
    module = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert module.config.intermediate_size == 30
    assert result.parameters[1] == sum(tensor.numel() for tensor in module.state_dict().values())


def test_repaired_weights_come_from_the_pruned_file(llama: Path, tmp_path: Path) -> None:
    small = tmp_path / "small.onnx"
    plan = pruned(llama, "neuron-projection{scope=group}", "ratio=0.5", small, ("stats",)).plan
    result = apply_hf(plan, llama, tmp_path / "out", pruned=small)
    assert result.difference is not None and result.difference < 1e-5


@pytest.mark.parametrize("spec", ["filter-obs", "allocate", "neuron-projection", "filter-magnitude"])
def test_layers_that_stay_alike_are_taken(llama: Path, tmp_path: Path, spec: str) -> None:
    """Walked and repaired, with whole layers where the pass takes any."""
    small = tmp_path / "small.onnx"
    plan = pruned(llama, f"{spec}{{shape=uniform}}", "params=0.85", small, None).plan
    assert plan.repair
    result = apply_hf(plan, llama, tmp_path / "out", pruned=small)
    assert result.difference is not None and result.difference < 1e-5
    module = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert module.config.num_hidden_layers == result.layers[1]
    assert result.parameters[1] < result.parameters[0]


def test_layers_that_differ_are_refused(llama: Path, tmp_path: Path) -> None:
    plan = pruned(llama, "neuron-projection{scope=global,include=*0*}", "ratio=0.25", tmp_path / "small.onnx").plan
    with pytest.raises(PlanError, match="differs from layer to layer"):
        apply_hf(plan, llama, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_other_logits_leave_nothing(llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = pruned(llama, "neuron-projection{scope=group}", "ratio=0.25", tmp_path / "small.onnx").plan
    monkeypatch.setattr(proof, "_TOLERANCE", {4: 0.0})
    with pytest.raises(ValidationFailed, match="logits differ"):
        apply_hf(plan, llama, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_kv_group_less(llama: Path, tmp_path: Path) -> None:
    """Cut by hand: the second group, with its two query heads, from every layer."""
    depth, heads = SIZES.depth, [0, 1, 4, 5]
    query = [head * depth + at for head in heads for at in range(depth)]
    keys = [group * depth + at for group in (0, 2) for at in range(depth)]
    packed = [*query, *(96 + key for key in keys), *(144 + key for key in keys)]
    whole = onnx.load(str(llama / "model.onnx"))
    small = named(fused_decoder(Sizes(layers=3, heads=4, kv_heads=2, depth=depth, neurons=40, width=48)))
    weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in whole.graph.initializer}
    for tensor in small.graph.initializer:
        values = weights[tensor.name]
        values = values[:, packed] if tensor.name.startswith("qkv") else values
        values = values[query] if tensor.name in ("o0", "o1", "o2") else values
        tensor.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(values), tensor.name))
    cut = load(small)
    result = cut_folder(llama, tmp_path / "out", load(llama / "model.onnx"), cut, cut)
    assert result.difference is not None and result.difference < 1e-5
    config = transformers.AutoConfig.from_pretrained(tmp_path / "out")
    assert (config.num_attention_heads, config.num_key_value_heads, config.head_dim) == (4, 2, 16)


def test_a_layer_less(llama: Path, tmp_path: Path) -> None:
    whole = onnx.load(str(llama / "model.onnx"))
    small = named(fused_decoder(Sizes(layers=2, heads=6, kv_heads=3, depth=16, neurons=40, width=96)))
    weights = {tensor.name: tensor for tensor in whole.graph.initializer}
    old = {"0": "0", "1": "2", "2": "3"}
    for tensor in small.graph.initializer:
        last = tensor.name[-1]
        tensor.CopyFrom(weights[tensor.name[:-1] + old[last] if last in old else tensor.name])
    for node in small.graph.node:  # the weights keep the names that they had in the file
        node.input[:] = [name[:-1] + old[name[-1]] if name in WEIGHTS_OF_LAYERS else name for name in node.input]
    cut = load(small)
    result = cut_folder(llama, tmp_path / "out", load(llama / "model.onnx"), cut, cut)
    assert result.layers == (3, 2) and result.difference is not None and result.difference < 1e-5


WEIGHTS_OF_LAYERS = {f"{part}{i}" for part in ("qkv", "o", "gate", "up", "down", "norm", "post") for i in range(3)}
