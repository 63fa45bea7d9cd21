"""The table of an evaluation, from figures made up for it."""

from __future__ import annotations

from rich.console import Console

from graphprune.evaluation.energy import InferenceEnergy
from graphprune.evaluation.paired import Difference, Estimate
from graphprune.evaluation.robustness_report import ConditionKind, ConditionRow, RobustnessReport
from graphprune.report.robustness import print_robustness


def row(kind: ConditionKind, name: str, level: str, *figures: float, reach: float = 0.02) -> ConditionRow:
    first, *others = figures
    gaps = [Difference(other - first, reach / 2, other - first - reach, other - first + reach) for other in others]
    return ConditionRow(kind, name, level, tuple(Estimate(figure, 0.01) for figure in figures), tuple(gaps))


def shown(rows: list[ConditionRow], models: int, energy: tuple[InferenceEnergy, ...] = ()) -> str:
    report = RobustnessReport(
        tuple(f"{which}.onnx" for which in range(models)), "test.npz", 500, "labels", tuple(rows), {}, energy
    )
    console = Console(width=80, record=True, highlight=False)
    with console.capture() as captured:
        print_robustness(console, report, verbose=False)
    return captured.get()


def line(text: str, start: str) -> list[str]:
    return next(one for one in text.splitlines() if one.startswith(start)).removeprefix(start).split()


def test_both_directions_are_shown_and_counted() -> None:
    text = shown(
        [
            row("clean", "top-1", "", 0.9, 0.88, 0.9),
            row("calibration", "NLL, nats", "", 0.4, 0.5, 0.4),
            row("attack", "fgsm", "0.00784314", 0.3, 0.26, 0.35),
            row("attack", "pgd", "0.01", 0.1, 0.11, 0.1),
            row("corruption", "fog", "1", 0.8, 0.7, 0.9),
            row("corruption", "fog", "", 0.8, 0.7, 0.9),
            row("mean", "weather", "", 0.8, 0.7, 0.9),
            row("mean", "corruptions", "", 0.8, 0.7, 0.9),
        ],
        models=3,
    )
    words = " ".join(text.split())
    assert "B against A, 3 attacks and corruption families: more robust in 0, less in 2, no difference in 1" in words
    assert "C against A, 3 attacks and corruption families: more robust in 2, less in 0, no difference in 1" in words
    assert line(text, "fgsm 2/255, %") == ["30.00", "26.00", "-4.00", "±2.00", "*", "35.00", "+5.00", "±2.00", "*"]
    assert line(text, "pgd 0.01, %") == ["10.00", "11.00", "+1.00", "±2.00", "10.00", "+0.00", "±2.00"]
    assert line(text, "NLL, nats ↓") == ["0.400", "0.500", "+0.100", "±0.020", "*", "0.400", "+0.000", "±0.020"]
    assert line(text, "mean of 1, %")[0] == "80.00"
    assert "fog" not in text
    assert max(map(len, text.splitlines())) <= 80


def test_without_attacks_the_headline_is_the_clean_figure() -> None:
    assert shown([row("clean", "top-1", "", 0.9, 0.8)], 2).startswith("B: worse than A in top-1")
    assert shown([row("clean", "top-1", "", 0.8, 0.9)], 2).startswith("B: better than A in top-1")
    assert shown([row("clean", "top-1", "", 0.9, 0.89)], 2).startswith("B: no difference to A in top-1")
    assert "0.onnx" in shown([row("clean", "top-1", "", 0.9)], 1)


def test_energy_in_readable_figures() -> None:
    def of(joules: float) -> InferenceEnergy:
        part = Estimate(joules, joules / 10)
        return InferenceEnergy(
            part, Estimate(joules / 1e5, 1e-5), Estimate(3_390.0, 400.0), 600, 3, "BRA", "RAPL counters"
        )

    text = shown([row("clean", "top-1", "", 0.9, 0.9)], 2, (of(95.0), of(1234.0)))
    assert " 95.0 ±9.5 " in text
    assert "1234 ±123" in text
    assert "+1198.9 ±183.7 %" in text
