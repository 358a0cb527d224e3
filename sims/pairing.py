"""Traces at a synapse between two neurons whose spikes are given, read at every spike.

Traces decay exponentially and jump by one at a spike of their neuron. At a spike they are read before they
jump: a spike does not see itself. No network is simulated, so that a protocol of an experiment, some hundred
spikes, takes microseconds.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Tie", "traces_at_spikes"]

FloatArray = NDArray[np.float64]
Tie = Literal["pre first", "post first"]
"""Which of two spikes in the same instant comes first; each of them then sees the other's jump or not."""


def traces_at_spikes(
    pre_ms: ArrayLike, post_ms: ArrayLike, taus_ms: ArrayLike, is_pre: ArrayLike, tie: Tie = "pre first"
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
    read_traces(pre, post, taus, sides, tie == "pre first", at_pre, at_post)
    return at_pre, at_post
