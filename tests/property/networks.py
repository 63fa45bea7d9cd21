"""Random networks and random plans, small enough to check hundreds in a minute."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx

from graphprune.analysis.groups import Group, find_groups
from graphprune.analysis.model_analysis import analyse
from graphprune.axes.algebra import Atom
from graphprune.axes.infer import infer
from graphprune.ir.export import to_proto
from graphprune.ir.loading import load
from graphprune.rewrite import remove_blocks
from graphprune.rewrite.removal import Removal
from graphprune.runtime.sessions import RuntimeOptions
from graphprune.validation.difference import relative_error
from graphprune.validation.masked_original import masked_original
from graphprune.validation.structure import check_structure
from tests.axes.oracles import TOLERANCE, check_rewrite, check_valid, feeds_for
from tests.graphs import run
from tests.property import images, sequences
from tests.property.drawing import Choose, Drawing, Image, Tokens

_OPSETS = (17, 13, 14, 15, 16, 18, 19, 20, 21, 22, 23)
_MOST_PARTS = 4
_FIRST = 4
_SIZES = ({"N": 2, "S": 4}, {"N": 3, "S": 5})
Plan = dict[Atom, np.ndarray]


def random_network(choose: Choose) -> onnx.ModelProto:
    """On images or on tokens; batch and length may be dynamic."""
    d = Drawing(choose)
    d.opset = d.pick(_OPSETS)
    d.batch = 2 if d.maybe() else "N"
    d.length = 4 if d.maybe() else "S"
    return _image_network(d) if d.maybe() else _token_network(d)


def _image_network(d: Drawing) -> onnx.ModelProto:
    x = images.conv(d, Image("x", 3, 6, 6), d.size(), kernel=1)
    for _ in range(1 + d.choose(_MOST_PARTS)):
        x = d.pick(images.PARTS)(d, x)
    results = [images.finished(d, x) for _ in range(d.pick((1, 1, 2)))]
    given = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [d.batch, 3, 6, 6])
    return d.model([given], results)


def _token_network(d: Drawing) -> onnx.ModelProto:
    x = sequences.linear(d, Tokens("x", _FIRST), d.size())
    for _ in range(1 + d.choose(_MOST_PARTS)):
        x = d.pick(sequences.PARTS)(d, x)
    results = [sequences.finished(d, x) for _ in range(d.pick((1, 1, 2)))]
    given = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [d.batch, d.length, _FIRST])
    return d.model([given], results)


def random_plan(groups: Sequence[Group], choose: Choose) -> Plan:
    """Some of the prunable groups, any indices of them but never all."""
    plan: Plan = {}
    for group in groups:
        if group.is_prunable and choose(4) < 3:
            keep = np.array([not choose(2) for _ in range(group.size)])
            keep[choose(group.size)] = True
            plan[group.atom] = keep
    return plan


def check_random(proto: onnx.ModelProto, choose: Choose) -> int:
    """Cut a network by a random plan and ask every oracle, some results once more; then take some of its blocks out.

    Returns how many groups and blocks went.
    """
    small, count = _check_once(proto, choose)
    if small is not None and choose(4) == 3:
        count += _check_once(small, choose)[1]
    return count + _check_blocks(proto, choose)


def _check_blocks(proto: onnx.ModelProto, choose: Choose) -> int:
    """Some of the removable blocks, those in bodies too, against the masked original; how many went."""
    model, feeds = load(proto), [feeds_for(proto, sizes) for sizes in _SIZES]
    joins = analyse(model, feeds[0], RuntimeOptions(threads=1)).all_joins
    chosen = [join.block for join in joins if join.block and choose(2)]
    if not chosen:
        return 0
    small = remove_blocks(model, chosen)
    check_structure(small, "blocks were removed")
    check_valid(proto, to_proto(small))
    masked = masked_original(Removal(model, tuple(chosen)))
    for feed in feeds:
        for reference, result in zip(run(masked, feed), run(to_proto(small), feed), strict=True):
            error = relative_error(reference, result)
            assert error <= TOLERANCE, f"without {chosen[0].name} it differs from the masked original by {error:.3g}"
    return len(chosen)


def _check_once(proto: onnx.ModelProto, choose: Choose) -> tuple[onnx.ModelProto | None, int]:
    model = load(proto)
    typing = infer(model)
    plan = random_plan(find_groups(model, typing), choose)
    if not plan:
        return None, 0
    small = check_rewrite(model, typing, plan, [feeds_for(to_proto(model), sizes) for sizes in _SIZES])
    return small, sum(not keep.all() for keep in plan.values())


def seeded(seed: int) -> Choose:
    """Decisions of one numbered example."""
    generator = np.random.default_rng(seed)
    return lambda count: int(generator.integers(count))
