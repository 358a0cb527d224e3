"""A journal of simulations, from which a computation that was cut off is taken up where it stopped.

Everything the outer loop does between two simulations is cheap and follows from its seed. So it is enough to
keep what the simulations gave, in their order: the same computation, started again, takes those results from
the journal, arrives where it was in a moment, and ends with the same numbers to the last bit as if nothing
had happened. No state of an optimiser or of a random generator has to be saved.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from discover.rule import Rule
from discover.tasks.base import TaskGradient, VisitedStates, evaluate_rules, losses_of_rules
from sims.rules import SplineRule
from sims.spike_splines import SplineSpikeRule

__all__ = ["Arrays", "Journal", "JournaledTask", "remembered"]

Arrays = Mapping[str, NDArray[Any]]

SCHEMA = "plasticity-discovery/journal/1"
MAX_HEADER = 10_000
DTYPES = ("<f8", "<i8", "|b1")


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
        self._file: IO[bytes] | None = None
        self._kept, self._end = self._read()
        self._position = 0
        self._is_full = False

    @property
    def n_kept(self) -> int:
        """Results that were found in the file."""
        return len(self._kept)

    def recall(self, name: str, question: bytes, compute: Callable[[], Arrays]) -> Arrays:
        """Return the result of this call: the one that is kept, or else a new one, which is kept.

        Parameters
        ----------
        name : str
        question : bytes
            What the result depends on. Where it is not what the kept result answers, that result and all
            behind it are dropped.
        compute : callable
        """
        key = f"{name} {hashlib.blake2b(question, digest_size=16).hexdigest()}"
        if self._position < len(self._kept):
            start = self._kept[self._position]
            entry = _unpacked(self._line_at(start))
            if entry is not None and entry[0] == key:
                self._position += 1
                return entry[1]
            self._kept, self._end = self._kept[: self._position], start
        arrays = compute()
        try:
            self._append(_packed(key, arrays))
        except OSError:
            self._is_full = True  # The computation goes on; its end will say why it cannot be kept.
        return arrays

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

    def _read(self) -> tuple[list[int], int]:
        """Return where sound lines begin and where they end; nothing when the file is another's."""
        starts: list[int] = []
        try:
            with self.path.open("rb") as file:
                header = file.readline(MAX_HEADER)
                if header != _line(self._header):
                    return [], 0
                end = len(header)
                for line in file:
                    if not _is_sound(line):
                        break
                    starts.append(end)
                    end += len(line)
        except OSError:
            return [], 0
        return starts, end

    def _line_at(self, start: int) -> bytes:
        with self.path.open("rb") as file:
            file.seek(start)
            return file.readline()

    def _append(self, line: bytes) -> None:
        if self._is_full:
            return
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("r+b" if self.path.exists() else "w+b")
            if self._end == 0:
                header = _line(self._header)
                self._file.write(header)
                self._end = len(header)
            self._file.seek(self._end)
            self._file.truncate()
        self._file.write(line)
        self._file.flush()
        self._end += len(line)


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
    except (ValueError, KeyError, TypeError, AttributeError):
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
    problems : Problems
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
    task : Task
    journal : Journal
    """

    def __init__(self, task: Any, journal: Journal) -> None:
        self._task = task
        self._journal = journal

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
        """See :func:`discover.tasks.base.losses_of_rules`."""
        arrays = self._recall(
            "losses_of_rules",
            problems,
            tuple(rules),
            lambda: {"losses": losses_of_rules(self._task, rules, problems)},
        )
        return arrays["losses"]

    @property
    def gradient(self) -> Callable[..., TaskGradient]:
        """See :meth:`discover.tasks.base.Task.gradient`; a task that has none has none here either."""
        compute = self._task.gradient

        def recalled(rule: Any, problems: Any, n_steps: int | None = None) -> TaskGradient:
            arrays = self._recall(
                "gradient", problems, (rule, n_steps), lambda: vars(compute(rule, problems, n_steps))
            )
            return TaskGradient(**arrays)

        return recalled

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
        slots = dict.fromkeys(key.split(".")[0] for key in arrays)
        return {
            slot: VisitedStates(*(arrays[f"{slot}.{name}"] for name in ("values", "problem", "step")))
            for slot in slots
        }

    def evaluate(self, rule: Any, problems: Any) -> Arrays:
        """See :meth:`discover.tasks.base.Task.evaluate`."""
        return self._recall("evaluate", problems, (rule,), lambda: self._task.evaluate(rule, problems))

    def evaluate_rules(self, rules: Sequence[Any], problems: Any) -> list[dict[str, NDArray[np.float64]]]:
        """See :func:`discover.tasks.base.evaluate_rules`."""

        def compute() -> Arrays:
            measured = evaluate_rules(self._task, rules, problems)
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
        asked = [problems.n_problems, problems.n_steps, *(_text(part) for part in question)]
        return self._journal.recall(name, repr(asked).encode(), compute)


def _text(part: Any) -> str:
    """Return a text that differs where a part of a question does."""
    if isinstance(part, Rule):
        return repr(part.to_dict())
    if isinstance(part, np.ndarray):
        return part.tobytes().hex()
    if isinstance(part, SplineRule):
        return f"{part.low!r} {part.high!r} {part.coefficients.tobytes().hex()}"
    if isinstance(part, SplineSpikeRule):
        return repr(part)
    return repr(getattr(part, "name", part))
