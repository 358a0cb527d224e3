"""`discover infer TABLE --protocols`: the pipeline of the task ``pairing`` for a table of the user's own."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from discover.errors import ArtefactError, ConfigError
from pipelines.infer_config import is_recorded, named_pairs, run_name
from pipelines.look import PLAIN, Look

__all__ = ["infer_protocols"]

Tie = Literal["pre first", "post first"]
TIES: dict[str, Tie] = {"pre": "pre first", "post": "post first"}


def infer_protocols(
    path: Path,
    results: Path,
    *,
    spikes: Path | None,
    columns: str,
    error: float,
    hold_out: tuple[str, ...],
    tie: str,
    engines: tuple[str, ...],
    seed: int,
    name: str,
    fresh: bool,
    threads: int,
    look: Look = PLAIN,
) -> str:
    """Find the rule that explains a table of pairing protocols, and return what is printed.

    Parameters
    ----------
    path : Path
        The table, see :func:`discover.pairing.read_protocols`.
    results : Path
        Folder of the runs.
    spikes : Path, optional
        A table of spikes for protocols that are no bursts.
    columns : str
        ``frequency=rate,lag=dt`` where columns are called otherwise.
    error : float
        Standard error of rows that have none.
    hold_out : tuple of str
        Groups that are predicted only.
    tie : str
        ``pre`` or ``post``: which of two spikes in the same instant comes first.
    engines : tuple of str
        Of the symbolic search.
    seed : int
    name : str
        Of the run; that of the file by default.
    fresh : bool
    threads : int
        For the manifest.
    look : Look
        Of what is returned.

    Raises
    ------
    DiscoverError
        If anything cannot be used; earlier results are then as they were.
    """
    from discover.pairing.evidence import split
    from discover.pairing.fit import PairingSettings
    from discover.tasks import get_task
    from discover.tasks.pairing import protocols_of
    from pipelines.config import from_table
    from pipelines.runs import Run, run_folder
    from pipelines.show import summary_text
    from pipelines.stages import STAGES
    from pipelines.study import carry_out

    if tie not in TIES:
        raise ConfigError(f"--tie: pre or post is expected, but it is {tie[:40]!r}.")
    problems = {
        "table": str(path.resolve()),
        "spikes": "" if spikes is None else str(spikes.resolve()),
        "columns": named_pairs(columns, "--columns"),
        "error": error,
        "hold_out": list(hold_out),
        "tie": TIES[tie],
    }
    table = {
        "schema": 1,
        "task": "pairing",
        "seed": seed,
        "name": run_name(path, name),
        "problems": problems,
        "search": {"engines": list(engines), "max_nodes": 15},
    }
    config = from_table(table, source="discover infer --protocols", default_name="")
    settings: PairingSettings = config.problems
    split(protocols_of(settings), settings, seed)  # mistakes are said before anything is written
    problems["sha256"] = get_task("pairing").data_digest(settings)
    config = from_table(table, source="discover infer --protocols", default_name="")
    found = Run(run_folder(results, config.name), config)
    if is_recorded(found.folder):
        raise ArtefactError(f"{found.folder} holds another kind of run. Choose another name with --name.")
    carry_out(found, STAGES, threads, fresh)
    return summary_text(found.folder, look)
