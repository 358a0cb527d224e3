"""Slow, obvious twins: of the weak form, integrals as sums over trapezoids; of the quick search, loops."""

from __future__ import annotations

import itertools
import math

import numpy as np

from discover.expression import evaluate, parse
from discover.inference.recordings import Recordings


def bump(s: float) -> float:
    """Test function on -1..1 before it is normalised."""
    return (1 - s * s) ** 6 if abs(s) < 1 else 0.0


def _trapezoids(times: np.ndarray, values: list[float]) -> float:
    total = 0.0
    for k in range(len(times) - 1):
        total += 0.5 * (times[k + 1] - times[k]) * (values[k] + values[k + 1])
    return total


def _places(times: np.ndarray) -> tuple[list[float], float]:
    middle, reach = (times[0] + times[-1]) / 2, (times[-1] - times[0]) / 2
    return [(t - middle) / reach for t in times], reach


def integral(times: np.ndarray, values: np.ndarray) -> float:
    """Mean of values over a window, weighted by the bump."""
    places, _ = _places(times)
    weights = [bump(s) for s in places]
    above = _trapezoids(times, [weight * value for weight, value in zip(weights, values, strict=True)])
    return above / _trapezoids(times, weights)


def weak_target(times: np.ndarray, weights: np.ndarray) -> float:
    """Minus the integral of the bump's derivative times the weight, less what a constant weight gives."""
    places, reach = _places(times)
    slopes = [-12 * s * (1 - s * s) ** 5 / reach if abs(s) < 1 else 0.0 for s in places]
    area = _trapezoids(times, [bump(s) for s in places])
    centred = weights - weights.mean()
    return -_trapezoids(times, [slope * value for slope, value in zip(slopes, centred, strict=True)]) / area


def simulate_weight(law: str, n: int, dt: float, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Weight under ``dw/dt = law`` for smooth random x and y, by small Euler steps."""
    fine = 10
    t = np.arange((n - 1) * fine + 1) * dt / fine

    def smooth() -> np.ndarray:
        size, rate, phase = rng.normal(size=6), rng.uniform(0.1, 0.6, 6), rng.uniform(0, 2 * np.pi, 6)
        return 0.7 * np.sum(size[:, None] * np.sin(2 * np.pi * rate[:, None] * t + phase[:, None]), axis=0)

    x, y = smooth(), smooth()
    node = parse(law, ("x", "y", "w"))
    w = np.empty_like(t)
    w[0] = rng.normal()
    for k in range(len(t) - 1):
        w[k + 1] = w[k] + dt / fine * float(evaluate(node, {"x": x[k], "y": y[k], "w": w[k]}))
    return {"x": x[::fine], "y": y[::fine], "w": w[::fine], "t": t[::fine]}


def quick_gain(recordings: Recordings, degree: int, n_folds: int) -> float:
    """Share of the mean's error that sums of up to three monomials save, added one by one, on data left out.

    Of monomials of total degree two and of all with single powers up to the degree, whichever saves more.
    """
    target, groups = recordings.samples.target, recordings.groups
    inputs = recordings.samples.inputs
    powers = list(itertools.product(range(degree + 1), repeat=inputs.shape[1]))
    lowest = math.inf
    for allowed in (powers, [one for one in powers if sum(one) <= 2]):
        columns = [np.prod(inputs ** np.array(one), axis=1) for one in allowed if sum(one)]
        support: list[np.ndarray] = [np.ones(len(target))]
        for _ in range(3):
            sums = np.column_stack(support)
            left = target - sums @ np.linalg.lstsq(sums, target, rcond=None)[0]
            overlaps = [abs(np.corrcoef(column, left)[0, 1]) * left.std() for column in columns]
            support.append(columns[int(np.argmax(overlaps))])
            lowest = min(lowest, _left_out(np.column_stack(support), target, groups, recordings, n_folds))
    return 1 - lowest / _left_out(np.ones((len(target), 1)), target, groups, recordings, n_folds)


def _left_out(
    sums: np.ndarray, target: np.ndarray, groups: np.ndarray, recordings: Recordings, n_folds: int
) -> float:
    squares = np.empty(len(target))
    for fit, held in recordings.splits(n_folds):
        found = np.linalg.lstsq(sums[fit], target[fit], rcond=None)[0]
        squares[held] = (target[held] - sums[held] @ found) ** 2
    return float(np.mean([squares[groups == one].mean() for one in range(recordings.n_recordings)]))
