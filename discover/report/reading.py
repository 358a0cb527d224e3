"""What the report reads: the artefacts of a finished run, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ConfigDict, Field, ValidationError

from discover.checked import parse_json, read_plain
from discover.errors import ArtefactError, DiscoverError
from discover.fit.result import FitResult
from discover.forms import (
    Ablation,
    Baseline,
    Compared,
    Contest,
    Part,
    Validated,
    Validation,
)
from discover.forms import Comparison as Comparisons
from discover.pareto import ParetoFront
from discover.stored import Count, adapter, complaint

__all__ = ["Manifest", "Run", "read_optional", "read_run"]

MAX_BYTES = 256_000_000
"""An artefact longer than this is refused unread."""

VERSION = 1
"""Version of the artefacts' forms that this program reads."""

_Model = TypeVar("_Model")


class Config(Part):
    """What ran, of ``config.json``."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False, frozen=True)
    task: str
    name: str = ""
    seed: Count = 0
    problems: dict[str, Any] = Field(default_factory=dict)

    @property
    def sections(self) -> dict[str, dict[str, Any]]:
        """Settings of the task and of the stages, by section."""
        stages = {name: value for name, value in (self.model_extra or {}).items() if isinstance(value, dict)}
        return {"problems": self.problems, **stages}


class _Stage(Part):
    seconds: float
    threads: int = 1


class Manifest(Part):
    """What the run was made from."""

    versions: dict[str, str] = Field(default_factory=dict)
    platform: dict[str, Any] = Field(default_factory=dict)
    threads: int = 1
    code: str = ""
    stages: dict[str, _Stage] = Field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """Everything that the report tells of.

    Attributes
    ----------
    folder : Path
    config : Config
    path : FitResult
    front : ParetoFront
    validation : mapping from str to Validated
        By candidate, and by name of known rules.
    confidence : float or None
        Probability that an interval of a measure covers; None where the run does not say.
    margin : float or None
        How much the loss may be above the reference rule's in a fold that is passed.
    comparison : mapping from str to Compared
    ablations : sequence of Ablation
        The complete rule first.
    contests : sequence of Contest
        The chosen rule beside each known rule.
    baseline : Baseline or None
        None where the run does not say.
    manifest : Manifest
    """

    folder: Path
    config: Config
    path: FitResult
    front: ParetoFront
    validation: Mapping[str, Validated]
    confidence: float | None
    margin: float | None
    comparison: Mapping[str, Compared]
    ablations: Sequence[Ablation]
    contests: Sequence[Contest]
    baseline: Baseline | None
    manifest: Manifest


def read_run(folder: Path) -> Run:
    """Read the artefacts of a finished run.

    Raises
    ------
    ArtefactError
        When one is missing, damaged, or written by a later version.
    """
    validation = _read(folder, "validation.json", Validation, "validate")
    comparison = _read(folder, "comparison.json", Comparisons, "compare")
    return Run(
        folder=folder,
        config=_read(folder, "config.json", Config, "run"),
        path=_read(folder, "path.json", FitResult, "fit"),
        front=_front(folder),
        validation=validation.candidates,
        confidence=validation.confidence,
        margin=validation.margin,
        comparison=comparison.candidates,
        ablations=comparison.ablations,
        contests=comparison.contests,
        baseline=comparison.baseline,
        manifest=_read(folder, "manifest.json", Manifest, "run"),
    )


def read_optional(folder: Path, name: str, model: type[_Model], command: str) -> _Model | None:
    """Read an artefact that a run may have; None where there is no such file.

    Raises
    ------
    ArtefactError
        When it is damaged, or written by a later version.
    """
    return _read(folder, name, model, command) if (folder / name).exists() else None


def _front(folder: Path) -> ParetoFront:
    """Read the front; candidates on it come first, the simplest of them before the others."""
    front = _read(folder, "front.json", ParetoFront, "search")
    by_rank = sorted(
        front.candidates, key=lambda one: (not one.on_front, one.complexity, one.heldout_loss, one.id)
    )
    return replace(front, candidates=tuple(by_rank))


def _read(folder: Path, name: str, model: type[_Model], stage: str) -> _Model:
    try:
        data = read_plain(folder / name, MAX_BYTES + 1)
    except FileNotFoundError:
        raise ArtefactError(f"There is no file {folder / name}. {_remedy(folder, stage)}") from None
    except OSError as error:
        raise ArtefactError(f"{folder / name} cannot be read: {error.strerror or error}.") from None
    if len(data) > MAX_BYTES:
        raise ArtefactError(f"{folder / name} is longer than {MAX_BYTES:,} bytes and was not read.")
    try:
        content = parse_json(data)
    except ValueError as error:
        raise _damaged(folder, name, f"it is not valid JSON ({error})", stage) from None
    if isinstance(content, dict):
        _refuse_later_version(folder / name, content.get("schema"))
    try:
        read: _Model = adapter(model).validate_json(data)
    except ValidationError as error:
        raise _damaged(folder, name, complaint(error), stage) from None
    except DiscoverError as error:
        raise _damaged(folder, name, str(error).rstrip("."), stage) from None
    return read


def _refuse_later_version(path: Path, schema: object) -> None:
    version = schema.rpartition("/")[2] if isinstance(schema, str) else schema
    if isinstance(version, str) and version.isdecimal() and len(version) < 10:
        version = int(version)
    if isinstance(version, int) and version > VERSION:
        raise ArtefactError(
            f"{path} has version {version} of its form and this program reads up to version {VERSION}: "
            "it was written by a newer release. Upgrade plasticity-discovery to read it."
        )


def _damaged(folder: Path, name: str, fault: str, stage: str) -> ArtefactError:
    return ArtefactError(f"{folder / name} is truncated or was edited: {fault}. {_remedy(folder, stage)}")


def _remedy(folder: Path, stage: str) -> str:
    return f"Make it anew: `discover {stage} {folder} --fresh`."
