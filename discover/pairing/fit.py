"""Which terms explain measured changes: all subsets of a few terms, judged on protocols that were left out.

For given time constants a change is linear in the coefficients, so that the best coefficients of a set of
terms follow at once, with weights from the standard errors. Time constants are searched on a grid, in
logarithms. A set of terms is judged by protocols that were left out one by one, with time constants chosen
anew each time: so it pays for every constant that it fits, of either kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from functools import cached_property
from itertools import combinations, product

import numpy as np
from numpy.typing import NDArray

from discover.errors import ConfigError
from discover.pairing.protocols import Protocol
from discover.pairing.terms import TERMS, Term, Traces, design
from discover.progress import Progress, silent
from sims.pairing import Tie

__all__ = ["PairingFit", "PairingSettings", "Ranked", "fit_rules", "prediction"]

FloatArray = NDArray[np.float64]

SINGULAR = 1e-10
"""Ratio of the smallest to the largest eigenvalue at which terms are not told apart by the protocols."""


@dataclass(frozen=True)
class PairingSettings:
    """How rules are searched.

    Parameters
    ----------
    most_terms : int
        Largest number of terms of a rule.
    fast_ms, slow_ms : (float, float)
        Ranges of the time constants of fast and slow traces.
    n_values : int
        Time constants tried in each range, in equal ratios; 1 for those of :class:`Traces` as they are.
    tie : str
        Which of two spikes in one instant comes first.
    n_permutations : int
        Times that the changes are permuted among protocols to see what chance finds; 0 for not at all.
    """

    most_terms: int = 3
    fast_ms: tuple[float, float] = (5.0, 40.0)
    slow_ms: tuple[float, float] = (60.0, 300.0)
    n_values: int = 5
    tie: Tie = "pre first"
    n_permutations: int = 39

    def __post_init__(self) -> None:
        if self.most_terms < 1 or self.n_values < 1 or self.n_permutations < 0:
            raise ConfigError("A search has one term and one time constant at the least.")
        for low, high in (self.fast_ms, self.slow_ms):
            if not 0 < low < high:
                raise ConfigError(f"A range of time constants rises from above zero, got {low} to {high}.")

    @property
    def values(self) -> tuple[tuple[float, ...], ...]:
        """Time constants that are tried for each of the four traces."""
        if self.n_values == 1:
            return tuple((one,) for one in astuple(Traces()))
        fast, slow = (
            tuple(np.geomspace(*ends, self.n_values).tolist()) for ends in (self.fast_ms, self.slow_ms)
        )
        return fast, slow, fast, slow


@dataclass(frozen=True, eq=False)
class Ranked:
    """A set of terms, with what it explains.

    Attributes
    ----------
    terms : tuple of Term
    traces : Traces
        Time constants at which it fits best; those that no term reads mean nothing.
    coefficients : ndarray, shape (n_terms,)
    chi2 : float
        Sum of squared residuals over squared standard errors.
    predicted : ndarray, shape (n_protocols,)
        Of each protocol, by the rule fitted to all others.
    left_out_chi2, left_out_r2 : float
        The same sum for these predictions, and the share of the variance of changes that they explain.
    """

    terms: tuple[Term, ...]
    traces: Traces
    coefficients: FloatArray
    chi2: float
    predicted: FloatArray
    left_out_chi2: float
    left_out_r2: float

    @property
    def n_times(self) -> int:
        """Number of time constants that matter."""
        return int(np.any([term.uses for term in self.terms], axis=0).sum())

    @property
    def n_constants(self) -> int:
        """Constants that were fitted: coefficients and time constants."""
        return len(self.terms) + self.n_times

    def __str__(self) -> str:
        parts = []
        for spike in ("pre", "post"):
            chosen = [
                f"{value:+.3g}*{term.name}" if term.name != "1" else f"{value:+.3g}"
                for term, value in zip(self.terms, self.coefficients, strict=True)
                if term.spike == spike
            ]
            parts.append(f"on_{spike}: {' '.join(chosen) or '0'}")
        return "; ".join(parts)


@dataclass(frozen=True, eq=False)
class PairingFit:
    """Rules that were tried, best first, and the one that is chosen.

    Attributes
    ----------
    protocols : tuple of Protocol
    ranked : tuple of Ranked
        By the squared residuals of protocols that were left out.
    chosen : Ranked
        Of the rules with the fewest terms that are as good as the best, the best: as good is a mean
        difference of squared residuals of left-out protocols within its standard error.
    chance : float or None
        Share of permutations of the changes in which the best rule predicts what was left out at least as
        well; None where none were made.
    """

    protocols: tuple[Protocol, ...]
    ranked: tuple[Ranked, ...]
    chosen: Ranked
    chance: float | None

    @property
    def is_supported(self) -> bool:
        """Whether the data support a rule: it predicts better than the mean, and better than by chance."""
        return self.chosen.left_out_r2 > 0 and (self.chance is None or self.chance <= 0.05)

    def rank_of(self, terms: Sequence[Term]) -> int:
        """Return the place of a set of terms among those with as many, from 1.

        Raises
        ------
        ConfigError
            If it was not tried.
        """
        same = [set(one.terms) for one in self.ranked if len(one.terms) == len(terms)]
        if set(terms) not in same:
            raise ConfigError(f"{' and '.join(map(str, terms))}: this was not tried.")
        return 1 + same.index(set(terms))


def fit_rules(
    protocols: Sequence[Protocol],
    settings: PairingSettings | None = None,
    terms: Sequence[Term] = TERMS,
    seed: int = 0,
    progress: Progress = silent,
) -> PairingFit:
    """Try all sets of a few terms on measured changes.

    Parameters
    ----------
    protocols : sequence of Protocol
    settings : PairingSettings, optional
    terms : sequence of Term
    seed : int
        Of the permutations.
    progress : callable, optional

    Returns
    -------
    PairingFit

    Raises
    ------
    ConfigError
        If there are too few protocols for the largest set of terms.

    Examples
    --------
    >>> from discover.pairing import shipped_protocols
    >>> found = fit_rules(shipped_protocols(), PairingSettings(2, n_values=1, n_permutations=0))
    >>> print(found.chosen)
    on_pre: -0.00...*x_post; on_post: +0.0...*x_pre*slow_post
    """
    chosen = settings or PairingSettings()
    if len(protocols) < chosen.most_terms + 2:
        raise ConfigError(
            f"{len(protocols)} protocols are too few for rules of {chosen.most_terms} terms: each is left "
            "out once, and more have to be left than there are coefficients."
        )
    progress(0.0, "traces of all protocols")
    search = _Search(tuple(protocols), chosen, tuple(terms))
    changes = np.array([protocol.change for protocol in protocols])
    errors = np.array([protocol.error for protocol in protocols])
    ranked = search.ranked(changes, errors)
    best = ranked[0]
    rng, at_least_as_good = np.random.default_rng(seed), 0
    for number in range(chosen.n_permutations):
        progress((1 + number) / (1 + chosen.n_permutations), f"permutation {number + 1}")
        order = rng.permutation(len(changes))
        at_least_as_good += search.lowest(changes[order], errors[order]) <= best.left_out_chi2
    chance = (1 + at_least_as_good) / (1 + chosen.n_permutations) if chosen.n_permutations else None
    progress(1.0, "rules ranked")
    return PairingFit(tuple(protocols), ranked, _simplest(ranked, changes, errors), chance)


def prediction(rule: Ranked, protocols: Sequence[Protocol], tie: Tie = "pre first") -> FloatArray:
    """Return the changes that a rule predicts for protocols, of another laboratory for instance."""
    changes: FloatArray = design(protocols, rule.traces, rule.terms, tie) @ rule.coefficients
    return changes


def _simplest(ranked: Sequence[Ranked], changes: FloatArray, errors: FloatArray) -> Ranked:
    def squares(rule: Ranked) -> FloatArray:
        return ((changes - rule.predicted) / errors) ** 2

    best = ranked[0]
    within = []
    for rule in ranked:
        difference = squares(rule) - squares(best)
        error = difference.std(ddof=1) / np.sqrt(len(difference))
        if difference.mean() <= error:
            within.append(rule)
    return min(within, key=lambda rule: (len(rule.terms), rule.left_out_chi2))


class _Search:
    """What does not depend on the changes: sums of all terms over all protocols, at all time constants."""

    def __init__(
        self, protocols: tuple[Protocol, ...], settings: PairingSettings, terms: tuple[Term, ...]
    ) -> None:
        self.settings, self.terms = settings, terms
        self.grid = [Traces(*taus) for taus in product(*settings.values)]
        self.sums = np.array([design(protocols, taus, terms, settings.tie) for taus in self.grid])
        places = np.array(list(product(*(range(len(one)) for one in settings.values))))
        self.subsets: list[tuple[tuple[int, ...], NDArray[np.int64]]] = []
        for size in range(1, settings.most_terms + 1):
            for picks in combinations(range(len(terms)), size):
                uses = np.any([terms[pick].uses for pick in picks], axis=0)
                # Time constants that no term reads are not varied.
                rows = np.flatnonzero(np.all((places == 0) | uses, axis=1))
                self.subsets.append((picks, rows))

    def ranked(self, changes: FloatArray, errors: FloatArray) -> tuple[Ranked, ...]:
        """Return all sets of terms that the protocols tell apart, best first."""
        found = []
        power = float(np.sum((changes - changes.mean()) ** 2))
        for picks, rows in self.subsets:
            tried = _Tried(self.sums[rows][:, :, picks], changes, errors)
            if not tried.is_sound.any():
                continue
            predicted = tried.left_out
            place = tried.best
            found.append(
                Ranked(
                    terms=tuple(self.terms[pick] for pick in picks),
                    traces=self.grid[rows[place]],
                    coefficients=tried.coefficients[place],
                    chi2=float(tried.chi2[place]),
                    predicted=predicted,
                    left_out_chi2=float(np.sum(((changes - predicted) / errors) ** 2)),
                    left_out_r2=1.0 - float(np.sum((changes - predicted) ** 2)) / power if power else 0.0,
                )
            )
        return tuple(sorted(found, key=lambda one: (one.left_out_chi2, one.n_constants)))

    def lowest(self, changes: FloatArray, errors: FloatArray) -> float:
        """Return the lowest sum of squared residuals of left-out protocols."""
        lowest = float("inf")
        for picks, rows in self.subsets:
            tried = _Tried(self.sums[rows][:, :, picks], changes, errors)
            if tried.is_sound.any():
                lowest = min(lowest, float(np.sum(((changes - tried.left_out) / errors) ** 2)))
        return lowest


class _Tried:
    """One set of terms at all its time constants.

    Parameters
    ----------
    sums : ndarray, shape (n_grid, n_protocols, n_terms)
    changes, errors : ndarray, shape (n_protocols,)
    """

    def __init__(self, sums: FloatArray, changes: FloatArray, errors: FloatArray) -> None:
        self.errors = errors
        self.rows = sums / errors[:, None]
        self.targets = changes / errors
        self.products = np.einsum("gpi,gpj->gij", self.rows, self.rows)
        self.right = np.einsum("gpi,p->gi", self.rows, self.targets)
        values = np.linalg.eigvalsh(self.products)
        self.is_sound = values[:, 0] > SINGULAR * values[:, -1]

    @cached_property
    def coefficients(self) -> FloatArray:
        """Best coefficients at each point of the grid, shape (n_grid, n_terms)."""
        return _solved(self.products, self.right, self.is_sound)

    @cached_property
    def chi2(self) -> FloatArray:
        """What they leave, infinite where terms are not told apart."""
        return _left(self.rows, self.targets, self.coefficients, self.is_sound)

    @property
    def best(self) -> int:
        """Point of the grid with the lowest sum."""
        return int(np.argmin(self.chi2))

    @cached_property
    def left_out(self) -> FloatArray:
        """Change of each protocol as the others predict it, with time constants that suit these."""
        predicted = np.empty(len(self.targets))
        for out in range(len(self.targets)):
            row, others = self.rows[:, out], np.arange(len(self.targets)) != out
            products = self.products - row[:, :, None] * row[:, None, :]
            right = self.right - row * self.targets[out]
            values = np.linalg.eigvalsh(products)
            sound = values[:, 0] > SINGULAR * values[:, -1]
            if not sound.any():
                predicted[out] = 0.0
                continue
            coefficients = _solved(products, right, sound)
            place = np.argmin(_left(self.rows[:, others], self.targets[others], coefficients, sound))
            predicted[out] = float(row[place] @ coefficients[place]) * self.errors[out]
        return predicted


def _solved(products: FloatArray, right: FloatArray, sound: NDArray[np.bool_]) -> FloatArray:
    coefficients = np.zeros_like(right)
    coefficients[sound] = np.linalg.solve(products[sound], right[sound][:, :, None])[:, :, 0]
    return coefficients


def _left(
    rows: FloatArray, targets: FloatArray, coefficients: FloatArray, sound: NDArray[np.bool_]
) -> FloatArray:
    residuals = np.einsum("gpi,gi->gp", rows, coefficients) - targets
    sums: FloatArray = np.where(sound, np.sum(residuals**2, axis=1), np.inf)
    return sums
