"""What counts as a difference: how large the original's outputs are, and how far a network differs from itself.

A network computes other numbers when the runtime fuses its nodes or takes fewer samples at once. Where that alone moves
an output by 1e-4 of its size, a right rewrite moves it as far.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from graphprune.data.dataset import Data
from graphprune.ir.export import to_proto
from graphprune.ir.model import Model
from graphprune.runtime.sessions import Feeds, RuntimeOptions, detached, open_session, run
from graphprune.validation.difference import Extent, relative_error
from graphprune.validation.unrounded import is_quantised

_TOLERANCE = 1e-4
# Half precision keeps about 3 (float16) and 2 (bfloat16) digits.
_HALF_TOLERANCES: dict[int | None, float] = {onnx.TensorProto.FLOAT16: 2e-2, onnx.TensorProto.BFLOAT16: 1e-1}
_QUANTISED_TOLERANCE = 5e-2  # some steps of 256
_NOISE_FACTOR = 10
_MOST_RAISED = 2e-2  # noise may not hide what half precision shows
_SQUASHING = {"Sigmoid", "HardSigmoid", "Softmax", "LogSoftmax", "Tanh", "Exp", "Relu", "Clip"}
_MOVING = {"Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Cast"}

View = Callable[[onnx.ModelProto, Path | None], onnx.ModelProto]
"""What is made of a network, whose external data lies in a folder, before it runs."""
OpenNetwork = Callable[[bool], Any]
"""A session of a network, with the optimiser of the runtime or without."""


class Yardstick:
    """The extent of the outputs of ``original`` on ``data``, and the noise of all networks that it was held to.

    Taken from the first ``batch`` samples; :meth:`widen` takes in more. ``inner`` names, for an output that leaves an
    activation such as Softmax, the tensor before it: there, what the activation has squashed is still told apart.
    All networks are compared as ``seen``; ``is_plain`` tells that this is as they are,
    ``rounds`` that they are quantised as well.
    """

    def __init__(
        self, original: Model, data: Data, batch: int, options: RuntimeOptions, seen: View | None = None
    ) -> None:
        self.is_plain, self._seen = seen is None, seen
        self.rounds = self.is_plain and is_quantised(original)
        self.tolerance = max(_tolerance(original), _QUANTISED_TOLERANCE if self.rounds else 0.0)
        self.outputs = [tensor.name for tensor in original.graph.outputs]
        self.inner = {tensor.name: name for tensor in original.graph.outputs if (name := _before_activation(tensor))}
        self._original, self._options = original, options
        self._feeds = [data.first(size) for size in dict.fromkeys((batch, 1))]
        self._extents: dict[str, Extent] = defaultdict(Extent)
        self._noise: dict[tuple[str, bool], float] = defaultdict(float)
        self.hear(self._open, self._names, is_original=True)

    @property
    def _names(self) -> list[str]:
        return list(dict.fromkeys((*self.outputs, *self.inner.values())))

    def _open(self, is_optimised: bool) -> Any:
        return self.open(lambda: to_proto(self._original, self._names), self._original.folder, is_optimised)

    def open(self, make: Callable[[], onnx.ModelProto], folder: Path | None, is_optimised: bool = True) -> Any:
        """A session of what ``make`` gives, as seen; ``folder`` is where its external data lies."""
        seen = self._seen
        return open_session(
            make if seen is None else lambda: seen(make(), folder),
            self._options,
            folder,
            is_optimised=is_optimised,
            is_lean=True,
        )

    def allow(self, tolerance: float) -> None:
        """Raise the tolerance of all outputs."""
        self.tolerance = max(self.tolerance, tolerance)

    @property
    def self_difference(self) -> float:
        """The largest relative error that an output of one of the networks has against the same network."""
        return max((self._noise[name, False] for name in self.outputs if not self.is_noise(name)), default=0.0)

    def widen(self, feeds: Feeds) -> None:
        """Take what the original gives for ``feeds`` into the extents."""
        for name, values in zip(self._names, run(self._open(True), feeds, self._names), strict=True):
            self._extents[name].add(values)

    def hear(
        self,
        open_network: OpenNetwork,
        names: Sequence[str],
        *,
        on_own_scale: bool = False,
        is_original: bool = False,
    ) -> None:
        """Note how far the tensors of a network move between optimised and not, and between many samples and one."""
        session = open_network(True)
        together, *alone = [detached(run(session, feeds, list(names))) for feeds in self._feeds]
        del session  # one network at a time in memory
        for name, array in zip(names, together, strict=True) if is_original else ():
            self._extents[name].add(array)
        plain = run(open_network(False), self._feeds[0], list(names))
        for index, name in enumerate(names):
            pairs = [(together[index], plain[index])]
            for values in alone:
                rows = _rows_of_first(together[index], values[index])
                pairs += [] if rows is None else [(rows, values[index])]
            for pair in pairs:
                self.note(name, *pair, on_own_scale=on_own_scale)

    def note(self, name: str, one: np.ndarray, other: np.ndarray, *, on_own_scale: bool = False) -> None:
        """Tensor ``name`` of one network was computed in two ways that mean the same: their difference is noise."""
        error = self.error(name, one, other, on_own_scale=on_own_scale)
        if isfinite(error):  # a class or a box that flips is no noise that a limit could be raised by
            self._noise[name, on_own_scale] = max(self._noise[name, on_own_scale], error)

    def error(self, name: str, reference: np.ndarray, result: np.ndarray, *, on_own_scale: bool = False) -> float:
        """:func:`relative_error` on the scale of the original's tensor ``name``, or of the reference alone."""
        return relative_error(reference, result, 0.0 if on_own_scale else self._extents[name].magnitude)

    def limit(self, name: str, *, on_own_scale: bool = False) -> float:
        """What the error may be: the tolerance of the precision, or ten times the noise, at most 0.02."""
        return self.raised(self.tolerance, self._noise[name, on_own_scale])

    @staticmethod
    def raised(tolerance: float, noise: float) -> float:
        """The tolerance, or ten times the noise where that is more, at most 0.02."""
        return max(tolerance, min(_NOISE_FACTOR * noise, _MOST_RAISED))

    @property
    def widest_limit(self) -> float:
        """The largest limit of an output."""
        return max([self.tolerance, *(self.limit(name) for name in self.outputs if not self.is_noise(name))])

    def is_noise(self, name: str) -> bool:
        """Whether an activation has squashed the original's output ``name`` to what rounding leaves."""
        return name in self.inner and self._noise[name, False] > _MOST_RAISED

    def has_collapsed(self, name: str, extent: Extent) -> bool:
        """Whether ``extent`` tells hardly anything beside that of the original's tensor ``name``."""
        return extent.has_collapsed(self._extents[name])


def _tolerance(model: Model) -> float:
    dtypes = {model.dtypes.get(tensor.name) for node in model.graph.nodes for tensor in node.outputs}
    return max(_HALF_TOLERANCES.get(dtype, _TOLERANCE) for dtype in dtypes)


def _before_activation(output: gs.Tensor) -> str:
    """The computed tensor before the last activations that squash; empty where ``output`` leaves none."""
    tensor, is_squashed = output, False
    while tensor.inputs and tensor.inputs[0].op in _SQUASHING | _MOVING:
        is_squashed = is_squashed or tensor.inputs[0].op in _SQUASHING
        tensor = tensor.inputs[0].inputs[0]
    return tensor.name if is_squashed and tensor.inputs else ""


def _rows_of_first(together: np.ndarray, alone: np.ndarray) -> np.ndarray | None:
    """The part of a batch's result that belongs to its first sample; None where that cannot be told."""
    if together.ndim != alone.ndim or together.dtype != alone.dtype:
        return None
    axes = [axis for axis in range(alone.ndim) if together.shape[axis] != alone.shape[axis]]
    if len(axes) != 1 or together.shape[axes[0]] < alone.shape[axes[0]]:
        return None
    return np.take(together, range(alone.shape[axes[0]]), axes[0])
