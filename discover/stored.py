"""What a run writes down and reads again: frozen dataclasses, each the one form of its JSON artefact.

Pydantic's `TypeAdapter` reads and writes them: types are strict, numbers finite, fields that a form does not
have are passed over, and those without which older runs were written have a default. A rule is written as the
texts of its slots, which are parsed and never evaluated.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Annotated, Any, ClassVar, Protocol, Self

from annotated_types import Ge
from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    GetPydanticSchema,
    PlainSerializer,
    TypeAdapter,
    ValidationError,
)

from discover.checked import printable
from discover.errors import ArtefactError
from discover.rule import Rule

__all__ = [
    "Artefact",
    "Count",
    "Form",
    "NotNegative",
    "RuleText",
    "Stored",
    "adapter",
    "complaint",
    "left_out",
]

Count = Annotated[int, Ge(0)]
NotNegative = Annotated[float, Ge(0)]
RuleText = Annotated[
    Rule,
    GetPydanticSchema(lambda _, handler: handler(Annotated[dict[str, str], AfterValidator(Rule.parse)])),
    PlainSerializer(Rule.to_dict),
]
"""A rule; in JSON a table with the text of each slot."""

left_out = Field(exclude_if=lambda value: value is None)
"""Marks a field that is not written where it is None."""


class Form(Protocol):
    """What names an artefact in its file: the kind and the version of its form."""

    kind: ClassVar[str]
    version: ClassVar[int]


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
