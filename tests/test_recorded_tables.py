"""Recorded data as they come: data frames, names of columns, cells that are no numbers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import discover
from discover.errors import ConfigError
from discover.inference import constant_intervals, from_rows
from discover.inference.beside import compare_recorded
from discover.inference.regressor import RuleRegressor
from discover.pareto import Candidate, ParetoFront, Provenance
from discover.rule import Rule
from discover.slots import FEEDFORWARD, get_slot
from pipelines import artefacts
from pipelines.inspection import show_text
from pipelines.show import verdict_text

pandas: Any = pytest.importorskip("pandas")

LAW = Rule.parse({"recorded(pre_rate, post_rate, weight)": "pre_rate*post_rate - 0.4*weight*post_rate**2"})


def frame(n_rows: int = 200) -> Any:
    """States and change of a law, with a column of cells."""
    states = np.random.default_rng(0).normal(size=(n_rows, 3))
    table = pandas.DataFrame(states, columns=["pre_rate", "post_rate", "weight"])
    table["dw"] = LAW(**{name: table[name] for name in table})
    table["cell"] = [f"cell{number % 5}" for number in range(n_rows)]
    return table


def regressor(**settings: Any) -> RuleRegressor:
    return RuleRegressor(engines=(), permutations=0, **settings)


# ------------------------------------------------------------------------------------------ names of columns


def test_names_in_another_order_than_the_columns_are_not_swapped() -> None:
    table = frame()
    columns = table[["pre_rate", "post_rate", "weight"]]
    model = regressor(variables=["weight", "pre_rate", "post_rate"]).fit(columns, table["dw"])
    assert model.rule_ == LAW
    assert model.variables_ == ("pre_rate", "post_rate", "weight")
    np.testing.assert_allclose(model.predict(columns), table["dw"], atol=1e-9)
    assert regressor().fit(columns, table["dw"]).rule_ == LAW, "no variables are needed"


def test_names_that_no_column_has_are_refused() -> None:
    table = frame()
    columns = table[["pre_rate", "post_rate", "weight"]]
    with pytest.raises(ConfigError, match=r"called pre_rate, post_rate, weight, and variables says x, y, w"):
        regressor(variables=("x", "y", "w")).fit(columns, table["dw"])
    renamed = regressor(variables=("x", "y", "w")).fit(columns.to_numpy(), table["dw"])
    assert renamed.rule_ == Rule.parse("x*y - 0.4*w*y**2")


def test_rows_take_the_columns_of_a_data_frame_by_name() -> None:
    table = frame()
    names = ("weight", "post_rate", "pre_rate")
    recordings = from_rows(names, table[["pre_rate", "post_rate", "weight"]], table["dw"], table["cell"])
    np.testing.assert_array_equal(recordings.samples.columns["weight"], table["weight"])
    assert recordings.n_recordings == 5


# ---------------------------------------------------------------------------------------------------- groups


def test_the_name_of_a_column_does_not_pass_for_recordings() -> None:
    table = frame()
    names = ["pre_rate", "post_rate", "weight"]
    with pytest.raises(ConfigError, match=r"all 200 rows.*not the name of a column.*df\['cell'\]"):
        from_rows(names, table[names], table["dw"], "cell")
    for weights in (None, np.ones(200)):
        with pytest.raises(ConfigError, match=r"200 of them are needed, got the shape \(4,\)"):
            from_rows(names, table[names], table["dw"], list("cell"), weights=weights)


# ------------------------------------------------------------------------------- what is no recordings at all


def test_a_data_frame_in_place_of_recordings_is_refused_with_what_to_do() -> None:
    table = frame()
    with pytest.raises(ConfigError, match=r"got DataFrame.*from_rows.*RuleRegressor"):
        discover.infer(table)
    with pytest.raises(ConfigError, match=r"got DataFrame.*from_rows.*RuleRegressor"):
        constant_intervals(LAW, table)


# -------------------------------------------------------------------------------------------- missing numbers


def test_a_value_that_is_not_finite_is_named_by_row_and_column() -> None:
    table = frame()
    columns = table[["pre_rate", "post_rate", "weight"]].copy()
    columns.loc[17, "post_rate"] = np.nan
    columns.loc[30, "weight"] = np.inf
    with pytest.raises(ConfigError, match=r"X has 2 values that are NaN.*data row 18, column 'post_rate'"):
        regressor().fit(columns, table["dw"])
    with pytest.raises(ConfigError, match=r"data row 18, column 'y'"):
        regressor(variables=("x", "y", "w")).fit(columns.to_numpy(), table["dw"])
    with pytest.raises(ConfigError, match=r"data row 18, column 2"):
        regressor().fit(columns.to_numpy(), table["dw"])
    change = table["dw"].to_numpy(copy=True)
    change[3] = np.nan
    with pytest.raises(ConfigError, match=r"y has 1 value that is NaN.*first in data row 4\."):
        regressor().fit(frame()[["pre_rate", "post_rate", "weight"]], change)
    fitted = regressor().fit(frame()[["pre_rate", "post_rate", "weight"]], table["dw"])
    with pytest.raises(ConfigError, match="data row 18"):
        fitted.predict(columns)


# -------------------------------------------------------------------------------------- of the command line

HEAVY = {"numba", "scipy", "sympy", "matplotlib", "sklearn"}


def refused(folder: Path, *arguments: str) -> str:
    """Run the command in a process of its own, which must end in an error before anything heavy is loaded."""
    code = (
        "import sys, pipelines.cli as c\n"
        f"sys.argv = ['discover', 'infer', *{arguments!r}]\n"
        "try:\n    c.main()\nfinally:\n"
        f"    print('loaded:', sorted({HEAVY!r} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert result.returncode == 2, result.stderr
    assert result.stdout == "loaded: []\n"
    return result.stderr


def test_missing_files_and_columns_are_said_at_once_with_the_option_that_helps(tmp_path: Path) -> None:
    frame(30).to_csv(tmp_path / "rec.csv", index=False)
    assert "There is no file recs.csv." in refused(tmp_path, "recs.csv")
    said = refused(tmp_path, "rec.csv")
    assert "rec.csv has no column 'x'" in said
    assert "Columns: pre_rate, post_rate, weight, dw, cell. Another one: --variables x=COLUMN." in said
    chosen = ("rec.csv", "--variables", "pre_rate,post_rate,weight")
    assert "Another one: --target COLUMN." in refused(tmp_path, *chosen, "--target", "change")
    said = refused(tmp_path, *chosen, "--groups", "cells")
    assert "Did you mean 'cell'?" in said
    assert "Another one: --groups COLUMN." in said


# -------------------------------------------------------------------------------------------- what is printed


def test_a_rule_of_recorded_data_is_printed_without_the_name_of_its_slot() -> None:
    text = "pre_rate*post_rate - 0.4*weight*post_rate**2"
    assert str(LAW) == text
    assert LAW.to_dict() == {"recorded(pre_rate, post_rate, weight)": text}
    assert Rule.parse(LAW.to_dict()) == Rule.parse(f"recorded(pre_rate, post_rate, weight): {text}") == LAW
    assert repr(LAW) == f"Rule.parse({LAW.to_dict()!r})"
    one = Candidate("c1", LAW, 0.1, 0.1, provenance=Provenance(("terms",)))
    front = ParetoFront.of("recorded", ("terms",), [one])
    assert front.to_frame().loc["c1", "rule"] == text
    assert "recorded(" not in repr(front)
    assert "slot:recorded(pre_rate, post_rate, weight)" in front.rows()[0]


def test_a_rule_of_recorded_data_is_shown_as_the_change_itself(tmp_path: Path) -> None:
    one = Candidate("c1", LAW, 0.1, 0.1, provenance=Provenance(("terms",)))
    recordings = from_rows(get_slot(LAW.slots[0]).variables, np.ones((40, 3)), np.ones(40), None)
    comparison = compare_recorded({"c1": LAW}, recordings, get_slot(LAW.slots[0]))
    artefacts.write_json(tmp_path / "front.json", ParetoFront.of("recorded", ("terms",), [one]))
    artefacts.write_json(tmp_path / "comparison.json", comparison)
    shown = show_text(tmp_path)
    assert "  Δw = pre_rate·post_rate - 0.4·weight·post_rate²" in shown
    assert "∝" not in shown
    assert "known rules: none is written in these variables, so that none was compared" in shown
    assert "known rule  " not in shown


def test_a_rule_of_the_opposite_sign_is_said_to_be_one() -> None:
    states = np.random.default_rng(0).normal(size=(100, 3))
    recordings = from_rows(("x", "y", "w"), states, -states[:, 0] * states[:, 1], None)
    rules = {name: Rule.parse(text) for name, text in {"anti": "-0.5*x*y", "same": "0.5*x*y"}.items()}
    compared = compare_recorded(rules, recordings, FEEDFORWARD).candidates
    assert (compared["anti"].nearest, compared["anti"].is_opposite) == ("hebb", True)
    said = "it: same terms with the opposite sign, beside the nearest known rule, Hebb"
    assert verdict_text("it", compared["anti"]).startswith(said)
    assert not compared["same"].is_opposite


def test_rules_of_many_targets_carry_their_names() -> None:
    table = frame()
    columns = table[["pre_rate", "post_rate", "weight"]]
    changes = pandas.DataFrame({"dw_exc": table["dw"], "spine 50%": 2 * columns["pre_rate"]})
    model = regressor().fit(columns, changes)
    assert model.targets_ == ("dw_exc", "spine 50%")
    assert [one.target for one in model.inferences_] == ["dw_exc", "spine 50%"]
    first, second = model.latex().splitlines()
    assert first.startswith(r"\mathrm{dw}_{\mathrm{exc}} = \mathrm{pre}_{\mathrm{rate}}")
    assert second.startswith(r"\text{spine 50\%} = 2 ")
    assert repr(model.inferences_[1]).startswith("<Inference: spine 50%: supported")
    assert model.rule_ == LAW, "that of the first target"
    alone = regressor().fit(columns, changes[["dw_exc"]])
    assert alone.targets_ == ()
    assert alone.latex().startswith(r"\Delta w = ")
