"""The expression tree: immutable nodes, their text, and their value.

Trees may be deep (a sum of 900 terms is a chain of 899 additions), so nothing here recurses.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from discover.errors import RuleError, did_you_mean

__all__ = [
    "DERIVATIVES",
    "FUNCTIONS",
    "MAX_EXPONENT",
    "NOT_SIMULATED",
    "OPERATIONS",
    "SHORTHANDS",
    "WAVES",
    "Node",
    "apply",
    "const",
    "constants",
    "define_function",
    "evaluate",
    "forget_function",
    "is_integer_exponent",
    "own_functions",
    "postorder",
    "var",
    "variables_of",
    "with_constants",
]

MAX_EXPONENT = 64
"""Largest absolute value of a constant exponent."""

OPERATIONS: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "pow": np.power,
    "neg": np.negative,
    "tanh": np.tanh,
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "abs": np.absolute,
    "sign": np.sign,
    "max": np.maximum,
    "min": np.minimum,
    "sin": np.sin,
    "cos": np.cos,
}
"""What every operation computes, by its name."""

DERIVATIVES: dict[str, Callable[..., tuple[Any, ...]]] = {
    "add": lambda value, a, b: (1.0, 1.0),
    "sub": lambda value, a, b: (1.0, -1.0),
    "mul": lambda value, a, b: (b, a),
    "div": lambda value, a, b: (1.0 / b, -value / b),
    "pow": lambda value, a, b: (b * a ** (b - 1.0), value * np.log(a)),
    "neg": lambda value, a: (-1.0,),
    "tanh": lambda value, a: (1.0 - value**2,),
    "exp": lambda value, a: (value,),
    "log": lambda value, a: (1.0 / a,),
    "sqrt": lambda value, a: (0.5 / value,),
    "abs": lambda value, a: (np.sign(a),),
    "sign": lambda value, a: (0.0,),
    "max": lambda value, a, b: (np.where(a >= b, 1.0, 0.0), np.where(a >= b, 0.0, 1.0)),
    "min": lambda value, a, b: (np.where(a <= b, 1.0, 0.0), np.where(a <= b, 0.0, 1.0)),
    "sin": lambda value, a: (np.cos(a),),
    "cos": lambda value, a: (-np.sin(a),),
}
"""Partial derivatives of every operation, from its value and its operands."""

FUNCTIONS: dict[str, int] = dict.fromkeys(("tanh", "exp", "log", "sqrt", "abs", "sign"), 1) | {
    "max": 2, "min": 2, "sin": 1, "cos": 1,
}  # fmt: skip
"""Operations that are written as function calls -> their number of operands."""

WAVES: Final = ("sin", "cos")
"""Functions on offer for rules of recorded data."""

NOT_SIMULATED: set[str] = set(WAVES)
"""Functions that rules of recorded data may have and networks do not run; those of one's own are added."""

SHORTHANDS = {"square": 1, "cube": 1, "inv": 1, "neg": 1, "pow": 2}
"""What may be written as a function call, and is read as other operations -> its number of operands."""

_Item = TypeVar("_Item")

_ARITY: dict[str, int] = {
    **dict.fromkeys(("add", "sub", "mul", "div", "pow"), 2), **FUNCTIONS, "neg": 1, "var": 0, "const": 0,
}  # fmt: skip
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


def own_functions() -> frozenset[str]:
    """Return the names of the functions that were defined in this process."""
    return frozenset(NOT_SIMULATED.difference(WAVES))


def define_function(name: str, function: Callable[[Any], Any], derivative: Callable[[Any], Any]) -> None:
    """Let rules of recorded data have a function of one's own, in this process.

    Networks do not run it, and of the engines the product-term search alone proposes it: as ``name(v/c)``,
    where :attr:`discover.inference.InferSettings.functions` names it. A process that reads such a rule has to
    define the function again.

    Parameters
    ----------
    name : str
        How it is written, such as ``softplus``.
    function, derivative : callable
        Of one array, element by element.

    Raises
    ------
    RuleError
        If the name is none, or another operation has it, or the derivative is not that of the function.

    Examples
    --------
    >>> define_function("softplus", lambda v: np.logaddexp(0, v), lambda v: 1 / (1 + np.exp(-v)))
    >>> evaluate(Node("softplus", (var("x"),)), {"x": [0.0]}).round(4)
    array([0.6931])
    >>> forget_function("softplus")
    """
    if not _NAME.fullmatch(name) or name in (_ARITY.keys() | SHORTHANDS.keys()) - own_functions():
        raise RuleError(f"A function needs a name of its own (letters, digits, _), got {name[:40]!r}.")
    places = np.linspace(-3.0, 3.0, 61) + 0.01
    with np.errstate(all="ignore"):
        slopes = (np.asarray(function(places + 1e-5)) - np.asarray(function(places - 1e-5))) / 2e-5
        given = np.broadcast_to(np.asarray(derivative(places), dtype=np.float64), slopes.shape)
    seen = np.isfinite(slopes) & np.isfinite(given)
    wrong = ~np.isclose(given[seen], slopes[seen], rtol=1e-3, atol=1e-3)
    if not seen.any() or np.mean(wrong) > 0.1:  # a corner is at few of these places
        raise RuleError(f"The derivative of {name} is not that of the function, between -3 and 3.")
    OPERATIONS[name] = function
    DERIVATIVES[name] = lambda value, a: (derivative(a),)
    FUNCTIONS[name] = _ARITY[name] = 1
    NOT_SIMULATED.add(name)


def forget_function(name: str) -> None:
    """Take a function back that :func:`define_function` has added.

    Raises
    ------
    RuleError
        If none of this name was defined.
    """
    if name not in own_functions():
        raise RuleError(f"No function {name[:40]!r} was defined.")
    for table in (OPERATIONS, DERIVATIVES, FUNCTIONS, _ARITY):
        del table[name]
    NOT_SIMULATED.remove(name)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Node:
    """One operation, variable or constant of an expression, with what stands below it.

    Parameters
    ----------
    op : str
        ``var``, ``const`` or one of :data:`OPERATIONS`.
    args : tuple of Node
        Operands, in reading order.
    name : str
        Name of a variable.
    value : float
        Value of a constant; a negative constant is one node.

    Raises
    ------
    RuleError
        If the operation is unknown, has the wrong number of operands, a constant is not finite, a name is
        not a plain identifier, or a constant exponent is larger than :data:`MAX_EXPONENT`.

    Examples
    --------
    >>> node = Node("mul", (var("x"), var("y")))
    >>> str(node), node.complexity
    ('x*y', 3)
    """

    op: str
    args: tuple[Node, ...] = ()
    name: str = ""
    value: float = 0.0
    _complexity: int = field(init=False)
    _hash: int = field(init=False)

    def __post_init__(self) -> None:
        arity = _ARITY.get(self.op)
        if arity is None:
            raise RuleError(f"Unknown operation {self.op!r}.{did_you_mean(str(self.op), _ARITY)}")
        if len(self.args) != arity:
            raise RuleError(f"The operation {self.op!r} takes {arity} operands, got {len(self.args)}.")
        if self.op == "const":
            object.__setattr__(self, "value", _checked_value(self.value))
        elif self.op == "var" and not _NAME.fullmatch(self.name):
            raise RuleError(f"A variable needs a plain name (letters, digits, _), got {self.name[:40]!r}.")
        elif self.op == "pow" and self.args[1].op == "const" and abs(self.args[1].value) > MAX_EXPONENT:
            raise RuleError(f"Constant exponents lie in -{MAX_EXPONENT}..{MAX_EXPONENT}, got {self.args[1]}.")
        object.__setattr__(self, "_complexity", 1 + sum(arg._complexity for arg in self.args))
        content = (self.op, self.name, self.value, tuple(arg._hash for arg in self.args))
        object.__setattr__(self, "_hash", hash(content))

    @property
    def complexity(self) -> int:
        """Number of nodes of the tree: ``x*y`` has 3, ``w*y**2`` has 5."""
        return self._complexity

    def __str__(self) -> str:
        """Text that :func:`discover.expression.parse` reads back to the same tree."""
        return _text(self)

    def __repr__(self) -> str:
        return f"<Node {self}>"

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Node):
            return NotImplemented
        pairs = [(self, other)]
        while pairs:
            a, b = pairs.pop()
            if a is b:
                continue
            if a._hash != b._hash or (a.op, a.name, a.value) != (b.op, b.name, b.value):
                return False
            pairs.extend(zip(a.args, b.args, strict=True))
        return True

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (tuple((node.op, node.name, node.value) for node in postorder(self)),)


def _checked_value(value: float) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    except (TypeError, ValueError):
        raise RuleError(f"A constant needs a number, got {type(value).__name__}.") from None
    if not math.isfinite(number):
        raise RuleError(f"Constants of a rule must be finite, got {number}.")
    return number + 0.0


def _rebuild(content: Sequence[tuple[str, str, float]]) -> Node:
    stack: list[Node] = []
    for op, name, value in content:
        args = take(stack, _ARITY[op])
        stack.append(Node(op, args, name, value))
    return stack.pop()


def take(stack: list[_Item], count: int) -> tuple[_Item, ...]:
    """Remove the last `count` items of a stack and return them in order."""
    if count == 0:
        return ()
    items = tuple(stack[-count:])
    del stack[-count:]
    return items


def var(name: str) -> Node:
    """Return the node of a variable."""
    return Node("var", name=name)


def const(value: float) -> Node:
    """Return the node of a constant."""
    return Node("const", value=value)


def postorder(node: Node) -> list[Node]:
    """Return all nodes of a tree, operands before what uses them, in reading order.

    Examples
    --------
    >>> [str(part) for part in postorder(Node("mul", (var("x"), var("y"))))]
    ['x', 'y', 'x*y']
    """
    order: list[Node] = []
    stack = [node]
    while stack:
        current = stack.pop()
        order.append(current)
        stack.extend(current.args)
    order.reverse()
    return order


def variables_of(node: Node) -> tuple[str, ...]:
    """Return the names of the variables of a tree, in the order of their first appearance."""
    return tuple(dict.fromkeys(part.name for part in postorder(node) if part.op == "var"))


def apply(op: str, *values: float) -> float:
    """Return the value of one operation on numbers; NaN and infinity come out as they are.

    Examples
    --------
    >>> apply("pow", 2.0, 3.0)
    8.0
    """
    with np.errstate(all="ignore"):
        return float(OPERATIONS[op](*(np.float64(value) for value in values)))


def evaluate(node: Node, values: Mapping[str, ArrayLike]) -> NDArray[np.float64]:
    """Return the value of an expression.

    There is no guard on domains: division by zero, overflow and roots of negative numbers come out as
    infinity or NaN, without a warning.

    Parameters
    ----------
    node : Node
    values : mapping from name to array_like
        One array a variable; shapes broadcast against each other.

    Returns
    -------
    ndarray of float
        Has the common shape of all `values`, also where the expression does not use all of them.

    Raises
    ------
    RuleError
        If a variable of the expression has no value.

    Examples
    --------
    >>> evaluate(Node("mul", (var("x"), const(2.0))), {"x": [1.0, 2.0]})
    array([2., 4.])
    """
    arrays = {name: np.asarray(value, dtype=np.float64) for name, value in values.items()}
    shape = np.broadcast_shapes(*(array.shape for array in arrays.values()))
    stack: list[Any] = []
    with np.errstate(all="ignore"):
        for part in postorder(node):
            if part.op == "const":
                stack.append(np.float64(part.value))
            elif part.op == "var":
                stack.append(_lookup(arrays, part.name))
            else:
                stack.append(OPERATIONS[part.op](*take(stack, len(part.args))))
    return np.array(np.broadcast_to(stack.pop(), shape), dtype=np.float64)


def _lookup(arrays: Mapping[str, NDArray[np.float64]], name: str) -> NDArray[np.float64]:
    if name not in arrays:
        given = ", ".join(sorted(arrays)) or "nothing"
        raise RuleError(f"No value for the variable {name!r}; given: {given}.{did_you_mean(name, arrays)}")
    return arrays[name]


def is_integer_exponent(node: Node) -> bool:
    """Whether a node, standing as an exponent, is a whole number and so part of the structure."""
    return node.op == "const" and node.value == int(node.value) and abs(node.value) <= MAX_EXPONENT


def _is_tunable(order: Sequence[Node]) -> list[bool]:
    """Flag, for each node of a postorder, whether it is a constant and not a whole exponent."""
    flags: list[bool] = []
    position: list[int] = []
    for index, part in enumerate(order):
        flags.append(part.op == "const")
        operands = take(position, len(part.args))
        if part.op == "pow" and is_integer_exponent(part.args[1]):
            flags[operands[1]] = False
        position.append(index)
    return flags


def constants(node: Node) -> tuple[float, ...]:
    """Return the constants of an expression in reading order.

    Whole exponents belong to the structure and are left out.

    Examples
    --------
    >>> constants(Node("mul", (const(0.5), Node("pow", (var("y"), const(2.0))))))
    (0.5,)
    """
    order = postorder(node)
    return tuple(part.value for part, tunable in zip(order, _is_tunable(order), strict=True) if tunable)


def with_constants(node: Node, values: Iterable[float]) -> Node:
    """Return the same expression with other constants, in the order of :func:`constants`.

    Raises
    ------
    RuleError
        If the number of values differs, one is not finite, or an exponent grows beyond
        :data:`MAX_EXPONENT`.

    Examples
    --------
    >>> str(with_constants(Node("mul", (const(0.5), var("x"))), [2.0]))
    '2*x'
    """
    order = postorder(node)
    flags = _is_tunable(order)
    numbers = [float(value) for value in values]
    if len(numbers) != sum(flags):
        raise RuleError(
            f"The expression {_short(node)} has {sum(flags)} constants, got {len(numbers)} values."
        )
    remaining = iter(numbers)
    stack: list[Node] = []
    for part, tunable in zip(order, flags, strict=True):
        if tunable:
            stack.append(const(next(remaining)))
        elif part.args:
            stack.append(Node(part.op, take(stack, len(part.args))))
        else:
            stack.append(part)
    return stack.pop()


def _short(node: Node) -> str:
    text = str(node)
    return repr(text if len(text) <= 60 else text[:57] + "...")


# Text. Precedences as in Python: sums, products, minus sign, powers, everything else.
_SUM, _PRODUCT, _MINUS, _POWER, _ATOM = range(5)
_INFIX = {
    "add": (" + ", _SUM),
    "sub": (" - ", _SUM),
    "mul": ("*", _PRODUCT),
    "div": ("/", _PRODUCT),
    "pow": ("**", _POWER),
}


def _text(node: Node) -> str:
    stack: list[tuple[str, int]] = []
    for part in postorder(node):
        operands = take(stack, len(part.args))
        stack.append(_part_text(part, operands))
    return stack.pop()[0]


def _part_text(part: Node, operands: Sequence[tuple[str, int]]) -> tuple[str, int]:
    if part.op == "var":
        return part.name, _ATOM
    if part.op == "const":
        return number_text(part.value), _MINUS if part.value < 0 else _ATOM
    if part.op == "neg":
        return "-" + _enclosed(operands[0], _POWER), _MINUS
    if part.op not in _INFIX:
        return f"{part.op}({', '.join(text for text, _ in operands)})", _ATOM
    symbol, precedence = _INFIX[part.op]
    left = _enclosed(operands[0], _ATOM if part.op == "pow" else precedence)
    right = _enclosed(operands[1], _POWER if part.op == "pow" else precedence + 1, signed=False)
    return left + symbol + right, precedence


def _enclosed(operand: tuple[str, int], least: int, *, signed: bool = True) -> str:
    text, precedence = operand
    needs_brackets = precedence < least or (not signed and text.startswith("-"))
    return f"({text})" if needs_brackets else text


def number_text(value: float) -> str:
    """Return the shortest text that reads back to the same number; whole numbers without a point."""
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)
