"""Files and JSON that may have been written by somebody else, and files that are written whole or not at all.

Whatever such content holds, the outcome is the content or one error of this package with the place of the
fault. Nothing of it is evaluated, and work and memory are bounded by its length.
"""

from __future__ import annotations

import json
import math
import os
import stat
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn, TypeVar

__all__ = [
    "MAX_DEPTH",
    "open_plain",
    "parse_json",
    "printable",
    "read_plain",
    "shortened",
    "values_in",
    "write_whole",
]

MAX_DEPTH = 60
"""Deepest nesting of lists and tables in data that are read."""

_INT64 = 2**63

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


def write_whole(path: Path, data: bytes) -> None:
    """Write a file by way of a temporary one beside it, so that no reader ever sees half of it.

    Raises
    ------
    OSError
        When the folder or the file cannot be written; a file that was there before is left as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(temporary, flags, 0o666), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError:
        with suppress(OSError):  # the folder may be the very thing that cannot be written
            temporary.unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":
        return  # Windows cannot open a folder
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
