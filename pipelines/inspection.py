"""What the command line says about a front and about one candidate of it.

Everything is there as text for people and as facts for programs, which `--json` prints.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from discover.checked import printable
from discover.errors import ArtefactError, did_you_mean
from discover.forms import Compared, Comparison, Validated, Validation
from discover.pareto import Candidate, ParetoFront
from discover.rule import Rule
from discover.stored import Artefact, read_stored
from pipelines.infer_config import TASK as RECORDED
from pipelines.look import PLAIN, Look
from pipelines.show import (
    candidate_facts,
    distances_text,
    folds_facts,
    folds_passed,
    front_facts,
    front_text,
    provenance_text,
    recorded_verdict,
    verdict_of,
    verdict_text,
)

__all__ = [
    "SORTS",
    "export_text",
    "front_as_asked",
    "front_facts_as_asked",
    "read_front",
    "read_optional",
    "show_facts",
    "show_text",
    "unicode_rule",
    "validated_as",
]

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


def front_as_asked(folder: Path, sort: str, select: str, look: Look = PLAIN, every: bool = False) -> str:
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
    look : Look
    every : bool
        Whether candidates that others beat are shown, too.

    Raises
    ------
    ArtefactError
        If an artefact is missing or damaged, or there is no such order, selector or candidate.
    """
    front, own = _asked_front(folder, sort, select)
    text = front_text(front, SORTS[sort], look, every)
    if own is None:
        return text
    return f"{text}\n\n{look.prose(f'the run itself chose {own[0]} ({look.rounded(own[1])})')}"


def front_facts_as_asked(folder: Path, sort: str, select: str, every: bool = False) -> dict[str, Any]:
    """Return for programs what :func:`front_as_asked` says.

    Raises
    ------
    ArtefactError
        As there.
    """
    front, own = _asked_front(folder, sort, select)
    chosen = front.chosen_id if own is None else own[0]
    return {"run": str(folder), **front_facts(front, SORTS[sort], every), "chosen_by_the_run": chosen}


def _asked_front(folder: Path, sort: str, select: str) -> tuple[ParetoFront, tuple[str, str] | None]:
    """Return a front with the choice that was asked for, and then what the run chose and why."""
    if sort not in SORTS:
        raise ArtefactError(
            f"A front is not sorted by {sort[:40]!r}. Orders: {', '.join(SORTS)}.{did_you_mean(sort, SORTS)}"
        )
    front = read_front(folder)
    if not select:
        return front, None
    name, reason = _selected(folder, front, select)
    changed = replace(front, chosen_id=name, reason=reason, simplifications=())
    return changed, (front.chosen_id, front.reason)


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


def show_text(folder: Path, name: str = "", look: Look = PLAIN) -> str:
    """Return everything that a run knows of one candidate.

    Parameters
    ----------
    folder : Path
    name : str
        A candidate of the front; the chosen one when empty.
    look : Look

    Raises
    ------
    ArtefactError
        If there is no front or no such candidate, or an artefact is damaged.
    """
    front = read_front(folder)
    one = _candidate(folder, front, name or front.chosen_id)
    slots = one.rule.to_dict()
    said = [
        f"{one.id} of {folder}, task {front.task}: {_role(one, front)}",
        "",
        *(f"  {_left_side(front, slot)} {unicode_rule(look.rounded(text))}" for slot, text in slots.items()),
    ]
    losses = [
        f"complexity {one.complexity}{_tested(one, look)}",
        f"loss on the problems that it was chosen on {look.number(one.heldout_loss)}{_error(one, look)}, "
        f"and on those that its constants were fitted on {look.number(one.train_loss)}",
        f"where it came from: {provenance_text(one)}",
        *recorded_verdict(front, one.id, look),
    ]
    parts = [
        "\n".join(
            [
                *map(look.prose, said),
                printable(
                    textwrap.indent(one.rule.latex(look.digits, learning_rate=front.task != RECORDED), "  ")
                ),
            ]
        ),
        "\n".join(map(look.prose, losses)),
        _constants_text(folder, one.rule, look),
        _folds_text(folder, one.id, look),
        _known_text(folder, one.id, look),
    ]
    return "\n\n".join(parts)


def show_facts(folder: Path, name: str = "") -> dict[str, Any]:
    """Return for programs what :func:`show_text` says.

    Raises
    ------
    ArtefactError
        As there.
    """
    front = read_front(folder)
    one = _candidate(folder, front, name or front.chosen_id)
    compared = _compared(folder, one.id)
    return {
        "run": str(folder),
        "task": front.task,
        **candidate_facts(one, front),
        "latex": one.rule.latex(learning_rate=front.task != RECORDED),
        "verdict": verdict_of(front, one.id),
        "constants": _constants(folder, one.rule),
        "folds": folds_facts(validated_as(folder, one.id)),
        "compared": None if compared is None else compared.to_json(),
    }


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


def _role(one: Candidate, front: ParetoFront) -> str:
    if one.id == front.chosen_id:
        return "chosen"
    return "on the front" if one.on_front else "beaten by another"


def _left_side(front: ParetoFront, slot: str) -> str:
    """Return what changes; rules of recorded data give the change itself, and have no learning rate."""
    return "Δw =" if front.task == RECORDED else f"Δ{_weight(slot)} ∝"


def _weight(slot: str) -> str:
    from discover.slots import SLOTS

    if slot not in SLOTS or SLOTS[slot].weight is None:
        return f"[{slot}]"
    return f"{SLOTS[slot].weight}[{slot}]"


def _tested(candidate: Candidate, look: Look) -> str:
    """Say the loss to quote, where a run has one."""
    test = candidate.test
    if test is None:
        return ""
    return (
        f", loss {look.number(test.mean)} (95 % interval {look.reach(test.low, test.high)}) "
        f"on {test.n_problems:,} problems that were used for nothing else"
    )


def _error(candidate: Candidate, look: Look) -> str:
    return f" ± {look.number(candidate.heldout_error)}" if candidate.heldout_error else ""


def _constants(folder: Path, rule: Rule) -> list[dict[str, Any]] | None:
    """Return coefficients with their range over the restarts that chose the term; None where unknown.

    A restart stands at the speed of the rule: the overall multiple of the slots of the same synapses is their
    learning rate. The rule itself is within the range.
    """
    from discover.fit.result import FitResult

    path = read_optional(folder, "path.json", FitResult)
    if path is None or not rule.is_polynomial:
        return None
    tables = [_at_speed_of(rule, one.coefficients) for one in path.restarts]
    rows = []
    for slot, terms in rule.coefficients().items():
        for term, value in terms.items():
            found = [table[slot][term] for table in tables if term in table.get(slot, {})]
            row = {"slot": slot, "term": term, "value": value, "low": None, "high": None}
            if found:
                row |= {"low": min(*found, value), "high": max(*found, value)}
            if tables:
                row |= {"restarts": len(found), "of_restarts": len(tables)}
            else:  # recorded data: one path, and how often a term is chosen when recordings are left out
                row["share"] = path.term_stability.get(slot, {}).get(term, 0.0)
            rows.append(row)
    return rows


def _at_speed_of(rule: Rule, table: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Return coefficients with those of the same synapses at the multiple that is nearest to a rule's."""
    import numpy as np

    from discover._compared_rules import projection
    from discover.slots import get_slot

    own, groups = rule.coefficients(), dict[str, list[str]]()
    for slot in table:
        if not get_slot(slot).is_constant:
            groups.setdefault(get_slot(slot).synapses, []).append(slot)
    factors: dict[str, float] = {}
    for slots in groups.values():
        pairs = [
            (own.get(slot, {}).get(term, 0.0), value) for slot in slots for term, value in table[slot].items()
        ]
        speed, _ = projection(*np.array(pairs, dtype=np.float64).reshape(-1, 2).T)
        factors |= dict.fromkeys(slots, speed if speed is not None and speed > 0 else 1.0)
    return {
        slot: {term: value * factors.get(slot, 1.0) for term, value in terms.items()}
        for slot, terms in table.items()
    }


def _constants_text(folder: Path, rule: Rule, look: Look) -> str:
    rows = _constants(folder, rule)
    if rows is None and rule.is_polynomial:
        return look.prose("constants over restarts: there is no path.json yet")
    if rows is None:
        pairs = list(zip(rule.slots_of_constants, map(float, rule.constants()), strict=True))
        if not pairs:
            return "constants: none"
        title = look.prose("constants (restarts of the fit know coefficients of polynomials only):")
        return f"{title}\n{look.table(['slot', 'constant'], pairs)}"
    if rows and "share" in rows[0]:
        return look.table(
            ["slot", "term", "coefficient", "chosen without some recordings"],
            [[row["slot"], row["term"], row["value"], f"{row['share']:.0%}"] for row in rows],
        )
    return look.table(
        ["slot", "term", "coefficient", "range with restarts", "restarts"],
        [
            [
                row["slot"],
                row["term"],
                row["value"],
                look.reach(row["low"], row["high"]) if row["restarts"] else "no restart chose it",
                f"{row['restarts']} of {row['of_restarts']}",
            ]
            for row in rows
        ],
    )


def validated_as(folder: Path, name: str) -> Validated | None:
    """Return the folds of a candidate of a run, None where it was not tried."""
    validation = read_optional(folder, "validation.json", Validation)
    return None if validation is None else validation.candidates.get(name)


def _compared(folder: Path, name: str) -> Compared | None:
    comparison = read_optional(folder, "comparison.json", Comparison)
    return None if comparison is None else comparison.candidates.get(name)


def _folds_text(folder: Path, name: str, look: Look) -> str:
    validated = validated_as(folder, name)
    if validated is None:
        return "folds: it was not tried under other conditions"
    measures = dict.fromkeys(measure for fold in validated.folds for measure in fold.metrics)
    rows = [
        [
            fold.outcome,
            fold.name,
            *(fold.metrics[measure].mean if measure in fold.metrics else None for measure in measures),
        ]
        for fold in validated.folds
    ]
    columns = ["outcome", "fold", *(measure.replace("_", " ") for measure in measures)]
    return f"{look.prose(folds_passed(validated))}\n{look.table(columns, rows, 2)}"


def _known_text(folder: Path, name: str, look: Look) -> str:
    compared = _compared(folder, name)
    if compared is None:
        return "known rules: it was not compared with any"
    if not compared.distances:
        return "known rules: none is written in these variables, so that none was compared"
    return f"{look.prose(verdict_text(name, compared))}\n{distances_text(compared, look)}"


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

    front = read_front(folder)
    one = _candidate(folder, front, candidate or front.chosen_id)
    origin = f"Rule {one.id} of {folder}, task {front.task}."
    return exported(one.rule, to, origin, learning_rate=front.task != RECORDED).rstrip("\n")


def read_front(folder: Path) -> ParetoFront:
    """Return the front of a run; raises as :func:`discover.stored.read_stored`."""
    return _read(folder, "front.json", ParetoFront, "search")


def _read(folder: Path, name: str, form: type[_Artefact], stage: str) -> _Artefact:
    remedy = f"Make it: `discover {stage} {folder} --fresh`, or all stages: `discover run {folder}`."
    return read_stored(folder / name, form, remedy)


def read_optional(folder: Path, name: str, form: type[_Artefact]) -> _Artefact | None:
    """Return an artefact of a run, None where there is none."""
    return read_stored(folder / name, form) if (folder / name).exists() else None
