"""The choice among rules by held-out loss and size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

__all__ = ["Judged", "choose"]


class Judged(Protocol):
    """What the choice looks at."""

    @property
    def heldout_loss(self) -> float:
        """Mean over held-out problems."""
        ...

    @property
    def heldout_error(self) -> float:
        """Its standard error."""
        ...

    @property
    def n_terms(self) -> int:
        """What the rule costs."""
        ...


def choose(points: Sequence[Judged], resolution: float) -> tuple[int, str]:
    """Choose the simplest point that is as good as the best on held-out problems.

    As good is a loss within one standard error of the difference of the two means, or within `resolution`.
    The error of the simpler point counts too: where it is slow on one problem of many, that one must not
    decide.

    Returns
    -------
    position : int
    reason : str
    """
    best = min(points, key=lambda point: point.heldout_loss)
    within = [
        n
        for n, point in enumerate(points)
        if point.heldout_loss - best.heldout_loss <= max(_error(point, best), resolution)
    ]
    position = min(within, key=lambda n: (points[n].n_terms, points[n].heldout_loss))
    point = points[position]
    if point is best:
        return (
            position,
            f"lowest held-out loss, {best.heldout_loss:.4g}, and no rule with fewer terms is as good",
        )
    error = _error(point, best)
    reach = f"one standard error ({error:.2g})" if error >= resolution else f"the resolution ({resolution:g})"
    return position, (
        f"fewest terms ({point.n_terms}) with a held-out loss ({point.heldout_loss:.4g}) within {reach} "
        f"of the best ({best.heldout_loss:.4g}, {best.n_terms} terms)"
    )


def _error(point: Judged, best: Judged) -> float:
    return float(np.hypot(point.heldout_error, best.heldout_error))
