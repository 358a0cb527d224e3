"""Populations: neurons with a membrane, Poisson neurons and recorded spike trains, or neurons with a rate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sims._checks import LARGEST_PROBABILITY, MOST_NEURONS, check_numbers

__all__ = ["ACTIVATIONS", "LIF", "Poisson", "Population", "Rate", "Recorded", "checked_rates"]


MOST_SWEEPS = 10_000

Activation = Literal["linear", "tanh", "rectified"]
ACTIVATIONS: tuple[str, ...] = get_args(Activation)


@dataclass(frozen=True)
class LIF:
    """Leaky integrate-and-fire neurons with conductances.

    Between spikes ``C dv/dt = leak (rest - v) + g_E (E_E - v) + g_I (E_I - v) + background - adaptation``.

    Parameters
    ----------
    n : int
    capacitance_pf, leak_ns, rest_mv, reset_mv, threshold_mv, refractory_ms : float
        Membrane.
    background_pa : float
        Current into every neuron.
    excitatory_reversal_mv, inhibitory_reversal_mv : float
    tau_excitatory_ms, tau_inhibitory_ms : float
        Decay of conductances.
    slow_share, tau_slow_ms : float
        This share of ``g_E`` is a slow conductance that follows the fast one with this time constant, as NMDA
        receptors do.
    threshold_raise_mv, tau_threshold_ms : float
        An own spike sets the threshold to so much above its rest; it returns with this time constant.
    adaptation_pa, tau_adaptation_ms : float
        Current that an own spike adds, and its decay.
    clip_mv : (float, float), optional
        Voltages are kept between these. Default: they are not.
    initial_mv : (float, float), optional
        Voltages begin uniform between these. Default: reset and threshold.

    Raises
    ------
    ValueError
        If a number is out of range.

    References
    ----------
    Vogels et al. (2011), Science 334:1569; Zenke & Gerstner (2014), Front. Neuroinform. 8:76 (slow
    conductance and moving threshold).
    """

    n: int
    capacitance_pf: float = 200.0
    leak_ns: float = 10.0
    rest_mv: float = -60.0
    reset_mv: float = -60.0
    threshold_mv: float = -50.0
    refractory_ms: float = 5.0
    background_pa: float = 0.0
    excitatory_reversal_mv: float = 0.0
    inhibitory_reversal_mv: float = -80.0
    tau_excitatory_ms: float = 5.0
    tau_inhibitory_ms: float = 10.0
    slow_share: float = 0.0
    tau_slow_ms: float = 100.0
    threshold_raise_mv: float = 0.0
    tau_threshold_ms: float = 5.0
    adaptation_pa: float = 0.0
    tau_adaptation_ms: float = 100.0
    clip_mv: tuple[float, float] | None = None
    initial_mv: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        check_numbers(
            self,
            "population",
            positive=(
                "capacitance_pf", "leak_ns", "tau_excitatory_ms", "tau_inhibitory_ms", "tau_slow_ms",
                "tau_threshold_ms", "tau_adaptation_ms",
            ),
            not_negative=("refractory_ms", "threshold_raise_mv"),
            counts=("n",),
        )  # fmt: skip
        _check_size(self.n)
        if not self.reset_mv < self.threshold_mv:
            raise ValueError(f"The reset lies below the threshold, got {self.reset_mv} mV.")
        if not 0 <= self.slow_share <= 1:
            raise ValueError(f"A population's slow_share is 0 to 1, got {self.slow_share}.")
        for name in ("clip_mv", "initial_mv"):
            pair = getattr(self, name)
            if pair is not None and not (len(pair) == 2 and -math.inf < pair[0] <= pair[1] < math.inf):
                raise ValueError(f"A population's {name} is (lowest, highest), both finite; got {pair}.")


@dataclass(frozen=True)
class Poisson:
    """Inputs that spike independently, each with a rate of its own or all with one.

    Parameters
    ----------
    n : int
    rate_hz : float or array_like, shape (n,)
        Runs can set other rates.

    Raises
    ------
    ValueError
        If a rate is negative or not finite.
    """

    n: int
    rate_hz: Any = 0.0

    def __post_init__(self) -> None:
        _check_size(self.n)
        rates = np.asarray(self.rate_hz, dtype=np.float64)
        object.__setattr__(self, "rate_hz", float(rates) if rates.ndim == 0 else tuple(rates.tolist()))
        checked_rates(self.rate_hz, self.n, "A Poisson population")


@dataclass(frozen=True, eq=False)
class Recorded:
    """Inputs whose spikes are given.

    Parameters
    ----------
    n : int
    time_ms : array_like, shape (n_spikes,)
        Times since the start of the circuit, sorted; each is moved to the nearest step.
    source : array_like of int, shape (n_spikes,)

    Raises
    ------
    ValueError
        If shapes differ, times are negative or not sorted, or an input does not exist.
    """

    n: int
    time_ms: ArrayLike
    source: ArrayLike

    def __post_init__(self) -> None:
        _check_size(self.n)
        time, source = np.array(self.time_ms, dtype=np.float64), np.array(self.source, dtype=np.int64)
        if time.ndim != 1 or time.shape != source.shape:
            raise ValueError(f"Times and sources have one shape (n,), got {time.shape} and {source.shape}.")
        if not np.all(np.isfinite(time)) or np.any(time < 0) or np.any(np.diff(time) < 0):
            raise ValueError("Times of recorded spikes are finite, not negative and sorted.")
        if len(source) and not 0 <= source.min() <= source.max() < self.n:
            raise ValueError(f"Recorded inputs are numbered 0 to {self.n - 1}.")
        for name, value in (("time_ms", time), ("source", source)):
            value.setflags(write=False)
            object.__setattr__(self, name, value)


@dataclass(frozen=True)
class Rate:
    """Neurons whose activity is a number, for rate circuits.

    A population to which no projection goes is an input: runs give its activity. Others answer to a sample
    with ``y = f(drive)``, the drive being the sum of ``w r`` over their synapses.

    Parameters
    ----------
    n : int
    activation : "linear", "tanh" or "rectified"
        The function f.
    sweeps : int
        Synapses within the population are taken in by so many sweeps ``y <- f(drive + V y)``, which begin
        with ``y = f(drive)``: 1 is a single pass, many settle.
    tau : float, optional
        With it activity goes on through time, from sample to sample, and there are no sweeps:
        ``r <- r + (f(drive + V r) - r) / tau``, where synapses within the population, and from those after
        it, transmit the activity at the sample before. In samples, at least 1.

    Raises
    ------
    ValueError
        If a number is out of range.
    """

    n: int
    activation: Activation = "linear"
    sweeps: int = 1
    tau: float | None = None

    def __post_init__(self) -> None:
        check_numbers(self, "population", positive=(), not_negative=(), counts=("n",))
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"An activation is 'linear', 'tanh' or 'rectified', got {self.activation!r}.")
        if not 0 <= self.sweeps <= MOST_SWEEPS:
            raise ValueError(f"A population has 0 to {MOST_SWEEPS} sweeps, got {self.sweeps}.")
        if self.tau is not None and not 1 <= self.tau < math.inf:
            raise ValueError(f"A population's tau is at least one sample, got {self.tau}.")


Population = LIF | Poisson | Recorded | Rate


def checked_rates(rate_hz: ArrayLike, n: int, what: str, dt_ms: float = 0.0) -> NDArray[np.float64]:
    """Return rates (Hz), one for each of `n` inputs, or raise ValueError.

    Parameters
    ----------
    rate_hz : float or array_like, shape (n,)
    n : int
    what : str
        Whose rates they are, for the text of the error.
    dt_ms : float
        With a step, rates are such that an input spikes with a probability of less than one.
    """
    rates = np.asarray(rate_hz, dtype=np.float64)
    if rates.shape not in ((), (n,)):
        raise ValueError(f"{what} has one rate or {n}, got {rates.shape}.")
    if not np.all(np.isfinite(rates)) or np.any(rates < 0):
        raise ValueError(f"{what} has rates that are finite and not negative, in Hz.")
    if dt_ms and rates.max() * dt_ms / 1000.0 > LARGEST_PROBABILITY:
        raise ValueError(
            f"{what} has rates of less than one spike a step of {dt_ms} ms, got {rates.max()} Hz."
        )
    return np.broadcast_to(rates, n)


def _check_size(n: int) -> None:
    if not 1 <= n <= MOST_NEURONS:
        raise ValueError(f"A population has 1 to {MOST_NEURONS} neurons, got {n}.")
