"""Studies as arrays of jobs: plans, single jobs, and what is collected."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import pytest
from kill_study import ROOT
from smoke_runs import SmokeRuns
from test_seed_study import COMPARED, SMOKE, TINY, discover, without_seconds
from toy_pipeline import Toy

from discover.seed_study import read_study
from pipelines.array import read_plan
from pipelines.seed_run import files_of


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    """A plan of the smoke pipeline with the seeds 1 and 7; nothing has run."""
    result = discover("study", SMOKE, "--seed-list", "1,7", "--plan", tmp_path / "plan")
    assert result.exit_code == 0, result.output
    assert f"sbatch {tmp_path / 'plan' / 'array.sh'}" in result.stdout
    return tmp_path / "plan"


def test_a_plan_runs_nothing_and_a_script_submits_it(plan: Path) -> None:
    assert {path.name for path in plan.iterdir()} == {".lock", "array.sh", "logs", "plan.json"}
    script = (plan / "array.sh").read_text()
    assert "#SBATCH --array=0-1\n" in script
    assert f"work {plan} " in script
    assert subprocess.run(["bash", "-n", plan / "array.sh"], check=False).returncode == 0
    read = read_plan(plan)
    assert (read.seeds, read.root, read.files) == ((1, 7), None, ())
    assert read.config_of(7).seed == 7


def test_a_folder_of_a_run_is_called_by_what_it_depends_on(plan: Path, tmp_path: Path) -> None:
    one = read_plan(plan)
    toml = tmp_path / "oja-smoke.toml"
    toml.write_text(Path(SMOKE).read_text().replace("steps = 150", "steps = 151", 1))
    assert discover("study", toml, "--seed-list", "7", "--plan", plan).exit_code == 0
    changed = read_plan(plan)
    toml.write_text(Path(SMOKE).read_text())
    assert discover("study", toml, "--seed-list", "7", "--plan", plan).exit_code == 0
    assert len({one.key(1), one.key(7), changed.key(7)}) == 3
    assert read_plan(plan).key(7) == one.key(7)


def test_what_has_run_is_collected_and_the_rest_is_named(
    plan: Path, smoke_runs: SmokeRuns, tmp_path: Path
) -> None:
    place = read_plan(plan).folder_of(1, plan)
    place.parent.mkdir()
    smoke_runs.copy("oja-smoke", tmp_path).rename(place)
    assert discover("work", plan, "0").exit_code == 0, "it has run, and is left alone"
    result = discover("collect", plan, "--results", tmp_path / "results")
    assert result.exit_code == 0, result.output
    assert f"sbatch --array=1 {plan / 'array.sh'}" in result.stderr
    study = tmp_path / "results" / "studies" / "oja-smoke"
    assert files_of(study / "1") == files_of(place)
    assert "1 of 2 seeds have not run yet" in read_study(study / "study.json").text
    before = files_of(study)
    assert discover("collect", plan, "--results", tmp_path / "results").exit_code == 0
    assert files_of(study) == before
    shown = discover("collect", plan, "--results", tmp_path / "results", "--json")
    assert [row["outcome"] for row in json.loads(shown.stdout)["rows"]] == ["exact"]


def test_a_job_that_failed_is_a_row_and_may_be_done_again(plan: Path, tmp_path: Path) -> None:
    place = read_plan(plan).folder_of(7, plan)
    place.mkdir(parents=True)
    (place / "events.jsonl").mkdir()  # so that it cannot be written
    assert discover("work", plan, "1").exit_code != 0
    result = discover("collect", plan, "--results", tmp_path / "results")
    assert result.exit_code == 0, result.output
    row = read_study(tmp_path / "results" / "studies" / "oja-smoke" / "study.json").rows[0]
    assert (row.seed, row.outcome) == (7, "failed")
    assert "cannot be written" in row.error
    assert "sbatch --array=0,1" in result.stderr


def test_a_job_goes_on_where_it_was_cut_off(toy: Toy, tmp_path: Path) -> None:
    folder = tmp_path / "plan"
    assert discover("study", "toy.toml", "--seed-list", "3", "--plan", folder).exit_code == 0

    def accident(stage: str) -> None:
        if stage == "search":
            raise KeyboardInterrupt

    toy.accident = accident
    assert discover("work", folder, "0").exit_code == 130
    assert toy.taken() == ["simulate", "fit"]
    toy.accident = lambda stage: None
    assert discover("work", folder, "0").exit_code == 0
    assert toy.taken() == ["search", "compare"]
    assert discover("work", folder, "0").exit_code == 0
    assert toy.taken() == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["work", "PLAN", "2"], "jobs 0 to 1"),
        (["work", "elsewhere", "0"], "There is no file"),
        (["collect", "elsewhere"], "There is no file"),
        (["study", SMOKE, "--plan", "PLAN", "--jobs", "2"], "--plan runs nothing"),
        (["study", SMOKE, "--plan", "PLAN", "--update"], "--plan runs nothing"),
    ],
)
def test_what_cannot_be_meant_is_said(plan: Path, arguments: list[str], words: str) -> None:
    result = discover(*[str(plan) if one == "PLAN" else one for one in arguments])
    assert result.exit_code == 2, result.output
    assert words in result.stderr


@pytest.mark.parametrize(
    ("change", "words"),
    [({"code": "0" * 64}, "other code"), ({"seeds": [-1]}, "damaged"), ({"seeds": "1"}, "damaged")],
)
def test_a_plan_of_another_program_or_a_damaged_one_is_refused(
    plan: Path, change: dict[str, object], words: str
) -> None:
    path = plan / "plan.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    for arguments in (("work", plan, "0"), ("collect", plan)):
        result = discover(*arguments)
        assert result.exit_code == 2, result.output
        assert words in result.stderr


def test_a_file_of_a_task_is_run_only_where_it_is_named_and_the_same(tmp_path: Path) -> None:
    mine, mark = tmp_path / "mine.py", tmp_path / "was_run"
    mine.write_text(
        "import pathlib\nfrom discover.tasks.oja import OjaTask\n"
        f"pathlib.Path({str(mark)!r}).touch()\n"
        "class Mine(OjaTask):\n    name = 'mine'\n"
    )
    (tmp_path / "mine.toml").write_text(TINY.replace('"oja"', '"mine.py:Mine"'))
    plan = tmp_path / "plan"
    process = command("study", tmp_path / "mine.toml", "--seed-list", "3", "--plan", plan)
    assert process.returncode == 0, process.stderr
    assert f"--trust {mine}" in (plan / "array.sh").read_text()
    mark.unlink()
    process = command("work", plan, "9")
    assert process.returncode == 2
    assert "only when you name it yourself" in process.stderr
    mine.write_text(mine.read_text() + "\n")
    process = command("work", plan, "9", "--trust", mine)
    assert "is another file" in process.stderr
    assert not mark.exists()


# ------------------------------------------------------------------------------------------------------ slow


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    words = [sys.executable, "-m", "pipelines.cli", *map(str, arguments)]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)


def sbatch(script: Path, array: Iterable[int] | None = None, killed: Iterable[int] = ()) -> None:
    """Do what Slurm does with an array: run the script once a number, all at a time.

    Jobs that are to be killed are killed once they are in the middle of their fit.
    """
    text = script.read_text()
    first, last = map(int, re.findall(r"^#SBATCH --array=(\d+)-(\d+)$", text, re.M)[0])
    logs = re.findall(r"^#SBATCH --output=(.*)$", text, re.M)[0]
    jobs = {}
    for number in range(first, last + 1) if array is None else array:
        environment = os.environ | {"SLURM_ARRAY_TASK_ID": str(number), "SLURM_CPUS_PER_TASK": "1"}
        with open(logs.replace("%a", str(number)), "a") as log:
            jobs[number] = subprocess.Popen(
                ["bash", str(script)], cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT
            )
    plan = read_plan(script.parent)
    for number in killed:
        journal = plan.folder_of(plan.seeds[number], script.parent) / ".fit.journal"
        while jobs[number].poll() is None and not journal.exists():
            time.sleep(0.01)
        jobs[number].send_signal(signal.SIGKILL)
    for job in jobs.values():
        job.wait()


@pytest.mark.slow
def test_an_array_of_which_jobs_are_killed_ends_as_the_study_here(tmp_path: Path) -> None:
    toml, plan = tmp_path / "tiny.toml", tmp_path / "plan"
    toml.write_text(TINY)
    asked = ("study", toml, "--seed-list", "3,5,8")
    assert command(*asked, "--results", tmp_path / "here").returncode == 0
    assert command(*asked, "--plan", plan).returncode == 0
    sbatch(plan / "array.sh", killed=(0, 2))
    collected = command("collect", plan, "--results", tmp_path / "there")
    assert collected.returncode == 0, collected.stderr
    assert "1 of 1 seeds" in collected.stdout
    missing = re.search(r"sbatch --array=([\d,]+) ", collected.stderr)
    assert missing is not None
    assert missing[1] == "0,2"
    sbatch(plan / "array.sh", map(int, missing[1].split(",")))
    collected = command("collect", plan, "--results", tmp_path / "there")
    assert "--array" not in collected.stderr
    one, other = (tmp_path / place / "studies" / "tiny" for place in ("here", "there"))
    assert without_seconds(one / "study.json") == without_seconds(other / "study.json")
    for seed in ("3", "5", "8"):
        for name in COMPARED:
            assert (one / seed / name).read_bytes() == (other / seed / name).read_bytes(), f"{seed}/{name}"
