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

from sims._borrowed import borrowed
from sims._compiled import helper, kernel
from sims._membrane_kernels import (
    SMALLEST_SCALE,
    fetch_row,
    hold_at_reset,
    list_spikes,
    note_interval,
    raise_targets,
    release,
    rescale,
)
from sims._prefetch import prefetch
from sims._spike_programs import NOTHING, KernelRule, clipped, updated_row

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

    See :mod:`sims._membrane_kernels` for precisions and for what is kept divided by a factor; traces and
    weights are double.

    Attributes
    ----------
    voltage, excitatory, inhibitory : ndarray, shape (n_neurons,)
        The last two are conductances over ``scales[0]`` and ``scales[1]``.
    free_at : ndarray of int, shape (n_neurons,)
        Step from which a neuron is no longer refractory.
    refractory : ndarray of int, shape (n_neurons,)
        Neurons that are, in the order in which they become free: a ring from ``ends[0]`` to ``ends[1]``.
    ends : ndarray of int, shape (2,)
        Numbers of neurons that have left the ring and that have entered it.
    x_post : ndarray, shape (n_excitatory,)
    x_pre : ndarray, shape (n_inhibitory,)
        Traces over ``scales[2]`` and ``scales[3]``.
    scales : ndarray, shape (4,)
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
    refractory: np.ndarray
    ends: np.ndarray
    x_post: np.ndarray
    x_pre: np.ndarray
    scales: np.ndarray
    weights: np.ndarray
    last_spike: np.ndarray
    intervals: np.ndarray
    counts: np.ndarray


@helper(forceinline=True)
def _integrate(cells, network, k, spiking):
    """Step 1 and 2; list who spikes and return how many."""
    v, free_at, ends, refractory = network.voltage, network.free_at, network.ends, network.refractory
    release(free_at, refractory, ends, k)
    rate = cells.step_over_capacitance
    to_excitatory, to_inhibitory = np.float32(rate * network.scales[0]), np.float32(rate * network.scales[1])
    leak = np.float32(rate * cells.leak)
    constant = np.float32(rate * (cells.leak * cells.rest + cells.background))
    reversal_e, reversal_i = np.float32(cells.reversal_e), np.float32(cells.reversal_i)
    for n in range(v.shape[0]):
        e, i = to_excitatory * network.excitatory[n], to_inhibitory * network.inhibitory[n]
        v[n] += constant + e * reversal_e + i * reversal_i - (leak + e + i) * v[n]
    times = k, k + 1 + cells.refractory
    n_spikes = list_spikes(v, np.float32(cells.threshold), free_at, refractory, ends, times, spiking, 0, 0)
    hold_at_reset(v, refractory, ends, cells.reset)
    return n_spikes


@helper(forceinline=True)
def _add(conductance, wiring, n, jump):
    """Let a spike of neuron n reach the targets of its fixed synapses."""
    raise_targets(conductance, wiring.target[wiring.start[n] : wiring.start[n + 1]], jump)


@helper(forceinline=True)
def _at_presynaptic(rule, cells, wiring, network, k, tape):
    """Change and apply the weights of an inhibitory neuron that spikes; return whether they are numbers."""
    synapses = slice(wiring.plastic_start[k], wiring.plastic_start[k + 1])
    rate, largest = cells.learning_rate, cells.largest
    weights, targets = network.weights[synapses], wiring.plastic_target[synapses]
    x_post, inhibitory = network.x_post, network.inhibitory
    scale, unit = network.scales[2], cells.unit / network.scales[1]
    fine = True
    if rule.is_linear or rule.pre_output == NOTHING:
        # A rule without an update has no program, and zero coefficients.
        constant, slope = rate * rule.alpha, rate * rule.kappa * scale
        for i in range(weights.shape[0]):
            target = targets[i]
            weight = clipped(weights[i] + constant + slope * x_post[target], largest)
            weights[i] = weight
            inhibitory[target] += unit * weight
            fine = fine and weight == weight
        return fine
    n = weights.shape[0]
    for i in range(n):
        tape[0, i] = scale * x_post[targets[i]]
        tape[1, i] = weights[i]
    change = tape[updated_row(rule.pre_code, rule.pre_constants, rule.pre_output, tape, n)]
    for i in range(n):
        weight = clipped(weights[i] + rate * change[i], largest)
        weights[i] = weight
        inhibitory[targets[i]] += unit * weight
        fine = fine and weight == weight
    return fine


@helper(forceinline=True)
def _at_postsynaptic(rule, cells, wiring, network, n, tape):
    """Change the plastic weights of an excitatory neuron that spikes; return whether all is fine."""
    incoming = slice(wiring.incoming_start[n], wiring.incoming_start[n + 1])
    synapses, sources = wiring.incoming_synapse[incoming], wiring.incoming_source[incoming]
    rate, largest = cells.learning_rate, cells.largest
    weights, x_pre, scale = network.weights, network.x_pre, network.scales[3]
    m = synapses.shape[0]
    fine = True
    if rule.is_linear:
        constant, slope = rate * rule.beta, rate * rule.gamma * scale
        for i in range(m):
            s = synapses[i]
            weight = clipped(weights[s] + constant + slope * x_pre[sources[i]], largest)
            weights[s] = weight
            fine = fine and weight == weight
    elif rule.post_output != NOTHING:
        for i in range(m):
            tape[0, i] = scale * x_pre[sources[i]]
            tape[1, i] = weights[synapses[i]]
        change = tape[updated_row(rule.post_code, rule.post_constants, rule.post_output, tape, m)]
        for i in range(m):
            weight = clipped(weights[synapses[i]] + rate * change[i], largest)
            weights[synapses[i]] = weight
            fine = fine and weight == weight
    return fine


@helper(forceinline=True)
def _fetch(wiring, network, spiking, n_spikes):
    """Ask for what the spikes of a step will need, all at once: the waiting times for memory overlap."""
    n_excitatory = network.x_post.shape[0]
    for s in range(n_spikes):
        n = spiking[s]
        fetch_row(wiring.target[wiring.start[n] : wiring.start[n + 1]])
        if n < n_excitatory:
            fetch_row(wiring.incoming_synapse[wiring.incoming_start[n] : wiring.incoming_start[n + 1]])
            fetch_row(wiring.incoming_source[wiring.incoming_start[n] : wiring.incoming_start[n + 1]])
        else:
            fetch_row(
                wiring.plastic_target[
                    wiring.plastic_start[n - n_excitatory] : wiring.plastic_start[n - n_excitatory + 1]
                ]
            )
            fetch_row(
                network.weights[
                    wiring.plastic_start[n - n_excitatory] : wiring.plastic_start[n - n_excitatory + 1]
                ]
            )
    for s in range(n_spikes):
        n = spiking[s]
        if n < n_excitatory:
            synapses = wiring.incoming_synapse[wiring.incoming_start[n] : wiring.incoming_start[n + 1]]
            for i in range(synapses.shape[0]):
                prefetch(network.weights, synapses[i])


@helper(forceinline=True)
def _note_spike(network, n, k):
    """Add the interval since a neuron's last spike, and its spike in the current bin."""
    note_interval(network.last_spike, network.intervals, n, k)
    if n < network.counts.shape[0]:
        network.counts[n, 0] += 1.0


@kernel
def close_bin(network):
    """Add every neuron's count in a bin to its sums and begin a new one."""
    counts = network.counts
    for n in range(counts.shape[0]):
        counts[n, 1] += counts[n, 0]
        counts[n, 2] += counts[n, 0] * counts[n, 0]
        counts[n, 0] = 0.0


@helper
def _borrowed_rule(rule):
    return KernelRule(
        rule.is_linear, rule.alpha, rule.beta, rule.gamma, rule.kappa, rule.tau_pre, rule.tau_post,
        borrowed(rule.pre_code), borrowed(rule.pre_constants), rule.pre_output,
        borrowed(rule.post_code), borrowed(rule.post_constants), rule.post_output,
    )  # fmt: skip


@helper
def _borrowed_wiring(wiring):
    return Wiring(
        borrowed(wiring.start), borrowed(wiring.target), borrowed(wiring.plastic_start),
        borrowed(wiring.plastic_target), borrowed(wiring.incoming_start), borrowed(wiring.incoming_synapse),
        borrowed(wiring.incoming_source),
    )  # fmt: skip


@helper
def _borrowed_network(network):
    return Network(
        borrowed(network.voltage), borrowed(network.excitatory), borrowed(network.inhibitory),
        borrowed(network.free_at), borrowed(network.refractory), borrowed(network.ends),
        borrowed(network.x_post), borrowed(network.x_pre), borrowed(network.scales),
        borrowed(network.weights), borrowed(network.last_spike), borrowed(network.intervals),
        borrowed(network.counts),
    )  # fmt: skip


@kernel
def run_steps(rule, cells, wiring, network, keep_pre, keep_post, first, n_steps, measuring, spiking, tape):
    """Run steps `first` to ``first + n_steps - 1``.

    Returns
    -------
    n_excitatory_spikes, n_inhibitory_spikes : int
    fine : bool
        False when a weight stopped being a number; the run is cut off there.
    """
    rule, wiring, network = _borrowed_rule(rule), _borrowed_wiring(wiring), _borrowed_network(network)
    spiking, tape, scales = borrowed(spiking), borrowed(tape), network.scales
    n_excitatory = network.x_post.shape[0]
    keep = (cells.keep_excitatory, cells.keep_inhibitory, keep_post, keep_pre)
    spikes_e = spikes_i = 0
    for k in range(first, first + n_steps):
        n_spikes = _integrate(cells, network, k, spiking)
        for which in range(4):
            scales[which] *= keep[which]
            if scales[which] < SMALLEST_SCALE:
                if which == 0:
                    rescale(network.excitatory, scales, which)
                elif which == 1:
                    rescale(network.inhibitory, scales, which)
                elif which == 2:
                    rescale(network.x_post, scales, which)
                else:
                    rescale(network.x_pre, scales, which)
        excitatory_jump, inhibitory_jump = cells.weight_ee / scales[0], cells.weight_ii / scales[1]
        _fetch(wiring, network, spiking, n_spikes)
        fine = True
        for s in range(n_spikes):
            n = spiking[s]
            if n < n_excitatory:
                _add(network.excitatory, wiring, n, excitatory_jump)
            else:
                _add(network.inhibitory, wiring, n, inhibitory_jump)
                fine = _at_presynaptic(rule, cells, wiring, network, n - n_excitatory, tape) and fine
                network.x_pre[n - n_excitatory] += 1.0 / scales[3]
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
                network.x_post[spiking[s]] += 1.0 / scales[2]
        if not fine:
            return spikes_e, spikes_i, False
    return spikes_e, spikes_i, True
