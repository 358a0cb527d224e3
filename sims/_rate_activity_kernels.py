"""Activity of the populations of a rate circuit at the samples of a step, and the way back through it.

See :mod:`sims._rate_circuit_kernels` for what is computed and where it lies. Where no activity goes on
through time, samples have nothing to do with each other, and two of them are worked on at once.
"""

from sims._activation_kernels import LINEAR, activated, activation_slope
from sims._compiled import helper
from sims._lanes import load, store, zero_of
from sims._quadratic_kernels import add_to, output_of, outputs_of_four, outputs_of_two
from sims._rate_layout import FROM_LAST, INNER
from sims._rate_tables import (
    ACTIVATION,
    FIRST,
    IS_GIVEN,
    IS_HIERARCHICAL,
    KIND,
    MEMORY,
    N_POST,
    N_PRE,
    NEEDS_PRE,
    POST,
    PRE,
    SIZE,
    SWEEPS,
    TARGET,
    WEIGHTS,
    clear,
)


@helper(inline="always")
def n_synapses(projection, k):
    return k if projection[IS_HIERARCHICAL] else projection[N_PRE]


@helper(inline="always")
def weights_of(projection, state, k):
    """Weights, or what else is laid out as they are, of the synapses of neuron k."""
    first = projection[WEIGHTS] + k * projection[N_PRE]
    return state[first : first + n_synapses(projection, k)]


@helper(forceinline=True)
def _add_drive(projection, rows, source, state, target, at):
    """Add what arrives by one projection, from units that begin at `source`, to rows of `target`."""
    for k in range(projection[N_POST]):
        n = n_synapses(projection, k)
        if n > 0:
            total = output_of(rows[source : source + n], weights_of(projection, state, k))
            add_to(target, (at + k,), total)


@helper(forceinline=True)
def _add_drive_of_two(projection, units, at, n_units, state, target):
    """Add what arrives at the sample at `at` and at the next one to the drives from `target` on."""
    source, n_post, k = at + projection[PRE], projection[N_POST], 0
    while k < n_post:
        n = n_synapses(projection, k)
        inputs, others = units[source : source + n], units[source + n_units : source + n_units + n]
        w, at_first, at_next = weights_of(projection, state, k), target + k, target + n_units + k
        if k + 1 < n_post and not projection[IS_HIERARCHICAL]:
            a, b, c, d = outputs_of_four(inputs, others, w, weights_of(projection, state, k + 1))
            add_to(units, (at_first,), a)
            add_to(units, (at_next,), b)
            add_to(units, (at_first + 1,), c)
            add_to(units, (at_next + 1,), d)
            k += 2
            continue
        if n > 0:
            a, b = outputs_of_two(inputs, others, w)
            add_to(units, (at_first,), a)
            add_to(units, (at_next,), b)
        k += 1


@helper(forceinline=True)
def _settle(circuit, c, at, sweeps_at, state, space):
    """Take in what a population tells itself; its drive lies in its units and its sweeps are kept."""
    cell, n_units = circuit.cells[c], circuit.n_units
    first, n, kind = cell[FIRST], cell[SIZE], cell[ACTIVATION]
    units, sweeps, drive = space.units, space.sweeps, space.slopes
    for j in range(first, first + n):
        store(drive, (j,), load(units, (at + j,)))
        store(sweeps, (sweeps_at + j,), activated(kind, load(drive, (j,))))
    for m in range(cell[SWEEPS]):
        before, after = sweeps_at + m * n_units, sweeps_at + (m + 1) * n_units
        for j in range(first, first + n):
            store(sweeps, (after + j,), load(drive, (j,)))
        for p in range(circuit.projections.shape[0]):
            projection = circuit.projections[p]
            if projection[KIND] == INNER and projection[TARGET] == c:
                _add_drive(projection, sweeps, before + projection[PRE], state, sweeps, after + first)
        for j in range(first, first + n):
            store(sweeps, (after + j,), activated(kind, load(sweeps, (after + j,))))
    last = sweeps_at + cell[SWEEPS] * n_units
    for j in range(first, first + n):
        store(units, (at + j,), load(sweeps, (last + j,)))


@helper(forceinline=True)
def _follow(circuit, c, at, space):
    """Turn the drive in a population's units into its activity, which goes on through time or does not."""
    cell, n_units, units = circuit.cells[c], circuit.n_units, space.units
    first, n, kind = cell[FIRST], cell[SIZE], cell[ACTIVATION]
    if cell[MEMORY] >= 0:
        for j in range(at + first, at + first + n):
            answer = activated(kind, load(units, (j,)))
            store(space.answers, (j,), answer)
            before = load(units, (j - n_units,))
            store(units, (j,), before + circuit.leaks[c] * (answer - before))
    elif kind != LINEAR:
        for j in range(at + first, at + first + n):
            store(units, (j,), activated(kind, load(units, (j,))))


@helper(forceinline=True)
def respond(circuit, samples, order, row, low, high, state, space):
    """Fill the units with activity of samples `low` to `high` of a step."""
    n_units, units, cells = circuit.n_units, space.units, circuit.cells
    most_sweeps = space.sweeps.shape[0] // (circuit.together * n_units)
    most_at_once = 2
    for c in range(cells.shape[0]):
        if cells[c, MEMORY] >= 0:
            most_at_once = 1
            for j in range(cells[c, SIZE]):
                store(units, (cells[c, FIRST] + j,), load(state, (cells[c, MEMORY] + j,)))
    for b in range(0, high - low, most_at_once):
        at_once = min(most_at_once, high - low - b)
        first_at = (b + 1) * n_units
        for m in range(at_once):
            sample, at = samples[order[row, low + b + m]], first_at + m * n_units
            for i in range(circuit.n_given):
                store(units, (at + i,), load(sample, (i,)))
        for c in range(cells.shape[0]):
            if cells[c, IS_GIVEN]:
                continue
            first, n = cells[c, FIRST], cells[c, SIZE]
            settles = False
            for m in range(at_once):
                clear(units[first_at + m * n_units + first : first_at + m * n_units + first + n])
            for p in range(circuit.projections.shape[0]):
                projection = circuit.projections[p]
                if projection[TARGET] == c and projection[KIND] == INNER:
                    settles = True
                elif projection[TARGET] == c and at_once == 2:
                    _add_drive_of_two(projection, units, first_at, n_units, state, first_at + first)
                elif projection[TARGET] == c:
                    source = first_at - n_units if projection[KIND] == FROM_LAST else first_at
                    _add_drive(projection, units, source + projection[PRE], state, units, first_at + first)
            for m in range(at_once):
                at = first_at + m * n_units
                if settles:
                    _settle(circuit, c, at, (b + m) * most_sweeps * n_units, state, space)
                else:
                    _follow(circuit, c, at, space)


@helper(forceinline=True)
def _pull_drive(projection, rows, source, state, slopes, change, pulls):
    """Pull the slopes of a population's drive back through one projection; `pulls` are of its source."""
    for k in range(projection[N_POST]):
        n = n_synapses(projection, k)
        slope = load(slopes, (projection[POST] + k,))
        w, own = weights_of(projection, state, k), weights_of(projection, change, k)
        for i in range(n):
            add_to(own, (i,), slope * load(rows, (source + i,)))
        if projection[NEEDS_PRE]:
            for i in range(n):
                add_to(pulls, (source + i,), slope * load(w, (i,)))


@helper(forceinline=True)
def _pull_settling(circuit, c, at, sweeps_at, state, space):
    """Pull the adjoint of settled activity back through all sweeps, to the slopes of the drive."""
    cell, n_units = circuit.cells[c], circuit.n_units
    first, n, kind = cell[FIRST], cell[SIZE], cell[ACTIVATION]
    sweeps, pulls, total = space.sweeps, space.pulls, space.slopes
    own = space.slopes[n_units:]
    clear(total[first : first + n])
    for m in range(cell[SWEEPS], -1, -1):
        after = sweeps_at + m * n_units
        for j in range(first, first + n):
            slope = activation_slope(kind, load(sweeps, (after + j,))) * load(pulls, (at + j,))
            store(own, (j,), slope)
            add_to(total, (j,), slope)
            store(pulls, (at + j,), zero_of(slope))
        if m == 0:
            break
        before = after - n_units
        for p in range(circuit.projections.shape[0]):
            projection = circuit.projections[p]
            if projection[KIND] == INNER and projection[TARGET] == c:
                source = projection[PRE]
                rows, back = sweeps[before:], pulls[at:]
                _pull_drive(projection, rows, source, state, own, space.change, back)


@helper(forceinline=True)
def pull_response(circuit, n_samples, state, space):
    """Pull the adjoints of activity back through the populations, last sample and population first."""
    n_units, units, pulls, cells = circuit.n_units, space.units, space.pulls, circuit.cells
    most_sweeps = space.sweeps.shape[0] // (circuit.together * n_units)
    slopes = space.slopes
    for b in range(n_samples, 0, -1):
        at = b * n_units
        for c in range(cells.shape[0] - 1, -1, -1):
            if cells[c, IS_GIVEN]:
                continue
            first, n, kind = cells[c, FIRST], cells[c, SIZE], cells[c, ACTIVATION]
            settles = False
            for p in range(circuit.projections.shape[0]):
                projection = circuit.projections[p]
                settles = settles or (projection[TARGET] == c and projection[KIND] == INNER)
            if settles:
                _pull_settling(circuit, c, at, (b - 1) * most_sweeps * n_units, state, space)
            else:
                for j in range(first, first + n):
                    through = load(pulls, (at + j,))
                    answer = load(units, (at + j,))
                    if cells[c, MEMORY] >= 0:
                        answer = load(space.answers, (at + j,))
                        through = circuit.leaks[c] * through
                        kept = (1.0 - circuit.leaks[c]) * load(pulls, (at + j,))
                        add_to(pulls, (at - n_units + j,), kept)
                    store(slopes, (j,), through * activation_slope(kind, answer))
            for p in range(circuit.projections.shape[0]):
                projection = circuit.projections[p]
                if projection[TARGET] == c and projection[KIND] != INNER:
                    source = at - n_units if projection[KIND] == FROM_LAST else at
                    source += projection[PRE]
                    _pull_drive(projection, units, source, state, slopes, space.change, pulls)
