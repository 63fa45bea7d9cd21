"""graphprune: remove what an exported network does not need, prove it, and measure what it gained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lazy_loader

# ``__init__.pyi`` names what is public: imported on first use,
# so that ``graphprune --help`` does not wait for onnx and networkx.
_public, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

# In a checkout without symbolic links (Windows, a zip) graphprune/passes is no folder:
# passes/ is found beside graphprune/.
_ROOT = Path(__file__).parent.parent
if not (_ROOT / "graphprune" / "passes").is_dir() and (_ROOT / "passes").is_dir():
    __path__.append(str(_ROOT))


def __getattr__(name: str) -> Any:
    return _version() if name == "__version__" else _public(name)


def _version() -> str:
    """Of the installed package; a checkout on the path alone has none."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(__name__)
    except PackageNotFoundError:
        return "0+unknown"
