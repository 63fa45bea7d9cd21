"""Text is read from any place on, line by line, as little of it as is asked for."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from graphprune.errors import DataError, RuntimeMissing
from graphprune.text import corpus
from graphprune.text.corpus import TextFile, is_text, open_corpus

LINES = ["erste Zeile\n", "\n", "zweite, längere Zeile é\n", "漢字\n", "letzte"]


def test_each_line_belongs_to_the_part_it_begins_in(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("".join(LINES), encoding="utf-8")
    size = path.stat().st_size
    for cut in range(size + 1):
        before, after = ("".join(TextFile(path).read(*span)) for span in ((0, cut), (cut, size)))
        assert before + after == "".join(LINES)
        assert before == "" or before in ["".join(LINES[:count]) for count in range(6)]


def test_a_line_longer_than_a_piece_is_cut_between_characters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "_PIECE_BYTES", 10)
    path = tmp_path / "a.txt"
    path.write_text("漢" * 100, encoding="utf-8")
    for cut in range(1, 290):
        before, after = ("".join(TextFile(path).read(*span)) for span in ((0, cut), (cut, 300)))
        assert set(before + after) == {"漢"}
        assert len(before) + len(after) <= 100
    assert "".join(TextFile(path).read(0, 300)) == "漢" * 100


def test_a_byte_order_mark_is_no_text_and_other_encodings_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfabc")
    assert list(TextFile(path).read(0, 6)) == ["abc"]
    path.write_text("längs", encoding="latin-1")
    with pytest.raises(DataError, match=r"a.txt is no UTF-8 text"):
        list(TextFile(path).read(0, 6))


def test_records_are_joined_by_an_empty_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"body": text, "id": 1}) + "\n" for text in ("eins", "zwei")) + "\n")
    assert "".join(open_corpus(str(path), "body").read(0, path.stat().st_size)) == "eins\n\nzwei\n\n"
    with pytest.raises(DataError, match=r"a record of a.jsonl has no text 'text'; it holds body, id") as caught:
        list(open_corpus(str(path), "text").read(0, 5))
    assert "--text-field" in caught.value.fix
    path.write_text("no json\n")
    with pytest.raises(DataError, match=r"a line of a.jsonl is no JSON"):
        list(open_corpus(str(path), "text").read(0, 5))


def test_what_is_not_there_or_empty_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no data file"):
        open_corpus(str(tmp_path / "none.txt"), "text")
    (tmp_path / "empty.txt").touch()
    with pytest.raises(DataError, match=r"empty.txt is empty"):
        open_corpus(str(tmp_path / "empty.txt"), "text")


def test_a_dataset_is_read_by_record_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load_dataset(name: str, config: str | None, split: str) -> list[dict[str, str]]:
        asked.append((name, config, split))
        if name == "none":
            raise FileNotFoundError("no such dataset\nmore")
        return [{"text": f"text {index}"} for index in range(5)]

    monkeypatch.setattr("graphprune.base.extras.datasets", lambda: SimpleNamespace(load_dataset=load_dataset))
    rows = open_corpus("dataset:org/wiki:raw:test", "text")
    assert (rows.size, list(rows.read(3, 9))) == (5, ["text 3\n\n", "text 4\n\n"])
    open_corpus("dataset:wiki", "text")
    open_corpus("dataset:wiki:test", "text")
    assert asked == [("org/wiki", "raw", "test"), ("wiki", None, "train"), ("wiki", None, "test")]
    with pytest.raises(DataError, match="the dataset none cannot be loaded: no such dataset"):
        open_corpus("dataset:none", "text")


def test_without_the_package_the_pip_line_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(RuntimeMissing) as caught:
        open_corpus("dataset:wiki", "text")
    assert "graphprune[text]" in caught.value.fix


def test_text_is_told_by_its_name(tmp_path: Path) -> None:
    assert all(map(is_text, ["a.txt", tmp_path / "b.jsonl", "dataset:wiki"]))
    assert not any(map(is_text, ["a.npz", "load.py:text", None, {"a": 1}, b"a.txt"]))
