"""A rule of pairing experiments as a Brian2 script that repeats the experiments."""

from __future__ import annotations

from discover.export import brian2_update
from discover.rule import Rule
from discover.slots import POST_SPIKE, PRE_SPIKE, TAU_POST, TAU_PRE, TAU_SLOW_POST, TAU_SLOW_PRE

__all__ = ["brian2_of_pairs"]


def brian2_of_pairs(rule: Rule) -> str:
    """Return a script in which pairs of neurons fire as in pairing experiments and weights follow a rule.

    Parameters
    ----------
    rule : Rule
        In the slots of pairing experiments.
    """
    updates = {
        slot.name: brian2_update(rule.expressions[slot.name]) if slot.name in rule.slots else "0"
        for slot in (PRE_SPIKE, POST_SPIKE)
    }
    taus = {
        slot.name: repr(rule.constant(slot.name)) for slot in (TAU_PRE, TAU_POST, TAU_SLOW_PRE, TAU_SLOW_POST)
    }
    return SCRIPT.format(**updates, **taus)


SCRIPT = '''\
"""Pairing experiments: two neurons fire in bursts, and the weight of their synapse follows the rule below.

Every row of PROTOCOLS is one pair of neurons. Needs Brian2; prints the relative change of each weight.

    python this_file.py [bursts]
"""

import sys

from brian2 import SpikeGeneratorGroup, Synapses, defaultclock, ms, np, run

# Frequency of the spikes in a burst (Hz), lag of the postsynaptic spike (ms), spikes in a burst.
PROTOCOLS = [(frequency, lag, 5) for frequency in (10, 20, 40, 50) for lag in (10, -10)]
bursts = int(sys.argv[1]) if len(sys.argv) > 1 else 15
period = 2000.0  # ms from burst to burst; by then all traces have decayed

# The rule: jumps of a weight that begins at 1.
PRE_SPIKE = "{pre_spike}"
POST_SPIKE = "{post_spike}"
tau_in, tau_out = {tau_pre} * ms, {tau_post} * ms
tau_slow_in, tau_slow_out = {tau_slow_pre} * ms, {tau_slow_post} * ms

defaultclock.dt = 0.5 * ms
start = 100.0
times = [
    (start + period * np.arange(bursts)[:, None] + 1000.0 / frequency * np.arange(n)).ravel()
    for frequency, lag, n in PROTOCOLS
]
pair = np.concatenate([np.full(len(one), k) for k, one in enumerate(times)])
lags = np.concatenate([np.full(len(one), PROTOCOLS[k][1]) for k, one in enumerate(times)])
spikes = np.concatenate(times)
inputs = SpikeGeneratorGroup(len(PROTOCOLS), pair, spikes * ms)
outputs = SpikeGeneratorGroup(len(PROTOCOLS), pair, (spikes + lags) * ms)
synapses = Synapses(
    inputs,
    outputs,
    """w : 1
    dtrace_in/dt = -trace_in / tau_in : 1 (event-driven)
    dslow_in/dt = -slow_in / tau_slow_in : 1 (event-driven)
    dtrace_out/dt = -trace_out / tau_out : 1 (event-driven)
    dslow_out/dt = -slow_out / tau_slow_out : 1 (event-driven)""",
    on_pre=f"w = w + ({{PRE_SPIKE}}); trace_in += 1; slow_in += 1",
    on_post=f"w = w + ({{POST_SPIKE}}); trace_out += 1; slow_out += 1",
)
synapses.connect(j="i")
synapses.w = 1
run((start + period * bursts) * ms)
for (frequency, lag, n), weight in zip(PROTOCOLS, np.asarray(synapses.w)):
    print(f"{{frequency}} Hz, {{lag:+}} ms, {{bursts}} bursts of {{n}}: {{weight - 1:+.4f}}")
'''
