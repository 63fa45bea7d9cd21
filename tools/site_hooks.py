"""What the site makes of docstrings: a name is a name, without the role that other tools put before it."""

from __future__ import annotations

import re
from typing import Any

_ROLE = re.compile(r":(?:mod|class|func|meth|attr|data):(?=<code>)")


def on_page_content(html: str, **_: Any) -> str:
    """mkdocs calls this with each page."""
    return _ROLE.sub("", html)
