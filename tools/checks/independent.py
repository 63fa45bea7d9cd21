"""A second opinion on a pruned file, that knows nothing of plans, axes or groups.

python tools/checks/independent.py ORIGINAL.onnx PRUNED.onnx [--feeds FEEDS.npz] [--sizes x:1x3x224x224]

What is left of each weight is recovered by comparing its numbers with the original's. In the original the numbers that
read what is gone are set to zero, a branch that is gone is multiplied by zero, and both files must compute the same.
Where a sum over channels reads what is gone, too (a norm behind a pool), the numbers that write it are set to zero as
well. Nothing of graphprune is imported; the file must have been pruned without a repair, which changes numbers.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from tools.checks.independent_bodies import Disagreement, bodies_of, constants_outwards, pairs_in_bodies, pairs_of

Arrays = dict[str, np.ndarray]

TOLERANCE = 1e-4  # of the largest number in an output
_CHANGING = ("Mul", "Div", "Sub")  # a norm by hand


class OutputsDiffer(Disagreement):
    """They can be compared, and do not compute the same."""


@dataclass
class Outcome:
    """What was found: weights recovered, numbers of the original set to zero, branches gone, the largest error."""

    weights: int = 0
    zeroed: int = 0
    branches: int = 0
    unread: list[str] = field(default_factory=list)
    error: float = float("nan")
    writers: bool = False


def agree(original: onnx.ModelProto, pruned: onnx.ModelProto, feeds: Arrays) -> Outcome:
    """Compare ``pruned`` with ``original`` without what is gone; see :func:`_agree`."""
    try:
        return _agree(original, pruned, feeds, writers=False)
    except OutputsDiffer:
        return _agree(original, pruned, feeds, writers=True)


def _agree(original: onnx.ModelProto, pruned: onnx.ModelProto, feeds: Arrays, *, writers: bool) -> Outcome:
    """With ``writers``, the numbers that write what is gone are zero, too.

    Raises
    ------
    Disagreement
        A weight holds numbers that the original does not have in that order, or the outputs differ.
    """
    outcome = Outcome(writers=writers)
    original = onnx.ModelProto.FromString(original.SerializeToString())
    constants_outwards(original)
    masked = onnx.ModelProto.FromString(original.SerializeToString())
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in pruned.graph.initializer}
    pairs = pairs_of(pruned.graph, masked.graph)
    everywhere = [*pairs, *pairs_in_bodies(pairs)]
    known = _constant_tensors(original, {name for _, old in everywhere for name in old.input})
    rewired = _rewired(pairs, weights, known, masked)
    for node, old in everywhere:
        for operand, name in enumerate(node.input):
            if name in weights and operand < len(old.input) and old.input[operand] in known:
                _compare(node, operand, old, known[old.input[operand]], weights[name], masked, outcome)
    outcome.branches = _silence(masked, rewired, {output for node, _ in pairs for output in node.output})
    names = _compared(pruned)
    for model in (masked, pruned):
        known_outputs = {value.name for value in model.graph.output}
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in known_outputs)
    for name, expected, given in zip(names, _run(masked, feeds, names), _run(pruned, feeds, names), strict=True):
        if expected.shape != given.shape:
            raise Disagreement(f"output '{name}' has the shape {given.shape}, the original {expected.shape}")
        scale = float(np.abs(expected.astype(np.float64)).max(initial=0)) or 1.0
        error = float(np.abs(expected.astype(np.float64) - given).max(initial=0)) / scale
        outcome.error = error if np.isnan(outcome.error) else max(outcome.error, error)
        if not error <= TOLERANCE:
            raise OutputsDiffer(f"output '{name}' differs by {error:.1e} of its largest number")
    return outcome


def _compared(model: onnx.ModelProto) -> list[str]:
    """The outputs, and of those that leave an activation what enters it: what is squashed to 1e-7 is rounding."""
    makers = {output: node for node in model.graph.node for output in node.output}
    outputs = [value.name for value in model.graph.output]
    squashed = {name for name in outputs if name in makers and makers[name].op_type in ("Sigmoid", "Softmax")}
    return [makers[name].input[0] if name in squashed else name for name in outputs]


def _constant_tensors(model: onnx.ModelProto, wanted: set[str]) -> Arrays:
    """The values of those ``wanted`` that do not depend on an input."""
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    constant = set(stored)
    for node in model.graph.node:
        if all(name in constant for name in node.input if name) and not bodies_of(node):
            constant.update(node.output)
    computed = [name for name in wanted if name in constant and name not in stored]
    probe = onnx.ModelProto.FromString(model.SerializeToString())
    del probe.graph.input[:], probe.graph.output[:]
    keep = [node for node in probe.graph.node if all(output in constant for output in node.output)]
    del probe.graph.node[:]
    probe.graph.node.extend(keep)
    probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in computed)
    values = _run(probe, {}, computed) if computed else []
    return {name: stored[name] for name in wanted if name in stored} | dict(zip(computed, values, strict=True))


def _compare(
    node: onnx.NodeProto,
    operand: int,
    old: onnx.NodeProto,
    before: np.ndarray,
    after: np.ndarray,
    masked: onnx.ModelProto,
    outcome: Outcome,
) -> None:
    """Find ``after`` in ``before``, and set to zero in the original what reads something that is gone."""
    if before.shape == after.shape or before.dtype.kind != "f":
        return
    name = f"masked/{old.output[0]}/{operand}/{len(masked.graph.initializer)}"
    rows = _rows_of_readers(node, operand, before)
    if rows is None:
        if outcome.writers:
            masked.graph.initializer.append(numpy_helper.from_array(_without_gone(before, after), name))
            old.input[operand] = name
        elif before.ndim > 1:
            outcome.unread.append(f"{node.op_type} {operand}")
        return
    outcome.weights += 1
    smaller = _rows_of_readers(node, operand, after)
    assert smaller is not None
    keep = _kept(rows, smaller, f"operand {operand} of '{node.name}' ({node.op_type})", gone=not outcome.writers)
    if keep.all():
        return
    outcome.zeroed += int((~keep).sum()) * rows.shape[2]
    zeros = np.where(keep[:, :, None], rows, 0).astype(before.dtype)
    masked.graph.initializer.append(numpy_helper.from_array(_back(node, operand, zeros, before), name))
    old.input[operand] = name


def _attribute(node: onnx.NodeProto, name: str, default: int) -> int:
    return next((int(a.i) for a in node.attribute if a.name == name), default)


def _axes(node: onnx.NodeProto, operand: int, rank: int) -> tuple[int, int] | None:
    """The axes of a weight that stand for what is written and what is read."""
    if node.op_type == "Conv" and operand == 1:
        return 0, 1
    if node.op_type == "ConvTranspose" and operand == 1 and _attribute(node, "group", 1) == 1:
        return 1, 0
    if node.op_type == "Gemm" and operand == 1:
        return (0, 1) if _attribute(node, "transB", 0) else (1, 0)
    if node.op_type == "MatMul" and rank > 1:
        return (rank - 1, rank - 2) if operand == 1 else (rank - 2, rank - 1)
    if node.op_type in ("LSTM", "GRU", "RNN") and operand in (1, 2):
        return 1, 2
    return None


def _order(node: onnx.NodeProto, operand: int, rank: int) -> list[int] | None:
    """The axes of a weight of a reader: all that is written, then what is read; of a convolution the places last."""
    axes = _axes(node, operand, rank)
    if axes is None:
        return None
    rest = [axis for axis in range(rank) if axis not in axes]
    return [*axes, *rest] if "Conv" in node.op_type else [*rest, *axes]


def _rows_of_readers(node: onnx.NodeProto, operand: int, weight: np.ndarray) -> np.ndarray | None:
    """[written, read, places]; None of an operand that is no weight of a reader (a bias, a norm's scale)."""
    order = _order(node, operand, weight.ndim)
    if order is None:
        return None
    turned = np.ascontiguousarray(weight.transpose(order))
    if "Conv" in node.op_type:
        return turned.reshape(*turned.shape[:2], -1)
    return turned.reshape(-1, turned.shape[-1], 1)


def _back(node: onnx.NodeProto, operand: int, rows: np.ndarray, like: np.ndarray) -> np.ndarray:
    """The inverse of :func:`_rows_of_readers`."""
    order = _order(node, operand, like.ndim)
    assert order is not None
    turned = rows.reshape([like.shape[axis] for axis in order])
    return np.ascontiguousarray(turned.transpose(np.argsort(order)))


def _without_gone(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Numbers of channels (a bias, a norm's scale) with zeros where ``after`` has none of them, in order."""
    axis = next(axis for axis, size in enumerate(before.shape) if size != after.shape[axis])
    old, new = (np.moveaxis(each, axis, 0).reshape(each.shape[axis], -1) for each in (before, after))
    masked, place = np.zeros_like(old), 0
    for row in new:
        while not np.array_equal(old[place], row):
            place += 1
        masked[place] = row
        place += 1
    turned = masked.reshape(np.moveaxis(before, axis, 0).shape)
    return np.ascontiguousarray(np.moveaxis(turned, 0, axis))


def _kept(before: np.ndarray, after: np.ndarray, where: str, *, gone: bool) -> np.ndarray:
    """For each row of ``before`` that is left, which of its columns are: [written, read], ``gone`` in the other rows.

    A number (the places of a pair together) that occurs once tells where it came from; the others follow.
    """
    kinds = np.dtype((np.void, before.dtype.itemsize * before.shape[2]))
    old = np.ascontiguousarray(before).view(kinds).reshape(-1)
    new = np.ascontiguousarray(after, dtype=before.dtype).view(kinds).reshape(-1)
    values, first, counts = np.unique(old, return_index=True, return_counts=True)
    at = np.searchsorted(values, new).clip(max=len(values) - 1)
    if (values[at] != new).any():
        raise Disagreement(f"{where} holds numbers that the original has not")
    places = np.where(counts[at] == 1, first[at], -1).reshape(after.shape[:2])
    keep = np.full(before.shape[:2], gone)
    grouped = before.shape[1] != after.shape[1] and _differ_by_row(places, before.shape[1])
    common = None if grouped else [_mode(column[column >= 0] % before.shape[1]) for column in places.T]
    for row, found in enumerate(places):
        source = _mode(found[found >= 0] // before.shape[1])
        guesses = common or [int(p) % before.shape[1] if p >= 0 else None for p in found]
        columns = [column for column in guesses if column is not None]
        if len(columns) < len(guesses):
            continue  # columns of equal numbers: these do not tell, nor does it matter which of them it is
        if source is None:  # rows that are there several times
            twins = (before[:, columns] == after[row]).all(axis=(1, 2))
            keep[twins] = False
            keep[np.ix_(twins, columns)] = True
            continue
        if not np.array_equal(before[source, columns], after[row]):
            raise Disagreement(f"{where} is not a part of the original's: row {row}")
        keep[source] = False
        keep[source, columns] = True
    return keep


def _differ_by_row(places: np.ndarray, width: int) -> bool:
    """Whether rows read different columns, as those of a grouped convolution may."""
    for column in places.T:
        found = column[column >= 0] % width
        if len(found) and (found != found[0]).any():
            return True
    return False


def _mode(values: np.ndarray) -> int | None:
    if not len(values):
        return None
    found, counts = np.unique(values, return_counts=True)
    return int(found[counts.argmax()])


def _rewired(
    pairs: list[tuple[onnx.NodeProto, onnx.NodeProto]], weights: Arrays, known: Arrays, masked: onnx.ModelProto
) -> dict[str, str]:
    """Tensors of the original that another one, of those left, stands for now."""
    made = {output for node in masked.graph.node for output in node.output} | {v.name for v in masked.graph.input}
    copies = {node.output[0]: node.input[0] for node in masked.graph.node if node.op_type in ("Identity", "Dropout")}

    def source(name: str) -> str:
        while name in copies:
            name = copies[name]
        return name

    return {
        source(then): source(now)
        for node, old in pairs
        for now, then in zip(node.input, old.input, strict=False)
        if now not in weights and then not in known and now in made and source(now) != source(then)
    }


def _silence(masked: onnx.ModelProto, rewired: dict[str, str], left: set[str]) -> int:
    """Multiply by zero what is added between a tensor and the one that stands for it.

    A norm behind the sum would not pass that one on: there all that the layer gives is multiplied by zero.
    """
    makers = {output: node for node in masked.graph.node for output in node.output}
    count = 0

    for then, now in rewired.items():
        way = _way(then, now, makers, left)
        if any(node.op_type in _CHANGING or node.op_type.endswith("Normalization") for node, _ in way):
            _replace(masked, makers[then], then, now)
            count += 1
            continue
        for node, operand in way:
            if node.op_type not in ("Add", "Sum"):
                continue
            for other, name in enumerate(node.input):
                if other != operand and not name.endswith("/silent"):
                    masked.graph.initializer.append(
                        numpy_helper.from_array(np.zeros((), np.float32), f"{name}/{other}/zero")
                    )
                    silent = onnx.helper.make_node("Mul", [name, f"{name}/{other}/zero"], [f"{name}/{other}/silent"])
                    masked.graph.node.insert(list(masked.graph.node).index(node), silent)
                    node.input[other] = silent.output[0]
                    count += 1
    return count


def _replace(masked: onnx.ModelProto, maker: onnx.NodeProto, then: str, now: str) -> None:
    """Let ``then`` be zero times what it was, and ``now``."""
    zero = numpy_helper.from_array(np.zeros((), np.float32), f"{then}/zero")
    masked.graph.initializer.append(zero)
    maker.output[list(maker.output).index(then)] = f"{then}/loud"
    place = list(masked.graph.node).index(maker) + 1
    masked.graph.node.insert(place, onnx.helper.make_node("Mul", [f"{then}/loud", zero.name], [f"{then}/silent"]))
    masked.graph.node.insert(place + 1, onnx.helper.make_node("Add", [f"{then}/silent", now], [then]))


def _way(then: str, now: str, makers: dict[str, onnx.NodeProto], left: set[str]) -> list[tuple[onnx.NodeProto, int]]:
    """The nodes on the shortest way from ``then`` back to ``now``, none of which is left, each with its operand.

    The shortest is the one past the branches, which lead back as well.
    """
    ways: list[tuple[str, list[tuple[onnx.NodeProto, int]]]] = [(then, [])]
    seen = {then}
    for name, passed in ways:
        if name == now:
            return passed
        node = makers.get(name)
        if node is None or name in left:
            continue
        for operand, read in enumerate(node.input):
            if read not in seen:
                seen.add(read)
                ways.append((read, [*passed, (node, operand)]))
    raise Disagreement(f"'{then}' became '{now}', which does not lead there")


def _run(model: onnx.ModelProto, feeds: Arrays, names: list[str]) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    wanted = {value.name for value in session.get_inputs()}
    found: list[np.ndarray] = session.run(names, {name: value for name, value in feeds.items() if name in wanted})
    return found


def made_up(model: onnx.ModelProto, sizes: dict[str, tuple[int, ...]], seed: int = 0) -> Arrays:
    """Random inputs: ``sizes`` where given, 1 for what is free elsewhere; integers are 0 and 1."""
    random = np.random.default_rng(seed)
    stored = {tensor.name for tensor in model.graph.initializer}
    feeds = {}
    for value in model.graph.input:
        if value.name in stored:
            continue
        kind = value.type.tensor_type
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
        shape = sizes.get(value.name) or tuple(max(1, dim.dim_value) for dim in kind.shape.dim)
        drawn = random.standard_normal(shape) if dtype.kind == "f" else random.integers(0, 2, shape)
        feeds[value.name] = np.asarray(drawn, dtype)
    return feeds


def sizes_of(words: list[str]) -> dict[str, tuple[int, ...]]:
    """``x:1x3x32x32`` by input."""
    pairs = (word.rpartition(":") for word in words)
    return {name: tuple(int(size) for size in text.split("x") if size) for name, _, text in pairs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("original", type=Path)
    parser.add_argument("pruned", type=Path)
    parser.add_argument("--feeds", type=Path)
    parser.add_argument("--sizes", nargs="*", default=[], metavar="INPUT:AxBxC")
    words = parser.parse_args()
    original, pruned = onnx.load(words.original), onnx.load(words.pruned)
    feeds = dict(np.load(words.feeds)) if words.feeds else made_up(original, sizes_of(words.sizes))
    try:
        found = agree(original, pruned, feeds)
    except Disagreement as error:
        sys.exit(f"they disagree: {error}")
    print(
        f"they agree to {found.error:.1e}: {found.weights} weights are parts of the original's, {found.zeroed} numbers "
        f"set to zero, {found.branches} branches gone"
        + (", writers too" if found.writers else "")
        + (f"; not read: {', '.join(sorted(set(found.unread)))}" if found.unread else "")
    )


if __name__ == "__main__":
    main()
