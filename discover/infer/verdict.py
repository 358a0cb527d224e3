"""Whether the data support the chosen rule, and whether its form can be the right one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from discover.expression import Node, evaluate, variables_of
from discover.infer.chance import DEALT, Chance, by_chance_alone
from discover.infer.recordings import Recordings
from discover.infer.scores import Score, scored, variance_of
from discover.infer.settings import InferSettings
from discover.infer.smooth import by_recording, smooth_predictions

__all__ = ["Verdict", "judged", "verdict_sentences"]

FloatArray = NDArray[np.float64]

BY_RECORDING = 0.05
"""Largest p-value of the test over recordings of a rule that is supported."""

BY_CHANCE = 0.01
"""Largest p-value of the comparison with rearranged data. It is the smaller one, as it guards against the
search, which had thousands of forms to choose from."""

MISSED = 0.1
"""A form is called missing where a smooth function of what the rule leaves saves more than this share of its
error."""

BY_SMOOTH = 0.01


@dataclass(frozen=True)
class Verdict:
    """What the recordings say of the chosen rule.

    Attributes
    ----------
    supported : bool
        Whether it predicts recordings that were left out better than their mean does, by a test over
        recordings, and the search finds more in the data than in rearranged ones.
    form_missing : bool
        Whether what it leaves unexplained still follows from the variables, so that the right form was
        probably not among those that were searched.
    gain : float
        Share of the mean's squared error that the rule saves, recordings left out, averaged over these.
    n_better, n_recordings : int
        Recordings that it predicts better than the mean does, and all of them.
    p : float
        Of the one-sided t-test, over recordings, that the logarithm of the mean's error over the rule's is 0.
    chance : Chance or None
        None where no rearranged data were asked for.
    loss : float
        Error of the rule in the recordings of the search, each left out, as a share of the variance.
    reachable : float
        The same of the rule together with a smooth function of the variables that follows what it leaves:
        the error that the data allow is at most this large.
    p_missing : float
        Of the one-sided t-test, over recordings, that this is no better than the rule by itself.
    """

    supported: bool
    form_missing: bool
    gain: float
    n_better: int
    n_recordings: int
    p: float
    chance: Chance | None
    loss: float
    reachable: float
    p_missing: float

    @property
    def text(self) -> str:
        """The verdict in whole sentences."""
        return " ".join(verdict_sentences(self.to_json()))

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)


def verdict_sentences(verdict: Mapping[str, Any]) -> list[str]:
    """Return what the content of :meth:`Verdict.to_json` says, in whole sentences."""
    chance = verdict["chance"]
    saved = f"{100 * abs(verdict['gain']):.3g} % {'less' if verdict['gain'] >= 0 else 'more'} squared error"
    against = (
        f"In recordings that were left out it makes {saved} than their mean, and it is better in "
        f"{verdict['n_better']} of {verdict['n_recordings']} (p = {verdict['p']:.2g}, over recordings)."
    )
    sentences = []
    if verdict["supported"]:
        sentences += ["The data support a rule.", against]
    elif verdict["form_missing"]:
        sentences += ["No rule: the chosen one does not predict better than the mean.", against]
    else:
        sentences += ["No rule: the data do not support one, and the chosen one is not to be used.", against]
    if chance is not None:
        how = (
            "the targets of whole recordings dealt to others"
            if chance["kind"] == DEALT
            else "the targets shifted along their recordings"
        )
        sentences.append(
            f"A quick search explains {100 * max(chance['gain'], 0.0):.3g} % of the variance here; with {how} "
            f"one in twenty of {chance['n']} searches exceeds {100 * max(chance['gain_by_chance'], 0.0):.3g} % "
            f"by chance (p = {chance['p']:.2g})."
        )
    if verdict["form_missing"]:
        sentences.append(
            "The form is probably missing: a smooth function of the variables that follows what the rule "
            f"leaves lowers the error from {verdict['loss']:.3g} to {verdict['reachable']:.3g} of the variance "
            f"(p = {verdict['p_missing']:.2g}, over recordings). Allow other operations, or look for another "
            "form."
        )
    return sentences


def judged(
    rule: Node,
    score: Score,
    recordings: Recordings,
    searched: tuple[int, ...],
    settings: InferSettings,
    factors: bool,
) -> Verdict:
    """Judge the chosen rule.

    Parameters
    ----------
    rule : Node
        Its expression, with constants fitted to the recordings of the search.
    score : Score
        Its errors on these.
    recordings : Recordings
        All of them.
    searched : tuple of int
        Those of the search.
    settings : InferSettings
    factors : bool
        Whether functions other than powers were searched.
    """
    inside = recordings.of(searched)
    ones = inside.samples.observed(np.ones(inside.samples.n_states))

    def mean(rows: NDArray[np.bool_]) -> FloatArray:
        return np.asarray(ones * (ones[rows] @ inside.samples.target[rows]) / (ones[rows] @ ones[rows]))

    of_mean = scored(inside, settings.folds, mean)
    level = float(ones @ inside.samples.target / (ones @ ones))
    samples = recordings.samples
    kept = np.setdiff1d(np.arange(recordings.n_recordings), searched)
    unit = variance_of(inside.samples.target)
    own = np.concatenate(
        [score.by_recording, _losses(evaluate(rule, samples.columns), recordings, unit)[kept]]
    )
    means = np.concatenate(
        [of_mean.by_recording, _losses(np.full(samples.n_states, level), recordings, unit)[kept]]
    )
    p = _p_better(own, means, settings.floor)
    gain = 1.0 - float(own.mean()) / float(means.mean()) if means.any() else 0.0
    chance = by_chance_alone(inside, settings, factors)
    more = chance is None or chance.p <= BY_CHANCE
    reachable, p_missing = _reachable(score, inside, settings)
    missed = reachable < (1 - MISSED) * score.loss and score.loss > settings.floor
    return Verdict(
        supported=bool(variables_of(rule)) and more and gain > 0 and p <= BY_RECORDING,
        form_missing=more and missed and p_missing <= BY_SMOOTH,
        gain=gain,
        n_better=int((own < means).sum()),
        n_recordings=recordings.n_recordings,
        p=p,
        chance=chance,
        loss=score.loss,
        reachable=min(reachable, score.loss),
        p_missing=p_missing,
    )


def _losses(values: FloatArray, recordings: Recordings, unit: float) -> FloatArray:
    squares = (recordings.samples.observed(values) - recordings.samples.target) ** 2 / unit
    return by_recording(np.nan_to_num(squares, nan=1e6, posinf=1e6), recordings.groups, recordings.n_recordings)


def _reachable(score: Score, recordings: Recordings, settings: InferSettings) -> tuple[float, float]:
    """Return the loss of a rule with a smooth function of what it leaves, and the p-value of its being less."""
    target = recordings.samples.target
    left = (target - score.predictions)[:, None]
    losses = [
        by_recording((predicted - left)[:, 0] ** 2, recordings.groups, recordings.n_recordings)
        / variance_of(target)
        for predicted in smooth_predictions(recordings, left, settings.folds)
    ]
    best = min(losses, key=lambda one: float(one.mean()))
    return float(best.mean()), _p_better(best, score.by_recording, settings.floor)


def _p_better(losses: FloatArray, others: FloatArray, floor: float) -> float:
    """Return the p-value of the one-sided t-test, over recordings, that losses are no lower than others.

    Logarithms of their ratios are compared, so that recordings of any size count alike.
    """
    ratios = np.log(np.maximum(others, floor) / np.maximum(losses, floor))
    if np.ptp(ratios) <= 1e-12 * np.abs(ratios).max(initial=0.0):
        return 0.0 if ratios[0] > 0 else 1.0
    return float(stats.ttest_1samp(ratios, 0.0, alternative="greater").pvalue)
