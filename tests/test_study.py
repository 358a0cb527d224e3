"""A run as a Python object: run by one call, read lazily, refused in one sentence."""

from __future__ import annotations

import ast
import html
import subprocess
import sys
from pathlib import Path

import pytest
from smoke_runs import SmokeRuns
from test_cli import discover as said
from toy_pipeline import Toy

import discover as face
from discover.errors import ArtefactError, ConfigError
from discover.rule import Rule
from pipelines.study import Study, open_study, run


def test_a_finished_run_is_read_part_by_part(smoke_runs: SmokeRuns) -> None:
    study = open_study("oja-smoke", smoke_runs.results)
    assert study.config.task == "oja"
    assert study.rule == study.front.chosen.rule
    assert [one.complexity for one in study.front] == sorted(one.complexity for one in study.front.front)
    assert study.front.chosen in list(study.front)
    assert study.path.points[study.path.chosen].rule == study.path.rule
    assert study.front.chosen.id in study.validation.candidates
    assert study.comparison.candidates[study.front.chosen.id].nearest in ("oja", None)
    assert study.report.is_file()
    assert "oja-smoke" in repr(study)
    assert str(study).strip() in said("run", str(study.folder)).stdout
    shown = study._repr_html_()
    assert "<table" in shown
    assert html.escape(str(study.report)) in shown


@pytest.fixture(autouse=True)
def made(smoke_runs: SmokeRuns, request: pytest.FixtureRequest) -> None:
    """See to it that the smoke run is there for the test that reads it."""
    if request.node.name.startswith("test_a_finished_run"):
        smoke_runs.folder("oja-smoke")


def test_a_pipeline_is_run_by_one_call(toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    study = run("toy.toml", quiet=True)
    assert study == Study(Path("results/toy"))
    assert study.front.chosen.id == "oja"
    assert capsys.readouterr() == ("", "")
    before = toy.files()
    run("toy.toml")
    assert "up to date" in capsys.readouterr().err
    assert toy.files() == before


def test_settings_are_changed_for_one_run(toy: Toy) -> None:
    study = run("toy.toml", name="other", seed=7, problems={"n_inputs": 3}, stages=["simulate"], quiet=True)
    assert study.folder == Path("results/other")
    assert (study.config.seed, study.config.problems.n_inputs) == (7, 3)
    with pytest.raises(ArtefactError, match="discover search results/other"):
        _ = study.front
    assert str(study).startswith("results/other: simulate done, of simulate, fit")
    assert "simulate done" in study._repr_html_()


def test_in_python_a_finished_run_is_kept_by_arguments_of_python(toy: Toy) -> None:
    run("toy.toml", quiet=True)
    with pytest.raises(ArtefactError, match=r'name="\.\.\.".*results="\.\.\.".*fresh=True') as caught:
        run("toy.toml", seed=7, quiet=True)
    assert "--" not in str(caught.value)


def test_what_cannot_be_run_is_refused(toy: Toy) -> None:
    with pytest.raises(ConfigError, match=r"no stage 'fitt'. Did you mean 'fit'"):
        run("toy.toml", stages=["fitt"])
    with pytest.raises(ConfigError, match="sed"):
        run("toy.toml", sed=3)
    with pytest.raises(ConfigError, match="n_input"):
        run("toy.toml", problems={"n_input": 3})
    with pytest.raises(ConfigError, match="a table is expected"):
        run("toy.toml", problems=3)
    with pytest.raises(ArtefactError, match="no pipeline 'nowhere'"):
        run("nowhere", seed=1)
    with pytest.raises(ArtefactError, match="no run and no pipeline"):
        open_study("nowhere")
    assert not toy.run.exists()


TASK = """
import numpy as np
from discover.tasks.neuron import NeuronSettings, NeuronTask


class Axis(NeuronTask):
    name = "axis"
    title = "One axis"
    settings_type = NeuronSettings
    reference = "oja"
    known_rules = ("oja",)

    def draw_problem(self, settings, rng):
        inputs = rng.normal(size=(settings.n_samples, settings.n_inputs))
        inputs[:, 0] *= 3
        return {"inputs": inputs / 3, "targets": np.eye(settings.n_inputs)[0]}

    def folds(self, settings):
        return ()
"""


def test_a_task_of_ones_own_needs_no_pipeline_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(TASK)
    study = run("mine.py:Axis", seed=3, problems={"n_inputs": 3}, stages=["simulate"], quiet=True)
    assert study.folder == Path("results/axis")
    assert study.config.seed == 3
    assert (study.folder / "trajectories.npz").is_file()


def test_a_damaged_artefact_is_one_error(toy: Toy) -> None:
    study = run("toy.toml", quiet=True)
    (study.folder / "validation.json").write_text("{")
    with pytest.raises(ArtefactError, match="truncated or was edited"):
        _ = Study(study.folder).validation
    assert isinstance(study.rule, Rule)


def test_the_face_has_what_its_types_say_and_loads_it_when_asked() -> None:
    types = ast.parse(Path(face.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    named = {
        alias.asname: node.module
        for node in types.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert {*named, "__version__"} == set(face.__all__) == set(dir(face))
    for name, module in named.items():
        __import__(str(module))
        assert getattr(face, str(name)) is getattr(sys.modules[str(module)], str(name))
    assert face.__version__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = face.nothing  # type: ignore[attr-defined]
    lean = (
        "import discover, sys; print(sorted({'numpy', 'numba', 'pydantic', 'pipelines'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", lean], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


@pytest.mark.parametrize("file", ["sims.py", "pipelines/__init__.py"])
def test_a_file_of_the_users_that_hides_a_package_is_named(tmp_path: Path, file: str) -> None:
    (tmp_path / "pipelines").mkdir()
    (tmp_path / file).write_text("")
    code = "import discover; discover.run; discover.Circuit"
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert f"ImportError: {tmp_path / file} is found in place of the package" in found.stderr


def test_a_folder_without_init_hides_nothing(tmp_path: Path) -> None:
    (tmp_path / "pipelines").mkdir()
    command = [sys.executable, "-c", "import discover; print(discover.open_study.__name__)"]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert found.stdout == "open_study\n"


def test_rules_are_compared_from_the_face() -> None:
    rule = face.Rule.parse("2*x*y - 2*w*y**2")
    assert face.compare(rule) == face.compare(str(rule.expression()))
    assert face.compare(rule).verdict == "same up to scale"
