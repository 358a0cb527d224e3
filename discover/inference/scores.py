"""What a rule predicts of recordings that were left out, and the choice by it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from discover.inference.recordings import Recordings

__all__ = ["Score", "allowances", "choose", "difference", "scored", "variance_in", "variance_of"]

FloatArray = NDArray[np.float64]
Fitted = Callable[[NDArray[np.bool_]], FloatArray]

WORST_LOSS = 1e6
"""A prediction that is not finite, or worse than this, counts as much."""


@dataclass(frozen=True, eq=False)
class Score:
    """Errors of a rule, as shares of the variance of the target.

    Attributes
    ----------
    train_loss : float
        Mean over recordings, the constants fitted to all of them.
    by_recording : ndarray, shape (n_recordings,)
        Mean squared error of every recording, the constants fitted without it.
    predictions : ndarray, shape (n_rows,)
        What was predicted of every row, its recording left out.
    """

    train_loss: float
    by_recording: FloatArray
    predictions: FloatArray

    @property
    def loss(self) -> float:
        """Mean over recordings that were left out."""
        return float(self.by_recording.mean())

    @property
    def error(self) -> float:
        """Standard error of that mean."""
        return float(self.by_recording.std(ddof=1) / np.sqrt(self.by_recording.size))


def variance_of(target: FloatArray) -> float:
    """Return the variance of a target; its mean square where it does not vary."""
    return float(np.var(target)) or float(np.mean(target**2)) or 1.0


def variance_in(recordings: Recordings) -> float:
    """Return the variance of the target of recordings; by the weights of its rows where they have some."""
    target, roots = recordings.samples.target, recordings.roots
    if not recordings.is_weighted:
        return variance_of(target)
    left = target - roots * float(roots @ target) / float(roots @ roots)
    return float(np.mean(left**2)) or float(np.mean(target**2)) or 1.0


def scored(recordings: Recordings, n_folds: int, predict: Fitted) -> Score:
    """Score a rule by cross-validation over recordings.

    Parameters
    ----------
    recordings : Recordings
    n_folds : int
    predict : callable
        Takes flags of the rows that may be fitted to, and returns predictions of all rows.
    """
    target, groups = recordings.samples.target, recordings.groups
    predictions = np.empty_like(target)
    for fit, held in recordings.splits(n_folds):
        predictions[held] = predict(fit)[held]
    trained = predict(np.ones(target.size, dtype=bool))
    unit = variance_in(recordings)
    losses = [
        _by_recording(one - target, groups, recordings.n_recordings, unit) for one in (trained, predictions)
    ]
    return Score(float(losses[0].mean()), losses[1], predictions)


def _by_recording(residual: FloatArray, groups: NDArray[np.int64], n: int, unit: float) -> FloatArray:
    with np.errstate(all="ignore"):
        squares = np.minimum(np.nan_to_num(residual**2 / unit, nan=WORST_LOSS, posinf=WORST_LOSS), WORST_LOSS)
    return np.bincount(groups, squares, minlength=n) / np.bincount(groups, minlength=n)


def difference(score: Score, best: Score) -> tuple[float, float]:
    """Return the mean by which a loss is larger, recording by recording, and its standard error."""
    paired = score.by_recording - best.by_recording
    return float(paired.mean()), float(paired.std(ddof=1) / np.sqrt(paired.size))


def by_chance(n_fewer: int, n_picked_from: int, n_rows: int) -> float:
    """Return the share of its loss that a rule may gain by constants that stand for nothing.

    The best of p terms without any effect lowers the squared error by about ``2 log(p)`` times the variance
    of the noise over the number of rows, and in one of thirty cases by four of these more. Folds do not show
    this where the term was picked with all recordings in view.

    Parameters
    ----------
    n_fewer : int
        Constants that it has more than the other rule; at least one is counted.
    n_picked_from : int
        Terms that these were picked from.
    n_rows : int

    References
    ----------
    Foster & George (1994), The risk inflation criterion for multiple regression, Ann. Stat. 22:1947-1975.
    """
    return max(n_fewer, 1) * (2 * math.log(max(n_picked_from, 2)) + 4) / max(n_rows, 1)


def allowances(
    scores: Sequence[Score], sizes: Sequence[int], n_picked_from: int, n_rows: int
) -> tuple[int, list[float]]:
    """Return the position of the lowest loss, and how far above it chance may have put each of the others.

    Chance explains the difference to a better rule by what that gains from its further constants, and one
    standard error of the mean difference, recording by recording. A rule is as good as the best only where
    chance explains its difference to every better one: one with many constants, which may gain much by
    chance, does not excuse a rule that one with few constants beats.
    """
    best = min(range(len(scores)), key=lambda n: (scores[n].loss, sizes[n]))
    lowest = scores[best].loss
    found = []
    for score, size in zip(scores, sizes, strict=True):
        explained = [
            other.loss
            - lowest
            + difference(score, other)[1]
            + other.loss * by_chance(others_size - size, n_picked_from, n_rows)
            for other, others_size in zip(scores, sizes, strict=True)
            if other.loss < score.loss
        ]
        found.append(min(explained, default=0.0))
    return best, found


def choose(
    scores: Sequence[Score],
    sizes: Sequence[int],
    resolution: float,
    floor: float,
    n_picked_from: int = 2,
    n_rows: int = 1_000_000,
) -> tuple[int, str]:
    """Choose the smallest rule that predicts recordings as well as the best.

    As well is a difference that chance explains (:func:`allowances`), or one within the resolution, a share
    of the lowest loss; losses below the floor are all equal.

    Returns
    -------
    position : int
    reason : str
    """
    best, allowed = allowances(scores, sizes, n_picked_from, n_rows)
    limit = max(resolution * scores[best].loss, floor)
    within = [n for n, one in enumerate(scores) if one.loss - scores[best].loss <= max(allowed[n], limit)]
    position = min(within, key=lambda n: (sizes[n], scores[n].loss))
    if position == best:
        return best, (
            f"lowest error on recordings that were left out, {scores[best].loss:.4g} of the variance, and "
            "nothing with fewer terms is as good"
        )
    reach = (
        f"what chance explains ({allowed[position]:.2g})"
        if allowed[position] >= limit
        else f"the resolution ({limit:.2g})"
    )
    return position, (
        f"fewest terms ({sizes[position]}) whose error on recordings that were left out "
        f"({scores[position].loss:.4g} of the variance) is within {reach} of the lowest "
        f"({scores[best].loss:.4g}, {sizes[best]} terms), recording by recording"
    )
