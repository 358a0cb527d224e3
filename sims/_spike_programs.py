"""Rules inside the spiking kernels: for one synapse, or for a row of synapses in lock-step."""

from sims._compiled import helper
from sims._operations import ADD, DIV, MUL, NEG, SQUARE, SUB, second_operand, value_of

N_SPLINE_HEADER = 4


@helper
def run_registers(code, constants, n_variables, registers):
    """Run a program once; `registers` (n_registers,) begin with the values of the variables."""
    for n in range(constants.shape[0]):
        registers[n_variables + n] = constants[n]
    first = n_variables + constants.shape[0]
    for n in range(code.shape[0]):
        op, i, j = code[n, 0], code[n, 1], code[n, 2]
        registers[first + n] = value_of(op, registers[i], registers[second_operand(op, i, j)], j)


@helper(forceinline=True)
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
    """``sum_k g_k(trace) * weight**k``; the curves are constant beyond their ends, NaN stays NaN.

    The numbers are: the lowest trace, pieces per unit of the trace, number of pieces, number of powers of the
    weight; then, piece by piece and power by power, the four coefficients of a cubic in the position within
    the piece.
    """
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
