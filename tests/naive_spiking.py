"""Slow, obvious twins of the spiking simulators: every synapse in every step."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from naive import program_value
from naive_circuit import splines_value
from numpy.typing import NDArray

from sims.circuits import FeedforwardCircuit, InputSpikes
from sims.rules import Program
from sims.spike_rules import LinearSpikeRule, SpikeRule
from sims.spike_splines import SplineSpikeRule, TraceSplines

FloatArray = NDArray[np.float64]
Rule = SpikeRule | LinearSpikeRule | SplineSpikeRule


def on_pre(rule: Rule, x_post: float, w: float) -> float:
    if isinstance(rule, LinearSpikeRule):
        return rule.alpha + rule.kappa * x_post
    return update(rule.on_pre, x_post, w)


def on_post(rule: Rule, x_pre: float, w: float) -> float:
    if isinstance(rule, LinearSpikeRule):
        return rule.beta + rule.gamma * x_pre
    return update(rule.on_post, x_pre, w)


def update(program: Program | TraceSplines | None, trace: float, w: float) -> float:
    if program is None:
        return 0.0
    if isinstance(program, TraceSplines):
        return splines_value(program, trace, w)
    return program_value(program, dict(zip(program.variables, (trace, w), strict=True)))


@dataclass
class Population:
    """Plastic synapses of one kind, with their traces."""

    rule: Rule
    learning_rate: float
    largest: float
    w: FloatArray
    slow_tau_ms: float | None = None
    x_pre: FloatArray = field(init=False)
    x_post: float = 0.0
    x_slow: float = 0.0

    def __post_init__(self) -> None:
        self.w = self.w.copy()
        self.x_pre = np.zeros(len(self.w))

    def decay(self, dt_ms: float) -> None:
        self.x_pre *= math.exp(-dt_ms / self.rule.tau_pre_ms)
        self.x_post *= math.exp(-dt_ms / self.rule.tau_post_ms)
        if self.slow_tau_ms is not None:
            self.x_slow *= math.exp(-dt_ms / self.slow_tau_ms)

    def change(self, i: int, value: float) -> None:
        self.w[i] = min(max(self.w[i] + self.learning_rate * value, 0.0), self.largest)

    def presynaptic_spike(self, i: int) -> None:
        self.change(i, on_pre(self.rule, self.x_post, self.w[i]))
        self.x_pre[i] += 1.0

    def postsynaptic_spike(self) -> None:
        gate = 1.0 if self.slow_tau_ms is None else self.x_slow
        for i in range(len(self.w)):
            self.change(i, gate * on_post(self.rule, self.x_pre[i], self.w[i]))
        self.x_post += 1.0
        self.x_slow += 1.0


@dataclass
class Run:
    """What a naive simulation ended with."""

    spikes: list[int]
    inhibitory_weights: FloatArray
    excitatory_weights: FloatArray
    excitatory_current: FloatArray
    inhibitory_current: FloatArray


def feedforward(
    inhibition: Population,
    excitation: Population,
    channels: NDArray[np.int64],
    events: InputSpikes,
    circuit: FeedforwardCircuit,
    n_steps: int,
    measure_from: int = 0,
    normalise_every: int | None = None,
) -> Run:
    """One neuron, step by step; fixed excitation has a learning rate of zero."""
    c, dt = circuit, circuit.dt_ms
    at_step: dict[int, list[int]] = {}
    for step, source in zip(events.step.tolist(), events.source.tolist(), strict=True):
        at_step.setdefault(step, []).append(source)
    g_e, g_i = np.zeros(c.n_channels), np.zeros(c.n_channels)
    current_e, current_i = np.zeros(c.n_channels), np.zeros(c.n_channels)
    v, spikes, total = c.rest_mv, [], excitation.w.sum()
    for k in range(n_steps):
        g_e *= math.exp(-dt / c.tau_excitatory_ms)
        g_i *= math.exp(-dt / c.tau_inhibitory_ms)
        inhibition.decay(dt)
        excitation.decay(dt)
        for source in at_step.get(k, []):
            if source < c.n_excitatory:
                excitation.presynaptic_spike(source)
                g_e[channels[source]] += c.excitatory_unit * excitation.w[source]
            else:
                i = source - c.n_excitatory
                inhibition.presynaptic_spike(i)
                g_i[channels[source]] += c.inhibitory_unit * inhibition.w[i]
        if k >= measure_from:
            current_e += g_e * (c.excitatory_reversal_mv - v)
            current_i += g_i * (v - c.inhibitory_reversal_mv)
        if not spikes or k >= spikes[-1] + c.steps(c.refractory_ms):
            g = 1.0 + g_e.sum() + g_i.sum()
            end = (
                c.rest_mv + g_e.sum() * c.excitatory_reversal_mv + g_i.sum() * c.inhibitory_reversal_mv
            ) / g
            v = end + (v - end) * math.exp(-dt * g / c.tau_membrane_ms)
            if v > c.threshold_mv:
                v = c.reset_mv
                spikes.append(k)
                inhibition.postsynaptic_spike()
                excitation.postsynaptic_spike()
        if normalise_every is not None and (k + 1) % normalise_every == 0:
            excitation.w = np.clip(excitation.w * total / excitation.w.sum(), 0.0, excitation.largest)
    n = n_steps - measure_from
    return Run(spikes, inhibition.w, excitation.w, current_e / n, current_i / n)


def bernoulli_spikes(
    circuit: FeedforwardCircuit,
    channels: NDArray[np.int64],
    rate_factor: float,
    noise: FloatArray,
    rng: np.random.Generator,
) -> InputSpikes:
    """Input spikes with one random number for each input and step, for steps of 0.1 ms.

    `noise` (n_steps, n_channels), uniform between -1 and 1, moves the signals.
    """
    c = circuit
    assert c.dt_ms == 0.1
    f, free_at = np.zeros(c.n_channels), np.zeros(c.n_inputs, dtype=np.int64)
    keep = math.exp(-c.dt_ms / c.tau_signal_ms)
    steps, sources = [], []
    for k in range(len(noise)):
        r = c.signal_noise * noise[k]
        f = r - (r - f) * keep
        p = rate_factor * (c.base_rate_hz + c.signal_gain_hz * np.maximum(0.0, f)) * c.dt_ms / 1000.0
        spiking = np.flatnonzero((rng.random(c.n_inputs) < p[channels]) & (free_at <= k))
        free_at[spiking] = k + c.input_refractory_steps
        steps.append(np.full(len(spiking), k))
        sources.append(spiking)
    return InputSpikes(np.concatenate(steps), np.concatenate(sources))
