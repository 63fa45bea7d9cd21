"""A pytest plugin: the zoo's exports, each made once and kept in pytest's cache. Use it by
``pytest_plugins = ["tests.zoo.fixtures"]``; ``pytest --cache-clear`` forgets them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from graphprune.ir.loading import load
from graphprune.ir.model import Model
from tests.exporters import hasten_exports

if TYPE_CHECKING:
    from tests.zoo.entry import Exporter

Exported = tuple[Path, dict[str, np.ndarray]]
Zoo = Callable[[str, "Exporter"], Exported]
Loaded = Callable[[str, "Exporter"], tuple[Model, dict[str, np.ndarray]]]


@pytest.fixture(scope="session")
def zoo(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    """``zoo(name, exporter)``: path and feed of one export; skips what cannot be exported here, with the reason."""
    pytest.importorskip("torch", reason="the zoo is exported from torch")
    from tests.zoo.export import ZOO
    from tests.zoo.kept import kept

    hasten_exports()
    pytest_cache = getattr(request.config, "cache", None)  # -p no:cacheprovider
    folder = tmp_path_factory.mktemp("zoo") if pytest_cache is None else pytest_cache.mkdir("zoo")

    @cache
    def exported(name: str, exporter: Exporter) -> Exported:
        return kept(name, exporter, folder)

    def get(name: str, exporter: Exporter) -> Exported:
        for package in ZOO[name].requires:
            pytest.importorskip(package, reason=f"{name} is a model of {package}")
        reason = ZOO[name].unsupported.get(exporter)
        if reason is not None:
            pytest.skip(f"{exporter} cannot export {name}: {reason}")
        return exported(name, exporter)

    return get


@pytest.fixture(scope="session")
def loaded(zoo: Zoo) -> Loaded:
    """``loaded(name, exporter)``: the model and feed of one export, read once a session;
    nothing in the product changes a model.
    """

    @cache
    def read(path: Path) -> Model:
        return load(path)

    def get(name: str, exporter: Exporter) -> tuple[Model, dict[str, np.ndarray]]:
        path, feed = zoo(name, exporter)
        return read(path), feed

    return get
