"""`discover infer`: a rule from recorded data, or from a table of pairing experiments."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from discover.checked import printable
from discover.errors import ConfigError
from pipelines.look import Look
from pipelines.options import DEFAULT_RESULTS, Engines, Fresh, Results, Threads
from pipelines.threads import use_threads

__all__ = ["infer"]

VARIABLES, DEGREE, TIE = "x,y,w", 2, "pre"


def infer(
    table: Annotated[Path, typer.Argument(metavar="DATA", help="A .csv, .parquet or .npz table.")],
    variables: Annotated[
        str,
        typer.Option(help="What the rule may see: x,y,w, or NAME=COLUMN where columns are called otherwise."),
    ] = VARIABLES,
    target: Annotated[
        str, typer.Option(help="Column of the update (dw); with --weak, of the weight over time (w).")
    ] = "",
    groups: Annotated[
        str, typer.Option(metavar="COLUMN", help="Recording of every row; held out as a whole, never by row.")
    ] = "",
    units: Annotated[
        str, typer.Option(help="Units, such as x=Hz,w=nS; headings of the form 'x [Hz]' do as well.")
    ] = "",
    weak: Annotated[
        bool, typer.Option("--weak", help="The target is observed over time, not its change; see --time.")
    ] = False,
    time: Annotated[str, typer.Option(metavar="COLUMN", help="Times, for --weak.")] = "",
    synapse: Annotated[
        str,
        typer.Option(
            metavar="COLUMN", help="Synapse of every row where a recording has several; for --weak."
        ),
    ] = "",
    window: Annotated[
        float | None, typer.Option(help="Width of the test functions of --weak, in the unit of time.")
    ] = None,
    protocols: Annotated[
        bool,
        typer.Option("--protocols", help="The table has pairing protocols and the changes that they made."),
    ] = False,
    spikes: Annotated[
        Path | None,
        typer.Option(metavar="DATA", help="Spike times: protocol, neuron, time; for --protocols."),
    ] = None,
    columns: Annotated[
        str,
        typer.Option(
            help="frequency=rate,lag=dt where columns are called otherwise; for --protocols.",
        ),
    ] = "",
    error: Annotated[
        float, typer.Option(min=0, help="Standard error of protocols that have none; for --protocols.")
    ] = 0.0,
    hold_out: Annotated[
        list[str] | None,
        typer.Option("--hold-out", metavar="GROUP", help="Predict this group of protocols, do not fit it."),
    ] = None,
    tie: Annotated[
        str, typer.Option(help="Which of two spikes in the same instant is first: pre or post.")
    ] = TIE,
    engine: Engines = None,
    polynomial: Annotated[
        bool, typer.Option("--polynomial", help="No engines: the L1 path over polynomials alone.")
    ] = False,
    degree: Annotated[
        int, typer.Option(min=1, max=8, help="Largest power in the polynomial basis.")
    ] = DEGREE,
    function: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Let rules have this function, too: sin or cos; give it again for both."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the search.")] = 0,
    name: Annotated[str, typer.Option(help="Name of the run; that of the file by default.")] = "",
    fresh: Fresh = False,
    threads: Threads = None,
    results: Results = DEFAULT_RESULTS,
) -> None:
    """Infer a rule from recorded data, or with --protocols from a table of pairing experiments."""
    used = use_threads(threads)
    of_rows = {
        "--variables": variables != VARIABLES, "--target": target, "--groups": groups, "--units": units,
        "--weak": weak, "--time": time, "--synapse": synapse, "--window": window is not None,
        "--polynomial": polynomial, "--degree": degree != DEGREE, "--function": function,
    }  # fmt: skip
    of_protocols = {
        "--spikes": spikes is not None, "--columns": columns, "--error": error, "--hold-out": hold_out,
        "--tie": tie != TIE,
    }  # fmt: skip
    useless = [name for name, given in (of_rows if protocols else of_protocols).items() if given]
    if useless:
        where = "have no use with --protocols" if protocols else "belong to --protocols"
        raise ConfigError(f"{', '.join(useless)}: these {where}.")
    if not os.path.exists(table):  # where no file can have such a name, too
        raise ConfigError(f"There is no file {printable(str(table), 200)}.")
    if protocols:
        from pipelines.infer_protocols import infer_protocols

        answer = infer_protocols(
            table,
            results,
            spikes=spikes,
            columns=columns,
            error=error,
            hold_out=tuple(hold_out or ()),
            tie=tie,
            engines=tuple(engine or ("auto",)),
            seed=seed,
            name=name,
            fresh=fresh,
            threads=used,
            look=Look.of(sys.stdout),
        )
        typer.echo(answer)
        return
    from pipelines.infer import infer_table

    text = infer_table(
        table,
        results,
        variables=variables,
        target=target,
        groups=groups,
        units=units,
        weak=weak,
        time=time,
        synapse=synapse,
        window=window,
        engines=() if polynomial else tuple(engine or ("auto",)),
        degree=degree,
        functions=tuple(function or ()),
        seed=seed,
        name=name,
        fresh=fresh,
        threads=used,
        look=Look.of(sys.stdout),
    )
    typer.echo(text)
