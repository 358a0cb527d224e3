"""Kernels that draw the spikes of inputs which share a signal channel by channel, exactly and event by event.

In every step each input of a channel that is not refractory spikes with the channel's probability p. Lay out
the trials of a step, one for each input, as intervals on a line with random points, one point a unit of
length on average (a Poisson process): a trial of length ``-log(1 - p)``, its hazard, holds at least one point
with probability p, independently of all others. So the trial of the next spike is found by one exponential
random number, however many trials lie in between. To save logarithms a trial takes a little more room,
``p + p**2 / 2 + p**3 / 2``; a point in the room beyond the hazard, or in a refractory input's trial, is no
spike, and neither is a second point in a trial. What remains has exactly the statistics of one draw for
every input and step.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

FASTMATH = {"nsz", "arcp", "contract", "afn", "reassoc"}
"""Optimisations that keep NaN and infinity visible."""

OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy", "fastmath": FASTMATH}

LARGEST_QUICK = 0.4
"""Up to this probability a polynomial bounds the hazard from above; beyond it the exact one is taken."""

LARGEST_PROBABILITY = 0.999
"""Probabilities are clipped to this."""


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


@njit(inline="always", **OPTIONS)
def _is_spike(point, p):
    """Whether a point, measured from where its trial begins, lies within the hazard."""
    return point < p + 0.5 * p * p or point < -math.log1p(-p)


@njit(**OPTIONS)
def _lay_out(noise, channels, n_members, signals, probability, room, end):
    """Let the signals go on for a step and lay out its trials; return the length of the line.

    `room` receives the length of a trial of each channel, `end` where the channel's trials end.
    """
    unit = channels.half_width * 2.0**-31
    largest = 0.0
    for c in range(signals.shape[0]):
        r = noise[c] * unit
        signal = r - (r - signals[c]) * channels.keep
        signals[c] = signal
        p = min(channels.base + channels.gain * max(0.0, signal), LARGEST_PROBABILITY)
        probability[c] = p
        room[c] = p * (1.0 + 0.5 * p * (1.0 + p))
        largest = max(largest, p)
    if largest > LARGEST_QUICK:
        for c in range(signals.shape[0]):
            room[c] = -math.log1p(-probability[c])
    total = 0.0
    for c in range(signals.shape[0]):
        total += room[c] * n_members[c]
        end[c] = total
    return total


@njit(**OPTIONS)
def draw(rng, noise, channels, first, signals, waiting, free_at, event_step, event_input):
    """Draw the input spikes of the steps from `first` on; return how many there are.

    Parameters
    ----------
    rng : numpy.random.Generator
    noise : ndarray of int32, shape (n_steps, n_channels)
        Uniform over all integers of its type.
    channels : Channels
    first : int
    signals : ndarray, shape (n_channels,)
        Carried on.
    waiting : ndarray, shape (1,)
        Distance to the next point on the line; carried on.
    free_at : ndarray of int, shape (n_inputs,)
        Step from which an input can spike again; carried on.
    event_step, event_input : ndarray of int
        Results, sorted by step, steps counted from `first`. At least
        ``n_inputs * (1 + (n_steps - 1) // refractory)`` long, which no draw exceeds.
    """
    n_channels = signals.shape[0]
    probability, room, end = np.empty(n_channels), np.empty(n_channels), np.empty(n_channels)
    n_members = (channels.start[1:] - channels.start[:-1]).astype(np.float64)
    point = waiting[0]
    n_events = 0
    for k in range(noise.shape[0]):
        length = _lay_out(noise[k], channels, n_members, signals, probability, room, end)
        while point < length:
            c = 0
            for other in range(n_channels - 1):  # without branches: a search cannot be predicted
                c += point >= end[other]
            before = end[c] - room[c] * n_members[c]
            at = min(int((point - before) / room[c]), channels.start[c + 1] - channels.start[c] - 1)
            i = channels.members[channels.start[c] + at]
            if first + k >= free_at[i] and _is_spike(point - before - room[c] * at, probability[c]):
                free_at[i] = first + k + channels.refractory
                event_step[n_events] = k
                event_input[n_events] = i
                n_events += 1
            point += rng.standard_exponential()
        point -= length
    waiting[0] = point
    return n_events
