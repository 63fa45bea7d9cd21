"""graphprune: remove what an exported network does not need, prove it, and measure what it gained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graphprune.errors import GraphpruneError
    from graphprune.ir.loading import load
    from graphprune.passes.layer_cka import LayerCKA
    from graphprune.pipeline.apply import apply
    from graphprune.pipeline.prune import prune
    from graphprune.plan.plan import Plan
    from graphprune.plan.target import Target
    from graphprune.report.result import Result
    from graphprune.run.options import RunOptions
    from graphprune.runtime.sessions import RuntimeOptions

__version__ = "0.1.0"

__all__ = [
    "GraphpruneError",
    "LayerCKA",
    "Plan",
    "Result",
    "RunOptions",
    "RuntimeOptions",
    "Target",
    "apply",
    "load",
    "prune",
]

_HOMES = {
    "GraphpruneError": "errors",
    "LayerCKA": "passes.layer_cka",
    "Plan": "plan",
    "Result": "report.result",
    "RunOptions": "subject",
    "RuntimeOptions": "runtime.sessions",
    "Target": "target",
    "apply": "pipeline",
    "load": "loading",
    "prune": "pipeline",
}

# In a checkout without symbolic links (Windows, a zip) graphprune/passes is no folder: passes/ is found beside graphprune/.
_ROOT = Path(__file__).parent.parent
if not (_ROOT / "graphprune" / "passes").is_dir() and (_ROOT / "passes").is_dir():
    __path__.append(str(_ROOT))


def __getattr__(name: str) -> Any:
    """Import on first use, so that ``graphprune --help`` does not wait for onnx and networkx."""
    if name not in _HOMES:
        raise AttributeError(f"module 'graphprune' has no attribute '{name}'")
    import importlib

    return getattr(importlib.import_module(f"graphprune.{_HOMES[name]}"), name)
