"""The task error: a student that sees its teacher's potential."""

from dataclasses import replace

import numpy as np
import pytest
from naive import program_value

from discover.errors import TaskError
from discover.rule import Rule
from discover.slots import ERROR
from discover.tasks import get_task
from discover.tasks.base import coefficients_of, known_rules_of, n_coefficients, rule_of
from discover.tasks.error import ErrorSettings, filtered

TASK = get_task("error")
SMALL = ErrorSettings(n_inputs=3, duration_s=1.0, sample_ms=5.0, window_ms=50.0)


def seeded(number: int = 0) -> np.random.SeedSequence:
    return np.random.SeedSequence(number)


def rule(text: str) -> Rule:
    return Rule.parse({"error": text})


def followed(text: str, problems, p: int) -> list[np.ndarray]:
    """Weights before each update and at the end, by plain loops over windows, samples and synapses."""
    settings, program = problems.settings, rule(text).program("error")
    w, visited = problems.initial_weights[p].copy(), []
    for window in problems.inputs[p].reshape(-1, settings.batch, settings.n_inputs + 1):
        visited.append(w.copy())
        change = np.zeros_like(w)
        for sample in window:
            s, v = sample[:-1], sample[-1]
            u = float(s @ w)
            for j in range(len(w)):
                change[j] += program_value(program, {"s": s[j], "u": u, "w": w[j], "v": v}) / len(window)
        w = w + settings.learning_rate * change
    return [*visited, w]


@pytest.mark.parametrize("text", ["(v - u)*s", "s*v - 0.3*w", "tanh(v - u)*s + 0.1*w*u", "0.2*v**2*s - u*w"])
def test_the_circuit_does_what_plain_loops_do(text: str) -> None:
    problems = TASK.draw(SMALL, 2, seeded())
    losses, measured = TASK.losses(rule(text), problems), TASK.evaluate(rule(text), problems)
    for p in range(2):
        weights = followed(text, problems, p)
        s = problems.inputs[p, :, :-1]
        final, first = (s @ (w - problems.targets[p]) for w in (weights[-1], weights[0]))
        expected = np.sqrt(np.mean(final**2) / np.mean(first**2))
        assert losses[p] == pytest.approx(expected, rel=1e-8)
        parts = s.reshape(len(weights) - 1, -1, 3)
        errors = np.concatenate(
            [part @ (w - problems.targets[p]) for part, w in zip(parts, weights, strict=False)]
        )
        judged = errors[len(errors) // 10 :]
        assert measured["error"][p] == pytest.approx(3.0 * np.sqrt(5.0 * np.sum(judged**2)), rel=1e-8)


def test_a_spike_becomes_a_difference_of_exponentials() -> None:
    spikes = np.zeros((60, 2))
    spikes[3, 0], spikes[10, 0], spikes[7, 1] = 1, 2, 1
    times = np.arange(60) * 0.5
    amplitude = 20.0 / 250.0 / (1 / 2.0 - 1 / 10.0) / 3.0

    def kernel(since: np.ndarray) -> np.ndarray:
        late = np.maximum(since, 0)
        return np.where(since >= 0, amplitude * (np.exp(-late / 10) - np.exp(-late / 2)), 0.0)

    expected = np.stack([kernel(times - 1.5) + 2 * kernel(times - 5.0), kernel(times - 3.5)], axis=1)
    np.testing.assert_allclose(filtered(spikes, 0.5), expected, atol=1e-12)


def test_inputs_have_the_means_of_their_rates() -> None:
    problems = TASK.draw(ErrorSettings(), 8, seeded())
    means = problems.inputs[:, 500:, :-1].mean(axis=(0, 1))
    rates = np.linspace(0.15, 0.85, 5)  # a millisecond
    np.testing.assert_allclose(means, rates * 20.0 * 2.0 * 10.0 / 250.0 / 3.0, rtol=0.03)  # w tau_s tau_m / C
    assert problems.targets.min() >= -0.25
    assert problems.targets.max() <= 1.75


def test_the_teacher_is_heard_every_few_milliseconds() -> None:
    problems = TASK.draw(ErrorSettings(duration_s=1.0), 2, seeded())
    v = np.einsum("psi,pi->ps", problems.inputs[:, :, :-1], problems.targets)
    handed = problems.inputs[:, :, -1]
    np.testing.assert_allclose(handed, np.repeat(v[:, ::5], 5, axis=1))
    noisy = TASK.draw(ErrorSettings(duration_s=1.0, noise_mv=0.5), 20, seeded())
    away = noisy.inputs[:, ::5, -1] - np.einsum("psi,pi->ps", noisy.inputs[:, ::5, :-1], noisy.targets)
    assert away.std() == pytest.approx(0.5 / 3.0, rel=0.05)


def test_known_rules_by_what_they_reach() -> None:
    problems = TASK.draw(ErrorSettings(learning_rate=2.7), 16, seeded())
    losses = {name: TASK.losses(known, problems).mean() for name, known in known_rules_of(TASK).items()}
    assert losses["delta-rule"] < 0.08
    assert losses["delta-rule"] < min(losses["sign-error"], losses["hebb-teacher"])
    np.testing.assert_allclose(TASK.losses(np.zeros(81), problems), 1.0)
    assert TASK.answer_for(ErrorSettings()) == "one law"


def test_a_neuron_that_knows_the_weights_is_hardly_moved() -> None:
    problems = TASK.draw(replace(SMALL, handed_ms=5.0), 3, seeded())
    there = replace(problems, initial_weights=problems.targets + 1e-9)
    weights = TASK.run(rule("(v - u)*s"), there).answers
    np.testing.assert_allclose(weights, problems.targets, atol=1e-7)


def test_coefficients_and_rules_are_the_same_thing() -> None:
    assert n_coefficients(TASK) == 81
    vector = np.random.default_rng(0).normal(size=81)
    np.testing.assert_allclose(coefficients_of(TASK, rule_of(TASK, vector)), vector)
    problems = TASK.draw(SMALL, 3, seeded())
    known = rule("(v - u)*s")
    np.testing.assert_allclose(
        TASK.losses(coefficients_of(TASK, known), problems), TASK.losses(known, problems), rtol=1e-9
    )


def test_gradients_are_those_of_the_losses() -> None:
    problems = TASK.draw(SMALL, 3, seeded())
    dense = coefficients_of(TASK, rule("(v - u)*s")) + np.random.default_rng(1).normal(0, 0.02, 81)
    exact = TASK.gradient(dense, problems).gradients
    for n in range(0, 81, 4):
        moved = np.zeros(81)
        moved[n] = 1e-6
        up, down = (TASK.losses(dense + s * moved, problems) for s in (1, -1))
        np.testing.assert_allclose(exact[:, n], (up - down) / 2e-6, rtol=1e-4, atol=1e-7)
    text = "{}*tanh(v - u)*s - {}*w*u"
    exact = TASK.gradient(rule(text.format(0.8, 0.05)), problems).gradients
    up, down = (TASK.losses(rule(text.format(0.8 + step, 0.05)), problems) for step in (1e-6, -1e-6))
    np.testing.assert_allclose(exact[:, 0], (up - down) / 2e-6, rtol=1e-4, atol=1e-7)


def test_states_are_those_of_samples() -> None:
    problems = TASK.draw(SMALL, 4, seeded())
    for states in (
        TASK.probe(problems, 300, seeded(1)),
        TASK.visit(rule("(v - u)*s"), problems, 300, seeded(1)),
    ):
        columns = dict(zip(ERROR.variables, states["error"].values.T, strict=True))
        problem = states["error"].problem
        for n in range(0, 300, 20):
            here = problems.inputs[problem[n]]
            assert columns["v"][n] in here[:, -1]
            assert columns["s"][n] in here[:, :-1]
    told = TASK.visit(rule("(v - u)*s"), problems, 300, seeded(1))["error"]
    assert told.step.max() < problems.n_steps


def test_the_learning_curve_ends_at_the_loss() -> None:
    problems, known = TASK.draw(SMALL, 4, seeded()), rule("(v - u)*s")
    steps, losses = TASK.learning_curve(known, problems, 10)
    np.testing.assert_allclose(losses[0], 1.0)
    assert (np.diff(steps) > 0).all()
    assert losses[-1].mean() < losses[0].mean()


def test_every_fold_changes_something() -> None:
    folds = TASK.folds(SMALL)
    assert {"rates-low", "inputs-double", "noise", "handed-rarely", "run-long"} <= {
        fold.name for fold in folds
    }
    assert all(fold.settings != SMALL for fold in folds)


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"handed_ms": 2.5}, "handed_ms is a multiple of 5 ms"),
        ({"window_ms": 12.0}, "window_ms is a multiple of 5 ms"),
        ({"duration_s": 0.12}, "multiple of 50 ms"),
        ({"lowest_hz": 900.0}, "from low to high"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changed: dict, text: str) -> None:
    with pytest.raises(TaskError, match=text):
        replace(SMALL, **changed)
