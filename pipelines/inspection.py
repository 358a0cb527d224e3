"""What the command line says about one candidate of a run, and about two runs side by side."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from discover.checked import printable
from discover.errors import ArtefactError, did_you_mean
from discover.forms import Comparison, ManifestFile, Validation
from discover.intervals import Metric
from discover.pareto import Candidate, ParetoFront
from discover.rule import Rule
from discover.stored import Artefact, read_stored
from pipelines.infer_config import TASK as RECORDED
from pipelines.show import (
    distances_text,
    front_text,
    provenance_text,
    recorded_verdict,
    rule_text,
    table_text,
    verdict_text,
)

__all__ = ["SORTS", "diff_text", "export_text", "front_as_asked", "show_text", "unicode_rule"]

_Artefact = TypeVar("_Artefact", bound=Artefact)

SORTS: Mapping[str, str] = {
    "complexity": "complexity",
    "loss": "heldout_loss",
    "train": "train_loss",
    "id": "id",
}
"""What a front can be sorted by -> the field of a candidate."""

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_GREEK = {"theta": "θ", "tau": "τ"}
_GREEK_WORD = re.compile(r"(?<![A-Za-z0-9])(theta|tau)(?![A-Za-z0-9])")


# --------------------------------------------------------------------------------------------------- fronts


def front_as_asked(folder: Path, sort: str, select: str) -> str:
    """Return the front of a run in another order, or with what another selector would choose.

    Nothing of the run is changed.

    Parameters
    ----------
    folder : Path
    sort : str
        One of :data:`SORTS`.
    select : str
        ``1se``, ``lowest``, ``elbow``, ``cv`` (most folds passed, then the simplest), the name of a
        candidate, or nothing for the choice of the run.

    Raises
    ------
    ArtefactError
        If an artefact is missing or damaged, or there is no such order, selector or candidate.
    """
    if sort not in SORTS:
        raise ArtefactError(
            f"A front is not sorted by {sort[:40]!r}. Orders: {', '.join(SORTS)}.{did_you_mean(sort, SORTS)}"
        )
    front = _front(folder)
    if not select:
        return front_text(front, SORTS[sort])
    name, reason = _selected(folder, front, select)
    shown = replace(front, chosen_id=name, reason=reason, simplifications=())
    text = front_text(shown, SORTS[sort])
    return printable(f"{text}\nthe run itself chose {front.chosen_id} ({front.reason})")


def _selected(folder: Path, front: ParetoFront, select: str) -> tuple[str, str]:
    from discover.pareto import SELECTORS

    if select in SELECTORS:
        other = ParetoFront.of(front.task, front.engines, front.candidates, select, front.resolution)
        return other.chosen_id, other.reason
    if select == "cv":
        tried = _read(folder, "validation.json", Validation, "validate").candidates
        passed = {one: tried[one.id].n_passed for one in front.candidates if one.id in tried}
        if not passed:
            raise ArtefactError(f"{folder / 'validation.json'} holds no candidate of the front.")
        best = min(passed, key=lambda one: (-passed[one], one.complexity, one.heldout_loss, one.id))
        return best.id, f"the simplest of those that passed most folds, {passed[best]}"
    return _candidate(folder, front, select, ("cv", *SELECTORS)).id, "as asked for"


def _candidate(folder: Path, front: ParetoFront, name: str, others: tuple[str, ...] = ()) -> Candidate:
    candidates = {one.id: one for one in front.candidates}
    if name not in candidates:
        known = (*others, *candidates)
        raise ArtefactError(
            f"{folder / 'front.json'} has no candidate {name[:40]!r}.{did_you_mean(name, known)} "
            f"There are: {printable(', '.join(known), 1000)}."
        )
    return candidates[name]


# ----------------------------------------------------------------------------------------------- candidates


def show_text(folder: Path, name: str = "") -> str:
    """Return everything that a run knows of one candidate.

    Parameters
    ----------
    folder : Path
    name : str
        A candidate of the front; the chosen one when empty.

    Raises
    ------
    ArtefactError
        If there is no front or no such candidate, or an artefact is damaged.
    """
    front = _front(folder)
    one = _candidate(folder, front, name or front.chosen_id)
    is_chosen = one.id == front.chosen_id
    role = "chosen" if is_chosen else "on the front" if one.on_front else "beaten by another"
    error = f" ± {one.heldout_error:.2g}" if one.heldout_error else ""
    lines = [
        f"{one.id} of {folder}, task {front.task}: {role}",
        "",
        *(f"  Δ{_weight(slot)} ∝ {unicode_rule(text)}" for slot, text in one.rule.to_dict().items()),
        f"  {one.rule.latex(learning_rate=front.task != RECORDED)}",
        "",
        f"complexity {one.complexity}{_tested(one)}",
        f"loss on the problems that it was chosen on {one.heldout_loss:.4g}{error}, "
        f"and on those that its constants were fitted on {one.train_loss:.4g}",
        f"where it came from: {provenance_text(one)}",
        *recorded_verdict(front, one.id),
        "",
        *_constants_lines(folder, one.rule),
        "",
        *_folds_lines(folder, one.id),
        "",
        *_known_lines(folder, one.id),
    ]
    return printable("\n".join(lines))


def unicode_rule(text: str) -> str:
    """Return a rule's text with dots, superscripts and Greek letters.

    Examples
    --------
    >>> unicode_rule("0.39*x*y - w*y**2 + exp(-x_pre/2)*theta")
    '0.39·x·y - w·y² + exp(-x_pre/2)·θ'
    """
    text = re.sub(r"\*\*(\d+)(?![\d.e])", lambda found: found[1].translate(_SUPERSCRIPTS), text)
    text = re.sub(r"\*\*\((-\d+)\)", lambda found: found[1].translate(_SUPERSCRIPTS), text)
    text = text.replace("**", "^")
    text = _GREEK_WORD.sub(lambda found: _GREEK[found[1]], text)
    return text.replace("*", "·")


def _weight(slot: str) -> str:
    from discover.slots import SLOTS

    if slot not in SLOTS or SLOTS[slot].weight is None:
        return f"[{slot}]"
    return f"{SLOTS[slot].weight}[{slot}]"


def _tested(candidate: Candidate) -> str:
    """Say the loss to quote, where a run has one."""
    test = candidate.test
    if test is None:
        return ""
    return (
        f", loss {test.mean:.4g} (95 % interval {test.low:.4g} to {test.high:.4g}) "
        f"on {test.n_problems:,} problems that were used for nothing else"
    )


def _constants_lines(folder: Path, rule: Rule) -> Iterator[str]:
    """Coefficients of a polynomial with their range over the restarts that chose the term."""
    from discover.fit.result import FitResult

    path = _optional(folder, "path.json", FitResult)
    if not rule.is_polynomial:
        values = ", ".join(f"{value:.4g}" for value in rule.constants())
        yield f"constants: {values or 'none'} (restarts know coefficients of polynomials only)"
        return
    if path is None:
        yield "constants over restarts: there is no path.json yet"
        return
    rows = []
    restarts = path.restarts
    if not restarts:  # recorded data: one path, and how often a term is chosen when recordings are left out
        stability = path.term_stability
        for slot, terms in rule.coefficients().items():
            for term, value in terms.items():
                rows.append([slot, term, f"{value:.4g}", f"{stability.get(slot, {}).get(term, 0.0):.0%}"])
        yield table_text(["slot", "term", "coefficient", "chosen without some recordings"], rows)
        return
    for slot, terms in rule.coefficients().items():
        for term, value in terms.items():
            found = [
                one.coefficients[slot][term] for one in restarts if term in one.coefficients.get(slot, {})
            ]
            reach = f"{min(found):.4g} to {max(found):.4g}" if found else "no restart chose it"
            rows.append([slot, term, f"{value:.4g}", reach, f"{len(found)} of {len(restarts)}"])
    yield table_text(["slot", "term", "coefficient", "range over restarts", "restarts"], rows)


def _folds_lines(folder: Path, name: str) -> Iterator[str]:
    validation = _optional(folder, "validation.json", Validation)
    if validation is None or name not in validation.candidates:
        yield "folds: it was not tried under other conditions"
        return
    validated = validation.candidates[name]
    yield f"folds passed: {validated.n_passed} of {len(validated.folds)}"
    rows = []
    for fold in validated.folds:
        means = [f"{measure} {_mean(metric)}" for measure, metric in fold.metrics.items()]
        rows.append([fold.outcome, fold.name, ", ".join(means)])
    yield table_text(["", "fold", "means"], rows)


def _mean(metric: Metric) -> str:
    return "undefined" if metric.mean is None else f"{metric.mean:.3g}"


def _known_lines(folder: Path, name: str) -> Iterator[str]:
    comparison = _optional(folder, "comparison.json", Comparison)
    if comparison is None or name not in comparison.candidates:
        yield "known rules: it was not compared with any"
        return
    compared = comparison.candidates[name]
    yield verdict_text(name, compared)
    yield distances_text(compared)


# ----------------------------------------------------------------------------------------------------- runs


@dataclass(frozen=True)
class Difference:
    """Two runs side by side.

    Attributes
    ----------
    text : str
    differ : bool
        Whether settings, rules or their outcomes differ; versions and code do not count.
    """

    text: str
    differ: bool


def export_text(folder: Path, candidate: str, to: str) -> str:
    """Return a rule of a run in another form.

    Parameters
    ----------
    folder : Path
    candidate : str
        Of the front; empty for the chosen one.
    to : str
        ``latex``, ``sympy``, ``python`` or ``brian2``.

    Raises
    ------
    ArtefactError
        If there is no front, it is damaged, or it has no such candidate.
    RuleError
        If the rule does not exist in this form.
    """
    from discover.export import exported

    front = _front(folder)
    one = _candidate(folder, front, candidate or front.chosen_id)
    origin = f"Rule {one.id} of {folder}, task {front.task}."
    return exported(one.rule, to, origin, learning_rate=front.task != RECORDED).rstrip("\n")


def diff_text(first: Path, second: Path) -> Difference:
    """Return what differs between two runs.

    Raises
    ------
    ArtefactError
        If one has no settings or no front, or an artefact is damaged.
    """
    parts, differ = [], False
    for title, rows, columns in (
        ("settings", _settings_rows(first, second), ["setting", str(first), str(second)]),
        ("candidates", _candidate_rows(first, second), ["rule", str(first), str(second)]),
        ("folds of the chosen rules", _fold_rows(first, second), ["fold", str(first), str(second)]),
    ):
        differ = differ or bool(rows)
        parts.append(f"{title}: the same" if not rows else f"{title}:\n{table_text(columns, rows)}")
    fronts = _front(first), _front(second)
    rules = [front.chosen.rule.to_dict() for front in fronts]
    if rules[0] == rules[1]:
        parts.insert(1, f"chosen rule: the same, {rule_text(rules[0])}")
    else:
        differ = True
        relation = _relation(fronts)
        parts.insert(1, f"chosen rules{relation}:\n  {rule_text(rules[0])}\n  {rule_text(rules[1])}")
    parts.append(_made_by(*(_manifest_text(folder) for folder in (first, second))))
    return Difference(printable("\n\n".join(parts)), differ)


def _relation(fronts: tuple[ParetoFront, ParetoFront]) -> str:
    """How the terms of the chosen rules stand to each other, where both are polynomials."""
    from discover._compared_rules import RATIO_TOLERANCE, constant_ratios, structural_verdict, table

    rules = [front.chosen.rule for front in fronts]
    tables = [table(rule) for rule in rules]
    if tables[0] is None or tables[1] is None:
        return ""
    verdict = structural_verdict(tables[0], tables[1], constant_ratios(*rules), RATIO_TOLERANCE)
    return "" if verdict is None else f", {verdict}"


def _settings_rows(first: Path, second: Path) -> list[list[str]]:
    rows = _differing([dict(_flat(_settings(folder))) for folder in (first, second)])
    return [row for row in rows if row[0] != "name"]


def _differing(tables: Sequence[Mapping[str, str]]) -> list[list[str]]:
    """Return the entries in which two tables differ, a row each; a dash stands for one that is missing."""
    keys = dict.fromkeys(key for table in tables for key in table)
    rows = [[key, *(table.get(key, "–") for table in tables)] for key in keys]
    return [row for row in rows if row[1] != row[2]]


def _settings(folder: Path) -> dict[str, Any]:
    from pipelines.config import load_json

    return load_json(folder / "config.json").to_dict()


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(value)


def _candidate_rows(first: Path, second: Path) -> list[list[str]]:
    """Held-out losses of the rules that are on one front only, or on both with other losses."""
    losses = [
        {rule_text(one.rule.to_dict()): f"{one.heldout_loss:.4g}" for one in front.candidates if one.on_front}
        for front in (_front(first), _front(second))
    ]
    return _differing(losses)


def _fold_rows(first: Path, second: Path) -> list[list[str]]:
    outcomes = []
    for folder in (first, second):
        validation = _optional(folder, "validation.json", Validation)
        tried = None if validation is None else validation.candidates.get(_front(folder).chosen_id)
        outcomes.append({} if tried is None else {fold.name: fold.outcome for fold in tried.folds})
    return _differing(outcomes)


def _made_by(first: str | None, second: str | None) -> str:
    """Return whether two runs were made by the same code, where that is known of both."""
    if first is not None and first == second:
        return "made by the same code"
    known = [text or "not recorded, as there is no manifest" for text in (first, second)]
    return f"made by:\n  {known[0]}\n  {known[1]}"


def _manifest_text(folder: Path) -> str | None:
    manifest = _optional(folder, "manifest.json", ManifestFile)
    if manifest is None:
        return None
    versions = ", ".join(f"{name} {version}" for name, version in sorted(manifest.versions.items()))
    return f"code {manifest.code or 'not recorded'}; {versions}"


def _front(folder: Path) -> ParetoFront:
    return _read(folder, "front.json", ParetoFront, "search")


def _read(folder: Path, name: str, form: type[_Artefact], stage: str) -> _Artefact:
    remedy = f"Make it: `discover {stage} {folder} --fresh`, or all stages: `discover run {folder}`."
    return read_stored(folder / name, form, remedy)


def _optional(folder: Path, name: str, form: type[_Artefact]) -> _Artefact | None:
    return read_stored(folder / name, form) if (folder / name).exists() else None
