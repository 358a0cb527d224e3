"""Where a run lives: from what a user calls it to its folder and settings, and the lock on the folder.

What a user types may be a rule or anything else, and longer than any name of a file. The functions of
:mod:`os.path` then say that there is no such file, where those of :mod:`pathlib` fail.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from discover.checked import shortened
from discover.errors import ArtefactError, did_you_mean
from pipelines import artefacts
from pipelines.config import PipelineConfig, load_json, load_toml

__all__ = [
    "RESULTS",
    "Run",
    "exists",
    "find_folder",
    "find_run",
    "locked",
    "pipeline_files",
    "refuse_link",
    "run_folder",
    "toml_of",
]

RESULTS = Path("results")
"""Where runs land unless the user says otherwise."""

LOCK_SECONDS = 0.1
"""So long is waited for a folder: `discover runs` may be asking whether somebody is at work in it."""

_WRITTEN_IN_PLACE = (".lock", "events.jsonl", "figures")
"""All else is written beside and renamed, which leaves alone what a link leads to."""

_SHIPPED = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Run:
    """A run: its folder and what it is to do.

    Parameters
    ----------
    folder : Path
        Where its artefacts are or will be.
    config : PipelineConfig
        What to run.
    """

    folder: Path
    config: PipelineConfig


def find_run(name: str, results: Path = RESULTS, toml_first: bool = False) -> Run:
    """Find the run that a user means.

    Parameters
    ----------
    name : str
        A run's folder (``results/oja``), a TOML file, or the name of either (``oja``).
    results : Path
        Folder of the runs.
    toml_first : bool
        Whether a bare name means the TOML file rather than the run that may be there already.

    Raises
    ------
    ArtefactError
        When there is no such run and no such file.
    ConfigError
        When the TOML file has a mistake.
    """
    path = Path(name)
    if path.suffix == ".toml" or os.path.isfile(path):
        return _from_toml(path, results)
    if os.path.isdir(path) and not (toml_first and name in pipeline_files()):
        return Run(_own_folder(path), load_json(path / "config.json"))
    folder, toml = results / name, pipeline_files().get(name)
    found_folder = "/" not in name and os.path.isfile(folder / "config.json")
    if found_folder and not (toml_first and toml is not None):
        return Run(_own_folder(folder), load_json(folder / "config.json"))
    if toml is not None:
        return _from_toml(toml, results)
    known = sorted({*pipeline_files(), *_run_names(results)})
    raise ArtefactError(
        f"There is no run and no pipeline {shortened(name, 200)}.{did_you_mean(name, known)} "
        "A run is a folder such as results/oja, a TOML file such as pipelines/oja.toml, or the name of one "
        f"({', '.join(known) or 'none yet'})."
    )


def find_folder(name: str, results: Path = RESULTS) -> Path:
    """Find the folder of a run that a user wants to look at, without reading its settings where possible.

    Raises
    ------
    ArtefactError
        When there is no such run.
    ConfigError
        When a TOML file was named and has a mistake.
    """
    for folder in (Path(name), results / name):
        if os.path.isfile(folder / "config.json"):
            return folder
    return find_run(name, results).folder


def exists(name: str, results: Path = RESULTS) -> bool:
    """Say whether a user's word means a run or a pipeline rather than a rule."""
    path = Path(name)
    return path.suffix == ".toml" or os.path.exists(path) or name in {*pipeline_files(), *_run_names(results)}


def pipeline_files() -> dict[str, Path]:
    """Return the pipelines by name: those in ./pipelines before those that came with the program."""
    shipped = {path.stem: path for path in sorted(_SHIPPED.glob("*.toml"))}
    own = {path.stem: path for path in sorted(Path("pipelines").glob("*.toml"))}
    return {**shipped, **own}


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a run's folder for this process alone; the folder is made when it is not there.

    Raises
    ------
    ArtefactError
        When another process holds it, it cannot be written, or a file in it that would be written to is a
        symbolic link to somewhere else.
    """
    lock = FileLock(folder / ".lock", timeout=LOCK_SECONDS)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in (folder / name for name in _WRITTEN_IN_PLACE):
            refuse_link(path)
        lock.acquire()
    except Timeout:
        raise ArtefactError(
            f"Another discover process is at work in {folder}. Wait until it has finished, or choose another "
            "folder with --results DIR."
        ) from None
    except OSError as error:
        artefacts.unwritable(folder, error)
    try:
        yield
    finally:
        lock.release()


def refuse_link(path: Path) -> None:
    """See to it that what is to be written is not a symbolic link to somewhere else.

    Raises
    ------
    ArtefactError
        When it is one.
    """
    if os.path.islink(path):
        raise ArtefactError(
            f"{path} is a symbolic link to {os.path.realpath(path)}; a run is not written through a link. "
            "Remove the link, or name the folder that you mean."
        )


def run_folder(results: Path, name: str) -> Path:
    """Return the folder of a run of this name.

    Raises
    ------
    ArtefactError
        When it is a symbolic link.
    """
    return _own_folder(results / name)


def toml_of(name: str) -> Path:
    """Return the TOML file that a user means by a path or a name.

    Raises
    ------
    ArtefactError
        When there is none.
    """
    path = Path(name)
    if path.suffix == ".toml" or os.path.isfile(path):
        return path
    known = pipeline_files()
    if name not in known:
        raise ArtefactError(
            f"There is no pipeline {shortened(name, 200)}.{did_you_mean(name, known)} "
            f"Pipelines: {', '.join(known)}, or a TOML file of your own."
        )
    return known[name]


def _from_toml(path: Path, results: Path) -> Run:
    config = load_toml(path)
    return Run(run_folder(results, config.name), config)


def _own_folder(folder: Path) -> Path:
    refuse_link(folder)
    return folder


def _run_names(results: Path) -> list[str]:
    return sorted(path.parent.name for path in results.glob("*/config.json"))
