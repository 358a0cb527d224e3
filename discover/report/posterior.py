"""Figures of a posterior: marginals and pairs, directions, and bands of prediction."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from discover.posterior.forms import Posterior
from discover.posterior.words import answers_of
from discover.report.reading import read_part
from discover.report.style import BLACK, BLUE, GREY, VERMILLION, new_figure, save, styled

__all__ = [
    "BANDS",
    "DIRECTIONS",
    "PAIRS",
    "PosteriorSection",
    "bands_figure",
    "directions_figure",
    "pairs_figure",
    "posterior_section",
    "write_posterior_figures",
]

FloatArray = NDArray[np.float64]

PAIRS, DIRECTIONS, BANDS = "posterior", "posterior-directions", "posterior-bands"

MOST_SHOWN = 6
"""Parameters of the figure of pairs: those that the posterior narrows most."""

MOST_POINTS = 1000
N_BINS = 24
N_TIMES = 15
"""Values of a time constant of an exact posterior (:mod:`discover.posterior.pairing`)."""


@dataclass(frozen=True)
class PosteriorSection:
    """What the report says of a posterior.

    Attributes
    ----------
    figures : tuple of str
    answers : mapping from str to str
    """

    figures: tuple[str, ...]
    answers: dict[str, str]


def posterior_section(folder: Path) -> PosteriorSection | None:
    """Read ``posterior.json`` of a run; None where there is none.

    Raises
    ------
    ArtefactError
        When it is damaged.
    """
    if not (folder / "posterior.json").exists():
        return None
    posterior = read_part(folder, "posterior.json", Posterior, "posterior")
    names = (PAIRS, DIRECTIONS, BANDS)
    drawn = tuple(name for name in names if (folder / "figures" / f"{name}.svg").exists())
    return PosteriorSection(drawn, answers_of(posterior))


def write_posterior_figures(folder: Path, posterior: Posterior, values: FloatArray) -> tuple[str, ...]:
    """Draw all figures of a posterior into the folder of a run; return their names.

    Parameters
    ----------
    folder : Path
    posterior : Posterior
    values : ndarray, shape (n_samples, n_parameters)

    Raises
    ------
    OSError
        When a file cannot be written.
    """
    figures = folder / "figures"
    figures.mkdir(exist_ok=True)
    names = [PAIRS]
    with styled():
        save(pairs_figure(posterior, values), figures, PAIRS)
        if posterior.directions:
            save(directions_figure(posterior), figures, DIRECTIONS)
            names.append(DIRECTIONS)
        if posterior.bands:
            save(bands_figure(posterior), figures, BANDS)
            names.append(BANDS)
    return tuple(names)


def pairs_figure(posterior: Posterior, values: FloatArray) -> Figure:
    """Draw marginals on the diagonal and every two parameters below it, within the ranges of the prior.

    Parameters
    ----------
    posterior : Posterior
    values : ndarray, shape (n_samples, n_parameters)
    """
    widths = np.array([one.width for one in posterior.marginals])
    shown = np.sort(np.argsort(widths)[:MOST_SHOWN])
    n = len(shown)
    figure = new_figure(1.0 + 1.25 * n, 1.2 + 1.25 * n)
    axes = figure.subplots(n, n, squeeze=False)
    step = max(1, len(values) // MOST_POINTS)
    for row, i in enumerate(shown.tolist()):
        for column, k in enumerate(shown.tolist()):
            one = axes[row, column]
            if column > row:
                one.set_axis_off()
                continue
            _scaled(one, posterior, k, "x")
            if column == row:
                bins: Any = _bins(posterior, k)
                one.hist(values[:, k], bins=bins, color=BLUE, alpha=0.8)
                one.set_yticks([])
            else:
                _scaled(one, posterior, i, "y")
                x, y = values[::step, k], values[::step, i]
                one.plot(x, y, ".", ms=2, color=BLUE, alpha=0.4, rasterized=True)
            if row == n - 1:
                one.set_xlabel(_short(posterior.family.names[k]), fontsize=8)
            else:
                one.set_xticklabels([])
            if column == 0 and row:
                one.set_ylabel(_short(posterior.family.names[i]), fontsize=8)
            elif column < row:
                one.set_yticklabels([])
            one.tick_params(labelsize=7)
            one.minorticks_off()
    return figure


def directions_figure(posterior: Posterior) -> Figure:
    """Draw the spread of each principal direction and what it consists of, the stiffest first."""
    names, found = posterior.family.names, posterior.directions
    figure = new_figure(1.8 + 0.42 * len(found), 7.0)
    bars, parts = figure.subplots(1, 2, width_ratios=(1, 2))
    places = np.arange(len(found))
    bars.barh(places, [one.spread for one in found], color=BLUE)
    bars.axvline(1.0, color=BLACK, linewidth=0.8)
    bars.set(xlabel="spread (prior: 1)", ylabel="direction, the stiffest first")
    bars.set_yticks(places, [str(place + 1) for place in places])
    bars.invert_yaxis()
    table = np.array([[one.weights[name] for name in names] for one in found])
    image = parts.imshow(table, cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
    parts.set_xticks(
        np.arange(len(names)), [_short(name) for name in names], rotation=60, ha="right", fontsize=8
    )
    parts.set_yticks([])
    parts.grid(visible=False)
    figure.colorbar(image, ax=parts, label="weight of a parameter")
    return figure


def bands_figure(posterior: Posterior) -> Figure:
    """Draw the change that each protocol made, and what was predicted without it."""
    found = posterior.bands
    figure = new_figure(1.4 + 0.3 * len(found), 6.0)
    axes = figure.subplots()
    for place, one in enumerate(found):
        low, inner_low, middle, inner_high, high = one.quantiles
        colour = GREY if one.is_held_out else BLUE
        axes.hlines(place, low, high, color=colour, linewidth=1.5)
        axes.hlines(place, inner_low, inner_high, color=colour, linewidth=5, alpha=0.6)
        axes.plot(middle, place, "|", color=colour, ms=9)
        axes.errorbar(one.measured, place, xerr=one.error, fmt="o", ms=4, color=VERMILLION, lw=1)
    axes.set_yticks(range(len(found)), [one.name for one in found], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("relative change of the weight")
    return figure


def _short(name: str) -> str:
    return name.replace(": ", "\n", 1)


def _bins(posterior: Posterior, place: int) -> FloatArray:
    one = posterior.family.parameters[place]
    ends = (one.low, one.high)
    if one.scale == "log":
        # An exact posterior has its time constants on a grid, a value in each bin.
        return np.geomspace(*ends, (N_TIMES if posterior.method == "exact" else N_BINS) + 1)
    return np.linspace(*_range(posterior, place), N_BINS + 1)


def _range(posterior: Posterior, place: int) -> tuple[float, float]:
    """Return the range of the prior; where that is wide, of the samples."""
    one = posterior.family.parameters[place]
    if one.scale != "normal":
        return one.low, one.high
    low, high = posterior.marginals[place].quantiles[[0, -1]]
    margin = 0.5 * (high - low)
    return float(low - margin), float(high + margin)


def _scaled(axes: Any, posterior: Posterior, place: int, which: str) -> None:
    """Set scale, ends and a few ticks of an axis."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    set_scale, set_ends = (
        (axes.set_xscale, axes.set_xlim) if which == "x" else (axes.set_yscale, axes.set_ylim)
    )
    low, high = _range(posterior, place)
    if posterior.family.parameters[place].scale == "log":
        set_scale("log")
        ticks = [low, float(np.sqrt(low * high)), high]
        axis.set_ticks(ticks, [f"{tick:.3g}" for tick in ticks])
    else:
        axis.set_major_locator(MaxNLocator(3))
    set_ends(low, high)
