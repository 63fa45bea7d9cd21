"""The replay must be able to fail, and must not fail for the time of day."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools.checks.replay import compare
from tools.checks.replay_texts import Cleaner

CLOCK = Path(__file__).parent.parent.parent / "tools" / "checks" / "replay_clock"
TIMING = """
import time
import numpy as np
from onnx import parser
import onnxruntime
def ticks(width):
    model = parser.parse_model('<ir_version: 8, opset_import: ["" : 17]> graph (float[1] x) => (float[1] y) '
        f'<float[{width}] w = {{ {", ".join(["1.0"] * width)} }}> {{ a = ReduceSum(w) y = Add(x, a) }}')
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    began, began_ns = time.perf_counter(), time.perf_counter_ns()
    time.sleep(0.01)
    session.run(None, {"x": np.ones(1, np.float32)})
    return (time.perf_counter() - began) * 512, (time.perf_counter_ns() - began_ns) * 512 / 1e9
print(*ticks(10), *ticks(128))
"""


def _records(tmp_path: Path, **logs: str) -> list[Path]:
    """A record of one case for each log."""
    for name, log in logs.items():
        (tmp_path / name / "case").mkdir(parents=True)
        (tmp_path / name / "case" / "log.txt").write_text(log)
    return [tmp_path / name for name in logs]


def test_a_changed_word_is_a_difference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b, c = _records(tmp_path, a="exit code 0\nkept 3\n", b="exit code 0\nkept 4\n", c="exit code 0\nkept 3\n")
    assert compare(a, c) == 0
    assert compare(a, b) == 1
    printed = capsys.readouterr().out
    assert "-kept 3" in printed
    assert "+kept 4" in printed


def test_a_missing_file_and_a_missing_case_are_differences(tmp_path: Path) -> None:
    a, b = _records(tmp_path, a="one\n", b="one\n")
    (a / "case" / "plan.json.txt").write_text("")
    assert compare(a, b) == 1
    (a / "other").mkdir()
    (a / "other" / "log.txt").write_text("two\n")
    assert compare(a, b) == 2


def test_nothing_to_compare_is_no_success(tmp_path: Path) -> None:
    a, b = _records(tmp_path, a="one\n", b="one\n")
    assert compare(a, b, only="nothing*") == 1


def test_durations_and_places_are_left_out_and_scores_are_not() -> None:
    cleaner = Cleaner({"/home/me/checkout": "<checkout>"})
    assert cleaner.text("in 1.5 s at /home/me/checkout/x, 0.25") == "in <time> s at <checkout>/x, 0.25"
    assert cleaner.text('# result\n "repair_seconds": 3.2,\n "score": 0.5\n') == '# result\n "score": 0.5\n'
    assert cleaner.output('{"seconds": 3.2, "score": 0.5, "inner": [{"cpu_mhz": 2000}]}').split() == (
        ["{", '"score":', "0.5,", '"inner":', "[", "{}", "]", "}"]
    )


@pytest.mark.parametrize("caller", ["graphprune.some.room", "torch"])
def test_only_sessions_move_the_clock_and_only_graphprune_sees_it(caller: str) -> None:
    pytest.importorskip("onnxruntime")
    code = f"exec({TIMING!r}, {{'__name__': {caller!r}}})"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(CLOCK)},
        text=True,
        capture_output=True,
        check=True,
    )
    ticks = [float(word) for word in done.stdout.split()]
    if caller == "torch":
        assert min(ticks) > 5
    else:
        assert ticks == [2, 2, 4, 4]
