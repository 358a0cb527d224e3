"""The recurrent network as a condition of cross-validation for rules of balance.

References
----------
Vogels et al. (2011), Science 334:1569, figure 4; the settings are those of the example that comes with Brian2
(https://brian2.readthedocs.io/en/stable/examples/frompapers.Vogels_et_al_2011.html).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
from annotated_types import Ge, Gt, Le
from numpy.typing import NDArray

from discover.tasks._balance_loss import GRACE, HIGHEST_HZ, rate_loss

if TYPE_CHECKING:
    from sims.circuit import Circuit
    from sims.spike_rules import ActivityLimits, LinearSpikeRule, SpikeRule
    from sims.spike_splines import SplineSpikeRule
    from sims.spiking_circuit import CircuitOutcome

__all__ = [
    "LARGEST_WEIGHT",
    "RecurrentProblems",
    "RecurrentSettings",
    "balanced_network",
    "evaluate_recurrent",
    "simulated",
]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

LARGEST_WEIGHT = 100.0
"""Upper bound of the plastic weights, in nS."""

AT_BOUND = 1e-3
"""A weight is at a bound when it is nearer to it than this fraction of the range."""


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


@dataclass(frozen=True)
class RecurrentProblems:
    """Networks with other connections and other initial voltages.

    Attributes
    ----------
    seeds : ndarray of int, shape (n_problems,)
    settings : RecurrentSettings
    """

    seeds: IntArray
    settings: RecurrentSettings

    @classmethod
    def draw(
        cls, settings: RecurrentSettings, n_problems: int, seed: np.random.SeedSequence
    ) -> RecurrentProblems:
        """Draw networks; network `n` is the same however many are drawn."""
        seeds = [int(child.generate_state(1)[0]) for child in seed.spawn(n_problems)]
        return cls(np.array(seeds, dtype=np.int64), settings)

    @property
    def n_problems(self) -> int:
        """Number of networks."""
        return len(self.seeds)

    @property
    def n_steps(self) -> int:
        """Length of the run, in time steps."""
        return self.circuit.steps(1000.0 * self.settings.duration_s)

    @property
    def circuit(self) -> Circuit:
        """The circuit whose connections are drawn anew for each seed."""
        settings = self.settings
        return balanced_network(
            settings.n_excitatory,
            settings.n_inhibitory,
            settings.connection_probability,
            settings.learning_rate,
        )

    def subset(self, indices: Sequence[int] | IntArray) -> RecurrentProblems:
        """Return some of the networks."""
        return RecurrentProblems(self.seeds[np.asarray(indices)], self.settings)


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


def simulated(
    rule: SpikeRule | LinearSpikeRule | SplineSpikeRule,
    circuit: Circuit,
    duration_s: float,
    measure_from_s: float = 0.0,
    *,
    seed: int = 0,
    limits: ActivityLimits | None = None,
) -> CircuitOutcome:
    """Draw a balanced network from a seed and run it under a rule of its plastic synapses.

    Two rules with one seed meet the same network. The run is stopped early by the mean rate of the excitatory
    neurons, unless `limits` say otherwise outside .1-100 Hz in a window of 1 s, after the first 5 s.
    """
    from sims.spike_rules import ActivityLimits
    from sims.spiking_circuit import Network

    network = Network(circuit, seed)
    bounds = limits or ActivityLimits(0.1, HIGHEST_HZ, 1.0, 5.0)
    return network.run(
        rule.of_projection("IE"), network.initial_state(seed), duration_s, limits={"E": bounds},
        measure_from_s=measure_from_s,
    )  # fmt: skip


def evaluate_recurrent(
    rules: Sequence[SpikeRule | LinearSpikeRule | SplineSpikeRule], problems: RecurrentProblems
) -> list[dict[str, FloatArray]]:
    """Return the measures of each rule on each network; those of channels are missing.

    Runs go on threads, one network and rule each.
    """
    from sims._groups import run_groups

    settings, circuit = problems.settings, problems.circuit
    n_runs = len(rules) * problems.n_problems
    measured: list[Mapping[str, float]] = [{}] * n_runs

    def run(first: int, last: int) -> None:
        for number in range(first, last):
            rule, problem = divmod(number, problems.n_problems)
            outcome = simulated(
                rules[rule],
                circuit,
                settings.duration_s,
                settings.duration_s - settings.measured_s,
                seed=int(problems.seeds[problem]),
            )
            measured[number] = _measures(outcome, settings.target_hz)

    n_neurons = settings.n_excitatory + settings.n_inhibitory
    run_groups(run, n_runs, n_runs * problems.n_steps * n_neurons)
    rows = [measured[n : n + problems.n_problems] for n in range(0, n_runs, problems.n_problems)]
    return [{name: np.array([one[name] for one in row]) for name in row[0]} for row in rows]


def _measures(outcome: CircuitOutcome, target_hz: float) -> Mapping[str, float]:
    if outcome.stop != 0:
        worst = float(rate_loss(np.array([HIGHEST_HZ]), target_hz)[0])
        return {
            "loss": worst + GRACE * (1 - outcome.completed),
            "rate_error": HIGHEST_HZ / target_hz,
            "interval_cv": 0.0,
            "fano_factor": 0.0,
            "drift": 1.0,
            "at_bound": 1.0,
        }
    spikes, weights, margin = outcome.measured["E"], outcome.state.weights("IE"), AT_BOUND * LARGEST_WEIGHT
    rate_hz, mean_weight = spikes.mean_rate_hz, max(float(weights.mean()), 1e-3)
    return {
        "loss": float(rate_loss(np.array([rate_hz]), target_hz)[0]),
        "rate_error": abs(rate_hz - target_hz) / target_hz,
        "interval_cv": _number(spikes.mean_interval_cv),
        "fano_factor": _number(spikes.mean_fano_factor),
        "drift": abs(float(outcome.weight_drift["IE"].mean())) / mean_weight,
        "at_bound": float(np.mean((weights <= margin) | (weights >= LARGEST_WEIGHT - margin))),
    }


def _number(value: float) -> float:
    return value if np.isfinite(value) else 0.0
