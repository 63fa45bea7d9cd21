"""The picture of the network before and after: what each part is, what became of it, and its share of the time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from graphprune.analysis.cost import node_macs
from graphprune.analysis.model_analysis import ModelAnalysis
from graphprune.errors import GraphpruneError
from graphprune.ir.bodies import with_bodies
from graphprune.report.evidence.parts import ModelPart, channels, has_weights
from graphprune.report.html.pictures import Layer, NetworkStrip, PartState, StripPart
from graphprune.run.loaded import LoadedRun
from graphprune.run.options import RunOptions
from graphprune.segments.timer import SegmentTimer

_BY_MACS = "height: share of the MACs"


def gather_strip(
    loaded: LoadedRun, found: Sequence[ModelPart], small: ModelAnalysis, options: RunOptions, ratio: float | None
) -> NetworkStrip:
    """The parts ``found`` of ``loaded`` and what is left of them in ``small``; where the whole networks were timed,
    after over before is ``ratio``, and each part is run by itself.
    """
    kept = {node.name for node in small.model.graph.nodes}
    parts = tuple(_part(each, loaded.analysis, small, kept) for each in found)
    if ratio is None:
        return NetworkStrip(parts, f"{_BY_MACS}; nothing was timed")
    if options.runtime.provider_name == "TensorrtExecutionProvider":
        return NetworkStrip(parts, f"{_BY_MACS}; TensorRT fuses across parts, so they are not timed one by one")
    options.progress("timing the parts", 0, 0)
    feeds = loaded.data.first(options.timing.batch)
    try:
        timer = SegmentTimer(loaded.model, small.model, [each.nodes for each in found], options.runtime)
        times = timer.measure(feeds)
    except GraphpruneError as error:
        return NetworkStrip(parts, f"{_BY_MACS}; the parts could not be timed one by one: {error.message}")
    batch = loaded.data.batching.count(feeds)
    provider = options.runtime.provider_name.removesuffix("ExecutionProvider")
    caption = (
        "height: share of the measured time of the whole network, divided among the parts by what each takes when run "
        f"by itself on ONNX Runtime {provider} with one thread and batch {batch}, {times.passes} times"
    )
    timed = (
        replace(part, ms_before=one, ms_after=other)
        for part, one, other in zip(parts, times.first_ms, times.second_ms, strict=True)
    )
    return NetworkStrip(tuple(timed), caption, ratio)


def _part(stretch: ModelPart, before: ModelAnalysis, after: ModelAnalysis, kept: set[str]) -> StripPart:
    layers = tuple(_layers(stretch, before, after))
    macs = [_macs(each, stretch) for each in (before, after)]
    state: PartState = "kept" if stretch.join else "stays"
    if not any(name in kept for name in stretch.nodes):
        state = "removed"
    elif any(layer.after < layer.before for layer in layers):
        state = "cut"
    reason = f"{stretch.refusal.rule}: {stretch.refusal.reason}" if stretch.refusal else ""
    is_residual = bool(stretch.join or stretch.refusal)
    return StripPart(stretch.name, layers, is_residual, state, macs[0], macs[1], reason=reason)


def _layers(stretch: ModelPart, before: ModelAnalysis, after: ModelAnalysis) -> list[Layer]:
    nodes: list[Mapping[str, int]] = []
    for analysis in (before, after):
        named = {node.name: node for node in analysis.model.graph.nodes}
        mine = (named[name] for name in stretch.nodes if name in named)
        sizes = analysis.sizes
        sized = (node for node in mine if has_weights(node) and node.outputs[0].name in sizes)
        nodes.append({node.name: channels(node, sizes) for node in sized})
    return [Layer(name, count, nodes[1].get(name, 0)) for name, count in nodes[0].items()]


def _macs(analysis: ModelAnalysis, stretch: ModelPart) -> int:
    members = set(stretch.nodes)
    mine = (node for node in analysis.model.graph.nodes if node.name in members)
    return sum(node_macs(each, analysis.sizes) for node in mine for each in with_bodies(node))
