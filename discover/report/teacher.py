"""The part of the report about the rule without a formula: its curves, and what the formula makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from discover.fit import Teacher
from discover.report.reading import Run
from discover.report.spike_teacher import spike_teacher_figure, times_name
from discover.report.style import BLUE, SKY, VERMILLION, new_figure, save, styled
from discover.rule import Rule
from discover.tasks import Task

__all__ = ["FIGURE", "TeacherSection", "curves_of_rule", "teacher_section"]

FloatArray = NDArray[np.float64]

FIGURE = "teacher"
N_POINTS = 201
N_PROBLEMS, N_RECORDS, N_SAMPLES = 4, 20, 500
SEED = 20_200_614
"""Root of the problems on which mean updates are compared, with the run's seed; no stage draws from it."""

RATE_FORM = "A sum of powers of input and weight, each times a spline of the output"
RATE_REMARK = "Curves that only differ by what averages to zero under the inputs do the same."
SPIKE_FORM = (
    "At every presynaptic and at every postsynaptic spike a sum of powers of the weight, each times a spline "
    "of the other side's trace"
)
SPIKE_REMARK = (
    "Time constants of the traces differ between restarts and from those of the formula, so that curves of "
    "one effect may differ."
)


@dataclass(frozen=True)
class TeacherSection:
    """What the report says of the teacher.

    Attributes
    ----------
    figure : str
        Name of the figure that was drawn.
    text : str
        Why this teacher was chosen, and its loss beside those of the best formula and the best polynomial.
    names : str
        The curves, as products.
    n_restarts : int
    form, variable, remark : str
        What a rule of this kind is, what its curves are functions of, and what to mind about them.
    """

    figure: str
    text: str
    names: str
    n_restarts: int
    form: str
    variable: str
    remark: str


def teacher_section(run: Run, task: Task, settings: Any, folder: Path) -> TeacherSection | None:
    """Draw the teacher's curves; None where the run has no teacher.

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
    teacher: Teacher | None = run.path.teacher
    if teacher is None:
        return None
    rule = run.front.chosen.rule
    with styled():
        if teacher.is_spiking:
            figure = spike_teacher_figure(teacher, rule)
        else:
            updates = mean_updates(teacher, rule, task, settings, run.config.seed)
            figure = teacher_figure(teacher, rule, updates)
        save(figure, folder, FIGURE)
    best = teacher.best
    polynomial = min(run.path.points, key=lambda point: point.heldout_loss)
    text = (
        f"Of the rules without a formula the chosen one has the {teacher.reason}. On held-out problems it "
        f"reaches {best.heldout_loss:.4g}; the chosen formula reaches {run.front.chosen.heldout_loss:.4g}, "
        f"the best polynomial {polynomial.heldout_loss:.4g}."
    )
    n_restarts = len(teacher.choices)
    if teacher.is_spiking:
        text += (
            f" Its traces decay with {teacher.best.rule.tau_pre_ms:.3g} ms (presynaptic) and "
            f"{teacher.best.rule.tau_post_ms:.3g} ms (postsynaptic)."
        )
        names = ", ".join(times_name(block) for block in teacher.best.blocks)
        return TeacherSection(FIGURE, text, names, n_restarts, SPIKE_FORM, "trace", SPIKE_REMARK)
    names = ", ".join(_name(block) for block in teacher.best.blocks)
    return TeacherSection(FIGURE, text, names, n_restarts, RATE_FORM, "output", RATE_REMARK)


def mean_updates(
    teacher: Teacher, rule: Rule, task: Task, settings: Any, seed: int
) -> tuple[FloatArray, FloatArray]:
    """Return the mean updates of the teacher and of a formula, over all samples of some problems.

    They are taken at weights that the formula visits. What averages to zero under the inputs, by which curves
    may differ, is not in them.

    Returns
    -------
    teacher, formula : ndarray, shape (n,)
        The formula's are scaled, so that both agree as well as they can.
    """
    problems = task.draw(settings, N_PROBLEMS, np.random.SeedSequence([SEED, seed]))
    course = task.run(rule, problems, None, max(1, problems.n_steps // N_RECORDS))  # type: ignore[attr-defined]
    weights = course.record[course.blow_up < 0]
    inputs = problems.inputs[course.blow_up < 0, :N_SAMPLES]
    x, w = inputs[:, None], weights[:, :, None]
    y = np.einsum("psd,prd->prs", inputs, weights)[..., None]
    curves = teacher.best.rule.curves(y)
    own = sum((curves[i, k] * x**i * w**k).mean(axis=2) for i in range(3) for k in range(3))
    with np.errstate(all="ignore"):
        update = rule.numpy()[teacher.slot](x=x, y=y, w=w)
    found = np.broadcast_to(update, own.shape[:2] + inputs.shape[1:]).mean(axis=2)
    is_sound = np.isfinite(own) & np.isfinite(found)
    own, found = own[is_sound], found[is_sound]
    return own, found * _scale(found, own)


def teacher_figure(teacher: Teacher, rule: Rule, updates: tuple[FloatArray, FloatArray]) -> Figure:
    """Draw each curve of the chosen teacher with the range over restarts, and that of the chosen formula.

    The last part has the mean updates of both, see :func:`mean_updates`.
    """
    best = teacher.best
    post = np.linspace(best.rule.low, best.rule.high, N_POINTS)
    curves = best.rule.curves(post)
    others = _aligned(teacher, post, curves)
    formula = curves_of_rule(rule.numpy()[teacher.slot], post)
    if formula is not None:
        formula = formula * _scale(formula, curves)
    n_rows = (len(best.blocks) + 2) // 2
    figure = new_figure(0.9 + 2.3 * n_rows)
    grid = figure.subplots(n_rows, 2, squeeze=False).ravel()
    for axes in grid[len(best.blocks) + 1 :]:
        axes.set_visible(False)
    _draw_updates(grid[len(best.blocks)], *updates)
    for axes, (i, k) in zip(grid, best.blocks, strict=False):
        band = [other[i, k] for other in others]
        axes.fill_between(
            post, np.min(band, axis=0), np.max(band, axis=0), color=SKY, alpha=0.45, linewidth=0,
            label="range over restarts",
        )  # fmt: skip
        axes.plot(post, curves[i, k], color=BLUE, label="teacher")
        if formula is not None:
            axes.plot(post, formula[i, k], color=VERMILLION, linestyle="--", label="chosen formula")
        axes.axhline(0, color="#444B55", linewidth=0.8)
        axes.set_title(f"times {_name((i, k))}", loc="left", fontsize=10)
        axes.set_xlabel("output y")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=3)
    return figure


def _draw_updates(axes: Axes, own: FloatArray, found: FloatArray) -> None:
    """Draw the mean updates of the formula against those of the teacher, with the line of equal ones."""
    largest = float(np.abs(np.concatenate([own, found, [1e-12]])).max())
    axes.plot([-largest, largest], [-largest, largest], color="#444B55", linewidth=0.8)
    axes.plot(own, found, ".", color=VERMILLION, markersize=3, alpha=0.6)
    explained = 1 - np.mean((own - found) ** 2) / np.mean(own**2) if own.any() else float("nan")
    axes.set_title(f"mean updates: {100 * explained:.0f} % alike", loc="left", fontsize=10)
    axes.set(xlabel="teacher", ylabel="chosen formula")


def curves_of_rule(update: object, post: FloatArray) -> FloatArray | None:
    """Return what a formula multiplies each pair of powers with, shape (3, 3, n_points).

    None where it is not quadratic in presynaptic activity and weight, or not finite somewhere.

    Examples
    --------
    >>> oja = Rule.parse("x*y - w*y**2").numpy()["feedforward"]
    >>> curves_of_rule(oja, np.array([2.0]))[[1, 0], [0, 1], 0].round(9).tolist()
    [2.0, -4.0]
    """
    assert callable(update)
    x, w = np.meshgrid(np.linspace(-1, 1, 5), np.linspace(-1, 1, 5), indexing="ij")
    x, w = x.ravel() + 0.05, w.ravel() - 0.03  # off zero, where a formula may be undefined
    design = np.stack([x**i * w**k for i in range(3) for k in range(3)], axis=1)
    with np.errstate(all="ignore"):
        values = np.array([update(x=x, y=np.full_like(x, y), w=w) for y in post])
    if not np.isfinite(values).all():
        return None
    curves, *_ = np.linalg.lstsq(design, values.T, rcond=None)
    if np.abs(design @ curves - values.T).max() > 1e-6 * max(1.0, float(np.abs(values).max())):
        return None
    curves[np.abs(curves) < 1e-9] = 0.0
    shaped: FloatArray = curves.reshape(3, 3, -1)
    return shaped


def _aligned(teacher: Teacher, post: FloatArray, curves: FloatArray) -> list[FloatArray]:
    """Curves of each restart's own choice, at the scale of the chosen one: speed is no part of the form."""
    found: Sequence[FloatArray] = [teacher.points[n].rule.curves(post) for n in teacher.choices]
    return [one * _scale(one, curves) for one in found]


def _scale(one: FloatArray, curves: FloatArray) -> float:
    norm = float(np.sum(one**2))
    return float(np.sum(one * curves)) / norm if norm > 0 else 1.0


def _name(block: tuple[int, int]) -> str:
    parts = [f"{name}²" if power == 2 else name for name, power in zip("xw", block, strict=True) if power > 0]
    return "".join(parts) or "1"
