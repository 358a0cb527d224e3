"""How sure the constants of a rule are, when its form is taken for granted."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from discover.errors import ConfigError
from discover.expression import constants
from discover.inference.recordings import Recordings
from discover.rule import Rule
from discover.search._constants import fit_constants

__all__ = ["ConstantInterval", "constant_intervals"]

_STEPS = 60


class ConstantInterval(NamedTuple):
    """A constant of a rule with its interval."""

    value: float
    low: float
    high: float


def constant_intervals(
    rule: Rule, recordings: Recordings, n_resamples: int = 400, confidence: float = 0.95, seed: int = 0
) -> tuple[ConstantInterval, ...]:
    """Return intervals of the constants of a rule by a bootstrap over recordings.

    Whole recordings are drawn with replacement, as rows of one are alike, and the constants are fitted to
    each draw by least squares. An interval is that of Student's t, for one recording less than there are,
    with the standard deviation over the draws, which is made larger by the root of ``n / (n - 1)``.
    Percentiles of the draws would be too narrow for the few recordings that there mostly are. That the form
    was chosen on the same data is not part of the intervals.

    Parameters
    ----------
    rule : Rule
        Of a single slot, in the variables of the recordings, such as ``infer(recordings).rule``.
    recordings : Recordings
    n_resamples : int
    confidence : float
    seed : int

    Returns
    -------
    tuple of ConstantInterval
        In reading order, as :meth:`discover.rule.Rule.constants` has them; the values are fitted to all
        recordings.

    Raises
    ------
    ConfigError
        If there are fewer than three recordings, or numbers are out of range.

    References
    ----------
    Cameron, Gelbach & Miller (2008), Bootstrap-based improvements for inference with clustered errors, Rev.
    Econ. Stat. 90:414-427.

    Examples
    --------
    >>> from discover.inference import from_rows
    >>> states = np.random.default_rng(0).normal(size=(200, 2))
    >>> noise = 0.1 * np.random.default_rng(1).normal(size=200)
    >>> recordings = from_rows(("x", "w"), states, 2 * states[:, 0] - states[:, 1] + noise, None)
    >>> rule = Rule.parse("1.9*x - 0.9*w")
    >>> [one.low < one.value < one.high for one in constant_intervals(rule, recordings)]
    [True, True]
    """
    n = recordings.n_recordings
    if n < 3:
        raise ConfigError(f"Intervals over recordings need three of them or more; there are {n}.")
    if not (n_resamples >= 20 and 0 < confidence < 1):
        raise ConfigError(
            "Intervals need 20 resamples or more and a confidence between 0 and 1, got "
            f"{n_resamples} and {confidence:g}."
        )
    node = rule.expression()
    rows = recordings.rows
    rng = np.random.default_rng(seed)
    with threadpool_limits(1):
        fitted = fit_constants(node, recordings.samples, _STEPS).tree
        drawn = np.array([
            constants(fit_constants(fitted, recordings.samples.take(_draw(rows, rng)), _STEPS).tree)
            for _ in range(n_resamples)
        ]).reshape(n_resamples, -1)  # fmt: skip
    reach = stats.t.ppf(0.5 + confidence / 2, n - 1) * np.sqrt(n / (n - 1)) * drawn.std(axis=0, ddof=1)
    return tuple(
        ConstantInterval(value, value - float(one), value + float(one))
        for value, one in zip(constants(fitted), reach, strict=True)
    )


def _draw(rows: list[NDArray[np.intp]], rng: np.random.Generator) -> NDArray[np.intp]:
    return np.concatenate([rows[k] for k in rng.integers(len(rows), size=len(rows))])
