"""The README's two commands and its Python do what it says, its figures are those of the pages, its links lead
somewhere.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import ROOT, console_commands, page, run

README = (ROOT / "README.md").read_text()
_MOST_LINES = 120


@pytest.fixture(scope="module")
def tool() -> Iterator[Any]:
    """``tools/figures/readme.py``, which writes the figures."""
    folder = str(ROOT / "tools" / "figures")
    sys.path.insert(0, folder)
    yield import_module("readme")
    sys.path.remove(folder)


def test_what_is_quoted_is_what_the_pages_say(tool: Any) -> None:
    assert tool.quoted(README, page) == README
    assert tool.indexed(page("index.md"), tool.shown(README)) == page("index.md")


def test_other_figures_are_put_right(tool: Any) -> None:
    spoilt = re.sub(r"[\d,]+ of [\d,]+ cuts", "1 of 22 cuts", re.sub(r"onnxsim [\d.]+", "onnxsim 1.0", README))
    assert spoilt != README and tool.quoted(spoilt, page) == README
    printed = re.sub(r"faster \[[\d., ]+\]", "faster [0.9, 12.25]", tool.shown(README))
    assert "[0.9, 12.25] on onnxruntime`" in tool.indexed(page("index.md"), printed)


@pytest.mark.slow
def test_main_command_prunes_and_prints_the_table(checkout: Path, tool: Any) -> None:
    install, _, prune = console_commands(README)[0].partition(" && ")
    assert install == "pip install -e '.[cpu]'"  # .ci/run does that part in a fresh environment
    done = run(prune, checkout)
    assert done.returncode == 0, done.stderr

    shows, prints = tool.without_times(tool.shown(README)), tool.without_times(done.stdout)
    number = r"[-+]?\d[\d,.]*(?:e[-+]?\d+)?"
    assert [re.sub(number, "#", line) for line in prints] == [re.sub(number, "#", line) for line in shows]
    for line, other in zip(prints, shows, strict=True):
        for one, two in zip(re.findall(number, line), re.findall(number, other), strict=True):
            # Other processors round otherwise: a score or an image may differ, a count may not.
            assert float(one.replace(",", "")) == pytest.approx(float(two.replace(",", "")), rel=0.02, abs=1e-4)
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert (checkout / "small.onnx").is_file()


@pytest.mark.slow
def test_python_example_runs(checkout: Path) -> None:
    example = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert example is not None
    assert "models/fashion_calibration.npz" in example[1]
    (checkout / "example.py").write_text(example[1].replace("models/fashion_calibration.npz", "calib.npz"))  # a part
    done = run(f"{sys.executable} example.py", checkout)
    assert done.returncode == 0, done.stderr
    speed_up, error = map(float, done.stdout.split())
    assert speed_up > 0
    assert error <= 1e-4


def test_it_is_short_and_its_links_lead_somewhere() -> None:
    assert len(README.splitlines()) <= _MOST_LINES
    for target in re.findall(r"\]\(([^)#]+)", README):
        assert (ROOT / target).exists(), f"the README links to {target}"
