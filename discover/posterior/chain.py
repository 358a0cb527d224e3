"""Hamiltonian sampling by exact gradients: a second way to the same posterior, for few constants.

Both ways sample the prior times ``exp(-loss/temperature)`` of rules whose measures lie within the tolerances
on some fixed problems. The samples of the network get there by weights. The chain moves in coordinates in
which good rules have unit spread in all directions, or it would creep along narrow ridges.

References
----------
Neal (2011), "MCMC using Hamiltonian dynamics", in Handbook of Markov Chain Monte Carlo, chapter 5.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from discover.posterior.forms import Sampler
from discover.posterior.prior import Family
from discover.posterior.rounds import Budget
from discover.posterior.simulations import Condition
from discover.posterior.weighing import effective, importance, weighted_distance
from discover.tasks.base import bases, n_coefficients

__all__ = ["MOST_PARAMETERS", "compared_with_chain", "effective_chain", "hamiltonian"]

FloatArray = NDArray[np.float64]
Potential = Callable[[FloatArray], tuple[float, FloatArray]]

MOST_PARAMETERS = 4
N_PROBLEMS = 8
N_STEPS, N_BURN, N_LEAPS = 1200, 200, 3
STEP = 0.4
TARGETED = 0.5
"""Share of proposals that are taken, to which the step is adapted while the first ones are thrown away."""


def hamiltonian(
    potential: Potential,
    start: FloatArray,
    n_steps: int,
    n_burn: int,
    rng: np.random.Generator,
    step: float = 0.02,
    n_leaps: int = N_LEAPS,
) -> tuple[FloatArray, float]:
    """Sample ``exp(-potential)``.

    Parameters
    ----------
    potential : callable
        Returns the potential of a point and its gradient; infinite outside of the support.
    start : ndarray, shape (n_parameters,)
    n_steps, n_burn : int
        Samples that are kept, and that come before them.
    rng : numpy.random.Generator
    step : float
        First size of a leap.
    n_leaps : int

    Returns
    -------
    points : ndarray, shape (n_steps, n_parameters)
    accepted : float
        Share of proposals that were taken.

    Examples
    --------
    >>> points, _ = hamiltonian(
    ...     lambda x: (0.5 * float(x @ x), x), np.zeros(1), 2000, 100, np.random.default_rng(0), 0.5
    ... )
    >>> bool(abs(points.std() - 1) < 0.1)
    True
    """
    at = start.copy()
    energy, slope = potential(at)
    points = np.empty((n_steps, len(start)))
    taken = 0
    for number in range(-n_burn, n_steps):
        momentum = rng.normal(size=len(at))
        before = energy + 0.5 * float(momentum @ momentum)
        new, new_slope, new_energy = at.copy(), slope, energy
        length = step * rng.uniform(0.8, 1.2)
        for _ in range(n_leaps):
            momentum = momentum - 0.5 * length * new_slope
            new = new + length * momentum
            new_energy, new_slope = potential(new)
            if not np.isfinite(new_energy):
                break
            momentum = momentum - 0.5 * length * new_slope
        after = new_energy + 0.5 * float(momentum @ momentum)
        is_taken = bool(np.isfinite(after) and rng.uniform() < np.exp(min(0.0, before - after)))
        if is_taken:
            at, slope, energy = new, new_slope, new_energy
        if number < 0:
            step *= np.exp(0.1 * (is_taken - TARGETED))
        else:
            taken += is_taken
            points[number] = at
    return points, taken / max(n_steps, 1)


def effective_chain(points: FloatArray) -> float:
    """Return the effective number of samples of a chain: the smallest over parameters, by autocorrelations.

    References
    ----------
    Geyer (1992), Stat. Sci. 7:473, for where the sum ends.
    """
    n = len(points)
    least = float(n)
    for column in (points - points.mean(axis=0)).T:
        power = np.fft.rfft(column, 2 * n)
        covariance = np.fft.irfft(power * np.conj(power))[:n] / np.arange(n, 0, -1)
        if covariance[0] <= 0:
            continue
        pairs = (covariance[0 : n - 1 : 2] + covariance[1:n:2]) / covariance[0]
        below = np.flatnonzero(pairs < 0)
        time = 2.0 * float(pairs[: below[0] if below.size else len(pairs)].sum()) - 1.0
        least = min(least, n / max(time, 1.0))
    return least


def compared_with_chain(
    task: Any,
    condition: Condition,
    family: Family,
    points: FloatArray,
    log_weights: FloatArray,
    budget: Budget,
    seed: np.random.SeedSequence,
) -> Sampler | None:
    """Sample with exact gradients and compare; None for tasks without gradients, and for many parameters.

    Parameters
    ----------
    task : Task
    condition : Condition
    family : Family
    points : ndarray, shape (n, n_parameters)
        Samples of the network in standard coordinates.
    log_weights : ndarray, shape (n,)
        Log of the prior over the network's density.
    budget : Budget
    seed : SeedSequence
    """
    if not task.has_gradient or family.n_parameters > MOST_PARAMETERS:
        return None
    if any(one.scale == "log" for one in family.parameters):
        return None
    draw_seed, chain_seed = seed.spawn(2)
    problems = task.draw(condition.settings, N_PROBLEMS, draw_seed)
    losses, good = _judged(task, condition, family, points, problems)
    if good.sum() < budget.n_weighed // 20:
        return None
    temperature = float(np.median(losses[good]) - losses[good].min()) or 0.01
    potential = _potential(task, condition, family, problems, temperature)
    middle, root = (
        points[good].mean(axis=0),
        np.linalg.cholesky(np.cov(points[good].T).reshape(2 * (family.n_parameters,))),
    )

    def whitened(at: FloatArray) -> tuple[float, FloatArray]:
        energy, slope = potential(middle + root @ at)
        return energy, root.T @ slope

    start = np.linalg.solve(root, points[good][np.argmin(losses[good])] - middle)
    moved, accepted = hamiltonian(whitened, start, N_STEPS, N_BURN, np.random.default_rng(chain_seed), STEP)
    chain = middle + moved @ root.T
    logs = np.where(good, log_weights - losses / temperature, -np.inf)
    weights = importance(logs, np.zeros(len(logs)))
    even = np.ones(len(chain))
    distances = {
        name: weighted_distance(points[:, place], chain[:, place], weights, even)
        for place, name in enumerate(family.names)
    }
    return Sampler(
        temperature, N_STEPS, N_PROBLEMS, accepted, effective_chain(chain), effective(weights), distances
    )


def _judged(
    task: Any, condition: Condition, family: Family, points: FloatArray, problems: Any
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Return mean losses, and whether all mean measures lie within the tolerances."""
    found = task.evaluate_rules([family.rule(row) for row in family.values(points)], problems)
    losses = np.array([row["loss"].mean() for row in found])
    good = [
        all(low <= row[name].mean() <= high for name, (low, high) in condition.tolerances.items())
        for row in found
    ]
    return losses, np.array(good)


def _potential(
    task: Any, condition: Condition, family: Family, problems: Any, temperature: float
) -> Potential:
    ranges = np.array([one.high - one.low for one in family.parameters])

    def potential(point: FloatArray) -> tuple[float, FloatArray]:
        values = family.values(point[None])[0]
        _, good = _judged(task, condition, family, point[None], problems)
        if not good[0]:
            return float("inf"), np.zeros_like(point)
        mean, slope = _mean_gradient(task, family, values, problems)
        # The derivative of a parameter by its standard coordinate.
        by_point = slope * ranges * np.exp(-0.5 * point**2) / np.sqrt(2 * np.pi)
        return 0.5 * float(point @ point) + mean / temperature, point + by_point / temperature

    return potential


def _mean_gradient(task: Any, family: Family, values: FloatArray, problems: Any) -> tuple[float, FloatArray]:
    if family.pattern is not None:
        rule = family.rule(values)
        found = task.gradient(rule, problems)
        return float(found.losses.mean()), found.gradients.mean(axis=0)[rule.is_free]
    places = {
        (basis.slot.name, name): number
        for number, (basis, name) in enumerate((basis, name) for basis in bases(task) for name in basis.names)
    }
    rows = [places[one.slot, one.term] for one in family.parameters]
    coefficients = np.zeros(n_coefficients(task))
    coefficients[rows] = values
    found = task.gradient(coefficients, problems)
    return float(found.losses.mean()), found.gradients.mean(axis=0)[rows]
