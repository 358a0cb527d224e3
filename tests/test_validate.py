"""Cross-validation: Oja's rule passes its folds, others do not, and all see the same problems."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from discover.contest import contest
from discover.errors import RuleError, TaskError
from discover.forms import Validation
from discover.rule import Rule
from discover.tasks import get_task
from discover.tasks._oja_folds import LONGEST, MARGIN, oja_folds
from discover.tasks._pca_folds import input_variances
from discover.tasks.oja import OjaSettings, OjaTask
from discover.validate import ValidateSettings, validate

TASK = get_task("oja")
SETTINGS = OjaSettings(n_inputs=10)
SMALL = ValidateSettings(n_problems=96, n_tuning=12, n_bootstrap=500)
CANDIDATES: Mapping[str, Rule] = {
    "found": Rule.parse("1.1*x*y - 1.08*w*y**2"),
    "leaky": Rule.parse("x*y - w*y**2 - 0.5*w"),
}


@pytest.fixture(scope="module")
def result() -> Validation:
    return validate(TASK, SETTINGS, CANDIDATES, SMALL, seed=1)


def test_oja_passes_every_fold(result: Validation) -> None:
    assert [(fold.name, fold.reason) for fold in result.candidates["oja"].folds if not fold.passed] == []
    assert result.candidates["oja"].passed


def test_a_rule_close_to_oja_passes_every_fold(result: Validation) -> None:
    assert [(fold.name, fold.reason) for fold in result.candidates["found"].folds if not fold.passed] == []


def test_without_problems_for_tuning_every_rule_runs_as_it_is() -> None:
    plain = validate(TASK, SETTINGS, CANDIDATES, replace(SMALL, n_tuning=0), seed=1)
    for name in ("found", "oja"):
        for fold in plain.candidates[name].folds:
            assert set(fold.speeds.values()) == {1.0}
            assert fold.metrics["loss"].mean == fold.metrics["loss_at_rate_of_fit"].mean
    as_they_are = contest(TASK, SETTINGS, CANDIDATES["found"], 64, 1, n_tuning=0)
    reference = next(one for one in as_they_are if one.name == "oja")
    assert reference.refitted == Rule.parse("x*y - w*y**2")
    assert set(reference.speeds.values()) == set(reference.found_speeds.values()) == {1.0}


def test_hebb_fails_at_every_speed(result: Validation) -> None:
    folds = {fold.name: fold for fold in result.candidates["hebb"].folds}
    assert not any(fold.passed for fold in folds.values())
    assert folds["uniform"].verdict == "failed"
    assert (folds["uniform"].metrics["loss"].mean or 0.0) > 0.5
    assert "norm_error is" in folds["uniform"].reason


def test_a_leak_fails_with_a_reason(result: Validation) -> None:
    failed = [fold for fold in result.candidates["leaky"].folds if not fold.passed]
    assert failed
    assert all(fold.reason for fold in failed)


def test_paired_difference_to_itself_is_zero(result: Validation) -> None:
    for fold in result.candidates["oja"].folds:
        assert fold.metrics["loss_difference"].mean == 0.0


def test_intervals_hold_their_mean(result: Validation) -> None:
    for validated in result.candidates.values():
        for fold in validated.folds:
            for name, metric in fold.metrics.items():
                assert metric.mean is not None
                if name == "loss_at_rate_of_fit":  # a mean over few problems
                    continue
                assert metric.low is not None
                assert metric.high is not None
                assert metric.low - 1e-9 <= metric.mean <= metric.high + 1e-9


def test_content_follows_the_contract(result: Validation) -> None:
    assert Validation.from_json(result.to_json()) == result
    assert set(result.candidates) == {*CANDIDATES, *TASK.known_rules, *TASK.known_networks}


def test_a_fold_does_not_depend_on_the_others(result: Validation) -> None:
    only = replace(SMALL, folds=("laplace",))
    alone = validate(TASK, SETTINGS, {"found": CANDIDATES["found"]}, only, seed=1)
    assert alone.candidates["found"].folds[0] in result.candidates["found"].folds


@pytest.mark.parametrize("factor", [0.05, 8.0])
def test_a_rule_up_to_scale_fails_no_fold_for_its_speed(result: Validation, factor: float) -> None:
    """A fold asks what the form can do; what it does at the rate of the fit stands beside."""
    few = replace(SMALL, folds=("laplace", "start-large", "published-d3"))
    rule = Rule.parse("x*y - w*y**2").scaled(factor)
    for fold in validate(TASK, SETTINGS, {"scaled": rule}, few, seed=1).candidates["scaled"].folds:
        reference = next(one for one in result.candidates["oja"].folds if one.name == fold.name)
        assert (fold.verdict, fold.reason) == ("passed", "")
        assert fold.speeds["feedforward"] * factor == pytest.approx(reference.speeds["feedforward"], rel=0.25)
        assert fold.metrics["loss"].mean == pytest.approx(reference.metrics["loss"].mean, abs=0.02)
        if fold.name != "published-d3":  # updates from the whole sample can be eight times as large
            assert fold.metrics["loss_at_rate_of_fit"].mean > 0.1 + fold.metrics["loss"].mean


@pytest.mark.parametrize("name", ["oja", "pca-network", "bcm", "ica", "mca", "whitening"])
def test_a_slow_rate_comes_with_a_long_horizon(name: str) -> None:
    """Folds ask whether a rule works at another rate, not whether it is done in a third of the time."""
    task = get_task(name)
    settings = task.settings_type()
    slow = next(fold.settings for fold in task.folds(settings) if fold.name == "learning-slow")
    assert slow.learning_rate < settings.learning_rate
    assert slow.learning_rate * slow.n_steps >= 0.999 * settings.learning_rate * settings.n_steps


class Watched(OjaTask):
    """Keeps which problems were looked at for their losses, as in tuning, and which were judged on."""

    def __init__(self) -> None:
        self.for_losses: list[NDArray[np.float64]] = []
        self.judged: list[NDArray[np.float64]] = []
        self.tuned_at: list[Any] = []

    def losses(self, rule: Any, problems: Any, n_steps: int | None = None) -> NDArray[np.float64]:
        self.for_losses.append(problems.inputs)
        if problems.settings not in self.tuned_at:
            self.tuned_at.append(problems.settings)
        return super().losses(rule, problems, n_steps)

    def gradient(self, rule: Any, problems: Any, n_steps: int | None = None) -> Any:
        self.for_losses.append(problems.inputs)
        return super().gradient(rule, problems, n_steps)

    def evaluate(self, rule: Any, problems: Any) -> dict[str, NDArray[np.float64]]:
        self.judged.append(problems.inputs)
        return super().evaluate(rule, problems)


def numbers(inputs: list[NDArray[np.float64]]) -> set[float]:
    """Return a number of each problem, by which it is known again."""
    return {float(number) for one in inputs for number in one[:, 0, 0]}


def test_folds_of_the_learning_rate_have_rules_at_the_speed_of_the_usual_one() -> None:
    """Tuned in the fold, the multiple would undo the change of the rate that the fold asks about."""
    for name, is_usual in (("learning-slow", True), ("learning-fast", True), ("published-d3", False)):
        task = Watched()
        few = ValidateSettings(folds=(name,), n_problems=4, n_tuning=2)
        validate(task, SETTINGS, {}, few, seed=3)
        (fold,) = (fold for fold in TASK.folds(SETTINGS) if fold.name == name)
        assert task.tuned_at == [SETTINGS if is_usual else fold.settings]


def test_no_rule_is_tuned_on_the_problems_that_it_is_judged_on() -> None:
    task = Watched()
    few = ValidateSettings(folds=("start-large", "learning-slow"), n_problems=8, n_tuning=4)
    validate(task, SETTINGS, CANDIDATES, few, seed=3)
    assert len(numbers(task.for_losses)) == 2 * 4
    assert len(numbers(task.judged)) == 2 * 8
    assert not numbers(task.for_losses) & numbers(task.judged)
    task = Watched()
    contest(task, SETTINGS, CANDIDATES["found"], 8, seed=3, n_tuning=4, refine_steps=3)
    assert len(numbers(task.for_losses)) == 4
    assert len(numbers(task.judged)) == 8
    assert not numbers(task.for_losses) & numbers(task.judged)


def test_folds_and_seeds_have_problems_of_their_own() -> None:
    seen = []
    for seed in (1, 2):
        for fold in ("start-large", "run-long"):  # the same distribution of inputs
            task = Watched()
            validate(task, SETTINGS, {}, ValidateSettings(folds=(fold,), n_problems=4, n_tuning=2), seed)
            seen += [numbers(task.for_losses), numbers(task.judged)]
    assert all(not one & other for one, other in combinations(seen, 2))


def test_the_margin_decides_and_what_reaches_across_it_is_undecided() -> None:
    """Weights of a wrong length, by which the loss is about .13 above that of Oja's rule."""
    rule = {"short": Rule.parse("x*y - 1.3*w*y**2")}
    asked = ValidateSettings(folds=("published-d3",), n_problems=64, n_tuning=8)
    (fold,) = validate(TASK, SETTINGS, rule, asked, seed=1).candidates["short"].folds
    difference = fold.metrics["loss_difference"]
    assert difference.mean is not None
    assert difference.low is not None
    assert difference.high is not None
    assert 0.05 < difference.low < difference.high < 0.3
    assert fold.verdict == "failed"
    assert "beyond 0.05" in fold.reason
    for margin, verdict in ((difference.mean, "undecided"), (0.3, "passed")):
        (again,) = (
            validate(TASK, SETTINGS, rule, replace(asked, margin=margin), seed=1).candidates["short"].folds
        )
        assert again.verdict == verdict
        assert again.passed == (verdict == "passed")


def test_unknown_fold_gets_a_suggestion() -> None:
    with pytest.raises(TaskError, match="Did you mean 'digits'"):
        validate(TASK, SETTINGS, {}, replace(SMALL, folds=("digit",)))


def test_a_candidate_may_not_take_a_known_name() -> None:
    with pytest.raises(RuleError, match="called 'oja'"):
        validate(TASK, SETTINGS, {"oja": Rule.parse("x")}, replace(SMALL, folds=("laplace",)))


@pytest.mark.parametrize(
    "settings",
    [
        OjaSettings(),
        OjaSettings(preset="d3"),
        OjaSettings(n_inputs=1),
        OjaSettings(n_inputs=2, spectrum=(1.0, 1.0)),
        OjaSettings(source="digits", n_inputs=64),
        OjaSettings(n_inputs=1000, spectrum="linear"),
    ],
    ids=["project", "d3", "one-input", "degenerate", "digits", "large"],
)
def test_folds_exist_for_all_settings(settings: OjaSettings) -> None:
    folds = oja_folds(settings)
    names = [fold.name for fold in folds]
    assert len(names) == len(set(names)) >= 5
    assert all(fold.settings != settings for fold in folds)
    for fold in folds:
        assert set(fold.tolerances) <= set(TASK.measures)
        assert all(low < high and np.isfinite([low, high]).all() for low, high in fold.tolerances.values())


def test_tolerances_are_oja_s_own_values_with_a_margin() -> None:
    """Whole-sample updates have no noise, so that only the margin is left."""
    fold = next(fold for fold in oja_folds(OjaSettings(preset="d5")) if fold.name == "uniform")
    assert fold.tolerances["cosine"][0] == pytest.approx(1 - MARGIN)


@pytest.mark.parametrize("settings", [OjaSettings(), OjaSettings(n_inputs=100, n_steps=100)])
def test_folds_run_until_the_second_component_has_left_oja_s_rule(settings: OjaSettings) -> None:
    """It decays to less than 1e-5; where that takes too long, a run is as long as it may be."""
    n_long_enough = 0
    for fold in oja_folds(settings):
        changed = fold.settings
        if fold.tolerances:
            first, second = input_variances(changed)[:2]
            decay = np.exp(-changed.learning_rate * changed.n_steps * (first - second))
            equal = settings.n_steps * settings.learning_rate / changed.learning_rate
            assert decay < 1e-5 or changed.n_steps >= LONGEST * equal, fold.name
            n_long_enough += decay < 1e-5
    assert n_long_enough >= 5
