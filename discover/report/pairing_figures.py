"""Figures of the report of pairing experiments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from discover.pairing.forms import Curves, Further
from discover.pairing.protocols import Protocol
from discover.report.style import BLACK, BLUE, GREY, LINES, ORANGE, SKY, VERMILLION, new_figure

__all__ = [
    "Measured",
    "decisive_figure",
    "frequency_figure",
    "further_figure",
    "predicted_figure",
    "ranks_figure",
    "window_figure",
]

FloatArray = NDArray[np.float64]

MAX_PANELS = 4
MAX_NAMED = 14
LONGEST_NAME = 40


@dataclass(frozen=True, eq=False)
class Measured:
    """Protocols that rules were fitted to, with the chosen rule's predictions of each without it.

    Attributes
    ----------
    protocols : tuple of Protocol
    predicted : ndarray, shape (n_protocols,)
    held : tuple of Protocol
        Those that no rule was fitted to.
    held_predicted : ndarray, shape (n_held,)
    """

    protocols: tuple[Protocol, ...]
    predicted: FloatArray
    held: tuple[Protocol, ...]
    held_predicted: FloatArray


def frequency_figure(measured: Measured, chosen: Curves, pair: Curves | None) -> Figure:
    """Draw measured and predicted changes against the frequency, a panel for each lag."""
    lags = [float(lag) for lag in chosen.curve_lags_ms][:MAX_PANELS]
    highest = 1.1 * max(one.frequency_hz or 1.0 for one in measured.protocols)
    colours = ((chosen, BLUE, "-", "chosen rule"), (pair, ORANGE, "--", "rule of pairs"))
    figure = new_figure(3.4, 2.0 + 3.2 * len(lags))
    panels = figure.subplots(1, len(lags), sharey=True, squeeze=False)[0]
    for number, (axes, lag) in enumerate(zip(panels, lags, strict=True)):
        axes.axhline(0, color=GREY, linewidth=0.8)
        for curves, colour, dashes, label in colours:
            if curves is not None and lag in curves.curve_lags_ms:
                row = int(np.flatnonzero(curves.curve_lags_ms == lag)[0])
                for part in (
                    curves.curve_hz < 1,
                    (curves.curve_hz >= 1) & (curves.curve_hz * abs(lag) <= 500),
                ):
                    along, values = curves.curve_hz[part], curves.curve[row, part]
                    shown = label if (along >= 1).all() else None
                    axes.plot(along, values, dashes, color=colour, label=shown)
        rows = [k for k, one in enumerate(measured.protocols) if one.lag_ms == lag and one.frequency_hz]
        at = [measured.protocols[k].frequency_hz for k in rows]
        axes.errorbar(
            at,
            [measured.protocols[k].change for k in rows],
            yerr=[measured.protocols[k].error for k in rows],
            fmt="o",
            color=BLACK,
            capsize=3,
            label="measured, with standard error",
        )
        axes.plot(
            at,
            measured.predicted[rows],
            "D",
            color=VERMILLION,
            markerfacecolor="none",
            label="predicted without the protocol",
        )
        axes.set_xscale("symlog", linthresh=1.0, linscale=0.6)
        ticks = [tick for tick in (0, 1, 10, 20, 50, 100, 200) if tick <= highest]
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.set_xlim(0, highest)
        axes.set(xlabel="frequency (Hz)", title=f"lag {lag:+g} ms")
        if number == 0:
            axes.set_ylabel("relative change of the strength")
    _bounded([*measured.protocols], panels[0])
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=2)
    return figure


def _bounded(protocols: Sequence[Protocol], axes: object) -> None:
    """Keep the axis to what was measured: curves may leave it."""
    low = min(one.change - one.error for one in protocols)
    high = max(one.change + one.error for one in protocols)
    room = 0.25 * (high - low)
    axes.set_ylim(min(low - room, -0.1), max(high + room, 0.1))  # type: ignore[attr-defined]


def window_figure(chosen: Curves) -> Figure:
    """Draw the change against the lag at several frequencies."""
    figure = new_figure(3.6)
    axes = figure.add_subplot()
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.axvline(0, color=GREY, linewidth=0.8)
    lags = chosen.window_lags_ms
    for (colour, dashes), frequency, values in zip(LINES, chosen.window_hz, chosen.window, strict=False):
        shown = np.where(np.abs(lags) <= 500.0 / frequency, values, np.nan)
        shown = np.where(lags == 0, np.nan, shown)
        axes.plot(lags, shown, color=colour, linestyle=dashes, label=f"{frequency:g} Hz")
    axes.set(xlabel="lag of the postsynaptic spike (ms)", ylabel="relative change of the strength")
    figure.legend(loc="outside upper left", ncols=4)
    return figure


def predicted_figure(measured: Measured) -> Figure:
    """Draw measured against predicted changes, each protocol predicted by the others, by lag."""
    figure = new_figure(4.8)
    axes = figure.add_subplot()
    lags = list(dict.fromkeys(one.lag_ms for one in measured.protocols))
    ends = [min(one.change - one.error for one in measured.protocols)]
    ends += [max(one.change + one.error for one in measured.protocols)]
    axes.plot(ends, ends, ":", color=GREY)
    markers = "osD^vP"
    for number, lag in enumerate(lags[:MAX_PANELS]):
        rows = [k for k, one in enumerate(measured.protocols) if one.lag_ms == lag]
        axes.errorbar(
            measured.predicted[rows],
            [measured.protocols[k].change for k in rows],
            yerr=[measured.protocols[k].error for k in rows],
            fmt=markers[number],
            color=LINES[number][0],
            capsize=3,
            label="other patterns" if lag is None else f"lag {lag:+g} ms",
        )
    open_ones = [k for k, one in enumerate(measured.held) if not one.is_tied]
    if open_ones:
        axes.errorbar(
            measured.held_predicted[open_ones],
            [measured.held[k].change for k in open_ones],
            yerr=[measured.held[k].error for k in open_ones],
            fmt="x",
            color=BLACK,
            capsize=3,
            label="held out from the start",
        )
    axes.set(xlabel="predicted change, without the protocol", ylabel="measured change")
    figure.legend(loc="outside upper left", ncols=3)
    return figure


def decisive_figure(names: Sequence[str], rules: Sequence[str], squares: FloatArray) -> Figure:
    """Draw the squared residuals of every protocol by the leading rules, each left out.

    Parameters
    ----------
    names : sequence of str
        Of the protocols.
    rules : sequence of str
    squares : ndarray, shape (n_rules, n_protocols)
    """
    spread = squares.max(axis=0) - squares.min(axis=0)
    order = np.argsort(spread)[-MAX_NAMED:]
    figure = new_figure(1.6 + 0.28 * len(order), 6.4)
    axes = figure.add_subplot()
    for number, rule in enumerate(rules):
        axes.plot(
            np.sqrt(squares[number, order]),
            np.arange(len(order)) + 0.1 * (number - (len(rules) - 1) / 2),
            marker="os^Dv"[number % 5],
            linestyle="none",
            color=LINES[number % len(LINES)][0],
            label=rule,
        )
    axes.axvline(1, color=GREY, linewidth=0.9, linestyle=":")
    # What a user called a protocol is text, whatever signs are in it.
    axes.set_yticks(range(len(order)), [names[k][:LONGEST_NAME] for k in order], parse_math=False)
    axes.set(xlabel="error of the prediction without the protocol (standard errors)")
    axes.set_xlim(left=0)
    figure.legend(loc="outside upper left", ncols=min(5, len(rules)))
    return figure


def further_figure(further: Sequence[Further], rules: Sequence[str]) -> Figure:
    """Draw what the leading rules predict of protocols that would tell them apart."""
    rows = list(further)[:8][::-1]
    figure = new_figure(1.8 + 0.42 * len(rows), 6.4)
    axes = figure.add_subplot()
    for place, one in enumerate(rows):
        changes = one.changes
        axes.plot([changes.min(), changes.max()], [place, place], color=SKY, linewidth=1.2, zorder=1)
        for number, value in enumerate(changes):
            axes.errorbar(
                value,
                place + 0.09 * (number - (len(rules) - 1) / 2),
                xerr=one.error,
                fmt="os^Dv"[number % 5],
                color=LINES[number % len(LINES)][0],
                capsize=2,
                elinewidth=0.8,
                label=rules[number] if place == 0 else None,
            )
    axes.axvline(0, color=GREY, linewidth=0.8)
    axes.set_yticks(range(len(rows)), [one.name for one in rows])
    axes.set(xlabel="predicted change ± standard error")
    figure.legend(loc="outside upper left", ncols=min(5, len(rules)))
    return figure


def ranks_figure(r2: Sequence[float], chosen: int | None, pair: int | None) -> Figure:
    """Draw the share of the variance of left-out protocols that each rule of two terms predicts.

    Parameters
    ----------
    r2 : sequence of float
        In the order of rank.
    chosen, pair : int or None
        Places of the chosen rule and of the rule of pairs among them.
    """
    figure = new_figure(3.2)
    axes = figure.add_subplot()
    shown = np.maximum(np.array(r2), -1.0)
    axes.plot(1 + np.arange(len(shown)), shown, "o", color=GREY, markersize=4)
    for place, colour, label in ((chosen, BLUE, "chosen rule"), (pair, ORANGE, "rule of pairs")):
        if place is not None:
            axes.plot(place + 1, shown[place], "o", color=colour, markersize=9, label=label)
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.set(xlabel="rank of the rule of two terms, by left-out chi²", ylabel="left-out R² (at least −1)")
    axes.set_ylim(-1.08, 1.0)
    if chosen is not None or pair is not None:
        figure.legend(loc="outside upper left", ncols=2)
    return figure
