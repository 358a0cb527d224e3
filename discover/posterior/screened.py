"""The posterior of stable quartets of rules, from the table of a screen: simulated anew are samples alone.

The prior is that of the screen. The probability that a quartet is stable is learnt by logistic regression
with a strong penalty, the form that a few dozen stable quartets among hundreds can teach; samples of the
prior are kept with this probability. With independent spike trains a synapse drifts by ``alpha`` and ``beta``
times the rates and by ``gamma*tau_pre`` and ``kappa*tau_post`` times their product. The regression sees these
four of each projection, with their squares and products, in the place of six parameters. How much that gains
is measured on quartets that were left out of the learning, and on samples that are simulated anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from discover.errors import ConfigError
from discover.outcome import share_interval
from discover.posterior.forms import Posterior, Predictive, Spent
from discover.posterior.prior import Family, Parameter
from discover.posterior.reading import (
    compensations_of,
    conditional_correlations,
    directions_of,
    marginals_of,
)
from discover.posterior.rounds import Budget
from discover.posterior.study import Samples
from discover.progress import Progress, silent
from discover.screen import PARAMETERS, PRIOR
from sims.memory import PROJECTIONS

__all__ = ["FEWEST_STABLE", "drifts", "left_out_chances", "screen_family", "screen_posterior", "with_fresh"]

FloatArray = NDArray[np.float64]

FEWEST_STABLE = 20
"""With fewer stable quartets, or fewer unstable ones, nothing can be learnt of them."""

N_FOLDS = 5
STRENGTHS = (0.01, 0.03, 0.1)
"""Inverse strengths of the ridge penalty, for features of unit spread; the left-out log odds decide."""

N_OWN = 4 * len(PROJECTIONS)
"""Features before squares and products."""

N_DRAWS = 20_000


def screen_family() -> Family:
    """Return the parameters of a quartet and the ranges of the screen.

    Examples
    --------
    >>> screen_family().names[:3]
    ('EE: tau_pre', 'EE: tau_post', 'EE: alpha')
    """
    found = []
    for name in PARAMETERS:
        projection, _, what = name.partition("_")
        low, high = PRIOR[what]
        found.append(Parameter(projection, what, low, high))
    return Family(tuple(found))


def drifts(shares: FloatArray) -> FloatArray:
    """Return what moves the weights of a quartet under independent spike trains.

    Parameters
    ----------
    shares : ndarray, shape (n_rules, 24)
        Parameters as shares of their ranges, 0 to 1.

    Returns
    -------
    ndarray, shape (n_rules, 16)
        ``alpha``, ``beta``, ``gamma*tau_pre`` and ``kappa*tau_post`` of each projection.

    Examples
    --------
    >>> quartet = np.full((1, 24), 0.5)
    >>> quartet[0, 4] = 1.0
    >>> drifts(quartet)[0, :4].tolist()  # gamma is 2, and tau_pre 55 ms
    [0.0, 0.0, 110.0, 0.0]
    """
    low, high = np.array(list(PRIOR.values())).T
    values = low + (high - low) * shares.reshape(-1, len(PROJECTIONS), len(PRIOR))
    tau_pre, tau_post, alpha, beta, gamma, kappa = np.moveaxis(values, -1, 0)
    found: FloatArray = np.stack([alpha, beta, gamma * tau_pre, kappa * tau_post], axis=-1)
    return found.reshape(len(shares), N_OWN)


def left_out_chances(points: FloatArray, is_stable: NDArray[np.bool_], seed: int) -> FloatArray:
    """Return the chance of each quartet to be stable, learnt without it and a fifth of the others.

    Parameters
    ----------
    points : ndarray, shape (n_rules, n_parameters)
    is_stable : ndarray of bool, shape (n_rules,)
    seed : int
    """
    from sklearn.model_selection import StratifiedKFold

    found = np.empty(len(points))
    for rest, left in StratifiedKFold(N_FOLDS, shuffle=True, random_state=seed).split(points, is_stable):
        found[left] = _classifier(points[rest], is_stable[rest]).predict_proba(points[left])[:, 1]
    return found


def screen_posterior(
    rows: Sequence[Mapping[str, Any]],
    budget: Budget,
    seed: np.random.SeedSequence,
    progress: Progress = silent,
) -> tuple[Posterior, Samples]:
    """Return which quartets are stable, from the table of a screen.

    Parameters
    ----------
    rows : sequence of mapping
        See :func:`pipelines.screen.read_table`.
    budget : Budget
        Its number of samples.
    seed : SeedSequence
    progress : callable, optional

    Raises
    ------
    ConfigError
        If the table has too few stable or unstable quartets.
    """
    family = screen_family()
    values = np.array([[row[name] for name in PARAMETERS] for row in rows], dtype=np.float64)
    is_stable = np.array([row["class"] != "unstable" for row in rows], dtype=np.bool_)
    n_stable, n_rules = int(is_stable.sum()), len(rows)
    if min(n_stable, n_rules - n_stable) < FEWEST_STABLE:
        raise ConfigError(
            f"The table of the screen has {n_stable} stable quartets of {n_rules}; at least "
            f"{FEWEST_STABLE} stable and as many unstable ones are needed. Screen more: `discover screen "
            "memory --rules N` goes on."
        )
    shares = family.scaled(values)
    chances = left_out_chances(shares, is_stable, int(seed.generate_state(1)[0]))
    progress(0.5, "learnt which quartets are stable")
    classifier = _classifier(shares, is_stable)
    rng = np.random.default_rng(seed)
    drawn = np.empty((0, family.n_parameters))
    while len(drawn) < budget.n_samples:
        candidates = rng.uniform(size=(N_DRAWS, family.n_parameters))
        kept = rng.uniform(size=N_DRAWS) < classifier.predict_proba(candidates)[:, 1]
        drawn = np.concatenate([drawn, candidates[kept]])
    low, high = np.array(list(PRIOR.values()) * 4).T
    sampled = low + (high - low) * drawn[: budget.n_samples]
    points, even = family.standard(sampled), np.full(budget.n_samples, 1.0 / budget.n_samples)
    correlations = conditional_correlations(points, even)
    expected = float((chances * is_stable).sum() / chances.sum())
    n_top = max(1, n_rules // 10)
    top = float(is_stable[np.argsort(-chances)[:n_top]].mean())
    result = Posterior(
        task="memory",
        method="screen",
        family=family,
        condition="stable in the protocol of the screen",
        tolerances={},
        n_problems=1,
        n_samples=budget.n_samples,
        effective_samples=float(budget.n_samples),
        spent=Spent(n_rules, n_rules, n_stable, n_stable / n_rules, expected),
        marginals=marginals_of(family, sampled, even),
        directions=directions_of(family, points, even),
        correlations=correlations,
        compensations=compensations_of(family, correlations),
        notes=(
            f"Of the tenth of left-out quartets with the highest chances {top:.0%} are stable.",
            _narrowed(classifier),
        ),
    )
    logs = np.log(classifier.predict_proba(drawn[: budget.n_samples])[:, 1])
    return result, Samples(sampled, even, logs)


def with_fresh(posterior: Posterior, n_stable: int, n_fresh: int) -> Posterior:
    """Return a posterior that says how many of its samples were stable when they were simulated anew."""
    low, high = share_interval(n_stable, n_fresh)
    found = Predictive(n_fresh, 1, n_stable / n_fresh, low, high, posterior.spent.prior_share)
    return replace(posterior, predictive=found, spent=replace(posterior.spent, n_checked_runs=n_fresh))


def _classifier(points: FloatArray, is_stable: NDArray[np.bool_]) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedKFold
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import FunctionTransformer, PolynomialFeatures, StandardScaler

    steps = [
        ("drifts", FunctionTransformer(drifts)),
        ("scaled", StandardScaler()),
        ("products", PolynomialFeatures(2, include_bias=False)),
        ("scaled again", StandardScaler()),
        ("regression", LogisticRegression(max_iter=2000)),
    ]
    folds = StratifiedKFold(N_FOLDS, shuffle=True, random_state=0)
    search = GridSearchCV(Pipeline(steps), {"regression__C": STRENGTHS}, scoring="neg_log_loss", cv=folds)
    return search.fit(points, is_stable).best_estimator_


def _narrowed(classifier: Any) -> str:
    """Say in words which projections decide: squared slopes of the log odds, of products half to each."""
    powers = classifier[2].powers_.reshape(-1, len(PROJECTIONS), N_OWN // len(PROJECTIONS)).sum(axis=2)
    squares = classifier[-1].coef_[0] ** 2
    shares = (squares[:, None] * powers / powers.sum(axis=1, keepdims=True)).sum(axis=0) / squares.sum()
    ordered = sorted(zip(PROJECTIONS, shares.tolist(), strict=True), key=lambda one: -one[1])
    return (
        "What decides, as shares of the squared slopes of the log odds: "
        + ", ".join(f"{name} {share:.0%}" for name, share in ordered)
        + "."
    )
