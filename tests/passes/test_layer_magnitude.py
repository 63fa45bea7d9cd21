"""``layer-magnitude``: the mean absolute weight, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from tests.passes.test_joint_cka import PLAIN, pruned, small_resnet


def test_the_least_weights_leave_first() -> None:
    proto = small_resnet()
    result = pruned(proto, "layer-magnitude{floor=0,skip_first=false}", None, "removed=2", PLAIN)
    weights = {each.name: np.frombuffer(each.raw_data, np.float32) for each in proto.graph.initializer}
    sizes = [np.abs(np.concatenate([weights[f"a{i}"], weights[f"b{i}"]])).mean() for i in range(5)]
    first = result.plan.blocks[0]
    assert [score.score for score in first.scores] == pytest.approx(sizes, rel=1e-5)
    assert [block.score for block in result.plan.blocks] == pytest.approx(sorted(sizes)[:2], rel=1e-5)
