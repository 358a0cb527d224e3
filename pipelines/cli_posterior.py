"""The command `discover posterior`: not one rule but all that would do, with probabilities."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from discover.errors import ConfigError
from pipelines.options import DEFAULT_RESULTS, AsJson, Backend, Results, RunName, Scheduler, Threads

__all__ = ["posterior", "posterior_by_restarts"]

MOST = 10_000_000


def posterior(
    name: RunName,
    terms: Annotated[
        str,
        typer.Option(
            metavar="TERMS",
            help='Terms of the family, as in "x*y, w*y**2" or "on_pre: 1, x_post; on_post: x_pre". By '
            "default those that the fit of the run may use, or else the constants of its chosen rule.",
        ),
    ] = "",
    candidate: Annotated[
        str, typer.Option(metavar="ID", help="Take the constants of this candidate of the front.")
    ] = "",
    largest: Annotated[
        float | None,
        typer.Option(min=1e-9, max=1e9, help="Coefficients lie between this and its negative; 2 for terms."),
    ] = None,
    rules: Annotated[int, typer.Option(min=64, max=MOST, help="Most rules to simulate.")] = 20_000,
    accepted: Annotated[
        int, typer.Option(min=64, max=MOST, help="Go on until so many simulated rules do the task.")
    ] = 2000,
    samples: Annotated[int, typer.Option(min=10, max=MOST, help="Samples to write.")] = 1000,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of all random numbers; the pipeline's by default.")
    ] = None,
    screen: Annotated[
        Path | None,
        typer.Option(
            metavar="CSV", help="Read rules and classes from the table of a screen of the task memory."
        ),
    ] = None,
    fresh: Annotated[
        int,
        typer.Option(
            min=0, max=MOST, help="With --screen: simulate so many samples and count how many are stable."
        ),
    ] = 0,
    restarts: Annotated[
        int,
        typer.Option(
            min=0,
            max=100_000,
            help="For ei-balance: instead of sampling, search from so many random starts and compare what is "
            "found with a mean field.",
        ),
    ] = 0,
    update: Annotated[
        bool, typer.Option("--update", help="Simulate anew, and replace what is there.")
    ] = False,
    threads: Threads = None,
    backend: Backend = "local",
    scheduler: Scheduler = "",
    as_json: AsJson = False,
    results: Results = DEFAULT_RESULTS,
) -> None:
    """Sample the rules that would do a run's task: which constants matter, which make up for which."""
    from discover.posterior.rounds import Budget
    from discover.posterior.words import answers_of
    from discover.user_tasks import load_task
    from pipelines.backend import Where
    from pipelines.events import open_reporter
    from pipelines.posterior_run import Asked, posterior_of_run
    from pipelines.runs import find_run, locked
    from pipelines.show import as_json as to_json
    from pipelines.stages import run_stages
    from pipelines.threads import available_threads, use_threads

    if restarts:
        if any((terms, candidate, screen, largest, fresh, update, as_json)) or seed is not None:
            raise ConfigError(
                "--restarts searches the published family and samples nothing; it goes with --threads, "
                "--backend, --scheduler and --results alone."
            )
        posterior_by_restarts(name, restarts, threads, backend, scheduler, results)
        return
    use_threads(threads)
    where = Where(backend, scheduler)
    found = find_run(name, results)
    asked = Asked(terms, candidate, largest, seed, screen, fresh, threads or available_threads(), update)
    budget = Budget(most_rules=rules, n_accepted=accepted, n_samples=samples)
    with locked(found.folder):
        reporter = open_reporter(found.folder)
        try:
            prepare = (load_task(found.config.task), found.config.problems)
            with where.at_work(reporter, prepare), reporter.stage("posterior") as progress:
                made = posterior_of_run(found, asked, budget, progress, reporter.note)
            if (found.folder / "report.html").is_file():
                run_stages(found.folder, found.config, ("report",), reporter, fresh=True)
        finally:
            reporter.close()
    answers = answers_of(made)
    if as_json:
        typer.echo(to_json("posterior", {"file": str(found.folder / "posterior.json"), "answers": answers}))
    else:
        for answer in answers.values():
            typer.echo(answer)
    typer.echo(
        f"written: {found.folder / 'posterior.json'}, {found.folder / 'posterior' / 'samples.csv'}, "
        f"{found.folder / 'figures'}",
        err=True,
    )


def posterior_by_restarts(
    name: str, restarts: int, threads: int | None, backend: str, scheduler: str, results: Path
) -> None:
    """Search single rules of a posterior from random starts, and compare them with a mean field."""
    from discover.tasks import get_task
    from pipelines.backend import Where
    from pipelines.events import open_reporter
    from pipelines.runs import find_run, locked
    from pipelines.stages import run_stages
    from pipelines.studies import study_manifold
    from pipelines.threads import use_threads

    use_threads(threads)
    where = Where(backend, scheduler)
    found = find_run(name, results)
    with locked(found.folder):
        reporter = open_reporter(found.folder)
        try:
            prepare = (get_task(found.config.task), found.config.problems)
            with where.at_work(reporter, prepare), reporter.stage("manifold") as progress:
                answers = study_manifold(found, restarts, progress)
            if (found.folder / "report.html").is_file():
                run_stages(found.folder, found.config, ("report",), reporter, fresh=True)
        finally:
            reporter.close()
    for answer in answers.values():
        typer.echo(answer)
    typer.echo(f"figures and numbers: {found.folder / 'manifold.json'}, {found.folder / 'figures'}")
