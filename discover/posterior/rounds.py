"""Which rules are simulated: those of the prior, then those where good ones can be, round by round."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from discover.posterior.neural import restricted
from discover.posterior.prior import Family
from discover.posterior.simulations import BATCH, Condition, Table, child, run_batches
from discover.progress import Progress, silent

__all__ = ["Batch", "Budget", "region_of", "simulated", "table_of"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

GROWTH = 1.5
"""A round has so many times the rules of the round before."""

FEWEST_GOOD = 8
"""Rules that did a problem, from which on it is learnt where they are."""

RESTRICTED_BELOW = 0.5
"""Share of good rules in the prior below which the prior is restricted."""

CANDIDATES = 20_000
MOST_CANDIDATES = 20_000_000

PRIOR, WHERE, PROBLEMS, NETWORK, WEIGHING, FRESH, CHAIN, PICKS, TESTS, MORE, MASS = range(11)
"""Streams of random numbers."""


@dataclass(frozen=True)
class Budget:
    """How much is simulated and drawn.

    Parameters
    ----------
    n_prior : int
        Rules drawn from the prior.
    n_round : int
        Rules of the first round after that.
    n_accepted : int
        Rules that did all their problems, after which no further round begins.
    most_rules : int
        No round begins with so many rules.
    n_problems : int
        Problems in a row by which rules are accepted.
    n_more : int
        Problems in a row that samples have to do when they are weighed; more than `n_problems`.
    n_members : int
        Networks for each part of the rules that is kept back, of which there are five.
    n_weighed : int
        Samples of the network that are weighed, together with at most as many accepted rules.
    n_samples : int
        Samples that are written down.
    n_fresh, n_fresh_problems : int
        Samples that are tried on fresh problems, and how many problems these are.
    """

    n_prior: int = 1536
    n_round: int = 768
    n_accepted: int = 2000
    most_rules: int = 20_000
    n_problems: int = 4
    n_more: int = 8
    n_members: int = 4
    n_weighed: int = 1000
    n_samples: int = 1000
    n_fresh: int = 200
    n_fresh_problems: int = 4


@dataclass(frozen=True, eq=False)
class Batch:
    """Rules that ran on the same problems.

    Attributes
    ----------
    number, stage : int
    values : ndarray, shape (n_rules, n_parameters)
    passed : ndarray of int, shape (n_rules,)
    loss : ndarray, shape (n_rules,)
    """

    number: int
    stage: int
    values: FloatArray
    passed: IntArray
    loss: FloatArray


def table_of(batches: Mapping[int, Batch], n_problems: int) -> Table:
    """Return the rules of batches in the order of their numbers."""
    ordered = [batches[number] for number in sorted(batches)]
    return Table(
        np.concatenate([one.values for one in ordered]),
        np.concatenate([one.passed for one in ordered]),
        np.concatenate([one.loss for one in ordered]),
        np.concatenate([np.full(len(one.passed), one.stage) for one in ordered]),
        n_problems,
    )


def simulated(
    task: Any,
    condition: Condition,
    family: Family,
    budget: Budget,
    seed: np.random.SeedSequence,
    kept: Mapping[int, Batch],
    arrived: Callable[[Batch], None],
    progress: Progress = silent,
) -> Table:
    """Simulate until enough rules are accepted, or enough were simulated.

    Parameters
    ----------
    task : Task
    condition : Condition
    family : Family
    budget : Budget
    seed : SeedSequence
    kept : mapping from int to Batch
        Batches that an earlier computation had; they are not run again.
    arrived : callable
        Is given every other batch as soon as it is there.
    progress : callable, optional
    """
    batches = dict(kept)
    stage, size, first = 0, budget.n_prior, 0
    while True:
        n_batches = max(1, round(size / BATCH))
        numbers = [number for number in range(first, first + n_batches) if number not in batches]
        if numbers:
            points = _proposed(family, batches, condition, stage, n_batches * BATCH, seed)
            values = family.values(points).reshape(n_batches, BATCH, -1)

            def came(number: int, passed: IntArray, loss: FloatArray) -> None:
                batch = Batch(number, stage, values[number - first], passed, loss)  # noqa: B023
                batches[number] = batch
                arrived(batch)
                _told(progress, batches, condition, budget, stage)  # noqa: B023

            waiting = [(number, values[number - first]) for number in numbers]
            run_batches(task, condition, family, waiting, child(seed, PROBLEMS), came)
        first, stage = first + n_batches, stage + 1
        size = budget.n_round if stage == 1 else round(size * GROWTH)
        table = table_of({number: batches[number] for number in range(first)}, condition.n_problems)
        n_accepted, n_left = int(table.is_accepted.sum()), budget.most_rules - table.n_rules
        if n_accepted >= budget.n_accepted or n_left < BATCH:
            return table
        share = max(n_accepted / table.n_rules, float(table.of(table.stage == stage - 1).is_accepted.mean()))
        needed = round((budget.n_accepted - n_accepted) / max(share, 1e-3))
        size = max(BATCH, min(size, n_left, needed + BATCH))


def _told(
    progress: Progress, batches: Mapping[int, Batch], condition: Condition, budget: Budget, stage: int
) -> None:
    n_rules = sum(len(one.passed) for one in batches.values())
    n_accepted = sum(int((one.passed == condition.n_problems).sum()) for one in batches.values())
    done = max(min(1.0, n_accepted / budget.n_accepted), n_rules / budget.most_rules)
    where = "prior" if stage == 0 else f"restriction {stage}"
    progress(
        done, f"{n_rules} rules simulated ({where}), {n_accepted} do {condition.n_problems} problems in a row"
    )


def _proposed(
    family: Family,
    batches: Mapping[int, Batch],
    condition: Condition,
    stage: int,
    n: int,
    seed: np.random.SeedSequence,
) -> FloatArray:
    """Return points of a stage: of the prior, or of where good rules can be."""
    rng = np.random.default_rng(child(seed, PRIOR, stage))
    before = (
        table_of({n: one for n, one in batches.items() if one.stage < stage}, condition.n_problems)
        if stage
        else None
    )
    is_inside = None if before is None else region_of(family, before, stage, seed)
    if is_inside is None:
        return family.draw(n, rng)
    found: list[FloatArray] = []
    n_found = n_tried = 0
    while n_found < n and n_tried < MOST_CANDIDATES:
        points = family.draw(CANDIDATES, rng)
        points = points[is_inside(points)]
        found.append(points)
        n_found, n_tried = n_found + len(points), n_tried + CANDIDATES
    if n_found < n:
        found.append(family.draw(n - n_found, rng))
    return np.concatenate(found)[:n]


def region_of(
    family: Family, before: Table, stage: int, seed: np.random.SeedSequence
) -> Callable[[FloatArray], NDArray[np.bool_]] | None:
    """Return what says of points whether rules of a stage are drawn there; None where all of the prior is.

    Parameters
    ----------
    family : Family
    before : Table
        The rules of all stages before.
    stage : int
    seed : SeedSequence
    """
    is_good = before.passed >= 1
    if is_good.sum() < FEWEST_GOOD or is_good[before.stage == 0].mean() > RESTRICTED_BELOW:
        return None
    return restricted(family.standard(before.values), is_good, child(seed, WHERE, stage))
