"""The tasks of balanced excitation and inhibition: problems, loss, measures, states and conditions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from discover.errors import RuleError, TaskError
from discover.fit import FitSettings, fit
from discover.fit.objective import Objective
from discover.journal import Journal, JournaledTask
from discover.known_rules import get_known_rule
from discover.rule import Rule
from discover.tasks import get_task
from discover.tasks._balance_problems import BalanceSettings, drawn, mean_input_rate, retuned
from discover.tasks._recurrent_balance import RecurrentSettings
from discover.tasks._spiking_runs import kernel_rule
from discover.tasks.base import coefficients_of, rule_of
from discover.tasks.ei_coplastic import EiCoplasticSettings
from discover.validate import ValidateSettings, validate

TASK = get_task("ei-balance")
COPLASTIC = get_task("ei-coplastic")
VOGELS = get_known_rule("vogels").rule
SMALL = BalanceSettings(n_excitatory=80, n_inhibitory=24, duration_s=1.0, measured_s=0.5)
SEED = np.random.SeedSequence(7)


def problems(settings=SMALL, n=3, task=TASK):
    return task.draw(settings, n, np.random.SeedSequence(7))


def test_a_problem_is_the_same_however_many_are_drawn():
    few, many = problems(n=2), problems(n=5)
    for name in ("excitatory_weights", "inhibitory_weights", "preferred", "rate_factors", "seeds"):
        np.testing.assert_array_equal(getattr(few, name), getattr(many, name)[:2])
    np.testing.assert_array_equal(many.subset([1]).seeds, few.seeds[1:])


def test_problems_differ_in_rates_excitation_and_inhibition():
    many = problems(n=40)
    assert many.rate_factors.min() < 0.8 < 1.25 < many.rate_factors.max()
    assert len(set(many.preferred.tolist())) == 8
    assert np.ptp(many.inhibitory_weights[:, 0]) > 0.3
    channels = many.channels[:80]
    strongest = [np.argmax([row[channels == c].mean() for c in range(8)]) for row in many.excitatory_weights]
    np.testing.assert_array_equal(strongest, many.preferred)


def test_rules_together_give_what_each_gives_alone():
    drawn_problems = problems()
    rules = [VOGELS, VOGELS.scaled(3.0), Rule.parse({"on_pre": "tanh(x_post) - 0.2", "on_post": "x_pre*w"})]
    together = TASK.losses_of_rules(rules, drawn_problems)
    for rule, losses in zip(rules, together, strict=True):
        np.testing.assert_array_equal(TASK.losses(rule, drawn_problems), losses)
    measured = TASK.evaluate_rules(rules, drawn_problems)
    for rule, one in zip(rules, measured, strict=True):
        assert set(one) == set(TASK.measures)
        for name, values in TASK.evaluate(rule, drawn_problems).items():
            np.testing.assert_array_equal(values, one[name])


def test_coefficients_and_rule_are_the_same_thing():
    vector = coefficients_of(TASK, VOGELS)
    assert len(vector) == 9 + 9 + 1 + 1
    assert vector[-2:].tolist() == [20.0, 20.0]
    assert rule_of(TASK, vector) == VOGELS
    np.testing.assert_array_equal(TASK.losses(vector, problems()), TASK.losses(VOGELS, problems()))


def test_the_published_family_has_its_kernel_and_any_rule_a_program():
    from sims.spike_rules import LinearSpikeRule, SpikeRule

    assert kernel_rule(VOGELS) == LinearSpikeRule(-0.25, 0.0, 1.0, 1.0, 20.0, 20.0)
    assert kernel_rule(VOGELS, 2.0) == LinearSpikeRule(-0.5, 0.0, 1.0, 1.0, 20.0, 20.0)
    other = kernel_rule(Rule.parse({"on_pre": "w*x_post - 1", "on_post": "0", "tau_post": "30"}), 2.0)
    assert isinstance(other, SpikeRule)
    assert (other.tau_pre_ms, other.tau_post_ms) == (20.0, 30.0)
    assert -2.0 in other.on_pre.constants


def test_input_rates_are_those_of_the_drawn_spikes():
    from sims.circuits import draw_input_spikes

    settings = replace(BalanceSettings(), rate_spread=1.0)
    one = drawn(settings, 1, SEED)
    (spikes,) = draw_input_spikes(one.circuit, one.at(0, one.inhibitory_weights), 40.0)
    assert len(spikes.step) / 1000 / 40.0 == pytest.approx(mean_input_rate(one.circuit), rel=0.03)


def test_a_run_that_stops_costs_the_more_the_sooner():
    settings = replace(SMALL, duration_s=8.0, measured_s=2.0, initial_inhibition=(0.0, 0.0))
    strong = problems(replace(settings, initial_inhibition=(9.0, 9.0)), 2)
    silent = TASK.losses(Rule.parse({"on_pre": "0", "on_post": "0"}), strong)
    assert np.all(silent > 19)
    quick = TASK.losses(Rule.parse({"on_pre": "1e3", "on_post": "0"}), problems(settings, 2))
    assert np.all(quick > 19)


def test_states_are_what_synapses_see():
    probe = TASK.probe(problems(), 300, SEED)
    seen = TASK.visit(VOGELS, problems(replace(SMALL, duration_s=4.0)), 300, SEED)
    for states in (probe, seen):
        assert set(states) == {"on_pre", "on_post"}
        for one in states.values():
            assert one.values.shape == (300, 2)
            assert np.all(one.values >= 0)
            assert set(one.problem.tolist()) <= {0, 1, 2}
    again = TASK.visit(VOGELS, problems(replace(SMALL, duration_s=4.0)), 300, SEED)
    np.testing.assert_array_equal(seen["on_pre"].values, again["on_pre"].values)


def test_a_learning_curve_has_parts_of_a_second_or_more():
    steps, losses = TASK.learning_curve(VOGELS, problems(replace(SMALL, duration_s=4.0)), 100)
    assert steps.tolist() == [0, 10_000, 20_000, 30_000, 40_000]
    assert losses.shape == (5, 3)


def test_excitation_moves_to_other_channels():
    before = problems()
    after = retuned(before)
    np.testing.assert_array_equal(after.preferred, (before.preferred + 4) % 8)
    np.testing.assert_allclose(after.excitatory_weights.mean(1), before.excitatory_weights.mean(1))


def test_the_task_has_no_gradient_and_says_so(tmp_path):
    assert not TASK.has_gradient
    with Journal(tmp_path / "journal", "p") as journal:
        assert not JournaledTask(TASK, journal).has_gradient
        assert JournaledTask(get_task("oja"), journal).has_gradient
    with pytest.raises(TaskError, match='optimiser = "cmaes"'):
        fit(TASK, SMALL, FitSettings(), seed=0)


def test_time_constants_are_logarithms_and_no_terms():
    objective = Objective.start(TASK, problems(), SEED)
    coefficients = coefficients_of(TASK, VOGELS)
    coefficients[-1] = 40.0
    scaled = objective.scaled(coefficients)
    assert scaled[-2:] == pytest.approx([0.0, np.log(2.0)])
    np.testing.assert_allclose(objective.rule(scaled), coefficients)
    doubled = objective.rule(objective.multiplied(scaled, 2.0))
    np.testing.assert_allclose(doubled[:-2], 2 * coefficients[:-2])
    np.testing.assert_allclose(doubled[-2:], coefficients[-2:])


QUICK = FitSettings(
    optimiser="cmaes", restarts=1, n_train=2, n_heldout=4, n_tuning=0, penalties=(0.0, 0.1), population=4,
    steps=2, path_steps=1, refit_steps=1, start_scale=0.3,
    terms={"on_pre": ("1", "x_post"), "on_post": ("x_pre",)},
)  # fmt: skip


def test_a_fit_keeps_to_the_terms_that_it_is_given():
    result = fit(TASK, SMALL, QUICK, seed=0)
    for point in result.points:
        assert set(point.coefficients["on_pre"]) <= {"1", "x_post"}
        assert set(point.coefficients["on_post"]) <= {"x_pre"}
        assert point.coefficients["tau_pre"]["1"] > 0
        assert point.n_terms <= 3
    assert set(result.term_stability) == {"on_pre", "on_post"}
    with pytest.raises(RuleError, match="no term 'y'"):
        fit(TASK, SMALL, replace(QUICK, terms={"on_pre": ("y",)}), seed=0)
    with pytest.raises(RuleError, match="'tau_pre' cannot be chosen"):
        fit(TASK, SMALL, replace(QUICK, terms={"tau_pre": ("1",)}), seed=0)


def test_without_a_choice_of_terms_a_fit_has_all_of_degree_two():
    dense = fit(TASK, SMALL, replace(QUICK, terms=None), seed=0).dense
    assert dense.n_terms == 18
    assert set(dense.coefficients["on_pre"]) >= {"1", "w**2*x_post**2"}


def test_the_same_fit_twice_and_through_a_journal(tmp_path):
    whole = fit(TASK, SMALL, QUICK, seed=3).to_json()
    for _ in range(2):
        with Journal(tmp_path / "journal", "p") as journal:
            assert fit(JournaledTask(TASK, journal), SMALL, QUICK, seed=3).to_json() == whole


def test_settings_that_contradict_each_other_are_refused():
    with pytest.raises(TaskError, match="longer than the run"):
        replace(SMALL, measured_s=2.0)
    with pytest.raises(TaskError, match="lowest and the highest"):
        replace(SMALL, initial_inhibition=(0.5, 0.1))
    with pytest.raises(TaskError, match="excitatory weights of up to"):
        EiCoplasticSettings(largest_excitatory=1.0)


@pytest.fixture(scope="module")
def settled():
    settings = BalanceSettings(duration_s=40.0, measured_s=20.0, rate_spread=1.2)
    return TASK.draw(settings, 32, np.random.SeedSequence(3))  # tuning without a Hebbian rule varies widely


def test_vogels_rule_holds_its_rate_with_tuned_inhibition(settled):
    measured = TASK.evaluate(VOGELS, settled)
    assert measured["rate_error"].mean() < 0.2
    assert measured["tuning"].min() > 0.95
    assert measured["interval_cv"].mean() > 0.6


def test_a_rule_that_is_not_hebbian_reaches_the_rate_without_tuning(settled):
    flat = Rule.parse({"on_pre": "-0.2", "on_post": "1.2"})
    measured = TASK.evaluate(flat, settled)
    assert measured["rate_error"].mean() < 0.35
    assert measured["tuning"].mean() < 0.5
    rate_alone = replace(settled, settings=replace(settled.settings, tuning_weight=0.0))
    assert TASK.losses(flat, rate_alone).mean() < 0.5 < TASK.losses(flat, settled).mean()


def test_inhibition_follows_excitation_to_other_channels():
    settings = BalanceSettings(duration_s=30.0, measured_s=10.0, retuned=True, rate_spread=1.0)
    quick = VOGELS.scaled(4.0)
    measured = TASK.evaluate(quick, TASK.draw(settings, 2, np.random.SeedSequence(5)))
    assert measured["tuning"].min() > 0.9


@pytest.mark.parametrize(
    ("rule", "rate"), [("soft-bounds", 0.0005), ("oja-like", 0.002), ("triplet", 0.0002)]
)
def test_excitation_that_learns_moves_and_is_balanced(rule, rate):
    settings = EiCoplasticSettings(
        duration_s=40.0, measured_s=20.0, rate_spread=1.2, excitatory_rule=rule, excitatory_rate=rate
    )
    drawn_problems = COPLASTIC.draw(settings, 2, np.random.SeedSequence(3))
    outcome = COPLASTIC.outcome([VOGELS], drawn_problems)
    moved = outcome.excitatory_weights[0] - drawn_problems.excitatory_weights
    assert np.abs(moved).mean() > 0.1 * drawn_problems.excitatory_weights.mean()
    measured = COPLASTIC.evaluate(VOGELS, drawn_problems)
    assert measured["rate_error"].mean() < 0.2
    assert measured["tuning"].min() > 0.9
    _, losses = COPLASTIC.learning_curve(VOGELS, drawn_problems, 5)
    assert losses[-1].mean() < losses[0].mean()


def test_the_triplet_rule_by_hand():
    """One pair changes a weight by depression alone; potentiation takes a second postsynaptic spike."""
    from sims.circuit import LIF
    from sims.spike_rules import LinearSpikeRule
    from sims.spiking import FeedforwardCircuit, FeedforwardProblems, InputSpikes, simulate_feedforward

    plastic = COPLASTIC.excitation(EiCoplasticSettings(excitatory_rule="triplet"))
    assert (plastic.rule.tau_pre_ms, plastic.rule.tau_post_ms, plastic.slow_tau_ms) == (16.8, 33.7, 114.0)
    circuit = FeedforwardCircuit(
        n_excitatory=2, n_inhibitory=1, n_channels=1, excitatory_unit=1e5,
        neuron=LIF(1, tau_excitatory_ms=0.005),
    )  # fmt: skip
    # Input 1 makes the neuron spike at 10 and 40 ms, in the step after its own spikes; input 0, too weak for
    # that, spikes at 30 ms.
    start = FeedforwardProblems([[1e-9, 1.0]], [[0.0]], [0, 0, 0], [1.0], [1])
    events = [InputSpikes([99, 300, 399], [1, 0, 1])]
    rate, largest = plastic.learning_rate, plastic.largest_weight
    outcome = simulate_feedforward(
        LinearSpikeRule(0.0, 0.0, 0.0, 0.0), start, 0.05, circuit=circuit, excitatory=plastic, events=events
    )
    assert outcome.n_spikes[0, 0] == 2
    w = 1e-9 - rate * 1.05 * 1e-9 * np.exp(-20 / 33.7)
    w += rate * (largest - w) * np.exp(-10 / 16.8) * np.exp(-30 / 114)
    assert outcome.excitatory_weights[0, 0, 0] == pytest.approx(w, rel=1e-9)


def test_networks_are_a_condition_and_give_what_they_can():
    folds = {fold.name: fold for fold in TASK.folds(BalanceSettings())}
    assert {"rates-half", "target-10", "retuned", "recurrent-small", "recurrent"} <= set(folds)
    assert folds["recurrent"].settings.n_excitatory == 8000
    assert folds["recurrent"].most_problems == 1
    tiny = RecurrentSettings(80, 20, 0.3, duration_s=1.0, measured_s=0.5)
    networks = TASK.draw(tiny, 2, np.random.SeedSequence(1))
    together = TASK.evaluate_rules([VOGELS, VOGELS.scaled(2.0)], networks)
    assert "tuning" not in together[0]
    for name, values in TASK.evaluate(VOGELS, networks).items():
        assert values.shape == (2,)
        np.testing.assert_array_equal(values, together[0][name])


def test_the_rate_counts_by_its_squared_distance_over_the_rate_and_two_hertz():
    """The loss of Confavreux et al. (2020), section 4, which is soft at low rates."""
    settings = replace(SMALL, duration_s=2.0, measured_s=1.0)
    some = problems(settings)
    for rule in (VOGELS, VOGELS.scaled(30.0)):
        outcome = TASK.outcome([rule], some)
        ran = outcome.stop[0] == 0
        assert ran.any()
        measured = TASK.evaluate(rule, some)
        rates = outcome.rate_hz[0][ran]
        expected = (rates - settings.target_hz) ** 2 / (rates + 2.0) + 1 - measured["tuning"][ran]
        np.testing.assert_allclose(measured["loss"][ran], expected, rtol=1e-9)


def test_vogels_rule_at_a_sixteenth_of_its_rate_fails_no_fold_for_being_slow():
    asked = ValidateSettings(folds=("rates-double",), n_problems=3, n_tuning=2)
    settings = replace(SMALL, duration_s=4.0, measured_s=2.0, learning_rate=0.02)
    slow = {"slow": VOGELS.scaled(1 / 16)}
    result = validate(TASK, settings, slow, asked, seed=1)
    (mine,), (reference,) = result.candidates["slow"].folds, result.candidates["vogels"].folds
    assert mine.speeds["spiking"] > 4 * reference.speeds["spiking"]
    assert mine.metrics["loss"].mean < 0.5 * mine.metrics["loss_at_rate_of_fit"].mean


def test_the_speed_of_large_networks_is_tuned_in_cheaper_circuits():
    folds = {fold.name: fold for fold in TASK.folds(BalanceSettings(n_excitatory=800, n_inhibitory=200))}
    usual = BalanceSettings()
    assert folds["recurrent"].tuned_at == folds["recurrent-small"].tuned_at
    assert folds["recurrent"].tuned_at == replace(usual, n_excitatory=800, n_inhibitory=200)
    for name in ("rate-third", "rate-triple"):
        assert folds[name].tuned_at.learning_rate == usual.learning_rate != folds[name].settings.learning_rate
    assert folds["rates-half"].tuned_at.rate_factor == folds["rates-half"].settings.rate_factor
