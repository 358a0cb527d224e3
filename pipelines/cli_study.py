"""The command `discover study`: a pipeline from many seeds."""

from __future__ import annotations

import sys
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
    Update,
)

if TYPE_CHECKING:
    from pipelines.config import PipelineConfig
    from pipelines.seed_study import SeedStudy

__all__ = ["study"]

MOST_SEEDS = 10_000
UP_TO = {"search": ("simulate", "fit", "search"), "compare": ("simulate", "fit", "search", "compare")}
"""What ``--stages`` takes -> stages that every seed goes through."""


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
    as_json: AsJson = False,
    results: Results = DEFAULT_RESULTS,
) -> None:
    """Run a whole pipeline from many seeds: how often it names the law, and with which loss."""
    from discover.tasks import get_task
    from pipelines.backend import Where
    from pipelines.events import open_reporter
    from pipelines.runs import find_run
    from pipelines.seed_rows import study_as_text
    from pipelines.seed_study import SeedStudy, run_study
    from pipelines.show import as_json as to_json
    from pipelines.threads import available_threads, use_threads

    where = Where(backend, scheduler)
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
    if as_json:
        typer.echo(to_json("study", {"folder": str(plan.folder), **found.to_json()}))
    else:
        typer.echo(study_as_text(found, Look.of(sys.stdout)))
    _say_where(plan)


def _say_where(plan: SeedStudy) -> None:
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
