"""Integrate-and-fire neurons, for the kernels of all networks: one Euler step, who spikes, who is refractory.

Voltages and conductances are of single precision, which halves the memory that every step walks through: a
voltage is rounded by 4e-6 mV, far less than the error of an Euler step. What only decays between spikes is
kept divided by a factor, one for all neurons, that decays in its place: an array that is only read where
spikes arrive need not be walked through in every step.
"""

import numpy as np

from sims._compiled import UNWRAPPED, helper
from sims._prefetch import prefetch

SMALLEST_SCALE = 1e-20
"""A factor that has decayed to this is multiplied into its array and begins anew."""

NEGLIGIBLE = 1e-30
"""What is smaller than this is zero: arithmetic with the smallest numbers of the machine is slow."""

LINE = 64
"""Bytes that come from memory together."""

BLOCK = 64
"""Neurons whose voltages are looked at together."""


@helper(forceinline=True, **UNWRAPPED)
def rescale(array, scales, which):
    """Multiply a factor into its array and let it begin anew."""
    for n in range(array.shape[0]):
        value = array[n] * scales[which]
        array[n] = value if abs(value) > NEGLIGIBLE else 0.0
    scales[which] = 1.0


@helper(inline="always", **UNWRAPPED)
def euler_step(
    v, excitatory, inhibitory, to_excitatory, to_inhibitory, leak, constant, reversal_e, reversal_i
):
    """Move all voltages by one step; all numbers are of single precision.

    Conductances count `to_excitatory` and `to_inhibitory` times dt / C; `leak` and `constant`, what the leak
    and the background current move, are multiplied by it already.
    """
    for n in range(v.shape[0]):
        e, i = to_excitatory * excitatory[n], to_inhibitory * inhibitory[n]
        v[n] += constant + e * reversal_e + i * reversal_i - (leak + e + i) * v[n]


@helper(forceinline=True, **UNWRAPPED)
def release(free_at, refractory, ends, k):
    """Let neurons leave the ring of those that are refractory."""
    n_neurons = free_at.shape[0]
    while ends[0] < ends[1] and free_at[refractory[ends[0] % n_neurons]] <= k:
        ends[0] += 1


@helper(forceinline=True, **UNWRAPPED)
def list_spikes(v, threshold, free_at, refractory, ends, first_free, spiking, n_spikes, offset):
    """List neurons above the threshold, which are not refractory but become so; return how many are listed.

    Parameters
    ----------
    v : ndarray of float32
        Voltages, or what is compared with the threshold.
    free_at : ndarray of int
        Step from which a neuron is no longer refractory.
    refractory : ndarray of int
        Neurons that are, in the order in which they become free: a ring from ``ends[0]`` to ``ends[1]``.
    first_free : (int, int)
        This step, and the step from which neurons that spike now are free.
    spiking : ndarray of int
        The list, filled from `n_spikes` on with the neurons' numbers plus `offset`.
    """
    n_neurons, (k, free) = v.shape[0], first_free
    nothing, one = np.float32(0.0), np.float32(1.0)
    for start in range(0, n_neurons, BLOCK):
        # Counted in vectors; who it is is asked only where there is somebody.
        block, n_above = v[start : start + BLOCK], nothing
        for n in range(block.shape[0]):
            n_above += one if block[n] > threshold else nothing
        if n_above == nothing:
            continue
        for i in range(block.shape[0]):
            if block[i] > threshold:
                n = start + i
                if free_at[n] <= k:
                    free_at[n] = free
                    refractory[ends[1] % n_neurons] = n
                    ends[1] += 1
                    spiking[n_spikes] = offset + n
                    n_spikes += 1
    return n_spikes


@helper(forceinline=True, **UNWRAPPED)
def hold_at_reset(v, refractory, ends, reset):
    """Reset the voltages of all neurons of the ring."""
    if ends[0] == ends[1]:
        return
    n_neurons = v.shape[0]
    first = ends[0] % n_neurons
    beyond = first + ends[1] - ends[0] - n_neurons
    for place in range(first, n_neurons + min(beyond, 0)):
        v[refractory[place]] = reset
    for place in range(beyond):
        v[refractory[place]] = reset


@helper(forceinline=True, **UNWRAPPED)
def raise_targets(conductance, targets, jump):
    """Add one jump to the conductances of all targets."""
    step = np.float32(jump)
    for i in range(targets.shape[0]):
        conductance[targets[i]] += step


@helper(forceinline=True, **UNWRAPPED)
def fetch_row(row):
    """Ask for all of a row's memory."""
    for j in range(0, row.shape[0], LINE // row.itemsize):
        prefetch(row, j)
