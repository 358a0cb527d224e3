"""Random expression trees for property tests, in the normal form that the parser makes."""

from __future__ import annotations

from hypothesis import strategies as st

from discover.expression import Node, const, var
from discover.expression.parsing import combine

VARIABLES = ("x", "y", "w")
UNARY = ("neg", "tanh", "exp", "log", "sqrt", "abs", "sign")
BINARY = ("add", "sub", "mul", "div", "max", "min")


def foldable(op: str, *args: Node) -> Node:
    """Build a node as the parser does; where a constant part is not finite, keep the first operand."""
    try:
        return combine(op, args)
    except ValueError:
        return args[0]


leaves = st.one_of(
    st.sampled_from(VARIABLES).map(var),
    st.floats(-100, 100, allow_subnormal=False).map(const),
    st.sampled_from([-2.0, -1.0, 0.0, 0.5, 1.0, 2.0, 1e-9, 1e20]).map(const),
)


def trees(max_leaves: int = 12, unary: tuple[str, ...] = UNARY, binary: tuple[str, ...] = BINARY):
    """Trees over x, y, w."""

    def grown(children: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
        powers = st.builds(foldable, st.just("pow"), children, st.integers(-3, 5).map(float).map(const))
        options = [st.builds(foldable, st.sampled_from(binary), children, children), powers]
        if unary:
            options.append(st.builds(foldable, st.sampled_from(unary), children))
        if "div" in binary:
            options.append(st.builds(foldable, st.just("pow"), children, st.floats(-3, 3).map(const)))
        return st.one_of(options)

    return st.recursive(leaves, grown, max_leaves=max_leaves)


def polynomials(max_leaves: int = 8):
    """Trees that are polynomials of moderate degree."""

    def grown(children: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
        return st.one_of(
            st.builds(foldable, st.sampled_from(("add", "sub", "mul")), children, children),
            st.builds(foldable, st.just("neg"), children),
            st.builds(foldable, st.just("pow"), children, st.sampled_from([0.0, 1.0, 2.0]).map(const)),
            st.builds(foldable, st.just("div"), children, st.sampled_from([2.0, -4.0]).map(const)),
        )

    small = st.one_of(st.sampled_from(VARIABLES).map(var), st.integers(-3, 3).map(float).map(const))
    return st.recursive(small, grown, max_leaves=max_leaves)
