"""A circuit and its rules in the flat arrays that the kernels take."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sims import _circuit_tables as tables
from sims._circuit_rules import Update, planned
from sims.circuit import (
    SAMPLED,
    Circuit,
    Eligibility,
    LowPass,
    Projection,
    Signal,
    Trace,
    Variable,
)
from sims.populations import LIF, Poisson, Recorded, checked_rates
from sims.rules import Program
from sims.spike_splines import TraceSplines
from sims.synapses import Synapses, starts_of

__all__ = ["GivenSpikes", "Layout", "Plan", "RowKey", "packed_inputs", "plan_of"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

RowKey = tuple[int, str, int, str, float]
"""Kind of a row, its population, delay in steps, what it follows, and its time constant in ms."""

_PLACES = {
    "global": tables.OF_CIRCUIT,
    "pre": tables.OF_PRE,
    "post": tables.OF_POST,
    "synapse": tables.OF_SYNAPSE,
    "weight": tables.OF_WEIGHT,
}
_EVENTS = ("pre", "post", "interval")

LARGE = 100_000
"""So many synapses are out of the processor's reach, and asked for before they are needed."""


class Layout:
    """Where everything of a circuit stands, and its synapses; rules do not matter here.

    Attributes
    ----------
    populations : tuple of str
        Those with a membrane first, then Poisson neurons, then those whose spikes are given.
    given : tuple of str
        The last of these.
    first : dict of str to int
        Number of a population's first neuron, counted through all.
    weights : dict of str to slice
        Of each projection whose synapses have weights of their own.
    cells, wiring
        As the kernels take them; the wiring's table has no updates yet.
    """

    def __init__(self, circuit: Circuit, synapses: Mapping[str, Synapses]) -> None:
        self.circuit, self.synapses = circuit, synapses
        poisson, given = (
            tuple(name for name, value in circuit.populations.items() if isinstance(value, kind))
            for kind in (Poisson, Recorded)
        )
        self.populations, self.given = circuit.neurons + poisson + given, given
        self.n_poisson = len(poisson)
        sizes = [circuit.populations[name].n for name in self.populations]
        starts = starts_of(sizes)
        self.first = dict(zip(self.populations, starts.tolist(), strict=False))
        self.n_neurons, self.n_with_membrane = int(starts[-1]), int(starts[len(circuit.neurons)])
        numbers = [_cell_numbers(circuit, circuit.populations[name]) for name in circuit.neurons]
        self.cells = tables.Cells(starts, np.array(numbers))
        self.weights: dict[str, slice] = {}
        self.wiring = self._wiring()
        self.globals = [name for name, state in circuit.states.items() if isinstance(state, Signal)]
        self.globals += [
            name
            for name, state in circuit.states.items()
            if isinstance(state, LowPass) and state.of in self.globals
        ]
        self.eligibilities = {
            name: state for name, state in circuit.states.items() if isinstance(state, Eligibility)
        }
        sizes = [len(synapses[state.projection]) for state in self.eligibilities.values()]
        self.eligibility_start = starts_of(sizes)
        delays = [circuit.steps(projection.delay_ms) for projection in circuit.projections.values()]
        self.longest_delay = max(delays, default=0)
        rows = [np.diff(self.wiring.start), np.diff(self.wiring.incoming_start)]
        self.most_synapses = max(int(row.max(initial=0)) for row in rows)

    @cached_property
    def fingerprint(self) -> str:
        """What tells networks apart whose states cannot be exchanged."""
        digest = hashlib.sha256(repr((self.populations, self.globals, list(self.eligibilities))).encode())
        digest.update(repr((self.circuit.dt_ms, self.longest_delay, list(self.weights))).encode())
        for array in (self.cells.first, self.wiring.start, self.wiring.target, self.eligibility_start):
            digest.update(array.tobytes())
        return digest.hexdigest()

    def _wiring(self) -> tables.Wiring:
        circuit, names = self.circuit, self.populations
        table, numbers = [], []
        starts, targets, incoming_starts, incoming, sources = [], [], [], [], []
        n_starts = n_synapses = n_weights = n_incoming_starts = n_incoming = 0
        for name, projection in circuit.projections.items():
            synapses = self.synapses[name]
            row = [names.index(projection.pre), names.index(projection.post)]
            row += [0 if projection.onto == "excitatory" else 1, int(projection.is_uniform)]
            row += [int(projection.transmits_first), circuit.steps(projection.delay_ms), n_starts]
            row += [n_weights - n_synapses, n_incoming_starts, circuit.steps(projection.interval_ms or 0.0)]
            table.append(row + [0] * 6)
            numbers.append(_projection_numbers(projection, circuit.bounds(name)))
            starts.append(synapses.start + n_synapses)
            targets.append(synapses.target)
            n_starts += len(synapses.start)
            n_synapses += len(synapses)
            if projection.is_uniform:
                continue
            self.weights[name] = slice(n_weights, n_weights + len(synapses))
            if projection.plastic:
                n_post = circuit.populations[projection.post].n
                by_target = np.argsort(synapses.target, kind="stable")
                counts = np.bincount(synapses.target, minlength=n_post)
                incoming_starts.append(starts_of(counts) + n_incoming)
                incoming.append(by_target + n_weights)
                sources.append(synapses.source[by_target])
                n_incoming_starts += n_post + 1
                n_incoming += len(synapses)
            n_weights += len(synapses)
        self.n_weights = n_weights
        # Most of the time goes into reading these.
        short = np.uint16 if max(one.n for one in circuit.populations.values()) <= 65_536 else np.uint32
        return tables.Wiring(
            np.array(table, dtype=np.int64).reshape(-1, 16), np.array(numbers).reshape(-1, 4),
            _joined(starts, np.int64), _joined(targets, short), _joined(incoming_starts, np.int64),
            _joined(incoming, np.uint32), _joined(sources, short), n_synapses > LARGE,
        )  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """Rules of a circuit as the kernels take them.

    Attributes
    ----------
    keys : tuple of RowKey
        The rows, in order.
    rows, wiring, rules
        As the kernels take them.
    n_registers : int
        Most of one update.
    """

    keys: tuple[RowKey, ...]
    rows: tables.Rows
    wiring: tables.Wiring
    rules: tables.Rules
    n_registers: int


def plan_of(
    layout: Layout, rules: Mapping[str, Program | TraceSplines | float], *, lines: bool = True
) -> Plan:
    """Pack rules.

    Parameters
    ----------
    layout : Layout
    rules : mapping of str to Program, TraceSplines or float
        Updates by slot, and time constants (ms).
    lines : bool
        Whether updates that are lines in one trace are run as such.

    Raises
    ------
    ValueError
        If a slot or a variable does not exist or a time constant is not positive.
    """
    circuit = layout.circuit
    updates, constants = _sorted_out(circuit, rules, lines)

    def row_of(update: Update, variable: Variable | None) -> int:
        if variable is None or variable.place == "weight":
            return len(ordered) - 1
        if variable.place == "global":
            return layout.globals.index(variable.state)
        if variable.place == "synapse":
            return list(layout.eligibilities).index(variable.state)
        return ordered.index(_row_key(circuit, update.slot.projection, variable, constants))

    ordered = _ordered_keys(circuit, updates, constants)
    rows = [row_of(update, variable) for update in updates for variable in update.variables]
    places = [_PLACES[variable.place] for update in updates for variable in update.variables]
    traces = [row_of(update, update.trace) for update in updates]
    wiring = layout.wiring._replace(table=_with_updates(layout, updates))
    events = wiring.table[:, tables.AT_PRE :].reshape(-1, 2)
    packed = tables.Rules(
        _update_table(layout, updates, traces), np.array(places, dtype=np.int64),
        np.array(rows, dtype=np.int64), _joined([update.constants for update in updates], np.float64),
        np.concatenate([np.empty((0, 3), dtype=np.int64), *(update.code for update in updates)]),
        int(np.diff(events).max(initial=0)),
    )  # fmt: skip
    n_registers = max((update.n_registers for update in updates), default=1)
    return Plan(ordered, _rows(layout, ordered), wiring, packed, n_registers)


def _ordered_keys(
    circuit: Circuit, updates: list[Update], constants: Mapping[str, float]
) -> tuple[RowKey, ...]:
    """Return the rows of all states that rules could read and of what else they do read, kind by kind."""
    keys = {
        _row_key(circuit, name, variable, constants): None
        for name, projection in circuit.projections.items()
        for variable in (circuit.variables(name) if projection.plastic else ())
        if variable.place in ("pre", "post") and variable.state not in SAMPLED
    }
    for update in updates:
        for variable in update.variables:
            if variable.place in ("pre", "post"):
                keys[_row_key(circuit, update.slot.projection, variable, constants)] = None
    return (*sorted(keys, key=lambda key: key[0]), (tables.ZEROS, "", 0, "", 0.0))


def _with_updates(layout: Layout, updates: list[Update]) -> NDArray[np.int64]:
    """Return the table of projections with the updates of each and of each kind of event."""
    table, n_events = layout.wiring.table.copy(), len(_EVENTS)
    number = {name: p for p, name in enumerate(layout.circuit.projections)}
    at = [number[one.slot.projection] * n_events + _EVENTS.index(one.slot.event) for one in updates]
    ends = starts_of(np.bincount(np.array(at, dtype=np.int64), minlength=n_events * len(table)))
    pairs = np.stack([ends[:-1], ends[1:]], axis=1)
    table[:, tables.AT_PRE : tables.AT_PRE + 2 * n_events] = pairs.reshape(len(table), 2 * n_events)
    return table


def _update_table(layout: Layout, updates: list[Update], traces: list[int]) -> NDArray[np.int64]:
    codes, constants, variables = (
        starts_of([len(getattr(update, name)) for update in updates]).tolist()
        for name in ("code", "constants", "variables")
    )
    eligibilities = list(layout.eligibilities)
    table = [
        (
            update.form,
            tables.WEIGHT_ITSELF if update.slot.changes == "w" else eligibilities.index(update.slot.changes),
            *(codes[u : u + 2] + constants[u : u + 2] + variables[u : u + 2]),
            *update.outputs,
            traces[u],
        )
        for u, update in enumerate(updates)
    ]
    return np.array(table, dtype=np.int64).reshape(-1, 12)


def _order(circuit: Circuit, update: Update) -> tuple[int, int]:
    """Numbers of an update's projection and event, by which updates are sorted."""
    return list(circuit.projections).index(update.slot.projection), _EVENTS.index(update.slot.event)


def packed_inputs(
    layout: Layout,
    step: int,
    n_steps: int,
    rates_hz: Mapping[str, ArrayLike],
    signals: Mapping[str, ArrayLike],
    current: FloatArray,
) -> tables.Inputs:
    """Pack what drives a circuit from a step on.

    Parameters
    ----------
    layout : Layout
    step, n_steps : int
    rates_hz : mapping of str to float or array_like, shape (n,)
        Of Poisson populations, instead of their own.
    signals : mapping of str to float or array_like, shape (n_steps,)
    current : ndarray, shape (n_signals,)
        Values of signals that are not given.

    Raises
    ------
    ValueError
        If a name is unknown or a shape or a number is wrong.
    """
    circuit = layout.circuit
    poisson = [name for name, value in circuit.populations.items() if isinstance(value, Poisson)]
    for name in rates_hz:
        if name not in poisson:
            raise ValueError(
                f"Rates are of Poisson populations ({', '.join(poisson) or 'none'}), got {name!r}."
            )
    stretches, hazards, n_stretches = [], [], [0]
    for name in layout.populations[len(circuit.neurons) :][: layout.n_poisson]:
        population, first = circuit.populations[name], layout.first[name]
        assert isinstance(population, Poisson)
        given = rates_hz.get(name, population.rate_hz)
        rates = checked_rates(given, population.n, f"Population {name}", circuit.dt_ms)
        cuts = [0, *(np.flatnonzero(np.diff(rates)) + 1).tolist(), population.n]
        stretches += [(first + a, first + b) for a, b in pairwise(cuts)]
        hazards += [-math.log1p(-float(rates[a]) * circuit.dt_ms / 1000.0) for a in cuts[:-1]]
        n_stretches.append(len(stretches))
    return tables.Inputs(
        np.array(n_stretches, dtype=np.int64), np.array(stretches, dtype=np.int64).reshape(-1, 2),
        np.array(hazards, dtype=np.float64), np.zeros(1, dtype=np.int64), np.empty(0, dtype=np.int32), 0,
        _course(layout, n_steps, signals, current), step,
    )  # fmt: skip


class GivenSpikes:
    """Spikes of all populations whose spikes are given, to be handed out piece by piece.

    Parameters
    ----------
    n_populations : int
    step, population, neuron : ndarray of int, shape (n_spikes,)
        Populations and neurons are counted among those of their kind and through all populations. Those of
        one step and population keep their order.
    """

    def __init__(self, n_populations: int, step: IntArray, population: IntArray, neuron: IntArray) -> None:
        self._n = n_populations
        place = step * n_populations + population
        order = np.argsort(place, kind="stable")
        self._place, self._neuron = place[order], neuron[order].astype(np.int32)

    @classmethod
    def recorded(cls, layout: Layout, first: int, last: int) -> GivenSpikes:
        """Return those of populations that have recorded ones, from a step to before another."""
        events = [_events(layout.circuit, layout.first[name], name, first, last) for name in layout.given]
        numbers = [np.full(len(steps), d) for d, (steps, _) in enumerate(events)]
        return cls(
            len(events), _joined([steps for steps, _ in events], np.int64), _joined(numbers, np.int64),
            _joined([who for _, who in events], np.int64),
        )  # fmt: skip

    def __call__(self, step: int, n_steps: int) -> tuple[IntArray, NDArray[np.int32]]:
        """Return where the spikes of each step and population begin, and their neurons."""
        first, n = step * self._n, n_steps * self._n
        begin, end = np.searchsorted(self._place, [first, first + n])
        counts = np.bincount(self._place[begin:end] - first, minlength=n)
        return starts_of(counts), self._neuron[begin:end]


def _course(
    layout: Layout, n_steps: int, signals: Mapping[str, ArrayLike], current: FloatArray
) -> FloatArray:
    names = [name for name in layout.globals if isinstance(layout.circuit.states[name], Signal)]
    for name in signals:
        if name not in names:
            raise ValueError(f"The circuit's signals are {', '.join(names) or 'none'}, got {name!r}.")
    given = {name: np.asarray(value, dtype=np.float64) for name, value in signals.items()}
    for name, value in given.items():
        if value.shape not in ((), (n_steps,)) or not np.all(np.isfinite(value)):
            raise ValueError(
                f"The signal {name} is one finite number or one for each of {n_steps} steps, "
                f"got the shape {value.shape}."
            )
    width = n_steps if any(value.ndim for value in given.values()) else 1
    course = np.empty((len(names), width))
    for row, name, value in zip(course, names, current, strict=False):
        row[:] = given.get(name, value)
    return course


def _events(
    circuit: Circuit, first_neuron: int, name: str, first: int, last: int
) -> tuple[IntArray, IntArray]:
    population = circuit.populations[name]
    assert isinstance(population, Recorded)
    steps = np.rint(np.asarray(population.time_ms) / circuit.dt_ms).astype(np.int64)
    begin, end = np.searchsorted(steps, [first, last])
    steps, sources = steps[begin:end], np.asarray(population.source)[begin:end]
    check_once(steps, sources, f"An input of population {name}", circuit.dt_ms)
    order = np.lexsort((sources, steps))
    return steps[order], sources[order] + first_neuron


def check_once(step: IntArray, source: IntArray, what: str, dt_ms: float) -> None:
    """Raise ValueError if one of some inputs has two spikes in a step."""
    order = np.lexsort((source, step))
    step, source = step[order], source[order]
    if np.any((np.diff(step) == 0) & (np.diff(source) == 0)):
        raise ValueError(f"{what} spikes twice in one step of {dt_ms} ms.")


def _sorted_out(
    circuit: Circuit, rules: Mapping[str, Program | TraceSplines | float], lines: bool
) -> tuple[list[Update], dict[str, float]]:
    updates, constants = [], circuit.time_constants
    for name, rule in rules.items():
        if name in circuit.slots and isinstance(rule, Program | TraceSplines):
            updates.append(planned(circuit.slots[name], rule, lines=lines))
        elif name in constants and not isinstance(rule, Program | TraceSplines):
            if not 0 < rule < math.inf:
                raise ValueError(f"The time constant {name} is positive and finite, in ms; got {rule}.")
            constants[name] = float(rule)
        else:
            raise ValueError(
                f"A rule fills slots with programs ({', '.join(circuit.slots) or 'there are none'}) and sets "
                f"time constants ({', '.join(constants) or 'there are none'}), got {name} = {rule!r}."
            )
    return sorted(updates, key=lambda update: _order(circuit, update)), constants


def _row_key(circuit: Circuit, name: str, variable: Variable, constants: Mapping[str, float]) -> RowKey:
    projection = circuit.projections[name]
    is_pre = variable.place == "pre"
    population = projection.pre if is_pre else projection.post
    if variable.state in SAMPLED:
        return tables.SAMPLE, population, 0, variable.state, 0.0
    state = circuit.states[variable.state]
    if isinstance(state, LowPass):
        return tables.LOW_PASS, population, 0, state.of.split(".")[1], state.tau
    assert isinstance(state, Trace)
    delay = circuit.steps(projection.delay_ms) if is_pre else 0
    kind = tables.PRE_TRACE if is_pre else tables.POST_TRACE
    return kind, population, delay, "spikes", constants[f"{name}.tau_{variable.name}"]


def _rows(layout: Layout, keys: tuple[RowKey, ...]) -> tables.Rows:
    circuit = layout.circuit
    sizes = [
        circuit.populations[name].n if name else max(value.n for value in circuit.populations.values())
        for _, name, _, _, _ in keys
    ]
    starts = starts_of(sizes).tolist()
    table = [
        (kind, layout.populations.index(name) if name else 0, delay,
         SAMPLED.index(what) if what in SAMPLED else 0, start, end)
        for (kind, name, delay, what, _), start, end in zip(keys, starts[:-1], starts[1:], strict=True)
    ]  # fmt: skip
    states = [circuit.states[name] for name in layout.globals]
    sources = [layout.globals.index(one.of) if isinstance(one, LowPass) else -1 for one in states]
    shifts = [
        start - layout.weights[state.projection].start
        for start, state in zip(layout.eligibility_start, layout.eligibilities.values(), strict=False)
    ]
    return tables.Rows(
        np.array(table, dtype=np.int64),
        np.array([_kept(circuit, tau) for *_, tau in keys]),
        sum(key[0] < tables.POST_TRACE for key in keys),
        sum(key[0] < tables.SAMPLE for key in keys),
        sum(key[0] < tables.ZEROS for key in keys),
        np.array(sources, dtype=np.int64),
        np.array(
            [_kept(circuit, one.tau if isinstance(one, LowPass) else 0.0) for one in states], dtype=np.float64
        ),
        np.array(shifts, dtype=np.int64),
        layout.eligibility_start,
        np.array([_kept(circuit, one.tau_ms) for one in layout.eligibilities.values()], dtype=np.float64),
    )


def _kept(circuit: Circuit, tau_ms: float) -> float:
    return math.exp(-circuit.dt_ms / tau_ms) if tau_ms > 0 else 0.0


def _cell_numbers(circuit: Circuit, cell: Any) -> list[float]:
    assert isinstance(cell, LIF)
    dt = circuit.dt_ms
    low, high = cell.clip_mv or (0.0, 0.0)
    return [
        dt / cell.capacitance_pf, cell.leak_ns, cell.rest_mv, cell.reset_mv, cell.threshold_mv,
        cell.excitatory_reversal_mv, cell.inhibitory_reversal_mv, cell.background_pa, cell.slow_share,
        dt / cell.tau_slow_ms, cell.threshold_raise_mv, cell.adaptation_pa, float(cell.clip_mv is not None),
        low, high, float(circuit.steps(cell.refractory_ms)), math.exp(-dt / cell.tau_excitatory_ms),
        math.exp(-dt / cell.tau_inhibitory_ms), math.exp(-dt / cell.tau_threshold_ms),
        math.exp(-dt / cell.tau_adaptation_ms),
    ]  # fmt: skip


def _projection_numbers(projection: Projection, bounds: tuple[float, float]) -> list[float]:
    unit = projection.unit_ns
    if projection.is_uniform:
        unit *= float(np.asarray(projection.weight))
    return [unit, projection.learning_rate, *bounds]


def _joined(arrays: list[Any], dtype: Any) -> NDArray[Any]:
    return np.concatenate(arrays).astype(dtype) if arrays else np.empty(0, dtype=dtype)
