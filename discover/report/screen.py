"""Figures of a screen of rules: how many are of which class, and what stable ones prefer over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from discover.report.style import BLUE, GREY, ORANGE, VERMILLION, new_figure, save, styled
from discover.screen import class_shares
from discover.tasks.memory_measures import MemorySettings

__all__ = ["classes_figure", "preference_figure", "write_figures"]

_COLOURS = {"stable": GREY, "novelty": BLUE, "familiarity": ORANGE}


def write_figures(folder: Path, rows: Sequence[Mapping[str, Any]], settings: MemorySettings) -> None:
    """Draw ``classes`` and ``preference`` into a folder."""
    with styled():
        save(classes_figure(rows), folder, "classes")
        save(preference_figure(rows, settings), folder, "preference")


def classes_figure(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw the share of each class and of each way to be unstable, with 95 % intervals."""
    counts = [row for row in class_shares(rows) if row["class"] != "any stable"]
    figure = new_figure(1.2 + 0.3 * len(counts))
    axes = figure.subplots()
    for place, row in enumerate(counts):
        colour = _COLOURS.get(row["class"], VERMILLION)
        axes.barh(place, row["share"], color=colour, alpha=0.6 if ":" in row["class"] else 1.0)
        axes.hlines(place, row["low"], row["high"], color="black")
    axes.set_yticks(range(len(counts)), [f"{row['class']} ({row['n']})" for row in counts])
    axes.invert_yaxis()
    axes.set(xlim=(0, 1), xlabel=f"share of {len(rows)} quartets")
    axes.grid(visible=False, axis="y")
    return figure


def preference_figure(rows: Sequence[Mapping[str, Any]], settings: MemorySettings) -> Figure:
    """Draw the preference of stable quartets for the novel stimulus at each test."""
    figure = new_figure(3.6)
    axes = figure.subplots()
    breaks = settings.breaks_s
    shown = dict.fromkeys(_COLOURS, 0)
    for row in rows:
        if row["class"] in _COLOURS:
            values = [row[f"preference_{time:g}s"] for time in breaks]
            label = row["class"] if shown[row["class"]] == 0 else None
            axes.plot(
                breaks, values, "o-", ms=3, lw=0.8, color=_COLOURS[row["class"]], label=label, alpha=0.6
            )
            shown[row["class"]] += 1
    axes.axhline(0.0, color="black", lw=0.6)
    axes.set_xscale("log")
    axes.set(xlabel="time since training (s)", ylabel="preference for the novel stimulus")
    if any(shown.values()):
        figure.legend(loc="outside upper left", ncols=3)
    return figure
