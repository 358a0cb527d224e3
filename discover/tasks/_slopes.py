"""Derivatives of a task's loss by the final weights: those that the task states, else central differences."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from discover.errors import TaskError

__all__ = ["check_measures", "check_slopes", "losses_alone", "losses_with_slopes"]

FloatArray = NDArray[np.float64]
Distance = Callable[[FloatArray], Any]
"""Takes final weights (n_problems, ...); returns losses (n_problems,), or these and their derivatives."""

Places = NDArray[np.int64]
"""Weights of one problem by their numbers, counted through all axes."""

STEP = 1e-6
"""Step of the differences, relative to weights of one or more."""

TOLERANCE = 1e-3
"""Difference of derivatives, relative to the largest, at which those that a task states count as wrong."""

MOST_SINGLY = 64
"""Weights that are checked one by one; more are checked together, along random directions."""

N_DIRECTIONS = 4
"""Random directions along which the derivatives by many weights are checked."""


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
    return result, _differences(distance, weights, np.arange(weights[0].size)).reshape(weights.shape)


def check_slopes(name: str, distance: Distance, weights: FloatArray) -> None:
    """Refuse derivatives that are none of the losses.

    A few weights are looked at one by one. Many are looked at together, along random directions, so that the
    check takes a dozen evaluations however many there are; only where a direction disagrees is the weight
    searched for that is to blame.

    Parameters
    ----------
    name : str
        Of the task, for the error.
    distance : callable
    weights : ndarray, shape (n_problems, ...)
        Where derivatives are compared.

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
    sizes = np.abs(slopes)
    allowed = TOLERANCE * max(1.0, float(sizes[np.isfinite(sizes)].max(initial=0.0)))
    places, together = np.arange(weights[0].size), 0.0
    if len(places) > MOST_SINGLY:
        places, together = _suspects(distance, weights, slopes, allowed)
        if together <= allowed:
            return
    stated = np.reshape(slopes, (len(slopes), -1))[:, places]
    gaps = np.abs(stated - _differences(distance, weights, places)).max(axis=0)
    worst = int(np.argmax(np.nan_to_num(gaps, nan=np.inf)))
    if not gaps[worst] <= allowed:
        at = ", ".join(str(i) for i in np.unravel_index(places[worst], weights.shape[1:]))
        off = f"off by up to {gaps[worst]:.2g} (at the weight [{at}])"
    elif not together <= allowed:
        off = f"off by {together:.2g}, summed over many weights,"
    else:
        return
    raise TaskError(
        f"`distance` of the task {name} returns derivatives that are {off} from differences of its losses. "
        "Correct them, or return the losses alone: then differences are used."
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


def _differences(distance: Distance, weights: FloatArray, places: Places) -> FloatArray:
    """Central differences by some of the weights, shape (n_problems, n_places)."""
    slopes = np.empty((len(weights), len(places)))
    for column, place in enumerate(places):
        at = (slice(None), *np.unravel_index(place, weights.shape[1:]))
        step = STEP * np.maximum(np.abs(weights[at]), 1.0)
        up, down = weights.copy(), weights.copy()
        up[at] += step
        down[at] -= step
        slopes[:, column] = (losses_alone(distance(up)) - losses_alone(distance(down))) / (2 * step)
    return slopes


def _suspects(
    distance: Distance, weights: FloatArray, slopes: FloatArray, allowed: float
) -> tuple[Places, float]:
    """Search for wrong derivatives among many.

    Returns
    -------
    places : ndarray of int
        A few weights among which the wrong derivative is; none where all directions agree.
    together : float
        By how much the first direction that does not agree is off.
    """
    n_problems, n = len(weights), weights[0].size
    # All weights together move as far as a few would: kinks of the loss lie as far away as they did.
    step = STEP * sqrt(MOST_SINGLY / n) * max(1.0, float(np.abs(weights).max()))
    stated = np.reshape(slopes, (n_problems, n))

    def gaps(direction: FloatArray) -> FloatArray:
        move = step * direction.reshape(weights.shape)
        change = losses_alone(distance(weights + move)) - losses_alone(distance(weights - move))
        expected = (np.where(direction == 0.0, 0.0, stated) * direction).sum(axis=1)
        off: FloatArray = np.abs(expected - change / (2 * step))
        off[np.isnan(off)] = np.inf
        return off

    rng = np.random.default_rng(0)
    for _ in range(N_DIRECTIONS):
        # No weight counts less than one, so that an error of a single one shows in full.
        direction = rng.uniform(1.0, 2.0, (n_problems, n)) * rng.choice((-1.0, 1.0), (n_problems, n))
        off = gaps(direction)
        if off.max() > allowed:
            break
    else:
        return np.arange(0), 0.0
    problem, places = int(np.argmax(off)), np.arange(n)
    while len(places) > MOST_SINGLY:
        halves = np.array_split(places, 2)
        parts = np.zeros((2, n_problems, n))
        for part, half in zip(parts, halves, strict=True):
            part[:, half] = direction[:, half]
        places = halves[int(np.argmax([gaps(part)[problem] for part in parts]))]
    return places, float(off[problem])
