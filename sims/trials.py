"""A spiking neuron with escape noise that learns from rewards, trial by trial, under any rule.

The neuron is driven by currents and is to answer to frozen patterns of input spikes with at least one spike
or with none. Rules see the eligibility of a synapse (E), the reward (R), the weight (w) and running means of
the reward (Rbar) and of its positive part (Rpos); that of its negative part is ``Rbar - Rpos``.
:mod:`sims._trial_kernels` has the equations and the order of a step.

References
----------
Jordan, Schmidt, Senn & Petrovici (2021), eLife 10:66273; Urbanczik & Senn (2009), Nat. Neurosci. 12:250
(eligibility); Pfister, Toyoizumi, Barber & Gerstner (2006), Neural Comput. 18:1318 (escape noise).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sims._checks import check_numbers
from sims.rules import Program

__all__ = ["BLOW_UP", "VARIABLES", "EscapeNeuron", "Stimuli", "TrialRun", "run_trials"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

VARIABLES = ("E", "R", "w", "Rbar", "Rpos")
"""What a rule reads, in the order of its program's variables."""

BLOW_UP = 1e3
"""Weights (nA) that are larger, or not finite, count as a blow-up."""


@dataclass(frozen=True)
class EscapeNeuron:
    """A leaky neuron with exponential currents and escape noise; potentials are relative to rest and reset.

    Parameters
    ----------
    capacitance_pf, tau_membrane_ms, tau_synapse_ms, threshold_mv, refractory_ms : float
        By default those of NEST's ``iaf_psc_exp``.
    rate_hz : float
        Of spikes at threshold.
    delta_mv : float
        By so much potential the rate grows e-fold.
    tau_eligibility_ms : float
        With which eligibility is forgotten within a trial.
    step_ms : float
    believed_hz, believed_delta_mv : float
        What synapses take for the rate of spikes at threshold, and for the potential that makes it e-fold.
        Such an eligibility counts potentials as if they went on through spikes. A potential of zero stands
        for the neuron as it is, with an eligibility that is exact.

    Raises
    ------
    ValueError
        If a number is out of range.
    """

    capacitance_pf: float = 250.0
    tau_membrane_ms: float = 10.0
    tau_synapse_ms: float = 2.0
    threshold_mv: float = 15.0
    refractory_ms: float = 2.0
    rate_hz: float = 0.01
    delta_mv: float = 0.2
    tau_eligibility_ms: float = 500.0
    step_ms: float = 0.5
    believed_hz: float = 0.0
    believed_delta_mv: float = 0.0

    def __post_init__(self) -> None:
        positive = (
            "capacitance_pf", "tau_membrane_ms", "tau_synapse_ms", "threshold_mv", "rate_hz", "delta_mv",
            "tau_eligibility_ms", "step_ms",
        )  # fmt: skip
        not_negative = ("refractory_ms", "believed_hz", "believed_delta_mv")
        check_numbers(self, "neuron", positive=positive, not_negative=not_negative, counts=())
        if self.tau_membrane_ms == self.tau_synapse_ms:
            raise ValueError(
                f"The time constants of membrane and synapse differ, got {self.tau_synapse_ms} ms for both."
            )

    @property
    def propagators(self) -> tuple[float, float, float, float, float, float, int, float, float]:
        """Factors from v to v, from i (nA) to v (mV) and from i to i; threshold, delta, hazard, steps.

        Then what synapses take for delta, zero for what it is, and for the hazard.
        """
        keep, decay = (
            float(np.exp(-self.step_ms / tau)) for tau in (self.tau_membrane_ms, self.tau_synapse_ms)
        )
        rate = 1 / self.tau_synapse_ms - 1 / self.tau_membrane_ms
        gain = 1000.0 / self.capacitance_pf * (keep - decay) / rate
        hazard = self.rate_hz * self.step_ms / 1000.0
        n_refractory = round(self.refractory_ms / self.step_ms)
        return (
            keep, gain, decay, self.threshold_mv, self.delta_mv, hazard, n_refractory,
            float(self.believed_delta_mv), self.believed_hz * self.step_ms / 1000.0,
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Stimuli:
    """What problems are shown.

    Parameters
    ----------
    first_spike : array_like of int, shape (n_problems, n_stimuli + 1)
        Where the spikes of each stimulus begin, and where those of the last one end.
    step, source : array_like of int, shape (n_spikes,)
        Step in the trial and input of each spike, sorted by step within each stimulus.
    order : array_like of int, shape (n_problems, n_trials)
        Stimulus of each trial.
    targets : array_like of bool, shape (n_problems, n_stimuli)
        Whether the neuron should spike.
    draws : array_like, shape (n_problems, n_trials, n_draws)
        Exponential numbers, by which spikes are drawn one after the other; more spikes take them again.
    n_steps : int
        Of a trial.

    Raises
    ------
    ValueError
        If shapes do not fit, or a place, a step or a stimulus does not exist.
    """

    first_spike: IntArray
    step: IntArray
    source: IntArray
    order: IntArray
    targets: NDArray[np.bool_]
    draws: FloatArray
    n_steps: int

    def __post_init__(self) -> None:
        for name in ("first_spike", "step", "source", "order"):
            object.__setattr__(self, name, np.ascontiguousarray(getattr(self, name), dtype=np.int64))
        object.__setattr__(self, "targets", np.ascontiguousarray(self.targets, dtype=np.bool_))
        object.__setattr__(self, "draws", np.ascontiguousarray(self.draws, dtype=np.float64))
        n_problems, n_stimuli = self.targets.shape
        fits = (
            self.first_spike.shape == (n_problems, n_stimuli + 1)
            and self.step.shape == self.source.shape
            and self.order.ndim == 2
            and len(self.order) == n_problems
            and self.draws.ndim == 3
            and self.draws.shape[:2] == self.order.shape
            and self.draws.shape[2] > 0
        )
        if not fits:
            raise ValueError("The parts of stimuli do not fit together; see what shapes they should have.")
        if (
            np.any(np.diff(self.first_spike, axis=1) < 0)
            or self.first_spike.min(initial=0) < 0
            or self.first_spike.max(initial=0) > len(self.step)
        ):
            raise ValueError("The spikes of stimuli begin one after the other, within the spikes given.")
        if self.order.min(initial=0) < 0 or self.order.max(initial=0) >= n_stimuli:
            raise ValueError(f"Trials show stimuli 0 to {n_stimuli - 1}.")
        if self.step.min(initial=0) < 0 or self.step.max(initial=0) >= self.n_steps:
            raise ValueError(f"Spikes fall into steps 0 to {self.n_steps - 1} of a trial.")


@dataclass(frozen=True, eq=False)
class TrialRun:
    """How problems went.

    Attributes
    ----------
    rewards : ndarray, shape (n_problems, n_trials)
        1 or -1; 0 after a blow-up.
    weights : ndarray, shape (n_problems, n_inputs)
        At the end, in nA; zero where the problem blew up.
    eligibilities, weights_before : ndarray, shape (n_problems, n_kept, n_inputs)
        Of the first trials: in mV per nA, and in nA.
    blow_up : ndarray of int, shape (n_problems,)
        Trials after which weights had blown up, or -1.
    """

    rewards: FloatArray
    weights: FloatArray
    eligibilities: FloatArray
    weights_before: FloatArray
    blow_up: IntArray


def run_trials(
    program: Program,
    stimuli: Stimuli,
    weights: ArrayLike,
    neuron: EscapeNeuron,
    *,
    learning_rate: float,
    mean_trials: float,
    n_kept: int = 0,
) -> TrialRun:
    """Let a neuron learn in every problem.

    Parameters
    ----------
    program : Program
        Over :data:`VARIABLES`.
    stimuli : Stimuli
    weights : array_like, shape (n_problems, n_inputs)
        At the start, in nA.
    neuron : EscapeNeuron
    learning_rate : float
        Factor of all changes.
    mean_trials : float
        Time constant of the running means, in trials, at least 1.
    n_kept : int
        Trials whose eligibilities and weights are returned.

    Returns
    -------
    TrialRun

    Raises
    ------
    ValueError
        If the program reads other variables, or shapes do not fit.
    """
    from sims._trial_kernels import simulate

    if program.variables != VARIABLES:
        raise ValueError(
            f"A rule of rewarded trials has the variables {', '.join(VARIABLES)}, got "
            f"{', '.join(program.variables)}."
        )
    if not (np.isfinite(learning_rate) and mean_trials >= 1):
        raise ValueError(
            "A learning rate is finite and a mean over at least one trial, got "
            f"{learning_rate} and {mean_trials}."
        )
    w = np.array(weights, dtype=np.float64)
    n_problems, n_trials = stimuli.order.shape
    if w.ndim != 2 or len(w) != n_problems or not np.all(np.isfinite(w)):
        raise ValueError(f"Weights are finite, of the shape ({n_problems}, n_inputs), got {w.shape}.")
    if stimuli.source.max(initial=0) >= w.shape[1] or stimuli.source.min(initial=0) < 0:
        raise ValueError(f"Spikes come from inputs 0 to {w.shape[1] - 1}.")
    rewards, blow_up = np.zeros((n_problems, n_trials)), np.empty(n_problems, dtype=np.int64)
    kept, before = np.zeros((2, n_problems, min(n_kept, n_trials), w.shape[1]))
    forget = float(np.exp(-neuron.step_ms / neuron.tau_eligibility_ms))
    simulate(
        program.code, program.constants, program.output, stimuli.first_spike, stimuli.step, stimuli.source,
        stimuli.order, stimuli.targets, stimuli.draws, neuron.propagators, forget, stimuli.n_steps,
        float(learning_rate), float(mean_trials), BLOW_UP, w, rewards, kept, before, blow_up,
    )  # fmt: skip
    w[blow_up >= 0] = 0.0
    return TrialRun(rewards, w, kept, before, blow_up)
