"""The rows of a study: what the run of a seed found, read from its files, and the table of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from discover.forms import Compared, Comparison, Distances, Validation
from discover.intervals import Metric
from discover.known_rules import KNOWN_RULES
from discover.outcome import OUTCOMES, Outcome, family_of, outcome_for_a_law
from discover.pareto import Candidate, ParetoFront
from discover.seed_study import FAILED, NOT_COMPARED, SeedRow, Share, Study
from discover.stored import read_stored
from discover.tasks.base import Answer
from pipelines.config import PipelineConfig
from pipelines.look import PLAIN, Look
from pipelines.manifest import Manifest
from pipelines.show import published, rule_text

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
    return SeedRow(seed=seed, outcome=FAILED, error=error, folds={})


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
    front = read_stored(folder / "front.json", ParetoFront)
    candidate = front.chosen
    is_compared = "compare" in stages
    comparison = read_stored(folder / "comparison.json", Comparison) if is_compared else NOT_DONE
    compared = comparison.candidates.get(candidate.id, NO_RULES)
    records = [Manifest(folder).record(stage) for stage in stages]
    loss, loss_on = _loss(candidate)
    return SeedRow(
        seed=seed,
        outcome=_outcome(candidate, comparison, aim),
        candidate=candidate.id,
        slots=candidate.rule.to_dict(),
        family=family_of(candidate.rule),
        verdict=compared.verdict,
        nearest=compared.nearest or "",
        loss=loss,
        loss_on=loss_on,
        complexity=float(candidate.complexity),
        seconds=float(sum(record.seconds for record in records if record is not None)),
        measures=_measures(comparison),
        folds=_folds(folder, candidate.id) if "validate" in stages else {},
    )


NO_RULES = Compared(None, "", {})
NOT_DONE = Comparison(candidates={})


def _outcome(chosen: Candidate, comparison: Comparison, aim: Sought) -> Outcome:
    baseline, law = comparison.baseline, KNOWN_RULES[aim.law].rule if aim.law else None
    compared = comparison.candidates.get(chosen.id, NO_RULES)
    verdict = compared.evidence[aim.law].verdict if aim.law in compared.evidence else ""
    beats = baseline is not None and chosen.id in baseline.beaten_by
    if aim.answer == "one law" and law is not None:
        if baseline is not None and not beats:
            return "missed"
        if not verdict and compared.verdict:
            verdict = compared.verdict if compared.nearest == aim.law else "different"
        behavioural = compared.distances.get(aim.law, Distances()).behavioural
        alike = comparison.alike or ALIKE
        return outcome_for_a_law(chosen.rule, law, verdict or None, behavioural, alike)
    if baseline is None:
        return "not compared"
    if aim.answer == "one form":
        return _FORMS.get(verdict, "another form") if beats else "no rule"
    if aim.answer == "nothing":
        return "something found" if baseline.beaten_by else "nothing found"
    return "beats the baseline" if beats else "no better than the baseline"


def _loss(candidate: Candidate) -> tuple[Metric, str]:
    """Return a candidate's loss on test problems where the front has it, else on held-out ones."""
    test = candidate.test
    if test is not None:
        return Metric(test.mean, test.low, test.high), TEST_PROBLEMS
    mean, half = candidate.heldout_loss, NORMAL * candidate.heldout_error
    known = Metric(mean, max(0.0, mean - half), mean + half) if half else Metric(mean, None, None)
    return known, "held-out problems"


def _measures(comparison: Comparison) -> Mapping[str, Metric]:
    """Return the task's measures of the chosen rule on the fresh problems of the comparison."""
    rows = comparison.baseline.rows if comparison.baseline is not None else ()
    return next((row.metrics for row in rows if row.name == "chosen rule"), {})


def _folds(folder: Path, chosen: str) -> dict[str, str]:
    """Return by fold why the chosen rule did not pass it, an empty text where it did."""
    validated = read_stored(folder / "validation.json", Validation).candidates.get(chosen)
    folds = validated.folds if validated is not None else ()
    return {fold.name: "" if fold.passed else f"{fold.outcome}: {fold.reason}" for fold in folds}


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


def study_as_text(study: Study, look: Look = PLAIN) -> str:
    """Return the tables of a study as plain text, and the counts in words."""
    parts = [look.table(*_seeds(study, look, look), 1), look.table(*_outcomes(study))]
    if study.families:
        parts.append(look.table(*_families(study)))
    said = [f"seed {row.seed}, folds not passed: {_not_passed(row)}" for row in study.rows if row.not_passed]
    return "\n\n".join([*parts, *map(look.prose, [*said, study.text])])


def study_as_markdown(study: Study) -> str:
    """Return the tables of a study as Markdown, for pages that include it."""
    parts = [study.text, _markdown(*_outcomes(study))]
    if study.families:
        parts.append(_markdown(*_families(study)))
    parts.append(_markdown(*_seeds(study, IN_MARKDOWN, PLAIN)))
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


def _seeds(study: Study, look: Look, of_rules: Look) -> Cells:
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
            look.interval(row.loss),
            *(look.interval(row.measures.get(name)) for name in shown),
            *([f"{row.n_passed} of {len(row.folds)}" if row.folds else None] if with_folds else []),
            None if row.complexity is None else f"{row.complexity:g}",
            None if row.seconds is None else round(row.seconds),
            row.error or _Code(rule_text(row.slots, of_rules)),
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


IN_MARKDOWN = Look(digits=3)
"""How numbers stand in ``study.md``."""


class _Code(str):
    """Text that Markdown shows as code."""


def _share(share: Share) -> str:
    return f"{share.low:.2f} to {share.high:.2f}"


def _markdown(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(_cell(value) for value in line)} |" for line in lines)


def _cell(value: object) -> str:
    text = "-" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)
    text = text.replace("|", "\\|").replace("\n", " ")
    return f"`{text}`" if isinstance(value, _Code) and text else text.replace("<", "&lt;")
