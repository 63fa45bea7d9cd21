"""``--keep`` and ``--only``: over all passes, by block, group and layer."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

import graphprune
from graphprune import RecoveryOptions, RunOptions, TimingOptions
from graphprune.errors import NothingToPrune, OptionError
from graphprune.ir.stays import NOTHING_STAYS, Stays
from graphprune.plan.plan import Plan
from tests.command import command
from tests.passes.test_joint_cka import images, small_resnet


def plan(spec: str, target: str, keep: tuple[str, ...] = (), only: tuple[str, ...] = ()) -> Plan:
    quiet, no_repair = TimingOptions(measure_latency=False), RecoveryOptions(repair=())
    options = RunOptions(batch=16, align=1, keep=keep, only=only, timing=quiet, recovery=no_repair)
    return graphprune.prune(small_resnet(), [spec], images(32), target, dry_run=True, options=options).plan


BLOCKS = "layer-cka{floor=0,skip_first=false,rescore=none}"


def test_what_is_named_stays_whatever_the_pass() -> None:
    free = {block.name for block in plan(BLOCKS, "removed=4").blocks}
    kept = plan(BLOCKS, "removed=3", keep=("b0*", "re:^b4_conv")).blocks
    assert {block.join[:2] for block in kept} == {"b1", "b2", "b3"}
    assert len(free) == 4
    units = plan("filter-magnitude{floor=0}", "ratio=0.3", keep=("b0_conv1",)).units
    assert "b0_conv1/filters" not in {each.group for each in units}
    # the layer that reads the filters is to stay as well as the one that writes them
    units = plan("filter-magnitude{floor=0}", "ratio=0.3", keep=("b0_conv2",)).units
    assert "b0_conv1/filters" not in {each.group for each in units}
    steps = plan("joint-cka{refit=false}", "flops=0.6", keep=("b0*", "b1*")).trajectory
    assert not [name for step in steps for name in step.removed if name.startswith(("b0", "b1"))]


def test_only_what_is_named_may_go() -> None:
    assert {block.join[:2] for block in plan(BLOCKS, "removed=2", only=("b2*", "b3*")).blocks} == {"b2", "b3"}
    units = plan("filter-magnitude{floor=0}", "ratio=0.3", only=("b2_conv1",)).units
    assert {each.group for each in units} == {"b2_conv1/filters"}
    with pytest.raises(NothingToPrune, match=r"is not among what may go"):
        plan("filter-magnitude", "ratio=0.3", only=("b2_conv2",))


def test_both_at_once() -> None:
    blocks = plan(BLOCKS, "removed=1", only=("b2*", "b3*"), keep=("b3*",)).blocks
    assert [block.join[:2] for block in blocks] == ["b2"]


def test_a_name_that_is_not_there_is_refused() -> None:
    with pytest.raises(OptionError, match="nothing in the model is named 'b0_conv'; did you mean b0_conv"):
        plan(BLOCKS, "removed=1", keep=("b0_conv",))
    with pytest.raises(OptionError, match="is no regular expression"):
        plan(BLOCKS, "removed=1", only=("re:(",))


def test_words() -> None:
    stays = Stays(("a*",), ("b*",))
    assert stays.why("a1", ()) == "it is to stay (keep a*)"
    assert stays.why("b1", ("a2",)) == "it is to stay (keep a*)"
    assert stays.why("c1", ("b1", "c2")) == "it is not among what may go (only b*)"
    assert stays.why("c1", ("b1", "b2")) == "" == stays.why("b1", ("c1",)) == NOTHING_STAYS.why("a", ())


def test_on_the_command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = f"{tmp_path}/net.onnx"
    onnx.save(small_resnet(), path)
    assert command(monkeypatch, "inspect", path, "--keep", "b0*") == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "4 removable" in shown and "to-stay" in shown and "(keep b0*)" in shown
    assert command(monkeypatch, "inspect", path, "--groups", "--only", "b1_conv1") == 0
    assert "it is not among what may go" in " ".join(capsys.readouterr().out.split())
