"""A checkpoint is whole or refused, and belongs to one run."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from graphprune.errors import InputError  # noqa: E402 - torch may be missing
from graphprune.training import checkpoint  # noqa: E402

WHO = {"model": "abc", "data": "60 samples"}
STATE: dict[str, Any] = {
    "identity": WHO,
    "epoch": 3,
    "rows": [{"score": 0.5, "lr": None}],
    "module": {"w": torch.arange(500.0)},
}


def names(folder: Path) -> list[str]:
    return [file.name for file in folder.iterdir()]


def saved(folder: Path, state: dict[str, Any] | None = None) -> Path:
    path = folder / "run.checkpoint"
    checkpoint.save(path, state or STATE)
    return path


def test_round_trip_leaves_one_file(tmp_path: Path) -> None:
    path = saved(tmp_path)
    checkpoint.save(path, STATE | {"epoch": 4})
    state = checkpoint.load(path, WHO)
    assert (state["epoch"], state["rows"]) == (4, STATE["rows"])
    assert torch.equal(state["module"]["w"], STATE["module"]["w"])
    assert names(tmp_path) == [path.name]


def test_every_truncation_and_every_flipped_byte_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path)
    content = path.read_bytes()
    for end in {0, 1, 10, 24, 40, 60, len(content) // 2, len(content) - 1}:
        path.write_bytes(content[:end])
        with pytest.raises(InputError, match=r"no checkpoint of this version|is damaged"):
            checkpoint.load(path, WHO)
    for place in range(0, len(content), 97):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(InputError, match=r"no checkpoint of this version|is damaged"):
            checkpoint.load(path, WHO)


@pytest.mark.parametrize("what", ["model", "data"])
def test_another_run_is_refused_by_what_differs(what: str, tmp_path: Path) -> None:
    path = saved(tmp_path)
    with pytest.raises(InputError, match=f"belongs to another run: its {what} was {WHO[what]}, this one's is new"):
        checkpoint.load(path, WHO | {what: "new"})


class Evil:
    """Runs a command when unpickled."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self._mark),)


def test_code_in_a_checkpoint_never_runs(tmp_path: Path) -> None:
    path = saved(tmp_path, STATE | {"extra": Evil(tmp_path / "mark")})
    with pytest.raises(InputError, match="holds something that is never loaded"):
        checkpoint.load(path, WHO)
    assert not (tmp_path / "mark").exists()
    assert pickle.dumps(Evil(tmp_path))  # it would have been picklable


def test_unreadable_and_unwritable_places(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        checkpoint.load(tmp_path / "none", WHO)
    with pytest.raises(InputError, match="cannot be written"):
        checkpoint.save(tmp_path / "no-folder" / "x", STATE)


def test_failed_write_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path)

    def broken(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(InputError, match="No space left"):
        checkpoint.save(path, STATE | {"epoch": 9})
    assert checkpoint.load(path, WHO)["epoch"] == 3
    assert names(tmp_path) == [path.name]


def test_sweep_takes_what_killed_runs_left(tmp_path: Path) -> None:
    path = saved(tmp_path)
    (tmp_path / f".{path.name}-abc").touch()
    (tmp_path / "else").touch()
    checkpoint.sweep(path)
    assert names(tmp_path) == ["else"]
    checkpoint.sweep(path)
