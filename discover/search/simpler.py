"""Simpler forms: parts taken away, functions straightened, constants made round."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import floor, log10
from typing import Any

import numpy as np
from numpy.typing import NDArray

from discover.errors import RuleError
from discover.expression import Node, combine, const, evaluate, postorder
from discover.expression.node import FUNCTIONS
from discover.pareto import Simplification, chance
from discover.rule import Rule
from discover.search.engine import Samples
from discover.search.forms import agreement, in_use, update_on
from discover.search.refine import RATIOS
from discover.slots import get_slot
from discover.speeds import slots_by_synapses
from discover.tasks.base import Task

__all__ = ["reductions", "replaced", "rounded", "smaller_forms", "snapped", "step", "straightened"]

FloatArray = NDArray[np.float64]

MOST_REDUCTIONS = 60
"""Of a long rule only so many parts are tried, the largest first."""

DIGITS = (1, 2)
"""Significant digits that a constant is rounded to, one after the other until one does no harm."""

NEAR = 0.15
"""Relative distance from a simple ratio at which it is tried in the place of the fitted one."""

STRAIGHT = 0.05
"""Change of the whole update, as a share of its size, at which a function is tried as a line or a number."""


def smaller_forms(rule: Rule, states: Mapping[str, Samples]) -> list[Rule]:
    """Return all simpler forms of a rule that are worth a try: each once, none as complex as the rule.

    Parameters
    ----------
    rule : Rule
    states : mapping from slot name to Samples
        Visited states, on which functions may be straight lines.
    """
    found: dict[Rule, None] = {}
    for one in map(in_use, (*straightened(rule, states), *snapped(rule), *reductions(rule))):
        if one.complexity < rule.complexity:
            found.setdefault(one)
    return list(found)


def step(
    what: str, before: Rule, after: Rule, losses: FloatArray, new_losses: FloatArray, margin: float
) -> Simplification:
    """Return a step to a simpler rule with its cost: the paired difference of losses.

    Parameters
    ----------
    what : str
    before, after : Rule
    losses, new_losses : ndarray, shape (n_problems,)
        Of both rules on the same problems.
    margin : float
        Mean cost that counts as none.
    """
    difference = new_losses - losses
    return Simplification(
        what, before, after, float(difference.mean()), _error(difference), _does_no_harm(difference, margin)
    )


def rounded(task: Task, rule: Rule, problems: Any, margin: float) -> tuple[Rule, tuple[Simplification, ...]]:
    """Round the constants of a rule, one by one, where it does no worse on problems it was not fitted on.

    Returns
    -------
    rule : Rule
        With simple constants; the same rule where none can be rounded.
    steps : tuple of Simplification
        The whole of it as one step, with its cost; none where nothing changed.
    """
    losses = task.losses(rule, problems)
    values = rule.constants()
    for position in range(len(values)):
        for digits in DIGITS:
            moved = values.copy()
            moved[position] = _with_digits(float(values[position]), digits)
            try:
                simple = rule.with_constants(moved)
            except RuleError:
                continue
            # All so far together, beside the rule with all its digits: small harms must not add up.
            if _does_no_harm(task.losses(simple, problems) - losses, margin):
                values = moved
                break
    simple = rule.with_constants(values)
    if np.array_equal(values, rule.constants()):
        return rule, ()
    return simple, (step("constants rounded", rule, simple, losses, task.losses(simple, problems), margin),)


def straightened(rule: Rule, states: Mapping[str, Samples]) -> list[Rule]:
    """Return the rules in which a function is written as the line or the number that it is on visited states.

    Examples
    --------
    >>> x, y, w = np.random.default_rng(0).normal(size=(3, 200))
    >>> states = {"feedforward": Samples(("x", "y", "w"), np.stack([x, y, w], axis=1), y)}
    >>> rule = Rule.parse("9.9*tanh(0.0476*y)*(x - w*y)")
    >>> str(straightened(rule, states)[0])
    '0.4698...*x*y - 0.4698...*w*y**2'
    """
    found: dict[Rule, None] = {}
    whole = update_on(rule, states)
    if whole is None:
        return []
    for slot, node in rule.expressions.items():
        if get_slot(slot).is_constant or slot not in states:
            continue
        order, columns = postorder(node), states[slot].columns
        for place, part in enumerate(order):
            if part.op not in FUNCTIONS and part.op != "div":
                continue
            for line in _lines(part, columns):
                try:
                    changed = Rule({**rule.expressions, slot: replaced(order, place, line)}).canonical()
                except RuleError:
                    continue
                values = update_on(changed, states)
                if values is not None and agreement(rule, whole, values) < STRAIGHT:
                    found.setdefault(changed)
    return list(found)


def _lines(part: Node, columns: Mapping[str, FloatArray]) -> Iterator[Node]:
    """Yield the number, the multiple and the line in the argument that are nearest to a function's values."""
    values, argument = evaluate(part, columns), evaluate(part.args[0], columns)
    values, argument = np.broadcast_arrays(values, argument)
    if not (np.all(np.isfinite(values)) and np.all(np.isfinite(argument))):
        return
    yield const(float(values.mean()))
    if part.op == "div" or np.ptp(argument) == 0:
        return
    power = float(argument @ argument)
    yield combine("mul", (const(float(argument @ values) / power), part.args[0]))
    slope, offset = np.polyfit(argument, values, 1).tolist()
    yield combine("add", (const(offset), combine("mul", (const(slope), part.args[0]))))


def snapped(rule: Rule) -> list[Rule]:
    """Return the rules in which constants have the simple ratio that they nearly have.

    Of each learning rate the multiple is free, so that every constant in turn is taken for the unit; those
    whose ratio to it is near a simple one get it, all at once and one by one.

    Examples
    --------
    >>> [str(one) for one in snapped(Rule.parse("0.391*x*y - 0.3935*w*y**2"))]
    ['0.391*x*y - 0.391*w*y**2', '0.3935*x*y - 0.3935*w*y**2']
    """
    values = rule.constants()
    places = rule.slots_of_constants
    found: dict[Rule, None] = {}
    for group in slots_by_synapses(rule):
        inside = [n for n, slot in enumerate(places) if slot in group]
        # Constants inside of functions are numbers of their own, whatever the multiple: the last unit is 1.
        for unit in dict.fromkeys([*(abs(float(values[n])) for n in inside), 1.0]):
            near = {n: target for n in inside if (target := _near(float(values[n]), unit)) is not None}
            for picked in [near, *({n: target} for n, target in near.items())] if len(near) > 1 else [near]:
                moved = values.copy()
                for n, target in picked.items():
                    moved[n] = target
                if np.array_equal(moved, values):
                    continue
                try:
                    found.setdefault(rule.with_constants(moved).canonical())
                except RuleError:
                    continue
    return list(found)


def _near(value: float, unit: float) -> float | None:
    """Return the simple multiple of a unit that a value is near to; None where it is near none, or is one."""
    if unit == 0:
        return None
    ratio = min(RATIOS, key=lambda one: abs(abs(value) / unit - one) / one)
    is_near = abs(abs(value) / unit - ratio) <= NEAR * ratio
    return float(np.copysign(ratio * unit, value)) if is_near and abs(value) != ratio * unit else None


def reductions(rule: Rule) -> list[Rule]:
    """Return the simpler rules in which one sub-tree is replaced by a part of itself.

    So a sum loses a term, a product a factor, a function its effect; and of several slots one loses its whole
    update, as long as another has one that depends on something. Rules that are equal are given once.

    Examples
    --------
    >>> [str(one) for one in reductions(Rule.parse("x*y - w*y**2"))]
    ['x*y', '-w*y**2', '-w + x*y', 'x*y - y**2', 'x - w*y**2', 'y - w*y**2', 'x*y - w*y']
    """
    found: dict[Rule, None] = {}
    for slot, node in rule.expressions.items():
        if get_slot(slot).is_constant:
            continue
        order = postorder(node)
        places = sorted((n for n, part in enumerate(order) if part.args), key=lambda n: -order[n].complexity)
        for place in places[:MOST_REDUCTIONS]:
            for child in _parts(order[place]):
                try:
                    changed = Rule({**rule.expressions, slot: replaced(order, place, child)}).canonical()
                except RuleError:
                    continue
                if changed.size < rule.size and _has_variables(changed, slot):
                    found.setdefault(changed)
    for slot in rule.expressions:
        if get_slot(slot).is_constant:
            continue
        without = Rule({**rule.expressions, slot: const(0.0)})
        acts = any(_has_variables(without, other) for other in rule.expressions)
        if acts and without.size < rule.size:
            found.setdefault(without)
    return list(found)


def _parts(node: Node) -> tuple[Node, ...]:
    """What can stand for a node: its operands, with the sign or the place in a fraction that they have."""
    if node.op == "sub":
        return node.args[0], combine("neg", (node.args[1],))
    if node.op == "div" and node.args[1] == const(0.0):
        return node.args[:1]
    if node.op == "div":
        return node.args[0], combine("inv", (node.args[1],))
    return node.args[:1] if node.op == "pow" else node.args


def replaced(order: Sequence[Node], place: int, other: Node) -> Node:
    """Rebuild a tree from its nodes in postorder, with another sub-tree in one place."""
    stack: list[Node] = []
    for n, part in enumerate(order):
        args = tuple(stack[len(stack) - len(part.args) :])
        del stack[len(stack) - len(args) :]
        own = Node(part.op, args) if args else part
        stack.append(other if n == place else own)
    return stack.pop()


def _has_variables(rule: Rule, slot: str) -> bool:
    return any(part.op == "var" for part in postorder(rule.expressions[slot]))


def _does_no_harm(difference: FloatArray, margin: float) -> bool:
    return float(difference.mean()) <= max(chance(difference, margin), margin)


def _error(difference: FloatArray) -> float:
    return float(difference.std(ddof=1) / np.sqrt(len(difference)))


def _with_digits(value: float, digits: int) -> float:
    """Round to significant digits.

    Examples
    --------
    >>> _with_digits(-0.3936, 1), _with_digits(8.416, 2), _with_digits(0.0, 1)
    (-0.4, 8.4, 0.0)
    """
    return round(value, digits - 1 - floor(log10(abs(value)))) if value else 0.0
