"""Sizes for the free axes of inputs, likely ones first: images, sequences, caches of keys and values."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

from graphprune.axes.probe import symbol
from graphprune.data.batching import Batching
from graphprune.data.fitting import InputSpec
from graphprune.data.made_up import Shapes, given_sizes
from graphprune.decoder.interface import DecoderInterface

Role = Literal["channels", "space", "latent", "past", "total", "sequence"]

_SPACE = (224, 64, 256, 32, 320, 640, 512, 128, 96, 48, 299, 416, 384, 112, 160, 192, 336, 448, 518, 768, 1024)
_SMALL_SPACE = tuple(sorted(_SPACE))
_LATENT = (64, 32, 128, 16)
_SEQUENCE = (16, 64, 128, 8, 32, 256, 512, 77, 1000, 1500, 3000, 16_000, 48_000, 1)
_TEXT = (16, 64, 8, 32, 1)  # of a decoder, whose cache would grow with longer ones
_CHANNELS = (3, 1)
_IMAGE_CHANNELS = (1, 3, 4)
_LATENT_CHANNELS = 4  # of the images that a diffusion model works on
_OPERATIONS: Mapping[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.FloorDiv: lambda a, b: a // b if b else 0,
}


def free_axes(specs: Sequence[InputSpec], batching: Batching, given: Shapes) -> list[tuple[str, int]]:
    """The axes whose size neither the file nor the user says, and that do not count samples."""
    return [
        (spec.name, axis)
        for spec in specs
        for axis, dim in enumerate(spec.dims)
        if not isinstance(dim, int) and axis != batching.axis(spec.name) and not given_sizes(spec, given)
    ]


def completed(
    specs: Sequence[InputSpec],
    batching: Batching,
    given: Shapes,
    *,
    small_first: bool = False,
    decoder: DecoderInterface | None = None,
) -> Iterator[dict[str, tuple[int, ...]]]:
    """Sizes of all inputs at one sample, one proposal after the other; what is given stays.

    Usual sizes come first, or with ``small_first`` those that take little time to run. The cache of a ``decoder`` is
    empty first: some attention operators take several positions of several samples with an empty one only.
    """
    own_roles = {} if decoder is None else _roles_in(decoder, specs)
    roles: dict[str, Role] = {}
    known: dict[str, int] = {}
    for spec in specs:
        shape = given_sizes(spec, given)
        for axis, dim in enumerate(spec.dims):
            if axis == batching.axis(spec.name):
                known[symbol(spec.name, axis, dim)] = batching.size or 1
            elif isinstance(dim, int):
                continue
            elif shape is not None:
                known[symbol(spec.name, axis, dim)] = shape[axis]
            else:
                name = symbol(spec.name, axis, dim)
                roles.setdefault(name, own_roles.get(name) or _role(spec, axis))
    seen = set()
    free = {name: role for name, role in roles.items() if name not in known}
    for sizes in _proposals(free, known, small_first, starts_empty=decoder is not None):
        shapes = {
            spec.name: tuple(
                dim if isinstance(dim, int) else sizes[symbol(spec.name, axis, dim)]
                for axis, dim in enumerate(spec.dims)
            )
            for spec in specs
        }
        if tuple(shapes.values()) not in seen:
            seen.add(tuple(shapes.values()))
            yield shapes


def _roles_in(decoder: DecoderInterface, specs: Sequence[InputSpec]) -> dict[str, Role]:
    """What the axes of the cache and of the mask stand for, whatever they are called."""
    dims = {spec.name: spec.dims for spec in specs}
    roles: dict[str, Role] = {}
    for tensor in decoder.cache:
        roles[symbol(tensor.past, tensor.position_axis, dims[tensor.past][tensor.position_axis])] = "past"
    if decoder.mask and len(dims[decoder.mask]) == 2:
        roles.setdefault(symbol(decoder.mask, 1, dims[decoder.mask][1]), "total")
    return roles


def _proposals(
    roles: Mapping[str, Role], known: Mapping[str, int], small_first: bool, *, starts_empty: bool
) -> Iterator[dict[str, int]]:
    kinds = set(roles.values())
    spaces = _SMALL_SPACE if small_first else _SPACE
    sequences = _TEXT if starts_empty else _SEQUENCE
    rounds = max(
        len(spaces) if "space" in kinds else len(_LATENT) if "latent" in kinds else 1,
        len(sequences) if kinds & {"past", "total", "sequence"} else 1,
    )
    for channels in _CHANNELS if "channels" in kinds else _CHANNELS[:1]:
        for number in range(rounds):
            space, latent, sequence = (sizes[min(number, len(sizes) - 1)] for sizes in (spaces, _LATENT, sequences))
            for past, total in _caches(kinds, sequence, starts_empty=starts_empty):
                by_role: dict[Role, int] = {"channels": channels, "space": space, "latent": latent}
                by_role |= {"past": past, "total": total, "sequence": sequence}
                sizes = {name: by_role[role] for name, role in roles.items()} | dict(known)
                computed = {name: value for name in roles if (value := _computed(name, sizes)) is not None}
                yield sizes | computed


def _caches(kinds: set[Role], sequence: int, *, starts_empty: bool) -> list[tuple[int, int]]:
    """Positions in a cache, and those of cache and sequence together."""
    if not kinds & {"past", "total"}:
        return [(sequence, sequence)]
    filled, empty, apart = (sequence, 2 * sequence), (0, sequence), (sequence, sequence)
    return [empty, filled, apart] if starts_empty else [filled, empty, apart]


def _role(spec: InputSpec, axis: int) -> Role:
    name, dims = symbol(spec.name, axis, spec.dims[axis]).lower(), spec.dims
    if "past" in name:
        return "past"
    if "total" in name:
        return "total"
    if "channel" in name:
        return "channels"
    if len(dims) == 4 and spec.dtype.kind in "fu":
        first = dims[1] in _IMAGE_CHANNELS or not any(isinstance(dim, int) for dim in dims[1:])
        if first or dims[3] in _IMAGE_CHANNELS:
            channel_axis = 1 if first else 3
            space: Role = "latent" if dims[channel_axis] == _LATENT_CHANNELS else "space"
            return "channels" if axis == channel_axis else space if axis > 0 else "sequence"
    if (len(dims) == 5 and dims[1] in _IMAGE_CHANNELS and axis > 2) or re.fullmatch("h|w|.*(height|width).*", name):
        return "space"
    return "sequence"


def _computed(name: str, sizes: Mapping[str, int]) -> int | None:
    """The size of an axis whose name is a sum or product of others, ``past_length + 1``; None if it is not."""
    if name.isidentifier():
        return None
    try:
        value = _evaluated(ast.parse(name, mode="eval").body, sizes)
    except SyntaxError:
        return None
    return value if value is not None and value >= 0 else None


def _evaluated(node: ast.expr, sizes: Mapping[str, int]) -> int | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return node.value
    if isinstance(node, ast.Name):
        return sizes.get(node.id)
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS:
        left, right = _evaluated(node.left, sizes), _evaluated(node.right, sizes)
        return None if left is None or right is None else _OPERATIONS[type(node.op)](left, right)
    return None
