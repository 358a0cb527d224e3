"""Traces of spike trains: they jump by one at a spike and decay exponentially in between."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["drawn_traces", "trace_at"]

FloatArray = NDArray[np.float64]

MEMORY = 8.0
"""Time constants that a trace is followed back; what is older has decayed to less than 4e-4."""


def trace_at(spikes_ms: FloatArray, at_ms: FloatArray, tau_ms: float, *, counts_ties: bool) -> FloatArray:
    """Return the trace of a spike train at some times.

    Parameters
    ----------
    spikes_ms : ndarray, shape (n_spikes,)
        Sorted.
    at_ms : ndarray, shape (n,)
    tau_ms : float
    counts_ties : bool
        Whether a spike at the very time has jumped already, as a presynaptic one has for a postsynaptic
        update.

    Returns
    -------
    ndarray, shape (n,)

    Examples
    --------
    >>> spikes = np.array([0.0, 20.0])
    >>> trace_at(spikes, np.array([20.0]), 20.0, counts_ties=True).round(3).tolist()
    [1.368]
    """
    if len(spikes_ms) == 0:
        return np.zeros(len(at_ms))
    after = np.empty(len(spikes_ms))  # the trace just after each spike
    level, last = 0.0, float(spikes_ms[0])
    for k, time in enumerate(spikes_ms.tolist()):
        level = level * np.exp((last - time) / tau_ms) + 1.0
        after[k], last = level, time
    place = np.searchsorted(spikes_ms, at_ms, side="right" if counts_ties else "left") - 1
    values = after[np.maximum(place, 0)] * np.exp((spikes_ms[np.maximum(place, 0)] - at_ms) / tau_ms)
    return np.where(place >= 0, values, 0.0)


def drawn_traces(rates_hz: FloatArray, tau_ms: float, rng: np.random.Generator) -> FloatArray:
    """Draw one value of the trace of a Poisson train for each rate, from its stationary distribution.

    Parameters
    ----------
    rates_hz : ndarray, shape (n,)
    tau_ms : float
    rng : numpy.random.Generator

    Returns
    -------
    ndarray, shape (n,)
    """
    horizon_ms = MEMORY * tau_ms
    counts = rng.poisson(rates_hz * horizon_ms / 1000.0)
    trace = np.zeros(len(rates_hz))
    for k in range(int(counts.max(initial=0))):
        ages = rng.uniform(0, horizon_ms, len(rates_hz))
        trace += np.where(counts > k, np.exp(-ages / tau_ms), 0.0)
    return trace
