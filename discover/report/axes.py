"""The axis on which losses stand, the same in the interactive front and in the figures."""

from __future__ import annotations

import math
from collections.abc import Sequence

from discover.pareto import ParetoFront

__all__ = ["front_range", "is_spread"]


def is_spread(losses: Sequence[float]) -> bool:
    """Whether positive numbers are so far apart that only a logarithmic axis shows them.

    Examples
    --------
    >>> is_spread([0.1, 2.0]), is_spread([0.1, 0.2]), is_spread([0.0, 2.0])
    (True, False, False)
    """
    return bool(losses) and min(losses) > 0 and max(losses) > 10 * min(losses)


def front_range(front: ParetoFront) -> tuple[bool, float, float]:
    """Return whether the axis of a front's losses is logarithmic, and its ends.

    There is room below for the mark of the chosen rule, because nothing ever lies under a front. The ends of
    a logarithmic axis are given as powers of ten.
    """
    losses = [one.loss for one in front.candidates]
    lows = [one.low for one in front.candidates]
    highs = [one.high for one in front.candidates]
    logarithmic = is_spread(losses)
    if logarithmic:
        lows = [math.log10(max(low, 0.5 * min(losses))) for low in lows]
        highs = [math.log10(high) for high in highs]
    low, high = min(lows), max(highs)
    span = (high - low) or abs(high) or 1.0
    return logarithmic, low - 0.28 * span, high + 0.06 * span
