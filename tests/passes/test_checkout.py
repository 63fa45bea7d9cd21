"""``graphprune.passes`` where the checkout has no symbolic links, and where it has;
``tools/checks/checkout.py`` installs both.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import graphprune

ROOT = Path(__file__).parents[2]
SCRIPT = """
import pickle, graphprune
from graphprune.passes import find
from graphprune.passes.layer_cka import LayerCKA
assert pickle.loads(pickle.dumps(LayerCKA)) is find("layer-cka") is graphprune.LayerCKA
print(LayerCKA.__module__, graphprune.passes.__file__)
"""


def test_passes_without_symbolic_links(tmp_path: Path) -> None:
    shutil.copytree(
        ROOT / "graphprune", tmp_path / "graphprune", ignore=shutil.ignore_patterns("passes", "__pycache__")
    )
    shutil.copytree(ROOT / "passes", tmp_path / "passes", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "graphprune" / "passes").write_text("../passes")
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == f"graphprune.passes.layer_cka {tmp_path / 'passes' / '__init__.py'}\n", done.stderr


@pytest.mark.skipif(not (ROOT / "graphprune" / "passes").is_dir(), reason="this checkout has no symbolic links")
def test_only_graphprune_itself_is_searched_where_the_link_is_there() -> None:
    assert list(graphprune.__path__) == [str(Path(graphprune.__file__).parent)]
