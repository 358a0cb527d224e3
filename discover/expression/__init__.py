"""Expressions of plasticity rules: read, printed, evaluated and rearranged without ever running code.

All rule text of the program enters through :func:`parse`.
"""

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
from discover.expression.parsing import MAX_DEPTH, MAX_LENGTH, MAX_NODES, parse

__all__ = [
    "MAX_DEPTH",
    "MAX_EXPONENT",
    "MAX_LENGTH",
    "MAX_NODES",
    "Node",
    "const",
    "constants",
    "evaluate",
    "parse",
    "postorder",
    "var",
    "variables_of",
    "with_constants",
]
