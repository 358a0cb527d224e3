"""Fits of rules to measured changes, at every point of a grid of time constants, with parts left out.

For given time constants the change that a protocol makes is linear in the coefficients of a rule, as long as
no term sees the weight: the best coefficients follow at once, weighted by the standard errors. Where terms
see the weight a few steps of Gauss and Newton lead to them. Time constants, and constants within terms, are
searched on a grid, in logarithms. Where a protocol is left out all of them are chosen anew without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from typing import Annotated

import numpy as np
from annotated_types import Len
from numpy.typing import NDArray
from pydantic import Field

from discover.pairing.events import TRACE_NAMES, Events, FloatArray, Traces
from discover.pairing.protocols import Protocol
from discover.pairing.terms import Term, rule_of
from discover.rule import Rule
from discover.stored import Stored
from sims.pairing import GridFit, Tie, fit_on_grid, follow_weights

__all__ = ["INNER_FACTORS", "Bench", "Form", "Ranked"]

IntArray = NDArray[np.int64]
Point = tuple[tuple[int, ...], tuple[float, ...], float, float]

INNER_FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""A constant within a term is tried at so many times the value that it was given."""

MAX_INNER = 2
"""Most constants within the terms of one rule."""

NEWTON_STEPS, FEWER_STEPS = 6, 3
"""Steps from coefficients for a weight that stays at one, and from those for all protocols."""

NO_BOUND = 1e9


@dataclass(frozen=True)
class Form(Stored):
    """Terms of a rule, with constants still to be fitted.

    Parameters
    ----------
    terms : tuple of Term
    bounds : tuple of float
        Upper bounds of the weight that are tried, for terms that see the room below it.
    exponents : tuple of float
        Tried as common factors of the powers of the weight and of the room.
    n_further : int
        Constants that are fitted besides.
    origin : str
        Who proposed it.
    """

    terms: Annotated[tuple[Term, ...], Len(1, 8)]
    bounds: Annotated[tuple[float, ...], Len(0, 20)] = ()
    exponents: Annotated[tuple[float, ...], Len(0, 20)] = ()
    n_further: Annotated[int, Field(exclude=True)] = 0
    origin: str = "terms"

    @property
    def uses(self) -> tuple[str, ...]:
        """Traces that it reads."""
        return tuple(name for name in TRACE_NAMES if any(name in term.uses for term in self.terms))

    @property
    def n_inner(self) -> int:
        """Constants within its terms, the bound of the weight and its exponent."""
        inside = sum(len(term.inner) for term in self.terms)
        return inside + (len(self.bounds) > 1) + (len(self.exponents) > 1) + self.n_further

    @property
    def sees_weight(self) -> bool:
        """Whether the weight matters to it."""
        return any(term.sees_weight for term in self.terms)

    @property
    def size(self) -> int:
        """Terms, and what is more than a product in them: what a simpler rule has less of."""
        return sum(term.size for term in self.terms)

    @property
    def key(self) -> frozenset[Term]:
        """Its terms in no order."""
        return frozenset(self.terms)


@dataclass(frozen=True, eq=False)
class Ranked:
    """A form with its constants fitted, and what it explains.

    Attributes
    ----------
    form : Form
    terms : tuple of Term
        Those of the form, with the constants within them at which it fits best.
    traces : Traces
        Time constants at which it fits best; those that no term reads mean nothing.
    bound : float
        Upper bound of the weight; none where it is zero.
    coefficients : ndarray, shape (n_terms,)
    chi2 : float
        Sum of squared residuals over squared standard errors.
    fitted : ndarray, shape (n_protocols,)
        Changes by the rule fitted to all.
    predicted : ndarray, shape (n_protocols,)
        Of each protocol, by the rule fitted to all others.
    left_out_chi2, left_out_r2 : float
        The same sum for these predictions, and the share of the variance of changes that they explain.
    """

    form: Form
    terms: tuple[Term, ...]
    traces: Traces
    bound: float
    coefficients: FloatArray
    chi2: float
    fitted: FloatArray
    predicted: FloatArray
    left_out_chi2: float
    left_out_r2: float

    @property
    def n_times(self) -> int:
        """Number of time constants that matter."""
        return len(self.form.uses)

    @property
    def n_constants(self) -> int:
        """Constants that were fitted: coefficients, time constants, and those within terms."""
        return len(self.terms) + self.form.n_inner + self.n_times

    @property
    def rule(self) -> Rule:
        """The rule, with its time constants."""
        return rule_of(self.terms, self.coefficients.tolist(), self.traces, self.bound)

    def changes(self, protocols: Sequence[Protocol], tie: Tie = "pre first") -> FloatArray:
        """Return the changes that it predicts."""
        bench = Bench(protocols, tuple((tau,) for _, tau in self.traces.items()), tie)
        form = Form(self.terms, (self.bound,) if self.bound else ())
        table = bench.table(form, inner=(1.0,))
        changes: FloatArray = table.changes(self.coefficients[None])[0]
        return changes

    def __str__(self) -> str:
        parts = []
        for spike in ("pre", "post"):
            chosen = [
                f"{value:+.3g}*{term.name}" if term.name != "1" else f"{value:+.3g}"
                for term, value in zip(self.terms, self.coefficients, strict=True)
                if term.spike == spike
            ]
            parts.append(f"{spike}_spike: {' '.join(chosen) or '0'}")
        return "; ".join(parts)


@dataclass(frozen=True, eq=False)
class Table:
    """A form at all points of the grid.

    Attributes
    ----------
    form : Form
    points : list of tuple
        Numbers of the time constants, factors of the constants within terms, bound and exponent.
    sums : ndarray, shape (n_grid, n_protocols, n_terms)
        What each term adds up to where the weight stays at one.
    events : Events
    """

    form: Form
    points: list[Point]
    sums: FloatArray
    events: Events | None = field(default=None, repr=False)

    @cached_property
    def _weighed(self) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        assert self.events is not None  # terms that see the weight come with the spikes
        terms, n_grid = self.form.terms, len(self.points)
        values = np.empty((n_grid, len(self.events.is_pre), len(terms)))
        by_factors: dict[tuple[float, ...], list[int]] = {}
        for place, (_, factors, *_) in enumerate(self.points):
            by_factors.setdefault(factors, []).append(place)
        for factors, places in by_factors.items():
            taus = [self.points[place][0] for place in places]
            for number, term in enumerate(_scaled(terms, factors)):
                values[places, :, number] = self.events.values(term.spike, term.node, taus)
        exponents = np.array([[exponent] for *_, exponent in self.points])
        powers = exponents * np.array([term.power for term in terms])
        rooms = exponents * np.array([term.room for term in terms])
        return values, powers, rooms, np.array([bound or NO_BOUND for *_, bound, _ in self.points])

    def follow(self, coefficients: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return changes and slopes, shape (n_grid, n_protocols) and (n_grid, n_protocols, n_terms)."""
        assert self.events is not None
        values, powers, rooms, bounds = self._weighed
        return follow_weights(values, self.events.starts, powers, rooms, bounds, coefficients)

    def changes(self, coefficients: FloatArray) -> FloatArray:
        """Return the changes by coefficients of shape (n_grid, n_terms)."""
        if self.form.sees_weight:
            return self.follow(coefficients)[0]
        return np.asarray(np.einsum("gpi,gi->gp", self.sums, coefficients))

    def fit(self, changes: FloatArray, errors: FloatArray, folds: IntArray) -> GridFit:
        """Fit coefficients everywhere, with all protocols and with every fold left out."""
        weights = 1.0 / errors
        if not self.form.sees_weight:
            found = fit_on_grid(self.sums * weights[:, None], changes * weights, folds)
            return GridFit(found.coefficients, found.sums, found.predicted * errors, found.places)
        start = fit_on_grid(self.sums * weights[:, None], changes * weights, folds).coefficients
        coefficients, sums = self._newton(start, changes, weights)
        predicted, places = np.zeros(len(changes)), np.full(int(folds.max()) + 1, -1)
        for fold in range(len(places)):
            kept = folds != fold
            without, left = self._newton(coefficients, changes, weights * kept, FEWER_STEPS)
            if np.isfinite(left).any():
                places[fold] = int(np.argmin(left))
                predicted[~kept] = self.changes(without)[places[fold], ~kept]
        return GridFit(coefficients, sums, predicted, places)

    def _newton(
        self, coefficients: FloatArray, changes: FloatArray, weights: FloatArray, n_steps: int = NEWTON_STEPS
    ) -> tuple[FloatArray, FloatArray]:
        """Return the best coefficients and squared residuals at all points, where terms see the weight."""
        best, sums = coefficients, np.full(len(coefficients), np.inf)
        current = coefficients
        for _ in range(n_steps + 1):
            made, slopes = self.follow(current)
            residuals = (changes - made) * weights
            total = np.sum(residuals**2, axis=1)
            total = np.where(np.isfinite(total), total, np.inf)
            better = total < sums
            best, sums = np.where(better[:, None], current, best), np.where(better, total, sums)
            rows = slopes * weights[:, None]
            products = np.einsum("gpi,gpj->gij", rows, rows)
            scale = np.einsum("gii->gi", products).max(axis=1, initial=0.0) + 1e-300
            products += 1e-8 * scale[:, None, None] * np.eye(products.shape[1])
            right = np.einsum("gpi,gp->gi", rows, residuals)
            step = np.linalg.solve(products, right[:, :, None])[:, :, 0]
            # From a point that did worse, half of the way back to the best one.
            current = np.where(better[:, None], current + step, 0.5 * (current + best))
        return best, sums


class Bench:
    """Protocols at all time constants of a grid.

    Parameters
    ----------
    protocols : sequence of Protocol
    taus : sequence of sequence of float
        Time constants that are tried for each of the four traces.
    tie : str
        Which of two spikes in one instant comes first.
    """

    def __init__(
        self, protocols: Sequence[Protocol], taus: Sequence[Sequence[float]], tie: Tie = "pre first"
    ) -> None:
        self.protocols, self.tie = tuple(protocols), tie
        self.taus = tuple(tuple(values) for values in taus)
        self.events = Events(protocols, self.taus, tie)
        self.changes = np.array([one.change for one in protocols])
        self.errors = np.array([one.error for one in protocols])
        self.each = np.arange(len(self.protocols))
        self._columns: dict[tuple[str, str], FloatArray] = {}

    def table(self, form: Form, inner: Sequence[float] = INNER_FACTORS) -> Table:
        """Return what a form adds up to at all points of its grid; traces that it does not read stay put."""
        ranges = [
            range(len(values) if name in form.uses else 1)
            for name, values in zip(TRACE_NAMES, self.taus, strict=True)
        ]
        n_inner = sum(len(term.inner) for term in form.terms)
        times = list(product(*ranges))
        weights = list(product(form.bounds or (0.0,), form.exponents or (1.0,)))
        points, blocks = [], []
        for factors in product(*[inner] * n_inner):
            columns = [self._column(term, ranges) for term in _scaled(form.terms, factors)]
            blocks += [np.stack(columns, axis=2)] * len(weights)
            points += [(taus, factors, *weight) for weight in weights for taus in times]
        return Table(form, points, np.concatenate(blocks), self.events)

    def _column(self, term: Term, ranges: Sequence[range]) -> FloatArray:
        """Return what a term adds up to over a grid, computed once for the traces that it reads."""
        key = (term.spike, term.text)
        own = [one if name in term.uses else range(1) for name, one in zip(TRACE_NAMES, ranges, strict=True)]
        if key not in self._columns:
            points = list(product(*own))
            self._columns[key] = self.events.sums([(term.spike, term.node)], points)[:, :, 0]
        shape = [len(one) for one in own]
        grid = self._columns[key].reshape(*shape, len(self.protocols))
        full = np.broadcast_to(grid, (*[len(one) for one in ranges], len(self.protocols)))
        return full.reshape(-1, len(self.protocols))

    def judged(
        self,
        form: Form | Table,
        changes: FloatArray | None = None,
        errors: FloatArray | None = None,
        folds: IntArray | None = None,
    ) -> Ranked | None:
        """Fit a form, with all protocols and with every fold left out; None where that cannot be done.

        It cannot where the protocols, or those without one of the folds, do not tell its terms apart.

        Parameters
        ----------
        form : Form or Table
        changes, errors : ndarray, shape (n_protocols,), optional
            In the place of those that were measured.
        folds : ndarray of int, shape (n_protocols,), optional
            Fold of each protocol; by default each is left out by itself.
        """
        changes = self.changes if changes is None else changes
        errors = self.errors if errors is None else errors
        table = form if isinstance(form, Table) else self.table(form)
        found = table.fit(changes, errors, self.each if folds is None else folds)
        if not found.is_sound or (found.places < 0).any():
            return None
        best, power = found.best, float(np.sum((changes - changes.mean()) ** 2))
        taus, factors, bound, exponent = table.points[best]
        residuals = changes - found.predicted
        return Ranked(
            form=table.form,
            terms=tuple(
                replace(one, power=one.power * exponent, room=one.room * exponent)
                for one in _scaled(table.form.terms, factors)
            ),
            traces=Traces(*(values[place] for values, place in zip(self.taus, taus, strict=True))),
            bound=bound,
            coefficients=found.coefficients[best],
            chi2=float(found.sums[best]),
            fitted=table.changes(found.coefficients)[best],
            predicted=found.predicted,
            left_out_chi2=float(np.sum((residuals / errors) ** 2)),
            left_out_r2=1.0 - float(np.sum(residuals**2)) / power if power else 0.0,
        )


def _scaled(terms: Sequence[Term], factors: Sequence[float]) -> tuple[Term, ...]:
    """Return terms with the constants within them multiplied, in their order."""
    rest = list(factors)
    found = []
    for term in terms:
        n = len(term.inner)
        found.append(term.scaled(rest[:n]))
        del rest[:n]
    return tuple(found)
