"""Windows and folds of the four protocols, on made-up recordings and on the authors' data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from graphprune.errors import DataError, OptionError
from graphprune.protocols import PROTOCOLS, Recording, fnow, leakage, loso, loto, snow, windows
from tests.protocols.recordings import authors_folds, recordings


def test_windows_stay_in_their_recording() -> None:
    given = [Recording(np.arange(22).reshape(11, 2), "walk", 1, 0), Recording(np.arange(8).reshape(4, 2), "sit", 2, 5)]
    cut = windows(given, 4, 0.5)
    assert cut.x.shape == (5, 1, 4, 2)
    np.testing.assert_array_equal(cut.starts, [0, 2, 4, 6, 0])  # the step left over is in no window
    np.testing.assert_array_equal(cut.x[3, 0], given[0].values[6:10])
    np.testing.assert_array_equal(cut.labels, ["walk"] * 4 + ["sit"])
    np.testing.assert_array_equal(cut.subjects, [1, 1, 1, 1, 2])
    np.testing.assert_array_equal(cut.trials, [0, 0, 0, 0, 5])
    assert len(windows(given, 4, 0)) == 3
    assert len(windows(given, 4, 0.99)) == 9  # a window moves by one step at least


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_window_is_tested_once(name: str) -> None:
    cut, folds = PROTOCOLS[name](recordings(), 20)
    np.testing.assert_array_equal(np.sort(np.concatenate([fold.test for fold in folds])), np.arange(len(cut)))
    for fold in folds:
        assert not np.intersect1d(fold.train, fold.test).size
        assert len(fold.train) + len(fold.test) == len(cut)


def test_what_each_protocol_keeps_apart() -> None:
    given = recordings()
    cut, folds = loso(given, 20)
    assert len(folds) == 3
    for fold in folds:
        assert not set(cut.subjects[fold.train]) & set(cut.subjects[fold.test])
    cut, folds = loto(given, 20)
    assert len(folds) == 10
    names = np.array([f"{s} {a} {t}" for s, a, t in zip(cut.subjects, cut.labels, cut.trials, strict=True)])
    for fold in folds:
        assert not set(names[fold.train]) & set(names[fold.test])
    cut, folds = snow(given, 20)
    assert np.ptp([np.sum(cut.labels[fold.test] == "a0") for fold in folds]) <= 1  # stratified
    assert len(fnow(given, 20)[0]) < 0.6 * len(cut)


def test_the_seed_decides() -> None:
    given = recordings()
    one, again, other = (snow(given, 20, seed=seed)[1][0].test for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


def test_leakage_of_made_up_recordings() -> None:
    given = recordings()
    rates = {}
    for name, protocol in PROTOCOLS.items():
        cut, folds = protocol(given, 20)
        rates[name] = leakage(cut.x, folds)
    assert rates["snow"] > 0.9
    assert rates["fnow"] == rates["loso"] == rates["loto"] == 0


# The shares are those of the fact sheet (methods.md, section 12).
@pytest.mark.parametrize(("name", "share"), [("UTD-MHAD1_1s", 0.958), ("UTD-MHAD2_1s", 0.964), ("WHARF", 0.936)])
@pytest.mark.parametrize("protocol", ["SNOW", "FNOW", "LOSO", "LOTO"])
def test_leakage_of_the_authors_folds(shared_models: Path, name: str, share: float, protocol: str) -> None:
    path = shared_models.parent / "data" / "har" / protocol / f"{name}.npz"
    if not path.exists():
        pytest.skip(f"no {path.name} of {protocol} in the shared data")
    x = np.load(path, allow_pickle=False)["X"]
    assert leakage(x, authors_folds(path)) == pytest.approx(share if protocol == "SNOW" else 0, abs=5e-4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda given: windows(given, 0, 0.5), "0 steps"),
        (lambda given: windows(given, 20, 1.0), "overlap 1.0"),
        (lambda given: windows(given, 500, 0.5), "no recording has the 500 steps"),
        (
            lambda given: windows([*given, replace(given[0], values=np.ones((30, 3)))], 20, 0),
            r"\(30, 3\), not \(time, 2",
        ),
        (lambda given: snow(given, 20, folds=1), "1 fold leaves nothing"),
        (lambda given: fnow(given, 20, folds=99), "fewer than the 99 folds"),
        (lambda given: loto(given, 20, folds=99), "48 trials for 99 folds"),
        (lambda given: loso([each for each in given if each.subject == 1], 20), "one subject"),
        (lambda given: leakage(np.ones((4, 1, 1, 2)), [(np.arange(2), np.arange(2))]), "no halves"),
        (lambda given: leakage(np.ones((4, 1, 6, 2)), [(np.arange(2), np.arange(0))]), "no test windows"),
    ],
)
def test_refuses(call, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises((DataError, OptionError), match=message):
        call(recordings())
