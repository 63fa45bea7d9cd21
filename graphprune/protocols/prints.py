"""Short prints by which samples are known again, so that no sample has to be kept."""

from __future__ import annotations

import hashlib

import numpy as np

from graphprune.errors import DataError

_DIGEST_BYTES = 16
THUMBNAIL = 16
"""Pixels along each side of what images are compared by."""


def wholes(x: np.ndarray) -> list[bytes]:
    """A digest for each sample (n, ...): equal for equal bytes, dtype and shape."""
    return [_digest(sample) for sample in x]


def halves(x: np.ndarray, axis: int = -2) -> list[tuple[bytes, bytes]]:
    """Digests of the first and the last half of each sample (n, ...) along a time axis; an odd step is in neither.

    Raises
    ------
    DataError
        There are fewer than two steps.
    """
    steps = x.shape[axis]
    if steps < 2:
        raise DataError(f"samples of shape {list(x.shape[1:])} have no halves along axis {axis}", "name the time axis")
    half = steps // 2
    moved = np.moveaxis(x, axis, 1)
    return [(_digest(sample[:half]), _digest(sample[-half:])) for sample in moved]


def thumbnails(images: np.ndarray) -> np.ndarray:
    """What images (n, c, h, w) or (n, h, w, c) look like from afar: (n, 256) float32 rows of mean 0 and length 1.

    Images have at least 16 pixels a side. Grey, 16 x 16 means of the pixels; contrast and brightness do not count.
    A flat image gives zeros.
    """
    channel = 1 if images.shape[1] in (1, 3) and images.shape[3] >= THUMBNAIL else 3
    grey = images.astype(np.float32, copy=False).mean(channel)
    for axis in (1, 2):
        edges = np.linspace(0, grey.shape[axis], THUMBNAIL + 1).astype(int)[:-1]
        counts = np.diff(np.append(edges, grey.shape[axis]))
        shape = [1, 1, 1]
        shape[axis] = THUMBNAIL
        grey = np.add.reduceat(grey, edges, axis) / counts.reshape(shape)
    rows = grey.reshape(len(grey), -1)
    rows = rows - rows.mean(1, keepdims=True)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    is_flat = lengths <= 1e-5 * np.abs(grey).reshape(len(grey), -1).max(1, keepdims=True)
    return np.where(is_flat, 0, rows / np.where(is_flat, 1, lengths)).astype(np.float32)


def _digest(sample: np.ndarray) -> bytes:
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    digest.update(f"{sample.dtype.str}{sample.shape}".encode())
    digest.update(np.ascontiguousarray(sample).tobytes())
    return digest.digest()
