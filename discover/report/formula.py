"""Formulas that a browser draws by itself: MathML, and plain text where only text goes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from discover.expression import Node, postorder
from discover.expression.latex import latex_number
from discover.expression.node import take
from discover.rule import Rule
from discover.slots import Slot, get_slot

__all__ = ["expression_text", "rule_html", "rule_text"]

_SUM, _PRODUCT, _POWER, _ATOM = range(4)
_MINUS_SIGN = "\N{MINUS SIGN}"
_SUPERSCRIPTS = str.maketrans(f"-{_MINUS_SIGN}0123456789", "⁻⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_TALL = frozenset({"div", "sqrt"})

_LEFT_SIDES = {
    "feedforward": ("w", "ij", ""),
    "lateral": ("v", "ij", ""),
    "sliding": ("w", "ij", ""),
    "on_pre": ("w", "ij", "pre"),
    "on_post": ("w", "ij", "post"),
    "pre_spike": ("w", "ij", "pre"),
    "post_spike": ("w", "ij", "post"),
    "error": ("w", "j", ""),
    "choice": ("w", "i", ""),
    "reward": ("w", "j", ""),
}
"""Slot -> what changes, its index, and at whose spike."""


_GREEK = {"tau": "τ", "theta": "θ"}


@dataclass(frozen=True)
class _Piece:
    """Part of a formula; one that begins with a minus sign is negative, and `opposite` is it without."""

    text: str
    level: int
    negative: bool = False
    number: bool = False
    opposite: str = ""


def expression_text(node: Node, digits: int = 3) -> str:
    """Return an expression as plain text with superscripts.

    Examples
    --------
    >>> from discover.expression import parse
    >>> expression_text(parse("x*y - 0.5*w*y**2", ("x", "y", "w"))).replace(chr(160), " ")
    'x y − 0.5 w y²'
    """
    return _written(node, _Plain(), digits).text


def rule_text(rule: Rule, digits: int = 3) -> str:
    """Return a rule as plain text, slots separated by semicolons.

    Examples
    --------
    >>> rule_text(Rule.parse("x*y - w")).replace(chr(160), " ")
    'x y − w'
    """
    texts = {slot: expression_text(node, digits) for slot, node in rule.expressions.items()}
    if len(texts) == 1:
        return next(iter(texts.values()))
    return "; ".join(f"{slot}: {text}" for slot, text in texts.items())


def rule_html(rule: Rule, digits: int = 4, left_side: bool = True) -> str:
    """Return a rule as HTML with MathML, one block a slot, whose sums break between their terms.

    Parameters
    ----------
    rule : Rule
    digits : int
        Significant digits of constants.
    left_side : bool
        Whether to write what changes, and the learning rate.
    """
    blocks = []
    for slot, node in rule.expressions.items():
        if get_slot(slot).is_constant:
            blocks.append(f'<span class="formula">{_constant(get_slot(slot), node, digits)}</span>')
            continue
        brackets = left_side and not get_slot(slot).is_recorded  # after a learning rate
        body = _tall(node, digits, brackets) if _is_tall(node) else _breaking(node, digits, brackets)
        before = _left_side(slot) if left_side else _slot_label(slot, rule)
        blocks.append(f'<span class="formula">{before}{body}</span>')
    return "".join(blocks)


def _constant(slot: Slot, node: Node, digits: int) -> str:
    """A constant of the synapse with its unit, such as a time constant."""
    projection, _, kind = slot.name.rpartition(".")
    stem, _, index = kind.partition("_")
    index = f"{projection} {index}".strip()
    letter = _GREEK.get(stem, stem)
    symbol = f"<msub><mi>{escape(letter)}</mi><mtext>{escape(index.replace('_', ' '))}</mtext></msub>"
    return f"<math>{symbol}<mo>=</mo>{_written(node, _MathML(), digits).text}</math> {escape(slot.unit)}"


def _left_side(slot: str) -> str:
    if get_slot(slot).is_recorded:
        return "<math><mi>Δ</mi><mi>w</mi><mo>=</mo></math> "
    projection, _, kind = slot.rpartition(".")
    letter, index, spike = _LEFT_SIDES.get(kind, (slot, "", ""))
    spike = f"{projection} {spike}".strip()
    base, below = f"<mi>{escape(letter)}</mi>", f"<mrow>{''.join(f'<mi>{one}</mi>' for one in index)}</mrow>"
    symbol = f"<msub>{base}{below}</msub>"
    if spike:
        symbol = f"<msubsup>{base}{below}<mtext>{escape(spike)}</mtext></msubsup>"
    return f"<math><mi>Δ</mi>{symbol}<mo>=</mo><mi>η</mi></math> "


def _slot_label(slot: str, rule: Rule) -> str:
    return f'<span class="slot">{escape(slot)}: </span>' if len(rule.expressions) > 1 else ""


def _is_tall(node: Node) -> bool:
    return any(part.op in _TALL for part in postorder(node))


def _tall(node: Node, digits: int, brackets: bool) -> str:
    text = _written(node, _MathML(), digits).text
    body = _MathML().brackets(text) if brackets else text
    return f'<math displaystyle="true">{body}</math>'


def _breaking(node: Node, digits: int, brackets: bool) -> str:
    """One formula a term, so that lines break at the signs."""
    style = _MathML()
    terms: list[tuple[str, Node]] = []
    while node.op in ("add", "sub"):
        left, right = node.args
        terms.append(("+" if node.op == "add" else _MINUS_SIGN, right))
        node = left
    terms.append(("", node))
    pieces = []
    for sign, term in reversed(terms):
        mark, text = _signed(sign, _written(term, style, digits), style)
        pieces.append([f"{mark} " if mark else "", f"<math>{text}</math>"])
    if brackets:
        # Held to its neighbour, or a closing bracket could open a line.
        pieces[0][1] = f'<span class="nowrap"><math><mo>(</mo></math>{pieces[0][1]}</span>'
        pieces[-1][1] = f'<span class="nowrap">{pieces[-1][1]}<math><mo>)</mo></math></span>'
    return " ".join(mark + text for mark, text in pieces)


class _Style(ABC):
    """How to write the parts of a formula."""

    @abstractmethod
    def variable(self, name: str) -> str: ...

    @abstractmethod
    def number(self, mantissa: str, exponent: str) -> str: ...

    @abstractmethod
    def sign(self, symbol: str) -> str: ...

    @abstractmethod
    def product(self, left: str, right: str, dot: bool) -> str: ...

    @abstractmethod
    def power(self, base: str, exponent: str) -> str: ...

    @abstractmethod
    def fraction(self, above: _Piece, below: _Piece) -> _Piece: ...

    @abstractmethod
    def function(self, name: str, arguments: Sequence[str]) -> str: ...

    @abstractmethod
    def brackets(self, text: str) -> str: ...


class _MathML(_Style):
    def variable(self, name: str) -> str:
        stem, _, index = name.partition("_")
        letter = f"<mi>{escape(_GREEK.get(stem, stem))}</mi>"
        return f"<msub>{letter}<mtext>{escape(index)}</mtext></msub>" if index else letter

    def number(self, mantissa: str, exponent: str) -> str:
        text = f"<mn>{mantissa}</mn>"
        if not exponent:
            return text
        power = f"<mn>{exponent.replace('-', _MINUS_SIGN)}</mn>"
        return f"<mrow>{text}<mo>×</mo><msup><mn>10</mn>{power}</msup></mrow>"

    def sign(self, symbol: str) -> str:
        return f"<mo>{symbol}</mo>"

    def product(self, left: str, right: str, dot: bool) -> str:
        space = "<mo>·</mo>" if dot else '<mspace width="0.17em"/>'
        return f"{left}{space}{right}"

    def power(self, base: str, exponent: str) -> str:
        return f"<msup><mrow>{base}</mrow><mrow>{exponent}</mrow></msup>"

    def fraction(self, above: _Piece, below: _Piece) -> _Piece:
        return _Piece(f"<mfrac><mrow>{above.text}</mrow><mrow>{below.text}</mrow></mfrac>", _POWER)

    def function(self, name: str, arguments: Sequence[str]) -> str:
        if name == "sqrt":
            return f"<msqrt>{arguments[0]}</msqrt>"
        if name == "abs":
            return self._fenced("|", arguments[0], "|")
        return f"<mrow><mi>{name}</mi>{self.brackets('<mo>,</mo>'.join(arguments))}</mrow>"

    def brackets(self, text: str) -> str:
        return self._fenced("(", text, ")")

    def _fenced(self, opening: str, text: str, closing: str) -> str:
        stretchy = "true" if "<mfrac" in text or "<msqrt" in text else "false"
        before, after = (f'<mo stretchy="{stretchy}">{mark}</mo>' for mark in (opening, closing))
        return f"<mrow>{before}{text}{after}</mrow>"


class _Plain(_Style):
    def variable(self, name: str) -> str:
        return _GREEK.get(name, name)

    def number(self, mantissa: str, exponent: str) -> str:
        return f"{mantissa}·10{exponent.translate(_SUPERSCRIPTS)}" if exponent else mantissa

    def sign(self, symbol: str) -> str:
        return f" {symbol} "

    def product(self, left: str, right: str, dot: bool) -> str:
        return f"{left}·{right}" if dot else f"{left}\N{NO-BREAK SPACE}{right}"

    def power(self, base: str, exponent: str) -> str:
        whole = exponent.strip(_MINUS_SIGN).isdecimal()
        return base + (exponent.translate(_SUPERSCRIPTS) if whole else f"^({exponent})")

    def fraction(self, above: _Piece, below: _Piece) -> _Piece:
        over = f"({above.text})" if above.level < _PRODUCT else above.text
        under = f"({below.text})" if below.level < _POWER else below.text
        return _Piece(f"{over} / {under}", _PRODUCT)

    def function(self, name: str, arguments: Sequence[str]) -> str:
        return f"|{arguments[0]}|" if name == "abs" else f"{name}({', '.join(arguments)})"

    def brackets(self, text: str) -> str:
        return f"({text})"


def _written(node: Node, style: _Style, digits: int) -> _Piece:
    stack: list[_Piece] = []
    for part in postorder(node):
        stack.append(_part(part, take(stack, len(part.args)), style, digits))
    return stack.pop()


def _part(part: Node, operands: Sequence[_Piece], style: _Style, digits: int) -> _Piece:
    if part.op == "var":
        return _Piece(style.variable(part.name), _ATOM)
    if part.op == "const":
        return _number(part.value, style, digits)
    if part.op == "neg":
        return _negated(operands[0], style)
    if part.op == "pow":
        return _Piece(style.power(_enclosed(operands[0], _ATOM, style), operands[1].text), _POWER)
    if part.op == "div":
        return style.fraction(*operands)
    if part.op == "mul":
        return _product(operands[0], operands[1], style)
    if part.op in ("add", "sub"):
        return _sum(part.op, operands[0], operands[1], style)
    return _Piece(style.function(part.op, [operand.text for operand in operands]), _ATOM)


def _number(value: float, style: _Style, digits: int) -> _Piece:
    mantissa, _, rest = latex_number(abs(value), digits).partition(r" \times 10^{")
    size = _Piece(style.number(mantissa, rest.rstrip("}")), _PRODUCT if rest else _ATOM, number=True)
    return _negated(size, style) if value < 0 else size


def _negated(operand: _Piece, style: _Style) -> _Piece:
    if operand.opposite:
        return _Piece(operand.opposite, _PRODUCT)
    sign = _MINUS_SIGN if isinstance(style, _Plain) else f'<mo form="prefix">{_MINUS_SIGN}</mo>'
    text = _enclosed(operand, _PRODUCT, style)
    return _Piece(sign + text, _PRODUCT, negative=True, opposite=text)


def _product(left: _Piece, right: _Piece, style: _Style) -> _Piece:
    loose = right.negative or right.level < _PRODUCT
    tail = style.brackets(right.text) if loose else right.text
    text = style.product(_enclosed(left, _PRODUCT, style), tail, right.number)
    opposite = style.product(left.opposite, tail, right.number) if left.opposite else ""
    return _Piece(text, _PRODUCT, negative=bool(opposite), opposite=opposite)


def _sum(op: str, left: _Piece, right: _Piece, style: _Style) -> _Piece:
    mark, tail = _signed("+" if op == "add" else _MINUS_SIGN, right, style)
    return _Piece(left.text + style.sign(mark) + tail, _SUM, left.negative)


def _signed(mark: str, term: _Piece, style: _Style) -> tuple[str, str]:
    """Return the sign before a term of a sum, and the term: two minus signs make a plus."""
    if mark and term.opposite:
        return ("+" if mark == _MINUS_SIGN else _MINUS_SIGN), term.opposite
    loose = mark and (term.negative or (mark == _MINUS_SIGN and term.level == _SUM))
    return mark, style.brackets(term.text) if loose else term.text


def _enclosed(operand: _Piece, least: int, style: _Style) -> str:
    loose = operand.level < least or (operand.negative and least > _PRODUCT)
    return style.brackets(operand.text) if loose else operand.text
