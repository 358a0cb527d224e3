"""The form of an expression without its numbers: what rules have in common that differ in constants alone."""

from __future__ import annotations

import string
from collections.abc import Iterator, Sequence

from discover.expression.node import Node, const, constants, is_integer_exponent, variables_of, with_constants
from discover.expression.simplify import canonical, simplify_structure

__all__ = ["family", "skeleton"]

MOST_TERMS = 64
"""Products of sums are multiplied out up to so many terms; what has more stays a product."""

_ONE = const(1.0)


def skeleton(node: Node, variables: Sequence[str]) -> str:
    """Return the text of an expression that is the same whatever the sizes of its constants.

    Parameters
    ----------
    node : Node
    variables : sequence of str
        In the order (presynaptic, postsynaptic, weight).

    Examples
    --------
    >>> from discover.expression import parse
    >>> skeleton(parse("x*exp(-1.03*y**2) + 0.2*x", ("x", "y")), ("x", "y"))
    'x + x*exp(-y**2)'
    """
    return str(_with_ones(node, variables, 1.0))


def family(node: Node, variables: Sequence[str]) -> str:
    """Return an expression's terms with letters for their factors.

    Products of sums are multiplied out. Constants inside of functions and denominators are 1 or -1, so that
    ``tanh(y)`` and ``tanh(2*y)`` are one form and ``exp(y)`` and ``exp(-y)`` are two.

    Parameters
    ----------
    node : Node
    variables : sequence of str
        In the order (presynaptic, postsynaptic, weight).

    Examples
    --------
    >>> from discover.expression import parse
    >>> names = ("x", "y", "w")
    >>> family(parse("0.9*x*tanh(2*y) - 0.4*w*(y**2 - 0.3)", names), names)
    'a*w + b*x*tanh(y) + c*w*y**2'
    >>> family(parse("9.9*tanh(0.05*y)*(x - w*y)", names), names)
    'a*x*tanh(y) + b*w*y*tanh(y)'
    >>> family(parse("0", names), names)
    '0'
    """
    form = canonical(node, variables)
    if form == const(0.0):
        return "0"
    terms = {_without_sizes(term, variables) for term in _terms(form, variables)}
    ordered = sorted(terms, key=lambda term: (term.complexity, str(term)))
    letters = _letters(variables_of(form))
    return " + ".join(
        letter if term == _ONE else f"{letter}*{_bracketed(term)}"
        for letter, term in zip(letters, ordered, strict=False)
    )


def _without_sizes(node: Node, variables: Sequence[str]) -> Node:
    """Return the expression with constants of size one, but for those that are zero."""
    once = _with_ones(node, variables, 0.0)
    return _with_ones(once, variables, 0.0)  # 2*y + 3*y - x has a coefficient again after the first time


def _with_ones(node: Node, variables: Sequence[str], zero: float) -> Node:
    tree = canonical(node, variables)
    signs = [zero if value == 0 else 1.0 if value > 0 else -1.0 for value in constants(tree)]
    return canonical(simplify_structure(with_constants(tree, signs)), variables)


def _terms(node: Node, variables: Sequence[str]) -> list[Node]:
    """Return the terms of the sum that an expression is when products are multiplied out, signs left out."""
    if node.op in ("add", "sub"):
        return [term for part in node.args for term in _terms(part, variables)]
    if node.op == "neg":
        return _terms(node.args[0], variables)
    if node.op == "const":
        return [_ONE]
    if node.op == "mul":
        return _products(node, [_terms(part, variables) for part in node.args])
    if node.op == "div":
        return [Node("div", (term, node.args[1])) for term in _terms(node.args[0], variables)]
    if node.op == "pow" and is_integer_exponent(node.args[1]) and node.args[1].value >= 1:
        base = _terms(node.args[0], variables)
        if len(base) > 1:
            return _products(node, [base] * int(node.args[1].value))
    return [node]


def _products(node: Node, factors: Sequence[Sequence[Node]]) -> list[Node]:
    products = list(factors[0])
    for terms in factors[1:]:
        products = [
            Node("mul", (one, other)) if other != _ONE else one for one in products for other in terms
        ]
        if len(products) > MOST_TERMS:
            return [node]
    return products


def _bracketed(term: Node) -> str:
    return f"({term})" if term.op in ("add", "sub", "neg") else str(term)


def _letters(names: Sequence[str]) -> Iterator[str]:
    free = [letter for letter in string.ascii_lowercase if letter not in (*names, "e", "x", "y", "w")]
    yield from free
    number = 0
    while True:
        number += 1
        yield from (f"{letter}{number}" for letter in free)
