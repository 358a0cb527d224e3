"""How rules run in spiking circuits: their form, and when a run is stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from discover.predict import linear_parameters
from discover.rule import Rule
from discover.slots import ON_POST, ON_PRE, TAU_POST, TAU_PRE

if TYPE_CHECKING:
    from sims.spike_rules import ActivityLimits, LinearSpikeRule, SpikeRule

__all__ = ["HIGHEST_HZ", "kernel_rule", "usual_limits"]

HIGHEST_HZ = 100.0
"""A run with a higher rate is stopped."""


def usual_limits(seconds: float) -> ActivityLimits:
    """When a run is stopped: its activity has left 0.1-100 Hz in a quarter of it, after the first quarter."""
    from sims.spike_rules import ActivityLimits

    window = max(seconds / 4, min(seconds, 2.0))
    return ActivityLimits(lowest_hz=0.1, highest_hz=HIGHEST_HZ, window_s=window, grace_s=window)


def kernel_rule(rule: Rule, constant_factor: float = 1.0) -> SpikeRule | LinearSpikeRule:
    """Return what the simulators run for a rule of a spiking synapse.

    Parameters
    ----------
    rule : Rule
    constant_factor : float
        Multiplies the constant term of the update at presynaptic spikes, if there is one.
    """
    from sims.spike_rules import LinearSpikeRule, SpikeRule

    linear = linear_parameters(rule)
    if linear is not None:
        return LinearSpikeRule(
            constant_factor * linear.alpha,
            linear.beta,
            linear.gamma,
            linear.kappa,
            linear.tau_pre,
            linear.tau_post,
        )
    if constant_factor != 1.0 and rule.is_polynomial:
        table = rule.coefficients()
        pre = {
            term: value * (constant_factor if term == "1" else 1)
            for term, value in table[ON_PRE.name].items()
        }
        rule = Rule.from_coefficients({**table, ON_PRE.name: pre})
    on_pre, on_post = (
        rule.program(slot.name) if slot.name in rule.slots else None for slot in (ON_PRE, ON_POST)
    )
    return SpikeRule(on_pre, on_post, rule.constant(TAU_PRE.name), rule.constant(TAU_POST.name))
