"""The report of a rule that was inferred from recorded data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from discover.archives import read_archive
from discover.checked import read_plain
from discover.errors import ArtefactError
from discover.expression import constants
from discover.known_rules import KNOWN_RULES
from discover.pareto import Candidate
from discover.report import page as parts
from discover.report.figures import folds_figure, front_figure, ordered_names, path_figure, stability_figure
from discover.report.files import write_bytes
from discover.report.formula import rule_html, rule_text
from discover.report.front_plot import front_plot
from discover.report.reading import Run, read_optional, read_run
from discover.report.style import BLACK, BLUE, GREY, ORANGE, data_uri, new_figure, save, styled

__all__ = ["RECORDED_FIGURES", "write_recorded_report"]

RECORDED_FIGURES = ("front", "path", "stability", "predicted", "recordings", "folds")
"""Names of the figures."""

MAX_POINTS = 4000
"""Points of the figure of predictions; of more rows every n-th is drawn."""

MAX_ARRAY_BYTES = 1_000_000_000
_ARRAYS = ("observed", "predicted", "recording", "kept")


class _Verdict(BaseModel):
    """Whether the recordings support the chosen rule."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)
    supported: bool
    form_missing: bool
    text: str


class _Facts(BaseModel):
    """What ``front.json`` says of the data."""

    model_config = ConfigDict(extra="ignore", strict=True, allow_inf_nan=False, frozen=True)
    quantity: str
    units: dict[str, str] = {}
    target_unit: str = ""
    recordings: list[str]
    groups_stated: bool
    kept: list[str] = []
    n_rows: int
    n_equations: int = 0
    window: float | None = None
    verdict: _Verdict | None = None


class _OfCandidate(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)
    id: str
    constant_units: list[str | None] = []


class _RecordedFront(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)
    recorded: _Facts
    candidates: list[_OfCandidate]


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
    content = read_optional(folder, "front.json", _RecordedFront, "infer")
    assert content is not None  # it was read a moment ago
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
        "folds": lambda: folds_figure(run.validation, run.front),
    }
    with styled():
        for name, draw in drawn.items():
            save(draw(), figures, name)
    units = {one.id: one.constant_units for one in content.candidates}
    page = folder / "report.html"
    write_bytes(page, _rendered(run, facts, units, predictions, figures).encode())
    return page


def _rendered(
    run: Run, facts: _Facts, units: Mapping[str, list[str | None]], predictions: Predictions, figures: Path
) -> str:
    environment = Environment(
        loader=FileSystemLoader(parts.TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=parts.number_text,
        interval=parts._interval,
        formula=lambda one: Markup(rule_html(one.rule, left_side=False)),  # escaped there
        short_formula=parts._short_formula,
        plain=rule_text,
    )
    cards = [parts._card(run, one) for one in run.front.candidates]
    kept = [one.candidate.on_front or one.candidate.id == run.front.chosen.id for one in cards]
    scripts = [parts._plotly(), (parts.TEMPLATES / "report.js").read_text(encoding="utf-8")]
    chosen = run.front.chosen
    return environment.get_template("recorded.html.j2").render(
        run=run,
        facts=facts,
        data=run.config.sections.get("data", {}),
        front=run.front,
        chosen=chosen,
        cards=cards,
        kept=[(number, card) for number, card in enumerate(cards) if kept[number]],
        others=[(number, card) for number, card in enumerate(cards) if not kept[number]],
        summary=_summary(run, facts),
        explained=_explained(predictions),
        constants={one.id: _constants(one, units.get(one.id, [])) for one in run.front.candidates},
        verdict=parts.verdict_text(run.comparison.get(chosen.id)),
        fold_names=ordered_names(run.validation, run.front),
        fold_rows=parts._fold_rows(run),
        known=parts._known_rows(run),
        known_rules=KNOWN_RULES,
        settings={name: rows for name, rows in parts._settings_rows(run).items() if rows},
        figures={name: data_uri(figures / f"{name}.svg") for name in RECORDED_FIGURES},
        plot=front_plot(run.front),
        style=Markup((parts.TEMPLATES / "report.css").read_text(encoding="utf-8")),  # our own file
        scripts=[Markup(script) for script in scripts],  # our own file, and Plotly's
        script_hashes=" ".join(parts._content_hash(script) for script in scripts),
    )


def _constants(candidate: Candidate, units: list[str | None]) -> list[tuple[float, str]]:
    """Constants of a rule with their units; a unit that nothing determines is empty."""
    values = [value for node in candidate.rule.expressions.values() for value in constants(node)]
    texts = units if len(units) == len(values) else [None] * len(values)
    return [
        (value, "" if unit in (None, "1") else str(unit)) for value, unit in zip(values, texts, strict=True)
    ]


def _summary(run: Run, facts: _Facts) -> str:
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
    verdict = parts.verdict_text(run.comparison.get(chosen.id))
    sentences = [f"It is {verdict}." if verdict else "It was not compared with known rules.", *said]
    validated = run.validation.get(chosen.id)
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
    folds = list(run.validation[run.front.chosen.id].folds)[:most] if run.validation else []
    lowest = []
    for number in range(len(folds)):
        values = [one.folds[number].metrics["loss"].mean for one in run.validation.values()]
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
    try:
        arrays = read_archive(read_plain(path, MAX_ARRAY_BYTES), MAX_ARRAY_BYTES)
        arrays = {name: arrays[name] for name in _ARRAYS}
    except FileNotFoundError:
        raise ArtefactError(f"There is no file {path}. {remedy}") from None
    except KeyError as error:
        raise ArtefactError(f"{path} was edited: it has no array {error}. {remedy}") from None
    except (OSError, ValueError) as error:
        raise ArtefactError(f"{path} is truncated or was edited: {error}. {remedy}") from None
    kinds = {"observed": "f", "predicted": "f", "recording": "iu", "kept": "b"}
    size = arrays["observed"].shape
    if len(size) != 1 or any(
        array.shape != size or array.dtype.kind not in kinds[name] for name, array in arrays.items()
    ):
        raise ArtefactError(f"{path} was edited: its arrays do not fit. {remedy}")
    return Predictions(**arrays)
