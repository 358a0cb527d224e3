"""Simpler rules than the one that was found: parts taken away, constants rounded, and what each costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, log10
from typing import Any

import numpy as np
from numpy.typing import NDArray

from discover.errors import RuleError
from discover.expression import Node, combine, const, postorder
from discover.pareto import Simplification
from discover.rule import Rule
from discover.search.refine import refined
from discover.search.settings import NetworkSettings
from discover.slots import get_slot
from discover.tasks.base import Task, losses_of_rules

__all__ = ["reductions", "rounded", "shrunk"]

FloatArray = NDArray[np.float64]

MOST_REDUCTIONS = 60
"""Of a long rule only so many parts are tried, the largest first."""

N_REFINED = 4
"""Of all rules with one part less, those with the lowest loss have their constants refined."""

DIGITS = (1, 2)
"""Significant digits that a constant is rounded to, one after the other until one does no harm."""


@dataclass(frozen=True)
class Shrunk:
    """A simpler rule that is as good.

    Attributes
    ----------
    rule : Rule
    train_losses, heldout_losses : ndarray, shape (n_problems,)
    """

    rule: Rule
    train_losses: FloatArray
    heldout_losses: FloatArray


def shrunk(
    task: Task,
    rule: Rule,
    train: Any,
    heldout: Any,
    settings: NetworkSettings,
    resolution: float,
    rng: np.random.Generator,
) -> tuple[list[Shrunk], list[Simplification]]:
    """Take parts of a rule away as long as it does no worse on held-out problems.

    In each round every sub-tree is replaced by one of its own, the rules with the lowest loss are refined,
    and the best of them is kept if its paired held-out loss is not larger by more than its standard error or
    the resolution.

    Parameters
    ----------
    task : Task
    rule : Rule
    train, heldout : Problems
    settings : NetworkSettings
    resolution : float
        Held-out losses that differ by less count as equal.
    rng : numpy.random.Generator

    Returns
    -------
    found : list of Shrunk
        The rules of the rounds that succeeded, each simpler than the one before.
    steps : list of Simplification
        What was tried last in each round, with its cost.
    """
    found: list[Shrunk] = []
    steps: list[Simplification] = []
    losses = task.losses(rule, heldout)
    for _ in range(settings.simplify):
        smaller = reductions(rule)
        if not smaller:
            break
        means = losses_of_rules(task, smaller, train).mean(axis=1)
        order = [n for n in np.argsort(means, kind="stable").tolist() if means[n] < settings.hopeless]
        tried = [
            refined(task, smaller[n], train, settings.refine_steps, settings.batch, rng)
            for n in order[:N_REFINED]
        ]
        if not tried:
            break
        best, best_losses = min(tried, key=lambda pair: float(pair[1].mean()))
        step, new_losses = _step(task, "part taken away", rule, best, losses, heldout, resolution)
        steps.append(step)
        if not step.accepted:
            break
        rule, losses = best, new_losses
        found.append(Shrunk(best, best_losses, new_losses))
    return found, steps


def rounded(
    task: Task, rule: Rule, heldout: Any, resolution: float
) -> tuple[Rule, tuple[Simplification, ...]]:
    """Round the constants of a rule, one by one, where it does no worse on held-out problems.

    Returns
    -------
    rule : Rule
        With simple constants; the same rule where none can be rounded.
    steps : tuple of Simplification
        The whole of it as one step, with its cost; none where nothing changed.
    """
    losses = task.losses(rule, heldout)
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
            if _does_no_harm(task.losses(simple, heldout) - losses, resolution):
                values = moved
                break
    simple = rule.with_constants(values)
    if np.array_equal(values, rule.constants()):
        return rule, ()
    step, _ = _step(task, "constants rounded", rule, simple, losses, heldout, resolution)
    return simple, (step,)


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
                    changed = Rule({**rule.expressions, slot: _replaced(order, place, child)}).canonical()
                except RuleError:
                    continue
                if changed.complexity < rule.complexity and _has_variables(changed, slot):
                    found.setdefault(changed)
    for slot in rule.expressions:
        if get_slot(slot).is_constant:
            continue
        without = Rule({**rule.expressions, slot: const(0.0)})
        acts = any(_has_variables(without, other) for other in rule.expressions)
        if acts and without.complexity < rule.complexity:
            found.setdefault(without)
    return list(found)


def _parts(node: Node) -> tuple[Node, ...]:
    """What can stand for a node: its operands, with the sign or the place in a fraction that they have."""
    if node.op == "sub":
        return node.args[0], combine("neg", (node.args[1],))
    if node.op == "div":
        return node.args[0], combine("inv", (node.args[1],))
    return node.args[:1] if node.op == "pow" else node.args


def _replaced(order: Sequence[Node], place: int, other: Node) -> Node:
    """Rebuild a tree from its nodes in postorder, with another sub-tree in one place."""
    stack: list[Node] = []
    for n, part in enumerate(order):
        if part.args:
            args = tuple(stack[len(stack) - len(part.args) :])
            del stack[len(stack) - len(part.args) :]
            stack.append(other if n == place else Node(part.op, args))
        else:
            stack.append(part)
    return stack.pop()


def _has_variables(rule: Rule, slot: str) -> bool:
    return any(part.op == "var" for part in postorder(rule.expressions[slot]))


def _step(
    task: Task,
    what: str,
    before: Rule,
    after: Rule,
    losses: FloatArray,
    heldout: Any,
    resolution: float,
) -> tuple[Simplification, FloatArray]:
    new_losses = task.losses(after, heldout)
    difference = new_losses - losses
    return (
        Simplification(
            what,
            before,
            after,
            float(difference.mean()),
            _error(difference),
            _does_no_harm(difference, resolution),
        ),
        new_losses,
    )


def _does_no_harm(difference: FloatArray, resolution: float) -> bool:
    return float(difference.mean()) <= max(_error(difference), resolution)


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
