"""How the updates of a circuit's rules are run: as a line in one trace where they are one, else as they are.

At a spike, signals and the states of the neuron that spikes are the same for all synapses that change. An
update that has the form ``a + b * trace + c * w``, where the trace is of the neuron on the other side and
a, b and c depend on what all these synapses share, needs two numbers a synapse and no interpreter: a, b and c
are computed once. The pair, the triplet and the reward-modulated rules have this form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sims._circuit_tables import LINE, PROGRAM, SPLINES
from sims._spike_programs import run_registers
from sims.circuit import SAMPLED, Event, Slot, Variable
from sims.rules import BINARY_OPS, Op, Program
from sims.spike_splines import TraceSplines

__all__ = ["Update", "planned"]

ABSENT = -1
"""Register of a number that is zero."""

_NO_CODE = np.empty((0, 3), dtype=np.int64)


@dataclass(frozen=True)
class Update:
    """An update as the kernels take it.

    Attributes
    ----------
    slot : Slot
    variables : tuple of Variable
        In the order of the program's first registers.
    constants, code : ndarray
        See :class:`sims.rules.Program`.
    outputs : (int, int, int)
        Registers of a, b and c of a line, or of the result of a program and two that do not count.
    trace : Variable or None
        What a line is a line in, or what splines are of.
    form : int
        ``PROGRAM``, ``LINE`` or ``SPLINES``.
    """

    slot: Slot
    variables: tuple[Variable, ...]
    constants: NDArray[np.float64]
    code: NDArray[np.int64]
    outputs: tuple[int, int, int]
    trace: Variable | None
    form: int

    @property
    def n_registers(self) -> int:
        """Number of registers: variables, constants and instructions."""
        return len(self.variables) + len(self.constants) + len(self.code)


def planned(slot: Slot, program: Program | TraceSplines, *, lines: bool = True) -> Update:
    """Choose how an update is run.

    Parameters
    ----------
    slot : Slot
    program : Program or TraceSplines
        Splines are of the first state of the neuron on the other side.
    lines : bool
        Without them every update is run as a program.

    Raises
    ------
    ValueError
        If the program reads what the slot does not have, or there is no state for splines.
    """
    if isinstance(program, TraceSplines):
        trace = _first_state(slot)
        return Update(slot, (), program.numbers(), _NO_CODE, (ABSENT, ABSENT, ABSENT), trace, SPLINES)
    slot.bound(program)
    program = _without_unread(program)
    variables = slot.bound(program)
    line = _Line(slot.event, variables, program) if lines else None
    if line is None or line.result is None:
        outputs = program.output, ABSENT, ABSENT
        return Update(slot, variables, program.constants, program.code, outputs, None, PROGRAM)
    constants = np.append(program.constants, 1.0)
    code = np.array(line.code, dtype=np.int64).reshape(-1, 3)
    if not any(n in _read(line.code, line.result) for n in range(len(variables))):
        # What no state changes is computed here.
        registers = np.zeros(len(variables) + len(constants) + len(code))
        run_registers(code, constants, len(variables), registers)
        numbers = np.array([0.0 if register == ABSENT else registers[register] for register in line.result])
        return Update(slot, (), numbers, _NO_CODE, (0, 1, 2), line.trace, LINE)
    return Update(slot, variables, constants, code, line.result, line.trace, LINE)


def _read(code: Iterable[tuple[int, int, int]], results: Iterable[int]) -> set[int]:
    """Return the registers that are read by some instructions or hold results."""
    read = set(results)
    for op, i, j in code:
        read |= {i, j} if op in BINARY_OPS else {i}
    return read


def _first_state(slot: Slot) -> Variable:
    other = "pre" if slot.event == "post" else "post"
    for variable in slot.variables:
        if variable.place == other and variable.state not in SAMPLED:
            return variable
    raise ValueError(f"Splines need a state of the {other}synaptic neuron, and {slot.name} has none.")


Form = tuple[int, int, int]
"""Registers of a, b and c."""


class _Line:
    """The attempt to read a program as a line; `result` is None where it is none."""

    def __init__(self, event: Event, variables: tuple[Variable, ...], program: Program) -> None:
        shared = {"global", "post" if event == "post" else "pre"}
        other = "pre" if event == "post" else "post"
        self.trace: Variable | None = None
        self.code: list[tuple[int, int, int]] = []
        self._one = len(variables) + len(program.constants)
        self.result: Form | None = None
        forms: list[Form | None] = []
        for n, variable in enumerate(variables):
            if variable.place in shared:
                forms.append((n, ABSENT, ABSENT))
            elif variable.place == "weight":
                forms.append((ABSENT, ABSENT, self._one))
            elif variable.place == other and self.trace is None:
                self.trace = variable
                forms.append((ABSENT, self._one, ABSENT))
            else:
                forms.append(None)
        forms += [(len(variables) + c, ABSENT, ABSENT) for c in range(len(program.constants))]
        for op, i, j in program.code.tolist():
            a, b = forms[i], forms[j] if op in BINARY_OPS else (ABSENT, ABSENT, ABSENT)
            forms.append(None if a is None or b is None else self._applied(Op(op), a, b, j))
        self.result = forms[program.output]

    def _applied(self, op: Op, a: Form, b: Form, literal: int) -> Form | None:
        if _is_shared(a) and _is_shared(b):
            if op not in BINARY_OPS:
                return self._emitted(op, self._number(a[0]), literal), ABSENT, ABSENT
            return self._emitted(op, self._number(a[0]), self._number(b[0])), ABSENT, ABSENT
        if op == Op.ADD:
            return self._each(a, b, self._sum)
        if op == Op.SUB:
            return self._each(a, b, self._difference)
        if op == Op.NEG:
            return self._each((ABSENT, ABSENT, ABSENT), a, self._difference)
        if op == Op.MUL and (_is_shared(a) or _is_shared(b)):
            factor, line = (a, b) if _is_shared(a) else (b, a)
            return self._scaled(Op.MUL, line, self._number(factor[0]))
        if op == Op.DIV and _is_shared(b):
            return self._scaled(Op.DIV, a, self._number(b[0]))
        return None

    def _each(self, a: Form, b: Form, combine: Callable[[int, int], int]) -> Form:
        first, second, third = (combine(x, y) for x, y in zip(a, b, strict=True))
        return first, second, third

    def _scaled(self, op: Op, line: Form, factor: int) -> Form:
        a, b, c = (ABSENT if x == ABSENT else self._emitted(op, x, factor) for x in line)
        return a, b, c

    def _sum(self, x: int, y: int) -> int:
        if ABSENT in (x, y):
            return max(x, y)
        return self._emitted(Op.ADD, x, y)

    def _difference(self, x: int, y: int) -> int:
        if y == ABSENT:
            return x
        return self._emitted(Op.NEG, y, 0) if x == ABSENT else self._emitted(Op.SUB, x, y)

    def _number(self, register: int) -> int:
        """Return a register for a number that may be absent."""
        return self._emitted(Op.SUB, self._one, self._one) if register == ABSENT else register

    def _emitted(self, op: Op, i: int, j: int) -> int:
        self.code.append((int(op), i, j))
        return self._one + len(self.code)


def _is_shared(form: Form) -> bool:
    return form[1] == ABSENT and form[2] == ABSENT


def _without_unread(program: Program) -> Program:
    """Return the same program without the variables that it does not read."""
    read = _read(program.code.tolist(), [int(program.output)])
    n = len(program.variables)
    kept = [v for v in range(n) if v in read]
    moved = {v: new for new, v in enumerate(kept)}
    moved |= {register: register - n + len(kept) for register in range(n, program.n_registers)}
    code = [(op, moved[i], moved[j] if op in BINARY_OPS else j) for op, i, j in program.code.tolist()]
    return Program.build(
        [program.variables[v] for v in kept],
        [program.neuron_level[v] for v in kept],
        program.constants,
        code,
        moved[int(program.output)],
    )
