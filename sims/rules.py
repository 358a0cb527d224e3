"""Plasticity rules in the form that the simulation kernels run.

Three forms exist. A :class:`PolynomialRule` is a dense table of coefficients for the terms
``pre**i * post**j * weight**k`` with powers up to two, and of states where a slot has some. A
:class:`SplineRule` has a spline of `post` in place of its powers. A :class:`Program` is any expression,
flattened into op codes that an interpreter inside the kernels executes; no rule is ever compiled.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sims._splines import checked, spline_curves

__all__ = ["MAX_INSTRUCTIONS", "MAX_POWER", "Op", "PolynomialRule", "Program", "SplineRule"]

MAX_INSTRUCTIONS = 2_000
"""Longest program accepted: the tape of one synapse block has one row an instruction."""

MAX_POWER = 64
"""Largest absolute literal exponent of :attr:`Op.POWI`."""


MOST_AXES = 5
"""Variables of a polynomial rule."""


class Op(IntEnum):
    """Operations of a :class:`Program`; the kernels repeat these numbers as plain constants."""

    ADD = 0
    SUB = 1
    MUL = 2
    DIV = 3
    POW = 4
    POWI = 5
    NEG = 6
    SQUARE = 7
    TANH = 8
    EXP = 9
    LOG = 10
    SQRT = 11
    ABS = 12
    SIGN = 13
    MAX = 14
    MIN = 15


BINARY_OPS = frozenset({Op.ADD, Op.SUB, Op.MUL, Op.DIV, Op.POW, Op.MAX, Op.MIN})


@dataclass(frozen=True)
class PolynomialRule:
    """A rule as a table of coefficients: ``f = sum_ijk coefficients[i, j, k] pre**i post**j weight**k``.

    Parameters
    ----------
    coefficients : array_like, shape (3, 3, 3) or with further axes of length 3
        Indexed by the powers of presynaptic activity, postsynaptic activity and weight, then of the states
        that the slot of a circuit has.

    Raises
    ------
    ValueError
        If the shape is wrong or a coefficient is not finite.

    References
    ----------
    Confavreux et al. (NeurIPS 2020), section 3.

    Examples
    --------
    >>> oja = PolynomialRule.from_terms({(1, 1, 0): 1.0, (0, 2, 1): -1.0})
    >>> float(oja.coefficients[0, 2, 1])
    -1.0
    """

    coefficients: NDArray[np.float64]

    def __post_init__(self) -> None:
        table = np.array(self.coefficients, dtype=np.float64)
        if not 3 <= table.ndim <= MOST_AXES or set(table.shape) != {3}:
            raise ValueError(
                "A polynomial rule needs a (3, 3, 3) coefficient table, or one with further axes of length "
                f"3 for states, got shape {table.shape}."
            )
        if not np.all(np.isfinite(table)):
            raise ValueError("A polynomial rule needs finite coefficients, got NaN or infinity.")
        table.setflags(write=False)
        object.__setattr__(self, "coefficients", table)

    @classmethod
    def from_terms(cls, terms: dict[tuple[int, int, int], float]) -> PolynomialRule:
        """Build a rule from ``{(i, j, k): coefficient}``."""
        table = np.zeros((3, 3, 3))
        for powers, value in terms.items():
            table[powers] = value
        return cls(table)

    def program(
        self, variables: Sequence[str], neuron_level: Sequence[bool], *, sparse: bool = False
    ) -> Program:
        """Return the sum of all terms as a program; its constants are the coefficients, in C order.

        A variable after the other is summed over, those that synapses share first: ``a_0 + v (a_1 + v a_2)``.

        `variables` and `neuron_level` are as :class:`Program` has them, one for each axis. Where it is
        `sparse`, terms without a coefficient are left out; derivatives by these are then zero.
        """
        table, n = self.coefficients, len(variables)
        code: list[tuple[int, int, int]] = []

        def emitted(op: Op, a: int | None, b: int | None) -> int | None:
            if a is None or b is None:
                return (b if a is None else a) if op is Op.ADD else None
            code.append((int(op), a, b))
            return n + table.size + len(code) - 1

        order = sorted(range(n), key=lambda axis: not neuron_level[axis])
        numbers = np.arange(n, n + table.size).reshape(table.shape).transpose(order[::-1]).ravel()
        values: list[int | None] = [
            None if sparse and table.flat[r - n] == 0 else r for r in numbers.tolist()
        ]
        for axis in order:
            values = [
                emitted(Op.ADD, a, emitted(Op.MUL, axis, emitted(Op.ADD, b, emitted(Op.MUL, axis, c))))
                for a, b, c in zip(values[::3], values[1::3], values[2::3], strict=True)
            ]
        output = n if values[0] is None else values[0]
        return Program.build(variables, neuron_level, table.ravel(), code, output)


@dataclass(frozen=True)
class SplineRule:
    """A rule without a formula: ``f = sum_ik g_ik(post) pre**i * weight**k``, each g a cubic spline.

    Parameters
    ----------
    low, high : float
        Between these the splines have equal pieces; beyond them they are constant.
    coefficients : array_like, shape (3, 3, n_pieces + 3)
        Of the B-splines, indexed by the powers of presynaptic activity and weight.
    wanted : array_like of bool, shape (3, 3), optional
        Splines whose gradient is asked for, by default all; those of the others are zero. Splines that are
        zero and not asked for cost nothing.

    Raises
    ------
    ValueError
        If the shape is wrong, the range is empty or a number is not finite.

    References
    ----------
    de Boor (1978), A practical guide to splines, chapter IX.

    Examples
    --------
    B-splines sum to one: equal coefficients give a constant.

    >>> hebbian = np.zeros((3, 3, 7))
    >>> hebbian[1, 0] = 2.0
    >>> rule = SplineRule(-1.0, 1.0, hebbian)
    >>> rule.curves(np.array([-5.0, 0.3]))[1, 0].round(12).tolist()
    [2.0, 2.0]
    """

    low: float
    high: float
    coefficients: NDArray[np.float64]
    wanted: NDArray[np.bool_] = field(default_factory=lambda: np.ones((3, 3), dtype=np.bool_))

    def __post_init__(self) -> None:
        wanted = np.array(self.wanted, dtype=np.bool_)
        if wanted.shape != (3, 3):
            raise ValueError(f"A spline rule has nine splines, (3, 3); got {wanted.shape} for those wanted.")
        wanted.setflags(write=False)
        object.__setattr__(self, "wanted", wanted)
        table = np.array(self.coefficients, dtype=np.float64)
        if table.ndim != 3 or table.shape[:2] != (3, 3) or table.shape[2] < 4:
            raise ValueError(
                f"A spline rule needs coefficients of shape (3, 3, at least 4), got {table.shape}."
            )
        sound = checked("A spline rule", self.low, self.high, table)
        for name, value in zip(("low", "high", "coefficients"), sound, strict=True):
            object.__setattr__(self, name, value)

    @property
    def acts(self) -> NDArray[np.bool_]:
        """Which splines are not zero, shape (3, 3)."""
        return np.asarray(self.coefficients.any(axis=2), dtype=np.bool_)

    def curves(self, post: ArrayLike) -> NDArray[np.float64]:
        """Values of the nine splines, shape (3, 3, *post.shape)."""
        return spline_curves(post, self.low, self.high, self.coefficients)

    def update(self, pre: ArrayLike, post: ArrayLike, weight: ArrayLike) -> NDArray[np.float64]:
        """The rule's value for arrays of one shape, without learning rate."""
        of_pre, of_weight = (np.stack([np.asarray(one) ** p for p in range(3)]) for one in (pre, weight))
        result: NDArray[np.float64] = np.einsum("ik...,i...,k...->...", self.curves(post), of_pre, of_weight)
        return result


@dataclass(frozen=True)
class Program:
    """An expression as a straight-line list of operations over numbered registers.

    Registers come in three groups: the variables, then the constants, then one register for each
    instruction, in order. An instruction ``(op, a, b)`` reads registers ``a`` and ``b`` and writes its own;
    one-operand operations ignore ``b``, and :attr:`Op.POWI` takes ``b`` as the literal exponent.

    Parameters
    ----------
    variables : tuple of str
        Names of the variables, in the order in which the kernels supply them.
    neuron_level : tuple of bool
        Whether a variable is shared by all synapses of a neuron (postsynaptic activity) instead of being
        given for each synapse (presynaptic activity, weight). What depends on neuron-level variables and
        constants alone is computed once for each neuron.
    constants : array_like, shape (n_constants,)
    code : array_like of int, shape (n_instructions, 3)
    output : int
        Register that holds the result.

    Raises
    ------
    ValueError
        If an instruction reads a register that does not exist yet or an op code is unknown.

    Examples
    --------
    >>> program = Program.build(("x", "y"), (False, True), [], [(Op.MUL, 0, 1)])
    >>> program.output
    2
    """

    variables: tuple[str, ...]
    neuron_level: tuple[bool, ...]
    constants: NDArray[np.float64]
    code: NDArray[np.int64]
    output: int
    levels: NDArray[np.int64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        constants = np.array(self.constants, dtype=np.float64).reshape(-1)
        code = np.array(self.code, dtype=np.int64).reshape(-1, 3)
        if len(self.variables) != len(self.neuron_level):
            raise ValueError("A program needs one neuron_level flag for each variable.")
        if not np.all(np.isfinite(constants)):
            raise ValueError("A program needs finite constants, got NaN or infinity.")
        _check_code(code, len(self.variables) + len(constants), self.output)
        for array in (constants, code):
            array.setflags(write=False)
        object.__setattr__(self, "constants", constants)
        object.__setattr__(self, "code", code)
        object.__setattr__(self, "levels", self._levels())

    @classmethod
    def build(
        cls,
        variables: Sequence[str],
        neuron_level: Sequence[bool],
        constants: Iterable[float],
        code: Sequence[tuple[int, int, int]],
        output: int | None = None,
    ) -> Program:
        """Make a program; the output defaults to the last register."""
        values = np.array(list(constants), dtype=np.float64)
        table = np.array(code, dtype=np.int64).reshape(-1, 3)
        last = len(variables) + len(values) + len(table) - 1
        return cls(tuple(variables), tuple(neuron_level), values, table, last if output is None else output)

    @property
    def n_registers(self) -> int:
        """Number of registers: variables, constants and instructions."""
        return len(self.variables) + len(self.constants) + len(self.code)

    def with_constants(self, values: Iterable[float]) -> Program:
        """Return the same program with other constants.

        Raises
        ------
        ValueError
            If the number of constants changes.
        """
        constants = np.array(list(values), dtype=np.float64)
        if constants.shape != self.constants.shape:
            raise ValueError(f"This program has {len(self.constants)} constants, got {len(constants)}.")
        return replace(self, constants=constants)

    def _levels(self) -> NDArray[np.int64]:
        """Level of each register: 1 where it differs between the synapses of a neuron, else 0."""
        levels = [0 if shared else 1 for shared in self.neuron_level] + [0] * len(self.constants)
        for op, a, b in self.code:
            levels.append(max(levels[a], levels[b]) if op in BINARY_OPS else levels[a])
        result = np.array(levels, dtype=np.int64)
        result.setflags(write=False)
        return result


def _check_code(code: NDArray[np.int64], n_leaves: int, output: int) -> None:
    if len(code) > MAX_INSTRUCTIONS:
        raise ValueError(f"A program has at most {MAX_INSTRUCTIONS} instructions, got {len(code)}.")
    known = {int(op) for op in Op}
    for row, (op, a, b) in enumerate(code.tolist()):
        if op not in known:
            raise ValueError(f"Instruction {row} has the unknown op code {op}.")
        if not 0 <= a < n_leaves + row:
            raise ValueError(f"Instruction {row} reads register {a}, which is not written before it.")
        if op in BINARY_OPS and not 0 <= b < n_leaves + row:
            raise ValueError(f"Instruction {row} reads register {b}, which is not written before it.")
        if op == Op.POWI and abs(b) > MAX_POWER:
            raise ValueError(f"Instruction {row} has exponent {b}; literal exponents go up to {MAX_POWER}.")
    if not 0 <= output < n_leaves + len(code):
        raise ValueError(f"The output register {output} does not exist.")
