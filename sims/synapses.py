"""Who is connected to whom: the synapses of one projection, packed by presynaptic neuron."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Synapses", "drawn_subset", "starts_of"]

IntArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Synapses:
    """Synapses of presynaptic neuron i end at ``target[start[i]:start[i + 1]]``.

    Weights of a projection have this order: by presynaptic neuron, then as its targets stand.

    Parameters
    ----------
    start : array_like of int, shape (n_pre + 1,)
    target : array_like of int, shape (n_synapses,)
        Postsynaptic neurons, counted from 0 in their population.

    Raises
    ------
    ValueError
        If the two do not fit together.

    Examples
    --------
    >>> Synapses.from_pairs([1, 0, 1], [2, 2, 0], n_pre=2).target.tolist()
    [2, 2, 0]
    """

    start: IntArray
    target: IntArray

    def __post_init__(self) -> None:
        start, target = np.array(self.start, dtype=np.int64), np.array(self.target, dtype=np.int64)
        if start.ndim != 1 or target.ndim != 1 or len(start) < 2:
            raise ValueError(
                "Synapses have start (n_pre + 1,) and target (n_synapses,), "
                f"got {start.shape} and {target.shape}."
            )
        if start[0] != 0 or start[-1] != len(target) or np.any(np.diff(start) < 0):
            raise ValueError(
                f"The start of synapses grows from 0 to their number {len(target)}, "
                f"got {start[0]} to {start[-1]}."
            )
        if len(target) and target.min() < 0:
            raise ValueError(f"Targets are numbered from 0, got {target.min()}.")
        for name, value in (("start", start), ("target", target)):
            value.setflags(write=False)
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.target)

    @property
    def n_pre(self) -> int:
        """Number of presynaptic neurons."""
        return len(self.start) - 1

    @property
    def source(self) -> IntArray:
        """Presynaptic neuron of every synapse, shape (n_synapses,)."""
        return np.repeat(np.arange(self.n_pre), np.diff(self.start))

    @classmethod
    def from_pairs(cls, source: ArrayLike, target: ArrayLike, n_pre: int) -> Synapses:
        """Pack synapses given as pairs of neurons, shape (n_synapses,) each.

        Those of one source keep their order.

        Raises
        ------
        ValueError
            If shapes differ or a source does not exist.
        """
        sources, targets = np.array(source, dtype=np.int64), np.array(target, dtype=np.int64)
        if sources.ndim != 1 or sources.shape != targets.shape:
            raise ValueError(
                f"Sources and targets have one shape (n,), got {sources.shape} and {targets.shape}."
            )
        if len(sources) and not 0 <= sources.min() <= sources.max() < n_pre:
            raise ValueError(
                f"Sources are numbered 0 to {n_pre - 1}, got {sources.min()} to {sources.max()}."
            )
        order = np.argsort(sources, kind="stable")
        return cls(starts_of(np.bincount(sources, minlength=n_pre)), targets[order])

    @classmethod
    def drawn(cls, n_pre: int, n_post: int, probability: float, rng: np.random.Generator) -> Synapses:
        """Connect every pair of neurons with one probability, a neuron with itself too."""
        source, target = np.divmod(drawn_subset(n_pre * n_post, probability, rng), n_post)
        return cls(starts_of(np.bincount(source, minlength=n_pre)), target)


def drawn_subset(n: int, probability: float, rng: np.random.Generator) -> IntArray:
    """Draw a subset of ``range(n)``, every member with one probability, sorted."""
    if probability >= 1:
        return np.arange(n)
    # Gaps between members are geometric; this many of them reach beyond the end almost surely.
    most = int(n * probability + 10 * math.sqrt(n * probability + 1) + 20)
    members = np.cumsum(rng.geometric(probability, most)) - 1
    while members[-1] < n - 1:
        more = np.cumsum(rng.geometric(probability, most)) + members[-1]
        members = np.concatenate([members, more])
    picked: IntArray = members[members < n]
    return picked


def starts_of(sizes: Sequence[int] | IntArray) -> IntArray:
    """Return where each of some rows starts when they stand one after the other, and where the last ends."""
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
