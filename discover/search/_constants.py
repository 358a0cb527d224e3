"""Least-squares fit of the constants of an expression, with the Jacobian by reverse differentiation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from discover.expression import Node, constants, postorder, with_constants
from discover.expression.node import DERIVATIVES, OPERATIONS, is_integer_exponent
from discover.search.engine import Samples

__all__ = ["Fit", "fit_constants"]

_Array = NDArray[np.float64]

_UNDEFINED = 1e6
_ZERO_DIRECTION = 1e-12
_SINGULAR = 1e-9
_DEPENDENT = 1e-11


@dataclass(frozen=True, eq=False)
class Fit:
    """An expression with fitted constants.

    Parameters
    ----------
    tree : Node
    error : float
        Squared error over all rows, divided by the squared norm of the target; infinity where undefined.
    spread : ndarray, shape (n_constants,)
        How uncertain every constant is: moving constant k by d, with the others fitted again, costs
        ``(d / spread[k])**2`` of error, to second order.
    """

    tree: Node
    error: float
    spread: _Array


class _Tape:
    """An expression as a list of steps, to be evaluated and differentiated many times."""

    def __init__(self, tree: Node, samples: Samples) -> None:
        self.norm = float(np.linalg.norm(samples.target)) or 1.0
        self.target = samples.target
        self.samples = samples
        columns = samples.columns
        self.steps: list[tuple[str, tuple[int, ...]]] = []
        self.leaves: list[_Array | float] = []
        tunable: dict[int, bool] = {}
        stack: list[int] = []
        for position, part in enumerate(postorder(tree)):
            count = len(part.args)
            operands = tuple(stack[len(stack) - count :])
            del stack[len(stack) - count :]
            self.steps.append((part.op, operands))
            self.leaves.append(columns[part.name] if part.op == "var" else part.value)
            if part.op == "const":
                tunable[position] = True
            elif part.op == "pow" and is_integer_exponent(part.args[1]):
                tunable[operands[1]] = False
            stack.append(position)
        self.positions = [position for position, free in tunable.items() if free]

    def values(self, numbers: _Array) -> list[_Array | float]:
        found: list[_Array | float] = list(self.leaves)
        for position, number in zip(self.positions, numbers, strict=True):
            found[position] = float(number)
        with np.errstate(all="ignore"):
            for position, (op, operands) in enumerate(self.steps):
                if operands:
                    found[position] = OPERATIONS[op](*(found[k] for k in operands))
        return found

    def residual(self, numbers: _Array) -> _Array:
        """Return (expression - target) / norm of the target; a large number where it is undefined."""
        values = np.broadcast_to(np.asarray(self.values(numbers)[-1]), (self.samples.n_states,))
        left = (self.samples.observed(values) - self.target) / self.norm
        return left if np.isfinite(left).all() else np.full(self.target.size, _UNDEFINED)

    def jacobian(self, numbers: _Array) -> _Array:
        """Return the derivative of the residual by the constants, shape (n_rows, n_constants)."""
        values = self.values(numbers)
        adjoints: list[_Array | float] = [0.0] * len(values)
        adjoints[-1] = 1.0 / self.norm
        with np.errstate(all="ignore"):
            for position in range(len(values) - 1, -1, -1):
                op, operands = self.steps[position]
                if not operands:
                    continue
                slopes = DERIVATIVES[op](values[position], *(np.float64(1) * values[k] for k in operands))
                for operand, slope in zip(operands, slopes, strict=True):
                    adjoints[operand] = adjoints[position] * slope
        result = np.empty((self.samples.n_states, len(self.positions)))
        for k, position in enumerate(self.positions):
            result[:, k] = adjoints[position]
        return self.samples.observed(np.nan_to_num(result, nan=0.0, posinf=0.0, neginf=0.0))


def fit_constants(tree: Node, samples: Samples, n_steps: int, fixed: NDArray[np.bool_] | None = None) -> Fit:
    """Fit the constants of an expression by Levenberg-Marquardt, from the values that they have.

    A constant that others can stand in for stays as it is: with it the least squares would have no single
    solution, and rounding would decide which one is found.

    Parameters
    ----------
    tree : Node
    samples : Samples
    n_steps : int
        Largest number of evaluations.
    fixed : ndarray of bool, shape (n_constants,), optional
        Constants that stay as they are.
    """
    tape = _Tape(tree, samples)
    start = np.array(constants(tree), dtype=np.float64)
    free = np.ones(start.size, dtype=bool) if fixed is None else ~fixed
    asked_for = free.copy()
    before = tape.residual(start)
    if free.any():
        free[free] = _independent(tape.jacobian(start)[:, free])
    size = np.where(start == 0, 1.0, np.abs(start))[free]
    if not free.any() or abs(before[0]) == _UNDEFINED or free.sum() > samples.n_rows:
        error = float(before @ before)
        return Fit(tree, error if abs(before[0]) != _UNDEFINED else np.inf, np.zeros(start.size))

    def moved(steps: _Array) -> _Array:
        numbers = start.copy()
        numbers[free] += size * steps
        return numbers

    found = least_squares(
        lambda steps: tape.residual(moved(steps)),
        np.zeros(size.size),
        jac=lambda steps: tape.jacobian(moved(steps))[:, free] * size,
        method="lm",
        xtol=1e-14,
        ftol=1e-14,
        gtol=1e-15,
        max_nfev=n_steps,
    )
    better = np.isfinite(found.x).all() and found.fun @ found.fun <= before @ before
    numbers = moved(found.x) if better else start
    residual = found.fun if better else before
    spread = np.zeros(start.size)
    spread[asked_for] = _spread(tape.jacobian(numbers)[:, asked_for])
    return Fit(with_constants(tree, numbers.tolist()), float(residual @ residual), spread)


def _independent(jacobian: _Array) -> NDArray[np.bool_]:
    """Return which columns are no sum of multiples of those before them, shape (n_constants,)."""
    found = np.zeros(jacobian.shape[1], dtype=bool)
    basis = np.empty((len(jacobian), 0))
    for k, column in enumerate(jacobian.T):
        norm = np.linalg.norm(column)
        rest = column / norm if norm > 0 else column
        for _ in range(2):  # once more, for what rounding left
            rest = rest - basis @ (basis.T @ rest)
        left = np.linalg.norm(rest)
        found[k] = left > _DEPENDENT
        if found[k]:
            basis = np.column_stack([basis, rest / left])
    return found


def _spread(jacobian: _Array) -> _Array:
    """Return the root of the diagonal of (J'J)^-1: large where a constant does not matter."""
    norms = np.linalg.norm(jacobian, axis=0)
    norms = np.where(norms > 0, norms, _ZERO_DIRECTION)
    _, singular, basis = np.linalg.svd(jacobian / norms, full_matrices=False)
    return np.asarray(np.linalg.norm(basis.T / np.maximum(singular, _SINGULAR), axis=1) / norms)
