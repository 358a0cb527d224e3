"""What the Brian2 scripts need to be told, for the tests and for the benchmarks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sims.circuits import FeedforwardCircuit, FeedforwardProblems
from sims.spike_rules import LinearSpikeRule

__all__ = ["FEEDFORWARD_SCRIPT", "RECURRENT_SCRIPT", "feedforward_arguments"]

FEEDFORWARD_SCRIPT = Path(__file__).with_name("brian_feedforward.py")
RECURRENT_SCRIPT = Path(__file__).with_name("brian_recurrent.py")


def feedforward_arguments(
    c: FeedforwardCircuit,
    problems: FeedforwardProblems,
    rule: LinearSpikeRule,
    duration_s: float,
    **more: Any,
) -> dict[str, Any]:
    """Return the arguments of the feed-forward script for the first problem.

    `more` says how it runs: ``target`` (of Brian2's code), ``given`` (whether input spikes are read from a
    file) and ``seed``.
    """
    return {
        "duration_s": duration_s, "dt_ms": c.dt_ms, "n_inputs": c.n_inputs, "n_excitatory": c.n_excitatory,
        "n_channels": c.n_channels, "channels": problems.channels[0].tolist(), "rest": c.neuron.rest_mv,
        "reset": c.neuron.reset_mv, "threshold": c.neuron.threshold_mv,
        "reversal_e": c.neuron.excitatory_reversal_mv,
        "reversal_i": c.neuron.inhibitory_reversal_mv, "unit_e": c.excitatory_unit,
        "unit_i": c.inhibitory_unit,
        "tau_membrane_ms": c.neuron.capacitance_pf / c.neuron.leak_ns,
        "tau_e_ms": c.neuron.tau_excitatory_ms,
        "tau_i_ms": c.neuron.tau_inhibitory_ms, "refractory_ms": c.neuron.refractory_ms,
        "input_refractory_ms": c.input_refractory_ms, "tau_signal_ms": c.tau_signal_ms,
        "signal_noise": c.signal_noise, "base_rate_hz": c.base_rate_hz,
        "signal_gain_hz": c.signal_gain_hz, "eta": c.learning_rate, "largest": c.largest_inhibitory,
        "alpha": rule.alpha, "beta": rule.beta, "gamma": rule.gamma, "kappa": rule.kappa,
        "tau_input_ms": rule.tau_pre_ms, "tau_output_ms": rule.tau_post_ms,
        "excitatory_weights": problems.excitatory_weights[0].tolist(),
        "inhibitory_weights": problems.inhibitory_weights[0].tolist(),
        **more,
    }  # fmt: skip
