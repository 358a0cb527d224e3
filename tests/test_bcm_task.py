"""The task bcm: its rule sees a threshold, and becomes selective for one pattern."""

from dataclasses import replace

import numpy as np
import pytest

from discover.comparison import CompareSettings, compare_candidates
from discover.errors import RuleError, TaskError
from discover.known_rules import get_known_rule
from discover.rule import Rule
from discover.slots import SLIDING
from discover.tasks import collect, get_task
from discover.tasks.base import coefficients_of, n_coefficients, rule_of
from discover.tasks.bcm import BcmSettings

TASK = get_task("bcm")
BCM = get_known_rule("bcm-sliding").rule
SMALL = BcmSettings(n_inputs=4, n_patterns=2, n_samples=8, n_steps=40, batch=2)


def seeded(number=0):
    return np.random.SeedSequence(number)


def test_the_known_rule_answers_to_one_pattern_alone():
    problems = TASK.draw(BcmSettings(), 24, seeded())
    measures = TASK.evaluate(BCM, problems)
    assert measures["loss"].mean() < 0.1
    assert measures["selectivity"].mean() > 0.72  # 0.75 for one of four alone
    zero = TASK.losses(np.zeros(81), problems)
    assert zero.mean() > 0.8


def test_without_the_threshold_it_does_not():
    problems = TASK.draw(BcmSettings(), 24, seeded())
    for text in ("x*y**2 - x*y", "x*y - w*y**2"):
        assert TASK.losses(Rule.parse({"sliding": text}), problems).mean() > 0.5


def test_coefficients_and_rules_are_the_same_thing():
    assert n_coefficients(TASK) == 81
    vector = np.random.default_rng(0).normal(size=81)
    np.testing.assert_allclose(coefficients_of(TASK, rule_of(TASK, vector)), vector)
    problems = TASK.draw(SMALL, 3, seeded())
    np.testing.assert_allclose(TASK.losses(coefficients_of(TASK, BCM), problems), TASK.losses(BCM, problems))
    with pytest.raises(RuleError, match="no place for theta"):
        BCM.polynomial()


def test_gradient_is_that_of_the_losses():
    problems = TASK.draw(SMALL, 3, seeded())
    coefficients = coefficients_of(TASK, BCM) + np.random.default_rng(1).normal(0, 0.02, 81)
    exact = TASK.gradient(coefficients, problems).gradients
    for n in range(81):
        moved = np.zeros(81)
        moved[n] = 1e-6
        up, down = (TASK.losses(coefficients + s * moved, problems) for s in (1, -1))
        np.testing.assert_allclose(exact[:, n], (up - down) / 2e-6, rtol=1e-5, atol=1e-8)


def test_states_have_the_threshold_as_their_fourth_column():
    problems = TASK.draw(SMALL, 3, seeded())
    for states in (TASK.probe(problems, 50, seeded(1)), TASK.visit(BCM, problems, 50, seeded(1))):
        values = states["sliding"].values
        assert values.shape == (50, 4)
        assert np.all(values[:, 3] >= 0)
    arrays = collect(TASK, SMALL, 0)
    rule = rule_of(TASK, arrays["coefficients"][1])
    rows = arrays["sliding.baseline"] == 1
    columns = dict(zip(SLIDING.variables, arrays["sliding.states"][rows].T, strict=True))
    np.testing.assert_allclose(arrays["sliding.update"][rows], rule.numpy()["sliding"](**columns))


def test_terms_are_measured_at_answers_as_large_as_those_that_are_asked_for():
    """Answers of n_patterns to one pattern and none to the others have a mean square of n_patterns."""
    settings = BcmSettings(noise=0.0)
    states = TASK.probe(TASK.draw(settings, 400, seeded(3)), 4000, seeded(1))["sliding"]
    columns = dict(zip(SLIDING.variables, states.values.T, strict=True))
    np.testing.assert_allclose(columns["theta"], settings.n_patterns, rtol=1e-9)
    assert np.mean(columns["y"] ** 2) == pytest.approx(settings.n_patterns, rel=0.1)


def test_a_found_rule_is_recognised_and_written():
    found = Rule.parse({"sliding": "0.81*x*y**2 - 0.8*x*y*theta"})
    settings = CompareSettings(n_problems=4, n_states=400)
    compared = compare_candidates(TASK, SMALL, {"found": found}, settings).candidates["found"]
    assert (compared.nearest, compared.verdict) == ("bcm-sliding", "same up to scale")
    assert r"\theta" in found.latex()


@pytest.mark.parametrize("changes", [{"n_patterns": 9}, {"n_patterns": 3}])
def test_impossible_settings_are_refused(changes):
    with pytest.raises(TaskError, match="at most as many as inputs"):
        replace(BcmSettings(), **changes)


def test_folds_hold_the_selectivity_to_what_the_known_rule_reaches():
    folds = {fold.name: fold for fold in TASK.folds(replace(BcmSettings(), n_steps=60))}
    assert {"patterns-fewer", "patterns-more", "noise-double", "threshold-slow", "run-long"} <= set(folds)
    assert folds["patterns-more"].settings.batch == 16
    assert all(set(fold.tolerances) == {"selectivity"} for fold in folds.values())
