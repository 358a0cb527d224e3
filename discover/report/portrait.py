"""The phase portrait of a rule: which way it changes a weight, over what a synapse can see."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from discover.report.reading import Run
from discover.report.style import BLACK, BLUE, LINES, VERMILLION, WIDTH, new_figure, save, styled
from discover.rule import Rule, SlotFunction
from discover.slots import Slot, get_slot
from discover.tasks import Task

__all__ = ["PORTRAIT", "PortraitSection", "portrait_figure", "portrait_section", "window_of"]

FloatArray = NDArray[np.float64]

PORTRAIT = "portrait"
"""Name of the figure."""

N_PROBLEMS = 4
N_STATES = 300
N_GRID = 61
N_DOTS = 40
SEED = 19_820_301
"""Root of the problems, with the run's seed; no stage draws from it."""

WEIGHTS = (0.1, 0.5, 0.9)
"""Quantiles of the visited weights at which the rule is drawn."""

INSIDE = (0.01, 0.99)
"""Quantiles of the visited activities between which it is drawn."""

LOUDEST = 0.95
"""Quantile of the absolute change at which colours are full, so that one corner does not bleach the rest."""

CHANGE = LinearSegmentedColormap.from_list(
    "change", [BLUE, "#9CC9E3", "#FFFFFF", "#F0B48F", VERMILLION], N=41
).with_extremes(bad="#D9DDE2")
"""From depression to potentiation, whose colours differ for colour-blind readers, too; grey is not finite.

The steps are few, so that pictures stay small.
"""

LONGEST_LINE = 21
"""Longer names of rules have several lines."""


@dataclass(frozen=True)
class PortraitSection:
    """What the report says of the phase portrait.

    Attributes
    ----------
    figure : str
        Name of the figure that was drawn.
    rules : tuple of str
        The rules in it.
    slots : tuple of str
        What each slot is drawn over, in words.
    """

    figure: str
    rules: tuple[str, ...]
    slots: tuple[str, ...]


@dataclass(frozen=True)
class Window:
    """The part of a slot's space that synapses visit.

    Attributes
    ----------
    slot : Slot
    states : ndarray, shape (n_states, n_variables)
        Local variables, in the order of the slot.
    axes : tuple of str
        Variables along the axes: presynaptic before postsynaptic, of those that the slot sees.
    ranges : tuple of (float, float)
        Ends of each axis.
    weights : tuple of float
        Weights at which the rule is drawn, rising; for a slot that does not see the weight a zero.
    held : mapping from str to float
        Value at which a further variable is held: its median.
    """

    slot: Slot
    states: FloatArray
    axes: tuple[str, ...]
    ranges: tuple[tuple[float, float], ...]
    weights: tuple[float, ...]
    held: Mapping[str, float]

    @property
    def text(self) -> str:
        """What is drawn, in words."""
        levels = ", ".join(_number(weight) for weight in self.weights)
        at = f" at {self.slot.weight} = {levels}" if self.slot.weight is not None else ""
        held = "".join(f", {name} held at {_number(value)}" for name, value in self.held.items())
        return f"{self.slot.name}: over {' and '.join(self.axes)}{at}{held}"


def portrait_section(
    run: Run, task: Task, settings: Any, rules: Mapping[str, Rule], folder: Path
) -> PortraitSection | None:
    """Draw the phase portrait; None where no state of any slot is known.

    Parameters
    ----------
    run : Run
    task : Task
    settings : dataclass
        The task's settings.
    rules : mapping from str to Rule
        The chosen rule first, by name; others are drawn in the slots that they share with it.
    folder : Path
        Of the figures.

    Raises
    ------
    OSError
        When a file cannot be written.
    """
    chosen = next(iter(rules.values()))
    draw_seed, visit_seed, probe_seed = np.random.SeedSequence([SEED, run.config.seed]).spawn(3)
    problems = task.draw(settings, N_PROBLEMS, draw_seed)
    seen = task.visit(chosen, problems, N_STATES, visit_seed)
    if any(len(seen[slot].values) < N_DOTS for slot in seen):  # the rule blew up
        seen = task.probe(problems, N_STATES, probe_seed)
    windows = [
        window_of(get_slot(slot), seen[slot].values)
        for slot in chosen.numpy()
        if slot in seen and len(seen[slot].values)
    ]
    if not windows:
        return None
    with styled():
        save(portrait_figure(rules, windows), folder, PORTRAIT)
    return PortraitSection(PORTRAIT, tuple(rules), tuple(window.text for window in windows))


def window_of(slot: Slot, states: FloatArray) -> Window:
    """Return the part of a slot's space in which visited states lie.

    Parameters
    ----------
    slot : Slot
    states : ndarray, shape (n_states, n_variables)

    Examples
    --------
    >>> states = np.array([[-1.0, -2.0, 0.5], [1.0, 2.0, 0.5]])
    >>> window_of(get_slot("feedforward"), states).text
    'feedforward: over x and y at w = 0.5'
    """
    columns = dict(zip(slot.variables, states.T, strict=True))
    along = tuple(name for name in (slot.presynaptic, slot.postsynaptic) if name is not None)
    weights = [0.0]
    if slot.weight is not None:
        weights = sorted({float(f"{level:.2g}") for level in np.quantile(columns[slot.weight], WEIGHTS)})
    held = {name: float(np.median(columns[name])) for name in slot.further}
    return Window(slot, states, along, tuple(_range(columns[name]) for name in along), tuple(weights), held)


def _range(values: FloatArray) -> tuple[float, float]:
    low, high = np.quantile(values, INSIDE).tolist()
    low, high = min(low, 0.0), max(high, 0.0)
    return (low, high) if high > low else (-1.0, 1.0)


def portrait_figure(rules: Mapping[str, Rule], windows: Sequence[Window]) -> Figure:
    """Draw the update of each rule in each slot, divided by what is nearly its largest absolute value.

    A slot that sees two activities has a map for each weight and a row for each rule, one that sees a single
    one a panel for each rule, with a line for each weight.

    Parameters
    ----------
    rules : mapping from str to Rule
    windows : sequence of Window
        One for each slot to draw.
    """
    shown = [
        {name: rule.numpy()[slot] for name, rule in rules.items() if slot in rule.slots}
        for slot in (window.slot.name for window in windows)
    ]
    heights = [
        1.75 * len(updates) if len(window.axes) == 2 else 2.1
        for window, updates in zip(windows, shown, strict=True)
    ]
    figure = new_figure(0.75 + sum(heights) + 0.3 * len(windows), WIDTH)
    parts = figure.subfigures(len(windows), 1, height_ratios=heights, squeeze=False)[:, 0]
    for part, window, updates in zip(parts, windows, shown, strict=True):
        if len(windows) > 1:
            part.suptitle(window.slot.name, x=0.01, ha="left", fontsize=10.5, fontweight="bold")
        if len(window.axes) == 2:
            _draw_maps(part, window, updates)
        else:
            _draw_lines(part, window, updates)
    return figure


def _draw_maps(part: Any, window: Window, updates: Mapping[str, SlotFunction]) -> None:
    across, along = (np.linspace(*ends, N_GRID) for ends in window.ranges)
    x, y = np.meshgrid(across, along)
    grid = part.subplots(len(updates), len(window.weights), sharex=True, sharey=True, squeeze=False)
    filled = None
    for number, (name, update) in enumerate(updates.items()):
        values = _scaled([_update(update, window, (x, y), weight) for weight in window.weights])
        for column, (axes, change, weight) in enumerate(
            zip(grid[number], values, window.weights, strict=True)
        ):
            filled = axes.imshow(
                change, cmap=CHANGE, vmin=-1, vmax=1, origin="lower", aspect="auto", interpolation="bilinear",
                interpolation_stage="data", extent=(*window.ranges[0], *window.ranges[1]),
            )  # fmt: skip
            if np.any(change < 0) and np.any(change > 0):
                axes.contour(across, along, change, [0.0], colors=BLACK, linewidths=1.1)
            _draw_dots(axes, window, column)
            axes.set(xlim=window.ranges[0], ylim=window.ranges[1])
            axes.grid(visible=False)
            axes.locator_params(nbins=4)
            if column == 0:
                axes.set_ylabel(f"{_in_lines(name)}\n{window.axes[1]}", parse_math=False, fontsize=9.5)
            if number == 0:
                axes.set_title(_level(window, weight), fontsize=10, parse_math=False)
            if number == len(updates) - 1:
                axes.set_xlabel(window.axes[0], parse_math=False)
    bar = part.colorbar(filled, ax=grid, ticks=[-1, 0, 1], extend="both", aspect=30, pad=0.02)
    bar.set_label("change of the weight (scaled)", fontsize=9.5)
    bar.outline.set_visible(False)


def _draw_dots(axes: Axes, window: Window, level: int) -> None:
    """Mark visited states whose weight is nearest to this level."""
    columns = dict(zip(window.slot.variables, window.states.T, strict=True))
    near = np.arange(len(window.states))
    if window.slot.weight is not None:
        distance = np.abs(np.subtract.outer(columns[window.slot.weight], window.weights))
        near = np.flatnonzero(distance.argmin(axis=1) == level)
    x, y = (columns[name][near[:N_DOTS]] for name in window.axes)
    axes.plot(x, y, ".", color=BLACK, alpha=0.35, markersize=2.5)


def _draw_lines(part: Any, window: Window, updates: Mapping[str, SlotFunction]) -> None:
    across = np.linspace(*window.ranges[0], N_GRID)
    grid = part.subplots(1, len(updates), sharey=True, squeeze=False)[0]
    for number, (axes, (name, update)) in enumerate(zip(grid, updates.items(), strict=True)):
        values = _scaled([_update(update, window, (across,), level) for level in window.weights])
        if np.all(values == values[0]):
            axes.plot(across, values[0], color=LINES[0][0])  # the same at every weight
        else:
            for change, level, (colour, dashes) in zip(values, window.weights, LINES, strict=False):
                axes.plot(across, change, color=colour, linestyle=dashes, label=_level(window, level))
            axes.legend(fontsize=8.5)
        axes.axhline(0, color=BLACK, linewidth=0.8)
        axes.set_title(_in_lines(name), fontsize=10, parse_math=False)
        axes.set_xlabel(window.axes[0], parse_math=False)
        axes.margins(x=0)
        axes.locator_params(nbins=4)
        if number == 0:
            axes.set_ylabel("change (scaled)", fontsize=9.5)


def _level(window: Window, weight: float) -> str:
    if window.slot.weight is None:
        return ""
    return f"{window.slot.weight} = {_number(weight)}"


def _number(value: float) -> str:
    return f"{value:.2g}".replace("-", "\N{MINUS SIGN}")


def _in_lines(name: str) -> str:
    """Return a rule's name in lines that fit beside a map."""
    return textwrap.fill(name.partition(":")[0], LONGEST_LINE)


def _update(update: SlotFunction, window: Window, along: Sequence[FloatArray], weight: float) -> FloatArray:
    """Return a rule's update on a grid; NaN where it is not finite."""
    values: dict[str, Any] = {**dict(zip(window.axes, along, strict=True)), **window.held}
    if window.slot.weight is not None:
        values[window.slot.weight] = weight
    arrays = {name: np.broadcast_to(value, along[0].shape) for name, value in values.items()}
    with np.errstate(all="ignore"):
        change = np.array(np.broadcast_to(update(**arrays), along[0].shape), dtype=np.float64)
    change[~np.isfinite(change)] = np.nan
    return change


def _scaled(maps: Sequence[FloatArray]) -> FloatArray:
    values = np.array(maps)
    sizes = np.abs(values[np.isfinite(values)])
    loudest = float(np.quantile(sizes, LOUDEST)) if len(sizes) else 0.0
    if loudest == 0.0 and len(sizes):
        loudest = float(sizes.max())
    return values / loudest if loudest > 0 else values
