"""Checksums of what the simulators give, to the last bit: ``python tests/kernel_bits.py [FAMILY ...]``.

Processes that compiled the kernels, loaded them, or did some of both, in any order, must print the same.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import rate_examples as rate
from circuit_examples import balanced_run

from discover.rule import Rule
from discover.tasks._recurrent_balance import balanced_network
from discover.tasks._spiking_runs import kernel_rule
from sims import published, spiking
from sims.rate import Schedule
from sims.rules import PolynomialRule, SplineRule
from sims.spike_rules import ExcitatoryPlasticity, LinearSpikeRule
from sims.spike_splines import SplineSpikeRule, TraceSplines

Cases = Iterator[tuple[str, Any]]


def problems(n_problems: int, n_inputs: int, *rows: int) -> tuple[np.ndarray, np.ndarray, Schedule]:
    """Draw inputs (n_problems, 40, n_inputs) and weights (n_problems, *rows, n_inputs); a step shows ten."""
    rng = np.random.default_rng([n_problems, n_inputs])
    inputs = rng.normal(size=(n_problems, 40, n_inputs)) / np.sqrt(np.arange(1, n_inputs + 1))
    weights = 0.3 * rng.normal(size=(n_problems, *rows, n_inputs)) / np.sqrt(n_inputs)
    return inputs, weights, Schedule(np.arange(40).reshape(4, 10), 60, 0.05)


def squared(*weights: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return sums of squares and their derivatives, as a loss."""
    return sum(np.sum(w**2, axis=tuple(range(1, w.ndim))) for w in weights), *(2 * w for w in weights)


def tables(n: int, *shape: int) -> list[np.ndarray]:
    """Draw small coefficients."""
    return [0.05 * np.random.default_rng(seed).normal(size=shape) for seed in range(n)]


RATE = (
    "x*y - w*y**2",
    "tanh(0.7*y)*x - 0.4*w*y**2 + 0.1*x**2*w",
    "(x*y - 0.4*w)/(1.5 + y**2) + 0.2*sqrt(1.1 + y**2)",
    "tanh(0.8*x*y) - 0.3*w",
    "0.5*x*y/(1.1 + w**2) - 0.3*w + 0.2*tanh(0.5*y)",
    "0.1*x**3*(1.2 + y**2)**-2 - 0.2*w*y + 0.1*(1.4 + w**2)**0.7",
    "x*y*exp(-y**2) - 0.1*abs(w)*w + 0.1*max(x, y) - 0.1*log(1.2 + w**2*x**2)",
)


def rate_cases() -> Cases:
    """One neuron: tables, programs of outputs, splines and interpreted programs, alone and in lanes."""
    rules: dict[str, Any] = {text: Rule.parse(text).program() for text in RATE}
    rules |= {f"table {k}": PolynomialRule(one) for k, one in enumerate(tables(3, 3, 3, 3))}
    rules |= {f"splines {k}": SplineRule(-2.0, 2.0, one) for k, one in enumerate(tables(2, 3, 3, 7))}
    for n_problems, n_inputs in ((16, 5), (3, 5), (2, 201)):
        inputs, weights, schedule = problems(n_problems, n_inputs)
        for name, rule in rules.items():
            yield f"{name}, {n_inputs}: run", rate.simulate_neuron(rule, inputs, weights, schedule)
            yield f"{name}, {n_inputs}", rate.neuron_gradient(rule, inputs, weights, schedule, squared)


def network_cases() -> Cases:
    """Two layers: every kind of pair."""
    lateral = ("-0.8*y_pre*y_post", "0.1 - 0.7*tanh(y_post)*y_pre - 0.3*v", "-tanh(y_pre*y_post) - 0.2*v")
    rules = {}
    for k, text in enumerate(RATE[:6]):
        pair = Rule.parse({"feedforward": text, "lateral": lateral[k % 3]})
        rules[text] = rate.NetworkRule(pair.program("feedforward"), pair.program("lateral"))
    rules["tables"] = rate.NetworkRule(*(PolynomialRule(one) for one in tables(2, 3, 3, 3)))
    for n_inputs, n_outputs in ((5, 2), (33, 4)):
        inputs, weights, schedule = problems(3, n_inputs, n_outputs)
        start = np.zeros((3, n_outputs, n_outputs))
        for name, rule in rules.items():
            arguments = (rule, inputs, weights, start, schedule)
            yield f"{name}, {n_inputs}: run", rate.simulate_network(*arguments)
            yield f"{name}, {n_inputs}", rate.network_gradient(*arguments, squared)


def sliding_cases() -> Cases:
    """A neuron with a sliding threshold: programs and tables."""
    texts = (
        "0.7*x*y**2 - 0.9*x*y*theta",
        "0.5*x*y*tanh(1.2*y - theta) - 0.2*w*theta**2 + 0.1*theta",
        "0.2*x**3*(1.1 + y**2)**-2 - (1.3 + theta**2)**0.7*w*0.3",
    )
    rules = {text: Rule.parse({"sliding": text}).program() for text in texts}
    rules |= {f"table {k}": one for k, one in enumerate(tables(3, 3, 3, 3, 3))}
    for n_inputs in (4, 10, 20):
        inputs, weights, schedule = problems(4, n_inputs)
        for name, rule in rules.items():
            arguments = (rule, inputs, weights, np.full(4, 0.5), schedule, 3.0)
            yield f"{name}, {n_inputs}: run", rate.simulate_sliding(*arguments, every=7)
            yield f"{name}, {n_inputs}", rate.sliding_gradient(*arguments, squared)


def published_cases() -> Cases:
    """Networks of non-local rules."""
    inputs, weights, schedule = problems(3, 9, 3)
    for name in published.NETWORKS:
        yield name, published.simulate(name, inputs, weights, schedule)


SPIKING: dict[str, dict[str, str]] = {
    "vogels": {"on_pre": "x_post - 0.25", "on_post": "x_pre"},
    "four": {"on_pre": "0.4*x_post - 0.1", "on_post": "0.7*x_pre + 0.05", "tau_pre": "12", "tau_post": "35"},
    "weights": {"on_pre": "-0.3*w*x_post", "on_post": "x_pre*(2 - w)"},
    "functions": {"on_pre": "tanh(x_post) - 0.2*w**3", "on_post": "max(x_pre - w, 0)*exp(-x_pre)"},
}


def spiking_rules() -> dict[str, Any]:
    """Return rules of each kind: linear, programs, splines."""
    pre, post = tables(2, 2, 6)
    splines = SplineSpikeRule(TraceSplines(0.1, 1.2, pre), TraceSplines(0.0, 2.0, post), 12.0, 31.0)
    return {name: kernel_rule(Rule.parse(text)) for name, text in SPIKING.items()} | {"splines": splines}


def feedforward_cases() -> Cases:
    """The feed-forward spiking circuit, with and without plastic excitation."""
    circuit = spiking.FeedforwardCircuit(
        n_excitatory=60, n_inhibitory=20, n_channels=4, excitatory_unit=0.2, inhibitory_unit=0.5
    )
    drawn = spiking.published_problems(circuit, seeds=[7, 8], inhibitory_weight=0.3)
    excitatory = ExcitatoryPlasticity(LinearSpikeRule(-0.1, 0.05, 0.7, 0.3), 1e-3, 5.0, 0.2, 100.0)
    for name, rule in spiking_rules().items():
        for kind, plastic in (("static", None), ("plastic", excitatory)):
            outcome = spiking.simulate_feedforward(rule, drawn, 1.0, 0.3, circuit=circuit, excitatory=plastic)
            yield f"{name}, {kind}", outcome


def recurrent_cases() -> Cases:
    """The recurrent spiking network."""
    circuit = balanced_network(160, 40, 0.2, 0.2, weight=0.5)
    for name, rule in spiking_rules().items():
        outcome = balanced_run(rule, circuit, 0.5)
        yield name, [outcome.measured["E"], outcome.state.weights("IE"), outcome.rates_hz["I"]]


FAMILIES = {
    "rate": rate_cases,
    "network": network_cases,
    "sliding": sliding_cases,
    "published": published_cases,
    "feedforward": feedforward_cases,
    "recurrent": recurrent_cases,
}


def checksum(value: Any) -> str:
    """Return a short checksum of all arrays and numbers of a result."""
    digest = hashlib.sha256()

    def add(part: Any) -> None:
        if hasattr(part, "__dataclass_fields__") or isinstance(part, SimpleNamespace):
            for name, value in vars(part).items():
                digest.update(name.encode())
                add(value)
        elif isinstance(part, list):
            for one in part:
                add(one)
        else:
            digest.update(repr(part).encode() if part is None else np.ascontiguousarray(part).tobytes())

    add(value)
    return digest.hexdigest()[:12]


def main() -> None:
    """Print the checksums of the families that are named, in this order; of all where none is."""
    found = {
        f"{family}: {name}": checksum(result)
        for family in sys.argv[1:] or FAMILIES
        for name, result in FAMILIES[family]()
    }
    print(json.dumps(found, sort_keys=True))


if __name__ == "__main__":
    main()
