"""The cases of every file of rules."""

from __future__ import annotations

import importlib
import pkgutil

import tests.axes
from tests.axes.cases import Case


def every_case() -> list[Case]:
    found: list[Case] = []
    for module in pkgutil.iter_modules(tests.axes.__path__):
        if module.name.startswith("test_rules_"):
            found += importlib.import_module(f"tests.axes.{module.name}").CASES
    return found
