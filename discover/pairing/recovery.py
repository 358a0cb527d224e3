"""Which laws a table of protocols would tell apart: one makes the changes, and all are fitted to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np

from discover.outcome import share_interval
from discover.pairing.events import FloatArray, Traces
from discover.pairing.evidence import possible_protocols
from discover.pairing.fit import PairingSettings, fit_rules, simplest
from discover.pairing.grid import Bench, Form
from discover.pairing.protocols import Protocol, shipped_protocols
from discover.pairing.terms import Term
from discover.progress import Progress, silent

__all__ = ["LAWS", "Law", "protocol_sets", "recover_laws"]

Law = tuple[Form, tuple[float, ...]]

_DOWN, _UP = Term("pre", "x_post"), Term("post", "x_pre")
_TRIPLET = Term("post", "x_pre*slow_post")

LAWS: Mapping[str, Law] = MappingProxyType(
    {
        "pair": (Form((_DOWN, _UP)), (-0.0116, 0.0150)),
        "triplet": (Form((_DOWN, _TRIPLET)), (-0.0116, 0.0126)),
        "multiplicative": (Form((replace(_DOWN, power=1.0), _UP)), (-0.0116, 0.0150)),
        "saturating depression": (
            Form((Term("pre", "x_post/(0.25 + x_post)"), _TRIPLET)),
            (-0.0080, 0.0130),
        ),
    }
)
"""Law -> its form, and the coefficients with which it makes changes of the size that was measured."""

TRACES = Traces(20.0, 113.137085, 14.1421356, 80.0)
"""Time constants with which changes are made; they are fitted like all others."""


def protocol_sets() -> dict[str, tuple[Protocol, ...]]:
    """Return sets of protocols, each with those before it, and with standard errors as published.

    Examples
    --------
    >>> {name: len(some) for name, some in protocol_sets().items()}
    {'the published ten': 10, 'and lags of 5, 25 and 50 ms': 30, 'and triplets and quadruplets': 40}
    """
    published = shipped_protocols()
    further = possible_protocols(published)
    frequencies = {one.frequency_hz for one in published}
    lags = [
        one
        for one in further
        if one.frequency_hz in frequencies and one.lag_ms is not None and abs(one.lag_ms) != 10
    ]
    patterns = [one for one in further if one.frequency_hz is None]
    errors = [one.error for one in published]
    found = list(published)
    sets = {"the published ten": published}
    for name, more in (("and lags of 5, 25 and 50 ms", lags), ("and triplets and quadruplets", patterns)):
        found += [replace(one, error=errors[k % len(errors)]) for k, one in enumerate(more)]
        sets[name] = tuple(found)
    return sets


def recover_laws(n_seeds: int, seed: int = 0, progress: Progress = silent) -> list[dict[str, Any]]:
    """Make changes by each law on each set of protocols, with noise, and count how often it is named.

    Parameters
    ----------
    n_seeds : int
        Draws of the noise for each law and set.
    seed : int
    progress : callable, optional

    Returns
    -------
    list of dict
        For each law and set: ``best``, how often no other law predicts left-out protocols better; for each
        other law ``not NAME``, how often it is worse by more than a standard error; ``told apart``, how often
        all are; and ``chosen``, how often the law has the form that is chosen among the laws and all sets of
        up to three terms.
    """
    rows = []
    sets = protocol_sets()
    jobs = [(law, name) for law in LAWS for name in sets]
    for number, (law, name) in enumerate(jobs):
        progress(number / len(jobs), f"{law}: {name}")
        counts = _counts(law, sets[name], n_seeds, np.random.SeedSequence([seed, number]))
        row: dict[str, Any] = {"law": law, "protocols": name, "n_protocols": len(sets[name])}
        row |= {"draws": n_seeds, "best": counts["best"]}
        row |= {f"not {other}": counts.get(f"not {other}") for other in LAWS}
        row |= {what: counts[what] for what in ("told apart", "chosen")}
        low, high = share_interval(counts["told apart"], n_seeds)
        rows.append({**row, "apart_low": low, "apart_high": high})
    progress(1.0, "all laws tried")
    return rows


def _counts(
    law: str, protocols: Sequence[Protocol], n_seeds: int, seed: np.random.SeedSequence
) -> dict[str, int]:
    settings = PairingSettings(n_permutations=0, n_draws=0)
    bench = Bench(protocols, settings.values)
    form, coefficients = LAWS[law]
    true = _made(form, coefficients, protocols)
    others = [name for name in LAWS if name != law]
    counts = {"best": 0, **{f"not {name}": 0 for name in others}, "told apart": 0, "chosen": 0}
    tables = {name: bench.table(one) for name, (one, _) in LAWS.items()}
    for child in seed.spawn(n_seeds):
        changes = true + bench.errors * np.random.default_rng(child).standard_normal(len(true))
        judged = {name: bench.judged(table, changes) for name, table in tables.items()}
        own = judged[law]
        if own is None:
            continue
        squares = {
            name: ((changes - one.predicted) / bench.errors) ** 2
            for name, one in judged.items()
            if one is not None
        }
        apart = {}
        for name in others:
            gap = squares[name] - squares[law]
            apart[name] = bool(gap.mean() > gap.std(ddof=1) / np.sqrt(len(gap)))
            counts[f"not {name}"] += apart[name]
        counts["best"] += all(squares[name].sum() >= squares[law].sum() for name in others)
        counts["told apart"] += all(apart.values())
        drawn = [replace(one, change=float(value)) for one, value in zip(protocols, changes, strict=True)]
        found = fit_rules(drawn, settings)
        ranked = sorted(
            [*found.ranked, *(one for one in judged.values() if one is not None)],
            key=lambda one: (one.left_out_chi2, one.n_constants),
        )
        counts["chosen"] += simplest(ranked, changes, bench.errors).form.key == form.key
    return counts


def _made(form: Form, coefficients: Sequence[float], protocols: Sequence[Protocol]) -> FloatArray:
    """Return the changes that a law makes."""
    bench = Bench(protocols, tuple((tau,) for _, tau in TRACES.items()))
    changes: FloatArray = bench.table(form, inner=(1.0,)).changes(np.array([coefficients]))[0]
    return changes
