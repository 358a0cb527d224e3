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
from types import ModuleType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sims._collapse import quadratic_form
from sims._groups import group_edges, run_groups
from sims.rules import BINARY_OPS, PolynomialRule, Program

__all__ = ["BLOW_UP_NORM", "MetaGradient", "RateOutcome", "Schedule", "meta_gradient", "simulate"]

BLOW_UP_NORM = 1e3
"""Weights with a larger norm, or any that are not finite, count as a blow-up."""

TRAJECTORY_BYTES = 16_000_000
"""A gradient keeps all weights of all steps up to this size; beyond it, one record every sqrt(n_steps)."""

MOST_IN_LOCK_STEP = 8
"""Problems of a quadratic rule that run in lock-step, so that what is done once a neuron costs little."""

INPUT_BYTES = 500_000
"""Inputs of the problems that run in lock-step take no more, so that they stay in a core's own cache."""

_Scalar = TypeVar("_Scalar", bound=np.generic)
FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Rule = PolynomialRule | Program
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
        dL/dA of each problem: the 27 entries of a polynomial table in C order, or a program's constants.
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
    rule : PolynomialRule or Program
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
    return _forward(_prepared(rule), x, w, schedule, every)


def meta_gradient(
    rule: Rule, inputs: ArrayLike, initial_weights: ArrayLike, schedule: Schedule, loss: Loss
) -> MetaGradient:
    """Losses after the inner loop and their exact gradients with respect to the rule's parameters.

    Reverse mode through every step. Memory stays at ``TRAJECTORY_BYTES`` or, for longer runs, at about
    ``2 sqrt(n_steps)`` copies of the weights: segments are run again from recorded starts.

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
    every = 1 if w.nbytes * schedule.n_steps <= TRAJECTORY_BYTES else isqrt(schedule.n_steps - 1) + 1
    outcome = _forward(prepared, x, w, schedule, every)
    losses, adjoint = loss(outcome.weights)
    if np.shape(losses) != (len(x),) or np.shape(adjoint) != outcome.weights.shape:
        raise ValueError(
            f"A loss returns arrays of shapes {(len(x),)} and {outcome.weights.shape}, "
            f"got {np.shape(losses)} and {np.shape(adjoint)}."
        )
    blown = outcome.blow_up >= 0
    losses = np.where(blown, 2.0 - outcome.blow_up / schedule.n_steps, losses)
    adjoint = np.where(blown[:, None], 0.0, adjoint).astype(np.float64, order="C")
    gradients = prepared.gradient(x, schedule, outcome, adjoint)
    return MetaGradient(losses, gradients, adjoint, outcome)


def _checked(
    inputs: ArrayLike, initial_weights: ArrayLike, schedule: Schedule
) -> tuple[FloatArray, FloatArray]:
    x = np.ascontiguousarray(inputs, dtype=np.float64)
    w = np.array(initial_weights, dtype=np.float64, order="C")
    if x.ndim != 3 or 0 in x.shape:
        raise ValueError(f"Inputs have shape (n_problems, n_samples, n_inputs), got {x.shape}.")
    if w.shape != (x.shape[0], x.shape[2]):
        raise ValueError(
            f"Initial weights have shape {(x.shape[0], x.shape[2])} for these inputs, got {w.shape}."
        )
    if not (np.all(np.isfinite(x)) and np.all(np.isfinite(w))):
        raise ValueError("Inputs and initial weights must be finite, got NaN or infinity.")
    if schedule.order.min() < 0 or schedule.order.max() >= x.shape[1]:
        raise ValueError(f"The schedule names samples outside 0..{x.shape[1] - 1}.")
    return _frozen(x), w


def _frozen(array: NDArray[_Scalar]) -> NDArray[_Scalar]:
    """Read-only view: the kernels see one type of array, so that they are compiled once."""
    view = array.view()
    view.setflags(write=False)
    return view


def _forward(
    prepared: _Prepared, x: FloatArray, w: FloatArray, schedule: Schedule, every: int
) -> RateOutcome:
    n_problems, n_inputs = w.shape
    record = np.empty((n_problems, -(-schedule.n_steps // every), n_inputs))
    blow_up = np.empty(n_problems, dtype=np.int64)
    prepared.simulate(x, w, schedule, every, record, blow_up)
    return RateOutcome(w, blow_up, record, every)


def _amount(x: FloatArray, schedule: Schedule) -> int:
    """Work of a simulation, in updates of single synapses; what is done once a neuron counts as twenty."""
    n_problems, _, n_inputs = x.shape
    amount: int = n_problems * (n_inputs + 20) * schedule.order.shape[1] * schedule.n_steps
    return amount


class _Prepared:
    """A rule in the form of the kernels that run it fastest."""

    _rule: Any
    _kernels: ModuleType
    _n_parameters: int

    def most_in_a_group(self, n_samples: int, n_inputs: int) -> int:
        """Largest number of problems that run in lock-step."""
        raise NotImplementedError

    def simulate(
        self,
        x: FloatArray,
        w: FloatArray,
        schedule: Schedule,
        every: int,
        record: FloatArray,
        blow_up: IntArray,
    ) -> None:
        """Run all problems; `w`, `record` and `blow_up` are filled."""
        edges = group_edges(len(x), self.most_in_a_group(*x.shape[1:]))

        def run(first: int, last: int) -> None:
            self._kernels.simulate(
                self._rule, edges, first, last, x, w, _frozen(schedule.order), schedule.learning_rate,
                schedule.n_steps, BLOW_UP_NORM, every, record, blow_up,
            )  # fmt: skip

        run_groups(run, len(edges) - 1, _amount(x, schedule))

    def gradient(
        self, x: FloatArray, schedule: Schedule, outcome: RateOutcome, adjoint: FloatArray
    ) -> FloatArray:
        """Gradients (n_problems, n_parameters); `adjoint` becomes that of the initial weights."""
        edges = group_edges(len(x), self.most_in_a_group(*x.shape[1:]))
        result = np.empty((len(x), self._n_parameters))

        def run(first: int, last: int) -> None:
            self._kernels.gradient(
                self._rule, edges, first, last, x, _frozen(schedule.order), schedule.learning_rate,
                schedule.n_steps, outcome.every, outcome.record, outcome.blow_up, adjoint, result,
            )  # fmt: skip

        run_groups(run, len(edges) - 1, _amount(x, schedule))
        return self._by_parameter(result)

    def _by_parameter(self, result: FloatArray) -> FloatArray:
        """Gradients in the order of the rule's parameters."""
        return result


def _prepared(rule: Rule) -> _Prepared:
    if isinstance(rule, PolynomialRule):
        return _Quadratic.of_table(rule)
    if rule.neuron_level != (False, True, False):
        raise ValueError(
            "A rate rule has the variables pre, post and weight, of which post alone is shared by a neuron's "
            f"synapses; got {rule.variables} with neuron_level={rule.neuron_level}."
        )
    return _Quadratic.of_program(rule) or _Interpreted(rule)


class _Quadratic(_Prepared):
    """A rule quadratic in input and weight: a coefficient table or a collapsed program."""

    def __init__(
        self, is_program: bool, is_linear: bool, table: FloatArray, constants: FloatArray, code: IntArray,
        outputs: IntArray,
    ) -> None:  # fmt: skip
        from sims import _rate_kernels as kernels

        self._kernels = kernels
        self._rule = kernels.QuadraticRule(is_program, is_linear, table, constants, code, outputs)
        self._n_parameters = len(constants) if is_program else 27

    @classmethod
    def of_table(cls, rule: PolynomialRule) -> _Quadratic:
        table = np.ascontiguousarray(rule.coefficients.transpose(1, 0, 2).reshape(3, 9))
        no_code = np.empty((0, 3), dtype=np.int64)
        return cls(False, False, table, np.empty(0), no_code, np.full(9, -1, dtype=np.int64))

    @classmethod
    def of_program(cls, rule: Program) -> _Quadratic | None:
        form = quadratic_form(rule)
        if form is None:
            return None
        constants = np.append(rule.constants, 1.0)
        return cls(True, form.is_linear, np.zeros((3, 9)), constants, form.code, form.outputs)

    def most_in_a_group(self, n_samples: int, n_inputs: int) -> int:
        return max(1, min(MOST_IN_LOCK_STEP, INPUT_BYTES // (8 * n_samples * n_inputs)))

    def _by_parameter(self, result: FloatArray) -> FloatArray:
        if self._rule.is_program:
            return result[:, :-1]
        return result.reshape(-1, 3, 3, 3).transpose(0, 2, 1, 3).reshape(-1, 27)


class _Interpreted(_Prepared):
    """Any other program, run instruction by instruction over blocks of synapses."""

    def __init__(self, program: Program) -> None:
        from sims import _program_kernels as kernels

        read = _read_by_synapses(program)
        first = program.n_registers - len(program.code)
        is_constant = (read >= len(program.variables)) & (read < first)
        self._kernels = kernels
        self._rule = kernels.InterpretedRule(
            _frozen(program.code), _frozen(program.constants), program.output, _frozen(program.levels),
            read[~is_constant], read, _moves_with_weights_or_constants(program),
        )  # fmt: skip
        self._n_parameters = len(program.constants)

    def most_in_a_group(self, n_samples: int, n_inputs: int) -> int:
        return max(1, int(self._kernels.BLOCK) // n_inputs)


def _read_by_synapses(program: Program) -> IntArray:
    """Neuron-level registers that a synapse-level instruction reads, or that are the result."""
    levels = program.levels
    first = program.n_registers - len(program.code)
    read = {program.output}
    for level, (op, a, b) in zip(levels[first:], program.code.tolist(), strict=True):
        if level == 1:
            read |= {a, b} if op in BINARY_OPS else {a}
    return np.array(sorted(r for r in read if levels[r] == 0), dtype=np.int64)


def _moves_with_weights_or_constants(program: Program) -> NDArray[np.bool_]:
    """Registers that do not depend on presynaptic activity alone."""
    first = program.n_registers - len(program.code)
    moves = [r > 0 for r in range(first)]
    for op, a, b in program.code.tolist():
        moves.append(moves[a] or (op in BINARY_OPS and moves[b]))
    return np.array(moves)
