"""What the ten papers claim, as far as this project quotes it, beside what was found here, and a verdict by rule.

A figure of ours is a mean over seeds or folds with its 90 % interval (Student's t). A claim is reproduced where the
interval lies on the claimed side, contradicted where it lies on the other, and else the run is too small to say.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from evidence_size import Row
from sensors import KINDS, PASSES, windows

from graphprune.protocols import leakage, over_folds

NOT_RUN = "not run"
SAME_MACS_POINTS = 2.0
"""Networks whose MACs differ by more are not compared: the larger one has it easier."""
FAR_ENOUGH_PERCENT = 50.0
"""Of the MACs, that are to be gone before a claim about 57 % is judged."""
Verdict = Literal["reproduced", "contradicted", "too small to say"]
Rows = dict[str, list[Row]]
"""By experiment."""


@dataclass(frozen=True)
class Claim:
    """``paper`` is the figure there, in points unless it says otherwise."""

    claim: str
    source: str
    paper: str
    ours: str
    run: str
    verdict: Verdict


def told(values: Sequence[float], unit: str = "points", what: str = "seeds") -> str:
    """A mean with its interval, or the one value there is."""
    if len(values) < 2:
        return f"{values[0]:+.1f} {unit} (one {what[:-1]})" if values else NOT_RUN
    found = over_folds(values)
    return f"{found.mean:+.1f} ± {found.half_width:.1f} {unit} ({len(values)} {what})"


def judged(values: Sequence[float], sign: int = 1) -> Verdict:
    """Whether the differences have the claimed ``sign``."""
    if len(values) < 2:
        return "too small to say"
    found = over_folds(values)
    if abs(found.mean) <= found.half_width:
        return "too small to say"
    return "reproduced" if found.mean * sign > 0 else "contradicted"


def paired(rows: Sequence[Row], one: Callable[[Row], bool], other: Callable[[Row], bool]) -> list[float]:
    """Top-1 of one kind of row less that of another, seed by seed, in points."""
    first, second = ({row["seed"]: row["top1"] for row in rows if chosen(row)} for chosen in (one, other))
    return [100 * (first[seed] - second[seed]) for seed in sorted(first.keys() & second.keys())]


def claims(rows: Rows) -> list[Claim]:
    """From the rows there are, and from the other docs."""
    found = [
        *_documented(),
        *_joint(rows["joint"]),
        *_robustness(rows["robustness"]),
        *_tickets(rows["tickets"]),
        *_growth(rows["growth"]),
    ]
    found += [*_cut(rows["layer_cut"]), *_sensors(rows["sensors"]), *_streams(rows["streams"])]
    return [claim for claim in found if claim.ours != NOT_RUN]


def _documented() -> list[Claim]:
    """Figures of docs/measured.md."""
    measured = "[measured](measured.md)"
    network, three = (
        "ResNet-56, CIFAR-10 (JPEG)",
        "three epochs on 15,000 images in all, instead of 200 after each block",
    )
    return [
        Claim(
            "ten blocks of ResNet-56 are 37.52 % of its MACs",
            "CKA",
            "37.52 %",
            "37.52 %",
            f"the authors' network, {measured}",
            "reproduced",
        ),
        Claim(
            "without 56 % of its MACs by CKA ResNet-56 gains",
            "CKA",
            "+0.95",
            "-5.5",
            f"{network}, {three}, {measured}",
            "too small to say",
        ),
        Claim(
            "without 75 to 79 % it loses less than a point",
            "CKA",
            "-0.66 at 78.8 %",
            "-12.6 at 75 %",
            f"{network}, {three}, {measured}",
            "too small to say",
        ),
        Claim(
            "layers save more time than filters",
            "CKA",
            "a plot",
            "37.6 % of the MACs as blocks: 1.60x as fast; 30 % as filters: 0.96x, in multiples of 16 1.16x",
            f"{network}, one thread, {measured}",
            "reproduced",
        ),
        Claim(
            "layers and filters in turn take 86.37 % of ResNet-56's MACs",
            "joint",
            "-1.36",
            "-34.5 at 86.0 %",
            f"{network}, repaired, not trained, {measured}",
            "too small to say",
        ),
        Claim(
            "AMP beats other methods at a fifth of the parameters",
            "AMP",
            "+1.06 points over the next, five tasks",
            "perplexity 41.7 (on other text 198), of the best rival 47.3 (153)",
            "SmolLM2-135M, repaired, no LoRA, [language models](language_models.md)",
            "too small to say",
        ),
    ]


def _joint(rows: Sequence[Row]) -> list[Claim]:
    last = max((row["step"] for row in rows if "top1" in row), default=0)

    def at(method: str) -> Callable[[Row], bool]:
        return lambda row: row["method"] == method and row["step"] == last and "top1" in row

    run = "ResNet-20, small size"
    found = []
    for other, paper in (
        ("random", "61.99 % of ResNet-32's MACs against 55.83 % without loss"),
        ("layers", "ResNet-56 -1.36 at 86.37 %, which layers alone do not reach"),
        ("filters", "no figure found"),
    ):
        values = paired(rows, at("joint"), at(other))
        name = {"random": "choosing by CKA beats a coin", "layers": "and layers alone", "filters": "and filters alone"}
        left, theirs = (_left_of(rows, at(method)) for method in ("joint", other))
        ours = f"{told(values)}, MACs left {left:.1f} against {theirs:.1f} %" if values else NOT_RUN
        are_equal = abs(left - theirs) <= SAME_MACS_POINTS
        verdict: Verdict = judged(values) if are_equal else "too small to say"
        found.append(Claim(name[other], "joint", paper, ours, f"{run}, {last} steps", verdict))
    values = paired(rows, at("joint"), lambda row: row["method"] == "joint" and row["step"] == 0)
    gone = 100 - _left_of(rows, at("joint"))
    text = f"{told(values)} at {gone:.0f} %" if values else NOT_RUN
    verdict = judged([value + 0.5 for value in values]) if gone >= FAR_ENOUGH_PERCENT else "too small to say"
    paper = "+0.71 at 57.40 %"
    found.append(Claim("joint pruning keeps the accuracy (to half a point)", "joint", paper, text, run, verdict))
    return found


def _left_of(rows: Sequence[Row], chosen: Callable[[Row], bool]) -> float:
    """Mean percent of the MACs left; 100 where there is no row."""
    left = [100 * row["macs_left"] for row in rows if chosen(row)]
    return sum(left) / len(left) if left else 100.0


def _robustness(rows: Sequence[Row]) -> list[Claim]:
    found = []
    for name, condition in (("FGSM", "fgsm 0.0313725"), ("common corruptions", "corruptions")):
        mine = [row["top1"] for row in rows if row.get("condition") == condition]
        values = [100 * (each["joint"] - each["dense"]) for each in mine]
        paper = {"FGSM": "+2.5 (ResNet-110, 91 %)", "common corruptions": "up to +4 (ResNet-110, 96 %)"}[name]
        claim = f"pruned networks stand {name} better"
        run = "ResNet-20, small size, 3 steps"
        found.append(Claim(claim, "joint", paper, told(values), run, judged(values)))
    return found


def _tickets(rows: Sequence[Row]) -> list[Claim]:
    def is_kind(kind: str, removed: int) -> Callable[[Row], bool]:
        return lambda row: row["kind"] == kind and row["removed"] == removed and "top1" in row

    run, found = "ResNet-32, small size", []
    papers = {("snip", 1): "+0.08", ("grasp", 1): "+0.40", ("snip", 5): "-1.00", ("grasp", 5): "+0.12"}
    for (score, removed), paper in papers.items():
        values = paired(rows, is_kind(f"layers {score}", removed), is_kind("dense", 0))
        verdict = judged([value + 1 for value in values])
        name = (
            f"{score.upper() if score == 'snip' else 'GraSP'} tickets without {removed} block{'s' * (removed > 1)} win"
        )
        found.append(Claim(f"{name} (within a point of dense)", "lottery", paper, told(values), run, verdict))
    values = paired(rows, is_kind("layers grasp", 5), is_kind("layers snip", 5))
    found.append(Claim("GraSP beats SNIP at five blocks", "lottery", "+1.12", told(values), run, judged(values)))
    for score, paper in (("snip", "+0.87"), ("grasp", "+0.51")):
        values = paired(rows, is_kind(f"layers {score}", 1), is_kind(f"filters {score}", 1))
        name = f"layer tickets beat filter tickets ({'SNIP' if score == 'snip' else 'GraSP'}, one block)"
        found.append(Claim(name, "lottery", paper, told(values), run, judged(values)))
    seconds = {
        seed: {
            row["removed"]: row["seconds"]
            for row in rows
            if row.get("seed") == seed and "seconds" in row and row["kind"] in ("dense", "layers grasp")
        }
        for seed in {row["seed"] for row in rows}
    }
    ratios = [each[0] / each[5] for each in seconds.values() if 0 in each and 5 in each]
    if ratios:
        ours = f"{sum(ratios) / len(ratios):.2f} times ({len(ratios)} seed{'s' * (len(ratios) > 1)}), processor seconds"
        verdict = judged([ratio - 1 for ratio in ratios])
        name = "five blocks less train faster, and cost less CO2 in the same measure"
        found.append(Claim(name, "lottery", "1.57 times, CO2 -33.33 %", ours, run, verdict))
    return found


def _growth(rows: Sequence[Row]) -> list[Claim]:
    tops = [row for row in rows if row.get("network") in ("grown", "even") and "top1" in row]
    same = {row["seed"] for row in tops if row["network"] == "grown" and len(set(row["blocks"])) == 1}
    tops = [row for row in tops if row["seed"] not in same]
    values = paired(tops, lambda row: row["network"] == "grown", lambda row: row["network"] == "even")
    paper = "149 M MACs 94.27 %, ResNet-110 (253 M) 93.57 %"
    name = "a grown network beats a ResNet, here of as many blocks"
    return [Claim(name, "growth", paper, told(values), "from 2, 2, 2, small size", judged(values))]


def _cut(rows: Sequence[Row]) -> list[Claim]:
    done = [row for row in rows if "top1" in row]
    values = paired(done, lambda row: row["method"] == "layer-pls", lambda row: row["method"] == "layer-cka")
    name = "PLS beats CKA at equal MACs"
    return [Claim(name, "CKA", "+0.23 (ResNet-50, 45.28 %)", told(values), "ResNet-32, small size", judged(values))]


def _sensors(rows: Sequence[Row]) -> list[Claim]:
    found = []
    papers = {"UTD-MHAD1_1s": "95.8 %", "UTD-MHAD2_1s": "96.4 %", "WHARF": "93.6 %"}
    for name, paper in papers.items():
        x, _, folds = windows(name, "SNOW")
        share = 100 * leakage(x, folds)
        same: Verdict = "reproduced" if f"{share:.1f} %" == paper else "contradicted"
        claim = f"SNOW lets half of a test window be seen in training, {name}"
        found.append(Claim(claim, "sensors", f"{paper}, counted in their files", f"{share:.1f} %", "all folds", same))
    for name, network in itertools.product(papers, KINDS):
        found += _of_network([row for row in rows if (row["data"], row["network"]) == (name, network)], name, network)
    return found


def _of_network(rows: Sequence[Row], name: str, network: str) -> list[Claim]:
    """What SNOW flatters over LOSO, and what pruning does under LOSO."""
    found = []
    run = f"{network}, {name}"
    dense = [row for row in rows if row["left"] == 1]
    by = {kind: [100 * row["accuracy"] for row in dense if row["protocol"] == kind] for kind in ("SNOW", "LOSO")}
    if all(len(values) > 1 for values in by.values()):
        each = {kind: over_folds(values) for kind, values in by.items()}
        gap = each["SNOW"].mean - each["LOSO"].mean
        reach = (each["SNOW"].half_width ** 2 + each["LOSO"].half_width ** 2) ** 0.5
        verdict: Verdict = "reproduced" if gap > reach else "contradicted" if gap < -reach else "too small to say"
        ours = f"{gap:+.1f} ± {reach:.1f} points ({len(by['SNOW'])} and {len(by['LOSO'])} folds)"
        found.append(Claim("SNOW flatters by about ten points over LOSO", "sensors", "about 10", ours, run, verdict))
    if values := _left([row for row in rows if row["protocol"] == "LOSO"], 0.2):
        claim, ours = "a network without 80 % of its MACs gains on sensors", told(values, what="folds")
        run = f"{run}, LOSO, by {PASSES[network]}"
        found.append(Claim(claim, "joint", "up to +6 (a transformer, UTD-MHAD)", ours, run, judged(values)))
    return found


def _left(rows: Sequence[Row], left: float) -> list[float]:
    """Fold by fold, what pruning to ``left`` changed."""
    good = [row for row in rows if "accuracy" in row]
    dense, small = ({r["fold"]: r["accuracy"] for r in good if r["left"] == share} for share in (1.0, left))
    return [100 * (small[fold] - dense[fold]) for fold in sorted(dense.keys() & small.keys())]


def _streams(rows: Sequence[Row]) -> list[Claim]:
    by = {row["method"]: row for row in rows}
    if not {"CIPLS", "incremental PCA", "batch PLS"} <= by.keys():
        return []
    run = f"{by['CIPLS']['images']:,} CIFAR images of 3,072 numbers, {by['CIPLS']['features']} features, one run"

    def gap(one: str, other: str) -> float:
        return float(100 * (by[one]["top1"] - by[other]["top1"]))

    def verdict(points: float, images: int, sign: int) -> Verdict:
        reach = 1.645 * 100 * (2 * 0.35 * 0.65 / (images / 5)) ** 0.5  # of two accuracies near 35 %, if unpaired
        return "too small to say" if abs(points) <= reach else "reproduced" if points * sign > 0 else "contradicted"

    count = by["CIPLS"]["images"]
    rival, batch = gap("CIPLS", "incremental PCA"), gap("CIPLS", "batch PLS")
    memory = f"{by['CIPLS']['mib']:.0f} MiB, batch PLS {by['batch PLS']['mib']:.0f} MiB"
    return [
        Claim(
            "CIPLS beats incremental PCA",
            "CIPLS",
            "+1.81, +2.62, +14.51 (CCIPCA)",
            f"{rival:+.1f} points",
            run,
            verdict(rival, count, 1),
        ),
        Claim(
            "batch PLS beats CIPLS",
            "CIPLS",
            "0.79, 1.86",
            f"{-batch:.1f} points",
            run,
            verdict(batch, count, -1),
        ),
        Claim(
            "CIPLS takes memory for its weights alone",
            "CIPLS",
            "O(features x components)",
            memory,
            run,
            "reproduced" if by["CIPLS"]["mib"] < by["batch PLS"]["mib"] / 3 else "contradicted",
        ),
    ]
