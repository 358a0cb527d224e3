"""Simulations of many rules: in how many problems in a row each does what the task asks for.

Rules of a batch run on the same problems, drawn for this batch alone, one after the other. A rule that
has failed is not run again, so that most of the time goes to rules that are worth it. The number of problems
in a row, up to the most that are tried, is the measure that the posterior is conditioned on: a rule that does
the task in a share ``a`` of all problems does all ``K`` of them with probability ``a**K``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from discover.parallel import ordered_map
from discover.posterior.prior import Family
from discover.tasks.base import Fold, Task

__all__ = [
    "BATCH",
    "Condition",
    "Table",
    "child",
    "condition_of",
    "in_a_row",
    "passes",
    "run_batches",
]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

BATCH = 64
"""Rules that run on the same problems."""


@dataclass(frozen=True)
class Condition:
    """What a rule has to do.

    Parameters
    ----------
    settings : dataclass
        To draw problems with.
    tolerances : mapping from str to tuple of float
        Measure -> lowest and highest value that is good enough.
    n_problems : int
        Problems that a rule has to do, one after the other.
    title : str
    """

    settings: Any
    tolerances: Mapping[str, tuple[float, float]]
    n_problems: int
    title: str = ""


@dataclass(frozen=True, eq=False)
class Table:
    """Rules that were simulated.

    Attributes
    ----------
    values : ndarray, shape (n_rules, n_parameters)
    passed : ndarray of int, shape (n_rules,)
        Problems in a row that a rule did.
    loss : ndarray, shape (n_rules,)
        On the first of its problems.
    stage : ndarray of int, shape (n_rules,)
        0 for rules drawn from the prior, then the number of the restriction that they come from.
    n_problems : int
        Most problems in a row.
    """

    values: FloatArray
    passed: IntArray
    loss: FloatArray
    stage: IntArray
    n_problems: int

    @property
    def n_rules(self) -> int:
        """Number of rules."""
        return len(self.passed)

    @property
    def n_runs(self) -> int:
        """Number of inner loops that were simulated: a rule's last problem is the one that it failed."""
        return int(np.minimum(self.passed + 1, self.n_problems).sum())

    @property
    def is_accepted(self) -> NDArray[np.bool_]:
        """Which rules did all problems."""
        return np.asarray(self.passed == self.n_problems)

    def of(self, rows: NDArray[Any]) -> Table:
        """Return some of the rules."""
        return replace(
            self,
            values=self.values[rows],
            passed=self.passed[rows],
            loss=self.loss[rows],
            stage=self.stage[rows],
        )


def condition_of(task: Task, settings: Any, n_problems: int) -> Condition:
    """Return what a task calls good enough, see :meth:`discover.tasks.base.Task.asked`."""
    asked: Fold = task.asked(settings)
    return Condition(asked.settings, asked.tolerances, n_problems, asked.title)


def child(seed: np.random.SeedSequence, *numbers: int) -> np.random.SeedSequence:
    """Return a seed that depends on a seed and on numbers alone, whatever other children there are."""
    return np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, *numbers))


def passes(
    measured: Mapping[str, FloatArray], tolerances: Mapping[str, tuple[float, float]]
) -> NDArray[np.bool_]:
    """Return for each problem whether all measures lie within their tolerances; NaN does not.

    Examples
    --------
    >>> passes({"error": np.array([0.1, 0.3, np.nan])}, {"error": (0.0, 0.2)}).tolist()
    [True, False, False]
    """
    found = [(low <= measured[name]) & (measured[name] <= high) for name, (low, high) in tolerances.items()]
    return np.asarray(np.logical_and.reduce(found))


Piece = tuple[Any, Condition, Family, FloatArray, np.random.SeedSequence]


def in_a_row(piece: Piece) -> tuple[IntArray, FloatArray]:
    """Run the rules of one batch.

    Parameters
    ----------
    piece : tuple
        Task, condition, family, parameters (n_rules, n_parameters) and the seed of the problems.

    Returns
    -------
    passed : ndarray of int, shape (n_rules,)
        Problems in a row that each rule did.
    loss : ndarray, shape (n_rules,)
        On the first problem.
    """
    task, condition, family, values, seed = piece
    rules = [family.rule(row) for row in values]
    problems = task.draw(condition.settings, condition.n_problems, seed)
    passed, loss = np.zeros(len(rules), dtype=np.int64), np.full(len(rules), np.nan)
    left = np.arange(len(rules))
    for number in range(condition.n_problems):
        if not left.size:
            break
        one = task.subset(problems, np.array([number]))
        measured = task.evaluate_rules([rules[place] for place in left.tolist()], one)
        if number == 0:
            loss = np.array([row["loss"][0] for row in measured])
        good = np.array([bool(passes(row, condition.tolerances)[0]) for row in measured])
        left = left[good]
        passed[left] += 1
    return passed, loss


def run_batches(
    task: Any,
    condition: Condition,
    family: Family,
    batches: Sequence[tuple[int, FloatArray]],
    seed: np.random.SeedSequence,
    arrived: Callable[[int, IntArray, FloatArray], None],
) -> None:
    """Run batches, here or on a cluster; each is handed over as soon as it is there.

    Parameters
    ----------
    task : Task
    condition : Condition
    family : Family
    batches : sequence of tuple
        Number of a batch, and its parameters (n_rules, n_parameters).
    seed : SeedSequence
    arrived : callable
        Is given the number of the batch, its problems in a row and its losses.
    """
    pieces = [(task, condition, family, values, child(seed, number)) for number, values in batches]
    ordered_map(in_a_row, pieces, lambda place, found: arrived(batches[place][0], *found))
