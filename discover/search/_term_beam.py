"""Beam search over sums of products, by orthogonal projection on the columns of the dictionary."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from discover.search._term_library import Dictionary

__all__ = ["Support", "expand", "start"]

NODE_COST = 0.05
"""Price of one node, in units of the logarithm of the error."""

MAX_CHEAP = 2_500
"""Products without a fitted constant whose pairs are all tried."""

_FLOOR = 1e-13
_DEPENDENT = 1e-4
_BEST_OF_EACH = 60


@dataclass(frozen=True)
class Support:
    """A sum of products: the columns it uses, ascending, and its score (smaller is better)."""

    columns: tuple[int, ...]
    score: float


def start(dictionary: Dictionary, target: NDArray[np.float32], width: int) -> list[Support]:
    """Return the best single products.

    Parameters
    ----------
    dictionary : Dictionary
    target : ndarray of float32, shape (n_rows,)
        Of unit norm.
    width : int
        Supports to return.
    """
    return _extend(dictionary, target, [()], width * 4)[:width]


def expand(
    dictionary: Dictionary, target: NDArray[np.float32], beam: list[Support], width: int
) -> list[Support]:
    """Return the best supports with one product more than those of the beam."""
    found = _extend(dictionary, target, [support.columns for support in beam], _BEST_OF_EACH)
    if beam and len(beam[0].columns) == 1:
        found += _best_cheap_pairs(dictionary, target, width)
    return _best_of_each_structure(dictionary, found)[:width]


def exchange(
    dictionary: Dictionary, target: NDArray[np.float32], beam: list[Support], width: int
) -> list[Support]:
    """Return the best supports with one product of a beam's support replaced."""
    shorter = {s.columns[:k] + s.columns[k + 1 :] for s in beam for k in range(len(s.columns))}
    found = _extend(dictionary, target, sorted(shorter), _BEST_OF_EACH)
    return _best_of_each_structure(dictionary, found + beam)[:width]


def _extend(
    dictionary: Dictionary, target: NDArray[np.float32], supports: list[tuple[int, ...]], n_best: int
) -> list[Support]:
    found: list[Support] = []
    for support in supports:
        basis = np.linalg.qr(dictionary.columns[list(support)].T.astype(np.float64))[0].astype(np.float32)
        residual = target - basis @ (basis.T @ target)
        overlap = dictionary.columns @ np.column_stack([basis, residual])
        free = 1.0 - np.einsum("ij,ij->i", overlap[:, :-1], overlap[:, :-1])
        gain = np.where(free > _DEPENDENT, overlap[:, -1] ** 2 / np.maximum(free, _DEPENDENT), 0.0)
        error = float(residual @ residual) - gain.astype(np.float64)
        cost = dictionary.costs + dictionary.costs[list(support)].sum()
        score = np.log(np.maximum(error, _FLOOR)) + NODE_COST * cost
        best = np.argpartition(score, min(n_best, score.size - 1))[:n_best]
        found += [Support(tuple(sorted((*support, int(k)))), float(score[k])) for k in best if gain[k] > 0]
    return _best_of_each_structure(dictionary, found)


def _best_cheap_pairs(dictionary: Dictionary, target: NDArray[np.float32], width: int) -> list[Support]:
    """Try all pairs of products without a fitted constant, in closed form."""
    cheap = np.flatnonzero(np.isnan(dictionary.constants))
    cheap = cheap[np.argsort(dictionary.costs[cheap], kind="stable")][:MAX_CHEAP]
    columns = dictionary.columns[cheap]
    overlap = (columns @ columns.T).astype(np.float64)
    on_target = (columns @ target).astype(np.float64)
    a, b = np.triu_indices(cheap.size, k=1)
    c = overlap[a, b]
    free = 1.0 - c**2
    explained = (on_target[a] ** 2 + on_target[b] ** 2 - 2 * c * on_target[a] * on_target[b]) / np.maximum(
        free, _DEPENDENT
    )
    error = np.where(free > _DEPENDENT, 1.0 - explained, 1.0)
    score = np.log(np.maximum(error, _FLOOR)) + NODE_COST * (
        dictionary.costs[cheap[a]] + dictionary.costs[cheap[b]]
    )
    best = np.argsort(score, kind="stable")[: 4 * width]
    return [Support(tuple(sorted((int(cheap[a[k]]), int(cheap[b[k]])))), float(score[k])) for k in best]


def _best_of_each_structure(dictionary: Dictionary, supports: Iterable[Support]) -> list[Support]:
    """Sort by score and keep, among sums that differ in inner constants alone, the best."""
    kept: dict[tuple[tuple[int, ...], ...], Support] = {}
    for support in sorted(supports, key=lambda s: (round(s.score, 4), s.columns)):
        structure = tuple(dictionary.products[k] for k in support.columns)
        kept.setdefault(structure, support)
    return list(kept.values())
