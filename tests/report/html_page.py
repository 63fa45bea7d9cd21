"""A report as a browser's parser sees it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html.parser import HTMLParser
from typing import Any

_VOID = {"meta", "br", "wbr", "link", "img", "input", "hr"}


class Page(HTMLParser):
    """Elements, texts by the section they are in, and the content of scripts; every tag must be closed by its like."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[tuple[str, dict[str, str | None]]] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.sections: dict[str, str] = {}
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.text = ""
        self.source = text
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append((tag, dict(attrs)))

    def handle_startendtag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1][0] == tag, f"</{tag}> closes {self.open[-1:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1][0] == "script":
            self.scripts.append((self.open[-1][1], data))
            return
        self.text += data
        for tag, attributes in self.open:
            if tag == "section" and attributes.get("id"):
                name = str(attributes["id"])
                self.sections[name] = self.sections.get(name, "") + data

    @property
    def embedded(self) -> dict[str, Any]:
        """The JSON in the page."""
        found: dict[str, Any] = json.loads("".join(data for _, data in self.scripts))
        return found

    def urls(self) -> list[str]:
        """Everything an attribute makes a browser look for."""
        names = ("src", "href", "xlink:href", "srcset", "action", "poster", "data", "background")
        return [value or "" for _, attributes in self.elements for name, value in attributes.items() if name in names]
