"""What spiking synapses see: traces and weights at spikes, from recorded spike trains."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from discover.slots import ON_POST, ON_PRE
from discover.tasks.base import VisitedStates
from discover.traces import trace_at

if TYPE_CHECKING:
    from sims.spike_rules import LinearSpikeRule, SpikeRule
    from sims.spike_splines import SplineSpikeRule
    from sims.synapses import Synapses

__all__ = ["N_SEGMENTS", "WINDOW_MS", "SpikeTrains", "drawn_states", "picked_states", "states_at_spikes"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

N_SEGMENTS = 10
"""States are sampled at the ends of so many parts of the inner loop."""

WINDOW_MS = 100.0
"""How long before the end of a part the presynaptic spikes are at which states are sampled."""

MOST_SAMPLED = 20
"""Postsynaptic neurons at whose synapses states are sampled."""


@dataclass(frozen=True)
class SpikeTrains:
    """Spikes on both sides of a projection, in time order.

    Attributes
    ----------
    pre_ms : ndarray, shape (n_pre_spikes,)
        As they arrive.
    source : ndarray of int, shape (n_pre_spikes,)
        Which neuron's they are.
    post_ms : ndarray, shape (n_post_spikes,)
    target : ndarray of int, shape (n_post_spikes,), optional
        Default: there is one postsynaptic neuron.
    """

    pre_ms: FloatArray
    source: IntArray
    post_ms: FloatArray
    target: IntArray | None = None


def states_at_spikes(
    rule: SpikeRule | LinearSpikeRule | SplineSpikeRule,
    trains: SpikeTrains,
    synapses: Synapses | None,
    weights: FloatArray,
    since_ms: float,
) -> dict[str, FloatArray]:
    """What synapses see at spikes of the last moments, by slot, rows of (trace, weight).

    Parameters
    ----------
    rule : SpikeRule, LinearSpikeRule or SplineSpikeRule
        Its time constants count.
    trains : SpikeTrains
    synapses : Synapses or None
        None where all presynaptic neurons have one synapse each, onto one neuron.
    weights : ndarray, shape (n_synapses,)
    since_ms : float
        Presynaptic spikes from here on count, and the last spike of each postsynaptic neuron.
    """
    sources = np.arange(len(weights)) if synapses is None else synapses.source
    targets = np.zeros(len(weights), dtype=np.int64) if synapses is None else synapses.target
    neurons = np.unique(targets)
    at_pre, at_post = [np.empty((0, 2))], [np.empty((0, 2))]
    for neuron in neurons[:: -(-len(neurons) // MOST_SAMPLED) or 1].tolist():
        own = np.flatnonzero(targets == neuron)
        synapse_of = np.full(max(int(sources.max()), int(trains.source.max(initial=0))) + 1, -1)
        synapse_of[sources[own]] = own
        is_output = slice(None) if trains.target is None else trains.target == neuron
        outputs = trains.post_ms[is_output]
        recent = np.flatnonzero((trains.pre_ms > since_ms) & (synapse_of[trains.source] >= 0))
        post = trace_at(outputs, trains.pre_ms[recent], rule.tau_post_ms, counts_ties=False)
        at_pre.append(np.stack([post, weights[synapse_of[trains.source[recent]]]], axis=1))
        if len(outputs):
            last: FloatArray = outputs[-1:]
            pre = [
                float(trace_at(trains.pre_ms[trains.source == n], last, rule.tau_pre_ms, counts_ties=True)[0])
                for n in sources[own].tolist()
            ]
            at_post.append(np.stack([np.array(pre), weights[own]], axis=1))
    return {ON_PRE.name: np.concatenate(at_pre), ON_POST.name: np.concatenate(at_post)}


def picked_states(
    found: Iterable[tuple[dict[str, FloatArray], int, int]], n_states: int, seed: np.random.SeedSequence
) -> dict[str, VisitedStates]:
    """Draw states of each slot from what :func:`states_at_spikes` gave, with problem and step of each."""
    rng = np.random.default_rng(seed)
    rows: dict[str, list[FloatArray]] = {ON_PRE.name: [], ON_POST.name: []}
    for seen_by_slot, problem, step in found:
        for slot, seen in seen_by_slot.items():
            where = np.broadcast_to([float(problem), float(step)], (len(seen), 2))
            rows[slot].append(np.concatenate([seen, where], axis=1))
    return {slot: drawn_states(parts, n_states, rng) for slot, parts in rows.items()}


def drawn_states(parts: Sequence[FloatArray], n_states: int, rng: np.random.Generator) -> VisitedStates:
    """Draw states from rows of (trace, weight, problem, step)."""
    table = np.concatenate(parts) if parts else np.empty((0, 4))
    if len(table):
        table = table[np.sort(rng.integers(len(table), size=n_states))]
    return VisitedStates(table[:, :2], table[:, 2].astype(int), table[:, 3].astype(int))
