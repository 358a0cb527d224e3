"""The rows of a study: what the run of a seed found, read from its files, and the table of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from discover.checked import printable
from discover.known_rules import KNOWN_RULES
from discover.outcome import OUTCOMES, Outcome, family_of, outcome_for_a_law
from discover.pareto import ParetoFront
from discover.rule import Rule
from discover.seed_study import FAILED, NOT_COMPARED, Estimate, SeedRow, Share, Study
from discover.tasks.base import Answer
from pipelines import artefacts
from pipelines.config import PipelineConfig
from pipelines.manifest import Manifest
from pipelines.show import published, rule_text, table_text

__all__ = ["Sought", "failed_row", "records_of", "row_of", "sought", "study_as_markdown", "study_as_text"]

ALIKE = 0.05
"""Largest difference of losses of rules that behave alike, where a comparison does not say it."""

_FORMS: Mapping[str, Outcome] = {
    "same up to scale": "same form",
    "same terms": "same form",
    "extra terms": "further terms",
}
"""Verdict of a comparison -> outcome where a form was to be found."""

NORMAL = 1.96
"""A 95 % interval reaches so many standard errors to either side of a mean."""

SHOWN_MEASURES = 2
"""So many of a task's measures stand in the tables; ``study.json`` and ``study.csv`` have all."""


@dataclass(frozen=True)
class Sought:
    """What there is to find.

    Attributes
    ----------
    answer : str
        See :meth:`discover.tasks.base.Task.answer_for`.
    law : str
        Name of the known rule that is the answer; empty where there is not one.
    """

    answer: Answer
    law: str = ""

    @property
    def title(self) -> str:
        """The law as it is called in sentences."""
        return published(self.law) if self.law else ""


def sought(config: PipelineConfig) -> Sought:
    """Return what the task of a pipeline asks for."""
    from discover.tasks import get_task

    task = get_task(config.task)
    answer = task.answer_for(config.problems)
    is_one = answer in ("one law", "one form")
    return Sought(answer, task.reference_for(config.problems) if is_one else "")


def failed_row(seed: int, error: str) -> SeedRow:
    """Return the row of a seed whose run failed."""
    return SeedRow(seed=seed, outcome=FAILED, error=error)


def row_of(folder: Path, seed: int, aim: Sought, stages: Sequence[str]) -> SeedRow:
    """Read what the run of one seed found.

    Parameters
    ----------
    folder : Path
        Of its run.
    seed : int
    aim : Sought
    stages : sequence of str
        Stages that it went through; without ``compare`` it has no verdict.

    Raises
    ------
    ArtefactError
        When a file is missing or damaged.
    """
    front = artefacts.read_json(folder / "front.json", ParetoFront)
    candidate = next(one for one in front["candidates"] if one["id"] == front["chosen"])
    rule = Rule.parse(candidate["slots"])
    comparison = (
        artefacts.read_json(folder / "comparison.json", artefacts.Comparison) if "compare" in stages else {}
    )
    compared = comparison.get("candidates", {}).get(front["chosen"], {})
    records = [Manifest(folder).record(stage) for stage in stages]
    loss, loss_on = _loss(candidate)
    return SeedRow(
        seed=seed,
        outcome=_outcome(rule, front["chosen"], comparison, aim),
        candidate=front["chosen"],
        slots=candidate["slots"],
        family=family_of(rule),
        verdict=compared.get("verdict", ""),
        nearest=compared.get("nearest") or "",
        loss=loss,
        loss_on=loss_on,
        complexity=candidate["complexity"],
        seconds=sum(record.seconds for record in records if record is not None),
        measures=_measures(comparison),
        folds=_folds(folder, front["chosen"]) if "validate" in stages else {},
    )


def _outcome(rule: Rule, chosen: str, comparison: Mapping[str, Any], aim: Sought) -> Outcome:
    baseline, law = comparison.get("baseline"), KNOWN_RULES[aim.law].rule if aim.law else None
    if aim.answer == "one law" and law is not None:
        if baseline is not None and chosen not in baseline["beaten_by"]:
            return "missed"
        compared = comparison.get("candidates", {}).get(chosen, {})
        verdict = compared.get("evidence", {}).get(aim.law, {}).get("verdict")
        if verdict is None and compared:
            verdict = compared["verdict"] if compared["nearest"] == aim.law else "different"
        behavioural = compared.get("distances", {}).get(aim.law, {}).get("behavioural")
        return outcome_for_a_law(rule, law, verdict, behavioural, comparison.get("alike") or ALIKE)
    if baseline is None:
        return "not compared"
    if aim.answer == "one form":
        if chosen not in baseline["beaten_by"]:
            return "no rule"
        evidence = comparison.get("candidates", {}).get(chosen, {}).get("evidence", {})
        verdict = evidence.get(aim.law, {}).get("verdict")
        return _FORMS.get(str(verdict), "another form")
    if aim.answer == "nothing":
        return "something found" if baseline["beaten_by"] else "nothing found"
    return "beats the baseline" if chosen in baseline["beaten_by"] else "no better than the baseline"


def _loss(candidate: Mapping[str, Any]) -> tuple[Estimate, str]:
    """Return a candidate's loss on test problems where the front has it, else on held-out ones."""
    test = candidate.get("test")
    if test is not None:
        return Estimate.model_validate(test), TEST_PROBLEMS
    mean, error = candidate["heldout_loss"], candidate.get("heldout_error")
    if error is None:
        return Estimate(mean=mean), "held-out problems"
    half = NORMAL * error
    return Estimate(mean=mean, low=max(0.0, mean - half), high=mean + half), "held-out problems"


def _measures(comparison: Mapping[str, Any]) -> dict[str, Estimate]:
    """Return the task's measures of the chosen rule on the fresh problems of the comparison."""
    baseline = comparison.get("baseline") or {"rows": []}
    rows = {row["name"]: row["metrics"] for row in baseline["rows"]}
    return {
        name: Estimate(mean=one["mean"], low=one["low"], high=one["high"])
        for name, one in rows.get("chosen rule", {}).items()
    }


def _folds(folder: Path, chosen: str) -> dict[str, str]:
    """Return by fold why the chosen rule did not pass it, an empty text where it did."""
    validation = artefacts.read_json(folder / "validation.json", artefacts.Validation)
    folds = validation["candidates"].get(chosen, {}).get("folds", [])
    return {
        fold["name"]: "" if fold["passed"] else f"{fold.get('verdict') or 'failed'}: {fold['reason']}"
        for fold in folds
    }


# ----------------------------------------------------------------------------------------------------- tables


def records_of(study: Study) -> list[dict[str, Any]]:
    """Return the rows of ``study.csv``, numbers with all their digits."""
    return [
        {
            "seed": row.seed,
            "outcome": row.outcome,
            "verdict": row.verdict,
            "nearest": row.nearest,
            "loss": row.loss.mean,
            "loss_low": row.loss.low,
            "loss_high": row.loss.high,
            "loss_on": row.loss_on,
            **{name: one.mean for name, one in row.measures.items() if name != "loss"},
            **({"loss_on_fresh_problems": row.measures["loss"].mean} if "loss" in row.measures else {}),
            "complexity": row.complexity,
            "seconds": row.seconds,
            **(
                {
                    "folds_passed": row.n_passed,
                    "folds": len(row.folds),
                    "not_passed": "; ".join(row.not_passed),
                }
                if row.folds
                else {}
            ),
            "family": row.family,
            "rule": "; ".join(f"{slot}: {text}" for slot, text in row.slots.items()),
            "error": row.error,
        }
        for row in study.rows
    ]


def study_as_text(study: Study) -> str:
    """Return the tables of a study as plain text, and the counts in words."""
    parts = [table_text(*_seeds(study)), table_text(*_outcomes(study))]
    if study.families:
        parts.append(table_text(*_families(study)))
    parts += [
        f"seed {row.seed}, folds not passed: {_not_passed(row)}" for row in study.rows if row.not_passed
    ]
    return printable("\n\n".join([*parts, study.text]))


def study_as_markdown(study: Study) -> str:
    """Return the tables of a study as Markdown, for pages that include it."""
    parts = [study.text, _markdown(*_outcomes(study))]
    if study.families:
        parts.append(_markdown(*_families(study)))
    parts.append(_markdown(*_seeds(study)))
    parts += [
        f"Seed {row.seed}, folds not passed: {_cell(_not_passed(row))}."
        for row in study.rows
        if row.not_passed
    ]
    parts.append(_origin(study))
    return "\n\n".join(parts) + "\n"


def _origin(study: Study) -> str:
    seeds = (
        "The seeds are the user's own."
        if study.root is None
        else f"The seeds are drawn from the root {study.root}; none of them is in a pipeline file."
    )
    is_fresh = all(row.loss_on == TEST_PROBLEMS for row in study.rows if row.loss_on)
    measured = (
        "Measures other than the loss are of the chosen rule on fresh problems, on which nothing was fitted "
        "or chosen."
        if is_fresh
        else "Losses and measures are of data by which the rule was chosen, too."
    )
    return (
        f"{seeds} Stages: {', '.join(study.stages)}. Brackets are 95 % intervals. {measured} Seconds are "
        "wall time, with other runs on the same machine."
    )


TEST_PROBLEMS = "test problems"
"""On which nothing was fitted or chosen."""

Cells = tuple[list[str], list[list[object]]]


def _seeds(study: Study) -> Cells:
    sets = dict.fromkeys(row.loss_on for row in study.rows if row.loss_on)
    measures = list(dict.fromkeys(name for row in study.rows for name in row.measures if name != "loss"))
    shown = measures[:SHOWN_MEASURES]
    with_folds = any(row.folds for row in study.rows)
    columns = [
        "seed", "outcome", "verdict", f"loss on {' or '.join(sets) or 'no problems'}",
        *(name.replace("_", " ") for name in shown), *(["folds passed"] if with_folds else []),
        "complexity", "seconds", "chosen form",
    ]  # fmt: skip
    rows: list[list[object]] = [
        [
            row.seed,
            row.outcome,
            f"{row.verdict}: {row.nearest}" if row.nearest else row.verdict or "-",
            _interval(row.loss),
            *(_interval(row.measures.get(name, Estimate())) for name in shown),
            *([f"{row.n_passed} of {len(row.folds)}" if row.folds else None] if with_folds else []),
            None if row.complexity is None else f"{row.complexity:g}",
            None if row.seconds is None else round(row.seconds),
            row.error or _Code(rule_text(row.slots)),
        ]
        for row in study.rows
    ]
    return columns, rows


def _not_passed(row: SeedRow) -> str:
    return "; ".join(f"{name} ({why})" for name, why in row.not_passed.items())


def _outcomes(study: Study) -> Cells:
    meanings = {
        **{str(name): meaning for name, meaning in OUTCOMES.get(study.answer, {}).items()},
        NOT_COMPARED: "the run ended before the comparison",
        FAILED: "the run ended with an error",
    }
    rows: list[list[object]] = [
        [name, meanings.get(name, ""), share.n, _share(share)] for name, share in study.outcomes.items()
    ]
    return ["outcome", "what it means", "seeds", "share (95 %)"], rows


def _families(study: Study) -> Cells:
    losses = {row.seed: row.loss.mean for row in study.rows if row.loss.mean is not None}
    rows: list[list[object]] = []
    for one in study.families:
        found = [losses[seed] for seed in one.seeds if seed in losses]
        lowest, highest = min(found, default=None), max(found, default=None)
        rows.append([_Code(one.form), len(one.seeds), lowest, highest])
    return ["form, constants as letters", "seeds", "lowest loss", "highest loss"], rows


class _Code(str):
    """Text that Markdown shows as code."""


def _share(share: Share) -> str:
    return f"{share.low:.2f} to {share.high:.2f}"


def _interval(one: Estimate) -> str:
    if one.mean is None:
        return "-"
    if one.low is None or one.high is None:
        return f"{one.mean:.3g}"
    return f"{one.mean:.3g} ({one.low:.3g} to {one.high:.3g})"


def _markdown(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(_cell(value) for value in line)} |" for line in lines)


def _cell(value: object) -> str:
    text = "-" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)
    text = text.replace("|", "\\|").replace("\n", " ")
    return f"`{text}`" if isinstance(value, _Code) and text else text.replace("<", "&lt;")
