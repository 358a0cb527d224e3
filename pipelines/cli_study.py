"""The commands `discover study`, `work` and `collect`: a pipeline from many seeds, here or as jobs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from discover.errors import ConfigError, did_you_mean
from pipelines.look import Look
from pipelines.options import (
    DEFAULT_RESULTS,
    AsJson,
    Backend,
    Engines,
    Objective,
    Results,
    Scheduler,
    Threads,
    Update,
)
from pipelines.threads import available_threads, use_threads

if TYPE_CHECKING:
    from discover.seed_study import Study
    from pipelines.config import PipelineConfig
    from pipelines.seed_study import SeedStudy

__all__ = ["collect", "study", "work"]

MOST_SEEDS = 10_000
UP_TO = {"search": ("simulate", "fit", "search"), "compare": ("simulate", "fit", "search", "compare")}
"""What ``--stages`` takes -> stages that every seed goes through."""

PlanFolder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the plan.")]
Trust = Annotated[
    list[Path] | None,
    typer.Option(metavar="FILE", help="File with the plan's task, which is run; give it again for more."),
]


def study(
    name: Annotated[
        str, typer.Argument(metavar="TOML", help="A pipeline, such as pipelines/oja.toml or oja.")
    ],
    seeds: Annotated[int, typer.Option(min=1, max=MOST_SEEDS, help="How many seeds.")] = 20,
    first_seed: Annotated[
        int | None,
        typer.Option(min=0, help="Take the seeds from this one on; they are drawn by default."),
    ] = None,
    seed_list: Annotated[
        str, typer.Option(metavar="3,5,8", help="Take these seeds, with commas between.")
    ] = "",
    stages: Annotated[
        str, typer.Option(help="Last stage of every seed: search, or compare, which gives the verdict.")
    ] = "compare",
    validate: Annotated[
        bool, typer.Option("--validate", help="Try the candidates under other conditions, too.")
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, max=1024, help="Seeds at a time on this machine; one a core by default."),
    ] = None,
    update: Update = False,
    engine: Engines = None,
    objective: Objective = "",
    backend: Backend = "local",
    scheduler: Scheduler = "",
    plan_folder: Annotated[
        Path | None,
        typer.Option(
            "--plan",
            metavar="DIR",
            help="Run nothing; write the seeds as jobs of a Slurm array, for `discover collect` later.",
        ),
    ] = None,
    as_json: AsJson = False,
    results: Results = DEFAULT_RESULTS,
) -> None:
    """Run a whole pipeline from many seeds: how often it names the law, and with which loss."""
    from discover.tasks import get_task
    from pipelines.backend import Where
    from pipelines.events import open_reporter
    from pipelines.runs import find_run
    from pipelines.seed_study import SeedStudy, run_study

    where = Where(backend, scheduler)
    if plan_folder is not None and (jobs is not None or backend != "local" or as_json or update):
        raise ConfigError("--plan runs nothing: it goes without --jobs, --backend, --update and --json.")
    if jobs is not None and backend != "local":
        raise ConfigError("--jobs is for this machine; on a cluster there is a seed for every free worker.")
    config = find_run(name, results, toml_first=True).config
    config = config.with_engines(engine) if engine else config
    config = config.with_objective(objective) if objective else config
    if "auto" not in config.engines:
        from discover.search.engine import resolve

        resolve(config.engines)  # an engine that cannot run here is said now, not after the first fit
    chosen, root = _seeds(config, seeds, first_seed, seed_list)
    n_cores = available_threads()
    at_a_time = min(jobs or n_cores, len(chosen))
    use_threads(None)
    plan = SeedStudy(
        config=config,
        seeds=chosen,
        results=results,
        stages=_stages(stages, validate),
        root=root,
        jobs=at_a_time,
        threads=max(1, n_cores // at_a_time),
    )
    if plan_folder is not None:
        _say_plan(plan, plan_folder)
        return
    reporter = open_reporter(None)
    try:
        prepare = (get_task(config.task), config.problems)
        with where.at_work(reporter, prepare), reporter.stage("study") as progress:
            if root is not None:
                reporter.note(f"{len(chosen)} seeds drawn from the root {root}")
            if backend == "local":
                reporter.note(f"runs at a time: {plan.jobs}, threads of each: {plan.threads}")
            found = run_study(plan, progress, reporter.note, update)
    finally:
        reporter.close()
    _say_found(plan, found, as_json)


def work(
    folder: PlanFolder,
    number: Annotated[int, typer.Argument(metavar="N", min=0, help="Number of the job, from 0 on.")],
    trust: Trust = None,
    threads: Threads = None,
) -> None:
    """Do one job of a plan that discover study --plan wrote; one that was cut off goes on."""
    from pipelines.array import work as do_job

    typer.echo(f"written: {do_job(folder, number, use_threads(threads), trust or ())}", err=True)


def collect(
    folder: PlanFolder,
    trust: Trust = None,
    update: Update = False,
    as_json: AsJson = False,
    results: Results = DEFAULT_RESULTS,
) -> None:
    """Make a study of what the jobs of a plan have run."""
    from pipelines.array import SCRIPT
    from pipelines.array import collect as collect_runs
    from pipelines.events import open_reporter

    reporter = open_reporter(None)
    try:
        with reporter.stage("collect") as progress:
            asked, found, missing = collect_runs(
                folder, results, progress, reporter.note, update, trust or ()
            )
    finally:
        reporter.close()
    _say_found(asked, found, as_json)
    if missing:
        jobs = ",".join(str(number) for number in missing)
        typer.echo(f"Jobs without a result so far: sbatch --array={jobs} {folder / SCRIPT}", err=True)


def _say_plan(plan: SeedStudy, folder: Path) -> None:
    from pipelines.array import SCRIPT, write_plan

    n_jobs = len(write_plan(plan, folder).seeds)
    typer.echo(f"{n_jobs} jobs, submitted by: sbatch {folder / SCRIPT}")
    typer.echo(f"Afterwards: discover collect {folder}")


def _say_found(plan: SeedStudy, found: Study, as_json: bool) -> None:
    from pipelines.seed_rows import study_as_text
    from pipelines.show import as_json as to_json

    if as_json:
        typer.echo(to_json("study", {"folder": str(plan.folder), **found.to_json()}))
    else:
        typer.echo(study_as_text(found, Look.of(sys.stdout)))
    files = ", ".join(f"{plan.folder / 'study'}.{kind}" for kind in ("json", "csv", "md"))
    typer.echo(f"written: {files}, {plan.folder / 'losses.png'}", err=True)
    run = plan.results / plan.config.name
    if (run / "report.html").is_file():
        typer.echo(f"`discover report {run}` takes it into the report.", err=True)


def _seeds(
    config: PipelineConfig, n_seeds: int, first: int | None, listed: str
) -> tuple[tuple[int, ...], int | None]:
    """Return the seeds, and the root if they are drawn from one."""
    from discover.seeds import STUDY_ROOT, following_seeds, study_seeds
    from pipelines.seed_study import seeds_of_pipelines

    if listed and first is not None:
        raise ConfigError("--seed-list and --first-seed say two things about the seeds; give one of them.")
    if listed:
        return _listed(listed), None
    if first is not None:
        return following_seeds(first, n_seeds, without={config.seed}), None
    return study_seeds(n_seeds, without={config.seed, *seeds_of_pipelines()}), STUDY_ROOT


def _listed(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    is_sound = len(parts) <= MOST_SEEDS and all(part.isdecimal() and len(part) < 19 for part in parts)
    if not is_sound or len({int(part) for part in parts}) < len(parts):
        raise ConfigError(
            "--seed-list: different whole numbers with commas between are expected, such as 3,5,8, but it is "
            f"{text[:80]!r}."
        )
    return tuple(int(part) for part in parts)


def _stages(last: str, with_validation: bool) -> tuple[str, ...]:
    from pipelines.stages import STAGES

    if last not in UP_TO:
        raise ConfigError(
            f"--stages: {last[:40]!r} is none of {', '.join(UP_TO)}.{did_you_mean(last, UP_TO)}"
        )
    wanted = {*UP_TO[last], *(["validate"] if with_validation else [])}
    return tuple(stage for stage in STAGES if stage in wanted)
