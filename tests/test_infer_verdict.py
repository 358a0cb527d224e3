"""Data without a law give no rule, weak laws are kept, and a form that was not searched is called missing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from naive_infer import quick_gain
from test_infer import recorded
from test_infer_pipeline import OPTIONS, discover, write_table
from trials_infer import NAMES, NULLS, OUTSIDE, WEAK, said_without_law, strong_law, weak_law, without_law

from discover.inference import InferSettings, from_rows, infer
from discover.inference.chance import by_chance_alone, rearranged
from discover.inference.forms import RecordedFront
from discover.inference.recordings import Recordings
from discover.inference.regressor import RuleRegressor
from discover.inference.smooth import flexible_predictions, smooth_predictions
from discover.pareto import ParetoFront
from discover.report.recorded import write_recorded_report
from discover.stored import read_stored

QUICK = InferSettings(permutations=99, n_penalties=12, folds=6)


def named(states: np.ndarray, target: np.ndarray, sizes: list[int]) -> Recordings:
    labels = np.repeat([f"r{k}" for k in range(len(sizes))], sizes)
    return from_rows([f"x{k}" for k in range(states.shape[1])], states, target, labels)


# ------------------------------------------------------------------------------------------- rearranged data


def test_whole_recordings_are_dealt_to_others_row_by_row() -> None:
    rng = np.random.default_rng(0)
    target = np.arange(60.0)
    kind, columns = rearranged(named(rng.normal(size=(60, 2)), target, [10] * 6), 30, seed=1)
    assert kind == "recordings"
    np.testing.assert_array_equal(columns[:, 0], target)
    for column in columns.T[1:]:
        parts = column.reshape(6, 10)
        assert sorted(parts[:, 0].tolist()) == [0, 10, 20, 30, 40, 50]
        np.testing.assert_array_equal(np.diff(parts, axis=1), 1)  # rows stay in their order
        assert (column != target).any()


def test_recordings_of_other_lengths_are_cut_or_repeated() -> None:
    rng = np.random.default_rng(0)
    sizes = [4, 6, 5, 7, 3]
    recordings = named(rng.normal(size=(25, 1)), np.arange(25.0), sizes)
    _, columns = rearranged(recordings, 20, seed=0)
    starts = {0, 4, 10, 15, 22}
    for column in columns.T:
        for own in recordings.rows:
            assert column[own[0]] in starts
            assert (np.diff(column[own]) == 1).sum() >= own.size - 1 - own.size // 3


def test_targets_of_few_recordings_or_of_one_protocol_are_shifted_and_their_slow_course_stays() -> None:
    rng = np.random.default_rng(0)
    protocol = np.column_stack([np.tile(rng.normal(size=50), 6), rng.normal(size=300)])
    for states, sizes in ((rng.normal(size=(90, 2)), [30] * 3), (protocol, [50] * 6)):
        n = sum(sizes)
        places = np.concatenate([np.linspace(-1, 1, size) for size in sizes])
        course = 3 * places**2 - places + np.repeat(10.0 * np.arange(len(sizes)), sizes)
        kind, columns = rearranged(named(states, course, sizes), 20, seed=0)
        assert kind == "shifts"
        np.testing.assert_allclose(columns, np.repeat(course[:, None], 21, axis=1), atol=1e-9)
        noise = rng.normal(size=n)
        _, columns = rearranged(named(states, noise, sizes), 20, seed=0)
        assert (np.abs(columns[:, 1:] - noise[:, None]).mean(axis=0) > 0.5).all()
        np.testing.assert_allclose(columns.mean(axis=0), noise.mean(), atol=1e-9)


def test_a_single_series_is_shifted_as_a_whole() -> None:
    rng = np.random.default_rng(0)
    target = rng.normal(size=400)
    kind, columns = rearranged(from_rows(("x",), rng.normal(size=(400, 1)), target, None), 20, seed=0)
    assert kind == "shifts"
    own = np.abs(np.fft.rfft(target))[30:]  # all but the slow course is only moved
    for column in columns.T[1:]:
        assert np.corrcoef(np.abs(np.fft.rfft(column))[30:], own)[0, 1] > 0.99
        assert abs(np.corrcoef(column, target)[0, 1]) < 0.5


def test_the_quick_search_is_least_squares_on_recordings_left_out() -> None:
    data = recorded("x*y - 0.4*w", 0.5, n=300)
    found = by_chance_alone(data, InferSettings(permutations=19, folds=5), factors=False)
    assert found is not None
    assert found.gain == pytest.approx(quick_gain(data, InferSettings().degree, 5), rel=1e-6)
    assert found.p == 0.05
    assert found.gain_by_chance < 0.2 * found.gain


def test_the_same_seed_gives_the_same_chance_and_none_may_be_asked_for() -> None:
    data = recorded("x*y", 1.0, n=200)
    settings = InferSettings(permutations=19, n_penalties=12)
    assert by_chance_alone(data, settings, True) == by_chance_alone(data, settings, True)
    found = infer(data, InferSettings(permutations=0, n_penalties=12), engines=())
    assert found.verdict.chance is None
    assert found.verdict.supported


def test_functions_without_a_formula_predict_recordings_that_they_did_not_see() -> None:
    rng = np.random.default_rng(3)
    states = rng.normal(size=(600, 2))
    target = np.sin(2 * states[:, 0]) * states[:, 1]
    data = named(states, target, [100] * 6)
    best = min(np.mean((one[:, 0] - target) ** 2) for one in smooth_predictions(data, target[:, None], 6))
    assert best < 0.1 * target.var()
    changed = named(states, np.where(data.groups == 2, 5.0, target), [100] * 6)
    own = data.groups == 2
    for one, other in zip(
        flexible_predictions(data, target, 6),
        flexible_predictions(changed, changed.samples.target, 6),
        strict=True,
    ):
        np.testing.assert_allclose(one[own], other[own], atol=1e-9)


# ------------------------------------------------------------------------------------------------- verdicts


def test_offsets_of_recordings_are_no_rule() -> None:
    verdicts = []
    for seed in range(5):
        data = without_law("offsets", np.random.default_rng(seed))
        found = infer(data, QUICK, engines=())
        assert found.verdict.chance == by_chance_alone(data.of(found.search), QUICK, factors=False)
        assert found.verdict.supported == found.verdict.text.startswith("The data support a rule.")
        verdicts.append(found.verdict.supported)
    assert sum(verdicts) <= 1  # one in a hundred may be


def test_a_weak_law_is_a_rule_whose_gain_and_recordings_are_said() -> None:
    found = infer(weak_law(WEAK["x*y - 0.5*w"], 0.2, np.random.default_rng(1)), QUICK, engines=())
    verdict = found.verdict
    assert verdict.supported
    assert 0.1 < verdict.gain < 0.3
    assert verdict.n_recordings == 8
    assert verdict.n_better >= 7
    assert "The data support a rule." in verdict.text
    assert f"better in {verdict.n_better} of 8" in verdict.text
    assert "99 such searches" in verdict.text


def test_a_rule_that_holds_in_half_of_the_recordings_alone_is_none() -> None:
    rng = np.random.default_rng(0)
    states = rng.normal(size=(400, 3))
    sign = np.repeat([1.0, -1.0] * 4, 50)
    labels = np.repeat([f"r{k}" for k in range(8)], 50)
    found = infer(from_rows(NAMES, states, sign * states[:, 0], labels), QUICK, engines=())
    assert not found.verdict.supported


def test_what_a_polynomial_leaves_says_that_the_form_is_missing() -> None:
    for seed in range(2):
        data = strong_law(lambda x, y, w: x * np.sin(3 * y), 0.1, False, np.random.default_rng(seed), n=600)
        verdict = infer(data, QUICK, engines=()).verdict
        assert verdict.unexplained
        assert verdict.reachable < 0.9 * verdict.loss
        assert "form is probably missing" in verdict.text
    right = infer(recorded("x*y - 0.4*w", 0.3, n=600), QUICK, engines=()).verdict
    assert right.supported
    assert not right.form_missing


def test_rows_in_order_of_a_variable_cannot_be_told_from_a_drift_and_this_is_said() -> None:
    rng = np.random.default_rng(5)
    x = np.tile(np.linspace(-1.7, 1.7, 60), 6)
    target = x + 0.5 * rng.normal(size=360)
    order = np.concatenate([60 * k + rng.permutation(60) for k in range(6)])
    labels = np.repeat([f"r{k}" for k in range(6)], 60)
    in_order, shuffled = (
        infer(from_rows(("x",), x[rows, None], target[rows], labels), QUICK, engines=()).verdict
        for rows in (np.arange(360), order)
    )
    assert not in_order.supported
    assert "in order of x" in in_order.text
    assert shuffled.supported
    assert "in order" not in shuffled.text


def test_the_verdict_knows_the_recordings_kept_for_the_end() -> None:
    data = recorded("x*y - 0.4*w", 0.5, n=400)
    found = infer(data, QUICK, engines=())
    target = data.samples.target.copy()
    own = np.isin(data.groups, found.kept)
    target[own] *= -3
    other = from_rows(NAMES, data.samples.inputs, target, [data.names[one] for one in data.groups])
    changed = infer(other, QUICK, engines=()).verdict
    assert changed.n_better <= found.verdict.n_better - len(found.kept)
    assert changed.p > found.verdict.p
    assert changed.chance == found.verdict.chance  # the search and its comparison do not see them


def test_the_estimator_says_whether_there_is_a_rule() -> None:
    rng = np.random.default_rng(2)
    states = rng.normal(size=(300, 2))
    groups = np.repeat(np.arange(6), 50)
    settings = InferSettings(permutations=99, n_penalties=12)
    model = RuleRegressor(engines=(), settings=settings).fit(states, rng.normal(size=300), groups)
    assert not model.verdict_.supported
    model.fit(states, states[:, 0] * states[:, 1] + 0.3 * rng.normal(size=300), groups)
    assert model.verdict_.supported
    assert not model.verdict_.form_missing


# ------------------------------------------------------------------------- command line, artefacts and report


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on noise."""
    folder = tmp_path_factory.mktemp("nothing")
    table = write_table(folder / "data.csv", change=0.0)
    code, output = discover("infer", table, *OPTIONS, "--results", folder)
    assert code == 0, output
    assert "verdict: No rule" in output
    return folder / "data"


def test_no_rule_is_said_in_the_artefact_the_front_and_the_report(run: Path) -> None:
    verdict = read_stored(run / "front.json", RecordedFront).recorded.verdict
    assert verdict is not None
    assert not verdict.supported
    assert not verdict.form_missing
    assert verdict.chance is not None
    assert verdict.chance.n == 199
    assert verdict.chance.p > 0.01
    for command in ("front", "show"):
        assert "verdict: No rule" in discover(command, run)[1]
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "<strong>No rule.</strong>" in page
    assert "No rule: the data do not support one." in page


def test_another_candidate_does_not_inherit_the_verdict(run: Path) -> None:
    front = read_stored(run / "front.json", ParetoFront)
    other = next(one.id for one in front.front if one is not front.chosen)
    assert "verdict:" not in discover("show", run, other)[1]


def test_a_run_from_before_there_were_verdicts_is_read(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "old"
    shutil.copytree(run, folder)
    content = json.loads((folder / "front.json").read_text())
    del content["recorded"]["verdict"]
    (folder / "front.json").write_text(json.dumps(content))
    assert "The rule that was chosen:" in write_recorded_report(folder).read_text(encoding="utf-8")
    code, output = discover("front", folder)
    assert code == 0, output
    assert "verdict:" not in output


def test_a_damaged_verdict_is_one_error_or_text(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(run, folder)
    content = json.loads((folder / "front.json").read_text())
    content["recorded"]["verdict"]["text"] = "<script>alert(1)</script>\x1b[31m"
    (folder / "front.json").write_text(json.dumps(content))
    assert "alert(1)</script>" not in write_recorded_report(folder).read_text(encoding="utf-8")
    assert "\x1b" not in discover("front", folder)[1]


# --------------------------------------------------------------------------------------------------- counts


@pytest.mark.slow
@pytest.mark.parametrize("kind", NULLS)
def test_nineteen_of_twenty_draws_without_a_law_give_no_rule(kind: str) -> None:
    verdicts = [
        said_without_law(without_law(kind, np.random.default_rng([7, draw]), n=50), QUICK, ())
        for draw in range(20)
    ]
    assert verdicts.count("no rule") >= 19, verdicts


@pytest.mark.slow
@pytest.mark.parametrize("name", list(WEAK))
def test_nine_of_ten_weak_laws_are_rules(name: str) -> None:
    verdicts = [
        infer(
            weak_law(WEAK[name], 0.2, np.random.default_rng([8, draw])), QUICK, engines=()
        ).verdict.supported
        for draw in range(10)
    ]
    assert sum(verdicts) >= 9


@pytest.mark.slow
@pytest.mark.parametrize("name", ["x*sin(2*y) - 0.1*w", "(x - w)*tanh(y - x)"])
def test_a_law_outside_of_the_forms_is_called_missing(name: str) -> None:
    found = infer(strong_law(OUTSIDE[name], 0.1, False, np.random.default_rng(3)), engines=("terms",))
    assert found.verdict.form_missing
