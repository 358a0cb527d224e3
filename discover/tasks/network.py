"""Tasks of a two-layer network: everything but the problems and what is asked of the outputs.

Inputs reach the outputs through feed-forward weights, and earlier outputs reach later ones through lateral
weights, in one pass: ``y = (1 + V) W x``, where ``V`` is zero on and above its diagonal. The two kinds of
synapses change by two rules. What the outputs are is told by the *answering weights* ``(1 + V) W``, with
which they answer to the inputs.

References
----------
Rubner & Tavan (1989), Europhys. Lett. 10:693; Confavreux et al. (NeurIPS 2020), section 3.2.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from discover.known_rules import KnownRule
from discover.rule import Rule
from discover.slots import FEEDFORWARD, LATERAL, Slot
from discover.tasks._slopes import check_measures, check_slopes, losses_alone, losses_with_slopes
from discover.tasks.base import Task, TaskGradient, VisitedStates
from discover.tasks.neuron import N_CHECKED, DrawnProblems
from discover.tasks.pca import mini_batches
from sims.rules import PolynomialRule, Program

__all__ = ["LayerProblems", "NetworkTask", "output_correlations"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

LATERAL_SIZE = 0.5
"""Root-mean-square of lateral weights at which the size of their terms is measured: they start small, grow
until outputs are decorrelated, and may vanish at the end."""


@dataclass(frozen=True)
class LayerProblems(DrawnProblems):
    """Drawn problems; `initial_weights` have the shape (n_problems, n_outputs, n_inputs).

    Attributes
    ----------
    initial_lateral : ndarray, shape (n_problems, n_outputs, n_outputs)
        By postsynaptic and presynaptic output, below the diagonal.
    """

    initial_lateral: FloatArray


class NetworkTask(Task):
    """A two-layer network whose feed-forward and lateral synapses change by two rules.

    A subclass gives `name`, `title`, `settings_type` with `n_inputs`, `n_outputs`, `n_samples`, `n_steps`,
    `learning_rate`, `batch` and `initial_scale` among its fields, `problems_type`, `reference`,
    `known_rules`, `measures`, and the methods :meth:`draw_problem`, :meth:`distance`, :meth:`measure` and
    :meth:`folds`.
    """

    problems_type: ClassVar[type[LayerProblems]] = LayerProblems
    slots: ClassVar[tuple[Slot, ...]] = (FEEDFORWARD, LATERAL)

    @abstractmethod
    def draw_problem(self, settings: Any, rng: np.random.Generator) -> Mapping[str, FloatArray]:
        """Draw the ``inputs`` (n_samples, n_inputs) of one problem, and what else `problems_type` holds."""

    @abstractmethod
    def distance(self, response: FloatArray, problems: Any) -> Any:
        """Loss of answering weights (n_problems, n_outputs, n_inputs), and its derivative.

        A task that returns the losses (n_problems,) alone has derivatives by differences.
        """

    @abstractmethod
    def measure(
        self, response: FloatArray, lateral: FloatArray | None, problems: Any
    ) -> dict[str, FloatArray]:
        """Measures by name, all but the loss; `lateral` is None for a network without lateral synapses."""

    def worst(self, measure: str, settings: Any) -> float:
        """Return the value of a measure where a problem blew up."""
        return 0.0 if measure in self.higher_is_better else 1.0

    def draw(self, settings: Any, n_problems: int, seed: np.random.SeedSequence) -> Any:
        """Draw problems; problem `n` is the same however many are drawn."""
        n_outputs = settings.n_outputs
        drawn = []
        for child in seed.spawn(n_problems):
            rng = np.random.default_rng(child)
            problem = self.draw_problem(settings, rng)
            weights = rng.normal(0, settings.initial_scale, (n_outputs, settings.n_inputs))
            lateral = np.tril(rng.normal(0, settings.initial_scale, (n_outputs, n_outputs)), -1)
            drawn.append({**problem, "initial_weights": weights, "initial_lateral": lateral})
        return self.problems_type(
            settings=settings, **{name: np.array([one[name] for one in drawn]) for name in drawn[0]}
        )

    def losses(self, rule: Rule | FloatArray, problems: Any, n_steps: int | None = None) -> FloatArray:
        """Loss of the final answering weights, shape (n_problems,).

        A blow-up after ``t`` of ``T`` steps counts ``2 - t/T``.
        """
        outcome, longest = _simulate(rule, problems, n_steps)
        losses = losses_alone(self.distance(_response(outcome.weights, outcome.lateral), problems))
        return np.where(outcome.blow_up >= 0, 2.0 - outcome.blow_up / longest, losses)

    def gradient(self, rule: Rule | FloatArray, problems: Any, n_steps: int | None = None) -> TaskGradient:
        """Losses and exact gradients with respect to the 54 coefficients, or to a rule's constants."""
        from sims.network import meta_gradient

        def loss(weights: FloatArray, lateral: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
            losses, slopes = losses_with_slopes(
                lambda moved: self.distance(moved, problems), _response(weights, lateral)
            )
            return losses, slopes + lateral.swapaxes(-1, -2) @ slopes, slopes @ weights.swapaxes(-1, -2)

        result = meta_gradient(
            _kernel_rule(rule),
            problems.inputs,
            problems.initial_weights,
            problems.initial_lateral,
            _schedule(problems, n_steps),
            loss,
        )
        parts = [result.feedforward, result.lateral]
        if isinstance(rule, Rule):
            parts = [part for slot, part in zip(self.slots, parts, strict=True) if slot.name in rule.slots]
        return TaskGradient(result.losses, np.concatenate(parts, axis=1), result.outcome.blow_up >= 0)

    def probe(self, problems: Any, n_states: int, seed: np.random.SeedSequence) -> dict[str, VisitedStates]:
        """States at random feed-forward weights of unit norm and random lateral weights."""
        rng = np.random.default_rng(seed)
        weights = rng.normal(size=(problems.n_problems, 1, *problems.initial_weights.shape[1:]))
        weights /= np.linalg.norm(weights, axis=3, keepdims=True)
        shape = (problems.n_problems, 1, *problems.initial_lateral.shape[1:])
        lateral = np.tril(rng.normal(0, LATERAL_SIZE, shape), -1)
        return _sampled_states(problems, weights, lateral, np.zeros(1, int), n_states, rng)

    def visit(
        self, rule: Rule | FloatArray, problems: Any, n_states: int, seed: np.random.SeedSequence
    ) -> dict[str, VisitedStates]:
        """States (x, y, w) and (y_pre, y_post, v) at random steps, problems and synapses."""
        rng = np.random.default_rng(seed)
        every = max(1, problems.n_steps // 100)
        outcome, _ = _simulate(rule, problems, None, every)
        sound = outcome.blow_up < 0
        record, lateral_record = outcome.record[sound], outcome.lateral_record[sound]
        steps = np.arange(record.shape[1]) * every
        return _sampled_states(
            problems.subset(np.flatnonzero(sound)), record, lateral_record, steps, n_states, rng
        )

    def evaluate(self, rule: Rule | KnownRule, problems: Any) -> dict[str, FloatArray]:
        """Measures of each problem after the inner loop; a blow-up has the worst value of each.

        Networks without lateral synapses have no measure of them.
        """
        course = _course(rule, problems)
        blown = course.blow_up >= 0
        losses = losses_alone(self.distance(course.response, problems))
        measured = {"loss": np.where(blown, course.blow_up_loss, losses)}
        for name, values in self.measure(course.response, course.lateral, problems).items():
            measured[name] = np.where(blown, self.worst(name, problems.settings), values)
        return measured

    def check(self, settings: Any) -> None:
        """Compare the derivatives of the loss with differences, and the measures with those stated."""
        problems = self.draw(settings, N_CHECKED, np.random.SeedSequence(0))
        rng, shape = np.random.default_rng(0), problems.initial_weights.shape
        response = rng.normal(size=shape) / np.sqrt(shape[-1])
        check_slopes(self.name, lambda moved: self.distance(moved, problems), response)
        lateral = np.tril(rng.normal(size=problems.initial_lateral.shape), -1)
        check_measures(self.name, self.measures, ["loss", *self.measure(response, lateral, problems)])

    def learning_curve(
        self, rule: Rule | KnownRule, problems: Any, n_points: int
    ) -> tuple[IntArray, FloatArray]:
        """Loss along the inner loop: steps (n_points,) and losses (n_points, n_problems)."""
        every = max(1, problems.n_steps // n_points)
        course = _course(rule, problems, every)
        steps = np.arange(course.record.shape[1]) * every
        responses = course.record.swapaxes(0, 1)
        losses = np.array([losses_alone(self.distance(response, problems)) for response in responses])
        late = (course.blow_up >= 0) & (steps[:, None] >= course.blow_up)
        losses[late] = np.broadcast_to(course.blow_up_loss, losses.shape)[late]
        return steps, losses


def output_correlations(response: FloatArray, inputs: FloatArray) -> FloatArray:
    """Correlations of the outputs about zero, shape (n_problems, n_outputs, n_outputs)."""
    outputs = inputs @ response.swapaxes(1, 2)
    products = outputs.swapaxes(1, 2) @ outputs
    sizes = np.sqrt(np.maximum(np.einsum("pkk->pk", products), 1e-300))
    correlations: FloatArray = products / sizes[:, :, None] / sizes[:, None, :]
    return correlations


def _simulate(
    rule: Rule | FloatArray, problems: Any, n_steps: int | None, every: int | None = None
) -> tuple[Any, int]:
    """Run the inner loop; return what it ended with, and its length."""
    from sims.network import simulate

    schedule = _schedule(problems, n_steps)
    outcome = simulate(
        _kernel_rule(rule), problems.inputs, problems.initial_weights, problems.initial_lateral, schedule,
        every=every,
    )  # fmt: skip
    return outcome, schedule.n_steps


@dataclass(frozen=True)
class _Course:
    """How the outputs of a network, of this task or a published one, answered to inputs.

    `response` (n_problems, n_outputs, n_inputs) are the answering weights at the end, `record`
    (n_problems, n_records, n_outputs, n_inputs) those on the way; `lateral` is None where the network has no
    lateral synapses.
    """

    response: FloatArray
    lateral: FloatArray | None
    blow_up: IntArray
    record: FloatArray
    longest: int

    @property
    def blow_up_loss(self) -> FloatArray:
        """Loss of each problem if it blew up."""
        loss: FloatArray = 2.0 - self.blow_up / self.longest
        return loss


def _course(rule: Rule | KnownRule, problems: Any, every: int | None = None) -> _Course:
    if isinstance(rule, KnownRule):
        from sims import published

        schedule = _schedule(problems, None)
        end = published.simulate(rule.name, problems.inputs, problems.initial_weights, schedule, every=every)
        return _Course(end.response, end.lateral, end.blow_up, end.record, schedule.n_steps)
    outcome, longest = _simulate(rule, problems, None, every)
    return _Course(
        _response(outcome.weights, outcome.lateral),
        outcome.lateral,
        outcome.blow_up,
        _response(outcome.record, outcome.lateral_record),
        longest,
    )


def _schedule(problems: Any, n_steps: int | None) -> Any:
    settings = problems.settings
    n_samples = problems.inputs.shape[1]
    return mini_batches(n_samples, settings.batch, problems.n_steps, settings.learning_rate, n_steps)


def _kernel_rule(rule: Rule | FloatArray) -> Any:
    """Return both slots' rules for the simulator; a slot in which the rule does not act stays as it is."""
    from sims.network import NetworkRule

    still = PolynomialRule(np.zeros((3, 3, 3)))
    parts: list[PolynomialRule | Program]
    if isinstance(rule, Rule):
        names = (slot.name for slot in NetworkTask.slots)
        parts = [rule.program(name) if name in rule.slots else still for name in names]
    else:
        parts = [PolynomialRule(table) for table in np.reshape(rule, (2, 3, 3, 3))]
    return NetworkRule(*parts)


def _response(weights: FloatArray, lateral: FloatArray) -> FloatArray:
    """Weights with which outputs answer to inputs, through both layers; shape (..., n_outputs, n_inputs)."""
    response: FloatArray = weights + lateral @ weights
    return response


def _sampled_states(
    problems: Any,
    weights: FloatArray,
    lateral: FloatArray,
    steps: IntArray,
    n_states: int,
    rng: np.random.Generator,
) -> dict[str, VisitedStates]:
    """Draw states at random; weights have the shapes (n_problems, n_records, n_outputs, ...)."""
    if problems.n_problems == 0:
        n_states = 0
    n_problems, n_samples, n_inputs = problems.inputs.shape
    n_outputs = problems.initial_weights.shape[1]
    problem, record, sample, synapse, output = (
        rng.integers(max(size, 1), size=n_states)
        for size in (n_problems, len(steps), n_samples, n_inputs, n_outputs)
    )
    rows = np.arange(n_states)
    x, w, v = problems.inputs[problem, sample], weights[problem, record], lateral[problem, record]
    first = np.einsum("skd,sd->sk", w, x)
    y = first + np.einsum("skj,sj->sk", v, first)
    pair = rng.integers(n_outputs * (n_outputs - 1) // 2, size=n_states)
    post, pre = (index[pair] for index in np.tril_indices(n_outputs, -1))
    states = {
        FEEDFORWARD.name: (x[rows, synapse], y[rows, output], w[rows, output, synapse]),
        LATERAL.name: (y[rows, pre], y[rows, post], v[rows, post, pre]),
    }
    return {
        slot: VisitedStates(np.column_stack(columns), problem, steps[record])
        for slot, columns in states.items()
    }
