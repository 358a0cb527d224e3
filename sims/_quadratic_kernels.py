"""Rules that are quadratic in input and weight, inside the kernels of rate circuits.

Such a rule is ``sum_ik c_ik(y) x**i g_k(w)`` with i up to two and g(w) = 1, w and w**2: nine numbers for each
output y say all about an update. They come from the 27 coefficients of a polynomial rule, from a program over
what all synapses of a neuron share (y and the states that it keeps), which may hold any function, or from
splines. In the place of w**2 a rule may have another power; see :func:`of_weight`.

Everything is for one neuron, of a group of problems in lanes or of one problem alone; see
:mod:`sims._rate_kernels`. Terms are numbered ``q = 3 * i + k``; nine coefficients or moments travel as a
tuple in this order. Shapes, the lanes in brackets: ``inputs, w, adjoint (n_synapses[, LANES])``; rows ``drive
(N_DRIVE, n_synapses[, LANES])``.
"""

from typing import NamedTuple

import numpy as np

from sims._collapse import SQUARE_POWER
from sims._compiled import helper
from sims._lanes import absolute, lane, load, n_lanes, store, where_at_least, with_lane, zero_of
from sims._operations import (
    ADD,
    DIV,
    EXP,
    MUL,
    NEG,
    SQUARE,
    SUB,
    TANH,
    exponential,
    second_operand,
    slopes_of,
    tangent,
    value_of,
)
from sims._rate_layout import OF_POWER, OF_WEIGHT, POWERS, SLOPES


class QuadraticRule(NamedTuple):
    """A rule as these kernels take it.

    `table` (3, 9) holds the coefficients of a polynomial rule, indexed by the power of the output and by q.
    Where `is_program` is true, a program over the output replaces it: its registers are the output,
    `constants` (among them states of the neuron), then one for each row of `code`; register ``outputs[q]`` is
    the coefficient of term q, and -1 stands for zero. `is_linear` promises that the coefficients of the
    squares of input and weight and of their product vanish; unless `needs_all_moments`, nobody asks for the
    gradient of these either. `power` says what stands in the place of ``w**2``.
    """

    is_program: bool
    is_linear: bool
    needs_all_moments: bool
    table: np.ndarray
    constants: np.ndarray
    code: np.ndarray
    outputs: np.ndarray
    power: int


# ------------------------------------------------------------------------------------ rules, once a neuron


@helper(forceinline=True)
def run_code(code, first, registers):
    """Run instructions that write to the registers from `first` on; `registers` is (n_registers[, LANES])."""
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
        elif op == TANH:
            out = tangent(a)
        elif op == EXP:
            out = exponential(a)
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
def quadratic_coefficients(rule, y, registers):
    if rule.is_program:
        store(registers, (0,), y)
        run_code(rule.code, registers.shape[0] - rule.code.shape[0], registers)
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
def add_to(array, indices, value):
    store(array, indices, load(array, indices) + value)


@helper(forceinline=True)
def _pull_power(table, q, moment, y, gradient):
    """Add one power's share to the gradient of a table; return its share of dL/dy."""
    through = moment * y
    add_to(gradient, (q,), moment)
    add_to(gradient, (9 + q,), through)
    add_to(gradient, (18 + q,), through * y)
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
def pull_code(code, first, registers, adjoints):
    """Pull the adjoints of a program's registers back from its results to what it read."""
    zero = zero_of(load(registers, (0,)))
    for n in range(code.shape[0] - 1, -1, -1):
        op, i = code[n, 0], code[n, 1]
        j = second_operand(op, i, code[n, 2])
        through = load(adjoints, (first + n,))
        a, b = load(registers, (i,)), load(registers, (j,))
        if op == MUL:
            add_to(adjoints, (i,), through * b)
            add_to(adjoints, (j,), through * a)
        elif op == ADD:
            add_to(adjoints, (i,), through)
            add_to(adjoints, (j,), through)
        elif op == SUB:
            add_to(adjoints, (i,), through)
            add_to(adjoints, (j,), -through)
        elif op == SQUARE:
            add_to(adjoints, (i,), 2.0 * a * through)
        else:
            out = load(registers, (first + n,))
            to_a, to_b = zero, zero
            for g in range(n_lanes(zero)):
                slopes = slopes_of(op, lane(out, g), lane(a, g), lane(b, g), code[n, 2])
                to_a = with_lane(to_a, g, slopes[0] * lane(through, g))
                to_b = with_lane(to_b, g, slopes[1] * lane(through, g))
            add_to(adjoints, (i,), to_a)
            add_to(adjoints, (j,), to_b)


# A table of 81 coefficients over a state, too, lies in registers from `first` on, 27 for each power of the
# state, and behind them are the 27 that are left for the state that a neuron has.


@helper(forceinline=True)
def contract_table(t, first, registers):
    """Contract a table over a state of the neuron."""
    for n in range(first, first + 27):
        value = load(registers, (n + 27,)) + t * load(registers, (n + 54,))
        store(registers, (n + 81,), load(registers, (n,)) + t * value)


@helper(forceinline=True)
def _of_contracted(registers, r, y):
    return load(registers, (r,)) + y * (load(registers, (r + 9,)) + y * load(registers, (r + 18,)))


@helper(forceinline=True)
def contracted_coefficients(is_linear, y, first, registers):
    """The coefficients of a contracted table for an output."""
    r, zero = first + 81, zero_of(y)
    if is_linear:
        return (
            _of_contracted(registers, r, y), _of_contracted(registers, r + 1, y), zero,
            _of_contracted(registers, r + 3, y), zero, zero, zero, zero, zero,
        )  # fmt: skip
    return (
        _of_contracted(registers, r, y), _of_contracted(registers, r + 1, y),
        _of_contracted(registers, r + 2, y), _of_contracted(registers, r + 3, y),
        _of_contracted(registers, r + 4, y), _of_contracted(registers, r + 5, y),
        _of_contracted(registers, r + 6, y), _of_contracted(registers, r + 7, y),
        _of_contracted(registers, r + 8, y),
    )  # fmt: skip


@helper(forceinline=True)
def _pull_contracted_power(r, moment, y, registers, adjoints):
    through = moment * y
    add_to(adjoints, (r,), moment)
    add_to(adjoints, (r + 9,), through)
    add_to(adjoints, (r + 18,), through * y)
    return moment * (load(registers, (r + 9,)) + 2.0 * y * load(registers, (r + 18,)))


@helper(forceinline=True)
def pull_contracted(step, m, y, first, registers, adjoints):
    """Add one sample's share to the adjoints of a contracted table; return dL/dy."""
    r = first + 81
    through = _pull_contracted_power(r, step * m[0], y, registers, adjoints)
    through = through + _pull_contracted_power(r + 1, step * m[1], y, registers, adjoints)
    through = through + _pull_contracted_power(r + 2, step * m[2], y, registers, adjoints)
    through = through + _pull_contracted_power(r + 3, step * m[3], y, registers, adjoints)
    through = through + _pull_contracted_power(r + 4, step * m[4], y, registers, adjoints)
    through = through + _pull_contracted_power(r + 5, step * m[5], y, registers, adjoints)
    through = through + _pull_contracted_power(r + 6, step * m[6], y, registers, adjoints)
    through = through + _pull_contracted_power(r + 7, step * m[7], y, registers, adjoints)
    return through + _pull_contracted_power(r + 8, step * m[8], y, registers, adjoints)


@helper(forceinline=True)
def pull_contraction(t, first, registers, adjoints, gradient):
    """Pull the adjoints of a contracted table to all its coefficients, and to the state before them."""
    total = zero_of(t)
    for n in range(27):
        a = load(adjoints, (first + 81 + n,))
        add_to(gradient, (1 + n,), a)
        add_to(gradient, (28 + n,), t * a)
        add_to(gradient, (55 + n,), t * t * a)
        r = first + 27 + n
        total = total + a * (load(registers, (r,)) + 2.0 * t * load(registers, (r + 27,)))
    add_to(gradient, (0,), total)


@helper(forceinline=True)
def _seed(adjoints, r, value):
    if r >= 0:
        add_to(adjoints, (r,), value)


@helper(forceinline=True)
def _pull_program(rule, step, m, registers, adjoints, gradient):
    """Add one sample's gradient of a program; `registers` are as :func:`quadratic_coefficients` left them."""
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
    pull_code(code, first, registers, adjoints)
    for n in range(gradient.shape[0]):
        add_to(gradient, (n,), load(adjoints, (1 + n,)))
    return load(adjoints, (0,))


@helper(forceinline=True)
def pull_quadratic(rule, step, m, y, registers, adjoints, gradient):
    """Add one sample's gradient of a rule; return dL/dy through the coefficients."""
    if rule.is_program:
        return _pull_program(rule, step, m, registers, adjoints, gradient)
    return _pull_table(rule, step, m, y, gradient)


# ---------------------------------------------------------------------------------------------- synapses


@helper(forceinline=True)
def output_of(inputs, w):
    total = zero_of(load(w, (0,)))
    for i in range(w.shape[0]):
        total += load(inputs, (i,)) * load(w, (i,))
    return total


@helper(forceinline=True)
def outputs_of_two(inputs, others, w):
    """Outputs for two samples: weights are fetched once."""
    total = zero_of(load(w, (0,)))
    other = total
    for i in range(w.shape[0]):
        u = load(w, (i,))
        total = total + load(inputs, (i,)) * u
        other = other + load(others, (i,)) * u
    return total, other


@helper(forceinline=True)
def outputs_of_four(inputs, others, w, v):
    """Outputs of two neurons for two samples: w with either sample, then v."""
    zero = zero_of(load(w, (0,)))
    a, b, c, d = zero, zero, zero, zero
    for i in range(w.shape[0]):
        x, z, u, s = load(inputs, (i,)), load(others, (i,)), load(w, (i,)), load(v, (i,))
        a, b = a + x * u, b + z * u
        c, d = c + x * s, d + z * s
    return a, b, c, d


@helper(forceinline=True)
def of_weight(power, u):
    """Return a power of the weight, see :mod:`sims._collapse`."""
    value = absolute(u) if power < 0 else u
    for _ in range(abs(power) - 1):
        value = value * u
    return value


@helper(forceinline=True)
def _slope_of_weight(power, u):
    """Return the derivative of :func:`of_weight`, which is 0 at 0."""
    if power == -1:
        zero = zero_of(u)
        return where_at_least(0.0, u, where_at_least(u, 0.0, zero, zero - 1.0), zero + 1.0)
    value = absolute(u) if power < 0 else u
    for _ in range(abs(power) - 2):
        value = value * u
    return abs(power) * value


@helper(forceinline=True)
def raise_weights(power, w, drive):
    """Set two rows of a drive to what stands in the place of the squares of the weights."""
    if power == SQUARE_POWER:
        for i in range(w.shape[0]):
            u = load(w, (i,))
            store(drive, (POWERS, i), u * u)
            store(drive, (SLOPES, i), u + u)
    else:
        for i in range(w.shape[0]):
            u = load(w, (i,))
            store(drive, (POWERS, i), of_weight(power, u))
            store(drive, (SLOPES, i), _slope_of_weight(power, u))


@helper(forceinline=True)
def update(inputs, w, eta, is_linear, c):
    """Change the weights by one sample of a rule that has their squares; return the square of their norm."""
    c00, c01, c02, c10, c11, c12, c20, c21, c22 = c
    total = zero_of(c00)
    if is_linear:
        c00, c01, c10 = eta * c00, eta * c01, eta * c10
        for i in range(w.shape[0]):
            u = load(w, (i,))
            u += c00 + c01 * u + c10 * load(inputs, (i,))
            store(w, (i,), u)
            total += u * u
    else:
        for i in range(w.shape[0]):
            u, x = load(w, (i,)), load(inputs, (i,))
            constant = c00 + u * (c01 + u * c02)
            linear = c10 + u * (c11 + u * c12)
            square = c20 + u * (c21 + u * c22)
            u += eta * (constant + x * (linear + x * square))
            store(w, (i,), u)
            total += u * u
    return total


@helper(forceinline=True)
def accumulate(inputs, c, drive):
    """Add one sample's share of a batch update to ``drive[k]``."""
    c00, c01, c02, c10, c11, c12, c20, c21, c22 = c
    for i in range(inputs.shape[0]):
        x = load(inputs, (i,))
        add_to(drive, (0, i), c00 + x * (c10 + x * c20))
        add_to(drive, (1, i), c01 + x * (c11 + x * c21))
        add_to(drive, (2, i), c02 + x * (c12 + x * c22))


@helper(forceinline=True)
def accumulate_two(inputs, others, c, d, drive):
    """Add the shares of two samples: what is collected is fetched and written half as often."""
    c00, c01, c02, c10, c11, c12, c20, c21, c22 = c
    d00, d01, d02, d10, d11, d12, d20, d21, d22 = d
    e0, e1, e2 = c00 + d00, c01 + d01, c02 + d02
    for i in range(inputs.shape[0]):
        x, z = load(inputs, (i,)), load(others, (i,))
        add_to(drive, (0, i), e0 + x * (c10 + x * c20) + z * (d10 + z * d20))
        add_to(drive, (1, i), e1 + x * (c11 + x * c21) + z * (d11 + z * d21))
        add_to(drive, (2, i), e2 + x * (c12 + x * c22) + z * (d12 + z * d22))


@helper(forceinline=True)
def add_multiple(inputs, factor, row, drive):
    """Add a multiple of a sample's inputs to a row of a drive."""
    for i in range(inputs.shape[0]):
        add_to(drive, (row, i), factor * load(inputs, (i,)))


@helper(forceinline=True)
def add_multiples(inputs, others, factor, other_factor, drive):
    """Add multiples of the inputs of two samples to ``drive[0]``."""
    for i in range(inputs.shape[0]):
        add_to(drive, (0, i), factor * load(inputs, (i,)) + other_factor * load(others, (i,)))


@helper(forceinline=True)
def add_to_all(value, row, n, drive):
    """Add a number to a row of a drive for n synapses."""
    for i in range(n):
        add_to(drive, (row, i), value)


@helper(forceinline=True)
def apply(drive, w, step, power):
    """Change the weights by what a batch has accumulated; return the square of their norm."""
    total = zero_of(load(w, (0,)))
    if power == SQUARE_POWER:
        for i in range(w.shape[0]):
            u = load(w, (i,))
            u += step * (load(drive, (0, i)) + u * (load(drive, (1, i)) + u * load(drive, (2, i))))
            store(w, (i,), u)
            total += u * u
    else:
        for i in range(w.shape[0]):
            u = load(w, (i,))
            change = load(drive, (0, i)) + u * load(drive, (1, i))
            u += step * (change + of_weight(power, u) * load(drive, (2, i)))
            store(w, (i,), u)
            total += u * u
    return total


@helper(forceinline=True)
def apply_linear(drive, w, step, constant, slope):
    """The same for a rule that is linear in input and weight: ``drive[0]``, a constant and a slope."""
    total = zero_of(load(w, (0,)))
    keep, constant = 1.0 + step * slope, step * constant
    for i in range(w.shape[0]):
        u = constant + step * load(drive, (0, i)) + keep * load(w, (i,))
        store(w, (i,), u)
        total += u * u
    return total


@helper(forceinline=True)
def prepare_moments(w, adjoint, drive, needs_all):
    """``sum_n adjoint_n g_k(w_n)`` for each k: what is the same for all samples of a step.

    Where a rule needs all moments the products ``adjoint_n g_k(w_n)`` are left in the drive.
    """
    # No ``+=``: without the compiler a register of lanes is an array, which that would change in place, and
    # all these sums begin as the same one.
    zero = zero_of(load(w, (0,)))
    m0, m1, m2 = zero, zero, zero
    for i in range(w.shape[0]):
        a0 = load(adjoint, (i,))
        a1 = a0 * load(w, (i,))
        m0 = m0 + a0
        m1 = m1 + a1
        if needs_all:
            a2 = a0 * load(drive, (POWERS, i))
            m2 = m2 + a2
            store(drive, (OF_WEIGHT, i), a1)
            store(drive, (OF_POWER, i), a2)
    return m0, m1, m2


@helper(forceinline=True)
def moments(inputs, adjoint, drive, needs_all, m):
    """``sum_n adjoint_n x_n**i g_k(w_n)`` for each term that a rule needs, those for i = 0 given."""
    zero = zero_of(m[0])
    m10, m11, m12, m20, m21, m22 = zero, zero, zero, zero, zero, zero
    if needs_all:
        for i in range(inputs.shape[0]):
            x, a0 = load(inputs, (i,)), load(adjoint, (i,))
            a1, a2 = load(drive, (OF_WEIGHT, i)), load(drive, (OF_POWER, i))
            xx = x * x
            m10 = m10 + a0 * x
            m11 = m11 + a1 * x
            m12 = m12 + a2 * x
            m20 = m20 + a0 * xx
            m21 = m21 + a1 * xx
            m22 = m22 + a2 * xx
    else:
        for i in range(inputs.shape[0]):
            m10 = m10 + load(adjoint, (i,)) * load(inputs, (i,))
    return m[0], m[1], m[2], m10, m11, m12, m20, m21, m22


@helper(forceinline=True)
def output_and_moments(inputs, w, adjoint, needs_all):
    """Output and moments of the only sample of a step, in one loop; the rule has squares of weights."""
    zero = zero_of(load(w, (0,)))
    y, m00, m01, m02, m10, m11, m12 = zero, zero, zero, zero, zero, zero, zero
    m20, m21, m22 = zero, zero, zero
    if needs_all:
        for i in range(w.shape[0]):
            x, u, a0 = load(inputs, (i,)), load(w, (i,)), load(adjoint, (i,))
            a1, b0 = a0 * u, a0 * x
            a2, b1 = a1 * u, a1 * x
            b2 = a2 * x
            y = y + x * u
            m00, m01, m02 = m00 + a0, m01 + a1, m02 + a2
            m10, m11, m12 = m10 + b0, m11 + b1, m12 + b2
            m20, m21, m22 = m20 + b0 * x, m21 + b1 * x, m22 + b2 * x
    else:
        for i in range(w.shape[0]):
            x, u, a0 = load(inputs, (i,)), load(w, (i,)), load(adjoint, (i,))
            y = y + x * u
            m00, m01, m10 = m00 + a0, m01 + a0 * u, m10 + a0 * x
    return y, (m00, m01, m02, m10, m11, m12, m20, m21, m22)


@helper(forceinline=True)
def pull_weights(inputs, w, eta, is_linear, c, through, adjoint):
    """Replace the adjoint of the weights after one sample by that before it; see :func:`update`."""
    if is_linear:
        keep = 1.0 + eta * c[1]
        for i in range(w.shape[0]):
            store(adjoint, (i,), keep * load(adjoint, (i,)) + through * load(inputs, (i,)))
    else:
        c01, c11, c21 = c[1], c[4], c[7]
        c02, c12, c22 = 2.0 * c[2], 2.0 * c[5], 2.0 * c[8]
        for i in range(w.shape[0]):
            u, x, a = load(w, (i,)), load(inputs, (i,)), load(adjoint, (i,))
            slope = c01 + u * c02 + x * (c11 + u * c12 + x * (c21 + u * c22))
            store(adjoint, (i,), a + eta * slope * a + through * x)


@helper(forceinline=True)
def accumulate_pull(inputs, c, through, drive):
    """Add one sample's share of what a batch step does to the adjoint to `drive`."""
    c01, c11, c21 = c[1], c[4], c[7]
    c02, c12, c22 = c[2], c[5], c[8]
    for i in range(inputs.shape[0]):
        x = load(inputs, (i,))
        add_to(drive, (0, i), c01 + x * (c11 + x * c21))
        add_to(drive, (1, i), c02 + x * (c12 + x * c22))
        add_to(drive, (2, i), through * x)


@helper(forceinline=True)
def accumulate_slopes(inputs, c, drive):
    """Add one sample's derivatives of an update by the weight to `drive`, those of w and of its power."""
    c01, c11, c21 = c[1], c[4], c[7]
    c02, c12, c22 = c[2], c[5], c[8]
    for i in range(inputs.shape[0]):
        x = load(inputs, (i,))
        add_to(drive, (0, i), c01 + x * (c11 + x * c21))
        add_to(drive, (1, i), c02 + x * (c12 + x * c22))


@helper(forceinline=True)
def pull_inputs(inputs, w, adjoint, drive, step, c, pulls):
    """Add to `pulls` what reaches each input through the update of its weight."""
    for i in range(inputs.shape[0]):
        u, power = load(w, (i,)), load(drive, (POWERS, i))
        square = c[6] + u * c[7] + power * c[8]
        slope = c[3] + u * c[4] + power * c[5] + 2.0 * load(inputs, (i,)) * square
        add_to(pulls, (i,), step * load(adjoint, (i,)) * slope)


@helper(forceinline=True)
def apply_pull(drive, step, is_linear, adjoint):
    """Replace the adjoint of the weights after a batch step by that before it."""
    for i in range(adjoint.shape[0]):
        a = load(adjoint, (i,))
        slope = load(drive, (0, i))
        if not is_linear:
            slope = slope + load(drive, (SLOPES, i)) * load(drive, (1, i))
        store(adjoint, (i,), a + step * slope * a + load(drive, (2, i)))
