"""Linear maps are least squares of the original's exits on what the pruned network has at the entries."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from graphprune.analysis.model_analysis import ModelAnalysis, analyse
from graphprune.data.dataset import Data, load_data
from graphprune.ir.export import to_proto
from graphprune.ir.loading import load
from graphprune.repair import ridge
from graphprune.repair.linear_fit import fitted
from graphprune.repair.refit import Refit
from graphprune.repair.sites import find_sites
from graphprune.repair.stage import repair
from graphprune.rewrite import linearise, remove_blocks
from graphprune.rewrite.linear_map import LinearMap, linear_maps
from graphprune.rewrite.removal import Removal
from graphprune.runtime.sessions import RuntimeOptions
from tests.graphs import Arrays, run, tapped
from tests.linear_nets import stream, tokens
from tests.repair.nets import correlated, resnet

OPTIONS = RuntimeOptions(threads=1)


def looked_at(proto: onnx.ModelProto, feeds: Arrays) -> tuple[ModelAnalysis, Data]:
    model = load(proto)
    one = {name: values[:1] for name, values in feeds.items()}
    return analyse(model, one, OPTIONS), load_data(feeds, model, None)


def maps_of(analysis: ModelAnalysis, *joins: str) -> list[LinearMap]:
    found = linear_maps(analysis, [join for join in analysis.joins if join.node in joins])
    assert all(isinstance(each, LinearMap) for each in found), found
    return [each for each in found if isinstance(each, LinearMap)]


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hardly any penalty, and all positions looked at."""
    monkeypatch.setattr(ridge, "PENALTIES", (1e-9,))
    monkeypatch.setattr(Refit, "takes_all", True)


def test_a_map_is_the_least_squares_solution(free: None) -> None:
    feeds = tokens(60)
    proto = stream(2)
    analysis, data = looked_at(proto, feeds)
    (map_,) = fitted(analysis.model, (), analysis, maps_of(analysis, "join1"), data, 7, OPTIONS, lambda *_: None)
    inside = tapped(proto, feeds, ["h1", "h2"])
    x, t = (inside[name].reshape(-1, 8).astype(np.float64) for name in ("h1", "h2"))
    wanted, *_ = np.linalg.lstsq(np.hstack([x, np.ones((len(x), 1))]), t, rcond=None)
    np.testing.assert_allclose(map_.weights, wanted[:-1], atol=1e-4)
    np.testing.assert_allclose(map_.shift, wanted[-1], atol=1e-4)


def test_images_are_mapped_pixel_by_pixel(free: None) -> None:
    feeds, proto = correlated(40), resnet(2)
    analysis, data = looked_at(proto, feeds)
    (map_,) = fitted(analysis.model, (), analysis, maps_of(analysis, "join0"), data, 8, OPTIONS, lambda *_: None)
    inside = tapped(proto, feeds, ["h0", "v0"])
    x, t = (np.moveaxis(inside[name], 1, -1).reshape(-1, 6).astype(np.float64) for name in ("h0", "v0"))
    wanted, *_ = np.linalg.lstsq(np.hstack([x, np.ones((len(x), 1))]), t, rcond=None)
    np.testing.assert_allclose(map_.weights, wanted[:-1], atol=1e-4)
    small = tapped(to_proto(linearise(analysis.model, [map_])), feeds, ["v0"])["v0"]
    best = np.hstack([x, np.ones((len(x), 1))]) @ wanted
    np.testing.assert_allclose(np.moveaxis(small, 1, -1).reshape(-1, 6), best, atol=1e-3)


@pytest.mark.parametrize("batch", [5, 24])
def test_maps_behind_each_other_pay_back_what_went_before(batch: int) -> None:
    """With the first block gone and the next two linear, the second map makes up for the first block: linear, too."""
    feeds, proto = tokens(), stream(4, linear=(0, 1, 2))
    analysis, data = looked_at(proto, feeds)
    gone = next(join.block for join in analysis.joins if join.node == "join0" and join.block)
    step = Removal(analysis.model, (gone,))
    after = analyse(remove_blocks(analysis.model, [gone]), {"x": feeds["x"][:1]}, OPTIONS)
    blank = maps_of(after, "join1", "join2")
    maps = fitted(analysis.model, (step,), after, blank, data, batch, OPTIONS, lambda *_: None)
    (found,) = run(to_proto(linearise(after.model, maps)), feeds)
    (wanted,) = run(proto, feeds)
    scale = np.abs(wanted).max()
    assert np.abs(found - wanted).max() < 1e-2 * scale
    (without,) = run(to_proto(linearise(after.model, blank)), feeds)
    assert np.abs(without - wanted).max() > 0.1 * scale


def test_what_is_behind_a_map_is_repaired_and_the_map_itself_not_by_its_moments() -> None:
    feeds, proto = correlated(48), resnet(3)
    analysis, data = looked_at(proto, feeds)
    maps = fitted(analysis.model, (), analysis, maps_of(analysis, "join0"), data, 8, OPTIONS, lambda *_: None)
    small = linearise(analysis.model, maps)
    steps = [Removal(analysis.model, maps=tuple(maps))]
    sizes = analyse(small, {"x": feeds["x"][:1]}, OPTIONS).sizes
    assert {site.node for site in find_sites(analysis.model, small, sizes)} >= {"join0/linear", "a1", "b2", "head"}
    better, report = repair(analysis.model, small, steps, sizes, data, 8, ("stats", "ridge"), OPTIONS, lambda *_: None)
    touched = {(layer.layer, layer.method) for layer in report.layers}
    assert ("join0/linear", "ridge") in touched
    assert ("join0/linear", "stats") not in touched
    wanted, before, after = (run(each, feeds)[0] for each in (proto, to_proto(small), to_proto(better)))
    assert np.mean((after - wanted) ** 2) < 0.5 * np.mean((before - wanted) ** 2)
