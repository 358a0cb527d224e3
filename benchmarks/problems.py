"""The work that is timed: the same problems, rule and loss for everyone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sims.circuit import Circuit, Projection, Rate
from sims.rate import Schedule
from sims.rules import Op, PolynomialRule, Program

FloatArray = NDArray[np.float64]

N_PROBLEMS = 16
N_SAMPLES = 100
N_STEPS = 400
LEARNING_RATE = 0.05


@dataclass(frozen=True)
class Work:
    """Problems of one neuron with variances 1/k along the axes, squared distance to targets."""

    circuit: Circuit
    inputs: FloatArray
    weights: FloatArray
    targets: FloatArray
    rule: PolynomialRule
    schedule: Schedule

    def problem(self, rule: PolynomialRule | Program) -> tuple[Any, ...]:
        """Return what the simulator takes."""
        weights = {"feedforward": self.weights[:, None]}
        return self.circuit, {"feedforward": rule}, self.inputs, weights, self.schedule

    def loss(self, final: Mapping[str, FloatArray]) -> tuple[FloatArray, Mapping[str, FloatArray]]:
        """Return squared distances and their derivatives."""
        difference = final["feedforward"] - self.targets[:, None]
        return np.sum(difference**2, axis=(1, 2)), {"feedforward": 2 * difference}


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
    feedforward = Projection("x", "y", 1.0, plastic=True)
    neuron = Circuit({"x": Rate(n_inputs), "y": Rate(1)}, {"feedforward": feedforward})
    return Work(neuron, inputs, weights, targets, PolynomialRule(table), schedule)


@dataclass(frozen=True)
class NetworkWork:
    """Problems of two layers with lateral weights, and squared sizes."""

    circuit: Circuit
    inputs: FloatArray
    weights: Mapping[str, FloatArray]
    schedule: Schedule

    def problem(self, feedforward: Any, lateral: Any) -> tuple[Any, ...]:
        """Return what the simulator takes."""
        rules = {"feedforward": feedforward, "lateral": lateral}
        return self.circuit, rules, self.inputs, self.weights, self.schedule

    def loss(self, final: Mapping[str, FloatArray]) -> tuple[FloatArray, Mapping[str, FloatArray]]:
        """Return half the sum of all squared weights, and its derivatives."""
        return sum(0.5 * np.sum(one**2, axis=(1, 2)) for one in final.values()), final


def network_work(n_inputs: int, n_outputs: int, batch: int) -> NetworkWork:
    """Draw problems for one size of the network."""
    rng = np.random.default_rng([n_inputs, n_outputs])
    inputs = rng.normal(size=(N_PROBLEMS, N_SAMPLES, n_inputs)) / np.sqrt(np.arange(1, n_inputs + 1))
    weights = 0.1 * rng.normal(size=(N_PROBLEMS, n_outputs, n_inputs))
    lateral = 0.1 * rng.normal(size=(N_PROBLEMS, n_outputs, n_outputs))
    schedule = Schedule(np.arange(N_SAMPLES).reshape(-1, batch), N_STEPS, LEARNING_RATE)
    projections = {
        "feedforward": Projection("x", "y", 1.0, plastic=True),
        "lateral": Projection("y", "y", 1.0, plastic=True, hierarchical=True, symbol="v"),
    }
    circuit = Circuit({"x": Rate(n_inputs), "y": Rate(n_outputs)}, projections)
    return NetworkWork(circuit, inputs, {"feedforward": weights, "lateral": lateral}, schedule)


def random_table(seed: int) -> PolynomialRule:
    """Return a polynomial rule of small random coefficients, under which nothing blows up."""
    return PolynomialRule(1e-3 * np.random.default_rng(seed).normal(size=(3, 3, 3)))


def interpreted_lateral() -> Program:
    """Return ``a*tanh(y_pre*y_post) - b*v``, which no collapsed form helps with."""
    code = [(Op.MUL, 0, 1), (Op.TANH, 5, 0), (Op.MUL, 6, 3), (Op.MUL, 2, 4), (Op.SUB, 7, 8)]
    return Program.build(("y_pre", "y_post", "v"), (False, True, False), [0.01, 0.01], code)


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
