"""Forms of rules that somebody proposed, and which of them are the same update.

Two descriptions whose updates agree on all states that synapses visit, up to a multiple in each slot, are one
candidate: the simpler one stands for both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from discover.expression import const, variables_of
from discover.fit import FitResult
from discover.rule import Rule
from discover.search.engine import Samples
from discover.slots import TAU_POST, TAU_PRE, get_slot
from discover.speeds import slots_by_synapses

__all__ = ["L1_PATH", "TOLERANCE", "Form", "Forms", "agreement", "in_use", "skeleton", "update_on"]

FloatArray = NDArray[np.float64]

L1_PATH = "l1-path"
"""Name under which the rules of the coefficient fit enter the union."""

TAU_OF = {"x_pre": TAU_PRE.name, "x_post": TAU_POST.name}
"""Traces -> their time constants."""

TOLERANCE = 0.01
"""Two updates are one where they differ by less than this share of their size, at the best multiple."""


@dataclass
class Form:
    """A form of rule, with the constants that came with it, and who proposed it."""

    rule: Rule
    proposed_by: list[str] = field(default_factory=list)

    def also_by(self, names: Iterable[str]) -> None:
        """Remember who else proposed it."""
        self.proposed_by.extend(name for name in names if name not in self.proposed_by)


class Forms:
    """Forms by their skeletons, each once.

    Parameters
    ----------
    fit : FitResult, optional
        The best rule of each set of terms on its path is a form.
    """

    def __init__(self, fit: FitResult | None = None) -> None:
        self._forms: dict[str, Form] = {}
        for point in sorted(fit.points, key=lambda point: point.heldout_loss) if fit is not None else ():
            if point.n_terms > 0 and point.penalty > 0:
                rule = in_use(point.rule)
                self._forms.setdefault(skeleton(rule), Form(rule, [L1_PATH]))

    def add(self, rules: Iterable[Rule], proposed_by: str) -> None:
        """Add rules in canonical form; of one skeleton the first that came stays."""
        for rule in rules:
            canonical = in_use(rule.canonical())
            self._forms.setdefault(skeleton(canonical), Form(canonical)).also_by([proposed_by])

    def without(self, rules: Iterable[Rule]) -> Forms:
        """Return the forms whose skeleton none of some rules has."""
        known = {skeleton(rule) for rule in rules}
        others = Forms()
        others._forms = {key: form for key, form in self._forms.items() if key not in known}
        return others

    def distinct(self, states: Mapping[str, Samples]) -> list[Form]:
        """Return the forms, simplest first, without those whose update a simpler one has already.

        Parameters
        ----------
        states : mapping from slot name to Samples
            Visited states.
        """
        kept: list[tuple[Form, dict[str, FloatArray]]] = []
        ordered = sorted(self._forms.values(), key=lambda form: (form.rule.complexity, str(form.rule)))
        for form in ordered:
            values = update_on(form.rule, states)
            if values is None:
                continue
            twin = next((one for one, others in kept if _agree(form.rule, one.rule, values, others)), None)
            if twin is None:
                kept.append((form, values))
            else:
                twin.also_by(form.proposed_by)
        return [form for form, _ in kept]


def in_use(rule: Rule) -> Rule:
    """Return a rule of several projections without what does nothing.

    That are the slots of projections that it leaves as they are, and time constants of traces that no update
    of their projection sees.

    Examples
    --------
    >>> rule = Rule.parse("EE.on_pre: 0; EE.tau_post: 25; EI.on_pre: x_post; EI.tau_pre: 15; EI.tau_post: 20")
    >>> print(in_use(rule))
    EI.on_pre: x_post; EI.tau_post: 20
    """
    updates = {
        name: node for name, node in rule.expressions.items()
        if not get_slot(name).is_constant and node != const(0.0)
    }  # fmt: skip
    changed = {_projection(name) for name in updates}
    seen = {
        f"{_projection(name)}.{TAU_OF[trace]}"
        for name, node in updates.items() for trace in variables_of(node) if trace in TAU_OF
    }  # fmt: skip
    kept = {
        name: node for name, node in rule.expressions.items()
        if not _projection(name)
        or (_projection(name) in changed and (name in seen or not get_slot(name).is_constant))
    }  # fmt: skip
    return Rule(kept) if kept else rule


def _projection(slot: str) -> str:
    """Name of the projection whose slot it is, empty where a network has one kind of plastic synapses."""
    return slot.rpartition(".")[0]


def skeleton(rule: Rule) -> str:
    """Text of a rule that is the same whatever its constants: its set of terms, or its canonical tree."""
    if rule.is_polynomial:
        return str({slot: sorted(terms) for slot, terms in rule.coefficients().items()})
    canonical = rule.canonical()
    return str(canonical.with_constants(np.full(len(canonical.constants()), 1.5)))


def update_on(rule: Rule, states: Mapping[str, Samples]) -> dict[str, FloatArray] | None:
    """Return a rule's update on visited states, by slot; None where it is not finite."""
    values = {
        slot: np.asarray(function(**states[slot].columns))
        for slot, function in rule.numpy().items()
        if slot in states
    }
    return values if all(np.all(np.isfinite(one)) for one in values.values()) else None


def agreement(rule: Rule, values: Mapping[str, FloatArray], others: Mapping[str, FloatArray]) -> float:
    """Return how far an update is from another at its best multiples, as a share of its own size.

    The larger of two shares counts: that of the whole, and that where no state counts for more than a usual
    one. Where a network was about to blow up, a few states outweigh all others together, and two rules that
    differ everywhere else would pass for one.

    Parameters
    ----------
    rule : Rule
        Says which slots share a multiple.
    values, others : mapping from slot name to ndarray
        Both updates on the same states.
    """
    worst = 0.0
    for group in slots_by_synapses(rule):
        mine = _joined(values, group)
        theirs = _joined(others, group)
        usual = float(np.median(np.abs(mine))) if len(mine) else 0.0
        worst = max(worst, _distance(mine, theirs))
        if usual > 0.0:
            sizes = np.maximum(np.abs(mine), usual)
            worst = max(worst, _distance(mine / sizes, theirs / sizes))
    return worst


def _distance(mine: FloatArray, theirs: FloatArray) -> float:
    """Distance from the nearest positive multiple of another vector, as a share of the length; at most 1."""
    power, size = float(theirs @ theirs), float(mine @ mine)
    multiple = float(mine @ theirs) / power if power > 0 else 0.0
    if size == 0.0 or multiple <= 0.0:
        return 0.0 if size == power == 0.0 else 1.0
    residual = mine - multiple * theirs
    return float(np.sqrt(residual @ residual / size))


def _joined(values: Mapping[str, FloatArray], group: Sequence[str]) -> FloatArray:
    parts = [values[slot] for slot in group if slot in values]
    return np.concatenate(parts) if parts else np.zeros(0)


def _agree(
    rule: Rule, other: Rule, values: Mapping[str, FloatArray], others: Mapping[str, FloatArray]
) -> bool:
    if values.keys() != others.keys():
        return False
    constants = [slot for slot in {*rule.slots, *other.slots} if get_slot(slot).is_constant]
    for slot in constants:
        if abs(rule.constant(slot) - other.constant(slot)) > TOLERANCE * rule.constant(slot):
            return False
    return agreement(rule, values, others) < TOLERANCE
