"""Files that the stages exchange: written whole or not at all, and checked when they are read.

Every JSON artefact names its form and version, ``"schema": "plasticity-discovery/path/1"``. Readers accept
versions up to their own and refuse what is truncated, wrongly typed or from the future; a file that somebody
edited after the run wrote it is noticed by its checksum in the manifest (:mod:`pipelines.manifest`).
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import lzma
import os
import re
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NoReturn, Self, TypeVar

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from discover.checked import open_plain, parse_json, printable, read_plain, shortened
from discover.errors import ArtefactError, DiscoverError, RunFailed

__all__ = [
    "Comparison",
    "Front",
    "Manifold",
    "RulePath",
    "Validation",
    "checksum",
    "read_arrays",
    "read_as",
    "read_json",
    "remove_leftovers",
    "write_arrays",
    "write_csv",
    "write_json",
    "write_text",
]

PROJECT = "plasticity-discovery"
MAX_BYTES = 256_000_000
"""An artefact longer than this is refused unread."""
MAX_ARRAY_BYTES = 4_000_000_000
"""Arrays that would unpack to more than this are refused."""

_DAMAGED = (
    ValueError,
    OSError,
    EOFError,
    LookupError,
    TypeError,
    AttributeError,
    MemoryError,
    NotImplementedError,
    RuntimeError,
    ArithmeticError,
    SyntaxError,
    lzma.LZMAError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What zipfile and NumPy raise on a damaged archive."""

_TEMPORARY = re.compile(r"\.[\w.-]+\.[0-9]+\.tmp")

Coefficients = dict[str, dict[str, float]]
Count = Annotated[int, Ge(0)]
Error = Annotated[float, Ge(0)]

_Read = TypeVar("_Read")


class Artefact(BaseModel):
    """What the JSON artefacts have in common: a kind, a version, and numbers that are finite."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False, frozen=True)
    kind: ClassVar[str]
    version: ClassVar[int] = 1


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False, frozen=True)


class PathPoint(_Part):
    """One rule of the path along the L1 penalty."""

    penalty: float
    coefficients: Coefficients
    n_terms: Count
    train_loss: float
    heldout_loss: float
    heldout_error: Error = 0.0


class Spline(_Part):
    """Coefficients of the B-splines for one pair of powers."""

    pre: Count
    weight: Count
    coefficients: list[float]


class TeacherPoint(_Part):
    """One rule without a formula: its splines between `low` and `high`, and its losses."""

    penalty: float
    low: float
    high: float
    blocks: list[Spline]
    n_blocks: Count
    train_loss: float
    heldout_loss: float
    heldout_error: float
    restart: Count


class TeacherCurves(_Part):
    """Rules without a formula from all restarts, the chosen one, and why."""

    slot: str
    points: list[TeacherPoint]
    chosen: Count
    reason: str
    choices: list[Count]


class Restart(_Part):
    """What one restart chose."""

    coefficients: Coefficients = {}
class TraceSpline(_Part):
    """Coefficients of the B-splines of a trace for one slot and power of the weight."""

    slot: str
    weight: Count
    coefficients: list[float]


class SpikeTeacherPoint(_Part):
    """One rule of spiking synapses without a formula: its splines, their ranges, and its losses."""

    penalty: float
    tau_pre: float
    tau_post: float
    ranges: dict[str, list[float]]
    blocks: list[TraceSpline]
    n_blocks: Count
    train_loss: float
    heldout_loss: float
    heldout_error: float
    restart: Count


class SpikeTeacherCurves(_Part):
    """Rules of spiking synapses without a formula from all restarts, the chosen one, and why."""

    kind: Literal["spiking"]
    points: list[SpikeTeacherPoint]
    chosen: Count
    reason: str
    choices: list[Count]


class RulePath(Artefact):
    """``path.json``: rules along the L1 penalty, the chosen one, and why."""

    kind = "path"
    task: str
    points: list[PathPoint]
    chosen: Count
    reason: str
    restarts: list[Restart]
    term_stability: Coefficients
    teacher: TeacherCurves | SpikeTeacherCurves | None = None

    @model_validator(mode="after")
    def _chosen_is_there(self) -> Self:
        if self.chosen >= len(self.points):
            raise ValueError(f"there is no point {self.chosen}, which it calls chosen")
        return self


class FrontCandidate(_Part):
    """One candidate: its expressions by slot, its complexity and losses, and where it came from."""

    id: str
    slots: dict[str, str]
    complexity: Count
    train_loss: float
    heldout_loss: float
    heldout_error: Error = 0.0
    provenance: Any
    on_front: bool


class SimplerRule(_Part):
    """A step to a simpler rule: the held-out loss that it costs, and whether that is within its error."""

    what: str
    before: dict[str, str]
    after: dict[str, str]
    cost: float
    error: float
    accepted: bool


class SpentSimulations(_Part):
    """What one way to search reached for how many simulated problems."""

    way: str
    n_simulated: Count
    heldout_loss: float
    trace: list[list[float]]


class Front(Artefact):
    """``front.json``: candidates of the symbolic search, the chosen one, and why."""

    kind = "front"
    task: str
    engine: list[str]
    candidates: list[FrontCandidate]
    chosen: str
    reason: str
    simplifications: list[SimplerRule] = []
    spent: list[SpentSimulations] = []

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        names = [one.id for one in self.candidates]
        if len(set(names)) < len(names):
            raise ValueError("two candidates have one name")
        if self.chosen not in names:
            raise ValueError(f"no candidate has the name {self.chosen[:40]!r}, which it calls chosen")
        return self


class Metric(_Part):
    """Mean of a measure with its confidence interval; None where a fold does not define it."""

    mean: float | None
    low: float | None
    high: float | None


class Fold(_Part):
    """One held-out condition."""

    name: str
    metrics: dict[str, Metric]
    passed: bool


class Validated(_Part):
    """A candidate's folds."""

    folds: list[Fold]
    passed: bool


class Validation(Artefact):
    """``validation.json``: candidate by fold by measure."""

    kind = "validation"
    candidates: dict[str, Validated]


class Distances(_Part):
    """Three distances to a known rule; None where one is not defined."""

    coefficient: float | None
    functional: float | None
    behavioural: float | None


class Compared(_Part):
    """A candidate beside the known rules."""

    nearest: str | None
    verdict: str
    distances: dict[str, Distances]


class Ablation(_Part):
    """The chosen rule without one of its parts; the complete rule is the first."""

    name: str
    slots: dict[str, str]
    metrics: dict[str, Metric]


class Standing(_Part):
    """One measure of a known rule, and the chosen rule's minus it."""

    known: Metric
    difference: Metric
    verdict: Literal["better", "worse", "equal"]


class Contest(_Part):
    """The chosen rule beside one known rule, measure by measure."""

    name: str
    speed: float
    measures: dict[str, Standing]


class BaselineRow(_Part):
    """The baseline, the best polynomial or the chosen rule, with its measures."""

    name: str
    slots: dict[str, str]
    metrics: dict[str, Metric]


class Baseline(_Part):
    """The found rules beside a rule that knows nothing of the inputs."""

    rows: list[BaselineRow]
    differences: dict[str, Metric]
    beaten_by: list[str]
    text: str


class Comparison(Artefact):
    """``comparison.json``: candidate by known rule; ablations of the chosen one, and what it is better at."""

    kind = "comparison"
    candidates: dict[str, Compared]
    ablations: list[Ablation] = []
    contests: list[Contest] = []
    baseline: Baseline | None = None


class LinearParameters(_Part):
    """Parameters of a rule of the published family, time constants in ms."""

    alpha: float
    beta: float
    gamma: float
    kappa: float
    tau_pre: float
    tau_post: float


class Solution(_Part):
    """A rule of the published family, in simulation and in theory; None where there is no rate."""

    parameters: LinearParameters
    simulated_hz: float
    predicted_hz: float | None
    corrected_hz: float | None
    converged: bool


class Manifold(Artefact):
    """``manifold.json``: rules that many restarts found beside those that a mean field predicts."""

    kind = "manifold"
    task: str
    target_hz: float
    pre_hz: float
    tolerance: float
    searched: list[Solution]
    rate_only: list[Solution]
    surface: list[Solution]
    directions: list[dict[str, Any]]
    answers: dict[str, str]


def checksum(path: Path, remedy: str = "") -> str:
    """Return the SHA-256 of a file, as hexadecimal digits.

    Raises
    ------
    ArtefactError
        When the file is missing or cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with os.fdopen(open_plain(path), "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise _unreadable(path, error, remedy) from None
    return digest.hexdigest()


def write_json(path: Path, artefact: type[Artefact], content: Mapping[str, Any]) -> None:
    """Write a JSON artefact with its schema, whole or not at all.

    Parameters
    ----------
    path : Path
        Where to.
    artefact : type
        Its form, for example :class:`Front`.
    content : mapping
        Everything but ``schema``; NumPy numbers and arrays are written as numbers and lists.

    Raises
    ------
    ArtefactError
        When the file cannot be written; a file that was there before is left as it was.
    RunFailed
        When the content breaks the form: a fault of this program, and nothing is written.
    """
    text = to_text({"schema": _schema(artefact), **content})
    try:
        artefact.model_validate(json.loads(text))
    except ValidationError as error:
        raise RunFailed(
            f"{path.name} was not written, because its content breaks its own form ({_complaint(error)}). "
            "This is a fault of the program, not of your input: please report it."
        ) from error
    write_text(path, text)


def read_json(path: Path, artefact: type[Artefact], remedy: str = "") -> dict[str, Any]:
    """Read a JSON artefact and check its form.

    Parameters
    ----------
    path : Path
        Where from.
    artefact : type
        The form that it must have.
    remedy : str
        A sentence for error texts: how to make the file anew.

    Returns
    -------
    dict
        The content without ``schema``.

    Raises
    ------
    ArtefactError
        When the file is missing, unreadable, truncated, of another kind or form, or from the future.
    """
    try:
        content = parse_json(_read_bytes(path, remedy))
    except ValueError as error:
        raise ArtefactError(
            f"{path} is truncated or was edited: it is not valid JSON ({error}). {remedy}".rstrip()
        ) from None
    if not isinstance(content, dict):
        raise ArtefactError(f"{path} was edited: a JSON object is expected. {remedy}".rstrip())
    _check_schema(path, content.pop("schema", None), artefact.kind, artefact.version, remedy)
    try:
        artefact.model_validate(content)
    except ValidationError as error:
        raise ArtefactError(
            f"{path} was edited or is damaged: {_complaint(error)}. {remedy}".rstrip()
        ) from None
    return content


def read_as(
    path: Path,
    artefact: type[Artefact],
    from_json: Callable[[Mapping[str, Any]], _Read],
    remedy: str = "",
) -> _Read:
    """Read a JSON artefact and make of it what it describes.

    Parameters
    ----------
    path, artefact, remedy
        As for :func:`read_json`.
    from_json : callable
        Makes it, such as ``ParetoFront.from_json``; its errors are told with the name of the file.

    Raises
    ------
    ArtefactError
        When the file cannot be read or describes something that cannot be.
    """
    content = read_json(path, artefact, remedy)
    try:
        return from_json(content)
    except DiscoverError as error:
        raise ArtefactError(f"{path} was edited or is damaged: {error} {remedy}".rstrip()) from None


def to_text(content: Mapping[str, Any]) -> str:
    r"""Return JSON text, the same to the byte for the same content.

    Examples
    --------
    >>> to_text({"losses": np.array([0.5, 0.25])})
    '{\n "losses": [\n  0.5,\n  0.25\n ]\n}\n'
    """
    return json.dumps(content, indent=1, allow_nan=False, default=_plain) + "\n"


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a table; its columns are the keys of all rows in the order of their first appearance.

    Raises
    ------
    ArtefactError
        When the file cannot be written.
    """
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def write_arrays(path: Path, kind: str, arrays: Mapping[str, NDArray[Any]], version: int = 1) -> None:
    """Write named arrays as ``.npz`` with their schema; equal arrays make equal bytes.

    Raises
    ------
    ArtefactError
        When the file cannot be written.
    """
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, schema=np.array(f"{PROJECT}/{kind}/{version}"), **arrays)
    write_bytes(path, buffer.getvalue())


def read_arrays(path: Path, kind: str, version: int = 1, remedy: str = "") -> dict[str, NDArray[Any]]:
    """Read named arrays; objects (pickles) are never loaded.

    Raises
    ------
    ArtefactError
        When the file is missing, unreadable, truncated, of another kind, or from the future.
    """
    data = io.BytesIO(_read_bytes(path, remedy))
    try:
        _check_size(data)
        with np.load(data, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except _DAMAGED as error:
        fault = f"it is no archive of plain NumPy arrays ({error})"
        raise ArtefactError(f"{path} is truncated or was edited: {fault}. {remedy}".rstrip()) from None
    schema = arrays.pop("schema", None)
    _check_schema(path, str(schema) if schema is not None else None, kind, version, remedy)
    return arrays


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8, whole or not at all.

    Raises
    ------
    ArtefactError
        When the file cannot be written; a file that was there before is left as it was.
    """
    write_bytes(path, text.encode(errors="replace"))


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file by way of a temporary one beside it, so that no reader ever sees half of it.

    Raises
    ------
    ArtefactError
        When the folder or the file cannot be written; a file that was there before is left as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(
            temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0), 0o666
        )
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        _remove(temporary)
        unwritable(path, error)


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files that a process left which was killed while it wrote.

    Parameters
    ----------
    folder : Path
        Folder of a run; it must be locked, or files that are being written could go.
    """
    for place in (folder, folder / "figures"):
        for path in place.glob(".*.tmp"):
            if _TEMPORARY.fullmatch(path.name):
                _remove(path)


def unwritable(path: Path, error: OSError) -> NoReturn:
    """Raise the error of a file that could not be written.

    Raises
    ------
    ArtefactError
        Always.
    """
    raise ArtefactError(
        f"{path} cannot be written: {error.strerror or error}. Earlier results are as they were. "
        "Free some space or see to the permissions of the folder, or choose another with --results DIR."
    ) from error


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":
        return  # Windows cannot open a folder
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return  # the folder may be the very thing that cannot be written; the first error tells


def _read_bytes(path: Path, remedy: str) -> bytes:
    try:
        data = read_plain(path, MAX_BYTES + 1)
    except OSError as error:
        raise _unreadable(path, error, remedy) from None
    if len(data) > MAX_BYTES:
        raise ArtefactError(f"{path} is longer than {MAX_BYTES:,} bytes and was not read. {remedy}".rstrip())
    return data


def _unreadable(path: Path, error: OSError, remedy: str = "") -> ArtefactError:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return ArtefactError(f"There is no file {path}. {remedy}".rstrip())
    return ArtefactError(f"{path} cannot be read: {error.strerror or error}. {remedy}".rstrip())


def _check_size(data: io.BytesIO) -> None:
    with zipfile.ZipFile(data) as archive:
        size = sum(member.file_size for member in archive.infolist())
    if size > MAX_ARRAY_BYTES:
        raise ValueError(f"it would unpack to {size:,} bytes")
    data.seek(0)


def _schema(artefact: type[Artefact]) -> str:
    return f"{PROJECT}/{artefact.kind}/{artefact.version}"


def _check_schema(path: Path, schema: object, kind: str, version: int, remedy: str) -> None:
    expected = f"{PROJECT}/{kind}/{version}"
    parts = schema.split("/") if isinstance(schema, str) else []
    if len(parts) != 3 or parts[:2] != [PROJECT, kind] or not (parts[2].isdecimal() and len(parts[2]) < 10):
        found = shortened(schema, 80)
        raise ArtefactError(
            f"{path}: the schema {expected!r} is expected, but it is {found}. {remedy}".rstrip()
        )
    if int(parts[2]) > version:
        raise ArtefactError(
            f"{path} has version {parts[2]} of its form and this program reads up to version {version}: "
            "it was written by a newer release. Upgrade plasticity-discovery to read it."
        )


def _complaint(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    where = ".".join(printable(str(part), 40) for part in first["loc"]) or "content"
    text = first["msg"].removeprefix("Value error, ")
    return f"{where}: {text[0].lower()}{text[1:]}"


def _plain(value: object) -> object:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no place in a JSON artefact")
