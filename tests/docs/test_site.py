"""The site builds, every page is in its navigation, and no link leads nowhere (mkdocs is strict)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from graphprune import passes
from tests.docs.pages import DOCS, ROOT, page, run
from tools import architecture


@pytest.mark.slow
def test_site_builds(tmp_path: Path) -> None:
    for package in ("mkdocs", "material", "mkdocstrings", "mkdocs_jupyter"):
        pytest.importorskip(package, reason="the extra docs is not installed")
    done = run(f"NO_MKDOCS_2_WARNING=1 mkdocs build --strict --quiet --site-dir {tmp_path / 'site'}", ROOT)
    assert done.returncode == 0, done.stderr
    for name in ("index.html", "reference/functions/index.html", "tutorials/cnn/index.html", "changelog/index.html"):
        assert (tmp_path / "site" / name).is_file()
    assert "graphprune.pipeline.prune.prune" in (tmp_path / "site/reference/functions/index.html").read_text()


def test_every_page_is_in_the_navigation() -> None:
    listed = set(re.findall(r": (\S+\.(?:md|ipynb))$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE))
    there = {path.relative_to(DOCS).as_posix() for end in ("md", "ipynb") for path in DOCS.rglob(f"*.{end}")}
    records = {name for name in there if name.startswith("decisions/0")}  # the list of decisions leads to them
    assert there - records == listed
    assert all(Path(record).name in page("decisions/index.md") for record in records)


def test_code_map_and_picture_are_those_of_the_rooms() -> None:
    """``python tools/architecture.py`` writes both again."""
    assert architecture.page() == architecture.PAGE.read_text()
    assert architecture.picture() == architecture.PICTURE.read_text()


def test_every_room_has_its_layer() -> None:
    rooms = {p.stem for p in (ROOT / "graphprune").iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    rooms |= {"passes"}  # which is no folder in a checkout without symbolic links
    assert rooms - {"__init__", "__main__"} == {room.name for layer in architecture.layers() for room in layer}


def test_every_pass_has_its_six_places() -> None:
    for name in passes.names():
        module = name.replace("-", "_")
        assert passes.find(name).__module__ == f"graphprune.passes.{module}"
        assert (ROOT / "passes" / f"{module}.py").is_file()
        assert (ROOT / "tests" / "passes" / f"test_{module}.py").is_file()
        assert f"| `{name}` |" in page("which_pass.md")
        assert f"::: graphprune.passes.{module}." in page("reference/passes.md")
        assert f".passes.{module} import" in (ROOT / "graphprune" / "__init__.pyi").read_text()
