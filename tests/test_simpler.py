"""Simpler rules than the one that was found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import trees

from discover.pareto import Candidate, ParetoFront, Provenance, Simplification
from discover.progress import silent
from discover.rule import Rule
from discover.search.engine import Samples
from discover.search.refine import refined
from discover.search.settings import NetworkSettings, SearchSettings
from discover.search.simpler import reductions, rounded, smaller_forms, snapped, step
from discover.search.trial import CountedTask, Judged, Trial, merged
from discover.tasks import collect, get_task

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
    assert all(one.size < rule.size for one in found)
    assert len(set(found)) == len(found)


def test_a_slot_can_lose_its_whole_update() -> None:
    rule = Rule.parse({"on_pre": "x_post - 0.2", "on_post": "0.01", "tau_pre": "20", "tau_post": "20"})
    assert [str(one.expressions["on_post"]) for one in reductions(rule)] == ["0.01", "0"]
    alone = Rule.parse({"on_pre": "x_post", "on_post": "0.01", "tau_pre": "20", "tau_post": "20"})
    (silent_,) = reductions(alone)
    assert silent_.complexity < alone.complexity
    assert reductions(silent_) == []  # the other slot is all that is left


def test_simpler_rules_of_projections_have_no_constants_without_a_use() -> None:
    rule = Rule.parse(
        "EI.on_pre: 0.2; EI.on_post: 0.1*x_pre; EI.tau_pre: 25; EI.tau_post: 31; II.on_pre: 0.3"
    )
    found = {str(one) for one in smaller_forms(rule, {})}
    assert "EI.on_pre: 0.2; EI.on_post: 0.1*x_pre; EI.tau_pre: 25" in found
    assert not any("tau_post" in one for one in found)


def test_a_slot_without_an_update_stays_without() -> None:
    rule = Rule.parse({"on_pre": "2*x_post - 0.2", "on_post": "0", "tau_pre": "20", "tau_post": "20"})
    assert rule.constants().tolist() == [2.0, 0.2, 20.0, 20.0]
    moved = rule.with_constants([3.0, 0.1, 10.0, 30.0])
    assert moved == Rule.parse(
        {"on_pre": "3*x_post - 0.1", "on_post": "0", "tau_pre": "10", "tau_post": "30"}
    )
    assert rule.size == 7


def trial(network: NetworkSettings) -> Trial:
    settings_ = SearchSettings(network=network, resolution=0.005)
    states = collect(TASK, SETTINGS, 0)["feedforward.states"]
    samples = {"feedforward": Samples(("x", "y", "w"), states, states[:, 0])}
    rng = np.random.default_rng(0)
    return Trial(CountedTask(TASK), TRAIN, HELDOUT, samples, settings_, rng)


def test_everything_needless_goes_and_what_is_needed_stays() -> None:
    """A term, a function that is a line, and a ratio that is nearly one: none is left, and all compete."""
    one = trial(NETWORK)
    (before,) = one.judged([(Rule.parse("9*tanh(0.05*y)*(x - 1.02*w*y) + 0.001*w*tanh(x)"), ("terms",))])
    found = one.simplified([before], silent)
    last = min(found, key=lambda each: each.complexity if each.loss < 1.2 * before.loss else np.inf)
    terms = last.rule.coefficients()["feedforward"]
    assert set(terms) == {"x*y", "w*y**2"}
    assert terms["w*y**2"] == -terms["x*y"]
    assert last.complexity == Rule.parse("x*y - w*y**2").complexity
    assert before in found or any(each.rule == before.rule for each in found)
    np.testing.assert_array_equal(last.losses, TASK.losses(last.rule, HELDOUT))
    assert [step.accepted for step in last.steps[:-1]] == [True] * (len(last.steps) - 1)
    assert not last.steps[-1].accepted  # what else was tried costs too much
    assert last.steps[-1].cost > 0.02


def test_a_form_that_got_stuck_takes_the_constants_of_one_that_did_not() -> None:
    """The law with poor constants is there already when a term is taken away from a better rule."""
    one = trial(NETWORK)
    (better,) = one.judged([(Rule.parse("0.4*x*y - 0.4*w*y**2 + 0.0001*w"), ("terms",))])
    law = Rule.parse("0.05*x*y - 0.05*w*y**2")
    losses = TASK.losses(law, HELDOUT)
    train = float(TASK.losses(law, TRAIN).mean())
    stuck = Judged(law, law.complexity, ("operon",), "", train, losses)
    assert stuck.loss > 2 * better.loss
    found = merged(one.simplified([stuck, better], silent))
    (now,) = [each for each in found if each.form == stuck.form]
    assert now.loss < 1.2 * better.loss
    assert now.train_loss < train


@pytest.mark.parametrize("place", range(4))
def test_a_speed_that_suits_few_problems_is_not_taken_where_it_is_worse_on_all(place: int) -> None:
    order = np.roll(np.arange(24), -place)
    heldout = HELDOUT.subset(order)
    one = replace(trial(NetworkSettings(refine_steps=0, n_tuning=1)), heldout=heldout)
    rule = Rule.parse("0.4*x*y - 0.4*w*y**2")
    (found,) = one.judged([(rule, ("terms",))])
    np.testing.assert_array_equal(found.losses, TASK.losses(found.rule, heldout))
    assert found.loss <= TASK.losses(rule, heldout).mean()


def test_a_formula_is_behind_its_teacher_by_a_tenth_of_its_loss_or_by_the_margin() -> None:
    one = trial(NETWORK)
    good, bad = one.judged([(Rule.parse("x*y - w*y**2"), ("terms",)), (Rule.parse("x*y - w*y"), ("terms",))])
    margin = one.margin([good, bad])
    assert bad.loss > good.loss > 2 * margin > 0.05 * good.loss
    assert not one.is_behind([bad, good], good.loss - 0.9 * margin)
    assert one.is_behind([bad, good], good.loss - 1.5 * margin)
    assert not one.is_behind([bad, good], bad.loss)
    worse = replace(good, losses=good.losses + 1.0)
    assert not one.is_behind([worse], worse.loss / 1.08)
    assert one.is_behind([worse], worse.loss / 1.2)


def test_no_rounds_take_nothing_away() -> None:
    one = trial(NOTHING)
    (before,) = one.judged([(Rule.parse("0.4*x*y - 0.4*w*y**2 + 0.001*w"), ("terms",))])
    assert one.simplified([before], silent) == [before]


def test_a_simpler_rule_may_cost_what_chance_explains_and_no_more() -> None:
    """Twice the standard error of the paired difference, or the margin, whichever is more."""
    losses = np.zeros(100)
    noise = np.where(np.arange(100) % 2, 1.0, -1.0)
    error = noise.std(ddof=1) / 10
    rule = Rule.parse("x*y")
    for share, accepted in ((1.9, True), (2.1, False), (3.9, False)):
        assert step("test", rule, rule, losses, noise + share * error, error).accepted is accepted
    for cost, accepted in ((0.009, True), (0.011, False), (0.019, False)):
        assert step("test", rule, rule, losses, losses + cost, 0.01).accepted is accepted


def test_near_ratios_become_simple_ones_all_at_once_and_one_by_one() -> None:
    found = [str(one) for one in snapped(Rule.parse("0.4*x*y - 0.41*w*y**2 + 0.79*w"))]
    assert "0.8*w + 0.4*x*y - 0.4*w*y**2" in found
    assert "0.79*w + 0.4*x*y - 0.4*w*y**2" in found
    assert snapped(Rule.parse("x*y - 0.7*w*y**2")) == []


def test_refinement_keeps_simple_ratios_where_it_is_asked_to() -> None:
    rule, _ = refined(
        TASK,
        Rule.parse("0.2*x*y - 0.2*w*y**2 + 0.05*w"),
        TRAIN,
        20,
        8,
        np.random.default_rng(0),
        keep_ratios=True,
    )
    terms = rule.coefficients()["feedforward"]
    assert terms["w*y**2"] == pytest.approx(-terms["x*y"], rel=1e-12)
    assert abs(terms["w"] / terms["x*y"] - 0.25) > 0.01


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
    one = Simplification("constants rounded", *rules, cost, 0.1, accepted)
    candidate = Candidate("c01", rules[0], 0.1, 0.1, 0.01, provenance=Provenance(("terms",)))
    front = ParetoFront.of("oja", ("terms",), (candidate,), simplifications=(one,))
    assert ParetoFront.from_json(front.to_json()) == front


def test_of_forms_that_do_equally_well_the_simplest_is_tried_first() -> None:
    """Three of them are judged; where no loss tells them apart these must not be the longest."""

    class Indifferent:
        has_gradient = False
        possible = TASK.possible

        def losses_of_rules(self, rules, problems):
            return np.zeros((len(rules), problems.n_problems))

        def __getattr__(self, name):
            return getattr(TASK, name)

    one = trial(NetworkSettings(refine_steps=0, n_tuning=0, simplify=1))
    one.counted = CountedTask(Indifferent())  # type: ignore[arg-type]
    rule = Rule.parse("0.5*x*y - 0.51*w*y**2 + 0.1*x*w*y")
    parent = Judged(rule, rule.complexity, ("somebody",), "", 0.0, np.zeros(HELDOUT.n_problems))
    found = one.simplified([parent], silent)
    simplest = min(reductions(rule), key=lambda form: form.complexity)
    assert min(form.complexity for form in found) == simplest.complexity
