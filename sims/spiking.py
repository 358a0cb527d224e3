"""One spiking neuron whose inhibitory synapses change by a rule, for many rules and problems at once.

All rules see the same input spikes of a problem: each rule has a neuron of its own in one circuit with these
inputs. So a comparison of rules carries no noise of the input, and a further rule costs a fraction of a
simulation. Problems run on threads; results are bit-identical for any number of threads and any chunk.

See :mod:`sims._circuit_kernels` for the neuron equation and the order of a step.

References
----------
Vogels et al. (2011), Science 334:1569; Confavreux et al. (NeurIPS 2020), section 4.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sims._circuit_packing import GivenSpikes, check_once, packed_inputs, plan_of
from sims._circuit_run import Feed, Run
from sims._groups import run_groups
from sims.circuit import Circuit, Projection, Recorded, Trace
from sims.circuits import (
    FeedforwardCircuit,
    FeedforwardProblems,
    InputSpikes,
    InputStream,
    draw_input_spikes,
    published_problems,
)
from sims.rules import BINARY_OPS, Op, Program
from sims.spike_measures import AT_BOUND
from sims.spike_rules import ActivityLimits, ExcitatoryPlasticity, LinearSpikeRule, SpikeRule, Stop
from sims.spike_splines import SplineSpikeRule
from sims.spiking_circuit import Network
from sims.synapses import Synapses

__all__ = [
    "FeedforwardCircuit",
    "FeedforwardOutcome",
    "FeedforwardProblems",
    "InputSpikes",
    "Stop",
    "draw_input_spikes",
    "published_problems",
    "simulate_feedforward",
]

STEP_OF_A_RULE = 20
"""Work of one step of one rule, in updates of single synapses."""

STEP_OF_INPUTS = 150
"""Work of one step of all inputs, in the same unit."""

MEMORY_TIMES = 40.0
"""Conductances of channels are followed from this number of time constants before they are measured.

What is older has decayed to less than the last bit.
"""

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Rule = SpikeRule | LinearSpikeRule | SplineSpikeRule


@dataclass(frozen=True)
class FeedforwardOutcome:
    """What simulations ended with and what was measured in their last part.

    The first axes of all arrays are (n_rules, n_problems). What could not be measured is NaN.

    Attributes
    ----------
    rate_hz : ndarray
        Output rate in the measuring window, up to where the run stopped.
    n_spikes : ndarray of int
        Output spikes of the whole run.
    spike_times_s : ndarray, shape (..., most kept)
        The first output spikes; NaN where there were fewer.
    interval_cv : ndarray
        Standard deviation of the intervals between output spikes of the window over their mean; NaN for
        fewer than two intervals.
    fano_factor : ndarray
        Variance of the spike counts in bins of 100 ms of the window over their mean; NaN for fewer than two
        bins or no spike.
    excitatory_current, inhibitory_current : ndarray, shape (..., n_channels)
        Mean over the window of conductance times distance of the voltage from the reversal potential, both
        counted positive, in mV times the leak conductance.
    inhibitory_weights : ndarray, shape (..., n_inhibitory)
        At the end.
    excitatory_weights : ndarray, shape (..., n_excitatory) or None
        At the end, with plastic excitation.
    weight_drift : ndarray
        Mean over inhibitory synapses of the change of weight over the second half of the measuring window,
        per second. Near zero at a steady state.
    weight_change : ndarray
        The same of the change's absolute value, which noise alone keeps above zero.
    at_lower_bound, at_upper_bound : ndarray
        Fractions of the inhibitory weights at the bounds.
    stop : ndarray of int
        Why the run ended, see :class:`Stop`.
    completed : ndarray
        Time until the run ended over its whole duration; 1 where it did not stop early.
    """

    rate_hz: FloatArray
    n_spikes: IntArray
    spike_times_s: FloatArray
    interval_cv: FloatArray
    fano_factor: FloatArray
    excitatory_current: FloatArray
    inhibitory_current: FloatArray
    inhibitory_weights: FloatArray
    excitatory_weights: FloatArray | None
    weight_drift: FloatArray
    weight_change: FloatArray
    at_lower_bound: FloatArray
    at_upper_bound: FloatArray
    stop: IntArray
    completed: FloatArray


def simulate_feedforward(
    rules: Rule | Sequence[Rule],
    problems: FeedforwardProblems,
    duration_s: float,
    measure_from_s: float = 0.0,
    *,
    circuit: FeedforwardCircuit | None = None,
    limits: ActivityLimits | None = None,
    excitatory: ExcitatoryPlasticity | None = None,
    events: Sequence[InputSpikes] | None = None,
    keep_spikes: int = 0,
    chunk_s: float = 2.0,
) -> FeedforwardOutcome:
    """Simulate every problem under every rule.

    Parameters
    ----------
    rules : SpikeRule, LinearSpikeRule, SplineSpikeRule or sequence of them
        Rules of the inhibitory synapses.
    problems : FeedforwardProblems
    duration_s, measure_from_s : float
        The measuring window reaches from `measure_from_s` to the end.
    circuit : FeedforwardCircuit, optional
        Default: the published one.
    limits : ActivityLimits, optional
        When a run is stopped early. Default: a rate outside .1-100 Hz in a window of 10 s, after the first
        10 s.
    excitatory : ExcitatoryPlasticity, optional
        Default: excitatory weights stay as they are, which is much faster.
    events : sequence of InputSpikes, optional
        Input spikes of each problem. Default: they are drawn from the problem's seed.
    keep_spikes : int
        At most this number of output spikes of each run is returned; they are counted in any case.
    chunk_s : float
        Memory for input spikes is that of this time; results do not depend on it.

    Returns
    -------
    FeedforwardOutcome

    Raises
    ------
    ValueError
        If problems do not fit the circuit or a number is out of range.

    Examples
    --------
    >>> outcome = simulate_feedforward(
    ...     LinearSpikeRule.vogels(6.25), published_problems(FeedforwardCircuit(), seeds=[1]), duration_s=0.2
    ... )
    >>> outcome.rate_hz.shape, outcome.inhibitory_weights.shape
    ((1, 1), (1, 1, 200))
    """
    circuit = circuit or FeedforwardCircuit()
    rules = [rules] if isinstance(rules, Rule) else list(rules)
    problems.check(circuit)
    _check_run(rules, problems, circuit, duration_s, measure_from_s, events, keep_spikes, chunk_s)
    if excitatory is not None and problems.excitatory_weights.max() > excitatory.largest_weight:
        raise ValueError(
            f"Plastic excitatory weights go up to {excitatory.largest_weight}, "
            f"got {problems.excitatory_weights.max()} at the start."
        )
    n_steps = circuit.steps(1000.0 * duration_s)
    batch = _Batch(rules, circuit, n_steps, measure_from_s, limits or ActivityLimits(), excitatory)
    batch.chunk_steps, batch.keep_spikes = max(1, circuit.steps(1000.0 * chunk_s)), keep_spikes
    ends: list[list[dict[str, Any]]] = [[]] * len(problems)

    def run(first: int, last: int) -> None:
        for problem in range(first, last):
            given = None if events is None else events[problem]
            ends[problem] = _Problem(batch, problems, problem, given).ends()

    amount = len(problems) * n_steps * (STEP_OF_INPUTS + STEP_OF_A_RULE * len(rules))
    run_groups(run, len(problems), amount, one_by_one=True)
    columns = {
        field.name: [[end[r][field.name] for end in ends] for r in range(len(rules))]
        for field in fields(FeedforwardOutcome)
    }
    plastic: dict[str, Any] = {} if excitatory is not None else {"excitatory_weights": None}
    return FeedforwardOutcome(**({name: np.array(column) for name, column in columns.items()} | plastic))


def _check_run(
    rules: Sequence[Rule],
    problems: FeedforwardProblems,
    circuit: FeedforwardCircuit,
    duration_s: float,
    measure_from_s: float,
    events: Sequence[InputSpikes] | None,
    keep_spikes: int,
    chunk_s: float,
) -> None:
    if not rules:
        raise ValueError("There is no rule to simulate.")
    if not (math.isfinite(duration_s) and circuit.steps(1000.0 * duration_s) >= 1):
        raise ValueError(f"A run lasts at least one step of {circuit.dt_ms} ms, got {duration_s} s.")
    if not 0 <= measure_from_s < duration_s:
        raise ValueError(f"Measuring starts within the {duration_s} s of the run, got {measure_from_s} s.")
    if keep_spikes < 0:
        raise ValueError(f"The number of spikes to keep is not negative, got {keep_spikes}.")
    if not 0 < chunk_s <= 100:
        raise ValueError(f"A chunk is longer than 0 and at most 100 s, got {chunk_s} s.")
    if events is not None:
        if len(events) != len(problems):
            raise ValueError(
                f"Input spikes are given for each of {len(problems)} problems, got {len(events)}."
            )
        for given in events:
            if len(given.source) and not 0 <= given.source.min() <= given.source.max() < circuit.n_inputs:
                raise ValueError(f"Inputs are numbered 0 to {circuit.n_inputs - 1} in this circuit.")


class _Batch:
    """What all problems have in common: a circuit in which each rule has a neuron, and when to do what.

    Excitatory synapses of all neurons are one projection; inhibitory ones are one for each rule.
    """

    chunk_steps: int
    keep_spikes: int

    def __init__(
        self,
        rules: Sequence[Rule],
        circuit: FeedforwardCircuit,
        n_steps: int,
        measure_from_s: float,
        limits: ActivityLimits,
        excitatory: ExcitatoryPlasticity | None,
    ) -> None:
        self.settings, self.n_steps, self.n_rules = circuit, n_steps, len(rules)
        self.excitatory, self.limits = excitatory, limits
        self.names = [f"I{r}" for r in range(len(rules))]
        self.network = Network(_circuit(circuit, len(rules), excitatory))
        updates = {} if excitatory is None else _excitatory_updates(excitatory)
        for name, rule in zip(self.names, rules, strict=True):
            updates |= rule.of_projection(name)
        self.plan = plan_of(self.network.layout, updates)
        self.measure_from = circuit.steps(1000.0 * measure_from_s)
        slowest_ms = max(circuit.neuron.tau_excitatory_ms, circuit.neuron.tau_inhibitory_ms)
        self.channels_from = max(0, self.measure_from - circuit.steps(MEMORY_TIMES * slowest_ms))
        self.halfway = (self.measure_from + n_steps) // 2
        self.grace = min(n_steps, circuit.steps(1000.0 * min(limits.grace_s, 1e9)))
        self.window = max(1, circuit.steps(1000.0 * limits.window_s))
        normalise_s = None if excitatory is None else excitatory.normalise_every_s
        # Longer than the run is never.
        self.normalise_every = (
            n_steps + 1 if normalise_s is None else max(1, circuit.steps(1000.0 * normalise_s))
        )
        cuts = {self.measure_from, self.channels_from, self.halfway, n_steps}
        cuts |= set(range(self.grace, n_steps, self.window)) | set(range(0, n_steps, self.normalise_every))
        self.cuts = sorted(cuts - {0})


class _Problem:
    """The run of one problem under all rules."""

    def __init__(
        self, batch: _Batch, problems: FeedforwardProblems, problem: int, events: InputSpikes | None
    ) -> None:
        self.batch, network, circuit, n = batch, batch.network, batch.settings, batch.n_rules
        state = network.initial_state(0, {"N": np.full(n, circuit.neuron.rest_mv)})
        no_inputs = packed_inputs(network.layout, 0, 1, {}, {}, np.empty(0))
        feed = _drawn(circuit, problems, problem, n) if events is None else _given(circuit, events, n)
        self.run = Run(
            network.layout, batch.plan, no_inputs, state, batch.n_steps, feed, ["N"], batch.chunk_steps
        )
        excitatory = np.repeat(problems.excitatory_weights[problem], n)
        inhibitory = np.tile(problems.inhibitory_weights[problem], n)
        self.run.arrays.weights[:] = np.concatenate([excitatory, inhibitory])
        border = len(excitatory)
        self.excitatory = self.run.arrays.weights[:border].reshape(-1, n)
        self.inhibitory = self.run.arrays.weights[border:].reshape(n, -1)
        self.total, self.before = self.excitatory.sum(axis=0), np.full_like(self.inhibitory, np.nan)
        self.group = np.concatenate([np.zeros(n, dtype=np.int64), problems.channels[problem]])
        self.in_window = np.zeros(n, dtype=np.int64)
        self._ends: list[dict[str, Any]] = [{}] * n

    def ends(self) -> list[dict[str, Any]]:
        """Run to the end or until all rules have stopped; return the columns of the outcome for each rule."""
        batch, run, first = self.batch, self.run, 0
        for last in batch.cuts:
            if first == batch.channels_from:
                run.tell_apart(self.group)
            if first == batch.measure_from:
                run.measure()
                run.measure_currents()
            if first == batch.halfway:
                self.before = self.inhibitory.copy()
            while run.step < last and not all(self._ends):
                n_kept = len(run.spikes)
                if not run.advance(last):
                    self._stop_what_is_no_number()
                for _, neurons in run.spikes[n_kept:]:
                    self.in_window += np.bincount(neurons, minlength=batch.n_rules)
            self._check(first, last)
            if last % batch.normalise_every == 0:
                self._normalise()
            if all(self._ends):
                break
            first = last
        for r in range(batch.n_rules):
            self._stop(r, Stop.RAN)
        return self._ends

    def _check(self, first: int, last: int) -> None:
        """At the end of a window, stop rules whose neurons were too quiet or too active in it."""
        batch, limits = self.batch, self.batch.limits
        if last == batch.grace or first < batch.grace:
            self.in_window[:] = 0
        elif (last - batch.grace) % batch.window == 0:
            for r in range(batch.n_rules):
                if self.in_window[r] < limits.lowest_hz * limits.window_s:
                    self._stop(r, Stop.TOO_QUIET)
                elif self.in_window[r] > limits.highest_hz * limits.window_s:
                    self._stop(r, Stop.TOO_ACTIVE)
            self.in_window[:] = 0

    def _normalise(self) -> None:
        """Bring the sums of excitatory weights back to what they were."""
        assert self.batch.excitatory is not None
        largest, now = self.batch.excitatory.largest_weight, self.excitatory.sum(axis=0)
        factor = np.divide(self.total, now, out=np.ones_like(now), where=now > 0)
        np.clip(self.excitatory * factor, 0.0, largest, out=self.excitatory)

    def _stop_what_is_no_number(self) -> None:
        sound = np.isfinite(self.inhibitory).all(axis=1) & np.isfinite(self.excitatory).all(axis=0)
        sound &= np.isfinite(self.run.arrays.voltage)
        for r in np.flatnonzero(~sound).tolist():
            self._stop(r, Stop.NOT_A_NUMBER)
            # What goes on with the neuron is of no account, as long as it is a number.
            self.excitatory[:, r] = self.inhibitory[r] = 0.0
            for array in (self.run.arrays.voltage, self.run.arrays.excitatory, self.run.arrays.inhibitory):
                array[r] = 0.0

    def _stop(self, r: int, why: Stop) -> None:
        """Write down what one rule has ended with, and let its synapses rest."""
        if self._ends[r]:
            return
        batch, run, circuit, nothing = self.batch, self.run, self.batch.settings, float("nan")
        dt_s, weights = circuit.dt_ms / 1000.0, self.inhibitory[r].copy()
        steps = np.concatenate([step[neuron == r] for step, neuron in run.spikes] or [np.empty(0)])
        times = np.full(batch.keep_spikes, nothing)
        times[: len(steps)] = steps[: batch.keep_spikes] * dt_s
        measured_steps, late = run.step - batch.measure_from, (run.step - batch.halfway) * dt_s
        current = np.full((2, circuit.n_channels), nothing)
        rate = interval_cv = fano_factor = nothing
        if run.tally is not None and measured_steps > 0:
            measured = run.tally.measures(slice(r, r + 1), run.step, circuit.dt_ms)
            rate, interval_cv, fano_factor = (
                float(one[0]) for one in (measured.rate_hz, measured.interval_cv, measured.fano_factor)
            )
            sums = run.workspace.current[r] / (circuit.neuron.leak_ns * measured_steps)
            current = np.zeros_like(current)
            current[:, : sums.shape[1]] = sums
        change = (weights - self.before[r]) / (late if late > 0 else nothing)
        margin = AT_BOUND * circuit.largest_inhibitory
        self._ends[r] = dict(
            rate_hz=rate, n_spikes=len(steps), spike_times_s=times, interval_cv=interval_cv,
            fano_factor=fano_factor, excitatory_current=current[0], inhibitory_current=current[1],
            inhibitory_weights=weights,
            excitatory_weights=None if batch.excitatory is None else self.excitatory[:, r].copy(),
            weight_drift=change.mean(), weight_change=np.abs(change).mean(),
            at_lower_bound=np.mean(weights <= margin),
            at_upper_bound=np.mean(weights >= circuit.largest_inhibitory - margin),
            stop=why, completed=run.step / batch.n_steps,
        )  # fmt: skip
        if why != Stop.RAN:
            run.leave_out(batch.names[r])


def _circuit(c: FeedforwardCircuit, n_rules: int, excitatory: ExcitatoryPlasticity | None) -> Circuit:
    """Return the circuit in which every rule has a neuron."""
    rules, n_e, n_i = np.arange(n_rules), c.n_excitatory, c.n_inhibitory
    leak_ns = c.neuron.leak_ns
    states = {"x": Trace(("E", "I", "N"), 20.0)}
    if excitatory is not None and excitatory.slow_tau_ms is not None:
        states["slow"] = Trace("N", excitatory.slow_tau_ms)
    fixed: dict[str, Any] = {"plastic": False}
    if excitatory is not None:
        fixed = {
            "plastic": True,
            "highest": excitatory.largest_weight,
            "learning_rate": excitatory.learning_rate,
        }
    everywhere = Synapses.from_pairs(np.repeat(np.arange(n_e), n_rules), np.tile(rules, n_e), n_e)
    projections = {
        "E": Projection(
            "E", "N", wiring=everywhere, weight=np.zeros(n_e * n_rules), unit_ns=leak_ns * c.excitatory_unit,
            **fixed,
        )
    }  # fmt: skip
    for r in range(n_rules):
        projections[f"I{r}"] = Projection(
            "I", "N", wiring=Synapses.from_pairs(np.arange(n_i), np.full(n_i, r), n_i), weight=np.zeros(n_i),
            onto="inhibitory", unit_ns=leak_ns * c.inhibitory_unit, plastic=True,
            highest=c.largest_inhibitory, learning_rate=c.learning_rate,
        )  # fmt: skip
    inputs = {"E": Recorded(n_e, [], []), "I": Recorded(n_i, [], [])}
    return Circuit({"N": replace(c.neuron, n=n_rules), **inputs}, projections, states, c.dt_ms)


def _excitatory_updates(excitatory: ExcitatoryPlasticity) -> dict[str, Any]:
    """Return the rule of excitation; that of triplets is gated by the slow trace at postsynaptic spikes."""
    updates = excitatory.rule.of_projection("E")
    program = updates.get("E.on_post")
    if excitatory.slow_tau_ms is not None and isinstance(program, Program):
        # The slow trace is a further first register: all others move by one.
        code = [(op, i + 1, j + 1 if op in BINARY_OPS else j) for op, i, j in program.code.tolist()]
        n = program.n_registers + 1
        updates["E.on_post"] = Program.build(
            ("slow_post", *program.variables), (True, *program.neuron_level), program.constants,
            [*code, (Op.MUL, int(program.output) + 1, 0)], n,
        )  # fmt: skip
    return updates


def _drawn(circuit: FeedforwardCircuit, problems: FeedforwardProblems, problem: int, n_rules: int) -> Feed:
    """Return what draws the input spikes of a problem; inputs are counted after the rules' neurons."""
    stream = InputStream(
        circuit,
        problems.channels[problem],
        float(problems.rate_factor[problem]),
        int(problems.seeds[problem]),
    )

    def feed(_: int, n_steps: int) -> tuple[IntArray, NDArray[np.int32]]:
        start, source = stream.draw(n_steps)
        source += np.int32(n_rules)
        return start, source

    return feed


def _given(circuit: FeedforwardCircuit, events: InputSpikes, n_rules: int) -> Feed:
    check_once(events.step, events.source, "An input", circuit.dt_ms)
    is_inhibitory = (events.source >= circuit.n_excitatory).astype(np.int64)
    return GivenSpikes(2, events.step, is_inhibitory, events.source + n_rules)
