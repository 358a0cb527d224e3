"""The manifold of rules that balance a neuron: theory, covariances, and what a study says."""

from __future__ import annotations

import json

import numpy as np
import pytest

from discover.errors import TaskError
from discover.fit import FitSettings
from discover.journal import Journal
from discover.manifold import Manifold, Solution, covariances, judged, manifold, surface_rules
from discover.predict import LinearParameters, mean_field_rate
from discover.progress import silent
from discover.tasks import get_task
from discover.tasks._balance import SpikeTrains
from discover.tasks._balance_problems import BalanceSettings

TASK = get_task("ei-balance")
VOGELS = LinearParameters(-0.25, 0.0, 1.0, 1.0, 20.0, 20.0)


def poisson(rate_hz, seconds, rng):
    return np.sort(rng.uniform(0, 1000.0 * seconds, rng.poisson(rate_hz * seconds)))


def test_independent_trains_have_no_covariance():
    rng = np.random.default_rng(0)
    seconds, n = 400.0, 20
    rows = [(time, k) for k in range(n) for time in poisson(30.0, seconds, rng)]
    rows.sort()
    pre, source = (np.array(column) for column in zip(*rows, strict=True))
    trains = SpikeTrains(pre, source, poisson(8.0, seconds, rng))
    at_pre, at_post = covariances(trains, VOGELS, 1000.0, n)
    # Each mean is 30 * 8 * 0.02 = 4.8 a second.
    assert abs(at_pre) < 0.15
    assert abs(at_post) < 0.15


def test_covariances_of_trains_that_follow_each_other_by_hand():
    pre = np.arange(0, 100_000, 100.0)
    trains = SpikeTrains(pre, np.zeros(len(pre), dtype=int), pre + 10.0)
    at_pre, at_post = covariances(trains, VOGELS, 1000.0, 1)
    chance = 10 * 10 * 0.02
    memory = 1 / (1 - np.exp(-5))
    assert at_post == pytest.approx(10 * np.exp(-0.5) * memory - chance, rel=0.02)
    assert at_pre == pytest.approx(10 * np.exp(-4.5) * memory - chance, rel=0.02)


def test_rules_of_the_surface_are_predicted_at_the_target():
    for parameters in surface_rules(6.25, np.array([30.0, 50.0]), 50, np.random.default_rng(1)):
        assert mean_field_rate(parameters, 40.0) == pytest.approx(6.25)


def test_measured_covariances_explain_what_the_mean_field_leaves_out():
    settings = BalanceSettings(duration_s=40.0, measured_s=20.0, rate_spread=1.2)
    (one,) = judged(TASK, [VOGELS], TASK.draw(settings, 4, np.random.SeedSequence(3)))
    assert one.predicted_hz == pytest.approx(6.25)
    assert one.simulated_hz < 6.2
    assert abs(one.corrected_hz - one.simulated_hz) < abs(one.predicted_hz - one.simulated_hz)
    assert one.corrected_hz == pytest.approx(one.simulated_hz, rel=0.1)
    assert one.converged
    assert one.on_surface


def test_a_small_study_says_what_it_found():
    settings = BalanceSettings(n_excitatory=160, n_inhibitory=40, duration_s=1.0, measured_s=0.5)
    budget = FitSettings(optimiser="cmaes", population=4, steps=2, n_train=2, n_heldout=2)
    found = manifold(TASK, settings, budget, 2, seed=1, n_rate_only=1, n_surface=3)
    assert (len(found.searched), len(found.rate_only), len(found.surface)) == (2, 1, 3)
    assert set(found.answers) == {
        "on the surface",
        "not predicted",
        "covariance",
        "fails in simulation",
        "excluded by tuning",
    }
    again = manifold(TASK, settings, budget, 2, seed=1, n_rate_only=1, n_surface=3)
    assert again.to_json() == found.to_json()


class _CutOff(Exception):
    pass


def test_a_study_that_was_cut_off_goes_on_where_it_was(tmp_path, monkeypatch):
    settings = BalanceSettings(n_excitatory=80, n_inhibitory=24, duration_s=0.5, measured_s=0.25)
    budget = FitSettings(optimiser="cmaes", population=4, steps=2, n_train=2, n_heldout=2)
    options = {"seed": 1, "n_rate_only": 1, "n_surface": 3}
    whole = manifold(TASK, settings, budget, 2, **options)
    simulated = []
    simulate = type(TASK).losses_of_rules

    def counted(*arguments):
        simulated.append(arguments)
        return simulate(*arguments)

    monkeypatch.setattr(type(TASK), "losses_of_rules", counted)

    def study(progress=silent):
        with Journal(tmp_path / "journal", "p") as journal:
            return manifold(TASK, settings, budget, 2, progress=progress, journal=journal, **options)

    # Cut off within the second restart, then when all is found but not yet tried, and behind that.
    for message in ("restart 2", "held-out", "surface"):

        def stop(fraction, text, message=message):
            if message in text:
                raise _CutOff

        with pytest.raises(_CutOff):
            study(stop)
    again = study()
    assert json.dumps(again.to_json()) == json.dumps(whole.to_json())
    in_pieces = len(simulated)
    assert in_pieces > 3
    simulated.clear()
    (tmp_path / "journal").unlink()
    study()
    assert len(simulated) == in_pieces


def test_the_answers_name_rules_that_theory_misses_and_rules_that_fail():
    other = LinearParameters(-1.0, 0.1, 2.0, 1.0, 20.0, 20.0)
    off = Solution(other, 0.1, 6.0, 12.0, 6.1, 0.97, True, False)
    fine = Solution(VOGELS, 0.05, 6.1, 6.25, 6.1, 0.99, True, True)
    failing = Solution(VOGELS, 9.0, 80.0, 6.25, float("nan"), 0.2, False, False)
    answers = Manifold("ei-balance", 6.25, 40.0, 0.2, (off, fine), (), (fine, failing), ()).answers
    assert answers["not predicted"].startswith(
        "Which found rules does the algebra not predict? 1 of 2 converged ones lie off the surface: "
    )
    assert f"{other.rule} (predicted 12 Hz, simulated 6 Hz, tuning 0.97)" in answers["not predicted"]
    assert answers["fails in simulation"] == (
        "Which of its rules fail in simulation? 1 of 2 drawn from the surface: "
        f"{VOGELS.rule} (predicted 6.25 Hz, simulated 80 Hz, tuning 0.20). 1 of these leave inhibition "
        "untuned."
    )


def test_other_tasks_have_no_manifold():
    with pytest.raises(TaskError, match="tasks of balance"):
        manifold(get_task("oja"), None, FitSettings(), 1, 0)


def test_the_published_optimum_fires_below_its_target_as_covariances_say():
    """Parameters that were published as the optimum for 10 Hz in a recurrent network."""
    optimum = LinearParameters(-1.411, 0.016, 0.716, 1.081, 54.4, 97.5)
    settings = BalanceSettings(
        target_hz=10.0, duration_s=120.0, measured_s=80.0, learning_rate=0.001, rate_spread=1.2
    )
    (one,) = judged(TASK, [optimum], TASK.draw(settings, 4, np.random.SeedSequence(1)))
    assert one.predicted_hz == pytest.approx(9.75, abs=0.05)
    assert 8.5 < one.simulated_hz < 9.5
    assert one.corrected_hz == pytest.approx(one.simulated_hz, rel=0.03)
