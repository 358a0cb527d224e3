"""From text to expression tree, without ever evaluating code.

An operator-precedence parser with an explicit stack: its work is linear in the length of the text, and its
memory does not depend on how deeply the text is nested.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import ChainMap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NoReturn

from discover.errors import RuleError, did_you_mean
from discover.expression.node import FUNCTIONS, SHORTHANDS, Node, apply, const, take, var

__all__ = ["MAX_DEPTH", "MAX_LENGTH", "MAX_NODES", "combine", "parse"]

MAX_LENGTH = 10_000
"""Longest rule text, in characters."""

MAX_DEPTH = 100
"""Deepest nesting of brackets, functions, signs and powers in a rule text."""

MAX_NODES = 2_000
"""Largest expression tree that is read from text."""

_CALLABLE = ChainMap(FUNCTIONS, SHORTHANDS)
"""What is written as a function call -> its number of operands; functions may be added."""
_HINTS = {"ln": "log", "power": "pow", "maximum": "max", "minimum": "min", "sgn": "sign", "fabs": "abs"}
_LOOKALIKES = {
    "\N{MINUS SIGN}": "-",
    "\N{EN DASH}": "-",
    "\N{MULTIPLICATION SIGN}": "*",
    "\N{MIDDLE DOT}": "*",
    "\N{DOT OPERATOR}": "*",
    "\N{DIVISION SIGN}": "/",
    "\N{SUPERSCRIPT TWO}": "**2",
    "\N{SUPERSCRIPT THREE}": "**3",
    "[": "(",
    "{": "(",
    "]": ")",
    "}": ")",
}

_TOKEN = re.compile(
    r"(?P<blank>[ \t\r\n]+)"
    r"|(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eEfF][+-]?[0-9]+)?)"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<symbol>\*\*|[-+*/^(),])"
)

# Symbol: (operation, precedence, binds to the right). A sign binds tighter than a product and looser than a
# power, as in Python: -x**2 is -(x**2), and -2*x is (-2)*x.
_BINARY = {
    "+": ("add", 1, False),
    "-": ("sub", 1, False),
    "*": ("mul", 2, False),
    "/": ("div", 2, False),
    "**": ("pow", 4, True),
    "^": ("pow", 4, True),
}
_SIGN_PRECEDENCE = 3
_OPEN = -1
_OPERAND = "a number, a variable, a function or '('"
_STRAY_COMMA = "A comma, which separates only the arguments of max, min and pow, stands"


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    position: int


@dataclass(slots=True)
class _Pending:
    """An operator whose right side, or a bracket whose end, has not been read yet."""

    op: str
    precedence: int
    position: int
    n_operands: int = 2
    counts_as_nesting: bool = False

    @property
    def is_call(self) -> bool:
        return self.precedence == 0 and self.op in _CALLABLE


def parse(text: str, variables: Sequence[str]) -> Node:
    """Read a rule expression.

    Numbers (also in Julia's form ``1.0f-5``), the given variables, ``+ - * / ** ^``, brackets and the
    functions ``tanh exp log sqrt abs sign max min sin cos square cube inv neg pow`` are understood; nothing
    is ever evaluated as code. Sub-expressions without variables are folded into one constant.

    Parameters
    ----------
    text : str
        At most :data:`MAX_LENGTH` characters, :data:`MAX_DEPTH` levels and :data:`MAX_NODES` nodes.
    variables : sequence of str
        Names that may be used.

    Returns
    -------
    Node

    Raises
    ------
    RuleError
        If the text is anything else; the message shows where and what would be allowed.

    Examples
    --------
    >>> str(parse("x * y - y^2 * w", ["x", "y", "w"]))
    'x*y - y**2*w'
    >>> parse("x*y - z", ["x", "y", "w"])
    Traceback (most recent call last):
    ...
    discover.errors.RuleError: Unknown variable 'z' at position 7. Variables here: x, y, w.
        x*y - z
              ^
    """
    if not isinstance(text, str):
        raise RuleError(f"A rule expression is a text such as 'x*y', got {type(text).__name__}.")
    if len(text) > MAX_LENGTH:
        raise RuleError(
            f"The rule text has {len(text):,} characters; the longest allowed is {MAX_LENGTH:,}. "
            "Shorten it, for example by dropping digits of its constants."
        )
    if isinstance(variables, str):
        variables = (variables,)
    if not text.strip():
        raise RuleError(f"The rule text is empty. Write an expression in {_listed(variables)}, such as '0'.")
    return _Parser(text, tuple(variables)).run()


class _Parser:
    def __init__(self, text: str, variables: tuple[str, ...]) -> None:
        self.text = text
        self.variables = variables
        self.known_variables = frozenset(variables)
        self.operands: list[Node] = []
        self.pending: list[_Pending] = []
        self.nesting = 0

    def run(self) -> Node:
        wants_operand = True
        tokens = list(self.tokens())
        for index, token in enumerate(tokens):
            if wants_operand:
                follows = tokens[index + 1].text if index + 1 < len(tokens) else ""
                wants_operand = self.read_operand(token, follows)
            else:
                wants_operand = self.read_operator(token)
        if wants_operand:
            self.fail(f"The rule ends too early; {_OPERAND} is missing", len(self.text))
        self.reduce_to_bracket()
        if self.pending:
            self.fail("A ')' is missing for the bracket", self.pending[-1].position)
        return self.operands.pop()

    def tokens(self) -> Iterator[_Token]:
        position = 0
        while position < len(self.text):
            match = _TOKEN.match(self.text, position)
            if match is None:
                self.fail_on_character(position)
            kind = str(match.lastgroup)
            if kind != "blank":
                yield _Token(kind, match.group(), position)
            position = match.end()

    def read_operand(self, token: _Token, follows: str) -> bool:
        """Read what may start an operand; return whether an operand is still wanted."""
        if token.kind == "number":
            self.operands.append(self.number(token))
            return False
        if token.kind == "name":
            return self.read_name(token, is_call=follows == "(")
        if token.text == "(":
            # The bracket of a call is pending already, under the function's name.
            if not (self.pending and self.pending[-1].position == _OPEN):
                self.push(_Pending("(", 0, token.position, 0, counts_as_nesting=True))
            else:
                self.pending[-1].position = token.position
            return True
        if token.text == "-":
            self.push(_Pending("neg", _SIGN_PRECEDENCE, token.position, 1, counts_as_nesting=True))
            return True
        if token.text == "+":
            return True
        if token.text == ")" and self.pending and self.pending[-1].is_call:
            self.fail(
                f"The function {self.pending[-1].op}() needs {_count(self.pending[-1].op)}", token.position
            )
        self.fail(f"Found {token.text!r} where {_OPERAND} is expected", token.position)

    def number(self, token: _Token) -> Node:
        value = float(token.text.lower().replace("f", "e"))
        if not math.isfinite(value):
            self.fail("A number is too large", token.position, " Numbers go up to about 1.8e308.")
        return const(value)

    def read_name(self, token: _Token, *, is_call: bool) -> bool:
        name = token.text
        shown = repr(name if len(name) <= 40 else name[:37] + "...")
        if is_call:
            if name not in _CALLABLE:
                self.fail(f"Unknown function {shown}", token.position, self.function_help(name))
            self.push(_Pending(name, 0, _OPEN, 1, counts_as_nesting=True), shown_at=token.position)
            return True
        if name in self.known_variables:
            self.operands.append(var(name))
            return False
        if name in _CALLABLE:
            form = f"{name}({'..., ...' if _CALLABLE[name] > 1 else '...'})"
            self.fail(f"The function {name} has no argument", token.position, f" Write {form}.")
        hint = did_you_mean(name, (*self.variables, *_CALLABLE))
        allowed = f" Variables here: {_listed(self.variables)}."
        self.fail(f"Unknown variable {shown}", token.position, allowed + hint)

    def function_help(self, name: str) -> str:
        if name in self.known_variables:
            return f" {name!r} is a variable: write {name}*(...) to multiply."
        hint = _HINTS.get(name.lower())
        suggestion = f" Did you mean {hint!r}?" if hint else did_you_mean(name, _CALLABLE)
        return f" Functions: {', '.join(_CALLABLE)}.{suggestion}"

    def read_operator(self, token: _Token) -> bool:
        """Read what may follow an operand; return whether an operand is wanted next."""
        if token.text in _BINARY:
            op, precedence, to_the_right = _BINARY[token.text]
            self.reduce_while(precedence + 1 if to_the_right else precedence)
            self.push(_Pending(op, precedence, token.position, 2, counts_as_nesting=to_the_right))
            return True
        if token.text in (")", ","):
            self.reduce_to_bracket()
            return self.end_bracket(token)
        what = "'*'" if token.kind in ("number", "name") or token.text == "(" else "an operator"
        self.fail(
            f"{what} is missing before {token.text[:40]!r}", token.position, " Write products as in 2*x."
        )

    def end_bracket(self, token: _Token) -> bool:
        if not self.pending:
            self.fail("A ')' closes no bracket" if token.text == ")" else _STRAY_COMMA, token.position)
        bracket = self.pending[-1]
        is_call = bracket.is_call
        if token.text == ",":
            if not is_call or bracket.n_operands >= _CALLABLE[bracket.op]:
                self.fail(self.comma_text(bracket.op), token.position)
            bracket.n_operands += 1
            return True
        self.pop()
        if is_call:
            if bracket.n_operands != _CALLABLE[bracket.op]:
                self.fail(f"The function {bracket.op}() needs {_count(bracket.op)}", token.position)
            self.build(bracket.op, bracket.n_operands, bracket.position)
        return False

    def comma_text(self, op: str) -> str:
        if op in _CALLABLE:
            return f"The function {op}() takes only {_count(op)}"
        return _STRAY_COMMA

    def push(self, pending: _Pending, shown_at: int | None = None) -> None:
        self.nesting += pending.counts_as_nesting
        if self.nesting > MAX_DEPTH:
            position = pending.position if shown_at is None else shown_at
            self.fail(f"The rule is nested more than {MAX_DEPTH} levels deep", position, " Write it flatter.")
        self.pending.append(pending)

    def pop(self) -> _Pending:
        pending = self.pending.pop()
        self.nesting -= pending.counts_as_nesting
        return pending

    def reduce_while(self, precedence: int) -> None:
        """Apply pending operators that bind at least as tightly as `precedence`."""
        while self.pending and self.pending[-1].precedence >= max(precedence, 1):
            pending = self.pop()
            self.build(pending.op, pending.n_operands, pending.position)

    def reduce_to_bracket(self) -> None:
        self.reduce_while(1)

    def build(self, op: str, n_operands: int, position: int) -> None:
        args = take(self.operands, n_operands)
        try:
            node = combine(op, args)
        except RuleError as error:
            self.fail(str(error).rstrip("."), position)
        if node.complexity > MAX_NODES:
            self.fail(f"The rule has more than {MAX_NODES:,} nodes", position, " Use fewer terms.")
        self.operands.append(node)

    def fail(self, what: str, position: int, advice: str = "") -> NoReturn:
        raise RuleError(
            f"{what} at position {position + 1}.{advice}\n{_pointer(self.text, position)}"
        ) from None

    def fail_on_character(self, position: int) -> NoReturn:
        character = self.text[position]
        lookalike = _LOOKALIKES.get(character)
        advice = f" Did you mean {lookalike!r}?" if lookalike else ""
        self.fail(
            f"Unexpected character {_described(character)}",
            position,
            f"{advice} A rule is made of numbers, the variables {_listed(self.variables)}, the functions "
            f"{', '.join(_CALLABLE)}, the operators + - * / ** and brackets.",
        )


def combine(op: str, args: tuple[Node, ...]) -> Node:
    """Return the node that the parser makes of an operation and its operands.

    Shorthands are written out and constant operands folded.

    Parameters
    ----------
    op : str
        An operation of :class:`Node`, or ``square``, ``cube`` or ``inv``.
    args : tuple of Node

    Raises
    ------
    RuleError
        If a folded constant is not finite.

    Examples
    --------
    >>> str(combine("inv", (const(4.0),)))
    '0.25'
    """
    if op == "square":
        return combine("pow", (args[0], const(2.0)))
    if op == "cube":
        return combine("pow", (args[0], const(3.0)))
    if op == "inv":
        return combine("div", (const(1.0), args[0]))
    if not all(arg.op == "const" for arg in args):
        return Node(op, args)
    value = apply(op, *(arg.value for arg in args))
    if not math.isfinite(value):
        raise RuleError(f"A constant part of the rule is {value}, not a finite number")
    return const(value)


def _pointer(text: str, position: int, width: int = 30) -> str:
    """Return the surroundings of a position and, below, a caret; odd characters are shown as '?'."""
    start = max(0, position - width)
    stop = min(len(text), position + width)
    before = "..." if start > 0 else ""
    after = "..." if stop < len(text) else ""
    shown = "".join(character if " " <= character <= "~" else "?" for character in text[start:stop])
    return f"    {before}{shown}{after}\n    {' ' * (len(before) + position - start)}^"


def _described(character: str) -> str:
    if " " <= character <= "~":
        return repr(character)
    return f"U+{ord(character):04X} ({unicodedata.name(character, 'unnamed').lower()})"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if names else "(none)"


def _count(function: str) -> str:
    n_arguments = _CALLABLE[function]
    return "one argument" if n_arguments == 1 else f"{n_arguments} arguments"
