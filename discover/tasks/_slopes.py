"""Derivatives of a task's loss by the final weights: those that the task states, else central differences."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from discover.errors import TaskError

__all__ = ["check_measures", "check_slopes", "losses_alone", "losses_with_slopes"]

FloatArray = NDArray[np.float64]
Distance = Callable[[FloatArray], Any]
"""Takes final weights (n_problems, ...); returns losses (n_problems,), or these and their derivatives."""

STEP = 1e-6
"""Step of the differences, relative to weights of one or more."""

TOLERANCE = 1e-3
"""Difference of derivatives, relative to the largest, at which those that a task states count as wrong."""


def losses_alone(result: Any) -> FloatArray:
    """Return the losses of what a distance returns."""
    losses: FloatArray = result[0] if isinstance(result, tuple) else result
    return losses


def losses_with_slopes(distance: Distance, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return losses and their derivatives, by differences over the weights where the distance has none.

    Each problem's loss depends on its own weights alone, so that all problems take a step at once: two
    evaluations a weight, which is little beside the inner loop.

    Examples
    --------
    >>> losses, slopes = losses_with_slopes(lambda w: np.sum(w**2, axis=1), np.array([[1.0, -2.0]]))
    >>> losses.tolist(), slopes.round(6).tolist()
    ([5.0], [[2.0, -4.0]])
    """
    result = distance(weights)
    if isinstance(result, tuple):
        losses, slopes = result
        return losses, slopes
    return result, _differences(distance, weights)


def check_slopes(name: str, distance: Distance, weights: FloatArray) -> None:
    """Refuse derivatives that are none of the losses.

    Raises
    ------
    TaskError
        If they differ from central differences.
    """
    result = distance(weights)
    if not isinstance(result, tuple):
        return
    _, slopes = result
    if np.shape(slopes) != weights.shape:
        raise TaskError(
            f"`distance` of the task {name} returns derivatives of shape {np.shape(slopes)} for weights of "
            f"shape {weights.shape}."
        )
    expected = _differences(distance, weights)
    worst = float(np.abs(slopes - expected).max())
    if not worst <= TOLERANCE * max(1.0, float(np.abs(expected).max())):
        raise TaskError(
            f"`distance` of the task {name} returns derivatives that are off by up to {worst:.2g} from "
            "differences of its losses. Correct them, or return the losses alone: then differences are used."
        )


def check_measures(name: str, stated: Mapping[str, str], measured: Iterable[str]) -> None:
    """Refuse measures that are not those that the task states.

    Raises
    ------
    TaskError
    """
    names = list(measured)
    if set(names) != set(stated):
        raise TaskError(
            f"The task {name} states the measures {', '.join(stated)}, but the loss and what "
            f"`measure` returns are {', '.join(names)}."
        )


def _differences(distance: Distance, weights: FloatArray) -> FloatArray:
    slopes = np.empty_like(weights, dtype=np.float64)
    for place in np.ndindex(weights.shape[1:]):
        at = (slice(None), *place)
        step = STEP * np.maximum(np.abs(weights[at]), 1.0)
        up, down = weights.copy(), weights.copy()
        up[at] += step
        down[at] -= step
        slopes[at] = (losses_alone(distance(up)) - losses_alone(distance(down))) / (2 * step)
    return slopes
