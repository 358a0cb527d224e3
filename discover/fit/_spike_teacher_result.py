"""What the teacher of spiking synapses found: rules without a formula, and which of them was chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from discover.checked import Fields
from discover.errors import RuleError
from discover.fit._teacher_path import Taught
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
        return cls._from_fields(Fields(data, "point"))

    @classmethod
    def _from_fields(cls, fields: Fields) -> SpikeTeacherPoint:
        from sims.spike_splines import SplineSpikeRule, TraceSplines

        curves = [
            (block.text("slot"), block.count("weight", below=N_POWERS), block.numbers("coefficients"))
            for block in fields.parts("blocks")
        ]
        lengths = {len(coefficients) for _, _, coefficients in curves}
        if len(lengths) > 1:
            raise RuleError("The splines of one rule have one number of coefficients.")
        ranges = fields.part("ranges")
        tables = {slot: np.zeros((N_POWERS, *(lengths or (4,)))) for slot in ranges}
        if not tables.keys() <= set(SLOTS):
            raise RuleError(f"The splines of a spiking rule stand in {' and '.join(SLOTS)}.")
        for slot, power, coefficients in curves:
            if slot not in tables:
                raise RuleError("The splines of a spiking rule belong to a slot that has a range.")
            tables[slot][power] = coefficients
        try:
            updates = {slot: TraceSplines(*_ends(ranges, slot), table) for slot, table in tables.items()}
            taus = fields.number("tau_pre"), fields.number("tau_post")
            rule = SplineSpikeRule(updates.get(ON_PRE.name), updates.get(ON_POST.name), *taus)
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


@dataclass(frozen=True)
class SpikeTeacher(Taught[SpikeTeacherPoint]):
    """What was learned; see :class:`Taught`."""

    KIND: ClassVar[str] = "spiking"

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {"kind": self.KIND, **super().to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SpikeTeacher:
        """Read what :meth:`to_json` gave.

        Raises
        ------
        ArtefactError
            If something is missing or of another type.
        RuleError
            If coefficients are not those of splines.
        """
        return cls(*cls.read(Fields(data, "teacher"), SpikeTeacherPoint._from_fields))


def _ends(ranges: Fields, slot: str) -> tuple[float, float]:
    ends = ranges.numbers(slot)
    if len(ends) != 2:
        raise RuleError(f"The range of the splines in {slot} has two ends, got {len(ends)}.")
    return ends[0], ends[1]


def of_slot(rule: SplineSpikeRule, slot: str) -> TraceSplines | None:
    """Return the update of a slot; None where there is none."""
    return rule.on_pre if slot == ON_PRE.name else rule.on_post


def _row(splines: TraceSplines | None, power: int) -> list[float] | None:
    """Coefficients of one curve; None where it is zero or is not there."""
    if splines is None or power >= splines.n_powers or not splines.coefficients[power].any():
        return None
    row: list[float] = splines.coefficients[power].tolist()
    return row
