"""Kernel of traces at one synapse; see :mod:`sims.pairing`."""

import math

import numpy as np

from sims._compiled import kernel


@kernel
def read_traces(pre, post, taus, is_pre, pre_first, at_pre, at_post):
    """Fill `at_pre` and `at_post` (n_spikes, n_traces) with the traces before each of the sorted spikes."""
    traces = np.zeros(len(taus))
    last, i, j = 0.0, 0, 0
    while i < len(pre) or j < len(post):
        takes_pre = j == len(post) or (
            i < len(pre) and (pre[i] < post[j] or (pre_first and pre[i] == post[j]))
        )
        now = pre[i] if takes_pre else post[j]
        for n in range(len(taus)):
            traces[n] *= math.exp((last - now) / taus[n]) if i + j > 0 else 1.0
            if takes_pre:
                at_pre[i, n] = traces[n]
            else:
                at_post[j, n] = traces[n]
            if takes_pre == is_pre[n]:
                traces[n] += 1.0
        last = now
        if takes_pre:
            i += 1
        else:
            j += 1
