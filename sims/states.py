"""States: what rules may read beside activity and weights."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Eligibility", "LowPass", "Signal", "State", "Trace"]


@dataclass(frozen=True)
class Trace:
    """A trace of each neuron's spikes: it jumps by one and decays.

    On the presynaptic side of a projection with a delay it follows the spikes as they arrive. Rules may set
    another time constant in any projection, see :attr:`Circuit.time_constants`.

    Parameters
    ----------
    population : str or tuple of str
    tau_ms : float
    """

    population: str | tuple[str, ...]
    tau_ms: float

    @property
    def populations(self) -> tuple[str, ...]:
        """Names of the populations whose neurons have it."""
        return (self.population,) if isinstance(self.population, str) else tuple(self.population)


@dataclass(frozen=True)
class LowPass:
    """A running mean, of a signal or of what every neuron of a population has.

    Parameters
    ----------
    of : str
        Name of a signal, or "population.v" (or g_e, g_i, g_slow). In a rate circuit a signal or a population,
        for its activity, or "population**2", or another whole power.
    tau : float
        In ms; in a rate circuit in steps, at least 1.
    """

    of: str
    tau: float

    @property
    def power(self) -> tuple[str, int]:
        """Name of the rate population or signal that it follows, and the exponent."""
        name, _, exponent = self.of.replace(" ", "").partition("**")
        return name, int(exponent) if exponent.isdigit() else int(not exponent)


@dataclass(frozen=True)
class Signal:
    """One value for the whole circuit, a reward for instance, that runs set or are given over time.

    Parameters
    ----------
    initial : float
        Its value where runs are given none; in a rate circuit they are given one for each sample.
    of : str, optional
        In a rate circuit, a population of one neuron: the signal is its activity at each sample, whether it
        is given or answers to others.
    """

    initial: float = 0.0
    of: str | None = None


@dataclass(frozen=True)
class Eligibility:
    """A trace of every synapse of a projection; rules of its own say by how much it jumps at spikes.

    Parameters
    ----------
    projection : str
    tau_ms : float
    """

    projection: str
    tau_ms: float


State = Trace | LowPass | Signal | Eligibility
