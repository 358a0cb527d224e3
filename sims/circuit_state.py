"""States of spiking circuits: all that changes, to be run from, looked at, saved and read."""

from __future__ import annotations

import copy
import json
import math
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
        place, ends = self._slice(projection), self.layout.circuit.projections[projection]
        values = np.asarray(weights, dtype=np.float64)
        n = place.stop - place.start
        if values.shape not in ((), (n,)):
            raise ValueError(f"Projection {projection} has {n} weights, got the shape {values.shape}.")
        low, high = (ends.lowest, ends.highest) if ends.plastic else (-math.inf, math.inf)
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
        rng = np.random.default_rng(0)
        rng.bit_generator.state = about["random"]
        return CircuitState(int(about["step"]), like.layout, arrays, keys, rng)
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
    """Raise ValueError unless arrays from a file have the shapes and the range that the kernels rely on."""
    shapes = like._replace(values=np.empty(n_values), row_scales=np.empty(n_rows))
    for name, array, other in zip(arrays._fields, arrays, shapes, strict=True):
        if array.dtype != other.dtype or array.shape != other.shape:
            raise ValueError(f"{name} has the shape {array.shape} and the type {array.dtype}")
    for name, largest in (
        ("history", like.history.shape[1] - 1),
        ("bounds", like.history.shape[1]),
        ("refractory", max(len(like.voltage) - 1, 0)),
        ("ends", math.inf),
    ):
        array = getattr(arrays, name)
        if array.size and not 0 <= array.min() <= array.max() <= largest:
            raise ValueError(f"{name} is out of range")


def _as_key(row: Sequence[Any]) -> RowKey:
    kind, population, delay, what, tau_ms = row
    return int(kind), str(population), int(delay), str(what), float(tau_ms)


def _copied(arrays: tables.State) -> tables.State:
    return tables.State(*(array.copy() for array in arrays))
