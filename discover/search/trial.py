"""Forms tried in the network: refined, set to their best speed, and judged on problems of their own.

Sets of problems are never mixed. Constants are *fitted* on the first; speeds are set and parts taken away on
the second; the rule is *chosen* on as many others; what is *reported* in the end comes from the last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from discover.pareto import Simplification, Spent, in_layers, pareto_front
from discover.progress import Progress, part, silent
from discover.rule import Rule
from discover.search.engine import Samples
from discover.search.forms import Form, skeleton
from discover.search.refine import refined
from discover.search.settings import SearchSettings
from discover.search.simpler import smaller_forms, step
from discover.speeds import FITTED, at_speeds, tuned_speeds
from discover.spread import losses_of_population
from discover.tasks.base import Task

__all__ = ["SIMPLER", "CountedTask", "Judged", "Trial", "merged"]

FloatArray = NDArray[np.float64]

META_GRADIENT = "meta-gradient"
META_EVOLUTION = "cma-es"
SIMPLER = "made simpler"
"""Note on candidates that came of others by taking something away."""

WITHIN_REACH = 2.0
"""Candidates with up to this many times the lowest loss are worth being made simpler."""

BEHIND = 0.1
"""Share of the teacher's loss by which a formula may be worse and still count as its name."""

AT_ONCE = 8
"""Forms that run between two words about progress."""

N_SIMPLER = 3
"""Of all forms simpler than a candidate, those with the lowest loss are refined."""


@dataclass(frozen=True, eq=False)
class Judged:
    """A rule at its best speed, with its losses.

    Attributes
    ----------
    rule : Rule
    complexity : float
    proposed_by : tuple of str
    refined_by : str
    train_loss : float
        Mean over the problems that its constants were fitted on.
    losses : ndarray, shape (n_problems,)
        On the problems on which candidates are selected, and in the end on those of the choice.
    steps : tuple of Simplification
        How it came from a rule that was less simple, and what else was tried on it.
    """

    rule: Rule
    complexity: float
    proposed_by: tuple[str, ...]
    refined_by: str
    train_loss: float
    losses: FloatArray
    steps: tuple[Simplification, ...] = ()

    @property
    def form(self) -> tuple[str, float]:
        """What tells its form from others: its skeleton, and whether constants have simple ratios."""
        return skeleton(self.rule), self.complexity

    @property
    def loss(self) -> float:
        """Mean over the problems that :attr:`losses` are of."""
        return float(self.losses.mean())


@dataclass
class Trial:
    """What forms are tried on.

    Parameters
    ----------
    counted : CountedTask
    train, heldout : Problems
        To fit constants on, and to select on.
    states : mapping from slot name to Samples
        What synapses visit.
    settings : SearchSettings
    rng : numpy.random.Generator
    """

    counted: CountedTask
    train: Any
    heldout: Any
    states: Mapping[str, Samples]
    settings: SearchSettings
    rng: np.random.Generator
    tuning: Any = field(init=False)

    def __post_init__(self) -> None:
        n_tuning = min(self.settings.network.n_tuning, self.heldout.n_problems)
        self.tuning = self.heldout.subset(np.arange(n_tuning)) if n_tuning > 0 else None

    @property
    def task(self) -> Task:
        """The task, which counts what is simulated."""
        return cast("Task", self.counted)

    def mean_losses(
        self, rules: Sequence[Rule], problems: Any = None, progress: Progress = silent
    ) -> FloatArray:
        """Mean loss of each rule, as it is, on the problems that constants are fitted on, or on others."""
        asked = self.train if problems is None else problems
        losses = [np.zeros(0)]
        for start in range(0, len(rules), AT_ONCE):
            some = rules[start : start + AT_ONCE]
            losses.append(self.task.losses_of_rules(some, asked).mean(axis=1))
            n_done = start + len(some)
            progress(n_done / len(rules), f"form {n_done} of {len(rules)} in the network")
        return np.concatenate(losses)

    def of_forms(self, forms: Sequence[Form], progress: Progress) -> list[Judged]:
        """Screen all forms, and refine and judge the best, layer by layer of the front."""
        network = self.settings.network
        losses = self.mean_losses([form.rule for form in forms], progress=part(progress, 0.0, 0.5))
        screened = sorted(
            (form.rule.complexity, loss, str(form.rule), form)
            for loss, form in zip(losses.tolist(), forms, strict=True) if loss < network.hopeless
        )  # fmt: skip
        best = in_layers((complexity, loss, form) for complexity, loss, _, form in screened)
        chosen = [(form.rule, tuple(form.proposed_by)) for form in best[: network.n_refined]]
        return self.judged(chosen, progress=part(progress, 0.5, 1.0))

    def judged(
        self, entries: Sequence[tuple[Rule, tuple[str, ...]]], note: str = "", progress: Progress = silent
    ) -> list[Judged]:
        """Refine the constants of rules, set their speeds, and measure their losses.

        Parameters
        ----------
        entries : sequence of (Rule, tuple of str)
            Rules, and who proposed them.
        note : str
            What else is to be said of how they came about.
        progress : callable, optional
        """
        network, better = self.settings.network, []
        stays = network.refine_steps == 0 and self.tuning is None
        for number, (rule, _) in enumerate(entries, 1):
            if stays:
                better.append(rule)
                continue
            # What came of a refined rule by taking something away begins with constants that nearly fit.
            n_steps = network.refine_steps // 2 if note == SIMPLER else network.refine_steps
            budget = n_steps, network.batch, self.rng
            better.append(refined(self.task, rule, self.train, *budget, keep_ratios=note == SIMPLER)[0])
            progress(0.9 * number / len(entries), f"candidate {number} of {len(entries)}")
        if not better:
            return []
        best, heldout = self._at_best_speeds(better)
        train = self.task.losses_of_rules(best, self.train).mean(axis=1)
        self.counted.note(float(train.min()))
        way = META_GRADIENT if self.task.has_gradient else META_EVOLUTION
        return [
            Judged(
                rule,
                rule.complexity_by(self.settings.measure),
                by,
                ", ".join(name for name in ("" if same is given else way, note) if name),
                float(mean),
                losses,
            )
            for (given, by), same, rule, mean, losses in zip(
                entries, better, best, train, heldout, strict=True
            )
        ]

    def _at_best_speeds(self, rules: Sequence[Rule]) -> tuple[list[Rule], FloatArray]:
        """Rules at the speeds found on the tuning problems, or as they were where that is better on all."""
        speeds = tuned_speeds(self.task, rules, self.tuning, *FITTED)
        best = [at_speeds(rule, one) for rule, one in zip(rules, speeds, strict=True)]
        losses = self.task.losses_of_rules(best, self.heldout)
        moved = [n for n, rule in enumerate(rules) if best[n] != rule]
        before = self.task.losses_of_rules([rules[n] for n in moved], self.heldout) if moved else ()
        for n, own in zip(moved, before, strict=True):
            if own.mean() <= losses[n].mean():
                best[n], losses[n] = rules[n], own
        return best, losses

    def judged_on(self, problems: Any, judged: Sequence[Judged]) -> list[Judged]:
        """Return candidates with their losses on other problems."""
        losses = self.task.losses_of_rules([one.rule for one in judged], problems)
        return [replace(one, losses=own) for one, own in zip(judged, losses, strict=True)]

    def margin(self, judged: Sequence[Judged]) -> float:
        """Return the loss by which a simpler rule may be worse."""
        finite = [one.loss for one in judged if np.isfinite(one.loss)]
        return self.settings.margin(finite) if finite else 0.0

    def is_behind(self, judged: Sequence[Judged], teacher_loss: float) -> bool:
        """Whether the best formula is clearly worse than the teacher that it was to name."""
        lowest = min(one.loss for one in judged)
        return lowest - teacher_loss > max(self.margin(judged), BEHIND * teacher_loss)

    def simplified(self, judged: list[Judged], progress: Progress) -> list[Judged]:
        """Make every candidate of the front simpler, and what comes of it, until nothing more can go.

        All that is found competes in the choice. Each candidate gets the step with the lowest loss that was
        tried on it, whether or not it was accepted.
        """
        done: set[tuple[str, float]] = set()
        n_rounds = self.settings.network.simplify
        for number in range(n_rounds):
            front = pareto_front([(one.complexity, one.loss, one) for one in judged])
            lowest = min(one.loss for one in front)
            todo = [
                one for one in front
                if one.form not in done and one.loss <= WITHIN_REACH * lowest + self.margin(judged)
            ]  # fmt: skip
            if not todo:
                break
            progress(number / n_rounds, "making rules simpler")
            parent = todo[-1]
            done.add(parent.form)
            judged = self._made_simpler(parent, judged)
        return judged

    def _made_simpler(self, parent: Judged, judged: list[Judged]) -> list[Judged]:
        # A form that is there already may have got stuck: with constants that it inherits it can do better.
        known: dict[tuple[str, float], float] = {}
        for one in judged:
            known[one.form] = min(one.train_loss, known.get(one.form, np.inf))
        smaller = smaller_forms(parent.rule, self.states)
        if not smaller:
            return judged
        means = self.mean_losses(smaller)
        forms = [(skeleton(one), one.complexity_by(self.settings.measure)) for one in smaller]
        simplest = np.array([complexity for _, complexity in forms])
        order = [
            n for n in np.lexsort((simplest, means)).tolist()
            if means[n] < min(self.settings.network.hopeless, known.get(forms[n], np.inf))
        ]  # fmt: skip
        best_ones = [smaller[n] for n in order[:N_SIMPLER]]
        found = self.judged([(one, _proposers(one, parent, judged)) for one in best_ones], SIMPLER)
        if not found:
            return judged
        margin = self.margin([*judged, *found])
        best = min(found, key=lambda one: one.loss)
        last = step(SIMPLER, parent.rule, best.rule, parent.losses, best.losses, margin)
        children = [
            replace(one, steps=(*parent.steps, last) if one is best else parent.steps) for one in found
        ]
        kept = [replace(one, steps=(*one.steps, last)) if one is parent and not last.accepted else one
                for one in judged]  # fmt: skip
        return [*kept, *children]


def _proposers(rule: Rule, parent: Judged, judged: Sequence[Judged]) -> tuple[str, ...]:
    """Return who proposed the form of a simpler rule; where nobody did, who proposed what it came from."""
    form = skeleton(rule)
    names = [name for one in judged if skeleton(one.rule) == form for name in one.proposed_by]
    return tuple(dict.fromkeys(names)) or parent.proposed_by


def merged(judged: Sequence[Judged]) -> list[Judged]:
    """Return each form once, that with the lower loss; a form with round constants is one of its own."""
    by_form: dict[tuple[str, float], Judged] = {}
    for one in judged:
        key = one.form
        other = by_form.get(key)
        if other is None:
            by_form[key] = one
            continue
        better = one if one.loss < other.loss else other
        names = dict.fromkeys([*other.proposed_by, *one.proposed_by])
        by_form[key] = replace(better, proposed_by=tuple(names))
    return list(by_form.values())


class CountedTask:
    """A task that counts the problems that are simulated.

    Parameters
    ----------
    task : Task
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self.n_simulated = 0
        self.trace: list[tuple[int, float]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task, name)

    def losses(self, rule: Any, problems: Any, n_steps: int | None = None) -> FloatArray:
        """See :meth:`discover.tasks.base.Task.losses`."""
        self.n_simulated += problems.n_problems
        return self._task.losses(rule, problems, n_steps)

    def losses_of_rules(self, rules: Sequence[Any], problems: Any) -> FloatArray:
        """See :meth:`discover.tasks.base.Task.losses_of_rules`."""
        self.n_simulated += len(rules) * problems.n_problems
        return self._task.losses_of_rules(rules, problems)

    def losses_of_population(self, rules: Sequence[Any], problems: Any) -> FloatArray:
        """See :func:`discover.spread.losses_of_population`."""
        self.n_simulated += len(rules) * problems.n_problems
        return losses_of_population(self._task, rules, problems)

    def gradient(self, rule: Any, problems: Any, n_steps: int | None = None) -> Any:
        """See :meth:`discover.tasks.base.Task.gradient`."""
        self.n_simulated += problems.n_problems
        return self._task.gradient(rule, problems, n_steps)

    def note(self, loss: float) -> None:
        """Remember where the lowest loss fell."""
        if not self.trace or loss < self.trace[-1][1]:
            self.trace.append((self.n_simulated, loss))

    def spent(self, way: str, judged: Sequence[Judged], before: Spent | None = None) -> Spent:
        """Return what this way cost, with what was spent before its candidates were tried."""
        already, nothing = (0, float("inf")) if before is None else (before.n_simulated, before.heldout_loss)
        trace = [] if before is None else list(before.trace)
        for count, loss in self.trace:
            if not trace or loss < trace[-1][1]:
                trace.append((already + count, loss))
        lowest = min((one.loss for one in judged), default=nothing)
        return Spent(way, already + self.n_simulated, lowest, tuple(trace))
