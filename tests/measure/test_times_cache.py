"""Measured times on disk: kept by what they hold for; what is broken is ignored and said."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from graphprune.ir.output_files import cache_folder
from graphprune.measure.times_cache import SCHEMA, Cache

KEY = {"runtime": "ort 1", "threads": 1, "batch": 1, "model": "abc"}


def filled(folder: Path) -> Path:
    cache = Cache(folder, KEY)
    cache.times_ms["piece"] = 1.5
    cache.save()
    assert cache.path is not None
    assert cache.notes == []
    return cache.path


def test_hit_and_miss(tmp_path: Path) -> None:
    path = filled(tmp_path)
    assert Cache(tmp_path, KEY).times_ms == {"piece": 1.5}
    for changed in ({"runtime": "ort 2"}, {"threads": 2}, {"batch": 8}, {"model": "abd"}):
        assert Cache(tmp_path, KEY | changed).times_ms == {}
    assert list(path.parent.iterdir()) == [path]  # nothing half written beside it
    assert json.loads(path.read_text())["schema"] == SCHEMA


@pytest.mark.parametrize(
    "content",
    [
        "no json",
        "[]",
        "{}",
        '{"schema": "other", "key": {}, "times_ms": {}}',
        json.dumps({"schema": SCHEMA, "key": {}, "times_ms": {"piece": 1.0}}),
        json.dumps({"schema": SCHEMA, "key": KEY, "times_ms": {"piece": "fast"}}),
        json.dumps({"schema": SCHEMA, "key": KEY, "times_ms": {"piece": -1.0}}),
        '{"schema": "graphprune.latency/1", "key": ' + json.dumps(KEY) + ', "times_ms": {"piece": NaN}}',
        json.dumps({"schema": SCHEMA, "key": KEY, "times_ms": [1.0]}),
    ],
)
def test_what_is_broken_is_ignored_with_a_note(tmp_path: Path, content: str) -> None:
    path = filled(tmp_path)
    path.write_text(content)
    cache = Cache(tmp_path, KEY)
    assert cache.times_ms == {}
    assert "cannot be used" in cache.notes[0]
    assert str(path) in cache.notes[0]
    cache.times_ms["piece"] = 2.0
    cache.save()
    assert Cache(tmp_path, KEY).times_ms == {"piece": 2.0}


def test_no_folder_keeps_nothing(tmp_path: Path) -> None:
    cache = Cache(None, KEY)
    cache.times_ms["piece"] = 1.0
    cache.save()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_a_note(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = Cache(tmp_path / "file", KEY)
    cache.save()
    assert "cannot be kept" in cache.notes[-1]


def test_default_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHPRUNE_CACHE", "/somewhere")
    assert cache_folder() == Path("/somewhere")
    monkeypatch.delenv("GRAPHPRUNE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert cache_folder() == Path("/cache/graphprune")
    monkeypatch.setenv("XDG_CACHE_HOME", "near")
    assert cache_folder() == Path("near/graphprune")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it is where that system keeps such things")
def test_default_folder_of_a_user_who_set_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("GRAPHPRUNE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "graphprune"
