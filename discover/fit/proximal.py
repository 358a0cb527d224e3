"""Proximal Adam: exact meta-gradients, with a soft threshold after each step.

References
----------
Kingma & Ba (2015), ICLR, algorithm 1; Parikh & Boyd (2014), Proximal algorithms, section 6.5.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from discover.fit.objective import Objective, Slope
from discover.progress import Progress

__all__ = ["ProximalAdam"]

FloatArray = NDArray[np.float64]

FIRST_HORIZON = 20

UNSAFE = 0.3
"""Share of problems that blow up from which on a step is taken back."""

RETREAT = 0.7
"""A rule that is gone back to is made so much smaller."""

BRAKE = 0.8
"""Later steps are so much smaller after each retreat."""


class Steps(Protocol):
    """What proximal Adam needs of an objective."""

    @property
    def problems(self) -> Any:
        """Problems to draw batches from."""
        ...

    def step(self, scaled: FloatArray, picks: NDArray[np.int64], n_steps: int | None = None) -> Slope:
        """Loss and gradient over some problems, for an inner loop of so many updates."""
        ...


@dataclass(frozen=True)
class ProximalAdam:
    """Minimises meta-loss plus a weighted L1 norm.

    Parameters
    ----------
    step_size : float
        First step, in scaled coordinates; it falls to zero by a cosine.
    batch : int
        Problems a step looks at.
    growth : float
        Share of the steps over which the horizon grows from 20 updates to the whole inner loop; 0 for none.
    exact : bool
        Whether gradients come from reverse mode; otherwise from forward differences, which cost one
        simulation for each free coefficient.
    groups : ndarray of int, shape (n_coefficients,), optional
        Coefficients that enter or leave a rule together: the penalty is on the root-mean-square of each
        group, and its members take steps of one size. Without it each is a group of its own.

    References
    ----------
    Yuan & Lin (2006), J. R. Statist. Soc. B 68:49.
    """

    step_size: float = 0.02
    batch: int = 16
    growth: float = 0.0
    exact: bool = True
    groups: NDArray[np.int64] | None = None
    beta1: float = 0.9
    beta2: float = 0.99
    epsilon: float = 1e-10

    def minimise(
        self,
        objective: Steps,
        start: FloatArray,
        penalty: FloatArray,
        n_steps: int,
        rng: np.random.Generator,
        progress: Progress,
    ) -> FloatArray:
        """Return scaled coefficients; those with an infinite penalty stay at zero."""
        free = np.isfinite(penalty)
        point = np.where(free, start, 0.0)
        first = np.zeros_like(point)
        second = np.zeros_like(point)
        horizon = objective.problems.n_steps
        n_problems = objective.problems.n_problems
        batch = min(self.batch, n_problems)
        queue = np.empty(0, dtype=np.int64)
        safe, brake, age = point, 1.0, 0
        for t in range(n_steps):
            if len(queue) < batch:
                queue = rng.permutation(n_problems)
            picks, queue = np.sort(queue[:batch]), queue[batch:]
            grown = 1.0 if self.growth == 0 else min(1.0, t / (self.growth * n_steps))
            reach = round(min(FIRST_HORIZON, horizon) * (1 - grown) + horizon * grown)
            if self.exact:
                slope = objective.step(point, picks, reach)
            else:
                slope = cast("Objective", objective).difference_step(point, picks, reach, free)
            if slope.blown > UNSAFE:
                # Problems that blow up have no gradient to come back by: go back, and on with smaller steps.
                safe = point = RETREAT * safe
                first, second, age, brake = np.zeros_like(point), np.zeros_like(point), 0, BRAKE * brake
                continue
            safe, age = point, age + 1
            first = self.beta1 * first + (1 - self.beta1) * slope.gradient
            second = self.beta2 * second + (1 - self.beta2) * self._shared(slope.gradient**2)
            rate = brake * self.step_size * 0.5 * (1 + np.cos(np.pi * t / n_steps))
            scale = np.sqrt(second / (1 - self.beta2**age)) + self.epsilon
            point = point - rate * first / (1 - self.beta1**age) / scale
            # The step of coordinate n is rate / scale[n], and so is its share of the penalty.
            threshold = np.where(free, rate * penalty / scale, np.inf)
            point = self._shrunk(point, threshold)
            if t % 10 == 0:
                progress((t + 1) / n_steps, f"meta-loss {slope.loss:.3f}")
        return point

    def _shared(self, squares: FloatArray) -> FloatArray:
        """Mean of each coordinate's group."""
        if self.groups is None:
            return squares
        means: FloatArray = np.bincount(self.groups, squares) / np.bincount(self.groups)
        return means[self.groups]

    def _shrunk(self, point: FloatArray, threshold: FloatArray) -> FloatArray:
        """Move each group towards zero by the threshold, and to zero if it is nearer."""
        if self.groups is None:
            shrunk: FloatArray = np.sign(point) * np.maximum(np.abs(point) - threshold, 0.0)
            return shrunk
        sizes = np.sqrt(self._shared(point**2))
        kept: FloatArray = point * np.maximum(1 - threshold / np.maximum(sizes, 1e-300), 0.0)
        return kept
