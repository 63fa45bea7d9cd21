"""Networks of the zoo as files with data, for tools that time them: real architectures, random weights."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.zoo.export import export
from tests.zoo.light import light


@dataclass(frozen=True)
class Network:
    """A file, an array of samples per input, and the batch that is timed."""

    name: str
    path: Path
    data: dict[str, np.ndarray]
    batch: int


def network(name: str, folder: Path, batch: int) -> Network:
    """``light_*`` are those of the onnx wheel, which take one image; others are exported,
    with as many samples as a batch.
    """
    if name.startswith("light_"):
        proto, feed = light(name.removeprefix("light_"))
        path = folder / f"{name}.onnx"
        onnx.save(proto, path)
        return Network(name, path, feed, 1)
    path, feed = export(name, "torchscript", folder)
    more = {key: np.concatenate([array] * -(-batch // len(array)))[:batch] for key, array in feed.items()}
    return Network(name, path, more, batch)
