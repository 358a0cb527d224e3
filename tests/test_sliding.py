"""The neuron with a sliding threshold: kernels against a slow twin, exact gradients, blow-ups, threads."""

from __future__ import annotations

import naive
import numba
import numpy as np
import pytest
from rate_examples import simulate_sliding as simulate
from rate_examples import sliding_gradient as meta_gradient

from discover.basis import VolterraBasis
from discover.rule import Rule
from discover.slots import SLIDING
from sims.rate import Schedule

RNG = np.random.default_rng(0)
INPUTS = RNG.normal(size=(5, 6, 3))
WEIGHTS = RNG.normal(0, 0.5, (5, 3))
THRESHOLDS = RNG.uniform(0, 1, 5)
SCHEDULE = Schedule(np.arange(6).reshape(3, 2), 25, 0.05)
TAU = 3.0

TEXTS = (
    "0.7*x*y**2 - 0.9*x*y*theta",
    "0.5*x*y*tanh(1.2*y - theta) - 0.2*w*theta**2 + 0.1*theta",
    "x*exp(-0.3*y**2)/(1.5 + theta) - 0.4*w*sqrt(1.2 + theta**2) - 0.1*log(2.0 + w**2)",
    "max(0.3*x*y, -0.5*theta) - 0.3*w*min(y**2, 1.5) + 0.1*abs(w) - 0.05*sign(y)*x",
    "0.2*x**3*(1.1 + y**2)**-2 - (1.3 + theta**2)**0.7*w*0.3",
)


def program(text):
    return Rule.parse({"sliding": text}).program()


def table(seed=1, scale=0.1):
    return np.random.default_rng(seed).normal(0, scale, (3, 3, 3, 3))


def run(rule, **options):
    return simulate(rule, INPUTS, WEIGHTS, THRESHOLDS, SCHEDULE, TAU, **options)


def squared(weights):
    return np.sum(weights**2, axis=1), 2 * weights


@pytest.mark.parametrize("rule", [*map(program, TEXTS), table()], ids=[*TEXTS, "table"])
def test_kernels_do_what_the_slow_twin_does(rule):
    outcome = run(rule, every=1)
    for p in range(5):
        weights, thresholds = naive.sliding_neuron(rule, INPUTS[p], WEIGHTS[p], THRESHOLDS[p], SCHEDULE, TAU)
        np.testing.assert_allclose(outcome.record[p], weights[:-1], rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(outcome.threshold_record[p], thresholds[:-1], rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(outcome.weights[p], weights[-1], rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(outcome.thresholds[p], thresholds[-1], rtol=1e-10, atol=1e-12)


def test_a_table_and_the_program_of_the_same_polynomial_agree():
    text = "0.7*x*y**2 - 0.9*x*y*theta + 0.1*w*theta**2 - 0.2*w**2*x**2*y"
    rule, basis = Rule.parse({"sliding": text}), VolterraBasis(SLIDING)
    coefficients = basis.coefficients(rule).reshape(3, 3, 3, 3)
    np.testing.assert_allclose(run(rule.program()).weights, run(coefficients).weights, rtol=1e-12)


@pytest.mark.parametrize("text", TEXTS)
def test_gradient_of_constants_is_that_of_the_losses(text):
    rule = Rule.parse({"sliding": text})
    exact = meta_gradient(rule.program(), INPUTS, WEIGHTS, THRESHOLDS, SCHEDULE, TAU, squared).gradients
    constants = rule.constants()
    assert exact.shape == (5, len(constants))
    for n in range(len(constants)):
        step = np.zeros(len(constants))
        step[n] = 1e-6
        up, down = (
            squared(run(rule.with_constants(constants + s * step).program()).weights)[0] for s in (1, -1)
        )
        np.testing.assert_allclose(exact[:, n], (up - down) / 2e-6, rtol=1e-5, atol=1e-8)


def without_squares():
    """A table that is linear in input and weight."""
    powers = np.add.outer(np.arange(3), np.arange(3))[:, None, :, None]
    return np.where(powers <= 1, table(), 0.0)


@pytest.mark.parametrize("start", [table(), without_squares()], ids=["all terms", "linear"])
def test_gradient_of_a_table_is_that_of_the_losses(start):
    exact = meta_gradient(start, INPUTS, WEIGHTS, THRESHOLDS, SCHEDULE, TAU, squared)
    np.testing.assert_allclose(exact.losses, squared(run(start).weights)[0])
    for n in range(81):
        step = np.zeros(81)
        step[n] = 1e-6
        up, down = (squared(run(start + s * step.reshape(start.shape)).weights)[0] for s in (1, -1))
        np.testing.assert_allclose(exact.gradients[:, n], (up - down) / 2e-6, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("rule", [table(), without_squares()], ids=["all terms", "linear"])
def test_problems_alone_end_as_problems_side_by_side(rule):
    """Few problems do not share vectors; their gradients are the same."""
    all_five, two = (
        meta_gradient(rule, INPUTS[:n], WEIGHTS[:n], THRESHOLDS[:n], SCHEDULE, TAU, squared) for n in (5, 2)
    )
    np.testing.assert_allclose(all_five.losses[:2], two.losses, rtol=1e-11)
    np.testing.assert_allclose(all_five.gradients[:2], two.gradients, rtol=1e-9, atol=1e-12)
    assert np.abs(two.gradients).min(axis=0).max() > 0.01


def test_a_blow_up_says_how_soon_and_has_no_gradient():
    rule = program("60*w")
    outcome = run(rule, every=1)
    assert np.all(outcome.blow_up > 0)
    assert not outcome.weights.any()
    result = meta_gradient(rule, INPUTS, WEIGHTS, THRESHOLDS, SCHEDULE, TAU, squared)
    np.testing.assert_allclose(result.losses, 2 - outcome.blow_up / 25)
    assert not result.gradients.any()
    assert np.all(run(program("log(w) + x")).blow_up == 1)  # NaN from the first step on


def test_results_are_the_same_for_any_number_of_threads():
    inputs, weights = np.tile(INPUTS, (40, 10, 1)), np.tile(WEIGHTS, (40, 1))
    schedule = Schedule.whole_sample(60, 100, 0.05)
    found = []
    for threads in (1, numba.config.NUMBA_NUM_THREADS):
        numba.set_num_threads(threads)
        found.append(
            meta_gradient(table(), inputs, weights, np.tile(THRESHOLDS, 40), schedule, TAU, squared).gradients
        )
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rule": np.zeros((3, 3, 3, 3, 3))}, "a table of 5 variables"),
        ({"rule": Rule.parse({"lateral": "y_pre"}).program()}, "no variable 'y_pre'; it has x, y, w, theta"),
        ({"inputs": INPUTS[0]}, "Inputs have shape"),
        ({"thresholds": THRESHOLDS[:2]}, "Initial states of theta have shape"),
        ({"weights": WEIGHTS * np.nan}, "must be finite"),
        ({"tau": 0.5}, "at least one step"),
        ({"schedule": Schedule.whole_sample(7, 5, 0.1)}, "outside 0..5"),
    ],
)
def test_what_cannot_be_simulated_is_refused(changes, message):
    given = {
        "rule": table(), "inputs": INPUTS, "weights": WEIGHTS, "thresholds": THRESHOLDS,
        "schedule": SCHEDULE, "tau": TAU, **changes,
    }  # fmt: skip
    with pytest.raises(ValueError, match=message):
        simulate(*given.values())
