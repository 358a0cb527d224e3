"""Tasks of a rate circuit: everything that does not depend on which circuit it is."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from discover.errors import TaskError
from discover.known_rules import KnownRule
from discover.rule import Rule
from discover.tasks._slopes import check_measures, check_slopes, losses_alone, losses_with_slopes
from discover.tasks.base import Task, TaskGradient
from discover.tasks.pca import mini_batches
from sims.circuit import Circuit
from sims.rules import PolynomialRule, SplineRule

__all__ = ["Course", "RateTask"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Values = Mapping[str, FloatArray]

N_CHECKED = 2
"""Problems on which a task is checked before a run."""


@dataclass(frozen=True)
class Course:
    """What the inner loop ended with, and how it came there."""

    answers: FloatArray  # (n_problems, ...): what the loss looks at, at the end
    record: FloatArray  # (n_problems, n_records, ...): the same on the way
    blow_up: IntArray  # (n_problems,): steps after which a problem had blown up, or -1
    n_steps: int
    final: Values  # weights and states by name, at the end
    records: Values  # and on the way

    @property
    def blow_up_loss(self) -> FloatArray:
        """Loss of each problem if it blew up."""
        loss: FloatArray = 2.0 - self.blow_up / self.n_steps
        return loss


class RateTask(Task):
    """A rate circuit whose synapses change by the rules of some slots."""

    problems_type: ClassVar[Any]

    @abstractmethod
    def circuit(self, problems: Any) -> Circuit:
        """Return the circuit, whose plastic projections are called as the slots are."""

    @abstractmethod
    def start(self, problems: Any) -> tuple[Values, Values]:
        """Weights and states that problems begin with, by name, as :func:`sims.rate.simulate` takes them."""

    @abstractmethod
    def answers_of(self, values: Values) -> FloatArray:
        """Return what the loss looks at, from weights by name with any axes before the last two."""

    @abstractmethod
    def pull_answers(self, values: Values, slopes: FloatArray) -> Values:
        """Derivatives by weights, by name, from those by what the loss looks at."""

    @abstractmethod
    def distance(self, answers: FloatArray, problems: Any) -> Any:
        """Losses (n_problems,), and their derivative with respect to what the loss looks at.

        A task that returns the losses alone has derivatives by differences.
        """

    def draw(self, settings: Any, n_problems: int, seed: np.random.SeedSequence) -> Any:
        """Draw problems; problem `n` is the same however many are drawn."""
        rngs = [np.random.default_rng(child) for child in seed.spawn(n_problems)]
        drawn = [self.started(self.draw_problem(settings, rng), settings, rng) for rng in rngs]
        parts = {name: np.array([one[name] for one in drawn]) for name in drawn[0]}
        return self.problems_type(settings=settings, **parts)

    @abstractmethod
    def draw_problem(self, settings: Any, rng: np.random.Generator) -> Values:
        """Draw one problem: ``inputs`` (n_samples, n_inputs) and what else `problems_type` holds."""

    @abstractmethod
    def started(self, problem: Values, settings: Any, rng: np.random.Generator) -> Values:
        """Return a drawn problem with the weights that it begins with."""

    @abstractmethod
    def measures_of(self, answers: FloatArray, values: Values, problems: Any) -> dict[str, FloatArray]:
        """Measures by name, all but the loss."""

    def at_blow_up(self, measure: str, settings: Any) -> float:
        """Return the value of a measure where a problem blew up."""
        return 0.0 if measure in self.higher_is_better else 1.0

    def run(self, rule: Any, problems: Any, n_steps: int | None = None, every: int | None = None) -> Course:
        """Run the inner loop, with records `every` so many steps."""
        from sims.rate import simulate

        weights, states = self.start(problems)
        schedule = self.schedule(problems, n_steps)
        rules = self.kernel_rules(rule)
        found = simulate(
            self.circuit(problems), rules, problems.inputs, weights, schedule, states=states, every=every
        )
        answers, record = self.answers_of(found.final), self.answers_of(found.record)
        return Course(answers, record, found.blow_up, schedule.n_steps, found.final, found.record)

    def schedule(self, problems: Any, n_steps: int | None = None) -> Any:
        """Samples of each step; `n_steps` cuts the inner loop off."""
        settings, n_samples = problems.settings, problems.inputs.shape[1]
        return mini_batches(n_samples, settings.batch, problems.n_steps, settings.learning_rate, n_steps)

    def kernel_rules(self, rule: Rule | KnownRule | FloatArray) -> dict[str, Any]:
        """Return a rule, or a vector of all coefficients, by slot and in the form of the simulator.

        A slot in which the rule does not act stays as it is.
        """
        if isinstance(rule, KnownRule):
            raise TaskError(f"The known rule {rule.name!r} has no network for this task.")
        if isinstance(rule, Rule):
            return {name: rule.program(name) for name in rule.slots}
        if isinstance(rule, SplineRule):
            return {self.slots[0].name: rule}
        shapes = [len(slot.variables) * (3,) for slot in self.slots]
        parts = np.split(np.asarray(rule), np.cumsum([3 ** len(shape) for shape in shapes])[:-1])
        return {
            slot.name: PolynomialRule(part.reshape(shape))
            for slot, part, shape in zip(self.slots, parts, shapes, strict=True)
        }

    def losses(self, rule: Rule | FloatArray, problems: Any, n_steps: int | None = None) -> FloatArray:
        """Loss at the end, shape (n_problems,); a blow-up after ``t`` of ``T`` steps counts ``2 - t/T``."""
        course = self.run(rule, problems, n_steps)
        losses = losses_alone(self.distance(course.answers, problems))
        return np.where(course.blow_up >= 0, course.blow_up_loss, losses)

    def gradient(self, rule: Rule | FloatArray, problems: Any, n_steps: int | None = None) -> TaskGradient:
        """Losses and exact gradients with respect to all coefficients, or to a rule's constants."""
        from sims.rate import meta_gradient

        def loss(final: Values) -> tuple[FloatArray, Values]:
            losses, slopes = losses_with_slopes(
                lambda moved: self.distance(moved, problems), self.answers_of(final)
            )
            return losses, self.pull_answers(final, slopes)

        weights, states = self.start(problems)
        found = meta_gradient(
            self.circuit(problems), self.kernel_rules(rule), problems.inputs, weights,
            self.schedule(problems, n_steps), loss, states=states,
        )  # fmt: skip
        parts = [found.gradients[slot.name] for slot in self.slots if slot.name in found.gradients]
        return TaskGradient(found.losses, np.concatenate(parts, axis=1), found.outcome.blow_up >= 0)

    def evaluate(self, rule: Rule | KnownRule, problems: Any) -> dict[str, FloatArray]:
        """Measures of each problem after the inner loop; a blow-up has the worst value of each."""
        course = self.run(rule, problems)
        blown = course.blow_up >= 0
        losses = losses_alone(self.distance(course.answers, problems))
        measured = {"loss": np.where(blown, course.blow_up_loss, losses)}
        for name, values in self.measures_of(course.answers, course.final, problems).items():
            measured[name] = np.where(blown, self.at_blow_up(name, problems.settings), values)
        if isinstance(rule, Rule):
            check_measures(self.name, self.measures, measured)
        return measured

    def check(self, settings: Any) -> None:
        """Compare the derivatives of the loss with differences, and the measures with those stated."""
        problems = self.draw(settings, N_CHECKED, np.random.SeedSequence(0))
        weights = self.start(problems)[0]
        shape = self.answers_of(weights).shape
        answers = np.random.default_rng(0).normal(size=shape) / sqrt(shape[-1])
        check_slopes(self.name, lambda moved: self.distance(moved, problems), answers)
        check_measures(self.name, self.measures, ["loss", *self.measures_of(answers, weights, problems)])

    def learning_curve(
        self, rule: Rule | KnownRule, problems: Any, n_points: int
    ) -> tuple[IntArray, FloatArray]:
        """Loss along the inner loop: steps (n_points,) and losses (n_points, n_problems)."""
        every = max(1, problems.n_steps // n_points)
        course = self.run(rule, problems, None, every)
        steps = np.arange(course.record.shape[1]) * every
        losses = np.array(
            [losses_alone(self.distance(answers, problems)) for answers in course.record.swapaxes(0, 1)]
        )
        late = (course.blow_up >= 0) & (steps[:, None] >= course.blow_up)
        losses[late] = np.broadcast_to(course.blow_up_loss, losses.shape)[late]
        return steps, losses
