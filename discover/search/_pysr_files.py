"""The files of a PySR search: its front, read with the project's own parser and without Julia.

PySR's own ``checkpoint.pkl`` is a pickle and is never read.
"""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from discover.checked import parse_json, read_plain
from discover.errors import EngineError, RuleError
from discover.expression import Node, parse

__all__ = ["HALL_OF_FAME", "SearchFolder", "read_hall_of_fame"]

HALL_OF_FAME = "hall_of_fame.csv"
EARLIER = "earlier.csv"
FINISHED = "finished.json"
SCHEMA = "plasticity-discovery/pysr/1"

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
    best = [tree for _, tree in max(fronts, key=len)]
    if not best:
        raise EngineError(f"No line of {folder / HALL_OF_FAME} is an expression that can be read.")
    return best


class SearchFolder:
    """Files of one search, which a later run finds again.

    Parameters
    ----------
    folder : Path
        PySR's ``output_directory``.
    question : str
        What the search depends on: a checksum of settings, seed, samples and version.

    Raises
    ------
    EngineError
        If the folder, or that of this search, is a symbolic link.
    """

    def __init__(self, folder: Path, question: str) -> None:
        self.run_id = f"search-{question[:24]}"
        self.path = folder / self.run_id
        self._question = question
        for path in (folder, self.path):
            if path.is_symlink():
                raise EngineError(f"{path} is a symbolic link; PySR's files are not written through one.")

    def finished(self, variables: Sequence[str]) -> list[Node] | None:
        """Return the front of a search that was finished; None where none was, or a file was changed."""
        try:
            note = parse_json(read_plain(self.path / FINISHED, _MAX_BYTES))
            if note != self._note():
                return None
            return self.front(variables)
        except (OSError, ValueError, EngineError):
            return None

    def begin(self, keep: bool, variables: Sequence[str]) -> list[str]:
        """Make room for a search; return what one that was cut off had found, as PySR wrote it.

        Parameters
        ----------
        keep : bool
            Whether what it had found counts; otherwise it is removed.
        variables : sequence of str
        """
        names = (EARLIER, HALL_OF_FAME, f"{HALL_OF_FAME}.bak")
        found = dict.fromkeys(line for name in names for line in self._lines(name, variables))
        if self.path.exists():
            shutil.rmtree(self.path)
        self.path.mkdir(parents=True)
        if not keep or not found:
            return []
        text = "".join(f"0,0,{_quoted(line)}\n" for line in found)
        (self.path / EARLIER).write_text(f"Complexity,Loss,Equation\n{text}", encoding="utf-8")
        return list(found)

    def front(self, variables: Sequence[str]) -> list[Node]:
        """Return the expressions of the search and of the one that it continued.

        Raises
        ------
        EngineError
            If there is none.
        """
        earlier = [parse(line, variables) for line in self._lines(EARLIER, variables)]
        return [*read_hall_of_fame(self.path, variables), *earlier]

    def finish(self) -> None:
        """Note that the search came to its end."""
        temporary = self.path / f".{FINISHED}.tmp"
        temporary.write_text(json.dumps(self._note()), encoding="utf-8")
        temporary.replace(self.path / FINISHED)

    def _note(self) -> dict[str, str]:
        digest = hashlib.sha256()
        for name in (HALL_OF_FAME, f"{HALL_OF_FAME}.bak", EARLIER):
            if (self.path / name).exists():
                digest.update(read_plain(self.path / name, _MAX_BYTES))
            digest.update(b"|")
        return {"schema": SCHEMA, "question": self._question, "files": digest.hexdigest()}

    def _lines(self, name: str, variables: Sequence[str]) -> list[str]:
        file = self.path / name
        return [line for line, _ in _expressions(file, variables)] if file.is_file() else []


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _expressions(file: Path, variables: Sequence[str]) -> list[tuple[str, Node]]:
    text = read_plain(file, _MAX_BYTES).decode("utf-8", errors="replace")
    found = (_expression(line, variables) for line in text.splitlines(keepends=True)[1:])
    return [one for one in found if one is not None]


def _expression(line: str, variables: Sequence[str]) -> tuple[str, Node] | None:
    """Read ``complexity,loss,"equation"``; None where the line is cut off or is no rule."""
    if not line.endswith("\n"):
        return None
    try:
        row = next(csv.reader([line], strict=True))
        return (row[-1], parse(row[-1], variables)) if len(row) == _N_COLUMNS else None
    except (csv.Error, StopIteration, RuleError):
        return None
