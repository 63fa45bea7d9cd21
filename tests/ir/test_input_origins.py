"""What the inputs of a rewritten model take of those of its file, through any number of rewrites."""

from __future__ import annotations

import numpy as np
import onnx

from graphprune.ir.input_origins import InputOrigins, fed_to, fed_to_file, forget_inputs, note_inputs
from graphprune.ir.loading import load
from graphprune.runtime.sessions import RuntimeOptions, open_session, run
from tests.graphs import build

_TEXT = "(float[N, 4] x, float[N, {}] past) => (float[N, {}] y) {{ y = Concat<axis = 1>(x, past) }}"
_GIVEN = ["x", "past", "other"]


def _narrow(width: int) -> onnx.ModelProto:
    return build(_TEXT.format(width, 4 + width))


def _feeds() -> dict[str, np.ndarray]:
    return {
        "x": np.zeros((2, 4), np.float32),
        "past": np.arange(10, dtype=np.float32).reshape(2, 5),
        "other": np.ones((2, 5), np.float32),
    }


def _mask(*kept: int, size: int) -> list[np.ndarray]:
    return [np.ones(2, bool), np.isin(np.arange(size), kept)]


def test_a_session_takes_the_feeds_of_the_file_it_came_from() -> None:
    proto = _narrow(2)
    note_inputs(proto, _GIVEN, {"past": ("past", _mask(1, 3, size=5))})
    session = open_session(proto, RuntimeOptions(threads=1))
    (found,) = run(session, _feeds())
    np.testing.assert_array_equal(found[:, 4:], _feeds()["past"][:, [1, 3]])
    own = fed_to_file(proto, _feeds())
    assert own.keys() == {"x", "past"}
    np.testing.assert_array_equal(run(session, own)[0], found)


def test_what_is_cut_again_or_renamed_is_still_of_the_file() -> None:
    proto = _narrow(1)
    note_inputs(proto, _GIVEN, {"past": ("other", [])})  # the other one has moved here
    note_inputs(proto, ["x", "past"], {"past": ("past", _mask(1, 3, 4, size=5))})
    note_inputs(proto, ["x", "past"], {"past": ("past", _mask(1, size=3))})
    origins = InputOrigins.of(proto)
    assert origins.given == tuple(_GIVEN)
    assert (origins.made["past"].name, origins.made["past"].kept) == ("other", (None, (3,)))
    np.testing.assert_array_equal(fed_to_file(proto, _feeds())["past"], _feeds()["other"][:, [3]])


def test_one_of_the_same_size_that_has_moved_is_told_by_those_that_left() -> None:
    proto = _narrow(5)
    note_inputs(proto, _GIVEN, {"past": ("other", [])})
    np.testing.assert_array_equal(fed_to_file(proto, _feeds())["past"], _feeds()["other"])
    own = {name: array for name, array in _feeds().items() if name != "other"}
    np.testing.assert_array_equal(fed_to_file(proto, own)["past"], own["past"])


def test_what_is_no_input_passes_by() -> None:
    proto = _narrow(2)
    note_inputs(proto, _GIVEN, {"past": ("past", _mask(0, 1, size=5))})
    assert set(fed_to_file(proto, _feeds() | {"inner": np.zeros(3)})) == {"x", "past", "inner"}


def test_a_file_that_is_loaded_again_is_the_one_that_samples_are_for() -> None:
    proto = _narrow(2)
    note_inputs(proto, _GIVEN, {"past": ("past", _mask(1, 3, size=5))})
    proto.metadata_props.add(key="author", value="somebody")
    model = load(proto)
    assert [(entry.key, entry.value) for entry in model.header.metadata_props] == [("author", "somebody")]
    own = {"x": _feeds()["x"], "past": _feeds()["past"][:, :2]}
    assert fed_to(model, own).keys() == own.keys()
    forget_inputs(proto)
    assert InputOrigins.of(proto) == InputOrigins()
