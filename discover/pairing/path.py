"""The L1 path over the terms of a rule, at given time constants, with refits judged on left-out protocols."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from discover.pairing.grid import Bench, Form, Ranked
from discover.pairing.terms import Term

__all__ = ["PathStep", "l1_path"]

N_PENALTIES, SMALLEST = 60, 1e-3
"""Penalties of the path, and the smallest one over the largest."""


@dataclass(frozen=True, eq=False)
class PathStep:
    """A set of terms on the path.

    Attributes
    ----------
    penalty : float
        The largest weight of the penalty with these terms, in squared standard errors a protocol.
    rule : Ranked
        The same terms fitted without penalty, time constants chosen anew.
    """

    penalty: float
    rule: Ranked


def l1_path(bench: Bench, terms: Sequence[Term], at: Ranked) -> list[PathStep]:
    """Return the sets of terms along the penalty, from few to many.

    Parameters
    ----------
    bench : Bench
    terms : sequence of Term
    at : Ranked
        Its time constants are those of the path.
    """
    from sklearn.linear_model import lasso_path

    from discover.pairing.terms import design

    rows = design(bench.protocols, at.traces, terms, bench.tie) / bench.errors[:, None]
    sizes = np.linalg.norm(rows, axis=0)
    rows = rows / np.where(sizes > 0, sizes, 1.0)
    target = bench.changes / bench.errors
    largest = float(np.abs(rows.T @ target).max()) / len(target)
    if not largest > 0:
        return []
    grid = np.geomspace(largest, SMALLEST * largest, N_PENALTIES)
    penalties, coefficients, _ = lasso_path(rows, target, alphas=grid, max_iter=100_000, random_state=0)
    found: dict[frozenset[Term], PathStep] = {}
    for penalty, column in zip(penalties, coefficients.T, strict=True):
        support = tuple(term for term, value in zip(terms, column, strict=True) if value != 0)
        if support and frozenset(support) not in found and len(support) <= len(bench.protocols) - 2:
            judged = bench.judged(Form(support))
            if judged is not None:
                found[frozenset(support)] = PathStep(float(penalty), judged)
    return list(found.values())
