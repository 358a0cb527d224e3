"""Settings of the symbolic engines, with their bounds; a pipeline file is validated into them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, MaxLen, MinLen

from discover.errors import ConfigError, EngineError, RuleError
from discover.expression import COSTS, Complexity, Node, parse, postorder
from discover.intervals import ENOUGH
from discover.slots import SLOTS

__all__ = [
    "DEFAULT_FACTORS",
    "NetworkSettings",
    "Operation",
    "Operator",
    "OperonSettings",
    "PySRSettings",
    "SearchSettings",
    "TermsSettings",
]

Operator = Literal["div", "tanh", "exp", "log", "sqrt", "abs", "sign", "max", "min", "sin", "cos"]
"""Operations that a user may allow; + - * and whole powers are always there."""

Operation = Literal[
    "add", "sub", "mul", "div", "tanh", "exp", "log", "sqrt", "abs", "sign", "max", "min", "sin", "cos"
]
"""All operations by name, for weights and constraints."""

BINARY = frozenset({"add", "sub", "mul", "div", "max", "min"})
SMALLEST_MAXSIZE = 7

CURVED: tuple[Operation, ...] = ("tanh", "exp", "log", "sqrt")
"""Operations that do not stand inside of one another unless a user says so: noise is fitted that way."""

Limit = Annotated[int, Ge(-1), Le(1000)]
Weight = Annotated[float, Gt(0), Le(1000)]

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
        Expressions in a generation.
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


def _flat() -> dict[Operation, dict[Operation, Annotated[int, Ge(0), Le(100)]]]:
    return {outer: dict.fromkeys(CURVED, 0) for outer in CURVED}


@dataclass(frozen=True)
class PySRSettings:
    """What PySR may do; the names are PySR's own where it has one.

    Which operations there are, what they cost and how large an expression may be is said once for all
    engines, in :class:`SearchSettings`.

    Parameters
    ----------
    niterations, populations, population_size : int
        PySR's own: iterations, populations that evolve side by side, and expressions in each.
    ncycles_per_iteration, max_evals : int
        0 for PySR's own number of cycles, and for no limit on evaluations.
    maxsize : int
        Largest complexity, in PySR's weights; 0 for :attr:`SearchSettings.max_nodes`.
    maxdepth : int
        Deepest tree; 0 for no limit but `maxsize`.
    parsimony : float
        Loss that one more node must save.
    constraints : mapping from str to int or pair of int
        Largest complexity of an operation's operand, of both operands for ``add sub mul div max min``; -1 for
        no limit.
    nested_constraints : mapping from str to mapping from str to int
        How many of the inner operation may stand, one in another, inside of the outer one; 0 for none. Where
        nothing is said, none of ``tanh exp log sqrt`` stands inside of another.
    guesses : tuple of str
        Expressions that the search begins with, in the variables of a synapse; those whose variables a slot
        does not see are left out there. PySR 2 or newer.
    seeds : int
        Independent searches, whose fronts are united.
    deterministic : bool
        Whether the same seed gives the same front, on one thread. Without it Julia uses all its threads.
    interrupted : str
        What becomes of a search that was cut off: ``repeat`` begins it again, which gives what it would have
        given; ``continue`` keeps what it had found, and begins the next search with it (PySR 2 or newer).
    max_rows : int
        Rows that PySR is given.
    timeout_in_seconds : float
        Safety net for one search; one that runs into it is an error.
    output_folder : str
        Where PySR writes its files, one sub-folder a search, and where searches that were finished are found
        again. Empty for the folder ``pysr`` of the run; where there is no run, for a temporary one.
    """

    niterations: Annotated[int, Ge(1), Le(100_000)] = 40
    populations: Annotated[int, Ge(1), Le(10_000)] = 10
    population_size: Annotated[int, Ge(5), Le(10_000)] = 27
    ncycles_per_iteration: Annotated[int, Ge(0), Le(1_000_000)] = 0
    max_evals: Annotated[int, Ge(0), Le(10**15)] = 0
    maxsize: Annotated[int, Ge(0), Le(1000)] = 0
    maxdepth: Annotated[int, Ge(0), Le(1000)] = 0
    parsimony: Annotated[float, Ge(0)] = 0.0
    constraints: dict[Operation, Limit | tuple[Limit, Limit]] = field(default_factory=dict)
    nested_constraints: dict[Operation, dict[Operation, Annotated[int, Ge(0), Le(100)]]] = field(
        default_factory=_flat
    )
    guesses: Annotated[tuple[str, ...], MaxLen(1000)] = ()
    seeds: Annotated[int, Ge(1), Le(1000)] = 1
    deterministic: bool = True
    interrupted: Literal["repeat", "continue"] = "repeat"
    max_rows: Annotated[int, Ge(50), Le(100_000)] = 1000
    timeout_in_seconds: Annotated[float, Gt(0), Le(86_400)] = 1800.0
    output_folder: str = ""

    def __post_init__(self) -> None:
        if 0 < self.maxsize < SMALLEST_MAXSIZE:
            raise ConfigError(f"pysr.maxsize: PySR takes {SMALLEST_MAXSIZE} or more, got {self.maxsize}.")
        for name, limit in self.constraints.items():
            place = f"pysr.constraints.{name}"
            if (name in BINARY) != isinstance(limit, tuple):
                wanted = "two numbers, such as [-1, 9]," if name in BINARY else "one number, such as 9,"
                raise ConfigError(f"{place}: {wanted} should stand here, one for each operand.")
            if name in ("add", "sub") and isinstance(limit, tuple) and limit[0] != limit[1]:
                raise ConfigError(f"{place}: PySR wants the same limit for both operands of sums.")

    def named_operations(self) -> Iterator[tuple[str, str]]:
        """Yield the operations that constraints name, each with its place."""
        for name in self.constraints:
            yield name, "pysr.constraints"
        nested = {} if self.nested_constraints == _flat() else self.nested_constraints
        for outer, inside in nested.items():
            for name in (outer, *inside):
                yield name, f"pysr.nested_constraints.{outer}"


@dataclass(frozen=True)
class NetworkSettings:
    """How proposals are tried in the network.

    Parameters
    ----------
    n_states : int
        Visited states that the engines fit.
    n_train, n_heldout, n_test : int
        Problems on which constants are refined, on which candidates are selected and made simpler, and as
        many others on which the rule is chosen, and those on which the losses that are reported are measured.
    n_tuning : int
        Of the problems on which candidates are selected, those on which the speed of each is set; 0 leaves
        candidates as fast as they are.
    n_refined : int
        Candidates whose constants are refined: those on the front of loss and complexity before refinement
        first, then those on the front of the others, and so on.
    refine_steps, batch : int
        Steps of a refinement, and problems a step looks at. Without steps, and without problems to set speeds
        on, rules stay as they are.
    hopeless : float
        Candidates with a larger mean loss are not refined; a blow-up counts between 1 and 2.
    rounds : int
        How often the search goes on where the best formula is worse than the teacher that it was to name.
    simplify : int
        Most candidates of the front that are made simpler; 0 for none, and for constants as they are.
    """

    n_states: Annotated[int, Ge(50), Le(1_000_000)] = 1500
    n_train: Annotated[int, Ge(2), Le(100_000)] = 32
    n_heldout: Annotated[int, Ge(4), Le(100_000)] = 512
    n_test: Annotated[int, Ge(4), Le(100_000)] = ENOUGH
    n_tuning: Annotated[int, Ge(0), Le(100_000)] = 128
    n_refined: Annotated[int, Ge(0), Le(10_000)] = 24
    refine_steps: Annotated[int, Ge(0), Le(100_000)] = 60
    batch: Annotated[int, Ge(1), Le(100_000)] = 16
    hopeless: Annotated[float, Gt(0)] = 1.5
    rounds: Annotated[int, Ge(0), Le(100)] = 2
    simplify: Annotated[int, Ge(0), Le(100)] = 24


@dataclass(frozen=True)
class SearchSettings:
    """What the engines may use and how long they may search.

    Parameters
    ----------
    operators : tuple of str
        Operations allowed beside + - * and whole powers. Networks run all but ``sin`` and ``cos``, which are
        for recorded data.
    max_nodes : int
        Largest complexity of a proposal, in nodes of its tree.
    complexity_of_operators : mapping from str to float
        What an operation costs, on the front and on those of the engines; where nothing is said, what
        :data:`discover.expression.COSTS` says. A whole power costs as ``mul``.
    complexity_of_constants, complexity_of_variables : float
        What a constant and a variable cost.
    selector : str
        How the rule is chosen on the front: ``paired``, ``lowest`` or ``elbow``.
    resolution, relative_resolution : float
        Losses that differ by less, and by less than this share of the lowest one, are equally good for the
        selector ``paired``; the larger of both counts.
    objective : str
        What drives the engines: the ``update`` of the teacher, or beside it, for pyoperon, the loss of the
        ``task`` itself. With ``blocks`` no engine is asked: from the rule that the fit chose, each slot
        that the fit had terms in gets other terms, and the loss of the task decides. This is for networks
        whose runs take seconds.
    task_degree : int
        Where the loss of the task drives: all products of at most so many variables, and all sums and
        differences of two of them, are simulated before the evolution begins; 0 for none. With ``blocks``
        these products are the terms that are tried.
    task_problems, task_first : int
        Problems by which expressions are judged there, and how many of them every expression meets at first.
        Only the best quarter goes on to four times as many, and so on; 0 for all at once.
    terms : TermsSettings
    operon : OperonSettings
    pysr : PySRSettings
    network : NetworkSettings
    """

    operators: tuple[Operator, ...] = ("div", "tanh", "exp", "sqrt", "abs")
    max_nodes: Annotated[int, Ge(1), Le(200)] = 30
    complexity_of_operators: dict[Operation, Weight] = field(default_factory=dict)
    complexity_of_constants: Weight = COSTS["const"]
    complexity_of_variables: Weight = COSTS["var"]
    selector: Literal["paired", "1se", "lowest", "elbow"] = "paired"
    resolution: Annotated[float, Ge(0), Le(1)] = 0.0005
    relative_resolution: Annotated[float, Ge(0), Le(1)] = 0.05
    objective: Literal["update", "task", "blocks"] = "update"
    task_degree: Annotated[int, Ge(0), Le(4)] = 0
    task_problems: Annotated[int, Ge(1), Le(100_000)] = 8
    task_first: Annotated[int, Ge(0), Le(100_000)] = 0
    terms: TermsSettings = field(default_factory=TermsSettings)
    operon: OperonSettings = field(default_factory=OperonSettings)
    pysr: PySRSettings = field(default_factory=PySRSettings)
    network: NetworkSettings = field(default_factory=NetworkSettings)

    def __post_init__(self) -> None:
        named = [(name, "complexity_of_operators") for name in self.complexity_of_operators]
        for name, place in (*named, *self.pysr.named_operations()):
            self._check_allowed(name, place)
        for text in self.pysr.guesses:
            self._check_guess(text)

    def _check_allowed(self, name: str, place: str) -> None:
        if name not in ("add", "sub", "mul", *self.operators):
            raise ConfigError(
                f"{place}: {name!r} is not among the operators. Add it there, or leave it out here."
            )

    def _check_guess(self, text: str) -> None:
        variables = dict.fromkeys(name for slot in SLOTS.values() for name in slot.variables)
        place = f"pysr.guesses: {text[:60]!r}"
        try:
            tree = parse(text, tuple(variables))
        except RuleError as error:
            raise ConfigError(f"{place}: {error}") from None
        from discover.search._pysr_guesses import julia_text

        try:
            julia_text(tree)
        except EngineError as error:
            raise ConfigError(f"{place}: {error}") from None
        for node in postorder(tree):
            if node.op == "pow":
                self._check_allowed("mul" if node.args[1].value >= 0 else "div", place)
            elif node.args and node.op != "neg":
                self._check_allowed(node.op, place)

    def complexity_of(self, tree: Node) -> float:
        """Return what an update costs on the engines' fronts, as on the front of the search.

        Examples
        --------
        >>> settings = SearchSettings(complexity_of_operators={"div": 5.0})
        >>> settings.complexity_of(parse("x/(1 + x)", ("x",)))
        9
        """
        return self.measure.of_update(tree)

    @property
    def measure(self) -> Complexity:
        """The measure of complexity with the costs of these settings."""
        costs: dict[str, float] = dict(self.complexity_of_operators.items())
        return Complexity(
            {**costs, "const": self.complexity_of_constants, "var": self.complexity_of_variables}
        )

    def margin(self, losses: Iterable[float]) -> float:
        """Return the loss by which a simpler rule may be worse than the best of some.

        Examples
        --------
        >>> SearchSettings(resolution=0.001, relative_resolution=0.1).margin([0.3, 0.02])
        0.002
        """
        return max(self.resolution, self.relative_resolution * min(losses))
