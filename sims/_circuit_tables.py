"""What the kernels of a spiking circuit take: flat arrays, and tables that say where each part begins.

Arrays of several populations (projections, rows) stand one after the other, so that the kernels have one
signature, whatever the circuit.
"""

from typing import NamedTuple

import numpy as np

from sims._borrowed import borrowed
from sims._compiled import UNWRAPPED, helper

RATE, LEAK, REST, RESET, THRESHOLD, REVERSAL_E, REVERSAL_I, BACKGROUND = 0, 1, 2, 3, 4, 5, 6, 7
SLOW_SHARE, SLOW_RATE, RAISE, ADAPTATION, IS_CLIPPED, LOWEST, HIGHEST, REFRACTORY = (
    8,
    9,
    10,
    11,
    12,
    13,
    14,
    15,
)
KEEP = 16
"""Numbers of a population; four factors by which its scales decay in a step stand from `KEEP` on."""

N_NUMBERS, N_SCALES = 20, 4
EXCITATORY, INHIBITORY, THRESHOLDS, ADAPTATIONS = 0, 1, 2, 3
"""Scales of a population."""

PRE_TRACE, POST_TRACE, SAMPLE, LOW_PASS, ZEROS = 0, 1, 2, 3, 4
"""Kinds of rows, which stand in this order; what reads no trace reads zeros."""

KIND, POPULATION, DELAY, WHAT, START, END = 0, 1, 2, 3, 4, 5
"""What is known of a row; `WHAT` is the number of what is sampled."""

PRE, POST, ONTO, IS_UNIFORM, TRANSMITS_FIRST, ARRIVES_AFTER, OUTGOING, TO_WEIGHT, INCOMING, INTERVAL = range(
    10
)
AT_PRE, AT_POST, AT_INTERVAL = 10, 12, 14
"""What is known of a projection; updates of an event are from the number there to before the next one."""

UNIT, LEARNING_RATE, LOWEST_WEIGHT, HIGHEST_WEIGHT = 0, 1, 2, 3

FORM, CHANGES, CODE, CONSTANTS, VARIABLES, A, B, C, TRACE = 0, 1, 2, 4, 6, 8, 9, 10, 11
"""What is known of an update; `CHANGES` is an eligibility trace or `WEIGHT_ITSELF`, `TRACE` a row."""

PROGRAM, LINE, SPLINES = 0, 1, 2
"""Forms of updates."""

WEIGHT_ITSELF = -1
OF_CIRCUIT, OF_PRE, OF_POST, OF_SYNAPSE, OF_WEIGHT = 0, 1, 2, 3, 4
"""Places of variables."""


class Cells(NamedTuple):
    """Populations; those with a membrane stand first."""

    first: np.ndarray  # (n_populations + 1,): first neuron, counted through all populations
    numbers: np.ndarray  # (n_with_membrane, N_NUMBERS)


class Inputs(NamedTuple):
    """Populations without a membrane, Poisson ones first, then those whose spikes are given; and signals."""

    stretch_start: np.ndarray  # (n_poisson + 1,): stretches of neurons of one rate, of each population
    stretch: np.ndarray  # (n_stretches, 2): first neuron, and the one after the last
    hazard: np.ndarray  # (n_stretches,): minus the logarithm of the probability of no spike in a step
    event_start: np.ndarray  # (n_steps * n_given + 1,): given spikes of each step and population
    event_neuron: np.ndarray  # (n_events,)
    event_first: int  # step of the first given spikes
    course: np.ndarray  # (n_signals, n_columns): signals in each step of the run; the last column stays
    course_first: int  # step of the first column


class Rows(NamedTuple):
    """What rules read of neurons, signals and synapses, and how it moves."""

    table: np.ndarray  # (n_rows, 6)
    keep: np.ndarray  # (n_rows,)
    n_presynaptic: int  # traces of presynaptic spikes, which stand first
    n_traces: int  # all traces
    n_moving: int  # those and what is sampled or low-passed
    signal_source: np.ndarray  # (n_globals,): what a low-passed signal follows, -1 for a signal
    signal_keep: np.ndarray  # (n_globals,)
    eligibility_shift: (
        np.ndarray
    )  # (n_eligibilities + 1,): index of a trace minus that of its weight; the size
    eligibility_start: np.ndarray  # (n_eligibilities + 1,)
    eligibility_keep: np.ndarray  # (n_eligibilities,)


class Wiring(NamedTuple):
    """Projections; targets and sources are counted from 0 in their populations."""

    table: np.ndarray  # (n_projections, 16)
    numbers: np.ndarray  # (n_projections, 4)
    start: np.ndarray  # outgoing synapses of a projection's neuron i: from start[OUTGOING + i] to the next
    target: np.ndarray  # (n_synapses,)
    incoming_start: np.ndarray
    incoming_synapse: np.ndarray  # indices of weights
    incoming_source: np.ndarray
    is_large: bool  # whether synapses are worth asking for before they are needed


class Rules(NamedTuple):
    """Updates, as `sims._circuit_rules.Update` describes them, one after the other."""

    table: np.ndarray  # (n_updates, 12)
    place: np.ndarray  # (n_variables,)
    row: np.ndarray  # (n_variables,)
    constants: np.ndarray
    code: np.ndarray
    n_results: int  # most updates of one event


class State(NamedTuple):
    """All that changes."""

    voltage: np.ndarray  # (n_with_membrane_neurons,), single precision, and so the next five
    excitatory: np.ndarray
    inhibitory: np.ndarray
    slow: np.ndarray
    threshold: np.ndarray
    adaptation: np.ndarray
    free_at: np.ndarray
    refractory: np.ndarray
    ends: np.ndarray  # (n_with_membrane, 2)
    scales: np.ndarray  # (n_with_membrane, N_SCALES)
    values: np.ndarray  # rows, one after the other
    row_scales: np.ndarray  # (n_rows,)
    weights: np.ndarray
    eligibility: np.ndarray
    eligibility_scales: np.ndarray
    signals: np.ndarray  # (n_globals,)
    history: np.ndarray  # (longest delay + 1, n_neurons): spikes of the last steps
    bounds: np.ndarray  # (longest delay + 1, n_populations + 1): where those of each population begin
    waiting: np.ndarray  # (n_poisson,): hazard until the next Poisson spike
    counts: np.ndarray  # (n_populations,): spikes


class Workspace(NamedTuple):
    """Memory that means nothing between two steps, and what a run counts, records and measures."""

    levels: np.ndarray  # (most neurons,), single precision
    registers: np.ndarray
    tape: np.ndarray  # (n_results + most registers, most synapses of a neuron)
    synapses: np.ndarray  # (most synapses of a neuron,)
    is_recorded: np.ndarray  # (n_populations,)
    spike_step: np.ndarray
    spike_neuron: np.ndarray
    binned: np.ndarray  # (n_bins, n_populations): spikes
    bin_steps: int
    begin: int  # step of the first bin
    group: np.ndarray  # (n_neurons,): of presynaptic neurons whose currents are told apart
    conductance: np.ndarray  # (n_with_membrane_neurons, 2, n_groups), over the scales; none for no groups
    current: np.ndarray  # the same of sums over steps
    measures_current: bool


@helper(inline="always", **UNWRAPPED)
def borrowed_all(cells, inputs, rows, wiring, rules):
    return (
        Cells(borrowed(cells.first), borrowed(cells.numbers)),
        Inputs(
            borrowed(inputs.stretch_start), borrowed(inputs.stretch), borrowed(inputs.hazard),
            borrowed(inputs.event_start), borrowed(inputs.event_neuron), inputs.event_first,
            borrowed(inputs.course), inputs.course_first,
        ),
        Rows(
            borrowed(rows.table), borrowed(rows.keep), rows.n_presynaptic, rows.n_traces, rows.n_moving,
            borrowed(rows.signal_source), borrowed(rows.signal_keep), borrowed(rows.eligibility_shift),
            borrowed(rows.eligibility_start), borrowed(rows.eligibility_keep),
        ),
        Wiring(
            borrowed(wiring.table), borrowed(wiring.numbers), borrowed(wiring.start), borrowed(wiring.target),
            borrowed(wiring.incoming_start), borrowed(wiring.incoming_synapse),
            borrowed(wiring.incoming_source), wiring.is_large,
        ),
        Rules(
            borrowed(rules.table), borrowed(rules.place), borrowed(rules.row), borrowed(rules.constants),
            borrowed(rules.code), rules.n_results,
        ),
    )  # fmt: skip


@helper(inline="always", **UNWRAPPED)
def borrowed_state(state):
    return State(
        borrowed(state.voltage), borrowed(state.excitatory), borrowed(state.inhibitory), borrowed(state.slow),
        borrowed(state.threshold), borrowed(state.adaptation), borrowed(state.free_at),
        borrowed(state.refractory), borrowed(state.ends), borrowed(state.scales), borrowed(state.values),
        borrowed(state.row_scales), borrowed(state.weights), borrowed(state.eligibility),
        borrowed(state.eligibility_scales), borrowed(state.signals), borrowed(state.history),
        borrowed(state.bounds), borrowed(state.waiting), borrowed(state.counts),
    )  # fmt: skip


@helper(inline="always", **UNWRAPPED)
def borrowed_workspace(workspace):
    return Workspace(
        borrowed(workspace.levels), borrowed(workspace.registers), borrowed(workspace.tape),
        borrowed(workspace.synapses), borrowed(workspace.is_recorded), borrowed(workspace.spike_step),
        borrowed(workspace.spike_neuron), borrowed(workspace.binned), workspace.bin_steps, workspace.begin,
        borrowed(workspace.group), borrowed(workspace.conductance), borrowed(workspace.current),
        workspace.measures_current,
    )  # fmt: skip
