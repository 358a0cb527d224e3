"""The symbolic search: engines propose, the network's meta-loss decides."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from discover.errors import RunFailed
from discover.expression import Node
from discover.fit import FitResult
from discover.intervals import interval
from discover.pareto import Candidate, ParetoFront, Provenance, Reported, Spent, chance, pareto_front
from discover.progress import Progress, part, silent
from discover.rule import Rule
from discover.search.blocks import BLOCKS, by_blocks
from discover.search.closed_loop import CLOSED_LOOP, closed_loop
from discover.search.combine import combined
from discover.search.curves import from_curves
from discover.search.engine import AUTO, TAKES_EQUATIONS, Engine, started
from discover.search.exchange import recombined
from discover.search.forms import L1_PATH, Forms, in_use
from discover.search.recalled import RecalledEngine
from discover.search.settings import SearchSettings
from discover.search.simpler import rounded
from discover.search.teacher import Lesson, teacher_samples
from discover.search.trial import CountedTask, Judged, Trial, merged
from discover.tasks.base import Task

__all__ = ["L1_PATH", "search"]

EXCHANGE = "exchange of terms"
"""Name under which forms made of others' terms enter the union."""

ON_UPDATE = "engines on the teacher's update"

N_FOR_BEATEN = 256
"""Test problems for candidates that others beat."""


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
    restrict: Callable[[Lesson], Lesson] | None = None,
) -> ParetoFront:
    """Search beyond the polynomial basis.

    The engines fit expressions to the update of the teacher on the states that it visits: the rule without a
    formula where the fit has one, each of whose curves is a problem of its own too, else the dense fitted
    rule. Their fronts and the rules of the L1 path are united, and of several descriptions of one update the
    simplest stays. Each form runs in the network: its constants are refined there by exact gradients or
    CMA-ES, its speed is set, and further problems show which forms to go on with. All that is good is made
    simpler as far as it goes, and what comes of it competes. The front is built and the rule chosen by losses
    on problems that had no part in any of this: the lowest of many losses is low by luck as well, and terms
    that fit the problems of the selection must not pass for better. Losses to quote come from yet others.

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
    restrict : callable, optional
        Takes what is known of a teacher and returns the part that is used, to measure what the rest is worth.

    Returns
    -------
    ParetoFront

    Raises
    ------
    EngineError
        If an engine is unknown, is not usable here, or fails.
    RunFailed
        If every rule of the path blows up, or every form that was proposed.
    """
    in_blocks = settings.objective == "blocks"
    chosen = [] if in_blocks else started(engines, progress)
    root = np.random.SeedSequence(seed)
    train_seed, heldout_seed, state_seed, engine_seed, refine_seed = root.spawn(5)
    loop_seed, test_seed, choice_seed = root.spawn(3)
    network = settings.network
    progress(0.0, "drawing problems")
    train = task.draw(problem_settings, network.n_train, train_seed)
    heldout = task.draw(problem_settings, network.n_heldout, heldout_seed)

    def lesson_of(teacher: int) -> Lesson | None:
        lesson = teacher_samples(task, train, fit, trajectories, network.n_states, state_seed, teacher)
        return lesson if lesson is None or restrict is None else restrict(lesson)

    lesson = lesson_of(0)
    if lesson is None:
        raise RunFailed("The fit holds no teacher.")
    ask = _Asked([RecalledEngine(one, task, train) for one in chosen], engine_seed, fit)
    rng = np.random.default_rng(refine_seed)
    trial = Trial(CountedTask(task), train, heldout, lesson.samples, settings, rng)
    forms = Forms(fit)
    if in_blocks:
        fitted = {slot for point in fit.points for slot, _ in point.support}
        forms.add(by_blocks(trial, in_use(fit.rule), fitted, part(progress, 0.0, 0.5)), BLOCKS)
    else:
        ask(lesson, trial, forms, part(progress, 0.0, 0.5))
    judged = trial.of_forms(forms.distinct(lesson.samples), part(progress, 0.5, 0.7))
    spent: tuple[Spent, ...] = ()
    if settings.objective == "task":
        first = trial.counted.spent(ON_UPDATE, judged)
        trial = replace(trial, counted=CountedTask(task))
        more, own = _of_closed_loop(task, trial, lesson, loop_seed, part(progress, 0.5, 0.7))
        judged, spent = [*judged, *more], (first, own)
    if not judged:
        raise RunFailed(
            "Every form that was proposed blows up in the network. Fit longer, or raise "
            "search.network.hopeless."
        )
    judged = merged(trial.simplified(merged(judged), part(progress, 0.7, 0.8)))
    teacher_loss = float(task.losses(lesson.teacher, heldout).mean())
    for number in range(network.rounds):
        if not trial.is_behind(judged, teacher_loss):
            break
        start, end = (0.8 + 0.15 * (number + done) / network.rounds for done in (0, 1))
        inner = part(progress, start, end)
        judged = _gone_on(trial, judged, lesson, lesson_of(number + 1), ask, inner)
    progress(0.95, "measuring losses on problems of their own")
    choice = task.draw(problem_settings, network.n_heldout, choice_seed)
    judged = trial.judged_on(choice, judged)
    teacher_loss = float(task.losses(lesson.teacher, choice).mean())
    margin = trial.margin(judged)
    candidates = _candidates(task, judged, task.draw(problem_settings, network.n_test, test_seed), margin)
    front = ParetoFront.of(
        task.name,
        tuple(engine.name for engine in chosen),
        (one for _, one in candidates),
        settings.selector,
        margin,
        spent=spent,
        teacher_loss=teacher_loss,
    )
    steps = next(one.steps for one, candidate in candidates if candidate.id == front.chosen_id)
    if network.simplify > 0:
        progress(0.97, "rounding constants")
        _, last = rounded(task, front.chosen.rule, choice, margin)
        steps = (*steps, *last)
    progress(1.0, "front of candidates")
    return replace(front, simplifications=steps)


@dataclass(frozen=True)
class _Asked:
    """What is asked of the engines for every teacher."""

    engines: Sequence[RecalledEngine]
    seed: np.random.SeedSequence
    fit: FitResult

    def __call__(self, lesson: Lesson, trial: Trial, forms: Forms, progress: Progress) -> None:
        """Add what engines propose for the update of a teacher, whole and curve by curve."""
        for number, engine in enumerate(self.engines):
            ends = number / len(self.engines), (number + 1) / len(self.engines)
            inner = part(progress, *ends, f"{engine.name}: ")
            share = 0.5 if lesson.has_curves else 1.0
            rules = self.whole(engine, lesson, trial, part(inner, 0.0, share))
            if lesson.has_curves:
                (word,) = self.seed.generate_state(1, np.uint64)
                rules += from_curves(engine, lesson, trial.settings, int(word), part(inner, share, 1.0))
            forms.add(rules, engine.name if self.fit.teacher is None else f"{engine.name} on the teacher")

    def whole(self, engine: Engine, lesson: Lesson, trial: Trial, progress: Progress) -> list[Rule]:
        """Rules that an engine proposes for the whole update; constants of the synapse are the teacher's."""
        samples = lesson.weighted if engine.name in TAKES_EQUATIONS else lesson.samples
        words = self.seed.generate_state(len(samples))
        fronts: dict[str, list[Node]] = {}
        for number, (slot, one) in enumerate(samples.items()):
            inner = part(progress, number / len(samples), (number + 1) / len(samples))
            proposals = engine.propose(one, trial.settings, int(words[number]), inner)
            fronts[slot] = [proposal.expression for proposal in proposals]
        return combined(fronts, lesson.constants, trial.mean_losses)


def _of_closed_loop(
    task: Task, trial: Trial, lesson: Lesson, seed: np.random.SeedSequence, progress: Progress
) -> tuple[list[Judged], Spent]:
    """Judge what evolution by the network's own loss finds, and return what that cost."""
    (word,) = seed.generate_state(1, np.uint64)
    inner = part(progress, 0.0, 0.5)
    rules, own = closed_loop(task, trial.train, lesson, trial.settings, int(word), inner)
    new = Forms()
    new.add(rules, CLOSED_LOOP)
    judged = trial.of_forms(new.distinct(lesson.samples), part(progress, 0.5, 1.0))
    return judged, trial.counted.spent(CLOSED_LOOP, judged, own)


def _gone_on(
    trial: Trial,
    judged: Sequence[Judged],
    lesson: Lesson,
    other: Lesson | None,
    ask: _Asked,
    progress: Progress,
) -> list[Judged]:
    """Name another teacher, put the terms of the best forms together in other ways, and judge all of it."""
    new = Forms()
    if other is not None:
        ask(other, trial, new, part(progress, 0.0, 0.4))
    best_first = [one.rule for one in sorted(judged, key=lambda one: one.loss)]
    new.add(recombined(best_first, lesson.weighted, trial.settings.max_nodes), EXCHANGE)
    fresh = new.without(one.rule for one in judged).distinct(lesson.samples)
    more = merged([*judged, *trial.of_forms(fresh, part(progress, 0.4, 0.7))])
    return merged(trial.simplified(more, part(progress, 0.7, 1.0)))


def _candidates(
    task: Task, judged: Sequence[Judged], test: Any, margin: float
) -> list[tuple[Judged, Candidate]]:
    """Return candidates in order of complexity, with their losses on the test problems.

    Those that others beat, which nobody chooses, are measured on the first of these problems alone.
    """
    ordered = sorted(judged, key=lambda one: (one.complexity, one.loss, str(one.rule)))
    on_front = pareto_front((one.complexity, one.loss, one) for one in ordered)
    best = on_front[-1]
    few = test.subset(np.arange(min(N_FOR_BEATEN, test.n_problems)))
    return [
        (one, Candidate(
            id=f"c{number:02d}",
            rule=one.rule,
            train_loss=one.train_loss,
            heldout_loss=one.loss,
            heldout_error=_error(one.losses),
            provenance=Provenance(one.proposed_by, one.refined_by),
            allowance=chance(one.losses - best.losses, margin),
            test=_reported(
                task.losses(one.rule, test if any(one is other for other in on_front) else few),
                task.possible.get("loss"),
            ),
            complexity=one.complexity,
        ))
        for number, one in enumerate(ordered, 1)
    ]  # fmt: skip


def _error(values: NDArray[np.float64]) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values)))


def _reported(losses: NDArray[np.float64], possible: tuple[float, float] | None) -> Reported:
    found = interval(losses, possible=possible)
    mean = float(losses.mean())
    low, high = (mean if end is None else end for end in (found.low, found.high))
    return Reported(mean, low, high, len(losses))
