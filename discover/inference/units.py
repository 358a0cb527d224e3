"""Units of recorded columns, and the units that they give to the constants of a formula."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from discover.errors import ConfigError
from discover.expression import Node, postorder

__all__ = ["ONE", "Unit", "constant_units", "parse_unit"]

MAX_LENGTH = 40
_FACTOR = re.compile(r"([A-Za-zµμΩ%]+)(?:(?:\*\*|\^)?(-?[0-9]))?")
_NO_UNIT = frozenset({"", "1", "-"})


@dataclass(frozen=True)
class Unit:
    """A product of powers of unit symbols; symbols are not converted into one another.

    Parameters
    ----------
    powers : tuple of (str, float)
        Symbol and power, sorted by symbol, without zeros.

    Examples
    --------
    >>> str(parse_unit("nS/s") / parse_unit("Hz**2"))
    'nS/(Hz**2*s)'
    """

    powers: tuple[tuple[str, float], ...] = ()

    def __mul__(self, other: Unit) -> Unit:
        return _unit([*self.powers, *other.powers])

    def __truediv__(self, other: Unit) -> Unit:
        return self * other**-1

    def __pow__(self, power: float) -> Unit:
        return _unit([(symbol, power * old) for symbol, old in self.powers])

    def __str__(self) -> str:
        above = [_power_text(symbol, power) for symbol, power in self.powers if power > 0]
        below = [_power_text(symbol, -power) for symbol, power in self.powers if power < 0]
        if not below:
            return "*".join(above) or "1"
        under = f"({'*'.join(below)})" if len(below) > 1 else below[0]
        return f"{'*'.join(above) or '1'}/{under}"


ONE = Unit()
"""A number without a unit."""


def _unit(powers: list[tuple[str, float]]) -> Unit:
    table: dict[str, float] = {}
    for symbol, power in powers:
        table[symbol] = table.get(symbol, 0.0) + power
    return Unit(tuple(sorted((symbol, power) for symbol, power in table.items() if abs(power) > 1e-9)))


def _power_text(symbol: str, power: float) -> str:
    return symbol if power == 1 else f"{symbol}**{power:g}"


def parse_unit(text: str) -> Unit:
    """Read a unit such as ``Hz``, ``nS/s`` or ``mV*ms**2``; ``1`` and ``-`` are no unit.

    Every symbol after a slash counts as divided by.

    Raises
    ------
    ConfigError
        If the text is none.

    Examples
    --------
    >>> parse_unit("nS/s").powers
    (('nS', 1.0), ('s', -1.0))
    """
    text = text.strip()
    if text in _NO_UNIT:
        return ONE
    powers: list[tuple[str, float]] = []
    parts = re.sub(r"[()\s]", "", text.replace("\N{MIDDLE DOT}", "*")).split("/")
    for number, part in enumerate(parts):
        for factor in re.split(r"(?<!\*)\*(?!\*)", part):
            if factor == "1" and number == 0:
                continue
            found = _FACTOR.fullmatch(factor)
            if found is None or len(text) > MAX_LENGTH:
                raise ConfigError(
                    f"A unit is written like Hz, nS/s or mV*ms**2, with at most {MAX_LENGTH} characters; "
                    f"got {text[:MAX_LENGTH]!r}."
                )
            powers.append((found[1], (-1.0 if number else 1.0) * float(found[2] or 1)))
    return _unit(powers)


def constant_units(node: Node, units: Mapping[str, Unit], target: Unit) -> tuple[Unit | None, ...]:
    """Return the units of an expression's constants, in their order (:func:`discover.expression.constants`).

    They follow where an expression is made of sums, products and whole powers. A term of the sum without a
    number of its own has the factor 1, in the unit that it takes. None where nothing determines a unit, and
    for all constants where the expression takes a function, such as tanh, of a variable with a unit: its
    numbers then hold for these units alone.

    Parameters
    ----------
    node : Node
    units : mapping from str to Unit
        Of every variable.
    target : Unit
        Of the whole expression.

    Examples
    --------
    >>> from discover.expression import parse
    >>> rate = parse("2*x*y - exp(-y/3)", ("x", "y"))
    >>> found = constant_units(rate, {"x": parse_unit("Hz"), "y": parse_unit("Hz")}, parse_unit("nS/s"))
    >>> [str(unit) for unit in found]
    ['nS/(Hz**2*s)', 'Hz']
    """
    found: dict[int, Unit | None] = {}
    known: dict[int, Unit | None] = {}
    order = postorder(node)
    for part in order:
        known[id(part)] = _known(part, [known[id(arg)] for arg in part.args], units)
    consistent = True
    positions = _positions(node)
    todo: list[tuple[Node, Unit | None, tuple[int, ...]]] = _terms(node, target, known)
    while todo:
        part, expected, place = todo.pop()
        if part.op == "const":
            found[positions[place]] = expected
            continue
        if part.op == "var":
            consistent = consistent and (expected is None or expected == units[part.name])
            continue
        expectations = _expected(part, expected, [known[id(arg)] for arg in part.args])
        todo += [
            (arg, want, (*place, number))
            for number, (arg, want) in enumerate(zip(part.args, expectations, strict=True))
        ]
    skipped = _structural(node, positions)
    values = [found[position] for position in sorted(found) if position not in skipped]
    return tuple(values) if consistent else (None,) * len(values)


def _terms(
    node: Node, target: Unit, known: Mapping[int, Unit | None]
) -> list[tuple[Node, Unit | None, tuple[int, ...]]]:
    """Terms of the sum with the unit that each must have; none where a factor 1 makes up for it."""
    terms: list[tuple[Node, Unit | None, tuple[int, ...]]] = []
    stack: list[tuple[Node, tuple[int, ...]]] = [(node, ())]
    while stack:
        part, place = stack.pop()
        if part.op in ("add", "sub", "neg"):
            stack += [(arg, (*place, number)) for number, arg in enumerate(part.args)]
        else:
            terms.append((part, target if known[id(part)] is None else None, place))
    return terms


def _positions(node: Node) -> dict[tuple[int, ...], int]:
    """Reading-order number of every place in a tree."""
    places: dict[tuple[int, ...], int] = {}
    stack: list[tuple[Node, tuple[int, ...]]] = [(node, ())]
    seen: list[tuple[int, ...]] = []
    while stack:
        part, place = stack.pop()
        seen.append(place)
        stack.extend((arg, (*place, number)) for number, arg in enumerate(part.args))
    for position, place in enumerate(reversed(seen)):
        places[place] = position
    return places


def _structural(node: Node, positions: Mapping[tuple[int, ...], int]) -> set[int]:
    """Positions of whole exponents, which are no constants."""
    skipped: set[int] = set()
    stack: list[tuple[Node, tuple[int, ...]]] = [(node, ())]
    while stack:
        part, place = stack.pop()
        if part.op == "pow" and part.args[1].op == "const" and part.args[1].value.is_integer():
            skipped.add(positions[(*place, 1)])
        stack.extend((arg, (*place, number)) for number, arg in enumerate(part.args))
    return skipped


def _known(part: Node, parts: list[Unit | None], units: Mapping[str, Unit]) -> Unit | None:
    """Unit of a part as far as its variables say; None where a constant leaves it open."""
    if part.op == "var":
        return units[part.name]
    if part.op == "const":
        return None
    first = parts[0]
    if part.op in ("add", "sub", "max", "min"):
        return first if first is not None else parts[1]
    if part.op in ("neg", "abs"):
        return first
    if part.op == "mul":
        return None if first is None or parts[1] is None else first * parts[1]
    if part.op == "div":
        return None if first is None or parts[1] is None else first / parts[1]
    if part.op == "sqrt":
        return None if first is None else first**0.5
    if part.op == "pow":
        exponent = part.args[1]
        return None if first is None or exponent.op != "const" else first**exponent.value
    return ONE


def _expected(part: Node, expected: Unit | None, parts: list[Unit | None]) -> list[Unit | None]:
    """Units that the operands must have."""
    if part.op in ("add", "sub", "max", "min"):
        both = expected if expected is not None else next((one for one in parts if one is not None), None)
        return [both, both]
    if part.op in ("neg", "abs"):
        return [expected]
    if part.op in ("mul", "div"):
        left, right = parts
        if expected is None:
            return [left, right]
        if left is None and right is None:
            return [None, None]
        if part.op == "mul":
            return [
                left if right is None else expected / right,
                right if left is None else expected / left,
            ]
        return [left if right is None else expected * right, right if left is None else left / expected]
    if part.op == "sqrt":
        return [None if expected is None else expected**2]
    if part.op == "pow":
        exponent = part.args[1]
        if exponent.op == "const" and exponent.value:
            return [None if expected is None else expected ** (1 / exponent.value), ONE]
        return [ONE, ONE]
    return [None] if part.op == "sign" else [ONE]
