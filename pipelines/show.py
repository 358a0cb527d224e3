"""What the command line prints of a finished run, as plain text that survives a pipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from discover.checked import printable
from discover.forms import Baseline, Compared, Comparison, Validated, Validation
from discover.intervals import interval_text
from discover.pareto import Candidate, ParetoFront, Simplification
from discover.shown import short_numbers
from discover.stored import read_stored

__all__ = [
    "comparison_text",
    "distances_text",
    "found_lines",
    "front_text",
    "provenance_text",
    "published",
    "recorded_verdict",
    "rule_text",
    "summary_text",
    "table_text",
    "verdict_text",
]


def table_text(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return an aligned table; numbers stand on the right, text on the left.

    Examples
    --------
    >>> print(table_text(["rule", "loss"], [["x*y", 0.25], ["x*y - w*y**2", 0.0125]]))
    rule            loss
    x*y             0.25
    x*y - w*y**2  0.0125
    """
    cells = [list(columns), *[[_cell(value) for value in row] for row in rows]]
    widths = [max(len(row[number]) for row in cells) for number in range(len(columns))]
    right = [bool(rows) and all(_is_number(row[number]) for row in rows) for number in range(len(columns))]
    lines = [
        "  ".join(
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in cells
    ]
    return "\n".join(lines)


def front_text(front: ParetoFront, sort: str = "complexity") -> str:
    """Return the Pareto front as a table with an arrow at the chosen rule, and why it was chosen.

    Parameters
    ----------
    front : ParetoFront
    sort : str
        Field of the candidates to sort by.
    """
    chosen = front.chosen
    candidates = sorted(
        (one for one in front.candidates if one.on_front or one is chosen),
        key=lambda one: (getattr(one, sort), one.complexity, one.heldout_loss),
    )
    rows = [
        [
            "-->" if one is chosen else "",
            one.id,
            one.complexity,
            *_losses(one),
            rule_text(one.rule.to_dict()),
        ]
        for one in candidates
    ]
    is_tested = all(one.test is not None for one in candidates)
    losses = ["loss", "95 % interval"] if is_tested else ["held-out loss", "training loss"]
    table = table_text(["", "id", "complexity", *losses, "rule"], rows)
    engines = ", ".join(front.engines) or "none"
    lines = [
        table,
        "",
        f"chosen: {chosen.id} ({front.reason})",
        *recorded_verdict(front, chosen.id),
        f"engines: {engines}; the chosen rule: {provenance_text(chosen)}",
        *_gap_lines(front),
        *found_lines(front),
        *(_simplification_text(step) for step in front.simplifications),
        *(
            f"{one.way}: held-out loss {one.heldout_loss:.4g} after {one.n_simulated} simulated problems"
            for one in front.spent
        ),
    ]
    return printable("\n".join(lines))


def _losses(one: Candidate) -> tuple[object, object]:
    if one.test is None:
        return one.heldout_loss, one.train_loss
    return one.test.mean, f"{one.test.low:.4g} to {one.test.high:.4g}"


def _gap_lines(front: ParetoFront) -> list[str]:
    if front.teacher_loss is None:
        return []
    return [
        f"on the problems it was chosen on: loss {front.chosen.heldout_loss:.4g}, "
        f"the teacher's {front.teacher_loss:.4g}"
    ]


def recorded_verdict(front: ParetoFront, name: str) -> list[str]:
    """Return whether recorded data support a candidate, a line; none where this was not asked."""
    verdict = front.verdict
    return [] if verdict is None or verdict.candidate != name else [printable(f"verdict: {verdict.text}")]


def found_lines(front: ParetoFront) -> list[str]:
    """Return who proposed which rules of the front, a line for each engine.

    Examples
    --------
    >>> from discover.pareto import Provenance
    >>> from discover.rule import Rule
    >>> by = Provenance(("operon", "terms"))
    >>> one = Candidate("c1", Rule.parse("x*y"), 0.5, 0.5, provenance=by)
    >>> found_lines(ParetoFront.of("oja", ("operon", "terms", "pysr"), [one]))
    ['  found by operon: c1', '  found by terms: c1', '  found by pysr: none of the front']
    """
    found: dict[str, list[str]] = {}
    for one in front.candidates:
        if one.on_front or one.id == front.chosen_id:
            for name in one.provenance.proposed_by:
                found.setdefault(name, []).append(one.id)
    if not found:
        return []
    names = dict.fromkeys([*front.engines, *found])
    return [
        printable(f"  found by {name}: {', '.join(found.get(name, ['none of the front']))}") for name in names
    ]


def provenance_text(one: Candidate) -> str:
    """Return where a candidate came from, in one phrase."""
    return str(one.provenance).replace(";", ",")


def _simplification_text(step: Simplification) -> str:
    """Return one step to a simpler rule and its cost."""
    verdict = "no worse" if step.accepted else "worse"
    return (
        f"{step.what}: {rule_text(step.after.to_dict())} is {verdict} "
        f"(held-out loss {step.cost:+.2g}, standard error {step.error:.2g})"
    )


def verdict_text(name: str, compared: Compared) -> str:
    """Return in one sentence what a rule is beside the known rules.

    Parameters
    ----------
    name : str
        How to call the rule.
    compared : Compared
    """
    nearest, verdict = compared.nearest, compared.verdict
    if nearest is None:
        return f"{name}: {verdict}; no known rule is comparable."
    if verdict == "same up to scale":
        return f"{name} equals {published(nearest)} up to scale."
    return f"{name}: {verdict}, beside the nearest known rule, {published(nearest)}."


def distances_text(compared: Compared) -> str:
    """Return a rule's distances to the known rules as a table, nearest first."""
    rows = [
        [known, distances.coefficient, distances.functional, distances.behavioural]
        for known, distances in compared.distances.items()
    ]
    rows.sort(key=lambda row: (row[0] != compared.nearest, str(row[0])))
    return table_text(["known rule", "coefficient", "functional", "behavioural"], rows)


def summary_text(folder: Path) -> str:
    """Return what a finished run found: the front, the folds, the verdict and where the report is.

    Raises
    ------
    ArtefactError
        When an artefact is missing or damaged.
    """
    front = read_stored(folder / "front.json", ParetoFront)
    validation = read_stored(folder / "validation.json", Validation)
    parts = [front_text(front)]
    if (validated := validation.candidates.get(front.chosen_id)) is not None:
        parts.append(_folds_text(validated))
    parts += [comparison_text(folder), f"report: {folder / 'report.html'}"]
    return printable("\n".join(parts))


def comparison_text(folder: Path) -> str:
    """Return what the chosen rule of a run is beside the known rules and the baseline.

    Raises
    ------
    ArtefactError
        When an artefact is missing or damaged.
    """
    chosen = read_stored(folder / "front.json", ParetoFront).chosen_id
    comparison = read_stored(folder / "comparison.json", Comparison)
    parts = []
    if (compared := comparison.candidates.get(chosen)) is not None:
        parts.append(verdict_text(f"the chosen rule {chosen}", compared))
    parts += [f"  it {text}." for text in _contest_texts(comparison)]
    if (baseline := comparison.baseline) is not None and baseline.rows:
        parts += ["", _baseline_text(baseline), baseline.text, ""]
    return printable("\n".join(parts))


def _contest_texts(comparison: Comparison) -> list[str]:
    """Return what the chosen rule beats each known one on."""
    if not comparison.contests:
        return []
    from discover.contest import contest_text

    return [
        contest_text(
            " = ".join(published(name) for name in (one.name, *one.also)),
            {measure: standing.verdict for measure, standing in one.measures.items()},
        )
        for one in comparison.contests
    ]


def _baseline_text(baseline: Baseline) -> str:
    """Return baseline, best polynomial and chosen rule as a table, their first measures with intervals."""
    measures = list(baseline.rows[0].metrics)[:3]
    rows = [
        [row.name, *(interval_text(row.metrics.get(measure)) for measure in measures)]
        for row in baseline.rows
    ]
    names = [measure.replace("_", " ") for measure in measures]
    return table_text([baseline.on or "on fresh problems", *(f"{name} (95 %)" for name in names)], rows)


def published(name: str) -> str:
    """Return a known rule's title and year; its name alone where the library does not have it."""
    from discover.known_rules import KNOWN_RULES

    if name not in KNOWN_RULES:
        return name
    known = KNOWN_RULES[name]
    return known.title if str(known.year) in known.title else f"{known.title} ({known.year})"


def _folds_text(validated: Validated) -> str:
    lines = [f"folds passed: {validated.n_passed} of {len(validated.folds)}"]
    lines += [
        f"  {fold.outcome}: {fold.name}: {fold.reason or 'no reason given'}"
        for fold in validated.folds
        if not fold.passed
    ]
    return "\n".join(lines)


def rule_text(slots: Mapping[str, str]) -> str:
    """Return the expressions of a rule in one line, constants with four digits."""
    shown = {slot: short_numbers(expression) for slot, expression in slots.items()}
    if len(shown) == 1:
        return next(iter(shown.values()))
    return "; ".join(f"{slot}: {expression}" for slot, expression in shown.items())


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
