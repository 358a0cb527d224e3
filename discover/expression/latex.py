"""LaTeX of expression trees, terms in the order in which the rule was written."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from discover.expression.node import FUNCTIONS, Node, postorder, take

__all__ = ["latex_name", "latex_number", "to_latex"]

_SUM, _PRODUCT, _MINUS, _POWER, _ATOM = range(5)


def to_latex(node: Node, symbols: Mapping[str, str] | None = None, digits: int = 4) -> str:
    r"""Return an expression as LaTeX.

    Parameters
    ----------
    node : Node
    symbols : mapping from str to str, optional
        LaTeX of variables; :func:`latex_name` writes those left out.
    digits : int
        Significant digits of constants.

    Names of several letters are upright, and apart from what they are multiplied by.

    Examples
    --------
    >>> from discover.expression import parse
    >>> print(to_latex(parse("0.5*ca**2*post", ("ca", "post"))))
    0.5 \, \mathrm{ca}^{2} \, \mathrm{post}
    >>> print(to_latex(parse("x*y - 0.5*w*y**2/(1 + y)", ("x", "y", "w"))))
    x y - \frac{0.5 w y^{2}}{1 + y}
    """
    names = dict(symbols or {})
    stack: list[tuple[str, int]] = []
    for part in postorder(node):
        stack.append(_part(part, take(stack, len(part.args)), names, digits))
    return stack.pop()[0]


GREEK = frozenset({"theta"})
"""Variables that are called by a Greek letter."""


def latex_name(name: str) -> str:
    r"""Return the LaTeX of a variable: what follows the first underscore becomes the index.

    Examples
    --------
    >>> print(latex_name("y_post"))
    y_{\mathrm{post}}
    """
    stem, _, index = name.partition("_")
    plain = rf"\{stem}" if stem in GREEK else rf"\mathrm{{{stem}}}" if stem else ""
    letters = stem if len(stem) == 1 else plain
    escaped = index.replace("_", r"\_")
    return letters + (rf"_{{\mathrm{{{escaped}}}}}" if index else "")


def latex_number(value: float, digits: int = 4) -> str:
    r"""Return a constant with so many significant digits.

    Examples
    --------
    >>> print(latex_number(1.5e-7))
    1.5 \times 10^{-7}
    """
    if value == int(value) and abs(value) < 10**6:
        return str(int(value))
    text = f"{value:.{digits}g}"
    mantissa, mark, exponent = text.partition("e")
    # A rounded number must not pass for an exact one.
    if not mark and float(mantissa) == int(float(mantissa)) and abs(value) < 10 ** (digits - 1):
        mantissa = f"{value:.{max(1, digits - 1 - max(0, math.floor(math.log10(abs(value)))))}f}"
    return rf"{mantissa} \times 10^{{{int(exponent)}}}" if mark else mantissa


def _part(
    part: Node, operands: Sequence[tuple[str, int]], names: Mapping[str, str], digits: int
) -> tuple[str, int]:
    if part.op == "var":
        return names.get(part.name) or latex_name(part.name), _ATOM
    if part.op == "const":
        text = latex_number(part.value, digits)
        return text, _MINUS if part.value < 0 else _PRODUCT if r"\times" in text else _ATOM
    if part.op in _FORMS or FUNCTIONS.get(part.op) == 1:
        name = part.op.replace("_", r"\_")
        form = _FORMS.get(part.op, rf"\operatorname{{{name}}}\left(#\right)")
        return form.replace("#", operands[0][0]), _ATOM
    if part.op in ("max", "min"):
        return rf"\{part.op}\left({operands[0][0]}, {operands[1][0]}\right)", _ATOM
    if part.op == "div":
        return rf"\frac{{{operands[0][0]}}}{{{operands[1][0]}}}", _POWER
    if part.op == "neg":
        return "-" + _enclosed(operands[0], _PRODUCT), _MINUS
    if part.op == "pow":
        return f"{_enclosed(operands[0], _ATOM)}^{{{operands[1][0]}}}", _POWER
    if part.op == "mul":
        return _product(part, operands)
    sign = "+" if part.op == "add" else "-"
    right = _enclosed(operands[1], _SUM if sign == "+" else _PRODUCT, signed=False)
    return f"{operands[0][0]} {sign} {right}", _SUM


_FORMS = {
    "abs": r"\left|#\right|",
    "sqrt": r"\sqrt{#}",
    "exp": r"\exp\left(#\right)",
    "log": r"\log\left(#\right)",
    "tanh": r"\tanh\left(#\right)",
    "sin": r"\sin\left(#\right)",
    "cos": r"\cos\left(#\right)",
    "sign": r"\operatorname{sign}\left(#\right)",
}


def _product(part: Node, operands: Sequence[tuple[str, int]]) -> tuple[str, int]:
    left = _enclosed(operands[0], _PRODUCT)
    right = _enclosed(operands[1], _PRODUCT, signed=False)
    space = r" \cdot " if right[:1].isdigit() else r" \, " if _are_words(left, right) else " "
    return left + space + right, _PRODUCT


_WORD_LAST = re.compile(r"\\mathrm\{[^{}]*\}(?:_\{\\mathrm\{[^{}]*\}\})?(?:\^\{[^{}]*\})?$")


def _are_words(left: str, right: str) -> bool:
    """Whether a name of several letters is at the joint, which would run into its neighbour."""
    return right.startswith(r"\mathrm") or _WORD_LAST.search(left) is not None


def _enclosed(operand: tuple[str, int], least: int, *, signed: bool = True) -> str:
    text, precedence = operand
    needs_brackets = precedence < least or (not signed and text.startswith("-"))
    return rf"\left({text}\right)" if needs_brackets else text
