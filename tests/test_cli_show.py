"""What the command line says of runs: lists, plans, JSON, and how rules are typed. Runs stay as they are."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from test_cli import ALL, accident, discover, refused
from toy_pipeline import TOML, Toy

from discover.errors import RuleError, RunFailed
from discover.tasks.base import rule_in
from pipelines import runs

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "results" / "reference"
COMMITTED = sorted(path.parent.name for path in REFERENCE.glob("*/front.json"))


@pytest.fixture
def finished(toy: Toy) -> Toy:
    assert discover("run", "toy.toml").exit_code == 0
    toy.taken()
    return toy


def all_files(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Return content and time of every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def facts(what: str, *arguments: str, code: int = 0) -> dict[str, Any]:
    """Return what a command says with --json."""
    result = discover(*arguments, "--json")
    assert result.exit_code == code, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    assert found["schema"] == f"plasticity-discovery/shown-{what}/1"
    return found


# ----------------------------------------------------------------------------------------------------- fronts


def test_all_candidates_are_shown_with_what_beats_them(finished: Toy) -> None:
    assert "worse" not in discover("front", "toy").stdout
    rows = [line.split() for line in discover("front", "toy", "--all").stdout.splitlines()]
    assert ["hebb", "3", "0.9", "0.9", "-", "x*y"] in rows
    assert ["worse", "5", "0.95", "0.95", "hebb", "x*y", "-", "x"] in rows
    found = facts("front", "front", "toy", "--all")["candidates"]
    assert [one["beaten_by"] for one in found] == [None, "hebb", None]
    assert [one["id"] for one in facts("front", "front", "toy")["candidates"]] == ["hebb", "oja"]


def test_digits_are_the_same_everywhere_and_programs_get_all(finished: Toy) -> None:
    path = finished.run / "front.json"
    content = json.loads(path.read_text())
    content["candidates"][1]["slots"]["feedforward"] = "0.123456789*x*y - w*y**2"
    content["candidates"][1]["heldout_loss"] = 0.123456789
    path.write_text(json.dumps(content))
    for command in (("front",), ("show",)):
        text = discover(*command, "toy", "--digits", "2").stdout
        assert "0.12" in text
        assert "0.123" not in text
        assert "0.123457" in discover(*command, "toy", "--digits", "6").stdout
    shown = facts("candidate", "show", "toy", "--digits", "2")
    assert shown["heldout_loss"] == 0.123456789
    assert shown["rule"] == "0.123456789*x*y - w*y**2"
    assert discover("front", "toy", "--digits", "0").exit_code == 2


def test_everything_that_is_shown_is_there_for_programs(finished: Toy) -> None:
    shown = facts("candidate", "show", "toy")
    assert [fold["name"] for fold in shown["folds"]] == ["digits", "D x 10"]
    assert shown["compared"]["verdict"] == "same up to scale"
    assert shown["latex"].startswith(r"\Delta w_{ij}")
    front = facts("front", "front", "toy", "--select", "hebb")
    assert (front["chosen"], front["chosen_by_the_run"]) == ("hebb", "oja")
    assert facts("comparison", "compare", "toy")["compared"]["nearest"] == "oja"
    assert facts("run", "run", "toy.toml")["front"]["chosen"] == "oja"
    same = facts("difference", "diff", "toy", "toy")
    assert (same["differ"], same["settings"], same["folds"]) == (False, [], [])


def test_a_coefficient_is_never_outside_its_range(finished: Toy) -> None:
    """Restarts learn at speeds of their own; at the rule's own speed they agree with it or not."""
    path = finished.run / "path.json"
    content = json.loads(path.read_text())
    content["restarts"] = [
        {"restart": 0, "coefficients": {"feedforward": {"x*y": 5.0, "w*y**2": -5.0}}},
        {"restart": 1, "coefficients": {"feedforward": {"x*y": 0.5, "w*y**2": -0.4}}},
        {"restart": 2, "coefficients": {"feedforward": {"x*y": 2.0}}},
    ]
    path.write_text(json.dumps(content))
    rows = {one["term"]: one for one in facts("candidate", "show", "toy")["constants"]}
    for one in rows.values():
        assert one["low"] <= one["value"] <= one["high"]
    assert rows["x*y"]["high"] == pytest.approx(0.5 * 0.9 / 0.41)
    assert (rows["x*y"]["restarts"], rows["w*y**2"]["restarts"]) == (3, 2)


# ------------------------------------------------------------------------------------------------ differences


def test_what_is_not_known_of_both_is_said_to_be_unknown(finished: Toy) -> None:
    finished.toml.with_name("other.toml").write_text(TOML)
    assert discover("run", "other.toml").exit_code == 0
    (finished.run.with_name("other") / "validation.json").unlink()
    text = discover("diff", "toy", "other").stdout
    assert "folds of the chosen rules: not known, as that of results/other was not tried" in text
    assert facts("difference", "diff", "toy", "other")["folds"] is None


def test_rules_that_differ_beyond_the_digits_are_not_called_the_same(finished: Toy) -> None:
    finished.toml.with_name("other.toml").write_text(TOML)
    assert discover("run", "other.toml").exit_code == 0
    path = finished.run.with_name("other") / "front.json"
    path.write_text(path.read_text().replace("0.9,", "0.90000001,"))
    result = discover("diff", "toy", "other")
    assert result.exit_code == 1
    assert "candidates, by held-out loss: the same to 4 digits" in result.stdout
    assert "0.90000001" in discover("diff", "toy", "other", "--digits", "9").stdout


def test_losses_of_other_problems_are_named_as_such(finished: Toy) -> None:
    finished.toml.with_name("other.toml").write_text(TOML.replace("seed = 3", "seed = 8"))
    assert discover("run", "other.toml").exit_code == 0
    assert (
        "candidates, by held-out loss on other problems: the same" in discover("diff", "toy", "other").stdout
    )


# ---------------------------------------------------------------------------------------------- lists of runs


def state_of(name: str) -> dict[str, Any]:
    return {Path(one["run"]).name: one for one in facts("runs", "runs")["runs"]}[name]


def test_runs_are_listed_with_their_state(finished: Toy) -> None:
    for name in ("failing", "stopped"):
        finished.toml.with_name(f"{name}.toml").write_text(TOML)
    finished.accident = accident("fit", RunFailed("No rule was found."))
    assert discover("run", "failing.toml").exit_code == 1
    finished.accident = accident("search", KeyboardInterrupt())
    assert discover("run", "stopped.toml").exit_code == 130
    found = {name: state_of(name) for name in ("toy", "failing", "stopped")}
    assert [one["state"] for one in found.values()] == ["finished", "failed", "interrupted"]
    assert [one["stage"] for one in found.values()] == [None, "fit", "search"]
    assert [len(one["done"]) for one in found.values()] == [6, 1, 2]
    assert (found["toy"]["rule"], found["toy"]["verdict"]) == ("x*y - w*y**2", "same up to scale")
    assert found["failing"]["why"] == "RunFailed: No rule was found."
    text = discover("runs").stdout
    assert "failing: RunFailed: No rule was found." in text
    assert "same up to scale: Oja (1982)" in text
    assert discover("runs", "results/toy").stdout.splitlines()[1].split()[:4] == [
        "toy",
        "toy",
        "3",
        "finished",
    ]


def test_a_run_that_was_killed_was_interrupted_and_one_at_work_is_running(finished: Toy) -> None:
    (finished.run / "manifest.json").unlink()
    events = (finished.run / "events.jsonl").read_text().splitlines()
    starts = [number for number, line in enumerate(events) if json.loads(line)["event"] == "start"]
    (finished.run / "events.jsonl").write_text("\n".join(events[: starts[1] + 1]) + '\n{"half')
    assert (state_of("toy")["state"], state_of("toy")["stage"]) == ("interrupted", "fit")
    with runs.locked(finished.run):
        assert (state_of("toy")["state"], state_of("toy")["stage"]) == ("running", "fit")


def test_a_damaged_run_is_listed_as_such(finished: Toy) -> None:
    (finished.run / "front.json").write_text("{")
    Path("results/empty").mkdir()
    Path("results/empty/config.json").write_text("[]")
    assert state_of("toy")["state"] == state_of("empty")["state"] == "damaged"
    assert "results/toy/front.json is truncated" in discover("runs").stdout
    refused(discover("runs", "nowhere"), "There is no folder nowhere")
    Path("none").mkdir()
    assert "no runs in none" in discover("runs", "none").stdout


# ------------------------------------------------------------------------------------------------------ plans


def plan(*options: str, code: int = 0) -> dict[str, tuple[str, str]]:
    """Return stage -> action and reasons of a dry run; it writes nothing."""
    before = all_files(Path())
    found = facts("plan", "run", "toy.toml", "--dry-run", *options, code=code)
    assert all_files(Path()) == before
    return {one["stage"]: (one["action"], "; ".join(one["why"])) for one in found["stages"]}


def actions(*options: str, code: int = 0) -> dict[str, str]:
    return {stage: action for stage, (action, _) in plan(*options, code=code).items()}


def test_a_dry_run_of_nothing_names_every_stage_and_makes_no_folder(toy: Toy) -> None:
    assert plan() == dict.fromkeys(ALL, ("will run", "it has not run"))
    assert not Path("results").exists()
    assert toy.taken() == []


def test_a_dry_run_of_a_finished_run_has_nothing_to_do(finished: Toy) -> None:
    assert actions() == dict.fromkeys(ALL, "up to date")
    assert plan("--fresh") == dict.fromkeys(ALL, ("will run", "--fresh asks for it"))
    text = discover("run", "toy.toml", "--dry-run").stdout
    assert text.splitlines()[0] == "run: results/toy"
    assert text.splitlines()[2].split() == ["simulate", "up", "to", "date", "-"]
    assert finished.taken() == []


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (
            lambda toy: toy.toml.write_text(TOML.replace("[0.1, 0.2]", "[0.3]")),
            {
                "fit": ("will run", "settings changed: fit.penalties"),
                "search": ("may run", "if path.json changes"),
            },
        ),
        (
            lambda toy: toy.toml.write_text(TOML.replace("n_inputs = 2", "n_inputs = 3")),
            {"simulate": ("will run", "settings changed: problems.n_inputs")},
        ),
        (
            lambda toy: (toy.run / "front.csv").unlink(),
            {"search": ("will run", "front.csv is missing"), "fit": ("up to date", "")},
        ),
        (
            lambda toy: (toy.run / "path.json").unlink(),
            {"fit": ("will run", "path.json is missing"), "search": ("may run", "if path.json changes")},
        ),
    ],
    ids=["fit", "problems", "a missing table", "a missing input"],
)
def test_a_dry_run_says_why(
    finished: Toy, change: Callable[[Toy], object], wanted: dict[str, tuple[str, str]]
) -> None:
    change(finished)
    found = plan("--update")
    assert {stage: found[stage] for stage in wanted} == wanted
    discover("run", "toy.toml", "--update")
    ran = finished.taken()
    assert {stage for stage, (action, _) in found.items() if action == "will run"} <= set(ran)
    assert {stage for stage, (action, _) in found.items() if action != "up to date"} >= set(ran)


def test_a_dry_run_says_that_code_or_an_input_changed(finished: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipelines import records

    original = records.code_hash
    with monkeypatch.context() as patch:
        patch.setattr(
            records, "code_hash", lambda names: original(names) + "!" * ("discover.search" in names)
        )
        assert plan()["search"] == ("will run", "the code changed")
        assert plan()["validate"] == ("may run", "if front.json changes")
    assert discover("fit", "toy", "--fresh").exit_code == 0
    manifest = finished.run / "manifest.json"
    content = json.loads(manifest.read_text())
    content["stages"]["search"]["inputs"]["path.json"] = "0" * 64
    manifest.write_text(json.dumps(content))
    assert plan()["search"] == ("will run", "path.json changed")


def test_a_dry_run_ends_where_the_run_would(finished: Toy) -> None:
    finished.toml.write_text(TOML.replace("[0.1, 0.2]", "[0.3]"))
    assert plan(code=2) == {}
    said = refused(
        discover("run", "toy.toml", "--dry-run"), "This run would end here", "finished run with other"
    )
    assert said.endswith("run again only what changed.")
    finished.toml.write_text(TOML)
    path = finished.run / "path.json"
    path.write_text(path.read_text() + " ")
    assert list(actions(code=2)) == ["simulate"]


def test_a_dry_run_goes_on_with_an_earlier_request(finished: Toy) -> None:
    finished.accident = accident("search", KeyboardInterrupt())
    assert discover("run", "toy.toml", "--fresh").exit_code == 130
    found = plan()
    assert found["fit"] == ("up to date", "")
    assert found["search"] == ("will run", "an earlier --fresh, which was cut off, asks for it")


# --------------------------------------------------------------------------------------- rules that are typed


def test_a_rule_may_begin_with_a_minus_sign(toy: Toy) -> None:
    result = discover("compare", "-w*y**2 + x*y", "--task", "toy")
    assert result.exit_code == 0, result.output
    assert "-w*y**2 + x*y equals Oja (1982) up to scale." in result.stdout
    assert discover("compare", "--task", "toy", "-0.5*x*y").exit_code == 0
    assert "No such option" in discover("compare", "x*y", "--tsk", "toy").stderr
    found = facts("comparison-of-a-rule", "compare", "-x*y", "--task", "toy")
    assert (found["rule"], found["compared"]["nearest"]) == ("-x*y", "oja")


@pytest.mark.parametrize("name", COMMITTED)
def test_rules_are_read_as_fronts_print_them(name: str) -> None:
    from discover.tasks import get_task

    found = facts("front", "front", str(REFERENCE / name), "--all")
    text = discover("front", str(REFERENCE / name)).stdout
    task = get_task(found["task"])
    for one in found["candidates"]:
        assert rule_in(task, one["rule"]).to_dict() == one["slots"]
    printed = re.findall(r"^(?:-->)? +c\d+  .*?  (\S+(?: \S+)*)$", text, re.MULTILINE)
    shown = [one for one in found["candidates"] if one["on_front"] or one["chosen"]]
    assert [rule_in(task, rule).slots for rule in printed] == [tuple(one["slots"]) for one in shown]


def test_a_rule_without_a_slot_is_refused_where_there_are_several() -> None:
    from discover.tasks import get_task

    with pytest.raises(RuleError, match=r"several updates, on_pre, on_post: .* 'on_pre: ...; on_post: ...'"):
        rule_in(get_task("ei-balance"), "x_post - 0.2")
    assert rule_in(get_task("pca-network"), "x*y").slots == ("feedforward",)
    assert rule_in(get_task("bcm"), "x*y*(y - theta)").slots == ("sliding",)


@pytest.mark.slow
@pytest.mark.parametrize("name", [one for one in COMMITTED if one != "ica-uniform"])
def test_the_rule_that_a_front_chose_is_compared(name: str) -> None:
    front = facts("front", "front", str(REFERENCE / name))
    chosen = next(one for one in front["candidates"] if one["chosen"])
    found = facts("comparison-of-a-rule", "compare", chosen["rule"], "--task", front["task"])
    assert found["slots"] == chosen["slots"]
    assert found["compared"]["distances"]


# ------------------------------------------------------------------------------------------ committed results


def reading_commands(folder: str) -> Iterator[tuple[str, ...]]:
    yield ("front", folder)
    yield ("front", folder, "--all", "--sort", "loss", "--json")
    yield ("front", folder, "--select", "cv")
    yield ("show", folder)
    yield ("show", folder, "--json")
    yield ("diff", folder, folder)
    yield ("export", folder, "--to", "latex")
    yield ("runs", folder)
    yield ("compare", folder)
    yield ("compare", folder, "--json")


@pytest.mark.parametrize("name", COMMITTED)
def test_reading_committed_results_changes_no_file(name: str) -> None:
    folder = REFERENCE / name
    before = all_files(folder)
    for command in reading_commands(str(folder)):
        result = discover(*command)
        assert result.exit_code == 0, (command, result.output)
    assert all_files(folder) == before


def test_a_comparison_of_other_code_is_shown_and_made_again_when_asked_for(
    finished: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipelines import records

    before = all_files(finished.run)
    monkeypatch.setattr(records, "code_hash", lambda names: "other code")
    assert "equals Oja (1982)" in discover("compare", "toy").stdout
    assert finished.taken() == []
    assert all_files(finished.run) == before
    assert discover("compare", "toy", "--update").exit_code == 0
    assert finished.taken() == ["compare"]
    (finished.run / "comparison.json").unlink()
    assert discover("compare", "toy").exit_code == 0
    assert finished.taken() == ["compare"]


# --------------------------------------------------------------------------------------- terminals and shells


def test_the_version_is_that_of_the_package() -> None:
    from importlib import metadata

    assert discover("--version").stdout == f"discover {metadata.version('plasticity-discovery')}\n"


def completed(line: str, folder: Path) -> list[str]:
    """Return what bash is offered for the last word of a line."""
    words = line.split(" ")
    environment = {
        **os.environ,
        "_DISCOVER_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
        "PYTHONPATH": str(ROOT),
    }
    code = "import pipelines.cli as cli; cli.main()"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=folder, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr
    return done.stdout.split()


def test_shells_complete_commands_options_runs_and_candidates(tmp_path: Path) -> None:
    results = tmp_path / "results"
    results.mkdir()
    (results / "mine").symlink_to(REFERENCE / "oja")
    assert completed("discover fr", tmp_path) == ["front"]
    assert completed("discover front --dig", tmp_path) == ["--digits"]
    assert completed("discover front mi", tmp_path) == ["mine"]
    assert completed("discover run pca", tmp_path) == ["pca-network", "pca-network-smoke"]
    assert completed("discover show mine c0", tmp_path) == [f"c0{number}" for number in range(1, 10)]
    assert completed("discover show none c0", tmp_path) == []
    assert completed("discover compare x*y --task ei-b", tmp_path) == ["ei-balance"]


def on_a_terminal(arguments: list[str], **environment: str) -> str:
    """Return what a command writes to a terminal of 70 columns."""
    controller, terminal = pty.openpty()
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS")}
    process = subprocess.Popen(
        [sys.executable, "-c", "import pipelines.cli as cli; cli.main()", *arguments],
        stdout=terminal,
        stderr=subprocess.DEVNULL,
        env={**kept, "COLUMNS": "70", "TERM": "xterm", **environment},
        cwd=ROOT,
    )
    os.close(terminal)
    text = b""
    try:
        while block := os.read(controller, 4096):
            text += block
    except OSError:
        pass  # the other end was closed
    finally:
        process.wait()
        os.close(controller)
    return text.decode().replace("\r\n", "\n")


def test_a_terminal_gets_colour_and_lines_of_its_width() -> None:
    arguments = ["show", str(REFERENCE / "ei-balance")]
    plain = discover(*arguments).stdout
    coloured, uncoloured = on_a_terminal(arguments), on_a_terminal(arguments, NO_COLOR="1")
    assert "\x1b[32mpassed\x1b[0m" in coloured
    assert "\x1b" not in uncoloured
    assert re.sub(r"\x1b\[\d+m", "", coloured) == uncoloured
    assert max(map(len, plain.splitlines())) > 100
    formula = (" ", "\\")  # LaTeX is left whole
    prose = [line for line in uncoloured.splitlines() if not line.startswith(formula)]
    assert max(map(len, prose)) <= 70
