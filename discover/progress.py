"""How long-running functions say how far they are."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Progress", "silent"]

Progress = Callable[[float, str], None]
"""Called with the fraction done of the current stage (0 to 1) and a plain message."""


def silent(fraction: float, message: str) -> None:
    """Report nothing: the default where a function takes a :data:`Progress`.

    Examples
    --------
    >>> silent(0.5, "half way")
    """
