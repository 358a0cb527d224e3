"""The teacher of spiking synapses: a rule without a formula over the traces, learned by CMA-ES.

At a presynaptic spike a weight changes by ``sum_k g_k(x_post) * w**k``, at a postsynaptic one by ``sum_k
h_k(x_pre) * w**k``, with cubic splines g and h of few pieces and powers of the weight up to one. Time
constants of the traces are learned along, on a log scale. The path is that of every teacher, with blocks
(slot, power of the weight); there is no gradient, so the optimiser is CMA-ES.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from discover.fit._spike_teacher_result import (
    BLOCKS,
    N_POWERS,
    SLOTS,
    SpikeTeacher,
    SpikeTeacherPoint,
    of_slot,
)
from discover.fit._teacher_path import TeacherRestart, mean_losses
from discover.fit.choosing import choose
from discover.fit.cmaes import evolve
from discover.fit.objective import LARGEST_LOG, SMALLEST_EFFECT
from discover.fit.settings import FitSettings
from discover.progress import Progress, silent
from discover.slots import TAU_POST, TAU_PRE
from discover.spread import losses_of_population, spread
from discover.tasks.base import Task, VisitedStates, with_trace_splines

if TYPE_CHECKING:
    from sims.spike_splines import SplineSpikeRule

__all__ = ["SpikeTeacher", "SpikeTeacherPoint", "teach_spikes"]

FloatArray = NDArray[np.float64]

N_STATES = 4_000
"""States from which the ranges of the traces and the sizes of the blocks are taken."""

TAIL = 0.001
"""Share of visited traces beyond the end of the splines, which are constant there."""

SHORTEST_RANGE = 0.1
"""Splines reach at least so far: a trace jumps by one at a spike."""

CONSTANTS = (TAU_PRE, TAU_POST)

STIFFNESS = 10.0
"""How much less than a straight line a bent curve is tried at first."""

N_GRID = 200
"""Points at which a curve on one range is fitted on another."""


def teach_spikes(
    task: Task,
    problem_settings: Any,
    settings: FitSettings,
    seed: np.random.SeedSequence,
    progress: Progress = silent,
) -> SpikeTeacher:
    """Learn a rule without a formula for spiking synapses.

    Parameters
    ----------
    task : Task
        One whose network runs a :class:`sims.spike_splines.SplineSpikeRule` (``takes_trace_splines``).
    problem_settings : dataclass
    settings : FitSettings
        Its `teacher`, and `population` and `sigma` of CMA-ES.
    seed : numpy.random.SeedSequence
        Root of all random numbers.
    progress : callable, optional

    Returns
    -------
    SpikeTeacher

    Raises
    ------
    TaskError
        If the task cannot run such rules.

    References
    ----------
    Eilers & Marx (1996), Statist. Sci. 11:89 (B-splines with a penalty on differences); Yuan & Lin (2006),
    J. R. Statist. Soc. B 68:49 (penalty on groups); Hansen (2016), arXiv:1604.00772 (CMA-ES).
    """
    network, own = with_trace_splines(task), settings.teacher
    train_seed, heldout_seed, state_seed, *seeds = seed.spawn(3 + own.restarts)
    progress(0.0, "drawing problems")
    train = network.draw(problem_settings, own.n_train, train_seed)
    heldout = network.draw(problem_settings, own.n_heldout, heldout_seed)
    objective = _Objective.start(network, train, own.n_pieces, own.smoothness, state_seed)
    sent = replace(objective, task=cast("Any", None))  # each piece gets the task with a journal of its own
    found_by_all = spread(
        _restarted,
        network,
        [(sent, heldout, settings, number, child) for number, child in enumerate(seeds)],
        progress,
        [f"teacher {number + 1} of {own.restarts}" for number in range(own.restarts)],
        has_populations=True,
    )
    points: list[SpikeTeacherPoint] = []
    choices = []
    for found in found_by_all:
        choices.append(len(points) + choose(found, own.resolution)[0])
        points += found
    chosen, reason = choose(points, own.resolution)
    return SpikeTeacher(tuple(points), chosen, reason, tuple(choices))


def _restarted(task: Task, item: tuple[Any, ...], progress: Progress) -> list[SpikeTeacherPoint]:
    objective, heldout, settings, number, seed = item
    learner = _Evolution(settings.population, settings.sigma)
    own = replace(objective, task=task)
    restart = TeacherRestart(own, heldout, settings.teacher, number, lambda step_size, growth: learner)
    return restart.run(seed, progress)


@dataclass(frozen=True)
class _Objective:
    """Mean loss over problems as a function of scaled coefficients and log time constants.

    Coordinates of splines are ``coefficient * effect``: the effect of a block is the root-mean-square of the
    power of the weight on visited states, relative to the size of the weights. Splines reach from zero, where
    every trace begins, to the largest traces that are visited. Behind them stand the logarithms of the time
    constants relative to the usual ones.
    """

    task: Task
    problems: Any
    highs: tuple[float, ...]  # end of the splines in each slot
    n_pieces: int
    effects: FloatArray  # (n_blocks,)
    unit: float
    smoothness: float

    @classmethod
    def start(
        cls,
        task: Task,
        problems: Any,
        n_pieces: int,
        smoothness: float,
        seed: np.random.SeedSequence,
    ) -> _Objective:
        states = task.probe(problems, N_STATES, seed)
        weights = np.concatenate([states[slot].values[:, 1] for slot in SLOTS])
        unit = float(np.sqrt(np.mean(weights**2)))
        return cls(task, problems, _ranges(states), n_pieces, _sizes(states) / unit, unit, smoothness)

    @cached_property
    def blocks(self) -> NDArray[np.int64]:
        """Block of each coordinate; -1 for time constants."""
        return np.append(np.repeat(np.arange(len(BLOCKS)), self.n_pieces + 3), [-1] * len(CONSTANTS))

    @cached_property
    def _bending(self) -> tuple[FloatArray, FloatArray]:
        """Root of the first covariance of a curve's coefficients, by which it bends little; its inverse."""
        differences = np.diff(np.eye(self.n_pieces + 3), n=2, axis=0)
        sizes, axes = np.linalg.eigh(differences.T @ differences)
        shrink = 1.0 / np.sqrt(1.0 + STIFFNESS * np.maximum(sizes, 0.0))
        return (axes * shrink) @ axes.T, (axes / shrink) @ axes.T

    def bent(self, plain: FloatArray) -> FloatArray:
        """Return the scaled coefficients of coordinates in which curves of all shapes are as likely."""
        return self._mixed(plain, self._bending[0])

    def straightened(self, scaled: FloatArray) -> FloatArray:
        """Return the inverse of :meth:`bent`."""
        return self._mixed(scaled, self._bending[1])

    def _mixed(self, scaled: FloatArray, matrix: FloatArray) -> FloatArray:
        curves, constants = self._split(scaled)
        return np.concatenate([(curves @ matrix).reshape(-1), constants])

    def _split(self, scaled: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return coefficients, shape (n_blocks, n_pieces + 3), and constants."""
        n = len(CONSTANTS)
        return scaled[:-n].reshape(len(BLOCKS), -1), scaled[-n:]

    def random_start(self, scale: float, rng: np.random.Generator) -> FloatArray:
        """Draw coordinates of a rule to begin with, whose curves bend little."""
        return self.bent(rng.normal(0, scale, len(self.blocks)))

    def rule(self, scaled: FloatArray) -> SplineSpikeRule:
        """Return the rule of scaled coefficients; a slot whose curves are all zero has no update."""
        from sims.spike_splines import SplineSpikeRule, TraceSplines

        curves, constants = self._split(scaled)
        table = (curves / self.effects[:, None]).reshape(len(SLOTS), N_POWERS, -1)
        updates = [
            TraceSplines(0.0, high, rows) if rows.any() else None
            for high, rows in zip(self.highs, table, strict=True)
        ]
        usual = [slot.usual for slot in CONSTANTS]
        taus = usual * np.exp(np.clip(constants, -LARGEST_LOG, LARGEST_LOG))
        return SplineSpikeRule(updates[0], updates[1], float(taus[0]), float(taus[1]))

    def scaled(self, rule: SplineSpikeRule) -> FloatArray:
        """Return the coordinates of a rule; curves on other ranges are fitted by least squares."""
        from sims.spike_splines import basis

        rows: list[FloatArray] = []
        for slot, high in zip(SLOTS, self.highs, strict=True):
            splines = of_slot(rule, slot)
            if splines is None:
                rows.append(np.zeros((N_POWERS, self.n_pieces + 3)))
            elif (splines.low, splines.high, splines.n_pieces) == (0.0, high, self.n_pieces):
                rows.append(splines.coefficients)
            else:
                grid = np.linspace(0.0, high, N_GRID)
                design = basis(grid, 0.0, high, self.n_pieces)
                fitted, *_ = np.linalg.lstsq(design, splines.curves(grid).T, rcond=None)
                rows.append(np.asarray(fitted.T, dtype=np.float64))
        taus = np.array([rule.tau_pre_ms, rule.tau_post_ms])
        constants = np.log(taus / [slot.usual for slot in CONSTANTS])
        return np.concatenate([(np.concatenate(rows) * self.effects[:, None]).reshape(-1), constants])

    def norms(self, scaled: FloatArray) -> FloatArray:
        """Root-mean-square of each block's coefficients, shape (n_blocks,)."""
        norms: FloatArray = np.sqrt(np.mean(self._split(scaled)[0] ** 2, axis=1))
        return norms

    def restricted(self, blocks: NDArray[np.bool_]) -> _Objective:
        """Return the same objective: losses of rules with fewer blocks take less time by themselves."""
        return self

    def losses(self, scaled: FloatArray) -> FloatArray:
        """Loss of each problem."""
        return self.task.losses(self.rule(scaled), self.problems)

    def values(self, points: list[FloatArray], penalty: FloatArray) -> list[float]:
        """Mean losses of rules, with the penalties on roughness and on the size of each block."""
        rules = [self.rule(point) for point in points]
        losses = losses_of_population(self.task, rules, self.problems).mean(axis=1)
        values = []
        for loss, point in zip(losses, points, strict=True):
            bends, norms = np.diff(self._split(point)[0], n=2, axis=1), self.norms(point)
            # Relative to the size of the rule, or a rule that learns faster would count as rougher.
            rough = np.sum(bends**2) / max(np.sum(norms**2), 1e-300)
            values.append(float(loss + self.smoothness * rough + penalty @ norms))
        return values

    def with_states_of(self, rule: SplineSpikeRule, seed: np.random.SeedSequence) -> _Objective:
        """Return the objective with ranges and effects measured on the states that this rule visits."""
        visited = self.task.visit(rule, self.problems, N_STATES, seed)
        if any(len(states.values) == 0 for states in visited.values()):
            return self
        return replace(self, highs=_ranges(visited), effects=_sizes(visited) / self.unit)

    def judged(self, rule: SplineSpikeRule, heldout: Any, penalty: float, restart: int) -> SpikeTeacherPoint:
        """Return a rule with its losses."""
        losses = mean_losses(self.task, rule, self.problems, heldout)
        return SpikeTeacherPoint(rule, penalty, *losses, restart)


@dataclass(frozen=True)
class _Evolution:
    """CMA-ES over splines, whose first spread favours curves that bend little."""

    population: int
    sigma: float

    def minimise(
        self,
        objective: _Objective,
        start: FloatArray,
        penalty: FloatArray,
        n_steps: int,
        rng: np.random.Generator,
        progress: Progress,
    ) -> FloatArray:
        """Return scaled coefficients; those with an infinite penalty stay at zero."""
        free = np.isfinite(penalty)
        by_block = np.array([penalty[objective.blocks == n].max() for n in range(len(BLOCKS))])
        by_block = np.where(np.isfinite(by_block), by_block, 0.0)
        plain = np.where(free, objective.straightened(start), 0.0)

        def whole(some: FloatArray) -> FloatArray:
            point = np.zeros_like(plain)
            point[free] = some
            return objective.bent(point)

        def values_of(parts: list[FloatArray]) -> list[float]:
            return objective.values([whole(some) for some in parts], by_block)

        width = min(self.sigma, max(float(np.abs(plain[free]).max()), 0.02))
        best, _ = evolve(values_of, plain[free], width, self.population, n_steps, rng, progress)
        return whole(best)


def _ranges(states: Mapping[str, VisitedStates]) -> tuple[float, ...]:
    """Largest traces of each slot, but for the rarest."""
    ends = (float(np.quantile(states[slot].values[:, 0], 1 - TAIL)) for slot in SLOTS)
    return tuple(max(end, SHORTEST_RANGE) for end in ends)


def _sizes(states: Mapping[str, VisitedStates]) -> FloatArray:
    """Root-mean-square of the power of the weight for each block, with a floor for those that hardly show."""
    sizes = np.array([np.sqrt(np.mean(states[slot].values[:, 1] ** (2 * power))) for slot, power in BLOCKS])
    floored: FloatArray = np.maximum(sizes, SMALLEST_EFFECT * sizes.max())
    return floored
