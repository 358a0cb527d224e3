"""Samples of a balanced neuron's posterior, and the surface on which one line of algebra puts them.

See :mod:`discover.manifold`, whose equations and simulations are used.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from discover.posterior.forms import Surface
from discover.posterior.prior import Family
from discover.posterior.weighing import QUANTILES, resampled

__all__ = ["surface_of"]

FloatArray = NDArray[np.float64]

N_RULES, N_PROBLEMS = 40, 4
WITHIN = 0.2


def surface_of(
    task: Any,
    settings: Any,
    family: Family,
    points: FloatArray,
    weights: FloatArray,
    seed: np.random.SeedSequence,
) -> Surface | None:
    """Simulate some of the samples and set the mean field beside them; None for other tasks and families.

    Parameters
    ----------
    task : Task
    settings : dataclass
    family : Family
    points, weights : ndarray, shape (n, n_parameters) and (n,)
        Samples in standard coordinates.
    seed : SeedSequence
    """
    from discover.manifold import judged
    from discover.predict import linear_parameters
    from discover.tasks._balance import BalanceTask

    plain = getattr(task, "plain", task)
    if not isinstance(plain, BalanceTask):
        return None
    rows = resampled(weights, N_RULES, np.random.default_rng(seed))
    found = [linear_parameters(family.rule(row)) for row in family.values(points[rows])]
    rules = [one for one in found if one is not None]
    if not rules:
        return None
    solutions = judged(plain, rules, plain.draw(settings, N_PROBLEMS, seed))
    known = [one for one in solutions if np.isfinite(one.corrected_hz) and np.isfinite(one.predicted_hz)]
    if not known:
        return None
    predicted, corrected, simulated = (
        np.array([getattr(one, name) for one in known])
        for name in ("predicted_hz", "corrected_hz", "simulated_hz")
    )
    target = settings.target_hz
    at_target = np.quantile(corrected / target, QUANTILES)
    return Surface(
        len(known),
        target,
        np.quantile(predicted / simulated, QUANTILES),
        np.quantile(corrected / simulated, QUANTILES),
        float(np.mean(np.abs(corrected / simulated - 1) <= WITHIN)),
        np.quantile(predicted / target, QUANTILES),
        at_target,
        bool(at_target[0] <= 1 <= at_target[-1]),
    )
