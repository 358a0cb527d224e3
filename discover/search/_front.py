"""From the expressions an engine found to its front: canonical trees, error over all rows, no duplicates."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from discover.errors import RuleError
from discover.expression import Node, canonical, evaluate
from discover.search.engine import Proposal, Samples

__all__ = ["EXACT", "front", "nmse"]

EXACT = 1e-26
"""Error below which the rest is rounding; a front does not go on below it."""

_LEAST_GAIN = 1e-6


def nmse(expression: Node, samples: Samples) -> float:
    """Return the mean squared error divided by the variance of the target; infinity where it is not finite.

    A target without variance is compared with its mean square instead.
    """
    with np.errstate(all="ignore"):
        residual = samples.observed(evaluate(expression, samples.columns)) - samples.target
        error = float(np.mean(residual**2))
    power = float(np.var(samples.target)) or float(np.mean(samples.target**2)) or 1.0
    return error / power if np.isfinite(error) else np.inf


def front(
    expressions: Iterable[Node],
    samples: Samples,
    engine: str,
    max_nodes: int,
    complexity_of: Callable[[Node], float] = lambda tree: tree.complexity,
) -> list[Proposal]:
    """Return the expressions that no other beats in both complexity and error, sorted by complexity.

    Parameters
    ----------
    expressions : iterable of Node
    samples : Samples
        All rows; every expression is scored on them.
    engine : str
    max_nodes : int
        Larger expressions are left out.
    complexity_of : callable, optional
        What an expression counts, such as :meth:`SearchSettings.complexity_of`; default its nodes.
    """
    unique: dict[str, Node] = {}
    for expression in expressions:
        tree = _canonical(expression, samples.variables)
        if tree is not None and tree.complexity <= max_nodes:
            unique.setdefault(str(tree), tree)
    scored = [(complexity_of(tree), nmse(tree, samples), text) for text, tree in unique.items()]
    kept: list[Proposal] = []
    best = np.inf
    for _, error, text in sorted(scored):
        if error < best * (1 - _LEAST_GAIN) and best > EXACT:
            kept.append(Proposal(unique[text], error, engine))
            best = error
    return kept


def _canonical(expression: Node, variables: tuple[str, ...]) -> Node | None:
    try:
        return canonical(expression, variables)
    except RuleError:
        # Expanding can overflow, for example 1e200*x*1e200: such an expression is no rule.
        return None
