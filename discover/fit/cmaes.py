"""CMA-ES: needs no gradient, as published for this method.

References
----------
Hansen (2016), The CMA evolution strategy: a tutorial, arXiv:1604.00772; Confavreux et al. (NeurIPS 2020),
section 3, with a population of 50 and an initial step of 0.1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from discover.fit.objective import Objective
from discover.progress import Progress

__all__ = ["CMAES"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class CMAES:
    """Minimises by sampling; one of `n_steps` is one generation.

    Parameters
    ----------
    population : int
    sigma : float
        First step size, in scaled coordinates.
    """

    population: int = 50
    sigma: float = 0.1

    def minimise(
        self,
        objective: Objective,
        start: FloatArray,
        penalty: FloatArray,
        n_steps: int,
        rng: np.random.Generator,
        progress: Progress,
    ) -> FloatArray:
        """Return scaled coefficients; those with an infinite penalty stay at zero."""
        import cma

        free = np.isfinite(penalty)
        if not free.any():
            return np.zeros_like(start)
        weights = penalty[free]

        def whole(part: FloatArray) -> FloatArray:
            point = np.zeros_like(start)
            point[free] = part
            return point

        def value(part: FloatArray) -> float:
            return float(objective.losses(whole(part)).mean() + weights @ np.abs(part))

        # pycma's own seed would set NumPy's global generator: it gets random numbers handed in instead.
        options = {
            "popsize": self.population,
            "maxiter": n_steps,
            "seed": np.nan,
            "randn": lambda *shape: rng.standard_normal(shape),
            "verbose": -9,
        }
        spread = min(self.sigma, max(np.abs(start[free]).max(), 0.02))
        strategy = cma.CMAEvolutionStrategy(start[free], spread, options)
        generation = 0
        while not strategy.stop():
            points = strategy.ask()
            values = [value(np.asarray(point)) for point in points]
            strategy.tell(points, values)
            generation += 1
            progress(min(1.0, generation / n_steps), f"meta-loss {min(values):.3f}")
        return whole(np.asarray(strategy.result.xbest))
