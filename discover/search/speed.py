"""How fast a rule should learn: its overall multiples, set alike for all forms before they are compared."""

from __future__ import annotations

from math import exp2, log2
from typing import Any

import numpy as np

from discover.errors import RuleError
from discover.rule import Rule
from discover.slots import get_slot
from discover.spread import losses_of_population
from discover.tasks.base import Task

__all__ = ["at_best_speed", "groups_of_slots"]

WIDTHS = (1.0, 0.3, 0.09)
"""Half widths, in octaves, of the ladders of multiples that are tried one after the other."""

STEPS = (-1.0, -0.5, 0.0, 0.5, 1.0)
MOST_MOVES = 12
"""Ladders of one width that a search may climb; 12 octaves either way."""


def groups_of_slots(rule: Rule) -> list[list[str]]:
    """Return the slots with an update that share a learning rate, group by group.

    Examples
    --------
    >>> groups_of_slots(Rule.parse({"feedforward": "x*y", "lateral": "-y_pre*y_post"}))
    [['feedforward'], ['lateral']]
    >>> groups_of_slots(Rule.parse({"on_pre": "x_post", "on_post": "x_pre", "tau_pre": "20"}))
    [['on_pre', 'on_post']]
    """
    groups: dict[str, list[str]] = {}
    for name in rule.slots:
        slot = get_slot(name)
        if not slot.is_constant:
            groups.setdefault(slot.synapses, []).append(name)
    return list(groups.values())


def at_best_speed(task: Task, rule: Rule, problems: Any) -> Rule:
    """Return the multiple of a rule with the lowest mean loss: of all its slots, then of each learning rate.

    A ladder of multiples is tried, all on the same problems, and tried again around the best one with finer
    steps, down to about three per cent. Rules of spiking networks share the spikes of a problem, so that a
    ladder costs little more than one rule.

    Parameters
    ----------
    task : Task
    rule : Rule
    problems : Problems

    Returns
    -------
    Rule
        The same form, never worse on these problems.
    """
    groups = groups_of_slots(rule)
    together = [slot for group in groups for slot in group]
    for group in [together] if len(groups) == 1 else [together, *groups]:
        rule = _at_best_multiple(task, rule, group, problems)
    return rule


def _at_best_multiple(task: Task, rule: Rule, slots: list[str], problems: Any) -> Rule:
    losses: dict[float, float] = {}

    def multiple(octaves: float) -> Rule | None:
        try:
            return rule.scaled(dict.fromkeys(slots, exp2(octaves)))
        except RuleError:
            return None

    def look(centre: float, width: float) -> None:
        places = [round(centre + width * step, 6) for step in STEPS]
        new = {place: one for place in places if place not in losses and (one := multiple(place)) is not None}
        means = losses_of_population(task, list(new.values()), problems).mean(axis=1) if new else ()
        losses.update(zip(new, np.where(np.isfinite(means), means, np.inf).tolist(), strict=True))

    best = 0.0
    for width in WIDTHS:
        for _ in range(MOST_MOVES):
            look(best, width)
            lowest = min(losses, key=lambda place: (losses[place], abs(place)))
            is_inside = abs(lowest - best) < width
            best = lowest
            if is_inside or abs(best) > log2(1e6):
                break
    return rule if best == 0.0 else multiple(best) or rule
