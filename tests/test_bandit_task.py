"""The task bandit: environments, known rules, states, and the gradient that a fit follows."""

from dataclasses import replace

import numpy as np
import pytest
from naive_choice import choose as choose_slowly

from discover.errors import TaskError
from discover.known_rules import get_known_rule
from discover.rule import Rule
from discover.slots import CHOICE
from discover.tasks import collect, get_task
from discover.tasks.bandit import BanditSettings, credits_of
from discover.tasks.base import coefficients_of, known_rules_of, n_coefficients, rule_of

TASK = get_task("bandit")
SMALL = BanditSettings(n_trials=12, volatility=0.1)


def seeded(number: int = 0) -> np.random.SeedSequence:
    return np.random.SeedSequence(number)


def rule(text: str) -> Rule:
    return Rule.parse({"choice": text})


def test_environments_are_as_the_settings_say() -> None:
    problems = TASK.draw(BanditSettings(volatility=0.05), 300, seeded())
    best = problems.values.argmax(axis=2)
    assert set(np.unique(problems.values)) == {0.2, 0.8}
    assert (np.diff(best, axis=1) != 0).mean() == pytest.approx(0.05, abs=0.004)
    chosen_best = np.take_along_axis(problems.rewards, best[..., None], axis=2)
    assert chosen_best.mean() == pytest.approx(0.8, abs=0.01)
    assert set(np.unique(problems.rewards)) == {0.0, 1.0}
    still = TASK.draw(BanditSettings(volatility=0.0), 40, seeded()).values.argmax(axis=2)
    assert (still == still[:, :1]).all()
    assert len(np.unique(still[:, 0])) == 2
    turned = TASK.draw(BanditSettings(volatility=0.0, reversal=True), 10, seeded()).values.argmax(axis=2)
    assert (turned[:, :100] == turned[:, :1]).all()
    assert (turned[:, 100:] == 1 - turned[:, :1]).all()
    noisy = TASK.draw(BanditSettings(reward_noise=0.5), 100, seeded()).rewards
    assert noisy.var() == pytest.approx(0.25 + 0.25, abs=0.02)


def test_a_problem_is_the_same_however_many_are_drawn() -> None:
    few, many = TASK.draw(SMALL, 2, seeded(4)), TASK.draw(SMALL, 5, seeded(4))
    np.testing.assert_array_equal(few.rewards, many.subset([0, 1]).rewards)
    np.testing.assert_array_equal(few.uniforms, many.subset([0, 1]).uniforms)


def test_known_rules_learn_and_a_rule_that_sees_no_reward_does_not() -> None:
    problems = TASK.draw(BanditSettings(volatility=0.0), 200, seeded())
    for name, known in known_rules_of(TASK).items():
        assert TASK.losses(known, problems).mean() < 0.35, name
    for text in ("0*w", "-w"):
        np.testing.assert_allclose(TASK.losses(rule(text), problems), 1.0)


def test_where_rewards_tell_nothing_nothing_is_learnt() -> None:
    settings = BanditSettings(informative=False)
    assert TASK.answer_for(settings) == "nothing"
    assert TASK.answer_for(BanditSettings()) == "many forms"
    problems = TASK.draw(settings, 600, seeded())
    for name, known in known_rules_of(TASK).items():
        losses = TASK.losses(known, problems)
        assert abs(losses.mean() - 1) < 4 * losses.std() / np.sqrt(600), name


def test_a_leak_helps_where_the_world_changes_and_not_where_it_does_not() -> None:
    steady, leaky = rule("(R - 0.5)*(x - 0.5)"), rule("(R - 0.5)*(x - 0.5) - 0.2*w")
    for volatility, better in ((0.0, steady), (0.05, leaky)):
        problems = TASK.draw(BanditSettings(volatility=volatility, learning_rate=0.6), 400, seeded())
        worse = leaky if better is steady else steady
        differences = TASK.losses(worse, problems) - TASK.losses(better, problems)
        assert differences.mean() > 3 * differences.std() / np.sqrt(400)


def test_coefficients_and_rules_are_the_same_thing() -> None:
    assert n_coefficients(TASK) == 243
    vector = np.random.default_rng(0).normal(0, 0.1, 243)
    np.testing.assert_allclose(coefficients_of(TASK, rule_of(TASK, vector)), vector)
    problems = TASK.draw(SMALL, 20, seeded())
    for known in known_rules_of(TASK).values():
        np.testing.assert_allclose(
            TASK.losses(coefficients_of(TASK, known), problems), TASK.losses(known, problems)
        )


@pytest.mark.parametrize("n_steps", [None, 7])
def test_the_gradient_is_that_of_losses_and_credited_choices(n_steps: int | None) -> None:
    problems = TASK.draw(replace(SMALL, credit_trials=3), 4, seeded())
    known = rule("1.1*R*x - 0.9*w*x + 0.05*y")
    found = TASK.gradient(known, problems, n_steps)
    np.testing.assert_array_equal(found.losses, TASK.losses(known, problems, n_steps))
    program, bandits = known.program("choice"), problems.bandits(n_steps)
    n = bandits.uniforms.shape[1]
    blind = 0.3 * n  # the best option gives .8, a blind choice .5
    runs = [choose_slowly(program, bandits, problems.learner, p) for p in range(4)]
    later = np.array([[run["regrets"][t + 1 : t + 4].sum() for t in range(n)] for run in runs]) / blind
    for p, run in enumerate(runs):
        credits = later[p] - np.delete(later, p, axis=0).mean(axis=0)
        for k in range(3):
            moved = np.zeros(3)
            moved[k] = 1e-6
            sides = []
            for s in (1, -1):
                changed = program.with_constants(program.constants + s * moved)
                held = choose_slowly(changed, bandits, problems.learner, p, run["choices"])
                sides.append(held["regrets"].sum() / blind + credits @ held["logs"])
            assert found.gradients[p, k] == pytest.approx((sides[0] - sides[1]) / 2e-6, rel=1e-4, abs=1e-7)


def test_dense_and_sparse_gradients_agree() -> None:
    problems = TASK.draw(SMALL, 6, seeded())
    known = rule("1.5*R*x - 0.5*w*x")
    sparse = TASK.gradient(known, problems).gradients
    dense = TASK.gradient(coefficients_of(TASK, known), problems).gradients
    names = [TASK.slots[0].variables, rule_of(TASK, np.ones(243)).coefficients()["choice"]]
    assert len(names[1]) == 243
    places = [int(np.flatnonzero(coefficients_of(TASK, rule(term)))[0]) for term in ("R*x", "w*x")]
    np.testing.assert_allclose(dense[:, places] * [1, -1], sparse, rtol=1e-9, atol=1e-12)


def test_a_blow_up_counts_by_when() -> None:
    problems = TASK.draw(SMALL, 3, seeded())
    fast, slow = rule("9*w**2 + 9*R + 9"), rule("w**2 + R + 1")
    assert (TASK.losses(fast, problems) > TASK.losses(slow, problems)).all()
    assert (TASK.losses(fast, problems) <= 2).all()
    assert (TASK.losses(slow, problems) > 1).all()
    measured = TASK.evaluate(fast, problems)
    assert (measured["best_choice"] == 0).all()
    assert (TASK.gradient(fast, problems).gradients == 0).all()


def test_measures_say_the_same_in_other_words() -> None:
    settings = BanditSettings(n_trials=40)
    problems = TASK.draw(settings, 50, seeded())
    measured = TASK.evaluate(get_known_rule("rescorla-wagner").rule, problems)
    np.testing.assert_allclose(measured["loss"], 2 * (1 - measured["best_choice"]))
    np.testing.assert_allclose(measured["reward"], 0.2 + 0.6 * measured["best_choice"])
    assert measured["late_loss"].mean() < measured["loss"].mean()


def test_the_learning_curve_has_the_regret_of_each_part() -> None:
    problems = TASK.draw(BanditSettings(n_trials=40), 30, seeded())
    known = get_known_rule("rescorla-wagner").rule
    steps, losses = TASK.learning_curve(known, problems, 5)
    assert steps.tolist() == [0, 10, 20, 30, 40]
    np.testing.assert_allclose(losses[0], 1.0)
    np.testing.assert_allclose(losses[1:].mean(axis=0), TASK.losses(known, problems))


def test_states_are_those_of_trials() -> None:
    settings = BanditSettings(n_trials=30)
    problems = TASK.draw(settings, 20, seeded())
    for states in (
        TASK.probe(problems, 500, seeded(1)),
        TASK.visit(get_known_rule("rescorla-wagner").rule, problems, 500, seeded(1)),
    ):
        columns = dict(zip(CHOICE.variables, states["choice"].values.T, strict=True))
        assert set(np.unique(columns["x"])) == {0.0, 1.0}
        assert columns["x"].mean() == pytest.approx(0.5, abs=0.1)
        assert ((columns["y"] > 0) & (columns["y"] < 1)).all()
        assert columns["y"][columns["x"] == 1].mean() > columns["y"][columns["x"] == 0].mean()
        assert ((columns["m"] >= 0) & (columns["m"] <= 1)).all()
    arrays = collect(TASK, settings, 0)
    assert arrays["choice.states"].shape == (len(arrays["choice.update"]), 5)


def test_every_fold_changes_something_and_can_be_passed() -> None:
    settings = BanditSettings(n_trials=20)
    folds = TASK.folds(settings)
    names = [fold.name for fold in folds]
    assert {
        "volatility-none",
        "volatility-high",
        "rewards-close",
        "reversal",
        "reward-noise",
        "run-long",
    } <= {*names}
    assert "volatility-low" not in names
    assert all(fold.settings != settings and fold.tolerances["loss"][1] > 0 for fold in folds)


def test_credits_leave_the_own_problem_out_and_broken_ones() -> None:
    losses = np.random.default_rng(0).random((4, 6))
    sound = np.array([True, True, False, True])
    found = credits_of(losses, sound, 2)
    later = np.array([[losses[p, t + 1 : t + 3].sum() for t in range(6)] for p in range(4)])
    np.testing.assert_allclose(found[0], later[0] - later[[1, 3]].mean(axis=0))
    np.testing.assert_allclose(found[2], later[2] - later[[0, 1, 3]].mean(axis=0))
    np.testing.assert_allclose(credits_of(losses[:1], sound[:1], 9)[0, -1], 0.0)


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(TaskError, match="rewarded more often"):
        BanditSettings(high=0.3, low=0.3)
