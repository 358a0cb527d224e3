"""The teacher: a rule without a formula, meta-learned where the polynomial basis may not reach.

It is learned as the coefficients of the polynomial basis are: along the same path of penalties, with refits
and the same choice, with splines in place of terms (:mod:`discover.fit.splines`). A symbolic search then
looks for its formula.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast

import numpy as np

from discover.fit.choosing import choose
from discover.fit.cmaes import CMAES
from discover.fit.optimiser import Minimiser
from discover.fit.path import Path
from discover.fit.proximal import ProximalAdam
from discover.fit.result import Teacher, TeacherPoint
from discover.fit.settings import FitSettings
from discover.fit.splines import Curves, RateCurves, TraceCurves
from discover.progress import Progress, part, silent
from discover.spread import spread
from discover.tasks.base import Task, with_splines

__all__ = ["teach"]

MOST_STARTS = 3
"""With exact gradients so many times the starts that were asked for are made while the best one may not have
converged."""

CONFIRMED = 0.5
"""Share by which a second start's loss may be larger and still confirm that the best one has converged, and
by which the best one's loss may be larger than a polynomial's."""


def teach(
    task: Task,
    problem_settings: Any,
    settings: FitSettings,
    seed: np.random.SeedSequence,
    progress: Progress = silent,
    *,
    reached: float = float("inf"),
) -> Teacher:
    """Learn a rule without a formula.

    Starts with exact gradients may end far from what a rule can do, and two of them at the same loss: where
    the horizon grows, a rule can come to the edge of blowing up and stay slow from then on. So several starts
    are made until the best one is no worse than a polynomial and a second one comes near it.

    Parameters
    ----------
    task : Task
        One whose network runs a :class:`sims.rules.SplineRule` in its only slot (``takes_splines``), or a
        :class:`sims.spike_splines.SplineSpikeRule` (``takes_trace_splines``).
    problem_settings : dataclass
    settings : FitSettings
        Its `teacher`, and for spiking synapses `population` and `sigma` of CMA-ES. Where the teacher's
        ``restarts`` is more than one and there are gradients, further starts are made until the best one is
        confirmed, up to three times as many.
    seed : numpy.random.SeedSequence
        Root of all random numbers.
    progress : callable, optional
    reached : float
        Held-out loss of the best polynomial, which a rule with splines in the place of powers can reach.

    Returns
    -------
    Teacher

    Raises
    ------
    TaskError
        If the task cannot run such rules.

    References
    ----------
    Yuan & Lin (2006), J. R. Statist. Soc. B 68:49 (penalty on groups); Hansen (2016), arXiv:1604.00772
    (CMA-ES).
    """
    network, own = with_splines(task), settings.teacher
    train_seed, heldout_seed, state_seed, *seeds = seed.spawn(3 + own.restarts)
    progress(0.0, "drawing problems")
    train = network.draw(problem_settings, own.n_train, train_seed)
    heldout = network.draw(problem_settings, own.n_heldout, heldout_seed)
    is_spiking = network.takes_trace_splines
    curves = TraceCurves if is_spiking else RateCurves
    objective = curves.start(network, train, own, state_seed)
    sent = replace(objective, task=cast("Any", None))  # each piece gets the task with a journal of its own
    points: list[TeacherPoint] = []
    choices: list[int] = []
    most = own.restarts if is_spiking else MOST_STARTS * own.restarts
    n_asked = own.restarts
    while n_asked > len(choices):
        numbers = range(len(choices), n_asked)
        inner = part(progress, len(choices) / most, 1.0)
        names = [f"teacher {number + 1}" for number in numbers]
        pieces = [(sent, heldout, settings, number, seeds[number]) for number in numbers]
        for found in spread(_restarted, network, pieces, inner, names, has_populations=is_spiking):
            choices.append(len(points) + choose(found, own.resolution)[0])
            points += found
        losses = [points[place].heldout_loss for place in choices]
        if len(choices) < most and not _is_confirmed(losses, reached):
            seeds += seed.spawn(1)
            n_asked += 1
    chosen, reason = choose(points, own.resolution)
    return Teacher(
        tuple(points), chosen, reason, tuple(choices), slot="" if is_spiking else task.slots[0].name
    )


def _is_confirmed(losses: Sequence[float], reached: float) -> bool:
    """Whether the best start does what polynomials do, and a second one comes near it.

    Of a single start nobody asked for a second.
    """
    if len(losses) < 2:
        return True
    best, second = sorted(losses)[:2]
    return second <= (1 + CONFIRMED) * best and best <= (1 + CONFIRMED) * reached


def _restarted(task: Task, item: tuple[Any, ...], progress: Progress) -> list[TeacherPoint]:
    sent, heldout, settings, number, seed = item
    objective = replace(sent, task=task)
    rng_seed, last_seed, *seeds = seed.spawn(2 + len(settings.teacher.penalties))
    path = Path[TeacherPoint](heldout, settings.teacher, number, partial(_learner, objective, settings))
    return path.walk(objective, np.random.default_rng(rng_seed), seeds, last_seed, progress)


def _learner(objective: Curves, settings: FitSettings, step_size: float, growth: float) -> Minimiser:
    if isinstance(objective, TraceCurves):
        return CMAES(settings.population, settings.sigma)
    return ProximalAdam(step_size, settings.teacher.batch, growth, groups=objective.blocks)
