"""Other terms in one slot at a time, tried in the network."""

from __future__ import annotations

from dataclasses import replace
from math import ceil

import numpy as np
import pytest

from discover.expression import evaluate
from discover.rule import Rule
from discover.search.blocks import by_blocks, variants
from discover.search.closed_loop import products
from discover.search.engine import Samples
from discover.search.settings import NetworkSettings, SearchSettings
from discover.search.trial import CountedTask, Trial
from discover.slots import get_slot
from discover.tasks import get_task

TASK = get_task("oja")
SMALL = TASK.settings_type(n_inputs=3, n_samples=60, n_steps=400)
START = Rule.parse("0.3*x*y")
SETTINGS = SearchSettings(
    operators=(), task_degree=3, max_nodes=20, network=NetworkSettings(n_tuning=0, refine_steps=0)
)


def samples_of(names: tuple[str, ...], seed: int) -> Samples:
    states = np.random.default_rng(seed).normal(size=(200, len(names)))
    return Samples(names, states, states[:, 0])


@pytest.fixture
def trial() -> Trial:
    train, heldout = (TASK.draw(SMALL, 8, np.random.SeedSequence(seed)) for seed in (1, 2))
    states = TASK.probe(train, 200, np.random.SeedSequence(3))["feedforward"].values
    lesson = {"feedforward": Samples(("x", "y", "w"), states, states[:, 0])}
    return Trial(CountedTask(TASK), train, heldout, lesson, SETTINGS, np.random.default_rng(4))


def test_a_rule_gets_the_term_that_it_lacks(trial: Trial) -> None:
    before = float(TASK.losses(START, trial.train).mean())
    found = by_blocks(trial, START)
    losses = [float(TASK.losses(rule, trial.train).mean()) for rule in found]
    assert min(losses) < 0.2 * min(1.0, before)
    assert [one.complexity for one in found] == sorted({one.complexity for one in found})
    assert losses == sorted(losses, reverse=True)


def test_variants_that_do_badly_in_the_first_network_do_not_run_in_the_others(trial: Trial) -> None:
    trial.settings = replace(SETTINGS, relative_resolution=0.9)  # nothing is so much better that it goes on
    good = Rule.parse("0.3*x*y - 0.3*w*y**2")
    by_blocks(trial, good)
    n, n_problems = len(variants(good, trial.states, SETTINGS)), trial.train.n_problems
    assert trial.counted.n_simulated == n_problems + n + ceil(n / 3) * (n_problems - 1)


def test_every_slot_gets_terms_as_large_as_its_update_with_either_sign() -> None:
    states = {
        "feedforward": samples_of(("x", "y", "w"), 5),
        "lateral": samples_of(get_slot("lateral").variables, 6),
    }
    rule = Rule.parse("feedforward: 0.5*x*y - 0.1*w*y**2")
    found = variants(rule, states, SETTINGS)
    assert len(set(found)) == len(found)
    assert rule not in found
    size = np.sqrt(np.mean(evaluate(rule.expressions["feedforward"], states["feedforward"].columns) ** 2))
    laterals = [one.expressions["lateral"] for one in found if "lateral" in one.slots]
    sizes = [np.sqrt(np.mean(evaluate(one, states["lateral"].columns) ** 2)) for one in laterals]
    np.testing.assert_allclose(sizes, size, rtol=1e-9)
    assert len(laterals) == 2 * len(products(get_slot("lateral").variables, 3))
    kept = [one for one in found if "lateral" not in one.slots]
    assert any(set(one.coefficients()["feedforward"]) == {"w*y**2", "x**2"} for one in kept)
    assert any(set(one.coefficients()["feedforward"]) == {"x*y", "w*y**2", "w"} for one in kept)


def test_forms_that_are_too_long_are_left_out() -> None:
    states = {"feedforward": samples_of(("x", "y", "w"), 5)}
    short = SearchSettings(operators=(), task_degree=2, max_nodes=7)
    assert max(one.complexity for one in variants(START, states, short)) <= 7


def test_a_rule_that_cannot_be_beaten_is_only_made_simpler(trial: Trial) -> None:
    good = Rule.parse("0.3*x*y - 0.3*w*y**2")
    trial.settings = replace(SETTINGS, resolution=float(TASK.losses(good, trial.train).mean()))
    assert all(one.complexity <= good.complexity for one in by_blocks(trial, good))
    simpler = [one for one in variants(good, trial.states, SETTINGS) if one.complexity < good.complexity]
    n, n_problems = len(simpler), trial.train.n_problems
    assert trial.counted.n_simulated == n_problems + n + ceil(n / 3) * (n_problems - 1)


def test_slots_that_are_not_named_get_no_terms(trial: Trial) -> None:
    assert by_blocks(trial, START, ()) == [START]
    assert trial.counted.n_simulated == trial.train.n_problems
