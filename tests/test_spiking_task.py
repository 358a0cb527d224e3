"""Tasks of any spiking circuit: what they run, what their synapses see, and runs that are stopped."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest

from discover.rule import Rule
from discover.tasks._spike_states import SpikeTrains, states_at_spikes
from discover.tasks._spiking_runs import kernel_rule
from discover.tasks.spiking import SpikingSettings, SpikingTask
from sims.circuit import LIF, Circuit, Poisson, Projection, Trace
from sims.spiking_circuit import Network
from sims.synapses import Synapses


@dataclass(frozen=True)
class Settings(SpikingSettings):
    duration_s: float = 3.0
    measured_s: float = 1.0
    rate_hz: float = 60.0
    others_learn: bool = False


class TwoLayers(SpikingTask):
    """Inputs onto two neurons; a second projection between these follows a rule of the task."""

    name = "two-layers"
    title = "Two layers"
    settings_type = Settings
    projection = "in"
    reference = "stdp-additive"
    known_rules = ("stdp-additive",)
    measures: ClassVar = {"loss": "of the mean weight", "share": "of strong weights", "other": "weight"}
    higher_is_better = ("share",)
    worst: ClassVar = {"other": 7.0}

    def draw_problem(self, settings, rng):
        plastic = {"plastic": True, "highest": 2.0, "learning_rate": settings.learning_rate}
        circuit = Circuit(
            populations={"input": Poisson(20, settings.rate_hz * rng.uniform(0.8, 1.2)), "E": LIF(3)},
            projections={
                "in": Projection("input", "E", 0.6, weight=1.0, unit_ns=2.0, delay_ms=3.0, **plastic),
                "EE": Projection("E", "E", 0.5, weight=0.5, **plastic),
            },
            states={"x": Trace(("input", "E"), 20.0)},
            dt_ms=0.5,
        )
        return {"circuit": circuit}

    def loss(self, outcome, problem):
        return abs(outcome.state.weights("in").mean() - 1.0)

    def measure(self, outcome, problem):
        other = outcome.state.weights("EE").mean()
        return {"share": np.mean(outcome.state.weights("in") > 0.5), "other": other}

    def other_rules(self, settings):
        rule = kernel_rule(Rule.parse("on_pre: 0.2"))
        return rule.of_projection("EE") if settings.others_learn else {}


TASK, RULE = TwoLayers(), Rule.parse("on_pre: -0.3*x_post; on_post: x_pre - 0.2*w; tau_post: 30")


def problems(n=3, **changes):
    return TASK.draw(replace(Settings(), **changes), n, np.random.SeedSequence(5))


def test_a_loss_is_that_of_a_run_of_the_circuit_from_the_seed_of_the_problem():
    drawn = problems()
    losses = TASK.losses(RULE, drawn)
    for number, seed in enumerate(drawn.seeds.tolist()):
        circuit = TASK.draw_problem(drawn.settings, np.random.default_rng(seed))["circuit"]
        network = Network(circuit, seed)
        end = network.run(kernel_rule(RULE).of_projection("in"), network.initial_state(seed), 3.0).state
        assert losses[number] == abs(end.weights("in").mean() - 1.0)
    assert len(set(losses.tolist())) == 3
    assert np.all(losses > 0.01)


def test_rules_and_problems_do_not_see_each_other():
    drawn = problems()
    together = TASK.losses_of_rules([RULE, RULE.scaled(0.5)], drawn)
    np.testing.assert_array_equal(together[1], TASK.losses(RULE.scaled(0.5), drawn))
    np.testing.assert_array_equal(together[0, [2, 0]], TASK.losses(RULE, drawn.subset([2, 0])))
    np.testing.assert_array_equal(together[0, :2], TASK.losses(RULE, problems(2)))
    (first, _), (again,) = (
        TASK.evaluate_rules([RULE, RULE.scaled(0.5)], drawn),
        TASK.evaluate_rules([RULE], drawn),
    )
    assert set(first) == set(TASK.measures)
    for name, values in again.items():
        np.testing.assert_array_equal(first[name], values)


def test_a_learning_curve_ends_where_the_inner_loop_does():
    drawn = problems()
    times_ms, losses = TASK.learning_curve(RULE, drawn, 10)
    assert times_ms.tolist() == [0, 1000, 2000, 3000]
    np.testing.assert_array_equal(losses[-1], TASK.losses(RULE, drawn))
    np.testing.assert_array_equal(losses[0], 0.0)
    np.testing.assert_array_equal(losses[1], TASK.losses(RULE, drawn, 1000))


def test_other_projections_follow_the_rules_of_the_task():
    still, learning = (TASK.evaluate(RULE, problems(others_learn=one))["other"] for one in (False, True))
    np.testing.assert_array_equal(still, 0.5)
    assert np.all(learning > 0.6)


@pytest.mark.parametrize("rate_hz", [0.0, 1600.0])
def test_a_stopped_run_costs_one_to_two_and_has_the_worst_measures(rate_hz):
    drawn = problems(rate_hz=rate_hz, duration_s=6.0)
    measured = TASK.evaluate(RULE, drawn)
    assert np.all((measured["loss"] >= 1) & (measured["loss"] < 2))
    np.testing.assert_array_equal(measured["share"], 0.0)
    np.testing.assert_array_equal(measured["other"], 7.0)


def naive_trace(spikes, at, tau, ties):
    return sum(np.exp(-(at - time) / tau) for time in spikes if time < at or (ties and time == at))


def test_states_are_traces_and_weights_at_spikes():
    rng = np.random.default_rng(2)
    pairs = [(0, 1), (0, 0), (1, 1), (3, 0), (4, 1)]
    synapses = Synapses.from_pairs(*zip(*pairs, strict=True), n_pre=5)
    weights = rng.random(5)
    pre_ms, post_ms = (np.sort(rng.integers(0, 300, n)).astype(float) for n in (60, 20))
    source, target = rng.integers(5, size=60), rng.integers(2, size=20)
    rule = kernel_rule(Rule.parse("on_pre: x_post; tau_pre: 12; tau_post: 40"))
    found = states_at_spikes(rule, SpikeTrains(pre_ms, source, post_ms, target), synapses, weights, 200.0)
    at_pre, at_post = [], []
    for i, j, w in zip(synapses.source, synapses.target, weights, strict=True):
        outputs, arrivals = post_ms[target == j], pre_ms[source == i]
        at_pre += [(naive_trace(outputs, time, 40.0, False), w) for time in arrivals if time > 200.0]
        at_post.append((naive_trace(arrivals, outputs[-1], 12.0, True), w))
    for slot, expected in (("on_pre", at_pre), ("on_post", at_post)):
        np.testing.assert_allclose(np.sort(found[slot], axis=0), np.sort(expected, axis=0), rtol=1e-9)


def test_visited_and_probed_states_are_of_synapses_that_learn():
    drawn = problems(2)
    visited = TASK.visit(RULE, drawn, 400, np.random.SeedSequence(1))
    probed = TASK.probe(drawn, 400, np.random.SeedSequence(1))
    for slot in ("on_pre", "on_post"):
        assert visited[slot].values.shape == (400, 2)
        assert set(visited[slot].problem.tolist()) == {0, 1}
        assert visited[slot].step.max() == 3000
        assert np.all(visited[slot].values[:, 0] >= 0)
        weights = probed[slot].values[:, 1]
        assert weights.min() >= 0
        assert weights.max() <= 2
        assert weights.std() > 0.3
