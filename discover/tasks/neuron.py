"""Tasks of one linear neuron: everything but the problems, so that a new task says only what these are.

A subclass of :class:`NeuronTask` draws the inputs of one problem and the weights that the neuron should end
with, one vector or several of which any will do. Simulation, loss with exact gradients, measures, states,
learning curves and plain conditions of cross-validation are here; each of them can be replaced.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from math import ceil, sqrt
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from annotated_types import Ge, Gt, Le
from numpy.typing import NDArray

from discover.errors import TaskError
from discover.known_rules import get_known_rule
from discover.rule import Rule
from discover.slots import FEEDFORWARD, Slot
from discover.tasks.base import NOT_NEGATIVE, Fold, VisitedStates
from discover.tasks.pca import sign_free_distance
from discover.tasks.rate import RateTask, Values
from sims.circuit import Circuit, LowPass, Projection, Rate

__all__ = [
    "DrawnProblems",
    "NeuronProblems",
    "NeuronSettings",
    "NeuronTask",
    "conditions_of_learning",
    "nearest_distance",
    "neuron_circuit",
    "plain_conditions",
    "reached_by_reference",
    "unit_vectors",
]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

N_REFERENCE_PROBLEMS = 24
"""Problems on which the reference rule is measured where tolerances follow from it."""


@dataclass(frozen=True)
class NeuronSettings:
    """Settings that all tasks of one neuron have; a task adds its own, each with a default.

    Parameters
    ----------
    n_inputs : int
        Number of synapses.
    n_samples : int
        Inputs of a problem.
    n_steps : int
        Updates of the inner loop.
    learning_rate : float
        Factor of every change of a weight.
    batch : int
        Samples an update takes the mean over: 1 is online, 0 the whole sample.
    initial_scale : float
        Standard deviation of the initial weights.
    """

    n_inputs: Annotated[int, Ge(1), Le(100_000)] = 10
    n_samples: Annotated[int, Ge(2), Le(1_000_000)] = 200
    n_steps: Annotated[int, Ge(1), Le(10_000_000)] = 400
    learning_rate: Annotated[float, Gt(0), Le(10)] = 0.1
    batch: Annotated[int, Ge(0), Le(1_000_000)] = 10
    initial_scale: Annotated[float, Gt(0), Le(100)] = 0.1

    def __post_init__(self) -> None:
        if self.batch and self.n_samples % self.batch:
            raise TaskError(f"A batch of {self.batch} does not divide {self.n_samples} samples.")


@dataclass(frozen=True)
class DrawnProblems:
    """Drawn problems of a rate network; subclasses add arrays whose first axis is the problem.

    Attributes
    ----------
    inputs : ndarray, shape (n_problems, n_samples, n_inputs)
    initial_weights : ndarray, shape (n_problems, ..., n_inputs)
    settings : dataclass
    """

    inputs: FloatArray
    initial_weights: FloatArray
    settings: Any

    @property
    def n_problems(self) -> int:
        """Number of problems."""
        return len(self.inputs)

    @property
    def n_steps(self) -> int:
        """Length of the inner loop, in updates."""
        steps: int = self.settings.n_steps
        return steps

    def subset(self, indices: Sequence[int] | IntArray) -> Self:
        """Return some of the problems."""
        picks = np.asarray(indices)
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(
            self, **{name: array[picks] for name, array in arrays.items() if isinstance(array, np.ndarray)}
        )


@dataclass(frozen=True)
class NeuronProblems(DrawnProblems):
    """Drawn problems of one neuron; `initial_weights` have the shape (n_problems, n_inputs).

    Attributes
    ----------
    targets : ndarray, shape (n_problems, n_inputs) or (n_problems, n_targets, n_inputs)
        Weights to end with, either sign; any one of them where there are several.
    """

    targets: FloatArray


class NeuronTask(RateTask):
    """One linear neuron ``y = sum_i w_i x_i`` whose synapses change by one rule.

    A subclass has to give `name`, `title`, `settings_type` (a subclass of :class:`NeuronSettings`),
    `known_rules` with their `reference`, and :meth:`draw_problem`.

    Attributes
    ----------
    problems_type : type
        :class:`NeuronProblems`, or a subclass where problems have further arrays.
    worst : mapping from str to float
        Value of a measure where the problem blew up; without an entry 0 for a measure that is good when
        large and 1 for others.
    """

    slots: ClassVar[tuple[Slot, ...]] = (FEEDFORWARD,)
    problems_type: ClassVar[type[NeuronProblems]] = NeuronProblems
    measures: ClassVar[Mapping[str, str]] = {
        "loss": "distance of the weights to the nearest target, either sign",
        "cosine": "absolute cosine between the weights and the target that it is largest for",
        "norm_error": "absolute difference of the weights' norm from one",
    }
    higher_is_better: ClassVar[tuple[str, ...]] = ("cosine",)
    possible: ClassVar[Mapping[str, tuple[float, float]]] = {
        **NOT_NEGATIVE, "norm_error": (0.0, np.inf), "cosine": (0.0, 1.0),
    }  # fmt: skip
    worst: ClassVar[Mapping[str, float]] = {}
    takes_splines: ClassVar[bool] = True

    @abstractmethod
    def draw_problem(self, settings: Any, rng: np.random.Generator) -> Mapping[str, FloatArray]:
        """Draw one problem.

        Returns
        -------
        mapping from str to ndarray
            ``inputs`` (n_samples, n_inputs), ``targets`` (n_inputs,) or (n_targets, n_inputs), and whatever
            else `problems_type` holds; ``initial_weights`` (n_inputs,) unless random ones will do.
        """

    def distance(self, weights: FloatArray, problems: Any) -> Any:
        """Loss of final weights (n_problems, n_inputs), and its derivative with respect to them.

        A task that returns the losses (n_problems,) alone has derivatives by differences.
        """
        return nearest_distance(weights, problems.targets)

    def measure(self, weights: FloatArray, problems: Any) -> dict[str, FloatArray]:
        """Measures of final weights (n_problems, n_inputs) by name, all but the loss."""
        directions = unit_vectors(weights)
        targets = unit_vectors(_several(problems.targets))
        cosines = np.abs(np.einsum("pd,pkd->pk", directions, targets)).max(axis=1)
        return {
            "cosine": np.minimum(cosines, 1.0),
            "norm_error": np.abs(np.linalg.norm(weights, axis=1) - 1),
        }

    def folds(self, settings: Any) -> tuple[Fold, ...]:
        """Other sizes, starts, learning rates and horizons, where the loss beside the reference counts."""
        return tuple(Fold(name, title, changed) for name, title, changed in plain_conditions(settings))

    def started(self, problem: Values, settings: Any, rng: np.random.Generator) -> Values:
        """Return a drawn problem with the weights that it begins with, random ones unless it has some."""
        _check_drawn(problem, self.name)
        if "initial_weights" in problem:
            return problem
        return {
            **problem,
            "initial_weights": rng.normal(0, settings.initial_scale, problem["inputs"].shape[1]),
        }

    def circuit(self, problems: Any) -> Circuit:
        """Return the neuron; tasks whose neuron keeps states have one of their own."""
        return neuron_circuit(self.slots[0].name, problems.inputs.shape[2])

    def start(self, problems: Any) -> tuple[Values, Values]:
        """Weights and states that problems begin with, by name."""
        return {self.slots[0].name: problems.initial_weights[:, None]}, {}

    def answers_of(self, values: Values) -> FloatArray:
        """Return the weights, shape (..., n_inputs)."""
        return values[self.slots[0].name][..., 0, :]

    def pull_answers(self, values: Values, slopes: FloatArray) -> Values:
        """Derivatives by weights, from those by the same weights as a vector."""
        return {self.slots[0].name: slopes[:, None]}

    def measures_of(self, answers: FloatArray, values: Values, problems: Any) -> dict[str, FloatArray]:
        """Measures by name, all but the loss."""
        return self.measure(answers, problems)

    def at_blow_up(self, measure: str, settings: Any) -> float:
        """Return the value of a measure where a problem blew up."""
        return self.worst.get(measure, super().at_blow_up(measure, settings))

    def probe(self, problems: Any, n_states: int, seed: np.random.SeedSequence) -> dict[str, VisitedStates]:
        """States of the slot's variables at random weights of the size that the task asks for."""
        rng = np.random.default_rng(seed)
        weights = unit_vectors(rng.normal(size=(problems.n_problems, problems.inputs.shape[2])))
        weights = self.asked_size(weights, problems)[:, None]
        power = np.mean(np.einsum("psd,prd->prs", problems.inputs, weights) ** 2, axis=2)
        states = self._sampled(problems, weights, power, np.zeros(1, int), n_states, rng)
        return {self.slots[0].name: states}

    def asked_size(self, weights: FloatArray, problems: Any) -> FloatArray:
        """Return weights (n_problems, n_inputs) of unit norm at the size that the task asks for: one."""
        return weights

    def visit(
        self, rule: Rule | FloatArray, problems: Any, n_states: int, seed: np.random.SeedSequence
    ) -> dict[str, VisitedStates]:
        """States of the slot's variables at random steps, problems and synapses."""
        rng = np.random.default_rng(seed)
        every, state = max(1, problems.n_steps // 100), self.slots[0].state
        course = self.run(rule, problems, None, every)
        is_sound = course.blow_up < 0
        states = self._sampled(
            problems.subset(np.flatnonzero(is_sound)),
            course.record[is_sound],
            None if state is None else course.records[state][is_sound, :, 0],
            np.arange(course.record.shape[1]) * every,
            n_states,
            rng,
        )
        return {self.slots[0].name: states}

    def _sampled(
        self,
        problems: Any,
        weights: FloatArray,
        thresholds: FloatArray | None,
        steps: IntArray,
        n_states: int,
        rng: np.random.Generator,
    ) -> VisitedStates:
        """Draw states; weights (n_problems, n_records, n_inputs), thresholds (n_problems, n_records)."""
        if problems.n_problems == 0:
            n_states = 0
        n_problems, n_samples, n_inputs = problems.inputs.shape
        problem, record, sample, synapse = (
            rng.integers(max(size, 1), size=n_states)
            for size in (n_problems, len(steps), n_samples, n_inputs)
        )
        x = problems.inputs[problem, sample]
        w = weights[problem, record]
        rows = np.arange(n_states)
        columns = [x[rows, synapse], np.einsum("sd,sd->s", x, w), w[rows, synapse]]
        if self.slots[0].state is not None and thresholds is not None:
            columns.append(thresholds[problem, record])
        return VisitedStates(np.column_stack(columns), problem, steps[record])


@lru_cache(maxsize=64)
def neuron_circuit(slot: str, n_inputs: int, **states: LowPass) -> Circuit:
    """Return the circuit of one linear neuron, whose synapses change by the rule of a slot."""
    populations = {"x": Rate(n_inputs), "y": Rate(1)}
    return Circuit(populations, {slot: Projection("x", "y", 1.0, plastic=True)}, states)


def _check_drawn(problem: Mapping[str, Any], name: str) -> None:
    """Refuse a problem whose parts do not fit together, before arithmetic stumbles over it."""
    missing = [part for part in ("inputs", "targets") if part not in problem]
    if missing:
        raise TaskError(f"`draw_problem` of the task {name} returns no {' and no '.join(missing)}.")
    inputs, targets = np.shape(problem["inputs"]), np.shape(problem["targets"])
    if len(inputs) != 2 or len(targets) not in (1, 2) or targets[-1] != inputs[1]:
        raise TaskError(
            f"`draw_problem` of the task {name} returns inputs of shape {inputs} and targets of shape "
            f"{targets}; (n_samples, n_inputs) and (n_inputs,) or (n_targets, n_inputs) are expected."
        )


def nearest_distance(weights: FloatArray, targets: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Distance to the nearest of several targets and their negatives, and its derivative.

    Parameters
    ----------
    weights : ndarray, shape (n_problems, n_inputs)
    targets : ndarray, shape (n_problems, n_inputs) or (n_problems, n_targets, n_inputs)

    Returns
    -------
    distances : ndarray, shape (n_problems,)
    slopes : ndarray, shape (n_problems, n_inputs)

    Examples
    --------
    >>> distances, slopes = nearest_distance(np.array([[0.0, -0.5]]), np.eye(2)[None])
    >>> distances.tolist(), slopes.tolist()
    ([0.5], [[0.0, 1.0]])
    """
    if targets.ndim == weights.ndim:
        return sign_free_distance(weights, targets)
    distances, slopes = sign_free_distance(np.broadcast_to(weights[:, None], targets.shape), targets)
    rows, nearest = np.arange(len(weights)), distances.argmin(axis=1)
    return distances[rows, nearest], slopes[rows, nearest]


def unit_vectors(vectors: FloatArray) -> FloatArray:
    """Return vectors (..., n_inputs) divided by their norms; zero ones stay zero."""
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    directions: FloatArray = vectors / np.where(norms > 0, norms, 1.0)
    return directions


def plain_conditions(settings: Any) -> Iterator[tuple[str, str, Any]]:
    """Yield name, title and settings of conditions that every task of one neuron can be tried under."""
    fitted = settings.n_inputs
    for name, factor in (("half", 0.5), ("double", 2.0)):
        n_inputs = round(fitted * factor)
        if n_inputs >= 2 and n_inputs != fitted:
            changed = replace(settings, n_inputs=n_inputs)
            yield f"inputs-{name}", f"{n_inputs} inputs instead of {fitted}", changed
    yield from conditions_of_learning(settings)


def conditions_of_learning(settings: Any) -> Iterator[tuple[str, str, Any]]:
    """Yield name, title and settings of larger weights at the start, slower learning, and a longer run."""
    started = replace(settings, initial_scale=3 * settings.initial_scale)
    yield "start-large", "weights start 3 times larger", started
    rate, n_steps = settings.learning_rate, settings.n_steps
    slow = replace(settings, learning_rate=0.3 * rate, n_steps=ceil(n_steps / 0.3))
    yield "learning-slow", f"learning rate {slow.learning_rate:.3g}, {slow.n_steps} updates", slow
    longer = replace(settings, n_steps=3 * n_steps)
    yield "run-long", f"{longer.n_steps} updates", longer


def reached_by_reference(
    task: Any, settings: Any, measures: Sequence[str], margin: float
) -> dict[str, tuple[float, float]]:
    """Return tolerances from what the task's reference rule itself reaches under some settings.

    Parameters
    ----------
    task : Task
    settings : dataclass
    measures : sequence of str
    margin : float
        What a mean may be worse than the reference rule's, beside three standard errors of that.
    """
    rule = get_known_rule(task.reference_for(settings)).rule
    if rule is None:
        return {}
    problems = task.draw(settings, N_REFERENCE_PROBLEMS, np.random.SeedSequence(0))
    measured = task.evaluate(rule, problems)
    tolerances = {}
    for measure in measures:
        mean = float(measured[measure].mean())
        reach = margin + 3 * float(measured[measure].std(ddof=1)) / sqrt(N_REFERENCE_PROBLEMS)
        if measure in task.higher_is_better:
            tolerances[measure] = (round(mean - reach, 3), float("inf") if mean > 1 else 1.001)
        else:
            tolerances[measure] = (0.0, round(mean + reach, 3))
    return tolerances


def _several(targets: FloatArray) -> FloatArray:
    return targets[:, None] if targets.ndim == 2 else targets
