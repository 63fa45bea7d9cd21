"""The ``graphprune`` command. Heavy packages are imported by the command that needs them, so that --help is instant."""

from __future__ import annotations

import re
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from graphprune.base.did_you_mean import meant
from graphprune.cli.apply_hf import apply_hf
from graphprune.cli.budget_options import budget_options
from graphprune.cli.candidates import several
from graphprune.cli.check_data import check_data
from graphprune.cli.config_file import config_option
from graphprune.cli.doctor import doctor
from graphprune.cli.evaluate import evaluate
from graphprune.cli.finetune import finetune
from graphprune.cli.grouped import GroupedCommand
from graphprune.cli.grow import grow
from graphprune.cli.heal import heal
from graphprune.cli.init import init
from graphprune.cli.olive_config import olive_config
from graphprune.cli.option_types import Align, Drawing
from graphprune.cli.options import (
    bench_options,
    between_options,
    cache_options,
    data_options,
    evaluation_options,
    model_argument,
    output_options,
    recovery_options,
    runtime_options,
    show_options,
    worker_options,
)
from graphprune.cli.passes import passes
from graphprune.cli.report import report
from graphprune.cli.stay_options import stay_options
from graphprune.cli.train import train
from graphprune.errors import GraphpruneError

if TYPE_CHECKING:
    from graphprune.plan.max_drop import JudgedBy
    from graphprune.report.result import Result

_SECTIONS = {
    "Prune": ("prune", "passes", "inspect", "apply", "apply-hf"),
    "Judge": ("bench", "evaluate", "check-data", "report"),
    "Train": ("heal", "finetune", "train", "init", "grow"),
    "Set up": ("doctor", "olive-config"),
}
_USAGE_ERROR = 2
_INTERNAL_ERROR = 70
_INTERRUPTED = 130


class DefaultToPrune(click.Group):
    """``graphprune model.onnx --pass ...`` is short for ``graphprune prune model.onnx --pass ...``."""

    command_class = GroupedCommand

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """By what they are for."""
        width = max(map(len, self.commands))
        for title, names in _SECTIONS.items():
            limit = formatter.width - 6 - width
            with formatter.section(title):
                formatter.write_dl([(f"{n:{width}}", self.commands[n].get_short_help_str(limit)) for n in names])

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Every command may take its options from a file."""
        cmd.params.append(config_option())
        super().add_command(cmd, name)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h", "--version"):
            self._refuse_misspelt(args[0])
            args = ["prune", *args]
        return super().parse_args(ctx, args)

    def _refuse_misspelt(self, word: str) -> None:
        """A word that can be no file, for none has its name, is meant for a command."""
        if re.fullmatch("[A-Za-z-]+", word) is None or word.startswith("-") or Path(word).exists():
            return
        near = meant(word, self.commands) or f"; the commands are: {', '.join(sorted(self.commands))}"
        raise click.UsageError(f"there is no command and no file '{word}'{near}")


def _dashes(name: str) -> str:
    """Options may be spelt with underscores too."""
    return name.replace("_", "-")


def _print_version(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    """Looked up only when asked for: that takes a quarter of what ``--help`` does."""
    if value and not ctx.resilient_parsing:
        import graphprune

        click.echo(f"graphprune, version {graphprune.__version__}")
        ctx.exit()


CONTEXT = {"help_option_names": ["-h", "--help"], "token_normalize_func": _dashes, "max_content_width": 80}


@click.group(cls=DefaultToPrune, context_settings=CONTEXT)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
def cli() -> None:
    """Remove what a network in an ONNX file does not need, prove the removal correct, measure the speed-up.

    \b
    graphprune inspect model.onnx
    graphprune model.onnx --data calib.npz -o small.onnx
    graphprune model.onnx --pass layer-cka --target latency=0.8
      --data photos/ --preprocess imagenet -o small.onnx

    The first argument may be a model: "prune" is understood. COMMAND --help tells more of each. Results go to stdout,
    progress and messages to stderr.

    \b
    Exit codes: 0 done, 1 bad input, 2 bad command line, 3 nothing to prune,
    4 target not reached or result not faster, 5 validation failed,
    6 runtime missing, 70 our bug, 130 interrupted.
    """


@cli.command()
@model_argument
@click.option(
    "--pass",
    "passes",
    multiple=True,
    metavar="SPEC",
    help="Pass to run, e.g. layer-cka or 'layer-cka{floor=1}'; repeatable. auto, the default where there is --data: "
    "those that are sensible for the network are tried, and the best is kept.",
)
@click.option(
    "--target",
    metavar="KIND=VALUE",
    help="flops=0.5, params=0.5 or latency=0.6 (share left), latency=5ms, removed=4 (units), ratio=0.3 (share of "
    "units); of decoders tokens-per-s=1.3 (speed-up) or 40/s, ttft=0.7 (share of the time to the first token left) or "
    "50ms; rule: what a pass with a rule of its own takes. Default: flops=0.8.",
)
@click.option(
    "--align",
    type=Align(),
    default="auto",
    show_default=True,
    help="Keep widths in multiples of N; auto: what the runtime is measured to like.",
)
@budget_options
@stay_options
@cache_options
@evaluation_options
@click.option("--dry-run", is_flag=True, help="Decide and report; write nothing but --plan-out.")
@click.option("--plan-out", type=click.Path(dir_okay=False, path_type=Path), help="Write the decision as JSON.")
@between_options
@output_options
@recovery_options
@data_options
@runtime_options
@worker_options
@show_options
def prune(
    model: Path,
    passes: tuple[str, ...],
    target: str | None,
    max_drop: str | None,
    drop_by: JudgedBy,
    candidates: int | None,
    evaluation: str | None,
    dry_run: bool,
    plan_out: Path | None,
    output: str | None,
    json_path: Path | None,
    quiet: bool,
    **settings: Any,
) -> None:
    """Prune MODEL, write the smaller one; the default command.

    MODEL may be the folder of a language model: then so is the result.
    """
    from graphprune.cli.show import Shown, checked_output, run_options
    from graphprune.pipeline.prune import prune as run_prune
    from graphprune.pipeline.prune import refused_scores
    from graphprune.plan.max_drop import MaxDrop
    from graphprune.run.notes import NO_DATA

    if candidates is not None or (target is not None and "," in target):
        several(model, passes, target, candidates, output, json_path, settings, evaluation, quiet, max_drop, plan_out)
        return
    beside = {"--plan-out": plan_out, "--json": json_path, "--report": settings["report"]}
    out = checked_output(output, model, beside, settings["data"], evaluation, dry_run=dry_run)

    def save(result: Result) -> None:
        if plan_out is not None:
            if NO_DATA.text in result.notes and not settings["allow_made_up"]:
                raise refused_scores(result.plan.decisions[0].spec)
            result.plan.save(plan_out)
        shown.save(result)

    with Shown(json_path, quiet) as shown:
        result = run_prune(
            model,
            passes or (("auto",) if settings["data"] is not None else ()),
            data=settings["data"],
            target=target,
            output=None if dry_run else out,
            max_drop=None if max_drop is None else MaxDrop.parse(max_drop, drop_by),
            dry_run=dry_run,
            options=run_options(settings, evaluation, shown),
            save=save,
        )
    shown.result(result, settings["verbose"], settings["report"])


@cli.command()
@model_argument
@click.argument("plan", type=click.Path(path_type=Path))
@evaluation_options
@click.option("--allow-other-model", is_flag=True, help="Accept another export of the network the plan was made for.")
@output_options
@recovery_options
@data_options
@runtime_options
@show_options
def apply(
    model: Path,
    plan: Path,
    evaluation: str | None,
    allow_other_model: bool,
    output: str | None,
    json_path: Path | None,
    quiet: bool,
    **settings: Any,
) -> None:
    """Carry out PLAN, a file written by --plan-out, on MODEL."""
    from graphprune.cli.show import Shown, checked_output, run_options
    from graphprune.pipeline.apply import apply as run_apply

    beside = {"--json": json_path, "--report": settings["report"]}
    out = checked_output(output, model, beside, plan, settings["data"], evaluation)
    with Shown(json_path, quiet) as shown:
        result = run_apply(
            model,
            plan,
            data=settings["data"],
            output=out,
            allow_other_model=allow_other_model,
            options=run_options(settings, evaluation, shown),
            save=shown.save,
        )
    shown.result(result, settings["verbose"], settings["report"])


@cli.command()
@model_argument
@click.option("--groups", is_flag=True, help="List what shrinks together (filters, heads, neurons ...) instead.")
@click.option("--graph", type=Drawing(), metavar="FILE.svg", help="Draw the groups as a picture; implies --groups.")
@stay_options
@data_options
@runtime_options
@show_options
def inspect(
    model: Path, groups: bool, graph: Path | None, json_path: Path | None, quiet: bool, **settings: Any
) -> None:
    """List what can go from MODEL, what cannot, and why.

    Of every residual block: whether it is removable or the reason why not, its nodes and its cost.
    With --groups: filters, neurons, heads and widths that shrink together, with the MACs and parameters of all layers
    that have them as an axis, or the reason why they cannot shrink.
    """
    from graphprune.cli.show import Shown, check_outputs, run_options
    from graphprune.pipeline.inspect import inspect as asked
    from graphprune.report.inspection import GroupInspection

    check_outputs({"--graph": graph, "--json": json_path}, model, settings["data"])
    with Shown(json_path, quiet) as shown:
        options = run_options(settings, None, shown)
        found = asked(model, settings["data"], groups=groups or graph is not None, options=options)
    if isinstance(found, GroupInspection):
        shown.groups(found, graph, settings["verbose"])
    else:
        shown.inspection(found, settings["verbose"])


@cli.command()
@click.argument("original", type=click.Path(path_type=Path))
@click.argument("pruned", type=click.Path(path_type=Path))
@bench_options
@data_options
@runtime_options
@show_options
def bench(
    original: Path,
    pruned: Path,
    generate: Any,
    runtimes: tuple[str, ...],
    precision: Any,
    cuda_graph: bool,
    json_path: Path | None,
    quiet: bool,
    **settings: Any,
) -> None:
    """Time two models against each other, their runs in turn.

    One process, same options and inputs. With --generate decoders, token by token, each a file or a folder with
    genai_config.json or config.json.

    \b
    Runtimes: ort (ONNX Runtime), tensorrt, torch, torch-compile,
    torch-cudagraph, torch-compile-cudagraph; each runs on --provider, or
    on a place of its own: ort:cuda, ort:openvino, torch:cpu.
    """
    from graphprune.cli.show import Shown, check_outputs, run_options
    from graphprune.measure.registry import BenchOptions
    from graphprune.pipeline.bench import bench
    from graphprune.pipeline.generate import benchmark_generation

    check_outputs({"--json": json_path}, original, pruned, settings["data"])
    if generate is not None:
        with Shown(json_path, quiet) as shown:
            options = run_options(settings, None, shown)
            generations = benchmark_generation(original, pruned, options, runtimes, generate or None)
        shown.generation(generations, str(original), str(pruned))
        return
    with Shown(json_path, quiet) as shown:
        options = run_options(settings, None, shown)
        how = BenchOptions(precision, cuda_graph)
        measurements = bench(original, pruned, settings["data"], options, runtimes, how)
    shown.measurements(measurements, str(original), str(pruned))


cli.add_command(apply_hf)
cli.add_command(init)
cli.add_command(grow)
cli.add_command(train)
cli.add_command(finetune)
cli.add_command(heal)
cli.add_command(evaluate)
cli.add_command(check_data)
cli.add_command(doctor)
cli.add_command(passes)
cli.add_command(report)
cli.add_command(olive_config)


def entry() -> None:
    """Run the command and end with its exit code; a user's mistake never shows a traceback."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that half-written files are cleared away
    sys.exit(_run())


def _run() -> int:
    try:
        cli.main(prog_name="graphprune", standalone_mode=False)
    except GraphpruneError as error:
        return _say(f"error: {error.message}", error.fix, error.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return _USAGE_ERROR
    except click.UsageError as error:
        said = error.format_message().replace(". Did you mean", "; did you mean")  # one sentence
        return _say(f"error: {said}", "see graphprune --help", _USAGE_ERROR)
    except (click.Abort, KeyboardInterrupt):
        return _say("interrupted; nothing was written", "", _INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except Exception as error:
        if "-v" in sys.argv or "--verbose" in sys.argv:
            raise
        return _say(
            f"internal error: {type(error).__name__}: {error}", "run again with -v and report it", _INTERNAL_ERROR
        )
    return 0


def _say(message: str, fix: str, code: int) -> int:
    click.echo(f"graphprune: {message}" + (f"\n  next: {fix}" if fix else ""), err=True)
    return code
