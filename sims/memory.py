"""The circuit in which four kinds of synapses learn at once: its settings, its wiring and its stimuli.

Excitatory (E) and inhibitory (I) neurons are connected at random, and all four projections are plastic: EE,
EI (from E onto I), IE and II. Poisson inputs stand on a square grid, and every neuron listens to those near a
random centre. A second, independent grid drives the inhibitory neurons and never carries a stimulus. A
stimulus is a stretch of consecutive inputs, row by row, that spike at a higher rate.

References
----------
Confavreux et al. (2025), "Memory by a thousand rules", bioRxiv 2025.05.28.656584; Zenke & Gerstner (2014),
Front. Neuroinform. 8:76 (its neurons).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sims._checks import check_numbers
from sims.circuit import LIF, Circuit, Poisson, Projection, Trace
from sims.populations import Population
from sims.synapses import Synapses, starts_of

__all__ = [
    "FAMILIAR",
    "INPUT",
    "INPUT_TO_INHIBITORY",
    "NOVEL",
    "PROJECTIONS",
    "MemoryCircuit",
    "Stimulus",
    "receptive_fields",
]

FloatArray = NDArray[np.float64]

PROJECTIONS = ("EE", "EI", "IE", "II")
"""Plastic projections: first the population that spikes come from, then the one that they go to."""

INPUT, INPUT_TO_INHIBITORY = "input", "background"
"""Names of the grid that carries stimuli and of the one that drives inhibitory neurons."""


@dataclass(frozen=True)
class Stimulus:
    """Inputs that spike at a higher rate for a while.

    Parameters
    ----------
    first, n : int
        The first of them, and their number; they are counted row by row.
    rate_hz : float

    Raises
    ------
    ValueError
        If a number is out of range.
    """

    first: int
    n: int = 500
    rate_hz: float = 60.0

    def __post_init__(self) -> None:
        check_numbers(self, "stimulus", positive=(), not_negative=("rate_hz",), counts=("n",))
        if self.first < 0:
            raise ValueError(f"A stimulus begins with input 0 or a later one, got {self.first}.")


FAMILIAR, NOVEL = Stimulus(7500), Stimulus(2000)
"""The published stimuli: the one that the network is trained with, and the one that it is not."""


@dataclass(frozen=True)
class MemoryCircuit:
    """Settings of the circuit, at full size by default.

    A smaller copy has the fraction `size` of the neurons. Its neurons keep the fraction `connections` of
    their recurrent synapses, and what a synapse transmits is divided by that fraction: the mean input from
    neurons with given rates and weights stays, and rules move weights as they do at full size. With
    ``connections=1`` the variance of that input stays too, but neurons that share more of their input fire
    less; fewer connections make input vary more, and neurons fire more. At a size of 1/8 and connections of
    0.7 the two cancel. The grids of inputs do not change, so that a stimulus reaches the same fraction of the
    neurons.

    Parameters
    ----------
    n_excitatory, n_inhibitory : int
        At full size.
    probability : float
        Of a connection, at full size.
    size, connections : float
        See above; at most 1.
    excitatory_weight, inhibitory_weight : float
        Of recurrent synapses at the start. A spike adds its weight times the leak conductance.
    largest_weight, learning_rate : float
        Of all four projections.
    delay_ms : float
        From a spike until it arrives.
    side : int
        Inputs stand on a grid of so many rows and columns.
    radius : float
        A neuron listens to inputs that are nearer than this to its centre.
    input_weight, input_rate_hz : float
        Of all inputs without a stimulus.

    Raises
    ------
    ValueError
        If a number is out of range, or a copy is so small that its neurons would need more connections than
        there are.

    Examples
    --------
    >>> small = MemoryCircuit(size=0.25)
    >>> small.sizes, small.connection_probability
    ((1024, 256), 0.4)
    """

    n_excitatory: int = 4096
    n_inhibitory: int = 1024
    probability: float = 0.1
    size: float = 1.0
    connections: float = 1.0
    excitatory_weight: float = 0.1
    inhibitory_weight: float = 1.0
    largest_weight: float = 20.0
    learning_rate: float = 0.01
    delay_ms: float = 0.8
    side: int = 100
    radius: float = 8.0
    input_weight: float = 0.075
    input_rate_hz: float = 10.0

    def __post_init__(self) -> None:
        check_numbers(
            self,
            "circuit",
            positive=("probability", "size", "connections", "largest_weight", "radius"),
            not_negative=(
                "excitatory_weight", "inhibitory_weight", "learning_rate", "delay_ms", "input_weight",
                "input_rate_hz",
            ),
            counts=("n_excitatory", "n_inhibitory", "side"),
        )  # fmt: skip
        if self.size > 1 or self.connections > 1 or min(self.sizes) < 1:
            raise ValueError(
                "A copy has a size and connections of at most 1, and at least one neuron of each kind; got "
                f"{self.size} and {self.connections}."
            )
        if self.connection_probability > 1:
            raise ValueError(
                f"At a size of {self.size} neurons would need more connections than there are: choose a size "
                f"of at least {self.probability * self.connections:g}, or fewer connections."
            )

    @property
    def sizes(self) -> tuple[int, int]:
        """Numbers of excitatory and inhibitory neurons."""
        return round(self.size * self.n_excitatory), round(self.size * self.n_inhibitory)

    @property
    def connection_probability(self) -> float:
        """Probability of a recurrent connection."""
        return self.probability * self.connections / self.size

    @property
    def n_inputs(self) -> int:
        """Number of inputs of each grid."""
        return self.side**2

    def circuit(self, seed: int = 0) -> Circuit:
        """Return the circuit; centres of receptive fields are drawn from the seed."""
        sizes = dict(zip("EI", self.sizes, strict=True))
        leak = _neuron(1).leak_ns
        populations: dict[str, Population] = {
            **{name: _neuron(n) for name, n in sizes.items()},
            **{name: Poisson(self.n_inputs, self.input_rate_hz) for name in (INPUT, INPUT_TO_INHIBITORY)},
        }
        rng = np.random.default_rng([int(seed), 1])
        projections = {
            f"{source}_{target}": Projection(
                source, target, wiring=receptive_fields(sizes[target], self.side, self.radius, rng),
                weight=self.input_weight, unit_ns=leak, delay_ms=self.delay_ms,
            )
            for source, target in ((INPUT, "E"), (INPUT_TO_INHIBITORY, "I"))
        }  # fmt: skip
        for name in PROJECTIONS:
            excites = name[0] == "E"
            projections[name] = Projection(
                name[0], name[1], self.connection_probability,
                weight=self.excitatory_weight if excites else self.inhibitory_weight,
                onto="excitatory" if excites else "inhibitory", unit_ns=leak / self.connections,
                delay_ms=self.delay_ms, plastic=True, lowest=0.0, highest=self.largest_weight,
                learning_rate=self.learning_rate, transmits_first=True,
            )  # fmt: skip
        return Circuit(populations, projections, {"x": Trace(("E", "I"), 20.0)})

    def rates_hz(self, stimulus: Stimulus | None = None) -> FloatArray:
        """Return the rates of the inputs, shape (n_inputs,), with or without a stimulus.

        Raises
        ------
        ValueError
            If the stimulus reaches beyond the grid.
        """
        rates = np.full(self.n_inputs, self.input_rate_hz)
        if stimulus is not None:
            if stimulus.first + stimulus.n > self.n_inputs:
                raise ValueError(
                    f"There are {self.n_inputs} inputs; a stimulus takes {stimulus.n} of them from "
                    f"{stimulus.first} on."
                )
            rates[stimulus.first : stimulus.first + stimulus.n] = stimulus.rate_hz
        return rates


def receptive_fields(n: int, side: int, radius: float, rng: np.random.Generator) -> Synapses:
    """Connect the inputs of a grid to neurons, each of which listens to those near a random input.

    Fields end where the grid does.

    Parameters
    ----------
    n : int
        Number of neurons.
    side : int
        Rows and columns of the grid, whose inputs are counted row by row.
    radius : float
        Inputs of a field are nearer than this to its centre.
    rng : numpy.random.Generator

    Examples
    --------
    >>> fields = receptive_fields(50, 10, 1.5, np.random.default_rng(0))
    >>> int(np.bincount(fields.target).max())
    9
    """
    reach = range(-math.ceil(radius) + 1, math.ceil(radius))
    offsets = np.array(
        [(row, column) for row in reach for column in reach if math.hypot(row, column) < radius]
    )
    centres = rng.integers(side, size=(n, 2))
    places = centres[:, None] + offsets
    is_inside = np.all((places >= 0) & (places < side), axis=2)
    neuron, which = np.nonzero(is_inside)
    inputs = places[neuron, which] @ [side, 1]
    order = np.lexsort((neuron, inputs))
    return Synapses(starts_of(np.bincount(inputs, minlength=side**2)), neuron[order])


def _neuron(n: int) -> LIF:
    """Return the published neurons, excitatory and inhibitory alike."""
    return LIF(
        n, capacitance_pf=200.0, leak_ns=10.0, rest_mv=-70.0, reset_mv=-70.0, threshold_mv=-50.0,
        refractory_ms=0.0, tau_excitatory_ms=5.0, tau_inhibitory_ms=10.0, slow_share=1.0 / 1.3,
        tau_slow_ms=100.0, threshold_raise_mv=100.0, tau_threshold_ms=5.0, clip_mv=(-80.0, 0.0),
    )  # fmt: skip
