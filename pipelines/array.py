"""A study as an array of jobs: a plan that they read, one job a seed, and what collects their runs.

A plan is a folder. ``plan.json`` says what is to be run, ``array.sh`` hands it to Slurm, and every job writes
to a folder of its own, ``runs/KEY``, whose name is a checksum of all that its result depends on. Jobs know
nothing of each other: they may run in any order, at any time, on any machine that sees the folder, and more
than once.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from discover.errors import ArtefactError, ConfigError, DiscoverError
from discover.progress import Progress
from discover.seed_study import Study
from discover.stored import Artefact, Count, read_bytes, read_stored
from discover.user_tasks import NamedFile, load_named, named_files
from pipelines import artefacts
from pipelines.config import PipelineConfig, from_table
from pipelines.runs import Run, locked, refuse_link
from pipelines.seed_run import files_of, take_files
from pipelines.seed_study import Ended, SeedStudy, has_run, run_study
from pipelines.sources import code_hash

__all__ = ["Plan", "collect", "read_plan", "work", "write_plan"]

FILE, SCRIPT, ERROR = "plan.json", "array.sh", "error.txt"

MAX_ERROR = 4_096
"""Bytes of an error that are shown."""

SLURM = """\
#!/bin/bash
#SBATCH --job-name={name}
#SBATCH --array=0-{last}
#SBATCH --cpus-per-task=1
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output={logs}/%a.txt
export NUMBA_NUM_THREADS="${{SLURM_CPUS_PER_TASK:-1}}"
exec {command} "$SLURM_ARRAY_TASK_ID"
"""


@dataclass(frozen=True, kw_only=True)
class Plan(Artefact):
    """``plan.json``: what the jobs of an array are to run.

    Attributes
    ----------
    pipeline : mapping
        Content of ``config.json``; its seed is replaced.
    seeds : tuple of int
        Job N has the seed at place N, from 0 on.
    root : int or None
        What the seeds were drawn from; None where the user gave them.
    stages : tuple of str
    files : tuple of NamedFile
        Files of tasks of the user's own.
    code : str
        Checksum of this program.
    """

    kind = "plan"
    pipeline: Mapping[str, Any]
    seeds: tuple[Count, ...]
    root: Count | None
    stages: tuple[str, ...]
    files: tuple[NamedFile, ...]
    code: str

    def config_of(self, seed: int) -> PipelineConfig:
        """Return what one job runs."""
        config = from_table(self.pipeline, source="the plan's pipeline", default_name="")
        return replace(config, seed=seed)

    def key(self, seed: int) -> str:
        """Return what the folder of one seed's run is called."""
        asked = [self.config_of(seed).to_dict(), self.stages, [one.checksum for one in self.files], self.code]
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]

    def folder_of(self, seed: int, folder: Path) -> Path:
        """Return the folder of one seed's run."""
        return folder / "runs" / self.key(seed)


def write_plan(study: SeedStudy, folder: Path) -> Plan:
    """Write the plan of a study and a script that submits it; nothing is run.

    A plan that is there already is replaced. Runs that came of it stay; those that the new one asks for as
    well are not run again.

    Parameters
    ----------
    study : SeedStudy
    folder : Path
        One that all jobs see.

    Raises
    ------
    ArtefactError
        If it cannot be written, or is a symbolic link.
    """
    plan = Plan(
        pipeline=study.config.to_dict(),
        seeds=study.seeds,
        root=study.root,
        stages=study.stages,
        files=named_files(),
        code=_code(),
    )
    refuse_link(folder)
    place = folder.resolve()
    command = [sys.executable, "-m", "pipelines.cli", "work", str(place)]
    for file in plan.files:
        command += ["--trust", file.path]
    script = SLURM.format(
        name=study.config.name,
        last=len(plan.seeds) - 1,
        logs=str(place / "logs").replace("%", "%%"),
        command=shlex.join(command),
    )
    with locked(folder):
        artefacts.remove_leftovers(folder)
        artefacts.write_json(folder / FILE, plan)
        artefacts.write_text(folder / SCRIPT, script)
        try:
            (folder / "logs").mkdir(exist_ok=True)  # Slurm makes no folders
        except OSError as error:
            artefacts.unwritable(folder / "logs", error)
    return plan


def read_plan(folder: Path, trusted: Sequence[Path] = ()) -> Plan:
    """Read a plan and see to it that this program can carry it out.

    Parameters
    ----------
    folder : Path
    trusted : sequence of Path
        Files with tasks that the user wants to run, because the plan asks for them.

    Raises
    ------
    ArtefactError
        If there is no plan, or it is damaged, or was made by other code than this.
    ConfigError
        If its task is in a file that the user did not name.
    TaskError
        If that file is not there, or has changed.
    """
    plan = read_stored(folder / FILE, Plan, "`discover study TOML --plan DIR` writes it.")
    if plan.code != _code():
        raise ArtefactError(
            f"The plan in {folder} was made by other code of plasticity-discovery than is installed here. "
            f"Plan it again (`discover study TOML --plan {folder}`): runs of the old plan stay, and are not "
            "mixed in."
        )
    named = {path.resolve() for path in trusted}
    for file in plan.files:
        if Path(file.path) not in named:
            raise ConfigError(
                f"The plan's task is code in {file.path}. A file is run only when you name it yourself: add "
                f"--trust {shlex.quote(file.path)} if you trust it."
            )
        load_named(file)
    return plan


def work(folder: Path, number: int, threads: int, trusted: Sequence[Path] = ()) -> Path:
    """Do one job: run its seed, from where it was cut off, or not at all where it has run.

    Parameters
    ----------
    folder : Path
        Of the plan.
    number : int
        Of the job, from 0 on.
    threads : int
        Threads of the kernels.
    trusted : sequence of Path
        See :func:`read_plan`.

    Returns
    -------
    Path
        Folder of the run.

    Raises
    ------
    ConfigError
        If there is no job of this number.
    DiscoverError
        If the run fails. Why is kept beside the run for :func:`collect`.
    """
    from pipelines.study import carry_out

    plan = read_plan(folder, trusted)
    if number >= len(plan.seeds):
        last = len(plan.seeds) - 1
        raise ConfigError(f"There is no job {number}: the plan in {folder} has jobs 0 to {last}.")
    seed = plan.seeds[number]
    place = plan.folder_of(seed, folder)
    try:
        carry_out(Run(place, plan.config_of(seed)), plan.stages, threads, update=True)
    except DiscoverError as error:
        with suppress(ArtefactError), locked(place):  # not where another process is at the same job
            artefacts.write_text(place / ERROR, f"{error}\n")
        raise
    (place / ERROR).unlink(missing_ok=True)
    return place


def collect(
    folder: Path,
    results: Path,
    progress: Progress,
    note: Callable[[str], None],
    update: bool = False,
    trusted: Sequence[Path] = (),
) -> tuple[SeedStudy, Study, list[int]]:
    """Bring the runs of the jobs that have ended into a study, as if it had been run here.

    Parameters
    ----------
    folder : Path
        Of the plan.
    results : Path
        Folder of all results.
    progress : callable
    note : callable
        Is told of every seed that is new.
    update : bool
        Whether a study with other settings may be replaced.
    trusted : sequence of Path
        See :func:`read_plan`.

    Returns
    -------
    asked : SeedStudy
    found : Study
    missing : list of int
        Numbers of the jobs that have not come to their end.

    Raises
    ------
    ArtefactError
        If a file cannot be read or written, or a study with other settings would be overwritten.
    RunFailed
        If no run came to its end.
    """
    plan = read_plan(folder, trusted)
    study = SeedStudy(plan.config_of(0), plan.seeds, results, plan.stages, plan.root)
    found = run_study(study, progress, note, update, partial(_brought, plan, folder))
    there = {row.seed for row in found.rows if not row.error}
    return study, found, [number for number, seed in enumerate(plan.seeds) if seed not in there]


def _brought(
    plan: Plan, folder: Path, study: SeedStudy, seeds: Sequence[int], progress: Progress, ended: Ended
) -> None:
    """Copy the runs of jobs that have ended."""
    for n, seed in enumerate(seeds):
        place = plan.folder_of(seed, folder)
        if (place / ERROR).is_file():
            ended(seed, read_bytes(place / ERROR)[:MAX_ERROR].decode(errors="replace").strip())
        elif place.is_dir() and has_run(place, plan.config_of(seed), plan.stages):
            with locked(study.folder_of(seed)):
                take_files(study.folder_of(seed), files_of(place))
            ended(seed, "")
        progress((n + 1) / len(seeds), f"{n + 1} of {len(seeds)} jobs looked at")


def _code() -> str:
    return code_hash(("sims", "discover", "pipelines"))
