"""Pass ``mop``: at each step either a whole layer goes, or as many parameters as it has from the width of all layers.

"Mixture of Pruners" (arXiv 2602.06127), for language models. The depth child goes without the third-to-last layer,
attention and MLP together; the width child is AMP's (IJCNN 2025), with the cost of that layer as its budget.
The authors found that a coin decides as well as perplexity does, and so it is here: ``arbiter=kl`` and ``perplexity``
make both children and look at their outputs. Children are not tuned before they are judged; repair and training
follow the pass.

Where it departs from the authors' code: the budget is met by the parameter-exact rule of ``amp``; both children cost
what *this* layer costs, as layers may differ; fractions of key-value groups add up over the width steps alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from graphprune.errors import NothingToPrune, OptionError
from graphprune.pass_infra.base import Pass
from graphprune.pass_infra.context import Context
from graphprune.pass_infra.joint.depth import Depth
from graphprune.pass_infra.joint.mixture import Mixture, MixtureArbiter
from graphprune.pass_infra.joint.width import Width
from graphprune.pass_infra.scored_samples import text_samples
from graphprune.pass_infra.unit_pass import check_patterns
from graphprune.plan.plan import Decision
from graphprune.scoring.projection import HEAD_KINDS

_SAMPLES = 128
RELEASED = {
    "released-1": "LGGLLLGGLLGLGLLGGL",
    "released-2": "GGLLGGGLGGGLLLGGLL",
    "released-3": "LGLGGLLGLLGLGLGLGG",
}
"""The paths of the authors' code, for its seeds 1 to 3."""


@dataclass(frozen=True)
class MoP(Pass):
    """Layers, or heads and neurons worth as much: at each step a coin, the outputs or a path decides."""

    name: ClassVar[str] = "mop"
    paper: ClassVar[str] = "Mixture of Pruners, arXiv 2602.06127"

    arbiter: MixtureArbiter = field(
        default="random", metadata={"help": "a coin (--seed), KL to the network as given, or perplexity of token ids"}
    )
    path: str = field(
        default="",
        metadata={"help": "instead: L and G (layer, width), one a step; released-1 to -3: the authors'"},
    )
    depth: Depth = field(
        default="third-to-last", metadata={"help": "which layer goes: always that one, or the one that turns least"}
    )
    width: Literal["amp", "neurons"] = field(
        default="amp", metadata={"help": "heads and neurons out of one budget, or neurons alone"}
    )
    groups: int = field(default=2, metadata={"help": "key-value groups that stay in each layer"})
    samples: int | None = field(
        default=None,
        metadata={
            "help": "samples for scores; kl and perplexity judge on half; auto: 128, of a decoder's text 8,192 tokens"
        },
    )
    exclude: tuple[str, ...] = field(default=(), metadata={"help": "blocks to keep, by name or glob"})
    exclude_groups: tuple[str, ...] = field(
        default=(), metadata={"help": "groups to keep: glob or re:, on group or node names"}
    )

    def decide(self, context: Context) -> Decision:
        return next(self.decisions(context))

    def requires(self, context: Context) -> None:
        if context.goal.target.kind not in ("flops", "params"):
            raise OptionError(
                f"pass mop weighs layers against units and cannot count both for {context.goal.target}",
                "give --target params= or flops=",
            )
        if not self._letters() or set(self._letters()) - {"L", "G"}:
            raise OptionError(
                f"'{self.path}' is no path of pass mop", f"write letters L and G, or {', '.join(RELEASED)}"
            )
        if self.path and context.goal.in_rounds:
            raise OptionError("a path of pass mop needs all steps at once", "leave --finetune-every removal out")
        if (self.samples is not None and self.samples < 2) or self.groups < 1:
            raise OptionError(f"{self} has an option that is too small", "give samples=2 and groups=1, or more")

    def decisions(self, context: Context) -> Iterator[Decision]:
        check_patterns(self.exclude_groups, context.analysis.groups)
        if not any(join.block for join in context.joins):
            raise NothingToPrune("pass mop finds no layer to remove", "graphprune inspect shows why each join stays")
        kinds = ("neurons",) if self.width == "neurons" else (*HEAD_KINDS[:2], "neurons")
        width = Width(kinds, self.groups, self.exclude_groups)
        path = self._letters() if self.path else ""
        samples = self.samples or text_samples(context) or _SAMPLES
        yield from Mixture(str(self), self.depth, width, self.arbiter, path, self.exclude, samples).run(context)

    def _letters(self) -> str:
        """The path spelt out; a valid one where there is none."""
        return RELEASED.get(self.path, self.path) if self.path else "L"
