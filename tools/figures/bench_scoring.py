"""What scoring all blocks costs, against its floor and against the plain way. Run it on a quiet machine.

    python tools/figures/bench_scoring.py ../shared/models/resnet56.onnx build/cifar/standard-calibration.npz

floor: over all candidates, the time that the segments after the block took in the full passes. plain:
one forward of the whole model, in one session, per candidate. The three are measured in turn, several times;
the ratios are of medians.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path

import numpy as np

from graphprune.analysis.representation import find_representations
from graphprune.analysis.stages import allowance
from graphprune.importance.streaming import StreamedCKA
from graphprune.run.loaded import LoadedRun, prepare
from graphprune.run.options import RunOptions
from graphprune.runtime.sessions import RuntimeOptions, open_model, run
from graphprune.segments.ablation import ablations
from graphprune.segments.runner import Segments


def score(subject: LoadedRun, segments: Segments, threads: int, batch: int) -> tuple[float, float]:
    """Wall seconds of scoring every candidate, and the floor in the same run."""
    rules = allowance(subject.model, subject.analysis.joins, None, None)
    representations = find_representations(subject.model, subject.blocks)
    segments.seconds = [0.0] * len(segments.seconds)
    started = time.perf_counter()
    streams = [StreamedCKA() for _ in representations]
    for part in ablations(segments, representations, rules.candidates, frozenset(), subject.data, batch, threads):
        for index, stream in enumerate(streams):
            stream.reference(part.reference[index])
            for candidate, features in enumerate(part.candidates):
                stream.candidate(candidate, features[index])
    wall = time.perf_counter() - started
    return wall, sum(segments.suffix_seconds(block) for block in rules.candidates) / threads


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    runtime = RuntimeOptions(threads=options.threads)
    subject = prepare(options.model, options.data, RunOptions(runtime=runtime))
    rules = allowance(subject.model, subject.analysis.joins, None, None)
    tensors = [r.tensor for r in find_representations(subject.model, subject.blocks)]
    started = time.perf_counter()
    segments = Segments.at_blocks(subject.model, rules.candidates, tensors, runtime)
    print(
        f"{len(rules.candidates)} candidates, {len(segments.seconds)} segments, opened in "
        f"{time.perf_counter() - started:.2f} s"
    )
    whole = open_model(subject.model, runtime)
    walls, floors, plains = [], [], []
    for repeat in range(options.repeats + 1):
        wall, floor = score(subject, segments, options.threads, options.batch)
        started = time.perf_counter()
        for part in subject.data.batches(options.batch):
            for _ in rules.candidates:
                run(whole, part.feeds)
        plain = time.perf_counter() - started
        if repeat:  # the first round warms up
            walls.append(wall)
            floors.append(floor)
            plains.append(plain)
    for name, values in (("scoring", walls), ("floor", floors), ("plain", plains)):
        print(f"{name:8s} median {np.median(values):.3f} s, from {min(values):.3f} to {max(values):.3f}")
    print(
        f"scoring / floor {np.median(walls) / np.median(floors):.3f}, plain / scoring "
        f"{np.median(plains) / np.median(walls):.3f}"
    )
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
