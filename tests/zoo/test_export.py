"""Exported architectures: they run, loading keeps their numbers, and exactly the blocks they have are found."""

# ruff: noqa: E402  (the zoo needs torch before it can be imported)

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip("torch", reason="the zoo is exported from torch")
ort = pytest.importorskip("onnxruntime", reason="the exports are run")

from graphprune.analysis.blocks import Join, find_joins
from graphprune.analysis.sizes import concrete_sizes
from graphprune.ir.export import to_proto
from graphprune.runtime.sessions import RuntimeOptions
from tests.zoo.entry import Exporter
from tests.zoo.export import CASES, ZOO, expected

if TYPE_CHECKING:
    from tests.zoo.fixtures import Loaded, Zoo

pytest_plugins = ["tests.zoo.fixtures"]

Feed = dict[str, np.ndarray]

# Without running them, nobody can tell that these blocks end with the shape they began with; the product decides by
# concrete sizes, see the test after.
UNDECIDED: dict[tuple[str, Exporter], int] = {
    # Attention leaves its heads by a Reshape to a batch and a length that the graph computes, and the sizes of what it
    # reshapes are lost in the Where over the mask, or in positions that were gathered, shifted or rotated.
    ("gpt2", "torchscript"): 2,
    ("gpt_neo", "torchscript"): 2,
    ("bloom", "torchscript"): 2,
    ("mpnet", "torchscript"): 2,
    ("deberta", "torchscript"): 2,
    ("deberta_v2", "torchscript"): 2,
    ("convbert", "torchscript"): 2,
    ("nystromformer", "torchscript"): 2,
    ("wav2vec2_bert", "torchscript"): 6,
    ("wav2vec2_conformer", "torchscript"): 6,
    ("detr", "torchscript"): 12,
    # The same where nothing but a grouped convolution or the latents is reshaped.
    ("squeezebert", "torchscript"): 0,
    ("perceiver", "torchscript"): 4,
    # The number of tokens is known only behind the first layer that reshapes them to a grid of known size.
    ("focalnet", "torchscript"): 6,
    ("mobilevit", "torchscript"): 17,
    ("sam", "torchscript"): 3,
    ("hiera", "torchscript"): 4,
    # Each MLP reshapes its tokens to an image and back, to sizes that the graph computes; in CvT, attention does.
    ("segformer", "torchscript"): 4,
    ("pvt_v2", "torchscript"): 4,
    ("cvt", "torchscript"): 4,
    # The convolution for the positions pads its input and cuts the result to a length that depends on the samples.
    ("wav2vec2", "torchscript"): 4,
    ("wav2vec2_stable", "torchscript"): 4,
    ("hubert", "torchscript"): 4,
    ("wavlm", "torchscript"): 4,
    ("sew", "torchscript"): 3,
    # The number of patches is known only behind the first layer whose weights fix it.
    ("mlp_mixer", "torchscript"): 3,
    ("res_mlp", "torchscript"): 3,
    ("gmlp", "torchscript"): 2,
}

every_export = pytest.mark.parametrize(("name", "exporter"), CASES)


def run(model: str | bytes, feed: Feed) -> np.ndarray:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    output: np.ndarray = session.run(None, feed)[0]
    return output


def summary(joins: list[Join]) -> str:
    """Every refusal, for the message of a failed count."""
    refusals = [f"{join.refusal.rule}: {join.refusal.reason}" for join in joins if join.refusal]
    return "\n".join([f"{len(joins)} joins", *refusals])


@every_export
def test_export_computes_what_torch_computes(zoo: Zoo, name: str, exporter: Exporter) -> None:
    path, feed = zoo(name, exporter)
    output = run(str(path), feed)
    assert output.shape[0] == 3, "the batch is not dynamic"
    np.testing.assert_allclose(output, expected(name, feed), rtol=1e-4, atol=1e-5)


@every_export
def test_loading_keeps_the_numbers(zoo: Zoo, loaded: Loaded, name: str, exporter: Exporter) -> None:
    path, feed = zoo(name, exporter)
    normalised = to_proto(loaded(name, exporter)[0]).SerializeToString()
    np.testing.assert_allclose(run(normalised, feed), run(str(path), feed), rtol=1e-4, atol=1e-5)


@every_export
def test_blocks_are_found_from_symbolic_shapes(loaded: Loaded, name: str, exporter: Exporter) -> None:
    model, _ = loaded(name, exporter)
    joins = find_joins(model, sizes=None)
    expected_blocks = UNDECIDED.get((name, exporter), ZOO[name].removable(exporter))
    assert sum(join.block is not None for join in joins) == expected_blocks, summary(joins)


@every_export
def test_blocks_are_found_from_concrete_sizes(loaded: Loaded, name: str, exporter: Exporter) -> None:
    model, feed = loaded(name, exporter)
    joins = find_joins(model, concrete_sizes(model, feed, RuntimeOptions()))
    assert sum(join.block is not None for join in joins) == ZOO[name].removable(exporter), summary(joins)
