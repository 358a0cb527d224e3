"""The command line: `discover run`, one command for every stage, and commands that look at a run.

Heavy imports happen inside the commands, so that `discover --help` answers at once.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from discover.errors import ArtefactError, ClusterLost, ConfigError, DiscoverError, RuleError
from pipelines.cli_infer import infer
from pipelines.cli_screen import screen
from pipelines.cli_study import study
from pipelines.interruption import Farewell, Interrupted, after_a_loss, ending_promptly, leave
from pipelines.options import (
    DEFAULT_RESULTS,
    Backend,
    Engines,
    Fresh,
    Objective,
    Results,
    RunName,
    Scheduler,
    Threads,
    Update,
)
from pipelines.threads import use_threads
from pipelines.warned import plain_warnings

if TYPE_CHECKING:
    from pipelines.backend import Where
    from pipelines.runs import Run

__all__ = ["app", "main"]

INTERRUPTED = 130


class _Group(TyperGroup):
    """Commands whose errors are one paragraph, not a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        farewell = Farewell(ctx)
        try:
            with ending_promptly(farewell), plain_warnings():
                return super().invoke(ctx)
        except ClusterLost as error:
            typer.echo(f"discover: {error} {after_a_loss()}", err=True)
            raise typer.Exit(error.exit_code) from error
        except DiscoverError as error:
            typer.echo(f"discover: {error}", err=True)
            raise typer.Exit(error.exit_code) from error
        except Interrupted as error:
            farewell()
            leave(error.number)
        except KeyboardInterrupt:
            farewell()
            raise typer.Exit(INTERRUPTED) from None


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Discover synaptic plasticity rules: from simulated networks to laws that can be read.",
)


@app.command()
def run(
    name: Annotated[
        str, typer.Argument(metavar="TOML", help="A pipeline, such as pipelines/oja.toml or oja.")
    ],
    fresh: Fresh = False,
    update: Update = False,
    engine: Engines = None,
    objective: Objective = "",
    threads: Threads = None,
    backend: Backend = "local",
    scheduler: Scheduler = "",
    results: Results = DEFAULT_RESULTS,
) -> None:
    """Run a whole pipeline; stages that are up to date are left alone."""
    from pipelines.backend import Where
    from pipelines.runs import find_run
    from pipelines.show import summary_text
    from pipelines.stages import STAGES

    where = Where(backend, scheduler)
    found = find_run(name, results, toml_first=True)
    _work(found, tuple(STAGES), fresh, update, threads, engine, objective, where)
    typer.echo(summary_text(found.folder))


@app.command()
def simulate(
    name: RunName,
    fresh: Fresh = False,
    update: Update = False,
    threads: Threads = None,
    results: Results = DEFAULT_RESULTS,
) -> None:
    """Stage 1: record what synapses see and do (trajectories.npz)."""
    _stage("simulate", name, fresh, update, threads, results)


@app.command()
def fit(
    name: RunName,
    fresh: Fresh = False,
    update: Update = False,
    threads: Threads = None,
    backend: Backend = "local",
    scheduler: Scheduler = "",
    results: Results = DEFAULT_RESULTS,
) -> None:
    """Stage 2: fit rules along the L1 penalty (path.json)."""
    from pipelines.backend import Where

    _stage("fit", name, fresh, update, threads, results, where=Where(backend, scheduler))


@app.command()
def search(
    name: RunName,
    fresh: Fresh = False,
    update: Update = False,
    engine: Engines = None,
    objective: Objective = "",
    threads: Threads = None,
    results: Results = DEFAULT_RESULTS,
) -> None:
    """Stage 3: search for expressions, build the Pareto front (front.json)."""
    from discover.pareto import ParetoFront
    from discover.stored import read_stored
    from pipelines.show import found_lines

    found = _stage("search", name, fresh, update, threads, results, engine, objective)
    for line in found_lines(read_stored(found.folder / "front.json", ParetoFront)):
        typer.echo(line.strip())


@app.command()
def validate(
    name: RunName,
    fresh: Fresh = False,
    update: Update = False,
    threads: Threads = None,
    backend: Backend = "local",
    scheduler: Scheduler = "",
    results: Results = DEFAULT_RESULTS,
) -> None:
    """Stage 4: try the candidates under held-out conditions (validation.json)."""
    from pipelines.backend import Where

    _stage("validate", name, fresh, update, threads, results, where=Where(backend, scheduler))


@app.command()
def compare(
    name: Annotated[str, typer.Argument(metavar="RUN|RULE", help='A run, or a rule such as "x*y - w*y**2".')],
    fresh: Fresh = False,
    update: Update = False,
    threads: Threads = None,
    results: Results = DEFAULT_RESULTS,
    task: Annotated[
        str, typer.Option(help="Task in which a single rule is compared: a name, or FILE.py:CLASS.")
    ] = "oja",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the comparison of a single rule.")] = 0,
) -> None:
    """Stage 5: compare candidates, or a rule given as text, with published rules (comparison.json)."""
    from pipelines.runs import exists

    if exists(name, results):
        from pipelines.show import comparison_text

        found = _stage("compare", name, fresh, update, threads, results)
        typer.echo(comparison_text(found.folder))
    else:
        use_threads(threads)
        _compare_rule(name, task, seed)


@app.command()
def report(
    name: RunName,
    fresh: Fresh = False,
    update: Update = False,
    threads: Threads = None,
    results: Results = DEFAULT_RESULTS,
) -> None:
    """Stage 6: figures and one HTML file (report.html)."""
    from pipelines.infer import report_again
    from pipelines.infer_config import is_recorded
    from pipelines.show import summary_text

    for folder in (Path(name), results / name):
        if is_recorded(folder):
            report_again(folder)
            typer.echo(summary_text(folder))
            return
    found = _stage("report", name, fresh, update, threads, results)
    typer.echo(summary_text(found.folder))


@app.command()
def front(
    name: RunName,
    sort: Annotated[str, typer.Option(help="Order: complexity, loss, train or id.")] = "complexity",
    select: Annotated[
        str,
        typer.Option(help="Show what another selector would take: 1se, lowest, elbow, cv, or a candidate."),
    ] = "",
    results: Results = DEFAULT_RESULTS,
) -> None:
    """Print a run's Pareto front, with an arrow at the chosen rule."""
    from pipelines.inspection import front_as_asked
    from pipelines.runs import find_folder

    typer.echo(front_as_asked(find_folder(name, results), sort, select))


@app.command()
def show(
    name: RunName,
    candidate: Annotated[
        str, typer.Argument(metavar="ID", help="A candidate of the front; the chosen one by default.")
    ] = "",
    results: Results = DEFAULT_RESULTS,
) -> None:
    """Print all that a run knows of one candidate."""
    from pipelines.inspection import show_text
    from pipelines.runs import find_folder

    typer.echo(show_text(find_folder(name, results), candidate))


@app.command()
def diff(
    first: RunName,
    second: Annotated[str, typer.Argument(metavar="RUN", help="Another run.")],
    results: Results = DEFAULT_RESULTS,
) -> None:
    """Print what differs between two runs; the exit code is 0 if their rules are equal and 1 if not."""
    from pipelines.inspection import diff_text
    from pipelines.runs import find_folder

    found = diff_text(find_folder(first, results), find_folder(second, results))
    typer.echo(found.text)
    raise typer.Exit(1 if found.differ else 0)


@app.command()
def export(
    name: RunName,
    to: Annotated[str, typer.Option("--to", metavar="FORM", help="latex, sympy, python or brian2.")],
    candidate: Annotated[
        str, typer.Option("--id", metavar="ID", help="A candidate of the front; the chosen one by default.")
    ] = "",
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="Where to; printed by default.")
    ] = None,
    results: Results = DEFAULT_RESULTS,
) -> None:
    """Take a rule away as LaTeX, as a SymPy or Python script, or as a Brian2 simulation."""
    from pipelines.artefacts import write_text
    from pipelines.inspection import export_text
    from pipelines.runs import find_folder

    text = export_text(find_folder(name, results), candidate, to)
    if output is None:
        typer.echo(text)
    else:
        write_text(output, text + "\n")
        typer.echo(f"written: {output}", err=True)


@app.command()
def recover(
    task: Annotated[str, typer.Argument(help="Task whose known rule is to be found again.")],
    inputs: Annotated[str, typer.Option(help="Numbers of inputs, with commas between.")] = "2,10",
    outputs: Annotated[
        str, typer.Option(help="Numbers of outputs, with commas between, for tasks that have several.")
    ] = "",
    seeds: Annotated[int, typer.Option(min=1, max=10_000, help="Runs for each size.")] = 10,
    presets: Annotated[
        str, typer.Option(help="Published settings, such as d3,d5,d100: found and known rule side by side.")
    ] = "",
    threads: Threads = None,
    backend: Backend = "local",
    scheduler: Scheduler = "",
    results: Results = DEFAULT_RESULTS,
) -> None:
    """Find a known rule again at several sizes: how often, how exactly, how fast."""
    sizes = _sizes(inputs, "--inputs")
    output_sizes = _sizes(outputs, "--outputs") if outputs else []
    use_threads(threads)
    from discover.user_tasks import load_task
    from pipelines.backend import Where
    from pipelines.events import open_reporter
    from pipelines.studies import study_recovery

    where, known = Where(backend, scheduler), load_task(task)
    wanted = presets.split(",") if presets else []
    reporter = open_reporter(None)
    try:
        prepare = (known, known.settings_type())
        with where.at_work(reporter, prepare), reporter.stage("recover") as progress:
            path, rows = study_recovery(results, task, sizes, output_sizes, seeds, wanted, progress)
    finally:
        reporter.close()
    _echo_table(path, rows)


app.command()(study)
app.command()(screen)


app.command()(infer)


@app.command(name="recover-known")
def recover_known(
    engine: Engines = None,
    noise: Annotated[
        str, typer.Option(help="Noise over the standard deviation of the update, with commas between.")
    ] = "0,.01,.1",
    seeds: Annotated[int, typer.Option(min=1, max=10_000, help="Runs for each rule, noise and engine.")] = 10,
    rules: Annotated[str, typer.Option(help="Some of the rules, with commas between.")] = "",
    backend: Backend = "local",
    scheduler: Scheduler = "",
    results: Results = DEFAULT_RESULTS,
) -> None:
    """Find updates that are no polynomials from noisy samples: how often, by which engine."""
    from discover.recover_known import GENERATORS
    from pipelines.backend import Where
    from pipelines.events import open_reporter
    from pipelines.studies import study_recovery_of_known

    noises = _numbers(noise, "--noise")
    names = rules.split(",") if rules else list(GENERATORS)
    where = Where(backend, scheduler)
    reporter = open_reporter(None)
    try:
        with where.at_work(reporter), reporter.stage("recover-known") as progress:
            path, rows = study_recovery_of_known(results, engine or ["auto"], noises, seeds, names, progress)
    finally:
        reporter.close()
    _echo_table(path, rows)


def _echo_table(path: Path, rows: list[dict[str, Any]]) -> None:
    from pipelines.show import table_text

    columns = list(rows[0])
    typer.echo(table_text(columns, [[row[column] for column in columns] for row in rows]))
    typer.echo(f"written: {path}", err=True)


@app.command()
def manifold(
    name: RunName,
    restarts: Annotated[int, typer.Option(min=1, max=100_000, help="Random starts of the search.")] = 20,
    threads: Threads = None,
    backend: Backend = "local",
    scheduler: Scheduler = "",
    results: Results = DEFAULT_RESULTS,
) -> None:
    """Search a spiking rule from many starts and set what is found beside the mean field."""
    use_threads(threads)
    from discover.tasks import get_task
    from pipelines.backend import Where
    from pipelines.events import open_reporter
    from pipelines.runs import find_run, locked
    from pipelines.stages import run_stages
    from pipelines.studies import study_manifold

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


@app.command()
def doctor(
    install_julia: Annotated[
        bool, typer.Option("--install-julia", help="Download Julia and PySR's Julia packages first.")
    ] = False,
    start: Annotated[
        bool, typer.Option("--start", help="Start every engine that would start, to prove that it does.")
    ] = False,
) -> None:
    """Print versions, threads, which engines were found, and which of them would start."""
    from pipelines.doctor import doctor_text
    from pipelines.doctor import install_julia as download

    if install_julia:
        download()
    typer.echo(doctor_text(start))


def main() -> None:
    """Entry point of the `discover` script."""
    app(prog_name="discover")


def _stage(
    stage: str,
    name: str,
    fresh: bool,
    update: bool,
    threads: int | None,
    results: Path,
    engine: list[str] | None = None,
    objective: str = "",
    where: Where | None = None,
) -> Run:
    from pipelines.runs import find_run

    found = find_run(name, results)
    _work(found, (stage,), fresh, update, threads, engine, objective, where)
    return found


def _work(
    found: Run,
    names: tuple[str, ...],
    fresh: bool,
    update: bool,
    threads: int | None,
    engine: list[str] | None,
    objective: str,
    where: Where | None = None,
) -> None:
    """Run stages with the folder locked."""
    config = found.config.with_engines(engine) if engine else found.config
    config = config.with_objective(objective) if objective else config
    used = use_threads(threads)
    from pipelines.study import carry_out

    carry_out(replace(found, config=config), names, used, fresh, update, where)


def _compare_rule(text: str, task_name: str, seed: int) -> None:
    from discover.comparison import CompareSettings, compare_candidates
    from discover.progress import silent
    from discover.rule import Rule
    from discover.user_tasks import load_task
    from pipelines.show import distances_text, verdict_text
    from pipelines.stages import stage_seed

    try:
        rule = Rule.parse(text)
    except RuleError as error:
        raise ArtefactError(
            f"There is no run {text[:80]!r}, and as a rule it cannot be read: {error}"
        ) from error
    task = load_task(task_name)
    result = compare_candidates(
        task, task.settings_type(), {"rule": rule}, CompareSettings(), stage_seed(seed, "compare"), silent
    )
    compared = result.candidates["rule"]
    typer.echo(distances_text(compared))
    typer.echo(verdict_text(str(rule), compared))


def _sizes(text: str, option: str) -> list[int]:
    try:
        sizes = [int(part) for part in text.split(",")]
    except ValueError:
        sizes = []
    if not sizes or min(sizes) < 1 or max(sizes) > 1_000_000:
        raise ConfigError(
            f"{option}: numbers with commas between are expected, such as 2,10,100, but it is {text[:80]!r}."
        )
    return sizes


def _numbers(text: str, option: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(
            f"{option}: numbers with commas between are expected, such as 0,.01,.1, but it is {text[:80]!r}."
        ) from None


if __name__ == "__main__":
    main()
