"""Pruned networks against the original on every runtime that starts on a GPU machine, into one JSON file.

    python tools/figures/bench_gpu.py --prepare build/gpu                      # here: writes the files, 50 MB
    python tools/figures/bench_gpu.py --run build/gpu --json out.json          # there: six minutes,
    and what is done by then counts python tools/figures/bench_gpu.py --table out.json                         # the
    figures as Markdown

``--prepare`` needs transformers and, for the CIFAR network, the shared data. ``--run`` needs numpy, onnx, networkx,
onnxruntime (the CPU one will do) and, for the rows of torch, torch;
of graphprune only the checkout (its folder is put on the path) and onnx-graphsurgeon, a wheel of pure Python. Where
that is not installed and there is no network:

    pip download --no-deps -d build/gpu onnx-graphsurgeon              # here: beside the files
    PYTHONPATH=$(ls build/gpu/*.whl) python tools/figures/bench_gpu.py --run build/gpu --json out.json    # there

The JSON is written after every version of every case, a case that fails is kept with its error,
one that takes longer than ``--case-seconds`` is broken off; a second ``--run`` with the same file goes on with the
cases that are not in it.
"""

from __future__ import annotations

import argparse
import bz2
import faulthandler
import gc
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any, cast

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from graphprune.measure import machine
from graphprune.measure.registry import BenchOptions, runtime
from graphprune.measure.runtime import Runner, Runtime
from graphprune.measure.timing import Comparison, compare
from graphprune.measure.torch import Precision
from graphprune.runtime.sessions import RuntimeOptions

NETWORKS = ("resnet32", "resnet56", "resnet18", "vit_tiny")
BATCHES = (1, 32, 256)
GPU_PAIRS, PAIRS = 30, 15


@dataclass(frozen=True)
class Case:
    """One runtime, one network, one batch; the whole and every cut version of it."""

    runtime: str
    precision: str
    network: str
    batch: int

    @property
    def key(self) -> str:
        return f"{self.runtime} {self.precision} {self.network} {self.batch}"


def cases(device: str) -> Iterator[Case]:
    """All of them, those first that tell most for their seconds; compiling takes longest."""
    everywhere = [f"torch-cudagraph:{device}", f"torch:{device}"]
    others = ["tensorrt:cuda", "ort:trt", "ort:cuda"]
    if device == "cpu":
        everywhere, others = ["torch:cpu"], []
    plan: list[tuple[list[str], tuple[str, ...], tuple[int, ...]]] = [
        (others, ("fp32",), (1, 256)),
        (everywhere, ("bf16",), (1, 256)),
        (everywhere[:1], ("fp32",), (1, 256)),
        ([f"torch-compile:{device}"], ("bf16",), (256,)),
        (everywhere[1:], ("fp32",), (1, 256)),
        ([f"torch-compile-cudagraph:{device}"] if device != "cpu" else [], ("bf16",), (1, 256)),
        (["ort:cpu"], ("fp32",), (1,)),
        ([*others, *everywhere], ("bf16", "fp32"), (32,)),
        ([f"torch-compile:{device}"], ("bf16", "fp32"), BATCHES),
        ([f"torch-compile-cudagraph:{device}"] if device != "cpu" else [], ("bf16", "fp32"), BATCHES),
    ]
    seen = set()
    for runtimes, precisions, batches in plan:
        for name in runtimes:
            for precision in precisions:
                for batch in batches:
                    for network in NETWORKS:
                        case = Case(name, precision, network, batch)
                        if case not in seen and (precision == "fp32" or name.startswith("torch")):
                            seen.add(case)
                            yield case


class Run:
    """The files, the time left, and the JSON so far."""

    def __init__(self, folder: Path, out: Path, options: argparse.Namespace) -> None:
        self.manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
        self.folder, self.out, self.options = folder, out, options
        self.ends = time.monotonic() + 60 * options.minutes
        self.result: dict[str, Any] = json.loads(out.read_text()) if out.is_file() else {"cases": {}}
        self.missing: dict[str, str] = self.result.setdefault("missing", {})

    def go(self, device: str) -> None:
        self.result |= {"machine": describe(), "files": self.manifest}
        signal.signal(signal.SIGALRM, _too_long)
        late = 60 * self.options.minutes + 30  # by then it is stuck inside a library
        faulthandler.dump_traceback_later(late, exit=True, file=sys.__stderr__ or sys.stderr)
        with tempfile.TemporaryDirectory() as temporary:
            files = {name: self._unpack(name, Path(temporary)) for name in self.manifest}
            files = {name: paths for name, paths in files.items() if "original" in paths}
            for case in cases(device):
                if time.monotonic() > self.ends - 2:
                    break
                wanted = not self.options.only or any(word in case.key for word in self.options.only)
                if wanted and case.network in files and case.key not in self.result["cases"]:
                    self._case(case, files[case.network])
        faulthandler.cancel_dump_traceback_later()
        self._save()

    def _unpack(self, network: str, folder: Path) -> dict[str, Path]:
        """The versions whose files are here; without the original there is nothing to compare."""
        paths = {}
        for version, facts in self.manifest[network].items():
            if not (self.folder / facts["file"]).is_file():
                self.missing[facts["file"]] = "not in the folder"
                continue
            paths[version] = folder / facts["file"].removesuffix(".bz2")
            with bz2.open(self.folder / facts["file"]) as packed:
                paths[version].write_bytes(packed.read())
        return paths

    def _case(self, case: Case, files: dict[str, Path]) -> None:
        if case.runtime in self.missing:
            return
        options = RuntimeOptions(threads=self.options.threads)
        try:
            chosen = runtime(case.runtime, options, BenchOptions(precision=cast(Precision, case.precision)))
            chosen.require()
        except Exception as error:  # noqa: BLE001 - a runtime that is not here is a finding, whatever it raises
            self.missing[case.runtime] = f"{type(error).__name__}: {error}"
            print(f"{case.runtime} is not here: {error}", flush=True)
            return
        record: dict[str, Any] = {**asdict(case), "versions": {}}
        self.result["cases"][case.key] = record
        begin = time.monotonic()
        # Again each second: an exception that is raised inside a destructor is lost.
        signal.setitimer(signal.ITIMER_REAL, max(1.0, min(self.options.case_seconds, self.ends - begin)), 1.0)
        try:
            self._versions(case, chosen, files, record)
        except Exception as error:  # noqa: BLE001 - the next case may work
            record["error"] = f"{type(error).__name__}: {error}"
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        record["seconds"] = round(time.monotonic() - begin, 2)
        self._save()
        tidy()
        print(f"{case.key}: {line(record)}", flush=True)

    def _versions(self, case: Case, chosen: Runtime, files: dict[str, Path], record: dict[str, Any]) -> None:
        facts = self.manifest[case.network]
        feeds = inputs(facts["original"]["inputs"], case.batch)
        whole = chosen.open(files["original"], feeds)
        record["original_error"] = self._error(whole, case.network, "original")
        for version, path in files.items():
            if version == "original":
                continue
            cut = chosen.open(path, feeds)
            row: dict[str, Any] = {"error": self._error(cut, case.network, version)}
            if whole.device_ms and cut.device_ms:
                timed: Any = lambda run: run()  # noqa: E731 - each returns the time it took on the device
                row["device"] = figures(
                    compare(
                        whole.device_ms,
                        cut.device_ms,
                        min_pairs=GPU_PAIRS,
                        min_seconds=self.options.seconds,
                        timed=timed,
                    )
                )
            row["end_to_end"] = figures(compare(whole.run, cut.run, min_pairs=PAIRS, min_seconds=self.options.seconds))
            record["versions"][version] = row
            self._save()
            del cut
        record["environment"] = chosen.environment()

    def _error(self, runner: Runner, network: str, version: str) -> float:
        """Largest difference to what the CPU computed in fp32, relative to the largest output."""
        with np.load(self.folder / f"{network}-{version}.npz") as stored:
            expected = [stored[name] for name in stored.files]
        worst = 0.0
        for one, other in zip(expected, runner.run(), strict=True):
            rows = min(len(one), len(other))
            worst = max(worst, float(np.abs(one[:rows] - other[:rows]).max() / np.abs(one[:rows]).max()))
        return worst

    def _save(self) -> None:
        partial = self.out.with_suffix(".partial")
        partial.write_text(json.dumps(self.result, indent=1) + "\n")
        os.replace(partial, self.out)


def inputs(dims: dict[str, list[int]], batch: int) -> dict[str, np.ndarray]:
    """Seeded normal samples, float32, input name -> (batch, *dims); the first ones do not depend on ``batch``."""
    return {name: np.random.default_rng(0).standard_normal((batch, *size), np.float32) for name, size in dims.items()}


def figures(times: Comparison) -> dict[str, Any]:
    """Milliseconds of the original and the cut network, and their ratio with its 95 % interval."""
    return {
        "original_ms": times.first.median_ms,
        "cut_ms": times.second.median_ms,
        "original_p10_p90_ms": [times.first.p10_ms, times.first.p90_ms],
        "cut_p10_p90_ms": [times.second.p10_ms, times.second.p90_ms],
        "ratio": times.ratio,
        "interval": [times.ratio_low, times.ratio_high],
        "pairs": times.pairs,
    }


def describe() -> dict[str, Any]:
    """The machine and the versions of what is installed."""
    from importlib.metadata import distributions

    wanted = ("torch", "triton", "onnx", "numpy", "onnxruntime", "onnxruntime-gpu", "tensorrt", "tensorrt-cu13")
    versions = {found.name: found.version for found in distributions() if found.name in wanted}
    return {**machine.host(), "gpu": machine.gpu(), "versions": versions, "date": time.strftime("%Y-%m-%d %H:%M")}


def tidy() -> None:
    """Give back what a case held, its compiled code too."""
    gc.collect()
    torch: Any = sys.modules.get("torch")
    if torch is not None:
        torch._dynamo.reset()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def line(record: dict[str, Any]) -> str:
    """A case in a line."""
    if "error" in record:
        return f"failed after {record['seconds']} s: {record['error']}"
    rows = [
        f"{version} {row['device']['ratio']:.3f}/" if "device" in row else f"{version} -/"
        for version, row in record["versions"].items()
    ]
    ends = [f"{row['end_to_end']['ratio']:.3f}" for row in record["versions"].values()]
    return ", ".join(a + b for a, b in zip(rows, ends, strict=True)) + f" ({record['seconds']} s)"


def table(path: Path) -> None:
    """Markdown: a row for each case and version; ratios below 1 are faster."""
    content = json.loads(path.read_text())
    print("| runtime | precision | network | batch | version | device ms | ratio | end to end ms | ratio | error |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for record in content["cases"].values():
        head = f"| {record['runtime']} | {record['precision']} | {record['network']} | {record['batch']} |"
        for version, row in record["versions"].items():
            cells = [_cells(row.get("device")), _cells(row["end_to_end"])]
            print(f"{head} {version} | {' | '.join(cells)} | {row['error']:.0e} |")
        if "error" in record:
            print(f"{head} failed: {record['error'][:80]} | | | | | |")


def _cells(times: dict[str, Any] | None) -> str:
    if times is None:
        return " | "
    low, high = times["interval"]
    return f"{times['original_ms']:.3f} -> {times['cut_ms']:.3f} | {times['ratio']:.3f} [{low:.3f}, {high:.3f}]"


def _too_long(number: int, frame: FrameType | None) -> None:
    raise TimeoutError("the case took too long")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--prepare", type=Path, metavar="FOLDER")
    what.add_argument("--run", type=Path, metavar="FOLDER")
    what.add_argument("--table", type=Path, metavar="FILE.json")
    parser.add_argument("--json", type=Path, default=Path("bench_gpu.json"))
    parser.add_argument("--minutes", type=float, default=6.0, help="of --run, all in all")
    parser.add_argument("--case-seconds", type=float, default=90.0, help="at most, of one case")
    parser.add_argument("--seconds", type=float, default=0.25, help="of one comparison, at least")
    parser.add_argument("--device", default="cuda", help="cpu only tries the tool out")
    parser.add_argument("--threads", type=int, default=1, help="on the CPU")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=NETWORKS, help="to prepare")
    parser.add_argument("--only", nargs="+", metavar="WORD", help="run the cases with one of these in their name")
    options = parser.parse_args()
    if options.table:
        table(options.table)
    elif options.prepare:
        from gpu_files import prepare

        prepare(options.prepare, options.networks)
    else:
        Run(options.run, options.json, options).go(options.device)


if __name__ == "__main__":
    main()
