"""How the command line shows what it found: digits of numbers, width of lines, colour, tables.

A terminal gets lines that are broken between words at its width, and colour. A pipe and a file get whole
lines without colour, which other programs can read.
"""

from __future__ import annotations

import os
import shutil
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

import typer

from discover.checked import printable
from discover.shown import short_numbers

if TYPE_CHECKING:
    from discover.intervals import Metric

__all__ = ["ARROW", "DIGITS", "PLAIN", "Look"]

DIGITS = 4
"""Significant digits of every number that is printed, unless the user says otherwise."""

ROUNDING = 1e-15
"""A smaller number is what rounding left of a difference of equal numbers, and is printed as 0."""

ARROW = "-->"
"""Stands in front of the chosen rule."""

_GAP = 2
_NARROWEST = 20
"""A column of text is not made narrower than this for others to fit, or than its longest text."""
_HANGING = 4
"""Lines that go on are set in by so much."""

_STYLES: Mapping[str, Mapping[str, str | bool]] = {
    ARROW: {"fg": "green", "bold": True},
    "passed": {"fg": "green"},
    "finished": {"fg": "green"},
    "up to date": {"fg": "green"},
    "undecided": {"fg": "yellow"},
    "interrupted": {"fg": "yellow"},
    "may run": {"fg": "yellow"},
    "running": {"fg": "cyan"},
    "will run": {"fg": "cyan"},
    "failed": {"fg": "red"},
    "damaged": {"fg": "red"},
}
"""What a cell says -> how it is coloured."""


@dataclass(frozen=True)
class Look:
    """How things are shown.

    Parameters
    ----------
    digits : int
        Significant digits of numbers.
    width : int, optional
        Characters of a line; without it lines are as long as what they say.
    colour : bool
        Whether the terminal's colours are used.
    """

    digits: int = DIGITS
    width: int | None = None
    colour: bool = False

    @classmethod
    def of(cls, stream: TextIO, digits: int = DIGITS) -> Look:
        """Return how things are shown on a stream: plainly unless it is a terminal.

        With ``NO_COLOR`` in the environment, or on a terminal that calls itself ``dumb``, there is no colour.
        """
        if not stream.isatty():
            return cls(digits)
        colour = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        return cls(digits, shutil.get_terminal_size().columns, colour)

    def number(self, value: float | None) -> str:
        """Return a number; a dash where there is none.

        Examples
        --------
        >>> Look().number(0.123456), Look(2).number(0.123456), Look().number(None), Look(2).number(1024)
        ('0.1235', '0.12', '-', '1024')
        >>> Look().number(-6.505e-19)
        '0'
        """
        if value is None:
            return "-"
        if not isinstance(value, float):
            return str(value)
        return "0" if abs(value) < ROUNDING else f"{value:.{self.digits}g}"

    def reach(self, low: float | None, high: float | None) -> str:
        """Return a range.

        Examples
        --------
        >>> Look().reach(0.25, 0.5)
        '0.25 to 0.5'
        """
        return "-" if low is None or high is None else f"{self.number(low)} to {self.number(high)}"

    def interval(self, metric: Metric | None) -> str:
        """Return a mean with its interval, as far as they are known.

        Examples
        --------
        >>> from discover.intervals import Metric
        >>> Look(2).interval(Metric(0.123, 0.0991, 0.2)), Look().interval(Metric(1.5, None, None))
        ('0.12 (0.099 to 0.2)', '1.5')
        """
        from discover.intervals import interval_text

        return interval_text(metric, digits=self.digits)

    def rounded(self, text: str) -> str:
        """Return a text, such as a rule, with its numbers in these digits.

        Examples
        --------
        >>> Look().rounded("0.39538885431801913*x*y - 2.0*w*y**2")
        '0.3954*x*y - 2*w*y**2'
        """
        return short_numbers(text, self.digits)

    def prose(self, text: str) -> str:
        """Return text whose lines are broken between words; what a line begins with is kept in front.

        Examples
        --------
        >>> print(Look(width=20).prose("the chosen rule equals Oja's"))
        the chosen rule
            equals Oja's
        """
        text = printable(text)
        if self.width is None:
            return text
        width = max(self.width, _NARROWEST)
        return "\n".join(
            line
            if len(line) <= width
            else textwrap.fill(
                line,
                width,
                subsequent_indent=" " * (len(line) - len(line.lstrip(" ")) + _HANGING),
                break_on_hyphens=False,
                break_long_words=False,
            )
            for line in text.split("\n")
        )

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[object]], n_keys: int = 0) -> str:
        """Return an aligned table; numbers stand on the right, text on the left.

        Where it is wider than a line, columns of text are made narrower. Where that is not enough and there
        are columns that name a row, other columns go into further tables below, each with these names.

        Parameters
        ----------
        columns : sequence of str
            Headings.
        rows : sequence of sequences
            Cells; None is a dash.
        n_keys : int
            How many of the first columns name a row.

        Examples
        --------
        >>> print(Look().table(["rule", "loss"], [["x*y", 0.25], ["x*y - w*y**2", 0.0125]]))
        rule            loss
        x*y             0.25
        x*y - w*y**2  0.0125
        >>> print(Look(width=18).table(["fold", "loss", "cosine"], [["a", 0.5, 1.0], ["b", None, 0.5]], 1))
        fold  loss  cosine
        a      0.5       1
        b        -     0.5
        """
        made = [
            _Column.of(heading, [row[number] for row in rows], self) for number, heading in enumerate(columns)
        ]
        return "\n\n".join(self._part(part, len(rows)) for part in _parts(made, n_keys, self.width))

    def _part(self, columns: Sequence[_Column], n_rows: int) -> str:
        widths = _widths(columns, self.width)
        pairs = list(zip(columns, widths, strict=True))
        lines = self._lines([column.broken(column.heading, width) for column, width in pairs], pairs, True)
        for number in range(n_rows):
            cells = [column.broken(column.cells[number], width) for column, width in pairs]
            lines += self._lines(cells, pairs, columns[0].cells[number] == ARROW)
        return "\n".join(lines)

    def _lines(
        self, cells: Sequence[list[str]], pairs: Sequence[tuple[_Column, int]], bold: bool
    ) -> list[str]:
        lines = []
        for number in range(max(map(len, cells))):
            parts = []
            for cell, (column, width) in zip(cells, pairs, strict=True):
                text = cell[number] if number < len(cell) else ""
                padded = text.rjust(width) if column.is_right else text.ljust(width)
                parts.append(self._styled(padded, bold))
            lines.append((" " * _GAP).join(parts).rstrip())
        return lines

    def _styled(self, text: str, bold: bool) -> str:
        if not self.colour:
            return text
        stripped = text.rstrip()
        style = {**({"bold": True} if bold else {}), **_STYLES.get(stripped.lstrip(), {})}
        if not stripped or not style:
            return text
        return typer.style(stripped, **style) + text[len(stripped) :]  # type: ignore[arg-type]

    def alarmed(self, text: str) -> str:
        """Return an error: its first word in red, lines broken between words; lines that are set in stay."""
        first, *others = printable(text).split("\n")
        lines = [*self.prose(first).split("\n"), *others]
        if self.colour:
            word, _, rest = lines[0].partition(" ")
            lines[0] = f"{typer.style(word, fg='red', bold=True)} {rest}"
        return "\n".join(lines)


PLAIN = Look()
"""For a pipe, a file, a notebook."""


@dataclass(frozen=True)
class _Column:
    heading: str
    cells: tuple[str, ...]
    is_right: bool

    @classmethod
    def of(cls, heading: str, values: Sequence[object], look: Look) -> _Column:
        is_right = all(map(_is_number, values)) and any(value is not None for value in values)
        return cls(printable(heading), tuple(_cell(value, look) for value in values), is_right)

    @property
    def natural(self) -> int:
        return max(map(len, (self.heading, *self.cells)))

    @property
    def least(self) -> int:
        """Numbers are never broken, words only where they are longer than any column should be."""
        words = max((len(word) for word in self.heading.split()), default=0)
        if self.is_right:
            return max([words, *map(len, self.cells)])
        return min(self.natural, max(_NARROWEST, words))

    def broken(self, text: str, width: int) -> list[str]:
        """Return the lines of a cell."""
        if len(text) <= width:
            return [text]
        return textwrap.wrap(text, max(width, 1), break_on_hyphens=False)


def _parts(columns: Sequence[_Column], n_keys: int, width: int | None) -> list[Sequence[_Column]]:
    """Divide columns into tables that fit a line, each with the columns that name a row."""
    keys, others = columns[:n_keys], columns[n_keys:]
    if width is None or not keys:
        return [columns]
    parts: list[Sequence[_Column]] = []
    taken: list[_Column] = []
    for column in others:
        if taken and _total([*keys, *taken, column]) > width:
            parts.append([*keys, *taken])
            taken = []
        taken.append(column)
    return [*parts, [*keys, *taken]]


def _total(columns: Sequence[_Column]) -> int:
    return sum(column.least for column in columns) + _GAP * (len(columns) - 1)


def _widths(columns: Sequence[_Column], width: int | None) -> list[int]:
    """Take from the widest column, one character after the other, until the line is full."""
    widths = [column.natural for column in columns]
    if width is None:
        return widths
    while sum(widths) + _GAP * (len(widths) - 1) > width:
        wide = [number for number, column in enumerate(columns) if widths[number] > column.least]
        if not wide:
            break
        widths[max(wide, key=lambda number: widths[number])] -= 1
    return widths


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _cell(value: object, look: Look) -> str:
    if value is None or isinstance(value, float):
        return look.number(value)
    return " ".join(printable(str(value)).split("\n"))
