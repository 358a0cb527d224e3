"""Ablations: what a rule still does without one of its slots or terms, and so what each of them is for."""

from __future__ import annotations

from typing import Any

import numpy as np

from discover.forms import MeasuredRule
from discover.intervals import intervals
from discover.progress import Progress, silent
from discover.rule import Rule
from discover.slots import get_slot
from discover.tasks.base import Task

__all__ = ["COMPLETE", "ablate", "ablated_rules"]

COMPLETE = "complete rule"
"""Name of the rule with nothing taken away."""


def ablated_rules(rule: Rule) -> dict[str, Rule]:
    """Return a rule without one of its slots or terms, by what is left or missing.

    Slots stand alone where there are several. Terms are taken away one by one where the rule is a polynomial
    of the basis; what else remains is not refitted, so that a difference is the term's own.

    Examples
    --------
    >>> pair = Rule.parse({"feedforward": "x*y - w*y**2", "lateral": "-y_pre*y_post"})
    >>> for name, rule in ablated_rules(pair).items():
    ...     print(f"{name}: {rule}")
    feedforward alone: x*y - w*y**2
    lateral alone: lateral: -y_pre*y_post
    without x*y: feedforward: -w*y**2; lateral: -y_pre*y_post
    without w*y**2: feedforward: x*y; lateral: -y_pre*y_post
    """
    result: dict[str, Rule] = {}
    constants = {slot: node for slot, node in rule.expressions.items() if get_slot(slot).is_constant}
    updates = {slot: node for slot, node in rule.expressions.items() if slot not in constants}
    if len(updates) > 1:
        for slot, node in updates.items():
            result[f"{slot} alone"] = Rule({slot: node, **constants})
    if not rule.is_polynomial:
        return result
    tables = rule.coefficients()
    for slot in updates:
        terms = tables[slot]
        for term in terms if len(terms) > 1 else ():
            rest = {name: value for name, value in terms.items() if name != term}
            result[f"without {_named(term, slot)}"] = Rule.from_coefficients({**tables, slot: rest})
    return result


def _named(term: str, slot: str) -> str:
    """Return the name of a term, with its slot for the constant term, which says nothing by itself."""
    return f"1 ({slot})" if term == "1" else term


def ablate(
    task: Task,
    problem_settings: Any,
    rule: Rule,
    n_problems: int,
    seed: int,
    progress: Progress = silent,
) -> tuple[MeasuredRule, ...]:
    """Run a rule and what is left of it without each of its parts, all on the same problems.

    Parameters
    ----------
    task : Task
    problem_settings : dataclass
        The task's settings.
    rule : Rule
    n_problems : int
    seed : int
    progress : callable, optional

    Returns
    -------
    tuple of MeasuredRule
        The complete rule first.
    """
    (draw_seed,) = np.random.SeedSequence(seed).spawn(1)
    problems = task.draw(problem_settings, n_problems, draw_seed)
    rules = {COMPLETE: rule, **ablated_rules(rule)}
    ablations = []
    measures = task.evaluate_rules(list(rules.values()), problems)
    for number, ((name, one), measured) in enumerate(zip(rules.items(), measures, strict=True)):
        ablations.append(MeasuredRule(name, one, intervals(measured, possible=task.possible)))
        progress((number + 1) / len(rules), f"ablation: {name}")
    return tuple(ablations)
