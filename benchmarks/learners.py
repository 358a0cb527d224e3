"""What comparisons of a formula with learners without one share: Adam, known rules at their speed, tables."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from discover.intervals import CONFIDENCE, N_RESAMPLES, interval, paired
from discover.speeds import evaluate_at, tuned_speeds
from discover.tasks.base import Task, known_rules_of

FloatArray = NDArray[np.float64]
Gradient = Callable[[FloatArray], FloatArray]

STEP_SIZE = 0.02
BETA1, BETA2, EPSILON, LONGEST = 0.9, 0.99, 1e-8, 1.0
LAST_RATIO = 1.02
FORMULA = "formula"


def descended(
    gradient_at: Gradient, start: FloatArray, n_steps: int, step_size: float | FloatArray = STEP_SIZE
) -> FloatArray:
    """Return the point after Adam with a step that falls to zero by a cosine.

    Gradients that are longer than one are shortened to it. Parameters may have step sizes of their own.

    References
    ----------
    Kingma & Ba (2015), ICLR, algorithm 1.
    """
    point = start
    first, second = np.zeros_like(point), np.zeros_like(point)
    for t in range(n_steps):
        gradient = gradient_at(point)
        gradient = gradient * min(1.0, LONGEST / max(float(np.linalg.norm(gradient)), 1e-300))
        first = BETA1 * first + (1 - BETA1) * gradient
        second = BETA2 * second + (1 - BETA2) * gradient**2
        rate = step_size * 0.5 * (1 + np.cos(np.pi * t / n_steps))
        scale = np.sqrt(second / (1 - BETA2 ** (t + 1))) + EPSILON
        point = point - rate * first / (1 - BETA1 ** (t + 1)) / scale
    return point


def side_by_side(jobs: Sequence[tuple[Any, ...]], n_workers: int) -> list[Any]:
    """Return what the function of each job gives for its arguments, in so many processes.

    Parameters
    ----------
    jobs : sequence of tuple
        Each a function and its arguments.
    n_workers : int
    """
    if n_workers < 2:
        return [function(*arguments) for function, *arguments in jobs]
    with ProcessPoolExecutor(min(n_workers, len(jobs)), mp_context=get_context("spawn")) as pool:
        return [one.result() for one in [pool.submit(*job) for job in jobs]]


def known_losses(task: Task, tuning: Any, test: Any) -> dict[str, FloatArray]:
    """Loss on each test problem of every known rule, at the speed that suits it best on the tuning ones."""
    known = known_rules_of(task)
    speeds = tuned_speeds(task, list(known.values()), tuning, last_ratio=LAST_RATIO)
    measured = evaluate_at(task, list(zip(known.values(), speeds, strict=True)), test)
    return {name: one["loss"] for name, one in zip(known, measured, strict=True)}


def share_of_gain(of: FloatArray, by: FloatArray, seed: int = 0) -> tuple[float, float, float] | None:
    """Gain of one learner as a share of that of another, with a 95 % interval.

    The gain is 1 less the mean loss. Both learners met the same problems, which are resampled for both.

    Parameters
    ----------
    of, by : ndarray, shape (n_problems,)
        Losses of the learner whose share is asked for, and of the other.
    seed : int

    Returns
    -------
    share, low, high : float
        None where the other learner was not shown to gain anything.

    Examples
    --------
    >>> share_of_gain(np.array([0.2, 0.4]), np.array([0.2, 0.4]))
    (1.0, 1.0, 1.0)
    >>> share_of_gain(np.array([0.2, 0.4]), np.array([0.8, 1.3]))
    """
    rng, n = np.random.default_rng(seed), len(of)
    picks = rng.integers(n, size=(N_RESAMPLES, n))
    gains = 1 - by[picks].mean(axis=1)
    tails = [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]
    if np.quantile(gains, tails[0]) <= 0 or by.mean() >= 1:
        return None
    low, high = np.quantile((1 - of[picks].mean(axis=1)) / np.maximum(gains, 1e-12), tails)
    return float((1 - of.mean()) / (1 - by.mean())), float(low), float(high)


def rows_of(losses: Mapping[str, FloatArray], formula: str = FORMULA) -> list[dict[str, Any]]:
    """Return a row for each learner: its loss, what it loses more than the formula, and the formula's share.

    Parameters
    ----------
    losses : mapping from str to ndarray, shape (n_problems,)
        Of each learner on the same problems.
    formula : str
        The learner whose gain is asked for as a share of that of each other.
    """
    rows = []
    for name, one in losses.items():
        own, more = interval(one), paired(one, losses[formula])
        rows.append(
            {
                "learner": name,
                "loss": float(one.mean()),
                "half_width": 1.96 * float(one.std(ddof=1)) / np.sqrt(len(one)),
                "interval": [own.low, own.high],
                "more_than_formula": [more.mean, more.low, more.high],
                "formula_share": share_of_gain(losses[formula], one),
            }
        )
    return rows


def print_rows(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print a table of learners."""
    print(title)
    for row in rows:
        loss = f"{row['loss']:.4f} +- {row['half_width']:.4f}"
        mean, low, high = row["more_than_formula"]
        more = f"more than the formula {mean:+.4f} ({low:+.4f} to {high:+.4f})"
        share = row["formula_share"]
        share = "-" if share is None else f"{share[0]:.3f} ({share[1]:.3f} to {share[2]:.3f})"
        print(f"  {row['learner']:48s} {loss}  {more}  share of the formula {share}", flush=True)


def write_parts(path: Path, parts: Sequence[Mapping[str, Any]], schema: str) -> None:
    """Write what was measured as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"schema": schema, "parts": parts}) + "\n")
    print(f"written: {path}")


def arguments_for(description: str, output: str, n_starts: int) -> argparse.ArgumentParser:
    """Return a reader of the arguments that all comparisons have."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--output", type=Path, default=Path(output))
    parser.add_argument("--starts", type=int, default=n_starts, help="independent starts of each network")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1, help="processes in which starts run side by side")
    return parser
