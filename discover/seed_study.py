"""What a study over many seeds found: the content of ``study.json``, its counts, and where it is looked for.

Every seed is a whole run of one pipeline, with nothing changed but the seed. What such a study says of a
pipeline is how often the choice at the end of all stages comes out the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge
from pydantic import BaseModel, ConfigDict, ValidationError

from discover.checked import parse_json, printable, read_plain
from discover.errors import ArtefactError
from discover.outcome import OUTCOMES, share_interval

__all__ = [
    "STUDIES",
    "Estimate",
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
MAX_BYTES = 256_000_000
VERSION = 1

FAILED = "failed"
NOT_COMPARED = "not compared"

Count = Annotated[int, Ge(0)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, allow_inf_nan=False, frozen=True)


class Estimate(_Part):
    """A mean with its 95 % interval, as far as they are known."""

    mean: float | None = None
    low: float | None = None
    high: float | None = None


class SeedRow(_Part):
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
    slots : dict from str to str
        The chosen rule.
    family : str
        Its form with letters for constants.
    verdict, nearest : str
        Of the comparison, about which known rule; empty where there was none.
    loss : Estimate
    loss_on : str
        Problems that the loss was measured on.
    complexity : float or None
    seconds : float or None
        Wall time of the stages, each as it was last run.
    measures : dict from str to Estimate
        The task's measures of the chosen rule on fresh problems.
    folds : dict from str to str
        By fold that the chosen rule went through why it did not pass, empty where it passed.
    """

    seed: Count
    outcome: str
    error: str = ""
    candidate: str = ""
    slots: dict[str, str] = {}
    family: str = ""
    verdict: str = ""
    nearest: str = ""
    loss: Estimate = Estimate()
    loss_on: str = ""
    complexity: float | None = None
    seconds: float | None = None
    measures: dict[str, Estimate] = {}
    folds: dict[str, str] = {}

    @property
    def not_passed(self) -> dict[str, str]:
        """Folds that the chosen rule did not pass, and why."""
        return {name: why for name, why in self.folds.items() if why}

    @property
    def n_passed(self) -> int:
        """How many folds it passed."""
        return len(self.folds) - len(self.not_passed)


class Share(_Part):
    """How many of all seeds ended in one way, and the 95 % interval of the share."""

    n: Count
    low: float
    high: float


class Family(_Part):
    """Chosen rules that differ in constants alone."""

    form: str
    seeds: list[Count]


class Study(_Part):
    """Content of ``study.json``.

    Attributes
    ----------
    name, task : str
        Of the pipeline.
    pipeline : dict
        Its settings, without seed and name.
    answer : str
        What the task has as an answer, see :meth:`discover.tasks.base.Task.answer_for`.
    law, law_title : str
        The known rule that was to be found; empty where there is not one.
    root : int or None
        What the seeds were drawn from; None where the user gave them.
    asked : list of int
        All seeds of the study; those without a row have not run to their end yet.
    stages : list of str
    rows : list of SeedRow
    outcomes : dict from str to Share
    families : list of Family
        The most frequent first.
    text : str
        The counts in words.
    """

    name: str
    task: str
    pipeline: dict[str, Any]
    answer: str
    law: str
    law_title: str
    root: int | None
    asked: list[Count]
    stages: list[str]
    rows: list[SeedRow]
    outcomes: dict[str, Share]
    families: list[Family]
    text: str

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
    intervals = {name: share_interval(n, len(found)) for name, n in counts.items()}
    return {name: Share(n=n, low=intervals[name][0], high=intervals[name][1]) for name, n in counts.items()}


def families_of(rows: Sequence[SeedRow]) -> list[Family]:
    """Group the chosen rules by their form, the most frequent first."""
    seeds: dict[str, list[int]] = {}
    for row in rows:
        if row.family:
            seeds.setdefault(row.family, []).append(row.seed)
    ordered = sorted(seeds.items(), key=lambda entry: (-len(entry[1]), len(entry[0]), entry[0]))
    return [Family(form=form, seeds=numbers) for form, numbers in ordered]


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
    try:
        data = read_plain(path, MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ArtefactError(f"{path} is longer than {MAX_BYTES:,} bytes and was not read.")
        content = parse_json(data)
    except OSError as error:
        raise ArtefactError(f"{path} cannot be read: {error.strerror or error}.") from None
    except ValueError as error:
        raise _damaged(path, f"it is not valid JSON ({error})") from None
    schema = content.get("schema") if isinstance(content, dict) else None
    kind, _, version = schema.rpartition("/") if isinstance(schema, str) else ("", "", "")
    if kind != "plasticity-discovery/study" or not (version.isdecimal() and len(version) < 10):
        raise _damaged(path, "it does not say that it is a study")
    if int(version) > VERSION:
        raise ArtefactError(
            f"{path} has version {version} of its form and this program reads up to version {VERSION}: "
            "it was written by a newer release. Upgrade plasticity-discovery to read it."
        )
    try:
        return Study.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(printable(str(part), 40) for part in first["loc"]) or "content"
        raise _damaged(path, f"{where}: {first['msg']}") from None


def _damaged(path: Path, fault: str) -> ArtefactError:
    return ArtefactError(
        f"{path} is truncated or was edited: {fault}. Remove it; `discover study` with the pipeline writes "
        "it anew from the runs of its seeds, which are kept."
    )
