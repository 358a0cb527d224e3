"""Results of simulations by what was asked, so that a computation that was cut off goes on where it stopped.

Everything the outer loop does between two simulations is cheap and follows from its seed. So it is enough to
keep what the simulations (and the engines of the search) gave, each under the content of its question: the
rule, the problems, and whatever else it depends on. The same computation, started again, finds those results,
arrives where it was in a moment, and ends with the same numbers to the last bit as if nothing had happened.
No state of an optimiser or of a random generator has to be saved, and it does not matter in which order, in
which process or how often a question is asked. Which code answered is the journal's purpose: answers of other
code are not used.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import json
import os
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from discover.checked import open_plain
from discover.content import Unknown, contents
from discover.tasks.base import TaskGradient, VisitedStates

__all__ = ["Arrays", "Journal", "JournaledTask", "Memo", "remembered"]

Arrays = Mapping[str, NDArray[Any]]

SCHEMA = "plasticity-discovery/journal/2"
MAX_HEADER = 10_000
DTYPES = ("<f8", "<i8", "|b1", "|u1")
KEY_STARTS = len(b'00000000 {"key":"')
KEY_LENGTH = 32
PIECE_STARTS = KEY_STARTS + KEY_LENGTH + len(b'","piece":')
N_DIGESTS = 16
"""Problems whose digest is at hand: those that a stage asks about again and again."""


class Memo:
    """Results by the content of their questions, in memory.

    Parameters
    ----------
    lines : iterable of bytes
        Results that another one kept.

    Attributes
    ----------
    added : list of bytes
        The lines of new results.
    """

    def __init__(self, lines: Iterable[bytes] = ()) -> None:
        self._lines = {_key_of(line): line for line in lines}
        self.added: list[bytes] = []

    def recall(self, name: str, question: Any, compute: Callable[[], Arrays], piece: str = "") -> Arrays:
        """Return the answer to a question: the one that is kept, or else a new one, which is kept.

        Parameters
        ----------
        name : str
        question : object
            All that the answer depends on. If its content cannot be told (:mod:`discover.content`), nothing
            is kept.
        compute : callable
        piece : str
            Piece of work that asks, such as ``restart 1``. Where it runs on another machine, what it asked
            before goes along.
        """
        try:
            key = key_of(name, question)
        except Unknown:
            return compute()
        line = self._line(key)
        kept = None if line is None else _unpacked(line)
        if kept is not None:
            return kept
        arrays = compute()
        self._keep(key, _packed(key, piece, arrays))
        return arrays

    def _line(self, key: str) -> bytes | None:
        return self._lines.get(key)

    def _keep(self, key: str, line: bytes) -> None:
        self._lines[key] = line
        self.added.append(line)


class Journal(Memo):
    """Results by the content of their questions, in a file that grows by a line a result.

    Lines that were not written to their end, or that were damaged, are not used. Where the file cannot be
    written nothing more is kept.

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
    ...     first = journal.recall("sum", (1, 2), lambda: {"sum": np.array([3.0])})
    >>> with Journal(path, "demo") as journal:
    ...     again = journal.recall("sum", (1, 2), lambda: {"sum": np.array([0.0])})
    >>> float(again["sum"][0])
    3.0
    """

    def __init__(self, path: Path, purpose: str) -> None:
        super().__init__()
        self.path = path
        self._header = _line({"schema": SCHEMA, "purpose": purpose})
        self._file: FileIO | None = None
        self._starts, self._end = self._read()
        self.n_kept = len(self._starts)
        self._is_full = False

    def lines(self, piece: str) -> list[bytes]:
        """Return what a piece of work asked before."""
        name = json.dumps(piece).encode()
        return [self._line_at(start) for start, of in self._starts.values() if of == name]

    def take(self, lines: Sequence[bytes]) -> None:
        """Keep what a piece of work sends back."""
        for line in lines:
            if _key_of(line) not in self._starts:
                self._keep(_key_of(line), line)

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

    def _read(self) -> tuple[dict[str, tuple[int, bytes]], int]:
        """Return where each sound line begins and whose it is, and where new ones go."""
        starts: dict[str, tuple[int, bytes]] = {}
        try:
            with os.fdopen(open_plain(self.path), "rb") as file:
                end = len(self._header)
                if file.readline(MAX_HEADER) != self._header:
                    return {}, 0
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    if _is_sound(line):
                        starts[_key_of(line)] = end, _piece_of(line)
                    end += len(line)
        except OSError:
            return {}, 0
        return starts, end

    def _line(self, key: str) -> bytes | None:
        return self._line_at(self._starts[key][0]) if key in self._starts else None

    def _line_at(self, start: int) -> bytes:
        with self.path.open("rb") as file:
            file.seek(start)
            return file.readline()

    def _keep(self, key: str, line: bytes) -> None:
        if self._is_full:
            return
        try:
            self._append(line)
        except OSError:
            self._is_full = True  # The computation goes on; its end will say why it cannot be kept.
        else:
            self._starts[key] = self._end - len(line), _piece_of(line)

    def _append(self, line: bytes) -> None:
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # A link could lead to a file that is not the run's. No buffer: what could not be written must not
            # be tried again when the file is closed.
            flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
            self._file = os.fdopen(open_plain(self.path, flags), "r+b", buffering=0)
            self._file.truncate(self._end)
            self._file.seek(self._end)
            if self._end == 0:
                self._write(self._header)
        self._write(line)

    def _write(self, line: bytes) -> None:
        assert self._file is not None
        if self._file.write(line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._end += len(line)


def key_of(*question: Any) -> str:
    """Return a digest of what is asked; see :func:`discover.content.contents`."""
    digest = hashlib.sha256(usedforsecurity=False)
    for part in contents(question):
        digest.update(part)
    return digest.hexdigest()[:KEY_LENGTH]


def _key_of(line: bytes) -> str:
    return line[KEY_STARTS : KEY_STARTS + KEY_LENGTH].decode(errors="replace")


def _piece_of(line: bytes) -> bytes:
    return line[PIECE_STARTS : line.find(b',"arrays":', PIECE_STARTS)]


def _line(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode() + b"\n"


def _packed(key: str, piece: str, arrays: Arrays) -> bytes:
    """Return a line with its checksum in front."""
    content = {}
    for name, array in arrays.items():
        plain = np.ascontiguousarray(array)
        plain = plain.astype(plain.dtype.newbyteorder("<"))
        content[name] = [plain.dtype.str, list(array.shape), base64.b64encode(plain.tobytes()).decode()]
    body = _line({"key": key, "piece": piece, "arrays": content})
    return f"{zlib.crc32(body):08x} ".encode() + body


def _is_sound(line: bytes) -> bool:
    return line.endswith(b"\n") and line[:9] == f"{zlib.crc32(line[9:]):08x} ".encode()


def _unpacked(line: bytes) -> dict[str, NDArray[Any]] | None:
    """Return a line's arrays; None where it does not hold what it should."""
    try:
        entry = json.loads(line[9:])
        arrays = {}
        for name, (dtype, shape, text) in entry["arrays"].items():
            if dtype not in DTYPES:
                return None
            arrays[name] = np.frombuffer(base64.b64decode(text), dtype=dtype).reshape(shape).copy()
        return arrays
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
    journal : Memo
        A :class:`Journal`, or on a worker what is taken along.
    piece : str
        Piece of work that asks.
    """

    def __init__(self, task: Any, journal: Memo, piece: str = "") -> None:
        self._task = task
        self.journal = journal
        self.piece = piece
        self._digests: list[tuple[Any, str]] = []  # of problems, those asked about last first

    @property
    def plain(self) -> Any:
        """The task without its journal."""
        return self._task

    def of_piece(self, name: str) -> JournaledTask:
        """Return the task for a piece of work, which may have pieces of its own that go nowhere else."""
        return JournaledTask(self._task, self.journal, self.piece or name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task, name)

    def subset(self, problems: Any, indices: NDArray[np.int64]) -> Any:
        """See :meth:`discover.tasks.base.Task.subset`; which problems they are says what they hold."""
        some = self._task.subset(problems, indices)
        whole = self._digest_of(problems)
        if isinstance(whole, str):
            self._digests.insert(0, (some, key_of(whole, indices)))
        return some

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
        asked = (getattr(self._task, "name", ""), self._digest_of(problems), question)
        return self.journal.recall(name, asked, compute, self.piece)

    def _digest_of(self, problems: Any) -> Any:
        """Return a digest of problems; themselves where they have none, which :class:`Memo` will see."""
        place = next((n for n, (known, _) in enumerate(self._digests) if known is problems), None)
        if place is not None:
            entry = self._digests.pop(place)
        else:
            try:
                entry = problems, key_of(problems)
            except Unknown:
                return problems
        self._digests = [entry, *self._digests[: N_DIGESTS - 1]]
        return entry[1]
