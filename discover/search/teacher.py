"""What the engines are to find an expression for: the update of the fitted rule where synapses go."""

from __future__ import annotations

from typing import Any

import numpy as np

from discover.errors import RunFailed
from discover.fit import FitResult, PathPoint
from discover.search.engine import MIN_ROWS, Samples
from discover.tasks.base import Task, coefficients_of, update_slots

__all__ = ["teacher_samples"]


def teacher_samples(
    task: Task, problems: Any, fit: FitResult, n_states: int, seed: np.random.SeedSequence
) -> tuple[PathPoint, dict[str, Samples]]:
    """Sample the update of the dense rule on the states that it visits.

    The dense rule carries no sparsity that the engines would only repeat. Where it blows up on every problem
    the least penalised rule that does not takes its place.

    Parameters
    ----------
    task : Task
    problems : Problems
    fit : FitResult
    n_states : int
        Rows of samples for each slot.
    seed : numpy.random.SeedSequence

    Returns
    -------
    teacher : PathPoint
        The rule that was sampled.
    samples : dict from slot name to Samples

    Raises
    ------
    RunFailed
        If every rule of the path blows up.
    """
    others = sorted((p for p in fit.points if p is not fit.dense), key=lambda p: (p.penalty, p.heldout_loss))
    for point in (fit.dense, *others):
        rule = point.rule
        visited = task.visit(coefficients_of(task, rule), problems, n_states, seed)
        if all(len(states.values) >= MIN_ROWS for states in visited.values()):
            samples = {}
            for slot in update_slots(task):
                values = visited[slot.name].values
                update = rule.numpy()[slot.name](**dict(zip(slot.variables, values.T, strict=True)))
                samples[slot.name] = Samples(slot.variables, values, update)
            return point, samples
    raise RunFailed("Every rule of the path blows up, so there is nothing to search for; fit longer.")
