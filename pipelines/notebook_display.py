"""How a run in a notebook says what it is doing: a few lines of plain text, of which the last one moves."""

from __future__ import annotations

import time
from typing import Any

__all__ = ["NotebookDisplay"]

SECONDS = 0.25
"""The moving line is drawn at most this often: every drawing is a message to the browser."""


class NotebookDisplay:
    """One output of a notebook's cell, text that is replaced as the run goes on.

    Nothing is printed: carriage returns would pile up in the saved notebook, and so would a line every few
    seconds. What stays in the notebook is a line for each stage.

    Parameters
    ----------
    display : callable
        ``IPython.display.display``.
    """

    def __init__(self, display: Any) -> None:
        self._lines: list[str] = []
        self._drawn = 0.0
        self._moving = ""
        self._handle = display(_plain(""), raw=True, display_id=True)

    def start(self, stage: str) -> None:
        """Begin a stage."""
        self._move(f"{stage}: started")

    def update(self, stage: str, fraction: float, message: str, left: float | None) -> None:
        """Draw the moving line anew when the last drawing is old enough."""
        if time.monotonic() - self._drawn >= SECONDS:
            from pipelines.events import spoken

            tail = f" ({spoken(left)})" if left is not None else ""
            self._move(f"{stage}: {fraction:4.0%} {message}{tail}")

    def end(self, stage: str, text: str) -> None:
        """Turn the moving line into one that stays."""
        self._moving = ""
        self.note(f"{stage}: {text}")

    def note(self, text: str) -> None:
        """Put a line above the moving one."""
        self._lines.append(text)
        self._draw()

    def close(self) -> None:
        """Take the moving line away."""
        self._move("")

    def _move(self, text: str) -> None:
        self._moving = text
        self._draw()

    def _draw(self) -> None:
        self._drawn = time.monotonic()
        lines = [*self._lines, *([self._moving] if self._moving else [])]
        self._handle.update(_plain("\n".join(lines)), raw=True)


def _plain(text: str) -> dict[str, str]:
    return {"text/plain": text}
