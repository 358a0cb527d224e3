"""Kernel of the recurrent network of excitatory and inhibitory spiking neurons.

A step goes in this order:

1. Voltages of neurons that are not refractory make an Euler step with the conductances as they are; then
   conductances and traces decay.
2. Neurons above the threshold spike and are reset.
3. Their spikes reach all targets, presynaptic side first. A plastic synapse (from an inhibitory to an
   excitatory neuron) changes by ``on_pre(x_post, w)`` and then adds its weight to the conductance; the trace
   of its neuron jumps after that.
4. For every excitatory neuron that spikes, the weights of all its plastic synapses change by
   ``on_post(x_pre, w)``; then its own trace jumps.

So presynaptic updates do not see a postsynaptic spike of the same step, and postsynaptic ones see the
presynaptic spike: the order of the feed-forward circuit (:mod:`sims._spiking_kernels`).
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from sims._spike_programs import NOTHING, clipped, row_update

FASTMATH = {"nsz", "arcp", "contract", "afn", "reassoc"}
"""Optimisations that keep NaN and infinity visible (``fastmath=True`` would hide blow-ups)."""

OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy", "fastmath": FASTMATH}

RUNNING, TOO_QUIET, TOO_ACTIVE, NOT_A_NUMBER = 0, 1, 2, 3
"""Why a run ended."""


class Cells(NamedTuple):
    """Constants of neurons and synapses; voltages in mV, conductances in nS, currents in pA, times in ms.

    Attributes
    ----------
    step_over_capacitance : float
        dt / C, in 1 / nS.
    keep_excitatory, keep_inhibitory : float
        Factors by which conductances decay in a step.
    refractory : int
        Steps.
    weight_ee, weight_ii : float
        Conductance that a spike adds: of excitatory ones at all targets, of inhibitory at inhibitory ones.
    unit : float
        Conductance of a plastic synapse of weight 1.
    """

    step_over_capacitance: float
    leak: float
    rest: float
    reset: float
    threshold: float
    reversal_e: float
    reversal_i: float
    background: float
    keep_excitatory: float
    keep_inhibitory: float
    refractory: int
    weight_ee: float
    weight_ii: float
    unit: float
    learning_rate: float
    largest: float


class Wiring(NamedTuple):
    """Targets of every neuron, and where the plastic synapses of every excitatory neuron are.

    Attributes
    ----------
    start, target : ndarray of int
        Fixed synapses: neuron n reaches ``target[start[n]:start[n + 1]]``. Excitatory neurons come first;
        of inhibitory ones only the targets that are inhibitory stand here.
    plastic_start, plastic_target : ndarray of int
        Plastic synapses of inhibitory neuron k: ``plastic_target[plastic_start[k]:plastic_start[k + 1]]``.
    incoming_start, incoming_synapse, incoming_source : ndarray of int
        The same by target: synapses ``incoming_synapse[incoming_start[n]:incoming_start[n + 1]]`` end at
        excitatory neuron n and come from these inhibitory neurons.
    """

    start: np.ndarray
    target: np.ndarray
    plastic_start: np.ndarray
    plastic_target: np.ndarray
    incoming_start: np.ndarray
    incoming_synapse: np.ndarray
    incoming_source: np.ndarray


class Network(NamedTuple):
    """State, changed in place.

    Attributes
    ----------
    voltage, excitatory, inhibitory : ndarray, shape (n_neurons,)
    free_at : ndarray of int, shape (n_neurons,)
        Step from which a neuron is no longer refractory.
    x_post : ndarray, shape (n_excitatory,)
    x_pre : ndarray, shape (n_inhibitory,)
    weights : ndarray, shape (n_plastic,)
    last_spike : ndarray of int, shape (n_neurons,)
        Step of the last spike inside the measuring window, -1 for none.
    intervals : ndarray, shape (n_neurons, 3)
        Number, sum and sum of squares of the intervals between spikes in the window.
    counts : ndarray, shape (n_excitatory, 3)
        Spikes in the current bin, and sum and sum of squares of the counts of the closed bins.
    """

    voltage: np.ndarray
    excitatory: np.ndarray
    inhibitory: np.ndarray
    free_at: np.ndarray
    x_post: np.ndarray
    x_pre: np.ndarray
    weights: np.ndarray
    last_spike: np.ndarray
    intervals: np.ndarray
    counts: np.ndarray


@njit(**OPTIONS)
def _integrate(cells, network, k, spiking):
    """Step 1 and 2; list who spikes and return how many."""
    v, ge, gi, free_at = network.voltage, network.excitatory, network.inhibitory, network.free_at
    for n in range(v.shape[0]):
        current = (
            cells.leak * (cells.rest - v[n])
            + ge[n] * (cells.reversal_e - v[n])
            + gi[n] * (cells.reversal_i - v[n])
            + cells.background
        )
        moved = v[n] + cells.step_over_capacitance * current
        v[n] = moved if k >= free_at[n] else v[n]
        ge[n] *= cells.keep_excitatory
        gi[n] *= cells.keep_inhibitory
    n_spikes = 0
    for n in range(v.shape[0]):
        if v[n] > cells.threshold:
            v[n] = cells.reset
            free_at[n] = k + 1 + cells.refractory
            spiking[n_spikes] = n
            n_spikes += 1
    return n_spikes


@njit(**OPTIONS)
def _at_presynaptic(rule, cells, wiring, network, k, tape):
    """Change and apply the weights of an inhibitory neuron that spikes; return whether they are numbers."""
    first, last = wiring.plastic_start[k], wiring.plastic_start[k + 1]
    rate, largest = cells.learning_rate, cells.largest
    weights, targets = network.weights, wiring.plastic_target
    if rule.is_linear:
        for s in range(first, last):
            update = rule.alpha + rule.kappa * network.x_post[targets[s]]
            weights[s] = clipped(weights[s] + rate * update, largest)
    elif rule.pre_output != NOTHING:
        n = last - first
        for i in range(n):
            tape[0, i] = network.x_post[targets[first + i]]
            tape[1, i] = weights[first + i]
        row_update(rule.pre_code, rule.pre_constants, tape, n)
        change = tape[rule.pre_output]
        for i in range(n):
            weights[first + i] = clipped(weights[first + i] + rate * change[i], largest)
    fine = True
    for s in range(first, last):
        fine = fine and weights[s] == weights[s]
        network.inhibitory[targets[s]] += cells.unit * weights[s]
    return fine


@njit(**OPTIONS)
def _at_postsynaptic(rule, cells, wiring, network, n, tape):
    """Change the plastic weights of an excitatory neuron that spikes; return whether all is fine."""
    first, last = wiring.incoming_start[n], wiring.incoming_start[n + 1]
    rate, largest = cells.learning_rate, cells.largest
    weights = network.weights
    fine = True
    if rule.is_linear:
        for j in range(first, last):
            s = wiring.incoming_synapse[j]
            update = rule.beta + rule.gamma * network.x_pre[wiring.incoming_source[j]]
            weights[s] = clipped(weights[s] + rate * update, largest)
            fine = fine and weights[s] == weights[s]
    elif rule.post_output != NOTHING:
        m = last - first
        for i in range(m):
            tape[0, i] = network.x_pre[wiring.incoming_source[first + i]]
            tape[1, i] = weights[wiring.incoming_synapse[first + i]]
        row_update(rule.post_code, rule.post_constants, tape, m)
        change = tape[rule.post_output]
        for i in range(m):
            s = wiring.incoming_synapse[first + i]
            weights[s] = clipped(weights[s] + rate * change[i], largest)
            fine = fine and weights[s] == weights[s]
    return fine


@njit(**OPTIONS)
def _note_spike(network, n, k):
    """Add the interval since a neuron's last spike, and its spike in the current bin."""
    last = network.last_spike[n]
    if last >= 0:
        interval = float(k - last)
        network.intervals[n, 0] += 1.0
        network.intervals[n, 1] += interval
        network.intervals[n, 2] += interval * interval
    network.last_spike[n] = k
    if n < network.counts.shape[0]:
        network.counts[n, 0] += 1.0


@njit(**OPTIONS)
def close_bin(network):
    """Add every neuron's count in a bin to its sums and begin a new one."""
    counts = network.counts
    for n in range(counts.shape[0]):
        counts[n, 1] += counts[n, 0]
        counts[n, 2] += counts[n, 0] * counts[n, 0]
        counts[n, 0] = 0.0


@njit(**OPTIONS)
def run_steps(rule, cells, wiring, network, keep_pre, keep_post, first, n_steps, measuring, spiking, tape):
    """Run steps `first` to ``first + n_steps - 1``.

    Returns
    -------
    n_excitatory_spikes, n_inhibitory_spikes : int
    fine : bool
        False when a weight stopped being a number; the run is cut off there.
    """
    n_excitatory = network.x_post.shape[0]
    spikes_e = spikes_i = 0
    for k in range(first, first + n_steps):
        n_spikes = _integrate(cells, network, k, spiking)
        for i in range(network.x_pre.shape[0]):
            network.x_pre[i] *= keep_pre
        for i in range(n_excitatory):
            network.x_post[i] *= keep_post
        fine = True
        for s in range(n_spikes):
            n = spiking[s]
            if n < n_excitatory:
                for j in range(wiring.start[n], wiring.start[n + 1]):
                    network.excitatory[wiring.target[j]] += cells.weight_ee
            else:
                for j in range(wiring.start[n], wiring.start[n + 1]):
                    network.inhibitory[wiring.target[j]] += cells.weight_ii
                fine = _at_presynaptic(rule, cells, wiring, network, n - n_excitatory, tape) and fine
                network.x_pre[n - n_excitatory] += 1.0
                spikes_i += 1
            if measuring:
                _note_spike(network, n, k)
        for s in range(n_spikes):
            n = spiking[s]
            if n < n_excitatory:
                fine = _at_postsynaptic(rule, cells, wiring, network, n, tape) and fine
                spikes_e += 1
        for s in range(n_spikes):
            if spiking[s] < n_excitatory:
                network.x_post[spiking[s]] += 1.0
        if not fine:
            return spikes_e, spikes_i, False
    return spikes_e, spikes_i, True
