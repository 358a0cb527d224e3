"""The Makefile: what it says, what it runs, and that a finished pipeline is left alone."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
STAGES = ["simulate", "fit", "search", "validate", "compare", "report"]

DISCOVER = """\
#!/bin/sh
echo "$@" >> calls
for out in simulate:trajectories.npz fit:path.json search:front.json \\
    validate:validation.json compare:comparison.json report:report.html; do
    if [ "${out%%:*}" = "$1" ]; then
        run=$2
        case "$run" in *.toml) run="$4/$(basename "$run" .toml)" ;; esac
        mkdir -p "$run"
        touch "$run/${out#*:}"
    fi
done
"""
"""Stands in for the program: notes what it was called with, and makes the stage's file."""

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with everything installed, its program replaced by the stand-in."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).touch()
    for folder in ("pipelines", "sims", ".venv/bin"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("oja", "oja-smoke", "other"):
        (tmp_path / "pipelines" / f"{name}.toml").touch()
    (tmp_path / "sims" / "rate.py").touch()
    program = tmp_path / ".venv" / "bin" / "discover"
    program.write_text(DISCOVER)
    program.chmod(0o755)
    for path in tmp_path.rglob("*"):
        os.utime(path, (1000, 1000))
    (tmp_path / ".venv" / ".installed").touch()
    os.utime(tmp_path / ".venv" / ".installed", (2000, 2000))
    return tmp_path


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))
    }
    return subprocess.run(["make", *arguments], cwd=folder, env=environment, capture_output=True, text=True)


def calls(folder: Path) -> list[str]:
    """Return what the program was called with since the last look."""
    path = folder / "calls"
    lines = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return lines


def test_make_alone_prints_help(checkout: Path) -> None:
    result = make(checkout)
    assert result.returncode == 0
    for target in (
        "oja",
        "smoke",
        *STAGES,
        "test",
        "test-kill",
        "lint",
        "bench",
        "repro",
        "reference",
        "clean",
    ):
        assert f"\n  {target} " in result.stdout
    assert calls(checkout) == []


def test_a_pipeline_goes_through_its_stages_once(checkout: Path) -> None:
    result = make(checkout, "oja")
    assert result.returncode == 0, result.stderr
    assert calls(checkout) == [f"{stage} pipelines/oja.toml --results results --update" for stage in STAGES]
    again = make(checkout, "oja")
    assert again.returncode == 0
    assert calls(checkout) == []


@pytest.mark.parametrize("changed", ["pipelines/oja.toml", "sims/rate.py"])
def test_a_changed_file_calls_the_stages_again(checkout: Path, changed: str) -> None:
    make(checkout, "oja")
    calls(checkout)
    for file in (checkout / "results/oja").iterdir():
        os.utime(file, (3000, 3000))
    os.utime(checkout / changed, (4000, 4000))
    make(checkout, "oja")
    assert [line.split()[0] for line in calls(checkout)] == STAGES


def test_one_stage_takes_those_before_it_along(checkout: Path) -> None:
    assert make(checkout, "search", "TASK=other").returncode == 0
    assert [line.split()[0] for line in calls(checkout)] == ["simulate", "fit", "search"]


def test_all_runs_every_pipeline_but_the_tiny_ones_also_in_parallel(checkout: Path) -> None:
    assert make(checkout, "-j2", "all").returncode == 0
    found = calls(checkout)
    assert len(found) == 12
    for name in ("oja", "other"):
        assert [line.split()[0] for line in found if f"/{name}" in line] == STAGES


def test_the_tiny_pipeline_is_run_in_full_every_time(checkout: Path) -> None:
    for _ in range(2):
        make(checkout, "smoke")
        assert calls(checkout) == ["run pipelines/oja-smoke.toml --results results --fresh"]


def test_a_study_is_asked_for_by_task_and_number_of_seeds(checkout: Path) -> None:
    make(checkout, "study", "TASK=other", "SEEDS=3")
    assert calls(checkout) == ["study pipelines/other.toml --seeds 3 --results results --update"]
    make(checkout, "study")
    assert calls(checkout) == ["study pipelines/oja.toml --seeds 20 --results results --update"]
    assert make(checkout, "study", "TASK=ojaa").returncode == 2


def test_tables_of_finished_studies_join_the_committed_results(checkout: Path) -> None:
    folder = checkout / "results" / "studies" / "oja"
    folder.mkdir(parents=True)
    names = {"study.json", "study.csv", "study.md", "losses.png"}
    for name in names | {"losses.svg"}:
        (folder / name).write_text(name)
    assert make(checkout, "reference-studies").returncode == 0
    copied = checkout / "results" / "reference" / "oja"
    assert {path.name for path in copied.iterdir()} == names


def test_an_unknown_pipeline_is_said(checkout: Path) -> None:
    result = make(checkout, "fit", "TASK=ojaa")
    assert result.returncode == 2
    assert "There is no pipelines/ojaa.toml. Pipelines: oja oja-smoke other" in result.stderr


def test_a_machine_without_python_is_told_what_to_install(checkout: Path) -> None:
    (checkout / ".venv" / ".installed").unlink()
    result = make(checkout, "install", "PYTHON=")
    assert result.returncode == 2
    assert "No Python 3.11 or newer" in result.stderr
