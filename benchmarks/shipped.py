"""Loading, typing, scoring and repair of the shipped network: processor seconds, by asv's naming of methods."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from graphprune import (
    DataOptions,
    LayerCKA,
    MaxDrop,
    RecoveryOptions,
    RunOptions,
    RuntimeOptions,
    TimingOptions,
    inspect,
    load,
    prune,
)
from graphprune.repair.stage import Method

MODELS = Path(__file__).resolve().parents[1] / "models"
_SAMPLES = 64


class Shipped:
    """One thread; no timing of the result, which is the same at every commit."""

    timer = time.process_time
    repeat, number = 3, 1
    timeout = 300.0

    def setup(self) -> None:
        self.file = MODELS / "fashion_resnet32.onnx"
        with np.load(MODELS / "fashion_calibration.npz") as arrays:
            self.data = {name: arrays[name][:_SAMPLES] for name in arrays.files}

    def _options(self, repair: tuple[Method, ...]) -> RunOptions:
        return RunOptions(
            data=DataOptions(samples=_SAMPLES),
            recovery=RecoveryOptions(repair=repair),
            runtime=RuntimeOptions(threads=1),
            timing=TimingOptions(measure_latency=False),
        )

    def time_loading(self) -> None:
        load(self.file)

    def time_typing(self) -> None:
        inspect(self.file, groups=True)

    def time_scoring_blocks(self) -> None:
        prune(self.file, LayerCKA(rescore="none"), self.data, "removed=1", dry_run=True, options=self._options(()))

    def time_judging_blocks_after_repair(self) -> None:
        prune(
            self.file,
            LayerCKA(rescore="repaired"),
            self.data,
            "removed=1",
            dry_run=True,
            options=self._options(("ridge",)),
        )

    def time_weighing_filters(self) -> None:
        prune(self.file, "filter-obs", self.data, "flops=0.7", dry_run=True, options=self._options(()))

    def time_joint_search(self) -> None:
        prune(self.file, "joint-cka", self.data, "flops=0.7", dry_run=True, options=self._options(()))

    def time_search_within_a_loss(self) -> None:
        prune(
            self.file,
            "filter-magnitude",
            self.data,
            max_drop=MaxDrop(0.2, "estimate"),
            options=self._options(("ridge",)),
        )

    def time_cutting_filters(self) -> None:
        prune(self.file, "filter-magnitude", self.data, "flops=0.7", options=self._options(()))

    def time_repair(self) -> None:
        prune(self.file, "filter-magnitude", self.data, "flops=0.7", options=self._options(("stats", "ridge")))

    def peakmem_filters(self) -> None:
        self.time_cutting_filters()


def main() -> None:
    """Each once, without asv."""
    suite = Shipped()
    suite.setup()
    for name in sorted(vars(Shipped)):
        if name.startswith("time_"):
            began = time.process_time()
            getattr(suite, name)()
            print(f"{name.removeprefix('time_'):18} {time.process_time() - began:7.2f} s")


if __name__ == "__main__":
    main()
