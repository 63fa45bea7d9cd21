"""``graphprune apply-hf``: a plan back in the framework's own files."""

from __future__ import annotations

from pathlib import Path

import click

from graphprune.cli.grouped import GroupedCommand


@click.command("apply-hf", cls=GroupedCommand)
@click.argument("plan", type=click.Path(path_type=Path))
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--model",
    type=click.Path(path_type=Path),
    help="The ONNX file (or its folder) that PLAN was made for; default: the one in FOLDER.",
)
@click.option(
    "--pruned",
    type=click.Path(path_type=Path),
    help="The pruned ONNX file (or its folder), for repaired weights are there; needed where PLAN has a repair.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder to write.")
@click.option("-q", "--quiet", is_flag=True, help="No notes.")
def apply_hf(plan: Path, folder: Path, model: Path | None, pruned: Path | None, output: Path, quiet: bool) -> None:
    """Carry out PLAN on a FOLDER of Hugging Face.

    The folder holds safetensors and config.json. The result is what AutoModelForCausalLM loads, and everything built on
    it. Only for plans that leave layers alike: whole layers, equally many neurons, KV heads and experts in each. Needs
    pip install 'graphprune[hf]'.
    """
    from graphprune.pipeline.apply_hf import apply_hf as run

    result = run(plan, folder, output, model, pruned)
    click.echo(f"layers      {result.layers[0]} -> {result.layers[1]}")
    click.echo(f"parameters  {result.parameters[0]:,} -> {result.parameters[1]:,}")
    if result.difference is not None:
        click.echo(f"logits of transformers equal those of the pruned ONNX file to {result.difference:.1e}")
    if result.note and not quiet:
        click.echo(f"note: {result.note}", err=True)
    click.echo(f"wrote {result.output}")
