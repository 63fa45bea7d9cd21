"""The README's two commands and its Python do what it says, and its links lead somewhere."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, console_commands, run

README = (ROOT / "README.md").read_text()
_MOST_LINES = 120


def without_times(text: str) -> list[str]:
    """Times differ from run to run; everything else must be what the README shows."""
    timed = r"faster|difference in|SLOWER| ms|^─+$"  # rules are as wide as the widest time
    return [" ".join(line.split()) for line in text.splitlines() if line.strip() and not re.search(timed, line.strip())]


@pytest.mark.slow
def test_main_command_prunes_and_prints_the_table(checkout: Path) -> None:
    install, _, prune = console_commands(README)[0].partition(" && ")
    assert install == "pip install -e '.[cpu]'"  # .ci/run does that part in a fresh environment
    done = run(prune, checkout)
    assert done.returncode == 0, done.stderr
    shown = re.search(r"```text\n(.*?)```", README, re.DOTALL)
    assert shown is not None

    shows, prints = without_times(shown[1]), without_times(done.stdout)
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
