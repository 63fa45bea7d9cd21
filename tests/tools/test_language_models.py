"""tools/figures/language_models.py in small: the rivals' rules, the measure they share, the rows and the table."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.conftest import ROOT, SHARED

FOLDER = str(ROOT / "tools" / "figures")
TINY = SHARED / "models" / "tiny_llama_genai"


@pytest.fixture(scope="module")
def tool() -> Iterator[Callable[[str], Any]]:
    """The modules of the tool by name; scripts find each other in their own folder."""
    sys.path.insert(0, FOLDER)
    yield import_module
    sys.path.remove(FOLDER)


@pytest.fixture(scope="module")
def llama() -> Any:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 96, "num_hidden_layers": 5, "vocab_size": 50}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": True, "initializer_range": 0.3}
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes, **heads)).eval()


@pytest.fixture
def calibration(tool: Callable[[str], Any], tmp_path: Path) -> Any:
    chunks = np.random.default_rng(0).integers(0, 50, (6, 16))
    return tool("language_model_rivals").Calibration(chunks, tmp_path / "moments.npz")


@pytest.mark.parametrize("name", ["ShortGPT", "FLAP", "Wanda-sp", "2SSP"])
def test_each_rival_comes_near_the_share_and_runs(
    tool: Callable[[str], Any], llama: Any, calibration: Any, name: str
) -> None:
    quality, model = tool("language_model_quality"), copy.deepcopy(llama)
    whole, layer = (quality.torch_parameters(module) for module in (llama, llama.model.layers[0]))
    tool("language_model_rivals").RIVALS[name](model, calibration, 0.3)
    step = layer / whole / 2 if name == "ShortGPT" else 0.01
    assert 1 - quality.torch_parameters(model) / whole == pytest.approx(0.3, abs=step)
    assert quality.perplexity(quality.torch_scores(model), calibration.chunks) > 1


def test_flap_loses_nothing_with_neurons_that_always_say_the_same(
    tool: Callable[[str], Any], llama: Any, calibration: Any
) -> None:
    torch, model = pytest.importorskip("torch"), copy.deepcopy(llama)
    seen = calibration.moments(model)
    gone = [row.argsort()[:40] for row in seen.squares]
    with torch.no_grad():
        for layer, which in zip(model.model.layers, gone, strict=True):
            layer.mlp.up_proj.weight[which] = 0  # they say 0
    calibration.kept.unlink()
    quality, cut = tool("language_model_quality"), copy.deepcopy(model)
    share = 5 * 40 * 3 * 32 / quality.torch_parameters(model)
    tool("language_model_rivals").flap(cut, calibration, share)
    widths = [layer.mlp.down_proj.in_features for layer in cut.model.layers]
    assert widths == [56] * 5
    ids = torch.from_numpy(calibration.chunks)
    torch.testing.assert_close(cut(ids).logits, model(ids).logits, rtol=1e-4, atol=1e-4)


def test_a_trial_without_an_attention_is_the_network_without_it(
    tool: Callable[[str], Any], llama: Any, calibration: Any
) -> None:
    torch, rivals = pytest.importorskip("torch"), tool("language_model_rivals")
    found = rivals._without_attention(llama, calibration.chunks[:2], [0, 3])
    for number, loss in found.items():
        model = copy.deepcopy(llama)
        model.model.layers[number].self_attn = rivals.no_attention()
        ids = torch.from_numpy(calibration.chunks[:2])
        wanted = torch.nn.functional.cross_entropy(model(ids).logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
        assert loss / 2 == pytest.approx(wanted.item(), rel=1e-5)


def test_moments_are_taken_once(tool: Callable[[str], Any], llama: Any, calibration: Any) -> None:
    first = calibration.moments(llama)
    again = calibration.moments(None)
    assert again.tokens == first.tokens == 96
    assert np.array_equal(again.turned, first.turned)


def test_guessing_has_the_perplexity_of_the_vocabulary(tool: Callable[[str], Any]) -> None:
    chunks = np.arange(12).reshape(2, 6)
    assert tool("language_model_quality").perplexity(lambda ids: np.zeros((len(ids), 50)), chunks) == pytest.approx(50)


def test_perplexity_is_that_of_the_next_tokens(tool: Callable[[str], Any], llama: Any, calibration: Any) -> None:
    torch, quality = pytest.importorskip("torch"), tool("language_model_quality")
    ids = torch.from_numpy(calibration.chunks)
    wanted = torch.exp(llama(ids, labels=ids).loss).item()
    assert quality.perplexity(quality.torch_scores(llama), calibration.chunks) == pytest.approx(wanted, rel=1e-5)


def test_passes_of_layers_get_a_count_the_others_a_share(tool: Callable[[str], Any]) -> None:
    ours = tool("language_model_ours")
    assert ours.target("layer-angular", 0.2, 8) == "removed=8"
    assert ours.target("filter-obs", 0.2, 8) == "params=0.8"
    assert tool("language_model_quality").layer_count(100, 9, 0.25) == 3


TRAINED = pytest.param("filter-obs, 200 steps", marks=pytest.mark.slow)


@pytest.mark.parametrize("method", ["filter-obs", TRAINED, "layer-angular", "onnxsim", "dense"])
def test_a_row_of_a_decoder_with_a_cache(
    tool: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    if not TINY.exists():
        pytest.skip(f"{TINY} is not there")
    if method == "onnxsim":
        pytest.importorskip("onnxsim")
    chunks = np.random.default_rng(0).integers(0, 500, (4, 32))
    np.savez(tmp_path / "texts.npz", calibration=chunks, wikitext2=chunks[:2], docs=chunks[2:])
    hf = _checkpoint(tmp_path / "hf")
    if method.endswith("steps"):
        pytest.importorskip("torch")
        (tmp_path / "text.txt").write_text(" ".join(f"Step {n * n} of many." for n in range(3000)))
        monkeypatch.setattr(tool("language_model_ours"), "STEPS", 8)
        monkeypatch.setattr(tool("language_model_texts"), "training_text", lambda: tmp_path / "text.txt")
    setting = tool("language_model_row").Setting(hf, TINY, tmp_path / "texts.npz", tmp_path, 1, False)
    share = 0.0 if method == "dense" else 0.2
    row = tool("language_model_row").measured(method, share, setting)
    whole = tool("language_model_quality").checkpoint_parameters(hf)
    layer = tool("language_model_quality").checkpoint_parameters(hf, "model.layers.0.")
    near = {"layer-angular": layer / whole / 2, "dense": 1e-9}.get(method, 0.03)
    assert row["parameters"] / whole == pytest.approx(1 - share, abs=near)
    assert set(row["perplexity"]) == {"wikitext2", "docs"}
    assert row.get("proved") in ({"filter-obs": False, "layer-angular": False}.get(method.partition(",")[0]), None)
    assert row.get("declined") == ({"onnxsim": ["structured Wanda", "attention heads", "blocks"]}.get(method))


def _checkpoint(folder: Path) -> Path:
    """What the tool reads of a transformers folder: sizes."""
    onnx, save = pytest.importorskip("onnx"), pytest.importorskip("safetensors.numpy").save_file
    graph = onnx.load(TINY / "model.onnx", load_external_data=False).graph
    names = {each.name: each.name.replace("lm_head", "model.embed") for each in graph.initializer}
    tensors = {names[each.name]: np.zeros(each.dims, np.float32) for each in graph.initializer if each.data_type == 1}
    folder.mkdir()
    save({name: tensor for name, tensor in tensors.items() if "_cache" not in name}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"head_dim": 16, "num_hidden_layers": 5}))
    return folder


def test_rows_that_are_there_are_not_made_again(tool: Callable[[str], Any], tmp_path: Path) -> None:
    models, path = tool("language_models"), tmp_path / "rows.jsonl"
    rows = [{"method": "dense", "share": 0.0}, *({"method": "FLAP", "share": 0.2, "n": n} for n in (1, 2))]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = models.rows_of(path)
    assert [row.get("n") for row in found] == [None, 2]
    assert list(models.wanted(["FLAP"], [0.2, 0.3], found)) == [("dense, torch", 0.0), ("FLAP", 0.3)]
    assert models.rows_of(tmp_path / "none") == []


def test_a_row_that_takes_too_long_says_so(tool: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    models = tool("language_models")
    monkeypatch.setattr(sys, "argv", ["-c", "import time; time.sleep(60)"])
    assert models._in_a_process("FLAP", 0.2, 0.005) == {"unfinished": "not finished in 0.005 minutes"}
    monkeypatch.setattr(models.subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=3))
    assert models._in_a_process("FLAP", 0.2, 1) == {"unfinished": "exit code 3"}


def _row(method: str, share: float, wikitext2: float, docs: float, **more: Any) -> dict[str, Any]:
    parameters = round(1e6 * (1 - share))
    return {
        "method": method,
        "share": share,
        "parameters": parameters,
        "perplexity": {"wikitext2": wikitext2, "docs": docs},
        **more,
    }


def test_the_table_says_whether_the_goals_are_reached(tool: Callable[[str], Any]) -> None:
    rows = [
        _row("dense", 0.0, 20, 40),
        _row("filter-obs", 0.2, 30, 90, processor_seconds=700.4, peak_mib=1234, repair="walk", proved=False),
        _row("FLAP", 0.2, 40, 80),
        _row("ShortGPT", 0.2, 90, 95),
        {"method": "FLAP", "share": 0.3, "unfinished": "not finished in 60 minutes"},
    ]
    lines = tool("language_model_table").markdown(rows).splitlines()
    assert "| `filter-obs` | 30.0, 90.0 |  |" in lines
    assert "| FLAP | 40.0, 80.0 | not finished in 60 minutes |" in lines
    assert "| 20 % | `filter-obs` 30.00 | FLAP 40.00 | 0.75 | yes | 40 | yes |" in lines
    facts = "| `filter-obs` | 20 % | 800,000 (80.0 %) | 30.00 | 1.50 | 90.00 | 2.25 | 1.50 | 700 | 1,234 | walk | no |"
    assert facts in lines
    worse = [rows[0], _row("filter-obs", 0.2, 41, 90), rows[2]]
    assert "| 20 % | `filter-obs` 41.00 | FLAP 40.00 | 1.02 | no | 40 | no |" in tool("language_model_table").markdown(
        worse
    )


def test_the_speed_table_gives_both_phases_with_intervals(tool: Callable[[str], Any]) -> None:
    row = {"kind": "layers", "amount": 6.0, "precision": "int4", "left": 0.842, "prompt": 16, "new": 64}
    row |= {"tokens_per_s": [40.0, 50.0], "speed_up": [1.25, 1.2, 1.3]}
    row |= {"first_token_ms": [100.4, 80.0], "first_token_speed_up": [1.255, 1.1, 1.4]}
    lines = tool("language_model_speed").markdown([row]).splitlines()
    assert lines[1] == "|---" * 8 + "|"
    assert lines[2] == (
        "| 6 layers | 84.2 % | int4 | 16, 64 | 40.0, 50.0 | 1.25x (1.20 to 1.30) | 100, 80 | 1.25x (1.10 to 1.40) |"
    )
