"""Tasks of any spiking circuit: everything but the circuit, its problems and the loss.

A subclass of :class:`SpikingTask` draws the circuit of one problem, which is data
(:class:`sims.circuit.Circuit`), and says how far a run of it is from what it should do. The rule that is
searched for acts in one plastic projection; others may follow rules of the task's own. Simulation, folds,
learning curves and the states that synapses visit are here. There are no gradients: rules are fitted and
refined by CMA-ES.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self, TypeVar

import numpy as np
from annotated_types import Ge, Gt, Le
from numpy.typing import NDArray

from discover.errors import TaskError
from discover.known_rules import KnownRule
from discover.rule import Rule
from discover.slots import ON_POST, ON_PRE, TAU_POST, TAU_PRE, Slot
from discover.tasks._slopes import check_measures
from discover.tasks._spike_states import N_SEGMENTS, WINDOW_MS, SpikeTrains, picked_states, states_at_spikes
from discover.tasks._spiking_runs import kernel_rule, usual_limits
from discover.tasks.base import SECONDS, Answer, Fold, Task, VisitedStates, rule_of

if TYPE_CHECKING:
    from sims.circuit import Circuit
    from sims.spike_rules import ActivityLimits, LinearSpikeRule, SpikeRule
    from sims.spike_splines import SplineSpikeRule
    from sims.spiking_circuit import CircuitOutcome, Network

__all__ = ["SpikingProblems", "SpikingSettings", "SpikingTask", "spiking_conditions"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
T = TypeVar("T")

SHORTEST_PART_S = 1.0
"""In less time a rate of a few Hz cannot be told."""

NOTHING = Rule.from_coefficients({ON_PRE.name: {}, ON_POST.name: {}})


@dataclass(frozen=True)
class SpikingSettings:
    """Settings that all tasks of spiking circuits have; a task adds its own, each with a default.

    Parameters
    ----------
    duration_s, measured_s : float
        Length of the inner loop, and of its last part in which is measured.
    learning_rate : float
        Of the plastic projection.
    """

    duration_s: Annotated[float, Ge(0.1), Le(100_000)] = 10.0
    measured_s: Annotated[float, Gt(0), Le(100_000)] = 4.0
    learning_rate: Annotated[float, Gt(0), Le(10)] = 0.01

    def __post_init__(self) -> None:
        if self.measured_s > self.duration_s:
            raise TaskError(
                f"The measured part ({self.measured_s} s) is longer than the run ({self.duration_s} s)."
            )


@dataclass(frozen=True)
class SpikingProblems:
    """Drawn problems: a seed each, from which circuit, synapses, initial state and inputs follow.

    Attributes
    ----------
    seeds : ndarray of int, shape (n_problems,)
    settings : dataclass
    """

    seeds: IntArray
    settings: Any

    @classmethod
    def draw(cls, settings: Any, n_problems: int, seed: np.random.SeedSequence) -> Self:
        """Draw problems; problem `n` is the same however many are drawn."""
        seeds = [int(child.generate_state(1)[0]) for child in seed.spawn(n_problems)]
        return cls(np.array(seeds, dtype=np.int64), settings)

    @property
    def n_problems(self) -> int:
        """Number of problems."""
        return len(self.seeds)

    @property
    def n_steps(self) -> int:
        """Length of the inner loop, in ms."""
        milliseconds: float = 1000.0 * self.settings.duration_s
        return round(milliseconds)

    def subset(self, indices: Sequence[int] | IntArray) -> Self:
        """Return some of the problems."""
        return replace(self, seeds=self.seeds[np.asarray(indices)])


class SpikingTask(Task):
    """A spiking circuit, one projection of which changes by the rule that is searched for.

    A subclass gives `name`, `title`, `settings_type` (a subclass of :class:`SpikingSettings`), `projection`,
    `known_rules` with their `reference`, `measures`, :meth:`draw_problem`, :meth:`loss` and, for measures
    other than the loss, :meth:`measure`.

    Attributes
    ----------
    projection : str
        Name of the plastic projection. Rules see its weight ``w`` and the traces of the circuit's state
        ``x``, which both its populations have.
    worst : mapping from str to float
        Value of a measure where a run was stopped; without an entry 0 for a measure that is good when large
        and 1 for others.
    """

    slots: ClassVar[tuple[Slot, ...]] = (ON_PRE, ON_POST, TAU_PRE, TAU_POST)
    projection: ClassVar[str]
    measures: ClassVar[Mapping[str, str]] = {"loss": "loss"}
    worst: ClassVar[Mapping[str, float]] = {}
    takes_trace_splines: ClassVar[bool] = True

    @abstractmethod
    def draw_problem(self, settings: Any, rng: np.random.Generator) -> Mapping[str, Any]:
        """Draw one problem.

        Returns
        -------
        mapping
            The ``circuit``, and what else :meth:`loss` and :meth:`measure` want to know. What is drawn must
            not depend on the learning rate or the duration but through their values.
        """

    @abstractmethod
    def loss(self, outcome: CircuitOutcome, problem: Mapping[str, Any]) -> float:
        """Return the loss of a run that was not stopped, with its last part as the measuring window.

        A circuit that learnt nothing should have about 1: runs that were stopped have 1 to 2.
        """

    def measure(self, outcome: CircuitOutcome, problem: Mapping[str, Any]) -> Mapping[str, float]:
        """Return the measures of such a run by name, all but the loss."""
        return {}

    def loss_at_stop(self, outcome: CircuitOutcome, problem: Mapping[str, Any]) -> float:
        """Return the loss of a run that was stopped: the more, the sooner."""
        return 2.0 - outcome.completed

    def measures_at_stop(self, outcome: CircuitOutcome, problem: Mapping[str, Any]) -> Mapping[str, float]:
        """Return the measures of a run that was stopped, all but the loss."""
        return {
            name: self.worst.get(name, 0.0 if name in self.higher_is_better else 1.0)
            for name in self.measures
            if name != "loss"
        }

    def limits(self, circuit: Circuit, seconds: float) -> Mapping[str, ActivityLimits]:
        """When a run is stopped, by population; by default outside 0.1-100 Hz of the postsynaptic one."""
        return {circuit.projections[self.projection].post: usual_limits(seconds)}

    def other_rules(self, settings: Any) -> Mapping[str, Any]:
        """Return what other plastic projections follow, by the names of their slots."""
        return {}

    def constant_factor(self, settings: Any) -> float:
        """Return by what the constant term of the update at presynaptic spikes is multiplied."""
        return 1.0

    def folds(self, settings: Any) -> tuple[Fold, ...]:
        """Other learning rates and a longer run, where the loss beside the reference counts."""
        return tuple(Fold(name, title, changed) for name, title, changed in spiking_conditions(settings))

    def answer_for(self, settings: Any) -> Answer:
        """Say that many rules of spiking synapses do what one does."""
        return "many forms"

    def draw(self, settings: Any, n_problems: int, seed: np.random.SeedSequence) -> Any:
        """Draw problems; the n-th is the same however many are drawn."""
        return SpikingProblems.draw(settings, n_problems, seed)

    def losses(self, rule: Any, problems: Any, n_steps: int | None = None) -> FloatArray:
        """Loss of each problem after the inner loop, shape (n_problems,)."""
        losses: FloatArray = self.losses_of_rules([rule], problems, n_steps)[0]
        return losses

    def losses_of_rules(self, rules: Sequence[Any], problems: Any, n_steps: int | None = None) -> FloatArray:
        """Losses of several rules on the same inputs, shape (n_rules, n_problems)."""
        seconds = problems.settings.duration_s if n_steps is None else n_steps / 1000.0
        return np.array(self._each(rules, problems, seconds, self._loss))

    def evaluate(self, rule: Rule | KnownRule, problems: Any) -> dict[str, FloatArray]:
        """Measures of each problem after the inner loop; a run that stopped has the worst value of each."""
        return self.evaluate_rules([rule], problems)[0]

    def evaluate_rules(self, rules: Sequence[Any], problems: Any) -> list[dict[str, FloatArray]]:
        """Measures of several rules on the same inputs."""
        measured = self._measured(rules, problems)
        for one in measured:
            check_measures(self.name, self.measures, one)
        return measured

    def learning_curve(
        self, rule: Rule | KnownRule, problems: Any, n_points: int
    ) -> tuple[IntArray, FloatArray]:
        """Loss along the inner loop: times in ms (n_points,) and losses (n_points, n_problems).

        The first entry is the loss with the initial weights; every later one is measured in one of
        ``n_points - 1`` equal parts, one after the other. Parts last a second or more: where the inner loop
        is too short for that there are fewer points.
        """
        n_points, seconds = points_of_curve(problems.settings.duration_s, n_points)
        losses = np.empty((n_points, problems.n_problems))
        for number, (problem, network, seed) in enumerate(self._drawn(problems)):
            (start,) = self._parts(NOTHING, problems.settings, network, seed, 1, seconds)
            losses[0, number] = self._loss(start, problem)
            parts = self._parts(rule, problems.settings, network, seed, n_points - 1, seconds)
            last = np.nan
            for part in range(1, n_points):
                outcome = next(parts, None)
                last = last if outcome is None else self._loss(outcome, problem)
                losses[part, number] = last
        return round(1000.0 * seconds) * np.arange(n_points), losses

    def curve_axis(self, settings: Any) -> tuple[float, str]:
        """Steps of the curve are milliseconds."""
        return 1e-3, SECONDS

    def probe(self, problems: Any, n_states: int, seed: np.random.SeedSequence) -> dict[str, VisitedStates]:
        """States at the circuit's own activity with random weights, anywhere between their bounds."""
        weights_seed, state_seed = seed.spawn(2)
        rng = np.random.default_rng(weights_seed)
        return self._states(NOTHING, problems, 1, n_states, state_seed, rng)

    def visit(
        self, rule: Any, problems: Any, n_states: int, seed: np.random.SeedSequence
    ) -> dict[str, VisitedStates]:
        """States at spikes near the ends of equal parts of the inner loop; runs that stop give none."""
        return self._states(rule, problems, N_SEGMENTS, n_states, seed)

    def check(self, settings: Any) -> None:
        """Run one problem under no rule, and compare what comes out with what the task states."""
        self.evaluate(NOTHING, self.draw(settings, 1, np.random.SeedSequence(0)))

    def form_of(self, rule: Any, settings: Any) -> SpikeRule | LinearSpikeRule | SplineSpikeRule:
        """Return a rule, or a vector of all coefficients, in a form of the simulators."""
        from sims.spike_splines import SplineSpikeRule

        factor = self.constant_factor(settings)
        if isinstance(rule, SplineSpikeRule):
            if factor != 1.0:
                raise TaskError("A rule without a formula has no constant term that would set its target.")
            return rule
        whole = rule.rule if isinstance(rule, KnownRule) else rule
        if not isinstance(whole, Rule):
            whole = rule_of(self, np.asarray(whole))
        return kernel_rule(whole, factor)

    def _by_slot(self, rule: Any, settings: Any) -> dict[str, Any]:
        return {**self.other_rules(settings), **self.form_of(rule, settings).of_projection(self.projection)}

    def _drawn(self, problems: Any) -> Iterator[tuple[Mapping[str, Any], Network, int]]:
        from sims.spiking_circuit import Network

        for seed in problems.seeds.tolist():
            problem = self.draw_problem(problems.settings, np.random.default_rng(seed))
            self._check_problem(problem)
            yield problem, Network(problem["circuit"], seed), seed

    def _check_problem(self, problem: Any) -> None:
        from sims.circuit import Circuit

        circuit = problem.get("circuit") if isinstance(problem, Mapping) else None
        what = f"`draw_problem` of the task {self.name}"
        if not isinstance(circuit, Circuit) or circuit.is_rate:
            raise TaskError(f'{what} returns a mapping with a spiking sims.circuit.Circuit as "circuit".')
        if self.projection not in circuit.projections or not circuit.projections[self.projection].plastic:
            plastic = [name for name, one in circuit.projections.items() if one.plastic]
            raise TaskError(
                f"{what}: its circuit has no plastic projection {self.projection!r}, which the task names; "
                f"plastic projections are {', '.join(plastic) or 'none'}."
            )
        ends = circuit.projections[self.projection]
        if not {f"{self.projection}.tau_x_{side}" for side in ("pre", "post")} <= set(circuit.time_constants):
            pair = ", ".join(repr(name) for name in dict.fromkeys((ends.pre, ends.post)))
            raise TaskError(
                f'{what}: its circuit lacks the state "x": Trace(({pair}), 20.0), which rules read.'
            )

    def _each(
        self, rules: Sequence[Any], problems: Any, seconds: float, read: Callable[..., T]
    ) -> list[list[T]]:
        """Run each rule on each problem, and return what is read of the outcomes."""
        from sims.spiking_circuit import run_each

        settings, drawn = problems.settings, list(self._drawn(problems))
        return run_each(
            [self._by_slot(rule, settings) for rule in rules],
            [(network, seed) for _, network, seed in drawn],
            seconds,
            min(settings.measured_s, seconds),
            lambda circuit: self.limits(circuit, seconds),
            lambda outcome, number: read(outcome, drawn[number][0]),
        )

    def _loss(self, outcome: CircuitOutcome, problem: Mapping[str, Any]) -> float:
        loss = (self.loss if outcome.stop == 0 else self.loss_at_stop)(outcome, problem)
        if np.shape(loss) != () or not isfinite(loss):
            raise TaskError(f"`loss` of the task {self.name} returns one finite number, got {loss}.")
        return float(loss)

    def _measured(self, rules: Sequence[Any], problems: Any) -> list[dict[str, FloatArray]]:
        def read(outcome: CircuitOutcome, problem: Mapping[str, Any]) -> Mapping[str, float]:
            measures = (self.measure if outcome.stop == 0 else self.measures_at_stop)(outcome, problem)
            return {"loss": self._loss(outcome, problem), **measures}

        rows = self._each(rules, problems, problems.settings.duration_s, read)
        return [{name: np.array([one[name] for one in row]) for name in row[0]} for row in rows]

    def _parts(
        self,
        rule: Any,
        settings: Any,
        network: Network,
        seed: int,
        n_parts: int,
        seconds: float,
        weights: FloatArray | None = None,
    ) -> Iterator[CircuitOutcome]:
        """Yield the outcomes of parts of a run, up to the one in which it was stopped.

        From given weights it is stopped only where a number is none.
        """
        rules, state, ends = self._by_slot(rule, settings), network.initial_state(seed), self._ends(network)
        limits = self.limits(network.circuit, seconds)
        if weights is not None:
            state, limits = state.with_weights(self.projection, weights), {}
        for _ in range(n_parts):
            outcome = network.run(
                rules, state, seconds, limits=limits, measure_from_s=0.0,
                record={ends.pre, ends.post},
            )  # fmt: skip
            yield outcome
            if outcome.stop != 0:
                return
            state = outcome.state

    def _ends(self, network: Network) -> Any:
        return network.circuit.projections[self.projection]

    def _states(
        self,
        rule: Any,
        problems: Any,
        n_parts: int,
        n_states: int,
        seed: np.random.SeedSequence,
        weights_rng: np.random.Generator | None = None,
    ) -> dict[str, VisitedStates]:
        """States at the ends of parts of runs, from random weights where there is a generator for them."""
        form, seconds = self.form_of(rule, problems.settings), problems.settings.duration_s / N_SEGMENTS
        rows = []
        for number, (_, network, seed_of_run) in enumerate(self._drawn(problems)):
            ends, synapses = self._ends(network), network.synapses[self.projection]
            start = None
            if weights_rng is not None:
                low, high = network.circuit.bounds(self.projection)
                high = high if isfinite(high) else 2.0 * max(float(np.max(ends.weight)), 1.0)
                start = weights_rng.uniform(low, high, len(synapses))
            parts = self._parts(rule, problems.settings, network, seed_of_run, n_parts, seconds, start)
            for part, outcome in enumerate(parts, start=1):
                if outcome.stop == 0:
                    pre, post = outcome.spikes[ends.pre], outcome.spikes[ends.post]
                    pre_ms, post_ms = (network.circuit.dt_ms * one.step.astype(float) for one in (pre, post))
                    trains = SpikeTrains(pre_ms + ends.delay_ms, pre.neuron, post_ms, post.neuron)
                    weights = outcome.state.weights(self.projection)
                    since = 1000.0 * seconds * part - WINDOW_MS
                    states = states_at_spikes(form, trains, synapses, weights, since)
                    rows.append((states, number, round(1000.0 * seconds * part)))
        return picked_states(rows, n_states, seed)


def points_of_curve(duration_s: float, n_points: int) -> tuple[int, float]:
    """Number of points of a learning curve, at most so many, and how long the parts between them last."""
    n_points = max(2, min(n_points, 1 + int(duration_s / SHORTEST_PART_S)))
    return n_points, duration_s / (n_points - 1)


def spiking_conditions(settings: Any) -> Iterator[tuple[str, str, Any]]:
    """Yield name, title and settings of conditions that every spiking task can be tried under."""
    rate, seconds = settings.learning_rate, settings.duration_s
    slow = replace(settings, learning_rate=rate / 3, duration_s=3 * seconds)
    yield "learning-slow", f"learning rate {slow.learning_rate:.3g}, {slow.duration_s:g} s", slow
    longer = replace(settings, duration_s=3 * seconds)
    yield "run-long", f"{longer.duration_s:g} s", longer
