"""Calibration and evaluation data that do not fit."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.bad_inputs.case import Case
from tests.bad_inputs.models import CHANNELS, CLASSES, SIZE, arrays, edited, residual, samples, save, text

TWO_INPUTS = text("g (float[N,4] a, float[N,4] b) => (float[N,4] y) { c = Add(a, b) d = Tanh(c) y = Add(c, d) }")
TOKENS = text("g (int64[N,4] ids) => (float[N,4] y) { a = Cast<to = 1>(ids) b = Tanh(a) y = Add(a, b) }")
PARTS_OF_11 = text("g (float[N,L] x) => (float[M,11,5] y) <int64[3] s = {-1, 11, 5}> { r = Relu(x) y = Reshape(r, s) }")
PARTS = np.full((16, 4), 0.5, np.float32)
X = samples()


def script(body: str) -> Callable[[Path], object]:
    """A data script; ``x`` are valid inputs."""
    head = f"import numpy as np\nx = np.zeros((16, {CHANNELS}, {SIZE}, {SIZE}), np.float32)\n"
    return lambda folder: (folder / "data.py").write_text(head + body)


def both(*arrangements: Callable[[Path], object]) -> Callable[[Path], object]:
    return lambda folder: [arrange(folder) for arrange in arrangements]


def npy(array: np.ndarray) -> Callable[[Path], object]:
    return lambda folder: np.save(folder / "bad.npy", array)


def corrupt(folder: Path) -> None:
    """A deflated .npz with wrong bytes in the middle; the directory at the end is intact."""
    np.savez_compressed(folder / "bad.npz", x=X)
    data = bytearray((folder / "bad.npz").read_bytes())
    data[2000:4000] = bytes(2000)
    (folder / "bad.npz").write_bytes(data)


def cut_off(folder: Path) -> None:
    (folder / "bad.npz").write_bytes((folder / "calib.npz").read_bytes()[:5000])


def not_numpy(folder: Path) -> None:
    with zipfile.ZipFile(folder / "bad.npz", "w") as archive:
        archive.writestr("x.npy", b"no array")


def spoilt(value: float) -> np.ndarray:
    array = X.copy()
    array[3, 0, 0, 0] = value
    return array


CASES = [
    Case("data missing", 1, "no data file nowhere.npz", data="nowhere.npz"),
    Case("data name too long", 1, "name too long", data="d" * 300 + ".npz"),
    Case("data is text", 1, "is no data graphprune reads", lambda f: (f / "bad.csv").write_text("1,2"), data="bad.csv"),
    Case("npz is text", 1, "cannot be read", lambda f: (f / "bad.npz").write_text("1,2"), data="bad.npz"),
    Case("npz cut off", 1, "cannot be read", cut_off, data="bad.npz"),
    Case("npz corrupt", 1, "cannot be read", corrupt, data="bad.npz"),
    Case("npz of no arrays", 1, "cannot be read", not_numpy, data="bad.npz"),
    Case("npz pickled", 1, "pickled", arrays(x=np.array([{"a": 1}, None], dtype=object)), data="bad.npz"),
    Case("npy pickled", 1, "pickle", npy(np.array([{"a": 1}, None], dtype=object)), data="bad.npy"),
    Case("npz empty", 1, "no arrays", lambda f: np.savez(f / "bad.npz"), data="bad.npz"),
    Case("npy of one number", 1, "sample axis", npy(np.array(1, np.float32)), data="bad.npy"),
    Case("npz of one number", 1, "sample axis", arrays(x=np.float32(1)), data="bad.npz"),
    Case("npy without samples", 1, "less than one sample", npy(X[:0]), data="bad.npy"),
    Case("npz without samples", 1, "less than one sample", arrays(x=X[:0]), data="bad.npz"),
    Case("one sample", 1, "sample", arrays(x=X[:1]), data="bad.npz"),
    Case("equal samples", 1, "equal|same|differ|vary|constant", arrays(x=np.repeat(X[:1], 16, 0)), data="bad.npz"),
    Case("debiased with 3 samples", 1, "sample", arrays(x=X[:3]), data="bad.npz", spec="layer-cka{debiased=true}"),
    Case("debiased with halves of 3", 1, "sample", arrays(x=X[:6]), data="bad.npz", spec="layer-cka{debiased=true}"),
    Case("less than the fixed batch", 1, "batch of 32", edited(lambda model: None, batch=32)),
    Case(
        "wrong names", 1, "no array for input 'a'.*holds 'p', 'q'", both(TWO_INPUTS, arrays(p=X, q=X)), data="bad.npz"
    ),
    Case("one of two inputs", 1, "no array for input 'b'", both(TWO_INPUTS, arrays(a=X[:, :4, 0, 0])), data="bad.npz"),
    Case("one npy for two inputs", 1, "has 1 arrays, the model 2", both(TWO_INPUTS, npy(X)), data="bad.npy"),
    Case("text for floats", 1, "<U.*wants 'x' float32", arrays(x=X.astype(str)), data="bad.npz"),
    Case(
        "parts for ids",
        1,
        "float32.*wants 'ids' int64.*not be the same",
        both(TOKENS, arrays(ids=PARTS)),
        data="bad.npz",
    ),
    Case("wrong rank", 1, r"\[16, 8, 36\].*wants 'x'", arrays(x=X.reshape(16, 8, 36)), data="bad.npz"),
    Case("wrong shape", 1, r"\[16, 6, 6, 8\].*wants 'x'", arrays(x=X.transpose(0, 2, 3, 1).copy()), data="bad.npz"),
    Case("NaN", 1, "NaN or infinity", arrays(x=spoilt(np.nan)), data="bad.npz"),
    Case("infinity", 1, "NaN or infinity", arrays(x=spoilt(np.inf)), data="bad.npz"),
    Case("different counts", 1, "number of samples.*x: 16, labels: 3", arrays(x=X, labels=[0, 1, 2]), data="bad.npz"),
    Case("eval missing", 1, "no data file nowhere.npz", extra="--eval nowhere.npz"),
    Case("eval labels too few", 1, "number of samples", arrays(x=X, y=[1, 2]), extra="--eval bad.npz"),
    Case("eval labels of float", 1, "labels.*float64", arrays(x=X, labels=np.ones(16)), extra="--eval bad.npz"),
    Case("eval labels of no class", 1, "label", arrays(x=X, y=np.full(16, CLASSES)), extra="--eval bad.npz"),
    Case("eval NaN", 1, "NaN or infinity", arrays(x=spoilt(np.nan)), extra="--eval bad.npz"),
    Case("script missing", 1, "no data script data.py", data="data.py"),
    Case("script without the function", 1, "no function 'load'", script(""), data="data.py:load"),
    Case("script that does not parse", 1, "data.py failed: SyntaxError", script("def"), data="data.py"),
    Case("script that raises", 1, "failed: ZeroDivisionError", script("def load_data(): yield 1 / 0"), data="data.py"),
    Case(
        "script of several lines of error",
        1,
        "failed: ValueError",
        script("def load_data(): raise ValueError('one\\ntwo\\nthree')"),
        data="data.py",
    ),
    Case("script that exits", 1, "exit|SystemExit", script("import sys\nsys.exit(0)"), data="data.py"),
    Case("script that returns a number", 1, "not iterable", script("def load_data(): return 5"), data="data.py"),
    Case("script of ragged lists", 1, "data.py", script("def load_data(): yield {'x': [[1], [1, 2]]}"), data="data.py"),
    Case("script of nothing", 1, "less than one sample", script("def load_data(): return []"), data="data.py"),
    Case("script of single samples", 1, "first axis counts", script("def load_data(): yield x[0]"), data="data.py"),
    Case(
        "script of empty labels",
        1,
        "less than one sample",
        script("def load_data(): yield {'x': x[:0], 'labels': np.zeros(0, int)}"),
        data="data.py",
    ),
    Case("folder without arrays", 1, "holds no .npz or .npy", lambda f: (f / "empty").mkdir(), data="empty"),
    Case("no sizes will do", 1, r"no sizes were found.*x axis 1.*\n.*--input-shapes", PARTS_OF_11, data=None),
    Case("no data where data is required", 1, "--require-data", data=None, extra="--require-data"),
    Case(
        "bench: other inputs",
        1,
        "takes",
        both(TWO_INPUTS, lambda f: save(residual(), f, "b.onnx")),
        line="bench model.onnx b.onnx",
    ),
]
