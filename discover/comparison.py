"""Comparison with the known rules: by coefficients, by the update on frozen states, and by behaviour.

Rules count as the same when they differ in a positive factor, which belongs to the learning rate of the slots
of some synapses, or in the sign of all outputs and feed-forward weights (``y -> -y``, ``w -> -w``), which no
input can tell apart. Terms that are odd in the activities average to zero for inputs that are symmetric
about zero; such terms are called idle and left out of the verdict when the losses along the inner loop stay
the same without them. Known rules that need more than a synapse's own variables run in networks of their own
and are compared by behaviour alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from annotated_types import Ge, Gt, Le, Lt
from numpy.typing import NDArray

from discover._compared_rules import (
    RATIO_TOLERANCE,
    Term,
    angle_degrees,
    by_text,
    constant_ratios,
    flipped,
    is_odd,
    projection,
    rule_of_terms,
    structural_verdict,
    table,
    term_ratios,
    without,
)
from discover.forms import Compared, Comparison, Distances, Evidence
from discover.intervals import ENOUGH
from discover.known_rules import KnownRule
from discover.progress import Progress, silent
from discover.rule import Rule
from discover.shown import shortened
from discover.slots import get_slot
from discover.tasks import get_task
from discover.tasks.base import Task, check_slots, known_networks_of, known_rules_of, rule_in

__all__ = [
    "CompareSettings",
    "Verdict",
    "compare",
    "compare_candidates",
]

FloatArray = NDArray[np.float64]
Verdict = Literal[
    "same up to scale", "same terms", "extra terms", "missing terms", "behaves alike", "different"
]

EXACT = 1e-9
"""Functional distance below which an expression that is not a polynomial counts as the same."""

WORST_LOSS = 2.0
"""Losses along the inner loop count at most this much, as a blow-up does."""

RELATED = 0.5
"""Functional distance up to which a known rule may be named as the nearest although its terms differ."""

LARGEST_SCALE = 1e6
"""Scales beyond this, or below its inverse, are not taken out before behaviours are compared."""


@dataclass(frozen=True)
class CompareSettings:
    """How rules are compared.

    Parameters
    ----------
    n_problems : int
        Problems on which behaviours are compared.
    n_judged : "auto" or int
        Problems on which the chosen rule is judged beside known rules, the baseline, and itself without its
        parts. "auto" are as many as intervals need to cover, 2,048, where losses have gradients, which says
        that a simulation takes next to no time, and `n_problems` elsewhere.
    n_tuning : "auto" or int
        Further problems, on which speeds and the constants of known rules are fitted before rules are
        judged; 0 leaves all as they are. "auto" are 64 and 8.
    refine_steps : "auto" or int
        Steps, or generations of CMA-ES, in which the constants of known rules are fitted. "auto" are 60 and
        10.
    n_states : int
        Frozen states on which updates are compared: half at random weights, half visited under the task's
        reference rule.
    n_points : int
        Points of a learning curve.
    ratio_tolerance : float
        Largest spread of the terms' factors, relative, that counts as one common scale.
    alike : float
        Largest mean absolute difference of the losses along the inner loop that counts as behaving alike.
    idle : float
        The same, for terms that average to zero and may be left out.
    negligible : float
        Terms whose share of the update is smaller, in root-mean-squares on the frozen states, are left out.
    """

    n_problems: Annotated[int, Ge(2), Le(100_000)] = 16
    n_judged: Literal["auto"] | Annotated[int, Ge(2), Le(100_000)] = "auto"
    n_tuning: Literal["auto"] | Annotated[int, Ge(0), Le(100_000)] = "auto"
    refine_steps: Literal["auto"] | Annotated[int, Ge(0), Le(100_000)] = "auto"
    n_states: Annotated[int, Ge(10), Le(1_000_000)] = 4000
    n_points: Annotated[int, Ge(2), Le(10_000)] = 20
    ratio_tolerance: Annotated[float, Gt(0), Lt(1)] = RATIO_TOLERANCE
    alike: Annotated[float, Gt(0), Le(10)] = 0.05
    idle: Annotated[float, Ge(0), Le(10)] = 0.02
    negligible: Annotated[float, Ge(0), Lt(1)] = 0.001

    def effort(self, task: Task) -> tuple[int, int, int]:
        """Return the problems to judge rules of a task on, those to tune them on, and steps of refinement."""
        automatic = (ENOUGH, 64, 60) if task.has_gradient else (self.n_problems, 8, 10)
        asked = (self.n_judged, self.n_tuning, self.refine_steps)
        n_judged, n_tuning, steps = (
            usual if one == "auto" else one for one, usual in zip(asked, automatic, strict=True)
        )
        return n_judged, n_tuning, steps


class _Match(NamedTuple):
    """A candidate compared with one known rule."""

    distances: Distances
    evidence: Evidence


def compare_candidates(
    task: Task,
    settings: Any,
    candidates: Mapping[str, Rule],
    compare_settings: CompareSettings | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Comparison:
    """Compare candidates with the known rules that can run in a task's network.

    Parameters
    ----------
    task : Task
    settings : dataclass
        Settings of the task's problems.
    candidates : mapping from str to Rule
    compare_settings : CompareSettings, optional
    seed : int
    progress : Progress

    Returns
    -------
    Comparison

    Raises
    ------
    RuleError
        If a candidate has an update that the task's network lacks.
    """
    candidates = {name: task.in_own_slots(rule) for name, rule in candidates.items()}
    for rule in candidates.values():
        check_slots(task, rule)
    bench = _Bench(task, settings, compare_settings or CompareSettings(), seed)
    known, networks = known_rules_of(task), known_networks_of(task)
    result = {}
    n_known = len(known) + len(networks)
    for number, (name, rule) in enumerate(candidates.items()):
        matches: dict[str, _Match] = {}
        for other in (*known, *networks):
            done = (number + len(matches) / n_known) / len(candidates)
            progress(done, f"rule {number + 1} of {len(candidates)} beside {other}: {shortened(str(rule))}")
            if other in known:
                matches[other] = _match(bench, rule, known[other])
            else:
                matches[other] = _match_of_behaviour(bench, rule, networks[other])
        nearest = _nearest(rule, known, {other: matches[other] for other in known})
        result[name] = Compared(
            nearest,
            matches[nearest].evidence.verdict if nearest else "different",
            {other: match.distances for other, match in matches.items()},
            {other: match.evidence for other, match in matches.items()},
        )
    progress(1.0, f"{len(candidates)} rules compared")
    return Comparison(
        task=task.name,
        ratio_tolerance=bench.settings.ratio_tolerance,
        alike=bench.settings.alike,
        candidates=result,
    )


def compare(rule: Rule | str, task: str = "oja", seed: int = 0) -> Compared:
    """Compare a rule with the known rules of a task at its default settings.

    Parameters
    ----------
    rule : Rule or str
        ``x*y - w*y**2``, or ``slot: expression; slot: expression``; text as fronts of the task print it.
    task : str
    seed : int

    Returns
    -------
    Compared

    Raises
    ------
    RuleError
        If the text is no rule, or the rule has an update that the task's network lacks.
    TaskError
        If there is no such task.

    Examples
    --------
    >>> compared = compare("2*x*y - 2*w*y**2")
    >>> compared.nearest, compared.verdict
    ('oja', 'same up to scale')
    """
    where = get_task(task)
    parsed = rule_in(where, rule) if isinstance(rule, str) else rule
    found = compare_candidates(where, where.settings_type(), {"rule": parsed}, seed=seed)
    return found.candidates["rule"]


class _Bench:
    """The frozen states and problems on which all rules are compared."""

    def __init__(self, task: Task, settings: Any, compare_settings: CompareSettings, seed: int) -> None:
        self.task = task
        self.settings = compare_settings
        draw_seed, probe_seed, visit_seed = np.random.SeedSequence(seed).spawn(3)
        self.problems = task.draw(settings, compare_settings.n_problems, draw_seed)
        half = compare_settings.n_states // 2
        probed = task.probe(self.problems, half, probe_seed)
        reference = known_rules_of(task)[task.reference_for(settings)]
        visited = task.visit(reference, self.problems, half, visit_seed)
        self.states = {slot: np.concatenate([probed[slot].values, visited[slot].values]).T for slot in probed}
        self._curves: dict[Rule | str, FloatArray] = {}

    def update(self, rule: Rule) -> dict[str, FloatArray]:
        """Update on the frozen states, by slot; zero in a slot where the rule does not act."""
        functions = rule.numpy()
        updates = {}
        for slot, columns in self.states.items():
            if slot in functions:
                named = dict(zip(functions[slot].variables, columns, strict=True))
                updates[slot] = np.broadcast_to(functions[slot](**named), columns.shape[1:])
            else:
                updates[slot] = np.zeros(columns.shape[1])
        return updates

    def curve(self, rule: Rule | KnownRule) -> FloatArray:
        """Losses along the inner loop, at most those of a blow-up, shape (n_points, n_problems)."""
        key = rule if isinstance(rule, Rule) else rule.name
        if key not in self._curves:
            _, losses = self.task.learning_curve(rule, self.problems, self.settings.n_points)
            self._curves[key] = np.minimum(np.nan_to_num(losses, nan=WORST_LOSS), WORST_LOSS)
        return self._curves[key]

    def difference(self, rule: Rule, other: Rule | KnownRule) -> float:
        """Mean absolute difference of the losses along the inner loop."""
        return float(np.mean(np.abs(self.curve(rule) - self.curve(other))))

    def alike(self, rule: Rule, other: Rule | KnownRule, difference: float) -> bool:
        """Whether two rules that both learn differ too little in their losses to be told apart."""
        return difference <= self.settings.alike and self.learns(rule) and self.learns(other)

    def learns(self, rule: Rule | KnownRule) -> bool:
        """Whether a rule ends below a loss of one, where doing nothing or blowing up lies at or above it."""
        return float(self.curve(rule)[-1].mean()) < 1.0


def _match(bench: _Bench, rule: Rule, known: Rule) -> _Match:
    update = bench.update(rule)
    variants = [(known, False)]
    if (mirrored := flipped(known)) != known:
        variants.append((mirrored, True))
    tried = [(_projection(update, bench.update(variant)), variant, flip) for variant, flip in variants]
    (scales, functional), variant, flip = min(tried, key=lambda one: _or_infinite(one[0][1]))
    inverse = {slot: 1 / scale for slot, scale in scales.items() if 1 / LARGEST_SCALE < scale < LARGEST_SCALE}
    scaled = rule.scaled(inverse)
    behavioural = bench.difference(scaled, variant)
    terms = _compare_terms(bench, rule, variant)
    verdict = terms.verdict
    positive = bool(scales) and all(scale > 0 for scale in scales.values())
    if verdict is None and functional is not None and functional <= EXACT and positive:
        verdict = "same up to scale"
    if verdict is None:
        verdict = "behaves alike" if bench.alike(scaled, variant, behavioural) else "different"
    evidence = Evidence(
        verdict=verdict,
        scales=scales,
        flipped=flip,
        ratios=terms.ratios,
        extra_terms=by_text(terms.extra),
        missing_terms=by_text(terms.missing),
        idle_terms=by_text(terms.idle),
        negligible_terms=by_text(terms.negligible),
    )
    return _Match(Distances(terms.angle, functional, behavioural), evidence)


def _match_of_behaviour(bench: _Bench, rule: Rule, known: KnownRule) -> _Match:
    """Compare with a rule that runs in a network of its own, both at the learning rate of the task."""
    difference = bench.difference(rule, known)
    verdict: Verdict = "behaves alike" if bench.alike(rule, known, difference) else "different"
    evidence = Evidence(verdict=verdict, scales={}, flipped=False, idle_terms={}, negligible_terms={})
    return _Match(Distances(behavioural=difference), evidence)


def _projection(
    update: Mapping[str, FloatArray], other: Mapping[str, FloatArray]
) -> tuple[dict[str, float], float | None]:
    """Return the best factor on `other` in each slot, and the largest of the distances.

    Slots of the same synapses share a factor and a distance. Synapses at which neither rule acts are left
    out.
    """
    scales: dict[str, float] = {}
    distances: list[float | None] = []
    groups: dict[str, list[str]] = {}
    for slot in update:
        groups.setdefault(get_slot(slot).synapses, []).append(slot)
    for slots in groups.values():
        values = np.concatenate([update[slot] for slot in slots])
        others = np.concatenate([other[slot] for slot in slots])
        if values.any() or others.any():
            scale, distance = projection(values, others)
            distances.append(distance)
            if scale is not None:
                scales |= dict.fromkeys(slots, scale)
    if not distances or None in distances:
        return scales, None if distances else 1.0
    return scales, max(_or_infinite(distance) for distance in distances)


@dataclass(frozen=True)
class _Terms:
    """What the coefficient tables of two rules say; all empty when one is not a polynomial."""

    verdict: Verdict | None
    angle: float | None
    ratios: Mapping[str, float]
    extra: Mapping[Term, float]
    missing: Mapping[Term, float]
    idle: Mapping[Term, float]
    negligible: Mapping[Term, float]


def _compare_terms(bench: _Bench, rule: Rule, known: Rule) -> _Terms:
    all_terms, known_terms = table(rule), table(known)
    if all_terms is None or known_terms is None:
        return _Terms(None, None, {}, {}, {}, {}, {})
    negligible = _negligible(bench, all_terms)
    terms = without(all_terms, negligible)
    idle = _idle(bench, terms, known_terms)
    terms = without(terms, idle)
    extra = without(terms, known_terms)
    missing = without(known_terms, terms)
    return _Terms(
        verdict=structural_verdict(
            terms, known_terms, constant_ratios(rule, known), bench.settings.ratio_tolerance
        ),
        angle=angle_degrees(all_terms, known_terms),
        ratios=term_ratios(all_terms, known_terms) | constant_ratios(rule, known),
        extra=extra,
        missing=missing,
        idle=idle,
        negligible=negligible,
    )


def _negligible(bench: _Bench, terms: Mapping[Term, float]) -> dict[Term, float]:
    sizes = {
        term: float(np.sqrt(np.mean(bench.update(rule_of_terms({term: value}))[term[0]] ** 2)))
        for term, value in terms.items()
    }
    largest = {slot: max(size for term, size in sizes.items() if term[0] == slot) for slot, _ in sizes}
    least = bench.settings.negligible
    return {term: terms[term] for term, size in sizes.items() if size < least * largest[term[0]]}


def _idle(bench: _Bench, terms: Mapping[Term, float], known: Mapping[Term, float]) -> dict[Term, float]:
    """Terms that average to zero and whose absence does not show in the losses."""
    odd = {term: value for term, value in terms.items() if is_odd(term) and term not in known}
    rest = without(terms, odd)
    if not odd or not rest:
        return {}
    changes = bench.difference(rule_of_terms(terms), rule_of_terms(rest))
    return odd if changes <= bench.settings.idle else {}


def _nearest(rule: Rule, known: Mapping[str, Rule], matches: Mapping[str, _Match]) -> str | None:
    """Return the known rule to name, or None when all updates point elsewhere.

    First comes one with the same terms, then one that behaves alike, then the closest in update and
    behaviour, and last one whose terms are part of the rule's or the other way round. A polynomial is held
    against polynomials, where there are any.
    """
    names = [name for name in matches if known[name].is_polynomial] if rule.is_polynomial else []
    best = min(names or matches, key=lambda name: _order(matches[name]), default=None)
    return None if best is None or _order(matches[best])[0] == len(_RANKS) - 1 else best


_RANKS = ("same up to scale", "same terms", "behaves alike", "close", "related", "similar", "unlike")


def _order(match: _Match) -> tuple[int, float]:
    functional = _or_infinite(match.distances.functional)
    rank = match.evidence.verdict
    if rank not in _RANKS:
        if functional <= RELATED:
            rank = "close"
        elif rank != "different":
            rank = "related"
        else:
            rank = "similar" if functional < 1 else "unlike"
    return _RANKS.index(rank), functional + _or_infinite(match.distances.behavioural)


def _or_infinite(value: float | None) -> float:
    return float("inf") if value is None else value
