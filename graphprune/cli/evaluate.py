"""``graphprune evaluate``: robustness, calibration, energy or perplexity of several models side by side."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from graphprune.cli.grouped import GroupedCommand
from graphprune.cli.image_options import image_options, image_settings
from graphprune.cli.options import show_options
from graphprune.cli.text_options import text_options, text_settings

if TYPE_CHECKING:
    import numpy as np

    from graphprune.evaluation.attacks import Attack

_NUMBER = r"\d+(?:\.\d*)?(?:[eE]-?\d+)?|\.\d+"


class Epsilon(click.ParamType[float]):
    """``2/255`` or ``0.01``: pixels of [0, 1]."""

    name = "EPS"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, float):
            return value
        match = re.fullmatch(rf"({_NUMBER})(?:/({_NUMBER}))?", value)
        size = float(match[1]) / (float(match[2]) if match[2] else 1) if match and match[2] not in ("0", "0.0") else 0
        if not 0 < size <= 1:
            self.fail(f"'{value}' is no part of the pixel range; write 2/255 or 0.01", param, ctx)
        return size


class Severities(click.ParamType[tuple[int, ...]]):
    """``1-5``, ``3`` or ``1,3,5``."""

    name = "1-5"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple):
            return value
        if match := re.fullmatch(r"([1-5])-([1-5])", value):
            found = tuple(range(int(match[1]), int(match[2]) + 1))
        else:
            found = tuple(map(int, value.split(","))) if re.fullmatch(r"[1-5](,[1-5])*", value) else ()
        if not found:
            self.fail(f"'{value}' are no severities; write 1-5 or 1,3,5", param, ctx)
        return tuple(sorted(set(found)))


class Pixels(click.ParamType[str]):
    """Numbers with commas, or an .npy file; read by the command."""

    name = "R,G,B|FILE.npy"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not value.endswith(".npy") and not re.fullmatch(rf"(?:-?(?:{_NUMBER}))(?:,\s*-?(?:{_NUMBER}))*", value):
            self.fail(f"'{value}' is neither numbers with commas nor an .npy file", param, ctx)
        return value


@click.command(cls=GroupedCommand)
@click.argument("models", nargs=-1, required=True, metavar="DENSE [SMALL]...", type=click.Path(path_type=Path))
@click.option(
    "--data",
    required=True,
    metavar="SOURCE",
    help="Samples with labels: .npz, script.py:function, folders of pictures, hf:NAME, torchvision:CLASS@FOLDER; text.",
)
@click.option(
    "--samples",
    "--num-samples",
    type=click.IntRange(1),
    help="Samples to use, of text chunks.  [default: 1000; of text 32,768 tokens]",
)
@text_options
@image_options
@click.option(
    "--metric", metavar="SCRIPT.py:FUNCTION", help="Judge by your own function of (outputs, samples) batches."
)
@click.option(
    "--attack",
    "attacks",
    multiple=True,
    type=click.Choice(["fgsm", "pgd", "shift", "occlusion"]),
    help="Repeatable. fgsm and pgd need torch; shift moves by 4 pixels, occlusion covers 16 x 16, where it hurts most.",
)
@click.option(
    "--epsilon",
    "epsilons",
    multiple=True,
    type=Epsilon(),
    help="Strength of the attacks, e.g. 2/255; repeatable. Default: 2/255 and 8/255.",
)
@click.option("--pgd-steps", type=click.IntRange(1), default=10, show_default=True, help="Steps of pgd.")
@click.option(
    "--corruptions",
    "corruptions",
    multiple=True,
    metavar="KIND",
    help="all, common, noise, blur, weather, digital, one by name, or none (default); repeatable.",
)
@click.option("--severities", type=Severities(), default="1-5", show_default=True, help="Of the corruptions.")
@click.option("--pixel-mean", type=Pixels(), help="What was subtracted from pixels in [0, 1].")
@click.option("--pixel-std", type=Pixels(), help="What they were then divided by.")
@click.option("--energy", is_flag=True, help="Measure inference energy and CO2 with codecarbon.")
@click.option("--country", default="USA", show_default=True, metavar="ISO", help="Energy mix, three letters.")
@click.option(
    "--energy-seconds", type=click.FloatRange(1.0), default=5.0, show_default=True, help="Per model and round (3)."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of everything random.")
@click.option("--provider", default="cpu", show_default=True, help="cpu, cuda[:i], trt[:i] ...")
@click.option("--threads", type=click.IntRange(0), default=0, help="Threads; 0 = every core allowed.")
@click.option("--batch-size", "batch", type=click.IntRange(1), default=32, show_default=True, help="Samples per run.")
@show_options
def evaluate(
    models: tuple[Path, ...],
    data: str,
    json_path: Path | None,
    quiet: bool,
    verbose: bool,
    attacks: tuple[str, ...],
    epsilons: tuple[float, ...],
    pgd_steps: int,
    **settings: Any,
) -> None:
    """Compare models: top-1, attacks, corruptions, energy.

    Models without class scores, detectors say: the error of each output. Language
    models on text (.txt, .jsonl, dataset:NAME): perplexity, agreement, KL.

    DENSE is what the others are compared with, on the same samples. Attacks are made
    against each model on its own; epsilon is in pixels of [0, 1].
    Data that are not pixels need --pixel-mean and --pixel-std.

    \b
    graphprune evaluate dense.onnx small.onnx --data test.npz --attack fgsm
      --attack pgd --corruptions all --pixel-mean 0.485,0.456,0.406
      --pixel-std 0.229,0.224,0.225
    """
    from graphprune.cli.show import check_outputs
    from graphprune.cli.show_robustness import ShownRobustness
    from graphprune.evaluation.corruptions import chosen
    from graphprune.evaluation.moves import SIZES, move
    from graphprune.evaluation.side_by_side import EvaluationOptions, evaluate_models
    from graphprune.model_folder.layout import model_file
    from graphprune.runtime.sessions import RuntimeOptions

    gradients = tuple(name for name in attacks if name in ("fgsm", "pgd"))
    if epsilons and not gradients:
        raise click.UsageError("--epsilon needs --attack fgsm or --attack pgd")
    check_outputs({"--json": json_path}, *models, data, *(settings[name] for name in ("pixel_mean", "pixel_std")))
    with ShownRobustness(json_path, quiet) as shown:
        options = EvaluationOptions(
            attacks=_attacks(gradients, epsilons or (2 / 255, 8 / 255), pgd_steps),
            moves=tuple(move(name) for name in SIZES if name in attacks),
            corruptions=chosen(settings["corruptions"]),
            severities=settings["severities"],
            pixel_mean=_numbers(settings["pixel_mean"], "--pixel-mean"),
            pixel_std=_numbers(settings["pixel_std"], "--pixel-std"),
            metric=settings["metric"],
            samples=settings["samples"] or "auto",
            text=text_settings(settings),
            images=image_settings(settings),
            batch=settings["batch"],
            seed=settings["seed"],
            energy_country=settings["country"] if settings["energy"] else None,
            energy_seconds=settings["energy_seconds"],
            runtime=RuntimeOptions(settings["provider"], settings["threads"]),
            progress=shown.progress,
        )
        report = evaluate_models([model_file(model) for model in models], data, options)
    shown.robustness(report, verbose)


def _attacks(names: tuple[str, ...], epsilons: tuple[float, ...], steps: int) -> tuple[Attack, ...]:
    from graphprune.evaluation.attacks import fgsm, pgd

    kinds = dict.fromkeys(names)
    return tuple(
        fgsm(epsilon) if name == "fgsm" else pgd(epsilon, steps) for name in kinds for epsilon in sorted(set(epsilons))
    )


def _numbers(text: str | None, option: str) -> np.ndarray | None:
    """The array of ``--pixel-mean`` or ``--pixel-std``."""
    import numpy as np

    from graphprune.errors import OptionError

    if text is None:
        return None
    if not text.endswith(".npy"):
        return np.array([float(part) for part in text.split(",")])
    try:
        array = np.load(text, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise OptionError(f"{option} {text} cannot be read: {error}", "save it with numpy.save") from None
    if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
        raise OptionError(f"{option} {text} holds {array.dtype} or NaN", "save finite numbers")
    return np.asarray(array, np.float64)
