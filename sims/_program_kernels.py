"""Kernels of one linear neuron under any expression: an interpreter of programs and its reverse mode.

Instructions run over blocks of synapses in lock-step, so that reading one costs little beside its
arithmetic. A block is a stretch of one neuron's synapses or, when neurons are small, all synapses of several
neurons: those of a group of problems, each for a few samples of a batch. Registers that depend on outputs and
constants alone hold one value a neuron; where a synapse instruction reads such a register it is spread over
the block first.

Everything these kernels call lives in this file, because the compilation cache does not notice edits in
another one. Shapes are those of the polynomial kernels.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from sims._borrowed import borrowed

FASTMATH = {"nsz", "arcp", "contract", "afn", "reassoc"}
"""Optimisations that keep NaN and infinity visible (``fastmath=True`` would hide blow-ups)."""

OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy", "fastmath": FASTMATH}

BLOCK = 256
"""Synapses in one block: a tape of some ten registers stays in the first-level cache."""

X, Y, W = 0, 1, 2
"""Registers of the variables: presynaptic activity, postsynaptic activity, weight."""

N_VARIABLES = 3

ADD, SUB, MUL, DIV, POW, POWI, NEG, SQUARE = 0, 1, 2, 3, 4, 5, 6, 7
TANH, EXP, LOG, SQRT, ABS, SIGN, MAX, MIN = 8, 9, 10, 11, 12, 13, 14, 15


class InterpretedRule(NamedTuple):
    """A program as these kernels take it.

    Attributes
    ----------
    code : ndarray, shape (n_instructions, 3)
    constants : ndarray, shape (n_constants,)
    output : int
    levels : ndarray, shape (n_registers,)
        1 where a register differs between synapses, 0 where it holds one value a neuron.
    spread : ndarray
        Neuron-level registers, other than constants, that the synapses read.
    gathered : ndarray
        Neuron-level registers, constants too, that the synapses read.
    wanted : ndarray of bool, shape (n_registers,)
        Where an adjoint is needed: all but what depends on inputs alone.
    cleared : ndarray
        Registers but the output whose adjoints synapses add to.
    """

    code: np.ndarray
    constants: np.ndarray
    output: int
    levels: np.ndarray
    spread: np.ndarray
    gathered: np.ndarray
    wanted: np.ndarray
    cleared: np.ndarray


@njit(inline="always", **OPTIONS)
def _integer_power(base, exponent):
    result = 1.0
    for _ in range(abs(exponent)):
        result *= base
    return 1.0 / result if exponent < 0 else result


@njit(inline="always", **OPTIONS)
def _sign(value):
    return 1.0 if value > 0.0 else -1.0 if value < 0.0 else value


@njit(inline="always", **OPTIONS)
def _apply(op, out, a, b, exponent):
    """Run one instruction over its registers."""
    if op == ADD:
        for i in range(out.shape[0]):
            out[i] = a[i] + b[i]
    elif op == SUB:
        for i in range(out.shape[0]):
            out[i] = a[i] - b[i]
    elif op == MUL:
        for i in range(out.shape[0]):
            out[i] = a[i] * b[i]
    elif op == DIV:
        for i in range(out.shape[0]):
            out[i] = a[i] / b[i]
    elif op == POW:
        for i in range(out.shape[0]):
            out[i] = a[i] ** b[i]
    elif op == POWI:
        for i in range(out.shape[0]):
            out[i] = _integer_power(a[i], exponent)
    elif op == NEG:
        for i in range(out.shape[0]):
            out[i] = -a[i]
    elif op == SQUARE:
        for i in range(out.shape[0]):
            out[i] = a[i] * a[i]
    elif op == TANH:
        for i in range(out.shape[0]):
            out[i] = math.tanh(a[i])
    elif op == EXP:
        for i in range(out.shape[0]):
            out[i] = math.exp(a[i])
    elif op == LOG:
        for i in range(out.shape[0]):
            out[i] = math.log(a[i])
    elif op == SQRT:
        for i in range(out.shape[0]):
            out[i] = math.sqrt(a[i])
    elif op == ABS:
        for i in range(out.shape[0]):
            out[i] = abs(a[i])
    elif op == SIGN:
        for i in range(out.shape[0]):
            out[i] = _sign(a[i])
    elif op == MAX:
        for i in range(out.shape[0]):
            u, v = a[i], b[i]
            out[i] = u if u >= v or math.isnan(u) else v
    elif op == MIN:
        for i in range(out.shape[0]):
            u, v = a[i], b[i]
            out[i] = u if u <= v or math.isnan(u) else v


@njit(**OPTIONS)
def _pull_first(op, tape, adjoints, out, a, b, n):
    """Add what the adjoint of one instruction's result gives its first operand."""
    if op in (ADD, SUB):
        for i in range(n):
            adjoints[a, i] += adjoints[out, i]
    elif op == MUL:
        for i in range(n):
            adjoints[a, i] += adjoints[out, i] * tape[b, i]
    elif op == DIV:
        for i in range(n):
            adjoints[a, i] += adjoints[out, i] / tape[b, i]
    elif op == POW:
        for i in range(n):
            exponent = tape[b, i]
            adjoints[a, i] += adjoints[out, i] * exponent * tape[a, i] ** (exponent - 1.0)
    elif op == POWI:
        if b != 0:
            for i in range(n):
                adjoints[a, i] += adjoints[out, i] * b * _integer_power(tape[a, i], b - 1)
    elif op == NEG:
        for i in range(n):
            adjoints[a, i] -= adjoints[out, i]
    elif op == SQUARE:
        for i in range(n):
            adjoints[a, i] += 2.0 * adjoints[out, i] * tape[a, i]
    elif op == TANH:
        for i in range(n):
            value = tape[out, i]
            adjoints[a, i] += adjoints[out, i] * (1.0 - value * value)
    elif op == EXP:
        for i in range(n):
            adjoints[a, i] += adjoints[out, i] * tape[out, i]
    elif op == LOG:
        for i in range(n):
            adjoints[a, i] += adjoints[out, i] / tape[a, i]
    elif op == SQRT:
        for i in range(n):
            adjoints[a, i] += 0.5 * adjoints[out, i] / tape[out, i]
    elif op == ABS:
        for i in range(n):
            adjoints[a, i] += adjoints[out, i] * _sign(tape[a, i])
    elif op == MAX:
        for i in range(n):
            adjoints[a, i] += adjoints[out, i] if tape[a, i] >= tape[b, i] else 0.0
    elif op == MIN:
        for i in range(n):
            adjoints[a, i] += adjoints[out, i] if tape[a, i] <= tape[b, i] else 0.0


@njit(**OPTIONS)
def _pull_second(op, tape, adjoints, out, a, b, n):
    """Add what the adjoint of one two-operand instruction's result gives its second operand."""
    if op == ADD:
        for i in range(n):
            adjoints[b, i] += adjoints[out, i]
    elif op == SUB:
        for i in range(n):
            adjoints[b, i] -= adjoints[out, i]
    elif op == MUL:
        for i in range(n):
            adjoints[b, i] += adjoints[out, i] * tape[a, i]
    elif op == DIV:
        for i in range(n):
            adjoints[b, i] -= adjoints[out, i] * tape[out, i] / tape[b, i]
    elif op == POW:
        for i in range(n):
            if tape[a, i] > 0.0:
                adjoints[b, i] += adjoints[out, i] * tape[out, i] * math.log(tape[a, i])
    elif op == MAX:
        for i in range(n):
            adjoints[b, i] += 0.0 if tape[a, i] >= tape[b, i] else adjoints[out, i]
    elif op == MIN:
        for i in range(n):
            adjoints[b, i] += 0.0 if tape[a, i] <= tape[b, i] else adjoints[out, i]


@njit(inline="always", **OPTIONS)
def _is_binary(op):
    return op < POWI or op >= MAX


@njit(**OPTIONS)
def _run(program, level, tape, n):
    """Run all instructions of one level over the first `n` entries of the registers, in order."""
    first = program.levels.shape[0] - program.code.shape[0]
    for k in range(program.code.shape[0]):
        if program.levels[first + k] == level:
            op, a, b = program.code[k, 0], program.code[k, 1], program.code[k, 2]
            _apply(op, tape[first + k, :n], tape[a, :n], tape[b if _is_binary(op) else a, :n], b)


@njit(**OPTIONS)
def _pull(program, level, tape, adjoints, n):
    """Pull adjoints back through all instructions of one level, last first."""
    first = program.levels.shape[0] - program.code.shape[0]
    for k in range(program.code.shape[0] - 1, -1, -1):
        out = first + k
        if program.levels[out] == level:
            op, a, b = program.code[k, 0], program.code[k, 1], program.code[k, 2]
            if program.wanted[a]:
                _pull_first(op, tape, adjoints, out, a, b, n)
            if _is_binary(op) and program.wanted[b]:
                _pull_second(op, tape, adjoints, out, a, b, n)


class Workspace(NamedTuple):
    """Memory of one group of problems.

    A lane is the neuron of one problem seeing one sample: lane ``b * n_group + g``. A block holds a stretch
    of `width` synapses of every lane; `tape` and `flat` are the same memory.
    """

    neurons: np.ndarray  # (n_registers, n_lanes): what all synapses of a neuron share
    tape: np.ndarray  # (n_registers, n_lanes, width)
    flat: np.ndarray  # (n_registers, n_lanes * width)
    change: np.ndarray  # (n_group, n_inputs)


@njit(**OPTIONS)
def _n_lanes(n_group, n_inputs, batch):
    return n_group * max(1, min(batch, BLOCK // (n_group * min(n_inputs, BLOCK))))


@njit(**OPTIONS)
def workspace_size(n_registers, n_group, n_inputs, batch):
    """Numbers that :class:`Workspace` holds."""
    n_lanes = _n_lanes(n_group, n_inputs, batch)
    return n_registers * n_lanes * (1 + min(n_inputs, BLOCK)) + n_group * n_inputs


@njit(**OPTIONS)
def _workspace(program, memory, n_group, n_inputs, batch):
    """Lay a group's memory out, and write the constants of the program into it."""
    n_registers = program.levels.shape[0]
    width = min(n_inputs, BLOCK)
    n_lanes = _n_lanes(n_group, n_inputs, batch)
    first = n_registers * n_lanes
    second = first + first * width
    neurons = memory[:first].reshape(n_registers, n_lanes)
    flat = memory[first:second].reshape(n_registers, n_lanes * width)
    change = memory[second : second + n_group * n_inputs].reshape(n_group, n_inputs)
    for c in range(program.constants.shape[0]):
        for lane in range(n_lanes):
            neurons[N_VARIABLES + c, lane] = program.constants[c]
        for i in range(n_lanes * width):
            flat[N_VARIABLES + c, i] = program.constants[c]
    return Workspace(neurons, flat.reshape(n_registers, n_lanes, width), flat, change)


@njit(**OPTIONS)
def _borrowed_rule(program):
    return InterpretedRule(
        borrowed(program.code), borrowed(program.constants), program.output, borrowed(program.levels),
        borrowed(program.spread), borrowed(program.gathered), borrowed(program.wanted),
        borrowed(program.cleared),
    )  # fmt: skip


@njit(inline="always", **OPTIONS)
def _dot(a, b):
    total = 0.0
    for i in range(a.shape[0]):
        total += a[i] * b[i]
    return total


@njit(inline="always", **OPTIONS)
def _run_neurons(program, samples, picks, w, space):
    """Outputs and what depends on them alone, for a few samples; spread over the synapses that read it."""
    n_group = w.shape[0]
    n_lanes = n_group * picks.shape[0]
    for b in range(picks.shape[0]):
        for g in range(n_group):
            space.neurons[Y, b * n_group + g] = _dot(samples[g, picks[b]], w[g])
    _run(program, 0, space.neurons, n_lanes)
    for r in program.spread:
        for lane in range(n_lanes):
            value = space.neurons[r, lane]
            row = space.tape[r, lane]
            for i in range(row.shape[0]):
                row[i] = value


@njit(inline="always", **OPTIONS)
def _run_synapses(program, samples, picks, w, start, n, space):
    """Updates of synapses ``start : start + n`` of every lane."""
    n_group = w.shape[0]
    for b in range(picks.shape[0]):
        for g in range(n_group):
            row = samples[g, picks[b], start : start + n]
            v = w[g, start : start + n]
            to_x = space.tape[X, b * n_group + g]
            to_w = space.tape[W, b * n_group + g]
            for i in range(v.shape[0]):
                to_x[i] = row[i]
                to_w[i] = v[i]
    _run(program, 1, space.flat, n * n_group * picks.shape[0])


@njit(inline="always", **OPTIONS)
def _add(factor, source, target):
    for i in range(target.shape[0]):
        target[i] += factor * source[i]


@njit(**OPTIONS)
def _step(program, samples, picks, w, alive, eta, space):
    """One update of a group of problems from one sample or the mean over a batch, in place."""
    n_group, n_inputs = w.shape
    batch = picks.shape[0]
    _, n_lanes, width = space.tape.shape
    chunk = n_lanes // n_group
    if batch > 1:
        space.change[:] = 0.0
    for low in range(0, batch, chunk):
        part = picks[low : low + chunk]
        _run_neurons(program, samples, part, w, space)
        for start in range(0, n_inputs, width):
            stop = min(start + width, n_inputs)
            _run_synapses(program, samples, part, w, start, stop - start, space)
            for b in range(part.shape[0]):
                for g in range(n_group):
                    update = space.tape[program.output, b * n_group + g]
                    if batch > 1:
                        _add(1.0, update, space.change[g, start:stop])
                    elif alive[g]:
                        _add(eta, update, w[g, start:stop])
    if batch > 1:
        for g in range(n_group):
            if alive[g]:
                _add(eta / batch, space.change[g], w[g])


@njit(**OPTIONS)
def simulate(
    rule, edges, first, last, inputs, weights, order, eta, n_steps, bound, every, record, blow_up, memory
):
    """Run the problems ``edges[k] : edges[k + 1]`` of some groups in place.

    See the polynomial kernel of the same name; ``memory (n_groups, size)`` has the size of a workspace.
    """
    program, picks = _borrowed_rule(rule), borrowed(order)
    n_rounds, batch = order.shape
    for group in range(first, last):
        low, high = edges[group], edges[group + 1]
        samples, w = borrowed(inputs[low:high]), borrowed(weights[low:high])
        space = _workspace(program, borrowed(memory[group]), high - low, w.shape[1], batch)
        alive = np.ones(high - low, np.bool_)
        blow_up[low:high] = -1
        for t in range(n_steps):
            if t % every == 0:
                record[low:high, t // every] = w
            _step(program, samples, picks[t % n_rounds], w, alive, eta, space)
            for g in range(high - low):
                if alive[g] and not _dot(w[g], w[g]) <= bound * bound:
                    blow_up[low + g] = t + 1
                    alive[g] = False
                    w[g] = 0.0


@njit(inline="always", **OPTIONS)
def _seed(program, adjoint, step, start, n, n_lanes, pulls):
    """Start the adjoints of a block: those of its result are given, all others are zero."""
    n_group = adjoint.shape[0]
    for r in program.cleared:
        row = pulls.flat[r, : n * n_lanes]
        for i in range(row.shape[0]):
            row[i] = 0.0
    for low in range(0, n_lanes, n_group):
        for g in range(n_group):
            row = pulls.tape[program.output, low + g]
            source = adjoint[g, start : start + n]
            for i in range(source.shape[0]):
                row[i] = step * source[i]


@njit(inline="always", **OPTIONS)
def _gather(program, n, n_lanes, pulls):
    """Add up over synapses what reaches the registers that a neuron's synapses share."""
    for r in program.gathered:
        for lane in range(n_lanes):
            row = pulls.tape[r, lane, :n]
            total = 0.0
            for i in range(row.shape[0]):
                total += row[i]
            pulls.neurons[r, lane] += total


@njit(**OPTIONS)
def _step_back(program, samples, picks, w, eta, adjoint, space, pulls, total):
    """Pull `adjoint` = dL/dw back through one step; `total` collects what reaches the constants.

    `pulls` holds the adjoints of what `space` holds.
    """
    n_group, n_inputs = w.shape
    batch = picks.shape[0]
    _, n_lanes, width = space.tape.shape
    chunk = n_lanes // n_group
    if batch > 1:
        pulls.change[:] = 0.0
    change = pulls.change if batch > 1 else adjoint
    for low in range(0, batch, chunk):
        part = picks[low : low + chunk]
        n_lanes = n_group * part.shape[0]
        _run_neurons(program, samples, part, w, space)
        pulls.neurons[:] = 0.0
        for start in range(0, n_inputs, width):
            stop = min(start + width, n_inputs)
            n = stop - start
            _run_synapses(program, samples, part, w, start, n, space)
            _seed(program, adjoint, eta / batch, start, n, n_lanes, pulls)
            _pull(program, 1, space.flat, pulls.flat, n * n_lanes)
            for b in range(part.shape[0]):
                for g in range(n_group):
                    _add(1.0, pulls.tape[W, b * n_group + g], change[g, start:stop])
            _gather(program, n, n_lanes, pulls)
        _pull(program, 0, space.neurons, pulls.neurons, n_lanes)
        for b in range(part.shape[0]):
            for g in range(n_group):
                lane = b * n_group + g
                _add(pulls.neurons[Y, lane], samples[g, part[b]], change[g])
                for c in range(program.constants.shape[0]):
                    total[g, c] += pulls.neurons[N_VARIABLES + c, lane]
    if batch > 1:
        for g in range(n_group):
            _add(1.0, change[g], adjoint[g])


@njit(**OPTIONS)
def gradient(
    rule, edges, first, last, inputs, order, eta, n_steps, every, record, blow_up, adjoint, result, memory,
    adjoint_memory, path_memory,
):  # fmt: skip
    """Gradient of some groups' losses with respect to the constants, by reverse mode.

    Arguments and checkpointing are those of the polynomial kernel of the same name;
    ``result`` has shape ``(n_problems, n_constants)``; `adjoint_memory` is like `memory`, and
    ``path_memory (n_groups, size)`` holds the weights of `every` steps of a group.
    """
    program, order = _borrowed_rule(rule), borrowed(order)
    n_rounds, batch = order.shape
    for group in range(first, last):
        low, high = edges[group], edges[group + 1]
        samples, a = borrowed(inputs[low:high]), borrowed(adjoint[low:high])
        total = borrowed(result[low:high])
        n_group, n_inputs = a.shape
        space = _workspace(program, borrowed(memory[group]), n_group, n_inputs, batch)
        pulls = _workspace(program, borrowed(adjoint_memory[group]), n_group, n_inputs, batch)
        path = borrowed(path_memory[group, : every * a.size]).reshape(every, n_group, n_inputs)
        alive = blow_up[low:high] < 0
        total[:] = 0.0
        for segment in range((n_steps - 1) // every, -1, -1):
            start = segment * every
            stop = min(start + every, n_steps)
            path[0] = record[low:high, segment]
            for g in range(high - low):
                if not alive[g]:
                    path[0, g] = 0.0
            for t in range(start, stop - 1):
                path[t - start + 1] = path[t - start]
                _step(program, samples, order[t % n_rounds], path[t - start + 1], alive, eta, space)
            for t in range(stop - 1, start - 1, -1):
                picks = order[t % n_rounds]
                _step_back(program, samples, picks, path[t - start], eta, a, space, pulls, total)
        for g in range(high - low):
            if not alive[g]:
                a[g] = 0.0
                total[g] = 0.0
