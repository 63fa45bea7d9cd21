"""The smaller network's folder: made beside its place, and moved there when all is well."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx

from graphprune.errors import InputError
from graphprune.ir.model import Model
from graphprune.model_folder import configs, layout
from graphprune.model_folder.consumers import consumer_notes, left_out_note
from graphprune.model_folder.counts import cache_counts, expert_counts, mlp_sizes, surviving_layers
from graphprune.model_folder.json_file import Object, read_object, rewritten
from graphprune.model_folder.layout import CONFIG, GENAI_CONFIG, ModelFolder


def named_output(output: str | os.PathLike[str] | None, source: Path, suffix: str = "pruned") -> Path:
    """The folder to write: as named, or beside ``source`` with the ``suffix`` in its name."""
    if output is not None:
        return Path(output)
    named = source if source.name not in ("", "..") else source.resolve()
    return named.with_name(f"{named.name}.{suffix}")


def check_output(out: Path, source: Path) -> None:
    """Refuse a folder that cannot be written, before any work is done.

    Raises
    ------
    InputError
        It is there and not empty, is no folder, lies in ``source``, or its own folder is missing or read-only.
    """
    if out.suffix == ".onnx":
        raise InputError(
            f"{source} is a folder, and so is what becomes of it; {out} is a file's name",
            "give -o a folder, or name the model's file itself",
        )
    try:
        if out.exists() and not out.is_dir():
            raise InputError(f"the output {out} is a file, and {source} is a folder", "give -o a folder")
        if out.is_dir() and any(out.iterdir()):
            raise InputError(f"the output folder {out} is not empty", "nothing is overwritten: name another")
        if not out.resolve().parent.is_dir():
            raise InputError(f"the output folder's own folder {out.parent} does not exist", "create it first")
        if not os.access(out.resolve().parent, os.W_OK):
            raise InputError(f"the output folder's own folder {out.parent} is not writable", "choose another -o")
    except OSError as error:
        raise InputError(f"the output {out} cannot be used: {error.strerror}", "choose another -o") from None
    if out.resolve().is_relative_to(source.resolve()):
        raise InputError(f"the output {out} lies in the input folder, which is never touched", "choose another -o")


@contextmanager
def staged_folder(out: Path) -> Iterator[Path]:
    """An empty folder beside ``out``, which takes its place if the block ends well.

    Raises
    ------
    InputError
        It cannot be made, or something is in its place by now.
    """
    out = out.resolve()
    try:
        stage = Path(tempfile.mkdtemp(prefix=".graphprune-", dir=out.parent))
    except OSError as error:
        raise InputError(f"cannot write into {out.parent}: {error.strerror}", "choose another -o") from None
    try:
        inner = stage / out.name
        inner.mkdir()  # with the permissions that the user's other folders have
        yield inner
        try:
            if out.is_dir():
                out.rmdir()
            inner.rename(out)
        except OSError as error:
            raise InputError(f"cannot put the result at {out}: {error.strerror}", "choose another -o") from None
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def complete(written: Path, folder: ModelFolder, before: Model, after: Model) -> tuple[str, ...]:
    """Put all beside the file ``written`` that belongs to it; what the user must know of the folder.

    ``before`` is the network in ``folder``, ``after`` the one that was written.

    Raises
    ------
    ModelError
        A file of the folder lies outside, or a configuration cannot be read or changed.
    InputError
        Something cannot be written.
    """
    stage = written.parents[folder.model.count("/")]
    members = layout.members(folder, before.files)
    edited, notes = _edited_configs(folder, before, after)
    try:
        _name_data_file(written, folder, before)
        for name in members.copied:
            target = stage / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if name in edited:
                target.write_text(rewritten(folder.path / name, edited[name]), encoding="utf-8")
            else:
                shutil.copyfile(folder.path / name, target)
    except OSError as error:
        raise InputError(
            f"cannot write {error.filename}: {error.strerror}", "free space or choose another -o"
        ) from None
    return (*notes, *left_out_note(members.left_out))


def _edited_configs(folder: ModelFolder, before: Model, after: Model) -> tuple[dict[str, Object], list[str]]:
    """The configurations that change, by their name, and notes on them."""
    given = {name: _config(folder, name) for name in (CONFIG, GENAI_CONFIG)}
    config, genai = given[CONFIG], given[GENAI_CONFIG]
    old, new = cache_counts(before), cache_counts(after)
    notes: list[str] = []
    width = configs.neurons_of(config) if config else None
    weights, left = mlp_sizes(before, after, width) if width else (0, ())
    if config is not None and width and len(set(left)) == 1:
        configs.set_neurons(config, (width, left[0]))
    experts = configs.experts_of(config) if config else None
    each = set(expert_counts(before, after, experts)) if experts else set()
    if config is not None and experts and len(each) == 1:
        configs.set_experts(config, (experts, next(iter(each))))
    if config is not None and len(before.files) > 2:
        configs.one_data_file(config, Path(folder.model).name)
    if old is None or new is None:
        if (old is None) != (new is None):
            notes.append("no layer has a cache any more: onnxruntime-genai, optimum and transformers.js need one")
    else:
        change = configs.CountChange(
            layers=(old.layers, new.layers),
            kept=surviving_layers(before, after),
            kv_heads=_pair(old.kv_heads, new.kv_heads),
            query_heads=_pair(old.query_heads, new.query_heads),
            head_dim=_pair(old.head_dims, new.head_dims),
        )
        for name, content, edit in (
            (CONFIG, config, configs.edit_config),
            (GENAI_CONFIG, genai, configs.edit_genai),
        ):
            if content is not None and not edit(content, change) and old.layers != new.layers:
                notes.append(f"{name} does not speak of {old.layers} layers, of which {new.layers} are left: mend it")
        notes += consumer_notes(old, new, (weights, len(left), len(set(left)) <= 1), is_equally_routed=len(each) <= 1)
    edited = {name: content for name, content in given.items() if content and content != _config(folder, name)}
    return edited, notes


def _config(folder: ModelFolder, name: str) -> Object | None:
    return read_object(layout.inside(folder.path, name)) if os.path.lexists(folder.path / name) else None


def _pair(old: Iterable[int | None], new: Iterable[int | None]) -> configs.Pair | None:
    """The one number of all layers before and after; None where they differ or a file does not tell."""
    before, after = set(old), set(new)
    if len(before) != 1 or len(after) != 1:
        return None
    one, other = before.pop(), after.pop()
    return None if one is None or other is None else (one, other)


def _name_data_file(model_file: Path, folder: ModelFolder, before: Model) -> None:
    """Give the external data the name that it has in ``folder``: transformers.js knows it by its name."""
    written = model_file.with_name(f"{model_file.name}.data")
    if not written.is_file():
        return
    usual = f"{model_file.name}_data"
    names = [file.name for file in before.files[1:] if file.parent.resolve() == folder.model_file.parent.resolve()]
    name = names[0] if len(names) == 1 and len(before.files) == 2 else usual if usual in names else written.name
    if name == written.name:
        return
    proto = onnx.load(str(model_file), format="protobuf", load_external_data=False)
    for tensor in proto.graph.initializer:
        for item in tensor.external_data:
            if item.key == "location":
                item.value = name
    written.rename(model_file.with_name(name))
    model_file.write_bytes(proto.SerializeToString(deterministic=True))
