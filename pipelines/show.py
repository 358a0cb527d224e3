"""What the command line prints of a finished run, as plain text that survives a pipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines import artefacts

__all__ = ["front_text", "summary_text", "table_text", "verdict_text"]


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


def front_text(front: Mapping[str, Any]) -> str:
    """Return the Pareto front as a table with an arrow at the chosen rule, and why it was chosen.

    Parameters
    ----------
    front : mapping
        Content of ``front.json``.
    """
    candidates = sorted(
        (one for one in front["candidates"] if one["on_front"] or one["id"] == front["chosen"]),
        key=lambda one: (one["complexity"], one["heldout_loss"]),
    )
    rows = [
        [
            "-->" if one["id"] == front["chosen"] else "",
            one["id"],
            one["complexity"],
            one["heldout_loss"],
            one["train_loss"],
            _rule_text(one["slots"]),
        ]
        for one in candidates
    ]
    table = table_text(["", "id", "complexity", "held-out loss", "training loss", "rule"], rows)
    engines = ", ".join(front["engine"]) or "none"
    found_by = next((one["provenance"] for one in candidates if one["id"] == front["chosen"]), "")
    lines = [
        table,
        "",
        f"chosen: {front['chosen']} ({front['reason']})",
        f"engines: {engines}; the chosen rule came from: {_plain_text(found_by)}",
    ]
    return "\n".join(lines)


def verdict_text(name: str, compared: Mapping[str, Any]) -> str:
    """Return in one sentence what a rule is beside the known rules.

    Parameters
    ----------
    name : str
        How to call the rule.
    compared : mapping
        Its entry in ``comparison.json``.
    """
    if compared["nearest"] is None:
        return f"{name}: {compared['verdict']}; no known rule is comparable."
    return f"{name}: {compared['verdict']}; the nearest known rule is {compared['nearest']}."


def distances_text(compared: Mapping[str, Any]) -> str:
    """Return a rule's distances to the known rules as a table, nearest first."""
    rows = [
        [known, distances["coefficient"], distances["functional"], distances["behavioural"]]
        for known, distances in compared["distances"].items()
    ]
    rows.sort(key=lambda row: (row[0] != compared["nearest"], str(row[0])))
    return table_text(["known rule", "coefficient", "functional", "behavioural"], rows)


def summary_text(folder: Path) -> str:
    """Return what a finished run found: the front, the folds, the verdict and where the report is.

    Raises
    ------
    ArtefactError
        When an artefact is missing or damaged.
    """
    front = artefacts.read_json(folder / "front.json", artefacts.Front)
    validation = artefacts.read_json(folder / "validation.json", artefacts.Validation)
    comparison = artefacts.read_json(folder / "comparison.json", artefacts.Comparison)
    parts = [front_text(front)]
    if (validated := validation["candidates"].get(front["chosen"])) is not None:
        parts.append(_folds_text(validated))
    if (compared := comparison["candidates"].get(front["chosen"])) is not None:
        parts.append(verdict_text("chosen rule", compared))
    parts.append(f"report: {folder / 'report.html'}")
    return "\n".join(parts)


def _folds_text(validated: Mapping[str, Any]) -> str:
    folds = validated["folds"]
    failed = [fold["name"] for fold in folds if not fold["passed"]]
    text = f"folds passed: {len(folds) - len(failed)} of {len(folds)}"
    return f"{text}; not passed: {', '.join(failed)}" if failed else text


def _rule_text(slots: Mapping[str, str]) -> str:
    if len(slots) == 1:
        return next(iter(slots.values()))
    return "; ".join(f"{slot}: {expression}" for slot, expression in slots.items())


def _plain_text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain_text(item)}" for key, item in value.items())
    if isinstance(value, Sequence):
        return ", ".join(_plain_text(item) for item in value)
    return str(value)


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
