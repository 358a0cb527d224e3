"""Every recording as a condition of its own: what the candidates predict of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from discover.expression import evaluate
from discover.forms import FoldResult, Validated, Validation
from discover.inference.laws import Inference
from discover.inference.recordings import Recordings
from discover.inference.scores import variance_of
from discover.intervals import CONFIDENCE, Metric

__all__ = ["Trials", "try_recordings"]

FloatArray = NDArray[np.float64]

ALLOWED = 0.1
"""An error up to this share above the lowest one of all candidates is no failure."""

STANDARD_ERRORS = 2.0


@dataclass(frozen=True, eq=False)
class Trials:
    """Errors and predictions of the candidates on every recording.

    Attributes
    ----------
    validation : Validation
    observed, predicted : ndarray, shape (n_rows,)
        Target, and what the chosen rule predicts of it, fitted without the recording of the row.
    groups : ndarray of int, shape (n_rows,)
        Recording of every row.
    """

    validation: Validation
    observed: FloatArray
    predicted: FloatArray
    groups: NDArray[np.int64]


def try_recordings(found: Inference, recordings: Recordings) -> Trials:
    """Predict every recording by the candidates on the front, their constants fitted without it.

    Recordings that were kept for the end are predicted with the constants of the front. A rule passes where
    it explains some of the variance and its error is within 10 % of the lowest one that any candidate has
    there, or within two standard errors of the difference and below twice the lowest.

    Parameters
    ----------
    found : Inference
    recordings : Recordings
        All of them, as they were given to :func:`discover.inference.infer`.
    """
    samples, groups = recordings.samples, recordings.groups
    inside = np.isin(groups, found.search)
    candidates = {one.id: one for one in (*found.front.front, found.front.chosen)}
    predictions: dict[str, FloatArray] = {}
    for name, one in candidates.items():
        tree = next(iter(one.rule.expressions.values()))
        values = samples.observed(evaluate(tree, samples.columns))
        values[inside] = found.scores[name].predictions
        predictions[name] = values
    unit = variance_of(samples.target[inside])
    squares = {name: (values - samples.target) ** 2 / unit for name, values in predictions.items()}
    folds: dict[str, list[FoldResult]] = {name: [] for name in candidates}
    order = [*found.kept, *found.search]
    for recording in order:
        rows = groups == recording
        errors = {name: float(np.mean(values[rows])) for name, values in squares.items()}
        best = min(errors, key=lambda name: (errors[name], name))
        for name in candidates:
            fold = _fold(
                recordings.names[recording],
                recording in found.kept,
                samples.target[rows],
                predictions[name][rows],
                squares[name][rows],
                squares[best][rows],
                unit,
            )
            folds[name].append(fold)
    tried = {
        name: Validated(folds=tuple(own), passed=all(fold.passed for fold in own))
        for name, own in folds.items()
    }
    return Trials(
        Validation(task="recorded", confidence=CONFIDENCE, candidates=tried),
        samples.target,
        predictions[found.front.chosen.id],
        groups,
    )


def _fold(
    name: str,
    kept: bool,
    target: FloatArray,
    predicted: FloatArray,
    squares: FloatArray,
    best: FloatArray,
    unit: float,
) -> FoldResult:
    error = float(squares.mean())
    spread = float(squares.std(ddof=1) / np.sqrt(squares.size)) if squares.size > 1 else 0.0
    bias = predicted - target
    own = float(np.mean((target - target.mean()) ** 2)) / unit
    explained = 1.0 - error / own if own > 0 else None
    paired = squares - best
    reach = float(paired.std(ddof=1) / np.sqrt(paired.size)) if paired.size > 1 else 0.0
    lowest = float(best.mean())
    allowed = max(ALLOWED * lowest, min(STANDARD_ERRORS * reach, lowest), 1e-10)
    worse = float(paired.mean()) > allowed
    useless = explained is not None and explained <= 0
    reason = ""
    if worse:
        reason = f"another candidate's error there is {best.mean():.3g}, this one's {error:.3g}"
    elif useless:
        reason = "it explains nothing of the variance"
    title = f"{name} (kept for the end)" if kept else name
    return FoldResult(
        name=name,
        title=title,
        metrics={
            "loss": _metric(error, 1.96 * spread),
            "explained": Metric(explained, None, None),
            "bias": _metric(float(bias.mean()), 1.96 * float(bias.std() / np.sqrt(bias.size))),
            "n_rows": Metric(float(target.size), None, None),
        },
        passed=not (worse or useless),
        reason=reason,
        kept=kept,
    )


def _metric(mean: float, reach: float) -> Metric:
    return Metric(mean, mean - reach, mean + reach)
