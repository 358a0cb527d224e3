"""The report of pairing experiments: one page for an experimenter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from discover.checked import write_whole
from discover.errors import ArtefactError
from discover.known_rules import KNOWN_RULES
from discover.pairing.evidence import HeldGroup, HeldOut, Split
from discover.pairing.forms import (
    Decisions,
    LeftOutParts,
    PairingComparison,
    PairingFront,
    PairingPath,
    PairingValidation,
    Predictions,
    RankedRule,
    Sets,
    Total,
)
from discover.pairing.protocols import names_of
from discover.pairing.stored import read_split
from discover.report import page as parts
from discover.report import pairing_figures as drawings
from discover.report.figures import front_figure, path_figure, stability_figure
from discover.report.formula import rule_html
from discover.report.posterior import posterior_section
from discover.report.reading import Run, read_part, read_run
from discover.report.seed_study import study_section
from discover.report.style import save, styled

__all__ = ["write_pairing_report"]

PAIR = "stdp-additive"


@dataclass(frozen=True, eq=False)
class _Facts:
    run: Run
    protocols: Split
    sets: Sets
    candidates: Mapping[str, Predictions]
    n_tried: int
    left_out: LeftOutParts
    decisions: Decisions

    @property
    def chosen(self) -> Predictions:
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
    write_whole(page, _rendered(facts, figures, tuple(drawn)).encode())
    return page


def _read(folder: Path) -> _Facts:
    run = read_run(folder)
    front = read_part(folder, "front.json", PairingFront, "search")
    facts = _Facts(
        run,
        read_split(folder),
        read_part(folder, "path.json", PairingPath, "fit").pairing,
        {one.id: one.pairing for one in front.candidates},
        front.pairing.n_tried,
        read_part(folder, "validation.json", PairingValidation, "validate").pairing,
        read_part(folder, "comparison.json", PairingComparison, "compare").pairing,
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
        one.window.shape == (len(one.window_hz), len(one.window_lags_ms))
        and one.curve.shape == (len(one.curve_lags_ms), len(one.curve_hz))
        for one in decisions.curves.values()
        if len(one.curve_lags_ms)
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
        facts.chosen.predicted,
        facts.protocols.predicted if held is not None else (),
        held.changes if held is not None else np.array([]),
    )
    drawn: dict[str, Callable[[], Figure]] = {
        "front": lambda: front_figure(run.front),
        "path": lambda: path_figure(run.path),
        "predicted": lambda: drawings.predicted_figure(measured),
        "decisive": lambda: drawings.decisive_figure(
            names_of(facts.protocols.fitted), decisions.leading, decisions.squares
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
        drawn["window"] = lambda: drawings.window_figure(chosen)
        if len(chosen.curve_lags_ms):
            drawn["frequency"] = lambda: drawings.frequency_figure(measured, chosen, pair)
    if decisions.further:
        drawn["further"] = lambda: drawings.further_figure(decisions.further, decisions.leading)
    return drawn


def _is_pair(one: RankedRule) -> bool:
    pre, _, post = one.text.partition("; ")
    return pre.endswith("*x_post") and post.endswith("*x_pre")


def _rendered(facts: _Facts, figures: Path, names: Sequence[str]) -> str:
    run = facts.run
    posterior = posterior_section(run.folder)
    fitted, held = facts.protocols.fitted, facts.left_out.held.get(run.front.chosen.id)
    return parts.filled(
        "pairing.html.j2",
        run,
        {name: figures / f"{name}.svg" for name in (*names, *(posterior.figures if posterior else ()))},
        lambda rule: Markup(rule_html(rule, left_side=False)),  # escaped there
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
        known=[(KNOWN_RULES.get(one.name), one, one.rule) for one in facts.decisions.known],
        two_terms=facts.two_terms,
        pair_rank=facts.place(_is_pair),
        study=study_section(run),
        posterior=posterior,
        settings={name: rows for name, rows in parts.settings_rows(run).items() if rows and name in SHOWN},
    )


SHOWN = ("problems", "search")


def _held_rows(facts: _Facts, held: HeldOut | None) -> list[tuple[Any, ...]]:
    if held is None:
        return []
    every = facts.protocols.predicted
    return list(zip(names_of(every), every, held.changes, held.other_order, held.undecided, strict=True))


def _held_by_rule(facts: _Facts) -> list[tuple[str, list[HeldGroup]]]:
    """Return the groups that trace rules decide, by the leading rules and that of pairs."""
    names = [*facts.decisions.leading, PAIR]
    found = {name: facts.left_out.held[name].groups for name in names if name in facts.left_out.held}
    decided = {one.name for groups in list(found.values())[:1] for one in groups if one.n}
    return [(name, [one for one in groups if one.name in decided]) for name, groups in found.items()]


def _ways(facts: _Facts) -> list[tuple[str, Mapping[str, Total]]]:
    """Return the chosen rule, the other leading ones and the known ones, with all ways to leave out."""
    totals = facts.left_out.totals
    chosen = facts.run.front.chosen.id
    names = [chosen, *(name for name in totals if name != chosen)]
    return [(name, totals[name]) for name in names if name in totals]
