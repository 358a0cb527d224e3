"""Which programs are polynomials, or quadratic in presynaptic activity and weight, and their coefficients.

Most published rules are: Oja, covariance, BCM and their saturating variants depend on the output in any way,
but on the input and the weight of a synapse through low powers. For these the nine coefficients of
``pre**i * weight**k`` are programs of the output alone, computed once a neuron, and the synapses need no
interpreter. Where the output too occurs in low powers alone, the program is a table of 27 coefficients, and
derivatives with respect to its constants follow from those with respect to the table.

Besides 1 and the weight itself a program may have any one power of the weight; it stands where the square
does. Powers are numbers here: n for ``weight**n`` and -n for ``abs(weight) * weight**(n - 1)``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sims.rules import BINARY_OPS, Op, Program

__all__ = ["SQUARE_POWER", "QuadraticForm", "TableForm", "quadratic_form", "table_form"]

PRE, POST, WEIGHT = 0, 1, 2
MAX_POWER = 2

SQUARE_POWER = 2
"""The power of the weight in a quadratic form, unless a program has another."""

HIGHEST_POWER = 12
"""Higher powers of the weight have no form here."""

FloatArray = NDArray[np.float64]

_Powers = tuple[int, int]
_Form = dict[_Powers, int]
_F = TypeVar("_F")


def _times(k: int, m: int) -> int:
    """Power of the weight that is the product of two."""
    n = abs(k) + abs(m)
    return -n if (k < 0) != (m < 0) else n


def _in_size(k: int) -> int:
    """Power of the weight that is the size of another."""
    return -abs(k) if k % 2 else abs(k)


def _raised(form: _F, exponent: int, product: Callable[[_F, _F], _F | None]) -> _F | None:
    """Whole power of a form by products; None where there is none."""
    if not 1 <= exponent <= HIGHEST_POWER:
        return None
    power: _F | None = form
    for _ in range(exponent - 1):
        power = None if power is None else product(power, form)
    return power


def _last_power(powers: Iterable[int]) -> int | None:
    """Power that stands where the square does; None if there are several."""
    others = {k for k in powers if k not in (0, 1)} or {SQUARE_POWER}
    return others.pop() if len(others) == 1 else None


@dataclass(frozen=True)
class QuadraticForm:
    """Coefficients of ``pre**i * weight**k`` as a program of the output and of states of the neuron.

    Registers are the output, the states, the constants of the original program, the number one, then one for
    each row of `code`; ``outputs[3 * i + k]`` is the register of a coefficient, or -1 for zero. `power` is
    the power of the weight for k = 2.
    """

    code: NDArray[np.int64]
    outputs: NDArray[np.int64]
    power: int

    @property
    def is_linear(self) -> bool:
        """Whether only the terms 1, pre and weight occur."""
        return all(self.outputs[q] < 0 for q in (2, 4, 5, 6, 7, 8))


def quadratic_form(program: Program) -> QuadraticForm | None:
    """Return the quadratic form of a program, or None where there is none.

    Its variables are pre, post and weight, then states that all synapses of a neuron share; a program that
    has others has no form.
    """
    n_states = len(program.variables) - 3
    if program.neuron_level != (False, True, False) + n_states * (True,):
        return None
    collector = _Collector(n_states + len(program.constants))
    forms: list[_Form | None] = [{(1, 0): collector.one}, {(0, 0): 0}, {(0, 1): collector.one}]
    forms += [{(0, 0): 1 + n} for n in range(n_states + len(program.constants))]
    for op, a, b in program.code.tolist():
        first, second = forms[a], forms[b] if op in BINARY_OPS else {}
        forms.append(None if first is None or second is None else collector.apply(Op(op), first, second, b))
    result = forms[program.output]
    power = None if result is None else _last_power(k for _, k in result)
    if result is None or power is None:
        return None
    outputs = np.full(9, -1, dtype=np.int64)
    for (i, k), register in result.items():
        outputs[3 * i + (k if k in (0, 1) else 2)] = register
    return QuadraticForm(np.array(collector.code, dtype=np.int64).reshape(-1, 3), outputs, power)


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
        if op is Op.SQUARE or op is Op.POWI:
            return _raised(a, 2 if op is Op.SQUARE else literal, self._product)
        if op is Op.ABS and len(a) == 1:
            (((i, k), register),) = a.items()
            size = register if register == self.one else self.emit(Op.ABS, register, 0)
            return None if i else {(0, _in_size(k)): size}
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
                powers = (i + m, _times(k, n))
                if i + m > MAX_POWER or abs(powers[1]) > HIGHEST_POWER:
                    return None
                register = self.emit(Op.MUL, left, right)
                result[powers] = self.emit(Op.ADD, result[powers], register) if powers in result else register
        return result


def _is_scalar(form: _Form) -> bool:
    return form.keys() == {(0, 0)}


@dataclass(frozen=True)
class TableForm:
    """A program as a table of coefficients of ``pre**i * post**j * weight**k``.

    Attributes
    ----------
    coefficients : ndarray, shape (3, 3, 3)
    derivatives : ndarray, shape (3, 3, 3, n_constants)
        Of the coefficients with respect to the constants.
    is_linear : bool
        Whether only the terms 1, pre and weight occur, with any power of post.
    power : int
        Power of the weight for k = 2.
    """

    coefficients: FloatArray
    derivatives: FloatArray
    is_linear: bool
    power: int


_Term = tuple[int, int, int]
_Dual = tuple[float, FloatArray]
_Table = dict[_Term, _Dual]
_CONSTANT: _Term = (0, 0, 0)


def table_form(program: Program) -> TableForm | None:
    """Return the table of a program over (pre, post, weight), or None where there is none.

    Examples
    --------
    >>> oja = Program.build(("x", "y", "w"), (False, True, False), [2.0], [(Op.MUL, 0, 1), (Op.MUL, 4, 3)])
    >>> form = table_form(oja)
    >>> float(form.coefficients[1, 1, 0]), float(form.derivatives[1, 1, 0, 0])
    (2.0, 1.0)
    """
    if program.neuron_level != (False, True, False):
        return None
    unit = np.eye(len(program.constants))
    zero = np.zeros(len(program.constants))
    tables: list[_Table | None] = [
        {(1, 0, 0): (1.0, zero)},
        {(0, 1, 0): (1.0, zero)},
        {(0, 0, 1): (1.0, zero)},
    ]
    tables += [{_CONSTANT: (float(c), unit[n])} for n, c in enumerate(program.constants)]
    for op, a, b in program.code.tolist():
        first, second = tables[a], tables[b] if op in BINARY_OPS else {}
        tables.append(None if first is None or second is None else _applied(Op(op), first, second, b))
    result = tables[program.output]
    power = None if result is None else _last_power(k for _, _, k in result)
    if result is None or power is None:
        return None
    coefficients, derivatives = np.zeros((3, 3, 3)), np.zeros((3, 3, 3, len(program.constants)))
    for (i, j, k), (value, slopes) in result.items():
        term = i, j, k if k in (0, 1) else 2
        coefficients[term], derivatives[term] = value, slopes
    if not (np.isfinite(coefficients).all() and np.isfinite(derivatives).all()):
        return None
    is_linear = all(i + k <= 1 and k >= 0 for i, _, k in result)
    return TableForm(coefficients, derivatives, is_linear, power)


def _applied(op: Op, a: _Table, b: _Table, literal: int) -> _Table | None:
    """Table of one instruction's result, or None where it has none."""
    if op is Op.ADD or op is Op.SUB:
        sign = 1.0 if op is Op.ADD else -1.0
        result = dict(a)
        for term, (value, slopes) in b.items():
            old, old_slopes = result.get(term, (0.0, np.zeros_like(slopes)))
            result[term] = (old + sign * value, old_slopes + sign * slopes)
        return result
    if op is Op.NEG:
        return {term: (-value, -slopes) for term, (value, slopes) in a.items()}
    if op is Op.MUL:
        return _multiplied(a, b)
    if op is Op.SQUARE or op is Op.POWI:
        return _raised(a, 2 if op is Op.SQUARE else literal, _multiplied)
    if op is Op.ABS and len(a) == 1:
        (((i, j, k), (value, slopes)),) = a.items()
        return None if i or j else {(0, 0, _in_size(k)): (abs(value), np.sign(value) * slopes)}
    if op is Op.DIV and b.keys() == {_CONSTANT} and b[_CONSTANT][0] != 0:
        divisor, divisor_slopes = b[_CONSTANT]
        reciprocal = {_CONSTANT: (1 / divisor, -divisor_slopes / divisor**2)}
        return _multiplied(a, reciprocal)
    return None


def _multiplied(a: _Table, b: _Table) -> _Table | None:
    result: _Table = {}
    for first, (u, du) in a.items():
        for second, (v, dv) in b.items():
            term = (first[0] + second[0], first[1] + second[1], _times(first[2], second[2]))
            if max(term[:2]) > MAX_POWER or abs(term[2]) > HIGHEST_POWER:
                return None
            old, old_slopes = result.get(term, (0.0, 0.0))
            result[term] = (old + u * v, old_slopes + u * dv + v * du)
    return result
