"""Elements picked and placed by index, in ONNX's way: negative indices count from the end."""

from __future__ import annotations

import torch
from torch import Tensor


def gather(x: Tensor, index: Tensor, axis: int) -> Tensor:
    """The axis gives way to all axes of the index."""
    axis = axis + x.ndim if axis < 0 else axis
    return x[(slice(None),) * axis + (index.long(),)]


def gather_elements(x: Tensor, index: Tensor, axis: int) -> Tensor:
    """One element for each entry of the index."""
    return torch.gather(x, axis, _counted(index, x.shape[axis]))


def gather_nd(x: Tensor, index: Tensor, batch_axes: int) -> Tensor:
    """The last axis of the index holds coordinates; the first ``batch_axes`` of both belong together."""
    coordinates = list(index.long().unbind(-1))
    batch = [
        torch.arange(x.shape[axis], device=x.device).reshape([-1 if i == axis else 1 for i in range(index.ndim - 1)])
        for axis in range(batch_axes)
    ]
    return x[tuple(batch + coordinates)]


def scatter_elements(x: Tensor, index: Tensor, updates: Tensor, axis: int, how: str) -> Tensor:
    """One element placed, or added ..., for each entry of the index."""
    index, updates = _counted(index, x.shape[axis]), updates.to(x.dtype)
    if how == "none":
        return torch.scatter(x, axis, index, updates)
    return torch.scatter_reduce(
        x, axis, index, updates, {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}[how]
    )


def scatter_nd(x: Tensor, index: Tensor, updates: Tensor, how: str) -> Tensor:
    """Slices placed, or added, where the last axis of the index says."""
    places = tuple(index.long().unbind(-1))
    updates = updates.to(x.dtype)
    if how == "none":
        return torch.index_put(x, places, updates)
    if how == "add":
        return torch.index_put(x, places, updates, accumulate=True)
    flat = _flat_index(x, places)
    rest = x.shape[len(places) :]
    wide = x.reshape(-1, *rest)
    spread = flat.reshape(-1, *[1] * len(rest)).expand(-1, *rest)
    kind = {"mul": "prod", "max": "amax", "min": "amin"}[how]
    return torch.scatter_reduce(wide, 0, spread, updates.reshape(-1, *rest), kind).reshape(x.shape)


def _flat_index(x: Tensor, places: tuple[Tensor, ...]) -> Tensor:
    flat = torch.zeros_like(places[0])
    for axis, place in enumerate(places):
        flat = flat * x.shape[axis] + _counted(place, x.shape[axis])
    return flat.reshape(-1)


def _counted(index: Tensor, size: int) -> Tensor:
    index = index.long()
    return torch.where(index < 0, index + size, index)


def non_zero(x: Tensor) -> Tensor:
    """Coordinates of what is not zero, one row for each axis."""
    return torch.nonzero(x).t()


def compress(x: Tensor, condition: Tensor, axis: int | None) -> Tensor:
    """The places where the condition holds; a short condition ends with no."""
    x, axis = (x.reshape(-1), 0) if axis is None else (x, axis)
    return x.index_select(axis, torch.nonzero(condition).reshape(-1))


def eye_like(x: Tensor, dtype: torch.dtype | None, diagonal: int) -> Tensor:
    """Ones on a diagonal of a matrix like ``x``."""
    rows = torch.arange(x.shape[0], device=x.device).unsqueeze(1)
    return (torch.arange(x.shape[1], device=x.device) - rows == diagonal).to(dtype or x.dtype)


def shape_of(x: Tensor) -> Tensor:
    """The sizes of a tensor, as one."""
    return torch.tensor(x.shape, device=x.device, dtype=torch.int64)


def cut(x: Tensor, start: int, end: int | None) -> Tensor:
    """A slice of a list."""
    return x[start:end]
