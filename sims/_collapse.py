"""Which programs are quadratic in presynaptic activity and weight, and their nine coefficients.

Most published rules are: Oja, covariance, BCM and their saturating variants depend on the output in any way,
but on the input and the weight of a synapse through low powers. For these the nine coefficients of
``pre**i * weight**k`` are programs of the output alone, computed once a neuron, and the synapses need no
interpreter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sims.rules import BINARY_OPS, Op, Program

__all__ = ["QuadraticForm", "quadratic_form"]

PRE, POST, WEIGHT = 0, 1, 2
MAX_POWER = 2

_Powers = tuple[int, int]
_Form = dict[_Powers, int]


@dataclass(frozen=True)
class QuadraticForm:
    """Coefficients of ``pre**i * weight**k`` as a program of the output.

    Registers are the output, the constants of the original program, the number one, then one for each row
    of `code`; ``outputs[3 * i + k]`` is the register of a coefficient, or -1 for zero.
    """

    code: NDArray[np.int64]
    outputs: NDArray[np.int64]

    @property
    def is_linear(self) -> bool:
        """Whether only the terms 1, pre and weight occur."""
        return all(self.outputs[q] < 0 for q in (2, 4, 5, 6, 7, 8))


def quadratic_form(program: Program) -> QuadraticForm | None:
    """Return the quadratic form of a program over (pre, post, weight), or None where there is none."""
    if program.neuron_level != (False, True, False):
        return None
    collector = _Collector(len(program.constants))
    forms: list[_Form | None] = [{(1, 0): collector.one}, {(0, 0): 0}, {(0, 1): collector.one}]
    forms += [{(0, 0): 1 + n} for n in range(len(program.constants))]
    for op, a, b in program.code.tolist():
        first, second = forms[a], forms[b] if op in BINARY_OPS else {}
        forms.append(None if first is None or second is None else collector.apply(Op(op), first, second, b))
    result = forms[program.output]
    if result is None:
        return None
    outputs = np.full(9, -1, dtype=np.int64)
    for (i, k), register in result.items():
        outputs[3 * i + k] = register
    return QuadraticForm(np.array(collector.code, dtype=np.int64).reshape(-1, 3), outputs)


class _Collector:
    """Writes the program of the coefficients while the original is walked through."""

    def __init__(self, n_constants: int) -> None:
        self.one = 1 + n_constants
        self.code: list[tuple[int, int, int]] = []
        self._known: dict[tuple[int, int, int], int] = {}

    def emit(self, op: Op, a: int, b: int) -> int:
        """Register that holds the result of one instruction; equal instructions share it."""
        if op is Op.MUL and self.one in (a, b):
            return b if a == self.one else a
        key = (int(op), a, b)
        if key not in self._known:
            self.code.append(key)
            self._known[key] = self.one + len(self.code)
        return self._known[key]

    def apply(self, op: Op, a: _Form, b: _Form, literal: int) -> _Form | None:
        """Form of one instruction's result, or None where it is not quadratic."""
        if _is_scalar(a) and (op not in BINARY_OPS or _is_scalar(b)):
            second = literal if op is Op.POWI else b[0, 0] if op in BINARY_OPS else 0
            return {(0, 0): self.emit(op, a[0, 0], second)}
        if op is Op.ADD or op is Op.SUB:
            return self._sum(op, a, b)
        if op is Op.NEG:
            return {powers: self.emit(Op.NEG, register, 0) for powers, register in a.items()}
        if op is Op.MUL:
            return self._product(a, b)
        if op is Op.DIV and _is_scalar(b):
            return {powers: self.emit(Op.DIV, register, b[0, 0]) for powers, register in a.items()}
        if op is Op.SQUARE or (op is Op.POWI and literal == MAX_POWER):
            return self._product(a, a)
        return None

    def _sum(self, op: Op, a: _Form, b: _Form) -> _Form:
        result = dict(a)
        for powers, register in b.items():
            if powers in result:
                result[powers] = self.emit(op, result[powers], register)
            else:
                result[powers] = register if op is Op.ADD else self.emit(Op.NEG, register, 0)
        return result

    def _product(self, a: _Form, b: _Form) -> _Form | None:
        result: _Form = {}
        for (i, k), left in a.items():
            for (m, n), right in b.items():
                powers = (i + m, k + n)
                if max(powers) > MAX_POWER:
                    return None
                register = self.emit(Op.MUL, left, right)
                result[powers] = self.emit(Op.ADD, result[powers], register) if powers in result else register
        return result


def _is_scalar(form: _Form) -> bool:
    return form.keys() == {(0, 0)}
