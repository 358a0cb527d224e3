"""Screens of rules: quartets drawn and classed, tables that are taken up where they were cut off."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from typer.testing import CliRunner

from discover.errors import ArtefactError, TaskError
from discover.screen import (
    PARAMETERS,
    PRIOR,
    Screen,
    class_shares,
    columns_of,
    drawn_quartet,
    quartet_rules,
    run_screen,
)
from discover.tasks.memory_measures import MemorySettings, loss_of, verdict_on
from pipelines.cli import app
from pipelines.screen import ScreenFiles, counts_as_text, read_table, run_and_write, stable_quartets
from sims.memory_protocol import run_memory

SMALL = MemorySettings(
    size=0.0625, connections=0.5, background_s=1.0, training_s=0.5, breaks_s=(1.0,), late_s=1.0
)
SHORT_TOML = """
schema = 1
task = "memory"
seed = 3
name = "short"
[problems]
size = 0.0625
connections = 0.5
background_s = 1.0
training_s = 0.5
breaks_s = [1.0]
late_s = 1.0
[fit]
optimiser = "cmaes"
"""


def rows_of(screen, done=(), jobs=1):
    rows = {}
    run_screen(screen, done, lambda row: rows.update({row["rule"]: row}), jobs)
    return rows


def without_times(row):
    return {name: value for name, value in row.items() if name != "seconds"}


def test_quartets_come_from_the_published_prior():
    drawn = np.array([drawn_quartet(5, k) for k in range(500)]).reshape(500, 4, 6)
    for column, (low, high) in enumerate(PRIOR.values()):
        values = drawn[:, :, column]
        assert low <= values.min() < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < values.max() <= high
        assert abs(values.mean() - (low + high) / 2) < 4 * (high - low) / np.sqrt(12 * values.size)
    np.testing.assert_array_equal(drawn_quartet(5, 17), drawn[17].ravel())
    assert not np.array_equal(drawn_quartet(6, 17), drawn[17].ravel())


def test_a_row_is_what_a_run_by_hand_gives():
    screen = Screen(SMALL, 2, 3)
    row = rows_of(screen)[1]
    parameters = np.array([row[name] for name in PARAMETERS])
    np.testing.assert_array_equal(parameters, drawn_quartet(3, 1))
    outcome = run_memory(quartet_rules(parameters), SMALL.circuit(), SMALL.protocol(), seed=3)
    verdict = verdict_on(outcome, SMALL)
    assert (row["class"], row["criterion"]) == (verdict.kind, verdict.criterion)
    assert row["loss"] == loss_of(outcome, SMALL)
    assert list(row) == columns_of(SMALL)


def test_projections_without_a_rule_keep_their_weights():
    row = rows_of(Screen(SMALL, 1, 3, ("IE",)))[0]
    assert (row["weight_EE"], row["weight_EI"], row["weight_II"]) == pytest.approx((0.1, 0.1, 1.0))
    assert row["weight_IE"] != pytest.approx(1.0)
    with pytest.raises(TaskError, match="EE, EI, IE, II"):
        Screen(SMALL, 1, 3, ("XE",))


def test_threads_change_nothing():
    screen = Screen(SMALL, 3, 8)
    one, two = rows_of(screen), rows_of(screen, jobs=2)
    assert {k: without_times(row) for k, row in one.items()} == {
        k: without_times(row) for k, row in two.items()
    }


def test_shares_add_up():
    rows = [
        {"class": "unstable", "criterion": "weights", "projection": "EE"},
        {"class": "unstable", "criterion": "weights", "projection": "II"},
        {"class": "unstable", "criterion": "blow-up", "projection": ""},
        {"class": "novelty", "criterion": "", "projection": ""},
    ]
    shares = {row["class"]: row for row in class_shares(rows)}
    assert shares["unstable"]["n"] == 3
    assert shares["any stable"]["n"] == 1
    assert shares["unstable: weights EE"]["share"] == 0.25
    assert shares["unstable: blow-up"]["n"] == 1
    assert shares["novelty"]["low"] == pytest.approx(0.0456, abs=1e-3)  # Wilson's interval of 1 in 4
    assert shares["novelty"]["high"] == pytest.approx(0.6994, abs=1e-3)
    assert "any stable" in counts_as_text(class_shares(rows))


def test_a_screen_that_was_cut_off_goes_on(tmp_path):
    """Whole rows stay; a line that was not written to its end is run again."""
    files = ScreenFiles(Screen(SMALL, 4, 3), tmp_path / "whole")
    run_and_write(files, lambda *_: None, lambda _: None)
    whole = files.table.read_text().splitlines(keepends=True)
    assert len(whole) == 5
    cut = ScreenFiles(files.screen, tmp_path / "cut")
    run_and_write(ScreenFiles(Screen(SMALL, 1, 3), cut.folder), lambda *_: None, lambda _: None)
    first = cut.table.read_text().splitlines(keepends=True)[1]
    cut.table.write_text("".join([whole[0], whole[3], first, whole[2][:40]]))
    notes = []
    run_and_write(cut, lambda *_: None, notes.append)
    assert notes == ["2 of 4 quartets are in the table already"]
    assert [without_times(row) for row in read_table(cut.table)] == [
        without_times(row) for row in read_table(files.table)
    ]
    for name in ("classes.png", "preference.png", "parameters.png", "screen.json"):
        assert (cut.folder / name).stat().st_size > 200


def test_another_screen_is_not_overwritten(tmp_path):
    files = ScreenFiles(Screen(SMALL, 1, 3), tmp_path / "screen")
    run_and_write(files, lambda *_: None, lambda _: None)
    other = ScreenFiles(Screen(SMALL, 1, 4), tmp_path / "screen")
    with pytest.raises(ArtefactError, match="other settings"):
        run_and_write(other, lambda *_: None, lambda _: None)
    run_and_write(other, lambda *_: None, lambda _: None, update=True)
    assert json.loads((tmp_path / "screen" / "screen.json").read_text())["request"]["seed"] == 4


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda text: text.replace("rule,", "number,"), "no column rule"),
        (lambda text: text + "5,unstable\n", "line 3"),
        (lambda text: text + text.splitlines()[1].replace("unstable", "fine") + "\n", "no class"),
        (lambda text: text.replace("\n0,", "\nzero,"), "line 2"),
    ],
)
def test_damaged_tables_are_refused(tmp_path, change, text):
    path = tmp_path / "table.csv"
    head = ["rule", "class", "loss", *PARAMETERS]
    row = ["0", "unstable", "2.5", *["1.0"] * 24]
    path.write_text(change(",".join(head) + "\n" + ",".join(row) + "\n"))
    with pytest.raises(ArtefactError, match=text):
        read_table(path)


def test_the_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "short.toml").write_text(SHORT_TOML)
    asked = ["screen", "short.toml", "--rules", "2", "--jobs", "1"]
    drawn = CliRunner().invoke(app, [*asked, "--only", "II"])
    assert drawn.exit_code == 0, drawn.output
    assert "any stable" in drawn.stdout
    table = tmp_path / "results" / "screens" / "short-only-II" / "screen.csv"
    rows = list(csv.DictReader(table.open()))
    assert [row["rule"] for row in rows] == ["0", "1"]
    rows[1]["class"] = "stable"
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    assert 1 in stable_quartets(read_table(table))
    again = CliRunner().invoke(app, [*asked, "--without", "EE", "--of", str(table)])
    assert again.exit_code == 0, again.output
    of_stable = read_table(tmp_path / "results" / "screens" / "short-without-EE-of-stable" / "screen.csv")
    assert {row["rule"]: row["EE_alpha"] for row in of_stable}[1] == float(rows[1]["EE_alpha"])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--only", "EE", "--without", "II"], "give one of them"),
        (["--only", "XX"], "no projection"),
        (["--of", "missing.csv"], "cannot be read"),
        (["--backend", "dask", "--jobs", "2"], "--scheduler"),
    ],
)
def test_bad_options_are_refused(tmp_path, monkeypatch, options, text):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "short.toml").write_text(SHORT_TOML)
    result = CliRunner().invoke(app, ["screen", "short.toml", *options])
    assert result.exit_code == 2
    assert text in " ".join(result.output.split())
