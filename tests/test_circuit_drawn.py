"""Circuits of any make, drawn at random, do what their naive twin does."""

from __future__ import annotations

import numpy as np
import pytest
from circuit_examples import programs
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_circuit import Twin
from test_circuit import assert_like_twin, assert_same_state

from sims.circuit import LIF, Circuit, Eligibility, LowPass, Poisson, Projection, Signal, Trace
from sims.spiking_circuit import Network

UPDATES = {
    "on_pre": ["0.3 - x_post", "-0.2*w*x_post", "R*x_post", "x_post*x_pre - 0.1*w", "tanh(R_mean - x_post)"],
    "on_post": ["x_pre", "0.2 - x_pre*w", "R*x_pre*x_post", "max(x_pre, x_post)", "0.5"],
    "at_interval": ["-0.1*w", "R_mean", "0.1*(x_pre - x_post)"],
    "e.on_pre": ["x_post", "R - 0.2*e"],
    "e.on_post": ["x_pre", "x_pre*x_post - 0.1*e"],
}
TRACED = ["e", "0.2*e*w", "R*e - x_{}"]


@st.composite
def cells(draw):
    return LIF(
        draw(st.integers(1, 5)),
        background_pa=draw(st.sampled_from([0.0, 90.0, 150.0, 220.0])),
        refractory_ms=draw(st.sampled_from([0.0, 0.1, 2.0, 5.0])),
        tau_excitatory_ms=draw(st.sampled_from([0.5, 5.0])),
        slow_share=draw(st.sampled_from([0.0, 0.5])),
        threshold_raise_mv=draw(st.sampled_from([0.0, 20.0])),
        adaptation_pa=draw(st.sampled_from([0.0, 40.0])),
        clip_mv=draw(st.sampled_from([None, (-70.0, -20.0)])),
    )


@st.composite
def circuits(draw):
    populations = {"E": draw(cells()), "in": Poisson(draw(st.integers(1, 6)), 80.0), "I": draw(cells())}
    states = {"x": Trace(("E", "I", "in"), draw(st.sampled_from([0.7, 20.0]))), "R": Signal(0.4)}
    states["R_mean"] = LowPass("R", 15.0)
    projections, texts = {}, {}
    for n in range(draw(st.integers(1, 4))):
        name = f"p{n}"
        plastic = draw(st.booleans())
        interval = draw(st.sampled_from([None, 0.1, 3.3])) if plastic else None
        projections[name] = Projection(
            draw(st.sampled_from(["E", "I", "in"])),
            draw(st.sampled_from(["E", "I"])),
            draw(st.sampled_from([0.3, 1.0])),
            weight=draw(st.sampled_from([0.0, 1.5])),
            onto=draw(st.sampled_from(["excitatory", "inhibitory"])),
            unit_ns=draw(st.sampled_from([1.0, 3.0])),
            delay_ms=draw(st.sampled_from([0.0, 0.1, 0.7, 2.0])),
            plastic=plastic,
            lowest=draw(st.sampled_from([0.0, -1.0])) if plastic else 0.0,
            highest=4.0,
            learning_rate=0.2,
            transmits_first=draw(st.booleans()),
            interval_ms=interval,
        )
        if not plastic:
            continue
        slots = ["on_pre", "on_post"] + (["at_interval"] if interval else [])
        texts |= {
            f"{name}.{slot}": draw(st.sampled_from(UPDATES[slot])) for slot in slots if draw(st.booleans())
        }
        texts |= {f"{name}.tau_x_pre": draw(st.sampled_from([4.0, 50.0]))} if draw(st.booleans()) else {}
        if "e" not in states and draw(st.booleans()):
            states["e"] = Eligibility(name, draw(st.sampled_from([0.5, 30.0])))
            for slot in ("e.on_pre", "e.on_post"):
                texts[f"{name}.{slot}"] = draw(st.sampled_from(UPDATES[slot]))
            for slot, other in (("on_pre", "post"), ("on_post", "pre")):
                texts[f"{name}.{slot}"] = draw(st.sampled_from(TRACED)).format(other)
    return Circuit(populations, projections, states), texts


@settings(max_examples=60)
@given(circuits(), st.integers(0, 1000))
def test_any_circuit_is_like_its_twin(case, seed):
    circuit, texts = case
    signals = {"R": np.cos(np.arange(800) / 150.0)}
    assert_like_twin(circuit, texts, signals, lively=False, seed=seed, seconds=0.08)


@settings(max_examples=20)
@given(circuits(), st.integers(0, 1000), st.integers(1, 799))
def test_any_circuit_can_be_cut_anywhere(case, seed, cut):
    circuit, texts = case
    rule = programs(circuit, texts)
    network = Network(circuit, seed)
    course = np.cos(np.arange(800) / 150.0)
    whole = network.run(rule, network.initial_state(seed), 0.08, signals={"R": course}).state
    begun = network.run(rule, network.initial_state(seed), cut / 1e4, signals={"R": course[:cut]}).state
    assert_same_state(network.run(rule, begun, (800 - cut) / 1e4, signals={"R": course[cut:]}).state, whole)


def test_the_twin_refuses_spikes_that_are_wrong():
    circuit = Circuit({"E": LIF(2, background_pa=200.0)}, {})
    network = Network(circuit)
    state = network.initial_state()
    outcome = network.run({}, state, 0.02, record=["E"])
    given = set(zip(outcome.spikes["E"].step.tolist(), outcome.spikes["E"].neuron.tolist(), strict=True))
    voltage = {"E": state.voltage_mv("E")}
    assert given
    Twin(circuit, {}, {}, voltage, {"E": given}).run(200)
    for wrong in (given - {min(given)}, given | {(1, 0)}):
        with pytest.raises(AssertionError):
            Twin(circuit, {}, {}, voltage, {"E": wrong}).run(200)
