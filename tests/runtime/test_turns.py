"""Large networks are open one at a time, and say what they say otherwise."""

from __future__ import annotations

import weakref
from pathlib import Path

import numpy as np
import onnx
import pytest

from graphprune.ir import lean_file
from graphprune.runtime.sessions import RuntimeOptions, open_session, run
from graphprune.runtime.turns import Turns
from tests.decoder_graphs import Sizes, fused_decoder
from tests.language_models import language_model
from tests.token_graphs import Shape

OPTIONS = RuntimeOptions(threads=1)
FEEDS = {"input_ids": np.arange(12).reshape(2, 6)}


@pytest.mark.parametrize(("least_bytes", "left_open"), [(1 << 10, False), (1 << 30, True)])
@pytest.mark.parametrize("is_beside", [True, False])
def test_only_large_networks_take_turns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, least_bytes: int, left_open: bool, is_beside: bool
) -> None:
    monkeypatch.setattr(lean_file, "LEAST_BYTES", least_bytes)
    paths = [tmp_path / f"{width}.onnx" for width in (16, 32)]
    for path in paths:
        onnx.save(language_model(Shape(width=int(path.stem))), path, save_as_external_data=is_beside)
    turns = Turns(paths, OPTIONS)
    first = weakref.ref(turns[0])
    expected = [run(open_session(path, OPTIONS), FEEDS)[0] for path in paths]
    for session, wanted in zip(turns, expected, strict=True):
        np.testing.assert_allclose(run(session, FEEDS)[0], wanted, rtol=1e-5, atol=1e-6)
    assert (first() is not None) == left_open


def test_a_lean_session_makes_no_other_weights_of_those_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lean_file, "LEAST_BYTES", 1 << 10)
    path = tmp_path / "model.onnx"
    onnx.save(fused_decoder(Sizes(vocabulary=300)), path, save_as_external_data=True)
    lean, plain = (open_session(path, OPTIONS, is_lean=is_lean).get_session_options() for is_lean in (True, False))
    assert lean.get_session_config_entry("session.disable_prepacking") == "1"
    assert int(lean.get_session_config_entry("optimization.constant_folding_max_output_size_in_bytes")) <= 1 << 20
    assert (lean.enable_cpu_mem_arena, plain.enable_cpu_mem_arena) == (False, True)
