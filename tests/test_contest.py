"""Which known rules a found one beats, and on what."""

from __future__ import annotations

import numpy as np
import pytest
from stand_in_task import StandInTask

from discover.contest import contest
from discover.forms import Comparison, Contest
from discover.intervals import joint_confidence, paired
from discover.known_rules import get_known_rule
from discover.rule import Rule
from discover.tasks import get_task
from discover.tasks.oja import OjaSettings, OjaTask
from discover.tasks.pca_network import NetworkSettings

TASK = get_task("pca-network")
SETTINGS = NetworkSettings(n_inputs=5, n_samples=100)
PAIR = Rule.parse({"feedforward": "0.7*x*y - 0.7*w*y**2", "lateral": "-0.9*y_pre*y_post"})

OJA_TASK = get_task("oja")
PLAIN = Rule.parse("x*y - w*y**2")


def task_rule(name: str) -> Rule:
    rule = get_known_rule(name).rule
    assert rule is not None
    return rule


@pytest.fixture(scope="module")
def contests() -> dict[str, Contest]:
    found = contest(TASK, SETTINGS, PAIR, 800, seed=1, n_tuning=32, refine_steps=30)
    content = Comparison(candidates={}, contests=found)
    assert Comparison.from_json(content.to_json()) == content
    return {one.name: one for one in found}


def verdicts(one: Contest) -> dict[str, str]:
    return {measure: standing.verdict for measure, standing in one.measures.items()}


def test_every_known_rule_of_the_task_takes_part(contests: dict[str, Contest]) -> None:
    assert set(contests) == {*TASK.known_rules, *TASK.known_networks}
    for one in contests.values():
        without_lateral = one.name in ("sanger", "oja-subspace")
        assert set(TASK.measures) - set(one.measures) == ({"lateral_weight"} if without_lateral else set())
        assert one.speed > 0


def test_the_pair_with_other_constants_is_equivalent_to_rubner_and_tavan(
    contests: dict[str, Contest],
) -> None:
    """Each runs at its best speeds and constants, so that neither a common factor nor a lucky one counts."""
    found = verdicts(contests["rubner-tavan"])
    assert found["cosine"] == found["explained_variance"] == found["lateral_weight"] == "equivalent"
    assert not {"better", "worse"} & set(found.values())


def test_oja_alone_leaves_outputs_correlated_and_the_pair_does_not(contests: dict[str, Contest]) -> None:
    found = verdicts(contests["oja"])
    assert found["output_correlation"] == found["worst_cosine"] == found["explained_variance"] == "better"


@pytest.mark.parametrize("name", ["oja-subspace", "similarity-matching"])
def test_rules_of_the_subspace_do_not_find_its_components(contests: dict[str, Contest], name: str) -> None:
    assert verdicts(contests[name])["cosine"] == "better"
    assert verdicts(contests[name])["output_correlation"] == "better"


def test_the_other_way_round_the_verdict_turns(contests: dict[str, Contest]) -> None:
    alone = contest(TASK, SETTINGS, Rule.parse("x*y - w*y**2"), 200, seed=1, n_tuning=16, refine_steps=0)
    against_pair = {one.name: one for one in alone}["rubner-tavan"]
    assert verdicts(against_pair)["output_correlation"] == "worse"
    assert verdicts(against_pair)["cosine"] == "worse"


def test_few_problems_decide_nothing_and_many_show_equivalence() -> None:
    """Not to be told apart is not to be equal: the same two rules, on few problems and on many."""
    near = Rule.parse("x*y - 1.01*w*y**2")
    settings = OjaSettings(n_inputs=5, n_steps=200)
    few, many = (
        {one.name: one for one in contest(OJA_TASK, settings, near, n, 2, n_tuning=16, refine_steps=20)}
        for n in (5, 600)
    )
    assert "undecided" in {verdicts(few["hyvarinen-oja"])[measure] for measure in ("cosine", "loss")}
    assert set(verdicts(many["oja"]).values()) == {"equivalent"}


def test_two_names_of_one_update_are_one_rule() -> None:
    found = contest(OJA_TASK, OjaSettings(n_inputs=3, n_steps=50), PLAIN, 8, 2, n_tuning=4, refine_steps=2)
    names = {one.name: one.also for one in found}
    assert names["hebb"] == ("covariance",)
    assert "covariance" not in names


def test_a_known_rule_has_its_constants_fitted_and_not_its_speed_alone() -> None:
    """For minor components Oja's rule is published with constants for a smallest variance of .1."""
    task = get_task("mca")
    settings = task.settings_type(smallest=0.2, n_steps=300)
    reference = contest(task, settings, task_rule("oja-minor"), 64, 1, n_tuning=32, refine_steps=80)[0]
    assert reference.name == "oja-minor"
    published, fitted = reference.as_published["loss"].known, reference.measures["loss"].known
    assert fitted.mean < 0.6 * published.mean
    before, after = reference.refitted.coefficients(), task_rule("oja-minor").coefficients()
    ratios = {before["feedforward"][term] / value for term, value in after["feedforward"].items()}
    assert max(ratios) / min(ratios) > 1.2


def test_what_beats_the_published_constants_need_not_beat_the_form() -> None:
    task = get_task("mca")
    settings = task.settings_type(smallest=0.2, n_steps=300)
    found = contest(task, settings, PLAIN, 4, 1, n_tuning=32, refine_steps=80)[0].refitted
    reference = contest(task, settings, found, 400, 5, n_tuning=32, refine_steps=80)[0]
    assert reference.as_published["loss"].verdict == "better"
    assert reference.measures["loss"].verdict in ("equivalent", "undecided")


def test_all_differences_of_a_contest_cover_together() -> None:
    """Twenty comparisons: four different rules, five measures."""
    outputs: list[dict[str, np.ndarray]] = []

    class Watched(OjaTask):
        def evaluate(self, rule: object, problems: object) -> dict[str, np.ndarray]:
            outputs.append(super().evaluate(rule, problems))
            return outputs[-1]

    settings = OjaSettings(n_inputs=5, n_steps=200)
    found = contest(Watched(), settings, PLAIN, 100, 2, n_tuning=8, refine_steps=5)
    standing = next(one for one in found if one.name == "hebb").measures["loss"]
    values, others = (
        next(one["loss"] for one in outputs if one["loss"].mean() == pytest.approx(metric.mean, rel=1e-9))
        for metric in (standing.found, standing.known)
    )
    together, n_compared = standing.difference, sum(len(one.measures) for one in found)
    alone, joint = (paired(values, others, one) for one in (0.95, joint_confidence(n_compared)))
    assert (together.low, together.high) == pytest.approx((joint.low, joint.high))
    assert together.high - together.low > 1.3 * (alone.high - alone.low)


def test_margins_follow_the_measure() -> None:
    """A tenth of the smaller error, and of the distance from one where a measure is good when large."""
    (one,) = (
        one
        for one in contest(OJA_TASK, OjaSettings(n_inputs=5), PLAIN, 64, 2, n_tuning=8, refine_steps=5)
        if one.name == "oja"
    )
    for measure, standing in one.measures.items():
        best = 1.0 if measure in OJA_TASK.higher_is_better else 0.0
        smallest = min(abs(standing.known.mean - best), abs(standing.found.mean - best))
        assert standing.margin == pytest.approx(max(0.002, 0.1 * smallest))


def test_irregular_spiking_is_no_race() -> None:
    """A coefficient of variation of 1.5 is no better than one of 0.9, and one of 0.2 is worse than both."""
    difference = {
        name: irregular_contest(mine, theirs)
        for name, mine, theirs in (("both", 1.5, 0.9), ("regular", 0.2, 0.9), ("bursts", 0.9, 3.0))
    }
    assert difference == {"both": "equivalent", "regular": "worse", "bursts": "better"}


class Spiking(StandInTask):
    """A task whose only measure besides the loss is the coefficient of variation that a rule states."""

    known_rules = ("hebb",)
    higher_is_better = get_task("ei-balance").higher_is_better
    plausible = get_task("ei-balance").plausible

    def __init__(self, theirs: float) -> None:
        self.theirs = theirs

    def draw(self, settings: object, n_problems: int, seed: np.random.SeedSequence) -> np.ndarray:
        return np.random.default_rng(seed).normal(0, 0.01, n_problems)

    def losses(self, rule: Rule, problems: np.ndarray, n_steps: int | None = None) -> np.ndarray:
        return np.ones(len(problems))

    def evaluate(self, rule: Rule, problems: np.ndarray) -> dict[str, np.ndarray]:
        stated = rule.constants()
        value = self.theirs if stated.size == 0 or abs(stated[0] - 1) < 1e-9 else stated[0]
        return {"loss": np.ones(len(problems)), "interval_cv": value + problems}


def irregular_contest(mine: float, theirs: float) -> str:
    found = contest(Spiking(theirs), None, Rule.parse(f"{mine}*x"), 40, 0, n_tuning=2, refine_steps=0)
    return verdicts(found[0])["interval_cv"]
