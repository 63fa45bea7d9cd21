"""Make .npz files for the CIFAR-10 networks from the JPEG packs in the shared data folder.

    python tools/figures/cifar.py          # writes build/cifar/{standard,mean-image}-{calibration,test}.npz

``standard``: RGB / 255, minus (0.485, 0.456, 0.406), over (0.229, 0.224, 0.225). ``mean-image``: RGB / 255 minus the
per-pixel mean of the training set, as the papers' own networks want it. Both NCHW float32. The folder is named by
``GRAPHPRUNE_DATA`` (default ``../shared``).
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

CALIBRATION_IMAGES = 512
STANDARD_MEAN = np.array([0.485, 0.456, 0.406], np.float32)[:, None, None]
STANDARD_STD = np.array([0.229, 0.224, 0.225], np.float32)[:, None, None]


def shared_folder() -> Path:
    return Path(os.environ.get("GRAPHPRUNE_DATA", "../shared"))


def alignment(text: str) -> int | Literal["auto"]:
    """What ``--align`` says."""
    return "auto" if text == "auto" else int(text)


def decode(pack: Path, count: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 3, 32, 32) float32 in [0, 1] and labels (n,) int64."""
    with np.load(pack, allow_pickle=False) as arrays:
        stream, offsets, labels = arrays["jpeg"], arrays["offset"], arrays["label"]
    count = count or len(labels)
    images = np.empty((count, 3, 32, 32), np.float32)
    for index in range(count):
        data = stream[offsets[index] : offsets[index + 1]].tobytes()
        images[index] = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), np.float32).transpose(2, 0, 1) / 255
    return images, labels[:count].astype(np.int64)


def prepared(out: Path = Path("build/cifar")) -> Path:
    """The folder with the four files, made if need be."""
    wanted = [out / f"{kind}-{split}.npz" for kind in ("standard", "mean-image") for split in ("calibration", "test")]
    if all(path.is_file() for path in wanted):
        return out
    out.mkdir(parents=True, exist_ok=True)
    data = shared_folder() / "data"
    train, _ = decode(data / "cifar10_train_jpeg.npz")
    test, labels = decode(data / "cifar10_test_jpeg.npz")
    mean_image = train.mean(0, dtype=np.float64).astype(np.float32)
    for kind, shift, scale in (("standard", STANDARD_MEAN, STANDARD_STD), ("mean-image", mean_image, np.float32(1))):
        np.savez(out / f"{kind}-calibration.npz", images=(train[:CALIBRATION_IMAGES] - shift) / scale)
        np.savez(out / f"{kind}-test.npz", images=(test - shift) / scale, labels=labels)
    return out


if __name__ == "__main__":
    print(prepared())
