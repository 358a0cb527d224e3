"""The path over blocks: rules from dense to sparse along a penalty, refits, and what rules can do without.

A *block* is what enters or leaves a rule together: a term of the polynomial basis, or a spline of a rule
without a formula. Which blocks there are, how large each is and what a rule loses is the objective's
(:class:`discover.fit.objective.Objective` for terms, :mod:`discover.fit.splines` for splines).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from math import ceil
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from discover.fit.choosing import Judged, choose
from discover.fit.optimiser import Minimiser
from discover.fit.settings import FitSettings, TeacherSettings
from discover.multiple import best_multiple
from discover.progress import Progress, part, silent
from discover.spread import losses_of_population
from discover.tasks.base import Task

__all__ = ["Blocks", "Path", "losses_on"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

MAX_DROPS = 12
"""Rules of more blocks are not tried without each of them."""


class Point(Judged, Protocol):
    """One rule of a path, judged; a dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def penalty(self) -> float:
        """Weight of the penalty that selected its blocks."""
        ...


HALF = 0.5
"""Chance of a projection to have no rule in one of several random starts."""

P = TypeVar("P", bound=Point)


@dataclass(frozen=True)
class Blocks(ABC, Generic[P]):
    """Mean loss over problems as a function of scaled coefficients, each of which belongs to a block.

    A rule (`Any` below) is whatever the task runs.

    Parameters
    ----------
    task : Task
    problems : Problems
    is_free : ndarray of bool, shape (n_blocks,), optional
        Which blocks a rule may have; None for all.
    """

    n_tried: ClassVar[int]
    """How many blocks are tried away before the best of these attempts is looked at."""

    task: Task
    problems: Any
    is_free: BoolArray | None = field(default=None, kw_only=True)

    @property
    @abstractmethod
    def blocks(self) -> NDArray[np.int64]:
        """Block of each coordinate; -1 for constants of the synapse, which no penalty meets."""

    @property
    def allowed(self) -> BoolArray:
        """Which blocks a rule may have."""
        return np.ones(self.blocks.max() + 1, dtype=np.bool_) if self.is_free is None else self.is_free

    @abstractmethod
    def rule(self, scaled: FloatArray) -> Any:
        """Return the rule of coordinates."""

    @abstractmethod
    def scaled(self, rule: Any) -> FloatArray:
        """Return the coordinates of a rule."""

    @abstractmethod
    def norms(self, scaled: FloatArray) -> FloatArray:
        """Root-mean-square of the coordinates of each block."""

    @abstractmethod
    def with_states_of(self, rule: Any, seed: np.random.SeedSequence) -> Self:
        """Return the objective with coordinates that suit the states that a rule visits.

        Where every problem blows up under it, they stay.
        """

    @abstractmethod
    def around(self, point: P, seed: np.random.SeedSequence) -> Self:
        """Return the objective from which blocks of a point are tried away."""

    @abstractmethod
    def removals(self, point: P, seed: np.random.SeedSequence) -> Iterator[tuple[int, Self, FloatArray]]:
        """Yield each block of a point, in the order of trying, with coordinates of the rule without it."""

    @abstractmethod
    def judged(self, rule: Any, heldout: Any, penalty: float, restart: int, origin: str) -> P:
        """Return a rule with its losses on the problems and on held-out ones."""

    def random_start(self, scale: float, rng: np.random.Generator) -> FloatArray:
        """Draw coordinates of a rule to begin with."""
        return self.bent(rng.normal(0, scale, len(self.blocks)))

    def groups(self) -> list[list[int]]:
        """Return blocks that belong together, where rules fall into several parts; none by default."""
        return []

    def bent(self, plain: FloatArray) -> FloatArray:
        """Return the coordinates of numbers that are independent at first; here they are the same."""
        return plain

    def straightened(self, scaled: FloatArray) -> FloatArray:
        """Return the inverse of :meth:`bent`."""
        return scaled

    def multiplied(self, scaled: FloatArray, factor: float) -> FloatArray:
        """Return a multiple of a rule; constants of the synapse stay as they are."""
        return np.where(self.blocks >= 0, factor * scaled, scaled)

    def restricted(self, kept: BoolArray) -> Self:
        """Return the objective for rules of these blocks alone, which may take less time."""
        return self

    def losses(self, scaled: FloatArray) -> FloatArray:
        """Loss of each problem, shape (n_problems,)."""
        return self.task.losses(self.rule(scaled), self.problems)

    def values(self, points: Sequence[FloatArray], first_share: float = 1.0) -> list[float]:
        """Mean loss of each of several rules; see :attr:`FitSettings.first_share`."""
        rules, n = [self.rule(point) for point in points], self.problems.n_problems
        n_first = min(n, ceil(first_share * n))
        if n_first == n:
            losses = losses_of_population(self.task, rules, self.problems).mean(axis=1)
            return [float(loss) for loss in losses]
        first = self.task.subset(self.problems, np.arange(n_first))
        rest = self.task.subset(self.problems, np.arange(n_first, n))
        losses = losses_of_population(self.task, rules, first).mean(axis=1)
        order = np.argsort(losses, kind="stable")
        better, others = np.split(order, [(len(rules) + 1) // 2])
        more = losses_of_population(self.task, [rules[k] for k in better], rest).sum(axis=1)
        losses[better] = (n_first * losses[better] + more) / n
        losses[others] = np.maximum(losses[others], losses[better].max())
        return [float(loss) for loss in losses]


@dataclass(frozen=True)
class Path(Generic[P]):
    """The path of one random start.

    Parameters
    ----------
    heldout : Problems
        Problems to choose on.
    settings : FitSettings or TeacherSettings
    number : int
        Of the start.
    learner : callable
        Makes the optimiser, from its step size and the share of steps over which the inner loop grows.
    n_starts : int
        Random rules of which the best is the start.
    first_share : float
        Share of the problems on which all of them run, see :attr:`FitSettings.first_share`.
    eliminates : bool
        Whether blocks are tried away in the end, with a fit for each.
    """

    heldout: Any
    settings: FitSettings | TeacherSettings
    number: int
    learner: Callable[[float, float], Minimiser]
    n_starts: int = 1
    first_share: float = 1.0
    eliminates: bool = True

    def walk(
        self,
        objective: Blocks[P],
        rng: np.random.Generator,
        seeds: Sequence[np.random.SeedSequence],
        last_seed: np.random.SeedSequence,
        progress: Progress,
    ) -> list[P]:
        """Return a point for each penalty, from the smallest to the largest, and those of elimination.

        Parameters
        ----------
        objective : Blocks
        rng : numpy.random.Generator
        seeds : sequence of numpy.random.SeedSequence
            For the states that are visited before each penalty.
        last_seed : numpy.random.SeedSequence
            For those of elimination.
        progress : callable
        """
        settings = self.settings
        start = self._start(objective, rng, progress)
        first = self.learner(settings.step_size, settings.growth).minimise(
            objective, start, _penalty(objective, settings.first_penalty), settings.steps, rng,
            part(progress, 0.0, 0.3, "first fit, "),
        )  # fmt: skip
        rule, base = objective.rule(first), objective
        points: list[P] = []
        refitted: dict[bytes, P] = {}
        penalties = sorted(settings.penalties)
        for n, (weight, child) in enumerate(zip(penalties, seeds, strict=True)):
            inner = part(progress, 0.3 + 0.5 * n / len(penalties), 0.3 + 0.5 * (n + 1) / len(penalties))
            objective = objective.with_states_of(rule, child)
            sparse = self._penalised(objective, objective.scaled(rule), weight, rng, inner)
            kept, rule = self._kept(objective, sparse, weight), objective.rule(sparse)
            # Blocks that an earlier penalty left, too, were fitted without one there.
            blocks = kept.tobytes()
            if blocks not in refitted:
                refitted[blocks] = self._point(objective, sparse, kept, weight, rng, inner)
            points.append(replace(refitted[blocks], penalty=weight))
        if not self.eliminates:
            return points
        return points + self._eliminated(base, points, last_seed, rng, part(progress, 0.8, 1.0))

    def _start(self, objective: Blocks[P], rng: np.random.Generator, progress: Progress) -> FloatArray:
        """Return the best of some random rules; of several projections about half have none in each."""
        scale = self.settings.start_scale
        if self.n_starts == 1:
            return objective.random_start(scale, rng)
        progress(0.0, f"trying {self.n_starts} random rules")
        groups, drawn = objective.groups(), []
        for _ in range(self.n_starts):
            start = _of_blocks(objective, objective.allowed, True) * objective.random_start(scale, rng)
            for group in groups:
                if rng.random() < HALF:
                    start[np.isin(objective.blocks, group)] = 0.0
            drawn.append(start)
        return drawn[int(np.argmin(objective.values(drawn, self.first_share)))]

    def _penalised(
        self,
        objective: Blocks[P],
        start: FloatArray,
        weight: float,
        rng: np.random.Generator,
        progress: Progress,
    ) -> FloatArray:
        """Return the rule of one penalty, from which the next one starts."""
        settings = self.settings
        weights = weight * _reweighted(objective.norms(start)) if weight > 0 else 0.0
        return self.learner(settings.path_step_size, 0.0).minimise(
            objective, start, _penalty(objective, weights), settings.path_steps, rng,
            part(progress, 0, 0.5, f"penalty {weight:g}, "),
        )  # fmt: skip

    def _kept(self, objective: Blocks[P], sparse: FloatArray, weight: float) -> BoolArray:
        """Return which blocks a penalty left."""
        sizes = objective.norms(sparse)
        return np.asarray(sizes > (self.settings.negligible * sizes.max() if weight > 0 else 0))

    def _point(
        self,
        objective: Blocks[P],
        sparse: FloatArray,
        kept: BoolArray,
        weight: float,
        rng: np.random.Generator,
        progress: Progress,
    ) -> P:
        """Return the point of the blocks that a penalty left, fitted without it."""
        start = np.where(_of_blocks(objective, kept, True), sparse, 0.0)
        named = part(progress, 0.5, 1, f"penalty {weight:g}, refit, ")
        refitted = self.refitted(objective, start, rng, named)
        return objective.judged(objective.rule(refitted), self.heldout, weight, self.number, "path")

    def refitted(
        self, objective: Blocks[P], start: FloatArray, rng: np.random.Generator, progress: Progress
    ) -> FloatArray:
        """Return the blocks of a start fitted without penalty, at their best overall multiple.

        The penalty leaves a rule too slow for its horizon, and a few steps of the optimiser do not make up
        for it. The multiple is searched before them, because the ratios that are best depend on it, and once
        more behind them.
        """
        kept = objective.norms(start) > 0
        if not kept.any():
            return start
        faster, loss = _at_best_multiple(objective, start)
        free = _of_blocks(objective, np.where(kept, 0.0, np.inf), 0.0)
        learn = self.learner(self.settings.path_step_size, 0.0)
        restricted = objective.restricted(kept)
        refitted = learn.minimise(restricted, faster, free, self.settings.refit_steps, rng, progress)
        refitted, refitted_loss = _at_best_multiple(objective, refitted)
        return refitted if refitted_loss < loss else faster

    def _eliminated(
        self,
        objective: Blocks[P],
        points: Sequence[P],
        seed: np.random.SeedSequence,
        rng: np.random.Generator,
        progress: Progress,
    ) -> list[P]:
        """Drop blocks from the chosen point, one at a time, as long as the choice follows."""
        found: list[P] = []
        needed: set[int] = set()
        current = points[choose(points, self.settings.resolution)[0]]
        objective = objective.around(current, seed)
        untried = objective.removals(current, seed)
        while 1 < current.n_terms <= MAX_DROPS:
            progress(1 - 1 / (len(needed) + len(found) + 2), f"trying {current.n_terms} blocks away")
            attempts: dict[int, P] = {}
            more = (one for one in untried if one[0] not in needed)
            for block, suited, start in islice(more, objective.n_tried):
                rule = suited.rule(self.refitted(suited, start, rng, silent))
                attempts[block] = suited.judged(
                    rule, self.heldout, current.penalty, self.number, "elimination"
                )
            if not attempts:
                break
            best = min(attempts.values(), key=lambda point: point.heldout_loss)
            everything = [*points, *found, best]
            if everything[choose(everything, self.settings.resolution)[0]] is best:
                current = best
                found.append(best)
                untried = objective.removals(best, seed)
            else:
                needed |= attempts.keys()
        return found


def losses_on(task: Any, rule: Any, problems: Any, heldout: Any) -> tuple[float, float, float]:
    """Return a rule's mean losses on problems and on held-out ones, and the standard error of the latter."""
    train, losses = task.losses(rule, problems), task.losses(rule, heldout)
    error = losses.std(ddof=1) / np.sqrt(len(losses))
    return float(train.mean()), float(losses.mean()), float(error)


def _of_blocks(objective: Blocks[Any], values: NDArray[Any], constants: Any) -> NDArray[Any]:
    """Return the value of each coordinate's block, and another one for constants of the synapse."""
    blocks = objective.blocks
    return np.where(blocks >= 0, values[blocks], constants)


def _penalty(objective: Blocks[Any], weights: FloatArray | float) -> FloatArray:
    """Weight of each coordinate: infinite for blocks that are not allowed, none for constants."""
    return _of_blocks(objective, np.where(objective.allowed, weights, np.inf), 0.0)


def _reweighted(sizes: FloatArray) -> FloatArray:
    """Weights of a reweighted L1 norm: 1 for the largest block, more for smaller ones.

    References
    ----------
    Candes, Wakin & Boyd (2008), J. Fourier Anal. Appl. 14:877, equation 7.
    """
    weights: FloatArray = 1.1 / (sizes / max(sizes.max(), 1e-300) + 0.1)
    return weights


def _at_best_multiple(objective: Blocks[Any], scaled: FloatArray) -> tuple[FloatArray, float]:
    """Return the multiple of a rule that does best, and its loss."""
    factor, loss = best_multiple(
        lambda factor: float(objective.losses(objective.multiplied(scaled, factor)).mean())
    )
    return objective.multiplied(scaled, factor), loss
