"""Misspelt names of passes, of their options, and of commands."""

from __future__ import annotations

import pytest

from graphprune.base.did_you_mean import meant
from tests.command import command


def test_only_what_is_near_is_meant() -> None:
    assert meant("layer-ckaa", ["layer-cka", "amp"]) == "; did you mean layer-cka"
    assert meant("zebra", ["layer-cka", "amp"]) == ""


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("passes", "layer-ckaa"), "there is no pass 'layer-ckaa'; did you mean layer-cka"),
        (("m.onnx", "--pass", "filter-ob"), "there is no pass 'filter-ob'; did you mean filter-obs"),
        (("m.onnx", "--pass", "layer-cka{flor=1}"), "has no option 'flor'; did you mean floor"),
        (("insect", "m.onnx"), "no file 'insect'; did you mean inspect"),
    ],
)
def test_said_by_the_command(
    words: tuple[str, ...], wanted: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, *words) in (1, 2)
    assert wanted in capsys.readouterr().err


def test_one_pass_is_told_in_full(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert command(monkeypatch, "passes", "filter-kl") == 0
    shown = capsys.readouterr().out
    assert "Remove the filters, neurons and heads" in shown and "KL(p || p_u)" in shown
    assert "``" not in shown and "layer-cka" not in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert command(monkeypatch, "passes", "--json", "filter-kl") == 0
    assert capsys.readouterr().out.count('"summary"') == 1
