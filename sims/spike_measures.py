"""What the spikes of a time window say of each neuron: rates, regularity and variability."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sims import _measure_kernels as kernels

__all__ = ["AT_BOUND", "BIN_MS", "SpikeMeasures", "Tally"]

FloatArray = NDArray[np.float64]


AT_BOUND = 1e-3
"""A weight is at a bound when it is nearer to it than this fraction of the range."""

BIN_MS = 100.0
"""Spikes are counted in bins of this length for the Fano factor."""

MIN_INTERVALS = 5
"""Neurons with fewer intervals between spikes have no part in a population's coefficient of variation."""


@dataclass(frozen=True, eq=False)
class SpikeMeasures:
    """Measures of the neurons of a population; what could not be measured is NaN.

    Attributes
    ----------
    n_intervals : ndarray of int, shape (n,)
        Between spikes.
    rate_hz : ndarray, shape (n,)
    interval_cv : ndarray, shape (n,)
        Standard deviation of the intervals over their mean; NaN for fewer than two.
    fano_factor : ndarray, shape (n,)
        Variance of the spike counts in whole bins of 100 ms over their mean; NaN for fewer than two bins or
        no spike in them.
    """

    n_intervals: NDArray[np.int64]
    rate_hz: FloatArray
    interval_cv: FloatArray
    fano_factor: FloatArray

    @property
    def mean_rate_hz(self) -> float:
        """Mean over all neurons."""
        return float(self.rate_hz.mean())

    @property
    def mean_interval_cv(self) -> float:
        """Mean over the neurons with at least five intervals."""
        return _mean(self.interval_cv[self.n_intervals >= MIN_INTERVALS])

    @property
    def mean_fano_factor(self) -> float:
        """Mean over the neurons that have one."""
        return _mean(self.fano_factor[np.isfinite(self.fano_factor)])


class Tally:
    """Sums over the spikes of a window, to which they are added piece by piece.

    Parameters
    ----------
    n : int
        Number of neurons.
    begin, bin_steps : int
        Step at which the window begins, and length of a bin.
    """

    def __init__(self, n: int, begin: int, bin_steps: int) -> None:
        self._begin, self._bin_steps = begin, bin_steps
        self._sums = np.zeros((n, 8))
        self._sums[:, kernels.LAST] = -1.0

    def add(self, step: NDArray[np.int64], neuron: NDArray[np.int32]) -> None:
        """Add spikes that are later than those before; numbers of `n` and more are of other neurons."""
        kernels.note_spikes(step, neuron, self._begin, self._bin_steps, self._sums)

    def measures(self, neurons: slice, end: int, dt_ms: float) -> SpikeMeasures:
        """Return the measures of some neurons for the window up to a step."""
        last, n, intervals, squared, at, in_bin, closed, squares = self._sums[neurons].T
        n_bins = (end - self._begin) // self._bin_steps
        whole = at < n_bins
        total, squares = closed + whole * in_bin, squares + whole * in_bin**2
        n_spikes = n + (last >= 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            mean, count = intervals / n, total / n_bins
            spread = np.sqrt(np.maximum(squared / n - mean**2, 0.0))
            variance = (squares / n_bins - count**2) * n_bins / (n_bins - 1)
            return SpikeMeasures(
                n.astype(np.int64),
                n_spikes / ((end - self._begin) * dt_ms / 1000.0),
                np.where(n >= 2, spread / mean, np.nan),
                np.where((n_bins >= 2) & (count > 0), variance / count, np.nan),
            )


def _mean(values: FloatArray) -> float:
    return float(values.mean()) if len(values) else float("nan")
