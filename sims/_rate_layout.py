"""Where all that changes in a rate circuit lies in the state of a problem, and its neurons in the units."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from itertools import accumulate
from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sims.circuit import Circuit, LowPass, Projection, Signal
from sims.populations import Rate

__all__ = [
    "FROM_BEFORE", "FROM_LAST", "INNER", "N_DRIVE", "OF_POWER", "OF_WEIGHT", "POWERS", "SLOPES", "Layout",
]  # fmt: skip

FROM_BEFORE, INNER, FROM_LAST = range(3)
"""Kinds of projections: from a population before, within one that settles, from the sample before."""

POWERS, SLOPES, OF_WEIGHT, OF_POWER, N_DRIVE = 3, 4, 5, 6, 7
"""Rows of what is collected for a step: three by k, then the last of the g_k(w), its derivative, and the
adjoint times the last two; see :mod:`sims._quadratic_kernels`."""

FloatArray = NDArray[np.float64]
Values = dict[str, FloatArray]


class Layout:
    """Where all that changes in a circuit lies in the state of a problem, and its neurons among the units.

    Weights come first, then states that are low passes, then activity that goes on. Units are the neurons of
    all populations, those that are given first, then signals that are given, then the others.
    """

    def __init__(self, circuit: Circuit) -> None:
        if not circuit.is_rate:
            raise ValueError(
                "These are simulations of rate circuits; spiking ones run in sims.spiking_circuit."
            )
        self.circuit = circuit
        self.populations = {name: one for name, one in circuit.populations.items() if isinstance(one, Rate)}
        reached = {projection.post for projection in circuit.projections.values()}
        self.given = [name for name in self.populations if name not in reached]
        self.own = [name for name in self.populations if name in reached]
        if not self.given or not self.own:
            raise ValueError("A rate circuit has populations to which no projection goes, and others.")
        signals = {name: one for name, one in circuit.states.items() if isinstance(one, Signal)}
        self.signals = {name: one.initial for name, one in signals.items() if one.of is None}
        self.n_inputs = sum(self.populations[name].n for name in self.given)
        self.n_given = self.n_inputs + len(self.signals)
        names = (*self.given, *self.signals, *self.own)
        sizes = [1 if name in self.signals else self.populations[name].n for name in names]
        self.n_units = sum(sizes)
        self.first_unit = dict(zip(names, accumulate([0, *sizes]), strict=False))
        self.first_unit |= {name: self.first_unit[one.of] for name, one in signals.items() if one.of}
        self.shapes: dict[str, tuple[int, ...]] = {}
        for name, projection in circuit.projections.items():
            self.shapes[name] = (self.populations[projection.post].n, self.populations[projection.pre].n)
        for name, state in circuit.states.items():
            if isinstance(state, LowPass):
                followed = state.power[0]
                self.shapes[name] = (1 if followed in signals else self.populations[followed].n,)
        for name in self.own:
            if self.populations[name].tau is not None:
                self.shapes[name] = (self.populations[name].n,)
        ends = list(accumulate([0, *(prod(shape) for shape in self.shapes.values())]))
        self.place = dict(zip(self.shapes, ends, strict=False))
        self.n_places = ends[-1]
        self.bounds = np.array([circuit.bounds(name) for name in circuit.projections]).reshape(-1, 2)
        self.is_bounded = bool(np.isfinite(self.bounds).any())
        self.hierarchical = {name for name, one in circuit.projections.items() if one.hierarchical}
        self.is_neuron = self._is_neuron()

    @classmethod
    def of(cls, circuit: Circuit) -> Layout:
        """Return the layout of a circuit, which is made once."""
        return _layout(circuit)

    def _is_neuron(self) -> bool:
        """Whether all there is is one linear neuron."""
        names = list(self.circuit.projections)
        neuron = self.populations[self.own[0]]
        return (
            len(names) == len(self.own) == len(self.shapes) == len(self.given) == 1
            and not self.circuit.states
            and neuron.n == 1
            and neuron.activation == "linear"
            and self.circuit.projections[names[0]].pre in self.given
            and self.circuit.projections[names[0]].learning_rate == 1.0
            and not self.is_bounded
        )

    def kind(self, projection: Projection) -> int:
        """Return of which kind a projection is."""
        names = list(self.populations)
        if projection.pre in self.given or names.index(projection.pre) < names.index(projection.post):
            return FROM_BEFORE
        return INNER if self.populations[projection.post].tau is None else FROM_LAST

    def by_name(self, states: FloatArray) -> Values:
        """Parts of states (..., n_places), by name."""
        return {
            name: states[..., self.place[name] : self.place[name] + prod(shape)].reshape(
                *states.shape[:-1], *shape
            )
            for name, shape in self.shapes.items()
        }

    def packed(
        self, values: Mapping[str, ArrayLike], n_problems: int, others: Mapping[str, Any]
    ) -> FloatArray:
        """States (n_problems, n_places) from their parts; those that are not there are `others`, or zero."""
        states = np.empty((n_problems, self.n_places))
        for name, shape in self.shapes.items():
            value = np.asarray(values[name] if name in values else others.get(name, 0.0), dtype=np.float64)
            if value.ndim <= len(shape):
                value = np.broadcast_to(value, (n_problems, *shape))
            if name in self.hierarchical:
                value = np.tril(value, -1)
            start = self.place[name]
            states[:, start : start + prod(shape)] = value.reshape(n_problems, -1)
        return states

    def checked_start(
        self, weights: Mapping[str, ArrayLike], states: Mapping[str, ArrayLike], n_problems: int
    ) -> FloatArray:
        """Return the state that problems begin with, or raise ValueError."""
        projections = self.circuit.projections
        for what, given, known in (
            ("weights", weights, list(projections)),
            ("states", states, [name for name in self.shapes if name not in projections]),
        ):
            for name, value in given.items():
                if name not in known:
                    raise ValueError(f"Initial {what} are of {', '.join(known) or 'none'}; got {name!r}.")
                expected = (n_problems, *self.shapes[name])
                if np.shape(value) != expected:
                    raise ValueError(
                        f"Initial {what} of {name} have shape {expected} for these inputs, got "
                        f"{np.shape(value)}."
                    )
        for name, (low, high) in zip(projections, self.bounds, strict=True) if self.is_bounded else ():
            if name in weights and np.any(np.less(weights[name], low) | np.greater(weights[name], high)):
                raise ValueError(f"Initial weights of {name} are from {low} to {high}, got others.")
        others = {name: projection.weight for name, projection in projections.items()}
        return self.packed({**weights, **states}, n_problems, others)


@lru_cache(maxsize=64)
def _layout(circuit: Circuit) -> Layout:
    return Layout(circuit)
