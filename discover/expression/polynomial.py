"""Polynomials: the coefficient table of an expression, and the expression of a table.

Exponents are tuples with one entry a variable, in the order (presynaptic, postsynaptic, weight). Names of
terms put the weight, the last variable, first: ``w*y**2``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from discover.expression.node import Node, apply, const, number_text, postorder, take, var

__all__ = [
    "MAX_POLYNOMIAL_DEGREE",
    "factor_order",
    "monomial_text",
    "polynomial_node",
    "polynomial_terms",
    "term_order",
]

MAX_POLYNOMIAL_DEGREE = 12
"""Largest total degree that is expanded unless another limit is asked for."""

_MAX_WORK = 200_000

Exponents = tuple[int, ...]
Terms = dict[Exponents, float]


def polynomial_terms(
    node: Node, variables: Sequence[str], max_degree: int = MAX_POLYNOMIAL_DEGREE
) -> Terms | None:
    """Return the expanded coefficient table of a polynomial.

    The degree and the number of terms are bounded on the tree before anything is multiplied out, so that
    the work stays bounded for every input.

    Parameters
    ----------
    node : Node
    variables : sequence of str
        Variables in the order of the exponents.
    max_degree : int
        Largest total degree, before terms cancel.

    Returns
    -------
    dict from tuple of int to float, or None
        Non-zero coefficients by exponents. None when the expression is not a polynomial in `variables` of at
        most that degree, or would take too long to expand.

    Examples
    --------
    >>> from discover.expression import parse
    >>> polynomial_terms(parse("y*(x - w*y)", ("x", "y", "w")), ("x", "y", "w"))
    {(1, 1, 0): 1.0, (0, 2, 1): -1.0}
    >>> polynomial_terms(parse("tanh(x)", ("x",)), ("x",)) is None
    True
    """
    names = tuple(variables)
    order = postorder(node)
    if not _is_affordable(order, names, max_degree):
        return None
    units = {
        name: tuple(int(other == position) for other in range(len(names)))
        for position, name in enumerate(names)
    }
    constant = (0,) * len(names)
    stack: list[Terms] = []
    for part in order:
        if part.op == "var":
            stack.append({units[part.name]: 1.0})
        elif part.op == "const":
            stack.append({constant: part.value})
        else:
            stack.append(_combine(part, take(stack, len(part.args)), constant))
    terms = {exponents: value for exponents, value in stack.pop().items() if value != 0.0}
    return terms if all(math.isfinite(value) for value in terms.values()) else None


def _is_affordable(order: Sequence[Node], names: Sequence[str], max_degree: int) -> bool:
    """Whether a tree is a polynomial whose degree and expansion work stay within the limits."""
    stack: list[tuple[int, int]] = []
    work = 0
    for part in order:
        if part.op == "var" and part.name not in names:
            return False
        bound = _bound(part, take(stack, len(part.args)))
        if bound is None or bound[0] > max_degree:
            return False
        degree, count, cost = bound
        work += cost
        if work > _MAX_WORK:
            return False
        stack.append((degree, min(count, math.comb(len(names) + degree, degree))))
    return True


def _bound(part: Node, operands: Sequence[tuple[int, int]]) -> tuple[int, int, int] | None:
    """Return bounds on degree, number of terms and cost of one operation; None if not polynomial."""
    if part.op in ("var", "const"):
        return int(part.op == "var"), 1, 1
    degrees = [degree for degree, _ in operands]
    counts = [count for _, count in operands]
    if all(degree == 0 for degree in degrees):
        return 0, 1, 1
    if part.op in ("add", "sub"):
        return max(degrees), sum(counts), counts[1]
    if part.op == "neg":
        return degrees[0], counts[0], counts[0]
    if part.op == "mul":
        return sum(degrees), counts[0] * counts[1], counts[0] * counts[1]
    if part.op == "div" and degrees[1] == 0:
        return degrees[0], counts[0], counts[0]
    if part.op == "pow" and _is_natural(part.args[1]):
        power = int(part.args[1].value)
        return degrees[0] * power, counts[0] ** power, counts[0] ** min(power, 6)
    return None


def _is_natural(node: Node) -> bool:
    return node.op == "const" and node.value >= 0 and node.value == int(node.value)


def _combine(part: Node, operands: Sequence[Terms], constant: Exponents) -> Terms:
    left = operands[0]
    if all(set(terms) <= {constant} for terms in operands):
        return {constant: apply(part.op, *(terms.get(constant, 0.0) for terms in operands))}
    if part.op in ("add", "sub"):
        sign = 1.0 if part.op == "add" else -1.0
        for exponents, value in operands[1].items():
            left[exponents] = left.get(exponents, 0.0) + sign * value
        return left
    if part.op == "neg":
        return {exponents: -value for exponents, value in left.items()}
    if part.op == "mul":
        return _product(left, operands[1])
    if part.op == "div":
        divisor = operands[1].get(constant, 0.0)
        return {exponents: apply("div", value, divisor) for exponents, value in left.items()}
    result: Terms = {constant: 1.0}
    for _ in range(int(part.args[1].value)):
        result = _product(result, left)
    return result


def _product(left: Terms, right: Terms) -> Terms:
    result: Terms = {}
    for a, value_a in left.items():
        for b, value_b in right.items():
            exponents = tuple(i + j for i, j in zip(a, b, strict=True))
            result[exponents] = result.get(exponents, 0.0) + value_a * value_b
    return result


def term_order(exponents: Exponents) -> tuple[int, tuple[int, ...]]:
    """Return the sorting key of a term: by total degree, then higher powers of earlier variables first."""
    return sum(exponents), tuple(-power for power in exponents)


def factor_order(n_variables: int) -> tuple[int, ...]:
    """Return the positions of the variables in the order of a product's factors: the last one first."""
    return (n_variables - 1, *range(n_variables - 1)) if n_variables else ()


def monomial_text(exponents: Exponents, variables: Sequence[str]) -> str:
    """Return the name of a term.

    Examples
    --------
    >>> monomial_text((0, 2, 1), ("x", "y", "w")), monomial_text((0, 0, 0), ("x", "y", "w"))
    ('w*y**2', '1')
    """
    factors = []
    for position in factor_order(len(variables)):
        power = exponents[position]
        if power:
            factors.append(
                variables[position] if power == 1 else f"{variables[position]}**{number_text(power)}"
            )
    return "*".join(factors) or "1"


def polynomial_node(terms: Mapping[Exponents, float], variables: Sequence[str]) -> Node:
    """Return the expanded sum of a coefficient table, low degrees first.

    Examples
    --------
    >>> str(polynomial_node({(0, 2, 1): -1.0, (1, 1, 0): 1.0}, ("x", "y", "w")))
    'x*y - w*y**2'
    """
    total: Node | None = None
    for exponents in sorted(terms, key=term_order):
        value = float(terms[exponents])
        if value == 0.0:
            continue
        if total is None:
            total = _monomial(value, exponents, variables)
        else:
            term = _monomial(abs(value), exponents, variables)
            total = Node("sub" if value < 0 else "add", (total, term))
    return const(0.0) if total is None else total


def _monomial(value: float, exponents: Exponents, variables: Sequence[str]) -> Node:
    factors = []
    for position in factor_order(len(variables)):
        power = exponents[position]
        if power:
            base = var(variables[position])
            factors.append(base if power == 1 else Node("pow", (base, const(float(power)))))
    if not factors:
        return const(value)
    if value == -1.0:
        factors[0] = Node("neg", (factors[0],))
    elif value != 1.0:
        factors.insert(0, const(value))
    product = factors[0]
    for factor in factors[1:]:
        product = Node("mul", (product, factor))
    return product
