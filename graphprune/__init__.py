"""graphprune: remove what an exported network does not need, prove it, and measure what it gained."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

# In a checkout without symbolic links (Windows, a zip) graphprune/passes is no folder:
# passes/ is found beside graphprune/.
_ROOT = Path(__file__).parent.parent
if not (_ROOT / "graphprune" / "passes").is_dir() and (_ROOT / "passes").is_dir():
    __path__.append(str(_ROOT))


def __getattr__(name: str) -> Any:
    """The public names, which ``__init__.pyi`` lists: imported on first use, so that ``--help`` waits for nothing."""
    if name == "__version__":
        return _version()
    find, _, public = _lazily()
    return public if name == "__all__" else find(name)


def __dir__() -> list[str]:
    names: list[str] = _lazily()[1]()
    return names


@cache
def _lazily() -> Any:
    import lazy_loader

    return lazy_loader.attach_stub(__name__, __file__)


def _version() -> str:
    """Of the installed package; a checkout on the path alone has none."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(__name__)
    except PackageNotFoundError:
        return "0+unknown"
