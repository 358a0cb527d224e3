"""One seed of a study: a whole run in a process of its own, ``python -m pipelines.seed_run``, or on a worker.

Request
    One line of JSON: ``config`` (of the run, as in ``config.json``), ``files`` (of tasks that the user named:
    name, path and checksum), ``folder``, ``stages``, ``threads``, ``parent`` (the process that this one does
    not outlive).
Answer
    Lines of JSON: ``{"fraction": 0.25, "message": "fit: ..."}``, and ``{"error": "..."}`` where it fails.
"""

from __future__ import annotations

import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from discover.child_process import end_with
from discover.errors import ArtefactError, DiscoverError
from pipelines.threads import use_threads

__all__ = ["files_of", "main", "run_away", "run_seed", "take_files"]

TELL_SECONDS = 0.5
"""A run says how far it is at most this often."""

Told = Callable[[float, str], None]
Files = dict[str, bytes]


@dataclass
class _Told:
    """Shows the stages of one run as a fraction of all of them.

    Parameters
    ----------
    stages : sequence of str
    tell : callable
        Is given the fraction and a message.
    """

    stages: Sequence[str]
    tell: Told
    _last: float = field(default=0.0, init=False)

    def start(self, stage: str) -> None:
        """Begin a stage."""
        self._say(stage, 0.0, "started")

    def update(self, stage: str, fraction: float, message: str, left: float | None) -> None:
        """Say how far a stage is, unless that was said just now."""
        if time.monotonic() - self._last >= TELL_SECONDS:
            self._say(stage, fraction, message)

    def end(self, stage: str, text: str) -> None:
        """Finish a stage."""
        self._say(stage, 1.0, text)

    def note(self, text: str) -> None:
        """Nobody reads notes of a single seed; they are in its ``events.jsonl``."""

    def close(self) -> None:
        """Nothing is left open."""

    def _say(self, stage: str, fraction: float, message: str) -> None:
        self._last = time.monotonic()
        self.tell((self.stages.index(stage) + fraction) / len(self.stages), f"{stage}: {message}")


def run_seed(table: Mapping[str, Any], folder: Path, stages: Sequence[str], threads: int, tell: Told) -> None:
    """Run the stages of one seed, those that are not up to date.

    Parameters
    ----------
    table : mapping
        Content of the run's ``config.json``.
    folder : Path
    stages : sequence of str
    threads : int
        Number of threads of the kernels, for the manifest.
    tell : callable
        Is given the fraction of the run that is done, and a message.

    Raises
    ------
    DiscoverError
        When a stage fails.
    """
    from pipelines.config import from_table
    from pipelines.events import EventLog, Reporter
    from pipelines.runs import locked
    from pipelines.stages import run_stages

    config = from_table(table, source="the pipeline of the study", default_name="")
    with locked(folder):
        reporter = Reporter(_Told(stages, tell), EventLog(folder / "events.jsonl"))
        try:
            run_stages(folder, config, stages, reporter, threads, update=True)
        finally:
            reporter.close()


def run_away(piece: tuple[Mapping[str, Any], Sequence[str], Files]) -> tuple[Files, str]:
    """Run one seed on a worker of a cluster.

    Parameters
    ----------
    piece : tuple
        Content of ``config.json``, stages, and the files that the run has already.

    Returns
    -------
    files : dict from str to bytes
        All files of the run.
    error : str
        Why it failed; empty where it did not.
    """
    import numba

    table, stages, files = piece
    with tempfile.TemporaryDirectory() as place:
        folder, error = Path(place) / "run", ""
        folder.mkdir()
        take_files(folder, files)
        try:
            run_seed(table, folder, stages, int(numba.get_num_threads()), lambda *_: None)
        except DiscoverError as fault:
            error = str(fault)
        except Exception as fault:  # a fault of one seed is a row of the study and not its end
            error = f"{type(fault).__name__}: {fault}"
        return files_of(folder), error


def files_of(folder: Path) -> Files:
    """Return the files of a run by their names, whatever it needs to go on elsewhere."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink() and path.name != ".lock" and path.suffix != ".tmp"
    }


def take_files(folder: Path, files: Files) -> None:
    """Make a run's folder hold these files and no other; the manifest is written last.

    Raises
    ------
    ArtefactError
        When a name leads out of the folder, or a file cannot be written.
    """
    from pipelines.artefacts import unwritable, write_bytes

    for name in files:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise ArtefactError(f"A worker sent the file {name[:80]!r}, which lies outside of {folder}.")
    for name in sorted(files, key=lambda one: one == "manifest.json"):
        write_bytes(folder / name, files[name])
    for name in files_of(folder).keys() - files.keys():
        try:
            (folder / name).unlink()
        except OSError as error:
            unwritable(folder / name, error)


def main() -> None:
    """Read a request from standard input, run the seed, say how it goes on standard output."""
    request = json.loads(sys.stdin.readline())
    # Ctrl-C in a terminal reaches both processes; it is for the parent to end this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with(request["parent"])
    threads = use_threads(request["threads"])

    def answer(**content: object) -> None:
        print(json.dumps(content), flush=True)

    from discover.user_tasks import NamedFile, load_named

    try:
        for file in request["files"]:
            load_named(NamedFile(**file))
        run_seed(
            request["config"],
            Path(request["folder"]),
            request["stages"],
            threads,
            lambda fraction, message: answer(fraction=fraction, message=message),
        )
    except DiscoverError as error:
        answer(error=str(error))
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
