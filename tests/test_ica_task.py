"""The task ica: its sources, what known rules find, and that second moments say nothing."""

from dataclasses import replace

import numpy as np
import pytest

from discover.errors import TaskError
from discover.known_rules import get_known_rule
from discover.rule import Rule
from discover.tasks import get_task
from discover.tasks.ica import IcaSettings, draw_sources
from discover.tasks.neuron import nearest_distance
from discover.validate import ValidateSettings, validate

TASK = get_task("ica")
SETTINGS = IcaSettings()
SMALL = IcaSettings(n_samples=60, n_steps=40, batch=20)
HEAVY, LIGHT = (get_known_rule(name).rule for name in ("hyvarinen-oja-heavy", "hyvarinen-oja"))


def seeded(number=0):
    return np.random.SeedSequence(number)


@pytest.mark.parametrize(
    ("kind", "kurtosis"),
    [("laplace", 3.0), ("logistic", 1.2), ("sparse", 8.1), ("uniform", -1.2), ("binary", -2.0)],
)
def test_sources_have_unit_variance_and_the_kurtosis_that_is_said(kind, kurtosis):
    sources = draw_sources(kind, 400_000, 2, np.random.default_rng(0))
    np.testing.assert_allclose(np.mean(sources**2, axis=0), 1, atol=0.02)
    np.testing.assert_allclose(np.mean(sources**4, axis=0) - 3, kurtosis, rtol=0.1, atol=0.05)
    assert abs(sources[:, 0] @ sources[:, 1]) / len(sources) < 0.01


def test_mixed_sources_are_half_and_half():
    kurtosis = np.mean(draw_sources("mixed", 100_000, 5, np.random.default_rng(0)) ** 4, axis=0) - 3
    assert np.all(kurtosis[:3] > 2)
    assert np.all(kurtosis[3:] < -1)


def test_inputs_are_white_and_targets_are_the_columns_of_a_rotation():
    problems = TASK.draw(SETTINGS, 2, seeded())
    for x, targets in zip(problems.inputs, problems.targets, strict=True):
        np.testing.assert_allclose(x.T @ x / len(x), np.eye(3), atol=1e-12)
        np.testing.assert_allclose(targets @ targets.T, np.eye(3), atol=1e-12)
        sources = x @ targets.T
        assert np.all(np.mean(sources**4, axis=0) > 4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"source": "cauchy"}, "no 'cauchy' sources"), ({"n_samples": 3, "batch": 0}, "cannot be whitened")],
)
def test_impossible_settings_are_refused(changes, message):
    with pytest.raises(TaskError, match=message):
        IcaSettings(**changes)


def test_loss_is_the_distance_to_the_nearest_column_of_either_sign():
    targets = np.array([[[1.0, 0.0], [0.0, 1.0]]])
    for weights, loss in (([0.9, 0.0], 0.1), ([0.0, -0.8], 0.2), ([0.6, 0.8], np.sqrt(0.36 + 0.04))):
        assert nearest_distance(np.array([weights]), targets)[0][0] == pytest.approx(loss)


@pytest.mark.parametrize(("source", "rule"), [("laplace", HEAVY), ("uniform", LIGHT), ("mixed", HEAVY)])
@pytest.mark.parametrize("n_inputs", [2, 3, 10])
def test_the_reference_rule_finds_a_source(source, rule, n_inputs):
    settings = replace(SETTINGS, source=source, n_inputs=n_inputs)
    assert get_known_rule(TASK.reference_for(settings)).rule == rule
    measures = TASK.evaluate(rule, TASK.draw(settings, 16, seeded(1)))
    assert measures["cosine"].mean() > 0.97
    assert measures["norm_error"].mean() < 0.15


def test_rules_of_the_second_moment_or_for_the_other_tails_do_not():
    problems = TASK.draw(replace(SETTINGS, n_inputs=10), 16, seeded(1))
    start = TASK.evaluate(Rule.from_coefficients({"feedforward": {}}), problems)["cosine"].mean()
    for rule in (Rule.parse("x*y - w*y**2"), LIGHT):
        assert TASK.evaluate(rule, problems)["cosine"].mean() < max(start, 0.5) + 0.2


def test_gradient_is_that_of_the_losses():
    problems = TASK.draw(SMALL, 3, seeded())
    rule = Rule.parse("-0.9*x*tanh(1.1*y) + 0.8*w - 0.7*w*y**2")
    exact = TASK.gradient(rule, problems).gradients
    constants = rule.constants()
    for n in range(len(constants)):
        moved = np.zeros(len(constants))
        moved[n] = 1e-6
        up, down = (TASK.losses(rule.with_constants(constants + s * moved), problems) for s in (1, -1))
        np.testing.assert_allclose(exact[:, n], (up - down) / 2e-6, rtol=1e-4, atol=1e-7)


def test_folds_are_held_to_the_rule_for_their_own_tails():
    folds = {fold.name: fold for fold in TASK.folds(SETTINGS)}
    assert {"inputs-5", "inputs-10", "inputs-20", "sparse", "uniform", "mixed", "not-whitened"} <= set(folds)
    assert folds["uniform"].title.endswith("tails of the other kind")
    assert folds["inputs-5"].tolerances["cosine"][0] > 0.9
    some = ValidateSettings(folds=("inputs-5", "uniform"), n_problems=8)
    result = validate(TASK, SETTINGS, {"found": HEAVY.scaled(0.9)}, some)
    assert [fold.passed for fold in result.candidates["found"].folds] == [True, False]
    assert [fold.passed for fold in result.candidates["hyvarinen-oja"].folds] == [False, True]
