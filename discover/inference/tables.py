"""Tables of recorded data: CSV, Parquet and NPZ files, read and checked column by column."""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from discover.archives import read_archive
from discover.checked import printable
from discover.errors import ConfigError, did_you_mean
from discover.inference.units import ONE, Unit, parse_unit

__all__ = ["MAX_BYTES", "MAX_ROWS", "Table", "read_table"]

MAX_BYTES = 512_000_000
"""A file longer than this is refused unread, and so is one that would unpack to more."""

MAX_ROWS = 2_000_000
MAX_COLUMNS = 2_000
MAX_CELL = 400
MAX_WHOLE = 2**53
_HEADING = re.compile(r"\s*(?P<name>[^\[\]]*?)\s*(?:\[(?P<unit>[^\[\]]*)\])?\s*")

Column = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Table:
    """Columns of recorded data.

    Parameters
    ----------
    source : str
        What to call the file in messages.
    columns : mapping from str to ndarray, shape (n_rows,)
        Text or numbers, as they stand in the file.
    units : mapping from str to Unit
        Units that headings of the form ``x [Hz]`` give.
    digest : str
        SHA-256 of the file.
    """

    source: str
    columns: Mapping[str, Column]
    units: Mapping[str, Unit] = field(default_factory=dict)
    digest: str = ""

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(next(iter(self.columns.values()))) if self.columns else 0

    def column(self, name: str) -> Column:
        """Return a column as it stands in the file.

        Raises
        ------
        ConfigError
            If there is none of that name.
        """
        if name not in self.columns:
            raise ConfigError(
                f"{self.source} has no column {name[:60]!r}.{did_you_mean(name, self.columns)} "
                f"Columns: {_listed(list(self.columns))}."
            )
        return self.columns[name]

    def numbers(self, name: str) -> NDArray[np.float64]:
        """Return a column as finite numbers.

        Raises
        ------
        ConfigError
            If there is none, or a cell is no finite number; the text says which.
        """
        column = self.column(name)
        try:
            values = np.asarray(column, dtype=np.float64)
        except (ValueError, TypeError):
            row = next(n for n, cell in enumerate(column.tolist()) if not _is_number(cell))
            raise ConfigError(
                f"{self.source}: column {name!r} has {str(column[row])[:40]!r} in data row {row + 1}, "
                "where a number is expected (a point before decimals, nothing after the number)."
            ) from None
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            raise ConfigError(
                f"{self.source}: column {name!r} has {bad.size} values that are NaN or infinite, the first "
                "in "
                f"data row {bad[0] + 1}. Take these rows out, or fill the gaps yourself: no guess is made "
                "here."
            )
        return values

    def labels(self, name: str) -> NDArray[np.str_]:
        """Return a column as text, such as the names of recordings; ``4.0e+00`` and 4 are one name."""
        texts = [_label(cell) for cell in self.column(name).tolist()]
        numbers = [_whole_number(text) for text in texts]
        if None not in numbers:
            texts = [str(number) for number in numbers]
        return np.array(texts, dtype=np.str_)


def read_table(path: Path | str) -> Table:
    """Read a table from a ``.csv``, ``.parquet`` or ``.npz`` file.

    Parameters
    ----------
    path : Path or str
        A CSV file has one heading line; columns are separated by commas, semicolons or tabs, headings may
        give a unit, ``x [Hz]``. An NPZ file has one array of shape (n_rows,) a column.

    Raises
    ------
    ConfigError
        If the file is missing, too long or damaged, or is no table: ragged rows, columns of the same name.
    """
    path = Path(path)
    readers = {".csv": _csv, ".tsv": _csv, ".txt": _csv, ".npz": _npz, ".parquet": _parquet, ".pq": _parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise ConfigError(
            f"{path}: a table is a .csv, .parquet or .npz file; this one ends in {path.suffix[:20]!r}."
        )
    data = _read(path)
    headings, columns = reader(path, data)
    return _table(str(path), headings, columns, hashlib.sha256(data).hexdigest())


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigError(f"There is no file {path}.") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}.") from None
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{path} is longer than {MAX_BYTES:,} bytes and was not read. Split it.")
    return data


def _table(source: str, headings: Sequence[str], columns: Sequence[Column], digest: str) -> Table:
    if not headings:
        raise ConfigError(f"{source} holds no columns.")
    if len(headings) > MAX_COLUMNS:
        raise ConfigError(f"{source} has {len(headings):,} columns; at most {MAX_COLUMNS:,} are read.")
    if not all(heading.strip().isprintable() for heading in headings):
        raise ConfigError(f"{source} has headings with control characters. Give its columns plain names.")
    names: list[str] = []
    units: dict[str, Unit] = {}
    for heading in headings:
        found = _HEADING.fullmatch(heading)
        name = found["name"] if found else heading.strip()
        if found and found["unit"] is not None:
            units[name] = parse_unit(found["unit"])
        names.append(name)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(
            f"{source} has several columns called {_listed(twice)}. Every column needs its own name."
        )
    if any(len(column) != len(columns[0]) for column in columns):
        lengths = _listed([f"{name} {len(column)}" for name, column in zip(names, columns, strict=True)])
        raise ConfigError(f"{source}: columns have different lengths: {lengths}.")
    if not len(columns[0]):
        raise ConfigError(f"{source} has a heading and no data.")
    if len(columns[0]) > MAX_ROWS:
        raise ConfigError(f"{source} has {len(columns[0]):,} rows; at most {MAX_ROWS:,} are read.")
    return Table(source, dict(zip(names, columns, strict=True)), units, digest)


def _csv(path: Path, data: bytes) -> tuple[list[str], list[Column]]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text (byte {error.start}). Save it as UTF-8.") from None
    if "\0" in text:
        raise ConfigError(f"{path} holds NUL characters: it is no text file.")
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    headings: list[str] | None = None
    rows: list[list[str]] = []
    try:
        for number, row in enumerate(
            csv.reader(io.StringIO(text), delimiter=delimiter, strict=True), start=1
        ):
            if not row or row == [""]:
                continue
            if headings is None:
                headings = row
                continue
            if len(row) != len(headings):
                raise ConfigError(
                    f"{path}: line {number} has {len(row)} cells and the heading {len(headings)}. Every row "
                    "needs as many cells as there are columns."
                )
            if any(len(cell) > MAX_CELL for cell in row):
                raise ConfigError(f"{path}: line {number} has a cell of more than {MAX_CELL} characters.")
            rows.append(row)
            if len(rows) > MAX_ROWS:
                raise ConfigError(f"{path} has more than {MAX_ROWS:,} rows.")
    except csv.Error as error:
        raise ConfigError(f"{path} is no CSV file: {printable(str(error), 200)}.") from None
    if headings is None:
        raise ConfigError(f"{path} is empty.")
    cells = np.array(rows, dtype=object).reshape(len(rows), len(headings))
    return headings, [cells[:, number] for number in range(len(headings))]


def _npz(path: Path, data: bytes) -> tuple[list[str], list[Column]]:
    try:
        arrays = read_archive(data, MAX_BYTES)
    except ValueError as error:
        raise ConfigError(f"{path} cannot be read: {error}.") from None
    for name, array in arrays.items():
        if array.ndim != 1 or array.dtype.kind not in "biufUS":
            raise ConfigError(
                f"{path}: the array {name[:60]!r} has the shape {array.shape} and the type {array.dtype}; a "
                "column is one-dimensional, of numbers or text."
            )
    return list(arrays), list(arrays.values())


def _parquet(path: Path, data: bytes) -> tuple[list[str], list[Column]]:
    try:
        import pyarrow as arrow
        import pyarrow.parquet as parquet
    except ImportError:
        raise ConfigError(
            f"{path}: Parquet files are read by pyarrow, which is not installed: "
            "pip install pyarrow. CSV and NPZ need nothing further."
        ) from None
    try:
        file = parquet.ParquetFile(arrow.BufferReader(data))
        meta = file.metadata
        size = sum(meta.row_group(n).total_byte_size for n in range(meta.num_row_groups))
        if meta.num_rows > MAX_ROWS or size > MAX_BYTES or meta.num_columns > MAX_COLUMNS:
            raise ConfigError(f"{path} would unpack to more than {MAX_BYTES:,} bytes or {MAX_ROWS:,} rows.")
        table = file.read()
        columns = [np.array(column.to_pylist(), dtype=object) for column in table.columns]
    except ConfigError:
        raise
    except (arrow.ArrowException, OSError, ValueError) as error:
        raise ConfigError(f"{path} is no Parquet file that can be read ({str(error)[:200]}).") from None
    return [str(name) for name in table.column_names], columns


def _is_number(cell: object) -> bool:
    try:
        float(cell)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False
    return True


def _whole_number(text: str) -> int | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return int(number) if number.is_integer() and abs(number) < MAX_WHOLE else None


def _label(cell: object) -> str:
    """Text of a cell; a whole number is the same whether it came as 3 or as 3.0."""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    text = cell.decode("utf-8", errors="replace") if isinstance(cell, bytes) else str(cell)
    # Names are printed: no sequence in one may steer the terminal.
    return "".join(
        sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text.strip()[:MAX_CELL]
    )


def _listed(names: Sequence[str], most: int = 12) -> str:
    shown = ", ".join(name[:60] for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def unit_of(table: Table, name: str, given: Mapping[str, Unit]) -> Unit:
    """Return the unit of a column: what was given, else what its heading says, else none."""
    return given.get(name, table.units.get(name, ONE))
