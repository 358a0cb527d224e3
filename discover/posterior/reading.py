"""What samples of a posterior say: marginals, stiff and sloppy directions, compensations, ranks of rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from discover.posterior.forms import Compensation, Direction, Marginal, Placed
from discover.posterior.prior import Family
from discover.posterior.weighing import quantiles
from discover.rule import Rule

__all__ = ["compensations_of", "conditional_correlations", "directions_of", "marginals_of", "placed_rules"]

FloatArray = NDArray[np.float64]

NOTEWORTHY = 0.3
"""Correlation at fixed values of all other parameters from which on one makes up for the other."""

FARTHEST = 6.0
SPEEDS = tuple(2.0 ** (k / 2) for k in range(-12, 13))


def marginals_of(family: Family, values: FloatArray, weights: FloatArray) -> tuple[Marginal, ...]:
    """Return range, quantiles and width of each parameter; values of shape (n, n_parameters)."""
    shares = family.scaled(values)
    found = []
    for place, one in enumerate(family.parameters):
        low, high = quantiles(shares[:, place], weights, (0.25, 0.75))
        found.append(
            Marginal(
                one.name, one.low, one.high, quantiles(values[:, place], weights), float(high - low) / 0.5
            )
        )
    return tuple(found)


def directions_of(family: Family, points: FloatArray, weights: FloatArray) -> tuple[Direction, ...]:
    """Return principal directions, the stiffest first; points of shape (n, n_parameters), standard."""
    spreads, axes = np.linalg.eigh(_covariance(_bounded(points), weights))
    found = []
    for spread, axis in zip(spreads, axes.T, strict=True):
        signed = axis * np.sign(axis[np.argmax(np.abs(axis))])
        found.append(
            Direction(float(np.sqrt(max(spread, 0.0))), dict(zip(family.names, signed.tolist(), strict=True)))
        )
    return tuple(found)


def conditional_correlations(points: FloatArray, weights: FloatArray) -> FloatArray:
    """Return the correlation of each two parameters at fixed values of all others.

    That of a normal distribution with the same covariance, from its inverse.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(4000, 2))
    >>> points = np.column_stack([x[:, 0], x[:, 1], x.sum(axis=1) + 0.5 * rng.normal(size=4000)])
    >>> conditional_correlations(points, np.ones(4000)).round(1)[0].tolist()
    [1.0, -0.8, 0.9]
    """
    covariance = _covariance(_bounded(points), weights)
    precision = np.linalg.inv(covariance + 1e-9 * np.eye(len(covariance)) * np.trace(covariance))
    sizes = np.sqrt(np.diag(precision))
    found = -precision / np.outer(sizes, sizes)
    np.fill_diagonal(found, 1.0)
    return np.clip(found, -1.0, 1.0)


def compensations_of(family: Family, correlations: FloatArray) -> tuple[Compensation, ...]:
    """Return the pairs of parameters that make up for each other, the strongest first."""
    found = [
        Compensation(family.names[i], family.names[k], float(correlations[i, k]))
        for i in range(len(correlations))
        for k in range(i)
        if abs(correlations[i, k]) >= NOTEWORTHY
    ]
    return tuple(sorted(found, key=lambda one: -abs(one.correlation)))


def placed_rules(
    family: Family,
    rules: Mapping[str, Rule],
    log_density: Callable[[FloatArray], FloatArray],
    points: FloatArray,
    weights: FloatArray,
) -> tuple[Placed, ...]:
    """Return where rules lie: the share of samples that have a lower density, at each rule's best speed.

    Parameters
    ----------
    family : Family
    rules : mapping from str to Rule
    log_density : callable
        Of points in standard coordinates (n, n_parameters).
    points, weights : ndarray, shape (n, n_parameters) and (n,)
        Samples.
    """
    of_samples = _in_prior_terms(log_density(points), points)
    found = []
    for name, rule in rules.items():
        if family.values_of(rule) is None:
            found.append(Placed(name, rule, 1.0, float("nan"), "it is not of the family"))
            continue
        forms = [rule.scaled(speed) for speed in SPEEDS]
        rows = [family.values_of(form) for form in forms]
        places = family.standard(
            np.array([row if row is not None else np.full(family.n_parameters, np.nan) for row in rows])
        )
        inside = np.isfinite(places).all(axis=1)
        if not inside.any():
            found.append(Placed(name, rule, 1.0, float("nan"), "it lies outside of the prior"))
            continue
        densities = np.full(len(forms), -np.inf)
        densities[inside] = _in_prior_terms(log_density(places[inside]), places[inside])
        best = int(np.argmax(densities))
        rank = float(weights[of_samples < densities[best]].sum() / weights.sum())
        found.append(Placed(name, forms[best], SPEEDS[best], rank))
    return tuple(found)


def _in_prior_terms(log_density: FloatArray, points: FloatArray) -> FloatArray:
    """Return the log density relative to the prior: that in coordinates in which the prior is uniform."""
    found: FloatArray = log_density + 0.5 * np.sum(points**2, axis=1)
    return found


def _bounded(points: FloatArray) -> FloatArray:
    farthest = float(-ndtri(1e-9))
    return np.clip(points, -farthest, farthest)


def _covariance(points: FloatArray, weights: FloatArray) -> FloatArray:
    return np.atleast_2d(np.cov(points.T, aweights=weights))
