"""How often intervals hold the mean: samples drawn from many problems of a task.

Run with ``python -m benchmarks.coverage``. The chosen rule of a reference result and the reference rule of
its task run on many problems once; the mean over all of them is what intervals of samples should hold. Every
measure of the chosen rule is looked at, and the difference of both rules.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from discover.intervals import CONFIDENCE, ENOUGH, intervals
from discover.rule import Rule
from discover.tasks import get_task
from discover.tasks.base import known_rules_of

FloatArray = NDArray[np.float64]
Range = tuple[float, float]
Reaches = tuple[FloatArray, FloatArray]
"""Lower and upper ends of the intervals of many samples."""

RUNS = ("oja", "bcm", "pca-network", "ica", "ica-uniform", "mca", "whitening", "ei-balance", "ei-coplastic")
SPIKING = "ei-"
SIZES, SPIKING_SIZES = (64, 256, 512, 1024, ENOUGH), (48, 96)
N_RESAMPLES = 999
DIFFERENCE = "difference of "
BLOCK = 2000
"""Problems that are simulated at once."""


def values_of_run(folder: Path, n_problems: int) -> Mapping[str, tuple[FloatArray, Range | None]]:
    """Return measures of the chosen rule and how much they differ from the reference rule's, with ranges."""
    config, front = (json.loads((folder / name).read_text()) for name in ("config.json", "front.json"))
    task = get_task(config["task"])
    settings = task.settings_type(
        **{
            key: tuple(value) if isinstance(value, list) else value
            for key, value in config["problems"].items()
        }
    )
    slots = next(one["slots"] for one in front["candidates"] if one["id"] == front["chosen"])
    rules = Rule.parse(slots), known_rules_of(task)[task.reference_for(settings)]
    parts: list[dict[str, FloatArray]] = []
    for start in range(0, n_problems, BLOCK):
        problems = task.draw(settings, min(BLOCK, n_problems - start), np.random.SeedSequence([99, start]))
        chosen, known = task.evaluate_rules(rules, problems)
        parts.append({**chosen, **{f"{DIFFERENCE}{name}": chosen[name] - known[name] for name in chosen}})
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    ranges: dict[str, Range] = {}
    for name, (least, most) in task.possible.items():
        ranges |= {name: (least, most), f"{DIFFERENCE}{name}": (least - most, most - least)}
    finite = {name: values for name, values in joined.items() if np.isfinite(values).all()}
    return {name: (values, ranges.get(name)) for name, values in finite.items()}


def ours(samples: FloatArray, possible: Range | None) -> Reaches:
    """Return the intervals of :mod:`discover.intervals`."""
    rows = {str(n): row for n, row in enumerate(samples)}
    found = intervals(rows, possible={} if possible is None else dict.fromkeys(rows, possible)).values()
    low, high = np.array([[one.low, one.high] for one in found]).T
    return low, high


def students(samples: FloatArray) -> Reaches:
    """Return Student's intervals."""
    n = samples.shape[1]
    reach = stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) * samples.std(axis=1, ddof=1) / np.sqrt(n)
    return samples.mean(axis=1) - reach, samples.mean(axis=1) + reach


def johnsons(samples: FloatArray) -> Reaches:
    """Return Student's intervals about the mean corrected for skewness; Johnson (1978), JASA 73:536."""
    low, high = students(samples)
    shift = stats.skew(samples, axis=1) * samples.std(axis=1, ddof=1) / (6 * samples.shape[1])
    return low + shift, high + shift


def bootstrapped(samples: FloatArray) -> Mapping[str, Reaches]:
    """Return percentile, studentised and BCa intervals, of the same resamples."""
    n, rng = samples.shape[1], np.random.default_rng(0)
    counts = rng.multinomial(n, np.full(n, 1 / n), size=N_RESAMPLES).astype(np.float64)
    means = samples.mean(axis=1)
    centred = (samples - means[:, None]).T
    shifts = counts @ centred / n
    spreads = np.sqrt(np.maximum(counts @ centred**2 / n - shifts**2, 0) / (n - 1))
    studentised = np.divide(shifts, spreads, out=np.zeros_like(shifts), where=spreads > 0)
    tails = (1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2
    errors = samples.std(axis=1, ddof=1) / np.sqrt(n)
    low_t, high_t = np.quantile(studentised, tails, axis=0)
    low, high = np.quantile(shifts, tails, axis=0)
    bias = stats.norm.ppf(np.clip((shifts < 0).mean(axis=0), 1 / N_RESAMPLES, 1 - 1 / N_RESAMPLES))
    acceleration = stats.skew(samples, axis=1) / (6 * np.sqrt(n))
    ordered = np.sort(shifts, axis=0)
    ends = []
    for tail in tails:
        z = bias + stats.norm.ppf(tail)
        at = stats.norm.cdf(bias + z / (1 - acceleration * z))
        rank = np.clip(np.round(at * (N_RESAMPLES - 1)).astype(int), 0, N_RESAMPLES - 1)
        ends.append(means + ordered[rank, np.arange(len(means))])
    return {
        "percentile": (means + low, means + high),
        "BCa": (ends[0], ends[1]),
        "bootstrap-t": (means - high_t * errors, means - low_t * errors),
    }


def main() -> None:
    """Print the coverage of each method, for each run, quantity and number of problems."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", type=int, default=20_000, help="problems drawn of each rate task")
    parser.add_argument("--spiking-problems", type=int, default=1000, help="the same of spiking tasks")
    parser.add_argument("--runs", nargs="+", default=RUNS, metavar="RUN")
    parser.add_argument("--samples", type=int, default=2000, help="samples that coverage is the mean of")
    parser.add_argument("--sizes", type=int, nargs="+", help="problems in a sample")
    parser.add_argument("--reference", type=Path, default=Path("results/reference"))
    options = parser.parse_args()
    methods: Mapping[str, Callable[[FloatArray], Any]] = {"Student": students, "Johnson": johnsons}
    print("| run | of | skew | problems | Student | Johnson | percentile | BCa | bootstrap-t | ours |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    rng = np.random.default_rng(7)
    for run in options.runs:
        is_spiking = run.startswith(SPIKING)
        n_problems = options.spiking_problems if is_spiking else options.problems
        for name, (values, possible) in values_of_run(options.reference / run, n_problems).items():
            for size in options.sizes or (SPIKING_SIZES if is_spiking else SIZES):
                samples = values[rng.integers(len(values), size=(options.samples, size))]
                found = {key: method(samples) for key, method in methods.items()}
                found |= {**bootstrapped(samples), "ours": ours(samples, possible)}
                mean = values.mean()
                held = {key: np.mean((low <= mean) & (mean <= high)) for key, (low, high) in found.items()}
                order = ("Student", "Johnson", "percentile", "BCa", "bootstrap-t", "ours")
                cells = " | ".join(f"{held[key]:.3f}" for key in order)
                print(f"| {run} | {name} | {stats.skew(values):.1f} | {size} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
