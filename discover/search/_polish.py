"""Fitting the constants of any expression on all rows, and taking out what the data do not ask for."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from discover.errors import RuleError
from discover.expression import Node, canonical, const, constants, evaluate, postorder, with_constants
from discover.expression.node import is_integer_exponent
from discover.search._constants import Fit, fit_constants
from discover.search.engine import Samples

__all__ = ["fold_wrappers", "polished", "sum_of_terms", "terms_of"]

_MAX_CONSTANTS = 25
_MAX_CHANGES = 30
_MAX_TRIALS = 4
_FIT_STEPS = 60
_TRIAL_STEPS = 15
_STANDARD_ERRORS = 2
_ROUNDING = 1e-24
_DIGITS = (1, 2, 3, 4, 5, 6, 8, 10)
_LARGEST_EXPONENT = 50.0


def polished(expression: Node, samples: Samples) -> list[Node]:
    """Return an expression with constants fitted on all rows, and a tidier one.

    The tidy form has fewer nodes or rounder constants: a constant becomes 0, 1, -1 or a round number where
    that lies within two standard errors of it, one after another, with the others fitted again.

    Parameters
    ----------
    expression : Node
        A factor and an offset that are missing are put in first.
    samples : Samples

    Returns
    -------
    list of Node
        Empty where the expression is not finite on the samples.
    """
    try:
        tree = fold_wrappers(expression, samples)
        if len(constants(tree)) > _MAX_CONSTANTS:
            return []
        fitted = fit_constants(tree, samples, _FIT_STEPS)
        if not np.isfinite(fitted.error):
            return []
        return [fitted.tree, _with_round_constants(_tidy(fitted, samples), samples)]
    except RuleError:
        # A number that overflowed, or a tree that grew beyond what a rule may be.
        return []


def fold_wrappers(expression: Node, samples: Samples) -> Node:
    """Return ``factor * expression + offset`` with both fitted and multiplied out, every scale kept once.

    Raises
    ------
    RuleError
        If the expression is not finite on the samples.
    """
    values = evaluate(expression, samples.columns)
    if not np.isfinite(values).all():
        raise RuleError("The expression is not finite on the samples.")
    factor, offset = _line(samples.observed(values), samples.observed(np.ones(len(values))), samples.target)
    whole = Node("add", (Node("mul", (const(float(factor)), expression)), const(float(offset))))
    scaled = _one_scale_each(canonical(whole, samples.variables))
    return canonical(sum_of_terms(list(terms_of(scaled))), samples.variables)


def _line(
    values: NDArray[np.float64], ones: NDArray[np.float64], target: NDArray[np.float64]
) -> tuple[float, float]:
    """Return factor and offset of the least-squares line ``factor * values + offset * ones``."""
    along = float(ones @ ones)
    mean, level = float(ones @ values) / along, float(ones @ target) / along
    centred = values - mean * ones
    power = float(centred @ centred)
    factor = float(centred @ (target - level * ones)) / power if power > 0 else 0.0
    return factor, level - factor * mean


def _one_scale_each(tree: Node) -> Node:
    """Pull factors out of everything that they can be pulled out of, and signs out of odd functions.

    ``2*(3*x - 6*y)*tanh(-w)`` has a constant too many and hides its sign: ``12*tanh(w)*(y - 0.5*x)``. With a
    constant too many the least squares have no single solution, and rounding decides which one is found.
    """
    stack: list[Node] = []
    for part in postorder(tree):
        count = len(part.args)
        args = tuple(stack[len(stack) - count :])
        del stack[len(stack) - count :]
        rescaled = _RESCALED.get(part.op)
        node = Node(part.op, args, part.name, part.value)
        stack.append(node if rescaled is None else rescaled(node))
    return stack.pop()


def _of_product(node: Node) -> Node:
    (left, a), (right, b) = (_scale_and_rest(arg) for arg in node.args)
    scale = a * b if node.op == "mul" else a / b
    return _times(scale, Node(node.op, (left, right))) if _is_scale(scale) else node


def _of_sign(node: Node) -> Node:
    rest, scale = _scale_and_rest(node.args[0])
    return _times(math.copysign(1.0, scale), Node("sign", (rest,)))


def _of_tanh(node: Node) -> Node:
    rest, scale = _scale_and_rest(node.args[0])
    return _times(-1.0, Node("tanh", (_times(-scale, rest),))) if scale < 0 else node


def _of_abs(node: Node) -> Node:
    rest, scale = _scale_and_rest(node.args[0])
    return _times(abs(scale), Node("abs", (rest,)))


def _of_sqrt(node: Node) -> Node:
    rest, scale = _scale_and_rest(node.args[0])
    return _times(math.sqrt(abs(scale)), Node("sqrt", (_times(math.copysign(1.0, scale), rest),)))


def _of_pow(node: Node) -> Node:
    (rest, scale), exponent = _scale_and_rest(node.args[0]), node.args[1]
    if exponent.op != "const" or (scale < 0 and not is_integer_exponent(exponent)):
        return node
    try:
        factor = scale**exponent.value
    except OverflowError:
        return node
    return _times(factor, Node("pow", (rest, exponent))) if _is_scale(factor) else node


def _of_exp(node: Node) -> Node:
    """``exp(x + c)`` is ``exp(c)*exp(x)``."""
    terms = list(terms_of(node.args[0]))
    offset = sum(scale for rest, scale in terms if rest is None)
    variable = [(rest, scale) for rest, scale in terms if rest is not None]
    if not variable or offset == 0 or abs(offset) > _LARGEST_EXPONENT:
        return node
    return _times(math.exp(offset), Node("exp", (sum_of_terms(variable),)))


def _of_max(node: Node) -> Node:
    """Pull a scale out where both operands have one; ``max(2*x, y)`` has no constant too many."""
    parts = [_scale_and_rest(arg) for arg in node.args]
    scales = [abs(scale) for rest, scale in parts if not (rest.op == "const" and rest.value == 0)]
    if not scales or 1.0 in scales:
        return node
    return _times(scales[0], Node(node.op, tuple(_times(scale / scales[0], rest) for rest, scale in parts)))


_RESCALED: dict[str, Callable[[Node], Node]] = {
    "mul": _of_product,
    "div": _of_product,
    "tanh": _of_tanh,
    "sign": _of_sign,
    "abs": _of_abs,
    "sqrt": _of_sqrt,
    "pow": _of_pow,
    "exp": _of_exp,
    "max": _of_max,
    "min": _of_max,
}


def _is_scale(value: float) -> bool:
    return math.isfinite(value) and value != 0


def _scale_and_rest(node: Node) -> tuple[Node, float]:
    """Split a tree into a number and what it multiplies; a sum is divided by its largest coefficient."""
    if node.op == "neg":
        rest, scale = _scale_and_rest(node.args[0])
        return rest, -scale
    if node.op == "const" and node.value != 0:
        return const(1.0), node.value
    if node.op == "mul" and node.args[0].op == "const" and node.args[0].value != 0:
        rest, scale = _scale_and_rest(node.args[1])
        return rest, scale * node.args[0].value
    if node.op in ("add", "sub"):
        terms = list(terms_of(node))
        lead = max((scale for rest, scale in terms if rest is not None), key=abs, default=0.0)
        if lead:
            return sum_of_terms([(rest, scale / lead) for rest, scale in terms]), lead
    return node, 1.0


def terms_of(node: Node) -> Iterator[tuple[Node | None, float]]:
    """Yield the terms of a sum as trees with their coefficients; None for a constant."""
    todo = [(node, 1.0)]
    while todo:
        part, sign = todo.pop()
        if part.op in ("add", "sub"):
            todo.append((part.args[1], -sign if part.op == "sub" else sign))
            todo.append((part.args[0], sign))
        elif part.op == "const":
            yield None, sign * part.value
        elif part.op == "mul" and part.args[0].op == "const" and part.args[1].op in ("add", "sub"):
            todo.append((part.args[1], sign * part.args[0].value))
        else:
            rest, scale = _scale_and_rest(part)
            yield rest, sign * scale


def sum_of_terms(terms: Sequence[tuple[Node | None, float]]) -> Node:
    """Return the sum of trees times numbers; None stands for 1."""
    trees = [const(scale) if rest is None else _times(scale, rest) for rest, scale in terms]
    total = trees[0]
    for tree in trees[1:]:
        total = Node("add", (total, tree))
    return total


def _times(scale: float, node: Node) -> Node:
    return node if scale == 1 else Node("mul", (const(scale), node))


def _tidy(fitted: Fit, samples: Samples) -> Fit:
    """Set constants to 0, 1 or -1 as long as that shortens the expression and costs next to nothing."""
    for _ in range(_MAX_CHANGES):
        allowed = _allowed(fitted.error, samples.n_rows)
        trees = itertools.islice(_shorter_trees(fitted, allowed - fitted.error, samples), _MAX_TRIALS)
        trials = (fit_constants(tree, samples, _TRIAL_STEPS) for tree in trees)
        shorter = next((trial for trial in trials if trial.error <= allowed), None)
        if shorter is None:
            return fitted
        fitted = shorter
    return fitted


def _allowed(error: float, n_rows: int) -> float:
    """Return the error that one constant may bring; one standard error off costs the n-th part."""
    return error + _STANDARD_ERRORS**2 * error / n_rows + _ROUNDING


def _shorter_trees(fitted: Fit, budget: float, samples: Samples) -> Iterator[Node]:
    """Yield what becomes shorter by one constant at 0, 1 or -1: zeros first, the cheapest first."""
    values = constants(fitted.tree)
    changes = []
    for k, (value, spread) in enumerate(zip(values, fitted.spread, strict=True)):
        for target in (0.0, 1.0, -1.0):
            cost = ((target - value) / spread) ** 2 if spread > 0 else np.inf
            # The estimate is of second order; the fit that follows has the last word.
            if target != value and cost <= 4 * budget:
                changes.append((target != 0, cost, k, target))
    for _, _, k, target in sorted(changes):
        trial = [target if j == k else value for j, value in enumerate(values)]
        tree = canonical(with_constants(fitted.tree, trial), samples.variables)
        if tree.complexity < fitted.tree.complexity:
            yield tree


def _with_round_constants(fitted: Fit, samples: Samples) -> Node:
    """Round one constant after another, with those not rounded yet fitted again."""
    fixed = np.zeros(len(fitted.spread), dtype=bool)
    for k in range(fixed.size):
        fixed[k] = True
        rounder = _rounded(fitted, k, fixed, samples)
        fixed[k] = rounder is not None
        fitted = rounder or fitted
    return _shortest_signs(canonical(fitted.tree, samples.variables), samples.variables)


def _shortest_signs(tree: Node, variables: tuple[str, ...]) -> Node:
    """Turn differences inside odd functions round where that saves a sign: ``-tanh(w - y)``."""
    odd = [part for part in postorder(tree) if part.op in ("tanh", "sign") and part.args[0].op == "sub"]
    for part in dict.fromkeys(odd):
        turned = Node("neg", (Node(part.op, (Node("sub", part.args[0].args[::-1]),)),))
        trial = canonical(_replaced(tree, part, turned), variables)
        if trial.complexity < tree.complexity:
            tree = trial
    return tree


def _replaced(tree: Node, old: Node, new: Node) -> Node:
    stack: list[Node] = []
    for part in postorder(tree):
        count = len(part.args)
        args = tuple(stack[len(stack) - count :])
        del stack[len(stack) - count :]
        stack.append(new if part == old else Node(part.op, args, part.name, part.value))
    return stack.pop()


def _rounded(fitted: Fit, k: int, fixed: NDArray[np.bool_], samples: Samples) -> Fit | None:
    allowed = _allowed(fitted.error, samples.n_rows)
    values = constants(fitted.tree)
    for digits in _DIGITS:
        target = float(f"{values[k]:.{digits - 1}e}")
        too_far = 2 * math.sqrt(allowed - fitted.error) * fitted.spread[k]
        if abs(target - values[k]) > too_far > 0:
            continue
        trial = [target if j == k else value for j, value in enumerate(values)]
        refitted = fit_constants(with_constants(fitted.tree, trial), samples, _TRIAL_STEPS, fixed)
        if refitted.error <= allowed:
            return refitted
    return None
