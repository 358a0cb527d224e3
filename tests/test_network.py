"""The two-layer network: kernels against their slow twin, exact gradients, mask, blow-ups, threads."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import naive
import numba
import numpy as np
import pytest
from rate_examples import NetworkRule, neuron_gradient, two_layers
from rate_examples import network_gradient as meta_gradient
from rate_examples import simulate_network as simulate

from discover.rule import Rule
from sims import _groups, _interpreted, _quadratic_kernels, _rate_kernels
from sims._rate_layout import Layout
from sims._rate_plans import MOST_INPUTS_IN_LANES, planned
from sims.rate import BLOW_UP_NORM, Schedule
from sims.rules import BINARY_OPS, Op, PolynomialRule, Program

ROOT = Path(__file__).resolve().parent.parent

OJA = PolynomialRule.from_terms({(1, 1, 0): 1.0, (0, 2, 1): -1.0})
ANTI_HEBB = PolynomialRule.from_terms({(1, 1, 0): -1.0})

FEEDFORWARD = (
    "0.9*x*y - 1.1*w*y**2",
    "tanh(0.7*y)*x - 0.4*w*y**2 + 0.1*x**2*w",
    "(x*y - 0.4*w)/(1.5 + y**2) + 0.2*sqrt(1.1 + y**2)",
    "tanh(0.8*x*y) - 0.3*w",
    "0.5*x*y/(1.1 + w**2) - 0.3*w + 0.2*tanh(0.5*y)",
    "0.1*x**3*(1.2 + y**2)**-2 - 0.2*w*y + 0.1*(1.4 + w**2)**0.7",
)
LATERAL = (
    "-0.8*y_pre*y_post",
    "0.1 - 0.7*tanh(1.2*y_post)*y_pre - 0.3*v",
    "-0.4*y_pre**2*y_post + 0.2*v**2 - 0.5*y_post**2*v",
    "-tanh(0.9*y_pre*y_post) - 0.2*v",
    "-y_pre*y_post/(1.3 + v**2) + 0.1*exp(-0.5*y_pre**2)",
    "log(1.2 + y_pre**2*v**2) - 0.3*y_post*y_pre",
)
PAIRS = tuple(zip(FEEDFORWARD, LATERAL, strict=True)) + tuple(
    zip(FEEDFORWARD, LATERAL[3:] + LATERAL[:3], strict=True)
)


def pair(feedforward: str, lateral: str) -> NetworkRule:
    rule = Rule.parse({"feedforward": feedforward, "lateral": lateral})
    return NetworkRule(rule.program("feedforward"), rule.program("lateral"))


def random_table(rng: np.random.Generator, size: float) -> PolynomialRule:
    return PolynomialRule(size * rng.normal(size=(3, 3, 3)))


def random_pair(rng: np.random.Generator, size: float = 0.08) -> NetworkRule:
    return NetworkRule(random_table(rng, size), random_table(rng, size))


def mixed_pairs(rng: np.random.Generator) -> tuple[NetworkRule, ...]:
    """Pairs with a table in one layer or in both, and with every form of program in the other."""
    table = random_table(rng, 0.1)
    programs = [pair(FEEDFORWARD[n], LATERAL[n]) for n in (1, 3)]
    return (
        random_pair(rng, 0.1),
        NetworkRule(OJA, ANTI_HEBB),
        *(NetworkRule(table, one.lateral) for one in programs),
        *(NetworkRule(one.feedforward, table) for one in programs),
        NetworkRule(programs[0].feedforward, programs[1].lateral),
        NetworkRule(programs[1].feedforward, programs[0].lateral),
    )


def random_problems(
    rng: np.random.Generator, n_problems: int, n_outputs: int, n_inputs: int, n_samples: int = 12
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw inputs and weights that make outputs of order one."""
    inputs = rng.normal(size=(n_problems, n_samples, n_inputs))
    weights = rng.normal(size=(n_problems, n_outputs, n_inputs)) / math.sqrt(n_inputs)
    lateral = 0.5 * rng.normal(size=(n_problems, n_outputs, n_outputs)) / n_outputs
    return inputs, weights, lateral


def random_schedule(
    rng: np.random.Generator, batch: int, n_steps: int, n_samples: int = 12, learning_rate: float = 0.03
) -> Schedule:
    """Make a schedule with five rounds, which divide no number of steps used here."""
    return Schedule(rng.integers(n_samples, size=(5, batch)), n_steps, learning_rate)


def pull_to(
    weights: np.ndarray, lateral: np.ndarray
) -> Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Make a smooth loss of both layers' final weights."""

    def loss(w: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        a, b = w - weights, np.tril(v - lateral, -1)
        return 0.5 * np.sum(a**2, axis=(1, 2)) + 0.5 * np.sum(b**2, axis=(1, 2)), a, b

    return loss


def assert_like_naive(
    rule: NetworkRule,
    problems: tuple[np.ndarray, np.ndarray, np.ndarray],
    schedule: Schedule,
    lateral_rate: float = 0.02,
    every: int = 2,
) -> None:
    outcome = simulate(rule, *problems, schedule, lateral_rate=lateral_rate, every=every)
    for p, (x, w, v) in enumerate(zip(*problems, strict=True)):
        path, lateral_path, blow_up = naive.rate_network(
            rule.feedforward, rule.lateral, x, w, v, schedule, lateral_rate
        )
        assert outcome.blow_up[p] == blow_up
        np.testing.assert_allclose(outcome.weights[p], path[-1], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(outcome.lateral[p], lateral_path[-1], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(outcome.record[p], path[:-1][::every], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(
            outcome.lateral_record[p], lateral_path[:-1][::every], rtol=1e-9, atol=1e-12
        )


# ------------------------------------------------------------------------------------------ kernels and twins


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("n_outputs", [1, 2, 3, 5])
def test_any_number_of_outputs_runs_as_one_by_one(n_outputs: int, batch: int) -> None:
    rng = np.random.default_rng([n_outputs, batch])
    problems = random_problems(rng, 3, n_outputs, 4)
    for rule in mixed_pairs(rng):
        assert_like_naive(rule, problems, random_schedule(rng, batch, n_steps=7))


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("n_inputs", [1, 2, 9, 33, MOST_INPUTS_IN_LANES + 3])
def test_any_number_of_inputs_runs_as_one_by_one(n_inputs: int, batch: int) -> None:
    rng = np.random.default_rng([n_inputs, batch])
    problems = random_problems(rng, 2, 2, n_inputs)
    for rule in mixed_pairs(rng):
        assert_like_naive(rule, problems, random_schedule(rng, batch, 4, learning_rate=0.01))


@pytest.mark.parametrize("texts", PAIRS, ids=range(len(PAIRS)))
def test_programs_run_as_one_by_one(texts: tuple[str, str]) -> None:
    rng = np.random.default_rng(3)
    problems = random_problems(rng, 4, 3, 4)
    problems[1][1] = 0.0
    for batch in (1, 12, 60):
        assert_like_naive(pair(*texts), problems, random_schedule(rng, batch, n_steps=6))


@pytest.mark.parametrize(
    "texts",
    [
        ("x*y/w", "y_pre/v"),
        ("log(w) + x", "-y_pre*y_post"),
        ("x*y - w*y**2", "sqrt(v)*y_pre - log(v)"),
        ("exp(100*x*w*y)", "v**-3*y_pre"),
        ("w + w*y**2", "max(y_pre*y_post, log(-1 - v**2))"),
    ],
)
@pytest.mark.parametrize("batch", [1, 4])
def test_nasty_programs_blow_up_where_their_twin_does(texts: tuple[str, str], batch: int) -> None:
    rng = np.random.default_rng(5)
    inputs, weights, lateral = random_problems(rng, 5, 3, 3)
    weights[1], lateral[1] = np.abs(weights[1]), np.abs(lateral[1])
    weights[2] = 0.0
    problems = (inputs, weights, lateral)
    assert_like_naive(pair(*texts), problems, random_schedule(rng, batch, n_steps=8))


def test_large_inputs_and_weights_stay_exact() -> None:
    rng = np.random.default_rng(5)
    inputs, weights, lateral = random_problems(rng, 4, 2, 3)
    inputs[0] *= 1e30
    inputs[1] *= 1e-30
    weights[2] *= 100.0
    weights[3] = 0.0
    for rule in mixed_pairs(rng):
        assert_like_naive(rule, (inputs, weights, lateral), random_schedule(rng, 3, n_steps=4))


def test_the_known_pair_ends_at_the_first_principal_components_and_uncouples() -> None:
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(5, 150, 4)) * [1.0, 0.7, 0.4, 0.1]
    start = 0.1 * rng.normal(size=(5, 3, 4)), 0.1 * rng.normal(size=(5, 3, 3))
    outcome = simulate(NetworkRule(OJA, ANTI_HEBB), inputs, *start, Schedule.whole_sample(150, 4000, 0.2))
    for p in range(5):
        components = np.linalg.eigh(inputs[p].T @ inputs[p])[1][:, :0:-1].T
        cosines = np.abs(np.sum(components * outcome.weights[p], axis=1))
        np.testing.assert_allclose(cosines, 1.0, atol=1e-6)
    assert np.abs(outcome.lateral).max() < 1e-6


# ---------------------------------------------------------------------------------- one output, and the mask


@pytest.mark.parametrize("batch", [1, 6])
def test_one_output_is_the_single_neuron(batch: int) -> None:
    rng = np.random.default_rng(batch)
    inputs, weights, lateral = random_problems(rng, 4, 1, 5)
    schedule = random_schedule(rng, batch, n_steps=40)
    for rule in mixed_pairs(rng):
        target = rng.normal(size=weights.shape)
        one = meta_gradient(rule, inputs, weights, lateral, schedule, pull_to(target, lateral))

        def loss(w: np.ndarray, target: np.ndarray = target) -> tuple[np.ndarray, np.ndarray]:
            return 0.5 * np.sum((w - target[:, 0]) ** 2, axis=1), w - target[:, 0]

        other = neuron_gradient(rule.feedforward, inputs, weights[:, 0], schedule, loss)
        np.testing.assert_array_equal(one.outcome.blow_up, other.outcome.blow_up)
        np.testing.assert_allclose(one.outcome.weights[:, 0], other.outcome.weights, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(one.losses, other.losses, rtol=1e-12)
        np.testing.assert_allclose(one.feedforward, other.gradients, rtol=1e-10, atol=1e-13)
        np.testing.assert_allclose(one.initial_adjoint[:, 0], other.initial_adjoint, rtol=1e-10, atol=1e-13)
        assert not one.lateral.any()


@pytest.mark.parametrize("batch", [1, 12])
def test_lateral_synapses_run_from_earlier_outputs_only(batch: int) -> None:
    rng = np.random.default_rng(1)
    inputs, weights, lateral = random_problems(rng, 3, 4, 5)
    schedule = random_schedule(rng, batch, n_steps=9)
    for rule in mixed_pairs(rng):
        loss = pull_to(np.ones_like(weights), np.ones_like(lateral))
        result = meta_gradient(rule, inputs, weights, lateral, schedule, loss)
        masked = meta_gradient(rule, inputs, weights, np.tril(lateral, -1), schedule, loss)
        for array in (result.outcome.lateral, result.initial_lateral_adjoint):
            assert not np.triu(array).any()
        assert not np.triu(result.outcome.lateral_record).any()
        assert result.lateral.tobytes() == masked.lateral.tobytes()
        assert result.outcome.weights.tobytes() == masked.outcome.weights.tobytes()


def test_an_output_does_not_depend_on_those_after_it() -> None:
    rng = np.random.default_rng(2)
    inputs, weights, lateral = random_problems(rng, 3, 4, 5)
    schedule = random_schedule(rng, 3, n_steps=20, learning_rate=0.01)
    for rule in mixed_pairs(rng):
        all_four = simulate(rule, inputs, weights, lateral, schedule)
        first_two = simulate(rule, inputs, weights[:, :2], lateral[:, :2, :2], schedule)
        np.testing.assert_allclose(all_four.weights[:, :2], first_two.weights, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(all_four.lateral[:, :2, :2], first_two.lateral, rtol=1e-12, atol=1e-14)


# ------------------------------------------------------------------------------------------------- gradients


def parameters_of(rule: PolynomialRule | Program) -> np.ndarray:
    return rule.coefficients.ravel() if isinstance(rule, PolynomialRule) else rule.constants


def with_parameters(rule: PolynomialRule | Program, values: np.ndarray) -> PolynomialRule | Program:
    if isinstance(rule, PolynomialRule):
        return PolynomialRule(values.reshape(3, 3, 3))
    return rule.with_constants(values)


def assert_exact_gradient(
    rule: NetworkRule,
    problems: tuple[np.ndarray, np.ndarray, np.ndarray],
    schedule: Schedule,
    lateral_rate: float | None = None,
) -> None:
    """Compare with central differences: relative error in norm at most 1e-6, for each layer."""
    inputs, weights, lateral = problems
    rng = np.random.default_rng(9)
    loss = pull_to(rng.normal(size=weights.shape), rng.normal(size=lateral.shape))
    result = meta_gradient(rule, *problems, schedule, loss, lateral_rate=lateral_rate)
    assert np.all(result.outcome.blow_up == -1)

    def total(changed: NetworkRule, w: np.ndarray, v: np.ndarray) -> float:
        end = simulate(changed, inputs, w, v, schedule, lateral_rate=lateral_rate)
        return float(np.sum(loss(end.weights, end.lateral)[0]))

    def of_feedforward(values: np.ndarray) -> float:
        return total(NetworkRule(with_parameters(rule.feedforward, values), rule.lateral), weights, lateral)

    def of_lateral(values: np.ndarray) -> float:
        return total(NetworkRule(rule.feedforward, with_parameters(rule.lateral, values)), weights, lateral)

    for function, own, found in (
        (of_feedforward, rule.feedforward, result.feedforward),
        (of_lateral, rule.lateral, result.lateral),
    ):
        expected = naive.central_differences(function, parameters_of(own))
        error = np.linalg.norm(found.sum(axis=0) - expected)
        assert error <= 1e-6 * np.linalg.norm(expected) + 1e-11
    for adjoint, start in (
        (result.initial_adjoint, lambda a: (weights + a, lateral)),
        (result.initial_lateral_adjoint, lambda a: (weights, lateral + a)),
    ):
        size = np.linalg.norm(adjoint)
        if size > 0:
            slope = naive.central_differences(
                lambda scale, a=adjoint, s=size, start=start: total(rule, *start(scale[0] * a / s)),
                np.zeros(1),
            )
            assert size == pytest.approx(slope[0], rel=1e-6)


@pytest.mark.parametrize("batch", [1, 12])
@pytest.mark.parametrize(
    ("n_outputs", "n_inputs"), [(1, 3), (2, 2), (2, 10), (3, 1), (4, 70), (10, 30), (2, 300)]
)
def test_gradient_of_random_polynomial_rules(n_outputs: int, n_inputs: int, batch: int) -> None:
    rng = np.random.default_rng([n_outputs, n_inputs, batch])
    problems = random_problems(rng, 2, n_outputs, n_inputs)
    schedule = random_schedule(rng, batch, n_steps=13, learning_rate=0.2 / (10 + n_inputs))
    for _ in range(3):
        assert_exact_gradient(random_pair(rng), problems, schedule, lateral_rate=0.005)


@pytest.mark.parametrize("batch", [1, 12])
@pytest.mark.parametrize("texts", PAIRS, ids=range(len(PAIRS)))
def test_gradient_of_programs(texts: tuple[str, str], batch: int) -> None:
    rng = np.random.default_rng(batch)
    for n_outputs, n_inputs in ((1, 4), (3, 5), (2, 300)):
        problems = random_problems(rng, 2, n_outputs, n_inputs)
        schedule = random_schedule(rng, batch, n_steps=11, learning_rate=0.3 / (10 + n_inputs))
        assert_exact_gradient(pair(*texts), problems, schedule)


@pytest.mark.parametrize("batch", [1, 5])
def test_gradient_of_mixed_rules(batch: int) -> None:
    rng = np.random.default_rng(batch)
    for rule in mixed_pairs(rng):
        problems = random_problems(rng, 3, 3, 6)
        assert_exact_gradient(rule, problems, random_schedule(rng, batch, 17, learning_rate=0.01), 0.02)


def test_gradient_of_a_long_run() -> None:
    rng = np.random.default_rng(4)
    inputs = rng.normal(size=(3, 60, 5)) * [1.0, 0.7, 0.4, 0.2, 0.1]
    problems = (inputs, 0.1 * rng.normal(size=(3, 3, 5)), 0.1 * rng.normal(size=(3, 3, 3)))
    for schedule in (Schedule.online(60, 300, 0.01), Schedule.whole_sample(60, 200, 0.02)):
        assert_exact_gradient(NetworkRule(OJA, ANTI_HEBB), problems, schedule)
        assert_exact_gradient(pair("tanh(1.1*x*y) - 0.9*w*y**2", LATERAL[4]), problems, schedule)


@pytest.mark.parametrize("n_steps", [1, 2, 16, 17, 26])
@pytest.mark.parametrize("batch", [1, 5])
def test_a_checkpointed_trajectory_gives_the_same_gradient(
    monkeypatch: pytest.MonkeyPatch, batch: int, n_steps: int
) -> None:
    rng = np.random.default_rng([batch, n_steps])
    problems = random_problems(rng, 4, 3, 6)
    schedule = random_schedule(rng, batch, n_steps, learning_rate=0.01)
    loss = pull_to(np.ones((4, 3, 6)), np.ones((4, 3, 3)))
    for rule in mixed_pairs(rng):
        layout = Layout.of(two_layers(6, 3))
        plan, states = planned(layout, rule.by_slot, for_gradient=True), np.empty((4, layout.n_places))
        monkeypatch.setattr(_interpreted, "TRAJECTORY_BYTES", 1 << 30)
        assert plan.record_interval(states, n_steps) == 1
        full = meta_gradient(rule, *problems, schedule, loss)
        monkeypatch.setattr(_interpreted, "TRAJECTORY_BYTES", 0)
        every = plan.record_interval(states, n_steps)
        assert every**2 >= n_steps > (every - 1) ** 2
        sparse = meta_gradient(rule, *problems, schedule, loss)
        for name in ("losses", "feedforward", "lateral", "initial_adjoint", "initial_lateral_adjoint"):
            np.testing.assert_allclose(getattr(full, name), getattr(sparse, name), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("batch", [1, 12])
def test_results_do_not_depend_on_the_number_of_threads(monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("Numba was started with one thread")
    monkeypatch.setattr(_groups, "WORTH_A_THREAD", 0)
    rng = np.random.default_rng(batch)
    before = numba.get_num_threads()
    for n_problems, n_outputs, n_inputs in ((1, 2, 5), (7, 3, 3), (5, 4, 90)):
        problems = random_problems(rng, n_problems, n_outputs, n_inputs)
        schedule = random_schedule(rng, batch, 21, learning_rate=0.01)
        loss = pull_to(np.ones_like(problems[1]), np.ones_like(problems[2]))
        for rule in mixed_pairs(rng):
            results = []
            for n_threads in (1, 2):
                numba.set_num_threads(n_threads)
                results.append(meta_gradient(rule, *problems, schedule, loss))
            numba.set_num_threads(before)
            one, two = results
            for name in ("losses", "feedforward", "lateral", "initial_adjoint", "initial_lateral_adjoint"):
                assert getattr(one, name).tobytes() == getattr(two, name).tobytes()
            assert one.outcome.weights.tobytes() == two.outcome.weights.tobytes()
            assert one.outcome.lateral.tobytes() == two.outcome.lateral.tobytes()


# -------------------------------------------------------------------------------------------------- blow-ups


@pytest.mark.parametrize("batch", [1, 12])
@pytest.mark.parametrize(
    "texts",
    [
        ("w + w*y**2", "-y_pre*y_post"),
        ("w + w**5", "-y_pre*y_post"),
        ("x*y - w*y**2", "v + v*y_post**2"),
        ("x*y - w*y**2", "v + v**5"),
        ("x*y - log(-1 - w**2)", "-y_pre*y_post"),
        ("x*y - w*y**2", "log(-1 - v**2)"),
        ("x*y - w*y**2", "y_pre*(exp(1000 + y_post**2) - exp(1000 + y_post**2))"),
    ],
)
def test_a_blow_up_in_either_layer_is_found(texts: tuple[str, str], batch: int) -> None:
    rng = np.random.default_rng(0)
    problems = random_problems(rng, 3, 2, 4)
    schedule = random_schedule(rng, batch, n_steps=200, learning_rate=0.5)
    loss = pull_to(np.zeros_like(problems[1]), np.zeros_like(problems[2]))
    result = meta_gradient(pair(*texts), *problems, schedule, loss)
    when = result.outcome.blow_up
    assert np.all((when >= 1) & (when <= 200))
    np.testing.assert_array_equal(result.losses, 2.0 - when / 200)
    for array in (result.feedforward, result.lateral, result.initial_adjoint, result.initial_lateral_adjoint):
        np.testing.assert_array_equal(array, 0.0)
    assert not result.outcome.weights.any()
    assert not result.outcome.lateral.any()


@pytest.mark.parametrize("batch", [1, 12])
def test_a_blow_up_stays_in_its_problem(batch: int) -> None:
    rng = np.random.default_rng(8)
    inputs, weights, lateral = random_problems(rng, 6, 3, 3)
    schedule = random_schedule(rng, batch, n_steps=9, learning_rate=0.01)
    loss = pull_to(np.ones_like(weights), np.ones_like(lateral))
    loud = inputs.copy()
    loud[3] *= 1e200
    others = [0, 1, 2, 4, 5]
    for rule in mixed_pairs(rng):
        quiet = meta_gradient(rule, inputs, weights, lateral, schedule, loss)
        result = meta_gradient(rule, loud, weights, lateral, schedule, loss)
        assert result.outcome.blow_up[3] >= 1
        for name in ("losses", "feedforward", "lateral", "initial_adjoint"):
            assert getattr(quiet, name)[others].tobytes() == getattr(result, name)[others].tobytes()
        assert not result.feedforward[3].any()


def test_a_blow_up_is_a_norm_of_all_weights_beyond_the_bound() -> None:
    constant = PolynomialRule.from_terms({(0, 0, 0): 1.0})
    still = PolynomialRule.from_terms({})
    x = np.ones((1, 1, 1))
    for rule in (NetworkRule(still, constant), NetworkRule(pair("0*x", "1").feedforward, constant)):
        for size, when in ((BLOW_UP_NORM - 1.01, -1), (BLOW_UP_NORM - 0.99, 1)):
            lateral = [[[0.0, 0.0], [size, 0.0]]]
            outcome = simulate(rule, x, np.zeros((1, 2, 1)), lateral, Schedule.online(1, 1, 1.0))
            assert outcome.blow_up[0] == when


# ------------------------------------------------------------------------------------------------ operations


@pytest.mark.parametrize("op", list(Op), ids=lambda op: op.name)
def test_every_operation_has_its_value_and_derivative(op: Op) -> None:
    edges = (0.0, 0.3, 1.0, -1.0, 2.5, -0.7, 3.0, 1e200, -1e200, math.inf, -math.inf, math.nan)
    a, b = (values.ravel() for values in np.meshgrid(edges, edges))
    exponent = 3
    code = np.array([[int(op), 0, exponent if op is Op.POWI else 1]])

    def function(u: float, v: float) -> float:
        if op is Op.POWI:
            return naive.power(u, float(exponent))
        return naive.BINARY[op](u, v) if op in BINARY_OPS else naive.UNARY[op](u)

    expected = [function(float(u), float(v)) for u, v in zip(a, b, strict=True)]
    found = []
    for u, v in zip(a, b, strict=True):
        registers = np.array([u, v, 0.0])
        _quadratic_kernels.run_code(code, 2, registers)
        found.append(registers[2])
    np.testing.assert_allclose(found, expected, rtol=1e-12)

    for u, v in np.random.default_rng(int(op)).uniform(0.3, 2.0, size=(10, 2)):
        registers, adjoints = np.array([u, v, 0.0]), np.array([0.0, 0.0, 1.0])
        _quadratic_kernels.run_code(code, 2, registers)
        _quadratic_kernels.pull_code(code, 2, registers, adjoints)
        slopes = naive.central_differences(lambda z: function(float(z[0]), float(z[1])), np.array([u, v]))
        np.testing.assert_allclose(adjoints[:2], slopes, rtol=1e-7, atol=1e-9)


# ----------------------------------------------------------------------------------------------- bad requests


def test_requests_that_make_no_sense_are_refused() -> None:
    rule = NetworkRule(OJA, ANTI_HEBB)
    x, w, v = np.ones((2, 4, 3)), np.ones((2, 2, 3)), np.ones((2, 2, 2))
    schedule = Schedule.online(4, 5, 0.1)
    with pytest.raises(ValueError, match="n_problems, n_samples, n_inputs"):
        simulate(rule, x[0], w, v, schedule)
    with pytest.raises(ValueError, match=r"Inputs of this circuit are 4 numbers a sample, got 3"):
        simulate(rule, x, np.ones((2, 2, 4)), v, schedule)
    with pytest.raises(ValueError, match=r"shape \(2, 2, 3\).*got \(3, 2, 3\)"):
        simulate(rule, x, np.ones((3, 2, 3)), v, schedule)
    with pytest.raises(ValueError, match=r"shape \(2, 2, 2\).*got \(2, 3, 3\)"):
        simulate(rule, x, w, np.ones((2, 3, 3)), schedule)
    for bad in (math.nan, math.inf):
        for arrays in ((x * bad, w, v), (x, w * bad, v), (x, w, v * bad)):
            with pytest.raises(ValueError, match="finite"):
                simulate(rule, *arrays, schedule)
    with pytest.raises(ValueError, match=r"outside 0\.\.3"):
        simulate(rule, x, w, v, Schedule([[4]], 5, 0.1))
    with pytest.raises(ValueError, match="every=0"):
        simulate(rule, x, w, v, schedule, every=0)
    for bad in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="learning_rate"):
            simulate(rule, x, w, v, schedule, lateral_rate=bad)
    with pytest.raises(ValueError, match="A loss returns"):
        meta_gradient(rule, x, w, v, schedule, lambda w, v: (np.zeros(2), w, w))
    other = NetworkRule(OJA, Program.build(("x", "y"), (False, True), [], [(Op.MUL, 0, 1)]))
    with pytest.raises(ValueError, match="lateral has no variable 'x'; it has y_pre, y_post, v"):
        simulate(other, x, w, v, schedule)


def test_arguments_are_not_changed() -> None:
    rng = np.random.default_rng(0)
    problems = random_problems(rng, 4, 2, 3)
    before = [array.copy() for array in problems]
    schedule = Schedule.online(12, 6, 0.1)
    loss = pull_to(np.zeros((4, 2, 3)), np.zeros((4, 2, 2)))
    meta_gradient(NetworkRule(OJA, ANTI_HEBB), *problems, schedule, loss)
    for array, copy in zip(problems, before, strict=True):
        np.testing.assert_array_equal(array, copy)
        assert array.flags.writeable


def test_kernels_are_compiled_once_for_all_kinds_of_rules_and_arrays() -> None:
    rng = np.random.default_rng(0)
    problems = random_problems(rng, 3, 2, 3)
    schedule = Schedule.online(12, 4, 0.1)

    def loss(w: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return np.zeros(3, dtype=np.float32), np.asfortranarray(w), v.astype(np.float32)

    frozen = tuple(np.asfortranarray(array) for array in problems)
    for array in frozen:
        array.setflags(write=False)
    kernels = (_rate_kernels.simulate, _rate_kernels.gradient)
    for rule in mixed_pairs(rng):
        meta_gradient(rule, *problems, schedule, loss)
    before = [len(kernel.signatures) for kernel in kernels]
    for rule in mixed_pairs(rng):
        meta_gradient(rule, *frozen, schedule, loss)
    assert [len(kernel.signatures) for kernel in kernels] == before


WITHOUT_JIT = """
    import numpy as np
    import naive
    from discover.rule import Rule
    from rate_examples import NetworkRule, network_gradient as meta_gradient
    from sims import _interpreted, _rate_kernels
    from sims.rate import Schedule
    from sims.rules import PolynomialRule

    assert isinstance(_rate_kernels.simulate, type(lambda: 0)), "kernels were compiled"
    rng = np.random.default_rng(0)
    _interpreted.TRAJECTORY_BYTES = 0
    tables = [PolynomialRule(0.1 * rng.normal(size=(3, 3, 3))) for _ in range(2)]
    rules = [NetworkRule(*tables)]
    for feedforward, lateral in {pairs!r}:
        rule = Rule.parse({{"feedforward": feedforward, "lateral": lateral}})
        rules.append(NetworkRule(rule.program("feedforward"), rule.program("lateral")))
    for n_problems, n_outputs, n_inputs, batch, n_steps in (
        (1, 1, 1, 1, 1), (2, 3, 2, 3, 4), (1, 2, 260, 3, 2)
    ):
        x = rng.normal(size=(n_problems, 5, n_inputs))
        w = rng.normal(size=(n_problems, n_outputs, n_inputs)) / n_inputs**0.5
        v = rng.normal(size=(n_problems, n_outputs, n_outputs))
        schedule = Schedule(rng.integers(5, size=(2, batch)), n_steps, 0.01)
        for rule in rules:
            loss = lambda w, v: (w.sum((1, 2)), np.ones_like(w), np.ones_like(v))
            result = meta_gradient(rule, x, w, v, schedule, loss)
            assert np.all(np.isfinite(result.feedforward)) and np.all(np.isfinite(result.lateral))
            path, _, _ = naive.rate_network(rule.feedforward, rule.lateral, x[0], w[0], v[0], schedule, 0.01)
            np.testing.assert_allclose(result.outcome.weights[0], path[-1], rtol=1e-10)
    print("no index out of bounds")
"""


def test_kernels_stay_inside_their_arrays() -> None:
    """Run tiny sizes as plain Python, where an index out of bounds is an error instead of a silent read."""
    script = textwrap.dedent(WITHOUT_JIT).format(pairs=[PAIRS[1], PAIRS[4], ("y", "0.5"), ("0.5", "v")])
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
