"""Kernels of one linear neuron under a rule that is quadratic in input and weight.

Such a rule is ``sum_ik c_ik(y) x**i w**k`` with powers up to two: nine numbers for each output y say all
about an update. They come from the 27 coefficients of a polynomial rule, or from a program over y alone,
which may hold any function. Simulation and exact reverse-mode gradient.

A few problems run in lock-step, so that what is done once a neuron costs little beside the synapses. The
grouping depends on the number of problems alone, problems never share arithmetic and each writes its own row:
results are bit-identical for any number of threads. Everything these kernels call lives in this file, because
the compilation cache does not notice edits in another one.

Shapes: ``inputs (n_problems, n_samples, n_inputs)``, ``weights (n_problems, n_inputs)``,
``order (n_rounds, batch)`` with the sample indices of step ``t`` in row ``t % n_rounds``. Powers are numbered
``q = 3 * i + k`` for ``x**i w**k``.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

FASTMATH = {"nsz", "arcp", "contract", "afn", "reassoc"}
"""Optimisations that keep NaN and infinity visible (``fastmath=True`` would hide blow-ups)."""

OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy", "fastmath": FASTMATH}

ADD, SUB, MUL, DIV, POW, POWI, NEG, SQUARE = 0, 1, 2, 3, 4, 5, 6, 7
TANH, EXP, LOG, SQRT, ABS, SIGN, MAX, MIN = 8, 9, 10, 11, 12, 13, 14, 15


class QuadraticRule(NamedTuple):
    """A rule as these kernels take it.

    `table` (3, 9) holds the coefficients of a polynomial rule, indexed by the power of the output and by q.
    Where `is_program` is true, a program over the output replaces it: its registers are the output,
    `constants`, then one for each row of `code`; register ``outputs[q]`` is the coefficient of power q, and
    -1 stands for zero. `is_linear` promises that the coefficients of the squares of input and weight and of
    their product vanish.
    """

    is_program: bool
    is_linear: bool
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


@njit(inline="always", **OPTIONS)
def _run(code, first, registers):
    """Run a program over the outputs of a group; `registers` is (n_registers, n_group)."""
    n_group = registers.shape[1]
    for n in range(code.shape[0]):
        op = code[n, 0]
        a = code[n, 1]
        b = _second(op, a, code[n, 2])
        r = first + n
        if op == MUL:
            for g in range(n_group):
                registers[r, g] = registers[a, g] * registers[b, g]
        elif op == ADD:
            for g in range(n_group):
                registers[r, g] = registers[a, g] + registers[b, g]
        elif op == SUB:
            for g in range(n_group):
                registers[r, g] = registers[a, g] - registers[b, g]
        elif op == DIV:
            for g in range(n_group):
                registers[r, g] = registers[a, g] / registers[b, g]
        elif op == NEG:
            for g in range(n_group):
                registers[r, g] = -registers[a, g]
        elif op == SQUARE:
            for g in range(n_group):
                registers[r, g] = registers[a, g] * registers[a, g]
        else:
            for g in range(n_group):
                registers[r, g] = _value(op, registers[a, g], registers[b, g], code[n, 2])


@njit(inline="always", **OPTIONS)
def _coefficients(rule, registers, coefficients):
    """Coefficients (9, n_group) of all powers for the outputs in ``registers[0]``."""
    y = registers[0]
    if rule.is_program:
        _run(rule.code, 1 + rule.constants.shape[0], registers)
        for q in range(9):
            r = rule.outputs[q]
            if r >= 0:
                for g in range(y.shape[0]):
                    coefficients[q, g] = registers[r, g]
    else:
        for q in range(9):
            c, b, a = rule.table[0, q], rule.table[1, q], rule.table[2, q]
            for g in range(y.shape[0]):
                coefficients[q, g] = c + y[g] * (b + y[g] * a)


@njit(**OPTIONS)
def _pull_coefficients(rule, step, moments, registers, adjoints, gradient, through_output):
    """Add one sample's gradient and set `through_output` to dL/dy.

    ``moments[q] = sum_n adjoint_n x_n**i w_n**k`` carries all that any parameter needs; `registers` are those
    of :func:`_coefficients` for the same sample.
    """
    n_group = registers.shape[1]
    y = registers[0]
    if not rule.is_program:
        through_output[:] = 0.0
        for q in range(9):
            b, a = rule.table[1, q], 2.0 * rule.table[2, q]
            for g in range(n_group):
                moment = step * moments[q, g]
                gradient[q, g] += moment
                gradient[9 + q, g] += moment * y[g]
                gradient[18 + q, g] += moment * y[g] * y[g]
                through_output[g] += moment * (b + y[g] * a)
        return
    n_constants = rule.constants.shape[0]
    first = 1 + n_constants
    adjoints[:] = 0.0
    for q in range(9):
        if rule.outputs[q] >= 0:
            for g in range(n_group):
                adjoints[rule.outputs[q], g] += step * moments[q, g]
    for n in range(rule.code.shape[0] - 1, -1, -1):
        op, a, b = rule.code[n]
        c = _second(op, a, b)
        for g in range(n_group):
            slope_a, slope_b = _slopes(op, registers[first + n, g], registers[a, g], registers[c, g], b)
            adjoints[a, g] += adjoints[first + n, g] * slope_a
            adjoints[c, g] += adjoints[first + n, g] * slope_b
    for n in range(n_constants):
        for g in range(n_group):
            gradient[n, g] += adjoints[1 + n, g]
    through_output[:] = adjoints[0]


@njit(inline="always", **OPTIONS)
def _dot(a, b):
    total = 0.0
    for i in range(a.shape[0]):
        total += a[i] * b[i]
    return total


@njit(inline="always", **OPTIONS)
def _outputs(samples, pick, w, y):
    for g in range(w.shape[0]):
        y[g] = _dot(samples[g, pick], w[g])


@njit(inline="always", **OPTIONS)
def _update(samples, pick, w, alive, eta, is_linear, coefficients, square_norm):
    """Change the weights of a group by one sample, in place."""
    for g in range(w.shape[0]):
        if alive[g]:
            row = samples[g, pick]
            v = w[g]
            c00, c01, c10 = coefficients[0, g], coefficients[1, g], coefficients[3, g]
            total = 0.0
            if is_linear:
                for i in range(v.shape[0]):
                    u = v[i] + eta * (c00 + c01 * v[i] + c10 * row[i])
                    v[i] = u
                    total += u * u
            else:
                c02, c11, c12 = coefficients[2, g], coefficients[4, g], coefficients[5, g]
                c20, c21, c22 = coefficients[6, g], coefficients[7, g], coefficients[8, g]
                for i in range(v.shape[0]):
                    u = v[i]
                    x = row[i]
                    constant = c00 + u * (c01 + u * c02)
                    linear = c10 + u * (c11 + u * c12)
                    square = c20 + u * (c21 + u * c22)
                    u += eta * (constant + x * (linear + x * square))
                    v[i] = u
                    total += u * u
            square_norm[g] = total


@njit(**OPTIONS)
def _accumulate(samples, pick, coefficients, drive):
    """Add one sample's share of a batch update; `drive` (n_group, 3, n_inputs) by powers of the weight."""
    for g in range(drive.shape[0]):
        row = samples[g, pick]
        d0, d1, d2 = drive[g, 0], drive[g, 1], drive[g, 2]
        c00, c01, c02 = coefficients[0, g], coefficients[1, g], coefficients[2, g]
        c10, c11, c12 = coefficients[3, g], coefficients[4, g], coefficients[5, g]
        c20, c21, c22 = coefficients[6, g], coefficients[7, g], coefficients[8, g]
        for i in range(row.shape[0]):
            x = row[i]
            d0[i] += c00 + x * (c10 + x * c20)
            d1[i] += c01 + x * (c11 + x * c21)
            d2[i] += c02 + x * (c12 + x * c22)


@njit(inline="always", **OPTIONS)
def _step(rule, samples, picks, w, alive, eta, registers, coefficients, drive, y, square_norm):
    """One update of a group from one sample or from the mean over a batch; `y` (batch, n_group) is filled."""
    batch = picks.shape[0]
    if batch > 1:
        drive[:] = 0.0
    for b in range(batch):
        _outputs(samples, picks[b], w, y[b])
        for g in range(w.shape[0]):
            registers[0, g] = y[b, g]
        _coefficients(rule, registers, coefficients)
        if batch > 1:
            _accumulate(samples, picks[b], coefficients, drive)
        else:
            _update(samples, picks[b], w, alive, eta, rule.is_linear, coefficients, square_norm)
    if batch > 1:
        for g in range(w.shape[0]):
            if alive[g]:
                d = drive[g]
                v = w[g]
                total = 0.0
                for i in range(v.shape[0]):
                    u = v[i] + eta / batch * (d[0, i] + v[i] * (d[1, i] + v[i] * d[2, i]))
                    v[i] = u
                    total += u * u
                square_norm[g] = total


@njit(**OPTIONS)
def _registers(rule, n_group):
    registers = np.empty((1 + rule.constants.shape[0] + rule.code.shape[0], n_group))
    for n in range(rule.constants.shape[0]):
        registers[1 + n] = rule.constants[n]
    return registers


@njit(**OPTIONS)
def simulate(rule, edges, first, last, inputs, weights, order, eta, n_steps, bound, every, record, blow_up):
    """Run the problems of groups `first` to `last` for `n_steps` steps, in place.

    Group k holds the problems ``edges[k]`` to ``edges[k + 1]``. ``record[p, c]`` receives the weights before
    step ``c * every``; ``blow_up[p]`` the number of steps after which the weights had left the ball of radius
    `bound`, or -1. A problem that blew up stops there with zero weights.
    """
    n_inputs = inputs.shape[2]
    n_rounds, batch = order.shape
    for group in range(first, last):
        low, high = edges[group], edges[group + 1]
        samples, w = inputs[low:high], weights[low:high]
        n_group = high - low
        registers = _registers(rule, n_group)
        coefficients = np.zeros((9, n_group))
        drive = np.empty((n_group, 3, n_inputs))
        y = np.empty((batch, n_group))
        alive = np.ones(n_group, np.bool_)
        square_norm = np.empty(n_group)
        blow_up[low:high] = -1
        for t in range(n_steps):
            if t % every == 0:
                record[low:high, t // every] = w
            picks = order[t % n_rounds]
            _step(rule, samples, picks, w, alive, eta, registers, coefficients, drive, y, square_norm)
            for g in range(n_group):
                if alive[g] and not square_norm[g] <= bound * bound:
                    blow_up[low + g] = t + 1
                    alive[g] = False
                    w[g] = 0.0


@njit(inline="always", **OPTIONS)
def _moments(samples, pick, w, adjoint, is_linear, moments):
    """``sum_n adjoint_n x_n**i w_n**k`` for each power q that a rule needs and each problem of a group."""
    for g in range(w.shape[0]):
        row = samples[g, pick]
        v = w[g]
        a = adjoint[g]
        if is_linear:
            m00 = m01 = m10 = 0.0
            for i in range(row.shape[0]):
                m00 += a[i]
                m01 += a[i] * v[i]
                m10 += a[i] * row[i]
            moments[0, g], moments[1, g], moments[3, g] = m00, m01, m10
            continue
        m00 = m01 = m02 = m10 = m11 = m12 = m20 = m21 = m22 = 0.0
        for i in range(row.shape[0]):
            x = row[i]
            xx = x * x
            a0 = a[i]
            a1 = a0 * v[i]
            a2 = a1 * v[i]
            m00 += a0
            m01 += a1
            m02 += a2
            m10 += a0 * x
            m11 += a1 * x
            m12 += a2 * x
            m20 += a0 * xx
            m21 += a1 * xx
            m22 += a2 * xx
        moments[0, g], moments[1, g], moments[2, g] = m00, m01, m02
        moments[3, g], moments[4, g], moments[5, g] = m10, m11, m12
        moments[6, g], moments[7, g], moments[8, g] = m20, m21, m22


@njit(inline="always", **OPTIONS)
def _pull_weights(samples, pick, w, coefficients, eta, is_linear, through_output, adjoint):
    """Replace the adjoint of the weights after an online step by that before it."""
    for g in range(w.shape[0]):
        row = samples[g, pick]
        v = w[g]
        a = adjoint[g]
        through = through_output[g]
        c01 = coefficients[1, g]
        if is_linear:
            for i in range(row.shape[0]):
                a[i] += eta * c01 * a[i] + through * row[i]
        else:
            c11, c21 = coefficients[4, g], coefficients[7, g]
            c02, c12, c22 = 2.0 * coefficients[2, g], 2.0 * coefficients[5, g], 2.0 * coefficients[8, g]
            for i in range(row.shape[0]):
                x = row[i]
                slope = c01 + v[i] * c02 + x * (c11 + v[i] * c12 + x * (c21 + v[i] * c22))
                a[i] += eta * slope * a[i] + through * x


@njit(**OPTIONS)
def _accumulate_pull(samples, pick, coefficients, through_output, drive):
    """Add one sample's share of what a batch step does to the adjoint; `drive` (n_group, 3, n_inputs)."""
    for g in range(drive.shape[0]):
        row = samples[g, pick]
        d0, d1, d2 = drive[g, 0], drive[g, 1], drive[g, 2]
        through = through_output[g]
        c01, c11, c21 = coefficients[1, g], coefficients[4, g], coefficients[7, g]
        c02, c12, c22 = 2.0 * coefficients[2, g], 2.0 * coefficients[5, g], 2.0 * coefficients[8, g]
        for i in range(row.shape[0]):
            x = row[i]
            d0[i] += c01 + x * (c11 + x * c21)
            d1[i] += c02 + x * (c12 + x * c22)
            d2[i] += through * x


@njit(**OPTIONS)
def _replay(rule, samples, order, eta, start, stop, path, y, alive, registers, coefficients, drive):
    """Run steps `start` to `stop` again from ``path[0]``, keeping weights and outputs of each."""
    n_rounds = order.shape[0]
    square_norm = np.empty(path.shape[1])
    for t in range(start, stop - 1):
        s = t - start
        picks = order[t % n_rounds]
        path[s + 1] = path[s]
        _step(
            rule, samples, picks, path[s + 1], alive, eta, registers, coefficients, drive, y[s], square_norm
        )
    s = stop - 1 - start
    picks = order[(stop - 1) % n_rounds]
    for b in range(picks.shape[0]):
        _outputs(samples, picks[b], path[s], y[s, b])


@njit(inline="always", **OPTIONS)
def _step_back(
    rule,
    samples,
    picks,
    w,
    y,
    eta,
    adjoint,
    gradient,
    registers,
    coefficients,
    drive,
    moments,
    adjoints,
    through,
):
    """Pull `adjoint` = dL/dw back through one step and add the step's share to `gradient`."""
    batch = picks.shape[0]
    if batch > 1:
        drive[:] = 0.0
    for b in range(batch):
        for g in range(w.shape[0]):
            registers[0, g] = y[b, g]
        _coefficients(rule, registers, coefficients)
        _moments(samples, picks[b], w, adjoint, rule.is_linear, moments)
        _pull_coefficients(rule, eta / batch, moments, registers, adjoints, gradient, through)
        if batch > 1:
            _accumulate_pull(samples, picks[b], coefficients, through, drive)
        else:
            _pull_weights(samples, picks[b], w, coefficients, eta, rule.is_linear, through, adjoint)
    if batch > 1:
        for g in range(w.shape[0]):
            d = drive[g]
            a = adjoint[g]
            v = w[g]
            for i in range(v.shape[0]):
                a[i] += eta / batch * (d[0, i] + v[i] * d[1, i]) * a[i] + d[2, i]


@njit(**OPTIONS)
def gradient(rule, edges, first, last, inputs, order, eta, n_steps, every, record, blow_up, adjoint, result):
    """Gradients of the losses of groups `first` to `last` with respect to the rule, by reverse mode.

    Takes ``record`` and ``blow_up`` from :func:`simulate`, and ``adjoint[p]`` = dL/dw at the end, which is
    replaced by dL/dw at the start. Segments of `every` steps are run again from their recorded start, last
    segment first, so that memory stays at one segment a thread. ``result (n_problems, n_parameters)`` is set
    to zero where the problem blew up; the parameters are the 27 entries of the table or the constants.
    """
    n_inputs = inputs.shape[2]
    n_rounds, batch = order.shape
    n_parameters = result.shape[1]
    for group in range(first, last):
        low, high = edges[group], edges[group + 1]
        samples, a = inputs[low:high], adjoint[low:high]
        n_group = high - low
        registers = _registers(rule, n_group)
        adjoints = np.empty_like(registers)
        coefficients = np.zeros((9, n_group))
        moments = np.empty((9, n_group))
        drive = np.empty((n_group, 3, n_inputs))
        through = np.empty(n_group)
        path = np.empty((every, n_group, n_inputs))
        y = np.empty((every, batch, n_group))
        total = np.zeros((n_parameters, n_group))
        alive = blow_up[low:high] < 0
        for segment in range((n_steps - 1) // every, -1, -1):
            start = segment * every
            stop = min(start + every, n_steps)
            path[0] = record[low:high, segment]
            for g in range(n_group):
                if not alive[g]:
                    path[0, g] = 0.0
            _replay(rule, samples, order, eta, start, stop, path, y, alive, registers, coefficients, drive)
            for t in range(stop - 1, start - 1, -1):
                _step_back(
                    rule, samples, order[t % n_rounds], path[t - start], y[t - start], eta, a, total,
                    registers, coefficients, drive, moments, adjoints, through,
                )  # fmt: skip
        for g in range(n_group):
            if not alive[g]:
                a[g] = 0.0
            for n in range(n_parameters):
                result[low + g, n] = total[n, g] if alive[g] else 0.0
