"""The passes of graphprune as passes of Olive: ``GraphpruneLayerCKA`` is ``layer-cka``,
and so on for every pass there is.

``graphprune olive-config`` writes the package config with which ``olive run --package-config`` finds them.
A class comes into being when it is asked for; this module can be imported without Olive.
"""

from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from graphprune import passes
from graphprune.base import extras
from graphprune.errors import GraphpruneError, InputError, ModelError, RuntimeMissing
from graphprune.integrations.olive_data import samples
from graphprune.integrations.olive_settings import CHECKED, check, parameters, pass_of, run_options

if TYPE_CHECKING:
    from graphprune.pass_infra.base import Pass
    from graphprune.report.result import Result

_log = logging.getLogger("olive.graphprune")  # below Olive's own logger, whose handler and level it takes
_TABLE_WIDTH = 100


def class_name(kind: type[Pass]) -> str:
    """The name of a pass among Olive's; Olive looks names up without regard to case."""
    return f"Graphprune{kind.__name__}"


def __getattr__(name: str) -> Any:
    """The Olive class of a pass, made on first use."""
    if name.startswith("Graphprune"):
        for each in passes.names():
            kind = passes.find(each)
            if class_name(kind) == name:
                made = type(name, (_Step, extras.olive("passes").Pass), _members(kind))
                globals()[name] = made
                return made
    raise AttributeError(f"module {__name__} has no attribute '{name}'")


def __dir__() -> list[str]:
    return [*globals(), *(class_name(passes.find(each)) for each in passes.names())]


def _members(kind: type[Pass]) -> dict[str, Any]:
    return {"kind": kind, "__module__": __name__, "__doc__": f"{kind.__doc__}\n\nPass {kind.name}; {kind.paper}."}


class _Step:
    """What all of them do: read the settings, prune, hand over the smaller model and what was decided."""

    kind: ClassVar[type[Pass]]
    accelerator_spec: Any

    @staticmethod
    def is_accelerator_agnostic(accelerator_spec: Any) -> bool:
        """Never: the provider scores, checks and times, and decides which widths and sizes are good."""
        return False

    @classmethod
    def _default_config(cls, accelerator_spec: Any) -> dict[str, Any]:
        return parameters(cls.kind)

    @classmethod
    def _validators(cls) -> dict[str, Any]:
        """What cannot be right is refused when the workflow is read, not when its turn comes."""
        from pydantic import field_validator

        return {f"check_{name}": field_validator(name, mode="before")(check) for name in CHECKED}

    def _run_for_config(self, model: Any, config: Any, output_model_path: str) -> Any:
        """Prune ``model``, an ONNXModelHandler, into ``output_model_path``; returns the handler of the result.

        Raises
        ------
        OliveError
            The sentence of a :class:`GraphpruneError`. It ends the workflow if it is a mistake in the workflow or if
            ``stop_on_failure`` holds; else Olive's search goes on without this candidate.
        """
        settings = config.model_dump()
        try:
            return self._prune(model, settings, output_model_path)
        except GraphpruneError as error:
            is_final = settings["stop_on_failure"] or isinstance(error, InputError | RuntimeMissing)
            raise _error(is_final)(f"{self.kind.name}: {error}") from None

    def _prune(self, model: Any, settings: dict[str, Any], output_model_path: str) -> Any:
        from graphprune.pipeline.prune import prune

        handlers = extras.olive("model")
        if not isinstance(model, handlers.ONNXModelHandler):
            raise ModelError(f"a {type(model).__name__} is no ONNX model", "put Olive's pass OnnxConversion before")
        if model.external_initializers_path or model.constant_inputs_path:
            raise ModelError("some weights are inputs, fed from another file", "prune before they are taken out")
        source = Path(model.model_path)
        out = Path(extras.olive("model.utils").resolve_onnx_path(output_model_path, source.name))
        out.parent.mkdir(parents=True, exist_ok=True)
        attributes = dict(model.model_attributes or {})
        earlier = attributes.get("additional_files") or []
        written = [out.with_name(f"{_free_name(self.kind.name, earlier)}.{kind}.json") for kind in ("plan", "result")]

        def save(result: Result) -> None:
            result.plan.save(written[0])
            written[1].write_text(result.to_json())

        result = prune(
            source,
            [pass_of(self.kind, settings)],
            data=samples(settings, source, model.io_config),
            target=settings["target"],
            output=out,
            options=run_options(settings, self.accelerator_spec),
            save=save,
        )
        _tell(result)
        return handlers.ONNXModelHandler(
            model_path=extras.olive("resource_path").LocalFolder({"path": out.parent}),
            onnx_file_name=out.name,
            inference_settings=model.inference_settings,
            use_ort_extensions=model.use_ort_extensions,
            model_attributes=attributes | {"additional_files": sorted({*earlier, *map(str, written)})},
        )


def _free_name(name: str, earlier: list[str]) -> str:
    """``name``, or with a number where an earlier pass of the workflow has taken it."""
    taken = {Path(file).name for file in earlier}
    names = [name, *(f"{name}-{number}" for number in range(2, len(taken) + 3))]
    return next(each for each in names if f"{each}.plan.json" not in taken)


def _error(is_final: bool) -> type[Exception]:
    """Olive goes on after an OlivePassError, and ends with one that is a ValueError."""
    olive = extras.olive("exception")
    if not is_final:
        return type("GraphpruneFailed", (olive.OlivePassError,), {})
    return type("GraphpruneStopped", (olive.OliveError, ValueError), {})


def _tell(result: Result) -> None:
    """The command's table, in Olive's log."""
    from rich.console import Console

    from graphprune.report.terminal import print_result

    for note in result.notes:
        _log.warning(note)
    table = Console(file=io.StringIO(), width=_TABLE_WIDTH, highlight=False)
    print_result(table, result)
    _log.info("\n%s", table.file.getvalue().rstrip())  # type: ignore[attr-defined]  # the StringIO just given
