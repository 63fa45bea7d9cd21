"""The cases of the replay: a name, and the commands that run in turn in one folder with the files of ``replay_inputs``.

A step ``api NAME`` calls a function of ``replay_api``; everything else is a command line of graphprune.
"""

from __future__ import annotations

_FASHION = "fashion.onnx --data calib.npz --threads 1"
_CNN = "cnn.onnx --data images.npz --threads 1"
_TF = "tf.onnx --data tokens.npz --threads 1"
_ALL = "-o out.onnx --plan-out plan.json --json result.json"
_BAD = "--pass layer-cka --target removed=1 --no-bench -o out.onnx"


def _passes(common: str, *runs: str) -> tuple[str, ...]:
    """One command for each run, its files numbered."""
    numbered = enumerate(runs, 1)
    return tuple(f"{common} {run} -o out{i}.onnx --plan-out plan{i}.json --json result{i}.json" for i, run in numbered)


CASES: dict[str, tuple[str, ...]] = {
    # passes and targets
    "shipped-layer-cka": (
        f"{_FASHION} --pass layer-cka --target removed=2 --eval eval.npz {_ALL} --report report.html",
    ),
    "shipped-layer-cka-plain": (f"{_FASHION} --pass layer-cka{{rescore=none}} --repair none -v {_ALL}",),
    "shipped-latency-table": (
        f"{_FASHION} --pass filter-magnitude --target latency=0.8 --cache-dir cache {_ALL}",
        f"{_FASHION} --pass filter-magnitude --target latency=0.7 --cache-dir cache --repair none -o again.onnx -v",
    ),
    "layer-cka": _passes(
        _CNN,
        "--pass layer-cka{floor=1,skip_first=false,reference=original} --target removed=2 --eval images.npz",
        "--pass layer-cka{floor=0,exclude=block1*,debiased=true,judge=cka,shortlist=2} --target flops=0.8 --no-bench",
        "--pass layer-cka{rescore=none,floor=0} --target params=0.8 --repair stats --seed 3 --no-bench",
    ),
    "layer-cka-jobs": (
        f"{_FASHION} --pass layer-cka{{rescore=none}} --target removed=1 --repair none --jobs 2 {_ALL} --no-bench",
    ),
    "layer-consensus": _passes(
        _CNN,
        "--pass layer-consensus{floor=0} --target removed=1 --repair stats",
        "--pass layer-consensus{floor=0,rescore=repaired,metrics=cka|permutation|linear_1} --target removed=2 "
        "--no-bench",
    ),
    "filter-magnitude": _passes(
        "cnn.onnx --threads 1",
        "--pass filter-magnitude --target params=0.6 --align 4",
        "--pass filter-magnitude{scope=group,norm=l1,over=writers} --target ratio=0.3 --data images.npz --no-bench",
        "--pass filter-magnitude{include=block*|fc1*,exclude=re:block2,floor=0.5} --target removed=9 --align 1 "
        "--no-bench",
        "--pass filter-magnitude{widths=true,ratio=0.4} --target flops=0.7 --align auto --data images.npz --no-bench",
    ),
    "filter-obs": _passes(
        _CNN,
        "--pass filter-obs --target flops=0.7 --repair ridge --align 1",
        "--pass filter-obs{per=unit,scope=group} --target ratio=0.25 --align 2 --no-bench",
    ),
    "filter-pls-vip": _passes(
        _CNN,
        "--pass filter-pls-vip --target params=0.7 --eval images.npz",
        "--pass filter-pls-vip{estimator=cipls,pool=mean,components=1} --target flops=0.7 --repair none --no-bench",
    ),
    "passes-in-turn": _passes(
        _CNN,
        "--pass layer-cka{floor=1} --pass filter-pls-vip{exclude=re:norm} --target flops=0.5 --report report.html",
        "--pass filter-magnitude{ratio=0.2} --pass filter-obs{ratio=0.2} --no-bench -v",
    ),
    "joint-cka": (
        *_passes(
            _CNN, "--pass joint-cka --target flops=0.7 --report report.html", "--pass joint-cka --target removed=5"
        ),
        f"{_TF} --pass joint-cka --target params=0.8 -o out3.onnx --json result3.json --repair none",
    ),
    "heads-and-neurons": _passes(
        _TF,
        "--pass head-projection --target removed=3",
        "--pass neuron-projection --target params=0.85 --align 2",
        "--pass head-projection{ratio=0.25} --pass neuron-projection{ratio=0.25}",
        "--pass filter-obs --target ratio=0.25 --no-bench",
        "--pass layer-cka{floor=0} --target removed=2 --input-shapes x:1x6x16 --no-bench",
    ),
    "amp": _passes(
        _TF,
        "--pass amp --target params=0.7 --eval tokens.npz",
        "--pass amp{budget=released} --target flops=0.7",
        "--pass amp --target latency=0.8",
    ),
    "layer-kl": _passes(
        _CNN,
        "--pass layer-kl --target removed=2",
        "--pass layer-kl{reference=original} --target flops=0.8 --no-bench",
    ),
    "filter-kl": _passes(
        _CNN,
        "--pass filter-kl --target flops=0.7",
        "--pass filter-kl{samples=16,scope=group} --target ratio=0.25 --no-bench",
    ),
    "joint-criteria": _passes(
        _CNN,
        "--pass joint-cka{criterion=kl,samples=32} --target flops=0.7 --no-bench",
        "--pass joint-cka{criterion=magnitude,similarity=wasserstein} --target flops=0.8 --no-bench",
        "--pass joint-cka{select=random,refit=false} --target flops=0.7 --no-bench",
    ),
    "layer-pls": _passes(
        _CNN,
        "--pass layer-pls{stage=1} --target removed=1",
        "--pass layer-pls --pass filter-pls-vip --target flops=0.7 --no-bench",
    ),
    "layer-angular": _passes(
        _CNN,
        "--pass layer-angular --target removed=2",
        "--pass layer-cka{rescore=none,shortlist=3} --target removed=2 --no-bench",
    ),
    "linearise": _passes(
        _TF,
        "--pass linearise --target removed=1 --report report.html",
        "--pass linearise{among=mlp,samples=8,shortlist=2} --target flops=0.9 --no-bench -v",
    ),
    "mop": _passes(
        _TF,
        "--pass mop --target params=0.7 --report report.html",
        "--pass mop{path=LG,depth=angular} --target flops=0.7",
        "--pass mop{arbiter=kl} --target params=0.8 --no-bench",
    ),
    "latency": _passes(
        _CNN,
        "--pass layer-cka{floor=0} --target latency=0.8",
        "--pass filter-obs --target latency=0.6 --align 2 --report report.html",
        "--pass layer-cka{floor=0} --pass filter-magnitude --target latency=0.6",
        "--pass filter-magnitude --target latency=900ms --repair none",
        "--pass joint-cka --target latency=0.8 --repair none",
        "--pass filter-magnitude --target latency=0.01",
    ),
    # what follows a removal
    "finetune-in-the-run": _passes(
        f"{_CNN} --no-bench",
        "--pass layer-cka{floor=1} --target removed=1 --finetune epochs=1,batch=16 --eval images.npz",
        "--pass filter-magnitude --target params=0.8 --finetune epochs=1,lr=0.01 --finetune-every removal",
    ),
    "finetune": (
        "cnn.onnx --threads 1 --pass filter-magnitude --target params=0.7 --no-bench -o small.onnx -q",
        "finetune small.onnx --teacher cnn.onnx --data images.npz --epochs 1 --batch-size 16 -o tuned.onnx --json "
        "tuned.json",
        "finetune small.onnx --data images.npz --epochs 1 --set schedule=step,colour=red -o other.onnx",
        "finetune small.onnx --data images.npz --epochs 1 -o small.onnx",
    ),
    "heal": (
        f"{_CNN} --pass layer-cka{{floor=1}} --target removed=1 --no-bench --heal 10,lr=1e-4,batch=16 {_ALL}",
        "apply cnn.onnx plan.json --data images.npz --threads 1 --no-bench -o again.onnx",
        "apply cnn.onnx plan.json --data images.npz --threads 1 --no-bench --heal none -o small.onnx -q",
        "heal small.onnx --teacher cnn.onnx --data images.npz --steps 10 --lr 1e-4 --batch-size 16 --json healed.json",
        "heal small.onnx --teacher cnn.onnx --data images.npz --steps 10 --time 1min",
        "heal small.onnx --teacher cnn.onnx --data images.npz --time soon",
    ),
    "never-slower": _passes(
        "tiny.onnx --threads 1 --align 1",
        "--pass filter-magnitude --target removed=1",
        "--pass filter-magnitude --target removed=1 --allow-slower",
    ),
    # decisions without a model, and models from a decision
    "plan-and-apply": (
        f"{_CNN} --pass layer-cka{{floor=1}} --pass filter-magnitude --target flops=0.4 --dry-run --plan-out plan.json "
        f"--json -",
        "apply cnn.onnx plan.json --threads 1 -o a.onnx",
        "apply cnn.onnx plan.json --threads 1 -o b.onnx --data images.npz --eval images.npz --json - --report "
        "report.html",
        "apply cnn.onnx plan.json --threads 1 -o c.onnx --data images.npz --repair ridge --no-bench -v",
        "apply cnn.onnx plan.json --threads 1 -o d.onnx --repair none --no-bench -q",
        "apply big.onnx plan.json --threads 1 -o e.onnx --no-bench",
        "apply big.onnx plan.json --threads 1 -o e.onnx --no-bench --allow-other-model",
        "apply tf.onnx plan.json --threads 1 -o f.onnx --no-bench --allow-other-model",
        "apply cnn.onnx future.json -o f.onnx --no-bench",
        "apply cnn.onnx loader.py -o f.onnx --no-bench",
        "apply cnn.onnx plan.json --threads 1 -o plan.json --no-bench",
    ),
    "external-data": (f"big.onnx --data loader.py --threads 1 --pass filter-magnitude --target params=0.6 {_ALL}",),
    "no-data": (
        f"cnn.onnx --threads 1 --pass layer-cka --target removed=1 --no-bench {_ALL}",
        f"cnn.onnx {_BAD} --require-data",
        "tf.onnx --threads 1 --pass amp --no-bench --val-range x:[-1,1] --input-shapes x:1x5x16 --num-samples 8 "
        "-o tf_small.onnx",
    ),
    # looking
    "inspect": (
        "inspect fashion.onnx",
        "inspect cnn.onnx --json -",
        "inspect cnn.onnx --groups -v",
        "inspect tf.onnx --groups --json -",
        "inspect tf.onnx -v",
        "inspect fashion.onnx --graph groups.svg",
        "inspect chain.onnx",
        "inspect text.onnx",
        "inspect cnn.onnx --graph groups.png",
    ),
    "bench": (
        "cnn.onnx --threads 1 --pass filter-magnitude --target params=0.6 --no-bench -o small.onnx -q",
        "bench cnn.onnx small.onnx --threads 1 --batch 2 --json -",
        "bench cnn.onnx small.onnx --threads 1 --data images.npz -v",
        "bench cnn.onnx tf.onnx",
    ),
    "evaluate": (
        "cnn.onnx --threads 1 --pass filter-magnitude --target params=0.8 --no-bench -o small.onnx -q",
        "evaluate cnn.onnx small.onnx --data images.npz --samples 32 --attack fgsm --epsilon 4/255 --corruptions blur"
        " --severities 2 --threads 1 --json result.json",
        "evaluate cnn.onnx --data tokens.npz",
    ),
    "listings": (
        "--help",
        "--version",
        "prune --help",
        "apply --help",
        "inspect --help",
        "bench --help",
        "evaluate --help",
        "finetune --help",
        "heal --help",
        "doctor --help",
        "olive-config --help",
        "passes",
        "passes --json",
        "report --help",
        "doctor",
        "olive-config -o olive.json",
        "nonsense",
    ),
    # mistakes
    "bad-models": tuple(
        f"{model} {_BAD}" for model in ("nowhere.onnx", "text.onnx", "empty.onnx", "images.npz", "chain.onnx", ".")
    ),
    "bad-data": tuple(
        f"cnn.onnx {_BAD} {data}"
        for data in (
            "--data nowhere.npz",
            "--data doubles.npz",
            "--data holes.npz",
            "--data turned.npz",
            "--data text.onnx",
            "--data calib.npz",
            "--data loader.py:nothing",
            "--eval nowhere.npz",
            "--input-shapes z:1x3x8x8",
            "--data images.npz --num-samples 1",
        )
    ),
    "bad-passes": (
        "cnn.onnx --target removed=1 -o out.onnx",
        *(
            f"{_CNN} --pass {spec} --target removed=1 --no-bench -o out.onnx"
            for spec in (
                "layer-magic",
                "layer-cka{floors=1}",
                "layer-cka{floor=two}",
                "layer-cka{floor=1",
                "layer-cka{exclude=nothing}",
                "layer-cka{exclude=*}",
                "layer-cka{representation=nope}",
                "filter-magnitude{ratio=2}",
                "amp",
                "filter-magnitude{include=nothing}",
                "filter-magnitude{exclude=re:(}",
                "filter-magnitude{exclude=*}",
                "head-projection",
                "filter-pls-vip{components=0}",
                "layer-consensus{metrics=abacus}",
            )
        ),
        "cnn.onnx --threads 1 --pass filter-magnitude{ratio=0.2} --pass filter-obs{ratio=0.3} --no-bench -o out.onnx",
    ),
    "bad-targets": tuple(
        f"{_CNN} --pass layer-cka --target {target} --no-bench -o out.onnx"
        for target in ("joules=0.5", "latency=0.5", "flops=1.5", "removed=2.5", "removed=99", "flops=0.01", "ratio=1")
    ),
    "unreachable-units": (
        f"{_CNN} --pass filter-magnitude{{floor=0.5}} --target params=0.05 --no-bench -o out.onnx",
        f"{_CNN} --pass filter-magnitude --target flops=0.95 --align 64 --no-bench -o out.onnx --json -",
    ),
    "bad-options": (
        *(
            f"cnn.onnx {_BAD} {more}"
            for more in (
                "--batch 0",
                "--align x",
                "--repair glue",
                "--finetune epochs=none",
                "--provider abacus",
                "--provider cuda",
                "--exclud x",
                "--report report.txt",
                "--report nowhere/r.html",
                "--plan-out cnn.onnx",
                "--plan-out out.onnx",
                "--json cnn.onnx",
                "--backend ray",
                "--jobs 0",
                "--val-range x:[1,0]",
                "--finetune-every year",
            )
        ),
        "cnn.onnx --threads 1 --pass layer-cka -o cnn.onnx",
        "cnn.onnx --threads 1 --pass layer-cka -o nowhere/out.onnx",
        f"{_CNN} --pass layer-cka -o images.npz",
        "prune --pass layer-cka",
    ),
    # the public names of the package
    "api-prune": ("api prune_in_memory", "api plan_and_apply", "api options", "api errors", "api names"),
    "api-bridge": ("api bridge",),
}
