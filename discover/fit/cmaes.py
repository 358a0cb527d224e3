"""CMA-ES: needs no gradient, as published for this method.

References
----------
Hansen (2016), The CMA evolution strategy: a tutorial, arXiv:1604.00772; Confavreux et al. (NeurIPS 2020),
section 3, with a population of 50 and an initial step of 0.1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from discover.fit.path import Blocks
from discover.progress import Progress, silent

__all__ = ["CMAES", "evolve"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class CMAES:
    """Minimises by sampling; one of `n_steps` is one generation.

    Parameters
    ----------
    population : int
    sigma : float
        First step size, in scaled coordinates.
    first_share : float
        See :attr:`discover.fit.settings.FitSettings.first_share`.
    """

    population: int = 50
    sigma: float = 0.1
    first_share: float = 1.0

    def minimise(
        self,
        objective: Blocks[Any],
        start: FloatArray,
        penalty: FloatArray,
        n_steps: int,
        rng: np.random.Generator,
        progress: Progress,
    ) -> FloatArray:
        """Return scaled coefficients; those with an infinite penalty stay at zero."""
        free = np.isfinite(penalty)
        if not free.any():
            return np.zeros_like(start)
        in_block = objective.blocks >= 0
        weights = np.zeros(objective.blocks.max() + 1)
        weights[objective.blocks[in_block]] = np.where(free, penalty, 0.0)[in_block]
        plain = np.where(free, objective.straightened(start), 0.0)

        def whole(some: FloatArray) -> FloatArray:
            point = np.zeros_like(plain)
            point[free] = some
            return objective.bent(point)

        def values_of(parts: list[FloatArray]) -> list[float]:
            points = [whole(some) for some in parts]
            values = objective.values(points, self.first_share)
            return [
                float(value + weights @ objective.norms(point))
                for value, point in zip(values, points, strict=True)
            ]

        width = min(self.sigma, max(float(np.abs(plain[free]).max()), 0.02))
        best, _ = evolve(values_of, plain[free], width, self.population, n_steps, rng, progress)
        return whole(best)


def evolve(
    values_of: Callable[[list[FloatArray]], list[float]],
    start: FloatArray,
    spread: float,
    population: int,
    n_generations: int,
    rng: np.random.Generator,
    progress: Progress = silent,
) -> tuple[FloatArray, float]:
    """Minimise a function by CMA-ES; return the best point that was looked at, and its value.

    Parameters
    ----------
    values_of : callable
        Takes the points of a generation, each of shape (n,); returns a value for each.
    start : ndarray, shape (n,)
    spread : float
        First step size.
    population, n_generations : int
    rng : numpy.random.Generator
    progress : callable, optional
    """
    import cma

    if len(start) == 1:
        # pycma does not search along a line: a second coordinate that means nothing goes along.
        best, value = evolve(
            lambda points: values_of([point[:1] for point in points]),
            np.append(start, 0.0),
            spread,
            population,
            n_generations,
            rng,
            progress,
        )
        return best[:1], value
    # pycma's own seed would set NumPy's global generator: it gets random numbers handed in instead.
    options = {
        "popsize": population,
        "maxiter": n_generations,
        "seed": np.nan,
        "randn": lambda *shape: rng.standard_normal(shape),
        "verbose": -9,
    }
    strategy = cma.CMAEvolutionStrategy(start, spread, options)
    generation = 0
    while not strategy.stop():
        points = strategy.ask()
        values = values_of([np.asarray(point) for point in points])
        strategy.tell(points, values)
        generation += 1
        progress(min(1.0, generation / n_generations), f"meta-loss {min(values):.3f}")
    return np.asarray(strategy.result.xbest), float(strategy.result.fbest)
