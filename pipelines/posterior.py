"""A posterior as files: a table of simulations that grows batch by batch, samples, and what they say.

A posterior that was cut off goes on behind the last whole batch of its table.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from discover.checked import open_plain, parse_json, read_plain, shortened
from discover.errors import ArtefactError
from discover.posterior.prior import Family
from discover.posterior.rounds import Batch, Budget
from discover.posterior.simulations import BATCH, Condition
from pipelines import artefacts
from pipelines.runs import refuse_link

__all__ = ["FOLDER", "FRESH", "BatchTable", "PosteriorFiles"]

FOLDER = "posterior"
"""Folder of a run in which its posterior lands."""

FRESH = "fresh"
"""Folder within it, of samples of a screen's posterior that were simulated anew."""

MAX_BYTES = 256_000_000
COLUMNS = ("batch", "stage", "passed", "loss")


@dataclass(frozen=True)
class PosteriorFiles:
    """Where a posterior lands, and what its simulations depend on.

    Parameters
    ----------
    folder : Path
        Of the run.
    family : Family
    condition : Condition
    budget : Budget
    request : mapping
        What else the simulations depend on: task, seed and code.
    """

    folder: Path
    family: Family
    condition: Condition
    budget: Budget
    request: Mapping[str, Any]

    @property
    def place(self) -> Path:
        """Its folder."""
        return self.folder / FOLDER

    @property
    def table(self) -> Path:
        """The table of simulations."""
        return self.place / "simulations.csv"

    @property
    def about(self) -> Path:
        """What the simulations were asked."""
        return self.place / "simulations.json"

    def asked(self) -> dict[str, Any]:
        """Return what the rows of the table depend on, as JSON holds it."""
        settings = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self.condition.settings).items()
        }
        tolerances = {
            name: [_finite(low), _finite(high)] for name, (low, high) in self.condition.tolerances.items()
        }
        budget = asdict(self.budget)
        asked = {
            **self.request,
            "family": self.family.to_json(),
            "settings": settings,
            "tolerances": tolerances,
            "n_problems": self.condition.n_problems,
            "rounds": [budget["n_prior"], budget["n_round"]],
        }
        # Read again, so that a tuple is the list that the file holds.
        found: dict[str, Any] = json.loads(artefacts.to_text(asked))
        return found

    def begin(self, update: bool) -> None:
        """Make the folder ready.

        Parameters
        ----------
        update : bool
            Whether to begin anew, whatever is there.

        Raises
        ------
        ArtefactError
            If there are simulations of something else, or a file cannot be written.
        """
        refuse_link(self.place)
        for path in (self.table, self.about):
            refuse_link(path)
        try:
            self.place.mkdir(exist_ok=True)
        except OSError as error:
            artefacts.unwritable(self.place, error)
        if update:
            self.table.unlink(missing_ok=True)
        elif os.path.lexists(self.table) and _asked_before(self.about) != self.asked():
            raise ArtefactError(
                f"{self.place} holds simulations of another family, task, seed or code, and is left as "
                "it is. To "
                "keep both, choose another folder with --results DIR. To replace it, add --update."
            )
        artefacts.write_text(self.about, artefacts.to_text(self.asked()))


class BatchTable:
    """The table of simulations; every batch is on the disk before the next one comes.

    Parameters
    ----------
    path : Path
    family : Family

    Attributes
    ----------
    kept : dict from int to Batch
        What an earlier computation had.
    """

    def __init__(self, path: Path, family: Family) -> None:
        self._path = path
        self._columns = [*COLUMNS, *family.names]
        self.kept = self._read()

    def __enter__(self) -> BatchTable:
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            self._file = os.fdopen(open_plain(self._path, flags), "a", encoding="utf-8", newline="")
            if self._file.tell() == 0:
                self._write([self._columns])
        except OSError as error:
            artefacts.unwritable(self._path, error)
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, batch: Batch) -> None:
        """Write a batch."""
        rows = [
            [batch.number, batch.stage, int(passed), repr(float(loss)), *map(repr, values.tolist())]
            for values, passed, loss in zip(batch.values, batch.passed, batch.loss, strict=True)
        ]
        try:
            self._write(rows)
        except OSError as error:
            artefacts.unwritable(self._path, error)

    def _write(self, rows: Sequence[Sequence[Any]]) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        self._file.write(text.getvalue())
        self._file.flush()

    def _read(self) -> dict[int, Batch]:
        if not os.path.lexists(self._path):
            return {}
        try:
            text = read_plain(self._path, MAX_BYTES).decode()
        except (OSError, UnicodeDecodeError) as error:
            raise ArtefactError(f"{self._path} cannot be read: {error}.") from None
        whole = text[: text.rfind("\n") + 1]
        lines = list(csv.reader(io.StringIO(whole)))
        if lines and lines[0] != self._columns:
            raise ArtefactError(
                f"{self._path} is damaged: its columns are not those of this family. To begin anew, add "
                "--update."
            )
        rows = [self._row(number, line) for number, line in enumerate(lines[1:], 2)]
        by_batch: dict[int, list[list[float]]] = {}
        for row in rows:
            by_batch.setdefault(int(row[0]), []).append(row)
        kept = {number: _batch(found) for number, found in by_batch.items() if len(found) == BATCH}
        if len(kept) < len(by_batch) or whole != text:
            content = io.StringIO()
            writer = csv.writer(content, lineterminator="\n")
            writer.writerow(self._columns)
            writer.writerows(line for line in lines[1:] if int(line[0]) in kept)
            artefacts.write_text(self._path, content.getvalue())
        return kept

    def _row(self, number: int, line: Sequence[str]) -> list[float]:
        try:
            if len(line) != len(self._columns):
                raise ValueError("a row is as long as the head of the table")
            for text in line[:3]:
                int(text)
            values = [float(text) for text in line]
            if not all(math.isfinite(value) for value in values[:3] + values[4:]):
                raise ValueError("its numbers are finite")
        except ValueError as error:
            raise ArtefactError(
                f"{self._path}, line {number}: {shortened(str(error), 120)}. To begin anew, add --update."
            ) from None
        return values


def _batch(rows: Sequence[Sequence[float]]) -> Batch:
    table = np.array(rows, dtype=np.float64)
    return Batch(int(table[0, 0]), int(table[0, 1]), table[:, 4:], table[:, 2].astype(np.int64), table[:, 3])


def _asked_before(path: Path) -> Any:
    try:
        return parse_json(read_plain(path, MAX_BYTES))
    except (OSError, ValueError):
        return None


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
