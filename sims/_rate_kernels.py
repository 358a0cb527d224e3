"""Kernels of one linear neuron under a rule that is quadratic in input and weight.

Such a rule is ``sum_ik c_ik(y) x**i w**k`` with powers up to two: nine numbers for each output y say all
about an update. They come from the 27 coefficients of a polynomial rule, or from a program over y alone,
which may hold any function. Simulation and exact reverse-mode gradient.

Problems run in groups of two kinds. Where inputs are few, `LANES` problems run side by side, one in each lane
of the vector instructions: arrays have a last axis of lanes, and what is done once a neuron costs little.
Where they are many a problem runs alone, and the vector instructions go along its inputs: arrays have no such
axis. Problems never share arithmetic and each writes its own lane: results are bit-identical for any number
of threads. Everything these kernels call lives in this file, because the compilation cache does not notice
edits in another one.

Shapes of one group, the lanes in brackets: ``samples (n_samples, n_inputs[, LANES])``,
``w, adjoint (n_inputs[, LANES])``, ``order (n_rounds, batch)`` with the sample indices of step ``t`` in row
``t % n_rounds``, ``scratch (SCRATCH,)`` with the numbers of the neuron. Powers are numbered ``q = 3 * i + k``
for ``x**i w**k``.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from sims._borrowed import borrowed

FASTMATH = {"nsz", "arcp", "contract", "afn", "reassoc"}
"""Optimisations that keep NaN and infinity visible (``fastmath=True`` would hide blow-ups)."""

OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy", "fastmath": FASTMATH}

ADD, SUB, MUL, DIV, POW, POWI, NEG, SQUARE = 0, 1, 2, 3, 4, 5, 6, 7
TANH, EXP, LOG, SQRT, ABS, SIGN, MAX, MIN = 8, 9, 10, 11, 12, 13, 14, 15


LANES = 8
"""Problems that run side by side, one in each lane of the vector instructions."""

# Where the numbers of a neuron start in its scratch memory; each takes one entry a lane. One array with
# constant offsets spares the compiler from proving at run time that they do not overlap.
OUTPUT, SQUARE_NORM, THROUGH, COEFFICIENT, MOMENT = 0, LANES, 2 * LANES, 3 * LANES, 12 * LANES
SCRATCH = 21 * LANES
C00, C01, C02 = COEFFICIENT, COEFFICIENT + LANES, COEFFICIENT + 2 * LANES
C10, C11, C12 = COEFFICIENT + 3 * LANES, COEFFICIENT + 4 * LANES, COEFFICIENT + 5 * LANES
C20, C21, C22 = COEFFICIENT + 6 * LANES, COEFFICIENT + 7 * LANES, COEFFICIENT + 8 * LANES
M00, M01, M02 = MOMENT, MOMENT + LANES, MOMENT + 2 * LANES
M10, M11, M12 = MOMENT + 3 * LANES, MOMENT + 4 * LANES, MOMENT + 5 * LANES
M20, M21, M22 = MOMENT + 6 * LANES, MOMENT + 7 * LANES, MOMENT + 8 * LANES


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


@njit(inline="always", **OPTIONS)
def _integer_power(base, exponent):
    result = 1.0
    for _ in range(abs(exponent)):
        result *= base
    return 1.0 / result if exponent < 0 else result


@njit(inline="always", **OPTIONS)
def _sign(value):
    return 1.0 if value > 0.0 else -1.0 if value < 0.0 else value


@njit(**OPTIONS)
def _value(op, a, b, exponent):
    """Result of one instruction other than the arithmetic ones."""
    if op == POW:
        return a**b
    if op == POWI:
        return _integer_power(a, exponent)
    if op == TANH:
        return math.tanh(a)
    if op == EXP:
        return math.exp(a)
    if op == LOG:
        return math.log(a)
    if op == SQRT:
        return math.sqrt(a)
    if op == ABS:
        return abs(a)
    if op == SIGN:
        return _sign(a)
    if op == MAX:
        return a if a >= b or math.isnan(a) else b
    return a if a <= b or math.isnan(a) else b


@njit(**OPTIONS)
def _slopes(op, out, a, b, exponent):
    """Derivatives of one instruction's result with respect to its operands."""
    if op == ADD:
        return 1.0, 1.0
    if op == SUB:
        return 1.0, -1.0
    if op == MUL:
        return b, a
    if op == DIV:
        return 1.0 / b, -out / b
    if op == POW:
        return b * a ** (b - 1.0), out * math.log(a) if a > 0.0 else 0.0
    if op == POWI:
        return exponent * _integer_power(a, exponent - 1) if exponent != 0 else 0.0, 0.0
    if op == NEG:
        return -1.0, 0.0
    if op == SQUARE:
        return 2.0 * a, 0.0
    if op == TANH:
        return 1.0 - out * out, 0.0
    if op == EXP:
        return out, 0.0
    if op == LOG:
        return 1.0 / a, 0.0
    if op == SQRT:
        return 0.5 / out, 0.0
    if op == ABS:
        return _sign(a), 0.0
    if op == MAX:
        return (1.0, 0.0) if a >= b else (0.0, 1.0)
    if op == MIN:
        return (1.0, 0.0) if a <= b else (0.0, 1.0)
    return 0.0, 0.0


@njit(inline="always", **OPTIONS)
def _second(op, a, b):
    """Register of the second operand; one-operand instructions read their first again."""
    return b if op < POWI or op >= MAX else a


@njit(**OPTIONS)
def _run(code, first, registers):
    """Run a program over the outputs of a group; `registers` is (n_registers, n_lanes)."""
    n_lanes = registers.shape[1]
    for n in range(code.shape[0]):
        op = code[n, 0]
        a = code[n, 1]
        b = _second(op, a, code[n, 2])
        r = first + n
        if op == MUL:
            for g in range(n_lanes):
                registers[r, g] = registers[a, g] * registers[b, g]
        elif op == ADD:
            for g in range(n_lanes):
                registers[r, g] = registers[a, g] + registers[b, g]
        elif op == SUB:
            for g in range(n_lanes):
                registers[r, g] = registers[a, g] - registers[b, g]
        elif op == DIV:
            for g in range(n_lanes):
                registers[r, g] = registers[a, g] / registers[b, g]
        elif op == NEG:
            for g in range(n_lanes):
                registers[r, g] = -registers[a, g]
        elif op == SQUARE:
            for g in range(n_lanes):
                registers[r, g] = registers[a, g] * registers[a, g]
        else:
            for g in range(n_lanes):
                registers[r, g] = _value(op, registers[a, g], registers[b, g], code[n, 2])


@njit(**OPTIONS)
def _of_table(table, n_lanes, scratch):
    """Coefficients of all powers from the table of a polynomial rule, for the outputs in `scratch`."""
    for q in range(9):
        c, b, a = table[0, q], table[1, q], table[2, q]
        for g in range(n_lanes):
            y = scratch[OUTPUT + g]
            scratch[COEFFICIENT + q * LANES + g] = c + y * (b + y * a)


@njit(**OPTIONS)
def _read_outputs(scratch, registers):
    for g in range(registers.shape[1]):
        registers[0, g] = scratch[OUTPUT + g]


@njit(**OPTIONS)
def _write_coefficients(outputs, registers, scratch):
    for q in range(9):
        r = outputs[q]
        if r >= 0:
            for g in range(registers.shape[1]):
                scratch[COEFFICIENT + q * LANES + g] = registers[r, g]


@njit(**OPTIONS)
def _of_program(code, outputs, registers, scratch):
    """The same from a program over the outputs."""
    _read_outputs(scratch, registers)
    _run(code, registers.shape[0] - code.shape[0], registers)
    _write_coefficients(outputs, registers, scratch)


@njit(**OPTIONS)
def _pull_table(table, step, gradient, scratch):
    """Add one sample's gradient of a polynomial rule, and set dL/dy in `scratch`.

    The moments ``sum_n adjoint_n x_n**i w_n**k`` in `scratch` carry all that any parameter needs.
    """
    n_lanes = gradient.shape[1]
    for g in range(n_lanes):
        scratch[THROUGH + g] = 0.0
    for q in range(9):
        b, a = table[1, q], 2.0 * table[2, q]
        for g in range(n_lanes):
            y = scratch[OUTPUT + g]
            moment = step * scratch[MOMENT + q * LANES + g]
            gradient[q, g] += moment
            gradient[9 + q, g] += moment * y
            gradient[18 + q, g] += moment * y * y
            scratch[THROUGH + g] += moment * (b + y * a)


@njit(**OPTIONS)
def _pull_program(code, outputs, step, registers, adjoints, gradient, scratch):
    """The same for a program, whose `registers` are those of :func:`_coefficients` for the same sample."""
    n_lanes = registers.shape[1]
    first = registers.shape[0] - code.shape[0]
    for r in range(adjoints.shape[0]):
        for g in range(n_lanes):
            adjoints[r, g] = 0.0
    for q in range(9):
        r = outputs[q]
        if r >= 0:
            for g in range(n_lanes):
                adjoints[r, g] += step * scratch[MOMENT + q * LANES + g]
    for n in range(code.shape[0] - 1, -1, -1):
        op, a, b = code[n, 0], code[n, 1], code[n, 2]
        c = _second(op, a, b)
        for g in range(n_lanes):
            slope_a, slope_b = _slopes(op, registers[first + n, g], registers[a, g], registers[c, g], b)
            adjoints[a, g] += adjoints[first + n, g] * slope_a
            adjoints[c, g] += adjoints[first + n, g] * slope_b
    for n in range(gradient.shape[0]):
        for g in range(n_lanes):
            gradient[n, g] += adjoints[1 + n, g]
    for g in range(n_lanes):
        scratch[THROUGH + g] = adjoints[0, g]


# ------------------------------------------------------------------ synapses; one branch a kind of group


@njit(**OPTIONS)
def _outputs(samples, pick, w, scratch):
    """Outputs for one sample."""
    if w.ndim == 1:
        total = 0.0
        for i in range(w.shape[0]):
            total += samples[pick, i] * w[i]
        scratch[OUTPUT] = total
    else:
        n_lanes = w.shape[1]
        for g in range(n_lanes):
            scratch[OUTPUT + g] = 0.0
        for i in range(w.shape[0]):
            for g in range(n_lanes):
                scratch[OUTPUT + g] += samples[pick, i, g] * w[i, g]


@njit(**OPTIONS)
def _update(samples, pick, w, eta, is_linear, scratch):
    """Change the weights by one sample, in place; the squares of their norms are left in `scratch`."""
    if w.ndim == 1:
        c00, c01, c02 = scratch[C00], scratch[C01], scratch[C02]
        c10, c11, c12 = scratch[C10], scratch[C11], scratch[C12]
        c20, c21, c22 = scratch[C20], scratch[C21], scratch[C22]
        total = 0.0
        if is_linear:
            for i in range(w.shape[0]):
                u = w[i] + eta * (c00 + c01 * w[i] + c10 * samples[pick, i])
                w[i] = u
                total += u * u
        else:
            for i in range(w.shape[0]):
                u, x = w[i], samples[pick, i]
                constant = c00 + u * (c01 + u * c02)
                linear = c10 + u * (c11 + u * c12)
                square = c20 + u * (c21 + u * c22)
                u += eta * (constant + x * (linear + x * square))
                w[i] = u
                total += u * u
        scratch[SQUARE_NORM] = total
        return
    n_lanes = w.shape[1]
    for g in range(n_lanes):
        scratch[SQUARE_NORM + g] = 0.0
    if is_linear:
        for i in range(w.shape[0]):
            for g in range(n_lanes):
                u, x = w[i, g], samples[pick, i, g]
                u += eta * (scratch[C00 + g] + scratch[C01 + g] * u + scratch[C10 + g] * x)
                w[i, g] = u
                scratch[SQUARE_NORM + g] += u * u
    else:
        for i in range(w.shape[0]):
            for g in range(n_lanes):
                u, x = w[i, g], samples[pick, i, g]
                constant = scratch[C00 + g] + u * (scratch[C01 + g] + u * scratch[C02 + g])
                linear = scratch[C10 + g] + u * (scratch[C11 + g] + u * scratch[C12 + g])
                square = scratch[C20 + g] + u * (scratch[C21 + g] + u * scratch[C22 + g])
                u += eta * (constant + x * (linear + x * square))
                w[i, g] = u
                scratch[SQUARE_NORM + g] += u * u


@njit(**OPTIONS)
def _accumulate(samples, pick, scratch, drive):
    """Add one sample's share of a batch update to ``drive[k]``, by power k of the weight."""
    if drive.ndim == 2:
        c00, c01, c02 = scratch[C00], scratch[C01], scratch[C02]
        c10, c11, c12 = scratch[C10], scratch[C11], scratch[C12]
        c20, c21, c22 = scratch[C20], scratch[C21], scratch[C22]
        for i in range(drive.shape[1]):
            x = samples[pick, i]
            drive[0, i] += c00 + x * (c10 + x * c20)
            drive[1, i] += c01 + x * (c11 + x * c21)
            drive[2, i] += c02 + x * (c12 + x * c22)
    else:
        for i in range(drive.shape[1]):
            for g in range(drive.shape[2]):
                x = samples[pick, i, g]
                drive[0, i, g] += scratch[C00 + g] + x * (scratch[C10 + g] + x * scratch[C20 + g])
                drive[1, i, g] += scratch[C01 + g] + x * (scratch[C11 + g] + x * scratch[C21 + g])
                drive[2, i, g] += scratch[C02 + g] + x * (scratch[C12 + g] + x * scratch[C22 + g])


@njit(**OPTIONS)
def _apply(drive, w, step, scratch):
    """Change the weights by what a batch has accumulated; the squares of their norms go to `scratch`."""
    if w.ndim == 1:
        total = 0.0
        for i in range(w.shape[0]):
            u = w[i] + step * (drive[0, i] + w[i] * (drive[1, i] + w[i] * drive[2, i]))
            w[i] = u
            total += u * u
        scratch[SQUARE_NORM] = total
    else:
        n_lanes = w.shape[1]
        for g in range(n_lanes):
            scratch[SQUARE_NORM + g] = 0.0
        for i in range(w.shape[0]):
            for g in range(n_lanes):
                u = w[i, g]
                u += step * (drive[0, i, g] + u * (drive[1, i, g] + u * drive[2, i, g]))
                w[i, g] = u
                scratch[SQUARE_NORM + g] += u * u


@njit(**OPTIONS)
def _moments(samples, pick, w, adjoint, is_linear, scratch):
    """``sum_n adjoint_n x_n**i w_n**k`` for each power that a rule needs."""
    if w.ndim == 1:
        m00 = m01 = m02 = m10 = m11 = m12 = m20 = m21 = m22 = 0.0
        if is_linear:
            for i in range(w.shape[0]):
                m00 += adjoint[i]
                m01 += adjoint[i] * w[i]
                m10 += adjoint[i] * samples[pick, i]
        else:
            for i in range(w.shape[0]):
                x = samples[pick, i]
                xx = x * x
                a0 = adjoint[i]
                a1 = a0 * w[i]
                a2 = a1 * w[i]
                m00 += a0
                m01 += a1
                m02 += a2
                m10 += a0 * x
                m11 += a1 * x
                m12 += a2 * x
                m20 += a0 * xx
                m21 += a1 * xx
                m22 += a2 * xx
        scratch[M00], scratch[M01], scratch[M02] = m00, m01, m02
        scratch[M10], scratch[M11], scratch[M12] = m10, m11, m12
        scratch[M20], scratch[M21], scratch[M22] = m20, m21, m22
        return
    n_lanes = w.shape[1]
    for q in range(9 * LANES):
        scratch[MOMENT + q] = 0.0
    if is_linear:
        for i in range(w.shape[0]):
            for g in range(n_lanes):
                a = adjoint[i, g]
                scratch[M00 + g] += a
                scratch[M01 + g] += a * w[i, g]
                scratch[M10 + g] += a * samples[pick, i, g]
    else:
        for i in range(w.shape[0]):
            for g in range(n_lanes):
                x = samples[pick, i, g]
                xx = x * x
                a0 = adjoint[i, g]
                a1 = a0 * w[i, g]
                a2 = a1 * w[i, g]
                scratch[M00 + g] += a0
                scratch[M01 + g] += a1
                scratch[M02 + g] += a2
                scratch[M10 + g] += a0 * x
                scratch[M11 + g] += a1 * x
                scratch[M12 + g] += a2 * x
                scratch[M20 + g] += a0 * xx
                scratch[M21 + g] += a1 * xx
                scratch[M22 + g] += a2 * xx


@njit(**OPTIONS)
def _pull_weights(samples, pick, w, eta, is_linear, scratch, adjoint):
    """Replace the adjoint of the weights after an online step by that before it."""
    if w.ndim == 1:
        through = scratch[THROUGH]
        c01, c11, c21 = scratch[C01], scratch[C11], scratch[C21]
        c02, c12, c22 = 2.0 * scratch[C02], 2.0 * scratch[C12], 2.0 * scratch[C22]
        if is_linear:
            for i in range(w.shape[0]):
                adjoint[i] += eta * c01 * adjoint[i] + through * samples[pick, i]
        else:
            for i in range(w.shape[0]):
                u, x = w[i], samples[pick, i]
                slope = c01 + u * c02 + x * (c11 + u * c12 + x * (c21 + u * c22))
                adjoint[i] += eta * slope * adjoint[i] + through * x
        return
    n_lanes = w.shape[1]
    if is_linear:
        for i in range(w.shape[0]):
            for g in range(n_lanes):
                slope = eta * scratch[C01 + g]
                adjoint[i, g] += slope * adjoint[i, g] + scratch[THROUGH + g] * samples[pick, i, g]
    else:
        for i in range(w.shape[0]):
            for g in range(n_lanes):
                u, x = 2.0 * w[i, g], samples[pick, i, g]
                slope = scratch[C01 + g] + u * scratch[C02 + g]
                slope += x * (scratch[C11 + g] + u * scratch[C12 + g])
                slope += x * x * (scratch[C21 + g] + u * scratch[C22 + g])
                adjoint[i, g] += eta * slope * adjoint[i, g] + scratch[THROUGH + g] * x


@njit(**OPTIONS)
def _accumulate_pull(samples, pick, scratch, drive):
    """Add one sample's share of what a batch step does to the adjoint to `drive` (3, n_inputs[, LANES])."""
    if drive.ndim == 2:
        through = scratch[THROUGH]
        c01, c11, c21 = scratch[C01], scratch[C11], scratch[C21]
        c02, c12, c22 = 2.0 * scratch[C02], 2.0 * scratch[C12], 2.0 * scratch[C22]
        for i in range(drive.shape[1]):
            x = samples[pick, i]
            drive[0, i] += c01 + x * (c11 + x * c21)
            drive[1, i] += c02 + x * (c12 + x * c22)
            drive[2, i] += through * x
    else:
        for i in range(drive.shape[1]):
            for g in range(drive.shape[2]):
                x = samples[pick, i, g]
                drive[0, i, g] += scratch[C01 + g] + x * (scratch[C11 + g] + x * scratch[C21 + g])
                drive[1, i, g] += 2.0 * (scratch[C02 + g] + x * (scratch[C12 + g] + x * scratch[C22 + g]))
                drive[2, i, g] += scratch[THROUGH + g] * x


@njit(**OPTIONS)
def _apply_pull(drive, w, step, adjoint):
    """Replace the adjoint of the weights after a batch step by that before it."""
    if w.ndim == 1:
        for i in range(w.shape[0]):
            adjoint[i] += step * (drive[0, i] + w[i] * drive[1, i]) * adjoint[i] + drive[2, i]
    else:
        for i in range(w.shape[0]):
            for g in range(w.shape[1]):
                slope = step * (drive[0, i, g] + w[i, g] * drive[1, i, g])
                adjoint[i, g] += slope * adjoint[i, g] + drive[2, i, g]


# ------------------------------------------------------------------------------------------------- steps


class Workspace(NamedTuple):
    """Memory for what changes from sample to sample; all arrays have the groups as their first axis."""

    registers: np.ndarray  # (n_groups, n_registers, n_lanes)
    scratch: np.ndarray  # (n_groups, SCRATCH)
    drive: np.ndarray  # (n_groups, 3, n_inputs[, LANES])


class WayBack(NamedTuple):
    """What a gradient needs beside; `adjoints` are those of the registers."""

    adjoints: np.ndarray  # (n_groups, n_registers, n_lanes)
    path: np.ndarray  # (n_groups, every, n_inputs[, LANES])


@njit(**OPTIONS)
def _set_constants(constants, registers):
    for n in range(constants.shape[0]):
        for g in range(registers.shape[1]):
            registers[1 + n, g] = constants[n]


@njit(**OPTIONS)
def _clear(drive):
    flat = drive.reshape(drive.size)
    for i in range(flat.shape[0]):
        flat[i] = 0.0


@njit(**OPTIONS)
def _copy(source, target):
    if source.ndim == 1:
        for i in range(source.shape[0]):
            target[i] = source[i]
    else:
        for i in range(source.shape[0]):
            for g in range(source.shape[1]):
                target[i, g] = source[i, g]


@njit(**OPTIONS)
def _step(
    is_program, is_linear, table, code, outputs, samples, order, row, w, eta, registers, scratch, drive
):  # fmt: skip
    """One update of a group from one sample or from the mean over a batch."""
    batch = order.shape[1]
    if batch == 1:
        pick = order[row, 0]
        _outputs(samples, pick, w, scratch)
        if is_program:
            _of_program(code, outputs, registers, scratch)
        else:
            _of_table(table, registers.shape[1], scratch)
        _update(samples, pick, w, eta, is_linear, scratch)
        return
    _clear(drive)
    for b in range(batch):
        pick = order[row, b]
        _outputs(samples, pick, w, scratch)
        if is_program:
            _of_program(code, outputs, registers, scratch)
        else:
            _of_table(table, registers.shape[1], scratch)
        _accumulate(samples, pick, scratch, drive)
    _apply(drive, w, eta / batch, scratch)


@njit(**OPTIONS)
def _silence(w, blow_up):
    """Hold the weights of problems that blew up at zero."""
    for g in range(blow_up.shape[0]):
        if blow_up[g] >= 0:
            for i in range(w.shape[0]):
                if w.ndim == 1:
                    w[i] = 0.0
                else:
                    w[i, g] = 0.0


@njit(**OPTIONS)
def simulate(
    rule, first, last, inputs, weights, order, eta, n_steps, bound, every, record, blow_up, workspace
):
    """Run groups `first` to `last` for `n_steps` steps, in place.

    All arrays have the groups as their first axis. ``record[k, c]`` receives the weights before step
    ``c * every``; ``blow_up[k]``, one entry a lane, the number of steps after which the weights had left the
    ball of radius `bound`, or -1. A problem that blew up stops there with zero weights.
    """
    is_program, is_linear = rule.is_program, rule.is_linear
    table, code, outputs = borrowed(rule.table), borrowed(rule.code), borrowed(rule.outputs)
    picks = borrowed(order)
    n_lanes = blow_up.shape[1]
    for k in range(first, last):
        samples, w, blown = borrowed(inputs[k]), borrowed(weights[k]), borrowed(blow_up[k])
        registers, scratch = borrowed(workspace.registers[k]), borrowed(workspace.scratch[k])
        drive, kept = borrowed(workspace.drive[k]), borrowed(record[k])
        _set_constants(rule.constants, registers)
        n_blown = 0
        for g in range(n_lanes):
            blown[g] = -1
        for t in range(n_steps):
            if t % every == 0:
                _copy(w, kept[t // every])
            _step(
                is_program, is_linear, table, code, outputs, samples, picks, t % order.shape[0], w, eta,
                registers, scratch, drive,
            )  # fmt: skip
            for g in range(n_lanes):
                if not scratch[SQUARE_NORM + g] <= bound * bound and blown[g] < 0:
                    blown[g] = t + 1
                    n_blown += 1
            if n_blown > 0:
                _silence(w, blown)


@njit(**OPTIONS)
def _step_back(
    is_program, is_linear, all_moments, table, code, outputs, samples, order, row, w, eta, adjoint, gradient,
    registers, adjoints, scratch, drive,
):  # fmt: skip
    """Pull `adjoint` = dL/dw back through one step and add the step's share to `gradient`."""
    batch = order.shape[1]
    if batch > 1:
        _clear(drive)
    for b in range(batch):
        pick = order[row, b]
        _outputs(samples, pick, w, scratch)
        if is_program:
            _of_program(code, outputs, registers, scratch)
        else:
            _of_table(table, registers.shape[1], scratch)
        _moments(samples, pick, w, adjoint, not all_moments, scratch)
        if is_program:
            _pull_program(code, outputs, eta / batch, registers, adjoints, gradient, scratch)
        else:
            _pull_table(table, eta / batch, gradient, scratch)
        if batch > 1:
            _accumulate_pull(samples, pick, scratch, drive)
        else:
            _pull_weights(samples, pick, w, eta, is_linear, scratch, adjoint)
    if batch > 1:
        _apply_pull(drive, w, eta / batch, adjoint)


@njit(**OPTIONS)
def gradient(
    rule, first, last, inputs, order, eta, n_steps, every, record, blow_up, adjoint, result, workspace,
    way_back,
):  # fmt: skip
    """Gradients of the losses of groups `first` to `last` with respect to the rule, by reverse mode.

    Takes ``record`` and ``blow_up`` from :func:`simulate`, and ``adjoint[k]`` = dL/dw at the end, which is
    replaced by dL/dw at the start. Segments of `every` steps are run again from their recorded start, last
    segment first, so that memory stays at one segment a thread. ``result (n_groups, n_parameters, n_lanes)``
    is set to zero where the problem blew up; the parameters are the 27 entries of the table or the constants.
    """
    table, code, outputs = borrowed(rule.table), borrowed(rule.code), borrowed(rule.outputs)
    is_program, is_linear = rule.is_program, rule.is_linear
    table, code, outputs = borrowed(rule.table), borrowed(rule.code), borrowed(rule.outputs)
    picks = borrowed(order)
    n_rounds = order.shape[0]
    n_lanes = blow_up.shape[1]
    for k in range(first, last):
        samples, a, blown = borrowed(inputs[k]), borrowed(adjoint[k]), borrowed(blow_up[k])
        registers, scratch = borrowed(workspace.registers[k]), borrowed(workspace.scratch[k])
        drive, kept, total = borrowed(workspace.drive[k]), borrowed(record[k]), borrowed(result[k])
        adjoints, path = borrowed(way_back.adjoints[k]), borrowed(way_back.path[k])
        _set_constants(rule.constants, registers)
        for n in range(total.shape[0]):
            for g in range(n_lanes):
                total[n, g] = 0.0
        for segment in range((n_steps - 1) // every, -1, -1):
            start = segment * every
            stop = min(start + every, n_steps)
            _copy(kept[segment], path[0])
            _silence(path[0], blown)
            for t in range(start, stop - 1):
                w = path[t - start + 1]
                _copy(path[t - start], w)
                _step(
                    is_program, is_linear, table, code, outputs, samples, picks, t % n_rounds, w, eta,
                    registers, scratch, drive,
                )  # fmt: skip
                _silence(w, blown)
            for t in range(stop - 1, start - 1, -1):
                _step_back(
                    is_program, is_linear, rule.needs_all_moments, table, code, outputs, samples, picks,
                    t % n_rounds, path[t - start], eta, a, total, registers, adjoints, scratch, drive,
                )  # fmt: skip
        _silence(a, blown)
        for g in range(n_lanes):
            if blown[g] >= 0:
                for n in range(total.shape[0]):
                    total[n, g] = 0.0
