"""The matrix of comparisons: every compared candidate beside every known rule."""

from __future__ import annotations

from dataclasses import dataclass

from discover.forms import Compared, Evidence
from discover.report.reading import Run
from discover.report.style import BLUE

__all__ = ["MatrixCell", "MatrixRow", "matrix_columns", "matrix_rows"]

_MARKS = {
    "same up to scale": "=",
    "same terms": "≅",
    "extra terms": "+",
    "missing terms": "−",
    "behaves alike": "≈",
}
"""Verdict -> its sign; anything else has none."""

_DARKEST = 0.5
"""Share of blue in the colour of equal rules; dark text stays readable on it."""


_SMALLEST = 1e-9
"""Distances below are those of equal updates, computed in floating point."""


@dataclass(frozen=True)
class MatrixCell:
    """One candidate beside one known rule.

    Attributes
    ----------
    functional : float or None
        1 − cos² of the angle between the updates on the same states.
    verdict : str
    mark : str
        The verdict as a sign; empty for rules that are different.
    tint : str
        Colour of the cell, from white for orthogonal updates to blue for equal ones.
    """

    functional: float | None
    verdict: str
    mark: str
    tint: str


@dataclass(frozen=True)
class MatrixRow:
    """A compared candidate; a cell is None where it was not compared with that rule."""

    id: str
    nearest: str | None
    cells: tuple[MatrixCell | None, ...]


def matrix_columns(run: Run) -> list[str]:
    """Return the names of the known rules that any candidate was compared with."""
    return list(dict.fromkeys(name for one in _ordered(run).values() for name in one.distances))


def matrix_rows(run: Run) -> list[MatrixRow]:
    """Return the compared candidates, the chosen one first, then simplest first."""
    columns = matrix_columns(run)
    return [
        MatrixRow(candidate, one.nearest, tuple(_cell(one, name) for name in columns))
        for candidate, one in _ordered(run).items()
    ]


def _ordered(run: Run) -> dict[str, Compared]:
    ids = [run.front.chosen.id, *(one.id for one in run.front.candidates)]
    return {
        name: run.comparison.candidates[name]
        for name in dict.fromkeys(ids)
        if name in run.comparison.candidates
    }


def _cell(comparison: Compared, name: str) -> MatrixCell | None:
    distances = comparison.distances.get(name)
    if distances is None:
        return None
    verdict = comparison.evidence.get(name, Evidence()).verdict
    if not verdict and name == comparison.nearest:
        verdict = comparison.verdict
    functional = distances.functional
    if functional is not None and abs(functional) < _SMALLEST:
        functional = 0.0
    return MatrixCell(functional, verdict, _MARKS.get(verdict, ""), _tint(functional))


def _tint(distance: float | None) -> str:
    """Return the colour of a distance.

    Examples
    --------
    >>> _tint(0.0), _tint(0.5), _tint(1.0), _tint(None)
    ('#80b8d8', '#bfdcec', '#ffffff', '#ffffff')
    """
    share = 0.0 if distance is None else _DARKEST * (1 - min(max(distance, 0.0), 1.0))
    channels = [int(BLUE[at : at + 2], 16) for at in (1, 3, 5)]
    return "#" + "".join(f"{round(255 + share * (channel - 255)):02x}" for channel in channels)
