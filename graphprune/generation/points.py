"""Points of a generation: how long the prompt is, and how many tokens follow."""

from __future__ import annotations

import re
from dataclasses import dataclass

from graphprune.errors import OptionError


@dataclass(frozen=True)
class GenerationPoint:
    """``new`` tokens, two at least, after a ``prompt`` of so many: one has no time per token."""

    prompt: int
    new: int

    def __str__(self) -> str:
        return f"prompt {self.prompt}, {self.new} new"

    @property
    def total(self) -> int:
        return self.prompt + self.new


DEFAULT_POINTS = (GenerationPoint(16, 256), GenerationPoint(512, 128))
"""Those of onnxruntime-genai's own benchmark, and one with a long prompt."""


def parse_points(text: str) -> tuple[GenerationPoint, ...]:
    """Read ``16:256,512:128``.

    Raises
    ------
    OptionError
        It is something else, or a point has no prompt or fewer than two new tokens.
    """
    matches = [re.fullmatch(r"\s*([1-9]\d*):([1-9]\d*)\s*", part) for part in text.split(",")]
    points = [GenerationPoint(int(match[1]), int(match[2])) for match in matches if match]
    if len(points) < len(matches) or any(point.new < 2 for point in points):
        raise OptionError(
            f"'{text}' are no points of a generation", "write PROMPT:NEW, at least two new, as in 16:256,512:128"
        )
    return tuple(dict.fromkeys(points))


def fitting(points: tuple[GenerationPoint, ...], context: int | None) -> tuple[GenerationPoint, ...]:
    """The points, with shorter prompts, and then fewer new tokens, where a ``context`` of so many would not hold them.
    None: not known.
    """
    if context is None:
        return points
    fitted = []
    for point in points:
        new = min(point.new, max(2, context // 2)) if point.total > context else point.new
        fitted.append(GenerationPoint(max(1, min(point.prompt, context - new)), new))
    return tuple(dict.fromkeys(fitted))
