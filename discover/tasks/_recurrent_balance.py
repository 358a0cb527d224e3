"""The recurrent network as a condition of cross-validation for rules of balance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
from annotated_types import Ge, Gt, Le
from numpy.typing import NDArray

from discover.tasks._balance_loss import GRACE, HIGHEST_HZ, rate_loss

if TYPE_CHECKING:
    from sims.recurrent import RecurrentNetwork, RecurrentOutcome
    from sims.spike_rules import LinearSpikeRule, SpikeRule
    from sims.spike_splines import SplineSpikeRule

__all__ = ["RecurrentProblems", "RecurrentSettings", "evaluate_recurrent"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


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
        return self.network.steps(1000.0 * self.settings.duration_s)

    @property
    def network(self) -> RecurrentNetwork:
        """The network that is drawn anew for each seed."""
        from sims.recurrent import RecurrentNetwork

        settings = self.settings
        return RecurrentNetwork(
            settings.n_excitatory,
            settings.n_inhibitory,
            settings.connection_probability,
            learning_rate=settings.learning_rate,
        )

    def subset(self, indices: Sequence[int] | IntArray) -> RecurrentProblems:
        """Return some of the networks."""
        return RecurrentProblems(self.seeds[np.asarray(indices)], self.settings)


def evaluate_recurrent(
    rules: Sequence[SpikeRule | LinearSpikeRule | SplineSpikeRule], problems: RecurrentProblems
) -> list[dict[str, FloatArray]]:
    """Return the measures of each rule on each network; those of channels are missing.

    Runs go on threads, one network and rule each.
    """
    from sims._groups import run_groups
    from sims.recurrent import simulate_recurrent

    settings, network = problems.settings, problems.network
    n_runs = len(rules) * problems.n_problems
    outcomes: list[RecurrentOutcome | None] = [None] * n_runs

    def run(first: int, last: int) -> None:
        for number in range(first, last):
            rule, problem = divmod(number, problems.n_problems)
            outcomes[number] = simulate_recurrent(
                rules[rule],
                network,
                settings.duration_s,
                settings.duration_s - settings.measured_s,
                seed=int(problems.seeds[problem]),
            )

    run_groups(run, n_runs, n_runs * problems.n_steps * network.n_neurons)
    measured = [_measures(outcome, settings.target_hz) for outcome in outcomes if outcome is not None]
    rows = [measured[n : n + problems.n_problems] for n in range(0, n_runs, problems.n_problems)]
    return [{name: np.array([one[name] for one in row]) for name in row[0]} for row in rows]


def _measures(outcome: RecurrentOutcome, target_hz: float) -> Mapping[str, float]:
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
    mean_weight = max(float(outcome.weights.mean()), 1e-3)
    return {
        "loss": float(rate_loss(np.array([outcome.rate_hz]), target_hz)[0]),
        "rate_error": abs(outcome.rate_hz - target_hz) / target_hz,
        "interval_cv": _number(outcome.interval_cv),
        "fano_factor": _number(outcome.fano_factor),
        "drift": abs(_number(outcome.weight_drift)) / mean_weight,
        "at_bound": outcome.at_lower_bound + outcome.at_upper_bound,
    }


def _number(value: float) -> float:
    return value if np.isfinite(value) else 0.0
