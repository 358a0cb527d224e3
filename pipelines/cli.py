"""The command line: `discover run`, one command for every stage, and commands that look at a run.

Heavy imports happen inside the commands, so that `discover --help` answers at once.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from discover.errors import ArtefactError, ClusterLost, ConfigError, DiscoverError, RuleError
from pipelines.cli_infer import infer
from pipelines.cli_posterior import posterior
from pipelines.cli_screen import screen
from pipelines.cli_show import diff, export, front, runs, show
from pipelines.cli_study import collect, study, work
from pipelines.interruption import (
    KEEPS_NOTHING,
    Farewell,
    Interrupted,
    after_a_loss,
    ending_promptly,
    leave,
)
from pipelines.look import DIGITS, Look
from pipelines.options import (
    DEFAULT_RESULTS,
    AsJson,
    Backend,
    Digits,
    Engines,
    Fresh,
    Objective,
    PipelineName,
    Results,
    RunName,
    Scheduler,
    TaskName,
    Threads,
    Update,
)
from pipelines.threads import use_threads
from pipelines.warned import plain_warnings

if TYPE_CHECKING:
    from collections.abc import Mapping

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
            _echo_error(f"{error} {after_a_loss()}")
            raise typer.Exit(error.exit_code) from error
        except DiscoverError as error:
            _echo_error(str(error))
            raise typer.Exit(error.exit_code) from error
        except Interrupted as error:
            farewell()
            leave(error.number)
        except KeyboardInterrupt:
            farewell()
            raise typer.Exit(INTERRUPTED) from None


class _RuleCommand(TyperCommand):
    """A command whose argument may be a rule that begins with a minus sign, which is no option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments; no option here has a single minus sign in front."""
        spaced = [f" {one}" if one.startswith("-") and one[1:2] not in ("", "-") else one for one in args]
        return super().parse_args(ctx, spaced)


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _say_version(wanted: bool) -> None:
    if wanted:
        from discover import __version__

        typer.echo(f"discover {__version__}")
        raise typer.Exit


@app.callback()
def discover(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_say_version, is_eager=True, help="Print the version and end."),
    ] = False,
) -> None:
    """Discover synaptic plasticity rules: from simulated networks to laws that can be read."""


@app.command()
def run(
    name: PipelineName,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Say which stages would run, and why; do nothing."),
    ] = False,
    fresh: Fresh = False,
    update: Update = False,
    engine: Engines = None,
    objective: Objective = "",
    threads: Threads = None,
    backend: Backend = "local",
    scheduler: Scheduler = "",
    digits: Digits = DIGITS,
    as_json: AsJson = False,
    results: Results = DEFAULT_RESULTS,
) -> None:
    """Run a whole pipeline; stages that are up to date are left alone."""
    from pipelines.backend import Where
    from pipelines.runs import find_run
    from pipelines.show import run_facts, summary_text
    from pipelines.stages import STAGES

    where = Where(backend, scheduler)
    found = find_run(name, results, toml_first=True)
    if dry_run:
        _say_plan(_with_options(found, engine, objective), tuple(STAGES), fresh, update, as_json)
    _work(found, tuple(STAGES), fresh, update, threads, engine, objective, where)
    if as_json:
        _echo_json("run", run_facts(found.folder))
    else:
        typer.echo(summary_text(found.folder, Look.of(sys.stdout, digits)))


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
    from pipelines.show import found_text

    found = _stage("search", name, fresh, update, threads, results, engine, objective)
    typer.echo(found_text(read_stored(found.folder / "front.json", ParetoFront), Look.of(sys.stdout)))


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


@app.command(cls=_RuleCommand)
def compare(
    ctx: typer.Context,
    name: Annotated[
        str,
        typer.Argument(
            metavar="RUN|RULE",
            help='A run, or a rule such as "x*y - w*y**2", in the form in which front prints it.',
        ),
    ],
    fresh: Fresh = False,
    update: Update = False,
    threads: Threads = None,
    results: Results = DEFAULT_RESULTS,
    task: TaskName = "oja",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the comparison of a single rule.")] = 0,
    digits: Digits = DIGITS,
    as_json: AsJson = False,
) -> None:
    """Stage 5: compare candidates, or a rule given as text, with published rules (comparison.json).

    A comparison that other code has made is shown as it is, unless --update or --fresh asks for another.
    """
    from pipelines.runs import exists

    name, look = name.strip(), Look.of(sys.stdout, digits)
    if not exists(name, results):
        use_threads(threads)
        ctx.meta[KEEPS_NOTHING] = True
        _compare_rule(name, task, seed, look, as_json)
        return
    from pipelines.plan import is_made_for
    from pipelines.runs import find_run
    from pipelines.show import comparison_facts, comparison_text

    found = find_run(name, results)
    if fresh or update or not is_made_for(found.folder, found.config, "compare"):
        _work(found, ("compare",), fresh, update, threads, None, "")
    if as_json:
        _echo_json("comparison", comparison_facts(found.folder))
    else:
        typer.echo(comparison_text(found.folder, look))


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
            typer.echo(summary_text(folder, Look.of(sys.stdout)))
            return
    found = _stage("report", name, fresh, update, threads, results)
    typer.echo(summary_text(found.folder, Look.of(sys.stdout)))


app.command()(front)
app.command()(show)
app.command()(diff)
app.command()(runs)
app.command()(export)


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
    as_json: AsJson = False,
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
    _echo_table(path, rows, as_json)


app.command()(study)
app.command()(work)
app.command()(collect)
app.command()(screen)
app.command()(posterior)
app.command()(infer)


@app.command(name="recover-known")
def recover_known(
    engine: Engines = None,
    noise: Annotated[
        str, typer.Option(help="Noise over the standard deviation of the update, with commas between.")
    ] = "0,0.01,0.1",
    seeds: Annotated[int, typer.Option(min=1, max=10_000, help="Runs for each rule, noise and engine.")] = 10,
    rules: Annotated[str, typer.Option(help="Some of the rules, with commas between.")] = "",
    backend: Backend = "local",
    scheduler: Scheduler = "",
    as_json: AsJson = False,
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
    _echo_table(path, rows, as_json)


def _echo_table(path: Path, rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        _echo_json("recovery", {"file": str(path), "rows": rows})
    else:
        columns = list(rows[0])
        table = [[row[column] for column in columns] for row in rows]
        typer.echo(Look.of(sys.stdout).table(columns, table, 1))
    typer.echo(f"written: {path}", err=True)


@app.command(hidden=True)
def manifold(
    name: RunName,
    restarts: Annotated[int, typer.Option(min=1, max=100_000, help="Random starts of the search.")] = 20,
    threads: Threads = None,
    backend: Backend = "local",
    scheduler: Scheduler = "",
    results: Results = DEFAULT_RESULTS,
) -> None:
    """Do what `discover posterior --restarts` does; this is its older name."""
    from pipelines.cli_posterior import posterior_by_restarts

    posterior_by_restarts(name, restarts, threads, backend, scheduler, results)
    typer.echo(f"discover manifold is now: discover posterior {name} --restarts {restarts}", err=True)


@app.command()
def doctor(
    install_julia: Annotated[
        bool, typer.Option("--install-julia", help="Download Julia and PySR's Julia packages first.")
    ] = False,
    start: Annotated[
        bool, typer.Option("--start", help="Start every engine that would start, to prove that it does.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print versions, threads, which engines were found, and which of them would start."""
    from pipelines.doctor import doctor_facts, doctor_text
    from pipelines.doctor import install_julia as download

    if install_julia:
        download()
    facts = doctor_facts(start)
    if as_json:
        _echo_json("doctor", facts)
    else:
        typer.echo(doctor_text(facts, Look.of(sys.stdout)))


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
    used = use_threads(threads)
    from pipelines.study import carry_out

    carry_out(_with_options(found, engine, objective), names, used, fresh, update, where)


def _with_options(found: Run, engine: list[str] | None, objective: str) -> Run:
    config = found.config.with_engines(engine) if engine else found.config
    return replace(found, config=config.with_objective(objective) if objective else config)


def _say_plan(found: Run, names: tuple[str, ...], fresh: bool, update: bool, as_json: bool) -> NoReturn:
    """Print what a run would do, and end: with an error where the run would."""
    from pipelines.plan import plan_run, plan_text

    plan = plan_run(found.folder, found.config, names, fresh, update)
    if as_json:
        _echo_json("plan", plan.facts())
    else:
        typer.echo(plan_text(plan, Look.of(sys.stdout)))
        if plan.refused:
            _echo_error(f"This run would end here: {plan.refused}")
    raise typer.Exit(ConfigError.exit_code if plan.refused else 0)


def _echo_error(text: str) -> None:
    typer.echo(Look.of(sys.stderr).alarmed(f"discover: {text}"), err=True)


def _echo_json(what: str, facts: Mapping[str, Any]) -> None:
    from pipelines.show import as_json

    typer.echo(as_json(what, facts))


def _compare_rule(text: str, task_name: str, seed: int, look: Look, as_json: bool) -> None:
    from discover.comparison import CompareSettings, compare_candidates
    from discover.tasks.base import rule_in
    from discover.user_tasks import load_task
    from pipelines.events import open_reporter
    from pipelines.show import distances_text, rule_text, verdict_text
    from pipelines.stages import stage_seed

    task = load_task(task_name)
    try:
        rule = rule_in(task, text)
    except RuleError as error:
        raise ArtefactError(
            f"There is no run {text[:80]!r}, and as a rule of the task {task.name} it cannot be read: {error}"
        ) from error
    settings, reporter = task.settings_type(), open_reporter(None)
    try:
        with reporter.stage("compare") as progress:
            result = compare_candidates(
                task, settings, {"rule": rule}, CompareSettings(), stage_seed(seed, "compare"), progress
            )
    finally:
        reporter.close()
    compared = result.candidates["rule"]
    if as_json:
        facts = {"task": task.name, "seed": seed, "rule": str(rule), "slots": rule.to_dict()}
        _echo_json("comparison-of-a-rule", {**facts, "compared": compared.to_json()})
    else:
        typer.echo(distances_text(compared, look))
        typer.echo(look.prose(verdict_text(rule_text(rule.to_dict(), look), compared)))


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
            f"{option}: numbers with commas between are expected, such as 0,0.01,0.1, but it is "
            f"{text[:80]!r}."
        ) from None


if __name__ == "__main__":
    main()
