"""A found rule beside the known ones, measure by measure: which of them it beats, and on what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from discover.ablate import CONFIDENCE, N_RESAMPLES
from discover.known_rules import KnownRule
from discover.multiple import best_multiple
from discover.progress import Progress, silent
from discover.rule import Rule
from discover.tasks.base import Task, all_known_of
from discover.validate import Metric, bootstrap_metric

__all__ = ["Contest", "Standing", "contest", "contest_text"]

FloatArray = NDArray[np.float64]

RESOLUTION = 0.005
"""Means that differ by less are equal, however sure the difference is."""


@dataclass(frozen=True)
class Standing:
    """One measure of a known rule beside the found one's.

    Attributes
    ----------
    known, difference : Metric
        The known rule's, and the found rule's minus it, problem by problem; means with 95 % bootstrap
        intervals.
    verdict : str
        ``better`` where the found rule is, ``worse``, or ``equal`` where the interval of the difference holds
        zero or its mean is below the resolution.
    """

    known: Metric
    difference: Metric
    verdict: Literal["better", "worse", "equal"]


@dataclass(frozen=True)
class Contest:
    """The found rule beside one known rule.

    Attributes
    ----------
    name : str
        The known rule.
    speed : float
        Multiple of the task's learning rate at which the known rule ran, the one that suits it best.
    measures : mapping from str to Standing
        Those that both have.
    """

    name: str
    speed: float
    measures: Mapping[str, Standing]

    def to_json(self) -> dict[str, Any]:
        """Return the content as it goes into ``comparison.json``."""
        return asdict(self)


def contest(
    task: Task,
    problem_settings: Any,
    rule: Rule,
    n_problems: int,
    seed: int,
    progress: Progress = silent,
) -> tuple[Contest, ...]:
    """Run a rule and all known rules of a task on the same fresh problems.

    Every rule runs at the multiple of the task's learning rate at which its own mean loss, on further
    problems, is lowest: published rules come with no learning rate, and the found one has had its constants
    fitted.

    Parameters
    ----------
    task : Task
    problem_settings : dataclass
        The task's settings.
    rule : Rule
    n_problems : int
    seed : int
    progress : callable, optional

    Returns
    -------
    tuple of Contest
        One for each known rule.
    """
    tune_seed, draw_seed, resample_seed = np.random.SeedSequence(seed).spawn(3)
    resamples = np.random.default_rng(resample_seed).integers(n_problems, size=(N_RESAMPLES, n_problems))
    known = all_known_of(task)

    def run(one: Rule | KnownRule) -> tuple[float, Mapping[str, FloatArray]]:
        def loss(factor: float) -> float:
            tuning = task.draw(_at_speed(problem_settings, factor), n_problems, _again(tune_seed))
            return float(task.evaluate(one, tuning)["loss"].mean())

        speed, _ = best_multiple(loss)
        problems = task.draw(_at_speed(problem_settings, speed), n_problems, _again(draw_seed))
        return speed, task.evaluate(one, problems)

    _, found = run(rule)
    contests = []
    for number, (name, one) in enumerate(known.items()):
        progress(number / len(known), f"beside {name}")
        speed, measured = run(one)
        standings = {
            measure: _standing(values, found[measure], measure in task.higher_is_better, resamples)
            for measure, values in measured.items()
        }
        contests.append(Contest(name, speed, standings))
    progress(1.0, f"beside {len(known)} known rules")
    return tuple(contests)


def contest_text(title: str, verdicts: Mapping[str, str]) -> str:
    """Return in words what a rule beats a known one on, and what it is beaten on.

    Parameters
    ----------
    title : str
        The known rule.
    verdicts : mapping from str to str
        Measure -> verdict.

    Examples
    --------
    >>> contest_text("Hebb", {"loss": "better", "norm_error": "better", "cosine": "equal"})
    'beats Hebb on loss and norm error, equal on cosine'
    >>> contest_text("Oja (1982)", {"loss": "equal", "cosine": "equal"})
    'equals Oja (1982) on every measure'
    """
    names = {
        verdict: [measure.replace("_", " ") for measure, found in verdicts.items() if found == verdict]
        for verdict in ("better", "worse", "equal")
    }
    if not names["better"] and not names["worse"]:
        return f"equals {title} on every measure"
    parts = []
    if names["better"]:
        parts.append(f"beats {title} on {_listed(names['better'])}")
    if names["worse"]:
        by = "" if parts else f" by {title}"
        parts.append(f"is beaten{by} on {_listed(names['worse'])}")
    if names["equal"]:
        parts.append(f"equal on {_listed(names['equal'])}")
    return ", ".join(parts)


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _at_speed(problem_settings: Any, factor: float) -> Any:
    return replace(problem_settings, learning_rate=factor * problem_settings.learning_rate)


def _again(seed: np.random.SeedSequence) -> np.random.SeedSequence:
    """Return a seed that gives the same problems each time: drawing spawns children, which counts them."""
    return np.random.SeedSequence(seed.entropy, spawn_key=seed.spawn_key)


def _standing(
    known: FloatArray, found: FloatArray, higher_is_better: bool, resamples: NDArray[np.int64]
) -> Standing:
    difference = bootstrap_metric(found - known, resamples, CONFIDENCE)
    return Standing(
        bootstrap_metric(known, resamples, CONFIDENCE), difference, _verdict(difference, higher_is_better)
    )


def _verdict(difference: Metric, higher_is_better: bool) -> Literal["better", "worse", "equal"]:
    if difference.mean is None or difference.low is None or difference.high is None:
        return "equal"
    if abs(difference.mean) < RESOLUTION or difference.low <= 0 <= difference.high:
        return "equal"
    return "better" if (difference.mean > 0) == higher_is_better else "worse"
