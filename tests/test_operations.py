"""What operations are, and their derivatives: one answer in every circuit, also where none exists."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rate_examples import NetworkRule, network_gradient, neuron_gradient, sliding_gradient

from discover.rule import Rule
from sims._operations import exponential, tangent
from sims.rate import Schedule
from sims.rules import PolynomialRule

N_PROBLEMS, N_INPUTS = 3, 4
INPUTS = np.random.default_rng(0).uniform(0.2, 1.0, (N_PROBLEMS, 6, N_INPUTS))
SCHEDULE = Schedule(np.arange(6).reshape(3, 2), 5, 0.1)
START = np.array([[0.0, 0.5, 0.2, 0.0], [0.3, 0.0, 0.0, 0.1], [0.0, 0.0, 0.0, 0.0]])
AT_ZERO = (
    "0.7*sqrt(w)*x",
    "0.7*abs(w)**0.5*x",
    "0.7*w**0.3*x + 0.1*w",
    "0.7*sqrt(w)*x + 0.3*x",
    "0.7*sqrt(y)*x + 0.3*w",
    "0.2*x*y**0.4 + 0.3*x",
)
"""Weights that are zero stay so under some of these, and in the third problem the output does."""


def of_neuron(text: str) -> tuple[np.ndarray, np.ndarray]:
    program = Rule.parse(text).program()
    found = neuron_gradient(program, INPUTS, START, SCHEDULE, lambda w: (w.sum(1), np.ones_like(w)))
    return found.losses, found.gradients


def of_network(text: str) -> tuple[np.ndarray, np.ndarray]:
    start, lateral = START[:, None, :], np.zeros((N_PROBLEMS, 1, 1))
    pair = NetworkRule(Rule.parse(text).program(), PolynomialRule(np.zeros((3, 3, 3))))
    found = network_gradient(
        pair,
        INPUTS,
        start,
        lateral,
        SCHEDULE,
        lambda w, v: (w.sum((1, 2)), np.ones_like(w), np.zeros_like(v)),
    )
    return found.losses, found.feedforward


def of_sliding(text: str) -> tuple[np.ndarray, np.ndarray]:
    program = Rule.parse({"sliding": text}).program()
    found = sliding_gradient(
        program, INPUTS, START, np.ones(N_PROBLEMS), SCHEDULE, 3.0, lambda w: (w.sum(1), np.ones_like(w))
    )
    return found.losses, found.gradients


@pytest.mark.parametrize("text", AT_ZERO)
def test_gradients_at_zero_are_the_same_in_every_circuit(text: str) -> None:
    losses, gradients = of_neuron(text)
    assert np.all(np.isfinite(gradients))
    assert np.all(gradients[:2, 0] > 0)
    for circuit in (of_network, of_sliding):
        others, slopes = circuit(text)
        np.testing.assert_allclose(others, losses, rtol=1e-12)
        np.testing.assert_allclose(slopes, gradients, rtol=1e-9)


@given(st.floats(allow_infinity=True, allow_nan=False) | st.floats(-25, 25) | st.floats(-1, 1))
def test_the_hyperbolic_tangent_is_that_of_the_c_library_to_four_units_in_the_last_place(x: float) -> None:
    assert abs(tangent(x) - math.tanh(x)) <= 4 * math.ulp(math.tanh(x))
    assert tangent(-x) == -tangent(x)


def test_the_hyperbolic_tangent_of_what_is_not_a_number_is_none() -> None:
    assert math.isnan(tangent(math.nan))


@given(st.floats(-707.9, 709.78))
@example(0.0)
@example(1e-300)
@example(709.78)
@example(-707.99)
def test_the_exponential_is_that_of_the_c_library(x: float) -> None:
    assert exponential(x) == pytest.approx(math.exp(x), rel=1e-15 * (1 + 0.2 * abs(x)))


def test_the_exponential_of_what_is_out_of_range() -> None:
    assert [exponential(x) for x in (720.0, math.inf, -710.0, -math.inf)] == [math.inf, math.inf, 0.0, 0.0]
    assert math.isnan(exponential(math.nan))
