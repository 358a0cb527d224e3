"""Cubic B-splines on equal pieces: what the rules without a formula of rate and of spiking neurons share."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["checked", "spline_curves"]

FloatArray = NDArray[np.float64]


def checked(what: str, low: float, high: float, table: FloatArray) -> tuple[float, float, FloatArray]:
    """Return a range and coefficients that splines can have, the coefficients read-only.

    Raises
    ------
    ValueError
        If a number is not finite or the range is empty; the text begins with `what`.
    """
    if not (np.all(np.isfinite(table)) and np.isfinite(low) and np.isfinite(high)):
        raise ValueError(f"{what} needs finite numbers, got NaN or infinity.")
    if not low < high:
        raise ValueError(f"{what} needs a range, got {low} to {high}.")
    table.setflags(write=False)
    return float(low), float(high), table


def spline_curves(values: ArrayLike, low: float, high: float, coefficients: FloatArray) -> FloatArray:
    """Return the values of splines, which are constant beyond their ends.

    Parameters
    ----------
    values : array_like
    low, high : float
        Ends of the splines.
    coefficients : ndarray, shape (..., n_pieces + 3)
        Of the B-splines.

    Returns
    -------
    ndarray, shape (..., *values.shape)

    References
    ----------
    de Boor (1978), A practical guide to splines, chapter IX.
    """
    n_pieces = coefficients.shape[-1] - 3
    place = (np.clip(values, low, high) - low) * (n_pieces / (high - low))
    piece = np.minimum(place.astype(np.int64), n_pieces - 1)
    u = place - piece
    v = 1.0 - u
    basis = (v**3 / 6, u**2 * (u / 2 - 1) + 2 / 3, v**2 * (v / 2 - 1) + 2 / 3, u**3 / 6)
    parts = [share * coefficients[..., piece + s] for s, share in enumerate(basis)]
    total: FloatArray = np.sum(parts, axis=0)
    return total
