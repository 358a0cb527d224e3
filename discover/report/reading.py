"""What the report reads: the artefacts of a finished run, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from discover.checked import parse_json, printable, read_plain
from discover.errors import ArtefactError, DiscoverError, RuleError
from discover.fit import Teacher
from discover.forms import (
    Ablation,
    Baseline,
    Compared,
    Contest,
    Count,
    FrontCandidate,
    Part,
    Validated,
    Validation,
)
from discover.forms import Comparison as Comparisons
from discover.forms import Front as WrittenFront
from discover.forms import RulePath as WrittenPath
from discover.pareto import Simplification, Spent
from discover.rule import Rule
from discover.slots import get_slot, term_exponents

__all__ = ["Candidate", "Front", "Manifest", "RulePath", "Run", "read_optional", "read_run"]

MAX_BYTES = 256_000_000
"""An artefact longer than this is refused unread."""

VERSION = 1
"""Version of the artefacts' forms that this program reads."""

_Model = TypeVar("_Model", bound=BaseModel)


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


class RulePath(WrittenPath):
    """``path.json``, with the teacher as the fit made it."""

    teacher: Any = None  # Teacher or None

    @field_validator("teacher", mode="before")
    @classmethod
    def _read_teacher(cls, data: Any) -> Teacher | None:
        return None if data is None else Teacher.from_json(data)


@dataclass(frozen=True)
class Candidate:
    """One candidate of the front, its expressions read.

    Attributes
    ----------
    id : str
    rule : Rule
    complexity : float
    train_loss, heldout_loss : float
        On the problems that constants were fitted on, and on those that the rule was chosen on.
    heldout_error : float or None
        Standard error of the held-out mean.
    loss, low, high : float
        The loss to quote: on problems that were used for nothing else, with its 95 % interval. A front that
        was written before there were such problems has the held-out loss here, with its standard error.
    provenance : str
        Where it came from, in words.
    on_front : bool
    """

    id: str
    rule: Rule
    complexity: float
    train_loss: float
    heldout_loss: float
    heldout_error: float | None
    loss: float
    low: float
    high: float
    provenance: str
    on_front: bool


@dataclass(frozen=True)
class Front:
    """``front.json``: candidates on the front first, simplest first.

    Attributes
    ----------
    engines : tuple of str
    candidates : tuple of Candidate
    chosen : Candidate
    reason : str
    simplifications : tuple of Simplification
    spent : tuple of Spent
    teacher_loss : float or None
        Of the teacher that engines were to name, on the problems that the rule was chosen on.
    is_tested : bool
        Whether the losses to quote come from problems that were used for nothing else.
    """

    engines: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    chosen: Candidate
    reason: str
    simplifications: tuple[Simplification, ...] = ()
    spent: tuple[Spent, ...] = ()
    teacher_loss: float | None = None
    is_tested: bool = False

    @property
    def loss_name(self) -> str:
        """What the losses to quote are."""
        return "loss on test problems" if self.is_tested else "held-out loss"


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
    path : RulePath
    front : Front
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
    path: RulePath
    front: Front
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
        path=_path(folder),
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


def _path(folder: Path) -> RulePath:
    path = _read(folder, "path.json", RulePath, "fit")
    if path.chosen >= len(path.points):
        raise _damaged(folder, "path.json", f"there is no point {path.chosen}, which it calls chosen", "fit")
    try:
        for coefficients in (*(point.coefficients for point in path.points), path.term_stability):
            for slot, terms in coefficients.items():
                for term in terms:
                    term_exponents(term, get_slot(slot))
    except RuleError as error:
        raise _damaged(folder, "path.json", f"it holds a term that is none ({error})", "fit") from None
    return path


def _front(folder: Path) -> Front:
    raw = _read(folder, "front.json", WrittenFront, "search")
    try:
        candidates = [_candidate(one) for one in raw.candidates]
        steps = [Simplification.from_json(step.model_dump()) for step in raw.simplifications]
        spent = tuple(Spent.from_json(one.model_dump()) for one in raw.spent)
    except RuleError as error:
        raise _damaged(folder, "front.json", f"it holds a rule that is none ({error})", "search") from None
    except ArtefactError as error:
        raise _damaged(folder, "front.json", str(error).rstrip("."), "search") from None
    candidates.sort(key=lambda one: (not one.on_front, one.complexity, one.heldout_loss, one.id))
    chosen = next((one for one in candidates if one.id == raw.chosen), None)
    if chosen is None:
        fault = f"no candidate has the name {raw.chosen[:40]!r}, which it calls chosen"
        raise _damaged(folder, "front.json", fault, "search")
    is_tested = all(one.test is not None for one in raw.candidates)
    return Front(
        tuple(raw.engine),
        tuple(candidates),
        chosen,
        raw.reason,
        tuple(steps),
        spent,
        raw.teacher_loss,
        is_tested,
    )


def _candidate(raw: FrontCandidate) -> Candidate:
    return Candidate(
        raw.id,
        Rule.parse(raw.slots),
        raw.complexity,
        raw.train_loss,
        raw.heldout_loss,
        raw.heldout_error,
        *_loss_to_quote(raw),
        _provenance_text(raw.provenance),
        raw.on_front,
    )


def _loss_to_quote(raw: FrontCandidate) -> tuple[float, float, float]:
    if raw.test is not None:
        return raw.test.mean, raw.test.low, raw.test.high
    error = raw.heldout_error or 0.0
    return raw.heldout_loss, raw.heldout_loss - error, raw.heldout_loss + error


def _provenance_text(provenance: object) -> str:
    """Return in words who proposed a candidate and what refined it."""
    if isinstance(provenance, Mapping):
        known = {"proposed_by": "proposed by", "refined_by": "refined by"}
        parts = [(known.get(str(key), str(key)), _listed(value)) for key, value in provenance.items()]
        return "; ".join(f"{key} {text}" for key, text in parts if text)
    return _listed(provenance)


def _listed(value: object) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(str(item) for item in value)
    return "" if value is None else str(value)


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
        return model.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(printable(str(part), 40) for part in first["loc"]) or "content"
        raise _damaged(folder, name, f"{where}: {first['msg']}", stage) from None
    except DiscoverError as error:
        raise _damaged(folder, name, str(error).rstrip("."), stage) from None


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
