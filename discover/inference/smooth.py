"""What the variables determine, without a formula: smooth functions and trees in place of a rule.

Ridge regression on the features of a kernel (Nystroem's approximation) can follow any smooth function of a
few variables. It is linear in the target, so that many targets are fitted for the price of one. Boosted trees
follow what has steps.

References
----------
Williams & Seeger (2000), Using the Nystroem method to speed up kernel machines, NeurIPS 13.
Durrande, Ginsbourger & Roustant (2012), Additive covariance kernels, Ann. Fac. Sci. Toulouse 21.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from discover.inference.recordings import Recordings

__all__ = ["by_recording", "flexible_predictions", "smooth_predictions", "thinned"]

FloatArray = NDArray[np.float64]
Kernel = tuple[str, float]

MAX_ROWS = 4000
"""Of longer data every n-th row is taken."""

QUICK: tuple[Kernel, ...] = (("joint", 0.5), ("joint", 1.5))
THOROUGH: tuple[Kernel, ...] = (("joint", 0.5), ("joint", 1.0), ("by variable", 1.0))
"""Kernels and their widths, in units of the spread of the variables; a joint one's is that times the root of
their number."""

RIDGES = (1e-7, 1e-5, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)
"""Strengths of the ridge, relative to the mean square of a feature."""

_CENTRES = 200
_MANY_CENTRES = 300
_SINGULAR = 1e-10


def thinned(recordings: Recordings) -> tuple[Recordings, NDArray[np.bool_]]:
    """Return every n-th row of every recording where there are too many, and flags of the rows taken."""
    step = -(-recordings.samples.n_rows // MAX_ROWS)
    rows = np.zeros(recordings.samples.n_rows, dtype=bool)
    for own in recordings.rows:
        rows[own[::step]] = True
    if step == 1:
        return recordings, rows
    return replace(recordings, samples=recordings.samples.where(rows), groups=recordings.groups[rows]), rows


def smooth_predictions(
    recordings: Recordings,
    targets: FloatArray,
    n_folds: int,
    kernels: Sequence[Kernel] = QUICK,
    n_centres: int = _CENTRES,
) -> Iterator[FloatArray]:
    """Yield what smooth functions of several kinds predict of recordings that were left out.

    Parameters
    ----------
    recordings : Recordings
    targets : ndarray, shape (n_rows, n_targets)
    n_folds : int
    kernels : sequence of (str, float)
        Kinds and widths.
    n_centres : int

    Yields
    ------
    ndarray, shape (n_rows, n_targets)
    """
    for kind, width in kernels:
        features = _features(recordings, kind, width, n_centres)
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


def flexible_predictions(recordings: Recordings, target: FloatArray, n_folds: int) -> Iterator[FloatArray]:
    """Yield the same of one target, shape (n_rows,), by more kernels, and by trees where there are rows."""
    for predicted in smooth_predictions(recordings, target[:, None], n_folds, THOROUGH, _MANY_CENTRES):
        yield predicted[:, 0]
    if recordings.samples.kernel is None:
        yield _by_trees(recordings, target, n_folds)


def _by_trees(recordings: Recordings, target: FloatArray, n_folds: int) -> FloatArray:
    from sklearn.ensemble import HistGradientBoostingRegressor

    inputs = recordings.samples.inputs
    predicted = np.empty_like(target)
    for fit, held in recordings.splits(n_folds):
        model = HistGradientBoostingRegressor(
            learning_rate=0.1,
            max_iter=100,
            max_leaf_nodes=12,
            min_samples_leaf=8,
            early_stopping=False,
            random_state=0,  # of no effect here, but without it NumPy's global one is drawn from
        )
        predicted[held] = model.fit(inputs[fit], target[fit]).predict(inputs[held])
    return predicted


def _features(recordings: Recordings, kind: str, width: float, n_centres: int) -> FloatArray:
    """Return the features of all rows, shape (n_rows, n_features); in the weak form, of all equations."""
    samples = recordings.samples
    spread = samples.inputs.std(axis=0)
    scaled = (samples.inputs - samples.inputs.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    rng = np.random.default_rng(0)
    chosen = rng.permutation(len(scaled))[:n_centres]
    centres = scaled[np.sort(chosen)]
    values, vectors = np.linalg.eigh(_kernel(centres, centres, kind, width))
    kept = values > _SINGULAR * values[-1]
    features = _kernel(scaled, centres, kind, width) @ (vectors[:, kept] / np.sqrt(values[kept]))
    return np.asarray(samples.observed(features))


def _kernel(states: FloatArray, centres: FloatArray, kind: str, width: float) -> FloatArray:
    """Gaussian of the distance, or the product over variables of one plus the Gaussian of each."""
    if kind == "joint":
        squares = sum((a[:, None] - b) ** 2 for a, b in zip(states.T, centres.T, strict=True))
        return np.asarray(np.exp(-0.5 * squares / (width**2 * states.shape[1])))
    product = np.ones((len(states), len(centres)))
    for a, b in zip(states.T, centres.T, strict=True):
        # Divided by 2, so that the kernel of a state with itself is 1 for any number of variables.
        product *= (1 + np.exp(-0.5 * (a[:, None] - b) ** 2 / width**2)) / 2
    return product


def by_recording(values: FloatArray, groups: NDArray[np.int64], n_recordings: int) -> FloatArray:
    """Return the mean over the rows of every recording, shape (n_recordings, ...)."""
    order = np.argsort(groups, kind="stable")
    counts = np.bincount(groups, minlength=n_recordings)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    sums = np.add.reduceat(values[order], starts, axis=0)
    return np.asarray(sums / counts.reshape(-1, *[1] * (values.ndim - 1)))
