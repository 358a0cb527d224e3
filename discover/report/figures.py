"""The figures of a run, for pages and slides: Matplotlib, as SVG and PNG."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from discover.expression import parse, to_latex
from discover.fit.result import FitResult, PathPoint
from discover.forms import Validated
from discover.pareto import ParetoFront, Spent
from discover.report.axes import front_view, is_spread, set_log_axis, staircase
from discover.report.curves import LearningCurve
from discover.report.formula import rule_text
from discover.report.reading import Run
from discover.report.style import (
    BLACK,
    BLUE,
    GREY,
    LINES,
    ORANGE,
    VERMILLION,
    new_figure,
    save,
    styled,
)
from discover.slots import get_slot

__all__ = ["FIGURES", "SPENT", "draw_figures", "draw_front", "ordered_names"]

FIGURES = ("front", "path", "stability", "learning-curves", "folds")
"""Names of the figures."""

SPENT = "spent"
"""Name of one more, where there were several ways to search."""

MAX_BARS = 16
"""Terms beyond this number are left out of the figure of stability, rarest first."""

LONGEST_BESIDE_ANOTHER = 32
"""Letters of a name that fits into half the width of a figure; with a longer one every name has a line."""

LONGEST_LINE = 56
"""Letters of a name that fits into the width of a figure; a longer one has several lines."""

Term = tuple[str, str]


def draw_figures(run: Run, curves: Sequence[LearningCurve], axis: tuple[float, str], folder: Path) -> None:
    """Draw all figures of a run into a folder.

    Parameters
    ----------
    run : Run
    curves : sequence of LearningCurve
    axis : tuple of float and str
        See :meth:`discover.tasks.base.Task.curve_axis`.
    folder : Path

    Raises
    ------
    OSError
        When a file cannot be written.
    """
    with styled():
        figures = (
            front_figure(run.front),
            path_figure(run.path),
            stability_figure(run.path),
            curves_figure(curves, *axis),
            folds_figure(run.validation.candidates, run.front),
        )
        for name, figure in zip(FIGURES, figures, strict=True):
            save(figure, folder, name)
        if run.front.spent:
            save(spent_figure(run.front.spent), folder, SPENT)


def front_figure(front: ParetoFront) -> Figure:
    """Draw complexity against loss, the front as a staircase, an arrow at the chosen rule."""
    figure = new_figure(3.9)
    draw_front(front, figure.add_subplot())
    figure.legend(loc="outside upper left", ncols=2)
    return figure


def draw_front(front: ParetoFront, axes: Axes) -> None:
    """Draw a front as in :func:`front_figure` into axes, without a legend."""
    on_front = front.front
    beaten = [one for one in front.candidates if not one.on_front]
    view = front_view(front)
    axes.scatter(
        [one.complexity for one in beaten],
        [one.loss for one in beaten],
        s=26,
        facecolors="none",
        edgecolors=GREY,
        label="beaten by another" + (f" ({view.n_outside} outside)" if view.n_outside else ""),
    )
    axes.step(*staircase(front), where="post", color=BLUE, linewidth=1.2)
    axes.errorbar(
        [one.complexity for one in on_front],
        [one.loss for one in on_front],
        yerr=np.abs([[one.loss - one.low, one.high - one.loss] for one in on_front]).T,
        fmt="o",
        color=BLUE,
        capsize=3,
        label="on the front",
    )
    chosen = front.chosen
    axes.scatter(chosen.complexity, chosen.loss, s=130, facecolors="none", edgecolors=VERMILLION)
    on_left = chosen.complexity <= view.right / 2
    note = axes.annotate(
        textwrap.fill(f"chosen: {rule_text(chosen.rule)}", 50, max_lines=3, placeholder=" …"),
        (chosen.complexity, chosen.loss),
        xytext=(0.02 if on_left else 0.98, 0.02),
        textcoords="axes fraction",
        ha="left" if on_left else "right",
        va="bottom",
        parse_math=False,
        arrowprops={
            "arrowstyle": "-|>",
            "color": VERMILLION,
            "shrinkB": 8,
            "linewidth": 1.4,
            "relpos": (0.5, 1.0),
        },
    )
    note.set_in_layout(False)  # or a long rule would squeeze the axes
    if view.logarithmic:
        set_log_axis(axes)
        axes.set_ylim(10**view.low, 10**view.high)
    else:
        axes.set_yticks(view.ticks)
        axes.set_ylim(view.low, view.high)
    axes.set_xlim(0, view.right)
    axes.set(xlabel="complexity (what the formula costs to say)", ylabel=front.loss_name)


def path_figure(path: FitResult) -> Figure:
    """Draw coefficients and held-out loss against the penalty, for the restart of the chosen point."""
    chosen = path.chosen_point
    points = _walked(path)
    positions = _Positions([point.penalty for point in (*points, chosen)])
    figure = new_figure(6.2)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    _draw_coefficients(upper, points, chosen, positions)
    _draw_losses(lower, path, points, positions)
    for axes in (upper, lower):
        axes.axvline(positions(chosen.penalty), color=VERMILLION, linewidth=1, linestyle=":")
    lower.set_xlabel("weight of the L1 penalty (sparser to the right)")
    positions.label(lower)
    handles, labels = upper.get_legend_handles_labels()
    columns = 4 if len(chosen.coefficients) == 1 else 2  # with several slots labels name theirs
    figure.legend(
        handles, labels, loc="outside upper left", ncols=columns, handlelength=2.6, columnspacing=1.2
    )
    return figure


def stability_figure(path: FitResult, label: str = "share of restarts that chose the term") -> Figure:
    """Draw, for each term, the share of restarts (or of what the label says) whose own choice has it."""
    shares = {
        (slot, term): share for slot, terms in path.term_stability.items() for term, share in terms.items()
    }
    chosen = path.chosen_point.terms
    order = sorted(shares, key=lambda key: (shares[key], key in chosen, key))[-MAX_BARS:]
    figure = new_figure(1.3 + 0.3 * max(len(order), 2))
    axes = figure.add_subplot()
    for position, term in reversed(list(enumerate(order))):
        inside = term in chosen
        axes.barh(
            position,
            shares[term],
            height=0.7,
            color=BLUE if inside else "white",
            edgecolor=BLUE if inside else GREY,
            hatch="" if inside else "///",
            label="in the chosen rule" if inside else "not in it",
        )
        axes.text(shares[term] + 0.015, position, f"{100 * shares[term]:.0f} %", va="center")
    axes.set_yticks(range(len(order)), [_term_label(term, path.chosen_point) for term in order])
    axes.set(xlim=(0, 1.12), xlabel=label)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
    axes.grid(visible=False, axis="y")
    _legend_above(figure, axes)
    return figure


def curves_figure(curves: Sequence[LearningCurve], unit: float, label: str) -> Figure:
    """Draw loss along the inner loop: median and eight of ten problems; the last rule is under the others."""
    figure = new_figure(3.7)
    axes = figure.add_subplot()
    looks = ((BLUE, "-", 1.8), (ORANGE, "-", 4.5))
    for number, curve in enumerate(curves):
        colour, dashes, width = looks[number % len(looks)]
        layer = 3 - number / len(curves)
        places = unit * curve.steps
        axes.fill_between(
            places, curve.low, curve.high, color=colour, alpha=0.22, linewidth=0, zorder=layer - 1
        )
        axes.plot(
            places,
            curve.median,
            color=colour,
            linestyle=dashes,
            linewidth=width,
            label=curve.name,
            zorder=layer,
        )
    _loss_axis(axes, [float(value) for curve in curves for value in (curve.median.min(), curve.median.max())])
    axes.set(xlabel=label, ylabel="loss on fresh problems")
    axes.locator_params(axis="x", nbins=5)
    axes.margins(x=0)
    _legend_above(figure, axes)
    return figure


_OUTCOMES = {"passed": (BLUE, "✓"), "failed": (ORANGE, "✗"), "undecided": (GREY, "?")}


def folds_figure(validation: Mapping[str, Validated], front: ParetoFront) -> Figure:
    """Draw which rule passed which fold; the mark says it, the colour repeats it."""
    names = ordered_names(validation, front)
    folds = list(dict.fromkeys(fold.name for name in names for fold in validation[name].folds))
    figure = new_figure(1.7 + 0.3 * max(len(folds), 1), max(4.0, 2.4 + 0.42 * len(names)))
    axes = figure.add_subplot()
    for column, name in enumerate(names):
        for fold in validation[name].folds:
            colour, mark = _OUTCOMES[fold.outcome]
            row = folds.index(fold.name)
            axes.add_patch(_cell(column, row, colour))
            axes.text(column, row, mark, ha="center", va="center", color="white" if fold.passed else BLACK)
    labels = [
        f"{_shortened(name, 24)} (chosen)" if name == front.chosen.id else _shortened(name, 24)
        for name in names
    ]
    _plain_ticks(axes, labels, [_shortened(fold, 32) for fold in folds])
    axes.set(xlim=(-0.6, max(len(names), 1) - 0.4), ylim=(max(len(folds), 1) - 0.4, -0.6))
    axes.set_title("✓ passed    ✗ failed    ? undecided", loc="left", fontsize=10)
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def spent_figure(spent: Sequence[Spent]) -> Figure:
    """Draw the lowest loss of each way to search against the problems simulated for it."""
    figure = new_figure(3.2)
    axes = figure.add_subplot()
    for one, (colour, dashes) in zip(spent, LINES, strict=False):
        counts = [max(count, 1) for count, _ in one.trace] + [max(one.n_simulated, 1)]
        losses = [loss for _, loss in one.trace] + [one.trace[-1][1] if one.trace else np.nan]
        axes.step(counts, losses, where="post", color=colour, linestyle=dashes, label=one.way)
    axes.set_xscale("log")
    _loss_axis(axes, [loss for one in spent for _, loss in one.trace])
    axes.set(xlabel="simulated problems", ylabel="lowest loss")
    _legend_above(figure, axes)
    return figure


def ordered_names(validation: Mapping[str, Validated], front: ParetoFront) -> list[str]:
    """Return the validated rules: the chosen one, the other candidates, the known rules."""
    candidates = [one.id for one in front.candidates]
    chosen = [front.chosen.id] if front.chosen.id in validation else []
    others = [name for name in candidates if name in validation and name not in chosen]
    return [*chosen, *others, *(name for name in validation if name not in candidates)]


class _Positions:
    """Where penalties stand on the axis: logarithmic, with 0 a place of its own on the left."""

    def __init__(self, penalties: Sequence[float]) -> None:
        positive = sorted({penalty for penalty in penalties if penalty > 0})
        self.with_zero = any(penalty <= 0 for penalty in penalties)
        self.logs = np.log10(positive) if positive else np.zeros(1)
        self.gap = max(0.18 * float(self.logs[-1] - self.logs[0]), 0.3)

    def __call__(self, penalty: float) -> float:
        return float(np.log10(penalty)) if penalty > 0 else float(self.logs[0]) - self.gap

    def label(self, axes: Axes) -> None:
        first, last = float(self.logs[0]), float(self.logs[-1])
        step = max(1, round((last - first) / 4))
        decades = [float(n) for n in range(int(np.ceil(first - 1e-9)), int(np.floor(last + 1e-9)) + 1, step)]
        places = [(decade, f"$10^{{{int(decade)}}}$") for decade in decades]
        if len(places) < 2:
            places = [(place, f"{10**place:.2g}") for place in dict.fromkeys((first, last))]
        if self.with_zero:
            places.insert(0, (self(0.0), "0"))
        axes.set_xticks([place for place, _ in places], [text for _, text in places])


def _walked(path: FitResult) -> list[PathPoint]:
    """Points of the chosen point's restart, along the penalty."""
    chosen = path.chosen_point
    walked = [one for one in path.points if one.restart == chosen.restart and one.origin == "path"]
    return sorted(walked, key=lambda one: one.penalty)


def _draw_coefficients(
    axes: Axes, points: Sequence[PathPoint], chosen: PathPoint, positions: _Positions
) -> None:
    terms = list(dict.fromkeys([*chosen.terms, *(term for point in points for term in point.terms)]))
    sizes = {term: max((abs(point.terms.get(term, 0.0)) for point in points), default=0.0) for term in terms}
    terms.sort(key=lambda term: (term not in chosen.terms, -sizes[term]))
    places = [positions(point.penalty) for point in points]
    for number, term in enumerate(terms):
        values = [point.terms.get(term, np.nan) for point in points]
        named = number < len(LINES)
        colour, dashes = LINES[number] if named else ("#C3C8CF", "-")
        axes.plot(
            places,
            values,
            color=colour,
            linestyle=dashes,
            marker="o",  # a term that one point alone has would be invisible without
            markersize=4 if term in chosen.terms else 2.5,
            linewidth=2.0 if term in chosen.terms else 1.3 if named else 0.8,
            label=_term_label(term, chosen) if named else None,
            zorder=3 - number / len(terms),
        )
    axes.axhline(0, color="#444B55", linewidth=0.8)
    axes.set_ylabel("coefficient")


def _draw_losses(axes: Axes, path: FitResult, points: Sequence[PathPoint], positions: _Positions) -> None:
    chosen = path.chosen_point
    axes.errorbar(
        [positions(point.penalty) for point in points],
        [point.heldout_loss for point in points],
        yerr=[point.heldout_error for point in points],
        fmt="o-",
        color=GREY,
        markersize=4,
        capsize=2,
        linewidth=1.2,
    )
    axes.plot(
        positions(chosen.penalty), chosen.heldout_loss, "*", color=VERMILLION, markersize=14, label="chosen"
    )
    noun = "term" if chosen.n_terms == 1 else "terms"
    _loss_axis(axes, [point.heldout_loss for point in (*points, chosen)])
    axes.set_ylabel("held-out loss")
    axes.set_title(f"★ chosen: {chosen.n_terms} {noun}", loc="right", fontsize=10, color=VERMILLION)


def _term_label(term: Term, chosen: PathPoint) -> str:
    """Return a term as mathtext, with its slot where there are several."""
    slot, name = term
    text = f"${to_latex(parse(name, get_slot(slot).variables))}$"
    return f"{text} ({slot})" if len(chosen.coefficients) > 1 else text


def _loss_axis(axes: Axes, losses: Sequence[float]) -> None:
    if is_spread(losses):
        set_log_axis(axes)


def _legend_above(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    if unique:
        n_columns = 2 if max(map(len, unique)) <= LONGEST_BESIDE_ANOTHER else 1
        names = [textwrap.fill(name, LONGEST_LINE) for name in unique]
        legend = figure.legend(list(unique.values()), names, loc="outside upper left", ncols=n_columns)
        for text in legend.get_texts():
            text.set_parse_math(False)


def _cell(column: int, row: int, colour: str) -> Rectangle:
    return Rectangle((column - 0.46, row - 0.44), 0.92, 0.88, facecolor=colour, edgecolor="none")


def _plain_ticks(axes: Axes, columns: Sequence[str], rows: Sequence[str]) -> None:
    """Label a table; names are plain text, a dollar sign in one does not begin a formula."""
    axes.set_xticks(
        range(len(columns)), columns, rotation=45, ha="right", rotation_mode="anchor", parse_math=False
    )
    axes.set_yticks(range(len(rows)), rows, parse_math=False)


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
