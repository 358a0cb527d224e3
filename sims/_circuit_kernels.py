"""Kernel of every spiking circuit: populations, states, projections and rules are data in flat arrays.

A step goes in this order:

1. Signals take the values of the step; low-passed signals follow them.
2. Voltages make an Euler step with everything as it is; a slow conductance follows the fast one. Neurons
   above the threshold that are not refractory spike; whoever is refractory then is held at the reset. Inputs
   spike.
3. Conductances, traces, thresholds, adaptation and eligibility decay. A spike raises its neuron's threshold
   and adaptation. What rules read of voltages and conductances is taken now.
4. Spikes arrive, projection by projection, each after its delay. A synapse changes by `on_pre` and transmits
   its weight (or transmits and then changes); then presynaptic traces jump.
5. For every neuron that spikes, the synapses that end at it change by `on_post`; then postsynaptic traces
   jump.
6. At multiples of its interval, all synapses of a projection change by `at_interval`.

So a trace is read before its own jump, presynaptic updates do not see a postsynaptic spike of the same step,
and postsynaptic ones see presynaptic spikes that have arrived. Updates of one synapse at one event all read
what was there before it.
"""

import numpy as np

from sims._borrowed import borrowed
from sims._circuit_tables import (
    ADAPTATION,
    ADAPTATIONS,
    ARRIVES_AFTER,
    AT_INTERVAL,
    AT_POST,
    BACKGROUND,
    DELAY,
    END,
    EXCITATORY,
    HIGHEST,
    INCOMING,
    INHIBITORY,
    INTERVAL,
    IS_CLIPPED,
    IS_UNIFORM,
    KEEP,
    KIND,
    LEAK,
    LOWEST,
    OUTGOING,
    POPULATION,
    POST,
    PRE,
    RAISE,
    RATE,
    REFRACTORY,
    RESET,
    REST,
    REVERSAL_E,
    REVERSAL_I,
    SAMPLE,
    SLOW_RATE,
    SLOW_SHARE,
    START,
    THRESHOLD,
    THRESHOLDS,
    TO_WEIGHT,
    WHAT,
    borrowed_all,
    borrowed_state,
    borrowed_workspace,
)
from sims._circuit_update_kernels import arrive, bounded, change_incoming, change_outgoing
from sims._compiled import UNWRAPPED, helper, kernel
from sims._membrane_kernels import (
    SMALLEST_SCALE,
    euler_step,
    fetch_row,
    hold_at_reset,
    list_spikes,
    release,
    rescale,
)
from sims._prefetch import prefetch

# ------------------------------------------------------------------------------------------- neurons


@helper(forceinline=True, **UNWRAPPED)
def _spikes_of(cells, state, p, k, spiking, n_spikes, levels):
    """Voltages of a population and its spikes; return how many are listed then."""
    neurons, numbers, scales = slice(cells.first[p], cells.first[p + 1]), cells.numbers[p], state.scales[p]
    v, free_at, refractory = state.voltage[neurons], state.free_at[neurons], state.refractory[neurons]
    excitatory, inhibitory, ends = state.excitatory[neurons], state.inhibitory[neurons], state.ends[p]
    release(free_at, refractory, ends, k)
    rate, share = numbers[RATE], numbers[SLOW_SHARE]
    to_excitatory, drive = np.float32(rate * scales[EXCITATORY]), excitatory
    if share > 0.0:
        slow, drive, to_excitatory = state.slow[neurons], levels, np.float32(rate)
        scale, follow = np.float32(scales[EXCITATORY]), np.float32(numbers[SLOW_RATE])
        of_slow, of_fast = np.float32(share), np.float32(1.0 - share)
        for n in range(v.shape[0]):
            fast = scale * excitatory[n]
            drive[n] = of_fast * fast + of_slow * slow[n]
            slow[n] += follow * (fast - slow[n])
    euler_step(
        v, drive, inhibitory, to_excitatory, np.float32(rate * scales[INHIBITORY]),
        np.float32(rate * numbers[LEAK]),
        np.float32(rate * (numbers[LEAK] * numbers[REST] + numbers[BACKGROUND])),
        np.float32(numbers[REVERSAL_E]), np.float32(numbers[REVERSAL_I]),
    )  # fmt: skip
    if numbers[ADAPTATION] != 0.0:
        move, adaptation = np.float32(rate * scales[ADAPTATIONS]), state.adaptation[neurons]
        for n in range(v.shape[0]):
            v[n] -= move * adaptation[n]
    if numbers[IS_CLIPPED] > 0.0:
        low, high = np.float32(numbers[LOWEST]), np.float32(numbers[HIGHEST])
        for n in range(v.shape[0]):
            v[n] = bounded(v[n], low, high)
    compared = v
    if numbers[RAISE] > 0.0:
        scale, threshold, compared = np.float32(scales[THRESHOLDS]), state.threshold[neurons], levels
        for n in range(v.shape[0]):
            compared[n] = v[n] - scale * threshold[n]
        compared = compared[: v.shape[0]]
    times = k, k + 1 + int(numbers[REFRACTORY])
    n_spikes = list_spikes(
        compared, np.float32(numbers[THRESHOLD]), free_at, refractory, ends, times, spiking, n_spikes,
        cells.first[p],
    )  # fmt: skip
    hold_at_reset(v, refractory, ends, numbers[RESET])
    return n_spikes


@helper(inline="always", **UNWRAPPED)
def _poisson_of(inputs, state, rng, q, k, spiking, n_spikes):
    """Spikes of a Poisson population; return how many are listed then.

    The neurons of all steps stand in one long row. A neuron is passed by in silence as long as the hazard of
    those passed since the last spike is less than an exponential random number: one number a spike.
    """
    wait = state.waiting[q]
    for s in range(inputs.stretch_start[q], inputs.stretch_start[q + 1]):
        hazard, n, last = inputs.hazard[s], inputs.stretch[s, 0], inputs.stretch[s, 1]
        if hazard <= 0.0:
            continue
        while wait < (last - n) * hazard:
            n = min(n + int(wait / hazard), last - 1)
            spiking[n_spikes] = n
            n_spikes += 1
            n += 1
            wait = rng.standard_exponential()
        wait -= (last - n) * hazard
    state.waiting[q] = wait
    return n_spikes


@helper(forceinline=True, **UNWRAPPED)
def _decay_one(array, scales, which, keep):
    scales[which] *= keep
    if scales[which] < SMALLEST_SCALE:
        rescale(array, scales, which)


@helper(forceinline=True, **UNWRAPPED)
def _decay_conductance(array, groups, scales, which, keep):
    """Let a conductance decay, and the parts of it that groups of presynaptic neurons have."""
    scales[which] *= keep
    if scales[which] < SMALLEST_SCALE:
        for n in range(groups.shape[0]):
            for g in range(groups.shape[2]):
                groups[n, which, g] *= scales[which]
        rescale(array, scales, which)


@helper(inline="always", **UNWRAPPED)
def _measure_currents(cells, state, workspace):
    """Add the currents of each group as the voltages of this step will feel them, both counted positive."""
    for p in range(cells.numbers.shape[0]):
        to_excitatory, to_inhibitory = state.scales[p, EXCITATORY], state.scales[p, INHIBITORY]
        reversal_e, reversal_i = cells.numbers[p, REVERSAL_E], cells.numbers[p, REVERSAL_I]
        for n in range(cells.first[p], cells.first[p + 1]):
            conductance, current = workspace.conductance[n], workspace.current[n]
            outward = to_excitatory * (reversal_e - state.voltage[n])
            inward = to_inhibitory * (state.voltage[n] - reversal_i)
            for g in range(conductance.shape[1]):
                current[EXCITATORY, g] += outward * conductance[EXCITATORY, g]
                current[INHIBITORY, g] += inward * conductance[INHIBITORY, g]


@helper(inline="always", **UNWRAPPED)
def _decay(cells, rows, state, workspace):
    """Let everything decay that only decays between spikes."""
    for p in range(cells.numbers.shape[0]):
        neurons, scales = slice(cells.first[p], cells.first[p + 1]), state.scales[p]
        numbers = cells.numbers[p]
        groups = workspace.conductance[neurons]
        _decay_conductance(state.excitatory[neurons], groups, scales, EXCITATORY, numbers[KEEP + EXCITATORY])
        _decay_conductance(state.inhibitory[neurons], groups, scales, INHIBITORY, numbers[KEEP + INHIBITORY])
        if numbers[RAISE] > 0.0:
            _decay_one(state.threshold[neurons], scales, THRESHOLDS, numbers[KEEP + THRESHOLDS])
        if numbers[ADAPTATION] != 0.0:
            _decay_one(state.adaptation[neurons], scales, ADAPTATIONS, numbers[KEEP + ADAPTATIONS])
    for r in range(rows.n_traces):
        state.row_scales[r] *= rows.keep[r]
        if state.row_scales[r] < SMALLEST_SCALE:
            rescale(state.values[rows.table[r, START] : rows.table[r, END]], state.row_scales, r)
    for e in range(rows.eligibility_keep.shape[0]):
        traces = state.eligibility[rows.eligibility_start[e] : rows.eligibility_start[e + 1]]
        _decay_one(traces, state.eligibility_scales, e, rows.eligibility_keep[e])


@helper(inline="always", **UNWRAPPED)
def _raise_own(cells, state, p, spiking, first, last):
    """Raise thresholds and adaptation of neurons that spike."""
    raised, added = cells.numbers[p, RAISE], cells.numbers[p, ADAPTATION]
    if raised > 0.0:
        for s in range(first, last):
            state.threshold[spiking[s]] = raised / state.scales[p, THRESHOLDS]
    if added != 0.0:
        for s in range(first, last):
            state.adaptation[spiking[s]] += added / state.scales[p, ADAPTATIONS]


@helper(inline="always", **UNWRAPPED)
def _sample(cells, rows, state):
    """Take what rules read of voltages and conductances, and let low-passed variables follow."""
    for r in range(rows.n_traces, rows.n_moving):
        kind, p, what = rows.table[r, KIND], rows.table[r, POPULATION], rows.table[r, WHAT]
        neurons, values = slice(cells.first[p], cells.first[p + 1]), state.values[rows.table[r, START] :]
        array, scale = state.voltage[neurons], 1.0
        if what == 1:
            array, scale = state.excitatory[neurons], state.scales[p, EXCITATORY]
        elif what == 2:
            array, scale = state.inhibitory[neurons], state.scales[p, INHIBITORY]
        elif what == 3:
            array = state.slow[neurons]
        if kind == SAMPLE:
            for n in range(array.shape[0]):
                values[n] = scale * array[n]
        else:
            follow = 1.0 - rows.keep[r]
            for n in range(array.shape[0]):
                values[n] += follow * (scale * array[n] - values[n])


@helper(forceinline=True, **UNWRAPPED)
def _before(here, delay, depth):
    """Line of the history so many steps before the line `here`."""
    return here - delay if delay <= here else here - delay + depth


@helper(forceinline=True, **UNWRAPPED)
def _jump(cells, rows, state, here, begin, end):
    """Let some of the traces jump where their neurons' spikes are."""
    for r in range(begin, end):
        p, line = rows.table[r, POPULATION], _before(here, rows.table[r, DELAY], state.history.shape[0])
        first, last = state.bounds[line, p], state.bounds[line, p + 1]
        if first < last:
            jump, n = 1.0 / state.row_scales[r], cells.first[p]
            values = state.values[rows.table[r, START] : rows.table[r, END]]
            for s in range(first, last):
                values[state.history[line, s] - n] += jump


# ------------------------------------------------------------------------------------------- the circuit


@helper(inline="always", **UNWRAPPED)
def _fetch(cells, wiring, state, here):
    """Ask for what the spikes of a step will need, all at once: the waiting times for memory overlap."""
    for p in range(wiring.table.shape[0]):
        table = wiring.table[p]
        pre, post, line = table[PRE], table[POST], _before(here, table[ARRIVES_AFTER], state.history.shape[0])
        for s in range(state.bounds[line, pre], state.bounds[line, pre + 1]):
            prefetch(wiring.start, table[OUTGOING] + state.history[line, s] - cells.first[pre])
        if table[AT_POST] < table[AT_POST + 1]:
            for s in range(state.bounds[here, post], state.bounds[here, post + 1]):
                prefetch(wiring.incoming_start, table[INCOMING] + state.history[here, s] - cells.first[post])
    for p in range(wiring.table.shape[0]):
        table = wiring.table[p]
        pre, post, line = table[PRE], table[POST], _before(here, table[ARRIVES_AFTER], state.history.shape[0])
        for s in range(state.bounds[line, pre], state.bounds[line, pre + 1]):
            n = table[OUTGOING] + state.history[line, s] - cells.first[pre]
            begin, end = wiring.start[n], wiring.start[n + 1]
            fetch_row(wiring.target[begin:end])
            if table[IS_UNIFORM] == 0:
                fetch_row(state.weights[begin + table[TO_WEIGHT] : end + table[TO_WEIGHT]])
        if table[AT_POST] < table[AT_POST + 1]:
            for s in range(state.bounds[here, post], state.bounds[here, post + 1]):
                n = table[INCOMING] + state.history[here, s] - cells.first[post]
                begin, end = wiring.incoming_start[n], wiring.incoming_start[n + 1]
                fetch_row(wiring.incoming_synapse[begin:end])
                fetch_row(wiring.incoming_source[begin:end])
    for p in range(wiring.table.shape[0]):
        table = wiring.table[p]
        if table[AT_POST] < table[AT_POST + 1]:
            post = table[POST]
            for s in range(state.bounds[here, post], state.bounds[here, post + 1]):
                n = table[INCOMING] + state.history[here, s] - cells.first[post]
                for i in range(wiring.incoming_start[n], wiring.incoming_start[n + 1]):
                    prefetch(state.weights, wiring.incoming_synapse[i])


@helper(inline="always", **UNWRAPPED)
def _set_signals(inputs, rows, state, k):
    n_columns = inputs.course.shape[1]
    for g in range(inputs.course.shape[0]):
        state.signals[g] = inputs.course[g, min(k - inputs.course_first, n_columns - 1)]
    for g in range(inputs.course.shape[0], rows.signal_source.shape[0]):
        follow = 1.0 - rows.signal_keep[g]
        state.signals[g] += follow * (state.signals[rows.signal_source[g]] - state.signals[g])


@kernel
def run_steps(cells, inputs, rows, wiring, rules, state, workspace, rng, first, n_steps):
    """Run steps `first` to ``first + n_steps - 1``, or fewer where there is no room to record their spikes.

    Returns
    -------
    next_step, n_recorded : int
    fine : bool
        False when a weight or an eligibility trace stopped being a number; the run is cut off there.
    """
    cells, inputs, rows, wiring, rules = borrowed_all(cells, inputs, rows, wiring, rules)
    state, workspace, rng = borrowed_state(state), borrowed_workspace(workspace), borrowed(rng)
    n_with_membrane, n_populations = cells.numbers.shape[0], cells.first.shape[0] - 1
    first_given = n_with_membrane + inputs.stretch_start.shape[0] - 1
    n_recorded, depth = 0, state.history.shape[0]
    which = (first - workspace.begin) // workspace.bin_steps
    bin_ends, event = workspace.begin + (which + 1) * workspace.bin_steps, 0
    event_start = inputs.event_start[(first - inputs.event_first) * (n_populations - first_given) :]
    here = (first - 1) % depth
    for k in range(first, first + n_steps):
        if n_recorded + state.history.shape[1] > workspace.spike_step.shape[0]:
            return k, n_recorded, True
        _set_signals(inputs, rows, state, k)
        if k == bin_ends:
            which, bin_ends = which + 1, bin_ends + workspace.bin_steps
        if workspace.measures_current:
            _measure_currents(cells, state, workspace)
        here = here + 1 if here + 1 < depth else 0
        spiking, bounds, n_spikes = state.history[here], state.bounds[here], 0
        for p in range(n_with_membrane):
            n_spikes = _spikes_of(cells, state, p, k, spiking, n_spikes, workspace.levels)
            bounds[p + 1] = n_spikes
        for p in range(n_with_membrane, first_given):
            n_spikes = _poisson_of(inputs, state, rng, p - n_with_membrane, k, spiking, n_spikes)
            bounds[p + 1] = n_spikes
        for p in range(first_given, n_populations):
            for e in range(event_start[event], event_start[event + 1]):
                spiking[n_spikes] = inputs.event_neuron[e]
                n_spikes += 1
            bounds[p + 1] = n_spikes
            event += 1
        _decay(cells, rows, state, workspace)
        for p in range(n_populations):
            state.counts[p] += bounds[p + 1] - bounds[p]
            workspace.binned[which, p] += bounds[p + 1] - bounds[p]
            if bounds[p] < bounds[p + 1]:
                if p < n_with_membrane:
                    _raise_own(cells, state, p, spiking, bounds[p], bounds[p + 1])
                if workspace.is_recorded[p]:
                    for s in range(bounds[p], bounds[p + 1]):
                        workspace.spike_step[n_recorded] = k
                        workspace.spike_neuron[n_recorded] = spiking[s]
                        n_recorded += 1
        _sample(cells, rows, state)
        if wiring.is_large:
            _fetch(cells, wiring, state, here)
        fine = True
        for p in range(wiring.table.shape[0]):
            pre, line = wiring.table[p, PRE], _before(here, wiring.table[p, ARRIVES_AFTER], depth)
            begin, end = state.bounds[line, pre], state.bounds[line, pre + 1]
            if begin < end:
                spikes = state.history[line, begin:end]
                fine = arrive(cells, rows, wiring, rules, state, p, spikes, workspace) and fine
        _jump(cells, rows, state, here, 0, rows.n_presynaptic)
        for p in range(wiring.table.shape[0]):
            if wiring.table[p, AT_POST] < wiring.table[p, AT_POST + 1]:
                post = wiring.table[p, POST]
                for s in range(bounds[post], bounds[post + 1]):
                    n = spiking[s] - cells.first[post]
                    fine = change_incoming(rows, wiring, rules, state, p, n, workspace) and fine
        _jump(cells, rows, state, here, rows.n_presynaptic, rows.n_traces)
        for p in range(wiring.table.shape[0]):
            begin, end = wiring.table[p, AT_INTERVAL], wiring.table[p, AT_INTERVAL + 1]
            if begin < end and (k + 1) % wiring.table[p, INTERVAL] == 0:
                pre = wiring.table[p, PRE]
                for n in range(cells.first[pre + 1] - cells.first[pre]):
                    fine = change_outgoing(rows, wiring, rules, state, p, begin, end, n, workspace) and fine
        if not fine:
            return k + 1, n_recorded, False
    return first + n_steps, n_recorded, True
