"""Figures of spiking rules: what an experiment would see, and the manifold of rules that balance a neuron."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from discover.manifold import Manifold
from discover.predict import LinearParameters, pairing_frequency, rate_dependence, stdp_window
from discover.report.style import BLACK, BLUE, GREY, LINES, ORANGE, VERMILLION, new_figure
from discover.rule import Rule

__all__ = ["EXPERIMENT", "MANIFOLD", "experiment_figure", "manifold_figure"]

EXPERIMENT = "experiment"
MANIFOLD = "manifold"

LAGS_MS = np.linspace(-100, 100, 81)
FREQUENCIES_HZ = np.array([0.5, 1, 2, 5, 10, 15, 20, 30, 40, 50], dtype=np.float64)
RATES_HZ = np.linspace(0, 30, 61)
PRE_HZ = 20.0
LAG_MS = 10.0


def experiment_figure(rules: Mapping[str, Rule], weight: float, largest_weight: float) -> Figure:
    """Draw pairing curves and the dependence on rates of several rules.

    Every curve is divided by its largest absolute value, since rules come with no learning rate; the window
    is that of 60 pairs at 1 Hz.

    Parameters
    ----------
    rules : mapping from str to Rule
    weight, largest_weight : float
        Weight at the start, and its bound.
    """
    figure = new_figure(8.4)
    window, frequency, rate = figure.subplots(3, 1)
    for (name, rule), (colour, dashes) in zip(rules.items(), LINES * len(rules), strict=False):
        options: dict[str, Any] = {"weight": weight, "largest_weight": largest_weight, "learning_rate": 1e-6}
        look: dict[str, Any] = {"color": colour, "linestyle": dashes}
        window.plot(LAGS_MS, _scaled(stdp_window(rule, LAGS_MS, **options)), label=name, **look)
        frequency.plot(
            FREQUENCIES_HZ, _scaled(pairing_frequency(rule, FREQUENCIES_HZ, LAG_MS, **options)), **look
        )
        drift = rate_dependence(rule, [PRE_HZ], RATES_HZ, weight=weight).drift[0]
        rate.plot(RATES_HZ, _scaled(drift), **look)
    window.set(xlabel="postsynaptic minus presynaptic spike (ms)", ylabel="weight change")
    frequency.set(xlabel=f"pairing frequency (Hz), {LAG_MS:g} ms lag", ylabel="weight change")
    rate.set(xlabel=f"postsynaptic rate (Hz), presynaptic {PRE_HZ:g} Hz", ylabel="weight change")
    for axes in (window, frequency, rate):
        axes.axhline(0, color=BLACK, linewidth=0.8)
    figure.legend(loc="outside upper left", ncols=2)
    return figure


def manifold_figure(study: Manifold) -> Figure:
    """Draw the study of ``manifold.json``: the plane of alpha and beta, and predicted against simulated rate.

    Parameters
    ----------
    study : Manifold
    """
    figure = new_figure(8.8)
    plane, rates = figure.subplots(2, 1)
    target, pre = study.target_hz, study.pre_hz
    shown = [
        (study.searched, True, "o", BLUE, "found by the search"),
        (study.surface, True, "x", ORANGE, "drawn from the surface, works"),
        (study.surface, False, "x", GREY, "drawn from the surface, fails"),
        (study.rate_only, False, "s", VERMILLION, "rate alone: not tuned"),
    ]
    drawn = np.empty((0, 2))
    for solutions, converged, marker, colour, label in shown:
        chosen = [one for one in solutions if one.converged is converged]
        points = np.array([_plane(one.parameters, target, pre) for one in chosen]).reshape(-1, 2)
        if converged:
            drawn = np.concatenate([drawn, points[np.isfinite(points).all(axis=1)]])
        look: dict[str, Any] = {"marker": marker, "s": 34, "label": label, "linewidths": 1.4}
        colours = {"facecolors": "none", "edgecolors": colour} if marker != "x" else {"color": colour}
        plane.scatter(points[:, 1], points[:, 0], **look, **colours)
        pairs = np.array([(one.simulated_hz, one.predicted_hz) for one in chosen]).reshape(-1, 2)
        rates.scatter(pairs[:, 0], pairs[:, 1], **look, **colours)
    corrected = [one for one in study.searched if np.isfinite(one.corrected_hz)]
    rates.scatter(
        [one.simulated_hz for one in corrected],
        [one.corrected_hz for one in corrected],
        marker="+",
        s=44,
        color=BLACK,
        label="with measured covariances",
    )
    beta, (low, high) = _ends(drawn[:, 1]), _ends(np.concatenate([drawn[:, 0], -1 - drawn[:, 1]]))
    plane.plot(beta, [-1 - end for end in beta], color=BLACK, linewidth=1, label="mean-field surface")
    plane.set(xlim=beta, ylim=(low, high))
    plane.set_xlabel(f"beta / (coincidence term at {pre:.0f} Hz)")
    plane.set_ylabel("alpha / (coincidence term\nat the target rate)")
    working = [one for one in (*study.searched, *study.surface) if one.converged]
    ends = _ends([target, *(rate for one in working for rate in (one.simulated_hz, one.predicted_hz))])
    line = np.array(ends)
    rates.plot(line, line, color=BLACK, linewidth=1)
    least, most = 1 - study.tolerance, 1 + study.tolerance
    rates.fill_between(line, least * line, most * line, color=GREY, alpha=0.2, linewidth=0)
    rates.axvline(target, color=GREY, linewidth=1, linestyle=":")
    rates.set(xlim=ends, ylim=ends)
    rates.set(xlabel="simulated rate (Hz)", ylabel="rate predicted by the mean field (Hz)")
    handles, labels = rates.get_legend_handles_labels()
    lines, names = plane.get_legend_handles_labels()
    figure.legend([*handles, lines[-1]], [*labels, names[-1]], loc="outside upper left", ncols=2)
    return figure


def _plane(parameters: LinearParameters, target: float, pre: float) -> tuple[float, float]:
    """Alpha and beta of a rule, relative to its coincidence term, so that the surface is one line."""
    unit = parameters.coincidence or float("nan")
    return parameters.alpha / unit / target, parameters.beta / unit / pre


def _ends(values: Sequence[float] | np.ndarray[Any, Any]) -> tuple[float, float]:
    """Return the ends of an axis on which all but one in twenty values lie, with a margin."""
    known = np.asarray(values, dtype=np.float64)
    known = known[np.isfinite(known)]
    low, high = np.quantile(known, (0.025, 0.975)) if len(known) else (0.0, 1.0)
    margin = 0.15 * (high - low) or 0.1 * abs(high) or 1.0
    return float(low - margin), float(high + margin)


def _scaled(values: Sequence[float] | np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    array = np.asarray(values, dtype=np.float64)
    largest = float(np.abs(array).max())
    return array / largest if largest > 0 else array
