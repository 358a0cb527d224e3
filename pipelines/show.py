"""What the command line prints of a finished run: as text, and as tables of facts for programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from discover.checked import printable
from discover.forms import Baseline, Compared, Comparison, Validated, Validation
from discover.pareto import Candidate, ParetoFront
from discover.stored import read_stored
from pipelines import artefacts
from pipelines.look import ARROW, PLAIN, Look

__all__ = [
    "as_json",
    "candidate_facts",
    "comparison_facts",
    "comparison_text",
    "distances_text",
    "folds_facts",
    "folds_passed",
    "found_text",
    "front_facts",
    "front_text",
    "in_one_line",
    "provenance_text",
    "published",
    "recorded_verdict",
    "rule_text",
    "run_facts",
    "summary_text",
    "verdict_of",
    "verdict_text",
]


def as_json(what: str, facts: Mapping[str, Any]) -> str:
    """Return facts as JSON text for programs: numbers with all their digits, and the name of its form.

    Parameters
    ----------
    what : str
        What is shown, such as ``front``; the form is ``plasticity-discovery/shown-front/1``.
    facts : mapping
    """
    return artefacts.to_text({"schema": f"plasticity-discovery/shown-{what}/1", **facts}).rstrip("\n")


# -------------------------------------------------------------------------------------------------- the front


def _shown(front: ParetoFront, sort: str, every: bool) -> list[Candidate]:
    """Return the candidates of the front with the chosen one, or all that there are, in order."""
    return sorted(
        (one for one in front.candidates if every or one.on_front or one.id == front.chosen_id),
        key=lambda one: (getattr(one, sort), one.complexity, one.heldout_loss),
    )


def _beaten_by(one: Candidate, front: ParetoFront) -> str | None:
    """Return the simplest candidate of the front that is no worse in complexity and held-out loss."""
    if one.on_front:
        return None
    better = (
        (other.complexity, other.id)
        for other in front.candidates
        if other.on_front and other.complexity <= one.complexity and other.heldout_loss <= one.heldout_loss
    )
    return min(better, default=(0, None))[1]


def candidate_facts(one: Candidate, front: ParetoFront) -> dict[str, Any]:
    """Return what a front says of a candidate; ``loss`` is the one to quote, None where there is none."""
    return {
        "id": one.id,
        "chosen": one.id == front.chosen_id,
        "on_front": one.on_front,
        "beaten_by": _beaten_by(one, front),
        "complexity": one.complexity,
        "loss": None if one.test is None else one.test.to_json(),
        "heldout_loss": one.heldout_loss,
        "heldout_error": one.heldout_error or None,
        "train_loss": one.train_loss,
        "rule": in_one_line(one.rule.to_dict()),
        "slots": one.rule.to_dict(),
        "provenance": one.provenance.to_json(),
    }


def front_facts(front: ParetoFront, sort: str = "complexity", every: bool = False) -> dict[str, Any]:
    """Return a front for programs, what :func:`front_text` says in words.

    Parameters
    ----------
    front, sort, every
        As for :func:`front_text`.
    """
    return {
        "task": front.task,
        "chosen": front.chosen_id,
        "reason": front.reason,
        "verdict": verdict_of(front, front.chosen_id),
        "engines": front.engines,
        "candidates": [candidate_facts(one, front) for one in _shown(front, sort, every)],
        "teacher_loss": front.teacher_loss,
        "simplifications": [step.to_json() for step in front.simplifications],
        "spent": [one.to_json() for one in front.spent],
    }


def front_text(front: ParetoFront, sort: str = "complexity", look: Look = PLAIN, every: bool = False) -> str:
    """Return the Pareto front as a table with an arrow at the chosen rule, and why it was chosen.

    Parameters
    ----------
    front : ParetoFront
    sort : str
        Field of the candidates to sort by.
    look : Look
    every : bool
        Whether candidates that others beat are shown, too.
    """
    candidates = _shown(front, sort, every)
    is_tested = all(one.test is not None for one in candidates)
    rows = [
        [
            ARROW if one.id == front.chosen_id else "",
            one.id,
            one.complexity,
            *_losses(one, is_tested, look),
            *([_beaten_by(one, front)] if every else []),
            rule_text(one.rule.to_dict(), look),
        ]
        for one in candidates
    ]
    losses = ["loss", "95 % interval"] if is_tested else ["held-out loss", "training loss"]
    columns = ["", "id", "complexity", *losses, *(["beaten by"] if every else []), "rule"]
    engines = ", ".join(front.engines) or "none"
    said = [
        f"chosen: {front.chosen_id} ({look.rounded(front.reason)})",
        *recorded_verdict(front, front.chosen_id, look),
        f"engines: {engines}; the chosen rule: {provenance_text(front.chosen)}",
        *_gap_lines(front, look),
    ]
    parts = ["\n".join(map(look.prose, said)), found_text(front, look), *_steps(front, look)]
    return "\n\n".join([look.table(columns, rows), *filter(None, parts)])


def _losses(one: Candidate, is_tested: bool, look: Look) -> tuple[object, object]:
    if not is_tested or one.test is None:
        return one.heldout_loss, one.train_loss
    return one.test.mean, look.reach(one.test.low, one.test.high)


def _gap_lines(front: ParetoFront, look: Look) -> list[str]:
    if front.teacher_loss is None:
        return []
    loss, of_teacher = look.number(front.chosen.heldout_loss), look.number(front.teacher_loss)
    return [f"on the problems it was chosen on: loss {loss}, the teacher's {of_teacher}"]


def verdict_of(front: ParetoFront, name: str) -> str | None:
    """Return in words whether recorded data support a candidate; None where this was not asked."""
    verdict = front.verdict
    return None if verdict is None or verdict.candidate != name else verdict.text


def recorded_verdict(front: ParetoFront, name: str, look: Look = PLAIN) -> list[str]:
    """Return whether recorded data support a candidate, a line; none where this was not asked."""
    text = verdict_of(front, name)
    return [] if text is None else [f"verdict: {printable(look.rounded(text))}"]


def provenance_text(one: Candidate) -> str:
    """Return where a candidate came from, in one phrase."""
    return str(one.provenance).replace(";", ",")


def found_text(front: ParetoFront, look: Look = PLAIN) -> str:
    """Return who proposed which rules of the front, a row for each engine; empty where nobody says.

    Examples
    --------
    >>> from discover.pareto import Provenance
    >>> from discover.rule import Rule
    >>> by = Provenance(("operon", "terms"))
    >>> one = Candidate("c1", Rule.parse("x*y"), 0.5, 0.5, provenance=by)
    >>> print(found_text(ParetoFront.of("oja", ("operon", "terms", "pysr"), [one])))
    found by  rules of the front
    operon    c1
    terms     c1
    pysr      -
    """
    found: dict[str, list[str]] = {}
    for one in front.candidates:
        if one.on_front or one.id == front.chosen_id:
            for name in one.provenance.proposed_by:
                found.setdefault(name, []).append(one.id)
    if not found:
        return ""
    names = dict.fromkeys([*front.engines, *found])
    rows = [[name, "  ".join(found[name]) if name in found else None] for name in names]
    return look.table(["found by", "rules of the front"], rows)


def _steps(front: ParetoFront, look: Look) -> Iterator[str]:
    """Yield what was tried on rules, and what ways of searching cost, each as a table."""
    tried = [
        [
            step.what,
            "no worse" if step.accepted else "worse",
            _signed(step.cost, look),
            step.error,
            rule_text(step.after.to_dict(), look),
        ]
        for step in front.simplifications
    ]
    if tried:
        yield look.table(["tried", "is", "change of loss", "standard error", "rule"], tried)
    spent = [[one.way, one.heldout_loss, one.n_simulated] for one in front.spent]
    if spent:
        yield look.table(["driven by", "held-out loss", "simulated problems"], spent)


def _signed(value: float, look: Look) -> str:
    return look.number(value) if value < 0 else f"+{look.number(value)}"


# ---------------------------------------------------------------------------------------- beside known rules


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
    return f"{name}: {compared.in_words}, beside the nearest known rule, {published(nearest)}."


def distances_text(compared: Compared, look: Look = PLAIN) -> str:
    """Return a rule's distances to the known rules as a table, nearest first."""
    rows = [
        [known, distances.coefficient, distances.functional, distances.behavioural]
        for known, distances in compared.distances.items()
    ]
    rows.sort(key=lambda row: (row[0] != compared.nearest, str(row[0])))
    return look.table(["known rule", "coefficient", "functional", "behavioural"], rows)


def summary_text(folder: Path, look: Look = PLAIN) -> str:
    """Return what a finished run found: the front, the folds, the verdict and where the report is.

    Raises
    ------
    ArtefactError
        When an artefact is missing or damaged.
    """
    front = read_stored(folder / "front.json", ParetoFront)
    validation = read_stored(folder / "validation.json", Validation)
    parts = [front_text(front, look=look)]
    if (validated := validation.candidates.get(front.chosen_id)) is not None:
        parts.append(_folds_text(validated, look))
    parts += [comparison_text(folder, look), look.prose(f"report: {folder / 'report.html'}")]
    return "\n\n".join(parts)


def run_facts(folder: Path) -> dict[str, Any]:
    """Return for programs what :func:`summary_text` says.

    Raises
    ------
    ArtefactError
        When an artefact is missing or damaged.
    """
    front = read_stored(folder / "front.json", ParetoFront)
    validation = read_stored(folder / "validation.json", Validation)
    return {
        "run": str(folder),
        "report": str(folder / "report.html"),
        "front": front_facts(front),
        "folds": folds_facts(validation.candidates.get(front.chosen_id)),
        "comparison": comparison_facts(folder),
    }


def comparison_text(folder: Path, look: Look = PLAIN) -> str:
    """Return what the chosen rule of a run is beside the known rules and the baseline.

    Raises
    ------
    ArtefactError
        When an artefact is missing or damaged.
    """
    chosen = read_stored(folder / "front.json", ParetoFront).chosen_id
    comparison = read_stored(folder / "comparison.json", Comparison)
    lines = []
    if (compared := comparison.candidates.get(chosen)) is not None:
        lines.append(verdict_text(f"the chosen rule {chosen}", compared))
    lines += [f"  it {text}." for text in _contest_texts(comparison)]
    parts = ["\n".join(map(look.prose, lines))]
    if (baseline := comparison.baseline) is not None and baseline.rows:
        parts += [f"{_baseline_text(baseline, look)}\n{look.prose(look.rounded(baseline.text))}"]
    return "\n\n".join(filter(None, parts))


def comparison_facts(folder: Path) -> dict[str, Any]:
    """Return the comparison of a run for programs: that of its chosen rule.

    Raises
    ------
    ArtefactError
        When an artefact is missing or damaged.
    """
    front = read_stored(folder / "front.json", ParetoFront)
    comparison = read_stored(folder / "comparison.json", Comparison)
    compared, baseline = comparison.candidates.get(front.chosen_id), comparison.baseline
    return {
        "run": str(folder),
        "task": front.task,
        "candidate": front.chosen_id,
        "compared": None if compared is None else compared.to_json(),
        "ablations": [one.to_json() for one in comparison.ablations] or None,
        "contests": [one.to_json() for one in comparison.contests] or None,
        "baseline": None if baseline is None else baseline.to_json(),
    }


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


def _baseline_text(baseline: Baseline, look: Look) -> str:
    """Return baseline, best polynomial and chosen rule as a table, their first measures with intervals."""
    measures = list(baseline.rows[0].metrics)[:3]
    rows = [
        [row.name, *(look.interval(row.metrics.get(measure)) for measure in measures)]
        for row in baseline.rows
    ]
    names = [measure.replace("_", " ") for measure in measures]
    columns = [baseline.on or "on fresh problems", *(f"{name} (95 %)" for name in names)]
    return look.table(columns, rows, 1)


def published(name: str) -> str:
    """Return a known rule's title and year; its name alone where the library does not have it."""
    from discover.known_rules import KNOWN_RULES

    if name not in KNOWN_RULES:
        return name
    known = KNOWN_RULES[name]
    return known.title if str(known.year) in known.title else f"{known.title} ({known.year})"


# ------------------------------------------------------------------------------------------------ folds, text


def folds_facts(validated: Validated | None) -> list[dict[str, Any]] | None:
    """Return the folds of a rule for programs, None where it was not tried."""
    return None if validated is None else [fold.to_json() for fold in validated.folds]


def folds_passed(validated: Validated) -> str:
    """Return in words how many folds a rule passed."""
    return f"folds passed: {validated.n_passed} of {len(validated.folds)}"


def _folds_text(validated: Validated, look: Look) -> str:
    rows = [
        [fold.outcome, fold.name, look.rounded(fold.reason or "no reason given")]
        for fold in validated.folds
        if not fold.passed
    ]
    table = [look.table(["outcome", "fold", "reason"], rows)] if rows else []
    return "\n".join([folds_passed(validated), *table])


def rule_text(slots: Mapping[str, str], look: Look = PLAIN) -> str:
    """Return the expressions of a rule in one line; the artefacts keep all digits of its constants."""
    return look.rounded(in_one_line(slots))


def in_one_line(slots: Mapping[str, str]) -> str:
    """Return the expressions of a rule in one line, with all digits, as :class:`discover.rule.Rule` reads it.

    Examples
    --------
    >>> in_one_line({"feedforward": "x*y"}), in_one_line({"on_pre": "1", "tau_pre": "20"})
    ('x*y', 'on_pre: 1; tau_pre: 20')
    """
    if len(slots) == 1:
        return next(iter(slots.values()))
    return "; ".join(f"{slot}: {expression}" for slot, expression in slots.items())
