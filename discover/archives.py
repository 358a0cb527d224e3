"""Reading archives of NumPy arrays that may have been written by somebody else."""

from __future__ import annotations

import io
import lzma
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from discover.checked import printable
from discover.errors import ArtefactError
from discover.stored import checked_schema, read_bytes

__all__ = ["read_archive", "read_arrays"]

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

_LAST_CHARACTER = 0x10FFFF


def read_archive(data: bytes, max_bytes: int) -> dict[str, NDArray[Any]]:
    """Return the arrays of an ``.npz`` file; objects (pickles) are never loaded.

    Parameters
    ----------
    data : bytes
        The whole file.
    max_bytes : int
        What would unpack to more is refused before it is unpacked.

    Raises
    ------
    ValueError
        If it is no archive of plain arrays, is damaged, or holds text that is none.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > max_bytes:
            raise ValueError(f"it would unpack to {size:,} bytes, more than {max_bytes:,}")
        with np.load(io.BytesIO(data), allow_pickle=False) as content:
            arrays = {name: content[name] for name in content.files}
        for name, array in arrays.items():
            if array.dtype.kind == "U" and not _is_text(array):
                raise ValueError(f"the array {name[:60]!r} holds numbers that are no characters")
    except _DAMAGED as error:
        fault = printable(str(error), 200)
        raise ValueError(f"it is no archive of plain NumPy arrays ({fault})") from None
    return arrays


def read_arrays(path: Path, kind: str, version: int = 1, remedy: str = "") -> dict[str, NDArray[Any]]:
    """Read the named arrays of an artefact; objects (pickles) are never loaded.

    Parameters
    ----------
    path : Path
    kind : str
        What its ``schema`` must say that it is, such as ``trajectories``.
    version : int
        Latest version of its form that is read.
    remedy : str
        A sentence for error texts: how to make the file anew.

    Raises
    ------
    ArtefactError
        When the file is missing, unreadable, truncated, of another kind, or from the future.
    """
    try:
        arrays = read_archive(read_bytes(path, remedy), MAX_ARRAY_BYTES)
    except ValueError as error:
        raise ArtefactError(f"{path} is truncated or was edited: {error}. {remedy}".rstrip()) from None
    schema = arrays.pop("schema", None)
    checked_schema(path, str(schema) if schema is not None else None, kind, version, remedy)
    return arrays


def _is_text(array: NDArray[Any]) -> bool:
    """Whether every character exists: Python fails on others when it makes use of them."""
    codes = np.frombuffer(array.tobytes(), np.dtype(np.uint32).newbyteorder(array.dtype.byteorder))
    return codes.size == 0 or int(codes.max()) <= _LAST_CHARACTER
