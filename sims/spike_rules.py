"""Plasticity rules of spiking synapses with one trace on each side, in any projection of a spiking circuit.

A synapse keeps two traces. ``x_pre`` jumps by one at a presynaptic spike, ``x_post`` at a postsynaptic one;
in between they decay exponentially. At a presynaptic spike the weight changes by ``learning_rate *
on_pre(x_post, w)``, at a postsynaptic one by ``learning_rate * on_post(x_pre, w)``; then it is clipped to
the bounds of its projection.

In one time step the presynaptic spike comes first. Its update does not see a postsynaptic spike of the same
step; the update of that one sees ``x_pre`` with the presynaptic spike already counted. A trace is read before
its own jump.

References
----------
Vogels et al. (2011), Science 334:1569; Confavreux et al. (NeurIPS 2020), section 4.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np

from sims.rules import Op, Program

__all__ = ["ActivityLimits", "ExcitatoryPlasticity", "LinearSpikeRule", "SpikeRule", "Stop"]

ON_PRE_LEVELS = (True, False)
ON_POST_LEVELS = (False, False)


@dataclass(frozen=True)
class SpikeRule:
    """A rule whose two updates may be any expression.

    Parameters
    ----------
    on_pre : Program or None
        Update at a presynaptic spike, over ``(x_post, w)`` with neuron levels (True, False); None for none.
    on_post : Program or None
        Update at a postsynaptic spike, over ``(x_pre, w)`` with neuron levels (False, False); None for none.
    tau_pre_ms, tau_post_ms : float
        Time constants of the traces, positive.

    Raises
    ------
    ValueError
        If a program has other variables or a time constant is not a positive number.

    Examples
    --------
    >>> decay = Program.build(("x_post", "w"), (True, False), [], [(Op.NEG, 1, 0)])
    >>> SpikeRule(decay, None).tau_pre_ms
    20.0
    """

    on_pre: Program | None
    on_post: Program | None
    tau_pre_ms: float = 20.0
    tau_post_ms: float = 20.0

    def __post_init__(self) -> None:
        _check_program(self.on_pre, "on_pre", ON_PRE_LEVELS)
        _check_program(self.on_post, "on_post", ON_POST_LEVELS)
        _check_time_constants(self.tau_pre_ms, self.tau_post_ms)

    def of_projection(self, name: str) -> dict[str, Any]:
        """Return the rule's parts by the slots of a projection of a circuit with one trace x."""
        return of_projection(name, self.on_pre, self.on_post, self.tau_pre_ms, self.tau_post_ms)


@dataclass(frozen=True)
class LinearSpikeRule:
    """The published family: ``on_pre = alpha + kappa x_post`` and ``on_post = beta + gamma x_pre``.

    Parameters
    ----------
    alpha, beta, gamma, kappa : float
    tau_pre_ms, tau_post_ms : float
        Time constants of the traces, positive.

    Raises
    ------
    ValueError
        If a parameter is not finite or a time constant is not a positive number.

    References
    ----------
    Confavreux et al. (NeurIPS 2020), section 4.

    Examples
    --------
    >>> LinearSpikeRule.vogels(6.25).alpha
    -0.25
    """

    alpha: float
    beta: float
    gamma: float
    kappa: float
    tau_pre_ms: float = 20.0
    tau_post_ms: float = 20.0

    def __post_init__(self) -> None:
        for name in ("alpha", "beta", "gamma", "kappa"):
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"A linear rule has finite parameters, got {name}={getattr(self, name)}.")
        _check_time_constants(self.tau_pre_ms, self.tau_post_ms)

    @classmethod
    def vogels(cls, rate_hz: float, tau_ms: float = 20.0) -> LinearSpikeRule:
        """Return the rule of inhibitory plasticity that holds the postsynaptic neuron at a rate.

        References
        ----------
        Vogels et al. (2011), Science 334:1569, equation 1 of the supplement.
        """
        return cls(-2.0 * rate_hz * tau_ms / 1000.0, 0.0, 1.0, 1.0, tau_ms, tau_ms)

    def as_programs(self) -> SpikeRule:
        """Return the same rule as two programs."""
        code = [(Op.MUL, 3, 0), (Op.ADD, 2, 4)]
        return SpikeRule(
            Program.build(("x_post", "w"), ON_PRE_LEVELS, [self.alpha, self.kappa], code),
            Program.build(("x_pre", "w"), ON_POST_LEVELS, [self.beta, self.gamma], code),
            self.tau_pre_ms,
            self.tau_post_ms,
        )

    def of_projection(self, name: str) -> dict[str, Any]:
        """Return the rule's parts by the slots of a projection of a circuit with one trace x."""
        return self.as_programs().of_projection(name)


@dataclass(frozen=True)
class ExcitatoryPlasticity:
    """A rule that excitatory synapses follow while the rule of inhibition is looked for.

    Parameters
    ----------
    rule : SpikeRule or LinearSpikeRule
    learning_rate : float
    largest_weight : float
        Upper bound of excitatory weights.
    normalise_every_s : float, optional
        After each such time, all excitatory weights are multiplied by one factor that brings their sum back
        to what it was at the start. Default: never.
    slow_tau_ms : float, optional
        Time constant of a second, slow trace of postsynaptic spikes, by which updates at a postsynaptic spike
        are multiplied as it is before the spike: a triplet rule. Default: they are not.

    Raises
    ------
    ValueError
        If a number is not positive.

    References
    ----------
    Pfister & Gerstner (2006), J. Neurosci. 26:9673, equations 3 and 4.
    """

    rule: SpikeRule | LinearSpikeRule
    learning_rate: float
    largest_weight: float
    normalise_every_s: float | None = None
    slow_tau_ms: float | None = None

    def __post_init__(self) -> None:
        for name in ("learning_rate", "largest_weight", "normalise_every_s", "slow_tau_ms"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"Excitatory plasticity needs a positive {name}, got {value}.")


class Stop(IntEnum):
    """Why a run ended."""

    RAN = 0
    TOO_QUIET = 1
    TOO_ACTIVE = 2
    NOT_A_NUMBER = 3


@dataclass(frozen=True)
class ActivityLimits:
    """When a simulation is stopped because its activity has left the range of a working circuit.

    From `grace_s` on, spikes are counted in windows of `window_s`, one after the other. A window whose mean
    rate is outside the limits stops the run at the window's end.

    Parameters
    ----------
    lowest_hz, highest_hz : float
    window_s : float
    grace_s : float

    Raises
    ------
    ValueError
        If a number is out of range.
    """

    lowest_hz: float = 0.1
    highest_hz: float = 100.0
    window_s: float = 10.0
    grace_s: float = 10.0

    def __post_init__(self) -> None:
        if not 0 <= self.lowest_hz < self.highest_hz:
            raise ValueError(
                "Limits of activity need 0 <= lowest_hz < highest_hz, "
                f"got lowest_hz={self.lowest_hz} and highest_hz={self.highest_hz}."
            )
        if not (0 < self.window_s < math.inf and self.grace_s >= 0):
            raise ValueError(
                "Limits of activity need window_s > 0 and grace_s >= 0, "
                f"got window_s={self.window_s} and grace_s={self.grace_s}."
            )


def of_projection(
    name: str, on_pre: Any, on_post: Any, tau_pre_ms: float, tau_post_ms: float
) -> dict[str, Any]:
    """Name the parts of a rule after the slots of a projection of a circuit with one trace x."""
    updates = {f"{name}.on_pre": on_pre, f"{name}.on_post": on_post}
    return {slot: update for slot, update in updates.items() if update is not None} | {
        f"{name}.tau_x_pre": tau_pre_ms, f"{name}.tau_x_post": tau_post_ms
    }  # fmt: skip


def _check_program(program: Program | None, slot: str, levels: tuple[bool, bool]) -> None:
    if program is not None and program.neuron_level != levels:
        trace = "x_post" if slot == "on_pre" else "x_pre"
        raise ValueError(
            f"A program for {slot} has the variables ({trace}, w) with neuron_level={levels}, "
            f"got {program.variables} with neuron_level={program.neuron_level}."
        )


def _check_time_constants(*tau_ms: float) -> None:
    for value in tau_ms:
        if not (np.isfinite(value) and value > 0):
            raise ValueError(f"Time constants of traces are positive and finite, in ms; got {value}.")
