"""A module as a model: ``from_torch``."""

from __future__ import annotations

import contextlib
import inspect
import io
import logging
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from graphprune.errors import GraphpruneError, ModelError
from graphprune.ir.loading import load
from graphprune.ir.model import Model

OPSETS = {"dynamo": 18, "torchscript": 17}

Example = Tensor | tuple[Tensor, ...] | Mapping[str, Tensor]


def from_torch(
    module: nn.Module,
    example: Example,
    *,
    dynamic_batch: bool = True,
    output_names: tuple[str, ...] = (),
    keep_norms: bool = False,
) -> Model:
    """The module as a model, as it computes in eval mode.

    ``example`` is what it is called with: a tensor, a tuple of them, or a dict by the names of its arguments. With
    ``dynamic_batch`` the first axis of every input is free. The current exporter of torch is tried first,
    with and without a free batch axis, then the TorchScript one. Parameters keep their names as initialisers,
    but for those an exporter folds: transposed matrices, and BatchNorm behind a convolution unless ``keep_norms``
    leaves it apart. The module is left as it was, in the mode it was in.

    Raises
    ------
    ModelError
        No exporter could write the module; the message gives each one's reason.
    """
    call = _call(module, example)
    reasons: list[str] = []
    with tempfile.TemporaryDirectory() as folder, _eval(module), quiet(), torch.no_grad():
        for name, write in _attempts(dynamic_batch=dynamic_batch, keep_norms=keep_norms):
            path = Path(folder) / "module.onnx"
            try:
                write(module, call, path, list(output_names) or None)
                return load(_own(onnx.load(str(path))))
            except GraphpruneError as error:
                reasons.append(f"{name}: {error.message}")
            except Exception as error:  # noqa: BLE001  exporters raise anything
                reasons.append(f"{name}: {_first_line(error)}")
    raise ModelError(
        f"{type(module).__name__} cannot be exported to ONNX ({'; '.join(reasons)})",
        "export it yourself with torch.onnx.export and give the file",
    )


_Write = Callable[[nn.Module, "_Call", Path, "list[str] | None"], None]


def _attempts(*, dynamic_batch: bool, keep_norms: bool) -> list[tuple[str, _Write]]:
    """The exporters in the order in which they are tried, a free batch axis before a fixed one."""

    def dynamo(module: nn.Module, call: _Call, path: Path, names: list[str] | None) -> None:
        _export_dynamo(module, call, path, names, dynamic_batch=dynamic_batch, is_folded=not keep_norms)

    def torchscript(module: nn.Module, call: _Call, path: Path, names: list[str] | None) -> None:
        _export_torchscript(module, call, path, names, dynamic_batch=dynamic_batch, is_folded=not keep_norms)

    return [("torch.export", dynamo), ("TorchScript", torchscript)]


@dataclass(frozen=True)
class _Call:
    """How the module is called: in order, or by the names of its arguments."""

    names: tuple[str, ...]
    tensors: tuple[Tensor, ...]
    by_name: bool
    is_variadic: bool

    def shapes(self, axis: object) -> object:
        """The free first axis of every input, in the form that torch.export asks for."""
        free = tuple({0: axis} if tensor.ndim else {} for tensor in self.tensors)
        if self.by_name:
            return dict(zip(self.names, free, strict=True))
        return (free,) if self.is_variadic else free


def _call(module: nn.Module, example: Example) -> _Call:
    """The call that the example stands for."""
    parameters = inspect.signature(module.forward).parameters
    is_variadic = any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in parameters.values())
    if isinstance(example, Mapping):
        takes_any = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
        unknown = [name for name in example if name not in parameters and not takes_any]
        if unknown:
            raise ModelError(
                f"{type(module).__name__}.forward has no argument '{unknown[0]}', which the example names",
                f"name its arguments: {', '.join(parameters)}",
            )
        return _Call(tuple(example), tuple(example.values()), by_name=True, is_variadic=False)
    values = (example,) if isinstance(example, Tensor) else tuple(example)
    known = [] if is_variadic else list(parameters)[: len(values)]
    names = tuple(known) or tuple(f"input_{index}" for index in range(len(values)))
    if len(names) < len(values):
        raise ModelError(
            f"{type(module).__name__}.forward takes {len(names)} arguments, the example has {len(values)}",
            "give one tensor for each argument",
        )
    return _Call(names, values, by_name=False, is_variadic=is_variadic)


def _export_dynamo(
    module: nn.Module, call: _Call, path: Path, names: list[str] | None, *, dynamic_batch: bool, is_folded: bool
) -> None:
    shapes: Any = call.shapes(torch.export.Dim("batch", min=1, max=1 << 16)) if dynamic_batch else None
    program = torch.onnx.export(
        module,
        () if call.by_name else call.tensors,
        kwargs=dict(zip(call.names, call.tensors, strict=True)) if call.by_name else None,
        input_names=list(call.names),
        output_names=names,
        opset_version=OPSETS["dynamo"],
        dynamo=True,
        dynamic_shapes=shapes,
        optimize=is_folded,
        verbose=False,
    )
    if program is None:
        raise ModelError("torch.onnx.export returned nothing", "pip install -U torch onnxscript")
    if not is_folded:
        import onnxscript.optimizer

        onnxscript.optimizer.inline(program.model)
        onnxscript.optimizer.fold_constants(program.model)  # all but the rules that fold norms
        onnxscript.optimizer.remove_unused_nodes(program.model)
    program.save(path, external_data=False)


def _export_torchscript(
    module: nn.Module, call: _Call, path: Path, names: list[str] | None, *, dynamic_batch: bool, is_folded: bool
) -> None:
    axes = {name: {0: "batch"} for name, tensor in zip(call.names, call.tensors, strict=True) if tensor.ndim}
    axes |= {name: {0: "batch"} for name in names or ()}
    named: Any = (dict(zip(call.names, call.tensors, strict=True)),)
    torch.onnx.export(
        module,
        named if call.by_name else call.tensors,
        path,
        input_names=list(call.names),
        output_names=names,
        opset_version=OPSETS["torchscript"],
        dynamo=False,
        training=torch.onnx.TrainingMode.EVAL if is_folded else torch.onnx.TrainingMode.PRESERVE,
        do_constant_folding=is_folded,
        dynamic_axes=axes if dynamic_batch else None,
    )


def _own(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Without the notes of the exporter that hold paths of this machine."""
    for node in proto.graph.node:
        kept = [entry for entry in node.metadata_props if entry.key != "pkg.torch.onnx.stack_trace"]
        if len(kept) < len(node.metadata_props):
            copies = [onnx.StringStringEntryProto.FromString(entry.SerializeToString()) for entry in kept]
            del node.metadata_props[:]
            node.metadata_props.extend(copies)
    return proto


def _first_line(error: BaseException) -> str:
    """What went wrong in the end, without the exporter's colours and advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line for line in re.sub(r"\x1b\[[0-9;]*m", "", str(error)).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0].strip()[:160]}" if lines else type(error).__name__


@contextlib.contextmanager
def _eval(module: nn.Module) -> Iterator[None]:
    """Every part of the module in eval mode, and back."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence the exporters, and keep torch to layers that can be exported."""
    level, fast = logging.root.manager.disable, torch.backends.mha.get_fastpath_enabled()
    logging.disable(logging.ERROR)
    torch.backends.mha.set_fastpath_enabled(False)  # the exporters know no fused encoder layer
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
        torch.backends.mha.set_fastpath_enabled(fast)
