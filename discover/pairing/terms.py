"""Terms of a rule for two neurons: products of traces at either kind of spike, summed over a protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray

from discover.pairing.protocols import Protocol
from sims.pairing import Tie, traces_at_spikes

__all__ = ["TERMS", "Term", "Traces", "design"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Traces:
    """Time constants, in ms, of a fast and a slow trace of each neuron.

    The default are those of Pfister & Gerstner (2006) for visual cortex.
    """

    fast_pre: float = 16.8
    slow_pre: float = 101.0
    fast_post: float = 33.7
    slow_post: float = 125.0


TRACE_NAMES = ("x_pre", "slow_pre", "x_post", "slow_post")
IS_PRE = (True, True, False, False)


@dataclass(frozen=True)
class Term:
    """A product of traces at one kind of spike.

    Attributes
    ----------
    spike : str
        ``pre`` or ``post``.
    powers : tuple of int
        Of the fast and the slow trace of presynaptic spikes, and of those of postsynaptic ones.
    """

    spike: str
    powers: tuple[int, int, int, int]

    @property
    def name(self) -> str:
        """Its text, such as ``x_pre*slow_post``; ``1`` for a jump that sees no trace."""
        factors = [
            name if power == 1 else f"{name}**{power}"
            for name, power in zip(TRACE_NAMES, self.powers, strict=True)
            if power
        ]
        return "*".join(factors) or "1"

    @property
    def uses(self) -> tuple[bool, ...]:
        """Which of the four traces it reads."""
        return tuple(power > 0 for power in self.powers)

    def __str__(self) -> str:
        return f"{self.name} at a {self.spike}synaptic spike"


TERMS: tuple[Term, ...] = (
    Term("pre", (0, 0, 0, 0)), Term("pre", (0, 0, 1, 0)), Term("pre", (0, 0, 2, 0)),
    Term("pre", (0, 1, 0, 0)), Term("pre", (0, 1, 1, 0)),
    Term("post", (0, 0, 0, 0)), Term("post", (1, 0, 0, 0)), Term("post", (2, 0, 0, 0)),
    Term("post", (0, 0, 0, 1)), Term("post", (1, 0, 0, 1)),
)  # fmt: skip
"""Ten terms: nothing, the other neuron's fast trace, its square, the own slow trace, and both together."""


def design(
    protocols: Sequence[Protocol], traces: Traces, terms: Sequence[Term] = TERMS, tie: Tie = "pre first"
) -> FloatArray:
    """Return what each term adds up to over each protocol.

    Parameters
    ----------
    protocols : sequence of Protocol
    traces : Traces
    terms : sequence of Term
    tie : str
        Which of two spikes in one instant comes first.

    Returns
    -------
    ndarray, shape (n_protocols, n_terms)
        The change of a weight is this times the coefficients.
    """
    sums = np.empty((len(protocols), len(terms)))
    for row, protocol in enumerate(protocols):
        read = traces_at_spikes(protocol.pre_ms, protocol.post_ms, astuple(traces), IS_PRE, tie)
        at = dict(zip(("pre", "post"), read, strict=True))
        for column, term in enumerate(terms):
            sums[row, column] = np.prod(at[term.spike] ** np.array(term.powers), axis=1).sum()
    return sums
