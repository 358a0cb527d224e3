"""Slow, obvious twins of the algorithms: what the tests compare the fast ones with."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from sims.rate import BLOW_UP_NORM, Schedule
from sims.rules import Op, PolynomialRule, Program, SplineRule


def program_registers(program: Program, values: Mapping[str, float]) -> list[float]:
    """Run a program on scalars, one register after the other, with IEEE rules for whatever goes wrong."""
    registers = [float(values[name]) for name in program.variables] + program.constants.tolist()
    for op, a, b in program.code.tolist():
        if op == Op.POWI:
            registers.append(power(registers[a], float(b)))
        elif op in UNARY:
            registers.append(UNARY[op](registers[a]))
        else:
            registers.append(BINARY[op](registers[a], registers[b]))
    return registers


def program_value(program: Program, values: Mapping[str, float]) -> float:
    """Result of a program on scalars."""
    return program_registers(program, values)[program.output]


def divide(a: float, b: float) -> float:
    if b != 0.0:
        return a / b
    if a == 0.0 or math.isnan(a):
        return math.nan
    return math.copysign(math.inf, a) * math.copysign(1.0, b)


def power(a: float, b: float) -> float:
    is_odd = math.isfinite(b) and b == int(b) and int(b) % 2 == 1
    if a == 0.0 and b < 0.0:
        return math.copysign(math.inf, a) if is_odd else math.inf
    try:
        return math.pow(a, b)
    except OverflowError:
        return -math.inf if a < 0.0 and is_odd else math.inf
    except ValueError:
        return math.nan


def exponential(a: float) -> float:
    try:
        return math.exp(a)
    except OverflowError:
        return math.inf


def logarithm(a: float) -> float:
    if a == 0.0:
        return -math.inf
    return math.log(a) if a > 0.0 else math.nan


def square_root(a: float) -> float:
    return math.sqrt(a) if a >= 0.0 else math.nan


def sign(a: float) -> float:
    if math.isnan(a):
        return math.nan
    return float(a > 0.0) - float(a < 0.0)


def larger(a: float, b: float) -> float:
    return math.nan if math.isnan(a) or math.isnan(b) else max(a, b)


def smaller(a: float, b: float) -> float:
    return math.nan if math.isnan(a) or math.isnan(b) else min(a, b)


UNARY = {
    Op.NEG: lambda a: -a,
    Op.SQUARE: lambda a: a * a,
    Op.TANH: math.tanh,
    Op.EXP: exponential,
    Op.LOG: logarithm,
    Op.SQRT: square_root,
    Op.ABS: abs,
    Op.SIGN: sign,
}
BINARY = {
    Op.ADD: lambda a, b: a + b,
    Op.SUB: lambda a, b: a - b,
    Op.MUL: lambda a, b: a * b,
    Op.DIV: divide,
    Op.POW: power,
    Op.MAX: larger,
    Op.MIN: smaller,
}


def b_spline(knots: Sequence[float], degree: int, n: int, y: float) -> float:
    """The n-th B-spline of a degree, by the recursion of de Boor and Cox; a knot belongs to its right."""
    if degree == 0:
        return 1.0 if knots[n] <= y < knots[n + 1] else 0.0
    left = (y - knots[n]) / (knots[n + degree] - knots[n]) * b_spline(knots, degree - 1, n, y)
    right = (knots[n + degree + 1] - y) / (knots[n + degree + 1] - knots[n + 1])
    return left + right * b_spline(knots, degree - 1, n + 1, y)


def spline_curve(rule: SplineRule, i: int, k: int, y: float) -> float:
    """What ``x**i w**k`` is multiplied with at an output."""
    coefficients = rule.coefficients[i, k]
    n_pieces = len(coefficients) - 3
    width = (rule.high - rule.low) / n_pieces
    knots = [rule.low + width * n for n in range(-3, n_pieces + 4)]
    inside = min(max(y, rule.low), rule.high - 1e-12 * width)
    return sum(float(c) * b_spline(knots, 3, n, inside) for n, c in enumerate(coefficients))


def rule_value(rule: PolynomialRule | SplineRule | Program, x: float, y: float, w: float) -> float:
    """Update of one synapse."""
    if isinstance(rule, Program):
        return program_value(rule, dict(zip(rule.variables, (x, y, w), strict=True)))
    if isinstance(rule, SplineRule):
        powers = [(i, k) for i in range(3) for k in range(3)]
        return sum(spline_curve(rule, i, k, y) * power(x, i) * power(w, k) for i, k in powers)
    return sum(
        float(rule.coefficients[i, j, k]) * power(x, i) * power(y, j) * power(w, k)
        for i in range(3)
        for j in range(3)
        for k in range(3)
    )


def rate_neuron(
    rule: PolynomialRule | SplineRule | Program,
    inputs: Sequence[Sequence[float]],
    weights: Sequence[float],
    schedule: Schedule,
) -> tuple[list[list[float]], int]:
    """One problem, one number at a time: the weights before each step and after the last, and the blow-up.

    A problem that blows up after step t stays at zero weights; t is returned, or -1.
    """
    w = [float(value) for value in weights]
    path = [w]
    for t in range(schedule.n_steps):
        picks = schedule.order[t % len(schedule.order)]
        change = [0.0] * len(w)
        for sample in picks:
            x = [float(value) for value in inputs[sample]]
            y = sum(x[i] * w[i] for i in range(len(w)))
            for i in range(len(w)):
                change[i] += rule_value(rule, x[i], y, w[i]) / len(picks)
        w = [w[i] + schedule.learning_rate * change[i] for i in range(len(w))]
        if not math.sqrt(sum(value * value for value in w)) <= BLOW_UP_NORM:
            zeros = [0.0] * len(w)
            return path + [zeros] * (schedule.n_steps - t), t + 1
        path.append(w)
    return path, -1


def rate_network(
    feedforward: PolynomialRule | Program,
    lateral: PolynomialRule | Program,
    inputs: Sequence[Sequence[float]],
    weights: Sequence[Sequence[float]],
    lateral_weights: Sequence[Sequence[float]],
    schedule: Schedule,
    lateral_rate: float,
) -> tuple[list[np.ndarray], list[np.ndarray], int]:
    """One problem of the two-layer network: both layers before each step and after the last, and the blow-up.

    ``weights[output][input]`` and ``lateral_weights[post][pre]``; after a blow-up all weights stay at zero.
    """
    n_outputs, n_inputs = np.shape(weights)
    w = np.array(weights, dtype=float)
    v = np.array(
        [[lateral_weights[k][j] if j < k else 0.0 for j in range(n_outputs)] for k in range(n_outputs)]
    )
    path, lateral_path = [w], [v]
    for t in range(schedule.n_steps):
        picks = schedule.order[t % len(schedule.order)]
        change, lateral_change = np.zeros_like(w), np.zeros_like(v)
        for sample in picks:
            x = [float(value) for value in inputs[sample]]
            y0 = [sum(float(w[k, i]) * x[i] for i in range(n_inputs)) for k in range(n_outputs)]
            y = [y0[k] + sum(float(v[k, j]) * y0[j] for j in range(k)) for k in range(n_outputs)]
            for k in range(n_outputs):
                for i in range(n_inputs):
                    change[k, i] += rule_value(feedforward, x[i], y[k], float(w[k, i])) / len(picks)
                for j in range(k):
                    lateral_change[k, j] += rule_value(lateral, y[j], y[k], float(v[k, j])) / len(picks)
        w = w + schedule.learning_rate * change
        v = v + lateral_rate * lateral_change
        if not math.hypot(*w.ravel(), *v.ravel()) <= BLOW_UP_NORM:
            rest = schedule.n_steps - t
            return path + [np.zeros_like(w)] * rest, lateral_path + [np.zeros_like(v)] * rest, t + 1
        path.append(w)
        lateral_path.append(v)
    return path, lateral_path, -1


def published_network(
    network: str, inputs: np.ndarray, weights: np.ndarray, schedule: Schedule
) -> tuple[list[np.ndarray], np.ndarray]:
    """One problem of a published network in matrices: answering weights of all steps, and lateral weights."""
    w = np.array(weights, dtype=float)
    one = np.eye(len(w))
    lateral = one.copy() if network == "similarity-matching" else np.zeros_like(one)

    def response() -> np.ndarray:
        settled = {"foldiak-linear": one - lateral, "similarity-matching": lateral}.get(network, one)
        return np.linalg.solve(settled, w)

    responses = [response()]
    for t in range(schedule.n_steps):
        x = inputs[schedule.order[t % len(schedule.order)]]
        y = x @ responses[-1].T
        c, s = y.T @ x / len(x), y.T @ y / len(x)
        own = np.diag(np.diag(s))
        dw, dv = {
            "sanger": (c - np.tril(s) @ w, 0 * s),
            "oja-subspace": (c - s @ w, 0 * s),
            "foldiak-linear": (c - own @ w, own - s),
            "similarity-matching": (2 * (c - w), 2 * (s - lateral)),
        }[network]
        w, lateral = w + schedule.learning_rate * dw, lateral + schedule.learning_rate * dv
        responses.append(response())
    return responses, lateral


def central_differences(
    function: Callable[[np.ndarray], float], point: np.ndarray, step: float = 1e-4
) -> np.ndarray:
    """Gradient of a function of many numbers: fourth-order differences, one number after the other."""
    gradient = np.empty(len(point))
    for n in range(len(point)):
        size = step * max(1.0, abs(point[n]))
        values = []
        for shift in (-2, -1, 1, 2):
            moved = np.array(point, dtype=float)
            moved[n] += shift * size
            values.append(function(moved))
        gradient[n] = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * size)
    return gradient


def sliding_neuron(
    rule: Program | np.ndarray,
    inputs: Sequence[Sequence[float]],
    weights: Sequence[float],
    threshold: float,
    schedule: Schedule,
    time_constant: float,
) -> tuple[list[list[float]], list[float]]:
    """One problem with a sliding threshold: weights and threshold before each step and after the last."""

    def value(x: float, y: float, w: float, theta: float) -> float:
        if isinstance(rule, Program):
            return program_value(rule, dict(zip(rule.variables, (x, y, w, theta), strict=True)))
        powers = np.ndindex(3, 3, 3, 3)
        return sum(rule[i, j, k, m] * x**i * y**j * w**k * theta**m for i, j, k, m in powers)

    w, course, thresholds = list(weights), [list(weights)], [threshold]
    for t in range(schedule.n_steps):
        samples = [inputs[s] for s in schedule.order[t % len(schedule.order)]]
        outputs = [sum(x * v for x, v in zip(sample, w, strict=True)) for sample in samples]
        changes = [
            sum(value(sample[i], y, w[i], threshold) for sample, y in zip(samples, outputs, strict=True))
            for i in range(len(w))
        ]
        w = [v + schedule.learning_rate * change / len(samples) for v, change in zip(w, changes, strict=True)]
        threshold += (sum(y * y for y in outputs) / len(samples) - threshold) / time_constant
        course.append(w)
        thresholds.append(threshold)
    return course, thresholds
