"""New forms from the parts of those that did best: their terms, put together in other ways.

Engines that are asked for a whole update find some of its terms here and some there. All terms of the best
candidates are columns of a small linear problem, of which every subset can be tried.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from discover.errors import RuleError
from discover.expression import Node, combine, const, evaluate
from discover.expression.simplify import flat_operands, scaled
from discover.rule import Rule
from discover.search.engine import Samples

__all__ = ["recombined"]

FloatArray = NDArray[np.float64]

MOST_TERMS = 14
"""Terms that are put together; those of the best candidates first."""

MOST_IN_SUM = 4
BEST_OF_EACH = 3
"""Sums that are kept of each number of terms."""


def recombined(rules: Sequence[Rule], samples: Mapping[str, Samples], max_nodes: int) -> list[Rule]:
    """Return rules made of the terms of others, slot by slot, the other slots as in the best rule.

    Parameters
    ----------
    rules : sequence of Rule
        Best first.
    samples : mapping from slot name to Samples
        The teacher's update, by which coefficients are set and sums are ranked.
    max_nodes : int
        Largest size of a rule.
    """
    if not rules:
        return []
    found: dict[Rule, None] = {}
    for slot, teacher in samples.items():
        terms = _terms([rule.expressions[slot] for rule in rules if slot in rule.expressions])
        for node in _best_sums(terms, teacher):
            try:
                rule = Rule({**rules[0].expressions, slot: node}).canonical()
            except RuleError:
                continue
            if rule.size <= max_nodes:
                found.setdefault(rule)
    return list(found)


def _terms(expressions: Sequence[Node]) -> list[Node]:
    """Return the terms of sums without their coefficients, each once."""
    found: dict[Node, None] = {}
    for expression in expressions:
        children = flat_operands(expression)[1] if expression.op in ("add", "sub") else [expression]
        for child in children:
            found.setdefault(_without_coefficient(child))
    return list(found)[:MOST_TERMS]


def _without_coefficient(term: Node) -> Node:
    factor = term
    while factor.op in ("mul", "div"):
        factor = factor.args[0]
    if factor.op == "neg":
        return scaled(term, -1.0)
    if factor.op == "const" and factor is not term and factor.value:
        return scaled(term, 1.0 / factor.value)
    return term


def _best_sums(terms: Sequence[Node], teacher: Samples) -> list[Node]:
    columns, kept = [], []
    for term in terms:
        values = teacher.observed(np.broadcast_to(evaluate(term, teacher.columns), (teacher.n_states,)))
        if np.all(np.isfinite(values)) and np.any(values):
            columns.append(values)
            kept.append(term)
    if not kept:
        return []
    table = np.stack(columns, axis=1)
    gram, moments, power = table.T @ table, table.T @ teacher.target, float(teacher.target @ teacher.target)
    sums: list[Node] = []
    for size in range(1, min(MOST_IN_SUM, len(kept)) + 1):
        tried = [
            _fitted(gram, moments, power, picks) for picks in itertools.combinations(range(len(kept)), size)
        ]
        for _, picks, shares in sorted(tried, key=lambda one: one[:2])[:BEST_OF_EACH]:
            parts = [scaled(kept[n], value) for n, value in zip(picks, shares, strict=True) if value]
            sums.append(reduce(lambda a, b: combine("add", (a, b)), parts) if parts else const(0.0))
    return [node for node in sums if node.op != "const"]


def _fitted(
    gram: FloatArray, moments: FloatArray, power: float, picks: tuple[int, ...]
) -> tuple[float, tuple[int, ...], list[float]]:
    inside = list(picks)
    matrix = gram[np.ix_(inside, inside)]
    values = np.linalg.lstsq(matrix, moments[inside], rcond=1e-10)[0]
    error = power - 2 * float(values @ moments[inside]) + float(values @ matrix @ values)
    return error, picks, values.tolist()
