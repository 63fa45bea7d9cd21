"""Places where nothing can or may be written."""

from __future__ import annotations

import os
from pathlib import Path

import onnx

from tests.bad_inputs.case import Case
from tests.bad_inputs.models import external

INSPECT = "inspect model.onnx --data calib.npz --no-bench"
APPLY = "apply model.onnx plan.json --data calib.npz --no-bench"
END = "--data calib.npz --no-bench -o out.onnx"


def linked(folder: Path) -> None:
    (folder / "link.onnx").symlink_to("model.onnx")
    (folder / "sub").mkdir()
    (folder / "here").symlink_to(".")
    (folder / "hard.onnx").hardlink_to(folder / "model.onnx")


def data_named_like_output(folder: Path) -> None:
    """The model's weights lie in out.onnx.data, which writing out.onnx would replace."""
    external("out.onnx.data")(folder)
    (folder / "weights.bin").rename(folder / "out.onnx.data")
    onnx.checker.check_model(str(folder / "model.onnx"))


def old_output(folder: Path) -> None:
    (folder / "out.onnx").write_bytes(b"the model of yesterday")


CASES = [
    Case("output is the input", 1, "input file itself", output="model.onnx"),
    Case("output is the input by a link", 1, "input file itself", linked, output="link.onnx"),
    Case("output is the input by a folder's link", 1, "input file itself", linked, output="here/model.onnx"),
    Case("output is the input by another spelling", 1, "input file itself", linked, output="./sub/../model.onnx"),
    Case("output in a missing folder", 1, "does not exist", output="nowhere/out.onnx"),
    Case("output is a folder", 1, "is a folder", lambda f: (f / "out.onnx").mkdir()),
    Case("output below a file", 1, "does not exist|not a folder", output="calib.npz/out.onnx"),
    Case("output folder not writable", 1, "cannot write|not writable", output="/proc/out.onnx"),  # not even by root
    Case("output is a pipe", 1, "regular file", lambda f: os.mkfifo(f / "out.onnx")),
    Case("output is the data", 1, "calib.npz", output="calib.npz"),
    Case("output is the evaluation data", 1, "calib.npz", data=None, output="calib.npz", extra="--eval calib.npz"),
    Case("output is the external data", 1, "weights.bin", external("weights.bin"), output="weights.bin"),
    Case("output's data file is the input's", 1, "out.onnx.data", data_named_like_output),
    Case("output name too long", 1, "name", output="o" * 300 + ".onnx"),
    Case("old output survives a failure", 4, "cannot be reached", old_output, target="removed=99"),
    Case("plan is the input", 1, "input file itself", extra="--plan-out model.onnx"),
    Case("plan is the input by a hard link", 1, "input file itself", linked, extra="--plan-out hard.onnx"),
    Case("plan is the output", 1, "out.onnx", extra="--plan-out out.onnx"),
    Case("plan in a missing folder", 1, "does not exist", extra="--plan-out nowhere/plan.json"),
    Case("plan cannot be written", 1, "No space|cannot write", extra="--plan-out /dev/full"),
    Case("plan-out is a folder", 2, "plan-out", lambda f: (f / "p").mkdir(), extra="--plan-out p"),
    Case("json is the input", 1, "input file itself", extra="--json model.onnx"),
    Case("json is the output", 1, "out.onnx", extra="--json out.onnx"),
    Case("json cannot be written", 1, "No space|cannot write", extra="--json /dev/full"),
    Case("inspect: json is the input", 1, "input file itself", line=f"{INSPECT} --json model.onnx"),
    Case("inspect: json in a missing folder", 1, "nowhere", line=f"{INSPECT} --json nowhere/i.json"),
    Case("apply: json is the input", 1, "input file itself", line=f"{APPLY} -o out.onnx --json model.onnx"),
    Case("apply: output is the plan", 1, "plan.json", line=f"{APPLY} -o plan.json"),
    Case(
        "bench: json is the input",
        1,
        "input file itself",
        linked,
        line="bench model.onnx hard.onnx --data calib.npz --duration 0 --json model.onnx",
    ),
]
