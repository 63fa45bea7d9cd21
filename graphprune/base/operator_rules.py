"""One rule per operator, by domain, name and version."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from graphprune.errors import GraphpruneError

_Rule = TypeVar("_Rule", bound=Callable[..., Any])


class RuleBook(Generic[_Rule]):
    """Rules of one kind, registered by decorator. ``entries``: (domain, operator) -> (since, until, rule)."""

    def __init__(self) -> None:
        self.entries: dict[tuple[str, str], list[tuple[int, int, _Rule]]] = {}

    def rule(self, *ops: str, domain: str = "", since: int = 1, until: int = 1 << 30) -> Callable[[_Rule], _Rule]:
        """Register a rule for operators of a domain, for opsets ``since`` to ``until`` (both included).

        Raises
        ------
        GraphpruneError
            One of the operators has a rule for some of these opsets already; names both files.
        """

        def register(function: _Rule) -> _Rule:
            for op in ops:
                for earliest, latest, other in self.entries.get((domain, op), ()):
                    if since <= latest and earliest <= until:
                        raise GraphpruneError(
                            f"{domain or 'ai.onnx'}::{op} has two rules for opset {max(since, earliest)}: "
                            f"{other.__name__} in {inspect.getfile(other)} and {function.__name__} in "
                            f"{inspect.getfile(function)}",
                            "give them ranges that do not overlap, with since= and until=",
                        )
                self.entries.setdefault((domain, op), []).append((since, until, function))
            return function

        return register

    def find(self, domain: str, op: str, opset: int) -> _Rule | None:
        """The rule for an operator in one version of its domain."""
        known = self.entries.get((domain, op), ())
        return next((function for since, until, function in known if since <= opset <= until), None)

    def ops(self) -> list[tuple[str, str]]:
        """Every (domain, operator) that has a rule."""
        return sorted(self.entries)
