"""One spiking neuron whose inhibitory synapses change by a rule, for many rules and problems at once.

All rules see the same input spikes of a problem: they are drawn once for a chunk of time, then every rule
runs over the chunk. So a comparison of rules carries no noise of the input, and a further rule costs a
fraction of a simulation. Problems run on threads; results are bit-identical for any number of threads and any
chunk.

See :mod:`sims._spiking_kernels` for the order of operations in a step.

References
----------
Vogels et al. (2011), Science 334:1569; Confavreux et al. (NeurIPS 2020), section 4.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from sims import _spiking_kernels as kernels
from sims._groups import run_groups
from sims.circuits import (
    FeedforwardCircuit,
    FeedforwardProblems,
    InputSpikes,
    InputStream,
    draw_input_spikes,
    published_problems,
)
from sims.spike_rules import ActivityLimits, ExcitatoryPlasticity, LinearSpikeRule, SpikeRule
from sims.spike_splines import SplineSpikeRule

__all__ = [
    "BIN_MS",
    "FeedforwardCircuit",
    "FeedforwardOutcome",
    "FeedforwardProblems",
    "InputSpikes",
    "Stop",
    "draw_input_spikes",
    "published_problems",
    "simulate_feedforward",
]

BIN_MS = 100.0
"""Spikes are counted in bins of this length for the Fano factor."""

AT_BOUND = 1e-3
"""A weight is at a bound when it is nearer to it than this fraction of the range."""

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


class Stop(IntEnum):
    """Why a run ended."""

    RAN = kernels.RUNNING
    TOO_QUIET = kernels.TOO_QUIET
    TOO_ACTIVE = kernels.TOO_ACTIVE
    NOT_A_NUMBER = kernels.NOT_A_NUMBER


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
    chunk_s: float = 0.5,
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
    chunk_steps = max(1, min(n_steps, circuit.steps(1000.0 * chunk_s)))
    plan = _plan(circuit, n_steps, measure_from_s, limits or ActivityLimits(), excitatory)
    batch = _Batch(rules, problems, circuit, plan, excitatory, keep_spikes)

    def run(first: int, last: int) -> None:
        for problem in range(first, last):
            given = None if events is None else events[problem]
            batch.run(problem, n_steps, chunk_steps, given)

    amount = len(problems) * n_steps * (STEP_OF_INPUTS + STEP_OF_A_RULE * len(rules))
    run_groups(run, len(problems), amount)
    return batch.outcome(n_steps)


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


def _plan(
    circuit: FeedforwardCircuit,
    n_steps: int,
    measure_from_s: float,
    limits: ActivityLimits,
    excitatory: ExcitatoryPlasticity | None,
) -> kernels.Plan:
    measure_from = circuit.steps(1000.0 * measure_from_s)
    slowest_ms = max(circuit.tau_excitatory_ms, circuit.tau_inhibitory_ms)
    normalise_s = None if excitatory is None else excitatory.normalise_every_s
    return kernels.Plan(
        measure_from,
        max(0, measure_from - circuit.steps(MEMORY_TIMES * slowest_ms)),
        (measure_from + n_steps) // 2,
        max(1, circuit.steps(BIN_MS)),
        min(kernels.NEVER, circuit.steps(1000.0 * min(limits.grace_s, 1e12))),
        max(1, circuit.steps(1000.0 * limits.window_s)),
        limits.lowest_hz * limits.window_s,
        limits.highest_hz * limits.window_s,
        kernels.NEVER if normalise_s is None else max(1, circuit.steps(1000.0 * normalise_s)),
    )


class _Batch:
    """Memory of all runs of a batch, and how one problem's runs are made."""

    def __init__(
        self,
        rules: Sequence[Rule],
        problems: FeedforwardProblems,
        circuit: FeedforwardCircuit,
        plan: kernels.Plan,
        excitatory: ExcitatoryPlasticity | None,
        keep_spikes: int,
    ) -> None:
        self._problems, self._circuit, self._plan = problems, circuit, plan
        self._excitatory = excitatory
        self._table = _table(rules)
        self._excitatory_table = _table([_NO_RULE if excitatory is None else excitatory.rule])
        shape = len(problems), len(rules)
        self._states = kernels.State(
            np.zeros((*shape, kernels.N_REALS)),
            np.zeros((*shape, kernels.N_COUNTS), dtype=np.int64),
            np.zeros((*shape, 2, circuit.n_channels)),
            np.zeros((*shape, 2, circuit.n_channels)),
            np.full((*shape, circuit.n_inhibitory), np.nan),
            np.full((*shape, keep_spikes), -1, dtype=np.int64),
        )
        self._states.reals[..., kernels.VOLTAGE] = circuit.rest_mv
        self._weights = np.repeat(problems.inhibitory_weights[:, None], len(rules), axis=1)
        plastic = problems.excitatory_weights if excitatory is not None else np.empty((shape[0], 0))
        self._excitatory_weights = np.repeat(plastic[:, None], len(rules), axis=1)

    def run(self, problem: int, n_steps: int, chunk_steps: int, events: InputSpikes | None) -> None:
        """Run all rules of one problem, chunk by chunk."""
        circuit, problems = self._circuit, self._problems
        channels = np.array(problems.channels[problem])
        draw = _piecewise(circuit, problems, problem, events)
        excite = _Excitation(circuit, problems, problem, self._excitatory is not None)
        state = kernels.State(*(array[problem] for array in self._states))
        inhibitory = _synapses(
            self._weights[problem], circuit.inhibitory_unit, circuit.learning_rate, circuit.largest_inhibitory
        )
        excitatory = _synapses(self._excitatory_weights[problem], circuit.excitatory_unit, 0.0, 0.0)
        if self._excitatory is not None:
            excitatory = excitatory._replace(
                learning_rate=float(self._excitatory.learning_rate),
                largest=float(self._excitatory.largest_weight),
                slow_keep=_kept(circuit.dt_ms, self._excitatory.slow_tau_ms),
            )
        registers, tape = _workspace(self._table, self._excitatory_table, circuit)
        membrane = _membrane(circuit)
        for first in range(0, n_steps, chunk_steps):
            length = min(chunk_steps, n_steps - first)
            chunk = excite(first, length, *draw(length))
            kernels.run_chunk(
                self._table, self._excitatory_table, self._excitatory is not None, chunk, channels, membrane,
                self._plan, inhibitory, excitatory, state, registers, tape,
            )  # fmt: skip
            if np.all(state.counts[:, kernels.STOP] != kernels.RUNNING):
                return

    def outcome(self, n_steps: int) -> FeedforwardOutcome:
        """Measures of all runs, with the rules as the first axis."""
        circuit, plan = self._circuit, self._plan
        states = kernels.State(*(np.swapaxes(array, 0, 1) for array in self._states))
        weights = np.ascontiguousarray(np.swapaxes(self._weights, 0, 1))
        counts, reals = states.counts, states.reals
        steps = counts[..., kernels.STEPS]
        measured = np.maximum(steps - plan.measure_from, 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            current = states.current / np.where(measured > 0, measured, np.nan)[..., None, None]
            seconds = (steps - plan.snapshot_at) * circuit.dt_ms / 1000.0
            change = (weights - states.snapshot) / np.where(seconds > 0, seconds, np.nan)[..., None]
            rate = counts[..., kernels.N_MEASURED] / (measured * circuit.dt_ms / 1000.0)
        margin = AT_BOUND * circuit.largest_inhibitory
        spikes = states.spikes
        return FeedforwardOutcome(
            rate_hz=rate,
            n_spikes=counts[..., kernels.N_SPIKES].copy(),
            spike_times_s=np.where(spikes >= 0, spikes * (circuit.dt_ms / 1000.0), np.nan),
            interval_cv=_interval_cv(counts, reals),
            fano_factor=_fano_factor(counts),
            excitatory_current=current[..., 0, :],
            inhibitory_current=current[..., 1, :],
            inhibitory_weights=weights,
            excitatory_weights=(
                None
                if self._excitatory is None
                else np.ascontiguousarray(np.swapaxes(self._excitatory_weights, 0, 1))
            ),
            weight_drift=change.mean(axis=-1),
            weight_change=np.abs(change).mean(axis=-1),
            at_lower_bound=(weights <= margin).mean(axis=-1),
            at_upper_bound=(weights >= circuit.largest_inhibitory - margin).mean(axis=-1),
            stop=counts[..., kernels.STOP].copy(),
            completed=steps / n_steps,
        )


class _Excitation:
    """Makes chunks for the kernels from input spikes; with fixed excitation it computes its conductance."""

    def __init__(
        self, circuit: FeedforwardCircuit, problems: FeedforwardProblems, problem: int, is_plastic: bool
    ) -> None:
        self._is_plastic = is_plastic
        self._keep = math.exp(-circuit.dt_ms / circuit.tau_excitatory_ms)
        self._weights = problems.excitatory_weights[problem] * circuit.excitatory_unit
        self._channels = np.array(problems.channels[problem])
        self._conductance = np.zeros(circuit.n_channels)
        self._step = self._source = np.empty(0, dtype=np.int64)
        self._drive, self._by_channel = np.empty(0), np.empty((0, circuit.n_channels))

    def __call__(
        self, first: int, n_steps: int, step: NDArray[np.int32], source: NDArray[np.int32]
    ) -> kernels.Chunk:
        if len(self._step) <= len(step):
            self._step = np.empty(len(step) + len(step) // 2 + 1, dtype=np.int64)
            self._source = np.empty_like(self._step)
        if self._is_plastic:
            kernels.list_all(first, step, source, len(step), self._step, self._source)
        else:
            if len(self._drive) < n_steps:
                self._drive, self._by_channel = np.empty(n_steps), np.empty((n_steps, len(self._conductance)))
            kernels.excite(
                first, n_steps, step, source, len(step), self._weights, self._channels, self._keep,
                self._conductance, self._drive, self._by_channel, self._step, self._source,
            )  # fmt: skip
        return kernels.Chunk(first, n_steps, self._step, self._source, self._drive, self._by_channel)


def _piecewise(
    circuit: FeedforwardCircuit, problems: FeedforwardProblems, problem: int, events: InputSpikes | None
) -> Callable[[int], tuple[NDArray[np.int32], NDArray[np.int32]]]:
    """Return what gives the input spikes of the next so many steps, drawn or as given."""
    if events is None:
        stream = InputStream(
            circuit,
            problems.channels[problem],
            float(problems.rate_factor[problem]),
            int(problems.seeds[problem]),
        )
        return stream.draw
    given, first = events, 0

    def piece(n_steps: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        nonlocal first
        begin, end = np.searchsorted(given.step, [first, first + n_steps])
        step = (given.step[begin:end] - first).astype(np.int32)
        first += n_steps
        return step, given.source[begin:end].astype(np.int32)

    return piece


def _synapses(weights: FloatArray, unit: float, learning_rate: float, largest: float) -> kernels.Synapses:
    return kernels.Synapses(
        weights, np.zeros_like(weights), np.zeros(weights.shape, dtype=np.int64), weights.sum(axis=1),
        float(unit), float(learning_rate), float(largest), 0.0,
    )  # fmt: skip


def _kept(dt_ms: float, tau_ms: float | None) -> float:
    """Factor by which a trace decays in a step; 0 for no trace."""
    return 0.0 if tau_ms is None else math.exp(-dt_ms / tau_ms)


def _membrane(circuit: FeedforwardCircuit) -> kernels.Membrane:
    dt = circuit.dt_ms
    return kernels.Membrane(
        float(dt / circuit.tau_membrane_ms), float(circuit.rest_mv), float(circuit.reset_mv),
        float(circuit.threshold_mv), float(circuit.excitatory_reversal_mv),
        float(circuit.inhibitory_reversal_mv), max(1, circuit.steps(circuit.refractory_ms)),
        math.exp(-dt / circuit.tau_excitatory_ms), math.exp(-dt / circuit.tau_inhibitory_ms), float(dt),
    )  # fmt: skip


def _table(rules: Sequence[Rule]) -> kernels.RuleTable:
    """Rules in the form of the kernels, one after the other."""
    forms = [rule.kernel_rule() for rule in rules]

    def start(arrays: list[NDArray[np.generic]]) -> IntArray:
        return np.cumsum([0, *(len(array) for array in arrays)], dtype=np.int64)

    pre_code, post_code = [form.pre_code for form in forms], [form.post_code for form in forms]
    pre, post = [form.pre_constants for form in forms], [form.post_constants for form in forms]
    return kernels.RuleTable(
        np.array([form.is_linear for form in forms]),
        np.array([[f.alpha, f.beta, f.gamma, f.kappa, f.tau_pre, f.tau_post] for f in forms]),
        np.concatenate(pre_code), start(pre_code), np.concatenate(pre), start(pre),
        np.array([form.pre_output for form in forms], dtype=np.int64),
        np.concatenate(post_code), start(post_code), np.concatenate(post), start(post),
        np.array([form.post_output for form in forms], dtype=np.int64),
    )  # fmt: skip


def _workspace(
    table: kernels.RuleTable, excitatory: kernels.RuleTable, circuit: FeedforwardCircuit
) -> tuple[FloatArray, FloatArray]:
    """Registers for the longest program, for one synapse and for all of a neuron."""
    most = 2
    for rules in (table, excitatory):
        for code, constants in (
            (rules.pre_code_start, rules.pre_constants_start),
            (rules.post_code_start, rules.post_constants_start),
        ):
            most = max(most, 2 + int((np.diff(code) + np.diff(constants)).max()))
    return np.empty(most), np.empty((most, max(circuit.n_excitatory, circuit.n_inhibitory)))


def _interval_cv(counts: IntArray, reals: FloatArray) -> FloatArray:
    n = counts[..., kernels.N_INTERVALS]
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = reals[..., kernels.INTERVALS] / n
        variance = reals[..., kernels.SQUARED_INTERVALS] / n - mean**2
        return np.where(n >= 2, np.sqrt(np.maximum(variance, 0.0)) / mean, np.nan)


def _fano_factor(counts: IntArray) -> FloatArray:
    n = counts[..., kernels.N_BINS]
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = counts[..., kernels.N_BINNED] / n
        variance = (counts[..., kernels.SQUARED_COUNTS] / n - mean**2) * n / (n - 1)
        return np.where((n >= 2) & (mean > 0), variance / mean, np.nan)


_NO_RULE = LinearSpikeRule(0.0, 0.0, 0.0, 0.0)
