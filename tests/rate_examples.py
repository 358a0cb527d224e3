"""Rate circuits that many tests run: one neuron, two layers, and a neuron with a sliding threshold.

Their functions take and return arrays instead of mappings by name, as each circuit has few parts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np

from sims import rate
from sims.circuit import Circuit, LowPass, Projection, Rate
from sims.rate import Schedule
from sims.rules import PolynomialRule, Program, SplineRule

Array = np.ndarray


@cache
def neuron(n_inputs: int) -> Circuit:
    """One linear neuron."""
    return Circuit(
        {"x": Rate(n_inputs), "y": Rate(1)}, {"feedforward": Projection("x", "y", 1.0, plastic=True)}
    )


@cache
def two_layers(n_inputs: int, n_outputs: int, lateral_rate: float = 1.0) -> Circuit:
    """Two layers; earlier outputs reach later ones in one pass, their rule is faster by `lateral_rate`."""
    lateral = Projection(
        "y", "y", 1.0, plastic=True, learning_rate=lateral_rate, hierarchical=True, symbol="v"
    )
    return Circuit(
        {"x": Rate(n_inputs), "y": Rate(n_outputs)},
        {"feedforward": Projection("x", "y", 1.0, plastic=True), "lateral": lateral},
    )


@cache
def sliding(n_inputs: int, tau: float) -> Circuit:
    """One neuron with a threshold, a low pass of its squared output."""
    return Circuit(
        {"x": Rate(n_inputs), "y": Rate(1)},
        {"sliding": Projection("x", "y", 1.0, plastic=True)},
        {"theta": LowPass("y**2", tau)},
    )


# ---------------------------------------------------------------------------------------------- one neuron


def _one(values: dict[str, Array]) -> Array:
    return values["feedforward"].squeeze(-2)


def _neuron_outcome(found: rate.RateOutcome) -> Any:
    return SimpleNamespace(
        weights=_one(found.final), blow_up=found.blow_up, record=_one(found.record), every=found.every
    )


def simulate_neuron(
    rule: PolynomialRule | SplineRule | Program,
    inputs: Array,
    weights: Any,
    schedule: Schedule,
    *,
    every: int | None = None,
) -> Any:
    """Weights have the shape (n_problems, n_inputs)."""
    circuit, start = neuron(np.shape(inputs)[-1]), {"feedforward": np.asarray(weights)[:, None]}
    return _neuron_outcome(
        rate.simulate(circuit, {"feedforward": rule}, inputs, start, schedule, every=every)
    )


def neuron_gradient(
    rule: PolynomialRule | SplineRule | Program,
    inputs: Array,
    weights: Array,
    schedule: Schedule,
    loss: Callable[[Array], tuple[Array, Array]],
) -> Any:
    """The loss maps weights (n_problems, n_inputs) to losses and derivatives."""

    def of_final(final: dict[str, Array]) -> tuple[Array, dict[str, Array]]:
        losses, slopes = loss(_one(final))
        return losses, {"feedforward": slopes[:, None]}

    circuit, start = neuron(np.shape(inputs)[-1]), {"feedforward": np.asarray(weights)[:, None]}
    found = rate.meta_gradient(circuit, {"feedforward": rule}, inputs, start, schedule, of_final)
    return SimpleNamespace(
        losses=found.losses,
        gradients=found.gradients["feedforward"],
        initial_adjoint=_one(found.initial_adjoint),
        outcome=_neuron_outcome(found.outcome),
    )


# ---------------------------------------------------------------------------------------------- two layers


@dataclass(frozen=True)
class NetworkRule:
    """The rules of both layers."""

    feedforward: PolynomialRule | Program
    lateral: PolynomialRule | Program

    @property
    def by_slot(self) -> dict[str, PolynomialRule | Program]:
        return {"feedforward": self.feedforward, "lateral": self.lateral}


def _network(weights: Array, schedule: Schedule, lateral_rate: float | None) -> Circuit:
    factor = 1.0 if lateral_rate is None else lateral_rate / schedule.learning_rate
    return two_layers(np.shape(weights)[-1], np.shape(weights)[1], factor)


def _network_outcome(found: rate.RateOutcome) -> Any:
    return SimpleNamespace(
        weights=found.final["feedforward"],
        lateral=found.final["lateral"],
        blow_up=found.blow_up,
        record=found.record["feedforward"],
        lateral_record=found.record["lateral"],
        every=found.every,
    )


def simulate_network(
    rule: NetworkRule,
    inputs: Array,
    weights: Array,
    lateral: Array,
    schedule: Schedule,
    *,
    lateral_rate: float | None = None,
    every: int | None = None,
) -> Any:
    """Run two layers."""
    circuit, start = _network(weights, schedule, lateral_rate), {"feedforward": weights, "lateral": lateral}
    return _network_outcome(rate.simulate(circuit, rule.by_slot, inputs, start, schedule, every=every))


def network_gradient(
    rule: NetworkRule,
    inputs: Array,
    weights: Array,
    lateral: Array,
    schedule: Schedule,
    loss: Callable[[Array, Array], tuple[Array, Array, Array]],
    *,
    lateral_rate: float | None = None,
) -> Any:
    """The loss maps both layers' weights to losses and two arrays of derivatives."""

    def of_final(final: dict[str, Array]) -> tuple[Array, dict[str, Array]]:
        losses, slopes, lateral_slopes = loss(final["feedforward"], final["lateral"])
        return losses, {"feedforward": slopes, "lateral": lateral_slopes}

    circuit, start = _network(weights, schedule, lateral_rate), {"feedforward": weights, "lateral": lateral}
    found = rate.meta_gradient(circuit, rule.by_slot, inputs, start, schedule, of_final)
    return SimpleNamespace(
        losses=found.losses,
        feedforward=found.gradients["feedforward"],
        lateral=found.gradients["lateral"],
        initial_adjoint=found.initial_adjoint["feedforward"],
        initial_lateral_adjoint=found.initial_adjoint["lateral"],
        outcome=_network_outcome(found.outcome),
    )


# --------------------------------------------------------------------------------------- sliding threshold


def _sliding_outcome(found: rate.RateOutcome) -> Any:
    return SimpleNamespace(
        weights=found.final["sliding"][:, 0],
        thresholds=found.final["theta"][:, 0],
        blow_up=found.blow_up,
        record=found.record["sliding"][:, :, 0],
        threshold_record=found.record["theta"][:, :, 0],
        every=found.every,
    )


def _sliding_arguments(
    rule: Any, inputs: Array, weights: Array, schedule: Schedule, tau: float
) -> tuple[Circuit, dict[str, Any], Array, dict[str, Array], Schedule]:
    rules = {"sliding": rule if isinstance(rule, Program) else PolynomialRule(rule)}
    start = {"sliding": np.asarray(weights)[:, None]}
    return sliding(np.shape(inputs)[-1], tau), rules, inputs, start, schedule


def simulate_sliding(
    rule: Any,
    inputs: Array,
    weights: Array,
    thresholds: Array,
    schedule: Schedule,
    tau: float,
    *,
    every: int | None = None,
) -> Any:
    """`rule` is a program, or coefficients (3, 3, 3, 3)."""
    states = {"theta": np.asarray(thresholds)[:, None]}
    given = _sliding_arguments(rule, inputs, weights, schedule, tau)
    return _sliding_outcome(rate.simulate(*given, states=states, every=every))


def sliding_gradient(
    rule: Any,
    inputs: Array,
    weights: Array,
    thresholds: Array,
    schedule: Schedule,
    tau: float,
    loss: Callable[[Array], tuple[Array, Array]],
) -> Any:
    """The loss maps weights (n_problems, n_inputs) to losses and derivatives."""

    def of_final(final: dict[str, Array]) -> tuple[Array, dict[str, Array]]:
        losses, slopes = loss(final["sliding"][:, 0])
        return losses, {"sliding": slopes[:, None]}

    states = {"theta": np.asarray(thresholds)[:, None]}
    given = _sliding_arguments(rule, inputs, weights, schedule, tau)
    found = rate.meta_gradient(*given, of_final, states=states)
    return SimpleNamespace(
        losses=found.losses,
        gradients=found.gradients["sliding"],
        outcome=_sliding_outcome(found.outcome),
    )
