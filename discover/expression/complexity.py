"""What an expression costs to say: the axis on which rules are simple or not.

The cost is a description length in units of about two bits, rounded to whole numbers. To name one of a few
variables, or one of the operations ``+ - *``, takes one unit; so does a whole power, which is a product that
is written shorter. A division takes two. A constant that had to be fitted takes three: two significant digits
are almost seven bits. A function such as ``tanh`` takes four, for it is one of many that could have been
written. The digits 1 to 9 count one unit, as nobody has to measure them.

The same expression can be written in several ways, and the cheapest counts: ``x*y - w*y**2`` is charged as
``y*(x - w*y)``. The overall multiple of an update is its learning rate and costs nothing.

References
----------
Rissanen (1978), Automatica 14:465 (description length).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from discover.expression.node import Node, is_integer_exponent, postorder

__all__ = ["COSTS", "Complexity"]

COSTS: Mapping[str, float] = MappingProxyType(
    {
        "var": 1.0, "const": 3.0, "add": 1.0, "sub": 1.0, "mul": 1.0, "div": 2.0,
        "tanh": 4.0, "exp": 4.0, "log": 4.0, "sqrt": 4.0, "abs": 3.0, "sign": 3.0, "max": 3.0, "min": 3.0,
        "sin": 4.0, "cos": 4.0,
    }
)  # fmt: skip
"""Units of variables, constants and operations; a whole power costs as a product does."""

FUNCTION = 4.0
"""Units of a function that has none of its own."""

DIGIT = 1.0
"""Units of a whole number up to nine."""

LARGEST_DIGIT = 9
TOLERANCE = 1e-9
"""Relative difference of two coefficients that are the same number after rounding errors."""

MOST_EXPANDED = 64
"""Terms beyond which a product of sums is not multiplied out to see whether that is shorter."""

MOST_TRIED = 2
"""Of the factors that several terms share, those that are tried in front of them: the ones that save most."""

MOST_NODES = 300
"""Nodes up to which other ways of writing are looked for; longer expressions are charged as they stand."""

Factors = tuple[tuple[Node, int], ...]
"""Bases with whole powers, in a fixed order."""


@dataclass(frozen=True)
class _Term:
    coefficient: float
    factors: Factors


@dataclass(frozen=True)
class Complexity:
    """The measure, with the costs of operations.

    Parameters
    ----------
    costs : mapping from str to float
        Units by operation, ``var`` and ``const``; those that are not named are those of :data:`COSTS`.

    Examples
    --------
    >>> from discover.expression import parse
    >>> names, measure = ("x", "y", "w"), Complexity()
    >>> [measure.of_update(parse(text, names)) for text in ("x*y - w*y**2", "0.4*y*(x - w*y)")]
    [7, 7]
    >>> measure.of_update(parse("x*y - 0.9*w*y**2", names)), measure.of_update(parse("x*tanh(y)", names))
    (11, 7)
    """

    costs: Mapping[str, float] = field(default_factory=dict)

    def of(self, node: Node) -> int | float:
        """Return the units of an expression, its overall multiple among them."""
        if node.complexity > MOST_NODES:
            return self._as_it_stands(node)
        return _whole(self._of_sum(self._cheapest_form(node)))

    def of_update(self, node: Node) -> int | float:
        """Return the units of an update, whose overall multiple is free."""
        return self.of_updates([node])

    def of_updates(self, nodes: Iterable[Node]) -> int | float:
        """Return the units of several updates with one free overall multiple: slots of the same synapses."""
        nodes = list(nodes)
        if any(node.complexity > MOST_NODES for node in nodes):
            return sum(self.of(node) for node in nodes)
        sums = [self._cheapest_form(node) for node in nodes]
        scale = self._best_unit([term for terms in sums for term in terms])
        return _whole(sum(self._of_sum(_divided(terms, scale)) for terms in sums))

    def _as_it_stands(self, node: Node) -> int | float:
        prices = {**COSTS, **self.costs, "neg": 0.0}
        prices["pow"] = prices["mul"] - prices["const"]  # the exponent is a constant of the tree
        return _whole(sum(prices.get(part.op, FUNCTION) for part in postorder(node)))

    def _cheapest_form(self, node: Node) -> list[_Term]:
        """Return the sum of products that is shorter, as it stands or multiplied out."""
        plain, expanded = _terms(node, expand=False), _terms(node, expand=True)
        if expanded is None or expanded == plain:
            return plain or []
        return min((plain or [], expanded), key=lambda terms: self._of_sum(terms, free=True))

    def _of_sum(self, terms: Sequence[_Term], free: bool = False) -> float:
        """Return the cheapest way to write a sum, with a number in front of it or without."""
        if not terms:
            return DIGIT
        shortest = self._without_number(tuple(terms))
        scale = self._best_unit(terms)
        if _is(scale, 1.0):
            return shortest
        price = 0.0 if free else self._of_number(scale) + self._price("mul")
        return min(shortest, price + self._without_number(_divided(terms, scale)))

    def _best_unit(self, terms: Sequence[_Term]) -> float:
        """Return the size of a coefficient that costs least of all when they are written in units of it."""
        sizes = sorted({abs(term.coefficient) for term in terms}) or [1.0]

        def price(unit: float) -> float:
            # A factor of one is not written, unless it is all there is of a term.
            shares = ((abs(term.coefficient) / unit, term.factors) for term in terms)
            return sum(
                0.0 if _is(share, 1.0) and factors else self._of_number(share) for share, factors in shares
            )

        return min(sizes, key=price)

    def _without_number(self, terms: tuple[_Term, ...]) -> float:
        """Return the cheapest way to write a sum, with common factors in front of parts of it or without."""
        written = sum(self._of_term(term) for term in terms) + self._price("add") * (len(terms) - 1)
        if len(terms) < 2:
            return written
        counts: dict[tuple[Node, bool], int] = {}
        for term in terms:
            for base, power in term.factors:
                counts[base, power > 0] = counts.get((base, power > 0), 0) + 1
        savings = {key: (count - 1) * self._of_base(key[0]) for key, count in counts.items() if count > 1}
        shared = sorted(savings, key=lambda key: -savings[key])[:MOST_TRIED]
        return min([written, *(self._in_front(key, terms) for key in shared)])

    def _in_front(self, key: tuple[Node, bool], terms: tuple[_Term, ...]) -> float:
        base, positive = key
        powers = {n: dict(term.factors).get(base, 0) for n, term in enumerate(terms)}
        with_it = [n for n, power in powers.items() if power != 0 and (power > 0) == positive]
        common = min((powers[n] for n in with_it), key=abs)
        inside = tuple(_without(terms[n], base, common) for n in with_it)
        rest = tuple(term for n, term in enumerate(terms) if n not in with_it)
        product = self._of_factor(base, common) + (self._price("mul") if positive else 0.0)
        total = product + self._of_sum(inside)
        return total + (self._price("add") + self._without_number(rest) if rest else 0.0)

    def _of_term(self, term: _Term) -> float:
        size = abs(term.coefficient)
        factors = [(base, power) for base, power in term.factors if power != 0]
        above = [entry for entry in factors if entry[1] > 0]
        price = sum(self._of_factor(base, power) for base, power in factors)
        price += self._price("mul") * max(len(above) - 1, 0)
        if _is(size, 1.0) and above:
            return price
        return price + self._of_number(size) + (self._price("mul") if above else 0.0)

    def _of_factor(self, base: Node, power: int) -> float:
        """Return the price of a power of a base, with the division where it stands below the line."""
        price = self._of_base(base) + (self._price("mul") if abs(power) > 1 else 0.0)
        return price + (self._price("div") if power < 0 else 0.0)

    def _of_base(self, base: Node) -> float:
        if base.op == "var":
            return self._price("var")
        if base.op == "const":
            return self._of_number(abs(base.value))
        if base.op == "pow":
            return sum(self.of(arg) for arg in base.args) + self._price("mul")
        if base.op in ("add", "sub", "mul", "div", "neg"):
            return self.of(base)
        joined = sum(self.of(arg) for arg in base.args)
        return joined + self._price(base.op)

    def _of_number(self, size: float) -> float:
        whole = round(size) if math.isfinite(size) and size <= LARGEST_DIGIT + 1 else 0
        return DIGIT if whole <= LARGEST_DIGIT and _is(size, float(whole)) else self._price("const")

    def _price(self, name: str) -> float:
        return self.costs.get(name, COSTS.get(name, FUNCTION))


def _whole(cost: float) -> int | float:
    return round(cost) if cost == round(cost) else cost


def _is(size: float, other: float) -> bool:
    return abs(size - other) <= TOLERANCE * max(abs(other), abs(size))


def _divided(terms: Sequence[_Term], scale: float) -> tuple[_Term, ...]:
    if scale == 0 or not math.isfinite(1 / scale):
        return tuple(terms)
    return tuple(_Term(term.coefficient / scale, term.factors) for term in terms)


def _without(term: _Term, base: Node, power: int) -> _Term:
    left = ((other, own - power if other == base else own) for other, own in term.factors)
    return _Term(term.coefficient, tuple(entry for entry in left if entry[1] != 0))


def _terms(node: Node, expand: bool) -> list[_Term] | None:
    """Return an expression as a sum of products; None where multiplying out would be too long.

    Without `expand` a sum inside of a product stays whole.
    """
    if node.op == "const":
        return [_Term(node.value, ())] if node.value else []
    if node.op == "var":
        return [_Term(1.0, ((node, 1),))]
    if node.op in ("neg", "add", "sub"):
        parts = [_terms(arg, expand) for arg in node.args]
        if any(part is None for part in parts):
            return None
        signs = {"neg": (-1.0,), "add": (1.0, 1.0), "sub": (1.0, -1.0)}[node.op]
        scaled = ((_Term(sign * term.coefficient, term.factors))
                  for sign, part in zip(signs, parts, strict=True) for term in part or ())  # fmt: skip
        return _gathered(scaled)
    if node.op == "mul":
        left, right = (_terms(arg, expand) for arg in node.args)
        return _multiplied(left, right, node.args, expand)
    if node.op == "div":
        left, below = _terms(node.args[0], expand), _terms(node.args[1], expand=False)
        if below is not None and len(below) == 1 and below[0].coefficient != 0:
            (term,) = below
            inverse = [_Term(1 / term.coefficient, tuple((base, -power) for base, power in term.factors))]
        else:
            inverse = [_Term(1.0, ((node.args[1], -1),))]
        return _multiplied(left, inverse, node.args, expand)
    if node.op == "pow" and is_integer_exponent(node.args[1]):
        return _power(node, int(node.args[1].value), expand)
    return [_Term(1.0, ((node, 1),))]


def _power(node: Node, power: int, expand: bool) -> list[_Term] | None:
    inside = _terms(node.args[0], expand=False) or []
    if len(inside) == 1 and (power > 0 or inside[0].coefficient != 0):
        (term,) = inside
        coefficient = term.coefficient**power
        if math.isfinite(coefficient):
            return [_Term(coefficient, tuple((base, own * power) for base, own in term.factors))]
    if not expand or power < 1 or len(inside) ** power > MOST_EXPANDED:
        return [_Term(1.0, ((node.args[0], power),))]
    result: list[_Term] | None = [_Term(1.0, ())]
    for _ in range(power):
        result = _multiplied(result, inside, (node, node.args[0]), expand)
    return result


def _multiplied(
    left: list[_Term] | None, right: list[_Term] | None, nodes: Sequence[Node], expand: bool
) -> list[_Term] | None:
    if left is None or right is None or len(left) * len(right) > MOST_EXPANDED:
        return None
    if not expand:
        left, right = (
            terms if len(terms) == 1 else [_Term(1.0, ((node, 1),))]
            for terms, node in zip((left, right), nodes, strict=True)
        )
    return _gathered(_product(a, b) for a in left for b in right)


def _product(a: _Term, b: _Term) -> _Term:
    powers = dict(a.factors)
    for base, power in b.factors:
        powers[base] = powers.get(base, 0) + power
    kept = sorted(((base, power) for base, power in powers.items() if power != 0), key=_place)
    return _Term(a.coefficient * b.coefficient, tuple(kept))


def _place(factor: tuple[Node, int]) -> tuple[int, str]:
    return factor[0].complexity, str(factor[0])


def _gathered(terms: Iterable[_Term]) -> list[_Term]:
    """Add terms of the same factors; what cancels is left out."""
    sums: dict[Factors, float] = {}
    sizes: dict[Factors, float] = {}
    for term in terms:
        sums[term.factors] = sums.get(term.factors, 0.0) + term.coefficient
        sizes[term.factors] = max(sizes.get(term.factors, 0.0), abs(term.coefficient))
    return [
        _Term(value, factors) for factors, value in sums.items() if abs(value) > TOLERANCE * sizes[factors]
    ]
