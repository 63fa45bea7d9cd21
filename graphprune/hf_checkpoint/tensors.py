"""The weights of a Hugging Face folder: safetensors, in one file or several with an index."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from graphprune.base import extras
from graphprune.errors import ModelError
from graphprune.model_folder.json_file import entry, read_object
from graphprune.model_folder.layout import inside

_ONE, _INDEX = "model.safetensors", "model.safetensors.index.json"


@dataclass(frozen=True)
class Checkpoint:
    """``files`` says in which file of ``folder`` each tensor lies, by its name."""

    folder: Path
    files: Mapping[str, str]

    @classmethod
    def of(cls, folder: Path) -> Checkpoint:
        """The checkpoint in a folder.

        Raises
        ------
        ModelError
            There is none, or it cannot be read.
        RuntimeMissing
            safetensors is not installed.
        """
        if (folder / _INDEX).is_file():
            named = entry(read_object(inside(folder, _INDEX)), "weight_map")
            if not isinstance(named, dict) or not all(isinstance(name, str) for name in named.values()):
                raise ModelError(f"{folder / _INDEX} has no weight_map", "download the folder again")
            names = sorted(set(named.values()))
        elif (folder / _ONE).is_file():
            names = [_ONE]
        else:
            raise ModelError(
                f"the folder {folder} holds no safetensors ({_ONE} or {_INDEX})",
                "save the model with transformers' save_pretrained",
            )
        files: dict[str, str] = {}
        for name in names:
            with _opened(inside(folder, name)) as file:
                files |= dict.fromkeys(file.keys(), name)
        return cls(folder, files)

    def read(self, name: str) -> np.ndarray:
        """The values of a tensor, bfloat16 as ml_dtypes has it."""
        with _opened(self.folder / self.files[name]) as file:
            tensor: np.ndarray = file.get_tensor(name)
        return tensor

    def write(self, out: Path, renamed: Mapping[str, str], values: Mapping[str, np.ndarray]) -> None:
        """Write what is left into ``out``, in as many files as there were.

        Parameters
        ----------
        renamed : the new name of each tensor that stays, by its old one.
        values : new values, by old name; the other tensors keep theirs.
        """
        save_file = extras.safetensors("numpy").save_file
        places: dict[str, str] = {}
        total_bytes = 0
        for name in sorted(set(self.files.values())):
            mine = [old for old in renamed if self.files[old] == name]
            if not mine:
                continue
            tensors = {
                renamed[old]: np.ascontiguousarray(values[old] if old in values else self.read(old)) for old in mine
            }
            save_file(tensors, out / name, {"format": "pt"})
            total_bytes += sum(tensor.nbytes for tensor in tensors.values())
            places |= dict.fromkeys(tensors, name)
        if (self.folder / _INDEX).is_file():
            content = {"metadata": {"total_size": total_bytes}, "weight_map": dict(sorted(places.items()))}
            (out / _INDEX).write_text(json.dumps(content, indent=2) + "\n")


def _opened(path: Path) -> Any:
    library = extras.safetensors()
    try:
        return library.safe_open(path, framework="numpy")
    except (library.SafetensorError, OSError) as error:
        raise ModelError(f"{path} is no safetensors file ({error})", "download the folder again") from None
