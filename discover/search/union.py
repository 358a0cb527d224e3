"""The symbolic search: engines propose, the network's meta-loss decides."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from discover.expression import Node
from discover.fit import FitResult
from discover.pareto import Candidate, ParetoFront, Simplification, Spent
from discover.progress import Progress, part, silent
from discover.rule import Rule
from discover.search.closed_loop import CLOSED_LOOP, closed_loop
from discover.search.curves import from_curves
from discover.search.engine import AUTO, Engine, started
from discover.search.recalled import RecalledEngine
from discover.search.refine import refined
from discover.search.settings import SearchSettings
from discover.search.simpler import rounded, shrunk
from discover.search.teacher import Lesson, teacher_samples
from discover.spread import losses_of_population
from discover.tasks.base import DifferentiableTask, Task, has_gradient, losses_of_rules

__all__ = ["L1_PATH", "search"]

L1_PATH = "l1-path"
"""Name under which the rules of the coefficient fit enter the union."""

ON_UPDATE = "engines on the teacher's update"
META_GRADIENT = "meta-gradient"
META_EVOLUTION = "cma-es"


@dataclass
class _Form:
    """A form of rule that somebody proposed, with the constants that came with it."""

    rule: Rule
    proposed_by: list[str]


def search(
    task: Task,
    problem_settings: Any,
    fit: FitResult,
    trajectories: Mapping[str, NDArray[Any]],
    settings: SearchSettings,
    seed: int,
    progress: Progress = silent,
    *,
    engines: Sequence[str] = (AUTO,),
) -> ParetoFront:
    """Search beyond the polynomial basis.

    The engines fit expressions to the update of the teacher on the states that it visits: the rule without a
    formula where the fit has one, each of whose curves is a problem of its own too, else the dense fitted
    rule. Their fronts and the rules of the L1 path are united; each form runs in the network, its constants
    are refined there by exact gradients or CMA-ES, and held-out problems give the loss by which the front is
    built and the rule is chosen.

    Parameters
    ----------
    task : Task
    problem_settings : dataclass
        The task's settings.
    fit : FitResult
    trajectories : mapping from str to ndarray
        What synapses visited under the baseline rules (:func:`discover.tasks.collect`); their states join
        those of the dense rule, so that expressions are also asked about states far from the solution.
    settings : SearchSettings
    seed : int
    progress : callable, optional
    engines : sequence of str
        Names; ``auto`` stands for all that are usable here.

    Returns
    -------
    ParetoFront

    Raises
    ------
    EngineError
        If an engine is unknown, is not usable here, or fails.
    RunFailed
        If every rule of the path blows up.
    """
    chosen = started(engines, progress)
    root = np.random.SeedSequence(seed)
    train_seed, heldout_seed, state_seed, engine_seed, refine_seed = root.spawn(5)
    (loop_seed,) = root.spawn(1)
    progress(0.0, "drawing problems")
    train = task.draw(problem_settings, settings.network.n_train, train_seed)
    heldout = task.draw(problem_settings, settings.network.n_heldout, heldout_seed)
    lesson = teacher_samples(task, train, fit, trajectories, settings.network.n_states, state_seed)
    forms = _forms_of_path(fit)
    for number, engine in enumerate(RecalledEngine(one, task, train) for one in chosen):
        inner = part(
            progress, 0.5 * number / len(chosen), 0.5 * (number + 1) / len(chosen), f"{engine.name}: "
        )
        share = 0.5 if lesson.has_curves else 1.0
        rules = _proposals(engine, lesson, settings, engine_seed, part(inner, 0.0, share))
        if lesson.has_curves:
            (word,) = engine_seed.generate_state(1, np.uint64)
            rules += from_curves(engine, lesson, settings, int(word), part(inner, share, 1.0))
        _unite(forms, rules, engine.name if fit.teacher is None else f"{engine.name} on the teacher")
    rng = np.random.default_rng(refine_seed)
    counted = _Counted(task)
    scored = _scored(counted, forms, train, heldout, settings, rng, part(progress, 0.5, 0.9))
    spent: tuple[Spent, ...] = ()
    if settings.objective == "task":
        (word,) = loop_seed.generate_state(1, np.uint64)
        rules, own = closed_loop(task, train, lesson, settings, int(word), part(progress, 0.5, 0.8))
        spent = (counted.spent(ON_UPDATE, scored),)
        counted = _Counted(task)
        new: dict[str, _Form] = {}
        _unite(new, rules, CLOSED_LOOP)
        more = _scored(counted, new, train, heldout, settings, rng, part(progress, 0.8, 0.9))
        spent = (*spent, counted.spent(CLOSED_LOOP, more, own))
        scored = _merged(scored, more)
    names = tuple(engine.name for engine in chosen)
    steps: list[Simplification] = []
    if settings.network.simplify > 0:
        progress(0.9, "taking parts away")
        best = min(scored, key=lambda one: float(one.heldout_losses.mean()))
        found, steps = shrunk(task, best.rule, train, heldout, settings.network, settings.resolution, rng)
        by = f"{best.refined_by}, parts taken away".removeprefix(", ")
        scored += [
            _Scored(one.rule, best.proposed_by, by, float(one.train_losses.mean()), one.heldout_losses)
            for one in found
            if _is_simpler(one.rule, scored)
        ]
    front = ParetoFront(
        task.name, names, _candidates(scored), settings.selector, settings.resolution, spent=spent
    )
    if settings.network.simplify > 0:
        progress(0.97, "rounding constants")
        _, last = rounded(task, front.chosen.rule, heldout, settings.resolution)
        steps += last
    progress(1.0, "front of candidates")
    return replace(front, simplifications=tuple(steps))


def _forms_of_path(fit: FitResult) -> dict[str, _Form]:
    """Sparse rules of the coefficient fit: the best of each set of terms."""
    forms: dict[str, _Form] = {}
    for point in sorted(fit.points, key=lambda point: point.heldout_loss):
        if point.n_terms > 0 and point.penalty > 0:
            forms.setdefault(_skeleton(point.rule), _Form(point.rule, [L1_PATH]))
    return forms


def _proposals(
    engine: Engine,
    lesson: Lesson,
    settings: SearchSettings,
    seed: np.random.SeedSequence,
    progress: Progress,
) -> list[Rule]:
    """Rules that an engine proposes; with several slots, all pairs of entries of the fronts.

    Constants of the synapse are the teacher's.
    """
    samples = lesson.samples
    words = seed.generate_state(len(samples))
    fronts: list[list[tuple[str, Node]]] = []
    for number, (slot, one) in enumerate(samples.items()):
        inner = part(progress, number / len(samples), (number + 1) / len(samples))
        proposals = engine.propose(one, settings, int(words[number]), inner)
        fronts.append([(slot, proposal.expression) for proposal in proposals])
    rules: list[dict[str, Node]] = [{}]
    for front in fronts:
        rules = [{**rule, slot: expression} for rule in rules for slot, expression in front]
    return [Rule({**expressions, **lesson.constants}) for expressions in rules if expressions]


def _unite(forms: dict[str, _Form], rules: Iterable[Rule], engine: str) -> None:
    for rule in rules:
        canonical = rule.canonical()
        known = forms.setdefault(_skeleton(canonical), _Form(canonical, []))
        if engine not in known.proposed_by:
            known.proposed_by.append(engine)


def _is_simpler(rule: Rule, scored: Iterable[_Scored]) -> bool:
    """Whether no candidate of the same form is as simple: ``x*y`` is simpler than ``1.06*x*y``."""
    form = _skeleton(rule)
    return all(rule.complexity < one.rule.complexity for one in scored if _skeleton(one.rule) == form)


def _skeleton(rule: Rule) -> str:
    """Text of a rule that is the same whatever its constants: its set of terms, or its canonical tree."""
    if rule.is_polynomial:
        return str({slot: sorted(terms) for slot, terms in rule.coefficients().items()})
    canonical = rule.canonical()
    return str(canonical.with_constants(np.full(len(canonical.constants()), 1.5)))


def _by_front(screened: Sequence[tuple[float, _Form]]) -> list[tuple[float, _Form]]:
    """Order forms by fronts of loss and complexity: the first front, then that of the rest, and so on.

    The forms at the head are refined. By loss alone these could all be variants of one good form, and a
    simpler one that needs no more than other constants would be missed.
    """
    rest = sorted(screened, key=lambda entry: (entry[1].rule.complexity, entry[0], str(entry[1].rule)))
    ordered: list[tuple[float, _Form]] = []
    while rest:
        front: list[tuple[float, _Form]] = []
        others: list[tuple[float, _Form]] = []
        lowest = float("inf")
        for entry in rest:
            (front if entry[0] < lowest else others).append(entry)
            lowest = min(lowest, entry[0])
        if not front:  # losses that are not finite
            return ordered + others
        ordered += sorted(front, key=lambda entry: entry[0])
        rest = others
    return ordered


@dataclass(frozen=True)
class _Scored:
    rule: Rule
    proposed_by: list[str]
    refined_by: str
    train_loss: float
    heldout_losses: NDArray[np.float64]


def _scored(
    counted: _Counted,
    forms: Mapping[str, _Form],
    train: Any,
    heldout: Any,
    settings: SearchSettings,
    rng: np.random.Generator,
    progress: Progress,
) -> list[_Scored]:
    """Run every form in the network, refine the best, and give each its losses."""
    task = cast("Task", counted)
    network = settings.network
    screened = _by_front([(float(task.losses(form.rule, train).mean()), form) for form in forms.values()])
    scored = []
    for rank, (loss, form) in enumerate(screened):
        rule, refined_by, train_loss = form.rule, "", loss
        if rank < network.n_refined and loss < network.hopeless:
            better, losses = refined(task, rule, train, network.refine_steps, network.batch, rng)
            if better is not rule:
                refined_by = META_GRADIENT if has_gradient(task) else META_EVOLUTION
                rule, train_loss = better, float(losses.mean())
        held = task.losses(rule, heldout)
        counted.note(train_loss)
        scored.append(_Scored(rule, form.proposed_by, refined_by, train_loss, held))
        progress((rank + 1) / len(screened), f"candidate {rank + 1} of {len(screened)}")
    return scored


def _merged(scored: list[_Scored], more: list[_Scored]) -> list[_Scored]:
    """Unite what two ways found; of one form the rule with the lower training loss stays."""
    by_form = {_skeleton(one.rule): one for one in scored}
    for one in more:
        key = _skeleton(one.rule)
        other = by_form.get(key)
        if other is None:
            by_form[key] = one
        else:
            better = min(other, one, key=lambda each: each.train_loss)
            by_form[key] = replace(better, proposed_by=[*other.proposed_by, *one.proposed_by])
    return list(by_form.values())


class _Counted:
    """A task that counts the problems that are simulated."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self.n_simulated = 0
        self.trace: list[tuple[int, float]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task, name)

    def losses(self, rule: Any, problems: Any, n_steps: int | None = None) -> NDArray[np.float64]:
        self.n_simulated += problems.n_problems
        return self._task.losses(rule, problems, n_steps)

    def losses_of_rules(self, rules: Sequence[Any], problems: Any) -> NDArray[np.float64]:
        self.n_simulated += len(rules) * problems.n_problems
        return losses_of_rules(self._task, rules, problems)

    def losses_of_population(self, rules: Sequence[Any], problems: Any) -> NDArray[np.float64]:
        self.n_simulated += len(rules) * problems.n_problems
        return losses_of_population(self._task, rules, problems)

    @property
    def gradient(self) -> Any:
        compute = cast("DifferentiableTask", self._task).gradient  # a task that has none has none here

        def counted(rule: Any, problems: Any, n_steps: int | None = None) -> Any:
            self.n_simulated += problems.n_problems
            return compute(rule, problems, n_steps)

        return counted

    def note(self, loss: float) -> None:
        """Remember where the lowest loss fell."""
        if not self.trace or loss < self.trace[-1][1]:
            self.trace.append((self.n_simulated, loss))

    def spent(self, way: str, scored: Sequence[_Scored], before: Spent | None = None) -> Spent:
        """What this way cost, with what was spent before its candidates were tried."""
        already, nothing = (0, float("inf")) if before is None else (before.n_simulated, before.heldout_loss)
        trace = [] if before is None else list(before.trace)
        for count, loss in self.trace:
            if not trace or loss < trace[-1][1]:
                trace.append((already + count, loss))
        lowest = min((float(one.heldout_losses.mean()) for one in scored), default=nothing)
        return Spent(way, already + self.n_simulated, lowest, tuple(trace))


def _candidates(scored: Sequence[_Scored]) -> tuple[Candidate, ...]:
    """Return candidates in order of complexity."""
    ordered = sorted(
        scored, key=lambda one: (one.rule.complexity, float(one.heldout_losses.mean()), str(one.rule))
    )
    return tuple(
        Candidate(
            id=f"c{number:02d}",
            rule=one.rule,
            train_loss=one.train_loss,
            heldout_loss=float(one.heldout_losses.mean()),
            heldout_error=float(one.heldout_losses.std(ddof=1) / np.sqrt(len(one.heldout_losses))),
            proposed_by=tuple(one.proposed_by),
            refined_by=one.refined_by,
        )
        for number, one in enumerate(ordered, 1)
    )
