"""On every exported architecture: blocks removed alone where there are few, all at once, and the command itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest

pytest.importorskip("torch", reason="the zoo is exported from torch")

from graphprune.analysis.blocks import Block, find_joins
from graphprune.analysis.sizes import concrete_sizes
from graphprune.data.dataset import Data, load_data
from graphprune.errors import NothingToPrune
from graphprune.ir import export
from graphprune.ir import model as models
from graphprune.rewrite import remove_blocks
from graphprune.rewrite.removal import Removal
from graphprune.runtime.sessions import RuntimeOptions
from graphprune.validation.validate import validate
from tests.command import command
from tests.zoo.entry import Exporter
from tests.zoo.export import CASES, FEW, ZOO

if TYPE_CHECKING:
    from tests.zoo.fixtures import Loaded, Zoo

pytest_plugins = ["tests.zoo.fixtures"]

_REMOVED = 2
"""How many blocks the command is asked to remove."""

every_export = pytest.mark.parametrize(("name", "exporter"), CASES)
every_export_without_blocks = pytest.mark.parametrize(
    ("name", "exporter"), [(name, by) for name, by in CASES if not ZOO[name].removable(by)]
)
every_prunable_export = pytest.mark.parametrize(
    ("name", "exporter"), [(name, by) for name, by in CASES if ZOO[name].removable(by) >= _REMOVED]
)


@every_export
def test_every_block_singly_and_all_at_once(loaded: Loaded, name: str, exporter: Exporter, tmp_path: Path) -> None:
    model, feed = loaded(name, exporter)
    data = load_data(feed, model)
    sizes = concrete_sizes(model, data.first(), RuntimeOptions(threads=1))
    blocks = [join.block for join in find_joins(model, sizes) if join.block]
    assert len(blocks) == ZOO[name].removable(exporter)
    for chosen in ([block] for block in blocks if FEW is None or len(blocks) <= FEW):
        check(model, chosen, data, tmp_path / "one.onnx")
    check(model, blocks, data, tmp_path / "none_left.onnx")


def check(model: models.Model, chosen: list[Block], data: Data, out: Path) -> None:
    """The product's own validation, and what it does not look at: nothing unused is left."""
    small = remove_blocks(model, chosen)
    export.write(small, out)
    result = validate([Removal(model, tuple(chosen))], out, data, 3, RuntimeOptions(threads=1))
    assert result.max_relative_error <= 1e-4
    proto = onnx.load(out)
    read = {name for node in proto.graph.node for name in node.input}
    assert not {tensor.name for tensor in proto.graph.initializer} - read
    assert not [node.name for node in proto.graph.node if node.op_type == "Identity"]


@every_prunable_export
def test_the_command_unchanged(
    zoo: Zoo,
    name: str,
    exporter: Exporter,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Three samples are few, but enough to score, prune, validate and write."""
    path, feed = zoo(name, exporter)
    np.savez(tmp_path / "feed.npz", **feed)  # type: ignore[arg-type]
    out = tmp_path / "small.onnx"
    words = [
        path,
        "--pass",
        "layer-cka{floor=0,skip_first=false}",
        "--target",
        f"removed={_REMOVED}",
        "--data",
        tmp_path / "feed.npz",
    ]
    assert command(monkeypatch, *words, "-o", out, "--no-bench", "--repair", "none") == 0, capsys.readouterr().err
    assert f"asked removed={_REMOVED}, reached {_REMOVED}" in capsys.readouterr().out
    assert len(onnx.load(out).graph.node) < len(onnx.load(path).graph.node)


@every_export_without_blocks
def test_the_command_refuses_what_has_no_blocks(
    zoo: Zoo,
    name: str,
    exporter: Exporter,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path, feed = zoo(name, exporter)
    np.savez(tmp_path / "feed.npz", **feed)  # type: ignore[arg-type]
    out = tmp_path / "small.onnx"
    words = [path, "--pass", "layer-cka", "--target", "removed=1", "--data", tmp_path / "feed.npz", "-o", out]
    assert command(monkeypatch, *words, "--no-bench") == NothingToPrune.exit_code
    assert "no residual block can be removed" in capsys.readouterr().err
    assert not out.exists()
