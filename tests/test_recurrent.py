"""The recurrent network: against its naive twin, its connections, its rates, and how runs end."""

from __future__ import annotations

from dataclasses import replace

import naive_recurrent
import numpy as np
import pytest

from discover.rule import Rule
from discover.tasks._balance import kernel_rule
from sims import recurrent
from sims.recurrent import RecurrentNetwork, simulate_recurrent
from sims.spike_rules import ActivityLimits, LinearSpikeRule
from sims.spiking import Stop
from sims.synapses import drawn_subset

TINY = RecurrentNetwork(24, 6, 0.4, initial_weight=0.5, excitatory_ns=2.0, learning_rate=0.2)
SMALL = RecurrentNetwork(800, 200, 0.2, learning_rate=0.05)

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


@pytest.mark.parametrize("text", RULES.values(), ids=RULES.keys())
def test_weights_and_spikes_are_those_of_the_naive_twin(text):
    rule = Rule.parse(text)
    n_steps = 1500
    run = recurrent._Run(kernel_rule(rule), TINY, np.random.default_rng(4))
    voltage = run.state.voltage.astype(np.float64)
    spikes, weights = naive_recurrent.run(rule, TINY, run.wiring, voltage, n_steps)
    outcome = run.simulate(n_steps, 0, ActivityLimits(0.0, 1e9, 1.0, 0.0))
    counted = sum(source < TINY.n_excitatory for _, source in spikes)
    assert outcome.rate_hz == pytest.approx(counted / TINY.n_excitatory / 0.15)
    assert counted > 100
    found = {}
    for k in range(TINY.n_inhibitory):
        for s in range(run.wiring.plastic_start[k], run.wiring.plastic_start[k + 1]):
            found[k, int(run.wiring.plastic_target[s])] = outcome.weights[s]
    assert found.keys() == weights.keys()
    for synapse, weight in weights.items():
        assert found[synapse] == pytest.approx(weight, rel=1e-9, abs=1e-12)
    assert len({round(weight, 6) for weight in weights.values()}) > 5


def test_factors_that_have_decayed_to_nothing_begin_anew():
    fast = replace(TINY, tau_excitatory_ms=0.3, tau_inhibitory_ms=0.5, excitatory_ns=20.0)
    rule = Rule.parse(
        {"on_pre": "x_post - 0.25", "on_post": "x_pre + 0.05", "tau_pre": "0.4", "tau_post": "0.7"}
    )
    run = recurrent._Run(kernel_rule(rule), fast, np.random.default_rng(4))
    _, weights = naive_recurrent.run(rule, fast, run.wiring, run.state.voltage.astype(np.float64), 1500)
    outcome = run.simulate(1500, 0, ActivityLimits(0.0, 1e9, 1.0, 0.0))
    assert np.all(run.state.scales > np.exp(-0.1 * 1500 / 0.3))
    found = {
        (k, int(run.wiring.plastic_target[s])): outcome.weights[s]
        for k in range(fast.n_inhibitory)
        for s in range(run.wiring.plastic_start[k], run.wiring.plastic_start[k + 1])
    }
    assert found == pytest.approx(weights, rel=1e-9, abs=1e-12)


def test_connections_have_their_probability_and_the_two_indices_agree():
    network = RecurrentNetwork(400, 100, 0.1)
    wiring = recurrent._drawn_wiring(network, np.random.default_rng(0))
    n_fixed, n_plastic = len(wiring.target), len(wiring.plastic_target)
    assert n_fixed + n_plastic == pytest.approx(500 * 500 * 0.1, rel=0.03)
    assert n_plastic == pytest.approx(100 * 400 * 0.1, rel=0.06)
    assert wiring.plastic_target.max() < 400
    assert wiring.target[wiring.start[400] :].min() >= 400
    for n in range(0, 400, 37):
        for j in range(wiring.incoming_start[n], wiring.incoming_start[n + 1]):
            synapse, source = wiring.incoming_synapse[j], wiring.incoming_source[j]
            assert wiring.plastic_target[synapse] == n
            assert wiring.plastic_start[source] <= synapse < wiring.plastic_start[source + 1]


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
    outcome = simulate_recurrent(LinearSpikeRule.vogels(6.25), SMALL, 20.0, 12.0, seed=1)
    assert outcome.stop == Stop.RAN
    assert outcome.rate_hz == pytest.approx(6.25, rel=0.2)
    assert outcome.interval_cv > 0.5
    assert outcome.rates_hz[0, 0] > 50


def test_the_same_seed_gives_the_same_network_and_another_another():
    rule = LinearSpikeRule.vogels(5.0)
    first, again, other = (simulate_recurrent(rule, TINY, 0.3, seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.weights, again.weights)
    assert len(first.weights) != len(other.weights) or np.any(first.weights != other.weights)


def test_activity_out_of_its_range_stops_a_run():
    limits = ActivityLimits(1.0, 20.0, 0.2, 0.2)
    wild = simulate_recurrent(LinearSpikeRule(0, 0, 0, 0), TINY, 2.0, 1.0, limits=limits)
    assert wild.stop == Stop.TOO_ACTIVE
    assert wild.completed == pytest.approx(0.2)
    assert np.isnan(wild.rate_hz)
    silent = replace(TINY, background_pa=0.0)
    quiet = simulate_recurrent(LinearSpikeRule(0, 0, 0, 0), silent, 2.0, 1.0, limits=limits)
    assert quiet.stop == Stop.TOO_QUIET


def test_a_weight_that_is_no_number_ends_the_run():
    rule = kernel_rule(Rule.parse({"on_pre": "log(w - 10)"}))
    outcome = simulate_recurrent(rule, TINY, 0.5)
    assert outcome.stop == Stop.NOT_A_NUMBER
    assert outcome.completed < 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"connection_probability": 0.0}, "connection probability"),
        ({"n_inhibitory": 0}, "n_inhibitory"),
        ({"reset_mv": -40.0}, "reset"),
        ({"dt_ms": float("nan")}, "finite"),
        ({"initial_weight": 200.0}, "Weights go up"),
        ({"learning_rate": -1.0}, "positive"),
    ],
)
def test_impossible_networks_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(TINY, **change)


@pytest.mark.parametrize(("duration", "start"), [(0.0, 0.0), (1.0, 1.0), (float("inf"), 0.0), (1.0, -1.0)])
def test_impossible_times_are_refused(duration, start):
    with pytest.raises(ValueError, match="run"):
        simulate_recurrent(LinearSpikeRule.vogels(5.0), TINY, duration, start)
