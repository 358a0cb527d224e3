"""Slow, obvious twin of the traces at one synapse: every pair of spikes by itself."""

from __future__ import annotations

import math
from collections.abc import Sequence


def trace(times: Sequence[float], now: float, tau: float, with_now: bool) -> float:
    """Sum of decays since all spikes before a moment, and since those in it where these come first."""
    return sum(math.exp((t - now) / tau) for t in times if t < now or (with_now and t == now))


def traces_at(
    pre: Sequence[float], post: Sequence[float], tau: float, is_pre: bool, pre_first: bool
) -> tuple[list[float], list[float]]:
    """Values of one trace at all presynaptic and at all postsynaptic spikes."""
    times = pre if is_pre else post
    at_pre = [trace(times, now, tau, not is_pre and not pre_first) for now in sorted(pre)]
    at_post = [trace(times, now, tau, is_pre and pre_first) for now in sorted(post)]
    return at_pre, at_post
