"""A slow, obvious twin of rewarded trials of a spiking neuron."""

from __future__ import annotations

import math

import numpy as np
from naive import program_value

from sims.rules import Program
from sims.trials import EscapeNeuron, Stimuli


def potentials(
    spikes: list[tuple[int, int]], weights: np.ndarray, neuron: EscapeNeuron, n_steps: int, own: set[int]
) -> list[float | None]:
    """Potential of each step, given the steps of the neuron's own spikes; None where it is refractory."""
    dt, tau_m, tau_s = neuron.step_ms, neuron.tau_membrane_ms, neuron.tau_synapse_ms
    v, i, wait, found = 0.0, 0.0, 0, []
    for t in range(n_steps):
        i += sum(weights[j] for step, j in spikes if step == t)
        if wait > 0:
            wait -= 1
            v = 0.0
            found.append(None)
        else:
            # i decays while it charges the membrane: the exact solution over a step, nA / pF = 1000 mV / ms
            charge = (math.exp(-dt / tau_m) - math.exp(-dt / tau_s)) / (1 / tau_s - 1 / tau_m)
            v = v * math.exp(-dt / tau_m) + 1000.0 * i / neuron.capacitance_pf * charge
            found.append(v)
            if t in own:
                v, wait = 0.0, round(neuron.refractory_ms / dt)
        i *= math.exp(-dt / tau_s)
    return found


def hazard(v: float, neuron: EscapeNeuron) -> float:
    at_threshold = neuron.rate_hz * neuron.step_ms / 1000
    return min(at_threshold * math.exp(min((v - neuron.threshold_mv) / neuron.delta_mv, 100.0)), 50.0)


def own_spikes(
    spikes: list[tuple[int, int]], weights: np.ndarray, neuron: EscapeNeuron, n_steps: int, draws: np.ndarray
) -> set[int]:
    """Steps of the neuron's spikes, each found with those before it known."""
    own: set[int] = set()
    while True:
        v, total = potentials(spikes, weights, neuron, n_steps, own), 0.0
        for t in range(max(own, default=-1) + 1, n_steps):
            if v[t] is not None:
                total += hazard(v[t], neuron)
                if total >= draws[len(own) % len(draws)]:
                    own.add(t)
                    break
        else:
            return own


def log_probability(
    spikes: list[tuple[int, int]], weights: np.ndarray, neuron: EscapeNeuron, n_steps: int, own: set[int]
) -> np.ndarray:
    """Logarithm of the probability of what the neuron did in each step."""
    logs = []
    for t, v in enumerate(potentials(spikes, weights, neuron, n_steps, own)):
        h = 0.0 if v is None else hazard(v, neuron)
        logs.append(math.log(-math.expm1(-h)) if t in own else -h)
    return np.array(logs)


def eligibility(
    spikes: list[tuple[int, int]], weights: np.ndarray, neuron: EscapeNeuron, n_steps: int, own: set[int]
) -> np.ndarray:
    """Forgotten sum over steps of the derivatives of these logarithms by each weight, by differences."""
    forgotten = np.exp(-neuron.step_ms * (n_steps - 1 - np.arange(n_steps)) / neuron.tau_eligibility_ms)
    if neuron.believed_delta_mv > 0:
        return believed_eligibility(spikes, weights, neuron, n_steps, own, forgotten)
    result = np.zeros(len(weights))
    for j in range(len(weights)):
        moved = np.zeros(len(weights))
        moved[j] = 1e-6
        up, down = (log_probability(spikes, weights + s * moved, neuron, n_steps, own) for s in (1, -1))
        result[j] = neuron.delta_mv * (forgotten @ (up - down)) / 2e-6
    return result


def believed_eligibility(
    spikes: list[tuple[int, int]], weights: np.ndarray, neuron: EscapeNeuron, n_steps: int, own: set[int],
    forgotten: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """The same for a neuron as its synapses take it: with another hazard, and not reset by its spikes."""
    unit = np.eye(len(weights))
    alone = [potentials(spikes, unit[j], neuron, n_steps, set()) for j in range(len(weights))]
    result = np.zeros(len(weights))
    for t, v in enumerate(potentials(spikes, weights, neuron, n_steps, own)):
        excess = ((0.0 if v is None else v) - neuron.threshold_mv) / neuron.believed_delta_mv
        surprise = 1.0 if t in own else -neuron.believed_hz * neuron.step_ms / 1000 * math.exp(excess)
        for j in range(len(weights)):
            result[j] += forgotten[t] * surprise * alone[j][t]
    return result


def run(
    program: Program, stimuli: Stimuli, weights: np.ndarray, neuron: EscapeNeuron, rate: float, tau: float,
    problem: int,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Rewards of all trials of a problem, and the weights at the end."""
    w, mean, positive, rewards = weights.copy(), 0.0, 0.0, []
    for k, stimulus in enumerate(stimuli.order[problem]):
        part = slice(*stimuli.first_spike[problem, stimulus : stimulus + 2])
        spikes = list(zip(stimuli.step[part].tolist(), stimuli.source[part].tolist(), strict=True))
        own = own_spikes(spikes, w, neuron, stimuli.n_steps, stimuli.draws[problem, k])
        e = eligibility(spikes, w, neuron, stimuli.n_steps, own)
        reward = 1.0 if bool(own) == stimuli.targets[problem, stimulus] else -1.0
        values = {"R": reward, "Rbar": mean, "Rpos": positive}
        w = w + rate * np.array(
            [program_value(program, {"E": e[j], "w": w[j], **values}) for j in range(len(w))]
        )
        mean += (reward - mean) / tau
        positive += (max(reward, 0.0) - positive) / tau
        rewards.append(reward)
    return np.array(rewards), w
