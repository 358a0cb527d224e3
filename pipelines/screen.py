"""A screen of rules as files: a table that grows by a row a quartet, its counts, and figures.

A screen that was cut off goes on behind the last whole row. One that is asked for more quartets adds them.
"""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from discover.checked import open_plain, parse_json, read_plain, shortened
from discover.errors import ArtefactError
from discover.progress import Progress
from discover.screen import CLASSES, PARAMETERS, Screen, class_shares, columns_of, run_screen
from discover.tasks.memory_measures import MemorySettings
from pipelines import artefacts
from pipelines.config import validated
from pipelines.look import PLAIN, Look
from pipelines.runs import locked, refuse_link

__all__ = [
    "SCREENS",
    "ScreenFiles",
    "asked_of",
    "counts_as_text",
    "read_table",
    "run_and_write",
    "stable_quartets",
]

SCREENS = "screens"
"""Folder of all screens among the results."""

MAX_BYTES = 256_000_000
TEXTS = ("class", "criterion", "projection")
"""Columns that hold words; all others hold numbers, or nothing."""


@dataclass(frozen=True)
class ScreenFiles:
    """A screen and where it lands.

    Parameters
    ----------
    screen : Screen
    folder : Path
    source : str
        Where quartets come from that were not drawn: the checksum of their table; empty for drawn ones.
    """

    screen: Screen
    folder: Path
    source: str = ""

    @property
    def table(self) -> Path:
        """The table of all quartets."""
        return self.folder / "screen.csv"

    @property
    def request(self) -> dict[str, Any]:
        """What the rows depend on; the number of quartets is not part of it."""
        settings = {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(self.screen.settings).items()
        }
        return {
            "settings": settings, "seed": self.screen.seed, "active": list(self.screen.active),
            "source": self.source,
        }  # fmt: skip


def run_and_write(
    files: ScreenFiles, progress: Progress, note: Callable[[str], None], jobs: int = 1, update: bool = False
) -> list[dict[str, Any]]:
    """Run the quartets that the table lacks; write ``screen.csv``, ``screen.json`` and figures.

    Parameters
    ----------
    files : ScreenFiles
    progress : callable
    note : callable
        Is told how many quartets the table has already.
    jobs : int
        Quartets at a time on this machine.
    update : bool
        Whether to begin anew, whatever is there.

    Returns
    -------
    list of dict
        Classes and criteria with their shares, see :func:`discover.screen.class_shares`.

    Raises
    ------
    ArtefactError
        If a file cannot be written or read, or a screen with other settings would be overwritten.
    ClusterLost
        If the cluster is lost; rows that came back are kept.
    """
    from discover.report.screen import write_figures

    for folder in (files.folder.parent, files.folder):
        refuse_link(folder)
    about = files.folder / "screen.json"
    with locked(files.folder):
        artefacts.remove_leftovers(files.folder)
        refuse_link(files.table)
        if update:
            files.table.unlink(missing_ok=True)
        elif _asked_before(about) not in (None, files.request):
            raise ArtefactError(
                f"{files.folder} holds a screen with other settings, and is left as it is. To keep both, "
                "choose another folder with --results DIR. To replace it, add --update."
            )
        artefacts.write_text(about, artefacts.to_text({"request": files.request}))
        columns, wanted = columns_of(files.screen.settings), set(files.screen.numbers)
        rows = {int(row["rule"]): row for row in _kept(files.table, columns)}
        n_before = len(wanted & rows.keys())
        if n_before:
            note(f"{n_before} of {len(wanted)} quartets are in the table already")
        with _Appended(files.table, columns) as table:

            def arrived(row: Mapping[str, Any]) -> None:
                rows[int(row["rule"])] = dict(row)
                table.add(row)
                n_done = len(wanted & rows.keys())
                progress(n_done / len(wanted), f"{n_done} of {len(wanted)} quartets: {row['class']}")

            run_screen(files.screen, set(rows), arrived, jobs)
        ordered = [rows[number] for number in sorted(rows)]
        artefacts.write_csv(files.table, ordered)
        counts = class_shares(ordered)
        artefacts.write_text(about, artefacts.to_text({"request": files.request, "counts": counts}))
        write_figures(files.folder, ordered, files.screen.settings)
    return counts


def read_table(path: Path) -> list[dict[str, Any]]:
    """Read a table of quartets; numbers are checked and turned into numbers.

    Raises
    ------
    ArtefactError
        If it cannot be read or is no such table.
    """
    try:
        text = read_plain(path, MAX_BYTES).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ArtefactError(f"{path} cannot be read: {error}.") from None
    return _parsed(path, text)


def asked_of(table: Path) -> Screen:
    """Return what the screen of a table was asked, from ``screen.json`` beside it; without its quartets.

    Raises
    ------
    ArtefactError, ConfigError
        If there is no such file, or it is damaged.
    """
    about = table.with_name("screen.json")
    request = _asked_before(about)
    if not request:
        raise ArtefactError(
            f"{about} is missing: it says under which settings the quartets of {table.name} ran, and new "
            "ones have to run under the same. `discover screen` writes both files."
        )
    settings = validated(MemorySettings, request.get("settings", {}), "settings", str(about))
    try:
        return Screen(settings, 0, int(request["seed"]), tuple(map(str, request["active"])))
    except (KeyError, TypeError, ValueError):
        raise ArtefactError(f"{about} is damaged: it lacks the seed or the projections.") from None


def stable_quartets(rows: Sequence[Mapping[str, Any]]) -> dict[int, Any]:
    """Return the parameters of the stable quartets of a table by their numbers."""
    return {
        int(row["rule"]): np.array([row[name] for name in PARAMETERS])
        for row in rows
        if row["class"] != "unstable"
    }


def counts_as_text(counts: Sequence[Mapping[str, Any]], look: Look = PLAIN) -> str:
    """Return shares with their intervals as a table of plain text."""
    rows = [[row["class"], row["n"], row["share"], look.reach(row["low"], row["high"])] for row in counts]
    return look.table(["class", "n", "share", "95 % interval"], rows)


def _asked_before(path: Path) -> dict[str, Any] | None:
    """Return what the screen of a folder was asked; None where there is none."""
    if not os.path.lexists(path):
        return None
    try:
        content = parse_json(read_plain(path, MAX_BYTES))
        request = content["request"]
    except (OSError, ValueError, KeyError, TypeError):
        raise ArtefactError(f"{path} is damaged. To begin anew, add --update.") from None
    return request if isinstance(request, dict) else {}


def _kept(path: Path, columns: Sequence[str]) -> list[dict[str, Any]]:
    """Return the whole rows of a table, and cut off a line that was not written to its end."""
    if not os.path.lexists(path):
        return []
    try:
        data = read_plain(path, MAX_BYTES)
        whole = data[: data.rfind(b"\n") + 1]
        if whole != data:
            with os.fdopen(open_plain(path, os.O_RDWR), "r+b") as file:
                file.truncate(len(whole))
        text = whole.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ArtefactError(f"{path} cannot be read: {error}.") from None
    rows = _parsed(path, text) if whole else []
    if rows and list(rows[0]) != list(columns):
        raise ArtefactError(
            f"{path} is damaged: its columns are not those of this screen. To begin anew, add --update."
        )
    return rows


def _parsed(path: Path, text: str) -> list[dict[str, Any]]:
    reader = csv.DictReader(io.StringIO(text))
    missing = [name for name in ("rule", "class", *PARAMETERS) if name not in (reader.fieldnames or ())]
    if missing:
        raise ArtefactError(f"{path} is no table of a screen: it has no column {missing[0]}.")
    rows = []
    for line, row in enumerate(reader, 2):
        try:
            rows.append({name: _value(name, text) for name, text in row.items()})
        except (TypeError, ValueError) as error:
            raise ArtefactError(f"{path}, line {line}: {shortened(str(error), 120)}.") from None
    return rows


def _value(name: str, text: Any) -> Any:
    """Return a cell of a table as what it means."""
    if not isinstance(name, str) or not isinstance(text, str):
        raise ValueError("a row is as long as the head of the table")
    if name in TEXTS:
        if name == "class" and text not in CLASSES:
            raise ValueError(f"there is no class {text[:40]!r}")
        return text
    if name == "rule":
        return int(text)
    if not text and name not in PARAMETERS:
        return ""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{name} is a finite number, got {text[:40]!r}")
    return value


class _Appended:
    """A table to which rows are added; each is on the disk before the next one comes."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self._path, self._columns = path, columns

    def __enter__(self) -> _Appended:
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            self._file = os.fdopen(open_plain(self._path, flags), "a", encoding="utf-8", newline="")
        except OSError as error:
            artefacts.unwritable(self._path, error)
        self._writer = csv.DictWriter(self._file, self._columns, lineterminator="\n")
        if self._file.tell() == 0:
            self._writer.writeheader()
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, row: Mapping[str, Any]) -> None:
        try:
            self._writer.writerow(row)
            self._file.flush()
        except OSError as error:
            artefacts.unwritable(self._path, error)
