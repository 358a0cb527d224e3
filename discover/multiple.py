"""The best overall multiple of a rule: how fast it should learn within the horizon that it has."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt

__all__ = ["best_multiple"]

FIRST_RATIO = 2.0
LAST_RATIO = 1.02
MAX_TRIALS = 40


def best_multiple(mean_loss: Callable[[float], float]) -> tuple[float, float]:
    """Search the factor at which a scaled rule has its lowest mean loss.

    A pattern search over the logarithm of the factor: factors a ratio of two apart are tried up and down as
    long as the loss falls, then the ratio shrinks by square roots to two percent. It needs no gradient, so it
    walks out of blow-ups, whose losses say how soon they come.

    Parameters
    ----------
    mean_loss : callable
        Takes a factor; returns the loss, or infinity where the multiple is not allowed.

    Returns
    -------
    factor : float
        1 where no other is better.
    loss : float
        The mean loss there, never above that of factor 1.

    References
    ----------
    Hooke & Jeeves (1961), J. ACM 8:212.

    Examples
    --------
    >>> factor, loss = best_multiple(lambda factor: abs(factor - 6.0))
    >>> round(factor), loss < 0.1
    (6, True)
    """
    best, lowest = 1.0, mean_loss(1.0)
    seen = {best: lowest}
    ratio, upward = FIRST_RATIO, True
    while ratio > LAST_RATIO and len(seen) < MAX_TRIALS:
        moved = False
        # The direction that worked last is tried first.
        for step in (ratio, 1 / ratio) if upward else (1 / ratio, ratio):
            factor = best * step
            loss = seen[factor] = mean_loss(factor)
            if loss < lowest:
                best, lowest, upward, moved = factor, loss, step > 1, True
                break
        if not moved:
            ratio = sqrt(ratio)
    return best, lowest
