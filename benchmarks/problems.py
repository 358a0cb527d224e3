"""The work that is timed: the same problems, rule and loss for everyone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sims.rate import Schedule
from sims.rules import Op, PolynomialRule, Program

FloatArray = NDArray[np.float64]

N_PROBLEMS = 16
N_SAMPLES = 100
N_STEPS = 400
LEARNING_RATE = 0.05


@dataclass(frozen=True)
class Work:
    """Problems with variances 1/k along the axes, one sample a step, squared distance to targets."""

    inputs: FloatArray
    weights: FloatArray
    targets: FloatArray
    rule: PolynomialRule
    schedule: Schedule

    def loss(self, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return squared distances and their derivatives."""
        difference = weights - self.targets
        return np.sum(difference**2, axis=1), 2 * difference


def work(n_inputs: int, batch: int = 1, n_steps: int = N_STEPS) -> Work:
    """Draw the work for one number of inputs: Oja's rule with all other 25 terms small but not zero."""
    rng = np.random.default_rng(n_inputs)
    inputs = rng.normal(size=(N_PROBLEMS, N_SAMPLES, n_inputs)) / np.sqrt(np.arange(1, n_inputs + 1))
    targets = np.zeros((N_PROBLEMS, n_inputs))
    targets[:, 0] = 1.0
    table = 1e-3 * rng.normal(size=(3, 3, 3))
    table[1, 1, 0] += 1
    table[0, 2, 1] -= 1
    schedule = (
        Schedule.online(N_SAMPLES, n_steps, LEARNING_RATE)
        if batch == 1
        else Schedule.whole_sample(N_SAMPLES, n_steps // 10, LEARNING_RATE)
    )
    weights = 0.1 * rng.normal(size=(N_PROBLEMS, n_inputs)) / np.sqrt(max(1, n_inputs / 100))
    return Work(inputs, weights, targets, PolynomialRule(table), schedule)


@dataclass(frozen=True)
class NetworkWork:
    """Problems of the two-layer network: inputs, initial weights and lateral weights, and squared sizes."""

    arrays: tuple[FloatArray, FloatArray, FloatArray]
    schedule: Schedule

    def loss(self, weights: FloatArray, lateral: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return half the sum of all squared weights, and its derivatives."""
        losses = 0.5 * (np.sum(weights**2, axis=(1, 2)) + np.sum(lateral**2, axis=(1, 2)))
        return losses, weights, lateral


def network_work(n_inputs: int, n_outputs: int, batch: int) -> NetworkWork:
    """Draw problems for one size of the network."""
    rng = np.random.default_rng([n_inputs, n_outputs])
    inputs = rng.normal(size=(N_PROBLEMS, N_SAMPLES, n_inputs)) / np.sqrt(np.arange(1, n_inputs + 1))
    weights = 0.1 * rng.normal(size=(N_PROBLEMS, n_outputs, n_inputs))
    lateral = 0.1 * rng.normal(size=(N_PROBLEMS, n_outputs, n_outputs))
    schedule = Schedule(np.arange(N_SAMPLES).reshape(-1, batch), N_STEPS, LEARNING_RATE)
    return NetworkWork((inputs, weights, lateral), schedule)


def random_table(seed: int) -> PolynomialRule:
    """Return a polynomial rule of small random coefficients, under which nothing blows up."""
    return PolynomialRule(1e-3 * np.random.default_rng(seed).normal(size=(3, 3, 3)))


def interpreted_program() -> Program:
    """Return ``a*tanh(x*y) - b*w``, which no collapsed form helps with."""
    code = [(Op.MUL, 0, 1), (Op.TANH, 5, 0), (Op.MUL, 6, 3), (Op.MUL, 2, 4), (Op.SUB, 7, 8)]
    return Program.build(("x", "y", "w"), (False, True, False), [0.01, 0.01], code)


def oja_program() -> Program:
    """Oja's rule as a program with two constants: ``a*x*y - b*w*y**2``."""
    code = [(Op.MUL, 3, 0), (Op.MUL, 5, 1), (Op.MUL, 4, 2), (Op.SQUARE, 1, 0), (Op.MUL, 7, 8), (Op.SUB, 6, 9)]
    return Program.build(("x", "y", "w"), (False, True, False), [1.0, 1.0], code)


def square_root_program() -> Program:
    """Return ``a*x*y - b*w*y**2*sqrt(1 + abs(w))``, which no collapsed form helps with."""
    code = [
        (Op.MUL, 3, 0), (Op.MUL, 6, 1), (Op.ABS, 2, 0), (Op.ADD, 5, 8), (Op.SQRT, 9, 0),
        (Op.SQUARE, 1, 0), (Op.MUL, 4, 11), (Op.MUL, 2, 12), (Op.MUL, 13, 10), (Op.SUB, 7, 14),
    ]  # fmt: skip
    return Program.build(("x", "y", "w"), (False, True, False), [1.0, 1.0, 1.0], code)
