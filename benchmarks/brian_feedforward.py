"""The feed-forward circuit in Brian2, with the order of operations of our kernels; run as a script.

    python brian_feedforward.py arguments.json result.npz

Inputs are spikes from a file, or are drawn by Brian2 itself, one random number for each input and step.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import brian2 as b
import numpy as np

NEURON = """
dv/dt = (rest - v + g_e * (reversal_e - v) + g_i * (reversal_i - v)) / tau_membrane : 1 (unless refractory)
g_e : 1
g_i : 1
"""

SYNAPSE = """
w : 1
dx_input/dt = -x_input / tau_input : 1 (event-driven)
dx_output/dt = -x_output / tau_output : 1 (event-driven)
"""

ON_PRE = "w = clip(w + eta * (alpha + kappa * x_output), 0, largest); g_i_post += unit_i * w; x_input += 1"
ON_POST = "w = clip(w + eta * (beta + gamma * x_input), 0, largest); x_output += 1"

INPUT = """
p = base + gain * clip(signal_of_channel, 0, inf) : 1
signal_of_channel : 1 (linked)
"""


def given_inputs(a: dict, folder: Path) -> b.SpikeGeneratorGroup:
    spikes = np.load(folder / "spikes.npz")
    times = spikes["step"] * a["dt_ms"] * b.ms
    return b.SpikeGeneratorGroup(a["n_inputs"], spikes["source"], times, when="start", order=1)


def drawn_inputs(a: dict) -> list:
    keep = np.exp(-a["dt_ms"] / a["tau_signal_ms"])
    space = {"keep": keep, "noise": a["signal_noise"]}
    signals = b.NeuronGroup(a["n_channels"], "f : 1", namespace=space)
    signals.run_regularly("r = noise * (2 * rand() - 1); f = r - (r - f) * keep", when="start", order=-2)
    space = {"base": a["base_rate_hz"] * a["dt_ms"] * 1e-3, "gain": a["signal_gain_hz"] * a["dt_ms"] * 1e-3}
    # Brian2 looks at the end of a step which neurons are refractory in the next one: one step less does it.
    refractory_ms = a["input_refractory_ms"] - a["dt_ms"]
    inputs = b.NeuronGroup(
        a["n_inputs"], INPUT, threshold="rand() < p and not_refractory", reset="",
        refractory=refractory_ms * b.ms, namespace=space,
    )  # fmt: skip
    inputs.signal_of_channel = b.linked_var(signals, "f", index=np.array(a["channels"]))
    inputs.set_event_schedule("spike", when="start", order=1)
    return [inputs, signals]


def main(arguments: Path, result: Path) -> None:
    a = json.loads(arguments.read_text(encoding="utf-8"))
    if a["target"] == "cpp_standalone":
        b.set_device("cpp_standalone", directory=str(result.with_suffix(".standalone")))
    else:
        b.prefs.codegen.target = a["target"]
    b.defaultclock.dt = a["dt_ms"] * b.ms
    b.seed(a["seed"])
    inputs = [given_inputs(a, arguments.parent)] if a["given"] else drawn_inputs(a)
    space = {
        **{
            name: a[name]
            for name in ("rest", "reset", "threshold", "reversal_e", "reversal_i", "unit_e", "unit_i")
        },
        **{name: a[name] for name in ("eta", "largest", "alpha", "beta", "gamma", "kappa")},
        **{name: a[name + "_ms"] * b.ms for name in ("tau_membrane", "tau_input", "tau_output")},
        "keep_e": np.exp(-a["dt_ms"] / a["tau_e_ms"]),
        "keep_i": np.exp(-a["dt_ms"] / a["tau_i_ms"]),
    }
    neuron = b.NeuronGroup(
        1, NEURON, threshold="v > threshold", reset="v = reset",
        # Here a neuron is held at its reset for so long, from the step after its spike on.
        refractory=(a["refractory_ms"] + a["dt_ms"]) * b.ms, method="euler", namespace=space,
    )  # fmt: skip
    neuron.v = a["rest"]
    # After the voltage has moved, and before spikes arrive.
    neuron.run_regularly("g_e *= keep_e; g_i *= keep_i", when="groups", order=1)
    excitatory = b.Synapses(inputs[0], neuron, "w : 1", on_pre="g_e_post += unit_e * w", namespace=space)
    inhibitory = b.Synapses(inputs[0], neuron, SYNAPSE, on_pre=ON_PRE, on_post=ON_POST, namespace=space)
    n = a["n_excitatory"]
    excitatory.connect(i=np.arange(n), j=0)
    inhibitory.connect(i=np.arange(n, a["n_inputs"]), j=0)
    excitatory.w, inhibitory.w = a["excitatory_weights"], a["inhibitory_weights"]
    monitor = b.SpikeMonitor(neuron)
    net = b.Network(*inputs, neuron, excitatory, inhibitory, monitor)
    net.run(a["duration_s"] * b.second)
    step = np.round(np.asarray(monitor.t / b.ms) / a["dt_ms"]).astype(np.int64)
    seconds = getattr(b.get_device(), "_last_run_time", None) or np.nan
    np.savez(result, step=step, weights=np.asarray(inhibitory.w), seconds=seconds)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
