"""Settings of the inference from recorded data, with their bounds."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated

from annotated_types import Ge, Gt, Le

from discover.search.settings import DEFAULT_FACTORS, OperonSettings, SearchSettings

__all__ = ["IN_ANY_UNIT", "InferSettings"]

IN_ANY_UNIT = (
    "v",
    "v**2",
    "tanh(v/c)",
    "tanh(v/c)**2",
    "abs(v)",
    "sqrt(v)",
    "sqrt(c - v)",
    "exp(-abs(v)/c)",
    "1/(c + v)",
    "1/(c + v**2)",
)
"""The functions of the product-term search, each with a constant that carries the unit of its variable.

``tanh(v)`` and ``1 - v`` would be other functions in every unit. A bound ``c - v`` is a sum of two products,
and what both have in common is written once afterwards.
"""


@dataclass(frozen=True)
class InferSettings:
    """How rules are inferred from recorded data.

    Parameters
    ----------
    degree : int
        Largest power of a variable in the polynomial basis.
    max_terms : int
        Most terms of the basis; the largest total degree that fits is taken.
    folds : int
        Parts of the cross-validation; recordings are never split. One recording a part where there are fewer.
    heldout : float
        Share of the recordings that are seen by no engine and by no choice, and are predicted last. None are
        kept where fewer than five recordings are there.
    blocks : int
        Blocks of rows that stand for recordings in data without such a column.
    n_penalties : int
        Points of the L1 path.
    resolution : float
        Losses that differ by a smaller share of the lowest one are equally good.
    floor : float
        Losses below this share of the variance are all zero: the rest is rounding.
    permutations : int
        Rearrangements of the data that say what chance alone gives; 0 for none.
    seed : int
    search : SearchSettings
        Operations and budgets of the engines. Where the functions of the product-term search are those of
        simulated networks, :data:`IN_ANY_UNIT` takes their place.
    """

    degree: Annotated[int, Ge(1), Le(8)] = 2
    max_terms: Annotated[int, Ge(2), Le(2000)] = 120
    folds: Annotated[int, Ge(2), Le(100)] = 10
    heldout: Annotated[float, Ge(0), Le(0.5)] = 0.2
    blocks: Annotated[int, Ge(2), Le(1000)] = 10
    n_penalties: Annotated[int, Ge(3), Le(500)] = 40
    resolution: Annotated[float, Ge(0), Le(1)] = 0.01
    floor: Annotated[float, Gt(0), Le(0.1)] = 1e-10
    permutations: Annotated[int, Ge(0), Le(10_000)] = 199
    seed: Annotated[int, Ge(0)] = 0
    search: SearchSettings = field(
        default_factory=lambda: SearchSettings(
            operators=("div", "tanh", "exp", "sqrt", "abs"),
            operon=OperonSettings(generations=40, population_size=400),
        )
    )

    def __post_init__(self) -> None:
        terms = self.search.terms
        if terms.factors == DEFAULT_FACTORS:
            in_any_unit = replace(self.search, terms=replace(terms, factors=IN_ANY_UNIT))
            object.__setattr__(self, "search", in_any_unit)
