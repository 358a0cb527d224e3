"""The axis on which losses stand, the same in the interactive front and in the figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from discover.pareto import ParetoFront

__all__ = ["FrontView", "front_view", "is_spread", "set_log_axis", "staircase"]


def is_spread(losses: Sequence[float]) -> bool:
    """Whether positive numbers are so far apart that only a logarithmic axis shows them.

    Examples
    --------
    >>> is_spread([0.1, 2.0]), is_spread([0.1, 0.2]), is_spread([0.0, 2.0])
    (True, False, False)
    """
    return bool(losses) and min(losses) > 0 and max(losses) > 10 * min(losses)


def set_log_axis(axes: Axes) -> None:
    """Make the axis of losses logarithmic, with plain numbers at 1, 2 and 5 of each decade."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=8))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())


@dataclass(frozen=True)
class FrontView:
    """The part of the plane of complexity and loss in which a front is drawn.

    Attributes
    ----------
    logarithmic : bool
        Whether the axis of losses is; its ends are then given as powers of ten.
    low, high : float
        Ends of the axis of losses.
    right : float
        End of the axis of complexity, which begins at 0.
    n_outside : int
        Beaten candidates that lie outside.
    ticks : tuple of float
        Losses that are labelled on a linear axis. There are none below zero where no loss lies there.
    """

    logarithmic: bool
    low: float
    high: float
    right: float
    n_outside: int
    ticks: tuple[float, ...]


def staircase(front: ParetoFront) -> tuple[list[float], list[float]]:
    """Return the corners of the front: growing complexities, and the lowest loss up to each of them.

    Candidates are on the front by their held-out losses. On other problems a more complex one may have a
    higher loss than a simpler one; the line then stays where it is.
    """
    losses = np.minimum.accumulate([one.loss for one in front.front])
    return [one.complexity for one in front.front], losses.tolist()


def front_view(front: ParetoFront) -> FrontView:
    """Return the part of the plane that shows the front and the chosen rule well.

    Beaten candidates do not stretch it: some are many times as complex as all that can be chosen. There is
    room below for the mark of the chosen rule, because nothing ever lies under a front.
    """
    shown = [one for one in front.candidates if one.on_front or one.id == front.chosen.id]
    beaten = [one for one in front.candidates if not (one.on_front or one.id == front.chosen.id)]
    right = 1.25 * max(one.complexity for one in shown) + 3
    losses = [one.loss for one in shown]
    lows, highs = [one.low for one in shown], [one.high for one in shown]
    top = 1.5 * max(losses) or math.inf
    highs += [one.loss for one in beaten if one.complexity <= right and one.loss <= top]
    logarithmic = is_spread(losses)
    if logarithmic:
        lows = [math.log10(max(low, 0.5 * min(losses))) for low in lows]
        highs = [math.log10(high) for high in highs]
    low, high = min(lows), max(highs)
    span = (high - low) or abs(high) or 1.0
    bottom, top_end = low - 0.28 * span, high + 0.06 * span
    least = 0.0 if low >= 0.0 else bottom
    ticks = MaxNLocator(7, steps=[1, 2, 5, 10]).tick_values(bottom, top_end)
    ticks = tuple(float(tick) for tick in ticks if max(bottom, least) <= tick <= top_end)
    n_outside = sum(one.complexity > right or one.loss > top for one in beaten)
    return FrontView(logarithmic, bottom, top_end, right, n_outside, ticks)
