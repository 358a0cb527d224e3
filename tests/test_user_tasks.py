"""Tasks from outside of the package: how they are found, what is wrong with them, when their code runs."""

from __future__ import annotations

import json
import re
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import discover.known_rules as library
import discover.user_tasks as user_tasks
from discover.errors import ArtefactError, ConfigError, TaskError
from discover.rule import Rule
from discover.tasks import get_task, task_names
from discover.tasks.base import known_rules_of
from discover.tasks.neuron import NeuronSettings, NeuronTask
from pipelines.cli import app
from pipelines.config import load_json, load_toml

ROOT = Path(__file__).resolve().parent.parent
DOCS = (ROOT / "docs" / "new_task.md").read_text(encoding="utf-8")
CODES, TOMLS = (re.findall(rf"```{kind}\n(.*?)```", DOCS, re.DOTALL) for kind in ("python", "toml"))
(CODE, SPIKING_CODE), (TOML, SPIKING_TOML, *_) = CODES, TOMLS

SMALL = """
n_samples = 40
n_steps = 60

[fit]
restarts = 1
n_train = 8
n_heldout = 8
n_tuning = 8
penalties = [0.0, 0.01]
steps = 60
path_steps = 20
refit_steps = 20

[search]
engines = ["terms"]
max_nodes = 10

[search.terms]
max_terms = 2
beam_width = 6
n_refined = 2

[search.network]
n_states = 100
n_train = 8
n_heldout = 8
n_refined = 2
refine_steps = 5

[validate]
n_problems = 4
n_bootstrap = 50
"""


@pytest.fixture(autouse=True)
def _nothing_stays_loaded(monkeypatch):
    monkeypatch.setattr(user_tasks, "_LOADED", {})
    before = dict(library._LIBRARY)
    yield
    library._LIBRARY.clear()
    library._LIBRARY.update(before)
    library._OWNERS.clear()


@pytest.fixture
def example(tmp_path, monkeypatch):
    """The two files of the page on new tasks, in a folder that is the working one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clusters.py").write_text(CODE, encoding="utf-8")
    (tmp_path / "clusters.toml").write_text(TOML, encoding="utf-8")
    return tmp_path


@pytest.fixture
def spiking_example(tmp_path, monkeypatch):
    """The spiking task of the same page, likewise."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "together.py").write_text(SPIKING_CODE, encoding="utf-8")
    (tmp_path / "together.toml").write_text(SPIKING_TOML, encoding="utf-8")
    return tmp_path


def test_the_examples_are_short():
    assert len((CODE + TOML).strip().splitlines()) < 60
    assert len(SPIKING_CODE.strip().splitlines()) < 60


def test_the_example_is_a_task_whose_reference_solves_it(example):
    task = user_tasks.load_task("clusters.py:Clusters")
    problems = task.draw(task.settings_type(separation=6.0), 8, np.random.SeedSequence(0))
    reference = known_rules_of(task)[task.reference_for(problems.settings)]
    assert task.evaluate(reference, problems)["cosine"].min() > 0.9
    assert set(known_rules_of(task)) == {"oja", "hebb", "my-decay"}
    gradient = task.gradient(reference, problems).gradients
    assert np.isfinite(gradient).all()


def test_tasks_of_the_package_need_no_list():
    assert {"oja", "ica", "mca", "pca-network", "ei-balance"} <= set(task_names())
    assert not {"base", "pca", "neuron"} & set(task_names())


def test_a_path_starts_from_the_folder_of_the_pipeline_file(example, monkeypatch, tmp_path_factory):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert load_toml(example / "clusters.toml").problems.separation == 4.0


BROKEN = {
    "no file": ("mine.py:Mine", "", r"there is no .*mine\.py"),
    "no such class": ("clusters.py:Cluster", CODE, "Did you mean 'Clusters'.*classes there: .*Clusters"),
    "no class named": ("clusters.py:", CODE, "there is no ''.*Write path/to/file.py:Class"),
    "text that is no Python": ("clusters.py:Clusters", "class Clusters(", r"SyntaxError.*\(line 1\)"),
    "file that fails": ("clusters.py:Clusters", "\n1 / 0", r"ZeroDivisionError: division by zero \(line 2\)"),
    "file that exits": ("clusters.py:Clusters", "raise SystemExit(3)", "cannot be run: SystemExit"),
    "class with little in it": (
        "clusters.py:Clusters",
        "from discover.tasks.base import Task\nclass Clusters(Task):\n    name = 'clusters'",
        "lacks draw, evaluate, folds, learning_curve, losses, probe, visit",
    ),
    "class that is no task": (
        "clusters.py:Clusters",
        "class Clusters:\n    name = 'clusters'",
        "is no discover.tasks.base.Task.*NeuronTask is one",
    ),
    "class without a title": (
        "clusters.py:Clusters",
        CODE.replace("    title =", "    heading ="),
        "lacks title",
    ),
    "class that cannot be made": (
        "clusters.py:Clusters",
        CODE + "\n    def __init__(self, size):\n        pass\n",
        "cannot be made: TypeError.*size",
    ),
    "settings that are no dataclass": (
        "clusters.py:Clusters",
        CODE.replace("settings_type = ClusterSettings", "settings_type = dict"),
        "settings_type is a frozen dataclass",
    ),
    "unknown rule": (
        "clusters.py:Clusters",
        CODE.replace('("oja", "hebb", "my-decay")', '("oja", "hebbb")'),
        "no known rule 'hebbb'. Did you mean 'hebb'.*own_rules",
    ),
    "reference that is not tried": (
        "clusters.py:Clusters",
        CODE.replace('reference = "oja"', 'reference = "bcm"'),
        "its reference, 'bcm', is one of its known_rules",
    ),
    "rule of a name that is taken": (
        "clusters.py:Clusters",
        CODE.replace("my-decay", "covariance"),
        "another rule has this name: Covariance rule",
    ),
    "rule that is none": (
        "clusters.py:Clusters",
        CODE.replace("class Clusters", "class Old").replace("KnownRule(", "dict("),
        "there is no 'Clusters'",
    ),
}


@pytest.mark.parametrize("case", list(BROKEN))
def test_a_mistake_is_one_clear_paragraph(example, case):
    name, text, message = BROKEN[case]
    (example / "clusters.py").write_text(text, encoding="utf-8")
    (example / "clusters.toml").write_text(TOML.replace("clusters.py:Clusters", name), encoding="utf-8")
    with pytest.raises(ConfigError, match=message) as caught:
        load_toml(example / "clusters.toml")
    assert "\n" not in str(caught.value)
    assert "Traceback" not in str(caught.value)


def test_a_file_runs_only_when_the_user_names_it(example):
    mark = example / "ran"
    (example / "clusters.py").write_text(f"open({str(mark)!r}, 'w').close()\n" + CODE, encoding="utf-8")
    config = {"schema": 1, "name": "clusters", "task": "clusters.py:Clusters", "seed": 1}
    folder = example / "results" / "clusters"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "clusters.py").write_text((example / "clusters.py").read_text(), encoding="utf-8")
    with pytest.raises(ConfigError, match="A file is run only when you name it yourself"):
        load_json(folder / "config.json")
    for absolute in ("clusters.py:Clusters", f"{example / 'clusters.py'}:Clusters"):
        with pytest.raises(TaskError, match="give the pipeline's TOML file instead"):
            get_task(absolute)
    for command in ("report", "fit", "validate", "compare", "manifold"):
        result = CliRunner().invoke(app, [command, "results/clusters"])
        assert result.exit_code == 2, result.output
        assert "A file is run only when you name it yourself" in result.output.replace("\n", " ")
    assert not mark.exists()
    load_toml(example / "clusters.toml")
    assert mark.exists()
    assert load_json(folder / "config.json").task == "clusters.py:Clusters"


def test_a_package_offers_tasks_by_entry_points(example, monkeypatch):
    monkeypatch.syspath_prepend(str(example))
    entries = metadata.EntryPoints(
        metadata.EntryPoint(name, value, user_tasks.ENTRY_POINTS)
        for name, value in (
            ("clusters", "clusters:Clusters"),
            ("oja", "clusters:Clusters"),
            ("broken", "no_such_module:Task"),
        )
    )
    monkeypatch.setattr(metadata, "entry_points", lambda **wanted: entries.select(**wanted))
    assert get_task("clusters").title == "Telling two clusters of inputs apart"
    assert get_task("oja").title == "First principal component of one linear neuron"
    assert {"clusters", "oja", "broken"} <= set(task_names())
    assert user_tasks.source_of("clusters") == example / "clusters.py"
    assert user_tasks.source_of("oja") is None
    with pytest.raises(TaskError, match=r"broken \(no_such_module:Task\) cannot be imported"):
        get_task("broken")


def test_a_rule_can_be_compared_in_a_task_of_the_command_line(example):
    result = CliRunner().invoke(app, ["compare", "2*x*y - 2*w", "--task", "clusters.py:Clusters"])
    assert result.exit_code == 0, result.output
    assert "equals Hebb with decay (2026) up to scale" in result.output


@pytest.mark.slow
def test_the_example_runs_through_all_stages_and_notices_a_change(example):
    (example / "clusters.toml").write_text(TOML + SMALL, encoding="utf-8")
    first = CliRunner().invoke(app, ["run", "clusters.toml"])
    assert first.exit_code == 0, first.output
    assert "baseline" in first.output
    page = (example / "results" / "clusters" / "report.html").read_text(encoding="utf-8")
    assert "Telling two clusters of inputs apart" in page
    assert "Hebb with decay" in page
    again = CliRunner().invoke(app, ["run", "clusters.toml"])
    assert "done in" not in again.output
    (example / "clusters.py").write_text(CODE.replace("0.5 *", "0.6 *"), encoding="utf-8")
    changed = CliRunner().invoke(app, ["simulate", "clusters.toml"])
    assert "done in" in changed.output


@pytest.mark.slow
def test_the_spiking_example_finds_a_rule_that_beats_the_published_ones(spiking_example):
    ran = CliRunner().invoke(app, ["run", "together.toml"])
    assert ran.exit_code == 0, ran.output
    folder = spiking_example / "results" / "together"
    task = get_task(load_toml(spiking_example / "together.toml").task)
    front = json.loads((folder / "front.json").read_text(encoding="utf-8"))
    chosen = next(one for one in front["candidates"] if one["id"] == front["chosen"])
    fresh = task.draw(task.settings_type(), 8, np.random.SeedSequence(99))
    found = task.losses(Rule.parse(chosen["slots"]), fresh)
    for rule in known_rules_of(task).values():
        assert found.mean() < task.losses(rule, fresh).mean() - 0.2
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "Finding the inputs that spike together" in page
    shown = CliRunner().invoke(app, ["report", "together.toml"])
    assert shown.exit_code == 0, shown.output


def test_recovery_of_a_task_without_gradients_is_refused_with_what_does_it(spiking_example):
    result = CliRunner().invoke(app, ["recover", "together.py:Together", "--inputs", "40", "--seeds", "1"])
    assert result.exit_code == 2
    assert "discover study FILE.toml" in result.output.replace("\n", " ")


BROKEN_SPIKING = {
    "no circuit": ('return {"circuit": circuit,', 'return {"network": circuit,', 'Circuit as "circuit"'),
    "another projection": ('projection = "synapses"', 'projection = "EE"', "projections are synapses"),
    "no trace": (
        'Trace(("inputs", "neuron"), 20.0)',
        'Trace("inputs", 20.0)',
        r"Trace\(\('inputs', 'neuron'\)",
    ),
    "no number": ("return 1 - weights[together]", "return weights - weights[together]", "one finite number"),
    "no finite number": ("return 1 - weights[together]", "return np.nan - weights[together]", "got nan"),
    "another measure": (
        '{"strongest": problem',
        '{"rate": problem',
        "states the measures loss, strongest, but",
    ),
}


@pytest.mark.parametrize("case", list(BROKEN_SPIKING))
def test_a_mistake_in_a_spiking_task_is_one_clear_error_before_a_run(spiking_example, case):
    before, after, message = BROKEN_SPIKING[case]
    assert before in SPIKING_CODE
    (spiking_example / "together.py").write_text(SPIKING_CODE.replace(before, after), encoding="utf-8")
    task = get_task(load_toml(spiking_example / "together.toml").task)
    with pytest.raises(TaskError, match=message):
        task.check(task.settings_type(duration_s=1.0, measured_s=0.5))


def test_artefacts_that_name_a_path_are_read_without_it(example):
    with pytest.raises((ConfigError, ArtefactError)):
        load_json(example / "nothing.json")
    assert Rule.parse("x*y - w") == known_rules_of(user_tasks.load_task("clusters.py:Clusters"))["my-decay"]


def test_targets_of_another_shape_are_one_clear_error(example):
    text = CODE.replace('"targets": axis}', '"targets": axis[:-1]}')
    (example / "clusters.py").write_text(text, encoding="utf-8")
    config = load_toml(example / "clusters.toml")
    with pytest.raises(TaskError, match=r"targets of shape \(4,\); \(n_samples, n_inputs\)"):
        get_task(config.task).draw(config.problems, 2, np.random.SeedSequence(0))


def test_measures_that_are_stated_are_returned(example):
    measures = '    measures = {**NeuronTask.measures, "size": "of weights"}\n'
    text = CODE.replace("    own_rules = (", measures + "    own_rules = (")
    (example / "clusters.py").write_text(text, encoding="utf-8")
    config = load_toml(example / "clusters.toml")
    task = get_task(config.task)
    problems = task.draw(config.problems, 2, np.random.SeedSequence(0))
    for refused in (lambda: task.evaluate(Rule.parse("x*y"), problems), lambda: task.check(config.problems)):
        with pytest.raises(TaskError, match=r"states the measures loss, cosine, norm_error, size, but"):
            refused()


DISTANCE = """
    def distance(self, weights, problems):
        shift = weights - problems.targets
        return {returned}
"""


def with_distance(example, returned):
    text = CODE.replace("    def folds(", DISTANCE.format(returned=returned) + "\n    def folds(")
    (example / "clusters.py").write_text(text, encoding="utf-8")
    config = load_toml(example / "clusters.toml")
    return get_task(config.task), config


def test_a_loss_without_derivative_is_differentiated_over_the_final_weights(example):
    alone, config = with_distance(example, "(shift**2).sum(axis=1)")
    problems = alone.draw(config.problems, 3, np.random.SeedSequence(0))
    rule = Rule.parse("0.4*x*y - 0.4*w*y**2 + 0.1*x")
    found = alone.gradient(rule, problems)
    both, _ = with_distance(example, "((shift**2).sum(axis=1), 2 * shift)")
    expected = both.gradient(rule, problems)
    alone.check(config.problems)
    both.check(config.problems)
    np.testing.assert_array_equal(found.losses, expected.losses)
    np.testing.assert_allclose(found.gradients, expected.gradients, rtol=1e-6, atol=1e-9)
    assert alone.has_gradient


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("((shift**2).sum(axis=1), shift)", r"derivatives that are off by up to [0-9.]+ \(at the weight"),
        (
            "((shift**2).sum(axis=1), 2 * shift + [0, 0, .01, 0, 0])",
            r"off by up to 0.01 \(at the weight \[2\]",
        ),
        ("((shift**2).sum(axis=1), np.inf * shift)", "off by up to inf"),
        ("((shift**2).sum(axis=1), 2 * shift[:, :2])", r"derivatives of shape \(2, 2\) for weights of"),
    ],
)
def test_a_wrong_derivative_is_refused_before_a_run_spends_time(example, returned, message):
    task, config = with_distance(example, returned)
    with pytest.raises(TaskError, match=message):
        task.check(config.problems)
    (example / "results").mkdir()
    result = CliRunner().invoke(app, ["run", str(example / "clusters.toml"), "--results", "results"])
    assert result.exit_code == 2
    assert not list((example / "results").rglob("trajectories.npz"))


class ManyInputs(NeuronTask):
    """A task that counts how often its loss is asked for; `error` is added to the stated derivatives."""

    name = "many-inputs"
    title = "Many inputs"
    settings_type = NeuronSettings
    known_rules = ("oja",)
    reference = "oja"

    def __init__(self, error=0.0):
        self.error, self.n_evaluations = error, 0

    def draw_problem(self, settings, rng):
        return {
            "inputs": rng.normal(size=(2, settings.n_inputs)),
            "targets": rng.normal(size=settings.n_inputs),
        }

    def distance(self, weights, problems):
        self.n_evaluations += 1
        shift = weights - problems.targets
        return np.log(np.cosh(shift)).sum(axis=1), np.tanh(shift) + self.error


MANY = NeuronSettings(n_inputs=20_000, n_samples=2, batch=1)


def test_derivatives_by_many_weights_are_checked_in_a_dozen_evaluations():
    task = ManyInputs()
    task.check(MANY)
    assert task.n_evaluations < 12


@pytest.mark.parametrize("place", [0, 7, 12_345, 19_999])
@pytest.mark.parametrize("error", [-0.003, 0.5, np.nan, np.inf])
def test_one_wrong_derivative_of_many_is_named(place, error):
    task = ManyInputs(np.where(np.arange(MANY.n_inputs) == place, error, 0.0))
    size = f"{abs(error):.2g}"
    with pytest.raises(TaskError, match=rf"off by up to {size} \(at the weight \[{place}\]\)"):
        task.check(MANY)
    assert task.n_evaluations < 200


def test_two_wrong_derivatives_that_cancel_are_found():
    error = np.zeros(MANY.n_inputs)
    error[[100, 15_000]] = 0.1, -0.1
    with pytest.raises(TaskError, match=r"off by up to 0.1 \(at the weight \[(100|15000)\]\)"):
        ManyInputs(error).check(MANY)


def test_derivatives_that_are_all_a_little_wrong_are_refused():
    error = np.random.default_rng(0).normal(0, 3e-4, MANY.n_inputs)
    with pytest.raises(TaskError, match=r"off by .* from differences of its losses"):
        ManyInputs(error).check(MANY)
