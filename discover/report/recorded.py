"""The report of a rule that was inferred from recorded data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from numpy.typing import NDArray

from discover.archives import read_arrays
from discover.checked import write_whole
from discover.errors import ArtefactError
from discover.expression import constants
from discover.inference.forms import Recorded, RecordedFront
from discover.pareto import Candidate
from discover.report import page as parts
from discover.report.figures import folds_figure, front_figure, path_figure, stability_figure
from discover.report.formula import rule_html
from discover.report.reading import Run, read_part, read_run
from discover.report.style import BLACK, BLUE, GREY, ORANGE, new_figure, save, styled

__all__ = ["RECORDED_FIGURES", "write_recorded_report"]

RECORDED_FIGURES = ("front", "path", "stability", "predicted", "recordings", "folds")
"""Names of the figures."""

MAX_POINTS = 4000
"""Points of the figure of predictions; of more rows every n-th is drawn."""

Units = tuple[str | None, ...]
_ARRAYS = ("observed", "predicted", "recording", "kept")


@dataclass(frozen=True, eq=False)
class Predictions:
    """What the chosen rule predicts of every row, fitted without its recording.

    Attributes
    ----------
    observed, predicted : ndarray, shape (n_rows,)
    recording : ndarray of int, shape (n_rows,)
    kept : ndarray of bool, shape (n_rows,)
        Whether the recording was kept out of the search.
    """

    observed: NDArray[np.float64]
    predicted: NDArray[np.float64]
    recording: NDArray[np.int64]
    kept: NDArray[np.bool_]


def write_recorded_report(folder: Path) -> Path:
    """Draw the figures of an inference from recorded data and write its report.

    Parameters
    ----------
    folder : Path
        Folder of the run, with its artefacts.

    Returns
    -------
    Path
        ``report.html`` in that folder; it needs no other file and no network.

    Raises
    ------
    ArtefactError
        When an artefact is missing, damaged, or written by a later version.
    OSError
        When a file cannot be written.
    """
    run = read_run(folder)
    content = read_part(folder, "front.json", RecordedFront, "infer")
    predictions = _predictions(folder / "predictions.npz")
    facts = content.recorded
    figures = folder / "figures"
    drawn: dict[str, Callable[[], Figure]] = {
        "front": lambda: front_figure(run.front),
        "path": lambda: path_figure(run.path),
        "stability": lambda: stability_figure(
            run.path, "share of parts of the cross-validation with the term"
        ),
        "predicted": lambda: predicted_figure(predictions, facts.quantity, facts.target_unit),
        "recordings": lambda: recordings_figure(run),
        "folds": lambda: folds_figure(run.validation.candidates, run.front),
    }
    with styled():
        for name, draw in drawn.items():
            save(draw(), figures, name)
    units = {one.id: one.constant_units or () for one in content.candidates}
    page = folder / "report.html"
    write_whole(page, _rendered(run, facts, units, predictions, figures).encode())
    return page


def _rendered(
    run: Run,
    facts: Recorded,
    units: Mapping[str, Units],
    predictions: Predictions,
    figures: Path,
) -> str:
    return parts.filled(
        "recorded.html.j2",
        run,
        {name: figures / f"{name}.svg" for name in RECORDED_FIGURES},
        lambda one: Markup(rule_html(one.rule, left_side=False)),  # escaped there
        **parts.of_candidates(run),
        facts=facts,
        data=run.config.sections.get("data", {}),
        summary=_summary(run, facts),
        explained=_explained(predictions),
        constants={one.id: _constants(one, units.get(one.id, ())) for one in run.front.candidates},
        settings={name: rows for name, rows in parts.settings_rows(run).items() if rows},
    )


def _constants(candidate: Candidate, units: Units) -> list[tuple[float, str]]:
    """Constants of a rule with their units; a unit that nothing determines is empty."""
    values = [value for node in candidate.rule.expressions.values() for value in constants(node)]
    texts = units if len(units) == len(values) else (None,) * len(values)
    return [
        (value, "" if unit in (None, "1") else str(unit)) for value, unit in zip(values, texts, strict=True)
    ]


def _summary(run: Run, facts: Recorded) -> str:
    """Return what was found, after the formula."""
    chosen = run.front.chosen
    said = [facts.verdict.text] if facts.verdict is not None else []
    if facts.verdict is not None and not facts.verdict.supported:
        return said[0]
    if not any(rule_variables(chosen)):
        return (
            "It is a constant: no rule in these variables predicts recordings that were left out better than "
            "their mean. The data do not support a rule."
        )
    verdict = parts.verdict_text(run.comparison.candidates.get(chosen.id))
    sentences = [f"It is {verdict}." if verdict else "It was not compared with known rules.", *said]
    validated = run.validation.candidates.get(chosen.id)
    if validated is not None:
        sentences.append(
            f"It predicts {validated.n_passed} of {len(validated.folds)} recordings as well as any candidate."
        )
        kept = [fold for fold in validated.folds if fold.name in facts.kept]
        if kept:
            passed = sum(fold.passed for fold in kept)
            sentences.append(
                f"{passed} of the {len(kept)} that were kept out of the search altogether are among these."
            )
    return " ".join(sentences)


def rule_variables(candidate: Candidate) -> list[str]:
    """Return the variables that a candidate uses."""
    from discover.expression import variables_of

    return [name for node in candidate.rule.expressions.values() for name in variables_of(node)]


def _explained(predictions: Predictions) -> dict[str, float | None]:
    """Share of the variance that is explained, of the searched and of the kept recordings."""
    found: dict[str, float | None] = {}
    for name, rows in (("searched", ~predictions.kept), ("kept", predictions.kept)):
        observed, predicted = predictions.observed[rows], predictions.predicted[rows]
        power = float(np.var(observed)) if observed.size else 0.0
        found[name] = 1.0 - float(np.mean((observed - predicted) ** 2)) / power if power > 0 else None
    return found


def predicted_figure(predictions: Predictions, quantity: str, unit: str) -> Figure:
    """Draw what the chosen rule predicts against what was observed."""
    step = max(1, -(-predictions.observed.size // MAX_POINTS))
    observed, predicted, kept = (
        array[::step] for array in (predictions.observed, predictions.predicted, predictions.kept)
    )
    figure = new_figure(4.6)
    axes = figure.add_subplot()
    for rows, colour, marker, label in (
        (np.logical_not(kept), BLUE, "o", "recordings of the search, each left out"),
        (kept, ORANGE, "^", "recordings kept for the end"),
    ):
        if rows.any():
            axes.scatter(
                observed[rows],
                predicted[rows],
                s=9,
                color=colour,
                marker=marker,
                alpha=0.5,
                linewidths=0,
                label=label,
            )
    ends = [float(observed.min()), float(observed.max())]
    axes.plot(ends, ends, color=BLACK, linewidth=1, linestyle="--", label="observed = predicted")
    name = f"{quantity} [{unit}]" if unit not in ("", "1") else quantity
    axes.set_xlabel(f"observed {name[:60]}", parse_math=False)
    axes.set_ylabel(f"predicted {name[:60]}", parse_math=False)
    legend = figure.legend(loc="outside upper left", ncols=1, markerscale=2.5)
    for handle in legend.legend_handles:
        if handle is not None:
            handle.set_alpha(1.0)
    return figure


def recordings_figure(run: Run, most: int = 40) -> Figure:
    """Draw the error of the chosen rule in every recording, beside the lowest one of all candidates."""
    folds = (
        list(run.validation.candidates[run.front.chosen.id].folds)[:most] if run.validation.candidates else []
    )
    lowest = []
    for number in range(len(folds)):
        values = [one.folds[number].metrics["loss"].mean for one in run.validation.candidates.values()]
        lowest.append(min(value for value in values if value is not None))
    figure = new_figure(1.6 + 0.26 * max(len(folds), 2))
    axes = figure.add_subplot()
    own = [fold.metrics["loss"].mean or 0.0 for fold in folds]
    places = list(range(len(folds)))
    axes.scatter(
        lowest, places, marker="|", s=160, color=GREY, linewidths=2, label="lowest of all candidates"
    )
    axes.scatter(own, places, color=BLUE, s=34, label="chosen rule", zorder=3)
    axes.set_yticks(places, [fold.title[:40] or fold.name[:40] for fold in folds], parse_math=False)
    axes.set_ylim(len(folds) - 0.4, -0.6)
    low, high = min([*own, *lowest], default=0.0), max([*own, *lowest], default=1.0)
    if low > 1e-12 and high > 10 * low:
        axes.set_xscale("log")
    else:
        axes.set_xlim(0, 1.15 * high or 1.0)
        axes.locator_params(axis="x", nbins=5)
    axes.set_xlabel("squared error / variance, recording left out")
    figure.legend(loc="outside upper left", ncols=2)
    return figure


def _predictions(path: Path) -> Predictions:
    remedy = "Make it anew: repeat `discover infer` with --fresh."
    arrays = read_arrays(path, "predictions", remedy=remedy)
    missing = [name for name in _ARRAYS if name not in arrays]
    if missing:
        raise ArtefactError(f"{path} was edited: it has no array {missing[0]!r}. {remedy}")
    arrays = {name: arrays[name] for name in _ARRAYS}
    kinds = {"observed": "f", "predicted": "f", "recording": "iu", "kept": "b"}
    size = arrays["observed"].shape
    if len(size) != 1 or any(
        array.shape != size or array.dtype.kind not in kinds[name] for name, array in arrays.items()
    ):
        raise ArtefactError(f"{path} was edited: its arrays do not fit. {remedy}")
    return Predictions(**arrays)
