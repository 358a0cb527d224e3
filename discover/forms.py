"""Forms of the JSON artefacts: which fields each has, of which types, and what must fit together.

Whoever writes an artefact and whoever reads one uses these. Fields without which older runs were written have
a default.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from discover.seed_study import Study as StudyContent
from discover.stored import Count

__all__ = [
    "Ablation",
    "Artefact",
    "Baseline",
    "Compared",
    "Comparison",
    "Contest",
    "Distances",
    "Evidence",
    "Fold",
    "Manifold",
    "Metric",
    "Part",
    "Standing",
    "Study",
    "Validated",
    "Validation",
]


class Artefact(BaseModel):
    """What the JSON artefacts have in common: a kind, a version, and numbers that are finite."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False, frozen=True)
    kind: ClassVar[str]
    version: ClassVar[int] = 1


class Part(BaseModel):
    """A part of an artefact."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False, frozen=True)


class Metric(Part):
    """Mean of a measure with its confidence interval; None where a fold does not define it."""

    mean: float | None
    low: float | None
    high: float | None


class Fold(Part):
    """One held-out condition."""

    name: str
    metrics: dict[str, Metric]
    passed: bool
    title: str = ""
    reason: str = ""
    verdict: Literal["passed", "failed", "undecided"] | None = None
    n_problems: Count | None = None
    speeds: dict[str, float] = {}

    @property
    def outcome(self) -> str:
        """The verdict; of runs before folds could be undecided, whether it was passed."""
        return self.verdict or ("passed" if self.passed else "failed")


class Validated(Part):
    """A candidate's folds."""

    folds: list[Fold]
    passed: bool

    @property
    def n_passed(self) -> int:
        """Number of folds that it passed."""
        return sum(fold.passed for fold in self.folds)


class Validation(Artefact):
    """``validation.json``: candidate by fold by measure."""

    kind = "validation"
    candidates: dict[str, Validated]
    confidence: float | None = None
    margin: float | None = None


class Distances(Part):
    """Three distances to a known rule; None where one is not defined."""

    coefficient: float | None = None
    functional: float | None = None
    behavioural: float | None = None


class Evidence(Part):
    """The numbers behind the verdict about one known rule."""

    verdict: str = ""
    scales: dict[str, float] = {}
    ratios: dict[str, float] = {}
    extra_terms: dict[str, float] = {}
    missing_terms: dict[str, float] = {}


class Compared(Part):
    """A candidate beside the known rules."""

    nearest: str | None
    verdict: str
    distances: dict[str, Distances]
    evidence: dict[str, Evidence] = {}


class Ablation(Part):
    """A rule with its measures: the chosen one without a part, the baseline, or the best polynomial."""

    name: str
    slots: dict[str, str]
    metrics: dict[str, Metric]


class Standing(Part):
    """One measure of a known rule, and the chosen rule's minus it; "equal" is of runs before margins."""

    known: Metric
    found: Metric | None = None
    difference: Metric
    margin: float | None = None
    verdict: Literal["better", "worse", "equivalent", "undecided", "equal"]


class Contest(Part):
    """The chosen rule beside one known rule, measure by measure."""

    name: str
    also: list[str] = []
    speed: float
    speeds: dict[str, float] = {}
    found_speeds: dict[str, float] = {}
    refitted: dict[str, str] = {}
    measures: dict[str, Standing]
    as_published: dict[str, Standing] = {}


class Baseline(Part):
    """The found rules beside a rule that knows nothing of the inputs: in words, and a row for each rule."""

    rows: list[Ablation] = []
    differences: dict[str, Metric] = {}
    beaten_by: list[str] = []
    text: str = ""


class Comparison(Artefact):
    """``comparison.json``: candidate by known rule; ablations of the chosen one, and what it is better at."""

    kind = "comparison"
    candidates: dict[str, Compared]
    alike: float | None = None
    ablations: list[Ablation] = []
    contests: list[Contest] = []
    baseline: Baseline | None = None


class LinearParameters(Part):
    """Parameters of a rule of the published family, time constants in ms."""

    alpha: float
    beta: float
    gamma: float
    kappa: float
    tau_pre: float
    tau_post: float


class Solution(Part):
    """A rule of the published family, in simulation and in theory; None where there is no rate."""

    parameters: LinearParameters
    simulated_hz: float
    predicted_hz: float | None
    corrected_hz: float | None
    converged: bool


class Manifold(Artefact):
    """``manifold.json``: rules that many restarts found beside those that a mean field predicts."""

    kind = "manifold"
    task: str
    target_hz: float
    pre_hz: float
    tolerance: float
    searched: list[Solution]
    rate_only: list[Solution]
    surface: list[Solution]
    directions: list[dict[str, Any]]
    answers: dict[str, str]


class Study(StudyContent, Artefact):
    """``study.json``: what a pipeline found from each of many seeds."""

    kind = "study"
