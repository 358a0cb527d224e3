"""Which terms explain measured changes: all subsets of a few terms, judged on protocols that were left out.

A set of terms is judged by protocols that were left out one by one, with time constants chosen anew each
time: so it pays for every constant that it fits, of either kind.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import astuple, dataclass, field
from itertools import combinations
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Gt, Le

from discover.errors import ConfigError
from discover.pairing.events import FloatArray, Traces
from discover.pairing.grid import Bench, Form, Ranked, Table
from discover.pairing.protocols import Protocol
from discover.pairing.terms import TERMS, Term
from discover.progress import Progress, silent
from sims.pairing import Tie

__all__ = ["PairingFit", "PairingSettings", "fit_rules", "prediction", "simplest"]

BY_CHANCE = 0.05
"""Largest share of permuted data in which a rule may predict as well as in those that were measured."""

Positive = Annotated[float, Gt(0), Le(1e6)]


@dataclass(frozen=True)
class PairingSettings:
    """Which protocols there are, and how rules are searched.

    Parameters
    ----------
    table : str
        A table of protocols, see :func:`discover.pairing.read_protocols`; that which comes with the program
        when empty. A relative path starts from the working folder.
    spikes : str
        A table of their spikes, for other patterns than bursts.
    columns : mapping from str to str
        Column -> what it is called in the tables.
    error : float
        Standard error of the ratio of protocols that the table gives none for; 0 for none.
    hold_out : tuple of str
        Groups of protocols that rules are not fitted to, and that they then predict.
    tie : str
        Which of two spikes in one instant comes first.
    tied : str
        Whether rules are also fitted to protocols with such spikes, ``fit``, or only predict them in both
        orders, ``predict``.
    most_terms : int
        Largest number of terms of a rule.
    fast_ms, slow_ms : (float, float)
        Ranges of the time constants of fast and slow traces.
    n_values : int
        Time constants tried in each range, in equal ratios; 1 for those of :class:`Traces` as they are.
    n_permutations : int
        Times that the changes are permuted among protocols to see what chance finds; 0 for not at all.
    n_draws : int
        Times that the changes are drawn anew within their standard errors to see which terms stay.
    permuted : bool
        Whether the changes are permuted among the protocols before anything else, by the seed of the run: a
        null task, on which the program has to say that the data support no rule.
    sha256 : str
        Checksum of the table when the run was asked for.
    """

    table: str = ""
    spikes: str = ""
    columns: dict[str, str] = field(default_factory=dict)
    error: Annotated[float, Ge(0), Le(1000)] = 0.0
    hold_out: tuple[str, ...] = ()
    tie: Tie = "pre first"
    tied: Literal["predict", "fit"] = "predict"
    most_terms: Annotated[int, Ge(1), Le(4)] = 3
    fast_ms: tuple[Positive, Positive] = (10.0, 40.0)
    slow_ms: tuple[Positive, Positive] = (80.0, 320.0)
    n_values: Annotated[int, Ge(1), Le(9)] = 5
    n_permutations: Annotated[int, Ge(0), Le(10_000)] = 39
    n_draws: Annotated[int, Ge(0), Le(10_000)] = 100
    permuted: bool = False
    sha256: str = ""

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
        ends = (self.fast_ms, self.slow_ms)
        fast, slow = (
            tuple(float(f"{tau:.12g}") for tau in np.geomspace(*one, self.n_values)) for one in ends
        )
        return fast, slow, fast, slow


@dataclass(frozen=True, eq=False)
class PairingFit:
    """Rules that were tried, best first, and the one that is chosen.

    Attributes
    ----------
    protocols : tuple of Protocol
    ranked : tuple of Ranked
        By the squared residuals of protocols that were left out.
    chosen : Ranked
        The best of the simplest rules that are as good as the best of all, see :func:`simplest`.
    n_permutations : int
    n_by_chance : int
        Permutations of the changes in which the best rule predicts what was left out at least as well.
    n_draws : int
    forms_of_draws : tuple of (frozenset of Term, int)
        Forms that were chosen where the changes were drawn anew within their errors, the most frequent first.
    """

    protocols: tuple[Protocol, ...]
    ranked: tuple[Ranked, ...]
    chosen: Ranked
    n_permutations: int = 0
    n_by_chance: int = 0
    n_draws: int = 0
    forms_of_draws: tuple[tuple[frozenset[Term], int], ...] = ()

    @property
    def chance(self) -> float | None:
        """Share of permutations that do as well, counting the data themselves; None where none were made."""
        return (1 + self.n_by_chance) / (1 + self.n_permutations) if self.n_permutations else None

    @property
    def is_open(self) -> bool:
        """Whether there were too few permutations to show that anything is better than chance."""
        return self.chance is not None and 1 / (1 + self.n_permutations) > BY_CHANCE

    @property
    def is_supported(self) -> bool:
        """Whether the data support a rule: it predicts better than the mean, and better than by chance."""
        return self.chosen.left_out_r2 > 0 and (self.chance is None or self.chance <= BY_CHANCE)

    @property
    def shares(self) -> dict[Term, float]:
        """Share of the draws in which the chosen rule has a term."""
        counts: Counter[Term] = Counter()
        for form, n in self.forms_of_draws:
            counts.update(dict.fromkeys(sorted(form, key=str), n))
        return {term: n / self.n_draws for term, n in counts.items()}

    def rank_of(self, terms: Sequence[Term]) -> int:
        """Return the place of a set of terms among those with as many, from 1.

        Raises
        ------
        ConfigError
            If it was not tried.
        """
        same = [one.form.key for one in self.ranked if len(one.terms) == len(terms)]
        if set(terms) not in same:
            raise ConfigError(f"{' and '.join(map(str, terms))}: this was not tried.")
        return 1 + same.index(frozenset(terms))


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
        All of them are fitted; see :func:`discover.pairing.split`.
    settings : PairingSettings, optional
    terms : sequence of Term
    seed : int
        Of the permutations and draws.
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
    >>> settings = PairingSettings(most_terms=2, n_values=1, n_permutations=0, n_draws=0)
    >>> print(fit_rules(shipped_protocols(), settings).chosen)
    pre_spike: -0.00...*x_post; post_spike: +0.0...*x_pre*slow_post
    """
    chosen = settings or PairingSettings()
    if len(protocols) < chosen.most_terms + 2:
        raise ConfigError(
            f"{len(protocols)} protocols are too few for rules of {chosen.most_terms} terms: each is left "
            "out once, and more have to be left than there are coefficients."
        )
    progress(0.0, "traces of all protocols")
    bench = Bench(protocols, chosen.values, chosen.tie)
    forms = [Form(picks) for size in range(1, chosen.most_terms + 1) for picks in combinations(terms, size)]
    tables = [bench.table(form) for form in forms]
    changes, errors = bench.changes, bench.errors
    ranked = _ranked(bench, tables, changes, errors)
    if not ranked:
        raise ConfigError("The protocols are too alike: they tell no two terms of a rule apart.")
    permute, draw = (np.random.default_rng(one) for one in np.random.SeedSequence(seed).spawn(2))
    n_all, n_by_chance = chosen.n_permutations + chosen.n_draws, 0
    for number in range(chosen.n_permutations):
        progress((1 + number) / (1 + n_all), f"permutation {number + 1} of {chosen.n_permutations}")
        order = permute.permutation(len(changes))
        lowest = _ranked(bench, tables, changes[order], errors[order])[0]
        n_by_chance += lowest.left_out_chi2 <= ranked[0].left_out_chi2
    counts: Counter[frozenset[Term]] = Counter()
    for number in range(chosen.n_draws):
        progress((1 + chosen.n_permutations + number) / (1 + n_all), f"draw {number + 1} of {chosen.n_draws}")
        drawn = changes + errors * draw.standard_normal(len(changes))
        counts[simplest(_ranked(bench, tables, drawn, errors), drawn, errors).form.key] += 1
    progress(1.0, "rules ranked")
    return PairingFit(
        tuple(protocols),
        ranked,
        simplest(ranked, changes, errors),
        chosen.n_permutations,
        n_by_chance,
        chosen.n_draws,
        tuple(counts.most_common()),
    )


def prediction(rule: Ranked, protocols: Sequence[Protocol], tie: Tie = "pre first") -> FloatArray:
    """Return the changes that a rule predicts for protocols, of another laboratory for instance."""
    return rule.changes(protocols, tie)


def simplest(ranked: Sequence[Ranked], changes: FloatArray, errors: FloatArray) -> Ranked:
    """Return the best of the simplest rules that are as good as the best of all.

    A rule is as good where its squared residuals of left-out protocols, in standard errors, exceed the best
    rule's by no more than a standard error of the mean difference; and where their mean is at most one, as it
    is for the true rule: then it predicts all protocols within their errors, and no data of this size can
    show that another is better.

    Parameters
    ----------
    ranked : sequence of Ranked
        The best one first.
    changes, errors : ndarray, shape (n_protocols,)
    """
    squares = np.array([((changes - one.predicted) / errors) ** 2 for one in ranked])
    differences = squares - squares[0]
    standard_errors = differences.std(axis=1, ddof=1) / np.sqrt(len(changes))
    as_good = (differences.mean(axis=1) <= standard_errors) | (squares.mean(axis=1) <= 1.0)
    within = [one for one, good in zip(ranked, as_good, strict=True) if good]
    return min(within, key=lambda one: (one.form.size, one.left_out_chi2))


def _ranked(
    bench: Bench, tables: Sequence[Table], changes: FloatArray, errors: FloatArray
) -> tuple[Ranked, ...]:
    """Return all forms that the protocols tell apart, best first."""
    found = [one for table in tables if (one := bench.judged(table, changes, errors)) is not None]
    return tuple(sorted(found, key=lambda one: (one.left_out_chi2, one.n_constants)))
