"""What the coefficient fit found: a path of rules from sparse to dense, and which of them was chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from discover.checked import Fields
from discover.errors import ArtefactError
from discover.fit.spike_teacher import SpikeTeacher
from discover.fit.teacher import Teacher
from discover.rule import Rule
from discover.slots import get_slot

__all__ = ["FitResult", "PathPoint", "teacher_from_json"]

Coefficients = Mapping[str, Mapping[str, float]]


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
    teacher : Teacher or SpikeTeacher, optional
        A rule without a formula, for the same problems.
    """

    task: str
    points: tuple[PathPoint, ...]
    chosen: int
    reason: str
    restarts: tuple[Mapping[str, Any], ...]
    term_stability: Coefficients
    teacher: Teacher | SpikeTeacher | None = None

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
            teacher_from_json(data["teacher"]) if fields.has("teacher") else None,
        )


def teacher_from_json(data: Mapping[str, Any]) -> Teacher | SpikeTeacher:
    """Read a rule without a formula of either kind.

    Raises
    ------
    RuleError
        If it is damaged.
    """
    if isinstance(data, Mapping) and data.get("kind") == SpikeTeacher.KIND:
        return SpikeTeacher.from_json(data)
    return Teacher.from_json(data)
