"""Pairing protocols: which spikes two neurons were made to fire, and how much their connection changed.

References
----------
The table ``sjostrom2001.csv`` holds published means of Sjöström, Turrigiano & Nelson (2001), Neuron 32:1149:
pairs of layer 5 neurons of visual cortex, ratio of synaptic strength after and before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from discover.errors import ConfigError, did_you_mean
from discover.inference.tables import Table, read_table

__all__ = ["MAX_SPIKES", "SHIPPED", "Protocol", "read_protocols", "shipped_protocols"]

FloatArray = NDArray[np.float64]

MAX_SPIKES = 100_000
"""A protocol with more spikes of one neuron is refused: it is a mistake of units."""

MAX_PROTOCOLS = 1000
MAX_ALL_SPIKES = 4_000_000
LARGEST_MS = 1e12
LARGEST_RATIO, SMALLEST_ERROR = 1e6, 1e-6
MAX_PAIRS = 1_000_000_000

SHIPPED = Path(__file__).parent / "sjostrom2001.csv"
"""The published table that comes with the program."""

SCALES: Mapping[str, Mapping[str, float]] = {
    "frequency": {"Hz": 1.0, "": 1.0},
    "lag": {"ms": 1.0, "s": 1000.0, "": 1.0},
    "period": {"s": 1000.0, "ms": 1.0, "": 1000.0},
    "spikes": {"": 1.0},
    "bursts": {"": 1.0},
    "ratio": {"": 1.0, "%": 0.01},
    "error": {"": 1.0, "%": 0.01},
    "pairs": {"": 1.0},
    "time": {"ms": 1.0, "s": 1000.0, "": 1.0},
}
"""What a column may be given in -> what makes it Hz, ms or a plain number. Without a unit: Hz, ms and s."""

LABELS = ("protocol", "neuron", "group")
OPTIONAL = {"spikes": 1.0, "bursts": 1.0, "period": 0.0}
"""Columns that may be left out, with what they then are."""

SIDES = {"pre": "pre", "presynaptic": "pre", "post": "post", "postsynaptic": "post"}


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
    frequency_hz, lag_ms : float or None
        Of the spikes within a burst, and of the postsynaptic spike behind the presynaptic one; None for
        other patterns.
    group : str
        Cell type, laboratory or what else belongs together.
    n_pairs : int or None
        Number of pairs of neurons that were measured.
    """

    name: str
    pre_ms: FloatArray
    post_ms: FloatArray
    change: float
    error: float
    frequency_hz: float | None = None
    lag_ms: float | None = None
    group: str = ""
    n_pairs: int | None = None

    @property
    def is_tied(self) -> bool:
        """Whether a spike of one neuron falls on one of the other, so that their order has to be chosen."""
        return bool(np.intersect1d(self.pre_ms, self.post_ms).size)


def shipped_protocols(further: bool = False) -> tuple[Protocol, ...]:
    """Return the ten published protocols with a lag of 10 ms that come with the program.

    Parameters
    ----------
    further : bool
        Whether to return those with other lags as well.
    """
    found = read_protocols(SHIPPED)
    return found if further else tuple(one for one in found if one.group == "lag 10 ms")


def read_protocols(
    path: Path, columns: Mapping[str, str] | None = None, spikes: Path | None = None, error: float = 0.0
) -> tuple[Protocol, ...]:
    """Read a table of protocols.

    Parameters
    ----------
    path : Path
        A table as :func:`discover.inference.tables.read_table` takes it, with one row a protocol. Columns are
        ``frequency`` (Hz), ``lag`` (ms; of the postsynaptic spike behind the presynaptic one), ``spikes`` of
        each neuron in a burst, ``bursts``, ``period`` (s) from burst to burst, ``ratio`` after and before,
        its standard ``error``, number of ``pairs``, ``group``, and a name, ``protocol``; units stand in the
        headings, as in ``lag [s]`` or ``ratio [%]``. The columns ``spikes``, ``bursts``, ``period``,
        ``pairs``, ``group`` and ``protocol`` may be left out. Or one row a spike, with the columns
        ``protocol``, ``neuron`` (pre or post), ``time`` (ms), and the protocol's ``ratio``, ``error``,
        ``pairs`` and ``group`` in each of its rows.
    columns : mapping from str to str, optional
        Column -> what it is called in the file.
    spikes : Path, optional
        A table with one row a spike: ``protocol``, ``neuron`` and ``time`` (ms). Protocols that it names
        have these spikes, and need no frequency.
    error : float
        Standard error of the ratio of protocols that the table gives none for; 0 for none.

    Raises
    ------
    ConfigError
        If a column is missing or has a unit that is none of its own, or a row is no protocol; the text says
        which.
    """
    names = _names(columns or {})
    table = read_table(path)
    if names["neuron"] in table.columns and names["time"] in table.columns:
        if spikes is not None:
            raise ConfigError(f"{table.source} has the spikes itself; {spikes} would have no use.")
        trains = _trains(table, names)
        rows = {label: number for number, label in enumerate(table.labels(names["protocol"]))}
        _check_constant(table, names)
    else:
        if spikes is not None and names["protocol"] not in table.columns:
            raise ConfigError(
                f"{table.source} has no column {names['protocol']!r}, by which {spikes} could say whose "
                "spikes it has. One of another name is said by --columns protocol=NAME."
            )
        trains = {} if spikes is None else _trains(read_table(spikes), names)
        labels = (
            table.labels(names["protocol"]).tolist()
            if names["protocol"] in table.columns
            else [""] * table.n_rows
        )
        rows = {label or str(number): number for number, label in enumerate(labels)}
        if len(rows) < table.n_rows:
            raise ConfigError(f"{table.source}: two rows of column {names['protocol']!r} have one name.")
        unknown = next((name for name in trains if name not in rows), None)
        if unknown is not None:
            raise ConfigError(
                f"{spikes}: {table.source} has no protocol {unknown[:40]!r}.{did_you_mean(unknown, rows)}"
            )
    reader = _Reader(table, names, trains, error)
    found = tuple(reader.protocol(label, row) for label, row in rows.items())
    if not 3 <= len(found) <= MAX_PROTOCOLS:
        raise ConfigError(
            f"{table.source} has {len(found)} protocols; a rule needs three at the least, and at most "
            f"{MAX_PROTOCOLS:,} are read."
        )
    return found


def _names(columns: Mapping[str, str]) -> dict[str, str]:
    known = (*SCALES, *LABELS)
    for name in columns:
        if name not in known:
            raise ConfigError(
                f"Protocols have no column {name[:40]!r}.{did_you_mean(name, known)} "
                f"Columns: {', '.join(known)}."
            )
    return {name: columns.get(name, name) for name in known}


def _scale(table: Table, name: str, called: str) -> float:
    unit = str(table.units[called]) if called in table.units else ""
    unit = "" if unit == "1" else unit
    if unit not in SCALES[name]:
        allowed = ", ".join(one or "none" for one in SCALES[name])
        raise ConfigError(f"{table.source}: column {called!r} is in {unit}; units of {name}: {allowed}.")
    return SCALES[name][unit]


def _numbers(table: Table, name: str, called: str) -> FloatArray:
    return _scale(table, name, called) * table.numbers(called)


def _trains(table: Table, names: Mapping[str, str]) -> dict[str, dict[str, FloatArray]]:
    """Return the spikes of both neurons, by protocol."""
    labels, sides = table.labels(names["protocol"]), table.labels(names["neuron"])
    times = _numbers(table, "time", names["time"])
    kinds = [SIDES.get(side.lower(), "") for side in sides.tolist()]
    if "" in kinds:
        row = kinds.index("")
        raise ConfigError(
            f"{table.source}, data row {row + 1}: column {names['neuron']!r} is pre or post, "
            f"got {str(sides[row])[:40]!r}."
        )
    different = dict.fromkeys(labels.tolist())
    if len(different) > MAX_PROTOCOLS:
        raise ConfigError(
            f"{table.source} has {len(different):,} protocols; at most {MAX_PROTOCOLS:,} are read."
        )
    order = np.array(kinds)
    return {
        label: {side: np.sort(times[(labels == label) & (order == side)]) for side in ("pre", "post")}
        for label in different
    }


def _check_constant(table: Table, names: Mapping[str, str]) -> None:
    """Refuse a table of spikes that gives one protocol two results."""
    labels = table.labels(names["protocol"])
    for name in ("ratio", "error", "pairs", "group"):
        if names[name] in table.columns:
            values = table.labels(names[name])
            for label in dict.fromkeys(labels.tolist()):
                given = dict.fromkeys(values[labels == label].tolist())
                if len(given) > 1:
                    raise ConfigError(
                        f"{table.source}: the protocol {label[:40]!r} has the {name} "
                        f"{' and '.join(text[:20] for text in list(given)[:2])}; it has one in all its rows."
                    )


@dataclass(frozen=True, eq=False)
class _Reader:
    """Makes protocols of the rows of a table."""

    table: Table
    names: Mapping[str, str]
    trains: Mapping[str, Mapping[str, FloatArray]]
    error: float
    _read: dict[str, FloatArray] = field(default_factory=dict)
    _texts: dict[str, list[str]] = field(default_factory=dict)
    _counted: list[int] = field(default_factory=list)

    def number(self, name: str, row: int) -> float:
        called = self.names[name]
        if name in OPTIONAL and called not in self.table.columns:
            return OPTIONAL[name]
        if called not in self.table.columns and called == name:
            there = ", ".join(one[:40] for one in list(self.table.columns)[:12])
            raise ConfigError(
                f"{self.table.source} has no column {name!r}.{did_you_mean(name, self.table.columns)} "
                f"Columns: {there}. One of another name is said by --columns {name}=NAME."
            )
        if name not in self._read:
            self._read[name] = _numbers(self.table, name, called)
        return float(self._read[name][row])

    def gap(self, name: str, row: int) -> float | None:
        """Return a number that may be missing, None where it is."""
        called = self.names[name]
        if called not in self.table.columns:
            return None
        text = self.label(name, row).strip()
        if text.lower() in ("", "nan", "na", "none"):
            return None
        try:
            value = float(text)
        except ValueError:
            value = np.nan
        if not np.isfinite(value):
            raise ConfigError(
                f"{self.table.source}: column {called!r} has {text[:40]!r} in data row {row + 1}, where a "
                "number is expected (a point before decimals, nothing after the number)."
            )
        return _scale(self.table, name, called) * value

    def label(self, name: str, row: int) -> str:
        called = self.names[name]
        if called not in self.table.columns:
            return ""
        if name not in self._texts:
            self._texts[name] = self.table.labels(called).tolist()
        return self._texts[name][row]

    def protocol(self, label: str, row: int) -> Protocol:
        where = f"{self.table.source}, data row {row + 1}"
        ratio, error, pairs = self.number("ratio", row), self._error(row, where), self.gap("pairs", row)
        if not 0 < ratio <= LARGEST_RATIO:
            raise ConfigError(
                f"{where}: the ratio after and before is positive, at most {LARGEST_RATIO:g}, got {ratio:g}."
            )
        if pairs is not None and not 0 <= pairs <= MAX_PAIRS:
            raise ConfigError(f"{where}: the number of pairs is a whole number from 0, got {pairs:g}.")
        frequency: float | None = None
        lag: float | None = None
        if label in self.trains:
            name, pre, post = label, self.trains[label]["pre"], self.trains[label]["post"]
            if not len(pre) + len(post):
                raise ConfigError(f"{where}: the protocol {label[:40]!r} has no spikes.")
        else:
            frequency, lag = self.number("frequency", row), self.number("lag", row)
            pre = self._bursts(row, where, frequency)
            post = pre + lag
            name = self.label("protocol", row) or f"{frequency:g} Hz, {lag:+g} ms"
        if max(len(pre), len(post)) > MAX_SPIKES:
            raise ConfigError(f"{where}: {max(len(pre), len(post)):,} spikes are more than {MAX_SPIKES:,}.")
        self._count(len(pre) + len(post))
        for times in (pre, post):
            if not np.all(np.abs(times) <= LARGEST_MS):
                raise ConfigError(f"{where}: there are spikes later than {LARGEST_MS:g} ms. Check the units.")
        return Protocol(
            name=name,
            pre_ms=pre,
            post_ms=post,
            change=ratio - 1.0,
            error=error,
            frequency_hz=frequency,
            lag_ms=lag,
            group=self.label("group", row),
            n_pairs=None if pairs is None else round(pairs),
        )

    def _count(self, n: int) -> None:
        """Refuse a table whose protocols have too many spikes altogether."""
        self._counted.append(n)
        if sum(self._counted) > MAX_ALL_SPIKES:
            raise ConfigError(
                f"{self.table.source}: the protocols have more than {MAX_ALL_SPIKES:,} spikes altogether."
            )

    def _error(self, row: int, where: str) -> float:
        error = self.gap("error", row)
        if error is None:
            if self.error > 0:
                return self.error
            called = self.names["error"]
            what = "has no number here" if called in self.table.columns else "is not there"
            guess = did_you_mean("error", self.table.columns)
            raise ConfigError(
                f"{where}: the standard error of the ratio is missing (column {called!r} {what}).{guess} "
                "Name the column (--columns error=NAME), or state one for such rows (--error 0.1)."
            )
        if not SMALLEST_ERROR <= error <= LARGEST_RATIO:
            raise ConfigError(
                f"{where}: the standard error is positive, from {SMALLEST_ERROR:g} to {LARGEST_RATIO:g}, "
                f"got {error:g}."
            )
        return error

    def _bursts(self, row: int, where: str, frequency: float) -> FloatArray:
        spikes, bursts, period = (self.number(name, row) for name in ("spikes", "bursts", "period"))
        for name, value in (("spikes", spikes), ("bursts", bursts)):
            if value != int(value) or value < 1:
                raise ConfigError(f"{where}: {name} is a whole number from 1, got {value:g}.")
        if spikes * bursts > MAX_SPIKES:
            raise ConfigError(f"{where}: {spikes * bursts:,.0f} spikes are more than {MAX_SPIKES:,}.")
        if not frequency > 0 or not 1000.0 / frequency <= LARGEST_MS:
            raise ConfigError(f"{where}: the frequency is positive, got {frequency:g} Hz.")
        length = (spikes - 1) * 1000.0 / frequency
        if bursts > 1 and period <= length:
            raise ConfigError(
                f"{where}: bursts of {length / 1000:g} s do not fit into a period of {period / 1000:g} s."
            )
        return burst_times(frequency, int(spikes), int(bursts), period)


def burst_times(frequency_hz: float, n_spikes: int, n_bursts: int, period_ms: float) -> FloatArray:
    """Return the times of the spikes of one neuron, in ms: bursts at a frequency, one after the other.

    Examples
    --------
    >>> burst_times(50.0, 2, 2, 1000.0).tolist()
    [0.0, 20.0, 1000.0, 1020.0]
    """
    starts = period_ms * np.arange(n_bursts)
    times: FloatArray = (starts[:, None] + 1000.0 / frequency_hz * np.arange(n_spikes)).ravel()
    return times


def names_of(protocols: Sequence[Protocol]) -> tuple[str, ...]:
    """Return names that tell protocols apart; of those with one name, later ones carry their group or place.

    Examples
    --------
    >>> names_of(shipped_protocols())[:2]
    ('0.1 Hz, +10 ms', '10 Hz, +10 ms')
    """
    found: dict[str, None] = {}
    for number, one in enumerate(protocols, 1):
        options = (one.name, f"{one.name} ({one.group})", f"{one.name} (row {number})")
        found[next(option for option in options if option not in found)] = None
    return tuple(found)
