"""What two sets of samples share."""

from __future__ import annotations

import numpy as np
import pytest

from graphprune.errors import DataError
from graphprune.protocols.prints import thumbnails
from graphprune.protocols.shared import Prints, repeated, shared
from tests.protocols.recordings import recordings


def images(n: int, seed: int = 0, side: int = 32) -> np.ndarray:
    """Coarse patterns (n, 3, side, side) float32 with fine noise."""
    generator = np.random.default_rng(seed)
    coarse = generator.standard_normal((n, 3, 8, 8)).repeat(side // 8, 2).repeat(side // 8, 3)
    return (coarse + 0.1 * generator.standard_normal(coarse.shape)).astype(np.float32)


def prints(*chunks: np.ndarray) -> Prints:
    return Prints.of({"x": chunk} for chunk in chunks)


def test_images_equal_and_alike() -> None:
    one = images(60)
    seen = np.concatenate([images(200, 1), one[:5], one[5:9] * 0.7 + 0.2])  # darker, with less contrast
    noisy = one.copy()
    noisy[9:12] += 0.1 * np.random.default_rng(2).standard_normal(noisy[9:12].shape).astype(np.float32)
    found = shared(prints(noisy[:20], noisy[20:]), prints(np.concatenate([seen, one[9:12]])))
    assert (found.samples, found.equal, found.overlapping, found.alike) == (60, 5, 0, 7)
    assert found.share == pytest.approx(12 / 60)


def test_channels_last_and_grey_images_are_images_too() -> None:
    one = images(20)
    for turned in (one.transpose(0, 2, 3, 1), one[:, :1], one[:, :1].transpose(0, 2, 3, 1)):
        assert prints(turned).kind == "images"
    np.testing.assert_allclose(thumbnails(one), thumbnails(one.transpose(0, 2, 3, 1)), atol=1e-6)


def test_sets_of_nothing_but_near_duplicates() -> None:
    """The yardstick is how far apart the samples of the set are, so it does not shrink with the duplicates."""
    one = images(40)
    assert shared(prints(one * 0.9), prints(one)).alike == 40
    assert shared(prints(np.ones_like(one)), prints(one)).alike == 0  # flat images look like nothing


def test_thumbnails_of_any_size() -> None:
    looks = thumbnails(images(3, side=24)[:, :, :17])
    np.testing.assert_allclose(np.linalg.norm(looks, axis=1), 1, rtol=1e-5)
    ramp = np.broadcast_to(np.arange(33.0), (1, 1, 33, 33))
    assert (np.diff(thumbnails(ramp).reshape(16, 16), axis=1) > 0).all()


@pytest.mark.parametrize("shape", [(100, 2), (1, 100, 2), (2, 100)])
def test_windows_that_overlap(shape: tuple[int, ...]) -> None:
    """Whatever axis time is on, for it is the longest."""
    steps = np.random.default_rng(0).standard_normal((150, 2))
    one, other = (steps[start : start + 100] for start in (0, 50))
    one, other = ((each.T if shape[0] == 2 else each).reshape(1, *shape) for each in (one, other))
    found = shared(prints(one), prints(other))
    assert (found.equal, found.overlapping) == (0, 1)
    assert shared(prints(one), prints(one)) == type(found)(1, 1, 0, 0)
    assert shared(prints(one), prints(-other)).share == 0


def test_tokens_are_series_and_tables_are_rows() -> None:
    tokens = np.arange(64).reshape(1, 64)
    assert prints(tokens).kind == "series"
    assert shared(prints(tokens), prints(tokens + 32)).overlapping == 1
    table = np.arange(30.0).reshape(6, 5)
    assert prints(table).kind == prints(np.arange(3)).kind == "rows"
    assert shared(prints(table), prints(table[::2])).equal == 3
    assert repeated(prints(table, table[:2])) == 2


def test_all_inputs_count() -> None:
    ids, mask = np.arange(40).reshape(2, 20), np.ones((2, 20), np.int64)
    one = Prints.of([{"ids": ids, "mask": mask}])
    assert shared(one, Prints.of([{"mask": mask, "ids": ids}])).equal == 2
    assert shared(one, Prints.of([{"ids": ids, "mask": mask * 0}])).equal == 0


def test_refuses() -> None:
    with pytest.raises(DataError, match="no samples"):
        prints()
    with pytest.raises(DataError, match="no samples"):
        prints(np.ones((0, 3)))
    with pytest.raises(DataError, match="differ in their number"):
        Prints.of([{"a": np.ones((2, 3)), "b": np.ones((3, 3))}])
    with pytest.raises(DataError, match="inputs"):
        Prints.of([{"a": np.ones((2, 3))}, {"b": np.ones((2, 3))}])


def test_split_of_recordings_at_random() -> None:
    x = np.concatenate([each.values[:90].reshape(-1, 10, 2) for each in recordings()])
    assert shared(prints(x[::2]), prints(x[1::2])).share == 0
