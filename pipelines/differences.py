"""What the command line says about two runs side by side: only what the files of both tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from discover.checked import parse_json, read_plain
from discover.forms import ManifestFile
from discover.pareto import ParetoFront
from discover.rule import Rule
from pipelines.infer_config import is_recorded
from pipelines.inspection import read_front, read_optional, validated_as
from pipelines.look import PLAIN, Look
from pipelines.show import in_one_line, rule_text

__all__ = ["Difference", "diff_text"]


@dataclass(frozen=True)
class Difference:
    """Two runs side by side.

    Attributes
    ----------
    text : str
    differ : bool
        Whether settings, rules or their outcomes differ; versions and code do not count.
    facts : mapping
        The same for programs.
    """

    text: str
    differ: bool
    facts: Mapping[str, Any]


def diff_text(first: Path, second: Path, look: Look = PLAIN) -> Difference:
    """Return what differs between two runs.

    Parameters
    ----------
    first, second : Path
        Folders of the runs.
    look : Look

    Raises
    ------
    ArtefactError
        If one has no settings or no front, or an artefact is damaged.
    """
    folders, fronts = (first, second), (read_front(first), read_front(second))
    names = [str(folder) for folder in folders]
    settings = _pairs(*(dict(_flat(_settings(folder))) for folder in folders))
    settings.pop("name", None)
    losses = [_losses_on_front(front) for front in fronts]
    candidates = _pairs(*losses)
    rules = [front.chosen.rule for front in fronts]
    slots = [rule.to_dict() for rule in rules]
    outcomes = [_outcomes(folder, front.chosen_id) for folder, front in zip(folders, fronts, strict=True)]
    folds = {} if None in outcomes else _pairs(*(outcome or {} for outcome in outcomes))
    same_rule = slots[0] == slots[1]
    relation = None if same_rule else _relation(*rules)
    made_by = [_made_by(folder) for folder in folders]
    differ = bool(settings or candidates or folds or not same_rule)
    facts = {
        "runs": names,
        "differ": differ,
        "settings": [{"setting": key, "values": values} for key, values in settings.items()],
        "chosen": [
            {"id": front.chosen_id, "rule": in_one_line(texts), "slots": texts}
            for front, texts in zip(fronts, slots, strict=True)
        ],
        "same_rule": same_rule,
        "relation": relation,
        "heldout_losses": [{"rule": rule, "values": values} for rule, values in candidates.items()],
        "folds": None if None in outcomes else [{"fold": k, "outcomes": v} for k, v in folds.items()],
        "made_by": made_by,
    }
    if same_rule:
        chosen = f"chosen rule: the same, {rule_text(slots[0], look)}"
    else:
        said = f"chosen rules{'' if relation is None else f', {relation}'}:"
        chosen = "\n".join([said, *(f"  {rule_text(texts, look)}" for texts in slots)])
    others = any(key.split(".")[0] in ("task", "seed", "problems", "data") for key in settings)
    what = "candidates, by held-out loss on other problems" if others else "candidates, by held-out loss"
    parts = [
        _differences("settings", ["setting", *names], settings, look),
        look.prose(chosen),
        _differences(what, ["rule", *names], candidates, look),
        _folds_differences(folders, outcomes, folds, look),
        _makers(names, made_by, look),
    ]
    return Difference("\n\n".join(parts), differ, facts)


def _pairs(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return what two tables differ in, None where one lacks a key."""
    keys = dict.fromkeys([*first, *second])
    pairs = {key: [first.get(key), second.get(key)] for key in keys}
    return {key: values for key, values in pairs.items() if values[0] != values[1]}


def _differences(title: str, columns: list[str], pairs: Mapping[str, list[Any]], look: Look) -> str:
    """Return differences as a table; those that do not show in the digits that are printed are counted."""
    if not pairs:
        return f"{title}: the same"
    shown: dict[str, list[str]] = {}
    for key, values in pairs.items():
        row = shown.setdefault(look.rounded(key), ["-", "-"])
        for number, value in enumerate(values):
            if value is not None:
                row[number] = look.number(value) if isinstance(value, float) else str(value)
    rows = [[key, *values] for key, values in shown.items() if values[0] != values[1]]
    if not rows:
        return f"{title}: the same to {look.digits} digits"
    return f"{title}:\n{look.table(columns, rows)}"


def _folds_differences(
    folders: tuple[Path, Path],
    outcomes: list[dict[str, str] | None],
    pairs: Mapping[str, list[Any]],
    look: Look,
) -> str:
    title = "folds of the chosen rules"
    missing = [str(folder) for folder, outcome in zip(folders, outcomes, strict=True) if outcome is None]
    if missing:
        return look.prose(f"{title}: not known, as that of {' and that of '.join(missing)} was not tried")
    return _differences(title, ["fold", *map(str, folders)], pairs, look)


def _relation(first: Rule, second: Rule) -> str | None:
    """How the terms of the chosen rules stand to each other, where both are polynomials."""
    from discover._compared_rules import RATIO_TOLERANCE, constant_ratios, structural_verdict, table

    one, other = table(first), table(second)
    if one is None or other is None:
        return None
    verdict = structural_verdict(one, other, constant_ratios(first, second), RATIO_TOLERANCE)
    return {
        "extra terms": "the first has further terms",
        "missing terms": "the second has further terms",
    }.get(str(verdict), verdict)


def _settings(folder: Path) -> dict[str, Any]:
    """Return the settings of a run, or of an inference, which has no pipeline."""
    from pipelines.config import load_json

    if is_recorded(folder):
        content: dict[str, Any] = parse_json(read_plain(folder / "config.json", 1_000_001))
        return content
    return load_json(folder / "config.json").to_dict()


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(value)


def _losses_on_front(front: ParetoFront) -> dict[str, float]:
    return {in_one_line(one.rule.to_dict()): one.heldout_loss for one in front.candidates if one.on_front}


def _outcomes(folder: Path, chosen: str) -> dict[str, str] | None:
    validated = validated_as(folder, chosen)
    return None if validated is None else {fold.name: fold.outcome for fold in validated.folds}


def _made_by(folder: Path) -> dict[str, Any] | None:
    """Return checksum of the code and versions of libraries, None where there is no manifest."""
    manifest = read_optional(folder, "manifest.json", ManifestFile)
    return None if manifest is None else {"code": manifest.code or None, "versions": manifest.versions}


def _makers(names: list[str], made_by: list[dict[str, Any] | None], look: Look) -> str:
    """Say whether two runs were made by the same code and libraries, where that is known of both."""
    if any(one is None or one["code"] is None for one in made_by):
        known = [
            "not recorded, as there is no manifest" if one is None else one["code"] or "not recorded"
            for one in made_by
        ]
        return look.prose(f"made by:\n  {names[0]}: {known[0]}\n  {names[1]}: {known[1]}")
    first, second = ({"code": one["code"], **one["versions"]} for one in made_by if one is not None)
    pairs = _pairs(first, second)
    if not pairs:
        return "made by the same code and versions of libraries"
    same = "the same code, other versions" if "code" not in pairs else "other code"
    return f"made by {same}:\n{look.table(['', *names], [[key, *values] for key, values in pairs.items()])}"
