"""What other seeds found: a section of the report, and a figure of the study."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from discover.report.reading import Run
from discover.report.style import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILLION, new_figure
from discover.seed_study import SECTIONS, Family, SeedRow, Share, Study, find_study, read_study

__all__ = ["LOSSES", "StudySection", "losses_figure", "study_section"]

LOSSES = "losses"

LOWEST = 1e-4
"""An axis of losses that is logarithmic begins no lower."""

WIDE = 10
"""It is logarithmic where the largest loss is more than so many times the smallest."""

MOST_NAMED = 40
"""So many seeds can be named below the axis."""

_MARKS = {
    "exact": ("o", BLUE),
    "extra terms": ("s", ORANGE),
    "functional": ("^", GREEN),
    "missed": ("x", VERMILLION),
    "same form": ("o", BLUE),
    "further terms": ("s", ORANGE),
    "another form": ("x", VERMILLION),
    "no rule": ("D", SKY),
    "beats the baseline": ("o", BLUE),
    "no better than the baseline": ("x", VERMILLION),
    "nothing found": ("o", BLUE),
    "something found": ("x", VERMILLION),
    "not compared": ("D", SKY),
}


@dataclass(frozen=True)
class StudySection:
    """What the study of a run's pipeline found.

    Attributes
    ----------
    text : str
        The counts in words.
    outcomes : sequence of tuple of str and Share
    families : sequence of Family
    n_seeds : int
        Seeds that have run.
    link : str
        Address of its table from the report.
    """

    text: str
    outcomes: Sequence[tuple[str, Share]]
    families: Sequence[Family]
    n_seeds: int
    link: str


def study_section(run: Run) -> StudySection | None:
    """Return what the study of a run's pipeline found; None where there is none of the same settings.

    Raises
    ------
    ArtefactError
        When the file of the study is damaged, or was written by a later version.
    """
    path = find_study(run.folder, run.config.name)
    if path is None:
        return None
    study = read_study(path)
    sections = {"task": run.config.task, **run.config.sections}
    if not study.rows or study.sections != {name: sections.get(name) for name in SECTIONS}:
        return None
    return StudySection(
        text=study.text,
        outcomes=list(study.outcomes.items()),
        families=study.families,
        n_seeds=len(study.rows),
        link=os.path.relpath(path.with_suffix(".md"), run.folder).replace(os.sep, "/"),
    )


def losses_figure(study: Study) -> Figure:
    """Draw the losses of all seeds, the lowest first, with their intervals.

    Parameters
    ----------
    study : Study
        Seeds whose runs failed are left out.
    """
    figure = new_figure(3.6)
    axes = figure.subplots()
    rows = sorted((row for row in study.rows if row.loss.mean is not None), key=_loss)
    sets = " or ".join(dict.fromkeys(row.loss_on for row in rows))
    axes.set(xlabel="seed, the lowest loss first", ylabel=f"loss on {sets}" if sets else "loss")
    if not rows:
        return figure
    for outcome in dict.fromkeys(row.outcome for row in rows):
        marker, colour = _MARKS.get(outcome, ("P", PURPLE))
        shown = {rank: row for rank, row in enumerate(rows, 1) if row.outcome == outcome}
        losses = [_loss(row) for row in shown.values()]
        axes.plot([*shown], losses, linestyle="none", marker=marker, color=colour, label=outcome, zorder=3)
        for rank, row in shown.items():
            if row.loss.low is not None and row.loss.high is not None:
                axes.vlines(rank, row.loss.low, row.loss.high, color=GREY)
    if _loss(rows[-1]) > WIDE * max(_loss(rows[0]), LOWEST):
        axes.set_yscale("log", nonpositive="clip")
    else:
        axes.set_ylim(bottom=0)
    axes.set_xlim(0, len(rows) + 1)
    if len(rows) <= MOST_NAMED:
        axes.set_xticks(range(1, len(rows) + 1), [str(row.seed) for row in rows], rotation=90, fontsize=8)
    axes.grid(visible=False, axis="x")
    figure.legend(loc="outside upper left", ncols=2)
    return figure


def _loss(row: SeedRow) -> float:
    return row.loss.mean if row.loss.mean is not None else float("inf")
