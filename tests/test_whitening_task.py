"""The task whitening: its loss and gradient, and the pair of rules that solves it."""

from dataclasses import replace

import numpy as np
import pytest

from discover.errors import TaskError
from discover.known_rules import get_known_rule
from discover.rule import Rule
from discover.tasks import get_task
from discover.tasks.whitening import WhiteningSettings

TASK = get_task("whitening")
PAIR = get_known_rule("homeostatic-decorrelation").rule
SETTINGS = WhiteningSettings(n_inputs=5, n_samples=60, batch=0)


def test_the_reference_pair_makes_outputs_white():
    problems = TASK.draw(SETTINGS, 8, np.random.SeedSequence(0))
    measures = TASK.evaluate(PAIR, problems)
    assert max(measures[name].max() for name in ("loss", "variance_error", "output_correlation")) < 1e-3
    assert measures["lateral_weight"].mean() > 0.1
    np.testing.assert_allclose(measures["loss"], TASK.losses(PAIR, problems))


def test_components_are_uncorrelated_and_not_of_unit_variance():
    problems = TASK.draw(SETTINGS, 8, np.random.SeedSequence(0))
    measures = TASK.evaluate(get_known_rule("rubner-tavan").rule, problems)
    assert measures["output_correlation"].mean() < 0.05
    assert measures["variance_error"].mean() > 0.3


def test_silent_outputs_have_a_loss_of_one_and_a_blow_up_more():
    problems = TASK.draw(replace(SETTINGS, initial_scale=1e-6), 4, np.random.SeedSequence(0))
    np.testing.assert_allclose(TASK.losses(np.zeros(54), problems), 1)
    blown = TASK.evaluate(Rule.parse({"feedforward": "50*w"}), problems)
    assert blown["loss"].min() > 1
    assert blown["variance_error"].min() == 1


@pytest.mark.parametrize("batch", [0, 20])
def test_gradient_is_that_of_the_losses(batch):
    problems = TASK.draw(replace(SETTINGS, n_steps=40, batch=batch), 3, np.random.SeedSequence(0))
    coefficients = np.random.default_rng(1).normal(0, 0.02, 54)
    exact = TASK.gradient(coefficients, problems).gradients
    for n in range(54):
        moved = np.zeros(54)
        moved[n] = 1e-6
        up, down = (TASK.losses(coefficients + sign * moved, problems) for sign in (1, -1))
        np.testing.assert_allclose(exact[:, n], (up - down) / 2e-6, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_outputs": 6}, "6 outputs cannot be uncorrelated where inputs vary in 5 directions"),
        ({"batch": 7}, "does not divide"),
    ],
)
def test_impossible_settings_are_refused(changes, message):
    with pytest.raises(TaskError, match=message):
        replace(SETTINGS, **changes)


def test_folds_hold_variance_and_correlation_to_what_the_pair_reaches():
    folds = {fold.name: fold for fold in TASK.folds(replace(SETTINGS, n_steps=50))}
    assert {"inputs-2-fold", "outputs-more", "spectrum-steep", "laplace", "start-large"} <= set(folds)
    for fold in folds.values():
        assert set(fold.tolerances) == {"variance_error", "output_correlation"}
