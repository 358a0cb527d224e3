"""Rules as graphs of operations of which few run over synapses, and the way back through them.

What an operation costs depends on its level: it runs once for a whole simulation (constants alone), once a
neuron (outputs too), or once a synapse. Products are therefore reassociated, ``(a*x)*y`` to ``(a*y)*x``, so
that factors of a lower level meet first, and divisions by a lower level become products. Signs travel along
until a sum takes them in.

Reverse mode writes the gradient into the same graph, as further operations of the same kinds: there is one
interpreter, and what no derivative needs is left out like any other operation that nobody reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

from sims.rules import BINARY_OPS, Op

__all__ = [
    "CONSTANT",
    "NEURON",
    "SYNAPSE",
    "Gradient",
    "Graph",
    "More",
    "Node",
    "Signed",
    "gradient_of",
    "graph_of",
]

CONSTANT, NEURON, SYNAPSE = 0, 1, 2
"""Levels: what is one number for a simulation, for a neuron and sample, for a synapse and sample."""


class More(IntEnum):
    """Nodes beside those of :class:`sims.rules.Op`; the kernels repeat the numbers of operations."""

    MULADD = 16  # a*b + c
    MULSUB = 17  # a*b - c
    SUBMUL = 18  # c - a*b
    TANH_SLOPE = 19  # of the result: 1 - a**2
    SQRT_SLOPE = 20  # of the result: 0.5 / a
    POWI_SLOPE = 21  # literal * a**(literal - 1)
    AT_LEAST = 22  # 1 where a >= b, else 0
    BELOW = 23  # 0 where a >= b, else 1
    POW_SLOPE = 24  # b * a**(b - 1)
    POW_LOG = 25  # a * log(b) where b > 0, else 0
    SUM = 26  # add a to a total of a lower level
    DOT = 27  # add a*b to a total of a lower level
    MULADDMUL = 28  # a*b + c*d
    MULSUBMUL = 29  # a*b - c*d
    ROOT = 30  # d * sqrt(a*b + c), of abs(a) where the literal is 1
    OVER = 31  # d / (a*b + c), of abs(a) where the literal is 1
    MULMUL = 32  # a*b*c

    PARAMETER = 33  # a constant of the rule; its number is the literal
    POST = 34
    PRE = 35
    WEIGHT = 36
    ADJOINT = 37  # dL/dw, what the way back starts from
    TOTAL = 38  # what SUM and DOT of a higher level have added up


class Node(NamedTuple):
    """One operation, the nodes that it reads, and a literal: exponent, number of a constant or of a total."""

    op: int
    args: tuple[int, ...]
    literal: int


class Signed(NamedTuple):
    """A node or its negative."""

    negative: bool
    node: int


class Gradient(NamedTuple):
    """Derivatives as nodes; None stands for zero.

    `weight` is the share of each synapse in dL/dw, `post` dL/dy, `constants` the derivatives of the rule's
    constants, and `totals` the operations that add up to what these read.
    """

    weight: Signed | None
    post: int | None
    constants: list[int | None]
    totals: list[int]


class Graph:
    """Operations in an order in which they can run; equal ones exist once.

    Attributes
    ----------
    nodes : list of Node
    levels : list of int
        Level of each node's value.
    stages : list of int
        When it runs: 0 constants, 1 neuron, 2 synapses; on the way back 3 neuron, 4 constants.
    """

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.levels: list[int] = []
        self.stages: list[int] = []
        self._known: dict[Node, int] = {}

    def add(self, op: int, *args: int, literal: int = 0) -> int:
        """Return the node of an operation."""
        if op in (Op.ADD, Op.MUL):
            args = (min(args), max(args))
        node = Node(int(op), args, literal)
        if node not in self._known:
            stage = max(self.stages[a] for a in args)
            self._known[node] = self._append(node, min(stage, 4 - stage), stage)
        return self._known[node]

    def leaf(self, op: More, level: int, literal: int = 0, stage: int | None = None) -> int:
        """Return the node of a given value."""
        node = Node(int(op), (), literal)
        if node not in self._known:
            self._known[node] = self._append(node, level, level if stage is None else stage)
        return self._known[node]

    def add_up(self, total: int, *factors: int) -> int:
        """Return a new operation that adds a value, or the product of two, to a total."""
        op = More.SUM if len(factors) == 1 else More.DOT
        stage = max(self.stages[a] for a in factors)
        return self._append(Node(int(op), factors, self.nodes[total].literal), self.levels[total], stage)

    def _append(self, node: Node, level: int, stage: int) -> int:
        self.nodes.append(node)
        self.levels.append(level)
        self.stages.append(stage)
        return len(self.nodes) - 1

    def sum_of(self, a: Signed, b: Signed) -> Signed:
        """Sum of two signed nodes."""
        if a.negative == b.negative:
            return Signed(a.negative, self.add(Op.ADD, a.node, b.node))
        if a.negative:
            a, b = b, a
        return Signed(False, self.add(Op.SUB, a.node, b.node))

    def plain(self, a: Signed) -> int:
        """Return a node with its sign."""
        return self.add(Op.NEG, a.node) if a.negative else a.node


# ---------------------------------------------------------------------------------------- the rule, forwards


class _Product(NamedTuple):
    """A signed product of at most one node of each level."""

    negative: bool
    parts: tuple[int | None, int | None, int | None]


def graph_of(code: Sequence[Sequence[int]], n_constants: int, output: int) -> tuple[Graph, int]:
    """Return the graph of a program over (pre, post, weight), and the node of its result.

    Parameters
    ----------
    code : sequence of (op, a, b)
        As in :class:`sims.rules.Program`.
    n_constants : int
    output : int

    Examples
    --------
    The constant of ``(a*x)*y`` is multiplied with the output first.

    >>> graph, result = graph_of([(Op.MUL, 3, 0), (Op.MUL, 4, 1)], 1, 5)
    >>> [(node.op.real, level) for node, level in zip(graph.nodes, graph.levels) if node.args]
    [(2, 1), (2, 2)]
    """
    return _Writer(n_constants).run(code, output)


class _Writer:
    def __init__(self, n_constants: int) -> None:
        self.graph = Graph()
        pre = self.graph.leaf(More.PRE, SYNAPSE)
        post = self.graph.leaf(More.POST, NEURON)
        weight = self.graph.leaf(More.WEIGHT, SYNAPSE)
        parameters = [self.graph.leaf(More.PARAMETER, CONSTANT, n) for n in range(n_constants)]
        self.forms = [self.form(Signed(False, node)) for node in (pre, post, weight, *parameters)]

    def run(self, code: Sequence[Sequence[int]], output: int) -> tuple[Graph, int]:
        readers = _readers(code, len(self.forms), output)
        for op, a, b in code:
            n_readers = readers[len(self.forms)]
            first = self.forms[a]
            if n_readers > 0:
                form = self.applied(Op(op), first, self.forms[b] if op in BINARY_OPS else first, b)
                # What several operations read is computed once; what one reads may be taken apart by it.
                self.forms.append(form if n_readers == 1 else self.form(self.signed(form)))
            else:
                self.forms.append(first)
        return self.graph, self.plain(self.forms[output])

    def applied(self, op: Op, a: _Product, b: _Product, literal: int) -> _Product:
        """Form of one instruction's result."""
        if (op is Op.MUL and a == b) or (op is Op.POWI and literal == 2):
            op = Op.SQUARE
        if op is Op.MUL:
            parts = [self.times(p, q) for p, q in zip(a.parts, b.parts, strict=True)]
            return _Product(a.negative != b.negative, (parts[0], parts[1], parts[2]))
        if op is Op.SQUARE:
            parts = [None if p is None else self.graph.add(Op.SQUARE, p) for p in a.parts]
            return _Product(False, (parts[0], parts[1], parts[2]))
        if op is Op.NEG:
            return _Product(not a.negative, a.parts)
        if op is Op.DIV:
            return self.quotient(a, b)
        if op is Op.ADD or op is Op.SUB:
            second = self.signed(b)
            flipped = Signed(second.negative != (op is Op.SUB), second.node)
            return self.form(self.graph.sum_of(self.signed(a), flipped))
        if op is Op.ABS:
            return self.form(Signed(False, self.graph.add(op, self.signed(a).node)))
        if op is Op.POWI:
            return self.form(Signed(False, self.graph.add(op, self.plain(a), literal=literal)))
        operands = (self.plain(a), self.plain(b)) if op in BINARY_OPS else (self.plain(a),)
        return self.form(Signed(False, self.graph.add(op, *operands)))

    def quotient(self, a: _Product, b: _Product) -> _Product:
        negative = a.negative != b.negative
        if b.parts[SYNAPSE] is None:
            parts = [self.over(p, q) for p, q in zip(a.parts, b.parts, strict=True)]
            return _Product(negative, (parts[0], parts[1], parts[2]))
        divisor = self.signed(b).node
        if a.parts[SYNAPSE] is None:
            return self.form(Signed(negative, self.graph.add(Op.DIV, self.signed(a).node, divisor)))
        return _Product(negative, (a.parts[0], a.parts[1], self.over(a.parts[SYNAPSE], divisor)))

    def times(self, a: int | None, b: int | None) -> int | None:
        if a is None or b is None:
            return b if a is None else a
        return self.graph.add(Op.SQUARE, a) if a == b else self.graph.add(Op.MUL, a, b)

    def over(self, a: int | None, b: int | None) -> int | None:
        if b is None:
            return a
        return self.graph.add(Op.POWI, b, literal=-1) if a is None else self.graph.add(Op.DIV, a, b)

    def form(self, value: Signed) -> _Product:
        parts: list[int | None] = [None, None, None]
        parts[self.graph.levels[value.node]] = value.node
        return _Product(value.negative, (parts[0], parts[1], parts[2]))

    def signed(self, form: _Product) -> Signed:
        """Multiply a product out, from the lowest level up."""
        low = self.times(form.parts[CONSTANT], form.parts[NEURON])
        node = self.times(low, form.parts[SYNAPSE])
        assert node is not None
        return Signed(form.negative, node)

    def plain(self, form: _Product) -> int:
        """Multiply a product out with its sign, which the part of the lowest level takes in."""
        if form.negative:
            level = next(k for k, part in enumerate(form.parts) if part is not None)
            parts = list(form.parts)
            parts[level] = self.graph.plain(Signed(True, parts[level] or 0))
            form = _Product(False, (parts[0], parts[1], parts[2]))
        return self.signed(form).node


def _readers(code: Sequence[Sequence[int]], n_leaves: int, output: int) -> list[int]:
    """Number of instructions that read each register on the way to the output."""
    readers = [0] * (n_leaves + len(code))
    readers[output] = 1
    for row in range(len(code) - 1, -1, -1):
        op, a, b = code[row]
        if readers[n_leaves + row]:
            readers[a] += 1
            if op in BINARY_OPS and (op != Op.MUL or a != b):
                readers[b] += 1
    return readers


# ----------------------------------------------------------------------------------------------- the way back

_Term = tuple[bool, int, int | None]  # sign and one or two factors


def gradient_of(graph: Graph, result: int, n_constants: int) -> Gradient:
    """Write the derivatives of a result into its graph.

    ``ADJOINT`` is dL/d(result), given for each synapse.
    """
    return _Reverse(graph).run(result, n_constants)


class _Reverse:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.terms: list[list[_Term]] = [[] for _ in graph.nodes]
        self.totals: list[int] = []
        self.wanted: list[bool] = []
        for node in graph.nodes:
            is_flat = node.op == Op.SIGN or (node.op == Op.POWI and node.literal == 0)
            moves = node.op != More.PRE if not node.args else any(self.wanted[a] for a in node.args)
            self.wanted.append(moves and not is_flat)

    def run(self, result: int, n_constants: int) -> Gradient:
        weight: Signed | None = None
        post: int | None = None
        constants: list[int | None] = [None] * n_constants
        seed = self.graph.leaf(More.ADJOINT, SYNAPSE)
        self.pull(result, SYNAPSE, False, seed)
        for n in range(len(self.terms) - 1, -1, -1):
            node, terms = self.graph.nodes[n], self.terms[n]
            if not terms:
                continue
            adjoint = self.sum_of(terms)
            if node.op == More.WEIGHT:
                weight = adjoint
            elif node.op == More.POST:
                post = self.graph.plain(adjoint)
            elif node.op == More.PARAMETER:
                constants[node.literal] = self.graph.plain(adjoint)
            else:
                self.pull_operation(n, adjoint)
        return Gradient(weight, post, constants, self.totals)

    def sum_of(self, terms: list[_Term]) -> Signed:
        """Add up what has reached a node: first what is no product, so that products can be fused."""
        terms = sorted(terms, key=lambda term: term[2] is not None)
        values = [Signed(sign, f if g is None else self.graph.add(Op.MUL, f, g)) for sign, f, g in terms]
        total = values[0]
        for value in values[1:]:
            total = self.graph.sum_of(total, value)
        return total

    def pull(self, target: int, level: int, negative: bool, factor: int, other: int | None = None) -> None:
        """Add ``factor * other``, given at a level, to the adjoint of a node of the same or a lower one."""
        if not self.wanted[target]:
            return
        graph = self.graph
        if graph.levels[target] == level:
            self.terms[target].append((negative, factor, other))
            return
        own = graph.levels[target]
        total = graph.leaf(More.TOTAL, own, 2 * target + negative, stage=4 - own)
        self.totals.append(
            graph.add_up(total, factor) if other is None else graph.add_up(total, factor, other)
        )
        if (negative, total, None) not in self.terms[target]:
            self.terms[target].append((negative, total, None))

    def pull_operation(self, n: int, adjoint: Signed) -> None:
        """Pull the adjoint of an operation back to what it reads."""
        graph, level = self.graph, self.graph.levels[n]
        op, args, _ = graph.nodes[n]
        a, b = args[0], args[-1]
        minus, s = adjoint
        if op == Op.ADD or op == Op.SUB:
            self.pull(a, level, minus, s)
            self.pull(b, level, minus != (op == Op.SUB), s)
        elif op == Op.MUL:
            self.pull(a, level, minus, s, b)
            self.pull(b, level, minus, s, a)
        elif op == Op.DIV:
            ratio = graph.add(Op.DIV, s, b)
            self.pull(a, level, minus, ratio)
            if self.wanted[b]:
                self.pull(b, level, not minus, ratio, n)
        elif op == Op.POW:
            if self.wanted[a]:
                self.pull(a, level, minus, s, graph.add(More.POW_SLOPE, a, b))
            if self.wanted[b]:
                self.pull(b, level, minus, s, graph.add(More.POW_LOG, n, a))
        elif op == Op.MAX or op == Op.MIN:
            pair = (a, b) if op == Op.MAX else (b, a)
            self.pull(a, level, minus, s, graph.add(More.AT_LEAST, *pair))
            self.pull(b, level, minus, s, graph.add(More.BELOW, *pair))
        elif op == Op.NEG:
            self.pull(a, level, not minus, s)
        elif op == Op.LOG:
            self.pull(a, level, minus, graph.add(Op.DIV, s, a))
        else:
            self.pull(a, level, minus, s, self.slope(n))

    def slope(self, n: int) -> int:
        """Return the derivative of an operation that reads one node."""
        op, (a,), literal = self.graph.nodes[n]
        if op == Op.SQUARE:
            return self.graph.add(Op.ADD, a, a)
        if op == Op.POWI:
            return self.graph.add(More.POWI_SLOPE, a, literal=literal)
        if op == Op.TANH:
            return self.graph.add(More.TANH_SLOPE, n)
        if op == Op.SQRT:
            return self.graph.add(More.SQRT_SLOPE, n)
        if op == Op.ABS:
            return self.graph.add(Op.SIGN, a)
        assert op == Op.EXP
        return n
