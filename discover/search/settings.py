"""Settings of the symbolic engines, with their bounds; a pipeline file is validated into them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, MinLen

__all__ = [
    "DEFAULT_FACTORS",
    "NetworkSettings",
    "Operator",
    "OperonSettings",
    "PySRSettings",
    "SearchSettings",
    "TermsSettings",
]

Operator = Literal["div", "tanh", "exp", "log", "sqrt", "abs", "sign", "max", "min"]
"""Operations that a user may allow; + - * and whole powers are always there."""

DEFAULT_FACTORS = (
    "v",
    "v**2",
    "tanh(v)",
    "tanh(v)**2",
    "abs(v)",
    "sqrt(v)",
    "1 - v",
    "sqrt(1 - v)",
    "exp(-abs(v)/c)",
    "1/(c + v)",
    "1/(c + v**2)",
)
"""Functions of one variable ``v`` that products are made of; ``c`` is a positive constant to be fitted."""


@dataclass(frozen=True)
class TermsSettings:
    """Budget of the product-term search.

    Parameters
    ----------
    factors : tuple of str
        Functions of one variable ``v``, with at most one positive constant ``c`` that is fitted. One more
        line here is one more factor.
    max_factors : int
        Largest number of factors in a product.
    max_terms : int
        Largest number of products in a sum.
    beam_width : int
        Sums that are kept for every number of products.
    n_refined : int
        Sums whose constants are fitted on all rows, for every number of products.
    max_rows : int
        Rows that the beam search looks at.
    """

    factors: Annotated[tuple[str, ...], MinLen(1)] = DEFAULT_FACTORS
    max_factors: Annotated[int, Ge(1), Le(4)] = 3
    max_terms: Annotated[int, Ge(1), Le(10)] = 4
    beam_width: Annotated[int, Ge(1), Le(1000)] = 40
    n_refined: Annotated[int, Ge(1), Le(200)] = 12
    max_rows: Annotated[int, Ge(50), Le(100_000)] = 400


@dataclass(frozen=True)
class OperonSettings:
    """Budget of the genetic search by pyoperon.

    Parameters
    ----------
    operator_sets : tuple of tuple of str
        One search each, with + - * and the operations named; the fronts are merged. Operations that
        :attr:`SearchSettings.operators` does not allow are left out.
    generations : int
        Generations of every search.
    population_size : int
    chunk : int
        Generations between two looks at the population.
    local_search : float
        Probability that the constants of a new tree are fitted by a few Levenberg-Marquardt steps.
    max_rows : int
        Rows that the search looks at; the constants of what it finds are fitted on all.
    threads : int
        Threads of the search; the result does not depend on them.
    time_limit_s : float
        Safety net in seconds of wall time; a search that runs into it is an error.
    task_generations, task_population : int
        The same for an evolution that the network's loss drives, see :attr:`SearchSettings.objective`.
    task_time_limit_s : float
        Its safety net.
    """

    operator_sets: Annotated[tuple[tuple[Operator, ...], ...], MinLen(1)] = (
        (),
        ("tanh",),
        ("div", "tanh", "exp", "sqrt"),
    )
    generations: Annotated[int, Ge(1), Le(100_000)] = 60
    population_size: Annotated[int, Ge(10), Le(100_000)] = 500
    chunk: Annotated[int, Ge(1), Le(1000)] = 5
    local_search: Annotated[float, Ge(0), Le(1)] = 0.2
    max_rows: Annotated[int, Ge(50), Le(100_000)] = 500
    threads: Annotated[int, Ge(1), Le(256)] = 1
    time_limit_s: Annotated[float, Gt(0), Le(86_400)] = 300.0
    task_generations: Annotated[int, Ge(1), Le(100_000)] = 40
    task_population: Annotated[int, Ge(10), Le(100_000)] = 300
    task_time_limit_s: Annotated[float, Gt(0), Le(864_000)] = 7200.0


@dataclass(frozen=True)
class PySRSettings:
    """Budget of PySR; the names are PySR's own where it has one.

    Parameters
    ----------
    niterations, populations, population_size : int
    parsimony : float
        Loss that one more node must save.
    max_rows : int
        Rows that PySR is given.
    timeout_in_seconds : float
        Safety net; a search that runs into it is an error.
    output_folder : str
        Where PySR writes its files, one sub-folder a run; empty for a temporary folder that is removed.
    """

    niterations: Annotated[int, Ge(1), Le(100_000)] = 40
    populations: Annotated[int, Ge(1), Le(10_000)] = 10
    population_size: Annotated[int, Ge(5), Le(10_000)] = 27
    parsimony: Annotated[float, Ge(0)] = 0.0
    max_rows: Annotated[int, Ge(50), Le(100_000)] = 1000
    timeout_in_seconds: Annotated[float, Gt(0), Le(86_400)] = 1800.0
    output_folder: str = ""


@dataclass(frozen=True)
class NetworkSettings:
    """How proposals are tried in the network.

    Parameters
    ----------
    n_states : int
        Visited states that the engines fit.
    n_train, n_heldout : int
        Problems on which constants are refined, and on which candidates are ranked.
    n_refined : int
        Candidates whose constants are refined: those on the front of loss and complexity before refinement
        first, then those on the front of the others, and so on.
    refine_steps, batch : int
        Steps of a refinement, and problems a step looks at.
    hopeless : float
        Candidates with a larger mean loss are not refined; a blow-up counts between 1 and 2.
    simplify : int
        Rounds in which parts of the best rule are taken away; 0 for none, and for constants as they are.
    """

    n_states: Annotated[int, Ge(50), Le(1_000_000)] = 1500
    n_train: Annotated[int, Ge(2), Le(100_000)] = 32
    n_heldout: Annotated[int, Ge(4), Le(100_000)] = 64
    n_refined: Annotated[int, Ge(0), Le(10_000)] = 24
    refine_steps: Annotated[int, Ge(0), Le(100_000)] = 60
    batch: Annotated[int, Ge(1), Le(100_000)] = 16
    hopeless: Annotated[float, Gt(0)] = 1.5
    simplify: Annotated[int, Ge(0), Le(100)] = 4


@dataclass(frozen=True)
class SearchSettings:
    """What the engines may use and how long they may search.

    Parameters
    ----------
    operators : tuple of str
        Operations allowed beside + - * and whole powers.
    max_nodes : int
        Largest complexity of a proposal, in nodes of its tree.
    selector : str
        How the rule is chosen on the front: ``1se``, ``lowest`` or ``elbow``.
    resolution : float
        Held-out losses that differ by less are equally good for the selector ``1se``.
    objective : str
        What drives the engines: the ``update`` of the teacher, or beside it, for pyoperon, the loss of the
        ``task`` itself.
    terms : TermsSettings
    operon : OperonSettings
    pysr : PySRSettings
    network : NetworkSettings
    """

    operators: tuple[Operator, ...] = ("div", "tanh", "exp", "sqrt", "abs")
    max_nodes: Annotated[int, Ge(1), Le(200)] = 30
    selector: Literal["1se", "lowest", "elbow"] = "1se"
    resolution: Annotated[float, Ge(0), Le(1)] = 0.005
    objective: Literal["update", "task"] = "update"
    terms: TermsSettings = field(default_factory=TermsSettings)
    operon: OperonSettings = field(default_factory=OperonSettings)
    pysr: PySRSettings = field(default_factory=PySRSettings)
    network: NetworkSettings = field(default_factory=NetworkSettings)
