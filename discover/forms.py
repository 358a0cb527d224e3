"""Forms of ``validation.json``, ``comparison.json`` and ``manifest.json``, each of which stands here alone.

The stages make these objects and write them, and the report and the command line read them. What is None is
not written: some runs do not have it, because the data came from outside or the run is of an earlier release.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath, PureWindowsPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SerializerFunctionWrapHandler, model_serializer

from discover.intervals import Metric
from discover.shown import Shown
from discover.stored import Artefact, Count, RuleOrNone, Stored, left_out, unless_empty

__all__ = [
    "Baseline",
    "Compared",
    "Comparison",
    "Contest",
    "Distances",
    "Evidence",
    "FoldResult",
    "FoldVerdict",
    "ManifestFile",
    "MeasuredRule",
    "StageRecord",
    "Standing",
    "Validated",
    "Validation",
]

FoldVerdict = Literal["passed", "failed", "undecided"]
Metrics = Mapping[str, Metric]
Terms = Mapping[str, float]

# -------------------------------------------------------------------------------------------- validation.json


@dataclass(frozen=True, kw_only=True)
class FoldResult(Stored):
    """What a rule did in one fold, that is under one condition that it was not fitted on.

    Attributes
    ----------
    name, title : str
    metrics : mapping from str to Metric
        The task's measures; ``loss_difference``: the loss minus the reference rule's, problem by problem; and
        ``loss_at_rate_of_fit``: the mean loss of the rule as it is, on the first of the problems.
    passed : bool
        Whether the rule passed; a fold that is undecided is not passed.
    verdict : {"passed", "failed", "undecided"} or None
        None where folds cannot be undecided.
    reason : str
        Why it did not pass; empty when it did.
    n_problems : int or None
    speeds : mapping from str to float, or None
        Synapses -> multiple of the rule's update at which it was tried.
    kept : bool or None
        Whether a recording was kept out of the search; None where folds are no recordings.
    """

    name: str
    title: str = ""
    metrics: Metrics
    passed: bool
    verdict: Annotated[FoldVerdict | None, left_out] = None
    reason: str = ""
    n_problems: Annotated[Count | None, left_out] = None
    speeds: Annotated[Terms | None, left_out] = None
    kept: Annotated[bool | None, left_out] = None

    @model_serializer(mode="wrap")
    def _in_order(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Where rules have speeds, whether one passed has always been written last."""
        table: dict[str, Any] = plain(self)
        if self.speeds is not None:
            table["passed"] = table.pop("passed")
        return table

    @property
    def outcome(self) -> FoldVerdict:
        """The verdict; of runs before folds could be undecided, whether it was passed."""
        return self.verdict or ("passed" if self.passed else "failed")


@dataclass(frozen=True, kw_only=True, repr=False)
class Validated(Shown, Stored):
    """The folds of one rule.

    Attributes
    ----------
    known : bool or None
        Whether it is a known rule.
    folds : tuple of FoldResult
    passed : bool
        Whether it passed all of them; of protocols all that are decided.
    """

    known: Annotated[bool | None, left_out] = None
    folds: tuple[FoldResult, ...]
    passed: bool

    @property
    def n_passed(self) -> int:
        """Number of folds that it passed."""
        return sum(fold.passed for fold in self.folds)

    def in_short(self) -> str:
        """Return how many folds were passed."""
        return f"passed {self.n_passed} of {len(self.folds)} folds"


@dataclass(frozen=True, kw_only=True, repr=False)
class Validation(Shown, Artefact):
    """``validation.json``: rules by fold by measure.

    Attributes
    ----------
    task : str
    reference : str or None
        Known rule that the others' losses are compared with, unless a fold's problems have another one.
    measures : mapping from str to str, or None
        What each measure is, in words.
    confidence : float or None
        Probability that an interval of a measure covers.
    margin : float or None
        How much the loss may be above the reference rule's in a fold that is passed.
    n_problems : int or None
        Of the fold with most problems.
    tolerances : mapping from str to mapping from str to tuple of float, or None
        Fold -> measure -> lowest and highest mean that passes.
    candidates : mapping from str to Validated
        Candidates by their names, then known rules by theirs.
    """

    kind = "validation"
    task: str = ""
    reference: Annotated[str | None, left_out] = None
    measures: Annotated[Mapping[str, str] | None, left_out] = None
    confidence: Annotated[float | None, left_out] = None
    margin: Annotated[float | None, left_out] = None
    n_problems: Annotated[Count | None, left_out] = None
    tolerances: Annotated[Mapping[str, Mapping[str, tuple[float, float]]] | None, left_out] = None
    candidates: Mapping[str, Validated]

    def in_short(self) -> str:
        """Return how many rules passed all folds."""
        rules = self.candidates.values()
        return f"{sum(one.passed for one in rules)} of {len(rules)} rules passed all folds"


# -------------------------------------------------------------------------------------------- comparison.json


@dataclass(frozen=True)
class Distances(Stored):
    """How far a rule is from a known one.

    Attributes
    ----------
    coefficient : float or None
        Angle in degrees between the vectors of expanded coefficients, in the slot where it is largest; None
        unless both are polynomials.
    functional : float or None
        ``1 - cos**2`` of the angle between the updates on the same states, 1 when they point apart, in the
        slot where it is largest; None where fewer than half of the states give finite updates.
    behavioural : float or None
        Mean absolute difference of the losses along the inner loop, the candidate at the known rule's scales;
        None where data from outside were no task that rules could run in.
    """

    coefficient: float | None = None
    functional: float | None = None
    behavioural: float | None = None


@dataclass(frozen=True, kw_only=True)
class Evidence(Stored):
    """The numbers behind the verdict about one known rule.

    Attributes
    ----------
    verdict : str
    scales : mapping from str to float, or None
        Slot -> factor on the known rule that fits the candidate best: slots have learning rates of their
        own. Slots in which no factor is defined are missing.
    flipped : bool or None
        Whether the known rule was taken with outputs and feed-forward weights of the other sign.
    ratios : mapping from str to float
        The candidate's terms relative to the known rule's first one at the same synapses, as
        ``w*y**2 : x*y``, and its constants of the synapse relative to the known rule's.
    extra_terms, missing_terms : mapping from str to float
        Terms with their coefficients, in the candidate and in the known rule.
    idle_terms, negligible_terms : mapping from str to float, or None
        Terms of the candidate that were left out.
    """

    verdict: str = ""
    scales: Annotated[Terms | None, left_out] = None
    flipped: Annotated[bool | None, left_out] = None
    ratios: Terms = field(default_factory=dict)
    extra_terms: Terms = field(default_factory=dict)
    missing_terms: Terms = field(default_factory=dict)
    idle_terms: Annotated[Terms | None, left_out] = None
    negligible_terms: Annotated[Terms | None, left_out] = None


@dataclass(frozen=True, repr=False)
class Compared(Shown, Stored):
    """A candidate compared with all known rules of a task.

    Attributes
    ----------
    nearest : str or None
        The known rule that `verdict` is about.
    verdict : str
    distances : mapping from str to Distances
    evidence : mapping from str to Evidence
        By known rule, as `distances`.
    """

    nearest: str | None
    verdict: str
    distances: Mapping[str, Distances]
    evidence: Mapping[str, Evidence] = field(default_factory=dict)

    @property
    def is_opposite(self) -> bool:
        """Whether the rule is the nearest known one with the opposite sign, up to scale.

        Coefficients whose ratios differ by a tenth are up to three degrees apart.
        """
        if self.nearest is None or self.verdict != "same terms" or self.nearest not in self.distances:
            return False
        angle = self.distances[self.nearest].coefficient
        return angle is not None and angle >= 177

    @property
    def in_words(self) -> str:
        """The verdict, which says so where the rule has the opposite sign of the nearest known one."""
        return f"{self.verdict} with the opposite sign" if self.is_opposite else self.verdict

    def in_short(self) -> str:
        """Return the verdict and the known rule that it is about."""
        return self.in_words if self.nearest is None else f"{self.in_words}, nearest {self.nearest}"


@dataclass(frozen=True)
class MeasuredRule(Stored):
    """A rule with its measures: the chosen one, one without a part of it, the baseline or a polynomial.

    Attributes
    ----------
    name : str
        What it is, such as ``best polynomial``, ``feedforward alone`` or ``without w*y**2``.
    rule : Rule or None
        None where changes are predicted without one.
    metrics : mapping from str to Metric
        The task's measures, means over problems with 95 % intervals.
    """

    name: str
    rule: Annotated[RuleOrNone, Field(alias="slots")]
    metrics: Metrics


@dataclass(frozen=True, kw_only=True)
class Standing(Stored):
    """One measure of a known rule compared with the found one's.

    Attributes
    ----------
    known, found : Metric
        Means with 95 % intervals.
    difference : Metric
        The found rule's minus the known one's, problem by problem; of a measure with a plausible range, of
        the distances from that. The intervals of all differences in a contest cover together with a
        probability of 95 % (Bonferroni).
    margin : float
        The largest difference that does not matter.
    verdict : {"better", "worse", "equivalent", "undecided"}
        What the difference says of the found rule, see :func:`discover.intervals.verdict`. Runs before there
        were margins have ``equal`` where no difference was shown, and neither `found` nor `margin`.
    """

    known: Metric
    found: Annotated[Metric | None, left_out] = None
    difference: Metric
    margin: Annotated[float | None, left_out] = None
    verdict: Literal["better", "worse", "equivalent", "undecided", "equal"]


@dataclass(frozen=True, kw_only=True)
class Contest(Stored):
    """The found rule compared with one known rule, measure by measure.

    Attributes
    ----------
    name : str
        The known rule.
    also : tuple of str
        Further names under which the task knows the same update.
    speed : float
        Multiple of the task's learning rate at which the published form suits the task best; of the first
        kind of synapses where there are several.
    speeds, found_speeds : mapping from str to float
        Synapses -> multiple, of the known rule and of the found one.
    refitted : Rule or None
        The known rule with the constants that suit the task best. None for a rule with a network of its own,
        of which the learning rate alone is fitted.
    measures : mapping from str to Standing
        Those that both have; the known rule with its constants fitted.
    as_published : mapping from str to Standing
        The same with the published constants, at the best multiples.
    """

    name: str
    also: tuple[str, ...] = ()
    speed: float
    speeds: Terms = field(default_factory=dict)
    found_speeds: Terms = field(default_factory=dict)
    refitted: RuleOrNone = None
    measures: Mapping[str, Standing]
    as_published: Mapping[str, Standing] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Baseline(Stored):
    """The found rules compared with a rule that knows nothing of the inputs.

    Attributes
    ----------
    rows : tuple of MeasuredRule
        The baseline, the best polynomial of the coefficient fit, and the chosen rule.
    on : str
        What they were measured on, where it is not fresh problems.
    differences : mapping from str to Metric, or None
        Candidate -> its loss minus the baseline's, problem by problem. The intervals cover all together with
        a probability of 95 % (Bonferroni).
    beaten_by : tuple of str
        Candidates whose whole interval lies below zero by more than the margin of a contest.
    text : str
        What that means, in a sentence.
    """

    rows: tuple[MeasuredRule, ...] = ()
    on: Annotated[str, unless_empty] = ""
    differences: Annotated[Metrics | None, left_out] = None
    beaten_by: tuple[str, ...] = ()
    text: str = ""


@dataclass(frozen=True, kw_only=True, repr=False)
class Comparison(Shown, Artefact):
    """``comparison.json``: candidates by known rule; what parts the chosen one has, and what it is better at.

    Attributes
    ----------
    task : str
    behavioural : str
        Why behaviour was not compared; empty where it was.
    ratio_tolerance : float or None
        Largest spread of the terms' factors, relative, that counts as one common scale.
    alike : float or None
        Largest mean absolute difference of the losses along the inner loop that counts as behaving alike.
    candidates : mapping from str to Compared
    ablations : tuple of MeasuredRule
        The complete rule first.
    contests : tuple of Contest
        The chosen rule compared with each known rule.
    baseline : Baseline or None
    """

    kind = "comparison"
    task: str = ""
    behavioural: Annotated[str, unless_empty] = ""
    ratio_tolerance: Annotated[float | None, left_out] = None
    alike: Annotated[float | None, left_out] = None
    candidates: Mapping[str, Compared]
    ablations: Annotated[tuple[MeasuredRule, ...], unless_empty] = ()
    contests: Annotated[tuple[Contest, ...], unless_empty] = ()
    baseline: Annotated[Baseline | None, left_out] = None

    def in_short(self) -> str:
        """Return what each candidate is beside the known rules."""
        return ", ".join(f"{name} {one.verdict} ({one.nearest})" for name, one in self.candidates.items())


# ---------------------------------------------------------------------------------------------- manifest.json


def _inside(name: str) -> str:
    """Refuse the name of a file that could lie outside of the run's folder."""
    if "\0" in name or PureWindowsPath(name).anchor or ".." in PureWindowsPath(name).parts:
        raise ValueError("a file outside of the run's folder is named")
    return PurePosixPath(name).as_posix()


Checksums = Mapping[Annotated[str, AfterValidator(_inside)], str]


@dataclass(frozen=True, kw_only=True)
class StageRecord(Stored):
    """What one finished stage was made from and what it made.

    Attributes
    ----------
    settings, code : str
        Checksums of the settings and of the source files that the stage depends on.
    inputs, outputs : mapping from str to str
        Name of a file in the run's folder -> its checksum.
    seconds : float
        Wall time.
    threads : int
        Number of threads that the kernels used.
    engine : tuple of str
        Engines that ran; empty for all stages but the search.
    finished : str
        When, in UTC, as ``2020-06-12T15:30:00+00:00``; empty in records before there was this field.
    """

    settings: str
    code: str
    inputs: Checksums
    outputs: Checksums
    seconds: float
    threads: int = 1
    engine: tuple[str, ...] = ()
    finished: Annotated[str, unless_empty] = ""


@dataclass(frozen=True, kw_only=True)
class ManifestFile(Artefact):
    """``manifest.json``: what a run was made from.

    Attributes
    ----------
    config : mapping
        The whole configuration.
    seed : int
    versions : mapping from str to str
        Of Python and of packages.
    platform : mapping from str to str or int
    threads : int
        Of the stage that ran last.
    engine : tuple of str
        Engines of the search; before it ran, those that were asked for.
    code : str
        Checksum of this program.
    stages : mapping from str to StageRecord
        Those that have finished.
    """

    kind = "manifest"
    config: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    versions: Mapping[str, str] = field(default_factory=dict)
    platform: Mapping[str, Any] = field(default_factory=dict)
    threads: int = 1
    engine: tuple[str, ...] = ()
    code: str = ""
    stages: Mapping[str, StageRecord] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Wall time of all stages together."""
        return sum(stage.seconds for stage in self.stages.values())
