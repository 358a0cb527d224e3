"""What a study over many seeds found: the content of ``study.json``, its counts, and where it is looked for.

Every seed is a whole run of one pipeline, with nothing changed but the seed. What such a study says of a
pipeline is how often the choice at the end of all stages comes out the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from discover.intervals import Metric
from discover.outcome import OUTCOMES, share_interval
from discover.stored import Artefact, Count, Stored, left_out, read_stored

__all__ = [
    "STUDIES",
    "Family",
    "SeedRow",
    "Share",
    "Study",
    "families_of",
    "find_study",
    "read_study",
    "shares_of",
    "study_text",
]

STUDIES = "studies"
"""Folder of all studies among the results; a study's own is called like its pipeline."""

FILE = "study.json"

FAILED = "failed"
NOT_COMPARED = "not compared"

NOTHING = Metric(None, None, None)


@dataclass(frozen=True, kw_only=True)
class SeedRow(Stored):
    """One seed: what was chosen, how it stands to what there was to find, and what it cost.

    Attributes
    ----------
    seed : int
    outcome : str
        One of :data:`discover.outcome.Outcome`.
    error : str
        Why the run failed; empty where it did not.
    candidate : str
        Name of the chosen rule on its front.
    slots : mapping from str to str
        The chosen rule.
    family : str
        Its form with letters for constants.
    verdict, nearest : str
        Of the comparison, about which known rule; empty where there was none.
    loss : Metric
    loss_on : str
        Problems that the loss was measured on.
    complexity : float or None
    seconds : float or None
        Wall time of the stages, each as it was last run.
    measures : mapping from str to Metric
        The task's measures of the chosen rule on fresh problems.
    folds : mapping from str to str, or None
        By fold that the chosen rule went through why it did not pass, empty where it passed; None in studies
        before there were folds in them.
    """

    seed: Count
    outcome: str
    error: str = ""
    candidate: str = ""
    slots: Mapping[str, str] = field(default_factory=dict)
    family: str = ""
    verdict: str = ""
    nearest: str = ""
    loss: Metric = NOTHING
    loss_on: str = ""
    complexity: float | None = None
    seconds: float | None = None
    measures: Mapping[str, Metric] = field(default_factory=dict)
    folds: Annotated[Mapping[str, str] | None, left_out] = None

    @property
    def not_passed(self) -> dict[str, str]:
        """Folds that the chosen rule did not pass, and why."""
        return {name: why for name, why in (self.folds or {}).items() if why}

    @property
    def n_passed(self) -> int:
        """How many folds it passed."""
        return len(self.folds or {}) - len(self.not_passed)


@dataclass(frozen=True)
class Share(Stored):
    """How many of all seeds ended in one way, and the 95 % interval of the share."""

    n: Count
    low: float
    high: float


@dataclass(frozen=True)
class Family(Stored):
    """Chosen rules that differ in constants alone."""

    form: str
    seeds: tuple[Count, ...]


@dataclass(frozen=True, kw_only=True)
class Study(Artefact):
    """``study.json``: what a pipeline found from each of many seeds.

    Attributes
    ----------
    name, task : str
        Of the pipeline.
    pipeline : mapping
        Its settings, without seed and name.
    answer : str
        What the task has as an answer, see :meth:`discover.tasks.base.Task.answer_for`.
    law, law_title : str
        The known rule that was to be found; empty where there is not one.
    root : int or None
        What the seeds were drawn from; None where the user gave them.
    asked : tuple of int
        All seeds of the study; those without a row have not run to their end yet.
    stages : tuple of str
    rows : tuple of SeedRow
    outcomes : mapping from str to Share
    families : tuple of Family
        The most frequent first.
    text : str
        The counts in words.
    versions, platform, code
        See :class:`discover.forms.ManifestFile`.
    """

    kind = "study"
    name: str
    task: str
    pipeline: Mapping[str, Any]
    answer: str
    law: str
    law_title: str
    root: int | None
    asked: tuple[Count, ...]
    stages: tuple[str, ...]
    rows: tuple[SeedRow, ...]
    outcomes: Mapping[str, Share]
    families: tuple[Family, ...]
    text: str
    versions: Mapping[str, str] = field(default_factory=dict)
    platform: Mapping[str, Any] = field(default_factory=dict)
    code: str = ""

    @property
    def sections(self) -> dict[str, Any]:
        """Settings that decide what is found and how it is judged."""
        return {name: self.pipeline.get(name) for name in SECTIONS}


SECTIONS = ("task", "problems", "fit", "search", "compare")
"""Parts of a pipeline's settings that a study's result depends on."""


def shares_of(rows: Sequence[SeedRow], answer: str) -> dict[str, Share]:
    """Count how the seeds ended; runs that failed count among all seeds.

    Parameters
    ----------
    rows : sequence of SeedRow
    answer : str
        What the task has as an answer; all outcomes that belong to it are listed, also those of no seed.

    Examples
    --------
    >>> rows = [SeedRow(seed=1, outcome="exact"), SeedRow(seed=2, outcome="missed")]
    >>> {outcome: share.n for outcome, share in shares_of(rows, "one law").items()}
    {'exact': 1, 'extra terms': 0, 'functional': 0, 'missed': 1}
    """
    found = [row.outcome for row in rows]
    if not found:
        return {}
    names = dict.fromkeys([*OUTCOMES.get(answer, ()), *found])
    counts = {name: found.count(name) for name in names}
    return {name: Share(n, *share_interval(n, len(found))) for name, n in counts.items()}


def families_of(rows: Sequence[SeedRow]) -> tuple[Family, ...]:
    """Group the chosen rules by their form, the most frequent first."""
    seeds: dict[str, list[int]] = {}
    for row in rows:
        if row.family:
            seeds.setdefault(row.family, []).append(row.seed)
    ordered = sorted(seeds.items(), key=lambda entry: (-len(entry[1]), len(entry[0]), entry[0]))
    return tuple(Family(form, tuple(numbers)) for form, numbers in ordered)


def study_text(
    answer: str, law_title: str, shares: Mapping[str, Share], families: Sequence[Family], n_asked: int
) -> str:
    """Return the counts of a study in sentences.

    Examples
    --------
    >>> rows = [SeedRow(seed=seed, outcome="exact") for seed in range(20)]
    >>> study_text("one law", "Oja (1982)", shares_of(rows, "one law"), [], 20)
    'Oja (1982) was named exactly in 20 of 20 seeds (95 % interval of the share 0.84 to 1.00), with extra terms in 0, functionally in 0, and missed in 0.'
    """  # noqa: E501
    n_rows = sum(share.n for share in shares.values())
    if not n_rows:
        return f"None of {n_asked} seeds has run yet."

    def share(outcome: str) -> str:
        one = shares[outcome]
        return f"{one.n} of {n_rows} seeds (95 % interval of the share {one.low:.2f} to {one.high:.2f})"

    def n(outcome: str) -> int:
        return shares[outcome].n if outcome in shares else 0

    if answer == "one law":
        text = (
            f"{law_title} was named exactly in {share('exact')}, with extra terms in {n('extra terms')}, "
            f"functionally in {n('functional')}, and missed in {n('missed')}."
        )
    elif answer == "one form":
        text = (
            f"The chosen rule has the form of {law_title} in {share('same form')}, further terms in "
            f"{n('further terms')}, another form in {n('another form')}, and no rule in {n('no rule')}."
        )
    elif answer == "nothing":
        text = f"There is nothing to find, and nothing was found in {share('nothing found')}."
    else:
        text = f"The chosen rule beats the baseline in {share('beats the baseline')}."
        if families:
            first = families[0]
            forms = f"{len(families)} forms were" if len(families) > 1 else "One form was"
            text += f" {forms} chosen; the most frequent is {first.form}, with {len(first.seeds)} seeds."
    if n(NOT_COMPARED):
        text += f" {n(NOT_COMPARED)} were not compared with known rules."
    if n(FAILED):
        text += f" {n(FAILED)} runs failed."
    if n_rows < n_asked:
        text += f" {n_asked - n_rows} of {n_asked} seeds have not run yet."
    return text


def find_study(run_folder: Path, name: str) -> Path | None:
    """Return the ``study.json`` that belongs to a run, None where there is none.

    It is looked for among the studies beside the run, among the committed results beside it, in the run's
    own folder, and, for a run that is a seed of a study, in the folder above.

    Parameters
    ----------
    run_folder : Path
    name : str
        Of the run's pipeline.
    """
    beside = run_folder.parent
    places = (beside / STUDIES / name, beside / "reference" / name, run_folder, beside)
    return next((place / FILE for place in places if name and (place / FILE).is_file()), None)


def read_study(path: Path) -> Study:
    """Read a ``study.json`` and check its form.

    Raises
    ------
    ArtefactError
        When it cannot be read, is damaged, or was written by a later version.
    """
    remedy = (
        "Remove it; `discover study` with the pipeline writes it anew from the runs of its seeds, "
        "which are kept."
    )
    return read_stored(path, Study, remedy)
