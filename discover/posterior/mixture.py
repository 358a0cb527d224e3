"""How densely candidates were proposed, by the rounds of simulations and by the network together.

Rules of the table that did all their problems are samples of the posterior already, drawn from restrictions
of the prior. Samples of the network are others. All are weighed by the prior over the density of the whole
mixture that they came from. No weight can become large where a round has drawn from the prior, however
little the network has learnt there: the rounds are the defensive part of the mixture.

References
----------
Veach & Guibas (1995), SIGGRAPH, for the balance heuristic; Owen & Zhou (2000), J. Am. Stat. Assoc. 95:135,
and Hesterberg (1995), Technometrics 37:185, for defensive mixtures; Cornuet, Marin, Mira & Robert (2012),
Scand. J. Stat. 39:798, for proposals that depend on earlier ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from discover.posterior.prior import Family
from discover.posterior.rounds import MASS, region_of
from discover.posterior.simulations import Table, child

__all__ = ["Round", "expected_numbers", "rounds_of"]

FloatArray = NDArray[np.float64]

N_MASS = 200_000
"""Draws of the prior that say how much of it lies within a restriction."""


@dataclass(frozen=True, eq=False)
class Round:
    """Rules that were drawn from one restriction of the prior.

    Attributes
    ----------
    n_rules : int
    is_inside : callable or None
        Takes points in standard coordinates, says which lie within the restriction; None for the whole prior.
    mass : float
        Share of the prior within the restriction.
    share : float
        Share of the rules that were drawn from the restriction; the others were drawn from the whole prior.
    """

    n_rules: int
    is_inside: Callable[[FloatArray], NDArray[np.bool_]] | None = None
    mass: float = 1.0
    share: float = 0.0

    def expected(self, points: FloatArray) -> FloatArray:
        """Return how many rules the round drew at points, relative to one draw from the prior, shape (n,).

        Examples
        --------
        >>> half = Round(10, lambda points: points[:, 0] > 0, 0.5, 1.0)
        >>> half.expected(np.array([[1.0], [-1.0]])).tolist()
        [20.0, 0.0]
        """
        found = np.full(len(points), (1.0 - self.share) * self.n_rules)
        if self.is_inside is not None:
            found += self.share * self.n_rules / self.mass * self.is_inside(points)
        return found


def rounds_of(family: Family, table: Table, seed: np.random.SeedSequence) -> tuple[Round, ...]:
    """Return where the rules of a table were drawn; restrictions are learnt again from the same rules.

    Parameters
    ----------
    family : Family
    table : Table
    seed : SeedSequence
        That of the simulations.
    """
    drawn = family.draw(N_MASS, np.random.default_rng(child(seed, MASS)))
    found = []
    for stage in range(int(table.stage.max()) + 1):
        own = table.stage == stage
        is_inside = region_of(family, table.of(table.stage < stage), stage, seed) if stage else None
        if is_inside is None:
            found.append(Round(int(own.sum())))
            continue
        mass = float(np.mean(is_inside(drawn)))
        inside = float(np.mean(is_inside(family.standard(table.values[own]))))
        # Where a restriction is too small to be drawn from, the rest of its rules is of the whole prior.
        share = 1.0 if mass == 0.0 else float(np.clip((inside - mass) / max(1.0 - mass, 1e-12), 0.0, 1.0))
        found.append(Round(int(own.sum()), is_inside, max(mass, 1.0 / N_MASS), share))
    return tuple(found)


def expected_numbers(rounds: tuple[Round, ...], points: FloatArray) -> FloatArray:
    """Return how many rules all rounds drew at points, relative to one draw from the prior, shape (n,)."""
    return np.asarray(np.sum([one.expected(points) for one in rounds], axis=0))
