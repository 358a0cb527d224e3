"""Rewarded trials of a spiking neuron against their slow twin; its eligibility is the policy gradient."""

from dataclasses import replace

import numpy as np
import pytest
from naive_trials import eligibility, own_spikes
from naive_trials import run as run_slowly

from discover.rule import Rule
from sims.trials import EscapeNeuron, Stimuli, run_trials

NEURON = EscapeNeuron(
    threshold_mv=6.0, rate_hz=20.0, delta_mv=1.0, tau_eligibility_ms=30.0, step_ms=1.0, refractory_ms=3.0
)
N_STEPS = 40


def program_of(text: str):
    return Rule.parse({"reward": text}).program("reward")


def drawn(n_problems: int = 2, n_trials: int = 6, seed: int = 0) -> tuple[Stimuli, np.ndarray]:
    rng = np.random.default_rng(seed)
    n_stimuli, n_inputs, n_spikes = 3, 4, 9
    places = np.arange(n_problems * n_stimuli + 1) * n_spikes
    steps = np.sort(rng.integers(N_STEPS, size=(n_problems * n_stimuli, n_spikes)), axis=1)
    stimuli = Stimuli(
        np.stack([places[p * n_stimuli : (p + 1) * n_stimuli + 1] for p in range(n_problems)]),
        steps.ravel(),
        rng.integers(n_inputs, size=steps.size),
        rng.integers(n_stimuli, size=(n_problems, n_trials)),
        rng.random((n_problems, n_stimuli)) < 0.5,
        rng.exponential(size=(n_problems, n_trials, 2)),
        N_STEPS,
    )
    return stimuli, rng.normal(0.8, 0.6, (n_problems, n_inputs))


def spikes_of(stimuli: Stimuli, p: int, k: int) -> list[tuple[int, int]]:
    part = slice(*stimuli.first_spike[p, stimuli.order[p, k] :][:2])
    return list(zip(stimuli.step[part].tolist(), stimuli.source[part].tolist(), strict=True))


def test_eligibility_is_the_derivative_of_the_log_probability_of_the_spikes() -> None:
    stimuli, weights = drawn(n_problems=3)
    run = run_trials(program_of("0*E"), stimuli, weights, NEURON, learning_rate=1.0, mean_trials=5, n_kept=6)
    n_spikes = []
    for p in range(3):
        for k in range(6):
            spikes = spikes_of(stimuli, p, k)
            own = own_spikes(spikes, weights[p], NEURON, N_STEPS, stimuli.draws[p, k])
            n_spikes.append(len(own))
            expected = eligibility(spikes, weights[p], NEURON, N_STEPS, own)
            np.testing.assert_allclose(run.eligibilities[p, k], expected, rtol=1e-4, atol=1e-7)
            did_right = bool(own) == stimuli.targets[p, stimuli.order[p, k]]
            assert run.rewards[p, k] == (1 if did_right else -1)
    assert max(n_spikes) > 2 > min(n_spikes)
    np.testing.assert_array_equal(run.weights, weights)
    np.testing.assert_array_equal(run.weights_before, np.repeat(weights[:, None], 6, axis=1))


BELIEVED = replace(NEURON, believed_hz=30.0, believed_delta_mv=4.0)
"""Synapses that take the neuron for one which spikes more easily."""


@pytest.mark.parametrize("neuron", [NEURON, BELIEVED], ids=["exact", "believed"])
@pytest.mark.parametrize("text", ["(R - 1)*E", "(R - Rbar)*E/(1 + Rpos)", "R*tanh(E) - 0.1*w + 0.2*Rbar"])
def test_learning_is_that_of_the_slow_twin(text: str, neuron: EscapeNeuron) -> None:
    stimuli, weights = drawn()
    run = run_trials(program_of(text), stimuli, weights, neuron, learning_rate=0.2, mean_trials=3.0)
    for p in range(2):
        rewards, final = run_slowly(program_of(text), stimuli, weights[p], neuron, 0.2, 3.0, p)
        np.testing.assert_array_equal(run.rewards[p], rewards)
        np.testing.assert_allclose(run.weights[p], final, rtol=1e-4, atol=1e-7)


def test_the_mean_eligibility_is_zero() -> None:
    """Probabilities sum to one, and so their logarithms have derivatives that are zero in the mean."""
    stimuli, weights = drawn(n_problems=1, n_trials=20_000)
    neuron = replace(NEURON, tau_eligibility_ms=1e9)
    stimuli = replace(stimuli, order=np.zeros_like(stimuli.order))
    run = run_trials(
        program_of("0*E"), stimuli, weights, neuron, learning_rate=1.0, mean_trials=5, n_kept=20_000
    )
    e = run.eligibilities[0]
    active = e.std(axis=0) > 0
    assert active.sum() > 1
    assert np.abs(e.mean(axis=0)[active] / (e.std(axis=0)[active] / np.sqrt(20_000))).max() < 4


def test_what_synapses_believe_changes_their_eligibility_and_not_the_neuron() -> None:
    stimuli, weights = drawn()
    exact, believed = (
        run_trials(program_of("0*E"), stimuli, weights, neuron, learning_rate=1.0, mean_trials=5, n_kept=6)
        for neuron in (NEURON, BELIEVED)
    )
    np.testing.assert_array_equal(exact.rewards, believed.rewards)
    for p, k in np.ndindex(2, 6):
        spikes = spikes_of(stimuli, p, k)
        own = own_spikes(spikes, weights[p], NEURON, N_STEPS, stimuli.draws[p, k])
        expected = eligibility(spikes, weights[p], BELIEVED, N_STEPS, own)
        np.testing.assert_allclose(believed.eligibilities[p, k], expected, rtol=1e-9, atol=1e-12)
    assert np.abs(exact.eligibilities - believed.eligibilities).max() > 0.1


def test_a_neuron_that_is_silent_by_far_learns_only_from_what_its_synapses_believe() -> None:
    """The published neuron: well below threshold its own spikes say nothing of its weights."""
    stimuli, weights = drawn()
    weights = 0.05 * np.abs(weights)
    silent = replace(NEURON, threshold_mv=15.0, rate_hz=0.01, delta_mv=0.2)
    largest = [
        np.abs(run_trials(
            program_of("0*E"), stimuli, weights, neuron, learning_rate=1.0, mean_trials=5, n_kept=6
        ).eligibilities).max()
        for neuron in (silent, replace(silent, believed_hz=10.0, believed_delta_mv=5.0))
    ]  # fmt: skip
    assert largest[0] < 1e-12
    assert largest[1] > 1e-3


def test_a_blow_up_is_seen() -> None:
    stimuli, weights = drawn()
    run = run_trials(program_of("9*w**3 + 50"), stimuli, weights, NEURON, learning_rate=1.0, mean_trials=3.0)
    assert ((run.blow_up > 0) & (run.blow_up < 6)).all()
    assert (run.weights == 0).all()
    assert (run.rewards[0, run.blow_up[0] :] == 0).all()


def test_what_does_not_fit_is_refused() -> None:
    stimuli, weights = drawn()
    arguments = {"learning_rate": 0.1, "mean_trials": 3.0}
    with pytest.raises(ValueError, match="variables E, R, w"):
        run_trials(Rule.parse("x*y").program(), stimuli, weights, NEURON, **arguments)
    with pytest.raises(ValueError, match=r"\(2, n_inputs\)"):
        run_trials(program_of("E"), stimuli, weights[:1], NEURON, **arguments)
    with pytest.raises(ValueError, match="inputs 0 to 1"):
        run_trials(program_of("E"), stimuli, weights[:, :2], NEURON, **arguments)
    with pytest.raises(ValueError, match="at least one trial"):
        run_trials(program_of("E"), stimuli, weights, NEURON, learning_rate=0.1, mean_trials=0.5)
    with pytest.raises(ValueError, match="steps 0 to 9"):
        replace(stimuli, n_steps=10)
    with pytest.raises(ValueError, match="stimuli 0 to 2"):
        replace(stimuli, order=stimuli.order + 1)
    with pytest.raises(ValueError, match="do not fit"):
        replace(stimuli, draws=stimuli.draws[:, :2])
    with pytest.raises(ValueError, match="one after the other"):
        replace(stimuli, first_spike=stimuli.first_spike[:, ::-1])
    with pytest.raises(ValueError, match="differ"):
        EscapeNeuron(tau_membrane_ms=2.0, tau_synapse_ms=2.0)
