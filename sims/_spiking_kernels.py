"""Kernels of one integrate-and-fire neuron with many inputs, whose synapses change by many rules in turn.

All rules see the same input spikes. What does not depend on a rule, the conductance of fixed excitatory
synapses, is computed once for a chunk of time; then every rule is run over the chunk, from its own state.

A step of length dt, in this order:

1. Conductances and the traces decay by one step.
2. Each input that spikes in this step: its weight changes by ``on_pre(x_post, w)``, the changed weight is
   added to the conductance, and its trace ``x_pre`` jumps by one.
3. The currents are measured with the voltage as the last step left it.
4. The voltage goes on for dt under constant conductances (exponential Euler) unless the neuron is refractory.
5. Above threshold the neuron spikes: the voltage is reset, all weights change by ``on_post(x_pre, w)``, and
   then ``x_post`` jumps by one.

So a presynaptic spike precedes a postsynaptic one of the same step. A neuron that spikes in step k can spike
again in step ``k + refractory``; its voltage stays at the reset until the step before.

Traces ``x_pre`` are brought up to date only when they are read. All times are steps counted from the start of
the run, and nothing is summed by chunks: results do not depend on the length of chunks, to the last bit.
"""

import math
from typing import NamedTuple

import numpy as np

from sims._compiled import helper, kernel
from sims._spike_programs import (
    NOTHING,
    SPLINES,
    KernelRule,
    clipped,
    spline_update,
    synapse_update,
    updated_row,
)

NEVER = 2**62
"""A step that is never reached."""

LARGEST_IN_SERIES = 0.03
"""Up to this argument eight terms of the exponential's series are exact but for the last bit."""

RUNNING, TOO_QUIET, TOO_ACTIVE, NOT_A_NUMBER = 0, 1, 2, 3

# What a rule's run carries from chunk to chunk: columns of `State.reals` ...
VOLTAGE, G_EXCITATORY, G_INHIBITORY, X_POST, X_POST_EXCITATORY, INTERVALS, SQUARED_INTERVALS = range(7)
X_SLOW = 7
N_REALS = 8
# ... and of `State.counts`.
FREE_AT, LAST_SPIKE, N_SPIKES, N_MEASURED, N_INTERVALS, IN_BIN = range(6)
SQUARED_COUNTS, N_BINNED, N_BINS, IN_WINDOW, STOP, STEPS = range(6, 12)
N_COUNTS = 12


class Membrane(NamedTuple):
    """Neuron and synapses in steps, mV and units of the leak conductance.

    `rate` is dt over the membrane's time constant; `keep` are factors by which conductances decay in a step.
    """

    rate: float
    rest: float
    reset: float
    threshold: float
    excitatory_reversal: float
    inhibitory_reversal: float
    refractory: int
    excitatory_keep: float
    inhibitory_keep: float
    dt_ms: float


class Plan(NamedTuple):
    """When what is measured, in steps; `NEVER` or beyond for what is not wanted."""

    measure_from: int
    channels_from: int  # currents by channel need their conductances some time before they are measured
    snapshot_at: int
    bin_steps: int
    check_from: int
    check_steps: int
    fewest_spikes: float
    most_spikes: float
    normalise_every: int


class RuleTable(NamedTuple):
    """Rules one after the other: ``code[code_start[r] : code_start[r + 1]]`` belongs to rule r.

    `numbers` (n_rules, 6) are alpha, beta, gamma, kappa, tau_pre and tau_post.
    """

    is_linear: np.ndarray
    numbers: np.ndarray
    pre_code: np.ndarray
    pre_code_start: np.ndarray
    pre_constants: np.ndarray
    pre_constants_start: np.ndarray
    pre_output: np.ndarray
    post_code: np.ndarray
    post_code_start: np.ndarray
    post_constants: np.ndarray
    post_constants_start: np.ndarray
    post_output: np.ndarray


class Synapses(NamedTuple):
    """Plastic synapses of one kind; all arrays have the rules as their first axis."""

    weights: np.ndarray  # (n_rules, n_synapses)
    traces: np.ndarray  # (n_rules, n_synapses)
    updated: np.ndarray  # (n_rules, n_synapses), step of the trace
    total: np.ndarray  # (n_rules,), sum of weights that normalisation restores
    unit: float  # conductance of weight 1
    learning_rate: float
    largest: float
    slow_keep: float  # factor of a slow postsynaptic trace in a step; 0 for none


class State(NamedTuple):
    """What a rule's run carries on and what it has measured; the rules are the first axis."""

    reals: np.ndarray  # (n_rules, N_REALS)
    counts: np.ndarray  # (n_rules, N_COUNTS)
    conductance: np.ndarray  # (n_rules, 2, n_channels)
    current: np.ndarray  # (n_rules, 2, n_channels), sums over steps
    snapshot: np.ndarray  # (n_rules, n_inhibitory)
    spikes: np.ndarray  # (n_rules, most)


class Chunk(NamedTuple):
    """Input spikes of some steps, and the conductance of fixed excitation.

    `step` holds steps counted from the start of the run and ends with `NEVER`. With fixed excitation only
    inhibitory spikes are listed, and `drive` (n_steps,) and `drive_by_channel` (n_steps, n_channels) hold the
    excitatory conductance. With plastic excitation all spikes are listed.
    """

    first: int
    n_steps: int
    step: np.ndarray
    input: np.ndarray
    drive: np.ndarray
    drive_by_channel: np.ndarray


@kernel
def excite(
    first, n_steps, event_step, event_input, n_events, weights, channels, keep, conductance, drive,
    drive_by_channel, step, source,
):  # fmt: skip
    """Conductance of fixed excitatory synapses, step by step, and the spikes that are left.

    Parameters
    ----------
    first, n_steps : int
    event_step, event_input : ndarray of int
        Steps counted from `first`; sorted. The first `n_events` count.
    weights : ndarray, shape (n_excitatory,)
        Conductance that a spike adds.
    channels : ndarray of int, shape (n_inputs,)
    keep : float
    conductance : ndarray, shape (n_channels,)
        As it has decayed until the next step; carried on.
    drive, drive_by_channel : ndarray, shapes (n_steps,) and (n_steps, n_channels)
        Results.
    step, source : ndarray of int, at least n_events + 1
        Spikes of the other inputs, in steps of the run, and their numbers.
    """
    n_channels = conductance.shape[0]
    e = n = 0
    for k in range(n_steps):
        row = drive_by_channel[k]
        while e < n_events and event_step[e] == k:
            i = event_input[e]
            if i < weights.shape[0]:
                conductance[channels[i]] += weights[i]
            else:
                step[n] = first + k
                source[n] = i
                n += 1
            e += 1
        total = 0.0
        for c in range(n_channels):
            row[c] = conductance[c]
            total += row[c]
            conductance[c] = keep * row[c]
        drive[k] = total
    step[n] = NEVER


@kernel
def list_all(first, event_step, event_input, n_events, step, source):
    """List all spikes in steps of the run, for plastic excitation."""
    for e in range(n_events):
        step[e] = first + event_step[e]
        source[e] = event_input[e]
    step[n_events] = NEVER


@helper
def _rule_of(table, r):
    n = table.numbers[r]
    return KernelRule(
        table.is_linear[r], n[0], n[1], n[2], n[3], n[4], n[5],
        table.pre_code[table.pre_code_start[r] : table.pre_code_start[r + 1]],
        table.pre_constants[table.pre_constants_start[r] : table.pre_constants_start[r + 1]],
        table.pre_output[r],
        table.post_code[table.post_code_start[r] : table.post_code_start[r + 1]],
        table.post_constants[table.post_constants_start[r] : table.post_constants_start[r + 1]],
        table.post_output[r],
    )  # fmt: skip


@helper(inline="always")
def _presynaptic(rule, weight, x_post, learning_rate, largest, registers):
    """Weight after a presynaptic spike."""
    if rule.is_linear:
        return clipped(weight + learning_rate * (rule.alpha + rule.kappa * x_post), largest)
    if rule.pre_output == NOTHING:
        return weight
    if rule.pre_output == SPLINES:
        update = spline_update(rule.pre_constants, x_post, weight)
    else:
        update = synapse_update(rule.pre_code, rule.pre_constants, rule.pre_output, x_post, weight, registers)
    return clipped(weight + learning_rate * update, largest)


@helper
def _postsynaptic(rule, k, weights, traces, updated, decay, learning_rate, largest, tape):
    """Change all weights of a neuron that spikes in step k; return whether they are numbers still."""
    n = weights.shape[0]
    for i in range(n):
        traces[i] *= math.exp((updated[i] - k) * decay)
        updated[i] = k
    if rule.is_linear:
        for i in range(n):
            weights[i] = clipped(weights[i] + learning_rate * (rule.beta + rule.gamma * traces[i]), largest)
    elif rule.post_output != NOTHING:
        for i in range(n):
            tape[0, i] = traces[i]
            tape[1, i] = weights[i]
        update = tape[updated_row(rule.post_code, rule.post_constants, rule.post_output, tape, n)]
        for i in range(n):
            weights[i] = clipped(weights[i] + learning_rate * update[i], largest)
    fine = True
    for i in range(n):
        fine = fine and weights[i] == weights[i]
    return fine


@helper(inline="always")
def _decay(x):
    """``exp(-x)``, for small positive x by the terms of its series that matter to the last bit."""
    if x > LARGEST_IN_SERIES:
        return math.exp(-x)
    square = x * x
    low = (1.0 - x) + square * (1 / 2 - x / 6)
    high = (1 / 24 - x / 120) + square * (1 / 720 - x / 5040)
    return low + square * square * high


@helper
def _measure_currents(excitatory, inhibitory, voltage, membrane, current):
    to_excitatory = membrane.excitatory_reversal - voltage
    to_inhibitory = voltage - membrane.inhibitory_reversal
    for c in range(excitatory.shape[0]):
        current[0, c] += excitatory[c] * to_excitatory
        current[1, c] += inhibitory[c] * to_inhibitory


@helper
def _note_spike(k, counts, reals, spikes, measuring):
    n = counts[N_SPIKES]
    if n < spikes.shape[0]:
        spikes[n] = k
    counts[N_SPIKES] += 1
    counts[IN_WINDOW] += 1
    if measuring:
        if counts[N_MEASURED] > 0:
            interval = float(k - counts[LAST_SPIKE])
            reals[INTERVALS] += interval
            reals[SQUARED_INTERVALS] += interval * interval
            counts[N_INTERVALS] += 1
        counts[N_MEASURED] += 1
        counts[IN_BIN] += 1
    counts[LAST_SPIKE] = k


@helper
def _stretch(
    rule, excitatory_rule, is_plastic, has_channels, first, last, e, chunk, channels, membrane, inhibitory,
    excitatory, r, state, registers, tape, measuring,
):  # fmt: skip
    """Run one rule from step `first` to before `last`; return the next event, `NEVER` if a weight is NaN."""
    reals, counts = state.reals[r], state.counts[r]
    current, g_channel, spikes = state.current[r], state.conductance[r], state.spikes[r]
    weights, traces, updated = inhibitory.weights[r], inhibitory.traces[r], inhibitory.updated[r]
    weights_e, traces_e, updated_e = excitatory.weights[r], excitatory.traces[r], excitatory.updated[r]
    n_excitatory = channels.shape[0] - weights.shape[0]
    decay_pre = membrane.dt_ms / rule.tau_pre
    keep_post = math.exp(-membrane.dt_ms / rule.tau_post)
    decay_pre_e = membrane.dt_ms / excitatory_rule.tau_pre
    keep_post_e = math.exp(-membrane.dt_ms / excitatory_rule.tau_post)
    voltage, g_e, g_i = reals[VOLTAGE], reals[G_EXCITATORY], reals[G_INHIBITORY]
    x_post, x_post_e, free_at = reals[X_POST], reals[X_POST_EXCITATORY], counts[FREE_AT]
    x_slow = reals[X_SLOW]
    fine = True
    k = first
    while k < last and fine:
        x_post *= keep_post
        g_i *= membrane.inhibitory_keep
        if has_channels:
            for c in range(g_channel.shape[1]):
                g_channel[1, c] *= membrane.inhibitory_keep
        if is_plastic:
            x_post_e *= keep_post_e
            x_slow *= excitatory.slow_keep
            g_e *= membrane.excitatory_keep
            if has_channels:
                for c in range(g_channel.shape[1]):
                    g_channel[0, c] *= membrane.excitatory_keep
        while chunk.step[e] == k:
            i = chunk.input[e]
            e += 1
            if i >= n_excitatory:
                j = i - n_excitatory
                w = _presynaptic(
                    rule, weights[j], x_post, inhibitory.learning_rate, inhibitory.largest, registers
                )
                fine = fine and w == w
                weights[j] = w
                traces[j] = traces[j] * math.exp((updated[j] - k) * decay_pre) + 1.0
                updated[j] = k
                g_i += inhibitory.unit * w
                if has_channels:
                    g_channel[1, channels[i]] += inhibitory.unit * w
            else:
                w = _presynaptic(
                    excitatory_rule, weights_e[i], x_post_e, excitatory.learning_rate, excitatory.largest,
                    registers,
                )  # fmt: skip
                fine = fine and w == w
                weights_e[i] = w
                traces_e[i] = traces_e[i] * math.exp((updated_e[i] - k) * decay_pre_e) + 1.0
                updated_e[i] = k
                g_e += excitatory.unit * w
                if has_channels:
                    g_channel[0, channels[i]] += excitatory.unit * w
        if not is_plastic:
            g_e = chunk.drive[k - chunk.first]
        if measuring:
            by_channel = g_channel[0] if is_plastic else chunk.drive_by_channel[k - chunk.first]
            _measure_currents(by_channel, g_channel[1], voltage, membrane, current)
        if k >= free_at:
            g = 1.0 + g_e + g_i
            target = (
                membrane.rest + g_e * membrane.excitatory_reversal + g_i * membrane.inhibitory_reversal
            ) / g
            voltage = target + (voltage - target) * _decay(g * membrane.rate)
            if voltage > membrane.threshold:
                voltage = membrane.reset
                free_at = k + membrane.refractory
                fine = fine and _postsynaptic(
                    rule, k, weights, traces, updated, decay_pre, inhibitory.learning_rate,
                    inhibitory.largest, tape,
                )  # fmt: skip
                if is_plastic:
                    # A triplet rule reads its slow trace before the jump, like all traces.
                    gate = x_slow if excitatory.slow_keep > 0.0 else 1.0
                    fine = fine and _postsynaptic(
                        excitatory_rule, k, weights_e, traces_e, updated_e, decay_pre_e,
                        gate * excitatory.learning_rate, excitatory.largest, tape,
                    )  # fmt: skip
                    x_post_e += 1.0
                    x_slow += 1.0
                x_post += 1.0
                _note_spike(k, counts, reals, spikes, measuring)
        k += 1
    reals[VOLTAGE], reals[G_EXCITATORY], reals[G_INHIBITORY] = voltage, g_e, g_i
    reals[X_POST], reals[X_POST_EXCITATORY], counts[FREE_AT] = x_post, x_post_e, free_at
    reals[X_SLOW] = x_slow
    counts[STEPS] = k
    return e if fine else NEVER


@helper
def _next_multiple(k, start, every):
    """First of ``start + every, start + 2 every, ...`` after step k."""
    return start + every if k < start + every else start + ((k - start) // every + 1) * every


@helper
def _next_stop(k, last, plan):
    """First step after k at which something is to be done between two steps."""
    stop = min(last, _next_multiple(k, plan.check_from, plan.check_steps))
    stop = min(stop, _next_multiple(k, plan.measure_from, plan.bin_steps))
    stop = min(stop, _next_multiple(k, 0, plan.normalise_every))
    for at in (plan.measure_from, plan.channels_from, plan.snapshot_at, plan.check_from):
        if at > k:
            stop = min(stop, at)
    return stop


@helper
def _close_bin(counts):
    counts[SQUARED_COUNTS] += counts[IN_BIN] * counts[IN_BIN]
    counts[N_BINNED] += counts[IN_BIN]
    counts[N_BINS] += 1
    counts[IN_BIN] = 0


@helper
def _check_activity(counts, plan):
    if counts[IN_WINDOW] < plan.fewest_spikes:
        counts[STOP] = TOO_QUIET
    elif counts[IN_WINDOW] > plan.most_spikes:
        counts[STOP] = TOO_ACTIVE
    counts[IN_WINDOW] = 0


@helper
def _normalise(weights, total, largest):
    """Bring the sum of weights back to what it was."""
    now = 0.0
    for i in range(weights.shape[0]):
        now += weights[i]
    if now > 0.0:
        for i in range(weights.shape[0]):
            weights[i] = clipped(weights[i] * (total / now), largest)


@helper
def _between_steps(k, plan, is_plastic, inhibitory, excitatory, r, state):
    """What is done after step k - 1 and before step k."""
    counts = state.counts[r]
    if k == plan.snapshot_at:
        state.snapshot[r, :] = inhibitory.weights[r]
    if k > plan.measure_from and (k - plan.measure_from) % plan.bin_steps == 0:
        _close_bin(counts)
    if k == plan.check_from:
        counts[IN_WINDOW] = 0
    elif k > plan.check_from and (k - plan.check_from) % plan.check_steps == 0:
        _check_activity(counts, plan)
    if is_plastic and k % plan.normalise_every == 0:
        _normalise(excitatory.weights[r], excitatory.total[r], excitatory.largest)


@kernel
def run_chunk(
    table, excitatory_table, is_plastic, chunk, channels, membrane, plan, inhibitory, excitatory, state,
    registers, tape,
):  # fmt: skip
    """Run all rules over a chunk, each from its own state and until it has to stop; in place.

    Parameters
    ----------
    table, excitatory_table : RuleTable
        The latter holds one rule, which counts if `is_plastic`.
    is_plastic : bool
    chunk : Chunk
    channels : ndarray of int, shape (n_inputs,)
    membrane : Membrane
    plan : Plan
    inhibitory, excitatory : Synapses
    state : State
    registers, tape : ndarray, shapes (n_registers,) and (n_registers, n_synapses)
        Workspace.
    """
    excitatory_rule = _rule_of(excitatory_table, 0)
    last = chunk.first + chunk.n_steps
    for r in range(state.counts.shape[0]):
        rule, counts = _rule_of(table, r), state.counts[r]
        k, e = chunk.first, 0
        while k < last and counts[STOP] == RUNNING:
            stop = _next_stop(k, last, plan)
            measuring, has_channels = k >= plan.measure_from, k >= plan.channels_from
            e = _stretch(
                rule, excitatory_rule, is_plastic, has_channels, k, stop, e, chunk, channels, membrane,
                inhibitory, excitatory, r, state, registers, tape, measuring,
            )  # fmt: skip
            if e == NEVER:
                counts[STOP] = NOT_A_NUMBER
            else:
                k = stop
                _between_steps(k, plan, is_plastic, inhibitory, excitatory, r, state)
