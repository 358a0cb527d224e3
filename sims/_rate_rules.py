"""In which form rules of rate circuits are run: as tables, as programs over outputs, or for every synapse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sims._collapse import SQUARE_POWER, quadratic_form, table_form
from sims.circuit import Slot, Variable
from sims.rules import BINARY_OPS, PolynomialRule, Program, SplineRule

__all__ = ["BEYOND_LINEAR", "Part", "Rule", "canonical", "part_of"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Rule = PolynomialRule | Program | SplineRule


@dataclass(frozen=True)
class Part:
    """A rule in the form of the kernels, see :class:`sims._quadratic_kernels.QuadraticRule`."""

    form: str  # "table", "of state", "collapsed" or "of synapses"
    is_linear: bool
    needs_all: bool
    table: FloatArray
    outputs: IntArray
    power: int  # of the weight, where the square stands
    constants: FloatArray  # of the registers behind that of the output, with room for states
    code: IntArray
    n_shared: int  # instructions that synapses share
    n_registers: int
    reads: tuple[tuple[int, Variable], ...]  # registers of states, in the order of the slot's variables
    n_gradient: int
    by_parameter: Callable[[FloatArray], FloatArray]  # from (n_problems, n_gradient) as kernels give it


NO_TABLE = np.zeros((3, 9))
NO_CODE = np.empty((0, 3), dtype=np.int64)
NO_OUTPUTS = np.full(9, -1, dtype=np.int64)
FEW_TERMS = 9
"""Up to so many terms a table over a state is a shorter program."""

BEYOND_LINEAR = (np.add.outer(np.arange(3), np.arange(3)) > 1)[:, None, :].repeat(3, axis=1)


def part_of(slot: Slot, rule: Rule, for_gradient: bool) -> Part:
    """Choose the form of a rule.

    Raises
    ------
    ValueError
        If the rule does not fit to the slot.
    """
    if isinstance(rule, SplineRule):
        raise ValueError("A rule of splines runs in a circuit of one linear neuron without states alone.")
    if isinstance(rule, PolynomialRule):
        n = rule.coefficients.ndim
        if n == 3:
            is_linear = not rule.coefficients[BEYOND_LINEAR].any()
            return _table_part(rule.coefficients, is_linear, True, lambda by_term: by_term)
        if n != len(slot.names):
            raise ValueError(f"{slot.name} has {', '.join(slot.names)}, got a table of {n} variables.")
        return _large_table_part(slot, rule, for_gradient)
    program, states = canonical(slot, rule)
    table = table_form(program)
    if table is not None:
        slopes = table.derivatives.reshape(27, -1)
        return _table_part(
            table.coefficients, table.is_linear, not table.is_linear,
            lambda by_term: np.einsum("pt,tc->pc", by_term, slopes), table.power,
        )  # fmt: skip
    part, first = _program_part(
        program.variables, program.neuron_level, len(program.constants), program.code.tobytes(),
        program.output, states,
    )  # fmt: skip
    return _with_constants(part, first, program.constants)


def _with_constants(part: Part, first: int, values: FloatArray) -> Part:
    constants = part.constants.copy()
    constants[first : first + values.size] = values.ravel()
    return replace(part, constants=constants)


@lru_cache(maxsize=1024)
def _program_part(
    names: tuple[str, ...],
    levels: tuple[bool, ...],
    n_constants: int,
    code: bytes,
    output: int,
    states: tuple[Variable, ...],
) -> tuple[Part, int]:
    """Part of a program that is no table, whatever its constants are, and where these begin."""
    rows = np.frombuffer(code, dtype=np.int64).reshape(-1, 3)
    program = Program.build(
        names, levels, np.ones(n_constants), [(int(op), int(a), int(b)) for op, a, b in rows], output
    )
    n, form = len(states), quadratic_form(program)
    if form is None:
        part = _part_of_synapses(program, states)
        return part, len(part.constants) - n_constants
    constants = np.concatenate([np.zeros(n), program.constants, [1.0]])
    part = Part(
        "collapsed", form.is_linear, not form.is_linear, NO_TABLE, form.outputs, form.power, constants,
        form.code, len(form.code), 1 + len(constants) + len(form.code),
        tuple((1 + s, state) for s, state in enumerate(states)), len(constants),
        lambda result: result[:, n : n + n_constants],
    )  # fmt: skip
    return part, n


def _table_part(
    coefficients: FloatArray,
    is_linear: bool,
    needs_all: bool,
    chain: Callable[[FloatArray], FloatArray],
    power: int = SQUARE_POWER,
) -> Part:
    table = np.ascontiguousarray(coefficients.transpose(1, 0, 2).reshape(3, 9))

    def by_parameter(result: FloatArray) -> FloatArray:
        return chain(result.reshape(-1, 3, 3, 3).transpose(0, 2, 1, 3).reshape(-1, 27))

    return Part(
        "table", is_linear, needs_all, table, NO_OUTPUTS, power, np.empty(0), NO_CODE, 0, 1, (), 27,
        by_parameter,
    )  # fmt: skip


def _large_table_part(slot: Slot, rule: PolynomialRule, for_gradient: bool) -> Part:
    """Part of a table over states, too.

    One over a single state of the neuron is a table for the kernels, unless it is nearly empty; others are
    programs, which depend on where the table is zero alone.
    """
    table, state = rule.coefficients, slot.variables[3]
    if table.ndim == 4 and state.place == "post" and (for_gradient or np.count_nonzero(table) > FEW_TERMS):
        return _state_table_part(table, state)
    occurs = np.ones(table.shape, dtype=bool) if for_gradient else table != 0
    if not occurs[..., 1:].any():
        return part_of(slot, rule.program(slot.names, slot.neuron_level, sparse=True), for_gradient)
    part, first = _pattern_part(slot, table.shape, occurs.tobytes())
    return _with_constants(part, first, table)


def _state_table_part(table: FloatArray, state: Variable) -> Part:
    """Part of a table over a state, its axes in the order of the kernels: state, output, input, weight."""
    is_linear = not table[np.broadcast_to(BEYOND_LINEAR[..., None], table.shape)].any()

    def by_parameter(result: FloatArray) -> FloatArray:
        by_power = result[:, 1:].reshape(-1, 3, 3, 3, 3)  # state, output, input, weight
        return by_power.transpose(0, 3, 2, 4, 1).reshape(-1, table.size)

    constants = np.concatenate([[0.0], table.transpose(3, 1, 0, 2).ravel()])
    n_registers = 1 + len(constants) + 27
    return Part(
        "of state", is_linear, True, NO_TABLE, NO_OUTPUTS, SQUARE_POWER, constants, NO_CODE, 0, n_registers,
        ((1, state),), len(constants), by_parameter,
    )  # fmt: skip


@lru_cache(maxsize=64)
def _pattern_part(slot: Slot, shape: tuple[int, ...], occurs: bytes) -> tuple[Part, int]:
    """Part of a table of ones and zeros, and where its coefficients begin among the constants."""
    ones = PolynomialRule(np.frombuffer(occurs, dtype=bool).reshape(shape).astype(np.float64))
    part = part_of(slot, ones.program(slot.names, slot.neuron_level, sparse=True), True)
    size = int(np.prod(shape))
    return part, len(part.constants) - size - (part.form == "collapsed")


def canonical(slot: Slot, program: Program) -> tuple[Program, tuple[Variable, ...]]:
    """Return a program over pre, post, weight and those states that it reads, and these states."""
    bound = slot.bound(program)
    if program.variables == slot.names[:3]:
        return program, ()
    code = program.code.tolist()
    read = {program.output} | {a for _, a, _ in code} | {b for op, _, b in code if op in BINARY_OPS}
    states = [one for one in slot.variables[3:] if one in bound and bound.index(one) in read]
    kept = [*slot.variables[:3], *states]
    moved = {n: kept.index(one) if one in kept else 0 for n, one in enumerate(bound)}
    shift = len(kept) - len(bound)
    moved |= {n: n + shift for n in range(len(bound), program.n_registers)}
    rows = [(op, moved[a], moved[b] if op in BINARY_OPS else b) for op, a, b in code]
    levels = [one.place in ("post", "global") for one in kept]
    names = [one.name for one in kept]
    return Program.build(names, levels, program.constants, rows, moved[program.output]), tuple(states)


def _part_of_synapses(program: Program, states: tuple[Variable, ...]) -> Part:
    """Bring what synapses share to the front: the output, states, constants, then instructions."""
    n_variables, n_constants = len(program.variables), len(program.constants)
    of_post = [n for n, level in enumerate(program.neuron_level) if level]
    of_synapse = [0, 2, *(n for n in range(3, n_variables) if not program.neuron_level[n])]
    first = n_variables + n_constants
    rows = range(first, program.n_registers)
    shared = [r for r in rows if program.levels[r] == 0]
    order = [
        *of_post,
        *range(n_variables, first),
        *shared,
        *of_synapse,
        *(r for r in rows if r not in shared),
    ]
    moved = {old: new for new, old in enumerate(order)}
    code = [
        (op, moved[a], moved[b] if op in BINARY_OPS else b)
        for op, a, b in (program.code[r - first].tolist() for r in order if r >= first)
    ]
    n_states = len(of_post) - 1
    return Part(
        "of synapses", False, True, NO_TABLE, np.full(9, moved[program.output], dtype=np.int64),
        SQUARE_POWER, np.concatenate([np.zeros(n_states), program.constants]),
        np.array(code, dtype=np.int64).reshape(-1, 3), len(shared), program.n_registers,
        tuple((moved[3 + n], state) for n, state in enumerate(states)), n_states + n_constants,
        lambda result: result[:, n_states:],
    )  # fmt: skip
