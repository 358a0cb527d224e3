"""One linear rate neuron whose synapses change by a rule: simulation and exact meta-gradient.

The neuron answers to an input ``x`` with ``y = sum_i w_i x_i``; a step changes the weights by
``w <- w + learning_rate * mean over a batch of f(x, y, w)``. A batch of one sample is the online setting.
Many independent problems run at once, in parallel; results are bit-identical for any number of threads.

References
----------
Confavreux et al. (NeurIPS 2020), section 3; Oja (1982), J. Math. Biol. 15:267.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isqrt
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sims._collapse import quadratic_form, table_form
from sims._groups import amount_of, frozen, in_lanes, out_of_lanes, run_groups
from sims._interpreted import Interpreted
from sims.rules import PolynomialRule, Program, SplineRule

__all__ = ["BLOW_UP_NORM", "MetaGradient", "RateOutcome", "Schedule", "meta_gradient", "simulate"]

BLOW_UP_NORM = 1e3
"""Weights with a larger norm, or any that are not finite, count as a blow-up."""

TRAJECTORY_BYTES = 2_000_000
"""A gradient keeps all weights of all steps up to this size; beyond it, one record every sqrt(n_steps).

About what a core's own cache holds: running quadratic rules again is faster than fetching more from memory.
"""

INTERPRETED_TRAJECTORY_BYTES = 64_000_000
"""The same for interpreted programs, which take longer to run again than their weights to fetch."""

MOST_INPUTS_IN_LANES = 64
"""Up to this number of inputs, problems of a quadratic rule run side by side; beyond it, one by one."""

FEWEST_IN_LANES = 3
"""Fewer problems than this run one by one: most lanes would be empty."""

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Rule = PolynomialRule | Program | SplineRule
Loss = Callable[[FloatArray], tuple[FloatArray, FloatArray]]


@dataclass(frozen=True)
class Schedule:
    """What is shown when, and how fast synapses learn.

    Parameters
    ----------
    order : array_like of int, shape (n_rounds, batch)
        Sample indices of each step; step ``t`` takes row ``t % n_rounds``.
    n_steps : int
        Number of updates, at least 1.
    learning_rate : float
        Factor of the mean update (eta), positive.

    Raises
    ------
    ValueError
        If a number is out of range.

    Examples
    --------
    >>> Schedule.whole_sample(100, n_steps=200, learning_rate=0.1).order.shape
    (1, 100)
    """

    order: IntArray
    n_steps: int
    learning_rate: float

    def __post_init__(self) -> None:
        order = np.array(self.order, dtype=np.int64)
        if order.ndim != 2 or order.size == 0:
            raise ValueError(f"A schedule's order has shape (n_rounds, batch), got {order.shape}.")
        if self.n_steps < 1:
            raise ValueError(f"A schedule needs at least one step, got {self.n_steps}.")
        if not (np.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise ValueError(f"A learning rate is positive and finite, got {self.learning_rate}.")
        order.setflags(write=False)
        object.__setattr__(self, "order", order)

    @classmethod
    def whole_sample(cls, n_samples: int, n_steps: int, learning_rate: float) -> Schedule:
        """Every step takes the mean over all samples."""
        return cls(np.arange(n_samples)[None, :], n_steps, learning_rate)

    @classmethod
    def online(cls, n_samples: int, n_steps: int, learning_rate: float) -> Schedule:
        """Every step takes one sample, in order, again and again."""
        return cls(np.arange(n_samples)[:, None], n_steps, learning_rate)

    def shortened(self, n_steps: int) -> Schedule:
        """Return the same schedule with at most `n_steps` steps."""
        return Schedule(self.order, max(1, min(n_steps, self.n_steps)), self.learning_rate)


@dataclass(frozen=True)
class RateOutcome:
    """What a simulation ended with.

    Attributes
    ----------
    weights : ndarray, shape (n_problems, n_inputs)
        Weights after the last step; zero where the problem blew up.
    blow_up : ndarray of int, shape (n_problems,)
        Number of steps after which the weights had blown up, or -1.
    record : ndarray, shape (n_problems, n_records, n_inputs)
        Weights before step 0, `every`, 2 `every`, ...
    every : int
        Steps between two records.
    """

    weights: FloatArray
    blow_up: IntArray
    record: FloatArray
    every: int


@dataclass(frozen=True)
class MetaGradient:
    """Losses of many problems and their exact gradients.

    Attributes
    ----------
    losses : ndarray, shape (n_problems,)
        As the loss function gave them; problems that blew up get ``2 - blow_up / n_steps``.
    gradients : ndarray, shape (n_problems, n_parameters)
        dL/dA of each problem: the entries of a polynomial's or spline rule's table in C order, or a program's
        constants.
        Zero where the problem blew up.
    initial_adjoint : ndarray, shape (n_problems, n_inputs)
        dL/dw of the initial weights.
    outcome : RateOutcome
    """

    losses: FloatArray
    gradients: FloatArray
    initial_adjoint: FloatArray
    outcome: RateOutcome


def simulate(
    rule: Rule, inputs: ArrayLike, initial_weights: ArrayLike, schedule: Schedule, *, every: int | None = None
) -> RateOutcome:
    """Simulate many problems under one rule.

    Parameters
    ----------
    rule : PolynomialRule, SplineRule or Program
        A program's variables are presynaptic activity, postsynaptic activity and weight, in this order.
    inputs : array_like, shape (n_problems, n_samples, n_inputs)
        Presynaptic activity.
    initial_weights : array_like, shape (n_problems, n_inputs)
    schedule : Schedule
    every : int, optional
        Steps between two records of the weights; default: the initial weights alone are recorded.

    Returns
    -------
    RateOutcome

    Raises
    ------
    ValueError
        If shapes do not fit, inputs are not finite or the schedule names samples that do not exist.

    Examples
    --------
    Oja's rule ends at the first principal component with unit norm.

    >>> rng = np.random.default_rng(0)
    >>> inputs = rng.normal(size=(1, 200, 2)) * [1.0, 0.3]
    >>> oja = PolynomialRule.from_terms({(1, 1, 0): 1.0, (0, 2, 1): -1.0})
    >>> end = simulate(oja, inputs, [[0.1, 0.1]], Schedule.whole_sample(200, 300, 0.1)).weights[0]
    >>> bool(abs(np.linalg.norm(end) - 1) < 1e-3)
    True
    """
    x, w = _checked(inputs, initial_weights, schedule)
    every = schedule.n_steps if every is None else every
    if every < 1:
        raise ValueError(f"Records are at least one step apart, got every={every}.")
    run = _prepared(rule).simulated(x, w, schedule, every)
    return RateOutcome(run.weights(), run.blow_up(), run.record(), every)


def meta_gradient(
    rule: Rule, inputs: ArrayLike, initial_weights: ArrayLike, schedule: Schedule, loss: Loss
) -> MetaGradient:
    """Losses after the inner loop and their exact gradients with respect to the rule's parameters.

    Reverse mode through every step. All weights on the way are kept where they take no more than
    ``TRAJECTORY_BYTES``, or ``INTERPRETED_TRAJECTORY_BYTES`` for interpreted programs. For longer runs about
    ``2 sqrt(n_steps)`` copies of the weights are, and segments are run again from recorded starts.

    Parameters
    ----------
    rule, inputs, initial_weights, schedule
        As for :func:`simulate`.
    loss : callable
        Maps final weights (n_problems, n_inputs) to losses (n_problems,) and dL/dw (n_problems, n_inputs).

    Returns
    -------
    MetaGradient

    Raises
    ------
    ValueError
        As for :func:`simulate`, or if the loss function returns arrays of other shapes.
    """
    x, w = _checked(inputs, initial_weights, schedule)
    prepared = _prepared(rule)
    most, n_bytes = TRAJECTORY_BYTES, w.nbytes
    if isinstance(prepared, Interpreted):
        most, n_bytes = INTERPRETED_TRAJECTORY_BYTES, prepared.record_bytes(w)
    run = prepared.simulated(x, w, schedule, _record_interval(n_bytes, schedule.n_steps, most))
    weights, blow_up = run.weights(), run.blow_up()
    losses, adjoint = loss(weights)
    if np.shape(losses) != (len(x),) or np.shape(adjoint) != weights.shape:
        raise ValueError(
            f"A loss returns arrays of shapes {(len(x),)} and {weights.shape}, "
            f"got {np.shape(losses)} and {np.shape(adjoint)}."
        )
    blown = blow_up >= 0
    losses = np.where(blown, 2.0 - blow_up / schedule.n_steps, losses)
    adjoint = np.where(blown[:, None], 0.0, adjoint).astype(np.float64, order="C")
    gradients, adjoint = run.gradient(adjoint)
    outcome = RateOutcome(weights, blow_up, w[:, None], schedule.n_steps)
    return MetaGradient(losses, gradients, adjoint, outcome)


def _record_interval(n_bytes: int, n_steps: int, most_bytes: int) -> int:
    """Steps between two records of weights of this size, from which a gradient starts its way back."""
    return 1 if n_bytes * n_steps <= most_bytes else isqrt(n_steps - 1) + 1


def _checked(
    inputs: ArrayLike, initial_weights: ArrayLike, schedule: Schedule
) -> tuple[FloatArray, FloatArray]:
    x = np.ascontiguousarray(inputs, dtype=np.float64)
    w = np.ascontiguousarray(initial_weights, dtype=np.float64)
    if x.ndim != 3 or 0 in x.shape:
        raise ValueError(f"Inputs have shape (n_problems, n_samples, n_inputs), got {x.shape}.")
    if w.shape != (x.shape[0], x.shape[2]):
        raise ValueError(
            f"Initial weights have shape {(x.shape[0], x.shape[2])} for these inputs, got {w.shape}."
        )
    if not (_all_finite(x) and _all_finite(w)):
        raise ValueError("Inputs and initial weights must be finite, got NaN or infinity.")
    if schedule.order.min() < 0 or schedule.order.max() >= x.shape[1]:
        raise ValueError(f"The schedule names samples outside 0..{x.shape[1] - 1}.")
    return frozen(x), w


def _all_finite(array: FloatArray) -> bool:
    """Whether there is no NaN and no infinity; the sum alone says so unless it overflows."""
    return bool(np.isfinite(array.sum()) or np.isfinite(array).all())


class _Run(Protocol):
    """Simulated problems, in whatever form the kernels have them."""

    def weights(self) -> FloatArray:
        """Final weights (n_problems, n_inputs)."""
        ...

    def blow_up(self) -> IntArray:
        """Steps after which problems blew up, or -1."""
        ...

    def record(self) -> FloatArray:
        """Weights on the way (n_problems, n_records, n_inputs)."""
        ...

    def gradient(self, adjoint: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Gradients (n_problems, n_parameters) and dL/dw at the start, from `adjoint` = dL/dw at the end."""
        ...


class _Prepared(Protocol):
    """A rule in the form of the kernels that run it fastest."""

    def simulated(self, x: FloatArray, w: FloatArray, schedule: Schedule, every: int) -> _Run:
        """Run all problems, with a record every so many steps."""
        ...


def _prepared(rule: Rule) -> _Prepared:
    if isinstance(rule, PolynomialRule):
        return _Quadratic.of_table(rule)
    if isinstance(rule, SplineRule):
        return _Quadratic.of_splines(rule)
    if rule.neuron_level != (False, True, False):
        raise ValueError(
            "A rate rule has the variables pre, post and weight, of which post alone is shared by a neuron's "
            f"synapses; got {rule.variables} with neuron_level={rule.neuron_level}."
        )
    return _Quadratic.of_program(rule) or Interpreted(rule, BLOW_UP_NORM)


@dataclass(frozen=True)
class _Quadratic:
    """A rule quadratic in input and weight: a coefficient table, splines or a program over outputs.

    `derivatives` are those of the table's 27 coefficients with respect to the rule's parameters.
    """

    rule: Any
    n_parameters: int
    kind: Literal["table", "program", "splines"] = "table"
    n_registers: int = 1
    derivatives: FloatArray | None = None

    @classmethod
    def of_table(cls, rule: PolynomialRule) -> _Quadratic:
        is_linear = not rule.coefficients[_BEYOND_LINEAR].any()
        return cls(_table_rule(rule.coefficients, is_linear, needs_all_moments=True), 27)

    @classmethod
    def of_program(cls, rule: Program) -> _Quadratic | None:
        table = table_form(rule)
        if table is not None:
            kernel_rule = _table_rule(table.coefficients, table.is_linear, not table.is_linear)
            return cls(kernel_rule, 27, derivatives=table.derivatives.reshape(27, -1))
        form = quadratic_form(rule)
        if form is None:
            return None
        from sims._rate_kernels import QuadraticRule

        constants = np.append(rule.constants, 1.0)
        kernel_rule = QuadraticRule(
            True, form.is_linear, not form.is_linear, np.zeros((3, 9)), constants, form.code, form.outputs
        )
        return cls(kernel_rule, len(constants), "program", 1 + len(constants) + len(form.code))

    @classmethod
    def of_splines(cls, rule: SplineRule) -> _Quadratic:
        from sims._spline_kernels import ACTS, N_SPLINE_REGISTERS, WANTED
        from sims._spline_kernels import SplineRule as KernelRule

        acts, beyond = rule.acts, _BEYOND_LINEAR[:, 0]
        needs_all = bool((acts | rule.wanted)[beyond].any())
        table = np.ascontiguousarray(rule.coefficients.reshape(9, -1))
        uses = (ACTS * acts + WANTED * rule.wanted).reshape(-1)
        kernel_rule = KernelRule(
            not acts[beyond].any(), needs_all, rule.low, rule.high, table, uses, np.empty(0)
        )
        return cls(kernel_rule, table.size, "splines", N_SPLINE_REGISTERS)

    def simulated(self, x: FloatArray, w: FloatArray, schedule: Schedule, every: int) -> _QuadraticRun:
        return _QuadraticRun(self, x, w, schedule, every)

    def by_parameter(self, result: FloatArray) -> FloatArray:
        """Gradients with respect to the rule's parameters, in their order."""
        if self.kind == "splines":
            return result
        if self.kind == "program":
            return result[:, :-1]
        by_term = result.reshape(-1, 3, 3, 3).transpose(0, 2, 1, 3).reshape(-1, 27)
        if self.derivatives is None:
            return by_term
        gradients: FloatArray = np.einsum("pt,tc->pc", by_term, self.derivatives)
        return gradients


_BEYOND_LINEAR = (np.add.outer(np.arange(3), np.arange(3)) > 1)[:, None, :].repeat(3, axis=1)


def _table_rule(coefficients: FloatArray, is_linear: bool, needs_all_moments: bool) -> Any:
    from sims._rate_kernels import QuadraticRule

    table = np.ascontiguousarray(coefficients.transpose(1, 0, 2).reshape(3, 9))
    no_code, no_outputs = np.empty((0, 3), dtype=np.int64), np.full(9, -1, dtype=np.int64)
    return QuadraticRule(False, is_linear, needs_all_moments, table, np.empty(0), no_code, no_outputs)


class _QuadraticRun:
    """Problems of a quadratic rule, side by side in lanes where inputs are few, else one by one."""

    def __init__(
        self, prepared: _Quadratic, x: FloatArray, w: FloatArray, schedule: Schedule, every: int
    ) -> None:
        from sims import _rate_kernels as kernels
        from sims._lanes import LANES

        n_problems, _, n_inputs = x.shape
        self._kernels = kernels
        self._prepared = prepared
        self._schedule = schedule
        self._every = every
        self._amount = amount_of(x, schedule.order.shape[1], schedule.n_steps)
        self._n_problems = n_problems
        in_lanes = n_inputs <= MOST_INPUTS_IN_LANES and n_problems >= FEWEST_IN_LANES
        self._n_lanes = LANES if in_lanes else 1
        self._lane_axis = (LANES,) if in_lanes else ()
        self._inputs = frozen(self._grouped(x))
        self._weights = self._grouped(w[:, None])[:, 0]
        n_groups, n_records = len(self._weights), -(-schedule.n_steps // every)
        self._record = np.empty((n_groups, n_records, *self._weights.shape[1:]))
        self._blow_up = np.empty((n_groups, self._n_lanes), dtype=np.int64)

        self._workspace = kernels.Workspace(
            np.empty((n_groups, prepared.n_registers, *self._lane_axis)),
            np.empty((n_groups, 3, *self._weights.shape[1:])),
        )

        def run(first: int, last: int) -> None:
            kernels.simulate(
                prepared.rule, first, last, self._inputs, self._weights, frozen(schedule.order),
                schedule.learning_rate, schedule.n_steps, BLOW_UP_NORM, every, self._record, self._blow_up,
                self._workspace,
            )  # fmt: skip

        run_groups(run, n_groups, self._amount)

    def weights(self) -> FloatArray:
        return self._by_problem(self._weights[:, None])[:, 0]

    def blow_up(self) -> IntArray:
        return self._blow_up.reshape(-1)[: self._n_problems]

    def record(self) -> FloatArray:
        return self._by_problem(self._record)

    def gradient(self, adjoint: FloatArray) -> tuple[FloatArray, FloatArray]:
        adjoints = self._grouped(adjoint[:, None])[:, 0]
        result = np.empty((len(adjoints), self._prepared.n_parameters, *self._lane_axis))
        schedule = self._schedule
        way_back = self._kernels.WayBack(
            np.empty_like(self._workspace.registers),
            np.empty((len(adjoints), self._every, *adjoints.shape[1:])),
        )

        def run(first: int, last: int) -> None:
            self._kernels.gradient(
                self._prepared.rule, first, last, self._inputs, frozen(schedule.order),
                schedule.learning_rate, schedule.n_steps, self._every, self._record, self._blow_up, adjoints,
                result, self._workspace, way_back,
            )  # fmt: skip

        run_groups(run, len(adjoints), self._amount)
        by_problem = self._by_problem(result[:, None])[:, 0]
        return self._prepared.by_parameter(by_problem), self._by_problem(adjoints[:, None])[:, 0]

    def _grouped(self, rows: FloatArray) -> FloatArray:
        """Arrays (n_problems, n, n_inputs) in the form of the kernels, (n_groups, n, n_inputs[, n_lanes])."""
        if self._n_lanes == 1:
            return rows.copy() if rows.flags.writeable else rows
        return in_lanes(rows)

    def _by_problem(self, groups: FloatArray) -> FloatArray:
        """Arrays (n_groups, n, n_inputs[, n_lanes]) as (n_problems, n, n_inputs)."""
        return groups if self._n_lanes == 1 else out_of_lanes(groups, self._n_problems)
