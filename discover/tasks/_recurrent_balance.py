"""The recurrent network as a condition of cross-validation for rules of balance.

References
----------
Vogels et al. (2011), Science 334:1569, figure 4; the settings are those of the example that comes with Brian2
(https://brian2.readthedocs.io/en/stable/examples/frompapers.Vogels_et_al_2011.html).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
from annotated_types import Ge, Gt, Le

from discover.tasks._spiking_runs import HIGHEST_HZ

if TYPE_CHECKING:
    from sims.circuit import Circuit
    from sims.spiking_circuit import CircuitOutcome

__all__ = ["LARGEST_WEIGHT", "RecurrentSettings", "balanced_network", "measures_at_stop", "measures_of"]

LARGEST_WEIGHT = 100.0
"""Upper bound of the plastic weights, in nS."""


@dataclass(frozen=True)
class RecurrentSettings:
    """Settings of a recurrent network in which rules of inhibition are tried.

    Parameters
    ----------
    n_excitatory, n_inhibitory : int
    connection_probability : float
    target_hz : float
        Rate of the excitatory neurons that is asked for.
    duration_s, measured_s : float
        Length of the run, and of its last part in which is measured.
    learning_rate : float
        Factor of every change of a weight.
    constant_factor : float
        Multiplies the constant term of the update at presynaptic spikes, which sets the target of a rule.
    """

    n_excitatory: Annotated[int, Ge(10), Le(1_000_000)] = 8000
    n_inhibitory: Annotated[int, Ge(10), Le(1_000_000)] = 2000
    connection_probability: Annotated[float, Gt(0), Le(1)] = 0.02
    target_hz: Annotated[float, Gt(0), Le(90)] = 6.25
    duration_s: Annotated[float, Ge(0.1), Le(100_000)] = 20.0
    measured_s: Annotated[float, Gt(0), Le(100_000)] = 8.0
    learning_rate: Annotated[float, Gt(0), Le(10)] = 0.05
    constant_factor: Annotated[float, Gt(0), Le(100)] = 1.0


def balanced_network(
    n_excitatory: int = 8000,
    n_inhibitory: int = 2000,
    probability: float = 0.02,
    learning_rate: float = 0.05,
    *,
    weight: float = 0.0,
    excitatory_ns: float = 0.3,
    background_pa: float = 200.0,
) -> Circuit:
    """Return the published network: only the synapses from inhibitory to excitatory neurons are plastic.

    Parameters
    ----------
    n_excitatory, n_inhibitory : int
    probability : float
        With which each pair of neurons is connected.
    learning_rate, weight : float
        Of the plastic synapses; the latter at the start, in nS.
    excitatory_ns, background_pa : float
        Conductance that an excitatory spike adds, and current into every neuron.
    """
    from sims.circuit import LIF, Circuit, Projection, Trace

    return Circuit(
        {
            "E": LIF(n_excitatory, background_pa=background_pa),
            "I": LIF(n_inhibitory, background_pa=background_pa),
        },
        {
            "EE": Projection("E", "E", probability, weight=excitatory_ns),
            "EI": Projection("E", "I", probability, weight=excitatory_ns),
            "II": Projection("I", "I", probability, weight=3.0, onto="inhibitory"),
            "IE": Projection(
                "I", "E", probability, weight=weight, onto="inhibitory", plastic=True,
                highest=LARGEST_WEIGHT, learning_rate=learning_rate,
            ),
        },
        {"x": Trace(("E", "I"), 20.0)},
    )  # fmt: skip


def measures_at_stop(target_hz: float) -> dict[str, float]:
    """Return the measures of a network that was stopped; those of channels are missing."""
    return {
        "rate_error": HIGHEST_HZ / target_hz,
        "interval_cv": 0.0,
        "fano_factor": 0.0,
        "drift": 1.0,
        "at_bound": 1.0,
    }


def measures_of(outcome: CircuitOutcome, target_hz: float) -> dict[str, float]:
    """Return the measures of a network; those of channels are missing."""
    from sims.spike_measures import AT_BOUND

    spikes, weights, margin = outcome.measured["E"], outcome.state.weights("IE"), AT_BOUND * LARGEST_WEIGHT
    rate_hz, mean_weight = spikes.mean_rate_hz, max(float(weights.mean()), 1e-3)
    return {
        "rate_error": abs(rate_hz - target_hz) / target_hz,
        "interval_cv": _number(spikes.mean_interval_cv),
        "fano_factor": _number(spikes.mean_fano_factor),
        "drift": abs(float(outcome.weight_drift["IE"].mean())) / mean_weight,
        "at_bound": float(np.mean((weights <= margin) | (weights >= LARGEST_WEIGHT - margin))),
    }


def _number(value: float) -> float:
    return value if np.isfinite(value) else 0.0
