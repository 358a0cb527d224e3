"""Slow, obvious twins of the memory network: its published equations, one neuron and one synapse at a time.

The twin of the network is told all spikes, and says where its own voltages disagree with them.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

REST, THRESHOLD, E_I = -70.0, -50.0, -80.0
TAU_M, TAU_AMPA, TAU_NMDA, TAU_I, TAU_THRESHOLD = 20.0, 5.0, 100.0, 10.0, 5.0
A, B = 0.3 / 1.3, 1.0 / 1.3
DT, DELAY = 0.1, 8
CLOSE_MV = 2e-3


def memory_twin(network, rules, state, spikes, n_steps):
    """Return voltages and weights after some steps from the start, and disagreements with the spikes.

    Parameters
    ----------
    rules : mapping of str to tuple
        Projection -> tau_pre, tau_post (ms), alpha, beta, gamma, kappa.
    spikes : mapping of str to set of (step, neuron)
        Of all populations.
    """
    circuit = network.circuit
    cells = {name: circuit.populations[name].n for name in ("E", "I")}
    v = {name: state.voltage_mv(name).tolist() for name in cells}
    ampa, nmda, inhibition, raised = ({name: [0.0] * n for name, n in cells.items()} for _ in range(4))
    pairs, weights, x_pre, x_post = {}, {}, {}, {}
    for name, projection in circuit.projections.items():
        wiring = network.synapses[name]
        pairs[name] = list(zip(wiring.source.tolist(), wiring.target.tolist(), strict=True))
        weights[name] = [float(projection.weight)] * len(pairs[name])
        x_pre[name] = [0.0] * circuit.populations[projection.pre].n
        x_post[name] = [0.0] * circuit.populations[projection.post].n
    wrong = []
    for k in range(n_steps):
        for name, n in cells.items():
            for i in range(n):
                g_e = A * ampa[name][i] + B * nmda[name][i]
                pull = (REST - v[name][i]) - g_e * v[name][i] + inhibition[name][i] * (E_I - v[name][i])
                nmda[name][i] += DT / TAU_NMDA * (ampa[name][i] - nmda[name][i])
                v[name][i] = min(max(v[name][i] + DT / TAU_M * pull, -80.0), 0.0)
                above = v[name][i] - (THRESHOLD + raised[name][i])
                if ((k, i) in spikes[name]) != (above > 0) and abs(above) > CLOSE_MV:
                    wrong.append((k, name, i))
                ampa[name][i] *= math.exp(-DT / TAU_AMPA)
                inhibition[name][i] *= math.exp(-DT / TAU_I)
                raised[name][i] *= math.exp(-DT / TAU_THRESHOLD)
                if (k, i) in spikes[name]:
                    v[name][i], raised[name][i] = REST, 100.0
        for name, (tau_pre, tau_post, *_) in rules.items():
            x_pre[name] = [x * math.exp(-DT / tau_pre) for x in x_pre[name]]
            x_post[name] = [x * math.exp(-DT / tau_post) for x in x_post[name]]
        for name, projection in circuit.projections.items():
            target = ampa if projection.onto == "excitatory" else inhibition
            for s, (i, j) in enumerate(pairs[name]):
                if (k - DELAY, i) in spikes[projection.pre]:
                    target[projection.post][j] += projection.unit_ns / 10.0 * weights[name][s]
                    if name in rules:
                        _, _, alpha, _, _, kappa = rules[name]
                        change = 0.01 * (alpha + kappa * x_post[name][j])
                        weights[name][s] = min(max(weights[name][s] + change, 0.0), 20.0)
        for name, projection in circuit.projections.items():
            for i in range(circuit.populations[projection.pre].n):
                x_pre[name][i] += (k - DELAY, i) in spikes[projection.pre]
        for name in rules:
            projection = circuit.projections[name]
            _, _, _, beta, gamma, _ = rules[name]
            for s, (i, j) in enumerate(pairs[name]):
                if (k, j) in spikes[projection.post]:
                    change = 0.01 * (beta + gamma * x_pre[name][i])
                    weights[name][s] = min(max(weights[name][s] + change, 0.0), 20.0)
            for j in range(circuit.populations[projection.post].n):
                x_post[name][j] += (k, j) in spikes[projection.post]
    return (
        {name: np.array(one) for name, one in v.items()},
        {n: np.array(w) for n, w in weights.items()},
        wrong,
    )


def interval_cv_twin(spikes, n_neurons):
    """Standard deviation over mean of all intervals, by the definition."""
    intervals = []
    for neuron in range(n_neurons):
        times = sorted(step for step, who in zip(spikes.step, spikes.neuron, strict=True) if who == neuron)
        intervals += [b - a for a, b in pairwise(times)]
    if len(intervals) < 2:
        return 0.0
    mean = sum(intervals) / len(intervals)
    return math.sqrt(sum((one - mean) ** 2 for one in intervals) / len(intervals)) / mean


def fields_twin(fields, side, radius):
    """Whether each neuron listens to exactly the inputs nearer than a radius to one input of the grid."""
    inputs = {}
    for source, target in zip(fields.source.tolist(), fields.target.tolist(), strict=True):
        inputs.setdefault(target, set()).add(source)
    possible = [
        {
            r * side + c
            for r in range(side)
            for c in range(side)
            if (r - row) ** 2 + (c - column) ** 2 < radius**2
        }
        for row in range(side)
        for column in range(side)
    ]
    return [heard in possible for heard in inputs.values()]
