"""What the library keeps of a published rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from discover.rule import Rule

__all__ = ["KnownRule"]


@dataclass(frozen=True)
class KnownRule:
    """A published rule.

    Parameters
    ----------
    name, title : str
    formula : str
        The rule as published, in plain text; ``eta`` is the learning rate.
    expressions : mapping from str to str
        Update of each slot that is a function of the slot's variables alone. Empty when there is none.
    needs : str
        What the published rule needs besides: further state, or other neurons' activity. The expressions of
        such a rule are a stand-in, and `note` says which. Empty when nothing is missing.
    is_local : bool
        Whether all that it needs can be found at the synapse and its two neurons.
    constants : mapping from str to float
        Constants of the expressions, as they were put in.
    citation : str
    doi : str
        Empty where there is none, or none that was verified.
    year : int
    note : str
        How the expressions stand to the published rule.
    """

    name: str
    title: str
    formula: str
    expressions: Mapping[str, str]
    citation: str
    doi: str
    year: int
    needs: str = ""
    is_local: bool = True
    constants: Mapping[str, float] = field(default_factory=dict)
    note: str = ""

    @property
    def slots(self) -> tuple[str, ...]:
        """Slots that the rule has an expression for."""
        return tuple(self.expressions)

    @property
    def rule(self) -> Rule | None:
        """The expressions as a rule; None when there are none."""
        return Rule.parse(self.expressions) if self.expressions else None
