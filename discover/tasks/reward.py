"""Task ``reward``: a spiking neuron should answer to some patterns of spikes and to others not, from rewards.

Each of 30 frozen patterns wants at least one spike, or none. Trial by trial one of them is shown, the neuron
does something, and is rewarded with 1 or -1. The rule of its synapses sees their eligibility E, the reward R,
the weight w, and running means of the reward and of its positive part.

References
----------
Jordan, Schmidt, Senn & Petrovici (2021), eLife 10:66273. Urbanczik & Senn (2009), Nat. Neurosci. 12:250.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
from discover.slots import REWARD, Slot
from discover.tasks._slopes import check_measures
from discover.tasks.base import Answer, Fold, Task, VisitedStates, rule_of
from discover.tasks.neuron import reached_by_reference
from discover.tasks.spiking import SpikingProblems

if TYPE_CHECKING:
    from sims.trials import EscapeNeuron, Stimuli, TrialRun

__all__ = ["TASK", "RewardProblems", "RewardSettings", "RewardTask"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MARGIN = 0.05
"""What a measure may be worse than the reference rule's, beside three standard errors of that."""

N_DRAWS = 32
"""Exponential numbers of a trial; a neuron that spikes more often takes them again."""

LAST_PART = 0.2
"""Share of the trials in which what was learnt in the end is measured."""


@dataclass(frozen=True)
class RewardSettings:
    """Settings of the task; those of Jordan et al. (2021) unless something else is given.

    Parameters
    ----------
    n_inputs : int
        Neurons that carry the stimuli.
    connected : float
        Probability that an input has a synapse.
    n_stimuli : int
        Patterns to answer to or not, by chance.
    rate_hz, duration_ms : float
        Of the inputs during a stimulus, and its length.
    n_trials : int
        Length of the inner loop.
    initial_na : float
        Standard deviation of the weights at the start, in nA.
    mean_trials : float
        Time constant of the running means of rewards; chosen here.
    tau_eligibility_ms : float
        With which eligibility is forgotten within a trial.
    escape_hz, delta_mv : float
        Rate of spikes at threshold, and the potential that makes it e-fold.
    believed_hz, believed_delta_mv : float
        The same as the eligibility has them. In the published simulations it is that of another neuron, one
        that spikes more easily and whose potential goes on through spikes. With a potential of zero it is
        that of the neuron as it is.
    step_ms : float
        Of the simulation; published 0.01.
    learning_rate : float
        Weights are in nA and eligibilities in mV per nA.
    """

    n_inputs: Annotated[int, Ge(1), Le(10_000)] = 50
    connected: Annotated[float, Gt(0), Le(1)] = 0.8
    n_stimuli: Annotated[int, Ge(1), Le(10_000)] = 30
    rate_hz: Annotated[float, Gt(0), Le(1_000)] = 6.0
    duration_ms: Annotated[float, Gt(0), Le(100_000)] = 500.0
    n_trials: Annotated[int, Ge(2), Le(1_000_000)] = 500
    initial_na: Annotated[float, Gt(0), Le(100)] = 1.0
    mean_trials: Annotated[float, Ge(1), Le(100_000)] = 30.0
    tau_eligibility_ms: Annotated[float, Gt(0), Le(100_000)] = 500.0
    escape_hz: Annotated[float, Gt(0), Le(1_000)] = 0.01
    delta_mv: Annotated[float, Gt(0), Le(100)] = 0.2
    believed_hz: Annotated[float, Ge(0), Le(1_000)] = 10.0
    believed_delta_mv: Annotated[float, Ge(0), Le(100)] = 5.0
    step_ms: Annotated[float, Gt(0), Le(10)] = 0.5
    learning_rate: Annotated[float, Gt(0), Le(10)] = 0.04

    def __post_init__(self) -> None:
        if self.duration_ms < self.step_ms:
            raise TaskError(
                f"A stimulus lasts at least one step, got {self.duration_ms:g} and {self.step_ms:g} ms."
            )

    @property
    def n_steps(self) -> int:
        """Steps of a trial."""
        return round(self.duration_ms / self.step_ms)

    @property
    def neuron(self) -> EscapeNeuron:
        """The neuron."""
        from sims.trials import EscapeNeuron

        return EscapeNeuron(
            rate_hz=self.escape_hz,
            delta_mv=self.delta_mv,
            tau_eligibility_ms=self.tau_eligibility_ms,
            step_ms=self.step_ms,
            believed_hz=self.believed_hz,
            believed_delta_mv=self.believed_delta_mv,
        )


class RewardProblems(SpikingProblems):
    """Neurons with other stimuli, targets, initial weights and luck."""

    @property
    def n_steps(self) -> int:
        """Length of the inner loop, in trials."""
        trials: int = self.settings.n_trials
        return trials


class RewardTask(Task):
    """A spiking neuron that learns from rewards."""

    name: ClassVar[str] = "reward"
    title: ClassVar[str] = "Which patterns of spikes to answer to, from rewards"
    slots: ClassVar[tuple[Slot, ...]] = (REWARD,)
    settings_type: ClassVar[type] = RewardSettings
    reference: ClassVar[str] = "urbanczik-senn"
    known_rules: ClassVar[tuple[str, ...]] = (
        "urbanczik-senn", "reinforce-spiking", "reinforce-spiking-baseline", "evolved-reward-1",
        "evolved-reward-2", "evolved-reward-3",
    )  # fmt: skip
    measures: ClassVar[Mapping[str, str]] = {
        "loss": "1 minus the mean reward of a trial",
        "reward": "summed reward",
        "correct": "share of the last fifth of the trials that were rewarded",
    }
    higher_is_better: ClassVar[tuple[str, ...]] = ("reward", "correct")

    def answer_for(self, settings: RewardSettings) -> Answer:
        """Say that several rules serve."""
        return "many forms"

    def draw(self, settings: RewardSettings, n_problems: int, seed: np.random.SeedSequence) -> RewardProblems:
        """Draw problems; the n-th is the same however many are drawn."""
        return RewardProblems.draw(settings, n_problems, seed)

    def run(
        self, rule: Any, problems: RewardProblems, n_steps: int | None = None, n_kept: int = 0
    ) -> TrialRun:
        """Let the neuron learn by a rule, or a vector of all coefficients, for so many trials."""
        from sims.trials import run_trials

        settings = problems.settings
        whole = rule.rule if isinstance(rule, KnownRule) else rule
        whole = whole if isinstance(whole, Rule) else rule_of(self, np.asarray(whole))
        n_trials = settings.n_trials if n_steps is None else max(1, min(n_steps, settings.n_trials))
        stimuli, weights, _ = _drawn(settings, tuple(problems.seeds.tolist()), n_trials)
        return run_trials(
            whole.program(REWARD.name), stimuli, weights, settings.neuron,
            learning_rate=settings.learning_rate, mean_trials=settings.mean_trials, n_kept=n_kept,
        )  # fmt: skip

    def losses(self, rule: Any, problems: RewardProblems, n_steps: int | None = None) -> FloatArray:
        """Loss of each problem, shape (n_problems,); a blow-up after t of T trials counts 2 - t/T."""
        return _losses(self.run(rule, problems, n_steps))

    def evaluate(self, rule: Rule | KnownRule, problems: RewardProblems) -> dict[str, FloatArray]:
        """Measures of each problem; a blow-up has the worst value of each."""
        run = self.run(rule, problems)
        late = run.rewards[:, -max(1, round(LAST_PART * run.rewards.shape[1])) :]
        blown, n_trials = run.blow_up >= 0, run.rewards.shape[1]
        measured = {
            "loss": _losses(run),
            "reward": np.where(blown, -float(n_trials), run.rewards.sum(axis=1)),
            "correct": np.where(blown, 0.0, (late > 0).mean(axis=1)),
        }
        check_measures(self.name, self.measures, measured)
        return measured

    def learning_curve(
        self, rule: Rule | KnownRule, problems: RewardProblems, n_points: int
    ) -> tuple[IntArray, FloatArray]:
        """Loss in equal parts of the trials, at the end of each, and that of the first part at the start."""
        run = self.run(rule, problems)
        n_parts = max(1, min(n_points - 1, run.rewards.shape[1] // 10))
        ends = np.linspace(0, run.rewards.shape[1], n_parts + 1).astype(np.int64)
        parts = [run.rewards[:, a:b].mean(axis=1) for a, b in pairwise(ends.tolist())]
        losses = 1 - np.array([parts[0], *parts])
        late = (run.blow_up >= 0) & (ends[:, None] >= run.blow_up)
        losses[late] = np.broadcast_to(_losses(run), losses.shape)[late]
        return ends, losses

    def curve_axis(self, settings: Any) -> tuple[float, str]:
        """Steps of the curve are trials."""
        return 1.0, "trials"

    def probe(
        self, problems: RewardProblems, n_states: int, seed: np.random.SeedSequence
    ) -> dict[str, VisitedStates]:
        """States of synapses with weights as they begin, which no rule changes."""
        return self.visit(Rule.parse({REWARD.name: "0"}), problems, n_states, seed)

    def visit(
        self, rule: Any, problems: RewardProblems, n_states: int, seed: np.random.SeedSequence
    ) -> dict[str, VisitedStates]:
        """States of synapses after random trials; problems that blow up give none."""
        rng, settings = np.random.default_rng(seed), problems.settings
        run = self.run(rule, problems, n_kept=settings.n_trials)
        _, _, has_synapse = _drawn(settings, tuple(problems.seeds.tolist()), settings.n_trials)
        is_sound = (run.blow_up < 0)[:, None] & has_synapse
        rows, synapses = np.nonzero(is_sound)
        pick = rng.integers(max(len(rows), 1), size=n_states if len(rows) else 0)
        problem, synapse = rows[pick], synapses[pick]
        trial = rng.integers(run.rewards.shape[1], size=len(pick))
        parts = (run.rewards, np.maximum(run.rewards, 0))
        means = [_means_before(part, settings.mean_trials)[problem, trial] for part in parts]
        columns = [
            run.eligibilities[problem, trial, synapse],
            run.rewards[problem, trial],
            run.weights_before[problem, trial, synapse],
            *means,
        ]
        return {REWARD.name: VisitedStates(np.column_stack(columns), problem, trial)}

    def folds(self, settings: RewardSettings) -> tuple[Fold, ...]:
        """More and fewer stimuli, inputs and trials, other rates, starts and rates of learning."""
        return reward_folds(settings)

    def check(self, settings: RewardSettings) -> None:
        """Run two problems under the reference rule, and compare what comes out with what is stated."""
        self.evaluate(
            Rule.parse({REWARD.name: "(R - 1)*E"}), self.draw(settings, 2, np.random.SeedSequence(0))
        )


def _losses(run: TrialRun) -> FloatArray:
    losses: FloatArray = 1 - run.rewards.mean(axis=1)
    return np.where(run.blow_up >= 0, 2 - run.blow_up / run.rewards.shape[1], losses)


def _means_before(values: FloatArray, tau: float) -> FloatArray:
    """Running means before each trial, of values (n_problems, n_trials)."""
    means = np.zeros_like(values)
    for k in range(values.shape[1] - 1):
        means[:, k + 1] = means[:, k] + (values[:, k] - means[:, k]) / tau
    return means


@lru_cache(maxsize=64)
def _drawn(
    settings: RewardSettings, seeds: tuple[int, ...], n_trials: int
) -> tuple[Stimuli, FloatArray, NDArray[np.bool_]]:
    """Stimuli of problems, initial weights and which inputs have a synapse, each (n_problems, n_inputs)."""
    from sims.trials import Stimuli

    steps, sources, first, at, rows = [], [], [], 0, []
    n_inputs, n_steps = settings.n_inputs, settings.n_steps
    for seed in seeds:
        rng = np.random.default_rng(seed)
        has_synapse = rng.random(n_inputs) < settings.connected
        weights = rng.normal(0, settings.initial_na, n_inputs)
        targets = rng.random(settings.n_stimuli) < 0.5
        order = rng.integers(settings.n_stimuli, size=settings.n_trials)
        draws = rng.exponential(size=(settings.n_trials, N_DRAWS))
        chance = -np.expm1(-settings.rate_hz * settings.step_ms / 1000)
        starts = [at]
        for _ in range(settings.n_stimuli):
            step, source = np.nonzero(rng.random((n_steps, n_inputs)) < chance)
            kept = has_synapse[source]
            steps.append(step[kept])
            sources.append(source[kept])
            at += int(kept.sum())
            starts.append(at)
        first.append(starts)
        rows.append((weights, has_synapse, targets, order[:n_trials], draws[:n_trials]))
    weights, has_synapse, targets, order, draws = (np.array(part) for part in zip(*rows, strict=True))
    spikes = np.concatenate(steps), np.concatenate(sources)
    return Stimuli(np.array(first), *spikes, order, targets, draws, n_steps), weights, has_synapse


@lru_cache(maxsize=16)
def reward_folds(settings: RewardSettings) -> tuple[Fold, ...]:
    """Return the folds for problems with these settings; tolerances are what the reference rule reaches."""
    return tuple(
        Fold(name, title, changed, reached_by_reference(TASK, changed, ("loss",), MARGIN))
        for name, title, changed in _conditions(settings)
    )


def _conditions(settings: RewardSettings) -> Iterator[tuple[str, str, Any]]:
    for name, factor in (("fewer", 0.5), ("more", 2.0)):
        changed = replace(settings, n_stimuli=max(1, round(factor * settings.n_stimuli)))
        yield f"stimuli-{name}", f"{changed.n_stimuli} stimuli instead of {settings.n_stimuli}", changed
    more = replace(settings, n_inputs=2 * settings.n_inputs)
    yield "inputs-double", f"{more.n_inputs} inputs instead of {settings.n_inputs}", more
    slower = replace(settings, rate_hz=0.5 * settings.rate_hz)
    yield "rates-low", f"inputs at {slower.rate_hz:g} Hz", slower
    small = replace(settings, initial_na=0.5 * settings.initial_na)
    yield "start-small", "weights that start half as large", small
    longer = replace(settings, n_trials=3 * settings.n_trials)
    yield "run-long", f"{longer.n_trials} trials", longer


TASK = RewardTask()
