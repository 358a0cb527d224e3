"""Rules whose powers of the output are splines: against their naive twin, differences, and polynomials."""

from __future__ import annotations

import math

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rate_examples import neuron_gradient as meta_gradient
from rate_examples import simulate_neuron as simulate

from sims.rate import Schedule
from sims.rules import PolynomialRule, SplineRule

ALL = np.ones((3, 3), dtype=bool)
LINEAR = np.array([[True, True, False], [True, False, False], [False, False, False]])


def drawn(seed: int, blocks: np.ndarray, n_pieces: int = 6, size: float = 0.2) -> SplineRule:
    table = np.random.default_rng(seed).normal(0, size, (3, 3, n_pieces + 3)) * blocks[:, :, None]
    return SplineRule(-1.5, 2.0, table)


def work(seed: int, n_problems: int, n_inputs: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n_problems, 15, n_inputs)), rng.normal(0, 0.5, (n_problems, n_inputs))


def schedule(batch: int, n_steps: int = 23) -> Schedule:
    return Schedule(np.random.default_rng(batch).integers(15, size=(5, batch)), n_steps, 0.05)


def end_loss(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return 0.5 * np.sum((weights - 0.3) ** 2, axis=1), weights - 0.3


@pytest.mark.parametrize("blocks", [ALL, LINEAR], ids=["all blocks", "linear"])
@pytest.mark.parametrize(("n_problems", "batch"), [(1, 1), (2, 4), (9, 1), (9, 4)])
def test_weights_are_those_of_the_naive_twin(blocks: np.ndarray, n_problems: int, batch: int) -> None:
    rule = drawn(3, blocks)
    inputs, weights = work(1, n_problems, 3)
    outcome = simulate(rule, inputs, weights, schedule(batch), every=4)
    for p in range(n_problems):
        path, blow_up = naive.rate_neuron(rule, inputs[p], weights[p], schedule(batch))
        assert outcome.blow_up[p] == blow_up == -1
        np.testing.assert_allclose(outcome.record[p], path[:-1:4], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(outcome.weights[p], path[-1], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("blocks", [ALL, LINEAR], ids=["all blocks", "linear"])
@pytest.mark.parametrize(("n_problems", "batch", "n_inputs"), [(2, 1, 4), (5, 3, 4), (2, 3, 200)])
def test_the_gradient_is_that_of_central_differences(
    blocks: np.ndarray, n_problems: int, batch: int, n_inputs: int
) -> None:
    rule = drawn(5, blocks, size=0.2 / math.sqrt(n_inputs / 4))
    inputs, weights = work(2, n_problems, n_inputs)
    weights /= math.sqrt(n_inputs / 4)
    result = meta_gradient(rule, inputs, weights, schedule(batch), end_loss)

    def total(parameters: np.ndarray) -> float:
        moved = SplineRule(rule.low, rule.high, parameters.reshape(rule.coefficients.shape))
        return float(end_loss(simulate(moved, inputs, weights, schedule(batch)).weights)[0].sum())

    expected = naive.central_differences(total, rule.coefficients.reshape(-1), 1e-4)
    # Where an output lies at the end of the splines the slope has two values; none does here.
    error = np.linalg.norm(result.gradients.sum(axis=0) - expected)
    assert error <= 1e-6 * np.linalg.norm(expected)
    assert np.count_nonzero(expected) > 20


@pytest.mark.parametrize("acting", [ALL, LINEAR, LINEAR.T & LINEAR], ids=["all", "linear", "two"])
@pytest.mark.parametrize("n_problems", [1, 9])
def test_gradients_that_nobody_asks_for_are_zero_and_the_others_the_same(
    acting: np.ndarray, n_problems: int
) -> None:
    """Of splines that act and of those that are zero, inside of the linear ones and beyond."""
    wanted = np.array([[False, True, True], [False, False, True], [True, False, False]])
    whole = drawn(6, acting)
    some = SplineRule(whole.low, whole.high, whole.coefficients, wanted)
    inputs, weights = work(3, n_problems, 3)
    expected = meta_gradient(whole, inputs, weights, schedule(4), end_loss)
    found = meta_gradient(some, inputs, weights, schedule(4), end_loss)
    np.testing.assert_allclose(found.losses, expected.losses, rtol=1e-12)
    shape = (n_problems, *whole.coefficients.shape)
    gradients, wholly = found.gradients.reshape(shape), expected.gradients.reshape(shape)
    np.testing.assert_allclose(gradients[:, wanted], wholly[:, wanted], rtol=1e-9, atol=1e-12)
    assert not gradients[:, ~wanted].any()
    assert wholly[:, ~wanted].any()


def test_problems_do_not_depend_on_who_runs_beside_them() -> None:
    rule = drawn(7, ALL)
    inputs, weights = work(4, 11, 3)
    together = meta_gradient(rule, inputs, weights, schedule(3), end_loss)
    for first, last in ((0, 3), (8, 11)):
        rows = slice(first, last)
        apart = meta_gradient(rule, inputs[rows], weights[rows], schedule(3), end_loss)
        np.testing.assert_array_equal(apart.gradients, together.gradients[rows])


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**6), st.floats(-3, 3), st.integers(1, 20))
def test_curves_are_those_of_the_recursion(seed: int, y: float, n_pieces: int) -> None:
    rule = drawn(seed, ALL, n_pieces)
    curves = rule.curves(np.array(y))
    for i in range(3):
        for k in range(3):
            assert curves[i, k] == pytest.approx(naive.spline_curve(rule, i, k, y), rel=1e-9, abs=1e-9)


def test_splines_hold_every_cubic() -> None:
    """Marsden's identity: the coefficients of y are the means of three knots, those of one are one."""
    n_pieces, low, high = 5, -4.0, 6.0
    knots = low + (high - low) / n_pieces * np.arange(-3, n_pieces + 4)
    inner = [knots[n + 1 : n + 4] for n in range(n_pieces + 3)]
    squares = np.array([(three.sum() ** 2 - np.sum(three**2)) / 6 for three in inner])
    means = np.array([three.mean() for three in inner])
    table = np.zeros((3, 3, n_pieces + 3))
    table[1, 0], table[0, 1] = means, -squares
    rule, oja = SplineRule(low, high, table), PolynomialRule.from_terms({(1, 1, 0): 1.0, (0, 2, 1): -1.0})
    inputs, weights = work(6, 4, 3)
    plan = schedule(1, 60)
    np.testing.assert_allclose(
        simulate(rule, inputs, weights, plan).weights,
        simulate(oja, inputs, weights, plan).weights,
        atol=1e-12,
    )
    x, y, w = np.array([[0.3, -1.0], [2.0, 0.5], [0.1, 0.7]])
    np.testing.assert_allclose(rule.update(x, y, w), x * y - w * y**2, atol=1e-12)


def test_a_problem_that_blows_up_is_contained() -> None:
    table = np.zeros((3, 3, 9))
    table[0, 1] = 50.0
    inputs, weights = work(8, 3, 2)
    weights[1] = 0.0
    result = meta_gradient(SplineRule(-1, 1, table), inputs, weights, schedule(1), end_loss)
    assert result.outcome.blow_up[1] == -1
    assert min(result.outcome.blow_up[0], result.outcome.blow_up[2]) > 0
    assert not result.gradients[[0, 2]].any()
    assert np.isfinite(result.gradients).all()


@pytest.mark.parametrize(
    ("low", "high", "table"),
    [
        (0.0, 1.0, np.zeros((3, 3, 3))),
        (0.0, 1.0, np.zeros((3, 4))),
        (1.0, 1.0, np.zeros((3, 3, 5))),
        (float("nan"), 1.0, np.zeros((3, 3, 5))),
        (0.0, 1.0, np.full((3, 3, 5), np.inf)),
    ],
)
def test_bad_splines_are_refused(low: float, high: float, table: np.ndarray) -> None:
    with pytest.raises(ValueError, match="nine splines"):
        SplineRule(-1.0, 1.0, np.ones((3, 3, 7)), np.ones(9, dtype=bool))
    with pytest.raises(ValueError, match="spline"):
        SplineRule(low, high, table)
