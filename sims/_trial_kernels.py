"""A spiking neuron that learns by trial and reward, under any rule.

In each trial a stimulus is shown: spikes of the inputs, always the same ones. The neuron begins each trial
at rest; only weights, and running means of the reward, go on. In a step, spikes that arrive add their weights
to the synaptic current i; then, where the neuron is not refractory, the potential v becomes ``v * keep + i *
gain``, else zero; then the current decays. The neuron spikes with the probability ``1 - exp(-h)`` of a step,
the hazard h being ``exp((v - threshold) / delta)`` times the rate at threshold times the step, which it does
when the hazard since the last spike exceeds the next of the exponential numbers that are given. A spike sets
v to zero for the refractory time; the current goes on.

The eligibility E of a synapse is the derivative of the logarithm of the probability of the neuron's spikes by
its weight, times `delta`, with what lies back in the trial forgotten with a time constant. It is found by one
walk back through the trial: what one unit of current at a step adds to it, read at the spikes of the input.
Synapses may take the neuron for another: with a hazard ``exp((v - threshold) / d)`` times another rate, and
with potentials that go on through spikes. Then a step adds the potential that one unit of weight would have
made, times 1 if the neuron spikes, else times that hazard with a minus sign. (In the step of a spike the
hazard up to the spike is small, and the potential at the end of a long step is not that of the spike.)

After a trial the reward R is 1 if the neuron did as it should, which is to spike or not to, else -1. Then
each weight changes by ``rate * f(E, R, w, Rbar, Rpos)``, and the running means of R and of its positive part
follow, all from what they were before.
"""

import math

import numpy as np

from sims._compiled import helper, kernel
from sims._operations import second_operand, value_of

N_VARIABLES = 5

LARGEST_HAZARD = 50.0
"""More than this a step is certainty."""


@helper
def _trial(first, last, step, source, w, neuron, draws, n_steps, slope_of, held):
    """Run one trial and return the number of spikes; `slope_of` becomes delta * d log p / dv of each step."""
    keep, gain, decay, threshold, delta, at_threshold, n_refractory, believed_delta, believed = neuron
    v, i, hazard, n_spikes, wait, at = 0.0, 0.0, 0.0, 0, 0, first
    is_exact = believed_delta == 0.0
    for t in range(n_steps):
        while at < last and step[at] == t:
            i += w[source[at]]
            at += 1
        held[t] = wait > 0
        slope_of[t] = 0.0
        if wait > 0:
            wait -= 1
            v = 0.0
        else:
            v = v * keep + i * gain
        if not is_exact:
            slope_of[t] = -believed * math.exp(min((v - threshold) / believed_delta, 100.0))
        if not held[t]:
            excess = (v - threshold) / delta
            if excess > -40.0:
                h = min(at_threshold * math.exp(min(excess, 100.0)), LARGEST_HAZARD)
                hazard += h
                if hazard >= draws[n_spikes % draws.shape[0]]:
                    slope_of[t] = h / math.expm1(h) if is_exact else 1.0
                    n_spikes += 1
                    hazard, v, wait = 0.0, 0.0, n_refractory
                elif is_exact:
                    slope_of[t] = -h
        i *= decay
    return n_spikes


@helper
def _eligibility(first, last, step, source, neuron, forget, n_steps, slope_of, held, result):
    """Walk back through a trial, with what a unit of v and of i at each step adds to the eligibility."""
    keep, gain, decay, is_exact = neuron[0], neuron[1], neuron[2], neuron[7] == 0.0
    by_v, by_i, weight, at = 0.0, 0.0, 1.0, last - 1
    result[:] = 0.0
    for t in range(n_steps - 1, -1, -1):
        by_i *= decay
        if is_exact and held[t]:
            by_v = 0.0
        else:
            if is_exact and slope_of[t] > 0.0:  # a spike: what v was does not go on
                by_v = 0.0
            by_v += weight * slope_of[t]
            by_i += gain * by_v
            by_v *= keep
        weight *= forget
        while at >= first and step[at] == t:
            result[source[at]] += by_i
            at -= 1


@kernel
def simulate(
    code, constants, output, first_spike, step, source, order, targets, draws, neuron, forget, n_steps, rate,
    tau, bound, weights, rewards, eligibilities, weights_before, blow_up,
):  # fmt: skip
    """Run all problems; weights (n_problems, n_inputs) hold the start, then the end.

    `first_spike` (n_problems, n_stimuli + 1) are places in `step` and `source`; `eligibilities`
    and `weights_before` (n_problems, n_kept, n_inputs) are those of the first trials.
    """
    n_problems, n_trials = order.shape
    n_inputs, first = weights.shape[1], N_VARIABLES + constants.shape[0]
    registers = np.empty(first + code.shape[0])
    registers[N_VARIABLES:first] = constants
    slope_of, held, e = np.empty(n_steps), np.empty(n_steps, dtype=np.bool_), np.empty(n_inputs)
    for p in range(n_problems):
        w, mean, positive = weights[p], 0.0, 0.0
        blow_up[p] = -1
        for k in range(n_trials):
            stimulus = order[p, k]
            start, end = first_spike[p, stimulus], first_spike[p, stimulus + 1]
            n_spikes = _trial(start, end, step, source, w, neuron, draws[p, k], n_steps, slope_of, held)
            _eligibility(start, end, step, source, neuron, forget, n_steps, slope_of, held, e)
            reward = 1.0 if (n_spikes > 0) == targets[p, stimulus] else -1.0
            rewards[p, k] = reward
            if k < eligibilities.shape[1]:
                eligibilities[p, k] = e
                weights_before[p, k] = w
            registers[1], registers[3], registers[4] = reward, mean, positive
            largest = 0.0
            for j in range(n_inputs):
                registers[0], registers[2] = e[j], w[j]
                for n in range(code.shape[0]):
                    op, a, b = code[n, 0], code[n, 1], code[n, 2]
                    registers[first + n] = value_of(op, registers[a], registers[second_operand(op, a, b)], b)
                w[j] += rate * registers[output]
                largest = max(largest, abs(w[j])) if w[j] == w[j] else math.inf
            mean += (reward - mean) / tau
            positive += (max(reward, 0.0) - positive) / tau
            if not largest <= bound:
                blow_up[p] = k + 1
                break
