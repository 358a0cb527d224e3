"""Whether the data support the chosen rule, and whether its form can be the right one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from discover.expression import evaluate, variables_of
from discover.inference.chance import DEALT, Chance, by_chance_alone
from discover.inference.recordings import Recordings
from discover.inference.scores import WORST_LOSS, Score, scored, variance_in
from discover.inference.settings import InferSettings
from discover.inference.smooth import by_recording, flexible_predictions, thinned
from discover.pareto import ParetoFront
from discover.shown import Short
from discover.stored import Stored

__all__ = ["Verdict", "judged"]

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

FOLDS = 5
"""Parts of the cross-validation of flexible functions, at most."""

LARGE, STEP, CLIFF = 2 / 3, 3, 3.0
"""A front has no cliff where the chosen rule has two thirds of the nodes that were allowed or more, and rules
with three nodes fewer have less than three times its error."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Verdict(Short, Stored):
    """What the recordings say of the chosen rule.

    Attributes
    ----------
    candidate : str
        Name of the chosen rule on the front.
    is_constant : bool
        Whether it has no variable.
    supported : bool
        Whether it predicts recordings that were left out better than their mean does, by a test over
        recordings, and the search finds more in the data than in rearranged ones.
    unexplained : bool
        Whether what the rule leaves still follows from the variables.
    no_cliff : bool
        Whether the front falls step by step up to a large rule, as it does for forms that only approach the
        right one.
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
    form_missing : bool
        Whether the right form was probably not among those that were searched.
    text : str
        The verdict in whole sentences.
    """

    candidate: str
    is_constant: bool
    supported: bool
    unexplained: bool
    no_cliff: bool
    gain: float
    n_better: int
    n_recordings: int
    p: float
    chance: Chance | None
    loss: float
    reachable: float
    p_missing: float
    form_missing: bool = False
    text: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "form_missing", self.unexplained or self.no_cliff)
        object.__setattr__(self, "text", self.text or " ".join(_sentences(self)))

    def in_short(self) -> str:
        """Return the verdict in whole sentences."""
        return self.text


def _sentences(verdict: Verdict) -> list[str]:
    sentences = []
    if verdict.form_missing:
        sentences.append(
            "The data support a rule, but its form is probably missing among those that were searched."
            if verdict.supported
            else "No rule: the form is probably missing among those that were searched."
        )
    elif verdict.supported:
        sentences.append("The data support a rule.")
    else:
        sentences.append("No rule: the data do not support one.")
    if verdict.is_constant:
        sentences.append("The chosen formula is a constant.")
    else:
        more = "less" if verdict.gain >= 0 else "more"
        sentences.append(
            f"In recordings that were left out the chosen formula has {100 * abs(verdict.gain):.3g} % "
            f"{more} squared error than the mean, and it is better in {verdict.n_better} of "
            f"{verdict.n_recordings} (p = {verdict.p:.2g}, over recordings)."
        )
    if (chance := verdict.chance) is not None:
        how = "dealt to other recordings" if chance.kind == DEALT else "shifted along their recordings"
        sentences.append(
            f"A quick search explains {_percent(chance.gain)} of the variance; with the targets {how}, one "
            f"in twenty of {chance.n} such searches exceeds {_percent(chance.gain_by_chance)} by chance "
            f"(p = {chance.p:.2g})."
        )
        if chance.ordered_by and not verdict.supported:
            sentences.append(
                f"In every recording the rows are in order of {chance.ordered_by}, and what it does cannot "
                "be told from a drift. If the order has no meaning, shuffle the rows of every recording."
            )
    if verdict.form_missing:
        sentences += _missing_sentences(verdict)
    return sentences


def _percent(share: float) -> str:
    return f"{100 * max(share, 0.0):.3g} %"


def _missing_sentences(verdict: Verdict) -> list[str]:
    sentences = []
    if verdict.unexplained:
        sentences.append(
            "What the rule leaves still follows from the variables: with a flexible function in addition, "
            f"without a formula, its error falls from {verdict.loss:.3g} to {verdict.reachable:.3g} of the "
            f"variance (p = {verdict.p_missing:.2g}, over recordings)."
        )
    if verdict.no_cliff:
        sentences.append(
            "The front has no cliff: the chosen rule is large, and its last terms save little each, as where "
            "forms only approach the right one."
        )
    sentences.append("Allow other operations, or take the rule as an approximation in the recorded states.")
    return sentences


def judged(
    front: ParetoFront,
    score: Score,
    recordings: Recordings,
    searched: tuple[int, ...],
    settings: InferSettings,
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
    unit = variance_in(inside)
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
    is_constant = not variables_of(rule)
    supported = not is_constant and more and gain > 0 and p <= BY_RECORDING
    share, p_missing = (
        _reachable(score, inside, settings) if more and score.loss > settings.floor else (1.0, 1.0)
    )
    return Verdict(
        candidate=front.chosen.id,
        is_constant=is_constant,
        supported=supported,
        unexplained=share < 1 - MISSED and p_missing <= BY_SMOOTH,
        no_cliff=supported and _has_no_cliff(front, settings.search.max_nodes),
        gain=gain,
        n_better=int((own < means).sum()),
        n_recordings=recordings.n_recordings,
        p=p,
        chance=chance,
        loss=score.loss,
        reachable=score.loss * min(share, 1.0),
        p_missing=p_missing,
    )


def _losses(values: FloatArray, recordings: Recordings, unit: float) -> FloatArray:
    squares = (recordings.samples.observed(values) - recordings.samples.target) ** 2 / unit
    finite = np.nan_to_num(squares, nan=WORST_LOSS, posinf=WORST_LOSS)
    return by_recording(finite, recordings.groups, recordings.n_recordings)


def _reachable(score: Score, recordings: Recordings, settings: InferSettings) -> tuple[float, float]:
    """Return the share of a rule's error that remains when what it leaves is predicted, and its p-value."""
    left = recordings.samples.target - score.predictions
    recordings, rows = thinned(recordings)
    left = left[rows]

    def losses(predicted: FloatArray | float) -> FloatArray:
        return by_recording((predicted - left) ** 2, recordings.groups, recordings.n_recordings)

    n_folds = min(settings.folds, FOLDS)
    alone = losses(0.0)
    best = min(
        (losses(predicted) for predicted in flexible_predictions(recordings, left, n_folds)),
        key=lambda one: float(one.mean()),
    )
    floor = settings.floor * variance_in(recordings)
    return float(best.mean() / alone.mean()), _p_better(best, alone, floor)


def _has_no_cliff(front: ParetoFront, max_nodes: int) -> bool:
    """Say whether the chosen rule is large and its last terms save little, as where it approaches another."""
    chosen = front.chosen
    if chosen.complexity < LARGE * max_nodes:
        return False
    simpler = min(
        (one.heldout_loss for one in front.front if one.complexity <= chosen.complexity - STEP),
        default=np.inf,
    )
    return bool(simpler < CLIFF * chosen.heldout_loss)


def _p_better(losses: FloatArray, others: FloatArray, floor: float) -> float:
    """Return the p-value of the one-sided t-test, over recordings, that losses are no lower than others.

    Logarithms of their ratios are compared, so that recordings of any size count alike.
    """
    ratios = np.log(np.maximum(others, floor) / np.maximum(losses, floor))
    if np.ptp(ratios) <= 1e-12 * np.abs(ratios).max(initial=0.0):
        return 0.0 if ratios[0] > 0 else 1.0
    return float(stats.ttest_1samp(ratios, 0.0, alternative="greater").pvalue)
