"""The child process in which pyoperon searches: ``python -m discover.search._operon_child``.

Version 0.6.2 of pyoperon can end in a segmentation fault, which must not take the caller with it. How the two
talk is in :mod:`discover.search._child`.

Request
    ``columns`` (one list of numbers a variable, scaled), ``target``, ``operator_sets`` (names of pyoperon's
    operations; none to see whether pyoperon loads), ``max_length``, ``generations``, ``chunk``,
    ``population_size``, ``local_search``, ``threads``, ``seed``; with ``asks`` the caller says what a tree is
    worth, and coefficients are whole.
Question
    With ``asks``: a tree, to which a number comes back.
Other messages
    ``{"done": generations, "of": generations}``.
Answer
    Trees: every tree is a list in postfix order, an entry is ``[operation, number of operands]``, ``["const",
    value]`` or ``["var", index, coefficient]``. The operand that an operation names first stands last.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyoperon as op

from discover.search._child import Parent, serve

__all__ = ["main", "search"]

EXACT = 1e-11
"""Squared error, relative to the variance, below which a search ends: float32 resolves no less."""

_ALWAYS = ("Add", "Sub", "Mul", "Constant", "Variable")
_MAX_DEPTH = 12
_TOURNAMENT = 5
_LOCAL_ITERATIONS = 5

LARGEST_WHOLE = 2
WORST = 1e30

Tree = list[list[Any]]
Asked = Callable[[Tree], float]


class _Search:
    """One NSGA-II run over (squared error after linear scaling, length).

    pyoperon keeps raw pointers to what it is given, so every part is bound to an attribute that outlives the
    run, and the array behind the data set too.
    """

    def __init__(
        self, request: dict[str, Any], operators: list[str], seed: int, asked: Asked | None = None
    ) -> None:
        self.asked = asked
        self.failure: BaseException | None = None
        self.table = np.asfortranarray(
            np.column_stack([*request["columns"], request["target"]]), dtype=np.float32
        )
        self.threads = request["threads"]
        self.dataset = op.Dataset(self.table)
        by_index = sorted(self.dataset.Variables, key=lambda variable: variable.Index)
        self.inputs = [variable.Hash for variable in by_index[:-1]]
        self.problem = op.Problem(self.dataset)
        self.problem.TrainingRange = op.Range(0, self.dataset.Rows)
        self.problem.TestRange = op.Range(self.dataset.Rows - 1, self.dataset.Rows)
        self.problem.Target = by_index[-1]
        self.problem.InputHashes = self.inputs
        self.problem.ConfigurePrimitiveSet(_primitives(operators))
        self.primitives = self.problem.PrimitiveSet
        self.make_operators(request)
        self.config = op.GeneticAlgorithmConfig(
            generations=request["chunk"],
            max_evaluations=2**62,
            local_iterations=_LOCAL_ITERATIONS,
            population_size=request["population_size"],
            pool_size=request["population_size"],
            p_crossover=1.0,
            p_mutation=0.25,
            p_local=request["local_search"],
            p_lamarck=1.0,
            epsilon=1e-6,
            seed=seed,
            max_time=2**31,
        )
        self.sorter = op.RankSorter()
        self.algorithm = op.NSGA2Algorithm(
            self.config,
            self.problem,
            self.initializer,
            self.coefficients,
            self.generator,
            self.reinserter,
            self.sorter,
        )
        self.rng = op.RandomGenerator(np.uint64(seed))
        self.best: dict[int, tuple[float, Tree]] = {}

    def make_operators(self, request: dict[str, Any]) -> None:
        length = request["max_length"]
        self.creator = op.BalancedTreeCreator(self.primitives, self.inputs, 0.0)
        if self.asked is None:
            self.coefficients = op.NormalCoefficientInitializer()
            self.coefficients.ParameterizeDistribution(0, 1)
        else:
            # Nothing fits them here: whole ones say the form, and the caller refines what it likes.
            self.coefficients = op.UniformIntCoefficientAnalyzer()
            self.coefficients.ParameterizeDistribution(-LARGEST_WHOLE, LARGEST_WHOLE)
        self.initializer = op.UniformLengthTreeInitializer(self.creator)
        self.initializer.ParameterizeDistribution(2, min(12, length))
        self.initializer.MinDepth = 1
        self.initializer.MaxDepth = 1000
        self.dispatch = op.DispatchTable()
        self.metric = op.MSE()
        if self.asked is None:
            self.error = op.Evaluator(self.problem, self.dispatch, self.metric, True)
        else:
            self.error = op.UserDefinedEvaluator(self.problem, self.ask)
        self.length = op.LengthEvaluator(self.problem)
        self.evaluator = op.MultiEvaluator(self.problem)
        for part in (self.error, self.length, self.evaluator):
            part.Budget = 2**62
        self.evaluator.Add(self.error)
        self.evaluator.Add(self.length)
        self.crossover = op.SubtreeCrossover(0.9, _MAX_DEPTH, length)
        self.mutations = self.make_mutations(length)
        self.mutation = op.MultiMutation()
        for part in self.mutations:
            self.mutation.Add(part, 1.0)
        self.comparison = op.CrowdedComparison()
        self.selectors = [op.TournamentSelector(self.comparison) for _ in range(2)]
        for selector in self.selectors:
            selector.TournamentSize = _TOURNAMENT
        self.optimizer = op.LMOptimizer(self.dispatch, self.problem, _LOCAL_ITERATIONS, self.dataset.Rows)
        self.local_search = op.CoefficientOptimizer(self.optimizer)
        self.generator = op.BasicOffspringGenerator(
            self.evaluator, self.crossover, self.mutation, *self.selectors, self.local_search
        )
        self.reinserter = op.KeepBestReinserter(self.comparison)

    def ask(self, _: Any, individual: Any) -> list[float]:
        """Let the caller say what a tree is worth; what goes wrong in here would be swallowed."""
        if self.failure is None and self.asked is not None:
            try:
                return [self.asked(self.described(individual.Genotype.Nodes))]
            except BaseException as error:
                self.failure = error
        return [WORST]

    def make_mutations(self, length: int) -> list[Any]:
        if self.asked is None:
            one, many = op.NormalOnePointMutation(), op.NormalMultiPointMutation()
            reach = (0, 1)
        else:
            one, many = op.UniformIntOnePointMutation(), op.UniformIntMultiPointMutation()
            reach = (-LARGEST_WHOLE, LARGEST_WHOLE)
        one.ParameterizeDistribution(*reach)
        many.ParameterizeDistribution(*reach)
        return [
            one,
            many,
            op.ChangeVariableMutation(self.inputs),
            op.ChangeFunctionMutation(self.primitives),
            op.ReplaceSubtreeMutation(self.creator, self.coefficients, _MAX_DEPTH, length),
            op.InsertSubtreeMutation(self.creator, self.coefficients, _MAX_DEPTH, length),
            op.RemoveSubtreeMutation(self.primitives),
        ]

    def run(self, generations: int, report: Callable[[int], None]) -> None:
        """Search in chunks, remembering the best tree of every length."""
        chunk = self.config.Generations
        for done in range(chunk, generations + chunk, chunk):
            warm = done > chunk
            self.algorithm.IsFitted = warm
            self.algorithm.Run(self.rng, None, self.threads, warm)
            if self.failure is not None:
                raise self.failure
            self.collect()
            report(min(done, generations))
            if self.is_exact():
                return

    def is_exact(self) -> bool:
        """Whether a tree leaves no more than the rounding of single precision."""
        return any(error < EXACT for error, _ in self.best.values())

    def front(self) -> list[Tree]:
        """Return the trees that no shorter one equals."""
        kept: list[Tree] = []
        least = np.inf
        for _, (error, tree) in sorted(self.best.items()):
            if error < least:
                kept.append(tree)
                least = error
        return kept

    def collect(self) -> None:
        for individual in self.algorithm.Individuals:
            error = individual.GetFitness(0)
            nodes = individual.Genotype.Nodes
            if np.isfinite(error) and error < self.best.get(len(nodes), (np.inf, None))[0]:
                self.best[len(nodes)] = (error, self.described(nodes))

    def described(self, nodes: list[Any]) -> Tree:
        entries: Tree = []
        for node in nodes:
            if node.Type == op.NodeType.Constant:
                entries.append(["const", float(node.Value)])
            elif node.Type == op.NodeType.Variable:
                entries.append(["var", self.inputs.index(node.HashValue), float(node.Value)])
            else:
                entries.append([node.Type.name, int(node.Arity)])
        return entries


def _primitives(operators: list[str]) -> Any:
    bits = 0
    for name in (*_ALWAYS, *operators):
        bits |= int(getattr(op.NodeType, name))
    return bits


def search(
    request: dict[str, Any], report: Callable[[int, int], None], asked: Asked | None = None
) -> list[Tree]:
    """Run one search an operator set, until one is exact, and return their fronts."""
    generations = request["generations"]
    total = generations * len(request["operator_sets"])
    trees: list[Tree] = []
    for index, operators in enumerate(request["operator_sets"]):
        run = _Search(request, operators, request["seed"] + index, asked)

        def report_all(done: int, before: int = index * generations) -> None:
            report(before + done, total)

        run.run(generations, report_all)
        trees += run.front()
        if run.is_exact():
            break
    return trees


def _work(request: dict[str, Any], parent: Parent) -> list[Tree]:
    def report(done: int, total: int) -> None:
        parent.say({"done": done, "of": total})

    def asked(tree: Tree) -> float:
        return float(parent.ask(tree))

    return search(request, report, asked if request.get("asks") else None)


def main() -> None:
    """Answer requests from standard input."""
    serve(_work)


if __name__ == "__main__":
    main()
