"""The library of known rules: complete, readable, and true to its formulas."""

from __future__ import annotations

import re

import numpy as np
import pytest

from discover.errors import RuleError
from discover.known_rules import KNOWN_RULES, get_known_rule, known_rule_names
from discover.slots import SLOTS
from discover.tasks import get_task, task_names

RATE_RULES = {
    "hebb",
    "oja",
    "covariance",
    "bcm",
    "sanger",
    "oja-subspace",
    "rubner-tavan",
    "foldiak",
    "hyvarinen-oja",
    "similarity-matching",
}


def test_all_rate_rules_are_there() -> None:
    assert set(known_rule_names()) >= RATE_RULES


@pytest.mark.parametrize("name", KNOWN_RULES)
def test_every_rule_can_be_read_and_has_a_source(name: str) -> None:
    known = get_known_rule(name)
    assert known.name == name
    assert str(known.year) in known.citation
    assert known.doi == "" or re.fullmatch(r"10\.\d{4}/\S+", known.doi)
    assert known.rule is None or set(known.rule.slots) == set(known.slots)
    assert {slot.rpartition(".")[2] for slot in known.slots} <= set(SLOTS)
    assert known.expressions or known.needs, "a rule without expressions says what it needs"
    assert known.note or (known.rule is not None and not known.needs), "a stand-in says what it stands for"
    assert known.is_local or known.rule is None


def test_expressions_are_the_formulas() -> None:
    rng = np.random.default_rng(3)
    x, y, w = rng.normal(size=(3, 50))
    updates = {
        "hebb": x * y,
        "oja": y * (x - w * y),
        "covariance": (x - 0.0) * (y - 0.0),
        "bcm": x * y * (y - 1.0),
        "hyvarinen-oja": np.tanh(y) * (x - w * y),
        "foldiak": y * (x - w),
        "similarity-matching": y * x - w,
    }
    for name, expected in updates.items():
        rule = get_known_rule(name).rule
        assert rule is not None
        np.testing.assert_allclose(rule.numpy()["feedforward"](x=x, y=y, w=w), expected, atol=1e-12)


def test_a_slip_gets_a_suggestion() -> None:
    with pytest.raises(RuleError, match="Did you mean 'oja'"):
        get_known_rule("ojaa")


@pytest.mark.parametrize("name", task_names())
def test_tasks_name_rules_that_run_in_their_slots(name: str) -> None:
    task = get_task(name)
    assert task.reference in task.known_rules
    for rule_name in task.known_rules:
        known = get_known_rule(rule_name)
        assert known.rule is not None
        assert set(task.in_own_slots(known.rule).slots) <= {slot.name for slot in task.slots}
