"""Spiking circuits of any make, simulated by one kernel.

A :class:`Network` is a circuit with its synapses. It runs from a state to a state: a run of a second is the
same, bit for bit, as two of half a second, the second from where the first ended, and any state can be run
from again. See :mod:`sims._circuit_kernels` for the neuron equation and the order of a step.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sims import _circuit_tables as tables
from sims._circuit_packing import GivenSpikes, Layout, packed_inputs, plan_of
from sims._circuit_run import Run
from sims._groups import run_groups
from sims.circuit import LIF, Circuit, Signal
from sims.circuit_state import CircuitState, loaded_state
from sims.rules import Program
from sims.spike_measures import SpikeMeasures
from sims.spike_rules import ActivityLimits, Stop
from sims.spike_splines import TraceSplines
from sims.synapses import Synapses

__all__ = ["CircuitOutcome", "CircuitState", "Network", "Spikes", "run_each"]

T = TypeVar("T")

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Spikes:
    """Recorded spikes of a population.

    Attributes
    ----------
    step : ndarray of int, shape (n_spikes,)
        Counted from the start of the circuit.
    neuron : ndarray of int, shape (n_spikes,)
    """

    step: IntArray
    neuron: IntArray


@dataclass(frozen=True, eq=False)
class CircuitOutcome:
    """What a run ended with.

    Attributes
    ----------
    state : CircuitState
        At the end.
    rates_hz : dict of str to ndarray, shape (n_bins,)
        Mean rate of each population in bins of `bin_s`; the last one may be shorter.
    bin_s : float
    spikes : dict of str to Spikes
        Of the populations that were recorded.
    measured : dict of str to SpikeMeasures
        Of the neurons of each population in the measuring window, up to where the run ended; empty without a
        window or where the run ended before it.
    weight_drift : dict of str to ndarray, shape (n_synapses,)
        Change of each weight of a plastic projection per second over the second half of the window; empty
        where the run ended before it.
    stop : Stop
        Why the run ended.
    stopped_by : str or None
        Name of the population that was too quiet or too active.
    completed : float
        Time until the run ended over its whole duration.
    """

    state: CircuitState
    rates_hz: dict[str, FloatArray]
    bin_s: float
    spikes: dict[str, Spikes]
    measured: dict[str, SpikeMeasures]
    weight_drift: dict[str, FloatArray]
    stop: Stop
    stopped_by: str | None
    completed: float


class Network:
    """A circuit with its synapses, drawn from a seed where they are not given.

    The synapses of a projection depend on the seed and on the projection's name and sizes alone.

    Parameters
    ----------
    circuit : Circuit
    seed : int

    Examples
    --------
    >>> from sims.circuit import LIF, Poisson, Projection
    >>> circuit = Circuit(
    ...     {"E": LIF(20), "input": Poisson(50, 20.0)}, {"in": Projection("input", "E", 0.5, weight=3.0)}
    ... )
    >>> network = Network(circuit)
    >>> outcome = network.run({}, network.initial_state(), 0.2)
    >>> outcome.rates_hz["E"].shape, outcome.state.step
    ((2,), 2000)
    """

    def __init__(self, circuit: Circuit, seed: int = 0) -> None:
        synapses = {}
        for name, projection in circuit.projections.items():
            wiring = projection.wiring
            if wiring is None:
                assert projection.probability is not None
                sizes = circuit.populations[projection.pre].n, circuit.populations[projection.post].n
                wiring = Synapses.drawn(*sizes, projection.probability, _generator(seed, "synapses", name))
            synapses[name] = wiring
        self.circuit, self.synapses = circuit, synapses
        self.layout = Layout(circuit, synapses)

    def initial_state(self, seed: int = 0, voltage_mv: Mapping[str, ArrayLike] | None = None) -> CircuitState:
        """Return a state to begin with.

        Parameters
        ----------
        seed : int
            Of the voltages and of the spikes of Poisson populations.
        voltage_mv : mapping of str to array_like, shape (n,)
            Instead of random ones.
        """
        layout, circuit = self.layout, self.circuit
        n, n_lif = layout.n_with_membrane, len(circuit.neurons)
        n_populations = len(layout.populations)
        rng = _generator(seed, "spikes", "")
        weights = np.empty(layout.n_weights)
        for name, place in layout.weights.items():
            weights[place] = circuit.projections[name].weight
        states = [circuit.states[name] for name in layout.globals]
        signals = np.array([one.initial if isinstance(one, Signal) else 0.0 for one in states])
        n_eligible, depth = int(layout.eligibility_start[-1]), layout.longest_delay + 1
        single, whole = np.zeros((5, n), dtype=np.float32), np.zeros((2, n), dtype=np.int64)
        arrays = tables.State(
            voltage=self._voltages(seed, voltage_mv or {}),
            excitatory=single[0],
            inhibitory=single[1],
            slow=single[2],
            threshold=single[3],
            adaptation=single[4],
            free_at=whole[0],
            refractory=whole[1],
            ends=np.zeros((n_lif, 2), dtype=np.int64),
            scales=np.ones((n_lif, tables.N_SCALES)),
            values=np.empty(0),
            row_scales=np.empty(0),
            weights=weights,
            eligibility=np.zeros(n_eligible),
            eligibility_scales=np.ones(len(layout.eligibilities)),
            signals=signals,
            history=np.zeros((depth, layout.n_neurons), dtype=np.int32),
            bounds=np.zeros((depth, n_populations + 1), dtype=np.int64),
            waiting=rng.standard_exponential(layout.n_poisson),
            counts=np.zeros(n_populations, dtype=np.int64),
        )
        return CircuitState(0, layout, arrays, (), rng)

    def load_state(self, path: str | Path) -> CircuitState:
        """Read a state that :meth:`CircuitState.save` wrote; runs go on from it as from the saved one.

        Raises
        ------
        ValueError
            If the file holds no state, or one of a network with other synapses.
        """
        return loaded_state(path, self.initial_state())

    def run(
        self,
        rules: Mapping[str, Program | TraceSplines | float],
        state: CircuitState,
        duration_s: float,
        *,
        signals: Mapping[str, ArrayLike] | None = None,
        rates_hz: Mapping[str, ArrayLike] | None = None,
        limits: Mapping[str, ActivityLimits] | None = None,
        record: Collection[str] = (),
        measure_from_s: float | None = None,
    ) -> CircuitOutcome:
        """Run the network from a state, which does not change.

        Parameters
        ----------
        rules : mapping of str to Program, TraceSplines or float
            Updates by slot (see :attr:`Circuit.slots`); slots that are not there stay empty. Time constants
            of traces in ms by name (see :attr:`Circuit.time_constants`). A program names those of the slot's
            variables that it reads; splines are of the first state of the neuron on the other side.
        state : CircuitState
            Of this network. A trace that it does not have, as no run before had one with this time constant,
            begins at zero.
        duration_s : float
        signals : mapping of str to float or array_like, shape (n_steps,)
            Others keep the value that they have.
        rates_hz : mapping of str to float or array_like, shape (n,)
            Of Poisson populations in this run, instead of their own.
        limits : mapping of str to ActivityLimits
            When the run is stopped, by the mean rate of each population; windows and grace count from the
            start of the run. Default: only where a number is none.
        record : collection of str
            Populations whose spikes are returned.
        measure_from_s : float, optional
            The measuring window reaches from here to the end of the run. Default: nothing is measured.

        Returns
        -------
        CircuitOutcome

        Raises
        ------
        ValueError
            If a name is unknown, a shape is wrong or a number is out of range.
        """
        n_steps = self.circuit.steps(1000.0 * duration_s) if math.isfinite(duration_s) else 0
        if n_steps < 1:
            raise ValueError(f"A run lasts at least one step of {self.circuit.dt_ms} ms, got {duration_s} s.")
        if measure_from_s is not None and not (
            0 <= measure_from_s < duration_s and self.circuit.steps(1000.0 * measure_from_s) < n_steps
        ):
            raise ValueError(
                f"Measuring starts within the {duration_s} s of the run, got {measure_from_s} s."
            )
        if state.layout is not self.layout:
            raise ValueError("The state is of another network; begin with initial_state() of this one.")
        for what, names in (("recorded", record), ("limited", limits or {})):
            for name in names:
                if name not in self.circuit.populations:
                    raise ValueError(
                        f"Populations to be {what} are among {', '.join(self.circuit.populations)}, "
                        f"got {name!r}."
                    )
        plan = plan_of(self.layout, rules)
        n_signals = sum(isinstance(one, Signal) for one in self.circuit.states.values())
        inputs = packed_inputs(
            self.layout, state.step, n_steps, rates_hz or {}, signals or {}, state.arrays.signals[:n_signals]
        )
        feed = GivenSpikes.recorded(self.layout, state.step, state.step + n_steps)
        run = Run(self.layout, plan, inputs, state, n_steps, feed, record)
        return _outcome(run, n_steps, limits or {}, measure_from_s, record)

    def _voltages(self, seed: int, given: Mapping[str, ArrayLike]) -> NDArray[np.float32]:
        for name in given:
            if name not in self.circuit.neurons:
                raise ValueError(f"Voltages are of {', '.join(self.circuit.neurons)}, got {name!r}.")
        rows = []
        for name in self.circuit.neurons:
            cell = self.circuit.populations[name]
            assert isinstance(cell, LIF)
            low, high = cell.initial_mv or (cell.reset_mv, cell.threshold_mv)
            drawn = _generator(seed, "voltages", name).uniform(low, high, cell.n)
            values = np.asarray(given.get(name, drawn), dtype=np.float32)
            if values.shape != (cell.n,) or not np.all(np.isfinite(values)):
                raise ValueError(f"Population {name} has {cell.n} finite voltages, got shape {values.shape}.")
            rows.append(values)
        return np.concatenate(rows)


def run_each(
    rules: Sequence[Mapping[str, Program | TraceSplines | float]],
    networks: Sequence[tuple[Network, int]],
    seconds: float,
    measured_s: float,
    limits: Callable[[Circuit], Mapping[str, ActivityLimits]],
    read: Callable[[CircuitOutcome, int], T],
) -> list[list[T]]:
    """Run each rule in each network, on threads, and return what is read of each outcome.

    Parameters
    ----------
    rules : sequence of mapping
        As :meth:`Network.run` takes them.
    networks : sequence of (Network, int)
        With the seeds of their initial states.
    seconds, measured_s : float
        Length of a run, and of the measuring window at its end.
    limits : callable
        When a run of a circuit is stopped, by population.
    read : callable
        From the outcome and the number of the network.

    Returns
    -------
    list of list
        For each rule, of all networks.
    """
    found: list[Any] = [None] * (len(rules) * len(networks))

    def run(first: int, last: int) -> None:
        for k in range(first, last):
            number = k % len(networks)
            network, seed = networks[number]
            outcome = network.run(
                rules[k // len(networks)], network.initial_state(seed), seconds,
                limits=limits(network.circuit), measure_from_s=seconds - measured_s,
            )  # fmt: skip
            found[k] = read(outcome, number)

    work = sum(
        network.circuit.steps(1000.0 * seconds) * sum(one.n for one in network.circuit.populations.values())
        for network, _ in networks
    )
    run_groups(run, len(found), len(rules) * work)
    return [found[k : k + len(networks)] for k in range(0, len(found), max(len(networks), 1))]


def _outcome(
    run: Run,
    n_steps: int,
    limits: Mapping[str, ActivityLimits],
    measure_from_s: float | None,
    record: Collection[str],
) -> CircuitOutcome:
    """Run as long as activity is within its limits."""
    circuit, names, begin = run.layout.circuit, run.layout.populations, run.begin
    checks = {name: _Check(circuit, name, limit) for name, limit in limits.items()}
    measure_from = n_steps if measure_from_s is None else circuit.steps(1000.0 * measure_from_s)
    halfway, before = (measure_from + n_steps) // 2, run.arrays.weights
    cuts = [(measure_from, n_steps), (halfway, n_steps), *(check.ends for check in checks.values())]
    counted, stop, stopped_by = np.zeros(len(names), dtype=np.int64), Stop.RAN, None
    for first, last in _pieces(n_steps, cuts):
        if first == measure_from:
            run.measure()
        if first == halfway:
            before = run.arrays.weights.copy()
        fine = run.advance(begin + last)
        spikes = run.arrays.counts - counted
        counted = run.arrays.counts.copy()
        if not fine:
            stop = Stop.NOT_A_NUMBER
            break
        for name, check in checks.items():
            stop = check.after(first, last, int(spikes[names.index(name)]))
            if stop != Stop.RAN:
                stopped_by = name
                break
        if stop != Stop.RAN:
            break
    done = run.step - begin
    late = run.arrays.weights - before if run.tally is not None and done > halfway else None
    return CircuitOutcome(
        run.state(), _rates(run, done), run.workspace.bin_steps * circuit.dt_ms / 1000.0,
        _recorded(run, record), _measured(run), _by_projection(run.layout, late, done - halfway), stop,
        stopped_by, done / n_steps,
    )  # fmt: skip


def _measured(run: Run) -> dict[str, SpikeMeasures]:
    if run.tally is None:
        return {}
    first, circuit = run.layout.first, run.layout.circuit
    return {
        name: run.tally.measures(
            slice(first[name], first[name] + circuit.populations[name].n), run.step, circuit.dt_ms
        )
        for name in circuit.neurons
    }


def _by_projection(layout: Layout, change: FloatArray | None, n_steps: int) -> dict[str, FloatArray]:
    """Sort changes of weights over some steps by projection, per second."""
    if change is None:
        return {}
    return {
        name: change[place] / (n_steps * layout.circuit.dt_ms / 1000.0)
        for name, place in layout.weights.items()
        if layout.circuit.projections[name].plastic
    }


def _rates(run: Run, done: int) -> dict[str, FloatArray]:
    circuit, bin_steps = run.layout.circuit, run.workspace.bin_steps
    lengths = np.diff(np.append(np.arange(0, done, bin_steps), done)) * circuit.dt_ms / 1000.0
    return {
        name: counts[: len(lengths)] / lengths / circuit.populations[name].n
        for name, counts in zip(run.layout.populations, run.workspace.binned.T, strict=True)
    }


def _recorded(run: Run, record: Collection[str]) -> dict[str, Spikes]:
    if not record:
        return {}
    steps = np.concatenate([one for one, _ in run.spikes] or [np.empty(0, dtype=np.int64)])
    neurons = np.concatenate([one for _, one in run.spikes] or [np.empty(0, dtype=np.int32)])
    result = {}
    for name in record:
        first = run.layout.first[name]
        own = (neurons >= first) & (neurons < first + run.layout.circuit.populations[name].n)
        result[name] = Spikes(steps[own], neurons[own].astype(np.int64) - first)
    return result


class _Check:
    """Spikes of a population against its limits, window by window."""

    def __init__(self, circuit: Circuit, name: str, limits: ActivityLimits) -> None:
        self.limits = limits
        self.grace = circuit.steps(min(1000.0 * limits.grace_s, 1e12))
        self.window = max(1, circuit.steps(1000.0 * limits.window_s))
        self.ends = self.grace, self.window
        self.neuron_seconds = circuit.populations[name].n * self.window * circuit.dt_ms / 1000.0
        self.n_spikes = 0

    def after(self, first: int, last: int, n_spikes: int) -> Stop:
        """Count the spikes of a piece; at the end of a window say whether there were too few or too many."""
        if first < self.grace:
            return Stop.RAN
        self.n_spikes += n_spikes
        if (last - self.grace) % self.window:
            return Stop.RAN
        rate, self.n_spikes = self.n_spikes / self.neuron_seconds, 0
        if rate < self.limits.lowest_hz:
            return Stop.TOO_QUIET
        return Stop.TOO_ACTIVE if rate > self.limits.highest_hz else Stop.RAN


def _pieces(n_steps: int, windows: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield pieces that end where windows do, which are (first step, length)."""
    first = 0
    while first < n_steps:
        last = n_steps
        for begin, length in windows:
            last = min(last, begin if first < begin else begin + ((first - begin) // length + 1) * length)
        yield first, last
        first = last


def _generator(seed: int, what: str, name: str) -> np.random.Generator:
    return np.random.default_rng([int(seed), zlib.crc32(what.encode()), zlib.crc32(name.encode())])
