"""A synapse between two neurons whose spikes are given: traces at every spike, and fits of what they explain.

Traces decay exponentially and jump by one at a spike of their neuron. At a spike they are read before they
jump: a spike does not see itself. No network is simulated, so that a protocol of an experiment, some hundred
spikes, takes microseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["GridFit", "Tie", "fit_on_grid", "follow_weights", "traces_at_spikes"]

FloatArray = NDArray[np.float64]
Tie = Literal["pre first", "post first"]
"""Which of two spikes in the same instant comes first; each of them then sees the other's jump or not."""


def traces_at_spikes(
    pre_ms: ArrayLike,
    post_ms: ArrayLike,
    taus_ms: ArrayLike,
    is_pre: ArrayLike,
    tie: Tie = "pre first",
    jumps: tuple[FloatArray, FloatArray] | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Return the traces just before each spike.

    Parameters
    ----------
    pre_ms, post_ms : array_like, shape (n_pre,) and (n_post,)
        Times of the spikes of both neurons, in any order.
    taus_ms : array_like, shape (n_traces,)
        Time constants.
    is_pre : array_like of bool, shape (n_traces,)
        Whether a trace is of the presynaptic neuron's spikes.
    tie : str
        What comes first of spikes in one instant.
    jumps : tuple of ndarray, shape (n_pre,) and (n_post,), optional
        By how much traces jump at each spike, in the order of time; by default by one.

    Returns
    -------
    at_pre, at_post : ndarray, shape (n_pre, n_traces) and (n_post, n_traces)
        In the order of time.

    Raises
    ------
    ValueError
        If a time is not finite, or a time constant not positive.

    Examples
    --------
    A postsynaptic spike 10 ms after a presynaptic one sees its trace with a time constant of 20 ms:

    >>> _, at_post = traces_at_spikes([0.0], [10.0], [20.0], [True])
    >>> round(float(at_post[0, 0]), 4)
    0.6065
    """
    from sims._pairing_kernels import read_traces

    pre, post = (np.sort(np.asarray(times, dtype=np.float64).ravel()) for times in (pre_ms, post_ms))
    taus = np.asarray(taus_ms, dtype=np.float64).ravel()
    sides = np.asarray(is_pre, dtype=np.bool_).ravel()
    if not (np.all(np.isfinite(pre)) and np.all(np.isfinite(post))):
        raise ValueError("Times of spikes are finite numbers of milliseconds.")
    if not (np.all(np.isfinite(taus)) and np.all(taus > 0)) or sides.shape != taus.shape:
        raise ValueError("Every trace has a positive time constant and the side of one neuron.")
    if tie not in ("pre first", "post first"):
        raise ValueError(f"Of spikes in one instant the pre or the post one comes first, got {tie!r}.")
    at_pre, at_post = np.empty((len(pre), len(taus))), np.empty((len(post), len(taus)))
    at_spikes = (np.ones(len(pre)), np.ones(len(post))) if jumps is None else jumps
    read_traces(pre, post, taus, sides, tie == "pre first", *at_spikes, at_pre, at_post)
    return at_pre, at_post


@dataclass(frozen=True, eq=False)
class GridFit:
    """Fits at all points of a grid, with all rows and with folds left out.

    Attributes
    ----------
    coefficients : ndarray, shape (n_grid, n_terms)
    sums : ndarray, shape (n_grid,)
        Squared residuals; infinite where the rows do not tell the terms apart.
    predicted : ndarray, shape (n_rows,)
        Of every row by the point and the coefficients that are the best without its fold; zero where there
        are none.
    places : ndarray of int, shape (n_folds,)
        That point for every fold; -1 where there is none.
    """

    coefficients: FloatArray
    sums: FloatArray
    predicted: FloatArray
    places: NDArray[np.int64]

    @property
    def is_sound(self) -> bool:
        """Whether there are best coefficients anywhere."""
        return bool(np.isfinite(self.sums).any())

    @property
    def best(self) -> int:
        """Point of the grid with the lowest sum."""
        return int(np.argmin(self.sums))


def fit_on_grid(rows: ArrayLike, targets: ArrayLike, folds: ArrayLike) -> GridFit:
    """Fit coefficients by least squares at every point of a grid, also with every fold left out.

    Parameters
    ----------
    rows : array_like, shape (n_grid, n_rows, n_terms)
    targets : array_like, shape (n_rows,)
    folds : array_like of int, shape (n_rows,)
        Fold of every row, from 0.

    Examples
    --------
    Three rows that lie on a line through the origin: each is predicted by the other two.

    >>> found = fit_on_grid([[[1.0], [2.0], [3.0]]], [2.0, 4.0, 6.0], [0, 1, 2])
    >>> found.coefficients.round(9).tolist(), found.predicted.round(9).tolist()
    ([[2.0]], [2.0, 4.0, 6.0])
    """
    from sims import _pairing_kernels as kernels

    table = np.ascontiguousarray(rows, dtype=np.float64)
    wanted = np.ascontiguousarray(targets, dtype=np.float64)
    numbers = np.ascontiguousarray(folds, dtype=np.int64)
    n_grid, n_rows, n_terms = table.shape
    n_folds = int(numbers.max()) + 1
    coefficients, sums = np.empty((n_grid, n_terms)), np.empty(n_grid)
    predicted, places = np.empty(n_rows), np.empty(n_folds, dtype=np.int64)
    kernels.fit_on_grid(table, wanted, numbers, n_folds, coefficients, sums, predicted, places)
    return GridFit(coefficients, sums, predicted, places)


def follow_weights(
    values: FloatArray,
    starts: NDArray[np.int64],
    powers: FloatArray,
    rooms: FloatArray,
    bounds: FloatArray,
    coefficients: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Return how a weight of one changes over protocols by terms that see the weight too, with derivatives.

    Parameters
    ----------
    values : ndarray, shape (n_grid, n_spikes, n_terms)
        What each term sees at each spike of all protocols but the weight; zero at the other neuron's spikes.
    starts : ndarray of int, shape (n_protocols + 1,)
        First spike of each protocol, and the number of all spikes.
    powers, rooms : ndarray, shape (n_grid, n_terms)
        A term goes with ``w**power * (1 - w / bound)**room``; the weight stays from zero to its bound.
    bounds : ndarray, shape (n_grid,)
    coefficients : ndarray, shape (n_grid, n_terms)

    Returns
    -------
    changes, slopes : ndarray, shape (n_grid, n_protocols) and (n_grid, n_protocols, n_terms)
    """
    from sims import _pairing_kernels as kernels

    n_grid, n_protocols, n_terms = len(values), len(starts) - 1, values.shape[2]
    changes, slopes = np.empty((n_grid, n_protocols)), np.empty((n_grid, n_protocols, n_terms))
    kernels.follow_weights(values, starts, powers, rooms, bounds, coefficients, changes, slopes)
    return changes, slopes
