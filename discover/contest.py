"""A found rule beside the known ones, measure by measure: which of them it beats, and on what.

Every rule runs at the multiples of its update that suit it best, and the known ones with their constants
fitted to the task as well, both on problems that are drawn for this alone: published rules come with no
learning rate, and a rule must not win because somebody else's constants were meant for other inputs.

Verdicts follow from intervals of paired differences that cover all together, and from a margin: a share of
the smaller of the two distances to the best value that a measure can have. So "equivalent" says that the
rules were shown to differ by less than that, and where neither this nor the contrary was shown the verdict is
"undecided".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from discover.errors import RuleError
from discover.forms import Contest, Standing
from discover.intervals import interval, joint_confidence, paired, verdict
from discover.known_rules import KnownRule
from discover.progress import Progress, silent
from discover.rule import Rule
from discover.speeds import AS_GIVEN, Speeds, at_speeds, drawn_for_tuning, evaluate_at, tuned_speeds
from discover.tasks.base import Task, all_known_of

__all__ = ["contest", "contest_text", "margin_between"]

FloatArray = NDArray[np.float64]

SHARE = 0.1
"""The margin, relative to the smaller distance from a measure's best value."""

SMALLEST_MARGIN = 0.002
"""Of any measure: cosines of 0.999 and 0.9999 are the same direction to every purpose."""

BATCH = 16
"""Problems that a step of the refinement of known rules looks at."""

LAST_RATIO = 1.03
"""Neighbouring multiples that are told apart."""


def contest(
    task: Task,
    problem_settings: Any,
    rule: Rule,
    n_problems: int,
    seed: int,
    progress: Progress = silent,
    *,
    n_tuning: int = 64,
    refine_steps: int = 60,
) -> tuple[Contest, ...]:
    """Run a rule and all known rules of a task on the same fresh problems.

    Parameters
    ----------
    task : Task
    problem_settings : dataclass
        The task's settings.
    rule : Rule
        The found one; its constants have been fitted, and stay.
    n_problems : int
        Problems on which rules are judged.
    seed : int
    progress : callable, optional
    n_tuning : int
        Further problems, on which speeds and the known rules' constants are fitted; 0 leaves them as they
        are.
    refine_steps : int
        See :func:`discover.search.refine.refined`.

    Returns
    -------
    tuple of Contest
        One for each known update.
    """
    tune_seed, draw_seed, refine_seed = np.random.SeedSequence(seed).spawn(3)
    names, known = _different(all_known_of(task))
    tuning = drawn_for_tuning(task, problem_settings, n_tuning, tune_seed)
    progress(0.0, "the speed of each rule")
    *speeds, found_speeds = tuned_speeds(task, [*known, rule], tuning, last_ratio=LAST_RATIO)
    fitted: list[tuple[Rule | KnownRule, Speeds]] = []
    for number, (one, at, child) in enumerate(zip(known, speeds, refine_seed.spawn(len(known)), strict=True)):
        progress((1 + number) / (len(known) + 3), f"constants of {names[number][0]}")
        rng = np.random.default_rng(child)
        fitted.append(_fitted(task, one, at, tuning, refine_steps, rng))
    progress((1 + len(known)) / (len(known) + 3), f"beside {len(known)} known rules")
    problems = task.draw(problem_settings, n_problems, draw_seed)
    published = list(zip(known, speeds, strict=True))
    found, *measured = evaluate_at(task, [(rule, found_speeds), *fitted, *published], problems)
    n_standings = sum(len(values) for values in measured[: len(known)])
    joint = joint_confidence(n_standings)
    contests = []
    for number, at in enumerate(speeds):
        refitted, _ = fitted[number]
        with_constants, as_published = (
            {
                measure: _standing(task, measure, found[measure], values, joint)
                for measure, values in measured[which].items()
            }
            for which in (number, number + len(known))
        )
        contests.append(
            Contest(
                name=names[number][0],
                also=names[number][1:],
                speed=next(iter(at.values()), 1.0),
                speeds=at,
                found_speeds=found_speeds,
                refitted=refitted if isinstance(refitted, Rule) else None,
                measures=with_constants,
                as_published=as_published,
            )
        )
    progress(1.0, f"beside {len(known)} known rules")
    return tuple(contests)


def margin_between(first: FloatArray, second: FloatArray, best: float = 0.0) -> float:
    """Return the largest difference of two means that does not matter.

    Parameters
    ----------
    first, second : ndarray, shape (n_problems,)
        A measure of two rules.
    best : float
        The best value that it can have.

    Examples
    --------
    >>> round(margin_between(np.array([0.2, 0.4]), np.array([0.9, 0.9])), 3)
    0.03
    """
    distances = [abs(float(values.mean()) - best) for values in (first, second)]
    smallest = min((one for one in distances if np.isfinite(one)), default=0.0)
    return max(SMALLEST_MARGIN, SHARE * smallest)


def _different(
    known: Mapping[str, Rule | KnownRule],
) -> tuple[list[tuple[str, ...]], list[Rule | KnownRule]]:
    """Return rules that differ, each with all its names: two names of one update are not two rules."""
    names: list[tuple[str, ...]] = []
    rules: list[Rule | KnownRule] = []
    for name, rule in known.items():
        if rule in rules:
            names[rules.index(rule)] += (name,)
        else:
            names.append((name,))
            rules.append(rule)
    return names, rules


def _fitted(
    task: Task,
    known: Rule | KnownRule,
    speeds: Speeds,
    tuning: Any,
    n_steps: int,
    rng: np.random.Generator,
) -> tuple[Rule | KnownRule, Speeds]:
    """Return a known rule with the constants that suit the tuning problems, and the speeds to run it at."""
    from discover.search.refine import refined  # whoever only puts verdicts into words needs no search

    if isinstance(known, KnownRule) or tuning is None:
        return known, speeds
    try:
        return refined(task, at_speeds(known, speeds), tuning, n_steps, BATCH, rng)[0], AS_GIVEN
    except RuleError:
        return known, speeds


def _standing(task: Task, measure: str, found: FloatArray, known: FloatArray, joint: float) -> Standing:
    higher_is_better = measure in task.higher_is_better
    plausible = task.plausible.get(measure)
    possible = task.possible.get(measure)
    known_mean, found_mean = interval(known, possible=possible), interval(found, possible=possible)
    if plausible is not None:
        found, known = (_outside(values, *plausible) for values in (found, known))
    margin = margin_between(found, known, best=1.0 if higher_is_better else 0.0)
    difference = paired(found, known, joint, possible)
    return Standing(
        known=known_mean,
        found=found_mean,
        difference=difference,
        margin=margin,
        verdict=verdict(difference, margin, higher_is_better),
    )


def _outside(values: FloatArray, lowest: float, highest: float) -> FloatArray:
    """Distance from a range within which every value is as good as any other."""
    distances: FloatArray = np.maximum(np.maximum(lowest - values, values - highest), 0.0)
    return distances


def contest_text(title: str, verdicts: Mapping[str, str]) -> str:
    """Return in words what a rule beats a known one on, and what it is beaten on.

    Parameters
    ----------
    title : str
        The known rule.
    verdicts : mapping from str to str
        Measure -> verdict. ``equal``, of runs before there were margins, said that no difference was shown,
        and counts as undecided.

    Examples
    --------
    >>> contest_text("Hebb", {"loss": "better", "norm_error": "better", "cosine": "equivalent"})
    'beats Hebb on loss and norm error, equivalent on cosine'
    >>> contest_text("Oja (1982)", {"loss": "equivalent", "cosine": "equivalent"})
    'is equivalent to Oja (1982) on every measure'
    >>> contest_text("BCM", {"loss": "undecided", "cosine": "worse"})
    'is beaten by BCM on cosine, undecided on loss'
    """
    names: dict[str, list[str]] = {verdict: [] for verdict in ("better", "worse", "equivalent", "undecided")}
    for measure, found in verdicts.items():
        names["undecided" if found == "equal" else found].append(measure.replace("_", " "))
    if len(names["equivalent"]) == len(verdicts):
        return f"is equivalent to {title} on every measure"
    if len(names["undecided"]) == len(verdicts):
        return f"is neither shown to differ from {title} nor to be equivalent on any measure"
    parts = []
    if names["better"]:
        parts.append(f"beats {title} on {_listed(names['better'])}")
    if names["worse"]:
        by = "" if parts else f" by {title}"
        parts.append(f"is beaten{by} on {_listed(names['worse'])}")
    if names["equivalent"]:
        to = "equivalent" if parts else f"is equivalent to {title}"
        parts.append(f"{to} on {_listed(names['equivalent'])}")
    if names["undecided"]:
        parts.append(f"undecided on {_listed(names['undecided'])}")
    return ", ".join(parts)


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
