"""Rules from operators to torch: one function per operator family, registered by decorator.

A rule gets a :class:`NodeConversion` and returns what the node's outputs become: one value, or a list of them.
Where it does not understand a use of its operator it calls :meth:`NodeConversion.refuse`.
"""

from __future__ import annotations

from collections.abc import Callable

from graphprune.base.operator_rules import RuleBook
from graphprune.torch_bridge.node_conversion import NodeConversion
from graphprune.torch_bridge.values import Value

__all__ = ["CONTRIB", "NodeConversion", "find_rule", "rule"]

CONTRIB = "com.microsoft"

ConversionRule = Callable[[NodeConversion], Value | list[Value]]
BOOK: RuleBook[ConversionRule] = RuleBook()
rule, find_rule = BOOK.rule, BOOK.find
