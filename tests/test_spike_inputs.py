"""Input spikes have the statistics of one Bernoulli draw for each input and step."""

from __future__ import annotations

import math
from dataclasses import replace

import naive_spiking as naive
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray
from scipy import stats

from sims.circuits import (
    BLOCK_STEPS,
    FeedforwardCircuit,
    FeedforwardProblems,
    InputSpikes,
    InputStream,
    draw_input_spikes,
)

CIRCUIT = FeedforwardCircuit(n_excitatory=48, n_inhibitory=16, n_channels=4)
CHANNELS = np.concatenate([np.arange(48) % 4, np.arange(16) % 4])
STRONG = replace(CIRCUIT, signal_gain_hz=5e5)
"""Probabilities far beyond those for which a polynomial bounds the hazard."""


def problems(circuit: FeedforwardCircuit, factors: list[float], seeds: list[int]) -> FeedforwardProblems:
    n = len(seeds)
    ones = np.ones((n, circuit.n_excitatory)), np.ones((n, circuit.n_inhibitory))
    return FeedforwardProblems(*ones, CHANNELS, factors, seeds)


def drawn(circuit: FeedforwardCircuit, factor: float, seed: int, duration_s: float) -> InputSpikes:
    return draw_input_spikes(circuit, problems(circuit, [factor], [seed]), duration_s)[0]


def intervals(spikes: InputSpikes) -> NDArray[np.int64]:
    order = np.lexsort((spikes.step, spikes.source))
    step, source = spikes.step[order], spikes.source[order]
    return np.diff(step)[np.diff(source) == 0]


def counts(spikes: InputSpikes, n_steps: int, bin_steps: int = 200) -> NDArray[np.float64]:
    """Spikes of each input in bins of 20 ms, shape (n_inputs, n_bins)."""
    n_bins = n_steps // bin_steps
    table = np.zeros((CIRCUIT.n_inputs, n_bins + 1))
    np.add.at(table, (spikes.source, np.minimum(spikes.step // bin_steps, n_bins)), 1)
    return table[:, :n_bins]


def channel_rates(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Spikes of all inputs of each channel in each half second, shape (n_channels, n)."""
    by_channel = np.array([table[c == CHANNELS].sum(axis=0) for c in range(4)])
    return by_channel.reshape(4, -1, 25).sum(axis=-1)


def signal_noise(circuit: FeedforwardCircuit, seed: int, n_steps: int) -> NDArray[np.float64]:
    """The noise between -1 and 1 that the signals of a problem with this seed follow."""
    rng = np.random.default_rng(np.random.SeedSequence(seed).spawn(2)[0])
    shape = circuit.n_channels, BLOCK_STEPS
    whole = [rng.integers(0, 2**32, size=shape, dtype=np.uint32) for _ in range(0, n_steps, BLOCK_STEPS)]
    blocks = [block.view(np.int32).T for block in whole]
    return np.concatenate(blocks)[:n_steps] / 2.0**31


def correlations(table: NDArray[np.float64]) -> tuple[float, float]:
    """Mean correlation of pairs of inputs in one channel, and in different ones."""
    r = np.corrcoef(table)
    one = CHANNELS[:, None] == CHANNELS[None, :]
    return float(r[one & ~np.eye(len(r), dtype=bool)].mean()), float(r[~one].mean())


@pytest.mark.parametrize(("circuit", "factor"), [(CIRCUIT, 1.0), (CIRCUIT, 0.4), (STRONG, 1.0)])
def test_statistics_are_those_of_a_bernoulli_draw(circuit: FeedforwardCircuit, factor: float) -> None:
    n_steps = 100_000
    fast = drawn(circuit, factor, 3, n_steps * 1e-4)
    # The twin gets the same signals, whose slow changes would hide everything else.
    noise = signal_noise(circuit, 3, n_steps)
    slow = naive.bernoulli_spikes(circuit, CHANNELS, factor, noise, np.random.default_rng(4))
    # Spikes vary less than those of a Poisson process: this allows five standard errors of a difference.
    assert_allclose(len(fast.step), len(slow.step), rtol=5 * math.sqrt(2 / len(slow.step)))
    assert intervals(fast).min() >= circuit.input_refractory_steps
    assert stats.ks_2samp(intervals(fast), intervals(slow)).statistic < 0.03
    fast_table, slow_table = counts(fast, n_steps), counts(slow, n_steps)
    (within, between), (slow_within, slow_between) = correlations(fast_table), correlations(slow_table)
    assert_allclose(within, slow_within, atol=0.02)
    assert_allclose(between, slow_between, atol=0.02)
    assert within > between + 0.15
    assert_allclose(fast_table.var(axis=1).mean(), slow_table.var(axis=1).mean(), rtol=0.04)
    # Channel by channel and second by second, both follow the signals.
    fast_rates, slow_rates = channel_rates(fast_table), channel_rates(slow_table)
    assert_allclose(fast_rates, slow_rates, atol=5 * math.sqrt(2 * slow_rates.max()))


@pytest.mark.parametrize("probability", [0.0005, 0.05, 0.35, 0.45, 0.9])
@pytest.mark.parametrize("refractory_ms", [0.1, 0.5])
def test_constant_probabilities_give_geometric_intervals(probability: float, refractory_ms: float) -> None:
    circuit = replace(
        CIRCUIT, base_rate_hz=probability * 1e4, signal_gain_hz=0.0, input_refractory_ms=refractory_ms
    )
    spikes = drawn(circuit, 1.0, 5, 0.5 if probability > 0.01 else 5.0)
    waited = intervals(spikes) - circuit.input_refractory_steps
    n, n_steps = len(waited), 5_000 if probability > 0.01 else 50_000
    mean = (1 - probability) / probability
    # Intervals that are cut off by the end are short ones more often: allow what five errors and this give.
    assert_allclose(
        waited.mean(),
        mean,
        atol=5 * math.sqrt(1 - probability) / probability / math.sqrt(n) + mean**2 / n_steps,
    )
    expected = stats.geom.pmf(np.arange(1, 6), probability)
    observed = np.array([(waited == k).mean() for k in range(5)])
    assert_allclose(observed, expected, atol=5 * np.sqrt(0.25 / n) + 0.001)


def test_inputs_of_a_channel_spike_independently_given_the_signal() -> None:
    circuit = replace(CIRCUIT, base_rate_hz=2000.0, signal_gain_hz=0.0, input_refractory_ms=0.1)
    spikes = drawn(circuit, 1.0, 6, 2.0)
    together = np.bincount(spikes.step, minlength=20_000)
    # Refractory for one step: the numbers of steps are those of independent inputs, so variances add up.
    single = np.zeros((64, 20_000))
    single[spikes.source, spikes.step] = 1
    assert_allclose(together.var(), single.var(axis=1).sum(), rtol=0.06)
    assert_allclose(single.mean(axis=1), 0.2, atol=5 * math.sqrt(0.16 / 20_000))
    r = np.corrcoef(single) - np.eye(64)
    assert np.abs(r).max() < 5.5 / math.sqrt(20_000)


@pytest.mark.parametrize("circuit", [CIRCUIT, STRONG])
def test_pieces_do_not_change_spikes(circuit: FeedforwardCircuit) -> None:
    whole = drawn(circuit, 1.0, 3, 0.5)
    stream, step, source, first = InputStream(circuit, CHANNELS, 1.0, 3), [], [], 0
    for n_steps in (1, 2, 3, 994, 4000):
        start, inputs = stream.draw(n_steps)
        # Excitatory inputs and the others of each step in turn.
        step.append(np.repeat(first + np.arange(2 * n_steps) // 2, np.diff(start)))
        assert_array_equal(
            inputs >= circuit.n_excitatory, np.repeat(np.arange(2 * n_steps) % 2, np.diff(start))
        )
        source.append(inputs)
        first += n_steps
    assert_array_equal(np.concatenate(step), whole.step)
    assert_array_equal(np.concatenate(source), whole.source)


def test_seeds_make_the_spikes() -> None:
    one, same, other = draw_input_spikes(CIRCUIT, problems(CIRCUIT, [1.0] * 3, [1, 1, 2]), 0.2)
    assert_array_equal(one.source, same.source)
    assert len(one.source) != len(other.source) or (one.source != other.source).any()


def test_a_silent_circuit_has_no_spikes() -> None:
    assert len(drawn(CIRCUIT, 0.0, 1, 1.0).step) == 0


def test_signals_keep_their_statistics_at_another_step() -> None:
    rates = []
    for dt_ms in (0.1, 0.05):
        circuit = replace(CIRCUIT, dt_ms=dt_ms)
        rates.append(len(drawn(circuit, 1.0, 8, 20.0).step) / 20.0)
    assert_allclose(rates[0], rates[1], rtol=0.06)


def test_empty_channels_get_no_spikes() -> None:
    circuit = FeedforwardCircuit(n_excitatory=3, n_inhibitory=2, n_channels=6)
    channels = np.array([1, 1, 4, 4, 1])
    one = np.ones((1, 3)), np.ones((1, 2))
    spikes = draw_input_spikes(circuit, FeedforwardProblems(*one, channels, [1.0], [1]), 5.0)[0]
    rates = np.bincount(spikes.source, minlength=5) / 5.0
    assert (rates > 20).all()
    assert (rates < 90).all()
