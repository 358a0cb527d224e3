"""Forms: one update is one candidate, and its simplest description stands for it."""

import numpy as np
import pytest

from discover.pareto import in_layers
from discover.rule import Rule
from discover.search.engine import Samples
from discover.search.exchange import recombined
from discover.search.forms import Forms, agreement, skeleton, update_on

RNG = np.random.default_rng(3)
STATES = RNG.normal(size=(400, 3)) * [1.0, 1.5, 0.6]
VISITED = {"feedforward": Samples(("x", "y", "w"), STATES, STATES[:, 0])}


def distinct(*texts, states=VISITED):
    forms = Forms()
    for number, text in enumerate(texts):
        forms.add([Rule.parse(text)], f"engine {number}")
    return [(str(form.rule), form.proposed_by) for form in forms.distinct(states)]


def test_a_function_used_where_it_is_a_line_is_the_same_candidate():
    ((text, names),) = distinct("9.9*tanh(0.0476*y)*(x - w*y)", "x*y - w*y**2", "0.3*x*y - 0.3*w*y**2 + 1e-5")
    assert text == "x*y - w*y**2"
    assert set(names) == {"engine 0", "engine 1", "engine 2"}


def test_updates_that_differ_are_candidates_of_their_own():
    texts = "x*y - w*y**2", "tanh(y)*(x - w*y)", "x*y - w*y**2 + 0.3*w", "(w*y - x)*y*exp(1e-9*x)"
    assert len(distinct(*texts)) == len(texts)  # the last is the first with the other sign


def test_a_few_states_near_a_blow_up_do_not_make_one_rule_of_two():
    """There `w*y**2` outweighs all else, and the law must not be taken for its second term alone."""
    far = np.array([[1.0, 200.0, 60.0], [-0.5, 300.0, 80.0]])
    states = np.concatenate([STATES, far])
    samples = {"feedforward": Samples(("x", "y", "w"), states, states[:, 0])}
    assert len(distinct("w*y**2", "w*y**2 - x*y", states=samples)) == 2
    assert len(distinct("w*y**2", "w*y**2 - 1e-5*x*y", states=samples)) == 1


def test_agreement_is_the_relative_distance_at_the_best_multiple():
    rule, other = Rule.parse("x*y"), Rule.parse("3*x*y + 0.3*w")
    mine, theirs = (update_on(one, VISITED) for one in (rule, other))
    a, b = mine["feedforward"], theirs["feedforward"]
    sizes = np.maximum(np.abs(a), np.median(np.abs(a)))
    multiples = np.linspace(0, 1, 20_001)
    expected = max(
        min(np.linalg.norm(p - m * q) for m in multiples) / np.linalg.norm(p)
        for p, q in ((a, b), (a / sizes, b / sizes))
    )
    assert agreement(rule, mine, theirs) == pytest.approx(expected, rel=1e-4)
    assert agreement(rule, mine, {"feedforward": -b}) == 1.0


def test_time_constants_tell_spiking_rules_apart():
    rng = np.random.default_rng(0)
    columns = rng.uniform(0.1, 1, (50, 2))
    states = {
        "on_pre": Samples(("x_post", "w"), columns, columns[:, 0]),
        "on_post": Samples(("x_pre", "w"), columns, columns[:, 0]),
    }
    rule = {"on_pre": "x_post - 0.2", "on_post": "x_pre", "tau_pre": "20", "tau_post": "20"}
    assert (
        len(distinct(rule, {**rule, "tau_pre": "60"}, states=states)) == 1
    )  # of one skeleton the first stays
    other = {**rule, "tau_pre": "60", "on_pre": "x_post - 0.2 + 1e-6*w"}
    assert len(distinct(rule, other, states=states)) == 2
    twin = {**rule, "on_pre": "x_post - 0.2 + 1e-6*w"}
    assert len(distinct(rule, twin, states=states)) == 1


def test_forms_whose_update_is_not_finite_are_left_out():
    assert distinct("exp(exp(exp(9*y)))*x", "x*y") == [("x*y", ["engine 1"])]


def test_simple_forms_come_before_variants_of_the_best_one():
    texts = {
        "x*y": 0.9,
        "x*y - w*y**2": 0.06,
        "x*y - w*y**2 + x": 0.05,
        "x*y - w*y**2 + x + w": 0.05,
        "w": 2.0,
    }
    rules = {Rule.parse(text): loss for text, loss in texts.items()}
    ordered = in_layers((rule.complexity, loss, str(rule)) for rule, loss in rules.items())
    first = {str(Rule.parse(text)) for text in ("x*y", "x*y - w*y**2", "x*y - w*y**2 + x", "w")}
    assert set(ordered[:4]) == first
    assert ordered[0] == str(Rule.parse("x*y - w*y**2 + x"))
    assert len(ordered) == len(texts)


def test_terms_of_several_forms_are_put_together():
    x, y, w = STATES.T
    teacher = {"feedforward": Samples(("x", "y", "w"), STATES, 0.5 * x * np.tanh(y) - 0.2 * w * y**2)}
    rules = [Rule.parse("x*tanh(y) + 0.3*w"), Rule.parse("x*y - 0.7*w*y**2"), Rule.parse("x - y")]
    found = recombined(rules, teacher, 30)
    law = next(one for one in found if skeleton(one) == skeleton(Rule.parse("2*x*tanh(y) - 3*w*y**2")))
    values = law.numpy()["feedforward"](x=x, y=y, w=w)
    np.testing.assert_allclose(values, teacher["feedforward"].target, atol=1e-9)
    assert all(one.size <= 9 for one in recombined(rules, teacher, 9))
    assert recombined([], teacher, 30) == []
