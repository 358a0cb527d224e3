"""Rules without a readable formula, for the tasks ``reward`` and ``error``: a small network is the update.

Run with ``python -m benchmarks.black_box --task reward --output results/black-box-reward.json``, or with
``--task error``. A network of tanh units sees all that a rule sees, and a weight changes by
``n*u(z) + v(z)``: n is the presynaptic variable (the eligibility E, or the filtered input s), and u and v are
two outputs of the network that share its hidden units. Such a network is an expression as well, so that the
task's own simulator runs it. CMA-ES finds its constants on the task's loss, each generation with other
problems; where the task has exact gradients, Adam follows them from there.

References
----------
Andrychowicz et al. (2016), arXiv:1606.04474 (learned updates); Hansen (2016), arXiv:1604.00772 (CMA-ES).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.learners import FORMULA, STEP_SIZE, descended, known_losses, rows_of, side_by_side
from discover.expression import Node, const, var
from discover.fit.cmaes import evolve
from discover.fit.objective import clipped_mean
from discover.known_rules import get_known_rule
from discover.rule import Rule
from discover.slots import Slot
from discover.speeds import at_speeds, tuned_speeds
from discover.tasks import get_task
from discover.tasks.base import Task
from pipelines.config import load_toml

FloatArray = NDArray[np.float64]

FOUND = {
    "reward": "1.545*R*E - 1.754*Rpos*E",
    "error": "1.557*v*s - 1.557*s*u",
}
"""What the pipelines found, with the constants of ``results/reference`` before they are rounded further."""

NONE = "weights that stay as they begin"
N_STATES = 4_000
NEARLY_LINEAR = 0.1
"""Slope of the unit that says a linear formula: its tanh bends little there."""

CAREFUL = 0.1
"""Step from a formula, relative to that from elsewhere: it says much with small weights."""

N_SEEN = 20
"""Points on the way along the gradient that are looked at."""


@dataclass(frozen=True)
class Budget:
    """How long learners are looked for, and on how many problems.

    Attributes
    ----------
    n_generations, population : int
        Of CMA-ES.
    batch : int
        Problems of a generation, and of a step along the gradient.
    first_batch : int
        Problems of each generation in the first half of them, in which rules differ more.
    n_steps : int
        Of Adam, where the task has gradients.
    n_train, n_tuning, n_test : int
        Problems to learn on, to choose and to tune speeds on, and to judge on.
    """

    n_generations: int
    population: int = 16
    batch: int = 16
    first_batch: int = 16
    n_steps: int = 0
    n_train: int = 512
    n_tuning: int = 128
    n_test: int = 1024


BUDGETS = {
    "reward": Budget(n_generations=100, first_batch=8, n_tuning=96, n_test=512),
    "error": Budget(n_generations=300, batch=32, first_batch=32, n_steps=400),
}


@dataclass(frozen=True)
class NetworkUpdate:
    """The update ``n*u(z) + v(z)`` with one hidden layer of tanh units.

    Parameters are one vector: for each unit what it adds to u, to v, its offset, and its weights, all in
    units of the spread of the variables; then what u and v are without any unit.

    Attributes
    ----------
    slot : Slot
    n_units : int
    centres, scales : ndarray, shape (n_variables,)
        Mean and standard deviation of the variables.
    """

    slot: Slot
    n_units: int
    centres: FloatArray
    scales: FloatArray

    @classmethod
    def of(cls, task: Task, problems: Any, n_units: int, seed: np.random.SeedSequence) -> NetworkUpdate:
        """Return the network of a task, with scales of what synapses visit under its known rule."""
        known = get_known_rule(task.reference).rule
        (speeds,) = tuned_speeds(task, [known], problems)
        slot = task.slots[0]
        states = task.visit(at_speeds(known, speeds), problems, N_STATES, seed)[slot.name].values
        return cls(slot, n_units, states.mean(axis=0), states.std(axis=0))

    @property
    def n_parameters(self) -> int:
        """Number of constants."""
        return self.n_units * (3 + len(self.slot.variables)) + 2

    @cached_property
    def constants_by_parameters(self) -> FloatArray:
        """Constants of the rule are this matrix times the parameters."""
        n, width = len(self.scales), 3 + len(self.scales)
        matrix = np.eye(self.n_parameters)
        size = float(np.hypot(self.centres[0], self.scales[0]))
        for start in range(0, self.n_units * width, width):
            weights = np.arange(start + 3, start + 3 + n)
            matrix[start + 1, start + 1] = size
            matrix[weights, weights] = 1 / self.scales
            matrix[start + 2, weights] = -self.centres / self.scales
        matrix[-1, -1] = size
        return matrix

    @cached_property
    def _form(self) -> Rule:
        one, variables = const(1.0), [var(name) for name in self.slot.variables]
        factor = variables[0]

        def line(slope: Node, offset: Node) -> Node:
            return Node("add", (Node("mul", (slope, factor)), offset))

        total: Node | None = None
        for _ in range(self.n_units):
            inner = one
            for variable in variables:
                inner = Node("add", (inner, Node("mul", (one, variable))))
            unit = Node("mul", (line(one, one), Node("tanh", (inner,))))
            total = unit if total is None else Node("add", (total, unit))
        rest = line(one, one)
        return Rule({self.slot.name: rest if total is None else Node("add", (total, rest))})

    def rule(self, parameters: FloatArray) -> Rule:
        """Return the network as a rule that the task's simulator runs."""
        return self._form.with_constants(self.constants_by_parameters @ parameters)

    def start(self, rng: np.random.Generator) -> FloatArray:
        """Draw parameters to begin with: outputs are small."""
        table = rng.normal(0, 0.7, (self.n_units, 3 + len(self.scales)))
        table[:, :2] = rng.normal(0, 0.1, (self.n_units, 2))
        return np.concatenate([table.ravel(), np.zeros(2)])

    def start_from(self, formula: Rule, rng: np.random.Generator) -> FloatArray:
        """Return parameters that say a formula ``n*u(z)`` with a linear u, but for a bend of some percent.

        A single unit says it, and the others, which are drawn, add nothing yet.

        Raises
        ------
        ValueError
            If the formula is another one.
        """
        names, n = self.slot.variables, len(self.scales)

        def at(states: FloatArray) -> FloatArray:
            return formula(self.slot.name, **dict(zip(names, states.T, strict=True)))

        states = np.eye(n)
        states[:, 0] = 1.0
        offset = at(states)[0]
        slopes = at(states) - offset
        drawn = rng.normal(size=(32, n))
        if not np.allclose(at(drawn), drawn[:, 0] * (drawn @ slopes + offset)):
            raise ValueError(f"{formula} is not {names[0]} times a sum of the other variables.")
        table = self.start(rng)[:-2].reshape(self.n_units, -1)
        table[:, :2] = 0.0
        table[0, 0] = 1 / NEARLY_LINEAR
        table[0, 2] = NEARLY_LINEAR * (offset + slopes @ self.centres)
        table[0, 3:] = NEARLY_LINEAR * slopes * self.scales
        return np.concatenate([table.ravel(), np.zeros(2)])


def evolved(
    network: NetworkUpdate,
    task: Task,
    problems: Any,
    tuning: Any,
    start: FloatArray,
    spread: float,
    budget: Budget,
    rng: np.random.Generator,
) -> FloatArray:
    """Return parameters that CMA-ES has found.

    Every generation meets other problems, so that no luck with a few of them is inherited. The lowest loss
    of a generation is luck as well: what is returned is the centre of one of the last generations, that with
    the lowest loss on the tuning problems; or the start, where nothing was gained.
    """
    centres: list[FloatArray] = []

    def values_of(points: list[FloatArray]) -> list[float]:
        is_early = len(centres) < budget.n_generations / 2
        n_picks = budget.first_batch if is_early else budget.batch
        picks = np.sort(rng.choice(problems.n_problems, n_picks, replace=False))
        centres.append(np.mean(points, axis=0))
        rules = [network.rule(point) for point in points]
        losses = task.losses_of_rules(rules, task.subset(problems, picks)).mean(axis=1)
        return [float(one) for one in losses]

    evolve(values_of, start, spread, budget.population, budget.n_generations, rng)
    n_late = max(1, len(centres) // 4)
    late = centres[-n_late :: max(1, n_late // 8)]
    return best_of(network, task, [start, *late, centres[-1]], tuning)


def followed(
    network: NetworkUpdate,
    task: Task,
    problems: Any,
    tuning: Any,
    start: FloatArray,
    step_size: float,
    budget: Budget,
    rng: np.random.Generator,
) -> FloatArray:
    """Return parameters after Adam along the exact gradient; problems that blow up have no say in it.

    A step may go beyond where rules blow up. So what is returned is the point on the way, or the start, with
    the lowest loss on the tuning problems.
    """
    seen: list[FloatArray] = []

    def gradient_at(point: FloatArray) -> FloatArray:
        seen.append(point)
        picks = np.sort(rng.choice(problems.n_problems, budget.batch, replace=False))
        found = task.gradient(network.rule(point), task.subset(problems, picks))
        return clipped_mean(found.gradients @ network.constants_by_parameters, ~found.blown)

    last = descended(gradient_at, start, budget.n_steps, step_size)
    return best_of(network, task, [*seen[:: max(1, budget.n_steps // N_SEEN)], last], tuning)


def best_of(network: NetworkUpdate, task: Task, points: Sequence[FloatArray], tuning: Any) -> FloatArray:
    """Return the parameters with the lowest mean loss on the tuning problems."""
    losses = task.losses_of_rules([network.rule(point) for point in points], tuning).mean(axis=1)
    return points[int(np.argmin(losses))]


@dataclass(frozen=True)
class Comparison:
    """A task with its problems and budget, which every process draws anew.

    Attributes
    ----------
    name : {"reward", "error"}
    seed : int
    budget : Budget
    settings : dataclass
        Of the problems.
    n_units : int
    """

    name: str
    seed: int
    budget: Budget
    settings: Any
    n_units: int

    @property
    def task(self) -> Task:
        """The task."""
        return get_task(self.name)

    @property
    def formula(self) -> Rule:
        """What the pipeline found."""
        return Rule.parse({self.name: FOUND[self.name]})

    @cached_property
    def seeds(self) -> list[np.random.SeedSequence]:
        """Of problems to learn on, to tune on and to judge on; of states, and of starts."""
        return np.random.SeedSequence(self.seed).spawn(5)

    @cached_property
    def train(self) -> Any:
        """Problems to learn on."""
        return self.task.draw(self.settings, self.budget.n_train, self.seeds[0])

    @cached_property
    def tuning(self) -> Any:
        """Problems to choose on."""
        return self.task.draw(self.settings, self.budget.n_tuning, self.seeds[1])

    @cached_property
    def test(self) -> Any:
        """Problems to judge on."""
        return self.task.draw(self.settings, self.budget.n_test, self.seeds[2])

    @cached_property
    def network(self) -> NetworkUpdate:
        """The network, with scales that suit the task."""
        return NetworkUpdate.of(self.task, self.tuning, self.n_units, self.seeds[3])


LEARNED, FROM_FORMULA, ALONG_GRADIENTS = "learned update", ", from the formula", ", then gradients"


@dataclass(frozen=True)
class Outcome:
    """What became of one start: its mean loss on the tuning problems, and the losses on the test problems."""

    tuning: float
    test: FloatArray


def learned(comparison: Comparison, child: np.random.SeedSequence, has_formula: bool) -> dict[str, Outcome]:
    """Return what one start ends with, by the name of the learner."""
    task, network, budget = comparison.task, comparison.network, comparison.budget
    rng = np.random.default_rng(child)
    start = network.start_from(comparison.formula, rng) if has_formula else network.start(rng)
    name, spread = (LEARNED + FROM_FORMULA, 0.05) if has_formula else (LEARNED, 0.3)
    point = evolved(network, task, comparison.train, comparison.tuning, start, spread, budget, rng)
    points = {name: point}
    if task.has_gradient and budget.n_steps:
        step_size = CAREFUL * STEP_SIZE if has_formula else STEP_SIZE
        points[name + ALONG_GRADIENTS] = followed(
            network, task, comparison.train, comparison.tuning, point, step_size, budget, rng
        )
    found = {}
    for kind, one in points.items():
        tuning = float(task.losses(network.rule(one), comparison.tuning).mean())
        found[kind] = Outcome(tuning, task.losses(network.rule(one), comparison.test))
    return found


def readable(comparison: Comparison) -> dict[str, FloatArray]:
    """Return the losses of the formula, of no rule, and of known rules at the speeds that suit them best."""
    task, test = comparison.task, comparison.test
    losses = {
        FORMULA: task.losses(comparison.formula, test),
        NONE: task.losses(Rule.parse({comparison.name: "0"}), test),
    }
    return losses | known_losses(task, comparison.tuning, test)


def compared(
    name: str,
    seed: int,
    n_starts: int,
    n_workers: int = 1,
    *,
    budget: Budget | None = None,
    settings: Any = None,
    n_units: int = 4,
) -> dict[str, Any]:
    """Learn the network update of a task, and measure it, the formula and known rules on the same problems.

    Parameters
    ----------
    name : {"reward", "error"}
    seed, n_starts : int
    n_workers : int
        Processes in which starts run side by side.
    budget : Budget, optional
        That of :data:`BUDGETS` by default.
    settings : dataclass, optional
        Of the problems; those of the pipeline by default.
    n_units : int
    """
    settings = settings or load_toml(Path(f"pipelines/{name}.toml")).problems
    comparison = Comparison(name, seed, budget or BUDGETS[name], settings, n_units)
    children = comparison.seeds[4].spawn(n_starts + 1)
    jobs: list[tuple[Any, ...]] = [(readable, comparison)]
    jobs += [(learned, comparison, child, number == n_starts) for number, child in enumerate(children)]
    losses, *found = side_by_side(jobs, n_workers)
    starts = {}
    for kind in dict.fromkeys(kind for one in found for kind in one):
        outcomes = [one[kind] for one in found if kind in one]
        starts[kind] = [one.tuning for one in outcomes]
        losses[kind] = outcomes[int(np.argmin(starts[kind]))].test
    return {
        "pipeline": name,
        "formula": FOUND[name],
        "n_test": comparison.budget.n_test,
        "n_starts": n_starts,
        "n_constants": n_units * (3 + len(comparison.task.slots[0].variables)) + 2,
        "tuning_losses_of_starts": starts,
        "rows": rows_of(losses),
    }
