"""Updates of a circuit's synapses at arriving spikes, at postsynaptic spikes and at fixed times.

An update is run as a line in one trace, as splines or as a program, see :mod:`sims._circuit_rules`; the first
changes and transmits in one loop over a neuron's synapses. Updates of one synapse at one event all read what
was there before it.
"""

from sims._circuit_tables import (
    AT_POST,
    AT_PRE,
    CHANGES,
    CODE,
    CONSTANTS,
    EXCITATORY,
    FORM,
    HIGHEST_WEIGHT,
    INCOMING,
    IS_UNIFORM,
    LEARNING_RATE,
    LINE,
    LOWEST_WEIGHT,
    OF_CIRCUIT,
    OF_POST,
    OF_PRE,
    OF_SYNAPSE,
    OF_WEIGHT,
    ONTO,
    OUTGOING,
    POST,
    PRE,
    SPLINES,
    START,
    TO_WEIGHT,
    TRACE,
    TRANSMITS_FIRST,
    UNIT,
    VARIABLES,
    WEIGHT_ITSELF,
    A,
    B,
    C,
)
from sims._compiled import UNWRAPPED, helper
from sims._membrane_kernels import raise_targets
from sims._spike_programs import run_registers, run_rows, spline_value


@helper(forceinline=True, **UNWRAPPED)
def bounded(weight, lowest, highest):
    """Weight within its bounds; NaN stays NaN."""
    return lowest if weight < lowest else highest if weight > highest else weight


@helper(forceinline=True, **UNWRAPPED)
def _shared_value(rows, rules, state, v, own, n):
    """Value of a variable that all synapses of neuron n share, which is on the side `own`."""
    place, row = rules.place[v], rules.row[v]
    if place == OF_CIRCUIT:
        return state.signals[row]
    if place == own:
        return state.row_scales[row] * state.values[rows.table[row, START] + n]
    return 0.0


@helper(forceinline=True, **UNWRAPPED)
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


@helper(forceinline=True, **UNWRAPPED)
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
    elif place in (OF_CIRCUIT, own):
        value = _shared_value(rows, rules, state, v, own, n)
        for i in range(m):
            out[i] = value
    else:
        values, scale = state.values[rows.table[row, START] :], state.row_scales[row]
        for i in range(m):
            out[i] = scale * values[others[i]]


@helper(forceinline=True, **UNWRAPPED)
def _result(rows, rules, state, u, own, n, others, synapses, workspace, out):
    """Values of an update at all synapses of an event of neuron n."""
    table, m = rules.table[u], others.shape[0]
    if table[FORM] == LINE:
        a, b, c = _line_of(rows, rules, state, u, own, n, workspace.registers)
        row = table[TRACE]
        values, slope = state.values[rows.table[row, START] :], b * state.row_scales[row]
        for i in range(m):
            out[i] = a + slope * values[others[i]] + c * state.weights[synapses[i]]
        return
    if table[FORM] == SPLINES:
        row, numbers = table[TRACE], rules.constants[table[CONSTANTS] : table[CONSTANTS + 1]]
        values, scale = state.values[rows.table[row, START] :], state.row_scales[row]
        for i in range(m):
            out[i] = spline_value(numbers, scale * values[others[i]], state.weights[synapses[i]])
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


@helper(forceinline=True, **UNWRAPPED)
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
                weight = bounded(state.weights[synapses[i]] + rate * change[i], lowest, highest)
                state.weights[synapses[i]] = weight
                fine = fine and weight == weight
        else:
            shift, jump = rows.eligibility_shift[e], 1.0 / state.eligibility_scales[e]
            for i in range(m):
                trace = state.eligibility[synapses[i] + shift] + jump * change[i]
                state.eligibility[synapses[i] + shift] = trace
                fine = fine and trace == trace
    return fine


@helper(forceinline=True, **UNWRAPPED)
def change_outgoing(rows, wiring, rules, state, p, first, last, n, workspace):
    """The same for the synapses that neuron n sends."""
    table = wiring.table[p]
    begin, end = wiring.start[table[OUTGOING] + n], wiring.start[table[OUTGOING] + n + 1]
    synapses = workspace.synapses[: end - begin]
    for i in range(end - begin):
        synapses[i] = begin + table[TO_WEIGHT] + i
    targets = wiring.target[begin:end]
    return _change(rows, wiring, rules, state, p, first, last, OF_PRE, n, targets, synapses, workspace)


@helper(forceinline=True, **UNWRAPPED)
def _transmit(conductance, weights, targets, unit):
    for i in range(targets.shape[0]):
        conductance[targets[i]] += unit * weights[i]


@helper(forceinline=True, **UNWRAPPED)
def _is_one_line(rules, first, last):
    return (
        last == first + 1
        and rules.table[first, FORM] == LINE
        and rules.table[first, CHANGES] == WEIGHT_ITSELF
    )


@helper(forceinline=True, **UNWRAPPED)
def _transmit_by_group(groups, group, weights, targets, unit):
    """Add the same to the conductance that a group of presynaptic neurons has at each target."""
    for i in range(targets.shape[0]):
        groups[targets[i], group] += unit * weights[i]


@helper(forceinline=True, **UNWRAPPED)
def arrive(cells, rows, wiring, rules, state, p, spikes, workspace):
    """Let spikes of presynaptic neurons arrive at their synapses; return whether all are numbers."""
    table, numbers = wiring.table[p], wiring.numbers[p]
    pre, post, onto = cells.first[table[PRE]], table[POST], table[ONTO]
    starts, to_weight = wiring.start[table[OUTGOING] :], table[TO_WEIGHT]
    neurons = slice(cells.first[post], cells.first[post + 1])
    conductance = state.excitatory[neurons] if onto == EXCITATORY else state.inhibitory[neurons]
    groups, grouped = workspace.conductance[neurons, onto], workspace.conductance.shape[2] > 0
    unit = numbers[UNIT] / state.scales[post, onto]
    if table[IS_UNIFORM] != 0:
        for s in range(spikes.shape[0]):
            n = spikes[s] - pre
            targets = wiring.target[starts[n] : starts[n + 1]]
            raise_targets(conductance, targets, unit)
            if grouped:
                for i in range(targets.shape[0]):
                    groups[targets[i], workspace.group[spikes[s]]] += unit
        return True
    first, last = table[AT_PRE], table[AT_PRE + 1]
    if first == last:
        for s in range(spikes.shape[0]):
            n = spikes[s] - pre
            begin, end = starts[n], starts[n + 1]
            weights, targets = state.weights[begin + to_weight : end + to_weight], wiring.target[begin:end]
            _transmit(conductance, weights, targets, unit)
            if grouped:
                _transmit_by_group(groups, workspace.group[spikes[s]], weights, targets, unit)
        return True
    fine, transmits_first, is_line = True, table[TRANSMITS_FIRST] != 0, _is_one_line(rules, first, last)
    rate, lowest, highest = numbers[LEARNING_RATE], numbers[LOWEST_WEIGHT], numbers[HIGHEST_WEIGHT]
    row = rules.table[first, TRACE]
    values, scale = state.values[rows.table[row, START] :], state.row_scales[row]
    for s in range(spikes.shape[0]):
        n = spikes[s] - pre
        begin, end = starts[n], starts[n + 1]
        weights, targets = state.weights[begin + to_weight : end + to_weight], wiring.target[begin:end]
        if transmits_first:
            _transmit(conductance, weights, targets, unit)
            if grouped:
                _transmit_by_group(groups, workspace.group[spikes[s]], weights, targets, unit)
        if not is_line:
            fine = change_outgoing(rows, wiring, rules, state, p, first, last, n, workspace) and fine
            if not transmits_first:
                _transmit(conductance, weights, targets, unit)
        else:
            a, b, c = _line_of(rows, rules, state, first, OF_PRE, n, workspace.registers)
            constant, slope, gain = rate * a, rate * b * scale, rate * c
            passed = 0.0 if transmits_first else unit
            if gain == 0.0:
                for i in range(targets.shape[0]):
                    target = targets[i]
                    weight = bounded(weights[i] + constant + slope * values[target], lowest, highest)
                    weights[i] = weight
                    conductance[target] += passed * weight
                    fine = fine and weight == weight
            else:
                for i in range(targets.shape[0]):
                    target = targets[i]
                    change = constant + slope * values[target] + gain * weights[i]
                    weight = bounded(weights[i] + change, lowest, highest)
                    weights[i] = weight
                    conductance[target] += passed * weight
                    fine = fine and weight == weight
        if grouped and not transmits_first:
            _transmit_by_group(groups, workspace.group[spikes[s]], weights, targets, unit)
    return fine


@helper(forceinline=True, **UNWRAPPED)
def change_incoming(rows, wiring, rules, state, p, n, workspace):
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
            weight = bounded(weights[s] + constant + slope * values[sources[i]], lowest, highest)
            weights[s] = weight
            fine = fine and weight == weight
    else:
        for i in range(m):
            s = incoming[i]
            change = constant + slope * values[sources[i]] + gain * weights[s]
            weight = bounded(weights[s] + change, lowest, highest)
            weights[s] = weight
            fine = fine and weight == weight
    return fine
