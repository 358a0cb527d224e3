"""Expressions of plasticity rules: read, printed, evaluated and rearranged without ever running code.

All rule text of the program enters through :func:`parse`.
"""

from discover.expression.complexity import COSTS, Complexity
from discover.expression.latex import to_latex
from discover.expression.node import (
    MAX_EXPONENT,
    Node,
    const,
    constants,
    define_function,
    evaluate,
    forget_function,
    postorder,
    var,
    variables_of,
    with_constants,
)
from discover.expression.parsing import MAX_DEPTH, MAX_LENGTH, MAX_NODES, combine, parse
from discover.expression.polynomial import monomial_text, polynomial_node, polynomial_terms
from discover.expression.simplify import canonical, scaled, simplify_structure
from discover.expression.symbolic import from_sympy, to_sympy

__all__ = [
    "COSTS",
    "MAX_DEPTH",
    "MAX_EXPONENT",
    "MAX_LENGTH",
    "MAX_NODES",
    "Complexity",
    "Node",
    "canonical",
    "combine",
    "const",
    "constants",
    "define_function",
    "evaluate",
    "forget_function",
    "from_sympy",
    "monomial_text",
    "parse",
    "polynomial_node",
    "polynomial_terms",
    "postorder",
    "scaled",
    "simplify_structure",
    "to_latex",
    "to_sympy",
    "var",
    "variables_of",
    "with_constants",
]
