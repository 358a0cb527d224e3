"""What chance alone gives: the same data, with the update of one recording beside the states of another.

Rows of a recording are alike, and two series that drift agree over long stretches without any law. Rows that
were permuted would have none of this. Whole recordings are dealt out anew instead, or the target is shifted
along them. What is searched in the true data is searched in every one of these: the choice among many forms
is part of the comparison.

References
----------
Freedman & Lane (1983), A nonstochastic interpretation of reported significance levels, J. Bus. Econ. Stat. 1.
Harris (2021), Nonsense correlations in neuroscience, bioRxiv 2020.11.29.402719.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from discover.inference.path import basis, term_columns
from discover.inference.recordings import Recordings
from discover.inference.settings import InferSettings
from discover.inference.smooth import by_recording, smooth_predictions, thinned
from discover.stored import Stored

__all__ = ["Chance", "by_chance_alone", "rearranged"]

FloatArray = NDArray[np.float64]

DEALT, SHIFTED = "recordings", "shifts"
FEWEST_DEALT = 5
"""Of fewer recordings there are too few orders."""

ALIKE = 0.5
"""Mean correlation of a variable between recordings from which on they have a course in common."""

MAX_TERMS = 3
FEW_DEGREES = 2
SLOW = 3
"""Degree of the slow course of a recording, which stays where it is when the rest is shifted."""

MAX_FACTORS = 60
"""Of more functions no products are made."""

_AT_ONCE = 250
_RIDGE = 1e-10


@dataclass(frozen=True)
class Chance(Stored):
    """How much the best rule explains in the data, and how much it explains by chance.

    Attributes
    ----------
    kind : str
        ``recordings`` where the targets of whole recordings were dealt to others, ``shifts`` where they were
        shifted along their recording.
    n : int
        Number of rearrangements.
    gain : float
        Share of the mean's squared error that the best of the repeated search saves, recordings left out.
    gain_by_chance : float
        The same of the rearranged data: what one in twenty exceeds.
    p : float
        Share of all arrangements, the true one among them, that do as well as the true one.
    ordered_by : str
        Variable by which the rows of every recording are in order, so that what it does cannot be told from a
        drift; empty for none.
    """

    kind: str
    n: int
    gain: float
    gain_by_chance: float
    p: float
    ordered_by: str = ""


def by_chance_alone(recordings: Recordings, settings: InferSettings, factors: bool) -> Chance | None:
    """Repeat a quick search on the data and on rearranged ones; None where none are asked for.

    The quick search looks for sums of up to three terms: of total degree two, and of all of the basis with,
    where engines were asked, products of the functions that the product-term search has. Beside these it fits
    smooth functions. In every one of the three the true data are put among the rearranged ones, in units of
    how far one in twenty lies above their median, and the largest of the three counts.

    Parameters
    ----------
    recordings : Recordings
        Those of the search.
    settings : InferSettings
        ``permutations``, ``degree``, ``max_terms``, ``folds``, ``seed`` and ``search`` are used.
    factors : bool
        Whether functions other than powers were searched.
    """
    if settings.permutations == 0:
        return None
    recordings, _ = thinned(recordings)
    kind, targets = rearranged(recordings, settings.permutations, settings.seed)
    gains = _gains(recordings, targets, settings, factors)
    middle = np.median(gains, axis=1, keepdims=True)
    spread = np.quantile(gains, 0.95, axis=1, keepdims=True) - middle
    standing = ((gains - middle) / np.where(spread > 0, spread, 1.0)).max(axis=0)
    best = gains.max(axis=0)
    return Chance(
        kind,
        settings.permutations,
        float(best[0]),
        float(np.quantile(best[1:], 0.95)),
        float(np.mean(standing >= standing[0] - 1e-12)),
        _ordered_by(recordings),
    )


def _ordered_by(recordings: Recordings) -> str:
    samples = recordings.samples
    if samples.kernel is not None:
        return ""
    for name, column in samples.columns.items():
        steps = [np.diff(column[rows]) for rows in recordings.rows if rows.size > 2]
        if steps and all((one >= 0).all() or (one <= 0).all() for one in steps) and np.ptp(column) > 0:
            return name
    return ""


def rearranged(recordings: Recordings, n: int, seed: int) -> tuple[str, FloatArray]:
    """Return targets that have nothing to do with the states, and keep what they have from row to row.

    Where five recordings or more were named, the target of every recording is dealt to another, row by row
    from the start; a shorter one is repeated. Where there are fewer, or where their variables have a course
    in common (a protocol), every target is shifted along its own recording by a random number of rows, its
    end put at the start; its slow course, a cubic, stays where it is. Blocks that only stand for recordings
    are shifted as one series.

    Returns
    -------
    kind : str
        ``recordings`` or ``shifts``.
    targets : ndarray, shape (n_rows, 1 + n)
        The first column is the true target.
    """
    rng = np.random.default_rng(seed)
    roots = recordings.roots[:, None]  # rows keep their weights, their targets go elsewhere
    target = recordings.samples.target / roots[:, 0]
    series = recordings.rows if recordings.stated else [np.arange(target.size)]
    targets = np.repeat(target[:, None], 1 + n, axis=1)
    if len(series) >= FEWEST_DEALT and not _alike(recordings, series):
        for column in range(1, 1 + n):
            dealt = rng.permutation(len(series))
            while (dealt == np.arange(len(series))).all():
                dealt = rng.permutation(len(series))
            for own, other in zip(series, dealt, strict=True):
                rows = series[other]
                targets[own, column] = target[rows[np.arange(own.size) % rows.size]]
        return DEALT, roots * targets
    for own in series:
        slow = _slow(target[own], SLOW if recordings.stated else max(SLOW, recordings.n_recordings))
        rest = target[own] - slow
        least = own.size // 20 + 1
        for column in range(1, 1 + n):
            shift = int(rng.integers(least, max(own.size - least, least) + 1))
            targets[own, column] = slow + np.roll(rest, shift)
    return SHIFTED, roots * targets


def _slow(values: FloatArray, degree: int = SLOW) -> FloatArray:
    """Return the polynomial of the position that fits best; the mean of a few rows."""
    places = np.linspace(-1, 1, values.shape[0])
    degree = degree if values.shape[0] > 4 * degree else 0
    powers = np.polynomial.legendre.legvander(places, degree)
    return np.asarray(powers @ np.linalg.lstsq(powers, values, rcond=None)[0])


def _alike(recordings: Recordings, series: list[NDArray[np.intp]]) -> bool:
    """Say whether some variable has nearly the same course in all recordings, beside a slow one."""
    inputs = recordings.samples.inputs
    if recordings.samples.kernel is not None:
        kernel = recordings.samples.kernel
        weights = np.asarray(abs(kernel).sum(axis=1)).reshape(-1, 1)
        inputs = np.asarray(abs(kernel) @ inputs) / np.where(weights > 0, weights, 1.0)
    length = min(rows.size for rows in series)
    if length <= 4 * SLOW:
        return False
    for column in inputs.T:
        courses = np.array([column[rows[:length]] for rows in series]).T
        rest = courses - _slow(courses)
        size = float(np.mean(rest**2))
        if size <= 1e-6 * float(np.var(column)):
            continue
        # The variance of the mean over n recordings is (1 + (n - 1) r) / n of that of one.
        n = len(series)
        if (n * float(np.mean(rest.mean(axis=1) ** 2)) / size - 1) / (n - 1) > ALIKE:
            return True
    return False


def _gains(recordings: Recordings, targets: FloatArray, settings: InferSettings, factors: bool) -> FloatArray:
    """Return the gains of every kind of search for every target, shape (n_kinds, n_targets)."""
    powers = basis(len(recordings.samples.variables), settings.degree, settings.max_terms)
    columns = term_columns(recordings.samples, powers)
    few = columns[:, [sum(row) <= FEW_DEGREES for row in powers]]
    if factors:
        columns = np.column_stack([_unit(columns), _products(recordings, settings)])
    kinds = [_free(few), _free(columns)]
    parts = np.array_split(targets, -(-targets.shape[1] // _AT_ONCE), axis=1)
    return np.concatenate([_gains_of(recordings, kinds, part, settings.folds) for part in parts], axis=1)


def _gains_of(
    recordings: Recordings, kinds: Sequence[FloatArray], targets: FloatArray, n_folds: int
) -> FloatArray:
    n_rows, n_targets = targets.shape
    mean = _held_out_errors(recordings, np.ones((n_targets, n_rows, 1)), targets, n_folds)
    errors = [_searched(recordings, columns, targets, n_folds) for columns in kinds]
    smooth = np.full(n_targets, np.inf)
    for predicted in smooth_predictions(recordings, targets, n_folds):
        squares = by_recording((predicted - targets) ** 2, recordings.groups, recordings.n_recordings)
        smooth = np.minimum(smooth, squares.mean(axis=0))
    return np.asarray(1.0 - np.array([*errors, smooth]) / np.where(mean > 0, mean, 1.0))


def _products(recordings: Recordings, settings: InferSettings) -> FloatArray:
    """Return products of up to two of the functions of the product-term search.

    A constant of a function is the root mean square of its variable.
    """
    from discover.search._term_library import build_dictionary, make_factors, read_templates

    samples = recordings.samples
    templates = read_templates(settings.search.terms.factors, settings.search.operators)
    factors = make_factors(samples, templates, sizes=(1.0,))
    size = 2 if len(factors) <= MAX_FACTORS else 1
    return np.asarray(build_dictionary(samples, factors, size).columns.T, dtype=np.float64)


def _unit(columns: FloatArray) -> FloatArray:
    norms = np.linalg.norm(columns, axis=0)
    return np.asarray(columns / np.where(norms > 0, norms, 1.0))


def _free(columns: FloatArray) -> FloatArray:
    """Return columns of unit norm with their means taken out, those that do not vary left out."""
    columns = _unit(columns)
    columns = columns - columns.mean(axis=0)
    return _unit(columns[:, np.linalg.norm(columns, axis=0) > 1e-6])


def _searched(recordings: Recordings, columns: FloatArray, targets: FloatArray, n_folds: int) -> FloatArray:
    """Return the lowest error on recordings left out of sums of up to three columns, by target.

    Columns are added one by one, each the one that explains most of what is left; beside them there is always
    a constant.
    """
    n_rows, n_targets = targets.shape
    sums = np.full((n_targets, n_rows, 1), 1 / np.sqrt(n_rows))
    lowest = np.full(n_targets, np.inf)
    if not columns.shape[1]:
        return lowest
    left = targets - targets.mean(axis=0)
    for _ in range(MAX_TERMS):
        picked = columns[:, np.argmax(np.abs(columns.T @ left), axis=0)]
        sums = np.concatenate([sums, picked.T[:, :, None]], axis=2)
        lowest = np.minimum(lowest, _held_out_errors(recordings, sums, targets, n_folds))
        left = targets - (sums @ _coefficients(sums, targets.T[:, :, None]))[:, :, 0].T
    return lowest


def _held_out_errors(
    recordings: Recordings, sums: FloatArray, targets: FloatArray, n_folds: int
) -> FloatArray:
    """Return the mean over recordings of the squared error, each left out, of least squares, by target."""
    squares = np.empty_like(targets)
    aims = targets.T[:, :, None]
    for fit, held in recordings.splits(n_folds):
        predicted = sums[:, held] @ _coefficients(sums[:, fit], aims[:, fit])
        squares[held] = (predicted - aims[:, held])[:, :, 0].T ** 2
    means = by_recording(squares, recordings.groups, recordings.n_recordings)
    return np.asarray(means.mean(axis=0))


def _coefficients(sums: FloatArray, aims: FloatArray) -> FloatArray:
    """Least squares for many targets at once: (n_targets, n_rows, n_terms) and (n_targets, n_rows, 1)."""
    turned = sums.transpose(0, 2, 1)
    gram = turned @ sums
    size = np.trace(gram, axis1=1, axis2=2)[:, None, None]
    return np.asarray(np.linalg.solve(gram + _RIDGE * size * np.eye(gram.shape[1]), turned @ aims))
