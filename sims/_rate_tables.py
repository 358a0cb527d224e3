"""A rate circuit with its rules as flat arrays, and the memory of a step."""

from typing import NamedTuple

import numpy as np

from sims._borrowed import borrowed
from sims._compiled import helper
from sims._lanes import load, store, zero_of

FIRST, SIZE, IS_GIVEN, ACTIVATION, SWEEPS, MEMORY, N_CELL = 0, 1, 2, 3, 4, 5, 6
"""What is known of a population; `MEMORY` is where in the state its activity goes on, or -1."""

(
    PRE, N_PRE, POST, N_POST, TARGET, WEIGHTS, DRIVE, IS_HIERARCHICAL, KIND, NEEDS_PRE, FORM, IS_LINEAR,
    NEEDS_ALL, POWER, REGISTERS, REGISTERS_END, CODE, CODE_OF_SYNAPSES, CODE_END, GRADIENT, GRADIENT_END,
    READS, READS_OF_PRE, SIGNALS, READS_END, N_CONSTANTS, N_PROJECTION,
) = range(27)  # fmt: skip
"""What is known of a projection: first units and sizes of its ends, then where its parts begin."""

STILL, TABLE, COLLAPSED, OF_SYNAPSES, OF_STATE = range(5)
"""Forms of rules; the last is a table over a state, too."""

TABLE_AT = 2
"""Register at which such a table begins, behind the output and the state."""


class Circuit(NamedTuple):
    """A circuit with its rules."""

    cells: np.ndarray  # (n_populations, N_CELL)
    leaks: np.ndarray  # (n_populations,): 1 / tau
    projections: np.ndarray  # (n_projections, N_PROJECTION)
    rates: np.ndarray  # (n_projections,): factors of the learning rate
    bounds: np.ndarray  # (n_projections, 2): weights are kept between these
    is_bounded: bool  # whether one of them is finite
    means: np.ndarray  # (n_means, 4): place in the state, first unit, number, exponent
    mean_rates: np.ndarray  # (n_means,): 1 / tau
    tables: np.ndarray  # (n_projections, 3, 9)
    outputs: np.ndarray  # (n_projections, 9)
    code: np.ndarray
    reads: np.ndarray  # (n_reads, 3): register, place in state or units, whether a neuron has its own
    constants: np.ndarray  # registers of all rules but the first of all, which is not used
    n_units: int
    n_given: int
    n_means: int
    together: int  # samples


class Space(NamedTuple):
    """Memory of a step."""

    registers: np.ndarray  # (n_registers[, LANES])
    adjoints: np.ndarray  # the same
    drive: np.ndarray  # (n_neurons, N_DRIVE, most_synapses[, LANES]), see :mod:`sims._quadratic_kernels`
    units: np.ndarray  # ((together + 1) * n_units[, LANES])
    pulls: np.ndarray  # the same: dL/d(activity)
    answers: np.ndarray  # the same: f(drive)
    sweeps: np.ndarray  # (together * (most sweeps + 1) * n_units[, LANES])
    slopes: np.ndarray  # (2 * n_units[, LANES])
    means: np.ndarray  # (n_places of means[, LANES])
    change: np.ndarray  # (n_places[, LANES])
    unbounded: np.ndarray  # (n_places[, LANES]): after a step, before bounds


@helper
def borrowed_circuit(circuit):
    """Return the circuit with arrays whose users are not counted."""
    return Circuit(
        borrowed(circuit.cells), borrowed(circuit.leaks), borrowed(circuit.projections),
        borrowed(circuit.rates), borrowed(circuit.bounds), circuit.is_bounded, borrowed(circuit.means),
        borrowed(circuit.mean_rates), borrowed(circuit.tables), borrowed(circuit.outputs),
        borrowed(circuit.code), borrowed(circuit.reads), borrowed(circuit.constants), circuit.n_units,
        circuit.n_given, circuit.n_means, circuit.together,
    )  # fmt: skip


@helper(forceinline=True)
def clear(rows):
    """Set rows to zero."""
    for i in range(rows.shape[0]):
        store(rows, (i,), zero_of(load(rows, (0,))))


@helper(forceinline=True)
def clear_drive(drive, n):
    """Set what was collected for n synapses to zero."""
    for power in range(3):
        for i in range(n):
            store(drive, (power, i), zero_of(load(drive, (0, 0))))
