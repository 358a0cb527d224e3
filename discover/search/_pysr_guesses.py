"""Expressions in the form that PySR reads: Julia's, in scaled variables, powers written out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from discover.errors import EngineError
from discover.expression import Node, const, parse, postorder, var, variables_of
from discover.expression.parsing import MAX_LENGTH
from discover.search._term_library import substitute
from discover.slots import SLOTS

__all__ = ["julia_guesses", "julia_text"]

_SIGNS: Mapping[str, str] = {"add": "+", "sub": "-", "mul": "*", "div": "/"}


def julia_guesses(
    texts: Sequence[str], variables: Sequence[str], scales: tuple[tuple[float, ...], float]
) -> list[str]:
    """Return guesses in x0, x1, ...; those with variables that are not there are left out.

    Parameters
    ----------
    texts : sequence of str
        Expressions in the variables of a synapse.
    variables : sequence of str
        Those of the samples, which PySR calls x0, x1, ...
    scales : tuple of (tuple of float, float)
        What inputs and target were divided by.
    """
    everything = tuple(dict.fromkeys(name for slot in SLOTS.values() for name in slot.variables))
    input_scales, target_scale = scales
    scaled = {
        name: Node("mul", (const(scale), var(f"x{k}"))) if scale != 1 else var(f"x{k}")
        for k, (name, scale) in enumerate(zip(variables, input_scales, strict=True))
    }
    guesses = []
    for text in texts:
        tree = parse(text, everything)
        if set(variables_of(tree)) <= set(variables):
            moved = substitute(tree, scaled)
            if target_scale != 1:
                moved = Node("mul", (const(1.0 / target_scale), moved))
            guesses.append(julia_text(moved))
    return guesses


def julia_text(tree: Node) -> str:
    """Return an expression in Julia's form, every operation in brackets, powers written out.

    Raises
    ------
    EngineError
        If a power is not a whole number, or the text becomes too long.

    Examples
    --------
    >>> julia_text(parse("x0*x1 - 0.5*x1**2", ("x0", "x1")))
    '((x0 * x1) - (0.5 * (x1 * x1)))'
    >>> julia_text(parse("max(x0, -x0)**-1", ("x0",)))
    '(1.0 / max(x0, (-1.0 * x0)))'
    """
    stack: list[str] = []
    for node in postorder(tree):
        if node.op == "var":
            stack.append(node.name)
        elif node.op == "const":
            stack.append(repr(node.value) if node.value >= 0 else f"({node.value!r})")
        else:
            args = stack[-len(node.args) :]
            del stack[-len(node.args) :]
            stack.append(_applied(node, args))
        if len(stack[-1]) > MAX_LENGTH:
            raise EngineError(f"With its powers written out it has more than {MAX_LENGTH:,} characters.")
    return stack.pop()


def _applied(node: Node, args: list[str]) -> str:
    if node.op in _SIGNS:
        return f"({args[0]} {_SIGNS[node.op]} {args[1]})"
    if node.op == "neg":
        return f"(-1.0 * {args[0]})"
    if node.op == "pow":
        return _power(args[0], node.args[1])
    return f"{node.op}({', '.join(args)})"


def _power(base: str, exponent: Node) -> str:
    if exponent.op != "const" or not exponent.value.is_integer():
        raise EngineError("PySR is given whole powers only.")
    n = int(exponent.value)
    if n == 0:
        return "1.0"
    text = base
    for _ in range(abs(n) - 1):
        text = f"({text} * {base})"
    return text if n > 0 else f"(1.0 / {text})"
