"""HTML of rules, paths, fronts, validations and comparisons for notebooks.

Formulas are MathML, which browsers draw by themselves. All names and texts are escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import singledispatch
from html import escape

from discover.fit.result import FitResult
from discover.forms import Compared, Comparison, Validated, Validation
from discover.known_rules import KNOWN_RULES
from discover.pareto import Candidate, ParetoFront
from discover.report.formula import rule_html
from discover.rule import Rule

__all__ = ["front_html", "html"]

DIGITS = 4
"""Significant digits of the constants of a formula."""

_MARKS = {"passed": "✓", "failed": "✗", "undecided": "?"}
_STYLE = (
    "<style>.plasticity .formula{display:block;white-space:nowrap}.plasticity td,.plasticity th"
    "{text-align:left}.plasticity tr.chosen{font-weight:bold}.plasticity p{margin:.3em 0}</style>"
)


@singledispatch
def html(shown: object) -> str:
    """Return an object as HTML: a :class:`~discover.rule.Rule`, a front, a validation or a comparison.

    Raises
    ------
    TypeError
        If there is no HTML of such objects.

    Examples
    --------
    >>> "<math" in html(Rule.parse("x*y - w*y**2"))
    True
    """
    raise TypeError(f"There is no HTML of a {type(shown).__name__}.")


@html.register
def _rule(rule: Rule) -> str:
    return _framed(rule_html(rule, DIGITS))


@html.register
def _candidate(one: Candidate) -> str:
    return _framed(_candidates([one], "", one.test is not None))


@html.register
def _front(front: ParetoFront) -> str:
    return front_html(front)


def front_html(front: ParetoFront, verdict: str = "") -> str:
    """Return a front as a table, the chosen rule with an arrow, and why it was chosen.

    Parameters
    ----------
    front : ParetoFront
    verdict : str
        What the data say of the chosen rule, in whole sentences.
    """
    shown = list(front)
    if front.chosen not in shown:
        shown = sorted([*shown, front.chosen], key=lambda one: one.complexity)
    parts = [
        _candidates(shown, front.chosen_id, front.is_tested),
        _paragraph(f"Chosen: {front.chosen_id} ({front.reason})."),
        _paragraph(verdict),
    ]
    return _framed("".join(parts))


@html.register
def _path(path: FitResult) -> str:
    chosen = path.chosen_point
    shown = sorted(
        (
            one
            for one in path.points
            if one is chosen or (one.restart == chosen.restart and one.origin == "path")
        ),
        key=lambda one: one.penalty,
    )
    rows = [
        [
            "→" if one is chosen else "",
            f"{one.penalty:.3g}",
            str(one.n_terms),
            f"{one.heldout_loss:.4g}",
            f"{one.train_loss:.4g}",
            rule_html(one.rule, DIGITS, left_side=False),
        ]
        for one in shown
    ]
    headings = ["", "L1 penalty", "terms", "held-out loss", "training loss", "rule"]
    said = f"Chosen of {len(path.points)} points: {path.reason}."
    return _framed(_table(headings, rows, [one is chosen for one in shown]) + _paragraph(said))


def _candidates(shown: Sequence[Candidate], chosen: str, is_tested: bool) -> str:
    losses = ("loss", "95 % interval") if is_tested else ("held-out loss", "training loss")
    rows = []
    for one in shown:
        other = f"{one.low:.4g} to {one.high:.4g}" if is_tested else f"{one.train_loss:.4g}"
        rows.append(
            [
                "→" if one.id == chosen else "",
                escape(one.id),
                rule_html(one.rule, DIGITS, left_side=False),
                f"{one.complexity:g}",
                f"{one.loss:.4g}",
                other,
                escape(", ".join(one.provenance.proposed_by)),
            ]
        )
    return _table(
        ["", "id", "rule", "complexity", *losses, "proposed by"],
        rows,
        [one.id == chosen for one in shown],
    )


@html.register
def _validation(validation: Validation) -> str:
    rules = validation.candidates
    folds = list(dict.fromkeys(fold.name for one in rules.values() for fold in one.folds))
    rows = []
    for name, one in rules.items():
        outcomes = {fold.name: (fold.outcome, fold.reason) for fold in one.folds}
        cells = [_mark(*outcomes[fold]) if fold in outcomes else "" for fold in folds]
        rows.append([escape(name), f"{one.n_passed} of {len(one.folds)}", *cells])
    legend = "Rows are rules, columns folds: ✓ passed, ✗ failed, ? undecided. Point at a mark for the reason."
    return _framed(_table(["", "passed", *map(escape, folds)], rows) + _paragraph(legend))


def _mark(outcome: str, reason: str) -> str:
    said = f"{outcome}: {reason}" if reason else outcome
    return f'<span title="{escape(said)}">{_MARKS[outcome]}</span>'


@html.register
def _validated(one: Validated) -> str:
    rows = []
    for fold in one.folds:
        loss = fold.metrics.get("loss")
        rows.append(
            [
                _mark(fold.outcome, fold.reason),
                escape(fold.title or fold.name),
                _number(loss.mean if loss is not None else None),
                escape(fold.reason),
            ]
        )
    return _framed(_table(["", "fold", "loss", "why it did not pass"], rows))


@html.register
def _comparison(comparison: Comparison) -> str:
    rows = []
    for name, one in comparison.candidates.items():
        found = one.distances.get(one.nearest) if one.nearest is not None else None
        distances = (None,) * 3 if found is None else (found.coefficient, found.functional, found.behavioural)
        nearest = "–" if one.nearest is None else escape(_published(one.nearest))
        rows.append([escape(name), nearest, escape(one.in_words), *map(_number, distances)])
    parts = [_table(["", "nearest known rule", "verdict", *_DISTANCES], rows)]
    if comparison.contests:
        measures = list(dict.fromkeys(name for one in comparison.contests for name in one.measures))
        contests = [
            [
                escape(" = ".join(_published(name) for name in (one.name, *one.also))),
                *(escape(one.measures[name].verdict) if name in one.measures else "" for name in measures),
            ]
            for one in comparison.contests
        ]
        headings = [escape(name.replace("_", " ")) for name in measures]
        parts.append(_table(["the chosen rule compared with", *headings], contests))
    if comparison.baseline is not None:
        parts.append(_paragraph(comparison.baseline.text))
    return _framed("".join(parts))


_DISTANCES = ("coefficients (°)", "functional", "behavioural")


@html.register
def _compared(one: Compared) -> str:
    rows = [
        [escape(_published(name)), *map(_number, (found.coefficient, found.functional, found.behavioural))]
        for name, found in sorted(one.distances.items(), key=lambda pair: pair[0] != one.nearest)
    ]
    said = one.in_words if one.nearest is None else f"{one.in_words}: {_published(one.nearest)}"
    first = [one.nearest is not None, *(False for _ in rows[1:])]
    return _framed(_table(["known rule", *_DISTANCES], rows, first) + _paragraph(f"Verdict: {said}."))


def _published(name: str) -> str:
    return KNOWN_RULES[name].title if name in KNOWN_RULES else name


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>" if text else ""


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]], chosen: Sequence[bool] = ()) -> str:
    """Return a table of cells that are HTML already."""
    head = "".join(f"<th>{one}</th>" for one in headings)
    marks = iter(chosen)
    body = "".join(
        f"<tr{mark}>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>"
        for mark, row in ((' class="chosen"' if next(marks, False) else "", row) for row in rows)
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _framed(content: str) -> str:
    return f'{_STYLE}<div class="plasticity">{content}</div>'
