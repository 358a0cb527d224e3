"""The feed-forward circuit of plastic inhibition: its settings, its problems and their input spikes.

One neuron receives excitatory and inhibitory inputs in channels. The inputs of a channel follow one signal,
so that their spikes are correlated; inhibition has to learn which excitation to cancel.

References
----------
Vogels et al. (2011), Science 334:1569, figure 2 and the authors' own script.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sims._checks import check_numbers
from sims._spike_input_kernels import Channels, draw
from sims.populations import LIF

__all__ = [
    "FeedforwardCircuit",
    "FeedforwardProblems",
    "InputSpikes",
    "InputStream",
    "draw_input_spikes",
    "published_problems",
]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Events = NDArray[np.int32]

SIGNAL_DT_MS = 0.1
"""Step for which the signals' noise is stated; with another one signals keep their variance."""

BLOCK_STEPS = 2_500
"""Input spikes are drawn in blocks of this many steps, an even number."""


@dataclass(frozen=True)
class FeedforwardCircuit:
    """One integrate-and-fire neuron with channels of excitatory and inhibitory inputs.

    The signal of a channel follows
    ``f <- r - (r - f) exp(-dt / tau_signal)`` with r uniform in ``[-signal_noise, signal_noise]`` in every
    step of 0.1 ms; with another dt the noise is scaled so that f keeps its variance. An input spikes at the
    rate ``base_rate + signal_gain * max(0, f)``, and not within `input_refractory_ms` of its own last spike.

    Parameters
    ----------
    n_excitatory, n_inhibitory, n_channels : int
    dt_ms : float
        Time step.
    neuron : LIF
        Of which there is one for each rule, whatever its number says.
    excitatory_unit, inhibitory_unit : float
        Conductance that a spike adds at weight 1, in units of the leak conductance.
    largest_inhibitory : float
        Upper bound of inhibitory weights.
    learning_rate : float
        Of inhibitory synapses.
    base_rate_hz, signal_gain_hz, signal_noise, tau_signal_ms, input_refractory_ms : float
        Inputs.

    Raises
    ------
    ValueError
        If a number is out of range.

    Examples
    --------
    >>> FeedforwardCircuit().n_inputs
    1000
    """

    n_excitatory: int = 800
    n_inhibitory: int = 200
    n_channels: int = 8
    dt_ms: float = 0.1
    neuron: LIF = field(default_factory=lambda: LIF(1))
    excitatory_unit: float = 0.014
    inhibitory_unit: float = 0.035
    largest_inhibitory: float = 10.0
    learning_rate: float = 0.001
    base_rate_hz: float = 5.0
    signal_gain_hz: float = 0.05 / 0.03 * 1e4
    signal_noise: float = 0.5
    tau_signal_ms: float = 50.0
    input_refractory_ms: float = 5.0

    def __post_init__(self) -> None:
        check_numbers(
            self,
            "circuit",
            positive=(
                "dt_ms", "tau_signal_ms", "largest_inhibitory", "learning_rate",
            ),
            not_negative=(
                "input_refractory_ms", "excitatory_unit", "inhibitory_unit", "base_rate_hz",
                "signal_gain_hz", "signal_noise",
            ),
            counts=("n_excitatory", "n_inhibitory", "n_channels"),
        )  # fmt: skip

    @property
    def n_inputs(self) -> int:
        """Number of inputs; the excitatory ones come first."""
        return self.n_excitatory + self.n_inhibitory

    def steps(self, milliseconds: float) -> int:
        """Return the number of steps nearest to a time."""
        return round(milliseconds / self.dt_ms)

    @property
    def input_refractory_steps(self) -> int:
        """Steps after which an input can spike again, at least 1."""
        return max(1, self.steps(self.input_refractory_ms))


@dataclass(frozen=True)
class FeedforwardProblems:
    """Drawn instances of the circuit: what differs between problems.

    Parameters
    ----------
    excitatory_weights : array_like, shape (n_problems, n_excitatory)
    inhibitory_weights : array_like, shape (n_problems, n_inhibitory)
        At the start.
    channels : array_like of int, shape (n_inputs,) or (n_problems, n_inputs)
        Channel of each input, excitatory ones first.
    rate_factor : array_like, shape (n_problems,)
        Factor of the rates of all inputs.
    seeds : array_like of int, shape (n_problems,)
        Seed of a problem's input spikes.

    Raises
    ------
    ValueError
        If shapes do not fit or a number is out of range.
    """

    excitatory_weights: FloatArray
    inhibitory_weights: FloatArray
    channels: IntArray
    rate_factor: FloatArray
    seeds: IntArray

    def __post_init__(self) -> None:
        excitatory = np.array(self.excitatory_weights, dtype=np.float64)
        inhibitory = np.array(self.inhibitory_weights, dtype=np.float64)
        if excitatory.ndim != 2 or inhibitory.ndim != 2 or len(excitatory) != len(inhibitory):
            raise ValueError(
                "Weights have shapes (n_problems, n_excitatory) and (n_problems, n_inhibitory), "
                f"got {excitatory.shape} and {inhibitory.shape}."
            )
        n_problems, n_inputs = len(excitatory), excitatory.shape[1] + inhibitory.shape[1]
        if n_problems == 0:
            raise ValueError("There is no problem: weights have no rows.")
        if np.shape(self.channels)[-1:] != (n_inputs,):
            raise ValueError(f"Each of {n_inputs} inputs has a channel, got {np.shape(self.channels)}.")
        channels = np.array(_broadcast("channels", self.channels, (n_problems, n_inputs)), dtype=np.int64)
        factor = np.array(_broadcast("rate_factor", self.rate_factor, (n_problems,)), dtype=np.float64)
        seeds = np.array(self.seeds, dtype=np.int64)
        if seeds.shape != (n_problems,) or seeds.min() < 0:
            raise ValueError(f"There is one seed, not negative, a problem: {n_problems}, got {self.seeds}.")
        for name, values in (("weights", excitatory), ("weights", inhibitory), ("rate factors", factor)):
            if not (np.isfinite(values).all() and values.min(initial=0.0) >= 0):
                raise ValueError(f"A problem's {name} are finite and not negative.")
        for name, value in (
            ("excitatory_weights", excitatory), ("inhibitory_weights", inhibitory), ("channels", channels),
            ("rate_factor", factor), ("seeds", seeds),
        ):  # fmt: skip
            value.setflags(write=False)
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.seeds)

    def check(self, circuit: FeedforwardCircuit) -> None:
        """Raise ValueError unless the problems are instances of a circuit."""
        shapes = self.excitatory_weights.shape[1], self.inhibitory_weights.shape[1]
        if shapes != (circuit.n_excitatory, circuit.n_inhibitory):
            raise ValueError(
                f"The circuit has {circuit.n_excitatory} excitatory and {circuit.n_inhibitory} inhibitory "
                f"inputs, the problems have {shapes[0]} and {shapes[1]}."
            )
        if self.channels.min() < 0 or self.channels.max() >= circuit.n_channels:
            raise ValueError(f"Channels are numbered 0 to {circuit.n_channels - 1} in this circuit.")
        if self.inhibitory_weights.max() > circuit.largest_inhibitory:
            raise ValueError(
                f"Inhibitory weights go up to {circuit.largest_inhibitory}, "
                f"got {self.inhibitory_weights.max()}; raise the circuit's largest_inhibitory."
            )


def published_problems(
    circuit: FeedforwardCircuit, seeds: Sequence[int], inhibitory_weight: float = 0.1
) -> FeedforwardProblems:
    """Draw problems with the published tuning of excitation, which prefers channel 5 (counted from 1).

    Excitatory weights are ``.3 + 1.1 / (1 + (g - 5)**4) + .1 U(0, 1)`` for channel g. Inputs are shared out
    evenly among the channels.

    Examples
    --------
    >>> len(published_problems(FeedforwardCircuit(), seeds=[1, 2, 3]))
    3
    """
    channels = np.concatenate(
        [np.arange(n) * circuit.n_channels // n for n in (circuit.n_excitatory, circuit.n_inhibitory)]
    )
    tuning = 0.3 + 1.1 / (1.0 + (channels[: circuit.n_excitatory] - 4.0) ** 4)
    noise = [np.random.default_rng([int(seed), 1]).random(circuit.n_excitatory) for seed in seeds]
    return FeedforwardProblems(
        tuning + 0.1 * np.array(noise),
        np.full((len(seeds), circuit.n_inhibitory), inhibitory_weight),
        channels,
        np.ones(len(seeds)),
        np.array(seeds, dtype=np.int64),
    )


@dataclass(frozen=True)
class InputSpikes:
    """Spikes of the inputs of one problem, sorted by step.

    Parameters
    ----------
    step : array_like of int, shape (n_spikes,)
        Counted from the start of the run.
    source : array_like of int, shape (n_spikes,)
        Number of the input, excitatory ones first.

    Raises
    ------
    ValueError
        If shapes differ or steps are negative or not sorted.
    """

    step: IntArray
    source: IntArray

    def __post_init__(self) -> None:
        step, source = np.array(self.step, dtype=np.int64), np.array(self.source, dtype=np.int64)
        if step.ndim != 1 or step.shape != source.shape:
            raise ValueError(f"Steps and sources have one shape (n,), got {step.shape} and {source.shape}.")
        if len(step) and (step[0] < 0 or np.any(np.diff(step) < 0)):
            raise ValueError("Input spikes are sorted by step, from step 0 on.")
        for name, value in (("step", step), ("source", source)):
            value.setflags(write=False)
            object.__setattr__(self, name, value)


class InputStream:
    """Input spikes of one problem, drawn piece by piece; the pieces' lengths do not change them.

    Parameters
    ----------
    circuit : FeedforwardCircuit
    channels : ndarray of int, shape (n_inputs,)
    rate_factor : float
    seed : int
    """

    def __init__(
        self, circuit: FeedforwardCircuit, channels: IntArray, rate_factor: float, seed: int
    ) -> None:
        noise, points = np.random.SeedSequence(int(seed)).spawn(2)
        self._noise, self._points = np.random.PCG64(noise), np.random.default_rng(points)
        self._channels = _channel_settings(circuit, channels, rate_factor)
        self._border, shape = circuit.n_excitatory, (circuit.n_channels, BLOCK_STEPS)
        self._signals, self._hazard = np.zeros(circuit.n_channels), np.empty(shape)
        self._waiting = self._points.standard_exponential(circuit.n_inputs)
        self._free_at = np.zeros(circuit.n_inputs, dtype=np.int64)
        most = circuit.n_inputs * (1 + (BLOCK_STEPS - 1) // self._channels.refractory)
        self._start = np.zeros(2 * BLOCK_STEPS + 1, dtype=np.int64)
        self._source, self._listed = np.empty(most, dtype=np.int32), np.empty((2, most), dtype=np.int32)
        self._first = 0  # step of the run at which the block begins
        self._at = BLOCK_STEPS  # steps of the block that were handed out

    def draw(self, n_steps: int) -> tuple[IntArray, Events]:
        """Return the next piece's spikes.

        Returns
        -------
        start : ndarray of int, shape (2 * n_steps + 1,)
            Excitatory spikes of step k stand from ``start[2 * k]`` to before ``start[2 * k + 1]``, inhibitory
            ones from there to before those of the next step.
        source : ndarray of int, shape (n_spikes,)
            Inputs, excitatory ones first.
        """
        starts, sources, done, n_before = [np.zeros(1, dtype=np.int64)], [], 0, 0
        while done < n_steps:
            if self._at == BLOCK_STEPS:
                self._draw_block()
            length = min(BLOCK_STEPS - self._at, n_steps - done)
            start = self._start[2 * self._at : 2 * (self._at + length) + 1]
            # Blocks are used again: what is handed out is copied.
            sources.append(self._source[start[0] : start[-1]].copy())
            starts.append(start[1:] + (n_before - start[0]))
            n_before += len(sources[-1])
            self._at += length
            done += length
        return np.concatenate(starts), np.concatenate(sources)

    def _draw_block(self) -> None:
        """Draw the next block, always of the same length, so that pieces do not matter."""
        shape = self._hazard.shape
        # Uniform over all integers of 32 bits, in half the time of Generator.integers.
        noise = (
            self._noise.random_raw(math.prod(shape) // 2).astype("<u8", copy=False).view("<i4").reshape(shape)
        )
        draw(
            self._points, noise, self._channels, self._first, self._border, self._signals, self._waiting,
            self._free_at, self._hazard, self._listed, self._start, self._source,
        )  # fmt: skip
        self._first += BLOCK_STEPS
        self._at = 0


def draw_input_spikes(
    circuit: FeedforwardCircuit, problems: FeedforwardProblems, duration_s: float
) -> list[InputSpikes]:
    """Return all input spikes of each problem, the same that a simulation draws for itself."""
    problems.check(circuit)
    n_steps = max(1, circuit.steps(1000.0 * duration_s))
    result = []
    for k in range(len(problems)):
        stream = InputStream(
            circuit, problems.channels[k], float(problems.rate_factor[k]), int(problems.seeds[k])
        )
        start, source = stream.draw(n_steps)
        step = np.repeat(np.arange(2 * n_steps) // 2, np.diff(start))
        result.append(InputSpikes(step, source.astype(np.int64)))
    return result


def _channel_settings(circuit: FeedforwardCircuit, channels: IntArray, rate_factor: float) -> Channels:
    members = np.argsort(channels, kind="stable")
    start = np.searchsorted(channels[members], np.arange(circuit.n_channels + 1))
    keep = math.exp(-circuit.dt_ms / circuit.tau_signal_ms)
    stated = math.exp(-SIGNAL_DT_MS / circuit.tau_signal_ms)
    spread = math.sqrt((1 - stated) / (1 + stated) * (1 + keep) / (1 - keep))
    probability = rate_factor * circuit.dt_ms / 1000.0
    return Channels(
        start.astype(np.int64), members.astype(np.int64), keep, circuit.signal_noise * spread,
        circuit.base_rate_hz * probability, circuit.signal_gain_hz * probability,
        circuit.input_refractory_steps,
    )  # fmt: skip


def _broadcast(name: str, values: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.generic]:
    try:
        return np.broadcast_to(np.asarray(values), shape)
    except ValueError:
        raise ValueError(f"Problems need {name} of shape {shape}, got {np.shape(values)}.") from None
