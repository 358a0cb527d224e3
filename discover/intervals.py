"""Intervals of means over problems, of paired differences, and what they decide.

Losses over problems have heavy tails: most problems are learnt well, and a few that are nearly degenerate
cost ten or a hundred times as much. The percentile bootstrap covers too rarely there, because a sample
without such a problem has both a low mean and a low spread. The interval here reaches, at each of its ends,
to the farther of two: Student's, and that of the studentised bootstrap. The latter follows the skewness of
the sample and holds where Student's does not; the former holds where tails are heavy on both sides, and
skewness is no more than chance. Of a measure that is all but perfect on nearly all problems a sample may lack
the rare others altogether, and no resample of it can know of them: where the range of a measure is known, its
interval reaches at least to what the mean would be with one more problem at either end, and nowhere beyond
that range, which few problems would make it do. With 2,048 problems
or more, 95 % intervals of all measures of rate tasks, and of their differences to known rules, cover between
92 % and 98 %, or more where that range decides.

A difference is judged by its whole interval and a margin, the largest difference that does not matter:
*equivalent* where the interval lies within the margin on both sides of zero, *better* or *worse* where it
lies beyond the margin on one side, and *undecided* otherwise. Undecided is what few problems give; it never
counts as equal.

References
----------
Efron & Tibshirani (1993), An introduction to the bootstrap, section 12.5 (bootstrap-t). Hall (1992), The
bootstrap and Edgeworth expansion, section 3.10. Schuirmann (1987), J. Pharmacokinet. Biopharm. 15:657
(equivalence by two one-sided tests).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from discover.stored import Stored

__all__ = [
    "CONFIDENCE",
    "ENOUGH",
    "N_RESAMPLES",
    "Metric",
    "Verdict",
    "interval",
    "interval_text",
    "intervals",
    "joint_confidence",
    "paired",
    "verdict",
]

FloatArray = NDArray[np.float64]
Range = tuple[float, float]
Verdict = Literal["better", "worse", "equivalent", "undecided"]

CONFIDENCE = 0.95
"""Probability with which an interval covers."""

ENOUGH = 2048
"""Problems with which intervals of all measures of rate tasks cover within three percent of what they say."""

N_RESAMPLES = 2000
FEWEST = 10
"""With fewer values a resample has too often no spread; the interval is then Student's alone."""

ROUNDING = 1e-9
"""A value may be so far beyond the possible ones by rounding."""

LARGEST_BLOCK = 4_000_000
"""Resamples are drawn in blocks with at most so many entries."""


@dataclass(frozen=True)
class Metric(Stored):
    """Mean of a measure over problems, with its interval.

    Attributes
    ----------
    mean : float or None
        None where a value is not finite.
    low, high : float or None
        None where there is no mean, or a single value, of which no spread is known.
    """

    mean: float | None
    low: float | None
    high: float | None


def interval_text(metric: Metric | None, missing: str = "-", digits: int = 3) -> str:
    """Return a mean with its interval, as far as they are known.

    Parameters
    ----------
    metric : Metric or None
    missing : str
        What stands where there is no mean.
    digits : int
        Significant ones.

    Examples
    --------
    >>> interval_text(Metric(0.25, 0.2, 0.3125)), interval_text(Metric(0.25, None, None)), interval_text(None)
    ('0.25 (0.2 to 0.312)', '0.25', '-')
    """
    if metric is None or metric.mean is None:
        return missing
    if metric.low is None or metric.high is None:
        return f"{metric.mean:.{digits}g}"
    return f"{metric.mean:.{digits}g} ({metric.low:.{digits}g} to {metric.high:.{digits}g})"


def interval(
    values: FloatArray,
    confidence: float = CONFIDENCE,
    n_resamples: int = N_RESAMPLES,
    possible: Range | None = None,
) -> Metric:
    """Return the mean of a measure with an interval that covers also where tails are heavy and skewed.

    The resamples depend on the number of values alone, so the same values always have the same interval.

    Parameters
    ----------
    values : ndarray, shape (n_problems,)
    confidence : float
        Probability that the interval covers. The bootstrap resolves tails of about two in `n_resamples`.
    n_resamples : int
        Resamples of the values.
    possible : (float, float), optional
        Lowest and highest value that the measure can have; infinite where there is none.

    Returns
    -------
    Metric

    Examples
    --------
    >>> found = interval(np.array([1.0, 2.0, 3.0]))
    >>> print(f"{found.mean:.2f} ({found.low:.2f} to {found.high:.2f})")
    2.00 (-0.48 to 4.48)
    >>> interval(np.ones(99), possible=(0.0, 1.0)).low
    0.99
    >>> interval(np.array([0.1, 0.9]), possible=(0.0, 1.0))
    Metric(mean=0.5, low=0.0, high=1.0)
    """
    return intervals({"": values}, confidence, n_resamples, {} if possible is None else {"": possible})[""]


def intervals(
    values: Mapping[str, FloatArray],
    confidence: float = CONFIDENCE,
    n_resamples: int = N_RESAMPLES,
    possible: Mapping[str, Range] = MappingProxyType({}),
) -> dict[str, Metric]:
    """Return the interval of each of several measures of the same problems, see :func:`interval`.

    Parameters
    ----------
    values : mapping from str to ndarray, shape (n_problems,)
    confidence : float
    n_resamples : int
    possible : mapping from str to pair of float
        Lowest and highest possible value of measures of which these are known; infinite where there is none.

    Returns
    -------
    dict from str to Metric
    """
    finite = {name: one for name, one in values.items() if np.all(np.isfinite(one))}
    found = dict.fromkeys(values, Metric(None, None, None))
    if finite:
        rows = np.stack([np.asarray(one, dtype=np.float64) for one in finite.values()])
        means = rows.mean(axis=1)
        if rows.shape[1] < 2:
            below = above = np.full(len(rows), np.nan)
        else:
            below, above = _distances((rows - means[:, None]).T, confidence, n_resamples)
        n_more = rows.shape[1] + 1
        for name, row, mean, low, high in zip(finite, rows, means, means - below, means + above, strict=True):
            least, most = possible.get(name, (-np.inf, np.inf))
            if np.isfinite(least):
                low = min(low, mean + (least - mean) / n_more)
                low = max(low, min(least, mean)) if row.min() >= least - ROUNDING else low
            if np.isfinite(most):
                high = max(high, mean + (most - mean) / n_more)
                high = min(high, max(most, mean)) if row.max() <= most + ROUNDING else high
            found[name] = Metric(float(mean), _or_none(low), _or_none(high))
    return found


def paired(
    found: FloatArray, known: FloatArray, confidence: float = CONFIDENCE, possible: Range | None = None
) -> Metric:
    """Return the interval of the mean of ``found - known``, problem by problem.

    Parameters
    ----------
    found, known : ndarray, shape (n_problems,)
        A measure of two rules on the same problems.
    confidence : float
    possible : (float, float), optional
        Lowest and highest value that the measure can have.
    """
    most = None if possible is None else possible[1] - possible[0]
    with np.errstate(invalid="ignore"):
        return interval(found - known, confidence, possible=None if most is None else (-most, most))


def verdict(difference: Metric, margin: float, higher_is_better: bool = False) -> Verdict:
    """Return what the interval of a difference says about the first of two rules.

    Parameters
    ----------
    difference : Metric
        First minus second, see :func:`paired`.
    margin : float
        The largest difference that does not matter.
    higher_is_better : bool
        Whether the measure is good when large.

    Returns
    -------
    {"better", "worse", "equivalent", "undecided"}
        Undecided also where there is no interval. A verdict of equivalence is that of two one-sided tests,
        each at half of what the interval leaves out.

    Examples
    --------
    >>> verdict(Metric(-0.3, -0.4, -0.2), margin=0.1)
    'better'
    >>> verdict(Metric(0.01, -0.02, 0.04), margin=0.1)
    'equivalent'
    >>> verdict(Metric(0.01, -0.2, 0.2), margin=0.1)
    'undecided'
    """
    if difference.low is None or difference.high is None:
        return "undecided"
    if -margin <= difference.low and difference.high <= margin:
        return "equivalent"
    if difference.low > margin:
        return "better" if higher_is_better else "worse"
    if difference.high < -margin:
        return "worse" if higher_is_better else "better"
    return "undecided"


def joint_confidence(n_comparisons: int, confidence: float = CONFIDENCE) -> float:
    """Return the confidence of each of several intervals that cover all together (Bonferroni).

    Examples
    --------
    >>> round(joint_confidence(10), 4)
    0.995
    """
    return 1 - (1 - confidence) / max(n_comparisons, 1)


def _or_none(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _distances(centred: FloatArray, confidence: float, n_resamples: int) -> tuple[FloatArray, FloatArray]:
    """How far below and above the mean intervals reach; `centred` has the shape (n_values, n_measures)."""
    from scipy.stats import t as student  # settings import this module, and must not wait for SciPy

    n_values = len(centred)
    tail = (1 - confidence) / 2
    squares = centred**2
    errors = np.sqrt(squares.sum(axis=0) / (n_values - 1) / n_values)
    usual = float(student.ppf(1 - tail, n_values - 1))
    if n_values < FEWEST:
        return usual * errors, usual * errors
    resamples = _resamples(n_values, n_resamples)
    studentised = np.concatenate([_studentised(counts, centred, squares) for counts in resamples])
    low, high = np.quantile(studentised, (tail, 1 - tail), axis=0)
    return np.maximum(usual, high) * errors, np.maximum(usual, -low) * errors


def _studentised(counts: FloatArray, centred: FloatArray, squares: FloatArray) -> FloatArray:
    """Means of resamples over their standard errors; 0 where a resample has no spread."""
    n_values = len(centred)
    means = counts @ centred / n_values
    variances = np.maximum(counts @ squares / n_values - means**2, 0.0)
    errors = np.sqrt(variances / (n_values - 1))
    # What cancellation leaves of a spread that is none.
    has_spread = variances > 1e-12 * squares.mean(axis=0)
    studentised: FloatArray = np.divide(means, errors, out=np.zeros_like(means), where=has_spread)
    return studentised


def _resamples(n_values: int, n_resamples: int) -> Iterator[FloatArray]:
    """Yield how often each value is in each resample, blocks of shape (n_block, n_values)."""
    size = max(1, LARGEST_BLOCK // n_values)
    for start in range(0, n_resamples, size):
        n_block = min(size, n_resamples - start)
        yield (_kept if n_values <= ENOUGH else _drawn)(n_values, start, n_block)


def _drawn(n_values: int, start: int, n_block: int) -> FloatArray:
    rng = np.random.default_rng(np.random.SeedSequence([n_values, start]))
    picks = rng.integers(n_values, size=(n_block, n_values)) + n_values * np.arange(n_block)[:, None]
    counts = np.bincount(picks.ravel(), minlength=n_block * n_values)
    return counts.reshape(n_block, n_values).astype(np.float64)


_kept = lru_cache(maxsize=4)(_drawn)
"""Small enough to be kept: many measures of the same number of problems use the same resamples."""
