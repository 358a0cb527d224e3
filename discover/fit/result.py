"""What the fit found: a path of rules from sparse to dense, which of them was chosen, and the teacher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from annotated_types import Lt
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    GetPydanticSchema,
    Strict,
    Tag,
    model_serializer,
    model_validator,
)

from discover.errors import RuleError, TaskError
from discover.rule import Rule
from discover.shown import Short, Shown, shortened
from discover.slots import ON_POST, ON_PRE, get_slot, term_exponents
from discover.stored import Artefact, Count, NotNegative, Stored, left_out, unless_empty
from sims.rules import SplineRule

if TYPE_CHECKING:
    from sims.spike_splines import SplineSpikeRule, TraceSplines

__all__ = [
    "N_POWERS",
    "TRACE_BLOCKS",
    "TRACE_SLOTS",
    "FitResult",
    "PathPoint",
    "Restart",
    "Teacher",
    "TeacherPoint",
]

N_POWERS = 2
"""Powers of the weight in teachers of spiking synapses: 0 and 1."""

TRACE_SLOTS = (ON_PRE.name, ON_POST.name)
TRACE_BLOCKS: tuple[tuple[str, int], ...] = tuple(
    (slot, power) for slot in TRACE_SLOTS for power in range(N_POWERS)
)
"""Blocks of a teacher of spiking synapses: slot and power of the weight."""

_SPIKING = "spiking"


Coefficients = Mapping[str, Mapping[str, float]]
Error = Annotated[NotNegative, BeforeValidator(lambda error: error or 0.0)]
"""A standard error; 0 where a run does not know it."""


def _of_a_rule(tables: Coefficients) -> Coefficients:
    Rule.from_coefficients(tables)
    return tables


def _of_slots(tables: Coefficients) -> Coefficients:
    for slot, terms in tables.items():
        for term in terms:
            term_exponents(term, get_slot(slot))
    return tables


@dataclass(frozen=True, repr=False)
class PathPoint(Short, Stored):
    """One rule on the path.

    Attributes
    ----------
    penalty : float
        Weight of the L1 norm that selected the terms.
    coefficients : mapping from slot to mapping from term to float
        Refitted without penalty.
    n_terms : int
        Number of terms, over all slots; constants of the synapse are none.
    train_loss, heldout_loss : float
        Mean loss over the problems it was fitted on, and over those it was chosen on.
    heldout_error : float
        Standard error of the held-out mean; 0 where it is not known.
    restart : int
        Which random start it came from.
    origin : str
        ``path``; ``elimination`` where terms were dropped from a point of the path; ``tuning`` where the
        speed of the chosen point was set anew.
    """

    penalty: float
    coefficients: Annotated[Coefficients, AfterValidator(_of_a_rule)]
    n_terms: Count = field(default=0, kw_only=True)
    train_loss: float
    heldout_loss: float
    heldout_error: Error = 0.0
    restart: Count = 0
    origin: str = "path"

    def __post_init__(self) -> None:
        object.__setattr__(self, "n_terms", len(self.terms))

    @property
    def terms(self) -> dict[tuple[str, str], float]:
        """Coefficients by slot and term; constants of the synapse are none."""
        return {
            (slot, term): value
            for slot, terms in self.coefficients.items()
            if not get_slot(slot).is_constant
            for term, value in terms.items()
        }

    @property
    def support(self) -> frozenset[tuple[str, str]]:
        """The terms, as pairs of slot and name."""
        return frozenset(self.terms)

    @property
    def rule(self) -> Rule:
        """The rule."""
        return Rule.from_coefficients(self.coefficients)

    def in_short(self) -> str:
        """Return penalty, number of terms, loss and rule."""
        loss = f"held-out loss {self.heldout_loss:.4g}"
        return f"penalty {self.penalty:.3g}, {self.n_terms} terms, {loss}, {shortened(str(self.rule))}"


@dataclass(frozen=True)
class _Spline(Stored):
    """Coefficients of the B-splines for one pair of powers."""

    pre: Annotated[Count, Lt(3)]
    weight: Annotated[Count, Lt(3)]
    coefficients: list[float]


@dataclass(frozen=True)
class _RateSplines(Stored):
    """How a rule of rate neurons without a formula is written."""

    low: float
    high: float
    blocks: list[_Spline]

    def rule(self) -> SplineRule:
        """Return the rule."""
        table = np.zeros((3, 3, _n_coefficients(self.blocks)))
        for block in self.blocks:
            table[block.pre, block.weight] = block.coefficients
        return SplineRule(self.low, self.high, table)


@dataclass(frozen=True)
class _TraceSpline(Stored):
    """Coefficients of the B-splines of a trace for one slot and power of the weight."""

    slot: Literal["on_pre", "on_post"]
    weight: Annotated[Count, Lt(N_POWERS)]
    coefficients: list[float]


@dataclass(frozen=True)
class _SpikingSplines(Stored):
    """How a rule of spiking synapses without a formula is written."""

    tau_pre: float
    tau_post: float
    ranges: dict[Literal["on_pre", "on_post"], Annotated[tuple[float, float], Strict(False)]]
    blocks: list[_TraceSpline]

    def rule(self) -> SplineSpikeRule:
        """Return the rule."""
        from sims.spike_splines import SplineSpikeRule, TraceSplines

        tables = {slot: np.zeros((N_POWERS, _n_coefficients(self.blocks))) for slot in self.ranges}
        for block in self.blocks:
            if block.slot not in tables:
                raise RuleError("The splines of a spiking rule belong to a slot that has a range.")
            tables[block.slot][block.weight] = block.coefficients
        updates = {slot: TraceSplines(*self.ranges[slot], table) for slot, table in tables.items()}
        return SplineSpikeRule(updates.get("on_pre"), updates.get("on_post"), self.tau_pre, self.tau_post)


def _n_coefficients(blocks: Sequence[_Spline | _TraceSpline]) -> int:
    lengths = {len(block.coefficients) for block in blocks}
    if len(lengths) > 1:
        raise RuleError("The splines of one rule have one number of coefficients.")
    return lengths.pop() if lengths else 4


_Splines = Annotated[
    Annotated[_RateSplines, Tag("rates")] | Annotated[_SpikingSplines, Tag(_SPIKING)],
    Discriminator(lambda table: _SPIKING if "tau_pre" in table else "rates"),
    AfterValidator(lambda splines: splines.rule()),
]


@dataclass(frozen=True, eq=False)
class TeacherPoint(Stored):
    """One rule without a formula.

    Attributes
    ----------
    rule : SplineRule or SplineSpikeRule
        Refitted without penalty.
    penalty : float
        Weight of the penalty that selected the blocks.
    train_loss, heldout_loss, heldout_error : float
        Mean loss over the problems it was learned on and over those it was chosen on, and the standard error
        of the latter.
    restart : int
        Which random start it came from.
    """

    rule: Annotated[Any, GetPydanticSchema(lambda _, handler: handler(_Splines))]
    penalty: float
    train_loss: float
    heldout_loss: float
    heldout_error: Error
    restart: Count

    @model_validator(mode="before")
    @classmethod
    def _gathered(cls, table: Any) -> Any:
        """In JSON the rule's own fields stand among the others."""
        return {**table, "rule": table} if isinstance(table, dict) else table

    @model_serializer(mode="plain")
    def _spread(self) -> dict[str, Any]:
        own = _rate_splines if isinstance(self.rule, SplineRule) else _spiking_splines
        return {
            "penalty": self.penalty,
            **own(self),
            "n_blocks": self.n_terms,
            "train_loss": self.train_loss,
            "heldout_loss": self.heldout_loss,
            "heldout_error": self.heldout_error,
            "restart": self.restart,
        }

    @property
    def blocks(self) -> tuple[tuple[Any, int], ...]:
        """Splines that are not zero: power of the presynaptic activity, or slot, and power of the weight."""
        if isinstance(self.rule, SplineRule):
            rows, columns = np.nonzero(self.rule.acts)
            return tuple(zip(rows.tolist(), columns.tolist(), strict=True))
        return tuple((slot, power) for slot, power in TRACE_BLOCKS if self._acts(slot, power))

    @property
    def n_terms(self) -> int:
        """Number of blocks."""
        return len(self.blocks)

    def splines(self, slot: str) -> TraceSplines | None:
        """Return the update of a slot of a spiking rule; None where there is none."""
        splines: TraceSplines | None = self.rule.on_pre if slot == ON_PRE.name else self.rule.on_post
        return splines

    def _acts(self, slot: str, power: int) -> bool:
        splines = self.splines(slot)
        return splines is not None and power < splines.n_powers and bool(splines.coefficients[power].any())


def _rate_splines(point: TeacherPoint) -> dict[str, Any]:
    rule = point.rule
    blocks = [
        {"pre": i, "weight": k, "coefficients": rule.coefficients[i, k].tolist()} for i, k in point.blocks
    ]
    return {"low": rule.low, "high": rule.high, "blocks": blocks}


def _spiking_splines(point: TeacherPoint) -> dict[str, Any]:
    there = {slot: splines for slot in TRACE_SLOTS if (splines := point.splines(slot)) is not None}
    blocks = [
        {"slot": slot, "weight": power, "coefficients": there[slot].coefficients[power].tolist()}
        for slot, power in point.blocks
    ]
    return {
        "tau_pre": point.rule.tau_pre_ms,
        "tau_post": point.rule.tau_post_ms,
        "ranges": {slot: [splines.low, splines.high] for slot, splines in there.items()},
        "blocks": blocks,
    }


@dataclass(frozen=True)
class Teacher(Stored):
    """What was learned without a formula: the points of all starts and the chosen one.

    Attributes
    ----------
    kind : str
        ``spiking`` for rules of spiking synapses, which act at the spikes of both sides; else empty.
    slot : str
        Where a rule of rate neurons acts.
    points : tuple of TeacherPoint
    chosen : int
    reason : str
    choices : tuple of int
        Position of each start's own choice; their spread is the band around the curves.

    Raises
    ------
    TaskError
        If it names a point that is not there.
    RuleError
        If a slot is none, or the rules are not those of such a slot.
    """

    kind: Annotated[Literal["", "spiking"], unless_empty] = field(default="", kw_only=True)
    slot: Annotated[str, unless_empty] = field(default="", kw_only=True)
    points: tuple[TeacherPoint, ...]
    chosen: Count
    reason: str
    choices: tuple[Count, ...]

    def __post_init__(self) -> None:
        if not all(place < len(self.points) for place in (self.chosen, *self.choices)):
            raise TaskError("A point is called chosen that is not there.")
        slot = get_slot(self.slot).name if self.slot else ""
        if any(isinstance(point.rule, SplineRule) != bool(slot) for point in self.points):
            raise RuleError("Splines of rates belong to a slot, and those of traces to spiking synapses.")
        object.__setattr__(self, "kind", "" if slot else _SPIKING)

    @property
    def is_spiking(self) -> bool:
        """Whether its rules are those of spiking synapses."""
        return not self.slot

    @property
    def best(self) -> TeacherPoint:
        """The chosen point."""
        return self.points[self.chosen]


@dataclass(frozen=True)
class Restart(Stored):
    """What one random start chose.

    Attributes
    ----------
    restart : int
    coefficients : mapping from slot to mapping from term to float
    n_terms : int
    train_loss, heldout_loss : float
    """

    restart: Count = 0
    coefficients: Coefficients = field(default_factory=dict)
    n_terms: Annotated[Count | None, left_out] = None
    train_loss: Annotated[float | None, left_out] = None
    heldout_loss: Annotated[float | None, left_out] = None


@dataclass(frozen=True, repr=False)
class FitResult(Shown, Artefact):
    """``path.json``: the path and its chosen point.

    Attributes
    ----------
    task : str
    points : tuple of PathPoint
        Of all restarts; the dense rules are those with penalty 0.
    chosen : int
        Position of the chosen point.
    reason : str
        Why it was chosen.
    restarts : tuple of Restart
    term_stability : mapping from slot to mapping from term to float
        Share of restarts whose own choice has the term; terms that no restart chose are left out.
    teacher : Teacher, optional
        A rule without a formula, for the same problems.

    Raises
    ------
    TaskError
        If the chosen point is not there, or no point is one of the path itself.
    """

    kind = "path"
    task: str
    points: tuple[PathPoint, ...]
    chosen: Count
    reason: str
    restarts: tuple[Restart, ...]
    term_stability: Annotated[Coefficients, AfterValidator(_of_slots)]
    teacher: Annotated[Teacher | None, left_out] = None

    def __post_init__(self) -> None:
        if not any(point.origin == "path" for point in self.points):
            raise TaskError("None of its points is a point of the path itself.")
        if self.chosen >= len(self.points):
            raise TaskError(f"There is no point {self.chosen}, which it calls chosen.")

    def in_short(self) -> str:
        """Return how many points there are, and the chosen one."""
        return f"{self.task}, {len(self.points)} points, chosen {self.chosen_point.in_short()}"

    @property
    def chosen_point(self) -> PathPoint:
        """The chosen point."""
        return self.points[self.chosen]

    @property
    def rule(self) -> Rule:
        """The chosen rule."""
        return self.chosen_point.rule

    @property
    def dense(self) -> PathPoint:
        """The unpenalised rule with the lowest held-out loss; the least penalised where none is."""
        least = min(point.penalty for point in self.points if point.origin == "path")
        dense = [point for point in self.points if point.origin == "path" and point.penalty == least]
        return min(dense, key=lambda point: point.heldout_loss)
