"""The rule of spiking synapses without a formula: how it is learned, kept, taught from and shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from discover.errors import ArtefactError, RuleError, TaskError
from discover.expression import parse
from discover.fit import FitResult, FitSettings, Teacher, TeacherSettings, fit, teach
from discover.fit.cmaes import CMAES
from discover.fit.result import TRACE_BLOCKS
from discover.fit.splines import TraceCurves
from discover.journal import Journal, JournaledTask
from discover.progress import silent
from discover.report.spike_teacher import spike_teacher_figure, trace_curves_of_rule
from discover.rule import Rule
from discover.search.curves import from_curves
from discover.search.engine import Proposal, Samples
from discover.search.settings import SearchSettings
from discover.search.teacher import Lesson, teacher_samples
from discover.tasks import collect, get_task
from discover.tasks._balance_problems import BalanceSettings
from sims.spike_splines import SplineSpikeRule, TraceSplines

TASK = get_task("ei-balance")
TINY = BalanceSettings(n_excitatory=80, n_inhibitory=24, duration_s=1.0, measured_s=0.5, learning_rate=0.02)
QUICK = TeacherSettings(
    restarts=2, n_pieces=4, n_train=2, n_heldout=4, penalties=(0.0, 0.05), steps=3, path_steps=1,
    refit_steps=1, start_scale=0.3,
)  # fmt: skip
OPTIONS = FitSettings(
    optimiser="cmaes", population=4, sigma=0.3, restarts=1, n_train=2, n_heldout=4, n_tuning=0,
    penalties=(0.0, 0.05), steps=2, path_steps=1, refit_steps=1, start_scale=0.3, teacher=QUICK,
    terms={"on_pre": ("1", "x_post"), "on_post": ("x_pre",)},
)  # fmt: skip


@pytest.fixture(scope="module")
def whole() -> FitResult:
    return fit(TASK, TINY, OPTIONS, 3)


@pytest.fixture(scope="module")
def quick(whole: FitResult) -> Teacher:
    assert whole.teacher is not None
    assert whole.teacher.is_spiking
    return whole.teacher


def start(smoothness: float = 0.0) -> TraceCurves:
    problems = TASK.draw(TINY, 2, np.random.SeedSequence(5))
    own = TeacherSettings(n_pieces=4, smoothness=smoothness)
    return TraceCurves.start(TASK, problems, own, np.random.SeedSequence(6))  # type: ignore[arg-type]


def some_rule(high: float = 2.0) -> SplineSpikeRule:
    table = np.random.default_rng(2).normal(size=(2, 7))
    return SplineSpikeRule(TraceSplines(0.0, high, table), None, 12.0, 31.0)


# ---------------------------------------------------------------------------------------- coordinates


def test_coordinates_give_the_rule_again() -> None:
    objective = start()
    scaled = objective.random_start(0.5, np.random.default_rng(1))
    rule = objective.rule(scaled)
    assert_allclose(objective.scaled(rule), scaled, atol=1e-12)
    assert rule.on_pre is not None
    assert rule.on_pre.high == objective.highs[0]
    assert_allclose(objective.straightened(objective.bent(scaled)), scaled, atol=1e-12)


def test_a_slot_without_curves_has_no_update() -> None:
    objective = start()
    scaled = np.where(objective.blocks >= 2, 0.0, objective.random_start(0.5, np.random.default_rng(1)))
    assert objective.rule(scaled).on_post is None
    assert_allclose(objective.norms(objective.scaled(objective.rule(scaled)))[2:], 0)


def test_a_curve_on_another_range_is_fitted_there() -> None:
    """A cubic is one on every range; beyond its own range a curve is constant."""
    objective = replace(start(), highs=(1.5, 2.0))
    straight = SplineSpikeRule(TraceSplines(0.0, 2.0, [np.arange(7.0), np.ones(7)]), None)
    other = objective.rule(objective.scaled(straight))
    assert other.on_pre is not None
    assert other.on_pre.high == 1.5
    x = np.linspace(0, 1.5, 20)
    assert straight.on_pre is not None
    assert_allclose(other.on_pre.curves(x), straight.on_pre.curves(x), atol=1e-9)


def test_first_curves_bend_less_than_independent_coefficients() -> None:
    objective, rng = start(), np.random.default_rng(1)
    bends = []
    for _ in range(50):
        curves = objective.random_start(1.0, rng)[:-2].reshape(len(TRACE_BLOCKS), -1)
        bends.append(np.mean(np.diff(curves, n=2, axis=1) ** 2))
    assert np.mean(bends) < 0.2 * 6  # independent coefficients of unit variance have 1 + 4 + 1


def test_values_are_losses_and_roughness_by_hand() -> None:
    objective = start(smoothness=0.7)
    point = objective.random_start(0.5, np.random.default_rng(1))
    curves = point[:-2].reshape(4, 7)
    rough = sum((row[i] - 2 * row[i + 1] + row[i + 2]) ** 2 for row in curves for i in range(5))
    rough /= sum(np.mean(row**2) for row in curves)
    loss = TASK.losses(objective.rule(point), objective.problems).mean()  # type: ignore[arg-type]
    assert objective.values([point]) == pytest.approx([loss + 0.7 * rough])


def test_blocks_with_an_infinite_penalty_stay_away_and_time_constants_move() -> None:
    objective = start()
    penalty = np.where(np.isin(objective.blocks, [1, 2]), np.inf, 0.0)
    begin = np.where(np.isfinite(penalty), objective.random_start(0.5, np.random.default_rng(1)), 0.0)
    found = CMAES(4, 0.3).minimise(objective, begin, penalty, 2, np.random.default_rng(3), silent)
    norms = objective.norms(found)
    assert (norms > 0).tolist() == [True, False, False, True]
    assert np.abs(found[-2:] - begin[-2:]).min() > 0


def test_a_target_that_is_set_by_a_constant_term_is_refused() -> None:
    problems = TASK.draw(replace(TINY, constant_factor=2.0), 2, np.random.SeedSequence(5))
    with pytest.raises(TaskError, match="no constant term"):
        TASK.losses(some_rule(), problems)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------- learning


def test_the_path_is_one_of_blocks(quick: Teacher) -> None:
    assert len(quick.choices) == 2
    sizes = [point.n_terms for point in quick.points]
    assert max(sizes) == 4
    assert quick.best.n_terms <= 4
    assert {point.restart for point in quick.points} == {0, 1}


def test_it_is_kept_whole(whole: FitResult, quick: Teacher) -> None:
    again = FitResult.from_json(whole.to_json())
    assert again.to_json() == whole.to_json()
    assert again.teacher is not None
    assert again.teacher.is_spiking
    assert repr(again.teacher.best.rule) == repr(quick.best.rule)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data.pop("points"),
        lambda data: data.update(chosen=99),
        lambda data: data.update(choices=[-1]),
        lambda data: data["points"][0].update(tau_pre=-1.0),
        lambda data: data["points"][0]["ranges"].update(on_pre=[2.0, 1.0]),
        lambda data: data["points"][0]["ranges"].update(on_pre=[1.0]),
        lambda data: data["points"][0]["ranges"].update(elsewhere=[0.0, 1.0]),
        lambda data: data["points"][0]["blocks"][0].update(coefficients=[1.0]),
        lambda data: data["points"][0]["blocks"][0].update(slot="tau_pre"),
        lambda data: data["points"][0]["blocks"][0].update(weight=2),
        lambda data: data["points"][0].pop("blocks"),
        lambda data: data.update(points=3),
    ],
)
def test_a_damaged_teacher_is_refused(quick: Teacher, spoil: Any) -> None:
    data = quick.to_json()
    spoil(data)
    with pytest.raises((ArtefactError, RuleError)):
        Teacher.from_json(data)


class _CutOff(Exception):
    pass


@pytest.mark.slow
def test_a_fit_with_a_teacher_goes_on_where_it_was(tmp_path: Path, whole: FitResult) -> None:
    def stop_late(fraction: float, message: str) -> None:
        if "teacher 2" in message and "first fit" in message:
            raise _CutOff

    with Journal(tmp_path / "journal", "p") as journal, pytest.raises(_CutOff):
        fit(JournaledTask(TASK, journal), TINY, OPTIONS, 3, stop_late)  # type: ignore[arg-type]
    with Journal(tmp_path / "journal", "p") as journal:
        assert journal.n_kept > 50
        again = fit(JournaledTask(TASK, journal), TINY, OPTIONS, 3)  # type: ignore[arg-type]
    assert again.to_json() == whole.to_json()


def test_rules_of_other_curves_are_other_questions_for_a_journal(tmp_path: Path) -> None:
    problems = TASK.draw(TINY, 2, np.random.SeedSequence(5))
    with Journal(tmp_path / "journal", "p") as journal:
        first = JournaledTask(TASK, journal).losses(some_rule(), problems)
    with Journal(tmp_path / "journal", "p") as journal:
        other = JournaledTask(TASK, journal).losses(some_rule(2.5), problems)
    assert_allclose(first, TASK.losses(some_rule(), problems))  # type: ignore[arg-type]
    assert_allclose(other, TASK.losses(some_rule(2.5), problems))  # type: ignore[arg-type]


@pytest.mark.slow
def test_it_holds_the_rate_with_tuned_inhibition() -> None:
    settings = BalanceSettings(
        n_excitatory=400, n_inhibitory=100, duration_s=5.0, measured_s=3.0, learning_rate=0.03
    )
    own = TeacherSettings(
        restarts=1, n_pieces=4, n_train=3, n_heldout=4, penalties=(0.05,), steps=20, path_steps=2,
        refit_steps=3, start_scale=0.3, resolution=0.1,
    )  # fmt: skip
    best = teach(TASK, settings, replace(OPTIONS, population=10, teacher=own), np.random.SeedSequence(4)).best
    problems = TASK.draw(settings, 6, np.random.SeedSequence(77))
    frozen = Rule.from_coefficients({"on_pre": {}, "on_post": {}})
    loss = TASK.losses(best.rule, problems).mean()  # type: ignore[arg-type]
    assert loss < 1
    assert loss < 0.1 * TASK.losses(frozen, problems).mean()


# ------------------------------------------------------------------------------------------- teaching


def test_engines_learn_from_visited_traces_within_the_splines(whole: FitResult, quick: Teacher) -> None:
    problems = TASK.draw(TINY, 2, np.random.SeedSequence(5))
    lesson = teacher_samples(TASK, problems, whole, collect(TASK, TINY, 2), 200, np.random.SeedSequence(4))
    best = quick.best
    assert set(lesson.trace_curves) == set(best.blocks)
    assert str(lesson.constants["tau_pre"]) == str(parse(repr(best.rule.tau_pre_ms), ()))
    for slot, samples in lesson.samples.items():
        splines = best.splines(slot)
        assert splines is not None
        trace, w = samples.inputs.T
        assert splines.low <= trace.min() < trace.max() <= splines.high
        assert_allclose(samples.target, splines.update(trace, w))
        parts = [w**k * one.target for (name, k), one in lesson.trace_curves.items() if name == slot]
        assert_allclose(np.sum(parts, axis=0), samples.target, atol=1e-12)


class _Named:
    """An engine that knows the answer to each curve, and a wrong one."""

    name = "named"

    def propose(self, samples: Samples, settings: SearchSettings, seed: int, progress: Any) -> list[Proposal]:
        (name,) = samples.variables
        good = (
            f"{name} - 0.25" if name == "x_post" else f"tanh({name})" if samples.target.max() > 0 else "-0.5"
        )
        return [Proposal(parse(text, (name,)), nmse, self.name) for text, nmse in ((name, 0.3), (good, 1e-6))]


def test_curves_are_put_together_again_slot_by_slot() -> None:
    x_post, x_pre, w = np.random.default_rng(0).uniform(0, 2, size=(3, 400))
    samples = {
        "on_pre": Samples(("x_post", "w"), np.stack([x_post, w], axis=1), x_post - 0.25),
        "on_post": Samples(("x_pre", "w"), np.stack([x_pre, w], axis=1), np.tanh(x_pre) - 0.5 * w),
    }
    curves = {
        ("on_pre", 0): Samples(("x_post",), x_post[:, None], x_post - 0.25),
        ("on_post", 0): Samples(("x_pre",), x_pre[:, None], np.tanh(x_pre)),
        ("on_post", 1): Samples(("x_pre",), x_pre[:, None], np.full(400, -0.5)),
    }
    constants = {"tau_pre": parse("12", ()), "tau_post": parse("31", ())}
    lesson = Lesson(samples, constants, trace_curves=curves)
    rules = from_curves(_Named(), lesson, SearchSettings(), 1, silent)  # type: ignore[arg-type]
    whole = Rule.parse(
        {"on_pre": "x_post - 0.25", "on_post": "tanh(x_pre) - 0.5*w", "tau_pre": "12", "tau_post": "31"}
    )
    assert whole.canonical() in [rule.canonical() for rule in rules]
    assert all(rule.constant("tau_post") == 31 for rule in rules)
    assert {"on_pre" in rule.slots for rule in rules} == {True, False}
    assert len(rules) <= 35


# -------------------------------------------------------------------------------------------- showing


def test_curves_of_a_formula() -> None:
    x = np.linspace(0, 2, 9)
    rule = Rule.parse({"on_pre": "tanh(x_post) - 3*w*x_post**2"})
    curves = trace_curves_of_rule(rule, {"on_pre": x, "on_post": x})
    assert curves is not None
    assert_allclose(curves["on_pre", 0], np.tanh(x), atol=1e-9)
    assert_allclose(curves["on_pre", 1], -3 * x**2, atol=1e-9)
    assert_allclose(curves["on_post", 0], 0)
    assert trace_curves_of_rule(Rule.parse({"on_pre": "tanh(w)"}), {"on_pre": x}) is None
    assert trace_curves_of_rule(Rule.parse({"on_pre": "1/x_post"}), {"on_pre": x}) is None


def test_the_figure_has_a_place_for_every_curve(quick: Teacher) -> None:
    rule = SplineSpikeRule(
        TraceSplines(0.0, 2.0, np.ones((2, 7))), TraceSplines(0.0, 3.0, [[1.0] * 7, [0.0] * 7])
    )
    points = tuple(replace(point, rule=rule) for point in quick.points)
    figure = spike_teacher_figure(
        replace(quick, points=points), Rule.parse({"on_pre": "x_post", "on_post": "w"})
    )
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title(loc="left") for axes in shown] == [
        "times 1 at presynaptic spikes",
        "times w at presynaptic spikes",
        "times 1 at postsynaptic spikes",
    ]
    assert all(len(axes.lines) == 3 for axes in shown)


def test_bands_end_where_the_traces_of_a_restart_do(quick: Teacher) -> None:
    wide, narrow = some_rule(2.0), some_rule(1.0)
    points = (replace(quick.points[0], rule=wide), replace(quick.points[1], rule=narrow))
    figure = spike_teacher_figure(Teacher(points, 0, "", (0, 1)), Rule.parse({"on_pre": "x_post"}))
    (band,) = figure.axes[0].collections
    vertices = band.get_paths()[0].vertices
    far = vertices[vertices[:, 0] > 1.1]
    for x in np.unique(far[:, 0]):
        assert np.ptp(far[far[:, 0] == x, 1]) < 1e-9
    assert np.ptp(vertices[np.isclose(vertices[:, 0], 0.5), 1]) > 1e-3
