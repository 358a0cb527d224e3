"""Commands that look at runs and change nothing: `discover front`, `show`, `diff`, `runs` and `export`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from pipelines.look import DIGITS, Look
from pipelines.options import DEFAULT_RESULTS, AsJson, Candidate, CandidateName, Digits, Results, RunName

__all__ = ["diff", "export", "front", "runs", "show"]


def front(
    name: RunName,
    every: Annotated[
        bool, typer.Option("--all", help="Show also candidates that others beat, and by which.")
    ] = False,
    sort: Annotated[str, typer.Option(help="Order: complexity, loss, train or id.")] = "complexity",
    select: Annotated[
        str,
        typer.Option(help="Show what another selector would take: 1se, lowest, elbow, cv, or a candidate."),
    ] = "",
    digits: Digits = DIGITS,
    as_json: AsJson = False,
    results: Results = DEFAULT_RESULTS,
) -> None:
    """Print a run's Pareto front, with an arrow at the chosen rule."""
    from pipelines.inspection import front_as_asked, front_facts_as_asked
    from pipelines.runs import find_folder
    from pipelines.show import as_json as to_json

    folder = find_folder(name, results)
    if as_json:
        typer.echo(to_json("front", front_facts_as_asked(folder, sort, select, every)))
    else:
        typer.echo(front_as_asked(folder, sort, select, Look.of(sys.stdout, digits), every))


def show(
    name: RunName,
    candidate: CandidateName = "",
    digits: Digits = DIGITS,
    as_json: AsJson = False,
    results: Results = DEFAULT_RESULTS,
) -> None:
    """Print all that a run knows of one candidate."""
    from pipelines.inspection import show_facts, show_text
    from pipelines.runs import find_folder
    from pipelines.show import as_json as to_json

    folder = find_folder(name, results)
    if as_json:
        typer.echo(to_json("candidate", show_facts(folder, candidate)))
    else:
        typer.echo(show_text(folder, candidate, Look.of(sys.stdout, digits)))


def diff(
    first: RunName,
    second: Annotated[str, typer.Argument(metavar="RUN", help="Another run.")],
    digits: Digits = DIGITS,
    as_json: AsJson = False,
    results: Results = DEFAULT_RESULTS,
) -> None:
    """Print what differs between two runs: settings, rules, folds.

    The exit code is 0 if these are the same and 1 if not; other versions of the code count as no difference.
    """
    from pipelines.differences import diff_text
    from pipelines.runs import find_folder
    from pipelines.show import as_json as to_json

    found = diff_text(find_folder(first, results), find_folder(second, results), Look.of(sys.stdout, digits))
    typer.echo(to_json("difference", found.facts) if as_json else found.text)
    raise typer.Exit(1 if found.differ else 0)


def runs(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Folder of runs, or one run.")
    ] = DEFAULT_RESULTS,
    digits: Digits = DIGITS,
    as_json: AsJson = False,
) -> None:
    """List runs: how far each is, which rule it chose, with which loss and which verdict."""
    from pipelines.listing import runs_in, runs_text
    from pipelines.show import as_json as to_json

    found = runs_in(folder)
    if as_json:
        typer.echo(to_json("runs", {"folder": str(folder), "runs": found}))
    else:
        typer.echo(runs_text(folder, found, Look.of(sys.stdout, digits)))


def export(
    name: RunName,
    to: Annotated[str, typer.Option("--to", metavar="FORM", help="latex, sympy, python or brian2.")],
    candidate: Candidate = "",
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
