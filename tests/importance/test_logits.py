"""Divergence and loss of rows of logits, against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_softmax, rel_entr, softmax

from graphprune.importance.logits import class_losses, divergences

ONE, OTHER = np.random.default_rng(0).standard_normal((2, 40, 7)).astype(np.float32) * 5


@pytest.mark.parametrize("chunk", [1 << 21, 14])
def test_against_scipy(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graphprune.importance.logits._CHUNK", chunk)
    wide = ONE.astype(np.float64), OTHER.astype(np.float64)
    expected = rel_entr(softmax(wide[0], axis=1), softmax(wide[1], axis=1)).sum(axis=1)
    assert divergences(ONE, OTHER) == pytest.approx(expected)
    classes = np.arange(40) % 7
    assert class_losses(ONE, classes) == pytest.approx(-log_softmax(wide[0], axis=1)[np.arange(40), classes])


def test_large_logits_do_not_overflow() -> None:
    huge = np.array([[1e4, 0.0, -1e4]], np.float32)
    assert divergences(huge, huge) == pytest.approx([0])
    assert class_losses(huge, np.array([1])) == pytest.approx([1e4])


def test_no_rows() -> None:
    assert len(divergences(ONE[:0], OTHER[:0])) == 0
