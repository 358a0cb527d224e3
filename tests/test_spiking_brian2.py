"""The feed-forward circuit beside Brian2, with the same input spikes and with its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from benchmarks.brian import FEEDFORWARD_SCRIPT, feedforward_arguments
from sims.spike_rules import LinearSpikeRule
from sims.spiking import (
    FeedforwardCircuit,
    FeedforwardProblems,
    InputSpikes,
    draw_input_spikes,
    published_problems,
    simulate_feedforward,
)

CIRCUIT = FeedforwardCircuit()


pytestmark = pytest.mark.usefixtures("brian2")


def run_in_brian(
    folder: Path,
    rule: LinearSpikeRule,
    problems: FeedforwardProblems,
    duration_s: float,
    events: InputSpikes | None,
    target: str,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Spikes (as steps) and final inhibitory weights of the first problem."""
    if events is not None:
        np.savez(folder / "spikes.npz", step=events.step, source=events.source)
    arguments = feedforward_arguments(
        CIRCUIT, problems, rule, duration_s, target=target, given=events is not None, seed=11
    )
    (folder / "arguments.json").write_text(json.dumps(arguments), encoding="utf-8")
    result = folder / "result.npz"
    command = [sys.executable, str(FEEDFORWARD_SCRIPT), str(folder / "arguments.json"), str(result)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    with np.load(result) as arrays:
        return arrays["step"], arrays["weights"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "rule",
    [LinearSpikeRule.vogels(6.25), LinearSpikeRule(-0.3, 0.2, 1.5, 0.4, 12.0, 33.0)],
    ids=["vogels", "asymmetric"],
)
def test_equals_brian_on_the_same_input_spikes(rule: LinearSpikeRule, tmp_path: Path) -> None:
    problems = published_problems(CIRCUIT, seeds=[5], inhibitory_weight=0.4)
    events = draw_input_spikes(CIRCUIT, problems, 2.0)
    ours = simulate_feedforward(rule, problems, 2.0, events=events, keep_spikes=1000)
    step, weights = run_in_brian(tmp_path, rule, problems, 2.0, events[0], "numpy")
    times = ours.spike_times_s[0, 0]
    assert len(step) > 20
    assert_array_equal(np.round(times[np.isfinite(times)] / 1e-4), step)
    assert_allclose(ours.inhibitory_weights[0, 0], weights, rtol=1e-9, atol=1e-12)


N_RUNS = 60
"""Runs from which the spread of a channel's weights is estimated; from 20 it can be off by a third."""


@pytest.mark.slow
def test_agrees_with_brian_on_its_own_input_spikes(tmp_path: Path) -> None:
    rule = LinearSpikeRule.vogels(6.25)
    start = simulate_feedforward(rule, published_problems(CIRCUIT, seeds=[5]), 60.0)
    first = published_problems(CIRCUIT, seeds=range(20, 20 + N_RUNS))
    balanced = FeedforwardProblems(
        np.repeat(published_problems(CIRCUIT, seeds=[5]).excitatory_weights, N_RUNS, axis=0),
        np.repeat(start.inhibitory_weights[0], N_RUNS, axis=0),
        first.channels, first.rate_factor, first.seeds,
    )  # fmt: skip
    ours = simulate_feedforward(rule, balanced, 20.0)
    step, weights = run_in_brian(tmp_path, rule, balanced, 20.0, None, "numpy")
    # Many runs of ours say how much one run differs from another; that of Brian2 is one more of them.
    by_channel = ours.inhibitory_weights[0].reshape(N_RUNS, 8, 25).mean(axis=-1)
    spread = by_channel.std(axis=0, ddof=1)
    assert (np.abs(weights.reshape(8, 25).mean(axis=-1) - by_channel.mean(axis=0)) < 4 * spread).all()
    assert abs(len(step) / 20.0 - ours.rate_hz.mean()) < 4 * ours.rate_hz.std(ddof=1)
    within = ours.inhibitory_weights[0].reshape(N_RUNS, 8, 25).std(axis=-1).mean(axis=0)
    assert_allclose(weights.reshape(8, 25).std(axis=-1).mean(), within.mean(), rtol=0.2)
