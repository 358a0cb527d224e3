"""Slow, obvious twins of the feed-forward circuit: every synapse in every step, and every input."""

from __future__ import annotations

import math

import numpy as np
from naive_circuit import Twin
from numpy.typing import NDArray

from sims.circuit import Circuit, Projection, Recorded, Trace
from sims.circuits import FeedforwardCircuit, FeedforwardProblems, InputSpikes
from sims.synapses import Synapses

FloatArray = NDArray[np.float64]


def as_circuit(
    c: FeedforwardCircuit, problems: FeedforwardProblems, k: int, excitatory: dict | None = None
) -> Circuit:
    """One problem written as a circuit; `excitatory` makes the projection from excitatory inputs plastic."""
    inhibitory = {"plastic": True, "highest": c.largest_inhibitory, "learning_rate": c.learning_rate}
    projections = {
        name: Projection(
            name, "N", wiring=Synapses.from_pairs(np.arange(len(w)), np.zeros(len(w), int), len(w)), weight=w,
            unit_ns=10.0 * unit, onto=onto, **more,
        )
        for name, w, unit, onto, more in (
            ("E", problems.excitatory_weights[k], c.excitatory_unit, "excitatory", excitatory or {}),
            ("I", problems.inhibitory_weights[k], c.inhibitory_unit, "inhibitory", inhibitory),
        )
    }  # fmt: skip
    inputs = {"E": Recorded(c.n_excitatory, [], []), "I": Recorded(c.n_inhibitory, [], [])}
    states = {"x": Trace(("E", "I", "N"), 20.0), "slow": Trace("N", 114.0)}
    return Circuit({"N": c.neuron, **inputs}, projections, states)


def feedforward(
    circuit: Circuit,
    rules: dict,
    channels: NDArray[np.int64],
    events: InputSpikes,
    spikes: FloatArray,
    n_steps: int,
    measure_from: int = 0,
    normalise_every: int | None = None,
) -> Twin:
    """Run the twin of a circuit on input spikes and on the output spikes that it is compared with."""
    n, (step, source) = circuit.populations["E"].n, (events.step, events.source)
    given = {
        "N": {(int(k), 0) for k in spikes},
        "E": set(zip(step[source < n].tolist(), source[source < n].tolist(), strict=True)),
        "I": set(zip(step[source >= n].tolist(), (source[source >= n] - n).tolist(), strict=True)),
    }
    twin = Twin(
        circuit, {name: one.wiring for name, one in circuit.projections.items()}, rules, {"N": [-60.0]},
        given, {}, {"E": channels[:n].tolist(), "I": channels[n:].tolist()}, measure_from,
    )  # fmt: skip
    total, largest = sum(twin.weights["E"]), circuit.projections["E"].highest
    for k in range(n_steps):
        twin.step(k)
        if normalise_every is not None and (k + 1) % normalise_every == 0:
            factor = total / sum(twin.weights["E"])
            twin.weights["E"] = [min(max(w * factor, 0.0), largest) for w in twin.weights["E"]]
    return twin


def currents(twin: Twin, onto: str, n_channels: int, n_steps: int) -> FloatArray:
    """Mean currents of each channel, in units of the leak conductance."""
    return np.array([twin.currents.get(("N", 0, onto, c), 0.0) for c in range(n_channels)]) / n_steps / 10.0


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
