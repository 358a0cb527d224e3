"""Settings of the inference from recorded data, with their bounds."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated

from annotated_types import Ge, Gt, Le

from discover.errors import ConfigError
from discover.expression.node import WAVES, own_functions
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
    functions : tuple of str
        Further functions that rules may have: ``sin``, ``cos``, and those of
        :func:`discover.expression.define_function`. The product-term search applies each to a variable
        divided by a constant; pyoperon has ``sin`` and ``cos``.
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
    functions: tuple[str, ...] = ()
    search: SearchSettings = field(
        default_factory=lambda: SearchSettings(
            operators=("div", "tanh", "exp", "sqrt", "abs"),
            operon=OperonSettings(generations=40, population_size=400),
        )
    )

    def __post_init__(self) -> None:
        search, terms, operon = self.search, self.search.terms, self.search.operon
        factors = IN_ANY_UNIT if terms.factors == DEFAULT_FACTORS else terms.factors
        on_offer = [name for name in WAVES if name in self.functions]
        for name in self.functions:
            if name not in (*WAVES, *own_functions()):
                raise ConfigError(
                    f"functions: {name[:40]!r} is neither {' nor '.join(WAVES)} and was not defined: "
                    "discover.expression.define_function does so."
                )
        new = tuple(factor for name in self.functions if (factor := f"{name}(v/c)") not in factors)
        operators = tuple(dict.fromkeys([*search.operators, *on_offer]))
        sets = operon.operator_sets
        if on_offer and tuple(on_offer) not in sets:
            sets = (*sets, tuple(on_offer))
        changed = replace(
            search,
            operators=operators,
            terms=replace(terms, factors=(*factors, *new)),
            operon=replace(operon, operator_sets=sets),
        )
        object.__setattr__(self, "search", changed)
