"""Problems of the tasks of balanced excitation and inhibition: one neuron with tuned excitation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from annotated_types import Ge, Gt, Le
from numpy.typing import NDArray

from discover.errors import TaskError

if TYPE_CHECKING:
    from sims.circuits import FeedforwardCircuit, FeedforwardProblems

__all__ = [
    "LARGEST_INHIBITORY",
    "BalanceProblems",
    "BalanceSettings",
    "Tuning",
    "drawn",
    "mean_input_rate",
    "retuned",
    "strength_by_channel",
]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Tuning = Literal["published", "broad", "two-peaks"]

LARGEST_INHIBITORY = 10.0
"""Upper bound of inhibitory weights."""


@dataclass(frozen=True)
class BalanceSettings:
    """Settings of a spiking neuron with tuned excitation and plastic inhibition.

    Parameters
    ----------
    n_excitatory, n_inhibitory, n_channels : int
        Inputs, shared out evenly among the channels.
    target_hz : float
        Output rate that the task asks for.
    duration_s, measured_s : float
        Length of the inner loop, and of its last part in which rate and currents are measured.
    learning_rate : float
        Factor of every change of a weight.
    rate_factor : float
        Factor of all input rates.
    rate_spread : float
        Input rates of a problem are multiplied by a factor between its inverse and this, even on a log scale.
    weight_spread : float
        The same for excitatory weights.
    initial_inhibition : tuple of float
        Lowest and highest inhibitory weight at the start; a problem has one in between for all synapses.
    tuning : str
        Excitatory weight by channel: ``published`` (one sharp peak), ``broad`` or ``two-peaks``. The
        preferred channel is drawn for each problem.
    tuning_weight : float
        Weight of ``1 - r`` in the loss; 0 asks for the rate alone.
    constant_factor : float
        Multiplies the constant term of the update at presynaptic spikes, which sets the target of a rule.
    retuned : bool
        Whether, after the inner loop, excitation moves to another channel and inhibition has to follow in a
        second run of the same length.
    """

    n_excitatory: Annotated[int, Ge(8), Le(100_000)] = 800
    n_inhibitory: Annotated[int, Ge(8), Le(100_000)] = 200
    n_channels: Annotated[int, Ge(3), Le(1000)] = 8
    target_hz: Annotated[float, Gt(0), Le(90)] = 6.25
    duration_s: Annotated[float, Ge(0.1), Le(100_000)] = 20.0
    measured_s: Annotated[float, Gt(0), Le(100_000)] = 8.0
    learning_rate: Annotated[float, Gt(0), Le(10)] = 0.005
    rate_factor: Annotated[float, Gt(0), Le(20)] = 1.0
    rate_spread: Annotated[float, Ge(1), Le(10)] = 1.5
    weight_spread: Annotated[float, Ge(1), Le(10)] = 1.25
    initial_inhibition: tuple[float, float] = (0.05, 0.5)
    tuning: Tuning = "published"
    tuning_weight: Annotated[float, Ge(0), Le(100)] = 1.0
    constant_factor: Annotated[float, Gt(0), Le(100)] = 1.0
    retuned: bool = False

    def __post_init__(self) -> None:
        if self.measured_s > self.duration_s:
            raise TaskError(
                f"The measured part ({self.measured_s} s) is longer than the run ({self.duration_s} s)."
            )
        low, high = self.initial_inhibition
        if not 0 <= low <= high <= LARGEST_INHIBITORY:
            raise TaskError(
                f"initial_inhibition holds the lowest and the highest weight, 0 to {LARGEST_INHIBITORY:g}; "
                f"got {low} and {high}."
            )


@dataclass(frozen=True)
class BalanceProblems:
    """Drawn problems.

    Attributes
    ----------
    excitatory_weights : ndarray, shape (n_problems, n_excitatory)
    inhibitory_weights : ndarray, shape (n_problems, n_inhibitory)
        At the start.
    channels : ndarray of int, shape (n_inputs,)
    preferred : ndarray of int, shape (n_problems,)
        Channel with the strongest excitation.
    rate_factors : ndarray, shape (n_problems,)
    seeds : ndarray of int, shape (n_problems,)
    settings : BalanceSettings
    """

    excitatory_weights: FloatArray
    inhibitory_weights: FloatArray
    channels: IntArray
    preferred: IntArray
    rate_factors: FloatArray
    seeds: IntArray
    settings: BalanceSettings

    @property
    def n_problems(self) -> int:
        """Number of problems."""
        return len(self.seeds)

    @property
    def n_steps(self) -> int:
        """Length of the inner loop, in time steps."""
        return self.circuit.steps(1000.0 * self.settings.duration_s)

    def subset(self, indices: Sequence[int] | IntArray) -> BalanceProblems:
        """Return some of the problems."""
        picks = np.asarray(indices)
        return replace(
            self,
            excitatory_weights=self.excitatory_weights[picks],
            inhibitory_weights=self.inhibitory_weights[picks],
            preferred=self.preferred[picks],
            rate_factors=self.rate_factors[picks],
            seeds=self.seeds[picks],
        )

    @property
    def circuit(self) -> FeedforwardCircuit:
        """The circuit that the problems are instances of."""
        from sims.circuits import FeedforwardCircuit

        settings = self.settings
        return FeedforwardCircuit(
            n_excitatory=settings.n_excitatory,
            n_inhibitory=settings.n_inhibitory,
            n_channels=settings.n_channels,
            learning_rate=settings.learning_rate,
            largest_inhibitory=LARGEST_INHIBITORY,
        )

    def at(self, part: int, inhibitory_weights: FloatArray) -> FeedforwardProblems:
        """Return the circuit's problems with other inhibitory weights and the input spikes of a part."""
        from sims.circuits import FeedforwardProblems

        return FeedforwardProblems(
            self.excitatory_weights,
            inhibitory_weights,
            self.channels,
            self.rate_factors,
            self.seeds + part,
        )


def drawn(settings: BalanceSettings, n_problems: int, seed: np.random.SeedSequence) -> BalanceProblems:
    """Draw problems; problem `n` is the same however many are drawn."""
    sizes = settings.n_excitatory, settings.n_inhibitory
    channels = np.concatenate([np.arange(n) * settings.n_channels // n for n in sizes])
    rows = []
    for child in seed.spawn(n_problems):
        rng = np.random.default_rng(child)
        preferred = int(rng.integers(settings.n_channels))
        weights = _tuned_weights(settings, channels[: sizes[0]], preferred, rng)
        rate = settings.rate_factor * settings.rate_spread ** rng.uniform(-1, 1)
        start = np.full(sizes[1], rng.uniform(*settings.initial_inhibition))
        # Parts of a run have seeds one after the other.
        rows.append((weights, start, preferred, rate, int(rng.integers(2**40)) * 1024))
    excitatory, inhibitory, preferred_channels, rates, seeds = (
        np.array(column) for column in zip(*rows, strict=True)
    )
    return BalanceProblems(excitatory, inhibitory, channels, preferred_channels, rates, seeds, settings)


def mean_input_rate(circuit: FeedforwardCircuit, factor: float = 1.0) -> float:
    """Return the mean rate of one input in Hz, by the stationary distribution of its signal.

    The signal is close to Gaussian: a sum of many uniform numbers with decaying weights. Refractoriness
    takes its share of every rate that a signal passes through.

    Parameters
    ----------
    circuit : FeedforwardCircuit
    factor : float
        Factor of the rates.
    """
    keep = np.exp(-circuit.dt_ms / circuit.tau_signal_ms)
    spread = circuit.signal_noise / np.sqrt(3) * np.sqrt((1 - keep) / (1 + keep))
    points, weights = np.polynomial.hermite_e.hermegauss(80)
    drive = factor * (circuit.base_rate_hz + circuit.signal_gain_hz * np.maximum(0.0, spread * points))
    rates = drive / (1 + drive * circuit.input_refractory_ms / 1000.0)
    return float(weights @ rates / weights.sum())


def retuned(problems: BalanceProblems) -> BalanceProblems:
    """Return the problems with excitation moved half-way round the channels."""
    n_channels = problems.settings.n_channels
    channels = problems.channels[: problems.settings.n_excitatory]
    moved = np.empty_like(problems.excitatory_weights)
    for channel in range(n_channels):
        source = np.flatnonzero(channels == (channel + n_channels // 2) % n_channels)
        into = np.flatnonzero(channels == channel)
        moved[:, into] = problems.excitatory_weights[:, source[np.arange(len(into)) % len(source)]]
    preferred = (problems.preferred + n_channels // 2) % n_channels
    return replace(problems, excitatory_weights=moved, preferred=preferred)


def strength_by_channel(problems: BalanceProblems) -> FloatArray:
    """Mean excitatory weight of each channel, shape (n_problems, n_channels)."""
    channels = problems.channels[: problems.settings.n_excitatory]
    return np.stack(
        [
            problems.excitatory_weights[:, channels == channel].mean(axis=1)
            for channel in range(problems.settings.n_channels)
        ],
        axis=1,
    )


def _tuned_weights(
    settings: BalanceSettings, channels: IntArray, preferred: int, rng: np.random.Generator
) -> FloatArray:
    """Excitatory weights of one problem."""
    n = settings.n_channels
    away = np.abs((channels - preferred + n // 2) % n - n // 2).astype(float)
    if settings.tuning == "published":
        shape = 0.3 + 1.1 / (1 + away**4)
    elif settings.tuning == "broad":
        shape = 0.3 + 1.1 * np.exp(-0.5 * (away / (n / 5)) ** 2)
    else:
        other = np.abs((channels - preferred) % n - n // 2).astype(float)
        shape = 0.3 + 1.1 / (1 + away**4) + 0.8 / (1 + other**4)
    weights: FloatArray = settings.weight_spread ** rng.uniform(-1, 1) * (
        shape + 0.1 * rng.uniform(size=len(channels))
    )
    return weights
