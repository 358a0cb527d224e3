"""Rules: slots, coefficients, programs, constants, identity."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from discover.errors import RuleError
from discover.expression import constants, evaluate, parse
from discover.rule import FEEDFORWARD, ON_POST, ON_PRE, SLOTS, Rule
from sims.rules import Op
from tests.naive import program_value
from tests.strategies import VARIABLES, trees

OJA = "x*y - w*y**2"
NETWORK = {"feedforward": OJA, "lateral": "-y_pre*y_post"}


def test_slots():
    assert set(SLOTS) == {
        "feedforward", "lateral", "sliding", "on_pre", "on_post", "tau_pre", "tau_post",
        "pre_spike", "post_spike", "tau_slow_pre", "tau_slow_post", "error", "choice", "reward",
    }  # fmt: skip
    assert ON_PRE.variables == ("x_post", "w")
    assert ON_PRE.neuron_level == (True, False)
    assert ON_POST.neuron_level == (False, False)
    assert FEEDFORWARD.neuron_level == (False, True, False)


def test_equal_by_what_it_computes():
    oja = Rule.parse(OJA)
    for text in ("y*(x - w*y)", "-(w*y^2) + y*x", "y*x - square(y)*w"):
        assert Rule.parse(text) == oja
        assert hash(Rule.parse(text)) == hash(oja)
    assert Rule.parse("x*y - 0.9*w*y**2") != oja
    assert Rule.parse({"lateral": "y_pre*y_post"}) != oja
    assert oja != OJA
    assert str(Rule.parse("y*(x - w*y)").canonical()) == OJA


def test_text_round_trip():
    rule = Rule.parse(NETWORK)
    assert Rule.parse(rule.to_dict()) == rule
    assert rule.to_dict() == NETWORK
    assert eval(repr(rule), {"Rule": Rule}) == rule
    assert eval(repr(Rule.parse(OJA)), {"Rule": Rule}) == Rule.parse(OJA)
    assert pickle.loads(pickle.dumps(rule)) == rule
    assert rule.complexity == 7 + 3
    assert rule.size == 9 + 4
    assert rule.slots == ("feedforward", "lateral")


@pytest.mark.parametrize(
    ("given_rule", "message"),
    [
        ("x*z", "Unknown variable 'z'"),
        ({"feedfoward": "x"}, "Did you mean 'feedforward'"),
        ({}, "at least one slot"),
        ({"lateral": "x"}, "Variables here: y_pre, y_post, v"),
        (3, "text"),
        ({"feedforward": 3}, "text"),
        ({1: "x"}, "Unknown slot"),
    ],
)
def test_bad_rules(given_rule, message):
    with pytest.raises(RuleError, match=message):
        Rule.parse(given_rule)


def test_variables_are_checked_against_the_slot():
    with pytest.raises(RuleError, match="no variable 'y_pre'"):
        Rule({"feedforward": parse("y_pre", ("y_pre",))})


terms = st.dictionaries(
    st.sampled_from(["1", "x", "w", "x*y", "w*y**2", "w**2*x**2*y**2", "y**2", "x**3"]),
    st.floats(-5, 5, allow_subnormal=False).filter(lambda value: value != 0.0),
    min_size=1,
)


@given(terms)
@settings(max_examples=60, deadline=None)
def test_coefficients_round_trip(table):
    rule = Rule.from_coefficients({"feedforward": table})
    assert rule.is_polynomial
    assert rule.coefficients() == {"feedforward": table}
    assert Rule.parse(str(rule)) == rule


def test_coefficients_of_what_is_none():
    assert Rule.from_coefficients({"feedforward": {"x*y": 0.0}}).coefficients() == {"feedforward": {}}
    assert str(Rule.from_coefficients({"feedforward": {}})) == "0"
    assert not Rule.parse("tanh(x)").is_polynomial
    with pytest.raises(RuleError, match="not a polynomial"):
        Rule.parse("tanh(x)").coefficients()


@pytest.mark.parametrize(
    "table",
    [{"x + y": 1.0}, {"2*x": 1.0}, {"q": 1.0}, {"x*y": math.nan}, {"x*y": 1.0, "y*x": 1.0}, {"tanh(x)": 1.0}],
)
def test_bad_coefficients(table):
    with pytest.raises(RuleError):
        Rule.from_coefficients({"feedforward": table})


def test_polynomial_table():
    table = Rule.parse("2*x*y - w*y**2 + 3").polynomial().coefficients
    assert table[1, 1, 0] == 2.0
    assert table[0, 2, 1] == -1.0
    assert table[0, 0, 0] == 3.0
    assert np.count_nonzero(table) == 3
    lateral = Rule.parse(NETWORK).polynomial("lateral").coefficients
    assert lateral[1, 1, 0] == -1.0
    assert Rule.parse({"on_pre": "w*x_post**2"}).polynomial().coefficients[0, 2, 1] == 1.0
    assert Rule.parse({"on_post": "w*x_pre**2"}).polynomial().coefficients[2, 0, 1] == 1.0
    with pytest.raises(RuleError, match=r"'x\*\*3'"):
        Rule.parse("x**3").polynomial()


@given(trees())
@settings(max_examples=150, deadline=None)
def test_program_agrees_with_the_expression(node):
    rule = Rule({"feedforward": node})
    program = rule.program()
    assert program.variables == VARIABLES
    assert program.neuron_level == (False, True, False)
    assert program.constants.tolist() == list(constants(node))
    for point in ((0.5, -1.5, 2.0), (0.0, 1.0, -1.0), (3.0, 0.25, 0.0)):
        values = dict(zip(VARIABLES, point, strict=True))
        expected = rule.numpy()["feedforward"](**values).item()
        assert expected == pytest.approx(evaluate(node, values).item(), nan_ok=True)
        if math.isfinite(expected):
            assert program_value(program, values) == pytest.approx(expected, rel=1e-9, abs=1e-300)


def test_program_shares_what_is_equal_but_no_constants():
    program = Rule.parse("tanh(x*y) + x*y + 0.5*w + 0.5*w").program()
    assert program.code[:, 0].tolist().count(int(Op.TANH)) == 1
    assert program.constants.tolist() == [0.5, 0.5]
    assert program.code[:, 0].tolist().count(int(Op.MUL)) == 3
    changed = program.with_constants([1.0, 2.0])
    assert program_value(changed, {"x": 0.0, "y": 0.0, "w": 1.0}) == 3.0


def test_program_powers():
    program = Rule.parse("x**2 + x**3 + x**-2 + x**0.5 + x**y").program()
    ops = [Op(op) for op in program.code[:, 0]]
    assert ops.count(Op.SQUARE) == 1
    assert ops.count(Op.POWI) == 2
    assert ops.count(Op.POW) == 2
    assert program.constants.tolist() == [0.5]


@pytest.mark.parametrize(("text", "value"), [("w", 5.0), ("2.5", 2.5)])
def test_program_without_instructions(text, value):
    program = Rule.parse(text).program()
    assert len(program.code) == 0
    assert program_value(program, {"x": 1.0, "y": 2.0, "w": 5.0}) == value


def test_which_slot_is_meant():
    rule = Rule.parse(NETWORK)
    with pytest.raises(RuleError, match="which slot"):
        rule.program()
    with pytest.raises(RuleError, match="does not act"):
        rule.program("on_pre")
    with pytest.raises(RuleError, match="Did you mean 'lateral'"):
        rule.program("latteral")
    assert str(rule.expression("lateral")) == "-y_pre*y_post"


def test_constants_of_all_slots():
    rule = Rule.parse({"lateral": "0.5*y_pre", "feedforward": "2*x - 3*w"})
    assert rule.constants().tolist() == [2.0, 3.0, 0.5]
    changed = rule.with_constants([1.0, 4.0, 9.0])
    assert changed.constants().tolist() == [1.0, 4.0, 9.0]
    assert changed.to_dict()["lateral"] == "9*y_pre"
    with pytest.raises(RuleError, match="3 constants"):
        rule.with_constants([1.0])


def test_scaled():
    assert Rule.parse(OJA).scaled(2.0).coefficients() == {"feedforward": {"x*y": 2.0, "w*y**2": -2.0}}
    assert str(Rule.parse("tanh(x)").scaled(0.5)) == "0.5*tanh(x)"
    assert Rule.parse(OJA).scaled(0.0) == Rule.parse("0")
    assert Rule.parse("x*tanh(y)").scaled(1.0) == Rule.parse("x*tanh(y)")
    with pytest.raises(RuleError):
        Rule.parse(OJA).scaled(math.inf)


def test_latex():
    assert Rule.parse(OJA).latex() == r"\Delta w_{ij} = \eta \left( x y - w y^{2} \right)"
    network = Rule.parse(NETWORK).latex()
    assert r"\Delta v_{ij} &= \eta \left( -y_{\mathrm{pre}} y_{\mathrm{post}} \right)" in network
    assert network.startswith(r"\begin{aligned}")


def test_numpy_names_what_it_does_not_know():
    update = Rule.parse(OJA).numpy()["feedforward"]
    assert update(x=1.0, y=2.0, w=3.0) == -10.0
    with pytest.raises(RuleError, match="Unknown variable 'z'"):
        update(x=1.0, y=2.0, w=3.0, z=1.0)
    assert pickle.loads(pickle.dumps(update)) == update


def test_sympy():
    import sympy

    x, y, w = (sympy.Symbol(name, real=True) for name in VARIABLES)
    assert Rule.parse(OJA).sympy() == {"feedforward": x * y - w * y**2}


def test_immutable():
    rule = Rule.parse(OJA)
    with pytest.raises(AttributeError):
        rule.expressions = {}


def test_slots_are_scaled_one_by_one():
    pair = Rule.parse({"feedforward": "x*y - w*y**2", "lateral": "tanh(y_pre)*y_post"})
    scaled = pair.scaled({"lateral": -0.5})
    assert scaled.to_dict()["feedforward"] == pair.to_dict()["feedforward"]
    value = scaled.numpy()["lateral"](y_pre=0.3, y_post=2.0, v=0.0)
    assert value == pytest.approx(-0.5 * np.tanh(0.3) * 2.0)


def test_constants_of_the_synapse_are_positive_numbers_that_no_scale_changes():
    texts = {"on_pre": "x_post - 0.2", "on_post": "x_pre", "tau_post": "30"}
    rule = Rule.parse(texts)
    assert (rule.constant("tau_pre"), rule.constant("tau_post")) == (20.0, 30.0)
    assert rule.scaled(2.0).constant("tau_post") == 30.0
    assert set(rule.numpy()) == {"on_pre", "on_post"}
    assert r"\tau_{\mathrm{post}} &= 30\,\mathrm{ms}" in rule.latex()
    assert Rule.parse(rule.to_dict()) == rule != Rule.parse({**texts, "tau_post": "31"})
    for text in ("-20", "0", "x_pre", "20/0"):
        with pytest.raises(RuleError, match="tau_post"):
            Rule.parse({**texts, "tau_post": text})
    with pytest.raises(RuleError, match="an update and not a constant"):
        rule.constant("on_pre")
