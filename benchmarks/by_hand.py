"""Kernels written by hand for one rule each, with the same checks as the program's: what a user would write."""

from __future__ import annotations

from numba import njit, prange

from sims._rate_kernels import FASTMATH

OPTIONS = {"nogil": True, "error_model": "numpy", "fastmath": FASTMATH, "parallel": True}


@njit(**OPTIONS)
def oja(inputs, weights, order, eta, n_steps, bound, blow_up):
    """Oja's rule, online, in place."""
    for p in prange(inputs.shape[0]):
        w = weights[p]
        blow_up[p] = -1
        for t in range(n_steps):
            x = inputs[p, order[t % order.shape[0], 0]]
            y = 0.0
            for i in range(w.shape[0]):
                y += x[i] * w[i]
            norm = 0.0
            for i in range(w.shape[0]):
                w[i] += eta * (x[i] * y - w[i] * y * y)
                norm += w[i] * w[i]
            if not norm <= bound * bound:
                blow_up[p] = t + 1
                break


@njit(**OPTIONS)
def soft_bound(inputs, weights, order, eta, n_steps, bound, blow_up):
    """``x*y*sqrt(abs(1 - w)) - 0.3*y*w``, online, in place."""
    for p in prange(inputs.shape[0]):
        w = weights[p]
        blow_up[p] = -1
        for t in range(n_steps):
            x = inputs[p, order[t % order.shape[0], 0]]
            y = 0.0
            for i in range(w.shape[0]):
                y += x[i] * w[i]
            norm = 0.0
            for i in range(w.shape[0]):
                w[i] += eta * (x[i] * y * abs(1.0 - w[i]) ** 0.5 - 0.3 * y * w[i])
                norm += w[i] * w[i]
            if not norm <= bound * bound:
                blow_up[p] = t + 1
                break
