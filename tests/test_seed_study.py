"""Studies over many seeds: what counts as the law, which seeds are drawn, and whole studies."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kill_study import ROOT, alive, children
from smoke_runs import PIPELINES, SmokeRuns
from toy_pipeline import Toy
from typer.testing import CliRunner, Result

from discover.errors import ArtefactError, ConfigError
from discover.expression import parse
from discover.expression.skeleton import family, skeleton
from discover.outcome import family_of, outcome_for_a_law, share_interval
from discover.rule import Rule
from discover.seed_study import SeedRow, families_of, find_study, read_study, shares_of, study_text
from discover.seeds import STUDY_ROOT, following_seeds, study_seeds
from pipelines.cli import app
from pipelines.manifest import Manifest
from pipelines.runs import pipeline_files
from pipelines.seed_rows import Sought, row_of
from pipelines.seed_run import files_of, run_away, take_files
from pipelines.show import rule_text

VARIABLES = ("x", "y", "w")
LAW = Rule.parse("x*y - w*y**2")
STAGES = ("simulate", "fit", "search", "compare")
SMOKE = str(PIPELINES / "oja-smoke.toml")
COMPARED = ("path.json", "front.json", "front.csv", "comparison.json")

TINY = """\
schema = 1
task = "oja"
seed = 1

[problems]
n_inputs = 2
n_samples = 20
n_steps = 60
batch = 10

[fit]
restarts = 1
n_train = 8
n_heldout = 8
n_tuning = 8
penalties = [0.0, 0.02]
steps = 60
path_steps = 20
refit_steps = 20

[search]
engines = ["terms"]
max_nodes = 15

[search.terms]
max_terms = 2
beam_width = 5
n_refined = 2

[search.network]
n_states = 100
n_train = 8
n_heldout = 8
n_refined = 3
refine_steps = 10

[compare]
n_problems = 4
n_states = 100
"""


def discover(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(one) for one in arguments])


# ------------------------------------------------------------------------------------------------------ forms


@pytest.mark.parametrize(
    ("rule", "form"),
    [
        ("0.39*x*y - 0.4*w*y**2", "a*x*y + b*w*y**2"),
        ("y*(0.39*x - 0.4*w*y)", "a*x*y + b*w*y**2"),
        ("9.9*tanh(0.0476*y)*(x - w*y)", "a*x*tanh(y) + b*w*y*tanh(y)"),
        ("w*(0.67 - 0.397*y**2) - 0.51*x*tanh(y)", "a*w + b*x*tanh(y) + c*w*y**2"),
        ("-7.3e-05 + 0.367*x*y - 0.369*w*y**2", "a + b*x*y + c*w*y**2"),
        ("x*max(y - 0.5, 0) - 0.1*w", "a*w + b*x*max(0, y - 1)"),
        ("2*x*exp(-3*y)", "a*x*exp(-y)"),
        ("0.3*x*y/(2 + 0.1*y**2)", "a*x*y/(1 + y**2)"),
        ("0.5", "a"),
        ("0", "0"),
    ],
)
def test_a_form_is_what_is_left_without_the_constants(rule: str, form: str) -> None:
    assert family(parse(rule, VARIABLES), VARIABLES) == form


@given(st.lists(st.floats(0.01, 100), min_size=4, max_size=4))
def test_constants_do_not_change_the_form(values: list[float]) -> None:
    a, b, c, d = values
    for text in ("{}*x*y - {}*w*y**2 + {}*x*tanh({}*y)", "({}*x - {}*w*y)*({}*y + exp(-{}*y))"):
        scaled, plain = text.format(a, b, c, d), text.format(*[1.5] * 4)
        assert family(parse(scaled, VARIABLES), VARIABLES) == family(parse(plain, VARIABLES), VARIABLES)


def test_a_product_of_large_sums_stays_one() -> None:
    text = "tanh(x)*(1 + x + y + w)**12"
    assert family(parse(text, VARIABLES), VARIABLES).count("+") == 3


def test_signs_inside_functions_tell_forms_apart() -> None:
    one, other = (family(parse(f"x*exp({sign}y)", VARIABLES), VARIABLES) for sign in ("-", ""))
    assert one != other
    assert skeleton(parse("x - y", VARIABLES), VARIABLES) != skeleton(parse("x + y", VARIABLES), VARIABLES)


def test_constants_of_the_synapse_and_idle_slots_are_no_part_of_the_form() -> None:
    rule = {"on_pre": "-1.25 + 12.3*x_post", "on_post": "0", "tau_pre": "40.1", "tau_post": "12.8"}
    assert family_of(Rule.parse(rule)) == "on_pre: a + b*x_post"


# --------------------------------------------------------------------------------------------------- outcomes


@pytest.mark.parametrize(
    ("rule", "verdict", "behavioural", "outcome"),
    [
        ("0.39*x*y - 0.4*w*y**2", "same up to scale", 0.0, "exact"),
        ("y*(0.39*x - 0.4*w*y)", "same up to scale", 0.0, "exact"),
        ("-0.39*x*y - 0.4*w*y**2", "different", 1.0, "missed"),
        ("0.39*x*y - 0.42*w*y**2", "same up to scale", 0.01, "functional"),
        ("0.39*x*y - 0.8*w*y**2", "same terms", 0.3, "missed"),
        ("-7.3e-05 + 0.367*x*y - 0.369*w*y**2", "same up to scale", 0.0, "extra terms"),
        ("0.4*x*y - 0.4*w*y**2 - 0.054*x", "extra terms", 0.01, "extra terms"),
        ("9.9*tanh(0.0476*y)*(x - w*y)", "behaves alike", 0.002, "functional"),
        ("x*y", "missing terms", 1.2, "missed"),
        ("x*tanh(y) - w", "different", 0.2, "missed"),
        ("0.39*x*y - 0.4*w*y**2", None, None, "exact"),
        ("x*tanh(y) - w", None, None, "not compared"),
    ],
)
def test_a_law_is_found_exactly_with_more_functionally_or_not(
    rule: str, verdict: str | None, behavioural: float | None, outcome: str
) -> None:
    assert outcome_for_a_law(Rule.parse(rule), LAW, verdict, behavioural, 0.05) == outcome


def test_a_law_of_two_slots_needs_the_terms_of_both() -> None:
    law = Rule.parse({"feedforward": "x*y - w*y**2", "lateral": "-y_pre*y_post"})
    pair = {"feedforward": "0.4*x*y - 0.4*w*y**2", "lateral": "-1.3*y_pre*y_post"}
    assert outcome_for_a_law(Rule.parse(pair), law, "same up to scale", 0.0, 0.05) == "exact"
    alone = Rule.parse({"feedforward": pair["feedforward"]})
    assert outcome_for_a_law(alone, law, "missing terms", 0.5, 0.05) == "missed"


@pytest.mark.parametrize(("successes", "runs"), [(0, 20), (7, 10), (20, 20)])
def test_the_interval_of_a_share_is_that_of_wilson(successes: int, runs: int) -> None:
    z, share = 1.959963984540054, successes / runs
    centre = share + z**2 / (2 * runs)
    half = z * np.sqrt(share * (1 - share) / runs + z**2 / (4 * runs**2))
    expected = [(centre - half) / (1 + z**2 / runs), (centre + half) / (1 + z**2 / runs)]
    assert share_interval(successes, runs) == pytest.approx(expected, abs=1e-12)


def test_the_counts_say_what_is_missing() -> None:
    rows = [
        SeedRow(seed=1, outcome="exact", family="a"),
        SeedRow(seed=2, outcome="failed", error="no memory"),
        SeedRow(seed=3, outcome="exact", family="a"),
        SeedRow(seed=4, outcome="missed", family="b*x"),
    ]
    shares = shares_of(rows, "one law")
    assert [(name, share.n) for name, share in shares.items()] == [
        ("exact", 2), ("extra terms", 0), ("functional", 0), ("missed", 1), ("failed", 1),
    ]  # fmt: skip
    assert [(one.form, one.seeds) for one in families_of(rows)] == [("a", (1, 3)), ("b*x", (4,))]
    text = study_text("one law", "Oja (1982)", shares, families_of(rows), 6)
    assert text.startswith("Oja (1982) was named exactly in 2 of 4 seeds (95 % interval of the share 0.15 to")
    assert text.endswith("and missed in 1. 1 runs failed. 2 of 6 seeds have not run yet.")
    assert study_text("one law", "", {}, [], 6) == "None of 6 seeds has run yet."


# ------------------------------------------------------------------------------------------------------ seeds


def test_seeds_are_drawn_once_for_all_and_stand_in_no_pipeline() -> None:
    seeds = study_seeds(200)
    assert len(set(seeds)) == 200
    assert study_seeds(20) == seeds[:20]
    assert (STUDY_ROOT, seeds[:2]) == (2020, (427422, 829840))
    files = {tomllib.loads(path.read_text()).get("seed", 0) for path in pipeline_files().values()}
    assert not files & set(seeds)
    assert study_seeds(3, without={seeds[1]}) == (seeds[0], *seeds[2:4])
    assert following_seeds(4, 3, without={5}) == (4, 6, 7)
    with pytest.raises(ConfigError, match="63 bits"):
        following_seeds(2**63 - 1, 3)


# -------------------------------------------------------------------------------------------- rows of one run


@pytest.fixture
def seed_one(smoke_runs: SmokeRuns, tmp_path: Path) -> Path:
    """Results with a study of which seed 1 has run: a copy of the finished run with that seed."""
    (tmp_path / "studies" / "oja-smoke").mkdir(parents=True)
    smoke_runs.copy("oja-smoke", tmp_path / "studies" / "oja-smoke").rename(
        tmp_path / "studies" / "oja-smoke" / "1"
    )
    return tmp_path


def edited(path: Path, change: Any) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_a_row_says_what_the_files_of_a_run_say(seed_one: Path) -> None:
    folder = seed_one / "studies" / "oja-smoke" / "1"
    front = json.loads((folder / "front.json").read_text())
    chosen = next(one for one in front["candidates"] if one["id"] == front["chosen"])
    row = row_of(folder, 1, Sought("one law", "oja"), STAGES)
    assert (row.candidate, row.slots, row.complexity) == (chosen["id"], chosen["slots"], chosen["complexity"])
    assert (row.loss.mean, row.loss_on) == (chosen["test"]["mean"], "test problems")
    assert (row.loss.low, row.loss.high) == (chosen["test"]["low"], chosen["test"]["high"])
    rows = json.loads((folder / "comparison.json").read_text())["baseline"]["rows"]
    assert row.measures["cosine"].mean == rows[-1]["metrics"]["cosine"]["mean"]
    records = [Manifest(folder).record(stage) for stage in STAGES]
    assert row.seconds == pytest.approx(sum(record.seconds for record in records if record))
    assert row.outcome == "exact"
    assert row.family == "a*x*y + b*w*y**2"


def test_a_row_says_which_folds_the_chosen_rule_did_not_pass(seed_one: Path) -> None:
    folder = seed_one / "studies" / "oja-smoke" / "1"
    chosen = json.loads((folder / "front.json").read_text())["chosen"]
    names = [
        one["name"]
        for one in json.loads((folder / "validation.json").read_text())["candidates"][chosen]["folds"]
    ]

    def judge(content: dict[str, Any]) -> None:
        for one in content["candidates"][chosen]["folds"]:
            one.update(passed=True, verdict="passed", reason="")
        content["candidates"][chosen]["folds"][1].update(
            passed=False, verdict="undecided", reason="the interval reaches across"
        )

    edited(folder / "validation.json", judge)
    assert row_of(folder, 1, Sought("one law", "oja"), [*STAGES[:3], "compare"]).folds == {}
    row = row_of(folder, 1, Sought("one law", "oja"), [*STAGES[:3], "validate", "compare"])
    assert list(row.folds) == names
    assert row.not_passed == {names[1]: "undecided: the interval reaches across"}
    assert row.n_passed == len(names) - 1 > 0


def test_losses_on_test_problems_come_first(seed_one: Path) -> None:
    folder = seed_one / "studies" / "oja-smoke" / "1"

    def measure(content: dict[str, Any]) -> None:
        for one in content["candidates"]:
            one.update(test={"mean": 0.125, "low": 0.1, "high": 0.15, "n_problems": 64})

    edited(folder / "front.json", measure)
    row = row_of(folder, 1, Sought("one law", "oja"), STAGES)
    assert row.loss_on == "test problems"
    assert (row.loss.mean, row.loss.low, row.loss.high) == (0.125, 0.1, 0.15)


def test_what_is_found_where_nothing_or_much_is(seed_one: Path) -> None:
    folder = seed_one / "studies" / "oja-smoke" / "1"
    assert row_of(folder, 1, Sought("nothing"), STAGES).outcome == "something found"
    assert row_of(folder, 1, Sought("many forms"), STAGES).outcome == "beats the baseline"
    assert row_of(folder, 1, Sought("many forms"), STAGES[:3]).outcome == "not compared"
    assert row_of(folder, 1, Sought("one law", "oja"), STAGES[:3]).outcome == "exact"
    edited(folder / "comparison.json", lambda content: content["baseline"].update(beaten_by=[]))
    assert row_of(folder, 1, Sought("nothing"), STAGES).outcome == "nothing found"
    assert row_of(folder, 1, Sought("many forms"), STAGES).outcome == "no better than the baseline"
    assert row_of(folder, 1, Sought("one law", "oja"), STAGES).outcome == "missed"


@pytest.mark.parametrize("change", [{"evidence": {"oja": {"verdict": 3}}}, {"distances": {"oja": 1}}])
def test_a_damaged_comparison_is_said(seed_one: Path, change: dict[str, Any]) -> None:
    folder = seed_one / "studies" / "oja-smoke" / "1"
    edited(
        folder / "comparison.json",
        lambda content: [one.update(change) for one in content["candidates"].values()],
    )
    with pytest.raises(ArtefactError, match="was edited or is damaged"):
        row_of(folder, 1, Sought("one law", "oja"), STAGES)


# ---------------------------------------------------------------------------------------------- whole studies


def test_a_seed_that_has_run_is_left_alone_and_one_that_fails_is_a_row(seed_one: Path) -> None:
    study = seed_one / "studies" / "oja-smoke"
    (study / "7").write_text("no folder")
    before = files_of(study / "1")
    result = discover("study", SMOKE, "--seed-list", "1,7", "--results", seed_one)
    assert result.exit_code == 0, result.output
    assert files_of(study / "1") == before
    assert "1 of 2 seeds are up to date" in result.stderr
    assert "Oja (1982) was named exactly in 1 of 2 seeds" in result.stdout
    assert "1 runs failed." in result.stdout
    found = read_study(study / "study.json")
    shown = json.loads(discover("study", SMOKE, "--seed-list", "1,7", "--results", seed_one, "--json").stdout)
    assert shown["schema"] == "plasticity-discovery/shown-study/1"
    assert [row["outcome"] for row in shown["rows"]] == ["exact", "failed"]
    assert [(row.seed, row.outcome) for row in found.rows] == [(1, "exact"), (7, "failed")]
    assert "cannot be written" in found.rows[1].error
    assert found.text in (study / "study.md").read_text()
    assert f"| `{rule_text(found.rows[0].slots)}` |" in (study / "study.md").read_text()
    with (study / "study.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [(row["seed"], row["outcome"]) for row in table] == [("1", "exact"), ("7", "failed")]
    assert float(table[0]["loss"]) == found.rows[0].loss.mean
    assert (study / "losses.png").stat().st_size > 1000


def test_a_study_of_failures_is_one(seed_one: Path) -> None:
    (seed_one / "studies" / "oja-smoke" / "7").write_text("no folder")
    result = discover("study", SMOKE, "--seed-list", "7", "--results", seed_one)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith("discover: The runs of all 1 seeds failed. The first: ")


def test_a_study_with_other_settings_is_not_overwritten(seed_one: Path, tmp_path: Path) -> None:
    command = ("study", tmp_path / "oja-smoke.toml", "--seed-list", "1", "--results", seed_one)
    (tmp_path / "oja-smoke.toml").write_text(Path(SMOKE).read_text())
    assert discover(*command).exit_code == 0
    path = seed_one / "studies" / "oja-smoke" / "study.json"
    before = path.read_bytes()
    (tmp_path / "oja-smoke.toml").write_text(Path(SMOKE).read_text().replace("steps = 150", "steps = 151", 1))
    result = discover(*command)
    assert result.exit_code == 2
    assert "holds a study of oja-smoke with other settings" in result.stderr
    assert "--update" in result.stderr
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--seed-list", "3,five"], ["--seed-list", "'3,five'"]),
        (["--seed-list", "3,3"], ["different whole numbers"]),
        (["--seed-list", "3", "--first-seed", "4"], ["give one of them"]),
        (["--stages", "serch"], ["Did you mean 'search'?"]),
        (["--jobs", "2", "--backend", "dask", "--scheduler", "tcp://127.0.0.1:1"], ["--jobs"]),
        (["--engine", "pyser"], ["Did you mean 'pysr'?"]),
    ],
)
def test_options_that_cannot_be_meant(tmp_path: Path, options: list[str], words: list[str]) -> None:
    result = discover("study", SMOKE, "--results", tmp_path, *options)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    for word in words:
        assert word in result.stderr
    assert not list(tmp_path.iterdir())


def test_a_study_is_not_written_through_a_link(seed_one: Path, tmp_path: Path) -> None:
    other = tmp_path / "results"
    other.mkdir()
    (other / "studies").symlink_to(seed_one / "studies")
    result = discover("study", SMOKE, "--seed-list", "1", "--results", other)
    assert result.exit_code == 2
    assert "symbolic link" in result.stderr


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("{", "not valid JSON"),
        ("[]", "a JSON object is expected"),
        ('{"schema": "plasticity-discovery/study/2"}', "newer release"),
        ('{"schema": "plasticity-discovery/study/1", "name": 3}', "name: "),
        ('{"schema": "plasticity-discovery/front/1"}', "is expected"),
    ],
)
def test_a_damaged_study_is_said(tmp_path: Path, data: str, words: str) -> None:
    path = tmp_path / "study.json"
    path.write_text(data)
    with pytest.raises(ArtefactError, match=words):
        read_study(path)


def test_a_worker_cannot_write_outside_of_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    take_files(folder, {"a.json": b"1", "figures/b.svg": b"2", "manifest.json": b"3"})
    assert files_of(folder) == {"a.json": b"1", "figures/b.svg": b"2", "manifest.json": b"3"}
    take_files(folder, {"a.json": b"4"})
    assert files_of(folder) == {"a.json": b"4"}
    for name in ("../other", "/etc/other"):
        with pytest.raises(ArtefactError, match="outside of"):
            take_files(folder, {name: b""})


# -------------------------------------------------------------------------------------------- in other places


def test_the_report_of_a_run_shows_its_study(smoke_runs: SmokeRuns, seed_one: Path) -> None:
    run = smoke_runs.copy("oja-smoke", seed_one)
    assert find_study(run, "oja-smoke") is None
    assert discover("report", run).exit_code == 0
    assert "The same pipeline from other seeds" not in (run / "report.html").read_text()
    studied = discover("study", SMOKE, "--seed-list", "1", "--results", seed_one)
    assert f"`discover report {run}` takes it into the report." in studied.stderr
    result = discover("report", run)
    assert "report: up to date" not in result.stderr
    page = (run / "report.html").read_text()
    assert "The same pipeline from other seeds" in page
    assert "Oja (1982) was named exactly in 1 of 1 seeds" in page
    assert 'href="../studies/oja-smoke/study.md"' in page
    assert "report: up to date" in discover("report", run).stderr


def test_the_report_does_not_show_a_study_of_other_settings(smoke_runs: SmokeRuns, seed_one: Path) -> None:
    run = smoke_runs.copy("oja-smoke", seed_one)
    discover("study", SMOKE, "--seed-list", "1", "--results", seed_one)
    path = seed_one / "studies" / "oja-smoke" / "study.json"
    edited(path, lambda content: content["pipeline"]["fit"].update(steps=1))
    assert discover("report", run).exit_code == 0
    assert "The same pipeline from other seeds" not in (run / "report.html").read_text()


def test_a_worker_runs_a_seed_and_sends_its_files(toy: Toy) -> None:
    assert discover("run", "toy.toml").exit_code == 0
    wanted = toy.files()
    table = json.loads((toy.run / "config.json").read_text())
    toy.taken()
    files, error = run_away((table, STAGES, {}))
    assert error == ""
    assert toy.taken() == list(STAGES)
    assert {name: files[name] for name in COMPARED} == {name: wanted[name] for name in COMPARED}
    files, error = run_away((table, STAGES, files))
    assert (toy.taken(), error) == ([], "")

    def accident(stage: str) -> None:
        if stage == "fit":
            raise ZeroDivisionError("a fault of the program")

    toy.accident = accident
    files, error = run_away((table, STAGES, {}))
    assert error == "ZeroDivisionError: a fault of the program"
    assert "trajectories.npz" in files


# ------------------------------------------------------------------------------------------------------ slow


def command_of(toml: Path, results: Path, *options: str) -> list[str]:
    code = "from pipelines.cli import main; main()"
    return [sys.executable, "-c", code, "study", str(toml), "--results", str(results), *options]


def started(toml: Path, results: Path, *options: str) -> subprocess.Popen[str]:
    """Start a study in a process group of its own, which heeds Ctrl-C also where these tests do not."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            command_of(toml, results, *options),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"NUMBA_NUM_THREADS": "2"},
            start_new_session=True,
        )
    finally:
        signal.signal(signal.SIGINT, before)


def without_seconds(path: Path) -> list[dict[str, Any]]:
    rows = json.loads(path.read_text())["rows"]
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study that nobody touches, and its pipeline."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "tiny.toml").write_text(TINY)
    process = started(folder / "tiny.toml", folder, "--seed-list", "3,5,8")
    out, errors = process.communicate()
    assert process.returncode == 0, errors
    assert "of 3 seeds" in out
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_study_that_is_cut_off_goes_on_with_the_same_result(
    whole: Path, tmp_path: Path, number: signal.Signals
) -> None:
    toml, options = whole / "tiny.toml", ("--seed-list", "3,5,8", "--jobs", "2")
    study = tmp_path / "studies" / "tiny"
    process = started(toml, tmp_path, *options)
    while process.poll() is None and not list(study.glob("*/.fit.journal")):
        time.sleep(0.01)
    assert len(children(process.pid)) == 2
    sent = time.monotonic()
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    taken_s = time.monotonic() - sent
    if number == signal.SIGINT:
        assert process.returncode == 130, errors
        assert "are kept; go on with: discover" in errors
        assert taken_s < 10, "about a second, on a machine that does nothing else"
    for _ in range(200):
        if not alive(process.pid):
            break
        time.sleep(0.05)
    assert alive(process.pid) == [], "the processes of its seeds end with it"
    process = started(toml, tmp_path, *options)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    for seed in (3, 5, 8):
        for name in COMPARED:
            one, other = (place / "studies" / "tiny" / str(seed) / name for place in (tmp_path, whole))
            assert one.read_bytes() == other.read_bytes(), f"{seed}/{name}"
    files = [place / "studies" / "tiny" / "study.json" for place in (tmp_path, whole)]
    assert without_seconds(files[0]) == without_seconds(files[1])
    assert not list(study.glob("*/.*.journal"))


@pytest.mark.slow
def test_more_seeds_leave_those_that_have_run_alone(whole: Path) -> None:
    study = whole / "studies" / "tiny"
    before = {seed: (study / seed / "events.jsonl").read_bytes() for seed in ("3", "5", "8")}
    process = started(whole / "tiny.toml", whole, "--seed-list", "3,5,8,13", "--validate")
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    for seed, events in before.items():
        new = (study / seed / "events.jsonl").read_bytes()[len(events) :].decode()
        ran = [json.loads(line) for line in new.splitlines()]
        assert {one["stage"] for one in ran if one["event"] == "start"} == {"validate"}
    assert (study / "13" / "validation.json").is_file()
    content = read_study(study / "study.json")
    assert [row.seed for row in content.rows] == [3, 5, 8, 13]
    assert all(row.folds for row in content.rows)
    assert "| folds passed |" in (study / "study.md").read_text()


@pytest.mark.slow
def test_a_task_in_a_file_of_ones_own_goes_along(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from discover.errors import TaskError\n"
        "from discover.tasks.oja import OjaTask\n"
        "class Mine(OjaTask):\n"
        "    name = 'mine'\n"
        "    def visit(self, *arguments):\n"
        "        raise TaskError('Nobody may look.')\n"
    )
    toml = tmp_path / "mine.toml"
    toml.write_text(TINY.replace('"oja"', '"mine.py:Mine"'))
    process = started(toml, tmp_path, "--seed-list", "3")
    _, errors = process.communicate()
    assert process.returncode == 1, errors
    assert "The runs of all 1 seeds failed. The first: Nobody may look." in errors


@pytest.mark.slow
def test_a_study_on_a_cluster_is_the_study_here(whole: Path, tmp_path: Path) -> None:
    from test_parallel import running

    options = ("--seed-list", "3,5,8", "--backend", "dask", "--scheduler")
    with running(tmp_path / "workers") as cluster:
        process = started(whole / "tiny.toml", tmp_path, *options, cluster.address)
        _, errors = process.communicate()
    assert process.returncode == 0, errors
    for seed in (3, 5, 8):
        for name in COMPARED:
            one, other = (place / "studies" / "tiny" / str(seed) / name for place in (tmp_path, whole))
            assert one.read_bytes() == other.read_bytes(), f"{seed}/{name}"
