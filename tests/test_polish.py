"""Fitting the constants of expressions: one solution, whatever form the expression came in."""

from __future__ import annotations

import numpy as np
import pytest

from discover.expression import constants, evaluate, parse
from discover.search._constants import fit_constants
from discover.search._polish import polished
from discover.search.engine import Samples

VARIABLES = ("x", "y", "w")

REDUNDANT = [
    ("1.7*y*(w/(2.1/y) - 0.3*x)", "0.85*y*(w/(1.05/y) - 0.6*x)"),
    ("x*(2/(0.5/tanh(y)) - 3*w)", "x*(4*tanh(y) - 3*w)"),
    ("2*x/(3*y + 6)", "x/(1.5*y + 3)"),
    ("3*abs(2*x - 1)*w", "6*abs(x - 0.5)*w"),
    ("2*(2*tanh(x) + 1)**2", "8*(tanh(x) + 0.5)**2"),
    ("0.5*exp(0.3 - 2*x)*y", "0.6749294*exp(-2*x)*y"),
    ("2*max(3*x, 0.6*y)", "3*max(2*x, 0.4*y)"),
    ("3*sqrt(2*x + 2) - w", "6*sqrt(0.5*x + 0.5) - w"),
    ("2*sign(3*x - 2)*y", "2*sign(1.5*x - 1)*y"),
]
"""Two ways to write one function, at least one of which has a constant too many."""


def noisy(text: str, shaken: float = 0.0) -> Samples:
    rng = np.random.default_rng(0)
    states = rng.uniform(0.1, 1.5, (400, 3))
    target = evaluate(parse(text, VARIABLES), dict(zip(VARIABLES, states.T, strict=True)))
    target = target + 0.05 * target.std() * rng.normal(size=400)
    return Samples(VARIABLES, states * (1 + shaken * rng.normal(size=states.shape)), target)


@pytest.mark.parametrize(("text", "other"), REDUNDANT)
def test_forms_of_one_function_are_polished_to_one_expression(text: str, other: str) -> None:
    samples = noisy(text)
    (first, tidy), (second, other_tidy) = (polished(parse(one, VARIABLES), samples) for one in (text, other))
    assert len(constants(first)) == len(constants(second))
    np.testing.assert_allclose(
        evaluate(first, samples.columns), evaluate(second, samples.columns), rtol=1e-6, atol=1e-9
    )
    if "max" not in text:  # which operand leads there is open
        np.testing.assert_allclose(constants(first), constants(second), rtol=1e-6, atol=1e-9)
        assert str(tidy) == str(other_tidy)


@pytest.mark.parametrize("text", [pair[0] for pair in REDUNDANT])
def test_rounding_of_the_data_does_not_decide_the_constants(text: str) -> None:
    (first, tidy), (second, other_tidy) = (
        polished(parse(text, VARIABLES), noisy(text, shaken)) for shaken in (0.0, 1e-15)
    )
    np.testing.assert_allclose(constants(second), constants(first), rtol=1e-7, atol=1e-9)
    assert str(tidy) == str(other_tidy)


@pytest.mark.parametrize(
    ("text", "too_many"),
    [
        ("2*tanh(y)*(3*x + 1) + 2*tanh(y)", 2),
        ("2*log(3*x) + 1 + x*0.4*0.5", 2),
        ("x/(2*y)*3", 1),
        ("2*x + 1", 0),
    ],
)
def test_a_constant_that_others_can_stand_in_for_stays_where_it_is(text: str, too_many: int) -> None:
    tree = parse(text, VARIABLES)
    first, second = (fit_constants(tree, noisy(text, shaken), 60) for shaken in (0.0, 1e-15))
    np.testing.assert_allclose(constants(second.tree), constants(first.tree), rtol=1e-9)
    start = constants(tree)
    assert sum(a == b for a, b in zip(start, constants(first.tree), strict=True)) == too_many


def test_tidy_constants_have_no_more_digits_than_the_data_tell() -> None:
    text = "1.2345678*x*y - 0.3456789*w"
    _, tidy = polished(parse(text, VARIABLES), noisy(text))
    assert max(len(f"{abs(value):g}".replace(".", "").strip("0")) for value in constants(tidy)) <= 3
