"""What every optimiser of the outer loop offers, and which there are."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from discover.fit.settings import FitSettings
from discover.progress import Progress

__all__ = ["Minimiser", "minimiser"]

FloatArray = NDArray[np.float64]


class Minimiser(Protocol):
    """Minimises the meta-loss plus a weighted norm of each block."""

    def minimise(
        self,
        objective: Any,
        start: FloatArray,
        penalty: FloatArray,
        n_steps: int,
        rng: np.random.Generator,
        progress: Progress,
    ) -> FloatArray:
        """Return scaled coefficients, shape (n_coefficients,).

        Parameters
        ----------
        objective : Blocks
        start : ndarray, shape (n_coefficients,)
            Scaled coefficients to begin with.
        penalty : ndarray, shape (n_coefficients,)
            Weight of each absolute value; a coefficient with an infinite one stays at zero.
        n_steps : int
        rng : numpy.random.Generator
        progress : callable
        """
        ...


def minimiser(settings: FitSettings, step_size: float, growth: float = 0.0) -> Minimiser:
    """Return the optimiser that the settings name.

    `step_size` is in units of relative effect; `growth` is the share of steps over which the horizon of the
    inner loop grows to its full length. CMA-ES adapts its own steps and always runs the whole inner loop.
    """
    from discover.fit.cmaes import CMAES
    from discover.fit.proximal import ProximalAdam

    if settings.optimiser == "cmaes":
        return CMAES(settings.population, settings.sigma, settings.first_share)
    return ProximalAdam(
        step_size=step_size,
        batch=settings.batch,
        growth=growth,
        exact=settings.optimiser == "proximal",
    )
