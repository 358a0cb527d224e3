"""Expressions of plasticity rules: read, printed, evaluated and rearranged without ever running code.

All rule text of the program enters through :func:`parse`.
"""

from discover.expression.latex import to_latex
from discover.expression.node import (
    MAX_EXPONENT,
    Node,
    const,
    constants,
    evaluate,
    postorder,
    var,
    variables_of,
    with_constants,
)
from discover.expression.parsing import MAX_DEPTH, MAX_LENGTH, MAX_NODES, combine, parse
from discover.expression.polynomial import monomial_text, polynomial_node, polynomial_terms
from discover.expression.simplify import canonical, simplify_structure
from discover.expression.symbolic import from_sympy, to_sympy

__all__ = [
    "MAX_DEPTH",
    "MAX_EXPONENT",
    "MAX_LENGTH",
    "MAX_NODES",
    "Node",
    "canonical",
    "combine",
    "const",
    "constants",
    "evaluate",
    "from_sympy",
    "monomial_text",
    "parse",
    "polynomial_node",
    "polynomial_terms",
    "postorder",
    "simplify_structure",
    "to_latex",
    "to_sympy",
    "var",
    "variables_of",
    "with_constants",
]
