"""The posterior of a task whose likelihood nobody can write down: simulate, learn, check, weigh, read.

The target is the prior times the probability that a rule does so many problems in a row. Candidates are the
rules of the table that did all their problems, and samples of a neural density that is conditioned on the
number of problems that rules did. Each of them is run on further problems; those that do all of these are
weighed by the prior over the mixture that they were proposed from. So the samples follow the target also
where the network has not learnt it well, and what that costs shows in their effective number.

References
----------
Confavreux, Ramesh, Gonçalves, Macke & Vogels (2023), "Meta-learning families of plasticity rules in recurrent
spiking networks using simulation-based inference", NeurIPS.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from discover.errors import RunFailed
from discover.journal import Memo
from discover.outcome import share_interval
from discover.posterior.chain import compared_with_chain
from discover.posterior.forms import Calibration, Coverage, Placed, Posterior, Predictive, Spent
from discover.posterior.mixture import expected_numbers, rounds_of
from discover.posterior.neural import NeuralPosterior, Ranks, joined, ranks_of, trained
from discover.posterior.prior import Family
from discover.posterior.reading import (
    compensations_of,
    conditional_correlations,
    directions_of,
    marginals_of,
    placed_rules,
)
from discover.posterior.rounds import CHAIN, FRESH, MASS, MORE, NETWORK, PICKS, TESTS, WEIGHING, Budget
from discover.posterior.simulations import BATCH, Condition, Table, child, run_batches
from discover.posterior.surface import surface_of
from discover.posterior.weighing import coverage_of, effective, importance, resampled
from discover.progress import Progress, part, silent
from discover.rule import Rule

__all__ = ["FEWEST_ACCEPTED", "Samples", "neural_posterior"]

FloatArray = NDArray[np.float64]

FEWEST_ACCEPTED = 50
"""With fewer accepted rules nothing can be learnt of them."""

N_PARTS = 5
"""Parts of the rules; networks are trained on all of them but one, and checked on that."""

N_POOL = 4000
"""Samples among which left-out rules have their ranks."""

AT_A_TIME = 8
"""Batches of further simulations that are kept together."""

ALPHA = 0.05
AIM = np.array([1.0])
"""Share of its problems that a rule should do."""

TOLD_APART = 0.6
"""A classifier that is right more often than this tells ranks from uniform ones."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Samples of a posterior.

    Attributes
    ----------
    values : ndarray, shape (n_samples, n_parameters)
    weights : ndarray, shape (n_samples,)
        They add up to one.
    log_density : ndarray, shape (n_samples,)
        Of the network, relative to the prior; NaN where it has none.
    """

    values: FloatArray
    weights: FloatArray
    log_density: FloatArray


def neural_posterior(
    task: Any,
    condition: Condition,
    family: Family,
    table: Table,
    budget: Budget,
    seed: np.random.SeedSequence,
    rules: Mapping[str, Rule],
    progress: Progress = silent,
    memo: Memo | None = None,
) -> tuple[Posterior, Samples]:
    """Learn a posterior from a table of simulations, check it, and say what it tells.

    Parameters
    ----------
    task : Task
    condition : Condition
    family : Family
    table : Table
    budget : Budget
    seed : SeedSequence
    rules : mapping from str to Rule
        Rules whose place in the posterior is asked for.
    progress : callable, optional
    memo : Memo, optional
        Keeps trained networks and further simulations, so that a computation that was cut off goes on.

    Raises
    ------
    RunFailed
        If too few rules do the task.
    ExtraMissing
        If the packages that learn are not installed.
    """
    n_accepted = int(table.is_accepted.sum())
    if n_accepted < FEWEST_ACCEPTED:
        raise RunFailed(
            f"Of {table.n_rules} simulated rules {n_accepted} do {condition.n_problems} problems in a row "
            f"({condition.title}); at least {FEWEST_ACCEPTED} are needed to learn where such rules lie. "
            "Choose a "
            "smaller family with --terms or --candidate, a narrower prior with --largest, or more "
            "simulations "
            "with --rules."
        )
    answers = memo or Memo()
    progress(0.0, "training the networks")
    network, ranks = _learnt(family, table, budget, seed, part(progress, 0.0, 0.5), answers)
    progress(0.5, "weighing samples")
    pool = _candidates(
        task, condition, family, table, network, budget, seed, part(progress, 0.5, 0.75), answers
    )
    points, weights = pool.points, pool.weights
    if not weights.any():
        raise RunFailed(
            f"None of {len(points)} candidates does {budget.n_more} problems in a row. More simulations "
            "(--rules, --accepted) let the network learn more."
        )
    progress(0.75, "fresh problems")
    predictive, n_fresh_runs = _predicted(
        task, condition, family, pool, budget, seed, part(progress, 0.75, 0.9), answers
    )
    kept = points[weights > 0], weights[weights > 0]
    correlations = conditional_correlations(*kept)
    progress(0.9, "reading the samples")
    picks = np.random.default_rng(child(seed, PICKS))
    surface = surface_of(task, condition.settings, family, *kept, child(seed, PICKS, 1))
    sampler = compared_with_chain(
        task,
        condition,
        family,
        points[pool.n_rules :],
        -pool.log_network[pool.n_rules :],
        budget,
        child(seed, CHAIN),
    )
    placed: tuple[Placed, ...] = placed_rules(family, rules, lambda at: network.log_density(at, AIM), *kept)
    rows = resampled(weights, budget.n_samples, picks)
    n_last = int(table.stage.max())
    result = Posterior(
        task=task.name,
        method="neural",
        family=family,
        condition=condition.title,
        tolerances=dict(condition.tolerances),
        n_problems=budget.n_more,
        n_samples=budget.n_samples,
        effective_samples=min(effective(weights), float(budget.n_samples)),
        spent=Spent(
            table.n_rules,
            table.n_runs,
            n_accepted,
            float(table.of(table.stage == 0).is_accepted.mean()),
            float(table.of(table.stage == n_last).is_accepted.mean()) if n_last else float("nan"),
            pool.n_runs + n_fresh_runs,
        ),
        calibration=calibration_of(family, ranks),
        predictive=predictive,
        marginals=marginals_of(family, family.values(kept[0]), kept[1]),
        directions=directions_of(family, *kept),
        correlations=correlations,
        compensations=compensations_of(family, correlations),
        placed=placed,
        surface=surface,
        sampler=sampler,
        notes=(_origin(pool),),
    )
    progress(1.0, f"{budget.n_samples} samples")
    drawn = Samples(
        family.values(points[rows]),
        np.full(len(rows), 1.0 / len(rows)),
        pool.log_network[rows],
    )
    return result, drawn


@dataclass(frozen=True, eq=False)
class _Pool:
    """Candidates and their weights: first accepted rules of the table, then samples of the network.

    Attributes
    ----------
    points : ndarray, shape (n, n_parameters)
    weights : ndarray, shape (n,)
    log_network : ndarray, shape (n,)
        Log density of the network, relative to the prior.
    n_rules : int
        Candidates that are of the table.
    unweighed_share : float
        Share of the network's samples that do a problem.
    n_runs : int
        Inner loops on further problems.
    """

    points: FloatArray
    weights: FloatArray
    log_network: FloatArray
    n_rules: int
    unweighed_share: float
    n_runs: int


def _candidates(
    task: Any,
    condition: Condition,
    family: Family,
    table: Table,
    network: NeuralPosterior,
    budget: Budget,
    seed: np.random.SeedSequence,
    progress: Progress,
    memo: Memo,
) -> _Pool:
    """Run accepted rules and samples of the network on further problems, and weigh those that do them."""
    accepted = np.flatnonzero(table.is_accepted)
    n_rules, n_left = min(len(accepted), budget.n_weighed), budget.n_more - condition.n_problems
    rows = np.random.default_rng(child(seed, MASS, 1)).choice(accepted, n_rules, replace=False)
    points = np.concatenate([family.standard(table.values[rows]), network.sample(budget.n_weighed, AIM)])
    log_network = network.log_ratio(points, AIM)
    expected = expected_numbers(rounds_of(family, table, seed), points) * n_rules / len(accepted)
    middle = n_rules / len(points)
    found = []
    for stream, some, n_problems, within in (
        (MORE, points[:n_rules], n_left, part(progress, 0.0, middle)),
        (WEIGHING, points[n_rules:], budget.n_more, part(progress, middle, 1.0)),
    ):
        longer = Condition(condition.settings, condition.tolerances, n_problems, condition.title)
        found.append(tried(task, longer, family, some, child(seed, stream), within, memo))
    further, own = found
    is_good = np.concatenate([further == n_left, own == budget.n_more])
    log_mixture = np.logaddexp(np.log(expected), np.log(max(budget.n_weighed, 1)) + log_network)
    return _Pool(
        points,
        importance(np.where(is_good, 0.0, -np.inf), log_mixture),
        log_network,
        n_rules,
        float(np.mean(own >= 1)),
        int(np.minimum(further + 1, n_left).sum() + np.minimum(own + 1, budget.n_more).sum()),
    )


def _origin(pool: _Pool) -> str:
    n_good = int(np.count_nonzero(pool.weights))
    return (
        f"Samples are drawn from {n_good} rules. Candidates were {pool.n_rules} accepted rules of the "
        f"simulations and {len(pool.points) - pool.n_rules} samples of the network; "
        f"{pool.weights[pool.n_rules :].sum():.0%} of the weight is with the network's."
    )


def tried(
    task: Any,
    condition: Condition,
    family: Family,
    points: FloatArray,
    seed: np.random.SeedSequence,
    progress: Progress = silent,
    memo: Memo | None = None,
) -> NDArray[np.int64]:
    """Return in how many problems in a row each of some rules does the task, shape (n_rules,)."""
    values, kept = family.values(points), memo or Memo()
    passed = np.zeros(len(values), dtype=np.int64)
    words = [int(word) for word in seed.generate_state(4)]

    def several(first: int) -> dict[str, NDArray[np.int64]]:
        starts = range(first, min(first + AT_A_TIME * BATCH, len(values)), BATCH)
        batches = [(start // BATCH, values[start : start + BATCH]) for start in starts]

        def arrived(number: int, found: NDArray[np.int64], loss: FloatArray) -> None:
            passed[number * BATCH : number * BATCH + len(found)] = found

        run_batches(task, condition, family, batches, seed, arrived)
        return {"passed": passed[first : first + AT_A_TIME * BATCH]}

    for first in range(0, len(values), AT_A_TIME * BATCH):
        some = slice(first, first + AT_A_TIME * BATCH)
        question = (family.to_json(), values[some], first, words, condition.n_problems)
        passed[some] = kept.recall("further problems", question, partial(several, first))["passed"]
        n_done = min(first + AT_A_TIME * BATCH, len(values))
        progress(n_done / len(values), f"{n_done} of {len(values)} samples on further problems")
    return passed


def _learnt(
    family: Family,
    table: Table,
    budget: Budget,
    seed: np.random.SeedSequence,
    progress: Progress,
    memo: Memo,
) -> tuple[NeuralPosterior, Ranks]:
    """Train networks on all rules that did a problem but a part, for each part; rank its accepted ones."""
    useful = table.of(table.passed >= 1)
    points, measures = family.standard(useful.values), (useful.passed / useful.n_problems)[:, None]
    part_of = np.random.default_rng(child(seed, TESTS)).permutation(useful.n_rules) % N_PARTS
    ensembles = []
    for number in range(N_PARTS):
        within = part(progress, number / N_PARTS, (number + 1) / N_PARTS)

        def told(member: int) -> None:
            n_trained = number * budget.n_members + member + 1  # noqa: B023
            within(  # noqa: B023
                (member + 1) / budget.n_members,
                f"network {n_trained} of {N_PARTS * budget.n_members} trained",
            )

        rest, own = part_of != number, child(seed, NETWORK, number)
        ensembles.append(trained(points[rest], measures[rest], budget.n_members, own, told, memo))
    progress(1.0, "ranking accepted rules in the networks that were trained without them")
    accepted = useful.is_accepted
    ranks = ranks_of(ensembles, part_of[accepted], points[accepted], AIM, N_POOL, child(seed, TESTS, 1))
    return joined(ensembles), ranks


def calibration_of(family: Family, ranks: Ranks) -> Calibration:
    """Return what ranks of left-out rules say of the network."""
    n_tests = len(ranks.ranks)
    coverage = tuple(
        Coverage(nominal, found, n_tests)
        for nominal, found in coverage_of(ranks.density_ranks, ranks.n_samples)
    )
    lowest = min(1.0, min(ranks.p_values) * family.n_parameters)
    worst = max(ranks.c2st_ranks)
    return Calibration(
        n_tests,
        dict(zip(family.names, ranks.p_values, strict=True)),
        lowest,
        worst,
        max(ranks.c2st_prior),
        lowest >= ALPHA and worst <= TOLD_APART,
        coverage,
        max(abs(one.found - one.nominal) for one in coverage),
    )


def _predicted(
    task: Any,
    condition: Condition,
    family: Family,
    pool: _Pool,
    budget: Budget,
    seed: np.random.SeedSequence,
    progress: Progress,
    memo: Memo,
) -> tuple[Predictive, int]:
    """Run samples on problems that no other part of the computation has seen."""
    rows = resampled(pool.weights, budget.n_fresh, np.random.default_rng(child(seed, FRESH)))
    n_good = 0
    for number in range(budget.n_fresh_problems):
        alone = Condition(condition.settings, condition.tolerances, 1, condition.title)
        within = part(progress, number / budget.n_fresh_problems, (number + 1) / budget.n_fresh_problems)
        n_good += int(
            tried(task, alone, family, pool.points[rows], child(seed, FRESH, number), within, memo).sum()
        )
    n_runs = budget.n_fresh * budget.n_fresh_problems
    share = n_good / n_runs
    low, high = share_interval(round(share * budget.n_fresh), budget.n_fresh)
    return (
        Predictive(budget.n_fresh, budget.n_fresh_problems, share, low, high, pool.unweighed_share),
        n_runs,
    )
