"""The baseline: what knows nothing of the inputs, and that a null task is told apart from a real one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from discover.baseline import baseline_rule, beside_baseline
from discover.errors import TaskError
from discover.fit import FitResult, PathPoint
from discover.rule import Rule
from discover.tasks import get_task
from discover.tasks.oja import OjaSettings

TASK = get_task("oja")
REAL = OjaSettings(n_inputs=5, n_samples=60, n_steps=200)
NULL = replace(REAL, spectrum="isotropic")
RULES = {"c1": Rule.parse("-0.05*w"), "c2": Rule.parse("0.8*x*y - 0.8*w*y**2")}


def path_of(*rules):
    points = tuple(
        PathPoint(0.0, {"feedforward": {}, **Rule.parse(text).coefficients()}, loss, loss, 0.0, 0)
        for text, loss in rules
    )
    return FitResult("oja", points, 0, "", (), {})


def judged(settings, rules, chosen):
    return beside_baseline(TASK, settings, rules, chosen, path_of(("x*y - w*y**2", 0.1), ("x", 0.5)), 16, 0)


def test_isotropic_samples_have_no_first_component():
    problems = TASK.draw(NULL, 3, np.random.SeedSequence(0))
    for x in problems.inputs:
        np.testing.assert_allclose(x.T @ x / len(x), np.eye(5), atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(problems.targets, axis=1), 1)
    measures = TASK.evaluate(Rule.parse("x*y - w*y**2"), problems)
    np.testing.assert_allclose(measures["explained_variance"], 1)


@pytest.mark.parametrize("changes", [{"n_samples": 5, "batch": 0}, {"source": "digits", "n_inputs": 64}])
def test_isotropic_inputs_that_cannot_be_drawn_are_refused(changes):
    with pytest.raises(TaskError, match="more samples than inputs"):
        replace(NULL, **changes)


def test_folds_of_a_null_task_are_null_tasks_too():
    folds = TASK.folds(NULL)
    assert len(folds) > 4
    assert all(fold.settings.spectrum == "isotropic" for fold in folds)


def test_on_a_null_task_no_rule_beats_the_baseline():
    result = judged(NULL, RULES, "c2")
    assert result.beaten_by == ()
    assert result.text.startswith("No rule beats the baseline")
    assert "nothing to find here, or the search did not find it" in result.text


def test_on_a_real_task_the_rule_that_learns_beats_it_and_the_others_do_not():
    result = judged(REAL, RULES, "c2")
    assert result.beaten_by == ("c2",)
    assert result.text.startswith("It beats the baseline")
    names = [row.name for row in result.rows]
    assert names[0].startswith("baseline: ")
    assert names[1:] == ["best polynomial", "chosen rule"]
    assert result.rows[1].rule == Rule.parse("x*y - w*y**2")
    assert judged(REAL, RULES, "c1").text.startswith("The chosen rule does not beat the baseline")
    assert set(result.to_json()) == {"rows", "differences", "beaten_by", "text"}


def test_the_baseline_is_the_better_of_doing_nothing_and_rescaling():
    large = TASK.draw(replace(NULL, initial_scale=2.0), 16, np.random.SeedSequence(1))
    name, rule = baseline_rule(TASK, large)
    assert name == "weights are only rescaled"
    assert set(rule.coefficients()["feedforward"]) == {"w"}
    zero = Rule.from_coefficients({"feedforward": {}})
    assert TASK.losses(rule, large).mean() < TASK.losses(zero, large).mean()


def test_the_intervals_of_many_candidates_cover_all_together():
    """The more rules are held against the baseline, the more has each to show."""
    alone = judged(REAL, {"c2": RULES["c2"]}, "c2").differences["c2"]
    others = {f"d{n}": Rule.parse(f"{0.01 * n}*x*y") for n in range(1, 20)}
    among = judged(REAL, {"c2": RULES["c2"], **others}, "c2").differences["c2"]
    assert among.mean == alone.mean
    assert among.low < alone.low
    assert among.high > alone.high
    assert among.high - among.low > 1.3 * (alone.high - alone.low)


def test_a_lower_mean_alone_does_not_beat_the_baseline():
    """On three problems a rule that learns has the lower mean, and an interval that says little."""
    result = beside_baseline(
        TASK, REAL, {"c": Rule.parse("0.12*x*y")}, "c", path_of(("x", 0.5)), n_problems=3, seed=0
    )
    difference = result.differences["c"]
    assert difference.mean < -0.1
    assert difference.high > 0
    assert result.beaten_by == ()


def test_what_beats_it_surely_but_by_next_to_nothing_does_not_beat_the_baseline():
    result = beside_baseline(
        TASK, REAL, {"c": Rule.parse("0.02*x*y")}, "c", path_of(("x", 0.5)), n_problems=400, seed=0
    )
    difference = result.differences["c"]
    assert -0.1 < difference.low < difference.high < 0
    assert result.beaten_by == ()
