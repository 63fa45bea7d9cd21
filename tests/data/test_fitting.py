"""Other dtypes are taken where no value changes, or where the model's own type is the narrower float."""

from __future__ import annotations

import numpy as np
import pytest

from graphprune.data.dataset import Data, load_data
from graphprune.errors import DataError
from graphprune.ir.loading import load
from tests.graphs import build

TAKEN = [
    ("int64", np.array([[3, 4]], np.int32)),
    ("int32", np.array([[3, 4]], np.int64)),
    ("int64", np.array([[3.0, 4.0]], np.float32)),
    ("float", np.array([[0, 255]], np.uint8)),
    ("float", np.array([[1e-3, 4.0]], np.float64)),
    ("float16", np.array([[0.1, 4.0]], np.float32)),
    ("bfloat16", np.array([[0.1, 4.0]], np.float32)),
    ("float", np.array([[3, 1 << 24]], np.int64)),
    ("bool", np.array([[0, 1]], np.int64)),
    ("uint8", np.array([[0, 255]], np.int64)),
]
REFUSED = [
    ("int64", np.array([[0.5, 4.0]], np.float32)),
    ("int32", np.array([[3, 1 << 40]], np.int64)),
    ("uint8", np.array([[-1, 3]], np.int64)),
    ("uint64", np.array([[-1, 3]], np.int64)),
    ("float16", np.array([[1e6, 4.0]], np.float32)),
    ("float", np.array([[3, (1 << 24) + 1]], np.int64)),
    ("bool", np.array([[0, 2]], np.int64)),
    ("float", np.array([["a", "b"]])),
    ("int64", np.array([[np.nan, 1.0]], np.float32)),
]


def data(kind: str, array: np.ndarray) -> Data:
    return load_data({"x": array}, load(build(f"({kind}[N,2] x) => ({kind}[N,2] y) {{ y = Identity(x) }}")), None)


@pytest.mark.parametrize(("kind", "array"), TAKEN)
def test_converted_with_a_note(kind: str, array: np.ndarray) -> None:
    given = data(kind, array)
    found = given.first()["x"]
    assert found.dtype == given.specs[0].dtype != array.dtype
    np.testing.assert_allclose(found.astype(np.float64), array.astype(np.float64), rtol=1e-2)
    assert list(given.conversions) == ["x"]
    assert f"is {array.dtype} in the given arrays, the model wants {found.dtype}" in given.conversions["x"]


@pytest.mark.parametrize(("kind", "array"), REFUSED)
def test_refused_where_values_would_change(kind: str, array: np.ndarray) -> None:
    with pytest.raises(DataError, match="the model wants 'x'"):
        data(kind, array).first()


def test_text_is_text() -> None:
    model = load(build("(string[N,2] x) => (string[N,2] y) { y = Identity(x) }"))
    given = load_data({"x": np.array([["a", "bc"]])}, model, None)
    assert given.first()["x"].tolist() == [["a", "bc"]]
    assert given.first()["x"].dtype == object


def test_the_right_dtype_is_not_spoken_of() -> None:
    given = data("float", np.ones((1, 2), np.float32))
    given.first()
    assert given.conversions == {}
