"""What the report reads: the artefacts of a finished run, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

from annotated_types import Le
from pydantic import model_validator

from discover.fit.result import FitResult
from discover.forms import Comparison, ManifestFile, Validation
from discover.pareto import ParetoFront
from discover.stored import Count, Stored, read_stored

__all__ = ["Config", "Run", "read_part", "read_run"]

_Stored = TypeVar("_Stored", bound=Stored)


@dataclass(frozen=True)
class Config(Stored):
    """What ran, of ``config.json``.

    Attributes
    ----------
    task, name : str
    seed : int
    sections : mapping from str to mapping
        Settings of the task's problems and of the stages, by section.
    """

    task: str
    name: str = ""
    seed: Count = 0
    schema: Annotated[int, Le(1)] = 1
    sections: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _gathered(cls, table: Any) -> Any:
        """In JSON the sections stand beside the rest."""
        if not isinstance(table, dict):
            return table
        stages = {name: value for name, value in table.items() if isinstance(value, dict)}
        return {**table, "sections": {"problems": table.get("problems", {}), **stages}}


@dataclass(frozen=True)
class Run:
    """Everything that the report tells of.

    Attributes
    ----------
    folder : Path
    config : Config
    path : FitResult
    front : ParetoFront
        Candidates on it come first, the simplest of them before the others.
    validation : Validation
    comparison : Comparison
    manifest : ManifestFile
    """

    folder: Path
    config: Config
    path: FitResult
    front: ParetoFront
    validation: Validation
    comparison: Comparison
    manifest: ManifestFile


def read_run(folder: Path) -> Run:
    """Read the artefacts of a finished run.

    Raises
    ------
    ArtefactError
        When one is missing, damaged, or written by a later version.
    """
    front = read_part(folder, "front.json", ParetoFront, "search")
    by_rank = sorted(
        front.candidates, key=lambda one: (not one.on_front, one.complexity, one.heldout_loss, one.id)
    )
    return Run(
        folder=folder,
        config=read_part(folder, "config.json", Config, "run"),
        path=read_part(folder, "path.json", FitResult, "fit"),
        front=replace(front, candidates=tuple(by_rank)),
        validation=read_part(folder, "validation.json", Validation, "validate"),
        comparison=read_part(folder, "comparison.json", Comparison, "compare"),
        manifest=read_part(folder, "manifest.json", ManifestFile, "run"),
    )


def read_part(folder: Path, name: str, form: type[_Stored], stage: str) -> _Stored:
    """Read a file of a run that a stage makes.

    Raises
    ------
    ArtefactError
        When it is missing, damaged, or written by a later version.
    """
    return read_stored(folder / name, form, f"Make it anew: `discover {stage} {folder} --fresh`.")
