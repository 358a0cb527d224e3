"""What a run was made from: configuration, seed, versions, platform, threads, engines, code, wall time.

The manifest also decides what is up to date. Each finished stage leaves a record: checksums of the settings
and the code it depends on, of the files it read and of the files it wrote. A stage whose record still fits
has nothing to do; a file that no longer has the checksum in the record was edited after the run.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated, Any, Protocol

from pydantic import AfterValidator, BaseModel, ConfigDict

from discover.errors import ArtefactError
from pipelines import artefacts
from pipelines.sources import code_hash

__all__ = ["Manifest", "ManifestFile", "StageRecord", "digest", "platform_facts", "versions"]

PACKAGES = (
    "plasticity-discovery",
    "numpy",
    "numba",
    "scipy",
    "scikit-learn",
    "sympy",
    "cma",
    "pyoperon",
    "pysr",
    "pydantic",
    "matplotlib",
    "plotly",
)
"""Packages whose versions are written down."""


def _inside(name: str) -> str:
    """Refuse the name of a file that could lie outside of the run's folder."""
    if "\0" in name or PureWindowsPath(name).anchor or ".." in PureWindowsPath(name).parts:
        raise ValueError("a file outside of the run's folder is named")
    return PurePosixPath(name).as_posix()


FileName = Annotated[str, AfterValidator(_inside)]


class RunConfig(Protocol):
    """What the manifest needs to know of a configuration."""

    @property
    def seed(self) -> int:
        """Root of every random number of the run."""
        ...

    @property
    def engines(self) -> tuple[str, ...]:
        """Engines as asked for."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Return the whole configuration as plain data."""
        ...


class StageRecord(BaseModel):
    """What one finished stage was made from and what it made.

    Parameters
    ----------
    settings, code : str
        Checksums of the settings and of the source files that the stage depends on.
    inputs, outputs : dict
        Name of a file in the run's folder -> its checksum.
    seconds : float
        Wall time.
    threads : int
        Number of threads that the kernels used.
    engine : list of str
        Engines that ran; empty for all stages but the search.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")
    settings: str
    code: str
    inputs: dict[FileName, str]
    outputs: dict[FileName, str]
    seconds: float
    threads: int
    engine: list[str] = []


class ManifestFile(artefacts.Artefact):
    """``manifest.json``."""

    kind = "manifest"
    config: dict[str, Any]
    seed: int
    versions: dict[str, str]
    platform: dict[str, Any]
    threads: int
    engine: list[str]
    code: str
    stages: dict[str, StageRecord]


class Manifest:
    """The manifest of one run's folder.

    Parameters
    ----------
    folder : Path
        Folder of the run; the manifest is its ``manifest.json``.
    empty : bool
        Whether to start without the records that are there.

    Raises
    ------
    ArtefactError
        When there is a manifest and it cannot be read.
    """

    def __init__(self, folder: Path, empty: bool = False) -> None:
        self.folder = folder
        self.path = folder / "manifest.json"
        self._records: dict[str, StageRecord] = {}
        if self.path.exists() and not empty:
            content = artefacts.read_json(
                self.path, ManifestFile, "Make it anew: `discover run TOML --fresh`."
            )
            self._records = {name: StageRecord(**record) for name, record in content["stages"].items()}

    def record(self, stage: str) -> StageRecord | None:
        """Return what a finished stage left, None when it has not finished."""
        return self._records.get(stage)

    def check_outputs(self, stage: str) -> None:
        """Make sure that a finished stage's files are still what it wrote.

        Raises
        ------
        ArtefactError
            When one is missing or was changed.
        """
        record = self._records[stage]
        for name, checksum in record.outputs.items():
            remedy = f"Make it anew: `discover {stage} {self.folder} --fresh`."
            if artefacts.checksum(self.folder / name, remedy) != checksum:
                raise ArtefactError(
                    f"{self.folder / name} is not what the {stage} stage wrote: "
                    f"it was truncated or edited since. {remedy}"
                )

    def check_not_overwritten(self, stages: Iterable[str], wanted: Mapping[str, str], remedy: str) -> None:
        """Make sure that a finished run is not replaced because other settings were given.

        Parameters
        ----------
        stages : iterable of str
            Stages of a finished run.
        wanted : mapping
            Stage that is about to run -> checksum of its settings.
        remedy : str
            What to do instead.

        Raises
        ------
        ArtefactError
            When all stages have finished and one of them with other settings.
        """
        if not all(stage in self._records for stage in stages):
            return
        others = [stage for stage, settings in wanted.items() if self._records[stage].settings != settings]
        if others:
            raise ArtefactError(
                f"{self.folder} holds a finished run with other settings ({', '.join(others)}), and is left "
                f"as it is. {remedy}"
            )

    def write(self, config: RunConfig, threads: int, stage: str, record: StageRecord | None) -> None:
        """Write the manifest with a stage's new record, or without one while the stage runs.

        Raises
        ------
        ArtefactError
            When the file cannot be written.
        """
        records = {name: kept for name, kept in self._records.items() if name != stage}
        if record is not None:
            records[stage] = record
        self._records = records
        artefacts.write_json(self.path, ManifestFile, self._content(config, threads))

    def _content(self, config: RunConfig, threads: int) -> dict[str, Any]:
        search = self._records.get("search") or self._records.get("infer")
        return {
            "config": config.to_dict(),
            "seed": config.seed,
            "versions": versions(),
            "platform": platform_facts(),
            "threads": threads,
            "engine": search.engine if search is not None else list(config.engines),
            "code": code_hash(("sims", "discover", "pipelines")),
            "stages": {name: record.model_dump() for name, record in self._records.items()},
        }


def digest(content: Mapping[str, Any]) -> str:
    """Return the checksum of settings, whatever the order of their keys.

    Examples
    --------
    >>> digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1})
    True
    """
    return hashlib.sha256(json.dumps(content, sort_keys=True, allow_nan=False).encode()).hexdigest()


def versions(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Return the installed versions of Python and of some packages; ``missing`` where there is none."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "missing"
    return found


def platform_facts() -> dict[str, Any]:
    """Return system, processor and number of cores."""
    return {
        "system": platform.system(),
        "release": platform.release(),
        "machine": platform.machine(),
        "cores": os.cpu_count() or 1,
    }
