"""What a front of a rule from recorded data has besides what all fronts have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from discover.inference.verdict import Verdict
from discover.pareto import Candidate, ParetoFront
from discover.stored import Count, Stored, left_out

__all__ = ["Recorded", "RecordedCandidate", "RecordedFront"]


@dataclass(frozen=True, kw_only=True)
class RecordedCandidate(Candidate):
    """A candidate with the units of its constants, where units are known; None where nothing says one."""

    constant_units: Annotated[tuple[str | None, ...] | None, left_out] = None


@dataclass(frozen=True, kw_only=True)
class Recorded(Stored):
    """What is said of the data.

    Attributes
    ----------
    quantity : str
        What the rule gives.
    units : mapping from str to str
        Of the variables, where units are known.
    target_unit : str
    recordings : tuple of str
    groups_stated : bool
        Whether the table names recordings; else blocks of rows stand for them.
    kept : tuple of str
        Recordings that were kept out of the search.
    n_rows, n_equations : int
        Rows of the table, and equations of the weak form.
    window : float or None
        Width of its test functions.
    verdict : Verdict or None
    """

    quantity: str
    units: Mapping[str, str] = field(default_factory=dict)
    target_unit: str = ""
    recordings: tuple[str, ...]
    groups_stated: bool
    kept: tuple[str, ...] = ()
    n_rows: Count
    n_equations: Count = 0
    window: float | None = None
    verdict: Verdict | None = None


@dataclass(frozen=True, kw_only=True)
class RecordedFront(ParetoFront):
    """``front.json`` of recorded data."""

    candidates: tuple[RecordedCandidate, ...]
    recorded: Recorded
