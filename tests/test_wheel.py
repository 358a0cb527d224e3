"""The wheel: it holds all that the program reads, and runs without the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
READ = {".j2", ".css", ".js", ".toml", ".csv", ".pyi", ".typed"}
"""Endings of files that are no modules; ``py.typed`` has no other."""

MAIN = "from pipelines.cli import main; main()"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip(
        "hatchling", reason="hatchling, which builds wheels, is not installed (`make` installs it)"
    )
    folder = tmp_path_factory.mktemp("wheel")
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(folder))
    pip("wheel", *options, str(ROOT))
    (built,) = folder.glob("plasticity_discovery-*.whl")
    return built


def pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr


def test_it_holds_every_file_of_the_packages(wheel: Path) -> None:
    there = set(zipfile.ZipFile(wheel).namelist())
    asked = ["git", "ls-files", "discover", "sims", "pipelines"]
    tracked = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert len(tracked) > 200
    assert {Path(name).suffix for name in tracked} <= {".py", *READ}
    assert set(tracked) <= there
    assert not [name for name in there if name.startswith(("tests/", "results/", "docs/"))]


def test_it_runs_in_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    place, work = tmp_path / "installed", tmp_path / "work"
    work.mkdir()
    pip("install", "--no-deps", "--no-index", "--target", str(place), str(wheel))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def discover(*arguments: str) -> str:
        # The checkout is on the path, too, where this test runs; what is in front of it wins.
        begin = f"import sys; sys.path.insert(0, {str(place)!r})"
        code = f"{begin}; import discover; assert discover.__file__.startswith({str(place)!r}); {MAIN}"
        process = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd=work, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert process.returncode == 0, process.stderr
        return process.stdout

    assert discover("--version").startswith("discover ")
    assert "simulate" in discover("run", "oja-smoke", "--dry-run")
    assert "Oja (1982)" in discover("compare", "x*y - w*y**2")
    discover("run", "pairing-smoke")
    assert (work / "results" / "pairing-smoke" / "report.html").is_file()
