"""The closed loop: an evolution of expressions that the network's own loss drives.

Engines that fit a teacher's update cost no simulation until their proposals are tried, but see the task only
through the teacher. Here every expression is simulated, at a few speeds; those that are the same function up
to a factor only once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations, combinations_with_replacement
from typing import Any

import numpy as np
from numpy.typing import NDArray

from discover.errors import EngineError, RuleError
from discover.expression import Node, combine, const, var
from discover.pareto import Spent
from discover.progress import Progress, silent
from discover.rule import Rule
from discover.search.operon import evolve_on
from discover.search.settings import SearchSettings
from discover.search.teacher import Lesson
from discover.slots import get_slot
from discover.tasks.base import Task

__all__ = ["CLOSED_LOOP", "closed_loop", "products", "short_sums"]

FloatArray = NDArray[np.float64]

CLOSED_LOOP = "operon on the task"
"""Name under which its rules enter the union."""

SPEEDS = (0.1, 0.3, 1.0, 3.0)
"""Sizes of the update, relative to that of the weights, at which an expression is tried."""

N_PROBLEMS = 8
N_POINTS = 64
N_DIGITS = 7
"""Expressions that agree to so many digits on all points are one function."""

HOPELESS = 10.0
"""Worth of what is no rule."""

MOST_KEPT = 40


@dataclass
class _Judge:
    """Simulates each function once and remembers what it is worth."""

    task: Task
    problems: Any
    slot: str
    points: dict[str, FloatArray]
    unit: float
    max_nodes: int
    n_simulated: int = 0
    losses: dict[bytes, float] = field(default_factory=dict)
    best: dict[float, tuple[float, Rule]] = field(default_factory=dict)
    trace: list[tuple[int, float]] = field(default_factory=list)

    def __call__(self, node: Node) -> float:
        try:
            rule = Rule({self.slot: node}).canonical()
            values = rule.numpy()[self.slot](**self.points)
            size = float(np.sqrt(np.mean(values**2)))
            if rule.size > self.max_nodes or not (np.isfinite(size) and size > 0):
                return HOPELESS
            key = np.round(values / size, N_DIGITS).tobytes()
            if key not in self.losses:
                self.losses[key] = self.simulated(rule, size)
        except (RuleError, FloatingPointError):
            return HOPELESS
        return self.losses[key]

    def simulated(self, rule: Rule, size: float) -> float:
        """Lowest mean loss over the speeds; keep the rule if no simpler one has a lower one."""
        lowest, chosen = HOPELESS, rule
        for speed in SPEEDS:
            scaled = rule.scaled(speed * self.unit / size)
            loss = float(self.task.losses(scaled, self.problems).mean())
            self.n_simulated += self.problems.n_problems
            if loss < lowest:
                lowest, chosen = loss, scaled
        if all(lowest < loss for complexity, (loss, _) in self.best.items() if complexity <= rule.complexity):
            self.best[rule.complexity] = lowest, chosen
        if not self.trace or lowest < self.trace[-1][1]:
            self.trace.append((self.n_simulated, lowest))
        return lowest

    def front(self) -> list[Rule]:
        """The rules that no simpler one beats."""
        kept: list[Rule] = []
        least = float("inf")
        for _, (loss, rule) in sorted(self.best.items()):
            if loss < least:
                least = loss
                kept.append(rule)
        return kept[-MOST_KEPT:]


def closed_loop(
    task: Task,
    problems: Any,
    lesson: Lesson,
    settings: SearchSettings,
    seed: int,
    progress: Progress = silent,
) -> tuple[list[Rule], Spent]:
    """Evolve expressions on the loss of a task.

    Parameters
    ----------
    task : Task
        With one slot.
    problems : Problems
        The first few are used.
    lesson : Lesson
        For states at which functions are compared, and constants of the synapse.
    settings : SearchSettings
    seed : int
    progress : callable, optional

    Returns
    -------
    rules : list of Rule
        The front of complexity and loss, at the speeds that suit best.
    spent : Spent
        What it reached for how many simulated problems.

    Raises
    ------
    EngineError
        If the task has several slots, or pyoperon is missing or fails.
    """
    if len(lesson.samples) != 1 or lesson.constants:
        raise EngineError(
            f"The task {task.name!r} has several slots; an evolution on the task itself needs a single one. "
            'Leave objective = "task" out.'
        )
    ((slot, samples),) = lesson.samples.items()
    some = samples.subset(N_POINTS, seed)
    weights = some.columns[str(get_slot(slot).weight)]
    judge = _Judge(
        task,
        problems.subset(np.arange(min(N_PROBLEMS, problems.n_problems))),
        slot,
        dict(some.columns),
        float(np.sqrt(np.mean(weights**2))) or 1.0,
        settings.max_nodes,
    )
    short = list(short_sums(samples.variables, settings.task_degree))
    for number, node in enumerate(short):
        progress(0.0, f"short sum {number + 1} of {len(short)}")
        judge(node)
    evolve_on(judge, some, settings, seed, progress)
    lowest = judge.trace[-1][1] if judge.trace else HOPELESS
    return judge.front(), Spent(CLOSED_LOOP, judge.n_simulated, lowest, tuple(judge.trace))


def short_sums(variables: Sequence[str], degree: int) -> Iterator[Node]:
    """Yield all products of at most so many variables, and all sums and differences of two of them.

    Of each also the negative, as a rule that learns backwards is another rule.

    Parameters
    ----------
    variables : sequence of str
    degree : int
        Most variables of a product, one that stands in it twice counted twice; 0 for no expression at all.

    Examples
    --------
    >>> from discover.rule import Rule
    >>> rules = [Rule({"error": node}).canonical() for node in short_sums(("s", "u", "v"), 2)]
    >>> len(rules), Rule.parse({"error": "-s*u + v*s"}).canonical() in rules
    (200, True)
    """
    if degree == 0:
        return
    parts = products(variables, degree)
    for product in parts:
        yield from (product, combine("neg", (product,)))
    for one, other in combinations(parts, 2):
        for operation in ("add", "sub"):
            whole = combine(operation, (one, other))
            yield from (whole, combine("neg", (whole,)))


def products(variables: Sequence[str], degree: int) -> list[Node]:
    """Return all products of at most so many variables, shortest first.

    Examples
    --------
    >>> [str(one) for one in products(("x", "w"), 2)]
    ['1', 'x', 'w', 'x*x', 'x*w', 'w*w']
    """
    return [
        _product(chosen)
        for n_variables in range(degree + 1)
        for chosen in combinations_with_replacement(variables, n_variables)
    ]


def _product(names: Sequence[str]) -> Node:
    if not names:
        return const(1.0)
    product = var(names[0])
    for name in names[1:]:
        product = combine("mul", (product, var(name)))
    return product
