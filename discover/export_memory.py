"""Rules of four projections as a Brian2 script: the network that they stabilise and that remembers."""

from __future__ import annotations

from discover.export import brian2_update
from discover.rule import Rule
from discover.slots import TAU_POST, TAU_PRE, of_projection
from sims.memory import FAMILIAR, NOVEL, PROJECTIONS, MemoryCircuit
from sims.memory_protocol import MemoryProtocol

__all__ = ["MEMORY_SLOTS", "brian2_of_memory"]

MEMORY_SLOTS = frozenset(slot.name for name in PROJECTIONS for slot in of_projection(name))
"""Slots of the rules that have such a script."""

USUAL_MS = 20.0
"""Time constant of a trace that no update reads."""


def brian2_of_memory(rule: Rule) -> str:
    """Return a script with the whole network, its four rules, training and tests.

    Parameters
    ----------
    rule : Rule
        In the slots of the four projections.
    """
    circuit, protocol = MemoryCircuit(), MemoryProtocol()
    return SCRIPT.format(
        rules="\n".join(_rule_of(rule, name) for name in PROJECTIONS),
        n_e=circuit.n_excitatory, n_i=circuit.n_inhibitory, probability=circuit.probability,
        w_e=circuit.excitatory_weight, w_i=circuit.inhibitory_weight, w_max=circuit.largest_weight,
        eta=circuit.learning_rate, delay=circuit.delay_ms, side=circuit.side, radius=circuit.radius,
        w_input=circuit.input_weight, input_hz=circuit.input_rate_hz, stimulus_hz=FAMILIAR.rate_hz,
        n_stimulus=FAMILIAR.n, familiar=FAMILIAR.first, novel=NOVEL.first, background=protocol.background_s,
        training=protocol.training_s, on=protocol.on_s, off=protocol.off_s, breaks=protocol.breaks_s[:4],
        test=protocol.test_s,
    )  # fmt: skip


def _rule_of(rule: Rule, name: str) -> str:
    """One projection's line of the table of rules."""
    updates, taus = [], []
    for slot in of_projection(name):
        is_there = slot.name in rule.slots
        if slot.name.endswith((f".{TAU_PRE.name}", f".{TAU_POST.name}")):
            taus.append(repr(rule.constant(slot.name) if is_there else USUAL_MS))
        else:
            updates.append(brian2_update(rule.expressions[slot.name]) if is_there else "0")
    return f'    "{name}": ("{updates[0]}", "{updates[1]}", {taus[0]}, {taus[1]}),'


SCRIPT = '''\
"""Four kinds of plastic synapses in one network: Confavreux et al. (2025), bioRxiv 2025.05.28.656584.

The network sees one stimulus again and again. After each break it is shown a novel stimulus and the familiar
one, during which nothing is learned; a network with a memory answers more to the novel one. Needs Brian2;
prints rates and preferences, and mean weights at the end.

    python this_file.py [longest break in s] [size]

The size is the share of the neurons, 1 for the whole network; 0.125 behaves alike. For a C++ program or a
graphics card add, behind the imports, set_device("cpp_standalone") or, with Brian2CUDA installed,
import brian2cuda; set_device("cuda_standalone").
"""

import sys

from brian2 import (
    Hz, Network, NeuronGroup, PoissonGroup, PopulationRateMonitor, Synapses, TimedArray, defaultclock, mV, ms,
    np, second, seed,
)

seed(1)
np.random.seed(1)
defaultclock.dt = 0.1 * ms
longest = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
size = float(sys.argv[2]) if len(sys.argv) > 2 else 1.0
connections = 1.0 if size == 1 else 0.7  # of what a neuron has at full size; each transmits more then
before, training, test = {background}, {training}, {test}  # seconds

# The rules: for each projection the changes of a weight, before they are multiplied by eta, when a
# presynaptic spike arrives and at a postsynaptic spike; and time constants of both traces in ms.
RULES = {{
{rules}
}}
eta, w_max = {eta}, {w_max}

# What is shown when, in pieces of 10 ms: 0 nothing, 1 the familiar stimulus, 2 the novel one.
piece = 0.01
shown, learns, tests = [], [], []


def show(what, seconds, learn=1):
    n = round(seconds / piece)
    shown.extend([what] * n)
    learns.extend([learn] * n)


show(0, before)
end = len(shown) + round(training / piece)
while len(shown) < end:
    show(1, min({on}, (end - len(shown)) * piece))
    show(0, min({off}, (end - len(shown)) * piece))
done = 0.0
for time in [one for one in {breaks} if one <= longest] or [longest]:
    show(0, time - done)
    done = time
    tests.append((time, len(shown)))
    show(2, test, learn=0)
    show(1, test, learn=0)
stimulus = TimedArray(np.array(shown, dtype=float), dt=piece * second)
rate_of_learning = TimedArray(eta * np.array(learns, dtype=float), dt=piece * second)

# Neurons, with conductances over that of the leak.
n_e, n_i = round(size * {n_e}), round(size * {n_i})
NEURON = """
dv/dt = (-70 * mV - v - (0.3 / 1.3 * g_ampa + 1 / 1.3 * g_nmda) * v + g_i * (-80 * mV - v)) / (20 * ms) : volt
dg_ampa/dt = -g_ampa / (5 * ms) : 1
dg_nmda/dt = (g_ampa - g_nmda) / (100 * ms) : 1
dg_i/dt = -g_i / (10 * ms) : 1
draised/dt = -raised / (5 * ms) : volt
"""
groups = {{
    name: NeuronGroup(
        n, NEURON, threshold="v > -50 * mV + raised", reset="v = -70 * mV; raised = 100 * mV", method="euler"
    )
    for name, n in (("E", n_e), ("I", n_i))
}}
for group in groups.values():
    group.v = "-70 * mV + rand() * 20 * mV"
    group.run_regularly("v = clip(v, -80 * mV, 0 * mV)", when="after_groups")

# Inputs on two square grids; every neuron listens to those near a random centre.
side, radius = {side}, {radius}
rates = "({input_hz} + ({stimulus_hz} - {input_hz}) * (" + " + ".join(
    f"int(stimulus(t) == {{what}}) * int(i >= {{first}}) * int(i < {{first + {n_stimulus}}})"
    for what, first in ((1, {familiar}), (2, {novel}))
) + ")) * Hz"
inputs = PoissonGroup(side**2, rates=rates)
background = PoissonGroup(side**2, rates={input_hz} * Hz)
reach = range(-int(radius), int(radius) + 1)
offsets = np.array([(a, b) for a in reach for b in reach if a**2 + b**2 < radius**2])
everything = [inputs, background, *groups.values()]
for source, name in ((inputs, "E"), (background, "I")):
    group = groups[name]
    places = np.random.randint(side, size=(len(group), 1, 2)) + offsets
    neuron, which = np.nonzero(np.all((places >= 0) & (places < side), axis=2))
    given = Synapses(source, group, on_pre="g_ampa_post += {w_input}", delay={delay} * ms)
    given.connect(i=places[neuron, which] @ [side, 1], j=neuron)
    everything.append(given)

plastic = {{}}
for name, (on_pre, on_post, tau_in, tau_out) in RULES.items():
    receives = "g_ampa" if name[0] == "E" else "g_i"
    synapses = Synapses(
        groups[name[0]],
        groups[name[1]],
        f"""w : 1
        dtrace_in/dt = -trace_in / ({{tau_in}} * ms) : 1 (event-driven)
        dtrace_out/dt = -trace_out / ({{tau_out}} * ms) : 1 (event-driven)""",
        on_pre=f"{{receives}}_post += w / connections; "
        f"w = clip(w + rate_of_learning(t) * ({{on_pre}}), 0, w_max); trace_in += 1",
        on_post=f"w = clip(w + rate_of_learning(t) * ({{on_post}}), 0, w_max); trace_out += 1",
    )
    synapses.connect(p={probability} * connections / size)
    synapses.pre.delay = {delay} * ms
    synapses.w = {w_e} if name[0] == "E" else {w_i}
    plastic[name] = synapses
monitors = {{name: PopulationRateMonitor(group) for name, group in groups.items()}}
network = Network(everything, *plastic.values(), *monitors.values())
network.run(len(shown) * piece * second)


def mean_rate(name, first, seconds):
    start, n = round(first * piece / 1e-4), round(seconds / 1e-4)
    return np.asarray(monitors[name].rate / Hz)[start : start + n].mean()


for time, first in tests:
    second_before = {{name: mean_rate(name, first - round(1 / piece), 1.0) for name in groups}}
    novel = mean_rate("E", first, test)
    familiar = mean_rate("E", first + round(test / piece), test)
    preference = 2 * (novel - familiar) / (novel + familiar + 0.01)
    print(
        f"break of {{time:g}} s: E {{second_before['E']:.2f}} Hz, I {{second_before['I']:.2f}} Hz, "
        f"preference for the novel stimulus {{preference:+.3f}}"
    )
for name, synapses in plastic.items():
    print(f"mean weight {{name}}: {{np.asarray(synapses.w).mean():.3f}}")
'''
