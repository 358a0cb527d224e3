"""Constants of an expression, refined on what the rule does in the network."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from discover.errors import RuleError
from discover.fit.cmaes import evolve
from discover.fit.objective import LARGEST_LOG
from discover.multiple import best_multiple
from discover.rule import Rule
from discover.slots import get_slot
from discover.spread import losses_of_population
from discover.tasks.base import Task

__all__ = ["RATIOS", "refined"]

FloatArray = NDArray[np.float64]

SMALLEST_UNIT = 0.05
"""Constants closer to zero than this move in absolute steps of it."""

RATIOS = (1.0, 2.0, 3.0, 0.5)
"""Simple ratios that two constants of a rule may have."""

STEP_SIZE = 0.05
SPREAD = 0.1
BETA1, BETA2, EPSILON = 0.9, 0.99, 1e-10


def refined(
    task: Task,
    rule: Rule,
    problems: Any,
    n_steps: int,
    batch: int,
    rng: np.random.Generator,
    keep_ratios: bool = False,
) -> tuple[Rule, FloatArray]:
    """Refine a rule's constants on the meta-loss, by exact gradients or, where the task has none, by CMA-ES.

    The best multiple first, then Adam in relative coordinates; the gradient of a problem is clipped and left
    out where it blew up. CMA-ES looks at all problems, and at the logarithms of constants of the synapse.
    The rule is never made worse: where the mean loss does not fall the old constants stay.

    Parameters
    ----------
    task : Task
    rule : Rule
    problems : Problems
    n_steps : int
    batch : int
        Problems a step looks at.
    rng : numpy.random.Generator
    keep_ratios : bool
        Whether constants of a slot that have a simple ratio keep it, such as those of
        ``0.4*x*y - 0.4*w*y**2``.

    Returns
    -------
    rule : Rule
    losses : ndarray, shape (n_problems,)
        On all the problems.

    References
    ----------
    Kingma & Ba (2015), ICLR, algorithm 1.
    """
    best = _at_best_multiple(task, rule, problems)
    best_losses = task.losses(best, problems)
    tied = _tied(best, keep_ratios)
    if n_steps == 0 or _is_all_in_the_multiple(best, tied):
        return best, best_losses
    if task.has_gradient:
        last = _descended(task, best, tied, problems, n_steps, batch, rng)
    else:
        last = _evolved(task, best, tied, problems, n_steps, rng)
    if last is None:
        return best, best_losses
    last = last.simplified()  # a constant may have changed its sign
    last_losses = task.losses(last, problems)
    if last_losses.mean() < best_losses.mean():
        return last, last_losses
    return best, best_losses


Ties = tuple[list[int], FloatArray]


def _descended(
    task: Task, rule: Rule, tied: Ties, problems: Any, n_steps: int, batch: int, rng: np.random.Generator
) -> Rule | None:
    """Return the rule after Adam; None where its constants would become part of its structure."""
    leaders, ties = tied
    start = rule.constants()[leaders]
    unit = np.maximum(np.abs(start), SMALLEST_UNIT)
    point = start / unit
    first, second = np.zeros_like(point), np.zeros_like(point)
    batch = min(batch, problems.n_problems)
    for t in range(n_steps):
        picks = np.sort(rng.choice(problems.n_problems, batch, replace=False))
        try:
            current = _with_constants(rule, ties @ (point * unit))
        except RuleError:
            break
        gradient = _clipped_mean(task, current, task.subset(problems, picks), ties * unit)
        first = BETA1 * first + (1 - BETA1) * gradient
        second = BETA2 * second + (1 - BETA2) * gradient**2
        rate = STEP_SIZE * 0.5 * (1 + np.cos(np.pi * t / n_steps))
        scale = np.sqrt(second / (1 - BETA2 ** (t + 1))) + EPSILON
        point = point - rate * first / (1 - BETA1 ** (t + 1)) / scale
    try:
        return _with_constants(rule, ties @ (point * unit))
    except RuleError:
        return None


def _evolved(
    task: Task, rule: Rule, tied: Ties, problems: Any, n_steps: int, rng: np.random.Generator
) -> Rule | None:
    """Return the rule after CMA-ES; None where no generation has seen one without a flaw."""
    leaders, ties = tied
    start = rule.constants()[leaders]
    unit = np.maximum(np.abs(start), SMALLEST_UNIT)
    in_logs = np.array([get_slot(rule.slots_of_constants[n]).is_constant for n in leaders])

    def rule_at(point: FloatArray) -> Rule | None:
        moved = np.where(
            in_logs, start * np.exp(np.clip(point, -LARGEST_LOG, LARGEST_LOG)), start + unit * point
        )
        try:
            return _with_constants(rule, ties @ moved)
        except RuleError:
            return None

    def values_of(points: list[FloatArray]) -> list[float]:
        rules = [rule_at(point) for point in points]
        sound = [one for one in rules if one is not None]
        losses = iter(losses_of_population(task, sound, problems).mean(axis=1) if sound else ())
        return [float("inf") if one is None else float(next(losses)) for one in rules]

    population = 4 + int(3 * np.log(len(start)))
    best, _ = evolve(values_of, np.zeros_like(start), SPREAD, population, n_steps, rng)
    return rule_at(best)


def _at_best_multiple(task: Task, rule: Rule, problems: Any) -> Rule:
    def multiple(factor: float) -> Rule | None:
        try:
            return rule if factor == 1.0 else rule.scaled(factor)
        except RuleError:
            return None

    def mean_loss(factor: float) -> float:
        scaled = multiple(factor)
        return float("inf") if scaled is None else float(task.losses(scaled, problems).mean())

    factor, _ = best_multiple(mean_loss)
    return multiple(factor) or rule


def _tied(rule: Rule, keep_ratios: bool) -> Ties:
    """Return which constants move, and how much of them all constants are.

    Returns
    -------
    leaders : list of int
        Positions of the constants that move.
    ties : ndarray, shape (n_constants, n_leaders)
        One leader a row: that of the same slot to which the constant has a simple ratio, else itself.
    """
    values, slots = rule.constants(), rule.slots_of_constants
    leaders: list[int] = []
    rows: list[tuple[int, float]] = []
    for n, value in enumerate(values.tolist()):
        is_free = not keep_ratios or get_slot(slots[n]).is_constant
        for place, leader in enumerate(() if is_free else leaders):
            share = value / float(values[leader]) if values[leader] else 0.0
            if slots[leader] == slots[n] and any(abs(abs(share) - one) <= 1e-12 * one for one in RATIOS):
                rows.append((place, share))
                break
        else:
            rows.append((len(leaders), 1.0))
            leaders.append(n)
    ties = np.zeros((len(values), len(leaders)))
    for n, (place, share) in enumerate(rows):
        ties[n, place] = share
    return leaders, ties


def _is_all_in_the_multiple(rule: Rule, tied: Ties) -> bool:
    """Whether a rule's multiple is all that could still move, so that the best one is known already."""
    n_free, values = len(tied[0]), rule.constants()
    return n_free == 0 or (n_free == 1 and np.array_equal(rule.scaled(0.5).constants(), 0.5 * values))


def _with_constants(rule: Rule, values: FloatArray) -> Rule:
    """Put constants in; refuse values that would turn one into structure, such as a whole exponent."""
    changed = rule.with_constants(values)
    if len(changed.constants()) != len(values):
        raise RuleError("A constant became part of the structure.")
    return changed


def _clipped_mean(task: Task, rule: Rule, problems: Any, directions: FloatArray) -> FloatArray:
    result = task.gradient(rule, problems)
    gradients = result.gradients[:, rule.is_free] @ directions
    norms = np.linalg.norm(gradients, axis=1)
    usable = ~result.blown & np.isfinite(norms)
    factors = np.minimum(1.0, 1.0 / np.maximum(norms, 1e-300))
    mean: FloatArray = np.where(usable[:, None], gradients * factors[:, None], 0.0).mean(axis=0)
    return mean
