"""The page: what the template shows, gathered and put into words."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from discover.contest import contest_text
from discover.forms import Compared, Contest, Distances, Evidence, FoldResult
from discover.intervals import ENOUGH, Metric
from discover.known_rules import KNOWN_RULES, KnownRule
from discover.pareto import Candidate
from discover.report.axes import front_view
from discover.report.curves import N_PROBLEMS, LearningCurve
from discover.report.figures import FIGURES, SPENT, ordered_names
from discover.report.formula import rule_html, rule_text
from discover.report.front_plot import front_plot
from discover.report.matrix import matrix_columns, matrix_rows
from discover.report.memory import MemorySection
from discover.report.portrait import PortraitSection
from discover.report.posterior import PosteriorSection
from discover.report.reading import Run
from discover.report.seed_study import StudySection
from discover.report.spiking import SpikingSection
from discover.report.style import data_uri
from discover.report.teacher import TeacherSection
from discover.tasks import Task

__all__ = ["filled", "of_candidates", "render_page", "settings_rows", "verdict_text"]

TEMPLATES = Path(__file__).parent / "templates"

_VERDICTS = {
    "same up to scale": "the same as {known} up to scale",
    "same terms": "made of the same terms as {known}",
    "same terms with the opposite sign": "{known} with the opposite sign",
    "extra terms": "{known} with extra terms",
    "missing terms": "{known} with terms missing",
    "behaves alike": "different from {known} in form and alike in behaviour",
    "different": "different from all known rules it was compared with; the nearest is {known}",
}
"""Verdict of the comparison -> what comes after "The rule is"."""


def render_page(
    run: Run,
    task: Task,
    curves: Sequence[LearningCurve],
    curve_axis: str,
    figures: Path,
    spiking: SpikingSection | None = None,
    teacher: TeacherSection | None = None,
    portrait: PortraitSection | None = None,
    study: StudySection | None = None,
    memory: MemorySection | None = None,
    posterior: PosteriorSection | None = None,
) -> str:
    """Return the report as HTML that holds everything it shows.

    Parameters
    ----------
    run : Run
    task : Task
    curves : sequence of LearningCurve
    curve_axis : str
        What they are over.
    figures : Path
        Folder of the figures, which must have been drawn.
    spiking : SpikingSection, optional
        What is said of spiking rules only.
    teacher : TeacherSection, optional
        What is said where the fit has a rule without a formula.
    portrait : PortraitSection, optional
        What is said of the phase portrait, where it was drawn.
    study : StudySection, optional
        What is said of other seeds, where there is a study of the same settings.
    memory : MemorySection, optional
        What is said of networks with four plastic projections only.
    posterior : PosteriorSection, optional
        What is said of all rules that would do, where these were sampled.
    """
    contests = run.comparison.contests
    names = (
        *FIGURES,
        *(spiking.figures if spiking is not None else ()),
        *(memory.figures if memory is not None else ()),
        *(posterior.figures if posterior is not None else ()),
        *([teacher.figure] if teacher is not None else []),
        *([portrait.figure] if portrait is not None else []),
        *([SPENT] if run.front.spent else []),
    )
    return filled(
        "report.html.j2",
        run,
        {name: figures / f"{name}.svg" for name in names},
        lambda one: Markup(rule_html(one.rule)),  # escaped there
        **of_candidates(run),
        task=task,
        summary=_summary(run),
        curves=curves,
        curve_axis=curve_axis,
        n_problems=N_PROBLEMS,
        enough=ENOUGH,
        ablation_measures=_ablation_measures(run, task),
        contest_rows=[_contest_row(one) for one in contests],
        contest_measures={
            name: title
            for name, title in task.measures.items()
            if any(name in one.measures for one in contests)
        },
        contest_own=_own_means(contests),
        contest_speeds=contests[0].found_speeds if contests else {},
        contest_marks=_MARKS,
        settings=settings_rows(run),
        spiking=spiking,
        teacher=teacher,
        portrait=portrait,
        study=study,
        memory=memory,
        posterior=posterior,
        matrix_columns=[(name, _title(name)) for name in matrix_columns(run)],
        matrix_rows=matrix_rows(run),
    )


def filled(
    template: str,
    run: Run,
    figures: Mapping[str, Path],
    formula: Callable[[Any], Markup],
    **content: Any,
) -> str:
    """Return a page.

    Parameters
    ----------
    template : str
        Its name.
    run : Run
    figures : mapping from str to Path
        Figures that it shows, which must have been drawn.
    formula : callable
        The template's filter for formulas.
    **content
        What it shows besides that which all pages show.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=number_text,
        signed=lambda value: f"{value:+.2f}".replace("-", "\N{MINUS SIGN}"),
        interval=_interval,
        interval_name=_interval_name,
        speeds=_speeds,
        moment=lambda text: text.replace("T", " ").removesuffix("+00:00") or "–",
        outcome=_outcome,
        formula=formula,
        short_formula=lambda rule: Markup(rule_html(rule, digits=3, left_side=False)),  # escaped there
        plain=rule_text,
    )
    chosen = run.front.chosen
    return environment.get_template(template).render(
        run=run,
        front=run.front,
        chosen=chosen,
        verdict=verdict_text(run.comparison.candidates.get(chosen.id)),
        figures={name: data_uri(path) for name, path in figures.items()},
        style=Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),  # our own file
        **content,
    )


def of_candidates(run: Run) -> dict[str, Any]:
    """Return what a page shows of all candidates: cards, folds, known rules, the plot and its scripts."""
    cards = [_card(run, one) for one in run.front.candidates]
    kept = [one.candidate.on_front or one.candidate.id == run.front.chosen.id for one in cards]
    scripts = [_plotly(), (TEMPLATES / "report.js").read_text(encoding="utf-8")]
    return {
        "cards": cards,
        "kept": [(number, card) for number, card in enumerate(cards) if kept[number]],
        "others": [(number, card) for number, card in enumerate(cards) if not kept[number]],
        "fold_names": ordered_names(run.validation.candidates, run.front),
        "fold_rows": _fold_rows(run),
        "known": _known_rows(run),
        "known_rules": KNOWN_RULES,
        "plot": front_plot(run.front),
        "outside": front_view(run.front).n_outside,
        "scripts": [Markup(script) for script in scripts],  # our own file, and Plotly's
        "script_hashes": " ".join(_content_hash(script) for script in scripts),
    }


@dataclass(frozen=True)
class Card:
    """Everything about one candidate.

    Attributes
    ----------
    candidate : Candidate
    folds : tuple of FoldResult
        Empty when it was not validated.
    n_passed : int
    comparison : Compared or None
    verdict : str
    """

    candidate: Candidate
    folds: tuple[FoldResult, ...]
    n_passed: int
    comparison: Compared | None
    verdict: str


def _card(run: Run, candidate: Candidate) -> Card:
    validated = run.validation.candidates.get(candidate.id)
    folds = tuple(validated.folds) if validated is not None else ()
    comparison = run.comparison.candidates.get(candidate.id)
    return Card(candidate, folds, sum(fold.passed for fold in folds), comparison, verdict_text(comparison))


def verdict_text(comparison: Compared | None) -> str:
    """Return in words what a rule is beside the known rules; empty when it was not compared."""
    if comparison is None:
        return ""
    if comparison.nearest is None:
        return f"{comparison.verdict}; no known rule can be compared with it"
    sentence = _VERDICTS.get(comparison.in_words)
    name = _title(comparison.nearest)
    return sentence.format(known=name) if sentence else f"{comparison.verdict} (nearest known rule: {name})"


def _title(name: str) -> str:
    known = KNOWN_RULES.get(name)
    return known.title if known is not None else name


def _summary(run: Run) -> str:
    """Return what was found, after the formula."""
    card = _card(run, run.front.chosen)
    sentences = [f"It is {card.verdict}." if card.verdict else "It was not compared with known rules."]
    if not card.folds:
        sentences.append("It was not tried under other conditions.")
    else:
        at_best = ", at its best speed in each" if any(fold.speeds for fold in card.folds) else ""
        all_of = "all" if card.n_passed == len(card.folds) else f"{card.n_passed} of"
        sentences.append(f"It passed {all_of} {len(card.folds)} folds of cross-validation{at_best}.")
        for outcome, word in (("failed", "Failed"), ("undecided", "Undecided")):
            others = ", ".join(fold.title or fold.name for fold in card.folds if fold.outcome == outcome)
            if others:
                sentences.append(f"{word}: {others}.")
    if run.comparison.baseline is not None and run.comparison.baseline.text:
        at = (
            len(sentences) if run.comparison.baseline.beaten_by else 0
        )  # that nothing was learnt is said first
        sentences.insert(at, run.comparison.baseline.text)
    return " ".join(sentences)


@dataclass(frozen=True)
class FoldRow:
    """One condition: its name, what is different, and each rule's fold (None where it was not tried)."""

    name: str
    title: str
    folds: tuple[FoldResult | None, ...]


def _fold_rows(run: Run) -> list[FoldRow]:
    names = ordered_names(run.validation.candidates, run.front)
    titles: dict[str, str] = {}
    for name in names:
        for fold in run.validation.candidates[name].folds:
            titles[fold.name] = titles.get(fold.name) or fold.title
    by_rule = [{fold.name: fold for fold in run.validation.candidates[name].folds} for name in names]
    return [
        FoldRow(fold, title, tuple(folds.get(fold) for folds in by_rule)) for fold, title in titles.items()
    ]


@dataclass(frozen=True)
class KnownRow:
    """A known rule beside the chosen one."""

    name: str
    rule: KnownRule | None
    distances: Distances
    verdict: str
    details: str
    nearest: bool


def _known_rows(run: Run) -> list[KnownRow]:
    comparison = run.comparison.candidates.get(run.front.chosen.id)
    if comparison is None:
        return []
    rows = [_known_row(name, comparison) for name in comparison.distances]
    far = float("inf")
    return sorted(
        rows,
        key=lambda row: (
            not row.nearest,
            far if row.distances.functional is None else row.distances.functional,
            row.name,
        ),
    )


def _known_row(name: str, comparison: Compared) -> KnownRow:
    evidence = comparison.evidence.get(name, Evidence())
    nearest = name == comparison.nearest
    details = []
    scales = {slot: scale for slot, scale in (evidence.scales or {}).items() if scale > 0}
    for slot, scale in scales.items():
        details.append(f"{f'{slot} ' if len(scales) > 1 else ''}scale {number_text(scale, 3)}")
    details += [f"{terms} = {number_text(ratio)}" for terms, ratio in evidence.ratios.items() if nearest]
    for kind, terms in (("extra", evidence.extra_terms), ("missing", evidence.missing_terms)):
        if terms:
            details.append(f"{kind}: {', '.join(terms)}")
    return KnownRow(
        name,
        KNOWN_RULES.get(name),
        comparison.distances[name],
        evidence.verdict or (comparison.verdict if nearest else ""),
        "; ".join(details),
        nearest,
    )


_MARKS = {
    "better": ("pass", "▲"),
    "worse": ("fail", "▼"),
    "equivalent": ("soft", "="),
    "undecided": ("soft", "?"),
    "equal": ("soft", "?"),
}
"""Verdict on one measure -> class and sign; "equal" of earlier runs meant that no difference was shown."""


@dataclass(frozen=True)
class ContestRow:
    """The chosen rule beside one known rule, in words and measure by measure."""

    title: str
    text: str
    published: str
    refitted: str
    needs: str
    contest: Contest


def _contest_row(one: Contest) -> ContestRow:
    known = KNOWN_RULES.get(one.name)
    title = " = ".join(_title(name) for name in (one.name, *one.also))
    fitted, published = (
        contest_text(title, {measure: standing.verdict for measure, standing in standings.items()})
        for standings in (one.measures, one.as_published)
    )
    return ContestRow(
        title,
        fitted,
        published if one.refitted else "",
        rule_text(one.refitted) if one.refitted else "",
        _needs(known),
        one,
    )


def _own_means(contests: Sequence[Contest]) -> dict[str, float]:
    """The chosen rule's mean of each measure: the same problems whatever it stands beside."""
    means: dict[str, float] = {}
    for one in contests:
        for name, standing in one.measures.items():
            if standing.found is not None:
                if standing.found.mean is not None:
                    means.setdefault(name, standing.found.mean)
            elif standing.known.mean is not None and standing.difference.mean is not None:
                means.setdefault(name, standing.known.mean + standing.difference.mean)
    return means


def _needs(known: KnownRule | None) -> str:
    """What a known rule needs besides a synapse's own variables, as a sentence; empty for nothing."""
    if known is None or not known.needs:
        return ""
    return (
        f"{known.title} needs {known.needs}."
        if known.is_local
        else (f"Not local: {known.title} needs {known.needs}.")
    )


def _ablation_measures(run: Run, task: Task) -> dict[str, str]:
    """Measures of the ablations, in the order of the task, and what they are."""
    if not run.comparison.ablations:
        return {}
    return {
        name: title for name, title in task.measures.items() if name in run.comparison.ablations[0].metrics
    }


def settings_rows(run: Run) -> dict[str, list[tuple[str, str]]]:
    """Settings by section, nested ones under dotted names."""
    return {
        name: [(key, value) for key, value in _flat(section)] for name, section in run.config.sections.items()
    }


def _flat(table: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, value in table.items():
        if isinstance(value, Mapping) and value:
            rows += _flat(value, f"{prefix}{key}.")
        else:
            rows.append((f"{prefix}{key}", _setting_text(value)))
    return rows


def _setting_text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, Sequence):
        return ", ".join(_setting_text(item) for item in value) or "none"
    return json.dumps(value)


def number_text(value: float | None, digits: int = 4) -> str:
    """Return a number with so many significant digits, a dash for none.

    Examples
    --------
    >>> number_text(0.012345), number_text(None)
    ('0.01235', '–')
    """
    return "–" if value is None else f"{value:.{digits}g}".replace("-", "\N{MINUS SIGN}")


def _interval(metric: Metric | None, n_problems: int | None = None) -> str:
    """Return a mean with its interval; alone where the interval of so few problems would not cover."""
    if metric is None or metric.mean is None:
        return "–"
    if metric.low is None or metric.high is None or (n_problems is not None and n_problems < ENOUGH):
        return number_text(metric.mean)
    return f"{number_text(metric.mean)} [{number_text(metric.low)}, {number_text(metric.high)}]"


def _speeds(speeds: Mapping[str, float]) -> str:
    """Return multiples in words; by the kind of synapses where there are several.

    Examples
    --------
    >>> _speeds({"feedforward": 0.4204}), _speeds({"feedforward": 0.84, "lateral": 2.0}), _speeds({})
    ('× 0.42', 'feedforward × 0.84, lateral × 2', '')
    """
    parts = [f"× {number_text(factor, 2)}" for factor in speeds.values()]
    return ", ".join(
        f"{name} {part}" if len(parts) > 1 else part for name, part in zip(speeds, parts, strict=True)
    )


def _outcome(fold: FoldResult) -> Markup:
    """Return whether a fold was passed, as a sign and a word."""
    css, sign, word = {
        "passed": ("pass", "✓", "pass"),
        "failed": ("fail", "✗", "fail"),
        "undecided": ("soft", "?", "undecided"),
    }[fold.outcome]
    return Markup('<span class="{}">{} {}</span>').format(css, sign, word)


def _interval_name(confidence: float | None) -> str:
    """Return what an interval is called.

    Examples
    --------
    >>> _interval_name(0.9), _interval_name(0.999), _interval_name(None)
    ('90 % interval', '99.9 % interval', 'interval')
    """
    return "interval" if confidence is None else f"{100 * confidence:.4g} % interval"


def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


def _content_hash(script: str) -> str:
    """Return the hash by which a page's policy lets this script run and no other."""
    return "'sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii") + "'"
