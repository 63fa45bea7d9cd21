"""JSON files that belong to others: read with care, written back in their own style."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from graphprune.errors import ModelError

Object = dict[str, Any]


def read_object(path: Path) -> Object:
    """The object in a JSON file, its keys in order.

    Raises
    ------
    ModelError
        It cannot be read, is no JSON, or holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}", "check its permissions") from None
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path} is not JSON ({error})", "mend the file, or make the folder again") from None
    if not isinstance(content, dict):
        raise ModelError(f"{path} holds no JSON object", "mend the file, or make the folder again")
    return content


def rewritten(original: Path, content: Object) -> str:
    """``content`` as text, indented as the file ``original`` is."""
    old = original.read_text(encoding="utf-8-sig")
    indent = re.search(r"\n( +|\t+)\S", old)
    space = indent[1] if indent else None
    text = json.dumps(content, indent=space, ensure_ascii=old.isascii())
    return text + ("\n" if old.endswith("\n") else "")


def entry(content: Any, *path: str) -> Any:
    """What stands at a path of keys; None where nothing does."""
    for key in path:
        content = content.get(key) if isinstance(content, dict) else None
    return content
