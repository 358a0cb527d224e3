"""The rule without a formula: how it is learned, kept, taught from and shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from discover.errors import ArtefactError, RuleError, TaskError
from discover.expression import parse
from discover.fit import FitResult, FitSettings, Teacher, TeacherPoint, TeacherSettings, fit, teach
from discover.fit.proximal import ProximalAdam
from discover.journal import Journal, JournaledTask
from discover.progress import silent
from discover.report.teacher import curves_of_rule, mean_updates, teacher_figure
from discover.rule import Rule
from discover.search.curves import from_curves
from discover.search.engine import Proposal, Samples
from discover.search.settings import SearchSettings
from discover.search.teacher import Lesson, teacher_samples
from discover.tasks import collect, get_task
from sims.rules import SplineRule

TAUGHT = TeacherSettings(
    restarts=2, n_pieces=5, n_train=8, n_heldout=8, penalties=(0.0, 0.01), steps=12, path_steps=4,
    refit_steps=3, batch=4,
)  # fmt: skip
QUICK = FitSettings(teacher=TAUGHT)
LEARNED = FitSettings(teacher=TeacherSettings(restarts=1, n_pieces=10, n_train=32, n_heldout=32))


def settings_of(name: str, **changes: Any) -> Any:
    return get_task(name).settings_type(**changes)


@pytest.fixture(scope="module")
def quick() -> Teacher:
    return teach(get_task("ica"), settings_of("ica", n_steps=40), QUICK, np.random.SeedSequence(4))


@pytest.mark.slow
def test_on_oja_it_finds_nothing_but_oja() -> None:
    """The curves of Oja's rule are left, and do no better. Gaussian inputs leave their shape open."""
    task, settings = get_task("oja"), settings_of("oja", n_inputs=3)
    best = teach(task, settings, LEARNED, np.random.SeedSequence(4)).best
    assert set(best.blocks) == {(1, 0), (0, 1)}
    problems = task.draw(settings, 64, np.random.SeedSequence(77))
    known = min(
        task.losses(Rule.parse("x*y - w*y**2").scaled(factor), problems).mean() for factor in (0.3, 0.6, 1)
    )
    own = task.losses(best.rule, problems).mean()  # type: ignore[arg-type]
    assert known - 0.005 < own < 0.05


@pytest.mark.slow
def test_on_ica_it_beats_every_polynomial() -> None:
    task, settings = get_task("ica"), settings_of("ica", n_steps=400)
    best = teach(task, settings, LEARNED, np.random.SeedSequence(4)).best
    problems = task.draw(settings, 48, np.random.SeedSequence(78))
    cosine = task.evaluate(best.rule, problems)["cosine"].mean()  # type: ignore[arg-type]
    assert cosine > 0.97
    assert task.evaluate(Rule.parse("x*y - w*y**2"), problems)["cosine"].mean() < 0.9


def test_the_same_seed_gives_the_same_teacher(quick: Teacher) -> None:
    again = teach(get_task("ica"), settings_of("ica", n_steps=40), QUICK, np.random.SeedSequence(4))
    assert again.to_json() == quick.to_json()


def test_json_holds_all_of_it(quick: Teacher) -> None:
    again = Teacher.from_json(quick.to_json())
    assert again.to_json() == quick.to_json()
    np.testing.assert_array_equal(again.best.rule.coefficients, quick.best.rule.coefficients)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data.pop("points"),
        lambda data: data.update(chosen=99),
        lambda data: data.update(choices=[-1]),
        lambda data: data["points"][0].update(low=5.0, high=-5.0),
        lambda data: data["points"][0]["blocks"][0].update(coefficients=[1.0]),
        lambda data: data["points"][0]["blocks"][0].update(pre=7),
        lambda data: data["points"][0].pop("blocks"),
        lambda data: data.update(points=3),
    ],
)
def test_a_damaged_teacher_is_refused(quick: Teacher, spoil: Any) -> None:
    data = quick.to_json()
    spoil(data)
    with pytest.raises((ArtefactError, RuleError)):
        Teacher.from_json(data)


@pytest.mark.parametrize("name", ["pca-network", "bcm"])
def test_a_network_that_runs_no_splines_is_refused(name: str) -> None:
    with pytest.raises(TaskError, match="without a formula"):
        teach(get_task(name), settings_of(name), QUICK, np.random.SeedSequence(4))


def test_groups_share_their_step_and_leave_together() -> None:
    """One prox step by hand: each group moves towards zero by its threshold, and to zero if it is nearer."""
    groups = np.array([0, 0, 1, 1])
    learner = ProximalAdam(groups=groups)
    shrunk = learner._shrunk(np.array([3.0, 4.0, 0.1, -0.1]), np.full(4, 0.5))
    size = np.sqrt(12.5)
    np.testing.assert_allclose(shrunk, [3 * (1 - 0.5 / size), 4 * (1 - 0.5 / size), 0, 0])
    np.testing.assert_allclose(learner._shared(np.array([1.0, 3.0, 0.0, 8.0])), [2, 2, 4, 4])


class _CutOff(Exception):
    pass


def test_a_fit_with_a_teacher_goes_on_where_it_was(tmp_path: Path) -> None:
    task, problems = get_task("ica"), settings_of("ica", n_steps=30)
    options = FitSettings(
        restarts=1, n_train=6, n_heldout=6, n_tuning=0, penalties=(0.0, 0.02), steps=4, path_steps=3,
        refit_steps=2, batch=4, teacher=TAUGHT,
    )  # fmt: skip
    whole = fit(task, problems, options, 3)
    assert whole.teacher is not None
    assert FitResult.from_json(whole.to_json()).to_json() == whole.to_json()

    def stop_late(fraction: float, message: str) -> None:
        if "teacher 2" in message and "refit" in message:
            raise _CutOff

    with Journal(tmp_path / "journal", "p") as journal, pytest.raises(_CutOff):
        fit(JournaledTask(task, journal), problems, options, 3, stop_late)  # type: ignore[arg-type]
    with Journal(tmp_path / "journal", "p") as journal:
        assert journal.n_kept > 50
        again = fit(JournaledTask(task, journal), problems, options, 3)  # type: ignore[arg-type]
    assert again.to_json() == whole.to_json()
    assert (tmp_path / "journal").stat().st_size < 3_000_000


def test_engines_learn_from_visited_outputs_within_the_splines() -> None:
    task, settings = get_task("ica"), settings_of("ica", n_steps=40)
    teacher = teach(task, settings, QUICK, np.random.SeedSequence(4))
    result = replace(
        fit(task, settings, FitSettings(restarts=1, steps=2, path_steps=1, refit_steps=1, n_tuning=0), 1),
        teacher=teacher,
    )
    problems = task.draw(settings, 8, np.random.SeedSequence(5))
    lesson = teacher_samples(
        task, problems, result, collect(task, settings, 2), 200, np.random.SeedSequence(4)
    )
    (samples,) = lesson.samples.values()
    rule = teacher.best.rule
    y = samples.columns["y"]
    assert rule.low <= y.min() < y.max() <= rule.high
    np.testing.assert_allclose(samples.target, rule.update(*samples.inputs.T))
    assert set(lesson.curves) == set(teacher.best.blocks)
    x, w = samples.columns["x"], samples.columns["w"]
    parts = [x**i * w**k * one.target for (i, k), one in lesson.curves.items()]
    np.testing.assert_allclose(np.sum(parts, axis=0), samples.target, atol=1e-12)


class _Named:
    """An engine that knows the answers to two curves, and a wrong one."""

    name = "named"

    def propose(self, samples: Samples, settings: SearchSettings, seed: int, progress: Any) -> list[Proposal]:
        good = "tanh(y)" if samples.target.min() < 0 else "0.5*y**2"
        return [Proposal(parse(text, ("y",)), nmse, self.name) for text, nmse in (("y", 0.3), (good, 1e-6))]


def test_curves_are_put_together_again() -> None:
    rng = np.random.default_rng(0)
    x, y, w = rng.normal(size=(3, 400))
    whole = Samples(("x", "y", "w"), np.stack([x, y, w], axis=1), x * np.tanh(y) + 0.5 * w * y**2)
    curves = {
        (1, 0): Samples(("y",), y[:, None], np.tanh(y)),
        (0, 1): Samples(("y",), y[:, None], 0.5 * y**2),
    }
    lesson = Lesson({"feedforward": whole}, curves=curves)
    rules = from_curves(_Named(), lesson, SearchSettings(), 1, silent)  # type: ignore[arg-type]
    values = rules[-1].numpy()["feedforward"](x=x, y=y, w=w)
    np.testing.assert_allclose(values, whole.target)
    sizes = [rule.size for rule in rules]
    assert sizes == sorted(sizes)
    short = from_curves(_Named(), lesson, SearchSettings(max_nodes=5), 1, silent)  # type: ignore[arg-type]
    assert max(rule.size for rule in short) <= 5


def test_curves_of_a_formula() -> None:
    y = np.linspace(-2, 2, 9)
    curves = curves_of_rule(Rule.parse("x**2*w*tanh(y) - 3*w").numpy()["feedforward"], y)
    assert curves is not None
    np.testing.assert_allclose(curves[2, 1], np.tanh(y), atol=1e-9)
    np.testing.assert_allclose(curves[0, 1], -3)
    assert np.count_nonzero(np.abs(curves).max(axis=2) > 1e-6) == 2
    assert curves_of_rule(Rule.parse("tanh(x)*y").numpy()["feedforward"], y) is None
    assert curves_of_rule(Rule.parse("x/y").numpy()["feedforward"], np.array([0.0])) is None


def test_the_figure_has_a_place_for_every_curve(quick: Teacher) -> None:
    table = quick.best.rule.coefficients.copy()
    table[:] = 0.0
    table[1, 0] = np.arange(table.shape[2])
    table[0, 1] = table[2, 2] = -1.0
    rule = SplineRule(quick.best.rule.low, quick.best.rule.high, table)
    points = tuple(replace(point, rule=rule) for point in quick.points)
    updates = (np.array([1.0, -1.0]), np.array([1.0, 0.0]))
    figure = teacher_figure(replace(quick, points=points), Rule.parse("x*y - w"), updates)
    *shown, alike = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title(loc="left") for axes in shown] == ["times w", "times x", "times x²w²"]
    assert all(len(axes.lines) == 3 for axes in shown)
    assert alike.get_title(loc="left") == "mean updates: 50 % alike"


def _only(table: Any, i: int, k: int, number: int) -> Any:
    """Return a table of coefficients of which one is 1."""
    alone = np.zeros_like(table)
    alone[i, k, number] = 1.0
    return alone


def test_mean_updates_of_a_formula_in_splines_are_its_own(quick: Teacher) -> None:
    task = get_task("oja")
    settings = task.settings_type(n_inputs=3, n_samples=400, n_steps=40, batch=10)
    low, high = quick.best.rule.low, quick.best.rule.high
    y = np.linspace(low, high, 400)
    table = np.zeros((3, 3, quick.best.rule.coefficients.shape[2]))
    each = [SplineRule(low, high, _only(table, 1, 0, k)).curves(y)[1, 0] for k in range(table.shape[2])]
    for block, curve in (((1, 0), y), ((0, 1), -(y**2))):
        table[block] = np.linalg.lstsq(np.transpose(each), curve, rcond=None)[0]
    points = tuple(replace(point, rule=SplineRule(low, high, table)) for point in quick.points)
    teacher = replace(quick, points=points)
    own, found = mean_updates(teacher, Rule.parse("3*x*y - 3*w*y**2"), task, settings, 0)
    assert len(own) > 100
    np.testing.assert_allclose(found, own, atol=1e-3 * np.abs(own).max())


def test_a_teacher_of_a_task_that_knows_no_sign_treats_both_alike() -> None:
    task = get_task("ica")
    assert task.sign_symmetric
    assert not get_task("bcm").sign_symmetric
    settings_ = TeacherSettings(
        restarts=1, n_train=8, n_heldout=8, steps=12, path_steps=4, refit_steps=4, penalties=(0.0,)
    )
    options = FitSettings(teacher=settings_)
    problems = task.settings_type(n_samples=200, n_steps=40)
    rule = teach(task, problems, options, np.random.SeedSequence(0)).best.rule
    assert rule.low == -rule.high
    assert rule.coefficients.any()
    for i in range(3):
        for k in range(3):
            table = rule.coefficients[i, k]
            if (i + k) % 2 == 0:
                assert not table.any()
            else:
                np.testing.assert_allclose(table[::-1], (-1) ** i * table, atol=1e-12)
    rng = np.random.default_rng(0)
    x, y, w = rng.normal(size=(3, 50))
    np.testing.assert_allclose(rule.update(-x, -y, w), rule.update(x, y, w), atol=1e-9)
    np.testing.assert_allclose(rule.update(x, -y, -w), -rule.update(x, y, w), atol=1e-9)


def test_a_teacher_has_further_starts_until_the_best_one_is_confirmed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two starts that end apart are no sign of having converged; at most three times as many are made."""
    from discover.fit import teacher as module

    ends = iter([0.48, 0.06, 0.47, 0.07, 0.5])
    point = TeacherPoint(SplineRule(-1.0, 1.0, np.ones((3, 3, 8))), 0.0, 0.1, 0.1, 0.01, 0)

    def end(task: Any, item: tuple[Any, ...], progress: Any) -> list[TeacherPoint]:
        return [replace(point, heldout_loss=next(ends), restart=item[3])]

    monkeypatch.setattr(module, "_restarted", end)
    found = teach(get_task("ica"), settings_of("ica", n_steps=10), QUICK, np.random.SeedSequence(0))
    assert [found.points[place].heldout_loss for place in found.choices] == [0.48, 0.06, 0.47, 0.07]
    assert found.best.restart == 1
    ends = iter([0.1 * 2**n for n in range(20)])
    found = teach(get_task("ica"), settings_of("ica", n_steps=10), QUICK, np.random.SeedSequence(0))
    assert len(found.choices) == 3 * TAUGHT.restarts
    ends = iter([0.45, 0.44, 0.06, 0.07])
    found = teach(
        get_task("ica"), settings_of("ica", n_steps=10), QUICK, np.random.SeedSequence(0), reached=0.17
    )
    assert len(found.choices) == 4, "the first two agree, and polynomials do better than both"
