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
"""What raises the loss by so many resolutions above the best is not tried away again."""


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
        needed: set[int] = set()
        while current.n_terms > 1:
            attempts: dict[int, PathPoint] = {}
            progress(0.8 * len(found) / (len(found) + current.n_terms), f"taking parts of {current.n_terms}")
            for n, group in enumerate(groups):
                rest = objective.without(current, group)
                if n in needed or rest is None:
                    continue
                attempts[n] = objective.judged(rest, heldout, penalty, restart, "elimination")
            if not attempts:
                break
            least = min(attempts, key=lambda n: attempts[n].heldout_loss)
            everything = [*points, *found, attempts[least]]
            if everything[choose(everything, settings.resolution)[0]] is not attempts[least]:
                break
            # What hurts far more than the choice allows hurts no less without other parts.
            best = min(point.heldout_loss for point in everything)
            needed |= {
                n for n, one in attempts.items() if one.heldout_loss > best + FAR * settings.resolution
            }
            current = attempts[least]
            found.append(current)
    lowest, _ = objective.task.possible.get("loss", (-np.inf, np.inf))
    if not found or current.train_loss <= lowest:
        return found
    suited = objective.with_states_of(objective.of_point(current), seed)
    start = suited.scaled(objective.of_point(current))
    last = path.refitted(suited, start, rng, part(progress, 0.8, 1.0, "what is left, "))
    return [*found, objective.judged(suited.rule(last), heldout, penalty, restart, "elimination")]
