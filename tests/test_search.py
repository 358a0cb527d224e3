"""The union of engines: teacher, refinement in the network, ranking by held-out meta-loss."""

from dataclasses import replace

import numpy as np
import pytest

from discover.errors import EngineError, RunFailed
from discover.expression import parse
from discover.fit import FitResult, PathPoint
from discover.pareto import chance
from discover.rule import Rule
from discover.search import search
from discover.search.engine import Proposal
from discover.search.refine import refined
from discover.search.settings import NetworkSettings, OperonSettings, SearchSettings, TermsSettings
from discover.search.teacher import teacher_samples
from discover.search.terms import TermsEngine
from discover.search.trial import CountedTask
from discover.tasks import collect, get_task
from discover.tasks.oja import OjaSettings

TASK = get_task("oja")
SMALL = OjaSettings(n_inputs=3, n_samples=40, n_steps=150, batch=10)
SETTINGS = SearchSettings(
    max_nodes=20,
    terms=TermsSettings(max_terms=2, beam_width=10, n_refined=4),
    operon=OperonSettings(operator_sets=((),), generations=15, population_size=100),
    network=NetworkSettings(
        n_states=200, n_train=16, n_heldout=64, n_test=64, n_tuning=64, n_refined=6, refine_steps=30
    ),
)


def point(penalty, loss, **terms):
    return PathPoint(penalty, {"feedforward": terms}, loss, loss, 0.01, 0)


DENSE = point(0.0, 0.05, **{"x*y": 0.5, "w*y**2": -0.5, "w": 0.003, "x*w": 0.002})
SPARSE = point(0.1, 0.06, **{"x*y": 0.3, "w*y**2": -0.25})
FIT = FitResult("oja", (DENSE, SPARSE), 1, "fewest terms", (), {})


@pytest.fixture(scope="module")
def trajectories():
    return collect(TASK, SMALL, 0)


@pytest.fixture(scope="module")
def front(trajectories):
    return search(TASK, SMALL, FIT, trajectories, SETTINGS, 5, engines=("operon", "terms"))


def test_chosen_rule_has_the_terms_of_oja(front):
    terms = front.chosen.rule.coefficients()["feedforward"]
    assert set(terms) == {"x*y", "w*y**2"}
    assert terms["w*y**2"] / terms["x*y"] == pytest.approx(-1, rel=0.05)


def test_front_says_who_ran_and_who_found_the_rule(front):
    assert front.engines == ("operon", "terms")
    assert "l1-path" in front.chosen.provenance.proposed_by
    assert set(front.chosen.provenance.proposed_by) & {"operon", "terms"}
    assert (
        front.chosen.provenance.refined_by.split(", ")[0] == "meta-gradient"
    )  # and perhaps parts taken away


def problems_of_the_choice():
    seeds = np.random.SeedSequence(5)
    seeds.spawn(5)
    return TASK.draw(SMALL, SETTINGS.network.n_heldout, seeds.spawn(3)[2])


def test_the_front_rests_on_problems_that_had_no_part_in_its_selection(front):
    """They are drawn by a seed of their own, when all candidates are there."""
    choice = problems_of_the_choice()
    for candidate in front.candidates:
        assert candidate.heldout_loss == pytest.approx(TASK.losses(candidate.rule, choice).mean(), rel=1e-9)


def test_search_is_the_same_every_time(front, trajectories):
    again = search(TASK, SMALL, FIT, trajectories, SETTINGS, 5, engines=("operon", "terms"))
    assert again.to_json() == front.to_json()


def test_unknown_engine_is_refused(trajectories):
    with pytest.raises(EngineError, match="Did you mean 'operon'"):
        search(TASK, SMALL, FIT, trajectories, SETTINGS, 5, engines=("operom",))


def test_refinement_lowers_the_loss_and_never_raises_it():
    problems = TASK.draw(replace(SMALL, n_steps=400, spectrum="steep"), 16, np.random.SeedSequence(0))
    rng = np.random.default_rng(0)
    poor = Rule.parse("0.2*x*y - 0.1*w*y**2")
    better, losses = refined(TASK, poor, problems, 60, 16, rng)
    assert losses.mean() < 0.5 * TASK.losses(poor, problems).mean()
    assert set(better.coefficients()) == set(poor.coefficients())
    for text in ("x*y", "exp(5*y)*x", "w/(y - 0.1)"):
        rule = Rule.parse(text)
        _, losses = refined(TASK, rule, problems, 10, 16, rng)
        assert losses.mean() <= TASK.losses(rule, problems).mean()


@pytest.mark.parametrize(
    ("task_name", "small", "slots", "empty"),
    [
        (
            "pca-network",
            {"n_inputs": 4, "n_samples": 40, "n_steps": 60},
            {"feedforward": "0.2*x*y - 0.2*w*y**2", "lateral": "0"},
            "lateral",
        ),
        (
            "ei-balance",
            {"n_excitatory": 80, "n_inhibitory": 24, "duration_s": 0.5, "measured_s": 0.25},
            {"on_pre": "x_post - 0.2", "on_post": "0", "tau_pre": "20", "tau_post": "20"},
            "on_post",
        ),
    ],
)
def test_refinement_leaves_a_slot_without_an_update_alone(task_name, small, slots, empty):
    task, rule = get_task(task_name), Rule.parse(slots)
    problems = task.draw(task.settings_type(**small), 4, np.random.SeedSequence(0))
    better, losses = refined(task, rule, problems, 4, 4, np.random.default_rng(0))
    assert better != rule
    assert losses.mean() < task.losses(rule, problems).mean()
    assert str(better.expressions[empty]) == "0"


def test_refinement_reaches_constants_inside_functions():
    problems = TASK.draw(SMALL, 16, np.random.SeedSequence(1))
    rule = Rule.parse("0.4*x*tanh(3*y) - 0.3*w*y**2")
    better, _ = refined(TASK, rule, problems, 60, 16, np.random.default_rng(0))
    assert np.all(better.constants() != rule.constants())


def test_a_constant_that_changes_its_sign_in_refinement_is_subtracted():
    problems = TASK.draw(SMALL, 16, np.random.SeedSequence(1))
    better, _ = refined(TASK, Rule.parse("0.4*x*y + 0.05*w*y**2"), problems, 60, 16, np.random.default_rng(0))
    assert better.coefficients()["feedforward"]["w*y**2"] < 0
    assert "(-" not in str(better)


def test_teacher_is_the_dense_rule_where_it_goes(trajectories):
    problems = TASK.draw(SMALL, 8, np.random.SeedSequence(0))
    lesson = teacher_samples(TASK, problems, FIT, trajectories, 100, np.random.SeedSequence(1))
    samples = lesson.samples["feedforward"]
    x, y, w = samples.inputs.T
    np.testing.assert_allclose(samples.target, DENSE.rule.numpy()["feedforward"](x=x, y=y, w=w))
    own, others = samples.inputs[:100], samples.inputs[100:]
    assert len(others) == 100
    every = trajectories["feedforward.states"]
    assert all((every == row).all(axis=1).any() for row in others[::10])
    assert not any((every == row).all(axis=1).any() for row in own[::10])


def test_teacher_falls_back_to_a_rule_that_does_not_blow_up(trajectories):
    problems = TASK.draw(SMALL, 8, np.random.SeedSequence(0))
    wild = point(0.0, 1.9, w=80.0)
    fallen = replace(FIT, points=(wild, SPARSE))
    lesson = teacher_samples(TASK, problems, fallen, trajectories, 100, np.random.SeedSequence(1))
    samples = lesson.samples["feedforward"]
    x, y, w = samples.inputs.T
    np.testing.assert_allclose(samples.target, SPARSE.rule.numpy()["feedforward"](x=x, y=y, w=w))
    hopeless = replace(FIT, points=(wild,), chosen=0)
    with pytest.raises(RunFailed, match="blows up"):
        teacher_samples(TASK, problems, hopeless, trajectories, 100, np.random.SeedSequence(1))


def test_counting_leaves_a_task_without_gradient_without_one():
    assert CountedTask(TASK).has_gradient
    assert not CountedTask(get_task("ei-balance")).has_gradient


def test_losses_to_quote_come_from_problems_that_were_used_for_nothing_else(front):
    seeds = np.random.SeedSequence(5)
    seeds.spawn(5)
    test = TASK.draw(SMALL, SETTINGS.network.n_test, seeds.spawn(3)[1])
    for candidate in front.front:
        assert candidate.test.mean == pytest.approx(TASK.losses(candidate.rule, test).mean(), rel=1e-9)
        assert candidate.test.low < candidate.test.mean < candidate.test.high
        assert candidate.test.n_problems == test.n_problems


def test_speeds_are_those_with_the_lowest_loss_for_every_candidate(front):
    seed = np.random.SeedSequence(5).spawn(5)[1]
    heldout = TASK.draw(SMALL, SETTINGS.network.n_heldout, seed)
    for candidate in front.front:
        loss = TASK.losses(candidate.rule, heldout).mean()
        for factor in (0.7, 0.9, 1.1, 1.4):
            slower = TASK.losses(candidate.rule.scaled(factor), heldout).mean()
            assert slower > loss - 1e-3


def test_what_chance_explains_is_said_of_differences_problem_by_problem(front):
    choice = problems_of_the_choice()
    best = TASK.losses(front.front[-1].rule, choice)
    for candidate in front.front:
        differences = TASK.losses(candidate.rule, choice) - best
        explained = chance(differences, front.resolution)
        assert candidate.allowance == pytest.approx(explained, rel=1e-6, abs=1e-12)


def test_the_gap_to_the_teacher_stands_on_the_front(front):
    choice = problems_of_the_choice()
    assert front.teacher_loss == pytest.approx(TASK.losses(DENSE.rule, choice).mean(), rel=1e-9)


@pytest.mark.parametrize("ornament", ["9.9*tanh(0.0476*y)*(x - w*y)", "4.7e-05 + 0.43*x*y - 0.433*w*y**2"])
def test_an_ornament_of_the_law_is_not_named_in_its_place(trajectories, ornament, monkeypatch):
    """Whatever the engines propose: the law is found behind its ornament, and chosen."""
    path = replace(FIT, points=(DENSE, point(0.1, 0.5, **{"x*y": 0.3})), chosen=1)
    few = replace(SETTINGS, terms=TermsSettings(max_terms=1, beam_width=1, n_refined=1))
    monkeypatch.setattr(
        TermsEngine, "propose", lambda *_: [Proposal(parse(ornament, ("x", "y", "w")), 0.1, "terms")]
    )
    chosen = search(TASK, SMALL, path, trajectories, few, 5, engines=("terms",)).chosen.rule
    terms = chosen.coefficients()["feedforward"]
    assert set(terms) == {"x*y", "w*y**2"}
    assert terms["w*y**2"] == pytest.approx(-terms["x*y"], rel=0.05)
