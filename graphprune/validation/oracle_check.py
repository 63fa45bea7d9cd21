"""One step of a rewrite held against its masked original, sample by sample."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from graphprune.base.memory import give_back
from graphprune.data.dataset import Data
from graphprune.errors import ValidationFailed
from graphprune.ir import lean_file
from graphprune.ir.export import to_proto
from graphprune.ir.model import Model
from graphprune.rewrite.removal import Removal
from graphprune.runtime.sessions import Feeds, RuntimeOptions, open_session, run
from graphprune.validation.difference import Extent, relative_error
from graphprune.validation.masked_original import masked_original
from graphprune.validation.unrounded import without_rounding
from graphprune.validation.yardstick import Yardstick

_OUTPUTS_LIMIT_BYTES = 128 << 20


@dataclass(frozen=True)
class OracleCheck:
    """``result`` beside what ``step`` should have made of its model."""

    step: Removal
    result: Path | Model
    options: RuntimeOptions
    yardstick: Yardstick

    def run(self, data: Data, batch: int) -> tuple[float, int]:
        """Largest relative error of the outputs on all of ``data``, and the number of samples.

        Where the cut left hardly anything of an output's range, a wrong unit could hide below the scale of the
        original: there what enters the last activation, or else the output itself, is compared on its own scale, too.

        Raises
        ------
        ValidationFailed
            A tensor differs by more than its limit.
        """
        names = list(self.step.outputs)
        extents: dict[str, Extent] = defaultdict(Extent)
        worst, samples = self._compare(names, data, batch, extents, on_own_scale=False)
        low = [
            name for name in names if self.yardstick.is_noise(name) or self.yardstick.has_collapsed(name, extents[name])
        ]
        if low and not self.yardstick.rounds:  # there, without rounding, all is compared once more
            made, inner = self._tensors(), self.yardstick.inner
            closer = list(dict.fromkeys(inner[name] if inner.get(name) in made else name for name in low))
            worst = max(worst, self._compare(closer, data, batch, extents, on_own_scale=True)[0])
        return worst, samples

    def _compare(
        self, names: list[str], data: Data, batch: int, extents: dict[str, Extent], *, on_own_scale: bool
    ) -> tuple[float, int]:
        """As :meth:`run`, for tensors of both networks; their ``extents`` in the masked original are noted."""
        batches, worst, samples = (part.feeds for part in data.batches(batch)), 0.0, 0
        theirs = [self.step.outputs.get(name, name) for name in names]
        while expected := self._expected(batches, names):
            rewritten = self._rewritten(theirs)
            found = [run(rewritten, feeds, theirs) for feeds, _ in expected]
            del rewritten  # before the oracle is opened again
            for (feeds, references), results in zip(expected, found, strict=True):
                samples += data.batching.count(feeds)
                worst = max(worst, self._error(names, feeds, references, results, extents, on_own_scale=on_own_scale))
            del references, results
            expected.clear()
            found.clear()
            give_back()
        return worst, samples

    def _error(
        self,
        names: list[str],
        feeds: Feeds,
        references: list[np.ndarray],
        results: list[np.ndarray],
        extents: dict[str, Extent],
        *,
        on_own_scale: bool,
    ) -> float:
        """The largest error of the tensors for a batch."""
        yardstick, worst = self.yardstick, 0.0
        for name, whole, found in zip(names, references, results, strict=True):
            reference = self.step.left_of(name, whole)
            extents[name].add(reference)
            error = yardstick.error(name, reference, found, on_own_scale=on_own_scale)
            if not error <= yardstick.limit(name, on_own_scale=on_own_scale):
                self._look_closer(names, feeds, references, on_own_scale=on_own_scale)
                error = yardstick.error(name, reference, found, on_own_scale=on_own_scale)
            if yardstick.is_noise(name) and isfinite(error):
                continue  # what is before its activation tells
            limit = yardstick.limit(name, on_own_scale=on_own_scale)
            if not error <= limit:
                raise self._failure(name, error, limit)
            worst = max(worst, error)
        return worst

    def _look_closer(self, names: list[str], feeds: Feeds, references: list[np.ndarray], *, on_own_scale: bool) -> None:
        """The masked original, which gave ``references`` for these samples, may be noisier than the original, also by
        what its sums round; and the original may give more for them.
        """
        self.yardstick.hear(
            lambda is_optimised: self._oracle(names, is_optimised=is_optimised), names, on_own_scale=on_own_scale
        )
        rounded = self.yardstick.open(
            lambda: masked_original(self.step, names, is_rounded=True), self.step.model.folder
        )
        for name, one, other in zip(names, references, run(rounded, feeds, names), strict=True):
            self.yardstick.note(name, one, other, on_own_scale=on_own_scale)
        del rounded
        if not on_own_scale:
            self.yardstick.widen(feeds)

    def _failure(self, name: str, error: float, limit: float) -> ValidationFailed:
        what = f"output '{name}'" if name in self.yardstick.outputs else f"'{name}', before the last activation,"
        return ValidationFailed(
            f"{what} of the rewritten model differs from the masked original by {error:.2g} "
            f"(tolerance {limit:g}; the network itself varies by {self.yardstick.self_difference:.1g} with "
            "optimiser, batch size and rounding); nothing was written",
            "please report this model; exclude the unit concerned to go on",
        )

    def _expected(self, batches: Iterator[Feeds], names: list[str]) -> list[tuple[Feeds, list[np.ndarray]]]:
        """What the oracle computes for the next batches, as many as fit the memory for outputs.

        Oracle and rewritten model take turns, so that only one of them is in memory.
        """
        feeds = next(batches, None)
        if feeds is None:
            return []
        oracle = self._oracle(names)
        expected = [(feeds, run(oracle, feeds, names))]
        held = latest = sum(array.nbytes for array in expected[0][1])
        while held + latest <= _OUTPUTS_LIMIT_BYTES and (feeds := next(batches, None)) is not None:
            expected.append((feeds, run(oracle, feeds, names)))
            latest = sum(array.nbytes for array in expected[-1][1])
            held += latest
        del oracle
        give_back()
        return expected

    def _oracle(self, names: list[str], *, is_optimised: bool = True) -> Any:
        return self.yardstick.open(
            lambda: masked_original(self.step, names), self.step.model.folder, is_optimised=is_optimised
        )

    def rounding(self, feeds: Feeds) -> float:
        """How far what a quantised oracle computes is from the same without rounding."""
        names, folder = list(self.step.outputs), self.step.model.folder
        rounded = run(self._oracle(names), feeds, names)
        exact = open_session(
            lambda: without_rounding(masked_original(self.step), folder), self.options, folder, is_lean=True
        )
        errors = map(relative_error, run(exact, feeds, names), rounded)
        return max(filter(isfinite, errors), default=0.0)

    def _rewritten(self, names: list[str]) -> Any:
        if not isinstance(self.result, Path):
            model = self.result
            return self.yardstick.open(lambda: to_proto(model, names), model.folder)
        if set(names) <= set(self.yardstick.outputs) and self.yardstick.is_plain:
            return open_session(self.result, self.options, is_lean=True)
        path, dtypes = self.result, self.step.model.dtypes

        def with_inner() -> onnx.ModelProto:
            proto = lean_file.skeleton(path)
            for name in set(names) - set(self.yardstick.outputs):
                value = proto.graph.output.add(name=name)
                value.type.tensor_type.elem_type = dtypes.get(name, onnx.TensorProto.FLOAT)
            return proto

        return self.yardstick.open(with_inner, path.parent)

    def _tensors(self) -> set[str]:
        """What nodes of both networks make."""
        made = {tensor.name for node in self.step.model.graph.nodes for tensor in node.outputs}
        if not isinstance(self.result, Path):
            return made & {tensor.name for node in self.result.graph.nodes for tensor in node.outputs}
        proto = lean_file.read(self.result)
        return made & {name for node in proto.graph.node for name in node.output}
