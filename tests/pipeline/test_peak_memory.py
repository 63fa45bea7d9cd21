"""A large decoder is in memory once, whatever is done with it, from the file to the report."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from tests.decoder_graphs import Sizes, fused_decoder
from tests.text.tokenizers import words, write_tokenizer

LARGE = Sizes(layers=16, heads=8, kv_heads=2, depth=64, neurons=2048, width=512, vocabulary=300)
SMALL = Sizes(layers=2, vocabulary=300)

_MEASURE = """
import sys
from pathlib import Path
import graphprune
from graphprune.ir import lean_file
from graphprune.repair.stage import parse_methods
from graphprune.run.options import DataOptions, RecoveryOptions, RunOptions, TimingOptions
from graphprune.runtime.sessions import RuntimeOptions
from graphprune.text.options import TextOptions
def kib(of):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(of))
options = RunOptions(
    data=DataOptions(samples=8, evaluation="text", text=TextOptions(chunk_tokens=32)),
    timing=TimingOptions(measure_latency=False),
    recovery=RecoveryOptions(repair=parse_methods("none")),
    runtime=RuntimeOptions(threads=1),
)
def prune(folder):
    made = graphprune.prune(f"{folder}/model.onnx", sys.argv[3], "corpus.txt", "params=0.9", f"{folder}/small.onnx",
                            options=options)
    assert made.evaluation.kind == "perplexity"
prune(sys.argv[1])  # what all runs need, such as the runtime
lean_file.LEAST_BYTES = 16 << 20
Path("/proc/self/clear_refs").write_text("5")  # the peak is that of now
before = kib("VmRSS:")
prune(sys.argv[2])
print(kib("VmHWM:") - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux tells the peak since a moment")
@pytest.mark.parametrize("pass_", ["neuron-projection{scope=group}", "layer-angular"])
def test_the_weights_of_a_large_decoder_are_in_memory_once(tmp_path: Path, pass_: str) -> None:
    for name, sizes in (("small", SMALL), ("large", LARGE)):
        (tmp_path / name).mkdir()
        path = tmp_path / name / "model.onnx"
        onnx.save(fused_decoder(sizes), path, save_as_external_data=True, location="model.onnx.data")
        write_tokenizer(path.parent)
    (tmp_path / "corpus.txt").write_text(words(6_000), encoding="utf-8")
    words_ = [sys.executable, "-c", _MEASURE, "small", "large", pass_]
    done = subprocess.run(words_, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    file_kib = (tmp_path / "large" / "model.onnx.data").stat().st_size >> 10
    assert int(done.stdout) < 1.6 * file_kib
