"""What the engines are to find an expression for: the update of the teacher where synapses go.

The teacher is the rule without a formula where the fit has one, else the dense rule of the polynomial basis.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from discover.errors import ArtefactError, RunFailed
from discover.expression import Node, const
from discover.fit import FitResult, TeacherPoint
from discover.search.engine import MIN_ROWS, Samples
from discover.search.metric import curvature, in_metric
from discover.slots import TAU_POST, TAU_PRE, get_slot
from discover.tasks.base import (
    Task,
    VisitedStates,
    coefficients_of,
    update_slots,
    with_splines,
)

__all__ = ["Lesson", "recorded_states", "teacher_samples"]

FloatArray = NDArray[np.float64]
Updates = Mapping[str, Callable[..., FloatArray]]


@dataclass(frozen=True)
class Lesson:
    """What engines are given.

    Attributes
    ----------
    samples : mapping from slot name to Samples
        The teacher's update on states that it visits, and on those that baseline rules do.
    constants : mapping from slot name to Node
        The teacher's constants of the synapse.
    curves : mapping from (int, int) to Samples
        For a teacher that is a sum over powers of presynaptic activity and weight, the function of the output
        that each pair of powers is multiplied with, on visited outputs.
    trace_curves : mapping from (str, int) to Samples
        For a teacher of spiking synapses, the function of the trace that each power of the weight is
        multiplied with in each slot, on visited traces.
    weighted : mapping from slot name to Samples
        The same update, weighted by what an error of it costs the network; `samples` where that is not known.
    teacher : Rule, SplineRule or SplineSpikeRule
        Whose update it is.
    """

    samples: Mapping[str, Samples]
    constants: Mapping[str, Node] = field(default_factory=dict)
    curves: Mapping[tuple[int, int], Samples] = field(default_factory=dict)
    trace_curves: Mapping[tuple[str, int], Samples] = field(default_factory=dict)
    weighted: Mapping[str, Samples] = field(default_factory=dict)
    teacher: Any = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "weighted", self.weighted or self.samples)

    @property
    def has_curves(self) -> bool:
        """Whether the teacher splits into functions of one variable."""
        return bool(self.curves or self.trace_curves)


def teacher_samples(
    task: Task,
    problems: Any,
    fit: FitResult,
    trajectories: Mapping[str, NDArray[Any]],
    n_states: int,
    seed: np.random.SeedSequence,
    number: int = 0,
) -> Lesson | None:
    """Sample the update of a teacher on the states that it visits.

    A dense rule carries no sparsity that the engines would only repeat. Where it blows up on every problem
    the least penalised rule that does not takes its place. An equal share of states that baseline rules
    visited joins, so that expressions are also asked about states far from the solution.

    Parameters
    ----------
    task : Task
    problems : Problems
    fit : FitResult
    trajectories : mapping from str to ndarray
        What synapses visited under the baseline rules (:func:`discover.tasks.collect`).
    n_states : int
        Rows of samples for each slot, before those of the baselines.
    seed : numpy.random.SeedSequence
    number : int
        Which teacher: 0 for the chosen one, then the choices of the other restarts.

    Returns
    -------
    Lesson or None
        None where there is no such teacher.

    Raises
    ------
    RunFailed
        If every rule of the path blows up.
    """
    if fit.teacher is not None:
        others = [place for place in fit.teacher.choices if place != fit.teacher.chosen]
        places = [fit.teacher.chosen, *others]
        if number >= len(places):
            return None
        taught, slot = fit.teacher.points[places[number]], fit.teacher.slot
        if fit.teacher.is_spiking:
            return _of_trace_splines(task, problems, taught, trajectories, n_states, seed)
        return _of_splines(task, problems, taught, slot, trajectories, n_states, seed)
    if number > 0:
        return None
    less_dense = sorted(
        (p for p in fit.points if p is not fit.dense), key=lambda p: (p.penalty, p.heldout_loss)
    )
    for point in (fit.dense, *less_dense):
        rule = point.rule
        visited = task.visit(coefficients_of(task, rule), problems, n_states, seed)
        if all(len(states.values) >= MIN_ROWS for states in visited.values()):
            constants = {slot: node for slot, node in rule.expressions.items() if get_slot(slot).is_constant}
            return Lesson(_sampled(task, visited, trajectories, rule.numpy()), constants, teacher=rule)
    raise RunFailed("Every rule of the path blows up, so there is nothing to search for; fit longer.")


def _of_splines(
    task: Task,
    problems: Any,
    teacher: TeacherPoint,
    slot: str,
    trajectories: Mapping[str, NDArray[Any]],
    n_states: int,
    seed: np.random.SeedSequence,
) -> Lesson:
    rule = teacher.rule
    visited = with_splines(task).visit(rule, problems, n_states, seed)
    if any(len(states.values) < MIN_ROWS for states in visited.values()):
        raise RunFailed("The teacher blows up on every problem; learn it longer, or leave it out.")

    def update(**columns: FloatArray) -> FloatArray:
        values: FloatArray = rule.update(*columns.values())
        return values

    samples = _sampled(task, visited, trajectories, {slot: update})
    # Splines are constant beyond their ends, which says nothing about the rule.
    post = samples[slot].inputs[:, 1]
    inside = (post >= rule.low) & (post <= rule.high)
    name = samples[slot].variables[1]
    curves = rule.curves(post[inside])
    seen = samples[slot].where(inside)
    matrix = curvature(with_splines(task), teacher, problems)
    (word,) = seed.generate_state(1)
    return Lesson(
        {slot: seen},
        curves={(i, k): Samples((name,), post[inside, None], curves[i, k]) for i, k in teacher.blocks},
        weighted={slot: in_metric(seen, teacher, matrix, int(word))},
        teacher=rule,
    )


def _of_trace_splines(
    task: Task,
    problems: Any,
    teacher: TeacherPoint,
    trajectories: Mapping[str, NDArray[Any]],
    n_states: int,
    seed: np.random.SeedSequence,
) -> Lesson:
    rule = teacher.rule
    visited = with_splines(task).visit(rule, problems, n_states, seed)
    if any(len(states.values) < MIN_ROWS for states in visited.values()):
        raise RunFailed("The teacher stops on every problem; learn it longer, or leave it out.")
    splines = {
        slot.name: one for slot in update_slots(task) if (one := teacher.splines(slot.name)) is not None
    }

    def update_of(slot: str) -> Callable[..., FloatArray]:
        return lambda **columns: splines[slot].update(*columns.values())

    samples = _sampled(task, visited, trajectories, {slot: update_of(slot) for slot in splines})
    inside = {}
    for slot, whole in samples.items():
        trace = whole.inputs[:, 0]
        inside[slot] = whole.where((trace >= splines[slot].low) & (trace <= splines[slot].high))
    curves = {}
    for slot, power in teacher.blocks:
        trace = inside[slot].inputs[:, 0]
        name = inside[slot].variables[0]
        curves[slot, power] = Samples((name,), trace[:, None], splines[slot].curves(trace)[power])
    constants = {TAU_PRE.name: const(rule.tau_pre_ms), TAU_POST.name: const(rule.tau_post_ms)}
    return Lesson(inside, constants, trace_curves=curves, teacher=rule)


def _sampled(
    task: Task,
    visited: Mapping[str, VisitedStates],
    trajectories: Mapping[str, NDArray[Any]],
    updates: Updates,
) -> dict[str, Samples]:
    samples = {}
    for slot in update_slots(task):
        if slot.name not in updates:
            continue
        own = visited[slot.name].values
        others = recorded_states(trajectories, slot.name, own.shape[1])
        rows = np.linspace(0, len(others) - 1, min(len(others), len(own))).astype(int)
        values = np.concatenate([own, others[rows]])
        update = updates[slot.name](**dict(zip(slot.variables, values.T, strict=True)))
        samples[slot.name] = Samples(slot.variables, values, update)
    return samples


def recorded_states(
    trajectories: Mapping[str, NDArray[Any]], slot: str, n_variables: int
) -> NDArray[np.float64]:
    """Return the states that baseline rules visited, shape (n_states, n_variables).

    Raises
    ------
    ArtefactError
        If they are not there, or are no table of numbers with one column a variable.
    """
    name = f"{slot}.states"
    states = trajectories.get(name)
    if states is None:
        raise ArtefactError(f"The trajectories hold no {name}: they were edited, or belong to another task.")
    is_table = states.ndim == 2 and states.shape[1] == n_variables and states.dtype.kind in "fiu"
    if not is_table or len(states) == 0:
        raise ArtefactError(
            f"The trajectories' {name} is no table of numbers with {n_variables} columns: they were edited, "
            "or belong to another task."
        )
    return states.astype(np.float64, copy=False)
