"""What the tasks of balanced excitation and inhibition share: their loss, their measures and their states."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from discover.errors import TaskError
from discover.known_rules import KnownRule
from discover.predict import linear_parameters
from discover.rule import Rule
from discover.slots import ON_POST, ON_PRE, TAU_POST, TAU_PRE, Slot
from discover.tasks._balance_folds import IRREGULAR, balance_folds
from discover.tasks._balance_loss import GRACE, HIGHEST_HZ, rate_loss
from discover.tasks._balance_problems import (
    LARGEST_INHIBITORY,
    BalanceProblems,
    BalanceSettings,
    drawn,
    mean_input_rate,
    retuned,
    strength_by_channel,
)
from discover.tasks._recurrent_balance import RecurrentProblems, RecurrentSettings, evaluate_recurrent
from discover.tasks.base import Answer, Fold, Task, VisitedStates, rule_of
from discover.traces import drawn_traces, trace_at

if TYPE_CHECKING:
    from sims.spike_rules import ActivityLimits, ExcitatoryPlasticity, LinearSpikeRule, SpikeRule
    from sims.spike_splines import SplineSpikeRule
    from sims.spiking import FeedforwardOutcome

__all__ = ["BalanceTask", "SpikeTrains", "kernel_rule", "losses_of", "tuning_of"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

N_SEGMENTS = 10
"""States are sampled at the ends of so many parts of the inner loop."""

SHORTEST_PART_S = 1.0
"""In less time a rate of a few Hz cannot be told."""

WINDOW_MS = 100.0
"""How long before the end of a part the spikes are drawn at which states are sampled."""


@dataclass(frozen=True)
class SpikeTrains:
    """Spikes of one run, in time order.

    Attributes
    ----------
    pre_ms : ndarray, shape (n_pre_spikes,)
        Of all inhibitory inputs.
    source : ndarray of int, shape (n_pre_spikes,)
        Which of them.
    post_ms : ndarray, shape (n_post_spikes,)
    """

    pre_ms: FloatArray
    source: IntArray
    post_ms: FloatArray


class BalanceTask(Task):
    """A neuron that should fire at a target rate, with inhibition tuned like excitation.

    Subclasses name themselves and say which rule, if any, excitatory synapses follow.
    """

    known_rules: ClassVar[tuple[str, ...]] = (
        "vogels",
        "stdp-additive",
        "stdp-guetig",
        "stdp-power-law",
        "stdp-multiplicative",
        "stdp-inhibitory",
    )
    slots: ClassVar[tuple[Slot, ...]] = (ON_PRE, ON_POST, TAU_PRE, TAU_POST)
    reference: ClassVar[str] = "vogels"
    measures: ClassVar[Mapping[str, str]] = {
        "loss": "squared distance from the target rate over rate plus 2 Hz, plus 1 - r of the currents",
        "rate_error": "distance of the output rate from the target, relative to the target",
        "tuning": "correlation r over channels between mean excitatory and mean inhibitory current",
        "interval_cv": "coefficient of variation of the intervals between output spikes",
        "fano_factor": "variance over mean of the spike counts in bins of 100 ms",
        "drift": "change of the mean inhibitory weight in the last seconds, relative, per second",
        "at_bound": "share of inhibitory weights at one of their bounds",
    }
    higher_is_better: ClassVar[tuple[str, ...]] = ("tuning",)
    plausible: ClassVar[Mapping[str, tuple[float, float]]] = {
        "interval_cv": IRREGULAR,
        "fano_factor": IRREGULAR,
    }
    takes_trace_splines: ClassVar[bool] = True

    def answer_for(self, settings: Any) -> Answer:
        """Say that a whole manifold of rules balances a neuron."""
        return "many forms"

    def excitation(self, settings: Any) -> ExcitatoryPlasticity | None:
        """Return what excitatory synapses follow; None where they stay as they are."""
        return None

    def draw(self, settings: Any, n_problems: int, seed: np.random.SeedSequence) -> Any:
        """Draw problems, or networks for settings of these; the n-th is the same however many are drawn."""
        if isinstance(settings, RecurrentSettings):
            return RecurrentProblems.draw(settings, n_problems, seed)
        return drawn(settings, n_problems, seed)

    def losses(
        self, rule: Rule | SplineSpikeRule | FloatArray, problems: Any, n_steps: int | None = None
    ) -> FloatArray:
        """Loss of each problem after the inner loop, shape (n_problems,)."""
        losses: FloatArray = self.losses_of_rules([rule], problems, n_steps)[0]
        return losses

    def losses_of_rules(
        self,
        rules: Sequence[Rule | SplineSpikeRule | FloatArray],
        problems: Any,
        n_steps: int | None = None,
    ) -> FloatArray:
        """Losses of several rules that all see the same input spikes, shape (n_rules, n_problems)."""
        if isinstance(problems, RecurrentProblems):
            return np.array([one["loss"] for one in self.evaluate_rules(rules, problems)])
        seconds = problems.settings.duration_s
        if n_steps is not None:
            seconds = n_steps * problems.circuit.dt_ms / 1000.0
        return losses_of(self._run(rules, problems, seconds), problems.settings)

    def evaluate(self, rule: Rule | KnownRule, problems: Any) -> dict[str, FloatArray]:
        """Measures of each problem after the inner loop; a run that stopped has the worst value of each."""
        return self.evaluate_rules([rule], problems)[0]

    def evaluate_rules(self, rules: Sequence[Any], problems: Any) -> list[dict[str, FloatArray]]:
        """Measures of several rules that all see the same input spikes, or run in the same networks."""
        if isinstance(problems, RecurrentProblems):
            forms = [self._kernel_rule(rule, problems.settings) for rule in rules]
            return evaluate_recurrent(forms, problems)
        outcome = self._run(rules, problems, problems.settings.duration_s)
        if problems.settings.retuned:
            outcome = self._run(
                rules, retuned(problems), problems.settings.duration_s, outcome.inhibitory_weights
            )
        settings = problems.settings
        measured = {"loss": losses_of(outcome, settings), **_measures(outcome, settings.target_hz)}
        return [{name: values[n] for name, values in measured.items()} for n in range(len(rules))]

    def folds(self, settings: Any) -> tuple[Fold, ...]:
        """Conditions for cross-validation."""
        return balance_folds(settings)

    def learning_curve(
        self, rule: Rule | KnownRule, problems: Any, n_points: int
    ) -> tuple[IntArray, FloatArray]:
        """Loss along the inner loop: steps (n_points,) and losses (n_points, n_problems).

        The first entry is the loss with the initial weights; every later one is measured in one of
        ``n_points - 1`` equal parts, one after the other. Parts last a second or more: where the inner loop
        is too short for that there are fewer points.
        """
        n_points = max(2, min(n_points, 1 + int(problems.settings.duration_s / SHORTEST_PART_S)))
        seconds = problems.settings.duration_s / (n_points - 1)
        parts = list(self._parts(rule, problems, n_points - 1, seconds))
        losses = [losses_of(outcome, problems.settings)[0] for outcome in parts]
        frozen = Rule.from_coefficients({ON_PRE.name: {}, ON_POST.name: {}})
        start = losses_of(self._run([frozen], problems, seconds), problems.settings)[0]
        steps = problems.circuit.steps(1000.0 * seconds) * np.arange(n_points)
        return steps, np.array([start, *losses])

    def probe(self, problems: Any, n_states: int, seed: np.random.SeedSequence) -> dict[str, VisitedStates]:
        """States at weights and rates of the size that the task asks for.

        Traces of the usual time constants at Poisson rates, the problem's inputs' and the target's; weights
        up to twice those of the excitation in the same channel.
        """
        rng = np.random.default_rng(seed)
        settings, circuit = problems.settings, problems.circuit
        strength = strength_by_channel(problems)
        rates = np.array([mean_input_rate(circuit, factor) for factor in problems.rate_factors])
        states = {}
        for slot in (ON_PRE, ON_POST):
            problem = np.sort(rng.integers(problems.n_problems, size=n_states))
            channel = rng.integers(settings.n_channels, size=n_states)
            weights = strength[problem, channel] * rng.uniform(0, 2, n_states)
            if slot is ON_PRE:
                trace = drawn_traces(np.full(n_states, settings.target_hz), TAU_POST.usual, rng)
            else:
                trace = drawn_traces(rates[problem], TAU_PRE.usual, rng)
            step = np.zeros(n_states, dtype=np.int64)
            states[slot.name] = VisitedStates(np.stack([trace, weights], axis=1), problem, step)
        return states

    def visit(
        self,
        rule: Rule | SplineSpikeRule | FloatArray,
        problems: Any,
        n_states: int,
        seed: np.random.SeedSequence,
    ) -> dict[str, VisitedStates]:
        """States at spikes near the ends of equal parts of the inner loop; runs that stop give none."""
        rng = np.random.default_rng(seed)
        form = self._kernel_rule(rule, problems.settings)
        seconds = problems.settings.duration_s / N_SEGMENTS
        rows: dict[str, list[FloatArray]] = {ON_PRE.name: [], ON_POST.name: []}
        for number, outcome in enumerate(self._parts(rule, problems, N_SEGMENTS, seconds, keep=20_000)):
            for problem in np.flatnonzero(outcome.stop[0] == 0).tolist():
                for slot, seen in _states_at_end(form, problems, problem, number, outcome, seconds).items():
                    end = problems.circuit.steps(1000.0 * seconds * (number + 1))
                    where = np.broadcast_to([float(problem), float(end)], (len(seen), 2))
                    rows[slot].append(np.concatenate([seen, where], axis=1))
        states = {}
        for slot, parts in rows.items():
            table = np.concatenate(parts) if parts else np.empty((0, 4))
            if len(table):
                table = table[np.sort(rng.integers(len(table), size=n_states))]
            states[slot] = VisitedStates(table[:, :2], table[:, 2].astype(int), table[:, 3].astype(int))
        return states

    def outcome(self, rules: Sequence[Rule], problems: Any) -> FeedforwardOutcome:
        """Simulate the inner loop of all rules and problems, first axes (n_rules, n_problems)."""
        return self._run(rules, problems, problems.settings.duration_s)

    def spike_trains(self, rule: Rule, problems: Any) -> list[SpikeTrains | None]:
        """Spikes of inhibitory inputs and output of each problem; None where the run stopped."""
        from sims.circuits import draw_input_spikes
        from sims.spiking import simulate_feedforward

        settings, circuit = problems.settings, problems.circuit
        start = problems.at(0, problems.inhibitory_weights)
        outcome = simulate_feedforward(
            [self._kernel_rule(rule, settings)],
            start,
            settings.duration_s,
            circuit=circuit,
            limits=_limits(settings.duration_s),
            excitatory=self.excitation(settings),
            keep_spikes=int(2 * HIGHEST_HZ * settings.duration_s),
        )
        trains: list[SpikeTrains | None] = []
        for problem, spikes in enumerate(draw_input_spikes(circuit, start, settings.duration_s)):
            is_inhibitory = spikes.source >= circuit.n_excitatory
            output = 1000.0 * outcome.spike_times_s[0, problem]
            trains.append(
                None
                if outcome.stop[0, problem] != 0
                else SpikeTrains(
                    spikes.step[is_inhibitory] * circuit.dt_ms,
                    spikes.source[is_inhibitory] - circuit.n_excitatory,
                    output[np.isfinite(output)],
                )
            )
        return trains

    def _run(
        self,
        rules: Sequence[Rule | KnownRule | SplineSpikeRule | FloatArray],
        problems: Any,
        seconds: float,
        weights: FloatArray | None = None,
    ) -> FeedforwardOutcome:
        """Simulate all rules; with final weights of an earlier run each rule goes on from its own."""
        from sims.spiking import simulate_feedforward

        settings = problems.settings
        measured = min(settings.measured_s, seconds)
        forms = [self._kernel_rule(rule, settings) for rule in rules]
        options: dict[str, Any] = {
            "measure_from_s": seconds - measured,
            "circuit": problems.circuit,
            "limits": _limits(seconds),
            "excitatory": self.excitation(settings),
        }
        if weights is None:
            start = problems.at(0, problems.inhibitory_weights)
            return simulate_feedforward(forms, start, seconds, **options)
        return _joined(
            [
                simulate_feedforward([form], problems.at(1, _sound(own)), seconds, **options)
                for form, own in zip(forms, weights, strict=True)
            ]
        )

    def _parts(
        self,
        rule: Rule | KnownRule | SplineSpikeRule | FloatArray,
        problems: Any,
        n_parts: int,
        seconds: float,
        keep: int = 0,
    ) -> Iterator[FeedforwardOutcome]:
        """Yield the outcomes of parts of a run, each of which begins with the weights of the last."""
        from sims.spiking import simulate_feedforward

        form = self._kernel_rule(rule, problems.settings)
        weights = problems.inhibitory_weights
        for number in range(n_parts):
            outcome = simulate_feedforward(
                [form],
                problems.at(number, weights),
                seconds,
                circuit=problems.circuit,
                limits=_limits(seconds),
                excitatory=self.excitation(problems.settings),
                keep_spikes=keep,
            )
            yield outcome
            weights = _sound(outcome.inhibitory_weights[0])
            if outcome.excitatory_weights is not None:
                problems = replace(problems, excitatory_weights=np.nan_to_num(outcome.excitatory_weights[0]))

    def _kernel_rule(self, rule: Any, settings: Any) -> SpikeRule | LinearSpikeRule | SplineSpikeRule:
        from sims.spike_splines import SplineSpikeRule

        if isinstance(rule, SplineSpikeRule):
            if settings.constant_factor != 1.0:
                raise TaskError("A rule without a formula has no constant term that would set its target.")
            return rule
        whole = rule.rule if isinstance(rule, KnownRule) else rule
        if not isinstance(whole, Rule):
            whole = rule_of(self, np.asarray(whole))
        return kernel_rule(whole, settings.constant_factor)


def kernel_rule(rule: Rule, constant_factor: float = 1.0) -> SpikeRule | LinearSpikeRule:
    """Return what the simulators run for a rule of a spiking synapse.

    Parameters
    ----------
    rule : Rule
    constant_factor : float
        Multiplies the constant term of the update at presynaptic spikes, if there is one.
    """
    from sims.spike_rules import LinearSpikeRule, SpikeRule

    linear = linear_parameters(rule)
    if linear is not None:
        return LinearSpikeRule(
            constant_factor * linear.alpha,
            linear.beta,
            linear.gamma,
            linear.kappa,
            linear.tau_pre,
            linear.tau_post,
        )
    if constant_factor != 1.0 and rule.is_polynomial:
        table = rule.coefficients()
        pre = {
            term: value * (constant_factor if term == "1" else 1)
            for term, value in table[ON_PRE.name].items()
        }
        rule = Rule.from_coefficients({**table, ON_PRE.name: pre})
    on_pre, on_post = (
        rule.program(slot.name) if slot.name in rule.slots else None for slot in (ON_PRE, ON_POST)
    )
    return SpikeRule(on_pre, on_post, rule.constant(TAU_PRE.name), rule.constant(TAU_POST.name))


def _limits(seconds: float) -> ActivityLimits:
    """When a run is stopped: its activity has left .1-100 Hz in a quarter of it, after the first quarter."""
    from sims.spike_rules import ActivityLimits

    window = max(seconds / 4, min(seconds, 2.0))
    return ActivityLimits(lowest_hz=0.1, highest_hz=HIGHEST_HZ, window_s=window, grace_s=window)


def _sound(weights: FloatArray) -> FloatArray:
    return np.clip(np.nan_to_num(weights), 0.0, LARGEST_INHIBITORY)


def losses_of(outcome: FeedforwardOutcome, settings: BalanceSettings) -> FloatArray:
    """Loss of each run; one that stopped costs more than the worst that did not, the more the sooner."""
    target_hz, weight = settings.target_hz, settings.tuning_weight
    with np.errstate(invalid="ignore"):
        sound = rate_loss(outcome.rate_hz, target_hz) + weight * (1 - tuning_of(outcome))
    silent, wild = rate_loss(np.array([0.0, HIGHEST_HZ]), target_hz) + 2.0 * weight
    from sims.spiking import Stop

    worst = np.where(outcome.stop == Stop.TOO_QUIET, silent, np.maximum(silent, wild))
    return np.where(outcome.stop == Stop.RAN, sound, worst + GRACE * (1 - outcome.completed))


def tuning_of(outcome: FeedforwardOutcome) -> FloatArray:
    """Correlation over channels of the mean currents; 0 where one of them is the same everywhere."""
    excitatory, inhibitory = (
        current - current.mean(axis=-1, keepdims=True)
        for current in (outcome.excitatory_current, outcome.inhibitory_current)
    )
    sizes = np.linalg.norm(excitatory, axis=-1) * np.linalg.norm(inhibitory, axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        r = np.sum(excitatory * inhibitory, axis=-1) / sizes
    return np.where(np.isfinite(r), r, 0.0)


def _measures(outcome: FeedforwardOutcome, target_hz: float) -> dict[str, FloatArray]:
    ran = outcome.stop == 0
    mean_weight = outcome.inhibitory_weights.mean(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        drift = np.abs(outcome.weight_drift) / np.maximum(mean_weight, 1e-3)
    return {
        "rate_error": np.where(ran, np.abs(outcome.rate_hz - target_hz) / target_hz, HIGHEST_HZ / target_hz),
        "tuning": np.where(ran, tuning_of(outcome), -1.0),
        "interval_cv": np.where(ran & np.isfinite(outcome.interval_cv), outcome.interval_cv, 0.0),
        "fano_factor": np.where(ran & np.isfinite(outcome.fano_factor), outcome.fano_factor, 0.0),
        "drift": np.where(ran & np.isfinite(drift), drift, 1.0),
        "at_bound": np.where(ran, outcome.at_lower_bound + outcome.at_upper_bound, 1.0),
    }


def _joined(outcomes: Sequence[FeedforwardOutcome]) -> FeedforwardOutcome:
    """Put the outcomes of single rules together."""
    first = outcomes[0]
    columns: dict[str, Any] = {
        name: None if value is None else np.concatenate([getattr(one, name) for one in outcomes])
        for name, value in vars(first).items()
    }
    return replace(first, **columns)


def _states_at_end(
    rule: SpikeRule | LinearSpikeRule | SplineSpikeRule,
    problems: BalanceProblems,
    problem: int,
    part: int,
    outcome: FeedforwardOutcome,
    seconds: float,
) -> dict[str, FloatArray]:
    """What synapses see at the spikes in the last moments of a part, rows of (trace, weight)."""
    from sims.circuits import draw_input_spikes

    circuit, one = problems.circuit, problems.subset([problem])
    (spikes,) = draw_input_spikes(circuit, one.at(part, one.inhibitory_weights), seconds)
    is_inhibitory = spikes.source >= circuit.n_excitatory
    times: FloatArray = np.asarray(spikes.step[is_inhibitory] * circuit.dt_ms, dtype=np.float64)
    sources = spikes.source[is_inhibitory] - circuit.n_excitatory
    outputs: FloatArray = 1000.0 * outcome.spike_times_s[0, problem]
    outputs = outputs[np.isfinite(outputs)]
    weights = outcome.inhibitory_weights[0, problem]
    recent = np.flatnonzero(times > 1000.0 * seconds - WINDOW_MS)
    post = trace_at(outputs, times[recent], rule.tau_post_ms, counts_ties=False)
    at_pre = np.stack([post, weights[sources[recent]]], axis=1)
    at_post = np.empty((0, 2))
    if len(outputs):
        last: FloatArray = outputs[-1:]
        pre = [
            float(trace_at(times[sources == n], last, rule.tau_pre_ms, counts_ties=True)[0])
            for n in range(circuit.n_inhibitory)
        ]
        at_post = np.stack([np.array(pre), weights], axis=1)
    return {ON_PRE.name: at_pre, ON_POST.name: at_post}
