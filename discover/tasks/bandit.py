"""Task ``bandit``: choose the option that is rewarded more often, where that changes now and then.

One of two options, or of more, is rewarded with a higher probability than the others; after each trial it is
replaced by another one with a small probability, the *volatility*. A learner has a weight for each option and
chooses by a softmax of these. The rule of the weights sees whether an option was chosen (x), the probability
of that (y), the weight (w), the reward (R) and its running mean (m).

The loss is the regret over the run: how much less than with the best option of each trial can be expected,
relative to choosing blindly. Its gradient is that of the expected loss, by the path and by the likelihood of
the choices, see :meth:`BanditTask.gradient` and :mod:`sims.choice`.

References
----------
Rescorla & Wagner (1972); Williams (1992), Mach. Learn. 8:229; Behrens, Woolrich, Walton & Rushworth (2007),
Nat. Neurosci. 10:1214 (volatility).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from annotated_types import Ge, Gt, Le
from numpy.typing import NDArray

from discover.errors import TaskError
from discover.known_rules import KnownRule
from discover.rule import Rule
from discover.slots import CHOICE, Slot
from discover.tasks._slopes import check_measures
from discover.tasks.base import Answer, Fold, Task, TaskGradient, VisitedStates
from discover.tasks.neuron import reached_by_reference
from sims.rules import PolynomialRule, Program

if TYPE_CHECKING:
    from sims.choice import Bandits, ChoiceRun, Learner

__all__ = ["TASK", "BanditProblems", "BanditSettings", "BanditTask", "credits_of"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MARGIN = 0.05
"""What a measure may be worse than the reference rule's, beside three standard errors of that."""

LAST_PART = 0.25
"""Share of the trials in which the late loss is measured."""

SHORTEST_PART = 10
"""Trials; the regret of fewer is mostly luck."""


@dataclass(frozen=True)
class BanditSettings:
    """Settings of the task.

    Parameters
    ----------
    n_options : int
        Options to choose between, each with an input of its own.
    n_trials : int
        Length of the inner loop.
    high, low : float
        Probabilities of a reward, for the best option and for others.
    volatility : float
        Probability, after each trial, that another option becomes the best one.
    reversal : bool
        Whether that happens in mid-run, whatever the volatility.
    reward_noise : float
        Standard deviation of what is added to each reward.
    informative : bool
        Whether rewards depend on the choice. Without that all options give a reward with the mean of both
        probabilities, what is called the best one means nothing, and there is nothing to find.
    sharpness : float
        Of the softmax: its logits are so many times the weights.
    mean_trials : float
        Time constant of the running mean of the reward.
    credit_trials : int
        A choice is credited with the losses of so many trials after it where gradients are taken; more are
        nearer to the gradient of the expected loss, and noisier.
    learning_rate : float
        Factor of every change of a weight.
    """

    n_options: Annotated[int, Ge(2), Le(100)] = 2
    n_trials: Annotated[int, Ge(2), Le(1_000_000)] = 200
    high: Annotated[float, Ge(0), Le(1)] = 0.8
    low: Annotated[float, Ge(0), Le(1)] = 0.2
    volatility: Annotated[float, Ge(0), Le(1)] = 0.02
    reversal: bool = False
    reward_noise: Annotated[float, Ge(0), Le(100)] = 0.0
    informative: bool = True
    sharpness: Annotated[float, Gt(0), Le(1000)] = 5.0
    mean_trials: Annotated[float, Ge(1), Le(100_000)] = 10.0
    credit_trials: Annotated[int, Ge(0), Le(1_000_000)] = 20
    learning_rate: Annotated[float, Gt(0), Le(10)] = 0.3

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise TaskError(
                f"The best option is rewarded more often than others, got high {self.high}, low {self.low}."
            )

    @property
    def n_steps(self) -> int:
        """Number of trials."""
        return self.n_trials


@dataclass(frozen=True)
class BanditProblems:
    """Drawn problems: environments, and the luck of whoever chooses in them.

    Attributes
    ----------
    rewards, values : ndarray, shape (n_problems, n_trials, n_options)
        What each option would give, and what it gives in the mean.
    uniforms : ndarray, shape (n_problems, n_trials)
        By which choices are drawn.
    settings : BanditSettings
    """

    rewards: FloatArray
    values: FloatArray
    uniforms: FloatArray
    settings: BanditSettings

    @property
    def n_problems(self) -> int:
        """Number of problems."""
        return len(self.rewards)

    @property
    def n_steps(self) -> int:
        """Length of the inner loop, in trials."""
        return int(self.rewards.shape[1])

    def subset(self, indices: Sequence[int] | IntArray) -> BanditProblems:
        """Return some of the problems."""
        picks = np.asarray(indices)
        return replace(
            self, rewards=self.rewards[picks], values=self.values[picks], uniforms=self.uniforms[picks]
        )

    def bandits(self, n_trials: int | None = None) -> Bandits:
        """Return the environments as the simulator takes them, or their first trials."""
        from sims.choice import Bandits

        whole = Bandits(self.rewards, self.values, self.uniforms)
        return whole if n_trials is None else whole.shortened(n_trials)

    @property
    def learner(self) -> Learner:
        """Who chooses."""
        from sims.choice import Learner

        settings = self.settings
        return Learner(settings.learning_rate, settings.sharpness, settings.mean_trials)


class BanditTask(Task):
    """A learner that chooses between options, one slot for the weights of all of them."""

    name: ClassVar[str] = "bandit"
    title: ClassVar[str] = "The option that is rewarded more often, in a world that changes"
    slots: ClassVar[tuple[Slot, ...]] = (CHOICE,)
    settings_type: ClassVar[type] = BanditSettings
    reference: ClassVar[str] = "rescorla-wagner"
    known_rules: ClassVar[tuple[str, ...]] = (
        "rescorla-wagner", "q-forgetting", "reinforce", "reinforce-baseline", "covariance-reward",
    )  # fmt: skip
    measures: ClassVar[Mapping[str, str]] = {
        "loss": "expected regret over the run, relative to that of choosing blindly",
        "late_loss": "the same in the last quarter of the trials",
        "best_choice": "probability of choosing the best option, mean over trials",
        "reward": "expected reward of a trial",
    }
    higher_is_better: ClassVar[tuple[str, ...]] = ("best_choice", "reward")

    def answer_for(self, settings: BanditSettings) -> Answer:
        """Say that several rules serve, or that there is nothing to find where rewards tell nothing."""
        return "many forms" if settings.informative else "nothing"

    def draw(self, settings: BanditSettings, n_problems: int, seed: np.random.SeedSequence) -> BanditProblems:
        """Draw problems; problem `n` is the same however many are drawn."""
        drawn = [_drawn(settings, np.random.default_rng(child)) for child in seed.spawn(n_problems)]
        rewards, values, uniforms = (np.array(part) for part in zip(*drawn, strict=True))
        return BanditProblems(rewards, values, uniforms, settings)

    def run(self, rule: Any, problems: BanditProblems, n_steps: int | None = None) -> ChoiceRun:
        """Let the learner choose under a rule, or a vector of all coefficients."""
        from sims.choice import choose

        return choose(self.program_of(rule), problems.bandits(n_steps), problems.learner)

    def program_of(self, rule: Any) -> Program:
        """Return a rule, or a vector of all coefficients, in the form of the simulator."""
        if isinstance(rule, KnownRule):
            raise TaskError(f"The known rule {rule.name!r} has no network for this task.")
        if isinstance(rule, Rule):
            return rule.program(CHOICE.name)
        table = np.asarray(rule, dtype=np.float64).reshape(len(CHOICE.variables) * (3,))
        return PolynomialRule(table).program(CHOICE.variables, CHOICE.neuron_level)

    def losses(self, rule: Any, problems: BanditProblems, n_steps: int | None = None) -> FloatArray:
        """Relative regret of each problem, shape (n_problems,); a blow-up after t of T counts 2 - t/T."""
        rule = _sparse(rule, CHOICE)
        return _losses(self.run(rule, problems, n_steps), problems)

    def gradient(self, rule: Any, problems: BanditProblems, n_steps: int | None = None) -> TaskGradient:
        """Losses, and estimates of the gradient of the expected loss.

        The expectation is over the choices, in given environments. Each estimate has the derivative of the
        losses of trials, which are means over the choice of the trial, along a run whose choices are held;
        and that of the logarithms of the probabilities of these choices, each times the losses of the
        `credit_trials` after it, less their mean over the other problems. Its mean over choices is the exact
        gradient where the credited trials are all that follow.
        """
        from sims.choice import choice_gradient

        run, bandits = self.run(rule, problems, n_steps), problems.bandits(n_steps)
        blind = _blind(problems, run.regrets.shape[1])
        credits = credits_of(run.regrets / blind[:, None], run.blow_up < 0, problems.settings.credit_trials)
        gradients = choice_gradient(
            self.program_of(rule), bandits, problems.learner, run, 1 / blind[:, None], credits
        )
        return TaskGradient(_losses(run, problems), gradients, run.blow_up >= 0)

    def evaluate(self, rule: Rule | KnownRule, problems: BanditProblems) -> dict[str, FloatArray]:
        """Measures of each problem; a blow-up has the worst value of each."""
        run = self.run(rule, problems)
        blown = run.blow_up >= 0
        n_trials = problems.n_steps
        late = slice(n_trials - max(1, round(LAST_PART * n_trials)), None)
        best, mean = problems.values.max(axis=2), problems.values.mean(axis=2)
        others = best - problems.values.min(axis=2)
        late_loss = run.regrets[:, late].sum(axis=1) / (best - mean)[:, late].sum(axis=1)
        measured = {
            "loss": _losses(run, problems),
            "late_loss": np.where(blown, 2.0, late_loss),
            "best_choice": np.where(blown, 0.0, 1 - (run.regrets / others).mean(axis=1)),
            "reward": np.where(blown, 0.0, (best - run.regrets).mean(axis=1)),
        }
        check_measures(self.name, self.measures, measured)
        return measured

    def learning_curve(
        self, rule: Rule | KnownRule, problems: BanditProblems, n_points: int
    ) -> tuple[IntArray, FloatArray]:
        """Relative regret at the start and in equal parts of the run, ten trials or more, at their ends."""
        run = self.run(rule, problems)
        best, mean = problems.values.max(axis=2), problems.values.mean(axis=2)
        n_parts = max(1, min(n_points - 1, problems.n_steps // SHORTEST_PART))
        ends = np.linspace(0, problems.n_steps, n_parts + 1).astype(np.int64)
        rows = [run.regrets[:, 0] / (best - mean)[:, 0]]
        for start, end in pairwise(ends.tolist()):
            part = slice(start, end)
            rows.append(run.regrets[:, part].sum(axis=1) / (best - mean)[:, part].sum(axis=1))
        losses = np.array(rows)
        late = (run.blow_up >= 0) & (ends[:, None] >= run.blow_up)
        losses[late] = np.broadcast_to(2 - run.blow_up / problems.n_steps, losses.shape)[late]
        return ends, losses

    def curve_axis(self, settings: Any) -> tuple[float, str]:
        """Steps of the curve are trials."""
        return 1.0, "trials"

    def probe(
        self, problems: BanditProblems, n_states: int, seed: np.random.SeedSequence
    ) -> dict[str, VisitedStates]:
        """States at weights between zero and one, as values of options are, and choices by these."""
        rng = np.random.default_rng(seed)
        shape = (problems.n_problems, problems.n_steps, problems.settings.n_options)
        weights = rng.uniform(0, 1, shape)
        y = _softmax(problems.settings.sharpness * weights)
        choices = np.minimum((problems.uniforms[:, :, None] >= y.cumsum(axis=2)).sum(axis=2), shape[2] - 1)
        means = rng.uniform(problems.settings.low, problems.settings.high, shape[:2])
        return {CHOICE.name: _sampled(problems, weights, means, choices, n_states, rng)}

    def visit(
        self, rule: Any, problems: BanditProblems, n_states: int, seed: np.random.SeedSequence
    ) -> dict[str, VisitedStates]:
        """States of weights at random trials, problems and options."""
        rng = np.random.default_rng(seed)
        run = self.run(_sparse(rule, CHOICE), problems)
        sound = np.flatnonzero(run.blow_up < 0)
        parts = run.weights[sound, :-1], run.means[sound, :-1], run.choices[sound]
        return {CHOICE.name: _sampled(problems.subset(sound), *parts, n_states, rng)}

    def folds(self, settings: BanditSettings) -> tuple[Fold, ...]:
        """Other volatilities and probabilities, reversals, noise, more options, other rates and horizons."""
        return bandit_folds(settings)

    def check(self, settings: BanditSettings) -> None:
        """Run two problems under the reference rule, and compare what comes out with what is stated."""
        rule = Rule.parse({CHOICE.name: "R*x - w*x"})
        self.evaluate(rule, self.draw(settings, 2, np.random.SeedSequence(0)))


def credits_of(losses: FloatArray, sound: NDArray[np.bool_], n_trials: int) -> FloatArray:
    """Return what each choice is credited with, shape (n_problems, n_trials).

    Parameters
    ----------
    losses : ndarray, shape (n_problems, n_trials)
    sound : ndarray of bool, shape (n_problems,)
        Problems that count for the mean of the others.
    n_trials : int
        Trials after the choice whose losses are summed.

    Examples
    --------
    >>> losses = np.array([[1.0, 0.0, 2.0], [0.0, 0.0, 0.0]])
    >>> credits_of(losses, np.array([True, True]), 2).tolist()
    [[2.0, 2.0, 0.0], [-2.0, -2.0, 0.0]]
    """
    ends = np.minimum(np.arange(losses.shape[1]) + 1 + n_trials, losses.shape[1])
    sums = np.pad(losses.cumsum(axis=1), ((0, 0), (1, 0)))
    later: FloatArray = sums[:, ends] - sums[:, 1:]
    n_others = np.maximum(sound.sum() - sound, 1)[:, None]
    others = (later[sound].sum(axis=0) - np.where(sound[:, None], later, 0.0)) / n_others
    credits: FloatArray = later - others
    return credits


def _drawn(settings: BanditSettings, rng: np.random.Generator) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Rewards, values and uniform numbers of one problem."""
    n_trials, n_options = settings.n_trials, settings.n_options
    changes = rng.random(n_trials) < settings.volatility
    if settings.reversal:
        changes[n_trials // 2] = True
    changes[0] = False
    steps = np.where(changes, rng.integers(1, n_options, n_trials), 0)
    best = (rng.integers(n_options) + steps.cumsum()) % n_options
    values = np.where(np.arange(n_options) == best[:, None], settings.high, settings.low)
    chances = values if settings.informative else np.full_like(values, values.mean())
    rewards = (rng.random(values.shape) < chances).astype(np.float64)
    rewards += settings.reward_noise * rng.normal(size=values.shape)
    return rewards, values, rng.random(n_trials)


def _blind(problems: BanditProblems, n_trials: int) -> FloatArray:
    """Regret over some trials of who chooses blindly, shape (n_problems,)."""
    values = problems.values[:, :n_trials]
    blind: FloatArray = (values.max(axis=2) - values.mean(axis=2)).sum(axis=1)
    return blind


def _losses(run: ChoiceRun, problems: BanditProblems) -> FloatArray:
    n_trials = run.regrets.shape[1]
    losses = run.regrets.sum(axis=1) / _blind(problems, n_trials)
    return np.where(run.blow_up >= 0, 2.0 - run.blow_up / n_trials, losses)


def _sparse(rule: Any, slot: Slot) -> Any:
    """Return a vector of coefficients as a program without its zeros; other rules as they are."""
    if isinstance(rule, Rule | KnownRule):
        return rule
    from discover.tasks.base import rule_of

    return rule_of(TASK, np.asarray(rule))


def _softmax(logits: FloatArray) -> FloatArray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares: FloatArray = powers / powers.sum(axis=-1, keepdims=True)
    return shares


def _sampled(
    problems: BanditProblems,
    weights: FloatArray,
    means: FloatArray,
    choices: IntArray,
    n_states: int,
    rng: np.random.Generator,
) -> VisitedStates:
    """Draw states; weights (n_problems, n_trials, n_options), means and choices (n_problems, n_trials)."""
    n_problems, n_trials, n_options = weights.shape
    n_states = n_states if n_problems else 0
    problem, trial, option = (
        rng.integers(max(size, 1), size=n_states) for size in (n_problems, n_trials, n_options)
    )
    w, chosen = weights[problem, trial], choices[problem, trial]
    rows = np.arange(n_states)
    y = _softmax(problems.settings.sharpness * w)[rows, option]
    rewards = problems.rewards[problem, trial, chosen]
    columns = [(chosen == option).astype(float), y, w[rows, option], rewards, means[problem, trial]]
    return VisitedStates(np.column_stack(columns), problem, trial)


@lru_cache(maxsize=16)
def bandit_folds(settings: BanditSettings) -> tuple[Fold, ...]:
    """Return the folds for problems with these settings; tolerances are what the reference rule reaches."""
    return tuple(
        Fold(name, title, changed, reached_by_reference(TASK, changed, ("loss",), MARGIN))
        for name, title, changed in _conditions(settings)
    )


def _conditions(settings: BanditSettings) -> Iterator[tuple[str, str, Any]]:
    for name, volatility in (("none", 0.0), ("low", 0.02), ("high", 0.1)):
        if volatility != settings.volatility:
            changed = replace(settings, volatility=volatility)
            yield (
                f"volatility-{name}",
                f"another option becomes the best with {volatility:g} a trial",
                changed,
            )
    for name, high, low in (("close", 0.65, 0.35), ("rich", 0.95, 0.6), ("poor", 0.4, 0.05)):
        changed = replace(settings, high=high, low=low)
        yield f"rewards-{name}", f"rewards with probabilities {high:g} and {low:g}", changed
    yield "reversal", "a reversal in mid-run", replace(settings, reversal=True)
    noisy = replace(settings, reward_noise=settings.reward_noise + 0.5)
    yield "reward-noise", f"noise of {noisy.reward_noise:g} in each reward", noisy
    more = replace(settings, n_options=settings.n_options + 2)
    yield "options-more", f"{more.n_options} options instead of {settings.n_options}", more
    longer = replace(settings, n_trials=3 * settings.n_trials)
    yield "run-long", f"{longer.n_trials} trials", longer


TASK = BanditTask()
