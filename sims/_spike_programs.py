"""Rules inside the spiking kernels: for one synapse, or for a row of synapses in lock-step.

Both spiking kernels call these functions.
"""

from typing import NamedTuple

import numpy as np

from sims._compiled import helper
from sims._operations import ADD, DIV, MUL, NEG, SQUARE, SUB, second_operand, value_of

N_VARIABLES = 2
"""Programs of spiking slots have a trace and the weight, in this order; constants and results follow."""


NOTHING = -1
"""Output register of an update that is always zero."""

SPLINES = -2
"""Output register of an update by splines, whose numbers stand where a program has its constants."""

N_SPLINE_HEADER = 4
SPLINE_ROW = 2
"""Row of the tape that takes the result of splines, behind traces and weights."""


class KernelRule(NamedTuple):
    """A spiking rule as the kernels take it.

    Where `is_linear`, an update is ``alpha + kappa * x_post`` at a presynaptic spike and
    ``beta + gamma * x_pre`` at a postsynaptic one. Elsewhere programs say it, whose output
    register is `NOTHING` for no update at all. Where it is `SPLINES`, the update is
    ``sum_k g_k(trace) * w**k`` and the constants are: the lowest trace, pieces per unit of the
    trace, number of pieces, number of powers of the weight; then, piece by piece and power by
    power, the four coefficients of a cubic in the position within the piece.
    Time constants are in ms.
    """

    is_linear: bool
    alpha: float
    beta: float
    gamma: float
    kappa: float
    tau_pre: float
    tau_post: float
    pre_code: np.ndarray
    pre_constants: np.ndarray
    pre_output: int
    post_code: np.ndarray
    post_constants: np.ndarray
    post_output: int


@helper(inline="always")
def clipped(weight, largest):
    """Weight within its bounds; NaN stays NaN, so that the caller sees it."""
    return 0.0 if weight < 0.0 else largest if weight > largest else weight


@helper
def run_registers(code, constants, n_variables, registers):
    """Run a program once; `registers` (n_registers,) begin with the values of the variables."""
    for n in range(constants.shape[0]):
        registers[n_variables + n] = constants[n]
    first = n_variables + constants.shape[0]
    for n in range(code.shape[0]):
        op, i, j = code[n, 0], code[n, 1], code[n, 2]
        registers[first + n] = value_of(op, registers[i], registers[second_operand(op, i, j)], j)


@helper
def synapse_update(code, constants, output, trace, weight, registers):
    """Result of a program for one synapse; `registers` is workspace of shape (n_registers,)."""
    registers[0] = trace
    registers[1] = weight
    run_registers(code, constants, N_VARIABLES, registers)
    return registers[output]


@helper
def run_rows(code, constants, n_variables, tape, n):
    """Run a program over the first `n` synapses of a `tape` (n_registers, at least n).

    The first rows of the tape hold the variables; the row of the program's output is the result.
    """
    for c in range(constants.shape[0]):
        for s in range(n):
            tape[n_variables + c, s] = constants[c]
    first = n_variables + constants.shape[0]
    for r in range(code.shape[0]):
        op, i, j = code[r, 0], code[r, 1], code[r, 2]
        out, a = tape[first + r], tape[i]
        if op == MUL:
            b = tape[j]
            for s in range(n):
                out[s] = a[s] * b[s]
        elif op == ADD:
            b = tape[j]
            for s in range(n):
                out[s] = a[s] + b[s]
        elif op == SUB:
            b = tape[j]
            for s in range(n):
                out[s] = a[s] - b[s]
        elif op == DIV:
            b = tape[j]
            for s in range(n):
                out[s] = a[s] / b[s]
        elif op == NEG:
            for s in range(n):
                out[s] = -a[s]
        elif op == SQUARE:
            for s in range(n):
                out[s] = a[s] * a[s]
        else:
            b = tape[second_operand(op, i, j)]
            for s in range(n):
                out[s] = value_of(op, a[s], b[s], j)


@helper(inline="always")
def spline_value(numbers, trace, weight):
    """``sum_k g_k(trace) * weight**k``; the curves are constant beyond their ends, NaN stays NaN."""
    n_pieces, n_powers = int(numbers[2]), int(numbers[3])
    z = (trace - numbers[0]) * numbers[1]
    z = 0.0 if z < 0.0 else float(n_pieces) if z > n_pieces else z
    piece = min(int(z), n_pieces - 1) if z == z else 0
    u = z - piece
    at = N_SPLINE_HEADER + 4 * n_powers * piece
    total, power = 0.0, 1.0
    for _ in range(n_powers):
        cubic = numbers[at] + u * (numbers[at + 1] + u * (numbers[at + 2] + u * numbers[at + 3]))
        total += cubic * power
        power *= weight
        at += 4
    return total


@helper
def spline_update(numbers, trace, weight):
    """Result of splines for one synapse."""
    return spline_value(numbers, trace, weight)


@helper
def updated_row(code, constants, output, tape, n):
    """Run a program or splines over the first `n` synapses; return the row of the `tape` with the result."""
    if output == SPLINES:
        traces, weights, out = tape[0], tape[1], tape[SPLINE_ROW]
        for s in range(n):
            out[s] = spline_value(constants, traces[s], weights[s])
        return SPLINE_ROW
    run_rows(code, constants, N_VARIABLES, tape, n)
    return output
