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
from discover.infer.smooth import by_recording, flexible_predictions, thinned
from discover.pareto import ParetoFront

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

LARGE, STEP, CLIFF = 2 / 3, 3, 2.0
"""A front has no cliff where the chosen rule has more than two thirds of the nodes that were allowed, and with
three fewer its error is less than doubled."""


@dataclass(frozen=True)
class Verdict:
    """What the recordings say of the chosen rule.

    Attributes
    ----------
    supported : bool
        Whether it predicts recordings that were left out better than their mean does, by a test over
        recordings, and the search finds more in the data than in rearranged ones.
    form_missing : bool
        Whether the right form was probably not among those that were searched: what the rule leaves still
        follows from the variables, or the front has no cliff.
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
    no_cliff : bool
        Whether the front falls step by step up to a large rule, as it does for forms that only approach the
        right one.
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
    no_cliff: bool

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
        sentences.append("The form is probably missing among those that were searched.")
        if verdict["p_missing"] <= BY_SMOOTH and verdict["reachable"] < (1 - MISSED) * verdict["loss"]:
            sentences.append(
                "What the rule leaves still follows from the variables: together with a flexible function "
                f"without a formula its error falls from {verdict['loss']:.3g} to {verdict['reachable']:.3g} of "
                f"the variance (p = {verdict['p_missing']:.2g}, over recordings)."
            )
        if verdict["no_cliff"]:
            sentences.append(
                "The front has no cliff: the chosen rule is large, and its last terms save little each, as "
                "where forms only approach the right one."
            )
        sentences.append("Allow other operations, or take the rule as an approximation in the recorded states.")
    return sentences


def judged(
    front: ParetoFront, score: Score, recordings: Recordings, searched: tuple[int, ...], settings: InferSettings
) -> Verdict:
    """Judge the chosen rule.

    Parameters
    ----------
    front : ParetoFront
        Its constants are fitted to the recordings of the search.
    score : Score
        Errors of the chosen rule on these.
    recordings : Recordings
        All of them.
    searched : tuple of int
        Those of the search.
    settings : InferSettings
    """
    rule = front.chosen.rule.expression()
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
    chance = by_chance_alone(inside, settings, factors=bool(front.engines))
    more = chance is None or chance.p <= BY_CHANCE
    supported = bool(variables_of(rule)) and more and gain > 0 and p <= BY_RECORDING
    share, p_missing = (
        _reachable(score, inside, settings) if more and score.loss > settings.floor else (1.0, 1.0)
    )
    unexplained = share < 1 - MISSED and p_missing <= BY_SMOOTH
    no_cliff = supported and _has_no_cliff(front, settings.search.max_nodes)
    return Verdict(
        supported=supported,
        form_missing=unexplained or no_cliff,
        gain=gain,
        n_better=int((own < means).sum()),
        n_recordings=recordings.n_recordings,
        p=p,
        chance=chance,
        loss=score.loss,
        reachable=score.loss * min(share, 1.0),
        p_missing=p_missing,
        no_cliff=no_cliff,
    )


def _losses(values: FloatArray, recordings: Recordings, unit: float) -> FloatArray:
    squares = (recordings.samples.observed(values) - recordings.samples.target) ** 2 / unit
    return by_recording(np.nan_to_num(squares, nan=1e6, posinf=1e6), recordings.groups, recordings.n_recordings)


def _reachable(score: Score, recordings: Recordings, settings: InferSettings) -> tuple[float, float]:
    """Return the share of a rule's error that remains when what it leaves is predicted, and its p-value."""
    left = recordings.samples.target - score.predictions
    recordings, rows = thinned(recordings)
    left = left[rows]

    def losses(predicted: FloatArray | float) -> FloatArray:
        return by_recording((predicted - left) ** 2, recordings.groups, recordings.n_recordings)

    alone = losses(0.0)
    best = min(
        (losses(predicted) for predicted in flexible_predictions(recordings, left, settings.folds)),
        key=lambda one: float(one.mean()),
    )
    floor = settings.floor * variance_of(recordings.samples.target)
    return float(best.mean() / alone.mean()), _p_better(best, alone, floor)


def _has_no_cliff(front: ParetoFront, max_nodes: int) -> bool:
    """Say whether the chosen rule is large and every step to it saved little: so do forms that approach another."""
    chosen = front.chosen
    if chosen.complexity < LARGE * max_nodes:
        return False
    simpler = min(
        (one.heldout_loss for one in front.front if one.complexity <= chosen.complexity - STEP),
        default=np.inf,
    )
    return simpler < CLIFF * chosen.heldout_loss


def _p_better(losses: FloatArray, others: FloatArray, floor: float) -> float:
    """Return the p-value of the one-sided t-test, over recordings, that losses are no lower than others.

    Logarithms of their ratios are compared, so that recordings of any size count alike.
    """
    ratios = np.log(np.maximum(others, floor) / np.maximum(losses, floor))
    if np.ptp(ratios) <= 1e-12 * np.abs(ratios).max(initial=0.0):
        return 0.0 if ratios[0] > 0 else 1.0
    return float(stats.ttest_1samp(ratios, 0.0, alternative="greater").pvalue)
