"""Cross-validation: candidates under conditions that they were never fitted on, beside the known rules.

All rules see the same problems of a fold. A rule passes a fold when the mean of each measure lies inside the
fold's tolerances, and when its loss is not worse than that of the task's reference rule: the bootstrap
interval of the paired difference must reach below a stated margin. Rules are tried at the scale at which they
were found.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal
from zlib import crc32

import numpy as np
from annotated_types import Ge, Gt, Le, Lt, MinLen
from numpy.typing import NDArray

from discover.errors import RuleError, TaskError, did_you_mean
from discover.known_rules import KnownRule
from discover.progress import Progress, silent
from discover.rule import Rule
from discover.spread import spread
from discover.tasks.base import Fold, Task, all_known_of, evaluate_rules, reference_of

__all__ = [
    "FoldResult",
    "Metric",
    "ValidateSettings",
    "ValidationResult",
    "bootstrap_metric",
    "validate",
]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

PAIRED_DIFFERENCE = "loss_difference"
"""Name under which the paired difference of the loss to the reference rule's is given."""


@dataclass(frozen=True)
class ValidateSettings:
    """How candidates are cross-validated.

    Parameters
    ----------
    folds : "all" or tuple of str
        Conditions to try.
    n_problems : int
        Problems of a fold; conditions that take long have fewer.
    n_bootstrap : int
        Resamples of the problems for the intervals.
    confidence : float
        Probability that an interval covers.
    margin : float
        How much the loss may be above the reference rule's and still count as not worse.
    """

    folds: Literal["all"] | Annotated[tuple[str, ...], MinLen(1)] = "all"
    n_problems: Annotated[int, Ge(2), Le(100_000)] = 32
    n_bootstrap: Annotated[int, Ge(10), Le(1_000_000)] = 1000
    confidence: Annotated[float, Gt(0), Lt(1)] = 0.95
    margin: Annotated[float, Ge(0), Le(10)] = 0.05


@dataclass(frozen=True)
class Metric:
    """Mean of a measure over problems, with its bootstrap interval; None where it is not finite."""

    mean: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class FoldResult:
    """What a rule did in one fold.

    Attributes
    ----------
    name, title : str
    metrics : mapping from str to Metric
        The task's measures, and ``loss_difference``: the loss minus the reference rule's, problem by problem.
    passed : bool
    reason : str
        Why it did not pass; empty when it did.
    """

    name: str
    title: str
    metrics: Mapping[str, Metric]
    passed: bool
    reason: str


@dataclass(frozen=True)
class ValidationResult:
    """Folds of each rule.

    Attributes
    ----------
    task : str
    reference : str
        Known rule that the others' losses are compared with, unless a fold's problems have another one.
    measures : mapping from str to str
        What each measure is, in words.
    tolerances : mapping from str to mapping from str to tuple of float
        Fold -> measure -> lowest and highest mean that passes.
    candidates : mapping from str to tuple of FoldResult
        Candidates by their names, then known rules by theirs.
    known : tuple of str
        Which of these are known rules.
    settings : ValidateSettings
    """

    task: str
    reference: str
    measures: Mapping[str, str]
    tolerances: Mapping[str, Mapping[str, tuple[float, float]]]
    candidates: Mapping[str, tuple[FoldResult, ...]]
    known: tuple[str, ...]
    settings: ValidateSettings

    def passed(self, name: str) -> bool:
        """Whether a rule passed all folds."""
        return all(fold.passed for fold in self.candidates[name])

    def to_json(self) -> dict[str, Any]:
        """Return the content of ``validation.json``."""
        return {
            "task": self.task,
            "reference": self.reference,
            "measures": dict(self.measures),
            "confidence": self.settings.confidence,
            "margin": self.settings.margin,
            "n_problems": self.settings.n_problems,
            "tolerances": {
                fold: {measure: list(limits) for measure, limits in tolerances.items()}
                for fold, tolerances in self.tolerances.items()
            },
            "candidates": {
                name: {
                    "known": name in self.known,
                    "folds": [asdict(fold) for fold in folds],
                    "passed": self.passed(name),
                }
                for name, folds in self.candidates.items()
            },
        }


def validate(
    task: Task,
    settings: Any,
    candidates: Mapping[str, Rule],
    validate_settings: ValidateSettings | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> ValidationResult:
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
    ValidationResult

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
    >>> result.passed("mine"), result.passed("oja")
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
        [(fold, rules, chosen, seed) for fold in folds],
        progress,
        [f"fold {number + 1} of {len(folds)}" for number in range(len(folds))],
    ):
        for name, result in found.items():
            results[name].append(result)
    progress(1.0, f"{len(folds)} folds done")
    reference = reference_of(task, settings)
    return ValidationResult(
        task=task.name,
        reference=reference,
        measures={
            **task.measures,
            PAIRED_DIFFERENCE: f"loss minus that of the rule {reference}, problem by problem",
        },
        tolerances={fold.name: dict(fold.tolerances) for fold in folds},
        candidates={name: tuple(values) for name, values in results.items()},
        known=tuple(known),
        settings=chosen,
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
    task: Task, fold: Fold, rules: Mapping[str, Rule | KnownRule], settings: ValidateSettings, seed: int
) -> dict[str, FoldResult]:
    draw_seed, resample_seed = np.random.SeedSequence([seed, crc32(fold.name.encode())]).spawn(2)
    n_problems = min(settings.n_problems, fold.most_problems or settings.n_problems)
    problems = task.draw(fold.settings, n_problems, draw_seed)
    resamples = np.random.default_rng(resample_seed).integers(
        n_problems, size=(settings.n_bootstrap, n_problems)
    )
    measured = dict(zip(rules, evaluate_rules(task, list(rules.values()), problems), strict=True))
    reference = reference_of(task, fold.settings)
    results = {}
    for name, measures in measured.items():
        values = {**measures, PAIRED_DIFFERENCE: measures["loss"] - measured[reference]["loss"]}
        metrics = {
            measure: bootstrap_metric(one, resamples, settings.confidence) for measure, one in values.items()
        }
        reason = _reason(fold, metrics, reference, settings.margin)
        results[name] = FoldResult(fold.name, fold.title, metrics, not reason, reason)
    return results


def bootstrap_metric(values: FloatArray, resamples: IntArray, confidence: float) -> Metric:
    """Return the mean of a measure with its bootstrap interval.

    Parameters
    ----------
    values : ndarray, shape (n_problems,)
    resamples : ndarray of int, shape (n_bootstrap, n_problems)
        Problems of each resample.
    confidence : float
        Probability that the interval covers.

    Returns
    -------
    Metric

    References
    ----------
    Efron & Tibshirani (1993), An introduction to the bootstrap, section 13.3 (percentile interval).
    """
    if not np.all(np.isfinite(values)):
        return Metric(None, None, None)
    tail = (1 - confidence) / 2
    low, high = np.quantile(values[resamples].mean(axis=1), (tail, 1 - tail))
    return Metric(float(values.mean()), float(low), float(high))


def _reason(fold: Fold, metrics: Mapping[str, Metric], reference: str, margin: float) -> str:
    """Return why a fold is not passed, in one phrase; empty when it is."""
    for measure, (lowest, highest) in fold.tolerances.items():
        if measure not in metrics:  # a network of its own may lack what is measured, such as lateral synapses
            continue
        mean = metrics[measure].mean
        if mean is None:
            return f"{measure} is not finite"
        if mean < lowest:
            return f"{measure} is {mean:.3g}, below {lowest:.3g}"
        if mean > highest:
            return f"{measure} is {mean:.3g}, above {highest:.3g}"
    difference = metrics[PAIRED_DIFFERENCE]
    if difference.mean is None or difference.low is None:
        return "the loss is not finite"
    if difference.low > margin:
        interval = f"{difference.low:.3g} to {difference.high:.3g}"
        return (
            f"the loss is {difference.mean:.3g} above that of {reference} ({interval}), beyond {margin:.3g}"
        )
    return ""
