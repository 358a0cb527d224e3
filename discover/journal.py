"""A journal of simulations, from which a computation that was cut off is taken up where it stopped.

Everything the outer loop does between two simulations is cheap and follows from its seed. So it is enough to
keep what the simulations (and the engines of the search) gave, in their order: the same computation, started
again, takes those results from the journal, arrives where it was in a moment, and ends with the same numbers
to the last bit as if nothing had happened. No state of an optimiser or of a random generator has to be saved.

Pieces of work that do not depend on each other, such as the restarts of a fit, have a branch of the journal
each: within a branch results are in their order, whoever else writes between them. A piece that runs on
another machine takes the lines of its branch along (:class:`Fragment`) and sends the new ones back.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import json
import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from io import FileIO
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from discover.checked import open_plain
from discover.rule import Rule
from discover.tasks.base import TaskGradient, VisitedStates
from sims.rules import SplineRule
from sims.spike_splines import SplineSpikeRule

__all__ = ["Arrays", "Branch", "Fragment", "Journal", "JournaledTask", "remembered"]

Arrays = Mapping[str, NDArray[Any]]

SCHEMA = "plasticity-discovery/journal/1"
MAX_HEADER = 10_000
DTYPES = ("<f8", "<i8", "|b1", "|u1")
KEY_STARTS = len(b'00000000 {"key":"')


class Recall(Protocol):
    """What keeps results: a journal, a branch of one, or lines of a branch away from their file."""

    def recall(self, name: str, question: bytes, compute: Callable[[], Arrays]) -> Arrays:
        """See :meth:`Journal.recall`."""
        ...


class Journal:
    """Results of calls, in their order, in a file that grows by a line a call.

    A line that was not written to its end, or that was damaged, ends the part that is used. Where the file
    cannot be written nothing more is kept.

    Parameters
    ----------
    path : Path
        Is made when the first result is kept.
    purpose : str
        What the results belong to, such as a digest of settings and code; a journal that was written for
        another purpose is not used.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "journal"
    >>> with Journal(path, "demo") as journal:
    ...     first = journal.recall("sum", b"1, 2", lambda: {"sum": np.array([3.0])})
    >>> with Journal(path, "demo") as journal:
    ...     again = journal.recall("sum", b"1, 2", lambda: {"sum": np.array([0.0])})
    >>> float(again["sum"][0])
    3.0
    """

    def __init__(self, path: Path, purpose: str) -> None:
        self.path = path
        self._header = {"schema": SCHEMA, "purpose": purpose}
        self._file: FileIO | None = None
        self._kept, self._end = self._read()
        self._positions: dict[str, int] = {}
        self._is_full = False

    @property
    def n_kept(self) -> int:
        """Results that were found in the file."""
        return sum(len(starts) for starts in self._kept.values())

    def branch(self, name: str) -> Branch:
        """Return the part of the journal that belongs to one piece of work, such as ``restart 1``."""
        return Branch(self, name)

    def recall(self, name: str, question: bytes, compute: Callable[[], Arrays], branch: str = "") -> Arrays:
        """Return the result of this call: the one that is kept, or else a new one, which is kept.

        Parameters
        ----------
        name : str
        question : bytes
            What the result depends on. Where it is not what the kept result answers, that result and all
            behind it are dropped.
        compute : callable
        branch : str
            Piece of work that asks.
        """
        key = _key(branch, name, question)
        kept, position = self._kept.get(branch, []), self._positions.get(branch, 0)
        if position < len(kept):
            entry = _unpacked(self._line_at(kept[position]))
            if entry is not None and entry[0] == key:
                self._positions[branch] = position + 1
                return entry[1]
            self._cut(kept[position])
        arrays = compute()
        self._keep(_packed(key, arrays))
        return arrays

    def lines(self, branch: str) -> list[bytes]:
        """Return the lines of a branch that were found in the file."""
        return [self._line_at(start) for start in self._kept.get(branch, [])]

    def take(self, branch: str, n_used: int, lines: Sequence[bytes]) -> None:
        """Take up what a piece of work sends back.

        Parameters
        ----------
        branch : str
        n_used : int
            How many of the lines that were found in the file it used; the others are dropped.
        lines : sequence of bytes
            Its new ones.
        """
        kept = self._kept.get(branch, [])
        if n_used < len(kept):
            self._cut(kept[n_used])
        self._positions[branch] = n_used
        for line in lines:
            self._keep(line)

    def remove(self) -> None:
        """Delete the file: what it was kept for is done."""
        self.close()
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self) -> tuple[dict[str, list[int]], int]:
        """Return where sound lines of each branch begin, and where all end; nothing of another's file."""
        starts: dict[str, list[int]] = {}
        try:
            with os.fdopen(open_plain(self.path), "rb") as file:
                header = file.readline(MAX_HEADER)
                if header != _line(self._header):
                    return {}, 0
                end = len(header)
                for line in file:
                    if not _is_sound(line):
                        break
                    starts.setdefault(_branch_of(line), []).append(end)
                    end += len(line)
        except OSError:
            return {}, 0
        return starts, end

    def _cut(self, end: int) -> None:
        """Drop a line and all behind it, of other branches too: a file has no holes."""
        self.close()
        self._kept = {branch: [n for n in starts if n < end] for branch, starts in self._kept.items()}
        self._end = end

    def _keep(self, line: bytes) -> None:
        try:
            self._append(line)
        except OSError:
            self._is_full = True  # The computation goes on; its end will say why it cannot be kept.

    def _line_at(self, start: int) -> bytes:
        with self.path.open("rb") as file:
            file.seek(start)
            return file.readline()

    def _append(self, line: bytes) -> None:
        if self._is_full:
            return
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # A link could lead to a file that is not the run's. No buffer: what could not be written must not
            # be tried again when the file is closed.
            flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
            self._file = os.fdopen(open_plain(self.path, flags), "r+b", buffering=0)
            self._file.truncate(self._end)
            self._file.seek(self._end)
            if self._end == 0:
                self._write(_line(self._header))
        self._write(line)

    def _write(self, line: bytes) -> None:
        assert self._file is not None
        if self._file.write(line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._end += len(line)


class Branch:
    """The part of a journal that belongs to one piece of work.

    Parameters
    ----------
    journal : Journal
    name : str
    """

    def __init__(self, journal: Journal, name: str) -> None:
        self.name = name
        self._journal = journal

    def recall(self, name: str, question: bytes, compute: Callable[[], Arrays]) -> Arrays:
        """See :meth:`Journal.recall`."""
        return self._journal.recall(name, question, compute, self.name)

    def lines(self) -> list[bytes]:
        """See :meth:`Journal.lines`."""
        return self._journal.lines(self.name)

    def take(self, n_used: int, lines: Sequence[bytes]) -> None:
        """See :meth:`Journal.take`."""
        self._journal.take(self.name, n_used, lines)


class Fragment:
    """Lines of a branch away from their file: what a worker recalls from, and what it adds.

    Parameters
    ----------
    branch : str
    lines : sequence of bytes
        What the branch held.

    Attributes
    ----------
    n_used : int
        How many of these were used.
    added : list of bytes
        The new ones.
    """

    def __init__(self, branch: str, lines: Sequence[bytes]) -> None:
        self.n_used = 0
        self.added: list[bytes] = []
        self._branch = branch
        self._lines = list(lines)

    def recall(self, name: str, question: bytes, compute: Callable[[], Arrays]) -> Arrays:
        """See :meth:`Journal.recall`."""
        key = _key(self._branch, name, question)
        if self.n_used < len(self._lines):
            entry = _unpacked(self._lines[self.n_used])
            if entry is not None and entry[0] == key:
                self.n_used += 1
                return entry[1]
            self._lines = self._lines[: self.n_used]
        arrays = compute()
        self.added.append(_packed(key, arrays))
        return arrays


def _key(branch: str, name: str, question: bytes) -> str:
    key = f"{name} {hashlib.blake2b(question, digest_size=16).hexdigest()}"
    return f"{branch}/{key}" if branch else key


def _branch_of(line: bytes) -> str:
    key = line[KEY_STARTS : line.find(b'"', KEY_STARTS)]
    return key.rpartition(b"/")[0].decode(errors="replace")


def _line(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode() + b"\n"


def _packed(key: str, arrays: Arrays) -> bytes:
    """Return a line with its checksum in front."""
    content = {}
    for name, array in arrays.items():
        plain = np.ascontiguousarray(array)
        plain = plain.astype(plain.dtype.newbyteorder("<"))
        content[name] = [plain.dtype.str, list(array.shape), base64.b64encode(plain.tobytes()).decode()]
    body = _line({"key": key, "arrays": content})
    return f"{zlib.crc32(body):08x} ".encode() + body


def _is_sound(line: bytes) -> bool:
    return line.endswith(b"\n") and line[:9] == f"{zlib.crc32(line[9:]):08x} ".encode()


def _unpacked(line: bytes) -> tuple[str, dict[str, NDArray[Any]]] | None:
    """Return a line's key and arrays; None where it does not hold what it should."""
    try:
        entry = json.loads(line[9:])
        arrays = {}
        for name, (dtype, shape, text) in entry["arrays"].items():
            if dtype not in DTYPES:
                return None
            arrays[name] = np.frombuffer(base64.b64decode(text), dtype=dtype).reshape(shape).copy()
        return str(entry["key"]), arrays
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        return None


def remembered(
    task: Any, name: str, problems: Any, question: tuple[Any, ...], compute: Callable[[Any], Arrays]
) -> Arrays:
    """Return what `compute` gives for a task, from its journal if it has one.

    For results that say less than all simulations behind them, which then are not kept.

    Parameters
    ----------
    task : Task or JournaledTask
    name : str
    problems : Problems or None
    question : tuple
        What else the result depends on: rules, numbers, texts.
    compute : callable
        Is given the task without its journal.
    """
    if isinstance(task, JournaledTask):
        return task.remembered(name, problems, question, compute)
    return compute(task)


class JournaledTask:
    """A task whose simulations are kept in a journal; all else is the task's own.

    Parameters
    ----------
    task : Task or None
        None for work that has no task, whose results are :func:`remembered`.
    journal : Journal, Branch or Fragment
    """

    def __init__(self, task: Any, journal: Recall) -> None:
        self._task = task
        self._journal = journal

    @property
    def plain(self) -> Any:
        """The task without its journal."""
        return self._task

    def branch(self, name: str) -> Branch | None:
        """Return a branch of the journal for a piece of work; None inside a branch, which is one piece."""
        return self._journal.branch(name) if isinstance(self._journal, Journal) else None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task, name)

    def losses(self, rule: Any, problems: Any, n_steps: int | None = None) -> NDArray[np.float64]:
        """See :meth:`discover.tasks.base.Task.losses`."""
        arrays = self._recall(
            "losses",
            problems,
            (rule, n_steps),
            lambda: {"losses": self._task.losses(rule, problems, n_steps)},
        )
        return arrays["losses"]

    def losses_of_rules(self, rules: Sequence[Any], problems: Any) -> NDArray[np.float64]:
        """See :meth:`discover.tasks.base.Task.losses_of_rules`."""
        arrays = self._recall(
            "losses_of_rules",
            problems,
            tuple(rules),
            lambda: {"losses": self._task.losses_of_rules(rules, problems)},
        )
        return arrays["losses"]

    def gradient(self, rule: Any, problems: Any, n_steps: int | None = None) -> TaskGradient:
        """See :meth:`discover.tasks.base.Task.gradient`."""
        arrays = self._recall(
            "gradient",
            problems,
            (rule, n_steps),
            lambda: vars(self._task.gradient(rule, problems, n_steps)),
        )
        return TaskGradient(**arrays)

    def visit(
        self, rule: Any, problems: Any, n_states: int, seed: np.random.SeedSequence
    ) -> dict[str, VisitedStates]:
        """See :meth:`discover.tasks.base.Task.visit`."""

        def compute() -> Arrays:
            states = self._task.visit(rule, problems, n_states, seed)
            return {
                f"{slot}.{name}": value for slot, one in states.items() for name, value in vars(one).items()
            }

        arrays = self._recall("visit", problems, (rule, n_states, seed.entropy, seed.spawn_key), compute)
        slots = dict.fromkeys(key.rpartition(".")[0] for key in arrays)
        return {
            slot: VisitedStates(*(arrays[f"{slot}.{name}"] for name in ("values", "problem", "step")))
            for slot in slots
        }

    def evaluate(self, rule: Any, problems: Any) -> Arrays:
        """See :meth:`discover.tasks.base.Task.evaluate`."""
        return self._recall("evaluate", problems, (rule,), lambda: self._task.evaluate(rule, problems))

    def evaluate_rules(self, rules: Sequence[Any], problems: Any) -> list[dict[str, NDArray[np.float64]]]:
        """See :meth:`discover.tasks.base.Task.evaluate_rules`."""

        def compute() -> Arrays:
            measured = self._task.evaluate_rules(rules, problems)
            return {f"{n}.{name}": values for n, one in enumerate(measured) for name, values in one.items()}

        arrays = self._recall("evaluate_rules", problems, tuple(rules), compute)
        measured: list[dict[str, NDArray[np.float64]]] = [{} for _ in rules]
        for key, values in arrays.items():
            number, name = key.split(".", 1)
            measured[int(number)][name] = values
        return measured

    def learning_curve(
        self, rule: Any, problems: Any, n_points: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """See :meth:`discover.tasks.base.Task.learning_curve`."""

        def compute() -> Arrays:
            steps, losses = self._task.learning_curve(rule, problems, n_points)
            return {"steps": steps, "losses": losses}

        arrays = self._recall("learning_curve", problems, (rule, n_points), compute)
        return arrays["steps"], arrays["losses"]

    def remembered(
        self, name: str, problems: Any, question: tuple[Any, ...], compute: Callable[[Any], Arrays]
    ) -> Arrays:
        """See :func:`remembered`."""
        return self._recall(name, problems, question, lambda: compute(self._task))

    def _recall(
        self, name: str, problems: Any, question: tuple[Any, ...], compute: Callable[[], Arrays]
    ) -> Arrays:
        sizes = [] if problems is None else [problems.n_problems, problems.n_steps]
        asked = [*sizes, *(_text(part) for part in question)]
        return self._journal.recall(name, repr(asked).encode(), compute)


def _text(part: Any) -> str:
    """Return a text that differs where a part of a question does."""
    if isinstance(part, Rule):
        return repr(part.to_dict())
    if isinstance(part, np.ndarray):
        return part.tobytes().hex()
    if isinstance(part, SplineRule):
        return f"{part.low!r} {part.high!r} {part.coefficients.tobytes().hex()} {part.wanted.tobytes().hex()}"
    if isinstance(part, SplineSpikeRule):
        return repr(part)
    return repr(getattr(part, "name", part))
