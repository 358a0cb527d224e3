"""The tasks reward and error: a network as the rule, beside the formula, and what the tables say."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import black_box, network_update
from benchmarks.learners import descended, rows_of, share_of_gain
from benchmarks.network_update import FOUND, Budget, NetworkUpdate, compared, evolved, followed
from discover.rule import Rule
from discover.tasks import get_task
from discover.tasks.base import Task
from discover.tasks.error import ErrorSettings
from discover.tasks.reward import RewardSettings

SMALL = {
    "reward": RewardSettings(
        n_inputs=20,
        n_stimuli=4,
        n_trials=60,
        duration_ms=200.0,
        step_ms=2.0,
        delta_mv=1.0,
        learning_rate=0.03,
    ),
    "error": ErrorSettings(duration_s=2.0, sample_ms=5.0, learning_rate=2.7),
}
TINY = Budget(
    n_generations=3, population=4, batch=4, first_batch=2, n_steps=3, n_train=8, n_tuning=6, n_test=6
)


def task_and_problems(name: str, n_problems: int = 6, seed: int = 0) -> tuple[Task, object]:
    task = get_task(name)
    return task, task.draw(SMALL[name], n_problems, np.random.SeedSequence(seed))


def plain_network(task: Task, n_units: int) -> NetworkUpdate:
    n = len(task.slots[0].variables)
    return NetworkUpdate(task.slots[0], n_units, np.zeros(n), np.ones(n))


def test_a_network_that_is_a_formula_scores_exactly_as_it() -> None:
    task, problems = task_and_problems("reward")
    network = plain_network(task, 1)
    # One unit: into u, into v, offset, weights of E, R, w, Rbar, Rpos; then u and v without it.
    parameters = np.array([0.8, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, -1.0, -0.2, 0.0])
    formula = Rule.parse({"reward": "0.8*E*tanh(R - Rpos) - 0.2*E"})
    assert np.array_equal(task.losses(network.rule(parameters), problems), task.losses(formula, problems))


def test_the_rule_is_the_network_of_its_parameters() -> None:
    slot = get_task("error").slots[0]
    centres, scales = np.array([0.2, 0.8, 0.6, 0.7]), np.array([0.1, 0.3, 0.4, 0.5])
    network = NetworkUpdate(slot, 3, centres, scales)
    rng = np.random.default_rng(0)
    parameters = network.start(rng) + rng.normal(size=network.n_parameters)
    states = rng.normal(size=(20, 4))
    table, rest = parameters[:-2].reshape(3, -1), parameters[-2:]
    hidden = np.tanh((states - centres) / scales @ table[:, 3:].T + table[:, 2])
    u, v = (hidden @ table[:, k] + rest[k] for k in range(2))
    expected = states[:, 0] * u + np.hypot(centres[0], scales[0]) * v
    found = network.rule(parameters)("error", **dict(zip(slot.variables, states.T, strict=True)))
    np.testing.assert_allclose(found, expected, rtol=1e-10)


@pytest.mark.parametrize("name", ["reward", "error"])
def test_a_network_can_begin_at_the_formula(name: str) -> None:
    task, problems = task_and_problems(name)
    network = NetworkUpdate.of(task, problems, 3, np.random.SeedSequence(1))
    formula = Rule.parse({name: FOUND[name]})
    rule = network.rule(network.start_from(formula, np.random.default_rng(0)))
    slot, rng = task.slots[0], np.random.default_rng(1)
    states = dict(zip(slot.variables, rng.uniform(0, 1, (len(slot.variables), 50)), strict=True))
    np.testing.assert_allclose(rule(name, **states), formula(name, **states), rtol=0.02, atol=0.01)
    expected = task.losses(formula, problems).mean()
    assert task.losses(rule, problems).mean() == pytest.approx(expected, abs=0.05)


def test_a_formula_that_no_unit_says_is_refused() -> None:
    task = get_task("reward")
    with pytest.raises(ValueError, match="is not E times a sum"):
        plain_network(task, 2).start_from(Rule.parse({"reward": "R*Rbar*E"}), np.random.default_rng(0))


def test_gradients_of_parameters_are_those_of_central_differences() -> None:
    task, problems = task_and_problems("error", 2)
    network = NetworkUpdate.of(task, problems, 2, np.random.SeedSequence(1))
    point = network.start_from(Rule.parse({"error": FOUND["error"]}), np.random.default_rng(0))
    found = task.gradient(network.rule(point), problems).gradients @ network.constants_by_parameters
    for n in range(network.n_parameters):
        step = np.zeros_like(point)
        step[n] = 1e-6
        ends = [task.losses(network.rule(point + sign * step), problems) for sign in (1, -1)]
        np.testing.assert_allclose(found[:, n], (ends[0] - ends[1]) / 2e-6, rtol=1e-4, atol=1e-5)


def test_learning_makes_a_network_better() -> None:
    task, problems = task_and_problems("error", 16)
    budget = replace(TINY, n_generations=25, population=8, n_steps=30)
    rng = np.random.default_rng(0)
    network = NetworkUpdate.of(task, problems, 2, np.random.SeedSequence(1))
    start = network.start(rng)
    point = evolved(network, task, problems, problems, start, 0.3, budget, rng)
    last = followed(network, task, problems, problems, point, 0.02, budget, rng)
    before, between, after = (task.losses(network.rule(one), problems).mean() for one in (start, point, last))
    assert after <= between <= before
    assert after < 0.9


@pytest.mark.parametrize("name", ["reward", "error"])
def test_all_learners_are_compared(name: str) -> None:
    found = compared(name, 0, 1, budget=TINY, settings=SMALL[name], n_units=2)
    rows = {row["learner"]: row for row in found["rows"]}
    assert {"formula", network_update.NONE, "learned update", *get_task(name).known_rules} <= set(rows)
    assert rows["formula"]["formula_share"] in ((1, 1, 1), None)
    assert rows["formula"]["more_than_formula"] == [0, 0, 0]
    assert ("learned update, then gradients" in rows) == get_task(name).has_gradient
    assert rows["formula"]["loss"] < rows[network_update.NONE]["loss"]


def test_the_command_writes_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "black-box.json"
    monkeypatch.setattr("sys.argv", ["black_box", "--task", "error", "--starts", "1", "--output", str(path)])
    monkeypatch.setitem(network_update.BUDGETS, "error", TINY)
    black_box.main()
    assert '"formula_share"' in path.read_text()
    assert "learned update, from the formula" in capsys.readouterr().out


def test_shares_of_gains_come_with_intervals() -> None:
    rng = np.random.default_rng(0)
    formula = rng.uniform(0.2, 0.4, 400)
    share, low, high = share_of_gain(formula, formula - 0.05) or (0, 0, 0)
    assert low < share < high
    assert share_of_gain(formula, formula + 0.7) is None
    assert share == pytest.approx((1 - formula.mean()) / (1.05 - formula.mean()))
    rows = rows_of({"formula": formula, "other": formula - 0.05})
    assert rows[1]["more_than_formula"][0] == pytest.approx(-0.05)


def test_adam_finds_the_lowest_point_of_a_bowl() -> None:
    found = descended(lambda point: point - np.array([0.5, -1.0]), np.zeros(2), 400)
    np.testing.assert_allclose(found, [0.5, -1.0], atol=1e-3)
