"""One linear rate neuron with a sliding threshold: simulation and exact meta-gradient.

Beside the weights the neuron has a threshold, a low-pass of its squared output: a step changes the weights by
``w <- w + learning_rate * mean over a batch of f(x, y, w, theta)`` and the threshold by
``theta <- theta + (mean of y**2 - theta) / time_constant``.

References
----------
Bienenstock, Cooper & Munro (1982), J. Neurosci. 2:32.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sims._groups import amount_of, run_groups
from sims.rate import BLOW_UP_NORM, Schedule
from sims.rules import Program

__all__ = ["SlidingGradient", "SlidingOutcome", "meta_gradient", "simulate"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Loss = Callable[[FloatArray], tuple[FloatArray, FloatArray]]


@dataclass(frozen=True)
class SlidingOutcome:
    """What a simulation ended with.

    Attributes
    ----------
    weights : ndarray, shape (n_problems, n_inputs)
        Weights after the last step; zero where the problem blew up.
    thresholds : ndarray, shape (n_problems,)
    blow_up : ndarray of int, shape (n_problems,)
        Number of steps after which weights or threshold had blown up, or -1.
    record : ndarray, shape (n_problems, n_records, n_inputs)
        Weights before step 0, `every`, 2 `every`, ...
    threshold_record : ndarray, shape (n_problems, n_records)
    every : int
        Steps between two records.
    """

    weights: FloatArray
    thresholds: FloatArray
    blow_up: IntArray
    record: FloatArray
    threshold_record: FloatArray
    every: int


@dataclass(frozen=True)
class SlidingGradient:
    """Losses of many problems and their exact gradients.

    Attributes
    ----------
    losses : ndarray, shape (n_problems,)
        As the loss function gave them; problems that blew up get ``2 - blow_up / n_steps``.
    gradients : ndarray, shape (n_problems, n_parameters)
        The 81 entries of a table in C order, or a program's constants. Zero where the problem blew up.
    outcome : SlidingOutcome
    """

    losses: FloatArray
    gradients: FloatArray
    outcome: SlidingOutcome


def simulate(
    rule: Program | ArrayLike,
    inputs: ArrayLike,
    initial_weights: ArrayLike,
    initial_thresholds: ArrayLike,
    schedule: Schedule,
    time_constant: float,
    *,
    every: int | None = None,
) -> SlidingOutcome:
    """Simulate many problems under one rule.

    Parameters
    ----------
    rule : Program or array_like, shape (3, 3, 3, 3)
        A program of presynaptic activity, postsynaptic activity, weight and threshold, in this order; or
        coefficients by powers of these.
    inputs : array_like, shape (n_problems, n_samples, n_inputs)
    initial_weights : array_like, shape (n_problems, n_inputs)
    initial_thresholds : array_like, shape (n_problems,)
    schedule : Schedule
    time_constant : float
        Of the threshold, in steps; at least 1.
    every : int, optional
        Steps between two records; default: the start alone is recorded.

    Raises
    ------
    ValueError
        If shapes do not fit, a number is out of range, or inputs are not finite.

    Examples
    --------
    A neuron under the rule of Bienenstock, Cooper and Munro answers to one of two inputs alone.

    >>> table = np.zeros((3, 3, 3, 3))
    >>> table[1, 2, 0, 0], table[1, 1, 0, 1] = 1.0, -1.0
    >>> schedule = Schedule.whole_sample(2, n_steps=3000, learning_rate=0.05)
    >>> end = simulate(table, [[[1.0, 0.0], [0.0, 1.0]]], [[0.6, 0.5]], [0.3], schedule, 5.0)
    >>> end.weights.round(3).tolist(), end.thresholds.round(3).tolist()
    ([[2.0, 0.0]], [2.0])
    """
    run = _Run(rule, inputs, initial_weights, initial_thresholds, schedule, time_constant)
    return run.simulated(schedule.n_steps if every is None else every)


def meta_gradient(
    rule: Program | ArrayLike,
    inputs: ArrayLike,
    initial_weights: ArrayLike,
    initial_thresholds: ArrayLike,
    schedule: Schedule,
    time_constant: float,
    loss: Loss,
) -> SlidingGradient:
    """Losses after the inner loop and their exact gradients with respect to the rule's parameters.

    Reverse mode through every step, of the weights and the threshold.

    Parameters
    ----------
    rule, inputs, initial_weights, initial_thresholds, schedule, time_constant
        As for :func:`simulate`.
    loss : callable
        Maps final weights (n_problems, n_inputs) to losses (n_problems,) and dL/dw (n_problems, n_inputs).
    """
    run = _Run(rule, inputs, initial_weights, initial_thresholds, schedule, time_constant)
    outcome = run.simulated(schedule.n_steps)
    losses, adjoint = loss(outcome.weights)
    losses = np.where(outcome.blow_up >= 0, 2.0 - outcome.blow_up / schedule.n_steps, losses)
    return SlidingGradient(losses, run.gradient(adjoint, outcome.blow_up), outcome)


class _Run:
    """Checked arguments in the form of the kernels."""

    def __init__(
        self,
        rule: Program | ArrayLike,
        inputs: ArrayLike,
        weights: ArrayLike,
        thresholds: ArrayLike,
        schedule: Schedule,
        time_constant: float,
    ) -> None:
        from sims import _sliding_kernels as kernels

        self.kernels = kernels
        self.inputs = np.ascontiguousarray(inputs, dtype=np.float64)
        self.weights = np.ascontiguousarray(weights, dtype=np.float64)
        self.thresholds = np.ascontiguousarray(thresholds, dtype=np.float64)
        self.rule = _kernel_rule(rule)
        _check(self.inputs, self.weights, self.thresholds, schedule, time_constant)
        self.course = kernels.Course(
            np.array(schedule.order),
            schedule.n_steps,
            float(schedule.learning_rate),
            float(time_constant),
            BLOW_UP_NORM,
        )
        self.amount = amount_of(self.inputs, schedule.order.shape[1], schedule.n_steps)

    def simulated(self, every: int) -> SlidingOutcome:
        if every < 1:
            raise ValueError(f"Records are at least one step apart, got every={every}.")
        n_problems, n_inputs = self.weights.shape
        n_records = -(-self.course.n_steps // every)
        weights, thresholds = self.weights.copy(), self.thresholds.copy()
        record, levels = np.empty((n_problems, n_records, n_inputs)), np.empty((n_problems, n_records))
        blow_up = np.empty(n_problems, dtype=np.int64)

        def run(first: int, last: int) -> None:
            self.kernels.simulate(
                self.rule, first, last, self.inputs, weights, thresholds, self.course, every, record, levels,
                blow_up,
            )  # fmt: skip

        run_groups(run, n_problems, self.amount)
        return SlidingOutcome(weights, thresholds, blow_up, record, levels, every)

    def gradient(self, adjoint: FloatArray, blow_up: IntArray) -> FloatArray:
        adjoints = np.array(adjoint, dtype=np.float64, order="C")
        n_parameters = len(self.rule.constants) if self.rule.is_program else self.rule.table.size
        result = np.empty((len(self.weights), n_parameters))

        def run(first: int, last: int) -> None:
            self.kernels.gradient(
                self.rule, first, last, self.inputs, self.weights, self.thresholds, self.course, blow_up,
                adjoints, result,
            )  # fmt: skip

        run_groups(run, len(self.weights), self.amount)
        return result


def _kernel_rule(rule: Program | ArrayLike) -> Any:
    from sims._sliding_kernels import N_VARIABLES, SlidingRule

    if isinstance(rule, Program):
        if len(rule.variables) != N_VARIABLES:
            raise ValueError(
                "A rule of this neuron has the variables pre, post, weight and threshold, "
                f"got {rule.variables}."
            )
        return SlidingRule(
            True, np.zeros((3, 3, 3, 3)), np.array(rule.constants), np.array(rule.code), rule.output
        )
    table = np.array(rule, dtype=np.float64)
    if table.shape != (3, 3, 3, 3) or not np.isfinite(table).all():
        raise ValueError(f"Coefficients have shape (3, 3, 3, 3) and are finite, got shape {table.shape}.")
    return SlidingRule(False, table, np.empty(0), np.empty((0, 3), dtype=np.int64), 0)


def _check(
    x: FloatArray, w: FloatArray, thresholds: FloatArray, schedule: Schedule, time_constant: float
) -> None:
    if x.ndim != 3 or 0 in x.shape:
        raise ValueError(f"Inputs have shape (n_problems, n_samples, n_inputs), got {x.shape}.")
    if w.shape != (x.shape[0], x.shape[2]) or thresholds.shape != (len(x),):
        raise ValueError(
            f"Initial weights and thresholds have shapes {(x.shape[0], x.shape[2])} and {(len(x),)} for "
            f"these inputs, got {w.shape} and {thresholds.shape}."
        )
    if not (np.isfinite(x).all() and np.isfinite(w).all() and np.isfinite(thresholds).all()):
        raise ValueError("Inputs, initial weights and thresholds must be finite, got NaN or infinity.")
    if not (np.isfinite(time_constant) and time_constant >= 1):
        raise ValueError(f"The threshold's time constant is at least one step, got {time_constant}.")
    if schedule.order.min() < 0 or schedule.order.max() >= x.shape[1]:
        raise ValueError(f"The schedule names samples outside 0..{x.shape[1] - 1}.")
