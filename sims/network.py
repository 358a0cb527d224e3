"""Two-layer rate network with two rules, one for each layer of synapses: simulation and exact meta-gradient.

Outputs answer to an input ``x`` with ``y0 = W x`` and then, in one pass, with
``y_k = y0_k + sum_{j<k} v_kj y0_j``: an output receives lateral input from the outputs before it. A step
changes ``w_ki`` by ``learning_rate`` times the mean of f(x_i, y_k, w_ki) over a batch, and at the same time
``v_kj``, for j < k only, by ``lateral_rate`` times the mean of g(y_j, y_k, v_kj). Both rules see the final
outputs y. With a single output the network is the neuron of :mod:`sims.rate`. Many independent problems run
at once, in parallel; results are bit-identical for any number of threads.

References
----------
Rubner & Tavan (1989), Europhys. Lett. 10:693; Confavreux et al. (NeurIPS 2020), section 3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isqrt
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sims._collapse import quadratic_form
from sims._groups import run_groups
from sims.rate import BLOW_UP_NORM, Schedule
from sims.rules import PolynomialRule, Program

__all__ = [
    "NetworkGradient",
    "NetworkOutcome",
    "NetworkRule",
    "checked_problems",
    "meta_gradient",
    "simulate",
]

TRAJECTORY_BYTES = 16_000_000
"""A gradient keeps all weights of all steps up to this size; beyond it, one record every sqrt(n_steps)."""

_Scalar = TypeVar("_Scalar", bound=np.generic)
FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Rule = PolynomialRule | Program
Loss = Callable[[FloatArray, FloatArray], tuple[FloatArray, FloatArray, FloatArray]]


@dataclass(frozen=True)
class NetworkRule:
    """The rules of both layers, each a coefficient table or a program.

    Parameters
    ----------
    feedforward : PolynomialRule or Program
        Variables are input, output and weight.
    lateral : PolynomialRule or Program
        Variables are presynaptic output, postsynaptic output and weight.

    Raises
    ------
    ValueError
        If a program has other than three variables.
    """

    feedforward: Rule
    lateral: Rule

    def __post_init__(self) -> None:
        for slot, rule in (("feedforward", self.feedforward), ("lateral", self.lateral)):
            if isinstance(rule, Program) and rule.neuron_level != (False, True, False):
                raise ValueError(
                    f"The {slot} rule has the variables pre, post and weight, of which post alone is shared "
                    f"by an output's synapses; got {rule.variables} with neuron_level={rule.neuron_level}."
                )


@dataclass(frozen=True)
class NetworkOutcome:
    """What a simulation ended with.

    Attributes
    ----------
    weights : ndarray, shape (n_problems, n_outputs, n_inputs)
        Feed-forward weights after the last step; zero where the problem blew up.
    lateral : ndarray, shape (n_problems, n_outputs, n_outputs)
        Lateral weights, ``lateral[p, post, pre]``; zero unless ``pre < post``.
    blow_up : ndarray of int, shape (n_problems,)
        Number of steps after which the norm of all weights was too large or not finite, or -1.
    record : ndarray, shape (n_problems, n_records, n_outputs, n_inputs)
        Feed-forward weights before step 0, `every`, 2 `every`, ...
    lateral_record : ndarray, shape (n_problems, n_records, n_outputs, n_outputs)
    every : int
        Steps between two records.
    """

    weights: FloatArray
    lateral: FloatArray
    blow_up: IntArray
    record: FloatArray
    lateral_record: FloatArray
    every: int


@dataclass(frozen=True)
class NetworkGradient:
    """Losses of many problems and their exact gradients.

    Attributes
    ----------
    losses : ndarray, shape (n_problems,)
        As the loss function gave them; problems that blew up get ``2 - blow_up / n_steps``.
    feedforward, lateral : ndarray, shape (n_problems, n_parameters)
        Derivatives with respect to each rule's parameters: the 27 entries of a table in C order, or a
        program's constants. Zero where the problem blew up.
    initial_adjoint : ndarray, shape (n_problems, n_outputs, n_inputs)
        dL/dw of the initial feed-forward weights.
    initial_lateral_adjoint : ndarray, shape (n_problems, n_outputs, n_outputs)
    outcome : NetworkOutcome
    """

    losses: FloatArray
    feedforward: FloatArray
    lateral: FloatArray
    initial_adjoint: FloatArray
    initial_lateral_adjoint: FloatArray
    outcome: NetworkOutcome


def simulate(
    rule: NetworkRule,
    inputs: ArrayLike,
    initial_weights: ArrayLike,
    initial_lateral: ArrayLike,
    schedule: Schedule,
    *,
    lateral_rate: float | None = None,
    every: int | None = None,
) -> NetworkOutcome:
    """Simulate many problems under one pair of rules.

    Parameters
    ----------
    rule : NetworkRule
    inputs : array_like, shape (n_problems, n_samples, n_inputs)
    initial_weights : array_like, shape (n_problems, n_outputs, n_inputs)
    initial_lateral : array_like, shape (n_problems, n_outputs, n_outputs)
        ``initial_lateral[p, post, pre]``; what is not below the diagonal does not exist and is ignored.
    schedule : Schedule
    lateral_rate : float, optional
        Learning rate of the lateral layer; default: that of the schedule.
    every : int, optional
        Steps between two records of the weights; default: the initial weights alone are recorded.

    Returns
    -------
    NetworkOutcome

    Raises
    ------
    ValueError
        If shapes do not fit, numbers are not finite or the schedule names samples that do not exist.

    Examples
    --------
    Oja's rule with anti-Hebbian lateral synapses ends at the first principal components, uncoupled.

    >>> rng = np.random.default_rng(0)
    >>> inputs = rng.normal(size=(1, 200, 3)) * [1.0, 0.6, 0.1]
    >>> oja = PolynomialRule.from_terms({(1, 1, 0): 1.0, (0, 2, 1): -1.0})
    >>> pair = NetworkRule(oja, PolynomialRule.from_terms({(1, 1, 0): -1.0}))
    >>> start = 0.1 * rng.normal(size=(1, 2, 3)), np.zeros((1, 2, 2))
    >>> end = simulate(pair, inputs, *start, Schedule.whole_sample(200, 1000, 0.2))
    >>> np.linalg.norm(end.weights[0], axis=1).round(3).tolist(), bool(np.abs(end.lateral).max() < 1e-6)
    ([1.0, 1.0], True)
    """
    run = _Run.checked(rule, inputs, initial_weights, initial_lateral, schedule, lateral_rate)
    every = schedule.n_steps if every is None else every
    if every < 1:
        raise ValueError(f"Records are at least one step apart, got every={every}.")
    return run.forward(every)


def meta_gradient(
    rule: NetworkRule,
    inputs: ArrayLike,
    initial_weights: ArrayLike,
    initial_lateral: ArrayLike,
    schedule: Schedule,
    loss: Loss,
    *,
    lateral_rate: float | None = None,
) -> NetworkGradient:
    """Losses after the inner loop and their exact gradients with respect to both rules' parameters.

    Reverse mode through every step. Memory stays at ``TRAJECTORY_BYTES`` or, for longer runs, at about
    ``2 sqrt(n_steps)`` copies of the weights: segments are run again from recorded starts.

    Parameters
    ----------
    rule, inputs, initial_weights, initial_lateral, schedule, lateral_rate
        As for :func:`simulate`.
    loss : callable
        Maps final weights (n_problems, n_outputs, n_inputs) and lateral weights (n_problems, n_outputs,
        n_outputs) to losses (n_problems,) and their derivatives with respect to both.

    Returns
    -------
    NetworkGradient

    Raises
    ------
    ValueError
        As for :func:`simulate`, or if the loss function returns arrays of other shapes.
    """
    run = _Run.checked(rule, inputs, initial_weights, initial_lateral, schedule, lateral_rate)
    everything = (run.weights.nbytes + run.lateral.nbytes) * schedule.n_steps
    outcome = run.forward(1 if everything <= TRAJECTORY_BYTES else isqrt(schedule.n_steps - 1) + 1)
    losses, adjoint, lateral_adjoint = loss(outcome.weights, outcome.lateral)
    expected = (outcome.blow_up.shape, outcome.weights.shape, outcome.lateral.shape)
    found = tuple(np.shape(array) for array in (losses, adjoint, lateral_adjoint))
    if found != expected:
        raise ValueError(f"A loss returns arrays of the shapes {expected}, got {found}.")
    blown = outcome.blow_up >= 0
    losses = np.where(blown, 2.0 - outcome.blow_up / schedule.n_steps, losses)
    sound = ~blown[:, None, None]
    adjoint = np.where(sound, adjoint, 0.0).astype(np.float64, order="C")
    lateral_adjoint = np.tril(np.where(sound, lateral_adjoint, 0.0).astype(np.float64), -1)
    feedforward, lateral = run.backward(outcome, adjoint, lateral_adjoint)
    return NetworkGradient(losses, feedforward, lateral, adjoint, lateral_adjoint, outcome)


@dataclass(frozen=True)
class _Run:
    """Checked arrays of all problems, in the form that the kernels take."""

    rule: NetworkRule
    inputs: FloatArray
    weights: FloatArray
    lateral: FloatArray
    schedule: Schedule
    lateral_rate: float

    @classmethod
    def checked(
        cls,
        rule: NetworkRule,
        inputs: ArrayLike,
        initial_weights: ArrayLike,
        initial_lateral: ArrayLike,
        schedule: Schedule,
        lateral_rate: float | None,
    ) -> _Run:
        x, w = checked_problems(inputs, initial_weights, schedule)
        v = np.array(initial_lateral, dtype=np.float64, order="C")
        if v.shape != (w.shape[0], w.shape[1], w.shape[1]):
            expected = f"({w.shape[0]}, {w.shape[1]}, {w.shape[1]})"
            raise ValueError(
                f"Initial lateral weights have shape {expected} for these weights, got {v.shape}."
            )
        v = np.tril(v, -1)
        if not np.isfinite(v).all():
            raise ValueError("Initial lateral weights must be finite, got NaN or infinity.")
        rate = schedule.learning_rate if lateral_rate is None else lateral_rate
        if not (np.isfinite(rate) and rate > 0):
            raise ValueError(f"A learning rate is positive and finite, got {rate}.")
        return cls(rule, x, w, v, schedule, float(rate))

    def forward(self, every: int) -> NetworkOutcome:
        """Run all problems; the run's own weights become the final ones."""
        from sims import _network_kernels as kernels

        n_problems, n_outputs, n_inputs = self.weights.shape
        n_records = -(-self.schedule.n_steps // every)
        record = np.zeros((n_problems, n_records, n_outputs, n_inputs))
        lateral_record = np.zeros((n_problems, n_records, n_outputs, n_outputs))
        blow_up = np.empty(n_problems, dtype=np.int64)
        rules, course = self._rules(), self._course(every)

        def run(first: int, last: int) -> None:
            kernels.simulate(
                *rules,
                course,
                first,
                last,
                self.inputs,
                self.weights,
                self.lateral,
                record,
                lateral_record,
                blow_up,
            )

        run_groups(run, n_problems, self._amount())
        return NetworkOutcome(self.weights, self.lateral, blow_up, record, lateral_record, every)

    def backward(
        self, outcome: NetworkOutcome, adjoint: FloatArray, lateral_adjoint: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Gradients (n_problems, n_parameters) of both rules; adjoints become those of the start."""
        from sims import _network_kernels as kernels

        n_problems = len(self.inputs)
        results = [np.empty((n_problems, _n_parameters(rule))) for rule in self._pair()]
        rules, course = self._rules(), self._course(outcome.every)

        def run(first: int, last: int) -> None:
            kernels.gradient(
                *rules, course, first, last, self.inputs, outcome.record, outcome.lateral_record,
                outcome.blow_up, adjoint, lateral_adjoint, *results,
            )  # fmt: skip

        run_groups(run, n_problems, self._amount())
        feedforward, lateral = (
            _by_parameter(rule, result) for rule, result in zip(self._pair(), results, strict=True)
        )
        return feedforward, lateral

    def _pair(self) -> tuple[Rule, Rule]:
        return self.rule.feedforward, self.rule.lateral

    def _rules(self) -> tuple[Any, Any]:
        return _kernel_rule(self.rule.feedforward, False), _kernel_rule(self.rule.lateral, True)

    def _course(self, every: int) -> Any:
        from sims import _network_kernels as kernels

        return kernels.Course(
            _writable(self.schedule.order),
            self.schedule.learning_rate,
            self.lateral_rate,
            self.schedule.n_steps,
            BLOW_UP_NORM,
            every,
        )

    def _amount(self) -> int:
        """Work of a simulation, in updates of single synapses; what is done once an output counts as 20."""
        n_problems, n_outputs, n_inputs = self.weights.shape
        per_sample = n_outputs * (n_inputs + n_outputs + 20)
        return int(n_problems * per_sample * self.schedule.order.shape[1] * self.schedule.n_steps)


def checked_problems(
    inputs: ArrayLike, initial_weights: ArrayLike, schedule: Schedule
) -> tuple[FloatArray, FloatArray]:
    """Return inputs and a copy of the initial weights of networks with several outputs, checked.

    Raises
    ------
    ValueError
        If shapes do not fit, numbers are not finite or the schedule names samples that do not exist.
    """
    x = _writable(np.ascontiguousarray(inputs, dtype=np.float64))
    w = np.array(initial_weights, dtype=np.float64, order="C")
    if x.ndim != 3 or 0 in x.shape:
        raise ValueError(f"Inputs have shape (n_problems, n_samples, n_inputs), got {x.shape}.")
    if w.ndim != 3 or w.shape[1] == 0 or w.shape[::2] != x.shape[::2]:
        expected = f"({x.shape[0]}, n_outputs, {x.shape[2]})"
        raise ValueError(f"Initial weights have shape {expected} for these inputs, got {w.shape}.")
    if not (np.isfinite(x).all() and np.isfinite(w).all()):
        raise ValueError("Inputs and initial weights must be finite, got NaN or infinity.")
    if schedule.order.min() < 0 or schedule.order.max() >= x.shape[1]:
        raise ValueError(f"The schedule names samples outside 0..{x.shape[1] - 1}.")
    return x, w


def _writable(array: NDArray[_Scalar]) -> NDArray[_Scalar]:
    """Return the array, or a copy of a read-only one: a second type would be compiled all over again."""
    return array if array.flags.writeable else array.copy()


def _kernel_rule(rule: Rule, hierarchical: bool) -> Any:
    """Return a rule in the form of the kernels that run it fastest."""
    from sims import _network_kernels as kernels

    empty, no_code, no_outputs = np.empty(0), np.empty((0, 3), dtype=np.int64), np.full(9, -1)
    if isinstance(rule, PolynomialRule):
        table = np.ascontiguousarray(rule.coefficients.transpose(1, 0, 2).reshape(3, 9))
        is_linear = not table[:, [2, 4, 5, 6, 7, 8]].any()
        return kernels.SlotRule(kernels.TABLE, hierarchical, is_linear, table, empty, no_code, no_outputs)
    form = quadratic_form(rule)
    if form is not None:
        constants = np.append(rule.constants, 1.0)
        return kernels.SlotRule(
            kernels.COLLAPSED,
            hierarchical,
            form.is_linear,
            np.zeros((3, 9)),
            constants,
            form.code,
            form.outputs,
        )
    outputs = np.full(9, rule.output)
    constants, code = rule.constants.copy(), rule.code.copy()
    return kernels.SlotRule(
        kernels.INTERPRETED, hierarchical, False, np.zeros((3, 9)), constants, code, outputs
    )


def _n_parameters(rule: Rule) -> int:
    """Width of what the kernels return: a collapsed program carries the number one as a further constant."""
    if isinstance(rule, PolynomialRule):
        return 27
    return len(rule.constants) + (quadratic_form(rule) is not None)


def _by_parameter(rule: Rule, result: FloatArray) -> FloatArray:
    """Gradients in the order of the rule's parameters."""
    if isinstance(rule, PolynomialRule):
        return result.reshape(-1, 3, 3, 3).transpose(0, 2, 1, 3).reshape(-1, 27)
    return result[:, : len(rule.constants)]
