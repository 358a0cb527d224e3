"""Settings, seeds, guesses and files of PySR searches, with a module in PySR's place that writes fronts."""

from __future__ import annotations

import csv
import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from stand_in_pysr import OJA, Fake, installed_parameters
from strategies import polynomials
from typer.testing import CliRunner

from discover.errors import ConfigError, EngineError
from discover.expression import Node, evaluate, parse
from discover.search._pysr_guesses import julia_guesses, julia_text
from discover.search.engine import Samples
from discover.search.pysr import PySREngine, constructor_arguments
from discover.search.settings import OperonSettings, PySRSettings, SearchSettings, TermsSettings
from pipelines.config import load_toml

EVERYTHING = """
schema = 1
task = "oja"

[search]
engines = ["pysr", "terms"]
operators = ["div", "tanh", "exp", "max"]
max_nodes = 25
complexity_of_operators = { div = 2, tanh = 3.5 }
complexity_of_constants = 1.5
complexity_of_variables = 1

[search.terms]
factors = ["v", "v**2", "tanh(v)", "v/(1 + abs(v))"]

[search.pysr]
niterations = 30
populations = 8
population_size = 12
ncycles_per_iteration = 100
max_evals = 1000000
maxsize = 40
maxdepth = 7
parsimony = 0.001
guesses = ["x*y - w*y**2", "tanh(x_pre)"]
seeds = 3
deterministic = true
interrupted = "continue"
timeout_in_seconds = 60

[search.pysr.constraints]
tanh = 9
div = [-1, 5]
mul = [9, 3]

[search.pysr.nested_constraints]
tanh = { tanh = 0, exp = 0 }
max = { max = 0 }
"""


def loaded(tmp_path: Path, text: str) -> Any:
    (tmp_path / "mine.toml").write_text(text)
    return load_toml(tmp_path / "mine.toml")


def test_every_setting_of_the_toml_reaches_pysr_under_a_name_that_it_has(tmp_path: Path) -> None:
    settings = loaded(tmp_path, EVERYTHING).search
    accepted = installed_parameters() | {"guesses"}  # which PySR has from version 2 on
    found = constructor_arguments(settings, 5, tmp_path, "run", accepted, ["x0"])
    expected = {
        "binary_operators": ["+", "-", "*", "/", "max"],
        "unary_operators": ["tanh", "exp"],
        "niterations": 30,
        "populations": 8,
        "population_size": 12,
        "tournament_selection_n": 11,
        "ncycles_per_iteration": 100,
        "max_evals": 1_000_000,
        "maxsize": 40,
        "maxdepth": 7,
        "parsimony": 0.001,
        "timeout_in_seconds": 60,
        "constraints": {"tanh": 9, "/": (-1, 5), "*": (9, 3)},
        "nested_constraints": {"tanh": {"tanh": 0, "exp": 0}, "max": {"max": 0}},
        "complexity_of_operators": {"/": 2, "tanh": 3.5},
        "complexity_of_constants": 1.5,
        "complexity_of_variables": 1,
        "guesses": ["x0"],
        "deterministic": True,
        "parallelism": "serial",
        "random_state": 5,
        "batching": False,
        "precision": 64,
    }
    assert {name: found[name] for name in expected} == expected
    assert set(found) <= accepted


def test_defaults_ask_for_nothing_that_an_older_pysr_may_not_have(tmp_path: Path) -> None:
    found = constructor_arguments(SearchSettings(), 5, tmp_path, "run", installed_parameters())
    assert not {"guesses", "constraints", "maxdepth", "max_evals"} & set(found)


def test_curved_operations_do_not_nest_unless_one_says_so(tmp_path: Path) -> None:
    def nested(**settings: Any) -> Any:
        asked = SearchSettings(**settings)
        return constructor_arguments(asked, 5, tmp_path, "run", installed_parameters()).get(
            "nested_constraints"
        )

    none = {"tanh": 0, "exp": 0, "sqrt": 0}
    assert nested() == {"tanh": none, "exp": none, "sqrt": none}
    assert nested(operators=("div", "log")) == {"log": {"log": 0}}
    assert nested(operators=("div", "abs")) is None
    assert nested(pysr=PySRSettings(nested_constraints={})) is None
    mine = PySRSettings(nested_constraints={"tanh": {"tanh": 1}})
    assert nested(pysr=mine) == {"tanh": {"tanh": 1}}


def test_what_the_installed_version_does_not_take_is_an_error_and_not_left_out(tmp_path: Path) -> None:
    accepted = installed_parameters() - {"guesses"}
    with pytest.raises(EngineError, match=r"does not take guesses\. Upgrade PySR to version 2"):
        constructor_arguments(SearchSettings(), 5, tmp_path, "run", accepted, ["x0"])


def test_a_search_that_is_not_deterministic_has_threads_and_no_seed(tmp_path: Path) -> None:
    settings = SearchSettings(pysr=PySRSettings(deterministic=False))
    found = constructor_arguments(settings, 5, tmp_path, "run", installed_parameters())
    assert (found["deterministic"], found["parallelism"]) == (False, "multithreading")
    assert "random_state" not in found


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("tanh = 9", "tanh = [1, 2]", r"pysr.constraints.tanh: one number"),
        ("div = [-1, 5]", "div = 5", r"pysr.constraints.div: two numbers"),
        ("mul = [9, 3]", "add = [9, 3]", "same limit for both operands"),
        ("mul = [9, 3]", "mul = [9, -2]", "greater than or equal to -1"),
        ("tanh = 9", "log = 9", "pysr.constraints: 'log' is not among the operators"),
        ("tanh = 9", "tahn = 9", "tahn"),
        ("max = { max = 0 }", "max = { sqrt = 0 }", "pysr.nested_constraints.max: 'sqrt' is not among"),
        ("max = { max = 0 }", "max = { max = -1 }", "nested_constraints.max.max: it should be greater"),
        ("maxsize = 40", "maxsize = 5", "pysr.maxsize: PySR takes 7 or more"),
        ("seeds = 3", "seeds = 0", "search.pysr.seeds"),
        ("seeds = 3", "seed = 3", "Did you mean 'seeds'"),
        ("div = 2, tanh", "log = 2, tanh", "complexity_of_operators: 'log' is not among the operators"),
        ("div = 2, tanh", "div = 0, tanh", "greater than 0"),
        ('"tanh(x_pre)"', '"tanh(q)"', "pysr.guesses: 'tanh[(]q[)]': Unknown variable 'q'"),
        ('"tanh(x_pre)"', '"sqrt(x)"', "'sqrt' is not among the operators"),
        ('"tanh(x_pre)"', '"x**0.5"', "whole powers only"),
        ('"tanh(x_pre)"', '"(((x + y)**60)**60)**60"', "powers written out"),
        ('"tanh(x_pre)"', '"system(x)"', "Unknown function 'system'"),
        ('"continue"', '"again"', "search.pysr.interrupted"),
    ],
)
def test_settings_that_cannot_be_are_said(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert EVERYTHING.count(old) == 1
    with pytest.raises(ConfigError, match=message):
        loaded(tmp_path, EVERYTHING.replace(old, new))


def test_the_settings_survive_the_way_through_the_run_s_folder(tmp_path: Path) -> None:
    from pipelines.artefacts import to_text
    from pipelines.config import load_json

    config = loaded(tmp_path, EVERYTHING)
    (tmp_path / "config.json").write_text(to_text(config.to_dict()))
    assert load_json(tmp_path / "config.json") == config


def test_the_settings_that_the_page_shows_are_taken_and_are_the_defaults_it_says(tmp_path: Path) -> None:
    page = (Path(__file__).parents[1] / "docs" / "engines.md").read_text()
    blocks = re.findall(r"^```toml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    settings = loaded(tmp_path, "\n".join(['schema = 1\ntask = "oja"', *blocks])).search
    changed = {"constraints", "guesses"}
    shown, plain = settings.pysr, PySRSettings()
    assert {f.name for f in fields(plain) if getattr(shown, f.name) != getattr(plain, f.name)} == changed
    assert settings.operon == OperonSettings()
    assert settings.terms == replace(TermsSettings(), factors=settings.terms.factors)
    assert all(f.name in page for f in fields(plain) if f.name != "output_folder")
    assert all(f.name in page for f in fields(TermsSettings()))


# --------------------------------------------------------------------------------------------------- guesses


@given(polynomials())
def test_julia_text_means_the_same(tree: Node) -> None:
    again = parse(julia_text(tree), ("x", "y", "w"))
    states = dict(zip("xyw", np.random.default_rng(0).uniform(0.5, 1.5, (3, 20)), strict=True))
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(evaluate(again, states), evaluate(tree, states), rtol=1e-9)


def test_guesses_are_moved_into_the_units_of_the_search() -> None:
    (guess,) = julia_guesses(["x*y - w*y**2", "x_pre"], ("x", "y", "w"), ((1.0, 10.0, 0.1), 100.0))
    rng = np.random.default_rng(0)
    x, y, w = rng.normal(size=(3, 10))
    scaled = {"x0": x, "x1": y / 10, "x2": w / 0.1}
    np.testing.assert_allclose(evaluate(parse(guess, ("x0", "x1", "x2")), scaled), (x * y - w * y**2) / 100)


# ------------------------------------------------------------------------- searches, by a module that is fake


@pytest.fixture
def samples() -> Samples:
    states = np.random.default_rng(0).normal(size=(100, 3))
    x, y, w = states.T
    return Samples(("x", "y", "w"), states, x * y - w * y**2)


def settings_in(folder: Path, **more: Any) -> SearchSettings:
    return SearchSettings(pysr=PySRSettings(output_folder=str(folder), **more))


def best(found: list[Any]) -> str:
    return str(found[-1].expression)


def test_a_finished_search_is_read_and_not_searched_again(
    fake: Fake, samples: Samples, tmp_path: Path
) -> None:
    settings = settings_in(tmp_path / "pysr", seeds=2)
    first = PySREngine().propose(samples, settings, seed=3)
    assert best(first) == "x*y - w*y**2"
    assert len({one["random_state"] for one in fake.arguments}) == 2
    assert len({one["process"] for one in fake.arguments}) == 1
    assert fake.searched() == 2
    assert PySREngine().propose(samples, settings, seed=3) == first
    assert fake.searched() == 0
    assert len(list((tmp_path / "pysr").iterdir())) == 2


@pytest.mark.parametrize(
    ("change", "seed", "searches"),
    [
        ({"niterations": 41}, 3, 1),
        ({}, 4, 1),
        ({"constraints": {"div": (3, 3)}}, 3, 1),
        ({"timeout_in_seconds": 5.0}, 3, 0),
        ({"seeds": 2}, 3, 1),
    ],
)
def test_another_question_is_searched(
    fake: Fake, samples: Samples, tmp_path: Path, change: dict[str, Any], seed: int, searches: int
) -> None:
    PySREngine().propose(samples, settings_in(tmp_path), seed=3)
    fake.searched()
    PySREngine().propose(samples, settings_in(tmp_path, **change), seed=seed)
    assert fake.searched() == searches


def test_other_samples_and_weights_are_another_question(fake: Fake, samples: Samples, tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    PySREngine().propose(samples, settings, seed=3)
    PySREngine().propose(Samples(samples.variables, samples.inputs, 2 * samples.target), settings, seed=3)
    PySREngine().propose(samples, replace(settings, complexity_of_constants=2.0), seed=3)
    assert fake.searched() == 3


def test_an_edited_front_is_not_believed(fake: Fake, samples: Samples, tmp_path: Path) -> None:
    PySREngine().propose(samples, settings_in(tmp_path), seed=3)
    (file,) = tmp_path.glob("*/hall_of_fame.csv")
    file.write_text('Complexity,Loss,Equation\n1,0.0,"x0"\n')
    assert best(PySREngine().propose(samples, settings_in(tmp_path), seed=3)) == "x*y - w*y**2"
    assert fake.searched() == 2


def cut_off(fake: Fake, samples: Samples, settings: SearchSettings, accident: str = "killed") -> None:
    """Begin a search that finds Oja's rule and is cut off, and let later ones find nothing."""
    fake.write(accident=accident)
    with pytest.raises(EngineError):
        PySREngine().propose(samples, settings, seed=3)
    fake.write(accident="", lines=['3,0.4,"x0 * x1"'])
    fake.searched()


@pytest.mark.parametrize("accident", ["killed", "told to stop"])
def test_a_search_that_was_cut_off_is_repeated_as_if_nothing_had_been(
    fake: Fake, samples: Samples, tmp_path: Path, accident: str
) -> None:
    cut_off(fake, samples, settings_in(tmp_path), accident)
    assert list(tmp_path.glob("*/finished.json")) == []
    found = PySREngine().propose(samples, settings_in(tmp_path), seed=3)
    assert "guesses" not in fake.arguments[0]
    assert all("w" not in str(one.expression) for one in found)


def test_a_search_that_was_cut_off_is_continued_from_what_it_had_found(
    fake: Fake, samples: Samples, tmp_path: Path
) -> None:
    settings = settings_in(tmp_path, interrupted="continue", guesses=("x + y",))
    cut_off(fake, samples, settings)
    found = PySREngine().propose(samples, settings, seed=3)
    assert fake.arguments[0]["guesses"] == ["(x0 + x1)", "0.1", "(x0 - (x1 * x2)) * x1"]
    assert best(found) == "x*y - w*y**2"
    assert PySREngine().propose(samples, settings, seed=3) == found
    assert fake.searched() == 1


def test_a_pysr_without_guesses_keeps_what_was_found(
    monkeypatch: pytest.MonkeyPatch, samples: Samples, tmp_path: Path
) -> None:
    old = Fake(monkeypatch, tmp_path / "fake", frozenset({"guesses"}))
    settings = settings_in(tmp_path / "pysr", interrupted="continue")
    cut_off(old, samples, settings)
    found = PySREngine().propose(samples, settings, seed=3)
    assert "guesses" not in old.arguments[0]
    assert best(found) == "x*y - w*y**2"


def test_hostile_lines_of_a_search_that_was_cut_off_do_not_become_guesses(
    fake: Fake, samples: Samples, tmp_path: Path
) -> None:
    settings = settings_in(tmp_path, interrupted="continue")
    hostile = ['3,0.1,"run(`rm -rf /`)"', '3,0.1,"x0; exit()"', '3,0.1,"x0 * x9"']
    fake.write(lines=[*hostile, f"7,1e-9,{OJA}"])
    cut_off(fake, samples, settings)
    PySREngine().propose(samples, settings, seed=3)
    assert fake.arguments[0]["guesses"] == ["0.1", "(x0 - (x1 * x2)) * x1"]
    (earlier,) = tmp_path.glob("*/earlier.csv")
    assert len(list(csv.reader(earlier.open()))) == 3


def test_a_search_of_several_seeds_goes_on_with_the_one_that_was_cut_off(
    fake: Fake, samples: Samples, tmp_path: Path
) -> None:
    settings = settings_in(tmp_path, seeds=3)
    fake.write(accident="killed", in_search=2)
    with pytest.raises(EngineError, match="signal 9"):
        PySREngine().propose(samples, settings, seed=3)
    assert fake.searched() == 2
    fake.write(accident="")
    PySREngine().propose(samples, settings, seed=3)
    assert fake.searched() == 2


@pytest.mark.parametrize("linked", ["folder", "search"])
def test_files_are_not_written_through_a_link(
    fake: Fake, samples: Samples, tmp_path: Path, linked: str
) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "pysr"
    outside.mkdir()
    (outside / "precious").write_text("kept")
    if linked == "folder":
        folder.symlink_to(outside)
    else:
        PySREngine().propose(samples, settings_in(folder), seed=3)
        (search,) = folder.iterdir()
        search.rename(tmp_path / "moved")
        search.symlink_to(outside)
    with pytest.raises(EngineError, match="symbolic link"):
        PySREngine().propose(samples, settings_in(folder), seed=3)
    assert [path.name for path in outside.iterdir()] == ["precious"]


# ------------------------------------------------------------------------------------ weights for all engines


def test_weights_decide_what_is_on_an_engine_s_front() -> None:
    from discover.search._front import front

    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(200, 2))
    x, y = inputs.T
    samples = Samples(("x", "y"), inputs, np.tanh(x) * y)
    trees = [parse(text, ("x", "y")) for text in ("tanh(x)*y", "0.6*x*y", "0.5*x*y + 0.1*y")]
    plain = [str(one.expression) for one in front(trees, samples, "test", 30)]
    assert plain == ["y*tanh(x)"]
    settings = SearchSettings(complexity_of_operators={"tanh": 20.0})
    weighted = [str(one.expression) for one in front(trees, samples, "test", 30, settings.complexity_of)]
    assert weighted[-1] == "y*tanh(x)"
    assert len(weighted) == 2


# ---------------------------------------------------------------------------------------------- in a pipeline


def test_the_files_lie_in_the_run_and_a_fresh_search_removes_them(
    toy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import discover.search
    from pipelines.cli import app

    def run_cli(*arguments: str) -> None:
        result = CliRunner().invoke(app, list(arguments))
        assert result.exit_code == 0, result.output

    seen: list[str] = []
    plain = discover.search.search

    def spy(*arguments: Any, **more: Any) -> Any:
        seen.append(arguments[4].pysr.output_folder)
        return plain(*arguments, **more)

    monkeypatch.setitem(vars(discover.search), "search", spy)
    run_cli("run", "toy.toml")
    assert [Path(one).resolve() for one in seen] == [(toy.run / "pysr").resolve()]
    (toy.run / "pysr").mkdir()
    (toy.run / "pysr" / "kept").touch()
    run_cli("search", "toy")
    assert (toy.run / "pysr" / "kept").exists()
    run_cli("search", "toy", "--fresh")
    assert not (toy.run / "pysr").exists()
