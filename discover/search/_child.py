"""A child process that answers lines of JSON with lines of JSON, for libraries that may crash or hang.

Signals, time limits and memory are the caller's: a child that is not wanted any more is killed. The child
dies with its parent. What its libraries print never reaches the output of the caller; the last line of it is
quoted when the child crashes.

Messages
    The caller writes a request. The child answers with ``{"answer": ...}``; before that it may send others,
    and where ``{"ask": ...}`` is among them it waits for a line that comes back.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import IO, Any

from discover.child_process import child_environment, end_with
from discover.errors import EngineError

__all__ = ["Child", "Parent", "serve"]

_TICK_S = 1.0
_LONGEST_QUOTE = 300

Message = dict[str, Any]


def _nothing(_: Any) -> None:
    return None


class Child:
    """A child process and the conversation with it; it ends when this object goes away.

    Parameters
    ----------
    engine : str
        For messages.
    command : tuple of str
    advice : str
        What to do when it crashes.
    own_group : bool
        Whether Ctrl-C in a terminal is kept away from it; needed where a library takes signals for itself.
    defaults : mapping from str to str, optional
        Variables of its environment, where they are not set.
    """

    def __init__(
        self,
        engine: str,
        command: tuple[str, ...],
        advice: str = "",
        *,
        own_group: bool = False,
        defaults: Mapping[str, str] | None = None,
    ) -> None:
        self._engine = engine
        self._advice = advice
        # A file for the errors: a pipe that nobody empties would make the two wait for each other.
        self._errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            encoding="utf-8",
            errors="replace",
            env=child_environment(defaults),
            start_new_session=own_group,
        )
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        reader = threading.Thread(target=_forward, args=(self._process.stdout, self._lines), daemon=True)
        reader.start()
        self.close = weakref.finalize(self, _end, self._process, reader, self._errors, own_group)

    @property
    def is_alive(self) -> bool:
        """Whether it can be asked something."""
        return self.close.alive and self._process.poll() is None

    def ask(
        self,
        request: Message,
        limit_s: float,
        too_slow: str,
        hear: Callable[[Message], Any] = _nothing,
        waiting: Callable[[float], None] = _nothing,
    ) -> Any:
        """Send a request and return its answer; whatever else happens, the child is ended.

        Parameters
        ----------
        request : dict
        limit_s : float
            Time limit in seconds.
        too_slow : str
            What to do when it is not kept.
        hear : callable, optional
            Is given every other message; what it returns answers an ``ask``.
        waiting : callable, optional
            Is given the seconds that have passed, about once a second while nothing comes.

        Raises
        ------
        EngineError
            If the child crashes or runs into the time limit.
        """
        began = time.monotonic()
        self._send({**request, "parent": os.getpid()})
        try:
            while True:
                line = self._next(began, limit_s, waiting)
                if line is None:
                    raise EngineError(
                        f"The engine {self._engine!r} did not finish within its time limit of {limit_s:g} s. "
                        f"{too_slow}".strip()
                    )
                if not line:
                    raise EngineError(self._crash_text())
                message = _read(line)
                if "answer" in message:
                    return message["answer"]
                reply = hear(message)
                if "ask" in message:
                    self._send(reply)
        except BaseException:
            self.close()
            raise

    def _send(self, message: Any) -> None:
        """Write in a thread: a child that does not read must not hold up the time limit."""
        line = json.dumps(message) + "\n"
        threading.Thread(target=_write, args=(self._process.stdin, line), daemon=True).start()

    def _next(self, began: float, limit_s: float, waiting: Callable[[float], None]) -> str | None:
        """Return the next line, empty when the child has ended; None at the time limit."""
        while (left := began + limit_s - time.monotonic()) > 0:
            with contextlib.suppress(queue.Empty):
                return self._lines.get(timeout=min(left, _TICK_S))
            waiting(time.monotonic() - began)
        return None

    def _crash_text(self) -> str:
        try:
            code = self._process.wait(timeout=_TICK_S)
        except subprocess.TimeoutExpired:
            how = "closed its output"
        else:
            how = _ending(code)
        self._errors.seek(0)
        said = self._errors.read().strip().splitlines()
        last = f" Its last words: {said[-1][:_LONGEST_QUOTE]}" if said else ""
        return (
            f"The engine {self._engine!r} failed: its child process {how}.{last} Nothing else was harmed"
            f"{'; ' + self._advice if self._advice else ''}."
        )


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    what = {-11: " (segmentation fault)", -9: " (killed, perhaps for want of memory)"}.get(code, "")
    return f"was ended by signal {-code}{what}"


def _read(line: str) -> Message:
    """Read a message; what is none counts as an empty one."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return message if isinstance(message, dict) else {}


def _forward(stream: Iterable[str], lines: queue.SimpleQueue[str]) -> None:
    with contextlib.suppress(ValueError):  # closed while the child was ended
        for line in stream:
            lines.put(line)
    lines.put("")


def _write(stream: IO[str], line: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # the child died; what it left says so
        stream.write(line)
        stream.flush()


def _end(process: subprocess.Popen[str], reader: threading.Thread, errors: IO[str], own_group: bool) -> None:
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            if own_group:
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
    process.wait()
    reader.join(timeout=_TICK_S)
    for stream in (process.stdin, process.stdout, errors):
        if stream is not None:
            with contextlib.suppress(OSError, ValueError):
                stream.close()


# ------------------------------------------------------------------------------------------ in the child


class Parent:
    """The other end of the conversation, for the child: it owns the pipes, libraries get harmless files."""

    def __init__(self) -> None:
        # Julia makes the input that it is given non-blocking, and libraries print what they like.
        self._questions = os.fdopen(os.dup(0), encoding="utf-8")
        self._answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        os.dup2(2, 1)

    def say(self, message: Message) -> None:
        """Send a message."""
        self._answers.write(json.dumps(message, allow_nan=False) + "\n")
        self._answers.flush()

    def ask(self, content: Any) -> Any:
        """Send a question and return what comes back."""
        self.say({"ask": content})
        return json.loads(self._questions.readline())

    def requests(self) -> Iterable[Message]:
        """Yield requests until there are no more."""
        return map(json.loads, iter(self._questions.readline, ""))


def serve(work: Callable[[Message, Parent], Any]) -> None:
    """Answer requests for as long as there is somebody who asks.

    Parameters
    ----------
    work : callable
        Takes a request and the parent; returns what JSON can hold.
    """
    # Ctrl-C in a terminal reaches both processes; it is for the parent to end this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = Parent()
    for request in parent.requests():
        end_with(request["parent"])
        parent.say({"answer": work(request, parent)})
