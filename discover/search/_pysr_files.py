"""Reading the front that PySR writes, with the project's own parser and without Julia."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from discover.errors import EngineError, RuleError
from discover.expression import Node, parse

__all__ = ["HALL_OF_FAME", "read_hall_of_fame"]

HALL_OF_FAME = "hall_of_fame.csv"

_N_COLUMNS = 3
_MAX_BYTES = 10_000_000


def read_hall_of_fame(folder: Path, variables: Sequence[str]) -> list[Node]:
    """Return the expressions of a run's folder.

    PySR writes ``hall_of_fame.csv`` and then the same to ``hall_of_fame.csv.bak``; while it runs, either may
    be half written. Lines that are not complete are left out, and the file with more complete lines is taken.

    Parameters
    ----------
    folder : Path
    variables : sequence of str
        Names in the file, such as ``x0``.

    Raises
    ------
    EngineError
        If there is no such file or no line of it can be read.
    """
    files = [folder / HALL_OF_FAME, folder / f"{HALL_OF_FAME}.bak"]
    fronts = [_expressions(file, variables) for file in files if file.is_file()]
    if not fronts:
        raise EngineError(f"PySR left no {HALL_OF_FAME} in {folder}; it ended before its first iteration.")
    best = max(fronts, key=len)
    if not best:
        raise EngineError(f"No line of {folder / HALL_OF_FAME} is an expression that can be read.")
    return best


def _expressions(file: Path, variables: Sequence[str]) -> list[Node]:
    with file.open("rb") as stream:
        text = stream.read(_MAX_BYTES).decode("utf-8", errors="replace")
    found = []
    for line in text.splitlines(keepends=True)[1:]:
        tree = _expression(line, variables)
        if tree is not None:
            found.append(tree)
    return found


def _expression(line: str, variables: Sequence[str]) -> Node | None:
    """Read ``complexity,loss,"equation"``; None where the line is cut off or is no rule."""
    if not line.endswith("\n"):
        return None
    try:
        row = next(csv.reader([line], strict=True))
        return parse(row[-1], variables) if len(row) == _N_COLUMNS else None
    except (csv.Error, StopIteration, RuleError):
        return None
