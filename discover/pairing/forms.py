"""What runs on pairing experiments write besides what all runs do: the parts called ``pairing``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field

from discover.fit.result import FitResult, PathPoint
from discover.forms import Comparison, Validation
from discover.pairing.evidence import HeldOut
from discover.pairing.grid import Form, Ranked
from discover.pareto import Candidate, ParetoFront, Supported
from discover.stored import Count, Floats, FloatTable, RuleOrNone, Stored, written_as

__all__ = [
    "Curves",
    "Decisions",
    "Draw",
    "Explained",
    "Further",
    "KnownFit",
    "LeftOutParts",
    "PairingCandidate",
    "PairingComparison",
    "PairingFront",
    "PairingPath",
    "PairingPoint",
    "PairingValidation",
    "Predictions",
    "RankedRule",
    "Sets",
    "Size",
    "Total",
    "Tried",
]


@dataclass(frozen=True, kw_only=True, eq=False)
class Explained(Stored):
    """What a rule explains.

    Attributes
    ----------
    text : str
        The rule.
    chi2, left_out_chi2, left_out_r2 : float
        See :class:`discover.pairing.grid.Ranked`.
    n_constants : int
        Constants that were fitted.
    size : int
        Terms, and what is more than a product in them.
    traces : mapping from str to float
        Time constants in ms of the traces that it reads.
    """

    text: str
    chi2: float
    left_out_chi2: float
    left_out_r2: float
    n_constants: Count
    size: Count = 0
    traces: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, one: Ranked, **more: Any) -> Self:
        """Return what a fitted form explains; `more` are the further fields of a class."""
        return cls(
            text=str(one),
            chi2=one.chi2,
            left_out_chi2=one.left_out_chi2,
            left_out_r2=one.left_out_r2,
            n_constants=one.n_constants,
            size=one.form.size,
            traces={name: tau for name, tau in one.traces.items() if name in one.form.uses},
            **more,
        )


# -------------------------------------------------------------------------------------------------- path.json


@dataclass(frozen=True, kw_only=True)
class _Place(Stored):
    rank: int
    n_terms: Count


@dataclass(frozen=True, kw_only=True, eq=False)
class RankedRule(Explained, _Place):
    """One of the sets of terms that were tried, with its rank among all."""


@dataclass(frozen=True)
class Size(Stored):
    """How many sets of so many terms there are, and how many of them these protocols tell apart."""

    n_terms: Count
    n_sets: Count
    n_told_apart: Count


@dataclass(frozen=True)
class Draw(Stored):
    """A set of terms, and in how many draws of the protocols it is the best."""

    terms: tuple[str, ...]
    n: Count


@dataclass(frozen=True, kw_only=True)
class Sets(Stored):
    """All sets of terms, and whether the data support a rule.

    Attributes
    ----------
    n_terms : int
        Terms there are to choose from.
    sizes : tuple of Size
    ranked : tuple of RankedRule
        The best of all, and all of two terms.
    n_permutations, n_by_chance : int
        How often the changes were permuted, and how often one set then predicted as well.
    chance : float or None
        See :class:`discover.pairing.fit.PairingFit`.
    n_draws : int
    draws : tuple of Draw
    supported : bool
    text : str
        The verdict, in words.
    """

    n_terms: Count
    sizes: tuple[Size, ...]
    ranked: tuple[RankedRule, ...]
    n_permutations: Count
    n_by_chance: Count
    chance: float | None
    n_draws: Count
    draws: tuple[Draw, ...]
    supported: bool
    text: str


@dataclass(frozen=True)
class PairingPoint(PathPoint):
    """A point of the path: one start, and no standard error of what is left out."""

    _written = written_as("penalty", "coefficients", "n_terms", "train_loss", "heldout_loss", "origin")


@dataclass(frozen=True, kw_only=True)
class PairingPath(FitResult):
    """``path.json``: the path, and all sets of a few terms."""

    points: tuple[PairingPoint, ...]
    pairing: Sets


# ------------------------------------------------------------------------------------------------- front.json


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictions(Explained):
    """What a candidate predicts.

    Attributes
    ----------
    fitted, predicted : ndarray, shape (n_protocols,)
        By the rule fitted to all protocols, and of each by the rule fitted to all others.
    same : tuple of str
        Rules with the same predictions.
    at_edge : tuple of str
        Traces whose time constants are the shortest or longest that were tried.
    """

    fitted: Floats
    predicted: Floats
    same: tuple[str, ...] = ()
    at_edge: tuple[str, ...] = ()


def _usable(form: Form) -> Form:
    if sum(len(term.inner) for term in form.terms) > 3 or any(bound <= 1 for bound in form.bounds):
        raise ValueError("a candidate has a form that is none")
    return form


@dataclass(frozen=True, kw_only=True, eq=False)
class PairingCandidate(Candidate):
    """A candidate with its form, constants still to be fitted, and its predictions."""

    form: Annotated[Form, AfterValidator(_usable)]
    pairing: Predictions


@dataclass(frozen=True)
class Tried(Stored):
    """How many rules were tried, and whether the data support the chosen one."""

    n_tried: Count
    verdict: Supported


@dataclass(frozen=True, kw_only=True, eq=False)
class PairingFront(ParetoFront):
    """``front.json``: candidates with what they predict."""

    candidates: tuple[PairingCandidate, ...]
    pairing: Tried

    _written = written_as("task", "engine", "candidates", "chosen", "selector", "reason", "pairing")


# -------------------------------------------------------------------------------------------- validation.json


@dataclass(frozen=True)
class Total(Stored):
    """Of all protocols, each left out in one way."""

    chi2: float
    r2: float | None


@dataclass(frozen=True)
class LeftOutParts(Stored):
    """All ways to leave protocols out.

    Attributes
    ----------
    totals : mapping from str to mapping from str to Total
        Rule -> way.
    held : mapping from str to HeldOut
        Rule -> predictions of protocols that no rule was fitted to.
    """

    totals: Mapping[str, Mapping[str, Total]]
    held: Mapping[str, HeldOut] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class PairingValidation(Validation):
    """``validation.json``: folds, and all ways to leave protocols out."""

    pairing: LeftOutParts


# -------------------------------------------------------------------------------------------- comparison.json


@dataclass(frozen=True, kw_only=True)
class _Named(Stored):
    name: str
    rule: Annotated[RuleOrNone, Field(alias="slots")]


@dataclass(frozen=True, kw_only=True, eq=False)
class KnownFit(Explained, _Named):
    """A known rule with all of its constants fitted; `rule` is None where traces do not say it."""

    fitted: Floats
    predicted: Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class Further(Stored):
    """A further protocol, and what the leading rules predict of it.

    Attributes
    ----------
    name : str
    frequency_hz, lag_ms : float or None
    n_spikes : int
    error : float
        The standard error that it would have.
    changes : ndarray, shape (n_leading,)
    distance : float
        Largest difference between two of these, in standard errors.
    pair : (int, int)
        These two.
    """

    name: str
    frequency_hz: float | None = None
    lag_ms: float | None = None
    n_spikes: Count
    error: float
    changes: Floats
    distance: float
    pair: tuple[Count, Count]


@dataclass(frozen=True, kw_only=True, eq=False)
class Curves(Stored):
    """What a rule says of bursts of five spikes.

    Attributes
    ----------
    window_hz, window_lags_ms : ndarray
    window : ndarray, shape (n_frequencies, n_lags)
    curve_hz, curve_lags_ms : ndarray
    curve : ndarray, shape (n_lags, n_frequencies)
    """

    window_hz: Floats
    window_lags_ms: Floats
    window: FloatTable
    curve_hz: Floats
    curve_lags_ms: Floats
    curve: FloatTable


@dataclass(frozen=True, kw_only=True, eq=False)
class Decisions(Stored):
    """Known rules, and what would tell the leading ones apart.

    Attributes
    ----------
    known : tuple of KnownFit
        The best one first.
    leading : tuple of str
        Names of the candidates that the data do not tell from the chosen one, which is the first.
    squares : ndarray, shape (n_leading, n_protocols)
        Their squared residuals over squared standard errors, each protocol left out.
    further : tuple of Further
    curves : mapping from str to Curves
        Of these and of the rule of pairs.
    """

    known: tuple[KnownFit, ...]
    leading: tuple[str, ...]
    squares: FloatTable
    further: tuple[Further, ...]
    curves: Mapping[str, Curves]


@dataclass(frozen=True, kw_only=True, eq=False)
class PairingComparison(Comparison):
    """``comparison.json``: candidates by known rule, and what would tell the leading ones apart."""

    pairing: Decisions
