"""Choices among options, trial by trial, under any rule, and the way back through all trials.

In each trial options are chosen with probabilities ``y = softmax(sharpness * w)``: the first option whose
cumulated probability exceeds the trial's uniform number, or the one that is given. The reward R of the trial
is that of the option chosen. Then every weight changes by ``rate * f(x, y, w, R, m)``, where x is one for the
option chosen and zero for others, and the mean reward m by ``(R - m) / tau``, both from what they were before
the trial. The regret of a trial is what the best option gives in the mean less what the probabilities
promise.

Registers of a program are x, y, w, R, m, its constants, and one for each instruction.
"""

import math

import numpy as np

from sims._compiled import helper, kernel
from sims._operations import POWI, second_operand, slopes_of, value_of

X, Y, W, R, M, N_VARIABLES = 0, 1, 2, 3, 4, 5


@helper
def _softmax(weights, sharpness, y):
    highest = weights[0]
    for i in range(1, weights.shape[0]):
        highest = max(highest, weights[i])
    total = 0.0
    for i in range(weights.shape[0]):
        y[i] = math.exp(sharpness * (weights[i] - highest))
        total += y[i]
    for i in range(weights.shape[0]):
        y[i] /= total


@helper
def _drawn(y, uniform):
    cumulated = 0.0
    for i in range(y.shape[0] - 1):
        cumulated += y[i]
        if uniform < cumulated:
            return i
    return y.shape[0] - 1


@helper
def _evaluate(code, first, registers):
    for k in range(code.shape[0]):
        op, a, b = code[k, 0], code[k, 1], code[k, 2]
        registers[first + k] = value_of(op, registers[a], registers[second_operand(op, a, b)], b)


@helper
def _pull(code, first, registers, adjoints):
    """Derivatives by all registers from that by the output, which stands in its place."""
    for k in range(code.shape[0] - 1, -1, -1):
        slope = adjoints[first + k]
        if slope != 0.0:
            op, a, b = code[k, 0], code[k, 1], code[k, 2]
            second = second_operand(op, a, b)
            by_a, by_b = slopes_of(op, registers[first + k], registers[a], registers[second], b)
            adjoints[a] += slope * by_a
            if op < POWI or second != a:
                adjoints[second] += slope * by_b


@kernel
def simulate(
    code, constants, output, rewards, values, uniforms, rate, sharpness, tau, bound, choices, weights, means,
    regrets, blow_up,
):  # fmt: skip
    """Run all problems; weights and means hold the start in their first row, choices -1 where to draw."""
    n_problems, n_trials, n_options = rewards.shape
    first = N_VARIABLES + constants.shape[0]
    registers = np.empty(first + code.shape[0])
    registers[N_VARIABLES:first] = constants
    y = np.empty(n_options)
    for p in range(n_problems):
        blow_up[p] = -1
        for t in range(n_trials):
            _softmax(weights[p, t], sharpness, y)
            chosen = choices[p, t] if choices[p, t] >= 0 else _drawn(y, uniforms[p, t])
            choices[p, t] = chosen
            best, promised = values[p, t, 0], 0.0
            for i in range(n_options):
                best = max(best, values[p, t, i])
                promised += y[i] * values[p, t, i]
            regrets[p, t] = best - promised
            registers[R], registers[M] = rewards[p, t, chosen], means[p, t]
            largest = 0.0
            for i in range(n_options):
                registers[X] = 1.0 if i == chosen else 0.0
                registers[Y], registers[W] = y[i], weights[p, t, i]
                _evaluate(code, first, registers)
                after = weights[p, t, i] + rate * registers[output]
                weights[p, t + 1, i] = after
                largest = max(largest, abs(after)) if after == after else math.inf
            means[p, t + 1] = means[p, t] + (registers[R] - means[p, t]) / tau
            if not largest <= bound:
                blow_up[p] = t + 1
                break


@kernel
def gradient(
    code, constants, output, rewards, values, rate, sharpness, tau, choices, weights, means, blow_up, slopes,
    credits, result,
):  # fmt: skip
    """Derivatives (n_problems, n_constants) of ``sum of slopes * regrets + sum of credits * log y[chosen]``.

    Choices stay as they were; both sums are over trials. Zero where a problem blew up.
    """
    n_problems, n_trials, n_options = rewards.shape
    first = N_VARIABLES + constants.shape[0]
    registers, adjoints = np.empty(first + code.shape[0]), np.empty(first + code.shape[0])
    registers[N_VARIABLES:first] = constants
    y, by_y, by_w = np.empty(n_options), np.empty(n_options), np.empty(n_options)
    for p in range(n_problems):
        result[p] = 0.0
        if blow_up[p] >= 0:
            continue
        by_w[:] = 0.0
        by_mean = 0.0
        for t in range(n_trials - 1, -1, -1):
            _softmax(weights[p, t], sharpness, y)
            chosen = choices[p, t]
            registers[R], registers[M] = rewards[p, t, chosen], means[p, t]
            by_mean *= 1.0 - 1.0 / tau
            for i in range(n_options):
                registers[X] = 1.0 if i == chosen else 0.0
                registers[Y], registers[W] = y[i], weights[p, t, i]
                _evaluate(code, first, registers)
                adjoints[:] = 0.0
                adjoints[output] = rate * by_w[i]
                _pull(code, first, registers, adjoints)
                for n in range(constants.shape[0]):
                    result[p, n] += adjoints[N_VARIABLES + n]
                by_y[i] = adjoints[Y] - slopes[p, t] * values[p, t, i]
                by_w[i] += adjoints[W]
                by_mean += adjoints[M]
            shared = 0.0
            for i in range(n_options):
                shared += by_y[i] * y[i]
            for i in range(n_options):
                of_choice = credits[p, t] * ((1.0 if i == chosen else 0.0) - y[i])
                by_w[i] += sharpness * (y[i] * (by_y[i] - shared) + of_choice)
