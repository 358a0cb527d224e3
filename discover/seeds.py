"""Seeds for a study that nobody has chosen: drawn from a root, and none of them in a pipeline file."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from discover.errors import ConfigError

__all__ = ["STUDY_ROOT", "following_seeds", "study_seeds"]

STUDY_ROOT = 2020
"""Root of the seeds of all studies; every study begins with the same ones."""

SMALLEST, LARGEST = 100_000, 999_999
"""Seeds have six digits, which no pipeline file has and which people can tell apart."""


def study_seeds(n_seeds: int, without: Collection[int] = ()) -> tuple[int, ...]:
    """Draw seeds from :data:`STUDY_ROOT`; more seeds begin with those of fewer.

    Parameters
    ----------
    n_seeds : int
    without : collection of int
        Seeds that are left out, such as those of pipeline files.

    Examples
    --------
    >>> study_seeds(3)
    (427422, 829840, 794424)
    >>> study_seeds(3, without={829840})[:2]
    (427422, 794424)
    """
    found: dict[int, None] = {}
    n_drawn = n_seeds
    while len(found) < n_seeds:
        n_drawn *= 2
        states = np.random.SeedSequence(STUDY_ROOT).generate_state(n_drawn, np.uint64)
        drawn = (SMALLEST + int(state) % (LARGEST - SMALLEST + 1) for state in states)
        found = dict.fromkeys(seed for seed in drawn if seed not in without)
    return tuple(found)[:n_seeds]


def following_seeds(first: int, n_seeds: int, without: Collection[int] = ()) -> tuple[int, ...]:
    """Return seeds from a first one on.

    Raises
    ------
    ConfigError
        If one would need more than 63 bits.

    Examples
    --------
    >>> following_seeds(1, 3, without={2})
    (1, 3, 4)
    """
    if first + n_seeds + len(without) >= 2**63:
        raise ConfigError("--first-seed: seeds have 63 bits at most; begin with a smaller one.")
    candidates = range(first, first + n_seeds + len(without))
    return tuple(seed for seed in candidates if seed not in without)[:n_seeds]
