"""What the fit found: a path of rules from sparse to dense, which of them was chosen, and the teacher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from discover.checked import Fields
from discover.errors import ArtefactError, RuleError
from discover.rule import Rule
from discover.slots import ON_POST, ON_PRE, get_slot
from sims.rules import SplineRule

if TYPE_CHECKING:
    from sims.spike_splines import SplineSpikeRule, TraceSplines

__all__ = [
    "N_POWERS",
    "TRACE_BLOCKS",
    "TRACE_SLOTS",
    "FitResult",
    "PathPoint",
    "Teacher",
    "TeacherPoint",
]

Coefficients = Mapping[str, Mapping[str, float]]

N_POWERS = 2
"""Powers of the weight in teachers of spiking synapses: 0 and 1."""

TRACE_SLOTS = (ON_PRE.name, ON_POST.name)
TRACE_BLOCKS: tuple[tuple[str, int], ...] = tuple(
    (slot, power) for slot in TRACE_SLOTS for power in range(N_POWERS)
)
"""Blocks of a teacher of spiking synapses: slot and power of the weight."""

SPIKING = "spiking"


@dataclass(frozen=True)
class PathPoint:
    """One rule on the path.

    Attributes
    ----------
    penalty : float
        Weight of the L1 norm that selected the terms.
    coefficients : mapping from slot to mapping from term to float
        Refitted without penalty.
    train_loss, heldout_loss : float
        Mean loss over the problems it was fitted on, and over those it was chosen on.
    heldout_error : float
        Standard error of the held-out mean.
    restart : int
        Which random start it came from.
    origin : str
        ``path``; ``elimination`` where terms were dropped from a point of the path; ``tuning`` where the
        speed of the chosen point was set anew.
    """

    penalty: float
    coefficients: Coefficients
    train_loss: float
    heldout_loss: float
    heldout_error: float
    restart: int
    origin: str = "path"

    @property
    def n_terms(self) -> int:
        """Number of terms, over all slots; constants of the synapse are none."""
        return len(self.support)

    @property
    def support(self) -> frozenset[tuple[str, str]]:
        """The terms, as pairs of slot and name."""
        return frozenset(
            (slot, term)
            for slot, terms in self.coefficients.items()
            if not get_slot(slot).is_constant
            for term in terms
        )

    @property
    def rule(self) -> Rule:
        """The rule."""
        return Rule.from_coefficients(self.coefficients)

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "penalty": self.penalty,
            "coefficients": {slot: dict(terms) for slot, terms in self.coefficients.items()},
            "n_terms": self.n_terms,
            "train_loss": self.train_loss,
            "heldout_loss": self.heldout_loss,
            "heldout_error": self.heldout_error,
            "restart": self.restart,
            "origin": self.origin,
        }


@dataclass(frozen=True, eq=False)
class TeacherPoint:
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

    rule: Any
    penalty: float
    train_loss: float
    heldout_loss: float
    heldout_error: float
    restart: int

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

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        own = _rate_rule_to_json if isinstance(self.rule, SplineRule) else _spiking_rule_to_json
        return {
            "penalty": self.penalty,
            **own(self),
            "n_blocks": self.n_terms,
            "train_loss": self.train_loss,
            "heldout_loss": self.heldout_loss,
            "heldout_error": self.heldout_error,
            "restart": self.restart,
        }

    @classmethod
    def _from_fields(cls, fields: Fields, is_spiking: bool) -> TeacherPoint:
        try:
            rule = _spiking_rule(fields) if is_spiking else _rate_rule(fields)
        except ValueError as error:
            raise RuleError(str(error)) from None
        return cls(
            rule=rule,
            penalty=fields.number("penalty"),
            train_loss=fields.number("train_loss"),
            heldout_loss=fields.number("heldout_loss"),
            heldout_error=fields.number("heldout_error"),
            restart=fields.count("restart"),
        )


def _rate_rule_to_json(point: TeacherPoint) -> dict[str, Any]:
    rule = point.rule
    blocks = [
        {"pre": i, "weight": k, "coefficients": rule.coefficients[i, k].tolist()} for i, k in point.blocks
    ]
    return {"low": rule.low, "high": rule.high, "blocks": blocks}


def _rate_rule(fields: Fields) -> SplineRule:
    splines = [
        (block.count("pre", below=3), block.count("weight", below=3), block.numbers("coefficients"))
        for block in fields.parts("blocks")
    ]
    table = np.zeros((3, 3, _n_coefficients(splines)))
    for i, k, coefficients in splines:
        table[i, k] = coefficients
    return SplineRule(fields.number("low"), fields.number("high"), table)


def _spiking_rule_to_json(point: TeacherPoint) -> dict[str, Any]:
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


def _spiking_rule(fields: Fields) -> SplineSpikeRule:
    from sims.spike_splines import SplineSpikeRule, TraceSplines

    splines = [
        (block.text("slot"), block.count("weight", below=N_POWERS), block.numbers("coefficients"))
        for block in fields.parts("blocks")
    ]
    ranges = fields.part("ranges")
    tables = {slot: np.zeros((N_POWERS, _n_coefficients(splines))) for slot in ranges}
    if not tables.keys() <= set(TRACE_SLOTS):
        raise RuleError(f"The splines of a spiking rule stand in {' and '.join(TRACE_SLOTS)}.")
    for slot, power, coefficients in splines:
        if slot not in tables:
            raise RuleError("The splines of a spiking rule belong to a slot that has a range.")
        tables[slot][power] = coefficients
    updates = {slot: TraceSplines(*_ends(ranges, slot), table) for slot, table in tables.items()}
    taus = fields.number("tau_pre"), fields.number("tau_post")
    return SplineSpikeRule(updates.get(ON_PRE.name), updates.get(ON_POST.name), *taus)


def _n_coefficients(splines: Sequence[tuple[Any, int, Sequence[float]]]) -> int:
    lengths = {len(coefficients) for _, _, coefficients in splines}
    if len(lengths) > 1:
        raise RuleError("The splines of one rule have one number of coefficients.")
    return lengths.pop() if lengths else 4


def _ends(ranges: Fields, slot: str) -> tuple[float, float]:
    ends = ranges.numbers(slot)
    if len(ends) != 2:
        raise RuleError(f"The range of the splines in {slot} has two ends, got {len(ends)}.")
    return ends[0], ends[1]


@dataclass(frozen=True)
class Teacher:
    """What was learned without a formula: the points of all starts and the chosen one.

    Attributes
    ----------
    points : tuple of TeacherPoint
    chosen : int
    reason : str
    choices : tuple of int
        Position of each start's own choice; their spread is the band around the curves.
    slot : str
        Where a rule of rate neurons acts; empty for rules of spiking synapses, which act at the spikes of
        both sides.
    """

    points: tuple[TeacherPoint, ...]
    chosen: int
    reason: str
    choices: tuple[int, ...]
    slot: str = ""

    @property
    def is_spiking(self) -> bool:
        """Whether its rules are those of spiking synapses."""
        return not self.slot

    @property
    def best(self) -> TeacherPoint:
        """The chosen point."""
        return self.points[self.chosen]

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            **({"kind": SPIKING} if self.is_spiking else {"slot": self.slot}),
            "points": [point.to_json() for point in self.points],
            "chosen": self.chosen,
            "reason": self.reason,
            "choices": list(self.choices),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Teacher:
        """Read what :meth:`to_json` gave.

        Raises
        ------
        ArtefactError
            If something is missing, of another type, or names a point that is not there.
        RuleError
            If coefficients are not those of splines, or a slot is none.
        """
        fields = Fields(data, "teacher")
        is_spiking = data.get("kind") == SPIKING
        points = tuple(TeacherPoint._from_fields(point, is_spiking) for point in fields.parts("points"))
        chosen, choices = fields.count("chosen"), fields.counts("choices")
        if not all(place < len(points) for place in (chosen, *choices)):
            raise ArtefactError(f"{fields.where}: a point is called chosen that is not there.")
        slot = "" if is_spiking else get_slot(fields.text("slot")).name
        return cls(points, chosen, fields.text("reason"), choices, slot)


@dataclass(frozen=True)
class FitResult:
    """The path and its chosen point.

    Attributes
    ----------
    task : str
    points : tuple of PathPoint
        Of all restarts; the dense rules are those with penalty 0.
    chosen : int
        Position of the chosen point.
    reason : str
        Why it was chosen.
    restarts : tuple of mapping
        For each restart its number, its own choice and that choice's losses and terms.
    term_stability : mapping from slot to mapping from term to float
        Share of restarts whose own choice has the term; terms that no restart chose are left out.
    teacher : Teacher, optional
        A rule without a formula, for the same problems.
    """

    task: str
    points: tuple[PathPoint, ...]
    chosen: int
    reason: str
    restarts: tuple[Mapping[str, Any], ...]
    term_stability: Coefficients
    teacher: Teacher | None = None

    @property
    def rule(self) -> Rule:
        """The chosen rule."""
        return self.points[self.chosen].rule

    @property
    def dense(self) -> PathPoint:
        """The unpenalised rule with the lowest held-out loss; the least penalised where none is."""
        least = min(point.penalty for point in self.points if point.origin == "path")
        dense = [point for point in self.points if point.origin == "path" and point.penalty == least]
        return min(dense, key=lambda point: point.heldout_loss)

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        teacher = {} if self.teacher is None else {"teacher": self.teacher.to_json()}
        return {
            "task": self.task,
            "points": [point.to_json() for point in self.points],
            "chosen": self.chosen,
            "reason": self.reason,
            "restarts": [dict(restart) for restart in self.restarts],
            "term_stability": {slot: dict(terms) for slot, terms in self.term_stability.items()},
            **teacher,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> FitResult:
        """Read what :meth:`to_json` gave.

        Raises
        ------
        ArtefactError
            If something is missing or of another type.
        RuleError
            If a term is not one of the basis, or the teacher is none.
        """
        fields = Fields(data, "path")
        points = tuple(
            PathPoint(
                penalty=point.number("penalty"),
                coefficients=point.named_tables("coefficients"),
                train_loss=point.number("train_loss"),
                heldout_loss=point.number("heldout_loss"),
                heldout_error=point.number("heldout_error", 0.0),
                restart=point.count("restart", 0),
                origin=point.text("origin", "path"),
            )
            for point in fields.parts("points")
        )
        for point in points:
            Rule.from_coefficients(point.coefficients)
        if not any(point.origin == "path" for point in points):
            raise ArtefactError("path: points: none of them is a point of the path itself.")
        return cls(
            fields.text("task"),
            points,
            fields.count("chosen", below=len(points)),
            fields.text("reason"),
            tuple(restart.data for restart in fields.parts("restarts")),
            fields.named_tables("term_stability"),
            Teacher.from_json(data["teacher"]) if fields.has("teacher") else None,
        )
