"""What a run writes down and reads again: frozen dataclasses, each the one form of its JSON artefact.

Every artefact names its form and version, ``"schema": "plasticity-discovery/path/1"``. Readers accept
versions up to their own and refuse what is truncated, wrongly typed or from the future.

Pydantic's `TypeAdapter` reads and writes them: types are strict, numbers finite, fields that a form does not
have are passed over, and those without which older runs were written have a default. A rule is written as the
texts of its slots, which are parsed and never evaluated.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, TypeVar

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray
from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    GetPydanticSchema,
    PlainSerializer,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    ValidationError,
    model_serializer,
)

from discover.checked import parse_json, printable, read_plain, shortened
from discover.errors import ArtefactError
from discover.rule import Rule

__all__ = [
    "Artefact",
    "Count",
    "FloatTable",
    "Floats",
    "NotNegative",
    "NumberOrNaN",
    "RuleOrNone",
    "RuleText",
    "Stored",
    "adapter",
    "checked_schema",
    "complaint",
    "left_out",
    "read_bytes",
    "read_stored",
    "schema_of",
    "unless_empty",
    "unreadable",
    "written_as",
]

PROJECT = "plasticity-discovery"
MAX_BYTES = 256_000_000
"""A file longer than this is refused unread."""

FloatArray = NDArray[np.float64]


def _read_as(form: Any) -> GetPydanticSchema:
    """Return what says how a value that Pydantic does not know is read."""
    return GetPydanticSchema(lambda _, handler: handler(form))


def _parsed(slots: dict[str, str]) -> Rule | None:
    return Rule.parse(slots) if slots else None


def _as_array(values: list[Any]) -> FloatArray:
    try:
        return np.array(values, dtype=np.float64)
    except ValueError:
        raise ValueError("its rows are not of one length") from None


def _as_number(value: float | None) -> float:
    return float("nan") if value is None else value


Count = Annotated[int, Ge(0)]
NotNegative = Annotated[float, Ge(0)]

RuleText = Annotated[
    Rule,
    _read_as(Annotated[dict[str, str], AfterValidator(Rule.parse)]),
    PlainSerializer(Rule.to_dict),
]
"""A rule; in JSON a table with the text of each slot."""

RuleOrNone = Annotated[
    Rule | None,
    _read_as(Annotated[dict[str, str], AfterValidator(_parsed)]),
    PlainSerializer(lambda rule: {} if rule is None else rule.to_dict()),
]
"""A rule, or None, which is an empty table in JSON."""

NumberOrNaN = Annotated[
    float,
    _read_as(Annotated[float | None, AfterValidator(_as_number)]),
    PlainSerializer(lambda value: value if np.isfinite(value) else None),
]
"""A number that may not be one, which is None in JSON."""

_listed = PlainSerializer(lambda array: np.asarray(array).tolist())

Floats = Annotated[FloatArray, _read_as(Annotated[list[float], AfterValidator(_as_array)]), _listed]
"""An array of numbers; in JSON a list."""

FloatTable = Annotated[FloatArray, _read_as(Annotated[list[list[float]], AfterValidator(_as_array)]), _listed]
"""An array with two axes; in JSON a list of its rows."""

left_out = Field(exclude_if=lambda value: value is None)
"""Marks a field that is not written where it is None."""

unless_empty = Field(exclude_if=lambda value: not value)
"""Marks a text or a list that is not written where it is empty."""


def written_as(*names: str) -> Any:
    """Return the serializer of a form whose file has these fields alone, in this order."""

    def written(self: Any, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        table = plain(self)
        return {name: table[name] for name in names}

    return model_serializer(mode="wrap")(written)


adapter: Callable[[Any], TypeAdapter[Any]] = cache(TypeAdapter)
"""Returns what reads and writes a form."""


def complaint(error: ValidationError) -> str:
    """Return in one line where content breaks its form, and how."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(printable(str(part), 40) for part in first["loc"]) or "content"
    text = first["msg"].removeprefix("Value error, ").partition("\n")[0]  # no caret below a rule's text
    return f"{where}: {text[0].lower()}{text[1:]}".rstrip(".")


class Stored:
    """A part of an artefact."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(
        strict=True, allow_inf_nan=False, extra="ignore", frozen=True
    )

    def to_json(self) -> dict[str, Any]:
        """Return plain data; NumPy's numbers are left as they are."""
        plain: dict[str, Any] = adapter(type(self)).dump_python(self, by_alias=True, warnings=False)
        return plain

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_json` gave.

        Raises
        ------
        ArtefactError
            If something is missing, of another type, or no rule, or does not fit the rest.
        """
        try:
            read: Self = adapter(cls).validate_json(json.dumps(content))
        except ValidationError as error:
            raise ArtefactError(f"{complaint(error)}.") from None
        except (ValueError, RecursionError) as error:
            raise ArtefactError(f"This is no JSON: {error}.") from None
        return read


class Artefact(Stored):
    """A whole artefact: it has a kind and a version besides."""

    kind: ClassVar[str]
    version: ClassVar[int] = 1


_Stored = TypeVar("_Stored", bound=Stored)


def read_stored(path: Path, form: type[_Stored], remedy: str = "") -> _Stored:
    """Read a JSON file and check its form; that of an artefact has to be named in its ``schema``.

    Parameters
    ----------
    path : Path
        Where from.
    form : type
        The form that it must have, for example :class:`discover.pareto.ParetoFront`.
    remedy : str
        A sentence for error texts: how to make the file anew.

    Raises
    ------
    ArtefactError
        When the file is missing, unreadable, truncated, of another kind or form, or from the future.
    """
    data = read_bytes(path, remedy)
    try:
        content = parse_json(data)
    except ValueError as error:
        raise ArtefactError(
            f"{path} is truncated or was edited: it is not valid JSON ({error}). {remedy}".rstrip()
        ) from None
    if not isinstance(content, dict):
        raise ArtefactError(f"{path} was edited: a JSON object is expected. {remedy}".rstrip())
    if issubclass(form, Artefact):
        checked_schema(path, content.get("schema"), form.kind, form.version, remedy)
    try:
        read: _Stored = adapter(form).validate_json(data)
    except ValidationError as error:
        raise ArtefactError(
            f"{path} was edited or is damaged: {complaint(error)}. {remedy}".rstrip()
        ) from None
    return read


def read_bytes(path: Path, remedy: str = "") -> bytes:
    """Return the content of a file that is not too long.

    Raises
    ------
    ArtefactError
        When it is missing, cannot be read, or is longer than :data:`MAX_BYTES`.
    """
    try:
        data = read_plain(path, MAX_BYTES + 1)
    except OSError as error:
        raise unreadable(path, error, remedy) from None
    if len(data) > MAX_BYTES:
        raise ArtefactError(f"{path} is longer than {MAX_BYTES:,} bytes and was not read. {remedy}".rstrip())
    return data


def unreadable(path: Path, error: OSError, remedy: str = "") -> ArtefactError:
    """Return the error of a file that could not be read."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return ArtefactError(f"There is no file {path}. {remedy}".rstrip())
    return ArtefactError(f"{path} cannot be read: {error.strerror or error}. {remedy}".rstrip())


def schema_of(kind: str, version: int) -> str:
    """Return how an artefact names its form, such as ``plasticity-discovery/front/1``."""
    return f"{PROJECT}/{kind}/{version}"


def checked_schema(path: Path, schema: object, kind: str, version: int, remedy: str = "") -> None:
    """Make sure that an artefact is of a kind, and of no later version than this program reads.

    Raises
    ------
    ArtefactError
        When it is not.
    """
    parts = schema.split("/") if isinstance(schema, str) else []
    if len(parts) != 3 or parts[:2] != [PROJECT, kind] or not (parts[2].isdecimal() and len(parts[2]) < 10):
        raise ArtefactError(
            f"{path}: the schema {schema_of(kind, version)!r} is expected, but it is "
            f"{shortened(schema, 80)}. {remedy}".rstrip()
        )
    if int(parts[2]) > version:
        raise ArtefactError(
            f"{path} has version {parts[2]} of its form and this program reads up to version {version}: "
            "it was written by a newer release. Upgrade plasticity-discovery to read it."
        )
