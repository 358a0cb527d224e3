"""States of spiking circuits: all that changes, to be run from, looked at, saved and read."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sims import _circuit_tables as tables
from sims._circuit_packing import Layout, Plan, RowKey

__all__ = ["CircuitState", "loaded_state", "with_rows"]

FloatArray = NDArray[np.float64]

FORMAT = 2
"""Version of the files of states."""


@dataclass(frozen=True, eq=False)
class CircuitState:
    """All that changes in a network: runs begin with one and end with one, and change none.

    Attributes
    ----------
    step : int
        Steps since the start.
    """

    step: int
    layout: Layout
    arrays: tables.State
    keys: tuple[RowKey, ...]
    rng: np.random.Generator

    def weights(self, projection: str) -> FloatArray:
        """Weights of a projection that is plastic or began with several, shape (n_synapses,)."""
        result: FloatArray = self.arrays.weights[self._slice(projection)].copy()
        return result

    def with_weights(self, projection: str, weights: ArrayLike) -> CircuitState:
        """Return the same state with other weights of a projection, one or all of shape (n_synapses,).

        Raises
        ------
        ValueError
            If they are of another shape or not within the bounds of the projection.
        """
        place = self._slice(projection)
        values = np.asarray(weights, dtype=np.float64)
        n = place.stop - place.start
        if values.shape not in ((), (n,)):
            raise ValueError(f"Projection {projection} has {n} weights, got the shape {values.shape}.")
        low, high = self.layout.circuit.bounds(projection)
        if not np.all(np.isfinite(values)) or np.any(values < low) or np.any(values > high):
            raise ValueError(f"Weights of {projection} are finite and from {low} to {high}, got others.")
        arrays = _copied(self.arrays)
        arrays.weights[place] = values
        return replace(self, arrays=arrays, rng=copy.deepcopy(self.rng))

    def voltage_mv(self, population: str) -> FloatArray:
        """Membrane voltages, shape (n,)."""
        first = self.layout.first[population]
        n = self.layout.circuit.populations[population].n
        return np.asarray(self.arrays.voltage[first : first + n], dtype=np.float64)

    def eligibility(self, name: str) -> FloatArray:
        """Values of an eligibility trace, shape (n_synapses,)."""
        e = list(self.layout.eligibilities).index(name)
        start = self.layout.eligibility_start
        values = self.arrays.eligibility[start[e] : start[e + 1]]
        return np.asarray(values * self.arrays.eligibility_scales[e])

    def signal(self, name: str) -> float:
        """Value of a signal or of a low-passed one."""
        return float(self.arrays.signals[self.layout.globals.index(name)])

    def save(self, path: str | Path) -> None:
        """Write the state to a file (.npz) that :meth:`Network.load_state` reads."""
        about = {
            "version": FORMAT,
            "step": self.step,
            "rows": self.keys,
            "random": self.rng.bit_generator.state,
            "synapses": self.layout.fingerprint,
        }
        with open(path, "wb") as file:
            np.savez(file, about=np.array(json.dumps(about)), **self.arrays._asdict())

    def _slice(self, projection: str) -> slice:
        if projection not in self.layout.weights:
            raise ValueError(
                f"Projections with weights of their own are {', '.join(self.layout.weights) or 'none'}, "
                f"got {projection!r}."
            )
        return self.layout.weights[projection]


def with_rows(layout: Layout, plan: Plan, state: CircuitState) -> tables.State:
    """Copy a state and bring its rows into the order that a plan has."""
    arrays = _copied(state.arrays)
    before = {}
    start = 0
    for key, scale in zip(state.keys, arrays.row_scales, strict=True):
        n = _row_size(layout, key)
        before[key] = arrays.values[start : start + n], scale
        start += n
    values, scales = [], []
    for key in plan.keys:
        held = before.get(key)
        if held is None:
            held = np.zeros(_row_size(layout, key)), 1.0
            if key[0] == tables.LOW_PASS and key[3] == "v":
                held = state.voltage_mv(key[1]), 1.0
        values.append(held[0])
        scales.append(held[1])
    return arrays._replace(values=np.concatenate(values), row_scales=np.array(scales))


def _row_size(layout: Layout, key: RowKey) -> int:
    populations = layout.circuit.populations
    return populations[key[1]].n if key[1] else max(one.n for one in populations.values())


def loaded_state(path: str | Path, like: CircuitState) -> CircuitState:
    """Read a state from a file.

    Parameters
    ----------
    path : str or Path
    like : CircuitState
        Another one of the same network.

    Raises
    ------
    ValueError
        If the file holds no state, or one of a network with other synapses.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            held = {name: file[name] for name in file.files}
        about = json.loads(str(held.pop("about")))
        if about["version"] != FORMAT or about["synapses"] != like.layout.fingerprint:
            raise _AnotherNetwork
        arrays, keys = tables.State(**held), tuple(_as_key(row) for row in about["rows"])
        _check_arrays(arrays, like.arrays, sum(_row_size(like.layout, key) for key in keys), len(keys))
        step = int(about["step"])
        _check_spikes(arrays, like.layout)
        _check_refractory(arrays, like.layout, step)
        rng = np.random.default_rng(0)
        rng.bit_generator.state = about["random"]
        return CircuitState(step, like.layout, arrays, keys, rng)
    except (KeyError, TypeError, ValueError, EOFError, BadZipFile) as error:
        raise ValueError(f"{path} holds no state of a network: {error}.") from error
    except _AnotherNetwork:
        raise ValueError(
            f"{path} holds the state of another network; draw the one that it was saved from, with the same "
            "circuit and seed."
        ) from None


class _AnotherNetwork(Exception):
    pass


def _check_arrays(arrays: tables.State, like: tables.State, n_values: int, n_rows: int) -> None:
    """Raise ValueError unless arrays from a file have the shapes that the kernels rely on."""
    shapes = like._replace(values=np.empty(n_values), row_scales=np.empty(n_rows))
    for name, array, other in zip(arrays._fields, arrays, shapes, strict=True):
        if array.dtype != other.dtype or array.shape != other.shape:
            raise ValueError(f"{name} has the shape {array.shape} and the type {array.dtype}")


def _check_spikes(arrays: tables.State, layout: Layout) -> None:
    """Raise ValueError unless each population's spikes of the last steps are those of its neurons."""
    bounds, history = arrays.bounds, arrays.history
    if np.any(bounds[:, 0] != 0) or np.any(np.diff(bounds, axis=1) < 0) or bounds.max() > history.shape[1]:
        raise ValueError(f"bounds do not rise from 0 to at most {history.shape[1]} along the populations")
    for p, name in enumerate(layout.populations):
        first, n = layout.first[name], layout.circuit.populations[name].n
        for spikes, begin, end in zip(history, bounds[:, p], bounds[:, p + 1], strict=True):
            others = [neuron for neuron in spikes[begin:end].tolist() if not first <= neuron < first + n]
            if others:
                raise ValueError(
                    f"history lists neuron {others[0]} among the spikes of population {name}, whose neurons "
                    f"are {first} to {first + n - 1}"
                )
    if not np.all(arrays.waiting >= 0):
        raise ValueError("waiting, the hazard until the next spikes of inputs, is negative or no number")


def _check_refractory(arrays: tables.State, layout: Layout, step: int) -> None:
    """Raise ValueError unless the rings of refractory neurons empty in time and name each neuron once."""
    for p, name in enumerate(layout.circuit.neurons):
        first, n = layout.first[name], layout.circuit.populations[name].n
        begin, end = arrays.ends[p].tolist()
        if not 0 <= begin <= end <= begin + n:
            raise ValueError(f"ends, {begin} and {end}, are no part of the ring of the {n} neurons of {name}")
        ring = arrays.refractory[first : first + n][np.arange(begin, end) % n]
        if len(set(ring.tolist())) < len(ring) or np.any(ring < 0) or np.any(ring >= n):
            raise ValueError(f"refractory does not name neurons of population {name} once each")
        free_at = arrays.free_at[first : first + n][ring]
        latest = step + int(layout.cells.numbers[p, tables.REFRACTORY])
        if np.any(np.diff(free_at) < 0) or np.any(free_at > latest):
            raise ValueError(f"free_at lets neurons of population {name} stay refractory for too long")


def _as_key(row: Sequence[Any]) -> RowKey:
    kind, population, delay, what, tau_ms = row
    return int(kind), str(population), int(delay), str(what), float(tau_ms)


def _copied(arrays: tables.State) -> tables.State:
    return tables.State(*(array.copy() for array in arrays))
