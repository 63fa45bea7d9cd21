from __future__ import annotations

from pathlib import Path

import numpy as np

from graphprune.hf_checkpoint.cut import Weights, cut_tensors
from graphprune.hf_checkpoint.places import Finder, Place, kept_rows, likeliest
from graphprune.hf_checkpoint.tensors import Checkpoint
from tests.hf_checkpoint.folders import save


def test_a_tensor_is_found_whole_turned_and_as_a_range() -> None:
    generator = np.random.default_rng(0)
    packed, plain = generator.normal(size=(6, 10)).astype(np.float32), generator.normal(size=(4, 3)).astype(np.float32)
    finder = Finder({"packed": packed, "plain": plain, "bias": np.arange(5, dtype=np.float32)})
    assert finder.places(plain) == [Place("plain", False, False, 0, 4), Place("plain", True, True, 0, 3)]
    assert Place("plain", False, True, 0, 4) in finder.places(np.ascontiguousarray(plain.T))
    assert finder.places(np.ascontiguousarray(packed[:, 4:7].T)) == [Place("packed", True, False, 4, 7)]
    assert finder.places(np.arange(2, 4, dtype=np.float32)) == [Place("bias", False, False, 2, 4)]
    assert finder.places(plain + 1) == []


def test_of_several_the_name_that_is_nearest() -> None:
    places = [Place(f"model.layers.{i}.norm.weight", False, False, 0, 4) for i in range(3)]
    assert likeliest("model.layers.1.norm.weight", places) == [places[1]]


def test_rows_that_are_left() -> None:
    full = np.array([[1.0], [2.0], [2.0], [3.0]])
    kept = kept_rows(full, np.array([[2.0], [3.0]]))
    assert kept is not None and kept.tolist() == [1, 3]
    assert kept_rows(full, np.array([[3.0], [2.0]])) is None


def test_query_key_and_value_out_of_one_weight(tmp_path: Path) -> None:
    """Two groups of two heads of four; the first group goes from a weight that a repair then changed."""
    generator = np.random.default_rng(0)
    packed = generator.normal(size=(6, 16 + 8 + 8)).astype(np.float32)
    kept = [*range(8, 16), *range(20, 24), *range(28, 32)]
    parts = {"q": packed[:, :16], "k": packed[:, 16:24], "v": packed[:, 24:]}
    tensors = {f"h.0.{name}.weight": np.ascontiguousarray(part.T) for name, part in parts.items()}
    checkpoint = Checkpoint.of(save(tmp_path / "hf", tensors))
    after = packed[:, kept] * np.float32(2)
    cut = cut_tensors(checkpoint, Weights({"qkv": packed}, {"qkv": packed[:, kept]}, {"qkv": after}))
    assert np.array_equal(cut.values["h.0.q.weight"], after[:, :8].T)
    assert np.array_equal(cut.values["h.0.k.weight"], after[:, 8:12].T)
    assert np.array_equal(cut.values["h.0.v.weight"], after[:, 12:].T)
