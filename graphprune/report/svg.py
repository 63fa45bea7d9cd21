"""SVG by hand: elements whose texts, names of a model among them, can hold anything."""

from __future__ import annotations

import re
from xml.etree import ElementTree

_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def add(
    parent: ElementTree.Element, tag: str, attributes: dict[str, str] | None = None, text: str = ""
) -> ElementTree.Element:
    """A child; what XML cannot hold in any spelling, control characters, becomes a replacement character."""
    element = ElementTree.SubElement(parent, tag, attributes or {})
    element.text = _NOT_IN_XML.sub("\ufffd", text) or None
    return element


def at(x: float, y: float, style: str = "") -> dict[str, str]:
    """Where an element stands, and its class."""
    return {"x": f"{x:g}", "y": f"{y:g}", **({"class": style} if style else {})}


def box(x: float, y: float, width: float, height: float, style: str = "") -> dict[str, str]:
    """A rectangle with round corners."""
    return {**at(x, y, style), "width": f"{width:g}", "height": f"{height:g}", "rx": "5"}
