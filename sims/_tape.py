"""Graphs as rows of numbers that the interpreter of programs runs.

Operations come in five stages, each a stretch of rows (see :class:`sims._graph.Graph`). An operand is a kind
of memory and a slot in it. Values of synapses live on a tape whose slots are used again as soon as nobody
reads what they hold; what is read in place (weights, inputs, adjoints) has no slot. Operations that only one
other reads are fused with it where that saves time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sims._graph import CONSTANT, NEURON, Graph, More, Node, Signed, gradient_of, graph_of
from sims.rules import Op, Program

__all__ = ["Tape", "tapes_of"]

N_STAGES = 5
SYNAPSES = 2
"""Stage of the operations that run over synapses."""

IN_CONSTANTS, IN_NEURONS, ON_TAPE, IN_INPUTS, IN_WEIGHTS, IN_ADJOINTS = range(6)
"""Kinds of memory."""

N_KINDS = 6

NOWHERE = (-1, 0)

_IN_PLACE = {More.PRE: IN_INPUTS, More.WEIGHT: IN_WEIGHTS, More.ADJOINT: IN_ADJOINTS}

IntArray = NDArray[np.int64]
Place = tuple[int, int]


@dataclass(frozen=True)
class Tape:
    """A graph as rows of numbers.

    Attributes
    ----------
    rows : ndarray of int, shape (n_rows, 13)
        Operation, level of what it runs over, literal, then kind and slot of the result and of four operands.
    ends : ndarray of int, shape (6,)
        Stage k is ``rows[ends[k] : ends[k + 1]]``.
    results : ndarray of int, shape (n_results, 2)
        Kind and slot of each result, -1 where it is zero. Of a rule: the update. Of a gradient: dL/dw, dL/dy,
        then one for each constant.
    sign : float
        What the first result is multiplied with.
    n_slots : tuple of int
        Slots of constants, of neurons and on the tape. Slot 0 of neurons holds the output, slot 0 of the
        tape inputs that are not read in place; the first slots of constants hold those of the rule and 1.
    totals : ndarray of int, shape (2, 2)
        First slot of constants that is a total, and the slot after the last; the same of neurons.
    """

    rows: IntArray
    ends: IntArray
    results: IntArray
    sign: float
    n_slots: tuple[int, int, int]
    totals: IntArray

    def laid_out(self, slot_sizes: tuple[int, int, int]) -> tuple[IntArray, IntArray, IntArray]:
        """Return rows, results and totals, flat, as the kernels read them, for slots of so many vectors.

        An operand becomes ``6 * level + kind`` and a row of that memory.
        """
        sizes = np.array([*slot_sizes, 0, 0, 0])
        rows = self.rows.copy()
        for column in (3, 5, 7, 9, 11):
            kinds = self.rows[:, column]
            rows[:, column] = N_KINDS * self.rows[:, 1] + kinds
            rows[:, column + 1] *= sizes[kinds]
        rows[:, 1], rows[:, 2] = self.rows[:, 2], 2 * self.rows[:, 1]
        results = self.results.copy()
        results[:, 1] *= sizes[results[:, 0]]
        results[0, 0] += 2 * N_KINDS * (results[0, 0] >= 0)
        totals = self.totals * sizes[:2, None]
        return _frozen(rows.reshape(-1)), _frozen(results.reshape(-1)), _frozen(totals.reshape(-1))


def tapes_of(program: Program) -> tuple[Tape, Tape]:
    """Return a program over (pre, post, weight) and its gradient as tapes.

    Equal programs but for their constants share the work.
    """
    return _tapes(program.code.tobytes(), len(program.constants), program.output)


@lru_cache(maxsize=256)
def _tapes(code: bytes, n_constants: int, output: int) -> tuple[Tape, Tape]:
    rows = np.frombuffer(code, dtype=np.int64).reshape(-1, 3).tolist()
    graph, result = graph_of(rows, n_constants, output)
    forwards = _Layout(graph, [Signed(False, result)], [], n_constants).tape()
    way_back = gradient_of(graph, result, n_constants)
    post = None if way_back.post is None else Signed(False, way_back.post)
    constants = [None if one is None else Signed(False, one) for one in way_back.constants]
    backwards = _Layout(graph, [way_back.weight, post, *constants], way_back.totals, n_constants).tape()
    return forwards, backwards


class _Layout:
    """Chooses rows and slots for what some results need."""

    def __init__(
        self, graph: Graph, results: list[Signed | None], totals: list[int], n_constants: int
    ) -> None:
        self.graph = graph
        self.results = results
        self.n_constants = n_constants
        wanted = [one.node for one in results if one is not None]
        self.one = graph.leaf(More.PARAMETER, CONSTANT, n_constants)
        self.readers = _readers(graph, wanted + totals)
        self.nodes = {n: graph.nodes[n] for n, count in enumerate(self.readers) if count or n == self.one}
        self.fuse()
        self.places: dict[int, Place] = {}
        self.n_slots = [n_constants + 1, 1, 1]

    def fuse(self) -> None:
        """Let operations take in what they alone read.

        Sums take in products. Square roots and divisions take long, and take in what can be done meanwhile.
        Products take in what is left.
        """
        for n, node in list(self.nodes.items()):
            if node.op in (Op.ADD, Op.SUB, More.SUM):
                products = [self.alone(n, m, Op.MUL, Op.SQUARE) for m in node.args]
                if any(products):
                    self.take(n, _sum_of_products(node, products), *node.args)
            elif node.op == Op.SQRT:
                self.take_sum(n, More.ROOT, node.args[0], self.one)
            elif node.op == Op.DIV:
                self.take_sum(n, More.OVER, node.args[1], node.args[0])
            elif node.op == Op.MUL:
                for m, other in (node.args, node.args[::-1]):
                    root = self.alone(n, m, More.ROOT)
                    if root is not None and root.args[3] == self.one:
                        self.take(n, Node(More.ROOT, (*root.args[:3], other), root.literal), m)
                        break
        for n, node in list(self.nodes.items()):
            if node.op == Op.MUL:
                for m, other in (node.args, node.args[::-1]):
                    product = self.alone(n, m, Op.MUL, Op.SQUARE)
                    if product is not None:
                        self.take(n, Node(More.MULMUL, (product.args[0], product.args[-1], other), 0), m)
                        break

    def alone(self, n: int, m: int, *ops: int) -> Node | None:
        """Node m if it is one of some operations that only node n reads, in the same stage."""
        node = self.nodes.get(m)
        if node is None or node.op not in ops or self.readers[m] > 1:
            return None
        return node if self.graph.stages[m] == self.graph.stages[n] else None

    def take_sum(self, n: int, op: More, m: int, factor: int) -> None:
        """Replace a square root or a division by one that does the sum or product under it, too."""
        inner = self.alone(n, m, Op.ADD, More.MULADD)
        if inner is None:
            return
        if inner.op == More.MULADD:
            self.take(n, Node(op, (*inner.args, factor), 0), m)
            return
        u, v = inner.args
        for term, other in ((u, v), (v, u)):
            size = self.alone(m, term, Op.ABS)
            if size is not None:
                self.take(n, Node(op, (size.args[0], self.one, other, factor), 1), m, term)
                return
        self.take(n, Node(op, (u, self.one, v, factor), 0), m)

    def take(self, n: int, fused: Node, *parts: int) -> None:
        """Put a node in the place of one that took in some of its operands."""
        for m in parts:
            if m not in fused.args:
                self.nodes.pop(m, None)
        self.nodes[n] = fused

    def tape(self) -> Tape:
        """Give every value its place, in the order of the stages, and write the rows."""
        stages: list[list[int]] = [[] for _ in range(N_STAGES)]
        for n, node in self.nodes.items():
            if node.args:
                stages[self.graph.stages[n]].append(n)
        self.place_what_stays(stages)
        totals = self.place_totals()
        order = [n for stage in stages for n in stage]
        self.place_on_tape(stages[SYNAPSES])
        rows = [self.row(n) for n in order]
        results = [NOWHERE if one is None else self.places[one.node] for one in self.results]
        first = self.results[0]
        return Tape(
            _fixed(rows, 13),
            _fixed([[0], *[[int(end)] for end in np.cumsum([len(stage) for stage in stages])]], 1)[:, 0],
            _fixed([list(place) for place in results], 2),
            -1.0 if first is not None and first.negative else 1.0,
            (self.n_slots[0], self.n_slots[1], self.n_slots[2]),
            totals,
        )

    def place_what_stays(self, stages: list[list[int]]) -> None:
        """Give places to what is given, and to values of constants and neurons, which keep theirs."""
        for n, node in self.nodes.items():
            if node.op == More.PARAMETER:
                self.places[n] = (IN_CONSTANTS, node.literal)
            elif node.op == More.POST:
                self.places[n] = (IN_NEURONS, 0)
            elif node.op in _IN_PLACE:
                self.places[n] = (_IN_PLACE[More(node.op)], 0)
        for k, stage in enumerate(stages):
            for n in stage:
                if k != SYNAPSES and self.nodes[n].op not in (More.SUM, More.DOT):
                    self.places[n] = self.new_slot(self.graph.levels[n])

    def place_totals(self) -> IntArray:
        """Give places to totals, behind everything else of their kind."""
        first = self.n_slots[: NEURON + 1]
        self.totals: dict[int, Place] = {}
        for n, node in self.nodes.items():
            if node.op == More.TOTAL:
                self.places[n] = self.totals[node.literal] = self.new_slot(self.graph.levels[n])
        return _fixed([list(pair) for pair in zip(first, self.n_slots, strict=False)], 2)

    def new_slot(self, kind: int) -> Place:
        self.n_slots[kind] += 1
        return kind, self.n_slots[kind] - 1

    def place_on_tape(self, stage: list[int]) -> None:
        """Give each value of synapses a slot from its operation until its last reader."""
        last = {m: n for n in stage for m in self.nodes[n].args}
        for one in self.results:
            if one is not None:
                last[one.node] = -1
        free: list[int] = []
        for n in stage:
            for m in set(self.nodes[n].args):
                if last[m] == n and self.places[m][0] == ON_TAPE:
                    free.append(self.places[m][1])
            if self.nodes[n].op not in (More.SUM, More.DOT):
                self.places[n] = (ON_TAPE, free.pop()) if free else self.new_slot(ON_TAPE)

    def row(self, n: int) -> list[int]:
        node = self.nodes[n]
        stage = self.graph.stages[n]
        out = self.totals[node.literal] if node.op in (More.SUM, More.DOT) else self.places[n]
        args = [self.places[m] for m in node.args]
        operands = args + [args[-1]] * (4 - len(args))
        return [node.op, min(stage, N_STAGES - 1 - stage), node.literal, *out, *sum(operands, ())]


def _sum_of_products(node: Node, products: Sequence[Node | None]) -> Node:
    """Sum some of whose operands are replaced by products."""
    factors = [() if one is None else (one.args[0], one.args[-1]) for one in products]
    if node.op == More.SUM:
        return Node(More.DOT, factors[0], node.literal)
    is_sum = node.op == Op.ADD
    if all(factors):
        return Node(More.MULADDMUL if is_sum else More.MULSUBMUL, (*factors[0], *factors[1]), 0)
    if factors[0]:
        return Node(More.MULADD if is_sum else More.MULSUB, (*factors[0], node.args[1]), 0)
    return Node(More.MULADD if is_sum else More.SUBMUL, (*factors[1], node.args[0]), 0)


def _readers(graph: Graph, wanted: list[int]) -> list[int]:
    """How many times each node is read on the way to those that are wanted."""
    readers = [0] * len(graph.nodes)
    for n in wanted:
        readers[n] += 1
    for n in range(len(graph.nodes) - 1, -1, -1):
        if readers[n]:
            for m in graph.nodes[n].args:
                readers[m] += 1
    return readers


def _fixed(rows: list[list[int]], width: int) -> IntArray:
    return _frozen(np.array(rows, dtype=np.int64).reshape(-1, width))


def _frozen(array: IntArray) -> IntArray:
    array.setflags(write=False)
    return array
