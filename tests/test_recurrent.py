"""The recurrent network with plastic inhibition: against its naive twin, its rates, and how runs end."""

from __future__ import annotations

import numpy as np
import pytest
from circuit_examples import balanced_run
from test_circuit import assert_like_twin

from discover.rule import Rule
from discover.tasks._recurrent_balance import balanced_network
from discover.tasks._spiking_runs import kernel_rule
from sims.spike_rules import ActivityLimits, LinearSpikeRule
from sims.spike_splines import SplineSpikeRule, TraceSplines
from sims.spiking import Stop
from sims.synapses import drawn_subset

LIVELY = {"weight": 0.5, "excitatory_ns": 2.0, "learning_rate": 0.2}
TINY = balanced_network(24, 6, 0.4, **LIVELY)
SMALL = balanced_network(800, 200, 0.2)

RULES = {
    "vogels": {"on_pre": "x_post - 0.25", "on_post": "x_pre"},
    "all four": {
        "on_pre": "0.4*x_post - 0.1",
        "on_post": "0.7*x_pre + 0.05",
        "tau_pre": "12",
        "tau_post": "35",
    },
    "weights": {"on_pre": "-0.3*w*x_post", "on_post": "x_pre*(2 - w)"},
    "functions": {"on_pre": "tanh(x_post) - 0.2", "on_post": "max(x_pre - w, 0)"},
    "one side": {"on_post": "x_pre - 0.1"},
}
SPLINES = SplineSpikeRule(
    TraceSplines(0.1, 1.2, [[-0.4, -0.3, 0.2, 0.5, 0.1, 0.9], [0.3, -0.6, 0.2, 0.0, -0.7, 0.1]]),
    TraceSplines(0.0, 2.0, [[0.1, 0.5, 0.9, -0.2], [0.2, -0.4, 0.6, -0.3], [-0.2, 0.1, -0.3, 0.1]]),
    12.0, 31.0,
)  # fmt: skip


@pytest.mark.parametrize("name", [*RULES, "splines", "splines on one side"])
def test_weights_and_spikes_are_those_of_the_naive_twin(name):
    if name in RULES:
        rule = kernel_rule(Rule.parse(RULES[name]))
    else:
        rule = SPLINES if name == "splines" else SplineSpikeRule(None, SPLINES.on_post)
    outcome = assert_like_twin(TINY, rule.of_projection("IE"), {}, lively=False, seed=4, seconds=0.15)
    assert outcome.rates_hz["E"].mean() * 24 * 0.15 > 100
    assert len(set(outcome.state.weights("IE").round(6).tolist())) > 5


def test_connections_have_their_probability_and_the_two_indices_agree():
    outcome = balanced_run(LinearSpikeRule.vogels(5.0), balanced_network(400, 100, 0.1), 1e-4)
    layout = outcome.state.layout
    assert sum(len(one) for one in layout.synapses.values()) == pytest.approx(500 * 500 * 0.1, rel=0.03)
    plastic, wiring = layout.synapses["IE"], layout.wiring
    assert len(plastic) == pytest.approx(100 * 400 * 0.1, rel=0.06)
    assert plastic.target.max() < 400
    for n in range(0, 400, 37):
        for j in range(wiring.incoming_start[n], wiring.incoming_start[n + 1]):
            synapse = wiring.incoming_synapse[j] - layout.weights["IE"].start
            assert plastic.target[synapse] == n
            assert plastic.source[synapse] == wiring.incoming_source[j]


@pytest.mark.parametrize("probability", [0.001, 0.3, 1.0])
def test_subsets_are_sorted_and_of_their_size(probability):
    rng = np.random.default_rng(1)
    sizes = []
    for _ in range(300):
        picked = drawn_subset(500, probability, rng)
        assert np.all(np.diff(picked) > 0)
        assert not len(picked) or (picked[0] >= 0 and picked[-1] < 500)
        sizes.append(len(picked))
    assert np.mean(sizes) == pytest.approx(500 * probability, abs=5 * np.sqrt(500 * probability / 300) + 1e-9)


def test_vogels_rule_brings_a_network_to_its_rate():
    outcome = balanced_run(LinearSpikeRule.vogels(6.25), SMALL, 20.0, 12.0, seed=1)
    assert outcome.stop == Stop.RAN
    assert outcome.measured["E"].mean_rate_hz == pytest.approx(6.25, rel=0.2)
    assert outcome.measured["E"].mean_interval_cv > 0.5
    assert outcome.rates_hz["E"][0] > 50


def test_the_same_seed_gives_the_same_network_and_another_another():
    rule = LinearSpikeRule.vogels(5.0)
    first, again, other = (
        balanced_run(rule, TINY, 0.3, seed=seed).state.weights("IE") for seed in (3, 3, 4)
    )  # fmt: skip
    np.testing.assert_array_equal(first, again)
    assert len(first) != len(other) or np.any(first != other)


def test_activity_out_of_its_range_stops_a_run():
    limits = ActivityLimits(1.0, 20.0, 0.2, 0.2)
    wild = balanced_run(LinearSpikeRule(0, 0, 0, 0), TINY, 2.0, 1.0, limits=limits)
    assert wild.stop == Stop.TOO_ACTIVE
    assert wild.completed == pytest.approx(0.2)
    assert not wild.measured
    silent = balanced_network(24, 6, 0.4, **LIVELY, background_pa=0.0)
    quiet = balanced_run(LinearSpikeRule(0, 0, 0, 0), silent, 2.0, 1.0, limits=limits)
    assert quiet.stop == Stop.TOO_QUIET


def test_a_weight_that_is_no_number_ends_the_run():
    rule = kernel_rule(Rule.parse({"on_pre": "log(w - 10)"}))
    outcome = balanced_run(rule, TINY, 0.5)
    assert outcome.stop == Stop.NOT_A_NUMBER
    assert outcome.completed < 1


def test_drift_is_the_change_over_the_second_half_of_the_window():
    rule = LinearSpikeRule.vogels(5.0)
    whole, half = (balanced_run(rule, TINY, seconds, 0.1, seed=2) for seconds in (0.3, 0.2))
    change = whole.state.weights("IE") - half.state.weights("IE")
    np.testing.assert_allclose(whole.weight_drift["IE"], change / 0.1, rtol=1e-9, atol=1e-12)
    assert np.std(change) > 0.01


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"probability": 0.0}, "probability"),
        ({"n_inhibitory": 0}, "n is 1 to"),
        ({"background_pa": float("nan")}, "finite"),
        ({"weight": 200.0}, "from 0.0 to 100.0"),
        ({"learning_rate": -1.0}, "not negative"),
    ],
)
def test_impossible_networks_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        balanced_network(**{"n_excitatory": 24, "n_inhibitory": 6, "probability": 0.4, **change})


@pytest.mark.parametrize(("duration", "start"), [(0.0, 0.0), (1.0, 1.0), (float("inf"), 0.0), (1.0, -1.0)])
def test_impossible_times_are_refused(duration, start):
    with pytest.raises(ValueError, match="run"):
        balanced_run(LinearSpikeRule.vogels(5.0), TINY, duration, start)
