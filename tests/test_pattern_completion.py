"""Patterns that are completed from memory: the network, its gradients, and what is compared."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import pattern_completion
from benchmarks.pattern_completion import (
    DRIVE,
    Episodes,
    Network,
    Settings,
    compared,
    drawn_episodes,
    learned,
    networks,
)  # fmt: skip

SMALL = Settings(n_neurons=6, n_patterns=2, n_shown=2, n_pause=1, n_asked=2)
KINDS = [
    Network(6, plasticity, has_fixed, is_shared)  # type: ignore[arg-type]
    for plasticity in ("none", "hebb", "oja")
    for has_fixed in (True, False)
    for is_shared in (True, False)
    if plasticity != "none" or (has_fixed and is_shared)
]


def weakly_driven(n_episodes: int, seed: int = 0) -> Episodes:
    """Episodes whose inputs leave activities room to move."""
    drawn = drawn_episodes(SMALL, n_episodes, np.random.default_rng(seed))
    return Episodes(drawn.drive / DRIVE, drawn.target, drawn.missing)


def slow_run(network: Network, w: Any, alpha: Any, eta: float, drive: Any) -> Any:
    """Return the last activities of one episode, synapse by synapse."""
    n = network.n_neurons
    x, trace = np.zeros(n), np.zeros((n, n))
    for now in drive:
        after = np.zeros(n)
        for j in range(n):
            inputs = [(w[i, j] + alpha[i, j] * trace[i, j]) * x[i] for i in range(n) if i != j]
            after[j] = np.tanh(now[j] + sum(inputs))
        for i in range(n):
            for j in range(n):
                lost = trace[i, j] * (after[j] ** 2 if network.plasticity == "oja" else 1.0)
                trace[i, j] += eta * (x[i] * after[j] - lost)
        x = after
    return x


@pytest.mark.parametrize("plasticity", ["hebb", "oja"])
def test_a_run_is_what_the_equations_say(plasticity: Any) -> None:
    network, rng = Network(6, plasticity, has_fixed=True, is_shared=False), np.random.default_rng(0)
    point, episodes = rng.normal(0, 0.4, network.n_parameters), weakly_driven(3)
    w, alpha = point[:36].reshape(6, 6), point[36:72].reshape(6, 6)
    eta = 1 / (1 + np.exp(-point[-1]))
    found = network.run(point, episodes).activities[-1]
    expected = [slow_run(network, w, alpha, eta, episodes.drive[:, k]) for k in range(3)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("network", KINDS)
def test_gradients_are_those_of_central_differences(network: Network) -> None:
    rng, episodes = np.random.default_rng(1), weakly_driven(11)
    point = rng.normal(0, 0.3, network.n_parameters)
    found = network.gradient(point, episodes)
    for n in range(len(point)):
        step = np.zeros_like(point)
        step[n] = 1e-5
        ends = [network.losses(point + sign * step, episodes).mean() for sign in (1, -1)]
        assert found[n] == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("plasticity", ["hebb", "oja"])
def test_a_network_with_an_alpha_of_each_synapse_can_be_the_shared_rule(plasticity: Any) -> None:
    shared, whole = Network(6, plasticity, False, True), Network(6, plasticity, True, False)
    rule, episodes = np.array([1.5, -2.0]), weakly_driven(20)
    assert np.array_equal(shared.losses(rule, episodes), whole.losses(whole.start_from(rule), episodes))


def test_episodes_ask_for_half_of_a_pattern_that_was_shown() -> None:
    settings = Settings()
    episodes = drawn_episodes(settings, 40, np.random.default_rng(0))
    assert set(np.unique(episodes.target)) == {-1.0, 1.0}
    assert np.all(episodes.missing.sum(axis=1) == settings.n_neurons // 2)
    given = np.where(episodes.missing, 0.0, DRIVE * episodes.target)
    assert np.array_equal(episodes.drive[-settings.n_asked :], np.tile(given, (settings.n_asked, 1, 1)))
    shown = np.all(episodes.drive == DRIVE * episodes.target, axis=2).sum(axis=0)
    assert np.all(shown == settings.n_rounds * settings.n_shown)


def test_bits_resemble_their_neighbours_within_reach() -> None:
    for reach, least, most in ((0.0, -0.05, 0.05), (2.0, 0.5, 0.9)):
        target = drawn_episodes(Settings(reach=reach), 400, np.random.default_rng(0)).target
        assert least < np.mean(target * np.roll(target, 1, axis=1)) < most
        assert abs(target.mean()) < 0.05


def test_activities_of_zero_lose_one_and_a_good_alpha_less() -> None:
    episodes = drawn_episodes(Settings(n_patterns=3), 40, np.random.default_rng(0))
    network = Network(50, "hebb", False, True)
    nothing, hebbian = np.array([0.0, -4.6]), np.array([3.0, -4.6])
    assert np.all(network.losses(nothing, episodes) == 1)
    assert np.all(network.bit_errors(nothing, episodes) == 0.5)
    assert network.losses(hebbian, episodes).mean() < 0.75
    assert network.bit_errors(hebbian, episodes).mean() < 0.2


def test_a_shared_rule_is_learnt() -> None:
    settings, network = Settings(n_neurons=16, n_patterns=2), networks(16)["Oja, shared"]
    rng, episodes = np.random.default_rng(0), drawn_episodes(Settings(16, 2), 60, np.random.default_rng(1))
    start = network.start(rng)
    point = learned(network, settings, start, 30, rng)
    assert network.losses(point, episodes).mean() < network.losses(start, episodes).mean()


def test_all_learners_are_compared() -> None:
    found = compared(SMALL, 0, 1, n_steps=2, n_steps_shared=2, n_test=20)
    rows = {row["learner"]: row for row in found["rows"]}
    assert set(networks(6)) < set(rows)
    assert len(rows) == len(networks(6)) + 1
    assert rows[found["formula"]]["more_than_formula"] == [0, 0, 0]
    assert all(0 <= row["bit_error"] <= 1 for row in rows.values())


def test_the_command_writes_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "found.json"
    words = "--reaches 0 --starts 1 --steps 1 --shared-steps 1 --neurons 6 --patterns 2 --episodes 8 --output"
    monkeypatch.setattr("sys.argv", ["pattern_completion", *words.split(), str(path)])
    pattern_completion.main()
    assert '"bit_error"' in path.read_text()
    assert "Oja, per synapse" in capsys.readouterr().out
