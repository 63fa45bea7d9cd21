"""Concrete tensor shapes for given inputs: by inference where it succeeds, by running the model where not."""

from __future__ import annotations

from collections.abc import Mapping

from graphprune.axes.measured import measured_shapes
from graphprune.axes.probe import follow
from graphprune.ir.bodies import scopes
from graphprune.ir.export import to_proto
from graphprune.ir.model import Model
from graphprune.ir.shape_inference import infer_shapes
from graphprune.runtime.plugins import plugins
from graphprune.runtime.sessions import Feeds, RuntimeOptions, open_model, run

Sizes = Mapping[str, tuple[int, ...]]


def concrete_sizes(model: Model, feeds: Feeds, options: RuntimeOptions) -> dict[str, tuple[int, ...]]:
    """Shape of every node's outputs when ``feeds`` goes in; in bodies, which cannot be measured, where known."""
    inputs = {name: array.shape for name, array in feeds.items()}
    shapes, _ = infer_shapes(to_proto(model, with_weights=False), inputs)
    sizes = dict(inputs)
    for name, shape in shapes.items():
        if all(isinstance(dim, int) for dim in shape):
            sizes[name] = tuple(int(dim) for dim in shape if dim is not None)
    produced = [t.name for node in model.graph.nodes for t in node.outputs if t.name and t.name in model.dtypes]
    inside = [t.name for body in scopes(model.graph) if body is not model.graph for n in body.nodes for t in n.outputs]
    if any(name not in sizes for name in (*produced, *inside)):
        sizes = follow(model, inputs, {}, takes_branches=True).shapes | sizes
    unknown = [name for name in produced if name not in sizes]
    if unknown and plugins(model):  # which no session here would run
        measured = measured_shapes(model, inputs, unknown)
        sizes = follow(model, inputs, _symbols(model, inputs), measured=measured).shapes | sizes
    elif unknown:
        session = open_model(model, options, unknown)
        for name, array in zip(unknown, run(session, feeds, unknown), strict=True):
            sizes[name] = tuple(array.shape)
    return sizes


def _symbols(model: Model, inputs: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """The sizes of the dimensions that the inputs name."""
    return {
        dim: size
        for name, shape in inputs.items()
        for dim, size in zip(model.shapes.get(name, ()), shape, strict=False)
        if isinstance(dim, str)
    }
