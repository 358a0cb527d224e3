"""Slow, obvious twin of the recurrent network: one neuron and one synapse at a time."""

from __future__ import annotations

import math

import numpy as np

from discover.expression import evaluate
from discover.rule import Rule


def adjacency(wiring, n_excitatory, n_neurons):
    """Targets of the fixed and of the plastic synapses of every neuron, as lists."""
    fixed = [wiring.target[wiring.start[n] : wiring.start[n + 1]].tolist() for n in range(n_neurons)]
    plastic = [
        wiring.plastic_target[wiring.plastic_start[k] : wiring.plastic_start[k + 1]].tolist()
        for k in range(n_neurons - n_excitatory)
    ]
    return fixed, plastic


def run(rule: Rule, network, wiring, voltage, n_steps):
    """Return the spikes (step, neuron) and the plastic weights by (inhibitory, excitatory) neuron."""
    n_e, n = network.n_excitatory, network.n_neurons
    fixed, plastic = adjacency(wiring, n_e, n)
    weights = {(k, j): network.initial_weight for k, row in enumerate(plastic) for j in row}
    v, ge, gi = list(voltage), [0.0] * n, [0.0] * n
    free_at = [0] * n
    x_post, x_pre = [0.0] * n_e, [0.0] * (n - n_e)
    spikes = []

    def update(slot, trace, w):
        if slot not in rule.slots:
            return 0.0
        name = "x_post" if slot == "on_pre" else "x_pre"
        return float(evaluate(rule.expressions[slot], {name: np.array(trace), "w": np.array(w)}))

    def clip(w):
        return min(max(w, 0.0), network.largest_weight)

    for k in range(n_steps):
        for m in range(n):
            current = (
                network.leak_ns * (network.rest_mv - v[m])
                + ge[m] * (network.excitatory_reversal_mv - v[m])
                + gi[m] * (network.inhibitory_reversal_mv - v[m])
                + network.background_pa
            )
            if k >= free_at[m]:
                v[m] += network.dt_ms / network.capacitance_pf * current
            ge[m] *= math.exp(-network.dt_ms / network.tau_excitatory_ms)
            gi[m] *= math.exp(-network.dt_ms / network.tau_inhibitory_ms)
        x_pre = [x * math.exp(-network.dt_ms / rule.constant("tau_pre")) for x in x_pre]
        x_post = [x * math.exp(-network.dt_ms / rule.constant("tau_post")) for x in x_post]
        now = [m for m in range(n) if v[m] > network.threshold_mv]
        for m in now:
            v[m] = network.reset_mv
            free_at[m] = k + 1 + round(network.refractory_ms / network.dt_ms)
            spikes.append((k, m))
        for m in now:
            if m < n_e:
                for target in fixed[m]:
                    ge[target] += network.excitatory_ns
                continue
            for target in fixed[m]:
                gi[target] += network.inhibitory_ns
            for target in plastic[m - n_e]:
                w = weights[m - n_e, target]
                w = clip(w + network.learning_rate * update("on_pre", x_post[target], w))
                weights[m - n_e, target] = w
                gi[target] += network.unit_ns * w
            x_pre[m - n_e] += 1.0
        for m in now:
            if m < n_e:
                for source, row in enumerate(plastic):
                    if m in row:
                        w = weights[source, m]
                        weights[source, m] = clip(
                            w + network.learning_rate * update("on_post", x_pre[source], w)
                        )
        for m in now:
            if m < n_e:
                x_post[m] += 1.0
    return spikes, weights
