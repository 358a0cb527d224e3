"""The metric of the network: an error of the teacher's update counts by what it costs the loss."""

from __future__ import annotations

import numpy as np
import pytest

from discover.fit import TeacherPoint
from discover.search.engine import Samples
from discover.search.metric import VISITED, curvature, in_metric
from discover.tasks import get_task
from sims.rules import SplineRule

TASK = get_task("oja")
SETTINGS = TASK.settings_type(n_inputs=2, n_samples=400, n_steps=100, batch=0)
PROBLEMS = TASK.draw(SETTINGS, 16, np.random.SeedSequence(0))
LOW, HIGH, N_PIECES = -3.0, 3.0, 6


def near_oja() -> TeacherPoint:
    """Oja's rule as splines: near the minimum of the loss, where the curvature is positive."""
    post = np.linspace(LOW, HIGH, 200)
    basis = np.stack([curve(n)(post) for n in range(N_PIECES + 3)], axis=1)
    table = np.zeros((3, 3, N_PIECES + 3))
    for block, values in (((1, 0), 0.8 * post), ((0, 1), -0.8 * post**2)):
        table[block] = np.linalg.lstsq(basis, values, rcond=None)[0]
    return TeacherPoint(SplineRule(LOW, HIGH, table), 0.0, 0.1, 0.1, 0.01, 0)


def curve(n: int):
    unit = np.zeros((3, 3, N_PIECES + 3))
    unit[0, 0, n] = 1.0
    return lambda post: SplineRule(LOW, HIGH, unit).curves(post)[0, 0]


TEACHER = near_oja()
MATRIX = curvature(TASK, TEACHER, PROBLEMS)
ACTIVE = np.flatnonzero(np.repeat(TEACHER.rule.coefficients.reshape(9, -1).any(axis=1), N_PIECES + 3))


def moved(direction: np.ndarray) -> SplineRule:
    table = TEACHER.rule.coefficients.reshape(-1).copy()
    table[ACTIVE] += direction
    return SplineRule(LOW, HIGH, table.reshape(3, 3, -1))


def test_it_is_the_second_derivative_of_the_loss() -> None:
    assert MATRIX.shape == (len(ACTIVE),) * 2 == (2 * (N_PIECES + 3),) * 2
    np.testing.assert_allclose(MATRIX, MATRIX.T, atol=1e-12)
    assert np.linalg.eigvalsh(MATRIX).min() > -1e-10
    values, vectors = np.linalg.eigh(MATRIX)
    # The direction that costs most, by second differences of the loss itself over a step as wide.
    step = 0.1 * vectors[:, -1]
    means = [float(TASK.losses(moved(s * step), PROBLEMS).mean()) for s in (-1.0, 0.0, 1.0)]
    assert (means[0] - 2 * means[1] + means[2]) / 0.1**2 == pytest.approx(values[-1], rel=0.15)
    step = 0.1 * vectors[:, -4]
    cheap = [float(TASK.losses(moved(s * step), PROBLEMS).mean()) for s in (-1.0, 1.0)]
    assert max(cheap) - means[1] < 0.2 * (min(means[0], means[2]) - means[1])


def test_the_mean_squared_error_of_weighted_samples_is_what_an_error_costs() -> None:
    rng = np.random.default_rng(1)
    states = np.stack([rng.normal(size=900), rng.uniform(LOW, HIGH, 900), 0.6 * rng.normal(size=900)], axis=1)
    update = TEACHER.rule.update(*states.T)
    samples = in_metric(Samples(("x", "y", "w"), states, update), TEACHER, MATRIX, 0)
    direction = 0.03 * rng.normal(size=len(ACTIVE))
    other = moved(direction).update(*states.T)
    error = float(np.mean((samples.observed(other) - samples.target) ** 2))
    visited = float(np.mean((other - update) ** 2) / np.mean(update**2))
    expected = 0.5 * direction @ MATRIX @ direction + VISITED * visited
    assert error == pytest.approx(expected, rel=0.15)
    assert samples.n_rows == len(ACTIVE) + 250
