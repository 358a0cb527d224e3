"""The objective of the outer loop: meta-loss of coefficients, its gradient, and the size of each term."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from discover.fit.path import MAX_DROPS, Blocks, losses_on
from discover.fit.result import PathPoint
from discover.tasks.base import Task, VisitedStates, are_constants, bases, rule_of

__all__ = ["Objective", "Slope", "clipped_mean", "judged"]

FloatArray = NDArray[np.float64]

GRADIENT_NORM = 1.0
"""Longest gradient, in scaled coordinates, that one problem may contribute."""

DIFFERENCE = 1e-6
"""Step of forward differences, in scaled coordinates."""

SMALLEST_EFFECT = 1e-3
"""Terms with a smaller effect than this share of the largest are scaled as if they had it."""

N_EFFECT_STATES = 2_000

LARGEST_LOG = 3.0
"""Constants of the synapse stay within this many natural logarithms of their usual values."""


class Slope(NamedTuple):
    """What a step goes by: mean loss, its gradient, and the share of problems that blew up."""

    loss: float
    gradient: FloatArray
    blown: float


@dataclass(frozen=True)
class Objective(Blocks[PathPoint]):
    """Mean loss over problems as a function of scaled coefficients; each term is a block.

    Coordinates are ``coefficient * effect``: the root-mean-square of what a term adds to the update on the
    states that synapses visit, relative to the size of the weights. In these, all terms have comparable
    slopes whatever the number of inputs, and an L1 penalty weighs what a term does and not what it is called.
    A constant of the synapse, such as the time constant of a trace, has the logarithm of its ratio to the
    usual value for a coordinate.

    Parameters
    ----------
    task : Task
    problems : Problems
    effects : ndarray, shape (n_coefficients,)
        Root-mean-square of each term on visited states, relative to `units`.
    units : ndarray, shape (n_coefficients,)
        Root-mean-square of the weights that each term changes, at the size that the task asks for.

    For constants of the synapse effects and units are 1.
    """

    n_tried: ClassVar[int] = MAX_DROPS

    effects: FloatArray
    units: FloatArray

    @property
    def n_coefficients(self) -> int:
        """Number of coefficients, over all slots."""
        return len(self.effects)

    @cached_property
    def blocks(self) -> NDArray[np.int64]:
        """Number of each term; -1 for constants of the synapse."""
        return np.where(self.is_constant, -1, np.cumsum(~self.is_constant) - 1)

    @cached_property
    def is_constant(self) -> NDArray[np.bool_]:
        """Which coordinates are constants of the synapse, shape (n_coefficients,)."""
        return are_constants(self.task)

    @cached_property
    def _usual(self) -> dict[int, float]:
        """Position of each constant of the synapse -> usual value."""
        slots = [slot for basis in bases(self.task) for slot in len(basis) * [basis.slot]]
        return {n: slot.usual for n, slot in enumerate(slots) if slot.is_constant}

    def rule(self, scaled: FloatArray) -> FloatArray:
        """Return the rule's coefficients."""
        coefficients = scaled / self.effects
        for n, usual in self._usual.items():
            coefficients[n] = usual * np.exp(np.clip(scaled[n], -LARGEST_LOG, LARGEST_LOG))
        return coefficients

    def scaled(self, rule: FloatArray) -> FloatArray:
        """Return the coordinates of a rule's coefficients."""
        scaled = rule * self.effects
        for n, usual in self._usual.items():
            scaled[n] = np.log(rule[n] / usual)
        return scaled

    def norms(self, scaled: FloatArray) -> FloatArray:
        """Size of each term."""
        return np.abs(scaled[~self.is_constant])

    def step(self, scaled: FloatArray, picks: NDArray[np.int64], n_steps: int | None = None) -> Slope:
        """Mean loss and mean gradient over some problems.

        The gradient of each problem is clipped to a norm of one and left out where the problem blew up, so
        that no single problem can throw the search off.
        """
        problems = self.task.subset(self.problems, picks)
        result = self.task.gradient(self.rule(scaled), problems, n_steps)
        gradient = clipped_mean(result.gradients / self.effects, ~result.blown)
        return Slope(float(result.losses.mean()), gradient, float(result.blown.mean()))

    def difference_step(
        self, scaled: FloatArray, picks: NDArray[np.int64], n_steps: int | None, free: NDArray[np.bool_]
    ) -> Slope:
        """Like :meth:`step`, with gradients from forward differences along the free coefficients."""
        problems = self.task.subset(self.problems, picks)
        losses = self.task.losses(self.rule(scaled), problems, n_steps)
        gradients = np.zeros((len(losses), self.n_coefficients))
        for n in np.flatnonzero(free):
            moved = scaled.copy()
            moved[n] += DIFFERENCE
            gradients[:, n] = (self.task.losses(self.rule(moved), problems, n_steps) - losses) / DIFFERENCE
        return Slope(float(losses.mean()), clipped_mean(gradients, losses < 1), float(np.mean(losses >= 1)))

    def with_states_of(self, rule: FloatArray, seed: np.random.SeedSequence) -> Objective:
        """Return the objective with effects measured on the states that this rule visits."""
        within = self.rule(self.scaled(rule))  # constants within their range
        visited = self.task.visit(within, self.problems, N_EFFECT_STATES, seed)
        if any(len(states.values) == 0 for states in visited.values()):
            return self
        return replace(self, effects=_sizes(self.task, visited) / self.units)

    def around(self, point: PathPoint, seed: np.random.SeedSequence) -> Objective:
        """Return the objective with effects at random weights again."""
        return Objective.start(self.task, self.problems, seed, self.is_free)

    def removals(
        self, point: PathPoint, seed: np.random.SeedSequence
    ) -> Iterator[tuple[int, Objective, FloatArray]]:
        """Yield each term of a point with the coordinates of the others."""
        names = [(basis.slot.name, name) for basis in bases(self.task) for name in basis.names]
        for slot, term in sorted(point.support):
            place = names.index((slot, term))
            rest = self.of_point(point)
            rest[place] = 0.0
            objective = self.with_states_of(rest, seed)
            yield int(self.blocks[place]), objective, objective.scaled(rest)

    def of_point(self, point: PathPoint) -> FloatArray:
        """Return the coefficients of a point."""
        return _vector(self.task, point.coefficients)

    def groups(self) -> list[list[int]]:
        """Return the terms of each projection by number, where several projections have rules."""
        names = [basis.slot.name.rpartition(".")[0] for basis in bases(self.task) for _ in basis.names]
        found: dict[str, list[int]] = {}
        for name, block in zip(names, self.blocks.tolist(), strict=True):
            if block >= 0:
                found.setdefault(name, []).append(block)
        return list(found.values()) if len(found) > 1 else []

    def without(self, point: PathPoint, terms: Sequence[int]) -> FloatArray | None:
        """Return the coefficients of a point without some terms; None if it has none of them, or no other."""
        rule = self.of_point(point)
        taken, has = np.isin(self.blocks, terms), (rule != 0) & ~self.is_constant
        if not (taken & has).any() or not (has & ~taken).any():
            return None
        return np.where(taken, 0.0, rule)

    def judged(self, rule: FloatArray, heldout: Any, penalty: float, restart: int, origin: str) -> PathPoint:
        """Return a point of the path with its losses."""
        return judged(self.task, rule, self.problems, heldout, penalty, restart, origin)

    @classmethod
    def start(
        cls,
        task: Task,
        problems: Any,
        seed: np.random.SeedSequence,
        is_free: NDArray[np.bool_] | None = None,
    ) -> Objective:
        """Return the objective with effects measured at random weights of the size the task asks for."""
        states = task.probe(problems, N_EFFECT_STATES, seed)
        units = _weight_sizes(task, states)
        return cls(task, problems, _sizes(task, states) / units, units, is_free=is_free)


def judged(
    task: Task,
    coefficients: FloatArray,
    problems: Any,
    heldout: Any,
    penalty: float,
    restart: int,
    origin: str,
) -> PathPoint:
    """Return the point of some coefficients with its losses on the problems and on held-out ones."""
    tables = rule_of(task, coefficients).coefficients()
    by_slot = {slot.name: tables[slot.name] for slot in task.slots}
    losses = losses_on(task, coefficients, problems, heldout)
    return PathPoint(penalty, by_slot, *losses, restart, origin)


def _vector(task: Task, terms: Mapping[str, Mapping[str, float]]) -> FloatArray:
    parts = []
    for basis in bases(task):
        values = np.full(len(basis), basis.slot.usual)
        for name, value in terms[basis.slot.name].items():
            values[basis.index(name)] = value
        parts.append(values)
    return np.concatenate(parts)


def clipped_mean(gradients: FloatArray, sound: NDArray[np.bool_]) -> FloatArray:
    """Mean gradient over problems, each clipped to a norm of one and left out where it is not sound."""
    norms = np.linalg.norm(gradients, axis=1)
    usable = sound & np.isfinite(norms)
    factors = np.minimum(1.0, GRADIENT_NORM / np.maximum(norms, 1e-300))
    clipped: FloatArray = np.where(usable[:, None], gradients * factors[:, None], 0.0)
    mean: FloatArray = clipped.mean(axis=0)
    return mean


def _weight_sizes(task: Task, states: Mapping[str, VisitedStates]) -> FloatArray:
    """Root-mean-square of the weights of each coefficient's slot."""
    parts = []
    for basis in bases(task):
        slot = basis.slot
        if slot.is_constant:
            parts.append(np.ones(len(basis)))
            continue
        weights = states[slot.name].values[:, slot.variables.index(str(slot.weight))]
        parts.append(np.full(len(basis), np.sqrt(np.mean(weights**2))))
    return np.concatenate(parts)


def _sizes(task: Task, visited: Mapping[str, VisitedStates]) -> FloatArray:
    """Root-mean-square of each term, with a floor for terms that hardly show."""
    parts = []
    for basis in bases(task):
        if basis.slot.is_constant:
            parts.append(np.ones(len(basis)))
            continue
        columns = dict(zip(basis.slot.variables, visited[basis.slot.name].values.T, strict=True))
        size = np.sqrt(np.mean(basis.design(columns) ** 2, axis=0))
        parts.append(np.maximum(size, SMALLEST_EFFECT * size.max()))
    return np.concatenate(parts)
