"""Reading what may have been written by somebody else: bytes of plain files, JSON, and fields of plain data.

Whatever such content holds, the outcome is the content or one error of this package with the place of the
fault. Nothing of it is evaluated, and work and memory are bounded by its length.
"""

from __future__ import annotations

import json
import math
import os
import stat
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from discover.errors import ArtefactError

__all__ = [
    "MAX_DEPTH",
    "Fields",
    "open_plain",
    "parse_json",
    "printable",
    "read_plain",
    "shortened",
    "values_in",
]

MAX_DEPTH = 60
"""Deepest nesting of lists and tables in data that are read."""

_INT64 = 2**63
_LONGEST_NAME = 60

_Part = TypeVar("_Part")


def open_plain(path: Path, flags: int = os.O_RDONLY) -> int:
    """Open a file and return its descriptor; pipes, devices and folders are refused, and none is waited for.

    Parameters
    ----------
    path : Path
    flags : int
        As for :func:`os.open`; with ``O_CREAT`` a file that is missing is made.

    Raises
    ------
    OSError
        If it cannot be opened or is no plain file.
    """
    waits_for_nobody = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags | waits_for_nobody, 0o666)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(0, "it is no plain file", str(path))
    return descriptor


def read_plain(path: Path, n_bytes: int) -> bytes:
    """Return the first bytes of a plain file.

    Raises
    ------
    OSError
        If it cannot be read or is no plain file.
    """
    with os.fdopen(open_plain(path), "rb") as file:
        return file.read(n_bytes)


def parse_json(data: bytes | str) -> Any:
    """Read JSON text that any program may read, print and write again.

    Parameters
    ----------
    data : bytes or str
        UTF-8.

    Raises
    ------
    ValueError
        If it is no JSON, is nested too deeply, or holds a number that is not finite or an integer that 64
        bits cannot hold, or half a character.

    Examples
    --------
    >>> parse_json(b'{"losses": [0.5, 1]}')
    {'losses': [0.5, 1]}
    >>> parse_json(b'[1e999]')
    Traceback (most recent call last):
    ...
    ValueError: a number is not finite
    """
    text = data.decode("utf-8") if isinstance(data, bytes) else data
    try:
        content = json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    _check_plain(content)
    return content


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def values_in(content: object) -> Iterator[object]:
    """Yield all values and names of nested lists and tables.

    Raises
    ------
    ValueError
        If they are nested more than :data:`MAX_DEPTH` levels deep.
    """
    level: list[Any] = [content]
    for _ in range(MAX_DEPTH):
        yield from level
        inner: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                inner += [*value, *value.values()]
            elif isinstance(value, list):
                inner += value
        if not inner:
            return
        level = inner
    raise ValueError("it is nested too deeply")


def _check_plain(content: object) -> None:
    for value in values_in(content):
        if isinstance(value, str):
            if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
                raise ValueError("a text holds half a character")
        elif isinstance(value, float):
            if not math.isfinite(value):
                raise ValueError("a number is not finite")
        elif isinstance(value, int) and abs(value) >= _INT64:
            raise ValueError(f"a whole number has {value.bit_length()} bits, and 63 must hold it")


class Fields:
    """Fields of plain data, each read with the type that it must have.

    Parameters
    ----------
    data : object
        What was read; a table is expected.
    where : str
        What to call it in messages.

    Raises
    ------
    ArtefactError
        By the constructor and all methods: if a field is missing or of another type.

    Examples
    --------
    >>> Fields({"losses": [0.5, "?"]}, "point 3").numbers("losses")
    Traceback (most recent call last):
    ...
    discover.errors.ArtefactError: point 3: losses[1]: a finite number is expected, but it is '?'.
    """

    def __init__(self, data: object, where: str) -> None:
        if not isinstance(data, Mapping):
            raise _unexpected(where, "a table", data)
        self.data = data
        self.where = where

    def text(self, name: str, default: str | None = None) -> str:
        """Return a text."""
        return _text(self._value(name, default), self._place(name))

    def texts(self, name: str, default: Sequence[str] | None = None) -> tuple[str, ...]:
        """Return a list of texts."""
        return self._each(name, _text, default)

    def number(self, name: str, default: float | None = None) -> float:
        """Return a finite number."""
        return _number(self._value(name, default), self._place(name))

    def numbers(self, name: str) -> tuple[float, ...]:
        """Return a list of finite numbers."""
        return self._each(name, _number)

    def count(self, name: str, default: int | None = None, below: int = _INT64) -> int:
        """Return a whole number from 0 to `below`, without `below` itself."""
        value = _count(self._value(name, default), self._place(name))
        if value >= below:
            raise ArtefactError(f"{self._place(name)}: there is no {value}, only {below} are there.")
        return value

    def counts(self, name: str) -> tuple[int, ...]:
        """Return a list of whole numbers that are not negative."""
        return self._each(name, _count)

    def flag(self, name: str) -> bool:
        """Return true or false."""
        value = self._value(name)
        if not isinstance(value, bool):
            raise _unexpected(self._place(name), "true or false", value)
        return value

    def part(self, name: str, default: Mapping[str, Any] | None = None) -> Fields:
        """Return a table's fields."""
        return Fields(self._value(name, default), self._place(name))

    def parts(self, name: str, default: Sequence[Any] | None = None) -> tuple[Fields, ...]:
        """Return the fields of a list of tables."""
        return self._each(name, Fields, default)

    def lists(self, name: str) -> tuple[tuple[float, ...], ...]:
        """Return a list of lists of finite numbers."""
        return self._each(name, lambda value, where: _each(value, where, _number))

    def named_texts(self, name: str) -> dict[str, str]:
        """Return a table of texts."""
        part = self.part(name)
        return {key: part.text(key) for key in part}

    def named_numbers(self, name: str) -> dict[str, float]:
        """Return a table of finite numbers."""
        part = self.part(name)
        return {key: part.number(key) for key in part}

    def named_tables(self, name: str) -> dict[str, dict[str, float]]:
        """Return a table of tables of finite numbers."""
        part = self.part(name)
        return {key: part.named_numbers(key) for key in part}

    def has(self, name: str) -> bool:
        """Say whether there is such a field and it is not None."""
        return self.data.get(name) is not None

    def __iter__(self) -> Iterator[str]:
        for key in self.data:
            yield _text(key, f"{self.where}: a name")

    def _place(self, name: str) -> str:
        shown = printable(name, _LONGEST_NAME)
        return f"{self.where}: {shown}" if ":" not in self.where else f"{self.where}.{shown}"

    def _value(self, name: str, default: object = None) -> object:
        if name not in self.data and default is None:
            raise ArtefactError(f"{self._place(name)}: this is missing.")
        return self.data.get(name, default)

    def _each(
        self, name: str, read: Callable[[Any, str], _Part], default: object = None
    ) -> tuple[_Part, ...]:
        return _each(self._value(name, default), self._place(name), read)


def _each(value: object, where: str, read: Callable[[Any, str], _Part]) -> tuple[_Part, ...]:
    if not isinstance(value, list | tuple):
        raise _unexpected(where, "a list", value)
    return tuple(read(item, f"{where}[{number}]") for number, item in enumerate(value))


def _text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise _unexpected(where, "a text", value)
    return value


def _number(value: object, where: str) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not abs(value) < float("inf"):  # type: ignore[arg-type]
        raise _unexpected(where, "a finite number", value)
    if isinstance(value, int) and abs(value) >= _INT64:
        raise _unexpected(where, "a number of at most 63 bits", value)
    return value  # type: ignore[return-value]


def _count(value: object, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _INT64:
        raise _unexpected(where, "a whole number from 0", value)
    return value


def _unexpected(where: str, expected: str, value: object) -> ArtefactError:
    return ArtefactError(f"{where}: {expected} is expected, but it is {shortened(value)}.")


def printable(text: str, length: int | None = None) -> str:
    r"""Return a text without control characters, which could move the cursor of a terminal.

    Parameters
    ----------
    text : str
    length : int, optional
        Longest text; what is longer ends in ``...``.

    Examples
    --------
    >>> printable("Oja's \x1b[2Jrule"), printable("x" * 100, 10)
    ("Oja's ?[2Jrule", 'xxxxxxx...')
    """
    if length is not None and len(text) > length:
        text = f"{text[: length - 3]}..."
    if text.isprintable():
        return text
    return "".join(
        character if character == "\n" or unicodedata.category(character)[0] != "C" else "?"
        for character in text
    )


def shortened(value: object, length: int = 60) -> str:
    """Return a value for an error text: short, and in one line, whatever it is.

    Examples
    --------
    >>> shortened([1, 2]), shortened({"a": 1}), shortened("x" * 100, 10)
    ('a list', 'a table', "'xxxxxx...")
    """
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, int) and abs(value) >= _INT64:
        return f"a whole number of {value.bit_length()} bits"
    if isinstance(value, str):
        value = value[: length + 1]
    text = repr(value)
    return text if len(text) <= length else f"{text[: length - 3]}..."
