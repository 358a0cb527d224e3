"""How rules run in spiking circuits: their form, when a run is stopped, and many runs on threads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from discover.predict import linear_parameters
from discover.rule import Rule
from discover.slots import ON_POST, ON_PRE, TAU_POST, TAU_PRE

if TYPE_CHECKING:
    from sims.circuit import Circuit
    from sims.spike_rules import ActivityLimits, LinearSpikeRule, SpikeRule
    from sims.spiking_circuit import CircuitOutcome, Network

__all__ = ["HIGHEST_HZ", "kernel_rule", "run_each", "usual_limits"]

T = TypeVar("T")

HIGHEST_HZ = 100.0
"""A run with a higher rate is stopped."""


def usual_limits(seconds: float) -> ActivityLimits:
    """When a run is stopped: its activity has left .1-100 Hz in a quarter of it, after the first quarter."""
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


def run_each(
    rules: Sequence[Mapping[str, Any]],
    networks: Sequence[tuple[Network, int]],
    seconds: float,
    measured_s: float,
    limits: Callable[[Circuit], Mapping[str, ActivityLimits]],
    read: Callable[[CircuitOutcome, int], T],
) -> list[list[T]]:
    """Run each rule in each network, on threads, and return what is read of each outcome.

    Parameters
    ----------
    rules : sequence of mapping
        As :meth:`sims.spiking_circuit.Network.run` takes them.
    networks : sequence of (Network, int)
        With the seeds of their initial states.
    seconds, measured_s : float
        Length of a run, and of the measuring window at its end.
    limits : callable
        When a run of a circuit is stopped, by population.
    read : callable
        From the outcome and the number of the network.

    Returns
    -------
    list of list
        For each rule, of all networks.
    """
    from sims._groups import run_groups

    found: list[Any] = [None] * (len(rules) * len(networks))

    def run(first: int, last: int) -> None:
        for k in range(first, last):
            number = k % len(networks)
            network, seed = networks[number]
            outcome = network.run(
                rules[k // len(networks)], network.initial_state(seed), seconds,
                limits=limits(network.circuit), measure_from_s=seconds - measured_s,
            )  # fmt: skip
            found[k] = read(outcome, number)

    work = sum(
        network.circuit.steps(1000.0 * seconds) * sum(one.n for one in network.circuit.populations.values())
        for network, _ in networks
    )
    run_groups(run, len(found), len(rules) * work)
    return [found[k : k + len(networks)] for k in range(0, len(found), max(len(networks), 1))]
