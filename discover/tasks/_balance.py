"""What the tasks of balanced excitation and inhibition share: their loss, their measures and their states."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from discover.known_rules import KnownRule
from discover.rule import Rule
from discover.slots import ON_POST, ON_PRE, TAU_POST, TAU_PRE
from discover.tasks._balance_folds import IRREGULAR, balance_folds, settled_fold
from discover.tasks._balance_loss import GRACE, rate_loss
from discover.tasks._balance_problems import (
    LARGEST_INHIBITORY,
    BalanceProblems,
    BalanceSettings,
    drawn,
    mean_input_rate,
    retuned,
    strength_by_channel,
)
from discover.tasks._recurrent_balance import (
    RecurrentSettings,
    balanced_network,
    measures_at_stop,
    measures_of,
)
from discover.tasks._spike_states import N_SEGMENTS, WINDOW_MS, SpikeTrains, picked_states, states_at_spikes
from discover.tasks._spiking_runs import HIGHEST_HZ, usual_limits
from discover.tasks.base import SECONDS, Fold, VisitedStates
from discover.tasks.spiking import NOTHING, SpikingProblems, SpikingTask, points_of_curve
from discover.traces import drawn_traces

if TYPE_CHECKING:
    from sims.circuit import Circuit
    from sims.spike_rules import ActivityLimits, ExcitatoryPlasticity, LinearSpikeRule, SpikeRule
    from sims.spike_splines import SplineSpikeRule
    from sims.spiking import FeedforwardOutcome
    from sims.spiking_circuit import CircuitOutcome

__all__ = ["BalanceTask", "SpikeTrains", "losses_of", "tuning_of"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class BalanceTask(SpikingTask):
    """A neuron that should fire at a target rate, with inhibition tuned like excitation.

    Subclasses name themselves and say which rule, if any, excitatory synapses follow. Recurrent networks, in
    which rules are tried, run as the circuits of any spiking task do; the neuron with its channels has a
    simulation of its own, in which many rules see the same input spikes.
    """

    projection: ClassVar[str] = "IE"
    known_rules: ClassVar[tuple[str, ...]] = (
        "vogels",
        "stdp-additive",
        "stdp-guetig",
        "stdp-power-law",
        "stdp-multiplicative",
        "stdp-inhibitory",
    )
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

    def excitation(self, settings: Any) -> ExcitatoryPlasticity | None:
        """Return what excitatory synapses follow; None where they stay as they are."""
        return None

    def draw(self, settings: Any, n_problems: int, seed: np.random.SeedSequence) -> Any:
        """Draw problems, or networks for settings of these; the n-th is the same however many are drawn."""
        if isinstance(settings, RecurrentSettings):
            return super().draw(settings, n_problems, seed)
        return drawn(settings, n_problems, seed)

    def draw_problem(self, settings: Any, rng: np.random.Generator) -> Mapping[str, Any]:
        """Return the recurrent network, whose connections are drawn from the seed."""
        circuit = balanced_network(
            settings.n_excitatory,
            settings.n_inhibitory,
            settings.connection_probability,
            settings.learning_rate,
        )
        return {"circuit": circuit, "target_hz": settings.target_hz}

    def loss(self, outcome: CircuitOutcome, problem: Mapping[str, Any]) -> float:
        """Return the loss of a recurrent network, which is of its rate alone."""
        return float(rate_loss(np.array([outcome.measured["E"].mean_rate_hz]), problem["target_hz"])[0])

    def loss_at_stop(self, outcome: CircuitOutcome, problem: Mapping[str, Any]) -> float:
        """Return the loss of a recurrent network that was stopped."""
        worst = rate_loss(np.array([HIGHEST_HZ]), problem["target_hz"])[0]
        return float(worst + GRACE * (1 - outcome.completed))

    def measure(self, outcome: CircuitOutcome, problem: Mapping[str, Any]) -> Mapping[str, float]:
        """Return the measures of a recurrent network."""
        return measures_of(outcome, problem["target_hz"])

    def measures_at_stop(self, outcome: CircuitOutcome, problem: Mapping[str, Any]) -> Mapping[str, float]:
        """Return the measures of a recurrent network that was stopped."""
        return measures_at_stop(problem["target_hz"])

    def limits(self, circuit: Circuit, seconds: float) -> Mapping[str, ActivityLimits]:
        """When a recurrent network is stopped: 0.1-100 Hz in a window of 1 s, after the first 5 s."""
        from sims.spike_rules import ActivityLimits

        return {"E": ActivityLimits(0.1, HIGHEST_HZ, 1.0, 5.0)}

    def check(self, settings: Any) -> None:
        """Do nothing: what the task states is tested."""

    def constant_factor(self, settings: Any) -> float:
        """Return by what the constant term of the update at presynaptic spikes is multiplied."""
        factor: float = settings.constant_factor
        return factor

    def losses_of_rules(
        self,
        rules: Sequence[Rule | SplineSpikeRule | FloatArray],
        problems: Any,
        n_steps: int | None = None,
    ) -> FloatArray:
        """Losses of several rules that all see the same input spikes, shape (n_rules, n_problems)."""
        if isinstance(problems, SpikingProblems):
            return super().losses_of_rules(rules, problems, n_steps)
        seconds = problems.settings.duration_s
        if n_steps is not None:
            seconds = n_steps * problems.circuit.dt_ms / 1000.0
        return losses_of(self._run(rules, problems, seconds), problems.settings)

    def evaluate_rules(self, rules: Sequence[Any], problems: Any) -> list[dict[str, FloatArray]]:
        """Measures of several rules that all see the same input spikes, or run in the same networks."""
        if isinstance(problems, SpikingProblems):
            return self._measured(rules, problems)
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

    def asked(self, settings: Any) -> Fold:
        """Return what a rule that has settled reaches, under the fitted conditions and in as long runs."""
        return settled_fold(settings)

    def learning_curve(
        self, rule: Rule | KnownRule, problems: Any, n_points: int
    ) -> tuple[IntArray, FloatArray]:
        """Loss along the inner loop, in steps; see :meth:`SpikingTask.learning_curve`."""
        n_points, seconds = points_of_curve(problems.settings.duration_s, n_points)
        parts = list(self._outcomes(rule, problems, n_points - 1, seconds))
        losses = [losses_of(outcome, problems.settings)[0] for outcome in parts]
        start = losses_of(self._run([NOTHING], problems, seconds), problems.settings)[0]
        steps = problems.circuit.steps(1000.0 * seconds) * np.arange(n_points)
        return steps, np.array([start, *losses])

    def curve_axis(self, settings: Any) -> tuple[float, str]:
        """Steps of the curve are those of the circuit."""
        from sims.circuits import FeedforwardCircuit

        return FeedforwardCircuit.dt_ms / 1000.0, SECONDS

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
        form = self.form_of(rule, problems.settings)
        seconds = problems.settings.duration_s / N_SEGMENTS
        found = []
        for number, outcome in enumerate(self._outcomes(rule, problems, N_SEGMENTS, seconds, keep=20_000)):
            step = problems.circuit.steps(1000.0 * seconds * (number + 1))
            for problem in np.flatnonzero(outcome.stop[0] == 0).tolist():
                states = _states_at_end(form, problems, problem, number, outcome, seconds)
                found.append((states, problem, step))
        return picked_states(found, n_states, seed)

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
            [self.form_of(rule, settings)],
            start,
            settings.duration_s,
            circuit=circuit,
            limits=usual_limits(settings.duration_s),
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
        forms = [self.form_of(rule, settings) for rule in rules]
        options: dict[str, Any] = {
            "measure_from_s": seconds - measured,
            "circuit": problems.circuit,
            "limits": usual_limits(seconds),
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

    def _outcomes(
        self,
        rule: Rule | KnownRule | SplineSpikeRule | FloatArray,
        problems: Any,
        n_parts: int,
        seconds: float,
        keep: int = 0,
    ) -> Iterator[FeedforwardOutcome]:
        """Yield the outcomes of parts of a run, each of which begins with the weights of the last."""
        from sims.spiking import simulate_feedforward

        form = self.form_of(rule, problems.settings)
        weights = problems.inhibitory_weights
        for number in range(n_parts):
            outcome = simulate_feedforward(
                [form],
                problems.at(number, weights),
                seconds,
                circuit=problems.circuit,
                limits=usual_limits(seconds),
                excitatory=self.excitation(problems.settings),
                keep_spikes=keep,
            )
            yield outcome
            weights = _sound(outcome.inhibitory_weights[0])
            if outcome.excitatory_weights is not None:
                problems = replace(problems, excitatory_weights=np.nan_to_num(outcome.excitatory_weights[0]))


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
    trains = SpikeTrains(times, sources, outputs)
    return states_at_spikes(rule, trains, None, weights, 1000.0 * seconds - WINDOW_MS)
