"""Between expression trees and SymPy, with bounded numbers.

SymPy evaluates while it builds: left alone, a few nested powers or exponentials of numbers keep it busy for
ever. So numbers are folded here in double precision, functions are built without evaluation, and whatever
leaves the range of a double is refused. SymPy is imported on first use.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from discover.errors import RuleError
from discover.expression.node import MAX_EXPONENT, Node, apply, const, own_functions, take, var
from discover.expression.parsing import MAX_NODES, combine
from discover.expression.simplify import flat_operands

__all__ = ["from_sympy", "to_sympy"]

_MAX_POWER = MAX_EXPONENT**2
_SMALLEST = 1e-300
_LARGEST = 1e300


def to_sympy(node: Node) -> Any:
    """Return an expression as a SymPy expression in real symbols.

    Parameters
    ----------
    node : Node

    Returns
    -------
    sympy.Expr
        Constants are floats, except whole exponents and -1, 0, 1.

    Raises
    ------
    RuleError
        If a number on the way leaves the range of a double, powers pile up beyond any use, or the expression
        is nested too deeply for SymPy.

    Examples
    --------
    >>> from discover.expression import parse
    >>> to_sympy(parse("x*y - 0.5*y**2", ("x", "y")))
    x*y - 0.5*y**2
    """
    try:
        return _converted(node)
    except RecursionError:
        raise RuleError("This expression is nested too deeply for SymPy: write it flatter.") from None


def _converted(node: Node) -> Any:
    done: list[Any] = []
    todo: list[tuple[Node, tuple[str, ...] | None]] = [(node, None)]
    while todo:
        current, shape = todo.pop()
        if shape is None:
            shape, children = flat_operands(current)
            todo.append((current, shape))
            todo.extend((child, None) for child in reversed(children))
        else:
            done.append(_checked(_built(current, shape, take(done, len(shape)))))
    return done.pop()


def _built(node: Node, shape: Sequence[str], args: Sequence[Any]) -> Any:
    import sympy

    if node.op == "var":
        return sympy.Symbol(node.name, real=True)
    if node.op == "const":
        return _number(node.value)
    if node.op in ("add", "sub"):
        return sympy.Add(*(-arg if sign == "-" else arg for sign, arg in zip(shape, args, strict=True)))
    if node.op in ("mul", "div"):
        return sympy.Mul(
            *(_inverse(arg) if sign == "/" else arg for sign, arg in zip(shape, args, strict=True))
        )
    if all(arg.is_Number for arg in args):
        return _folded(node.op, args)
    if node.op == "neg":
        return -args[0]
    if node.op == "pow":
        return _power(args[0], args[1])
    if node.op == "sqrt":
        return sympy.sqrt(args[0])
    if node.op in own_functions():
        return sympy.Function(node.op)(*args)
    names = {"abs": "Abs", "max": "Max", "min": "Min"}
    return getattr(sympy, names.get(node.op, node.op))(*args, evaluate=False)


def _number(value: float) -> Any:
    import sympy

    return sympy.Integer(int(value)) if value in (-1.0, 0.0, 1.0) else sympy.Float(value)


def _folded(op: str, args: Sequence[Any]) -> Any:
    value = apply(op, *(float(arg) for arg in args))
    if not math.isfinite(value):
        raise RuleError(f"A part of the rule is the constant {value}: {op} of {', '.join(map(str, args))}.")
    return _number(value)


def _power(base: Any, exponent: Any) -> Any:
    import sympy

    if exponent.is_Number and float(exponent).is_integer():
        exponent = sympy.Integer(int(exponent))
    return sympy.Pow(base, exponent)


def _inverse(expr: Any) -> Any:
    import sympy

    return _folded("div", (sympy.Integer(1), expr)) if expr.is_Number else sympy.Pow(expr, -1)


def _checked(expr: Any) -> Any:
    """Refuse numbers that no double holds and powers that only grow, before anything builds on them."""
    import sympy

    coefficient = expr.as_coeff_Mul()[0]
    is_bounded = bool(coefficient.is_zero) or _SMALLEST < abs(coefficient) < _LARGEST
    if expr in (sympy.zoo, sympy.nan, sympy.oo, -sympy.oo) or not is_bounded:
        raise RuleError("A number in this rule leaves the range of double precision when SymPy collects it.")
    for factor in sympy.Mul.make_args(expr):
        exponent = factor.as_base_exp()[1] if factor.is_Pow else sympy.Integer(1)
        if abs(exponent.as_coeff_Mul()[0]) > _MAX_POWER:
            raise RuleError(f"Powers in this rule multiply to more than {_MAX_POWER}: too large for SymPy.")
    return expr


def from_sympy(expr: Any) -> Node:
    """Return a SymPy expression as an expression tree.

    Parameters
    ----------
    expr : sympy.Expr
        Sums, products, powers and the functions exp, tanh, log, Abs, sign, Max, Min.

    Raises
    ------
    RuleError
        If something else stands in it, a number is not real and finite, or it is too large.

    Examples
    --------
    >>> import sympy
    >>> x, y, w = sympy.symbols("x y w")
    >>> str(from_sympy(y * (x - w * y)))
    'y*(x - w*y)'
    """
    done: list[Node] = []
    todo: list[tuple[Any, bool]] = [(expr, False)]
    n_visited = 0
    while todo:
        current, is_open = todo.pop()
        children = _children(current)
        if is_open:
            done.append(_node(current, take(done, len(children))))
            continue
        n_visited += 1
        if n_visited > MAX_NODES:
            raise RuleError(f"The SymPy expression has more than {MAX_NODES:,} parts.")
        todo.append((current, True))
        todo.extend((child, False) for child in reversed(children))
    return done.pop()


def _children(expr: Any) -> tuple[Any, ...]:
    if not hasattr(expr, "is_number"):
        raise RuleError(f"A SymPy expression is needed, got {type(expr).__name__}.")
    return () if expr.is_Atom else tuple(expr.args)


def _node(expr: Any, args: tuple[Node, ...]) -> Node:
    import sympy

    if expr.is_Symbol:
        return var(expr.name)
    if expr.is_Atom:
        return const(_real(expr))
    if expr.is_Add:
        return _sum(args)
    if expr.is_Mul:
        return _product(args)
    if expr.is_Pow:
        return _power_node(*args)
    table: dict[Any, str] = {sympy.Abs: "abs", sympy.Max: "max", sympy.Min: "min"}
    table |= {getattr(sympy, name): name for name in ("exp", "tanh", "log", "sign", "sin", "cos")}
    op = table.get(expr.func, str(expr.func) if str(expr.func) in own_functions() else None)
    if op is None:
        raise RuleError(f"A rule cannot hold the SymPy function {expr.func.__name__}.")
    if op in ("max", "min"):
        return _chained(op, args)
    return combine(op, args)


def _real(expr: Any) -> float:
    try:
        value = float(expr)
    except (TypeError, OverflowError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise RuleError(f"Numbers in a rule are real and finite, got {str(expr)[:40]}.")
    return value


def _chained(op: str, args: Sequence[Node]) -> Node:
    result = args[0]
    for arg in args[1:]:
        result = combine(op, (result, arg))
    return result


def _split_sign(term: Node) -> tuple[bool, Node]:
    """Take the sign off a term that starts with a minus."""
    above = []
    first = term
    while first.op in ("mul", "div"):
        above.append(first)
        first = first.args[0]
    if first.op == "neg":
        first = first.args[0]
    elif first.op == "const" and first.value < 0:
        first = const(-first.value)
    else:
        return False, term
    for product in reversed(above):
        first = Node(product.op, (first, product.args[1]))
    return True, first


def _sum(args: Sequence[Node]) -> Node:
    terms = [_split_sign(term) for term in args]
    terms.sort(key=lambda entry: (entry[0], entry[1].op != "const"))
    negative, total = terms[0]
    total = combine("neg", (total,)) if negative else total
    for negative, term in terms[1:]:
        total = combine("sub" if negative else "add", (total, term))
    return total


def _product(args: Sequence[Node]) -> Node:
    numerator = sorted((arg for arg in args if not _is_inverse(arg)), key=lambda arg: arg.op != "const")
    divisors = [arg.args[1] for arg in args if _is_inverse(arg)]
    negative = bool(numerator) and numerator[0] == const(-1.0)
    numerator = numerator[1:] if negative and len(numerator) > 1 else numerator
    if negative and numerator[0] != const(-1.0):
        numerator[0] = combine("neg", (numerator[0],))
    product = _chained("mul", numerator) if numerator else const(1.0)
    for divisor in divisors:
        product = combine("div", (product, divisor))
    return product


def _is_inverse(node: Node) -> bool:
    return node.op == "div" and node.args[0] == const(1.0)


def _power_node(base: Node, exponent: Node) -> Node:
    shortcuts: dict[float, Callable[[], Node]] = {
        0.5: lambda: combine("sqrt", (base,)),
        -0.5: lambda: combine("div", (const(1.0), combine("sqrt", (base,)))),
        -1.0: lambda: combine("div", (const(1.0), base)),
    }
    if exponent.op == "const" and exponent.value in shortcuts:
        return shortcuts[exponent.value]()
    if exponent.op == "const" and exponent.value < 0 and exponent.value == int(exponent.value):
        return combine("div", (const(1.0), combine("pow", (base, const(-exponent.value)))))
    if base == const(math.e):
        return combine("exp", (exponent,))
    return combine("pow", (base, exponent))
