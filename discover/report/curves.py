"""Learning curves on freshly drawn problems: the chosen rule and the known rule of the task."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from discover.errors import ArtefactError
from discover.known_rules import KNOWN_RULES
from discover.report.reading import Run
from discover.rule import Rule
from discover.speeds import Speeds, at_speeds
from discover.stored import adapter, complaint
from discover.tasks import Task

__all__ = ["LearningCurve", "best_speeds", "checked_settings", "learning_curves"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

N_PROBLEMS = 20
N_POINTS = 120
BAND = (0.1, 0.9)
"""Quantiles of the problems' losses that the band lies between. It shows how problems differ; so few of them
would not carry an interval of the mean.
"""
SEED = 20_200_612
"""Root of the problems, with the run's seed; no stage draws from it, so no rule was fitted on them."""


@dataclass(frozen=True)
class LearningCurve:
    """Loss along the inner loop.

    Attributes
    ----------
    name : str
    steps : ndarray of int, shape (n_points,)
        Updates done.
    median, low, high : ndarray, shape (n_points,)
        Median over problems, and the range in which eight of ten are.
    speeds : mapping from str to float
        Synapses -> multiple of the rule's update; empty where it ran as it is.
    """

    name: str
    steps: IntArray
    median: FloatArray
    low: FloatArray
    high: FloatArray
    speeds: Speeds = field(default_factory=dict)


def learning_curves(
    task: Task,
    settings: Mapping[str, Any],
    seed: int,
    rules: Mapping[str, Rule],
    speeds: Mapping[str, Speeds] | None = None,
) -> list[LearningCurve]:
    """Run rules on the same fresh problems.

    Parameters
    ----------
    task : Task
    settings : mapping
        The task's settings, as ``config.json`` has them.
    seed : int
        Seed of the run.
    rules : mapping from str to Rule
    speeds : mapping from str to mapping, optional
        Multiples of the rules' updates, by the rules' names; as they are by default.

    Raises
    ------
    ArtefactError
        When the settings are none of the task's.
    """
    problems = task.draw(checked_settings(task, settings), N_PROBLEMS, np.random.SeedSequence([SEED, seed]))
    curves = []
    for name, rule in rules.items():
        factors = (speeds or {}).get(name, {})
        steps, losses = task.learning_curve(at_speeds(rule, factors), problems, N_POINTS)
        low, median, high = np.quantile(losses, [BAND[0], 0.5, BAND[1]], axis=1)
        curves.append(LearningCurve(name, steps, median, low, high, factors))
    return curves


def best_speeds(run: Run, rules: Mapping[str, Rule]) -> dict[str, Speeds]:
    """Return the multiples that suited rules best when they were compared; none where they were not.

    Parameters
    ----------
    run : Run
    rules : mapping from str to Rule
        The chosen rule first, the others by their titles.
    """
    contests = run.comparison.contests
    found = {next(iter(rules)): contests[0].found_speeds} if contests else {}
    for one in contests:
        for name in (one.name, *one.also):
            if name in KNOWN_RULES and KNOWN_RULES[name].title in rules:
                found[KNOWN_RULES[name].title] = one.speeds
    return found


def checked_settings(task: Task, table: Mapping[str, Any]) -> Any:
    """Return the task's settings from what ``config.json`` has of them.

    Raises
    ------
    ArtefactError
        When they are none of the task's.
    """
    try:
        # Through JSON, because its strict mode takes a list for a tuple and still no "3" for a 3.
        return adapter(task.settings_type).validate_json(json.dumps(table), strict=True)
    except ValidationError as error:
        raise ArtefactError(
            f"config.json was edited: the task {task.name} cannot use problems.{complaint(error)}. "
            "Start the run again with `discover run TOML`."
        ) from None
