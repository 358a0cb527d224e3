"""The teacher: a rule without a formula, meta-learned where the polynomial basis may not reach.

``f = sum_ik g_ik(y) x**i w**k`` with a cubic spline g for each pair of powers up to two. It is learned as the
coefficients of the polynomial basis are: the same optimiser, exact gradients, a path of penalties, refits and
the same choice, with blocks (i, k) in place of terms. A symbolic search then looks for its formula.

Where a task's problems are the same with the signs of all inputs, or of all weights, turned round
(``sign_symmetric``), the rule treats both signs alike: then i + k is odd, and g is even or odd as i is. A
rule that prefers one sign may learn as well, but no short formula is near to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from discover.checked import Fields
from discover.errors import RuleError
from discover.fit._teacher_path import Taught, TeacherRestart, mean_losses
from discover.fit.choosing import choose
from discover.fit.objective import SMALLEST_EFFECT, Slope, clipped_mean
from discover.fit.proximal import ProximalAdam
from discover.fit.settings import TeacherSettings
from discover.journal import remembered
from discover.progress import Progress, part, silent
from discover.slots import get_slot
from discover.spread import spread
from discover.tasks.base import Task, VisitedStates, with_splines
from sims.rules import SplineRule

__all__ = ["Teacher", "TeacherPoint", "teach"]

FloatArray = NDArray[np.float64]

N_STATES = 4_000
"""States from which the range of the output and the sizes of the blocks are taken."""

TAIL = 0.001
"""Share of visited outputs beyond each end of the splines, which are constant there."""

MOST_STARTS = 3
"""So many times the starts that were asked for are made while the best one may not have converged."""

CONFIRMED = 0.5
"""Share by which a second start's loss may be larger and still confirm that the best one has converged, and
by which the best one's loss may be larger than a polynomial's."""

N_BLOCKS = 9

PARITY = np.array([0.0 if (i + k) % 2 == 0 else (-1.0) ** i for i in range(3) for k in range(3)])
"""Of each block's function where both signs are alike: even (1), odd (-1) or none (0)."""


@dataclass(frozen=True, eq=False)
class TeacherPoint:
    """One rule without a formula.

    Attributes
    ----------
    rule : SplineRule
        Refitted without group penalty.
    penalty : float
        Weight of the group penalty that selected the blocks.
    train_loss, heldout_loss, heldout_error : float
        Mean loss over the problems it was learned on and over those it was chosen on, and the standard error
        of the latter.
    restart : int
        Which random start it came from.
    """

    rule: SplineRule
    penalty: float
    train_loss: float
    heldout_loss: float
    heldout_error: float
    restart: int

    @property
    def blocks(self) -> tuple[tuple[int, int], ...]:
        """Powers (of the presynaptic activity, of the weight) whose spline is not zero."""
        rows, columns = np.nonzero(self.rule.coefficients.any(axis=2))
        return tuple(zip(rows.tolist(), columns.tolist(), strict=True))

    @property
    def n_terms(self) -> int:
        """Number of blocks."""
        return len(self.blocks)

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "penalty": self.penalty,
            "low": self.rule.low,
            "high": self.rule.high,
            "blocks": [
                {"pre": i, "weight": k, "coefficients": self.rule.coefficients[i, k].tolist()}
                for i, k in self.blocks
            ],
            "n_blocks": self.n_terms,
            "train_loss": self.train_loss,
            "heldout_loss": self.heldout_loss,
            "heldout_error": self.heldout_error,
            "restart": self.restart,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TeacherPoint:
        """Read what :meth:`to_json` gave; see :meth:`Teacher.from_json`."""
        return cls._from_fields(Fields(data, "point"))

    @classmethod
    def _from_fields(cls, fields: Fields) -> TeacherPoint:
        splines = [
            (block.count("pre", below=3), block.count("weight", below=3), block.numbers("coefficients"))
            for block in fields.parts("blocks")
        ]
        lengths = {len(coefficients) for _, _, coefficients in splines}
        if len(lengths) > 1:
            raise RuleError("The splines of one rule have one number of coefficients.")
        table = np.zeros((3, 3, *(lengths or (4,))))
        for i, k, coefficients in splines:
            table[i, k] = coefficients
        try:
            rule = SplineRule(fields.number("low"), fields.number("high"), table)
        except ValueError as error:
            raise RuleError(str(error)) from None
        return cls(
            rule=rule,
            penalty=fields.number("penalty"),
            train_loss=fields.number("train_loss"),
            heldout_loss=fields.number("heldout_loss"),
            heldout_error=fields.number("heldout_error"),
            restart=fields.count("restart"),
        )


@dataclass(frozen=True)
class Teacher(Taught[TeacherPoint]):
    """What was learned, and the slot where the rule acts; see :class:`Taught`."""

    slot: str

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {"slot": self.slot, **super().to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Teacher:
        """Read what :meth:`to_json` gave.

        Raises
        ------
        ArtefactError
            If something is missing or of another type.
        RuleError
            If coefficients are not those of a spline rule.
        """
        fields = Fields(data, "teacher")
        parts = cls.read(fields, TeacherPoint._from_fields)
        slot = fields.text("slot")
        get_slot(slot)
        return cls(*parts, slot)


def teach(
    task: Task,
    problem_settings: Any,
    settings: TeacherSettings,
    seed: np.random.SeedSequence,
    progress: Progress = silent,
    *,
    reached: float = float("inf"),
) -> Teacher:
    """Learn a rule without a formula.

    Starts may end far from what a rule can do, and two of them at the same loss: where the horizon grows, a
    rule can come to the edge of blowing up and stay slow from then on. So several starts are made until the
    best one is no worse than a polynomial and a second one comes near it.

    Parameters
    ----------
    task : Task
        One whose network runs a :class:`sims.rules.SplineRule` in its only slot (``takes_splines``).
    problem_settings : dataclass
    settings : TeacherSettings
        Where ``restarts`` is more than one, further starts are made until the best one is confirmed, up to
        three times as many.
    seed : numpy.random.SeedSequence
        Root of all random numbers.
    progress : callable, optional
    reached : float
        Held-out loss of the best polynomial, which a rule with splines in the place of powers can reach.

    Returns
    -------
    Teacher

    Raises
    ------
    TaskError
        If the task cannot run such rules.

    References
    ----------
    Eilers & Marx (1996), Statist. Sci. 11:89 (B-splines with a penalty on differences); Yuan & Lin (2006),
    J. R. Statist. Soc. B 68:49 (penalty on groups).
    """
    network = with_splines(task)
    train_seed, heldout_seed, state_seed, *seeds = seed.spawn(3 + settings.restarts)
    progress(0.0, "drawing problems")
    train = network.draw(problem_settings, settings.n_train, train_seed)
    heldout = network.draw(problem_settings, settings.n_heldout, heldout_seed)
    objective = _Objective.start(network, train, settings, state_seed)
    sent = replace(objective, task=cast("Any", None))  # each piece gets the task with a journal of its own
    points: list[TeacherPoint] = []
    choices: list[int] = []
    most = MOST_STARTS * settings.restarts
    n_asked = settings.restarts
    while n_asked > len(choices):
        numbers = range(len(choices), n_asked)
        inner = part(progress, len(choices) / most, 1.0)
        names = [f"teacher {number + 1}" for number in numbers]
        pieces = [(sent, heldout, settings, number, seeds[number]) for number in numbers]
        for found in spread(_restarted, network, pieces, inner, names):
            choices.append(len(points) + choose(found, settings.resolution)[0])
            points += found
        losses = [points[place].heldout_loss for place in choices]
        if len(choices) < most and not _is_confirmed(losses, reached):
            seeds += seed.spawn(1)
            n_asked += 1
    chosen, reason = choose(points, settings.resolution)
    return Teacher(tuple(points), chosen, reason, tuple(choices), task.slots[0].name)


def _is_confirmed(losses: Sequence[float], reached: float) -> bool:
    """Whether the best start does what polynomials do, and a second one comes near it.

    Of a single start nobody asked for a second.
    """
    if len(losses) < 2:
        return True
    best, second = sorted(losses)[:2]
    return second <= (1 + CONFIRMED) * best and best <= (1 + CONFIRMED) * reached


@dataclass(frozen=True)
class _Objective:
    """Mean loss over problems as a function of scaled coefficients, with a penalty on rough splines.

    Coordinates are ``coefficient * effect``: the effect of a block is the root-mean-square of ``x**i w**k``
    on visited states, relative to the size of the weights.
    """

    task: Task
    problems: Any
    low: float
    high: float
    n_pieces: int
    effects: FloatArray  # (9,)
    unit: float
    smoothness: float
    is_symmetric: bool = False
    allowed: NDArray[np.bool_] = field(default_factory=lambda: np.ones(N_BLOCKS, dtype=np.bool_))

    @classmethod
    def start(
        cls, task: Task, problems: Any, settings: TeacherSettings, seed: np.random.SeedSequence
    ) -> _Objective:
        states = task.probe(problems, N_STATES, seed)[task.slots[0].name]
        post, is_symmetric = states.values[:, 1], task.sign_symmetric
        low, high = np.quantile(np.concatenate([post, -post]) if is_symmetric else post, [TAIL, 1 - TAIL])
        if is_symmetric:
            low = -high
        unit = float(np.sqrt(np.mean(states.values[:, 2] ** 2)))
        return cls(
            task,
            problems,
            float(low),
            float(high),
            settings.n_pieces,
            _sizes(states) / unit,
            unit,
            settings.smoothness,
            is_symmetric,
            PARITY != 0 if is_symmetric else np.ones(N_BLOCKS, dtype=np.bool_),
        )

    @property
    def blocks(self) -> NDArray[np.int64]:
        """Block of each coordinate, for penalties on groups."""
        return np.repeat(np.arange(N_BLOCKS), self.n_pieces + 3)

    def rule(self, scaled: FloatArray) -> SplineRule:
        """Return the rule of scaled coefficients."""
        table = scaled.reshape(N_BLOCKS, -1) / self.effects[:, None]
        return SplineRule(self.low, self.high, table.reshape(3, 3, -1), self.allowed.reshape(3, 3))

    def restricted(self, blocks: NDArray[np.bool_]) -> _Objective:
        """Return the objective for rules of these blocks alone, whose gradients take less time."""
        return replace(self, allowed=self.allowed & blocks)

    def scaled(self, rule: SplineRule) -> FloatArray:
        """Return the coordinates of a rule."""
        return (rule.coefficients.reshape(N_BLOCKS, -1) * self.effects[:, None]).reshape(-1)

    def random_start(self, scale: float, rng: np.random.Generator) -> FloatArray:
        """Draw coordinates of a rule to begin with."""
        return self._symmetric(rng.normal(0, scale, len(self.blocks)))

    def _symmetric(self, values: FloatArray) -> FloatArray:
        """Return the part of coefficients that treats both signs alike."""
        if not self.is_symmetric:
            return values
        table = values.reshape(N_BLOCKS, -1)
        return (0.5 * PARITY[:, None] * (PARITY[:, None] * table + table[:, ::-1])).reshape(-1)

    def norms(self, scaled: FloatArray) -> FloatArray:
        """Root-mean-square of each block's coefficients, shape (9,)."""
        norms: FloatArray = np.sqrt(np.mean(scaled.reshape(N_BLOCKS, -1) ** 2, axis=1))
        return norms

    def losses(self, scaled: FloatArray) -> FloatArray:
        """Loss of each problem."""
        return self.task.losses(self.rule(scaled), self.problems)

    def step(self, scaled: FloatArray, picks: NDArray[np.int64], n_steps: int | None = None) -> Slope:
        """Mean loss with the penalty on roughness, and its gradient."""
        rule, problems = self.rule(scaled), self.problems.subset(picks)

        def compute(task: Task) -> dict[str, FloatArray]:
            result = task.gradient(rule, problems, n_steps)
            gradients = result.gradients.reshape(len(picks), N_BLOCKS, -1) / self.effects[:, None]
            gradient = clipped_mean(gradients.reshape(len(picks), -1), ~result.blown)
            return {"gradient": gradient, "shares": np.array([result.losses.mean(), result.blown.mean()])}

        # The mean alone is kept: gradients of single problems would fill the disk.
        result = remembered(self.task, "teacher-step", problems, (rule, n_steps), compute)
        gradient, (mean_loss, blown) = self._symmetric(result["gradient"]), result["shares"]
        bends = np.diff(scaled.reshape(N_BLOCKS, -1), n=2, axis=1)
        # The transpose of second differences, by the same differences of bends with zeros around them.
        rough = np.diff(np.pad(bends, ((0, 0), (2, 2))), n=2, axis=1).reshape(-1)
        loss = float(mean_loss) + self.smoothness * float(np.sum(bends**2))
        return Slope(loss, gradient + 2 * self.smoothness * rough, float(blown))

    def with_states_of(self, rule: SplineRule, seed: np.random.SeedSequence) -> _Objective:
        """Return the objective with effects measured on the states that this rule visits."""
        visited = self.task.visit(rule, self.problems, N_STATES, seed)[self.task.slots[0].name]
        if len(visited.values) == 0:
            return self
        return replace(self, effects=_sizes(visited) / self.unit)

    def judged(self, rule: SplineRule, heldout: Any, penalty: float, restart: int) -> TeacherPoint:
        """Return a rule with its losses."""
        return TeacherPoint(rule, penalty, *mean_losses(self.task, rule, self.problems, heldout), restart)


def _restarted(task: Task, item: tuple[Any, ...], progress: Progress) -> list[TeacherPoint]:
    objective, heldout, settings, number, seed = item

    def learner(step_size: float, growth: float) -> ProximalAdam:
        return ProximalAdam(step_size, settings.batch, growth, groups=objective.blocks)

    restart = TeacherRestart(replace(objective, task=task), heldout, settings, number, learner)
    return restart.run(seed, progress)


def _sizes(states: VisitedStates) -> FloatArray:
    """Root-mean-square of ``x**i w**k`` for each block, with a floor for those that hardly show."""
    x, _, w = states.values[:, :3].T
    sizes = np.sqrt(np.mean([(x**i * w**k) ** 2 for i in range(3) for k in range(3)], axis=1))
    floored: FloatArray = np.maximum(sizes, SMALLEST_EFFECT * sizes.max())
    return floored
