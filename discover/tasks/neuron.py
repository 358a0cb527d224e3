"""Tasks of one linear neuron: everything but the problems, so that a new task says only what these are.

A subclass of :class:`NeuronTask` draws the inputs of one problem and the weights that the neuron should end
with, one vector or several of which any will do. Simulation, loss with exact gradients, measures, states,
learning curves and plain conditions of cross-validation are here; each of them can be replaced.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from math import ceil, sqrt
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from annotated_types import Ge, Gt, Le
from numpy.typing import NDArray

from discover.errors import TaskError
from discover.known_rules import KnownRule, get_known_rule
from discover.rule import Rule
from discover.slots import FEEDFORWARD, Slot
from discover.tasks._slopes import check_measures, check_slopes, losses_alone, losses_with_slopes
from discover.tasks.base import Fold, Task, TaskGradient, VisitedStates
from discover.tasks.pca import mini_batches, sign_free_distance
from sims.rules import PolynomialRule, SplineRule

__all__ = [
    "DrawnProblems",
    "NeuronProblems",
    "NeuronSettings",
    "NeuronTask",
    "nearest_distance",
    "plain_conditions",
    "reached_by_reference",
    "unit_vectors",
]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

N_CHECKED = 2
"""Problems on which a task is checked before a run."""

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


class NeuronTask(Task):
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

    def draw(self, settings: Any, n_problems: int, seed: np.random.SeedSequence) -> Any:
        """Draw problems; problem `n` is the same however many are drawn."""
        drawn = []
        for child in seed.spawn(n_problems):
            rng = np.random.default_rng(child)
            problem = dict(self.draw_problem(settings, rng))
            _check_drawn(problem, self.name)
            if "initial_weights" not in problem:
                n_inputs = problem["inputs"].shape[1]
                problem["initial_weights"] = rng.normal(0, settings.initial_scale, n_inputs)
            drawn.append(problem)
        return self.problems_type(
            settings=settings, **{name: np.array([one[name] for one in drawn]) for name in drawn[0]}
        )

    def run(
        self, rule: Rule | KnownRule | FloatArray, problems: Any, schedule: Any, every: int | None = None
    ) -> Any:
        """Run the inner loop; what it returns has weights, blow_up and record, see :mod:`sims.rate`."""
        from sims.rate import simulate

        kernel_rule = self.kernel_rule(rule)
        return simulate(kernel_rule, problems.inputs, problems.initial_weights, schedule, every=every)

    def run_back(self, rule: Rule | FloatArray, problems: Any, schedule: Any) -> Any:
        """Run the inner loop and back; what it returns has losses, gradients and the outcome."""
        from sims.rate import meta_gradient

        def loss(weights: FloatArray) -> tuple[FloatArray, FloatArray]:
            return losses_with_slopes(lambda moved: self.distance(moved, problems), weights)

        kernel_rule = self.kernel_rule(rule)
        return meta_gradient(kernel_rule, problems.inputs, problems.initial_weights, schedule, loss)

    def kernel_rule(self, rule: Rule | KnownRule | FloatArray) -> Any:
        """Return a rule, or a vector of all coefficients, in the form of the simulator."""
        if isinstance(rule, KnownRule):
            raise TaskError(f"The known rule {rule.name!r} has no network for this task.")
        if isinstance(rule, Rule):
            return rule.program()
        if isinstance(rule, SplineRule):
            return rule
        return PolynomialRule(np.reshape(rule, (3, 3, 3)))

    def losses(self, rule: Rule | FloatArray, problems: Any, n_steps: int | None = None) -> FloatArray:
        """Loss of the final weights, shape (n_problems,).

        A blow-up after ``t`` of ``T`` steps counts ``2 - t/T``.
        """
        schedule = _schedule(problems, n_steps)
        outcome = self.run(rule, problems, schedule)
        losses = losses_alone(self.distance(outcome.weights, problems))
        return np.where(outcome.blow_up >= 0, 2.0 - outcome.blow_up / schedule.n_steps, losses)

    def gradient(self, rule: Rule | FloatArray, problems: Any, n_steps: int | None = None) -> TaskGradient:
        """Losses and exact gradients with respect to all coefficients, or to a rule's constants."""
        result = self.run_back(rule, problems, _schedule(problems, n_steps))
        return TaskGradient(result.losses, result.gradients, result.outcome.blow_up >= 0)

    def probe(self, problems: Any, n_states: int, seed: np.random.SeedSequence) -> dict[str, VisitedStates]:
        """States of the slot's variables at random weights of unit norm."""
        rng = np.random.default_rng(seed)
        weights = rng.normal(size=(problems.n_problems, 1, problems.inputs.shape[2]))
        weights /= np.linalg.norm(weights, axis=2, keepdims=True)
        power = np.mean(np.einsum("psd,prd->prs", problems.inputs, weights) ** 2, axis=2)
        states = self._sampled(problems, weights, power, np.zeros(1, int), n_states, rng)
        return {self.slots[0].name: states}

    def visit(
        self, rule: Rule | FloatArray, problems: Any, n_states: int, seed: np.random.SeedSequence
    ) -> dict[str, VisitedStates]:
        """States of the slot's variables at random steps, problems and synapses."""
        rng = np.random.default_rng(seed)
        schedule = _schedule(problems, None)
        every = max(1, schedule.n_steps // 100)
        outcome = self.run(rule, problems, schedule, every)
        is_sound = outcome.blow_up < 0
        thresholds = getattr(outcome, "threshold_record", None)
        steps = np.arange(outcome.record.shape[1]) * every
        states = self._sampled(
            problems.subset(np.flatnonzero(is_sound)),
            outcome.record[is_sound],
            None if thresholds is None else thresholds[is_sound],
            steps,
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

    def evaluate(self, rule: Rule | KnownRule, problems: Any) -> dict[str, FloatArray]:
        """Measures of each problem after the inner loop; a blow-up has the worst value of each."""
        schedule = _schedule(problems, None)
        outcome = self.run(rule, problems, schedule)
        blown = outcome.blow_up >= 0
        distances = losses_alone(self.distance(outcome.weights, problems))
        measured = {"loss": np.where(blown, 2.0 - outcome.blow_up / schedule.n_steps, distances)}
        for name, values in self.measure(outcome.weights, problems).items():
            worst = self.worst.get(name, 0.0 if name in self.higher_is_better else 1.0)
            measured[name] = np.where(blown, worst, values)
        check_measures(self.name, self.measures, measured)
        return measured

    def check(self, settings: Any) -> None:
        """Compare the derivatives of the loss with differences, and the measures with those stated."""
        problems = self.draw(settings, N_CHECKED, np.random.SeedSequence(0))
        shape = problems.initial_weights.shape
        weights = np.random.default_rng(0).normal(size=shape) / sqrt(shape[-1])
        check_slopes(self.name, lambda moved: self.distance(moved, problems), weights)
        check_measures(self.name, self.measures, ["loss", *self.measure(weights, problems)])

    def learning_curve(
        self, rule: Rule | KnownRule, problems: Any, n_points: int
    ) -> tuple[IntArray, FloatArray]:
        """Loss along the inner loop: steps (n_points,) and losses (n_points, n_problems)."""
        schedule = _schedule(problems, None)
        every = max(1, schedule.n_steps // n_points)
        outcome = self.run(rule, problems, schedule, every)
        steps = np.arange(outcome.record.shape[1]) * every
        courses = outcome.record.swapaxes(0, 1)
        losses = np.array([losses_alone(self.distance(weights, problems)) for weights in courses])
        late = (outcome.blow_up >= 0) & (steps[:, None] >= outcome.blow_up)
        losses[late] = np.broadcast_to(2.0 - outcome.blow_up / schedule.n_steps, losses.shape)[late]
        return steps, losses


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


def _schedule(problems: Any, n_steps: int | None) -> Any:
    settings = problems.settings
    n_samples = problems.inputs.shape[1]
    return mini_batches(n_samples, settings.batch, problems.n_steps, settings.learning_rate, n_steps)
