"""The rate neuron: kernels against their slow twins, exact gradients, blow-ups, threads."""

from __future__ import annotations

import math
import multiprocessing
import os
import pickle
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import naive
import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rate_examples import neuron_gradient as meta_gradient
from rate_examples import simulate_neuron as simulate
from strategies import trees

from discover.rule import Rule
from sims import (
    _compiled,
    _graph,
    _groups,
    _interpreted,
    _operations,
    _program_kernels,
    _rate_kernels,
    _rate_plans,
    _rate_rules,
    _tape,
    rate,
)
from sims._collapse import quadratic_form
from sims._lanes import LANES, address_of
from sims.rate import BLOW_UP_NORM, Schedule
from sims.rules import BINARY_OPS, Op, PolynomialRule, Program

ROOT = Path(__file__).resolve().parent.parent

OJA = PolynomialRule.from_terms({(1, 1, 0): 1.0, (0, 2, 1): -1.0})
ANTI_HEBB = PolynomialRule.from_terms({(1, 1, 0): -1.0})

COLLAPSING = (
    "0.9*x*y - 1.1*w*y**2",
    "tanh(0.7*y)*x - 0.4*w*y**2 + 0.1*x**2*w",
    "x*exp(-0.3*y**2) - 0.5*w + 0.01*w**2*x**2",
    "(x*y - 0.4*w)/(1.5 + y**2) + 0.2*sqrt(1.1 + y**2)",
    "(0.5*x - 0.2*w)*(y + 0.3*w) + 0.1*log(1.4 + y**2)",
)
POWERS_OF_WEIGHT = (
    "0.9*x*y - 0.4*y**2*w**3",
    "0.6*x*y*abs(w) - 0.3*w + 0.1*y**2",
    "0.5*tanh(y)*x - 0.2*w*abs(0.7*w) + 0.1*x**2*w*abs(-w)",
    "(0.4 - abs(w)*w**2)*(x + 0.3*y) - 0.1*w",
)
INTERPRETED = (
    "tanh(0.8*x*y) - 0.3*w",
    "x*y*exp(-0.5*w**2) - 0.2*w*y**2",
    "x*y*sqrt(1.3 + w**2) - 0.6*y**2*w**3",
    "log(1.2 + x**2*w**2)*y - 0.1*w",
    "0.5*x*y/(1.1 + w**2) - 0.3*w + 0.2*tanh(0.5*y)",
    "0.1*x**3*(1.2 + y**2)**-2 - 0.2*w*y + 0.1*(1.4 + w**2)**0.7",
)
KINKED = (
    "0.5*x*y/(1.1 + abs(w)) - 0.3*w",
    "max(0.4*x*y, -1.3) - 0.2*w*min(w**2, 1.7) + 0.1*sign(x*w)",
    "abs(0.7*y)*x - 0.2*w*max(y, 0.3) + 0.1*min(-0.2, y)",
)
NASTY = (
    "x*y/w",
    "log(w) + x",
    "sqrt(w)*x*y",
    "exp(100*x*w*y)",
    "w**-3*x + x**5",
    "sign(w) - max(x, w*y)**1.5",
)


def program(text: str) -> Program:
    return Rule.parse(text).program()


def random_table(rng: np.random.Generator, size: float = 0.3) -> PolynomialRule:
    return PolynomialRule(size * rng.normal(size=(3, 3, 3)))


def random_smooth_text(rng: np.random.Generator, depth: int = 3) -> str:
    """Make an expression that is smooth and bounded enough everywhere, with a constant in most places."""
    if depth == 0:
        return f"{rng.uniform(0.2, 1.2):.3f}*{rng.choice(['x', 'y', 'w'])}"
    a, b = random_smooth_text(rng, depth - 1), random_smooth_text(rng, depth - 1)
    c = f"{rng.uniform(0.5, 1.5):.3f}"
    forms = (
        f"({a} + {b})", f"({a} - {b})", f"({a})*({b})", f"tanh({a})", f"exp(-({a})**2)*({b})",
        f"sqrt({c} + ({a})**2)", f"log({c} + ({a})**2 + ({b})**2)", f"({a})/({c} + ({b})**2)",
        f"({c} + ({a})**2)**{c}",
    )  # fmt: skip
    return str(rng.choice(forms))


def random_problems(
    rng: np.random.Generator, n_problems: int, n_inputs: int, n_samples: int = 12
) -> tuple[np.ndarray, np.ndarray]:
    """Draw inputs and weights that make outputs of order one."""
    inputs = rng.normal(size=(n_problems, n_samples, n_inputs))
    return inputs, rng.normal(size=(n_problems, n_inputs)) / math.sqrt(n_inputs)


def random_schedule(
    rng: np.random.Generator, batch: int, n_steps: int, n_samples: int = 12, learning_rate: float = 0.03
) -> Schedule:
    """Make a schedule with five rounds, which divide no number of steps used here."""
    return Schedule(rng.integers(n_samples, size=(5, batch)), n_steps, learning_rate)


def pull_to(target: np.ndarray) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Make a smooth loss of the final weights."""

    def loss(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        difference = weights - target
        return 0.5 * np.sum(difference**2, axis=1), difference

    return loss


@contextmanager
def interpreter_only() -> Iterator[None]:
    """Run every program instruction by instruction, the quadratic ones too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_rate_rules, "table_form", lambda rule: None)
        patch.setattr(_rate_rules, "quadratic_form", lambda rule: None)
        # What was prepared before, and what is prepared here, stays apart.
        patch.setattr(_rate_rules, "_program_part", _rate_rules._program_part.__wrapped__)
        yield


def assert_like_naive(
    rule: PolynomialRule | Program, inputs: np.ndarray, weights: np.ndarray, schedule: Schedule, every: int
) -> None:
    outcome = simulate(rule, inputs, weights, schedule, every=every)
    assert outcome.record.shape == (len(inputs), -(-schedule.n_steps // every), inputs.shape[2])
    for p in range(len(inputs)):
        path, blow_up = naive.rate_neuron(rule, inputs[p], weights[p], schedule)
        assert outcome.blow_up[p] == blow_up
        np.testing.assert_allclose(outcome.weights[p], path[-1], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(outcome.record[p], path[:-1][::every], rtol=1e-9, atol=1e-12)


# ------------------------------------------------------------------------------------------ kernels and twins


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("n_problems", [1, 2, 3, 8, 9, 17, 20])
def test_any_number_of_problems_runs_as_one_by_one(n_problems: int, batch: int) -> None:
    rng = np.random.default_rng([n_problems, batch])
    inputs, weights = random_problems(rng, n_problems, 3)
    schedule = random_schedule(rng, batch, n_steps=7)
    for rule in (random_table(rng), program(COLLAPSING[1]), program(INTERPRETED[0])):
        assert_like_naive(rule, inputs, weights, schedule, every=3)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("n_inputs", [1, 2, 3, 5, 8, 16, 31, 70, 2 * _interpreted.MOST_IN_BLOCK + 45])
def test_any_number_of_inputs_runs_as_one_by_one(n_inputs: int, batch: int) -> None:
    rng = np.random.default_rng([n_inputs, batch])
    inputs, weights = random_problems(rng, 3 if n_inputs < 100 else 1, n_inputs)
    schedule = random_schedule(rng, batch, n_steps=6)
    for rule in (random_table(rng, 0.1), program(COLLAPSING[2]), program(INTERPRETED[2])):
        assert_like_naive(rule, inputs, weights, schedule, every=1)


@pytest.mark.parametrize("text", COLLAPSING + POWERS_OF_WEIGHT + INTERPRETED + KINKED + NASTY)
def test_programs_run_as_one_by_one(text: str) -> None:
    rng = np.random.default_rng(3)
    inputs, weights = random_problems(rng, 5, 4)
    weights[1] = 0.0
    weights[2] = np.abs(weights[2]) + 1.0
    for batch in (1, 12):
        schedule = random_schedule(rng, batch, n_steps=8)
        assert_like_naive(program(text), inputs, weights, schedule, every=3)
        with interpreter_only():
            assert_like_naive(program(text), inputs, weights, schedule, every=100)


def test_random_programs_of_many_shapes_run_as_one_by_one() -> None:
    rng = np.random.default_rng(11)
    inputs, weights = random_problems(rng, 3, 4)
    for _ in range(25):
        rule = program(random_smooth_text(rng))
        assert_like_naive(rule, inputs, weights, random_schedule(rng, 2, n_steps=5), every=2)


@pytest.mark.parametrize("batch", [40, 130])
def test_batches_larger_than_a_block(batch: int) -> None:
    rng = np.random.default_rng(batch)
    inputs, weights = random_problems(rng, 3, 7, n_samples=batch)
    schedule = Schedule.whole_sample(batch, 3, 0.05)
    for rule in (random_table(rng, 0.1), program(INTERPRETED[4])):
        assert_like_naive(rule, inputs, weights, schedule, every=1)


def test_large_inputs_and_weights_stay_exact() -> None:
    rng = np.random.default_rng(5)
    inputs, weights = random_problems(rng, 4, 3)
    inputs[0] *= 1e30
    inputs[1] *= 1e-30
    weights[2] *= 300.0
    weights[3] = 0.0
    for rule in (OJA, random_table(rng), program(INTERPRETED[1]), program(COLLAPSING[3])):
        assert_like_naive(rule, inputs, weights, random_schedule(rng, 3, n_steps=4), every=2)


@pytest.mark.parametrize("as_program", [False, True])
def test_oja_ends_at_the_first_principal_component_with_unit_norm(as_program: bool) -> None:
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(6, 150, 4)) * [1.0, 0.6, 0.3, 0.1]
    rule = program("x*y - w*y**2") if as_program else OJA
    outcome = simulate(rule, inputs, 0.1 * rng.normal(size=(6, 4)), Schedule.whole_sample(150, 900, 0.1))
    for p in range(6):
        first = np.linalg.eigh(inputs[p].T @ inputs[p])[1][:, -1]
        assert np.linalg.norm(outcome.weights[p]) == pytest.approx(1.0, abs=1e-9)
        assert abs(first @ outcome.weights[p]) == pytest.approx(1.0, abs=1e-9)


def test_anti_hebbian_weights_decay() -> None:
    rng = np.random.default_rng(1)
    inputs, weights = random_problems(rng, 5, 3, n_samples=50)
    outcome = simulate(ANTI_HEBB, inputs, weights, Schedule.whole_sample(50, 400, 0.1), every=1)
    norms = np.linalg.norm(outcome.record, axis=2)
    assert np.all(np.diff(norms, axis=1) <= 0)
    assert np.all(np.linalg.norm(outcome.weights, axis=1) < 1e-6)


@pytest.mark.parametrize("batch", [1, 12])
def test_a_program_equals_the_polynomial_of_the_same_rule(batch: int) -> None:
    rng = np.random.default_rng(2)
    inputs, weights = random_problems(rng, 9, 6)
    schedule = random_schedule(rng, batch, n_steps=30)
    rule = Rule.parse("0.7*x*y - 1.2*w*y**2 + 0.1*x**2*w**2 - 0.05")
    loss = pull_to(np.zeros((9, 6)))
    table = meta_gradient(rule.polynomial(), inputs, weights, schedule, loss)
    collapsed = meta_gradient(rule.program(), inputs, weights, schedule, loss)
    with interpreter_only():
        interpreted = meta_gradient(rule.program(), inputs, weights, schedule, loss)
    places = [np.ravel_multi_index(powers, (3, 3, 3)) for powers in [(1, 1, 0), (0, 2, 1), (2, 0, 2)]]
    for result in (collapsed, interpreted):
        np.testing.assert_allclose(result.outcome.weights, table.outcome.weights, rtol=1e-10, atol=1e-13)
        np.testing.assert_allclose(result.initial_adjoint, table.initial_adjoint, rtol=1e-9, atol=1e-13)
        signs = [1.0, -1.0, 1.0]
        np.testing.assert_allclose(
            result.gradients[:, :3], table.gradients[:, places] * signs, rtol=1e-9, atol=1e-13
        )


# ------------------------------------------------------------------------------------------------- gradients


def parameters_of(rule: PolynomialRule | Program) -> np.ndarray:
    return rule.coefficients.ravel() if isinstance(rule, PolynomialRule) else rule.constants


def with_parameters(rule: PolynomialRule | Program, values: np.ndarray) -> PolynomialRule | Program:
    if isinstance(rule, PolynomialRule):
        return PolynomialRule(values.reshape(3, 3, 3))
    return rule.with_constants(values)


def assert_exact_gradient(
    rule: PolynomialRule | Program,
    inputs: np.ndarray,
    weights: np.ndarray,
    schedule: Schedule,
    step: float = 1e-4,
) -> None:
    """Compare with central differences: relative error in norm at most 1e-6."""
    loss = pull_to(np.random.default_rng(9).normal(size=weights.shape) / math.sqrt(weights.shape[1]))
    result = meta_gradient(rule, inputs, weights, schedule, loss)
    assert np.all(result.outcome.blow_up == -1)

    def losses(parameters: np.ndarray) -> float:
        changed = with_parameters(rule, parameters)
        return float(np.sum(loss(simulate(changed, inputs, weights, schedule).weights)[0]))

    expected = naive.central_differences(losses, parameters_of(rule), step)
    error = np.linalg.norm(result.gradients.sum(axis=0) - expected)
    assert error <= 1e-6 * np.linalg.norm(expected)

    size = np.linalg.norm(result.initial_adjoint)
    direction = result.initial_adjoint / size

    def along(scale: np.ndarray) -> float:
        moved = weights + scale[0] * direction
        return float(np.sum(loss(simulate(rule, inputs, moved, schedule).weights)[0]))

    slope = naive.central_differences(along, np.zeros(1), step)[0]
    assert size == pytest.approx(slope, rel=1e-6)


@pytest.mark.parametrize("batch", [1, 12])
@pytest.mark.parametrize("n_inputs", [1, 2, 10, 70, 300, 1000])
def test_gradient_of_random_polynomial_rules(n_inputs: int, batch: int) -> None:
    rng = np.random.default_rng([n_inputs, batch])
    inputs, weights = random_problems(rng, 3, n_inputs)
    schedule = random_schedule(rng, batch, n_steps=13, learning_rate=0.2 / (10 + n_inputs))
    for _ in range(3):
        assert_exact_gradient(random_table(rng, 0.15), inputs, weights, schedule)


@pytest.mark.parametrize("batch", [1, 12])
@pytest.mark.parametrize("text", COLLAPSING + POWERS_OF_WEIGHT + INTERPRETED + KINKED)
def test_gradient_of_programs(text: str, batch: int) -> None:
    rng = np.random.default_rng(batch)
    rule = program(text)
    step = 1e-7 if text in KINKED else 1e-4  # differences across a kink say nothing
    for n_inputs in (1, 9, 300):
        inputs, weights = random_problems(rng, 9, n_inputs)
        schedule = random_schedule(rng, batch, n_steps=13, learning_rate=0.3 / (10 + n_inputs))
        assert_exact_gradient(rule, inputs, weights, schedule, step)
        with interpreter_only():
            assert_exact_gradient(rule, inputs, weights, schedule, step)


@pytest.mark.parametrize("seed", range(12))
def test_gradient_of_random_smooth_programs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    text = random_smooth_text(rng)
    for n_inputs, batch in ((3, 1), (20, 4), (1000, 1)):
        inputs, weights = random_problems(rng, 2, n_inputs)
        schedule = random_schedule(rng, batch, n_steps=8, learning_rate=0.3 / (10 + n_inputs))
        assert_exact_gradient(program(text), inputs, weights, schedule)


def test_gradient_of_a_long_run() -> None:
    rng = np.random.default_rng(4)
    inputs = rng.normal(size=(4, 60, 5)) * [1.0, 0.7, 0.4, 0.2, 0.1]
    weights = 0.1 * rng.normal(size=(4, 5))
    for rule in (OJA, program("tanh(1.1*x*y) - 0.9*w*y**2 + 0.01*w**3")):
        for schedule in (Schedule.online(60, 500, 0.02), Schedule.whole_sample(60, 200, 0.05)):
            assert_exact_gradient(rule, inputs, weights, schedule)


@pytest.mark.parametrize("n_steps", [1, 2, 16, 17, 26, 50])
@pytest.mark.parametrize("batch", [1, 5])
def test_a_checkpointed_trajectory_gives_the_same_gradient(
    monkeypatch: pytest.MonkeyPatch, batch: int, n_steps: int
) -> None:
    rng = np.random.default_rng([batch, n_steps])
    inputs, weights = random_problems(rng, 5, 6)
    schedule = random_schedule(rng, batch, n_steps, learning_rate=0.01)
    loss = pull_to(np.ones((5, 6)))
    for rule in (random_table(rng, 0.1), program(COLLAPSING[1]), program(INTERPRETED[1])):
        everything, nothing = 1 << 30, 0
        monkeypatch.setattr(_rate_plans, "TRAJECTORY_BYTES", everything)
        monkeypatch.setattr(_interpreted, "TRAJECTORY_BYTES", everything)
        full = meta_gradient(rule, inputs, weights, schedule, loss)
        assert _interpreted.record_interval(weights.nbytes, n_steps, everything) == 1
        monkeypatch.setattr(_rate_plans, "TRAJECTORY_BYTES", nothing)
        monkeypatch.setattr(_interpreted, "TRAJECTORY_BYTES", nothing)
        sparse = meta_gradient(rule, inputs, weights, schedule, loss)
        every = _interpreted.record_interval(weights.nbytes, n_steps, nothing)
        assert every**2 >= n_steps > (every - 1) ** 2
        np.testing.assert_allclose(full.losses, sparse.losses, rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(full.gradients, sparse.gradients, rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(full.initial_adjoint, sparse.initial_adjoint, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("batch", [1, 12])
def test_results_do_not_depend_on_the_number_of_threads(monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("Numba was started with one thread")
    monkeypatch.setattr(_groups, "WORTH_A_THREAD", 0)
    rng = np.random.default_rng(batch)
    before = numba.get_num_threads()
    for n_problems, n_inputs in ((1, 5), (7, 3), (20, 10), (5, 90), (3, 400)):
        inputs, weights = random_problems(rng, n_problems, n_inputs)
        schedule = random_schedule(rng, batch, 21, learning_rate=0.01)
        loss = pull_to(np.ones((n_problems, n_inputs)))
        for rule in (random_table(rng, 0.1), program(COLLAPSING[0]), program(INTERPRETED[3])):
            results = []
            for n_threads in (1, 2):
                numba.set_num_threads(n_threads)
                results.append(meta_gradient(rule, inputs, weights, schedule, loss))
            numba.set_num_threads(before)
            one, two = results
            assert one.outcome.weights.tobytes() == two.outcome.weights.tobytes()
            assert one.losses.tobytes() == two.losses.tobytes()
            assert one.gradients.tobytes() == two.gradients.tobytes()
            assert one.initial_adjoint.tobytes() == two.initial_adjoint.tobytes()


@pytest.mark.parametrize("one_by_one", [False, True])
@pytest.mark.parametrize("n_groups", [1, 2, 5, 6])
def test_every_group_runs_once_and_errors_are_not_lost(n_groups: int, one_by_one: bool) -> None:
    ran: list[int] = []
    _groups.run_groups(
        lambda first, last: ran.extend(range(first, last)), n_groups, 10**9, one_by_one=one_by_one
    )
    assert sorted(ran) == list(range(n_groups))

    def fails(first: int, last: int) -> None:
        if last == n_groups:
            raise MemoryError("last group")

    with pytest.raises(MemoryError, match="last group"):
        _groups.run_groups(fails, n_groups, 10**9, one_by_one=one_by_one)


def test_no_group_begins_after_an_error() -> None:
    """Nor after Ctrl-C, which comes to the main thread while the others could go on for minutes."""
    ran: list[int] = []

    def fails_first(first: int, _: int) -> None:
        if first == 0:
            raise KeyboardInterrupt
        time.sleep(0.02)
        ran.append(first)

    with pytest.raises(KeyboardInterrupt):
        _groups.run_groups(fails_first, 200, 10**9, one_by_one=True)
    assert len(ran) < 50


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_simulates_with_threads_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_groups, "WORTH_A_THREAD", 0)
    rng = np.random.default_rng(0)
    inputs, weights = random_problems(rng, 20, 3)
    schedule = Schedule.online(12, 5, 0.1)
    expected = simulate(OJA, inputs, weights, schedule).weights
    with multiprocessing.get_context("fork").Pool(1) as pool:
        result = pool.apply_async(simulate, (OJA, inputs, weights, schedule)).get(timeout=60)
    np.testing.assert_array_equal(result.weights, expected)


# -------------------------------------------------------------------------------------------------- blow-ups

DIVERGING = {
    "overflow": "w + w*y**2",
    "overflow, interpreted": "w + w**5",
    "division by zero": "x*y - 0.1*w/(y - y)",
    "division by zero, interpreted": "x*y - 0.1/(w - w)*w",
    "logarithm of a negative number": "x*y + log(-1 - y**2)*w",
    "logarithm of a negative number, interpreted": "x*y - log(-1 - w**2)",
    "square root of a negative number": "sqrt(-1 - y**2)*x",
    "square root of a negative number, interpreted": "sqrt(-1 - w**2)*x",
    "negative number to a broken power": "(-1 - y**2)**0.5*x",
    "exponential": "exp(1000 + y**2)*x",
    "infinity minus infinity": "x*(exp(1000 + y**2) - exp(1000 + y**2))",
    "infinity minus infinity, interpreted": "exp(1000 + w**2) - exp(1000 + w**2)",
    "NaN is not hidden by max": "max(x*y, log(-1 - w**2))",
    "NaN is not hidden by min": "min(log(-1 - w**2), x*y)",
    "NaN is not hidden by sign": "sign(log(-1 - w**2))",
}


@pytest.mark.parametrize("batch", [1, 12])
@pytest.mark.parametrize("text", DIVERGING.values(), ids=DIVERGING.keys())
def test_every_kind_of_blow_up_is_found(text: str, batch: int) -> None:
    rng = np.random.default_rng(0)
    inputs, weights = random_problems(rng, 3, 4)
    schedule = random_schedule(rng, batch, n_steps=200, learning_rate=0.5)
    result = meta_gradient(program(text), inputs, weights, schedule, pull_to(np.zeros((3, 4))))
    when = result.outcome.blow_up
    assert np.all(when >= 1)
    assert np.all(when <= 200)
    np.testing.assert_array_equal(result.losses, 2.0 - when / 200)
    assert np.all((result.losses >= 1.0) & (result.losses < 2.0))
    np.testing.assert_array_equal(result.gradients, 0.0)
    np.testing.assert_array_equal(result.initial_adjoint, 0.0)
    np.testing.assert_array_equal(result.outcome.weights, 0.0)


@pytest.mark.parametrize("batch", [1, 12])
@pytest.mark.parametrize(
    "text",
    [
        "x*y - 0.01*w**2*x**2",  # overflow
        "x*y/(y - y*w**2) - w",  # interpreted; 0/0 where weights vanish
        "0.2*x/y - w*y**2",  # 1/0 where weights vanish
        "0.2*x/abs(w) - w*y**2",  # the same, interpreted
        "0.1*log(abs(y)) - 0.1*w",
        "0.1*log(abs(w))*x - 0.1*w",
    ],
)
def test_a_blow_up_stays_in_its_problem(text: str, batch: int) -> None:
    """Weights, losses and gradients of the other problems of a group keep every bit."""
    rng = np.random.default_rng(8)
    inputs, weights = random_problems(rng, 8, 3)
    schedule = random_schedule(rng, batch, n_steps=9, learning_rate=0.01)
    loss = pull_to(np.ones((8, 3)))
    quiet = meta_gradient(program(text), inputs, weights, schedule, loss)
    loud_inputs, loud_weights = inputs.copy(), weights.copy()
    loud_inputs[3] *= 1e200
    loud_weights[5] = 0.0
    loud_inputs[5] = 0.0
    loud = meta_gradient(program(text), loud_inputs, loud_weights, schedule, loss)
    assert loud.outcome.blow_up[3] >= 1 or loud.outcome.blow_up[5] >= 1
    others = [0, 1, 2, 4, 6, 7]
    assert np.all(quiet.outcome.blow_up[others] == -1)
    for a, b in (
        (quiet.outcome.weights, loud.outcome.weights),
        (quiet.losses, loud.losses),
        (quiet.gradients, loud.gradients),
        (quiet.initial_adjoint, loud.initial_adjoint),
    ):
        assert a[others].tobytes() == b[others].tobytes()
    blown = loud.outcome.blow_up >= 1
    assert np.all(loud.gradients[blown] == 0.0)
    assert np.all(loud.initial_adjoint[blown] == 0.0)


def test_the_table_contains_blow_ups_too() -> None:
    rng = np.random.default_rng(8)
    inputs, weights = random_problems(rng, 8, 3)
    inputs[2] *= 1e200
    schedule = random_schedule(rng, 1, n_steps=9, learning_rate=0.01)
    result = meta_gradient(random_table(rng, 0.1), inputs, weights, schedule, pull_to(np.ones((8, 3))))
    assert result.outcome.blow_up.tolist() == [-1, -1, 1, -1, -1, -1, -1, -1]
    assert np.all(np.isfinite(result.gradients))
    assert np.all(result.gradients[2] == 0.0)


def test_a_blow_up_is_a_norm_beyond_the_bound() -> None:
    """A step to a norm just inside the bound is fine; one just outside is a blow-up of the first step."""
    constant = PolynomialRule.from_terms({(0, 0, 0): 1.0})
    inputs = np.ones((1, 1, 1))
    for rule in (constant, program("1"), program("1 + 0*tanh(w)")):
        inside = simulate(rule, inputs, [[BLOW_UP_NORM - 1.01]], Schedule.online(1, 1, 1.0))
        outside = simulate(rule, inputs, [[BLOW_UP_NORM - 0.99]], Schedule.online(1, 1, 1.0))
        assert inside.blow_up[0] == -1
        assert inside.weights[0, 0] == pytest.approx(BLOW_UP_NORM - 0.01)
        assert outside.blow_up[0] == 1
        assert outside.weights[0, 0] == 0.0


@pytest.mark.parametrize("n_steps", [3, 4])
def test_a_loss_says_how_soon_weights_blew_up(n_steps: int) -> None:
    doubling = PolynomialRule.from_terms({(0, 0, 1): 1.0})
    weights = np.array([[100.0], [200.0], [2.0], [600.0]])
    schedule = Schedule.online(1, n_steps, 1.0)
    result = meta_gradient(doubling, np.ones((4, 1, 1)), weights, schedule, pull_to(np.zeros((4, 1))))
    assert result.outcome.blow_up.tolist() == [4 if n_steps == 4 else -1, 3, -1, 1]
    assert result.losses[3] == 2 - 1 / n_steps
    assert result.losses[1] == 2 - 3 / n_steps


# ------------------------------------------------------------------------------------------------ operations

EDGES = (0.0, 0.3, 1.0, -1.0, 2.5, -0.7, 3.0, -2.0, 1e200, -1e200, 1e-200, math.inf, -math.inf, math.nan)


def kernels_result(op: Op, a: np.ndarray, b: np.ndarray, exponent: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """One operation run by the interpreter of blocks, and as all other kernels run it."""
    second = exponent if op is Op.POWI else 1
    rows = np.array([[int(op), 2, second, *on_tape(0), *on_tape(1), *on_tape(2), *on_tape(2), *on_tape(2)]])
    interpreted = run_rows(rows, a, b)
    other = np.array([_operations.value_of(int(op), a[i], b[i], second) for i in range(len(a))])
    return interpreted, other


def on_tape(slot: int) -> tuple[int, int]:
    return _tape.ON_TAPE, slot


def run_rows(rows: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Slot 0 of a tape after some instructions, with numbers in slots 1 and 2."""
    n = -(-len(a) // LANES)
    tape = np.zeros((3, n, LANES))
    tape.reshape(3, -1)[1:, : len(a)] = a, b
    no_results, no_totals = np.zeros((1, 2), dtype=np.int64), np.zeros((2, 2), dtype=np.int64)
    one = _tape.Tape(rows, np.zeros(6, dtype=np.int64), no_results, 1.0, (0, 0, 3), no_totals)
    places = np.zeros((18, 4), dtype=np.int64)
    places[:, 2] = 1
    bases = np.full(18, tape.ctypes.data)
    run_on_tape(one.laid_out((1, 1, n))[0], len(rows), bases, places.reshape(-1), np.array([1, n] * 3))
    return tape[0].reshape(-1)[: len(a)]


@_compiled.kernel
def run_on_tape(rows, n_rows, bases, places, sizes):
    _program_kernels._run(
        address_of(rows), 0, n_rows, address_of(bases), address_of(places), address_of(sizes)
    )


def kernels_slopes(op: Op, a: float, b: float, exponent: int = 2) -> list[tuple[float, float]]:
    """Derivatives of one operation; the first are those of the interpreter's way back."""
    second = exponent if op is Op.POWI else 4
    rule = Program.build(("x", "y", "w"), (False, True, False), [a, b], [(op, 3, second)])
    schedule = Schedule.online(1, 1, 1.0)
    with interpreter_only(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(rate, "BLOW_UP_NORM", math.inf)
        patch.setattr(_rate_rules, "table_form", lambda rule: None)
        result = meta_gradient(
            rule, np.ones((1, 1, 1)), np.zeros((1, 1)), schedule, lambda w: (w.sum(1), np.ones_like(w))
        )
    out = naive.program_value(rule, {"x": 1.0, "y": 0.0, "w": 0.0})
    slopes = _operations.slopes_of(int(op), out, a, b if op in BINARY_OPS else a, second)
    return [(result.gradients[0, 0], result.gradients[0, 1]), (slopes[0], slopes[1])]


@pytest.mark.parametrize("op", [op for op in Op if op is not Op.POWI], ids=lambda op: op.name)
def test_every_operation_over_its_whole_domain(op: Op) -> None:
    a, b = (values.ravel() for values in np.meshgrid(EDGES, EDGES))
    function = naive.BINARY.get(op) or (lambda u, v: naive.UNARY[op](u))
    expected = [function(float(u), float(v)) for u, v in zip(a, b, strict=True)]
    interpreted, plain = kernels_result(op, a, b)
    np.testing.assert_allclose(interpreted, expected, rtol=1e-12)
    np.testing.assert_allclose(plain, expected, rtol=1e-12)


@pytest.mark.parametrize("exponent", [-64, -3, -2, -1, 0, 1, 2, 3, 5, 64])
def test_whole_powers_over_their_whole_domain(exponent: int) -> None:
    a = np.array(EDGES)
    expected = [naive.power(u, float(exponent)) for u in EDGES]
    for result in kernels_result(Op.POWI, a, a, exponent):
        np.testing.assert_allclose(result, expected, rtol=1e-12)


@pytest.mark.parametrize("op", list(Op), ids=lambda op: op.name)
def test_every_operation_has_the_derivative_of_its_value(op: Op) -> None:
    rng = np.random.default_rng(int(op))
    positive = op in (Op.LOG, Op.SQRT, Op.POW)
    for exponent in (-3, -1, 0, 1, 2, 5) if op is Op.POWI else (2,):
        for _ in range(10):
            a, b = (
                rng.uniform(0.3, 2.0, size=2)
                if positive
                else rng.uniform(0.3, 2.0, 2) * rng.choice([-1, 1], 2)
            )

            def value(point: np.ndarray, exponent: int = exponent) -> float:
                u, v = float(point[0]), float(point[1])
                if op is Op.POWI:
                    return naive.power(u, float(exponent))
                return naive.BINARY[op](u, v) if op in BINARY_OPS else naive.UNARY[op](u)

            expected = naive.central_differences(value, np.array([a, b]))
            for slopes in kernels_slopes(op, a, b, exponent):
                np.testing.assert_allclose(slopes, expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize(
    ("op", "a", "b", "expected"),
    [
        (Op.ABS, 0.0, 0.0, (0.0, 0.0)),
        (Op.SIGN, 0.0, 0.0, (0.0, 0.0)),
        (Op.SIGN, 2.0, 0.0, (0.0, 0.0)),
        (Op.MAX, 1.0, 1.0, (1.0, 0.0)),
        (Op.MIN, 1.0, 1.0, (1.0, 0.0)),
        (Op.POW, -2.0, 3.0, (12.0, 0.0)),
        (Op.POW, 0.0, 2.0, (0.0, 0.0)),
        (Op.DIV, 1.0, 0.0, (math.inf, -math.inf)),
        (Op.LOG, 0.0, 0.0, (math.inf, 0.0)),
        (Op.SQRT, 0.0, 0.0, (0.0, 0.0)),
        (Op.POW, 0.0, 0.3, (0.0, 0.0)),
    ],
)
def test_derivatives_where_there_is_a_choice(
    op: Op, a: float, b: float, expected: tuple[float, float]
) -> None:
    for slopes in kernels_slopes(op, a, b):
        assert slopes == expected


def test_kernels_number_the_operations_as_rules_do() -> None:
    for op in Op:
        assert getattr(_operations, op.name) == op
    for more in _graph.More:
        assert more >= _graph.More.PARAMETER or getattr(_program_kernels, more.name) == more
    assert {op for op in Op if _operations.second_operand(int(op), 0, 1) == 1} == BINARY_OPS


# -------------------------------------------------------------------------------------------- quadratic forms


def form_value(rule: Program, x: float, y: float, w: float) -> float:
    """Value of a program's quadratic form, from the definition."""
    form = quadratic_form(rule)
    assert form is not None
    coefficients = Program.build(("y",), (True,), [*rule.constants, 1.0], form.code.tolist(), 0)
    registers = naive.program_registers(coefficients, {"y": y})
    last = w**form.power if form.power > 0 else abs(w) * w ** (-form.power - 1)
    powers = 1.0, w, last
    return sum(registers[r] * x ** (q // 3) * powers[q % 3] for q, r in enumerate(form.outputs) if r >= 0)


@pytest.mark.parametrize(
    "text",
    [
        *COLLAPSING, "1", "x", "y", "w", "x - x", "-x", "w**2*x**2", "(x + w)**2", "(x*y - w)*(w + 1)/y",
        "x*y**-3", "sign(y)*x - min(y, 2)*w**2", "abs(y)**1.5*w", "(x + y)*(x - y)*w**2", "x**2*(w - 1)**2",
        *POWERS_OF_WEIGHT,
    ],
)  # fmt: skip
def test_a_quadratic_form_has_the_values_of_its_program(text: str) -> None:
    rng = np.random.default_rng(0)
    rule = program(text)
    for x, y, w in rng.normal(size=(20, 3)):
        expected = naive.program_value(rule, {"x": x, "y": y, "w": w})
        assert form_value(rule, x, y, w) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(
    "text",
    [
        *INTERPRETED, "x**3", "w**2 + w**3", "abs(w) + w*abs(w)", "abs(x*w)", "abs(w + 1)", "w**13",
        "1/x", "y/w", "abs(x)", "sign(w)", "max(x, y)", "x**0.5",
        "y**x", "(x + w)**3", "w**-1", "exp(x)", "sqrt(w)",
    ],
)  # fmt: skip
def test_what_is_not_quadratic_has_no_form(text: str) -> None:
    assert quadratic_form(program(text)) is None


def test_a_program_over_other_variables_has_no_form() -> None:
    rule = Program.build(("a", "b", "c"), (False, False, False), [], [(Op.MUL, 0, 1)])
    assert quadratic_form(rule) is None


# -------------------------------------------------------------------------------------------- any expression


def is_tame(rule: Program, x: np.ndarray, w: np.ndarray) -> bool:
    """Whether no number on the way is out of the range in which sums can be reordered."""
    y = float(x @ w)
    for i in range(len(w)):
        for value in naive.program_registers(rule, {"x": x[i], "y": y, "w": w[i]}):
            if not (value == 0.0 or 1e-30 < abs(value) < 1e6):
                return False
    return True


@given(trees(), st.integers(0, 1000))
def test_any_expression_runs_as_its_program_says(node, seed: int) -> None:
    rule = Rule({"feedforward": node}).program()
    rng = np.random.default_rng(seed)
    inputs, weights = random_problems(rng, 3, 3, n_samples=2)
    schedule = Schedule(np.array([[0, 1]]), 1, 0.1)
    loss = pull_to(np.ones((3, 3)))
    collapsed = meta_gradient(rule, inputs, weights, schedule, loss)
    with interpreter_only():
        interpreted = meta_gradient(rule, inputs, weights, schedule, loss)
    for result in (collapsed, interpreted):
        assert np.all(np.isfinite(result.outcome.weights))
        assert set(result.outcome.blow_up.tolist()) <= {-1, 1}
    for p in range(3):
        if not all(is_tame(rule, inputs[p, sample], weights[p]) for sample in (0, 1)):
            continue
        path, blow_up = naive.rate_neuron(rule, inputs[p], weights[p], schedule)
        for result in (collapsed, interpreted):
            assert result.outcome.blow_up[p] == blow_up
            np.testing.assert_allclose(result.outcome.weights[p], path[-1], rtol=1e-7, atol=1e-7)


# ----------------------------------------------------------------------------------------------- bad requests


def test_requests_that_make_no_sense_are_refused() -> None:
    inputs, weights = np.ones((2, 4, 3)), np.ones((2, 3))
    schedule = Schedule.online(4, 5, 0.1)
    with pytest.raises(ValueError, match="n_problems, n_samples, n_inputs"):
        simulate(OJA, inputs[0], weights, schedule)
    with pytest.raises(ValueError, match="n_problems, n_samples, n_inputs"):
        simulate(OJA, np.empty((0, 4, 3)), np.empty((0, 3)), schedule)
    with pytest.raises(ValueError, match=r"shape \(2, 1, 3\).*got \(2, 1, 4\)"):
        simulate(OJA, inputs, np.ones((2, 4)), schedule)
    for bad in (math.nan, math.inf):
        with pytest.raises(ValueError, match="finite"):
            simulate(OJA, np.full((2, 4, 3), bad), weights, schedule)
        with pytest.raises(ValueError, match="finite"):
            simulate(OJA, inputs, np.full((2, 3), bad), schedule)
    for order in ([[4]], [[-1]]):
        with pytest.raises(ValueError, match=r"outside 0\.\.3"):
            simulate(OJA, inputs, weights, Schedule(order, 5, 0.1))
    with pytest.raises(ValueError, match="every=0"):
        simulate(OJA, inputs, weights, schedule, every=0)
    for variables, shared, message in (
        (("x", "z"), (False, True), "no variable 'z'; it has x, y, w"),
        (("x", "y", "w"), (False, False, False), "'y' is of the place 'post': its neuron_level is True"),
    ):
        rule = Program.build(variables, shared, [], [(Op.MUL, 0, 1)])
        with pytest.raises(ValueError, match=message):
            simulate(rule, inputs, weights, schedule)
    with pytest.raises(ValueError, match="A loss returns"):
        meta_gradient(OJA, inputs, weights, schedule, lambda w: (np.zeros(3), w))
    with pytest.raises(ValueError, match="A loss returns"):
        meta_gradient(OJA, inputs, weights, schedule, lambda w: (np.zeros(2), w[:1]))


@pytest.mark.parametrize(
    ("order", "n_steps", "learning_rate", "message"),
    [
        ([0, 1], 5, 0.1, "n_rounds, batch"),
        (np.empty((0, 3)), 5, 0.1, "n_rounds, batch"),
        ([[0]], 0, 0.1, "at least one step"),
        ([[0]], 5, 0.0, "learning rate"),
        ([[0]], 5, -0.1, "learning rate"),
        ([[0]], 5, math.nan, "learning rate"),
        ([[0]], 5, math.inf, "learning rate"),
    ],
)
def test_schedules_that_make_no_sense_are_refused(
    order: object, n_steps: int, learning_rate: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Schedule(order, n_steps, learning_rate)  # type: ignore[arg-type]


def test_arguments_are_not_changed() -> None:
    rng = np.random.default_rng(0)
    inputs, weights = random_problems(rng, 4, 3)
    order = rng.integers(12, size=(5, 2))
    before = inputs.copy(), weights.copy(), order.copy()
    schedule = Schedule(order, 6, 0.1)
    result = meta_gradient(OJA, inputs, weights, schedule, pull_to(np.zeros((4, 3))))
    order[:] = 0
    assert np.array_equal(schedule.order, before[2])
    assert np.array_equal(inputs, before[0])
    assert np.array_equal(weights, before[1])
    assert inputs.flags.writeable
    assert not np.shares_memory(result.outcome.weights, weights)


def test_kernels_are_compiled_once_for_all_kinds_of_arrays() -> None:
    rng = np.random.default_rng(0)
    inputs, weights = random_problems(rng, 3, 3)
    schedule = Schedule.online(12, 4, 0.1)

    def transposed(w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros(3, dtype=np.float32), np.asfortranarray(w.astype(np.float32))

    def run(x: np.ndarray, loss: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]) -> None:
        for rule in (OJA, program(COLLAPSING[0]), program(INTERPRETED[0])):
            meta_gradient(rule, x, weights, schedule, loss)

    run(inputs, pull_to(weights))
    kernels = [
        getattr(module, name)
        for module in (_rate_kernels, _program_kernels)
        for name in ("simulate", "gradient")
    ]
    before = [len(kernel.signatures) for kernel in kernels]
    frozen = np.asfortranarray(inputs)
    frozen.setflags(write=False)
    run(frozen, transposed)
    frozen = inputs.copy()
    frozen.setflags(write=False)
    run(frozen, transposed)
    schedule = pickle.loads(pickle.dumps(schedule))
    for rule in (OJA, program(COLLAPSING[0]), program(INTERPRETED[0])):
        simulate(pickle.loads(pickle.dumps(rule)), inputs, weights, schedule)
    assert [len(kernel.signatures) for kernel in kernels] == before
    assert before[2:] == [1, 1], "an interpreted program has one kind of groups"
    assert max(before) <= 6, "three types of rules, whose problems run side by side or alone"


# ------------------------------------------------------------------------------------------ without compiling

WITHOUT_JIT = """
    import numpy as np
    import naive
    from discover.rule import Rule
    from sims import _interpreted, _rate_kernels, _rate_plans
    from sims.rate import Schedule
    from rate_examples import neuron_gradient as meta_gradient, simulate_neuron as simulate
    from sims.rules import PolynomialRule

    assert isinstance(_rate_kernels.simulate, type(lambda: 0)), "kernels were compiled"
    rng = np.random.default_rng(0)
    _rate_plans.TRAJECTORY_BYTES = _interpreted.TRAJECTORY_BYTES = 0
    table = PolynomialRule(0.1 * rng.normal(size=(3, 3, 3)))
    rules = [table] + [Rule.parse(text).program() for text in {texts!r}]
    for n_problems, n_inputs, batch, n_steps in ((1, 1, 1, 1), (3, 2, 3, 4), (17, 2, 1, 3), (1, 300, 2, 2)):
        inputs = rng.normal(size=(n_problems, 5, n_inputs))
        weights = rng.normal(size=(n_problems, n_inputs)) / n_inputs**0.5
        schedule = Schedule(rng.integers(5, size=(2, batch)), n_steps, 0.01)
        for rule in rules:
            result = meta_gradient(rule, inputs, weights, schedule, lambda w: (w.sum(1), np.ones_like(w)))
            assert np.all(np.isfinite(result.gradients))
            for p in range(0, n_problems, 7):
                path, blow_up = naive.rate_neuron(rule, inputs[p], weights[p], schedule)
                np.testing.assert_allclose(result.outcome.weights[p], path[-1], rtol=1e-10)
        result = meta_gradient(table, inputs, weights, schedule, lambda w: (w.sum(1), np.ones_like(w)))
        way, slopes = rng.normal(size=(3, 3, 3)), []
        for step in (1e-6, -1e-6):
            moved = simulate(PolynomialRule(table.coefficients + step * way), inputs, weights, schedule)
            slopes.append(moved.weights.sum(1) / 2e-6)
        along = result.gradients.reshape(n_problems, -1) @ way.ravel()
        np.testing.assert_allclose(along, slopes[0] - slopes[1], rtol=1e-5)
    print("no index out of bounds")
"""


def test_kernels_stay_inside_their_arrays() -> None:
    """Run tiny sizes as plain Python, where an index out of bounds is an error instead of a silent read."""
    script = textwrap.dedent(WITHOUT_JIT).format(
        texts=[COLLAPSING[1], INTERPRETED[4], INTERPRETED[5], "y", "0.5"]
    )
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1", "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "no index out of bounds" in done.stdout
