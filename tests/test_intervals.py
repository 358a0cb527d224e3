"""Intervals cover as often as they say, and verdicts follow from the whole interval and a margin."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from discover.intervals import (
    ENOUGH,
    Metric,
    interval,
    intervals,
    joint_confidence,
    paired,
    verdict,
)
from discover.rule import Rule
from discover.tasks import get_task

N_SAMPLES = 600
"""Samples of which coverage is the mean; its standard error is 0.9 percent at 95 percent."""


def drawn(shape: str, rng: np.random.Generator, size: tuple[int, ...]) -> tuple[NDArray[np.float64], float]:
    """Return values of a distribution that resembles losses, and its mean."""
    if shape == "normal":
        return rng.normal(size=size), 0.0
    if shape == "skewed":  # skewness 6.2
        return rng.lognormal(size=size), float(np.exp(0.5))
    if shape == "rarely large":  # most problems are learnt, one in fifty hardly: skewness 8
        rare = rng.random(size) < 0.02
        return np.where(
            rare, rng.uniform(0.2, 1.4, size), rng.gamma(4.0, 0.005, size)
        ), 0.02 * 0.8 + 0.98 * 0.02
    return rng.standard_t(3, size=size), 0.0


def coverage(values: NDArray[np.float64], mean: float, confidence: float = 0.95) -> float:
    """Return how often the intervals of rows of values hold the mean."""
    found = intervals({str(n): row for n, row in enumerate(values)}, confidence).values()
    return float(np.mean([one.low <= mean <= one.high for one in found]))  # type: ignore[operator]


@pytest.mark.parametrize("confidence", [0.9, 0.95])
@pytest.mark.parametrize("shape", ["normal", "skewed", "rarely large", "heavy on both sides"])
def test_intervals_cover_as_often_as_they_say(shape: str, confidence: float) -> None:
    values, mean = drawn(shape, np.random.default_rng(3), (N_SAMPLES, ENOUGH))
    assert coverage(values, mean, confidence) == pytest.approx(confidence, abs=0.03)


@pytest.mark.parametrize(
    ("name", "settings", "first", "second"),
    [
        ("oja", {"n_inputs": 5, "n_steps": 200}, "0.39*x*y - 0.39*w*y**2", "x*y - w*y**2"),
        ("mca", {}, "0.34*w - 0.44*x*y - 3.05*w*y**2", "-x*y + 0.5*w - 4*w*y**2"),
    ],
)
def test_intervals_of_losses_cover_on_fresh_problems(
    name: str, settings: dict[str, float], first: str, second: str
) -> None:
    """Losses of a task itself: many problems once, of which samples are drawn."""
    task = get_task(name)
    problems = task.draw(task.settings_type(**settings), 8000, np.random.SeedSequence(12))
    losses, others = (task.losses(Rule.parse(text), problems) for text in (first, second))
    rng = np.random.default_rng(4)
    for values in (losses, losses - others):
        picks = rng.integers(len(values), size=(N_SAMPLES, ENOUGH))
        assert coverage(values[picks], float(values.mean())) == pytest.approx(0.95, abs=0.03)


def test_few_problems_of_a_skewed_measure_give_wide_intervals() -> None:
    """Where Student's interval covers four in five times, the interval here has to do clearly better."""
    values, mean = drawn("rarely large", np.random.default_rng(5), (N_SAMPLES, 128))
    sizes = stats.t.ppf(0.975, 127) * values.std(axis=1, ddof=1) / np.sqrt(128)
    student = np.mean(np.abs(values.mean(axis=1) - mean) <= sizes)
    assert student < 0.87
    assert coverage(values, mean) > student + 0.04


@pytest.mark.parametrize("n_problems", [2, 3, 9, 12])
def test_few_problems_give_no_interval_beyond_what_a_measure_can_be(n_problems: int) -> None:
    task = get_task("oja")
    rng = np.random.default_rng(n_problems)
    values = {
        "cosine": np.where(np.arange(n_problems) == 0, 0.02, 1 - 0.01 * rng.random(n_problems)),
        "loss": np.where(np.arange(n_problems) == 0, 1.4, 0.01 * rng.random(n_problems)),
    }
    found = intervals(values, possible=task.possible)
    for name, one in found.items():
        least, most = task.possible[name]
        assert least <= one.low < one.mean < one.high <= most  # type: ignore[operator]
    assert found["loss"].high == intervals(values)["loss"].high, "there is no upper end to allow for"
    negative = {"loss": values["loss"] - 0.5}
    assert intervals(negative, possible=task.possible) == intervals(negative), "a loss of the user's own"


@pytest.mark.parametrize("rarity", [500, 1500, 5000])
def test_intervals_allow_for_rare_problems_that_a_sample_lacks(rarity: int) -> None:
    rng = np.random.default_rng(rarity)
    failed = rng.random((1000, 1024)) < 1 / rarity
    values = np.where(failed, rng.uniform(0.2, 0.9, failed.shape), 1.0 - 1e-4 * rng.random(failed.shape))
    mean = (1 - 1 / rarity) * (1 - 0.5e-4) + 0.55 / rarity
    names = [str(n) for n in range(len(values))]
    rows = dict(zip(names, values, strict=True))
    known = intervals(rows, possible=dict.fromkeys(names, (0.0, 1.0))).values()
    assert np.mean([one.low <= mean <= one.high for one in known]) > 0.92
    blind = intervals(rows).values()
    assert np.mean([one.low <= mean <= one.high for one in blind]) < 0.92
    ahead = [paired(one, np.ones(1024), possible=(0.0, 1.0)) for one in values[:200]]
    assert np.mean([one.low <= mean - 1 <= one.high for one in ahead]) > 0.92
    assert all(one.high >= 1 / 1025 + one.mean * 1024 / 1025 - 1e-12 for one in ahead)


def test_the_interval_of_ordinary_values_is_that_of_the_textbook() -> None:
    values = np.random.default_rng(1).normal(2.0, 3.0, ENOUGH)
    low, high = stats.t.interval(0.95, ENOUGH - 1, values.mean(), values.std(ddof=1) / np.sqrt(ENOUGH))
    found = interval(values)
    assert found.mean == pytest.approx(values.mean())
    assert found.low is not None
    assert found.high is not None
    assert found.low <= low + 1e-9
    assert found.high >= high - 1e-9
    assert found.high - found.low == pytest.approx(high - low, rel=0.06)


def test_the_same_values_have_the_same_interval_however_many_are_asked_for_together() -> None:
    values = np.random.default_rng(1).lognormal(size=(3, 200))
    together = intervals(dict(zip("abc", values, strict=True)))
    for name, one in zip("abc", values, strict=True):
        alone = interval(one)
        assert (alone.low, alone.high) == pytest.approx((together[name].low, together[name].high), rel=1e-12)
    assert together == intervals(dict(zip("abc", values, strict=True)))


def test_what_has_no_spread_or_no_mean_has_no_invented_interval() -> None:
    assert interval(np.array([0.5])) == Metric(0.5, None, None)
    assert interval(np.array([0.5, np.nan])) == Metric(None, None, None)
    assert interval(np.full(40, 0.25)) == Metric(0.25, 0.25, 0.25)
    assert paired(np.array([np.inf, 1.0]), np.array([np.inf, 1.0])) == Metric(None, None, None)
    assert set(intervals({"a": np.array([1.0, 2.0]), "b": np.array([np.inf, 0.0])})) == {"a", "b"}


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (-0.4, -0.2, "better"),
        (-0.4, -0.05, "undecided"),  # below zero for sure, by more than the margin perhaps
        (-0.09, -0.01, "equivalent"),
        (-0.3, 0.3, "undecided"),  # not significant is not equal
        (0.01, 0.2, "undecided"),
        (0.2, 0.3, "worse"),
    ],
)
def test_verdicts_follow_from_the_whole_interval(low: float, high: float, expected: str) -> None:
    difference = Metric((low + high) / 2, low, high)
    assert verdict(difference, margin=0.1) == expected
    mirrored = {"better": "worse", "worse": "better"}.get(expected, expected)
    assert verdict(difference, margin=0.1, higher_is_better=True) == mirrored
    assert verdict(Metric(0.0, None, None), margin=0.1) == "undecided"


def test_joint_intervals_cover_all_together() -> None:
    rng = np.random.default_rng(8)
    values = rng.lognormal(0, 0.5, size=(200, 10, 400))
    mean = float(np.exp(0.125))
    joint = joint_confidence(10)
    covered = [
        all(one.low <= mean <= one.high for one in intervals(dict(enumerate(rows)), joint).values())  # type: ignore[operator, arg-type]
        for rows in values
    ]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.03)
