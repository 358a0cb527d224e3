"""Cross-validation: candidates under conditions that they were never fitted on, beside the known rules.

A fold asks what a form can do in its condition. So every rule, candidate or known, runs at the multiple of
its update that suits it best there, found on problems that are drawn for this alone; where a fold changes the
learning rate, at the multiple that suits the usual one. What the loss is at the multiple of the fit is said
beside. All rules see the same problems of a fold.

A rule passes a fold when the mean of each measure lies inside the fold's tolerances, and when its loss is not
worse than that of the task's reference rule: the interval of the paired difference must lie below a stated
margin. Where it reaches across the margin the fold is undecided, which is no pass. Of a single problem there
is no interval; there the difference itself must lie below the margin.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Annotated, Any, Literal
from zlib import crc32

import numpy as np
from annotated_types import Ge, Gt, Le, Lt, MinLen
from numpy.typing import NDArray

from discover.errors import RuleError, TaskError, did_you_mean
from discover.forms import FoldResult, FoldVerdict, Validated, Validation
from discover.intervals import CONFIDENCE, N_RESAMPLES, Metric, intervals
from discover.known_rules import KnownRule
from discover.progress import Progress, silent
from discover.rule import Rule
from discover.speeds import AS_GIVEN, drawn_for_tuning, evaluate_at, tuned_speeds
from discover.spread import spread
from discover.tasks.base import Fold, Task, all_known_of

__all__ = ["ValidateSettings", "validate"]

FloatArray = NDArray[np.float64]

PAIRED_DIFFERENCE = "loss_difference"
"""Name under which the paired difference of the loss to the reference rule's is given."""

AT_RATE_OF_FIT = "loss_at_rate_of_fit"
"""Name under which the loss at the rule's own rate, not tuned in the fold, is given."""


@dataclass(frozen=True)
class ValidateSettings:
    """How candidates are cross-validated.

    Parameters
    ----------
    folds : "all" or tuple of str
        Conditions to try.
    n_problems : "auto" or int
        Problems of a fold; conditions that take long have fewer. "auto" are 256 where losses have gradients,
        which says that a simulation takes next to no time, and 8 elsewhere.
    n_tuning : "auto" or int
        Further problems, on which the speed of each rule is found; at most as many as it is tried on; 0
        leaves every rule as fast as it is. "auto" are 16 and 3.
    n_bootstrap : int
        Resamples of the problems for the intervals.
    confidence : float
        Probability that an interval covers.
    margin : float
        How much the loss may be above the reference rule's and still count as not worse.
    """

    folds: Literal["all"] | Annotated[tuple[str, ...], MinLen(1)] = "all"
    n_problems: Literal["auto"] | Annotated[int, Ge(2), Le(100_000)] = "auto"
    n_tuning: Literal["auto"] | Annotated[int, Ge(0), Le(100_000)] = "auto"
    n_bootstrap: Annotated[int, Ge(10), Le(1_000_000)] = N_RESAMPLES
    confidence: Annotated[float, Gt(0), Lt(1)] = CONFIDENCE
    margin: Annotated[float, Ge(0), Le(10)] = 0.05

    def sizes(self, task: Task) -> tuple[int, int]:
        """Return the numbers of problems to try rules of a task on, and to tune them on."""
        n_problems, n_tuning = QUICK if task.has_gradient else SLOW
        return (
            n_problems if self.n_problems == "auto" else self.n_problems,
            n_tuning if self.n_tuning == "auto" else self.n_tuning,
        )


QUICK, SLOW = (256, 16), (8, 3)
"""Problems to try rules on and to tune them on, where a simulation takes no time and where it takes long."""


def validate(
    task: Task,
    settings: Any,
    candidates: Mapping[str, Rule],
    validate_settings: ValidateSettings | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Validation:
    """Try candidates, and the known rules, in the folds of a task.

    Parameters
    ----------
    task : Task
    settings : dataclass
        Settings of the problems that the candidates were fitted on.
    candidates : mapping from str to Rule
    validate_settings : ValidateSettings, optional
    seed : int
        Problems depend on it and on the fold's name, not on which other folds or rules are tried.
    progress : Progress

    Returns
    -------
    Validation

    Raises
    ------
    TaskError
        If a fold is unknown.
    RuleError
        If a candidate has the name of a known rule and is another rule.

    Examples
    --------
    >>> from discover.tasks import get_task
    >>> task = get_task("oja")
    >>> few = ValidateSettings(folds=("uniform",), n_problems=4)
    >>> result = validate(task, task.settings_type(n_inputs=5), {"mine": Rule.parse("x*y")}, few)
    >>> result.candidates["mine"].passed, result.candidates["oja"].passed
    (False, True)
    """
    chosen = validate_settings or ValidateSettings()
    known = all_known_of(task)
    rules = _merged(candidates, known)
    folds = _selected(task.folds(settings), chosen.folds)
    results: dict[str, list[FoldResult]] = {name: [] for name in rules}
    for found in spread(
        _tried,
        task,
        [(fold, rules, settings, chosen, seed) for fold in folds],
        progress,
        [f"fold {number + 1} of {len(folds)}" for number in range(len(folds))],
    ):
        for name, result in found.items():
            results[name].append(result)
    progress(1.0, f"{len(folds)} folds done")
    reference = task.reference_for(settings)
    return Validation(
        task=task.name,
        reference=reference,
        measures={
            **task.measures,
            PAIRED_DIFFERENCE: f"loss minus that of the rule {reference}, problem by problem",
            AT_RATE_OF_FIT: "loss of the rule as it is, at the learning rate that it was fitted at",
        },
        confidence=chosen.confidence,
        margin=chosen.margin,
        n_problems=max((fold.n_problems or 0 for tried in results.values() for fold in tried), default=0),
        tolerances={fold.name: fold.tolerances for fold in folds},
        candidates={
            name: Validated(
                known=name in known, folds=tuple(tried), passed=all(fold.passed for fold in tried)
            )
            for name, tried in results.items()
        },
    )


def _merged(
    candidates: Mapping[str, Rule], known: Mapping[str, Rule | KnownRule]
) -> dict[str, Rule | KnownRule]:
    for name, rule in candidates.items():
        if name in known and rule != known[name]:
            raise RuleError(f"A candidate is called {name!r}, as a known rule is; give it another name.")
    return {**candidates, **known}


def _selected(folds: tuple[Fold, ...], names: Literal["all"] | Iterable[str]) -> tuple[Fold, ...]:
    if names == "all":
        return folds
    by_name = {fold.name: fold for fold in folds}
    for name in names:
        if name not in by_name:
            hint = did_you_mean(name, by_name)
            raise TaskError(f"There is no fold {name[:40]!r}.{hint} Folds: {', '.join(by_name)}.")
    return tuple(fold for fold in folds if fold.name in set(names))


def _tried(task: Task, item: tuple[Any, ...], progress: Progress) -> dict[str, FoldResult]:
    progress(0.0, item[0].title)
    return _try_fold(task, *item)


def _try_fold(
    task: Task,
    fold: Fold,
    rules: Mapping[str, Rule | KnownRule],
    fitted: Any,
    settings: ValidateSettings,
    seed: int,
) -> dict[str, FoldResult]:
    draw_seed, tune_seed = np.random.SeedSequence([seed, crc32(fold.name.encode())]).spawn(2)
    n_problems, n_tuning = settings.sizes(task)
    n_problems = min(n_problems, fold.most_problems or n_problems)
    n_tuning = min(n_tuning, max(n_problems, 2))
    different: list[Rule | KnownRule] = []  # two names may stand for one rule
    for rule in reversed(list(rules.values())):  # known rules first: candidates that are multiples follow
        if rule not in different:
            different.append(rule)
    tuning = drawn_for_tuning(task, _tuned_at(fold, fitted), n_tuning, tune_seed)
    speeds = tuned_speeds(task, different, tuning)
    problems = task.draw(fold.settings, n_problems, draw_seed)
    at_best = evaluate_at(task, list(zip(different, speeds, strict=True)), problems)
    as_given = at_best
    if n_tuning > 0:
        first = problems.subset(np.arange(min(n_tuning, n_problems)))
        as_given = evaluate_at(task, [(rule, AS_GIVEN) for rule in different], first)
    numbers = {name: different.index(rule) for name, rule in rules.items()}
    reference = task.reference_for(fold.settings)
    known_losses = at_best[numbers[reference]]["loss"]
    results = {}
    for name, number in numbers.items():
        values = {**at_best[number], PAIRED_DIFFERENCE: at_best[number]["loss"] - known_losses}
        metrics = intervals(values, settings.confidence, settings.n_bootstrap, task.possible)
        verdict, reason = _judged(fold, metrics, reference, settings.margin)
        metrics[AT_RATE_OF_FIT] = _mean_alone(as_given[number]["loss"])
        results[name] = FoldResult(
            name=fold.name,
            title=fold.title,
            metrics=metrics,
            passed=verdict == "passed",
            verdict=verdict,
            reason=reason,
            n_problems=n_problems,
            speeds=dict(speeds[number]),
        )
    return results


def _tuned_at(fold: Fold, fitted: Any) -> Any:
    """Settings of the problems on which the speed of each rule is tuned.

    Those of the fold, unless it says otherwise, or differs from the fitted problems in nothing but the
    learning rate and the horizon that follows from it: a multiple that is tuned there would undo the change.
    """
    if fold.tuned_at is not None:
        return fold.tuned_at
    if not (is_dataclass(fitted) and type(fitted) is type(fold.settings)):
        return fold.settings
    names = [one.name for one in fields(fitted)]
    changed = {name for name in names if getattr(fitted, name) != getattr(fold.settings, name)}
    return fitted if "learning_rate" in changed <= {"learning_rate", "n_steps"} else fold.settings


def _mean_alone(values: FloatArray) -> Metric:
    return Metric(float(values.mean()) if np.all(np.isfinite(values)) else None, None, None)


def _judged(
    fold: Fold, metrics: Mapping[str, Metric], reference: str, margin: float
) -> tuple[FoldVerdict, str]:
    """Return whether a fold is passed, and why it is not, in one phrase."""
    for measure, (lowest, highest) in fold.tolerances.items():
        if measure not in metrics:  # a network of its own may lack what is measured, such as lateral synapses
            continue
        mean = metrics[measure].mean
        if mean is None:
            return "failed", f"{measure} is not finite"
        if mean < lowest:
            return "failed", f"{measure} is {mean:.3g}, below {lowest:.3g}"
        if mean > highest:
            return "failed", f"{measure} is {mean:.3g}, above {highest:.3g}"
    difference = metrics[PAIRED_DIFFERENCE]
    if difference.mean is None:
        return "failed", "the loss is not finite"
    low, high = difference.low, difference.high
    if low is None or high is None:
        low = high = difference.mean
    if high <= margin:
        return "passed", ""
    said = f"the loss is {difference.mean:.3g} above that of {reference} ({low:.3g} to {high:.3g})"
    if low > margin:
        return "failed", f"{said}, beyond {margin:.3g}"
    return "undecided", f"{said}, which reaches across {margin:.3g}"
