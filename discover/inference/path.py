"""The L1 path of a polynomial rule on recorded data.

The problem is linear in the coefficients, so scikit-learn's coordinate descent walks the path. Terms are
scaled to the same effect first; what is kept is fitted again without the penalty; and the point is chosen by
what the refits predict of recordings that were left out.

References
----------
Friedman, Hastie & Tibshirani (2010), Regularization paths for generalized linear models, J. Stat. Softw. 33.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from discover.expression import Node, monomial_text, polynomial_node
from discover.fit.result import FitResult
from discover.fit.result import PathPoint as Written
from discover.inference.recordings import Recordings
from discover.inference.scores import Score, choose, scored
from discover.inference.settings import InferSettings
from discover.search.engine import Samples
from discover.shown import Short
from discover.slots import Slot

__all__ = ["DataPath", "PathPoint", "basis", "fit_path", "term_columns"]

FloatArray = NDArray[np.float64]
Exponents = tuple[int, ...]
Support = tuple[int, ...]

_RANGE = 1e-4
_ITERATIONS = 1_000
_TOLERANCE = 1e-4
_RIDGE = 1e-13
MAX_DROPPED = 40
"""Terms from which the weakest ones are taken away one by one."""


@dataclass(frozen=True, eq=False)
class PathPoint:
    """One set of terms, refitted.

    Attributes
    ----------
    penalty : float
        L1 penalty as a share of the one at which all terms vanish; that of the start for what was dropped.
    coefficients : mapping from str to float
        By term, fitted to all recordings of the search.
    score : Score
    origin : str
        ``path``, or ``dropped`` where the weakest term was taken out, one after the other.
    """

    penalty: float
    coefficients: Mapping[str, float]
    score: Score
    origin: str

    @property
    def n_terms(self) -> int:
        """Number of terms."""
        return len(self.coefficients)


@dataclass(frozen=True, eq=False, repr=False)
class DataPath(Short):
    """The path, its chosen point, and how stable its terms are.

    Attributes
    ----------
    slot : Slot
    variables : tuple of str
    exponents : mapping from str to tuple of int
        Term -> powers of the variables, for all terms of the basis.
    points : tuple of PathPoint
    chosen : int
    reason : str
    stability : mapping from str to float
        Term -> share of the parts of the cross-validation whose own path has it among as many terms.
    """

    slot: Slot
    variables: tuple[str, ...]
    exponents: Mapping[str, Exponents]
    points: tuple[PathPoint, ...]
    chosen: int
    reason: str
    stability: Mapping[str, float]

    @property
    def chosen_point(self) -> PathPoint:
        """The point that was chosen."""
        return self.points[self.chosen]

    def in_short(self) -> str:
        """Return how many points there are, and the chosen one."""
        return f"{len(self.points)} points, chosen {self.node(self.chosen_point)}"

    def node(self, point: PathPoint) -> Node:
        """Return a point as an expression."""
        terms = {self.exponents[term]: value for term, value in point.coefficients.items()}
        return polynomial_node(terms, self.variables)

    def written(self, task: str) -> FitResult:
        """Return the content of ``path.json``."""
        points = [
            Written(
                point.penalty,
                {self.slot.name: point.coefficients},
                point.score.train_loss,
                point.score.loss,
                point.score.error,
                origin=point.origin,
            )
            for point in self.points
        ]
        stability = {self.slot.name: self.stability}
        return FitResult(task, tuple(points), self.chosen, self.reason, (), stability)


def basis(n_variables: int, degree: int, max_terms: int) -> list[Exponents]:
    """Return the powers of the terms of a basis, low total degrees first.

    Every power is at most `degree`, and the total degree the largest with at most `max_terms` terms.

    Examples
    --------
    >>> len(basis(3, 2, 120)), len(basis(10, 2, 120))
    (27, 66)
    >>> basis(2, 1, 120)
    [(0, 0), (0, 1), (1, 0), (1, 1)]
    """
    kept: list[Exponents] = []
    for total in range(n_variables * degree + 1):
        if math.comb(n_variables + total - 1, total) > 100 * max_terms:
            break
        layer = sorted(_of_total(n_variables, total, degree))
        if kept and len(kept) + len(layer) > max_terms:
            break
        kept += layer
    return kept


def _of_total(n_variables: int, total: int, degree: int) -> list[Exponents]:
    found = []
    for chosen in itertools.combinations_with_replacement(range(n_variables), total):
        powers = tuple(chosen.count(one) for one in range(n_variables))
        if max(powers, default=0) <= degree:
            found.append(powers)
    return found


def fit_path(recordings: Recordings, slot: Slot, settings: InferSettings) -> DataPath:
    """Walk the L1 path, refit its sets of terms, and choose among them.

    Parameters
    ----------
    recordings : Recordings
        Those of the search.
    slot : Slot
        Where the rule is written down.
    settings : InferSettings
        ``degree``, ``max_terms``, ``n_penalties``, ``folds``, ``resolution`` and ``floor`` are used.
    """
    samples = recordings.samples
    powers = basis(len(samples.variables), settings.degree, settings.max_terms)
    names = _names(powers, samples.variables, slot)
    design = term_columns(samples, powers)
    everything = np.ones(samples.n_rows, dtype=bool)
    found = _supports(design, samples.target, settings.n_penalties)
    triangles: dict[bytes, tuple[FloatArray, FloatArray]] = {}

    def fitted(support: Support, rows: NDArray[np.bool_]) -> FloatArray:
        key = rows.tobytes()
        if key not in triangles:
            q, r = np.linalg.qr(design[rows])
            triangles[key] = r, q.T @ samples.target[rows]
        r, b = triangles[key]
        return _solved(r[:, list(support)], b)

    points = []
    for support, (penalty, origin) in found.items():
        columns = list(support)
        score = scored(
            recordings,
            settings.folds,
            lambda rows: design[:, columns] @ fitted(support, rows),  # noqa: B023
        )
        values = dict(zip((names[k] for k in support), fitted(support, everything).tolist(), strict=True))
        points.append(PathPoint(penalty, values, score, origin))
    points.sort(key=lambda point: (point.penalty, -point.n_terms))
    chosen, reason = choose(
        [point.score for point in points],
        [point.n_terms for point in points],
        settings.resolution,
        settings.floor,
        len(powers),
        recordings.n_independent,
    )
    stability = _stability(recordings, design, names, points[chosen].n_terms, settings)
    table = dict(zip(names, powers, strict=True))
    return DataPath(slot, samples.variables, table, tuple(points), chosen, reason, stability)


def _names(powers: Sequence[Exponents], variables: Sequence[str], slot: Slot) -> list[str]:
    """Names of the terms in the order of the slot's variables, some of which the data may lack."""
    names = []
    for row in powers:
        power = dict(zip(variables, row, strict=True))
        names.append(monomial_text(tuple(power.get(name, 0) for name in slot.variables), slot.variables))
    return names


def term_columns(samples: Samples, powers: Sequence[Exponents]) -> FloatArray:
    """Return the terms with the given powers as columns, shape (n_rows, n_terms); 0 where one overflows."""
    columns = []
    with np.errstate(all="ignore"):
        for row in powers:
            column = np.ones(samples.n_states)
            for number, power in enumerate(row):
                if power:
                    column = column * samples.inputs[:, number] ** power
            columns.append(column)
    design = samples.observed(np.column_stack(columns))
    return np.where(np.isfinite(design).all(axis=0), design, 0.0)


def _solved(matrix: FloatArray, target: FloatArray) -> FloatArray:
    """Least squares with columns of unit norm; a column of zeros gets the coefficient 0."""
    norms = np.linalg.norm(matrix, axis=0)
    norms = np.where(norms > 0, norms, 1.0)
    return np.asarray(np.linalg.lstsq(matrix / norms, target, rcond=1e-11)[0] / norms)


def _supports(design: FloatArray, target: FloatArray, n_penalties: int) -> dict[Support, tuple[float, str]]:
    """Return sets of terms along the path and by dropping the weakest, with penalty and origin."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import lasso_path

    norms = np.sqrt(np.mean(design**2, axis=0))
    usable = np.flatnonzero(norms > 0)
    size = float(np.sqrt(np.mean(target**2)))
    if not usable.size or size == 0:
        return {(0,): (1.0, "path")}
    scaled = np.asfortranarray(design[:, usable] / norms[usable])
    aim = target / size
    largest = float(np.max(np.abs(scaled.T @ aim))) / len(aim)
    penalties = largest * np.geomspace(1.0, _RANGE, n_penalties)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        _, coefficients, _ = lasso_path(
            scaled,
            aim,
            alphas=penalties,
            max_iter=_ITERATIONS,
            tol=_TOLERANCE,
            precompute=True,
            random_state=0,
        )
    most = max(1, len(aim) // 5)
    found: dict[Support, tuple[float, str]] = {}
    for penalty, column in zip(penalties / largest, coefficients.T, strict=True):
        support = tuple(usable[np.flatnonzero(column)].tolist())
        if support and len(support) <= most:
            found.setdefault(support, (float(penalty), "path"))
    if not found:
        best = int(usable[np.argmax(np.abs(scaled.T @ aim))])
        found[(best,)] = (1.0, "path")
    dense = max((one for one in found if len(one) <= MAX_DROPPED), key=len, default=next(iter(found)))
    penalty = found[dense][0]
    for support in _dropped(design, target, dense):
        found.setdefault(support, (penalty, "dropped"))
    return found


def _dropped(design: FloatArray, target: FloatArray, support: Support) -> list[Support]:
    """Take out the term that costs least, one after the other."""
    norms = np.linalg.norm(design[:, list(support)], axis=0)
    q, triangle = np.linalg.qr(design[:, list(support)] / norms)
    aim = q.T @ target
    kept = list(range(len(support)))
    steps: list[Support] = []
    while len(kept) > 1:
        gram = triangle[:, kept].T @ triangle[:, kept]
        inverse = np.linalg.inv(gram + _RIDGE * np.eye(len(kept)) * np.trace(gram))
        values = inverse @ (triangle[:, kept].T @ aim)
        kept.pop(int(np.argmin(values**2 / np.diag(inverse))))
        steps.append(tuple(support[k] for k in kept))
    return steps


def _stability(
    recordings: Recordings, design: FloatArray, names: Sequence[str], n_terms: int, settings: InferSettings
) -> dict[str, float]:
    """Share of the parts whose own path has a term among as many terms as were chosen."""
    counts: dict[str, int] = {}
    n_parts = 0
    for rows, _ in recordings.splits(settings.folds):
        target = recordings.samples.target[rows]
        part = design[rows]
        found = _supports(part, target, settings.n_penalties)
        fitting = [one for one in found if len(one) <= n_terms]
        size = max((len(one) for one in fitting), default=0)
        errors = {
            one: float(np.sum((part[:, list(one)] @ _solved(part[:, list(one)], target) - target) ** 2))
            for one in fitting
            if len(one) == size
        }
        n_parts += 1
        for term in min(errors, key=lambda one: (errors[one], one), default=()):
            counts[names[term]] = counts.get(names[term], 0) + 1
    return {
        term: count / n_parts for term, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    }
