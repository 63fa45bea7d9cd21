"""The package config that tells Olive where the passes of graphprune are: Olive's own, with ours added.

``olive run --package-config`` replaces the built-in list, so the file must hold both; it is made from the Olive that is
installed and the passes that are there, third-party ones too.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from graphprune import passes
from graphprune.base import extras
from graphprune.integrations.olive import class_name
from graphprune.pass_infra.base import Pass


def package_config() -> dict[str, Any]:
    """The merged config, as JSON has it.

    Raises
    ------
    RuntimeMissing
        Olive is not installed.
    """
    config = extras.olive("package_config").OlivePackageConfig
    merged: dict[str, Any] = json.loads(Path(config.get_default_config_path()).read_text(encoding="utf-8"))
    for name in passes.names():
        kind = passes.find(name)
        merged["passes"][class_name(kind)] = _entry(kind)
    config.model_validate(merged)
    return merged


def _entry(kind: type[Pass]) -> dict[str, Any]:
    """The result is plain ONNX in the input's precision: it runs wherever the input does."""
    return {
        "module_path": f"graphprune.integrations.olive.{class_name(kind)}",
        "supported_providers": ["*"],
        "supported_accelerators": ["*"],
        "supported_precisions": ["*"],
        "supported_algorithms": [],
        "supported_quantization_encodings": [],
        "module_dependencies": ["graphprune"],
        "dataset": "dataset_optional" if kind.needs_data else "dataset_not_required",
    }
