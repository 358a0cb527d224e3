"""Rules of several slots, put together from a front of expressions for each.

Every engine proposes a front for each slot by itself. All combinations are as many as the product of the
fronts' sizes: 16.7 million for eight entries in each of eight slots. So where they are many they are searched
by block coordinates: the slots in turn, with the others as they are, and the network's loss decides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from math import prod

import numpy as np
from numpy.typing import NDArray

from discover.expression import Node
from discover.pareto import in_layers
from discover.rule import Rule

__all__ = ["MOST_COMBINATIONS", "WIDTH", "combined"]

FloatArray = NDArray[np.float64]
MeanLosses = Callable[[Sequence[Rule]], FloatArray]
"""Takes rules; returns the mean loss of each in the network, infinite or NaN where it is none."""

MOST_COMBINATIONS = 400
"""Up to so many combinations are all proposed, and so many of those that were tried."""

WIDTH = 10
"""Combinations that go on from slot to slot."""

MOST_SWEEPS = 4
"""Most rounds over all slots."""

Picks = tuple[int, ...]


def combined(
    fronts: Mapping[str, Sequence[Node]], constants: Mapping[str, Node], mean_losses: MeanLosses
) -> list[Rule]:
    """Return rules with one entry of each slot's front.

    Where there are few combinations these are all. Else a beam goes over the slots: in each combination of
    the beam the slot is given every entry of its front, and those that do best for their complexity go on,
    until a round over all slots changes nothing. It starts with the simplest, the middle and the most exact
    entries.

    Parameters
    ----------
    fronts : mapping from slot name to sequence of Node
        Expressions, simplest first. A slot without any is left out of the rules.
    constants : mapping from slot name to Node
        Constants of the synapse, the same in all rules.
    mean_losses : callable
        Is asked only where combinations are many.

    Returns
    -------
    list of Rule
        At most :data:`MOST_COMBINATIONS`, those that do best for their complexity first where they were
        tried.
    """
    names = [name for name, front in fronts.items() if front]
    if not names:
        return []

    def rule_of(picks: Picks) -> Rule:
        parts = {name: fronts[name][pick] for name, pick in zip(names, picks, strict=True)}
        return Rule({**parts, **constants})

    sizes = [len(fronts[name]) for name in names]
    if prod(sizes) <= MOST_COMBINATIONS:
        return [rule_of(picks) for picks in product(*(range(size) for size in sizes))]
    costs = [[Rule({name: node}).complexity for node in fronts[name]] for name in names]
    tried: dict[Picks, float] = {}

    def best_of(asked: Sequence[Picks], most: int) -> list[Picks]:
        new = [picks for picks in dict.fromkeys(asked) if picks not in tried]
        if new:
            tried.update(zip(new, mean_losses([rule_of(picks) for picks in new]).tolist(), strict=True))
        entries = [
            (sum(cost[pick] for cost, pick in zip(costs, picks, strict=True)), tried[picks], picks)
            for picks in dict.fromkeys(asked) if np.isfinite(tried[picks])
        ]  # fmt: skip
        return in_layers(entries)[:most]

    starts = [tuple(round(share * (size - 1)) for size in sizes) for share in (0.0, 0.5, 1.0)]
    beam = best_of(starts, WIDTH) or starts
    for _ in range(MOST_SWEEPS):
        before = set(beam)
        for place, size in enumerate(sizes):
            moved = [(*picks[:place], pick, *picks[place + 1 :]) for picks in beam for pick in range(size)]
            beam = best_of([*beam, *moved], WIDTH) or beam
        if set(beam) == before:
            break
    return [rule_of(picks) for picks in best_of(list(tried), MOST_COMBINATIONS)]
