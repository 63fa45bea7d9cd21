"""The samples of a workflow: a data config of Olive read as Olive reads it for calibration, but with its labels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from graphprune.base import extras
from graphprune.errors import DataError, OptionError


def samples(settings: dict[str, Any], model: Path, io_config: dict[str, Any]) -> Any:
    """What :func:`graphprune.prune` takes as data, or None.

    Raises
    ------
    OptionError
        ``data`` and ``data_config`` are both given.
    """
    config, path = settings["data_config"], settings["data"]
    if config and path:
        raise OptionError("data and data_config are both given", "keep one of them")
    return _Batches(config, model, io_config) if config else path


class _Batches:
    """Can be iterated again: dicts of arrays with the model's dtypes,
    and ``labels`` where there is one for each sample.
    """

    def __init__(self, config: Any, model: Path, io_config: dict[str, Any]) -> None:
        validate = extras.olive("common.config_utils").validate_config
        self._container = validate(config, extras.olive("data.config").DataConfig).to_data_container()
        self._model = model
        self._io_config = io_config

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        augmented = extras.olive("data.component.dataloader").LLMAugmentedDataLoader  # positions, empty caches
        format_data = extras.olive("common.utils").format_data
        for feeds, labels in augmented(self._pairs(), str(self._model), self._io_config):
            arrays: dict[str, np.ndarray] = format_data(feeds, self._io_config)
            if not arrays:
                held = ", ".join(f"'{name}'" for name in feeds) or "nothing"
                wanted = ", ".join(f"'{name}'" for name in self._io_config["input_names"])
                raise DataError(f"the data config gives {held}, the model wants {wanted}", "rename the columns")
            yield arrays | _labels(labels, next((len(array) for array in arrays.values() if array.ndim), 1))

    def _pairs(self) -> Iterator[tuple[dict[str, Any], Any]]:
        """Inputs by name, and labels or None."""
        names = self._io_config["input_names"]
        for item in self._read():
            is_pair = isinstance(item, list | tuple) and len(item) == 2
            inputs, labels = item if is_pair else (item, None)
            if not isinstance(inputs, dict):
                inputs = dict(zip(names, inputs if isinstance(inputs, list | tuple) else [inputs], strict=False))
            yield inputs, labels

    def _read(self) -> Iterator[Any]:
        """What the user's own code gives; Olive would end well in spite of what it raises."""
        try:
            yield from self._container.create_dataloader()
        except Exception as error:  # noqa: BLE001 - the user's code may raise anything
            lines = str(error).strip().splitlines() or [""]
            raise DataError(
                f"the data config '{self._container.config.name}' failed: {type(error).__name__}: {lines[0]}", "fix it"
            ) from None


def _labels(labels: Any, count: int) -> dict[str, np.ndarray]:
    """Class numbers, one for each sample; anything else is no label in graphprune's sense."""
    if labels is None or isinstance(labels, dict | list | tuple | str):
        return {}
    array = np.asarray(labels.detach().cpu().numpy() if hasattr(labels, "detach") else labels)
    return {"labels": array} if array.dtype.kind in "iu" and array.size == count else {}
