"""How long-running functions say how far they are."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Progress", "part", "silent"]

Progress = Callable[[float, str], None]
"""Called with the fraction done of the current stage (0 to 1) and a plain message."""


def silent(fraction: float, message: str) -> None:
    """Report nothing: the default where a function takes a :data:`Progress`.

    Examples
    --------
    >>> silent(0.5, "half way")
    """


def part(progress: Progress, start: float, stop: float, prefix: str = "") -> Progress:
    """Return the progress of a piece of work that takes from `start` to `stop` of the whole.

    Examples
    --------
    >>> half = part(lambda fraction, message: print(fraction, message), 0.5, 1.0, "restart 2: ")
    >>> half(0.5, "fitting")
    0.75 restart 2: fitting
    """
    return lambda fraction, message: progress(start + (stop - start) * fraction, prefix + message)
