"""Changes of resolution in ONNX's many ways."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

_LINEAR = {3: "linear", 4: "bilinear", 5: "trilinear"}


def resize(
    x: Tensor,
    targets: Sequence[Any],
    factors: Sequence[Any],
    *,
    mode: str,
    how: str,
    rounding: str,
    cubic: float,
    excludes_outside: bool,
    is_smooth: bool,
) -> Tensor:
    """``x`` with a new size on every axis that has a target or a factor."""
    wanted = [axis for axis in range(x.ndim) if targets[axis] is not None or factors[axis] is not None]
    sizes = [_new_size(x.shape[axis], targets[axis], factors[axis]) for axis in wanted]
    torch_mode = _torch_mode(x, mode, how, rounding, cubic, excludes_outside)
    if torch_mode is not None and wanted and wanted[0] >= 2:
        options = {} if torch_mode.startswith("nearest") else {"align_corners": how == "align_corners"}
        space = range(2, x.ndim)
        if is_smooth:
            options["antialias"] = True
        if any(factors[axis] is not None for axis in wanted):
            scale = [float(factors[axis]) if factors[axis] is not None else 1.0 for axis in space]
            return functional.interpolate(
                x, scale_factor=scale, mode=torch_mode, recompute_scale_factor=False, **options
            )
        full = [sizes[wanted.index(axis)] if axis in wanted else x.shape[axis] for axis in space]
        return functional.interpolate(x, size=full, mode=torch_mode, **options)
    for axis, size in zip(wanted, sizes, strict=True):
        old = x.shape[axis]
        factor = factors[axis] if factors[axis] is not None else size / old
        places = _places(size, old, factor, how, x.device)
        if mode == "nearest":
            x = x.index_select(axis, _rounded(places, rounding).clamp(0, old - 1).long())
        elif mode == "linear":
            x = _linear(x, axis, places.clamp(0, old - 1))
        else:
            x = _cubic(x, axis, places, cubic, excludes_outside)
    return x


def _new_size(old: int, target: Any, factor: Any) -> Any:
    if target is not None:
        return target
    return torch.sym_int(old * factor) if not isinstance(old, int) else int(old * factor)


def _torch_mode(x: Tensor, mode: str, how: str, rounding: str, cubic: float, excludes_outside: bool) -> str | None:
    """The mode of torch that means the same, if there is one."""
    if mode == "nearest" and x.ndim in _LINEAR:
        return "nearest" if (how, rounding) == ("asymmetric", "floor") else None
    is_known = how in ("half_pixel", "pytorch_half_pixel", "align_corners")
    if mode == "linear" and is_known:
        return _LINEAR.get(x.ndim)
    if mode == "cubic" and is_known and x.ndim == 4 and cubic == -0.75 and not excludes_outside:
        return "bicubic"
    return None


def _places(size: int, old: int, factor: Any, how: str, device: torch.device) -> Tensor:
    """Where in the old axis each new element lies."""
    new = torch.arange(size, device=device, dtype=torch.float32)
    if how == "align_corners":
        return torch.mul(new, (old - 1) / max(size - 1, 1))
    if how == "asymmetric":
        return torch.div(new, factor)
    if how == "pytorch_half_pixel" and size <= 1:
        return torch.zeros_like(new)
    if how == "half_pixel_symmetric":
        shift: float = (old / 2) * (1 - size / (old * factor))
        return torch.div(new + 0.5, factor) + (shift - 0.5)
    return torch.div(new + 0.5, factor) - 0.5


def _rounded(places: Tensor, rounding: str) -> Tensor:
    if rounding == "floor":
        return torch.floor(places)
    if rounding == "ceil":
        return torch.ceil(places)
    return torch.ceil(places - 0.5) if rounding == "round_prefer_floor" else torch.floor(places + 0.5)


def _spread(weight: Tensor, x: Tensor, axis: int) -> Tensor:
    return weight.to(x.dtype).reshape([-1 if index == axis else 1 for index in range(x.ndim)])


def _linear(x: Tensor, axis: int, places: Tensor) -> Tensor:
    low = torch.floor(places)
    high = (low + 1).clamp(max=x.shape[axis] - 1)
    share = _spread(places - low, x, axis)
    return x.index_select(axis, low.long()) * (1 - share) + x.index_select(axis, high.long()) * share


def _cubic(x: Tensor, axis: int, places: Tensor, a: float, excludes_outside: bool) -> Tensor:
    low = torch.floor(places)
    t = places - low
    weights = [
        ((a * (t + 1) - 5 * a) * (t + 1) + 8 * a) * (t + 1) - 4 * a,
        ((a + 2) * t - (a + 3)) * t * t + 1,
        ((a + 2) * (1 - t) - (a + 3)) * (1 - t) * (1 - t) + 1,
        ((a * (2 - t) - 5 * a) * (2 - t) + 8 * a) * (2 - t) - 4 * a,
    ]
    taps = [low + offset for offset in (-1, 0, 1, 2)]
    if excludes_outside:
        inside = [(tap >= 0) & (tap <= x.shape[axis] - 1) for tap in taps]
        weights = [weight * flag for weight, flag in zip(weights, inside, strict=True)]
        total = weights[0] + weights[1] + weights[2] + weights[3]
        weights = [weight / total for weight in weights]
    pieces = [
        x.index_select(axis, tap.clamp(0, x.shape[axis] - 1).long()) * _spread(weight, x, axis)
        for tap, weight in zip(taps, weights, strict=True)
    ]
    return pieces[0] + pieces[1] + pieces[2] + pieces[3]
