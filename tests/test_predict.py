"""What an experiment would see: pairing curves, rate maps and the mean field, against numbers by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from discover.errors import RuleError
from discover.known_rules import get_known_rule
from discover.predict import (
    LinearParameters,
    linear_parameters,
    mean_field_rate,
    pairing_frequency,
    rate_dependence,
    stdp_window,
)
from discover.rule import Rule

VOGELS = get_known_rule("vogels").rule
ADDITIVE = Rule.parse({"on_pre": "-1.05*x_post", "on_post": "x_pre"})
NUMBER = st.floats(-3, 3)


def naive_pairs(parameters, lag, n_pairs, period):
    """Change of an unbounded weight under the linear family, spike by spike over all earlier spikes."""
    pre = [period * n for n in range(n_pairs)]
    post = [period * n + lag for n in range(n_pairs)]
    total = 0.0
    for time in pre:
        trace = sum(np.exp(-(time - other) / parameters.tau_post) for other in post if other < time)
        total += parameters.alpha + parameters.kappa * trace
    for time in post:
        trace = sum(np.exp(-(time - other) / parameters.tau_pre) for other in pre if other <= time)
        total += parameters.beta + parameters.gamma * trace
    return total


def test_vogels_window_is_symmetric_with_a_depression_at_long_lags():
    lags = np.array([5.0, 20.0, 200.0])
    change = stdp_window(VOGELS, lags, weight=1.0, n_pairs=1)
    np.testing.assert_allclose(change, np.exp(-lags / 20) - 0.25, rtol=1e-12)
    np.testing.assert_allclose(stdp_window(VOGELS, -lags, weight=1.0, n_pairs=1), change, rtol=1e-12)


def test_additive_window_by_hand():
    change = stdp_window(ADDITIVE, [-20.0, 20.0], weight=0.5, learning_rate=0.01, n_pairs=1)
    np.testing.assert_allclose(change, 0.01 * np.array([-1.05, 1.0]) * np.exp(-1), rtol=1e-12)


def test_at_a_tie_the_presynaptic_spike_comes_first():
    (change,) = stdp_window(ADDITIVE, [0.0], weight=0.5, n_pairs=1)
    assert change == pytest.approx(1.0)


def test_weights_stay_within_their_bounds():
    high = stdp_window(ADDITIVE, [1.0], weight=0.9, largest_weight=1.0, n_pairs=60)
    low = stdp_window(ADDITIVE, [-1.0], weight=0.1, largest_weight=1.0, n_pairs=60)
    np.testing.assert_allclose([high[0], low[0]], [0.1, -0.1])


@given(
    st.builds(LinearParameters, NUMBER, NUMBER, NUMBER, NUMBER, st.floats(2, 100), st.floats(2, 100)),
    st.floats(-60, 60),
    st.integers(1, 8),
    st.floats(0.5, 80),
)
@settings(max_examples=100, deadline=None)
def test_pairs_against_the_naive_twin(parameters, lag, n_pairs, frequency):
    period = 1000.0 / frequency
    (found,) = stdp_window(
        parameters.rule, [lag], weight=1e6, n_pairs=n_pairs, frequency_hz=frequency, learning_rate=1.0
    )
    assert found == pytest.approx(naive_pairs(parameters, lag, n_pairs, period), rel=1e-6, abs=1e-6)


def test_potentiation_by_pairs_grows_with_their_frequency():
    low, high = pairing_frequency(VOGELS, [0.5, 40.0], 10.0, weight=1.0, n_pairs=20)
    assert low == pytest.approx(20 * (np.exp(-0.5) - 0.25), rel=1e-6)
    assert high > 2 * low


def test_drift_is_zero_on_the_mean_field_rate_and_pushes_towards_it():
    parameters = LinearParameters(-1.411, 0.016, 0.716, 1.081, 54.4, 97.5)
    pre = np.array([5.0, 10.0, 40.0])
    rate = mean_field_rate(parameters, pre)
    drift = rate_dependence(parameters.rule, pre, rate, weight=1.0).drift
    np.testing.assert_allclose(np.diag(drift), 0, atol=1e-12)
    assert np.all(np.diag(rate_dependence(parameters.rule, pre, 1.2 * rate, weight=1.0).drift) > 0)
    assert np.all(np.diag(rate_dependence(parameters.rule, pre, 0.8 * rate, weight=1.0).drift) < 0)


def test_the_published_optimum_is_predicted_below_its_target():
    parameters = LinearParameters(-1.411, 0.016, 0.716, 1.081, 54.4, 97.5)
    assert 9.6 < mean_field_rate(parameters, 10.0) < 9.7


def test_vogels_is_predicted_at_its_target_whatever_the_input():
    np.testing.assert_allclose(mean_field_rate(linear_parameters(VOGELS), [1.0, 10.0, 80.0]), 6.25)


@pytest.mark.parametrize(("alpha", "beta"), [(0.2, 0.0), (-0.2, -5.0)])
def test_an_unstable_rule_has_no_rate(alpha, beta):
    assert np.isnan(mean_field_rate(LinearParameters(alpha, beta, 1.0, 1.0, 20.0, 20.0), 10.0))


def test_drift_of_a_nonlinear_rule_against_its_exact_mean():
    rule = Rule.parse({"on_pre": "x_post**2 - 0.5*x_post*w", "on_post": "0"})
    pre, post = np.array([10.0]), np.array([5.0, 30.0])
    drift = rate_dependence(rule, pre, post, weight=0.6, seed=3).drift
    mean = post * 0.02
    exact = 10.0 * (mean**2 + mean / 2 - 0.3 * mean)
    np.testing.assert_allclose(drift[0], exact, rtol=0.1)


def test_rules_of_other_synapses_are_refused():
    with pytest.raises(RuleError, match="spiking"):
        stdp_window(Rule.parse("x*y"), [1.0], weight=1.0)


def test_only_the_published_family_has_its_parameters():
    assert linear_parameters(Rule.parse({"on_pre": "x_post*w", "on_post": "x_pre"})) is None
    assert linear_parameters(Rule.parse({"on_pre": "tanh(x_post)", "on_post": "x_pre"})) is None
    parameters = LinearParameters(-0.3, 0.1, 0.7, 0.0, 15.0, 40.0)
    assert linear_parameters(parameters.rule) == parameters
