"""Inferred rules beside the known ones: by their coefficients, and by the update on the recorded states.

How a rule behaves in a network cannot be compared here: nothing is simulated, and recorded data do not say
what the circuit was for. Signs of outputs and weights were recorded, so that mirror images are different.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from discover._compared_rules import RATIO_TOLERANCE, Term, angle_degrees, projection, table, term_text
from discover.expression import evaluate
from discover.inference.recordings import Recordings
from discover.known_rules import KNOWN_RULES
from discover.rule import Rule
from discover.slots import Slot

__all__ = ["NOT_BEHAVIOURAL", "Beside", "compare_recorded"]

FloatArray = NDArray[np.float64]

NOT_BEHAVIOURAL = (
    "Behaviour was not compared: recorded data do not say what the circuit was for, so that there is no "
    "loss to run the rules for."
)

CLOSE = 0.01
"""Functional distance below which updates are called close."""

EXACT = 1e-9
RELATED = 0.5

_RANKS = ("same up to scale", "same terms", "close in function", "extra terms", "missing terms", "different")


@dataclass(frozen=True)
class Beside:
    """A rule beside one known rule.

    Attributes
    ----------
    coefficient : float or None
        Angle between the coefficients in degrees; None unless both are polynomials.
    functional : float or None
        ``1 - cos**2`` of the angle between the updates on the recorded states; 1 when they point apart.
    scale : float or None
        Factor on the known rule that fits best.
    verdict : str
    ratios, extra_terms, missing_terms : mapping from str to float
    """

    coefficient: float | None
    functional: float | None
    scale: float | None
    verdict: str
    ratios: Mapping[str, float]
    extra_terms: Mapping[str, float]
    missing_terms: Mapping[str, float]


def compare_recorded(rules: Mapping[str, Rule], recordings: Recordings, slot: Slot) -> dict[str, Any]:
    """Return the content of ``comparison.json``.

    Parameters
    ----------
    rules : mapping from str to Rule
        Candidates by name.
    recordings : Recordings
        Their states are those on which updates are compared.
    slot : Slot
        Known rules are those of this slot alone whose variables were all recorded.
    """
    columns = recordings.samples.columns
    known = {
        name: one.rule
        for name, one in KNOWN_RULES.items()
        if one.rule is not None and one.slots == (slot.name,) and _sees(one.rule, set(columns))
    }
    return {
        "task": "recorded",
        "behavioural": NOT_BEHAVIOURAL,
        "ratio_tolerance": RATIO_TOLERANCE,
        "candidates": {name: _beside_all(rule, known, recordings) for name, rule in rules.items()},
    }


def _sees(rule: Rule, columns: set[str]) -> bool:
    from discover.expression import variables_of

    return all(set(variables_of(node)) <= columns for node in rule.expressions.values())


def _beside_all(rule: Rule, known: Mapping[str, Rule], recordings: Recordings) -> dict[str, Any]:
    found = {name: beside(rule, other, recordings) for name, other in known.items()}
    nearest = min(found, key=lambda name: _order(found[name]), default=None)
    if nearest is not None and _order(found[nearest])[0] >= len(_RANKS):
        nearest = None
    return {
        "nearest": nearest,
        "verdict": found[nearest].verdict if nearest is not None else "different",
        "distances": {
            name: {"coefficient": one.coefficient, "functional": one.functional, "behavioural": None}
            for name, one in found.items()
        },
        "evidence": {
            name: {
                "verdict": one.verdict,
                "scales": {} if one.scale is None else {"update": one.scale},
                "ratios": dict(one.ratios),
                "extra_terms": dict(one.extra_terms),
                "missing_terms": dict(one.missing_terms),
            }
            for name, one in found.items()
        },
    }


def beside(rule: Rule, known: Rule, recordings: Recordings) -> Beside:
    """Compare a rule with a known one, up to a positive factor."""
    columns = recordings.samples.columns
    update, other = (
        recordings.samples.observed(evaluate(next(iter(one.expressions.values())), columns))
        for one in (rule, known)
    )
    scale, functional = projection(update, other)
    terms, known_terms = table(rule), table(known)
    angle, ratios, extra, missing, verdict = None, {}, {}, {}, ""
    if terms is not None and known_terms is not None:
        angle = angle_degrees(terms, known_terms)
        extra = {term: value for term, value in terms.items() if term not in known_terms}
        missing = {term: value for term, value in known_terms.items() if term not in terms}
        ratios = _ratios(terms, known_terms)
        verdict = _verdict(terms, known_terms)
    if not verdict and functional is not None and functional <= CLOSE:
        verdict = "same up to scale" if functional <= EXACT else "close in function"
    return Beside(
        angle,
        functional,
        scale,
        verdict or "different",
        ratios,
        {term_text(term): value for term, value in extra.items()},
        {term_text(term): value for term, value in missing.items()},
    )


def _verdict(terms: Mapping[Term, float], known: Mapping[Term, float]) -> str:
    if terms.keys() == known.keys() and terms:
        factors = [terms[term] / known[term] for term in known]
        same = min(factors) > 0 and max(factors) / min(factors) <= 1 + RATIO_TOLERANCE
        return "same up to scale" if same else "same terms"
    if terms.keys() > known.keys():
        return "extra terms"
    return "missing terms" if terms and terms.keys() < known.keys() else ""


def _ratios(terms: Mapping[Term, float], known: Mapping[Term, float]) -> dict[str, float]:
    first = next((term for term in known if term in terms), None)
    if first is None:
        return {}
    return {
        f"{term_text(term)} : {term_text(first)}": value / terms[first]
        for term, value in terms.items()
        if term != first
    }


def _order(one: Beside) -> tuple[int, float]:
    functional = 1.0 if one.functional is None else one.functional
    rank = _RANKS.index(one.verdict)
    if rank >= 3 and functional > RELATED:
        rank = len(_RANKS) if one.verdict == "different" or functional >= 1 else rank
    return rank, functional
