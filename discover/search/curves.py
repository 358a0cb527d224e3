"""Proposals for a teacher curve by curve: functions of one variable, put together again.

A rule ``sum_ik g_ik(y) x**i w**k`` splits into as many problems of one dimension as it has curves, and so do
the two updates ``sum_k g_k(trace) w**k`` of a spiking synapse. Engines solve those best; the combinations
that say most about the whole update are then rules.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import TypeVar

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
Factors = tuple[tuple[str, int], ...]
"""Variables and the powers of them that a curve is multiplied with."""

K = TypeVar("K")

MOST_A_CURVE = 8
"""Entries of the front of one curve that are combined with those of the others."""

MOST_A_SLOT = 5
"""Entries of the front of one slot that are combined with those of the other."""

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
        With curves: those of the one slot of a rate network, or those of the traces of spiking synapses.
    settings : SearchSettings
    seed : int
    progress : callable

    Returns
    -------
    list of Rule
        The front of complexity and regression error of the whole update; with two slots, their fronts' steps
        combined, each slot there or not.
    """
    if lesson.trace_curves:
        return _from_trace_curves(engine, lesson, settings, seed, progress)
    ((slot, samples),) = lesson.samples.items()
    names = samples.variables[0], samples.variables[2]
    found = _fronts(engine, lesson.curves, settings, seed, progress)
    fronts = {tuple(zip(names, powers, strict=True)): front for powers, front in found.items()}
    return [Rule({slot: node}) for _, node in _combined(fronts, lesson.weighted[slot], settings.max_nodes)]


def _from_trace_curves(
    engine: Engine, lesson: Lesson, settings: SearchSettings, seed: int, progress: Progress
) -> list[Rule]:
    found = _fronts(engine, lesson.trace_curves, settings, seed, progress)
    choices: list[list[tuple[str, Node] | None]] = []
    for slot, samples in lesson.samples.items():
        fronts: dict[Factors, list[Proposal]] = {
            ((samples.variables[1], power),): front for (name, power), front in found.items() if name == slot
        }
        front = _combined(fronts, samples, settings.max_nodes) if fronts else []
        kept = _steepest([error for error, _ in front], MOST_A_SLOT)
        choices.append([None, *((slot, front[n][1]) for n in kept)])
    picks = (dict(one for one in pick if one is not None) for pick in itertools.product(*choices))
    return [Rule({**pick, **lesson.constants}) for pick in picks if pick]


def _fronts(
    engine: Engine,
    curves: Mapping[K, Samples],
    settings: SearchSettings,
    seed: int,
    progress: Progress,
) -> dict[K, list[Proposal]]:
    """Return what an engine proposes for each curve; those for which it proposes nothing are left out."""
    words = np.random.SeedSequence(seed).generate_state(len(curves))
    fronts = {}
    for number, (key, one) in enumerate(curves.items()):
        inner = part(progress, number / len(words), (number + 1) / len(words), f"curve {key}: ")
        proposals = engine.propose(one, settings, int(words[number]), inner)
        if proposals:
            fronts[key] = proposals
    return fronts


def _steepest(errors: Sequence[float], most: int) -> list[int]:
    """At most so many entries of a front, in order: those at which the error falls most."""
    if not errors:
        return []
    logs = np.log(np.maximum(errors, 1e-12))
    falls = -np.diff(np.minimum.accumulate(np.concatenate([[0.0], logs])))
    chosen: list[int] = sorted(np.argsort(-falls, kind="stable")[:most].tolist())
    return chosen


def _combined(
    fronts: Mapping[Factors, Sequence[Proposal]], samples: Samples, max_nodes: int
) -> list[tuple[float, Node]]:
    """Return the front of combinations, each curve there or not, with their errors."""
    if not fronts:
        return []
    most = min(MOST_A_CURVE, int(MOST_COMBINATIONS ** (1 / len(fronts))) - 1)
    shares: list[list[tuple[Node, FloatArray]]] = []
    for factors, front in fronts.items():
        kept = [front[n] for n in _steepest([proposal.nmse for proposal in front], most)]
        nodes = [_times(proposal.expression, factors) for proposal in kept]
        shares.append([(node, samples.observed(evaluate(node, samples.columns))) for node in nodes])
    entries = []
    for picks in itertools.product(*([None, *share] for share in shares)):
        chosen = [pick for pick in picks if pick is not None]
        complexity = sum(node.complexity + 1 for node, _ in chosen) - 1
        if chosen and complexity <= max_nodes:
            error = float(np.mean((np.sum([values for _, values in chosen], axis=0) - samples.target) ** 2))
            entries.append((complexity, error, [node for node, _ in chosen]))
    best: list[tuple[float, Node]] = []
    lowest = float("inf")
    for _, error, parts in sorted(entries, key=lambda entry: entry[:2]):
        if error < lowest:
            lowest = error
            best.append((error, reduce(lambda a, b: combine("add", (a, b)), parts)))
    return best


def _times(expression: Node, factors: Factors) -> Node:
    """Multiply with powers of variables."""
    for name, power in factors:
        if power > 0:
            factor = var(name) if power == 1 else combine("pow", (var(name), const(float(power))))
            expression = combine("mul", (expression, factor))
    return expression
