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


def ordered(pre: Sequence[float], post: Sequence[float], pre_first: bool) -> list[tuple[float, bool]]:
    """All spikes with whether they are presynaptic, in the order of time."""
    spikes = [(time, True) for time in pre] + [(time, False) for time in post]
    return sorted(spikes, key=lambda spike: (spike[0], spike[1] != pre_first))


def final_weight(
    pre: Sequence[float],
    post: Sequence[float],
    taus: tuple[float, float],
    down: tuple[float, float],
    up: tuple[float, float, float],
    bound: float,
    pre_first: bool,
) -> float:
    """Weight after all spikes: ``-a w**p x_post`` at a presynaptic one, ``b x_pre (1 - w/bound)**q`` else."""
    weight = 1.0
    for now, is_pre in ordered(pre, post, pre_first):
        if is_pre:
            seen = trace(post, now, taus[1], not pre_first)
            weight += down[0] * seen * weight ** down[1]
        else:
            seen = trace(pre, now, taus[0], pre_first)
            weight += up[0] * seen * max(1 - weight / bound, 0.0) ** up[2] * weight ** up[1]
        weight = min(max(weight, 0.0), bound)
    return weight


def suppression(
    pre: Sequence[float], post: Sequence[float], taus: tuple[float, float], recovery: tuple[float, float]
) -> tuple[float, float]:
    """Sums over all pairs of spikes, weighted by both efficacies: post before pre, and pre before post."""

    def efficacy(times: Sequence[float], number: int, tau: float) -> float:
        return 1.0 if number == 0 else 1.0 - math.exp(-(times[number] - times[number - 1]) / tau)

    down = up = 0.0
    for i, s in enumerate(pre):
        for j, t in enumerate(post):
            both = efficacy(pre, i, recovery[0]) * efficacy(post, j, recovery[1])
            if t < s:
                down += both * math.exp((t - s) / taus[1])
            elif s <= t:
                up += both * math.exp((s - t) / taus[0])
    return down, up


def best_fit(
    rows: Sequence[Sequence[Sequence[float]]], targets: Sequence[float], kept: Sequence[bool]
) -> tuple[int, list[float], float]:
    """Point of a grid, coefficients and squared residuals of the best fit to some rows."""
    import numpy as np

    best: tuple[int, list[float], float] = (-1, [], math.inf)
    for place, table in enumerate(rows):
        some = np.array([row for row, keep in zip(table, kept, strict=True) if keep])
        wanted = np.array([value for value, keep in zip(targets, kept, strict=True) if keep])
        found, *_ = np.linalg.lstsq(some, wanted, rcond=None)
        left = float(np.sum((some @ found - wanted) ** 2))
        if left < best[2]:
            best = place, found.tolist(), left
    return best
