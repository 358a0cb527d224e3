"""L1 meta-learning: sparse coefficients from several starts, the choice among them, and the teacher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from discover.errors import RuleError
from discover.fit.choosing import choose
from discover.fit.objective import Objective, judged
from discover.fit.optimiser import minimiser
from discover.fit.path import Path
from discover.fit.result import FitResult, PathPoint, Restart
from discover.fit.settings import FitSettings
from discover.fit.teacher import teach
from discover.fit.thinning import thinned
from discover.progress import Progress, part, silent
from discover.speeds import FITTED, at_speeds, tuned_speeds
from discover.spread import spread
from discover.tasks.base import Task, bases, coefficients_of, update_slots, with_splines, without_gradients

__all__ = ["fit"]

BoolArray = NDArray[np.bool_]


def fit(
    task: Task, problem_settings: Any, settings: FitSettings, seed: int, progress: Progress = silent
) -> FitResult:
    """Fit the coefficients of the polynomial basis to a task.

    Each restart begins at a random dense rule and learns under a mild L1 penalty while the inner loop grows
    to its full length. From there the path is walked: for each penalty the terms that survive are refitted
    without it, at the multiple that suits the horizon. Among all points the simplest one is chosen whose
    held-out loss lies within one standard error of the best, and terms that it can do without by the same
    measure are dropped. Last, many further problems say how fast the chosen rule's slots should learn.

    Parameters
    ----------
    task : Task
    problem_settings : dataclass
        The task's settings (``task.settings_type``).
    settings : FitSettings
    seed : int
        Root of all random numbers.
    progress : callable, optional

    Returns
    -------
    FitResult
        With a teacher where the settings ask for one.

    Raises
    ------
    TaskError
        If the optimiser needs gradients that the task does not have, or a teacher a network that cannot run
        one.
    RuleError
        If the settings allow a term that the basis does not have.

    References
    ----------
    Confavreux et al. (NeurIPS 2020), section 3; Hastie, Tibshirani & Friedman (2009), The elements of
    statistical learning, section 7.10 (one-standard-error rule).
    """
    if settings.optimiser == "proximal" and not task.has_gradient:
        raise without_gradients(task)
    with_teacher = settings.teacher.restarts > 0
    if with_teacher:
        with_splines(task)
    root = np.random.SeedSequence(seed)
    train_seed, heldout_seed, *restart_seeds, tuning_seed = root.spawn(3 + settings.restarts)
    allowed = _allowed(task, settings.terms)
    inner = part(progress, 0.0, 0.4 if with_teacher else 1.0)
    inner(0.0, "drawing problems")
    train = task.draw(problem_settings, settings.n_train, train_seed)
    heldout = task.draw(problem_settings, settings.n_heldout, heldout_seed)
    found = spread(
        _restarted,
        task,
        [(train, heldout, settings, allowed, number, child) for number, child in enumerate(restart_seeds)],
        inner,
        [f"restart {number + 1} of {settings.restarts}" for number in range(settings.restarts)],
        has_populations=settings.optimiser == "cmaes",
    )
    points = [point for path in found for point in path]
    choices = [path[choose(path, settings.resolution)[0]] for path in found]
    chosen, reason = choose(points, settings.resolution)
    if settings.n_tuning > 0 and points[chosen].n_terms > 0:
        inner(1.0, f"setting the speed on {settings.n_tuning} further problems")
        further = task.draw(problem_settings, settings.n_tuning, tuning_seed)
        points.append(_tuned(points[chosen], task, further, train, heldout))
        chosen = len(points) - 1
        reason += f"; its speed was then set on {settings.n_tuning} further problems"
    teacher = None
    if with_teacher:
        (teacher_seed,) = root.spawn(1)
        reached = min(point.heldout_loss for point in points)
        inner = part(progress, 0.4, 1.0)
        teacher = teach(task, problem_settings, settings, teacher_seed, inner, reached=reached)
    return FitResult(
        task=task.name,
        points=tuple(points),
        chosen=chosen,
        reason=reason,
        restarts=tuple(_summary(choice) for choice in choices),
        term_stability=_stability(task, choices),
        teacher=teacher,
    )


def _restarted(task: Task, item: tuple[Any, ...], progress: Progress) -> list[PathPoint]:
    train, heldout, settings, allowed, number, seed = item
    rng_seed, start_seed, *seeds, last_seed = seed.spawn(3 + len(settings.penalties))
    objective = Objective.start(task, train, start_seed, allowed)
    is_plain = settings.elimination == "plain"
    path = Path[PathPoint](
        heldout, settings, number, partial(minimiser, settings), settings.n_starts, settings.first_share,
        eliminates=not is_plain,
    )  # fmt: skip
    rng = np.random.default_rng(rng_seed)
    points = path.walk(objective, rng, seeds, last_seed, progress)
    if is_plain:
        points += thinned(path, objective, points, last_seed, rng, part(progress, 0.8, 1.0))
    return points


def _tuned(point: PathPoint, task: Task, further: Any, train: Any, heldout: Any) -> PathPoint:
    """Return the point at the speeds that suit further problems; harder ones may be among them."""
    (speeds,) = tuned_speeds(task, [point.rule], further, *FITTED)
    coefficients = coefficients_of(task, at_speeds(point.rule, speeds))
    return judged(task, coefficients, train, heldout, point.penalty, point.restart, "tuning")


def _allowed(task: Task, terms: Mapping[str, Sequence[str]] | None) -> BoolArray:
    """Return which terms a rule may have."""
    unknown = set(terms or ()) - {slot.name for slot in update_slots(task)}
    if unknown:
        raise RuleError(
            f"The terms of slot {min(unknown)!r} cannot be chosen. "
            f"Slots: {', '.join(slot.name for slot in update_slots(task))}."
        )
    parts = []
    for basis in bases(task):
        if basis.slot.is_constant:
            continue
        part = np.full(len(basis), basis.slot.name not in (terms or ()))
        part[[basis.index(term) for term in (terms or {}).get(basis.slot.name, ())]] = True
        parts.append(part)
    return np.concatenate(parts)


def _summary(choice: PathPoint) -> Restart:
    losses = choice.train_loss, choice.heldout_loss
    return Restart(choice.restart, choice.coefficients, choice.n_terms, *losses)


def _stability(task: Task, choices: Sequence[PathPoint]) -> dict[str, dict[str, float]]:
    result: dict[str, dict[str, float]] = {}
    for basis in bases(task):
        if basis.slot.is_constant:
            continue
        shares = {
            name: sum((basis.slot.name, name) in choice.support for choice in choices) / len(choices)
            for name in basis.names
        }
        result[basis.slot.name] = {name: share for name, share in shares.items() if share > 0}
    return result
