"""Sessions as they are opened for work, and for timing."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from graphprune.runtime.sessions import RuntimeOptions, open_session
from tests.graphs import residual_mlp


def test_only_what_is_timed_waits_busily(tmp_path: Path) -> None:
    """Elsewhere threads that spin take the cores from NumPy, and from whoever else is on the machine."""
    path = tmp_path / "net.onnx"
    onnx.save(residual_mlp(2), path)
    entry = "session.intra_op.allow_spinning"
    quiet = open_session(path, RuntimeOptions(threads=2)).get_session_options()
    busy = open_session(path, RuntimeOptions(threads=2), spins=True).get_session_options()
    assert quiet.get_session_config_entry(entry) == "0"
    with pytest.raises(RuntimeError):  # the runtime's own habit
        busy.get_session_config_entry(entry)
    # two that are timed in turn: after its run the one must not keep the cores from the other
    assert busy.get_session_config_entry("session.force_spinning_stop") == "1"
