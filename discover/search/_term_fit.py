"""Fitting one sum of products: inner constants by variable projection, round numbers, and the expression."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from discover.expression import Node, const
from discover.search._term_library import Factor
from discover.search.engine import Samples

__all__ = ["Sum", "fit", "rounded", "to_expression", "without_weakest"]

_MAX_EVALUATIONS = 200
_REACH = float(np.log(1e3))
_ROUNDING = 1e-24
_STANDARD_ERRORS = 2
_DIGITS = (1, 2, 3)


@dataclass(frozen=True)
class Sum:
    """A sum of products of factors, with its constants.

    Parameters
    ----------
    products : tuple of tuple of int
        Factors of every product, as positions in the list of factors.
    constants : tuple of float
        Constant inside every product, NaN without.
    coefficients : tuple of float
        Factor before every product.
    error : float
        Squared error over all rows, divided by the squared norm of the target.
    """

    products: tuple[tuple[int, ...], ...]
    constants: tuple[float, ...]
    coefficients: tuple[float, ...] = ()
    error: float = np.inf


class _Problem:
    """The rows, the factors and the products that one sum is fitted with."""

    def __init__(self, samples: Samples, factors: Sequence[Factor], products: tuple[tuple[int, ...], ...]):
        self.samples = samples
        self.factors = factors
        self.products = products
        self.scale = float(np.linalg.norm(samples.target)) or 1.0
        self.target = samples.target / self.scale
        self.plain = [self.product([i for i in p if not factors[i].grid], np.nan) for p in products]
        self.inner = [[i for i in p if factors[i].grid] for p in products]

    def product(self, positions: Sequence[int], constant: float) -> NDArray[np.float64]:
        column = np.ones(self.samples.n_states)
        for i in positions:
            column = column * self.factors[i].values_unchecked(self.samples, constant)
        return column

    def design(self, constants: Sequence[float]) -> NDArray[np.float64]:
        columns = [
            plain * self.product(inner, constant) if inner else plain
            for plain, inner, constant in zip(self.plain, self.inner, constants, strict=True)
        ]
        return self.samples.observed(np.column_stack(columns))

    def is_defined(self, constants: Sequence[float]) -> bool:
        """Whether no product vanishes, and none has a pole or a root's edge between the rows."""
        norms = np.linalg.norm(self.design(constants), axis=0)
        factors = [
            self.factors[i].values(self.samples, constant)
            for inner, constant in zip(self.inner, constants, strict=True)
            for i in inner
        ]
        return bool(np.isfinite(norms).all() and (norms > 0).all() and np.isfinite(factors).all())

    def residual(self, constants: Sequence[float]) -> NDArray[np.float64]:
        """Return what is left of the target after projection on the products; more than it if undefined."""
        design = self.design(constants)
        norms = np.linalg.norm(design, axis=0)
        if not (np.isfinite(norms) & (norms > 0)).all():
            return 10.0 * self.target
        basis = np.linalg.qr(design / norms)[0]
        return np.asarray(self.target - basis @ (basis.T @ self.target))

    def solve(self, constants: Sequence[float], fixed: Sequence[float] | None = None) -> Sum:
        """Fit the coefficients that are not `fixed` (NaN: free)."""
        design = self.design(constants)
        norms = np.linalg.norm(design, axis=0)
        given = np.full(norms.size, np.nan) if fixed is None else np.array(fixed) / self.scale
        free = np.isnan(given)
        coefficients = np.where(free, 0.0, given)
        if not (np.isfinite(norms) & (norms > 0))[free].all():  # a round constant may make a product vanish
            return Sum(self.products, tuple(constants), tuple(coefficients.tolist()))
        rest = self.target - design @ coefficients
        if free.any():
            solution = np.linalg.lstsq(design[:, free] / norms[free], rest, rcond=1e-12)[0]
            coefficients[free] = solution / norms[free]
        error = float(np.sum((self.target - design @ coefficients) ** 2))
        return Sum(self.products, tuple(constants), tuple((coefficients * self.scale).tolist()), error)


def fit(samples: Samples, factors: Sequence[Factor], start: Sum) -> Sum | None:
    """Fit all constants on all rows; None where a product is undefined or vanishes.

    The inner constants c are found by least squares over log c, with the coefficients solved for at every
    step (variable projection).

    References
    ----------
    Golub and Pereyra (1973), SIAM J. Numer. Anal. 10:413.
    """
    problem = _Problem(samples, factors, start.products)
    constants = np.array(start.constants)
    inner = np.flatnonzero(~np.isnan(constants))
    if inner.size:
        constants[inner] = _project(problem.residual, constants, inner)
    return problem.solve(constants.tolist()) if problem.is_defined(constants.tolist()) else None


def _project(
    residual: Callable[[Sequence[float]], NDArray[np.float64]],
    constants: NDArray[np.float64],
    inner: NDArray[np.intp],
) -> NDArray[np.float64]:
    def moved(logarithms: NDArray[np.float64]) -> NDArray[np.float64]:
        trial = constants.copy()
        trial[inner] *= np.exp(np.clip(logarithms, -_REACH, _REACH))
        return trial

    def at(logarithms: NDArray[np.float64]) -> NDArray[np.float64]:
        return residual(moved(logarithms).tolist())

    tolerance = {"ftol": 1e-15, "xtol": 1e-15, "gtol": 1e-15}
    found = least_squares(at, np.zeros(inner.size), method="lm", max_nfev=_MAX_EVALUATIONS, **tolerance)
    return moved(found.x)[inner]


def without_weakest(samples: Samples, factors: Sequence[Factor], full: Sum) -> Sum:
    """Return the sum without the product whose loss costs least, its constants to be fitted again."""
    problem = _Problem(samples, factors, full.products)
    n_products = len(full.products)
    free = [np.nan] * n_products
    errors = [problem.solve(full.constants, _with(free, k, 0.0)).error for k in range(n_products)]
    keep = [k for k in range(n_products) if k != int(np.argmin(errors))]
    return Sum(tuple(full.products[k] for k in keep), tuple(full.constants[k] for k in keep))


def rounded(samples: Samples, factors: Sequence[Factor], fitted: Sum) -> Sum:
    """Replace constants by round numbers that lie within two standard errors of them.

    A constant one standard error off raises the squared error by its n-th part, n the number of rows; two
    standard errors, by four times that.
    """
    problem = _Problem(samples, factors, fitted.products)
    step = _STANDARD_ERRORS**2 * fitted.error / samples.n_rows + _ROUNDING
    allowed = fitted.error + step
    current = fitted
    for k, constant in enumerate(fitted.constants):
        if not np.isnan(constant):
            trials = [_with(current.constants, k, value) for value in _round_numbers(constant)]
            better = _first_within(allowed, [problem.solve(trial) for trial in trials])
            current, allowed = (better, better.error + step) if better else (current, allowed)
    fixed = [np.nan] * len(fitted.products)
    for k in range(len(fixed)):
        trials = [_with(fixed, k, value) for value in _round_numbers(current.coefficients[k])]
        better = _first_within(allowed, [problem.solve(current.constants, trial) for trial in trials])
        if better:
            current, allowed, fixed[k] = better, better.error + step, better.coefficients[k]
    return _clean(current, fixed)


def _with(values: Sequence[float], k: int, value: float) -> list[float]:
    return [value if j == k else old for j, old in enumerate(values)]


def _round_numbers(value: float) -> list[float]:
    return [float(f"{value:.{digits - 1}e}") for digits in _DIGITS]


def _first_within(allowed: float, candidates: list[Sum]) -> Sum | None:
    return next((candidate for candidate in candidates if candidate.error <= allowed), None)


def _clean(fitted: Sum, fixed: Sequence[float]) -> Sum:
    """Put back the round numbers themselves, which passed through the scale of the target."""
    pairs = zip(fixed, fitted.coefficients, strict=True)
    return replace(
        fitted, coefficients=tuple(old if np.isnan(new) else float(f"{new:.6g}") for new, old in pairs)
    )


def to_expression(factors: Sequence[Factor], fitted: Sum) -> Node:
    """Write the sum as an expression, reciprocal factors as divisions."""
    total: Node | None = None
    for product, constant, coefficient in zip(
        fitted.products, fitted.constants, fitted.coefficients, strict=True
    ):
        if coefficient == 0:
            continue
        if total is None:
            total = _product(factors, product, constant, coefficient)
        else:
            term = _product(factors, product, constant, abs(coefficient))
            total = Node("add" if coefficient > 0 else "sub", (total, term))
    return total or const(0.0)


def _product(
    factors: Sequence[Factor], product: tuple[int, ...], constant: float, coefficient: float
) -> Node:
    above = [] if coefficient == 1 and product else [const(coefficient)]
    below = []
    for tree in (factors[k].tree(constant) for k in product):
        if tree.op == "div" and tree.args[0].op == "const":
            below.append(tree.args[1])
            if tree.args[0].value != 1:
                above.append(tree.args[0])
        else:
            above.append(tree)
    result = above[0] if above else const(1.0)
    for tree in above[1:]:
        result = Node("mul", (result, tree))
    for tree in below:
        result = Node("div", (result, tree))
    return result
