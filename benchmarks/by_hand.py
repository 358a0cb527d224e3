"""Kernels written by hand for one rule each, with the same checks and threads as the program's."""

from __future__ import annotations

import math

from numba import njit

from sims._compiled import OPTIONS


@njit(**OPTIONS)
def oja(first, last, inputs, weights, order, eta, n_steps, bound, blow_up):
    """Oja's rule, online, in place."""
    for p in range(first, last):
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
def square_root(first, last, inputs, weights, order, eta, n_steps, bound, blow_up):
    """``x*y - w*y**2*sqrt(1 + abs(w))``, online, in place."""
    for p in range(first, last):
        w = weights[p]
        blow_up[p] = -1
        for t in range(n_steps):
            x = inputs[p, order[t % order.shape[0], 0]]
            y = 0.0
            for i in range(w.shape[0]):
                y += x[i] * w[i]
            norm = 0.0
            for i in range(w.shape[0]):
                w[i] += eta * (x[i] * y - w[i] * y * y * math.sqrt(1.0 + abs(w[i])))
                norm += w[i] * w[i]
            if not norm <= bound * bound:
                blow_up[p] = t + 1
                break
