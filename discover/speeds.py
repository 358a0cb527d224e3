"""How fast rules should learn: the multiples at which each has its lowest loss on tuning problems.

Published rules come with no learning rate, and a found one has the rate that its fit happened to end at. What
a form can do is seen only at the rate that suits it. Synapses of different kinds have learning rates of their
own, so each kind has a multiple; slots of the same synapses share one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from discover.errors import RuleError
from discover.known_rules import KnownRule
from discover.multiple import best_multiples
from discover.rule import Rule
from discover.slots import get_slot
from discover.tasks.base import Task

__all__ = [
    "AS_GIVEN",
    "FITTED",
    "Speeds",
    "at_speeds",
    "drawn_for_tuning",
    "evaluate_at",
    "slots_by_synapses",
    "tuned_speeds",
]

FloatArray = NDArray[np.float64]

Speeds = Mapping[str, float]
"""Synapses -> multiple of a rule's update there."""

AS_GIVEN: Speeds = {}
"""Speeds of a rule that runs as it is; synapses that are not named have a multiple of one."""

FIRST_RATIO, LAST_RATIO = 2.0, 1.1
"""Of neighbouring multiples that are tried; near its lowest point the loss hardly depends on the multiple."""

FITTED = (2.0, 1.03)
"""The same for a rule whose constants have been fitted: it is near its best speed already."""

N_PROBES, SAME = 16, 1e-9
"""States at which two updates are compared, and how much multiples may differ there by rounding."""


def slots_by_synapses(rule: Rule) -> list[list[str]]:
    """Return the slots with an update that share a learning rate, group by group.

    Examples
    --------
    >>> slots_by_synapses(Rule.parse({"feedforward": "x*y", "lateral": "-y_pre*y_post"}))
    [['feedforward'], ['lateral']]
    >>> slots_by_synapses(Rule.parse({"on_pre": "x_post", "on_post": "x_pre", "tau_pre": "20"}))
    [['on_pre', 'on_post']]
    """
    groups: dict[str, list[str]] = {}
    for name in rule.slots:
        slot = get_slot(name)
        if not slot.is_constant:
            groups.setdefault(slot.synapses, []).append(name)
    return list(groups.values())


def at_speeds(rule: Rule, speeds: Speeds) -> Rule:
    """Return a rule with its updates multiplied.

    Raises
    ------
    RuleError
        If a constant would not be finite.

    Examples
    --------
    >>> print(at_speeds(Rule.parse({"feedforward": "x*y", "lateral": "-v"}), {"lateral": 2.0}))
    feedforward: x*y; lateral: -2*v
    """
    factors = {slot: speeds.get(get_slot(slot).synapses, 1.0) for slot in rule.slots}
    return rule.scaled({slot: factor for slot, factor in factors.items() if factor != 1.0})


def evaluate_at(
    task: Task, rules: Sequence[tuple[Rule | KnownRule, Speeds]], problems: Any
) -> list[dict[str, FloatArray]]:
    """Return the measures of rules, each at its speeds, see :meth:`discover.tasks.base.Task.evaluate`.

    A known rule with a network of its own is given the learning rate of the problems' settings.
    """
    found: list[dict[str, FloatArray]] = [{} for _ in rules]
    plain: list[Rule] = []
    places: dict[Rule, list[int]] = {}
    for number, (rule, speeds) in enumerate(rules):
        if isinstance(rule, Rule):
            places.setdefault(at_speeds(rule, speeds), []).append(number)
        else:
            found[number] = dict(task.evaluate(rule, _faster(problems, speeds)))
    plain = list(places)
    for rule, measured in zip(plain, task.evaluate_rules(plain, problems) if plain else [], strict=True):
        for number in places[rule]:
            found[number] = measured
    return found


def drawn_for_tuning(task: Task, settings: Any, n_problems: int, seed: np.random.SeedSequence) -> Any:
    """Draw the problems on which speeds are found; None where there are to be none."""
    return task.draw(settings, n_problems, seed) if n_problems > 0 else None


def tuned_speeds(
    task: Task,
    rules: Sequence[Rule | KnownRule],
    problems: Any,
    first_ratio: float = FIRST_RATIO,
    last_ratio: float = LAST_RATIO,
) -> list[Speeds]:
    """Return the multiples at which each rule has its lowest mean loss.

    All updates together first; then, where a rule acts at synapses of several kinds, each kind by itself. Of
    rules that are multiples of each other the first is searched for all: where the loss hardly depends on a
    multiple, what is found depends on where the search begins.

    Parameters
    ----------
    task : Task
    rules : sequence of Rule or KnownRule
    problems : Problems or None
        For tuning; rules must be judged on others. With None every rule stays as it is.
    first_ratio, last_ratio : float
        See :func:`discover.multiple.best_multiple`.

    Returns
    -------
    list of Speeds
    """
    if problems is None:
        return [dict.fromkeys(_kinds(rule), 1.0) for rule in rules]
    forms = [_form(rule) for rule in rules]
    first = [
        next((n for n in range(number) if _is_alike(forms[n], one)), number)
        for number, one in enumerate(forms)
    ]
    leaders = sorted(set(first))
    tuned = _tuned(task, [rules[n] for n in leaders], problems, first_ratio, last_ratio)
    found = dict(zip(leaders, tuned, strict=True))
    return [
        found[leader] if leader == number else {
            name: speed * forms[leader].sizes[name] / one.sizes[name] for name, speed in found[leader].items()
        }
        for number, (leader, one) in enumerate(zip(first, forms, strict=True))
    ]  # fmt: skip


class _Form(NamedTuple):
    """What all multiples of a rule have in common, and how large its update is at synapses of each kind."""

    slots: tuple[str, ...]
    numbers: FloatArray
    sizes: dict[str, float]


_LIKE_NO_OTHER = _Form((), np.empty(0), {})


def _form(rule: Rule | KnownRule) -> _Form:
    """Return the form of a rule, by its updates at some states, each kind of synapses to its largest."""
    if isinstance(rule, KnownRule):
        return _LIKE_NO_OTHER
    rng = np.random.default_rng(0)
    numbers: list[FloatArray] = []
    sizes: dict[str, float] = {}
    for slots in slots_by_synapses(rule):
        values = []
        for name in slots:
            slot = get_slot(name)
            states = {variable: rng.uniform(0.1, 2.0, N_PROBES) for variable in slot.variables}
            values.append(np.broadcast_to(rule(name, **states), N_PROBES))
        updates = np.concatenate(values)
        size = float(np.abs(updates).max())
        if not 0 < size < np.inf:
            return _LIKE_NO_OTHER
        numbers.append(updates / size)
        sizes[get_slot(slots[0]).synapses] = size
    constants = [rule.constant(name) for name in rule.slots if get_slot(name).is_constant]
    return _Form(rule.slots, np.concatenate([*numbers, constants]), sizes)


def _is_alike(one: _Form, other: _Form) -> bool:
    """Whether two rules are multiples of each other."""
    return bool(one.sizes) and one.slots == other.slots and np.allclose(
        one.numbers, other.numbers, rtol=0.0, atol=SAME
    )  # fmt: skip


def _tuned(
    task: Task, rules: Sequence[Rule | KnownRule], problems: Any, first_ratio: float, last_ratio: float
) -> list[Speeds]:
    kinds = [_kinds(rule) for rule in rules]
    speeds = [dict.fromkeys(names, 1.0) for names in kinds]

    def search(numbers: Sequence[int], changed: Sequence[Sequence[str]]) -> None:
        def mean_losses(asked: Sequence[tuple[int, float]]) -> list[float]:
            tried = [
                (numbers[which], _changed(speeds[numbers[which]], changed[which], factor))
                for which, factor in asked
            ]
            return _mean_losses(task, [(rules[number], at) for number, at in tried], problems)

        best = best_multiples(mean_losses, len(numbers), first_ratio, last_ratio)
        for number, names, (factor, _) in zip(numbers, changed, best, strict=True):
            speeds[number] = _changed(speeds[number], names, factor)

    search(range(len(rules)), kinds)
    several = [number for number, names in enumerate(kinds) if len(names) > 1]
    for place in range(max((len(kinds[number]) for number in several), default=0)):
        numbers = [number for number in several if place < len(kinds[number])]
        search(numbers, [[kinds[number][place]] for number in numbers])
    return list(speeds)


def _kinds(rule: Rule | KnownRule) -> list[str]:
    """Kinds of synapses that a rule has a multiple for; the network of a known rule has a single one."""
    if isinstance(rule, KnownRule):
        return [_NETWORK]
    return [get_slot(slots[0]).synapses for slots in slots_by_synapses(rule)]


_NETWORK = "all"


def _changed(speeds: Mapping[str, float], names: Sequence[str], factor: float) -> dict[str, float]:
    return {name: value * factor if name in names else value for name, value in speeds.items()}


def _faster(problems: Any, speeds: Speeds) -> Any:
    factor = speeds.get(_NETWORK, 1.0)
    if factor == 1.0:
        return problems
    settings = replace(problems.settings, learning_rate=factor * problems.settings.learning_rate)
    return replace(problems, settings=settings)


def _mean_losses(task: Task, tried: Sequence[tuple[Rule | KnownRule, Speeds]], problems: Any) -> list[float]:
    """Mean loss of each rule at its speeds; infinite where the multiple of a constant is not finite."""
    losses = np.full(len(tried), np.inf)
    plain: dict[int, Rule] = {}
    for number, (rule, speeds) in enumerate(tried):
        if isinstance(rule, KnownRule):
            losses[number] = task.evaluate(rule, _faster(problems, speeds))["loss"].mean()
            continue
        try:
            plain[number] = at_speeds(rule, speeds)
        except RuleError:
            continue
    if plain:
        losses[list(plain)] = task.losses_of_rules(list(plain.values()), problems).mean(axis=1)
    return [float(one) if np.isfinite(one) else np.inf for one in losses]
