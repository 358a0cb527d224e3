"""Inferred rules beside the known ones: by their coefficients, and by the update on the recorded states.

How a rule behaves in a network cannot be compared here: nothing is simulated, and recorded data do not say
what the circuit was for. Signs of outputs and weights were recorded, so that mirror images are different.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from discover._compared_rules import (
    RATIO_TOLERANCE,
    angle_degrees,
    by_text,
    projection,
    structural_verdict,
    table,
    term_ratios,
    without,
)
from discover.expression import evaluate
from discover.forms import Compared, Comparison, Distances, Evidence
from discover.inference.recordings import Recordings
from discover.known_rules import KNOWN_RULES
from discover.rule import Rule
from discover.slots import Slot

__all__ = ["NOT_BEHAVIOURAL", "compare_recorded"]

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


def compare_recorded(rules: Mapping[str, Rule], recordings: Recordings, slot: Slot) -> Comparison:
    """Compare rules with the known ones that could see what was recorded.

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
    return Comparison(
        task="recorded",
        behavioural=NOT_BEHAVIOURAL,
        ratio_tolerance=RATIO_TOLERANCE,
        candidates={name: _beside_all(rule, known, recordings) for name, rule in rules.items()},
    )


def _sees(rule: Rule, columns: set[str]) -> bool:
    from discover.expression import variables_of

    return all(set(variables_of(node)) <= columns for node in rule.expressions.values())


def _beside_all(rule: Rule, known: Mapping[str, Rule], recordings: Recordings) -> Compared:
    found = {name: beside(rule, other, recordings) for name, other in known.items()}
    nearest = min(found, key=lambda name: _order(*found[name]), default=None)
    if nearest is not None and _order(*found[nearest])[0] >= len(_RANKS):
        nearest = None
    return Compared(
        nearest,
        found[nearest][1].verdict if nearest is not None else "different",
        {name: distances for name, (distances, _) in found.items()},
        {name: evidence for name, (_, evidence) in found.items()},
    )


def beside(rule: Rule, known: Rule, recordings: Recordings) -> tuple[Distances, Evidence]:
    """Compare a rule with a known one, up to a positive factor."""
    columns = recordings.samples.columns
    update, other = (
        recordings.samples.observed(evaluate(next(iter(one.expressions.values())), columns))
        for one in (rule, known)
    )
    scale, functional = projection(update, other)
    terms, known_terms = table(rule), table(known)
    angle, ratios, extra, missing = None, {}, {}, {}
    verdict: str | None = None
    if terms is not None and known_terms is not None:
        angle = angle_degrees(terms, known_terms)
        extra, missing = without(terms, known_terms), without(known_terms, terms)
        ratios = term_ratios(terms, known_terms)
        verdict = structural_verdict(terms, known_terms, {}, RATIO_TOLERANCE)
    if verdict is None and functional is not None and functional <= CLOSE:
        verdict = "same up to scale" if functional <= EXACT else "close in function"
    evidence = Evidence(
        verdict=verdict or "different",
        scales={} if scale is None else {"update": scale},
        ratios=ratios,
        extra_terms=by_text(extra),
        missing_terms=by_text(missing),
    )
    return Distances(angle, functional), evidence


def _order(distances: Distances, evidence: Evidence) -> tuple[int, float]:
    functional = 1.0 if distances.functional is None else distances.functional
    rank = _RANKS.index(evidence.verdict)
    if rank >= 3 and functional > RELATED:
        rank = len(_RANKS) if evidence.verdict == "different" or functional >= 1 else rank
    return rank, functional
