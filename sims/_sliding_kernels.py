"""Kernels of a linear neuron with a sliding threshold: the rule sees x, y, w and the threshold.

A step shows a batch: outputs ``y`` at the weights as they are, then ``w += eta * mean f(x, y, w, theta)``
and ``theta += (mean y**2 - theta) / tau``, both from the values before the step. Problems run one after the
other, without lanes: this neuron serves tasks with few inputs, and the fast kernels of the plain one stay as
they are.

A rule is a table of coefficients by powers of (x, y, w, theta), or a program whose variables are these, in
this order.
"""

from typing import NamedTuple

import numpy as np

from sims._compiled import helper, kernel
from sims._operations import second_operand, slopes_of, value_of

N_VARIABLES = 4
X, Y, W, THETA = 0, 1, 2, 3


class SlidingRule(NamedTuple):
    """A rule as these kernels take it: a program where there is code, else a table."""

    is_program: bool
    table: np.ndarray  # (3, 3, 3, 3), by powers of x, y, w, theta
    constants: np.ndarray  # (n_constants,)
    code: np.ndarray  # (n_instructions, 3)
    output: int


class Course(NamedTuple):
    """What is shown when, and how fast weights and threshold follow."""

    order: np.ndarray  # (n_rounds, batch)
    n_steps: int
    learning_rate: float
    time_constant: float
    bound: float


@helper
def _forward(rule, registers):
    """Run a program; its variables are in the first registers, its constants behind them."""
    n_leaves = N_VARIABLES + len(rule.constants)
    for n in range(len(rule.code)):
        op, left, right = rule.code[n, 0], rule.code[n, 1], rule.code[n, 2]
        b = registers[second_operand(op, left, right)]
        registers[n_leaves + n] = value_of(op, registers[left], b, right)
    return registers[rule.output]


@helper
def _backward(rule, registers, adjoints, weight):
    """Derivatives of ``weight * output`` with respect to all registers, after :func:`_forward`."""
    n_leaves = N_VARIABLES + len(rule.constants)
    adjoints[:] = 0.0
    adjoints[rule.output] = weight
    for n in range(len(rule.code) - 1, -1, -1):
        adjoint = adjoints[n_leaves + n]
        if adjoint == 0.0:
            continue
        op, left, right = rule.code[n, 0], rule.code[n, 1], rule.code[n, 2]
        second = second_operand(op, left, right)
        a, b, out = registers[left], registers[second], registers[n_leaves + n]
        by_first, by_second = slopes_of(op, out, a, b, right)
        adjoints[left] += adjoint * by_first
        adjoints[second] += adjoint * by_second


@helper
def _contract(table, y, theta, by_value, by_output, by_threshold):
    """Sum a table over the powers of y and theta: values, and derivatives by y and by theta; each (3, 3)."""
    ys = (1.0, y, y * y)
    thetas = (1.0, theta, theta * theta)
    y_slopes = (0.0, 1.0, 2.0 * y)
    theta_slopes = (0.0, 1.0, 2.0 * theta)
    for i in range(3):
        for k in range(3):
            value = output = threshold = 0.0
            for j in range(3):
                for m in range(3):
                    a = table[i, j, k, m]
                    value += a * ys[j] * thetas[m]
                    output += a * y_slopes[j] * thetas[m]
                    threshold += a * ys[j] * theta_slopes[m]
            by_value[i, k], by_output[i, k], by_threshold[i, k] = value, output, threshold


@helper
def _step(rule, x, w, theta, course, row, change, registers, parts):
    """Add a step's mean update to `change` (zero before), and return the mean of y**2."""
    batch = course.order.shape[1]
    power = 0.0
    for s in range(batch):
        sample = x[course.order[row, s]]
        y = 0.0
        for i in range(len(w)):
            y += sample[i] * w[i]
        power += y * y
        if rule.is_program:
            for i in range(len(w)):
                registers[X], registers[Y], registers[W], registers[THETA] = sample[i], y, w[i], theta
                change[i] += _forward(rule, registers)
        else:
            _contract(rule.table, y, theta, parts[0], parts[1], parts[2])
            b = parts[0]
            for i in range(len(w)):
                u, v = sample[i], w[i]
                change[i] += (
                    b[0, 0] + v * (b[0, 1] + v * b[0, 2])
                    + u * (b[1, 0] + v * (b[1, 1] + v * b[1, 2]))
                    + u * u * (b[2, 0] + v * (b[2, 1] + v * b[2, 2]))
                )  # fmt: skip
    return power / batch


@helper
def _advance(rule, x, w, theta, course, t, change, registers, parts):
    """Take step `t`: weights change in place; returns the threshold behind it, and whether all is sound."""
    change[:] = 0.0
    row = t % len(course.order)
    power = _step(rule, x, w, theta, course, row, change, registers, parts)
    norm = 0.0
    for i in range(len(w)):
        w[i] += course.learning_rate / course.order.shape[1] * change[i]
        norm += w[i] * w[i]
    theta += (power - theta) / course.time_constant
    return theta, norm <= course.bound * course.bound and np.isfinite(theta)


@helper
def _memory(rule):
    size = N_VARIABLES + len(rule.constants) + len(rule.code)
    registers = np.zeros(size)
    registers[N_VARIABLES : N_VARIABLES + len(rule.constants)] = rule.constants
    return registers, np.zeros((3, 3, 3))


@kernel
def simulate(rule, first, last, inputs, weights, thresholds, course, every, record, levels, blow_up):
    """Run problems `first` to `last`: weights and thresholds change in place, records are before steps."""
    registers, parts = _memory(rule)
    change = np.zeros(weights.shape[1])
    for p in range(first, last):
        w, theta = weights[p], thresholds[p]
        blow_up[p] = -1
        for t in range(course.n_steps):
            if t % every == 0:
                record[p, t // every], levels[p, t // every] = w, theta
            theta, is_sound = _advance(rule, inputs[p], w, theta, course, t, change, registers, parts)
            if not is_sound:
                blow_up[p] = t + 1
                w[:] = 0.0
                theta = 0.0
                record[p, t // every + 1 :], levels[p, t // every + 1 :] = 0.0, 0.0
                break
        thresholds[p] = theta


@kernel
def gradient(rule, first, last, inputs, weights, thresholds, course, blow_up, adjoints, result):
    """Gradients of problems `first` to `last` into `result`; `adjoints` go from the end to the start.

    `weights` and `thresholds` are those of the start. The way there is run again and kept, one problem at a
    time.
    """
    registers, parts = _memory(rule)
    slopes = np.zeros(len(registers))
    n_inputs, n_constants = weights.shape[1], len(rule.constants)
    change = np.zeros(n_inputs)
    path, levels = np.zeros((course.n_steps, n_inputs)), np.zeros(course.n_steps)
    batch = course.order.shape[1]
    rate = course.learning_rate / batch
    sums, total = np.zeros((3, 3)), np.zeros((3, 3, 3, 3))
    for p in range(first, last):
        if blow_up[p] >= 0:
            adjoints[p] = 0.0
            result[p] = 0.0
            continue
        w, theta = weights[p].copy(), thresholds[p]
        for t in range(course.n_steps):
            path[t], levels[t] = w, theta
            theta, _ = _advance(rule, inputs[p], w, theta, course, t, change, registers, parts)
        a, b = adjoints[p], 0.0
        total[:] = 0.0
        result[p] = 0.0
        for t in range(course.n_steps - 1, -1, -1):
            w, theta = path[t], levels[t]
            change[:] = 0.0
            next_b = b * (1.0 - 1.0 / course.time_constant)
            for s in range(batch):
                sample = inputs[p, course.order[t % len(course.order), s]]
                y = 0.0
                for i in range(n_inputs):
                    y += sample[i] * w[i]
                by_y = 2.0 * b * y / (course.time_constant * batch)
                if rule.is_program:
                    for i in range(n_inputs):
                        registers[X], registers[Y], registers[W], registers[THETA] = sample[i], y, w[i], theta
                        _forward(rule, registers)
                        _backward(rule, registers, slopes, rate * a[i])
                        change[i] += slopes[W]
                        by_y += slopes[Y]
                        next_b += slopes[THETA]
                        for n in range(n_constants):
                            result[p, n] += slopes[N_VARIABLES + n]
                else:
                    _contract(rule.table, y, theta, parts[0], parts[1], parts[2])
                    c = parts[0]
                    sums[:] = 0.0
                    for i in range(n_inputs):
                        u, v, g = sample[i], w[i], rate * a[i]
                        for m in range(3):
                            sums[m, 0] += g
                            sums[m, 1] += g * v
                            sums[m, 2] += g * v * v
                            change[i] += g * (c[m, 1] + 2.0 * v * c[m, 2])
                            g *= u
                    ys, thetas = (1.0, y, y * y), (1.0, theta, theta * theta)
                    for m in range(3):
                        for k in range(3):
                            by_y += parts[1, m, k] * sums[m, k]
                            next_b += parts[2, m, k] * sums[m, k]
                            for j in range(3):
                                for q in range(3):
                                    total[m, j, k, q] += sums[m, k] * ys[j] * thetas[q]
                for i in range(n_inputs):
                    change[i] += by_y * sample[i]
            for i in range(n_inputs):
                a[i] += change[i]
            b = next_b
        if not rule.is_program:
            result[p] = total.reshape(81)
