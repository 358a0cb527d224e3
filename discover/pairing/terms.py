"""Terms of a rule for two neurons: what a jump at a spike of either of them is proportional to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from functools import cached_property
from typing import Annotated

from annotated_types import Len

from discover.errors import ConfigError
from discover.expression import (
    Node,
    combine,
    const,
    constants,
    parse,
    postorder,
    var,
    variables_of,
    with_constants,
)
from discover.pairing.events import TRACE_NAMES, Events, FloatArray, Traces
from discover.pairing.protocols import Protocol
from discover.rule import Rule
from discover.slots import POST_SPIKE, PRE_SPIKE, TAU_POST, TAU_PRE, TAU_SLOW_POST, TAU_SLOW_PRE
from discover.stored import Stored
from sims.pairing import Tie

__all__ = ["TERMS", "Term", "design", "rule_of"]

SLOT_OF = {"pre": PRE_SPIKE.name, "post": POST_SPIKE.name}
FUNCTIONS = frozenset({"div", "tanh", "exp", "log", "sqrt", "abs", "sign", "max", "min"})

TAU_SLOTS = dict(
    zip(TRACE_NAMES, (TAU_PRE.name, TAU_SLOW_PRE.name, TAU_POST.name, TAU_SLOW_POST.name), strict=True)
)
"""Trace -> slot of its time constant."""


@dataclass(frozen=True)
class Term(Stored):
    """What a jump at one kind of spike is proportional to.

    Parameters
    ----------
    spike : str
        ``pre`` or ``post``.
    text : str
        Expression in the traces ``x_pre``, ``slow_pre``, ``x_post`` and ``slow_post``, such as
        ``x_pre*slow_post``; ``1`` for a jump that sees none. A spike does not see its own jump.
    power, room : float
        The jump goes also with ``w**power``, and with ``(1 - w/bound)**room``.

    Raises
    ------
    ConfigError
        If the kind of spike is none.
    RuleError
        If the text is no expression in the traces.

    Examples
    --------
    >>> term = Term("post", "x_pre*slow_post")
    >>> str(term), term.uses
    ('x_pre*slow_post at a postsynaptic spike', ('x_pre', 'slow_post'))
    """

    spike: str
    text: Annotated[str, Len(1, 1000)]
    power: float = 0.0
    room: float = 0.0

    def __post_init__(self) -> None:
        if self.spike not in SLOT_OF:
            raise ConfigError(f"A term is at a pre or a post spike, got {self.spike[:40]!r}.")
        self.node  # noqa: B018 (a text that is no expression is refused here)

    @cached_property
    def node(self) -> Node:
        """Its expression in the traces."""
        return parse(self.text, TRACE_NAMES)

    @property
    def uses(self) -> tuple[str, ...]:
        """Traces that it reads."""
        names = variables_of(self.node)
        return tuple(name for name in TRACE_NAMES if name in names)

    @property
    def inner(self) -> tuple[float, ...]:
        """Constants within its expression."""
        return constants(self.node) if self.uses else ()

    @property
    def size(self) -> int:
        """One, and one more for every function or constant in it that is no product, and for the weight."""
        functions = sum(part.op in FUNCTIONS for part in postorder(self.node))
        return 1 + max(functions, len(self.inner)) + bool(self.power) + bool(self.room)

    @property
    def sees_weight(self) -> bool:
        """Whether the weight matters to it."""
        return bool(self.power or self.room)

    @property
    def name(self) -> str:
        """Its text, with the weight where it sees that."""
        parts = [] if self.text == "1" and self.sees_weight else [self.text]
        if self.power:
            parts.append("w" if self.power == 1 else f"w**{self.power:g}")
        if self.room:
            parts.append("(1 - w/b)" if self.room == 1 else f"(1 - w/b)**{self.room:g}")
        return "*".join(parts)

    def scaled(self, factors: Sequence[float]) -> Term:
        """Return the term with its inner constants multiplied."""
        if not self.inner:
            return self
        values = [value * factor for value, factor in zip(self.inner, factors, strict=True)]
        return Term(self.spike, str(with_constants(self.node, values)), self.power, self.room)

    def __str__(self) -> str:
        return f"{self.name} at a {self.spike}synaptic spike"


TERMS: tuple[Term, ...] = (
    Term("pre", "1"), Term("pre", "x_post"), Term("pre", "x_post**2"),
    Term("pre", "slow_pre"), Term("pre", "x_post*slow_pre"),
    Term("post", "1"), Term("post", "x_pre"), Term("post", "x_pre**2"),
    Term("post", "slow_post"), Term("post", "x_pre*slow_post"),
)  # fmt: skip
"""Ten terms: nothing, the other neuron's fast trace, its square, the own slow trace, and both together."""


def design(
    protocols: Sequence[Protocol], traces: Traces, terms: Sequence[Term] = TERMS, tie: Tie = "pre first"
) -> FloatArray:
    """Return what each term adds up to over each protocol, at the initial weight.

    Parameters
    ----------
    protocols : sequence of Protocol
    traces : Traces
    terms : sequence of Term
    tie : str
        Which of two spikes in one instant comes first.

    Returns
    -------
    ndarray, shape (n_protocols, n_terms)
        The change of a weight is this times the coefficients, where no term sees the weight.
    """
    events = Events(protocols, [(tau,) for tau in astuple(traces)], tie)
    table: FloatArray = events.sums([(term.spike, term.node) for term in terms], [(0, 0, 0, 0)])[0]
    return table


def rule_of(terms: Sequence[Term], coefficients: Sequence[float], traces: Traces, bound: float = 0.0) -> Rule:
    """Return terms as a rule, with the time constants of the traces that they read.

    Examples
    --------
    >>> print(rule_of([Term("pre", "x_post")], [-0.5], Traces()))
    pre_spike: -0.5*x_post; tau_post: 33.7
    """
    sums: dict[str, Node] = {}
    for term, value in zip(terms, coefficients, strict=True):
        slot = SLOT_OF[term.spike]
        part = _times(const(float(value)), None if term.text == "1" else term.node)
        if term.power:
            part = combine("mul", (part, _power(var("w"), term.power)))
        if term.room:
            inside = combine("sub", (const(1.0), combine("div", (var("w"), const(bound)))))
            part = combine("mul", (part, _power(inside, term.room)))
        sums[slot] = combine("add", (sums[slot], part)) if slot in sums else part
    used = {name for term in terms for name in term.uses}
    taus = {TAU_SLOTS[name]: const(tau) for name, tau in traces.items() if name in used}
    return Rule({**sums, **taus}).canonical() if sums else Rule({PRE_SPIKE.name: const(0.0)})


def _times(factor: Node, node: Node | None) -> Node:
    return factor if node is None else combine("mul", (factor, node))


def _power(node: Node, power: float) -> Node:
    return node if power == 1 else combine("pow", (combine("abs", (node,)), const(power)))
