"""Kernels of one linear neuron under a rule that is quadratic in input and weight.

Such a rule is ``sum_ik c_ik(y) x**i w**k`` with powers up to two: nine numbers for each output y say all
about an update. They come from the 27 coefficients of a polynomial rule, from a program over y alone, which
may hold any function, or from nine splines. Simulation and exact reverse-mode gradient.

Problems run in groups of two kinds. Where inputs are few, `LANES` problems run side by side, one in each lane
of the vector instructions: arrays have a last axis of lanes, and what is done once a neuron costs little.
Where they are many a problem runs alone, and the vector instructions go along its inputs: arrays have no such
axis. Problems never share arithmetic and each writes its own lane: results are bit-identical for any number
of threads.

Shapes of one group, the lanes in brackets: ``samples (n_samples, n_inputs[, LANES])``,
``w, adjoint (n_inputs[, LANES])``, ``order (n_rounds, batch)`` with the sample indices of step ``t`` in row
``t % n_rounds``. What belongs to the neuron, such as its output y, is one number or one vector of lanes.
Powers are numbered ``q = 3 * i + k`` for ``x**i w**k``; nine coefficients or moments travel as a tuple in
this order.
"""

from typing import NamedTuple

import numpy as np
from numba.extending import overload

from sims._borrowed import borrowed
from sims._compiled import OPTIONS, helper, kernel
from sims._lanes import all_at_most, lane, load, n_lanes, store, with_lane, zero_of
from sims._operations import ADD, DIV, MUL, NEG, SQUARE, SUB, second_operand, slopes_of, value_of
from sims._spline_kernels import SplineRule, pull_spline, spline_coefficients


class QuadraticRule(NamedTuple):
    """A rule as these kernels take it.

    `table` (3, 9) holds the coefficients of a polynomial rule, indexed by the power of the output and by q.
    Where `is_program` is true, a program over the output replaces it: its registers are the output,
    `constants`, then one for each row of `code`; register ``outputs[q]`` is the coefficient of power q, and
    -1 stands for zero. `is_linear` promises that the coefficients of the squares of input and weight and of
    their product vanish; unless `needs_all_moments`, nobody asks for the gradient of these either.
    """

    is_program: bool
    is_linear: bool
    needs_all_moments: bool
    table: np.ndarray
    constants: np.ndarray
    code: np.ndarray
    outputs: np.ndarray


# ------------------------------------------------------------------------------------ rules, once a neuron


@helper(forceinline=True)
def _run(code, first, registers):
    """Run a program over the output; `registers` is (n_registers[, LANES])."""
    for n in range(code.shape[0]):
        op = code[n, 0]
        a = load(registers, (code[n, 1],))
        b = load(registers, (second_operand(op, code[n, 1], code[n, 2]),))
        if op == MUL:
            out = a * b
        elif op == ADD:
            out = a + b
        elif op == SUB:
            out = a - b
        elif op == DIV:
            out = a / b
        elif op == NEG:
            out = -a
        elif op == SQUARE:
            out = a * a
        else:
            out = a
            for g in range(n_lanes(a)):
                out = with_lane(out, g, value_of(op, lane(a, g), lane(b, g), code[n, 2]))
        store(registers, (first + n,), out)


@helper(forceinline=True)
def _of_table(table, q, y):
    return table[0, q] + y * (table[1, q] + y * table[2, q])


@helper(forceinline=True)
def _of_register(registers, r):
    return load(registers, (r,)) if r >= 0 else zero_of(load(registers, (0,)))


@helper(forceinline=True)
def _quadratic_coefficients(rule, y, registers):
    if rule.is_program:
        store(registers, (0,), y)
        _run(rule.code, registers.shape[0] - rule.code.shape[0], registers)
        r = rule.outputs
        return (
            _of_register(registers, r[0]), _of_register(registers, r[1]), _of_register(registers, r[2]),
            _of_register(registers, r[3]), _of_register(registers, r[4]), _of_register(registers, r[5]),
            _of_register(registers, r[6]), _of_register(registers, r[7]), _of_register(registers, r[8]),
        )  # fmt: skip
    if rule.is_linear:
        zero = zero_of(y)
        return (
            _of_table(rule.table, 0, y), _of_table(rule.table, 1, y), zero,
            _of_table(rule.table, 3, y), zero, zero, zero, zero, zero,
        )  # fmt: skip
    t = rule.table
    return (
        _of_table(t, 0, y), _of_table(t, 1, y), _of_table(t, 2, y),
        _of_table(t, 3, y), _of_table(t, 4, y), _of_table(t, 5, y),
        _of_table(t, 6, y), _of_table(t, 7, y), _of_table(t, 8, y),
    )  # fmt: skip


@helper(forceinline=True)
def _add_to(array, indices, value):
    store(array, indices, load(array, indices) + value)


@helper(forceinline=True)
def _pull_power(table, q, moment, y, gradient):
    """Add one power's share to the gradient of a table; return its share of dL/dy."""
    through = moment * y
    _add_to(gradient, (q,), moment)
    _add_to(gradient, (9 + q,), through)
    _add_to(gradient, (18 + q,), through * y)
    return moment * (table[1, q] + 2.0 * table[2, q] * y)


@helper(forceinline=True)
def _pull_table(rule, step, m, y, gradient):
    """Add one sample's gradient of a polynomial rule; return dL/dy through the coefficients.

    The moments ``m = sum_n adjoint_n x_n**i w_n**k`` carry all that any parameter needs.
    """
    t = rule.table
    through = _pull_power(t, 0, step * m[0], y, gradient)
    through += _pull_power(t, 1, step * m[1], y, gradient)
    through += _pull_power(t, 3, step * m[3], y, gradient)
    if rule.needs_all_moments:
        through += _pull_power(t, 2, step * m[2], y, gradient)
        through += _pull_power(t, 4, step * m[4], y, gradient)
        through += _pull_power(t, 5, step * m[5], y, gradient)
        through += _pull_power(t, 6, step * m[6], y, gradient)
        through += _pull_power(t, 7, step * m[7], y, gradient)
        through += _pull_power(t, 8, step * m[8], y, gradient)
    return through


@helper(forceinline=True)
def _seed(adjoints, r, value):
    if r >= 0:
        _add_to(adjoints, (r,), value)


@helper(forceinline=True)
def _pull_program(rule, step, m, registers, adjoints, gradient):
    """The same for a program, whose `registers` are those of :func:`_coefficients` for the same sample."""
    code, outputs = rule.code, rule.outputs
    first = registers.shape[0] - code.shape[0]
    zero = zero_of(m[0])
    for r in range(adjoints.shape[0]):
        store(adjoints, (r,), zero)
    _seed(adjoints, outputs[0], step * m[0])
    _seed(adjoints, outputs[1], step * m[1])
    _seed(adjoints, outputs[2], step * m[2])
    _seed(adjoints, outputs[3], step * m[3])
    _seed(adjoints, outputs[4], step * m[4])
    _seed(adjoints, outputs[5], step * m[5])
    _seed(adjoints, outputs[6], step * m[6])
    _seed(adjoints, outputs[7], step * m[7])
    _seed(adjoints, outputs[8], step * m[8])
    for n in range(code.shape[0] - 1, -1, -1):
        op, i = code[n, 0], code[n, 1]
        j = second_operand(op, i, code[n, 2])
        through = load(adjoints, (first + n,))
        a, b = load(registers, (i,)), load(registers, (j,))
        if op == MUL:
            _add_to(adjoints, (i,), through * b)
            _add_to(adjoints, (j,), through * a)
        elif op == ADD:
            _add_to(adjoints, (i,), through)
            _add_to(adjoints, (j,), through)
        elif op == SUB:
            _add_to(adjoints, (i,), through)
            _add_to(adjoints, (j,), -through)
        elif op == SQUARE:
            _add_to(adjoints, (i,), 2.0 * a * through)
        else:
            out = load(registers, (first + n,))
            to_a, to_b = zero, zero
            for g in range(n_lanes(zero)):
                slopes = slopes_of(op, lane(out, g), lane(a, g), lane(b, g), code[n, 2])
                to_a = with_lane(to_a, g, slopes[0] * lane(through, g))
                to_b = with_lane(to_b, g, slopes[1] * lane(through, g))
            _add_to(adjoints, (i,), to_a)
            _add_to(adjoints, (j,), to_b)
    for n in range(gradient.shape[0]):
        _add_to(gradient, (n,), load(adjoints, (1 + n,)))
    return load(adjoints, (0,))


# ------------------------------------------------------------------------------------- rules of either type


@helper
def _borrowed_quadratic(rule):
    return QuadraticRule(
        rule.is_program, rule.is_linear, rule.needs_all_moments, borrowed(rule.table),
        borrowed(rule.constants), borrowed(rule.code), borrowed(rule.outputs),
    )  # fmt: skip


@helper
def _borrowed_splines(rule):
    return SplineRule(
        rule.is_linear, rule.needs_all_moments, rule.low, rule.high, borrowed(rule.table),
        borrowed(rule.uses), borrowed(rule.constants),
    )  # fmt: skip


@helper(forceinline=True)
def _pull_quadratic(rule, step, m, y, registers, adjoints, gradient):
    if rule.is_program:
        return _pull_program(rule, step, m, registers, adjoints, gradient)
    return _pull_table(rule, step, m, y, gradient)


def _coefficients(rule, y, registers):
    """Coefficients of all powers for an output; what the registers then hold is for :func:`_pull`."""
    if isinstance(rule, SplineRule):
        return spline_coefficients(rule, y, registers)
    return _quadratic_coefficients(rule, y, registers)


def _pull(rule, step, m, y, registers, adjoints, gradient):
    """Add one sample's gradient of a rule; return dL/dy through the coefficients."""
    if isinstance(rule, SplineRule):
        return pull_spline(rule, step, m, registers, gradient)
    return _pull_quadratic(rule, step, m, y, registers, adjoints, gradient)


def _borrowed_rule(rule):
    """Return the rule with arrays whose users are not counted."""
    return _borrowed_splines(rule) if isinstance(rule, SplineRule) else _borrowed_quadratic(rule)


@overload(_coefficients, jit_options={"forceinline": True, **OPTIONS})
def _compiled_coefficients(rule, y, registers):
    if rule.instance_class is SplineRule:
        return lambda rule, y, registers: spline_coefficients(rule, y, registers)
    return lambda rule, y, registers: _quadratic_coefficients(rule, y, registers)


@overload(_pull, jit_options={"forceinline": True, **OPTIONS})
def _compiled_pull(rule, step, m, y, registers, adjoints, gradient):
    if rule.instance_class is SplineRule:
        return lambda rule, step, m, y, registers, adjoints, gradient: pull_spline(
            rule, step, m, registers, gradient
        )
    return lambda rule, step, m, y, registers, adjoints, gradient: _pull_quadratic(
        rule, step, m, y, registers, adjoints, gradient
    )


@overload(_borrowed_rule, jit_options=OPTIONS)
def _compiled_borrowed_rule(rule):
    if rule.instance_class is SplineRule:
        return lambda rule: _borrowed_splines(rule)
    return lambda rule: _borrowed_quadratic(rule)


# ---------------------------------------------------------------------------------------------- synapses


@helper(forceinline=True)
def _output(samples, pick, w):
    total = zero_of(load(w, (0,)))
    for i in range(w.shape[0]):
        total += load(samples, (pick, i)) * load(w, (i,))
    return total


@helper(forceinline=True)
def _update(samples, pick, w, eta, is_linear, c):
    """Change the weights by one sample, in place; return the square of their norm."""
    c00, c01, c02, c10, c11, c12, c20, c21, c22 = c
    total = zero_of(c00)
    if is_linear:
        c00, c01, c10 = eta * c00, eta * c01, eta * c10
        for i in range(w.shape[0]):
            u = load(w, (i,))
            u += c00 + c01 * u + c10 * load(samples, (pick, i))
            store(w, (i,), u)
            total += u * u
    else:
        for i in range(w.shape[0]):
            u, x = load(w, (i,)), load(samples, (pick, i))
            constant = c00 + u * (c01 + u * c02)
            linear = c10 + u * (c11 + u * c12)
            square = c20 + u * (c21 + u * c22)
            u += eta * (constant + x * (linear + x * square))
            store(w, (i,), u)
            total += u * u
    return total


@helper(forceinline=True)
def _accumulate(samples, pick, is_linear, c, drive):
    """Add one sample's share of a batch update to ``drive[k]``, by power k of the weight."""
    c00, c01, c02, c10, c11, c12, c20, c21, c22 = c
    if is_linear:
        for i in range(drive.shape[1]):
            _add_to(drive, (0, i), c00 + load(samples, (pick, i)) * c10)
            _add_to(drive, (1, i), c01)
        return
    for i in range(drive.shape[1]):
        x = load(samples, (pick, i))
        _add_to(drive, (0, i), c00 + x * (c10 + x * c20))
        _add_to(drive, (1, i), c01 + x * (c11 + x * c21))
        _add_to(drive, (2, i), c02 + x * (c12 + x * c22))


@helper(forceinline=True)
def _apply(drive, w, step):
    """Change the weights by what a batch has accumulated; return the square of their norm."""
    total = zero_of(load(w, (0,)))
    for i in range(w.shape[0]):
        u = load(w, (i,))
        u += step * (load(drive, (0, i)) + u * (load(drive, (1, i)) + u * load(drive, (2, i))))
        store(w, (i,), u)
        total += u * u
    return total


@helper(forceinline=True)
def _moments(samples, pick, w, adjoint, needs_all):
    """``sum_n adjoint_n x_n**i w_n**k`` for each power that a rule needs."""
    # No ``+=``: without the compiler a register of lanes is an array, which that would change in place, and
    # all these sums begin as the same one.
    zero = zero_of(load(w, (0,)))
    m00, m01, m02, m10, m11, m12, m20, m21, m22 = zero, zero, zero, zero, zero, zero, zero, zero, zero
    if needs_all:
        for i in range(w.shape[0]):
            x, u = load(samples, (pick, i)), load(w, (i,))
            xx = x * x
            a0 = load(adjoint, (i,))
            a1 = a0 * u
            a2 = a1 * u
            m00 = m00 + a0
            m01 = m01 + a1
            m02 = m02 + a2
            m10 = m10 + a0 * x
            m11 = m11 + a1 * x
            m12 = m12 + a2 * x
            m20 = m20 + a0 * xx
            m21 = m21 + a1 * xx
            m22 = m22 + a2 * xx
    else:
        for i in range(w.shape[0]):
            a0 = load(adjoint, (i,))
            m00 = m00 + a0
            m01 = m01 + a0 * load(w, (i,))
            m10 = m10 + a0 * load(samples, (pick, i))
    return m00, m01, m02, m10, m11, m12, m20, m21, m22


@helper(forceinline=True)
def _pull_weights(samples, pick, w, eta, is_linear, c, through, adjoint):
    """Replace the adjoint of the weights after an online step by that before it."""
    if is_linear:
        keep = 1.0 + eta * c[1]
        for i in range(w.shape[0]):
            store(adjoint, (i,), keep * load(adjoint, (i,)) + through * load(samples, (pick, i)))
    else:
        c01, c11, c21 = c[1], c[4], c[7]
        c02, c12, c22 = 2.0 * c[2], 2.0 * c[5], 2.0 * c[8]
        for i in range(w.shape[0]):
            u, x, a = load(w, (i,)), load(samples, (pick, i)), load(adjoint, (i,))
            slope = c01 + u * c02 + x * (c11 + u * c12 + x * (c21 + u * c22))
            store(adjoint, (i,), a + eta * slope * a + through * x)


@helper(forceinline=True)
def _accumulate_pull(samples, pick, is_linear, c, through, drive):
    """Add one sample's share of what a batch step does to the adjoint to `drive` (3, n_inputs[, LANES])."""
    if is_linear:
        for i in range(drive.shape[1]):
            _add_to(drive, (0, i), c[1])
            _add_to(drive, (2, i), through * load(samples, (pick, i)))
        return
    c01, c11, c21 = c[1], c[4], c[7]
    c02, c12, c22 = 2.0 * c[2], 2.0 * c[5], 2.0 * c[8]
    for i in range(drive.shape[1]):
        x = load(samples, (pick, i))
        _add_to(drive, (0, i), c01 + x * (c11 + x * c21))
        _add_to(drive, (1, i), c02 + x * (c12 + x * c22))
        _add_to(drive, (2, i), through * x)


@helper(forceinline=True)
def _apply_pull(drive, w, step, adjoint):
    """Replace the adjoint of the weights after a batch step by that before it."""
    for i in range(w.shape[0]):
        a = load(adjoint, (i,))
        slope = step * (load(drive, (0, i)) + load(w, (i,)) * load(drive, (1, i)))
        store(adjoint, (i,), a + slope * a + load(drive, (2, i)))


# ------------------------------------------------------------------------------------------------- steps


class Workspace(NamedTuple):
    """Memory for what changes from sample to sample; all arrays have the groups as their first axis."""

    registers: np.ndarray  # (n_groups, n_registers[, LANES])
    drive: np.ndarray  # (n_groups, 3, n_inputs[, LANES])


class WayBack(NamedTuple):
    """What a gradient needs beside; `adjoints` are those of the registers."""

    adjoints: np.ndarray  # (n_groups, n_registers[, LANES])
    path: np.ndarray  # (n_groups, every, n_inputs[, LANES])


@helper
def _set_constants(constants, registers):
    zero = zero_of(load(registers, (0,)))
    for n in range(constants.shape[0]):
        store(registers, (1 + n,), zero + constants[n])


@helper
def _clear(drive):
    flat = drive.reshape(drive.size)
    for i in range(flat.shape[0]):
        flat[i] = 0.0


@helper(forceinline=True)
def _copy(source, target):
    for i in range(source.shape[0]):
        store(target, (i,), load(source, (i,)))


@helper(forceinline=True)
def _step(rule, samples, order, row, w, eta, registers, drive):
    """One update of a group from one sample or from the mean over a batch; return the squared norm."""
    batch = order.shape[1]
    if batch == 1:
        pick = order[row, 0]
        c = _coefficients(rule, _output(samples, pick, w), registers)
        return _update(samples, pick, w, eta, rule.is_linear, c)
    _clear(drive)
    for b in range(batch):
        pick = order[row, b]
        c = _coefficients(rule, _output(samples, pick, w), registers)
        _accumulate(samples, pick, rule.is_linear, c, drive)
    return _apply(drive, w, eta / batch)


@helper
def _silence(w, blow_up):
    """Hold the weights of problems that blew up at zero."""
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
    rule, first, last, inputs, weights, order, eta, n_steps, bound, every, record, blow_up, workspace
):
    """Run groups `first` to `last` for `n_steps` steps, in place.

    All arrays have the groups as their first axis. ``record[k, c]`` receives the weights before step
    ``c * every``; ``blow_up[k]``, one entry a lane, the number of steps after which the weights had left the
    ball of radius `bound`, or -1. A problem that blew up stops there with zero weights.
    """
    rule, picks = _borrowed_rule(rule), borrowed(order)
    for k in range(first, last):
        samples, w, blown = borrowed(inputs[k]), borrowed(weights[k]), borrowed(blow_up[k])
        registers, drive = borrowed(workspace.registers[k]), borrowed(workspace.drive[k])
        kept = borrowed(record[k])
        _set_constants(rule.constants, registers)
        any_blown = False
        for g in range(blown.shape[0]):
            blown[g] = -1
        row = 0
        for t in range(n_steps):
            if t % every == 0:
                _copy(w, kept[t // every])
            norm = _step(rule, samples, picks, row, w, eta, registers, drive)
            row = row + 1 if row + 1 < picks.shape[0] else 0
            if not all_at_most(norm, bound * bound):
                _notice(norm, bound * bound, t + 1, blown)
                any_blown = True
            if any_blown:
                _silence(w, blown)


@helper(forceinline=True)
def _step_back(rule, samples, order, row, w, eta, adjoint, gradient, registers, adjoints, drive):
    """Pull `adjoint` = dL/dw back through one step and add the step's share to `gradient`."""
    batch = order.shape[1]
    if batch > 1:
        _clear(drive)
    for b in range(batch):
        pick = order[row, b]
        y = _output(samples, pick, w)
        c = _coefficients(rule, y, registers)
        m = _moments(samples, pick, w, adjoint, rule.needs_all_moments)
        through = _pull(rule, eta / batch, m, y, registers, adjoints, gradient)
        if batch > 1:
            _accumulate_pull(samples, pick, rule.is_linear, c, through, drive)
        else:
            _pull_weights(samples, pick, w, eta, rule.is_linear, c, through, adjoint)
    if batch > 1:
        _apply_pull(drive, w, eta / batch, adjoint)


@kernel
def gradient(
    rule, first, last, inputs, order, eta, n_steps, every, record, blow_up, adjoint, result, workspace,
    way_back,
):  # fmt: skip
    """Gradients of the losses of groups `first` to `last` with respect to the rule, by reverse mode.

    Takes ``record`` and ``blow_up`` from :func:`simulate`, and ``adjoint[k]`` = dL/dw at the end, which is
    replaced by dL/dw at the start. Segments of `every` steps are run again from their recorded start, last
    segment first, so that memory stays at one segment a thread. ``result (n_groups, n_parameters[, LANES])``
    is set to zero where the problem blew up; the parameters are the 27 entries of the table or the constants.
    """
    rule, picks = _borrowed_rule(rule), borrowed(order)
    n_rounds = order.shape[0]
    for k in range(first, last):
        samples, a, blown = borrowed(inputs[k]), borrowed(adjoint[k]), borrowed(blow_up[k])
        registers, drive = borrowed(workspace.registers[k]), borrowed(workspace.drive[k])
        kept, total = borrowed(record[k]), borrowed(result[k])
        adjoints, path = borrowed(way_back.adjoints[k]), borrowed(way_back.path[k])
        _set_constants(rule.constants, registers)
        _clear(total)
        any_blown = False
        for g in range(blown.shape[0]):
            any_blown = any_blown or blown[g] >= 0
        for segment in range((n_steps - 1) // every, -1, -1):
            start = segment * every
            stop = min(start + every, n_steps)
            _copy(kept[segment], path[0])
            if any_blown:
                _silence(path[0], blown)
            for t in range(start, stop - 1):
                w = path[t - start + 1]
                _copy(path[t - start], w)
                _step(rule, samples, picks, t % n_rounds, w, eta, registers, drive)
                if any_blown:
                    _silence(w, blown)
            for t in range(stop - 1, start - 1, -1):
                _step_back(
                    rule, samples, picks, t % n_rounds, path[t - start], eta, a, total, registers, adjoints,
                    drive,
                )  # fmt: skip
        if any_blown:
            _silence(a, blown)
            _silence(total, blown)
