"""Ctrl-C and SIGTERM: a command ends within about a second, whatever it is doing.

Python runs a signal's handler between two of its own instructions, so that a kernel that takes ten seconds
would hold it up for as long. A thread that the signal wakes at once ends the process when the ordinary way
out takes too long. That loses nothing: what a stage needs to go on is in its journal already, and files are
written whole or not at all.
"""

from __future__ import annotations

import os
import shlex
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

import typer

__all__ = [
    "GRACE_SECONDS",
    "KEEPS_NOTHING",
    "RESUMABLE",
    "Farewell",
    "Interrupted",
    "after_a_loss",
    "ending_promptly",
    "leave",
]

GRACE_SECONDS = 0.7
"""How long the ordinary way out may take."""

RESUMABLE = (
    "run", "simulate", "fit", "search", "validate", "compare", "report", "manifold", "recover",
    "recover-known", "study", "work", "screen", "posterior",
)  # fmt: skip
"""Commands that go on where they were cut off."""

KEEPS_NOTHING = "pipelines.keeps_nothing"
"""Where in the context of a command it is said that, asked for this, it does not."""

_CURSOR = "\r\x1b[K\x1b[?25h"
"""Clears a terminal's line and shows the cursor that a progress bar hides."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """A signal asked this process to end.

    Parameters
    ----------
    number : int
        Which; the exit code is 128 more, as shells have it.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class Farewell:
    """The last words of a command that was interrupted, said once: how to go on.

    Parameters
    ----------
    ctx : click.Context
        Of the group of commands.
    """

    def __init__(self, ctx: Any) -> None:
        self._ctx = ctx
        self._unsaid = threading.Semaphore()

    def __call__(self) -> None:
        """Say them to standard error."""
        if not self._unsaid.acquire(blocking=False):
            return
        start = _CURSOR if sys.stderr.isatty() else ""
        command = shlex.join(["discover", *sys.argv[1:]])
        if self._ctx.invoked_subcommand in RESUMABLE and not self._ctx.meta.get(KEEPS_NOTHING):
            kept = "Finished stages and the simulations of this one are kept; go on with"
        else:
            kept = "This command keeps nothing before its end; begin again with"
        typer.echo(f"{start}discover: interrupted. {kept}: {command}", err=True)


def after_a_loss() -> str:
    """Say how to go on with a command whose cluster was lost; all that can use one keep what came back."""
    command = shlex.join(["discover", *sys.argv[1:]])
    return (
        "Finished stages and what came back of this one are kept; go on with: "
        f"{command} (without --backend and --scheduler on this machine, with the same result)."
    )


@contextmanager
def ending_promptly(farewell: Callable[[], None]) -> Iterator[None]:
    """Raise :class:`Interrupted` on SIGINT and SIGTERM, and end the process if that is not enough.

    A second signal ends the process at once. Signals that the process was started to ignore stay ignored.

    Parameters
    ----------
    farewell : callable
        Says the last words when the ordinary way out took too long; it may be called from another thread.
    """
    taken = [number for number in _SIGNALS if signal.getsignal(number) not in (signal.SIG_IGN, None)]
    if threading.current_thread() is not threading.main_thread() or not taken:
        yield
        return
    reading, writing = socket.socketpair()
    writing.setblocking(False)
    wakeup = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
    handlers = {number: signal.signal(number, _interrupt) for number in taken}
    threading.Thread(target=_watch, args=(reading, frozenset(taken), farewell), daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in handlers.items():
            if signal.getsignal(number) is _interrupt:
                signal.signal(number, handler)
        writing.close()


def _interrupt(number: int, _: FrameType | None) -> NoReturn:
    for other in _SIGNALS:
        if signal.getsignal(other) is _interrupt:
            signal.signal(other, signal.SIG_DFL)
    raise Interrupted(number)


def leave(number: int) -> NoReturn:
    """End this process at once: the interpreter's own end would wait for kernels in other threads.

    Parameters
    ----------
    number : int
        The signal.
    """
    with suppress(OSError, ValueError):  # a pipe that nobody reads any more
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(128 + number)


def _watch(reading: socket.socket, taken: frozenset[int], farewell: Callable[[], None]) -> None:
    """Wait for a signal, then for the process to end by itself, then end it."""
    with reading:
        while numbers := reading.recv(1):  # nothing comes when the command has ended
            if numbers[0] in taken:
                threading.Event().wait(GRACE_SECONDS)
                farewell()
                leave(numbers[0])
