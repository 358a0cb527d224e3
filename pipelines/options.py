"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "DEFAULT_RESULTS",
    "Backend",
    "Engines",
    "Fresh",
    "Objective",
    "Results",
    "RunName",
    "Scheduler",
    "Threads",
    "Update",
]

RunName = Annotated[
    str, typer.Argument(metavar="RUN", help="A run's folder, a TOML file, or the name of either.")
]
Results = Annotated[Path, typer.Option("--results", metavar="DIR", help="Folder in which runs land.")]
Fresh = Annotated[
    bool, typer.Option("--fresh", help="Run also what is up to date; may replace a finished run.")
]
Update = Annotated[
    bool,
    typer.Option("--update", help="Replace what changed settings concern, also where a run is finished."),
]
Threads = Annotated[
    int | None,
    typer.Option("--threads", min=1, max=1024, help="Threads of the kernels; all cores by default."),
]
Engines = Annotated[
    list[str] | None,
    typer.Option("--engine", metavar="E", help="Engine of the symbolic search; give it again for more."),
]
Objective = Annotated[
    str,
    typer.Option(
        "--objective", help="What drives the engines: update (of the teacher), or task: its loss as well."
    ),
]
Backend = Annotated[
    str, typer.Option("--backend", metavar="B", help="Where pieces of work are done: local, or dask.")
]
Scheduler = Annotated[
    str, typer.Option("--scheduler", metavar="ADDRESS", help="Dask scheduler: tcp://host:8786, or its file.")
]
DEFAULT_RESULTS = Path("results")
