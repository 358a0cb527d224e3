"""Kernels of rate circuits: the course of many steps, and the way back through it by reverse mode.

One driver serves every circuit. What a step is depends on what it is given: a :class:`QuadraticRule` or a
:class:`SplineRule` is one linear neuron under a rule that is quadratic in input and weight; a
:class:`Circuit` is any other, see :mod:`sims._rate_circuit_kernels`.

Problems run in groups of two kinds. Where inputs are few, `LANES` problems run side by side, one in each lane
of the vector instructions: arrays have a last axis of lanes, and what is done once a neuron costs little.
Where they are many a problem runs alone, and the vector instructions go along its inputs: arrays have no such
axis. Problems never share arithmetic and each writes its own lane: results are bit-identical for any number
of threads.

Shapes of one group, the lanes in brackets: ``samples (n_samples, n_inputs[, LANES])``, ``state, adjoint
(n_places[, LANES])``, of one neuron its weights, and ``order (n_rounds, batch)`` with the sample indices of
step ``t`` in row ``t % n_rounds``. What belongs to a neuron, such as its output y, is one number or one
vector of lanes.
"""

from numba.extending import overload

from sims._borrowed import borrowed
from sims._collapse import SQUARE_POWER
from sims._compiled import OPTIONS, helper, kernel
from sims._lanes import all_at_most, lane, load, store, with_lane, zero_of
from sims._quadratic_kernels import (
    QuadraticRule,
    accumulate,
    accumulate_pull,
    accumulate_two,
    add_multiple,
    add_multiples,
    add_to_all,
    apply,
    apply_linear,
    apply_pull,
    moments,
    output_and_moments,
    output_of,
    outputs_of_two,
    prepare_moments,
    pull_quadratic,
    pull_weights,
    quadratic_coefficients,
    raise_weights,
    update,
)
from sims._rate_circuit_kernels import advance, retreat
from sims._rate_tables import Circuit, Space, borrowed_circuit, clear, clear_drive
from sims._spline_kernels import SplineRule, pull_spline, spline_coefficients

# ------------------------------------------------------------------------- one neuron, either type of rule


@helper
def _borrowed_quadratic(rule):
    return QuadraticRule(
        rule.is_program, rule.is_linear, rule.needs_all_moments, borrowed(rule.table),
        borrowed(rule.constants), borrowed(rule.code), borrowed(rule.outputs), rule.power,
    )  # fmt: skip


@helper
def _borrowed_splines(rule):
    return SplineRule(
        rule.is_linear, rule.needs_all_moments, rule.low, rule.high, borrowed(rule.table),
        borrowed(rule.uses), borrowed(rule.constants), rule.power,
    )  # fmt: skip


def _coefficients(rule, y, registers):
    """Coefficients of all powers for an output; what the registers then hold is for :func:`_pull`."""
    if isinstance(rule, SplineRule):
        return spline_coefficients(rule, y, registers)
    return quadratic_coefficients(rule, y, registers)


def _pull(rule, step, m, y, registers, adjoints, gradient):
    """Add one sample's gradient of a rule; return dL/dy through the coefficients."""
    if isinstance(rule, SplineRule):
        return pull_spline(rule, step, m, registers, gradient)
    return pull_quadratic(rule, step, m, y, registers, adjoints, gradient)


@overload(_coefficients, jit_options={"forceinline": True, **OPTIONS})
def _compiled_coefficients(rule, y, registers):
    if rule.instance_class is SplineRule:
        return lambda rule, y, registers: spline_coefficients(rule, y, registers)
    return lambda rule, y, registers: quadratic_coefficients(rule, y, registers)


@overload(_pull, jit_options={"forceinline": True, **OPTIONS})
def _compiled_pull(rule, step, m, y, registers, adjoints, gradient):
    if rule.instance_class is SplineRule:
        return lambda rule, step, m, y, registers, adjoints, gradient: pull_spline(
            rule, step, m, registers, gradient
        )
    return lambda rule, step, m, y, registers, adjoints, gradient: pull_quadratic(
        rule, step, m, y, registers, adjoints, gradient
    )


@helper(forceinline=True)
def _step_of_neuron(rule, samples, order, row, w, eta, space):
    batch, registers, drive = order.shape[1], space.registers, space.drive[0]
    if batch == 1 and rule.power == SQUARE_POWER:
        sample = samples[order[row, 0]]
        c = _coefficients(rule, output_of(sample, w), registers)
        return update(sample, w, eta, rule.is_linear, c)
    clear_drive(drive, w.shape[0])
    last = batch - batch % 2
    if rule.is_linear:
        constant = zero_of(load(w, (0,)))
        slope = constant
        for b in range(0, last, 2):
            sample, other = samples[order[row, b]], samples[order[row, b + 1]]
            y, z = outputs_of_two(sample, other, w)
            c = _coefficients(rule, y, registers)
            d = _coefficients(rule, z, registers)
            constant = constant + c[0] + d[0]
            slope = slope + c[1] + d[1]
            add_multiples(sample, other, c[3], d[3], drive)
        if last < batch:
            sample = samples[order[row, last]]
            c = _coefficients(rule, output_of(sample, w), registers)
            constant = constant + c[0]
            slope = slope + c[1]
            add_multiple(sample, c[3], 0, drive)
        return apply_linear(drive, w, eta / batch, constant, slope)
    for b in range(0, last, 2):
        sample, other = samples[order[row, b]], samples[order[row, b + 1]]
        y, z = outputs_of_two(sample, other, w)
        c = _coefficients(rule, y, registers)
        d = _coefficients(rule, z, registers)
        accumulate_two(sample, other, c, d, drive)
    if last < batch:
        sample = samples[order[row, last]]
        c = _coefficients(rule, output_of(sample, w), registers)
        accumulate(sample, c, drive)
    return apply(drive, w, eta / batch, rule.power)


@helper(forceinline=True)
def _step_back_of_neuron(rule, samples, order, row, w, eta, adjoint, gradient, space):
    batch, registers, drive = order.shape[1], space.registers, space.drive[0]
    if batch == 1 and rule.power == SQUARE_POWER:
        sample = samples[order[row, 0]]
        y, m = output_and_moments(sample, w, adjoint, rule.needs_all_moments)
        c = _coefficients(rule, y, registers)
        through = _pull(rule, eta, m, y, registers, space.adjoints, gradient)
        pull_weights(sample, w, eta, rule.is_linear, c, through, adjoint)
        return
    clear_drive(drive, w.shape[0])
    if rule.needs_all_moments or not rule.is_linear:
        raise_weights(rule.power, w, drive)
    of_weights = prepare_moments(w, adjoint, drive, rule.needs_all_moments)
    slope = zero_of(load(w, (0,)))
    for b in range(batch):
        sample = samples[order[row, b]]
        y = output_of(sample, w)
        c = _coefficients(rule, y, registers)
        m = moments(sample, adjoint, drive, rule.needs_all_moments, of_weights)
        through = _pull(rule, eta / batch, m, y, registers, space.adjoints, gradient)
        if rule.is_linear:
            slope = slope + c[1]
            add_multiple(sample, through, 2, drive)
        else:
            accumulate_pull(sample, c, through, drive)
    if rule.is_linear:
        add_to_all(slope, 0, w.shape[0], drive)
    apply_pull(drive, eta / batch, rule.is_linear, adjoint)


# ------------------------------------------------------------------------------------------- any circuit


def _borrowed_rule(rule):
    """Return a rule, or a circuit with its rules, with arrays whose users are not counted."""
    if isinstance(rule, Circuit):
        return borrowed_circuit(rule)
    return _borrowed_splines(rule) if isinstance(rule, SplineRule) else _borrowed_quadratic(rule)


def _step(rule, samples, order, row, state, eta, space):
    """One update of a group from one sample or from the mean over a batch; return the squared norm."""
    take = advance if isinstance(rule, Circuit) else _step_of_neuron
    return take(rule, samples, order, row, state, eta, space)


def _step_back(rule, samples, order, row, state, eta, adjoint, gradient, space):
    """Pull `adjoint`, of the state after a step, back through it; add the step's share to `gradient`."""
    take = retreat if isinstance(rule, Circuit) else _step_back_of_neuron
    take(rule, samples, order, row, state, eta, adjoint, gradient, space)


@overload(_borrowed_rule, jit_options=OPTIONS)
def _compiled_borrowed_rule(rule):
    if rule.instance_class is Circuit:
        return lambda rule: borrowed_circuit(rule)
    if rule.instance_class is SplineRule:
        return lambda rule: _borrowed_splines(rule)
    return lambda rule: _borrowed_quadratic(rule)


@overload(_step, jit_options={"forceinline": True, **OPTIONS})
def _compiled_step(rule, samples, order, row, state, eta, space):
    take = advance if rule.instance_class is Circuit else _step_of_neuron
    return lambda rule, samples, order, row, state, eta, space: take(
        rule, samples, order, row, state, eta, space
    )


@overload(_step_back, jit_options={"forceinline": True, **OPTIONS})
def _compiled_step_back(rule, samples, order, row, state, eta, adjoint, gradient, space):
    take = retreat if rule.instance_class is Circuit else _step_back_of_neuron
    return lambda rule, samples, order, row, state, eta, adjoint, gradient, space: take(
        rule, samples, order, row, state, eta, adjoint, gradient, space
    )


@helper
def _opened(constants, workspace):
    """Memory for a group, with the constants of the rules in their registers."""
    space = Space(
        borrowed(workspace.registers), borrowed(workspace.adjoints), borrowed(workspace.drive),
        borrowed(workspace.units), borrowed(workspace.pulls), borrowed(workspace.answers),
        borrowed(workspace.sweeps), borrowed(workspace.slopes), borrowed(workspace.means),
        borrowed(workspace.change), borrowed(workspace.unbounded),
    )  # fmt: skip
    zero = zero_of(load(space.registers, (0,)))
    for n in range(constants.shape[0]):
        store(space.registers, (1 + n,), zero + constants[n])
    return space


@helper(forceinline=True)
def _copy(source, target):
    for i in range(source.shape[0]):
        store(target, (i,), load(source, (i,)))


@helper
def _silence(w, blow_up):
    """Hold the state of problems that blew up at zero."""
    for i in range(w.shape[0]):
        kept = load(w, (i,))
        for g in range(blow_up.shape[0]):
            if blow_up[g] >= 0:
                kept = with_lane(kept, g, 0.0)
        store(w, (i,), kept)


@helper
def _notice(norm, bound, steps, blow_up):
    """Note the number of steps for problems whose squared norm left the bound just now."""
    for g in range(blow_up.shape[0]):
        if not lane(norm, g) <= bound and blow_up[g] < 0:
            blow_up[g] = steps


@kernel
def simulate(
    rule, first, last, inputs, states, order, eta, n_steps, bound, every, record, blow_up, workspace
):
    """Run groups `first` to `last` for `n_steps` steps, in place.

    All arrays have the groups as their first axis but for `workspace`, which serves one group after the
    other. ``record[k, c]`` receives the state before step
    ``c * every``; ``blow_up[k]``, one entry a lane, the number of steps after which the weights had left the
    ball of radius `bound`, or -1. A problem that blew up stops there with a state of zeros.
    """
    rule, picks = _borrowed_rule(rule), borrowed(order)
    for k in range(first, last):
        samples, w, blown = borrowed(inputs[k]), borrowed(states[k]), borrowed(blow_up[k])
        kept, space = borrowed(record[k]), _opened(rule.constants, workspace)
        any_blown = False
        for g in range(blown.shape[0]):
            blown[g] = -1
        row = 0
        for t in range(n_steps):
            if t % every == 0:
                _copy(w, kept[t // every])
            norm = _step(rule, samples, picks, row, w, eta, space)
            row = row + 1 if row + 1 < picks.shape[0] else 0
            if not all_at_most(norm, bound * bound):
                _notice(norm, bound * bound, t + 1, blown)
                any_blown = True
            if any_blown:
                _silence(w, blown)


@kernel
def gradient(
    rule, first, last, inputs, order, eta, n_steps, every, record, blow_up, adjoint, result, workspace,
    path,
):  # fmt: skip
    """Gradients of the losses of groups `first` to `last` with respect to the rules, by reverse mode.

    Takes ``record`` and ``blow_up`` from :func:`simulate`, and ``adjoint[k]`` = dL/d(state) at the end, which
    is replaced by that at the start. Segments of `every` steps are run again from their recorded start, last
    segment first; ``path (every, n_places[, LANES])`` is memory for one of them. ``result (n_groups,
    n_parameters[, LANES])`` is set to zero where the problem blew up.
    """
    rule, picks, way = _borrowed_rule(rule), borrowed(order), borrowed(path)
    n_rounds = order.shape[0]
    for k in range(first, last):
        samples, a, blown = borrowed(inputs[k]), borrowed(adjoint[k]), borrowed(blow_up[k])
        kept, total = borrowed(record[k]), borrowed(result[k])
        space = _opened(rule.constants, workspace)
        clear(total)
        any_blown = False
        for g in range(blown.shape[0]):
            any_blown = any_blown or blown[g] >= 0
        for segment in range((n_steps - 1) // every, -1, -1):
            start = segment * every
            stop = min(start + every, n_steps)
            _copy(kept[segment], way[0])
            if any_blown:
                _silence(way[0], blown)
            for t in range(start, stop - 1):
                w = way[t - start + 1]
                _copy(way[t - start], w)
                _step(rule, samples, picks, t % n_rounds, w, eta, space)
                if any_blown:
                    _silence(w, blown)
            for t in range(stop - 1, start - 1, -1):
                _step_back(rule, samples, picks, t % n_rounds, way[t - start], eta, a, total, space)
        if any_blown:
            _silence(a, blown)
            _silence(total, blown)
