"""Kernel of every spiking circuit: populations, states, projections and rules are data in flat arrays.

A step goes in this order:

1. Signals take the values of the step; low-passed signals follow them.
2. Voltages make an Euler step with everything as it is; a slow conductance follows the fast one. Neurons
   above the threshold that are not refractory spike. Whoever is refractory then is at the reset. Inputs spike.
3. Conductances, traces, thresholds, adaptation and eligibility decay. A spike raises its neuron's threshold and
   adaptation. What rules read of voltages and conductances is taken now.
4. Spikes arrive, projection by projection, each after its delay. A synapse changes by `on_pre` and transmits its
   weight (or transmits and then changes); then presynaptic traces jump.
5. For every neuron that spikes, the synapses that end at it change by `on_post`; then postsynaptic traces jump.
6. At multiples of its interval, all synapses of a projection change by `at_interval`.

So a trace is read before its own jump, presynaptic updates do not see a postsynaptic spike of the same step,
and postsynaptic ones see presynaptic spikes that have arrived. Updates of one synapse at one event all read
what was there before it.

Arrays of several populations (projections, rows) stand one after the other, and tables of whole numbers say
where each begins: the kernel has one signature, whatever the circuit.
"""

from typing import NamedTuple

import numpy as np

from sims._borrowed import borrowed
from sims._compiled import helper, kernel
from sims._membrane_kernels import (
    SMALLEST_SCALE,
    euler_step,
    fetch_row,
    hold_at_reset,
    list_spikes,
    note_interval,
    raise_targets,
    release,
    rescale,
)
from sims._prefetch import prefetch
from sims._spike_programs import run_registers, run_rows

RATE, LEAK, REST, RESET, THRESHOLD, REVERSAL_E, REVERSAL_I, BACKGROUND = 0, 1, 2, 3, 4, 5, 6, 7
SLOW_SHARE, SLOW_RATE, RAISE, ADAPTATION, IS_CLIPPED, LOWEST, HIGHEST, REFRACTORY = (
    8,
    9,
    10,
    11,
    12,
    13,
    14,
    15,
)
KEEP = 16
"""Numbers of a population; four factors by which its scales decay in a step stand from `KEEP` on."""

N_NUMBERS, N_SCALES = 20, 4
EXCITATORY, INHIBITORY, THRESHOLDS, ADAPTATIONS = 0, 1, 2, 3
"""Scales of a population."""

PRE_TRACE, POST_TRACE, SAMPLE, LOW_PASS, ZEROS = 0, 1, 2, 3, 4
"""Kinds of rows; what reads no trace reads zeros."""

KIND, POPULATION, DELAY, WHAT, START, END = 0, 1, 2, 3, 4, 5
"""What is known of a row; `WHAT` is the number of what is sampled."""

PRE, POST, ONTO, IS_UNIFORM, TRANSMITS_FIRST, ARRIVES_AFTER, OUTGOING, TO_WEIGHT, INCOMING, INTERVAL = range(
    10
)
AT_PRE, AT_POST, AT_INTERVAL = 10, 12, 14
"""What is known of a projection; updates of an event are from the number there to before the next one."""

UNIT, LEARNING_RATE, LOWEST_WEIGHT, HIGHEST_WEIGHT = 0, 1, 2, 3

IS_LINE, CHANGES, CODE, CONSTANTS, VARIABLES, A, B, C, TRACE = 0, 1, 2, 4, 6, 8, 9, 10, 11
"""What is known of an update; `CHANGES` is an eligibility trace or `WEIGHT_ITSELF`, `TRACE` a row."""

WEIGHT_ITSELF = -1
OF_CIRCUIT, OF_PRE, OF_POST, OF_SYNAPSE, OF_WEIGHT = 0, 1, 2, 3, 4
"""Places of variables."""


class Cells(NamedTuple):
    """Populations; those with a membrane stand first."""

    first: np.ndarray  # (n_populations + 1,): first neuron, counted through all populations
    numbers: np.ndarray  # (n_with_membrane, N_NUMBERS)


class Inputs(NamedTuple):
    """Populations without a membrane: neurons in stretches of one rate, and given spikes; and signals."""

    stretch_start: np.ndarray  # (n_inputs + 1,): stretches of each population
    stretch: np.ndarray  # (n_stretches, 2): first neuron, and the one after the last
    hazard: np.ndarray  # (n_stretches,): minus the logarithm of the probability of no spike in a step
    event_at: np.ndarray  # (n_inputs, 2): next given spike, and the one after the last; changed in place
    event_step: np.ndarray  # (n_events,)
    event_neuron: np.ndarray  # (n_events,)
    course: np.ndarray  # (n_signals, n_columns): signals in each step of the run; the last column stays
    course_first: int  # step of the first column


class Rows(NamedTuple):
    """What rules read of neurons, signals and synapses, and how it moves."""

    table: np.ndarray  # (n_rows, 6)
    keep: np.ndarray  # (n_rows,)
    signal_source: np.ndarray  # (n_globals,): what a low-passed signal follows, -1 for a signal
    signal_keep: np.ndarray  # (n_globals,)
    eligibility_shift: (
        np.ndarray
    )  # (n_eligibilities + 1,): index of a trace minus that of its weight; the size
    eligibility_start: np.ndarray  # (n_eligibilities + 1,)
    eligibility_keep: np.ndarray  # (n_eligibilities,)


class Wiring(NamedTuple):
    """Projections; targets and sources are counted from 0 in their populations."""

    table: np.ndarray  # (n_projections, 16)
    numbers: np.ndarray  # (n_projections, 4)
    start: np.ndarray  # outgoing synapses of a projection's neuron i: from start[OUTGOING + i] to the next
    target: np.ndarray  # (n_synapses,)
    incoming_start: np.ndarray
    incoming_synapse: np.ndarray  # indices of weights
    incoming_source: np.ndarray


class Rules(NamedTuple):
    """Updates, as `sims._circuit_rules.Update` describes them, one after the other."""

    table: np.ndarray  # (n_updates, 12)
    place: np.ndarray  # (n_variables,)
    row: np.ndarray  # (n_variables,)
    constants: np.ndarray
    code: np.ndarray
    n_results: int  # most updates of one event


class State(NamedTuple):
    """All that changes."""

    voltage: np.ndarray  # (n_with_membrane_neurons,), single precision, and so the next five
    excitatory: np.ndarray
    inhibitory: np.ndarray
    slow: np.ndarray
    threshold: np.ndarray
    adaptation: np.ndarray
    free_at: np.ndarray
    refractory: np.ndarray
    ends: np.ndarray  # (n_with_membrane, 2)
    scales: np.ndarray  # (n_with_membrane, N_SCALES)
    values: np.ndarray  # rows, one after the other
    row_scales: np.ndarray  # (n_rows,)
    weights: np.ndarray
    eligibility: np.ndarray
    eligibility_scales: np.ndarray
    signals: np.ndarray  # (n_globals,)
    history: np.ndarray  # (longest delay + 1, n_neurons): spikes of the last steps
    bounds: np.ndarray  # (longest delay + 1, n_populations + 1): where those of each population begin
    waiting: np.ndarray  # (n_inputs,): hazard until the next Poisson spike
    last_spike: np.ndarray  # (n_with_membrane_neurons,), -1 for none
    intervals: np.ndarray  # (n_with_membrane_neurons, 3): number, sum, sum of squares
    counts: np.ndarray  # (n_populations,): spikes


class Workspace(NamedTuple):
    """Memory that means nothing between two steps, and where spikes are recorded."""

    levels: np.ndarray  # (most neurons,), single precision
    registers: np.ndarray
    tape: np.ndarray  # (n_results + most registers, most synapses of a neuron)
    synapses: np.ndarray  # (most synapses of a neuron,)
    is_recorded: np.ndarray  # (n_populations,)
    spike_step: np.ndarray
    spike_neuron: np.ndarray


@helper(forceinline=True)
def _bounded(weight, lowest, highest):
    """Weight within its bounds; NaN stays NaN."""
    return lowest if weight < lowest else highest if weight > highest else weight


# ------------------------------------------------------------------------------------------- neurons


@helper(forceinline=True)
def _spikes_of(cells, state, p, k, spiking, n_spikes, levels):
    """Voltages of a population and its spikes; return how many are listed then."""
    neurons, numbers, scales = slice(cells.first[p], cells.first[p + 1]), cells.numbers[p], state.scales[p]
    v, free_at, refractory = state.voltage[neurons], state.free_at[neurons], state.refractory[neurons]
    excitatory, inhibitory, ends = state.excitatory[neurons], state.inhibitory[neurons], state.ends[p]
    release(free_at, refractory, ends, k)
    rate, share = numbers[RATE], numbers[SLOW_SHARE]
    to_excitatory, drive = np.float32(rate * scales[EXCITATORY]), excitatory
    if share > 0.0:
        slow, drive, to_excitatory = state.slow[neurons], levels, np.float32(rate)
        scale, follow = np.float32(scales[EXCITATORY]), np.float32(numbers[SLOW_RATE])
        of_slow, of_fast = np.float32(share), np.float32(1.0 - share)
        for n in range(v.shape[0]):
            fast = scale * excitatory[n]
            drive[n] = of_fast * fast + of_slow * slow[n]
            slow[n] += follow * (fast - slow[n])
    euler_step(
        v, drive, inhibitory, to_excitatory, np.float32(rate * scales[INHIBITORY]),
        np.float32(rate * numbers[LEAK]),
        np.float32(rate * (numbers[LEAK] * numbers[REST] + numbers[BACKGROUND])),
        np.float32(numbers[REVERSAL_E]), np.float32(numbers[REVERSAL_I]),
    )  # fmt: skip
    if numbers[ADAPTATION] != 0.0:
        move, adaptation = np.float32(rate * scales[ADAPTATIONS]), state.adaptation[neurons]
        for n in range(v.shape[0]):
            v[n] -= move * adaptation[n]
    if numbers[IS_CLIPPED] > 0.0:
        low, high = np.float32(numbers[LOWEST]), np.float32(numbers[HIGHEST])
        for n in range(v.shape[0]):
            v[n] = _bounded(v[n], low, high)
    compared = v
    if numbers[RAISE] > 0.0:
        scale, threshold, compared = np.float32(scales[THRESHOLDS]), state.threshold[neurons], levels
        for n in range(v.shape[0]):
            compared[n] = v[n] - scale * threshold[n]
        compared = compared[: v.shape[0]]
    times = k, k + 1 + int(numbers[REFRACTORY])
    n_spikes = list_spikes(
        compared, np.float32(numbers[THRESHOLD]), free_at, refractory, ends, times, spiking, n_spikes,
        cells.first[p],
    )  # fmt: skip
    hold_at_reset(v, refractory, ends, numbers[RESET])
    return n_spikes


@helper
def _inputs_of(inputs, state, rng, q, k, spiking, n_spikes):
    """Spikes of a population of inputs; return how many are listed then.

    The neurons of all steps stand in one long row. A neuron is passed by in silence as long as the hazard of
    those passed since the last spike is less than an exponential random number: one number a spike.
    """
    wait = state.waiting[q]
    for s in range(inputs.stretch_start[q], inputs.stretch_start[q + 1]):
        hazard, n, last = inputs.hazard[s], inputs.stretch[s, 0], inputs.stretch[s, 1]
        if hazard <= 0.0:
            continue
        while wait < (last - n) * hazard:
            n = min(n + int(wait / hazard), last - 1)
            spiking[n_spikes] = n
            n_spikes += 1
            n += 1
            wait = rng.standard_exponential()
        wait -= (last - n) * hazard
    state.waiting[q] = wait
    at, end = inputs.event_at[q, 0], inputs.event_at[q, 1]
    while at < end and inputs.event_step[at] == k:
        spiking[n_spikes] = inputs.event_neuron[at]
        n_spikes += 1
        at += 1
    inputs.event_at[q, 0] = at
    return n_spikes


@helper
def _decay_one(array, scales, which, keep):
    scales[which] *= keep
    if scales[which] < SMALLEST_SCALE:
        rescale(array, scales, which)


@helper
def _decay(cells, rows, state):
    """Let everything decay that only decays between spikes."""
    for p in range(cells.numbers.shape[0]):
        neurons, scales = slice(cells.first[p], cells.first[p + 1]), state.scales[p]
        numbers = cells.numbers[p]
        _decay_one(state.excitatory[neurons], scales, EXCITATORY, numbers[KEEP + EXCITATORY])
        _decay_one(state.inhibitory[neurons], scales, INHIBITORY, numbers[KEEP + INHIBITORY])
        if numbers[RAISE] > 0.0:
            _decay_one(state.threshold[neurons], scales, THRESHOLDS, numbers[KEEP + THRESHOLDS])
        if numbers[ADAPTATION] != 0.0:
            _decay_one(state.adaptation[neurons], scales, ADAPTATIONS, numbers[KEEP + ADAPTATIONS])
    for r in range(rows.keep.shape[0]):
        if rows.table[r, KIND] <= POST_TRACE:
            values = state.values[rows.table[r, START] : rows.table[r, END]]
            _decay_one(values, state.row_scales, r, rows.keep[r])
    for e in range(rows.eligibility_keep.shape[0]):
        traces = state.eligibility[rows.eligibility_start[e] : rows.eligibility_start[e + 1]]
        _decay_one(traces, state.eligibility_scales, e, rows.eligibility_keep[e])


@helper
def _note_own_spikes(cells, state, p, spiking, first, last, k, measuring):
    """Raise thresholds and adaptation of neurons that spike, and note the intervals between their spikes."""
    raised, added = cells.numbers[p, RAISE], cells.numbers[p, ADAPTATION]
    if raised > 0.0:
        for s in range(first, last):
            state.threshold[spiking[s]] = raised / state.scales[p, THRESHOLDS]
    if added != 0.0:
        for s in range(first, last):
            state.adaptation[spiking[s]] += added / state.scales[p, ADAPTATIONS]
    if measuring:
        for s in range(first, last):
            note_interval(state.last_spike, state.intervals, spiking[s], k)


@helper
def _sample(cells, rows, state):
    """Take what rules read of voltages and conductances, and let low-passed variables follow."""
    for r in range(rows.keep.shape[0]):
        kind, p, what = rows.table[r, KIND], rows.table[r, POPULATION], rows.table[r, WHAT]
        if kind != SAMPLE and kind != LOW_PASS:
            continue
        neurons, values = slice(cells.first[p], cells.first[p + 1]), state.values[rows.table[r, START] :]
        array, scale = state.voltage[neurons], 1.0
        if what == 1:
            array, scale = state.excitatory[neurons], state.scales[p, EXCITATORY]
        elif what == 2:
            array, scale = state.inhibitory[neurons], state.scales[p, INHIBITORY]
        elif what == 3:
            array = state.slow[neurons]
        if kind == SAMPLE:
            for n in range(array.shape[0]):
                values[n] = scale * array[n]
        else:
            follow = 1.0 - rows.keep[r]
            for n in range(array.shape[0]):
                values[n] += follow * (scale * array[n] - values[n])


@helper
def _jump(cells, rows, state, k, kind):
    """Let the traces of one kind jump where their neurons' spikes are."""
    depth = state.history.shape[0]
    for r in range(rows.keep.shape[0]):
        if rows.table[r, KIND] != kind:
            continue
        p, line = rows.table[r, POPULATION], (k - rows.table[r, DELAY]) % depth
        jump, first = 1.0 / state.row_scales[r], cells.first[p]
        values = state.values[rows.table[r, START] : rows.table[r, END]]
        for s in range(state.bounds[line, p], state.bounds[line, p + 1]):
            values[state.history[line, s] - first] += jump


# ------------------------------------------------------------------------------------------- updates


@helper
def _shared_value(rows, rules, state, v, own, n):
    """Value of a variable that all synapses of neuron n share, which is on the side `own`."""
    place, row = rules.place[v], rules.row[v]
    if place == OF_CIRCUIT:
        return state.signals[row]
    if place == own:
        return state.row_scales[row] * state.values[rows.table[row, START] + n]
    return 0.0


@helper
def _line_of(rows, rules, state, u, own, n, registers):
    """Numbers a, b and c of a line, at an event of neuron n."""
    table = rules.table[u]
    first, last = table[VARIABLES], table[VARIABLES + 1]
    for v in range(first, last):
        registers[v - first] = _shared_value(rows, rules, state, v, own, n)
    run_registers(
        rules.code[table[CODE] : table[CODE + 1]], rules.constants[table[CONSTANTS] : table[CONSTANTS + 1]],
        last - first, registers,
    )  # fmt: skip
    a = registers[table[A]] if table[A] >= 0 else 0.0
    b = registers[table[B]] if table[B] >= 0 else 0.0
    c = registers[table[C]] if table[C] >= 0 else 0.0
    return a, b, c


@helper
def _gather(rows, rules, state, v, own, n, others, synapses, out):
    """Values of a variable at all synapses of an event of neuron n."""
    place, row, m = rules.place[v], rules.row[v], others.shape[0]
    if place == OF_WEIGHT:
        for i in range(m):
            out[i] = state.weights[synapses[i]]
    elif place == OF_SYNAPSE:
        shift, scale = rows.eligibility_shift[row], state.eligibility_scales[row]
        for i in range(m):
            out[i] = scale * state.eligibility[synapses[i] + shift]
    elif place == OF_CIRCUIT or place == own:
        value = _shared_value(rows, rules, state, v, own, n)
        for i in range(m):
            out[i] = value
    else:
        values, scale = state.values[rows.table[row, START] :], state.row_scales[row]
        for i in range(m):
            out[i] = scale * values[others[i]]


@helper
def _result(rows, rules, state, u, own, n, others, synapses, workspace, out):
    """Values of an update at all synapses of an event of neuron n."""
    table, m = rules.table[u], others.shape[0]
    if table[IS_LINE] != 0:
        a, b, c = _line_of(rows, rules, state, u, own, n, workspace.registers)
        row = table[TRACE]
        values, slope = state.values[rows.table[row, START] :], b * state.row_scales[row]
        for i in range(m):
            out[i] = a + slope * values[others[i]] + c * state.weights[synapses[i]]
        return
    tape, first, last = workspace.tape[rules.n_results :], table[VARIABLES], table[VARIABLES + 1]
    for v in range(first, last):
        _gather(rows, rules, state, v, own, n, others, synapses, tape[v - first])
    run_rows(
        rules.code[table[CODE] : table[CODE + 1]], rules.constants[table[CONSTANTS] : table[CONSTANTS + 1]],
        last - first, tape, m,
    )  # fmt: skip
    result = tape[table[A]]
    for i in range(m):
        out[i] = result[i]


@helper
def _change(rows, wiring, rules, state, p, first, last, own, n, others, synapses, workspace):
    """Run the updates of one event of neuron n of a projection; return whether all are numbers."""
    numbers, m = wiring.numbers[p], others.shape[0]
    for u in range(first, last):
        _result(rows, rules, state, u, own, n, others, synapses, workspace, workspace.tape[u - first])
    rate, lowest, highest = numbers[LEARNING_RATE], numbers[LOWEST_WEIGHT], numbers[HIGHEST_WEIGHT]
    fine = True
    for u in range(first, last):
        change, e = workspace.tape[u - first], rules.table[u, CHANGES]
        if e == WEIGHT_ITSELF:
            for i in range(m):
                weight = _bounded(state.weights[synapses[i]] + rate * change[i], lowest, highest)
                state.weights[synapses[i]] = weight
                fine = fine and weight == weight
        else:
            shift, jump = rows.eligibility_shift[e], 1.0 / state.eligibility_scales[e]
            for i in range(m):
                trace = state.eligibility[synapses[i] + shift] + jump * change[i]
                state.eligibility[synapses[i] + shift] = trace
                fine = fine and trace == trace
    return fine


@helper
def _change_outgoing(rows, wiring, rules, state, p, first, last, n, workspace):
    """The same for the synapses that neuron n sends."""
    table = wiring.table[p]
    begin, end = wiring.start[table[OUTGOING] + n], wiring.start[table[OUTGOING] + n + 1]
    synapses = workspace.synapses[: end - begin]
    for i in range(end - begin):
        synapses[i] = begin + table[TO_WEIGHT] + i
    targets = wiring.target[begin:end]
    return _change(rows, wiring, rules, state, p, first, last, OF_PRE, n, targets, synapses, workspace)


@helper(forceinline=True)
def _transmit(conductance, weights, targets, unit):
    for i in range(targets.shape[0]):
        conductance[targets[i]] += unit * weights[i]


@helper(forceinline=True)
def _is_one_line(rules, first, last):
    return (
        last == first + 1
        and rules.table[first, IS_LINE] != 0
        and rules.table[first, CHANGES] == WEIGHT_ITSELF
    )


@helper(forceinline=True)
def _arrive(cells, rows, wiring, rules, state, p, n, workspace):
    """Let a spike of presynaptic neuron n arrive at its synapses; return whether all are numbers."""
    table, numbers = wiring.table[p], wiring.numbers[p]
    begin, end = wiring.start[table[OUTGOING] + n], wiring.start[table[OUTGOING] + n + 1]
    targets, post = wiring.target[begin:end], table[POST]
    neurons = slice(cells.first[post], cells.first[post + 1])
    conductance = state.excitatory[neurons] if table[ONTO] == EXCITATORY else state.inhibitory[neurons]
    unit = numbers[UNIT] / state.scales[post, table[ONTO]]
    if table[IS_UNIFORM] != 0:
        raise_targets(conductance, targets, unit)
        return True
    weights = state.weights[begin + table[TO_WEIGHT] : end + table[TO_WEIGHT]]
    first, last, transmits_first = table[AT_PRE], table[AT_PRE + 1], table[TRANSMITS_FIRST] != 0
    if transmits_first or first == last:
        _transmit(conductance, weights, targets, unit)
    if first == last:
        return True
    fine = True
    if _is_one_line(rules, first, last):
        a, b, c = _line_of(rows, rules, state, first, OF_PRE, n, workspace.registers)
        rate, lowest, highest = numbers[LEARNING_RATE], numbers[LOWEST_WEIGHT], numbers[HIGHEST_WEIGHT]
        row = rules.table[first, TRACE]
        values, slope = state.values[rows.table[row, START] :], rate * b * state.row_scales[row]
        constant, gain = rate * a, rate * c
        if transmits_first:
            for i in range(targets.shape[0]):
                change = constant + slope * values[targets[i]] + gain * weights[i]
                weight = _bounded(weights[i] + change, lowest, highest)
                weights[i] = weight
                fine = fine and weight == weight
        elif gain == 0.0:
            for i in range(targets.shape[0]):
                target = targets[i]
                weight = _bounded(weights[i] + constant + slope * values[target], lowest, highest)
                weights[i] = weight
                conductance[target] += unit * weight
                fine = fine and weight == weight
        else:
            for i in range(targets.shape[0]):
                target = targets[i]
                change = constant + slope * values[target] + gain * weights[i]
                weight = _bounded(weights[i] + change, lowest, highest)
                weights[i] = weight
                conductance[target] += unit * weight
                fine = fine and weight == weight
        return fine
    fine = _change_outgoing(rows, wiring, rules, state, p, first, last, n, workspace)
    if not transmits_first:
        _transmit(conductance, weights, targets, unit)
    return fine


@helper(forceinline=True)
def _change_incoming(rows, wiring, rules, state, p, n, workspace):
    """Change the synapses that end at a postsynaptic neuron that spikes; return whether all are numbers."""
    table, numbers = wiring.table[p], wiring.numbers[p]
    start = wiring.incoming_start[table[INCOMING] + n : table[INCOMING] + n + 2]
    incoming = wiring.incoming_synapse[start[0] : start[1]]
    sources = wiring.incoming_source[start[0] : start[1]]
    first, last, m = table[AT_POST], table[AT_POST + 1], sources.shape[0]
    if not _is_one_line(rules, first, last):
        synapses = workspace.synapses[:m]
        for i in range(m):
            synapses[i] = incoming[i]
        return _change(rows, wiring, rules, state, p, first, last, OF_POST, n, sources, synapses, workspace)
    a, b, c = _line_of(rows, rules, state, first, OF_POST, n, workspace.registers)
    rate, lowest, highest = numbers[LEARNING_RATE], numbers[LOWEST_WEIGHT], numbers[HIGHEST_WEIGHT]
    row, weights = rules.table[first, TRACE], state.weights
    values, slope = state.values[rows.table[row, START] :], rate * b * state.row_scales[row]
    constant, gain = rate * a, rate * c
    fine = True
    if gain == 0.0:
        for i in range(m):
            s = incoming[i]
            weight = _bounded(weights[s] + constant + slope * values[sources[i]], lowest, highest)
            weights[s] = weight
            fine = fine and weight == weight
    else:
        for i in range(m):
            s = incoming[i]
            change = constant + slope * values[sources[i]] + gain * weights[s]
            weight = _bounded(weights[s] + change, lowest, highest)
            weights[s] = weight
            fine = fine and weight == weight
    return fine


# ------------------------------------------------------------------------------------------- the circuit


@helper(forceinline=True)
def _fetch(cells, wiring, state, k):
    """Ask for what the spikes of a step will need, all at once: the waiting times for memory overlap."""
    depth = state.history.shape[0]
    here = k % depth
    for p in range(wiring.table.shape[0]):
        table = wiring.table[p]
        pre, post, line = table[PRE], table[POST], (k - table[ARRIVES_AFTER]) % depth
        for s in range(state.bounds[line, pre], state.bounds[line, pre + 1]):
            n = table[OUTGOING] + state.history[line, s] - cells.first[pre]
            begin, end = wiring.start[n], wiring.start[n + 1]
            fetch_row(wiring.target[begin:end])
            if table[IS_UNIFORM] == 0:
                fetch_row(state.weights[begin + table[TO_WEIGHT] : end + table[TO_WEIGHT]])
        if table[AT_POST] < table[AT_POST + 1]:
            for s in range(state.bounds[here, post], state.bounds[here, post + 1]):
                n = table[INCOMING] + state.history[here, s] - cells.first[post]
                begin, end = wiring.incoming_start[n], wiring.incoming_start[n + 1]
                fetch_row(wiring.incoming_synapse[begin:end])
                fetch_row(wiring.incoming_source[begin:end])
    for p in range(wiring.table.shape[0]):
        table = wiring.table[p]
        if table[AT_POST] < table[AT_POST + 1]:
            post = table[POST]
            for s in range(state.bounds[here, post], state.bounds[here, post + 1]):
                n = table[INCOMING] + state.history[here, s] - cells.first[post]
                for i in range(wiring.incoming_start[n], wiring.incoming_start[n + 1]):
                    prefetch(state.weights, wiring.incoming_synapse[i])


@helper
def _set_signals(inputs, rows, state, k):
    n_columns = inputs.course.shape[1]
    for g in range(inputs.course.shape[0]):
        state.signals[g] = inputs.course[g, min(k - inputs.course_first, n_columns - 1)]
    for g in range(inputs.course.shape[0], rows.signal_source.shape[0]):
        follow = 1.0 - rows.signal_keep[g]
        state.signals[g] += follow * (state.signals[rows.signal_source[g]] - state.signals[g])


@helper
def _borrowed_all(cells, inputs, rows, wiring, rules):
    return (
        Cells(borrowed(cells.first), borrowed(cells.numbers)),
        Inputs(
            borrowed(inputs.stretch_start), borrowed(inputs.stretch), borrowed(inputs.hazard),
            borrowed(inputs.event_at), borrowed(inputs.event_step), borrowed(inputs.event_neuron),
            borrowed(inputs.course), inputs.course_first,
        ),
        Rows(
            borrowed(rows.table), borrowed(rows.keep), borrowed(rows.signal_source),
            borrowed(rows.signal_keep), borrowed(rows.eligibility_shift), borrowed(rows.eligibility_start),
            borrowed(rows.eligibility_keep),
        ),
        Wiring(
            borrowed(wiring.table), borrowed(wiring.numbers), borrowed(wiring.start), borrowed(wiring.target),
            borrowed(wiring.incoming_start), borrowed(wiring.incoming_synapse),
            borrowed(wiring.incoming_source),
        ),
        Rules(
            borrowed(rules.table), borrowed(rules.place), borrowed(rules.row), borrowed(rules.constants),
            borrowed(rules.code), rules.n_results,
        ),
    )  # fmt: skip


@helper
def _borrowed_state(state):
    return State(
        borrowed(state.voltage), borrowed(state.excitatory), borrowed(state.inhibitory), borrowed(state.slow),
        borrowed(state.threshold), borrowed(state.adaptation), borrowed(state.free_at),
        borrowed(state.refractory), borrowed(state.ends), borrowed(state.scales), borrowed(state.values),
        borrowed(state.row_scales), borrowed(state.weights), borrowed(state.eligibility),
        borrowed(state.eligibility_scales), borrowed(state.signals), borrowed(state.history),
        borrowed(state.bounds), borrowed(state.waiting), borrowed(state.last_spike),
        borrowed(state.intervals), borrowed(state.counts),
    )  # fmt: skip


@helper
def _borrowed_workspace(workspace):
    return Workspace(
        borrowed(workspace.levels), borrowed(workspace.registers), borrowed(workspace.tape),
        borrowed(workspace.synapses), borrowed(workspace.is_recorded), borrowed(workspace.spike_step),
        borrowed(workspace.spike_neuron),
    )  # fmt: skip


@kernel
def run_steps(cells, inputs, rows, wiring, rules, state, workspace, rng, first, n_steps, measuring):
    """Run steps `first` to ``first + n_steps - 1``, or fewer where there is no room to record their spikes.

    Returns
    -------
    next_step, n_recorded : int
    fine : bool
        False when a weight or an eligibility trace stopped being a number; the run is cut off there.
    """
    cells, inputs, rows, wiring, rules = _borrowed_all(cells, inputs, rows, wiring, rules)
    state, workspace, rng = _borrowed_state(state), _borrowed_workspace(workspace), borrowed(rng)
    n_with_membrane, n_populations = cells.numbers.shape[0], cells.first.shape[0] - 1
    n_recorded, depth = 0, state.history.shape[0]
    for k in range(first, first + n_steps):
        if n_recorded + state.history.shape[1] > workspace.spike_step.shape[0]:
            return k, n_recorded, True
        _set_signals(inputs, rows, state, k)
        spiking, bounds, n_spikes = state.history[k % depth], state.bounds[k % depth], 0
        for p in range(n_with_membrane):
            n_spikes = _spikes_of(cells, state, p, k, spiking, n_spikes, workspace.levels)
            bounds[p + 1] = n_spikes
        for p in range(n_with_membrane, n_populations):
            n_spikes = _inputs_of(inputs, state, rng, p - n_with_membrane, k, spiking, n_spikes)
            bounds[p + 1] = n_spikes
        _decay(cells, rows, state)
        for p in range(n_populations):
            state.counts[p] += bounds[p + 1] - bounds[p]
            if p < n_with_membrane:
                _note_own_spikes(cells, state, p, spiking, bounds[p], bounds[p + 1], k, measuring)
            if workspace.is_recorded[p]:
                for s in range(bounds[p], bounds[p + 1]):
                    workspace.spike_step[n_recorded] = k
                    workspace.spike_neuron[n_recorded] = spiking[s]
                    n_recorded += 1
        _sample(cells, rows, state)
        _fetch(cells, wiring, state, k)
        fine = True
        for p in range(wiring.table.shape[0]):
            pre, line = wiring.table[p, PRE], (k - wiring.table[p, ARRIVES_AFTER]) % depth
            for s in range(state.bounds[line, pre], state.bounds[line, pre + 1]):
                n = state.history[line, s] - cells.first[pre]
                fine = _arrive(cells, rows, wiring, rules, state, p, n, workspace) and fine
        _jump(cells, rows, state, k, PRE_TRACE)
        for p in range(wiring.table.shape[0]):
            if wiring.table[p, AT_POST] < wiring.table[p, AT_POST + 1]:
                post = wiring.table[p, POST]
                for s in range(bounds[post], bounds[post + 1]):
                    n = spiking[s] - cells.first[post]
                    fine = _change_incoming(rows, wiring, rules, state, p, n, workspace) and fine
        _jump(cells, rows, state, k, POST_TRACE)
        for p in range(wiring.table.shape[0]):
            begin, end = wiring.table[p, AT_INTERVAL], wiring.table[p, AT_INTERVAL + 1]
            if begin < end and (k + 1) % wiring.table[p, INTERVAL] == 0:
                pre = wiring.table[p, PRE]
                for n in range(cells.first[pre + 1] - cells.first[pre]):
                    fine = _change_outgoing(rows, wiring, rules, state, p, begin, end, n, workspace) and fine
        if not fine:
            return k + 1, n_recorded, False
    return first + n_steps, n_recorded, True
