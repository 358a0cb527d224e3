"""The coefficient fit: optimisers, the path, the choice, and that Oja's rule is found."""

from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest

from discover.errors import TaskError
from discover.fit import FitResult, FitSettings, PathPoint, choose, fit
from discover.fit.cmaes import CMAES
from discover.fit.objective import Objective
from discover.fit.optimiser import minimiser
from discover.fit.path import Path
from discover.fit.proximal import ProximalAdam
from discover.fit.thinning import thinned
from discover.journal import Journal
from discover.multiple import best_multiple
from discover.outcome import share_interval
from discover.progress import silent
from discover.recover import coefficient_angle, recover, recover_presets
from discover.rule import Rule
from discover.speeds import FITTED, at_speeds, tuned_speeds
from discover.tasks import get_task
from discover.tasks.base import coefficients_of, rule_of
from discover.tasks.memory import circuit_rules
from discover.tasks.oja import OjaSettings, OjaTask

TASK = get_task("oja")
SMALL = OjaSettings(n_inputs=3, n_samples=40, n_steps=150, batch=10)
SHORT = FitSettings(restarts=1, n_train=16, n_heldout=24)
OJA = coefficients_of(TASK, Rule.parse("x*y - w*y**2"))


@pytest.fixture(scope="module")
def result():
    return fit(TASK, SMALL, replace(SHORT, restarts=2), seed=3)


@pytest.fixture
def objective():
    seed = np.random.SeedSequence(0)
    return Objective.start(TASK, TASK.draw(SMALL, 8, seed), seed)


def point(n_terms, loss, error=0.01):
    terms = dict.fromkeys(["x*y", "w*y**2", "w", "x"][:n_terms], 1.0)
    return PathPoint(0.1, {"feedforward": terms}, loss, loss, error, 0)


def test_oja_is_found_with_its_ratio(result):
    terms = result.rule.coefficients()["feedforward"]
    assert set(terms) == {"x*y", "w*y**2"}
    assert terms["w*y**2"] / terms["x*y"] == pytest.approx(-1, rel=0.05)
    assert set(result.term_stability["feedforward"]) >= {"x*y", "w*y**2"}


def test_path_runs_from_dense_to_sparse(result):
    points = [one for one in result.points if one.restart == 0 and one.origin == "path"]
    assert [one.penalty for one in points] == sorted(SHORT.penalties)
    assert points[0].n_terms == 27
    assert points[-1].n_terms <= 2
    assert result.dense.penalty == 0


def test_terms_that_several_penalties_leave_are_fitted_once(result):
    paths = {}
    for one in (one for one in result.points if one.origin == "path"):
        paths.setdefault((one.restart, one.support), []).append(one)
    repeated = [points for points in paths.values() if len(points) > 1]
    assert repeated
    for first, *others in repeated:
        assert all(replace(other, penalty=first.penalty) == first for other in others)
        assert len({one.penalty for one in (first, *others)}) == len(others) + 1


def test_result_survives_json(result):
    again = FitResult.from_json(result.to_json())
    assert again.to_json() == result.to_json()
    assert again.rule == result.rule


def test_same_seed_gives_the_same_path_and_another_seed_another():
    quick = replace(SHORT, steps=10, path_steps=4, refit_steps=4, penalties=(0.0, 0.02), n_train=8)
    first, second, other = (fit(TASK, SMALL, quick, seed).to_json() for seed in (1, 1, 2))
    assert first == second != other


def test_one_standard_error_rule_takes_the_fewest_terms():
    points = [point(1, 0.5), point(2, 0.105), point(3, 0.104), point(4, 0.1)]
    chosen, reason = choose(points, 1e-3)
    assert chosen == 1
    assert "fewest terms (2)" in reason
    assert choose([point(1, 0.5), point(2, 0.1)], 1e-3)[0] == 1
    assert choose([point(2, 0.2, 0.0), point(3, 0.1, 0.0)], 1e-3)[0] == 1


def test_a_loss_that_one_problem_decides_does_not_cost_a_rule_its_simplicity():
    assert choose([point(2, 0.15, 0.06), point(3, 0.1, 0.001)], 1e-3)[0] == 0
    assert choose([point(2, 0.15, 0.02), point(3, 0.1, 0.001)], 1e-3)[0] == 1


def test_losses_that_differ_by_less_than_the_resolution_are_equally_good():
    points = [point(2, 0.0302, 1e-4), point(27, 0.0288, 1e-4)]
    chosen, reason = choose(points, 0.005)
    assert chosen == 0
    assert "within the resolution (0.005)" in reason
    assert choose(points, 0.001)[0] == 1
    assert choose([point(2, 1e-5, 0.0), point(3, 1e-16, 0.0)], 1e-3)[0] == 0


@pytest.mark.parametrize("optimum", [0.013, 0.4, 1.0, 5.7, 90.0])
def test_best_multiple_is_found_from_far_away(optimum):
    factor, loss = best_multiple(lambda factor: abs(np.log(factor / optimum)))
    assert factor == pytest.approx(optimum, rel=0.02)
    assert loss <= abs(np.log(optimum))


def test_best_multiple_walks_out_of_a_blow_up(objective):
    wild = objective.scaled(50 * OJA)
    assert objective.losses(wild).min() > 1
    factor, loss = best_multiple(lambda factor: objective.losses(factor * wild).mean())
    assert factor < 1
    assert loss < 0.1


def test_a_multiple_that_is_not_allowed_is_never_taken():
    assert best_multiple(lambda factor: 0.5 if factor == 1 else np.inf) == (1.0, 0.5)


@pytest.fixture(scope="module")
def short_horizon():
    """Published settings, shorter: within 80 updates Oja's own rule is far too slow."""
    settings = OjaSettings(preset="d3", n_samples=40, n_steps=80)
    penalties = (0.0, 0.01, 0.03)
    return settings, fit(TASK, settings, replace(SHORT, penalties=penalties), seed=0).rule


def test_found_rule_is_as_fast_as_the_horizon_asks(short_horizon):
    settings, rule = short_horizon
    fresh = TASK.draw(settings, 48, np.random.SeedSequence(99))
    found = TASK.losses(rule, fresh).mean()
    assert found <= TASK.losses(OJA, fresh).mean()
    for factor in (0.5, 0.7, 1.4, 2.0):
        assert found <= TASK.losses(rule.scaled(factor), fresh).mean() + 0.01


def test_presets_are_judged_on_problems_that_no_fit_has_seen():
    class Recording(OjaTask):
        drawn: ClassVar[list] = []

        def draw(self, settings, n_problems, seed):
            problems = super().draw(settings, n_problems, seed)
            self.drawn.append({weights.tobytes() for weights in problems.initial_weights})
            return problems

    quick = replace(SHORT, steps=2, path_steps=2, refit_steps=2, penalties=(0.02,))
    (row,) = recover_presets(Recording(), ["d3"], quick)
    *of_the_fit, fresh = Recording.drawn
    assert len(of_the_fit) == 3
    assert not fresh & set.union(*of_the_fit)
    assert row["known, scaled"] <= row["known"]


def test_frozen_coefficients_stay_at_zero(objective):
    penalty = np.full(27, np.inf)
    penalty[[12, 7]] = 0.0
    for optimiser in ("proximal", "cmaes", "finite-difference"):
        settings = replace(SHORT, optimiser=optimiser)
        found = minimiser(settings, 0.02).minimise(
            objective, np.full(27, 0.01), penalty, 3, np.random.default_rng(0), silent
        )
        assert np.flatnonzero(found).tolist() == [7, 12]


@pytest.mark.parametrize("optimiser", ["proximal", "cmaes", "finite-difference"])
def test_every_optimiser_lowers_the_meta_loss(objective, optimiser):
    penalty = np.full(27, np.inf)
    penalty[[12, 7]] = 0.0
    start = np.where(np.isfinite(penalty), 0.01, 0.0)
    learn = minimiser(replace(SHORT, optimiser=optimiser), 0.05)
    found = learn.minimise(objective, start, penalty, 40, np.random.default_rng(0), silent)
    assert objective.losses(found).mean() < 0.5 * objective.losses(start).mean()


class Bowl:
    """A quadratic function of two blocks and a constant, whose penalised minimum is known."""

    blocks = np.array([0, 0, 1, 1, -1])
    lowest = np.array([3.0, -4.0, 0.2, 0.1, 2.0])

    def bent(self, plain):
        return plain

    straightened = bent

    def norms(self, scaled):
        return np.sqrt(np.mean(scaled[:4].reshape(2, 2) ** 2, axis=1))

    def values(self, points, first_share):
        return [float(np.sum((point - self.lowest) ** 2)) for point in points]


def test_cma_es_shrinks_whole_blocks_and_leaves_constants():
    penalty = np.array([4.0, 4.0, 4.0, 4.0, 0.0])
    found = CMAES(20, 0.5).minimise(Bowl(), np.ones(5), penalty, 300, np.random.default_rng(0), silent)
    shrunk = 1 - 4.0 / (2 * np.sqrt(2) * 5.0)  # the gradient of a norm over its block is a unit vector
    np.testing.assert_allclose(found, [3 * shrunk, -4 * shrunk, 0, 0, 2], atol=1e-3)


def test_the_worse_half_of_a_generation_runs_on_the_first_problems_alone(objective):
    points = [objective.scaled(factor * OJA) for factor in (1.0, 0.01, 0.8, 0.02, 1.2)]
    losses = np.array([objective.losses(point) for point in points])
    n_first = losses.shape[1] // 4
    found = objective.values(points, 0.25)
    better = np.argsort(losses[:, :n_first].mean(axis=1))[:3]
    np.testing.assert_allclose(np.array(found)[better], losses[better].mean(axis=1), rtol=1e-12)
    for k in set(range(5)) - set(better.tolist()):
        assert found[k] == max(losses[k, :n_first].mean(), max(np.array(found)[better]))
    np.testing.assert_allclose(objective.values(points), losses.mean(axis=1), rtol=1e-12)


def test_a_fit_starts_at_the_best_of_several_random_rules(objective):
    """And several of them leave whole projections without a rule."""
    seen = []

    class Stays:
        def minimise(self, objective, start, *_):
            seen.append(start)
            return start

    settings = replace(SHORT, start_scale=0.2, penalties=(0.0,))
    seeds = np.random.SeedSequence(0).spawn(2)
    path = Path(
        TASK.draw(SMALL, 8, np.random.SeedSequence(1)), settings, 0, lambda *_: Stays(), 6, eliminates=False
    )
    path.walk(objective, np.random.default_rng(7), seeds[:1], seeds[1], silent)
    rng = np.random.default_rng(7)
    drawn = [objective.random_start(0.2, rng) for _ in range(6)]
    losses = objective.values(drawn)
    np.testing.assert_array_equal(seen[0], drawn[int(np.argmin(losses))])
    assert min(losses) < max(losses)


def test_parts_are_taken_away_as_they_are_and_the_rest_is_fitted_anew(objective):
    heldout = TASK.draw(SMALL, 24, np.random.SeedSequence(1))
    settings = replace(SHORT, elimination="plain", refit_steps=20)
    path = Path(heldout, settings, 0, partial(minimiser, settings))
    dense = OJA + np.where(np.arange(27) % 5 == 0, 1e-4, 0.0)
    first = objective.judged(dense, heldout, 0.0, 0, "path")
    rng = np.random.default_rng(0)
    found = thinned(path, objective, [first], np.random.SeedSequence(2), rng, silent)
    sizes = [first.n_terms, *(one.n_terms for one in found)]
    assert sizes[:-1] == list(range(first.n_terms, sizes[-1] - 1, -1))
    assert found[-1].support == {("feedforward", "x*y"), ("feedforward", "w*y**2")}
    assert sizes[-2] == sizes[-1] == 2
    assert found[-1].train_loss <= found[-2].train_loss + 1e-12
    assert all(one.origin == "elimination" for one in found)


class Compensating:
    """Without "y" nothing makes up for "x"; the loss is known on paper."""

    blocks = np.arange(3)
    task = SimpleNamespace(possible={"loss": (0.0, np.inf)})

    def groups(self):
        return []

    def without(self, point, terms):
        kept = {
            term: 1.0 for term in point.coefficients["feedforward"] if term not in {"xyw"[n] for n in terms}
        }
        return kept if 0 < len(kept) < len(point.coefficients["feedforward"]) else None

    def judged(self, kept, heldout, penalty, restart, origin):
        loss = 0.0 if "w" in kept and ("y" in kept or "x" not in kept) else 1.0
        return PathPoint(penalty, {"feedforward": kept}, loss, loss, 0.0, restart, origin)


def test_what_another_part_made_up_for_goes_once_that_part_is_gone():
    path = SimpleNamespace(settings=replace(SHORT, resolution=0.05), heldout=None)
    first = PathPoint(0.0, {"feedforward": {"x": 1.0, "y": 1.0, "w": 1.0}}, 0.0, 0.0)
    found = thinned(path, Compensating(), [first], np.random.SeedSequence(0), None, silent)
    assert [set(one.coefficients["feedforward"]) for one in found] == [{"y", "w"}, {"w"}]


def test_what_is_left_is_not_fitted_anew_where_no_loss_is_lower(objective, monkeypatch):
    monkeypatch.setattr(type(TASK), "possible", {"loss": (10.0, np.inf)})  # whatever comes is the lowest
    heldout = TASK.draw(SMALL, 24, np.random.SeedSequence(1))
    path = Path(heldout, replace(SHORT, elimination="plain"), 0, None)  # with nothing to learn by
    first = objective.judged(OJA + np.where(np.arange(27) == 5, 1e-4, 0.0), heldout, 0.0, 0, "path")
    found = thinned(path, objective, [first], np.random.SeedSequence(2), np.random.default_rng(0), silent)
    assert [one.n_terms for one in found] == [2]


def test_whole_projections_are_groups_and_nothing_is_left_without_a_term():
    memory, seed = get_task("memory"), np.random.SeedSequence(0)
    several = Objective.start(memory, memory.draw(memory.settings_type(), 2, seed), seed)
    groups = several.groups()
    assert len(groups) == 4
    assert sorted(block for group in groups for block in group) == list(range(several.blocks.max() + 1))
    rule = coefficients_of(memory, Rule.parse("IE.on_pre: x_post - 0.2; EE.on_post: 0.5*x_pre"))
    both = PathPoint(0.0, rule_of(memory, rule).coefficients(), 0.5, 0.5)
    rests = [rest for group in groups if (rest := several.without(both, group)) is not None]
    left = [{slot[:2] for slot in circuit_rules(rule_of(memory, rest))} for rest in rests]
    assert left == [{"IE"}, {"EE"}]
    assert several.without(both, list(range(several.blocks.max() + 1))) is None


def test_a_large_penalty_leaves_nothing(objective):
    found = ProximalAdam().minimise(
        objective, np.full(27, 0.01), np.full(27, 50.0), 20, np.random.default_rng(0), silent
    )
    assert not found.any()


def test_forward_differences_approach_the_exact_gradient(objective):
    scaled = objective.scaled(0.5 * OJA)
    picks = np.arange(8)
    exact = objective.step(scaled, picks).gradient
    rough = objective.difference_step(scaled, picks, None, np.ones(27, dtype=bool)).gradient
    np.testing.assert_allclose(rough, exact, rtol=1e-3, atol=1e-4)


def test_search_comes_back_from_where_everything_blows_up(objective):
    wild = objective.scaled(np.full(27, 5.0))
    assert objective.losses(wild).min() > 1
    found = ProximalAdam().minimise(objective, wild, np.full(27, 0.03), 60, np.random.default_rng(0), silent)
    assert objective.losses(found).mean() < 1


@pytest.mark.parametrize("n_inputs", [4, 64])
def test_effects_are_relative_to_the_weights(n_inputs):
    seed = np.random.SeedSequence(0)
    settings = OjaSettings(n_inputs=n_inputs, spectrum=(1.0,), n_samples=20, batch=1)
    effects = Objective.start(TASK, TASK.draw(settings, 32, seed), seed).effects
    decay, direct = 1, 9
    assert effects[decay] == pytest.approx(1)
    assert effects[direct] == pytest.approx(1, rel=0.1)


def test_recovery_table():
    rows = recover(TASK, [2, 3], 2, replace(SHORT, n_train=32))
    assert [row["inputs"] for row in rows] == [2, 3]
    for row in rows:
        assert row["exact"] == 1
        assert row["angle (deg)"] < 2
        assert row["low"] < 1 == row["high"]


def test_a_recovery_that_was_cut_off_goes_on_where_it_was(tmp_path):
    quick = replace(SHORT, n_train=8, steps=6, path_steps=2, refit_steps=2, penalties=(0.0, 0.1))

    def study(progress=silent):
        with Journal(tmp_path / "journal", "p") as journal:
            return recover(TASK, [2], 2, quick, progress, journal=journal), journal.n_kept

    def stop(fraction, message):
        if "seed 1" in message and "penalty 0.1" in message:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study(stop)
    whole = recover(TASK, [2], 2, quick)
    (row,), kept = study()
    assert kept > 5
    times = ("seconds", "slowest (s)")
    assert {key: row[key] for key in row if key not in times} == {
        key: whole[0][key] for key in whole[0] if key not in times
    }


def test_angle_and_interval():
    assert coefficient_angle(OJA, 3 * OJA) == pytest.approx(0, abs=1e-5)
    assert coefficient_angle(OJA, 0 * OJA) == 90
    low, high = share_interval(5, 10)
    assert low == pytest.approx(1 - high)


def test_recovery_at_several_numbers_of_outputs():
    network = get_task("pca-network")
    with pytest.raises(TaskError, match="has one output"):
        recover(TASK, [2], 1, SHORT, outputs=[2])
    with pytest.raises(TaskError, match="2 is more than 1"):
        recover(network, [1], 1, SHORT, outputs=[2])
    quick = replace(SHORT, steps=2, path_steps=1, refit_steps=1, penalties=(0.0,), n_train=4, n_heldout=4)
    (row,) = recover(network, [3], 1, quick, outputs=[2, 4])
    assert (row["inputs"], row["outputs"]) == (3, 2)
    assert 0 <= row["feedforward angle (deg)"] <= 180
    assert 0 <= row["lateral angle (deg)"] <= 180


class Hasty:
    """Two slots, each best at a speed of its own; beyond it one problem of many fails."""

    BEST: ClassVar[dict[str, float]] = {"feedforward": 0.6, "lateral": 1.9}

    def losses(self, rule, problems):
        table = rule.coefficients()
        speeds = {"feedforward": table["feedforward"]["x*y"], "lateral": -table["lateral"]["y_pre*y_post"]}
        slow = sum(np.log(speeds[slot] / best) ** 2 for slot, best in self.BEST.items())
        fails = np.arange(problems) % 50 == 49 if speeds["lateral"] < speeds["feedforward"] else False
        return np.minimum(1.0, 0.01 * slow + np.where(fails, 1.0, np.zeros(problems)))

    def losses_of_rules(self, rules, problems):
        return np.array([self.losses(rule, problems) for rule in rules])


def test_speed_is_set_for_each_kind_of_synapse_on_many_problems():
    hasty = Rule.parse({"feedforward": "1.5*x*y - 1.5*w*y**2", "lateral": "-0.8*y_pre*y_post"})
    (speeds,) = tuned_speeds(Hasty(), [hasty], 200, *FITTED)
    found = at_speeds(hasty, speeds).coefficients()
    assert found["feedforward"]["x*y"] == pytest.approx(0.6, rel=0.05)
    assert found["feedforward"]["w*y**2"] == pytest.approx(-found["feedforward"]["x*y"])
    assert found["lateral"]["y_pre*y_post"] == pytest.approx(-1.9, rel=0.05)


def test_multiples_of_a_rule_are_tuned_to_the_same_speed():
    rule = Rule.parse({"feedforward": "x*y - w*y**2", "lateral": "-y_pre*y_post"})
    multiple = at_speeds(rule, {"feedforward": 0.7, "lateral": 5.0})
    other = Rule.parse({"feedforward": "x*y - 1.1*w*y**2", "lateral": "-y_pre*y_post"})
    speeds = tuned_speeds(Hasty(), [rule, other, multiple], 200, *FITTED)
    first, different, same = (
        at_speeds(one, at).coefficients() for one, at in zip((rule, other, multiple), speeds, strict=True)
    )
    for slot, terms in first.items():
        assert same[slot] == pytest.approx(terms, rel=1e-12)
    assert different["feedforward"]["w*y**2"] != pytest.approx(first["feedforward"]["w*y**2"], rel=1e-3)


def test_tuning_leaves_what_is_best():
    best = Rule.parse({"feedforward": "0.6*x*y - 0.6*w*y**2", "lateral": "-1.9*y_pre*y_post"})
    assert tuned_speeds(Hasty(), [best], 200, *FITTED) == [{"feedforward": 1.0, "lateral": 1.0}]


def test_the_chosen_point_is_tuned_on_further_problems(result):
    chosen = result.points[result.chosen]
    assert chosen.origin == "tuning"
    before = [one for one in result.points if one.support == chosen.support and one.origin != "tuning"]
    assert any(one.penalty == chosen.penalty and one.restart == chosen.restart for one in before)
    assert "its speed was then set on 256 further problems" in result.reason
    untuned = fit(TASK, SMALL, replace(SHORT, restarts=2, n_tuning=0), seed=3)
    assert untuned.points == result.points[:-1]
