"""The report of pairing experiments: one page for an experimenter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure
from pydantic import BaseModel, ConfigDict

from discover.archives import read_archive
from discover.checked import read_plain
from discover.errors import ArtefactError, RuleError
from discover.known_rules import KNOWN_RULES
from discover.pairing.evidence import Split
from discover.pairing.protocols import names_of
from discover.pairing.stored import split_from_arrays
from discover.report import page as parts
from discover.report import pairing_figures as drawings
from discover.report.figures import front_figure, path_figure, stability_figure
from discover.report.files import write_bytes
from discover.report.formula import rule_html, rule_text
from discover.report.reading import Run, read_optional, read_run
from discover.report.seed_study import study_section
from discover.report.style import data_uri, save, styled
from discover.rule import Rule

__all__ = ["write_pairing_report"]

PAIR = "stdp-additive"
MAX_ARRAY_BYTES = 1_000_000_000


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, allow_inf_nan=False, frozen=True)


class Explained(_Model):
    """What a rule explains, of any artefact."""

    text: str
    chi2: float
    left_out_chi2: float
    left_out_r2: float
    n_constants: int
    traces: dict[str, float] = {}


class RankedRule(Explained):
    """One of the sets of terms that were tried."""

    rank: int
    n_terms: int


class _Size(_Model):
    n_terms: int
    n_sets: int
    n_told_apart: int


class _Draw(_Model):
    terms: list[str]
    n: int


class Sets(_Model):
    """What ``path.json`` says of all sets of terms."""

    n_terms: int
    sizes: list[_Size]
    ranked: list[RankedRule]
    n_permutations: int
    n_by_chance: int
    chance: float | None
    n_draws: int
    draws: list[_Draw]
    supported: bool
    text: str


class OfCandidate(Explained):
    """What ``front.json`` says of a candidate."""

    predicted: list[float]
    fitted: list[float]
    same: list[str] = []
    at_edge: list[str] = []


class _Total(_Model):
    chi2: float
    r2: float | None


class _Group(_Model):
    name: str
    n: int
    n_open: int = 0
    chi2: float
    r2: float | None
    reason: str = ""


class Held(_Model):
    """Predictions of protocols that no rule was fitted to."""

    changes: list[float]
    other_order: list[float]
    undecided: list[bool]
    groups: list[_Group]


class LeftOut(_Model):
    """What ``validation.json`` says of all ways to leave protocols out."""

    totals: dict[str, dict[str, _Total]]
    held: dict[str, Held] = {}


class Known(Explained):
    """A known rule, fitted."""

    name: str
    slots: dict[str, str]
    fitted: list[float]
    predicted: list[float]


class _Further(_Model):
    name: str
    error: float
    n_spikes: int
    changes: list[float]
    distance: float
    pair: list[int]


class _Curves(_Model):
    window_hz: list[float]
    window_lags_ms: list[float]
    window: list[list[float]]
    curve_hz: list[float]
    curve_lags_ms: list[float]
    curve: list[list[float]]

    @property
    def arrays(self) -> drawings.Curves:
        """The same as arrays."""
        return drawings.Curves(**{name: np.array(getattr(self, name)) for name in type(self).model_fields})


class Decisions(_Model):
    """What ``comparison.json`` says of known rules, and of what would tell the leading ones apart."""

    known: list[Known]
    leading: list[str]
    squares: list[list[float]]
    further: list[_Further]
    curves: dict[str, _Curves]


class _Path(_Model):
    pairing: Sets


class _Candidate(_Model):
    id: str
    pairing: OfCandidate


class _Tried(_Model):
    n_tried: int


class _Front(_Model):
    candidates: list[_Candidate]
    pairing: _Tried


class _Validation(_Model):
    pairing: LeftOut


class _Comparison(_Model):
    pairing: Decisions


@dataclass(frozen=True, eq=False)
class _Facts:
    run: Run
    protocols: Split
    sets: Sets
    candidates: Mapping[str, OfCandidate]
    n_tried: int
    left_out: LeftOut
    decisions: Decisions

    @property
    def chosen(self) -> OfCandidate:
        return self.candidates[self.run.front.chosen.id]

    @property
    def two_terms(self) -> list[RankedRule]:
        return [one for one in self.sets.ranked if one.n_terms == 2]

    def place(self, text_of_terms: Callable[[RankedRule], bool]) -> int | None:
        return next((k for k, one in enumerate(self.two_terms) if text_of_terms(one)), None)


def write_pairing_report(folder: Path) -> Path:
    """Draw the figures of a run on pairing experiments and write its report.

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
    facts = _read(folder)
    figures = folder / "figures"
    drawn = _figures(facts)
    with styled():
        for name, draw in drawn.items():
            save(draw(), figures, name)
    page = folder / "report.html"
    write_bytes(page, _rendered(facts, figures, tuple(drawn)).encode())
    return page


def _read(folder: Path) -> _Facts:
    run = read_run(folder)
    path = read_optional(folder, "path.json", _Path, "fit")
    front = read_optional(folder, "front.json", _Front, "search")
    validation = read_optional(folder, "validation.json", _Validation, "validate")
    comparison = read_optional(folder, "comparison.json", _Comparison, "compare")
    # read_run found all of them a moment ago.
    if path is None or front is None or validation is None or comparison is None:
        raise ArtefactError(f"An artefact of {folder} was removed while it was read.")
    remedy = f"Make it anew: `discover simulate {folder} --fresh`."
    try:
        arrays = read_archive(read_plain(folder / "trajectories.npz", MAX_ARRAY_BYTES), MAX_ARRAY_BYTES)
        protocols = split_from_arrays(arrays)
    except (OSError, ValueError, ArtefactError) as error:
        raise ArtefactError(
            f"{folder / 'trajectories.npz'} is missing, truncated or was edited: {error}. {remedy}"
        ) from None
    facts = _Facts(
        run,
        protocols,
        path.pairing,
        {one.id: one.pairing for one in front.candidates},
        front.pairing.n_tried,
        validation.pairing,
        comparison.pairing,
    )
    _check(facts, folder)
    return facts


def _check(facts: _Facts, folder: Path) -> None:
    """Refuse artefacts that are not of one run."""
    n, decisions = len(facts.protocols.fitted), facts.decisions
    lengths = [len(one.predicted) for one in facts.candidates.values()]
    lengths += [len(one.predicted) for one in decisions.known]
    lengths += [len(row) for row in decisions.squares]
    shapes_fit = all(
        np.shape(one.arrays.window) == (len(one.window_hz), len(one.window_lags_ms))
        and np.shape(one.curve) == (len(one.curve_lags_ms), len(one.curve_hz) if one.curve_lags_ms else 0)
        for one in decisions.curves.values()
        if one.curve_lags_ms
    )
    held_fit = all(
        len(one.changes) == len(one.other_order) == len(one.undecided) == len(facts.protocols.predicted)
        for one in facts.left_out.held.values()
    )
    names_fit = set(decisions.leading) <= set(facts.candidates) and len(decisions.squares) == len(
        decisions.leading
    )
    further_fit = all(
        len(one.changes) == len(decisions.leading) and all(0 <= k < len(one.changes) for k in one.pair)
        for one in decisions.further
    )
    if set(lengths) - {n} or not (shapes_fit and held_fit and names_fit and further_fit):
        raise ArtefactError(
            f"The artefacts in {folder} do not belong together: some were edited, or are of another run. "
            f"Make them anew: `discover run {folder} --fresh`."
        )


def _figures(facts: _Facts) -> dict[str, Callable[[], Figure]]:
    """Return what is drawn, by the name of its file; of a table without lags less."""
    run, decisions = facts.run, facts.decisions
    chosen = decisions.curves.get(run.front.chosen.id)
    pair = decisions.curves.get(PAIR)
    held = facts.left_out.held.get(run.front.chosen.id)
    measured = drawings.Measured(
        facts.protocols.fitted,
        np.array(facts.chosen.predicted),
        facts.protocols.predicted if held is not None else (),
        np.array(held.changes if held is not None else []),
    )
    drawn: dict[str, Callable[[], Figure]] = {
        "front": lambda: front_figure(run.front),
        "path": lambda: path_figure(run.path),
        "predicted": lambda: drawings.predicted_figure(measured),
        "decisive": lambda: drawings.decisive_figure(
            names_of(facts.protocols.fitted), decisions.leading, np.array(decisions.squares)
        ),
    }
    if facts.two_terms:
        drawn["ranks"] = lambda: drawings.ranks_figure(
            [one.left_out_r2 for one in facts.two_terms],
            facts.place(lambda one: one.text == facts.chosen.text),
            facts.place(_is_pair),
        )
    if facts.sets.n_draws:
        label = "share of draws with the term"
        drawn["stability"] = lambda: stability_figure(run.path, label)
    if chosen is not None:
        drawn["window"] = lambda: drawings.window_figure(chosen.arrays)
        if chosen.curve_lags_ms:
            drawn["frequency"] = lambda: drawings.frequency_figure(
                measured, chosen.arrays, pair.arrays if pair is not None else None
            )
    if decisions.further:
        rows = [one.model_dump() for one in decisions.further]
        drawn["further"] = lambda: drawings.further_figure(rows, decisions.leading)
    return drawn


def _is_pair(one: RankedRule) -> bool:
    pre, _, post = one.text.partition("; ")
    return pre.endswith("*x_post") and post.endswith("*x_pre")


def _rendered(facts: _Facts, figures: Path, names: Sequence[str]) -> str:
    environment = Environment(
        loader=FileSystemLoader(parts.TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=parts.number_text,
        signed=lambda value: f"{value:+.2f}".replace("-", "\N{MINUS SIGN}"),
        formula=lambda rule: Markup(rule_html(rule, left_side=False)),  # escaped there
        short_formula=parts._short_formula,
        plain=rule_text,
    )
    run = facts.run
    fitted, held = facts.protocols.fitted, facts.left_out.held.get(run.front.chosen.id)
    return environment.get_template("pairing.html.j2").render(
        run=run,
        front=run.front,
        chosen=run.front.chosen,
        facts=facts,
        sets=facts.sets,
        decisions=facts.decisions,
        protocols=list(
            zip(names_of(fitted), fitted, facts.chosen.fitted, facts.chosen.predicted, strict=True)
        ),
        held=_held_rows(facts, held),
        held_groups=[] if held is None else held.groups,
        held_by_rule=_held_by_rule(facts),
        ways=_ways(facts),
        known=[(KNOWN_RULES.get(one.name), one, _rule(one.slots)) for one in facts.decisions.known],
        two_terms=facts.two_terms,
        pair_rank=facts.place(_is_pair),
        verdict=parts.verdict_text(run.comparison.get(run.front.chosen.id)),
        study=study_section(run),
        settings={name: rows for name, rows in parts._settings_rows(run).items() if rows and name in SHOWN},
        figures={name: data_uri(figures / f"{name}.svg") for name in names},
        style=Markup((parts.TEMPLATES / "report.css").read_text(encoding="utf-8")),  # our own file
    )


SHOWN = ("problems", "search")


def _rule(slots: Mapping[str, str]) -> Rule | None:
    try:
        return Rule.parse(slots) if slots else None
    except RuleError:
        return None


def _held_rows(facts: _Facts, held: Held | None) -> list[tuple[Any, ...]]:
    if held is None:
        return []
    every = facts.protocols.predicted
    return list(zip(names_of(every), every, held.changes, held.other_order, held.undecided, strict=True))


def _held_by_rule(facts: _Facts) -> list[tuple[str, list[_Group]]]:
    """Return the groups that trace rules decide, by the leading rules and that of pairs."""
    names = [*facts.decisions.leading, PAIR]
    found = {name: facts.left_out.held[name].groups for name in names if name in facts.left_out.held}
    decided = {one.name for groups in list(found.values())[:1] for one in groups if one.n}
    return [(name, [one for one in groups if one.name in decided]) for name, groups in found.items()]


def _ways(facts: _Facts) -> list[tuple[str, dict[str, _Total]]]:
    """Return the chosen rule, the other leading ones and the known ones, with all ways to leave out."""
    totals = facts.left_out.totals
    chosen = facts.run.front.chosen.id
    names = [chosen, *(name for name in totals if name != chosen)]
    return [(name, totals[name]) for name in names if name in totals]
