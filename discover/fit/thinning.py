"""Parts of a rule that it can do without, where a fit for each of them would take too long.

Whole projections are tried away first, then single terms, with everything else as it is. Only what is left in
the end is fitted anew, and only where its loss is not the lowest that there is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from discover.fit.choosing import choose
from discover.fit.objective import Objective
from discover.fit.path import Path
from discover.fit.result import PathPoint
from discover.progress import Progress, part

__all__ = ["thinned"]

FAR = 4.0
"""What raises the loss by so many resolutions above the best is not tried away again before the end."""


def thinned(
    path: Path[PathPoint],
    objective: Objective,
    points: Sequence[PathPoint],
    seed: np.random.SeedSequence,
    rng: np.random.Generator,
    progress: Progress,
) -> list[PathPoint]:
    """Drop parts of the chosen point, the one that is missed least first, as long as the choice follows.

    Parameters
    ----------
    path : Path
        From which the points come; it knows the held-out problems and refits.
    objective : Objective
    points : sequence of PathPoint
    seed : numpy.random.SeedSequence
        For the states that the last rule visits.
    rng : numpy.random.Generator
    progress : callable

    Returns
    -------
    list of PathPoint
        A point for each part that was dropped, and the last of them fitted anew where that can help.
    """
    settings, heldout = path.settings, path.heldout
    found: list[PathPoint] = []
    current = points[choose(points, settings.resolution)[0]]
    penalty, restart = current.penalty, current.restart
    for groups in (objective.groups(), [[block] for block in range(objective.blocks.max() + 1)]):
        spared: set[int] = set()
        while current.n_terms > 1:
            progress(0.8 * len(found) / (len(found) + current.n_terms), f"taking parts of {current.n_terms}")
            attempts = {
                n: objective.judged(rest, heldout, penalty, restart, "elimination")
                for n, group in enumerate(groups)
                if n not in spared and (rest := objective.without(current, group)) is not None
            }
            tried = sorted(attempts.values(), key=lambda one: one.heldout_loss)[:1]
            everything = [*points, *found, *tried]
            if tried and everything[choose(everything, settings.resolution)[0]] is tried[0]:
                far = min(point.heldout_loss for point in everything) + FAR * settings.resolution
                spared |= {n for n, one in attempts.items() if one.heldout_loss > far}
                (current,) = tried
                found.append(current)
            elif spared:
                spared = set()  # what another part made up for can go once that part is gone
            else:
                break
    lowest, _ = objective.task.possible.get("loss", (-np.inf, np.inf))
    if not found or current.train_loss <= lowest:
        return found
    suited = objective.with_states_of(objective.of_point(current), seed)
    start = suited.scaled(objective.of_point(current))
    last = path.refitted(suited, start, rng, part(progress, 0.8, 1.0, "what is left, "))
    return [*found, objective.judged(suited.rule(last), heldout, penalty, restart, "elimination")]
