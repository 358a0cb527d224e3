"""The dictionary of the product-term search: one-variable factors and their products, as columns."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from discover.errors import EngineError, RuleError
from discover.expression import Node, const, evaluate, parse, postorder, var, variables_of
from discover.expression.node import WAVES, own_functions
from discover.search.engine import Samples

__all__ = [
    "Dictionary",
    "Factor",
    "Template",
    "build_dictionary",
    "make_factors",
    "read_templates",
    "substitute",
]

VARIABLE = "v"
CONSTANT = "c"
MAX_COLUMNS = 150_000
"""Largest dictionary; at 400 rows it takes 240 MB."""

_RELATIVE_GRID = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
_WAVE_GRID = tuple(float(size) for size in np.geomspace(0.12, 4.0, 20))
"""The same for functions with many extrema: a fit finds the one that it is near to."""

_EXPONENTS = (1, 2, -1, 0)
_STRUCTURAL = frozenset({"var", "const", "add", "sub", "mul", "neg"})
_N_PROBES = 129


@dataclass(frozen=True)
class Template:
    """One line of the factor library: a function of ``v``, perhaps with a constant ``c``.

    Parameters
    ----------
    tree : Node
    scaling : int
        Power of the spread of ``v`` that ``c`` goes with: 1 for ``1/(c + v)``, 2 for ``1/(c + v**2)``.
    """

    tree: Node
    scaling: int

    @property
    def has_constant(self) -> bool:
        """Whether there is a constant to fit."""
        return CONSTANT in variables_of(self.tree)


@dataclass(frozen=True)
class Factor:
    """A template applied to one variable of the samples.

    Parameters
    ----------
    variable : str
    template : Template
    grid : tuple of float
        Values of the constant that the beam search tries; empty without a constant.
    """

    variable: str
    template: Template
    grid: tuple[float, ...]

    def tree(self, constant: float) -> Node:
        """Return the factor as an expression of its variable."""
        replacements = {VARIABLE: var(self.variable)}
        if self.template.has_constant:
            replacements[CONSTANT] = const(constant)
        return substitute(self.template.tree, replacements)

    def values(self, samples: Samples, constant: float) -> NDArray[np.float64]:
        """Return the factor for every row; NaN throughout if it has a pole or leaves its domain."""
        column = samples.columns[self.variable]
        if not _defined_between(self.template.tree, float(column.min()), float(column.max()), constant):
            return np.full(column.shape, np.nan)
        return self.values_unchecked(samples, constant)

    def values_unchecked(self, samples: Samples, constant: float) -> NDArray[np.float64]:
        """Return the factor for every row, whatever lies between the rows."""
        values = {VARIABLE: samples.columns[self.variable], CONSTANT: np.asarray(constant)}
        return evaluate(self.template.tree, values)


@dataclass(frozen=True, eq=False)
class Dictionary:
    """Products of factors as unit columns.

    Parameters
    ----------
    factors : tuple of Factor
    products : tuple of tuple of int
        Factors of every column, as positions in `factors`; the empty product is the constant 1.
    constants : ndarray, shape (n_columns,)
        Constant of the one factor that has one, NaN without.
    columns : ndarray of float32, shape (n_columns, n_rows)
    costs : ndarray, shape (n_columns,)
        Nodes that the product adds to a sum.
    """

    factors: tuple[Factor, ...]
    products: tuple[tuple[int, ...], ...]
    constants: NDArray[np.float64]
    columns: NDArray[np.float32]
    costs: NDArray[np.float64]

    def without_constants(self) -> Dictionary:
        """Return the part of the dictionary that has no constant to fit."""
        plain = np.isnan(self.constants)
        products = tuple(itertools.compress(self.products, plain))
        return Dictionary(
            self.factors, products, self.constants[plain], self.columns[plain], self.costs[plain]
        )


def substitute(tree: Node, replacements: Mapping[str, Node]) -> Node:
    """Return a tree with variables replaced by other trees.

    Examples
    --------
    >>> str(substitute(parse("1/(c + v)", ("v", "c")), {"v": var("y"), "c": const(0.5)}))
    '1/(0.5 + y)'
    """
    stack: list[Node] = []
    for part in postorder(tree):
        if part.op == "var":
            stack.append(replacements.get(part.name, part))
        elif not part.args:
            stack.append(part)
        else:
            args = tuple(stack[-len(part.args) :])
            del stack[-len(part.args) :]
            stack.append(Node(part.op, args))
    return stack.pop()


def read_templates(texts: Sequence[str], operators: Sequence[str]) -> list[Template]:
    """Read the factor library, leaving out what needs an operation that is not allowed.

    Raises
    ------
    EngineError
        If a line cannot be read or does not use ``v``; the text names the line.
    """
    templates = []
    for text in texts:
        try:
            tree = parse(text, (VARIABLE, CONSTANT))
        except RuleError as error:
            raise EngineError(
                f"The factor {text[:60]!r} of the product-term search cannot be read. {error}"
            ) from None
        if VARIABLE not in variables_of(tree):
            raise EngineError(f"The factor {text[:60]!r} of the product-term search is not a function of v.")
        if _is_allowed(tree, operators):
            templates.append(Template(tree, _scaling(tree)))
    return templates


def _is_allowed(tree: Node, operators: Sequence[str]) -> bool:
    allowed = {*_STRUCTURAL, *operators, *own_functions()}
    for part in postorder(tree):
        whole_power = part.op == "pow" and part.args[1].op == "const" and part.args[1].value.is_integer()
        if not (whole_power or part.op in allowed):
            return False
    return True


def _scaling(tree: Node) -> int:
    """Find k such that v -> s v, c -> s^k c only multiplies the function; 1 if there is none."""
    probe = np.linspace(0.3, 0.9, 5)
    scale = 0.7
    before = evaluate(tree, {VARIABLE: probe, CONSTANT: np.float64(1.3)})
    for exponent in _EXPONENTS:
        after = evaluate(tree, {VARIABLE: scale * probe, CONSTANT: np.float64(1.3 * scale**exponent)})
        with np.errstate(all="ignore"):
            ratio = after / before
        if np.ptp(ratio) < 1e-9 * abs(ratio[0]):
            return exponent
    return 1


def _defined_between(tree: Node, low: float, high: float, constant: float) -> bool:
    """Whether a factor has no pole and stays inside its domain everywhere from `low` to `high`."""
    values = {VARIABLE: np.linspace(low, high, _N_PROBES), CONSTANT: np.asarray(constant)}
    if not np.isfinite(evaluate(tree, values)).all():
        return False
    for part in postorder(tree):
        if part.op == "div" and part.args[1].op != "const":
            denominator = evaluate(part.args[1], values)
            if denominator.min() <= 0 <= denominator.max():
                return False
    return True


def make_factors(
    samples: Samples, templates: Sequence[Template], sizes: Sequence[float] = _RELATIVE_GRID
) -> list[Factor]:
    """Apply every template to every variable, leaving out what is undefined, constant or there already.

    Constants are tried at `sizes`, relative to the spread of the variable.
    """
    factors: list[Factor] = []
    for name, column in samples.columns.items():
        spread = float(np.sqrt(np.mean(column**2)))
        seen: list[NDArray[np.float64]] = []
        for template in templates:
            tried = _WAVE_GRID if any(part.op in WAVES for part in postorder(template.tree)) else sizes
            grid = _grid(template, spread, tried) if template.has_constant else (np.nan,)
            usable = tuple(c for c in grid if _is_new(Factor(name, template, ()).values(samples, c), seen))
            if usable:
                factors.append(Factor(name, template, usable if template.has_constant else ()))
    return factors


def _grid(template: Template, spread: float, sizes: Sequence[float]) -> tuple[float, ...]:
    return tuple(r * (spread or 1.0) ** template.scaling for r in sizes)


def _is_new(column: NDArray[np.float64], seen: list[NDArray[np.float64]]) -> bool:
    """Remember a column, unless it is not finite, constant, or a multiple of one seen before."""
    with np.errstate(all="ignore"):
        unit = column / np.linalg.norm(column)
    if not np.isfinite(unit).all() or np.ptp(unit) < 1e-9 * np.abs(unit).max():
        return False
    if any(abs(float(unit @ other)) > 1 - 1e-12 for other in seen):
        return False
    seen.append(unit)
    return True


def build_dictionary(samples: Samples, factors: Sequence[Factor], max_factors: int) -> Dictionary:
    """Evaluate all products of up to `max_factors` factors, at most one of them with a constant to fit.

    Raises
    ------
    EngineError
        If there are more than 150,000 products.
    """
    _check_size(factors, max_factors)
    table = [np.array([factor.values(samples, c) for c in factor.grid or (np.nan,)]) for factor in factors]
    table = [_unit(rows) for rows in table]
    products: list[tuple[int, ...]] = []
    constants: list[float] = []
    blocks: list[NDArray[np.float32]] = []
    for product in _products(factors, max_factors):
        values = np.prod(np.broadcast_arrays(np.ones((1, samples.n_states)), *(table[k] for k in product)), 0)
        rows = _unit(samples.observed(values.T).T)
        usable = np.isfinite(rows).all(axis=1)
        grid = next((factors[k].grid for k in product if factors[k].grid), (np.nan,))
        blocks.append(rows[usable].astype(np.float32))
        constants += np.array(grid)[usable].tolist()
        products += [product] * int(usable.sum())
    costs = np.array([_cost(factors, product) for product in products])
    return Dictionary(tuple(factors), tuple(products), np.array(constants), np.concatenate(blocks), costs)


def _check_size(factors: Sequence[Factor], max_factors: int) -> None:
    """Count the products before any is made."""
    n_plain = sum(not factor.grid for factor in factors)
    n_values = sum(len(factor.grid) for factor in factors)
    n_columns = sum(math.comb(n_plain, size) for size in range(max_factors + 1))
    n_columns += n_values * sum(math.comb(n_plain, size) for size in range(max_factors))
    if n_columns > MAX_COLUMNS:
        raise EngineError(
            f"The factor library makes {n_columns:,} products of up to {max_factors} factors; the most "
            f"allowed is {MAX_COLUMNS:,}. Take factors out of it, or lower max_factors."
        )


def _products(factors: Sequence[Factor], max_factors: int) -> Iterator[tuple[int, ...]]:
    for size in range(max_factors + 1):
        for product in itertools.combinations(range(len(factors)), size):
            if sum(bool(factors[k].grid) for k in product) <= 1:
                yield product


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(all="ignore"):
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def _cost(factors: Sequence[Factor], product: tuple[int, ...]) -> float:
    """Count the nodes of coefficient, product and the sign that joins it to the sum."""
    return 2.0 + sum(factors[k].template.tree.complexity + 1 for k in product)
