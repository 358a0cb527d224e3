"""Tables of coefficients, mirror images and angles of rules that are compared."""

from __future__ import annotations

from collections.abc import Mapping
from math import atan2, degrees
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from discover.expression import Node
from discover.rule import Rule
from discover.slots import FEEDFORWARD, LATERAL, get_slot, role_exponents, term_exponents

__all__ = [
    "RATIO_TOLERANCE",
    "StructuralVerdict",
    "Term",
    "angle_degrees",
    "by_text",
    "constant_ratios",
    "flipped",
    "is_odd",
    "projection",
    "rule_of_terms",
    "structural_verdict",
    "synapses_of",
    "table",
    "term_ratios",
    "term_text",
    "without",
]

FloatArray = NDArray[np.float64]
Term = tuple[str, str]
"""Slot and name of a term."""

RATIO_TOLERANCE = 0.1
"""Largest spread of the ratios of terms, relative, that counts as one common factor."""

StructuralVerdict = Literal["same up to scale", "same terms", "extra terms", "missing terms"]

_FLIPS = {
    FEEDFORWARD.name: (("y", "w"), True),
    LATERAL.name: (("y_pre", "y_post"), False),
}
"""Slot -> variables that change sign with the outputs, and whether the update does."""


def table(rule: Rule) -> dict[Term, float] | None:
    """Return the expanded coefficients, low degrees first; None when the rule is not a polynomial.

    Constants of the synapse are left out.
    """
    if not rule.is_polynomial:
        return None
    return {
        (slot, term): value
        for slot, terms in rule.coefficients().items()
        if not get_slot(slot).is_constant
        for term, value in terms.items()
        if value != 0
    }


def rule_of_terms(terms: Mapping[Term, float]) -> Rule:
    """Return the rule of a table.

    Examples
    --------
    >>> print(rule_of_terms({("feedforward", "x*y"): 0.5}))
    0.5*x*y
    """
    coefficients: dict[str, dict[str, float]] = {}
    for (slot, term), value in terms.items():
        coefficients.setdefault(slot, {})[term] = value
    return Rule.from_coefficients(coefficients)


def without(terms: Mapping[Term, float], others: Mapping[Term, float]) -> dict[Term, float]:
    """Return the terms that another table does not have."""
    return {term: value for term, value in terms.items() if term not in others}


def constant_ratios(rule: Rule, known: Rule) -> dict[str, float]:
    """Constants of the synapse relative to the known rule's, where one of the two rules states them."""
    stated = [
        slot for name in dict.fromkeys((*rule.slots, *known.slots)) if (slot := get_slot(name)).is_constant
    ]
    return {f"{slot.name} : known": rule.constant(slot.name) / known.constant(slot.name) for slot in stated}


def structural_verdict(
    terms: Mapping[Term, float],
    known: Mapping[Term, float],
    constant_ratios: Mapping[str, float],
    tolerance: float,
) -> StructuralVerdict | None:
    """Return how the terms of two rules stand to each other; None where neither has all of the other's.

    Parameters
    ----------
    terms, known : mapping from Term to float
        Tables of coefficients.
    constant_ratios : mapping from str to float
        See :func:`constant_ratios`.
    tolerance : float
        Largest spread of the ratios of one slot's synapses, relative, that counts as one factor.
    """
    if terms.keys() == known.keys() and terms:
        factors: dict[str, list[float]] = {}
        for term in known:
            factors.setdefault(synapses_of(term), []).append(terms[term] / known[term])
        is_one_scale = all(min(one) > 0 and max(one) / min(one) <= 1 + tolerance for one in factors.values())
        is_one_scale &= all(max(one, 1 / one) <= 1 + tolerance for one in constant_ratios.values())
        return "same up to scale" if is_one_scale else "same terms"
    if terms.keys() > known.keys():
        return "extra terms"
    if terms and terms.keys() < known.keys():
        return "missing terms"
    return None


def term_ratios(terms: Mapping[Term, float], known: Mapping[Term, float]) -> dict[str, float]:
    """Return the terms relative to the known rule's first one at the same synapses, as ``w*y**2 : x*y``."""
    ratios: dict[str, float] = {}
    for synapses in dict.fromkeys(synapses_of(term) for term in terms):
        first = next((term for term in known if term in terms and synapses_of(term) == synapses), None)
        if first is not None:
            ratios |= {
                f"{term_text(term)} : {term_text(first)}": value / terms[first]
                for term, value in terms.items()
                if synapses_of(term) == synapses and term != first
            }
    return ratios


def by_text(terms: Mapping[Term, float]) -> dict[str, float]:
    """Return a table by the texts of its terms."""
    return {term_text(term): value for term, value in terms.items()}


def term_text(term: Term) -> str:
    """Return the name of a term, with its slot unless that is the feed-forward one."""
    slot, name = term
    return name if slot == FEEDFORWARD.name else f"{slot} {name}"


def synapses_of(term: Term) -> str:
    """Return which synapses a term belongs to."""
    return get_slot(term[0]).synapses


def is_odd(term: Term) -> bool:
    """Whether a term changes sign with all inputs, so that its mean vanishes when these are symmetric.

    Traces of spikes have one sign, so that no term of a spiking synapse is odd.

    Examples
    --------
    >>> is_odd(("feedforward", "w*y")), is_odd(("feedforward", "w*y**2"))
    (True, False)
    """
    slot = get_slot(term[0])
    if slot.name not in _FLIPS:
        return False
    pre, post, _ = role_exponents(term_exponents(term[1], slot), slot)
    return (pre + post) % 2 == 1


def flipped(rule: Rule) -> Rule:
    """Return the rule as it looks when outputs and feed-forward weights are given the other sign.

    Weights that follow the flipped rule from ``-w`` are at all times the negatives of those that follow the
    rule from ``w``. Slots of spiking synapses have no such symmetry and stay as they are.

    Examples
    --------
    >>> print(flipped(Rule.parse("x*y - w*y**2 + x*y**2")))
    x*y - x*y**2 - w*y**2
    """
    expressions = {}
    for slot, node in rule.expressions.items():
        variables, update_too = _FLIPS.get(slot, ((), False))
        turned = _negated(node, variables)
        expressions[slot] = Node("neg", (turned,)) if update_too else turned
    return Rule(expressions).canonical()


def _negated(node: Node, variables: tuple[str, ...]) -> Node:
    """Return an expression with the negatives of some variables in their place."""
    if node.op == "var":
        return Node("neg", (node,)) if node.name in variables else node
    if not node.args:
        return node
    return Node(node.op, tuple(_negated(part, variables) for part in node.args), node.name, node.value)


def angle_degrees(terms: Mapping[Term, float], others: Mapping[Term, float]) -> float | None:
    """Return the angle between two coefficient vectors, at the synapses where it is largest.

    Kinds of synapses have learning rates of their own, so that angles between the vectors of all slots mean
    little. 90 where one rule acts at some synapses and the other does not; None when a rule is zero.

    Examples
    --------
    >>> angle_degrees({("feedforward", "x*y"): 2.0}, {("feedforward", "w"): 1.0})
    90.0
    """
    if not any(terms.values()) or not any(others.values()):
        return None
    angles = []
    for synapses in {synapses_of(term) for term in (*terms, *others)}:
        union = dict.fromkeys(term for term in (*terms, *others) if synapses_of(term) == synapses)
        a = np.array([terms.get(term, 0.0) for term in union])
        b = np.array([others.get(term, 0.0) for term in union])
        angles.append(_angle(a, b) if a.any() and b.any() else 90.0)
    return max(angles)


def _angle(a: FloatArray, b: FloatArray) -> float:
    a, b = a / np.abs(a).max(), b / np.abs(b).max()
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    # Half-angle form: the arc cosine loses half of the digits at small angles.
    return degrees(2 * atan2(float(np.linalg.norm(a - b)), float(np.linalg.norm(a + b))))


def projection(update: FloatArray, other: FloatArray) -> tuple[float | None, float | None]:
    """Return the best factor on `other` to fit `update`, and ``1 - cos**2`` of the angle between them.

    The distance is 1 when they point apart. Both are None where fewer than half of the values are finite;
    the factor is None too when `other` is zero.

    Examples
    --------
    >>> projection(np.array([2.0, 0.0]), np.array([1.0, 0.0]))
    (2.0, 0.0)
    """
    sound = np.isfinite(update) & np.isfinite(other)
    if 2 * np.count_nonzero(sound) < len(sound):
        return None, None
    f, g = update[sound], other[sound]
    size_f, size_g = np.abs(f).max(initial=0.0), np.abs(g).max(initial=0.0)
    if size_g == 0 or size_f == 0:
        return (0.0, 1.0) if size_g else (None, 1.0)
    f, g = f / size_f, g / size_g
    along = float(f @ g) / float(g @ g)
    residual = float(np.sum((f - along * g) ** 2)) / float(f @ f)
    return along * float(size_f / size_g), residual if along > 0 else 1.0
