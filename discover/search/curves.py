"""Proposals for a teacher curve by curve: functions of the output alone, put together again.

A rule ``sum_ik g_ik(y) x**i w**k`` splits into as many problems of one dimension as it has curves. Engines
solve those best; the combinations that say most about the whole update are then rules.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from discover.expression import Node, combine, const, evaluate, var
from discover.progress import Progress, part
from discover.rule import Rule
from discover.search.engine import Engine, Proposal, Samples
from discover.search.settings import SearchSettings
from discover.search.teacher import Lesson

__all__ = ["from_curves"]

FloatArray = NDArray[np.float64]
Powers = tuple[int, int]

MOST_A_CURVE = 8
"""Entries of the front of one curve that are combined with those of the others."""

MOST_COMBINATIONS = 20_000
"""With many curves fewer entries of each are combined."""


def from_curves(
    engine: Engine, lesson: Lesson, settings: SearchSettings, seed: int, progress: Progress
) -> list[Rule]:
    """Let an engine find each curve, and return the best combinations as rules.

    Parameters
    ----------
    engine : Engine
    lesson : Lesson
        With curves, and samples of the update of one slot.
    settings : SearchSettings
    seed : int
    progress : callable

    Returns
    -------
    list of Rule
        The front of complexity and regression error of the whole update.
    """
    ((slot, samples),) = lesson.samples.items()
    words = np.random.SeedSequence(seed).generate_state(len(lesson.curves))
    fronts: dict[Powers, list[Proposal]] = {}
    for number, (powers, one) in enumerate(lesson.curves.items()):
        inner = part(progress, number / len(words), (number + 1) / len(words), f"curve {powers}: ")
        proposals = engine.propose(one, settings, int(words[number]), inner)
        if proposals:
            fronts[powers] = proposals
    if not fronts:
        return []
    return [Rule({slot: node}) for node in _combined(fronts, samples, settings.max_nodes)]


def _best(proposals: Sequence[Proposal], most: int) -> list[Proposal]:
    """At most so many entries of a front: those at which the error falls most."""
    errors = np.log(np.maximum([one.nmse for one in proposals], 1e-12))
    falls = -np.diff(np.minimum.accumulate(np.concatenate([[0.0], errors])))
    return [proposals[n] for n in sorted(np.argsort(-falls, kind="stable")[:most].tolist())]


def _combined(fronts: Mapping[Powers, Sequence[Proposal]], samples: Samples, max_nodes: int) -> list[Node]:
    """Return the front of combinations, each curve there or not."""
    most = min(MOST_A_CURVE, int(MOST_COMBINATIONS ** (1 / len(fronts))) - 1)
    shares: list[list[tuple[Node, FloatArray]]] = []
    for powers, front in fronts.items():
        nodes = [_times(proposal.expression, powers, samples.variables) for proposal in _best(front, most)]
        shares.append([(node, evaluate(node, samples.columns)) for node in nodes])
    entries = []
    for picks in itertools.product(*([None, *share] for share in shares)):
        chosen = [pick for pick in picks if pick is not None]
        complexity = sum(node.complexity + 1 for node, _ in chosen) - 1
        if chosen and complexity <= max_nodes:
            error = float(np.mean((np.sum([values for _, values in chosen], axis=0) - samples.target) ** 2))
            entries.append((complexity, error, [node for node, _ in chosen]))
    best: list[Node] = []
    lowest = float("inf")
    for _, error, parts in sorted(entries, key=lambda entry: entry[:2]):
        if error < lowest:
            lowest = error
            best.append(reduce(lambda a, b: combine("add", (a, b)), parts))
    return best


def _times(expression: Node, powers: Powers, variables: Sequence[str]) -> Node:
    """Multiply with powers of the presynaptic activity and of the weight, the first and third variable."""
    for name, power in zip((variables[0], variables[2]), powers, strict=True):
        if power > 0:
            factor = var(name) if power == 1 else combine("pow", (var(name), const(float(power))))
            expression = combine("mul", (expression, factor))
    return expression
