"""How sure the constants of a rule are, when its form is taken for granted."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from discover.errors import ConfigError
from discover.expression import Node, const, constants, postorder, var, variables_of, with_constants
from discover.expression.node import take
from discover.expression.simplify import flat_operands, simplify_structure
from discover.inference.recordings import Recordings, checked_recordings
from discover.rule import Rule
from discover.search._constants import fit_constants

__all__ = ["ConstantInterval", "constant_intervals"]

_STEPS = 60
_MARK = 987654321.5
"""Stands for a constant that is looked for; no number of four digits is the same."""


class ConstantInterval(NamedTuple):
    """A constant of a rule with its interval.

    Attributes
    ----------
    value, low, high : float
        A number that is subtracted is negative, as in a sum of terms.
    place : str
        The term that it is part of, with ``c`` in its place.
    """

    value: float
    low: float
    high: float
    place: str


def constant_intervals(
    rule: Rule, recordings: Recordings, n_resamples: int = 400, confidence: float = 0.95, seed: int = 0
) -> tuple[ConstantInterval, ...]:
    """Return intervals of the constants of a rule by a bootstrap over recordings.

    Whole recordings are drawn with replacement, as rows of one are alike, and the constants are fitted to
    each draw by least squares. An interval is that of Student's t, for one recording less than there are,
    with the standard deviation over the draws, which is made larger by the root of ``n / (n - 1)``.
    Percentiles of the draws would be too narrow for the few recordings that there mostly are. That the form
    was chosen on the same data is not part of the intervals.

    Parameters
    ----------
    rule : Rule
        Of a single slot, in the variables of the recordings, such as ``infer(recordings).rule``.
    recordings : Recordings
    n_resamples : int
    confidence : float
    seed : int

    Returns
    -------
    tuple of ConstantInterval
        In reading order, as :meth:`discover.rule.Rule.constants` has them, with the signs of a sum of terms:
        that of ``x - 2*w`` is -2. The values are fitted to all recordings.

    Raises
    ------
    ConfigError
        If what is given is no recordings, there are fewer than three, or numbers are out of range.

    References
    ----------
    Cameron, Gelbach & Miller (2008), Bootstrap-based improvements for inference with clustered errors, Rev.
    Econ. Stat. 90:414-427.

    Examples
    --------
    >>> from discover.inference import from_rows
    >>> states = np.random.default_rng(0).normal(size=(200, 2))
    >>> noise = 0.1 * np.random.default_rng(1).normal(size=200)
    >>> recordings = from_rows(("x", "w"), states, 2 * states[:, 0] - states[:, 1] + noise, None)
    >>> rule = Rule.parse("1.9*x - 0.9*w")
    >>> for one in constant_intervals(rule, recordings):
    ...     print(f"{one.place}: {one.value:.2f} ({one.low:.2f} to {one.high:.2f})")
    c*x: 1.99 (1.98 to 2.00)
    c*w: -1.00 (-1.01 to -0.99)
    """
    recordings = checked_recordings(recordings)
    n = recordings.n_recordings
    if n < 3:
        raise ConfigError(f"Intervals over recordings need three of them or more; there are {n}.")
    if not (n_resamples >= 20 and 0 < confidence < 1):
        raise ConfigError(
            "Intervals need 20 resamples or more and a confidence between 0 and 1, got "
            f"{n_resamples} and {confidence:g}."
        )
    node = rule.expression()
    rows = recordings.rows
    rng = np.random.default_rng(seed)
    with threadpool_limits(1):
        fitted = fit_constants(node, recordings.samples, _STEPS).tree
        drawn = np.array([
            constants(fit_constants(fitted, recordings.samples.take(_draw(rows, rng)), _STEPS).tree)
            for _ in range(n_resamples)
        ]).reshape(n_resamples, -1)  # fmt: skip
    reach = stats.t.ppf(0.5 + confidence / 2, n - 1) * np.sqrt(n / (n - 1)) * drawn.std(axis=0, ddof=1)
    signed = _signed(fitted)
    return tuple(
        ConstantInterval(value, value - float(one), value + float(one), place)
        for value, one, place in zip(constants(signed), reach, _places(signed), strict=True)
    )


def _signed(node: Node) -> Node:
    """Return an expression whose minus signs stand in its constants: ``x - 2*w`` is ``x + (-2)*w``."""
    stack: list[Node] = []
    for part in postorder(node):
        args = take(stack, len(part.args))
        turned = _turned(args[-1]) if part.op in ("sub", "neg") else None
        if turned is None:
            stack.append(Node(part.op, tuple(args)) if args else part)
        else:
            stack.append(turned if part.op == "neg" else Node("add", (args[0], turned)))
    return stack.pop()


def _turned(node: Node) -> Node | None:
    """Return the negative of a number or of what begins with one; None for anything else."""
    if node.op == "const":
        return const(-node.value)
    first = _turned(node.args[0]) if node.op in ("mul", "div") else None
    return None if first is None else Node(node.op, (first, node.args[1]))


def _places(node: Node) -> list[str]:
    """Return the term of each constant, with a letter in its place and other numbers rounded."""
    letter = "c"
    while letter in variables_of(node):
        letter += "_"
    shape, terms = flat_operands(node) if node.op in ("add", "sub") else (("+",), [node])
    places = []
    for sign, term in zip(shape, terms, strict=True):
        whole = Node("neg", (term,)) if sign == "-" else term
        rounded = [float(f"{value:.4g}") for value in constants(whole)]
        for k in range(len(rounded)):
            marked = with_constants(whole, [_MARK if j == k else value for j, value in enumerate(rounded)])
            places.append(str(simplify_structure(_named(marked, letter))))
    return places


def _named(node: Node, letter: str) -> Node:
    """Return an expression with a variable in the place of the number that stands for it."""
    stack: list[Node] = []
    for part in postorder(node):
        args = take(stack, len(part.args))
        if part.op == "const" and part.value == _MARK:
            stack.append(var(letter))
        else:
            stack.append(Node(part.op, tuple(args)) if args else part)
    return stack.pop()


def _draw(rows: list[NDArray[np.intp]], rng: np.random.Generator) -> NDArray[np.intp]:
    return np.concatenate([rows[k] for k in rng.integers(len(rows), size=len(rows))])
