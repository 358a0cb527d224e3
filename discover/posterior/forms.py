"""What ``posterior.json`` holds: which rules would do, how sure that is, and what it cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Gt, Le, Len
from numpy.typing import NDArray
from pydantic import AfterValidator

from discover.posterior.prior import Family
from discover.stored import Artefact, Count, Floats, FloatTable, NumberOrNaN, RuleText, Stored, left_out

__all__ = [
    "Band",
    "Calibration",
    "Compensation",
    "Coverage",
    "Direction",
    "Exclusion",
    "Marginal",
    "Placed",
    "Posterior",
    "Predictive",
    "Sampler",
    "Spent",
    "Surface",
]

Share = Annotated[float, Ge(0), Le(1)]


def _five(values: NDArray[np.float64]) -> NDArray[np.float64]:
    if len(values) != 5:
        raise ValueError("five quantiles are expected")
    return values


Quantiles = Annotated[Floats, AfterValidator(_five)]
"""Quantiles 0.05, 0.25, 0.5, 0.75 and 0.95."""


@dataclass(frozen=True)
class Spent(Stored):
    """What was simulated.

    Attributes
    ----------
    n_rules, n_runs : int
        Rules, and inner loops on one problem, of the table of simulations.
    n_accepted : int
        Rules that did all their problems.
    prior_share : float
        Share of these among rules drawn from the prior.
    restricted_share : float
        Share of these among rules drawn from the last restriction of the prior; NaN where there was none.
    n_checked_runs : int
        Inner loops that weighed the samples and tried them on fresh problems.
    """

    n_rules: Count
    n_runs: Count
    n_accepted: Count
    prior_share: NumberOrNaN
    restricted_share: NumberOrNaN
    n_checked_runs: Count = 0


@dataclass(frozen=True)
class Coverage(Stored):
    """How often the smallest regions that hold a share of the posterior held the rule in question.

    Attributes
    ----------
    nominal, found : float
    n : int
        Rules that it was counted on.
    """

    nominal: Share
    found: Share
    n: Annotated[int, Ge(0), Le(1_000_000_000)]


@dataclass(frozen=True)
class Calibration(Stored):
    """Checks of the neural posterior on rules that it was not trained on.

    Attributes
    ----------
    n_tests : int
    p_values : mapping from str to float
        Parameter -> p of the test that its ranks are uniform.
    lowest_p : float
        The lowest p times the number of parameters: below 0.05 the ranks are not uniform.
    c2st_ranks, c2st_prior : float
        Largest accuracy over parameters of a classifier that tells ranks from uniform ones, and rules from
        samples; 0.5 is chance.
    passed : bool
    coverage : tuple of Coverage
    largest_gap : float
        Largest difference between found and nominal coverage.
    """

    n_tests: Count
    p_values: Mapping[str, float]
    lowest_p: float
    c2st_ranks: float
    c2st_prior: float
    passed: bool
    coverage: tuple[Coverage, ...]
    largest_gap: float


@dataclass(frozen=True)
class Predictive(Stored):
    """How many samples of the posterior do the task on fresh problems.

    Attributes
    ----------
    n_samples, n_problems : int
        Samples, and fresh problems that each was run on.
    share : float
        Of all these runs in which the task was done, with the 95 % Wilson interval of a share of `n_samples`.
    low, high : float
    unweighed_share : float
        The same of samples as the network draws them, before they are weighed; NaN where not tried. For a
        screen, that of rules drawn from the prior.
    """

    n_samples: Count
    n_problems: Count
    share: Share
    low: Share
    high: Share
    unweighed_share: NumberOrNaN


@dataclass(frozen=True)
class Marginal(Stored):
    """A parameter: its range, and quantiles 0.05, 0.25, 0.5, 0.75 and 0.95 of the posterior.

    Attributes
    ----------
    name : str
    low, high : float
    quantiles : ndarray, shape (5,)
    width : float
        Width of the central half of the posterior over that of the prior, in the coordinate in which the
        prior is uniform: near one where the task leaves the parameter free.
    """

    name: str
    low: float
    high: float
    quantiles: Quantiles
    width: float


@dataclass(frozen=True)
class Direction(Stored):
    """A principal direction of the posterior, in coordinates in which the prior is standard normal.

    Attributes
    ----------
    spread : float
        Standard deviation along it; the prior's is one. Small for a stiff direction, one for a sloppy one.
    weights : mapping from str to float
        Its components, of unit length together.
    """

    spread: float
    weights: Annotated[Mapping[str, float], Len(1)]


@dataclass(frozen=True)
class Compensation(Stored):
    """Two parameters of which one makes up for the other, all others being equal.

    Attributes
    ----------
    first, second : str
    correlation : float
        Between them, at fixed values of all others.
    """

    first: str
    second: str
    correlation: Annotated[float, Ge(-1), Le(1)]


@dataclass(frozen=True)
class Placed(Stored):
    """Where a rule lies in the posterior.

    Attributes
    ----------
    name : str
    rule : Rule
        At the speed at which its density is highest.
    speed : float
        Factor of the rule as it was named.
    density_rank : float
        Share of the samples that have a lower density; NaN for a rule that is not of the family or outside of
        the prior.
    why : str
        Why there is no rank; empty where there is one.
    """

    name: str
    rule: RuleText
    speed: float
    density_rank: NumberOrNaN
    why: str = ""


@dataclass(frozen=True)
class Surface(Stored):
    """Samples of a balanced neuron's posterior, and the surface on which a mean field puts them.

    Attributes
    ----------
    n_samples : int
    target_hz : float
    predicted, corrected : ndarray, shape (5,)
        Quantiles 0.05, 0.25, 0.5, 0.75 and 0.95 over samples of the rate that the mean field predicts over
        the simulated one; and of that with the measured covariances of the spike trains.
    within : float
        Share of samples whose corrected rate is within 20 % of the simulated one.
    target_predicted, target_corrected : ndarray, shape (5,)
        The same quantiles of predicted and corrected rates over the target: the surface itself is at one.
    inside : bool
        Whether the surface with covariances lies between the outer quantiles.
    """

    n_samples: Count
    target_hz: float
    predicted: Quantiles
    corrected: Quantiles
    within: Share
    target_predicted: Quantiles
    target_corrected: Quantiles
    inside: bool


@dataclass(frozen=True)
class Sampler(Stored):
    """An independent sampler by exact gradients, compared with the weighed samples of the network.

    Attributes
    ----------
    temperature : float
        Both sample the prior times ``exp(-loss/temperature)``, of rules that are within the tolerances.
    n_steps, n_problems : int
    accepted : float
        Share of proposals that were taken.
    effective_chain, effective_network : float
        Effective numbers of samples.
    distances : mapping from str to float
        Parameter -> largest distance between the two cumulative distributions.
    """

    temperature: Annotated[float, Gt(0)]
    n_steps: Count
    n_problems: Count
    accepted: Share
    effective_chain: float
    effective_network: float
    distances: Annotated[Mapping[str, float], Len(1)]


@dataclass(frozen=True)
class Band(Stored):
    """What the posterior predicts for a protocol that it has not seen.

    Attributes
    ----------
    name : str
    measured, error : float
    quantiles : ndarray, shape (5,)
        0.05, 0.25, 0.5, 0.75 and 0.95 of the change that would be measured.
    level : float
        The smallest central band that holds what was measured.
    is_held_out : bool
        Whether it is of a group that no rule is fitted to, rather than left out by itself.
    """

    name: str
    measured: float
    error: float
    quantiles: Quantiles
    level: Share
    is_held_out: bool = False


@dataclass(frozen=True)
class Exclusion(Stored):
    """Whether rules without some term are excluded.

    Attributes
    ----------
    name : str
    without : str
        The parameter that is zero for them.
    level : float
        The largest central interval of the parameter that does not hold zero, as a probability.
    odds : float
        By how much the data make rules with it more probable than those without.
    """

    name: str
    without: str
    level: Share
    odds: NumberOrNaN


@dataclass(frozen=True)
class Posterior(Artefact):
    """``posterior.json``: rules that would do, with probabilities; samples are in ``samples.csv``.

    Attributes
    ----------
    task : str
    method : str
        ``neural``, ``exact`` where the likelihood is known, or ``screen`` where a table of a screen was read.
    family : Family
    condition : str
        What counts as doing the task, in words.
    tolerances : mapping from str to ndarray, shape (2,)
    n_problems : int
        Problems in a row that a sample had to do.
    n_samples : int
    effective_samples : float
    spent : Spent
    calibration : Calibration, optional
    predictive : Predictive, optional
    marginals : tuple of Marginal
    directions : tuple of Direction
        The stiffest first.
    correlations : ndarray, shape (n_parameters, n_parameters)
        Of two parameters at fixed values of all others.
    compensations : tuple of Compensation
        The strongest first.
    placed : tuple of Placed
        Known rules and the chosen one.
    surface : Surface, optional
    sampler : Sampler, optional
    bands : tuple of Band
    band_coverage : tuple of Coverage
    exclusions : tuple of Exclusion
    notes : tuple of str
        What a reader should know, such as that too few rules were found for a check.
    """

    kind = "posterior"
    task: str
    method: Literal["neural", "exact", "screen"]
    family: Family
    condition: str
    tolerances: Mapping[str, tuple[NumberOrNaN, NumberOrNaN]]
    n_problems: Count
    n_samples: Count
    effective_samples: float
    spent: Spent
    calibration: Annotated[Calibration | None, left_out] = None
    predictive: Annotated[Predictive | None, left_out] = None
    marginals: tuple[Marginal, ...] = ()
    directions: tuple[Direction, ...] = ()
    correlations: FloatTable = field(default_factory=lambda: np.zeros((0, 0)))
    compensations: tuple[Compensation, ...] = ()
    placed: tuple[Placed, ...] = ()
    surface: Annotated[Surface | None, left_out] = None
    sampler: Annotated[Sampler | None, left_out] = None
    bands: tuple[Band, ...] = ()
    band_coverage: tuple[Coverage, ...] = ()
    exclusions: tuple[Exclusion, ...] = ()
    notes: tuple[str, ...] = ()
