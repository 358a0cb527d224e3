"""Ablations: which parts are taken away, and what the network then does."""

import pytest

from discover.ablate import COMPLETE, ablate, ablated_rules
from discover.rule import Rule
from discover.tasks import get_task
from discover.tasks.oja import OjaSettings

PAIR = Rule.parse({"feedforward": "x*y - w*y**2", "lateral": "-y_pre*y_post"})


def test_every_slot_stands_alone_once_and_every_term_is_missing_once():
    assert ablated_rules(PAIR) == {
        "feedforward alone": Rule.parse("x*y - w*y**2"),
        "lateral alone": Rule.parse({"lateral": "-y_pre*y_post"}),
        "without x*y": Rule.parse({"feedforward": "-w*y**2", "lateral": "-y_pre*y_post"}),
        "without w*y**2": Rule.parse({"feedforward": "x*y", "lateral": "-y_pre*y_post"}),
    }


@pytest.mark.parametrize("text", ["x*y", "tanh(x*y) - w"])
def test_a_rule_of_one_term_or_of_other_functions_has_no_parts(text):
    assert ablated_rules(Rule.parse(text)) == {}


def test_oja_needs_its_hebbian_term_to_learn_and_its_decay_to_stay_finite():
    settings = OjaSettings(n_inputs=3, n_samples=50, n_steps=300, batch=10)
    ablations = ablate(get_task("oja"), settings, Rule.parse("x*y - w*y**2"), n_problems=8, seed=1)
    found = {one.name: one.metrics for one in ablations}
    assert list(found) == [COMPLETE, "without x*y", "without w*y**2"]
    assert found[COMPLETE]["loss"].high < 0.2
    assert found["without x*y"]["loss"].low > 0.5
    assert found["without w*y**2"]["loss"].low > 1
    for metrics in found.values():
        assert all(metric.low <= metric.mean <= metric.high for metric in metrics.values())
