"""Every recording as a condition of its own: what the candidates predict of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from discover.expression import evaluate
from discover.inference.laws import Inference
from discover.inference.recordings import Recordings
from discover.inference.scores import variance_of

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
    content : dict
        Of ``validation.json``.
    observed, predicted : ndarray, shape (n_rows,)
        Target, and what the chosen rule predicts of it, fitted without the recording of the row.
    groups : ndarray of int, shape (n_rows,)
        Recording of every row.
    """

    content: dict[str, Any]
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
    content: dict[str, Any] = {name: {"folds": [], "passed": True} for name in candidates}
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
            content[name]["folds"].append(fold)
            content[name]["passed"] = content[name]["passed"] and fold["passed"]
    return Trials(
        {"task": "recorded", "confidence": 0.95, "candidates": content},
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
) -> dict[str, Any]:
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
    return {
        "name": name,
        "title": title,
        "metrics": {
            "loss": _metric(error, 1.96 * spread),
            "explained": {"mean": explained, "low": None, "high": None},
            "bias": _metric(float(bias.mean()), 1.96 * float(bias.std() / np.sqrt(bias.size))),
            "n_rows": {"mean": float(target.size), "low": None, "high": None},
        },
        "passed": not (worse or useless),
        "reason": reason,
        "kept": kept,
    }


def _metric(mean: float, reach: float) -> dict[str, float]:
    return {"mean": mean, "low": mean - reach, "high": mean + reach}
