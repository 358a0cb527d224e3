"""Task ``memory``: four co-plastic projections that keep a network stable and let it remember a stimulus.

References
----------
Confavreux et al. (2025), "Memory by a thousand rules", bioRxiv 2025.05.28.656584.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from discover.expression.node import const
from discover.known_rules import KnownRule
from discover.rule import Rule
from discover.slots import Slot, of_projection
from discover.tasks._memory_folds import memory_folds
from discover.tasks._spike_states import drawn_states
from discover.tasks.base import NOT_NEGATIVE, SECONDS, Answer, Fold, Task, VisitedStates, rule_of
from discover.tasks.memory_measures import (
    MemorySettings,
    goes_on_after,
    is_sound,
    loss_of,
    measures_of,
    outcome_up_to,
    settings_up_to,
)
from discover.tasks.spiking import SpikingProblems
from discover.traces import drawn_traces
from sims.memory import PROJECTIONS

if TYPE_CHECKING:
    from sims.memory_protocol import MemoryOutcome, MemoryTest
    from sims.spiking_circuit import CircuitOutcome, Network

__all__ = ["PROJECTIONS", "TASK", "MemoryProblems", "MemoryTask", "circuit_rules"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

STEPS_PER_S = 10_000
"""Steps of the circuit in a second; those of a learning curve, too."""

USUAL_HZ = 3.0
"""Rate of neurons in a network that works, at which states are drawn."""

N_SEGMENTS = 4
"""States are sampled at the ends of so many parts of a run without a stimulus."""

WINDOW_S, RECENT_STEPS = 0.5, 1000
"""What is recorded before such an end, and how old the last spike of a sampled synapse may be."""


class MemoryProblems(SpikingProblems):
    """Networks with other connections, receptive fields and spikes of inputs."""

    @property
    def n_steps(self) -> int:
        """Length of a run up to the last test, in steps of 0.1 ms."""
        seconds: float = self.settings.protocol().duration_s
        return round(STEPS_PER_S * seconds)


class MemoryTask(Task):
    """A recurrent spiking network that is to answer more to a novel stimulus than to a familiar one."""

    name: ClassVar[str] = "memory"
    title: ClassVar[str] = "A stable network with a memory, by four co-plastic projections"
    slots: ClassVar[tuple[Slot, ...]] = tuple(slot for name in PROJECTIONS for slot in of_projection(name))
    settings_type: ClassVar[type] = MemorySettings
    reference: ClassVar[str] = "confavreux-quartet"
    known_rules: ClassVar[tuple[str, ...]] = ("confavreux-quartet", "vogels-ie", "stdp-ee-vogels-ie")
    measures: ClassVar[Mapping[str, str]] = {
        "loss": "2 to 3 where the network blows up, 1 to 2 where it is unstable otherwise, 0 to 1 where it "
        "is stable, by its preference for the novel stimulus",
        "stable": "share of networks that are stable at all tests",
        "novelty": "share of networks that are stable and prefer the novel stimulus at all late tests",
        "preference": "lowest preference for the novel stimulus at the late tests; 0 where unstable",
        "early_preference": "preference for the novel stimulus at the first test; 0 where unstable",
        "bias_before": "size of the preference before training, which nothing was learned for",
        "rate": "rate of excitatory neurons in the second before the last test, in Hz",
        "interval_cv": "coefficient of variation of the intervals of excitatory neurons in that second",
        "drift": "largest relative change per second of a projection's mean weight, over the last break",
        "at_bound": "largest share of a projection's weights at the upper bound",
    }
    higher_is_better: ClassVar[tuple[str, ...]] = ("stable", "novelty", "preference", "early_preference")
    possible: ClassVar[Mapping[str, tuple[float, float]]] = {
        **NOT_NEGATIVE, "stable": (0.0, 1.0), "novelty": (0.0, 1.0),
    }  # fmt: skip
    plausible: ClassVar[Mapping[str, tuple[float, float]]] = {"rate": (0.1, 100.0), "interval_cv": (0.7, 3.0)}

    def answer_for(self, settings: Any) -> Answer:
        """Say that many quartets serve."""
        return "many forms"

    def draw(self, settings: Any, n_problems: int, seed: np.random.SeedSequence) -> MemoryProblems:
        """Draw networks; the n-th is the same however many are drawn."""
        return MemoryProblems.draw(settings, n_problems, seed)

    def losses(self, rule: Any, problems: Any, n_steps: int | None = None) -> FloatArray:
        """Loss of each network, shape (n_problems,)."""
        losses: FloatArray = self.losses_of_rules([rule], problems)[0]
        return losses

    def losses_of_rules(self, rules: Sequence[Any], problems: Any) -> FloatArray:
        """Losses of several rules in the same networks, shape (n_rules, n_problems).

        A run ends at the first test that shows an unstable network, or one that has forgotten.
        """
        outcomes = self._run(rules, problems, goes_on_after(problems.settings))
        return np.array([[loss_of(one, problems.settings) for one in row] for row in outcomes])

    def evaluate(self, rule: Rule | KnownRule, problems: Any) -> dict[str, FloatArray]:
        """Measures of each network and the loss."""
        return self.evaluate_rules([rule], problems)[0]

    def evaluate_rules(self, rules: Sequence[Rule | KnownRule], problems: Any) -> list[dict[str, FloatArray]]:
        """Measures of several rules in the same networks."""
        measured = [
            [measures_of(one, problems.settings) for one in row] for row in self._run(rules, problems)
        ]
        return [{name: np.array([one[name] for one in row]) for name in row[0]} for row in measured]

    def learning_curve(
        self, rule: Rule | KnownRule, problems: Any, n_points: int
    ) -> tuple[IntArray, FloatArray]:
        """Loss before training and at every test: steps (n_tests + 1,) and losses (n_tests + 1, n_problems).

        At a test it is the loss of a protocol that ends there. There are as many points as tests, whatever
        `n_points` asks for.
        """
        settings = problems.settings
        outcomes = self._run([rule], problems)[0]
        rows = [[_loss_before(one, settings) for one in outcomes]]
        for n in range(1, len(settings.breaks_s) + 1):
            shorter = settings_up_to(settings, n)
            rows.append([loss_of(outcome_up_to(one, n), shorter) for one in outcomes])
        start = settings.background_s
        after = [start + settings.protocol().trained_s + time for time in settings.breaks_s]
        return np.rint(STEPS_PER_S * np.array([start, *after])).astype(np.int64), np.array(rows)

    def curve_axis(self, settings: Any) -> tuple[float, str]:
        """Steps of the curve are those of the circuit."""
        return 1.0 / STEPS_PER_S, SECONDS

    def folds(self, settings: Any) -> tuple[Fold, ...]:
        """Conditions for cross-validation."""
        return memory_folds(settings)

    def probe(self, problems: Any, n_states: int, seed: np.random.SeedSequence) -> dict[str, VisitedStates]:
        """States with traces of neurons that spike at 3 Hz, and weights up to twice those at the start."""
        rng, circuit, states = np.random.default_rng(seed), problems.settings.circuit(), {}
        for slot in self.slots:
            if slot.is_constant:
                continue
            initial = circuit.excitatory_weight if slot.name[0] == "E" else circuit.inhibitory_weight
            weights = initial * rng.uniform(0, 2, n_states)
            traces = drawn_traces(np.full(n_states, USUAL_HZ), 20.0, rng)
            problem = np.sort(rng.integers(problems.n_problems, size=n_states))
            step = np.zeros(n_states, dtype=np.int64)
            states[slot.name] = VisitedStates(np.stack([traces, weights], axis=1), problem, step)
        return states

    def visit(
        self, rule: Any, problems: Any, n_states: int, seed: np.random.SeedSequence
    ) -> dict[str, VisitedStates]:
        """States of synapses with a recent spike at the ends of equal parts of the time before training."""
        from sims.spiking_circuit import Network

        rng, rules = np.random.default_rng(seed), circuit_rules(self._as_rule(rule))
        circuit = problems.settings.circuit()
        rows: dict[str, list[FloatArray]] = {slot.name: [] for slot in self.slots if not slot.is_constant}
        part_s = problems.settings.background_s / N_SEGMENTS
        for problem, number in enumerate(problems.seeds.tolist()):
            network = Network(circuit.circuit(number), number)
            state = network.initial_state(number)
            for _ in range(N_SEGMENTS):
                outcome = _sound_run(network, rules, state, max(part_s - WINDOW_S, 0.1))
                outcome = outcome and _sound_run(network, rules, outcome.state, WINDOW_S, ("E", "I"))
                if outcome is None:
                    break
                state = outcome.state
                for slot in rows:
                    seen = _states_at_end(slot, network, outcome, rules)
                    where = np.broadcast_to([float(problem), float(state.step)], (len(seen), 2))
                    rows[slot].append(np.concatenate([seen, where], axis=1))
        return {slot: drawn_states(parts, n_states, rng) for slot, parts in rows.items()}

    def _as_rule(self, rule: Any) -> Rule:
        whole = rule.rule if isinstance(rule, KnownRule) else rule
        return whole if isinstance(whole, Rule) else rule_of(self, np.asarray(whole))

    def _run(
        self, rules: Sequence[Any], problems: Any, goes_on: Callable[[MemoryTest], bool] = is_sound
    ) -> list[list[MemoryOutcome]]:
        from sims.memory_protocol import run_memories

        settings = problems.settings
        forms = [circuit_rules(self._as_rule(rule)) for rule in rules]
        seeds = problems.seeds.tolist()
        return run_memories(forms, settings.circuit(), settings.protocol(), seeds, goes_on)


def circuit_rules(rule: Rule) -> dict[str, Any]:
    """Return what the circuit runs for a rule: a program for each update that is not zero, and its traces.

    Examples
    --------
    >>> sorted(circuit_rules(Rule.parse("IE.on_pre: x_post - 0.2; EE.on_pre: 0")))
    ['IE.on_pre', 'IE.tau_x_post', 'IE.tau_x_pre']
    """
    rules: dict[str, Any] = {}
    for name in PROJECTIONS:
        updates = {
            slot: rule.program(slot)
            for slot in (f"{name}.on_pre", f"{name}.on_post")
            if slot in rule.slots and rule.expressions[slot] != const(0.0)
        }
        if updates:
            taus = {f"{name}.tau_x_{side}": rule.constant(f"{name}.tau_{side}") for side in ("pre", "post")}
            rules |= updates | taus
    return rules


def _loss_before(outcome: MemoryOutcome, settings: MemorySettings) -> float:
    """Loss of a network before training, with the test there for the only one."""
    if outcome.before is None:
        return loss_of(outcome, settings)
    shorter = replace(settings, breaks_s=(1.0,), late_s=1.0)
    test = replace(outcome.before, break_s=1.0)
    return loss_of(replace(outcome, tests=(test,), stop=type(outcome.stop).RAN), shorter)


def _sound_run(
    network: Network, rules: Mapping[str, Any], state: Any, seconds: float, record: Sequence[str] = ()
) -> CircuitOutcome | None:
    from sims.spike_rules import ActivityLimits

    limits = {"E": ActivityLimits(0.0, 100.0, min(2.0, seconds), 0.0)}
    outcome = network.run(rules, state, seconds, limits=limits, record=record)
    return outcome if outcome.stop == 0 else None


def _states_at_end(
    slot: str, network: Network, outcome: CircuitOutcome, rules: Mapping[str, Any]
) -> FloatArray:
    """Return what synapses with a recent spike see at the end of a run: rows of (trace, weight)."""
    projection, _, event = slot.partition(".")
    synapses, ends = network.synapses[projection], network.circuit.projections[projection]
    sides = {"on_pre": (ends.pre, ends.post, "post"), "on_post": (ends.post, ends.pre, "pre")}
    spiking, other, side = sides[event]
    tau_ms = rules.get(f"{projection}.tau_x_{side}", 20.0)
    steps = outcome.state.step - outcome.spikes[other].step
    traces = np.bincount(
        outcome.spikes[other].neuron,
        np.exp(-steps * network.circuit.dt_ms / tau_ms),
        network.circuit.populations[other].n,
    )
    recent = outcome.spikes[spiking].step > outcome.state.step - RECENT_STEPS
    is_recent = np.zeros(network.circuit.populations[spiking].n, dtype=bool)
    is_recent[outcome.spikes[spiking].neuron[recent]] = True
    own, others = (
        (synapses.source, synapses.target) if event == "on_pre" else (synapses.target, synapses.source)
    )
    chosen = is_recent[own]
    return np.stack([traces[others[chosen]], outcome.state.weights(projection)[chosen]], axis=1)


TASK = MemoryTask()
