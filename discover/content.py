"""The content of values as bytes: what differs in anything that a simulation reads has other bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import PurePath
from typing import Any

import numpy as np

from discover.checked import MAX_DEPTH
from discover.rule import Rule

__all__ = ["Unknown", "contents"]


class Unknown(ValueError):
    """A value whose content cannot be told."""


def contents(value: Any, depth: int = 0) -> Iterator[bytes | memoryview]:
    """Yield the content of plain values, arrays, rules, dataclasses and objects with attributes.

    Each part says its type and length, so that no two values have the same parts.

    Parameters
    ----------
    value : object

    Raises
    ------
    Unknown
        For what has no attributes, such as a function or a random generator, or is nested too deeply.

    Examples
    --------
    >>> b"".join(contents((1, "a")))
    b'tuple 2;int 1;str 1;a'
    """
    kind = type(value).__qualname__
    if depth > MAX_DEPTH:
        raise Unknown(f"{kind} is nested too deeply")
    if isinstance(value, np.generic):
        value, kind = value.item(), type(value.item()).__qualname__
    parts: Any
    if value is None or isinstance(value, bool | int | float | Enum | PurePath):
        yield f"{kind} {value!r};".encode()
        return
    if isinstance(value, str | bytes):
        data = value.encode(errors="surrogatepass") if isinstance(value, str) else value
        yield f"{kind} {len(data)};".encode()
        yield data
        return
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        yield f"ndarray {value.dtype.str} {value.shape};".encode()
        yield np.ascontiguousarray(value).reshape(-1).view(np.uint8).data
        return
    if isinstance(value, Rule):
        parts = (value.to_dict(),)
    elif isinstance(value, Mapping):
        parts = value.items()
    elif isinstance(value, tuple | list):
        parts = value
    elif isinstance(value, set | frozenset):
        parts = sorted(value, key=repr)
    elif is_dataclass(value) and not isinstance(value, type):
        parts = [getattr(value, field.name) for field in fields(value)]
    elif isinstance(value, np.random.SeedSequence):
        parts = (value.entropy, value.spawn_key, value.pool_size, value.n_children_spawned)
    elif hasattr(value, "__dict__") and not callable(value):
        parts = vars(value).items()
    else:
        raise Unknown(f"{kind} has no content that could be told")
    yield f"{kind} {len(parts)};".encode()
    for part in parts:
        yield from contents(part, depth + 1)
