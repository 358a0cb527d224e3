"""Runs of the smoke pipelines, each made once and shared by the tests of all processes."""

from __future__ import annotations

import shutil
from pathlib import Path

from filelock import FileLock
from typer.testing import CliRunner

PIPELINES = Path(__file__).resolve().parent.parent / "pipelines"

SMOKE_PIPELINES = sorted(path.stem for path in PIPELINES.glob("*-smoke.toml"))


class SmokeRuns:
    """Results of smoke pipelines, made when they are first asked for.

    A test that changes what is in a run's folder takes a copy.
    """

    def __init__(self, results: Path) -> None:
        self.results = results
        self.results.mkdir(exist_ok=True)

    def folder(self, pipeline: str) -> Path:
        """Return the folder of a finished run, such as of ``oja-smoke``."""
        finished = self.results / f"{pipeline}.finished"
        with FileLock(self.results / f"{pipeline}.lock"):
            if not finished.exists():
                from pipelines.cli import app

                toml = str(PIPELINES / f"{pipeline}.toml")
                run = CliRunner().invoke(app, ["run", toml, "--results", str(self.results)])
                assert run.exit_code == 0, run.output
                finished.touch()
        return self.results / pipeline

    def copy(self, pipeline: str, results: Path) -> Path:
        """Copy a finished run into another folder of results, and return where it is there."""
        return Path(shutil.copytree(self.folder(pipeline), results / pipeline))
