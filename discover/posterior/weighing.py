"""Samples that are weighed, so that they follow the posterior and not only what a network learnt of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["coverage_of", "effective", "importance", "quantiles", "resampled", "weighted_distance"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def importance(log_target: FloatArray, log_proposal: FloatArray) -> FloatArray:
    """Return weights (n,) that add up to one; a sample with a target of minus infinity has none.

    Examples
    --------
    >>> importance(np.array([0.0, 0.0, -np.inf]), np.zeros(3)).tolist()
    [0.5, 0.5, 0.0]
    """
    logs = np.where(np.isfinite(log_target), log_target - log_proposal, -np.inf)
    if not np.isfinite(logs).any():
        return np.zeros(len(logs))
    weights = np.exp(logs - logs.max())
    total: FloatArray = weights / weights.sum()
    return total


def effective(weights: FloatArray) -> float:
    """Return how many equally weighted samples tell as much as these, by Kish.

    References
    ----------
    Kish (1965), Survey Sampling, section 11.7.

    Examples
    --------
    >>> effective(np.array([0.5, 0.5, 0.0]))
    2.0
    """
    square = float(np.sum(weights**2))
    return float(np.sum(weights)) ** 2 / square if square > 0 else 0.0


def resampled(weights: FloatArray, n: int, rng: np.random.Generator) -> IntArray:
    """Draw `n` places with probabilities that go with the weights, evenly spread (systematic resampling).

    Examples
    --------
    >>> resampled(np.array([0.5, 0.0, 0.5]), 4, np.random.default_rng(0)).tolist()
    [0, 0, 2, 2]
    """
    points = (np.arange(n) + rng.uniform()) / n
    edges = np.cumsum(weights) / np.sum(weights)
    return np.searchsorted(edges, points).clip(0, len(weights) - 1).astype(np.int64)


def quantiles(values: FloatArray, weights: FloatArray, levels: tuple[float, ...] = QUANTILES) -> FloatArray:
    """Return quantiles of weighted values.

    Examples
    --------
    >>> quantiles(np.array([3.0, 1.0, 2.0]), np.ones(3), (0.5,)).tolist()
    [2.0]
    """
    order = np.argsort(values)
    middle = np.cumsum(weights[order]) - 0.5 * weights[order]
    return np.asarray(np.interp(np.array(levels) * weights.sum(), middle, values[order]))


def weighted_distance(
    first: FloatArray, second: FloatArray, first_weights: FloatArray, second_weights: FloatArray
) -> float:
    """Return the largest distance between two cumulative distributions of weighted values.

    Examples
    --------
    >>> weighted_distance(np.array([0.0, 1.0]), np.array([0.0, 1.0]), np.ones(2), np.array([3.0, 1.0]))
    0.25
    """
    points = np.concatenate([first, second])

    def shares(values: FloatArray, weights: FloatArray) -> FloatArray:
        order = np.argsort(values)
        below = np.concatenate([[0.0], np.cumsum(weights[order]) / weights.sum()])
        found: FloatArray = below[np.searchsorted(values[order], points, side="right")]
        return found

    return float(np.abs(shares(first, first_weights) - shares(second, second_weights)).max())


def coverage_of(
    ranks: IntArray, n_samples: int, levels: tuple[float, ...] = LEVELS
) -> list[tuple[float, float]]:
    """Return nominal and found coverage of regions of highest density.

    Parameters
    ----------
    ranks : ndarray of int, shape (n_tests,)
        How many of the samples have a lower density than the rule in question.
    n_samples : int

    Examples
    --------
    >>> coverage_of(np.array([0, 25, 50, 75]), 100, (0.5,))
    [(0.5, 0.5)]
    """
    outside = 1.0 - ranks / n_samples
    return [(level, float(np.mean(outside <= level))) for level in levels]
