"""The spikes of protocols in the order of time, with every trace just before each of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray

from discover.expression import Node, evaluate, variables_of
from discover.pairing.protocols import Protocol
from sims.pairing import Tie, traces_at_spikes

__all__ = ["TRACE_NAMES", "Events", "Traces"]

FloatArray = NDArray[np.float64]

TRACE_NAMES = ("x_pre", "slow_pre", "x_post", "slow_post")
IS_PRE = (True, True, False, False)
MAX_VALUES = 5_000_000
"""Values of a term at spikes that are held at once."""


@dataclass(frozen=True)
class Traces:
    """Time constants, in ms, of a fast and a slow trace of each neuron.

    The default are those of Pfister & Gerstner (2006) for visual cortex.
    """

    fast_pre: float = 16.8
    slow_pre: float = 101.0
    fast_post: float = 33.7
    slow_post: float = 125.0

    def items(self) -> Iterable[tuple[str, float]]:
        """Return the traces' names with their time constants."""
        return zip(TRACE_NAMES, astuple(self), strict=True)


class Events:
    """All spikes of some protocols; every trace is computed once at each of its time constants.

    Parameters
    ----------
    protocols : sequence of Protocol
    taus : sequence of sequence of float
        Time constants, in ms, of the four traces.
    tie : str
        Which of two spikes in one instant comes first.

    Attributes
    ----------
    is_pre : ndarray of bool, shape (n_spikes,)
    starts : ndarray of int, shape (n_protocols + 1,)
        First spike of each protocol, and the number of all.
    traces : dict from str to ndarray, shape (n_taus, n_spikes)
    """

    def __init__(
        self, protocols: Sequence[Protocol], taus: Sequence[Sequence[float]], tie: Tie = "pre first"
    ) -> None:
        flat = [tau for values in taus for tau in values]
        sides = [side for values, side in zip(taus, IS_PRE, strict=True) for _ in values]
        kinds, tables = [], []
        for protocol in protocols:
            at_pre, at_post = traces_at_spikes(protocol.pre_ms, protocol.post_ms, flat, sides, tie)
            times = np.concatenate([np.sort(protocol.pre_ms), np.sort(protocol.post_ms)])
            is_pre = np.arange(len(times)) < len(protocol.pre_ms)
            order = np.lexsort((is_pre != (tie == "pre first"), times))
            kinds.append(is_pre[order])
            tables.append(np.concatenate([at_pre, at_post])[order])
        self.n_protocols = len(tables)
        self.starts = np.concatenate([[0], np.cumsum([len(one) for one in kinds])]).astype(np.int64)
        self.is_pre = np.concatenate(kinds)
        table = np.ascontiguousarray(np.concatenate(tables).T)
        ends = np.cumsum([len(values) for values in taus])
        self.traces = dict(zip(TRACE_NAMES, np.split(table, ends[:-1]), strict=True))

    def values(self, spike: str, node: Node, points: Sequence[tuple[int, ...]]) -> FloatArray:
        """Return an expression at all spikes of one kind, zero at the others.

        Parameters
        ----------
        spike : str
            ``pre`` or ``post``.
        node : Node
        points : sequence of tuple of int
            Numbers of the four traces' time constants.

        Returns
        -------
        ndarray, shape (n_points, n_spikes)
        """
        places = dict(zip(TRACE_NAMES, np.array(points).T, strict=True))
        shape = (len(points), len(self.is_pre))
        columns = {name: self.traces[name][places[name]] for name in variables_of(node)}
        found = np.broadcast_to(evaluate(node, columns), shape)
        return np.where(self.is_pre == (spike == "pre"), found, 0.0)

    def sums(self, terms: Sequence[tuple[str, Node]], points: Sequence[tuple[int, ...]]) -> FloatArray:
        """Return what each term adds up to over each protocol, shape (n_points, n_protocols, n_terms)."""
        found = np.empty((len(points), self.n_protocols, len(terms)))
        step = max(1, MAX_VALUES // len(self.is_pre))
        for number, (spike, node) in enumerate(terms):
            for first in range(0, len(points), step):
                some = slice(first, first + step)
                values = self.values(spike, node, points[some])
                found[some, :, number] = np.add.reduceat(values, self.starts[:-1], axis=1)
        return found
