"""Rate circuits of any make: simulation and exact meta-gradient.

A circuit of :class:`sims.circuit.Rate` populations answers to samples and changes its weights by rules; see
:mod:`sims._rate_circuit_kernels` for the equation and the order of a step. One linear neuron, two layers with
lateral weights, a neuron with a sliding threshold and a recurrent network are circuits of a few lines. Many
independent problems run at once, side by side in the lanes of vector instructions and on all threads; results
are bit-identical for any number of threads.

References
----------
Confavreux et al. (NeurIPS 2020), section 3; Oja (1982), J. Math. Biol. 15:267; Rubner & Tavan (1989),
Europhys. Lett. 10:693; Bienenstock, Cooper & Munro (1982), J. Neurosci. 2:32.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sims._groups import frozen
from sims._rate_layout import Layout
from sims._rate_plans import planned
from sims._rate_rules import Rule
from sims.circuit import Circuit

__all__ = [
    "BLOW_UP_NORM", "MetaGradient", "RateOutcome", "Schedule", "checked_inputs", "meta_gradient", "simulate",
]  # fmt: skip

BLOW_UP_NORM = 1e3
"""Weights with a larger norm, or any that are not finite, count as a blow-up."""

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Values = dict[str, FloatArray]
Loss = Callable[[Values], tuple[FloatArray, Mapping[str, FloatArray]]]


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
    final : dict of str to ndarray
        After the last step, by name: weights of projections, shape (n_problems, n_post, n_pre), states and
        activity that goes on, shape (n_problems, n); zero where the problem blew up.
    blow_up : ndarray of int, shape (n_problems,)
        Number of steps after which plastic weights or states had blown up, or -1.
    record : dict of str to ndarray
        The same before step 0, `every`, 2 `every`, ...; with a second axis of records.
    every : int
        Steps between two records.
    """

    final: Values
    blow_up: IntArray
    record: Values
    every: int


@dataclass(frozen=True)
class MetaGradient:
    """Losses of many problems and their exact gradients.

    Attributes
    ----------
    losses : ndarray, shape (n_problems,)
        As the loss function gave them; problems that blew up get ``2 - blow_up / n_steps``.
    gradients : dict of str to ndarray, shape (n_problems, n_parameters)
        Derivatives by the parameters of each slot's rule: the entries of a polynomial's or spline rule's
        table in C order, or a program's constants. Zero where the problem blew up.
    initial_adjoint : dict of str to ndarray
        Derivatives by what the problem began with, by name and with the shapes of :attr:`RateOutcome.final`.
    outcome : RateOutcome
    """

    losses: FloatArray
    gradients: Values
    initial_adjoint: Values
    outcome: RateOutcome


def simulate(
    circuit: Circuit,
    rules: Mapping[str, Rule],
    inputs: ArrayLike,
    weights: Mapping[str, ArrayLike],
    schedule: Schedule,
    *,
    states: Mapping[str, ArrayLike] | None = None,
    signals: Mapping[str, ArrayLike] | None = None,
    every: int | None = None,
) -> RateOutcome:
    """Simulate many problems under some rules.

    Parameters
    ----------
    circuit : Circuit
        Of Rate populations.
    rules : mapping of str to PolynomialRule, Program or SplineRule
        By slot, which is the name of a plastic projection; weights without a rule stay as they are. A program
        names those of the slot's variables that it reads.
    inputs : array_like, shape (n_problems, n_samples, n_inputs)
        Activity of the populations to which no projection goes, one after the other.
    weights : mapping of str to array_like, shape (n_problems, n_post, n_pre)
        At the start; of projections that are not there the weight that the circuit says. Synapses that a
        hierarchical projection does not have are ignored.
    schedule : Schedule
        Its learning rate is multiplied with that of each projection.
    states : mapping of str to array_like, shape (n_problems, n)
        States, and activity that goes on, at the start; others begin at zero.
    signals : mapping of str to array_like, shape (n_problems, n_samples)
        Value of a signal at each sample, or anything that broadcasts to it; others keep their initial value.
    every : int, optional
        Steps between two records; default: the start alone is recorded.

    Returns
    -------
    RateOutcome

    Raises
    ------
    ValueError
        If a name is unknown, shapes do not fit, numbers are not finite or the schedule names samples that do
        not exist.

    Examples
    --------
    Oja's rule ends at the first principal component with unit norm.

    >>> from sims.circuit import Projection, Rate
    >>> from sims.rules import PolynomialRule
    >>> feedforward = Projection("x", "y", 1.0, plastic=True)
    >>> neuron = Circuit({"x": Rate(2), "y": Rate(1)}, {"feedforward": feedforward})
    >>> rng = np.random.default_rng(0)
    >>> inputs, start = rng.normal(size=(1, 200, 2)) * [1.0, 0.3], {"feedforward": [[[0.1, 0.1]]]}
    >>> oja = {"feedforward": PolynomialRule.from_terms({(1, 1, 0): 1.0, (0, 2, 1): -1.0})}
    >>> end = simulate(neuron, oja, inputs, start, Schedule.whole_sample(200, 300, 0.1)).final["feedforward"]
    >>> bool(abs(np.linalg.norm(end) - 1) < 1e-3)
    True
    """
    every = schedule.n_steps if every is None else every
    if every < 1:
        raise ValueError(f"Records are at least one step apart, got every={every}.")
    layout = Layout.of(circuit)
    x, start = _checked(layout, inputs, weights, states or {}, signals or {}, schedule)
    run = planned(layout, rules).simulated(x, start, schedule, every, BLOW_UP_NORM)
    record = run.record() if every < schedule.n_steps else start[:, None]
    return RateOutcome(layout.by_name(run.states()), run.blow_up(), layout.by_name(record), every)


def meta_gradient(
    circuit: Circuit,
    rules: Mapping[str, Rule],
    inputs: ArrayLike,
    weights: Mapping[str, ArrayLike],
    schedule: Schedule,
    loss: Loss,
    *,
    states: Mapping[str, ArrayLike] | None = None,
    signals: Mapping[str, ArrayLike] | None = None,
) -> MetaGradient:
    """Losses after the inner loop and their exact gradients with respect to all parameters of the rules.

    Reverse mode through every step, sample and sweep. All states on the way are kept where they take little
    memory. For longer runs about ``2 sqrt(n_steps)`` of them are, and segments are run again from recorded
    starts.

    Parameters
    ----------
    circuit, rules, inputs, weights, schedule, states, signals
        As for :func:`simulate`.
    loss : callable
        Maps what a run ended with, as :attr:`RateOutcome.final` holds it, to losses (n_problems,) and the
        derivatives by those parts of it, by name, on which they depend.

    Returns
    -------
    MetaGradient

    Raises
    ------
    ValueError
        As for :func:`simulate`, or if the loss function returns arrays of other shapes.
    """
    layout = Layout.of(circuit)
    x, start = _checked(layout, inputs, weights, states or {}, signals or {}, schedule)
    plan = planned(layout, rules, for_gradient=True)
    run = plan.simulated(x, start, schedule, plan.record_interval(start, schedule.n_steps), BLOW_UP_NORM)
    final, blow_up = layout.by_name(run.states()), run.blow_up()
    losses, slopes = loss(final)
    if np.shape(losses) != (len(x),):
        raise ValueError(f"A loss returns losses of the shape {(len(x),)}, got {np.shape(losses)}.")
    for name, slope in slopes.items():
        if name not in final or np.shape(slope) != final[name].shape:
            expected = ", ".join(f"{key} {value.shape}" for key, value in final.items())
            raise ValueError(f"A loss returns derivatives by {expected}; got {name} {np.shape(slope)}.")
    blown = blow_up >= 0
    losses = np.where(blown, 2.0 - blow_up / schedule.n_steps, losses)
    adjoint = layout.packed(slopes, len(x), {})
    adjoint[blown] = 0.0
    gradients, adjoint = run.gradient(adjoint)
    outcome = RateOutcome(final, blow_up, layout.by_name(start[:, None]), schedule.n_steps)
    return MetaGradient(losses, gradients, layout.by_name(adjoint), outcome)


def checked_inputs(inputs: ArrayLike, schedule: Schedule) -> FloatArray:
    """Return the samples of all problems, or raise ValueError.

    Parameters
    ----------
    inputs : array_like, shape (n_problems, n_samples, n_inputs)
    schedule : Schedule
        Which names samples of these.
    """
    x = np.ascontiguousarray(inputs, dtype=np.float64)
    if x.ndim != 3 or 0 in x.shape:
        raise ValueError(f"Inputs have shape (n_problems, n_samples, n_inputs), got {x.shape}.")
    if not _all_finite(x):
        raise ValueError("Inputs must be finite, got NaN or infinity.")
    if schedule.order.min() < 0 or schedule.order.max() >= x.shape[1]:
        raise ValueError(f"The schedule names samples outside 0..{x.shape[1] - 1}.")
    return x


def _checked(
    layout: Layout,
    inputs: ArrayLike,
    weights: Mapping[str, ArrayLike],
    states: Mapping[str, ArrayLike],
    signals: Mapping[str, ArrayLike],
    schedule: Schedule,
) -> tuple[FloatArray, FloatArray]:
    """Samples with their signals, and states at the start."""
    x = checked_inputs(inputs, schedule)
    if x.shape[2] != layout.n_inputs:
        raise ValueError(f"Inputs of this circuit are {layout.n_inputs} numbers a sample, got {x.shape[2]}.")
    for name in signals:
        if name not in layout.signals:
            raise ValueError(f"Signals to be given are {', '.join(layout.signals) or 'none'}; got {name!r}.")
    columns = [x]
    for name, initial in layout.signals.items():
        try:
            values = np.broadcast_to(np.asarray(signals.get(name, initial), dtype=np.float64), x.shape[:2])
        except ValueError:
            raise ValueError(
                f"The signal {name} has a value for each sample, shape {x.shape[:2]}, got "
                f"{np.shape(signals[name])}."
            ) from None
        if not _all_finite(values):
            raise ValueError(f"The signal {name} must be finite, got NaN or infinity.")
        columns.append(values[:, :, None])
    if layout.signals:
        x = np.concatenate(columns, axis=2)
    start = layout.checked_start(weights, states, len(x))
    if not _all_finite(start):
        raise ValueError("Initial weights and states must be finite, got NaN or infinity.")
    return frozen(x), start


def _all_finite(array: FloatArray) -> bool:
    """Whether there is no NaN and no infinity; the sum alone says so unless it overflows."""
    return bool(np.isfinite(array.sum()) or np.isfinite(array).all())
