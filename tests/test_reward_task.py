"""The task reward: stimuli, what rules collect, states, and folds."""

from dataclasses import replace

import numpy as np
import pytest

from discover.errors import TaskError
from discover.known_rules import get_known_rule
from discover.rule import Rule
from discover.slots import REWARD
from discover.tasks import collect, get_task
from discover.tasks.base import coefficients_of, known_rules_of, n_coefficients
from discover.tasks.reward import RewardSettings

TASK = get_task("reward")
SMALL = RewardSettings(
    n_inputs=20, n_stimuli=4, n_trials=60, duration_ms=200.0, step_ms=1.0, delta_mv=1.0, learning_rate=0.03
)


def seeded(number: int = 0) -> np.random.SeedSequence:
    return np.random.SeedSequence(number)


def rule(text: str) -> Rule:
    return Rule.parse({"reward": text})


def test_a_problem_is_the_same_however_many_are_drawn() -> None:
    known = rule("(R - 1)*E")
    few, many = TASK.draw(SMALL, 2, seeded(4)), TASK.draw(SMALL, 5, seeded(4))
    np.testing.assert_array_equal(TASK.losses(known, few), TASK.losses(known, many)[:2])
    np.testing.assert_array_equal(TASK.losses(known, many.subset([3, 1])), TASK.losses(known, many)[[3, 1]])


def test_fewer_trials_are_the_first_ones() -> None:
    problems = TASK.draw(SMALL, 3, seeded())
    whole = TASK.run(rule("R*E"), problems)
    np.testing.assert_allclose(TASK.losses(rule("R*E"), problems, 20), 1 - whole.rewards[:, :20].mean(axis=1))


def test_few_stimuli_are_learnt_and_nothing_is_without_a_rule() -> None:
    settings = replace(SMALL, n_trials=400, rate_hz=20.0)
    problems = TASK.draw(settings, 40, seeded())
    still = TASK.evaluate(rule("0*E"), problems)
    learnt = TASK.evaluate(rule("(R - 1)*E"), problems)
    assert learnt["reward"].mean() > still["reward"].mean() + 60
    assert learnt["correct"].mean() > still["correct"].mean() + 0.1
    np.testing.assert_allclose(learnt["loss"], 1 - learnt["reward"] / 400)
    wrong = TASK.losses(rule("-R*E"), problems)
    assert wrong.mean() > learnt["loss"].mean() + 0.2


def test_published_forms_collect_about_what_was_published() -> None:
    published = RewardSettings(step_ms=2.0)
    problems = TASK.draw(published, 64, seeded(1))
    first, second, third = (
        TASK.evaluate(get_known_rule(name), problems)["reward"]
        for name in ("urbanczik-senn", "evolved-reward-2", "evolved-reward-3")
    )
    assert 170 < first.mean() < 230  # published: 216.2, 242.0 and 256.0
    for longer in (second, third):
        assert (longer - first).mean() > 3 * (longer - first).std(ddof=1) / 8
        assert longer.mean() < 1.25 * first.mean()
    with_exact_eligibility = TASK.draw(replace(published, believed_delta_mv=0.0), 64, seeded(1))
    assert TASK.evaluate(get_known_rule("urbanczik-senn"), with_exact_eligibility)["reward"].mean() < 100


def test_known_rules_run_and_coefficients_say_the_same() -> None:
    problems = TASK.draw(SMALL, 3, seeded())
    assert n_coefficients(TASK) == 243
    for name, known in known_rules_of(TASK).items():
        losses = TASK.losses(known, problems)
        assert np.isfinite(losses).all(), name
        if known.is_polynomial:
            np.testing.assert_allclose(TASK.losses(coefficients_of(TASK, known), problems), losses)
    np.testing.assert_array_equal(
        TASK.losses(get_known_rule("urbanczik-senn"), problems), TASK.losses(rule("R*E - E"), problems)
    )


def test_a_rule_that_blows_up_has_the_worst_of_all() -> None:
    problems = TASK.draw(SMALL, 3, seeded())
    measured = TASK.evaluate(rule("9*w**3 + 99"), problems)
    assert ((measured["loss"] > 1) & (measured["loss"] <= 2)).all()
    assert (measured["reward"] == -60).all()
    assert (measured["correct"] == 0).all()


def test_states_are_those_of_synapses_after_trials() -> None:
    problems = TASK.draw(SMALL, 6, seeded())
    for states in (
        TASK.probe(problems, 400, seeded(1)),
        TASK.visit(rule("(R - 1)*E"), problems, 400, seeded(1)),
    ):
        columns = dict(zip(REWARD.variables, states["reward"].values.T, strict=True))
        assert set(np.unique(columns["R"])) == {-1.0, 1.0}
        assert (columns["Rbar"] <= columns["Rpos"]).all()
        whole = (
            1 - (1 - 1 / 30) ** states["reward"].step
        )  # the sum of the weights of a mean that begins at zero
        np.testing.assert_allclose(columns["Rbar"], 2 * columns["Rpos"] - whole, atol=1e-12)
        assert columns["E"].std() > 0
        assert states["reward"].step.max() < 60
    assert collect(TASK, SMALL, 0)["reward.states"].shape[1] == 5


def test_the_learning_curve_has_the_loss_of_each_part() -> None:
    problems = TASK.draw(SMALL, 4, seeded())
    steps, losses = TASK.learning_curve(rule("(R - 1)*E"), problems, 4)
    assert steps.tolist() == [0, 20, 40, 60]
    np.testing.assert_allclose(losses[1:].mean(axis=0), TASK.losses(rule("(R - 1)*E"), problems))


def test_every_fold_changes_something() -> None:
    folds = TASK.folds(SMALL)
    assert {"stimuli-more", "inputs-double", "run-long"} <= {fold.name for fold in folds}
    assert all(fold.settings != SMALL for fold in folds)


def test_settings_that_do_not_fit_are_refused() -> None:
    with pytest.raises(TaskError, match="at least one step"):
        replace(SMALL, duration_ms=0.5)
