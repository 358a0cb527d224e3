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
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from discover.checked import open_plain, parse_json, read_plain, shortened
from discover.errors import ArtefactError, RunFailed
from discover.forms import Artefact, Comparison, Manifold, Study, Validation
from discover.stored import Form, adapter, complaint

__all__ = [
    "Artefact",
    "Comparison",
    "Manifold",
    "Study",
    "Validation",
    "checksum",
    "read_arrays",
    "read_form",
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

_TEMPORARY = re.compile(r"\.[\w.-]+\.[0-9]+\.tmp")

_Form = TypeVar("_Form", bound=Form)


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


def write_json(path: Path, artefact: type[Form], content: Mapping[str, Any]) -> None:
    """Write a JSON artefact with its schema, whole or not at all.

    Parameters
    ----------
    path : Path
        Where to.
    artefact : type
        Its form, for example :class:`discover.pareto.ParetoFront`.
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
        adapter(artefact).validate_json(text)
    except ValidationError as error:
        raise RunFailed(
            f"{path.name} was not written, because its content breaks its own form ({complaint(error)}). "
            "This is a fault of the program, not of your input: please report it."
        ) from error
    write_text(path, text)


def read_json(path: Path, artefact: type[Form], remedy: str = "") -> dict[str, Any]:
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
    return _checked(path, artefact, remedy)[0]


def read_form(path: Path, artefact: type[_Form], remedy: str = "") -> _Form:
    """Read a JSON artefact as an object of its form.

    Parameters
    ----------
    path, artefact, remedy
        As for :func:`read_json`.

    Raises
    ------
    ArtefactError
        As for :func:`read_json`.
    """
    return _checked(path, artefact, remedy)[1]


def _checked(path: Path, artefact: type[_Form], remedy: str) -> tuple[dict[str, Any], _Form]:
    data = _read_bytes(path, remedy)
    try:
        content = parse_json(data)
    except ValueError as error:
        raise ArtefactError(
            f"{path} is truncated or was edited: it is not valid JSON ({error}). {remedy}".rstrip()
        ) from None
    if not isinstance(content, dict):
        raise ArtefactError(f"{path} was edited: a JSON object is expected. {remedy}".rstrip())
    _check_schema(path, content.pop("schema", None), artefact.kind, artefact.version, remedy)
    try:
        return content, adapter(artefact).validate_json(data)
    except ValidationError as error:
        raise ArtefactError(
            f"{path} was edited or is damaged: {complaint(error)}. {remedy}".rstrip()
        ) from None


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
    from discover.archives import read_archive

    try:
        arrays = read_archive(_read_bytes(path, remedy), MAX_ARRAY_BYTES)
    except ValueError as error:
        raise ArtefactError(f"{path} is truncated or was edited: {error}. {remedy}".rstrip()) from None
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


def _schema(artefact: type[Form]) -> str:
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


def _plain(value: object) -> object:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no place in a JSON artefact")
