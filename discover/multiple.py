"""The best overall multiple of a rule: how fast it should learn within the horizon that it has."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from math import sqrt

__all__ = ["best_multiple", "best_multiples"]

FIRST_RATIO = 2.0
LAST_RATIO = 1.02
MAX_TRIALS = 40


def best_multiple(
    mean_loss: Callable[[float], float], first_ratio: float = FIRST_RATIO, last_ratio: float = LAST_RATIO
) -> tuple[float, float]:
    """Search the factor at which a scaled rule has its lowest mean loss.

    A pattern search over the logarithm of the factor: factors a ratio apart are tried up and down as long as
    the loss falls, then the ratio shrinks by square roots. It needs no gradient, so it walks out of blow-ups,
    whose losses say how soon they come.

    Parameters
    ----------
    mean_loss : callable
        Takes a factor; returns the loss, or infinity where the multiple is not allowed.
    first_ratio, last_ratio : float
        Of neighbouring factors: where the search starts, and what it ends at.

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

    def mean_losses(asked: Sequence[tuple[int, float]]) -> list[float]:
        return [mean_loss(factor) for _, factor in asked]

    return best_multiples(mean_losses, 1, first_ratio, last_ratio)[0]


def best_multiples(
    mean_losses: Callable[[Sequence[tuple[int, float]]], Sequence[float]],
    n_rules: int,
    first_ratio: float = FIRST_RATIO,
    last_ratio: float = LAST_RATIO,
) -> list[tuple[float, float]]:
    """Search the best multiples of several rules side by side, for simulators that share work between rules.

    Parameters
    ----------
    mean_losses : callable
        Takes pairs of a rule's number and a factor; returns the loss of each.
    n_rules : int
    first_ratio, last_ratio : float
        See :func:`best_multiple`.

    Returns
    -------
    list of (factor, loss)
    """
    searches = [_search(first_ratio, last_ratio) for _ in range(n_rules)]
    asked = {number: next(search) for number, search in enumerate(searches)}
    found: dict[int, tuple[float, float]] = {}
    while asked:
        answers = mean_losses(list(asked.items()))
        following = {}
        for number, answer in zip(asked, answers, strict=True):
            try:
                following[number] = searches[number].send(answer)
            except StopIteration as end:
                found[number] = end.value
        asked = following
    return [found[number] for number in range(n_rules)]


def _search(first_ratio: float, last_ratio: float) -> Generator[float, float, tuple[float, float]]:
    """Yield factors, take their losses, and return the best factor with its loss."""
    best = 1.0
    lowest = yield best
    n_tried, ratio, upward = 1, first_ratio, True
    while ratio > last_ratio and n_tried < MAX_TRIALS:
        moved = False
        # The direction that worked last is tried first.
        for step in (ratio, 1 / ratio) if upward else (1 / ratio, ratio):
            loss = yield best * step
            n_tried += 1
            if loss < lowest:
                best, lowest, upward, moved = best * step, loss, step > 1, True
                break
        if not moved:
            ratio = sqrt(ratio)
    return best, lowest
