"""Kernels that draw the spikes of inputs which share a signal channel by channel, exactly and event by event.

In every step each input of a channel that is not refractory spikes with the channel's probability p. The
chance to stay silent for many steps is the product of all ``1 - p``, that is ``exp(-hazard)`` with the hazard
``sum of -log(1 - p)``. So an input's next spike falls in the step in which the hazard since the end of its
refractory time exceeds an exponential random number: one random number a spike, whatever lies in between, and
exactly the statistics of one draw for every input and step.
"""

import math
from typing import NamedTuple

import numpy as np

from sims._borrowed import borrowed
from sims._checks import LARGEST_PROBABILITY
from sims._compiled import helper, kernel

LARGEST_IN_SERIES = 0.1
"""Up to this probability fourteen terms of the logarithm's series are exact but for the last bit or two."""


class Channels(NamedTuple):
    """Which inputs share a signal, and how often they spike.

    Attributes
    ----------
    start : ndarray, shape (n_channels + 1,)
        Inputs ``members[start[c]]`` to ``members[start[c + 1] - 1]`` belong to channel c.
    members : ndarray of int, shape (n_inputs,)
    keep : float
        Factor by which a signal decays in one step.
    half_width : float
        The noise that a signal follows is uniform between minus this and this.
    base, gain : float
        A step's spike probability is ``base + gain * max(0, signal)``.
    refractory : int
        An input that has spiked can spike again after this number of steps, at least 1.
    """

    start: np.ndarray
    members: np.ndarray
    keep: float
    half_width: float
    base: float
    gain: float
    refractory: int


@helper
def _probabilities(noise, channels, signals, hazard):
    """Let the signals go on; fill in each channel's spike probability, step by step.

    All channels go side by side: what each waits for is its own step before.
    """
    n_channels, n_steps = noise.shape
    move = (1.0 - channels.keep) * channels.half_width * 2.0**-31
    for k in range(n_steps):
        for c in range(n_channels):
            signals[c] = channels.keep * signals[c] + move * noise[c, k]
            p = channels.base + channels.gain * max(0.0, signals[c])
            hazard[c, k] = min(p, LARGEST_PROBABILITY)


@helper
def _accumulate(hazard, totals):
    """Sum each channel's hazard, step by step, in place of its probabilities."""
    n_channels, n_steps = hazard.shape
    for c in range(n_channels):
        row, n_large = hazard[c], 0
        for k in range(n_steps):
            n_large += row[k] > LARGEST_IN_SERIES
        if n_large == 0:
            for k in range(n_steps):
                p = row[k]
                series = 1 / 10 + p * (1 / 11 + p * (1 / 12 + p * (1 / 13 + p / 14)))
                series = 1 / 5 + p * (1 / 6 + p * (1 / 7 + p * (1 / 8 + p * (1 / 9 + p * series))))
                row[k] = p * (1.0 + p * (1 / 2 + p * (1 / 3 + p * (1 / 4 + p * series))))
        else:
            for k in range(n_steps):
                row[k] = -math.log1p(-row[k])
    totals[:] = 0.0
    for k in range(n_steps):
        for c in range(n_channels):
            totals[c] += hazard[c, k]
            hazard[c, k] = totals[c]


@helper
def _tabulate(hazard, guess):
    """Cut the range of the hazard into as many equal parts as there are steps; return parts a unit.

    ``guess[m]`` receives the first step whose hazard reaches part m, where a search can begin.
    """
    n = hazard.shape[0]
    scale = n / hazard[n - 1]
    guess[:] = n - 1
    for k in range(n - 1, -1, -1):
        guess[min(int(hazard[k] * scale), n)] = k
    # Parts that no step ends in begin where the next one that one does ends.
    first = guess[n]
    for m in range(n, -1, -1):
        first = min(first, guess[m])
        guess[m] = first
    return scale


@helper
def _draw_channel(
    rng, hazard, guess, scale, first, refractory, inputs, waiting, free_at, active, goals, step, source,
    n_spikes,
):  # fmt: skip
    """Draw the spikes of the inputs of one channel; return how many there are then.

    In turns, in each of which every input that is still active has one spike: its search does not wait for
    the one before.
    """
    n, end = hazard.shape[0], hazard[hazard.shape[0] - 1]
    n_active = 0
    for i in inputs:
        free = free_at[i] - first
        if free < n:
            goal = waiting[i] + (hazard[free - 1] if free > 0 else 0.0)
            if goal >= end:
                free_at[i], waiting[i] = first + n, goal - end
            else:
                active[n_active], goals[n_active] = i, goal
                n_active += 1
    while n_active > 0:
        n_left = 0
        for a in range(n_active):
            i, goal = active[a], goals[a]
            k = guess[min(int(goal * scale), n)]
            # Mostly at most two steps further, which are made without a branch that could be guessed wrongly.
            k += hazard[k] <= goal
            k += hazard[k] <= goal
            while hazard[k] <= goal:
                k += 1
            step[n_spikes] = k
            source[n_spikes] = i
            n_spikes += 1
            free, wait = k + refractory, rng.standard_exponential()
            if free >= n:
                free_at[i], waiting[i] = first + free, wait
                continue
            goal = wait + hazard[free - 1]
            if goal >= end:
                free_at[i], waiting[i] = first + n, goal - end
                continue
            active[n_left], goals[n_left] = i, goal
            n_left += 1
        n_active = n_left
    return n_spikes


@helper
def _sort(step, source, n_spikes, border, start, event_input):
    """Sort spikes by step, and in a step the first `border` inputs before the others."""
    start[:] = 0
    for s in range(n_spikes):
        start[2 * step[s] + (source[s] >= border) + 1] += 1
    for j in range(start.shape[0] - 1):
        start[j + 1] += start[j]
    # Each place moves on as it is filled; in the end all have moved on by one.
    for s in range(n_spikes):
        j = 2 * step[s] + (source[s] >= border)
        event_input[start[j]] = source[s]
        start[j] += 1
    for j in range(start.shape[0] - 1, 0, -1):
        start[j] = start[j - 1]
    start[0] = 0


@kernel
def draw(rng, noise, channels, first, border, signals, waiting, free_at, hazard, listed, start, event_input):
    """Draw the input spikes of the steps from `first` on; return how many there are.

    Parameters
    ----------
    rng : numpy.random.Generator
    noise : ndarray of int32, shape (n_channels, n_steps)
        Uniform over all integers of its type.
    channels : Channels
    first : int
    border : int
        In a step the first so many inputs stand before the others.
    signals : ndarray, shape (n_channels,)
        Carried on.
    waiting : ndarray, shape (n_inputs,)
        Hazard that an input still waits for, at the start an exponential random number; carried on.
    free_at : ndarray of int, shape (n_inputs,)
        Step from which on it waits; carried on.
    hazard, listed : ndarray, shapes (n_channels, n_steps) and (2, most spikes) of int
        Workspace.
    start : ndarray of int, shape (2 * n_steps + 1,)
        Results: the spikes of the first inputs in step k stand from ``start[2 * k]`` to before
        ``start[2 * k + 1]``, those of the others from there to before the next step's.
    event_input : ndarray of int, shape (most spikes,)
        Results. At least ``n_inputs * (1 + (n_steps - 1) // refractory)`` long, which no draw exceeds.
    """
    rng, n_steps = borrowed(rng), noise.shape[1]
    step, source = listed[0], listed[1]
    guess = np.empty(n_steps + 1, dtype=np.int32)
    active, goals = np.empty(waiting.shape[0], dtype=np.int64), np.empty(waiting.shape[0])
    n_spikes = 0
    _probabilities(noise, channels, signals, hazard)
    _accumulate(hazard, np.empty_like(signals))
    for c in range(signals.shape[0]):
        if hazard[c, n_steps - 1] <= 0.0:
            continue
        scale = _tabulate(hazard[c], guess)
        inputs = channels.members[channels.start[c] : channels.start[c + 1]]
        n_spikes = _draw_channel(
            rng, hazard[c], guess, scale, first, channels.refractory, inputs, waiting, free_at, active,
            goals, step, source, n_spikes,
        )  # fmt: skip
    _sort(step, source, n_spikes, border, start, event_input)
    return n_spikes
