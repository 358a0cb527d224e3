"""How every rule without a formula is learned: a first fit, a path of penalties on its blocks, a choice.

What differs between the rules of rate and of spiking neurons, the coordinates and the optimiser, is theirs:
:mod:`discover.fit.teacher` and :mod:`discover.fit.spike_teacher`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from discover.checked import Fields
from discover.errors import ArtefactError
from discover.fit.choosing import Judged, choose
from discover.fit.settings import TeacherSettings
from discover.multiple import best_multiple
from discover.progress import Progress, part, silent

__all__ = ["Learner", "Taught", "TaughtPoint", "TeacherObjective", "TeacherRestart", "mean_losses"]

FloatArray = NDArray[np.float64]


class TaughtPoint(Judged, Protocol):
    """One rule without a formula, judged."""

    @property
    def rule(self) -> Any:
        """The rule."""
        ...

    @property
    def penalty(self) -> float:
        """Weight of the group penalty that selected its blocks."""
        ...

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        ...


P = TypeVar("P", bound=TaughtPoint)
P_co = TypeVar("P_co", bound=TaughtPoint, covariant=True)


@dataclass(frozen=True)
class Taught(Generic[P]):
    """What was learned: the points of all restarts and the chosen one.

    Attributes
    ----------
    points : tuple
    chosen : int
    reason : str
    choices : tuple of int
        Position of each restart's own choice; their spread is the band around the curves.
    """

    points: tuple[P, ...]
    chosen: int
    reason: str
    choices: tuple[int, ...]

    @property
    def best(self) -> P:
        """The chosen point."""
        return self.points[self.chosen]

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "points": [point.to_json() for point in self.points],
            "chosen": self.chosen,
            "reason": self.reason,
            "choices": list(self.choices),
        }

    @staticmethod
    def read(
        fields: Fields, read_point: Callable[[Fields], P]
    ) -> tuple[tuple[P, ...], int, str, tuple[int, ...]]:
        """Return points, chosen, reason and choices as :meth:`to_json` gave them.

        Raises
        ------
        ArtefactError
            If something is missing, of another type, or names a point that is not there.
        """
        points = tuple(read_point(point) for point in fields.parts("points"))
        chosen, choices = fields.count("chosen"), fields.counts("choices")
        if not all(place < len(points) for place in (chosen, *choices)):
            raise ArtefactError(f"{fields.where}: a point is called chosen that is not there.")
        return points, chosen, fields.text("reason"), choices


def mean_losses(task: Any, rule: Any, problems: Any, heldout: Any) -> tuple[float, float, float]:
    """Return a rule's mean losses on problems and on held-out ones, and the standard error of the latter."""
    losses = task.losses(rule, heldout)
    error = float(losses.std(ddof=1) / np.sqrt(len(losses)))
    return float(task.losses(rule, problems).mean()), float(losses.mean()), error


class TeacherObjective(Protocol[P_co]):
    """Mean loss over problems as a function of scaled coefficients of splines."""

    @property
    def blocks(self) -> NDArray[np.int64]:
        """Block of each coordinate; -1 for constants of the synapse, which no penalty meets."""
        ...

    def random_start(self, scale: float, rng: np.random.Generator) -> FloatArray:
        """Draw coordinates of a rule to begin with."""
        ...

    def rule(self, scaled: FloatArray) -> Any:
        """Return the rule of coordinates."""
        ...

    def scaled(self, rule: Any) -> FloatArray:
        """Return the coordinates of a rule."""
        ...

    def norms(self, scaled: FloatArray) -> FloatArray:
        """Root-mean-square of the coordinates of each block."""
        ...

    def restricted(self, blocks: NDArray[np.bool_]) -> TeacherObjective[P_co]:
        """Return the objective for rules of these blocks alone."""
        ...

    def losses(self, scaled: FloatArray) -> FloatArray:
        """Loss of each problem."""
        ...

    def with_states_of(self, rule: Any, seed: np.random.SeedSequence) -> TeacherObjective[P_co]:
        """Return the objective with coordinates that suit the states that a rule visits."""
        ...

    def judged(self, rule: Any, heldout: Any, penalty: float, restart: int) -> P_co:
        """Return a rule with its losses on the problems and on held-out ones."""
        ...


class Learner(Protocol):
    """An optimiser of the outer loop."""

    def minimise(
        self,
        objective: Any,
        start: FloatArray,
        penalty: FloatArray,
        n_steps: int,
        rng: np.random.Generator,
        progress: Progress,
    ) -> FloatArray:
        """Return scaled coefficients; those with an infinite penalty stay at zero."""
        ...


@dataclass(frozen=True)
class TeacherRestart(Generic[P]):
    """One random start and the path that begins there.

    Parameters
    ----------
    objective : TeacherObjective
    heldout : Problems
    settings : TeacherSettings
    number : int
        Of the restart.
    learner : callable
        Makes the optimiser, from its step size and the share of steps over which the inner loop grows.
    """

    objective: TeacherObjective[P]
    heldout: Any
    settings: TeacherSettings
    number: int
    learner: Callable[[float, float], Learner]

    def run(self, seed: np.random.SeedSequence, progress: Progress) -> list[P]:
        """Return the points of the path and those of elimination."""
        rng_seed, last_seed, *seeds = seed.spawn(2 + len(self.settings.penalties))
        rng = np.random.default_rng(rng_seed)
        objective, settings = self.objective, self.settings
        start = objective.random_start(settings.start_scale, rng)
        first = self.learner(settings.step_size, settings.growth).minimise(
            objective, start, np.where(objective.blocks >= 0, settings.first_penalty, 0.0), settings.steps,
            rng, part(progress, 0.0, 0.4, "first fit, "),
        )  # fmt: skip
        rule = objective.rule(first)
        points = []
        penalties = sorted(settings.penalties)
        for n, (weight, child) in enumerate(zip(penalties, seeds, strict=True)):
            inner = part(progress, 0.4 + 0.4 * n / len(penalties), 0.4 + 0.4 * (n + 1) / len(penalties))
            objective = objective.with_states_of(rule, child)
            point, rule = self._point(objective, rule, weight, rng, inner)
            points.append(point)
        return points + self._eliminated(points, last_seed, rng, part(progress, 0.8, 1.0))

    def _point(
        self,
        objective: TeacherObjective[P],
        rule: Any,
        weight: float,
        rng: np.random.Generator,
        progress: Progress,
    ) -> tuple[P, Any]:
        """Return the point of one penalty, and the penalised rule, from which the next one starts."""
        settings = self.settings
        start = objective.scaled(rule)
        sizes = objective.norms(start)
        penalty = _of_blocks(objective, weight * 1.1 / (sizes / max(sizes.max(), 1e-300) + 0.1), 0.0)
        learn = self.learner(settings.path_step_size, 0.0)
        name = f"penalty {weight:g}, "
        sparse = learn.minimise(
            objective, start, penalty, settings.path_steps, rng, part(progress, 0, 0.5, name)
        )
        sizes = objective.norms(sparse)
        kept = sizes > (settings.negligible * sizes.max() if weight > 0 else 0)
        point = self._refitted(
            objective, sparse * _of_blocks(objective, kept, 1.0), weight, rng,
            part(progress, 0.5, 1, f"{name}refit, "),
        )  # fmt: skip
        return point, objective.rule(sparse)

    def _refitted(
        self,
        objective: TeacherObjective[P],
        start: FloatArray,
        weight: float,
        rng: np.random.Generator,
        progress: Progress,
    ) -> P:
        """Return the blocks of a start fitted without group penalty, at their best overall multiple."""
        start = _at_best_multiple(objective, start)
        kept = objective.norms(start) > 0
        free = _of_blocks(objective, np.where(kept, 0.0, np.inf), 0.0)
        learn = self.learner(self.settings.path_step_size, 0.0)
        restricted = objective.restricted(kept)
        refitted = learn.minimise(restricted, start, free, self.settings.refit_steps, rng, progress)
        refitted = _at_best_multiple(objective, refitted)
        best = min(start, refitted, key=lambda one: float(objective.losses(one).mean()))
        return objective.judged(objective.rule(best), self.heldout, weight, self.number)

    def _eliminated(
        self,
        points: Sequence[P],
        seed: np.random.SeedSequence,
        rng: np.random.Generator,
        progress: Progress,
    ) -> list[P]:
        """Drop blocks from the chosen point, those that do least first, as long as the choice follows."""
        found: list[P] = []
        current = points[choose(points, self.settings.resolution)[0]]
        objective = self.objective.with_states_of(current.rule, seed)
        needed: set[int] = set()
        while current.n_terms > 1:
            scaled = objective.scaled(current.rule)
            sizes = objective.norms(scaled)
            rest = [block for block in np.argsort(sizes).tolist() if sizes[block] > 0 and block not in needed]
            if not rest:
                break
            progress(1 - 1 / (len(needed) + len(found) + 2), f"trying {current.n_terms} blocks away")
            start = np.where(objective.blocks == rest[0], 0.0, scaled)
            point = self._refitted(objective, start, current.penalty, rng, silent)
            everything = [*points, *found, point]
            if everything[choose(everything, self.settings.resolution)[0]] is point:
                current = point
                found.append(point)
            else:
                needed.add(rest[0])
        return found


def _of_blocks(objective: TeacherObjective[Any], values: NDArray[Any], constants: float) -> FloatArray:
    """Return the value of each coordinate's block, and another one for constants of the synapse."""
    blocks = objective.blocks
    spread: FloatArray = np.where(blocks >= 0, np.asarray(values, dtype=np.float64)[blocks], constants)
    return spread


def _at_best_multiple(objective: TeacherObjective[Any], scaled: FloatArray) -> FloatArray:
    """Return the multiple of all splines that does best; constants of the synapse stay."""

    def multiplied(factor: float) -> FloatArray:
        return np.where(objective.blocks >= 0, factor * scaled, scaled)

    factor, _ = best_multiple(lambda factor: float(objective.losses(multiplied(factor)).mean()))
    return multiplied(factor)
