"""Attention with a cache and rotary positions, as ONNX and ONNX Runtime's fused operators compute them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def heads_first(x: Tensor, heads: int) -> Tensor:
    """``x (N, S, heads * D)`` as ``(N, heads, S, D)``."""
    return x.reshape(*x.shape[:2], heads, -1).transpose(1, 2)


def heads_last(x: Tensor) -> Tensor:
    """The inverse of :func:`heads_first`."""
    return x.transpose(1, 2).flatten(2)


def rotated(x: Tensor, cos: Tensor, sin: Tensor, positions: Tensor | None, *, interleaved: bool) -> Tensor:
    """``x (N, heads, S, D)`` with pairs of its first ``R`` entries turned, the others as they are.

    ``cos`` and ``sin`` are tables (positions, R / 2) that int ``positions (N or 1, S)`` pick from; without positions
    they are (N, S, R / 2). A pair is two neighbours, or else entries half of ``R`` apart.
    """
    if positions is not None:
        cos, sin = cos[positions.long()], sin[positions.long()]
    cos, sin = cos.unsqueeze(1).to(x.dtype), sin.unsqueeze(1).to(x.dtype)
    turned, rest = x[..., : 2 * cos.shape[-1]], x[..., 2 * cos.shape[-1] :]
    one, other = (turned[..., ::2], turned[..., 1::2]) if interleaved else turned.chunk(2, -1)
    pair = one * cos - other * sin, one * sin + other * cos
    done = torch.stack(pair, -1).flatten(-2) if interleaved else torch.cat(pair, -1)
    return torch.cat([done, rest], -1) if rest.shape[-1] else done


def rotary(x: Tensor, cos: Tensor, sin: Tensor, positions: Tensor | None, *, heads: int, interleaved: bool) -> Tensor:
    """The operator: ``x (N, heads, S, D)``, or ``(N, S, heads * D)``; one position alone is that of the first token."""
    split = heads_first(x, heads or x.shape[2] // (2 * cos.shape[-1])) if x.ndim == 3 else x
    if positions is not None and positions.numel() == 1:
        positions = positions.reshape(1, 1) + torch.arange(split.shape[2], device=x.device)
    found = rotated(split, cos, sin, positions, interleaved=interleaved)
    return heads_last(found) if x.ndim == 3 else found


def mixed(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None,
    sink: Tensor | None = None,
    *,
    scale: float | None,
    softcap: float = 0.0,
    is_causal: bool = False,
) -> Tensor:
    """The values ``(N, kv, T, V)`` mixed for each query ``(N, heads, S, D)``; ``heads / kv`` queries share keys.

    ``bias`` is added to the scores, which broadcast from it, or is bool and says which keys are seen; ``is_causal`` is
    instead of one, for as many queries as keys. ``sink (heads)`` are scores of a key without a value. Scores keep below
    ``softcap``.
    """
    repeats = query.shape[1] // key.shape[1]
    if repeats > 1:
        key, value = key.repeat_interleave(repeats, 1), value.repeat_interleave(repeats, 1)
    if bias is not None and bias.is_floating_point():
        bias = bias.to(query.dtype).clamp_min(torch.finfo(query.dtype).min)  # a query that sees nothing is no NaN
    if not softcap and sink is None and (bias is None or bias.is_floating_point()):
        return functional.scaled_dot_product_attention(query, key, value, bias, is_causal=is_causal, scale=scale)
    scores = query @ key.mT * (query.shape[-1] ** -0.5 if scale is None else scale)
    if softcap:
        scores = softcap * torch.tanh(scores / softcap)
    if is_causal:
        bias = seen(torch.arange(query.shape[2], device=query.device), key.shape[2])
    if bias is not None:
        scores = scores + bias if bias.is_floating_point() else scores.masked_fill(~bias, _least(scores))
    if sink is not None:
        extra = sink.to(scores.dtype).reshape(-1, 1, 1).expand(*scores.shape[:-1], 1)
        return torch.softmax(torch.cat([scores, extra], -1), -1)[..., :-1] @ value
    return torch.softmax(scores, -1) @ value


def seen(places: Tensor, keys: int, window: int = 0) -> Tensor:
    """Whether a query at each of ``places (..., S)`` sees each of so many ``keys``: bool (..., S, T).

    None behind itself, and with a ``window`` only so many, itself the last.
    """
    columns, rows = torch.arange(keys, device=places.device), places.unsqueeze(-1)
    found = columns <= rows
    return found & (columns > rows - window) if window else found


def _least(scores: Tensor) -> float:
    return torch.finfo(scores.dtype).min


def group_query_attention(
    query: Tensor,
    key: Tensor | None,
    value: Tensor | None,
    past: tuple[Tensor, Tensor] | None,
    last: Tensor,
    tables: tuple[Tensor, Tensor] | None,
    bias: Tensor | None,
    sink: Tensor | None,
    *,
    heads: int,
    kv_heads: int,
    scale: float | None,
    interleaved: bool,
    window: int,
    softcap: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """``query (N, S, heads * D)``, ``key`` and ``value (N, S, kv * D)``, or all three in the first; causal.

    ``past`` are two ``(N, kv, P, D)``, ``last (N)`` the place of each sample's last token: padding comes behind. Gives
    what is mixed, ``(N, S, heads * D)``, and keys and values with those of the past in front, ``(N, kv, P + S, D)``.
    """
    if key is None or value is None:
        depth = query.shape[2] // (heads + 2 * kv_heads)
        query, key, value = torch.split(query, [heads * depth, kv_heads * depth, kv_heads * depth], 2)  # type: ignore[no-untyped-call,unused-ignore]  # torch's own stubs
    q, k, v = heads_first(query, heads), heads_first(key, kv_heads), heads_first(value, kv_heads)
    steps = torch.arange(q.shape[2], device=q.device).unsqueeze(0)
    has_past = past is not None and past[0].shape[2] > 0
    places = last.reshape(-1, 1).long() + 1 - q.shape[2] + steps if has_past else steps
    if tables is not None:
        q, k = (rotated(each, *tables, places, interleaved=interleaved) for each in (q, k))
    if past is not None and has_past:
        k, v = _behind(past[0], k, places), _behind(past[1], v, places)
    if has_past or window or bias is not None:
        visible = seen(places, k.shape[2], window).unsqueeze(1)
        bias = torch.zeros_like(visible, dtype=q.dtype) if bias is None else bias[..., : k.shape[2]]
        bias = bias.masked_fill(~visible, torch.finfo(q.dtype).min)
    is_causal = bias is None
    return heads_last(mixed(q, k, v, bias, sink, scale=scale, softcap=softcap, is_causal=is_causal)), k, v


def _behind(past: Tensor, new: Tensor, places: Tensor) -> Tensor:
    """The past with new rows at their ``places (N, S)``, which lie in front of the end where a sample is shorter."""
    index = places.expand(new.shape[0], -1)[:, None, :, None].expand_as(new)
    return torch.cat([past, torch.zeros_like(new)], 2).scatter(2, index, new)


def plus_part(x: Tensor, bias: Tensor, part: int) -> Tensor:
    """With its third of a bias for queries, keys and values in a row; values may be of another width."""
    width = x.shape[-1]
    return x + (bias[-width:] if part == 2 else bias[part * width : (part + 1) * width])


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    past: tuple[Tensor, Tensor] | None,
    *,
    heads: int,
    kv_heads: int,
    scale: float | None,
    softcap: float,
    is_causal: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Of the standard: operands ``(N, heads, S, D)`` or ``(N, S, heads * D)``; what is mixed lies as the query does.

    ``mask`` is bool, True where a key is seen, or added to the scores. Keys and values come back with the ``past``.
    """
    is_flat = query.ndim == 3
    q = heads_first(query, heads) if is_flat else query
    k = heads_first(key, kv_heads) if key.ndim == 3 else key
    v = heads_first(value, kv_heads) if value.ndim == 3 else value
    if past is not None:
        k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
    if is_causal and (mask is not None or (past is not None and past[0].shape[2]) or q.shape[2] != k.shape[2]):
        before = 0 if past is None else past[0].shape[2]
        visible = seen(before + torch.arange(q.shape[2], device=q.device), k.shape[2])
        if mask is None:
            mask = visible
        elif mask.is_floating_point():
            mask = mask.masked_fill(~visible, torch.finfo(mask.dtype).min)
        else:
            mask = mask & visible
        is_causal = False
    found = mixed(q, k, v, mask, scale=scale, softcap=softcap, is_causal=is_causal)
    return heads_last(found) if is_flat else found, k, v
