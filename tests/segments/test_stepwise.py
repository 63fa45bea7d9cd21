"""A network walked from stop to stop, against the whole network with taps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from graphprune.ir.export import to_proto
from graphprune.ir.loading import load
from graphprune.ir.model import Model, read_values
from graphprune.rewrite.weights import set_values
from graphprune.segments.stepwise import StepwiseRun
from tests.graphs import Arrays, build, random_feeds, residual_mlp, run
from tests.repair.nets import resnet
from tests.repair.story import ONE_THREAD, images

LIMITS = [1 << 30, 500, 0]  # bytes in memory: all, a few tensors, none
CASES = {
    "plain": [["p0"], ["q0"], ["h1"], ["y"]],
    "the input": [["x"], ["h0", "x"], ["x"]],
    "a shortcut waits": [["h0"], ["r0", "h0"], ["h0", "r2"]],
    "twice the same": [["q1"], ["q1"], ["q1", "p1", "q1"]],
    "nothing to run in between": [["h3"], ["r2"], ["x"]],
    "an empty stop": [["h1"], [], ["h2"]],
    "out of order": [["y"], ["h1"], ["m"], ["s2"]],
    "the mask alone": [["g"], ["s0"]],
    "no stop": [],
}


def mlp() -> tuple[Model, list[Arrays]]:
    proto = residual_mlp(3, mask=True)
    return load(proto), [random_feeds(proto, batch, seed) for seed, batch in enumerate((4, 1, 3))]


def whole(model: Model, feeds: Arrays, names: Sequence[str]) -> Arrays:
    """Every tensor in one run of the whole network."""
    inner = [name for name in dict.fromkeys(names) if name not in feeds]
    found = run(to_proto(model, inner), feeds, inner) if inner else []
    return feeds | dict(zip(inner, found, strict=True))


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("stops", CASES.values(), ids=list(CASES))
def test_values_are_those_of_the_whole_network(stops: list[list[str]], limit: int) -> None:
    model, batches = mlp()
    with StepwiseRun(model, stops, ONE_THREAD, limit) as march:
        for feeds in batches:
            march.take(feeds)
        assert march.batches == len(batches)
        for index, stop in enumerate(stops):
            seen = list(march.advance(index))
            assert len(seen) == len(batches)
            for feeds, values in zip(batches, seen, strict=True):
                wanted = whole(model, feeds, stop)
                assert set(values) == set(stop)
                for name in stop:
                    np.testing.assert_allclose(values[name], wanted[name], rtol=1e-5, atol=1e-6)
        assert march._waiting.held_bytes == 0
        assert not any(march._waiting.get(batch) for batch in range(march.batches))


@pytest.mark.parametrize("limit", LIMITS)
def test_only_what_is_needed_is_held(limit: int) -> None:
    """Behind the last reader of a tensor it is gone, from memory and from disk; in the end the folder is, too."""
    model, batches = mlp()
    stops = [["h0"], ["h1"], ["h2"], ["y"]]
    with StepwiseRun(model, stops, ONE_THREAD, limit) as march:
        folder = Path(march._temporary.name)
        for feeds in batches:
            march.take(feeds)
        for index, held in enumerate(({"h0", "m"}, {"h1", "g"}, {"h2", "g"}, set())):
            for _ in march.advance(index):
                pass
            assert all(set(march._waiting.get(batch)) == held for batch in range(3))
            files = len(list(folder.iterdir()))
            assert files == (3 * len(held) if limit == 0 else 0 if limit > 500 else files)
            assert 0 <= march._waiting.held_bytes <= limit
    assert not folder.exists()


def test_files_go_even_when_the_walk_fails() -> None:
    model, batches = mlp()
    with pytest.raises(RuntimeError, match="stop here"), StepwiseRun(model, [["h1"], ["y"]], ONE_THREAD, 0) as march:
        folder = Path(march._temporary.name)
        march.take(batches[0])
        list(march.advance(0))
        assert list(folder.iterdir())
        raise RuntimeError("stop here")
    assert not folder.exists()


@pytest.mark.parametrize("limit", LIMITS)
def test_what_a_stop_changes_is_in_force_from_there_on(limit: int) -> None:
    """New weights of a layer not reached yet."""
    model, batches = mlp()
    changed = model.copy()
    with StepwiseRun(changed, [["h1"], ["y"]], ONE_THREAD, limit) as march:
        march.take(batches[0])
        list(march.advance(0))
        for node in changed.graph.nodes:
            if node.name in ("first0", "first2"):  # the first of them has run
                set_values(changed, node, 1, 2 * read_values(node.inputs[1], None))
        found = next(iter(march.advance(1)))["y"]
    wanted = model.copy()
    second = next(node for node in wanted.graph.nodes if node.name == "first2")
    set_values(wanted, second, 1, 2 * read_values(second.inputs[1], None))
    np.testing.assert_allclose(found, whole(wanted, batches[0], ["y"])["y"], rtol=1e-5, atol=1e-6)
    assert not np.allclose(found, whole(model, batches[0], ["y"])["y"], rtol=1e-3)


@pytest.mark.parametrize("limit", LIMITS)
def test_amended_tensors_go_on_changed(limit: int) -> None:
    """As if the network had an affine operation there; in the type that the tensor has."""
    model = load(resnet(2))
    feeds = images(3)
    factors, offsets = np.linspace(0.5, 2, 6).reshape(6, 1, 1), np.linspace(-1, 1, 6).reshape(6, 1, 1)
    with StepwiseRun(model, [["u0"], ["h1"], ["y"]], ONE_THREAD, limit) as march:
        march.take(feeds)
        before = next(iter(march.advance(0)))["u0"]
        march.amend("u0", factors, offsets)
        march.amend("u1", factors, offsets)  # not there yet: nothing happens
        passed = next(iter(march.advance(1)))["h1"]
        assert next(iter(march.advance(2)))["y"].shape == (3, 4)
    h0 = whole(model, feeds, ["h0"])["h0"]
    assert passed.dtype == np.float32
    np.testing.assert_allclose(passed, np.maximum(0, before * factors + offsets + h0), rtol=1e-5, atol=1e-5)


def test_shapes_and_branches_run_too() -> None:
    """What only sizes are read of must have run; and what a subgraph reads from outside."""
    proto = build(
        """(float[N,4] x) => (float[N,3] y) { [first] a = MatMul(x, w0) [act] h = Tanh(a) [size] s = Shape(h)
        [flat] f = Reshape(h, minus) [back] b = Reshape(f, s) [second] y = MatMul(b, w1) }""",
        {"w0": (4, 6), "w1": (6, 3), "minus": np.array([-1])},
    )
    model, feeds = load(proto), random_feeds(proto, 5)
    with StepwiseRun(model, [["f"], ["y"]], ONE_THREAD) as march:
        march.take(feeds)
        list(march.advance(0))
        found = next(iter(march.advance(1)))["y"]
    np.testing.assert_allclose(found, run(proto, feeds)[0], rtol=1e-5)
