"""Spiking circuits as data: against their naive twin, in pieces, on threads, and against older networks."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import naive_circuit
import numpy as np
import pytest
from circuit_examples import EXAMPLES, PLASTIC, balanced, programs

from sims import _circuit_kernels as kernels
from sims import spiking_circuit
from sims._circuit_packing import plan_of
from sims.circuit import LIF, Circuit, Eligibility, LowPass, Poisson, Projection, Recorded, Signal, Trace
from sims.spike_rules import ActivityLimits
from sims.spiking import Stop
from sims.spiking_circuit import Network
from sims.synapses import Synapses

SECONDS = 0.3


def simulated(circuit, rule, signals, seed=1):
    network = Network(circuit, seed)
    state = network.initial_state(seed)
    return network, state, network.run(rule, state, SECONDS, signals=signals, record=circuit.populations)


def twin_of(network, state, rule, outcome, signals):
    circuit = network.circuit
    voltage = {name: state.voltage_mv(name) for name in circuit.neurons}
    given = {
        name: set(zip(spikes.step.tolist(), spikes.neuron.tolist(), strict=True))
        for name, spikes in outcome.spikes.items()
    }
    twin = naive_circuit.Twin(circuit, network.synapses, rule, voltage, given, signals)
    return twin.run(circuit.steps(1000 * SECONDS))


def assert_like_twin(circuit, texts, signals, *, precise=True):
    rule = programs(circuit, texts)
    network, state, outcome = simulated(circuit, rule, signals)
    twin = twin_of(network, state, rule, outcome, signals)
    tolerance = {"rel": 1e-9, "abs": 1e-10} if precise else {"rel": 1e-4, "abs": 1e-4}
    for name in circuit.populations:
        spikes = outcome.spikes[name]
        expected = [(k, n) for k, who, n in twin.spikes if who == name]
        assert list(zip(spikes.step.tolist(), spikes.neuron.tolist(), strict=True)) == expected
    for name, projection in circuit.projections.items():
        if projection.plastic:
            weights = outcome.state.weights(name)
            assert weights == pytest.approx(np.array(twin.weights[name]), **tolerance)
            assert np.std(weights) > 0.01, name
    for name, traces in twin.eligible.items():
        assert outcome.state.eligibility(name) == pytest.approx(np.array(traces), **tolerance)
    for name, value in twin.globals.items():
        assert outcome.state.signal(name) == pytest.approx(value, rel=1e-9)
    for name in circuit.neurons:
        assert outcome.state.voltage_mv(name) == pytest.approx(np.array(twin.v[name]), abs=0.05)
        assert sum(who == name for _, who, _ in twin.spikes) > 20, name
    return outcome


@pytest.mark.parametrize("name", EXAMPLES)
def test_spikes_and_weights_are_those_of_the_naive_twin(name):
    circuit, texts, signals = EXAMPLES[name]()
    assert_like_twin(circuit, texts, signals, precise=name != "voltage")
