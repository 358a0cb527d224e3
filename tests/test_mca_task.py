"""The task mca: the minor component, and the norm that a local rule ends with."""

from dataclasses import replace

import numpy as np
import pytest

from discover.known_rules import get_known_rule
from discover.rule import Rule
from discover.tasks import get_task
from discover.tasks.mca import McaSettings

TASK = get_task("mca")
SETTINGS = McaSettings(batch=0)
MINOR = get_known_rule("oja-minor").rule


def test_the_target_is_the_direction_of_least_variance():
    problems = TASK.draw(SETTINGS, 2, np.random.SeedSequence(0))
    for x, target, variance in zip(problems.inputs, problems.targets, problems.variances, strict=True):
        values, vectors = np.linalg.eigh(x.T @ x / len(x))
        assert abs(vectors[:, 0] @ target) == pytest.approx(1)
        assert values[0] == pytest.approx(variance)


def test_the_reference_rule_finds_it_and_its_norm_is_the_fixed_point():
    problems = TASK.draw(replace(SETTINGS, n_steps=2000), 8, np.random.SeedSequence(0))
    measures = TASK.evaluate(MINOR, problems)
    assert measures["cosine"].min() > 0.9999
    assert measures["excess_variance"].max() < 1e-3
    norms = np.sqrt((0.5 - problems.variances) / (4 * problems.variances))
    np.testing.assert_allclose(measures["norm_error"], np.abs(norms - 1), atol=1e-6)


def test_hebbian_rules_find_the_opposite():
    problems = TASK.draw(SETTINGS, 8, np.random.SeedSequence(0))
    assert TASK.evaluate(Rule.parse("x*y - w*y**2"), problems)["cosine"].max() < 0.1
    blown = TASK.evaluate(Rule.parse("50*w"), problems)
    assert blown["cosine"].max() == 0
    assert blown["excess_variance"].min() == 10


def test_folds_ask_for_the_cosine_alone_because_the_norm_follows_the_smallest_variance():
    folds = {fold.name: fold for fold in TASK.folds(SETTINGS)}
    assert {"smallest-half", "smallest-double", "laplace", "inputs-double", "run-long"} <= set(folds)
    assert all(set(fold.tolerances) == {"cosine"} for fold in folds.values())


def test_the_task_leaves_the_ratios_of_its_law_open():
    """Twice the growth beside the same brake ends along the same direction, at another norm."""
    assert TASK.answer_for(McaSettings()) == "many forms"
    problems = TASK.draw(McaSettings(), 16, np.random.SeedSequence(5))
    laws = ("0.5*w - 0.5*x*y - 4.6*w*y**2", "0.6*w - 0.45*x*y - 4.6*w*y**2")
    measured = [TASK.evaluate(Rule.parse(law), problems) for law in laws]
    assert all(np.median(one["cosine"]) > 0.99 for one in measured)
    assert np.median(measured[1]["loss"] - measured[0]["loss"]) < 0.2
