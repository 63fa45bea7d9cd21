"""Option values, pass specs and targets that mean nothing, and targets and rules that leave nothing to do."""

from __future__ import annotations

from tests.bad_inputs.case import Case
from tests.bad_inputs.models import text

CHAIN = text("g (float[N,4] x) => (float[N,4] y) { a = Relu(x) y = Neg(a) }")
WIDTHS = "filter-magnitude{widths=true,"  # all that can be cut in the residual network
CONVS = text("""g (float[N,2,4,4] x) => (float[N,2,4,4] y) {
    w = Constant<value = float[6,2,1,1] {1.0,1.0,2.0,2.0,3.0,3.0,4.0,4.0,5.0,5.0,6.0,6.0}>()
    v = Constant<value = float[2,6,1,1] {1.0,1.0,2.0,2.0,3.0,3.0,4.0,4.0,5.0,5.0,6.0,6.0}>()
    [first] a = Conv(x, w) b = Relu(a) [last] y = Conv(b, v) }""")
BASE = "--target removed=1 --data calib.npz --no-bench"

CASES = [
    Case("no pass", 1, "no pass was given", line=f"model.onnx {BASE} -o out.onnx"),
    Case("unknown pass", 1, "no pass 'layer-magic'.*\n.*layer-cka", spec="layer-magic"),
    Case("unknown pass option", 1, "no option 'floors'.*\n.*floor", spec="layer-cka{floors=1}"),
    Case("option of wrong type", 1, "floor.*'two'", spec="layer-cka{floor=two}"),
    Case("flag of wrong type", 1, "debiased.*'maybe'", spec="layer-cka{debiased=maybe}"),
    Case("choice that does not exist", 1, "reference.*'past'", spec="layer-cka{reference=past}"),
    Case("negative floor", 1, "floor", spec="layer-cka{floor=-3}"),
    Case("option given twice", 1, "floor.*twice", spec="layer-cka{floor=1,floor=2}"),
    Case("no closing brace", 1, "no closing brace", spec="layer-cka{floor=1"),
    Case("no equals sign", 1, "'floor'.*not key=value", spec="layer-cka{floor}"),
    Case("empty spec", 1, "no pass ''", spec=""),
    Case("unknown exclusion", 1, "no block is named 'nothing.like.this'", spec="layer-cka{exclude=nothing.like.this}"),
    Case("everything excluded", 3, "exclu", spec="layer-cka{exclude=*}"),
    Case("nothing prunable", 3, "no residual connection", CHAIN, data=None),
    Case("representation missing", 1, "no computed tensor 'nope'", spec="layer-cka{representation=nope}"),
    Case("representation inside a block", 1, "inside the removable block", spec="layer-cka{representation=c2}"),
    Case("unknown target kind", 1, "'joules=0.5' is no target", target="joules=0.5"),
    Case("latency without a timing", 1, "only a timing tells when latency=0.5 is reached", target="latency=0.5"),
    Case("target without number", 1, "no number after", target="flops="),
    Case("target without equals sign", 1, "target", target="0.5"),
    Case("target 1.5", 1, "between 0 and 1", target="flops=1.5"),
    Case("target 0", 1, "between 0 and 1", target="params=0"),
    Case("target NaN", 1, "between 0 and 1", target="flops=nan"),
    Case("removed=0", 1, "whole number of at least 1", target="removed=0"),
    Case("removed=2.5", 1, "whole number of at least 1", target="removed=2.5"),
    Case("removed=nan", 1, "whole number of at least 1", target="removed=nan"),
    Case("removed=inf", 1, "whole number of at least 1", target="removed=inf"),
    Case("too many blocks", 4, "removed=99 cannot be reached.*floor of 2", target="removed=99"),
    Case("share too small", 4, "flops=0.01 cannot be reached", target="flops=0.01"),
    Case("share too small when dry", 4, "params=0.01 cannot be reached", target="params=0.01", extra="--dry-run"),
    Case("too many blocks, result to stdout", 4, "cannot be reached", target="removed=99", extra="--json -"),
    Case("align 0", 2, "--align.*'0' is neither a whole number", extra="--align 0"),
    Case("align x", 2, "--align.*'x' is neither a whole number", extra="--align x"),
    Case("align -8", 2, "--align", extra="--align -8"),
    Case("ratio 0", 1, "the ratio of pass filter-magnitude is 0.*\n.*between 0 and 1", spec=f"{WIDTHS}ratio=0}}"),
    Case("ratio 2", 1, "the ratio of pass filter-magnitude is 2", spec=f"{WIDTHS}ratio=2}}"),
    Case("ratio x", 1, "option ratio of pass filter-magnitude is 'x'", spec=f"{WIDTHS}ratio=x}}"),
    Case("target ratio 1", 1, "it is the share that goes", spec="filter-magnitude{widths=true}", target="ratio=1"),
    Case("floor 2", 1, "the floor of pass filter-magnitude is 2", spec=f"{WIDTHS}floor=2}}"),
    Case("unknown scope", 1, "scope of pass filter-magnitude is 'foo'.*\n.*global, group", spec=f"{WIDTHS}scope=foo}}"),
    Case("unknown norm", 1, "norm of pass filter-magnitude is 'l3'", spec=f"{WIDTHS}norm=l3}}"),
    Case("unknown estimator", 1, "estimator of pass filter-pls-vip is 'svm'", spec="filter-pls-vip{estimator=svm}"),
    Case("no components", 1, "0 components", spec="filter-pls-vip{components=0,widths=true}"),
    Case("unknown budget", 1, "budget of pass amp is 'large'", spec="amp{budget=large}"),
    Case("group that does not exist", 1, "no group or layer is named 'blocks.9'", spec=f"{WIDTHS}include=blocks.9}}"),
    Case("bad expression", 1, r"'\(' is no regular expression", spec=f"{WIDTHS}exclude=re:(}}"),
    Case("all groups excluded", 3, "1 by include and exclude", spec=f"{WIDTHS}exclude=*}}"),
    Case("amp and a number of units", 1, "pass amp cannot aim at a number of units", spec="amp"),
    Case("no filters", 3, "finds no filters or neurons or conv-groups to prune", spec="filter-magnitude"),
    Case("no filters for labels", 3, "finds no filters or neurons or conv-groups to prune", spec="filter-pls-vip"),
    Case("no heads", 3, "finds no heads or kv-heads to prune", spec="head-projection"),
    Case("no neurons", 3, "finds no neurons to prune", spec="neuron-projection"),
    Case("no heads for amp", 3, "finds no heads or kv-heads or neurons", spec="amp", target="params=0.5"),
    Case("no groups at all", 3, "to prune: there are none", CHAIN, spec="filter-magnitude", data=None),
    Case(
        "units beyond the floor",
        4,
        "at most removed=4 with 4 of 8 units gone, because of the floor of 0.5 per group",
        spec=f"{WIDTHS}floor=0.5}}",
        target="removed=5",
    ),
    Case(
        "share beyond the floor",
        4,
        "params=0.02 cannot be reached.*the floor of 0.25",
        spec=f"{WIDTHS}floor=0.25}}",
        target="params=0.02",
    ),
    Case(
        "no multiple fits",
        4,
        "0 of 8 units gone.*kept counts in multiples of 16",
        spec="filter-magnitude{widths=true}",
        extra="--align 16",
    ),
    Case(
        "no width may go", 4, "residual widths staying", CONVS, spec="filter-magnitude", target="params=0.1", data=None
    ),
    Case(
        "two passes with ratios and no target",
        1,
        "different ratios and there is no target",
        line="model.onnx --pass layer-cka --pass 'filter-magnitude{ratio=0.5}' --data calib.npz --no-bench -o out.onnx",
    ),
    Case("unknown provider", 1, "no provider 'abacus'", extra="--provider abacus"),
    Case("provider of another wheel", 6, "CUDAExecutionProvider.*\n.*pip install", extra="--provider cuda"),
    Case("device of the processor", 1, "cpu:x", extra="--provider cpu:x"),
    Case("unknown option", 2, "--exclud", extra="--exclud blocks.0"),
    Case("no model", 2, "MODEL", line=f"prune {BASE}"),
    Case("two models", 2, "unexpected extra argument", line=f"model.onnx model.onnx --pass layer-cka {BASE}"),
    Case("batch is no number", 2, "--batch", extra="--batch many"),
    Case("batch 0", 2, "--batch", extra="--batch 0"),
    Case("no samples", 2, "--num-samples", extra="--num-samples 0"),
    Case("negative seed", 2, "--seed", data=None, extra="--seed -1"),
    Case("input shapes are rubbish", 2, "no shape", extra="--input-shapes x:wide"),
    Case("input shape of zero", 2, "shape", data=None, extra="--input-shapes x:1x8x0x6"),
    Case("input shapes for another input", 1, "'z'", data=None, extra="--input-shapes z:1x8x6x6"),
    Case("input shapes of another rank", 1, "3 sizes.*4 axes", data=None, extra="--input-shapes x:1x8x6"),
    Case("input shapes against fixed axes", 1, "'x'", data=None, extra="--input-shapes x:1x3x6x6"),
    Case("value range upside down", 2, "no range", data=None, extra="--val-range x:[1,0]"),
    Case("value range for another input", 1, "'z'", data=None, extra="--val-range z:[0,1]"),
]
