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
from pathlib import Path
from typing import Any, Protocol

from discover.errors import ArtefactError
from discover.forms import ManifestFile, StageRecord
from pipelines import artefacts
from pipelines.sources import code_hash

__all__ = ["Manifest", "digest", "platform_facts", "versions"]

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

    Attributes
    ----------
    config : mapping
        Configuration of the run when the manifest was written; empty where there is none.
    """

    def __init__(self, folder: Path, empty: bool = False) -> None:
        self.folder = folder
        self.path = folder / "manifest.json"
        self.config: Mapping[str, Any] = {}
        self._records: dict[str, StageRecord] = {}
        if self.path.exists() and not empty:
            remedy = "Make it anew: `discover run TOML --fresh`."
            content = artefacts.read_stored(self.path, ManifestFile, remedy)
            self.config, self._records = content.config, dict(content.stages)

    def record(self, stage: str) -> StageRecord | None:
        """Return what a finished stage left, None when it has not finished."""
        return self._records.get(stage)

    def changes(self, stage: str, wanted: StageRecord) -> tuple[str, ...]:
        """Return in what a stage that has finished differs from what is wanted; nothing where it does not.

        Parameters
        ----------
        stage : str
        wanted : StageRecord
            Of the stage if it ran now.

        Returns
        -------
        tuple of str
            Some of ``settings``, ``code``, ``inputs`` and ``outputs``, of which one is missing; ``record``
            alone where the stage has not finished.
        """
        record = self.record(stage)
        if record is None:
            return ("record",)
        parts = ("settings", "code", "inputs")
        changed = [part for part in parts if getattr(record, part) != getattr(wanted, part)]
        if not all((self.folder / file).exists() for file in record.outputs):
            changed.append("outputs")
        return tuple(changed)

    def is_up_to_date(self, stage: str, wanted: StageRecord, remedy: str = "") -> bool:
        """Whether a stage has finished with the same settings, code and inputs, and its files are there.

        Parameters
        ----------
        stage : str
        wanted : StageRecord
            Of the stage if it ran now.
        remedy : str
            As for :meth:`check_outputs`.

        Raises
        ------
        ArtefactError
            When one of its files was changed.
        """
        if self.changes(stage, wanted):
            return False
        self.check_outputs(stage, remedy)
        return True

    def check_outputs(self, stage: str, remedy: str = "") -> None:
        """Make sure that a finished stage's files are still what it wrote.

        Parameters
        ----------
        stage : str
        remedy : str
            How to make them anew; by default with the command of the stage.

        Raises
        ------
        ArtefactError
            When one is missing or was changed.
        """
        remedy = remedy or f"Make it anew: `discover {stage} {self.folder} --fresh`."
        for name, checksum in self._records[stage].outputs.items():
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
        search = records.get("search") or records.get("infer")
        content = ManifestFile(
            config=config.to_dict(),
            seed=config.seed,
            versions=versions(),
            platform=platform_facts(),
            threads=threads,
            engine=search.engine if search is not None else tuple(config.engines),
            code=code_hash(("sims", "discover", "pipelines")),
            stages=records,
        )
        artefacts.write_json(self.path, content)


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
