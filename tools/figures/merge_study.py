"""What it would give to merge an inverted bottleneck (expand, depthwise, project) into one fitted convolution.

    PYTHONPATH=build/models python tools/figures/merge_study.py --work build/imagenet --out build/merge.jsonl

On EfficientNet-lite0 (:mod:`imagenet` says which packages): each block by itself becomes one 3x3 convolution, fitted
by ridge regression of the block's output on its input over the first images of the calibration half; then the blocks
that lose least agreement per MAC are merged together, each fitted on what the merged ones before it give. A
line of JSON for each network: time over the dense network's (interleaved, one thread, one image), top-1 and agreement
on the other half. Resumes.
Nothing of this is in graphprune: docs/measured.md says why.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from imagenet import answers, exported, images
from numpy.lib.stride_tricks import sliding_window_view
from row_log import rows_of

import graphprune
from graphprune import RunOptions, RuntimeOptions, TimingOptions
from graphprune.ir.export import to_proto
from graphprune.ir.loading import load
from graphprune.runtime.sessions import open_session, run

_ROWS = 400_000  # of the regression, at most
_PENALTY = 1e-3  # times the mean variance
_KERNEL = 3
_TOGETHER = (2, 3, 4, 6, 8)


def blocks_of(proto: onnx.ModelProto) -> dict[int, tuple[str, str, int]]:
    """Number of a block -> its entry, what its last convolution gives, and its stride."""
    found = {}
    for number in sorted(
        {int(hit[1]) for node in proto.graph.node if (hit := re.match(r"/_blocks\.(\d+)/", node.name))}
    ):
        nodes = [node for node in proto.graph.node if node.name.startswith(f"/_blocks.{number}/")]
        entry = nodes[0].input[0]
        exit_ = next(node.output[0] for node in nodes if node.name.endswith("_project_conv/Conv"))
        strides = [each.ints[0] for node in nodes for each in node.attribute if each.name == "strides"]
        found[number] = entry, exit_, max(strides)
    return found


def merged(proto: onnx.ModelProto, number: int, kernel: int, weights: np.ndarray, bias: np.ndarray) -> onnx.ModelProto:
    """The network with one convolution in place of a block's branch."""
    entry, exit_, stride = blocks_of(proto)[number]
    small = onnx.ModelProto()
    small.CopyFrom(proto)
    keep = [n for n in small.graph.node if not (n.name.startswith(f"/_blocks.{number}/") and n.op_type != "Add")]
    names = [f"/_blocks.{number}/merged/{each}" for each in ("weight", "bias")]
    place = next(i for i, n in enumerate(small.graph.node) if n.name.startswith(f"/_blocks.{number}/"))
    conv = onnx.helper.make_node(
        "Conv",
        [entry, *names],
        [exit_],
        f"/_blocks.{number}/_project_conv/Conv",
        kernel_shape=[kernel, kernel],
        strides=[stride, stride],
        auto_pad="SAME_UPPER",
    )
    keep.insert(place, conv)
    del small.graph.node[:]
    small.graph.node.extend(keep)
    small.graph.initializer.extend(
        onnx.numpy_helper.from_array(a, n) for a, n in zip((weights, bias), names, strict=True)
    )
    return small


def values(proto: onnx.ModelProto, tensor: str, pixels: np.ndarray) -> np.ndarray:
    """What a network has at ``tensor``."""
    probe = onnx.ModelProto.FromString(proto.SerializeToString())
    del probe.graph.output[:]
    probe.graph.output.append(onnx.helper.make_tensor_value_info(tensor, onnx.TensorProto.FLOAT, None))
    session = open_session(probe, RuntimeOptions(threads=1))
    return np.concatenate([run(session, {"images": pixels[i : i + 20]})[0] for i in range(0, len(pixels), 20)])


def fitted(x: np.ndarray, t: np.ndarray, kernel: int, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """The convolution (outputs, inputs, kernel, kernel) of ``x`` (n, inputs, h, w) nearest to ``t``, and its bias."""
    height = t.shape[2]
    missing = max(0, (height - 1) * stride + kernel - x.shape[2])
    pads = (missing // 2, missing - missing // 2)
    padded = np.pad(x, ((0, 0), (0, 0), pads, pads))
    windows = sliding_window_view(padded, (kernel, kernel), axis=(2, 3))[:, :, ::stride, ::stride]
    step = max(1, len(x) * height * height // _ROWS)  # every so many places
    places = np.arange(0, height * height, step)
    inputs = x.shape[1] * kernel * kernel
    gram, cross = np.zeros((inputs, inputs)), np.zeros((inputs, t.shape[1]))
    sums, targets, count = np.zeros(inputs), np.zeros(t.shape[1]), 0
    for start in range(0, len(x), 20):
        part = windows[start : start + 20, :, places // height, places % height]
        rows = part.transpose(0, 2, 1, 3, 4).reshape(-1, inputs)
        goal = t[start : start + 20].reshape(-1, t.shape[1], height * height)[:, :, places].transpose(0, 2, 1)
        goal = goal.reshape(-1, t.shape[1])
        gram, cross = gram + rows.T @ rows, cross + rows.T @ goal
        sums, targets, count = sums + rows.sum(0), targets + goal.sum(0), count + len(rows)
    gram -= np.outer(sums, sums) / count
    cross -= np.outer(sums, targets) / count
    gram[np.diag_indices(inputs)] += _PENALTY * np.trace(gram) / inputs
    matrix = np.linalg.solve(gram, cross)
    bias = (targets - sums @ matrix) / count
    return matrix.T.reshape(-1, x.shape[1], kernel, kernel).astype(np.float32), bias.astype(np.float32)


def judged(
    proto: onnx.ModelProto, dense: Path, test: np.ndarray, labels: np.ndarray, theirs: np.ndarray
) -> dict[str, Any]:
    """Time, MACs, top-1 and agreement of a network with what the dense one answers."""
    path = dense.with_name("merged.onnx")
    onnx.save(proto, path)
    about = RunOptions(runtime=RuntimeOptions(threads=1), timing=TimingOptions(seconds=6))
    timing = graphprune.bench(dense, path, options=about)[0].comparison
    found = answers(path, test)
    return {
        "time": [timing.ratio, timing.ratio_low, timing.ratio_high],
        "macs_left": graphprune.inspect(path).cost.macs / graphprune.inspect(dense).cost.macs,
        "top1": float(np.mean(found == labels)),
        "agreement": float(np.mean(found == theirs)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("build/imagenet"))
    parser.add_argument("--out", type=Path, default=Path("build/merge.jsonl"))
    parser.add_argument("--images", type=int, default=160, help="to fit on")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    dense = exported("lite0", options.work)
    proto = to_proto(load(dense))
    pixels, (test, labels) = images(224, 0)[0][: options.images], images(224, 1)
    theirs = answers(dense, test)
    rows = rows_of(options.out)

    def note(**row: Any) -> None:
        rows.append(row)
        print(json.dumps(row), flush=True)
        options.out.write_text("".join(json.dumps(each) + "\n" for each in rows))

    def merge(network: onnx.ModelProto, number: int) -> onnx.ModelProto:
        entry, exit_, stride = blocks_of(proto)[number]
        fit = fitted(values(network, entry, pixels), values(proto, exit_, pixels), _KERNEL, stride)
        return merged(network, number, _KERNEL, *fit)

    known = [row["blocks"] for row in rows]
    for number in (each for each in blocks_of(proto) if [each] not in known):
        note(blocks=[number], **judged(merge(proto, number), dense, test, labels, theirs))
    faster = [row for row in rows if len(row["blocks"]) == 1 and row["macs_left"] < 1]
    faster.sort(key=lambda row: (1 - row["agreement"]) / (1 - row["macs_left"]))
    for count in (each for each in _TOGETHER if each <= len(faster)):
        network, blocks = proto, sorted(row["blocks"][0] for row in faster[:count])
        if blocks in known:
            continue
        for number in blocks:
            network = merge(network, number)
        note(blocks=blocks, **judged(network, dense, test, labels, theirs))


if __name__ == "__main__":
    main()
