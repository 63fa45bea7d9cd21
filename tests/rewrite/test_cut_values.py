"""Weights of large files are cut when they are read; nobody holds what is left of them."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import onnx
import pytest

from graphprune.analysis.groups import find_groups
from graphprune.axes.infer import infer
from graphprune.ir import lean_file
from graphprune.ir.cut_values import CutValues
from graphprune.ir.export import exported_bytes, to_proto, write
from graphprune.ir.loading import load
from graphprune.ir.model import Model, constants, read_values
from graphprune.rewrite import remove_units
from tests.graphs import residual_mlp

WIDTH = 256


@pytest.fixture
def path(tmp_path: Path) -> Path:
    onnx.save(residual_mlp(2, WIDTH), tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def without(model: Model, *removed: int) -> Model:
    """Without these neurons of every hidden layer."""
    typing = infer(model)
    masks = {g.atom: np.ones(g.size, bool) for g in find_groups(model, typing) if g.kind == "neurons" and g.is_prunable}
    for mask in masks.values():
        mask[list(removed)] = False
    return remove_units(model, typing, masks)


def test_what_is_left_is_read_from_the_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut twice, for a pass may follow another."""
    whole = without(without(load(path), 1, 5, 6), 0, 100)
    monkeypatch.setattr(lean_file, "LEAST_BYTES", 0)
    tracemalloc.start()
    original = load(path)
    before = tracemalloc.get_traced_memory()[0]
    lean = without(without(original, 1, 5, 6), 0, 100)
    held = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    cut = [constant for constant in constants(lean.graph) if isinstance(constant._values, CutValues)]
    assert [constant.name for constant in cut] == ["a0", "b0", "a1", "b1"]
    assert held < 500_000 < sum(constant._values.nbytes for constant in cut) == 4 * WIDTH * (2 * WIDTH - 5) * 4
    assert to_proto(lean).graph.initializer[1] == to_proto(whole).graph.initializer[1]
    for constant, eager in zip(constants(lean.graph), constants(whole.graph), strict=True):
        np.testing.assert_array_equal(read_values(constant, lean.folder), read_values(eager, None))
    files = [path.with_name(name) for name in ("lean.onnx", "whole.onnx")]
    for model, file in zip((lean, whole), files, strict=True):
        write(model, file)
        assert exported_bytes(model) == pytest.approx(file.stat().st_size, rel=0.05)
    assert files[0].read_bytes() == files[1].read_bytes()
