"""The published recurrent network, written as a circuit, does what its own simulator does."""

from __future__ import annotations

import numpy as np
import pytest
from circuit_examples import programs

from discover.rule import Rule
from discover.tasks._balance import kernel_rule
from sims import _recurrent_kernels, recurrent
from sims.circuit import LIF, Circuit, Projection, Trace
from sims.recurrent import RecurrentNetwork
from sims.spiking_circuit import Network
from sims.synapses import Synapses

RULES = {
    "vogels": {"on_pre": "x_post - 0.25", "on_post": "x_pre"},
    "all four": {
        "on_pre": "0.4*x_post - 0.1",
        "on_post": "0.7*x_pre + 0.05",
        "tau_pre": "12",
        "tau_post": "35",
    },
    "functions": {"on_pre": "tanh(x_post) - 0.2", "on_post": "max(x_pre - w, 0)"},
}


def as_circuit(network, wiring):
    """The network's fixed synapses, sorted by the populations at their ends, and its plastic ones."""
    n_e, n_i = network.n_excitatory, network.n_inhibitory
    source = np.repeat(np.arange(n_e + n_i), np.diff(wiring.start))
    target = wiring.target.astype(np.int64)

    def between(pre, post):
        kept = ((source < n_e) == (pre == "E")) & ((target < n_e) == (post == "E"))
        shift = {"E": 0, "I": n_e}
        size = {"E": n_e, "I": n_i}
        return Synapses.from_pairs(source[kept] - shift[pre], target[kept] - shift[post], size[pre])

    cell = {"background_pa": network.background_pa}
    return Circuit(
        {"E": LIF(n_e, **cell), "I": LIF(n_i, **cell)},
        {
            "EE": Projection("E", "E", wiring=between("E", "E"), weight=network.excitatory_ns),
            "EI": Projection("E", "I", wiring=between("E", "I"), weight=network.excitatory_ns),
            "II": Projection(
                "I", "I", wiring=between("I", "I"), weight=network.inhibitory_ns, onto="inhibitory"
            ),
            "IE": Projection(
                "I", "E", wiring=Synapses(wiring.plastic_start, wiring.plastic_target),
                weight=network.initial_weight, onto="inhibitory", unit_ns=network.unit_ns, plastic=True,
                highest=network.largest_weight, learning_rate=network.learning_rate,
            ),
        },
        {"x": Trace(("E", "I"), 20.0)},
    )  # fmt: skip


@pytest.mark.parametrize("text", RULES.values(), ids=RULES.keys())
def test_spikes_and_weights_are_those_of_the_recurrent_network(text):
    settings = RecurrentNetwork(320, 80, 0.2, learning_rate=0.1)
    rule = Rule.parse(text)
    run = recurrent._Run(kernel_rule(rule), settings, np.random.default_rng(4))
    circuit = as_circuit(settings, run.wiring)
    network = Network(circuit)
    voltage = run.state.voltage.copy()
    state = network.initial_state(0, {"E": voltage[:320], "I": voltage[320:]})
    taus = {"IE.tau_x_pre": rule.constant("tau_pre"), "IE.tau_x_post": rule.constant("tau_post")}
    updates = {f"IE.{name}": update for name, update in text.items() if not name.startswith("tau")}
    by_slot = programs(circuit, updates) | taus
    n_spikes = 0
    for first in range(0, 3000, 50):
        outcome = network.run(by_slot, state, 0.005, record=["E", "I"])
        state = outcome.state
        spikes_e, spikes_i, fine = _recurrent_kernels.run_steps(
            run.rule, run.cells, run.wiring, run.state, *run.keep, first, 50, True, run.spiking, run.tape
        )
        assert fine
        assert (spikes_e, spikes_i) == tuple(len(outcome.spikes[name].step) for name in ("E", "I"))
        last = np.full(400, -1)
        for name, shift in (("E", 0), ("I", 320)):
            last[outcome.spikes[name].neuron + shift] = outcome.spikes[name].step
        recent = last >= 0
        np.testing.assert_array_equal(last[recent], run.state.last_spike[recent])
        n_spikes += spikes_e + spikes_i
    assert n_spikes > 1000
    np.testing.assert_allclose(state.weights("IE"), run.state.weights, rtol=1e-12, atol=1e-14)
    assert state.voltage_mv("E") == pytest.approx(run.state.voltage[:320], abs=1e-3)
    assert np.std(run.state.weights) > 0.01
