"""Which known rules a found one beats, and on what."""

from __future__ import annotations

import json

import pytest

from discover.contest import Contest, contest
from discover.rule import Rule
from discover.tasks import get_task
from discover.tasks.pca_network import NetworkSettings
from pipelines.artefacts import Comparison

TASK = get_task("pca-network")
SETTINGS = NetworkSettings(n_inputs=5, n_samples=100)
PAIR = Rule.parse({"feedforward": "0.7*x*y - 0.7*w*y**2", "lateral": "-0.9*y_pre*y_post"})


@pytest.fixture(scope="module")
def contests() -> dict[str, Contest]:
    found = contest(TASK, SETTINGS, PAIR, 16, seed=1)
    content = {"candidates": {}, "contests": [one.to_json() for one in found]}
    Comparison.model_validate({"schema": "plasticity-discovery/comparison/1", **content})
    json.dumps(content, allow_nan=False)
    return {one.name: one for one in found}


def verdicts(one: Contest) -> dict[str, str]:
    return {measure: standing.verdict for measure, standing in one.measures.items()}


def test_every_known_rule_of_the_task_takes_part(contests: dict[str, Contest]) -> None:
    assert set(contests) == {*TASK.known_rules, *TASK.known_networks}
    for one in contests.values():
        without_lateral = one.name in ("sanger", "oja-subspace")
        assert set(TASK.measures) - set(one.measures) == ({"lateral_weight"} if without_lateral else set())
        assert one.speed > 0


def test_the_pair_with_other_constants_equals_rubner_and_tavan(contests: dict[str, Contest]) -> None:
    """Each runs at its best learning rate, so that a common factor does not count."""
    assert set(verdicts(contests["rubner-tavan"]).values()) <= {"equal", "better"}
    assert verdicts(contests["rubner-tavan"])["lateral_weight"] == "equal"


def test_oja_alone_leaves_outputs_correlated_and_the_pair_does_not(contests: dict[str, Contest]) -> None:
    found = verdicts(contests["oja"])
    assert found["output_correlation"] == found["worst_cosine"] == found["explained_variance"] == "better"


@pytest.mark.parametrize("name", ["oja-subspace", "similarity-matching"])
def test_rules_of_the_subspace_do_not_find_its_components(contests: dict[str, Contest], name: str) -> None:
    assert verdicts(contests[name])["cosine"] == "better"
    assert verdicts(contests[name])["output_correlation"] == "better"


def test_the_other_way_round_the_verdict_turns(contests: dict[str, Contest]) -> None:
    alone = contest(TASK, SETTINGS, Rule.parse("x*y - w*y**2"), 16, seed=1)
    against_pair = {one.name: one for one in alone}["rubner-tavan"]
    assert verdicts(against_pair)["output_correlation"] == "worse"
    assert verdicts(against_pair)["cosine"] == "worse"
