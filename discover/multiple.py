"""The best overall multiple of a rule: how fast it should learn within the horizon that it has."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from math import exp, inf, isfinite, log

__all__ = ["best_multiple", "best_multiples"]

FIRST_RATIO = 2.0
LAST_RATIO = 1.02
MAX_TRIALS = 40

GROWTH = 1.5
"""Steps grow by this as long as the loss falls."""

IDLE, MAX_IDLE = 1e-4, 2
"""A walk ends after so many steps in a row that gain less than this share of the loss."""

AS_PREDICTED = 3e-4
"""The search ends where a parabola foretold the loss to within this share."""

GOLDEN = 0.382
"""Share of the longer side that is tried where a parabola has its lowest point at the best factor itself."""


def best_multiple(
    mean_loss: Callable[[float], float], first_ratio: float = FIRST_RATIO, last_ratio: float = LAST_RATIO
) -> tuple[float, float]:
    """Search the factor at which a scaled rule has its lowest mean loss.

    A search over the logarithm of the factor: up and down in growing steps until the lowest loss has a higher
    one on both sides, then by parabolas through these three until one foretells the loss. It needs no
    gradient, so it walks out of blow-ups, whose losses say how soon they come.

    Parameters
    ----------
    mean_loss : callable
        Takes a factor; returns the loss, or infinity where the multiple is not allowed.
    first_ratio, last_ratio : float
        Of neighbouring factors: the first step, and what the search ends at if it did not end before.

    Returns
    -------
    factor : float
        1 where no other is better.
    loss : float
        The mean loss there, never above that of factor 1.

    References
    ----------
    Brent (1973), Algorithms for Minimization without Derivatives, chapter 5.

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
    step, finest = log(first_ratio), log(last_ratio)
    losses = {0.0: (yield 1.0)}  # by the logarithm of the factor
    best, low, high = 0.0, -inf, inf  # the best factor, and the tried ones below and above it
    upward, n_idle = True, 0
    while len(losses) < MAX_TRIALS and max(high - best, best - low) > 2 * finest:
        is_enclosed = isfinite(high - low)
        if is_enclosed:
            at, expected = _predicted(low, best, high, losses, finest)
        else:
            upward = high == inf and (upward or low != -inf)
            at = best + step if upward else best - step
        losses[at] = loss = yield exp(at)
        gain = losses[best] - loss
        if gain > 0:
            low, best, high = (best, at, high) if at > best else (low, at, best)
            if not is_enclosed:
                step *= GROWTH
                n_idle = n_idle + 1 if gain <= IDLE * loss else 0
        else:
            low, high = (low, at) if at > best else (at, high)
        if n_idle == MAX_IDLE or (is_enclosed and abs(loss - expected) <= AS_PREDICTED * losses[best]):
            break
    return exp(best), losses[best]


def _predicted(
    low: float, best: float, high: float, losses: Mapping[float, float], finest: float
) -> tuple[float, float]:
    """Return where to try next between three points, and the loss there by the parabola through them."""
    below, above = best - low, high - best
    rise = [(losses[end] - losses[best]) / reach**2 for end, reach in ((low, below), (high, above))]
    curvature = (rise[0] * below + rise[1] * above) / (below + above)
    slope = (rise[1] - rise[0]) * below * above / (below + above)
    shift = -slope / (2 * curvature) if isfinite(curvature) and curvature > 0 else 0.0
    if abs(shift) < finest / 2:
        shift = GOLDEN * above if above > below else -GOLDEN * below
    return best + shift, losses[best] + slope * shift + curvature * shift**2
