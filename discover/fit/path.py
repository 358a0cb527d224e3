"""L1 meta-learning: the path from dense to sparse rules, refits of their terms, and the choice among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from discover.errors import RuleError
from discover.fit.choosing import choose
from discover.fit.objective import Objective
from discover.fit.optimiser import minimiser
from discover.fit.result import FitResult, PathPoint
from discover.fit.settings import FitSettings
from discover.fit.spike_teacher import SpikeTeacher, teach_spikes
from discover.fit.teacher import Teacher, teach
from discover.multiple import best_multiple
from discover.progress import Progress, part, silent
from discover.speeds import FITTED, at_speeds, tuned_speeds
from discover.spread import spread
from discover.tasks.base import (
    Task,
    bases,
    coefficients_of,
    rule_of,
    update_slots,
    with_splines,
    without_gradients,
)

__all__ = ["fit"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

MAX_DROPS = 12
"""Terms beyond this number are not tried away one by one."""


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
    if settings.teacher.restarts > 0 and not task.takes_trace_splines:
        with_splines(task)
    root = np.random.SeedSequence(seed)
    seeds = root.spawn(3 + settings.restarts)
    train_seed, heldout_seed, *restart_seeds, tuning_seed = seeds
    free = _allowed(task, settings.terms)
    whole = progress
    progress = part(whole, 0.0, 0.4 if settings.teacher.restarts > 0 else 1.0)
    progress(0.0, "drawing problems")
    train = task.draw(problem_settings, settings.n_train, train_seed)
    heldout = task.draw(problem_settings, settings.n_heldout, heldout_seed)
    found = spread(
        _restarted,
        task,
        [(train, heldout, settings, free, number, child) for number, child in enumerate(restart_seeds)],
        progress,
        [f"restart {number + 1} of {settings.restarts}" for number in range(settings.restarts)],
        has_populations=settings.optimiser == "cmaes",
    )
    points = [point for path, _ in found for point in path]
    choices = [choice for _, choice in found]
    chosen, reason = choose(points, settings.resolution)
    if settings.n_tuning > 0 and points[chosen].n_terms > 0:
        progress(1.0, f"setting the speed on {settings.n_tuning} further problems")
        further = task.draw(problem_settings, settings.n_tuning, tuning_seed)
        restart = _Restart(task, train, heldout, settings, free, points[chosen].restart)
        points.append(_tuned(points[chosen], further, restart))
        chosen = len(points) - 1
        reason += f"; its speed was then set on {settings.n_tuning} further problems"
    teacher: Teacher | SpikeTeacher | None = None
    if settings.teacher.restarts > 0:
        (teacher_seed,) = root.spawn(1)
        inner = part(whole, 0.4, 1.0)
        if task.takes_trace_splines:
            teacher = teach_spikes(task, problem_settings, settings, teacher_seed, inner)
        else:
            reached = min(point.heldout_loss for point in points)
            teacher = teach(task, problem_settings, settings.teacher, teacher_seed, inner, reached=reached)
    return FitResult(
        task=task.name,
        points=tuple(points),
        chosen=chosen,
        reason=reason,
        restarts=tuple(_summary(choice) for choice in choices),
        term_stability=_stability(task, choices),
        teacher=teacher,
    )


@dataclass(frozen=True)
class _Restart:
    """One random start and the path that begins there."""

    task: Task
    train: Any
    heldout: Any
    settings: FitSettings
    free: BoolArray
    number: int

    def run(self, seed: np.random.SeedSequence, progress: Progress) -> tuple[list[PathPoint], PathPoint]:
        """Return the points of the path and this restart's own choice among them."""
        rng_seed, effect_seed, *more = seed.spawn(3 + len(self.settings.penalties))
        rng = np.random.default_rng(rng_seed)
        objective = Objective.start(self.task, self.train, effect_seed)
        start = rng.normal(0, self.settings.start_scale, objective.n_coefficients)
        penalty = self._penalty(objective, self.free, self.settings.first_penalty)
        first = minimiser(self.settings, self.settings.step_size, growth=self.settings.growth).minimise(
            objective, start, penalty, self.settings.steps, rng, part(progress, 0.0, 0.3, "first fit, ")
        )
        coefficients = objective.coefficients(first)
        points: list[PathPoint] = []
        penalties = sorted(self.settings.penalties)
        for n, (weight, child) in enumerate(zip(penalties, more, strict=False)):
            inner = part(progress, 0.3 + 0.5 * n / len(penalties), 0.3 + 0.5 * (n + 1) / len(penalties))
            objective = objective.with_effects_of(objective.scaled(coefficients), child)
            point, coefficients = self._point(objective, coefficients, weight, rng, inner)
            points.append(point)
        points += self._eliminate(points, more[-1], rng, part(progress, 0.8, 1.0))
        return points, points[choose(points, self.settings.resolution)[0]]

    def _point(
        self,
        objective: Objective,
        coefficients: FloatArray,
        weight: float,
        rng: np.random.Generator,
        progress: Progress,
    ) -> tuple[PathPoint, FloatArray]:
        """Return the point of one penalty, and the penalised coefficients, from which the next one starts."""
        start = objective.scaled(coefficients)
        weights = weight * _reweighted(start, objective.is_constant) if weight > 0 else 0.0
        penalty = self._penalty(objective, self.free, weights)
        learn = minimiser(self.settings, self.settings.path_step_size)
        name = f"penalty {weight:g}, "
        sparse = learn.minimise(
            objective, start, penalty, self.settings.path_steps, rng, part(progress, 0, 0.5, name)
        )
        sizes = np.where(objective.is_constant, 0.0, np.abs(sparse))
        support = sizes > (self.settings.negligible * sizes.max() if weight > 0 else 0)
        kept = np.where(support | objective.is_constant, sparse, 0.0)
        refitted = self._refit(objective, kept, rng, part(progress, 0.5, 1, f"{name}refit, "))
        return self.judge(objective.coefficients(refitted), weight), objective.coefficients(sparse)

    def _refit(
        self, objective: Objective, start: FloatArray, rng: np.random.Generator, progress: Progress
    ) -> FloatArray:
        """Return the terms of a start fitted without penalty, at their best overall multiple.

        The penalty leaves a rule too slow for its horizon, and a few steps of the optimiser do not make up
        for it. The multiple is searched before them, because the ratios that are best depend on it, and once
        more behind them.
        """
        fitted = (start != 0) | objective.is_constant
        if not start[~objective.is_constant].any():
            return start
        faster, loss = self._at_best_multiple(objective, start)
        frozen = self._penalty(objective, fitted, 0.0)
        learn = minimiser(self.settings, self.settings.path_step_size)
        refitted = learn.minimise(objective, faster, frozen, self.settings.refit_steps, rng, progress)
        refitted, refitted_loss = self._at_best_multiple(objective, refitted)
        return refitted if refitted_loss < loss else faster

    def _at_best_multiple(self, objective: Objective, scaled: FloatArray) -> tuple[FloatArray, float]:
        factor, loss = best_multiple(
            lambda factor: float(objective.losses(objective.multiplied(scaled, factor)).mean())
        )
        return objective.multiplied(scaled, factor), loss

    @staticmethod
    def _penalty(objective: Objective, free: BoolArray, weight: FloatArray | float) -> FloatArray:
        """Weights of the L1 norm: infinite for terms that are not free, none for constants of the synapse."""
        return np.where(objective.is_constant, 0.0, np.where(free, weight, np.inf))

    def judge(self, coefficients: FloatArray, penalty: float, origin: str = "path") -> PathPoint:
        """Return a point of the path with its losses."""
        train = self.task.losses(coefficients, self.train)
        heldout = self.task.losses(coefficients, self.heldout)
        return PathPoint(
            penalty=penalty,
            coefficients=_terms(self.task, coefficients),
            train_loss=float(train.mean()),
            heldout_loss=float(heldout.mean()),
            heldout_error=float(heldout.std(ddof=1) / np.sqrt(len(heldout))),
            restart=self.number,
            origin=origin,
        )

    def _eliminate(
        self,
        points: Sequence[PathPoint],
        seed: np.random.SeedSequence,
        rng: np.random.Generator,
        progress: Progress,
    ) -> list[PathPoint]:
        """Drop terms from the chosen point, one at a time, as long as the choice follows."""
        found: list[PathPoint] = []
        while True:
            current = [*points, *found][choose([*points, *found], self.settings.resolution)[0]]
            if not 1 < current.n_terms <= MAX_DROPS:
                return found
            attempts = [
                self._without(current, slot, term, seed, rng) for slot, term in sorted(current.support)
            ]
            progress(1 - 1 / (len(found) + 2), f"trying {current.n_terms} terms away")
            best = min(attempts, key=lambda point: point.heldout_loss)
            everything = [*points, *found, best]
            if everything[choose(everything, self.settings.resolution)[0]] is not best:
                return found
            found.append(best)

    def _without(
        self, point: PathPoint, slot: str, term: str, seed: np.random.SeedSequence, rng: np.random.Generator
    ) -> PathPoint:
        coefficients = _vector(self.task, point.coefficients)
        coefficients[_position(self.task, slot, term)] = 0.0
        objective = Objective.start(self.task, self.train, seed)
        objective = objective.with_effects_of(objective.scaled(coefficients), seed)
        refitted = self._refit(objective, objective.scaled(coefficients), rng, silent)
        return self.judge(objective.coefficients(refitted), point.penalty, "elimination")


def _restarted(task: Task, item: tuple[Any, ...], progress: Progress) -> tuple[list[PathPoint], PathPoint]:
    *parts, seed = item
    return _Restart(task, *parts).run(seed, progress)


def _tuned(point: PathPoint, further: Any, restart: _Restart) -> PathPoint:
    """Return the point at the speeds that suit further problems; harder ones may be among them."""
    (speeds,) = tuned_speeds(restart.task, [point.rule], further, *FITTED)
    rule = at_speeds(point.rule, speeds)
    return restart.judge(coefficients_of(restart.task, rule), point.penalty, "tuning")


def _allowed(task: Task, terms: Mapping[str, Sequence[str]] | None) -> BoolArray:
    """Return which coefficients a rule may have."""
    unknown = set(terms or ()) - {slot.name for slot in update_slots(task)}
    if unknown:
        raise RuleError(
            f"The terms of slot {min(unknown)!r} cannot be chosen. "
            f"Slots: {', '.join(slot.name for slot in update_slots(task))}."
        )
    parts = []
    for basis in bases(task):
        part = np.full(len(basis), basis.slot.name not in (terms or ()))
        part[[basis.index(term) for term in (terms or {}).get(basis.slot.name, ())]] = True
        parts.append(part)
    return np.concatenate(parts)


def _reweighted(scaled: FloatArray, is_constant: BoolArray) -> FloatArray:
    """Weights of a reweighted L1 norm: 1 for the largest coefficient, more for smaller ones.

    References
    ----------
    Candes, Wakin & Boyd (2008), J. Fourier Anal. Appl. 14:877, equation 7.
    """
    relative = np.abs(scaled) / max(np.abs(scaled[~is_constant]).max(), 1e-300)
    weights: FloatArray = 1.1 / (relative + 0.1)
    return weights


def _terms(task: Task, coefficients: FloatArray) -> dict[str, dict[str, float]]:
    return {slot.name: rule_of(task, coefficients).coefficients()[slot.name] for slot in task.slots}


def _vector(task: Task, terms: Any) -> FloatArray:
    parts = []
    for basis in bases(task):
        values = np.full(len(basis), basis.slot.usual)
        for name, value in terms[basis.slot.name].items():
            values[basis.index(name)] = value
        parts.append(values)
    return np.concatenate(parts)


def _position(task: Task, slot: str, term: str) -> int:
    start = 0
    for basis in bases(task):
        if basis.slot.name == slot:
            return start + basis.index(term)
        start += len(basis)
    raise ValueError(f"The task has no slot {slot!r}.")


def _summary(choice: PathPoint) -> dict[str, Any]:
    return {
        "restart": choice.restart,
        "coefficients": {slot: dict(terms) for slot, terms in choice.coefficients.items()},
        "n_terms": choice.n_terms,
        "train_loss": choice.train_loss,
        "heldout_loss": choice.heldout_loss,
    }


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
