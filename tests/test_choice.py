"""The simulator of choices against its slow twin, and its gradient against differences and enumeration."""

from itertools import product

import numpy as np
import pytest
from naive_choice import choose as choose_slowly

from discover.rule import Rule
from sims.choice import VARIABLES, Bandits, Learner, choice_gradient, choose
from sims.rules import Op, Program

TEXTS = (
    "R*x - w*x",
    "(R - m)*(x - y)",
    "0.7*R*x*tanh(w) - 0.3*w**2 + 0.2*y*m",
    "abs(R - 1.5*w)*x/(0.5 + y) - 0.1*exp(-m)*w",
    "max(R, w)*sqrt(y) - 0.2*w**3",
)
LEARNER = Learner(learning_rate=0.3, sharpness=2.0, mean_trials=4.0, initial_weight=0.1, initial_mean=0.4)


def program_of(text: str) -> Program:
    return Rule.parse({"choice": text}).program("choice")


def drawn(n_problems: int, n_trials: int, n_options: int, seed: int = 0) -> Bandits:
    rng = np.random.default_rng(seed)
    shape = (n_problems, n_trials, n_options)
    return Bandits(rng.normal(0.5, 0.5, shape), rng.random(shape), rng.random(shape[:2]))


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("n_options", [2, 3])
def test_it_does_what_the_slow_twin_does(text: str, n_options: int) -> None:
    bandits = drawn(3, 25, n_options)
    run = choose(program_of(text), bandits, LEARNER)
    assert (run.blow_up == -1).all()
    assert len(np.unique(run.choices)) == n_options
    for p in range(3):
        slow = choose_slowly(program_of(text), bandits, LEARNER, p)
        np.testing.assert_array_equal(run.choices[p], slow["choices"])
        np.testing.assert_allclose(run.regrets[p], slow["regrets"], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(run.weights[p], slow["weights"], rtol=1e-9, atol=1e-12)


def test_choices_that_are_given_are_made() -> None:
    bandits, program = drawn(2, 12, 3), program_of(TEXTS[0])
    given = np.random.default_rng(1).integers(3, size=(2, 12))
    run = choose(program, bandits, LEARNER, given)
    np.testing.assert_array_equal(run.choices, given)
    slow = choose_slowly(program, bandits, LEARNER, 1, given[1])
    np.testing.assert_allclose(run.weights[1], slow["weights"], rtol=1e-9)
    again = choose(program, bandits, LEARNER, choose(program, bandits, LEARNER).choices)
    np.testing.assert_array_equal(again.regrets, choose(program, bandits, LEARNER).regrets)


@pytest.mark.parametrize("text", ["R*0.9*x - 0.8*w*x + 0.1*w", *TEXTS[2:]])
def test_the_gradient_is_that_of_regrets_and_log_probabilities_along_held_choices(text: str) -> None:
    bandits, program = drawn(2, 15, 3), program_of(text)
    rng = np.random.default_rng(2)
    slopes, credits = rng.normal(size=(2, 2, 15))
    run = choose(program, bandits, LEARNER)
    exact = choice_gradient(program, bandits, LEARNER, run, slopes, credits)

    def quantity(constants: np.ndarray, p: int) -> float:
        slow = choose_slowly(program.with_constants(constants), bandits, LEARNER, p, run.choices[p])
        return float(slopes[p] @ slow["regrets"] + credits[p] @ slow["logs"])

    for p in range(2):
        for n in range(len(program.constants)):
            moved = np.zeros(len(program.constants))
            moved[n] = 1e-6
            up, down = (quantity(program.constants + s * moved, p) for s in (1, -1))
            assert exact[p, n] == pytest.approx((up - down) / 2e-6, rel=1e-5, abs=1e-7)


def test_with_later_losses_for_credits_it_is_in_the_mean_the_gradient_of_the_expected_loss() -> None:
    """The expectation is over all sequences of choices, one by one, in one environment."""
    n_trials, n_runs = 4, 40_000
    rng = np.random.default_rng(3)
    rewards, values = rng.random((2, 1, n_trials, 2))
    program = program_of("1.5*R*x - 0.7*w + 0.4*x*y")

    def expected(constants: np.ndarray) -> float:
        total = 0.0
        environment = Bandits(rewards, values, np.zeros((1, n_trials)))
        for sequence in product(range(2), repeat=n_trials):
            slow = choose_slowly(program.with_constants(constants), environment, LEARNER, 0, sequence)
            total += np.exp(slow["logs"].sum()) * slow["regrets"].sum()
        return float(total)

    shape = (n_runs, n_trials, 2)
    bandits = Bandits(
        np.broadcast_to(rewards, shape), np.broadcast_to(values, shape), rng.random((n_runs, n_trials))
    )
    run = choose(program, bandits, LEARNER)
    later = run.regrets[:, ::-1].cumsum(axis=1)[:, ::-1] - run.regrets
    whole = choice_gradient(program, bandits, LEARNER, run, 1.0, later - later.mean(axis=0))
    path = choice_gradient(program, bandits, LEARNER, run, 1.0, 0.0)
    exact = []
    for n in range(len(program.constants)):
        moved = np.zeros(len(program.constants))
        moved[n] = 1e-5
        up, down = (expected(program.constants + s * moved) for s in (1, -1))
        exact.append((up - down) / 2e-5)
    errors = np.abs(whole.mean(axis=0) - exact) / (whole.std(axis=0) / np.sqrt(n_runs))
    assert errors.max() < 4
    missed = np.abs(path.mean(axis=0) - exact) / (path.std(axis=0) / np.sqrt(n_runs))
    assert missed.max() > 5  # the path alone does not see what choices bring for later


def test_a_blow_up_is_seen_and_has_no_gradient() -> None:
    bandits, program = drawn(2, 40, 2), program_of("2*w**2 + 5*R")
    run = choose(program, bandits, LEARNER)
    assert (run.blow_up > 0).all()
    assert np.isfinite(run.weights).all()
    for p in range(2):
        assert (run.regrets[p, run.blow_up[p] :] == 0).all()
        assert (run.choices[p, run.blow_up[p] :] == -1).all()
        assert (run.choices[p, : run.blow_up[p]] >= 0).all()
    assert (choice_gradient(program, bandits, LEARNER, run, 1.0, 1.0) == 0).all()


def test_a_weight_that_is_no_number_is_a_blow_up() -> None:
    run = choose(program_of("log(w - 2)"), drawn(1, 5, 2), LEARNER)
    assert run.blow_up.tolist() == [1]


def test_what_does_not_fit_is_refused() -> None:
    bandits, program = drawn(1, 5, 2), program_of(TEXTS[0])
    with pytest.raises(ValueError, match="one shape"):
        Bandits(bandits.rewards, bandits.values[:, :3], bandits.uniforms)
    with pytest.raises(ValueError, match="finite"):
        Bandits(bandits.rewards * np.nan, bandits.values, bandits.uniforms)
    with pytest.raises(ValueError, match="options 0 to 1"):
        choose(program, bandits, LEARNER, [[0, 1, 2, 0, 0]])
    with pytest.raises(ValueError, match="positive learning rate"):
        Learner(learning_rate=0.0)
    with pytest.raises(ValueError, match="finite"):
        Learner(sharpness=np.inf)
    other = Program.build(("x", "y"), (False, False), [], [(Op.MUL, 0, 1)])
    with pytest.raises(ValueError, match=", ".join(VARIABLES)):
        choose(other, bandits, LEARNER)


def test_the_first_trials_are_those_of_the_whole_run() -> None:
    bandits, program = drawn(2, 30, 2), program_of(TEXTS[1])
    whole, part = choose(program, bandits, LEARNER), choose(program, bandits.shortened(10), LEARNER)
    np.testing.assert_array_equal(whole.regrets[:, :10], part.regrets)
    assert bandits.shortened(0).uniforms.shape == (2, 1)
