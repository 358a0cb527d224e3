"""Ways from a teacher to a formula beside each other: what each of them is worth on fits that were made.

Run with ``python -m benchmarks.naming results/studies/ica/427422 ...``. Every run's teacher is named by the
whole search and by searches in which one way is closed: curves are not named by themselves, errors count by
visitation and not by what they cost the network, or no further round follows. A row has the loss of the best
formula and of the chosen one on the problems that candidates are chosen on, beside the teacher's.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from discover.fit import FitResult
from discover.search import search
from discover.search.settings import SearchSettings
from discover.search.teacher import Lesson
from discover.tasks import get_task
from pipelines import artefacts
from pipelines.config import load_json
from pipelines.stages import stage_seed

Closed = Callable[[Lesson], Lesson]


def as_it_is(lesson: Lesson) -> Lesson:
    """Close nothing."""
    return lesson


def without_curves(lesson: Lesson) -> Lesson:
    """Leave the whole update as the only thing to name."""
    return replace(lesson, curves={}, trace_curves={})


def by_visitation(lesson: Lesson) -> Lesson:
    """Let errors count as often as a state is visited."""
    return replace(lesson, weighted=lesson.samples)


def one_round(settings: SearchSettings) -> SearchSettings:
    """Let no round follow the first."""
    return replace(settings, network=replace(settings.network, rounds=0))


WAYS: Mapping[str, tuple[Closed, Callable[[SearchSettings], SearchSettings]]] = {
    "all ways": (as_it_is, lambda settings: settings),
    "no curve by itself": (without_curves, lambda settings: settings),
    "errors by visitation": (by_visitation, lambda settings: settings),
    "no further round": (as_it_is, one_round),
    "whole update alone": (lambda lesson: by_visitation(without_curves(lesson)), one_round),
}


def named(folder: Path, way: str) -> dict[str, Any]:
    """Search for a formula of a run's teacher in one of the ways."""
    lesson_of, settings_of = WAYS[way]
    config = load_json(folder / "config.json")
    path = folder / "path.json"
    fit = artefacts.read_stored(path, FitResult, "Run the fit first.")
    started = time.perf_counter()
    front = search(
        get_task(config.task),
        config.problems,
        fit,
        artefacts.read_arrays(folder / "trajectories.npz", "trajectories"),
        settings_of(config.search),
        stage_seed(config.seed, "search"),
        engines=config.engines,
        restrict=lesson_of,
    )
    return {
        "best": front.front[-1].heldout_loss,
        "chosen": front.chosen.heldout_loss,
        "teacher": front.teacher_loss,
        "rule": str(front.chosen.rule),
        "seconds": time.perf_counter() - started,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a row for every run and way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+", help="folders of runs whose fit has a teacher")
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    options = parser.parse_args(arguments)
    print("| run | way | teacher | best formula | chosen | seconds | chosen formula |")
    print("|---|---|---|---|---|---|---|")
    for folder in options.runs:
        for way in options.ways:
            row = named(folder, way)
            losses = " | ".join(f"{row[name]:.4f}" for name in ("teacher", "best", "chosen"))
            took = f"{row['seconds']:.0f}"
            print(f"| {folder.name} | {way} | {losses} | {took} | `{row['rule']}` |", flush=True)


if __name__ == "__main__":
    main()
