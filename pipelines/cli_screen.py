"""The command `discover screen`: many rules, drawn from a prior, run and classed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from discover.errors import ConfigError
from pipelines.look import Look
from pipelines.options import DEFAULT_RESULTS, AsJson, Backend, Results, Scheduler

__all__ = ["screen"]

MOST_RULES = 1_000_000


def screen(
    name: Annotated[
        str, typer.Argument(metavar="TOML", help="A pipeline of the task memory, whose networks are taken.")
    ] = "memory",
    rules: Annotated[int, typer.Option(min=1, max=MOST_RULES, help="How many quartets of rules.")] = 200,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of the quartets and the network; the pipeline's by default.")
    ] = None,
    only: Annotated[
        str, typer.Option(metavar="EE", help="Let only this projection learn; the others keep their weights.")
    ] = "",
    without: Annotated[str, typer.Option(metavar="IE", help="Let all projections learn but this one.")] = "",
    of: Annotated[
        Path | None,
        typer.Option(metavar="CSV", help="Take the stable quartets of this screen, instead of drawn ones."),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, max=1024, help="Quartets at a time; one a core by default.")
    ] = None,
    update: Annotated[
        bool, typer.Option("--update", help="Begin anew, and replace the screen that is there.")
    ] = False,
    backend: Backend = "local",
    scheduler: Scheduler = "",
    as_json: AsJson = False,
    results: Results = DEFAULT_RESULTS,
) -> None:
    """Run many quartets of rules and class them: unstable (by what), stable, novelty, familiarity."""
    from discover.screen import Screen
    from discover.tasks import get_task
    from discover.tasks.memory import PROJECTIONS
    from pipelines import artefacts
    from pipelines.backend import Where
    from pipelines.events import open_reporter
    from pipelines.runs import find_run
    from pipelines.screen import (
        SCREENS,
        ScreenFiles,
        counts_as_text,
        read_table,
        run_and_write,
        stable_quartets,
    )
    from pipelines.show import as_json as to_json
    from pipelines.threads import available_threads, use_threads

    where = Where(backend, scheduler)
    if jobs is not None and backend != "local":
        raise ConfigError(
            "--jobs is for this machine; on a cluster there is a quartet for every free worker."
        )
    if only and without:
        raise ConfigError("--only and --without say two things about what learns; give one of them.")
    for option, projection in (("--only", only), ("--without", without)):
        if projection and projection not in PROJECTIONS:
            raise ConfigError(
                f"{option}: there is no projection {projection[:40]!r}; they are {', '.join(PROJECTIONS)}."
            )
    config = find_run(name, results, toml_first=True).config
    if config.task != "memory":
        raise ConfigError(f"Screens are of the task memory; {config.name} is a pipeline of {config.task}.")
    active = tuple(one for one in PROJECTIONS if one != without and only in ("", one))
    quartets = None if of is None else stable_quartets(read_table(of))
    if quartets is not None:
        quartets = dict(list(quartets.items())[:rules])
        if not quartets:
            raise ConfigError(f"--of: {of} has no stable quartet.")
    parts = [config.name, f"only-{only}" * bool(only), f"without-{without}" * bool(without)]
    folder = results / SCREENS / "-".join([*filter(None, parts), *(["of-stable"] if of else [])])
    wanted = Screen(config.problems, rules, config.seed if seed is None else seed, active, quartets)
    files = ScreenFiles(wanted, folder, "" if of is None else artefacts.checksum(of))
    use_threads(None)
    reporter = open_reporter(None)
    try:
        prepare = (get_task("memory"), config.problems)
        with where.at_work(reporter, prepare), reporter.stage("screen") as progress:
            counts = run_and_write(files, progress, reporter.note, jobs or available_threads(), update)
    finally:
        reporter.close()
    if as_json:
        typer.echo(to_json("screen", {"file": str(files.table), "classes": list(counts)}))
    else:
        typer.echo(counts_as_text(counts, Look.of(sys.stdout)))
    figures = ", ".join(str(folder / f"{name}.png") for name in ("classes", "preference", "parameters"))
    typer.echo(f"written: {files.table}, {figures}", err=True)
