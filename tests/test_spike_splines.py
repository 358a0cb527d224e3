"""Spiking rules without a formula: their curves, and that they run like the formulas they can express."""

from __future__ import annotations

import naive_circuit as naive
import numpy as np
import pytest
from circuit_examples import balanced_run
from numpy.testing import assert_allclose, assert_array_equal
from scipy.interpolate import BSpline

from discover.tasks._recurrent_balance import balanced_network
from sims.rules import Op, Program
from sims.spike_rules import LinearSpikeRule, SpikeRule
from sims.spike_splines import SplineSpikeRule, TraceSplines
from sims.spiking import FeedforwardCircuit, published_problems, simulate_feedforward

SMALL = FeedforwardCircuit(
    n_excitatory=60, n_inhibitory=20, n_channels=4, excitatory_unit=0.2, inhibitory_unit=0.5
)
PROBLEMS = published_problems(SMALL, seeds=[7, 8], inhibitory_weight=0.3)


def polynomial_splines(low: float, high: float, n_pieces: int, rows: list[list[float]]) -> TraceSplines:
    """Splines that are polynomials of the trace, by interpolation, which is exact up to degree three."""
    knots = low + (high - low) / n_pieces * np.arange(-3, n_pieces + 4)
    points = np.linspace(low, high, n_pieces + 3)
    design = BSpline.design_matrix(np.minimum(points, high - 1e-12), knots, 3).toarray()
    powers = np.minimum(points, high - 1e-12)[:, None] ** np.arange(len(rows[0]))
    return TraceSplines(low, high, np.linalg.solve(design, powers @ np.transpose(rows)).T)


def test_curves_are_those_of_scipy_and_of_the_recursion() -> None:
    rng = np.random.default_rng(1)
    table = rng.normal(size=(3, 8))
    splines = TraceSplines(-0.5, 2.0, table)
    x = rng.uniform(-0.5, 2.0, 50)
    knots = -0.5 + 0.5 * np.arange(-3, 9)
    expected = np.array([BSpline(knots, row, 3)(x) for row in table])
    assert_allclose(splines.curves(x), expected, atol=1e-12)
    w = rng.uniform(0, 2, 50)
    slow = [naive.splines_value(splines, *pair) for pair in zip(x, w, strict=True)]
    assert_allclose(splines.update(x, w), slow, atol=1e-12)
    assert_allclose(splines.curves([-9.0, 9.0]), splines.curves([-0.5, 2.0]))


@pytest.mark.parametrize(
    "arguments",
    [
        (0.0, 0.0, np.ones((1, 4))),
        (0.0, 1.0, np.ones((4, 4))),
        (0.0, 1.0, np.ones((1, 3))),
        (0.0, np.inf, np.ones((1, 4))),
        (0.0, 1.0, np.full((1, 4), np.nan)),
        (0.0, 1.0, np.ones(4)),
    ],
)
def test_what_is_no_spline_is_refused(arguments) -> None:
    with pytest.raises(ValueError, match="pline"):
        TraceSplines(*arguments)


def test_a_rule_needs_positive_time_constants() -> None:
    with pytest.raises(ValueError, match="Time constants"):
        SplineSpikeRule(None, None, 0.0, 20.0)


def test_splines_that_are_straight_lines_run_like_the_published_family() -> None:
    linear = LinearSpikeRule(-0.3, 0.05, 0.7, 0.9, 12.0, 31.0)
    splines = SplineSpikeRule(
        polynomial_splines(0.0, 40.0, 5, [[-0.3, 0.9], [0.0, 0.0]]),
        polynomial_splines(0.0, 40.0, 4, [[0.05, 0.7]]),
        12.0, 31.0,
    )  # fmt: skip
    one, other = (
        simulate_feedforward(rule, PROBLEMS, 1.0, 0.3, circuit=SMALL)
        for rule in (linear, splines)
    )  # fmt: skip
    assert_array_equal(one.n_spikes, other.n_spikes)
    assert_allclose(one.inhibitory_weights, other.inhibitory_weights, rtol=1e-9, atol=1e-12)
    network = balanced_network(24, 6, 0.4, 0.2, weight=0.5, excitatory_ns=2.0)
    runs = [balanced_run(rule, network, 0.3, seed=4) for rule in (linear, splines)]
    assert_array_equal(runs[0].rates_hz["E"], runs[1].rates_hz["E"])
    weights = [run.state.weights("IE") for run in runs]
    assert_allclose(*weights, rtol=1e-9, atol=1e-12)
    assert np.ptp(weights[0]) > 0.01


def test_splines_that_are_polynomials_run_like_their_programs() -> None:
    """``x**2 - 0.2 - 0.4*w`` at presynaptic spikes, ``x - 0.1*x**3*w`` at postsynaptic ones."""
    pre = Program.build(
        ("x_post", "w"), (True, False), [0.2, 0.4],
        [(Op.SQUARE, 0, 0), (Op.SUB, 4, 2), (Op.MUL, 3, 1), (Op.SUB, 5, 6)],
    )  # fmt: skip
    post = Program.build(
        ("x_pre", "w"), (False, False), [0.1],
        [(Op.POWI, 0, 3), (Op.MUL, 3, 2), (Op.MUL, 4, 1), (Op.SUB, 0, 5)],
    )  # fmt: skip
    splines = SplineSpikeRule(
        polynomial_splines(0.0, 9.0, 5, [[-0.2, 0.0, 1.0, 0.0], [-0.4, 0.0, 0.0, 0.0]]),
        polynomial_splines(0.0, 9.0, 5, [[0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, -0.1]]),
    )
    one, other = (
        simulate_feedforward(rule, PROBLEMS, 1.0, 0.3, circuit=SMALL)
        for rule in (SpikeRule(pre, post), splines)
    )  # fmt: skip
    assert_array_equal(one.n_spikes, other.n_spikes)
    assert_allclose(one.inhibitory_weights, other.inhibitory_weights, rtol=1e-8, atol=1e-11)
    assert np.ptp(one.inhibitory_weights) > 0.01
