"""Recovery studies: how often, how exactly and how fast the fit finds a known rule again."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from discover.errors import TaskError
from discover.fit import FitSettings, fit
from discover.journal import Journal, JournaledTask, remembered
from discover.known_rules import get_known_rule
from discover.outcome import share_interval
from discover.progress import Progress, silent
from discover.rule import Rule
from discover.spread import spread
from discover.tasks.base import Task, bases, coefficients_of

__all__ = ["Recovery", "coefficient_angle", "recover", "recover_presets"]

LARGE = 500
"""From this number of feed-forward synapses on, a fit has fewer problems and a shorter path."""

N_COMPARED = 64

FRESH = 0xF7E54
"""Sets the random numbers of the problems for judging apart: a fit takes its own from the bare seed."""


@dataclass(frozen=True)
class Recovery:
    """One run of a recovery study.

    Attributes
    ----------
    seed : int
    rule : Rule
    exact : bool
        Whether the rule has exactly the terms of the known one.
    angles_degrees : dict from str to float
        Angle between the coefficient vectors, by slot.
    seconds : float
        Wall time of drawing the problems and of the fit.
    """

    seed: int
    rule: Rule
    exact: bool
    angles_degrees: Mapping[str, float]
    seconds: float


def recover(
    task: Task,
    sizes: Sequence[int],
    n_seeds: int,
    settings: FitSettings | None = None,
    progress: Progress = silent,
    outputs: Sequence[int] = (),
    journal: Journal | None = None,
) -> list[dict[str, Any]]:
    """Fit a task at several sizes from several seeds, one random start each.

    Parameters
    ----------
    task : Task
        Its reference rule is the one to be found.
    sizes : sequence of int
        Numbers of inputs.
    n_seeds : int
        Runs for each size.
    settings : FitSettings, optional
        Default: one restart; from 500 feed-forward synapses on, fewer problems and a shorter path.
    progress : callable, optional
    outputs : sequence of int
        Numbers of outputs, each tried with every number of inputs that is not smaller; for tasks that have
        several outputs.
    journal : Journal, optional
        Keeps all simulations, so that a study that was cut off goes on where it stopped.

    Returns
    -------
    list of dict
        One row a size: ``inputs`` (and ``outputs``), ``exact`` (share of runs with exactly the terms of the
        rule), ``low`` and ``high`` (95 % Wilson interval of the share), ``runs``, ``angle (deg)``, of each
        slot where there are several, and ``seconds`` (medians), ``slowest (s)``.

    Raises
    ------
    TaskError
        If the task has no gradients, no number of outputs to choose, or no size is possible.
    """
    target = _target(task)
    all_sizes = _sizes(task, sizes, outputs)
    items, names = [], []
    for size in all_sizes:
        problem_settings = task.settings_type(**{f"n_{name}": value for name, value in size.items()})
        fit_settings = settings or _fit_settings(size["inputs"] * size.get("outputs", 1))
        label = ", ".join(f"{value} {name}" for name, value in size.items())
        items += [(problem_settings, fit_settings, seed, target) for seed in range(n_seeds)]
        names += [f"{label}, seed {seed}" for seed in range(n_seeds)]
    runs = spread(
        _run, _kept(task, journal), items, progress, names, has_populations=_has_populations(settings)
    )
    return [
        {**size, **_row(runs[number * n_seeds : (number + 1) * n_seeds])}
        for number, size in enumerate(all_sizes)
    ]


def _kept(task: Task, journal: Journal | None) -> Task | JournaledTask:
    return task if journal is None else JournaledTask(task, journal)


def _has_populations(settings: FitSettings | None) -> bool:
    return settings is not None and settings.optimiser == "cmaes"


def _sizes(task: Task, inputs: Sequence[int], outputs: Sequence[int]) -> list[dict[str, int]]:
    if not outputs:
        return [{"inputs": size} for size in inputs]
    if "n_outputs" not in {entry.name for entry in fields(task.settings_type)}:
        raise TaskError(f"The task {task.name!r} has one output, so there is no number of them to choose.")
    possible = [{"inputs": n, "outputs": k} for n in inputs for k in outputs if k <= n]
    if not possible:
        raise TaskError(f"Each output needs an input, but {min(outputs)} is more than {max(inputs)}.")
    return possible


def recover_presets(
    task: Task,
    presets: Sequence[str],
    settings: FitSettings | None = None,
    progress: Progress = silent,
    journal: Journal | None = None,
) -> list[dict[str, Any]]:
    """Fit a task under published settings and set the found rule beside the known one.

    Returns
    -------
    list of dict
        One row a preset: ``preset``, ``rule``, and the mean losses over fresh problems of the found rule
        (``found``), of the known rule as published (``known``) and of its best multiple (``known, scaled``).
    """
    target = _target(task)
    chosen = settings or FitSettings(restarts=1)
    items = [(preset, chosen, number, target) for number, preset in enumerate(presets)]
    return spread(
        _preset, _kept(task, journal), items, progress, presets, has_populations=_has_populations(settings)
    )


def _preset(task: Task, item: tuple[str, FitSettings, int, Rule], progress: Progress) -> dict[str, Any]:
    preset, settings, number, target = item
    problem_settings = task.settings_type(preset=preset)
    found = fit(task, problem_settings, settings, number, progress).rule
    fresh = _fresh_problems(task, problem_settings, number)
    scaled = [task.losses(target.scaled(factor), fresh).mean() for factor in np.geomspace(0.1, 30, 40)]
    return {
        "preset": preset,
        "found": float(task.losses(found, fresh).mean()),
        "known": float(task.losses(target, fresh).mean()),
        "known, scaled": float(min(scaled)),
        "rule": str(found),
    }


def coefficient_angle(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Return the angle between two coefficient vectors in degrees; 90 where one of them is zero.

    Examples
    --------
    >>> round(coefficient_angle(np.array([1.0, 1.0]), np.array([2.0, 0.0])), 6)
    45.0
    """
    norms = float(np.linalg.norm(first) * np.linalg.norm(second))
    if norms == 0:
        return 90.0
    return float(np.degrees(np.arccos(np.clip(first @ second / norms, -1, 1))))


def _target(task: Task) -> Rule:
    if not task.has_gradient:
        raise TaskError(
            f"Recovery is counted for tasks with gradients, and {task.name!r} has none. Count what its "
            "whole pipeline chooses from many seeds instead: discover study FILE.toml --seeds 20."
        )
    reference = task.reference_for(task.settings_type())
    rule = get_known_rule(reference).rule
    if rule is None or not rule.is_polynomial:
        raise TaskError(f"The reference rule {reference!r} of task {task.name!r} is not a local polynomial.")
    return rule


def _fresh_problems(task: Task, problem_settings: Any, seed: int) -> Any:
    """Draw problems to judge a fit by that the fit with this seed has neither been fitted nor chosen on."""
    return task.draw(problem_settings, N_COMPARED, np.random.SeedSequence([FRESH, seed]))


def _fit_settings(n_synapses: int) -> FitSettings:
    settings = FitSettings(restarts=1)
    if n_synapses < LARGE:
        return settings
    return replace(
        settings,
        n_train=24,
        n_heldout=32,
        n_tuning=32,
        penalties=(0.0, 0.002, 0.01, 0.03),
        path_steps=60,
        refit_steps=60,
    )


def _run(task: Task, item: tuple[Any, FitSettings, int, Rule], progress: Progress) -> Recovery:
    problem_settings, settings, seed, target = item
    started = time.perf_counter()
    rule = fit(task, problem_settings, settings, seed, progress).rule
    elapsed = time.perf_counter() - started
    # A run that is taken from a journal says how long it took when it was made.
    question = (problem_settings, settings, seed)
    kept = remembered(task, "seconds", None, question, lambda _: {"seconds": np.array(elapsed)})
    seconds = float(kept["seconds"])
    return Recovery(seed, rule, _support(rule) == _support(target), _angles(task, rule, target), seconds)


def _angles(task: Task, rule: Rule, target: Rule) -> dict[str, float]:
    ends = np.cumsum([len(basis) for basis in bases(task)])[:-1]
    found, known = (np.split(coefficients_of(task, one), ends) for one in (rule, target))
    return {slot.name: coefficient_angle(f, k) for slot, f, k in zip(task.slots, found, known, strict=True)}


def _support(rule: Rule) -> Mapping[str, frozenset[str]]:
    return {slot: frozenset(terms) for slot, terms in rule.coefficients().items()}


def _row(runs: Sequence[Recovery]) -> dict[str, Any]:
    exact = sum(run.exact for run in runs)
    low, high = share_interval(exact, len(runs))
    slots = list(runs[0].angles_degrees)
    angles = {
        "angle (deg)" if len(slots) == 1 else f"{slot} angle (deg)": float(
            np.median([run.angles_degrees[slot] for run in runs])
        )
        for slot in slots
    }
    return {
        "exact": exact / len(runs),
        "low": low,
        "high": high,
        "runs": len(runs),
        **angles,
        "seconds": float(np.median([run.seconds for run in runs])),
        "slowest (s)": max(run.seconds for run in runs),
    }
