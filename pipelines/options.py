"""Arguments and options that several commands share."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "DEFAULT_RESULTS",
    "AsJson",
    "Backend",
    "Candidate",
    "CandidateName",
    "Digits",
    "Engines",
    "Fresh",
    "Objective",
    "PipelineName",
    "Results",
    "RunName",
    "Scheduler",
    "TaskName",
    "Threads",
    "Update",
]

DEFAULT_RESULTS = Path("results")


def _beginning(names: Iterable[str], incomplete: str) -> list[str]:
    return sorted({name for name in names if name.startswith(incomplete)})


def _results_of(ctx: typer.Context) -> Path:
    return Path(ctx.params.get("results") or DEFAULT_RESULTS)


def _pipelines(incomplete: str) -> list[str]:
    """Complete the name of a pipeline; paths are left to the shell."""
    from pipelines.runs import pipeline_files

    return _beginning(pipeline_files(), incomplete)


def _runs(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete the name of a pipeline, or of a run."""
    found = (path.parent.name for path in _results_of(ctx).glob("*/config.json"))
    return sorted({*_pipelines(incomplete), *_beginning(found, incomplete)})


def _candidates(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete the name of a candidate of the run that was named before."""
    from discover.errors import DiscoverError
    from pipelines.inspection import read_front
    from pipelines.runs import find_folder

    try:
        front = read_front(find_folder(str(ctx.params.get("name")), _results_of(ctx)))
    except DiscoverError:
        return []
    return _beginning((one.id for one in front.candidates), incomplete)


def _tasks(incomplete: str) -> list[str]:
    from discover.tasks import task_names

    return _beginning(task_names(), incomplete)


RunName = Annotated[
    str,
    typer.Argument(
        metavar="RUN", help="A run's folder, a TOML file, or the name of either.", autocompletion=_runs
    ),
]
PipelineName = Annotated[
    str,
    typer.Argument(
        metavar="TOML", help="A pipeline, such as pipelines/oja.toml or oja.", autocompletion=_pipelines
    ),
]
Candidate = Annotated[
    str,
    typer.Option(
        "--id",
        metavar="ID",
        help="A candidate of the front; the chosen one by default.",
        autocompletion=_candidates,
    ),
]
CandidateName = Annotated[
    str,
    typer.Argument(
        metavar="ID", help="A candidate of the front; the chosen one by default.", autocompletion=_candidates
    ),
]
TaskName = Annotated[
    str,
    typer.Option(
        "--task",
        help="Task in which a single rule is compared: a name, or FILE.py:CLASS.",
        autocompletion=_tasks,
    ),
]
Digits = Annotated[
    int, typer.Option("--digits", metavar="N", min=1, max=17, help="Significant digits of numbers.")
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print JSON for programs, numbers with all their digits.")
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
        "--objective",
        help="What drives the search: update (the teacher's); task: its loss too; blocks: its loss alone.",
    ),
]
Backend = Annotated[
    str, typer.Option("--backend", metavar="B", help="Where pieces of work are done: local, or dask.")
]
Scheduler = Annotated[
    str, typer.Option("--scheduler", metavar="ADDRESS", help="Dask scheduler: tcp://host:8786, or its file.")
]
