"""Smooth functions of what was recorded, without a formula: what the data determine, whatever the rule.

Ridge regression on the features of a Gaussian kernel (Nystroem's approximation) can follow any smooth function
of a few variables. It is linear in the target, so that many targets are fitted for the price of one.

References
----------
Williams & Seeger (2000), Using the Nystroem method to speed up kernel machines, NeurIPS 13.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from discover.infer.recordings import Recordings

__all__ = ["by_recording", "smooth_predictions"]

FloatArray = NDArray[np.float64]

N_CENTRES = 200
WIDTHS = (0.5, 1.5)
"""Widths of the kernel, in units of the spread of the variables times the root of their number."""

RIDGES = (1e-7, 1e-4, 1e-2, 1.0)
"""Strengths of the ridge, relative to the mean square of a feature."""


def smooth_predictions(recordings: Recordings, targets: FloatArray, n_folds: int) -> Iterator[FloatArray]:
    """Yield what smooth functions of several widths and strengths predict of recordings that were left out.

    Parameters
    ----------
    recordings : Recordings
    targets : ndarray, shape (n_rows, n_targets)
    n_folds : int

    Yields
    ------
    ndarray, shape (n_rows, n_targets)
    """
    for width in WIDTHS:
        features = _features(recordings, width)
        predicted = [np.empty_like(targets) for _ in RIDGES]
        for fit, held in recordings.splits(n_folds):
            inside, aims = features[fit], targets[fit]
            level, mean = inside.mean(axis=0), aims.mean(axis=0)
            inside = inside - level
            values, vectors = np.linalg.eigh(inside.T @ inside)
            values = np.maximum(values, 0.0)
            along = vectors.T @ (inside.T @ (aims - mean))
            outside = (features[held] - level) @ vectors
            for number, ridge in enumerate(RIDGES):
                weights = 1.0 / (values + ridge * max(float(values.mean()), 1e-300))
                predicted[number][held] = outside @ (weights[:, None] * along) + mean
        yield from predicted


def _features(recordings: Recordings, width: float) -> FloatArray:
    """Return the features of all rows, shape (n_rows, n_features); in the weak form, of all equations."""
    from sklearn.kernel_approximation import Nystroem

    samples = recordings.samples
    spread = samples.inputs.std(axis=0)
    scaled = (samples.inputs - samples.inputs.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    gamma = 0.5 / (width**2 * scaled.shape[1])
    made = Nystroem(gamma=gamma, n_components=min(N_CENTRES, len(scaled)), random_state=0)
    return np.asarray(samples.observed(made.fit_transform(scaled)))


def by_recording(values: FloatArray, groups: NDArray[np.int64], n_recordings: int) -> FloatArray:
    """Return the mean over the rows of every recording, shape (n_recordings, ...)."""
    order = np.argsort(groups, kind="stable")
    counts = np.bincount(groups, minlength=n_recordings)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    sums = np.add.reduceat(values[order], starts, axis=0)
    return np.asarray(sums / counts.reshape(-1, *[1] * (values.ndim - 1)))
