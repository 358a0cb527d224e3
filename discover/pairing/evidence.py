"""What protocols say of rules: predictions of what was left out, and what would tell rules apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from discover.errors import ConfigError, did_you_mean
from discover.forms import FoldVerdict
from discover.pairing.events import FloatArray
from discover.pairing.fit import PairingSettings
from discover.pairing.grid import Bench, Form, Ranked
from discover.pairing.grid import Table as FormTable
from discover.pairing.protocols import Protocol, burst_times, names_of
from discover.stored import Count, Floats, Stored
from sims.pairing import Tie

__all__ = [
    "FREQUENCIES_HZ",
    "LAGS_MS",
    "Deciding",
    "LeftOut",
    "Split",
    "deciding_protocols",
    "judge_left_out",
    "left_out_parts",
    "possible_protocols",
    "r2_of",
    "split",
]

FREQUENCIES_HZ = (0.1, 1.0, 5.0, 10.0, 20.0, 30.0, 40.0, 50.0, 100.0)
LAGS_MS = (-50.0, -25.0, -10.0, -5.0, 5.0, 10.0, 25.0, 50.0)
"""Frequencies and lags of the further protocols that are thought of."""

PERIOD_MS = 1e4
"""Time between their bursts where the table has none."""

WITHIN = 0.95
"""A fold is passed where errors of measurement alone give a chi² as large in one of twenty experiments or
more. That constants were fitted to the rest is not counted: a true rule fails more often than that."""

SAME_INSTANT = "spikes in the same instant"
"""What protocols with such spikes are called together where their group is not held out as a whole."""


@dataclass(frozen=True)
class Split:
    """Protocols that rules are fitted to, and those that they only predict.

    Attributes
    ----------
    fitted, predicted : tuple of Protocol
    """

    fitted: tuple[Protocol, ...]
    predicted: tuple[Protocol, ...] = ()

    @property
    def all(self) -> tuple[Protocol, ...]:
        """Both."""
        return (*self.fitted, *self.predicted)


def split(protocols: Sequence[Protocol], settings: PairingSettings, seed: int = 0) -> Split:
    """Take out the groups that are held out, and protocols with spikes in the same instant.

    Parameters
    ----------
    protocols : sequence of Protocol
    settings : PairingSettings
        Its ``hold_out``, ``tied`` and ``permuted`` are used.
    seed : int
        Of the permutation.

    Raises
    ------
    ConfigError
        If there is no such group, or too few protocols are left.

    Examples
    --------
    >>> from discover.pairing import shipped_protocols
    >>> parts = split(shipped_protocols(further=True), PairingSettings(hold_out=("lag 25 ms",)))
    >>> len(parts.fitted), len(parts.predicted)
    (10, 7)
    """
    groups = tuple(dict.fromkeys(one.group for one in protocols))
    for name in settings.hold_out:
        if name not in groups:
            known = ", ".join(group[:40] for group in groups if group) or "none: there is no column of groups"
            raise ConfigError(
                f"--hold-out: no protocol is of the group {name[:40]!r}.{did_you_mean(name, groups)} "
                f"Groups: {known}."
            )
    fitted: list[Protocol] = []
    predicted: list[Protocol] = []
    for one in protocols:
        is_out = one.group in settings.hold_out or (settings.tied == "predict" and one.is_tied)
        (predicted if is_out else fitted).append(one)
    if len(fitted) < settings.most_terms + 2:
        raise ConfigError(
            f"{len(fitted)} protocols are left to fit rules of up to {settings.most_terms} terms to, which "
            f"takes {settings.most_terms + 2} at the least ({len(predicted)} are held out, or have spikes of "
            "both neurons in the same instant)."
        )
    if settings.permuted:
        order = np.random.default_rng(seed).permutation(len(fitted))
        changes = [(fitted[place].change, fitted[place].error) for place in order]
        fitted = [
            replace(one, change=change, error=error)
            for one, (change, error) in zip(fitted, changes, strict=True)
        ]
    return Split(tuple(fitted), tuple(predicted))


def r2_of(changes: FloatArray, predicted: FloatArray) -> float | None:
    """Return the share of the variance of changes that is predicted; None where they do not vary."""
    power = float(np.sum((changes - changes.mean()) ** 2))
    return 1.0 - float(np.sum((changes - predicted) ** 2)) / power if power > 0 else None


def left_out_parts(protocols: Sequence[Protocol]) -> dict[str, tuple[NDArray[np.int64], tuple[str, ...]]]:
    """Return the ways to leave protocols out: by itself, all of one frequency, of one lag, of one group.

    Returns
    -------
    dict from str to tuple
        Way -> number of the part of every protocol, and names of the parts. A way with fewer than two parts
        is missing.
    """
    keys: dict[str, list[str]] = {
        "protocol": list(names_of(protocols)),
        "frequency": [
            "other patterns" if one.frequency_hz is None else f"{one.frequency_hz:g} Hz" for one in protocols
        ],
        "lag": ["other patterns" if one.lag_ms is None else f"{one.lag_ms:+g} ms" for one in protocols],
        "group": [one.group or "no group" for one in protocols],
    }
    found = {}
    for way, labels in keys.items():
        names = tuple(dict.fromkeys(labels))
        if len(names) > 1:
            found[way] = (np.array([names.index(label) for label in labels]), names)
    return found


@dataclass(frozen=True)
class LeftOut:
    """How a rule predicts a part of the protocols that it was not fitted to.

    Attributes
    ----------
    way, name : str
        What was left out together.
    n : int
        Number of protocols.
    chi2 : float
        Their squared residuals over squared standard errors.
    """

    way: str
    name: str
    n: int
    chi2: float

    @property
    def verdict(self) -> FoldVerdict:
        """``passed`` where errors of measurement explain the sum, see :data:`WITHIN`; else ``failed``."""
        return _verdict(self.chi2, self.n)


def _verdict(chi2: float, n: int) -> FoldVerdict:
    from scipy.stats import chi2 as chi2_distribution  # takes longer to load than all the rest

    return "passed" if chi2 <= float(chi2_distribution.ppf(WITHIN, n)) else "failed"


def judge_left_out(
    bench: Bench, form: Form | FormTable
) -> tuple[list[LeftOut], dict[str, tuple[float, float | None]]]:
    """Fit a form without each part of the protocols, in every way to leave some out.

    Returns
    -------
    parts : list of LeftOut
    totals : dict from str to (float, float or None)
        Way -> sum of squared residuals in standard errors, and share of the variance that is predicted.
    """
    parts, totals = [], {}
    for way, (numbers, names) in left_out_parts(bench.protocols).items():
        judged = bench.judged(form, folds=numbers)
        if judged is None:
            continue
        squares = ((bench.changes - judged.predicted) / bench.errors) ** 2
        for number, name in enumerate(names):
            rows = numbers == number
            parts.append(LeftOut(way, name, int(rows.sum()), float(squares[rows].sum())))
        totals[way] = (float(squares.sum()), r2_of(bench.changes, judged.predicted))
    return parts, totals


def possible_protocols(protocols: Sequence[Protocol]) -> tuple[Protocol, ...]:
    """Return experiments that could be made further: other frequencies and lags, triplets, quadruplets.

    Bursts are like those with most spikes in the table, as often and as far apart, and single pairs as many.
    Lags longer than half of an interval are left out, because there the next spike would be nearer, and so
    are frequencies at which a burst would not end before the next one.

    Parameters
    ----------
    protocols : sequence of Protocol
    """
    usual = max((one for one in protocols if one.frequency_hz), key=lambda one: len(one.pre_ms), default=None)
    n_bursts, n_spikes, period_ms = (15, 5, PERIOD_MS) if usual is None else _bursts_of(usual)
    error = float(np.median([one.error for one in protocols]))
    found = []
    for frequency in FREQUENCIES_HZ:
        for lag in LAGS_MS:
            single = frequency < 1.0
            n_in_burst, n_times = (n_bursts * n_spikes, 1) if single else (n_spikes, n_bursts)
            fits = single or 1000.0 * n_in_burst / frequency <= period_ms
            if abs(lag) <= 500.0 / frequency and fits:
                pre = burst_times(frequency, n_in_burst, n_times, period_ms)
                name = f"{len(pre)} spikes, {frequency:g} Hz, {lag:+g} ms"
                found.append(Protocol(name, pre, pre + lag, 0.0, error, frequency, lag))
    starts = 1000.0 * np.arange(60, dtype=np.float64)
    for lag in (5.0, 10.0, 20.0):
        twice = _around(starts, lag)
        found.append(Protocol(f"60 triplets post-pre-post, {lag:g} ms", starts, twice, 0.0, error))
        found.append(Protocol(f"60 triplets pre-post-pre, {lag:g} ms", twice, starts, 0.0, error))
    for gap in (20.0, 60.0):
        inner, outer = _around(starts, gap / 2), _around(starts, gap / 2 + 5.0)
        found.append(Protocol(f"60 quadruplets pre-post-post-pre, {gap:g} ms", outer, inner, 0.0, error))
        found.append(Protocol(f"60 quadruplets post-pre-pre-post, {gap:g} ms", inner, outer, 0.0, error))
    return tuple(found)


def _around(times: FloatArray, half: float) -> FloatArray:
    """Return a spike before and one after each of some times."""
    pairs: FloatArray = np.sort(np.concatenate([times - half, times + half]))
    return pairs


def _bursts_of(protocol: Protocol) -> tuple[int, int, float]:
    """Return the number of bursts, of spikes in one, and the time between bursts."""
    long = np.flatnonzero(np.diff(protocol.pre_ms) > 1.5 * 1000.0 / (protocol.frequency_hz or 1.0))
    n_bursts = 1 + len(long)
    period_ms = float(protocol.pre_ms[long[0] + 1] - protocol.pre_ms[0]) if long.size else PERIOD_MS
    return n_bursts, max(1, round(len(protocol.pre_ms) / n_bursts)), period_ms


@dataclass(frozen=True, eq=False)
class Deciding:
    """A further protocol, and what the leading rules predict of it.

    Attributes
    ----------
    protocol : Protocol
    changes : ndarray, shape (n_rules,)
    distance : float
        Largest difference between two of them, in standard errors.
    pair : (int, int)
        These two.
    """

    protocol: Protocol
    changes: FloatArray
    distance: float
    pair: tuple[int, int]


def deciding_protocols(
    rules: Sequence[Ranked], possible: Sequence[Protocol], tie: Tie = "pre first"
) -> list[Deciding]:
    """Return experiments by how far the leading rules differ in them, the farthest first, one for each lag.

    Parameters
    ----------
    rules : sequence of Ranked
        Two at the least.
    possible : sequence of Protocol
        See :func:`possible_protocols`; the standard error of each is that which it would have.
    tie : str
        Which of two spikes in one instant comes first.
    """
    # A strength does not fall below nothing, whatever a rule says.
    table = np.array([np.maximum(rule.changes(possible, tie), -1.0) for rule in rules])
    found: dict[object, Deciding] = {}
    for column, protocol in enumerate(possible):
        pairs = list(combinations(range(len(rules)), 2))
        gaps = [abs(table[i, column] - table[k, column]) / protocol.error for i, k in pairs]
        place = int(np.argmax(gaps))
        one = Deciding(protocol, table[:, column], float(gaps[place]), pairs[place])
        kind = protocol.name if protocol.lag_ms is None else protocol.lag_ms
        if kind not in found or found[kind].distance < one.distance:
            found[kind] = one
    return sorted(found.values(), key=lambda one: -one.distance)


def leading_rules(
    ranked: Sequence[Ranked], chosen: Ranked, changes: FloatArray, errors: FloatArray, most: int
) -> list[Ranked]:
    """Return rules that the data do not tell apart, one of each effect.

    The chosen rule is the first, then comes the one with the lowest chi² of left-out protocols, and then the
    simplest others.

    Parameters
    ----------
    ranked : sequence of Ranked
        The best one first.
    chosen : Ranked
    changes, errors : ndarray, shape (n_protocols,)
    most : int
    """
    own = ((changes - chosen.predicted) / errors) ** 2
    found = [chosen]
    simplest_first = sorted(ranked[1:], key=lambda one: (one.form.size, one.left_out_chi2))
    for one in (*ranked[:1], *simplest_first):
        difference = ((changes - one.predicted) / errors) ** 2 - own
        standard_error = float(difference.std(ddof=1) / np.sqrt(len(changes)))
        is_close = difference.mean() <= standard_error or one.left_out_chi2 <= len(changes)
        if is_close and len(found) < most and not any(same_effect(one, other) for other in found):
            found.append(one)
    return found


def same_effect(one: Ranked, other: Ranked) -> bool:
    """Whether two rules say the same of all protocols, because these do not tell their terms apart."""
    return bool(
        np.allclose(one.fitted, other.fitted, rtol=1e-6, atol=1e-9)
        and np.allclose(one.predicted, other.predicted, rtol=1e-6, atol=1e-9)
    )


def grouped(ranked: Sequence[Ranked]) -> list[tuple[Ranked, list[Ranked]]]:
    """Return rules with those of the same effect and size behind them, in their order."""
    found: list[tuple[Ranked, list[Ranked]]] = []
    for one in ranked:
        for first, others in found:
            if first.form.size == one.form.size and same_effect(first, one):
                others.append(one)
                break
        else:
            found.append((one, []))
    return found


@dataclass(frozen=True, kw_only=True)
class HeldGroup(Stored):
    """How a rule predicts a group of protocols that no rule was fitted to.

    Attributes
    ----------
    name : str
    n : int
        Number of protocols that a trace rule decides.
    n_open : int
        Number of the others: spikes of both neurons in the same instant, with a prediction that depends on
        which comes first.
    chi2 : float
        Of those that are decided.
    r2 : float or None
        Share of the variance of these; None where they do not vary.
    reason : str
        Why protocols do not count; empty where all do.
    """

    name: str
    n: Count
    n_open: Count = 0
    chi2: float
    r2: float | None
    reason: str = ""

    @property
    def verdict(self) -> FoldVerdict:
        """``passed``, ``failed``, or ``undecided`` where no protocol is decided."""
        return _verdict(self.chi2, self.n) if self.n else "undecided"


@dataclass(frozen=True, eq=False)
class HeldOut(Stored):
    """Predictions of protocols that no rule was fitted to.

    Attributes
    ----------
    changes, other_order : ndarray, shape (n_protocols,)
        With the order of spikes in one instant that was asked for, and with the other one.
    undecided : tuple of bool
        Whether these differ by more than a standard error: no trace rule says what happens then.
    groups : tuple of HeldGroup
    """

    changes: Floats
    other_order: Floats
    undecided: tuple[bool, ...]
    groups: tuple[HeldGroup, ...]


def held_out(
    rule: Ranked, protocols: Sequence[Protocol], groups: Sequence[str], tie: Tie = "pre first"
) -> HeldOut:
    """Predict protocols that rules were not fitted to, by group.

    Parameters
    ----------
    rule : Ranked
    protocols : sequence of Protocol
    groups : sequence of str
        Those that were held out; other protocols are here for spikes in the same instant.
    tie : str
        Which of two spikes in one instant comes first.
    """
    measured = np.array([one.change for one in protocols])
    errors = np.array([one.error for one in protocols])
    changes = rule.changes(protocols, tie)
    other = rule.changes(protocols, "post first" if tie == "pre first" else "pre first")
    undecided = np.array([one.is_tied for one in protocols]) & (np.abs(changes - other) > errors)
    labels = np.array([one.group if one.group in groups else SAME_INSTANT for one in protocols])
    found = []
    for name in dict.fromkeys(labels.tolist()):
        rows = (labels == name) & ~undecided
        n_open = int(np.sum((labels == name) & undecided))
        chi2 = float(np.sum(((measured - changes)[rows] / errors[rows]) ** 2))
        r2 = r2_of(measured[rows], changes[rows]) if rows.any() else None
        n = int(rows.sum())
        found.append(
            HeldGroup(
                name=name or "no group", n=n, n_open=n_open, chi2=chi2, r2=r2, reason=_why_open(n_open, n)
            )
        )
    return HeldOut(changes, other, tuple(undecided.tolist()), tuple(found))


def _why_open(n_open: int, n: int) -> str:
    if not n_open:
        return ""
    return (
        f"{n_open} of {n + n_open} have spikes of both neurons in the same instant, and what is predicted "
        "depends on which comes first: no trace rule decides them"
    )


def without_rule(bench: Bench) -> tuple[float, float]:
    """Return chi² and the share of the variance that the mean of the other protocols predicts."""
    weights = 1.0 / bench.errors**2
    means = (np.sum(weights * bench.changes) - weights * bench.changes) / (weights.sum() - weights)
    chi2 = float(np.sum(((bench.changes - means) / bench.errors) ** 2))
    return chi2, r2_of(bench.changes, means) or 0.0
