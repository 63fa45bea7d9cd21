"""``filter-pls-vip``: activations by plain ONNX Runtime, pooled and put into one textbook NIPALS."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest

from graphprune.errors import DataError, OptionError
from graphprune.importance.class_cipls import ClassCIPLS
from tests.command import command
from tests.graphs import build, run
from tests.importance.nipals import nipals
from tests.passes.asking import counts, decided, inner, pruned, removed, scores
from tests.small_cnns import flattened, grouped
from tests.token_graphs import Shape, tokens, transformer

EVERY = "scope=group,ratio=0.5,floor=0"
NOTE = "the data has no labels: PLS took the model's own arg-max for them"
WRITERS = {"c1/filters": ("a", "d"), "c3/filters": ("f",), "fc1/neurons": ("i",)}
"""Of ``flattened``: what the layers of each group put out; the depthwise one writes what the first does."""


def images(samples: int = 40) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(8)
    labels = np.arange(samples) % 3
    x = generator.standard_normal((samples, 3, 8, 8)) + 0.4 * labels[:, None, None, None]
    return {"x": x.astype(np.float32), "labels": labels}


def features(proto: onnx.ModelProto, data: dict[str, np.ndarray], pool: str = "max") -> dict[str, np.ndarray]:
    """Tensor -> one number per sample and channel."""
    names = [name for tensors in WRITERS.values() for name in tensors]
    flat = {
        name: values.reshape(*values.shape[:2], -1)
        for name, values in zip(names, inner(proto, data, *names), strict=True)
    }
    return {name: values.max(2) if pool == "max" else values.mean(2) for name, values in flat.items()}


def by_group(vips: np.ndarray, parts: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The columns' importances, given back to the groups; the mean where two layers write."""
    ends = np.cumsum([part.shape[1] for part in parts.values()])
    columns = dict(zip(parts, np.split(vips, ends[:-1]), strict=True))
    return {group: np.mean([columns[name] for name in tensors], axis=0) for group, tensors in WRITERS.items()}


def textbook(parts: dict[str, np.ndarray], labels: np.ndarray, components: int = 2) -> dict[str, np.ndarray]:
    y = (labels[:, None] == np.unique(labels)).astype(float)
    return by_group(nipals(np.hstack(list(parts.values())).astype(np.float64), y, components).vip(), parts)


@pytest.mark.parametrize("pool", ["max", "mean"])
@pytest.mark.parametrize("components", [1, 2, 3])
def test_scores_are_those_of_the_textbook(pool: str, components: int) -> None:
    """Over the depthwise and the flattened layer alike."""
    proto, data = flattened(), images()
    result = pruned(proto, f"filter-pls-vip{{{EVERY},pool={pool},components={components}}}", data)
    expected = textbook(features(proto, data, pool), data["labels"], components)
    assert counts(result) == {"c1/filters": 3, "c3/filters": 4, "fc1/neurons": 5}
    for name, values in expected.items():
        np.testing.assert_allclose(scores(result)[name], values, rtol=2e-4)
        assert removed(result)[name] == sorted(np.argsort(values)[: counts(result)[name]])
    assert NOTE not in result.notes


def test_groups_compare_on_one_scale() -> None:
    """Over the whole network the filters with the lowest VIP go, from whichever layer."""
    proto, data = flattened(), images()
    expected = textbook(features(proto, data), data["labels"])
    ranked = sorted((value, name, index) for name, values in expected.items() for index, value in enumerate(values))
    gone = {(name, index) for _, name, index in ranked[:8]}
    result = decided(proto, "filter-pls-vip{floor=0}", data, "removed=8")
    assert {(name, index) for name, indices in removed(result).items() for index in indices} == gone


def test_only_what_is_on_offer_enters_the_model() -> None:
    proto, data = flattened(), images()
    part = features(proto, data)["f"]
    y = (data["labels"][:, None] == np.arange(3)).astype(float)
    found = scores(decided(proto, f"filter-pls-vip{{{EVERY},include=c3/filters}}", data))
    np.testing.assert_allclose(found["c3/filters"], nipals(part.astype(np.float64), y, 2).vip(), rtol=2e-4)


def test_without_labels_the_model_judges_itself() -> None:
    proto, data = flattened(), images()
    own = run(proto, {"x": data["x"]})[0].argmax(1)
    assert len(set(own.tolist())) > 1
    result = decided(proto, f"filter-pls-vip{{{EVERY}}}", {"x": data["x"]})
    for name, values in textbook(features(proto, data), own).items():
        np.testing.assert_allclose(scores(result)[name], values, rtol=2e-4)
    assert NOTE in result.notes
    assert result.plan.decisions[0].notes == (NOTE,)


@pytest.mark.parametrize("with_labels", [True, False])
def test_the_command_says_whose_labels_they_are(
    with_labels: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = images() if with_labels else {"x": images()["x"]}
    np.savez(tmp_path / "data.npz", **data)  # type: ignore[arg-type]  # arrays by name
    onnx.save(flattened(), tmp_path / "net.onnx")
    words = ["--pass", "filter-pls-vip{ratio=0.25}", "--data", tmp_path / "data.npz", "--no-bench"]
    assert command(monkeypatch, tmp_path / "net.onnx", *words) == 0
    assert ("took the model's own arg-max" in " ".join("".join(capsys.readouterr()).split())) is not with_labels
    assert (tmp_path / "net.pruned.onnx").is_file()


@pytest.mark.parametrize(("estimator", "variant"), [("cipls", "normalised"), ("cipls-released", "released")])
def test_streamed_estimators(estimator: str, variant: str) -> None:
    """Standardised over all samples, in the order of the data, whatever the batch."""
    proto, data = flattened(), images()
    parts = features(proto, data)
    x = np.hstack(list(parts.values())).astype(np.float64)
    model = ClassCIPLS(2, variant).fit((x - x.mean(0)) / x.std(0), data["labels"])  # type: ignore[arg-type]  # a text
    for batch in (7, 40):
        found = scores(decided(proto, f"filter-pls-vip{{{EVERY},estimator={estimator}}}", data, batch=batch))
        for name, values in by_group(model.vip(), parts).items():
            np.testing.assert_allclose(found[name], values, rtol=1e-3)


def test_estimators_differ() -> None:
    data = images()
    found = [
        scores(decided(flattened(), f"filter-pls-vip{{{EVERY},estimator={name}}}", data))["c3/filters"]
        for name in ("pls", "cipls", "cipls-released")
    ]
    assert all(np.abs(one / other - 1).max() > 1e-2 for one, other in pairwise(found))


def test_groups_of_a_convolution_get_the_mean_of_their_filters() -> None:
    """Unit g of the groups is written by both layers, by two and by three filters."""
    proto, data = grouped(), images()
    parts = [values.max((2, 3)) for values in inner(proto, data, "f", "g")]
    y = (data["labels"][:, None] == np.arange(3)).astype(float)
    vips = np.split(nipals(np.hstack(parts).astype(np.float64), y, 2).vip(), [8])
    expected = (vips[0].reshape(4, 2).mean(1) + vips[1].reshape(4, 3).mean(1)) / 2
    found = scores(pruned(proto, f"filter-pls-vip{{{EVERY},include=*/conv-groups}}", data))
    np.testing.assert_allclose(found["c3/conv-groups"], expected, rtol=2e-4)


def test_tokens_are_pooled_like_places() -> None:
    shape = Shape(is_flat=True, gated=False)
    proto, data = transformer(shape), tokens(shape, samples=24)
    labels = np.arange(24) % 2
    (up,) = inner(proto, data, "up0")
    y = (labels[:, None] == np.arange(2)).astype(float)
    expected = nipals(up.reshape(24, -1, up.shape[-1]).max(1).astype(np.float64), y, 2).vip()
    found = scores(pruned(proto, f"filter-pls-vip{{{EVERY}}}", {**data, "labels": labels}, batch=5))
    np.testing.assert_allclose(found["l0_up/neurons"], expected, rtol=2e-4)


@pytest.mark.parametrize("estimator", ["pls", "cipls"])
def test_one_class_says_nothing(estimator: str) -> None:
    data = images() | {"labels": np.zeros(40, np.int64)}
    with pytest.raises(DataError, match=r"one label|1 class"):
        decided(flattened(), f"filter-pls-vip{{ratio=0.5,estimator={estimator}}}", data)


@pytest.mark.parametrize("estimator", ["pls", "cipls"])
def test_no_components(estimator: str) -> None:
    with pytest.raises(OptionError, match="component"):
        decided(flattened(), f"filter-pls-vip{{ratio=0.5,components=0,estimator={estimator}}}", images())


def test_outputs_that_are_no_class_scores() -> None:
    proto = build(
        "(float[N,3,6,6] x) => (float[N,2,6,6] y) { [c1] a = Conv(x, w1) b = Relu(a) [c2] y = Conv(b, w2) }",
        {"w1": (4, 3, 1, 1), "w2": (2, 4, 1, 1)},
    )
    x = np.random.default_rng(0).standard_normal((8, 3, 6, 6)).astype(np.float32)
    with pytest.raises(DataError, match=r"(?s)first output 'y' \[4, 2, 6, 6\] is no row of class scores.*'labels'"):
        decided(proto, "filter-pls-vip{ratio=0.5}", {"x": x})


def test_layer_without_samples() -> None:
    """A layer that works on the tokens of no sample in particular has no features to compare."""
    proto = build(
        """(float[N,3] x) => (float[N,2] y) { [scale] s0 = ReduceMean<axes = [0]>(x) [hidden] s1 = MatMul(s0, w1)
        [act] s2 = Tanh(s1) [out] s3 = MatMul(s2, w2) [mix] y0 = MatMul(x, w3) [add] y = Add(y0, s3) }""",
        {"w1": (3, 6), "w2": (6, 2), "w3": (3, 2)},
    )
    data = {"x": np.ones((4, 3), np.float32), "labels": np.array([0, 1, 0, 1])}
    with pytest.raises(DataError, match=r"(?s)'s1' \[1, 6\] has no features for each of 4 samples.*exclude"):
        decided(proto, "filter-pls-vip{ratio=0.5}", data)
