"""Learners without a readable rule: gradients, and the observer whom nobody beats."""

import numpy as np
import pytest

from benchmarks.black_box import (
    LearnedUpdate,
    Learner,
    Recurrent,
    blind,
    learned,
    observer_losses,
    surrogate_slopes,
)  # fmt: skip
from discover.rule import Rule
from discover.tasks import get_task
from discover.tasks.bandit import BanditSettings

TASK = get_task("bandit")
PROBLEMS = TASK.draw(BanditSettings(n_trials=12), 6, np.random.SeedSequence(0))


@pytest.mark.parametrize("learner", [LearnedUpdate(3), Recurrent(3)])
def test_gradients_are_those_of_the_run_with_its_choices_held(learner: Learner) -> None:
    rng = np.random.default_rng(1)
    point = learner.start(rng)
    run, scale = learner.run(point, PROBLEMS), 1 / blind(PROBLEMS)
    credits = rng.normal(size=run.choices.shape)
    slopes = learner.pull(point, PROBLEMS, run, surrogate_slopes(run, PROBLEMS, scale, credits))

    def surrogate(parameters: np.ndarray) -> float:
        other = learner.run(parameters, PROBLEMS, run.choices)
        chosen = np.take_along_axis(other.y, run.choices[:, :, None], axis=2)[:, :, 0]
        sums = (other.regrets * scale[:, None] + credits * np.log(chosen)).sum(axis=1)
        return float(sums.mean())

    for n in range(len(point)):
        step = np.zeros_like(point)
        step[n] = 1e-5
        expected = (surrogate(point + step) - surrogate(point - step)) / 2e-5
        assert slopes[n] == pytest.approx(expected, rel=1e-5, abs=1e-7)


def test_a_network_learns_to_choose() -> None:
    problems = TASK.draw(BanditSettings(n_trials=40, volatility=0.0), 128, np.random.SeedSequence(2))
    learner = Recurrent(4)
    point = learned(learner, problems, np.random.default_rng(0), n_steps=60)
    others = TASK.draw(problems.settings, 256, np.random.SeedSequence(3))
    assert learner.losses(point, others).mean() < 0.7


def test_nobody_beats_the_observer_in_the_mean() -> None:
    problems = TASK.draw(BanditSettings(), 512, np.random.SeedSequence(4))
    observer = observer_losses(problems)
    found = TASK.losses(Rule.parse({"choice": "-0.4483*(w - (R - 0.6423*m)/(1 - 0.9679*x))"}), problems)
    assert 0 < observer.mean() < found.mean()


def test_the_observer_of_a_still_world_makes_few_mistakes() -> None:
    # Twenty trials with 0.8 and 0.2 tell the options apart; what is lost, is lost in the first ones.
    problems = TASK.draw(BanditSettings(volatility=0.0, n_trials=200), 512, np.random.SeedSequence(5))
    assert observer_losses(problems).mean() < 0.02
