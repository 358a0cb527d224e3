"""Figures of a screen: how many rules are of which class, what they prefer over time, and how they differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from discover.report.style import BLUE, GREY, ORANGE, VERMILLION, new_figure, save, styled
from discover.screen import PRIOR, class_shares
from discover.tasks.memory_measures import MemorySettings
from sims.memory import PROJECTIONS

__all__ = ["classes_figure", "parameters_figure", "preference_figure", "write_figures"]

N_BINS = 8
"""Of each histogram of a parameter."""

_SYMBOLS = {
    "tau_pre": r"$\tau_{\mathrm{pre}}$ (ms)",
    "tau_post": r"$\tau_{\mathrm{post}}$ (ms)",
    "alpha": r"$\alpha$",
    "beta": r"$\beta$",
    "gamma": r"$\gamma$",
    "kappa": r"$\kappa$",
}
_COLOURS = {"stable": GREY, "novelty": BLUE, "familiarity": ORANGE}


def write_figures(folder: Path, rows: Sequence[Mapping[str, Any]], settings: MemorySettings) -> None:
    """Draw ``classes``, ``preference`` and ``parameters`` into a folder."""
    with styled():
        save(classes_figure(rows), folder, "classes")
        save(parameters_figure(rows), folder, "parameters")
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


def parameters_figure(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw how the parameters of stable quartets are distributed, and those of quartets with a memory.

    The prior is flat: a share of one in every bin, which the dashed line shows.
    """
    figure = new_figure(1.5 * len(PROJECTIONS))
    grid = figure.subplots(len(PROJECTIONS), len(PRIOR), sharex="col", sharey=True)
    groups = {
        "all stable quartets": [row for row in rows if row["class"] in _COLOURS],
        "those with a memory (novelty)": [row for row in rows if row["class"] == "novelty"],
    }
    for projection, line in zip(PROJECTIONS, grid, strict=True):
        for (name, (low, high)), axes in zip(PRIOR.items(), line, strict=True):
            for (label, some), colour in zip(groups.items(), (GREY, BLUE), strict=True):
                if some:
                    values = [row[f"{projection}_{name}"] for row in some]
                    weights = [N_BINS / len(some)] * len(some)
                    axes.hist(
                        values, N_BINS, range=(low, high), weights=weights, histtype="step", color=colour,
                        label=f"{label}: {len(some)}", lw=1.5,
                    )  # fmt: skip
            axes.axhline(1.0, color="black", lw=0.6, ls="--")
            if projection == PROJECTIONS[-1]:
                axes.set_xlabel(_SYMBOLS[name])
        line[0].set_ylabel(projection)
    figure.supylabel("density (that of the prior is 1)", fontsize="medium")
    if groups["all stable quartets"]:
        figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper left", ncols=2)
    return figure
