"""A recurrent network of excitatory and inhibitory spiking neurons with plastic inhibition.

Excitatory neurons receive plastic synapses from inhibitory ones; all other synapses stay as they are. The
circuit is drawn from a seed and simulated in pieces of time, so that memory does not grow with it.

References
----------
Vogels et al. (2011), Science 334:1569, figure 4; the settings are those of the example that comes with Brian2
(https://brian2.readthedocs.io/en/stable/examples/frompapers.Vogels_et_al_2011.html).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sims import _recurrent_kernels as kernels
from sims._checks import check_numbers
from sims.spike_rules import ActivityLimits
from sims.spiking import BIN_MS, Rule, Stop
from sims.synapses import drawn_subset, starts_of

__all__ = ["RecurrentNetwork", "RecurrentOutcome", "simulate_recurrent"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

AT_BOUND = 1e-3
"""A weight is at a bound when it is nearer to it than this fraction of the range."""

MIN_INTERVALS = 5
"""Neurons with fewer intervals between spikes have no coefficient of variation."""


@dataclass(frozen=True)
class RecurrentNetwork:
    """Settings of the network.

    Every pair of neurons is connected with one probability, a neuron with itself too, as in the published
    example; voltages begin at random between reset and threshold.

    Parameters
    ----------
    n_excitatory, n_inhibitory : int
    connection_probability : float
    dt_ms : float
    capacitance_pf, leak_ns, rest_mv, reset_mv, threshold_mv, refractory_ms : float
        Membrane.
    excitatory_reversal_mv, inhibitory_reversal_mv : float
    background_pa : float
        Current into every neuron.
    tau_excitatory_ms, tau_inhibitory_ms : float
        Decay of conductances.
    excitatory_ns, inhibitory_ns : float
        Conductance that a spike of an excitatory neuron adds, and one of an inhibitory neuron at inhibitory
        targets.
    unit_ns : float
        Conductance of a plastic synapse of weight 1.
    initial_weight, largest_weight, learning_rate : float
        Of the plastic synapses.

    Raises
    ------
    ValueError
        If a number is out of range.

    Examples
    --------
    >>> RecurrentNetwork().n_neurons
    10000
    """

    n_excitatory: int = 8000
    n_inhibitory: int = 2000
    connection_probability: float = 0.02
    dt_ms: float = 0.1
    capacitance_pf: float = 200.0
    leak_ns: float = 10.0
    rest_mv: float = -60.0
    reset_mv: float = -60.0
    threshold_mv: float = -50.0
    refractory_ms: float = 5.0
    excitatory_reversal_mv: float = 0.0
    inhibitory_reversal_mv: float = -80.0
    background_pa: float = 200.0
    tau_excitatory_ms: float = 5.0
    tau_inhibitory_ms: float = 10.0
    excitatory_ns: float = 0.3
    inhibitory_ns: float = 3.0
    unit_ns: float = 1.0
    initial_weight: float = 0.0
    largest_weight: float = 100.0
    learning_rate: float = 0.01

    def __post_init__(self) -> None:
        check_numbers(
            self,
            "network",
            positive=(
                "dt_ms", "capacitance_pf", "leak_ns", "tau_excitatory_ms", "tau_inhibitory_ms", "unit_ns",
                "largest_weight", "learning_rate",
            ),
            not_negative=("refractory_ms", "excitatory_ns", "inhibitory_ns", "initial_weight"),
            counts=("n_excitatory", "n_inhibitory"),
        )  # fmt: skip
        if not 0 < self.connection_probability <= 1:
            raise ValueError(
                f"The connection probability is above 0 and at most 1, got {self.connection_probability}."
            )
        if not self.reset_mv < self.threshold_mv:
            raise ValueError(f"The reset lies below the threshold, got {self.reset_mv} mV.")
        if self.initial_weight > self.largest_weight:
            raise ValueError(
                f"Weights go up to {self.largest_weight}, got {self.initial_weight} at the start."
            )

    @property
    def n_neurons(self) -> int:
        """Number of neurons; the excitatory ones come first."""
        return self.n_excitatory + self.n_inhibitory

    def steps(self, milliseconds: float) -> int:
        """Return the number of steps nearest to a time."""
        return round(milliseconds / self.dt_ms)


@dataclass(frozen=True)
class RecurrentOutcome:
    """What a simulation ended with and what was measured in its last part.

    Attributes
    ----------
    rate_hz, inhibitory_rate_hz : float
        Mean rates of the excitatory and of the inhibitory neurons in the measuring window; NaN when the run
        stopped before.
    rates_hz : ndarray, shape (n_bins, 2)
        Population rates of excitatory and inhibitory neurons over the whole run, in bins of `bin_s`.
    bin_s : float
    interval_cv : float
        Coefficient of variation of the intervals between spikes, mean over the excitatory neurons that have
        at least five intervals in the window.
    fano_factor : float
        Variance over mean of the spike counts in bins of 100 ms, mean over excitatory neurons that spike.
    weights : ndarray, shape (n_plastic,)
        At the end.
    weight_drift : float
        Change of the mean weight per second over the second half of the window.
    at_lower_bound, at_upper_bound : float
        Fractions of the weights at the bounds.
    stop : int
        Why the run ended, see :class:`sims.spiking.Stop`.
    completed : float
        Time until the run ended over its whole duration.
    """

    rate_hz: float
    inhibitory_rate_hz: float
    rates_hz: FloatArray
    bin_s: float
    interval_cv: float
    fano_factor: float
    weights: FloatArray
    weight_drift: float
    at_lower_bound: float
    at_upper_bound: float
    stop: int
    completed: float


def simulate_recurrent(
    rule: Rule,
    network: RecurrentNetwork,
    duration_s: float,
    measure_from_s: float = 0.0,
    *,
    seed: int = 0,
    limits: ActivityLimits | None = None,
) -> RecurrentOutcome:
    """Draw a network and simulate it under a rule of its plastic synapses.

    Parameters
    ----------
    rule : SpikeRule, LinearSpikeRule or SplineSpikeRule
    network : RecurrentNetwork
    duration_s, measure_from_s : float
        The measuring window reaches from `measure_from_s` to the end.
    seed : int
        Of the connections and of the initial voltages: two rules with one seed meet the same network.
    limits : ActivityLimits, optional
        When the run is stopped early, by the mean rate of the excitatory neurons. Default: a rate outside
        .1-100 Hz in a window of 1 s, after the first 5 s.

    Returns
    -------
    RecurrentOutcome

    Raises
    ------
    ValueError
        If a number is out of range.

    Examples
    --------
    >>> from sims.spike_rules import LinearSpikeRule
    >>> small = RecurrentNetwork(80, 20, 0.2)
    >>> outcome = simulate_recurrent(LinearSpikeRule.vogels(5.0), small, 0.3)
    >>> outcome.rates_hz.shape, 0 <= outcome.rate_hz <= 200
    ((3, 2), True)
    """
    n_steps = network.steps(1000.0 * duration_s) if math.isfinite(duration_s) else 0
    if n_steps < 1:
        raise ValueError(f"A run lasts at least one step of {network.dt_ms} ms, got {duration_s} s.")
    if not 0 <= measure_from_s < duration_s:
        raise ValueError(f"Measuring starts within the {duration_s} s of the run, got {measure_from_s} s.")
    run = _Run(rule, network, np.random.default_rng(seed))
    bounds = limits or ActivityLimits(0.1, 100.0, 1.0, 5.0)
    return run.simulate(n_steps, network.steps(1000.0 * measure_from_s), bounds)


class _Run:
    """Memory of one simulation."""

    def __init__(self, rule: Rule, network: RecurrentNetwork, rng: np.random.Generator) -> None:
        self.network, self.rule = network, rule.kernel_rule()
        self.wiring = _drawn_wiring(network, rng)
        n, n_e, n_i = network.n_neurons, network.n_excitatory, network.n_inhibitory
        n_plastic = len(self.wiring.plastic_target)
        self.state = kernels.Network(
            rng.uniform(network.reset_mv, network.threshold_mv, n).astype(np.float32),
            np.zeros(n, dtype=np.float32), np.zeros(n, dtype=np.float32), np.zeros(n, dtype=np.int64),
            np.zeros(n, dtype=np.int64), np.zeros(2, dtype=np.int64), np.zeros(n_e), np.zeros(n_i),
            np.ones(4), np.full(n_plastic, network.initial_weight), np.full(n, -1, dtype=np.int64),
            np.zeros((n, 3)), np.zeros((n_e, 3)),
        )  # fmt: skip
        self.cells = _cells(network)
        self.keep = tuple(math.exp(-network.dt_ms / tau) for tau in (self.rule.tau_pre, self.rule.tau_post))
        self.spiking = np.empty(n, dtype=np.int64)
        rows = [2 + len(code) + len(constants) for code, constants in (
            (self.rule.pre_code, self.rule.pre_constants), (self.rule.post_code, self.rule.post_constants),
        )]  # fmt: skip
        self.tape = np.empty((max(rows), n))

    def simulate(self, n_steps: int, measure_from: int, limits: ActivityLimits) -> RecurrentOutcome:
        """Run bin by bin."""
        network = self.network
        window = max(1, network.steps(1000.0 * limits.window_s))
        grace = network.steps(min(1000.0 * limits.grace_s, 1e12))
        bin_steps = max(1, network.steps(BIN_MS))
        snapshot_at = bin_steps * round((measure_from + n_steps) / 2 / bin_steps)  # where a bin ends
        rates, stop, done = [], int(Stop.RAN), 0
        snapshot, in_window = float("nan"), np.zeros(2)
        spikes_in_limits, next_check = 0, grace + window
        n_bins = 0
        for first, last in _pieces(n_steps, measure_from, snapshot_at, bin_steps):
            if first == snapshot_at:
                snapshot = float(self.state.weights.mean())
            measuring = first >= measure_from
            spikes_e, spikes_i, fine = kernels.run_steps(
                self.rule, self.cells, self.wiring, self.state, *self.keep, first, last - first, measuring,
                self.spiking, self.tape,
            )  # fmt: skip
            done = last
            rates.append((first, last, spikes_e, spikes_i))
            if measuring:
                in_window += (spikes_e, spikes_i)
                kernels.close_bin(self.state)
                n_bins += 1
            if not fine:
                stop = int(Stop.NOT_A_NUMBER)
                break
            spikes_in_limits = spikes_in_limits + spikes_e if first >= grace else 0
            if last >= next_check:
                seconds = (last - next_check + window) * network.dt_ms / 1000.0
                rate = spikes_in_limits / network.n_excitatory / seconds
                if not limits.lowest_hz <= rate <= limits.highest_hz:
                    stop = int(Stop.TOO_QUIET if rate < limits.lowest_hz else Stop.TOO_ACTIVE)
                    break
                spikes_in_limits, next_check = 0, last + window
        return self._outcome(
            done, n_steps, measure_from, snapshot_at, snapshot, in_window, n_bins, rates, stop
        )

    def _outcome(
        self,
        done: int,
        n_steps: int,
        measure_from: int,
        snapshot_at: int,
        snapshot: float,
        in_window: FloatArray,
        n_bins: int,
        rates: list[tuple[int, int, int, int]],
        stop: int,
    ) -> RecurrentOutcome:
        network, weights = self.network, self.state.weights
        dt_s = network.dt_ms / 1000.0
        measured_s = (done - measure_from) * dt_s
        sizes = np.array([network.n_excitatory, network.n_inhibitory])
        mean_rates = in_window / sizes / measured_s if measured_s > 0 else np.full(2, np.nan)
        margin = AT_BOUND * network.largest_weight
        late_s = (done - snapshot_at) * dt_s
        return RecurrentOutcome(
            rate_hz=float(mean_rates[0]),
            inhibitory_rate_hz=float(mean_rates[1]),
            rates_hz=_binned(rates, sizes, dt_s),
            bin_s=BIN_MS / 1000.0,
            interval_cv=_interval_cv(self.state.intervals[: network.n_excitatory]),
            fano_factor=_fano_factor(self.state.counts, n_bins),
            weights=weights,
            weight_drift=float((weights.mean() - snapshot) / late_s) if late_s > 0 else float("nan"),
            at_lower_bound=float(np.mean(weights <= margin)),
            at_upper_bound=float(np.mean(weights >= network.largest_weight - margin)),
            stop=stop,
            completed=done / n_steps,
        )


def _pieces(n_steps: int, measure_from: int, snapshot_at: int, most: int) -> Iterator[tuple[int, int]]:
    """Yield pieces of at most one bin that end where something has to be looked at."""
    first = 0
    while first < n_steps:
        ends = [first + most, n_steps, *(at for at in (measure_from, snapshot_at) if at > first)]
        yield first, min(ends)
        first = min(ends)


def _binned(rates: list[tuple[int, int, int, int]], sizes: IntArray, dt_s: float) -> FloatArray:
    table = np.array(rates, dtype=np.float64).reshape(-1, 4)
    result: FloatArray = table[:, 2:] / sizes / ((table[:, 1] - table[:, 0]) * dt_s)[:, None]
    return result


def _interval_cv(intervals: FloatArray) -> float:
    enough = intervals[intervals[:, 0] >= MIN_INTERVALS]
    if not len(enough):
        return float("nan")
    mean = enough[:, 1] / enough[:, 0]
    variance = np.maximum(enough[:, 2] / enough[:, 0] - mean**2, 0.0)
    return float(np.mean(np.sqrt(variance) / mean))


def _fano_factor(counts: FloatArray, n_bins: int) -> float:
    spiking = counts[counts[:, 1] > 0]
    if n_bins < 2 or not len(spiking):
        return float("nan")
    mean = spiking[:, 1] / n_bins
    variance = (spiking[:, 2] / n_bins - mean**2) * n_bins / (n_bins - 1)
    return float(np.mean(variance / mean))


def _cells(network: RecurrentNetwork) -> kernels.Cells:
    dt = network.dt_ms
    return kernels.Cells(
        dt / network.capacitance_pf, network.leak_ns, network.rest_mv, network.reset_mv, network.threshold_mv,
        network.excitatory_reversal_mv, network.inhibitory_reversal_mv, network.background_pa,
        math.exp(-dt / network.tau_excitatory_ms), math.exp(-dt / network.tau_inhibitory_ms),
        network.steps(network.refractory_ms), network.excitatory_ns, network.inhibitory_ns, network.unit_ns,
        network.learning_rate, network.largest_weight,
    )  # fmt: skip


def _drawn_wiring(network: RecurrentNetwork, rng: np.random.Generator) -> kernels.Wiring:
    """Draw who is connected to whom."""
    n, n_e = network.n_neurons, network.n_excitatory
    fixed, plastic = [], []
    for neuron in range(n):
        targets = drawn_subset(n, network.connection_probability, rng)
        if neuron < n_e:
            fixed.append(targets)
        else:
            border = int(np.searchsorted(targets, n_e))
            plastic.append(targets[:border])
            fixed.append(targets[border:])
    plastic_target = np.concatenate(plastic)
    sizes = [len(row) for row in plastic]
    source = np.repeat(np.arange(len(plastic)), sizes)
    by_target = np.argsort(plastic_target, kind="stable")
    # Most of the time goes into fetching these from memory.
    short = np.uint16 if n <= np.iinfo(np.uint16).max else np.uint32
    return kernels.Wiring(
        starts_of([len(row) for row in fixed]),
        np.concatenate(fixed).astype(short),
        starts_of(sizes),
        plastic_target.astype(short),
        starts_of(np.bincount(plastic_target, minlength=n_e).tolist()),
        by_target.astype(np.uint32),
        source[by_target].astype(short),
    )
