"""Did anything learn? The found rules beside rules that know nothing of the inputs, and beside polynomials.

The baseline is the better of two: the zero rule, under which weights stay as they start, and, in rate
networks, the rule that only rescales them, at the rate at which it is best. Where a task has nothing to find,
rules still end with losses that differ, because they end with weights of different sizes; none ends below the
baseline.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from discover.contest import margin_between
from discover.errors import RuleError
from discover.fit import FitResult
from discover.forms import Baseline, MeasuredRule
from discover.intervals import Metric, interval_text, intervals, joint_confidence, paired, verdict
from discover.multiple import best_multiple
from discover.progress import Progress, silent
from discover.rule import Rule
from discover.tasks.base import Task, update_slots

__all__ = ["baseline_rule", "beside_baseline"]

FloatArray = NDArray[np.float64]

MOST_TUNING = 64
"""Problems on which the rate of rescaling is chosen, at most."""


def beside_baseline(
    task: Task,
    problem_settings: Any,
    candidates: Mapping[str, Rule],
    chosen: str,
    fit: FitResult,
    n_problems: int,
    seed: int,
    progress: Progress = silent,
) -> Baseline:
    """Run the candidates, the baseline and the best polynomial on the same fresh problems.

    Parameters
    ----------
    task : Task
    problem_settings : dataclass
        The task's settings.
    candidates : mapping from str to Rule
    chosen : str
        Which of them was chosen.
    fit : FitResult
        The coefficient fit; its best polynomial is the one with the lowest held-out loss.
    n_problems : int
    seed : int
    progress : callable, optional

    Returns
    -------
    Baseline
    """
    tune_seed, draw_seed = np.random.SeedSequence([seed, len("baseline")]).spawn(2)
    progress(0.0, "the baseline")
    name, baseline = baseline_rule(task, task.draw(problem_settings, min(n_problems, MOST_TUNING), tune_seed))
    best = min(fit.points, key=lambda point: point.heldout_loss)
    rules = {f"baseline: {name}": baseline, "best polynomial": best.rule, "chosen rule": candidates[chosen]}
    problems = task.draw(problem_settings, n_problems, draw_seed)
    progress(0.3, "all candidates beside the baseline")
    measured = task.evaluate_rules([*rules.values(), *candidates.values()], problems)
    rows = tuple(
        MeasuredRule(name, rule, intervals(measures, possible=task.possible))
        for (name, rule), measures in zip(rules.items(), measured, strict=False)
    )
    losses = measured[0]["loss"]
    joint = joint_confidence(len(candidates))
    differences, beaten_by = {}, []
    for candidate, measures in zip(candidates, measured[len(rules) :], strict=True):
        differences[candidate] = paired(measures["loss"], losses, joint)
        if verdict(differences[candidate], margin_between(measures["loss"], losses)) == "better":
            beaten_by.append(candidate)
    progress(1.0, "beside the baseline")
    return Baseline(
        rows=rows,
        differences=differences,
        beaten_by=tuple(beaten_by),
        text=_text(name, rows, differences, beaten_by, chosen),
    )


def baseline_rule(task: Task, problems: Any) -> tuple[str, Rule]:
    """Return the best rule that knows nothing of the inputs, and what it does, in words.

    Parameters
    ----------
    task : Task
    problems : Problems
        Problems on which the rate of rescaling is chosen.
    """
    zero = Rule.from_coefficients({slot.name: {} for slot in update_slots(task)})
    tried = [("weights stay as they start", zero, float(task.losses(zero, problems).mean()))]
    rate = getattr(problems.settings, "learning_rate", None)
    if task.has_gradient and rate is not None:
        for sign in (1.0, -1.0):
            unit = sign / (rate * problems.n_steps)

            def mean_loss(factor: float, unit: float = unit) -> float:
                rule = _rescaling(task, factor * unit)
                return float("inf") if rule is None else float(task.losses(rule, problems).mean())

            factor, loss = best_multiple(mean_loss)
            rule = _rescaling(task, factor * unit)
            if rule is not None:
                tried.append(("weights are only rescaled", rule, loss))
    name, rule, _ = min(tried, key=lambda one: one[2])
    return name, rule


def _rescaling(task: Task, factor: float) -> Rule | None:
    try:
        return Rule.from_coefficients(
            {slot.name: {slot.weight: factor} for slot in update_slots(task) if slot.weight is not None}
        )
    except RuleError:
        return None


def _text(
    baseline: str,
    rows: tuple[MeasuredRule, ...],
    differences: Mapping[str, Metric],
    beaten_by: Collection[str],
    chosen: str,
) -> str:
    reached, own, difference = (
        interval_text(metric, "not finite")
        for metric in (rows[0].metrics["loss"], rows[-1].metrics["loss"], differences[chosen])
    )
    if not beaten_by:
        return (
            f"No rule beats the baseline: where {baseline}, the loss is {reached}, and no candidate ends "
            f"below it for sure; the chosen rule's loss minus it is {difference}. There is nothing to find "
            "here, or the search did not find it."
        )
    if chosen not in beaten_by:
        return (
            f"The chosen rule does not beat the baseline: where {baseline}, the loss is {reached}, and the "
            f"chosen rule's minus it is {difference}. Candidates that beat it: {', '.join(beaten_by)}."
        )
    return f"It beats the baseline: its loss is {own}, and {reached} where {baseline}."
