"""The part of the report that only rules of spiking synapses have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from discover.known_rules import KNOWN_RULES
from discover.manifold import Manifold, Solution, judged
from discover.predict import linear_parameters
from discover.report.reading import Run, read_part
from discover.report.spiking_figures import EXPERIMENT, MANIFOLD, experiment_figure, manifold_figure
from discover.report.style import save, styled
from discover.rule import Rule
from discover.tasks import Task
from discover.tasks._balance import BalanceTask
from discover.tasks._balance_problems import LARGEST_INHIBITORY

__all__ = ["SpikingSection", "spiking_section"]

N_PROBLEMS = 8
SEED = 20_111_216
"""Root of the problems beside the run's seed; no stage draws from it."""

WEIGHT = 0.5
"""Weight at which pairing experiments begin: that of a balanced synapse."""


@dataclass(frozen=True)
class SpikingSection:
    """What the report says of spiking rules only.

    Attributes
    ----------
    figures : tuple of str
        Names of the figures that were drawn.
    theory : str
        The chosen rule beside the mean field, as a sentence; empty for rules that it says nothing about.
    answers : mapping from str to str
        Of the study of the manifold; empty where there was none.
    """

    figures: tuple[str, ...]
    theory: str
    answers: Mapping[str, str]


def spiking_section(run: Run, task: Task, settings: Any, folder: Path) -> SpikingSection | None:
    """Draw the figures of spiking rules; None for other tasks.

    Parameters
    ----------
    run : Run
    task : Task
    settings : dataclass
        The task's settings.
    folder : Path
        Of the figures.

    Raises
    ------
    OSError
        When a file cannot be written.
    """
    if not isinstance(task, BalanceTask):
        return None
    chosen = run.front.chosen.rule
    rules = {"chosen rule": chosen}
    for name in task.known_rules:
        known = KNOWN_RULES[name]
        if known.rule is not None:
            rules[known.title if name == task.reference else name] = known.rule
    has_study = (run.folder / "manifold.json").exists()
    study = read_part(run.folder, "manifold.json", Manifold, "manifold") if has_study else None
    figures = [EXPERIMENT]
    with styled():
        save(experiment_figure(rules, WEIGHT, LARGEST_INHIBITORY), folder, EXPERIMENT)
        if study is not None:
            figures.append(MANIFOLD)
            save(manifold_figure(study), folder, MANIFOLD)
    theory = _theory(task, chosen, settings, run.config.seed)
    return SpikingSection(tuple(figures), theory, {} if study is None else study.answers)


def _theory(task: BalanceTask, rule: Rule, settings: Any, seed: int) -> str:
    parameters = linear_parameters(rule)
    if parameters is None:
        return ""
    problems = task.draw(settings, N_PROBLEMS, np.random.SeedSequence([SEED, seed]))
    (one,) = judged(task, [parameters], problems)
    return theory_text(one, settings.target_hz)


def theory_text(one: Solution, target_hz: float) -> str:
    """Return in words how a rule stands to the mean field.

    Examples
    --------
    >>> from discover.predict import LinearParameters
    >>> vogels = LinearParameters(-0.25, 0.0, 1.0, 1.0, 20.0, 20.0)
    >>> theory_text(Solution(vogels, 0.1, 5.5, 6.25, 5.6, 0.99, True, True), 6.25)[:79]
    'For independent spike trains the chosen rule is predicted at 6.25 Hz; simulated'
    """
    if not np.isfinite(one.predicted_hz):
        return (
            "For independent spike trains the chosen rule has no stable rate; simulated it fires at "
            f"{one.simulated_hz:.3g} Hz (target {target_hz:g} Hz)."
        )
    text = (
        f"For independent spike trains the chosen rule is predicted at {one.predicted_hz:.3g} Hz; simulated "
        f"it fires at {one.simulated_hz:.3g} Hz (target {target_hz:g} Hz)."
    )
    if np.isfinite(one.corrected_hz):
        text += f" The covariances of the spike trains, measured and put in, give {one.corrected_hz:.3g} Hz."
    return text
