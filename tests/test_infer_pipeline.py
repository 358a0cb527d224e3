"""`discover infer` from a table to a report, and the estimator of scikit-learn's form."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from discover.errors import ArtefactError, ConfigError
from discover.fit import FitResult
from discover.forms import Comparison, Validation
from discover.inference.forms import RecordedFront
from discover.inference.regressor import RuleRegressor
from discover.inference.settings import InferSettings
from discover.report.recorded import write_recorded_report
from discover.rule import Rule
from discover.stored import read_stored
from pipelines import artefacts
from pipelines.cli import app

HOSTILE = '<script>alert(1)</script>&"$x_1$'


def write_table(path: Path, seed: int = 0, n: int = 240, names: str = "abcdef", change: float = 1.0) -> Path:
    """Oja's rule at six recordings, the first of which has a hostile name."""
    rng = np.random.default_rng(seed)
    x, y, w = rng.normal(size=(3, n))
    dw = change * (0.5 * x * y - 0.5 * w * y**2) + 0.01 * rng.normal(size=n)
    labels = np.repeat([HOSTILE, *list(names)[1:]], n // len(names))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["pre [Hz]", "post [Hz]", "w [nS]", "dw [nS/s]", "recording"])
        writer.writerows(zip(x.tolist(), y.tolist(), w.tolist(), dw.tolist(), labels, strict=True))
    return path


def discover(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(one) for one in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


OPTIONS = ("--variables", "x=pre,y=post,w", "--groups", "recording", "--polynomial")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    folder = tmp_path_factory.mktemp("infer")
    table = write_table(folder / "data.csv")
    code, output = discover("infer", table, *OPTIONS, "--results", folder)
    assert code == 0, output
    assert "equals Oja (1982) up to scale" in output
    assert "-->" in output
    return folder / "data"


def test_all_artefacts_have_the_forms_of_those_of_simulated_runs(run: Path) -> None:
    read_stored(run / "path.json", FitResult)
    front = read_stored(run / "front.json", RecordedFront)
    assert set(front.chosen.rule.coefficients()["feedforward"]) == {"x*y", "w*y**2"}
    arrays = artefacts.read_arrays(run / "predictions.npz", "predictions")
    assert np.corrcoef(arrays["observed"], arrays["predicted"])[0, 1] > 0.999
    folds = read_stored(run / "validation.json", Validation).candidates[front.chosen_id].folds
    assert tuple(fold.name for fold in folds if fold.kept) == front.recorded.kept
    assert len(folds) == 6
    assert len((run / "front.csv").read_text().splitlines()) == len(front.candidates) + 1
    stages = json.loads((run / "manifest.json").read_text())["stages"]
    assert set(stages) == {"infer", "report"}
    assert "not compared" in read_stored(run / "comparison.json", Comparison).behavioural


def test_units_of_headings_reach_constants_and_report(run: Path) -> None:
    chosen = read_stored(run / "front.json", RecordedFront).chosen
    assert chosen.to_json()["constant_units"] == ("nS/(Hz**2*s)", "1/(Hz**2*s)")
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "up to the learning rate" not in page
    assert r"\eta" not in page, "the rule gives the change itself"
    assert "[nS/(Hz**2*s)]" in page
    assert "dw <span" in page


def test_hostile_names_are_text_in_the_report(run: Path) -> None:
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;alert(1)" in page
    assert "alert(1)</script>" not in page
    scripts = re.findall(r"<script[^>]*>", page)
    assert len(scripts) == 3  # the plot's data, Plotly and our own
    assert "chosen ▶" in page
    assert {path.name for path in (run / "figures").glob("*.png")} >= {"predicted.png", "recordings.png"}


@pytest.mark.slow
def test_other_commands_read_the_run(run: Path) -> None:
    for command in (("front",), ("show",), ("export", "--to", "python"), ("report",)):
        code, output = discover(command[0], run, *command[1:])
        assert code == 0, output
    assert "chosen without some recordings" in discover("show", run)[1]
    code, output = discover("diff", run, run)
    assert code == 0
    assert "settings: the same" in output
    listed = json.loads(discover("runs", run, "--json")[1])["runs"]
    assert [(one["task"], one["state"], one["done"]) for one in listed] == [
        ("recorded", "finished", ["infer"])
    ]
    code, output = discover("front", run, "--select", "lowest")
    assert code == 0
    assert "the run itself chose" in output
    code, output = discover("search", run)
    assert code == 2
    assert "discover infer" in output


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes_and_nothing_runs_twice(run: Path, tmp_path: Path) -> None:
    table = run.parent / "data.csv"
    code, output = discover("infer", table, *OPTIONS, "--results", tmp_path)
    assert code == 0, output
    for name in (
        "front.json",
        "front.csv",
        "path.json",
        "validation.json",
        "comparison.json",
        "predictions.npz",
    ):
        assert (tmp_path / "data" / name).read_bytes() == (run / name).read_bytes(), name
    code, output = discover("infer", table, *OPTIONS, "--results", tmp_path)
    assert "infer: up to date" in output
    before = (tmp_path / "data" / "front.json").read_bytes()
    code, output = discover("infer", table, *OPTIONS, "--seed", "7", "--results", tmp_path)
    assert code == 2
    assert "holds a finished run with other settings" in output
    assert "--name" in output
    assert (tmp_path / "data" / "front.json").read_bytes() == before
    (tmp_path / "data" / "front.json").write_text("{}")
    code, output = discover("infer", table, *OPTIONS, "--results", tmp_path)
    assert code == 2
    assert "edited since" in output


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--variables", "x=pre,y=pots,w"), "Did you mean 'post'"),
        (("--variables", "exp=pre"), "cannot be called"),
        (("--variables", "x=pre,x=post"), "comes twice"),
        (("--variables", ""), "at least one variable"),
        (("--variables", "dw"), "would explain itself"),
        (("--variables", "w", "--target", "recording"), "number is expected"),
        (("--variables", "w", "--groups", "no"), "no column 'no'"),
        (("--variables", "w", "--units", "w=3%%"), "A unit is written"),
        (("--variables", "w", "--units", "v=nS"), "there is no column"),
        (("--variables", "w", "--weak"), "--time"),
        (("--variables", "w", "--time", "pre"), "belong to --weak"),
        (("--variables", "w", "--weak", "--time", "pre"), "Times must grow"),
        (("--variables", "w", "--name", "../out"), "name"),
        (("--variables", "w", "--engine", "trems"), "Did you mean 'terms'"),
    ],
)
def test_mistakes_are_one_paragraph_and_change_nothing(
    run: Path, options: tuple[str, ...], said: str
) -> None:
    before = {path: path.read_bytes() for path in run.glob("*.json")}
    code, output = discover("infer", run.parent / "data.csv", *options, "--results", run.parent)
    assert code == 2
    assert said in output
    assert "Traceback" not in output
    assert {path: path.read_bytes() for path in run.glob("*.json")} == before


@pytest.mark.slow
def test_without_groups_blocks_stand_for_recordings_and_this_is_said(tmp_path: Path) -> None:
    table = write_table(tmp_path / "my table.csv")
    options = ("--variables", "x=pre,y=post,w", "--polynomial", "--results", tmp_path, "--degree", "1")
    code, output = discover("infer", table, *options)
    assert code == 0, output
    assert "10 contiguous blocks of rows" in output
    page = (tmp_path / "my-table" / "report.html").read_text(encoding="utf-8")
    assert "No column of recordings was named" in page


@pytest.mark.slow
def test_weak_data_make_a_whole_run(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    times = np.tile(np.arange(80) * 0.1, 6)
    synapses = np.tile(np.repeat(["s", "t"], 40), 6)
    phase = np.repeat(rng.uniform(0, 6, 12), 40)
    x = np.cos(times[: 40 * 12] + phase)
    w = np.sin(times[: 40 * 12] + phase)
    np.savez(tmp_path / "weak.npz", x=x, w=w, t=times[:480], r=np.repeat(np.arange(6), 80), s=synapses[:480])
    options = (
        "--weak",
        "--time",
        "t",
        "--synapse",
        "s",
        "--groups",
        "r",
        "--variables",
        "x,w",
        "--window",
        "2",
    )
    code, output = discover("infer", tmp_path / "weak.npz", *options, "--polynomial", "--results", tmp_path)
    assert code == 0, output
    assert "no weight was differentiated" in output
    front = read_stored(tmp_path / "weak" / "front.json", RecordedFront)
    coefficients = front.chosen.rule.coefficients()["feedforward"]
    assert set(coefficients) == {"x"}
    assert coefficients["x"] == pytest.approx(1.0, abs=0.01)
    assert front.recorded.quantity == "dw/dt"


def test_damaged_predictions_are_refused(run: Path, tmp_path: Path) -> None:
    for name in (
        "config.json",
        "path.json",
        "front.json",
        "validation.json",
        "comparison.json",
        "manifest.json",
    ):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    with pytest.raises(ArtefactError, match="There is no file"):
        write_recorded_report(tmp_path)
    for damaged in (b"", b"PK", (run / "predictions.npz").read_bytes()[:200]):
        (tmp_path / "predictions.npz").write_bytes(damaged)
        with pytest.raises(ArtefactError, match="truncated or was edited"):
            write_recorded_report(tmp_path)
    arrays = {"observed": np.ones(3), "predicted": np.ones(2), "recording": np.zeros(1, dtype=int)}
    artefacts.write_arrays(tmp_path / "predictions.npz", "predictions", arrays)
    with pytest.raises(ArtefactError, match="no array 'kept'"):
        write_recorded_report(tmp_path)
    arrays["kept"] = np.ones(1, dtype=bool)
    artefacts.write_arrays(tmp_path / "predictions.npz", "predictions", arrays)
    with pytest.raises(ArtefactError, match="do not fit"):
        write_recorded_report(tmp_path)


# ------------------------------------------------------------------------------------------------ estimator


def states(n: int = 200) -> tuple[np.ndarray, np.ndarray]:
    features = np.random.default_rng(0).normal(size=(n, 3))
    x, y, w = features.T
    return features, x * y - 0.4 * w * y**2


@pytest.mark.slow
def test_the_estimator_keeps_the_conventions_of_scikit_learn() -> None:
    from sklearn.utils.estimator_checks import check_estimator

    before = np.random.get_state()  # noqa: NPY002
    try:
        results = check_estimator(
            RuleRegressor(engines=(), settings=InferSettings(n_penalties=12, folds=4)),
            on_fail=None,
            on_skip=None,
        )
    finally:
        np.random.set_state(before)  # noqa: NPY002 - the checks themselves draw from it
    failed = [(one["check_name"], one["exception"]) for one in results if one["status"] == "failed"]
    assert not failed
    assert sum(one["status"] == "passed" for one in results) > 40


def test_what_a_grid_search_changes_are_parameters() -> None:
    from sklearn.base import clone
    from sklearn.model_selection import GridSearchCV, GroupKFold

    rng = np.random.default_rng(2)
    states = rng.normal(size=(240, 3))
    update = states[:, 0] * states[:, 1] - 0.5 * states[:, 2] ** 3
    groups = np.repeat(np.arange(6), 40)
    model = RuleRegressor(engines=(), variables=("x", "y", "w"), folds=3, permutations=0)
    assert clone(model).set_params(max_nodes=12).get_params()["max_nodes"] == 12
    search = GridSearchCV(model, {"degree": [1, 3], "max_terms": [60]}, cv=GroupKFold(3))
    search.fit(states, update, groups=groups)
    assert search.best_params_["degree"] == 3
    assert search.best_score_ > 0.999
    for wrong in ({"folds": 1}, {"operators": ("tan",)}, {"degree": 99}, {"max_nodes": 0}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            RuleRegressor(engines=(), **wrong).fit(states, update)  # type: ignore[arg-type]


def test_many_targets_get_a_rule_each() -> None:
    states = np.random.default_rng(3).normal(size=(200, 3))
    x, y, w = states.T
    targets = np.column_stack([x * y - w * y**2, 2 * x - w])
    model = RuleRegressor(engines=(), variables=("x", "y", "w"), permutations=0).fit(states, targets)
    assert [str(one.rule) for one in model.inferences_] == ["x*y - w*y**2", "2*x - w"]
    assert model.rule_ == model.inferences_[0].rule
    np.testing.assert_allclose(model.predict(states), targets, atol=1e-9)
    assert model.score(states, targets) == pytest.approx(1)
    assert model.latex().splitlines()[1] == r"\Delta w_{ij} = 2 x - w"


def test_weights_of_samples_reach_the_rule() -> None:
    rng = np.random.default_rng(4)
    states = rng.normal(size=(300, 2))
    bad = np.arange(300) % 3 == 0
    update = np.where(bad, -4 * states[:, 0], 2 * states[:, 0] - states[:, 1])
    model = RuleRegressor(engines=(), variables=("x", "w"), permutations=0)
    model.fit(states, update, sample_weight=np.where(bad, 0.0, 3.0))
    assert str(model.rule_) == "2*x - w"
    assert RuleRegressor(engines=(), permutations=0).fit(states, update).score(states, update) < 0.5


def test_the_estimator_finds_a_rule_and_predicts_by_it() -> None:
    from sklearn.base import clone

    features, update = states()
    model = RuleRegressor(engines=(), variables=("x", "y", "w")).fit(
        features, update, groups=np.repeat(np.arange(5), 40)
    )
    assert model.rule_ == Rule.parse("x*y - 0.4*w*y**2")
    np.testing.assert_allclose(model.predict(features), update, atol=1e-9)
    assert model.score(features, update) > 1 - 1e-12
    assert model.n_features_in_ == 3
    assert model.path_.chosen_point.n_terms == 2
    assert model.front_.chosen.rule == model.rule_
    assert clone(model).get_params()["variables"] == ("x", "y", "w")


def test_the_estimator_takes_engines_and_plain_names() -> None:
    features, _ = states()
    update = np.tanh(features[:, 0]) * features[:, 1]
    assert RuleRegressor().engines == ("auto",), "those of the command line"
    model = RuleRegressor(engines=("terms",)).fit(features, update)
    assert model.variables_ == ("x0", "x1", "x2")
    assert str(model.rule_) == "x1*tanh(x0)"
    assert model.rule_.to_dict() == {"recorded(x0, x1, x2)": "x1*tanh(x0)"}


def test_the_estimator_refuses_what_does_not_fit() -> None:
    features, update = states()
    with pytest.raises(ValueError, match="3 features, and variables has 2"):
        RuleRegressor(engines=(), variables=("x", "y")).fit(features, update)
    with pytest.raises(ValueError, match="groups needs the shape"):
        RuleRegressor(engines=()).fit(features, update, groups=[1, 2])
    with pytest.raises(ValueError, match="one recording"):
        RuleRegressor(engines=()).fit(features, update, groups=np.zeros(200))
