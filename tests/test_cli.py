"""The command line and the stages behind it, run on a toy pipeline."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from toy_pipeline import TOML, Toy
from typer.testing import CliRunner, Result

from discover.errors import EngineUnavailable, RunFailed
from pipelines import artefacts, runs
from pipelines.cli import app
from pipelines.config import load_toml
from pipelines.stages import STAGES, stage_seed

ALL = list(STAGES)


def discover(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def refused(result: Result, *words: str, code: int = 2) -> str:
    """Check that a command ended in one clear paragraph, and return it."""
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    paragraph = result.stderr.strip().splitlines()[-1]
    assert paragraph.startswith("discover: ")
    for word in words:
        assert word in paragraph, paragraph
    return paragraph


def accident(stage: str, error: BaseException) -> Callable[[str], None]:
    def happen(name: str) -> None:
        if name == stage:
            raise error

    return happen


# ------------------------------------------------------------------------------------------------------ runs


def test_a_run_goes_through_all_stages_and_says_what_it_found(toy: Toy) -> None:
    result = discover("run", "toy.toml")
    assert result.exit_code == 0, result.output
    assert toy.taken() == ALL
    assert "-->  oja" in result.stdout
    assert "one standard error" in result.stdout
    assert "folds passed: 1 of 2\n" in result.stdout
    assert "failed   D x 10  no reason given\n" in result.stdout
    assert "the chosen rule oja equals Oja (1982) up to scale." in result.stdout
    assert result.stdout.endswith("report: results/toy/report.html\n")
    assert "fit: started" in result.stderr
    assert not list(toy.run.glob(".*.tmp"))


def test_a_second_run_does_nothing_but_touch_its_files(toy: Toy) -> None:
    discover("run", "toy.toml")
    toy.taken()
    before = toy.files()
    for file in toy.run.iterdir():
        os.utime(file, (1, 1))
    result = discover("run", "toy.toml")
    assert result.exit_code == 0
    assert toy.taken() == []
    assert "fit: up to date" in result.stderr
    assert toy.files() == before
    assert all((toy.run / file).stat().st_mtime > 1 for stage in STAGES.values() for file in stage.outputs)


@pytest.mark.parametrize(
    ("old", "new", "again"),
    [
        ("seed = 3", "seed = 4", ALL),
        ("n_inputs = 2", "n_inputs = 3", ALL),
        ("penalties = [0.1, 0.2]", "penalties = [0.3]", ["fit", "search", "compare", "report"]),
        ('["terms"]', '["terms", "operon"]', ["search", "validate", "compare", "report"]),
        ("seed = 3", "seed = 3 # a remark", []),
        ("penalties = [0.1, 0.2]", "penalties = [0.1, 0.2]\nrestarts = 1", []),
    ],
    ids=["seed", "problems", "fit", "search", "remark", "default written out"],
)
def test_a_changed_setting_runs_again_what_depends_on_it(
    toy: Toy, old: str, new: str, again: list[str]
) -> None:
    discover("run", "toy.toml")
    toy.taken()
    toy.toml.write_text(TOML.replace(old, new))
    assert discover("run", "toy.toml", "--update").exit_code == 0
    assert toy.taken() == again


def test_a_changed_source_runs_again_what_depends_on_it(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    discover("run", "toy.toml")
    toy.taken()
    from pipelines import records

    original = records.code_hash
    monkeypatch.setattr(
        records,
        "code_hash",
        lambda modules: original(modules) + ("!" if "discover.search" in modules else ""),
    )
    discover("run", "toy.toml")
    assert toy.taken() == ["search"]


def test_fresh_runs_everything_again_and_gives_the_same_bytes(toy: Toy) -> None:
    discover("run", "toy.toml", "--threads", "1")
    before = toy.files()
    toy.taken()
    assert discover("run", "toy.toml", "--fresh", "--threads", "2").exit_code == 0
    assert toy.taken() == ALL
    assert toy.files() == before


def test_a_deleted_artefact_is_made_again(toy: Toy) -> None:
    discover("run", "toy.toml")
    toy.taken()
    (toy.run / "path.json").unlink()
    assert discover("run", "toy.toml").exit_code == 0
    assert toy.taken() == ["fit"]


def test_the_stages_one_by_one_make_what_a_run_makes(toy: Toy) -> None:
    assert discover("simulate", "toy.toml").exit_code == 0
    for stage in ALL[1:]:
        result = discover(stage, "results/toy")
        assert result.exit_code == 0, result.output
    one_by_one = toy.files()
    assert discover("run", "toy.toml", "--results", "other").exit_code == 0
    toy.run = Path("other/toy")
    assert toy.files() == one_by_one


def test_a_run_is_found_by_its_name_folder_or_file(toy: Toy) -> None:
    discover("run", "toy.toml")
    texts = {discover("front", name).stdout for name in ("toy", "results/toy", "toy.toml")}
    assert len(texts) == 1
    assert "x*y - w*y**2" in texts.pop()


def test_the_pipelines_that_came_with_the_program_are_found_by_name(
    toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = toy.toml.parent / "shipped"
    folder.mkdir()
    (folder / "toy-shipped.toml").write_text(TOML)
    monkeypatch.setattr(runs, "_SHIPPED", folder)
    assert discover("run", "toy-shipped").exit_code == 0
    assert Path("results/toy-shipped/report.html").exists()


def test_the_manifest_says_what_a_run_was_made_from(toy: Toy) -> None:
    discover("run", "toy.toml", "--threads", "2", "--engine", "terms")
    content = json.loads((toy.run / "manifest.json").read_text())
    assert content["seed"] == 3
    assert content["config"]["fit"]["penalties"] == [0.1, 0.2]
    assert content["engine"] == ["terms"]
    assert content["threads"] == 2
    assert content["versions"]["numpy"]
    assert content["platform"]["cores"] >= 1
    assert len(content["code"]) == 64
    assert list(content["stages"]) == ALL
    assert all(record["seconds"] >= 0 for record in content["stages"].values())
    assert "figures/front.svg" in content["stages"]["report"]["outputs"]


def test_every_stage_has_its_own_seed_for_good(toy: Toy) -> None:
    discover("run", "toy.toml")
    assert len(set(toy.seeds.values())) == len(toy.seeds)
    assert toy.seeds == {name: stage_seed(3, name) for name in toy.seeds}
    assert [STAGES[name].number for name in ALL] == [1, 2, 3, 4, 5, 6]
    assert stage_seed(0, "fit") == 3241444873


def test_events_are_left_for_programs(toy: Toy) -> None:
    discover("run", "toy.toml")
    found = [json.loads(line) for line in (toy.run / "events.jsonl").read_text().splitlines()]
    assert [one["stage"] for one in found if one["event"] == "end"] == ALL


# ------------------------------------------------------------------------------------------- other commands


def test_a_rule_given_as_text_is_compared(toy: Toy) -> None:
    result = discover("compare", "x*y - w*y**2", "--task", "toy")
    assert result.exit_code == 0, result.output
    assert "x*y - w*y**2 equals Oja (1982) up to scale." in result.stdout
    assert not toy.run.exists()


def test_text_that_is_neither_a_run_nor_a_rule_is_said(toy: Toy) -> None:
    result = discover("compare", "x*y - w*z**2", "--task", "toy")
    assert result.exit_code == 2
    assert "There is no run" in result.stderr
    assert "Traceback" not in result.output
    assert discover("compare", "__import__('os').system('touch hacked')", "--task", "toy").exit_code == 2
    assert not Path("hacked").exists()


def test_compare_tells_a_run_from_a_rule_by_what_exists(toy: Toy) -> None:
    discover("run", "toy.toml")
    toy.taken()
    assert discover("compare", "toy", "--fresh").exit_code == 0
    assert discover("compare", "results/toy").exit_code == 0
    assert toy.taken() == ["compare"]


def test_a_task_called_like_a_pipeline_is_asked_after() -> None:
    refused(discover("compare", "x*y", "--task", "oja-smoke"), "no task 'oja-smoke'", "Did you mean 'oja'?")
    refused(discover("compare", "x*y", "--task", "pca-network-null"), "Did you mean 'pca-network'?")


def test_recovery_prints_a_row_for_every_size(toy: Toy) -> None:
    result = discover("recover", "toy", "--inputs", "2,10", "--seeds", "3")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[1:] == [
        "     2  3/3               0.5",
        "    10  3/3               0.5",
    ]
    shown = json.loads(discover("recover", "toy", "--inputs", "2", "--seeds", "3", "--json").stdout)
    assert shown["schema"] == "plasticity-discovery/shown-recovery/1"
    assert len(shown["rows"]) == 1
    assert Path(shown["file"]).is_file()
    refused(discover("recover", "toy", "--inputs", "2,ten"), "--inputs", "'2,ten'")
    refused(discover("recover", "toi"), "There is no task 'toi'", "Did you mean 'toy'?")


def test_the_doctor_says_which_engines_are_usable_and_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from discover.search import engine

    class Present:
        def availability(self) -> engine.Availability:
            return engine.Availability("terms", True, "0.1.0")

    class Absent:
        def availability(self) -> engine.Availability:
            return engine.Availability(
                "pysr", False, "", "No Julia was found.", "Install Julia 1.10 or newer."
            )

    monkeypatch.setattr(engine, "ENGINES", {"terms": Present, "pysr": Absent})
    for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    result = discover("doctor")
    assert result.exit_code == 0, result.output
    for words in ("python ", "threads ", "numba ", "terms   0.1.0  yes", "pysr    -      no"):
        assert words in result.stdout
    assert "pysr: No Julia was found. Install Julia 1.10 or newer." in result.stdout
    facts = json.loads(discover("doctor", "--json").stdout)
    assert facts["schema"] == "plasticity-discovery/shown-doctor/1"
    assert [(one["engine"], one["usable"]) for one in facts["engines"]] == [("terms", True), ("pysr", False)]
    assert facts["packages"]["numba"]


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys, pipelines.cli as c\n"
        "sys.argv = ['discover', '--help']\n"
        "try:\n    c.main()\nfinally:\n"
        "    heavy = {'numpy', 'numba', 'sympy', 'scipy', 'pydantic', 'matplotlib'} & set(sys.modules)\n"
        "    print('loaded:', sorted(heavy))"
    )
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "simulate" in result.stdout
    assert "loaded: []" in result.stdout


# ------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[fit]", "[fitt]", ["toy.toml", "'fitt'", "Did you mean 'fit'?"]),
        ("n_inputs = 2", 'n_inputs = "2"', ["problems.n_inputs", "integer"]),
        ("n_inputs = 2", "n_inputs = -2", ["problems.n_inputs", "-2"]),
        ('task = "toy"', 'task = "tyo"', ["There is no task 'tyo'"]),
        ('["terms"]', '["julia"]', ["search.engines", "'julia'"]),
        ("schema = 1", "schema = 7", ["version 7", "upgrade"]),
        ("[fit]", "[fit", ["not valid TOML"]),
    ],
    ids=["key", "type", "size", "task", "engine", "future", "syntax"],
)
def test_a_mistake_in_the_file_leaves_earlier_results_as_they_were(
    toy: Toy, old: str, new: str, words: list[str]
) -> None:
    discover("run", "toy.toml")
    toy.taken()
    before = {path: path.read_bytes() for path in toy.run.rglob("*") if path.is_file()}
    toy.toml.write_text(TOML.replace(old, new))
    refused(discover("run", "toy.toml"), *words)
    assert {path: path.read_bytes() for path in toy.run.rglob("*") if path.is_file()} == before
    assert toy.taken() == []


DEEP = ".".join(["a"] * 30_000)
HOSTILE = {
    "a task with a NUL character": ('"toy"', r'"a\u0000.py:T"', [r"in no file", r"a\x00.py"]),
    "a task in two lines": ('"toy"', r'"a\nb.py:T"', [r"in no file", r"a\nb.py"]),
    "a task in a file with a long name": ('"toy"', f'"{"x" * 300}.py:T"', ["in no file"]),
    "a task far down": ('"toy"', f'"{"x/" * 20_000}x.py:T"', ["in no file"]),
    "a run with a NUL character": ("seed = 3", r'name = "a\u0000"', ["cannot name a run"]),
    "an engine with a NUL character": ('"terms"', r'"a\u0000"', ["there is no engine"]),
    "many penalties": ("[0.1, 0.2]", f"[{'1,' * 20_000}]", ["fit.penalties: a list", "but it has 20,000"]),
    "a million penalties": ("[0.1, 0.2]", f"[{'1,' * 1_000_000}]", ["longer than 65,536 bytes"]),
    "many lists": ("n_inputs = 2", f"rates = [{'1,' * 20_000}]", ["problems.rates: a list"]),
    "a deep key": ("seed = 3", f"{DEEP} = 1", ["too deeply"]),
    "a deep table": ("[fit]", f"[{DEEP}]\n[fit]", ["too deeply"]),
    "deep tables": ("[fit]", f"[[{DEEP}]]\n[fit]", ["too deeply"]),
    "a deep key in a table": ("seed = 3", f"a = {{ {DEEP} = 1 }}", ["too deeply"]),
    "a deep key in quotes": ("seed = 3", f"{DEEP[:30_000].replace('a', chr(34) * 2)} = 1", ["too deeply"]),
    "a deep key with spaces": ("seed = 3", f"{DEEP[:10_000].replace('.', ' . ')} = 1", ["too deeply"]),
    "a deep list": ("seed = 3", f"a = {'[' * 60_000}", ["too deeply"]),
    "a deep list that ends": ("seed = 3", f"a = {'[' * 100}{']' * 100}", ["too deeply"]),
}


@pytest.mark.parametrize("case", list(HOSTILE))
def test_hostile_files_are_refused_soon(toy: Toy, case: str) -> None:
    old, new, words = HOSTILE[case]
    assert old in TOML
    toy.toml.write_text(TOML.replace(old, new))
    start = time.process_time()
    paragraph = refused(discover("run", "toy.toml"), *words)
    assert time.process_time() - start < 3.0
    assert len(paragraph) < 1000


@pytest.mark.parametrize(
    "text",
    ["", r"# \"", "# " + r"\"" * 25_000, "# " + '"a' * 25_000, "# " + "a" * 50_000, "# " + "a.a " * 12_000],
    ids=["nothing", "quote", "escaped quotes", "quotes", "a word", "dots"],
)
def test_long_comments_take_no_time(toy: Toy, text: str) -> None:
    toy.toml.write_text(f"{TOML}{text}\n")
    start = time.process_time()
    assert load_toml(toy.toml).seed == 3
    assert time.process_time() - start < 2.0


@pytest.mark.parametrize(
    "arguments",
    [
        ("run",),
        ("fit",),
        ("compare", "--task", "toy"),
        ("report",),
        ("front",),
        ("show",),
        ("diff", "toy.toml"),
        ("manifold",),
        ("posterior",),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("length", [300, 5000])
def test_a_name_that_no_file_can_have_is_no_run(toy: Toy, arguments: tuple[str, ...], length: int) -> None:
    name = "x" * length
    paragraph = " ".join(discover(*arguments, name).stderr.split())
    assert paragraph.startswith("discover: There is no run ")
    assert refused(discover("recover", f"{name}.py:T"), "in no file")
    assert refused(discover("run", "toy.toml", "--results", name), "cannot be written")


def test_a_rule_may_be_longer_than_the_name_of_a_file(toy: Toy) -> None:
    result = discover("compare", " + ".join(["x*y - w*y**2"] * 50), "--task", "toy")
    assert result.exit_code == 0, result.output
    assert "equals Oja (1982) up to scale." in result.stdout


def test_a_rule_is_compared_in_the_slots_that_it_names(toy: Toy) -> None:
    result = discover("compare", "feedforward: x*y - w*y**2", "--task", "toy")
    assert "x*y - w*y**2 equals Oja (1982) up to scale." in result.stdout
    refused(discover("compare", "feedforward: x*y; feedforward: x", "--task", "toy"), "comes twice")
    refused(discover("compare", "backward: x*y", "--task", "toy"), "Unknown slot 'backward'")
    refused(discover("compare", ":", "--task", "toy"), "Unknown slot ''")


def test_missing_files_and_runs_are_said(toy: Toy) -> None:
    refused(discover("run", "none.toml"), "There is no file none.toml")
    Path("pipelines").mkdir()
    Path("pipelines/toy.toml").write_text(TOML)
    refused(discover("run", "tooy"), "no run and no pipeline 'tooy'", "Did you mean 'toy'?")
    refused(discover("fit", "."), "There is no file config.json")
    refused(discover("front", "toy.toml"), "There is no file results/toy/front.json", "discover search")
    refused(
        discover("search", "toy.toml"), "The search stage needs results/toy/trajectories.npz", "is not there"
    )


def test_an_unknown_engine_on_the_command_line_is_said(toy: Toy) -> None:
    refused(
        discover("run", "toy.toml", "--engine", "pyser"), "there is no engine 'pyser'", "Did you mean 'pysr'?"
    )
    assert toy.taken() == []


def test_an_engine_that_cannot_run_here_is_said_before_the_fit(
    toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    from discover.search import engine

    def resolve(names: tuple[str, ...]) -> None:
        raise EngineUnavailable(f"The engine {names[0]!r} cannot run here: no Julia. Install Julia.")

    monkeypatch.setattr(engine, "resolve", resolve)
    refused(discover("run", "toy.toml", "--engine", "pysr"), "no Julia")
    assert toy.taken() == []


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda data: data[: len(data) // 2],
    "emptied": lambda data: b"",
    "edited": lambda data: data.replace(b"0.2", b"0.3", 1),
    "wrong type": lambda data: data.replace(b'"reason": "', b'"reason": 1, "x": "'),
    "from the future": lambda data: data.replace(b"/1", b"/2", 1),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_artefact_stops_the_stage_that_reads_it(toy: Toy, damage: str) -> None:
    discover("run", "toy.toml")
    toy.taken()
    path = toy.run / "path.json"
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    before = toy.files()
    refused(discover("search", "toy", "--fresh"), "results/toy/path.json", "discover fit results/toy --fresh")
    refused(discover("run", "toy.toml"), "results/toy/path.json", "--fresh")
    assert toy.files() == before
    assert toy.taken() == []
    assert discover("fit", "toy", "--fresh").exit_code == 0
    assert discover("run", "toy.toml").exit_code == 0
    assert toy.taken() == ["fit"]


@pytest.mark.parametrize("damage", ["truncated", "emptied", "from the future"])
@pytest.mark.parametrize("file", ["manifest.json", "config.json"])
def test_a_damaged_manifest_or_configuration_is_said(toy: Toy, file: str, damage: str) -> None:
    discover("run", "toy.toml")
    path = toy.run / file
    data = path.read_bytes()
    path.write_bytes(DAMAGE[damage](data) if damage != "from the future" else future(data))
    before = toy.files()
    refused(discover("fit", "results/toy"), file)
    assert toy.files() == before
    assert discover("run", "toy.toml", "--fresh").exit_code == 0


def future(data: bytes) -> bytes:
    return data.replace(b"manifest/1", b"manifest/2").replace(b'"schema": 1', b'"schema": 2')


@pytest.mark.parametrize("damage", ["truncated", "emptied", "wrong type", "from the future"])
def test_a_damaged_front_is_not_shown(toy: Toy, damage: str) -> None:
    discover("run", "toy.toml")
    path = toy.run / "front.json"
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    remedy = (
        "Upgrade plasticity-discovery"
        if damage == "from the future"
        else "discover search results/toy --fresh"
    )
    refused(discover("front", "toy"), "results/toy/front.json", remedy)


def test_settings_that_changed_under_a_finished_stage_are_said(toy: Toy) -> None:
    discover("run", "toy.toml")
    toy.toml.write_text(TOML.replace("penalties = [0.1, 0.2]", "penalties = [0.3]"))
    refused(discover("search", "toy.toml"), "results/toy/path.json", "other settings", "discover fit")


def test_a_folder_that_cannot_be_made_is_said(toy: Toy) -> None:
    Path("results").write_text("a file")
    refused(discover("run", "toy.toml"), "results/toy", "cannot be written")
    assert toy.taken() == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS], ids=["full", "read-only"])
def test_a_folder_that_cannot_be_written_keeps_earlier_results(
    toy: Toy, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    discover("run", "toy.toml")
    before = toy.files()

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(artefacts.os, "fsync", fail)
        refused(
            discover("run", "toy.toml", "--fresh"), os.strerror(number), "Earlier results are as they were"
        )
    assert toy.files() == before
    toy.taken()
    assert discover("run", "toy.toml").exit_code == 0
    assert toy.taken() == []


def test_a_disk_that_fills_up_while_the_report_is_drawn_is_said(toy: Toy) -> None:
    toy.accident = accident("report", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "report.html"))
    refused(discover("run", "toy.toml"), "report.html cannot be written", "No space left on device")
    assert len(toy.files()) == 6


def test_a_stage_that_fails_keeps_what_was_there(toy: Toy) -> None:
    discover("run", "toy.toml")
    before = toy.files()
    toy.taken()
    toy.accident = accident("fit", RunFailed("The fit found no rule that beats the zero rule."))
    toy.toml.write_text(TOML.replace("penalties = [0.1, 0.2]", "penalties = [0.3]"))
    refused(discover("run", "toy.toml", "--update"), "beats the zero rule", code=1)
    assert toy.files() == before
    toy.toml.write_text(TOML)
    toy.accident = lambda stage: None
    discover("run", "toy.toml")
    assert toy.taken() == []


def test_an_interrupted_run_goes_on_where_it_stopped(toy: Toy) -> None:
    toy.accident = accident("search", KeyboardInterrupt())
    said = refused(discover("run", "toy.toml"), "interrupted", "are kept; go on with: discover", code=130)
    assert "Traceback" not in said
    assert toy.taken() == ["simulate", "fit"]
    toy.accident = lambda stage: None
    discover("run", "toy.toml")
    assert toy.taken() == ALL[2:]


def test_an_interrupted_comparison_of_a_single_rule_has_kept_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pipelines.cli._compare_rule", interrupted)
    said = refused(discover("compare", "x*y - w*y**2"), "interrupted", "keeps nothing", code=130)
    assert "are kept" not in said


def test_an_interrupted_screen_goes_on_where_it_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pipelines.screen.run_and_write", interrupted)
    refused(discover("screen", "memory", "--rules", "2"), "are kept; go on with: discover", code=130)


def test_a_screen_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = [{"class": "stable", "quartets": 1, "of": 2}]
    monkeypatch.setattr("pipelines.screen.run_and_write", lambda *_: counts)
    shown = json.loads(discover("screen", "memory", "--rules", "2", "--json").stdout)
    assert shown["schema"] == "plasticity-discovery/shown-screen/1"
    assert shown["classes"] == counts


def test_two_processes_do_not_work_in_one_folder(toy: Toy) -> None:
    with runs.locked(toy.run):
        code = f"import pipelines.runs as r, pathlib\nwith r.locked(pathlib.Path({str(toy.run)!r})): pass"
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert "Another discover process is at work" in result.stderr
    with runs.locked(toy.run):
        pass


def test_a_run_is_not_written_through_a_link(toy: Toy) -> None:
    Path("elsewhere").mkdir()
    Path("results").mkdir()
    toy.run.symlink_to(Path("elsewhere").resolve())
    refused(discover("run", "toy.toml"), "symbolic link")
    assert list(Path("elsewhere").iterdir()) == []


def test_a_rule_on_the_front_that_is_none_is_said(toy: Toy) -> None:
    discover("run", "toy.toml")
    path = toy.run / "front.json"
    text = path.read_text().replace("x*y - w*y**2", "x*y - open('secret')")
    path.write_text(text)
    manifest = toy.run / "manifest.json"
    content = json.loads(manifest.read_text())
    content["stages"]["search"]["outputs"]["front.json"] = artefacts.checksum(path)
    manifest.write_text(json.dumps(content))
    result = discover("validate", "toy")
    assert result.exit_code == 2
    assert "front.json was edited or is damaged: candidates.1.slots: " in result.stderr
    assert "Traceback" not in result.output


# ---------------------------------------------------------------------------------------------------- export


def test_a_rule_is_taken_away(toy: Toy) -> None:
    discover("run", "toy.toml")
    result = discover("export", "toy", "--to", "python")
    assert result.exit_code == 0, result.output
    assert "def feedforward(x, y, w):" in result.stdout
    assert discover("export", "toy", "--to", "latex").stdout.startswith("\\Delta w_{ij}")
    assert discover("export", "toy", "--to", "sympy", "--output", "rule.py").exit_code == 0
    assert "symbols(" in Path("rule.py").read_text(encoding="utf-8")


def test_an_export_that_cannot_be_is_one_paragraph(toy: Toy) -> None:
    refused(discover("export", "toy", "--to", "latex"), "no run")
    discover("run", "toy.toml")
    refused(discover("export", "toy", "--to", "brian2"), "spiking neurons")
    refused(discover("export", "toy", "--to", "word"), "Forms: latex, sympy, python, brian2")
    refused(discover("export", "toy", "--to", "latex", "--id", "c99"), "no candidate 'c99'")
    refused(discover("export", "toy", "--to", "latex", "--output", "toy.toml/rule.tex"), "toy.toml")
