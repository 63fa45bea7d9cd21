"""``docs/evidence.md``: the table of claims and a section for each experiment, from the rows in a work folder."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import evidence_sensors
from evidence_claims import claims, told
from evidence_rows import rows_of
from evidence_size import SIZES, Row
from sensors import table as sensor_table

from graphprune.protocols import over_folds

EXPERIMENTS = ("joint", "robustness", "tickets", "growth", "layer_cut", "sensors", "streams")
PAPERS = {
    "CKA": "Effective Layer Pruning Through Similarity Metric Perspective, ICPR 2024",
    "joint": "Pruning Everything, Everywhere, All at Once, IJCNN 2025",
    "lottery": "When Layers Play the Lottery, all Tickets Win at Initialization",
    "growth": "Stage-Wise Neural Architecture Search, ICPR 2020",
    "AMP": "AMP: Attention Heads and MLP Pruning, IJCNN 2025",
    "CIPLS": "Covariance-Free Partial Least Squares, WACV 2021",
    "sensors": "Human Activity Recognition Based on Wearable Sensor Data: A Standardization, arXiv 1806.05226",
}
MISSING = """Consensus (78.80 % of ResNet-56's MACs at comparable accuracy; energy -66.99 %), filter pruning by PLS
(88 % without loss) and Mixture of Pruners (-39 % latency at 40 %) were not trained here, and are judged nowhere; nor
was the study of adversarial robustness (ICCVW 2021), whose tables are not public."""


def page(work: Path) -> str:
    """The whole document."""
    rows = {name: [row for row in rows_of(work, name) if row.get("size", "small") == "small"] for name in EXPERIMENTS}
    parts = [
        _head(),
        _claims_table(rows),
        _joint(rows["joint"]),
        _robustness(rows["robustness"]),
        _tickets(rows["tickets"]),
        _growth(rows["growth"]),
        _cut(rows["layer_cut"]),
        _sensors(rows["sensors"]),
        _streams(rows["streams"]),
    ]
    return "\n".join(part for part in parts if part)


def _head() -> str:
    small, paper = SIZES["small"], SIZES["paper"]
    intro = _text(
        """What the papers claim that this project is made of, beside what was found here. The networks are trained on
        two shared cores, so the runs are a hundredth and less of the papers': most of them can only say
        which way a figure points, and the verdict says so. It follows a rule: a claim is reproduced or
        contradicted where the 90 % interval over seeds or folds (Student's t) lies on one side, else the
        run is too small to say. Intervals speak of these runs alone, not of other sizes, networks or data."""
    )
    sizes = _text(
        f"""`small` is {small}; accuracy is that on 10,000 test images. `paper` is {paper}. Fashion-MNIST is made half
        as large by means of 2 x 2 pixels. Rates follow a cosine, and a tenth of the images decides which
        epoch is kept. Machine: AMD EPYC (AVX-512), two cores shared with other work."""
    )
    larger = _text(
        f"""At paper size a GPU makes the rows of CKA and joint by the experiments `joint` and `robustness` (ResNet-56
        in {paper.joint_steps} steps, also a block at a time by CKA alone), those of lottery by `tickets`, of growth by
        `growth`, of PLS against CKA by `layer_cut`, of sensors by `sensors`, of CIPLS by `streams`, and of AMP by
        `amp` (LoRA after each method; `smollm2.py build/evidence/smol` comes before it): `evidence.py amp --size
        paper`. The MACs of ten blocks and the time of layers and filters are measured at full size already."""
    )
    return f"""# Evidence

{intro}
```console
python tools/figures/evidence.py --work build/evidence                   # all of it, small; resumes
python tools/figures/evidence.py --work build/evidence --size paper      # as large as the papers, for a GPU; not run
python tools/figures/evidence.py --size paper --dry-run                  # the tasks of that
python tools/figures/evidence.py --work tools/figures/rows/evidence --markdown docs/evidence.md   # this page
```

{sizes}
{larger}"""


def _claims_table(rows: dict[str, list[Row]]) -> str:
    lines = _table(
        ["claim", "of", "there", "here", "run", "verdict"],
        ([each.claim, each.source, each.paper, each.ours, each.run, each.verdict] for each in claims(rows)),
    )
    papers = "; ".join(f"{name}: {title}" for name, title in PAPERS.items())
    about = _text(f"Points are of accuracy. {papers}.")
    return f"## Claims\n\n{lines}\n{about}\n{_text(MISSING)}"


def _joint(rows: Sequence[Row]) -> str:
    done = [row for row in rows if "top1" in row]
    if not done:
        return ""
    steps = sorted({row["step"] for row in done} - {0})
    lines = []
    for method in dict.fromkeys(row["method"] for row in done):
        mine = [row for row in done if row["method"] == method]
        cells = []
        for step in steps:
            at = [row for row in mine if row["step"] == step]
            paths = ", ".join("L" if row["what"] == "layer" else "F" for row in at)
            cells.append(f"{_mean(at, 'top1')} at {_mean(at, 'macs_left')} ({paths})" if at else "out of reach")
        lines.append([_NAMES[method], *cells])
    dense = [row for row in done if row["step"] == 0]
    dense = list({row["seed"]: row for row in dense}.values())
    about = _text(
        f"""ResNet-20 ({_seeds(dense)}; dense {_mean(dense, "top1")}), step by step, each of about the MACs of a block
        (unlike MACs are not judged): top-1 at MACs left, and what went, layer or filters, in the order of the seeds.
        All methods get the same repair and {SIZES["small"].after} epochs after every step. KL scores all.
        `joint-cka` compares repaired children, the paper (last row) children trained ten epochs on a tenth
        of the images; both judge by CKA on held-out images."""
    )
    return (
        f"## Layers and filters together\n\n{about}\n{_table(['method', *(f'step {step}' for step in steps)], lines)}"
    )


_NAMES = {
    "joint": "`joint-cka`",
    "layers": "`layer-kl`",
    "filters": "`filter-kl`",
    "random": "a coin (`select=random`)",
    "trained": "CKA of trained children",
}


def _robustness(rows: Sequence[Row]) -> str:
    done = [row for row in rows if "condition" in row and not row["condition"].startswith(("ECE", "adaptive"))]
    if not done:
        return ""
    names = list(done[0]["top1"])
    lines = []
    for condition in dict.fromkeys(row["condition"] for row in done):
        mine = [row for row in done if row["condition"] == condition]
        cells = [f"{100 * sum(row['top1'][name] for row in mine) / len(mine):.1f}" for name in names]
        lines.append([_CONDITIONS.get(condition, condition), *cells])
    about = _text(
        f"""The same networks after the last step (layers, filters, `joint-cka`), {_seeds(done)}: top-1 on 1,000 test
        images, attacked each on its own, and under common corruptions of severity 3. On images this small a
        shift is one pixel, and occlusion covers a quarter."""
    )
    table = _table(["", *names], lines)
    return f"## Robustness\n\n{about}\n{table}"


_CONDITIONS = {
    "top-1": "as they are",
    "fgsm 0.00784314": "FGSM 2/255",
    "fgsm 0.0313725": "FGSM 8/255",
    "shift 4": "shift",
    "occlusion 16": "occlusion",
    "corruptions": "mean of the corruptions",
}


def _tickets(rows: Sequence[Row]) -> str:
    done = [row for row in rows if "top1" in row]
    dense = [row for row in done if row["kind"] == "dense"]
    if not dense:
        return ""
    base = {row["seed"]: row for row in dense}
    lines = []
    kinds = ("layers snip", "layers grasp", "filters snip", "filters grasp")
    for removed in sorted({row["removed"] for row in done} - {0}):
        for kind in kinds:
            mine = [row for row in done if row["kind"] == kind and row["removed"] == removed and row["seed"] in base]
            if mine:
                gaps = [100 * (row["top1"] - base[row["seed"]]["top1"]) for row in mine]
                times = [row["seconds"] / base[row["seed"]]["seconds"] for row in mine]
                cells = [kind, str(removed), _mean(mine, "macs_left"), _mean(mine, "top1"), told(gaps)]
                lines.append([*cells, f"{100 * (1 - sum(times) / len(times)):.0f} %"])
    about = _text(
        f"""ResNet-32, pruned before it is trained ({_seeds(dense)}; dense {_mean(dense, "top1")},
        {_mean(dense, "seconds", 1)} processor seconds). Filter tickets lose as many filters as the blocks
        that a layer ticket loses have. Time saved is the processor's, in the training; at constant power it
        is the energy and the CO2 saved, too (`graphprune train --energy`)."""
    )
    table = _table(["ticket", "blocks", "MACs left", "top-1", "beside dense", "time saved"], lines)
    return f"## Tickets at initialisation\n\n{about}\n{table}"


def _growth(rows: Sequence[Row]) -> str:
    done = [row for row in rows if "network" in row]
    if not done:
        return ""
    lines = []
    for row in done:
        if "macs" in row:
            vip = " ".join(f"{value:.4f}" for value in row["vip"])
            blocks = ", ".join(map(str, row["blocks"]))
            score = f"{100 * row['held_out']:.1f}"
            lines.append([str(row["seed"]), row["network"], blocks, f"{row['macs'] / 1e6:.2f} M", vip, score])
    tops = [
        f"seed {row['seed']}: {row['network']} ({', '.join(map(str, row['blocks']))}) {100 * row['top1']:.2f}"
        for row in done
        if "top1" in row
    ]
    ends = _text(
        f"""Top-1 on the test images, beside a ResNet with as many blocks evenly spread, and the network that it began
        with: {"; ".join(tops)}."""
    )
    about = _text(
        """From two blocks in every stage, two more at a time, all trained from scratch; a stage keeps them where the
        mean VIP of its last join rises."""
    )
    table = _table(["seed", "network", "blocks", "MACs", "mean VIP of the stages", "held out %"], lines)
    return f"## Growth by stages\n\n{about}\n{table}\n{ends}"


def _cut(rows: Sequence[Row]) -> str:
    done = [row for row in rows if "top1" in row]
    refused = [row for row in rows if "refused" in row]
    if not done:
        return ""
    lines = []
    for method in dict.fromkeys(row["method"] for row in done):
        mine = [row for row in done if row["method"] == method]
        gone = "; ".join(f"{len(row['gone'])}" for row in mine if "gone" in row)
        lines.append([method, gone, _mean(mine, "macs_left"), _mean(mine, "top1")])
    note = f"\nRefused for {len(refused)} of the seeds: {refused[0]['refused']}.\n" if refused else ""
    about = _text(
        f"""ResNet-32 ({_seeds(done)}). `layer-pls` says how many blocks go from the end of the last stage, `layer-cka`
        (CKA alone) takes as many; then `filter-pls-vip` down to 60 % of the MACs. Repair and
        {SIZES["small"].after} epochs after each."""
    )
    table = _table(["method", "blocks gone", "MACs left", "top-1"], lines)
    return f"## The tail of a stage by PLS\n\n{about}\n{table}{note}"


def _sensors(rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    (epochs, after), *others = {(epochs, after) for *_, epochs, after, _ in evidence_sensors.PLAN["small"]}
    assert not others
    about = _text(
        f"""Windows of a second under the protocols, {len({row["fold"] for row in rows})} folds of each at most
        (`tools/figures/sensors.py`). The leakage is the share of test windows of which a half lies in a
        training window. {epochs} epochs, then pruned (the CNN by `filter-obs`, the transformer by `joint-cka`,
        layers against heads and neurons) and trained for {after} epochs more. Macro recall and F1 as scikit-learn has
        them; 90 % intervals over folds."""
    )
    return f"## Sensors\n\n{about}\n{sensor_table(rows)}\n"


def _streams(rows: Sequence[Row]) -> str:
    done = [row for row in rows if "top1" in row]
    if not done:
        return ""
    lines = [
        [row["method"], str(row["features"]), f"{row['seconds']:.1f}", f"{row['mib']:.0f}", f"{100 * row['top1']:.2f}"]
        for row in done
    ]
    about = _text(
        f"""{done[0]["images"]:,} CIFAR-10 images (3,072 numbers each), decoded 500 at a time; a linear classifier on
        what is left, on {done[0]["images"] // 5:,} test images. Seconds are the processor's, decoding
        included; memory is what the process grew by, the packed images (57 MB) included. CIPLS learns one
        model of two components for each class; "released" is the authors' code."""
    )
    table = _table(["method", "numbers left", "processor s", "MiB", "top-1"], lines)
    return f"## Streams\n\n{about}\n{table}"


def _text(text: str) -> str:
    """A paragraph in lines of the width of the docs."""
    return textwrap.fill(" ".join(text.split()), 150, break_long_words=False, break_on_hyphens=False) + "\n"


def _seeds(rows: Sequence[Row]) -> str:
    count = len({row["seed"] for row in rows})
    return f"{count} seed{'s' * (count > 1)}"


def _mean(rows: Sequence[Row], key: str, scale: float = 100) -> str:
    """A mean over seeds with its 90 % interval."""
    values = [scale * float(row[key]) for row in rows]
    mark = " %" if key == "macs_left" else ""
    if len(values) < 2:
        return f"{values[0]:.1f}{mark}"
    found = over_folds(values)
    return f"{found.mean:.1f}{mark}" if key == "macs_left" else f"{found.mean:.1f} ± {found.half_width:.1f}"


def _table(heads: Sequence[str], lines: Iterable[Sequence[Any]]) -> str:
    rows = [heads, ["---"] * len(heads), *lines]
    return "".join(f"| {' | '.join(map(str, row))} |\n" for row in rows)
