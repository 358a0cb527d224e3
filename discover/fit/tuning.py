"""The last step of a fit: how fast each slot of the chosen rule should learn, on many further problems."""

from __future__ import annotations

from typing import Any

from discover.errors import RuleError
from discover.multiple import best_multiple
from discover.rule import Rule
from discover.slots import SLOTS
from discover.tasks.base import Task

__all__ = ["tuned"]


def tuned(task: Task, rule: Rule, problems: Any) -> Rule:
    """Return the rule at the multiples, of all slots together and then slot by slot, with the lowest loss.

    A rule that learns as fast as a few problems allow fails on the rare problem that is harder than all of
    them, for instance where one slot only just keeps up with another. Such problems show among many, and a
    few numbers can be set by losses alone.

    Parameters
    ----------
    task : Task
    rule : Rule
    problems : Problems
        Others, and more, than the rule was fitted on.

    Returns
    -------
    Rule
        With the same terms in the same ratios within each slot; never worse on these problems.
    """
    slots = [name for name in rule.slots if not SLOTS[name].is_constant]
    for group in [slots] if len(slots) == 1 else [slots, *([name] for name in slots)]:
        rule = _at_best_multiple(task, rule, group, problems)
    return rule


def _at_best_multiple(task: Task, rule: Rule, slots: list[str], problems: Any) -> Rule:
    def mean_loss(factor: float) -> float:
        try:
            scaled = rule.scaled(dict.fromkeys(slots, factor))
        except RuleError:
            return float("inf")
        return float(task.losses(scaled, problems).mean())

    factor, _ = best_multiple(mean_loss)
    return rule.scaled(dict.fromkeys(slots, factor))
