"""Forms in which a function that several terms share stands once, and forms with a part less.

A search that adds up products writes ``a*x*tanh(y/b) - c*w*x*tanh(y/d)`` where the law is
``a*x*tanh(y/b)*(1 - c*w)``: the bound of the weight has a constant of its own in every unit but one. Both are
proposed here, and recordings that are left out decide.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from discover.errors import RuleError
from discover.expression import Node, canonical, const, constants, variables_of, with_constants
from discover.search._polish import sum_of_terms, terms_of

__all__ = ["alike", "shorter", "tied"]

Powers = list[tuple[Node, int]]
"""Factors of a product, and whether each is multiplied (1) or divided (-1) by."""


def tied(node: Node, variables: tuple[str, ...]) -> list[Node]:
    """Return forms in which terms that have a function in common share it, and its constants.

    Parameters
    ----------
    node : Node
    variables : tuple of str

    Examples
    --------
    >>> from discover.expression import parse
    >>> names = ("x", "y", "w")
    >>> [str(one) for one in tied(parse("2*x*tanh(0.5*y) - w*x*tanh(0.4*y)", names), names)]
    ['x*(2 - w)*tanh(0.5*y)']
    """
    terms = [_factors(rest, scale) for rest, scale in terms_of(node)]
    shared: dict[str, list[int]] = {}
    for number, (factors, _) in enumerate(terms):
        for key in {_key(one) for one in factors if one[0].op not in ("var", "pow")}:
            shared.setdefault(key, []).append(number)
    found = []
    for key in sorted(shared):
        together = shared[key]
        if len(together) > 1:
            try:
                found.append(canonical(_sharing(terms, together), variables))
            except RuleError:  # a product that overflows
                continue
    return found


def alike(node: Node, variables: tuple[str, ...]) -> Iterator[Node]:
    """Yield forms in which one term depends on a variable as another term does.

    Where states are noisy, ``y*exp(-y/2)`` in one term may do as well as the ``tanh(y)`` that it should be,
    and that another term has.

    Examples
    --------
    >>> from discover.expression import parse
    >>> names = ("x", "y", "w")
    >>> node = parse("x*y*exp(-y) - w*x*tanh(y)", names)
    >>> sorted(str(one) for one in alike(node, names))[:2]
    ['x*tanh(y) - w*x*tanh(y)', 'x*tanh(y)*(1 - w)']
    """
    terms = [_factors(rest, scale) for rest, scale in terms_of(node)]
    for name in variables:
        own = [[one for one in factors if variables_of(one[0]) == (name,)] for factors, _ in terms]
        for model in own:
            if all(one[0].op in ("var", "pow") for one in model):
                continue
            for number, mine in enumerate(own):
                if mine and sorted(map(_key, mine)) != sorted(map(_key, model)):
                    factors, scale = terms[number]
                    changed = [one for one in factors if one not in mine] + model
                    others = [one for k, one in enumerate(terms) if k != number]
                    try:
                        form = canonical(_sum([(changed, scale), *others]), variables)
                    except RuleError:
                        continue
                    yield form
                    yield from tied(form, variables)


def _sharing(terms: Sequence[tuple[Powers, float]], together: Sequence[int]) -> Node:
    """Write the sum with what all of `together` have in common once, its constants those of the first."""
    common: Powers = []
    rests = [list(terms[number][0]) for number in together]
    for one in terms[together[0]][0]:
        if all(_key(one) in map(_key, rest) for rest in rests):
            common.append(one)
            for rest in rests:
                rest.pop([_key(other) for other in rest].index(_key(one)))
    inner = _sum([(rest, terms[number][1]) for rest, number in zip(rests, together, strict=True)])
    others = [one for k, one in enumerate(terms) if k not in together]
    return _sum([([*common, (inner, 1)], 1.0), *others])


def _sum(terms: Sequence[tuple[Powers, float]]) -> Node:
    """Write a sum of products; a difference in a product that is subtracted is turned round."""
    written = []
    for factors, scale in terms:
        turned = list(factors)
        sums = [k for k, (node, _) in enumerate(factors) if node.op in ("add", "sub")]
        if scale < 0 and sums:
            node, power = factors[sums[0]]
            opposite = sum_of_terms([(rest, -coefficient) for rest, coefficient in terms_of(node)])
            turned[sums[0]], scale = (opposite, power), -scale
        written.append((_product(turned), scale))
    return sum_of_terms(written)


def _factors(node: Node | None, scale: float) -> tuple[Powers, float]:
    """Split a term into its factors and its coefficient."""
    found: Powers = []
    waiting: Powers = [] if node is None else [(node, 1)]
    while waiting:
        part, power = waiting.pop()
        if part.op in ("mul", "div"):
            left, right = part.args
            waiting += [(right, power if part.op == "mul" else -power), (left, power)]
        elif part.op == "const" and part.value != 0:
            scale *= part.value**power
        else:
            found.append((part, power))
    return found, scale


def _key(factor: tuple[Node, int]) -> str:
    node, power = factor
    return f"{with_constants(node, [1.25] * len(constants(node)))} {power}"


def _product(factors: Powers) -> Node | None:
    if not factors:
        return None
    product = const(1.0)
    for node, power in sorted(factors, key=lambda one: -one[1]):
        product = Node("mul" if power > 0 else "div", (product, node))
    return product


def shorter(node: Node, variables: tuple[str, ...]) -> Iterator[Node]:
    """Yield the forms with fewer nodes in which one constant is 0, or 1 or -1 by its sign.

    Examples
    --------
    >>> from discover.expression import parse
    >>> [str(one) for one in shorter(parse("x*y - 0.98*w + 0.01", ("x", "y", "w")), ("x", "y", "w"))]
    ['0.01 + x*y', '0.01 - w + x*y', '-0.98*w + x*y']
    """
    values = constants(node)
    for k in range(len(values)):
        for target in (0.0, math.copysign(1.0, values[k])):
            trial = [target if j == k else value for j, value in enumerate(values)]
            try:
                form = canonical(with_constants(node, trial), variables)
            except RuleError:  # a division by zero
                continue
            if form.complexity < node.complexity:
                yield form
