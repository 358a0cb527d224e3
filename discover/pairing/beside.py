"""Candidates beside the known rules, and what would tell the leading ones apart: ``comparison.json``."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from discover._compared_rules import (
    RATIO_TOLERANCE,
    angle_degrees,
    by_text,
    constant_ratios,
    projection,
    structural_verdict,
    table,
    without,
)
from discover.forms import Compared, Distances, Evidence
from discover.known_rules import get_known_rule
from discover.pairing.evidence import deciding_protocols, leading_rules, possible_protocols
from discover.pairing.forms import Curves, Decisions, Further, KnownFit
from discover.pairing.grid import Bench, Ranked
from discover.pairing.known import KNOWN_FORMS, SUPPRESSION, known_forms
from discover.pairing.protocols import Protocol, burst_times
from discover.pairing.rules import in_pairing_slots, weights_by
from discover.rule import Rule
from sims.pairing import Tie

__all__ = ["compared", "decisions", "known_fits"]

KNOWN = (
    "stdp-triplet", "stdp-additive", "stdp-triplet-full", "stdp-multiplicative", "stdp-power-law",
    "stdp-guetig",
)  # fmt: skip
RANKS = ("same up to scale", "same terms", "extra terms", "missing terms", "different")

WINDOW_HZ = (1.0, 10.0, 20.0, 40.0)
WINDOW_LAGS_MS = tuple(np.arange(-60.0, 61.0, 2.0).tolist())
CURVE_HZ = tuple(np.geomspace(0.1, 100.0, 46).tolist())


def compared(rule: Ranked, bench: Bench) -> Compared:
    """Return how a rule stands to each known rule: by its terms, and by what it says of the protocols.

    Parameters
    ----------
    rule : Ranked
    bench : Bench
    """
    own, changes = rule.rule, rule.fitted / bench.errors
    distances, evidence, order = {}, {}, {}
    for name in KNOWN:
        published = get_known_rule(name).rule
        assert published is not None  # those without expressions are not among these
        known = in_pairing_slots(published)
        other = np.array([weights[-1] for weights in weights_by(known, bench.protocols, bench.tie)]) - 1.0
        _, functional = projection(changes, other / bench.errors)
        distances[name], evidence[name] = _match(own, known, functional)
        order[name] = (RANKS.index(evidence[name].verdict), 1.0 if functional is None else functional)
    nearest = min(order, key=lambda name: order[name])
    return Compared(nearest, evidence[nearest].verdict, distances, evidence)


def _match(own: Rule, known: Rule, functional: float | None) -> tuple[Distances, Evidence]:
    terms, known_terms, ratios = table(own), table(known), constant_ratios(own, known)
    angle, verdict, extra, missing = None, None, {}, {}
    if terms is not None and known_terms is not None:
        angle = angle_degrees(terms, known_terms)
        verdict = structural_verdict(terms, known_terms, ratios, RATIO_TOLERANCE)
        extra, missing = without(terms, known_terms), without(known_terms, terms)
    evidence = Evidence(
        verdict=verdict or "different",
        ratios=ratios,
        extra_terms=by_text(extra),
        missing_terms=by_text(missing),
    )
    return Distances(angle, functional), evidence


def known_fits(bench: Bench) -> tuple[KnownFit, ...]:
    """Return what each known rule explains with all of its constants fitted, the best one first.

    Parameters
    ----------
    bench : Bench
    """
    found = []
    for name, form_table in known_forms(bench).items():
        one = bench.judged(form_table)
        if one is not None:
            rule = None if name == SUPPRESSION.origin else one.rule
            found.append(KnownFit.of(one, name=name, rule=rule, fitted=one.fitted, predicted=one.predicted))
    return tuple(sorted(found, key=lambda one: one.left_out_chi2))


def decisions(
    known: tuple[KnownFit, ...],
    ranked: Mapping[str, Ranked],
    chosen: str,
    bench: Bench,
    n_leading: int,
    n_further: int,
    tie: Tie,
) -> Decisions:
    """Return which data decide between the leading rules, what further ones would, and curves of them.

    Parameters
    ----------
    known : tuple of KnownFit
        See :func:`known_fits`.
    ranked : mapping from str to Ranked
        Candidates by name.
    chosen : str
    bench : Bench
    n_leading, n_further : int
        Most rules, and most further protocols.
    tie : str
        Which of two spikes in one instant comes first.
    """
    ordered = sorted(ranked.values(), key=lambda one: one.left_out_chi2)
    rules = leading_rules(ordered, ranked[chosen], bench.changes, bench.errors, n_leading)
    names = [next(name for name, one in ranked.items() if one is rule) for rule in rules]
    further = deciding_protocols(rules, possible_protocols(bench.protocols), tie) if len(rules) > 1 else []
    curves = dict(zip(names, rules, strict=True))
    if (pair := bench.judged(KNOWN_FORMS["stdp-additive"])) is not None:
        curves["stdp-additive"] = pair
    return Decisions(
        known=known,
        leading=tuple(names),
        squares=np.array([((bench.changes - one.predicted) / bench.errors) ** 2 for one in rules]),
        further=tuple(
            Further(
                name=one.protocol.name,
                frequency_hz=one.protocol.frequency_hz,
                lag_ms=one.protocol.lag_ms,
                n_spikes=len(one.protocol.pre_ms) + len(one.protocol.post_ms),
                error=one.protocol.error,
                changes=one.changes,
                distance=one.distance,
                pair=one.pair,
            )
            for one in further[:n_further]
        ),
        curves={name: curves_of(rule, bench, tie) for name, rule in curves.items()},
    )


def curves_of(rule: Ranked, bench: Bench, tie: Tie) -> Curves:
    """Return a rule's change by lag at several frequencies, and by frequency at the lags of the table.

    Bursts are of five spikes, fifteen of them ten seconds apart.
    """
    lags = tuple(dict.fromkeys(one.lag_ms for one in bench.protocols if one.lag_ms is not None))
    windows = [_bursts(frequency, lag) for frequency in WINDOW_HZ for lag in WINDOW_LAGS_MS]
    by_frequency = [_bursts(frequency, lag) for lag in lags for frequency in CURVE_HZ]
    changes = rule.changes([*windows, *by_frequency], tie)
    n = len(windows)
    return Curves(
        window_hz=np.array(WINDOW_HZ),
        window_lags_ms=np.array(WINDOW_LAGS_MS),
        window=changes[:n].reshape(len(WINDOW_HZ), -1),
        curve_hz=np.array(CURVE_HZ),
        curve_lags_ms=np.array(lags, dtype=np.float64),
        curve=changes[n:].reshape(len(lags), len(CURVE_HZ)),
    )


def _bursts(frequency_hz: float, lag_ms: float) -> Protocol:
    """Return bursts of five spikes; below 1 Hz fifty spikes in a row, as in the published table."""
    pattern = (5, 15) if frequency_hz >= 1 else (50, 1)
    pre = burst_times(frequency_hz, *pattern, period_ms=1e4)
    return Protocol("", pre, pre + lag_ms, 0.0, 1.0, frequency_hz, lag_ms)
