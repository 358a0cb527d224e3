"""What the teacher of spiking synapses found: rules without a formula, and which of them was chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from discover.errors import RuleError
from discover.slots import ON_POST, ON_PRE

if TYPE_CHECKING:
    from sims.spike_splines import SplineSpikeRule, TraceSplines

__all__ = ["BLOCKS", "N_POWERS", "SLOTS", "SpikeTeacher", "SpikeTeacherPoint", "of_slot"]

Block = tuple[str, int]

N_POWERS = 2
"""Powers of the weight: 0 and 1."""

SLOTS = (ON_PRE.name, ON_POST.name)
BLOCKS: tuple[Block, ...] = tuple((slot, power) for slot in SLOTS for power in range(N_POWERS))
"""What enters or leaves a rule together: slot and power of the weight."""


@dataclass(frozen=True, eq=False)
class SpikeTeacherPoint:
    """One rule without a formula.

    Attributes
    ----------
    rule : SplineSpikeRule
        Refitted without group penalty.
    penalty : float
        Weight of the group penalty that selected the blocks.
    train_loss, heldout_loss, heldout_error : float
        Mean loss over the problems it was learned on and over those it was chosen on, and the standard error
        of the latter.
    restart : int
        Which random start it came from.
    """

    rule: SplineSpikeRule
    penalty: float
    train_loss: float
    heldout_loss: float
    heldout_error: float
    restart: int

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Slots and powers of the weight whose spline is not zero."""
        return tuple((slot, power) for slot, power in BLOCKS if _row(self.splines(slot), power) is not None)

    @property
    def n_terms(self) -> int:
        """Number of blocks."""
        return len(self.blocks)

    def splines(self, slot: str) -> TraceSplines | None:
        """Return the update of a slot; None where there is none."""
        return of_slot(self.rule, slot)

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        ranges = {slot: [one.low, one.high] for slot in SLOTS if (one := self.splines(slot)) is not None}
        return {
            "penalty": self.penalty,
            "tau_pre": self.rule.tau_pre_ms,
            "tau_post": self.rule.tau_post_ms,
            "ranges": ranges,
            "blocks": [
                {"slot": slot, "weight": power, "coefficients": list(_row(self.splines(slot), power) or ())}
                for slot, power in self.blocks
            ],
            "n_blocks": self.n_terms,
            "train_loss": self.train_loss,
            "heldout_loss": self.heldout_loss,
            "heldout_error": self.heldout_error,
            "restart": self.restart,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SpikeTeacherPoint:
        """Read what :meth:`to_json` gave; see :meth:`SpikeTeacher.from_json`."""
        from sims.spike_splines import SplineSpikeRule, TraceSplines

        lengths = {len(block["coefficients"]) for block in data["blocks"]}
        if len(lengths) > 1:
            raise RuleError("The splines of one rule have one number of coefficients.")
        tables = {slot: np.zeros((N_POWERS, *(lengths or (4,)))) for slot in data["ranges"]}
        for block in data["blocks"]:
            if block["slot"] not in tables or not 0 <= block["weight"] < N_POWERS:
                raise RuleError("The splines of a spiking rule belong to a slot and the powers 0 and 1.")
            tables[block["slot"]][block["weight"]] = block["coefficients"]
        if not tables.keys() <= set(SLOTS):
            raise RuleError(f"The splines of a spiking rule stand in {' and '.join(SLOTS)}.")
        try:
            updates = {
                slot: TraceSplines(*_ends(data["ranges"][slot]), table) for slot, table in tables.items()
            }
            taus = float(data["tau_pre"]), float(data["tau_post"])
            rule = SplineSpikeRule(updates.get(ON_PRE.name), updates.get(ON_POST.name), *taus)
        except ValueError as error:
            raise RuleError(str(error)) from None
        losses = (data["train_loss"], data["heldout_loss"], data["heldout_error"])
        return cls(rule, data["penalty"], *losses, data["restart"])


@dataclass(frozen=True)
class SpikeTeacher:
    """What was learned: the points of all restarts and the chosen one.

    Attributes
    ----------
    points : tuple of SpikeTeacherPoint
    chosen : int
    reason : str
    choices : tuple of int
        Position of each restart's own choice; their spread is the band around the curves.
    """

    KIND: ClassVar[str] = "spiking"

    points: tuple[SpikeTeacherPoint, ...]
    chosen: int
    reason: str
    choices: tuple[int, ...]

    @property
    def best(self) -> SpikeTeacherPoint:
        """The chosen point."""
        return self.points[self.chosen]

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "kind": self.KIND,
            "points": [point.to_json() for point in self.points],
            "chosen": self.chosen,
            "reason": self.reason,
            "choices": list(self.choices),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SpikeTeacher:
        """Read what :meth:`to_json` gave.

        Raises
        ------
        RuleError
            If something is missing, or coefficients are not those of splines.
        """
        try:
            points = tuple(SpikeTeacherPoint.from_json(point) for point in data["points"])
            places = [int(data["chosen"]), *(int(place) for place in data["choices"])]
            reason = str(data["reason"])
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            raise RuleError(f"The teacher is damaged: {error}.") from None
        if not all(0 <= place < len(points) for place in places):
            raise RuleError("The teacher calls a point chosen that it does not have.")
        return cls(points, places[0], reason, tuple(places[1:]))


def _ends(pair: Any) -> tuple[float, float]:
    low, high = pair
    return float(low), float(high)


def of_slot(rule: SplineSpikeRule, slot: str) -> TraceSplines | None:
    """Return the update of a slot; None where there is none."""
    return rule.on_pre if slot == ON_PRE.name else rule.on_post


def _row(splines: TraceSplines | None, power: int) -> list[float] | None:
    """Coefficients of one curve; None where it is zero or is not there."""
    if splines is None or power >= splines.n_powers or not splines.coefficients[power].any():
        return None
    row: list[float] = splines.coefficients[power].tolist()
    return row
