"""Sizes that the graph works out: where no constant can do it, two nodes more do."""

from __future__ import annotations

import numpy as np
import pytest

from graphprune.analysis.groups import find_groups
from graphprune.axes.infer import infer
from graphprune.ir.export import to_proto
from graphprune.ir.loading import load
from graphprune.rewrite import remove_units
from graphprune.rewrite.removal import Removal
from graphprune.validation.masked_original import masked_original
from tests.axes.cases import parse
from tests.axes.oracles import keep_share
from tests.axes.test_rules_layout import COUNT, PARTS, W, merged
from tests.graphs import assert_same, ops, random_feeds, run

CASES = {
    "a product of shapes": merged(count="s3 = Shape(r) h3 = Gather(s3, two) nh = Mul(n, h3)"),
    "a difference": merged(samples="s2 = Shape(e) b2 = Gather(s2, zero) n2 = Mul(n, two) q = Sub(b2, n2)"),
    "both": merged(
        "s3 = Shape(r) h3 = Gather(s3, two) nh = Mul(n, h3)", "s2 = Shape(e) b2 = Gather(s2, zero) q = Div(b2, h3)"
    ),
    "a half of it": merged(
        "n2 = Mul(n, two) i2 = Identity(n2) nh = Add(i2, n)", "s2 = Shape(e) b2 = Gather(s2, zero) q = Div(b2, heads)"
    ),
}


@pytest.mark.parametrize("text", CASES.values(), ids=CASES)
@pytest.mark.parametrize("share", [0.4, 0.75])
def test_heads_that_sizes_are_computed_with(text: str, share: float) -> None:
    proto = parse(text, {**W, **PARTS, **COUNT}, 17, {})
    feeds = [random_feeds(proto, batch) for batch in (2, 3)]
    for _ in range(2):  # what was rewritten is rewritten again
        model = load(proto)
        typing = infer(model)
        groups = [group for group in find_groups(model, typing) if group.is_prunable]
        assert len(groups) == 2, "heads and what is in them"
        kept = keep_share(groups, share)
        small = to_proto(remove_units(model, typing, kept))
        expected = masked_original(Removal(model, typing=typing, kept=kept))
        for each in feeds:
            assert_same(run(small, each), run(expected, each))
        if share == 0.75:
            return
        proto = small


def test_no_node_more_where_a_constant_can_do_it() -> None:
    proto = parse(
        merged(samples="s2 = Shape(e) b2 = Gather(s2, zero) q = Div(b2, heads)"), {**W, **PARTS, **COUNT}, 17, {}
    )
    model = load(proto)
    typing = infer(model)
    heads = next(group for group in find_groups(model, typing) if group.size == 3)
    small = remove_units(model, typing, {heads.atom: np.array([True, False, True])})
    assert ops(to_proto(small)).count("Mul") == ops(proto).count("Mul")
    assert len(small.graph.nodes) <= len(model.graph.nodes)
