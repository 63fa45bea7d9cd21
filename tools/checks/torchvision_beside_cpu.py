"""Let PyPI's torchvision, which is built for GPUs, be imported beside a CPU build of torch.

    pip install --no-deps torchvision==0.28.0 && python tools/checks/torchvision_beside_cpu.py

Its own operators are missing there, of which no classifier and no data set runs one: they are declared, not defined, at
the top of the installed package, so that transformers, timm and notebooks import it in processes of their own, too.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

_KINDS = ("roi_align", "roi_pool", "ps_roi_align", "ps_roi_pool", "deform_conv2d")
OPERATORS = ("nms", "qnms", *_KINDS, *(f"_{kind}_backward" for kind in _KINDS))

DECLARED = f"""\
import torch

if not hasattr(torch.ops.torchvision, "nms"):
    _declared = torch.library.Library("torchvision", "DEF")  # lives as long as this module
    for _name in {OPERATORS}:
        _declared.define(f"{{_name}}() -> ()")
"""


def main() -> None:
    found = importlib.util.find_spec("torchvision")
    if found is None or found.origin is None:
        raise SystemExit("torchvision is not installed here; next: pip install --no-deps torchvision==0.28.0")
    path = Path(found.origin)
    text = path.read_text()
    if not text.startswith(DECLARED):
        path.write_text(DECLARED + text)


if __name__ == "__main__":
    main()
