"""The Volterra basis: names, exponents, design matrix, rules."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from discover.basis import VolterraBasis
from discover.errors import RuleError
from discover.rule import FEEDFORWARD, LATERAL, ON_PRE, SLOTS, Rule

BASIS = VolterraBasis(FEEDFORWARD)


def test_order_is_that_of_the_coefficient_tensor():
    tensor = np.arange(27).reshape(3, 3, 3)
    for index, (i, j, k) in enumerate(BASIS.exponents):
        assert tensor[i, j, k] == index
    assert len(BASIS) == len(set(BASIS.names)) == 27


def test_names():
    for name in ("1", "x*y", "w*y**2", "w*x**2*y", "w**2*x**2*y**2"):
        assert BASIS.names[BASIS.index(name)] == name
    assert BASIS.name((1, 1, 0)) == "x*y"
    assert BASIS.index("y**2*w") == BASIS.index("w*y**2")
    assert "y_pre*y_post" in VolterraBasis(LATERAL).names
    assert "v*y_post**2" in VolterraBasis(LATERAL).names


def test_slots_with_two_variables():
    basis = VolterraBasis(ON_PRE)
    assert basis.exponents.shape == (9, 3)
    assert np.all(basis.exponents[:, 0] == 0)
    assert basis.names[basis.index("x_post*w")] == "w*x_post"
    with pytest.raises(RuleError, match="sees only"):
        basis.name((1, 0, 0))


@pytest.mark.parametrize("name", ["x*z", "x**3", "x + y", "", "2*x", "tanh(x)", "x" * 10**6, None])
def test_unknown_terms(name):
    with pytest.raises(RuleError, match="has no term"):
        BASIS.index(name)


def test_unknown_term_gets_a_suggestion():
    with pytest.raises(RuleError, match=r"Did you mean 'w\*y\*\*2'"):
        BASIS.index("w*y***2")


@pytest.mark.parametrize("exponents", [(3, 0, 0), (1, 1), (-1, 0, 0)])
def test_bad_exponents(exponents):
    with pytest.raises(RuleError):
        BASIS.name(exponents)


@pytest.mark.parametrize("degree", [0, 9, 1.5, True, "2"])
def test_bad_degree(degree):
    with pytest.raises(RuleError):
        VolterraBasis(FEEDFORWARD, degree)


@given(st.lists(st.sampled_from([0.0, 1.0, -2.5, 1e-3]), min_size=27, max_size=27))
@settings(max_examples=40, deadline=None)
def test_rule_and_design_agree(coefficients):
    rng = np.random.default_rng(1)
    values = {name: rng.normal(size=7) for name in FEEDFORWARD.variables}
    rule = BASIS.rule(coefficients)
    np.testing.assert_allclose(
        BASIS.design(values) @ coefficients, rule.numpy()["feedforward"](**values), rtol=1e-9, atol=1e-9
    )
    assert BASIS.coefficients(rule).tolist() == coefficients


@pytest.mark.parametrize("slot", SLOTS.values(), ids=SLOTS.keys())
def test_every_slot_round_trips(slot):
    basis = VolterraBasis(slot)
    values = np.arange(1.0, len(basis) + 1)
    rule = basis.rule(values)
    assert basis.coefficients(rule).tolist() == values.tolist()
    if slot.further:  # a coefficient table of the kernels has three axes
        with pytest.raises(RuleError, match="has no place for"):
            rule.polynomial()
    else:
        assert np.count_nonzero(rule.polynomial().coefficients) == len(basis)


def test_tensor_is_taken():
    tensor = np.zeros((3, 3, 3))
    tensor[1, 1, 0], tensor[0, 2, 1] = 1.0, -1.0
    assert BASIS.rule(tensor) == Rule.parse("x*y - w*y**2")


def test_design_checks_its_input():
    with pytest.raises(RuleError, match="No values for y, w"):
        BASIS.design({"x": [1.0]})
    with pytest.raises(RuleError, match="one-dimensional"):
        BASIS.design({"x": np.ones((2, 2)), "y": 1.0, "w": 1.0})
    with pytest.raises(RuleError, match="27 terms, got 3"):
        BASIS.rule([1.0, 2.0, 3.0])
    with pytest.raises(RuleError, match="does not act"):
        BASIS.coefficients(Rule.parse({"lateral": "y_pre"}))
    assert BASIS.design({"x": [1.0, 2.0], "y": 1.0, "w": 1.0}).shape == (2, 27)
