"""Outputs of a run as texts that two runs can be compared by: what depends on the day,
the machine or the place is left out.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

_LEFT_OUT = re.compile(
    r"(.*_)?seconds|processor|python|cpu_mhz|governor|runtime|gpu|threads|system|numpy|onnx|run "
    r"time|date|started|finished"
)
_ENTRY = re.compile(r'^ *"([\w ]+)": [^\[{\n]*\n', re.MULTILINE)  # of JSON among other text
_PATTERNS = (
    (re.compile(r"\b[\d,.]+ ?(s|seconds|min|minutes)\b"), r"<time> \1"),
    (re.compile(r"onnxruntime \d[\w.]*"), "onnxruntime <version>"),
    (re.compile(r"(/[\w.-]+)*/(tmp|replay-)\w[\w./-]*"), "<temporary>"),
    (re.compile(r"(\d+ interleaved pairs, \d+ threads), .*"), r"\1, <processor>"),
    (re.compile(r", line \d+"), ", line <n>"),
)


class Cleaner:
    """Takes out of texts what may differ; ``places`` are paths and what stands for each."""

    def __init__(self, places: Mapping[str, str]) -> None:
        self._places = sorted(places.items(), key=lambda item: -len(item[0]))

    def text(self, text: str) -> str:
        for place, name in self._places:
            text = text.replace(place, name)
        for pattern, instead in _PATTERNS:
            text = pattern.sub(instead, text)
        return _ENTRY.sub(lambda match: "" if _LEFT_OUT.fullmatch(match[1]) else match[0], text)

    def output(self, text: str) -> str:
        """Of a command: JSON has its times left out, other text is cleaned line by line; it ends with a new line."""
        try:
            return self.json(text)
        except ValueError:
            return self.text(text).rstrip("\n") + "\n" if text.strip() else ""

    def json(self, text: str) -> str:
        """Raises ValueError where it is none."""
        content = json.loads(text)
        if not isinstance(content, dict | list):
            raise ValueError("a single value is no document")
        return self.text(json.dumps(_without_times(content), indent=1, ensure_ascii=False)) + "\n"

    def markup(self, text: str) -> str:
        """HTML or SVG, an element a line; the data that a page holds as JSON is cleaned as JSON."""
        text = re.sub(r'(<script type="application/json"[^>]*>)(.*?)(</script>)', self._data, text, flags=re.DOTALL)
        text = re.sub(r"<dt>([^<]*)</dt>\s*<dd>[^<]*</dd>", self._fact, text)
        return self.text(re.sub(r">\s*<", ">\n<", text))

    def _fact(self, match: re.Match[str]) -> str:
        return f"<dt>{match[1]}</dt>" if _LEFT_OUT.fullmatch(match[1]) else match[0]

    def _data(self, match: re.Match[str]) -> str:
        return f"{match[1]}\n{self.output(match[2])}{match[3]}"


def _without_times(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _without_times(value) for key, value in content.items() if not _LEFT_OUT.fullmatch(key)}
    return [_without_times(value) for value in content] if isinstance(content, list) else content


def text_of(path: Path, cleaner: Cleaner) -> str:
    """What a written file holds."""
    data = path.read_bytes()
    match path.suffix:
        case ".onnx":
            return f"sha256 {_hash(data)}\n{_model(path)}"
        case ".json":
            return cleaner.output(data.decode())
        case ".html" | ".svg":
            return cleaner.markup(data.decode())
    return f"{len(data)} bytes, sha256 {_hash(data)}\n"


def _model(path: Path) -> str:
    """Inputs, outputs, nodes and tensors, one a line."""
    model = onnx.load(path)
    ends = [*model.graph.input, *model.graph.output]
    lines = [f"value {value.name} {_hash(value.SerializeToString())}" for value in ends]
    lines += [f"node {node.op_type} {node.name} {_hash(node.SerializeToString())}" for node in model.graph.node]
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        lines.append(
            f"tensor {tensor.name} {array.dtype}{list(array.shape)} {_hash(np.ascontiguousarray(array).tobytes())}"
        )
    return "\n".join(lines) + "\n"


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:24]
