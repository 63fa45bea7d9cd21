"""What a picture says of its parts, in words below it: a part leads to its words by tap, key or pointer, without a
script.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

from graphprune.report.svg import add


@dataclass(frozen=True)
class Told:
    """One part: where it is told (an id), its ``name`` and what there is to say."""

    anchor: str
    name: str
    facts: tuple[str, ...]


def told(kind: str, texts: Sequence[str]) -> list[Told]:
    """``texts`` say of each part of a picture its name in the first line, and a fact in each other."""
    lines = [text.split("\n") for text in texts]
    return [Told(anchor(kind, place), name, tuple(facts)) for place, (name, *facts) in enumerate(lines)]


def anchor(kind: str, place: int) -> str:
    """The id of the part of a picture that stands at ``place``."""
    return f"{kind}-{place}"


def leading(parent: ElementTree.Element, kind: str, place: int, style: str, text: str) -> ElementTree.Element:
    """An element of a picture that leads to its words, and shows them where there is a pointer to rest on it."""
    link = add(parent, "a", {"href": f"#{anchor(kind, place)}", "class": style})
    add(link, "title", {}, text)
    return link
