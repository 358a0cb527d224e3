"""Pairing protocols: which spikes two neurons were made to fire, and how much their connection changed.

References
----------
The table ``sjostrom2001.csv`` holds published means of Sjöström, Turrigiano & Nelson (2001), Neuron 32:1149:
pairs of layer 5 neurons of visual cortex, ratio of synaptic strength after and before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from discover.errors import ConfigError
from discover.inference.tables import Table, read_table

__all__ = ["MAX_SPIKES", "Protocol", "read_protocols", "shipped_protocols"]

FloatArray = NDArray[np.float64]

MAX_SPIKES = 100_000
"""A protocol with more spikes of one neuron is refused: it is a mistake of units."""

SCALES: Mapping[str, Mapping[str, float]] = {
    "frequency": {"Hz": 1.0, "": 1.0},
    "lag": {"ms": 1.0, "s": 1000.0, "": 1.0},
    "period": {"s": 1000.0, "ms": 1.0, "": 1000.0},
    "spikes": {"": 1.0},
    "bursts": {"": 1.0},
    "ratio": {"": 1.0, "%": 0.01},
    "error": {"": 1.0, "%": 0.01},
    "pairs": {"": 1.0},
}
"""What a column may be given in -> what makes it Hz, ms or a plain number. Without a unit: Hz, ms and s."""

OPTIONAL = {"spikes": 1.0, "bursts": 1.0, "period": 0.0, "pairs": float("nan")}
"""Columns that may be left out, with what they then are."""


@dataclass(frozen=True, eq=False)
class Protocol:
    """Spikes of two neurons, and the change that was measured.

    Parameters
    ----------
    name : str
    pre_ms, post_ms : ndarray, shape (n_pre,) and (n_post,)
        Times of the spikes.
    change : float
        Relative change of the strength: ratio after and before, less one.
    error : float
        Its standard error.
    frequency_hz, lag_ms : float
        Of the spikes within a burst, and of the postsynaptic spike behind the presynaptic one.
    group : str
        Cell type, laboratory or what else belongs together.
    """

    name: str
    pre_ms: FloatArray
    post_ms: FloatArray
    change: float
    error: float
    frequency_hz: float
    lag_ms: float
    group: str = ""

    @property
    def is_tied(self) -> bool:
        """Whether a spike of one neuron falls on one of the other, so that their order has to be chosen."""
        return bool(np.intersect1d(self.pre_ms, self.post_ms).size)


def shipped_protocols() -> tuple[Protocol, ...]:
    """Return the ten published protocols that come with the program."""
    return read_protocols(Path(__file__).parent / "sjostrom2001.csv")


def read_protocols(path: Path, columns: Mapping[str, str] | None = None) -> tuple[Protocol, ...]:
    """Read a table with one row a protocol.

    Parameters
    ----------
    path : Path
        A table as :func:`discover.inference.tables.read_table` takes it. Columns are ``frequency`` (Hz),
        ``lag`` (ms; of the postsynaptic spike behind the presynaptic one), ``spikes`` of each neuron in a
        burst, ``bursts``, ``period`` (s) from burst to burst, ``ratio`` after and before, its standard
        ``error``, ``pairs``, and ``group``; units stand in the headings, as in ``lag [s]`` or ``ratio [%]``.
        The columns ``spikes``, ``bursts``, ``period``, ``pairs`` and ``group`` may be left out.
    columns : mapping from str to str, optional
        Column -> what it is called in the file.

    Raises
    ------
    ConfigError
        If a column is missing or has a unit that is none of its own, or a row is no protocol; the text says
        which.
    """
    table = read_table(path)
    names = {name: (columns or {}).get(name, name) for name in (*SCALES, "group")}
    values = {name: _column(table, name, names[name]) for name in SCALES}
    groups = table.labels(names["group"]) if names["group"] in table.columns else [""] * table.n_rows
    found = []
    for row in range(table.n_rows):
        one = {name: float(column[row]) for name, column in values.items()}
        found.append(_protocol(one, str(groups[row]), f"{table.source}, data row {row + 1}"))
    if len(found) < 3:
        raise ConfigError(f"{table.source} has {len(found)} protocols; a rule needs three at the least.")
    return tuple(found)


def _column(table: Table, name: str, called: str) -> FloatArray:
    if name in OPTIONAL and called not in table.columns:
        return np.full(table.n_rows, OPTIONAL[name])
    unit = str(table.units[called]) if called in table.units else ""
    unit = "" if unit == "1" else unit
    if unit not in SCALES[name]:
        allowed = ", ".join(one or "none" for one in SCALES[name])
        raise ConfigError(f"{table.source}: column {called!r} is in {unit}; units of {name}: {allowed}.")
    return SCALES[name][unit] * table.numbers(called)


def _protocol(row: Mapping[str, float], group: str, where: str) -> Protocol:
    spikes, bursts = row["spikes"], row["bursts"]
    for name, value in (("spikes", spikes), ("bursts", bursts)):
        if value != int(value) or value < 1:
            raise ConfigError(f"{where}: {name} is a whole number from 1, got {value:g}.")
    if spikes * bursts > MAX_SPIKES:
        raise ConfigError(f"{where}: {spikes * bursts:,.0f} spikes are more than {MAX_SPIKES:,}.")
    if not row["frequency"] > 0:
        raise ConfigError(f"{where}: the frequency is positive, got {row['frequency']:g} Hz.")
    if not row["error"] > 0:
        raise ConfigError(f"{where}: the standard error is positive, got {row['error']:g}.")
    if not row["ratio"] > 0:
        raise ConfigError(f"{where}: the ratio after and before is positive, got {row['ratio']:g}.")
    length = (spikes - 1) * 1000.0 / row["frequency"]
    if bursts > 1 and row["period"] <= length:
        raise ConfigError(
            f"{where}: bursts of {length / 1000:g} s do not fit into a period of {row['period'] / 1000:g} s."
        )
    starts = row["period"] * np.arange(int(bursts))
    pre = (starts[:, None] + 1000.0 / row["frequency"] * np.arange(int(spikes))).ravel()
    return Protocol(
        name=f"{row['frequency']:g} Hz, {row['lag']:+g} ms",
        pre_ms=pre,
        post_ms=pre + row["lag"],
        change=row["ratio"] - 1.0,
        error=row["error"],
        frequency_hz=row["frequency"],
        lag_ms=row["lag"],
        group=group,
    )
