"""Cross-validation: Oja's rule passes its folds, others do not, and all see the same problems."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from discover.errors import RuleError, TaskError
from discover.rule import Rule
from discover.tasks import get_task
from discover.tasks._oja_folds import MARGIN, oja_folds
from discover.tasks.oja import OjaSettings
from discover.validate import ValidateSettings, ValidationResult, validate
from pipelines.artefacts import Validation

TASK = get_task("oja")
SETTINGS = OjaSettings(n_inputs=10)
SMALL = ValidateSettings(n_problems=64, n_tuning=16, n_bootstrap=500)
CANDIDATES: Mapping[str, Rule] = {
    "found": Rule.parse("1.1*x*y - 1.08*w*y**2"),
    "leaky": Rule.parse("x*y - w*y**2 - 0.5*w"),
}


@pytest.fixture(scope="module")
def result() -> ValidationResult:
    return validate(TASK, SETTINGS, CANDIDATES, SMALL, seed=1)


def test_oja_passes_every_fold(result: ValidationResult) -> None:
    assert [(fold.name, fold.reason) for fold in result.candidates["oja"] if not fold.passed] == []
    assert result.passed("oja")


def test_a_rule_close_to_oja_passes_every_fold(result: ValidationResult) -> None:
    assert [(fold.name, fold.reason) for fold in result.candidates["found"] if not fold.passed] == []


def test_hebb_blows_up_with_the_worst_values_and_fails(result: ValidationResult) -> None:
    folds = {fold.name: fold for fold in result.candidates["hebb"]}
    assert not any(fold.passed for fold in folds.values())
    uniform = folds["uniform"]
    assert uniform.metrics["cosine"].mean == 0.0
    assert 1.0 <= (uniform.metrics["loss"].mean or 0.0) <= 2.0
    assert "norm_error is 1, above" in uniform.reason


def test_a_leak_fails_with_a_reason(result: ValidationResult) -> None:
    failed = [fold for fold in result.candidates["leaky"] if not fold.passed]
    assert failed
    assert all(fold.reason for fold in failed)


def test_paired_difference_to_itself_is_zero(result: ValidationResult) -> None:
    for fold in result.candidates["oja"]:
        assert fold.metrics["loss_difference"].mean == 0.0


def test_intervals_hold_their_mean(result: ValidationResult) -> None:
    for folds in result.candidates.values():
        for fold in folds:
            for metric in fold.metrics.values():
                assert metric.mean is not None
                assert metric.low is not None
                assert metric.high is not None
                assert metric.low - 1e-9 <= metric.mean <= metric.high + 1e-9


def test_content_follows_the_contract(result: ValidationResult) -> None:
    content = result.to_json()
    Validation.model_validate({"schema": "plasticity-discovery/validation/1", **content})
    assert set(content["candidates"]) == {*CANDIDATES, *TASK.known_rules, *TASK.known_networks}


def test_a_fold_does_not_depend_on_the_others(result: ValidationResult) -> None:
    only = replace(SMALL, folds=("laplace",))
    alone = validate(TASK, SETTINGS, {"found": CANDIDATES["found"]}, only, seed=1)
    assert alone.candidates["found"][0] in result.candidates["found"]


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
