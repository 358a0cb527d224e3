"""How a run says what it is doing: a live line on a terminal or in a notebook, plain lines in a pipe.

A file gets JSON lines.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from discover.checked import open_plain
from discover.progress import Progress
from discover.shown import notebook_shell
from pipelines import artefacts

if TYPE_CHECKING:
    from rich.progress import TaskID

__all__ = ["EventLog", "LiveDisplay", "PlainDisplay", "Reporter", "open_reporter", "time_left"]

COMPILING = "compiling kernels (once)"
PLAIN_SECONDS = 5.0
"""A piped run says how far it is at most this often."""
LOG_SECONDS = 0.5
"""The same for the JSON lines, which are also written for every new message."""


def time_left(fraction: float, elapsed: float) -> float | None:
    """Return the seconds that a stage still takes, None while it is too early to tell.

    Parameters
    ----------
    fraction : float
        How much of the stage is done, from 0 to 1.
    elapsed : float
        Seconds since its start.

    Examples
    --------
    >>> time_left(0.25, 10.0)
    30.0
    >>> time_left(0.0, 10.0) is None
    True
    """
    if fraction < 0.01 or elapsed < 0.5:
        return None
    return elapsed * (1.0 - fraction) / fraction


def spoken(seconds: float | None) -> str:
    """Return a time left in words.

    Examples
    --------
    >>> spoken(190.0), spoken(42.4), spoken(None)
    ('about 3 min left', 'about 42 s left', '')
    """
    if seconds is None:
        return ""
    return f"about {seconds / 60:.0f} min left" if seconds >= 120 else f"about {seconds:.0f} s left"


class Display(Protocol):
    """Where a person follows the run."""

    def start(self, stage: str) -> None:
        """Begin a stage."""

    def update(self, stage: str, fraction: float, message: str, left: float | None) -> None:
        """Show how far a stage is."""

    def end(self, stage: str, text: str) -> None:
        """Finish a stage, well or not."""

    def note(self, text: str) -> None:
        """Say something."""

    def close(self) -> None:
        """Leave the terminal as it was."""


@dataclass
class PlainDisplay:
    """Plain lines: at most one every few seconds, and one for every stage's start and end.

    Parameters
    ----------
    stream : text stream
        Where to.
    """

    stream: TextIO
    _last: float = field(default=0.0, init=False)

    def start(self, stage: str) -> None:
        """Begin a stage."""
        self._last = time.monotonic()
        self._line(f"{stage}: started")

    def update(self, stage: str, fraction: float, message: str, left: float | None) -> None:
        """Print a line when the last one is some seconds old."""
        now = time.monotonic()
        if now - self._last >= PLAIN_SECONDS:
            self._last = now
            tail = f" ({spoken(left)})" if left is not None else ""
            self._line(f"{stage}: {fraction:4.0%} {message}{tail}")

    def end(self, stage: str, text: str) -> None:
        """Finish a stage."""
        self._line(f"{stage}: {text}")

    def note(self, text: str) -> None:
        """Say something."""
        self._line(text)

    def close(self) -> None:
        """Nothing is left open."""

    def _line(self, text: str) -> None:
        print(text, file=self.stream, flush=True)


class LiveDisplay:
    """One line that is drawn anew, with a bar, the message and the time left."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TaskProgressColumn, TextColumn
        from rich.progress import Progress as Bar

        self._bar = Bar(
            TextColumn("{task.fields[stage]:<9}", markup=False),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TextColumn("{task.fields[left]}", markup=False),
            TextColumn("{task.description}", markup=False),
            console=Console(file=stream),
            transient=True,
        )
        self._task: TaskID | None = None
        self._bar.start()

    def start(self, stage: str) -> None:
        """Draw a stage's line."""
        self._task = self._bar.add_task("", total=1.0, stage=stage, left="")

    def update(self, stage: str, fraction: float, message: str, left: float | None) -> None:
        """Move the bar."""
        if self._task is not None:
            self._bar.update(self._task, completed=fraction, description=message, left=spoken(left))

    def end(self, stage: str, text: str) -> None:
        """Turn the live line into one that stays."""
        if self._task is not None:
            self._bar.remove_task(self._task)
            self._bar.refresh()
        self._task = None
        self.note(f"{stage:<9} {text}")

    def note(self, text: str) -> None:
        """Print a line above the live one."""
        self._bar.console.print(text, markup=False, highlight=False)

    def close(self) -> None:
        """Take the live line away."""
        self._bar.stop()


class EventLog:
    """One JSON object per line, appended to ``events.jsonl``.

    Parameters
    ----------
    path : Path
        The file; made when it is not there.

    Raises
    ------
    ArtefactError
        When the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            # A link could lead to a file that is not the run's.
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
            self._descriptor: int | None = open_plain(path, flags)
            self._end_last_line(self._descriptor)
        except OSError as error:
            artefacts.unwritable(path, error)

    @staticmethod
    def _end_last_line(descriptor: int) -> None:
        """End a line that a run wrote only half of, so that the next event stands on one of its own."""
        if os.lseek(descriptor, 0, os.SEEK_END) > 0:
            os.lseek(descriptor, -1, os.SEEK_END)
            if os.read(descriptor, 1) != b"\n":
                os.write(descriptor, b"\n")

    def write(self, event: str, **facts: object) -> None:
        """Append one event.

        Raises
        ------
        ArtefactError
            When the file cannot be written.
        """
        if self._descriptor is None:
            return
        moment = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"time": moment, "event": event, **facts}) + "\n"
        try:
            os.write(self._descriptor, line.encode())
        except OSError as error:
            self.close()
            artefacts.unwritable(self.path, error)

    def close(self) -> None:
        """Close the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class Reporter:
    """Tells a person and ``events.jsonl`` what a run is doing.

    Parameters
    ----------
    display : Display
        Where a person follows the run.
    log : EventLog or None
        Where programs follow it.
    """

    def __init__(self, display: Display, log: EventLog | None = None) -> None:
        self._display = display
        self._log = log
        self._lock = threading.Lock()
        self._stage = ""
        self._fraction = 0.0
        self._started = 0.0
        self._logged = (0.0, "")
        self._compiled = False

    @contextmanager
    def stage(self, name: str) -> Iterator[Progress]:
        """Frame a stage; what it yields is the progress callback to hand down.

        Parameters
        ----------
        name : str
            The stage's name.
        """
        self._stage, self._fraction, self._started = name, 0.0, time.monotonic()
        self._logged = (0.0, "")
        self._display.start(name)
        self._write("start")
        try:
            with self._watch_compiler():
                yield self._progress
        except BaseException as error:
            self._display.end(name, "stopped")
            self._write("stopped", message=f"{type(error).__name__}: {error}")
            raise
        seconds = time.monotonic() - self._started
        self._display.end(name, f"done in {seconds:.1f} s")
        self._write("end", seconds=round(seconds, 3))

    def up_to_date(self, stage: str) -> None:
        """Say that a stage has nothing to do."""
        self._display.note(f"{stage}: up to date")
        self._stage = stage
        self._write("up to date")

    def note(self, text: str) -> None:
        """Say something that a person should know."""
        self._display.note(text)
        self._write("note", message=text)

    def close(self) -> None:
        """Leave the terminal as it was and close the file."""
        self._display.close()
        if self._log is not None:
            self._log.close()

    def _progress(self, fraction: float, message: str) -> None:
        with self._lock:
            self._fraction = max(self._fraction, min(fraction, 1.0))  # a stage never goes back
            elapsed = time.monotonic() - self._started
            left = time_left(self._fraction, elapsed)
            self._display.update(self._stage, self._fraction, message, left)
            if message != self._logged[1] or elapsed - self._logged[0] >= LOG_SECONDS:
                self._logged = (elapsed, message)
                facts = {"fraction": round(self._fraction, 4), "message": message}
                self._write("progress", **facts, seconds_left=None if left is None else round(left, 1))

    def _write(self, event: str, **facts: Any) -> None:
        if self._log is not None:
            self._log.write(event, stage=self._stage, **facts)

    @contextmanager
    def _watch_compiler(self) -> Iterator[None]:
        """Say so when Numba compiles: kernels found in its cache load unseen."""
        from numba.core import event

        with event.install_listener("numba:compile", _compile_listener(self._announce_compiler)):
            yield

    def _announce_compiler(self) -> None:
        if not self._compiled:
            self._compiled = True
            self.note(COMPILING)


def _compile_listener(callback: Callable[[], None]) -> Any:
    from numba.core.event import Listener

    class Announcer(Listener):
        def on_start(self, event: object) -> None:
            callback()

        def on_end(self, event: object) -> None:
            """Nothing to say: the stage goes on."""

    return Announcer()


def open_reporter(folder: Path | None, stream: TextIO | None = None) -> Reporter:
    """Return the reporter that fits where the program runs.

    Parameters
    ----------
    folder : Path or None
        The run's folder, for ``events.jsonl``.
    stream : text stream, optional
        Where a person reads; by default the notebook where this runs in one, else standard error. A terminal
        gets a live line, all else plain lines.

    Raises
    ------
    ArtefactError
        When ``events.jsonl`` cannot be written.
    """
    log = EventLog(folder / "events.jsonl") if folder is not None else None
    return Reporter(_display(stream), log)


def _display(stream: TextIO | None) -> Display:
    if stream is None and notebook_shell() is not None:
        from IPython.display import display

        from pipelines.notebook_display import NotebookDisplay

        return NotebookDisplay(display)
    target = sys.stderr if stream is None else stream
    return LiveDisplay(target) if target.isatty() else PlainDisplay(target)
