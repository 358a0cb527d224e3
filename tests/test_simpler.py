"""Simpler rules than the one that was found."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import trees

from discover.pareto import Candidate, ParetoFront, Simplification
from discover.rule import Rule
from discover.search.settings import NetworkSettings
from discover.search.simpler import reductions, rounded, shrunk
from discover.tasks import get_task

TASK = get_task("oja")
SETTINGS = TASK.settings_type(n_inputs=3, n_samples=100, n_steps=300)
TRAIN = TASK.draw(SETTINGS, 12, np.random.SeedSequence(1))
HELDOUT = TASK.draw(SETTINGS, 24, np.random.SeedSequence(2))
NETWORK = NetworkSettings(refine_steps=20, batch=8)
NOTHING = NetworkSettings(simplify=0)


@given(trees())
@settings(max_examples=200, deadline=None)
def test_reductions_are_simpler_and_each_comes_once(node: object) -> None:
    rule = Rule({"feedforward": node}).canonical()  # type: ignore[dict-item]
    found = reductions(rule)
    assert all(one.complexity < rule.complexity for one in found)
    assert len(set(found)) == len(found)


def test_a_slot_can_lose_its_whole_update() -> None:
    rule = Rule.parse({"on_pre": "x_post - 0.2", "on_post": "0.01", "tau_pre": "20", "tau_post": "20"})
    assert [str(one.expressions["on_post"]) for one in reductions(rule)] == ["0.01", "0"]
    alone = Rule.parse({"on_pre": "x_post", "on_post": "0.01", "tau_pre": "20", "tau_post": "20"})
    (silent,) = reductions(alone)
    assert silent.complexity == alone.complexity - 1
    assert reductions(silent) == []  # the other slot is all that is left


def test_a_slot_without_an_update_stays_without() -> None:
    rule = Rule.parse({"on_pre": "2*x_post - 0.2", "on_post": "0", "tau_pre": "20", "tau_post": "20"})
    assert rule.constants().tolist() == [2.0, 0.2, 20.0, 20.0]
    moved = rule.with_constants([3.0, 0.1, 10.0, 30.0])
    assert moved == Rule.parse(
        {"on_pre": "3*x_post - 0.1", "on_post": "0", "tau_pre": "10", "tau_post": "30"}
    )
    assert rule.complexity == 7


def test_a_needless_term_is_taken_away_and_a_needed_one_is_not() -> None:
    rule = Rule.parse("0.4*x*y - 0.4*w*y**2 + 0.001*w*tanh(x)")
    found, steps = shrunk(TASK, rule, TRAIN, HELDOUT, NETWORK, 0.005, np.random.default_rng(0))
    assert [step.accepted for step in steps] == [True] * len(found) + [False]
    last = found[-1].rule.coefficients()["feedforward"]
    assert set(last) == {"x*y", "w*y**2"}
    assert steps[-1].cost > 0.02
    np.testing.assert_array_equal(found[-1].heldout_losses, TASK.losses(found[-1].rule, HELDOUT))
    assert found[-1].rule.complexity < rule.complexity


def test_no_rounds_take_nothing_away() -> None:
    rule = Rule.parse("0.4*x*y - 0.4*w*y**2 + 0.001*w")
    assert shrunk(TASK, rule, TRAIN, HELDOUT, NOTHING, 0.005, np.random.default_rng(0)) == ([], [])


def test_constants_are_rounded_as_far_as_the_network_allows() -> None:
    simple, (step,) = rounded(TASK, Rule.parse("0.3913*x*y - 0.3936*w*y**2"), HELDOUT, 0.005)
    assert simple == Rule.parse("0.4*x*y - 0.4*w*y**2")
    assert step.after == simple
    assert step.accepted
    difference = TASK.losses(simple, HELDOUT) - TASK.losses(step.before, HELDOUT)
    assert step.cost == pytest.approx(difference.mean())
    assert step.error == pytest.approx(difference.std(ddof=1) / np.sqrt(24))


def test_a_constant_that_matters_keeps_two_digits() -> None:
    """Weights end with a squared norm of the ratio of the constants: 0.3 beside 0.3449 is too far off."""
    simple, _ = rounded(TASK, Rule.parse("0.3449*x*y - 0.3449*w*y**2"), HELDOUT, 0.01)
    assert simple == Rule.parse("0.34*x*y - 0.34*w*y**2")


def test_simple_constants_are_left_alone() -> None:
    rule = Rule.parse("0.4*x*y - 0.4*w*y**2")
    assert rounded(TASK, rule, HELDOUT, 0.005) == (rule, ())


@given(st.floats(-10, 10), st.booleans())
def test_steps_are_kept_in_the_front(cost: float, accepted: bool) -> None:
    rules = Rule.parse("0.39*x*y - w"), Rule.parse("0.4*x*y - w")
    step = Simplification("constants rounded", *rules, cost, 0.1, accepted)
    candidate = Candidate("c01", rules[0], 0.1, 0.1, 0.01, ("terms",))
    front = ParetoFront("oja", ("terms",), (candidate,), simplifications=(step,))
    assert ParetoFront.from_json(front.to_json()) == front
