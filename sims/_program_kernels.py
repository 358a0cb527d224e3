"""Kernels of one linear neuron under any expression: an interpreter of tapes.

`LANES` problems run side by side, one in each lane of the vector instructions. An instruction runs over a
block: a stretch of a neuron's synapses or, where inputs are few, all synapses for several samples of a batch.
So reading an instruction costs little beside its arithmetic, and the values of a block stay in the first
caches. Operands are read where they are, by two strides: values of a neuron are not spread over its synapses,
nor are weights, adjoints and inputs copied (inputs are, where a batch takes samples that do not follow each
other). The way back is a tape too, see `_tape.py`.

Shapes of one group: ``samples (n_samples * n_inputs, LANES)``, ``w, adjoint (n_inputs, LANES)``. The sample
indices of a step are ``order[row : row + batch]``. Arrays are addresses here, see :mod:`sims._lanes`: numbers
cost little to hand on, and operands are chosen while a program runs.
"""

from typing import NamedTuple

import numpy as np

from sims._borrowed import borrowed
from sims._compiled import helper, kernel
from sims._lanes import (
    absolute,
    address_of,
    all_at_most,
    fetch_row,
    lane,
    load_number,
    load_row,
    n_lanes,
    square_root,
    store_number,
    store_row,
    where_at_least,
    with_lane,
    zero_of,
)
from sims._operations import (
    ABS,
    ADD,
    DIV,
    EXP,
    MAX,
    MIN,
    MUL,
    NEG,
    POWI,
    SIGN,
    SQRT,
    SQUARE,
    SUB,
    TANH,
    exponential,
    power_log,
    power_slope,
    tangent,
    value_of,
)

MULADD, MULSUB, SUBMUL, TANH_SLOPE, SQRT_SLOPE, POWI_SLOPE = 16, 17, 18, 19, 20, 21
AT_LEAST, BELOW, POW_SLOPE, POW_LOG, SUM, DOT = 22, 23, 24, 25, 26, 27
MULADDMUL, MULSUBMUL, ROOT, OVER, MULMUL = 28, 29, 30, 31, 32

CONSTANTS, NEURONS, TAPE, INPUTS, WEIGHTS, ADJOINTS = 0, 1, 2, 3, 4, 5
"""Kinds of memory that operands are in."""

N_KINDS = 6
ROW = 13
"""Numbers of an instruction."""

AHEAD = 64
"""Vectors of inputs that are on their way from memory while weights change."""

START, OUTER, INNER = 0, 1, 2
"""What is known of the operands of a kind: the row that theirs count from, and strides of the two loops."""


class Code(NamedTuple):
    """A tape as these kernels take it; see :meth:`sims._tape.Tape.laid_out`."""

    rows: np.ndarray
    ends: np.ndarray
    results: np.ndarray
    sign: float
    totals: np.ndarray


class Tape(NamedTuple):
    """The same inside the kernels: where the numbers are."""

    rows: int
    ends: int
    results: int
    sign: float
    totals: int


class Workspace(NamedTuple):
    """Memory of one tape, for one group after the other."""

    constants: np.ndarray  # (n_constant_slots, LANES)
    neurons: np.ndarray  # (n_neuron_slots * n_together, LANES)
    tape: np.ndarray  # (n_tape_slots * n_together * width, LANES)
    change: np.ndarray  # (n_inputs, LANES)
    bases: np.ndarray  # (3 * N_KINDS): addresses
    places: np.ndarray  # (3 * N_KINDS * 4)
    sizes: np.ndarray  # (3 * 2): lengths of outer and inner loop of each level


class Blocks(NamedTuple):
    """Blocks are `width` synapses of `n_together` samples."""

    batch: int
    n_inputs: int
    width: int
    n_together: int


# ------------------------------------------------------------------------------------------- instructions


@helper
def _value(op, a, b):
    """Result of one instruction that no vector instruction computes."""
    if op == POW_SLOPE:
        return power_slope(a, b)
    if op == POW_LOG:
        return power_log(a, b)
    return value_of(op, a, b, 0)


@helper
def _operand(rows, column, bases, places, o):
    """Where an operand is: address, first row, and rows from one turn of the inner loop to the next."""
    q = load_number(rows, column)
    first = load_number(places, 4 * q + START) + o * load_number(places, 4 * q + OUTER)
    return load_number(bases, q), load_number(rows, column + 1) + first, load_number(places, 4 * q + INNER)


@helper
def _run(rows, first, last, bases, places, sizes):
    """Run instructions `first` to `last`, in order.

    An operand is a number q and a row: ``bases[q]`` is where its kind of memory is, and ``places[4 * q :]``
    say what the row counts from and how far the two loops move on; see :func:`_set_place`. Both loops of an
    instruction are one loop here with that over instructions, so that nothing is prepared for operations
    that are not run.
    """
    k, o = ROW * first, 0
    while k < ROW * last:
        op, literal, level = load_number(rows, k), load_number(rows, k + 1), load_number(rows, k + 2)
        n_inner = load_number(sizes, level + 1)
        out, r, to_inner = _operand(rows, k + 3, bases, places, o)
        a, i, i_inner = _operand(rows, k + 5, bases, places, o)
        b, j, j_inner = _operand(rows, k + 7, bases, places, o)
        c, m, k_inner, d, h, l_inner = a, i, i_inner, a, i, i_inner
        if op in (MULADD, MULSUB, SUBMUL) or op >= MULADDMUL:
            c, m, k_inner = _operand(rows, k + 9, bases, places, o)
        if op >= MULADDMUL:
            d, h, l_inner = _operand(rows, k + 11, bases, places, o)
        if op == MUL:
            for n in range(n_inner):
                value = load_row(a, i + n * i_inner) * load_row(b, j + n * j_inner)
                store_row(out, r + n * to_inner, value)
        elif op == MULMUL:
            for n in range(n_inner):
                value = load_row(a, i + n * i_inner) * load_row(b, j + n * j_inner)
                store_row(out, r + n * to_inner, value * load_row(c, m + n * k_inner))
        elif op == MULADD:
            for n in range(n_inner):
                value = load_row(a, i + n * i_inner) * load_row(b, j + n * j_inner)
                store_row(out, r + n * to_inner, value + load_row(c, m + n * k_inner))
        elif op == SUBMUL:
            for n in range(n_inner):
                value = load_row(a, i + n * i_inner) * load_row(b, j + n * j_inner)
                store_row(out, r + n * to_inner, load_row(c, m + n * k_inner) - value)
        elif op == MULSUB:
            for n in range(n_inner):
                value = load_row(a, i + n * i_inner) * load_row(b, j + n * j_inner)
                store_row(out, r + n * to_inner, value - load_row(c, m + n * k_inner))
        elif op == MULADDMUL:
            for n in range(n_inner):
                value = load_row(a, i + n * i_inner) * load_row(b, j + n * j_inner)
                value += load_row(c, m + n * k_inner) * load_row(d, h + n * l_inner)
                store_row(out, r + n * to_inner, value)
        elif op == MULSUBMUL:
            for n in range(n_inner):
                value = load_row(a, i + n * i_inner) * load_row(b, j + n * j_inner)
                value -= load_row(c, m + n * k_inner) * load_row(d, h + n * l_inner)
                store_row(out, r + n * to_inner, value)
        elif op in (ROOT, OVER):
            for n in range(n_inner):
                value = load_row(a, i + n * i_inner)
                if literal == 1:
                    value = absolute(value)
                value = value * load_row(b, j + n * j_inner) + load_row(c, m + n * k_inner)
                if op == ROOT:
                    value = load_row(d, h + n * l_inner) * square_root(value)
                else:
                    value = load_row(d, h + n * l_inner) / value
                store_row(out, r + n * to_inner, value)
        elif op == ADD:
            for n in range(n_inner):
                value = load_row(a, i + n * i_inner) + load_row(b, j + n * j_inner)
                store_row(out, r + n * to_inner, value)
        elif op == SUB:
            for n in range(n_inner):
                value = load_row(a, i + n * i_inner) - load_row(b, j + n * j_inner)
                store_row(out, r + n * to_inner, value)
        elif op == DIV:
            for n in range(n_inner):
                value = load_row(a, i + n * i_inner) / load_row(b, j + n * j_inner)
                store_row(out, r + n * to_inner, value)
        elif op == NEG:
            for n in range(n_inner):
                store_row(out, r + n * to_inner, -load_row(a, i + n * i_inner))
        elif op == SQUARE:
            for n in range(n_inner):
                value = load_row(a, i + n * i_inner)
                store_row(out, r + n * to_inner, value * value)
        elif op == SQRT:
            for n in range(n_inner):
                store_row(out, r + n * to_inner, square_root(load_row(a, i + n * i_inner)))
        elif op == TANH:
            for n in range(n_inner):
                store_row(out, r + n * to_inner, tangent(load_row(a, i + n * i_inner)))
        elif op == EXP:
            for n in range(n_inner):
                store_row(out, r + n * to_inner, exponential(load_row(a, i + n * i_inner)))
        elif op == ABS:
            for n in range(n_inner):
                store_row(out, r + n * to_inner, absolute(load_row(a, i + n * i_inner)))
        elif op == SIGN:
            for n in range(n_inner):
                value = load_row(a, i + n * i_inner)
                other = where_at_least(value, 0.0, 1.0, value)
                down = where_at_least(value, 0.0, value, -1.0)
                store_row(out, r + n * to_inner, where_at_least(0.0, value, down, other))
        elif op == MAX:
            for n in range(n_inner):
                u, v = load_row(a, i + n * i_inner), load_row(b, j + n * j_inner)
                store_row(out, r + n * to_inner, where_at_least(u, v, u, where_at_least(u, u, v, u)))
        elif op == MIN:
            for n in range(n_inner):
                u, v = load_row(a, i + n * i_inner), load_row(b, j + n * j_inner)
                store_row(out, r + n * to_inner, where_at_least(v, u, u, where_at_least(u, u, v, u)))
        elif op in (POWI, POWI_SLOPE):
            exponent = literal if op == POWI else literal - 1
            factor = 1.0 if op == POWI else 1.0 * literal
            for n in range(n_inner):
                value = load_row(a, i + n * i_inner)
                power = 1.0 + zero_of(value)
                for _ in range(abs(exponent)):
                    power = power * value
                if exponent < 0:
                    power = 1.0 / power
                store_row(out, r + n * to_inner, factor * power)
        elif op == TANH_SLOPE:
            for n in range(n_inner):
                value = load_row(a, i + n * i_inner)
                store_row(out, r + n * to_inner, 1.0 - value * value)
        elif op == SQRT_SLOPE:
            for n in range(n_inner):
                value = load_row(a, i + n * i_inner)
                store_row(out, r + n * to_inner, where_at_least(0.0, value, zero_of(value), 0.5 / value))
        elif op == AT_LEAST:
            for n in range(n_inner):
                u, v = load_row(a, i + n * i_inner), load_row(b, j + n * j_inner)
                store_row(out, r + n * to_inner, where_at_least(u, v, 1.0 + zero_of(u), 0.0))
        elif op == BELOW:
            for n in range(n_inner):
                u, v = load_row(a, i + n * i_inner), load_row(b, j + n * j_inner)
                store_row(out, r + n * to_inner, where_at_least(u, v, zero_of(u), 1.0))
        elif op == SUM and to_inner == 0:
            total = zero_of(load_row(a, i))
            for n in range(n_inner):
                total += load_row(a, i + n * i_inner)
            store_row(out, r, load_row(out, r) + total)
        elif op == SUM:
            for n in range(n_inner):
                total = load_row(out, r + n * to_inner)
                store_row(out, r + n * to_inner, total + load_row(a, i + n * i_inner))
        elif op == DOT and to_inner == 0:
            total = zero_of(load_row(a, i))
            for n in range(n_inner):
                total += load_row(a, i + n * i_inner) * load_row(b, j + n * j_inner)
            store_row(out, r, load_row(out, r) + total)
        elif op == DOT:
            for n in range(n_inner):
                total = load_row(out, r + n * to_inner)
                total += load_row(a, i + n * i_inner) * load_row(b, j + n * j_inner)
                store_row(out, r + n * to_inner, total)
        else:
            for n in range(n_inner):
                u, v = load_row(a, i + n * i_inner), load_row(b, j + n * j_inner)
                value = u
                for g in range(n_lanes(u)):
                    value = with_lane(value, g, _value(op, lane(u, g), lane(v, g)))
                store_row(out, r + n * to_inner, value)
        o += 1
        if o >= load_number(sizes, level):
            k, o = k + ROW, 0


# ------------------------------------------------------------------------------------------------- blocks


@helper
def _lay_out(space):
    """Write down what is the same for all blocks."""
    for n in range(3 * N_KINDS * 4):
        store_number(space.places, n, 0)
    for n in range(3 * 2):
        store_number(space.sizes, n, 1)
    store_number(space.places, 4 * (N_KINDS + NEURONS) + INNER, 1)
    for level in range(3):
        store_number(space.bases, level * N_KINDS + CONSTANTS, space.constants)
        store_number(space.bases, level * N_KINDS + NEURONS, space.neurons)
        store_number(space.bases, level * N_KINDS + TAPE, space.tape)


@helper
def _over_samples(blocks):
    """Whether the inner loop goes over samples instead of synapses: it is the longer one."""
    return blocks.n_together > blocks.width


@helper
def _set_place(blocks, places, kind, first, by_sample, by_synapse):
    over_samples = _over_samples(blocks)
    p = 4 * (2 * N_KINDS + kind)
    store_number(places, p + START, first)
    store_number(places, p + OUTER, by_synapse if over_samples else by_sample)
    store_number(places, p + INNER, by_sample if over_samples else by_synapse)


@helper
def _set_block(blocks, places, sizes, start, n_synapses, n_samples, from_row):
    """Write down where a block is; inputs begin at `from_row`, or are on the tape where it is negative."""
    over_samples = _over_samples(blocks)
    store_number(sizes, 3, n_samples)
    store_number(sizes, 4, n_synapses if over_samples else n_samples)
    store_number(sizes, 5, n_samples if over_samples else n_synapses)
    by_sample, by_synapse = (1, n_samples) if over_samples else (n_synapses, 1)
    _set_place(blocks, places, TAPE, 0, by_sample, by_synapse)
    _set_place(blocks, places, NEURONS, 0, 1, 0)
    _set_place(blocks, places, WEIGHTS, start, 0, 1)
    _set_place(blocks, places, ADJOINTS, start, 0, 1)
    if from_row < 0:
        _set_place(blocks, places, INPUTS, 0, by_sample, by_synapse)
    else:
        _set_place(blocks, places, INPUTS, from_row, blocks.n_inputs, 1)


@helper
def _follow_each_other(order, row, low, high):
    for b in range(low + 1, high):
        if load_number(order, row + b) != load_number(order, row + b - 1) + 1:
            return False
    return True


@helper
def _output(samples, first, w, n_inputs):
    """Output for the sample whose inputs start at row `first`; two sums, as one would wait for itself."""
    even = zero_of(load_row(w, 0))
    odd = even
    for i in range(1, n_inputs, 2):
        even = even + load_row(samples, first + i - 1) * load_row(w, i - 1)
        odd = odd + load_row(samples, first + i) * load_row(w, i)
    if n_inputs % 2 == 1:
        even = even + load_row(samples, first + n_inputs - 1) * load_row(w, n_inputs - 1)
    return even + odd


@helper
def _copy_inputs(blocks, samples, order, row, low, high, tape):
    """Bring the inputs of samples that do not follow each other to the tape."""
    over_samples = _over_samples(blocks)
    for b in range(low, high):
        first = load_number(order, row + b) * blocks.n_inputs
        for i in range(blocks.n_inputs):
            to = i * (high - low) + b - low if over_samples else (b - low) * blocks.n_inputs + i
            store_row(tape, to, load_row(samples, first + i))


@helper
def _copy(source, target, n):
    for i in range(n):
        store_row(target, i, load_row(source, i))


@helper
def _clear(rows, first, last):
    for r in range(first, last):
        store_row(rows, r, 0.0)


@helper
def _add_block(blocks, space, operand, n_synapses, n_samples, target, start, factor):
    """Add a multiple of an operand, summed over samples, to a stretch of `target`."""
    over_samples = _over_samples(blocks)
    q = operand[0]
    source = load_number(space.bases, q)
    first = operand[1] + load_number(space.places, 4 * q + START)
    by_synapse = load_number(space.places, 4 * q + (OUTER if over_samples else INNER))
    by_sample = load_number(space.places, 4 * q + (INNER if over_samples else OUTER))
    for i in range(n_synapses):
        r = first + i * by_synapse
        total = load_row(source, r)
        for b in range(1, n_samples):
            total += load_row(source, r + b * by_sample)
        store_row(target, start + i, load_row(target, start + i) + factor * total)


@helper
def _add(source, first, factor, target, n):
    """Add a multiple of some rows to `target`; return its squared norm."""
    norm = zero_of(load_row(target, 0))
    for i in range(n):
        value = load_row(target, i) + factor * load_row(source, first + i)
        store_row(target, i, value)
        norm = norm + value * value
    return norm


# -------------------------------------------------------------------------------------------------- steps


class Space(NamedTuple):
    """Memory of one group: where its rows are, and what blocks write down."""

    constants: int
    neurons: int
    tape: int
    change: int
    bases: int
    places: int
    sizes: int


@helper
def _set_bases(space, inputs, w, adjoint):
    q = 2 * N_KINDS
    store_number(space.bases, q + INPUTS, inputs)
    store_number(space.bases, q + WEIGHTS, w)
    store_number(space.bases, q + ADJOINTS, adjoint)


@helper
def _set_outputs(blocks, space, samples, order, row, low, high, w):
    for b in range(low, high):
        y = _output(samples, load_number(order, row + b) * blocks.n_inputs, w, blocks.n_inputs)
        store_row(space.neurons, b - low, y)


@helper
def _update(space, operand, n, w, start, eta, samples, following):
    """Change a stretch of the weights; return its squared norm and its share of the output after that.

    The output is that for the inputs from row `following` on: it saves the next step a walk over the weights.
    """
    source = load_number(space.bases, operand[0])
    r = operand[1] + load_number(space.places, 4 * operand[0] + START)
    by_synapse = load_number(space.places, 4 * operand[0] + INNER)
    norm = zero_of(load_row(w, 0))
    other_norm, y, other_y = norm, norm, norm
    for i in range(start, start + n - 1, 2):
        fetch_row(samples, following + i + AHEAD)
        fetch_row(samples, following + i + AHEAD + 1)
        u = load_row(w, i) + eta * load_row(source, r)
        v = load_row(w, i + 1) + eta * load_row(source, r + by_synapse)
        store_row(w, i, u)
        store_row(w, i + 1, v)
        norm = norm + u * u
        other_norm = other_norm + v * v
        y = y + u * load_row(samples, following + i)
        other_y = other_y + v * load_row(samples, following + i + 1)
        r += 2 * by_synapse
    if n % 2 == 1:
        u = load_row(w, start + n - 1) + eta * load_row(source, r)
        store_row(w, start + n - 1, u)
        norm = norm + u * u
        y = y + u * load_row(samples, following + start + n - 1)
    return norm + other_norm, y + other_y


@helper
def _walk(tape, blocks, space, samples, order, row, next_row, w, adjoint, eta, knows_output, is_way_back):
    """Run one step of a group, from one sample or a batch, or pull `adjoint` = dL/dw back through it.

    Return the squared norm of new weights. Online, slot 0 of the neurons ends with the output for the next
    sample; `knows_output` says that it starts with that for this one.
    """
    batch, n_inputs = blocks.batch, blocks.n_inputs
    result = (load_number(tape.results, 0), load_number(tape.results, 1))
    norm = zero_of(load_row(w, 0))
    y = norm
    following = load_number(order, next_row) * n_inputs
    goal = adjoint if is_way_back else w
    target, factor = (goal, eta) if batch == 1 else (space.change, 1.0)
    if batch > 1:
        _clear(space.change, 0, n_inputs)
    low = 0
    while low < batch:
        high = min(low + blocks.n_together, batch)
        if not knows_output:
            _set_outputs(blocks, space, samples, order, row, low, high, w)
        in_place = _follow_each_other(order, row, low, high)
        if not in_place:
            _copy_inputs(blocks, samples, order, row, low, high, space.tape)
        if is_way_back:
            _clear(space.neurons, load_number(tape.totals, 2), load_number(tape.totals, 3))
        # Online, one block is laid out as in the step before but for where its inputs begin.
        is_known = knows_output and n_inputs <= blocks.width
        if not is_known:
            _set_bases(space, samples if in_place else space.tape, w, adjoint)
        start = 0
        while start < n_inputs:
            n = min(blocks.width, n_inputs - start)
            from_row = load_number(order, row + low) * n_inputs + start if in_place else -1
            if is_known:
                store_number(space.places, 4 * (2 * N_KINDS + INPUTS) + START, from_row)
            else:
                _set_block(blocks, space.places, space.sizes, start, n, high - low, from_row)
            begin = load_number(tape.ends, 1 if start == 0 else 2)
            end = load_number(tape.ends, 4 if start + n == n_inputs else 3)
            _run(tape.rows, begin, end, space.bases, space.places, space.sizes)
            if batch == 1 and not is_way_back:
                own_norm, own_y = _update(space, result, n, w, start, eta, samples, following)
                norm = norm + own_norm
                y = y + own_y
            elif result[0] >= 0:
                _add_block(blocks, space, result, n, high - low, target, start, tape.sign * factor)
            start += n
        if is_way_back and load_number(tape.results, 2) >= 0:
            for b in range(low, high):
                through = factor * load_row(space.neurons, load_number(tape.results, 3) + b - low)
                _add(samples, load_number(order, row + b) * n_inputs, through, target, n_inputs)
        low = high
    if batch > 1:
        return _add(space.change, 0, eta / batch, goal, n_inputs)
    store_row(space.neurons, 0, y)
    return norm


@helper
def _silence(rows, n, blow_up):
    """Hold the weights of problems that blew up at zero."""
    for i in range(n):
        kept = load_row(rows, i)
        for g in range(blow_up.shape[0]):
            if blow_up[g] >= 0:
                kept = with_lane(kept, g, 0.0)
        store_row(rows, i, kept)


@helper
def _notice(norm, bound, steps, blow_up):
    """Note the number of steps for problems whose squared norm left the bound just now.

    Return whether weights have to be set to zero: those of a problem that blew up before mostly stay there.
    """
    any_moves = False
    for g in range(blow_up.shape[0]):
        if not lane(norm, g) <= bound and blow_up[g] < 0:
            blow_up[g] = steps
        any_moves = any_moves or (blow_up[g] >= 0 and lane(norm, g) != 0.0)
    return any_moves


@helper
def _opened(tape, values, workspace):
    """Memory for one group, with the constants of the rule."""
    space = Space(
        address_of(workspace.constants), address_of(workspace.neurons), address_of(workspace.tape),
        address_of(workspace.change), address_of(workspace.bases), address_of(workspace.places),
        address_of(workspace.sizes),
    )  # fmt: skip
    _lay_out(space)
    for c in range(values.shape[0]):
        store_row(space.constants, c, values[c])
    _clear(space.constants, load_number(tape.totals, 0), load_number(tape.totals, 1))
    return space


@helper
def _tape(code):
    return Tape(
        address_of(code.rows), address_of(code.ends), address_of(code.results), code.sign,
        address_of(code.totals),
    )  # fmt: skip


@kernel
def simulate(
    code, blocks, workspace, values, first, last, inputs, weights, order, eta, n_steps, bound, every, record,
    blow_up,
):  # fmt: skip
    """Run groups `first` to `last` for `n_steps` steps, in place.

    `values` are the constants of the rule and the number one; `order` is flat. Other arrays have the groups
    as their first axis; see the kernel of the same name for quadratic rules.
    """
    tape, values, picks = _tape(code), borrowed(values), address_of(order)
    stop = order.shape[0]
    n_inputs = blocks.n_inputs
    for k in range(first, last):
        samples, w, blown = address_of(inputs[k]), address_of(weights[k]), borrowed(blow_up[k])
        space = _opened(tape, values, workspace)
        _run(tape.rows, 0, load_number(tape.ends, 1), space.bases, space.places, space.sizes)
        any_blown = False
        for g in range(blown.shape[0]):
            blown[g] = -1
        row, knows_output = 0, False
        for t in range(n_steps):
            if t % every == 0:
                _copy(w, address_of(record[k, t // every]), n_inputs)
            next_row = row + blocks.batch if row + blocks.batch < stop else 0
            norm = _walk(tape, blocks, space, samples, picks, row, next_row, w, w, eta, knows_output, False)
            row, knows_output = next_row, blocks.batch == 1
            if any_blown or not all_at_most(norm, bound * bound):
                any_blown = True
                if _notice(norm, bound * bound, t + 1, blown):
                    _silence(w, n_inputs, blown)
                    knows_output = False


@kernel
def gradient(
    code, blocks, workspace, way_back, back_blocks, back_space, values, first, last, inputs, order, eta,
    n_steps, every, record, blow_up, adjoint, result, path,
):  # fmt: skip
    """Gradients of the losses of groups `first` to `last` with respect to the constants, by reverse mode.

    `way_back` is the tape of the gradient, `back_blocks` and `back_space` its blocks and memory. Arguments
    and checkpointing are those of the kernel of the same name for quadratic rules; ``path (every, n_inputs,
    LANES)`` holds the weights of `every` steps, and none where all were recorded (``every == 1``).
    """
    tape, back_tape = _tape(code), _tape(way_back)
    values, picks = borrowed(values), address_of(order)
    batch, n_rounds = blocks.batch, order.shape[0] // blocks.batch
    n_inputs = blocks.n_inputs
    for k in range(first, last):
        samples, a, blown = address_of(inputs[k]), address_of(adjoint[k]), borrowed(blow_up[k])
        space = _opened(tape, values, workspace)
        back = _opened(back_tape, values, back_space)
        any_blown = False
        for g in range(blown.shape[0]):
            any_blown = any_blown or blown[g] >= 0
        for part in range(2):
            own, one = (tape, space) if part == 0 else (back_tape, back)
            _run(own.rows, 0, load_number(own.ends, 1), one.bases, one.places, one.sizes)
        for segment in range((n_steps - 1) // every, -1, -1):
            start = segment * every
            stop = min(start + every, n_steps)
            if every > 1:
                _copy(address_of(record[k, segment]), address_of(path[0]), n_inputs)
            # Forwards through all steps of the segment but the last, then back through all.
            for turn in range(2 * (stop - start) - 1):
                is_way_back = turn >= stop - start - 1
                t = 2 * stop - start - 2 - turn if is_way_back else start + turn
                w = address_of(path[t - start] if every > 1 else record[k, t])
                if not is_way_back:
                    w = address_of(path[t - start + 1])
                    _copy(address_of(path[t - start]), w, n_inputs)
                own, sizes, one = (back_tape, back_blocks, back) if is_way_back else (tape, blocks, space)
                row = t % n_rounds * batch
                _walk(own, sizes, one, samples, picks, row, row, w, a, eta, False, is_way_back)
                if any_blown and not is_way_back:
                    _silence(w, n_inputs, blown)
        end = load_number(back_tape.ends, 5)
        _run(back_tape.rows, load_number(back_tape.ends, 4), end, back.bases, back.places, back.sizes)
        total = address_of(result[k])
        _clear(total, 0, result.shape[1])
        for c in range(result.shape[1]):
            if way_back.results[4 + 2 * c] >= 0:
                value = load_row(back.constants, way_back.results[5 + 2 * c])
                store_row(total, c, eta / batch * value)
        if any_blown:
            _silence(a, n_inputs, blown)
            _silence(total, result.shape[1], blown)
