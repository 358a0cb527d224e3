"""The recurrent network in Brian2, made into a C++ program; run as a script: FOLDER SECONDS."""

from __future__ import annotations

import sys

import brian2 as b
import numpy as np

NEURON = """
dv/dt = (leak * (rest - v) + g_e * (0 * mV - v) + g_i * (-80 * mV - v) + 200 * pA) / (200 * pF) : volt \
(unless refractory)
dg_e/dt = -g_e / (5 * ms) : siemens
dg_i/dt = -g_i / (10 * ms) : siemens
"""

PLASTIC = """
w : 1
dx_in/dt = -x_in / (20 * ms) : 1 (event-driven)
dx_out/dt = -x_out / (20 * ms) : 1 (event-driven)
"""


def main(folder: str, seconds: float) -> None:
    """Build, compile and run."""
    b.set_device("cpp_standalone", directory=folder)
    b.prefs.devices.cpp_standalone.openmp_threads = 0
    b.defaultclock.dt = 0.1 * b.ms
    b.prefs.core.default_float_dtype = np.float32  # as in this program's neurons; it makes Brian2 faster
    b.seed(1)
    space = {"leak": 10 * b.nS, "rest": -60 * b.mV}
    neurons = b.NeuronGroup(
        10_000, NEURON, threshold="v > -50 * mV", reset="v = -60 * mV", refractory=5 * b.ms, method="euler",
        namespace=space,
    )  # fmt: skip
    neurons.v = "-60 * mV + rand() * 10 * mV"
    excitatory, inhibitory = neurons[:8000], neurons[8000:]
    excite = b.Synapses(excitatory, neurons, on_pre="g_e += 0.3 * nS")
    excite.connect(p=0.02)
    inhibit = b.Synapses(inhibitory, inhibitory, on_pre="g_i += 3 * nS")
    inhibit.connect(p=0.02)
    plastic = b.Synapses(
        inhibitory,
        excitatory,
        PLASTIC,
        on_pre="w = clip(w + 0.05 * (x_out - 0.25), 0, 100); g_i_post += w * nS; x_in += 1",
        on_post="w = clip(w + 0.05 * x_in, 0, 100); x_out += 1",
    )
    plastic.connect(p=0.02)
    plastic.w = 0
    rate = b.PopulationRateMonitor(excitatory)
    b.run(seconds * b.second)
    late = np.asarray(rate.rate / b.Hz)[int(0.5 * len(rate.t)) :]
    print(f"rate {late.mean():.3f}")


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
