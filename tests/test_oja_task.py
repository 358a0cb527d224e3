"""The oja task: its problems, its loss and gradient, and what Oja's rule does in it."""

from dataclasses import replace

import numpy as np
import pytest

from discover.errors import TaskError
from discover.rule import Rule
from discover.tasks import collect, get_task, task_names
from discover.tasks.base import coefficients_of, n_coefficients, rule_of
from discover.tasks.oja import OjaSettings
from discover.tasks.pca import draw_inputs, eigenvalues, principal_components

TASK = get_task("oja")
OJA = Rule.parse("x*y - w*y**2")
SMALL = OjaSettings(n_inputs=4, spectrum="steep", n_samples=40, n_steps=300, batch=0)


def seeded(number=0):
    return np.random.SeedSequence(number)


def test_tasks_are_found_by_name():
    assert "oja" in task_names()
    with pytest.raises(TaskError, match="Did you mean 'oja'"):
        get_task("ojaa")


def test_published_presets_are_those_of_the_paper():
    d3, d5, d100 = (OjaSettings(preset=name) for name in ("d3", "d5", "d100"))
    assert (d3.spectrum, d5.spectrum) == ((1, 0.5, 0), (1, 0.7, 0.2, 0.1, 0))
    assert eigenvalues(d100.spectrum, d100.n_inputs)[:7].tolist() == [1, 0.9, 0.8, 0.7, 0.6, 0.5, 0]
    for settings in (d3, d5, d100):
        assert (settings.n_samples, settings.n_steps, settings.learning_rate, settings.batch) == (
            100,
            200,
            0.1,
            0,
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_inputs": 2, "spectrum": (1.0, 0.5, 0.2)}, "needs at least so many inputs"),
        ({"spectrum": (0.5, 1.0)}, "positive first and falls"),
        ({"source": "digits"}, "64 pixels"),
        ({"batch": 7}, "does not divide"),
        ({"preset": "d4"}, "no preset"),
    ],
)
def test_impossible_settings_are_refused(changes, message):
    with pytest.raises(TaskError, match=message):
        OjaSettings(**changes)


@pytest.mark.parametrize("source", ["gaussian", "laplace", "uniform"])
def test_inputs_have_the_spectrum(source):
    variances = np.array([1.0, 0.5, 0.1, 0.0])
    inputs = draw_inputs(source, variances, 40_000, np.random.default_rng(0))
    found = np.linalg.eigvalsh(np.cov(inputs.T))[::-1]
    np.testing.assert_allclose(found, variances, atol=0.03)


def test_digits_are_real_images():
    settings = OjaSettings(n_inputs=64, source="digits", n_samples=100, batch=10)
    problems = TASK.draw(settings, 2, seeded())
    assert problems.inputs.shape == (2, 100, 64)
    assert not np.array_equal(problems.inputs[0], problems.inputs[1])


def test_target_is_the_first_component_of_the_sample():
    problems = TASK.draw(SMALL, 3, seeded())
    for x, target, variance in zip(problems.inputs, problems.targets, problems.variances, strict=True):
        values, vectors = np.linalg.eigh(x.T @ x / len(x))
        assert abs(vectors[:, -1] @ target) == pytest.approx(1)
        assert values[-1] == pytest.approx(variance)
        assert principal_components(x, 2)[0].shape == (2, 4)


@pytest.mark.parametrize("preset", ["project", "d3", "d5", "d100"])
def test_no_direction_has_more_variance_than_the_target(preset):
    """Of the sample as it is or, in the published presets, about its mean."""
    settings = OjaSettings(preset=preset)
    assert settings.centred_targets == (preset != "project")
    problems = TASK.draw(settings, 4, seeded(1))
    for x, target, variance in zip(problems.inputs, problems.targets, problems.variances, strict=True):
        seen = x - x.mean(axis=0) if preset != "project" else x
        matrix = seen.T @ seen / len(seen)
        assert np.linalg.norm(target) == pytest.approx(1)
        assert target @ matrix @ target == pytest.approx(np.linalg.eigvalsh(matrix)[-1])
        assert variance == pytest.approx(target @ matrix @ target)
    measures = TASK.evaluate(OJA, problems)
    assert measures["explained_variance"].max() <= 1 + 1e-9


def test_about_published_targets_oja_s_rule_ends_at_the_published_loss():
    """Published losses at three inputs are .007 to .012; about zero most problems are solved to .001."""
    centred = TASK.losses(OJA, TASK.draw(OjaSettings(preset="d3"), 512, seeded(5)))
    about_zero = TASK.losses(OJA, TASK.draw(OjaSettings(preset="d3", centred_targets=False), 512, seeded(5)))
    assert 0.007 < centred.mean() < 0.016
    assert np.median(centred) > 0.003
    assert np.median(about_zero) < 0.001


def test_oja_s_rule_learns_its_task_and_no_rule_for_another_component_does():
    """The loss is small for the first component's rule alone."""
    problems = TASK.draw(OjaSettings(n_inputs=5, n_steps=400), 64, seeded(6))
    assert np.median(TASK.losses(OJA.scaled(0.4), problems)) < 0.05
    assert np.median(TASK.losses(Rule.parse("-x*y + 0.5*w - 0.5*w*y**2"), problems)) > 0.5


def test_a_problem_is_the_same_however_many_are_drawn():
    few, many = TASK.draw(SMALL, 2, seeded()), TASK.draw(SMALL, 5, seeded())
    np.testing.assert_array_equal(few.inputs, many.inputs[:2])
    np.testing.assert_array_equal(few.initial_weights, many.initial_weights[:2])


def test_oja_ends_at_unit_norm_on_the_first_component():
    problems = TASK.draw(SMALL, 6, seeded())
    measures = TASK.evaluate(OJA, problems)
    assert measures["cosine"].min() > 0.999
    assert measures["norm_error"].max() < 1e-2
    assert measures["explained_variance"].min() > 0.99
    np.testing.assert_allclose(measures["loss"], TASK.losses(OJA, problems))


def test_zero_rule_leaves_the_distance_of_the_start():
    problems = TASK.draw(SMALL, 4, seeded())
    start = problems.initial_weights
    nearer = np.minimum(
        np.linalg.norm(start - problems.targets, axis=1), np.linalg.norm(start + problems.targets, axis=1)
    )
    np.testing.assert_allclose(TASK.losses(np.zeros(27), problems), nearer)


def test_blow_up_counts_between_one_and_two_and_says_how_soon():
    problems = TASK.draw(SMALL, 4, seeded())
    soon, late = (TASK.losses(Rule.parse(text), problems) for text in ("50*w", "0.35*w"))
    assert np.all((late >= 1) & (late < soon) & (soon < 2))
    measures = TASK.evaluate(Rule.parse("50*w"), problems)
    assert measures["cosine"].max() == 0
    assert measures["explained_variance"].max() == 0


@pytest.mark.parametrize("batch", [0, 1, 10])
def test_gradient_is_that_of_the_losses(batch):
    problems = TASK.draw(replace(SMALL, batch=batch, n_steps=60), 3, seeded())
    coefficients = coefficients_of(TASK, OJA) + np.random.default_rng(1).normal(0, 0.02, 27)
    exact = TASK.gradient(coefficients, problems).gradients
    step = 1e-6
    for n in range(27):
        moved = np.zeros(27)
        moved[n] = step
        up, down = (TASK.losses(coefficients + sign * moved, problems) for sign in (1, -1))
        np.testing.assert_allclose(exact[:, n], (up - down) / (2 * step), rtol=2e-6, atol=1e-8)


def test_gradient_of_constants_is_that_of_the_losses():
    rule = Rule.parse("0.9*x*tanh(1.3*y) - 0.8*w*y**2")
    problems = TASK.draw(SMALL, 3, seeded())
    exact = TASK.gradient(rule, problems).gradients
    constants = rule.constants()
    for n in range(len(constants)):
        moved = np.zeros(len(constants))
        moved[n] = 1e-6
        up, down = (TASK.losses(rule.with_constants(constants + s * moved), problems) for s in (1, -1))
        np.testing.assert_allclose(exact[:, n], (up - down) / 2e-6, rtol=1e-5, atol=1e-8)


def test_a_shorter_horizon_is_the_beginning_of_a_longer_run():
    problems = TASK.draw(SMALL, 3, seeded())
    steps, curve = TASK.learning_curve(OJA, problems, 10)
    for step, losses in zip(steps[1:], curve[1:], strict=True):
        np.testing.assert_allclose(TASK.losses(OJA, problems, int(step)), losses)


def test_visited_states_are_on_the_trajectory():
    problems = TASK.draw(replace(SMALL, n_steps=50), 2, seeded())
    states = TASK.visit(np.zeros(27), problems, 200, seeded(3))["feedforward"]
    for (x, _, w), problem in zip(states.values, states.problem, strict=True):
        assert w in problems.initial_weights[problem]
        assert x in problems.inputs[problem]


def test_rules_that_blow_up_visit_nothing():
    problems = TASK.draw(SMALL, 2, seeded())
    assert len(TASK.visit(Rule.parse("50*w"), problems, 50, seeded())["feedforward"].values) == 0


def test_coefficients_and_rules_are_the_same_thing():
    vector = np.random.default_rng(0).normal(size=n_coefficients(TASK))
    np.testing.assert_allclose(coefficients_of(TASK, rule_of(TASK, vector)), vector)


def test_trajectories_hold_the_updates_of_their_baselines():
    arrays = collect(TASK, SMALL, 0)
    rule = rule_of(TASK, arrays["coefficients"][1])
    rows = arrays["feedforward.baseline"] == 1
    x, y, w = arrays["feedforward.states"][rows].T
    np.testing.assert_allclose(arrays["feedforward.update"][rows], rule.numpy()["feedforward"](x=x, y=y, w=w))
    assert np.all(arrays["feedforward.update"][arrays["feedforward.baseline"] == 0] == 0)
