"""Cheap rearrangements that keep the value: local simplification and canonical order.

Signs live at the leftmost factor of a product, so that ``a + (-b)*c`` is seen to be ``a - b*c``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from discover.expression.node import MAX_EXPONENT, Node, apply, const, is_integer_exponent, postorder, take
from discover.expression.parsing import MAX_LENGTH, MAX_NODES
from discover.expression.polynomial import factor_order, polynomial_node, polynomial_terms

__all__ = ["canonical", "flat_operands", "scaled", "simplify_structure"]

_TOTAL = frozenset({"var", "const", "add", "sub", "mul", "neg", "tanh", "abs", "sign", "max", "min"})
_MAX_PASSES = 4


def simplify_structure(node: Node) -> Node:
    """Fold constants and drop what does nothing: ``x + 0``, ``1*x``, ``--x``, ``a + (-b)``.

    Values are the same up to rounding wherever the expression is finite. It takes time in proportion to the
    size of the tree.

    Examples
    --------
    >>> from discover.expression import parse
    >>> str(simplify_structure(parse("1*x + (-0.5)*y*w + 0", ("x", "y", "w"))))
    'x - 0.5*y*w'
    """
    for _ in range(_MAX_PASSES):
        simpler = _one_pass(node)
        if simpler == node:
            break
        node = simpler
    return node


def scaled(node: Node, factor: float) -> Node:
    """Return an expression times a number, which enters the terms of a sum.

    Raises
    ------
    RuleError
        If a coefficient becomes infinite.

    Examples
    --------
    >>> from discover.expression import parse
    >>> names = ("x", "y", "w")
    >>> str(scaled(parse("0.5*x*tanh(y) - 3*w", names), 2.0))
    'x*tanh(y) - 6*w'
    >>> str(scaled(parse("w*(1.5 - 2*abs(y))", names), 2.0))
    'w*(3 - 4*abs(y))'
    """
    node = simplify_structure(node)
    if node.op not in ("add", "sub"):
        return _with_number(const(factor).value, node)
    shape, children = flat_operands(node)
    total: Node | None = None
    for sign, child in zip(shape, children, strict=True):
        term = _with_number(-factor if sign == "-" else factor, child)
        total = term if total is None else _add(total, term)
    return const(0.0) if total is None else total


def _with_number(value: float, node: Node) -> Node:
    """Return ``value*node``; the number enters a sum in the product where it costs nothing there."""
    number, body = _split_coefficient(_scaled(value, node))
    shape, children = flat_operands(body) if body.op in ("mul", "div") else (("*",), [body])
    numerators = [place for place, sign in enumerate(shape) if sign == "*"]
    number, entered = _within_a_sum(number, [children[place] for place in numerators])
    factors = dict(enumerate(children)) | dict(zip(numerators, entered, strict=True))
    product = factors[0]
    for place, sign in enumerate(shape[1:], start=1):
        product = Node("mul" if sign == "*" else "div", (product, factors[place]))
    return _scaled(number, product)


def _one_pass(node: Node) -> Node:
    stack: list[Node] = []
    for part in postorder(node):
        if not part.args:
            stack.append(part)
            continue
        args = take(stack, len(part.args))
        folded = _folded(part.op, args)
        builder = _BUILDERS.get(part.op)
        if folded is not None:
            stack.append(folded)
        elif builder is not None:
            stack.append(builder(*args))
        else:
            stack.append(Node(part.op, args))
    return stack.pop()


def _folded(op: str, args: Sequence[Node]) -> Node | None:
    """Return the constant that an operation on constants makes; None when there is none."""
    if any(arg.op != "const" for arg in args):
        return None
    value = apply(op, *(arg.value for arg in args))
    return const(value) if math.isfinite(value) else None


def _is_const(node: Node, value: float) -> bool:
    return node.op == "const" and node.value == value


def _leftmost(node: Node) -> tuple[Node, list[Node]]:
    """Return the leftmost factor of a product and the products above it, outermost first."""
    above = []
    while node.op in ("mul", "div"):
        above.append(node)
        node = node.args[0]
    return node, above


def _with_leftmost(factor: Node, above: Sequence[Node]) -> Node:
    for product in reversed(above):
        if product.op == "mul" and _is_const(factor, 1.0):
            factor = product.args[1]
        else:
            factor = Node(product.op, (factor, product.args[1]))
    return factor


def _is_negative(node: Node) -> bool:
    factor, _ = _leftmost(node)
    return factor.op == "neg" or (factor.op == "const" and factor.value < 0)


def _neg(node: Node) -> Node:
    factor, above = _leftmost(node)
    if factor.op == "neg":
        factor = factor.args[0]
        # The factor below the sign may be a product itself; what stands above goes on from there.
        return _with_leftmost(factor, above)
    if factor.op == "const":
        return _with_leftmost(const(-factor.value), above)
    if factor.op == "sub":
        return _with_leftmost(Node("sub", (factor.args[1], factor.args[0])), above)
    return _with_leftmost(Node("neg", (factor,)), above)


def _add(a: Node, b: Node) -> Node:
    if _is_const(a, 0.0):
        return b
    if _is_const(b, 0.0):
        return a
    if _is_negative(b):
        return Node("sub", (a, _neg(b)))
    if _is_negative(a) and a.op != "const":
        return Node("sub", (b, _neg(a)))
    return Node("add", (a, b))


def _sub(a: Node, b: Node) -> Node:
    if _is_const(b, 0.0):
        return a
    if _is_const(a, 0.0):
        return _neg(b)
    if _is_negative(b):
        return Node("add", (a, _neg(b)))
    return Node("sub", (a, b))


def _mul(a: Node, b: Node) -> Node:
    if b.op == "const":
        a, b = b, a
    if _is_negative(b):
        a, b = _neg(a), _neg(b)
    if a.op == "const":
        return _scaled(a.value, b)
    return Node("mul", (a, b))


def _scaled(value: float, node: Node) -> Node:
    if value == 0.0 and all(part.op in _TOTAL for part in postorder(node)):
        return const(0.0)
    factor, above = _leftmost(node)
    if factor.op == "const":
        product = _folded("mul", (const(value), factor))
        if product is not None and product.value != 0.0:
            return _with_coefficient(product.value, None, above)
    return _with_coefficient(value, factor, above)


def _with_coefficient(value: float, factor: Node | None, above: Sequence[Node]) -> Node:
    """Return ``value*factor`` carried up through products and quotients; `factor` None stands for 1."""
    if factor is None and value == -1.0 and above and above[-1].op == "mul":
        factor, above = above[-1].args[1], above[:-1]
    if factor is None:
        return _with_leftmost(const(value), above)
    if value == 1.0:
        return _with_leftmost(factor, above)
    if value == -1.0:
        return _neg(_with_leftmost(factor, above))
    return _with_leftmost(Node("mul", (const(value), factor)), above)


def _div(a: Node, b: Node) -> Node:
    if _is_negative(b):
        a, b = _neg(a), _neg(b)
    if b.op != "div" or _is_const(b.args[0], 0.0):
        return a if _is_const(b, 1.0) else Node("div", (a, b))
    # x/(c/y) becomes x*y/c. They differ at y = 0 alone, where the first has a gap that its limit, the second,
    # fills; a rule is meant to have none there.
    while b.op == "div" and not _is_const(b.args[0], 0.0):
        a, b = _mul(a, b.args[1]), b.args[0]
    inverse = _folded("div", (const(1.0), b))
    return _mul(inverse, a) if inverse is not None else _div(a, b)


def _pow(a: Node, b: Node) -> Node:
    if _is_const(b, 1.0):
        return a
    if _is_const(b, 0.0) or _is_const(a, 1.0):
        return const(1.0)
    return Node("pow", (a, b))


def _abs(a: Node) -> Node:
    while a.op in ("abs", "neg"):
        a = a.args[0]
    return Node("abs", (a,))


def _sin(a: Node) -> Node:
    return _neg(Node("sin", (_neg(a),))) if _is_negative(a) else Node("sin", (a,))


def _cos(a: Node) -> Node:
    return Node("cos", (_neg(a) if _is_negative(a) else a,))


_BUILDERS: dict[str, Callable[..., Node]] = {
    "add": _add,
    "sub": _sub,
    "mul": _mul,
    "div": _div,
    "pow": _pow,
    "neg": _neg,
    "abs": _abs,
    "sin": _sin,
    "cos": _cos,
}


def canonical(node: Node, variables: Sequence[str]) -> Node:
    """Return the one form that stands for an expression and its rearrangements.

    A polynomial becomes its expanded sum, low degrees first; anything else is simplified by
    :func:`simplify_structure`, equal terms and equal factors are gathered, a number in front of a product
    enters a sum whose terms all have one, and operands whose order does not matter are sorted. Values are the
    same up to rounding wherever the expression is finite.

    Parameters
    ----------
    node : Node
    variables : sequence of str
        In the order (presynaptic, postsynaptic, weight).

    Examples
    --------
    >>> from discover.expression import parse
    >>> names = ("x", "y", "w")
    >>> str(canonical(parse("y*(x - y*w)", names), names))
    'x*y - w*y**2'
    >>> str(canonical(parse("tanh(y)*x", names), names))
    'x*tanh(y)'
    >>> str(canonical(parse("2*w*(0.1 - 0.3*abs(y))", names), names))
    'w*(0.2 - 0.6*abs(y))'
    >>> str(canonical(parse("-3*y*sin(-0.5*x)", names), names))
    '3*y*sin(0.5*x)'
    """
    for _ in range(_MAX_PASSES):
        form = _polynomial_form(node, variables) or _sorted(simplify_structure(node), variables)
        if form == node:
            break
        node = form
    return node


def _polynomial_form(node: Node, variables: Sequence[str]) -> Node | None:
    """Return the expanded sum of a polynomial, unless it would be too large to be written out."""
    terms = polynomial_terms(node, variables)
    if terms is None:
        return None
    expanded = polynomial_node(terms, variables)
    is_readable = expanded.complexity <= MAX_NODES and len(str(expanded)) <= MAX_LENGTH
    return expanded if is_readable else None


def _sorted(node: Node, variables: Sequence[str]) -> Node:
    """Sort the terms of every sum and the factors of every product."""
    ranks = {variables[position]: rank for rank, position in enumerate(factor_order(len(variables)))}
    done: list[Node] = []
    todo: list[tuple[Node, tuple[str, ...] | None]] = [(node, None)]
    while todo:
        current, shape = todo.pop()
        if shape is None:
            shape, children = flat_operands(current)
            todo.append((current, shape))
            todo.extend((child, None) for child in reversed(children))
        else:
            done.append(_rebuilt(current, shape, take(done, len(shape)), ranks))
    return done.pop()


def flat_operands(node: Node) -> tuple[tuple[str, ...], list[Node]]:
    """Return the operands of a whole chain of sums or products, and how each of them enters.

    The first tuple holds ``+ -`` for the terms of a sum, ``* /`` for the factors of a product, and empty
    texts for the operands of anything else.
    """
    if node.op in ("add", "sub"):
        return _chain(node, {"add": ("+", "+"), "sub": ("+", "-")})
    if node.op in ("mul", "div"):
        return _chain(node, {"mul": ("*", "*"), "div": ("*", "/")})
    return ("",) * len(node.args), list(node.args)


def _chain(node: Node, signs: dict[str, tuple[str, str]]) -> tuple[tuple[str, ...], list[Node]]:
    direct = next(iter(signs.values()))[0]
    entries = []
    stack = [(node, direct)]
    while stack:
        current, sign = stack.pop()
        # Denominators stay whole; a bracket under a minus sign is opened.
        if current.op not in signs or sign == "/":
            entries.append((sign, current))
            continue
        left, right = signs[current.op]
        flipped = {"+": "-", "-": "+"} if sign == "-" else {}
        stack.append((current.args[1], flipped.get(right, right)))
        stack.append((current.args[0], flipped.get(left, left)))
    return tuple(sign for sign, _ in entries), [child for _, child in entries]


def _rebuilt(node: Node, shape: Sequence[str], children: Sequence[Node], ranks: dict[str, int]) -> Node:
    if node.op in ("add", "sub"):
        return _sorted_sum(shape, children)
    if node.op in ("mul", "div"):
        return _sorted_product(shape, children, ranks)
    if node.op in ("max", "min"):
        children = sorted(children, key=_weight)
    return Node(node.op, tuple(children)) if children else node


def _weight(node: Node) -> tuple[int, str]:
    return node.complexity, str(node)


def _sorted_sum(shape: Sequence[str], children: Sequence[Node]) -> Node:
    collected: dict[Node, float] = {}
    for sign, child in zip(shape, children, strict=True):
        value, body = _split_coefficient(child)
        collected[body] = collected.get(body, 0.0) + (-value if sign == "-" else value)
    if not all(math.isfinite(value) for value in collected.values()):
        return _plain_sum(shape, children)
    terms = [entry for entry in collected.items() if entry[1] != 0.0]
    terms.sort(key=lambda entry: _weight(_scaled(abs(entry[1]), entry[0])))
    if not terms:
        return const(0.0)
    # A positive term leads where there is one: a - b reads better than -b + a.
    lead = next((index for index, (_, value) in enumerate(terms) if value > 0), 0)
    body, value = terms.pop(lead)
    total = _scaled(value, body)
    for body, value in terms:
        total = Node("sub" if value < 0 else "add", (total, _scaled(abs(value), body)))
    return total


def _plain_sum(shape: Sequence[str], children: Sequence[Node]) -> Node:
    total = _neg(children[0]) if shape[0] == "-" else children[0]
    for sign, child in zip(shape[1:], children[1:], strict=True):
        total = Node("sub" if sign == "-" else "add", (total, child))
    return total


def _split_coefficient(term: Node) -> tuple[float, Node]:
    """Return the number in front of a product and the rest; a constant is that number times 1."""
    factor, above = _leftmost(term)
    if factor.op == "const":
        return factor.value, _with_leftmost(const(1.0), above)
    if factor.op == "neg":
        return -1.0, _neg(term)
    return 1.0, term


def _sorted_product(shape: Sequence[str], children: Sequence[Node], ranks: dict[str, int]) -> Node:
    def rank(factor: Node) -> tuple[int, int, str]:
        if factor.op == "const":
            # A constant that cannot be folded without overflow stays apart from the coefficient.
            return len(ranks) + 1, 1, str(factor)
        base = factor.args[0] if factor.op == "pow" else factor
        known = ranks.get(base.name, len(ranks)) if base.op == "var" else len(ranks)
        return known, factor.complexity, str(factor)

    coefficient = 1.0
    factors: list[Node] = []
    divisors: list[Node] = []
    for sign, child in zip(shape, children, strict=True):
        negative = _is_negative(child) and child.op != "const"
        coefficient = -coefficient if negative else coefficient
        child = _neg(child) if negative else child
        if sign == "*" and child.op == "const" and math.isfinite(coefficient * child.value):
            coefficient *= child.value
        else:
            (factors if sign == "*" else divisors).append(child)
    coefficient, factors = _within_a_sum(coefficient, _gathered(factors))
    factors.sort(key=rank)
    divisors.sort(key=rank)
    product = factors[0] if factors else const(1.0)
    for factor in factors[1:]:
        product = Node("mul", (product, factor))
    product = _scaled(coefficient, product)
    for divisor in divisors:
        product = Node("div", (product, divisor))
    return product


def _within_a_sum(coefficient: float, factors: list[Node]) -> tuple[float, list[Node]]:
    """Let a number in front of a product enter the first sum in which each term has a number already."""
    size = abs(coefficient)
    sums = [place for place, factor in enumerate(factors) if factor.op in ("add", "sub") and size != 1.0]
    for place in sums:
        shape, terms = flat_operands(factors[place])
        values = [_split_coefficient(term)[0] for term in terms]
        if all(abs(value) != 1.0 and 0.0 < abs(size * value) < math.inf for value in values):
            entered = _sorted_sum(shape, [_scaled(size, term) for term in terms])
            return math.copysign(1.0, coefficient), [*factors[:place], entered, *factors[place + 1 :]]
    return coefficient, factors


def _gathered(factors: Sequence[Node]) -> list[Node]:
    """Write equal factors as one power."""
    powers: dict[Node, float] = {}
    for factor in factors:
        is_power = factor.op == "pow" and is_integer_exponent(factor.args[1]) and factor.args[1].value > 0
        base, power = (factor.args[0], factor.args[1].value) if is_power else (factor, 1.0)
        powers[base] = powers.get(base, 0.0) + power
    if any(power > MAX_EXPONENT for power in powers.values()):
        return list(factors)
    return [base if power == 1.0 else Node("pow", (base, const(power))) for base, power in powers.items()]
