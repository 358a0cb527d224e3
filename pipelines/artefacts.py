"""Files that the stages exchange: written whole or not at all, and checked when they are read.

JSON artefacts have the forms of :mod:`discover.stored`. A file that somebody edited after the run wrote it is
noticed by its checksum in the manifest (:mod:`pipelines.manifest`).
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
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from discover.archives import read_arrays
from discover.checked import open_plain, write_whole
from discover.errors import ArtefactError, RunFailed
from discover.stored import (
    Artefact,
    adapter,
    complaint,
    read_stored,
    schema_of,
    unreadable,
)

__all__ = [
    "checksum",
    "read_arrays",
    "read_stored",
    "remove_leftovers",
    "write_arrays",
    "write_csv",
    "write_json",
    "write_text",
]

_TEMPORARY = re.compile(r"\.[\w.-]+\.[0-9]+\.tmp")


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
        raise unreadable(path, error, remedy) from None
    return digest.hexdigest()


def write_json(path: Path, content: Artefact) -> None:
    """Write a JSON artefact with its schema, whole or not at all.

    Parameters
    ----------
    path : Path
        Where to.
    content : Artefact
        For example a :class:`discover.pareto.ParetoFront`; NumPy numbers are written as numbers.

    Raises
    ------
    ArtefactError
        When the file cannot be written; a file that was there before is left as it was.
    RunFailed
        When the content breaks the form: a fault of this program, and nothing is written.
    """
    form = type(content)
    text = to_text({"schema": schema_of(form.kind, form.version), **content.to_json()})
    try:
        adapter(form).validate_json(text)
    except ValidationError as error:
        raise RunFailed(
            f"{path.name} was not written, because its content breaks its own form ({complaint(error)}). "
            "This is a fault of the program, not of your input: please report it."
        ) from error
    write_text(path, text)


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
    np.savez_compressed(buffer, allow_pickle=False, schema=np.array(schema_of(kind, version)), **arrays)
    write_bytes(path, buffer.getvalue())


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
    try:
        write_whole(path, data)
    except OSError as error:
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


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return  # the folder may be the very thing that cannot be written; the first error tells


def _plain(value: object) -> object:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no place in a JSON artefact")
