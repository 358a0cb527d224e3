"""A run of a spiking circuit as it goes on: its memory, and what is counted, recorded and measured."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection

import numpy as np
from numpy.typing import NDArray

from sims import _circuit_kernels as kernels
from sims import _circuit_tables as tables
from sims._circuit_packing import Layout, Plan
from sims.circuit_state import CircuitState, with_rows
from sims.spike_measures import BIN_MS, Tally

__all__ = ["MOST_STEPS", "Feed", "Run"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Feed = Callable[[int, int], tuple[IntArray, NDArray[np.int32]]]
"""Gives, for a step and a number of steps, where given spikes of each step and population begin, and their
neurons."""

MOST_STEPS = 5_000
"""Steps that are made without a look at anything else."""

SPIKES_KEPT = 65_536
"""Spikes that are recorded before they are copied."""


class Run:
    """Memory of one run.

    Parameters
    ----------
    layout, plan
    inputs : tables.Inputs
    state : CircuitState
        Does not change.
    n_steps : int
        At most.
    feed : callable
        Given spikes.
    record : collection of str
        Populations whose spikes are kept.
    most_steps : int
        After so many steps `feed` is asked for more.
    """

    def __init__(
        self,
        layout: Layout,
        plan: Plan,
        inputs: tables.Inputs,
        state: CircuitState,
        n_steps: int,
        feed: Feed,
        record: Collection[str] = (),
        most_steps: int = MOST_STEPS,
    ) -> None:
        self.layout, self.plan, self.wiring = layout, plan, plan.wiring
        self.arrays = with_rows(layout, plan, state)
        self.arrays.counts[:] = 0
        self.rng, self.step, self.begin = copy.deepcopy(state.rng), state.step, state.step
        self._fed = self.begin  # step up to which given spikes are at hand
        self.spikes: list[tuple[IntArray, NDArray[np.int32]]] = []
        self.tally: Tally | None = None
        self._projections = list(range(len(plan.wiring.table)))
        self._inputs, self._feed, self._keeps, self._most = inputs, feed, bool(record), most_steps
        n, most = layout.n_neurons, max(layout.most_synapses, 1)
        bin_steps = max(1, layout.circuit.steps(BIN_MS))
        no_groups = np.zeros((2, layout.n_with_membrane, 2, 0))
        self.workspace = tables.Workspace(
            np.empty(layout.n_with_membrane, dtype=np.float32), np.empty(plan.n_registers),
            np.empty((plan.rules.n_results + plan.n_registers, most)), np.empty(most, dtype=np.int64),
            np.array([name in record for name in layout.populations]),
            np.empty(n + SPIKES_KEPT, dtype=np.int64), np.empty(n + SPIKES_KEPT, dtype=np.int32),
            np.zeros((-(-n_steps // bin_steps), len(layout.populations)), dtype=np.int64), bin_steps,
            self.begin, np.zeros(0, dtype=np.int64), no_groups[0], no_groups[1], False,
        )  # fmt: skip

    def advance(self, last: int) -> bool:
        """Run until a step; return whether all weights and voltages are numbers.

        Where a weight is none, the run is cut off after the step at which that came about.
        """
        fine = True
        while fine and self.step < last:
            if self.step == self._fed:
                self._fed = min(last, self.step + self._most)
                start, neuron = self._feed(self.step, self._fed - self.step)
                self._inputs = self._inputs._replace(
                    event_start=start, event_neuron=neuron, event_first=self.step
                )
            while fine and self.step < self._fed:
                self.step, n_recorded, fine = kernels.run_steps(
                    self.layout.cells, self._inputs, self.plan.rows, self.wiring, self.plan.rules,
                    self.arrays, self.workspace, self.rng, self.step, self._fed - self.step,
                )  # fmt: skip
                if n_recorded:
                    self._keep(n_recorded)
        return bool(fine and np.all(np.isfinite(self.arrays.voltage)))

    def measure(self) -> None:
        """Let the measuring window begin."""
        self.tally = Tally(self.layout.n_with_membrane, self.step, self.workspace.bin_steps)
        self.workspace.is_recorded[: len(self.layout.circuit.neurons)] = True

    def tell_apart(self, group: IntArray) -> None:
        """From now on follow the conductances of groups of presynaptic neurons, shape (n_neurons,)."""
        by_group = np.zeros((2, self.layout.n_with_membrane, 2, int(group.max()) + 1))
        self.workspace = self.workspace._replace(group=group, conductance=by_group[0], current=by_group[1])

    def measure_currents(self) -> None:
        """Let the sums over the currents of groups begin."""
        self.workspace = self.workspace._replace(measures_current=True)

    def leave_out(self, projection: str) -> None:
        """Let no spike pass a projection any more, nor change it."""
        name = list(self.layout.circuit.projections).index(projection)
        gone = self._projections.index(name)
        del self._projections[gone]
        table, numbers = (
            np.delete(self.wiring.table, gone, axis=0),
            np.delete(self.wiring.numbers, gone, axis=0),
        )
        self.wiring = self.wiring._replace(table=table, numbers=numbers)

    def state(self) -> CircuitState:
        """Return the state after the last step."""
        return CircuitState(self.step, self.layout, self.arrays, self.plan.keys, self.rng)

    def _keep(self, n: int) -> None:
        step, neuron = self.workspace.spike_step[:n], self.workspace.spike_neuron[:n]
        if self.tally is not None:
            self.tally.add(step, neuron)
        if self._keeps:
            self.spikes.append((step.copy(), neuron.copy()))
