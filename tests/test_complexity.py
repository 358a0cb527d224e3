"""The cost of expressions: what a theorist would call simple costs less."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import trees

from discover.expression import Complexity, canonical, parse, scaled
from discover.rule import Rule
from discover.search.settings import SearchSettings

NAMES = ("x", "y", "w")
MEASURE = Complexity()


def cost(text):
    return MEASURE.of_update(parse(text, NAMES))


ORNAMENTS = (
    "9.9*tanh(0.0476*y)*(x - w*y)",
    "4.7e-05 + 0.4314*x*y - 0.4335*w*y**2",
    "0.46*x*y - 0.46*w*y**2 - 0.054*x",
    "x*y - 1.006*w*y**2",
    "y*(x - w*tanh(y))",
    "y*(x - w*y)*exp(-0.01*x)",
    "x*y - w*y**2 + 0.001*w",
)


@pytest.mark.parametrize("ornament", ORNAMENTS)
def test_oja_is_cheaper_than_its_ornaments(ornament):
    assert cost("x*y - w*y**2") < cost(ornament)


def test_factored_and_expanded_forms_cost_the_same():
    assert cost("y*(x - w*y)") == cost("x*y - w*y**2") == cost("0.46*y*(x - w*y)") == 7
    assert cost("x*tanh(y) - w*y*tanh(y)") == cost("tanh(y)*(x - w*y)")
    assert cost("(x - w*y)*(x + w*y)") == cost("x**2 - w**2*y**2")


def test_functions_cost_more_than_products_and_constants_more_than_powers():
    assert cost("x*tanh(y)") > cost("x*y*w")
    assert cost("x + 0.3*y") > cost("x + y**3")
    assert cost("x + 3*y") < cost("x + 3.1*y")
    assert cost("x/y") > cost("x*y")


def test_a_long_expression_is_charged_in_bounded_time():
    text = " + ".join(f"{0.1 + n}*x**{n % 7}*y**{n % 5}*w**{n % 3}" for n in range(90))
    assert cost(text) > 400
    assert cost("(x - w)**2*(y - w)**2*(x + y + w)**3") <= cost("(x - w)**2*(y - w)**2*(x + y + 0.5*w)**3")


@given(trees(), st.sampled_from([0.3, -2.0, 7.1, 1e-3]))
@settings(max_examples=150, deadline=None)
def test_the_multiple_of_an_update_is_free_and_every_update_costs_something(node, factor):
    node = canonical(node, NAMES)
    value = MEASURE.of_update(node)
    assert value >= 1
    if node.op != "const":
        assert MEASURE.of_update(scaled(node, factor)) == pytest.approx(value)
    assert MEASURE.of(node) >= value


def test_rules_with_slots_of_the_same_synapses_have_one_free_multiple():
    spiking = {"on_pre": "x_post - 0.2", "on_post": "x_pre", "tau_pre": "20", "tau_post": "20"}
    half = {**spiking, "on_pre": "0.5*x_post - 0.1", "on_post": "0.5*x_pre"}
    other = {**spiking, "on_post": "0.7*x_pre"}
    assert Rule.parse(half).complexity == Rule.parse(spiking).complexity < Rule.parse(other).complexity
    network = {"feedforward": "x*y - w*y**2", "lateral": "-1.3*y_pre*y_post"}
    assert Rule.parse(network).complexity == 7 + 3


def test_users_can_give_costs_of_their_own():
    settings_ = SearchSettings(complexity_of_operators={"tanh": 9.0}, complexity_of_constants=5.0)
    node = parse("x*tanh(0.3*y)", NAMES)
    assert settings_.complexity_of(node) == MEASURE.of_update(node) + 5 + 2
    assert Rule.parse("x*tanh(0.3*y)").complexity_by(settings_.measure) == settings_.complexity_of(node)


def test_scaling_a_sum_scales_its_terms():
    node = scaled(parse("0.5*x*tanh(y) - 3*w", NAMES), 2.0)
    assert str(node) == "x*tanh(y) - 6*w"
    columns = dict(zip(NAMES, np.random.default_rng(0).normal(size=(3, 9)), strict=True))
    rule = Rule({"feedforward": parse("w*(0.67 - 0.4*y**2) - 0.51*x*tanh(y)", NAMES)})
    before, after = (one.numpy()["feedforward"](**columns) for one in (rule, rule.scaled(-1.7)))
    np.testing.assert_allclose(after, -1.7 * before, rtol=1e-12)
