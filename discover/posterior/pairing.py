"""The posterior of rules for pairing experiments, whose likelihood is known: nothing has to be learnt.

The change that a protocol makes is linear in the coefficients of a rule, and the errors of the measured means
are taken to be normal with the published standard errors. So for given time constants the posterior of the
coefficients is a normal distribution that can be written down, and so is the probability of the data. Time
constants are on a grid, evenly spaced in their logarithms, where their posterior is a sum.

References
----------
Bishop (2006), Pattern Recognition and Machine Learning, section 3.3; Sjöström, Turrigiano & Nelson (2001),
Neuron 32:1149, for the data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp, ndtr

from discover.errors import ConfigError
from discover.pairing.events import TRACE_NAMES
from discover.pairing.evidence import Split
from discover.pairing.fit import PairingSettings
from discover.pairing.grid import Bench, Form
from discover.pairing.known import KNOWN_FORMS
from discover.pairing.protocols import Protocol
from discover.pairing.terms import SLOT_OF, TAU_SLOTS, Term
from discover.posterior.forms import Band, Coverage, Exclusion, Placed, Posterior, Spent
from discover.posterior.prior import Family, Parameter
from discover.posterior.reading import (
    compensations_of,
    conditional_correlations,
    directions_of,
    marginals_of,
)
from discover.posterior.weighing import LEVELS, QUANTILES
from discover.progress import Progress, silent

__all__ = ["PAIR_TERMS", "TRIPLET_TERMS", "ExactPosterior", "family_of_protocols", "pairing_posterior"]

FloatArray = NDArray[np.float64]

PAIR = "stdp-additive"
PAIR_TERMS: tuple[Term, ...] = KNOWN_FORMS[PAIR].terms
TRIPLET_TERMS: tuple[Term, ...] = KNOWN_FORMS["stdp-triplet"].terms

WIDTH = 3.0
"""A coefficient of one standard deviation of its prior makes so many times the measured changes by itself."""

N_TIMES = 15
"""Values of each time constant on the grid."""

N_DRAWS = 4000
"""Changes that are drawn for a band of prediction."""


@dataclass(frozen=True, eq=False)
class ExactPosterior:
    """Coefficients and time constants given measured changes.

    Attributes
    ----------
    times : ndarray, shape (n_grid, n_times)
        Time constants of the traces that are read, ms.
    weights : ndarray, shape (n_grid,)
        Their posterior.
    means : ndarray, shape (n_grid, n_terms)
        Of the coefficients, at each of them.
    covariances : ndarray, shape (n_grid, n_terms, n_terms)
    evidence : float
        Log of the probability density of the data.
    """

    times: FloatArray
    weights: FloatArray
    means: FloatArray
    covariances: FloatArray
    evidence: float

    def draw(self, n: int, rng: np.random.Generator) -> tuple[FloatArray, NDArray[np.int64]]:
        """Draw coefficients (n, n_terms) and the places of their time constants on the grid (n,)."""
        places = rng.choice(len(self.weights), n, p=self.weights)
        roots = np.linalg.cholesky(self.covariances[places])
        noise = rng.normal(size=(n, self.means.shape[1]))
        return self.means[places] + np.einsum("nij,nj->ni", roots, noise), places

    def below_zero(self, term: int) -> float:
        """Return the probability that a coefficient is negative."""
        spread = np.sqrt(self.covariances[:, term, term])
        return float(self.weights @ ndtr(-self.means[:, term] / spread))

    def log_density(self, coefficients: FloatArray, places: NDArray[np.int64]) -> FloatArray:
        """Return the log density of coefficients (n, n_terms) at places of the grid (n,)."""
        off = coefficients - self.means[places]
        solved = np.linalg.solve(self.covariances[places], off[:, :, None])[:, :, 0]
        _, sizes = np.linalg.slogdet(self.covariances[places])
        with np.errstate(divide="ignore"):
            found: FloatArray = np.log(self.weights[places]) - 0.5 * (np.sum(off * solved, axis=1) + sizes)
        return found


@dataclass(frozen=True, eq=False)
class _Grid:
    terms: tuple[Term, ...]
    times: FloatArray  # (n_grid, n_times)
    names: tuple[str, ...]  # of the traces
    sums: FloatArray  # (n_grid, n_protocols, n_terms)
    bench: Bench
    spread: FloatArray  # (n_terms,), of the prior


def family_of_protocols(grid: _Grid, settings: PairingSettings) -> Family:
    """Return the coefficients and time constants of some terms as a family."""
    found = [
        Parameter(SLOT_OF[term.spike], term.text, -3 * float(spread), 3 * float(spread), "normal")
        for term, spread in zip(grid.terms, grid.spread, strict=True)
    ]
    for name in grid.names:
        low, high = settings.slow_ms if name.startswith("slow") else settings.fast_ms
        found.append(Parameter(TAU_SLOTS[name], "", float(low), float(high), "log"))
    return Family(tuple(found))


def pairing_posterior(
    parts: Split,
    settings: PairingSettings,
    terms: Sequence[Term],
    n_samples: int,
    seed: np.random.SeedSequence,
    progress: Progress = silent,
) -> tuple[Posterior, FloatArray]:
    """Return what pairing experiments leave open of a rule, and samples of it.

    Parameters
    ----------
    parts : Split
        Protocols that rules are fitted to, and those that are predicted only.
    settings : PairingSettings
    terms : sequence of Term
        Of the family; those of the pair rule are to be among them, if it is to be tested.
    n_samples : int
    seed : SeedSequence
    progress : callable, optional

    Returns
    -------
    posterior : Posterior
    values : ndarray, shape (n_samples, n_parameters)

    Raises
    ------
    ConfigError
        If a term sees the weight, or there are more than six.
    """
    chosen = tuple(dict.fromkeys(terms))
    if any(term.sees_weight for term in chosen) or not 1 <= len(chosen) <= 6:
        raise ConfigError(
            "The posterior of a rule for pairing experiments is of one to six terms that do not see the "
            "weight; got "
            f"{', '.join(map(str, chosen)) or 'none'}. Name others with --terms 'post: x_pre*slow_post, "
            "pre: x_post'."
        )
    grid = _grid(parts.fitted, settings, chosen)
    family = family_of_protocols(grid, settings)
    changes, errors = grid.bench.changes, grid.bench.errors
    whole = _posterior(grid, changes, errors, np.ones(len(changes), dtype=bool))
    rng = np.random.default_rng(seed)
    coefficients, places = whole.draw(n_samples, rng)
    values = np.concatenate([coefficients, grid.times[places]], axis=1)
    progress(0.3, "protocols left out one by one")
    bands = _left_out(grid, rng) + _held_out(grid, whole, parts.predicted, settings, rng)
    left = np.array([band.level for band in bands if not band.is_held_out])
    points, even = family.standard(values), np.full(n_samples, 1.0 / n_samples)
    points = np.clip(points, -6, 6)
    correlations = conditional_correlations(points, even)
    progress(0.8, "known rules")
    return (
        Posterior(
            task="pairing",
            method="exact",
            family=family,
            condition="the measured changes, with normal errors of the published size",
            tolerances={},
            n_problems=len(changes),
            n_samples=n_samples,
            effective_samples=float(n_samples),
            spent=Spent(0, 0, 0, float("nan"), float("nan")),
            marginals=marginals_of(family, values, even),
            directions=directions_of(family, points, even),
            correlations=correlations,
            compensations=compensations_of(family, correlations),
            placed=_placed(grid, whole, family, coefficients, places),
            bands=bands,
            band_coverage=tuple(
                Coverage(level, float(np.mean(left <= level)), len(left)) for level in LEVELS
            ),
            exclusions=_exclusions(grid, whole, family),
            notes=(f"Time constants are on a grid of {N_TIMES} values each, within the ranges of the run.",),
        ),
        values,
    )


def _grid(protocols: Sequence[Protocol], settings: PairingSettings, terms: tuple[Term, ...]) -> _Grid:
    fast, slow = (_middles(*ends) for ends in (settings.fast_ms, settings.slow_ms))
    form = Form(terms)
    taus = [slow if name.startswith("slow") else fast for name in TRACE_NAMES]
    bench = Bench(
        protocols,
        [values if name in form.uses else values[:1] for name, values in zip(TRACE_NAMES, taus, strict=True)],
        settings.tie,
    )
    table = bench.table(form, inner=(1.0,))
    columns = [place for place, name in enumerate(TRACE_NAMES) if name in form.uses]
    times = np.array([[bench.taus[place][point[0][place]] for place in columns] for point in table.points])
    size = float(np.sqrt(np.mean(bench.changes**2)))
    middle = table.sums[len(table.points) // 2]
    effect = np.sqrt(np.mean(middle**2, axis=0))
    return _Grid(terms, times, form.uses, table.sums, bench, WIDTH * size / np.maximum(effect, 1e-12))


def _middles(shortest: float, longest: float) -> list[float]:
    """Return the middles of cells that are evenly spaced in their logarithms."""
    edges = np.geomspace(shortest, longest, N_TIMES + 1)
    return np.sqrt(edges[1:] * edges[:-1]).tolist() if longest > shortest else [float(shortest)]


def _posterior(
    grid: _Grid, changes: FloatArray, errors: FloatArray, kept: NDArray[np.bool_]
) -> ExactPosterior:
    """Return the posterior given some of the protocols."""
    rows = grid.sums[:, kept] / errors[kept, None]
    data = changes[kept] / errors[kept]
    precision = np.einsum("gpi,gpj->gij", rows, rows) + np.diag(grid.spread**-2.0)
    covariances = np.linalg.inv(precision)
    means = np.einsum("gij,gpj,p->gi", covariances, rows, data)
    residual = np.sum((data - np.einsum("gpi,gi->gp", rows, means)) ** 2, axis=1)
    penalty = np.sum((means / grid.spread) ** 2, axis=1)
    _, sizes = np.linalg.slogdet(precision)
    logs = -0.5 * (residual + penalty + sizes) - np.sum(np.log(grid.spread)) - np.sum(np.log(errors[kept]))
    total = float(logsumexp(logs))
    return ExactPosterior(
        grid.times, np.exp(logs - total), means, covariances, total - float(np.log(len(logs)))
    )


def _left_out(grid: _Grid, rng: np.random.Generator) -> tuple[Band, ...]:
    """Predict each protocol from all others."""
    changes, errors = grid.bench.changes, grid.bench.errors
    bands = []
    for number, protocol in enumerate(grid.bench.protocols):
        kept = np.arange(len(changes)) != number
        without = _posterior(grid, changes, errors, kept)
        bands.append(_band(without, grid.sums[:, number], protocol, rng, False))
    return tuple(bands)


def _held_out(
    grid: _Grid,
    whole: ExactPosterior,
    protocols: Sequence[Protocol],
    settings: PairingSettings,
    rng: np.random.Generator,
) -> tuple[Band, ...]:
    """Predict protocols of groups that no rule is fitted to."""
    if not protocols:
        return ()
    table = Bench(protocols, grid.bench.taus, settings.tie).table(Form(grid.terms), inner=(1.0,))
    return tuple(
        _band(whole, table.sums[:, number], protocol, rng, True) for number, protocol in enumerate(protocols)
    )


def _band(
    posterior: ExactPosterior,
    rows: FloatArray,
    protocol: Protocol,
    rng: np.random.Generator,
    is_held_out: bool,
) -> Band:
    coefficients, places = posterior.draw(N_DRAWS, rng)
    drawn = np.sum(rows[places] * coefficients, axis=1) + protocol.error * rng.normal(size=N_DRAWS)
    below = float(np.mean(drawn < protocol.change))
    return Band(
        protocol.name,
        protocol.change,
        protocol.error,
        np.quantile(drawn, QUANTILES),
        abs(2 * below - 1),
        is_held_out,
    )


def _exclusions(grid: _Grid, whole: ExactPosterior, family: Family) -> tuple[Exclusion, ...]:
    """Say how sure it is that the pair rule lacks something."""
    if not set(PAIR_TERMS) < set(grid.terms):
        return ()
    pair = [place for place, term in enumerate(grid.terms) if term in PAIR_TERMS]
    alone = _Grid(
        tuple(grid.terms[place] for place in pair), grid.times, grid.names, grid.sums[:, :, pair], grid.bench,
        grid.spread[pair],
    )  # fmt: skip
    every = np.ones(len(grid.bench.changes), dtype=bool)
    without = _posterior(alone, grid.bench.changes, grid.bench.errors, every)
    odds = float(np.exp(min(whole.evidence - without.evidence, 700.0)))
    found = []
    for place in range(len(grid.terms)):
        if place not in pair:
            below = whole.below_zero(place)
            found.append(Exclusion(PAIR, family.names[place], 1.0 - 2.0 * min(below, 1.0 - below), odds))
    return tuple(found)


def _placed(
    grid: _Grid, whole: ExactPosterior, family: Family, coefficients: FloatArray, places: NDArray[np.int64]
) -> tuple[Placed, ...]:
    """Return where known rules, fitted to the same data, lie among the samples."""
    of_samples = whole.log_density(coefficients, places)
    found = []
    for name, form in KNOWN_FORMS.items():
        ranked = grid.bench.judged(form)
        if ranked is None:
            continue
        if not set(form.terms) <= set(grid.terms):
            found.append(Placed(name, ranked.rule, 1.0, float("nan"), "it is not of the family"))
            continue
        values = np.zeros(len(grid.terms))
        for term, value in zip(ranked.terms, ranked.coefficients.tolist(), strict=True):
            values[grid.terms.index(term)] = value
        # Traces that the rule does not read may have any time constant: the best one counts.
        fixed = {name: tau for name, tau in ranked.traces.items() if name in form.uses and name in grid.names}
        allowed = np.all(
            [np.isclose(grid.times[:, grid.names.index(name)], tau) for name, tau in fixed.items()], axis=0
        )
        spots = np.flatnonzero(np.broadcast_to(allowed, (len(grid.times),)))
        densities = whole.log_density(np.broadcast_to(values, (len(spots), len(values))), spots)
        found.append(Placed(name, ranked.rule, 1.0, float(np.mean(of_samples < densities.max()))))
    return tuple(found)
