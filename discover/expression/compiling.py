"""From an expression tree to the straight-line program that the simulation kernels run."""

from __future__ import annotations

from collections.abc import Sequence

from discover.errors import RuleError
from discover.expression.node import NOT_SIMULATED, Node, constants, is_integer_exponent, postorder, take
from sims.rules import MAX_INSTRUCTIONS, Op, Program

__all__ = ["compile_program"]

_COMMUTATIVE = frozenset({Op.ADD, Op.MUL, Op.MAX, Op.MIN})


def compile_program(node: Node, variables: Sequence[str], neuron_level: Sequence[bool]) -> Program:
    """Return the program of an expression.

    Equal sub-expressions share a register. Every constant of the tree keeps a register of its own, in the
    order of :func:`discover.expression.constants`, so that each can be fitted.

    Parameters
    ----------
    node : Node
    variables : sequence of str
        In the order in which the kernels supply them.
    neuron_level : sequence of bool
        Whether all synapses of a neuron share the variable.

    Raises
    ------
    RuleError
        If the expression uses another variable, or needs more instructions than the kernels take.

    Examples
    --------
    >>> from discover.expression import parse
    >>> program = compile_program(parse("tanh(x*y) + x*y", ("x", "y")), ("x", "y"), (False, True))
    >>> [(Op(op).name, a, b) for op, a, b in program.code.tolist()]
    [('MUL', 0, 1), ('TANH', 2, 0), ('ADD', 2, 3)]
    """
    values = constants(node)
    compiler = _Compiler(tuple(variables), len(values))
    output = compiler.run(node)
    if len(compiler.code) > MAX_INSTRUCTIONS:
        raise RuleError(
            f"The rule needs {len(compiler.code):,} instructions; {MAX_INSTRUCTIONS:,} are allowed."
        )
    return Program.build(variables, neuron_level, values, compiler.code, output)


class _Compiler:
    def __init__(self, variables: tuple[str, ...], n_constants: int) -> None:
        self.variables = {name: register for register, name in enumerate(variables)}
        self.next_constant = len(variables)
        self.n_leaves = len(variables) + n_constants
        self.code: list[tuple[int, int, int]] = []
        self.registers: dict[tuple[int, int, int], int] = {}

    def run(self, node: Node) -> int:
        skipped = _structural_exponents(node)
        stack: list[int] = []
        for position, part in enumerate(postorder(node)):
            if position in skipped:
                stack.append(int(part.value))
            elif part.op == "var":
                stack.append(self.variable(part.name))
            elif part.op == "const":
                stack.append(self.next_constant)
                self.next_constant += 1
            else:
                stack.append(self.instruction(part, take(stack, len(part.args))))
        return stack.pop()

    def variable(self, name: str) -> int:
        if name not in self.variables:
            raise RuleError(f"Unknown variable {name!r}. Variables here: {', '.join(self.variables)}.")
        return self.variables[name]

    def instruction(self, part: Node, operands: Sequence[int]) -> int:
        if part.op in NOT_SIMULATED:
            raise RuleError(f"Networks have no function {part.op}: rules of recorded data alone may use it.")
        op = Op[part.op.upper()]
        a, b = operands[0], operands[1] if len(operands) == 2 else 0
        if part.op == "pow" and is_integer_exponent(part.args[1]):
            op, b = (Op.SQUARE, 0) if b == 2 else (Op.POWI, b)
        if op in _COMMUTATIVE:
            a, b = min(a, b), max(a, b)
        key = (int(op), a, b)
        if key not in self.registers:
            self.registers[key] = self.n_leaves + len(self.code)
            self.code.append(key)
        return self.registers[key]


def _structural_exponents(node: Node) -> set[int]:
    """Return the positions, in postorder, of whole exponents."""
    positions: set[int] = set()
    stack: list[int] = []
    for position, part in enumerate(postorder(node)):
        operands = take(stack, len(part.args))
        if part.op == "pow" and is_integer_exponent(part.args[1]):
            positions.add(operands[1])
        stack.append(position)
    return positions
