"""A study over many seeds: whole runs of one pipeline with nothing changed but the seed, and what they found.

Every seed is a run with a folder of its own, ``studies/NAME/SEED`` among the results. It is taken up where it
was cut off like every run, and left alone when it is up to date. The tables are written anew whenever a seed
has ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import tomllib
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from discover.checked import read_plain
from discover.child_process import child_environment
from discover.errors import ArtefactError, DiscoverError, RunFailed
from discover.progress import Progress
from discover.seed_study import STUDIES, SeedRow, Study, families_of, read_study, shares_of, study_text
from pipelines import artefacts
from pipelines.config import MAX_BYTES, PipelineConfig
from pipelines.runs import locked, pipeline_files, refuse_link
from pipelines.seed_rows import (
    Sought,
    failed_row,
    records_of,
    row_of,
    sought,
    study_as_markdown,
)
from pipelines.seed_run import files_of, run_away, take_files
from pipelines.show import rule_text
from pipelines.stages import are_up_to_date

__all__ = ["SeedStudy", "has_run", "run_study", "seeds_of_pipelines"]

CHILD = "pipelines.seed_run"

Ended = Callable[[int, str], None]
"""Is told of a seed whose run has ended, and why it failed; an empty text where it did not."""


@dataclass(frozen=True)
class SeedStudy:
    """What a study is to do.

    Parameters
    ----------
    config : PipelineConfig
        The pipeline; its seed is replaced.
    seeds : tuple of int
    results : Path
        Folder of all results.
    stages : tuple of str
        Stages that every seed goes through.
    root : int or None
        What the seeds were drawn from; None where the user gave them.
    jobs : int
        Runs at a time on this machine.
    threads : int
        Threads of each.
    """

    config: PipelineConfig
    seeds: tuple[int, ...]
    results: Path
    stages: tuple[str, ...]
    root: int | None = None
    jobs: int = 1
    threads: int = 1

    @property
    def folder(self) -> Path:
        """Folder of the study."""
        return self.results / STUDIES / self.config.name

    def folder_of(self, seed: int) -> Path:
        """Return the folder of one seed."""
        return self.folder / str(seed)

    def config_of(self, seed: int) -> PipelineConfig:
        """Return the configuration of one seed."""
        return replace(self.config, seed=seed)

    @property
    def pipeline(self) -> dict[str, Any]:
        """Settings of the pipeline, without what differs between its runs."""
        return {key: value for key, value in self.config.to_dict().items() if key not in ("seed", "name")}


Bring = Callable[[SeedStudy, Sequence[int], Progress, Ended], None]
"""Brings runs of a study's seeds into their folders, and says of each that it has ended."""


def seeds_of_pipelines() -> set[int]:
    """Return the seeds in all pipeline files, with which results were looked at: a study draws others."""
    found = set()
    for path in pipeline_files().values():
        with contextlib.suppress(OSError, ValueError, RecursionError):  # not a pipeline, so no seed of one
            seed = tomllib.loads(read_plain(path, MAX_BYTES).decode()).get("seed", 0)
            found |= {seed} if isinstance(seed, int) else set()
    return found


def run_study(
    study: SeedStudy,
    progress: Progress,
    note: Callable[[str], None],
    update: bool = False,
    bring: Bring | None = None,
) -> Study:
    """Run the seeds that are not up to date; write ``study.json``, ``study.csv``, ``study.md`` and a figure.

    A seed whose run fails is a row with its error, and is run again when the study is.

    Parameters
    ----------
    study : SeedStudy
    progress : callable
    note : callable
        Is told of every seed that has ended.
    update : bool
        Whether a study with other settings may be replaced.
    bring : callable, optional
        Sees to the runs that are missing, as far as it can; by default they are run here or on a cluster.

    Raises
    ------
    ArtefactError
        If a file cannot be written, another process is at work there, or a study with other settings would be
        overwritten.
    RunFailed
        If no run came to its end.
    ClusterLost
        If the cluster is lost; runs that came back are kept.
    """
    for folder in (study.folder.parent, study.folder):
        refuse_link(folder)
    if not update:
        _check_not_overwritten(study)
    aim = sought(study.config)
    with locked(study.folder):
        artefacts.remove_leftovers(study.folder)
        rows = {
            seed: _row(study, aim, seed)
            for seed in study.seeds
            if has_run(study.folder_of(seed), study.config_of(seed), study.stages)
        }
        if rows:
            note(f"{len(rows)} of {len(study.seeds)} seeds are up to date")

        def ended(seed: int, error: str) -> None:
            rows[seed] = row = _row(study, aim, seed, error)
            what = row.error or f"{rule_text(row.slots)}, {row.seconds or 0:.0f} s"
            note(f"seed {seed}: {row.outcome}: {what} ({len(rows)} of {len(study.seeds)})")
            _write(study, aim, rows)

        missing = [seed for seed in study.seeds if seed not in rows]
        (bring or _run_all)(study, missing, progress, ended)
        content = _write(study, aim, rows)
        _draw(study.folder, content)
    failed = [row for row in content.rows if row.error]
    if len(failed) == len(study.seeds):
        raise RunFailed(f"The runs of all {len(failed)} seeds failed. The first: {failed[0].error}")
    return content


def _check_not_overwritten(study: SeedStudy) -> None:
    path = study.folder / "study.json"
    if path.is_file() and read_study(path).pipeline != study.pipeline:
        raise ArtefactError(
            f"{study.folder} holds a study of {study.config.name} with other settings, and is left as it is. "
            "To keep both, choose another folder with --results DIR or another name in the TOML file. To "
            "replace it, add --update."
        )


def has_run(folder: Path, config: PipelineConfig, stages: Iterable[str]) -> bool:
    """Say whether a run has come to its end, with these settings and this code."""
    try:
        return are_up_to_date(folder, config, stages)
    except ArtefactError:
        return False  # its run says what is wrong


def _row(study: SeedStudy, aim: Sought, seed: int, error: str = "") -> SeedRow:
    if error:
        return failed_row(seed, error)
    try:
        return row_of(study.folder_of(seed), seed, aim, study.stages)
    except DiscoverError as fault:
        return failed_row(seed, str(fault))


def _write(study: SeedStudy, aim: Sought, found: dict[int, SeedRow]) -> Study:
    """Write what is known so far, and return it."""
    from pipelines.manifest import platform_facts, versions
    from pipelines.sources import code_hash

    rows = [found[seed] for seed in study.seeds if seed in found]
    shares, families = shares_of(rows, aim.answer), families_of(rows)
    content = Study(
        name=study.config.name,
        task=study.config.task,
        pipeline=study.pipeline,
        answer=aim.answer,
        law=aim.law,
        law_title=aim.title,
        root=study.root,
        asked=study.seeds,
        stages=study.stages,
        rows=tuple(rows),
        outcomes=shares,
        families=families,
        text=study_text(aim.answer, aim.title, shares, families, len(study.seeds)),
        versions=versions(),
        platform=platform_facts(),
        code=code_hash(("sims", "discover", "pipelines")),
    )
    folder = study.folder
    artefacts.write_json(folder / "study.json", content)
    artefacts.write_csv(folder / "study.csv", records_of(content))
    artefacts.write_text(folder / "study.md", study_as_markdown(content))
    return content


def _draw(folder: Path, content: Study) -> None:
    from discover.report.seed_study import LOSSES, losses_figure
    from discover.report.style import save, styled

    try:
        with styled():
            save(losses_figure(content), folder, LOSSES)
    except OSError as error:
        artefacts.unwritable(folder / f"{LOSSES}.png", error)


# ------------------------------------------------------------------------------------------------------- runs


def _run_all(study: SeedStudy, seeds: Sequence[int], progress: Progress, ended: Ended) -> None:
    from discover.parallel import active

    if not seeds:
        progress(1.0, "nothing to run")
    elif active().is_local:
        _run_here(study, seeds, progress, ended)
    else:
        _run_on_cluster(study, seeds, progress, ended)


def _run_on_cluster(study: SeedStudy, seeds: Sequence[int], progress: Progress, ended: Ended) -> None:
    from discover.parallel import ordered_map

    n_done = 0

    def arrived(number: int, answer: tuple[dict[str, bytes], str]) -> None:
        nonlocal n_done
        files, error = answer
        folder = study.folder_of(seeds[number])
        with locked(folder):
            take_files(folder, files)
        ended(seeds[number], error)
        n_done += 1
        progress(n_done / len(seeds), f"{n_done} of {len(seeds)} runs came back from the cluster")

    pieces = [
        (study.config_of(seed).to_dict(), study.stages, files_of(study.folder_of(seed))) for seed in seeds
    ]
    ordered_map(run_away, pieces, arrived)


def _run_here(study: SeedStudy, seeds: Sequence[int], progress: Progress, ended: Ended) -> None:
    """Run seeds in processes of their own, some at a time; none of them outlives this call."""
    waiting, running = deque(seeds), dict[int, _Child]()
    fractions = dict.fromkeys(seeds, 0.0)
    inbox: queue.SimpleQueue[tuple[int, dict[str, Any] | None]] = queue.SimpleQueue()
    try:
        while waiting or running:
            while waiting and len(running) < study.jobs:
                seed = waiting.popleft()
                running[seed] = _Child(study, seed, inbox)
            seed, message = inbox.get()
            if message is None:
                fractions[seed], text = 1.0, f"seed {seed} has ended"
                ended(seed, running.pop(seed).why_it_failed())
            else:
                fractions[seed], text = message["fraction"], f"seed {seed}: {message['message']}"
            progress(sum(fractions.values()) / len(seeds), text)
    finally:
        for child in running.values():
            child.end()


class _Child:
    """The process of one seed.

    Parameters
    ----------
    study : SeedStudy
    seed : int
    inbox : queue
        Gets what it says, with its seed, and None when it has ended.
    """

    def __init__(
        self, study: SeedStudy, seed: int, inbox: queue.SimpleQueue[tuple[int, dict[str, Any] | None]]
    ) -> None:
        from discover.user_tasks import named_files

        request = {
            "config": study.config_of(seed).to_dict(),
            "files": [asdict(file) for file in named_files()],
            "folder": str(study.folder_of(seed)),
            "stages": study.stages,
            "threads": study.threads,
            "parent": os.getpid(),
        }
        self._error = ""
        # Files for what goes in and for the errors: only one stream is left that could make the two wait.
        self._errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 (closed by end)
        with tempfile.TemporaryFile("w+", encoding="utf-8") as question:
            question.write(json.dumps(request) + "\n")
            question.seek(0)
            self._process = subprocess.Popen(
                [sys.executable, "-m", CHILD],
                stdin=question,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                text=True,
                encoding="utf-8",
                errors="replace",
                env=child_environment(),
            )
        self._listener = threading.Thread(target=self._listen, args=(seed, inbox), daemon=True)
        self._listener.start()

    def _listen(self, seed: int, inbox: queue.SimpleQueue[tuple[int, dict[str, Any] | None]]) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with contextlib.suppress(json.JSONDecodeError):  # what a library printed is for nobody
                said = json.loads(line)
                if isinstance(said, dict) and "error" in said:
                    self._error = str(said["error"])
                elif isinstance(said, dict) and "fraction" in said:
                    inbox.put((seed, said))
        inbox.put((seed, None))

    def why_it_failed(self) -> str:
        """Wait for its end and return its error, or its last words; an empty text where all went well."""
        code = self._process.wait()
        self._errors.seek(0)
        words = self._errors.read().strip().splitlines()
        self.end()
        if code == 0:
            return ""
        if code < 0:
            memory = " Mostly the memory was too small: try fewer --jobs." if code == -9 else ""
            return f"Its process was ended by signal {-code}.{memory}"
        return self._error or f"Its process ended with exit code {code}: {words[-1] if words else 'no words'}"

    def end(self) -> None:
        """End the process; what it has done so far is kept in its folder."""
        self._process.kill()
        self._process.wait()
        self._listener.join()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._errors.close()
