"""The posterior of stable quartets of rules, from the table of a screen: nothing is simulated again.

The prior is that of the screen. The probability that a quartet is stable is learnt by logistic regression,
the form that a few dozen stable quartets among hundreds can teach in 24 dimensions; samples of the prior are
kept with this probability. How much that gains is measured on quartets that were left out of the learning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from discover.errors import ConfigError
from discover.posterior.forms import Posterior, Spent
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

__all__ = ["FEWEST_STABLE", "left_out_chances", "screen_family", "screen_posterior"]

FloatArray = NDArray[np.float64]

FEWEST_STABLE = 20
"""With fewer stable quartets, or fewer unstable ones, nothing can be learnt of them."""

N_FOLDS = 5
STRENGTH = 0.1
"""Inverse strength of the ridge penalty, for parameters of unit spread."""

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
            f"Of the tenth of left-out quartets with the highest chances {top:.0%} are stable. No sample was "
            "simulated anew.",
            _narrowed(classifier),
        ),
    )
    logs = np.log(classifier.predict_proba(drawn[: budget.n_samples])[:, 1])
    return result, Samples(sampled, even, logs)


def _classifier(points: FloatArray, is_stable: NDArray[np.bool_]) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=STRENGTH, max_iter=2000)).fit(
        points, is_stable
    )


def _narrowed(classifier: Any) -> str:
    """Say in words which projections decide, by the squared slopes of the log odds."""
    slopes = classifier[-1].coef_[0].reshape(4, -1) ** 2
    shares = slopes.sum(axis=1) / slopes.sum()
    names = [name.partition("_")[0] for name in PARAMETERS[:: len(PRIOR)]]
    ordered = sorted(zip(names, shares.tolist(), strict=True), key=lambda one: -one[1])
    return (
        "What decides, as shares of the squared slopes of the log odds: "
        + ", ".join(f"{name} {share:.0%}" for name, share in ordered)
        + "."
    )
