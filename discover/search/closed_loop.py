"""The closed loop: an evolution of expressions that the network's own loss drives.

Engines that fit a teacher's update cost no simulation until their proposals are tried, but see the task only
through the teacher. Here every expression is simulated, at a few speeds; those that are the same function up
to a factor only once. Where many problems are needed, each expression begins with few of them, and goes on to
four times as many, at the better half of its speeds, if it is among the best quarter of those that came so
far (successive halving).

References
----------
Li et al. (2020), MLSys 2:230 (asynchronous successive halving).
"""

from __future__ import annotations

from bisect import bisect_left, insort
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

MORE = 4
"""Factor from the problems of one round to those of the next, and one in so many goes on."""

N_POINTS = 64
N_DIGITS = 7
"""Expressions that agree to so many digits on all points are one function."""

HOPELESS = 10.0
"""Worth of what is no rule."""

MOST_KEPT = 40


@dataclass
class _Entry:
    """An expression on its way through the rounds: its speeds that are left, and their losses so far."""

    key: bytes
    rule: Rule
    scaled: list[Rule]
    losses: FloatArray  # (n_speeds, n_problems so far)
    n_rounds: int = 0

    @property
    def loss(self) -> float:
        """Lowest mean loss of its speeds, at most that of what is no rule."""
        return min(HOPELESS, float(self.losses.mean(axis=1).min()))


@dataclass
class _Judge:
    """Simulates each function once and remembers what it is worth."""

    task: Task
    problems: Any
    slot: str
    points: dict[str, FloatArray]
    unit: float
    max_nodes: int
    n_first: int = 0
    n_simulated: int = 0
    losses: dict[bytes, float] = field(default_factory=dict)
    best: dict[float, tuple[float, Rule]] = field(default_factory=dict)
    trace: list[tuple[int, float]] = field(default_factory=list)
    seen: dict[int, list[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n, counts = self.problems.n_problems, [self.n_first or self.problems.n_problems]
        while counts[-1] < n:
            counts.append(MORE * counts[-1])
        ends = [min(count, n) for count in counts]
        starts = [0, *ends[:-1]]
        self.rounds = [self.problems.subset(np.arange(*ab)) for ab in zip(starts, ends, strict=True)]

    def __call__(self, node: Node) -> float:
        entry = self.prepared(node)
        if entry is None:
            return HOPELESS
        if entry.key not in self.losses:
            while self.goes_on(entry):
                self.advance(entry)
        return self.losses[entry.key]

    def all_of(self, nodes: Sequence[Node], progress: Progress = silent) -> None:
        """Judge many expressions, round by round: of each round the best quarter goes on to the next."""
        entries: dict[bytes, _Entry] = {}
        for node in nodes:
            entry = self.prepared(node)
            if entry is not None and entry.key not in self.losses:
                entries.setdefault(entry.key, entry)
        left = list(entries.values())
        for number in range(1, len(self.rounds) + 1):
            for done, entry in enumerate(left, 1):
                progress(0.0, f"short sum {done} of {len(left)}, round {number} of {len(self.rounds)}")
                self.advance(entry)
            left = sorted(left, key=lambda entry: entry.loss)[: -(-len(left) // MORE)]

    def prepared(self, node: Node) -> _Entry | None:
        """An expression at all speeds, with what tells its function from others; None for what is no rule."""
        try:
            rule = Rule({self.slot: node}).canonical()
            values = rule.numpy()[self.slot](**self.points)
            size = float(np.sqrt(np.mean(values**2)))
            if rule.size > self.max_nodes or not (np.isfinite(size) and size > 0):
                return None
            scaled = [rule.scaled(speed * self.unit / size) for speed in SPEEDS]
        except (RuleError, FloatingPointError):
            return None
        key = np.round(values / size, N_DIGITS).tobytes()
        return _Entry(key, rule, scaled, np.empty((len(SPEEDS), 0)))

    def advance(self, entry: _Entry) -> None:
        """Simulate the next round, at the better half of the speeds of the one before."""
        if entry.n_rounds > 0:
            kept = np.sort(np.argsort(entry.losses.mean(axis=1), kind="stable")[: -(-len(entry.scaled) // 2)])
            entry.scaled, entry.losses = [entry.scaled[n] for n in kept], entry.losses[kept]
        problems = self.rounds[entry.n_rounds]
        new = np.array([self.losses_of(rule, problems) for rule in entry.scaled])
        entry.losses = np.concatenate([entry.losses, new], axis=1)
        entry.n_rounds += 1
        insort(self.seen.setdefault(entry.n_rounds, []), entry.loss)
        self.losses[entry.key] = entry.loss
        if entry.n_rounds == len(self.rounds):
            self.keep(entry)

    def losses_of(self, rule: Rule, problems: Any) -> FloatArray:
        """Loss on each problem; what turns out to be no rule is hopeless."""
        try:
            losses: FloatArray = self.task.losses(rule, problems)
        except (RuleError, FloatingPointError):
            return np.full(problems.n_problems, HOPELESS)
        self.n_simulated += problems.n_problems
        return losses

    def goes_on(self, entry: _Entry) -> bool:
        """Whether an expression is worth the next round."""
        if entry.n_rounds in (0, len(self.rounds)):
            return entry.n_rounds == 0
        seen = self.seen[entry.n_rounds]
        return MORE * bisect_left(seen, entry.loss) < len(seen)

    def keep(self, entry: _Entry) -> None:
        """Keep what has come through all rounds, if no simpler expression has a lower loss."""
        lowest, rule = entry.loss, entry.rule
        if lowest >= HOPELESS:
            return
        if all(lowest < loss for complexity, (loss, _) in self.best.items() if complexity <= rule.complexity):
            self.best[rule.complexity] = lowest, entry.scaled[int(entry.losses.mean(axis=1).argmin())]
        if not self.trace or lowest < self.trace[-1][1]:
            self.trace.append((self.n_simulated, lowest))

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
        problems.subset(np.arange(min(settings.task_problems, problems.n_problems))),
        slot,
        dict(some.columns),
        float(np.sqrt(np.mean(weights**2))) or 1.0,
        settings.max_nodes,
        min(settings.task_first, settings.task_problems, problems.n_problems),
    )
    short = list(short_sums(samples.variables, settings.task_degree))
    judge.all_of(short, progress)
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
