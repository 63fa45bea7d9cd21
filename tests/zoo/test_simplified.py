"""Exports that went through a simplifier, a newer opset or ONNX Runtime's optimiser are cut like any other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import onnx
import pytest

pytest.importorskip("torch", reason="the zoo is exported from torch")

from tests.zoo import export as exports
from tests.zoo.entry import Exporter
from tests.zoo.survey import survey

if TYPE_CHECKING:
    from tests.zoo.fixtures import Zoo

pytest_plugins = ["tests.zoo.fixtures"]

pytestmark = pytest.mark.slow

every_export = pytest.mark.parametrize(("name", "exporter"), [("resnet_v1_pad", "torchscript"), ("llama", "dynamo")])


@every_export
def test_onnxslim(zoo: Zoo, name: str, exporter: Exporter, tmp_path: Path) -> None:
    onnxslim = pytest.importorskip("onnxslim", reason="it makes the file")
    path, feed = zoo(name, exporter)
    onnxslim.slim(str(path), str(tmp_path / "slim.onnx"))
    found = survey(tmp_path / "slim.onnx", feed)
    assert not found.failures
    assert found.prunable == survey(path, feed).prunable


@every_export
def test_onnxsim(zoo: Zoo, name: str, exporter: Exporter) -> None:
    onnxsim = pytest.importorskip("onnxsim", reason="it makes the file")
    path, feed = zoo(name, exporter)
    proto, _ = onnxsim.simplify(str(path))
    found = survey(proto, feed)
    assert not found.failures
    assert found.prunable == survey(path, feed).prunable


def test_attention_operator(zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opset 23 has attention as one operator; its heads are found as in the decomposed form."""
    path, feed = zoo("vit_sdpa", "dynamo")
    monkeypatch.setitem(exports.OPSETS, "dynamo", 23)
    newer, _ = exports.export("vit_sdpa", "dynamo", tmp_path)
    assert "Attention" in {node.op_type for node in onnx.load(newer).graph.node}
    found = survey(newer, feed)
    assert not found.failures
    assert found.prunable == survey(path, feed).prunable


@pytest.mark.parametrize(
    ("name", "kind", "exporter", "kept_back"),
    [("bert", "bert", "torchscript", 4), ("bert", "bert", "dynamo", 0), ("gpt2", "gpt2", "dynamo", 0)],
)
def test_fused_for_onnxruntime(
    zoo: Zoo, name: str, kind: str, exporter: Exporter, kept_back: int, tmp_path: Path
) -> None:
    """Embeddings, skip-norms, attention and activations fused into operators of the contrib domain.

    The fused attention holds the depth of its heads: two groups in each of two layers are kept back.
    """
    optimizer = pytest.importorskip("onnxruntime.transformers.optimizer", reason="it makes the file")
    path, feed = zoo(name, exporter)
    fused = tmp_path / "fused.onnx"
    optimizer.optimize_model(str(path), model_type=kind, num_heads=4, hidden_size=32, opt_level=0).save_model_to_file(
        str(fused)
    )
    assert "com.microsoft" in {node.domain for node in onnx.load(fused).graph.node}
    found = survey(fused, feed, with_blocks=False)
    assert not found.failures
    assert found.prunable == survey(path, feed, with_blocks=False).prunable - kept_back
