"""Rules without a formula as blocks: cubic splines, each times powers of what else a synapse knows.

In rate neurons ``f = sum_ik g_ik(y) x**i w**k``, with a spline g for each pair of powers up to two
(:class:`RateCurves`). In spiking neurons a weight changes by ``sum_k g_k(x_post) * w**k`` at a presynaptic
spike and by ``sum_k h_k(x_pre) * w**k`` at a postsynaptic one, with powers of the weight up to one and time
constants of the traces that are learned along (:class:`TraceCurves`). Each spline is a block.

Where a task's problems are the same with the signs of all inputs, or of all weights, turned round
(``sign_symmetric``), a rule of rate neurons treats both signs alike: then i + k is odd, and g is even or odd
as i is. A rule that prefers one sign may learn as well, but no short formula is near to it.

References
----------
Eilers & Marx (1996), Statist. Sci. 11:89 (B-splines with a penalty on differences).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from discover.fit.objective import LARGEST_LOG, SMALLEST_EFFECT, Slope, clipped_mean
from discover.fit.path import Blocks, losses_on
from discover.fit.result import N_POWERS, TRACE_BLOCKS, TRACE_SLOTS, TeacherPoint
from discover.fit.settings import TeacherSettings
from discover.journal import remembered
from discover.slots import ON_PRE, TAU_POST, TAU_PRE
from discover.tasks.base import Task, VisitedStates
from sims.rules import SplineRule

if TYPE_CHECKING:
    from sims.spike_splines import SplineSpikeRule

__all__ = ["Curves", "RateCurves", "TraceCurves"]

FloatArray = NDArray[np.float64]

N_STATES = 4_000
"""States from which the ranges of the splines and the sizes of the blocks are taken."""

TAIL = 0.001
"""Share of visited outputs or traces beyond each end of the splines, which are constant there."""

N_RATE_BLOCKS = 9

PARITY = np.array([0.0 if (i + k) % 2 == 0 else (-1.0) ** i for i in range(3) for k in range(3)])
"""Of each block's function where both signs are alike: even (1), odd (-1) or none (0)."""

SHORTEST_RANGE = 0.1
"""Splines of traces reach at least so far: a trace jumps by one at a spike."""

CONSTANTS = (TAU_PRE, TAU_POST)

STIFFNESS = 10.0
"""How much less than a straight line a bent curve is tried at first."""

N_GRID = 200
"""Points at which a curve on one range is fitted on another."""


@dataclass(frozen=True)
class Curves(Blocks[TeacherPoint]):
    """Mean loss over problems as a function of the scaled coefficients of splines.

    Coordinates are ``coefficient * effect``: the effect of a block is the root-mean-square on visited states
    of what its spline is multiplied with, relative to the size of the weights.

    Attributes
    ----------
    n_pieces : int
    effects : ndarray, shape (n_blocks,)
    unit : float
        Size of the weights.
    smoothness : float
        Weight of the penalty on rough splines.
    """

    n_tried: ClassVar[int] = 1

    n_pieces: int
    effects: FloatArray
    unit: float
    smoothness: float

    @property
    def n_blocks(self) -> int:
        """Number of splines."""
        return len(self.effects)

    @cached_property
    def blocks(self) -> NDArray[np.int64]:
        """Block of each coordinate."""
        return np.repeat(np.arange(self.n_blocks), self.n_pieces + 3)

    @abstractmethod
    def fitted_to(self, states: Mapping[str, VisitedStates]) -> Self:
        """Return the objective with coordinates that suit some states."""

    def table(self, scaled: FloatArray) -> FloatArray:
        """Return the scaled coefficients of the splines, shape (n_blocks, n_pieces + 3)."""
        return scaled[: self.n_blocks * (self.n_pieces + 3)].reshape(self.n_blocks, -1)

    def norms(self, scaled: FloatArray) -> FloatArray:
        """Root-mean-square of each block's coefficients, shape (n_blocks,)."""
        norms: FloatArray = np.sqrt(np.mean(self.table(scaled) ** 2, axis=1))
        return norms

    def with_states_of(self, rule: Any, seed: np.random.SeedSequence) -> Self:
        """Return the objective with ranges and effects measured on the states that this rule visits."""
        visited = self.task.visit(rule, self.problems, N_STATES, seed)
        return self.fitted_to(visited) if all(len(one.values) for one in visited.values()) else self

    def around(self, point: TeacherPoint, seed: np.random.SeedSequence) -> Self:
        """Return the objective with coordinates that suit the states that a point visits."""
        return self.with_states_of(point.rule, seed)

    def removals(
        self, point: TeacherPoint, seed: np.random.SeedSequence
    ) -> Iterator[tuple[int, Self, FloatArray]]:
        """Yield each block of a point with the coordinates of the others, that which does least first."""
        scaled = self.scaled(point.rule)
        sizes = self.norms(scaled)
        for block in np.argsort(sizes).tolist():
            if sizes[block] > 0:
                yield block, self, np.where(self.blocks == block, 0.0, scaled)

    def judged(self, rule: Any, heldout: Any, penalty: float, restart: int, origin: str) -> TeacherPoint:
        """Return a rule with its losses."""
        losses = losses_on(self.task, rule, self.problems, heldout)
        return TeacherPoint(rule, penalty, *losses, restart)


@dataclass(frozen=True)
class RateCurves(Curves):
    """Splines of the output, with exact gradients; see :class:`Curves`.

    Attributes
    ----------
    low, high : float
        Ends of the splines.
    is_symmetric : bool
        Whether rules treat both signs alike.
    """

    low: float
    high: float
    is_symmetric: bool = False

    @classmethod
    def start(
        cls, task: Task, problems: Any, settings: TeacherSettings, seed: np.random.SeedSequence
    ) -> RateCurves:
        """Return the objective with ranges and effects measured at random weights."""
        states = task.probe(problems, N_STATES, seed)[task.slots[0].name]
        post, is_symmetric = states.values[:, 1], task.sign_symmetric
        low, high = np.quantile(np.concatenate([post, -post]) if is_symmetric else post, [TAIL, 1 - TAIL])
        if is_symmetric:
            low = -high
        unit = float(np.sqrt(np.mean(states.values[:, 2] ** 2)))
        return cls(
            task,
            problems,
            settings.n_pieces,
            _rate_sizes(states) / unit,
            unit,
            settings.smoothness,
            float(low),
            float(high),
            is_symmetric,
            is_free=PARITY != 0 if is_symmetric else None,
        )

    def fitted_to(self, states: Mapping[str, VisitedStates]) -> RateCurves:
        """Return the objective with effects measured on some states."""
        return replace(self, effects=_rate_sizes(states[self.task.slots[0].name]) / self.unit)

    def rule(self, scaled: FloatArray) -> SplineRule:
        """Return the rule of scaled coefficients."""
        table = scaled.reshape(N_RATE_BLOCKS, -1) / self.effects[:, None]
        return SplineRule(self.low, self.high, table.reshape(3, 3, -1), self.allowed.reshape(3, 3))

    def restricted(self, kept: NDArray[np.bool_]) -> RateCurves:
        """Return the objective for rules of these blocks alone, whose gradients take less time."""
        return replace(self, is_free=self.allowed & kept)

    def scaled(self, rule: SplineRule) -> FloatArray:
        """Return the coordinates of a rule."""
        return (rule.coefficients.reshape(N_RATE_BLOCKS, -1) * self.effects[:, None]).reshape(-1)

    def bent(self, plain: FloatArray) -> FloatArray:
        """Return the coordinates of a rule that treats both signs alike, if they count alike."""
        return self._symmetric(plain)

    def _symmetric(self, values: FloatArray) -> FloatArray:
        """Return the part of coefficients that treats both signs alike."""
        if not self.is_symmetric:
            return values
        table = values.reshape(N_RATE_BLOCKS, -1)
        return (0.5 * PARITY[:, None] * (PARITY[:, None] * table + table[:, ::-1])).reshape(-1)

    def step(self, scaled: FloatArray, picks: NDArray[np.int64], n_steps: int | None = None) -> Slope:
        """Mean loss with the penalty on roughness, and its gradient."""
        rule, problems = self.rule(scaled), self.task.subset(self.problems, picks)

        def compute(task: Task) -> dict[str, FloatArray]:
            result = task.gradient(rule, problems, n_steps)
            gradients = result.gradients.reshape(len(picks), N_RATE_BLOCKS, -1) / self.effects[:, None]
            gradient = clipped_mean(gradients.reshape(len(picks), -1), ~result.blown)
            return {"gradient": gradient, "shares": np.array([result.losses.mean(), result.blown.mean()])}

        # The mean alone is kept: gradients of single problems would fill the disk.
        question = (rule, self.effects, n_steps)
        result = remembered(self.task, "teacher-step", problems, question, compute)
        gradient, (mean_loss, blown) = self._symmetric(result["gradient"]), result["shares"]
        bends = np.diff(scaled.reshape(N_RATE_BLOCKS, -1), n=2, axis=1)
        # The transpose of second differences, by the same differences of bends with zeros around them.
        rough = np.diff(np.pad(bends, ((0, 0), (2, 2))), n=2, axis=1).reshape(-1)
        loss = float(mean_loss) + self.smoothness * float(np.sum(bends**2))
        return Slope(loss, gradient + 2 * self.smoothness * rough, float(blown))


@dataclass(frozen=True)
class TraceCurves(Curves):
    """Splines of traces for each slot and power of the weight, without gradients; see :class:`Curves`.

    Splines reach from zero, where every trace begins, to the largest traces that are visited. Behind their
    coefficients stand the logarithms of the time constants relative to the usual ones.

    Attributes
    ----------
    highs : tuple of float
        End of the splines in each slot.
    """

    highs: tuple[float, ...]

    @classmethod
    def start(
        cls, task: Task, problems: Any, settings: TeacherSettings, seed: np.random.SeedSequence
    ) -> TraceCurves:
        """Return the objective with ranges and effects measured at random weights."""
        states = task.probe(problems, N_STATES, seed)
        weights = np.concatenate([states[slot].values[:, 1] for slot in TRACE_SLOTS])
        unit = float(np.sqrt(np.mean(weights**2)))
        sizes, highs = _trace_sizes(states) / unit, _ranges(states)
        return cls(task, problems, settings.n_pieces, sizes, unit, settings.smoothness, highs)

    @cached_property
    def blocks(self) -> NDArray[np.int64]:
        """Block of each coordinate; -1 for time constants."""
        return np.append(super().blocks, [-1] * len(CONSTANTS))

    def fitted_to(self, states: Mapping[str, VisitedStates]) -> TraceCurves:
        """Return the objective with ranges and effects measured on some states."""
        return replace(self, highs=_ranges(states), effects=_trace_sizes(states) / self.unit)

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
        return np.concatenate([(self.table(scaled) @ matrix).reshape(-1), scaled[-len(CONSTANTS) :]])

    def rule(self, scaled: FloatArray) -> SplineSpikeRule:
        """Return the rule of scaled coefficients; a slot whose curves are all zero has no update."""
        from sims.spike_splines import SplineSpikeRule, TraceSplines

        table = (self.table(scaled) / self.effects[:, None]).reshape(len(TRACE_SLOTS), N_POWERS, -1)
        updates = [
            TraceSplines(0.0, high, rows) if rows.any() else None
            for high, rows in zip(self.highs, table, strict=True)
        ]
        usual = [slot.usual for slot in CONSTANTS]
        taus = usual * np.exp(np.clip(scaled[-len(CONSTANTS) :], -LARGEST_LOG, LARGEST_LOG))
        return SplineSpikeRule(updates[0], updates[1], float(taus[0]), float(taus[1]))

    def scaled(self, rule: SplineSpikeRule) -> FloatArray:
        """Return the coordinates of a rule; curves on other ranges are fitted by least squares."""
        from sims.spike_splines import basis

        rows: list[FloatArray] = []
        for slot, high in zip(TRACE_SLOTS, self.highs, strict=True):
            splines = rule.on_pre if slot == ON_PRE.name else rule.on_post
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

    def values(self, points: Sequence[FloatArray], first_share: float = 1.0) -> list[float]:
        """Mean losses of rules, with the penalty on roughness."""
        values = []
        for loss, point in zip(super().values(points, first_share), points, strict=True):
            bends, norms = np.diff(self.table(point), n=2, axis=1), self.norms(point)
            # Relative to the size of the rule, or a rule that learns faster would count as rougher.
            rough = np.sum(bends**2) / max(np.sum(norms**2), 1e-300)
            values.append(float(loss + self.smoothness * rough))
        return values


def _rate_sizes(states: VisitedStates) -> FloatArray:
    """Root-mean-square of ``x**i w**k`` for each block, with a floor for those that hardly show."""
    x, _, w = states.values[:, :3].T
    sizes = np.sqrt(np.mean([(x**i * w**k) ** 2 for i in range(3) for k in range(3)], axis=1))
    floored: FloatArray = np.maximum(sizes, SMALLEST_EFFECT * sizes.max())
    return floored


def _ranges(states: Mapping[str, VisitedStates]) -> tuple[float, ...]:
    """Largest traces of each slot, but for the rarest."""
    ends = (float(np.quantile(states[slot].values[:, 0], 1 - TAIL)) for slot in TRACE_SLOTS)
    return tuple(max(end, SHORTEST_RANGE) for end in ends)


def _trace_sizes(states: Mapping[str, VisitedStates]) -> FloatArray:
    """Root-mean-square of the power of the weight for each block, with a floor for those that hardly show."""
    sizes = np.array(
        [np.sqrt(np.mean(states[slot].values[:, 1] ** (2 * power))) for slot, power in TRACE_BLOCKS]
    )
    floored: FloatArray = np.maximum(sizes, SMALLEST_EFFECT * sizes.max())
    return floored
