"""Let PyPI's torchvision, which is built for GPUs, be imported beside a CPU build of torch.

    pip install --no-deps torchvision==0.28.0 && python tools/checks/torchvision_beside_cpu.py

Its own operators are missing there, of which no classifier and no data set runs one: they are declared, not defined, at
the top of the installed package, so that transformers, timm and notebooks import it in processes of their own, too.
"""

from __future__ import annotations

import importlib.util
import inspect
from pathlib import Path
from typing import Any


def declare() -> object:
    """The missing operators, for as long as what is returned lives; None where they are there."""
    import torch

    if hasattr(torch.ops.torchvision, "nms"):
        return None
    library: Any = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    kinds = ("roi_align", "roi_pool", "ps_roi_align", "ps_roi_pool", "deform_conv2d")
    for name in ("nms", "qnms", *kinds, *(f"_{kind}_backward" for kind in kinds)):
        library.define(f"{name}() -> ()")
    return library


_DECLARED = f"{inspect.getsource(declare)}\n\n_declared = declare()\n"


def main() -> None:
    found = importlib.util.find_spec("torchvision")
    if found is None or found.origin is None:
        raise SystemExit("torchvision is not installed here; next: pip install --no-deps torchvision==0.28.0")
    path = Path(found.origin)
    text = path.read_text()
    if not text.startswith(_DECLARED):
        path.write_text(_DECLARED + text)


if __name__ == "__main__":
    main()
