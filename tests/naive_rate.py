"""A slow, obvious twin of the rate engine: any circuit, one problem, one synapse at a time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from naive import program_value

from sims.circuit import Circuit, LowPass, Signal
from sims.rate import Schedule
from sims.rules import Program

ACTIVATIONS = {"linear": lambda a: a, "tanh": math.tanh, "rectified": lambda a: max(a, 0.0)}


def rate_circuit(
    circuit: Circuit,
    rules: Mapping[str, Program],
    inputs: np.ndarray,
    start: Mapping[str, Any],
    schedule: Schedule,
    signals: Mapping[str, np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
    """Weights, states and activity that goes on after the last step.

    Inputs have the shape (n_samples, n_inputs), signals (n_samples,).
    """
    reached = {projection.post for projection in circuit.projections.values()}
    values = {name: np.array(value, dtype=float) for name, value in start.items()}
    for name, projection in circuit.projections.items():
        if projection.hierarchical:
            values[name] = np.tril(values[name], -1)
    names = list(circuit.populations)
    last = {
        name: values.get(name, np.zeros(population.n)) for name, population in circuit.populations.items()
    }

    def arriving(post: str, activity: Mapping[str, np.ndarray], are_before: bool) -> np.ndarray:
        total = np.zeros(circuit.populations[post].n)
        for name, projection in circuit.projections.items():
            is_before = names.index(projection.pre) < names.index(post) or projection.pre not in reached
            if projection.post == post and is_before == are_before:
                total += values[name] @ activity[projection.pre]
        return total

    for t in range(schedule.n_steps):
        shown = []
        for number in schedule.order[t % len(schedule.order)]:
            sample, now, at = inputs[number], {}, 0
            for name, population in circuit.populations.items():
                f = ACTIVATIONS[population.activation]
                if name not in reached:
                    now[name] = sample[at : at + population.n]
                    at += population.n
                    continue
                drive = arriving(name, now, True)
                if population.tau is not None:
                    drive = drive + arriving(name, last, False)
                    now[name] = last[name] + ([f(a) for a in drive] - last[name]) / population.tau
                    continue
                now[name] = np.array([f(a) for a in drive])
                for _ in range(population.sweeps):
                    now[name] = np.array([f(a) for a in drive + arriving(name, now, False)])
            last = dict(now)
            for name, state in circuit.states.items():
                if isinstance(state, Signal):
                    value = signals[name][number] if name in (signals or {}) else state.initial
                    now[name] = now[state.of] if state.of else np.array([value])
            shown.append(now)
        changed = dict(values)
        for name, rule in rules.items():
            projection, slot = circuit.projections[name], circuit.slots[name]
            change = np.zeros_like(values[name])
            for now in shown:
                for k, i in np.ndindex(change.shape):
                    if projection.hierarchical and i >= k:
                        continue
                    seen = {}
                    for variable in slot.variables:
                        n = {"pre": i, "post": k, "weight": k, "global": 0}[variable.place]
                        if variable.state == "w":
                            seen[variable.name] = values[name][k, i]
                        elif variable.state in now:
                            seen[variable.name] = now[variable.state][n]
                        else:
                            seen[variable.name] = values[variable.state][n]
                    change[k, i] += program_value(rule, {one: seen[one] for one in rule.variables})
            rate = schedule.learning_rate * projection.learning_rate
            changed[name] = np.clip(values[name] + rate * change / len(shown), *circuit.bounds(name))
        for name, state in circuit.states.items():
            if not isinstance(state, LowPass):
                continue
            followed, exponent = state.power
            mean = np.mean([now[followed] ** exponent for now in shown], axis=0)
            changed[name] = values[name] + (mean - values[name]) / state.tau
        values = changed
    kept = {
        name: last[name] for name in names if name in reached and circuit.populations[name].tau is not None
    }
    return {**values, **kept}
