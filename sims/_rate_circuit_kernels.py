"""One step of a rate circuit of any make, and the way back through it.

For each sample of a step, populations answer one after the other, in the order of the circuit. A population
sums ``w r`` over the synapses that come to it from populations before it. What comes from itself it takes in
by *sweeps* while the sample is shown, ``y <- f(drive + V y)`` from ``y = f(drive)`` on; or, where it goes on
through time, from the activity at the sample before: ``r <- r + (f(drive + V r) - r) / tau``. Weights and
states do not change while the samples of a step are shown. After that every weight changes by the mean of its
rule over the samples, and every state that is a running mean of ``r**n`` by ``(mean of r**n - state) / tau``,
both from what they were before the step. Last, weights that have bounds are brought back between them; those
that were brought back depend on nothing.

The circuit is data: numbers that say where each population, projection and rule begins in flat arrays. All
that changes of a group of problems is one array ``state (n_places[, LANES])``: weights, one projection after
the other and by postsynaptic neuron, then running means, then activity that goes on. Activities of the
samples that are worked on together lie in ``units``, one row of `n_units` a sample, and before them the row
of the sample before.

A rule is a table, a table over a state of the postsynaptic neuron, too, which is contracted over it once a
step, a program over what a neuron's synapses share for the nine numbers of :mod:`sims._quadratic_kernels`, or
a program that runs for every synapse. Registers of a program are: the
output, states of the postsynaptic neuron or of all, signals, constants, one for each instruction that
synapses share; in the last form then input, weight, states of presynaptic neurons, and one for each other
instruction.
"""

from sims._activation_kernels import power_of
from sims._collapse import SQUARE_POWER
from sims._compiled import helper
from sims._lanes import load, store, where_at_least, zero_of
from sims._quadratic_kernels import (
    QuadraticRule,
    accumulate,
    accumulate_slopes,
    accumulate_two,
    add_multiples,
    add_to,
    add_to_all,
    apply,
    apply_linear,
    contract_table,
    contracted_coefficients,
    moments,
    prepare_moments,
    pull_code,
    pull_contracted,
    pull_contraction,
    pull_inputs,
    pull_quadratic,
    quadratic_coefficients,
    raise_weights,
    run_code,
    update,
)
from sims._rate_activity_kernels import pull_response, respond, weights_of
from sims._rate_layout import SLOPES
from sims._rate_tables import (
    CODE,
    CODE_END,
    CODE_OF_SYNAPSES,
    COLLAPSED,
    DRIVE,
    FIRST,
    FORM,
    GRADIENT,
    GRADIENT_END,
    IS_LINEAR,
    MEMORY,
    N_CONSTANTS,
    N_POST,
    NEEDS_ALL,
    NEEDS_PRE,
    OF_STATE,
    OF_SYNAPSES,
    POST,
    POWER,
    PRE,
    READS,
    READS_END,
    READS_OF_PRE,
    REGISTERS,
    REGISTERS_END,
    SIGNALS,
    SIZE,
    STILL,
    TABLE_AT,
    clear,
    clear_drive,
)  # fmt: skip

# -------------------------------------------------------------------------------------------------- rules


@helper(inline="always")
def _rule(circuit, p):
    projection = circuit.projections[p]
    return QuadraticRule(
        projection[FORM] == COLLAPSED, projection[IS_LINEAR] != 0, projection[NEEDS_ALL] != 0,
        circuit.tables[p], circuit.constants,
        circuit.code[projection[CODE] : projection[CODE_END]], circuit.outputs[p], projection[POWER],
    )  # fmt: skip


@helper(forceinline=True)
def _read_states(circuit, projection, k, state, registers):
    """Set registers to the states of postsynaptic neuron k, and to those that all share."""
    for r in range(projection[READS], projection[READS_OF_PRE]):
        place = circuit.reads[r, 1] + circuit.reads[r, 2] * k
        store(registers, (circuit.reads[r, 0],), load(state, (place,)))
    if projection[FORM] == OF_STATE:
        contract_table(load(registers, (1,)), TABLE_AT, registers)


@helper(forceinline=True)
def _read_signals(circuit, projection, at, units, registers):
    """Set registers to the signals of the sample whose units begin at `at`."""
    for r in range(projection[SIGNALS], projection[READS_END]):
        store(registers, (circuit.reads[r, 0],), load(units, (at + circuit.reads[r, 1],)))


@helper(forceinline=True)
def _coefficients(circuit, projection, rule, k, at, units, registers):
    """Coefficients of neuron k's rule at the sample whose units begin at `at`."""
    _read_signals(circuit, projection, at, units, registers)
    y = load(units, (at + projection[POST] + k,))
    if projection[FORM] == OF_STATE:
        return contracted_coefficients(rule.is_linear, y, TABLE_AT, registers)
    return quadratic_coefficients(rule, y, registers)


@helper(forceinline=True)
def _run_shared(circuit, projection, k, at, units, registers):
    """Run what a program for every synapse computes once a neuron; return the first register of synapses."""
    _read_signals(circuit, projection, at, units, registers)
    code = circuit.code[projection[CODE] : projection[CODE_OF_SYNAPSES]]
    n_states = projection[READS_OF_PRE] - projection[READS]
    first = 1 + n_states + projection[N_CONSTANTS]
    store(registers, (0,), load(units, (at + projection[POST] + k,)))
    run_code(code, first, registers)
    return first + code.shape[0]


@helper(forceinline=True)
def _run_synapse(circuit, projection, i, x, w, first, state, registers):
    """Run the rest of a program for synapse i."""
    n = 2 + projection[SIGNALS] - projection[READS_OF_PRE]
    store(registers, (first,), x)
    store(registers, (first + 1,), w)
    for r in range(projection[READS_OF_PRE], projection[SIGNALS]):
        store(registers, (circuit.reads[r, 0],), load(state, (circuit.reads[r, 1] + i,)))
    run_code(circuit.code[projection[CODE_OF_SYNAPSES] : projection[CODE_END]], first + n, registers)


@helper(forceinline=True)
def _registers(projection, registers):
    return registers[projection[REGISTERS] : projection[REGISTERS_END]]


@helper(forceinline=True)
def _change_weights(circuit, p, k, w, step, space):
    """Change one neuron's weights by the only sample of a step; return their squared norm."""
    projection, n_units = circuit.projections[p], circuit.n_units
    rule, registers = _rule(circuit, p), _registers(projection, space.registers)
    first = n_units + projection[PRE]
    c = _coefficients(circuit, projection, rule, k, n_units, space.units, registers)
    return update(space.units[first : first + w.shape[0]], w, step, rule.is_linear, c)


# Whoever sums over samples has one kind of loop in it: else they do not become vector instructions.


@helper(forceinline=True)
def _collect_linear(circuit, p, k, n_samples, n, space, drive):
    """Collect the changes of one neuron's weights by a linear rule; return what is alike for all of them."""
    projection, n_units, units = circuit.projections[p], circuit.n_units, space.units
    rule, registers = _rule(circuit, p), _registers(projection, space.registers)
    source = projection[PRE]
    constant, slope = zero_of(load(drive, (0, 0))), zero_of(load(drive, (0, 0)))
    for b in range(1, n_samples + 1, 2):
        at, other = b * n_units, min(b + 1, n_samples) * n_units
        c = _coefficients(circuit, projection, rule, k, at, units, registers)
        d = _coefficients(circuit, projection, rule, k, other, units, registers)
        weight = 1.0 if other > at else 0.0
        constant = constant + c[0] + weight * d[0]
        slope = slope + c[1] + weight * d[1]
        inputs, others = units[at + source : at + source + n], units[other + source : other + source + n]
        add_multiples(inputs, others, c[3], weight * d[3], drive)
    return constant, slope


@helper(forceinline=True)
def _collect(circuit, p, k, n_samples, n, space, drive):
    """The same by any quadratic rule."""
    projection, n_units, units = circuit.projections[p], circuit.n_units, space.units
    rule, registers = _rule(circuit, p), _registers(projection, space.registers)
    source = projection[PRE]
    for b in range(1, n_samples + 1, 2):
        at, other = b * n_units, (b + 1) * n_units
        inputs = units[at + source : at + source + n]
        c = _coefficients(circuit, projection, rule, k, at, units, registers)
        if b == n_samples:
            accumulate(inputs, c, drive)
        else:
            d = _coefficients(circuit, projection, rule, k, other, units, registers)
            accumulate_two(inputs, units[other + source : other + source + n], c, d, drive)


@helper(forceinline=True)
def _learn_by_synapses(circuit, p, k, n_samples, w, step, online, state, space, drive):
    """Collect the changes by a program that runs for every synapse, or change the weights online."""
    projection = circuit.projections[p]
    n_units, units = circuit.n_units, space.units
    registers = _registers(projection, space.registers)
    output = circuit.outputs[p, 0]
    norm = zero_of(load(w, (0,)))
    for b in range(1, n_samples + 1):
        first = _run_shared(circuit, projection, k, b * n_units, units, registers)
        for i in range(w.shape[0]):
            x, u = load(units, (b * n_units + projection[PRE] + i,)), load(w, (i,))
            _run_synapse(circuit, projection, i, x, u, first, state, registers)
            change = load(registers, (output,))
            if online:
                u = u + step * change
                store(w, (i,), u)
                norm = norm + u * u
            else:
                add_to(drive, (0, i), change)
    return norm


@helper(forceinline=True)
def _learn(circuit, low, high, batch, eta, state, space):
    """Let all rules work on the samples in the units; return the squared norm of weights that changed."""
    norm, together = zero_of(load(state, (0,))), high - low
    for p in range(circuit.projections.shape[0]):
        projection = circuit.projections[p]
        if projection[FORM] == STILL:
            continue
        online = batch == 1 and projection[POWER] == SQUARE_POWER
        registers, step = _registers(projection, space.registers), eta * circuit.rates[p] / batch
        for k in range(projection[N_POST]):
            w = weights_of(projection, state, k)
            n = w.shape[0]
            if n == 0:
                continue
            _read_states(circuit, projection, k, state, registers)
            drive = space.drive[projection[DRIVE] + k if together < batch else 0]
            if low == 0 and not online:
                clear_drive(drive, n)
            if projection[FORM] == OF_SYNAPSES:
                norm = norm + _learn_by_synapses(
                    circuit, p, k, together, w, step, online, state, space, drive
                )
            elif online:
                norm = norm + _change_weights(circuit, p, k, w, step, space)
            elif projection[IS_LINEAR]:
                constant, slope = _collect_linear(circuit, p, k, together, n, space, drive)
                if together == batch:
                    norm = norm + apply_linear(drive, w, step, constant, slope)
                    continue
                add_to_all(constant, 0, n, drive)
                add_to_all(slope, 1, n, drive)
            else:
                _collect(circuit, p, k, together, n, space, drive)
            if high == batch and not online:
                norm = norm + apply(drive, w, step, projection[POWER])
    return norm


@helper(forceinline=True)
def _bound(circuit, state, norm):
    """Bring weights between their bounds; return their squared norm, no number if that before is none."""
    norm = 0.0 * norm
    for p in range(circuit.projections.shape[0]):
        projection, lowest, highest = circuit.projections[p], circuit.bounds[p, 0], circuit.bounds[p, 1]
        if projection[FORM] == STILL:
            continue
        for k in range(projection[N_POST]):
            w = weights_of(projection, state, k)
            for i in range(w.shape[0]):
                value = load(w, (i,))
                value = where_at_least(lowest, value, lowest, value)
                value = where_at_least(value, highest, highest, value)
                store(w, (i,), value)
                norm = norm + value * value
    return norm


@helper(forceinline=True)
def _pull_bounds(circuit, state, adjoint):
    """Set the adjoint to zero where a weight of the state lies outside of its bounds."""
    for p in range(circuit.projections.shape[0]):
        projection, lowest, highest = circuit.projections[p], circuit.bounds[p, 0], circuit.bounds[p, 1]
        if projection[FORM] == STILL:
            continue
        for k in range(projection[N_POST]):
            w, a = weights_of(projection, state, k), weights_of(projection, adjoint, k)
            for i in range(w.shape[0]):
                value, slope = load(w, (i,)), load(a, (i,))
                slope = where_at_least(value, lowest, slope, zero_of(slope))
                store(a, (i,), where_at_least(highest, value, slope, zero_of(slope)))


@helper(forceinline=True)
def advance(circuit, samples, order, row, state, eta, space):
    """Take one step; return the squared norm of plastic weights, which is no number if a state is none."""
    norm = _advance(circuit, samples, order, row, state, eta, space)
    return _bound(circuit, state, norm) if circuit.is_bounded else norm


@helper(forceinline=True)
def _advance(circuit, samples, order, row, state, eta, space):
    """Take one step but for bounds."""
    batch, n_units, units = order.shape[1], circuit.n_units, space.units
    clear(space.means)
    norm = zero_of(load(state, (0,)))
    low, last = 0, 0
    while low < batch:
        high = min(low + circuit.together, batch)
        last = (high - low) * n_units
        respond(circuit, samples, order, row, low, high, state, space)
        norm = _learn(circuit, low, high, batch, eta, state, space)
        at = 0
        for s in range(circuit.n_means):
            first, n = circuit.means[s, 1], circuit.means[s, 2]
            for b in range(1, high - low + 1):
                for j in range(n):
                    value = load(units, (b * n_units + first + j,))
                    add_to(space.means, (at + j,), power_of(value, circuit.means[s, 3]))
            at += n
        low = high
    at = 0
    for s in range(circuit.n_means):
        place = circuit.means[s, 0]
        for j in range(circuit.means[s, 2]):
            value = load(state, (place + j,))
            value = value + circuit.mean_rates[s] * (load(space.means, (at + j,)) / batch - value)
            store(state, (place + j,), value)
            norm = norm + 0.0 * value
        at += circuit.means[s, 2]
    for c in range(circuit.cells.shape[0]):
        if circuit.cells[c, MEMORY] >= 0:
            for j in range(circuit.cells[c, SIZE]):
                value = load(units, (last + circuit.cells[c, FIRST] + j,))
                store(state, (circuit.cells[c, MEMORY] + j,), value)
                norm = norm + 0.0 * value
    return norm


# ------------------------------------------------------------------------------------------- the way back


@helper(forceinline=True)
def _pull_signals(circuit, projection, at, gradient, pulls):
    """Move what a sample added to the adjoints of signals on to the units that they are."""
    place = projection[READS_OF_PRE] - projection[READS]
    for r in range(projection[SIGNALS], projection[READS_END]):
        add_to(pulls, (at + circuit.reads[r, 1],), load(gradient, (place,)))
        store(gradient, (place,), zero_of(load(gradient, (place,))))
        place += 1


@helper(forceinline=True)
def _pull_coefficients(circuit, projection, rule, k, at, step, m, space, gradient):
    """Pull the adjoints of one sample's coefficients back to its output, its signals and the parameters."""
    registers, adjoints = _registers(projection, space.registers), _registers(projection, space.adjoints)
    post = at + projection[POST] + k
    y = load(space.units, (post,))
    if projection[FORM] == OF_STATE:
        add_to(space.pulls, (post,), pull_contracted(step, m, y, TABLE_AT, registers, adjoints))
    else:
        add_to(space.pulls, (post,), pull_quadratic(rule, step, m, y, registers, adjoints, gradient))
        _pull_signals(circuit, projection, at, gradient, space.pulls)


@helper(forceinline=True)
def _pull_by_linear(circuit, p, k, n_samples, w, a, step, gradient, change, space):
    """Pull the adjoint of one neuron's weights back through a rule that is linear in input and weight."""
    projection, n_units, units, pulls = circuit.projections[p], circuit.n_units, space.units, space.pulls
    rule, registers = _rule(circuit, p), _registers(projection, space.registers)
    n, drive, slope = w.shape[0], space.drive[0], zero_of(load(w, (0,)))
    if rule.needs_all_moments:
        raise_weights(rule.power, w, drive)
    of_weights = prepare_moments(w, a, drive, rule.needs_all_moments)
    for b in range(1, n_samples + 1):
        first = b * n_units + projection[PRE]
        c = _coefficients(circuit, projection, rule, k, b * n_units, units, registers)
        m = moments(units[first : first + n], a, drive, rule.needs_all_moments, of_weights)
        _pull_coefficients(circuit, projection, rule, k, b * n_units, step, m, space, gradient)
        slope = slope + c[1]
        if projection[NEEDS_PRE]:
            for i in range(n):
                add_to(pulls, (first + i,), step * c[3] * load(a, (i,)))
    for i in range(n):
        add_to(change, (i,), step * slope * load(a, (i,)))


@helper(forceinline=True)
def _pull_by_quadratic(circuit, p, k, n_samples, w, a, step, gradient, change, space):
    """The same for any quadratic rule."""
    projection, n_units, units, pulls = circuit.projections[p], circuit.n_units, space.units, space.pulls
    rule, registers = _rule(circuit, p), _registers(projection, space.registers)
    n, drive = w.shape[0], space.drive[0]
    clear_drive(drive, n)
    raise_weights(rule.power, w, drive)
    of_weights = prepare_moments(w, a, drive, True)
    for b in range(1, n_samples + 1):
        first = b * n_units + projection[PRE]
        inputs = units[first : first + n]
        c = _coefficients(circuit, projection, rule, k, b * n_units, units, registers)
        m = moments(inputs, a, drive, True, of_weights)
        _pull_coefficients(circuit, projection, rule, k, b * n_units, step, m, space, gradient)
        accumulate_slopes(inputs, c, drive)
        if projection[NEEDS_PRE]:
            pull_inputs(inputs, w, a, drive, step, c, pulls[first : first + n])
    for i in range(n):
        slope = load(drive, (0, i)) + load(drive, (SLOPES, i)) * load(drive, (1, i))
        add_to(change, (i,), step * slope * load(a, (i,)))


@helper(forceinline=True)
def _pull_by_synapses(circuit, p, k, n_samples, w, a, step, gradient, change, state, space):
    """The same for a program that runs for every synapse."""
    projection = circuit.projections[p]
    n_units, units, pulls = circuit.n_units, space.units, space.pulls
    registers = _registers(projection, space.registers)
    adjoints = _registers(projection, space.adjoints)
    source, post, output = projection[PRE], projection[POST] + k, circuit.outputs[p, 0]
    n_shared = 1 + projection[READS_OF_PRE] - projection[READS] + projection[N_CONSTANTS]
    shared = circuit.code[projection[CODE] : projection[CODE_OF_SYNAPSES]]
    code = circuit.code[projection[CODE_OF_SYNAPSES] : projection[CODE_END]]
    n_given = 2 + projection[SIGNALS] - projection[READS_OF_PRE]
    for b in range(1, n_samples + 1):
        at = b * n_units
        first = _run_shared(circuit, projection, k, at, units, registers)
        clear(adjoints)
        for i in range(w.shape[0]):
            x = load(units, (at + source + i,))
            _run_synapse(circuit, projection, i, x, load(w, (i,)), first, state, registers)
            clear(adjoints[first:])
            add_to(adjoints, (output,), step * load(a, (i,)))
            pull_code(code, first + n_given, registers, adjoints)
            add_to(change, (i,), load(adjoints, (first + 1,)))
            if projection[NEEDS_PRE]:
                add_to(pulls, (at + source + i,), load(adjoints, (first,)))
            for r in range(projection[READS_OF_PRE], projection[SIGNALS]):
                place = circuit.reads[r, 1] + i
                add_to(space.change, (place,), load(adjoints, (circuit.reads[r, 0],)))
        pull_code(shared, n_shared, registers, adjoints)
        add_to(pulls, (at + post,), load(adjoints, (0,)))
        for r in range(n_shared - 1):
            add_to(gradient, (r,), load(adjoints, (1 + r,)))
        _pull_signals(circuit, projection, at, gradient, pulls)


@helper(forceinline=True)
def _pull_rules(circuit, n_samples, eta, adjoint, gradient, state, space):
    """Pull the adjoint of all weights back through their rules to units, states and parameters."""
    for p in range(circuit.projections.shape[0]):
        projection = circuit.projections[p]
        if projection[FORM] == STILL:
            continue
        registers = _registers(projection, space.registers)
        own = gradient[projection[GRADIENT] : projection[GRADIENT_END]]
        n_states = projection[READS_OF_PRE] - projection[READS]
        step = eta * circuit.rates[p]
        for k in range(projection[N_POST]):
            w, a = weights_of(projection, state, k), weights_of(projection, adjoint, k)
            if w.shape[0] == 0:
                continue
            change = weights_of(projection, space.change, k)
            _read_states(circuit, projection, k, state, registers)
            clear(own[: n_states + projection[READS_END] - projection[SIGNALS]])
            if projection[FORM] == OF_STATE:
                clear(_registers(projection, space.adjoints))
            if projection[FORM] == OF_SYNAPSES:
                _pull_by_synapses(circuit, p, k, n_samples, w, a, step, own, change, state, space)
            elif projection[IS_LINEAR]:
                _pull_by_linear(circuit, p, k, n_samples, w, a, step, own, change, space)
            else:
                _pull_by_quadratic(circuit, p, k, n_samples, w, a, step, own, change, space)
            if projection[FORM] == OF_STATE:
                adjoints = _registers(projection, space.adjoints)
                pull_contraction(load(registers, (1,)), TABLE_AT, registers, adjoints, own)
            for r in range(n_states):
                place = circuit.reads[projection[READS] + r, 1] + circuit.reads[projection[READS] + r, 2] * k
                add_to(space.change, (place,), load(own, (r,)))


@helper(forceinline=True)
def retreat(circuit, samples, order, row, state, eta, adjoint, gradient, space):
    """Pull the adjoint of a state back through one step, in place; add what the rules share in it."""
    batch, n_units, units, pulls = order.shape[1], circuit.n_units, space.units, space.pulls
    if circuit.is_bounded:
        for i in range(state.shape[0]):
            store(space.unbounded, (i,), load(state, (i,)))
        _advance(circuit, samples, order, row, space.unbounded, eta, space)
        _pull_bounds(circuit, space.unbounded, adjoint)
    clear(space.change)
    high = batch
    while high > 0:
        low = (high - 1) // circuit.together * circuit.together
        respond(circuit, samples, order, row, low, high, state, space)
        clear(pulls)
        if high == batch:
            for c in range(circuit.cells.shape[0]):
                if circuit.cells[c, MEMORY] >= 0:
                    for j in range(circuit.cells[c, SIZE]):
                        at = (high - low) * n_units + circuit.cells[c, FIRST] + j
                        add_to(pulls, (at,), load(adjoint, (circuit.cells[c, MEMORY] + j,)))
        for s in range(circuit.n_means):
            place, first, exponent = circuit.means[s, 0], circuit.means[s, 1], circuit.means[s, 3]
            factor = circuit.mean_rates[s] * exponent / batch
            for b in range(1, high - low + 1):
                for j in range(circuit.means[s, 2]):
                    at = b * n_units + first + j
                    through = factor * load(adjoint, (place + j,))
                    if exponent > 1:
                        through = through * power_of(load(units, (at,)), exponent - 1)
                    add_to(pulls, (at,), through)
        _pull_rules(circuit, high - low, eta / batch, adjoint, gradient, state, space)
        pull_response(circuit, high - low, state, space)
        high = low
    for s in range(circuit.n_means):
        for j in range(circuit.means[s, 0], circuit.means[s, 0] + circuit.means[s, 2]):
            add_to(space.change, (j,), -circuit.mean_rates[s] * load(adjoint, (j,)))
    for c in range(circuit.cells.shape[0]):
        if circuit.cells[c, MEMORY] >= 0:
            for j in range(circuit.cells[c, SIZE]):
                place = circuit.cells[c, MEMORY] + j
                store(adjoint, (place,), load(pulls, (circuit.cells[c, FIRST] + j,)))
    for i in range(adjoint.shape[0]):
        add_to(adjoint, (i,), load(space.change, (i,)))
