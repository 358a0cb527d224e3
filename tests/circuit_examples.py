"""Small spiking circuits and rules of theirs, written as text."""

from __future__ import annotations

import numpy as np

from discover.expression.compiling import compile_program
from discover.expression.parsing import parse
from sims.circuit import LIF, Circuit, Eligibility, LowPass, Poisson, Projection, Recorded, Signal, Trace
from sims.spiking_circuit import Network
from sims.synapses import Synapses

CELLS = {"background_pa": 90.0}
MEMORY_CELLS = {
    "rest_mv": -70.0, "reset_mv": -70.0, "refractory_ms": 0.0, "slow_share": 1 / 1.3,
    "threshold_raise_mv": 100.0, "clip_mv": (-80.0, 0.0), "background_pa": 150.0,
}  # fmt: skip
PLASTIC = {"plastic": True, "highest": 20.0, "learning_rate": 0.05}


def programs(circuit, texts):
    """Turn the updates of a rule, given as text, into programs."""
    result = {}
    for name, text in texts.items():
        if isinstance(text, str):
            slot = circuit.slots[name]
            text = compile_program(parse(text, slot.names), slot.names, slot.neuron_level)
        result[name] = text
    return result


def balanced(states=None, **projections):
    """Four projections between excitatory and inhibitory neurons, and a Poisson input."""
    fan = {
        "in": Projection("input", "E", 0.5, weight=2.5),
        "EE": Projection("E", "E", 0.5, weight=1.0),
        "EI": Projection("E", "I", 0.6, weight=2.0),
        "IE": Projection("I", "E", 0.6, weight=1.5, onto="inhibitory"),
        "II": Projection("I", "I", 0.6, weight=1.0, onto="inhibitory"),
    }
    return Circuit(
        {"E": LIF(12, **CELLS), "I": LIF(4, **CELLS), "input": Poisson(20, 30.0)},
        fan | projections,
        {"x": Trace(("E", "I"), 20.0)} if states is None else states,
    )


def four_plastic():
    circuit = Circuit(
        {"E": LIF(12, **MEMORY_CELLS), "I": LIF(4, **MEMORY_CELLS), "input": Poisson(20, 60.0)},
        {
            "in": Projection("input", "E", 0.5, weight=1.5, delay_ms=0.8),
            "EE": Projection("E", "E", 0.5, weight=1.0, delay_ms=0.8, transmits_first=True, **PLASTIC),
            "EI": Projection("E", "I", 0.6, weight=2.0, delay_ms=0.8, transmits_first=True, **PLASTIC),
            "IE": Projection("I", "E", 0.6, weight=1.0, delay_ms=0.8, onto="inhibitory", **PLASTIC),
            "II": Projection("I", "I", 0.6, weight=1.0, delay_ms=1.3, onto="inhibitory", **PLASTIC),
        },
        {"x": Trace(("E", "I"), 20.0)},
    )
    rule = {}
    for name, (pre, post, *numbers) in {
        "EE": (39.5, 83.3, 0.56, -0.84, 0.38, -0.50),
        "EI": (77.8, 91.6, 0.61, -0.82, 1.12, -0.92),
        "IE": (95.2, 46.0, -1.28, 1.18, 1.04, -1.39),
        "II": (26.6, 77.4, -1.15, 0.75, 0.75, 1.92),
    }.items():
        alpha, beta, gamma, kappa = numbers
        rule |= {f"{name}.on_pre": f"{alpha} + {kappa}*x_post", f"{name}.on_post": f"{beta} + {gamma}*x_pre"}
        rule |= {f"{name}.tau_x_pre": pre, f"{name}.tau_x_post": post}
    return circuit, rule, {}


def triplet():
    circuit = balanced(
        {"x": Trace(("E", "I"), 20.0), "slow": Trace("E", 100.0)},
        EE=Projection("E", "E", 0.5, weight=1.0, **PLASTIC),
        IE=Projection("I", "E", 0.6, weight=1.5, onto="inhibitory", **PLASTIC),
    )
    rule = {
        "EE.on_pre": "-0.5*x_post",
        "EE.on_post": "0.4*x_pre*slow_post",
        "IE.on_pre": "tanh(x_post) - 0.3*w",
        "IE.on_post": "max(x_pre - 0.2*w, 0)*slow_post",
    }
    return circuit, rule, {}


def reward():
    circuit = balanced(
        {
            "x": Trace("E", 20.0), "R": Signal(0.3), "R_mean": LowPass("R", 40.0),
            "e": Eligibility("EE", 30.0), "f": Eligibility("EE", 60.0),
        },
        EE=Projection("E", "E", 0.5, weight=1.0, interval_ms=7.0, **PLASTIC),
    )  # fmt: skip
    rule = {
        "EE.e.on_post": "x_pre",
        "EE.e.on_pre": "-0.3*x_post - 0.1*e",
        "EE.f.on_pre": "w - x_pre",
        "EE.on_pre": "0.2*R - 0.1*f",
        "EE.at_interval": "(R - R_mean)*e",
    }
    steps = np.arange(3000)
    return circuit, rule, {"R": np.sin(steps / 200.0) * (steps > 500)}


def voltage():
    circuit = balanced(
        {"x": Trace(("E", "I"), 20.0), "u": LowPass("E.v", 10.0), "g": LowPass("I.g_e", 15.0)},
        EE=Projection("E", "E", 0.5, weight=1.0, **PLASTIC),
        EI=Projection("E", "I", 0.6, weight=2.0, delay_ms=0.5, **PLASTIC),
    )
    rule = {
        "EE.on_pre": "-0.05*max(u_post + 58, 0)",
        "EE.on_post": "0.1*x_pre*max(u_post + 60, 0)",
        "EI.on_pre": "0.02*(v_post + 55) - 0.01*g_e_post*w",
        "EI.on_post": "0.1*x_pre - 0.05*g_post + 0.02*u_pre + 1 - 0.1*g_i_post",
    }
    return circuit, rule, {}


def given_spikes():
    rng = np.random.default_rng(5)
    time, source = np.sort(rng.uniform(0, 300, 400)), rng.integers(0, 15, 400)
    _, first = np.unique(np.stack([np.rint(time * 10), source]), axis=1, return_index=True)
    first.sort()
    wiring = Synapses.drawn(15, 10, 0.6, rng)
    lasting = Synapses.from_pairs([3, 1, 3, 0], [2, 2, 9, 2], 15)
    circuit = Circuit(
        {
            "train": Recorded(15, time[first], source[first]),
            "E": LIF(10, background_pa=80.0, adaptation_pa=30.0, tau_adaptation_ms=50.0),
        },
        {
            "in": Projection("train", "E", wiring=wiring, weight=rng.uniform(0, 9, len(wiring)),
                             lowest=-1.0, delay_ms=1.5, plastic=True, highest=9.5),
            "held": Projection("train", "E", wiring=lasting, weight=[1.0, 2.0, 3.0, 4.0], unit_ns=0.5),
        },
        {"x": Trace(("train", "E"), 15.0)},
    )  # fmt: skip
    return circuit, {"in.on_pre": "-0.02*x_post*w", "in.on_post": "x_pre*(0.1 - 0.01*w)"}, {}


EXAMPLES = {
    "four plastic": four_plastic,
    "triplet": triplet,
    "reward": reward,
    "voltage": voltage,
    "given spikes": given_spikes,
}


def balanced_run(rule, circuit, duration_s, measure_from_s=0.0, *, seed=0, limits=None):
    """Run a balanced network, drawn from a seed, under a rule of its plastic synapses."""
    network = Network(circuit, seed)
    return network.run(
        rule.of_projection("IE"), network.initial_state(seed), duration_s, measure_from_s=measure_from_s,
        limits={} if limits is None else {"E": limits},
    )  # fmt: skip
