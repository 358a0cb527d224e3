"""What a run found beside what there was to find: a law exactly, with extra terms, functionally, or not."""

from __future__ import annotations

from typing import Literal

from discover._compared_rules import constant_ratios, flipped, structural_verdict, table
from discover.expression.skeleton import family
from discover.rule import Rule
from discover.slots import get_slot

__all__ = ["EXACT_RATIO", "OUTCOMES", "Outcome", "family_of", "outcome_for_a_law", "share_interval"]

Outcome = Literal[
    "exact",
    "extra terms",
    "functional",
    "missed",
    "not compared",
    "same form",
    "further terms",
    "another form",
    "no rule",
    "nothing found",
    "something found",
    "beats the baseline",
    "no better than the baseline",
    "failed",
]

OUTCOMES: dict[str, dict[Outcome, str]] = {
    "one law": {
        "exact": "the terms of the law and no other, their ratios within 5 %",
        "extra terms": "the terms of the law and more",
        "functional": "another form that behaves alike",
        "missed": "none of these",
    },
    "one form": {
        "same form": "the terms of the known rule and no other, with constants of these data",
        "further terms": "the terms of the known rule and more",
        "another form": "neither of these",
        "no rule": "the data are said to support no rule",
    },
    "many forms": {
        "beats the baseline": "it does better than a rule that knows nothing of the inputs",
        "no better than the baseline": "it does not",
    },
    "nothing": {
        "nothing found": "no candidate beats the baseline",
        "something found": "one does",
    },
}
"""What a task has as an answer -> outcomes of a run, and what they mean."""

EXACT_RATIO = 0.05
"""Largest spread of the ratios of terms, relative, of a law that was found exactly."""


def outcome_for_a_law(
    rule: Rule, law: Rule, verdict: str | None, behavioural: float | None, alike: float
) -> Outcome:
    """Say how a rule stands to the law that was to be found.

    A rule is ``exact`` by all of its terms as they are written: a constant that is too small to show makes it
    one with ``extra terms``, although a comparison leaves it out.

    Parameters
    ----------
    rule, law : Rule
    verdict : str or None
        What :func:`discover.comparison.compare` says of the rule beside the law; None where it was not asked.
    behavioural : float or None
        Mean absolute difference of their losses along the inner loop.
    alike : float
        Largest such difference of rules that behave alike.

    Examples
    --------
    >>> law = Rule.parse("x*y - w*y**2")
    >>> outcome_for_a_law(Rule.parse("0.39*x*y - 0.4*w*y**2"), law, None, None, 0.05)
    'exact'
    >>> outcome_for_a_law(Rule.parse("0.4*x*y - 0.4*w*y**2 - 0.0001"), law, "same up to scale", 0.0, 0.05)
    'extra terms'
    >>> outcome_for_a_law(Rule.parse("9*tanh(0.05*y)*(x - w*y)"), law, "behaves alike", 0.001, 0.05)
    'functional'
    """
    structure = _structure(rule, law)
    if structure == "same up to scale" or (structure is None and verdict == "same up to scale"):
        return "exact"
    if structure == "extra terms":
        return "extra terms"
    if verdict is None:
        return "not compared"
    is_alike = verdict == "behaves alike" or (behavioural is not None and behavioural <= alike)
    return "functional" if is_alike else "missed"


def _structure(rule: Rule, law: Rule) -> str | None:
    """Return how the terms of two polynomials stand to each other, for the sign of the output that fits."""
    terms, constants = table(rule), constant_ratios(rule, law)
    found = []
    for variant in (law, flipped(law)):
        known = table(variant)
        if terms is not None and known is not None:
            found.append(structural_verdict(terms, known, constants, EXACT_RATIO))
    return "same up to scale" if "same up to scale" in found else next(iter(found), None)


def family_of(rule: Rule) -> str:
    """Return the form of a rule with letters for its constants, slot by slot.

    Slots in which nothing changes are left out.

    Examples
    --------
    >>> family_of(Rule.parse({"feedforward": "0.4*x*y - 0.4*w*y**2", "lateral": "-1.3*y_pre*y_post"}))
    'feedforward: a*x*y + b*w*y**2; lateral: a*y_pre*y_post'
    """
    forms = {
        slot: family(node, get_slot(slot).variables)
        for slot, node in rule.expressions.items()
        if not get_slot(slot).is_constant
    }
    acting = {slot: form for slot, form in forms.items() if form != "0"} or forms
    if len(acting) == 1 and len(rule.slots) == 1:
        return next(iter(acting.values()))
    return "; ".join(f"{slot}: {form}" for slot, form in acting.items())


def share_interval(successes: int, runs: int) -> tuple[float, float]:
    """Return the 95 % interval of a share, by Wilson's method.

    References
    ----------
    Wilson (1927), J. Am. Stat. Assoc. 22:209.

    Examples
    --------
    >>> [round(bound, 3) for bound in share_interval(9, 10)]
    [0.596, 0.982]
    """
    from scipy.stats import binomtest

    interval = binomtest(successes, runs).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)
