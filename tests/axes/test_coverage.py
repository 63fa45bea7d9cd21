"""Every operator that has a rule has a case, in which the loaded graph still holds it."""

from __future__ import annotations

import pkgutil

import tests.axes
from graphprune.axes import rules
from graphprune.ir.loading import load
from tests.axes.every_case import every_case


def test_every_registered_operator_has_a_case() -> None:
    covered = {(node.domain or "", node.op) for case in every_case() for node in load(case.proto()).graph.nodes}
    assert [op for op in rules.known_ops() if op not in covered] == []


def test_every_file_of_rules_has_a_file_of_cases() -> None:
    files = {module.name for module in pkgutil.iter_modules(tests.axes.__path__)}
    families = {module.name for module in pkgutil.iter_modules(rules.__path__)}
    assert {f"test_rules_{family}" for family in families} <= files


def test_no_two_rules_claim_one_opset() -> None:
    for (domain, op), known in rules.BOOK.entries.items():
        claimed = [opset for since, until, _ in known for opset in range(since, min(until, 100) + 1)]
        assert len(claimed) == len(set(claimed)), f"{domain}::{op}"
