"""The figure of the teacher of spiking synapses: its curves of the traces beside those of the formula."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from discover.fit import Teacher, TeacherPoint
from discover.report.style import BLUE, SKY, VERMILLION, new_figure
from discover.rule import Rule
from discover.slots import get_slot
from sims.spike_splines import TraceSplines

__all__ = ["spike_teacher_figure", "times_name", "trace_curves_of_rule"]

FloatArray = NDArray[np.float64]
Block = tuple[str, int]
Curves = Mapping[Block, FloatArray]

N_POINTS = 201
N_POWERS = 2
SPIKES = {"on_pre": "presynaptic", "on_post": "postsynaptic"}


def times_name(block: Block) -> str:
    """Return what a curve is multiplied with, and when.

    Examples
    --------
    >>> times_name(("on_pre", 1))
    'w at presynaptic spikes'
    """
    slot, power = block
    return f"{'w' if power else '1'} at {SPIKES[slot]} spikes"


def spike_teacher_figure(teacher: Teacher, rule: Rule) -> Figure:
    """Draw each curve of the chosen teacher with the range over restarts, and that of the chosen formula.

    Curves of a restart end where its traces do.
    """
    best = teacher.best
    traces = {slot: np.linspace(0.0, _splines(best, slot).high, N_POINTS) for slot, _ in best.blocks}
    own = _curves(best, best, traces)
    others = [_scaled(_curves(teacher.points[n], best, traces), own) for n in teacher.choices]
    formula = trace_curves_of_rule(rule, traces)
    if formula is not None:
        formula = _scaled(formula, own)
    n_rows = (len(best.blocks) + 1) // 2
    figure = new_figure(0.9 + 2.3 * n_rows)
    grid = figure.subplots(n_rows, 2, squeeze=False).ravel()
    for axes in grid[len(best.blocks) :]:
        axes.set_visible(False)
    for axes, block in zip(grid, best.blocks, strict=False):
        trace = traces[block[0]]
        band = np.stack([own[block], *(other[block] for other in others)])
        axes.fill_between(
            trace, np.nanmin(band, axis=0), np.nanmax(band, axis=0), color=SKY, alpha=0.45, linewidth=0,
            label="range over restarts",
        )  # fmt: skip
        axes.plot(trace, own[block], color=BLUE, label="teacher")
        if formula is not None:
            axes.plot(trace, formula[block], color=VERMILLION, linestyle="--", label="chosen formula")
        axes.axhline(0, color="#444B55", linewidth=0.8)
        axes.set_title(f"times {times_name(block)}", loc="left", fontsize=9)
        axes.set_xlabel(f"trace {get_slot(block[0]).variables[0]}")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=3)
    return figure


def trace_curves_of_rule(rule: Rule, traces: Mapping[str, FloatArray]) -> dict[Block, FloatArray] | None:
    """Return what a formula multiplies each power of the weight with, at some traces of each slot.

    None where it is not linear in the weight, or not finite somewhere.

    Examples
    --------
    >>> rule = Rule.parse({"on_pre": "x_post - 0.25*w"})
    >>> curves = trace_curves_of_rule(rule, {"on_pre": np.array([2.0])})
    >>> curves["on_pre", 0].round(9).tolist(), curves["on_pre", 1].round(9).tolist()
    ([2.0], [-0.25])
    """
    found: dict[Block, FloatArray] = {}
    weights = np.array([0.05, 0.4, 0.8, 1.3])
    design = np.stack([weights**power for power in range(N_POWERS)], axis=1)
    for slot, trace in traces.items():
        values = np.zeros((len(weights), len(trace)))
        if slot in rule.slots:
            update, name = rule.numpy()[slot], get_slot(slot).variables[0]
            with np.errstate(all="ignore"):
                values = np.array([update(**{name: trace, "w": np.full_like(trace, w)}) for w in weights])
        if not np.isfinite(values).all():
            return None
        curves, *_ = np.linalg.lstsq(design, values, rcond=None)
        if np.abs(design @ curves - values).max() > 1e-6 * max(1.0, float(np.abs(values).max())):
            return None
        found |= {(slot, power): curves[power] for power in range(N_POWERS)}
    return found


def _splines(point: TeacherPoint, slot: str) -> TraceSplines:
    splines = point.splines(slot)
    if splines is None:
        raise ValueError(f"This rule has no update in {slot}.")
    return splines


def _curves(point: TeacherPoint, best: TeacherPoint, traces: Mapping[str, FloatArray]) -> Curves:
    """Curves of the chosen point's blocks; NaN beyond a rule's own range, zero where it has none."""
    curves = {}
    for slot, power in best.blocks:
        splines, trace = point.splines(slot), traces[slot]
        if splines is None:
            curves[slot, power] = np.zeros(len(trace))
        else:
            reached = trace <= splines.high * (1 + 1e-12)
            curves[slot, power] = np.where(reached, splines.curves(trace)[power], np.nan)
    return curves


def _scaled(curves: Curves, own: Curves) -> dict[Block, FloatArray]:
    """Return curves at the scale of the chosen teacher: speed is no part of the form."""
    pairs = [(curves[block], own[block]) for block in own]
    norm = sum(float(np.nansum(one**2)) for one, _ in pairs)
    factor = sum(float(np.nansum(one * other)) for one, other in pairs) / norm if norm > 0 else 1.0
    return {block: factor * curves[block] for block in own}
