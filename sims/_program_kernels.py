"""Kernels of one linear neuron under any expression: an interpreter of programs and its reverse mode.

Instructions run over blocks of synapses in lock-step, so that reading one costs little beside its
arithmetic. A block is a stretch of one neuron's synapses or, when neurons are small, all synapses of a group
of problems. Registers that depend on outputs and constants alone hold one value a problem; where a synapse
instruction reads such a register it is spread over the block first.

Everything these kernels call lives in this file, because the compilation cache does not notice edits in
another one. Shapes are those of the polynomial kernels; a program is ``code (n_instructions, 3)``,
``levels (n_registers,)`` (1 where a register differs between synapses), ``spread (n_registers,)`` and
``output``.
"""

import math

import numpy as np
from numba import njit, prange

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


@njit(inline="always", **OPTIONS)
def _integer_power(base, exponent):
    result = 1.0
    for _ in range(abs(exponent)):
        result *= base
    return 1.0 / result if exponent < 0 else result


@njit(inline="always", **OPTIONS)
def _sign(value):
    return math.nan if math.isnan(value) else float((value > 0.0) - (value < 0.0))


@njit(**OPTIONS)
def _apply(op, out, a, b, exponent, n):
    """Run one instruction over the first `n` entries of its registers."""
    if op == ADD:
        for i in range(n):
            out[i] = a[i] + b[i]
    elif op == SUB:
        for i in range(n):
            out[i] = a[i] - b[i]
    elif op == MUL:
        for i in range(n):
            out[i] = a[i] * b[i]
    elif op == DIV:
        for i in range(n):
            out[i] = a[i] / b[i]
    elif op == POW:
        for i in range(n):
            out[i] = a[i] ** b[i]
    elif op == POWI:
        for i in range(n):
            out[i] = _integer_power(a[i], exponent)
    elif op == NEG:
        for i in range(n):
            out[i] = -a[i]
    elif op == SQUARE:
        for i in range(n):
            out[i] = a[i] * a[i]
    elif op == TANH:
        for i in range(n):
            out[i] = math.tanh(a[i])
    elif op == EXP:
        for i in range(n):
            out[i] = math.exp(a[i])
    elif op == LOG:
        for i in range(n):
            out[i] = math.log(a[i])
    elif op == SQRT:
        for i in range(n):
            out[i] = math.sqrt(a[i])
    elif op == ABS:
        for i in range(n):
            out[i] = abs(a[i])
    elif op == SIGN:
        for i in range(n):
            out[i] = _sign(a[i])
    elif op == MAX:
        for i in range(n):
            out[i] = a[i] if a[i] >= b[i] or math.isnan(a[i]) else b[i]
    elif op == MIN:
        for i in range(n):
            out[i] = a[i] if a[i] <= b[i] or math.isnan(a[i]) else b[i]


@njit(**OPTIONS)
def _pull(op, g, out, a, b, ga, gb, exponent, n):
    """Add to `ga`, `gb` what the adjoint `g` of one instruction's result gives its operands."""
    if op == ADD:
        for i in range(n):
            ga[i] += g[i]
        for i in range(n):
            gb[i] += g[i]
    elif op == SUB:
        for i in range(n):
            ga[i] += g[i]
        for i in range(n):
            gb[i] -= g[i]
    elif op == MUL:
        for i in range(n):
            ga[i] += g[i] * b[i]
        for i in range(n):
            gb[i] += g[i] * a[i]
    elif op == DIV:
        for i in range(n):
            ga[i] += g[i] / b[i]
        for i in range(n):
            gb[i] -= g[i] * out[i] / b[i]
    elif op == POW:
        for i in range(n):
            ga[i] += g[i] * b[i] * a[i] ** (b[i] - 1.0)
        for i in range(n):
            if a[i] > 0.0:
                gb[i] += g[i] * out[i] * math.log(a[i])
    elif op == POWI:
        if exponent != 0:
            for i in range(n):
                ga[i] += g[i] * exponent * _integer_power(a[i], exponent - 1)
    elif op == NEG:
        for i in range(n):
            ga[i] -= g[i]
    elif op == SQUARE:
        for i in range(n):
            ga[i] += 2.0 * g[i] * a[i]
    elif op == TANH:
        for i in range(n):
            ga[i] += g[i] * (1.0 - out[i] * out[i])
    elif op == EXP:
        for i in range(n):
            ga[i] += g[i] * out[i]
    elif op == LOG:
        for i in range(n):
            ga[i] += g[i] / a[i]
    elif op == SQRT:
        for i in range(n):
            ga[i] += 0.5 * g[i] / out[i]
    elif op == ABS:
        for i in range(n):
            ga[i] += g[i] * _sign(a[i])
    elif op == MAX:
        for i in range(n):
            if a[i] >= b[i]:
                ga[i] += g[i]
            else:
                gb[i] += g[i]
    elif op == MIN:
        for i in range(n):
            if a[i] <= b[i]:
                ga[i] += g[i]
            else:
                gb[i] += g[i]


@njit(inline="always", **OPTIONS)
def _is_binary(op):
    return op < POWI or op >= MAX


@njit(inline="always", **OPTIONS)
def _run_level(code, levels, level, first, tape, n):
    """Run all instructions of one level over `tape`, in order."""
    for k in range(code.shape[0]):
        if levels[first + k] == level:
            op, a, b = code[k]
            _apply(op, tape[first + k], tape[a], tape[b if _is_binary(op) else a], b, n)


@njit(inline="always", **OPTIONS)
def _pull_level(code, levels, level, first, tape, adjoints, n):
    """Pull adjoints back through all instructions of one level, last first."""
    for k in range(code.shape[0] - 1, -1, -1):
        r = first + k
        if levels[r] == level:
            op, a, b = code[k]
            c = b if _is_binary(op) else a
            _pull(op, adjoints[r], tape[r], tape[a], tape[c], adjoints[a], adjoints[c], b, n)


@njit(**OPTIONS)
def _outputs(samples, sample, weights, neurons):
    """Outputs of a group's neurons for one sample each."""
    for g in range(weights.shape[0]):
        total = 0.0
        for i in range(weights.shape[1]):
            total += samples[g, sample, i] * weights[g, i]
        neurons[Y, g] = total


@njit(**OPTIONS)
def _load(samples, sample, weights, start, stop, spread, neurons, tape):
    """Fill a block's tape with inputs, weights and the neuron registers that its instructions read."""
    width = stop - start
    for g in range(weights.shape[0]):
        at = g * width
        for i in range(width):
            tape[X, at + i] = samples[g, sample, start + i]
        for i in range(width):
            tape[W, at + i] = weights[g, start + i]
    for r in range(spread.shape[0]):
        if spread[r]:
            for g in range(weights.shape[0]):
                tape[r, g * width : (g + 1) * width] = neurons[r, g]


@njit(**OPTIONS)
def _step(program, samples, picks, weights, alive, eta, neurons, tape, change):
    """One update of a group of problems from one sample or the mean over a batch, in place."""
    code, levels, spread, output = program
    first = levels.shape[0] - code.shape[0]
    n_group, n_inputs = weights.shape
    width = tape.shape[1] // n_group if n_group > 1 else tape.shape[1]
    change[:] = 0.0
    for b in range(picks.shape[0]):
        _outputs(samples, picks[b], weights, neurons)
        _run_level(code, levels, 0, first, neurons, n_group)
        for start in range(0, n_inputs, width):
            stop = min(start + width, n_inputs)
            n = stop - start
            _load(samples, picks[b], weights, start, stop, spread, neurons, tape)
            _run_level(code, levels, 1, first, tape, n * n_group)
            for g in range(n_group):
                for i in range(n):
                    change[g, start + i] += tape[output, g * n + i]
    step = eta / picks.shape[0]
    for g in range(n_group):
        if alive[g]:
            for i in range(n_inputs):
                weights[g, i] += step * change[g, i]


@njit(**OPTIONS)
def _n_groups(n_problems, n_inputs):
    """Number of groups: even, so that two threads share evenly, and about one block of synapses in each."""
    size = max(1, BLOCK // n_inputs)
    return min(n_problems, 2 * ((n_problems + 2 * size - 1) // (2 * size)))


@njit(inline="always", **OPTIONS)
def _block_width(n_group, n_inputs):
    return n_inputs if n_group > 1 else min(n_inputs, BLOCK)


@njit(parallel=True, **OPTIONS)
def simulate(program, constants, inputs, weights, order, eta, n_steps, bound, every, record, blow_up):
    """Run every problem for `n_steps` steps, in place; see the polynomial kernel of the same name."""
    n_problems, _, n_inputs = inputs.shape
    n_registers = program[1].shape[0]
    n_groups = _n_groups(n_problems, n_inputs)
    for group in prange(n_groups):
        low = group * n_problems // n_groups
        high = (group + 1) * n_problems // n_groups
        n_group = high - low
        neurons = np.empty((n_registers, n_group))
        for c in range(constants.shape[0]):
            neurons[N_VARIABLES + c] = constants[c]
        tape = np.empty((n_registers, n_group * _block_width(n_group, n_inputs)))
        change = np.empty((n_group, n_inputs))
        alive = np.ones(n_group, np.bool_)
        w = weights[low:high]
        blow_up[low:high] = -1
        for t in range(n_steps):
            if t % every == 0:
                record[low:high, t // every] = w
            _step(program, inputs[low:high], order[t % order.shape[0]], w, alive, eta, neurons, tape, change)
            for g in range(n_group):
                norm = 0.0
                for i in range(n_inputs):
                    norm += w[g, i] * w[g, i]
                if not norm <= bound * bound:
                    blow_up[low + g] = t + 1
                    alive[g] = False
                    w[g] = 0.0


@njit(**OPTIONS)
def _backward(
    program, samples, sample, weights, step, adjoint, total, neurons, neuron_adjoints, tape, adjoints
):
    """Pull `adjoint` = dL/dw back through one sample's update, adding to `total`.

    `neuron_adjoints` collects what reaches the constants; its other rows are set to zero first.
    """
    code, levels, spread, output = program
    n_registers = levels.shape[0]
    first = n_registers - code.shape[0]
    n_group, n_inputs = weights.shape
    width = tape.shape[1] // n_group if n_group > 1 else tape.shape[1]
    _outputs(samples, sample, weights, neurons)
    _run_level(code, levels, 0, first, neurons, n_group)
    neuron_adjoints[:N_VARIABLES] = 0.0
    neuron_adjoints[first:] = 0.0
    for start in range(0, n_inputs, width):
        stop = min(start + width, n_inputs)
        n = stop - start
        _load(samples, sample, weights, start, stop, spread, neurons, tape)
        _run_level(code, levels, 1, first, tape, n * n_group)
        adjoints[:, : n * n_group] = 0.0
        for g in range(n_group):
            for i in range(n):
                adjoints[output, g * n + i] = step * adjoint[g, start + i]
        _pull_level(code, levels, 1, first, tape, adjoints, n * n_group)
        for g in range(n_group):
            for i in range(n):
                total[g, start + i] += adjoints[W, g * n + i]
        for r in range(n_registers):
            if spread[r]:
                for g in range(n_group):
                    share = 0.0
                    for i in range(n):
                        share += adjoints[r, g * n + i]
                    neuron_adjoints[r, g] += share
    _pull_level(code, levels, 0, first, neurons, neuron_adjoints, n_group)
    for g in range(n_group):
        for i in range(n_inputs):
            total[g, i] += neuron_adjoints[Y, g] * samples[g, sample, i]


@njit(parallel=True, **OPTIONS)
def gradient(program, constants, inputs, order, eta, n_steps, every, record, blow_up, adjoint, result):
    """Gradient of every problem's loss with respect to the constants, by reverse mode.

    Arguments and checkpointing are those of the polynomial kernel of the same name;
    ``result`` has shape ``(n_problems, n_constants)``.
    """
    n_problems, _, n_inputs = inputs.shape
    n_registers = program[1].shape[0]
    n_constants = constants.shape[0]
    batch = order.shape[1]
    n_groups = _n_groups(n_problems, n_inputs)
    for group in prange(n_groups):
        low = group * n_problems // n_groups
        high = (group + 1) * n_problems // n_groups
        n_group = high - low
        neurons = np.empty((n_registers, n_group))
        neuron_adjoints = np.zeros((n_registers, n_group))
        for c in range(n_constants):
            neurons[N_VARIABLES + c] = constants[c]
        tape = np.empty((n_registers, n_group * _block_width(n_group, n_inputs)))
        adjoints = np.empty_like(tape)
        change = np.empty((n_group, n_inputs))
        alive = blow_up[low:high] < 0
        path = np.empty((every, n_group, n_inputs))
        samples = inputs[low:high]
        a = adjoint[low:high]
        for g in range(n_group):
            if not alive[g]:
                a[g] = 0.0
        for segment in range((n_steps - 1) // every, -1, -1):
            start = segment * every
            stop = min(start + every, n_steps)
            path[0] = record[low:high, segment]
            for g in range(n_group):
                if not alive[g]:
                    path[0, g] = 0.0
            for t in range(start, stop - 1):
                s = t - start
                path[s + 1] = path[s]
                picks = order[t % order.shape[0]]
                _step(program, samples, picks, path[s + 1], alive, eta, neurons, tape, change)
            for t in range(stop - 1, start - 1, -1):
                w = path[t - start]
                picks = order[t % order.shape[0]]
                change[:] = 0.0
                for b in range(batch):
                    _backward(
                        program,
                        samples,
                        picks[b],
                        w,
                        eta / batch,
                        a,
                        change,
                        neurons,
                        neuron_adjoints,
                        tape,
                        adjoints,
                    )
                for g in range(n_group):
                    for i in range(n_inputs):
                        a[g, i] += change[g, i]
        for g in range(n_group):
            for c in range(n_constants):
                result[low + g, c] = neuron_adjoints[N_VARIABLES + c, g] if alive[g] else 0.0
